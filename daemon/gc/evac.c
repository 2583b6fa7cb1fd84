/* evac.c — evacuation: which old blocks are emptied, so that whole blocks become free (DESIGN D12; Detlefs et al., "Garbage-first garbage
 * collection", ISMM 2004, for the choice; Blackburn and McKinley, "Immix", PLDI 2008, for copying into holes of the rest).
 *
 * A block that is to be emptied is in the space GC_EVAC from the choice to the end of the pause that empties it. There its objects are copied
 * as the trace comes to them, by the same code as young ones, into holes of other blocks and into free ones. One for which there is no room
 * stays, and its block with it: an evacuation never fails half-way.
 * Blocks in which something is pinned, that threads fill, or that copies go to, are not chosen.
 * Private tables, and handles for the pins: inside a guard. The heap's worker. */
#include <stdlib.h>
#include <string.h>

#include "daemon/gc/trace.h"

#define SPARSE_LINES   (MM_BLOCK_LINES * 3 / 4)         /* more taken ones are not worth the copying */

struct candidate { uint32_t block, lines; };

static uint32_t lines_taken(const struct gc_block *side)
{
    uint32_t taken = 0;
    for (unsigned i = 0; i < MM_BLOCK_LINES / 64; i++)
        taken += (uint32_t)__builtin_popcountll(side->line[i]);
    return taken;
}

static int by_lines(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    return left->lines != right->lines ? (left->lines < right->lines ? -1 : 1) : left->block < right->block ? -1 : left->block > right->block;
}

/* All blocks that could be emptied, sparse ones first; and the free lines of all old blocks. */
static uint32_t candidates(struct gc *gc, struct candidate *candidate, uint64_t *ret_free_lines)
{
    uint32_t count = 0, blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    *ret_free_lines = 0;
    for (uint32_t b = 0; b < blocks; b++) {
        const struct gc_block *side = gc->space[b] == GC_OLD ? gc_block(gc, b) : NULL;
        if (!side || side->flags & (GC_GRANTED | GC_REGION | GC_UNSWEPT))
            continue;
        uint32_t lines = lines_taken(side);
        *ret_free_lines += MM_BLOCK_LINES - lines;
        if (lines <= SPARSE_LINES)
            candidate[count++] = (struct candidate){ b, lines };
    }
    qsort(candidate, count, sizeof *candidate, by_lines);
    return count;
}

/* What threads have pinned does not move: handles of all groups, since those of old objects are not among the young. */
static void pinned_stay(struct gc *gc)
{
    const struct mm_handle *handles = mm_control_handles(gc->heap->control, gc->heap->slot_count, gc->heap->space_count);
    uint32_t high = mm_load_relaxed(&gc->heap->control->handles_high);
    for (uint32_t i = 0; i < high && i < MM_HANDLES; i++) {
        uint64_t off = mm_load_relaxed(&handles[i].kind) == MM_HANDLE_PIN ? trace_off(gc, mm_load_relaxed(&handles[i].word)) : TRACE_NONE;
        if (off != TRACE_NONE && gc->space[off >> MM_BLOCK_SHIFT] == GC_EVAC)
            gc->space[off >> MM_BLOCK_SHIFT] = GC_OLD;
    }
}

/* The chosen ones are not to be filled meanwhile. */
static void unlist(struct gc *gc)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < gc->listed_count; i++) {
        uint32_t block = gc->listed[i];
        if (gc->space[block] != GC_EVAC) {
            gc->listed[left++] = block;
            continue;
        }
        gc_flag_clear(gc_block(gc, block), GC_LISTED);
        gc->old_free_lines -= MM_BLOCK_LINES - lines_taken(gc_block(gc, block));
        heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
    }
    gc->listed_count = left;
}

void evac_choose(struct gc *gc)
{
    uint64_t free_lines, room = heap_limit_left(gc->heap) * MM_BLOCK_LINES, moved = 0;
    struct candidate *candidate = malloc((gc->old_blocks + 1) * sizeof *candidate);
    if (!candidate)
        return;                                 /* no memory to choose in: nothing is moved */
    uint32_t count = candidates(gc, candidate, &free_lines), chosen = 0;
    for (; chosen < count; chosen++) {
        /* As long as what moves fits what is free elsewhere. */
        free_lines -= MM_BLOCK_LINES - candidate[chosen].lines;
        moved += candidate[chosen].lines;
        if (moved > (free_lines + room) / 8 * 7)
            break;
        gc->space[candidate[chosen].block] = GC_EVAC;
    }
    pinned_stay(gc);
    unlist(gc);
    for (uint32_t i = 0; i < chosen; i++)
        if (gc->space[candidate[i].block] == GC_EVAC)
            gc->evac[gc->evac_count++] = candidate[i].block;
    gc->evacuating = gc->evac_count > 0;
    free(candidate);
}

void evac_end(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->evac_count; i++) {
        struct gc_block *side = gc_block(gc, gc->evac[i]);
        for (uint32_t w = 0; w < GC_BLOCK_GRANULES / 64; w++)
            side->mark[w] &= side->start[w];            /* what was moved starts here no more */
        memset(side->done, 0, sizeof side->done);
        gc->space[gc->evac[i]] = GC_OLD;
        gc->receipt.evac_blocks++;
    }
    gc->evac_count = 0;
    gc->evacuating = false;
}
