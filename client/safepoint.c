/* safepoint.c — where a thread lets collections happen: polls, waits for memory, blocking calls (door: control->stop; other side:
 * daemon/gc/handshake.c; the moves: docs/design/protocols.md).
 *
 * The heap's stop word decides. Between the exchange of `state` and the look at it a thread touches nothing of the heap. Roots are published
 * before the first exchange and taken back after the last, never in between: a thread that parks again out of Leave has its roots where
 * the daemon may already have moved them.
 * Invariant: a thread that may park holds no lock of this library, since a RUNNING thread that waited for it would never poll.
 * The thread's own. */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/park.h"

/* ---- Parking ---- */

/* Where nothing may be called that locks or allocates: has the daemon gone, or given the heap up? */
static bool daemon_gone(struct morph_heap *heap)
{
    struct pollfd gone = { .fd = heap->socket, .events = POLLRDHUP };
    uint32_t condemned = mm_load_relaxed(&heap->control->condemned);
    if (condemned || poll(&gone, 1, 0) > 0)
        morph__lose(heap, condemned ? MORPH_ECONDEMNED : MORPH_ELOST);
    return morph__status(heap) < 0;
}

/* Waits until no stop is asked for. `state` is PARKED or NATIVE. */
static void park_while_stopped(struct morph__thread *thread)
{
    struct morph_heap *heap = thread->heap;
    uint32_t *stop = &heap->control->stop;
    uint64_t start = mm_now_ns();
    bool spin = heap->spin && mm_load_relaxed(&heap->threads) == 1;
    for (uint32_t seen; (seen = mm_load_acquire(stop)) & 1;) {      /* pairs with the exchange in handshake_resume() */
        if (spin && mm_now_ns() - start < MORPH__PAUSE_SPIN_NS) {
            mm_cpu_relax();
            continue;
        }
        (void)mm_cas_seq_cst(stop, seen, seen | 2);             /* lost: the futex sees that the word is another */
        (void)mm_park(stop, seen | 2, MM_PARK_SLICE_NS);
        if (heap->no_moving ? daemon_gone(heap) : morph__look_at_daemon(heap) < 0)
            return;                                             /* nobody will resume us, and nobody moves anything any more */
    }
}

/* Ends NATIVE or PARKED. True if a collection may have moved what this thread knows. */
static bool leave(struct morph__thread *thread)
{
    struct mm_slot *slot = thread->slot;
    uint32_t stop;
    for (;;) {
        (void)mm_xchg_seq_cst(&slot->state, MM_SLOT_RUNNING);
        stop = mm_load_seq_cst(&thread->heap->control->stop);   /* pairs with the store in handshake_begin() */
        if (!(stop & 1) || morph__status(thread->heap))
            break;
        (void)mm_xchg_seq_cst(&slot->state, MM_SLOT_PARKED);    /* pairs with the daemon's looks at `state` */
        morph__ring_doorbell(thread->heap);
        park_while_stopped(thread);
    }
    MORPH__ORDER_ACQUIRE(&thread->heap->control->stop);
    slot->marking = mm_load_relaxed(&thread->heap->control->marking);   /* changes in pauses only */
    bool moved = stop >> 2 != thread->epoch;
    thread->epoch = stop >> 2;
    return moved;
}

/* ---- Enter and leave ---- */

void morph__enter(struct morph__thread *thread, enum mm_slot_state state)
{
    morph__roots_publish(thread);
    MORPH__ORDER_RELEASE(&thread->heap->control->stop);
    (void)mm_xchg_seq_cst(&thread->slot->state, (uint32_t)state);
    if (mm_load_seq_cst(&thread->heap->control->stop) & 1)
        morph__ring_doorbell(thread->heap);                     /* the daemon may sleep until the last thread has stopped */
}

void morph__leave(struct morph__thread *thread)
{
    while (leave(thread)) {
        morph__grants_forget(thread);
        if (mm_load_relaxed(&thread->heap->control->mapped_chunks) > mm_load_acquire(&thread->heap->mapped_chunks))
            morph__map_promised(thread->heap);
        morph__types_refresh(thread);
        morph__roots_take_back(thread);
        if (!thread->root_sets || morph__status(thread->heap))
            break;
        /* Sets by letter: while they are asked for this thread stays stopped, and looks again afterwards. */
        morph__enter(thread, MM_SLOT_NATIVE);
        morph__root_sets_fetch(thread);
    }
    thread->slot->roots_extra_bytes = 0;
    thread->slot->roots_overflow = 0;
    if (thread->heap->collected && morph__status(thread->heap))         /* the daemon may have died between a cursor and its limit */
        thread->slot->young_cursor = thread->slot->young_limit = thread->slot->old_cursor = thread->slot->old_limit = 0;
}

void morph__park(struct morph__thread *thread)
{
    morph__enter(thread, MM_SLOT_PARKED);
    park_while_stopped(thread);
    if (leave(thread))
        morph__grants_forget(thread);
    thread->slot->roots_extra_bytes = 0;
    thread->slot->roots_overflow = 0;
}

struct morph__thread *morph__native_begin(struct morph_heap *heap)
{
    struct morph__thread *mine = NULL;
    uint32_t tid = (uint32_t)syscall(SYS_gettid);
    morph__lock(heap);
    for (struct morph__thread *thread = heap->thread; thread; thread = thread->next)
        if (thread->slot->tid == tid && mm_load_relaxed(&thread->slot->state) == MM_SLOT_RUNNING) {
            thread->mine_next = mine;           /* only we detach it, so it stays when the lock is given up */
            mine = thread;
        }
    morph__unlock(heap);
    morph__inside_begin();
    for (struct morph__thread *thread = mine; thread; thread = thread->mine_next)
        morph__enter(thread, MM_SLOT_NATIVE);
    morph__inside_end();
    return mine;
}

void morph__native_end(struct morph__thread *mine)
{
    morph__inside_begin();
    for (; mine; mine = mine->mine_next)
        morph__leave(mine);
    morph__inside_end();
}

/* ---- What programs call ---- */

void morph_poll_slow(morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || thread->native || !(mm_load_seq_cst(&thread->heap->control->stop) & 1) || morph__status(thread->heap))
        return;                                                 /* a lost heap's stop word stays as it was */
    morph__inside_begin();
    morph__enter(thread, MM_SLOT_PARKED);
    park_while_stopped(thread);
    morph__leave(thread);
    morph__inside_end();
}

void morph_native_enter(morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    morph__inside_begin();
    if (thread && thread->native++ == 0)
        morph__enter(thread, MM_SLOT_NATIVE);
    morph__inside_end();
}

void morph_native_leave(morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    morph__inside_begin();
    if (thread && thread->native && --thread->native == 0)
        morph__leave(thread);
    morph__inside_end();
}
