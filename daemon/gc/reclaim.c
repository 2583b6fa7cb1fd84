/* reclaim.c — what became free: emptied young blocks, and after a marking the lines, blocks and large objects that nobody reached.
 *
 * Marking leaves each old block UNSWEPT: its mark bits are its start bits from then on (R1), and nothing is put into it. Sweeping one block is
 * copying 512 bytes of bits and counting lines; it is done in slices after the resume, or when somebody needs a block.
 * Private tables only, but for the samples. The heap's worker, or a tracer under gc->lock. */
#include <string.h>

#include "daemon/gc/trace.h"

#define LIST_LEAST_BYTES 2048u          /* less is not worth a visit */
#define LIST_LOOKS       16u            /* blocks looked at for a long hole */
#define FETCH_AHEAD      16u            /* blocks: the memory of their sides is far apart */
#define KEPT_LOOKS       2u             /* blocks promoted in place that are sampled in the pause */

static uint32_t free_lines(const struct gc_block *side)
{
    uint32_t taken = 0;
    for (unsigned i = 0; i < MM_BLOCK_LINES / 64; i++)
        taken += (uint32_t)__builtin_popcountll(side->line[i]);
    return MM_BLOCK_LINES - taken;
}

static uint32_t rest(uint32_t bytes) { return bytes < MM_BLOCK_BYTES ? MM_BLOCK_BYTES - bytes : 0; }

/* What is worth granting of the block: between its objects where they never move, else whole lines. */
static uint32_t free_bytes(const struct gc *gc, const struct gc_block *side) { return gc->fixed ? rest(side->used_bytes) : free_lines(side) * MM_LINE_BYTES; }

/* What sweeping the block will find, short of the little that is not worth listing. */
static uint32_t free_bytes_unswept(const struct gc *gc, const struct gc_block *side)
{
    uint32_t taken = 0;
    for (unsigned i = 0; i < MM_BLOCK_LINES / 64; i++)
        taken += (uint32_t)__builtin_popcountll(side->line_mark[i]);
    return rest(gc->fixed ? side->live_bytes : taken * MM_LINE_BYTES);
}

static bool bits_empty(const uint64_t *bits)
{
    for (unsigned i = 0; i < GC_BLOCK_GRANULES / 64; i++)
        if (bits[i])
            return false;
    return true;
}

void reclaim_free_block(struct gc *gc, uint32_t block)
{
    memset(gc_block(gc, block), 0, sizeof(struct gc_block));
    gc->space[block] = GC_NOWHERE;
    heap_block_set_state(gc->heap, block, MM_BLOCK_FREE);
    gc->receipt.freed_bytes += MM_BLOCK_BYTES;
}

/* ---- Blocks with room ---- */

void reclaim_list(struct gc *gc, uint32_t block, bool crumbs)
{
    struct gc_block *side = gc_block(gc, block);
    if (side->flags & (GC_GRANTED | GC_REGION | GC_UNSWEPT | GC_LISTED))
        return;
    uint32_t free = free_bytes(gc, side);
    if (free == MM_BLOCK_BYTES && bits_empty(side->start)) {
        gc->old_blocks--;
        reclaim_free_block(gc, block);
        return;
    }
    if (free < LIST_LEAST_BYTES)
        return;
    heap_block_set_state(gc->heap, block, MM_BLOCK_RECYCLABLE);
    side->flags |= GC_LISTED;
    gc->old_free_bytes += free;
    uint32_t at = gc->listed_count++;
    if (crumbs) {
        gc->listed[at] = gc->listed[gc->crumbs];
        at = gc->crumbs++;
    }
    gc->listed[at] = block;
}

/* Takes the block at `i` off the list. */
static uint32_t unlist(struct gc *gc, uint32_t i)
{
    uint32_t block = gc->listed[i];
    struct gc_block *side = gc_block(gc, block);
    if (i < gc->crumbs) {
        gc->listed[i] = gc->listed[--gc->crumbs];
        i = gc->crumbs;
    }
    gc->listed[i] = gc->listed[--gc->listed_count];
    side->flags &= (uint8_t)~GC_LISTED;
    gc->old_free_bytes -= free_bytes(gc, side);
    heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
    return block;
}

bool reclaim_fits_lines(const struct gc *gc, uint32_t block, uint64_t extent)
{
    const struct gc_block *side = gc_block(gc, block);
    uint32_t lines = (uint32_t)((extent + MM_LINE_BYTES - 1) / MM_LINE_BYTES), row = 0;
    for (uint32_t line = 0; line < MM_BLOCK_LINES && row < lines; line++)
        row = gc_bit(side->line, line) ? 0 : row + 1;
    return row >= lines;
}

bool reclaim_fits_any(const struct gc *gc, uint32_t block, uint64_t extent)
{
    (void)gc;
    (void)block;
    (void)extent;
    return true;
}

/* The last one of [from, to) that fits. */
static uint32_t look(struct gc *gc, uint32_t from, uint32_t to, uint64_t extent, reclaim_fits *fits, uint32_t *looks)
{
    while (to > from && *looks) {
        (*looks)--;
        if (fits(gc, gc->listed[--to], extent))
            return unlist(gc, to);
    }
    return UINT32_MAX;
}

/* Longer objects pass through each block once and leave crumbs, which are for the others, who so leave the long holes alone. */
uint32_t reclaim_take_listed(struct gc *gc, uint64_t extent, reclaim_fits *fits)
{
    uint32_t looks = LIST_LOOKS, block;
    if (extent <= MM_LINE_BYTES && gc->crumbs)          /* none where objects never move */
        return unlist(gc, gc->crumbs - 1);
    do {
        block = look(gc, gc->crumbs, gc->listed_count, extent, fits, &looks);
    } while (block == UINT32_MAX && looks && reclaim_sweep_step(gc));
    looks = LIST_LOOKS;
    return block != UINT32_MAX ? block : look(gc, 0, gc->crumbs, extent, fits, &looks);
}

/* ---- Young blocks ---- */

/* Objects of it stayed where they were: it is old now. */
static void become_old(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    memset(side->done, 0, sizeof side->done);
    side->used_bytes = (MM_BLOCK_LINES - free_lines(side)) * MM_LINE_BYTES;
    if (gc->marking) {
        memcpy(side->mark, side->start, sizeof side->mark);
        memcpy(side->line_mark, side->line, sizeof side->line_mark);
        side->live_bytes = side->used_bytes;
    } else {
        memset(side->mark, 0, sizeof side->mark);
    }
    side->flags = 0;
    gc->space[block] = GC_OLD;
    gc->old_blocks++;
    heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
    if (!gc->judging)
        reclaim_list(gc, block, false);
}

void reclaim_from_space(struct gc *gc)
{
    unsigned looks = KEPT_LOOKS;
    for (uint32_t i = 0; i < gc->from_count; i++) {
        uint32_t block = gc->from[i];
        if (gc_block(gc, block)->flags & GC_KEPT) {
            if (gc->promoted_in_place && looks && heap_block_state(gc->heap, block) == MM_BLOCK_NURSERY) {
                pretenure_look(gc, block);
                looks--;
            }
            become_old(gc, block);
        } else if (heap_block_state(gc->heap, block) == MM_BLOCK_NURSERY && gc->samples < GC_SAMPLES && gc->sample_turn++ % 8 == 0) {
            gc->space[block] = GC_NOWHERE;
            gc->sample[gc->samples++] = block;          /* freed when it has been looked at */
        } else {
            reclaim_free_block(gc, block);
        }
    }
    gc->from_count = 0;
    for (uint32_t i = 0; i < gc->young_count; i++)
        gc->space[gc->young[i]] = GC_YOUNG;
}

/* ---- After a marking ---- */

/* A block that a thread is filling: what lies beyond its cursor stays granted. */
static void sweep_granted(struct gc *gc, const struct gc_grant *grant)
{
    struct gc_block *side = gc_block(gc, grant->block);
    memcpy(side->start, side->mark, sizeof side->start);
    memset(side->mark, 0, sizeof side->mark);
    memcpy(side->line, side->line_mark, sizeof side->line);
    for (uint32_t line = 0; line < MM_BLOCK_LINES; line++)      /* granted lines are taken lines */
        if (gc_bit(grant->holes, line * GC_LINE_GRANULES))
            gc_bit_set(side->line, line);
    memset(side->line_mark, 0, sizeof side->line_mark);
    side->used_bytes = side->live_bytes;
    side->live_bytes = 0;
}

static void sweep_block(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    gc->old_free_bytes -= free_bytes_unswept(gc, side);
    if (bits_empty(side->mark)) {
        gc->old_blocks--;
        reclaim_free_block(gc, block);
        return;
    }
    memcpy(side->start, side->mark, sizeof side->start);
    memset(side->mark, 0, sizeof side->mark);
    memcpy(side->line, side->line_mark, sizeof side->line);
    memset(side->line_mark, 0, sizeof side->line_mark);
    side->used_bytes = side->live_bytes;
    side->live_bytes = 0;
    side->flags &= (uint8_t)~GC_UNSWEPT;
    reclaim_list(gc, block, false);
}

static void sweep_large(struct gc *gc, uint32_t head)
{
    struct gc_block *side = gc_block(gc, head);
    uint32_t blocks = side->large_blocks;
    if (gc_bit(side->mark, 0)) {
        gc_bit_clear(side->mark, 0);
        return;
    }
    gc->large_blocks -= blocks;
    for (uint32_t b = head; b < head + blocks; b++)
        reclaim_free_block(gc, b);
}

void reclaim_begin_sweep(struct gc *gc)
{
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    gc->listed_count = gc->crumbs = gc->unswept_count = 0;
    gc->old_free_bytes = 0;
    gc->old_live_bytes = gc->old_live_blocks = 0;
    for (uint32_t i = 0; i < gc->grants; i++)
        sweep_granted(gc, &gc->grant[i]);
    for (uint32_t b = 0; b < blocks; b++) {
        if (b + FETCH_AHEAD < blocks && gc->space[b + FETCH_AHEAD] == GC_OLD)
            gc_block_fetch(gc, b + FETCH_AHEAD);
        if (gc->space[b] == GC_LARGE && gc_block(gc, b)->large_blocks)
            sweep_large(gc, b);
        struct gc_block *side = gc->space[b] == GC_OLD ? gc_block(gc, b) : NULL;
        if (!side || side->flags & GC_GRANTED)
            continue;
        if (side->flags & GC_LISTED)
            heap_block_set_state(gc->heap, b, MM_BLOCK_OLD);
        side->flags = GC_UNSWEPT;
        gc->old_live_bytes += side->live_bytes;
        gc->old_live_blocks += side->live_bytes != 0;
        gc->old_free_bytes += free_bytes_unswept(gc, side);
        gc->unswept[gc->unswept_count++] = b;
    }
}

bool reclaim_sweep_step(struct gc *gc)
{
    if (!gc->unswept_count)
        return false;
    sweep_block(gc, gc->unswept[--gc->unswept_count]);
    return true;
}
