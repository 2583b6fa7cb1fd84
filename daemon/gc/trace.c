/* trace.c — see trace.h. */
#define _GNU_SOURCE
#include "daemon/gc/trace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/os/os.h"
#include "shm/atomic.h"

#define DRAIN_ROUND 512u                /* objects between two looks at the clock */

/* ---- Stacks ---- */

bool stack_reserve(struct gc_stack *stack, size_t words)
{
    if (stack->room >= words)
        return true;
    size_t bytes = mm_round_up(words * sizeof(uint64_t), 1u << 16);
    void *at = stack->word ? mremap(stack->word, stack->room * sizeof(uint64_t), bytes, MREMAP_MAYMOVE)
                           : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return false;
    stack->word = at;
    stack->room = bytes / sizeof(uint64_t);
    return true;
}

void stack_free(struct gc_stack *stack)
{
    if (stack->word)
        munmap(stack->word, stack->room * sizeof(uint64_t));
    *stack = (struct gc_stack){ NULL, 0, 0 };
}

bool stack_push_grow(struct gc_stack *stack, uint64_t word)
{
    if (stack->count == stack->room && !stack_reserve(stack, stack->room ? stack->room * 2 : 8192))
        return false;
    stack_push(stack, word);
    return true;
}

/* ---- Bits that several tracers may set ---- */

/* Sets the bit; was it set before? */
static inline bool bit_claim(const struct gc_tracer *tracer, uint64_t *bits, uint32_t i)
{
    uint64_t bit = (uint64_t)1 << (i % 64), old;
    if (tracer->parallel) {
        old = __atomic_fetch_or(&bits[i / 64], bit, __ATOMIC_ACQ_REL);
    } else {
        old = bits[i / 64];
        bits[i / 64] = old | bit;
    }
    return old & bit;
}

static inline bool bit_read(const struct gc_tracer *tracer, const uint64_t *bits, uint32_t i)
{
    uint64_t word = tracer->parallel ? mm_load_acquire(&bits[i / 64]) : bits[i / 64];
    return word >> (i % 64) & 1;
}

static void lines_set(const struct gc_tracer *tracer, uint64_t *lines, uint64_t off, uint64_t extent)
{
    uint32_t first = (uint32_t)(off % MM_BLOCK_BYTES / MM_LINE_BYTES), last = (uint32_t)((off + extent - 1) % MM_BLOCK_BYTES / MM_LINE_BYTES);
    for (uint32_t line = first; line <= last; line++)
        bit_claim(tracer, lines, line);
}

/* ---- Cards ---- */

void trace_carry(struct gc_tracer *tracer, uint64_t slot_off)
{
    struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(slot_off >> MM_BLOCK_SHIFT), chunk = block / MM_CHUNK_BLOCKS;
    uint32_t card = (uint32_t)(slot_off % MM_BLOCK_BYTES / MM_CARD_BYTES);
    if (bit_claim(tracer, gc_block(gc, block)->carry, card))
        return;
    mm_store_relaxed(&mm_control_cards(gc->heap->control, gc->heap->slot_count, gc->heap->space_count)[slot_off >> MM_CARD_SHIFT], (uint8_t)MM_CARD_DIRTY);
    if (__atomic_exchange_n(&gc->chunk_dirty[chunk], 1, __ATOMIC_RELAXED) == 0)
        gc->dirty_chunk[__atomic_fetch_add(&gc->dirty_chunks, 1, __ATOMIC_RELAXED)] = chunk;
}

/* ---- Young objects ---- */

static void copy_object(char *to, const char *from, uint64_t word0, uint64_t extent)
{
    struct granule { uint64_t a, b; };
    *(uint64_t *)to = word0;
    *(uint64_t *)(to + 8) = mm_load_relaxed((const uint64_t *)(from + 8));
    if (extent > 512) {
        memcpy(to + 16, from + 16, extent - 16);
        return;
    }
    for (uint64_t i = 16; i < extent; i += 16)
        *(struct granule *)(to + i) = *(const struct granule *)(from + i);
}

/* The first object of a block that is kept makes its cards CLEAN, before any of its slots is scanned by anybody. */
static void block_keep(struct gc *gc, uint32_t block, struct gc_block *side)
{
    if (mm_load_acquire(&side->flags) & GC_KEPT)                /* pairs with the fetch_or below */
        return;
    if (!(__atomic_fetch_or(&side->flags, GC_KEEPING, __ATOMIC_RELAXED) & GC_KEEPING)) {
        gc_cards_fill(gc, block, 1, MM_CARD_CLEAN);
        __atomic_fetch_or(&side->flags, GC_KEPT, __ATOMIC_RELEASE);
    }
    while (!(mm_load_acquire(&side->flags) & GC_KEPT) && !mm_load_relaxed(&gc->lie))
        mm_cpu_relax();
}

/* Leaves a claimed object where it is; its block will be old. */
static uint64_t keep_object(struct gc_tracer *tracer, struct gc_block *side, uint64_t off, uint64_t extent, bool scan)
{
    struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    block_keep(gc, block, side);
    bit_claim(tracer, side->start, trace_granule(off));
    lines_set(tracer, side->line, off, extent);
    tracer->kept_objects++;
    tracer->kept_bytes += extent;
    if (scan)
        stack_push(&tracer->grey, off);
    if (tracer->parallel)
        bit_claim(tracer, side->done, trace_granule(off));
    return off;
}

/* Another tracer has the claim: its outcome, once it can be read. */
static uint64_t outcome(const struct gc_tracer *tracer, const struct gc_block *side, uint64_t off)
{
    const struct gc *gc = tracer->gc;
    uint32_t granule = trace_granule(off);
    while (tracer->parallel && !bit_read(tracer, side->done, granule))
        if (mm_load_relaxed(&gc->lie))
            return off;
    if (bit_read(tracer, side->start, granule))
        return off;                                     /* kept */
    uint64_t to = trace_off(gc, mm_load_relaxed((const uint64_t *)(gc->heap->view.base + off + 8)));
    if (to == TRACE_NONE || (gc_space(gc, to >> MM_BLOCK_SHIFT) != GC_TO && gc_space(gc, to >> MM_BLOCK_SHIFT) != GC_OLD) ||
        !bit_read(tracer, gc_block(gc, (uint32_t)(to >> MM_BLOCK_SHIFT))->start, trace_granule(to)))
        return off;                                     /* the forwarding word was overwritten by the client: its loss */
    return to;
}

static uint64_t evacuate(struct gc_tracer *tracer, uint64_t off)
{
    struct gc *gc = tracer->gc;
    struct gc_block *side = gc_block(gc, (uint32_t)(off >> MM_BLOCK_SHIFT));
    uint32_t granule = trace_granule(off);
    if (bit_claim(tracer, side->mark, granule))
        return outcome(tracer, side, off);
    char *from = gc->heap->view.base + off;
    uint64_t word0 = mm_load_relaxed((const uint64_t *)from), extent = mm_object_extent(mm_header_bytes(word0));
    if (!trace_header_sane(gc, off, word0)) {
        mm_store_relaxed(&gc->lie, "a reference leads to something that is no object");
        return off;
    }
    if (gc->ephemerons_wait)
        weak_on_alive(tracer, off);
    const struct gc_type *type = &gc->type[mm_header_type(word0)];
    unsigned age = (unsigned)(word0 >> 48 & 0xff) + 1;
    bool old = age >= gc->age_now;
    uint64_t to = side->flags & GC_PINNED ? TRACE_NONE : region_alloc(tracer, old, extent);
    if (to == TRACE_NONE)
        return keep_object(tracer, side, off, extent, type->scan != GC_SCAN_NONE);
    old = gc_space(gc, to >> MM_BLOCK_SHIFT) == GC_OLD;
    word0 = (word0 & ~((uint64_t)0xff << 48)) | (uint64_t)(age > 15 ? 15 : age) << 48;
    copy_object(gc->heap->view.base + to, from, word0, extent);
    struct gc_block *there = gc_block(gc, (uint32_t)(to >> MM_BLOCK_SHIFT));
    bit_claim(tracer, there->start, trace_granule(to));
    if (old) {
        tracer->promoted_objects++;
        tracer->promoted_bytes += extent;
        if (gc->marking) {
            bit_claim(tracer, there->mark, trace_granule(to));
            lines_set(tracer, there->line_mark, to, extent);
        }
    } else {
        tracer->copied_objects++;
        tracer->copied_bytes += extent;
    }
    mm_store_relaxed((uint64_t *)(from + 8), trace_word(gc, to));
    if (tracer->parallel)
        bit_claim(tracer, side->done, granule);         /* pairs with the acquire in outcome(): the copy before the bit */
    if (type->scan != GC_SCAN_NONE)
        stack_push(&tracer->grey, to);
    return to;
}

uint64_t trace_forwarded(const struct gc_tracer *tracer, uint64_t off)
{
    const struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    return gc_space(gc, block) == GC_YOUNG ? outcome(tracer, gc_block(gc, block), off) : off;
}

bool trace_alive(const struct gc *gc, uint64_t off)
{
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    switch (gc_space(gc, block)) {
    case GC_YOUNG: return gc_bit(gc_block(gc, block)->mark, trace_granule(off));
    case GC_OLD:
    case GC_LARGE: return !gc->marking || gc_bit(gc_block(gc, block)->mark, trace_granule(off));
    default:       return true;
    }
}

/* ---- Old objects ---- */

void trace_mark(struct gc_tracer *tracer, uint64_t off)
{
    struct gc_block *side = gc_block(tracer->gc, (uint32_t)(off >> MM_BLOCK_SHIFT));
    uint32_t granule = trace_granule(off);
    if (!bit_read(tracer, side->start, granule) || bit_claim(tracer, side->mark, granule))
        return;
    if (tracer->gc->ephemerons_wait)
        weak_on_alive(tracer, off);
    if (tracer->marked.count < tracer->marked.room) {
        __builtin_prefetch(tracer->gc->heap->view.base + off);
        stack_push(&tracer->marked, off);
        return;
    }
    __atomic_fetch_or(&side->flags, GC_RESCAN, __ATOMIC_RELAXED);
    tracer->starved = true;
}

/* ---- Slots ---- */

static inline __attribute__((always_inline)) bool slot_follow(struct gc_tracer *tracer, uint64_t *slot)
{
    struct gc *gc = tracer->gc;
    uint64_t off = trace_off(gc, mm_load_relaxed(slot));
    if (off == TRACE_NONE)
        return false;
    switch (gc_space(gc, off >> MM_BLOCK_SHIFT)) {
    case GC_YOUNG: {
        uint64_t now = evacuate(tracer, off);
        if (now != off)
            mm_store_relaxed(slot, trace_word(gc, now));
        return gc_space(gc, now >> MM_BLOCK_SHIFT) == GC_TO;
    }
    case GC_TO:
        return true;
    case GC_OLD:
    case GC_LARGE:
        if (gc->marking)
            trace_mark(tracer, off);
        return false;
    default:
        return false;
    }
}

bool trace_slot(struct gc_tracer *tracer, uint64_t *slot) { return slot_follow(tracer, slot); }

/* ---- Objects ---- */

/* How a scan treats a slot: `carry` for old objects, whose cards must say that they refer to young ones. */
static inline __attribute__((always_inline)) bool slot_scan(struct gc_tracer *tracer, uint64_t off, bool carry)
{
    bool young = slot_follow(tracer, (uint64_t *)(tracer->gc->heap->view.base + off));
    if (carry && young)
        trace_carry(tracer, off);
    return young;
}

/* The repeated part, one reference an element. */
static inline __attribute__((always_inline)) bool vector_scan(struct gc_tracer *tracer, uint64_t at, uint64_t end, bool carry)
{
    bool young = false;
    for (; at < end; at += 8)
        young |= slot_scan(tracer, at, carry);
    return young;
}

static bool lists_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t payload, uint64_t bytes, uint64_t from, uint64_t to, bool carry)
{
    bool young = false;
    for (uint32_t i = 0; i < type->refs; i++) {
        uint64_t at = payload + type->ref[i];
        if (at >= from && at < to)
            young |= slot_scan(tracer, at, carry);
    }
    if (!type->element_refs)
        return young;
    uint64_t first = payload + type->bytes, elements = (bytes - type->bytes) / type->element_bytes, i = 0;
    if (from > first)
        i = (from - first) / type->element_bytes;
    for (; i < elements && first + i * type->element_bytes < to; i++)
        for (uint32_t r = 0; r < type->element_refs; r++) {
            uint64_t at = first + i * type->element_bytes + type->ref[type->refs + r];
            if (at >= from && at < to)
                young |= slot_scan(tracer, at, carry);
        }
    return young;
}

/* An object whose references are weak.c's: whole, or, of an old object, one card of it. A card is remembered as its offset with bit 0 set, and its
 * object behind it; an ephemeron's pairs may lie on two cards, so it is remembered whole, and once. */
static void weak_later(struct gc_tracer *tracer, uint64_t off, bool weak, uint64_t from, uint64_t to)
{
    struct gc_stack *later = weak ? &tracer->weak : &tracer->ephemerons;
    bool whole = from == 0 && to == UINT64_MAX, fine;
    if (!weak && !whole && bit_claim(tracer, gc_block(tracer->gc, (uint32_t)(off >> MM_BLOCK_SHIFT))->done, trace_granule(off)))
        return;
    fine = stack_push_grow(later, off);
    if (weak && !whole)
        fine = fine && stack_push_grow(later, from | 1);
    if (!fine)
        mm_store_relaxed(&tracer->gc->lie, "no memory for its weak objects");
}

/* Scans the object whose header is `word0`, judged sane here once more: the copy lies in client memory too. */
static inline __attribute__((always_inline)) bool object_scan(struct gc_tracer *tracer, uint64_t off, uint64_t word0, uint64_t from, uint64_t to, bool carry)
{
    struct gc *gc = tracer->gc;
    const struct gc_type *type = &gc->type[mm_header_type(word0)];
    uint64_t payload = off + MM_HEADER_BYTES, bytes = mm_header_bytes(word0);
    bool young = false;
    if (type->scan == GC_SCAN_NONE)
        return false;
    if (bytes < type->bytes) {
        mm_store_relaxed(&gc->lie, "an object is smaller than its type");
        return false;
    }
    if (type->flags) {
        weak_later(tracer, off, type->flags & TYPE_WEAK, from, to);
        return false;
    }
    if (type->scan == GC_SCAN_LISTS)
        return lists_scan(tracer, type, payload, bytes, from, to, carry);
    for (uint64_t mask = type->mask; mask; mask &= mask - 1) {
        uint64_t at = payload + (uint64_t)__builtin_ctzll(mask) * 8;
        if (at >= from && at < to)
            young |= slot_scan(tracer, at, carry);
    }
    if (type->scan == GC_SCAN_VECTOR) {
        uint64_t at = payload + type->bytes, end = payload + (bytes & ~(uint64_t)7);
        young |= vector_scan(tracer, at < from ? from : at, end < to ? end : to, carry);
    }
    return young;
}

bool trace_old_object(struct gc_tracer *tracer, uint64_t off, uint64_t from, uint64_t to)
{
    uint64_t word0 = trace_header(tracer->gc, off);
    if (!trace_header_sane(tracer->gc, off, word0)) {
        mm_store_relaxed(&tracer->gc->lie, "the header of an old object was overwritten");
        return false;
    }
    return object_scan(tracer, off, word0, from, to, true);
}

static void each_visit(struct gc_tracer *tracer, uint64_t at, uint64_t from, uint64_t to, void (*visit)(struct gc_tracer *, uint64_t *, void *), void *argument)
{
    if (at >= from && at < to)
        visit(tracer, (uint64_t *)(tracer->gc->heap->view.base + at), argument);
}

void trace_each_slot(struct gc_tracer *tracer, uint64_t off, uint64_t from, uint64_t to, void (*visit)(struct gc_tracer *, uint64_t *, void *), void *argument)
{
    const struct gc *gc = tracer->gc;
    uint64_t word0 = trace_header(gc, off), payload = off + MM_HEADER_BYTES, bytes = mm_header_bytes(word0);
    if (!trace_header_sane(gc, off, word0))
        return;
    const struct type *type = types_get(gc->types_source, mm_header_type(word0));
    if (!type || bytes < type->bytes)
        return;
    for (uint32_t i = 0; i < type->ref_count; i++)
        each_visit(tracer, payload + type->ref[i], from, to, visit, argument);
    if (!type->element_ref_count)
        return;
    uint64_t first = payload + type->bytes, elements = (bytes - type->bytes) / type->element_bytes;
    for (uint64_t i = from > first ? (from - first) / type->element_bytes : 0; i < elements && first + i * type->element_bytes < to; i++)
        for (uint32_t r = 0; r < type->element_ref_count; r++)
            each_visit(tracer, first + i * type->element_bytes + type->ref[type->ref_count + r], from, to, visit, argument);
}

/* A copied or kept object. */
static inline void grey_scan(struct gc_tracer *tracer, uint64_t off)
{
    struct gc *gc = tracer->gc;
    uint64_t word0 = trace_header(gc, off);
    if (!trace_header_sane(gc, off, word0))
        mm_store_relaxed(&gc->lie, "a copy was overwritten during a collection");
    else if (gc_space(gc, off >> MM_BLOCK_SHIFT) == GC_TO)
        (void)object_scan(tracer, off, word0, 0, UINT64_MAX, false);
    else
        (void)object_scan(tracer, off, word0, 0, UINT64_MAX, true);
}

static inline void marked_scan(struct gc_tracer *tracer, uint64_t off)
{
    struct gc *gc = tracer->gc;
    uint64_t word0 = trace_header(gc, off), extent = mm_object_extent(mm_header_bytes(word0));
    if (!trace_header_sane(gc, off, word0)) {
        mm_store_relaxed(&gc->lie, "the header of an old object was overwritten");
        return;
    }
    tracer->marked_objects++;
    tracer->marked_bytes += extent;
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    if (gc_space(gc, block) == GC_OLD)
        lines_set(tracer, gc_block(gc, block)->line_mark, off, extent);
    (void)object_scan(tracer, off, word0, 0, UINT64_MAX, true);
}

/* Asks for the headers that an object's first references lead to. */
static inline void fetch_ahead(const struct gc_tracer *tracer, uint64_t off)
{
    const struct gc *gc = tracer->gc;
    const char *base = gc->heap->view.base;
    uint64_t bias = gc->heap->view.client_base + MM_HEADER_BYTES, word0 = trace_header(gc, off);
    const struct gc_type *type = &gc->type[mm_header_type(word0) < gc->type_count ? mm_header_type(word0) : 0];
    uint64_t mask = type->scan == GC_SCAN_MASK ? type->mask : type->scan == GC_SCAN_VECTOR ? 0xff : 0;
    for (unsigned i = 0; mask && i < 4; i++, mask &= mask - 1) {
        uint64_t at = off + MM_HEADER_BYTES + (uint64_t)__builtin_ctzll(mask) * 8;
        if (at >> MM_BLOCK_SHIFT != off >> MM_BLOCK_SHIFT)
            return;                     /* the next block may not even be mapped */
        uint64_t to = mm_load_relaxed((const uint64_t *)(base + at)) - bias;
        if (to < gc->heap->view.bytes)
            __builtin_prefetch(base + to);
    }
}

/* A few objects wait in a queue while what they lead to is fetched (after Cher, Hosking, Vitek, "Software prefetching for mark-sweep
 * garbage collection", ASPLOS 2004). Bit 0 of an entry: it is from `marked`. */
static inline bool queue_fill(struct gc_tracer *tracer)
{
    while (tracer->queue_count < GC_QUEUE) {
        uint64_t entry;
        if (tracer->grey.count) {
            entry = tracer->grey.word[--tracer->grey.count];
            fetch_ahead(tracer, entry);
        } else if (tracer->marked.count) {
            entry = tracer->marked.word[--tracer->marked.count];
            __builtin_prefetch(tracer->gc->heap->view.base + entry);
            entry |= 1;
        } else {
            break;
        }
        tracer->queue[(tracer->queue_head + tracer->queue_count++) % GC_QUEUE] = entry;
    }
    return tracer->queue_count > 0;
}

void trace_queue_empty(struct gc_tracer *tracer)
{
    for (; tracer->queue_count; tracer->queue_count--) {
        uint64_t entry = tracer->queue[tracer->queue_head++ % GC_QUEUE];
        stack_push(entry & 1 ? &tracer->marked : &tracer->grey, entry & ~(uint64_t)1);
    }
}

static bool drain_some(struct gc_tracer *tracer)
{
    for (unsigned i = 0; i < DRAIN_ROUND; i++) {
        if (!queue_fill(tracer))
            return false;
        uint64_t entry = tracer->queue[tracer->queue_head++ % GC_QUEUE];
        tracer->queue_count--;
        if (entry & 1)
            marked_scan(tracer, entry & ~(uint64_t)1);
        else
            grey_scan(tracer, entry);
    }
    return true;
}

/* The mark stack was full: scan again every marked object of the blocks whose objects could not be pushed. */
static void rescan(struct gc_tracer *tracer)
{
    struct gc *gc = tracer->gc;
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    tracer->starved = false;
    for (uint32_t b = 0; b < blocks; b++) {
        struct gc_block *side = gc->side[b / MM_CHUNK_BLOCKS] ? gc_block(gc, b) : NULL;
        if (!side || !(side->flags & GC_RESCAN))
            continue;
        side->flags &= (uint8_t)~GC_RESCAN;
        for (uint32_t w = 0; w < GC_BLOCK_GRANULES / 64; w++)
            for (uint64_t bits = side->mark[w]; bits; bits &= bits - 1) {
                marked_scan(tracer, gc_off(b) + (w * 64 + (uint32_t)__builtin_ctzll(bits)) * MM_GRANULE_BYTES);
                while (drain_some(tracer))
                    ;
            }
    }
}

bool trace_drain(struct gc_tracer *tracer, uint64_t deadline_ns)
{
    do {
        while (drain_some(tracer)) {
            gc_help_share(tracer);
            if (mm_load_relaxed(&tracer->gc->lie))
                return true;
            if (os.now_ns() >= deadline_ns)
                return false;
        }
        if (tracer->starved)
            rescan(tracer);
    } while (tracer->queue_count || tracer->grey.count || tracer->marked.count || tracer->starved);
    return true;
}

/* ---- Types ---- */

/* References within the first 64 words of the fixed part fit a mask. */
static bool type_mask(const struct type *type, uint64_t *ret_mask)
{
    *ret_mask = 0;
    for (uint32_t i = 0; i < type->ref_count; i++) {
        if (type->ref[i] >= 64 * 8)
            return false;
        *ret_mask |= (uint64_t)1 << (type->ref[i] / 8);
    }
    return true;
}

static void type_describe(struct gc_type *to, const struct type *type)
{
    bool fits = type_mask(type, &to->mask), vector = type->element_ref_count == 1 && type->element_bytes == 8;
    to->ref = type->ref;
    to->bytes = type->bytes;
    to->element_bytes = type->element_bytes;
    to->refs = (uint16_t)type->ref_count;
    to->element_refs = (uint16_t)type->element_ref_count;
    to->flags = (uint8_t)type->flags;
    to->scan = type->ref_count + type->element_ref_count == 0 ? GC_SCAN_NONE : !fits ? GC_SCAN_LISTS : vector ? GC_SCAN_VECTOR :
               type->element_ref_count ? GC_SCAN_LISTS : GC_SCAN_MASK;
}

/* Takes over types that were registered since the last pause. */
void trace_types_refresh(struct gc *gc)
{
    uint32_t count = types_count(gc->types_source) + 1;
    if (count > gc->type_room) {
        uint32_t room = gc->type_room * 2 > count ? gc->type_room * 2 : count + 31;
        struct gc_type *grown = realloc(gc->type, room * sizeof *grown);
        if (!grown)
            return;                     /* objects of the new types condemn the heap: there is no memory to know them */
        gc->type = grown;
        gc->type_room = room;
    }
    for (; gc->type_count < count; gc->type_count++) {
        struct gc_type *to = &gc->type[gc->type_count];
        *to = (struct gc_type){ .scan = GC_SCAN_NONE };
        if (gc->type_count > 0)
            type_describe(to, types_get(gc->types_source, gc->type_count));
    }
}
