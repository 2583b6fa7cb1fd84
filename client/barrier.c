/* barrier.c — the slow halves of stores, and stores of many references (other side: daemon/gc/remset.c; DESIGN D11, PROTOCOLS 4 and 5).
 *
 * The order is: log what is overwritten (while marking), store, look at the card. A thread's own; no access needs an order of its own, since
 * logs and cards are read in pauses only. */
#include <string.h>

#include "client/internal.h"

static uint8_t *card_of(const morph_thread *thread, const void *slot) { return (uint8_t *)(thread->card_base + ((uintptr_t)slot >> MORPH_CARD_SHIFT)); }

/* A clean card becomes dirty, and the log says so; a full log says that bytes must be looked at. */
void morph_card_slow(morph_thread *thread, void *slot)
{
    mm_store_relaxed(card_of(thread, slot), (uint8_t)MM_CARD_DIRTY);
    if (thread->card_count < MM_CARD_LOG)
        mm_slot_card_log((struct mm_slot *)thread)[thread->card_count++] = (uint32_t)(((uintptr_t)slot >> MORPH_CARD_SHIFT) - thread->first_card);
    else
        thread->card_overflow = 1;
}

static void card_touch(morph_thread *thread, void *slot)
{
    if (mm_load_relaxed(card_of(thread, slot)) == MM_CARD_CLEAN)
        morph_card_slow(thread, slot);
}

void morph_overwrite_slow(morph_thread *thread, void *slot)
{
    (void)thread;                       /* no collection marks while threads run: see docs/design/protocols.md [protocols.overwritten] */
    (void)slot;
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

/* The cards of [to, to + count): one look a card. */
static void cards_touch(morph_thread *thread, void *to, uint64_t count)
{
    char *at = to, *end = at + count * sizeof(void *);
    while (at < end) {
        card_touch(thread, at);
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

void *morph_weak_read(morph_thread *thread, const void *slot)
{
    (void)thread;                       /* as above */
    return *(void *const volatile *)slot;
}
