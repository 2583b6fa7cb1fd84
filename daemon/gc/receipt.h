/* receipt.h — the record of one collection: why, when each phase ended, what it moved, who was late. The one source of the log, of the
 * statistics and of 'morphmemctl log'.
 *
 * Threads: the heap's worker writes a receipt into the heap's log when a collection has ended; the loop thread reads the log under its
 * lock. */
#ifndef DAEMON_RECEIPT_H
#define DAEMON_RECEIPT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/gc/histogram.h"

#define RECEIPT_REASONS(X)                              \
    X(NURSERY,  "the nursery is full")                  \
    X(OLD,      "the old generation has grown enough")  \
    X(LIMIT,    "the heap is at its limit")             \
    X(ASKED,    "the program asked for it")             \
    X(TOOL,     "morphmemctl asked for it")             \
    X(STRESS,   "the stress option")                    \
    X(BUDGET,   "the machine's budget is short")        \
    X(IDLE,     "the heap has not asked for memory for a while")
enum receipt_reason {
#define X(name, text) RECEIPT_##name,
    RECEIPT_REASONS(X)
#undef X
    RECEIPT_REASON_COUNT
};

struct receipt {
    uint64_t number;            /* of the daemon's collections, from 1 */
    uint64_t heap, cycle;       /* cycle: of the heap's, from 1 */
    uint32_t kind;              /* enum mm_collection */
    uint32_t reason;            /* enum receipt_reason */
    uint64_t ended_at_ns;       /* wall clock, for people */

    /* Nanoseconds: how long each part took. pause = from stopped to resumed. */
    uint64_t wait_ns;           /* asked for, until stopping began */
    uint64_t stop_ns;           /* until every thread had stopped */
    uint64_t roots_ns, remset_ns, trace_ns, weak_ns, finish_ns, pause_ns;

    uint64_t target_ns;         /* what the pause was to keep to; 0: nothing */

    uint64_t threads, roots, cards;
    uint64_t young_bytes;       /* granted to threads since the last collection */
    uint64_t copied_objects, copied_bytes, promoted_objects, promoted_bytes, kept_objects, kept_bytes;
    uint64_t marked_objects, marked_bytes;
    uint64_t evac_blocks, evac_objects, evac_bytes;     /* old blocks that were emptied, and what was in them */
    uint64_t mark_elapsed_ns, mark_ns, mark_slices, mark_helped;     /* of a marking that went on between pauses: from its beginning to its end, and the work */
    uint64_t assist_ns;         /* that requests for memory were kept waiting, since they ran ahead of it */
    bool     mark_began;        /* in this pause */
    bool     mark_early;        /* it had to be ended before it was done: memory was short */
    uint64_t freed_bytes;       /* blocks: from-space, and after a major collection old ones and large objects */
    uint64_t old_bytes, granted_bytes;          /* afterwards */
    uint64_t verified_objects;
    uint64_t weak_cleared, finalizers, helpers, promotion_age, nursery_bytes;
    bool     put_off;           /* a thread did not stop in time; nothing was collected */
    uint32_t late_tid;          /* which, by its own word */
};

#define RECEIPT_LOG_ENTRIES 256u

struct receipt_log {
    pthread_mutex_t  lock;
    struct receipt  *entry;     /* ring; made at the first receipt */
    uint64_t         count;     /* ever written */
    struct histogram pause, stop;
    uint64_t target_ns, over_target;    /* the last target; pauses that were longer */
    uint32_t longest_kind, longest_reason;      /* of the longest pause */
    uint64_t minors, majors, markings, mark_helped, put_offs, collect_ns, promoted_bytes, copied_bytes, freed_bytes;
    uint64_t aged_objects, aged_bytes;  /* became old, moved or where they were */
};

void receipt_log_init(struct receipt_log *log);
void receipt_log_fini(struct receipt_log *log);

/* Numbers and files a receipt, and writes its line. The worker. */
void receipt_file(struct receipt_log *log, struct receipt *receipt);

/* Collections that were made for this reason since the start, of all heaps; those that were put off do not count. Any thread. */
uint64_t receipt_count(enum receipt_reason reason);

/* The number up to which all receipts are filed. Any thread. */
uint64_t receipt_last(void);

/* The oldest receipt with a number above `after`; false: none. Any thread. */
bool receipt_next(struct receipt_log *log, uint64_t after, struct receipt *ret);

const char *receipt_kind_name(uint32_t kind);
const char *receipt_reason_name(uint32_t reason);

#endif
