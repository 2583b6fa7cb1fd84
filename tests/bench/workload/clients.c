/* clients.c — what it costs to be a client of the daemon.
 *
 *   bench-clients open ROUNDS    opens a heap, attaches, allocates once, closes; reports the median of the rounds
 *   bench-clients idle HEAPS     opens heaps, prints "ready", and keeps them idle until standard input ends
 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/bench/common/clock.h"
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

#include <morphmem/morphmem.h>

#define WARM_ROUNDS 100u

static void check(int r)
{
    if (r < 0)
        subject_die(morph_strerror(r));
}

static uint64_t round_time(void)
{
    morph_heap *opened;
    morph_thread *attached;
    uint64_t start_ns = clock_ns();
    check(morph_heap_open(&opened, &(morph_options){ .name = "bench" }));
    check(morph_thread_attach(opened, &attached));
    void *memory = morph_new_bytes(attached, 64);
    if (!memory)
        subject_die(morph_strerror(morph_thread_error(attached)));
    memset(memory, 1, 64);
    check(morph_thread_detach(attached));
    check(morph_heap_close(opened));
    return clock_ns() - start_ns;
}

static int ns_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void open_run(uint64_t rounds)
{
    uint64_t *ns = calloc(rounds, sizeof *ns);
    if (!ns)
        subject_die("out of memory");
    for (unsigned i = 0; i < WARM_ROUNDS; i++)
        (void)round_time();
    for (uint64_t i = 0; i < rounds; i++)
        ns[i] = round_time();
    qsort(ns, rounds, sizeof *ns, ns_compare);
    figure_report("p50_us", (double)ns[rounds / 2] / 1e3);
    figure_report("p99_us", (double)ns[rounds * 99 / 100] / 1e3);
    free(ns);
}

static void idle_run(uint64_t heaps)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    for (uint64_t i = 0; i < heaps; i++) {
        morph_heap *idle;
        check(morph_heap_open(&idle, &(morph_options){ .name = "idle" }));
    }
    printf("ready\n");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
}

int main(int argc, char **argv)
{
    uint64_t count = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (count && strcmp(argv[1], "open") == 0)
        open_run(count);
    else if (count && strcmp(argv[1], "idle") == 0)
        idle_run(count);
    else {
        fprintf(stderr, "usage: %s open ROUNDS | idle HEAPS   (normally started by tests/bench/bench)\n", argv[0]);
        return 2;
    }
    return fflush(stdout) != 0;
}
