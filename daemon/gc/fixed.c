/* fixed.c — heaps whose objects never move, for code that cannot be changed (DESIGN section 6 f; [fixed.roots], [fixed.storage]).
 *
 * There are no generations, no barrier and no exact roots: every collection marks everything in one pause, from words of machine stacks, registers
 * and static data that may be references (Boehm and Weiser, "Garbage collection in an uncooperative environment", Software: Practice and
 * Experience 1988), and reclaims holes, blocks and large objects as any marking does. A word counts if it points to an object, into it, or to the
 * byte behind it, which is never the first byte of another payload, since a header lies between. The start bits of its block say which object
 * that is.
 * A type may describe the contents of another object, its storage (an array its elements, a map its entries): whoever marks the owner marks
 * the storage with it and follows what the owner's rule calls a reference. All of the storage, whatever the owner's length says: a thread can be
 * stopped between the store of an element and that of the length. Storage that is met without its owner is followed by its own type.
 * Touches client memory: inside a guard. Threads: one a tracer. */
#include <string.h>

#include "daemon/gc/trace.h"

#define STORAGE_PIECE_BYTES  (1u << 16)

/* The object of an old block that begins at `granule` or before it. */
static bool start_at_or_before(const struct gc_block *side, uint32_t granule, uint32_t *ret_granule)
{
    if (GC_BIT(side, start, granule)) {
        *ret_granule = granule;
        return true;
    }
    return gc_start_before(side, false, granule, ret_granule);
}

uint64_t fixed_object(const struct gc *gc, uint64_t at)
{
    if (at >= gc->heap->view.bytes)
        return TRACE_NONE;
    uint32_t block = (uint32_t)(at >> MM_BLOCK_SHIFT), granule;
    uint64_t off;
    switch (gc_space(gc, block)) {
    case GC_OLD:
        if (!start_at_or_before(gc_block(gc, block), trace_granule(at), &granule))
            return TRACE_NONE;
        off = gc_off(block) + granule * MM_GRANULE_BYTES;
        break;
    case GC_LARGE:
        off = gc_off(gc_block(gc, block)->large_head);
        if (!(mm_header_flags(trace_header(gc, off)) & MM_BORN))        /* its thread has not written it yet, and so does not know it either */
            return TRACE_NONE;
        break;
    default:
        return TRACE_NONE;
    }
    bool reaches = at - off < MM_HEADER_BYTES || at - off < mm_object_extent(mm_header_bytes(trace_header(gc, off)));
    return reaches ? off : TRACE_NONE;
}

uint64_t fixed_word_object(const struct gc *gc, uint64_t word) { return fixed_object(gc, word - gc->heap->view.client_base - 1); }

/* ---- Roots ---- */

void fixed_roots_each(const struct gc *gc, struct mm_slot *slot, uint64_t words, void (*visit)(const struct gc *gc, uint64_t at, void *argument), void *argument)
{
    uint64_t count = mm_load_relaxed(&slot->ambiguous_count), most = (MM_ROOT_AREA_BYTES - words * 8) / 4;
    const uint32_t *granule = mm_slot_ambiguous(slot, words * 8);
    for (uint64_t w = 0; w < words; w++)
        visit(gc, mm_load_relaxed(&mm_slot_roots(slot)[w]) - gc->heap->view.client_base - 1, argument);
    for (uint64_t i = 0; i < count && i < most; i++)
        visit(gc, (uint64_t)mm_load_relaxed(&granule[i]) * MM_GRANULE_BYTES, argument);
}

static void on_root(const struct gc *gc, uint64_t at, void *argument)
{
    uint64_t off = fixed_object(gc, at);
    (void)argument;
    if (off != TRACE_NONE)
        trace_mark(&gc->tracer[0], off);
}

void fixed_roots_trace(struct gc *gc, struct mm_slot *slot, uint64_t words)
{
    fixed_roots_each(gc, slot, words, on_root, NULL);
    gc->receipt.roots += mm_load_relaxed(&slot->ambiguous_count);
}

/* ---- Objects ---- */

typedef void on_word(struct gc_tracer *tracer, uint64_t at, void *argument);

static void word_follow(struct gc_tracer *tracer, uint64_t at, void *argument)
{
    uint64_t off = fixed_word_object(tracer->gc, mm_load_relaxed((const uint64_t *)(tracer->base + at)));
    (void)argument;
    if (off != TRACE_NONE)
        trace_mark(tracer, off);
}

static inline __attribute__((always_inline)) void lists_each(struct gc_tracer *tracer, const struct gc_type *type, uint64_t payload, uint64_t bytes, uint64_t from, uint64_t to,
                                                             on_word *visit, void *argument)
{
    uint64_t element = payload + type->bytes, elements = type->element_refs ? (bytes - type->bytes) / type->element_bytes : 0;
    for (uint32_t i = 0; i < type->refs; i++)
        if (payload + type->ref[i] >= from && payload + type->ref[i] < to)
            visit(tracer, payload + type->ref[i], argument);
    for (uint64_t i = elements && from > element ? (from - element) / type->element_bytes : 0; i < elements && element + i * type->element_bytes < to; i++)
        for (uint32_t r = 0; r < type->element_refs; r++) {
            uint64_t at = element + i * type->element_bytes + type->ref[type->refs + r];
            if (at >= from && at < to)
                visit(tracer, at, argument);
        }
}

/* The words in [from, to) of the payload that the type calls references, or that may be some. */
static inline __attribute__((always_inline)) void words_each(struct gc_tracer *tracer, const struct gc_type *type, uint64_t payload, uint64_t bytes, uint64_t from, uint64_t to,
                                                             on_word *visit, void *argument)
{
    uint64_t end = payload + (bytes & ~(uint64_t)7), first = type->scan == GC_SCAN_WORDS ? payload : payload + type->bytes;
    end = end < to ? end : to;
    if (type->scan == GC_SCAN_LISTS) {
        lists_each(tracer, type, payload, bytes, from, to, visit, argument);
        return;
    }
    for (uint64_t mask = type->mask; mask; mask &= mask - 1) {
        uint64_t at = payload + (uint64_t)__builtin_ctzll(mask) * 8;
        if (at >= from && at < to)
            visit(tracer, at, argument);
    }
    if (type->scan == GC_SCAN_WORDS || type->scan == GC_SCAN_VECTOR)
        for (uint64_t at = first < from ? from : first; at < end; at += 8)
            visit(tracer, at, argument);
}

/* The object whose contents the one at `off` describes. `ret_whole`: that is not one whose contents others describe, so its own type is followed. */
static uint64_t storage_of(struct gc_tracer *tracer, const struct type *rule, uint64_t off, bool *ret_whole)
{
    struct gc *gc = tracer->gc;
    uint64_t storage = fixed_word_object(gc, mm_load_relaxed((const uint64_t *)(tracer->base + off + MM_HEADER_BYTES + rule->storage_at)));
    if (storage == TRACE_NONE)
        return TRACE_NONE;
    uint64_t word0 = trace_header(gc, storage);
    *ret_whole = !trace_header_sane(gc, storage, word0) || !(mm_header_type(word0) == MM_TYPE_RAW || tracer->type[mm_header_type(word0)].is_storage);
    return storage;
}

/* The references in [from, to) of a storage's `bytes` of payload, from whole elements on. */
static inline __attribute__((always_inline)) void storage_each(struct gc_tracer *tracer, const struct type *rule, uint64_t off, uint64_t storage, uint64_t bytes, uint64_t from, uint64_t to,
                                                               on_word *visit, void *argument)
{
    const char *owner = tracer->base + off + MM_HEADER_BYTES;
    const uint32_t *pair = types_storage_ref(rule);
    for (uint32_t p = 0; p < rule->storage_pairs; p++, pair += 2)
        if (mm_load_relaxed((const uint32_t *)(owner + pair[1])))
            for (uint64_t at = from + pair[0]; at < to && at + 8 <= bytes; at += rule->storage_bytes)
                visit(tracer, storage + MM_HEADER_BYTES + at, argument);
}

/* Bytes of a storage's payload that are followed at once: whole elements. What is longer waits in pieces, so that other heaps are served in between. */
static uint64_t piece_bytes(const struct type *rule) { return STORAGE_PIECE_BYTES / rule->storage_bytes * rule->storage_bytes; }

void fixed_storage_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t piece)
{
    bool whole;
    const struct type *rule = type->storage;
    uint64_t storage = rule ? storage_of(tracer, rule, off, &whole) : TRACE_NONE;
    if (storage == TRACE_NONE)
        return;
    if (whole) {
        trace_mark(tracer, storage);
        return;
    }
    uint64_t word0 = trace_header(tracer->gc, storage), bytes = mm_header_bytes(word0), from = piece * piece_bytes(rule), to = from + piece_bytes(rule);
    if (!trace_header_sane(tracer->gc, storage, word0))         /* since we looked: its client lies */
        return;
    (void)trace_mark_alone(tracer, storage);
    storage_each(tracer, rule, off, storage, bytes, from, to, word_follow, NULL);
    if (rule->storage_pairs && to < bytes)
        trace_storage_push(tracer, off, piece + 1);
}

void fixed_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, uint64_t from, uint64_t to)
{
    words_each(tracer, type, off + MM_HEADER_BYTES, mm_header_bytes(word0), from, to, word_follow, NULL);
    if (type->storage && from <= off + MM_HEADER_BYTES)
        fixed_storage_scan(tracer, type, off, 0);
}

uint64_t fixed_each_word(struct gc_tracer *tracer, uint64_t off, on_word *visit, void *argument)
{
    uint64_t word0 = trace_header(tracer->gc, off), storage = TRACE_NONE;
    const struct gc_type *type = &tracer->type[mm_header_type(word0) < tracer->type_count ? mm_header_type(word0) : 0];
    bool whole = true;
    if (!trace_header_sane(tracer->gc, off, word0) || type->scan == GC_SCAN_NONE || mm_header_bytes(word0) < type->bytes)
        return TRACE_NONE;
    words_each(tracer, type, off + MM_HEADER_BYTES, mm_header_bytes(word0), 0, UINT64_MAX, visit, argument);
    if (type->storage && (storage = storage_of(tracer, type->storage, off, &whole)) != TRACE_NONE && !whole)
        storage_each(tracer, type->storage, off, storage, mm_header_bytes(trace_header(tracer->gc, storage)), 0, UINT64_MAX, visit, argument);
    return whole ? TRACE_NONE : storage;
}
