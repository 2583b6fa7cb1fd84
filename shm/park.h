/* park.h — sleeping on a shared word. Futexes without the PRIVATE flag: waiter and waker are two processes.
 *
 * Nobody sleeps without a deadline: a peer may die at any instruction and take the wake with it (DESIGN D14).
 */
#ifndef MM_PARK_H
#define MM_PARK_H

#include <stdint.h>

#define MM_PARK_SLICE_NS  20000000ull       /* at most 20 ms before looking whether the peer is still there */
#define MM_SPIN_NS        20000ull          /* spin no longer than this before sleeping */

/* Sleeps while *word == seen, at most `ns`. Returns 0 (woken, or the word differed), -ETIMEDOUT or -EINTR. */
int mm_park(uint32_t *word, uint32_t seen, uint64_t ns);

/* Wakes up to `count` sleepers on *word (INT32_MAX: all). Never fails for a mapped word. */
void mm_unpark(uint32_t *word, int count);

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t mm_now_ns(void);

#endif
