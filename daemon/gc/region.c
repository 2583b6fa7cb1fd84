/* region.c — where copies go (DESIGN D5, D12).
 *
 * A tracer has six regions that it bumps through: survivors, promoted and evacuated objects, each apart for small objects and for longer
 * ones. What is evacuated fills fresh blocks, as long as there are any: that is what it is evacuated for.
 * Old objects fill the holes of blocks with room (holes.c), one after the other, then free blocks; longer ones pass over the holes that are too
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

/* A free block for copies, in its new state; GC_NO_BLOCK: none. */
static uint32_t block_take(struct gc_tracer *tracer, enum mm_block_state state)
{
    struct gc *gc = tracer->gc;
    uint32_t block = GC_NO_BLOCK, count;
    lock(tracer);
    if (heap_obtain(gc->heap, &(struct heap_want){ .want = 1, .min = 1, .state = state }, &block, &count) != 0)
        block = GC_NO_BLOCK;
    unlock(tracer);
    return block;
}

static bool survivor_open(struct gc_tracer *tracer, struct gc_region *region)
{
    struct gc *gc = tracer->gc;
    if (mm_load_relaxed(&gc->survivor_blocks) >= gc->survivor_max)      /* they overflow: the rest is promoted */
        return false;
    uint32_t block = block_take(tracer, MM_BLOCK_SURVIVOR);
    if (block == GC_NO_BLOCK)
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
    if (block == GC_NO_BLOCK)
        return false;
    struct gc_block *side = gc_block(gc, block);
    lock(tracer);
    gc->old_blocks++;
    unlock(tracer);
    gc_flag_set(side, GC_REGION);
    gc_cards_fill(gc, block, 1, MM_CARD_CLEAN);
    mm_store_relaxed(&gc->space[block], (uint8_t)GC_OLD);
    *region = (struct gc_region){ gc_off(block), gc_off(block) + MM_BLOCK_BYTES, block, gc_off(block) };
    return true;
}

/* Counts what was put into a region of old objects since it was last counted. */
static void region_count(struct gc *gc, struct gc_region *region)
{
    struct gc_block *side = gc_block(gc, region->block);
    uint32_t filled = (uint32_t)(region->at - region->begin);
    side->used_bytes += filled;
    if (filled && gc->marking)
        mm_add_relaxed(&side->live_bytes, filled);      /* marked at birth; others may be marking here */
    region->begin = region->at;
}

static void region_leave(struct gc *gc, struct gc_region *region)
{
    region_count(gc, region);
    *region = (struct gc_region){ 0, 0, 0, 0 };
}

/* The block that `tracer` fills hole by hole is done with. */
static void old_block_leave(struct gc_tracer *tracer, unsigned which)
{
    struct gc *gc = tracer->gc;
    uint32_t block = tracer->old_block[which];
    if (block == GC_NO_BLOCK)
        return;
    gc_flag_clear(gc_block(gc, block), GC_REGION);
    reclaim_list(gc, block);
    tracer->old_block[which] = GC_NO_BLOCK;
}

/* The next hole of at least `extent` bytes of the tracer's block, at or behind `granule`. */
static bool hole_open(struct gc_tracer *tracer, unsigned which, uint32_t granule, uint64_t extent)
{
    uint64_t base = gc_off(tracer->old_block[which]);
    for (uint32_t from, to = granule; gc_bits_run(tracer->holes[which], to, &from, &to);) {
        uint64_t at = base + from * MM_GRANULE_BYTES, end = base + to * MM_GRANULE_BYTES;
        if (end - at < extent)
            continue;
        tracer->region[TO_OLD][which] = (struct gc_region){ at, end, tracer->old_block[which], at };
        return true;
    }
    return false;
}

/* A block with room for `extent` bytes between its objects. False: none near. */
static bool holes_block_open(struct gc_tracer *tracer, unsigned which, uint64_t extent)
{
    struct gc *gc = tracer->gc;
    lock(tracer);
    old_block_leave(tracer, which);
    uint32_t block = tracer->old_block[which] = reclaim_take_listed(gc, extent);
    if (block != GC_NO_BLOCK)
        gc_flag_set(gc_block(gc, block), GC_REGION);
    unlock(tracer);
    if (block == GC_NO_BLOCK)
        return false;
    holes_find(gc_block(gc, block), tracer->holes[which]);
    return true;
}

static bool holes_open(struct gc_tracer *tracer, unsigned which, uint64_t extent)
{
    struct gc_region *region = &tracer->region[TO_OLD][which];
    uint32_t granule = region->end ? (uint32_t)((region->end - 1) % MM_BLOCK_BYTES / MM_GRANULE_BYTES) + 1 : 0;
    region_leave(tracer->gc, region);
    if (tracer->old_block[which] != GC_NO_BLOCK && hole_open(tracer, which, granule, extent))
        return true;
    if (holes_block_open(tracer, which, extent))
        return hole_open(tracer, which, 0, extent);
    if (!old_block_open(tracer, region))
        return false;
    tracer->old_block[which] = region->block;
    memset(tracer->holes[which], 0, sizeof tracer->holes[which]);       /* the region is all there is */
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
        if (i == 0 && !all) {
            region_count(gc, &tracer->region[TO_OLD][0]);
            region_count(gc, &tracer->region[TO_OLD][1]);
            continue;
        }
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
