/* morphmem/fast.h — the allocation paths that are compiled into the program. Included by morphmem.h.
 *
 * This is the one place where layout becomes ABI: it shows the few words that the fast paths touch, and no more. The library
 * asserts each of them against the shared layout (client/abi.c).
 * A path is: load cursor and limit, compare, store the cursor, store the header. No call, no system call, no atomic
 * read-modify-write; instruction counts are in docs/design/fast-paths.md.
 */
#ifndef MORPHMEM_FAST_H
#define MORPHMEM_FAST_H

#include <morphmem/morphmem.h>      /* which includes this file at its end: either may come first */

#ifdef __cplusplus
extern "C" {
#endif

#define MORPH_HEADER_BYTES   16u
#define MORPH_GRANULE_BYTES  16u
#define MORPH_LIKELY(x)      __builtin_expect(!!(x), 1)
#define MORPH_UNLIKELY(x)    __builtin_expect(!!(x), 0)

struct morph_bump { char *cursor; char *limit; };

#define MORPH_SMALL_BYTES    16384u     /* header and payload: above, an object is large */
#define MORPH_ROOTS_OFF      86016u     /* of the root area in a thread's shared part */
#define MORPH_ROOTS_BYTES    2097152u

/* In shared memory: the daemon reads the cursors and the roots, and writes the words of the second line. */
struct morph_thread {
    struct morph_bump young, old;
    uint32_t card_count, card_overflow;
    uint64_t overwritten_head;
    uint64_t roots_bytes, roots_extra_bytes;
    uint32_t stop;                      /* a collection waits for this thread */
    uint32_t marking;                   /* overwritten references are logged */
    uintptr_t card_base;                /* of the card bytes, less the heap's base >> MORPH_CARD_SHIFT */
    uintptr_t first_card;
    uint32_t bytes_off;                 /* in here: of the pair that objects without a type are born in */
};
#define MORPH_CARD_SHIFT     9
#define MORPH_CARD_DIRTY     128        /* and above: nothing more to be said */

struct morph_arena  { struct morph_bump typed, raw; };

struct morph_type_info {
    uint64_t header;            /* size, type id and BORN: word 0 of an object of the fixed size */
    uint64_t extent_bytes;      /* header and fixed part, in whole granules; larger than any block: the slow path's */
    uint32_t bump_off;          /* in struct morph_thread: of the pair that these objects are born in */
    uint32_t element_bytes;
};

/* The slow halves: not for direct use. They find memory, or log, then do what the fast path does. */
MORPH_API void *morph_new_slow(morph_thread *thread, morph_type type);
MORPH_API void *morph_new_array_slow(morph_thread *thread, morph_type type, uint64_t elements);
MORPH_API void *morph_new_bytes_slow(morph_thread *thread, uint64_t bytes);
MORPH_API void morph_poll_slow(morph_thread *thread);
MORPH_API void morph_store_slow(morph_thread *thread, void *slot);
MORPH_API void morph_overwrite_slow(morph_thread *thread, void *slot);
MORPH_API void *morph_frame_push_slow(morph_thread *thread, size_t bytes);
MORPH_API uint32_t morph_identity_hash_slow(morph_thread *thread, void *object);
MORPH_API void *morph_arena_object_slow(morph_arena *arena, morph_type type);
MORPH_API void *morph_arena_bytes_slow(morph_arena *arena, uint64_t bytes);

/* Room for `extent` bytes and the header in front, or NULL. */
static inline void *morph_bump_object(struct morph_bump *bump, uint64_t header, uint64_t extent)
{
    char *at = bump->cursor;
    if (MORPH_UNLIKELY(extent > (uint64_t)(bump->limit - at)))
        return NULL;
    bump->cursor = at + extent;
    *(volatile uint64_t *)at = header;          /* one store: a walker outside sees all of it or none */
    return at + MORPH_HEADER_BYTES;
}

/* With MORPH_DEBUG defined before the header is included every allocation takes the slow path, which counts: MORPHMEM_STRESS=N in the
 * environment then collects at every N-th one. */
#ifdef MORPH_DEBUG
#define MORPH__FAST 0
#else
#define MORPH__FAST 1
#endif

static inline void *morph_new(morph_thread *thread, morph_type type)
{
    struct morph_bump *bump = (struct morph_bump *)((char *)thread + __atomic_load_n(&type->bump_off, __ATOMIC_RELAXED));
    void *object = MORPH__FAST ? morph_bump_object(bump, type->header, type->extent_bytes) : NULL;
    return MORPH_LIKELY(object != NULL) ? object : morph_new_slow(thread, type);
}

static inline void *morph_new_array(morph_thread *thread, morph_type type, uint64_t elements)
{
    if (MORPH__FAST && MORPH_LIKELY(elements < MORPH_SMALL_BYTES)) {
        uint64_t bytes = (uint32_t)type->header + elements * type->element_bytes;       /* at most 2^20 + 2^14 * 2^16 */
        uint64_t extent = (bytes + MORPH_HEADER_BYTES + MORPH_GRANULE_BYTES - 1) & ~(uint64_t)(MORPH_GRANULE_BYTES - 1);
        struct morph_bump *bump = (struct morph_bump *)((char *)thread + __atomic_load_n(&type->bump_off, __ATOMIC_RELAXED));
        if (MORPH_LIKELY(extent <= MORPH_SMALL_BYTES)) {
            void *object = morph_bump_object(bump, (type->header & ~(uint64_t)UINT32_MAX) | bytes, extent);
            if (MORPH_LIKELY(object != NULL))
                return object;
        }
    }
    return morph_new_array_slow(thread, type, elements);
}

static inline void *morph_new_bytes(morph_thread *thread, uint64_t bytes)
{
    if (MORPH__FAST && MORPH_LIKELY(bytes <= MORPH_SMALL_BYTES - MORPH_HEADER_BYTES)) {
        uint64_t extent = (bytes + MORPH_HEADER_BYTES + MORPH_GRANULE_BYTES - 1) & ~(uint64_t)(MORPH_GRANULE_BYTES - 1);
        struct morph_bump *bump = (struct morph_bump *)((char *)thread + thread->bytes_off);
        void *object = morph_bump_object(bump, bytes | (uint64_t)1 << 56, extent);
        if (MORPH_LIKELY(object != NULL))
            return object;
    }
    return morph_new_bytes_slow(thread, bytes);
}

/* The store; a test for "marking is on"; a test of a card byte (docs/design/gc.md). */
static inline void morph_store(morph_thread *thread, void *object, void *slot, void *value)
{
    (void)object;
    if (MORPH_UNLIKELY(thread->marking))
        morph_overwrite_slow(thread, slot);
    *(void *volatile *)slot = value;
    const unsigned char *card = (const unsigned char *)(thread->card_base + ((uintptr_t)slot >> MORPH_CARD_SHIFT));
    if (MORPH_UNLIKELY(__atomic_load_n(card, __ATOMIC_RELAXED) < MORPH_CARD_DIRTY))
        morph_store_slow(thread, slot);
}

static inline void *morph_frame_push(morph_thread *thread, size_t bytes)
{
    uint64_t top = thread->roots_bytes;
    if (MORPH_UNLIKELY(bytes > MORPH_ROOTS_BYTES - top))
        return morph_frame_push_slow(thread, bytes);
    void **frame = (void **)((char *)thread + MORPH_ROOTS_OFF + top);
    for (size_t i = 0; i < bytes / sizeof *frame; i++)
        frame[i] = NULL;
    thread->roots_bytes = top + bytes;
    return frame;
}

static inline void morph_frame_pop(morph_thread *thread, void *frame)
{
    thread->roots_bytes = (uint64_t)((char *)frame - ((char *)thread + MORPH_ROOTS_OFF));
}

static inline void morph_poll(morph_thread *thread)
{
    if (MORPH_UNLIKELY(*(const volatile uint32_t *)&thread->stop))
        morph_poll_slow(thread);
}

static inline uint32_t morph_object_word(const void *object)
{
    return *(const volatile uint32_t *)((const char *)object - 8);
}

static inline void morph_object_set_word(void *object, uint32_t word)
{
    *(volatile uint32_t *)((char *)object - 8) = word;
}

static inline uint32_t morph_identity_hash(morph_thread *thread, void *object)
{
    uint32_t hash = *(const volatile uint32_t *)((const char *)object - 4);
    return MORPH_LIKELY(hash != 0) ? hash : morph_identity_hash_slow(thread, object);
}

static inline void *morph_arena_new_object(morph_arena *arena, morph_type type)
{
    void *object = morph_bump_object(&arena->typed, type->header, type->extent_bytes);
    return MORPH_LIKELY(object != NULL) ? object : morph_arena_object_slow(arena, type);
}

static inline void *morph_arena_bytes(morph_arena *arena, uint64_t bytes)
{
    char *at = arena->raw.cursor + (-(uintptr_t)arena->raw.cursor & (MORPH_GRANULE_BYTES - 1));     /* packed text may lie before */
    if (MORPH_UNLIKELY(bytes - 1 >= (uint64_t)(arena->raw.limit - at)))     /* limit is aligned: at <= limit; 0 bytes: slow path */
        return morph_arena_bytes_slow(arena, bytes);
    arena->raw.cursor = at + bytes;
    return at;
}

static inline uint64_t morph_object_bytes(const void *object)
{
    return *(const uint32_t *)((const char *)object - MORPH_HEADER_BYTES);
}

/* Counting and mapping macro arguments, for MORPH_REFS. */
#define MORPH__COUNT(...) MORPH__COUNT_(__VA_ARGS__, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define MORPH__COUNT_(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, N, ...) N
#define MORPH__CAT(a, b) MORPH__CAT_(a, b)
#define MORPH__CAT_(a, b) a##b
#define MORPH__MAP(t, ...) MORPH__CAT(MORPH__MAP, MORPH__COUNT(__VA_ARGS__))(t, __VA_ARGS__)
#define MORPH__MAP1(t, a) offsetof(t, a)
#define MORPH__MAP2(t, a, ...) offsetof(t, a), MORPH__MAP1(t, __VA_ARGS__)
#define MORPH__MAP3(t, a, ...) offsetof(t, a), MORPH__MAP2(t, __VA_ARGS__)
#define MORPH__MAP4(t, a, ...) offsetof(t, a), MORPH__MAP3(t, __VA_ARGS__)
#define MORPH__MAP5(t, a, ...) offsetof(t, a), MORPH__MAP4(t, __VA_ARGS__)
#define MORPH__MAP6(t, a, ...) offsetof(t, a), MORPH__MAP5(t, __VA_ARGS__)
#define MORPH__MAP7(t, a, ...) offsetof(t, a), MORPH__MAP6(t, __VA_ARGS__)
#define MORPH__MAP8(t, a, ...) offsetof(t, a), MORPH__MAP7(t, __VA_ARGS__)
#define MORPH__MAP9(t, a, ...) offsetof(t, a), MORPH__MAP8(t, __VA_ARGS__)
#define MORPH__MAP10(t, a, ...) offsetof(t, a), MORPH__MAP9(t, __VA_ARGS__)
#define MORPH__MAP11(t, a, ...) offsetof(t, a), MORPH__MAP10(t, __VA_ARGS__)
#define MORPH__MAP12(t, a, ...) offsetof(t, a), MORPH__MAP11(t, __VA_ARGS__)
#define MORPH__MAP13(t, a, ...) offsetof(t, a), MORPH__MAP12(t, __VA_ARGS__)
#define MORPH__MAP14(t, a, ...) offsetof(t, a), MORPH__MAP13(t, __VA_ARGS__)
#define MORPH__MAP15(t, a, ...) offsetof(t, a), MORPH__MAP14(t, __VA_ARGS__)
#define MORPH__MAP16(t, a, ...) offsetof(t, a), MORPH__MAP15(t, __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
