/* abi.c — the words that fast.h shows to programs are the words of shm/: asserted here, once. No code. */
#include "client/internal.h"
#include "shm/object.h"

_Static_assert(MORPH_HEADER_BYTES == MM_HEADER_BYTES, "fast.h");
_Static_assert(MORPH_GRANULE_BYTES == MM_GRANULE_BYTES, "fast.h");
_Static_assert(offsetof(struct morph_thread, young) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_slot, young_cursor), "fast.h");
_Static_assert(offsetof(struct morph_thread, young) + offsetof(struct morph_bump, limit) == offsetof(struct mm_slot, young_limit), "fast.h");
_Static_assert(offsetof(struct morph_thread, old) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_slot, old_cursor), "fast.h");
_Static_assert(offsetof(struct morph_thread, old) + offsetof(struct morph_bump, limit) == offsetof(struct mm_slot, old_limit), "fast.h");
_Static_assert(offsetof(struct morph_arena, typed) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_space, typed_cursor), "fast.h");
_Static_assert(offsetof(struct morph_arena, typed) + offsetof(struct morph_bump, limit) == offsetof(struct mm_space, typed_limit), "fast.h");
_Static_assert(offsetof(struct morph_arena, raw) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_space, raw_cursor), "fast.h");
_Static_assert(offsetof(struct morph_arena, raw) + offsetof(struct morph_bump, limit) == offsetof(struct mm_space, raw_limit), "fast.h");
_Static_assert(offsetof(struct mm_object, bytes) == 0, "morph_object_bytes() reads it there");
_Static_assert(offsetof(struct morph__type, info) == 0, "a morph_type is a struct morph__type");
