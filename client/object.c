/* object.c — objects of a thread (morph_new and its family): the dispatcher, and the slow half of the fast path.
 *
 * Collected heaps: young objects into nursery blocks, those of pretenured types and those said to stay into old ones, large ones alone
 * (nursery.c). COMPILER heaps: objects are bumped into runs of the thread, one for what is expected to die young and one for what is said to stay, so that the two do
 * not share blocks. An object that is large for a run gets one of its own. Runs are walkable from outside: header by header up to the
 * cursor in the slot, or up to used_bytes once the run is full. The thread's own. */
#include <string.h>

#include "client/internal.h"
#include "shm/hole.h"
#include "shm/object.h"

static struct morph_bump *bump_of(struct morph__thread *thread, int which)
{
    morph_thread *shared = (morph_thread *)thread->slot;
    return which ? &shared->old : &shared->young;
}

static void run_begin(struct morph__thread *thread, struct mm_run *run, int which, bool zeroed)
{
    if (!zeroed)
        memset((char *)run + MM_RUN_HEADER_BYTES, 0, ((uint64_t)run->blocks << MM_BLOCK_SHIFT) - MM_RUN_HEADER_BYTES);
    *run = (struct mm_run){ .magic = MM_RUN_MAGIC, .use = MM_RUN_THREAD, .blocks = run->blocks, .owner = thread->index, .generation = (uint32_t)which };
}

/* An object with a run to itself: the present run goes on being filled. */
static void *new_alone(struct morph__thread *thread, uint64_t header, uint64_t extent, int which)
{
    struct mm_run *run;
    bool zeroed;
    uint64_t blocks = mm_blocks_for(extent + MM_RUN_HEADER_BYTES);
    if (blocks > morph__limit_bytes(thread->heap) >> MM_BLOCK_SHIFT)
        return morph__thread_fail(thread, MORPH_ENOMEM);
    int r = morph__run_obtain(thread, (uint32_t)blocks, (uint32_t)blocks, &run, &zeroed);
    if (r < 0)
        return morph__thread_fail(thread, r);
    run_begin(thread, run, which, zeroed);
    char *at = (char *)run + MM_RUN_HEADER_BYTES;
    *(volatile uint64_t *)at = header;
    mm_store_relaxed(&run->used_bytes, MM_RUN_HEADER_BYTES + extent);
    return at + MM_HEADER_BYTES;
}

/* A fresh run for a cursor whose run is full. */
static int bump_refill(struct morph__thread *thread, uint64_t extent, int which)
{
    struct mm_run *run;
    struct morph_bump *bump = bump_of(thread, which);
    bool zeroed;
    uint32_t needed = (uint32_t)mm_blocks_for(extent + MM_RUN_HEADER_BYTES);
    uint32_t want = morph__run_next_blocks(thread->heap, thread->run_blocks[which], needed);
    int r = morph__run_obtain(thread, want, needed, &run, &zeroed);
    if (r < 0)
        return r;
    if (thread->run[which])
        mm_store_relaxed(&thread->run[which]->used_bytes, (uint64_t)(bump->cursor - (char *)thread->run[which]));
    run_begin(thread, run, which, zeroed);
    thread->run[which] = run;
    thread->run_blocks[which] = run->blocks;
    bump->limit = bump->cursor = (char *)run + MM_RUN_HEADER_BYTES;
    bump->limit = (char *)run + ((uint64_t)run->blocks << MM_BLOCK_SHIFT);
    return 0;
}

/* In a debug client every allocation comes here; any other comes here at each refill. */
static void stress(struct morph__thread *thread)
{
    if (++thread->allocations % thread->heap->stress == 0)
        (void)morph_collect((morph_thread *)thread->slot, thread->allocations / thread->heap->stress % 8 == 0 ? MORPH_COLLECT_MAJOR : MORPH_COLLECT_MINOR);
}

static void *collected_new(struct morph__thread *thread, uint64_t header, uint64_t extent, int which)
{
    struct morph_bump *bump = bump_of(thread, which);
    bool longer = thread->heap->no_moving && extent > MM_HOLE_SMALL_BYTES && extent > (uint64_t)(bump->limit - bump->cursor);
    if (longer)
        bump = bump_of(thread, 0);              /* nursery.c says why */
    if (thread->heap->stress)
        stress(thread);
    if (extent > MM_LARGE_BYTES) {
        char *at;
        int r = morph__large_obtain(thread, extent, &at);
        if (r < 0)
            return morph__thread_fail(thread, r);
        *(volatile uint64_t *)at = header | (uint64_t)MM_LARGE << 56;
        return at + MM_HEADER_BYTES;
    }
    for (void *object; ;) {
        if (!which && morph__born_old(thread->heap, mm_header_type(header))) {      /* the collection that it waited for may have found that */
            which = 1;
            bump = bump_of(thread, which);
        }
        if ((object = morph_bump_object(bump, header, extent)))
            return object;
        int r = which ? morph__old_refill(thread, extent, longer) : morph__young_refill(thread, extent);
        if (r < 0)
            return morph__thread_fail(thread, r);
    }
}

/* By size and hint. NULL: noted as the thread's error. */
static void *object_try(struct morph__thread *thread, uint64_t header, uint64_t extent, enum morph_hint hint)
{
    int which = hint == MORPH_HINT_LONG || thread->heap->no_moving;
    struct morph_bump *bump = bump_of(thread, which);
    int r = morph__status(thread->heap);
    if (r < 0)
        return morph__thread_fail(thread, r);
    if (thread->heap->collected)
        return collected_new(thread, header, extent, which);
    void *object = morph_bump_object(bump, header, extent);
    if (object)
        return object;
    if (extent > MM_CHUNK_BYTES / 8)
        return new_alone(thread, header, extent, which);
    if ((r = bump_refill(thread, extent, which)) < 0)
        return morph__thread_fail(thread, r);
    return morph_bump_object(bump, header, extent);
}

/* The dispatcher. What is refused is asked for once more when callbacks have had their chance to drop something. */
static void *object_new(struct morph__thread *thread, uint64_t header, uint64_t extent, enum morph_hint hint)
{
    morph__inside_begin();
    void *object = object_try(thread, header, extent, hint);
    morph__inside_end();
    if (object || !morph__last_resort(thread->heap, thread, thread->error))
        return object;
    morph__inside_begin();
    object = object_try(thread, header, extent, hint);
    morph__inside_end();
    return object;
}

void *morph_new_slow(morph_thread *public_thread, morph_type type)
{
    return morph_new_hint(public_thread, type, MORPH_HINT_NONE);
}

void *morph_new_hint(morph_thread *public_thread, morph_type type, enum morph_hint hint)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || !type)
        return NULL;
    if (hint == MORPH_HINT_NONE && mm_load_relaxed(&type->bump_off))
        hint = MORPH_HINT_LONG;
    return object_new(thread, type->header, mm_object_extent(mm_header_bytes(type->header)), hint);
}

/* The payload of a type with `elements` elements; UINT64_MAX if no object can be that large. */
static uint64_t array_bytes(const struct morph__type *type, uint64_t elements)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(elements, (uint64_t)type->element_bytes, &bytes) || bytes > MM_OBJECT_MAX_BYTES - type->bytes)
        return UINT64_MAX;
    return bytes + type->bytes;
}

void *morph_new_array_slow(morph_thread *public_thread, morph_type public_type, uint64_t elements)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    const struct morph__type *type = (const struct morph__type *)public_type;
    if (!thread || !type)
        return NULL;
    uint64_t bytes = array_bytes(type, elements);
    if (bytes == UINT64_MAX)
        return morph__thread_fail(thread, MORPH_ETOOLARGE);
    return object_new(thread, mm_header_make((uint32_t)bytes, (uint16_t)type->id, 0), mm_object_extent((uint32_t)bytes),
                      mm_load_relaxed(&public_type->bump_off) ? MORPH_HINT_LONG : MORPH_HINT_NONE);
}

void *morph_new_bytes_slow(morph_thread *public_thread, uint64_t bytes)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread)
        return NULL;
    if (bytes > MM_OBJECT_MAX_BYTES)
        return morph__thread_fail(thread, MORPH_ETOOLARGE);
    return object_new(thread, mm_header_make((uint32_t)bytes, MM_TYPE_RAW, 0), mm_object_extent((uint32_t)bytes),
                      public_thread->bytes_off ? MORPH_HINT_LONG : MORPH_HINT_NONE);
}
