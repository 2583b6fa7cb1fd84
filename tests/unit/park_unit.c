/* park_unit.c — sleeping and waking on a word that two processes share. Tests shm/park.c. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "shm/memfd.h"
#include "shm/park.h"

#define LONG_NS 60000000000ull

static uint32_t *word;
static int word_fd;

static void word_new(void)
{
    word_fd = mm_memfd_new("morphmem-park", 4096);
    word = mm_map(word_fd, 4096, NULL, false, false);
    assert_non_null(word);
}

static void word_free(void)
{
    munmap(word, 4096);
    close(word_fd);
}

/* State of a process as /proc tells it: 'S' sleeps. */
static char process_state(pid_t pid)
{
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file && fscanf(file, "%*d %*s %c", &state) != 1)
        state = '?';
    if (file)
        fclose(file);
    return state;
}

struct woken { int result; uint32_t word; uint64_t ns; };

static int sleeper(void *context, struct test_parent parent)
{
    struct woken woken;
    uint64_t start = mm_now_ns();
    test_parent_write(parent, "", 1);
    do
        woken.result = mm_park(word, 0, LONG_NS);
    while (woken.result == -EINTR);
    woken.word = mm_load_relaxed(word);
    woken.ns = mm_now_ns() - start;
    test_parent_write(parent, &woken, sizeof woken);
    return 0;
}

static struct test_child sleeper_start(void)
{
    char byte;
    struct test_child child = test_child_start((uid_t)-1, sleeper, NULL);
    assert_true(test_child_read(&child, &byte, 1));
    assert_true(test_wait_until(process_state(child.pid) == 'S', 10000));
    return child;
}

static unsigned ended_count(const struct test_child *child, unsigned count)
{
    unsigned ended = 0;
    for (unsigned i = 0; i < count; i++)
        ended += process_state(child[i].pid) == 'Z';
    return ended;
}

static void wakes_across_processes(void **state)
{
    struct woken woken;
    word_new();
    struct test_child child = sleeper_start();
    mm_store_seq_cst(word, 1);
    mm_unpark(word, 1);
    assert_true(test_child_read(&child, &woken, sizeof woken));
    assert_int_equal(woken.result, 0);
    assert_int_equal(woken.word, 1);
    assert_true(woken.ns < LONG_NS / 2);
    assert_int_equal(test_child_wait(&child), 0);
    word_free();
}

static void wakes_as_many_as_asked(void **state)
{
    enum { SLEEPERS = 3 };
    struct test_child child[SLEEPERS];
    struct woken woken;
    word_new();
    for (unsigned i = 0; i < SLEEPERS; i++)
        child[i] = sleeper_start();
    mm_unpark(word, 1);                                                 /* one of them, and it sees the word as it was */
    assert_true(test_wait_until(ended_count(child, SLEEPERS) == 1, 10000));
    mm_store_seq_cst(word, 1);
    mm_unpark(word, INT_MAX);
    unsigned before = 0;
    for (unsigned i = 0; i < SLEEPERS; i++) {
        assert_true(test_child_read(&child[i], &woken, sizeof woken));
        assert_int_equal(woken.result, 0);
        before += woken.word == 0;
        assert_int_equal(test_child_wait(&child[i]), 0);
    }
    assert_int_equal(before, 1);
    word_free();
}

static void does_not_sleep_on_another_value(void **state)
{
    word_new();
    *word = 5;
    uint64_t start = mm_now_ns();
    assert_int_equal(mm_park(word, 4, LONG_NS), 0);
    assert_true(mm_now_ns() - start < LONG_NS / 2);
    word_free();
}

static void sleeps_no_longer_than_told(void **state)
{
    word_new();
    static const uint64_t spans_ns[] = { 1, 1000000, 20000000, 1100000000 };
    for (unsigned i = 0; i < 4; i++) {
        uint64_t start = mm_now_ns();
        assert_int_equal(mm_park(word, 0, spans_ns[i]), -ETIMEDOUT);
        uint64_t slept_ns = mm_now_ns() - start;
        assert_true(slept_ns >= spans_ns[i]);
        assert_true(slept_ns < spans_ns[i] + 5000000000u);
    }
    word_free();
}

static void on_alarm(int signal)
{
}

static void says_when_a_signal_came(void **state)
{
    word_new();
    struct sigaction action = { .sa_handler = on_alarm }, old;
    assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
    struct itimerval every = { { 0, 20000 }, { 0, 20000 } }, never = { 0 };
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
    assert_int_equal(mm_park(word, 0, LONG_NS), -EINTR);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    sigaction(SIGALRM, &old, NULL);
    word_free();
}

static void waking_nobody_is_fine(void **state)
{
    word_new();
    mm_unpark(word, 1);
    mm_unpark(word, INT_MAX);
    assert_int_equal(*word, 0);
    word_free();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(wakes_across_processes),
        test_case(wakes_as_many_as_asked),
        test_case(does_not_sleep_on_another_value),
        test_case(sleeps_no_longer_than_told),
        test_case(says_when_a_signal_came),
        test_case(waking_nobody_is_fine),
    };
    return test_run(cases);
}
