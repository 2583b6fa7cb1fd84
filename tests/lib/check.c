/* check.c — counting, waiting, children. See check.h. */
#define _GNU_SOURCE
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#define TEST_FEATURE(x) __has_feature(x)
#else
#define TEST_FEATURE(x) 0
#endif

static struct { int descriptors, mappings, children; } before;

/* Set by daemon.c when a daemon is started: stops what is left, shows its log, and says whether there was any. */
bool (*test_daemon_cleanup)(void);

int test_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    int count = -3;                                     /* ".", ".." and the directory itself */
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

int test_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    char line[512];
    int count = 0;
    while (fgets(line, sizeof line, maps))
        count += strstr(line, "memfd:morphmem") != NULL;
    fclose(maps);
    return count;
}

int test_children(void)
{
    char path[64], line[4096] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;                                       /* a kernel without CONFIG_PROC_CHILDREN */
    int count = 0;
    if (fgets(line, sizeof line, file))
        for (char *at = line; *at; at++)
            count += *at == ' ';
    fclose(file);
    return count;
}

uint64_t test_process_private_bytes(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    unsigned long resident = 0, shared = 0;
    int seen = fscanf(file, "%*u %lu %lu", &resident, &shared);
    fclose(file);
    return seen == 2 ? (uint64_t)(resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t test_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void test_nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

bool test_thread_sanitized(void)
{
#if defined(__SANITIZE_THREAD__) || TEST_FEATURE(thread_sanitizer)
    return true;
#else
    return false;
#endif
}

bool test_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || TEST_FEATURE(address_sanitizer)
    return true;
#else
    return test_thread_sanitized();
#endif
}

unsigned test_slowness(void)
{
    return test_sanitized() ? 10 : 1;
}

/* ---- Cases ---- */

int test_begin(void **state)
{
    (void)state;
    before.descriptors = test_descriptors();
    before.mappings = test_mappings();
    before.children = test_children();
    return 0;
}

int test_end(void **state)
{
    (void)state;
    if (test_daemon_cleanup && test_daemon_cleanup())
        return 0;                                       /* the case has failed already; what it left says no more */
    int descriptors = test_descriptors(), mappings = test_mappings(), children = test_children();
    if (descriptors == before.descriptors && mappings == before.mappings && children == before.children)
        return 0;
    print_error("left behind: descriptors %d -> %d, mappings %d -> %d, children %d -> %d\n", before.descriptors, descriptors,
                before.mappings, mappings, before.children, children);
    return -1;
}

/* ---- Children ---- */

static void child_become(uid_t uid)
{
    if (uid == (uid_t)-1 || uid == geteuid())
        return;
    struct passwd *user = getpwuid(uid);
    gid_t gid = user ? user->pw_gid : (gid_t)uid;
    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        child_check_failed(__FILE__, __LINE__, "change of user", errno);
}

struct test_child test_child_start(uid_t uid, int (*function)(void *, struct test_parent), void *context)
{
    int up[2], down[2];
    assert_int_equal(pipe2(up, O_CLOEXEC), 0);
    assert_int_equal(pipe2(down, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(up[0]);
        close(down[1]);
        child_become(uid);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("CMOCKA_TEST_ABORT", "1", 1);            /* a failed assertion of a helper ends the child, and does not jump */
        _exit(function(context, (struct test_parent){ .from = down[0], .to = up[1] }));
    }
    close(up[1]);
    close(down[0]);
    return (struct test_child){ .pid = pid, .from = up[0], .to = down[1] };
}

static bool read_whole(int fd, void *data, size_t bytes, int timeout_ms)
{
    char *at = data;
    while (bytes > 0) {
        struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
        int ready = poll(&poll_fd, 1, timeout_ms);
        if (ready == 0)
            return false;
        ssize_t n = ready < 0 ? -1 : read(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += n;
        bytes -= (size_t)n;
    }
    return true;
}

bool test_child_read(struct test_child *child, void *ret, size_t bytes)
{
    return read_whole(child->from, ret, bytes, 30000 * (int)test_slowness());
}

void test_child_tell(struct test_child *child)
{
    assert_int_equal(write(child->to, "+", 1), 1);
}

int test_child_wait(struct test_child *child)
{
    close(child->to);
    close(child->from);
    int status = 0;
    while (waitpid(child->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void test_child_kill(struct test_child *child)
{
    kill(child->pid, SIGKILL);
    assert_int_equal(test_child_wait(child), 128 + SIGKILL);
}

int test_child_run(uid_t uid, int (*function)(void *, struct test_parent), void *context)
{
    struct test_child child = test_child_start(uid, function, context);
    return test_child_wait(&child);
}

bool test_parent_wait(struct test_parent parent)
{
    char byte;
    return read_whole(parent.from, &byte, 1, -1);
}

void test_parent_write(struct test_parent parent, const void *data, size_t bytes)
{
    child_check(write(parent.to, data, bytes) == (ssize_t)bytes);
}

void child_check_failed(const char *file, int line, const char *what, long long value)
{
    fprintf(stderr, "%s:%d: in a child: %s failed (%lld)\n", file, line, what, value);
    _exit(99);
}

uid_t test_user_nobody(void)
{
    struct passwd *user = getpwnam("nobody");
    return user ? user->pw_uid : 65534;
}
