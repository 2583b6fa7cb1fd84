/* thread.c — slots: attaching and detaching threads (PROTOCOLS section 2). */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/internal.h"

void *morph__thread_fail(struct morph__thread *thread, int error)
{
    thread->error = error;
    return NULL;
}

static struct mm_slot *slot_claim(struct morph_heap *heap, uint32_t *ret_index)
{
    struct mm_control *control = heap->control;
    for (uint32_t i = 0; i < control->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(control, i);
        if (mm_load_relaxed(&slot->state) != MM_SLOT_FREE || !mm_cas_seq_cst(&slot->state, (uint32_t)MM_SLOT_FREE, (uint32_t)MM_SLOT_NATIVE))
            continue;
        if (control->slots_high <= i)           /* under heap->lock: it only grows */
            mm_store_seq_cst(&control->slots_high, i + 1);      /* pairs with the loads in daemon/gc/handshake.c */
        *ret_index = i;
        return slot;
    }
    return NULL;
}

/* `thread` is on no list and has no slot yet; on success both are so. */
static int attach(struct morph_heap *heap, struct morph__thread *thread)
{
    int r = morph__status(heap);
    if (r < 0)
        return r;
    morph__lock(heap);
    thread->heap = heap;
    thread->slot = slot_claim(heap, &thread->index);
    if (thread->slot) {
        mm_store_relaxed(&thread->slot->tid, (uint32_t)syscall(SYS_gettid));
        thread->slot->client_word = (uintptr_t)thread;
        thread->slot->card_base = (uintptr_t)mm_control_cards(heap->control, heap->control->slot_count, heap->control->space_count) -
                                  ((uintptr_t)heap->base >> MM_CARD_SHIFT);
        thread->slot->first_card = (uintptr_t)heap->base >> MM_CARD_SHIFT;
        thread->next = heap->thread;
        heap->thread = thread;
    }
    morph__unlock(heap);
    if (!thread->slot)
        return MORPH_ETHREADS;
    morph__types_refresh(thread);
    return 0;
}

int morph__thread_attach_quiet(struct morph_heap *heap, struct morph__thread **ret_thread)
{
    struct morph__thread *thread = calloc(1, sizeof *thread);
    if (!thread)
        return MORPH_EMEMORY;
    int r = attach(heap, thread);
    if (r < 0) {
        free(thread);
        return r;
    }
    *ret_thread = thread;
    return 0;
}

int morph_thread_attach(morph_heap *heap, morph_thread **ret_thread)
{
    struct morph__thread *thread;
    if (!heap || !ret_thread)
        return MORPH_EINVALID;
    int r = morph__thread_attach_quiet(heap, &thread);
    if (r < 0)
        return r;
    if (heap->no_moving && (r = morph__fixed_attach(thread)) < 0) {
        morph__thread_detach_quiet(thread);
        return r;
    }
    mm_add_relaxed(&heap->threads, 1);
    morph__inside_begin();
    morph__leave(thread);
    morph__inside_end();
    *ret_thread = (morph_thread *)thread->slot;
    return 0;
}

/* Where the cursors of its last runs stand, for those who count from outside. */
static void publish_runs(struct morph__thread *thread)
{
    uint64_t cursor[2] = { thread->slot->young_cursor, thread->slot->old_cursor };
    for (int i = 0; i < 2; i++)
        if (thread->run[i])
            mm_store_relaxed(&thread->run[i]->used_bytes, cursor[i] - (uintptr_t)thread->run[i]);
}

void morph__thread_detach_quiet(struct morph__thread *thread)
{
    struct morph_heap *heap = thread->heap;
    struct mm_slot *slot = thread->slot;
    mm_store_relaxed(&slot->wish_blocks, 0);
    morph__lock(heap);
    for (struct morph__thread **link = &heap->thread; *link; link = &(*link)->next)
        if (*link == thread) {
            *link = thread->next;
            break;
        }
    slot->client_word = 0;
    morph__unlock(heap);
    mm_store_relaxed(&slot->ambiguous_count, 0);                /* the next owner's roots are not these */
    bool ours = !thread->stack_end || morph__fixed_detach(thread);
    (void)mm_xchg_seq_cst(&slot->state, MM_SLOT_FREE);          /* pairs with the next owner's compare-and-swap */
    morph__roots_free(thread);
    free(thread->seen);
    if (ours)
        free(thread);
}

int morph_thread_detach(morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread)
        return public_thread ? MORPH_EFORKED : 0;
    if (thread->spaces)
        return MORPH_EBUSY;
    struct morph_heap *heap = thread->heap;
    while (thread->root_sets)
        (void)morph_roots_report(public_thread, thread->root_sets->number, NULL, 0);
    /* All that a collection reads is written before the thread counts as stopped. */
    struct mm_slot *slot = thread->slot;
    publish_runs(thread);
    slot->young_cursor = slot->young_limit = slot->old_cursor = slot->old_limit = 0;
    slot->roots_bytes = slot->roots_extra_bytes = 0;
    thread->variables = 0;
    thread->visit = NULL;
    morph__inside_begin();
    morph__enter(thread, MM_SLOT_NATIVE);
    morph__inside_end();
    mm_sub_relaxed(&heap->threads, 1);
    morph__thread_detach_quiet(thread);
    return 0;
}

int morph_thread_error(const morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    return thread ? thread->error : MORPH_EFORKED;
}

morph_heap *morph_thread_heap(const morph_thread *public_thread)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    return thread ? thread->heap : NULL;
}
