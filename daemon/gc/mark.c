/* mark.c — marking the old generation while its threads run (DESIGN D9, D10; PROTOCOLS 5).
 *
 * Snapshot at the beginning (Yuasa, "Real-time garbage collection on general-purpose machines", Journal of Systems and Software 1990): what was
 * reachable when the marking began is marked, whatever the threads do meanwhile, since they log each reference that they overwrite; what is
 * born or promoted later is marked at birth. So the pause that ends it need not look at roots again.
 *
 *   BEGIN (a pause) ──▶ slices, with minor collections in between ──▶ nothing left ──▶ END (a pause)
 *
 * The marker follows references between old objects only. Whatever is young at the beginning is copied, or kept, in the pause that begins, and
 * marks what it refers to there. Cards and carried cards are no concern of the marker's.
 * Old memory that threads fill meanwhile (granted holes) has no start bits until a pause walks it, so the marker does not enter it, and the
 * walk marks it (R2).
 * Pace: what is granted while marking goes on is compared with what is marked; a heap that runs ahead is given memory only after a slice of
 * marking, and at the limit only after the last one (gc_at_limit). A heap that must give to others ends early: then END marks the rest.
 * Touches client memory: inside a guard. The heap's worker. */
#include <string.h>

#include "daemon/gc/trace.h"

#include "daemon/os/os.h"
#include "shm/park.h"

#define MARK_SLICE_NS    50000ull
#define ASSIST_SLICE_NS  10000ull       /* while a thread waits: it is to wait no longer than it must */
#define PACE_LEAD        4u             /* of the room, one in so many may be used before anything is marked */

/* ---- Overwritten references ---- */

static void log_drain(struct gc *gc, struct mm_slot *slot, uint64_t *tail)
{
    uint64_t head = mm_load_acquire(&slot->overwritten_head);           /* pairs with the release in client/barrier.c */
    if (head - *tail > MM_OVERWRITTEN_LOG) {
        mm_store_relaxed(&gc->lie, "its log of overwritten references is longer than it can be");
        return;
    }
    if (head == *tail)
        return;
    for (; *tail != head; (*tail)++) {
        uint64_t off = trace_off(gc, mm_load_relaxed(&mm_slot_overwritten(slot)[*tail % MM_OVERWRITTEN_LOG]));
        if (off == TRACE_NONE)
            continue;
        enum gc_space space = gc_space(gc, off >> MM_BLOCK_SHIFT);
        if (gc_space_settled(space))
            trace_mark(&gc->marker, off);
    }
    mm_store_seq_cst(&slot->overwritten_tail, *tail);
    if (mm_load_seq_cst(&slot->overwritten_asleep)) {                   /* pairs with the exchange in client/barrier.c */
        mm_store_relaxed(&slot->overwritten_asleep, 0);
        mm_unpark((uint32_t *)&slot->overwritten_tail, 1);
    }
}

void mark_drain_logs(struct gc *gc)
{
    uint32_t high = mm_load_relaxed(&gc->heap->control->slots_high);
    if (gc->mark_state == MARK_NONE)
        return;
    for (uint32_t i = 0; i < high && i < gc->heap->slot_count && !gc->lie; i++)
        log_drain(gc, mm_control_slot(gc->heap->control, i), &gc->heap->slot[i].overwritten_tail);
}

/* What was logged before the last marking ended is of no interest to the next. */
static void logs_forget(struct gc *gc)
{
    uint32_t high = mm_load_relaxed(&gc->heap->control->slots_high);
    for (uint32_t i = 0; i < high && i < gc->heap->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, i);
        uint64_t head = mm_load_acquire(&slot->overwritten_head);
        gc->heap->slot[i].overwritten_tail = head;
        mm_store_relaxed(&slot->overwritten_tail, head);
    }
}

/* ---- The marker ---- */

/* What can be granted or promoted into before the limit: free blocks, and the holes of others, as far as experience says. */
static uint64_t room_blocks(const struct gc *gc)
{
    uint64_t holes = gc->old_free_bytes > gc->unusable_bytes ? gc->old_free_bytes - gc->unusable_bytes : 0;
    return gc_room_blocks(gc) + (holes >> MM_BLOCK_SHIFT);
}

static size_t marked_room(const struct gc *gc) { return (size_t)(gc->heap->limit_blocks * MM_BLOCK_BYTES / 64 / sizeof(uint64_t)) + 4096; }

/* What a pause has marked and not scanned is the marker's. */
static void marked_move(struct gc_tracer *to, struct gc_tracer *from)
{
    while (from->marked.count)
        trace_marked_push(to, from->marked.word[--from->marked.count]);
    to->starved |= from->starved;
    from->starved = false;
}

/* A tracer that has nothing to do yet will mark between pauses. False: no memory. */
static bool tracer_ready(struct gc *gc, struct gc_tracer *tracer)
{
    tracer->gc = gc;
    tracer_aim(tracer);
    tracer->parallel = false;
    tracer->waiting = &gc->waiting;
    tracer->mark_copies = tracer->young_settled = tracer->evacuating = tracer->recording = tracer->starved = false;
    tracer->mark_settled = true;
    tracer->queue_count = tracer->seen_count = 0;
    tracer->grey.count = tracer->marked.count = tracer->weak.count = tracer->ephemerons.count = 0;
    tracer->marked_objects = tracer->marked_bytes = 0;
    return stack_reserve(&tracer->marked, marked_room(gc)) && stack_reserve(&tracer->grey, GC_QUEUE);
}

bool mark_helper_ready(struct gc *gc, struct gc_tracer *tracer)
{
    bool ready = tracer_ready(gc, tracer);
    tracer->parallel = true;
    tracer->recording = gc->recording;
    return ready;
}

static void weak_move(struct gc_tracer *to, struct gc_tracer *from)
{
    bool moved = true;
    while (moved && from->weak.count)
        moved = stack_push_grow(&to->weak, from->weak.word[--from->weak.count]);
    while (moved && from->ephemerons.count)
        moved = stack_push_grow(&to->ephemerons, from->ephemerons.word[--from->ephemerons.count]);
    if (!moved)
        mm_store_relaxed(&to->gc->lie, "no memory for its weak objects");
}

void mark_helper_done(struct gc *gc, struct gc_tracer *tracer)
{
    trace_queue_empty(tracer);
    tracer->parallel = false;
    tracer->waiting = NULL;
    marked_move(&gc->marker, tracer);
    weak_move(&gc->marker, tracer);
    gc->marker.marked_objects += tracer->marked_objects;
    gc->marker.marked_bytes += tracer->marked_bytes;
    tracer->marked_objects = tracer->marked_bytes = 0;
}

bool mark_begin(struct gc *gc)
{
    gc->waiting.at = 0;
    logs_forget(gc);
    gc->mark_began_ns = os.now_ns();
    gc->mark_ns = gc->mark_slices = gc->mark_helped = gc->assist_ns = gc->mark_promoted_bytes = 0;
    gc->mark_reason = gc->receipt.reason;
    gc->mark_expected_bytes = gc->marked_last_bytes ? gc->marked_last_bytes + gc->marked_last_bytes / 16 : gc_old_used_bytes(gc);
    gc->mark_room_blocks = room_blocks(gc);
    return tracer_ready(gc, &gc->marker);
}

void mark_go_on(struct gc *gc)
{
    for (unsigned i = 0; i < gc->tracers; i++) {
        marked_move(&gc->marker, &gc->tracer[i]);
        gc->marker.marked_objects += gc->tracer[i].marked_objects;
        gc->marker.marked_bytes += gc->tracer[i].marked_bytes;
    }
    tracer_aim(&gc->marker);                            /* types may have come */
    gc->marker.recording = gc->recording;
}

void mark_end(struct gc *gc)
{
    struct gc_tracer *tracer = &gc->tracer[0], *marker = &gc->marker;
    marked_move(tracer, marker);
    tracer->marked_objects += marker->marked_objects;
    tracer->marked_bytes += marker->marked_bytes;
    weak_move(tracer, marker);
    pthread_mutex_lock(&gc->lock);                      /* helpers are idle, and look at their tracers under it */
    for (unsigned i = 0; i < gc->tracers; i++) {
        if (i)
            marked_move(tracer, &gc->tracer[i]);        /* what evacuated objects refer to */
        gc->tracer[i].mark_settled = true;
        gc->tracer[i].mark_copies = true;               /* what finalizers and ephemerons bring back */
        gc->tracer[i].young_settled = false;
    }
    pthread_mutex_unlock(&gc->lock);
    uint64_t left = room_blocks(gc), used = gc->mark_room_blocks > left ? gc->mark_room_blocks - left : 0, elapsed = os.now_ns() - gc->mark_began_ns;
    gc->mark_used_blocks = used + used * (gc->assist_ns < elapsed ? gc->assist_ns : elapsed) / (elapsed + 1);    /* while threads wait they use nothing */
    gc->receipt.mark_ns = gc->mark_ns;
    gc->receipt.mark_slices = gc->mark_slices;
    gc->receipt.mark_helped = gc->mark_helped;
    gc->receipt.mark_elapsed_ns = elapsed;
    gc->receipt.assist_ns = gc->assist_ns;
    gc->receipt.mark_early = gc->mark_state == MARK_ON;
    gc->mark_state = MARK_NONE;
}

void mark_cancel(struct gc *gc)
{
    if (gc->mark_state == MARK_NONE)
        return;
    gc->mark_state = MARK_NONE;
    gc->marking = false;
    evac_forget(gc);
    trace_waiting_forget(gc);
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    for (uint32_t b = 0; b < blocks; b++)
        if (gc_space_settled((enum gc_space)gc->space[b])) {
            struct gc_block *side = gc_block(gc, b);
            gc_marks_clear(side);
            side->live_bytes = 0;
            memset(side->done, 0, sizeof side->done);
            gc_flag_clear(side, GC_RESCAN);
        }
}

void mark_free(struct gc *gc)
{
    stack_free(&gc->marker.grey);
    stack_free(&gc->marker.marked);
    stack_free(&gc->marker.weak);
    stack_free(&gc->marker.ephemerons);
}

static bool slice(struct gc *gc, uint64_t slice_ns)
{
    if (gc->mark_state != MARK_ON || gc_in_pause(gc))
        return false;
    uint64_t began = os.now_ns();
    mark_drain_logs(gc);
    if (slice_ns >= MARK_SLICE_NS)
        gc_help_slice(gc, began + slice_ns);
    bool done = trace_drain(&gc->marker, began + slice_ns);
    gc_help_slice_end(gc);
    if (done) {
        mark_drain_logs(gc);
        done = !trace_waits(&gc->marker);
    }
    gc->mark_ns += os.now_ns() - began;
    gc->mark_slices++;
    if (done && !gc->lie) {
        gc->mark_state = MARK_DONE;
        gc_request(gc, MM_COLLECT_MAJOR, gc->mark_reason);
    }
    return true;
}

bool mark_step(struct gc *gc) { return slice(gc, MARK_SLICE_NS); }

/* ---- Pace ---- */

/* The part of the room that was used since the beginning, but for a lead, against the part of the work that is done. The last quarter of the room is not counted
 * on. */
bool mark_behind(const struct gc *gc)
{
    if (gc->mark_state != MARK_ON)
        return false;
    uint64_t room = gc->mark_room_blocks * 3 / 4, left = room_blocks(gc), used = gc->mark_room_blocks > left ? gc->mark_room_blocks - left : 0;
    uint64_t lead = room / PACE_LEAD, expected = (gc->mark_expected_bytes >> MM_BLOCK_SHIFT) + 1, marked = gc->marker.marked_bytes >> MM_BLOCK_SHIFT;
    return used > lead && (used - lead) * expected > (marked < expected ? marked : expected) * (room - lead);
}

bool mark_assist(struct gc *gc)
{
    bool behind = mark_behind(gc);
    if (!behind && !holes_behind(gc))
        return false;
    uint64_t began = os.now_ns();
    bool walked = holes_ahead(gc, ASSIST_SLICE_NS);             /* what is left in blocks that were filled is room */
    if (behind)
        (void)slice(gc, ASSIST_SLICE_NS);
    gc->assist_ns += os.now_ns() - began;
    return behind || walked;
}
