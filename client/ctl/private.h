/* private.h — a daemon of one's own, for the time of one command: started in a new temporary directory, ended with all that it left.
 *
 * The caller has blocked SIGCHLD, SIGINT, SIGTERM and SIGHUP and reads them from a signalfd.
 */
#ifndef CTL_PRIVATE_H
#define CTL_PRIVATE_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto/address.h"

struct private_daemon {
    pid_t pid;                          /* 0: not running */
    char  directory[MM_ADDRESS_BYTES];  /* empty: none */
    char  socket[MM_ADDRESS_BYTES];
};

/* Starts morphmemd and waits until it listens. `limit`: of each heap, or NULL. `log`: file for its log, or NULL (warnings to stderr).
 * `signals` is a signalfd: something on it that is not about a child ends the wait. `unblocked` is the mask that the daemon gets.
 * 0; -EINTR: a signal is waiting; else a negative errno with a sentence on stderr. Ends with private_stop() in any case. */
int private_start(struct private_daemon *daemon, const char *limit, const char *log, int signals, const sigset_t *unblocked);

/* Ends the daemon, orderly if it obeys within some seconds, and removes the directory. Takes SIGCHLD: no other child may run. */
void private_stop(struct private_daemon *daemon);

#endif
