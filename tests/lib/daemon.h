/* daemon.h — a real morphmemd on a private socket, for one test case.
 *
 * The binary is the one that MORPHMEMD names (the Makefile sets it to the build tree's). Each daemon gets a fresh temporary
 * directory with its socket and its log; MORPHMEM_SOCKET names the socket of the latest one, and XDG_RUNTIME_DIR the directory,
 * so that nothing can reach a daemon of the machine's owner. A daemon that a failed case leaves running is killed by
 * test_end(), its log is printed, and the directory goes in any case.
 */
#ifndef TEST_DAEMON_H
#define TEST_DAEMON_H

#include "check.h"

struct test_daemon {
    pid_t pid;                  /* 0: not running */
    char  dir[64];
    char  socket[96];
    char  log[96];
    struct test_daemon *next;
};

struct test_daemon_setup {
    uid_t    uid;               /* run as; 0: as the caller */
    unsigned files;             /* RLIMIT_NOFILE; 0: as it is */
    uint64_t address_bytes;     /* RLIMIT_AS; 0: as it is */
};

/* Starts morphmemd with the options that follow, ended by NULL, and returns once it listens. Fails the case if it does not. */
struct test_daemon *test_daemon_start(const char *option, ...);
struct test_daemon *test_daemon_start_as(uid_t uid, const char *option, ...);
struct test_daemon *test_daemon_start_with(const struct test_daemon_setup *setup, const char *option, ...);

/* SIGTERM: asserts that it ends orderly (status 0, so no sanitizer complained), leaves no process and no socket, then frees. */
void test_daemon_stop(struct test_daemon *daemon);

/* The same in two steps, when a case wants to look in between. */
void test_daemon_terminate(struct test_daemon *daemon);
void test_daemon_free(struct test_daemon *daemon);

/* kill -9. The struct and the directory stay until test_daemon_free(). */
void test_daemon_kill(struct test_daemon *daemon);

/* SIGSTOP (returns once it has stopped) and SIGCONT. */
void test_daemon_pause(struct test_daemon *daemon);
void test_daemon_continue(struct test_daemon *daemon);

/* Does the log contain `text`? */
bool test_daemon_logged(const struct test_daemon *daemon, const char *text);

/* A fresh directory for a test, owned by `uid` (0: the caller); ends with test_dir_remove(). */
void test_dir_make(char ret_dir[static 64], uid_t uid);
void test_dir_remove(const char *dir);

/* Memory of the daemon's segments, each once, as the kernel counts it: of all, or of those that the process `client` has mapped. 0: all. */
uint64_t test_segment_bytes(const struct test_daemon *daemon, pid_t client);

/* The path of the daemon's program. */
const char *test_daemon_program(void);

#endif
