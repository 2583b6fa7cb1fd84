/* histogram.h — durations in logarithmic buckets, eight to each doubling: a quantile is at most 12.5 % above the truth, the maximum is exact. */
#ifndef DAEMON_HISTOGRAM_H
#define DAEMON_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (8 + 8 * 61)

struct histogram {
    uint64_t bucket[HISTOGRAM_BUCKETS];
    uint64_t count, sum, max;
};

static inline unsigned histogram_bucket(uint64_t value)
{
    if (value < 8)
        return (unsigned)value;
    unsigned log = 63u - (unsigned)__builtin_clzll(value);      /* at least 3 */
    return 8 + (log - 3) * 8 + (unsigned)(value >> (log - 3) & 7);
}

/* The largest value of a bucket. */
static inline uint64_t histogram_upper(unsigned bucket)
{
    if (bucket < 8)
        return bucket;
    unsigned log = (bucket - 8) / 8 + 3, step = (bucket - 8) % 8;
    return ((uint64_t)(8 + step + 1) << (log - 3)) - 1;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value)
{
    histogram->bucket[histogram_bucket(value)]++;
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->max)
        histogram->max = value;
}

/* The value that `per_mille` of 1,000 do not exceed; 0 if there are none. */
static inline uint64_t histogram_quantile(const struct histogram *histogram, unsigned per_mille)
{
    uint64_t rank = (histogram->count * per_mille + 999) / 1000, seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && rank; i++)
        if ((seen += histogram->bucket[i]) >= rank)
            return histogram_upper(i) < histogram->max ? histogram_upper(i) : histogram->max;
    return 0;
}

#endif
