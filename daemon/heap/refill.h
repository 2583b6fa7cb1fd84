/* refill.h — keep the rings of a heap's threads supplied, and take back what they give (door: shm/ring.h; other side: client/refill.c). */
#ifndef DAEMON_REFILL_H
#define DAEMON_REFILL_H

#include "daemon/heap/heap.h"

/* Serves every thread of the heap once: give-backs and requests, beginning behind the thread that was answered last; then what threads will
 * want next, from what those who asked have left. True if there was anything to do. Sets heap->retry if a request has to wait for the client to
 * read its mail, and *ret_false_testimony if the client gave back what it does not have. A ring index out of bounds counts as a full or an empty
 * ring: whoever writes one only starves itself.
 * Touches client memory: inside a guard. The heap's worker. */
bool refill_serve(struct heap *heap, bool *ret_false_testimony);

/* How long, in nanoseconds, the worker of a collected heap may sleep and still come before one of its threads has to call, by how fast they took
 * blocks from their rings. 0: not known, too short to be worth it, or so long that a call costs less.
 * Touches client memory: inside a guard. The heap's worker, after refill_serve(). */
uint64_t refill_nap_ns(const struct heap *heap);

#endif
