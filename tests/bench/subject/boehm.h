/* boehm.h — the Boehm collector: nothing is freed, what is not referred to goes by itself. */
#include <gc/gc.h>

#define SUBJECT_DROP DROP_NOTHING

struct place { char unused; };

static inline void subject_begin(enum role role, uint64_t limit_bytes)
{
    (void)role;
    GC_INIT();
    if (limit_bytes)
        GC_set_max_heap_size(limit_bytes);
}

static inline void place_begin(struct place *place, size_t most_bytes)
{
    (void)place, (void)most_bytes;
}

static inline void *place_object(struct place *place, enum kind kind)
{
    (void)place;
    return GC_MALLOC(kind_bytes[kind]);
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    (void)place;
    return GC_MALLOC_ATOMIC(bytes);
}

static inline void *place_array(struct place *place, size_t bytes)
{
    return place_bytes(place, bytes);
}

static inline void *place_table(struct place *place, size_t count)
{
    (void)place;
    return GC_MALLOC(count * sizeof(void *));
}

static inline void place_free(struct place *place, void *memory)
{
    (void)place, (void)memory;
}

static inline void place_reset(struct place *place)
{
    (void)place;
}
