/* report.h — medians of the runs, as a table for people or as lines for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "tests/bench/figures.h"
#include "tests/bench/plan.h"

#define RUNS_MAX 100u

/* What a benchmark gave: a row of runs for each subject of the plan; runs 0: it was skipped or failed. */
struct results {
    struct figures run[SUBJECTS_MAX][RUNS_MAX];
    unsigned runs[SUBJECTS_MAX];
};

void report_table(const struct bench *bench, const struct results *results, uint64_t size, unsigned lanes);
void report_json(const struct bench *bench, const struct results *results);

#endif
