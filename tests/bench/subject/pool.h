/* pool.h — a morphmem pool: memory that is freed singly. */
#include "tests/bench/subject/heap.h"

#define SUBJECT_DROP DROP_FREE

struct place { morph_pool *pool; };

/* All places are one pool, as all of malloc is one heap. */
static inline void place_begin(struct place *place, size_t most_bytes)
{
    static morph_pool *pool;
    (void)most_bytes;
    if (!pool)
        heap_check(morph_pool_new(thread, 0, &pool));
    place->pool = pool;
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    return morph_malloc(place->pool, bytes);
}

static inline void *place_object(struct place *place, enum kind kind)
{
    return place_bytes(place, kind_bytes[kind]);
}

static inline void *place_array(struct place *place, size_t bytes)
{
    return place_bytes(place, bytes);
}

static inline void *place_table(struct place *place, size_t count)
{
    return place_bytes(place, count * sizeof(void *));
}

static inline void place_free(struct place *place, void *memory)
{
    morph_free(place->pool, memory);
}

static inline void place_reset(struct place *place)
{
    (void)place;
}
