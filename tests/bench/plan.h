/* plan.h — the benchmarks: which workloads there are, which subjects run each, and which figures they give.
 *
 * A later workload or subject is a row in plan.c. Read-only.
 */
#ifndef BENCH_PLAN_H
#define BENCH_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SUBJECTS_MAX 12u
#define METRICS_MAX  10u

enum how { HOW_ONCE, HOW_LANES, HOW_IDLE };                     /* one process; many short ones; many idle clients */
enum scale { SCALE_LINEAR, SCALE_DEPTH };                       /* of size: by the factor, or by its logarithm */
enum host_kind { HOST_NONE, HOST_WARM, HOST_COLD };             /* which daemon the subject needs */

struct subject {
    const char *name;
    const char *program;        /* beside the driver */
    const char *work;           /* its first argument */
    enum host_kind host;
    const char *environment;    /* NAME=VALUE, separated by spaces */
    const char *package;        /* what to install if the program was not built */
};

struct bench {
    const char *name, *sentence;
    enum how how;
    enum scale scale;
    uint64_t size, size_least;
    uint64_t check;             /* of the work at full size; 0: none is known */
    struct subject subject[SUBJECTS_MAX];       /* ends with a NULL name; the peers first, morphmem's last */
    const char *metric[METRICS_MAX];            /* ends with NULL */
    unsigned ratios;            /* of the first so many metrics, morphmem's are also shown as ratios to the peers' */
};

extern const struct bench plan[];
extern const unsigned plan_count;

const struct bench *plan_find(const char *name);                /* NULL: no such benchmark */

/* The size of a benchmark at a scale (1: full). */
uint64_t plan_size(const struct bench *bench, double scale);

static inline bool plan_measures(const struct bench *bench, const char *metric)
{
    for (unsigned m = 0; bench->metric[m]; m++)
        if (strcmp(bench->metric[m], metric) == 0)
            return true;
    return false;
}

static inline bool subject_is_morphmem(const struct subject *subject)
{
    return subject->host != HOST_NONE;
}

#endif
