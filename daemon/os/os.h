/* os.h — the outside world, through one struct: clock and memory files. Tests bring their own. */
#ifndef DAEMON_OS_H
#define DAEMON_OS_H

#include <stdbool.h>
#include <stdint.h>

struct os {
    uint64_t (*now_ns)(void);
    int (*memfd_new)(const char *name, uint64_t bytes);
    int (*memfd_reopen)(int fd);
    int (*memfd_prove_alone)(int fd);
    int (*memfd_punch)(int fd, uint64_t off, uint64_t bytes);
    uint64_t (*memfd_resident)(int fd);
};

extern struct os os;        /* the real one until a test replaces it, before threads start */

#endif
