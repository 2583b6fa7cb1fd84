/* ring.h — the two rings between a thread and the daemon, and the doorbell (PROTOCOLS section 3).
 *
 * Grants:     daemon produces at ring_tail, client consumes at ring_head; 8 cells of 64 bytes.
 * Give-backs: client produces at give_tail, daemon consumes at give_head; 64 words.
 *
 * Both are single-producer, single-consumer. Sleeping needs a store-then-load on either side, so the words that announce
 * sleep (asleep, armed) and the words that they watch are seq_cst; the fast paths touch none of them.
 * The daemon keeps its own ring_tail and give_head and judges the client's words against them.
 * Model: tests/unit/ring_model.c walks every interleaving of put, take, sleep and wake.
 */
#ifndef MM_RING_H
#define MM_RING_H

#include <stdbool.h>

#include "shm/atomic.h"
#include "shm/control.h"

/* ---- client's side: the slot's thread only ---- */

/* Takes the next grant into *ret_cell; false if the ring is empty. *ret_left: grants still waiting after this one. */
static inline bool mm_ring_take(struct mm_slot *slot, struct mm_cell *ret_cell, uint32_t *ret_left)
{
    uint32_t head = slot->ring_head;                            /* ours alone */
    uint32_t tail = mm_load_acquire(&slot->ring_tail);          /* pairs with the store in mm_ring_put(): the cell before the index */
    if (head == tail)
        return false;
    *ret_cell = slot->cell[head % MM_RING_CELLS];
    *ret_left = tail - (head + 1);
    (void)mm_xchg_seq_cst(&slot->ring_head, head + 1);          /* pairs with the reads of a worker about to sleep */
    return true;
}

/* True if the daemon's worker sleeps and wants the eventfd written. Call after the seq_cst store that it should see. */
static inline bool mm_doorbell_wanted(struct mm_control *control)
{
    return mm_load_seq_cst(&control->armed) == 1;               /* pairs with the worker's store of armed before its last look */
}

/* Offers `blocks` blocks from `block` back; false if the ring is full (keep them and try later). */
static inline bool mm_give_put(struct mm_slot *slot, uint32_t block, uint32_t blocks)
{
    uint32_t tail = slot->give_tail;                            /* ours alone */
    if (tail - mm_load_acquire(&slot->give_head) >= MM_GIVE_CELLS)      /* pairs with mm_give_take(): the cell is read */
        return false;
    mm_store_relaxed(&slot->give[tail % MM_GIVE_CELLS], (uint64_t)block << 32 | blocks);
    (void)mm_xchg_seq_cst(&slot->give_tail, tail + 1);          /* pairs with mm_give_take(), and with a worker about to sleep */
    return true;
}

/* ---- daemon's side: the heap's worker only (the loop thread before the worker has the heap) ---- */

/* Cells free for a grant, judged: `tail` is the daemon's own, *last_head the highest head seen. False testimony counts as full. */
static inline uint32_t mm_ring_room(struct mm_slot *slot, uint32_t tail, uint32_t *last_head)
{
    uint32_t head = mm_load_seq_cst(&slot->ring_head);          /* pairs with mm_ring_take() */
    if (head - *last_head > tail - *last_head)                  /* outside [last head, tail] */
        return 0;
    *last_head = head;
    return MM_RING_CELLS - (tail - head);
}

/* Publishes a grant at *tail and says whether the client sleeps (then: mm_ring_wake()). The caller made sure there is room. */
static inline bool mm_ring_put(struct mm_slot *slot, uint32_t *tail, const struct mm_cell *cell)
{
    slot->cell[*tail % MM_RING_CELLS] = *cell;
    *tail += 1;
    mm_store_seq_cst(&slot->ring_tail, *tail);                  /* pairs with mm_ring_take(), and with a client about to sleep */
    return mm_load_seq_cst(&slot->asleep) == 1;                 /* pairs with the client's xchg of asleep before its last look */
}

/* Takes one give-back into *ret; false if there is none. *head is the daemon's own; false testimony counts as none. */
static inline bool mm_give_take(struct mm_slot *slot, uint32_t *head, uint64_t *ret)
{
    uint32_t tail = mm_load_seq_cst(&slot->give_tail);          /* pairs with mm_give_put() */
    if (tail == *head || tail - *head > MM_GIVE_CELLS)
        return false;
    *ret = mm_load_relaxed(&slot->give[*head % MM_GIVE_CELLS]);
    *head += 1;
    mm_store_release(&slot->give_head, *head);                  /* pairs with mm_give_put(): the cell is read */
    return true;
}

#endif
