/* private.c — starts and ends the daemon of `morphmemctl run`. See private.h. */
#define _GNU_SOURCE
#include "client/ctl/private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/ctl.h"

#define PRIVATE_READY_MS   15000
#define PRIVATE_END_MS     10000
#define PRIVATE_READY_FD   3            /* in the daemon */

/* ---- The child that becomes the daemon ---------------------------------------------------------------------------------- */

/* MORPHMEMD, else the one beside this program, else the one in PATH. Returns only on failure. */
static void private_exec(char **argv)
{
    const char *named = getenv("MORPHMEMD");
    char path[PATH_MAX];
    if (named && *named) {
        execvp(named, argv);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    char *slash = n > 0 && (size_t)n < sizeof path ? memrchr(path, '/', (size_t)n) : NULL;
    if (slash && (size_t)(slash - path) + sizeof "/morphmemd" <= sizeof path) {
        memcpy(slash, "/morphmemd", sizeof "/morphmemd");
        execv(path, argv);
    }
    execvp("morphmemd", argv);
}

/* Own process group, so that ^C at the terminal ends the command and not the daemon, which is still to be asked; dies with us. */
static void private_child(pid_t parent, int ready, const char *log, const sigset_t *unblocked, char **argv)
{
    setpgid(0, 0);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
        _exit(CTL_CANNOT_RUN);
    int to = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (log && (to < 0 || dup2(to, STDERR_FILENO) < 0)) {
        ctl_fail(CTL_CANNOT_RUN, "cannot write the log %s: %s", log, strerror(errno));
        _exit(CTL_CANNOT_RUN);
    }
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(CTL_CANNOT_RUN);
    if (ready == PRIVATE_READY_FD ? fcntl(ready, F_SETFD, 0) < 0 : dup2(ready, PRIVATE_READY_FD) < 0)
        _exit(CTL_CANNOT_RUN);
    sigprocmask(SIG_SETMASK, unblocked, NULL);
    private_exec(argv);
    ctl_fail(CTL_CANNOT_RUN, "cannot start morphmemd: %s; name its program in MORPHMEMD", strerror(errno));
    _exit(CTL_CANNOT_RUN);
}

/* ---- The parent --------------------------------------------------------------------------------------------------------- */

static int private_directory(struct private_daemon *daemon)
{
    const char *base = getenv("TMPDIR");
    int n = snprintf(daemon->directory, sizeof daemon->directory, "%s/morphmem-run-XXXXXX", base && *base ? base : "/tmp");
    if (n < 0 || (size_t)n + sizeof "/socket" > sizeof daemon->directory) {
        daemon->directory[0] = 0;
        ctl_fail(CTL_FAILED, "the path of the temporary directory is too long for a socket; set TMPDIR to a shorter one");
        return -ENAMETOOLONG;
    }
    if (!mkdtemp(daemon->directory)) {
        int error = errno;
        ctl_fail(CTL_FAILED, "cannot make the directory %s: %s; set TMPDIR", daemon->directory, strerror(error));
        daemon->directory[0] = 0;
        return -error;
    }
    memcpy(daemon->socket, daemon->directory, (size_t)n);
    memcpy(daemon->socket + n, "/socket", sizeof "/socket");
    return 0;
}

static int private_fork(struct private_daemon *daemon, const char *limit, const char *log, int ready, const sigset_t *unblocked)
{
    char socket[MM_ADDRESS_BYTES + 16], most[64], fd[32];
    snprintf(socket, sizeof socket, "--socket=%s", daemon->socket);
    snprintf(fd, sizeof fd, "--ready-fd=%d", PRIVATE_READY_FD);
    snprintf(most, sizeof most, "--limit-max=%s", limit ? limit : "");
    char *argv[] = { (char *)"morphmemd", socket, fd, (char *)"--idle-exit=0", (char *)(log ? "--log-level=info" : "--log-level=warning"),
                     limit ? most : NULL, NULL };
    pid_t parent = getpid();
    fflush(NULL);
    daemon->pid = fork();
    if (daemon->pid == 0)
        private_child(parent, ready, log, unblocked, argv);
    if (daemon->pid > 0)
        return 0;
    daemon->pid = 0;
    ctl_fail(CTL_FAILED, "cannot start morphmemd: %s", strerror(errno));
    return -errno;
}

/* One byte: it listens. The end of the pipe: it has failed, and has said why. */
static int private_ready(int ready, int signals)
{
    struct pollfd wait[] = { { .fd = ready, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
    struct signalfd_siginfo signal;
    char byte;
    for (;;) {
        int n = poll(wait, 2, PRIVATE_READY_MS);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) {
            ctl_fail(CTL_FAILED, "morphmemd did not start within %d s", PRIVATE_READY_MS / 1000);
            return -ETIMEDOUT;
        }
        if (wait[0].revents)
            break;
        if (wait[1].revents && read(signals, &signal, sizeof signal) == sizeof signal && signal.ssi_signo != SIGCHLD) {
            raise((int)signal.ssi_signo);       /* blocked: it comes back to whoever reads the signalfd next */
            return -EINTR;
        }
    }
    if (read(ready, &byte, 1) == 1)
        return 0;
    ctl_fail(CTL_FAILED, "morphmemd did not start");
    return -ECHILD;
}

int private_start(struct private_daemon *daemon, const char *limit, const char *log, int signals, const sigset_t *unblocked)
{
    int ready[2];
    *daemon = (struct private_daemon){ 0 };
    int r = private_directory(daemon);
    if (r < 0)
        return r;
    if (pipe2(ready, O_CLOEXEC) < 0) {
        r = -errno;
        ctl_fail(CTL_FAILED, "out of file descriptors; raise the limit (ulimit -n)");
        return r;
    }
    r = private_fork(daemon, limit, log, ready[1], unblocked);
    close(ready[1]);
    if (r == 0)
        r = private_ready(ready[0], signals);
    close(ready[0]);
    return r;
}

/* Waits for the daemon's end; false if it has not ended by then. The command is gone by now, so SIGCHLD can only be about the daemon. */
static bool private_ended(pid_t pid, int milliseconds)
{
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + milliseconds;
    for (;;) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return true;
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left_ms = end_ms - ((int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000);
        if (left_ms <= 0)
            return false;
        struct timespec wait = { .tv_sec = left_ms / 1000, .tv_nsec = left_ms % 1000 * 1000000 };
        (void)sigtimedwait(&child, NULL, &wait);
    }
}

void private_stop(struct private_daemon *daemon)
{
    if (daemon->pid > 0) {
        kill(daemon->pid, SIGTERM);
        if (!private_ended(daemon->pid, PRIVATE_END_MS)) {
            kill(daemon->pid, SIGKILL);
            waitpid(daemon->pid, NULL, 0);
        }
        daemon->pid = 0;
    }
    if (daemon->directory[0]) {
        char lock[sizeof daemon->socket + 8];
        snprintf(lock, sizeof lock, "%s.lock", daemon->socket);
        unlink(lock);
        unlink(daemon->socket);                 /* there only if the daemon was killed */
        rmdir(daemon->directory);
        daemon->directory[0] = 0;
    }
}
