/* check.h — what tests count and wait for, and how a test program is put together.
 *
 * A test program is cmocka: list its cases with test_case(), which counts open descriptors, mappings of the heap and child
 * processes around each of them. Code that runs in a forked child uses child_check(); a cmocka assertion aborts the child there.
 */
#ifndef TEST_CHECK_H
#define TEST_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

/* Descriptors that this process has open; mappings that name a morphmem memfd; children, zombies included. */
int test_descriptors(void);
int test_mappings(void);
int test_children(void);

/* Resident bytes of a process (anonymous and file pages without shared memory); 0 if it is gone. */
uint64_t test_process_private_bytes(pid_t pid);

uint64_t test_now_ns(void);
void test_nap(void);                    /* half a millisecond */

/* 1, or more where sanitizers slow everything down: deadlines and sizes take it into account. */
unsigned test_slowness(void);
bool test_sanitized(void);
bool test_thread_sanitized(void);

/* Waits for a condition on another process that offers no handle to wait on (say "its memory is back in the pool"). True once the
 * condition holds, false after `deadline_ms`. The only place in the tests that polls. */
#define test_wait_until(condition, deadline_ms)                                                     \
    __extension__({                                                                                 \
        uint64_t test_end_ns = test_now_ns() + (uint64_t)(deadline_ms) * 1000000u;                  \
        bool test_met;                                                                              \
        while (!(test_met = (condition)) && test_now_ns() < test_end_ns)                            \
            test_nap();                                                                             \
        test_met;                                                                                   \
    })

/* ---- Cases ---- */

/* Before and after each case. The latter stops what a failed case left running, shows the daemon's log, and fails if the case
 * left descriptors, mappings or children behind. */
int test_begin(void **state);
int test_end(void **state);

#define test_case(function) cmocka_unit_test_setup_teardown(function, test_begin, test_end)
#define test_run(cases) cmocka_run_group_tests_name(__FILE__, cases, NULL, NULL)

/* Leaves a case that this machine cannot run, and says why. */
#define test_skip(...)                                                                              \
    do {                                                                                            \
        print_message("skipped: " __VA_ARGS__);                                                     \
        print_message("\n");                                                                        \
        skip();                                                                                     \
    } while (0)

/* ---- Children ---- */

struct test_child {
    pid_t pid;
    int from;           /* read what the child writes */
    int to;             /* the child's first argument reads what is written here */
};

/* Its end of the two pipes. */
struct test_parent { int from; int to; };

/* Runs `function` in a forked child, as user `uid` ((uid_t)-1: the same). What it returns is its exit status. */
struct test_child test_child_start(uid_t uid, int (*function)(void *context, struct test_parent parent), void *context);

/* Reads exactly `bytes` from the child; false if it ended before that, or did not write for 30 s. */
bool test_child_read(struct test_child *child, void *ret, size_t bytes);

/* Tells the child one byte. */
void test_child_tell(struct test_child *child);

/* Waits for the end: exit status, or 128 + signal number. Closes the pipes. */
int test_child_wait(struct test_child *child);

/* kill -9, and waits. */
void test_child_kill(struct test_child *child);

/* Start and wait in one: the exit status. */
int test_child_run(uid_t uid, int (*function)(void *context, struct test_parent parent), void *context);

/* In a child: blocks until the parent tells it a byte; false if the parent is gone. */
bool test_parent_wait(struct test_parent parent);
void test_parent_write(struct test_parent parent, const void *data, size_t bytes);

void child_check_failed(const char *file, int line, const char *what, long long value) __attribute__((noreturn));
#define child_check(condition)                                                                      \
    do {                                                                                            \
        if (!(condition))                                                                           \
            child_check_failed(__FILE__, __LINE__, #condition, 0);                                  \
    } while (0)
#define child_check_int(value, expected)                                                            \
    do {                                                                                            \
        long long child_seen = (long long)(value);                                                  \
        if (child_seen != (long long)(expected))                                                    \
            child_check_failed(__FILE__, __LINE__, #value " == " #expected, child_seen);            \
    } while (0)

/* A user without rights, for tests that run as root. */
uid_t test_user_nobody(void);

#endif
