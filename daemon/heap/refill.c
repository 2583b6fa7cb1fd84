/* refill.c — grants to threads, asked for and ahead. See refill.h.
 *
 * Invariant: a block is in state ARENA before the cell that names it is published. Never waits: a full ring is a reason to stop. */
#include "daemon/heap/refill.h"

#include "client/include/morphmem/error.h"
#include "daemon/os/os.h"
#include "shm/park.h"
#include "shm/ring.h"

#define DEPTH_MAX          4u           /* cells granted ahead, of up to a chunk each */
#define DRAINED_FAST_NS    200000ull
#define DRAINED_SLOW_NS    20000000ull

static uint32_t minimum(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static void publish(struct heap *heap, struct mm_slot *slot, struct slot_end *end, const struct mm_cell *cell)
{
    mm_store_relaxed(&heap->grants, heap->grants + 1);
    if (mm_ring_put(slot, &end->tail, cell))
        mm_unpark(&slot->ring_tail, 1);         /* `asleep` is the client's to clear: see [protocols.wake] */
}

static bool take_gives(struct heap *heap, struct mm_slot *slot, struct slot_end *end, bool *ret_false_testimony)
{
    uint64_t given;
    bool any = false;
    for (unsigned i = 0; i < MM_GIVE_CELLS && mm_give_take(slot, &end->give_head, &given); i++) {
        any = true;
        if (!heap_take_back(heap, (uint32_t)(given >> 32), (uint32_t)given))
            *ret_false_testimony = true;
    }
    return any;
}

/* The thread's request, if there is a new one. */
static bool answer_request(struct heap *heap, struct mm_slot *slot, struct slot_end *end)
{
    uint32_t seq = mm_load_acquire(&slot->request_seq);         /* pairs with the client's store: the words before the number */
    if (seq == end->request_seen || mm_ring_room(slot, end->tail, &end->last_head) == 0)
        return false;
    uint32_t kind = mm_load_relaxed(&slot->request_kind), want = mm_load_relaxed(&slot->request_blocks);
    uint32_t min = mm_load_relaxed(&slot->request_min);
    struct mm_cell cell = { .kind = MM_GRANT_RUN, .seq = seq };
    int r = -MORPH_EMODE;
    if (kind == MM_GRANT_RUN)
        r = min == 0 || want < min ? -MORPH_EINVALID : heap_grant_run(heap, want, min, &cell.block, &cell.count);
    if (r < 0) {
        heap->retry |= r == HEAP_LATER_MAIL;
        return r == HEAP_LATER_WORK;
    }
    if (r) {
        cell = (struct mm_cell){ .kind = MM_GRANT_REFUSED, .seq = seq, .block = (uint32_t)r };
        mm_store_relaxed(&heap->refusals, heap->refusals + 1);
    }
    end->request_seen = seq;
    publish(heap, slot, end, &cell);
    return true;
}

static void adapt_depth(struct slot_end *end, uint64_t now)
{
    uint64_t took = now - end->filled_ns;
    if (end->depth == 0 || took > DRAINED_SLOW_NS)
        end->depth = 1;
    else if (took < DRAINED_FAST_NS && end->depth < DEPTH_MAX)
        end->depth *= 2;
}

/* Grants what the thread says that it will want next. The last quarter of the bound is for those who ask. */
static bool grant_ahead(struct heap *heap, struct mm_slot *slot, struct slot_end *end)
{
    uint32_t wish = minimum(mm_load_relaxed(&slot->wish_blocks), MM_CHUNK_BLOCKS);
    if (wish == 0)
        return false;
    uint32_t room = mm_ring_room(slot, end->tail, &end->last_head);
    uint32_t queued = MM_RING_CELLS - room;
    if (room == 0 || (queued && queued >= end->depth))
        return false;
    if (queued == 0)
        adapt_depth(end, os.now_ns());
    uint64_t limit = heap->limit_blocks;
    bool any = false;
    for (; queued < end->depth && heap->granted_blocks + wish <= limit / 4 * 3; queued++) {
        struct mm_cell cell = { .kind = MM_GRANT_RUN };
        if (heap_grant_run(heap, wish, 1, &cell.block, &cell.count) != 0)
            break;                              /* nobody asked: nobody is told */
        publish(heap, slot, end, &cell);
        mm_store_relaxed(&heap->grants_ahead, heap->grants_ahead + 1);
        end->filled_ns = os.now_ns();
        any = true;
    }
    return any;
}

bool refill_serve(struct heap *heap, bool *ret_false_testimony)
{
    uint32_t high = minimum(mm_load_relaxed(&heap->control->slots_high), heap->slot_count);
    bool any = false;
    heap->retry = false;
    for (uint32_t i = 0; i < high && !*ret_false_testimony; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        struct slot_end *end = &heap->slot[i];
        any |= take_gives(heap, slot, end, ret_false_testimony);
        any |= answer_request(heap, slot, end);
        any |= grant_ahead(heap, slot, end);
    }
    return any;
}
