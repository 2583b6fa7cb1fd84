/* limit.c — another bound for a heap that is open (door: LIMIT in proto/messages.def; other side: daemon/server/limit.c).
 *
 * The daemon may have to collect first. So the caller is NATIVE meanwhile, and the answer is awaited without heap->lock (ask.c). */
#include "client/internal.h"

static int limit_ask(struct morph_heap *heap, uint64_t bytes)
{
    struct mm_message message = { .id = MM_MSG_LIMIT };
    struct morph__awaited awaited = { 0 };
    message.as.limit.limit_bytes = bytes;
    int r = morph__ask(heap, &message, &awaited);
    morph__lock(heap);
    heap->limit_needed_bytes = awaited.needed_bytes;
    morph__unlock(heap);
    return r;
}

/* Spare runs, and what was granted ahead to this thread, count against the bound and are of no use now: back with them, through a slot of our own.
 * False if there was nothing. */
static bool spare_give(struct morph_heap *heap, struct morph__thread *mine)
{
    struct morph__thread *quiet;
    for (; mine && !heap->collected; mine = mine->mine_next)
        morph__ring_drain(mine);
    if (morph__thread_attach_quiet(heap, &quiet) < 0)
        return false;                   /* no slot left: they stay */
    bool any = morph__spare_give(quiet);
    morph__thread_detach_quiet(quiet);
    return any;
}

int morph_heap_set_limit(morph_heap *heap, uint64_t limit_bytes)
{
    if (!heap)
        return MORPH_EINVALID;
    int r = morph_heap_status(heap);
    if (r < 0)
        return r;
    struct morph__thread *mine = morph__native_begin(heap);
    bool lower = limit_bytes < morph__limit_bytes(heap);
    if (lower)
        (void)spare_give(heap, mine);
    r = limit_ask(heap, limit_bytes);
    if (r == MORPH_EINUSE && lower && spare_give(heap, mine))
        r = limit_ask(heap, limit_bytes);       /* granted ahead while we gave back; with the answer that has ended */
    morph__native_end(mine);
    return r;
}
