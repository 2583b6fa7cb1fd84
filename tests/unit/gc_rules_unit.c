/* gc_rules_unit.c — one case or more for each of the rules R1 to R11 that keep collections right (DESIGN section 8, docs/design/gc.md): the
 * smallest story (gc_story.h) in which breaking the rule does damage. Marking and evacuation have theirs in gc_marking_unit.c. */
#include "tests/unit/gc_story.h"

/* ---- R1: starts and marks ---- */

/* After a marking start bits are the marks: a card scan visits no dead object, whatever it still holds. */
static void r1_card_scans_visit_no_dead_object(void **state)
{
    story_open(LIMIT, 1);
    root[0] = node_new(1);
    root[1] = node_new(2);
    collect(MORPH_COLLECT_MINOR);
    struct node *dead = root[0];
    assert_int_equal(sim_space(dead), GC_OLD);
    assert_true((uintptr_t)&dead->a >> MM_CARD_SHIFT == (uintptr_t)&node_at(1)->a >> MM_CARD_SHIFT);
    root[0] = NULL;
    collect(MORPH_COLLECT_MAJOR);
    settle();
    assert_false(sim_starts(dead));
    struct node *young = node_new(3);
    morph_handle weak = morph_handle_new_weak(me, young);
    dead->a = young;                    /* what was left there, not a store of the program */
    morph_store(me, node_at(1), &node_at(1)->b, node_at(1));
    collect(MORPH_COLLECT_MINOR);
    assert_null(morph_handle_get(me, weak));
    assert_int_equal(node_at(1)->id, 2);
    story_close();
}

/* ---- R2: old memory that the client fills. A pause walks the tails before it marks, and a large object is not garbage before its thread has
 * it; what is born while a marking goes on: gc_marking_unit.c. ---- */

static void r2_a_marking_knows_what_was_put_into_old_holes(void **state)
{
    story_open(LIMIT, 1);
    for (unsigned i = 0; i < 10; i++)
        root[i] = node_new_old(100 + i);
    collect(MORPH_COLLECT_MAJOR);
    for (unsigned i = 0; i < 10; i++)
        assert_true(sim_starts(root[i]));
    morph_thread *other = me;           /* the hole's thread goes: what it did not use is free */
    void **frame = root;
    assert_int_equal(morph_thread_attach(sim.client, &me), 0);
    root = morph_frame_push(me, 16 * sizeof *root);
    memcpy(root, frame, 16 * sizeof *root);
    morph_frame_pop(other, frame);
    assert_int_equal(morph_thread_detach(other), 0);
    collect(MORPH_COLLECT_MAJOR);
    settle();
    overwrite_what_is_free(3000);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(node_at(i)->id, 100 + i);
    story_close();
}

static unsigned waits;

/* The cell is in the ring, its thread still asleep: a whole marking comes in between. */
static void major_while_a_large_cell_waits(uint32_t *word, uint32_t seen)
{
    (void)word;
    (void)seen;
    if (waits++)
        return;
    bool lies = false;
    while (sim.heap->slot[0].cell[(sim.heap->slot[0].tail - 1) % MM_RING_CELLS].kind != MM_GRANT_LARGE)
        (void)refill_serve(sim.heap, &lies);
    gc_request(sim.gc, MM_COLLECT_MAJOR, RECEIPT_TOOL);
    for (uint64_t cycles = sim.gc->cycles; sim.gc->cycles == cycles;)
        assert_true(gc_step(sim.gc));
}

static void r2_large_objects_live_from_their_grant_on(void **state)
{
    story_open(LIMIT, 1);
    waits = 0;
    sim.wait = major_while_a_large_cell_waits;
    struct refs *large = morph_new_array(me, refs_type, 20000);
    sim.wait = NULL;
    assert_non_null(large);
    assert_int_equal(sim.gc->cycles, 1);
    assert_int_equal(heap_block_state(sim.heap, sim_block(large)), MM_BLOCK_LARGE);
    root[0] = large;
    large->id = 5;
    struct node *young = node_new(6);
    morph_store(me, root[0], &((struct refs *)root[0])->ref[19999], young);
    overwrite_what_is_free(3000);
    collect(MORPH_COLLECT_MAJOR);
    large = root[0];
    assert_int_equal(large->id, 5);
    assert_int_equal(((struct node *)large->ref[19999])->id, 6);
    story_close();
}

/* ---- R3: holes are walked before any trace, from where the last walk ended ---- */

static void r3_what_new_old_objects_refer_to_lives(void **state)
{
    story_open(LIMIT, 3);
    for (unsigned round = 0; round < 6; round++) {
        root[14] = node_new(round);                 /* young; then its owner, old, which no card speaks of */
        struct node *owner = node_new_old(1000 + round);
        owner->a = root[14];
        root[round] = owner;
        root[14] = NULL;
        collect(MORPH_COLLECT_MINOR);
        settle();                                   /* emptied blocks are cleaned: a stale reference leads to zeros */
        for (unsigned i = 0; i <= round; i++) {
            assert_int_equal(node_at(i)->id, 1000 + i);
            assert_int_equal(node_at(i)->a->id, i);
        }
    }
    story_close();
}

/* A thread that has filled a block to its last byte is at the first byte of the next one, too: that it was there before is no reason not to walk
 * what it left there. */
static void r3_the_end_of_a_block_is_not_the_start_of_the_next(void **state)
{
    enum { PER_BLOCK = MM_BLOCK_BYTES / 32, COUNT = 4 * PER_BLOCK, TAKEN = 16 };
    morph_type type;
    story_open(LIMIT, 1);
    assert_int_equal(morph_type_register(sim.client, &(morph_type_spec){ .name = "cell", .bytes = 16 }, &type), 0);
    root[1] = morph_new_array(me, refs_type, COUNT);
    for (uint32_t i = 0; i < COUNT; i++)
        morph_store(me, root[1], &((struct refs *)root[1])->ref[i], morph_new_hint(me, type, MORPH_HINT_LONG));
    char *first = (char *)((struct refs *)root[1])->ref[0] - MM_HEADER_BYTES;
    assert_ptr_equal((char *)((struct refs *)root[1])->ref[PER_BLOCK] - MM_HEADER_BYTES, first + MM_BLOCK_BYTES);
    uint32_t second = sim_block(first + MM_BLOCK_BYTES + MM_HEADER_BYTES);
    for (uint32_t i = 0; i < sim.gc->grants; i++)               /* as if its first granules had been taken all along, ... */
        if (sim.gc->grant[i].block == second)
            gc_bits_clear(sim.gc->grant[i].holes, 0, TAKEN);
    for (uint32_t granule = 0; granule < TAKEN; granule += 2) {
        GC_BIT_SET(gc_block(sim.gc, second), start, granule);
        GC_BIT_SET(gc_block(sim.gc, second), end, granule + 1);
    }
    me->old.cursor = me->old.limit = first + MM_BLOCK_BYTES;    /* ... and it had filled the first block last */
    collect(MORPH_COLLECT_MINOR);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_true(sim_starts(((struct refs *)root[1])->ref[i]));
    story_close();
}

/* ---- R4: cards ---- */

/* A promoted object that still refers to a young one adds its card. */
static void r4_promoted_objects_add_their_cards(void **state)
{
    story_open(LIMIT, 2);
    root[0] = node_new(1);
    collect(MORPH_COLLECT_MINOR);
    struct node *young = node_new(2);
    morph_store(me, node_at(0), &node_at(0)->a, young);
    collect(MORPH_COLLECT_MINOR);
    assert_int_equal(sim_space(root[0]), GC_OLD);
    young = node_at(0)->a;
    assert_int_equal(sim_space(young), GC_YOUNG);
    (void)node_new(3);
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_not_equal(node_at(0)->a, young);
    assert_int_equal(node_at(0)->a->id, 2);
    story_close();
}

/* A card whose reference is still young after its scan stays on the list, without another store. */
static void r4_a_card_is_carried_while_it_matters(void **state)
{
    story_open(LIMIT, 4);
    root[0] = node_new_old(1);
    collect(MORPH_COLLECT_MINOR);
    struct node *young = node_new(2);
    morph_store(me, node_at(0), &node_at(0)->a, young);
    for (unsigned i = 0; i < 5; i++) {
        collect(MORPH_COLLECT_MINOR);
        assert_int_equal(node_at(0)->a->id, 2);
        for (unsigned n = 0; n < 50; n++)
            (void)node_new(3);
    }
    assert_int_equal(sim_space(node_at(0)->a), GC_OLD);
    story_close();
}

static uint8_t *card_byte(const void *slot)
{
    return &mm_control_cards(sim.heap->control, sim.heap->slot_count, sim.heap->space_count)[(sim_off(slot) + MM_HEADER_BYTES) >> MM_CARD_SHIFT];
}

/* One store into a card is all that is looked at of it; two make it dirty. `type`: of an old vector whose words are references, weak or not. */
static void stores_into_one_card(morph_type type, bool weak)
{
    root[0] = morph_new_array(me, type, 4000);          /* large: old from the start */
    struct refs *vector = root[0];
    void **first = (void **)(((uintptr_t)&vector->ref[200] + MM_CARD_BYTES - 1) & ~(uintptr_t)(MM_CARD_BYTES - 1));
    root[1] = node_new(1);
    root[2] = node_new(2);
    morph_handle gone = morph_handle_new_weak(me, root[2]);
    first[0] = root[2];                                 /* what no store said: nobody looks for it */
    root[2] = NULL;
    morph_store(me, vector, &first[63], root[1]);
    assert_int_equal(*card_byte(first), MM_CARD_SLOT + 63);
    if (weak)
        first[0] = NULL;
    root[1] = NULL;
    collect(MORPH_COLLECT_MINOR);
    assert_null(morph_handle_get(me, gone));
    first[0] = NULL;
    if (weak) {
        assert_null(first[63]);
        return;
    }
    assert_int_equal(((struct node *)first[63])->id, 1);
    assert_int_equal(*card_byte(first), sim_space(first[63]) == GC_OLD ? MM_CARD_CLEAN : MM_CARD_DIRTY);
    while (sim_space(first[63]) != GC_OLD)
        collect(MORPH_COLLECT_MINOR);
    struct node *third = node_new(3);
    morph_store(me, vector, &first[5], third);
    morph_store(me, vector, &first[6], third);
    assert_int_equal(*card_byte(first), MM_CARD_DIRTY);
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_equal(first[5], first[6]);
    assert_ptr_not_equal(first[5], third);
    assert_int_equal(((struct node *)first[5])->id, 3);
}

static void r4_of_a_card_with_one_store_that_word_is_looked_at(void **state)
{
    story_open(32 * MIB, 3);
    collect(MORPH_COLLECT_MINOR);       /* where types are heard of */
    assert_true(sim.gc->weak_types);
    stores_into_one_card(refs_type, false);
    stores_into_one_card(weak_type, true);
    sim.gc->weak_types = false;         /* as in a heap that has none: no object is looked for */
    stores_into_one_card(refs_type, false);
    story_close();
}

/* A full log loses nothing: the bytes say it too. */
static void r4_a_full_log_loses_no_store(void **state)
{
    const uint64_t count = 300000, per_card = MM_CARD_BYTES / 8;
    story_open(32 * MIB, 3);
    root[0] = morph_new_array(me, refs_type, count);
    assert_non_null(root[0]);
    collect(MORPH_COLLECT_MINOR);
    struct node *young = node_new(2);
    struct refs *array = root[0];
    for (uint64_t i = 0; i < count; i += per_card)
        morph_store(me, array, &array->ref[i], NULL);
    assert_int_equal(mm_control_slot(sim.heap->control, 0)->card_overflow, 1);
    morph_store(me, array, &array->ref[count - 1], young);
    collect(MORPH_COLLECT_MINOR);
    array = root[0];
    assert_ptr_not_equal(array->ref[count - 1], young);
    assert_int_equal(((struct node *)array->ref[count - 1])->id, 2);
    story_close();
}

/* To OLD: the cards are CLEAN before anything refers to the block, in blocks that become old as they stand too, or stores go unseen. */
static void r4_blocks_that_become_old_have_clean_cards(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new(1);
    assert_int_equal(morph_pin(me, root[0]), 0);
    struct node *was = root[0];
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_equal(root[0], was);
    assert_int_equal(sim_space(was), GC_OLD);
    struct node *young = node_new(2);
    morph_store(me, was, &was->a, young);
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_not_equal(was->a, young);
    assert_int_equal(was->a->id, 2);
    assert_int_equal(morph_unpin(me, was), 0);
    story_close();
}

/* ---- R5: logs are drained first, what no longer fits is dropped; what is granted is taken ---- */

static void r5_what_is_no_old_card_is_dropped(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new_old(1);
    root[1] = node_new(2);
    struct mm_slot *slot = mm_control_slot(sim.heap->control, 0);
    uint32_t *log = mm_slot_card_log(slot);
    uint32_t forged[] = { UINT32_MAX, (uint32_t)(sim.heap->view.bytes >> MM_CARD_SHIFT), (uint32_t)(sim.heap->view.bytes >> MM_CARD_SHIFT) - 1,
                          sim.heap->mapped_chunks * MM_CHUNK_BLOCKS * GC_BLOCK_CARDS, sim.heap->mapped_chunks * MM_CHUNK_BLOCKS * GC_BLOCK_CARDS - 1,
                          (uint32_t)(sim_off(root[1]) >> MM_CARD_SHIFT) };
    for (unsigned i = 0; i < sizeof forged / sizeof forged[0]; i++)
        log[slot->card_count++] = forged[i];
    struct node *young = node_new(3);
    morph_store(me, node_at(0), &node_at(0)->a, young);
    collect(MORPH_COLLECT_MINOR);
    assert_int_equal(node_at(0)->a->id, 3);
    assert_int_equal(node_at(1)->id, 2);
    assert_int_equal(slot->card_count, 0);
    assert_int_equal(sim.gc->receipt.cards, 1);         /* only the old object's was looked at */
    slot->card_count = MM_CARD_LOG + 1; /* no honest log is so long */
    collect(MORPH_COLLECT_MINOR);
    assert_int_equal(node_at(0)->a->id, 3);
    story_close();
}

/* Makes old blocks with holes: one in forty of 3,000 nodes stays, in root[0]. */
static void holes_make(void)
{
    struct refs *kept;
    root[0] = morph_new_array(me, refs_type, 3000);
    for (uint32_t i = 0; i < 3000; i++) {
        struct node *node = node_new(10000 + i);
        kept = root[0];
        morph_store(me, kept, &kept->ref[i], node);
    }
    collect(MORPH_COLLECT_MINOR);
    kept = root[0];
    for (uint32_t i = 0; i < 3000; i++)
        if (i % 40)
            morph_store(me, kept, &kept->ref[i], NULL);
    collect(MORPH_COLLECT_MAJOR);
    settle();
    assert_true(sim.gc->listed_count > 0);
}

static void holes_check(void)
{
    struct refs *kept = root[0];
    for (uint32_t i = 0; i < 3000; i += 40)
        assert_int_equal(((struct node *)kept->ref[i])->id, 10000 + i);
}

/* A thread goes on filling a hole after a marking; when it leaves the block, what it has put there is not free. */
static void r5_what_is_granted_is_taken(void **state)
{
    morph_thread *other;
    morph_handle handle[16];
    story_open(LIMIT, 1);
    holes_make();
    assert_int_equal(morph_thread_attach(sim.client, &other), 0);
    void **frame = morph_frame_push(other, 8);
    morph_native_enter(me);
    frame[0] = morph_new_hint(other, node_type, MORPH_HINT_LONG);
    assert_non_null(frame[0]);
    ((struct node *)frame[0])->id = 500;
    uint32_t block = sim_block(frame[0]);
    assert_true(gc_block(sim.gc, block)->flags & GC_GRANTED);
    assert_true(sim.gc->old_blocks > 0);
    assert_int_equal(morph_collect(other, MORPH_COLLECT_MAJOR), 0);
    assert_true(gc_block(sim.gc, block)->flags & GC_GRANTED);
    for (unsigned i = 0; i < 16; i++) {
        struct node *node = morph_new_hint(other, node_type, MORPH_HINT_LONG);
        assert_non_null(node);
        node->id = 600 + i;
        handle[i] = morph_handle_new(other, node);
        assert_int_equal(sim_block(node), block);
    }
    morph_frame_pop(other, frame);
    assert_int_equal(morph_thread_detach(other), 0);
    morph_native_leave(me);
    collect(MORPH_COLLECT_MINOR);
    assert_false(gc_block(sim.gc, block)->flags & GC_GRANTED);
    overwrite_what_is_free(6000);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(((struct node *)morph_handle_get(me, handle[i]))->id, 600 + i);
    holes_check();
    story_close();
}

/* Somebody else asks for it, and nothing is reclaimed yet. */
static void collect_and_leave_unswept(enum mm_collection kind)
{
    uint64_t cycles = sim.gc->cycles;
    gc_request(sim.gc, kind, RECEIPT_TOOL);
    while (sim.gc->cycles == cycles) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_null(sim.lie);
    assert_true(sim.gc->unswept_count > 0);
}

/* Blocks that are marked but not yet reclaimed are neither promoted into nor granted: whoever needs one reclaims it first. A minor collection leaves them as
 * they are. */
static void r5_unreclaimed_blocks_are_not_used(void **state)
{
    story_open(LIMIT, 1);
    holes_make();
    collect_and_leave_unswept(MM_COLLECT_MAJOR);
    root[2] = node_new(701);
    collect_and_leave_unswept(MM_COLLECT_MINOR);
    assert_int_equal(node_at(2)->id, 701);
    for (uint32_t b = 0; b < sim.heap->mapped_chunks * MM_CHUNK_BLOCKS; b++)
        assert_false(gc_block(sim.gc, b)->flags & GC_LISTED && gc_block(sim.gc, b)->flags & GC_UNSWEPT);
    root[1] = node_new_old(700);
    assert_false(gc_block(sim.gc, sim_block(root[1]))->flags & GC_UNSWEPT);
    overwrite_what_is_free(6000);
    collect(MORPH_COLLECT_MAJOR);
    overwrite_what_is_free(6000);
    assert_int_equal(node_at(1)->id, 700);
    holes_check();
    story_close();
}

/* ---- R6: copying ---- */

/* What the embedder keeps in an object's word is no forwarding address, even if it looks like one. */
static void r6_a_word_is_no_forwarding_without_the_claim(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new_old(1);
    root[1] = node_new(2);
    collect(MORPH_COLLECT_MINOR);
    for (unsigned i = 0; i < 2; i++) {
        *(uint64_t *)((char *)root[1] - 8) = (uintptr_t)root[0];
        collect(MORPH_COLLECT_MINOR);
        assert_int_equal(node_at(1)->id, 2);
        assert_true(*(uint64_t *)((char *)root[1] - 8) == (uintptr_t)root[0]);
    }
    story_close();
}

static uint64_t scribble_at, scribble;

static void scribble_between_slices(uint32_t *word, uint32_t seen)
{
    (void)word;
    (void)seen;
    (void)sim_serve();
    if (sim.gc->phase == GC_TRACE && scribble_at) {
        scribble = mm_load_relaxed((uint64_t *)scribble_at) + MM_GRANULE_BYTES;     /* into the middle of the copy */
        mm_store_relaxed((uint64_t *)scribble_at, scribble);
        scribble_at = 0;
    }
}

/* A forwarding address counts only if an object of this collection starts there: what a client writes there while it should not run leads to
 * nothing but its own loss. */
static void r6_a_forged_forwarding_leads_nowhere(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new(1);
    struct node *second = node_new(2);
    second->a = root[0];
    root[1] = second;
    uint64_t was = (uintptr_t)root[0];
    scribble_at = was - 8;
    scribble = 0;
    sim.tick_ns = 300000;               /* one phase a step */
    sim.wait = scribble_between_slices;
    assert_int_equal(morph_collect(me, MORPH_COLLECT_MINOR), 0);
    sim.wait = NULL;
    assert_int_equal(scribble_at, 0);
    assert_true(scribble == (uintptr_t)root[0] + MM_GRANULE_BYTES);
    assert_int_equal(node_at(0)->id, 1);
    assert_int_equal(node_at(1)->id, 2);
    assert_true((uintptr_t)node_at(1)->a != scribble);
    assert_true((uintptr_t)node_at(1)->a == was);
    morph_store(me, node_at(1), &node_at(1)->a, NULL);
    story_close();
}

/* Objects that overlap, by headers that lie, cannot make more copies than there is from-space. */
static void r6_more_copies_than_from_space_condemn(void **state)
{
    enum { COUNT = 1000, BYTES = 8000 };
    story_open(LIMIT, 3);
    struct refs *array = morph_new_array(me, refs_type, COUNT);
    root[0] = array;
    char *raw = morph_new_bytes(me, MORPH_SMALL_BYTES - MORPH_HEADER_BYTES);
    char *more = morph_new_bytes(me, MORPH_SMALL_BYTES - MORPH_HEADER_BYTES);
    assert_ptr_equal(more, raw + MORPH_SMALL_BYTES);
    assert_ptr_equal(root[0], array);
    for (unsigned i = 0; i < COUNT; i++) {
        char *at = raw + i * MM_GRANULE_BYTES;
        *(uint64_t *)at = mm_header_make(BYTES, MM_TYPE_RAW, 0);
        array->ref[i] = at + MM_HEADER_BYTES;
    }
    assert_true(COUNT * BYTES > YOUNG);
    assert_true(morph_collect(me, MORPH_COLLECT_MINOR) < 0);
    assert_non_null(sim.lie);
    sim.lie = NULL;                     /* as it should be */
    story_close();
}

/* ---- R7: pins before the first copy ---- */

static void r7_what_is_pinned_stays_though_other_roots_come_first(void **state)
{
    story_open(LIMIT, 3);
    for (unsigned i = 0; i < 8; i++)
        root[i] = node_new(i);
    struct node *pinned = root[3], *moved = root[5];
    assert_int_equal(morph_pin(me, pinned), 0);
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_equal(root[3], pinned);
    assert_ptr_equal(root[5], moved);   /* the whole block became old as it stands */
    assert_int_equal(sim_space(pinned), GC_OLD);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(node_at(i)->id, i);
    assert_int_equal(morph_unpin(me, pinned), 0);
    story_close();
}

/* What is dead in such a block is free at once, and zero for whoever gets them. */
static void r7_holes_around_a_pin_are_reused_zeroed(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new(1);
    assert_int_equal(morph_pin(me, root[0]), 0);
    for (unsigned i = 0; i < 1000; i++) {
        struct node *node = node_new(i);
        node->a = node->b = root[0];
    }
    collect(MORPH_COLLECT_MINOR);
    assert_true(gc_block(sim.gc, sim_block(root[0]))->flags & GC_LISTED);
    root[1] = node_new_old(2);
    assert_int_equal(sim_block(root[1]), sim_block(root[0]));
    for (unsigned i = 0; i < 1000; i++)
        (void)node_new_old(i);          /* checks that they are zero */
    assert_int_equal(node_at(0)->id, 1);
    assert_int_equal(morph_unpin(me, root[0]), 0);
    story_close();
}

/* ---- R8: the order of what is weak ---- */

/* An object that only its finalizer knows: weak references to it are gone before it is queued; ephemerons that have it or something below it
 * as key keep their values, on over several; those with dead keys are cleared; order is that of registration. */
static void r8_weak_then_finalizers_then_ephemerons(void **state)
{
    story_open(LIMIT, 3);
    for (enum morph_collection kind = MORPH_COLLECT_MINOR; kind <= MORPH_COLLECT_MAJOR; kind++) {
        root[0] = node_new(1);
        struct node *below = node_new(2);
        morph_store(me, node_at(0), &node_at(0)->a, below);
        root[1] = node_new(3);                                  /* a second one with a finalizer */
        struct refs *weak = morph_new_array(me, weak_type, 2);
        weak->ref[0] = root[0];
        weak->ref[1] = node_at(0)->a;
        root[2] = weak;
        root[3] = morph_new_array(me, pair_type, 3);
        struct node *value = node_new(4);
        struct refs *pairs = root[3];
        morph_store(me, pairs, &pairs->ref[2], node_at(0)->a);  /* key reached by the finalizer; value */
        morph_store(me, pairs, &pairs->ref[3], value);
        morph_store(me, pairs, &pairs->ref[0], value);          /* key: that value; met before it */
        value = node_new(5);
        pairs = root[3];
        morph_store(me, pairs, &pairs->ref[1], value);
        root[4] = node_new(6);                                  /* dead key */
        value = node_new(7);
        pairs = root[3];
        morph_store(me, pairs, &pairs->ref[4], root[4]);
        morph_store(me, pairs, &pairs->ref[5], value);
        root[4] = NULL;
        morph_handle handle = morph_handle_new_weak(me, root[0]);
        assert_int_equal(morph_finalizer_set(me, root[1], (void *)10), 0);
        assert_int_equal(morph_finalizer_set(me, root[0], (void *)11), 0);
        root[0] = root[1] = NULL;
        collect(kind);
        weak = root[2];
        pairs = root[3];
        assert_null(morph_handle_get(me, handle));
        assert_null(weak->ref[0]);
        assert_null(weak->ref[1]);
        assert_int_equal(((struct node *)pairs->ref[2])->id, 2);
        assert_int_equal(((struct node *)pairs->ref[3])->id, 4);
        assert_ptr_equal(pairs->ref[0], pairs->ref[3]);
        assert_int_equal(((struct node *)pairs->ref[1])->id, 5);
        assert_null(pairs->ref[4]);
        assert_null(pairs->ref[5]);
        void *tag;
        struct node *first = morph_finalizer_next(me, &tag);
        assert_int_equal(first->id, 3);
        assert_ptr_equal(tag, (void *)10);
        struct node *next = morph_finalizer_next(me, &tag);
        assert_int_equal(next->id, 1);
        assert_ptr_equal(tag, (void *)11);
        assert_ptr_equal(next->a, pairs->ref[2]);
        assert_null(morph_finalizer_next(me, &tag));
        morph_handle_free(me, handle);
    }
    story_close();
}

/* ---- R9: the mark stack is bounded ---- */

static void r9_a_full_mark_stack_loses_nothing(void **state)
{
    enum { COUNT = 18000 };
    story_open(4 * MIB, 1);
    root[0] = morph_new_array(me, refs_type, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        root[1] = node_new(i);
        if (i > COUNT - 1000) {
            struct node *below = node_new(100000 + i);
            morph_store(me, node_at(1), &node_at(1)->a, below);
        }
        struct refs *array = root[0];
        morph_store(me, array, &array->ref[i], root[1]);
    }
    root[1] = NULL;
    collect(MORPH_COLLECT_MINOR);
    uint64_t marked = sim.gc->receipt.marked_objects;
    collect(MORPH_COLLECT_MAJOR);
    assert_int_equal(marked, 0);
    assert_true(sim.gc->tracer[0].marked.room < COUNT);
    assert_true(sim.gc->receipt.marked_objects >= COUNT + 999 + 1);
    settle();
    overwrite_what_is_free(2000);
    struct refs *array = root[0];
    for (uint32_t i = 0; i < COUNT; i++) {
        struct node *node = array->ref[i];
        assert_int_equal(node->id, i);
        if (i > COUNT - 1000)
            assert_int_equal(node->a->id, 100000 + i);
    }
    story_close();
}

/* ---- R10: a pause without young objects. There is no list for later, since nothing is moved while threads run: what remains is that
 * cards that were logged are settled, so that a later store through them is seen. ---- */

static void r10_an_empty_nursery_settles_logged_cards(void **state)
{
    story_open(LIMIT, 3);
    root[0] = node_new_old(1);
    root[1] = node_new_old(2);
    collect(MORPH_COLLECT_MINOR);
    morph_store(me, node_at(0), &node_at(0)->a, node_at(1));    /* old to old */
    collect(MORPH_COLLECT_MINOR);
    assert_int_equal(sim.gc->receipt.copied_objects + sim.gc->receipt.promoted_objects, 0);
    struct node *young = node_new(3);
    morph_store(me, node_at(0), &node_at(0)->b, young);
    collect(MORPH_COLLECT_MINOR);
    assert_ptr_not_equal(node_at(0)->b, young);
    assert_int_equal(node_at(0)->b->id, 3);
    assert_int_equal(node_at(0)->a->id, 2);
    story_close();
}

/* ---- R11: a collection that is put off ---- */

static morph_thread *late;
static uint32_t granted_at_second;

static void wait_for_the_late_one(uint32_t *word, uint32_t seen)
{
    (void)word;
    (void)seen;
    (void)sim_serve();
    world_ns += 30 * MS;
    waits++;
    if (sim.gc->put_offs >= 2 && late) {
        granted_at_second = sim.gc->young_granted;
        morph_native_enter(late);       /* at last */
        late = NULL;
    }
    assert_true(waits < 1000);
}

/* Threads that wait get a quarter of the nursery more, once; then they wait until the late one stops. */
static void r11_a_put_off_collection_gives_a_little_memory(void **state)
{
    story_open(LIMIT, 3);
    assert_int_equal(morph_thread_attach(sim.client, &late), 0);
    morph_thread *other = late;
    waits = granted_at_second = 0;
    sim.wait = wait_for_the_late_one;
    uint32_t nursery = sim.gc->young_blocks;
    for (unsigned i = 0; late && i < 100000; i++)
        (void)node_new(i);
    sim.wait = NULL;
    assert_null(late);
    assert_int_equal(granted_at_second, nursery + nursery / 4);
    assert_true(sim.gc->cycles > 0);
    assert_int_equal(sim.gc->put_offs, 0);
    assert_int_equal(sim.gc->emergency_blocks, 0);
    morph_native_leave(other);
    assert_int_equal(morph_thread_detach(other), 0);
    story_close();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(r1_card_scans_visit_no_dead_object),
        world_case(r2_a_marking_knows_what_was_put_into_old_holes),
        world_case(r2_large_objects_live_from_their_grant_on),
        world_case(r3_what_new_old_objects_refer_to_lives),
        world_case(r3_the_end_of_a_block_is_not_the_start_of_the_next),
        world_case(r4_promoted_objects_add_their_cards),
        world_case(r4_a_card_is_carried_while_it_matters),
        world_case(r4_a_full_log_loses_no_store),
        world_case(r4_of_a_card_with_one_store_that_word_is_looked_at),
        world_case(r4_blocks_that_become_old_have_clean_cards),
        world_case(r5_what_is_no_old_card_is_dropped),
        world_case(r5_what_is_granted_is_taken),
        world_case(r5_unreclaimed_blocks_are_not_used),
        world_case(r6_a_word_is_no_forwarding_without_the_claim),
        world_case(r6_a_forged_forwarding_leads_nowhere),
        world_case(r6_more_copies_than_from_space_condemn),
        world_case(r7_what_is_pinned_stays_though_other_roots_come_first),
        world_case(r7_holes_around_a_pin_are_reused_zeroed),
        world_case(r8_weak_then_finalizers_then_ephemerons),
        world_case(r9_a_full_mark_stack_loses_nothing),
        world_case(r10_an_empty_nursery_settles_logged_cards),
        world_case(r11_a_put_off_collection_gives_a_little_memory),
    };
    return test_run(cases);
}
