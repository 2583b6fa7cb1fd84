/* holes_unit.c — what lies between the objects of old blocks (daemon/gc/holes.c, reclaim.c) against plain models: where holes are, what sweeping
 * leaves, which block a request is given, and whose a block is that is full. */
#include "tests/lib/random.h"
#include "tests/unit/gc_story.h"

#define GRANULES  GC_BLOCK_GRANULES
#define LEAST     2u                    /* granules of the shortest hole that counts */

static const struct sim_options plain = { .limit_bytes = 8 * MIB, .young_bytes = 256 * KIB };

/* A block in which object i takes [from[i], to[i]). */
struct block { uint32_t count; uint16_t from[GRANULES], to[GRANULES]; };

/* Objects of up to `most` granules, with gaps between some; the first and the last granule are taken now and then. */
static void block_draw(struct test_random *random, uint64_t most, uint64_t gap_of_ten, struct block *ret_block)
{
    *ret_block = (struct block){ .count = 0 };
    for (uint32_t at = 0; at < GRANULES;) {
        if (test_random_below(random, 10) < gap_of_ten)
            at += (uint32_t)test_random_size(random, most);
        uint32_t granules = (uint32_t)test_random_size(random, most);
        if (at >= GRANULES)
            return;
        granules = granules < GRANULES - at ? granules : GRANULES - at;
        ret_block->from[ret_block->count] = (uint16_t)at;
        ret_block->to[ret_block->count++] = (uint16_t)(at + granules);
        at += granules;
    }
}

static void side_note(struct gc_block *side, const struct block *block)
{
    for (uint32_t i = 0; i < block->count; i++) {
        GC_BIT_SET(side, start, block->from[i]);
        GC_BIT_SET(side, end, block->to[i] - 1u);
    }
}

/* The same granule by granule; the granules of the longest hole. */
static uint32_t model_holes(const struct block *block, const bool *gone, bool *ret_free)
{
    uint32_t longest = 0;
    for (uint32_t g = 0; g < GRANULES; g++)
        ret_free[g] = true;
    for (uint32_t i = 0; i < block->count; i++)
        for (uint32_t g = block->from[i]; !(gone && gone[i]) && g < block->to[i]; g++)
            ret_free[g] = false;
    for (uint32_t g = 0, from; g < GRANULES; g++) {
        for (from = g; g < GRANULES && ret_free[g]; g++)
            ;
        if (g - from < LEAST && g > from)
            ret_free[from] = false;
        else if (g - from > longest)
            longest = g - from;
    }
    return longest;
}

static void holes_check(const struct gc_block *side, const struct block *block, const bool *gone)
{
    uint64_t holes[GRANULES / 64];
    bool is_free[GRANULES];
    uint32_t longest = model_holes(block, gone, is_free);
    holes_find(side, holes);
    assert_int_equal(holes_longest(holes), longest);
    for (uint32_t g = 0; g < GRANULES; g++)
        assert_int_equal(gc_bit(holes, g), is_free[g]);
}

static void holes_are_what_lies_between_objects(void **state)
{
    struct test_random random = test_random_begin("holes_unit");
    for (unsigned round = 0; round < 3000; round++) {
        static struct gc_block side;
        struct block block;
        memset(&side, 0, sizeof side);
        block_draw(&random, test_random_below(&random, 4) ? 40 : 3000, test_random_below(&random, 11), &block);
        side_note(&side, &block);
        holes_check(&side, &block, NULL);
    }
}

static uint64_t object_put(uint64_t off, uint32_t granules)
{
    *(uint64_t *)(sim.heap->view.base + off) = mm_header_make(granules * MM_GRANULE_BYTES - MM_HEADER_BYTES, 0, MM_BORN);
    return off;
}

/* An old block of the heap that is as drawn. */
static uint32_t block_make(const struct block *block)
{
    struct gc_tracer *tracer = &sim.gc->tracer[0];
    enum gc_to_kind fresh = TO_FRESH;
    sim.gc->from_count = sim.gc->heap->limit_blocks;    /* copies are bounded by what there is to be copied */
    uint64_t off = region_alloc(tracer, &fresh, MM_GRANULE_BYTES);
    assert_true(off != TRACE_NONE);
    uint32_t number = (uint32_t)(off >> MM_BLOCK_SHIFT);
    struct gc_block *side = gc_block(sim.gc, number);
    side_note(side, block);
    for (uint32_t i = 0; i < block->count; i++) {
        object_put(gc_off(number) + block->from[i] * MM_GRANULE_BYTES, (uint32_t)(block->to[i] - block->from[i]));
        side->used_bytes += (uint32_t)(block->to[i] - block->from[i]) * MM_GRANULE_BYTES;
    }
    tracer->region[TO_FRESH][0].at = tracer->region[TO_FRESH][0].begin;
    regions_close(sim.gc, true);
    sim.gc->from_count = 0;
    return number;
}

/* What is marked stays, with the room that it takes, and nothing else does. */
static void sweeping_leaves_what_is_marked(void **state)
{
    struct test_random random = test_random_begin("holes_unit");
    for (unsigned round = 0; round < 300; round++) {
        struct block block;
        bool gone[GRANULES];
        uint32_t live = 0, share = (uint32_t)test_random_below(&random, 11);
        sim_open(&plain);
        block_draw(&random, test_random_below(&random, 4) ? 40 : 1000, test_random_below(&random, 6), &block);
        uint32_t number = block_make(&block);
        struct gc_block *side = gc_block(sim.gc, number);
        if (side->flags & GC_LISTED)
            reclaim_unlist(sim.gc, number);
        for (uint32_t i = 0; i < block.count; i++) {
            gone[i] = test_random_below(&random, 10) < share;
            if (gone[i])
                continue;
            GC_BIT_SET(side, mark, block.from[i]);
            side->live_bytes += (uint32_t)(block.to[i] - block.from[i]) * MM_GRANULE_BYTES;
            live++;
        }
        uint32_t live_bytes = side->live_bytes;
        reclaim_begin_sweep(sim.gc);
        assert_int_equal(sim.gc->unswept_count, 1);
        assert_true(reclaim_sweep_step(sim.gc));
        assert_false(reclaim_sweep_step(sim.gc));
        if (live) {
            holes_check(side, &block, gone);
            assert_int_equal(side->used_bytes, live_bytes);
        }
        assert_int_equal(sim.gc->old_blocks, live != 0);
        assert_int_equal(sim.gc->space[number], live ? GC_OLD : GC_NOWHERE);
        sim_close();
    }
}

/* One object at the start, one at the end, and between them a hole of so many granules, with objects of one granule and holes of one around. */
static uint32_t block_with_hole(uint32_t hole)
{
    struct block block = { .count = 0 };
    for (uint32_t at = 0; at < GRANULES; at += 2) {
        if (at == 512)
            at += hole & ~1u;
        block.from[block.count] = (uint16_t)at;
        block.to[block.count++] = (uint16_t)(at + 1 + (at + 2 == 512 && hole % 2 == 0));
    }
    return block_make(&block);
}

static void a_request_is_given_a_block_that_has_the_hole(void **state)
{
    static const uint32_t hole[] = { 2, 3, 5, 16, 17, 33, 40, 1000 };
    enum { HOLES = sizeof hole / sizeof hole[0] };
    uint32_t block[HOLES];
    sim_open(&plain);
    for (unsigned i = 0; i < HOLES; i++) {
        block[i] = block_with_hole(hole[i]);
        assert_int_equal(gc_block(sim.gc, block[i])->longest, hole[i]);
        assert_true(gc_block(sim.gc, block[i])->flags & GC_LISTED);
    }
    assert_int_equal(sim.gc->listed_count, HOLES);
    assert_int_equal(reclaim_take_listed(sim.gc, 1001 * MM_GRANULE_BYTES), GC_NO_BLOCK);
    assert_int_equal(reclaim_take_listed(sim.gc, 34 * MM_GRANULE_BYTES), block[7]);     /* longer ones: where holes are longest */
    assert_int_equal(reclaim_take_listed(sim.gc, 34 * MM_GRANULE_BYTES), block[6]);
    assert_int_equal(reclaim_take_listed(sim.gc, 34 * MM_GRANULE_BYTES), GC_NO_BLOCK);
    assert_int_equal(reclaim_take_listed(sim.gc, 2 * MM_GRANULE_BYTES - 1), block[1]);  /* small ones: the shortest that will do, as classes go */
    assert_int_equal(reclaim_take_listed(sim.gc, 2 * MM_GRANULE_BYTES), block[0]);
    assert_int_equal(reclaim_take_listed(sim.gc, 6 * MM_GRANULE_BYTES), block[4]);
    assert_int_equal(reclaim_take_listed(sim.gc, 6 * MM_GRANULE_BYTES), block[3]);
    assert_int_equal(reclaim_take_listed(sim.gc, 6 * MM_GRANULE_BYTES), block[5]);
    assert_int_equal(reclaim_take_listed(sim.gc, 6 * MM_GRANULE_BYTES), GC_NO_BLOCK);
    assert_int_equal(sim.gc->listed_count, 1);
    reclaim_list(sim.gc, block[7]);
    reclaim_unlist(sim.gc, block[2]);
    assert_int_equal(reclaim_take_listed(sim.gc, 6 * MM_GRANULE_BYTES), block[7]);
    assert_int_equal(sim.gc->listed_count, 0);
    assert_int_equal(sim.gc->old_free_bytes, 0);
    sim_close();
}

/* From each hole to the next, and to the next that is longer, against a search. */
static void chain_check(const char *block, const uint64_t *holes, uint32_t first)
{
    uint32_t hole[GRANULES / 2], count = 0;
    for (uint32_t from, to = 0; gc_bits_run(holes, to, &from, &to);)
        hole[count++] = mm_hole_make(from, to - from);
    assert_int_equal(first, count ? hole[0] : 0);
    for (uint32_t i = 0; i < count; i++) {
        const struct mm_hole_links *links = (const struct mm_hole_links *)(block + mm_hole_off(hole[i]));
        uint32_t longer = i + 1;
        while (longer < count && mm_hole_bytes(hole[longer]) <= mm_hole_bytes(hole[i]))
            longer++;
        assert_int_equal(links->next, i + 1 < count ? hole[i + 1] : 0);
        assert_int_equal(links->longer, longer < count ? hole[longer] : 0);
    }
}

static void a_chain_leads_to_the_next_hole_and_the_next_longer_one(void **state)
{
    struct test_random random = test_random_begin("holes_unit");
    unsigned chains = 0;
    for (unsigned round = 0; round < 300; round++) {
        struct block block;
        uint64_t holes[GRANULES / 64];
        struct mm_cell cell;
        sim_open(&plain);
        block_draw(&random, test_random_below(&random, 4) ? 40 : 1000, test_random_between(&random, 1, 10), &block);
        uint32_t number = block_make(&block);
        char *memory = sim.heap->view.base + gc_off(number);
        for (uint32_t g = 0; g < GRANULES; g++)             /* what was there before */
            if (*(uint64_t *)(memory + g * MM_GRANULE_BYTES) == 0)
                *(uint64_t *)(memory + g * MM_GRANULE_BYTES + 8) = UINT64_MAX;
        holes_find(gc_block(sim.gc, number), holes);
        if (gc_block(sim.gc, number)->flags & GC_LISTED) {
            chains++;
            assert_int_equal(holes_grant(sim.gc, 0, 1, &cell), 0);
            assert_int_equal(cell.block, number);
            chain_check(memory, holes, cell.hole);
        }
        sim_close();
    }
    assert_true(chains > 100);
}

/* ---- Heaps without moving ---- */

#define SHORT_BYTES  48u                /* with its header 64: blocks are filled to the last byte */
#define LONGER_BYTES 240u

static const struct sim_options fixed = { .limit_bytes = 8 * MIB, .start_bytes = MIB, .no_moving = true };
static morph_type any;
static void **frame;

static morph_thread *fixed_begin(void)
{
    sim_open(&fixed);
    assert_int_equal(morph_type_register(sim.client, &(morph_type_spec){ .name = "any", .element_bytes = 1, .flags = MORPH_TYPE_CONSERVATIVE }, &any), 0);
    morph_thread *thread = sim_attach_quiet();
    frame = morph_frame_push(thread, 8 * sizeof *frame);
    return thread;
}

static void fixed_end(morph_thread *thread)
{
    assert_null(sim.lie);
    morph_frame_pop(thread, frame);
    assert_int_equal(morph_thread_detach(thread), 0);
    sim_close();
}

/* All of it a5, which taken for a header would make no sense. */
static void *object_new(morph_thread *thread, uint32_t bytes)
{
    unsigned char *object = morph_new_array(thread, any, bytes);
    assert_non_null(object);
    assert_true(memory_is(object, 0, bytes));
    return memset(object, 0xa5, bytes);
}

static void everything_collect(morph_thread *thread)
{
    assert_int_equal(morph_collect(thread, MORPH_COLLECT_MAJOR), 0);
    while (sim_background())
        ;
}

static bool is_granted(uint32_t block) { return gc_block(sim.gc, block)->flags & GC_GRANTED; }

/* A thread fills a block with short objects to the last byte and then makes longer ones only: its first cursor's limit stays where it was, and as long as it
 * does the block is not for its other cursor, nor for anybody else. */
static void a_full_block_is_its_threads_while_its_limit_is_there(void **state)
{
    morph_thread *thread = fixed_begin();
    struct mm_slot *slot = (struct mm_slot *)thread;
    frame[0] = object_new(thread, SHORT_BYTES);
    while (slot->old_cursor != slot->old_limit)
        frame[0] = object_new(thread, SHORT_BYTES);
    uint32_t full = sim_block(frame[0]);
    for (unsigned i = 0; i < 3; i++) {
        everything_collect(thread);     /* the first one walks it to its end, the others find nothing more to walk */
        assert_true(is_granted(full));
    }
    frame[1] = object_new(thread, LONGER_BYTES);
    assert_int_not_equal(sim_block(frame[1]), full);
    for (unsigned i = 0; i < 3; i++) {
        frame[2 + i] = object_new(thread, LONGER_BYTES);
        everything_collect(thread);
        assert_true(is_granted(sim_block(frame[2 + i])));
    }
    morph_thread *other = sim_attach_quiet();
    morph_thread *both[2] = { thread, other };
    for (unsigned i = 0; i < 1000; i++) {
        morph_native_enter(both[i % 2]);            /* a thread that does not run is not waited for */
        for (unsigned k = 0; k < 20; k++)
            (void)object_new(both[1 - i % 2], k % 2 ? SHORT_BYTES : LONGER_BYTES);
        morph_native_leave(both[i % 2]);
    }
    morph_native_enter(thread);
    assert_int_equal(morph_thread_detach(other), 0);
    morph_native_leave(thread);
    assert_true(memory_is(frame[0], 0xa5, SHORT_BYTES));
    for (unsigned i = 1; i < 5; i++)
        assert_true(memory_is(frame[i], 0xa5, LONGER_BYTES));
    fixed_end(thread);
}

/* A thread ends without detaching. Its slot's next owner begins with no memory: what the other one was in has been taken back. */
static void a_gone_threads_cursors_are_not_inherited(void **state)
{
    morph_thread *thread = fixed_begin(), *gone = sim_attach_quiet();
    struct mm_slot *slot = (struct mm_slot *)gone;
    sim.heap->pid = getpid();
    (void)object_new(gone, SHORT_BYTES);
    (void)object_new(gone, LONGER_BYTES);
    slot->tid = INT32_MAX;              /* of nobody */
    struct morph__thread *inner = sim.client->thread;
    assert_ptr_equal(inner->slot, slot);
    sim.client->thread = inner->next;
    sim.tick_ns = 100 * MS;             /* it is waited for until the deadline */
    everything_collect(thread);
    assert_int_equal(slot->state, MM_SLOT_FREE);
    assert_ptr_equal(sim_attach_quiet(), gone);
    assert_true(slot->old_cursor == slot->old_limit && slot->young_cursor == slot->young_limit);
    assert_true(memory_is(object_new(gone, SHORT_BYTES), 0xa5, SHORT_BYTES));
    assert_true(is_granted((uint32_t)((slot->old_limit - 1 - (uintptr_t)sim.heap->view.base) >> MM_BLOCK_SHIFT)));
    assert_int_equal(morph_thread_detach(gone), 0);
    free(inner->seen);
    free(inner);
    fixed_end(thread);
}

/* ---- Blocks that were granted ahead ---- */

/* A heap with room in holes alone: a cell for each block. */
static void holes_open(uint64_t limit_bytes)
{
    story_open(limit_bytes, 1);
    root[0] = morph_new_array(me, refs_type, 200000);
    for (uint32_t i = 0; i < 200000; i++) {
        struct node *node = node_new_old(i);
        if (i % 2)
            morph_store(me, root[0], &((struct refs *)root[0])->ref[i], node);
    }
    collect(MORPH_COLLECT_MAJOR);
    settle();
}

static uint32_t left_when_called;

static void left_note(void)
{
    const struct mm_slot *slot = morph__thread_of(me)->slot;
    uint32_t left = slot->ring_tail - slot->ring_head;
    left_when_called = left > left_when_called ? left : left_when_called;
    while (sim_serve())
        ;
}

/* A worker that sleeps is called while there are blocks left in the ring, since it needs a while to wake up. */
static void the_worker_is_called_before_the_ring_is_empty(void **state)
{
    holes_open(64 * MIB);
    left_when_called = 0;
    sim.yield = left_note;
    for (uint32_t i = 0; i < 20000; i++)
        (void)node_new_old(i);
    sim.yield = NULL;
    assert_in_range(left_when_called, 1, 3);
    story_close();
}

static uint32_t block_at_hand(void)
{
    return (uint32_t)((morph__thread_of(me)->slot->old_limit - 1 - (uintptr_t)sim.heap->view.base) >> MM_BLOCK_SHIFT);
}

/* Fills `blocks` old blocks, each in `each_ns`. */
static void blocks_fill(uint32_t blocks, uint64_t each_ns)
{
    while (blocks > 0) {
        uint32_t block = block_at_hand();
        (void)node_new_old(1);
        if (block_at_hand() == block)
            continue;
        world_ns += each_ns;
        blocks--;
    }
}

static uint32_t ring_blocks(void)
{
    const struct mm_slot *slot = morph__thread_of(me)->slot;
    uint32_t blocks = 0;
    for (uint32_t at = slot->ring_head; at != slot->ring_tail; at++)
        blocks += slot->cell[at % MM_RING_CELLS].count;
    return blocks;
}

static uint64_t nap_after_serving(void)
{
    while (sim_serve())
        ;
    return refill_nap_ns(sim.heap);
}

/* A worker that has seen how fast blocks are taken sleeps so long, and comes before the thread has to call. */
static void the_worker_knows_how_long_a_ring_lasts(void **state)
{
    const uint64_t each = 200 * US, wake = 40 * US;
    holes_open(64 * MIB);
    sim.tick_ns = 0;
    (void)node_new_old(0);
    (void)nap_after_serving();
    assert_int_equal(refill_nap_ns(sim.heap), 0);                       /* nothing is known yet */
    for (unsigned i = 0; i < 12; i++) {
        blocks_fill(1, each);
        (void)nap_after_serving();
    }
    assert_int_equal(ring_blocks(), 8);
    assert_int_equal(refill_nap_ns(sim.heap), 2 * each - wake);
    blocks_fill(1, each);                                               /* nobody came */
    assert_int_equal(refill_nap_ns(sim.heap), each - wake);
    blocks_fill(1, each);
    assert_int_equal(refill_nap_ns(sim.heap), 0);
    for (unsigned i = 0; i < 12; i++) {
        blocks_fill(1, each / 4);
        (void)nap_after_serving();
    }
    assert_int_equal(refill_nap_ns(sim.heap), 0);                       /* so fast that it had better stay awake */
    world_ns += 1 * MS;                                                 /* and now none is taken: it is slower than was known */
    uint64_t nap = refill_nap_ns(sim.heap);
    assert_in_range(nap, 200 * US, 3 * MS);
    world_ns += 1000 * MS;
    assert_int_equal(refill_nap_ns(sim.heap), 0);                       /* it may not want anything for a long time */
    story_close();
}

/* Who takes a block in a short time has as many ahead as last a millisecond, within the ring and the heap's share; who is slow, the usual eight. */
static void a_fast_thread_has_more_ahead(void **state)
{
    static const struct { uint64_t limit_bytes, each_ns; uint32_t blocks; } pace[] = {
        { 512 * MIB, 200 * US, 8 }, { 512 * MIB, 100 * US, 10 }, { 512 * MIB, 50 * US, 20 }, { 512 * MIB, 10 * US, 31 }, { 64 * MIB, 10 * US, 8 },
    };
    for (unsigned k = 0; k < sizeof pace / sizeof pace[0]; k++) {
        holes_open(pace[k].limit_bytes);
        sim.tick_ns = 0;
        for (unsigned i = 0; i < 40; i++) {
            blocks_fill(1, pace[k].each_ns);
            (void)nap_after_serving();
        }
        assert_int_equal(ring_blocks(), pace[k].blocks);
        uint32_t high = sim.heap->control->slots_high;
        sim.heap->control->slots_high = UINT32_MAX;                     /* what the client says is judged */
        blocks_fill(1, pace[k].each_ns);
        (void)nap_after_serving();
        assert_in_range(ring_blocks(), 1, MM_RING_CELLS);
        sim.heap->control->slots_high = high;
        story_close();
    }
}

/* A thread that waits for a large object takes what is in its ring first, and keeps it for later; until it asks for old memory again it is not given as much once
 * more. */
static void what_was_put_by_is_not_granted_again(void **state)
{
    holes_open(512 * MIB);
    sim.tick_ns = 0;
    for (unsigned round = 0; round < 40; round++) {
        blocks_fill(2, 20 * US);
        (void)nap_after_serving();
        settle();
        if (round < 10)
            continue;                           /* its pace is known then */
        root[1] = morph_new_bytes(me, 20000);
        assert_non_null(root[1]);
        assert_in_range(sim.gc->grants, 1, MM_RING_CELLS + 8);
    }
    assert_int_equal(sim.gc->cycles, 1);        /* which takes back what was dropped */
    story_close();
}

/* When a marking is due it begins while there are blocks in the ring: nobody waits for it with an empty one. */
static void a_marking_begins_before_it_is_asked_for(void **state)
{
    holes_open(64 * MIB);
    config.concurrent = 1;
    const struct mm_slot *slot = morph__thread_of(me)->slot;
    blocks_fill(2, 200 * US);
    (void)nap_after_serving();
    assert_int_equal(ring_blocks(), 8);
    assert_int_equal(sim.gc->mark_state, MARK_NONE);
    uint32_t asked = slot->request_seq;
    sim.gc->start_blocks = 1;
    blocks_fill(1, 200 * US);
    while (sim_serve())
        ;
    morph_poll(me);
    assert_int_equal(sim.gc->mark_state, MARK_ON);
    assert_int_equal(slot->request_seq, asked);
    story_close();
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(holes_are_what_lies_between_objects), world_case(sweeping_leaves_what_is_marked),
                                        world_case(a_request_is_given_a_block_that_has_the_hole),
                                        world_case(a_full_block_is_its_threads_while_its_limit_is_there),
                                        world_case(a_gone_threads_cursors_are_not_inherited),
                                        world_case(the_worker_is_called_before_the_ring_is_empty),
                                        world_case(the_worker_knows_how_long_a_ring_lasts),
                                        world_case(a_fast_thread_has_more_ahead),
                                        world_case(a_marking_begins_before_it_is_asked_for),
                                        world_case(what_was_put_by_is_not_granted_again),
                                        world_case(a_chain_leads_to_the_next_hole_and_the_next_longer_one) };
    return test_run(cases);
}
