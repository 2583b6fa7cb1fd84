/* region.c — where copies go (DESIGN D5, D12).
 *
 * A tracer has six regions that it bumps through: survivors, promoted and evacuated objects, each apart for objects up to a line and for longer
 * ones. What is evacuated fills fresh blocks, as long as there are any: that is what it is evacuated for.
 * Old objects fill the holes of blocks with free lines, one after the other, then free blocks; longer ones pass over the holes that are too
 * short for them, which stay free for others. A block belongs to one tracer while a region lies in it.
 * No room anywhere is no failure: the caller leaves the object where it is.
 * Locks: gc->lock around the heap's tables, when there are several tracers; client memory is not touched under it. */
#include <string.h>

#include "daemon/gc/trace.h"

static void lock(struct gc_tracer *tracer)
{
    if (tracer->parallel)
        pthread_mutex_lock(&tracer->gc->lock);
}

static void unlock(struct gc_tracer *tracer)
{
    if (tracer->parallel)
        pthread_mutex_unlock(&tracer->gc->lock);
}

/* A free block for copies, in its new state; UINT32_MAX: none. */
static uint32_t block_take(struct gc_tracer *tracer, enum mm_block_state state)
{
    struct gc *gc = tracer->gc;
    uint32_t block = UINT32_MAX, count;
    lock(tracer);
    if (heap_obtain(gc->heap, &(struct heap_want){ .want = 1, .min = 1, .state = state }, &block, &count) != 0)
        block = UINT32_MAX;
    unlock(tracer);
    return block;
}

static bool survivor_open(struct gc_tracer *tracer, struct gc_region *region)
{
    struct gc *gc = tracer->gc;
    if (mm_load_relaxed(&gc->survivor_blocks) >= gc->survivor_max)      /* they overflow: the rest is promoted */
        return false;
    uint32_t block = block_take(tracer, MM_BLOCK_SURVIVOR);
    if (block == UINT32_MAX)
        return false;
    mm_add_relaxed(&gc->survivor_blocks, 1);
    lock(tracer);
    gc->young[gc->young_count++] = block;               /* there is room for every block that can be had */
    unlock(tracer);
    gc_cards_fill(gc, block, 1, MM_CARD_YOUNG);         /* stores into survivors are nobody's business (R4) */
    mm_store_relaxed(&gc->space[block], (uint8_t)GC_TO);
    *region = (struct gc_region){ gc_off(block), gc_off(block) + MM_BLOCK_BYTES, block };
    return true;
}

static bool old_block_open(struct gc_tracer *tracer, struct gc_region *region)
{
    struct gc *gc = tracer->gc;
    uint32_t block = block_take(tracer, MM_BLOCK_OLD);
    if (block == UINT32_MAX)
        return false;
    struct gc_block *side = gc_block(gc, block);
    lock(tracer);
    gc->old_blocks++;
    unlock(tracer);
    gc_bits_set(side->line, 0, MM_BLOCK_LINES);
    gc_flag_set(side, GC_REGION);
    gc_cards_fill(gc, block, 1, MM_CARD_CLEAN);
    mm_store_relaxed(&gc->space[block], (uint8_t)GC_OLD);
    *region = (struct gc_region){ gc_off(block), gc_off(block) + MM_BLOCK_BYTES, block };
    return true;
}

/* Gives the whole lines of a region that nothing was put into back to its block. */
static void region_leave(struct gc *gc, struct gc_region *region)
{
    if (region->end > region->at) {
        uint32_t first = (uint32_t)((region->at % MM_BLOCK_BYTES + MM_LINE_BYTES - 1) / MM_LINE_BYTES);
        uint32_t last = (uint32_t)((region->end - 1) % MM_BLOCK_BYTES / MM_LINE_BYTES) + 1;
        if (region->at % MM_BLOCK_BYTES != 0 && first < last)
            gc_bits_clear(gc_block(gc, region->block)->line, first, last);
    }
    *region = (struct gc_region){ 0, 0, 0 };
}

/* An old block that `tracer` fills hole by hole is done with. */
static void old_block_leave(struct gc_tracer *tracer, unsigned which)
{
    struct gc *gc = tracer->gc;
    uint32_t block = tracer->old_block[which];
    if (block == UINT32_MAX)
        return;
    gc_flag_clear(gc_block(gc, block), GC_REGION);
    reclaim_list(gc, block);
    tracer->old_block[which] = UINT32_MAX;
}

/* The next hole of at least `lines` lines of the present block at or behind `line`; false: it has none. Shorter ones stay free. */
static bool hole_open(struct gc_tracer *tracer, unsigned which, uint32_t line, uint32_t lines)
{
    struct gc *gc = tracer->gc;
    uint32_t block = tracer->old_block[which];
    struct gc_block *side = gc_block(gc, block);
    for (uint32_t end; line < MM_BLOCK_LINES; line = end + 1) {
        for (end = line; end < MM_BLOCK_LINES && !gc_bit(side->line, end); end++)
            ;
        if (end - line < lines)
            continue;
        gc_bits_set(side->line, line, end);
        tracer->region[TO_OLD][which] = (struct gc_region){ gc_off(block) + line * MM_LINE_BYTES, gc_off(block) + end * MM_LINE_BYTES, block };
        return true;
    }
    return false;
}

static bool holes_open(struct gc_tracer *tracer, unsigned which, uint32_t lines)
{
    struct gc *gc = tracer->gc;
    struct gc_region *region = &tracer->region[TO_OLD][which];
    uint32_t line = region->end ? (uint32_t)((region->end - 1) % MM_BLOCK_BYTES / MM_LINE_BYTES) + 1 : 0;
    region_leave(gc, region);
    while (tracer->old_block[which] == UINT32_MAX || !hole_open(tracer, which, line, lines)) {
        lock(tracer);
        old_block_leave(tracer, which);
        tracer->old_block[which] = reclaim_take_listed(gc, lines);
        if (tracer->old_block[which] != UINT32_MAX)
            gc_flag_set(gc_block(gc, tracer->old_block[which]), GC_REGION);
        unlock(tracer);
        line = 0;
        if (tracer->old_block[which] != UINT32_MAX)
            continue;
        if (!old_block_open(tracer, region))
            return false;
        tracer->old_block[which] = region->block;
        return true;
    }
    return true;
}

/* The block of a region of evacuated objects is full. */
static void fresh_leave(struct gc_tracer *tracer, struct gc_region *region)
{
    struct gc *gc = tracer->gc;
    if (region->end) {
        uint32_t block = region->block;
        region_leave(gc, region);
        gc_flag_clear(gc_block(gc, block), GC_REGION);
        reclaim_list(gc, block);
    }
}

static bool fresh_open(struct gc_tracer *tracer, struct gc_region *region)
{
    lock(tracer);
    fresh_leave(tracer, region);
    unlock(tracer);
    return old_block_open(tracer, region);
}

uint64_t region_slow(struct gc_tracer *tracer, enum gc_to_kind *kind, unsigned which, uint64_t extent)
{
    struct gc_region *region = &tracer->region[*kind][which];
    /* Objects that overlap, by headers that lie, would make more copies than there is to be copied (R6). */
    if (tracer->moved[TO_SURVIVOR].bytes + tracer->moved[TO_OLD].bytes + tracer->moved[TO_FRESH].bytes >
        (uint64_t)(tracer->gc->from_count + tracer->gc->evac_count) << MM_BLOCK_SHIFT) {
        mm_store_relaxed(&tracer->gc->lie, "its objects overlap");
        return TRACE_NONE;
    }
    uint32_t lines = (uint32_t)((extent + MM_LINE_BYTES - 1) / MM_LINE_BYTES);
    bool open = *kind == TO_SURVIVOR ? survivor_open(tracer, region) : *kind == TO_FRESH ? fresh_open(tracer, region) : holes_open(tracer, which, lines);
    if (!open && *kind == TO_OLD)
        return TRACE_NONE;
    if (!open) {
        *kind = TO_OLD;
        return region_alloc(tracer, kind, extent);
    }
    region->at += extent;
    return region->at - extent;
}

void regions_close(struct gc *gc, bool all)
{
    for (unsigned i = 0; i < GC_MAX_TRACERS; i++) {
        struct gc_tracer *tracer = &gc->tracer[i];
        tracer->region[TO_SURVIVOR][0] = tracer->region[TO_SURVIVOR][1] = (struct gc_region){ 0, 0, 0 };
        if (i == 0 && !all)
            continue;
        bool parallel = tracer->parallel;
        tracer->parallel = false;
        for (unsigned which = 0; which < 2; which++) {
            fresh_leave(tracer, &tracer->region[TO_FRESH][which]);
            region_leave(gc, &tracer->region[TO_OLD][which]);
            old_block_leave(tracer, which);
        }
        tracer->parallel = parallel;
    }
}
