/* random.h — a small seeded generator. The seed comes from MORPH_TEST_SEED or the clock and is always printed: a failure is
 * replayed by running the test again with the seed that it printed. One generator belongs to one thread.
 */
#ifndef TEST_RANDOM_H
#define TEST_RANDOM_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct test_random { uint64_t state; };

/* splitmix64: every seed is a good one, and so is every neighbour of a seed. */
static inline uint64_t test_random_next(struct test_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* A number in [0, bound); bound is at least 1. The bias of the modulo does not matter here. */
static inline uint64_t test_random_below(struct test_random *random, uint64_t bound)
{
    return test_random_next(random) % bound;
}

/* A number in [least, most]. */
static inline uint64_t test_random_between(struct test_random *random, uint64_t least, uint64_t most)
{
    return least + test_random_below(random, most - least + 1);
}

/* Sizes as programs have them: mostly small, now and then large; in [1, most]. */
static inline uint64_t test_random_size(struct test_random *random, uint64_t most)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(most);
    uint64_t size = test_random_below(random, (uint64_t)2 << test_random_below(random, bits)) + 1;
    return size > most ? size % most + 1 : size;
}

static inline void test_random_fill(struct test_random *random, void *memory, size_t bytes)
{
    unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)test_random_next(random);
}

/* The seed of this run, printed. */
static inline struct test_random test_random_begin(const char *test)
{
    const char *given = getenv("MORPH_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec * 1000000007u ^ (uint64_t)now.tv_nsec;
    fprintf(stderr, "%s: MORPH_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return (struct test_random){ seed };
}

#endif
