/* autospawn.c — no daemon? Start this user's private one, the way desktop services start on demand.
 *
 * `morphmemd --private` puts itself into the background, takes a lock, and says on a pipe when it can be reached; a second one that finds
 * the lock taken waits for the first and says the same. So any number of processes may do this at once. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/internal.h"
#include "proto/address.h"

extern char **environ;

/* Where the private daemon's log goes: beside its socket. */
static int log_path(char path[MM_ADDRESS_BYTES + 8])
{
    char socket[MM_ADDRESS_BYTES];
    if (mm_address_user(socket) < 0 || mm_address_prepare(socket) < 0)
        return -1;
    return snprintf(path, MM_ADDRESS_BYTES + 8, "%s.log", socket) > 0 ? 0 : -1;
}

static int spawn_daemon(const char *program, int ready_fd, pid_t *ret_pid)
{
    char log[MM_ADDRESS_BYTES + 8], ready[24];
    if (log_path(log) < 0)
        return EACCES;
    snprintf(ready, sizeof ready, "--ready-fd=%d", ready_fd);
    char *const argv[] = { (char *)"morphmemd", (char *)"--private", ready, NULL };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    posix_spawn_file_actions_adddup2(&actions, ready_fd, ready_fd);     /* the same number: clears close-on-exec */
    int r = posix_spawnp(ret_pid, program, &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r;
}

int morph__autospawn(uint32_t timeout_ms)
{
    const char *program = getenv("MORPHMEMD");
    int ready[2];
    pid_t pid;
    if (pipe2(ready, O_CLOEXEC) < 0)
        return morph__error_of_errno(-errno);
    if (!program || !*program)
        program = access(MORPH_BINDIR "/morphmemd", X_OK) == 0 ? MORPH_BINDIR "/morphmemd" : "morphmemd";
    int r = spawn_daemon(program, ready[1], &pid);
    close(ready[1]);
    char byte;
    bool heard = false;
    if (r == 0) {
        struct pollfd readable = { .fd = ready[0], .events = POLLIN };
        while ((r = poll(&readable, 1, (int)timeout_ms)) < 0 && errno == EINTR)
            ;
        heard = r > 0 && read(ready[0], &byte, 1) == 1;
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)     /* the foreground half ends at once */
            ;
    }
    close(ready[0]);
    return heard ? 0 : r == 0 ? MORPH_ETIMEOUT : MORPH_ENODAEMON;
}
