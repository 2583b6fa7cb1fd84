/* random.h — the one source of numbers for all workloads: a linear congruential generator of 32 bits. */
#ifndef BENCH_RANDOM_H
#define BENCH_RANDOM_H

#include <stdint.h>

static inline uint32_t random_next(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u;
}

/* A number in [0, bound), from the high bits. */
static inline uint32_t random_below(uint32_t *state, uint32_t bound)
{
    return (uint32_t)((uint64_t)random_next(state) * bound >> 32);
}

#endif
