/* expand.h — expands messages.def once. Included again and again, hence without a guard.
 *
 * Before including it, define what is wanted of MM_MESSAGE(id, NAME, name, direction, since, fds, meaning), MM_END(name) and
 * MM_FIELD(TYPE, message, field, need, bound, meaning), which all kinds of fields become (bound: 0 where there is none). What
 * is not defined expands to nothing. Afterwards none of these macros is defined.
 */
#ifndef MM_MESSAGE
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning)
#endif
#ifndef MM_FIELD
#define MM_FIELD(TYPE, message, field, need, bound, meaning)
#endif
#ifndef MM_END
#define MM_END(name)
#endif

#define MM_FIELD_U32(message, field, need, meaning)         MM_FIELD(U32, message, field, need, 0, meaning)
#define MM_FIELD_U64(message, field, need, meaning)         MM_FIELD(U64, message, field, need, 0, meaning)
#define MM_FIELD_BOOL(message, field, need, meaning)        MM_FIELD(BOOL, message, field, need, 0, meaning)
#define MM_FIELD_TEXT(message, field, need, bound, meaning) MM_FIELD(TEXT, message, field, need, bound, meaning)
#define MM_FIELD_LIST(message, field, need, bound, meaning) MM_FIELD(LIST, message, field, need, bound, meaning)
#define MM_FIELD_BLOB(message, field, need, meaning)        MM_FIELD(BLOB, message, field, need, 0, meaning)

#include "proto/messages.def"

#undef MM_MESSAGE
#undef MM_FIELD
#undef MM_END
#undef MM_FIELD_U32
#undef MM_FIELD_U64
#undef MM_FIELD_BOOL
#undef MM_FIELD_TEXT
#undef MM_FIELD_LIST
#undef MM_FIELD_BLOB
