/* segment.h — segments and the pool of warm ones (DESIGN D2, D8, section 12).
 *
 * A segment is one sealed memfd of 2, 32 or 256 MiB. The pool keeps zeroed ones ready, so that a new heap starts on memory that
 * is already there; it follows demand and shrinks when idle. Moves:
 *
 *   (made) COLD ──▶ LENT                        the pool was empty: never wait for warmth
 *   (made) WARMING ──▶ WARM ──▶ LENT            a worker faulted it in ahead of demand; virgin: fits any user
 *   LENT ──▶ LEAVING ──▶ ZEROING ──▶ WARM       proven free by a lease, zeroed whole; only for the same user again
 *            LEAVING ──▶ EMPTYING ──▶ (closed)  not wanted, mostly empty, or not provably free by the deadline
 *
 * Ownership: a segment belongs to the pool, or to the heap it is lent to. Threads: any; one lock around the lists, the slow
 * work (lease, zeroing, punching) is done by workers in slices on a segment that is off all lists.
 * Memory of the pool is charged to the budget in full; of a lent segment: see charged_bytes. */
#ifndef DAEMON_SEGMENT_H
#define DAEMON_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shm/layout.h"

#define SEGMENT_STATES(X) X(COLD) X(WARMING) X(WARM) X(LENT) X(LEAVING) X(ZEROING) X(EMPTYING)
enum segment_state {
#define X(name) SEGMENT_##name,
    SEGMENT_STATES(X)
#undef X
    SEGMENT_STATE_COUNT
};

/* Whose data a segment may hold: memory goes round between the heaps of one user only. */
struct segment_owner { uid_t uid; uint64_t user_namespace; };

struct segment {
    struct segment      *next;          /* in the pool's list or in its heap's */
    int                  fd;            /* ours; the client gets another open file description */
    unsigned             size;          /* 0, 1, 2: index of the three sizes */
    enum segment_state   state;
    bool                 virgin;        /* never lent */
    struct segment_owner owner;         /* when not virgin */
    char                *base;          /* where this process has it mapped now */
    uint64_t             bytes;
    uint64_t             charged_bytes; /* of the budget */
    uint64_t             done_bytes;    /* progress of warming, zeroing, emptying */
    uint64_t             retry_ns, deadline_ns, wait_ns;        /* LEAVING */
    uint32_t             chunk;         /* LENT: first chunk in its heap */
};

static inline uint64_t segment_size_bytes(unsigned size)
{
    return size == 0 ? MM_SEGMENT_SMALL : size == 1 ? MM_SEGMENT_MEDIUM : MM_SEGMENT_LARGE;
}

struct segment_figures {
    uint64_t warm_bytes, target_bytes, zeroing_bytes, leaving_bytes;
    uint64_t lent, lent_warm, lent_cold, recycled, destroyed, zeroed_bytes;
};

void segment_pool_init(bool huge_pages);
void segment_pool_fini(void);                   /* closes all that is pooled; lent ones must be back */
bool segment_huge_pages(void);

/* A segment for `owner`, mapped at `at` (inside a reserve), state LENT; the caller owns it. Warm if there is one, else cold.
 * NULL with a positive morphmem error number in *ret_error. */
struct segment *segment_lend(unsigned size, struct segment_owner owner, void *at, int *ret_error);

/* Takes a lent segment back; where it was mapped is PROT_NONE address space again. Never fails. */
void segment_return(struct segment *segment);

/* One slice (well under a millisecond) of the most useful work; false if there is none now. Workers. */
bool segment_work(void);

/* When timed work is due next (a lease to try again, the pool's target to lower), as os.now_ns(); UINT64_MAX: never. */
uint64_t segment_due_ns(void);

/* Closes warm segments until `bytes` of budget are free or none is left. Any thread. */
void segment_shed(uint64_t bytes);

/* Closes one segment that nobody has, for its descriptor, and warms no fresh ones for a while; false: there was none. Any thread. */
bool segment_shed_descriptor(void);

/* Bytes of segments that come back, or are being made ready: closed or WARM before long, so that the budget will have more room. Any thread. */
uint64_t segment_pending_bytes(void);

void segment_figures(struct segment_figures *ret);

#endif
