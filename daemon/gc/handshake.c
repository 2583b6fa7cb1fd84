/* handshake.c — stopping and resuming a heap's threads (door: control->stop; other side: client/safepoint.c; docs/design/protocols.md).
 *
 * The heap's stop word decides; the stop word of a slot only makes a running thread's next poll look at it. A slot that was seen stopped
 * once stays so until the resume: its thread cannot get past its look at the stop word.
 * Touches the control area: inside a guard. The heap's worker. */
#include "daemon/gc/trace.h"
#include "daemon/os/os.h"
#include "shm/atomic.h"
#include "shm/park.h"

static uint32_t slots_high(const struct gc *gc)
{
    uint32_t high = mm_load_seq_cst(&gc->heap->control->slots_high);    /* pairs with the store in client/thread.c: attach */
    return high < gc->heap->slot_count ? high : gc->heap->slot_count;
}

bool handshake_begin(struct gc *gc)
{
    gc->epoch++;
    gc->late_slot = 0;
    mm_store_seq_cst(&gc->heap->control->stop, gc->epoch << 2 | 1);     /* pairs with the loads in client/safepoint.c */
    if (handshake_stopped(gc))
        return true;
    if (gc->fixed)
        mm_unpark(&gc->heap->control->stop, INT32_MAX);         /* the thread that sends signals to the others (client/fixed.c) */
    return false;
}

bool handshake_stopped(struct gc *gc)
{
    for (; gc->late_slot < slots_high(gc); gc->late_slot++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, gc->late_slot);
        if (mm_load_seq_cst(&slot->state) != MM_SLOT_RUNNING)           /* pairs with the exchanges of `state` in client/safepoint.c */
            continue;
        mm_store_seq_cst(&slot->stop, 1);
        if (mm_load_seq_cst(&slot->state) == MM_SLOT_RUNNING)
            return false;
    }
    return true;
}

void handshake_resume(struct gc *gc)
{
    struct mm_control *control = gc->heap->control;
    for (uint32_t i = 0, high = slots_high(gc); i < high; i++) {
        struct mm_slot *slot = mm_control_slot(control, i);
        if (mm_load_relaxed(&slot->stop))
            mm_store_relaxed(&slot->stop, 0);
    }
    uint32_t old = mm_xchg_seq_cst(&control->stop, (gc->epoch + 1) << 2);       /* pairs with the acquire of who waits in client/safepoint.c */
    gc->epoch++;
    if (old & 2)
        mm_unpark(&control->stop, INT32_MAX);
}
