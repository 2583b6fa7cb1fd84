/* bump.h — the physical limit: a pointer that moves through private memory. BUMP_GAP_BYTES before each object (16: what a
 * header would take, and nothing is stored there). BUMP_EXACT: what a program of a collector does that knows its roots exactly and moves objects, and nothing of what the
 * collector does: a header is stored, and references that live across an allocation are in frames in memory.
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
    char *object = place_step(place, kind_bytes[kind] + BUMP_GAP_BYTES);
#ifdef BUMP_EXACT
    *(volatile uint64_t *)(object - BUMP_GAP_BYTES) = (uint64_t)kind << 32 | kind_bytes[kind];
#endif
    return object;
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

#ifdef BUMP_EXACT
#define SUBJECT_ROOTED 1

static struct { void **volatile top, *frame[4096]; } roots = { .top = roots.frame };

static inline void *roots_begin(unsigned count)
{
    void **frame = roots.top;
    if (__builtin_expect(frame + count > roots.frame + sizeof roots.frame / sizeof roots.frame[0], 0))
        subject_die("the root area is full");
    for (unsigned i = 0; i < count; i++)
        frame[i] = NULL;
    roots.top = frame + count;
    return frame;
}

typedef void *volatile subject_root;
#define SUBJECT_ROOTS(name, count) subject_root *const name = roots_begin(count)
#define SUBJECT_ROOTS_END(name)    (roots.top = (void **)(uintptr_t)(name))

static inline void **subject_globals(void *memory, unsigned count)
{
    (void)memory;
    return roots_begin(count);
}

static inline void place_store(struct place *place, void *object, void *slot, void *value)
{
    (void)place, (void)object;
    *(void *volatile *)slot = value;
}
#endif
