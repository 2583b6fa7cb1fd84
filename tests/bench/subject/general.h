/* general.h — malloc and free of whatever library is linked: glibc's, mimalloc's or jemalloc's. */
#define SUBJECT_DROP DROP_FREE

#if defined(SUBJECT_MIMALLOC)
#include <mimalloc.h>
#elif defined(SUBJECT_JEMALLOC)
#include <jemalloc/jemalloc.h>
#endif

struct place { char unused; };

/* Is malloc really the one that this program is named after? */
static inline void subject_begin(enum role role, uint64_t limit_bytes)
{
    (void)role;
    (void)limit_bytes;
#if defined(SUBJECT_MIMALLOC) || defined(SUBJECT_JEMALLOC)
    void *volatile memory = malloc(64);
#if defined(SUBJECT_MIMALLOC)
    bool own = mi_is_in_heap_region(memory);
#else
    uint64_t before = 0, after = 0;
    size_t bytes = sizeof before;
    mallctl("thread.allocated", &before, &bytes, NULL, 0);
    void *volatile more = malloc(64);
    mallctl("thread.allocated", &after, &bytes, NULL, 0);
    bool own = after > before;
    free(more);
#endif
    free(memory);
    if (!own)
        subject_die("malloc is not the library that this subject is about");
#endif
}

static inline void place_begin(struct place *place, size_t most_bytes)
{
    (void)place, (void)most_bytes;
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    (void)place;
    return malloc(bytes);
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
    (void)place;
    free(memory);
}

static inline void place_reset(struct place *place)
{
    (void)place;
}
