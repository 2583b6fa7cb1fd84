/* run.h — one run of one subject: start its daemon, run its program, measure both, end both. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include <signal.h>
#include <stdbool.h>

#include "tests/bench/figures.h"
#include "tests/bench/plan.h"

struct run_options { uint64_t size; unsigned lanes; bool looks; };      /* looks: at memory, every 10 ms: a run for that alone */

/* 0, or -1 with a sentence on standard error. A run of which the machine's host stole more than a twentieth is done again,
 * once. */
int run_subject(const struct bench *bench, const struct subject *subject, const struct run_options *options,
                struct figures *ret_figures);

/* Has the subject's program been built? */
bool run_possible(const struct subject *subject);

/* Set by the driver's signal handler: runs end as soon as they notice. */
extern volatile sig_atomic_t run_interrupted;

#endif
