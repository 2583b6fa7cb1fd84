/* bump.h — the physical limit: a pointer that moves through private memory. BUMP_GAP_BYTES before each object (16: what a
 * header would take, and nothing is stored there).
 *
 * The pointer itself is in memory, as it is in an allocator that a whole program shares: hence volatile. A loop in which the
 * compiler keeps it in a register is up to a third faster, and a measure of nothing that a program could use. */
#include <sys/mman.h>

#ifndef BUMP_GAP_BYTES
#define BUMP_GAP_BYTES 0
#endif

#define SUBJECT_DROP DROP_RESET

struct place { char *base, *volatile cursor, *limit; };

static inline void subject_begin(enum role role, uint64_t limit_bytes)
{
    (void)role;
    (void)limit_bytes;
}

static inline void place_begin(struct place *place, size_t most_bytes)
{
    char *base = mmap(NULL, most_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        subject_die("no address space");
    place->base = place->cursor = base;
    place->limit = base + most_bytes;
}

static inline void *place_step(struct place *place, size_t bytes)
{
    char *at = place->cursor;
    if (__builtin_expect((size_t)(place->limit - at) < bytes, 0))
        subject_die("the bump arena is too small");
    place->cursor = at + bytes;
    return at + BUMP_GAP_BYTES;
}

static inline void *place_object(struct place *place, enum kind kind)
{
    return place_step(place, kind_bytes[kind] + BUMP_GAP_BYTES);
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    return place_step(place, ((bytes + 15) & ~(size_t)15) + BUMP_GAP_BYTES);
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
    (void)place, (void)memory;
}

static inline void place_reset(struct place *place)
{
    place->cursor = place->base;
}
