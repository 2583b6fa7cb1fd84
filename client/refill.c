/* refill.c — memory for a thread: spare runs first, then what the daemon granted ahead, then a request (door: shm/ring.h; other side:
 * daemon/heap/refill.c).
 *
 * The waiting follows PROTOCOLS section 3: request, NATIVE, asleep, doorbell, a last look, futex. No wait is without an end: every 20 ms the
 * socket is looked at, and after the heap's time-out the caller gets MORPH_ETIMEOUT; what the daemon grants later is not lost.
 * A thread's own, except where heap->lock is taken. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/park.h"

void morph__ring_doorbell(struct morph_heap *heap)
{
    uint64_t one = 1;
    if (mm_doorbell_wanted(heap->control))
        (void)!write(heap->doorbell, &one, sizeof one);
}

/* Has the daemon gone, or given this heap up? Hears its letters on the way. */
int morph__look_at_daemon(struct morph_heap *heap)
{
    struct pollfd poll_now = { .fd = heap->socket, .events = POLLIN | POLLRDHUP };
    uint32_t condemned = mm_load_relaxed(&heap->control->condemned);
    if (condemned)
        morph__lose(heap, MORPH_ECONDEMNED);
    else if (poll(&poll_now, 1, 0) > 0) {
        morph__lock(heap);
        morph__letters(heap);
        morph__unlock(heap);
    }
    return morph__status(heap);
}

/* Blocks of a cell are in segments that came before it; those that wait in the socket are mapped now. */
int morph__cell_map(struct morph_heap *heap, const struct mm_cell *cell)
{
    uint64_t end = (uint64_t)cell->block + cell->count;
    if (cell->count == 0 || end << MM_BLOCK_SHIFT > heap->reserve_bytes)
        return MORPH_EPROTOCOL;
    /* Pairs with the release in segment.c. */
    if (end <= (uint64_t)mm_load_acquire(&heap->mapped_chunks) * MM_CHUNK_BLOCKS)
        return 0;
    morph__lock(heap);
    int r = morph__letters(heap);
    morph__unlock(heap);
    if (r < 0)
        return r;
    return end <= (uint64_t)mm_load_acquire(&heap->mapped_chunks) * MM_CHUNK_BLOCKS ? 0 : MORPH_EPROTOCOL;
}

void morph__map_promised(struct morph_heap *heap)
{
    uint64_t deadline = mm_now_ns() + (uint64_t)heap->timeout_ms * 1000000;
    while (!morph__status(heap) && mm_load_relaxed(&heap->control->mapped_chunks) > mm_load_acquire(&heap->mapped_chunks)) {
        struct pollfd readable = { .fd = heap->socket, .events = POLLIN };
        morph__lock(heap);
        morph__letters(heap);
        morph__unlock(heap);
        if (mm_load_relaxed(&heap->control->mapped_chunks) <= mm_load_acquire(&heap->mapped_chunks))
            return;
        if (mm_now_ns() >= deadline)
            morph__lose(heap, MORPH_EPROTOCOL);         /* it was promised before it was sent */
        else
            (void)poll(&readable, 1, 20);
    }
}

/* Maps present pages sixteen at a time: one read a block lets the kernel map the pages around it (DESIGN D8). */
void morph__touch(const struct morph_heap *heap, const char *at, uint32_t blocks)
{
    if (heap->huge_pages)
        return;
    for (uint32_t i = 0; i < blocks; i++)
        (void)*(const volatile char *)(at + ((uint64_t)i << MM_BLOCK_SHIFT));
}

/* ---- Waiting ---- */

bool morph__ring_look(struct morph__thread *thread)
{
    struct morph_heap *heap = thread->heap;
    struct mm_slot *slot = thread->slot;
    uint32_t head = slot->ring_head;
    uint64_t start = mm_now_ns();
    morph__ring_doorbell(heap);
    if (!heap->spin || mm_load_relaxed(&heap->threads) != 1)
        return false;
    while (mm_load_acquire(&slot->ring_tail) == head && !(mm_load_relaxed(&heap->control->stop) & 1) && mm_now_ns() - start < MM_SPIN_NS)
        mm_cpu_relax();
    return mm_load_acquire(&slot->ring_tail) != head;
}

/* Waits until the ring holds a cell. 0, or why there will be none. */
int morph__ring_wait(struct morph__thread *thread)
{
    struct morph_heap *heap = thread->heap;
    struct mm_slot *slot = thread->slot;
    uint32_t head = slot->ring_head;
    uint64_t start = mm_now_ns(), deadline = start + (uint64_t)heap->timeout_ms * 1000000;
    int r = 0;
    morph__ring_doorbell(heap);
    if (heap->spin && mm_load_relaxed(&heap->threads) == 1)     /* our running threads leave a core for the worker */
        while (mm_load_acquire(&slot->ring_tail) == head && mm_now_ns() - start < (heap->collected ? MORPH__PAUSE_SPIN_NS : MM_SPIN_NS))
            mm_cpu_relax();
    while (mm_load_acquire(&slot->ring_tail) == head) {
        (void)mm_xchg_seq_cst(&slot->asleep, 1);                /* pairs with the daemon's load after it published */
        morph__ring_doorbell(heap);
        uint32_t seen = mm_load_seq_cst(&slot->ring_tail);      /* pairs with mm_ring_put(): the last look */
        if (seen != head)
            break;
        (void)mm_park(&slot->ring_tail, seen, MM_PARK_SLICE_NS);
        mm_store_relaxed(&slot->waits, slot->waits + 1);
        if (mm_load_acquire(&slot->ring_tail) != head)
            break;
        if ((r = morph__look_at_daemon(heap)) < 0)
            break;
        if (mm_now_ns() >= deadline) {
            r = MORPH_ETIMEOUT;
            break;
        }
    }
    mm_store_seq_cst(&slot->asleep, 0);
    mm_store_relaxed(&slot->wait_ns, slot->wait_ns + (mm_now_ns() - start));
    return r;
}

void morph__request_put(struct mm_slot *slot, uint32_t kind, uint32_t want, uint32_t min)
{
    mm_store_relaxed(&slot->request_kind, kind);
    mm_store_relaxed(&slot->request_blocks, want);
    mm_store_relaxed(&slot->request_min, min);
    uint32_t seq = slot->request_seq + 1;
    mm_store_seq_cst(&slot->request_seq, seq ? seq : 1);        /* pairs with the worker's acquire, and with a worker about to sleep */
}

/* ---- Runs ---- */

/* Files a granted cell under the spare runs; a refusal of our request is its error. */
static int cell_take_in(struct morph__thread *thread, const struct mm_cell *cell)
{
    struct morph_heap *heap = thread->heap;
    if (cell->kind == MM_GRANT_REFUSED)
        return cell->seq == thread->slot->request_seq ? -(int)cell->block : 0;
    bool ours = cell->kind == MM_GRANT_YOUNG || cell->kind == MM_GRANT_OLD;
    int r = cell->kind == MM_GRANT_RUN || ours ? morph__cell_map(heap, cell) : MORPH_EPROTOCOL;
    if (r == 0 && ours) {
        morph__stash(thread, cell);
        return 0;
    }
    if (r < 0) {
        morph__lose(heap, r);
        return morph__status(heap);
    }
    morph__lock(heap);
    morph__spare_put(heap, heap->base + ((uint64_t)cell->block << MM_BLOCK_SHIFT), cell->count, true);
    morph__unlock(heap);
    return 0;
}

/* A run from the spare ones. When they run low, says what should come next and wakes the daemon, so that it comes before it is missed. */
static struct mm_run *take_spare(struct morph__thread *thread, uint32_t want, uint32_t min, bool *ret_zeroed)
{
    struct morph_heap *heap = thread->heap;
    morph__lock(heap);
    struct mm_run *run = morph__spare_take(heap, want, min, ret_zeroed);
    bool low = run && heap->spare_blocks < want;
    morph__unlock(heap);
    if (low && mm_load_acquire(&thread->slot->ring_tail) == thread->slot->ring_head) {
        uint32_t wish = want * 2 < MM_CHUNK_BLOCKS ? want * 2 : MM_CHUNK_BLOCKS;
        mm_store_seq_cst(&thread->slot->wish_blocks, wish);     /* pairs with a worker about to sleep */
        morph__ring_doorbell(heap);
    }
    return run;
}

/* From the spare runs, the ring, or by asking. 0 or a negative code. */
static int run_find(struct morph__thread *thread, uint32_t want, uint32_t min, struct mm_run **ret_run, bool *ret_zeroed)
{
    struct mm_slot *slot = thread->slot;
    struct mm_cell cell;
    uint32_t left;
    bool asked = false;
    int r = morph__status(thread->heap);
    while (r == 0 && !(*ret_run = take_spare(thread, want, min, ret_zeroed))) {
        if (mm_ring_take(slot, &cell, &left)) {
            r = cell_take_in(thread, &cell);
            asked &= cell.seq != slot->request_seq;     /* answered; should another thread be quicker to take it, we ask again */
            continue;
        }
        if (!asked)
            morph__request_put(slot, MM_GRANT_RUN, want, min);
        asked = true;
        bool runs = slot->state == MM_SLOT_RUNNING;             /* a shared pool's slot never does */
        if (runs)
            morph__enter(thread, MM_SLOT_NATIVE);               /* a collection need not wait for a thread that waits */
        r = morph__ring_wait(thread);
        if (runs)
            morph__leave(thread);
    }
    return r;
}

/* Gives every spare run back, and wants nothing ahead; false if there was none. What is spare is in pieces that were too small, and counts
 * against the bound. */
void morph__ring_drain(struct morph__thread *thread)
{
    struct mm_cell cell;
    uint32_t left;
    mm_store_seq_cst(&thread->slot->wish_blocks, 0);            /* or more would come */
    while (mm_ring_take(thread->slot, &cell, &left))
        (void)cell_take_in(thread, &cell);                      /* what is wrong with it shows in the status */
}

bool morph__spare_give(struct morph__thread *thread)
{
    struct morph_heap *heap = thread->heap;
    struct mm_run *run;
    bool zeroed, any = false;
    mm_store_seq_cst(&thread->slot->wish_blocks, 0);
    morph__lock(heap);
    while ((run = morph__spare_take(heap, 1u << 30, 1, &zeroed))) {
        if (!mm_give_put(thread->slot, morph__block_of(heap, run), run->blocks)) {
            morph__spare_put(heap, (char *)run, run->blocks, false);
            break;
        }
        any = true;
    }
    morph__unlock(heap);
    return any;
}

static bool refused(const struct morph_heap *heap, int r) { return r < 0 && r != MORPH_ETIMEOUT && !morph__status(heap); }

int morph__run_obtain(struct morph__thread *thread, uint32_t want, uint32_t min, struct mm_run **ret_run, bool *ret_zeroed)
{
    morph__inside_begin();
    int r = run_find(thread, want, min, ret_run, ret_zeroed);
    /* The daemon takes gifts before it hears requests. What it had still granted ahead comes in with the next round and goes back too. */
    for (unsigned round = 0; round < MM_RING_CELLS && refused(thread->heap, r) && morph__spare_give(thread); round++)
        r = run_find(thread, want, min, ret_run, ret_zeroed);
    morph__inside_end();
    if (r < 0)
        return r;
    morph__relieved(thread->heap);
    morph__touch(thread->heap, (const char *)*ret_run, (*ret_run)->blocks);
    return 0;
}

void morph__run_return(struct morph__thread *thread, struct mm_run *run)
{
    struct morph_heap *heap = thread->heap;
    struct mm_run *surplus;
    bool given = false;
    if (morph__status(heap))
        return;
    morph__lock(heap);
    morph__spare_put(heap, (char *)run, run->blocks, false);
    while ((surplus = morph__spare_surplus(heap))) {
        if (!mm_give_put(thread->slot, morph__block_of(heap, surplus), surplus->blocks)) {
            morph__spare_put(heap, (char *)surplus, surplus->blocks, false);
            break;
        }
        given = true;
    }
    morph__unlock(heap);
    if (given)
        morph__ring_doorbell(heap);
}
