/* remset.c — references from old objects to young ones (DESIGN D11, R1 to R5).
 *
 * Threads log the index of a card with the first store into it, when its byte says into which word, and make it DIRTY with the second. A pause first
 * drains all logs into bits of the blocks' sides ("carried"), then scans the carried cards, or that word alone: one that still refers to a young
 * object afterwards stays carried and is DIRTY, any other becomes CLEAN.
 * Invariant outside of pauses: a card of an old block that is not CLEAN is carried, or in a log, or covered by an overflow flag.
 * Objects that threads put into old holes themselves are holes.c's: their initialising stores left no card.
 * Touches client memory: inside a guard. The heap's worker. */
#include "daemon/gc/trace.h"
#include "shm/ring.h"

#define WORDS_AHEAD      16u            /* words whose memory is being fetched */

static uint8_t *cards(const struct gc *gc) { return mm_control_cards(gc->heap->control, gc->heap->slot_count, gc->heap->space_count); }

void gc_cards_fill(struct gc *gc, uint32_t block, uint32_t blocks, uint8_t value)
{
    __builtin_memset(cards(gc) + (uint64_t)block * GC_BLOCK_CARDS, value, (uint64_t)blocks * GC_BLOCK_CARDS);
}

/* ---- Logs ---- */

static bool space_is_old(const struct gc *gc, uint64_t block) { return gc_space_settled((enum gc_space)gc->space[block]); }

static void card_note(struct gc *gc, uint64_t card)
{
    if (card >> (MM_BLOCK_SHIFT - MM_CARD_SHIFT) < (uint64_t)gc->heap->mapped_chunks * MM_CHUNK_BLOCKS &&
        space_is_old(gc, card >> (MM_BLOCK_SHIFT - MM_CARD_SHIFT)))
        (void)trace_carry_logged(&gc->tracer[0], card << MM_CARD_SHIFT);
}

/* Some log was full: the bytes of all old blocks say which cards changed, nearly all of them that theirs did not. */
static void bytes_drain(struct gc *gc)
{
    const uint64_t ones = UINT64_MAX / 255, *word = (const uint64_t *)cards(gc);
    uint64_t blocks = (uint64_t)gc->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    for (uint64_t block = 0; block < blocks; block++, word += GC_BLOCK_CARDS / 8)
        for (unsigned w = 0; space_is_old(gc, block) && w < GC_BLOCK_CARDS / 8; w++) {
            uint64_t bytes = mm_load_relaxed(&word[w]);
            if (bytes == ones * MM_CARD_CLEAN)
                continue;
            for (unsigned i = 0; i < 8; i++)
                if ((uint8_t)(bytes >> 8 * i) != MM_CARD_CLEAN)
                    card_note(gc, block * GC_BLOCK_CARDS + w * 8 + i);
        }
}

void remset_drain(struct gc *gc)
{
    bool overflow = false;
    uint32_t high = mm_load_relaxed(&gc->heap->control->slots_high);
    for (uint32_t i = 0; i < high && i < gc->heap->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, i);
        uint32_t count = mm_load_relaxed(&slot->card_count);
        if (count > MM_CARD_LOG) {
            overflow = true;            /* no honest log is so long: believe the bytes */
            count = 0;
        }
        for (uint32_t n = 0; n < count; n++)
            card_note(gc, mm_load_relaxed(&mm_slot_card_log(slot)[n]));
        overflow |= mm_load_relaxed(&slot->card_overflow) != 0;
        mm_store_relaxed(&slot->card_count, 0);
        mm_store_relaxed(&slot->card_overflow, 0);
    }
    if (overflow)
        bytes_drain(gc);
}

/* ---- Cards ---- */

/* `marked`: only objects that are. */
static void old_card_scan(struct gc *gc, uint32_t block, uint32_t card, bool marked)
{
    const struct gc_block *side = gc_block(gc, block);
    bool by_marks = marked || gc_by_marks(side);
    uint64_t base = gc_off(block), from = base + card * MM_CARD_BYTES, to = from + MM_CARD_BYTES;
    uint32_t first = card * (MM_CARD_BYTES / MM_GRANULE_BYTES), granule;
    if (gc_start_before(side, by_marks, first, &granule)) {
        uint64_t off = base + granule * MM_GRANULE_BYTES;
        if (off + mm_object_extent(mm_header_bytes(trace_header(gc, off))) > from)
            trace_old_object(&gc->tracer[0], off, from, to);
    }
    for (uint32_t i = first; i < first + MM_CARD_BYTES / MM_GRANULE_BYTES; i++)
        if (gc_starts(side, by_marks, i / 64) >> i % 64 & 1)
            trace_old_object(&gc->tracer[0], base + i * MM_GRANULE_BYTES, from, to);
}

static void large_card_scan(struct gc *gc, uint32_t block, uint32_t card, bool marked)
{
    uint32_t head = gc_block(gc, block)->large_head;
    if (marked && !GC_BIT(gc_block(gc, head), mark, 0))
        return;
    uint64_t from = gc_off(block) + card * MM_CARD_BYTES;
    if (gc_block(gc, head)->large_blocks == 0 || !GC_BIT(gc_block(gc, head), start, 0))
        return;
    if (mm_header_flags(trace_header(gc, gc_off(head))) & MM_BORN)      /* else it is granted and not yet written */
        trace_old_object(&gc->tracer[0], gc_off(head), from, from + MM_CARD_BYTES);
}

void remset_trace_card(struct gc *gc, uint32_t block, uint32_t card, bool marked)
{
    if (gc->space[block] == GC_EVAC && gc->evacuating)
        return;                         /* what is alive of it is scanned as it is moved; its `done` bits are claims now */
    if (gc->space[block] == GC_LARGE)
        large_card_scan(gc, block, card, marked);
    else if (space_is_old(gc, block))
        old_card_scan(gc, block, card, marked);
}

void remset_fetch_card(const struct gc *gc, uint32_t block, uint32_t first, uint64_t cards)
{
    if (!cards)
        return;
    const char *at = gc->heap->view.base + gc_off(block) + (first + (uint32_t)__builtin_ctzll(cards)) * MM_CARD_BYTES;
    for (unsigned i = 0; i < MM_CARD_BYTES / 64; i++)
        __builtin_prefetch(at + i * 64);
}

/* The next carried card, if all of it will be looked at. */
static void fetch_dirty(const struct gc *gc, uint32_t block, uint32_t first, uint64_t carried)
{
    if (carried && mm_load_relaxed(&cards(gc)[(uint64_t)block * GC_BLOCK_CARDS + first + (uint32_t)__builtin_ctzll(carried)]) == MM_CARD_DIRTY)
        remset_fetch_card(gc, block, first, carried);
}

/* Does the word lie in an object whose references are not to be followed? */
static bool word_is_weak(const struct gc *gc, uint32_t block, uint64_t at)
{
    uint64_t off = gc_off(gc_block(gc, block)->large_head);
    uint32_t granule;
    if (gc->space[block] != GC_LARGE) {
        const struct gc_block *side = gc_block(gc, block);
        if (!gc_start_before(side, gc_by_marks(side), trace_granule(at), &granule))
            return false;
        off = gc_off(block) + granule * MM_GRANULE_BYTES;
    }
    uint32_t type = mm_header_type(trace_header(gc, off));
    return type < gc->type_count && gc->type[type].flags;
}

/* Words of cards that only one store was made into since the last pause: their memory is fetched while others are looked at. */
struct words { uint32_t count; uint64_t at[WORDS_AHEAD]; };

static void words_trace(struct gc *gc, struct words *words)
{
    for (uint32_t i = 0; i < words->count; i++)
        trace_old_word(&gc->tracer[0], words->at[i]);
    words->count = 0;
}

/* Scans one carried card. What it finds young carries the card again. */
static void card_trace(struct gc *gc, uint32_t block, uint32_t card, struct words *words)
{
    struct gc_block *side = gc_block(gc, block);
    uint8_t *byte = &cards(gc)[(uint64_t)block * GC_BLOCK_CARDS + card], was = mm_load_relaxed(byte);
    uint64_t at = gc_off(block) + card * MM_CARD_BYTES + (uint64_t)(uint8_t)(was - MM_CARD_SLOT) * 8;
    gc_bit_clear(side->carry, card);
    mm_store_relaxed(byte, (uint8_t)MM_CARD_CLEAN);
    gc->receipt.cards++;
    if ((uint8_t)(was - MM_CARD_SLOT) >= MM_CARD_WORDS || !space_is_old(gc, block) || (gc->weak_types && word_is_weak(gc, block, at))) {
        remset_trace_card(gc, block, card, false);
        return;
    }
    if (gc->space[block] == GC_EVAC && gc->evacuating)
        return;                         /* as there */
    __builtin_prefetch(gc->heap->view.base + at);
    words->at[words->count++] = at;
    if (words->count == WORDS_AHEAD)
        words_trace(gc, words);
}

void remset_trace(struct gc *gc)
{
    uint32_t *chunk = gc->dirty_chunk, chunks = gc->dirty_chunks;
    gc->dirty_chunk = gc->dirty_chunk_spare;            /* carrying again goes into the other list */
    gc->dirty_chunk_spare = chunk;
    gc->dirty_chunks = 0;
    for (uint32_t i = 0; i < chunks; i++)
        gc->chunk_dirty[chunk[i]] = 0;
    struct words words = { .count = 0 };
    for (uint32_t i = 0; i < chunks; i++)
        for (uint32_t block = chunk[i] * MM_CHUNK_BLOCKS; block < (chunk[i] + 1) * MM_CHUNK_BLOCKS; block++)
            for (uint32_t w = 0; w < GC_BLOCK_CARDS / 64; w++)
                for (uint64_t bits = gc_block(gc, block)->carry[w]; bits; bits &= bits - 1) {
                    fetch_dirty(gc, block, w * 64, bits & (bits - 1));
                    card_trace(gc, block, w * 64 + (uint32_t)__builtin_ctzll(bits), &words);
                }
    words_trace(gc, &words);
}

/* A marking visits every live old object anyway: what is carried is found anew, and what dead objects refer to is not kept alive. */
void remset_forget(struct gc *gc)
{
    for (uint32_t i = 0; i < gc->dirty_chunks; i++) {
        uint32_t chunk = gc->dirty_chunk[i];
        gc->chunk_dirty[chunk] = 0;
        for (uint32_t block = chunk * MM_CHUNK_BLOCKS; block < (chunk + 1) * MM_CHUNK_BLOCKS; block++)
            for (uint32_t w = 0; w < GC_BLOCK_CARDS / 64; w++)
                for (uint64_t *carried = &gc_block(gc, block)->carry[w]; *carried; *carried &= *carried - 1)
                    if (space_is_old(gc, block))
                        mm_store_relaxed(&cards(gc)[(uint64_t)block * GC_BLOCK_CARDS + w * 64 + (unsigned)__builtin_ctzll(*carried)], (uint8_t)MM_CARD_CLEAN);
    }
    gc->dirty_chunks = 0;
}
