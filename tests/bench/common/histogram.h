/* histogram.h — counts of durations: 32 buckets per power of two (error at most 3.1 %), and the exact maximum.
 *
 * Values below 32 have a bucket each. A larger value v with its top bit at e goes by its five bits below that bit, so bucket
 * (e - 4) * 32 + those bits holds [(32 + bits) << (e - 5), (33 + bits) << (e - 5)).
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (60 * 32)

struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS];
    uint64_t count, max_ns, over_1ms;
};

static inline unsigned histogram_bucket(uint64_t ns)
{
    if (ns < 32)
        return (unsigned)ns;
    unsigned e = 63 - (unsigned)__builtin_clzll(ns);
    return (e - 4) * 32 + (unsigned)(ns >> (e - 5) & 31);
}

static inline void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->bucket[histogram_bucket(ns)]++;
    histogram->count++;
    histogram->over_1ms += ns > 1000000;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

/* The upper edge of the bucket that holds the quantile `part` (0 to 1), in microseconds. */
static inline double histogram_us(const struct histogram *histogram, double part)
{
    uint64_t rank = (uint64_t)(part * (double)histogram->count), seen = 0, edge = histogram->max_ns;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->bucket[i];
        if (seen <= rank)
            continue;
        edge = i < 32 ? i + 1 : (uint64_t)(33 + i % 32) << (i / 32 - 1);
        break;
    }
    return (double)(edge < histogram->max_ns ? edge : histogram->max_ns) / 1e3;
}

#endif
