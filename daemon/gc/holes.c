/* holes.c — what lies between the objects of an old block, lent to a thread to be filled.
 *
 * Old objects that threads make themselves (pretenured ones; where nothing moves, all) go into the holes of a block, one behind the other. The holes are
 * known to the byte: from the bits that say where objects start and end. The thread's initialising stores leave no card and set no start bit, so what it
 * has put there is walked, header by header, and scanned for references that somebody must hear of.
 * Most of that is done while threads run. A thread enters each block once, and its limit says which one it is in: a block in which something has been put,
 * and in which no limit of its thread lies, has been left for good ([gc.left]; tests/unit/hole_model.c). It is walked, scanned, and has room again for
 * whoever asks next. What is left for a pause is the block that each thread is in.
 * Touches client memory: inside a guard. The heap's worker. */
#include <stdlib.h>
#include <string.h>

#include "daemon/gc/trace.h"
#include "daemon/os/os.h"

_Static_assert(2 * MM_GRANULE_BYTES == 32, "no object with a payload is shorter: a hole of one granule is none");
#define UNWALKED_MOST     64u           /* blocks that have been left and not been walked: a pause walks them in a millisecond or two; */
#define UNWALKED_SLOT     40u           /* and a thread is in some, and has others in its ring */
#define HOLE_FETCH_BYTES  512u          /* ahead of a walk from header to header: it waits for nothing else, */
#define HOLES_FETCHED     6u            /* and the starts of the next holes */

/* ---- Lending ---- */

bool holes_note(struct gc *gc, uint32_t slot, uint32_t block, const uint64_t *holes)
{
    if (gc->grants == gc->grant_room) {
        uint32_t room = gc->grant_room ? gc->grant_room * 2 : 32;
        struct gc_grant *grown = realloc(gc->grant, room * sizeof *grown);
        if (!grown)
            return false;
        gc->grant = grown;
        gc->grant_room = room;
    }
    struct gc_grant *grant = &gc->grant[gc->grants++];
    gc->walk_ahead = true;
    *grant = (struct gc_grant){ .block = block, .slot = slot, .seq = ++gc->grant_seq };
    memcpy(grant->holes, holes, sizeof grant->holes);
    gc_block(gc, block)->flags |= GC_GRANTED;           /* nobody else puts anything there (R5) */
    return true;
}

/* An object takes the granules from its start to its end: as numbers of 4096 bits, twice the ends less the starts are all of those. */
static void objects_find(const struct gc_block *side, uint64_t *ret_taken)
{
    uint64_t carry = 0, borrow = 0;
    for (uint32_t word = 0; word < GC_BLOCK_WORDS; word++) {
        uint64_t end = side->bits[word].end, twice = end << 1 | carry, less = side->bits[word].start, some = twice - less;
        carry = end >> 63;
        ret_taken[word] = some - borrow;
        borrow = twice < less || some < borrow;
    }
}

void holes_find(const struct gc_block *side, uint64_t *ret_holes)
{
    uint64_t taken[GC_BLOCK_WORDS + 2];         /* a word of taken granules at either end */
    taken[0] = taken[GC_BLOCK_WORDS + 1] = UINT64_MAX;
    objects_find(side, taken + 1);
    for (uint32_t word = 1; word <= GC_BLOCK_WORDS; word++) {
        uint64_t before = taken[word] << 1 | taken[word - 1] >> 63, behind = taken[word] >> 1 | taken[word + 1] << 63;
        ret_holes[word - 1] = ~taken[word] & ~(before & behind);        /* not those of one granule */
    }
}

uint32_t holes_longest(const uint64_t *holes)
{
    uint32_t longest = 0;
    for (uint32_t from, to = 0; gc_bits_run(holes, to, &from, &to);)
        longest = to - from > longest ? to - from : longest;
    return longest;
}

static struct mm_hole_links *links_of(char *base, uint32_t hole) { return (struct mm_hole_links *)(base + mm_hole_off(hole)); }

/* Makes the holes a chain (shm/hole.h); the first one. Those that no longer one was found for yet wait in a stack, each at most as long as the one below. */
static uint32_t holes_chain(struct gc *gc, uint32_t block, const uint64_t *holes)
{
    char *base = gc->heap->view.base + gc_off(block);
    uint32_t first = 0, waits[GC_BLOCK_GRANULES / 2], count = 0;
    struct mm_hole_links *last = NULL;
    for (uint32_t from, to = 0; gc_bits_run(holes, to, &from, &to);) {
        uint32_t hole = mm_hole_make(from, to - from);
        gc->pretenured_bytes += mm_hole_bytes(hole);
        for (; count && mm_hole_bytes(waits[count - 1]) < mm_hole_bytes(hole); count--)
            mm_store_relaxed(&links_of(base, waits[count - 1])->longer, hole);
        if (last)
            mm_store_relaxed(&last->next, hole);
        else
            first = hole;
        last = links_of(base, hole);
        waits[count++] = hole;
    }
    if (last)
        mm_store_relaxed(&last->next, 0);
    while (count)
        mm_store_relaxed(&links_of(base, waits[--count])->longer, 0);
    return first;
}

int holes_grant(struct gc *gc, uint32_t slot, uint32_t bytes, struct mm_cell *ret_cell)
{
    uint64_t holes[GC_BLOCK_WORDS];
    uint32_t block = reclaim_take_listed(gc, bytes);
    if (block == GC_NO_BLOCK)
        return -1;
    holes_find(gc_block(gc, block), holes);
    if (!holes_note(gc, slot, block, holes)) {
        reclaim_list(gc, block);
        return -1;
    }
    gc->taken_blocks++;
    heap_block_set_state(gc->heap, block, MM_BLOCK_RECYCLABLE);
    heap_block_set_state(gc->heap, block, MM_BLOCK_GRANTED);
    *ret_cell = (struct mm_cell){ .block = block, .kind = MM_GRANT_OLD, .count = 1, .epoch = gc->epoch, .hole = holes_chain(gc, block, holes) };
    return 0;
}

/* ---- Walking ---- */

/* Walks one hole of a grant from `at`, as far as objects have been put there; returns where it stopped. */
static uint32_t hole_walk(struct gc *gc, const struct gc_grant *grant, uint32_t at, uint32_t end)
{
    struct gc_block *side = gc_block(gc, grant->block);
    const char *block = gc->heap->view.base + gc_off(grant->block);
    uint32_t types = gc->type_count, from = at;
    bool marking = gc->mark_state != MARK_NONE;
    while (at < end) {
        uint64_t word0 = mm_load_relaxed((const uint64_t *)(block + at)), extent = mm_object_extent(mm_header_bytes(word0));
        if (!(mm_header_flags(word0) & MM_BORN))
            break;
        if (UNLIKELY(extent > end - at || mm_header_type(word0) >= types)) {
            mm_store_relaxed(&gc->lie, "what it put into an old block makes no sense");
            break;
        }
        __builtin_prefetch(block + at + HOLE_FETCH_BYTES);
        GC_BIT_SET(side, start, at / MM_GRANULE_BYTES);
        GC_BIT_SET(side, end, (at + (uint32_t)extent) / MM_GRANULE_BYTES - 1);
        if (gc->type[mm_header_type(word0)].scan == GC_SCAN_NONE)
            GC_BIT_SET(side, leaf, at / MM_GRANULE_BYTES);
        if (marking) {                  /* born since the marking began: alive (R2) */
            GC_BIT_SET(side, mark, at / MM_GRANULE_BYTES);
            side->live_bytes += (uint32_t)extent;
            gc->mark_promoted_bytes += extent;
        }
        at += (uint32_t)extent;
    }
    side->used_bytes += at - from;
    return at;
}

/* Is the word a limit in the block? A cursor is not asked: at the end of a block it is at the start of the next, too. */
static bool limit_in(const struct gc *gc, uint32_t block, const uint64_t *limit)
{
    uint64_t begin = gc_off(block), off;
    return mm_view_off(&gc->heap->view, mm_load_acquire(limit), &off) && off > begin && off <= begin + MM_BLOCK_BYTES;
}

/* Where the thread is in the block, by the pair of words; false: elsewhere. It has stopped. */
static bool cursor_in(const struct gc *gc, uint32_t block, const uint64_t *cursor, uint32_t *ret_at)
{
    uint64_t begin = gc_off(block), at;
    if (!limit_in(gc, block, &cursor[1]) || !mm_view_off(&gc->heap->view, mm_load_relaxed(&cursor[0]), &at) || at < begin || at > begin + MM_BLOCK_BYTES)
        return false;
    *ret_at = (uint32_t)(at - begin);
    return true;
}

static bool filled_by(const struct gc *gc, uint32_t block, const struct mm_slot *slot, uint32_t *ret_at)
{
    return mm_load_relaxed(&slot->state) != MM_SLOT_FREE &&
           (cursor_in(gc, block, &slot->old_cursor, ret_at) || (gc->fixed && cursor_in(gc, block, &slot->young_cursor, ret_at)));
}

/* Fetches the start of the next hole. */
static void hole_fetch(const struct gc_grant *grant, const char *block, uint32_t *at)
{
    uint32_t from;
    if (gc_bits_run(grant->holes, *at, &from, at))
        __builtin_prefetch(block + from * MM_GRANULE_BYTES);
    else
        *at = GC_BLOCK_GRANULES;
}

/* Walks what is new in a grant; `last`: where the thread is in it, UINT32_MAX: it is not. True: it is done with it. */
static bool grant_walk(struct gc *gc, struct gc_grant *grant, uint32_t last)
{
    bool here = last != UINT32_MAX;
    const char *block = gc->heap->view.base + gc_off(grant->block);
    uint32_t fetched = grant->walked / MM_GRANULE_BYTES;
    for (unsigned i = 0; i < HOLES_FETCHED; i++)
        hole_fetch(grant, block, &fetched);
    for (uint32_t from, to; gc_bits_run(grant->holes, grant->walked / MM_GRANULE_BYTES, &from, &to);) {
        uint32_t begin = from * MM_GRANULE_BYTES, end = to * MM_GRANULE_BYTES;
        hole_fetch(grant, block, &fetched);
        if (here && last < begin)               /* it has filled the hole before to the last byte, and comes here next */
            return false;
        uint32_t walked = hole_walk(gc, grant, begin, end);
        if (here && last <= end) {              /* the thread is in this hole: go on from here next time */
            grant->walked = walked;
            return false;
        }
        grant->walked = end;
    }
    return !here;                       /* full to the last byte, it is its thread's until its limit is elsewhere: the other cursor could be given it */
}

/* Is a block still in a ring, untaken? */
static bool in_ring(const struct gc *gc, const struct gc_grant *grant)
{
    const struct slot_end *end = &gc->heap->slot[grant->slot];
    struct mm_slot *slot = mm_control_slot(gc->heap->control, grant->slot);
    uint32_t head = mm_load_relaxed(&slot->ring_head);
    if (end->tail - head > MM_RING_CELLS)
        return false;
    for (uint32_t i = head; i != end->tail; i++)
        if (end->cell[i % MM_RING_CELLS].kind == MM_GRANT_OLD && grant->block - end->cell[i % MM_RING_CELLS].block < end->cell[i % MM_RING_CELLS].count)
            return true;
    return false;
}

/* The holes of a grant are not in the ring any more, nor in anybody's hands. */
static void grant_end(struct gc *gc, uint32_t index)
{
    uint32_t block = gc->grant[index].block;
    gc->grant[index] = gc->grant[--gc->grants];
    gc_block(gc, block)->flags &= (uint8_t)~GC_GRANTED;
    heap_block_set_state(gc->heap, block, MM_BLOCK_OLD);
    reclaim_list(gc, block);
}

/* Calls `visit` for each object that has been walked since `scanned`. */
static void grant_each(struct gc *gc, const struct gc_grant *grant, void (*visit)(struct gc *gc, uint64_t off))
{
    const struct gc_block *side = gc_block(gc, grant->block);
    uint32_t from = grant->scanned / MM_GRANULE_BYTES, to = grant->walked / MM_GRANULE_BYTES;
    for (uint32_t word = from / 64; word * 64 < to; word++) {
        uint64_t found = side->bits[word].start & grant->holes[word];
        if (word == from / 64)
            found &= UINT64_MAX << from % 64;
        if (to - word * 64 < 64)
            found &= ~(UINT64_MAX << to % 64);
        for (; found; found &= found - 1)
            visit(gc, gc_off(grant->block) + (word * 64 + (uint32_t)__builtin_ctzll(found)) * MM_GRANULE_BYTES);
    }
}

/* ---- In a pause ---- */

void holes_walk(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->grants; i++) {
        struct gc_grant *grant = &gc->grant[i];
        uint32_t last;
        grant->scanned = grant->walked;
        if (in_ring(gc, grant))
            continue;
        bool here = filled_by(gc, grant->block, mm_control_slot(gc->heap->control, grant->slot), &last);
        grant->ended = grant_walk(gc, grant, here ? last : UINT32_MAX);
    }
}

static void object_trace(struct gc *gc, uint64_t off) { trace_old_object(&gc->tracer[0], off, 0, UINT64_MAX); }

void holes_trace(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->grants; i++)
        grant_each(gc, &gc->grant[i], object_trace);
}

void holes_end(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->grants;)
        if (gc->grant[i].ended)
            grant_end(gc, i);
        else
            i++;
}

/* ---- While threads run ---- */

/* Has the grant's thread put something into it? Then it has set its limit there before (acquire pairs with the fence behind that in client/nursery.c). */
static bool begun(const struct gc *gc, const struct gc_grant *grant)
{
    const char *base = gc->heap->view.base + gc_off(grant->block);
    if (grant->walked)
        return true;
    for (uint32_t from, to = 0; gc_bits_run(grant->holes, to, &from, &to);)
        if (mm_header_flags(mm_load_acquire((const uint64_t *)(base + from * MM_GRANULE_BYTES))) & MM_BORN)
            return true;
    return false;
}

/* Of the cursors that may fill old blocks. */
static bool limits_in(const struct gc *gc, uint32_t block, const struct mm_slot *slot)
{
    return limit_in(gc, block, &slot->old_limit) || (gc->fixed && limit_in(gc, block, &slot->young_limit));
}

/* The grant has been left if its thread is seen to have come to a later one, or to this one, and then its limit is seen elsewhere. (Where it has two
 * cursors, those come to blocks in no order.) */
static bool left(const struct gc *gc, const struct gc_grant *grant)
{
    struct slot_end *end = &gc->heap->slot[grant->slot];
    const struct mm_slot *slot = mm_control_slot(gc->heap->control, grant->slot);
    if (!gc->fixed && !grant->odd && grant->seq < end->begun_seq)
        return true;
    if (grant->odd || in_ring(gc, grant) || !begun(gc, grant))
        return false;
    if (grant->seq > end->begun_seq)
        end->begun_seq = grant->seq;
    return !limits_in(gc, grant->block, slot);
}

/* One reference of an object that was born old: what a pause, or the end of a marking, must know. */
static void slot_hear(struct gc_tracer *tracer, uint64_t *slot, void *argument)
{
    struct gc *gc = tracer->gc;
    uint64_t off = trace_off(gc, mm_load_relaxed(slot)), at = (uint64_t)((char *)slot - gc->heap->view.base);
    enum gc_space space = off == TRACE_NONE ? GC_NOWHERE : gc_space(gc, off >> MM_BLOCK_SHIFT);
    (void)argument;
    if (space == GC_YOUNG)
        trace_carry(tracer, at);
    else if (space == GC_EVAC && gc->recording)
        evac_note(tracer, at);
}

/* Weak references are not looked at here: all cards of their object are for the pause. */
static void object_hear(struct gc *gc, uint64_t off)
{
    uint64_t word0 = trace_header(gc, off), end = off + mm_object_extent(mm_header_bytes(word0));
    const struct gc_type *type = &gc->type[mm_header_type(word0) < gc->type_count ? mm_header_type(word0) : 0];
    if (type->scan == GC_SCAN_NONE || !trace_header_sane(gc, off, word0))
        return;
    if (!type->flags) {
        trace_each_slot(&gc->tracer[0], off, 0, UINT64_MAX, slot_hear, NULL);
        return;
    }
    for (uint64_t at = off; at < end; at = (at / MM_CARD_BYTES + 1) * MM_CARD_BYTES)
        trace_carry(&gc->tracer[0], at);
}

/* One block that has been left. */
static void grant_settle(struct gc *gc, uint32_t index)
{
    struct gc_grant *grant = &gc->grant[index];
    trace_types_refresh(gc);                    /* its objects may be of new ones */
    if (gc->mark_state != MARK_NONE)
        tracer_aim(&gc->marker);                /* whose table may have moved */
    grant->scanned = grant->walked;
    uint32_t walked = grant->walked, used = gc_block(gc, grant->block)->used_bytes;
    (void)grant_walk(gc, grant, UINT32_MAX);
    if (gc->lie) {
        gc->lie = NULL;
        gc_block(gc, grant->block)->used_bytes = used;
        grant->walked = walked;
        grant->odd = true;
        return;
    }
    if (gc->young_count || gc->recording)       /* else nobody wants to hear: what is young later is stored later */
        grant_each(gc, grant, object_hear);
    grant_end(gc, index);
}

bool holes_behind(const struct gc *gc)
{
    return gc->walk_ahead && gc->grants > UNWALKED_MOST + mm_load_relaxed(&gc->heap->control->slots_high) * UNWALKED_SLOT;
}

/* One block that has been left. */
static bool one_ahead(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->grants; i++)
        if (left(gc, &gc->grant[i])) {
            grant_settle(gc, i);
            return true;
        }
    gc->walk_ahead = false;                     /* until another is granted */
    return false;
}

bool holes_ahead(struct gc *gc, uint64_t slice_ns)
{
    if (!gc->walk_ahead)
        return false;
    uint64_t until = os.now_ns() + slice_ns;
    bool any = false;
    while (one_ahead(gc)) {
        any = true;
        if (os.now_ns() >= until)
            break;
    }
    return any;
}
