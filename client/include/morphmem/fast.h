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

/* In shared memory: the daemon reads the cursors. */
struct morph_thread { struct morph_bump young, old; };
struct morph_arena  { struct morph_bump typed, raw; };

struct morph_type_info {
    uint64_t header;            /* size, type id and BORN: word 0 of an object of the fixed size */
    uint64_t extent_bytes;      /* header and fixed part, in whole granules */
};

/* The slow halves: not for direct use. They find memory, then do what the fast path does. */
MORPH_API void *morph_new_slow(morph_thread *thread, morph_type type);
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

static inline void *morph_new(morph_thread *thread, morph_type type)
{
    void *object = morph_bump_object(&thread->young, type->header, type->extent_bytes);
    return MORPH_LIKELY(object != NULL) ? object : morph_new_slow(thread, type);
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
