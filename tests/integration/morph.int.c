/* morph.int.c — the programs of tests/clients/morph, which have the shape of what the Morph compiler emits, in heaps of 8 MiB.
 *
 * Each runs twice, plain and with watched functions, under a daemon of its own; and small once more of either, under a daemon that collects
 * all the time and verifies each collection in full. A program checks itself: here only its status counts, and what it said is shown if
 * that is not 0. A single one by hand: MORPHMEM_SOCKET=... MORPHMEM_LIMIT=8M tests/clients/morph/programs NAME. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/clients/morph/program.h"
#include "tests/lib/daemon.h"

#define DEADLINE_MS 120000u

static char plain[] = "tests/clients/morph/programs", hooks[] = "tests/clients/morph/programs_hooks";        /* in the build tree */

/* What it printed; the daemon's log is shown by the end of the failed case. */
static void output_show(const char *path)
{
    char line[400];
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        print_error("    %s", line);
    if (file)
        fclose(file);
}

/* Its status, as of waitpid(); one that does not end is killed, and counts as that. */
static int program_run(char *binary, char *name, char *size, const char *output)
{
    char *argv[] = { binary, name, size, NULL };
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status = -1;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO), 0);
    int r = posix_spawn(&pid, binary, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(r, 0);
    if (!test_wait_until(waitpid(pid, &status, WNOHANG) != 0, DEADLINE_MS * test_slowness())) {
        print_error("%s %s does not end\n", binary, name);
        kill(pid, SIGABRT);
        waitpid(pid, &status, 0);
    }
    return status;
}

/* ThreadSanitizer holds a signal back until the thread calls the C library; one that waits or computes stays deaf. */
static void threads_must_hear(const char *name)
{
    static const char *const with_threads[] = { "hazard1", "hazard7", "channels", "threads" };
    for (unsigned i = 0; test_thread_sanitized() && i < sizeof with_threads / sizeof with_threads[0]; i++)
        if (strcmp(name, with_threads[i]) == 0)
            test_skip("ThreadSanitizer holds back the signals that stop threads");
}

static void program_check(char *name, char *binary, char *size, struct test_daemon *daemon)
{
    char output[128];
    snprintf(output, sizeof output, "%s/output", daemon->dir);
    setenv("MORPHMEM_MODE", "runtime", 1);
    setenv("MORPHMEM_LIMIT", "8M", 1);
    int status = program_run(binary, name, test_sanitized() ? (char[]){ "small" } : size, output);
    unsetenv("MORPHMEM_MODE");
    unsetenv("MORPHMEM_LIMIT");
    if (status != 0) {
        print_error("%s %s %s: %s %d\n", binary, name, size ? size : "", WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        output_show(output);
    }
    assert_int_equal(status, 0);
    assert_true(test_daemon_logged(daemon, "gc: collected"));       /* or nothing has been shown */
    test_daemon_stop(daemon);
}

/* A busy machine is no deaf thread: a collection waits for its threads. Collections are told in the log. */
#define PATIENT "--stop-deadline=20000", "--gc-log=yes"

static void natural(char *name, char *binary)
{
    threads_must_hear(name);
    program_check(name, binary, NULL, test_daemon_start(PATIENT, NULL));
}

static void stressed(char *name, char *binary)
{
    threads_must_hear(name);
    program_check(name, binary, (char[]){ "small" }, test_daemon_start(PATIENT, "--verify=full", "--stress=1", NULL));
}

#define CASES(name)                                                                                                         \
    static void name##_plain(void **state) { natural((char[]){ #name }, plain); }                                           \
    static void name##_hooks(void **state) { natural((char[]){ #name }, hooks); }                                           \
    static void name##_plain_stressed(void **state) { stressed((char[]){ #name }, plain); }                                 \
    static void name##_hooks_stressed(void **state) { stressed((char[]){ #name }, hooks); }
PROGRAMS(CASES)

int main(void)
{
#define CASES_ENTRY(name) test_case(name##_plain), test_case(name##_hooks), test_case(name##_plain_stressed), test_case(name##_hooks_stressed),
    const struct CMUnitTest cases[] = { PROGRAMS(CASES_ENTRY) };
    return test_run(cases);
}
