/* types.h — the types of one heap: names, layouts, ids. Judged on arrival, never changed afterwards.
 *
 * The loop thread registers. Descriptions never move and never change, and the count is published after them, so a worker may read
 * any type below the count that it has seen. Bounded: MM_TYPES_MAX types and TYPE_TABLE_BYTES of descriptions a heap. */
#ifndef DAEMON_TYPES_H
#define DAEMON_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/message.h"
#include "shm/atomic.h"
#include "shm/object.h"

#define TYPE_TABLE_BYTES  (8u << 20)
#define TYPE_FIXED_MAX    (1u << 20)
#define TYPE_ELEMENT_MAX  (64u << 10)

/* enum morph_type_flag of the library: one of them at most. */
enum type_flag { TYPE_WEAK = 1, TYPE_EPHEMERON = 2, TYPE_CONSERVATIVE = 4, TYPE_STORAGE = 8 };

struct type {
    char     *name;
    uint32_t  bytes, element_bytes;
    uint32_t  ref_count, element_ref_count;
    uint32_t *ref;              /* offsets: fixed part, then element, then pairs of the storage */
    uint32_t  flags;            /* enum morph_type_flag */
    uint32_t  storage_at, storage_bytes;        /* describes the contents of the object that it refers to there; no bytes: none */
    uint32_t  storage_pairs;
};

/* Pairs of offsets: of a reference in an element of the storage, and of the word of the owner that says whether it is one. */
static inline const uint32_t *types_storage_ref(const struct type *type) { return type->ref + type->ref_count + type->element_ref_count; }

#define TYPE_PAGE 256u
struct type_table {
    struct type *page[(MM_TYPES_MAX + TYPE_PAGE) / TYPE_PAGE];         /* of TYPE_PAGE types each; id - 1 */
    uint32_t     count;         /* published by a release */
    uint32_t     room;          /* of the buckets: types */
    uint32_t    *bucket;        /* open addressing: id, 0 empty */
    uint32_t     buckets;       /* a power of two */
    uint64_t     bytes;         /* of descriptions */
};

void types_init(struct type_table *table);
void types_done(struct type_table *table);

/* Is it one that only heaps have whose objects never move? */
static inline bool types_need_fixed(const struct mm_type *spec) { return spec->flags & (TYPE_CONSERVATIVE | TYPE_STORAGE) || spec->storage_bytes; }

/* The id of the type that `spec` describes, new or known. 0 and *ret_id, or a positive morphmem error number. */
int types_register(struct type_table *table, const struct mm_type *spec, uint32_t *ret_id);

/* Ids 1 to this are registered. Any thread. */
static inline uint32_t types_count(const struct type_table *table) { return mm_load_acquire(&table->count); }

/* NULL: no such id. Any thread. */
const struct type *types_get(const struct type_table *table, uint32_t id);

#endif
