/* elevator.h — blocks in which something waits, visited in the order of their addresses, over and over.
 *
 * A marker that goes to whatever it found last goes all over the heap: nearly each object is a page that is not in the TLB and a line that is in
 * no cache. Here what was found waits in its block until the marker comes by, as requests wait for the arm of a disk (Denning, "Effects of scheduling
 * on file memory operations", AFIPS 1967; for a collector, Printezis and Detlefs, "A generational mostly-concurrent garbage collector", ISMM 2000,
 * whose finger goes over the heap once). What waits in a block is its own matter: trace.c.
 * Threads: one at a time, or several, each of which holds one lock in every call but elevator_called(). Who notes that something waits in a block, and then sees that it is called
 * (both seq_cst), need not call it: whoever takes it from here looks at the block after that. */
#ifndef DAEMON_GC_ELEVATOR_H
#define DAEMON_GC_ELEVATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/atomic.h"

struct gc_elevator {
    uint64_t *block;            /* a bit each: something waits there */
    uint64_t *word;             /* a bit for each word of `block`: it is not 0 */
    uint32_t  words;            /* of `word` */
    uint32_t  at;               /* the block behind the last one */
    uint32_t  count;            /* blocks in which something waits */
};

#define ELEVATOR_NONE UINT32_MAX

/* For blocks below `blocks`. False: no memory, and nothing to be freed. */
bool elevator_init(struct gc_elevator *elevator, uint64_t blocks);
void elevator_free(struct gc_elevator *elevator);

/* Does something wait in the block? */
static inline bool elevator_called(const struct gc_elevator *elevator, uint32_t block)
{
    return mm_load_seq_cst(&elevator->block[block / 64]) >> block % 64 & 1;     /* pairs with the exchange in elevator_next() */
}

/* Something waits in the block: it will be visited once more, after those that lie on the way to it. */
static inline void elevator_call(struct gc_elevator *elevator, uint32_t block)
{
    uint64_t bit = (uint64_t)1 << block % 64;
    if (__atomic_fetch_or(&elevator->block[block / 64], bit, __ATOMIC_SEQ_CST) & bit)
        return;
    elevator->word[block / 4096] |= (uint64_t)1 << block / 64 % 64;
    mm_store_relaxed(&elevator->count, elevator->count + 1);
}

/* The next block, and nothing waits there any more; behind the last one comes the first. ELEVATOR_NONE: there is none. */
uint32_t elevator_next(struct gc_elevator *elevator);

#endif
