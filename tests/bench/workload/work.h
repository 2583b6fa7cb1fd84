/* work.h — the workloads, and how they report: lines of "name value" on standard output, which the driver reads. */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdint.h>
#include <stdio.h>

/* What `size` counts is said in docs/benchmarks.md. Each does its work once and reports. */
void churn_run(uint64_t objects);                   /* w1 */
void trees_run(uint64_t depth);                     /* w2 */
void gcbench_run(uint64_t stretch_depth);           /* w3 */
void latency_run(uint64_t operations);              /* w4 */
void latency_beside_run(uint64_t operations);       /* the same while another process reads memory at random */
void shortlived_run(uint64_t mib);                  /* w6; does not return */
void shortlived_typed_run(uint64_t mib);
void shortlived_report_run(uint64_t mib);           /* the same, reporting huge pages at the end */
void shortlived_typed_report_run(uint64_t mib);

static inline void figure_report(const char *name, double value)
{
    printf("%s %.9g\n", name, value);
}

/* The same work gives the same number in every subject; the driver compares. */
static inline void check_report(uint64_t value)
{
    printf("check %llu\n", (unsigned long long)value);
}

#endif
