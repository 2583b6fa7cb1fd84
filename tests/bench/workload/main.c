/* main.c — the program of one subject: `bench-SUBJECT WORKLOAD SIZE` runs one workload once and prints its figures. The driver
 * (tests/bench/bench) starts it; see docs/benchmarks.md. */
#include <stdlib.h>
#include <string.h>

#include "tests/bench/workload/work.h"

static const struct { const char *name; void (*run)(uint64_t size); } works[] = {
    { "w1", churn_run }, { "w2", trees_run }, { "w3", gcbench_run }, { "w4", latency_run }, { "w4-beside", latency_beside_run },
    { "w6", shortlived_run }, { "w6-typed", shortlived_typed_run },
    { "w6-report", shortlived_report_run }, { "w6-typed-report", shortlived_typed_report_run },
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc == 3 && i < sizeof works / sizeof *works; i++) {
        if (strcmp(argv[1], works[i].name) != 0)
            continue;
        works[i].run(strtoull(argv[2], NULL, 10));
        return fflush(stdout) != 0;
    }
    fprintf(stderr, "usage: %s WORKLOAD SIZE   (normally started by tests/bench/bench)\n", argv[0]);
    return 2;
}
