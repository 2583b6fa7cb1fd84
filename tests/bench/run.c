/* run.c — running and measuring. See run.h.
 *
 * Each run has a daemon of its own, started for it and ended after it, so that no run finds what another one left. The
 * daemon's time on a processor counts from the start of the subject's program to its end, and its memory is counted with the
 * subject's: private memory of both, and segments once, lent and pooled ones alike. Whoever looks at memory takes time from a subject
 * that has two cores at work, and none from one that has a core left, so memory is looked at in a run of its own.
 */
#define _GNU_SOURCE
#include "tests/bench/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/common/clock.h"
#include "tests/bench/host.h"
#include "tests/bench/measure.h"

#define SAMPLE_MS      10           /* between two looks at memory */
#define STOLEN_PART    0.05
#define PROCESS_MIB    "64"         /* w6 */
#define WARM_PROCESSES 3u           /* w6: before the counted ones */
#define IDLE_PROCESSES 4u
#define ENVIRONMENT_MAX 8u

volatile sig_atomic_t run_interrupted;

/* ---- Processes ---- */

struct child { pid_t pid; int out, in; };       /* out: its standard output; in: its standard input, or -1 */

static const char *program_path(const struct subject *subject)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    if (length < 0)
        return subject->program;
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, subject->program);
    return path;
}

bool run_possible(const struct subject *subject)
{
    return access(program_path(subject), X_OK) == 0;
}

/* The driver's environment, the subject's, and the daemon's socket. The caller frees the array and the text. */
static char **environment_new(const struct subject *subject, const struct host *host, char **ret_text)
{
    static char socket[128];
    size_t count = 0, at = 0;
    while (environ[count])
        count++;
    char **list = calloc(count + ENVIRONMENT_MAX + 2, sizeof *list), *rest;
    char *text = strdup(subject->environment ? subject->environment : "");
    if (!list || !text) {
        free(list);
        free(text);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "MORPHMEM_SOCKET=", 16) != 0)
            list[at++] = environ[i];
    char *word = strtok_r(text, " ", &rest);
    for (unsigned i = 0; word && i < ENVIRONMENT_MAX; i++, word = strtok_r(NULL, " ", &rest))
        list[at++] = word;
    snprintf(socket, sizeof socket, "MORPHMEM_SOCKET=%s", host->socket);
    if (host->pid)
        list[at++] = socket;
    *ret_text = text;
    return list;
}

static int process_spawn(const struct subject *subject, const char *work, const char *size, const struct host *host, int in,
                         int out, pid_t *ret_pid)
{
    char *argv[] = { (char *)program_path(subject), (char *)work, (char *)size, NULL }, *text;
    char **environment = environment_new(subject, host, &text);
    posix_spawn_file_actions_t actions;
    if (!environment)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    int r = posix_spawn(ret_pid, argv[0], &actions, NULL, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    free(text);
    return r;
}

static int child_start(struct child *child, const struct subject *subject, const char *work, const char *size,
                       const struct host *host, bool talks)
{
    int out[2] = { -1, -1 }, in[2] = { -1, -1 };
    int r = pipe2(out, O_CLOEXEC) < 0 || (talks && pipe2(in, O_CLOEXEC) < 0) ? errno : 0;
    if (r == 0)
        r = process_spawn(subject, work, size, host, in[0], out[1], &child->pid);
    for (unsigned end = 0; end < 2; end++) {            /* ours to keep: out[0] and in[1], unless nothing was started */
        if (out[end] >= 0 && (end == 1 || r))
            close(out[end]);
        if (in[end] >= 0 && (end == 0 || r))
            close(in[end]);
    }
    if (r) {
        fprintf(stderr, "bench: %s: %s\n", subject->program, strerror(r));
        return -1;
    }
    child->out = out[0];
    child->in = in[1];
    return 0;
}

static int child_wait(pid_t pid, struct rusage *ret_usage)
{
    int status;
    while (wait4(pid, &status, 0, ret_usage) < 0) {
        if (errno != EINTR)
            return -1;
        if (run_interrupted)
            kill(pid, SIGKILL);
    }
    if (WIFSIGNALED(status) && !run_interrupted)
        fprintf(stderr, "bench: a process was ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static double usage_seconds(const struct rusage *usage)
{
    const struct timeval *user = &usage->ru_utime, *system = &usage->ru_stime;
    return (double)(user->tv_sec + system->tv_sec) + (double)(user->tv_usec + system->tv_usec) / 1e6;
}

/* ---- What a program says ---- */

static void line_parse(struct figures *figures, const char *line)
{
    char name[sizeof figures->item[0].name];
    double value;
    if (sscanf(line, "check %lu", &figures->check) == 1)
        return;
    if (sscanf(line, "%23s %lf", name, &value) == 2)
        figures_set(figures, name, value);
}

static void text_parse(struct figures *figures, char *text)
{
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        line_parse(figures, line);
}

static uint64_t memory_together(pid_t child, pid_t daemon)
{
    struct measure_memory ours, its;
    measure_memory(child, &ours);
    measure_memory(daemon, &its);
    return ours.anonymous_bytes + ours.file_bytes + its.anonymous_bytes + its.file_bytes + measure_segments(daemon);
}

/* Reads what the child says until it says no more. With a daemon: looks at the memory of both meanwhile, and returns the most that it saw. */
static uint64_t child_listen(const struct child *child, pid_t daemon, char *text, size_t room)
{
    size_t length = 0;
    uint64_t peak_bytes = 0;
    for (ssize_t got = 1; got != 0 && !run_interrupted;) {
        struct pollfd said = { .fd = child->out, .events = POLLIN };
        int ready = poll(&said, 1, daemon ? SAMPLE_MS : -1);
        if (ready > 0)
            got = read(child->out, text + length, room - 1 - length);
        if (ready > 0 && got > 0)
            length += (size_t)got;
        uint64_t bytes = daemon ? memory_together(child->pid, daemon) : 0;
        if (bytes > peak_bytes)
            peak_bytes = bytes;
    }
    if (run_interrupted)
        kill(child->pid, SIGKILL);
    text[length] = 0;
    return peak_bytes;
}

/* ---- The kinds of run ---- */

static int run_once(const struct subject *subject, const struct run_options *options, const struct host *host,
                    struct figures *figures)
{
    char text[2048], size[32];
    struct child child;
    struct rusage usage;
    snprintf(size, sizeof size, "%llu", (unsigned long long)options->size);
    uint64_t daemon_ns = host->pid ? measure_cpu_ns(host->pid) : 0, start_ns = clock_ns();
    if (child_start(&child, subject, subject->work, size, host, false) < 0)
        return -1;
    uint64_t peak_bytes = child_listen(&child, options->looks ? host->pid : 0, text, sizeof text);
    int r = child_wait(child.pid, &usage);
    double wall_s = (double)(clock_ns() - start_ns) / 1e9;
    daemon_ns = host->pid ? measure_cpu_ns(host->pid) - daemon_ns : 0;
    close(child.out);
    text_parse(figures, text);
    figures_set(figures, "wall_s", wall_s);
    figures_set(figures, "cpu_s", usage_seconds(&usage) + (double)daemon_ns / 1e9);
    if (options->looks || !host->pid)
        figures_set(figures, "peak_mb", host->pid ? (double)peak_bytes / (1 << 20) : (double)usage.ru_maxrss / 1024);
    return r;
}

/* The processes of w6 that run before the counted ones; the last one says whether it got huge pages. */
static int lanes_warm(const struct subject *subject, const struct host *host, struct figures *figures)
{
    char work[32], text[256];
    struct rusage usage;
    int r = 0;
    snprintf(work, sizeof work, "%s-report", subject->work);
    for (unsigned i = 0; i < WARM_PROCESSES && r == 0; i++) {
        struct child child;
        if (child_start(&child, subject, work, PROCESS_MIB, host, false) < 0)
            return -1;
        (void)child_listen(&child, 0, text, sizeof text);
        r = child_wait(child.pid, &usage);
        close(child.out);
    }
    text_parse(figures, text);
    return r;
}

/* Keeps `lanes` processes running until `count` have ended. Adds up their time on processors. */
static int lanes_run(const struct subject *subject, const struct host *host, uint64_t count, unsigned lanes, double *ret_cpu_s)
{
    uint64_t started = 0, ended = 0;
    int failed = 0;
    *ret_cpu_s = 0;
    while (ended < count) {
        for (; started < count && started - ended < lanes && !failed; started++) {
            pid_t pid;
            failed = process_spawn(subject, subject->work, PROCESS_MIB, host, -1, -1, &pid);
            if (failed)
                break;
        }
        if (started == ended)
            return -1;
        struct rusage usage;
        int status;
        pid_t done = wait4(-1, &status, 0, &usage);
        failed |= run_interrupted;
        if (done < 0 || done == host->pid)
            continue;
        ended++;
        failed |= status;
        *ret_cpu_s += usage_seconds(&usage);
    }
    return failed ? -1 : 0;
}

static int run_lanes(const struct subject *subject, const struct run_options *options, const struct host *host,
                     struct figures *figures)
{
    struct measure_machine before, after;
    double cpu_s, count = (double)options->size;
    if (lanes_warm(subject, host, figures) < 0)
        return -1;
    measure_machine(&before);
    uint64_t daemon_ns = host->pid ? measure_cpu_ns(host->pid) : 0, start_ns = clock_ns();
    int r = lanes_run(subject, host, options->size, options->lanes, &cpu_s);
    uint64_t wall_ns = clock_ns() - start_ns;
    daemon_ns = host->pid ? measure_cpu_ns(host->pid) - daemon_ns : 0;
    measure_machine(&after);
    figures_set(figures, "ms_per_process", (double)wall_ns / 1e6 / count);
    figures_set(figures, "cpu_ms", cpu_s * 1e3 / count);
    figures_set(figures, "daemon_cpu_ms", (double)daemon_ns / 1e6 / count);
    figures_set(figures, "machine_cpu_ms", (double)(after.busy_ms - before.busy_ms) / count);
    return r;
}

/* ---- Idle clients ---- */

struct idle { struct measure_memory memory; uint64_t segment_bytes, control_bytes, kernel_bytes; bool has_kernel; };

static void idle_look(pid_t daemon, struct idle *idle)
{
    measure_memory(daemon, &idle->memory);
    idle->segment_bytes = measure_segments(daemon);
    idle->control_bytes = measure_controls(daemon);
    idle->has_kernel = measure_kernel_objects(&idle->kernel_bytes);
}

static bool child_is_ready(const struct child *child)
{
    char text[16];
    return read(child->out, text, sizeof text) > 0;
}

static double kib_each(uint64_t after, uint64_t before, uint64_t count)
{
    return ((double)after - (double)before) / 1024 / (double)count;
}

static void idle_report(const struct idle *before, const struct idle *after, uint64_t count, struct figures *figures)
{
    double anonymous = kib_each(after->memory.anonymous_bytes, before->memory.anonymous_bytes, count);
    double tables = kib_each(after->memory.page_table_bytes, before->memory.page_table_bytes, count);
    double control = kib_each(after->control_bytes, before->control_bytes, count);
    double kernel = after->has_kernel ? kib_each(after->kernel_bytes, before->kernel_bytes, count) : 0;
    figures_set(figures, "kib_per_heap", anonymous + tables + control + kernel);
    figures_set(figures, "anonymous_kib", anonymous);
    figures_set(figures, "page_tables_kib", tables);
    figures_set(figures, "control_kib", control);
    if (after->has_kernel)
        figures_set(figures, "kernel_kib", kernel);
    else
        fprintf(stderr, "bench: idle1000: kernel objects not measured (/proc/slabinfo is for root only)\n");
    figures_set(figures, "segments_kib", kib_each(after->segment_bytes, before->segment_bytes, count));
}

static int run_idle(const struct subject *subject, const struct run_options *options, const struct host *host,
                    struct figures *figures)
{
    struct child child[IDLE_PROCESSES];
    struct idle before, after;
    struct rusage usage;
    char size[32];
    unsigned started = 0;
    int r = 0;
    uint64_t each = options->size / IDLE_PROCESSES;
    snprintf(size, sizeof size, "%llu", (unsigned long long)each);
    idle_look(host->pid, &before);
    for (; started < IDLE_PROCESSES && r == 0; started++)
        if ((r = child_start(&child[started], subject, subject->work, size, host, true)) < 0)
            break;
    for (unsigned i = 0; i < started && r == 0; i++)
        r = child_is_ready(&child[i]) ? 0 : -1;
    idle_look(host->pid, &after);
    for (unsigned i = 0; i < started; i++) {
        close(child[i].in);
        close(child[i].out);
        if (child_wait(child[i].pid, &usage) < 0)
            r = -1;
    }
    if (r == 0)
        idle_report(&before, &after, each * IDLE_PROCESSES, figures);
    return r;
}

/* ---- A run ---- */

static int run_try(const struct bench *bench, const struct subject *subject, const struct run_options *options,
                   struct figures *figures)
{
    struct host host = { 0 };
    *figures = (struct figures){ 0 };
    if (subject->host != HOST_NONE && host_start(&host, subject->host == HOST_COLD) < 0)
        return -1;
    int r = bench->how == HOW_LANES ? run_lanes(subject, options, &host, figures)
          : bench->how == HOW_IDLE  ? run_idle(subject, options, &host, figures)
                                    : run_once(subject, options, &host, figures);
    host_stop(&host);
    if (r < 0 && !run_interrupted)
        fprintf(stderr, "bench: %s: %s failed\n", bench->name, subject->name);
    return r;
}

int run_subject(const struct bench *bench, const struct subject *subject, const struct run_options *options,
                struct figures *ret_figures)
{
    for (unsigned try = 0;; try++) {
        struct measure_machine before, after;
        measure_machine(&before);
        uint64_t start_ns = clock_ns();
        int r = run_try(bench, subject, options, ret_figures);
        double wall_ms = (double)(clock_ns() - start_ns) / 1e6;
        measure_machine(&after);
        double stolen_ms = (double)(after.stolen_ms - before.stolen_ms);
        if (r < 0 || try == 1 || stolen_ms <= 10 || stolen_ms <= STOLEN_PART * wall_ms)
            return r;
        fprintf(stderr, "bench: %s: %s: %.0f ms of %.0f were stolen by the machine's host; again\n", bench->name, subject->name,
                stolen_ms, wall_ms);
    }
}
