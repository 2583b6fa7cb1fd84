/* bench.c — the benchmark driver: runs workloads on morphmem and on its peers, round robin, and prints medians and ratios.
 *
 *   bench [NAME...] [--runs N] [--subjects A,B] [--scale X] [--lanes N] [--cpus LIST] [--json] [--list]
 *
 * The story of a benchmark: for each run, each subject once (so that slow drift of the machine hits all alike); each run in fresh
 * processes, with a fresh daemon if the subject needs one (run.c); the work of all compared by its check; the report.
 * Exit status: 0 all is well, 1 a run failed or two subjects did different work, 2 wrong usage. One thread.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/plan.h"
#include "tests/bench/report.h"
#include "tests/bench/run.h"

#define LANES_MAX 16u

struct options {
    unsigned runs, lanes;
    double scale;
    const char *subjects;       /* NULL: all */
    bool json;
};

static bool subject_is_wanted(const struct options *options, const struct subject *subject)
{
    size_t length = strlen(subject->name);
    for (const char *at = options->subjects; at && *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == length && strncmp(at, subject->name, length) == 0)
            return true;
    return !options->subjects;
}

/* Which subjects run; says which cannot, and why. */
static void subjects_choose(const struct bench *bench, const struct options *options, bool *ret_runs)
{
    for (unsigned s = 0; bench->subject[s].name; s++) {
        const struct subject *subject = &bench->subject[s];
        ret_runs[s] = subject_is_wanted(options, subject);
        if (!ret_runs[s] || run_possible(subject))
            continue;
        ret_runs[s] = false;
        if (subject->package)
            fprintf(stderr, "bench: %s: no %s (install %s and configure again)\n", bench->name, subject->name,
                    subject->package);
        else
            fprintf(stderr, "bench: %s: no %s (%s is not built; try 'make bench')\n", bench->name, subject->name,
                    subject->program);
    }
}

/* Did every run do the same work, and at full size the right one? */
static bool checks_agree(const struct bench *bench, const struct results *results, uint64_t size)
{
    uint64_t expected = size == bench->size ? bench->check : 0;
    bool agree = true;
    for (unsigned s = 0; bench->subject[s].name; s++)
        for (unsigned i = 0; i < results->runs[s]; i++) {
            uint64_t check = results->run[s][i].check;
            if (!expected)
                expected = check;
            if (check == expected)
                continue;
            fprintf(stderr, "bench: %s: %s did other work than the rest (check %llu, not %llu)\n", bench->name,
                    bench->subject[s].name, (unsigned long long)check, (unsigned long long)expected);
            agree = false;
        }
    return agree;
}

/* One run more for what cannot be measured without disturbing: the memory of a subject and its daemon. */
static bool memory_look(const struct bench *bench, const struct subject *subject, struct run_options run, struct results *results)
{
    struct figures *first = &results->run[subject - bench->subject][0], looked;
    if (bench->how != HOW_ONCE || !subject_is_morphmem(subject) || !plan_measures(bench, "peak_mb"))
        return true;
    run.looks = true;
    if (run_subject(bench, subject, &run, &looked) < 0)
        return false;
    figures_set(first, "peak_mb", *figures_get(&looked, "peak_mb"));
    return true;
}

static int bench_run(const struct bench *bench, const struct options *options)
{
    static struct results results;
    bool runs[SUBJECTS_MAX] = { false };
    bool good = true;
    struct run_options run = { plan_size(bench, options->scale), options->lanes, false };
    memset(&results, 0, sizeof results);
    subjects_choose(bench, options, runs);
    for (unsigned i = 0; i < options->runs; i++)
        for (unsigned s = 0; bench->subject[s].name && !run_interrupted; s++) {
            if (!runs[s])
                continue;
            if (run_subject(bench, &bench->subject[s], &run, &results.run[s][results.runs[s]]) == 0)
                results.runs[s]++;
            else
                runs[s] = good = false;
        }
    for (unsigned s = 0; bench->subject[s].name && !run_interrupted; s++)
        if (runs[s])
            good &= memory_look(bench, &bench->subject[s], run, &results);
    if (run_interrupted)
        return -1;
    good &= checks_agree(bench, &results, run.size);
    if (options->json)
        report_json(bench, &results);
    else
        report_table(bench, &results, run.size, run.lanes);
    return good ? 0 : -1;
}

/* ---- Command line ---- */

static void usage_print(FILE *file)
{
    fprintf(file, "usage: bench [NAME...] [options]\n"
                  "  NAME            a benchmark of --list; none: all of them\n"
                  "  --runs N        times that each subject runs (default 5)\n"
                  "  --subjects A,B  only these\n"
                  "  --scale X, -n X work to do, 1 being all of it (default 1, or MORPH_BENCH_SCALE)\n"
                  "  --lanes N       w6: processes at a time (default 1)\n"
                  "  --cpus LIST     run everything on these processors, for example 1 or 0,1\n"
                  "  --json          one object a line\n"
                  "  --list          names, subjects and figures\n"
                  "  --help          this text\n"
                  "The daemon is MORPHMEMD, or the build tree's. What is measured, and how: docs/benchmarks.md\n");
}

static void list_print(void)
{
    for (unsigned i = 0; i < plan_count; i++) {
        printf("%-18s%s\n%-18ssubjects:", plan[i].name, plan[i].sentence, "");
        for (unsigned s = 0; plan[i].subject[s].name; s++)
            printf(" %s", plan[i].subject[s].name);
        printf("\n%-18sfigures:", "");
        for (unsigned m = 0; plan[i].metric[m]; m++)
            printf(" %s", plan[i].metric[m]);
        printf("\n");
    }
}

static bool count_parse(const char *text, unsigned most, unsigned *ret_count)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *ret_count = (unsigned)n;
    return text[0] >= '0' && text[0] <= '9' && !*end && n >= 1 && n <= most;
}

static bool scale_parse(const char *text, double *ret_scale)
{
    char *end;
    *ret_scale = strtod(text, &end);
    return end != text && !*end && *ret_scale > 0 && *ret_scale <= 1;
}

/* The driver's own processors are inherited by all that it starts. */
static bool cpus_set(const char *text)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (char *end; *text; text = end + (*end == ',')) {
        unsigned long cpu = strtoul(text, &end, 10);
        if (end == text || cpu >= CPU_SETSIZE || (*end && *end != ','))
            return false;
        CPU_SET(cpu, &set);
    }
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

enum verdict { VERDICT_RUN, VERDICT_DONE, VERDICT_WRONG };

static enum verdict options_parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        { "runs", 1, NULL, 'r' }, { "subjects", 1, NULL, 's' }, { "scale", 1, NULL, 'n' }, { "lanes", 1, NULL, 'l' },
        { "cpus", 1, NULL, 'c' }, { "json", 0, NULL, 'j' },     { "list", 0, NULL, 'L' },  { "help", 0, NULL, 'h' }, { 0 },
    };
    const char *scale = getenv("MORPH_BENCH_SCALE");
    bool good = !scale || scale_parse(scale, &options->scale);
    for (int c; good && (c = getopt_long(argc, argv, "n:h", known, NULL)) != -1;)
        switch (c) {
        case 'r': good = count_parse(optarg, RUNS_MAX, &options->runs); break;
        case 's': options->subjects = optarg; break;
        case 'n': good = scale_parse(optarg, &options->scale); break;
        case 'l': good = count_parse(optarg, LANES_MAX, &options->lanes); break;
        case 'c': good = cpus_set(optarg); break;
        case 'j': options->json = true; break;
        case 'L': list_print(); return VERDICT_DONE;
        case 'h': usage_print(stdout); return VERDICT_DONE;
        default:  good = false;
        }
    for (int i = optind; good && i < argc; i++)
        if (!plan_find(argv[i])) {
            fprintf(stderr, "bench: there is no benchmark '%s'; see --list\n", argv[i]);
            return VERDICT_WRONG;
        }
    return good ? VERDICT_RUN : VERDICT_WRONG;
}

static void on_signal(int signal)
{
    (void)signal;
    run_interrupted = 1;
}

int main(int argc, char **argv)
{
    struct options options = { .runs = 5, .lanes = 1, .scale = 1 };
    struct sigaction action = { .sa_handler = on_signal };          /* no SA_RESTART: waits end */
    int status = 0;
    enum verdict verdict = options_parse(&options, argc, argv);
    if (verdict == VERDICT_DONE)
        return 0;
    if (verdict == VERDICT_WRONG) {
        usage_print(stderr);
        return 2;
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    for (unsigned i = 0; i < plan_count && !run_interrupted; i++) {
        bool named = optind == argc;
        for (int a = optind; a < argc; a++)
            named |= strcmp(argv[a], plan[i].name) == 0;
        if (named && bench_run(&plan[i], &options) < 0)
            status = 1;
    }
    return run_interrupted ? 1 : status;
}
