/* types.h — the types of one heap: names, layouts, ids. Judged on arrival, never changed afterwards.
 *
 * Loop thread only. Bounded: MM_TYPES_MAX types and TYPE_TABLE_BYTES of descriptions a heap. */
#ifndef DAEMON_TYPES_H
#define DAEMON_TYPES_H

#include <stdint.h>

#include "proto/message.h"

#define TYPE_TABLE_BYTES  (8u << 20)
#define TYPE_FIXED_MAX    (1u << 20)
#define TYPE_ELEMENT_MAX  (64u << 10)

struct type {
    char     *name;
    uint32_t  bytes, element_bytes;
    uint32_t  ref_count, element_ref_count;
    uint32_t *ref;              /* offsets: fixed part, then element */
};

struct type_table {
    struct type *type;          /* [count], id - 1 */
    uint32_t     count, room;
    uint32_t    *bucket;        /* open addressing: id, 0 empty */
    uint32_t     buckets;       /* a power of two */
    uint64_t     bytes;         /* of descriptions */
};

void types_init(struct type_table *table);
void types_done(struct type_table *table);

/* The id of the type that `spec` describes, new or known. 0 and *ret_id, or a positive morphmem error number. */
int types_register(struct type_table *table, const struct mm_type *spec, uint32_t *ret_id);

/* NULL: no such id. */
const struct type *types_get(const struct type_table *table, uint32_t id);

#endif
