/* link.h — a connection to the daemon: greeting, question, answers. Starts no daemon; waits at most so long for each packet.
 *
 * A function that fails leaves a sentence for people in link->error and returns an exit code of ctl.h.
 */
#ifndef CTL_LINK_H
#define CTL_LINK_H

#include <jansson.h>
#include <stdint.h>

#include "proto/address.h"
#include "proto/message.h"

#define LINK_TIMEOUT_MS   5000
#define LINK_REPORTS_MAX  1000000u      /* parts of one answer: more than any daemon has heaps */

struct link {
    int      fd;                        /* -1: not connected */
    uint32_t seq;                       /* of the latest request */
    int      timeout_ms;                /* for each packet; LINK_TIMEOUT_MS unless changed */
    uint32_t refused;                   /* number of the error that the daemon answered with (morphmem/error.h); 0: none */
    char     path[MM_ADDRESS_BYTES];    /* where the daemon is */
    char     error[640];
    char     packet[MM_PACKET_MAX];     /* the latest one received; messages borrow from it */
};

/* Finds a daemon (`socket` may be NULL) and greets it. Ends with link_close(), also after a failure. */
int link_open(struct link *link, const char *socket);

/* The same over a connected socket, which it takes. */
int link_greet(struct link *link, int fd);

void link_close(struct link *link);

/* Asks, and stores the bodies of all parts of the answer as an array (the caller's). `request->seq` is set here. */
int link_ask(struct link *link, struct mm_message *request, json_t **ret_bodies);

#endif
