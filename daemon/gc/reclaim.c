/* reclaim.c — what became free: emptied young blocks, and after a marking the old blocks, what lies between live objects, and the large objects that nobody reached.
 *
 * Marking leaves each old block UNSWEPT: its mark bits are its start bits from then on (R1), and nothing is put into it. Sweeping one block is
 * copying 512 bytes of bits and leaving out the ends of what is dead; it is done in slices after the resume, or when somebody needs a block.
 * Private tables only, but for the samples. The heap's worker, or a tracer under gc->lock. */
#include <string.h>

#include "daemon/gc/trace.h"

#define LIST_LEAST_BYTES 2048u          /* less is not worth a visit */
#define LIST_LOOKS       8u             /* blocks looked at whose holes may be too short */
#define FETCH_AHEAD      16u            /* blocks: the memory of their sides is far apart */
#define KEPT_LOOKS       2u             /* blocks promoted in place that are sampled in the pause */

static uint32_t rest(uint32_t bytes) { return bytes < MM_BLOCK_BYTES ? MM_BLOCK_BYTES - bytes : 0; }

/* What lies between the block's objects. */
static uint32_t free_bytes(const struct gc_block *side) { return rest(side->used_bytes); }

/* What sweeping the block will find, short of the little that is not worth listing. */
static uint32_t free_bytes_unswept(const struct gc_block *side) { return rest(side->live_bytes); }

static bool is_empty(const struct gc_block *side, bool by_marks)
{
    for (unsigned word = 0; word < GC_BLOCK_WORDS; word++)
        if (gc_starts(side, by_marks, word))
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

/* Blocks whose longest hole has from 2^class granules on, and less than twice as many. */
static unsigned class_of(uint64_t granules) { return 63 - (unsigned)__builtin_clzll(granules | 1); }

void reclaim_lists_clear(struct gc *gc)
{
    for (unsigned class = 0; class < GC_ROOM_CLASSES; class++)
        gc->listed[class] = GC_NO_BLOCK;
    gc->listed_count = 0;
}

void reclaim_list(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    uint64_t holes[GC_BLOCK_WORDS];
    if (side->flags & (GC_GRANTED | GC_REGION | GC_UNSWEPT | GC_LISTED))
        return;
    uint32_t free = free_bytes(side), *head;
    if (free == MM_BLOCK_BYTES && is_empty(side, false)) {
        gc->old_blocks--;
        reclaim_free_block(gc, block);
        return;
    }
    if (free < LIST_LEAST_BYTES)
        return;
    holes_find(side, holes);
    if ((side->longest = (uint16_t)holes_longest(holes)) == 0)
        return;
    head = &gc->listed[class_of(side->longest)];
    heap_block_set_state(gc->heap, block, MM_BLOCK_RECYCLABLE);
    side->flags |= GC_LISTED;
    gc->old_free_bytes += free;
    gc->listed_count++;
    side->next = *head;
    side->prev = GC_NO_BLOCK;
    if (*head != GC_NO_BLOCK)
        gc_block(gc, *head)->prev = block;
    *head = block;
}

void reclaim_unlist(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    *(side->prev == GC_NO_BLOCK ? &gc->listed[class_of(side->longest)] : &gc_block(gc, side->prev)->next) = side->next;
    if (side->next != GC_NO_BLOCK)
        gc_block(gc, side->next)->prev = side->prev;
    gc->listed_count--;
    gc_flag_clear(side, GC_LISTED);
    gc->old_free_bytes -= free_bytes(side);
    heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
}

/* The first ones of the class that a hole of so many granules may be in, but need not. */
static uint32_t look(const struct gc *gc, uint64_t granules)
{
    uint32_t block = gc->listed[class_of(granules)];
    for (unsigned looks = 0; looks < LIST_LOOKS && block != GC_NO_BLOCK; looks++, block = gc_block(gc, block)->next)
        if (gc_block(gc, block)->longest >= granules)
            return block;
    return GC_NO_BLOCK;
}

/* Small objects take the shortest holes that will do, so that the long ones are left to the others; those begin where holes are longest, since a block in
 * which hardly one hole will do is soon left again. */
static uint32_t choose(const struct gc *gc, uint64_t granules)
{
    bool small = granules * MM_GRANULE_BYTES <= GC_SMALL_BYTES;
    unsigned own = class_of(granules);
    uint32_t block = small ? look(gc, granules) : GC_NO_BLOCK;
    for (unsigned n = own + 1; n < GC_ROOM_CLASSES && block == GC_NO_BLOCK; n++)
        block = gc->listed[small ? n : GC_ROOM_CLASSES + own - n];
    return block == GC_NO_BLOCK && !small ? look(gc, granules) : block;
}

uint32_t reclaim_take_listed(struct gc *gc, uint64_t extent)
{
    uint32_t block;
    do {
        block = choose(gc, (extent + MM_GRANULE_BYTES - 1) / MM_GRANULE_BYTES);
    } while (block == GC_NO_BLOCK && reclaim_sweep_step(gc));
    if (block != GC_NO_BLOCK)
        reclaim_unlist(gc, block);
    return block;
}

/* ---- Young blocks ---- */

/* Objects of it stayed where they were: it is old now. */
static void become_old(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    memset(side->done, 0, sizeof side->done);
    if (gc->marking) {
        for (uint32_t word = 0; word < GC_BLOCK_WORDS; word++)
            side->bits[word].mark = side->bits[word].start;
        side->live_bytes = side->used_bytes;
    } else {
        gc_marks_clear(side);
    }
    side->flags = 0;
    gc->space[block] = GC_OLD;
    gc->old_blocks++;
    heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
    if (!gc->judging)
        reclaim_list(gc, block);
}

void reclaim_from_space(struct gc *gc)
{
    unsigned looks = KEPT_LOOKS;
    for (uint32_t i = 0; i < gc->from_count; i++) {
        uint32_t block = gc->from[i];
        if (gc->probing && heap_block_state(gc->heap, block) == MM_BLOCK_NURSERY)
            pretenure_look(gc, block);
        if (gc_block(gc, block)->flags & GC_KEPT) {
            if (gc->promoted_in_place && looks && heap_block_state(gc->heap, block) == MM_BLOCK_NURSERY) {
                pretenure_look(gc, block);
                looks--;
            }
            become_old(gc, block);
        } else if (!gc->probing && heap_block_state(gc->heap, block) == MM_BLOCK_NURSERY && gc->samples < GC_SAMPLES && gc->sample_turn++ % 8 == 0) {
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

/* What is not marked is not there any more. Of the ends, as a number of 4096 bits, the starts of what is dead are taken away: that turns each dead
 * object's end into a run of bits before it, and leaves the ends of those that live as they are. */
static void objects_sweep(struct gc_block *side)
{
    uint64_t borrow = 0;
    for (uint32_t word = 0; word < GC_BLOCK_WORDS; word++) {
        struct gc_bits *bits = &side->bits[word], was = *bits;
        uint64_t dead = was.start & ~was.mark, some = was.end - dead;
        *bits = (struct gc_bits){ .start = was.mark, .end = was.end & (some - borrow), .leaf = was.leaf & was.mark };
        borrow = was.end < dead || some < borrow;
    }
    side->used_bytes = side->live_bytes;
    side->live_bytes = 0;
}

static void sweep_block(struct gc *gc, uint32_t block)
{
    struct gc_block *side = gc_block(gc, block);
    gc->old_free_bytes -= free_bytes_unswept(side);
    if (is_empty(side, true)) {
        gc->old_blocks--;
        reclaim_free_block(gc, block);
        return;
    }
    objects_sweep(side);
    side->flags &= (uint8_t)~GC_UNSWEPT;
    reclaim_list(gc, block);
}

static void sweep_large(struct gc *gc, uint32_t head)
{
    struct gc_block *side = gc_block(gc, head);
    uint32_t blocks = side->large_blocks;
    if (GC_BIT(side, mark, 0)) {
        GC_BIT_CLEAR(side, mark, 0);
        return;
    }
    gc->large_blocks -= blocks;
    for (uint32_t b = head; b < head + blocks; b++)
        reclaim_free_block(gc, b);
}

void reclaim_begin_sweep(struct gc *gc)
{
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    reclaim_lists_clear(gc);
    gc->unswept_count = 0;
    gc->old_free_bytes = 0;
    gc->old_live_bytes = gc->old_live_blocks = 0;
    for (uint32_t i = 0; i < gc->grants; i++)
        objects_sweep(gc_block(gc, gc->grant[i].block));       /* what lies beyond a thread's cursor stays granted */
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
        gc->old_free_bytes += free_bytes_unswept(side);
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
