/* evac.c — evacuation: which old blocks are emptied, so that whole blocks become free (DESIGN D12; Detlefs et al., "Garbage-first garbage
 * collection", ISMM 2004, for the choice; Blackburn and McKinley, "Immix", PLDI 2008, for copying into holes of the rest).
 *
 * A block that is to be emptied is in the space GC_EVAC from the choice to the end of the pause that empties it. In that pause its objects are
 * copied as the trace comes to them, by the same code as young ones, into holes of other blocks and into free ones. One for which there is no room
 * stays, and its block with it: an evacuation never fails half-way.
 * A marking in one pause (compact) meets every reference anyway. One that goes on between pauses chooses its candidates when it begins; from then
 * on every card of an old object that is found to refer into them is noted: by the marker, by scans of changed cards, of promoted objects and
 * of old tails. The pause that ends it knows what is alive in each, takes as many as its target allows, and looks at the noted cards, the roots
 * and the young objects: nobody else refers into them.
 * Blocks in which something is pinned, that threads fill, or that copies go to, are not chosen.
 * Private tables, and handles for the pins: inside a guard. The heap's worker. */
#include <stdlib.h>
#include <string.h>

#include "daemon/gc/trace.h"

#define SPARSE_BYTES   (MM_BLOCK_BYTES * 3 / 4)         /* blocks with more in them are not worth the copying, */
#define DENSE_BYTES    (MM_BLOCK_BYTES * 7 / 8)         /* or, where everything is to be packed, these */

#define CHOOSE_FACTOR  2u                               /* chosen when a marking begins, of what can be moved when it ends */
#define FIRST_RATE       (128u << 10)                   /* bytes a millisecond, until one was measured: as slow as where each object is referred to from a card of its own */
#define TIGHT_FACTOR     8u
#define FIRST_TARGET_US  10000u                         /* of a heap that has none */
#define RATE_LEAST_BYTES (128u << 10)                   /* less says little about how fast it goes */

struct candidate { uint32_t block, bytes, usable; };


static int by_bytes(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    return left->bytes != right->bytes ? (left->bytes < right->bytes ? -1 : 1) : left->block < right->block ? -1 : left->block > right->block;
}

/* All blocks that could be emptied, sparse ones first; and what is usable of all old blocks. */
static uint32_t candidates(struct gc *gc, struct candidate *candidate, uint64_t *ret_usable_bytes)
{
    uint32_t count = 0, blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    *ret_usable_bytes = 0;
    for (uint32_t b = 0; b < blocks; b++) {
        const struct gc_block *side = gc->space[b] == GC_OLD ? gc_block(gc, b) : NULL;
        if (!side || side->flags & (GC_GRANTED | GC_REGION | GC_UNSWEPT))
            continue;
        uint32_t usable = side->used_bytes < MM_BLOCK_BYTES ? MM_BLOCK_BYTES - side->used_bytes : 0;
        *ret_usable_bytes += usable;
        if (side->used_bytes <= (gc->kind == MM_COLLECT_COMPACT ? DENSE_BYTES : SPARSE_BYTES))
            candidate[count++] = (struct candidate){ b, side->used_bytes, usable };
    }
    qsort(candidate, count, sizeof *candidate, by_bytes);
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

/* Takes candidates, the first ones first, as long as what is in them fits what is free elsewhere: a block of which one object stays is not gained. */
static void take(struct gc *gc, const struct candidate *candidate, uint32_t count, uint64_t usable_bytes, uint64_t most_bytes)
{
    uint64_t room = heap_limit_left(gc->heap) << MM_BLOCK_SHIFT, moved = 0;
    uint32_t chosen = 0;
    for (; chosen < count; chosen++) {
        usable_bytes -= candidate[chosen].usable;
        moved += candidate[chosen].bytes;
        if (moved > usable_bytes / 4 + room / 8 * 7 || moved > most_bytes)
            break;
        gc->space[candidate[chosen].block] = GC_EVAC;
    }
    pinned_stay(gc);
    for (uint32_t i = 0; i < chosen; i++)
        if (gc->space[candidate[i].block] == GC_EVAC) {
            if (gc_block(gc, candidate[i].block)->flags & GC_LISTED)
                reclaim_unlist(gc, candidate[i].block);         /* not to be filled meanwhile */
            gc->evac[gc->evac_count++] = candidate[i].block;
        }
}

/* Free blocks that will be wanted whole before the next marking ends, as the last one's time says: for a nursery, unless all is born old, and for large objects. */
static uint64_t blocks_wanted(const struct gc *gc)
{
    uint64_t nursery = gc->young_count ? gc_nursery_blocks(gc) : 0;
    return (nursery > gc->young_granted ? nursery - gc->young_granted : 0) + gc->large_since_blocks;
}

/* Holes are filled to the byte, so a block with garbage in it need not be emptied to be used again; only where whole blocks are short, or where half of what they
 * hold is known to be free. */
static bool worth_moving(const struct gc *gc)
{
    uint64_t held = (uint64_t)gc->old_blocks << MM_BLOCK_SHIFT;
    return gc_room_blocks(gc) < blocks_wanted(gc) || gc->old_free_bytes > held / 2;
}

/* Bytes that can be moved in half of the pause target; where hardly a free block is left, in a few times as long, since a compaction of everything,
 * which would come next, takes far longer. */
static uint64_t affordable_bytes(const struct gc *gc)
{
    uint64_t rate = gc->evac_rate ? gc->evac_rate : FIRST_RATE, target_us = gc->pause_target_ns ? gc->pause_target_ns / 1000 : FIRST_TARGET_US;
    bool tight = gc_room_blocks(gc) < blocks_wanted(gc) / 2;
    return rate * (target_us / 2) / 1000 * (tight ? TIGHT_FACTOR : 1) + 1;
}

void evac_choose(struct gc *gc)
{
    uint64_t usable_bytes;
    bool later = gc->pause == PAUSE_BEGIN;
    if (later && !worth_moving(gc))
        return;
    struct candidate *candidate = malloc((gc->old_blocks + 1) * sizeof *candidate);
    if (!candidate)
        return;                                 /* no memory to choose in: nothing is moved */
    uint32_t count = candidates(gc, candidate, &usable_bytes);
    take(gc, candidate, count, usable_bytes, later ? affordable_bytes(gc) * CHOOSE_FACTOR : UINT64_MAX);
    gc->recording = later && gc->evac_count;
    gc->evacuating = !later && gc->evac_count;
    free(candidate);
}

/* The marking knows what is alive in each: the sparsest ones, within the pause target and the room there is for copies. */
void evac_settle(struct gc *gc)
{
    struct candidate *candidate = malloc((gc->evac_count + 1) * sizeof *candidate);
    uint64_t room = (heap_limit_left(gc->heap) << MM_BLOCK_SHIFT) / 8 * 7, most = affordable_bytes(gc), moved = 0;
    uint32_t count = candidate ? gc->evac_count : 0, kept = 0;
    for (uint32_t i = 0; i < gc->evac_count; i++) {
        gc->space[gc->evac[i]] = GC_OLD;
        if (candidate)
            candidate[i] = (struct candidate){ gc->evac[i], gc_block(gc, gc->evac[i])->live_bytes, 0 };
    }
    if (count)
        qsort(candidate, count, sizeof *candidate, by_bytes);
    for (uint32_t i = 0; i < count && (moved += candidate[i].bytes) <= most && moved <= room; i++)
        if (candidate[i].bytes <= SPARSE_BYTES)
            gc->space[candidate[i].block] = GC_EVAC;
    pinned_stay(gc);
    for (uint32_t i = 0; i < count; i++)
        if (gc->space[candidate[i].block] == GC_EVAC) {
            struct gc_block *side = gc_block(gc, candidate[i].block);
            gc_marks_clear(side);           /* from here on: carried out; what is not reached in this pause is dead */
            side->live_bytes = 0;
            memset(side->done, 0, sizeof side->done);
            gc->evac[kept++] = candidate[i].block;
        }
    gc->evac_count = kept;
    gc->evacuating = kept > 0;
    gc->recording = false;
    free(candidate);
}

/* ---- Who refers into them ---- */

void evac_note(struct gc_tracer *tracer, uint64_t slot)
{
    struct gc_edges *edges = &tracer->gc->edges[slot >> MM_BLOCK_SHIFT];
    uint32_t card = (uint32_t)(slot % MM_BLOCK_BYTES / MM_CARD_BYTES);
    uint64_t bit = (uint64_t)1 << card % 64;
    if (tracer->parallel)
        (void)__atomic_fetch_or(&edges->card[card / 64], bit, __ATOMIC_RELAXED);
    else
        edges->card[card / 64] |= bit;
}

/* Each noted card: what is marked there. What is not yet marked is scanned when it is. */
static void block_trace_edges(struct gc *gc, uint32_t block)
{
    for (uint32_t w = 0; w < GC_BLOCK_CARDS / 64; w++)
        for (uint64_t *cards = &gc->edges[block].card[w]; *cards; *cards &= *cards - 1)
            if (gc->evacuating && gc->space[block] != GC_EVAC) {
                remset_fetch_card(gc, block, w * 64, *cards & (*cards - 1));
                remset_trace_card(gc, block, w * 64 + (uint32_t)__builtin_ctzll(*cards), true);
                gc->receipt.cards++;
            }
}

void evac_trace_edges(struct gc *gc)
{
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    for (uint32_t b = 0; b < blocks; b++)
        block_trace_edges(gc, b);
}

/* ---- The end ---- */

void evac_end(struct gc *gc)
{
    if (!gc->evacuating)
        return;
    for (uint32_t i = 0; i < gc->evac_count; i++) {
        struct gc_block *side = gc_block(gc, gc->evac[i]);
        for (uint32_t w = 0; w < GC_BLOCK_WORDS; w++) {
            struct gc_bits *bits = &side->bits[w];
            uint64_t stays = bits->mark & bits->start;
            bits->start |= bits->mark;                  /* what was moved is swept like what died, by the end that it has here */
            bits->mark = stays;
        }
        memset(side->done, 0, sizeof side->done);
        gc->space[gc->evac[i]] = GC_OLD;
        gc->receipt.evac_blocks++;
    }
    uint64_t us = (gc->receipt.remset_ns + gc->receipt.trace_ns) / 1000 + 1, moved = gc->receipt.evac_bytes, rate = moved * 1000 / us;
    if (moved >= RATE_LEAST_BYTES && gc->pause == PAUSE_END)            /* with all else that the trace did: one way to be careful */
        gc->evac_rate = gc->evac_rate ? (gc->evac_rate + rate) / 2 : rate;
    gc->evac_count = 0;
    gc->evacuating = false;
}

void evac_forget(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->evac_count; i++) {
        gc->space[gc->evac[i]] = GC_OLD;
        reclaim_list(gc, gc->evac[i]);          /* its holes may be filled again */
    }
    if (gc->recording)
        memset(gc->edges, 0, gc->heap->mapped_chunks * MM_CHUNK_BLOCKS * sizeof *gc->edges);
    gc->evac_count = 0;
    gc->recording = gc->evacuating = false;
}
