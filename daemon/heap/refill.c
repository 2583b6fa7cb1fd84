/* refill.c — grants to threads, asked for and ahead. See refill.h.
 *
 * Invariant: a block is in state ARENA before the cell that names it is published. Never waits: a full ring is a reason to stop. */
#include "daemon/heap/refill.h"

#include "client/include/morphmem/error.h"
#include "daemon/gc/gc.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "shm/park.h"
#include "shm/ring.h"

#define DEPTH_MAX          4u           /* cells granted ahead, of up to a chunk each */
#define OBJECTS_AHEAD      8u           /* blocks that wait in the ring of a thread that allocates objects; */
#define RING_LASTS_NS      1000000ull   /* of one that makes old objects faster, as many as last so long: the worker may lose its core for a time slice */
#define AHEAD_SHARE        64u          /* of the heap's bound, one in so many wait in all its rings */
#define NAP_LEFT           6u           /* blocks that are left there when the worker comes again, or half; with fewer than four its thread calls */
#define RATE_BLOCKS        4u           /* taken, and the rate is known anew */
#define WAKE_NS            40000ull     /* that it takes a worker to wake up by its timer: 20 to 50 us on a virtual machine */
#define NAP_LEAST_NS       100000ull    /* shorter ones are not worth lying down: a core that halts may come late; */
#define NAP_MOST_NS        20000000ull  /* and for longer ones a call is not too much */
#define LONG_WAIT_NS       1000000ull   /* a request that was not answered for so long is noted in the log */
#define DRAINED_FAST_NS    200000ull
#define DRAINED_SLOW_NS    20000000ull

static uint32_t minimum(uint64_t a, uint64_t b) { return (uint32_t)(a < b ? a : b); }

static void publish(struct heap *heap, struct mm_slot *slot, struct slot_end *end, const struct mm_cell *cell)
{
    end->cell[end->tail % MM_RING_CELLS] = (struct slot_cell){ cell->block, cell->count, cell->kind };
    end->given_blocks += cell->count;
    mm_store_relaxed(&heap->grants, heap->grants + 1);
    mm_store_relaxed(&heap->member.granted_ns, os.now_ns());
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

static int serve_request(struct heap *heap, uint32_t index, uint32_t kind, uint32_t want, uint32_t min, struct mm_cell *cell)
{
    if (kind != MM_GRANT_RUN)
        return heap->gc ? gc_grant(heap->gc, index, kind, want, min, cell) : -MORPH_EMODE;
    if (min == 0 || want < min)
        return -MORPH_EINVALID;
    if (!heap->gc)
        return heap_grant_run(heap, want, min, &cell->block, &cell->count);
    uint64_t room = gc_room_blocks(heap->gc);
    if (gc_in_pause(heap->gc))
        return HEAP_LATER_WORK;
    int r = room < min ? -MORPH_ENOMEM : heap_grant_run(heap, minimum(want, room), min, &cell->block, &cell->count);
    if (r == -MORPH_ENOMEM && gc_at_limit(heap->gc, index, min))
        return HEAP_LATER_WORK;
    if (r == 0)
        heap->slot[index].ladder = 0;
    return r;
}

/* A thread that waited for long, and what for. */
static void wait_note(const struct heap *heap, uint32_t index, const struct slot_end *end, uint32_t kind, uint32_t min)
{
    uint64_t waited = os.now_ns() - end->request_ns;
    if (waited < LONG_WAIT_NS)
        return;
    log_debug("heap", "waited heap=%llu slot=%u waited_us=%llu kind=%u min=%u left_blocks=%llu marking=%u collections=%llu", (unsigned long long)heap->id, index,
              (unsigned long long)waited / 1000, kind, min, (unsigned long long)(heap->gc ? gc_room_blocks(heap->gc) : heap_limit_left(heap)),
              heap->gc && heap->gc->mark_state != MARK_NONE, (unsigned long long)(heap->gc ? heap->gc->cycles : 0));
}

/* The thread's request, if there is a new one. */
static bool answer_request(struct heap *heap, uint32_t index, struct mm_slot *slot, struct slot_end *end)
{
    uint32_t seq = mm_load_acquire(&slot->request_seq);         /* pairs with the client's store: the words before the number */
    if (seq == end->request_seen || mm_ring_room(slot, end->tail, &end->last_head) == 0)
        return false;
    uint32_t kind = mm_load_relaxed(&slot->request_kind), want = mm_load_relaxed(&slot->request_blocks);
    uint32_t min = mm_load_relaxed(&slot->request_min);
    struct mm_cell cell = { .kind = MM_GRANT_RUN };
    if (seq != end->request_now) {
        end->request_now = seq;
        end->request_ns = os.now_ns();
    }
    heap->asking = true;
    int r = serve_request(heap, index, kind, want, min, &cell);
    heap->asking = false;
    if (r < 0) {
        heap->retry |= r == HEAP_LATER_MAIL || r == HEAP_LATER_BUDGET;
        return r == HEAP_LATER_WORK;
    }
    if (r) {
        cell = (struct mm_cell){ .kind = MM_GRANT_REFUSED, .block = (uint32_t)r };
        end->ladder = 0;
        mm_store_relaxed(&heap->refusals, heap->refusals + 1);
    }
    if (kind != MM_REQUEST_COLLECT)
        wait_note(heap, index, end, kind, min);
    balance_answered(heap);
    cell.seq = seq;
    end->request_seen = seq;
    end->ahead_kind = heap->gc && gc_ahead_follows(heap->gc, kind, min) ? kind : MM_GRANT_NONE;
    end->ahead_bytes = min;
    heap->turn = index + 1;
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

static uint32_t queued_blocks(const struct slot_end *end, uint32_t cells)
{
    uint32_t blocks = 0;
    for (uint32_t n = 1; n <= cells; n++)
        blocks += end->cell[(end->tail - n) % MM_RING_CELLS].count;
    return blocks;
}

/* A thread that takes fewer than it did is slower than was known, however few they are. */
static void rate_measure(struct slot_end *end, uint32_t queued)
{
    uint64_t now = os.now_ns(), took = now - end->rate_ns;
    uint32_t taken = end->given_blocks - queued, blocks = taken - end->rate_blocks;
    if (end->rate_ns && blocks < RATE_BLOCKS) {
        if (end->block_ns && took / (blocks + 1) > end->block_ns)
            end->block_ns = took / (blocks + 1);
        return;
    }
    end->block_ns = end->rate_ns ? took / blocks : 0;
    end->rate_blocks = taken;
    end->rate_ns = now;
}

/* Blocks that are to wait in a ring. */
static uint32_t blocks_ahead(const struct heap *heap, const struct slot_end *end)
{
    uint32_t slots = minimum(mm_load_relaxed(&heap->control->slots_high), heap->slot_count);
    uint64_t share = heap->limit_blocks / AHEAD_SHARE, most = share / (slots + 1), ahead = OBJECTS_AHEAD;
    if (end->ahead_kind == MM_GRANT_OLD && end->block_ns && RING_LASTS_NS / end->block_ns > ahead)
        ahead = RING_LASTS_NS / end->block_ns < most ? RING_LASTS_NS / end->block_ns : most > ahead ? most : ahead;
    ahead = ahead < share ? ahead : share;
    return ahead ? minimum(ahead, MM_RING_CELLS) : 1;
}

/* Keeps the ring of a thread that allocates objects filled; one cell. */
static bool objects_ahead(struct heap *heap, uint32_t index, struct mm_slot *slot, struct slot_end *end)
{
    uint32_t room = mm_ring_room(slot, end->tail, &end->last_head);
    struct mm_cell cell;
    if (mm_load_relaxed(&slot->state) == MM_SLOT_FREE) {        /* the slot's next thread may want something else, at another pace */
        end->ahead_kind = MM_GRANT_NONE;
        end->rate_ns = end->block_ns = 0;
    }
    if (!end->ahead_kind || mm_load_relaxed(&slot->request_seq) != end->request_seen || room < 2)
        return false;
    uint32_t queued = queued_blocks(end, MM_RING_CELLS - room);
    rate_measure(end, queued);
    if (queued >= blocks_ahead(heap, end))
        return false;
    if (!gc_grant_ahead(heap->gc, index, end->ahead_kind, end->ahead_bytes, &cell))
        return false;
    publish(heap, slot, end, &cell);
    mm_store_relaxed(&heap->grants_ahead, heap->grants_ahead + 1);
    return true;
}

bool refill_serve(struct heap *heap, bool *ret_false_testimony)
{
    uint32_t high = minimum(mm_load_relaxed(&heap->control->slots_high), heap->slot_count), first = heap->turn;
    bool any = false;
    heap->retry = false;
    for (uint32_t n = 0; n < high && !*ret_false_testimony; n++) {
        uint32_t i = (first + n) % high;
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        any |= take_gives(heap, slot, &heap->slot[i], ret_false_testimony);
        any |= answer_request(heap, i, slot, &heap->slot[i]);
    }
    for (uint32_t i = 0; i < high && !*ret_false_testimony; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        struct slot_end *end = &heap->slot[i];
        if (!heap->gc || gc_room_blocks(heap->gc) > heap->limit_blocks / 4)
            any |= grant_ahead(heap, slot, end);
        if (heap->gc)
            while (objects_ahead(heap, i, slot, end))
                any = true;
    }
    if (any && heap->gc)
        heap_publish(heap);
    return any;
}

uint64_t refill_nap_ns(const struct heap *heap)
{
    uint32_t high = minimum(mm_load_relaxed(&heap->control->slots_high), heap->slot_count);
    uint64_t nap = UINT64_MAX;
    for (uint32_t i = 0; i < high; i++) {
        struct slot_end *end = &heap->slot[i];
        if (!end->ahead_kind)
            continue;
        uint32_t queued = queued_blocks(end, MM_RING_CELLS - mm_ring_room(mm_control_slot(heap->control, i), end->tail, &end->last_head));
        rate_measure(end, queued);
        uint32_t left = queued / 2 > NAP_LEFT ? queued / 2 : NAP_LEFT;
        uint64_t lasts = queued > left ? (queued - left) * end->block_ns : 0;
        nap = lasts < nap ? lasts : nap;
    }
    return nap >= NAP_LEAST_NS + WAKE_NS && nap <= NAP_MOST_NS ? nap - WAKE_NS : 0;
}
