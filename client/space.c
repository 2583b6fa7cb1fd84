/* space.c — entries of arenas and pools in the control area. See shm/space.h. */
#include <string.h>

#include "client/internal.h"

static int entry_claim(struct morph_heap *heap, uint32_t *ret_index)
{
    for (uint32_t word = 0; word < MM_SPACES / 64; word++) {
        if (heap->space_taken[word] == UINT64_MAX)
            continue;
        uint32_t bit = (uint32_t)__builtin_ctzll(~heap->space_taken[word]);
        heap->space_taken[word] |= (uint64_t)1 << bit;
        *ret_index = word * 64 + bit;
        return 0;
    }
    return MORPH_ESPACES;
}

int morph__space_new(struct morph__space *space, morph_thread *owner, enum mm_space_kind kind)
{
    struct morph__thread *thread = morph__thread_of(owner);
    if (!thread)
        return owner ? MORPH_EFORKED : MORPH_EINVALID;
    struct morph_heap *heap = thread->heap;
    int r = morph__status(heap);
    if (r < 0)
        return r;
    morph__lock(heap);
    r = entry_claim(heap, &space->index);
    if (r == 0) {
        space->heap = heap;
        space->thread = thread;
        space->kind = kind;
        space->next = heap->space;
        space->link = &heap->space;
        if (space->next)
            space->next->link = &space->next;
        heap->space = space;
        struct mm_space *shared = space->shared = mm_control_space(heap->control, heap->control->slot_count, space->index);
        uint32_t generation = shared->generation + 1;           /* runs that an earlier owner of the entry left are not ours */
        memset(shared, 0, sizeof *shared);
        shared->client_word = (uintptr_t)space;
        mm_store_relaxed(&shared->generation, generation);
        mm_store_relaxed(&shared->kind, kind);
        if (heap->control->spaces_high <= space->index)
            mm_store_relaxed(&heap->control->spaces_high, space->index + 1);
        thread->spaces++;
    }
    morph__unlock(heap);
    return r;
}

void morph__space_free(struct morph__space *space)
{
    struct morph_heap *heap = space->heap;
    morph__lock(heap);
    *space->link = space->next;
    if (space->next)
        space->next->link = space->link;
    space->thread->spaces--;
    mm_store_relaxed(&space->shared->kind, MM_SPACE_FREE);
    space->shared->client_word = 0;
    space->shared->typed_cursor = space->shared->typed_limit = space->shared->raw_cursor = space->shared->raw_limit = 0;
    heap->space_taken[space->index / 64] &= ~((uint64_t)1 << space->index % 64);
    morph__unlock(heap);
}

int morph__space_adopt(struct morph__space *space, morph_thread *owner)
{
    struct morph__thread *thread = morph__thread_of(owner);
    if (!space || !thread)
        return owner ? MORPH_EFORKED : MORPH_EINVALID;
    if (thread->heap != space->heap)
        return MORPH_EINVALID;
    morph__lock(space->heap);
    space->thread->spaces--;
    space->thread = thread;
    thread->spaces++;
    morph__unlock(space->heap);
    return 0;
}
