/* grant.c — memory for the threads of a collected heap, and the moments at which to collect.
 *
 * Young: a few zeroed blocks a cell, until the nursery is full; then a minor collection (or, when the old generation has grown enough, a
 * major one). Old: the holes of a block with room, or free blocks; for pretenured types. Large: a run of blocks.
 * The limit: what collections need to copy into (one nursery, and a fiftieth of the heap) is not granted. When nothing else is left a request
 * climbs a ladder by itself (gc_at_limit), and its client calls back before it asks once more (DESIGN section 7).
 * Touches client memory: inside a guard. The heap's worker. */
#include <stdlib.h>
#include <string.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/gc/trace.h"
#include "daemon/os/os.h"

#define YOUNG_CELL_BLOCKS  4u
#define OLD_CELL_BLOCKS    4u
#define SWEEP_SLICE_NS     100000ull
#define IDLE_LEAST_BLOCKS  16u          /* granted since the last marking: less is not worth another */

/* What collections need. */
static uint64_t reserve_blocks(const struct gc *gc)
{
    uint64_t reserve = gc->fixed ? 0 : gc->young_blocks + gc->heap->limit_blocks / 50, most = gc->heap->limit_blocks / 4;
    return reserve < most ? reserve : most;
}

uint64_t gc_room_blocks(const struct gc *gc)
{
    uint64_t reserve = reserve_blocks(gc), left = heap_limit_left(gc->heap);
    return left > reserve ? left - reserve : 0;
}

#define PROBE_BLOCKS       8u           /* of a nursery that is only there to measure types */

static uint32_t nursery_most(const struct gc *gc) { return gc->probe && gc->young_blocks > PROBE_BLOCKS ? PROBE_BLOCKS : gc->young_blocks; }
static uint32_t young_most(const struct gc *gc) { return nursery_most(gc) + gc->emergency_blocks; }

/* Once a request, however often it comes again before it is answered. */
static bool stress_due(struct gc *gc, struct slot_end *end)
{
    uint64_t every = CONFIG(stress);
    if (!every || end->stressed == end->request_now)
        return false;
    end->stressed = end->request_now;
    return ++gc->stress_count % every == 0;
}

/* Is another marking due? Also when there are holes enough, but hardly a free block: it will empty some. */
static bool old_has_grown(const struct gc *gc)
{
    uint64_t limit = gc->heap->limit_blocks;
    return gc_old_used_bytes(gc) >> MM_BLOCK_SHIFT >= gc->start_blocks ||
           (gc_room_blocks(gc) < (gc->young_blocks + limit / 50) / 2 && gc->old_since_bytes >> MM_BLOCK_SHIFT > limit / 32);
}

static void request_for_nursery(struct gc *gc)
{
    if (old_has_grown(gc) && gc->mark_state == MARK_NONE)
        gc_request_marking(gc, RECEIPT_OLD);
    else
        gc_request(gc, MM_COLLECT_MINOR, RECEIPT_NURSERY);
}

bool gc_worth_marking(const struct gc *gc)
{
    uint64_t taken = gc->taken_blocks - gc->taken_marked;
    return taken >= IDLE_LEAST_BLOCKS && taken >= (gc_old_used_bytes(gc) >> MM_BLOCK_SHIFT) / 16;
}

void gc_request_idle(struct gc *gc)
{
    gc->taken_marked = gc->taken_blocks;        /* also if it is put off */
    gc_request(gc, MM_COLLECT_MAJOR, RECEIPT_IDLE);         /* in one pause: nobody is there to wait for it, and what is dead is found dead */
}

/* The ladder of a request: what the last collection found dead, the rest of a marking that goes on, a minor collection, a major one, one that
 * compacts (at once, where there are holes enough and only whole blocks are missing), a smaller
 * nursery, and with it less that is kept free for copying it; then it is refused. Each step is over before the next is thought of: requests are looked at between a
 * collection that was asked for and its beginning, too. */
bool gc_at_limit(struct gc *gc, uint32_t slot, uint32_t blocks)
{
    struct slot_end *end = &gc->heap->slot[slot];
    bool reclaimed = false;
    for (unsigned i = 0; i < 64 && gc_leftover_step(gc); i++)
        reclaimed = true;
    gc->walk_ahead = true;                      /* whoever waits here has left the block that it was in */
    while (holes_ahead(gc, 0))
        reclaimed = true;
    if (reclaimed || mark_step(gc) || gc->mark_state == MARK_DONE || gc->wanted)
        return true;
    uint64_t needed = reserve_blocks(gc) + gc_nursery_blocks(gc) + blocks;
    gc->short_blocks = gc->short_blocks > needed ? gc->short_blocks : needed;
    if (gc->fixed) {                    /* what one collection of everything does not find, another will not */
        if (end->ladder == 2)
            return false;
        gc_request(gc, MM_COLLECT_MAJOR, RECEIPT_LIMIT);
        end->ladder = 2;
        return true;
    }
    if (end->ladder < 2) {
        /* A minor collection helps if there is something in the nursery, but not for ever: what it promotes fills the holes of the last marking. */
        bool minor = end->ladder == 0 && gc->young_granted > gc->young_blocks / 4 && !old_has_grown(gc);
        bool holes = gc->mark_state == MARK_NONE && gc->old_free_bytes >> MM_BLOCK_SHIFT > gc->heap->limit_blocks / 16;
        gc_request(gc, minor ? MM_COLLECT_MINOR : holes ? MM_COLLECT_COMPACT : MM_COLLECT_MAJOR, RECEIPT_LIMIT);
        end->ladder = minor ? 1 : holes ? 3 : 2;
        return true;
    }
    if (end->ladder == 2) {
        gc_request(gc, MM_COLLECT_COMPACT, RECEIPT_LIMIT);
        end->ladder = 3;
        return true;
    }
    if (gc->young_blocks == gc->young_min)
        return false;
    gc->young_blocks = gc->young_min;
    return true;
}

uint64_t gc_nursery_blocks(const struct gc *gc)
{
    uint64_t most = gc->heap->limit_blocks / 32;
    return gc->fixed ? 0 : gc->young_blocks < most ? gc->young_blocks : most;
}

/* Blocks for the client, in their new state, with a side and a space. */
static int blocks_take(struct gc *gc, uint32_t want, uint32_t min, enum mm_block_state state, enum gc_space space, uint32_t *ret_block, uint32_t *ret_count, bool *ret_zeroed)
{
    uint64_t room = gc_room_blocks(gc), left = space == GC_YOUNG ? 0 : gc_nursery_blocks(gc);
    room = room > left ? room - left : 0;
    if (room < min)
        return -MORPH_ENOMEM;
    struct heap_want ask = { .want = want < room ? want : (uint32_t)room, .min = min, .state = state, .zeroed = space == GC_LARGE };
    int r = heap_obtain(gc->heap, &ask, ret_block, ret_count);
    if (r)
        return r;
    for (uint32_t b = *ret_block; b < *ret_block + *ret_count; b++) {
        gc->space[b] = (uint8_t)space;
        if (!ask.were_zero && space != GC_LARGE)        /* its thread zeroes the rest; whoever walks it before finds nothing */
            memset(gc->heap->view.base + gc_off(b), 0, MM_HEADER_BYTES);
    }
    *ret_zeroed = ask.were_zero;
    gc->taken_blocks += *ret_count;
    gc_cards_fill(gc, *ret_block, *ret_count, space == GC_YOUNG ? MM_CARD_YOUNG : MM_CARD_CLEAN);
    return 0;
}

static int young_take(struct gc *gc, struct mm_cell *ret_cell)
{
    uint32_t most = young_most(gc), left = most > gc->young_granted ? most - gc->young_granted : 0, block, count;
    bool zeroed;
    uint32_t want = left < YOUNG_CELL_BLOCKS ? left : YOUNG_CELL_BLOCKS;
    if (gc->young_blocks < 16 && want > gc->young_blocks / 4 + 1)       /* several threads share a small nursery */
        want = gc->young_blocks / 4 + 1;
    int r = blocks_take(gc, want, 1, MM_BLOCK_GRANTED, GC_YOUNG, &block, &count, &zeroed);
    if (r)
        return r;
    for (uint32_t b = block; b < block + count; b++)
        gc->young[gc->young_count++] = b;
    gc->young_granted += count;
    *ret_cell = (struct mm_cell){ .block = block, .kind = MM_GRANT_YOUNG, .zeroed = zeroed, .count = count, .epoch = gc->epoch };
    return 0;
}

static int young_grant(struct gc *gc, uint32_t slot, struct mm_cell *ret_cell)
{
    if (gc->phase != GC_IDLE)
        return HEAP_LATER_WORK;
    if (mark_assist(gc))
        return HEAP_LATER_WORK;
    if (gc->young_granted >= young_most(gc)) {
        request_for_nursery(gc);
        return HEAP_LATER_WORK;
    }
    int r = young_take(gc, ret_cell);
    if (r == -MORPH_ENOMEM || r == -MORPH_EBUDGET)
        return gc_at_limit(gc, slot, 1) ? HEAP_LATER_WORK : r;
    return r;
}


/* ---- Old ---- */

/* Is a marking to begin before `blocks` more become old? Once a request. */
static bool major_due(struct gc *gc, uint32_t slot, uint64_t blocks)
{
    if (gc->mark_state != MARK_NONE || gc->heap->slot[slot].ladder || (gc_old_used_bytes(gc) >> MM_BLOCK_SHIFT) + blocks < gc->start_blocks)
        return false;
    gc_request_marking(gc, RECEIPT_OLD);
    gc->heap->slot[slot].ladder = 1;
    return true;
}

/* Holes for an object of `bytes`, or free blocks. */
static int old_take(struct gc *gc, uint32_t slot, uint32_t bytes, struct mm_cell *ret_cell)
{
    uint64_t all[GC_BLOCK_WORDS];
    memset(all, 0xff, sizeof all);
    gc->various = gc->various || bytes > GC_SMALL_BYTES;
    if (bytes <= MM_LARGE_BYTES && holes_grant(gc, slot, bytes, ret_cell) == 0)
        return 0;
    uint32_t block, count, want = gc->fixed && gc->start_blocks < 16 * OLD_CELL_BLOCKS ? 1 : OLD_CELL_BLOCKS;
    bool zeroed;
    int r = blocks_take(gc, want, 1, MM_BLOCK_GRANTED, GC_OLD, &block, &count, &zeroed);
    if (r)
        return r;
    gc->pretenured_bytes += (uint64_t)count << MM_BLOCK_SHIFT;
    for (uint32_t b = block; b < block + count; b++) {
        gc->old_blocks++;
        if (!holes_note(gc, slot, b, all))
            return -MORPH_EMEMORY;
    }
    *ret_cell = (struct mm_cell){ .block = block, .kind = MM_GRANT_OLD, .zeroed = zeroed, .count = count, .epoch = gc->epoch, .hole = MM_HOLE_BLOCK };
    return 0;
}

static int old_grant(struct gc *gc, uint32_t slot, uint32_t bytes, struct mm_cell *ret_cell)
{
    if (gc->phase != GC_IDLE)
        return HEAP_LATER_WORK;
    if (stress_due(gc, &gc->heap->slot[slot])) {
        gc_request(gc, MM_COLLECT_MAJOR, RECEIPT_STRESS);
        return HEAP_LATER_WORK;
    }
    if (mark_assist(gc) || major_due(gc, slot, 0))
        return HEAP_LATER_WORK;
    if (pretenure_due(gc) && !pretenure_begin(gc))
        return HEAP_LATER_WORK;
    int r = old_take(gc, slot, bytes, ret_cell);
    if (r == 0 || (r != -MORPH_ENOMEM && r != -MORPH_EBUDGET))
        return r;
    if (gc->mark_state == MARK_ON && gc->old_free_bytes > gc->unusable_bytes)
        gc->unusable_bytes = gc->old_free_bytes + gc->old_free_bytes / 4;       /* holes become more, and shorter: the next marking is not to stand here, too */
    return gc_at_limit(gc, slot, 1) ? HEAP_LATER_WORK : r;
}

/* Nothing that would bring a request to measure types, or to climb the ladder: that is for those who ask. But a marking that is due is begun, so that nobody has to ask
 * for it; not where threads that run must be interrupted for it. */
static bool old_ahead(struct gc *gc, uint32_t slot, uint32_t bytes, struct mm_cell *ret_cell)
{
    bool due = gc->mark_state == MARK_NONE && gc_old_used_bytes(gc) >> MM_BLOCK_SHIFT >= gc->start_blocks;
    if (due && !gc->fixed)
        gc_request_marking(gc, RECEIPT_OLD);
    return !due && !pretenure_due(gc) && !mark_behind(gc) && !holes_behind(gc) && old_take(gc, slot, bytes, ret_cell) == 0;
}

bool gc_grant_ahead(struct gc *gc, uint32_t slot, uint32_t kind, uint32_t bytes, struct mm_cell *ret_cell)
{
    if (gc->phase != GC_IDLE || gc->wanted || CONFIG(stress))
        return false;
    if (kind == MM_GRANT_OLD)
        return old_ahead(gc, slot, bytes, ret_cell);
    return gc->young_granted < nursery_most(gc) && !mark_behind(gc) && young_take(gc, ret_cell) == 0;
}

/* ---- Large ---- */

static int large_grant(struct gc *gc, uint32_t slot, uint32_t blocks, struct mm_cell *ret_cell)
{
    if (gc->phase != GC_IDLE)
        return HEAP_LATER_WORK;
    if (blocks == 0 || blocks > MM_OBJECT_MAX_BYTES / MM_BLOCK_BYTES + 1)
        return -MORPH_EINVALID;
    if (stress_due(gc, &gc->heap->slot[slot])) {
        gc_request(gc, MM_COLLECT_MINOR, RECEIPT_STRESS);
        return HEAP_LATER_WORK;
    }
    if (mark_assist(gc) || major_due(gc, slot, blocks))
        return HEAP_LATER_WORK;
    uint32_t block, count;
    bool zeroed;
    int r = blocks_take(gc, blocks, blocks, MM_BLOCK_LARGE, GC_LARGE, &block, &count, &zeroed);
    if (r)
        return (r == -MORPH_ENOMEM || r == -MORPH_EBUDGET) && gc_at_limit(gc, slot, blocks) ? HEAP_LATER_WORK : r;
    for (uint32_t b = block; b < block + count; b++)
        gc_block(gc, b)->large_head = block;
    gc_block(gc, block)->large_blocks = count;
    GC_BIT_SET(gc_block(gc, block), start, 0);
    if (gc->marking)
        GC_BIT_SET(gc_block(gc, block), mark, 0);       /* R2 */
    gc->large_blocks += count;
    gc->large_since_blocks += count;
    *ret_cell = (struct mm_cell){ .block = block, .kind = MM_GRANT_LARGE, .count = count, .epoch = gc->epoch };
    return 0;
}

/* ---- Requests ---- */

/* Sweeps for a while; false: nothing is left. */
static bool sweep_some(struct gc *gc)
{
    uint64_t until = os.now_ns() + SWEEP_SLICE_NS;
    while (reclaim_sweep_step(gc))
        if (os.now_ns() >= until)
            return true;
    return false;
}

/* morph_collect(): answered when a collection that began after the request has ended, and what it found dead is free. */
static int collect(struct gc *gc, uint32_t slot, uint32_t kind)
{
    struct slot_end *end = &gc->heap->slot[slot];
    if (kind >= MM_COLLECTIONS)
        return -MORPH_EINVALID;
    if (!end->collecting || end->collect_request != end->request_now) {         /* an earlier one was given up by its thread */
        end->collecting = 0;
        if (gc->phase != GC_IDLE)
            return HEAP_LATER_WORK;
        gc_request(gc, (enum mm_collection)kind, RECEIPT_ASKED);
        end->collecting = gc->ended + 1;
        end->collect_request = end->request_now;
        return HEAP_LATER_WORK;
    }
    if (gc->phase != GC_IDLE || gc->ended < end->collecting || (gc->wanted && !gc->receipt.put_off))
        return HEAP_LATER_WORK;
    if (kind != MM_COLLECT_MINOR && sweep_some(gc))
        return HEAP_LATER_WORK;
    end->collecting = 0;
    return gc->roots_do_not_fit ? -MORPH_EROOTS : gc->receipt.put_off ? -MORPH_EPUTOFF : 0;
}

/* A marking begins in every fourth collection, another one is made in one pause, in turn with compaction and without; the others are minor. */
static void stress_request(struct gc *gc)
{
    static const enum mm_collection turn[] = { MM_COLLECT_MINOR, MM_COLLECT_MAJOR, MM_COLLECT_MINOR, MM_COLLECT_MAJOR,
                                               MM_COLLECT_MINOR, MM_COLLECT_MAJOR, MM_COLLECT_MINOR, MM_COLLECT_COMPACT };
    if (gc->cycles % 4 == 1)
        gc_request_marking(gc, RECEIPT_STRESS);
    else
        gc_request(gc, turn[gc->cycles % 8], RECEIPT_STRESS);
}

int gc_grant(struct gc *gc, uint32_t slot, uint32_t kind, uint32_t want, uint32_t min, struct mm_cell *ret_cell)
{
    struct slot_end *end = &gc->heap->slot[slot];
    int r;
    switch (kind) {
    case MM_GRANT_YOUNG:
        if (gc->fixed)
            return -MORPH_EMODE;
        if (gc->phase == GC_IDLE && !gc->wanted && stress_due(gc, end)) {
            stress_request(gc);
            return HEAP_LATER_WORK;
        }
        if (gc->wanted && !gc->emergency_blocks)
            return HEAP_LATER_WORK;
        r = young_grant(gc, slot, ret_cell);
        break;
    case MM_GRANT_OLD:
        r = old_grant(gc, slot, min, ret_cell);
        break;
    case MM_GRANT_LARGE:
        r = large_grant(gc, slot, min, ret_cell);
        break;
    case MM_REQUEST_COLLECT:
        *ret_cell = (struct mm_cell){ .kind = MM_GRANT_DONE };
        r = collect(gc, slot, want);
        break;
    default:
        return -MORPH_EMODE;
    }
    if (r == 0)
        end->ladder = 0;
    return r;
}
