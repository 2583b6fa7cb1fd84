/* gc_marking_unit.c — marking while threads run, and emptying blocks (DESIGN D9, D10, D12): the smallest story (gc_story.h) for each rule in which
 * breaking it does damage. */
#include "tests/unit/gc_story.h"

/* ---- Marking between pauses: the snapshot (D10), what is born meanwhile (R2), logs drained first (R5) ---- */

static void marking_begin(void)
{
    gc_request_marking(sim.gc, RECEIPT_OLD);
    while (sim.gc->mark_state == MARK_NONE) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_int_equal(sim.gc->mark_state, MARK_ON);
}

static void marking_end(void)
{
    while (sim.gc->mark_state == MARK_ON)
        assert_true(sim_background());
    while (sim.gc->mark_state != MARK_NONE) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_null(sim.lie);
    settle();
}

/* The only way to an old object is taken away before the marker has come there, and a new object has it now. */
static void d10_what_is_overwritten_while_marking_is_alive(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new(1);
    struct node *below = node_new(2);
    morph_store(me, node_at(0), &node_at(0)->a, below);
    collect(MORPH_COLLECT_MINOR);
    assert_int_equal(sim_space(root[0]), GC_OLD);
    marking_begin();
    root[1] = node_new(3);
    morph_store(me, node_at(1), &node_at(1)->a, node_at(0)->a);
    morph_store(me, node_at(0), &node_at(0)->a, NULL);
    marking_end();
    overwrite_what_is_free(20000);
    assert_int_equal(node_at(1)->id, 3);
    assert_int_equal(node_at(1)->a->id, 2);
    story_close();
}

/* An old object, number 1, that nothing but this handle knows. */
static morph_handle marking_begin_with_one_known_weakly(void)
{
    root[0] = node_new(1);
    morph_handle handle = morph_handle_new_weak(me, root[0]);
    collect(MORPH_COLLECT_MINOR);
    root[0] = NULL;
    marking_begin();
    return handle;
}

/* The same by way of a weak handle: what is read becomes strong. */
static void d10_what_is_read_weakly_while_marking_is_alive(void **state)
{
    story_open(LIMIT, 1);
    morph_handle handle = marking_begin_with_one_known_weakly();
    root[1] = node_new(2);
    morph_store(me, node_at(1), &node_at(1)->a, morph_handle_get(me, handle));
    assert_non_null(node_at(1)->a);
    marking_end();
    overwrite_what_is_free(20000);
    assert_int_equal(node_at(1)->a->id, 1);
    assert_ptr_equal(morph_handle_get(me, handle), node_at(1)->a);
    morph_handle_free(me, handle);
    story_close();
}

static void r2_what_is_born_old_while_marking_is_alive(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new_old(1);
    marking_begin();
    root[1] = node_new_old(2);
    root[2] = morph_new_bytes(me, 100000);
    memset(root[2], 7, 100000);
    root[3] = node_new(3);
    collect(MORPH_COLLECT_MINOR);               /* promotes it, and the marker will not look at it */
    marking_end();
    overwrite_what_is_free(20000);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            assert_int_equal(node_at(i)->id, i == 3 ? 3 : i + 1);
    assert_true(memory_is(root[2], 7, 100000));
    story_close();
}

/* What died before the marking began is gone when it ends. */
static void d10_what_is_dead_at_the_beginning_goes(void **state)
{
    story_open(LIMIT, 1);
    morph_handle handle = marking_begin_with_one_known_weakly();
    marking_end();
    assert_null(morph_handle_get(me, handle));
    morph_handle_free(me, handle);
    assert_int_equal(sim.gc->receipt.mark_early, false);
    assert_true(sim.gc->receipt.mark_slices >= 1);
    story_close();
}

/* A sparse block is emptied when a marking ends, but for one in which something is pinned; a reference that was stored meanwhile is found. */
static void d12_sparse_blocks_are_emptied_when_a_marking_ends(void **state)
{
    story_open(LIMIT, 1);
    for (uint32_t round = 0; round < 2; round++) {
        root[1] = morph_new_array(me, refs_type, 4000);
        for (uint32_t i = 0; i < 4000; i++) {
            struct node *node = node_new(i);
            morph_store(me, root[1], &((struct refs *)root[1])->ref[i], node);
        }
        collect(MORPH_COLLECT_MINOR);
        for (uint32_t i = 0; i < 4000; i++)
            if (i % 40)
                morph_store(me, root[1], &((struct refs *)root[1])->ref[i], NULL);
        collect(MORPH_COLLECT_MAJOR);
        settle();
        struct node *one = ((struct refs *)root[1])->ref[40];
        if (round)
            assert_int_equal(morph_pin(me, one), 0);
        marking_begin();
        root[2] = node_new_old(9);
        morph_store(me, node_at(2), &node_at(2)->a, ((struct refs *)root[1])->ref[80]);
        marking_end();
        for (uint32_t i = 0; i < 4000; i += 40)
            assert_int_equal(((struct node *)((struct refs *)root[1])->ref[i])->id, i);
        assert_ptr_equal(node_at(2)->a, ((struct refs *)root[1])->ref[80]);
        if (round) {
            assert_ptr_equal(((struct refs *)root[1])->ref[40], one);
            assert_int_equal(morph_unpin(me, one), 0);
        } else {
            assert_true(sim.gc->receipt.evac_objects > 0);
        }
    }
    story_close();
}

/* A weak object that becomes old in a pause of a marking, and is met there only as the value of an ephemeron, is news to the end of the marking. */
static void d10_weak_objects_behind_ephemerons_are_cleared_too(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new(1);                                      /* the key */
    root[1] = node_new(2);                                      /* what the weak reference knows */
    collect(MORPH_COLLECT_MINOR);
    root[2] = morph_new_array(me, weak_type, 1);
    ((struct refs *)root[2])->ref[0] = root[1];
    root[3] = morph_new_array(me, pair_type, 1);
    morph_store(me, root[3], &((struct refs *)root[3])->ref[0], root[0]);
    morph_store(me, root[3], &((struct refs *)root[3])->ref[1], root[2]);
    root[1] = root[2] = NULL;
    marking_begin();
    marking_end();
    struct refs *weak = ((struct refs *)root[3])->ref[1];
    assert_int_equal(sim_space(weak), GC_OLD);
    assert_null(weak->ref[0]);
    story_close();
}

/* Sparse old blocks: of 8,000 nodes every 40th is left, in root[1]. No thread fills them any more. */
static void sparse_blocks_make(void)
{
    root[1] = morph_new_array(me, refs_type, 8000);
    for (uint32_t i = 0; i < 8000; i++) {
        struct node *node = node_new_old(i);
        morph_store(me, root[1], &((struct refs *)root[1])->ref[i], i % 40 ? NULL : node);
    }
    collect(MORPH_COLLECT_MAJOR);
    settle();
}

/* What is moved at the end of a marking marks what it refers to, though the marking had not come to it: it was met by way of a changed card of an
 * object that nobody but an ephemeron knows. */
static void d12_what_is_moved_keeps_what_it_refers_to(void **state)
{
    story_open(LIMIT, 15);
    sparse_blocks_make();
    root[2] = morph_new_array(me, refs_type, 3000);             /* large, like the next: they stay where they are */
    struct refs *large = morph_new_array(me, refs_type, 3000);
    large->id = 7;
    struct node *moved = ((struct refs *)root[1])->ref[4000];
    morph_store(me, moved, &moved->a, large);
    morph_store(me, root[2], &((struct refs *)root[2])->ref[0], moved);
    root[5] = node_new(3);
    morph_store(me, root[2], &((struct refs *)root[2])->ref[1], root[5]);       /* young, and stays so: this card is looked at in every pause */
    morph_store(me, root[1], &((struct refs *)root[1])->ref[4000], NULL);
    root[3] = node_new_old(1);
    root[4] = morph_new_array(me, pair_type, 2000);
    morph_store(me, root[4], &((struct refs *)root[4])->ref[0], root[3]);
    morph_store(me, root[4], &((struct refs *)root[4])->ref[1], root[2]);
    root[2] = NULL;
    collect(MORPH_COLLECT_MINOR);               /* so that the ephemeron's own cards are clean */
    marking_begin();
    marking_end();
    struct node *now = ((struct refs *)((struct refs *)root[4])->ref[1])->ref[0];
    assert_ptr_not_equal(now, moved);
    assert_int_equal(now->id, 4000);
    assert_ptr_equal(now->a, large);
    assert_int_equal(sim_space(large), GC_LARGE);
    assert_int_equal(large->id, 7);
    story_close();
}

/* What died since the last marking is known to a compaction only when it is over: another round packs what is left. */
static void d12_compaction_knows_what_has_just_died(void **state)
{
    story_open(LIMIT, 1);
    root[1] = morph_new_array(me, refs_type, 40000);
    for (uint32_t i = 0; i < 40000; i++) {
        struct node *node = node_new_old(i);
        morph_store(me, root[1], &((struct refs *)root[1])->ref[i], node);
    }
    collect(MORPH_COLLECT_MAJOR);
    settle();
    uint32_t before = sim.gc->old_blocks;
    for (uint32_t i = 0; i < 40000; i++)
        if (i % 40)
            morph_store(me, root[1], &((struct refs *)root[1])->ref[i], NULL);
    collect(MORPH_COLLECT_COMPACT);
    settle();
    assert_true(before > 25 && sim.gc->old_blocks < 6);
    for (uint32_t i = 0; i < 40000; i += 40)
        assert_int_equal(((struct node *)((struct refs *)root[1])->ref[i])->id, i);
    story_close();
}

/* ---- What is asked for while threads are stopping for something less ---- */

static void minor_stopping(void)
{
    gc_request(sim.gc, MM_COLLECT_MINOR, RECEIPT_NURSERY);
    (void)sim_serve();                  /* we run, and so it waits for us */
    assert_int_equal(sim.gc->phase, GC_STOPPING);
    assert_int_equal(sim.gc->pause, PAUSE_MINOR);
}

static void minor_made(uint64_t cycles)
{
    while (sim.gc->cycles == cycles) {
        morph_poll(me);
        (void)sim_serve();
    }
}

/* The marker is done before the pause, which has been chosen by then; at the limit everybody waits for the end of the marking and nobody asks for it again. */
static void d9_a_marking_that_is_done_while_threads_stop_is_ended(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new_old(1);
    collect(MORPH_COLLECT_MAJOR);
    marking_begin();
    uint64_t cycles = sim.gc->cycles;
    minor_stopping();
    while (sim.gc->mark_state == MARK_ON)
        assert_true(mark_step(sim.gc));
    minor_made(cycles);
    for (unsigned i = 0; i < 100 && sim.gc->mark_state != MARK_NONE; i++) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_int_equal(sim.gc->mark_state, MARK_NONE);
    assert_int_equal(node_at(0)->id, 1);
    story_close();
}

static void d9_a_larger_request_while_threads_stop_is_kept(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new(1);
    uint64_t cycles = sim.gc->cycles;
    minor_stopping();
    gc_request(sim.gc, MM_COLLECT_COMPACT, RECEIPT_TOOL);
    minor_made(cycles);
    for (unsigned i = 0; i < 100 && (sim.gc->wanted || sim.gc->phase != GC_IDLE); i++) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_true(sim.gc->cycles > cycles + 1);
    assert_int_equal(sim.gc->last.kind, MM_COLLECT_COMPACT);
    assert_int_equal(node_at(0)->id, 1);
    story_close();
}

/* ---- Objects that wait in their blocks for the marker ---- */

#define CHAIN 4000u                     /* in several blocks */

static struct refs *table_at(unsigned i) { return root[i]; }

/* An old list in root[0] that goes from block to block downwards; each node refers to another one, too, in blocks below all of these. A table in root[1]
 * knows every node of the list. */
static void chain_make(void)
{
    root[1] = morph_new_array(me, refs_type, CHAIN);
    for (uint32_t i = 0; i < CHAIN; i++) {
        struct node *node = node_new_old(CHAIN + i);
        morph_store(me, table_at(1), &table_at(1)->ref[i], node);
    }
    for (uint32_t i = 0; i < CHAIN; i++) {
        struct node *node = node_new_old(i);
        node->a = root[0];              /* all are old: no card is needed, and nothing is being marked */
        node->b = table_at(1)->ref[i];
        morph_store(me, table_at(1), &table_at(1)->ref[i], node);
        root[0] = node;
    }
    collect(MORPH_COLLECT_MINOR);
}

static void chain_check(void)
{
    const struct node *node = root[0];
    for (uint32_t i = CHAIN; i-- > 0; node = node->a) {
        assert_non_null(node);
        assert_int_equal(node->id, i);
        assert_int_equal(node->b->id, CHAIN + i);
    }
    assert_null(node);
}

/* The marker has come to the table, and hardly farther: most nodes wait. */
static void chain_half_marked(void)
{
    chain_make();
    sim.gc->drain_round = 1;
    marking_begin();
    sim.tick_ns = MS;                   /* a slice is over when the clock has been looked at */
    for (uint32_t i = 0; i < 100 || !sim.gc->waiting.count; i++)
        assert_true(mark_step(sim.gc));
    sim.tick_ns = 0;
    assert_int_equal(sim.gc->mark_state, MARK_ON);
}

static void d9_a_list_that_goes_backwards_is_marked(void **state)
{
    story_open(LIMIT, 1);
    chain_make();
    root[1] = NULL;
    marking_begin();
    marking_end();
    assert_false(sim.gc->receipt.mark_early);
    overwrite_what_is_free(20000);
    chain_check();
    story_close();
}

static void d9_what_waits_is_scanned_when_the_marking_ends_early(void **state)
{
    story_open(LIMIT, 1);
    chain_half_marked();
    gc_request(sim.gc, MM_COLLECT_MAJOR, RECEIPT_BUDGET);
    while (sim.gc->mark_state != MARK_NONE) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_true(sim.gc->receipt.mark_early);
    settle();
    overwrite_what_is_free(20000);
    chain_check();
    story_close();
}

/* Nothing is left behind that the next marking would take for something else. */
static void d9_what_waits_is_forgotten_when_the_marking_is_given_up(void **state)
{
    story_open(LIMIT, 1);
    chain_half_marked();
    config.verify = VERIFY_FULL;
    collect(MORPH_COLLECT_MAJOR);
    assert_int_equal(sim.gc->waiting.count, 0);
    marking_begin();
    marking_end();
    config.verify = VERIFY_OFF;
    overwrite_what_is_free(20000);
    chain_check();
    story_close();
}

/* An array of no elements has no room for a reference, nor for a bit behind its first granule, where its neighbour begins. */
static void d9_an_empty_array_does_not_make_its_neighbour_wait(void **state)
{
    const morph_type_spec words = { .name = "words", .element_bytes = 8, .element_refs = MORPH_ELEMENT_IS_REF };
    morph_type words_type;
    story_open(LIMIT, 1);
    assert_int_equal(morph_type_register(sim.client, &words, &words_type), 0);
    root[0] = morph_new_array(me, refs_type, 2);
    struct refs *table = root[0];
    table->ref[0] = morph_new_array(me, words_type, 0);
    table->ref[1] = node_new(1);
    ((struct node *)table->ref[1])->a = node_new(2);
    collect(MORPH_COLLECT_MINOR);
    table = root[0];
    assert_ptr_equal(table->ref[1], (char *)table->ref[0] + MM_HEADER_BYTES);
    sim.gc->drain_round = 1;
    marking_begin();
    marking_end();
    overwrite_what_is_free(20000);
    table = root[0];
    assert_int_equal(((struct node *)table->ref[1])->a->id, 2);
    story_close();
}

/* A piece of a large object for which a stack has no room is found again by the object's head, which alone has a mark. */
static void r9_pieces_that_find_no_room_are_scanned_again(void **state)
{
    struct gc_tracer full = { .gc = NULL };
    story_open(LIMIT, 1);
    full.gc = sim.gc;
    root[0] = morph_new_array(me, refs_type, 4 * MM_BLOCK_BYTES / 8);
    uint32_t head = sim_block(root[0]);
    assert_int_equal(sim_space(root[0]), GC_LARGE);
    trace_marked_push(&full, gc_off(head + 2) + 4096);
    assert_true(full.starved);
    assert_true(gc_block(sim.gc, head)->flags & GC_RESCAN);
    assert_false(gc_block(sim.gc, head + 2)->flags & GC_RESCAN);
    gc_flag_clear(gc_block(sim.gc, head), GC_RESCAN);
    story_close();
}

/* A large object counts when it is found, before anybody judges its header; then for no more than its blocks. */
static void r6_a_large_object_counts_for_no_more_than_its_blocks(void **state)
{
    story_open(LIMIT, 1);
    root[0] = morph_new_array(me, refs_type, 4 * MM_BLOCK_BYTES / 8);
    uint64_t *header = (uint64_t *)((char *)root[0] - MM_HEADER_BYTES), honest = *header;
    uint64_t most = (uint64_t)gc_block(sim.gc, sim_block(root[0]))->large_blocks << MM_BLOCK_SHIFT;
    *header = honest | 0xfffffff0;
    marking_begin();
    *header = honest;
    assert_in_range(sim.gc->marker.marked_bytes, 4 * MM_BLOCK_BYTES, most);
    marking_end();
    story_close();
}

/* ---- Types on probation while a marking goes on ---- */

/* Nodes have been born old for long, and their measuring is due. Is it begun before the marking that goes on ends? */
static bool probation_begins_while_marking(bool recording)
{
    story_open(LIMIT, 1);
    root[0] = node_new_old(1);
    collect(MORPH_COLLECT_MAJOR);
    settle();
    uint32_t id = mm_header_type(mm_load_relaxed((const uint64_t *)((const char *)root[0] - MM_HEADER_BYTES)));
    marking_begin();
    sim.gc->recording = recording;
    sim.gc->type[id].pretenured = true;
    sim.gc->pretenured_types = 1;
    sim.gc->probation_bytes = sim.gc->pretenured_bytes = GC_PROBATION_MOST;
    for (uint32_t i = 0; i < 5000 && sim.gc->mark_state == MARK_ON; i++)
        (void)node_new_old(i);
    bool begun = sim.gc->type[id].on_probation;
    assert_int_equal(sim.gc->mark_state, MARK_ON);      /* nothing was marked: no step of it was made */
    sim.gc->recording = false;
    marking_end();
    assert_int_equal(node_at(0)->id, 1);
    story_close();
    return begun;
}

static void d13_types_are_measured_while_a_marking_goes_on(void **state)
{
    assert_true(probation_begins_while_marking(false));
}

static void d13_but_not_where_their_pause_would_forget_what_refers_into_blocks(void **state)
{
    assert_false(probation_begins_while_marking(true));
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(d10_what_is_overwritten_while_marking_is_alive),
        world_case(d10_what_is_read_weakly_while_marking_is_alive),
        world_case(r2_what_is_born_old_while_marking_is_alive),
        world_case(d10_what_is_dead_at_the_beginning_goes),
        world_case(d12_sparse_blocks_are_emptied_when_a_marking_ends),
        world_case(d10_weak_objects_behind_ephemerons_are_cleared_too),
        world_case(d12_what_is_moved_keeps_what_it_refers_to),
        world_case(d12_compaction_knows_what_has_just_died),
        world_case(r9_pieces_that_find_no_room_are_scanned_again),
        world_case(r6_a_large_object_counts_for_no_more_than_its_blocks),
        world_case(d13_types_are_measured_while_a_marking_goes_on),
        world_case(d13_but_not_where_their_pause_would_forget_what_refers_into_blocks),
        world_case(d9_a_list_that_goes_backwards_is_marked),
        world_case(d9_what_waits_is_scanned_when_the_marking_ends_early),
        world_case(d9_what_waits_is_forgotten_when_the_marking_is_given_up),
        world_case(d9_an_empty_array_does_not_make_its_neighbour_wait),
        world_case(d9_a_marking_that_is_done_while_threads_stop_is_ended),
        world_case(d9_a_larger_request_while_threads_stop_is_kept),
    };
    return test_run(cases);
}
