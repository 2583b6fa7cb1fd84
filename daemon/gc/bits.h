/* bits.h — bitmaps, most of them with a bit for each granule of a block, and runs of bits in them. Inlined: where holes are is asked all the time. */
#ifndef DAEMON_GC_BITS_H
#define DAEMON_GC_BITS_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/layout.h"

#define GC_BLOCK_GRANULES  (MM_BLOCK_BYTES / MM_GRANULE_BYTES)      /* 4096 */
#define GC_BLOCK_WORDS     (GC_BLOCK_GRANULES / 64)

/* Those bits of [from, to) that lie in the word of `from`. */
static inline uint64_t gc_bits_mask(uint32_t from, uint32_t to)
{
    uint64_t above = UINT64_MAX << from % 64;
    return to - from >= 64 - from % 64 ? above : above & ~(UINT64_MAX << to % 64);
}

static inline void gc_bits_set(uint64_t *bits, uint32_t from, uint32_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64)
        bits[from / 64] |= gc_bits_mask(from, to);
}

static inline void gc_bits_clear(uint64_t *bits, uint32_t from, uint32_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64)
        bits[from / 64] &= ~gc_bits_mask(from, to);
}

/* The first set bit at or behind `from`, of `words` words; GC_NO_BIT: there is none. */
#define GC_NO_BIT UINT32_MAX
static inline uint32_t gc_bits_next(const uint64_t *bits, uint32_t words, uint32_t from)
{
    uint32_t word = from / 64;
    if (word >= words)
        return GC_NO_BIT;
    uint64_t set = bits[word] & UINT64_MAX << from % 64;
    while (!set) {
        if (++word == words)
            return GC_NO_BIT;
        set = bits[word];
    }
    return word * 64 + (uint32_t)__builtin_ctzll(set);
}

/* The first run of set bits at or behind `from`; false: none. */
static inline bool gc_bits_run(const uint64_t *bits, uint32_t from, uint32_t *ret_from, uint32_t *ret_to)
{
    uint32_t begin = gc_bits_next(bits, GC_BLOCK_WORDS, from), word = begin / 64;
    if (begin == GC_NO_BIT)
        return false;
    uint64_t clear = ~bits[word] & UINT64_MAX << begin % 64;
    while (!clear && ++word < GC_BLOCK_WORDS)
        clear = ~bits[word];
    *ret_from = begin;
    *ret_to = clear ? word * 64 + (uint32_t)__builtin_ctzll(clear) : GC_BLOCK_GRANULES;
    return true;
}

#endif
