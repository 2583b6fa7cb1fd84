/* region.c — where copies go (DESIGN D5, D12).
 *
 * A tracer has six regions that it bumps through: survivors, promoted and evacuated objects, each apart for objects up to a line and for longer
 * ones. What is evacuated fills fresh blocks, as long as there are any: that is what it is evacuated for.
 * Old objects fill the holes of blocks with free lines, one after the other, then free blocks; longer ones pass over the holes that are too
 * short for them, which stay free for others. A hole is found by its lines and begins and ends with its neighbours: where objects of more than a
 * line die here and there, what they leave on both sides of the free lines is as much again. A block belongs to one tracer while a region lies in it.
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
    *region = (struct gc_region){ gc_off(block), gc_off(block) + MM_BLOCK_BYTES, block, gc_off(block) };
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
    *region = (struct gc_region){ gc_off(block), gc_off(block) + MM_BLOCK_BYTES, block, gc_off(block) };
    return true;
}

/* Counts what was put into a region of old objects, and gives the whole lines behind it back to the block. */
static void region_leave(struct gc *gc, struct gc_region *region)
{
    struct gc_block *side = gc_block(gc, region->block);
    uint32_t filled = (uint32_t)(region->at - region->begin);
    side->used_bytes += filled;
    if (filled && gc->marking)
        mm_add_relaxed(&side->live_bytes, filled);      /* marked at birth; others may be marking here */
    if (region->end > region->at) {
        uint32_t first = (uint32_t)((region->at - gc_off(region->block) + MM_LINE_BYTES - 1) / MM_LINE_BYTES);
        uint32_t last = (uint32_t)((region->end - gc_off(region->block)) / MM_LINE_BYTES);
        if (first < last)
            gc_bits_clear(side->line, first, last);
    }
    *region = (struct gc_region){ 0, 0, 0, 0 };
}

/* An old block that `tracer` fills hole by hole is done with. */
static void old_block_leave(struct gc_tracer *tracer, unsigned which)
{
    struct gc *gc = tracer->gc;
    uint32_t block = tracer->old_block[which];
    if (block == UINT32_MAX)
        return;
    gc_flag_clear(gc_block(gc, block), GC_REGION);
    reclaim_list(gc, block, which == 1);
    tracer->old_block[which] = UINT32_MAX;
}

/* The first taken line at or behind `line`. */
static uint32_t line_taken(const struct gc_block *side, uint32_t line)
{
    while (line < MM_BLOCK_LINES && !gc_bit(side->line, line))
        line++;
    return line;
}

/* Where the object ends that reaches into the line before free line `line`; the line itself where that is not plain to see. */
static uint64_t hole_begin(const struct gc *gc, uint32_t block, uint32_t line)
{
    uint64_t begin = gc_off(block) + line * MM_LINE_BYTES;
    uint32_t granule;
    if (!gc_start_before(gc_block(gc, block)->start, line * GC_LINE_GRANULES, &granule))
        return begin;
    uint64_t off = gc_off(block) + granule * MM_GRANULE_BYTES, word0 = trace_header(gc, off);
    uint64_t end = off + mm_object_extent(mm_header_bytes(word0));
    return trace_header_sane(gc, off, word0) && end <= begin && begin - end < MM_LINE_BYTES ? end : begin;
}

/* Where the object begins in taken line `line`, behind free ones. */
static uint64_t hole_end(const struct gc *gc, uint32_t block, uint32_t line)
{
    if (line == MM_BLOCK_LINES)
        return gc_off(block) + MM_BLOCK_BYTES;
    uint32_t granule = line * GC_LINE_GRANULES;
    uint64_t starts = gc_block(gc, block)->start[granule / 64] >> granule % 64 & (((uint64_t)1 << GC_LINE_GRANULES) - 1);
    return gc_off(block) + line * MM_LINE_BYTES + (starts ? (uint64_t)__builtin_ctzll(starts) * MM_GRANULE_BYTES : 0);
}

/* The next hole of at least `extent` bytes of the block at or behind `line`, and its lines; false: it has none. */
static bool hole_find(const struct gc *gc, uint32_t block, uint32_t line, uint64_t extent, struct gc_region *ret_hole, uint32_t *ret_from, uint32_t *ret_to)
{
    const struct gc_block *side = gc_block(gc, block);
    for (uint32_t end; line < MM_BLOCK_LINES; line = end + 1) {
        end = line_taken(side, line);
        if (end == line || (end - line + 2) * MM_LINE_BYTES <= extent)
            continue;
        *ret_hole = (struct gc_region){ hole_begin(gc, block, line), hole_end(gc, block, end), block, 0 };
        *ret_from = line;
        *ret_to = end;
        if (ret_hole->end - ret_hole->at >= extent)
            return true;
    }
    return false;
}

/* Under the lock, so no header is read: how far the hole reaches back into the line before it is left out. */
bool region_fits(const struct gc *gc, uint32_t block, uint64_t extent)
{
    const struct gc_block *side = gc_block(gc, block);
    for (uint32_t line = 0, end; line < MM_BLOCK_LINES; line = end + 1) {
        end = line_taken(side, line);
        if (end > line && hole_end(gc, block, end) - (gc_off(block) + line * MM_LINE_BYTES) >= extent)
            return true;
    }
    return false;
}

static bool hole_open(struct gc_tracer *tracer, unsigned which, uint32_t line, uint64_t extent)
{
    struct gc *gc = tracer->gc;
    uint32_t block = tracer->old_block[which], from, to;
    struct gc_region *region = &tracer->region[TO_OLD][which];
    if (!hole_find(gc, block, line, extent, region, &from, &to)) {
        *region = (struct gc_region){ 0, 0, 0, 0 };
        return false;
    }
    region->begin = region->at;
    gc_bits_set(gc_block(gc, block)->line, from, to);
    return true;
}

static bool holes_open(struct gc_tracer *tracer, unsigned which, uint64_t extent)
{
    struct gc *gc = tracer->gc;
    struct gc_region *region = &tracer->region[TO_OLD][which];
    uint32_t line = region->end ? (uint32_t)((region->end - 1) % MM_BLOCK_BYTES / MM_LINE_BYTES) + 1 : 0;
    region_leave(gc, region);
    while (tracer->old_block[which] == UINT32_MAX || !hole_open(tracer, which, line, extent)) {
        lock(tracer);
        old_block_leave(tracer, which);
        tracer->old_block[which] = reclaim_take_listed(gc, extent, region_fits);
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
        reclaim_list(gc, block, false);
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
    bool open = *kind == TO_SURVIVOR ? survivor_open(tracer, region) : *kind == TO_FRESH ? fresh_open(tracer, region) : holes_open(tracer, which, extent);
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
        tracer->region[TO_SURVIVOR][0] = tracer->region[TO_SURVIVOR][1] = (struct gc_region){ 0, 0, 0, 0 };
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
