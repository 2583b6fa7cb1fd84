/* host.c — starting and ending the driver's daemon. See host.h. */
#define _GNU_SOURCE
#include "tests/bench/host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 10000

/* MORPHMEMD, or the build tree's. NULL: there is none. */
static const char *program_find(void)
{
    static const char *const places[] = { "../../daemon/morphmemd", "../../morphmemd" };
    static char path[PATH_MAX];
    const char *named = getenv("MORPHMEMD");
    if (named && *named)
        return named;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    if (length < 0)
        return NULL;
    path[length] = 0;
    char *name = strrchr(path, '/') + 1;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        strcpy(name, places[i]);
        if (access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

static void daemon_exec(const struct host *host, const char *program, bool cold, int ready, pid_t driver)
{
    char socket[96], ready_fd[32];
    const char *argv[] = {
        program, socket, ready_fd, "--log-level=warning", cold ? "--pool-min=0" : NULL, "--pool-max=4K", NULL,
    };
    snprintf(socket, sizeof socket, "--socket=%s", host->socket);
    snprintf(ready_fd, sizeof ready_fd, "--ready-fd=%d", ready);
    setpgid(0, 0);                          /* an interrupt at the terminal is for the driver, which then ends this */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    fcntl(ready, F_SETFD, 0);
    if (getppid() == driver)
        execv(program, (char **)argv);
    fprintf(stderr, "bench: %s: %s\n", program, strerror(errno));
    _exit(127);
}

static int ready_wait(int fd)
{
    char byte;
    struct pollfd wanted = { .fd = fd, .events = POLLIN };
    return poll(&wanted, 1, READY_MS) == 1 && read(fd, &byte, 1) == 1 ? 0 : -1;
}

int host_start(struct host *host, bool cold)
{
    const char *program = program_find(), *base = getenv("TMPDIR");
    int ready[2];
    *host = (struct host){ 0 };
    if (!program) {
        fprintf(stderr, "bench: there is no morphmemd; build it, or name it in MORPHMEMD\n");
        return -1;
    }
    snprintf(host->directory, sizeof host->directory, "%s/morphmem-bench.XXXXXX", base && strlen(base) < 32 ? base : "/tmp");
    if (!mkdtemp(host->directory) || pipe2(ready, O_CLOEXEC) < 0) {
        fprintf(stderr, "bench: %s: %s\n", host->directory, strerror(errno));
        return -1;
    }
    snprintf(host->socket, sizeof host->socket, "%s/socket", host->directory);
    pid_t driver = getpid();
    host->pid = fork();
    if (host->pid == 0)
        daemon_exec(host, program, cold, ready[1], driver);
    close(ready[1]);
    int r = host->pid > 0 ? ready_wait(ready[0]) : -1;
    close(ready[0]);
    if (r < 0) {
        fprintf(stderr, "bench: %s did not start\n", program);
        host_stop(host);
    }
    return r;
}

static void directory_remove(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    (void)rmdir(path);
}

void host_stop(struct host *host)
{
    if (host->pid > 0) {
        kill(host->pid, SIGTERM);
        while (waitpid(host->pid, NULL, 0) < 0 && errno == EINTR)
            kill(host->pid, SIGKILL);               /* interrupted once more: somebody is in a hurry */
    }
    if (host->directory[0])
        directory_remove(host->directory);
    *host = (struct host){ 0 };
}
