/* verify.c — a second look at a collection that has just ended, before anybody resumes (options verify=roots and verify=full).
 *
 * From the same roots, with a set of its own, every reference is followed once more, and everything that a collection promises is compared:
 * what is reachable lies where objects may lie, has its start bit and a sane header; nothing refers into emptied blocks; an old object that
 * refers to a young one has its card carried and DIRTY; sums of the tables agree. After a marking, what is reachable had been marked.
 * A difference is a bug of ours or damage done by the client; either way the heap is condemned with a word on what was found.
 * Touches client memory: inside a guard. The heap's worker, in the pause. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/gc/trace.h"
#include "daemon/log.h"

struct verify {
    struct gc      *gc;
    struct gc_stack todo, later;        /* later: heaps without moving: objects without types of their own, unless their owners come first */
    uint64_t      **seen;               /* [chunks]: a bit a granule */
    uint64_t        objects, bytes;
    bool            full;
};

static void found(struct verify *v, const char *what, uint64_t off)
{
    if (v->gc->lie)
        return;
    log_error("gc", "verify heap=%llu cycle=%llu off=%llu space=%u state=%s: %s", (unsigned long long)v->gc->heap->id,
              (unsigned long long)v->gc->cycles, (unsigned long long)off, v->gc->space[off >> MM_BLOCK_SHIFT],
              mm_block_state_name(heap_block_state(v->gc->heap, off >> MM_BLOCK_SHIFT)), what);
    mm_store_relaxed(&v->gc->lie, what);
}

static bool first_time(struct verify *v, uint64_t off)
{
    uint64_t **seen = &v->seen[off >> MM_CHUNK_SHIFT], granule = off % MM_CHUNK_BYTES / MM_GRANULE_BYTES;
    if (!*seen && !(*seen = calloc(MM_CHUNK_BYTES / MM_GRANULE_BYTES / 64, sizeof **seen)))
        return false;
    bool was = (*seen)[granule / 64] >> granule % 64 & 1;
    (*seen)[granule / 64] |= (uint64_t)1 << granule % 64;
    return !was;
}

static bool ends_with(const struct gc_block *side, uint32_t granule, uint64_t extent)
{
    uint32_t last = granule + (uint32_t)(extent / MM_GRANULE_BYTES) - 1;
    for (uint32_t g = granule; g < last && g < GC_BLOCK_GRANULES; g++)
        if (GC_BIT(side, end, g))
            return false;
    return last < GC_BLOCK_GRANULES && GC_BIT(side, end, last);
}

/* Between two starts lies one end, and between two ends one start. */
static bool ends_pair(const struct gc_block *side)
{
    bool open = false;
    for (uint32_t g = 0; g < GC_BLOCK_GRANULES; g++) {
        bool starts = GC_BIT(side, start, g), ends = GC_BIT(side, end, g);
        if (starts == open && (open || ends))
            return false;
        open = (open || starts) && !ends;
    }
    return !open;
}

/* What waits to be scanned in a block is marked, and the marker will come by. */
static bool waits_rightly(const struct gc *gc, uint32_t block)
{
    const struct gc_block *side = gc_block(gc, block);
    bool any = false;
    for (uint32_t g = 1; g < GC_BLOCK_GRANULES; g++)
        if (GC_BIT(side, leaf, g) && !GC_BIT(side, start, g)) {
            if (!GC_BIT(side, start, g - 1) || !GC_BIT(side, mark, g - 1) || !(side->waits >> g / 64 & 1))
                return false;
            any = true;
        }
    return !any || (gc->mark_state != MARK_NONE && elevator_called(&gc->waiting, block));
}

/* An object that something refers to, right after the collection: space YOUNG means survivors, start bits are those of the future. */
static void object_check(struct verify *v, uint64_t off)
{
    struct gc *gc = v->gc;
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    enum gc_space space = (enum gc_space)gc->space[block];
    if (space == GC_NOWHERE) {          /* it may not even be mapped */
        found(v, "a reachable reference leads into memory that holds no objects", off);
        return;
    }
    uint64_t word0 = trace_header(gc, off);
    if (space == GC_TO)
        found(v, "a survivor block is still to-space", off);
    else if (!gc_starts_at(gc_block(gc, block), trace_granule(off)))
        found(v, "a reachable reference leads to a place where no object starts", off);
    else if (!trace_header_sane(gc, off, word0))
        found(v, "a reachable object has no sane header", off);
    else if ((space == GC_OLD || space == GC_EVAC) && !ends_with(gc_block(gc, block), trace_granule(off), mm_object_extent(mm_header_bytes(word0))))
        found(v, "an old object does not end where the table says", off);
    v->objects++;
    v->bytes += mm_object_extent(mm_header_bytes(word0));
}

static void reach(struct verify *v, uint64_t word)
{
    uint64_t off = trace_off(v->gc, word);
    /* Arenas, pools and whatever a program makes up outside of collected spaces are none of ours. */
    if (off == TRACE_NONE || heap_block_state(v->gc->heap, off >> MM_BLOCK_SHIFT) == MM_BLOCK_ARENA || !first_time(v, off))
        return;
    object_check(v, off);
    if (!v->gc->lie && v->full && !stack_push_grow(&v->todo, off))
        found(v, "no memory to verify", off);
}

struct slot_check { struct verify *v; uint64_t object; };

static void on_slot(struct gc_tracer *tracer, uint64_t *slot, void *argument)
{
    struct slot_check *check = argument;
    struct gc *gc = tracer->gc;
    uint64_t at = (uint64_t)((char *)slot - gc->heap->view.base), word = mm_load_relaxed(slot), to = trace_off(gc, word);
    uint32_t block = (uint32_t)(at >> MM_BLOCK_SHIFT);
    if (to != TRACE_NONE && gc->space[to >> MM_BLOCK_SHIFT] == GC_YOUNG && gc_space_settled((enum gc_space)gc->space[block])) {
        const uint8_t *cards = mm_control_cards(gc->heap->control, gc->heap->slot_count, gc->heap->space_count);
        if (!gc_bit(gc_block(gc, block)->carry, (uint32_t)(at % MM_BLOCK_BYTES / MM_CARD_BYTES)))
            found(check->v, "an old object refers to a young one and its card is not carried", at);
        else if (cards[at >> MM_CARD_SHIFT] != MM_CARD_DIRTY)
            found(check->v, "a carried card is not DIRTY", at);
    }
    reach(check->v, word);
}

/* ---- Heaps without moving ---- */

static bool words_only(const struct verify *v, uint64_t off)
{
    uint32_t type = mm_header_type(trace_header(v->gc, off));
    return type < v->gc->type_count && v->gc->type[type].scan == GC_SCAN_WORDS;
}

/* The object that a word may mean, by where objects started before this collection; all that may be reached is alive. */
static void fixed_reach(struct verify *v, uint64_t at)
{
    uint64_t off = fixed_object(v->gc, at);
    if (off == TRACE_NONE || !first_time(v, off))
        return;
    object_check(v, off);
    if (!v->gc->lie && v->full && !stack_push_grow(words_only(v, off) ? &v->later : &v->todo, off))
        found(v, "no memory to verify", off);
}

static void on_fixed_root(const struct gc *gc, uint64_t at, void *argument)
{
    (void)gc;
    fixed_reach(argument, at);
}

static void on_fixed_word(struct gc_tracer *tracer, uint64_t at, void *argument)
{
    fixed_reach(argument, mm_load_relaxed((const uint64_t *)(tracer->base + at)) - tracer->gc->heap->view.client_base - 1);
}

static void fixed_follow(struct verify *v)
{
    while ((v->todo.count || v->later.count) && !v->gc->lie) {
        struct gc_stack *from = v->todo.count ? &v->todo : &v->later;
        uint64_t storage = fixed_each_word(&v->gc->tracer[0], from->word[--from->count], on_fixed_word, v);
        if (storage != TRACE_NONE && first_time(v, storage))
            object_check(v, storage);           /* its contents were followed as its owner says */
    }
}

static void follow(struct verify *v)
{
    if (v->gc->fixed) {
        fixed_follow(v);
        return;
    }
    while (v->todo.count && !v->gc->lie) {
        struct slot_check check = { v, v->todo.word[--v->todo.count] };
        trace_each_slot(&v->gc->tracer[0], check.object, 0, UINT64_MAX, on_slot, &check);
    }
}

static void roots_check(struct verify *v)
{
    struct gc *gc = v->gc;
    struct heap *heap = gc->heap;
    uint32_t slots = mm_load_relaxed(&heap->control->slots_high), handles = mm_load_relaxed(&heap->control->handles_high);
    for (uint32_t i = 0; i < slots && i < heap->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        uint64_t words = roots_words(slot);
        if (gc->fixed && mm_load_relaxed(&slot->state) != MM_SLOT_FREE)
            fixed_roots_each(gc, slot, words, on_fixed_root, v);
        for (uint64_t w = 0; !gc->fixed && mm_load_relaxed(&slot->state) != MM_SLOT_FREE && w < words && w < MM_ROOT_AREA_BYTES / 8; w++)
            reach(v, mm_load_relaxed(&mm_slot_roots(slot)[w]));
    }
    for (uint32_t i = 0; i < handles && i < MM_HANDLES; i++) {
        const struct mm_handle *handle = &mm_control_handles(heap->control, heap->slot_count, heap->space_count)[i];
        if (mm_load_relaxed(&handle->kind) != MM_HANDLE_FREE)
            reach(v, mm_load_relaxed(&handle->word));
    }
    for (const struct gc_root_set *set = gc->root_sets; set; set = set->next)
        for (uint32_t i = 0; i < set->filled; i++)
            reach(v, set->word[i]);
}

/* Tables against each other. */
static void sums_check(struct verify *v)
{
    struct gc *gc = v->gc;
    uint32_t old = 0, large = 0, listed = 0;
    for (uint32_t b = 0; b < gc->heap->mapped_chunks * MM_CHUNK_BLOCKS; b++) {
        enum mm_block_state state = heap_block_state(gc->heap, b);
        bool is_old = state == MM_BLOCK_OLD || state == MM_BLOCK_RECYCLABLE || (state == MM_BLOCK_GRANTED && gc->space[b] == GC_OLD);
        old += is_old;
        large += state == MM_BLOCK_LARGE;
        listed += state == MM_BLOCK_RECYCLABLE;
        if (is_old != (gc->space[b] == GC_OLD || gc->space[b] == GC_EVAC))
            found(v, "state and space of a block differ", gc_off(b));
        if ((state == MM_BLOCK_LARGE) != (gc->space[b] == GC_LARGE))
            found(v, "state and space of a large block differ", gc_off(b));
        if (state == MM_BLOCK_SURVIVOR && gc->space[b] != GC_YOUNG)
            found(v, "a survivor block is not young", gc_off(b));
        if (v->full && gc->space[b] == GC_OLD && !ends_pair(gc_block(gc, b)))
            found(v, "starts and ends of an old block do not pair", gc_off(b));
        if (v->full && (gc->space[b] == GC_OLD || gc->space[b] == GC_EVAC || gc->space[b] == GC_LARGE) && !waits_rightly(gc, b))
            found(v, "something of an old block waits for a marker that will not come", gc_off(b));
        if (state == MM_BLOCK_FREE && gc->space[b] != GC_NOWHERE)
            found(v, "a free block has a space", gc_off(b));
    }
    if (old != gc->old_blocks)
        found(v, "the number of old blocks is wrong", 0);
    if (large != gc->large_blocks)
        found(v, "the number of large blocks is wrong", 0);
    if (listed != gc->listed_count)
        found(v, "the number of listed blocks is wrong", 0);
}

void verify_heap(struct gc *gc)
{
    struct verify v = { .gc = gc, .full = CONFIG(verify) == VERIFY_FULL };
    uint64_t chunks = gc->heap->view.bytes >> MM_CHUNK_SHIFT;
    v.seen = calloc(chunks, sizeof *v.seen);
    if (!v.seen)
        return;
    sums_check(&v);
    roots_check(&v);
    follow(&v);
    for (uint64_t c = 0; c < chunks; c++)
        free(v.seen[c]);
    free(v.seen);
    stack_free(&v.todo);
    stack_free(&v.later);
    gc->receipt.verified_objects = v.objects;
}
