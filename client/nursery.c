/* nursery.c — memory of a collected heap for a thread's cursors: young blocks, holes of old blocks, large objects (door: shm/ring.h; other
 * side: daemon/gc/grant.c).
 *
 * A cell brings a few young blocks, or old blocks with the first of their holes; the thread takes them one after the other by itself. While
 * it waits for one kind of cell it may meet others: they are stashed, and what does not fit is dropped, since the next collection takes
 * every cell back that its thread has begun but not put anything into.
 * Every wait is a safepoint. The thread's own. */
#include <string.h>

#include "client/internal.h"
#include "shm/hole.h"

#define LOW_BLOCKS  4u      /* that are left in the ring when the worker is called */

/* ---- Cells ---- */

void morph__stash(struct morph__thread *thread, const struct mm_cell *cell)
{
    if (thread->stash_count < MM_RING_CELLS)
        thread->stash[thread->stash_count++] = *cell;
}

static bool stash_take(struct morph__thread *thread, uint32_t kind, struct mm_cell *ret_cell)
{
    for (uint32_t i = 0; i < thread->stash_count; i++)
        if (thread->stash[i].kind == kind) {
            *ret_cell = thread->stash[i];
            thread->stash_count--;
            memmove(&thread->stash[i], &thread->stash[i + 1], (thread->stash_count - i) * sizeof thread->stash[0]);    /* they are begun in the order in which they were granted */
            return true;
        }
    return false;
}

/* A cell that is not an answer to `seq`: put where it belongs. */
static void cell_put_by(struct morph__thread *thread, const struct mm_cell *cell)
{
    struct morph_heap *heap = thread->heap;
    if (cell->kind == MM_GRANT_RUN) {
        morph__lock(heap);
        morph__spare_put(heap, heap->base + ((uint64_t)cell->block << MM_BLOCK_SHIFT), cell->count, true);
        morph__unlock(heap);
    } else if (cell->kind == MM_GRANT_YOUNG || cell->kind == MM_GRANT_OLD) {
        morph__stash(thread, cell);
    }
}

static int cell_check(struct morph__thread *thread, const struct mm_cell *cell)
{
    if (cell->kind == MM_GRANT_REFUSED || cell->kind == MM_GRANT_DONE)
        return 0;
    int r = morph__cell_map(thread->heap, cell);
    if (r < 0)
        morph__lose(thread->heap, r);
    return r < 0 ? morph__status(thread->heap) : 0;
}

/* `exact`: only what comes in answer will do. */
static int cell_await(struct morph__thread *thread, uint32_t kind, uint32_t want, uint32_t min, bool exact, struct mm_cell *ret_cell)
{
    struct mm_slot *slot = thread->slot;
    uint32_t left, asked = 0;
    bool ahead = !exact && (kind == MM_GRANT_YOUNG || kind == MM_GRANT_OLD);    /* these may come, or have come, without being asked for */
    if (ahead && stash_take(thread, kind, ret_cell))
        return 0;
    for (int r = morph__status(thread->heap); ; r = morph__status(thread->heap)) {
        if (r < 0)
            return r;
        if (mm_ring_take(slot, ret_cell, &left)) {
            __builtin_prefetch(&slot->cell[slot->ring_head % MM_RING_CELLS]);
            if ((r = cell_check(thread, ret_cell)) < 0)
                return r;
            bool answer = asked && ret_cell->seq == asked;
            if (answer && ret_cell->kind == MM_GRANT_REFUSED)
                return -(int)ret_cell->block;
            if (answer || (ahead && ret_cell->kind == kind)) {
                if (ahead && left * ret_cell->count < LOW_BLOCKS)
                    morph__ring_doorbell(thread->heap);         /* there is room for more, and a worker that sleeps needs as long to wake up as we for these */
                return 0;
            }
            cell_put_by(thread, ret_cell);
            continue;
        }
        if (!asked) {
            morph__request_put(slot, kind, want, min);
            asked = slot->request_seq;
        }
        if (thread->heap->no_moving && slot->state == MM_SLOT_RUNNING && morph__ring_look(thread))
            continue;                                           /* its machine stack need not be looked through */
        if (slot->state != MM_SLOT_RUNNING)
            r = morph__ring_wait(thread);                       /* a shared pool's slot, which never runs */
        else {
            morph__enter(thread, MM_SLOT_NATIVE);
            r = morph__ring_wait(thread);
            morph__leave(thread);
        }
        if (r < 0)
            return r;
        if (ahead && stash_take(thread, kind, ret_cell))
            return 0;
    }
}

int morph__cell_await(struct morph__thread *thread, uint32_t kind, uint32_t want, uint32_t min, struct mm_cell *ret_cell)
{
    int r = cell_await(thread, kind, want, min, false, ret_cell);
    if (r == 0 && kind != MM_REQUEST_COLLECT)
        morph__relieved(thread->heap);          /* however the cell came: asked for, ahead, or stashed */
    return r;
}

/* The kernel maps the pages of all its blocks now: one fault after the other takes less than one at a time, and they fall into one moment. A single old block is
 * read anyway, where its hole begins. */
static void cell_touch(const struct morph__thread *thread, const struct mm_cell *cell)
{
    if (cell->kind == MM_GRANT_OLD && cell->count == 1)
        return;
    morph__touch(thread->heap, thread->heap->base + ((uint64_t)cell->block << MM_BLOCK_SHIFT), cell->count);
}

/* ---- Young ---- */

/* What the heap has used before is zeroed here, as holes of old blocks are, by the core that will fill it, and not by the daemon: docs/design/departures.md. */
static void young_begin(struct morph__thread *thread, uint32_t block)
{
    morph_thread *shared = (morph_thread *)thread->slot;
    char *at = thread->heap->base + ((uint64_t)block << MM_BLOCK_SHIFT);
    if (!thread->young_zeroed)
        memset(at, 0, MM_BLOCK_BYTES);
    shared->young = (struct morph_bump){ at, at + MM_BLOCK_BYTES };
}

int morph__young_refill(struct morph__thread *thread, uint64_t extent)
{
    struct mm_cell cell;
    (void)extent;                       /* never more than a block */
    morph_poll((morph_thread *)thread->slot);
    if (!thread->young_rest) {
        int r = morph__cell_await(thread, MM_GRANT_YOUNG, 1, 1, &cell);
        if (r < 0)
            return r;
        thread->young_next = cell.block;
        thread->young_rest = cell.count;
        thread->young_zeroed = cell.zeroed;
        cell_touch(thread, &cell);
    }
    thread->young_rest--;
    young_begin(thread, thread->young_next++);
    return 0;
}

/* ---- Old ----
 *
 * Where objects never move all of them are old, and an object that does not fit the hole at hand would leave it, and all that are too short for it, unused. So
 * longer objects have a cursor of their own, which is the young one, since nothing is young there (overflow allocation: Blackburn and McKinley, "Immix", PLDI 2008). */

static struct morph_bump *old_bump(struct morph__thread *thread, bool longer)
{
    morph_thread *shared = (morph_thread *)thread->slot;
    return longer ? &shared->young : &shared->old;
}

static void old_begin(struct morph__thread *thread, struct morph__old *old, uint32_t block, uint32_t hole)
{
    old->block = thread->heap->base + ((uint64_t)block << MM_BLOCK_SHIFT);
    old->hole = hole;
}

/* Fetches the start of the hole that comes next, where the daemon wrote a while ago: in this block, or in that of the next cell (or of one that lay there before:
 * no harm). */
static void ahead_fetch(const struct morph__thread *thread, const struct morph__old *old)
{
    const struct mm_slot *slot = thread->slot;
    const struct mm_cell *cell = &slot->cell[slot->ring_head % MM_RING_CELLS];
    if (old->hole)
        __builtin_prefetch(old->block + mm_hole_off(old->hole), 1);
    else if (!old->rest)
        __builtin_prefetch(thread->heap->base + ((uint64_t)mm_load_relaxed(&cell->block) << MM_BLOCK_SHIFT) + mm_hole_off(mm_load_relaxed(&cell->hole)), 1);
}

/* The next hole with room for `extent`; false: none left. */
static bool hole_next(struct morph__thread *thread, uint64_t extent, bool longer)
{
    struct morph__old *old = &thread->old[longer];
    struct morph_bump *bump = old_bump(thread, longer);
    mm_fence_release();                 /* whoever sees that the limit is elsewhere sees what was put here: left() in daemon/gc/holes.c */
    while (old->hole || old->rest) {
        if (!old->hole) {
            old->rest--;
            old_begin(thread, old, morph__block_of(thread->heap, old->block) + 1, MM_HOLE_BLOCK);
        }
        uint32_t hole = old->hole;
        char *at = old->block + mm_hole_off(hole);
        const struct mm_hole_links *links = (const struct mm_hole_links *)at;
        uint64_t next = mm_load_relaxed(mm_hole_bytes(hole) < extent ? &links->longer : &links->next);
        old->hole = mm_hole_follows(hole, next) ? (uint32_t)next : 0;
        ahead_fetch(thread, old);
        if (mm_hole_bytes(hole) >= extent) {
            if (!old->zeroed)
                memset(at, 0, mm_hole_bytes(hole));
            *bump = (struct morph_bump){ at, at + mm_hole_bytes(hole) };
            mm_fence_release();         /* and whoever sees an object here sees this limit, or a later one: begun() there */
            return true;
        }
    }
    *bump = (struct morph_bump){ NULL, NULL };
    return false;
}

int morph__old_refill(struct morph__thread *thread, uint64_t extent, bool longer)
{
    struct mm_cell cell;
    if (hole_next(thread, extent, longer))
        return 0;
    morph_poll((morph_thread *)thread->slot);
    morph__types_refresh(thread);         /* no collection need come for a long time: hear here that a type is young again */
    do {
        int r = cell_await(thread, MM_GRANT_OLD, 1, (uint32_t)extent, longer, &cell);
        if (r < 0)
            return r;
        morph__relieved(thread->heap);
        cell_touch(thread, &cell);
        old_begin(thread, &thread->old[longer], cell.block, cell.hole);
        thread->old[longer].rest = cell.count - 1;
        thread->old[longer].zeroed = cell.zeroed;
    } while (!hole_next(thread, extent, longer));
    return 0;
}

void morph__grants_forget(struct morph__thread *thread)
{
    thread->stash_count = thread->young_rest = thread->old[0].rest = thread->old[1].rest = 0;
}

/* ---- Large ---- */

int morph__large_obtain(struct morph__thread *thread, uint64_t extent, char **ret_at)
{
    struct mm_cell cell;
    uint64_t blocks = mm_blocks_for(extent);
    if (blocks > morph__limit_bytes(thread->heap) >> MM_BLOCK_SHIFT)
        return MORPH_ENOMEM;
    int r = morph__cell_await(thread, MM_GRANT_LARGE, (uint32_t)blocks, (uint32_t)blocks, &cell);
    if (r < 0)
        return r;
    *ret_at = thread->heap->base + ((uint64_t)cell.block << MM_BLOCK_SHIFT);
    cell_touch(thread, &cell);
    return 0;
}

int morph_collect(morph_thread *public_thread, enum morph_collection kind)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    struct mm_cell cell;
    if (!thread || (unsigned)kind > MORPH_COLLECT_COMPACT)
        return public_thread && !thread ? MORPH_EFORKED : MORPH_EINVALID;
    if (!thread->heap->collected)
        return MORPH_EMODE;
    morph__inside_begin();
    int r = morph__cell_await(thread, MM_REQUEST_COLLECT, (uint32_t)kind, 0, &cell);
    morph__inside_end();
    return r;
}
