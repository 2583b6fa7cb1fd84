/* barrier.c — the slow halves of stores, and stores of many references (other side: daemon/gc/remset.c; DESIGN D11, PROTOCOLS 4 and 5).
 *
 * The order is: log what is overwritten (while marking), store, look at the card. A thread's own. Cards are read in pauses only; the log of
 * overwritten references is a ring that the daemon empties while the thread runs. */
#include <string.h>

#include "shm/park.h"

#define LOG_SPINS 1000u        /* looks at a full log before sleeping */

#include "client/internal.h"

static uint8_t *card_of(const morph_thread *thread, const void *slot) { return (uint8_t *)(thread->card_base + ((uintptr_t)slot >> MORPH_CARD_SHIFT)); }

/* The log says which card; a full log says that bytes must be looked at. */
static void card_log(morph_thread *thread, void *slot)
{
    if (thread->card_count < MM_CARD_LOG)
        mm_slot_card_log((struct mm_slot *)thread)[thread->card_count++] = (uint32_t)(((uintptr_t)slot >> MORPH_CARD_SHIFT) - thread->first_card);
    else
        thread->card_overflow = 1;
}

/* The first store into a card says which word of it, the second one that it is dirty: most cards of a large table meet no second one before the next
 * pause, which then looks at one word instead of 64. Whoever loses a race for the first makes the second; the winner logs the card. */
void morph_store_slow(morph_thread *thread, void *slot)
{
    uint8_t *card = card_of(thread, slot);
    if (mm_load_relaxed(card) == MM_CARD_CLEAN && mm_cas_seq_cst(card, (uint8_t)MM_CARD_CLEAN, (uint8_t)(MM_CARD_SLOT + (uintptr_t)slot / 8 % MM_CARD_WORDS)))
        card_log(thread, slot);
    else
        mm_store_relaxed(card, (uint8_t)MM_CARD_DIRTY);
}

static void card_touch(morph_thread *thread, void *slot)
{
    if (mm_load_relaxed(card_of(thread, slot)) < MM_CARD_DIRTY)
        morph_store_slow(thread, slot);
}

/* A full log: the thread waits RUNNING until the daemon has taken something out, which it does between two slices and while it waits for threads
 * to stop. A store is no safepoint: docs/design/protocols.md [protocols.overwritten-full]. False: nobody empties it any more. */
static bool overwritten_wait(struct morph__thread *thread, uint64_t head)
{
    struct mm_slot *slot = thread->slot;
    uint64_t tail;
    for (unsigned spins = 0; head - (tail = mm_load_acquire(&slot->overwritten_tail)) >= MM_OVERWRITTEN_LOG; spins++) {
        if (spins == 0 || spins >= LOG_SPINS)
            morph__ring_doorbell(thread->heap);
        if (spins < LOG_SPINS && thread->heap->spin) {
            mm_cpu_relax();
            continue;
        }
        (void)mm_xchg_seq_cst(&slot->overwritten_asleep, 1u);           /* pairs with the load in log_drain() */
        if (mm_load_seq_cst(&slot->overwritten_tail) == tail)
            (void)mm_park((uint32_t *)&slot->overwritten_tail, (uint32_t)tail, MM_PARK_SLICE_NS);
        mm_store_relaxed(&slot->overwritten_asleep, 0u);
        if (morph__look_at_daemon(thread->heap) < 0)
            return false;
    }
    return true;
}

/* What is forgotten when a heap is lost is of no interest to anybody. */
void morph__overwritten_log(struct morph__thread *thread, const void *value)
{
    struct mm_slot *slot = thread->slot;
    uint64_t head = slot->overwritten_head;
    if (head - mm_load_acquire(&slot->overwritten_tail) >= MM_OVERWRITTEN_LOG && !overwritten_wait(thread, head))     /* pairs with the store in log_drain() */
        return;
    mm_store_relaxed(&mm_slot_overwritten(slot)[head % MM_OVERWRITTEN_LOG], (uint64_t)(uintptr_t)value);
    mm_store_release(&slot->overwritten_head, head + 1);                /* pairs with the acquire in log_drain() */
}

void morph_overwrite_slow(morph_thread *public_thread, void *slot)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    const void *value = *(void *const volatile *)slot;
    if (thread && value)
        morph__overwritten_log(thread, value);
}

void *morph_exchange(morph_thread *thread, void *object, void *slot, void *value)
{
    (void)object;
    if (MORPH_UNLIKELY(thread->marking))
        morph_overwrite_slow(thread, slot);
    void *old = mm_xchg_seq_cst((void **)slot, value);
    card_touch(thread, slot);
    return old;
}

bool morph_compare_exchange(morph_thread *thread, void *object, void *slot, void *expected, void *value)
{
    (void)object;
    if (MORPH_UNLIKELY(thread->marking))
        morph_overwrite_slow(thread, slot);
    bool done = mm_cas_seq_cst((void **)slot, expected, value);
    if (done)
        card_touch(thread, slot);
    return done;
}

/* The cards of [to, to + count), all words of them: one look a card. */
static void cards_touch(morph_thread *thread, void *to, uint64_t count)
{
    char *at = to, *end = at + count * sizeof(void *);
    while (at < end) {
        uint8_t *card = card_of(thread, at), was = mm_load_relaxed(card);
        if (was < MM_CARD_DIRTY)
            mm_store_relaxed(card, (uint8_t)MM_CARD_DIRTY);
        if (was == MM_CARD_CLEAN)
            card_log(thread, at);
        at = (char *)(((uintptr_t)at | (MM_CARD_BYTES - 1)) + 1);
    }
}

static void overwrite_many(morph_thread *thread, void **to, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        morph_overwrite_slow(thread, &to[i]);
}

void morph_copy_refs(morph_thread *thread, void *object, void *to, const void *from, uint64_t count)
{
    void *volatile *target = to;
    void *const volatile *source = from;
    (void)object;
    if (MORPH_UNLIKELY(thread->marking))
        overwrite_many(thread, to, count);
    if ((uintptr_t)to - (uintptr_t)from >= count * sizeof(void *))
        for (uint64_t i = 0; i < count; i++)
            target[i] = source[i];
    else
        for (uint64_t i = count; i-- > 0;)
            target[i] = source[i];
    cards_touch(thread, to, count);
}

void morph_fill_refs(morph_thread *thread, void *object, void *to, void *value, uint64_t count)
{
    void *volatile *target = to;
    (void)object;
    if (MORPH_UNLIKELY(thread->marking))
        overwrite_many(thread, to, count);
    for (uint64_t i = 0; i < count; i++)
        target[i] = value;
    cards_touch(thread, to, count);
}

/* What is read becomes strong, and a marking may not have come to it. */
void *morph_weak_read(morph_thread *thread, const void *slot)
{
    void *value = *(void *const volatile *)slot;
    if (MORPH_UNLIKELY(thread->marking))
        morph__strong_again(thread, value);
    return value;
}

void morph__strong_again(morph_thread *public_thread, const void *value)
{
    struct morph__thread *thread = public_thread->marking && value ? morph__thread_of(public_thread) : NULL;
    if (thread)
        morph__overwritten_log(thread, value);
}
