/* daemon.c — starting and ending a private morphmemd. See daemon.h. */
#define _GNU_SOURCE
#include "daemon.h"

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
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 32

extern bool (*test_daemon_cleanup)(void);

static struct test_daemon *running;

const char *test_daemon_program(void)
{
    const char *program = getenv("MORPHMEMD");
    return program ? program : "morphmemd";
}

/* ---- Directories ---- */

void test_dir_make(char ret_dir[static 64], uid_t uid)
{
    const char *base = getenv("TMPDIR");
    if (!base || strlen(base) > 40)                     /* a socket's path has room for 107 bytes */
        base = "/tmp";
    snprintf(ret_dir, 64, "%s/mmtest.XXXXXX", base);
    assert_non_null(mkdtemp(ret_dir));
    assert_int_equal(chmod(ret_dir, 0755), 0);
    if (uid != 0 && uid != geteuid())
        assert_int_equal(chown(ret_dir, uid, (gid_t)-1), 0);
}

void test_dir_remove(const char *dir)
{
    DIR *list = opendir(dir);
    struct dirent *entry;
    while (list && (entry = readdir(list))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        char path[64 + 1 + 256];
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        if (unlink(path) < 0 && errno == EISDIR)
            test_dir_remove(path);
    }
    if (list)
        closedir(list);
    rmdir(dir);
}

/* ---- Start ---- */

static void child_limits(const struct test_daemon_setup *setup)
{
    if (setup->files)
        child_check(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ setup->files, setup->files }) == 0);
    if (setup->address_bytes)
        child_check(setrlimit(RLIMIT_AS, &(struct rlimit){ setup->address_bytes, setup->address_bytes }) == 0);
}

static void child_become(uid_t uid)
{
    if (uid == 0 || uid == geteuid())
        return;
    struct passwd *user = getpwuid(uid);
    gid_t gid = user ? user->pw_gid : (gid_t)uid;
    child_check(setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
}

/* In the child: becomes the daemon. `ready` is the write end of the pipe that it reports on. */
static void child_exec(const struct test_daemon *daemon, const struct test_daemon_setup *setup, int ready, char **argv)
{
    int log = open(daemon->log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    child_check(log >= 0);
    int null = open("/dev/null", O_RDONLY);
    setsid();                                           /* a session of its own: what it leaves behind can be counted */
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    dup2(ready, 3);                                     /* last: log or null may have been 3 */
    fcntl(3, F_SETFD, 0);                               /* and so may ready have been: then the copy changed nothing */
    for (int fd = 4; fd < 256; fd++)
        close(fd);
    child_become(setup->uid);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    child_limits(setup);
    execvp(argv[0], argv);
    child_check_failed(__FILE__, __LINE__, argv[0], errno);
}

static void argv_fill(char *argv[OPTIONS_MAX + 6], char *socket_option, const char *option, va_list more)
{
    int count = 0;
    argv[count++] = (char *)test_daemon_program();
    argv[count++] = socket_option;
    argv[count++] = "--ready-fd=3";
    argv[count++] = "--heap-idle=0";                    /* what follows wins; without: cases count collections, however slow the machine is, */
    argv[count++] = "--pressure-file=";                 /* and what memory it is short of is not theirs */
    for (; option; option = va_arg(more, const char *)) {
        assert_true(count < OPTIONS_MAX + 5);
        argv[count++] = (char *)option;
    }
    argv[count] = NULL;
}

static void log_print(const struct test_daemon *daemon)
{
    char line[1024];
    FILE *file = fopen(daemon->log, "re");
    print_error("---- morphmemd %d, its log:\n", (int)daemon->pid);
    while (file && fgets(line, sizeof line, file))
        print_error("%s", line);
    print_error("---- end of the log\n");
    if (file)
        fclose(file);
}

static bool cleanup(void)
{
    bool any = false;
    while (running) {
        struct test_daemon *daemon = running;
        any = true;
        int status;
        if (daemon->pid && waitpid(daemon->pid, &status, WNOHANG) == daemon->pid)
            print_error("morphmemd %d had died: status 0x%x\n", (int)daemon->pid, status);
        else if (daemon->pid) {
            kill(daemon->pid, SIGKILL);
            waitpid(daemon->pid, NULL, 0);
        }
        log_print(daemon);
        daemon->pid = 0;
        test_daemon_free(daemon);
    }
    return any;
}

static void cleanup_at_exit(void)
{
    (void)cleanup();
}

static struct test_daemon *daemon_new(uid_t uid)
{
    static bool registered;
    struct test_daemon *daemon = calloc(1, sizeof *daemon);
    assert_non_null(daemon);
    test_dir_make(daemon->dir, uid);
    snprintf(daemon->socket, sizeof daemon->socket, "%s/socket", daemon->dir);
    snprintf(daemon->log, sizeof daemon->log, "%s/log", daemon->dir);
    daemon->next = running;
    running = daemon;
    test_daemon_cleanup = cleanup;
    if (!registered)
        atexit(cleanup_at_exit);
    registered = true;
    return daemon;
}

/* One byte, then the end of the pipe: it listens. The end alone: it has died. */
static void ready_wait(int fd)
{
    char byte[2];
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    int ready = poll(&poll_fd, 1, 10000 * (int)test_slowness());
    ssize_t got = ready == 1 ? read(fd, byte, sizeof byte) : -1;
    close(fd);
    int error = errno;
    if (got != 1)
        fail_msg("morphmemd (%s) did not start: %s", test_daemon_program(), got == 0 ? "it ended" : ready == 0 ? "it did not report in time" : strerror(error));
}

/* A copy of the program in the daemon's directory: another user may not be able to reach the build tree (/root, say). */
static void program_copy(const struct test_daemon *daemon, char ret_path[128])
{
    char buffer[65536];
    ssize_t bytes;
    snprintf(ret_path, 128, "%s/morphmemd", daemon->dir);
    int from = open(test_daemon_program(), O_RDONLY | O_CLOEXEC), to = open(ret_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    assert_true(from >= 0 && to >= 0);
    while ((bytes = read(from, buffer, sizeof buffer)) > 0)
        assert_int_equal(write(to, buffer, (size_t)bytes), bytes);
    assert_int_equal(bytes, 0);
    close(from);
    close(to);
}

static struct test_daemon *start(const struct test_daemon_setup *setup, const char *option, va_list more)
{
    struct test_daemon *daemon = daemon_new(setup->uid);
    char socket_option[128], *argv[OPTIONS_MAX + 6];
    snprintf(socket_option, sizeof socket_option, "--socket=%s", daemon->socket);
    argv_fill(argv, socket_option, option, more);
    char program[128];
    if (setup->uid) {
        program_copy(daemon, program);
        argv[0] = program;
    }
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child_exec(daemon, setup, ready[1], argv);
    close(ready[1]);
    daemon->pid = pid;
    ready_wait(ready[0]);
    setenv("MORPHMEM_SOCKET", daemon->socket, 1);
    setenv("XDG_RUNTIME_DIR", daemon->dir, 1);
    return daemon;
}

struct test_daemon *test_daemon_start_with(const struct test_daemon_setup *setup, const char *option, ...)
{
    va_list more;
    va_start(more, option);
    struct test_daemon *daemon = start(setup, option, more);
    va_end(more);
    return daemon;
}

struct test_daemon *test_daemon_start(const char *option, ...)
{
    va_list more;
    va_start(more, option);
    struct test_daemon *daemon = start(&(struct test_daemon_setup){ 0 }, option, more);
    va_end(more);
    return daemon;
}

struct test_daemon *test_daemon_start_as(uid_t uid, const char *option, ...)
{
    va_list more;
    va_start(more, option);
    struct test_daemon *daemon = start(&(struct test_daemon_setup){ .uid = uid }, option, more);
    va_end(more);
    return daemon;
}

/* ---- End ---- */

static int reap(struct test_daemon *daemon, unsigned deadline_ms)
{
    int status = 0;
    bool ended = test_wait_until(waitpid(daemon->pid, &status, WNOHANG) == daemon->pid, deadline_ms);
    if (!ended)
        fail_msg("morphmemd %d did not end in %u ms", (int)daemon->pid, deadline_ms);
    return status;
}

void test_daemon_terminate(struct test_daemon *daemon)
{
    assert_int_equal(kill(daemon->pid, SIGTERM), 0);
    int status = reap(daemon, 10000 * test_slowness());
    pid_t pid = daemon->pid;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("morphmemd ended with status 0x%x", status);
    daemon->pid = 0;
    assert_true(kill(-pid, 0) < 0 && errno == ESRCH);               /* no process of its session is left */
    assert_true(access(daemon->socket, F_OK) < 0);
}

void test_daemon_free(struct test_daemon *daemon)
{
    struct test_daemon **link = &running;
    while (*link != daemon)
        link = &(*link)->next;
    *link = daemon->next;
    if (!running) {
        unsetenv("MORPHMEM_SOCKET");
        unsetenv("XDG_RUNTIME_DIR");
    }
    test_dir_remove(daemon->dir);
    free(daemon);
}

void test_daemon_stop(struct test_daemon *daemon)
{
    test_daemon_terminate(daemon);
    test_daemon_free(daemon);
}

void test_daemon_kill(struct test_daemon *daemon)
{
    assert_int_equal(kill(daemon->pid, SIGKILL), 0);
    int status = reap(daemon, 10000);
    daemon->pid = 0;
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);    /* it had not died before of something else */
}

void test_daemon_pause(struct test_daemon *daemon)
{
    int status = 0;
    assert_int_equal(kill(daemon->pid, SIGSTOP), 0);
    assert_int_equal(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
    assert_true(WIFSTOPPED(status));
}

void test_daemon_continue(struct test_daemon *daemon)
{
    assert_int_equal(kill(daemon->pid, SIGCONT), 0);
}

bool test_daemon_logged(const struct test_daemon *daemon, const char *text)
{
    char line[1024];
    bool found = false;
    FILE *file = fopen(daemon->log, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return found;
}

/* ---- Memory, from outside ---- */

#define SEGMENTS 512u

/* The inodes of the segments that a process has mapped. */
static unsigned segments_of(pid_t pid, unsigned long *ret_inode)
{
    char path[64], line[512];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long inode;
        if (strstr(line, "memfd:morphmem-segment") && sscanf(line, "%*s %*s %*s %*s %lu", &inode) == 1 &&
            (count == 0 || ret_inode[count - 1] != inode) && count < SEGMENTS)
            ret_inode[count++] = inode;
    }
    if (maps)
        fclose(maps);
    return count;
}

static bool among(const unsigned long *inode, unsigned count, unsigned long wanted)
{
    while (count && inode[count - 1] != wanted)
        count--;
    return count > 0;
}

uint64_t test_segment_bytes(const struct test_daemon *daemon, pid_t client)
{
    char path[64], to[64];
    unsigned long inode[SEGMENTS];
    unsigned count = client ? segments_of(client, inode) : 0;
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        struct stat st;
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, to, sizeof to - 1);
        if (n <= 0)
            continue;
        to[n] = 0;
        if (strstr(to, "memfd:morphmem-segment") && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            (!client || among(inode, count, (unsigned long)st.st_ino)))
            bytes += (uint64_t)st.st_blocks * 512;
    }
    closedir(dir);
    return bytes;
}
