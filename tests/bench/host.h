/* host.h — the driver's own morphmemd: private, in a temporary directory, gone with it. */
#ifndef BENCH_HOST_H
#define BENCH_HOST_H

#include <stdbool.h>
#include <sys/types.h>

struct host {
    pid_t pid;                      /* 0: none */
    char directory[64], socket[80];
};

/* Starts a daemon and returns once it listens. `cold`: one whose pool of warm memory stays empty. 0, or -1 with a sentence on
 * standard error. It dies with the driver, whatever happens. */
int host_start(struct host *host, bool cold);

/* Ends the daemon and removes its directory. Does nothing if there is none. */
void host_stop(struct host *host);

#endif
