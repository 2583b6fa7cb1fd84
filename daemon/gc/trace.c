/* trace.c — see trace.h. */
#define _GNU_SOURCE
#include "daemon/gc/trace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/os/os.h"
#include "shm/atomic.h"

#define PIECE_BYTES  4096u              /* of a large object, scanned at once: some 10 us */
#define MARKED_PIECE 2u                 /* of an entry of `marked`: the offset of a large object's piece */
#define MARKED_STORAGE 4u               /* the offset of an owner, and above it which piece of its storage; heaps without moving are not larger than that leaves room for */
#define STORAGE_PIECE_SHIFT 40

void tracer_aim(struct gc_tracer *tracer)
{
    const struct gc *gc = tracer->gc;
    tracer->base = gc->heap->view.base;
    tracer->bias = gc->heap->view.client_base + MM_HEADER_BYTES;
    tracer->bytes = gc->heap->view.bytes;
    tracer->space = gc->space;
    tracer->side = gc->side;
    tracer->type = gc->type;
    tracer->type_count = gc->type_count;
    tracer->age_now = gc->age_now;
    tracer->fixed = gc->fixed;
}

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

/* Sets bit `i` in the word that has it; was it set before? */
static inline __attribute__((always_inline)) bool bit_claim(bool parallel, uint64_t *word, uint32_t i)
{
    uint64_t bit = (uint64_t)1 << (i % 64), old;
    if (parallel) {
        old = __atomic_fetch_or(word, bit, __ATOMIC_ACQ_REL);
    } else {
        old = *word;
        *word = old | bit;
    }
    return old & bit;
}

static inline __attribute__((always_inline)) bool bit_read(bool parallel, const uint64_t *word, uint32_t i)
{
    return (parallel ? mm_load_acquire(word) : *word) >> (i % 64) & 1;
}

/* What became old is found again by its bits. */
static inline void old_note(bool parallel, struct gc_block *side, const struct gc_type *type, uint64_t off, uint64_t extent)
{
    uint32_t first = trace_granule(off), last = trace_granule(off + extent - MM_GRANULE_BYTES);
    bit_claim(parallel, GC_WORD(side, end, last), last);
    if (type->scan == GC_SCAN_NONE)
        bit_claim(parallel, GC_WORD(side, leaf, first), first);
    bit_claim(parallel, GC_WORD(side, start, first), first);
}

/* Granules of the object that starts at `granule`. */
static inline uint32_t old_granules(const struct gc_block *side, uint32_t granule)
{
    uint32_t word = granule / 64;
    uint64_t end = side->bits[word].end & UINT64_MAX << granule % 64;
    while (!end && ++word < GC_BLOCK_WORDS)
        end = side->bits[word].end;
    return end ? word * 64 + (uint32_t)__builtin_ctzll(end) + 1 - granule : 0;
}

/* Counts bytes of a block. */
static inline void bytes_add(bool parallel, uint32_t *bytes, uint64_t extent)
{
    if (parallel)
        mm_add_relaxed(bytes, (uint32_t)extent);
    else
        *bytes += (uint32_t)extent;
}

/* ---- Cards ---- */

void trace_carry(struct gc_tracer *tracer, uint64_t slot_off)
{
    struct gc *gc = tracer->gc;
    if (trace_carry_logged(tracer, slot_off))
        mm_store_relaxed(&mm_control_cards(gc->heap->control, gc->heap->slot_count, gc->heap->space_count)[slot_off >> MM_CARD_SHIFT], (uint8_t)MM_CARD_DIRTY);
}

bool trace_carry_logged(struct gc_tracer *tracer, uint64_t slot_off)
{
    struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(slot_off >> MM_BLOCK_SHIFT), chunk = block / MM_CHUNK_BLOCKS;
    uint32_t card = (uint32_t)(slot_off % MM_BLOCK_BYTES / MM_CARD_BYTES);
    if (bit_claim(tracer->parallel, &gc_block(gc, block)->carry[card / 64], card))
        return false;
    if (__atomic_exchange_n(&gc->chunk_dirty[chunk], 1, __ATOMIC_RELAXED) == 0)
        gc->dirty_chunk[__atomic_fetch_add(&gc->dirty_chunks, 1, __ATOMIC_RELAXED)] = chunk;
    return true;
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

/* What is being scanned: a copy of a young object, or one that is kept; the same of an old one, out of a block that is emptied, which marks what it
 * refers to, since the marking may not have come to it; or an object that is where it was before this collection. */
enum scan_of { OF_YOUNG, OF_MOVED, OF_SETTLED };

static void copy_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, bool carry, enum scan_of of);

/* Leaves a claimed object where it is; its block will be old. */
static uint64_t keep_object(struct gc_tracer *tracer, struct gc_block *side, const struct gc_type *type, uint64_t off, uint64_t word0, bool was_old)
{
    struct gc *gc = tracer->gc;
    uint64_t extent = mm_object_extent(mm_header_bytes(word0));
    if (was_old) {                      /* no room elsewhere: it stays, and so does its block */
        bytes_add(tracer->parallel, &side->live_bytes, extent);
    } else {
        block_keep(gc, (uint32_t)(off >> MM_BLOCK_SHIFT), side);
        old_note(tracer->parallel, side, type, off, extent);
        bytes_add(tracer->parallel, &side->used_bytes, extent);
    }
    tracer->kept_objects++;
    tracer->kept_bytes += extent;
    if (tracer->parallel)
        bit_claim(true, &side->done[trace_granule(off) / 64], trace_granule(off));
    copy_scan(tracer, type, off, word0, true, was_old ? OF_MOVED : OF_YOUNG);
    return off;
}

/* Somebody else has the claim: the outcome, once it can be read. */
static uint64_t outcome(const struct gc_tracer *tracer, const struct gc_block *side, uint64_t off)
{
    const struct gc *gc = tracer->gc;
    uint32_t granule = trace_granule(off);
    while (tracer->parallel && !bit_read(true, &side->done[granule / 64], granule))
        if (mm_load_relaxed(&gc->lie))
            return off;
    if (bit_read(tracer->parallel, GC_WORD(side, start, granule), granule))
        return off;                                     /* kept */
    uint64_t to = trace_off(gc, mm_load_relaxed((const uint64_t *)(gc->heap->view.base + off + 8)));
    if (to == TRACE_NONE || (gc_space(gc, to >> MM_BLOCK_SHIFT) != GC_TO && gc_space(gc, to >> MM_BLOCK_SHIFT) != GC_OLD) ||
        !bit_read(tracer->parallel, GC_WORD(gc_block(gc, (uint32_t)(to >> MM_BLOCK_SHIFT)), start, trace_granule(to)), trace_granule(to)))
        return off;                                     /* the forwarding word was overwritten by the client: its loss */
    return to;
}

static inline void bit_clear(bool parallel, uint64_t *word, uint32_t i)
{
    uint64_t bit = (uint64_t)1 << i % 64;
    if (parallel)
        (void)__atomic_fetch_and(word, ~bit, __ATOMIC_ACQ_REL);
    else
        *word &= ~bit;
}

/* Carries an object out of from-space, or, if it `was_old`, out of a block that is emptied; where it is now. The header that is judged here, read once, is the one that the copy gets and by
 * which it is scanned (R6). */
static inline __attribute__((always_inline)) uint64_t evacuate_as(struct gc_tracer *tracer, uint64_t off, bool was_old, bool parallel)
{
    struct gc *gc = tracer->gc;
    struct gc_block *side = &tracer->side[off >> MM_BLOCK_SHIFT];
    uint32_t granule = trace_granule(off);
    if (was_old && UNLIKELY(!bit_read(parallel, GC_WORD(side, start, granule), granule) && !bit_read(parallel, GC_WORD(side, mark, granule), granule)))
        return off;         /* nothing is there; in this order, since who carries an object out sets its mark before the start goes */
    if (bit_claim(parallel, GC_WORD(side, mark, granule), granule))
        return outcome(tracer, side, off);
    char *from = tracer->base + off;
    uint64_t word0 = mm_load_relaxed((const uint64_t *)from), extent = mm_object_extent(mm_header_bytes(word0));
    uint32_t id = mm_header_type(word0);
    const struct gc_type *type = &tracer->type[id];
    if (UNLIKELY(!(mm_header_flags(word0) & MM_BORN) || extent > MM_BLOCK_BYTES - off % MM_BLOCK_BYTES || id >= tracer->type_count ||
                    mm_header_bytes(word0) < type->bytes)) {
        mm_store_relaxed(&gc->lie, "a reference leads to something that is no object");
        return off;
    }
    if (UNLIKELY(gc->ephemerons_wait))
        weak_on_alive(tracer, off);
    unsigned age = (unsigned)(word0 >> 48 & 0xff) + 1;
    enum gc_to_kind kind = was_old ? TO_FRESH : age >= tracer->age_now ? TO_OLD : TO_SURVIVOR;
    uint64_t to = UNLIKELY(side->flags & GC_PINNED) ? TRACE_NONE : region_alloc(tracer, &kind, extent);
    if (UNLIKELY(to == TRACE_NONE))
        return keep_object(tracer, side, type, off, word0, was_old);
    word0 = (word0 & ~((uint64_t)0xff << 48)) | (uint64_t)(age > 15 ? 15 : age) << 48;
    copy_object(tracer->base + to, from, word0, extent);
    struct gc_block *there = &tracer->side[to >> MM_BLOCK_SHIFT];
    if (kind == TO_SURVIVOR)
        bit_claim(parallel, GC_WORD(there, start, trace_granule(to)), trace_granule(to));
    else
        old_note(parallel, there, type, to, extent);
    if (UNLIKELY(kind != TO_SURVIVOR && gc->marking))
        bit_claim(parallel, GC_WORD(there, mark, trace_granule(to)), trace_granule(to));
    struct gc_moved *moved = &tracer->moved[was_old ? TO_FRESH : kind];
    moved->objects++;
    moved->bytes += extent;
    mm_store_relaxed((uint64_t *)(from + 8), trace_word(gc, to));
    if (was_old) {                      /* nothing starts there any more: what tells a moved object of an old block from one that stays */
        bit_clear(parallel, GC_WORD(side, leaf, granule), granule);
        bit_clear(parallel, GC_WORD(side, start, granule), granule);
    }
    if (parallel)
        bit_claim(true, &side->done[granule / 64], granule);           /* pairs with the acquire in outcome(): the copy before the bit */
    copy_scan(tracer, type, to, word0, kind != TO_SURVIVOR, was_old ? OF_MOVED : OF_YOUNG);
    return to;
}

static __attribute__((noinline)) uint64_t evacuate(struct gc_tracer *tracer, uint64_t off, bool was_old) { return evacuate_as(tracer, off, was_old, tracer->parallel); }

uint64_t trace_forwarded(const struct gc_tracer *tracer, uint64_t off)
{
    const struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    return gc_moves(gc, gc_space(gc, block)) ? outcome(tracer, gc_block(gc, block), off) : off;
}

bool trace_alive(const struct gc *gc, uint64_t off)
{
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    switch (gc_space(gc, block)) {
    case GC_YOUNG: return GC_BIT(gc_block(gc, block), mark, trace_granule(off));
    case GC_OLD:
    case GC_EVAC:
    case GC_LARGE: return !gc->judging || GC_BIT(gc_block(gc, block), mark, trace_granule(off));
    default:       return true;
    }
}

/* ---- Old objects ---- */

static uint64_t storage_owner(uint64_t entry) { return entry & (((uint64_t)1 << STORAGE_PIECE_SHIFT) - 1) & ~(uint64_t)MARKED_STORAGE; }

/* An object, a piece of a large one, or a piece of an owner's storage. When the stack is full all marked objects of that block are scanned again. */
static inline void marked_push(struct gc_tracer *tracer, uint64_t entry)
{
    if (LIKELY(tracer->marked.count < tracer->marked.room)) {
        stack_push(&tracer->marked, entry);
        return;
    }
    uint32_t block = (uint32_t)((entry & MARKED_STORAGE ? storage_owner(entry) : entry) >> MM_BLOCK_SHIFT);
    gc_flag_set(gc_block(tracer->gc, gc_space(tracer->gc, block) == GC_LARGE ? gc_block(tracer->gc, block)->large_head : block), GC_RESCAN);
    tracer->starved = true;
}

void trace_marked_push(struct gc_tracer *tracer, uint64_t entry) { marked_push(tracer, entry); }

static inline uint32_t bit_highest(uint64_t bits) { return 63 - (uint32_t)__builtin_clzll(bits); }

/* What waited in a word of a block: the bits behind its first granules. */
static inline uint64_t waiting_clear(bool parallel, struct gc_block *side, uint32_t word)
{
    struct gc_bits *bits = &side->bits[word];
    uint64_t leaf = parallel ? __atomic_fetch_and(&bits->leaf, bits->start, __ATOMIC_ACQ_REL) : bits->leaf;
    if (!parallel)
        bits->leaf &= bits->start;
    return leaf & ~bits->start;
}

/* In which words something waits; nothing does from here on. */
static inline uint64_t waits_clear(bool parallel, struct gc_block *side)
{
    if (parallel)
        return mm_xchg_seq_cst(&side->waits, 0);        /* after it was taken from the elevator: waiting_note() */
    uint64_t waits = side->waits;
    side->waits = 0;
    return waits;
}

static void lock_if(bool parallel, struct gc *gc)
{
    if (parallel)
        pthread_mutex_lock(&gc->lock);
}

static void unlock_if(bool parallel, struct gc *gc)
{
    if (parallel)
        pthread_mutex_unlock(&gc->lock);
}

/* What waits in the next block that the elevator comes to goes onto the stack, the first on top. */
static bool waiting_take(struct gc_tracer *tracer)
{
    lock_if(tracer->parallel, tracer->gc);
    uint32_t block = elevator_next(tracer->waiting);
    unlock_if(tracer->parallel, tracer->gc);
    if (block == ELEVATOR_NONE)
        return false;
    struct gc_block *side = gc_block(tracer->gc, block);
    for (uint64_t waits = waits_clear(tracer->parallel, side); waits; waits ^= (uint64_t)1 << bit_highest(waits)) {
        uint32_t w = bit_highest(waits);
        for (uint64_t bits = waiting_clear(tracer->parallel, side, w); bits; bits ^= (uint64_t)1 << bit_highest(bits))
            marked_push(tracer, gc_off(block) + (uint64_t)(w * 64 + bit_highest(bits) - 1) * MM_GRANULE_BYTES);
    }
    return true;
}

/* An object of a block waits there. */
static inline void waiting_note(struct gc_tracer *tracer, struct gc_block *side, uint32_t block, uint32_t granule)
{
    bool parallel = tracer->parallel;
    uint64_t word = (uint64_t)1 << (granule + 1) / 64;
    (void)bit_claim(parallel, GC_WORD(side, leaf, granule + 1), granule + 1);
    if (parallel)
        (void)__atomic_fetch_or(&side->waits, word, __ATOMIC_SEQ_CST);           /* before the look at the elevator: either that is called, or who took the block sees this */
    else
        side->waits |= word;
    if (elevator_called(tracer->waiting, block))
        return;
    lock_if(parallel, tracer->gc);
    elevator_call(tracer->waiting, block);
    unlock_if(parallel, tracer->gc);
}

void trace_waiting_empty(struct gc_tracer *tracer)
{
    while (waiting_take(tracer))
        ;
    tracer->waiting = NULL;
}

void trace_waiting_forget(struct gc *gc)
{
    for (uint32_t block; (block = elevator_next(&gc->waiting)) != ELEVATOR_NONE; ) {
        struct gc_block *side = gc_block(gc, block);
        for (uint64_t waits = waits_clear(false, side); waits; waits ^= (uint64_t)1 << bit_highest(waits))
            (void)waiting_clear(false, side, bit_highest(waits));
    }
}

/* Large objects alone have no end bit: how long they are their headers say, which nobody has judged yet. */
static inline void marked_count(struct gc_tracer *tracer, struct gc_block *side, uint64_t off)
{
    uint64_t extent;
    if (UNLIKELY(side->large_blocks)) {
        uint64_t most = (uint64_t)side->large_blocks << MM_BLOCK_SHIFT;
        extent = mm_object_extent(mm_header_bytes(trace_header(tracer->gc, off)));
        extent = extent < most ? extent : most;
    } else {
        extent = (uint64_t)old_granules(side, trace_granule(off)) * MM_GRANULE_BYTES;
        bytes_add(tracer->parallel, &side->live_bytes, extent);
    }
    tracer->marked_objects++;
    tracer->marked_bytes += extent;
}

static inline void mark(struct gc_tracer *tracer, uint64_t off)
{
    struct gc_block *side = gc_block(tracer->gc, (uint32_t)(off >> MM_BLOCK_SHIFT));
    uint32_t granule = trace_granule(off);
    if (!bit_read(tracer->parallel, GC_WORD(side, start, granule), granule) || bit_claim(tracer->parallel, GC_WORD(side, mark, granule), granule))
        return;
    if (tracer->gc->ephemerons_wait)
        weak_on_alive(tracer, off);
    marked_count(tracer, side, off);
    if (bit_read(tracer->parallel, GC_WORD(side, leaf, granule), granule) || GC_BIT(side, end, granule))              /* without references, or room for one; none of large objects */
        return;
    if (tracer->waiting)
        waiting_note(tracer, side, (uint32_t)(off >> MM_BLOCK_SHIFT), granule);
    else
        marked_push(tracer, off);
}

void trace_mark(struct gc_tracer *tracer, uint64_t off) { mark(tracer, off); }

/* The same in a while: the bits of an object that nobody was at are in no cache. */
static inline void mark_soon(struct gc_tracer *tracer, uint64_t off)
{
    const struct gc_block *side = &tracer->side[off >> MM_BLOCK_SHIFT];
    uint32_t word = trace_granule(off) / 64;
    __builtin_prefetch(&side->bits[word], 1);
    __builtin_prefetch(&side->live_bytes, 1);
    uint64_t *place = &tracer->seen[(tracer->seen_head + tracer->seen_count) % GC_QUEUE];
    if (tracer->seen_count == GC_QUEUE) {
        mark(tracer, *place);
        tracer->seen_head++;
    } else {
        tracer->seen_count++;
    }
    *place = off;
}

static void seen_empty(struct gc_tracer *tracer)
{
    for (; tracer->seen_count; tracer->seen_count--)
        mark(tracer, tracer->seen[tracer->seen_head++ % GC_QUEUE]);
}

bool trace_mark_alone(struct gc_tracer *tracer, uint64_t off)
{
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    struct gc_block *side = gc_block(tracer->gc, block);
    if (bit_claim(tracer->parallel, GC_WORD(side, mark, trace_granule(off)), trace_granule(off)))
        return false;
    marked_count(tracer, side, off);
    return true;
}

/* ---- Slots ---- */

/* Does a reference to `off` make its slot interesting to the next minor collection? */
static inline bool young_now(const struct gc_tracer *tracer, uint64_t off) { return mm_load_relaxed(&tracer->space[off >> MM_BLOCK_SHIFT]) == GC_TO; }

bool trace_slot(struct gc_tracer *tracer, uint64_t *slot)
{
    struct gc *gc = tracer->gc;
    uint64_t off = trace_off(gc, mm_load_relaxed(slot)), now;
    if (off == TRACE_NONE)
        return false;
    switch (gc_space(gc, off >> MM_BLOCK_SHIFT)) {
    case GC_YOUNG:
        now = evacuate(tracer, off, false);
        if (now != off)
            mm_store_relaxed(slot, trace_word(gc, now));
        return young_now(tracer, now);
    case GC_TO:
        return true;
    case GC_EVAC:
        if (tracer->evacuating) {
            now = evacuate(tracer, off, true);
            if (now != off)
                mm_store_relaxed(slot, trace_word(gc, now));
            return false;
        }
        /* fall through */
    case GC_OLD:
    case GC_LARGE:
        if (tracer->mark_copies)
            trace_mark(tracer, off);
        return false;
    default:
        return false;
    }
}

/* Follows the reference to `off` that was found in a slot of the heap: copies, updates the slot, carries its card if it is an old one. */
static inline __attribute__((always_inline)) void slot_settle(struct gc_tracer *tracer, uint64_t slot, uint64_t off, bool parallel)
{
    uint64_t now = off;
    if (LIKELY(mm_load_relaxed(&tracer->space[off >> MM_BLOCK_SHIFT]) == GC_YOUNG)) {
        now = evacuate_as(tracer, off, false, parallel);
        if (now != off)
            mm_store_relaxed((uint64_t *)(tracer->base + slot), trace_word(tracer->gc, now));
    } else if (tracer->evacuating && mm_load_relaxed(&tracer->space[off >> MM_BLOCK_SHIFT]) == GC_EVAC) {
        now = evacuate(tracer, off, true);
        if (now != off)
            mm_store_relaxed((uint64_t *)(tracer->base + slot), trace_word(tracer->gc, now));
        return;
    }
    if (young_now(tracer, now) && mm_load_relaxed(&tracer->space[slot >> MM_BLOCK_SHIFT]) != GC_TO)
        trace_carry(tracer, slot);
}

static __attribute__((noinline)) void slot_settle_now(struct gc_tracer *tracer, uint64_t slot, uint64_t off) { slot_settle(tracer, slot, off, tracer->parallel); }

/* A slot that refers to a young object waits in the queue while that object's header is fetched, or, when the queue is full, on the stack (after
 * Cher, Hosking, Vitek, "Software prefetching for mark-sweep garbage collection", ASPLOS 2004). */
static inline void slot_put(struct gc_tracer *tracer, uint64_t slot, uint64_t off)
{
    if (tracer->queue_count == GC_QUEUE) {
        stack_push(&tracer->grey, slot);
        return;
    }
    __builtin_prefetch(tracer->base + off, 1);
    tracer->queue[(tracer->queue_head + tracer->queue_count++) % GC_QUEUE] = (struct gc_waiting){ slot, off };
}

/* One slot of an object that is being scanned. `carry`: it will be old, and its card must say so if the slot refers to a young object. Slots of
 * settled objects wait only as long as they leave room for those of copies, for which the stacks are made. (A marking that goes on between
 * pauses comes here too, and leaves young objects alone.) */
static inline __attribute__((always_inline)) void slot_scan(struct gc_tracer *tracer, uint64_t slot, bool carry, enum scan_of of)
{
    uint64_t off = mm_load_relaxed((const uint64_t *)(tracer->base + slot)) - tracer->bias;
    if (off >= tracer->bytes || off % MM_GRANULE_BYTES != 0)
        return;
    switch ((enum gc_space)mm_load_relaxed(&tracer->space[off >> MM_BLOCK_SHIFT])) {
    case GC_YOUNG:
        if (of == OF_SETTLED && !tracer->young_settled)
            break;
        if (of == OF_SETTLED && tracer->grey.count >= GC_GREY_SETTLED)
            slot_settle_now(tracer, slot, off);
        else
            slot_put(tracer, slot, off);
        break;
    case GC_TO:
        if (carry)
            trace_carry(tracer, slot);
        break;
    case GC_EVAC:
        if (tracer->evacuating) {
            if (of == OF_SETTLED && tracer->grey.count >= GC_GREY_SETTLED)
                slot_settle_now(tracer, slot, off);
            else
                slot_put(tracer, slot, off);
            break;
        }
        if (carry && tracer->recording)
            evac_note(tracer, slot);
        /* fall through */
    case GC_OLD:
    case GC_LARGE:
        if (of == OF_SETTLED ? tracer->mark_settled : of == OF_MOVED || tracer->mark_copies)
            mark_soon(tracer, off);
        break;
    default:
        break;
    }
}

/* ---- Objects ---- */

static void lists_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t payload, uint64_t bytes, uint64_t from, uint64_t to, bool carry, enum scan_of of)
{
    for (uint32_t i = 0; i < type->refs; i++) {
        uint64_t at = payload + type->ref[i];
        if (at >= from && at < to)
            slot_scan(tracer, at, carry, of);
    }
    if (!type->element_refs)
        return;
    uint64_t first = payload + type->bytes, elements = (bytes - type->bytes) / type->element_bytes, i = 0;
    if (from > first)
        i = (from - first) / type->element_bytes;
    for (; i < elements && first + i * type->element_bytes < to; i++)
        for (uint32_t r = 0; r < type->element_refs; r++) {
            uint64_t at = first + i * type->element_bytes + type->ref[type->refs + r];
            if (at >= from && at < to)
                slot_scan(tracer, at, carry, of);
        }
}

/* An object whose references are weak.c's: whole, or, of an old object, one card of it. A card is remembered as its offset with bit 0 set, and its
 * object behind it; an ephemeron's pairs may lie on two cards, so it is remembered whole, and once. */
static void weak_later(struct gc_tracer *tracer, uint64_t off, bool weak, uint64_t from, uint64_t to)
{
    struct gc_stack *later = weak ? &tracer->weak : &tracer->ephemerons;
    bool whole = from == 0 && to == UINT64_MAX, fine;
    if (!weak && !whole && bit_claim(tracer->parallel, &gc_block(tracer->gc, (uint32_t)(off >> MM_BLOCK_SHIFT))->done[trace_granule(off) / 64], trace_granule(off)))
        return;
    fine = stack_push_grow(later, off);
    if (weak && !whole)
        fine = fine && stack_push_grow(later, from | 1);
    if (!fine)
        mm_store_relaxed(&tracer->gc->lie, "no memory for its weak objects");
}

static inline bool leads_to_young(const struct gc_tracer *tracer, uint64_t slot)
{
    uint64_t off = mm_load_relaxed((const uint64_t *)(tracer->base + slot)) - tracer->bias;
    uint8_t space = off < tracer->bytes ? mm_load_relaxed(&tracer->space[off >> MM_BLOCK_SHIFT]) : (uint8_t)GC_NOWHERE;
    return space == GC_YOUNG || space == GC_TO;
}

/* Scans the slots in [from, to) of an object whose header, judged, is `word0`. */
static inline __attribute__((always_inline)) void scan_as(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, uint64_t from, uint64_t to, bool carry, enum scan_of of)
{
    uint64_t payload = off + MM_HEADER_BYTES, bytes = mm_header_bytes(word0);
    if (UNLIKELY(type->flags != 0)) {
        weak_later(tracer, off, type->flags & TYPE_WEAK, from, to);
        return;
    }
    if (UNLIKELY(type->scan == GC_SCAN_LISTS)) {
        lists_scan(tracer, type, payload, bytes, from, to, carry, of);
        return;
    }
    for (uint64_t mask = type->mask; mask; mask &= mask - 1) {
        uint64_t at = payload + (uint64_t)__builtin_ctzll(mask) * 8;
        if (at >= from && at < to)
            slot_scan(tracer, at, carry, of);
    }
    if (type->scan == GC_SCAN_VECTOR) {
        uint64_t at = payload + type->bytes, end = payload + (bytes & ~(uint64_t)7);
        bool young_only = of == OF_SETTLED && !tracer->mark_settled && !tracer->evacuating && !tracer->recording;
        for (at = at < from ? from : at, end = end < to ? end : to; at < end; at += 8)
            if (!young_only || leads_to_young(tracer, at))              /* cards of a table: hardly one of their words does */
                slot_scan(tracer, at, carry, of);
    }
}

/* A copied or kept object, as its header was when it was judged. */
static inline __attribute__((always_inline)) void copy_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, bool carry, enum scan_of of)
{
    if (type->scan != GC_SCAN_NONE)
        scan_as(tracer, type, off, word0, 0, UINT64_MAX, carry, of);
}

/* The type of the old or large object at `off`, if its header makes sense; else the heap is condemned. */
static inline const struct gc_type *old_judge(struct gc_tracer *tracer, uint64_t off, uint64_t word0)
{
    const struct gc_type *type = &tracer->type[mm_header_type(word0)];
    if (LIKELY(trace_header_sane(tracer->gc, off, word0) && (type->scan == GC_SCAN_NONE || mm_header_bytes(word0) >= type->bytes)))
        return type;
    mm_store_relaxed(&tracer->gc->lie, "the header of an old object was overwritten");
    return NULL;
}

void trace_old_object(struct gc_tracer *tracer, uint64_t off, uint64_t from, uint64_t to)
{
    uint64_t word0 = trace_header(tracer->gc, off);
    const struct gc_type *type = old_judge(tracer, off, word0);
    if (type && type->scan != GC_SCAN_NONE)
        scan_as(tracer, type, off, word0, from, to, true, OF_SETTLED);
}

void trace_old_word(struct gc_tracer *tracer, uint64_t at) { slot_scan(tracer, at, true, OF_SETTLED); }

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

/* The slots in [from, to) of an object that is where it was. */
static inline __attribute__((always_inline)) void settled_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, uint64_t from, uint64_t to)
{
    if (UNLIKELY(tracer->fixed && !type->flags))
        fixed_scan(tracer, type, off, word0, from, to);
    else
        scan_as(tracer, type, off, word0, from, to, true, OF_SETTLED);
}

static void large_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, uint64_t from)
{
    uint64_t to = from + PIECE_BYTES, end = off + mm_object_extent(mm_header_bytes(word0));
    if (to < end && !type->flags)
        marked_push(tracer, to | MARKED_PIECE);         /* one that holds millions of references must not hold up everything else, and comes after what this piece refers to */
    settled_scan(tracer, type, off, word0, from == off ? 0 : from, to < end ? to : UINT64_MAX);
}

static void marked_piece_scan(struct gc_tracer *tracer, uint64_t at)
{
    struct gc *gc = tracer->gc;
    uint32_t block = (uint32_t)(at >> MM_BLOCK_SHIFT), head = gc_block(gc, block)->large_head;
    uint64_t off = gc_off(head), word0;
    if (gc_space(gc, block) != GC_LARGE || gc_space(gc, head) != GC_LARGE)
        return;
    word0 = trace_header(gc, off);
    const struct gc_type *type = old_judge(tracer, off, word0);
    if (type && type->scan != GC_SCAN_NONE)
        large_scan(tracer, type, off, word0, at);
}

void trace_storage_push(struct gc_tracer *tracer, uint64_t off, uint64_t piece) { marked_push(tracer, piece << STORAGE_PIECE_SHIFT | off | MARKED_STORAGE); }

static void marked_storage_scan(struct gc_tracer *tracer, uint64_t entry)
{
    uint64_t off = storage_owner(entry);
    const struct gc_type *type = old_judge(tracer, off, trace_header(tracer->gc, off));
    if (type)
        fixed_storage_scan(tracer, type, off, entry >> STORAGE_PIECE_SHIFT);
}

static inline void marked_scan(struct gc_tracer *tracer, uint64_t off)
{
    if (UNLIKELY(off & MARKED_STORAGE)) {
        marked_storage_scan(tracer, off);
        return;
    }
    if (UNLIKELY(off & MARKED_PIECE)) {
        marked_piece_scan(tracer, off & ~(uint64_t)MARKED_PIECE);
        return;
    }
    uint64_t word0 = trace_header(tracer->gc, off), extent = mm_object_extent(mm_header_bytes(word0));
    const struct gc_type *type = old_judge(tracer, off, word0);
    if (!type || type->scan == GC_SCAN_NONE)
        return;
    if (extent > MM_LARGE_BYTES && !type->flags)
        large_scan(tracer, type, off, word0, off);
    else
        settled_scan(tracer, type, off, word0, 0, UINT64_MAX);
}

/* Brings what waits on the stacks to the queue, where its memory is fetched. */
static inline __attribute__((always_inline)) bool queue_fill(struct gc_tracer *tracer)
{
    while (tracer->queue_count < GC_QUEUE) {
        struct gc_waiting next = { GC_NO_SLOT, 0 };
        if (tracer->grey.count) {
            next.slot = tracer->grey.word[--tracer->grey.count];
            next.off = trace_off(tracer->gc, mm_load_relaxed((const uint64_t *)(tracer->base + next.slot)));
            if (UNLIKELY(next.off == TRACE_NONE))
                continue;               /* its client runs while it says that it is stopped */
        } else if (tracer->mark_settled && tracer->marked.count) {
            next.off = tracer->marked.word[--tracer->marked.count];
        } else if (tracer->seen_count) {
            seen_empty(tracer);
            continue;
        } else if (tracer->waiting && waiting_take(tracer)) {
            continue;
        } else {
            break;
        }
        __builtin_prefetch(tracer->base + next.off, 1);
        tracer->queue[(tracer->queue_head + tracer->queue_count++) % GC_QUEUE] = next;
    }
    return tracer->queue_count > 0;
}

void trace_queue_empty(struct gc_tracer *tracer)
{
    seen_empty(tracer);
    for (; tracer->queue_count; tracer->queue_count--) {
        struct gc_waiting next = tracer->queue[tracer->queue_head++ % GC_QUEUE];
        if (next.slot == GC_NO_SLOT)
            stack_push(&tracer->marked, next.off);
        else
            stack_push(&tracer->grey, next.slot);
    }
}

static inline __attribute__((always_inline)) bool drain_as(struct gc_tracer *tracer, bool parallel)
{
    for (unsigned i = 0, round = tracer->gc->drain_round; i < round; i++) {
        if (!queue_fill(tracer))
            return false;
        struct gc_waiting next = tracer->queue[tracer->queue_head++ % GC_QUEUE];
        tracer->queue_count--;
        if (next.slot != GC_NO_SLOT) {
            slot_settle(tracer, next.slot, next.off, parallel);
            continue;
        }
        marked_scan(tracer, next.off);
        if (UNLIKELY(next.off & (MARKED_PIECE | MARKED_STORAGE)))
            break;                      /* as much work as a round of objects */
    }
    return true;
}

static bool drain_alone(struct gc_tracer *tracer) { return drain_as(tracer, false); }
static bool drain_together(struct gc_tracer *tracer) { return drain_as(tracer, true); }
static bool drain_some(struct gc_tracer *tracer) { return tracer->parallel ? drain_together(tracer) : drain_alone(tracer); }

/* The mark stack was full: scan again every marked object of the blocks whose objects could not be pushed. */
static void rescan(struct gc_tracer *tracer)
{
    struct gc *gc = tracer->gc;
    uint32_t blocks = gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    tracer->starved = false;
    for (uint32_t b = 0; b < blocks; b++) {
        struct gc_block *side = gc_block(gc, b);
        if (!(mm_load_relaxed(&side->flags) & GC_RESCAN))
            continue;
        gc_flag_clear(side, GC_RESCAN);         /* others may set it, and others, meanwhile */
        for (uint32_t w = 0; w < GC_BLOCK_WORDS; w++)
            for (uint64_t bits = mm_load_relaxed(&side->bits[w].mark); bits; bits &= bits - 1) {
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
        if (tracer->starved && tracer->mark_settled)
            rescan(tracer);
    } while (trace_waits(tracer));
    return true;
}
