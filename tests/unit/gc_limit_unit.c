/* gc_limit_unit.c — when and how much is collected (daemon/gc/grant.c, cycle.c), in small stories: requests at the limit, and promotion in place. */
#include "tests/unit/gc_story.h"

static bool stays(uint32_t i, uint32_t of_twelve) { return i * 7 % 12 < of_twelve; }

/* Old blocks with holes; `of_twelve` nodes in twelve stay, in root[0]. */
static void holes_everywhere(uint32_t count, uint32_t of_twelve)
{
    root[0] = morph_new_array(me, refs_type, count);
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = node_new_old(i);
        morph_store(me, root[0], &((struct refs *)root[0])->ref[i], node);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!stays(i, of_twelve))
            morph_store(me, root[0], &((struct refs *)root[0])->ref[i], NULL);
    collect(MORPH_COLLECT_MAJOR);
    settle();
}

static void kept_check(uint32_t count, uint32_t of_twelve)
{
    for (uint32_t i = 0; i < count; i++)
        if (stays(i, of_twelve))
            assert_int_equal(((struct node *)((struct refs *)root[0])->ref[i])->id, i);
}

/* At the limit, with holes enough and too few whole blocks, a minor collection is tried, and then a compaction. The request is looked at between them, too, and
 * waits for what was asked for on its behalf. Whether a collection leaves something to do (a block to be looked at, one in eight) is left open. */
static void a_request_waits_for_what_it_asked_for(void **state)
{
    const uint32_t count = 90000;
    for (unsigned before = 0; before < 4; before++) {
        story_open(LIMIT, 1);
        holes_everywhere(count, 3);
        for (unsigned i = 0; i < before; i++) {
            (void)node_new(0);
            collect(MORPH_COLLECT_MINOR);
        }
        for (unsigned i = 0; i < 3000; i++)
            (void)node_new(0);                  /* so that a minor collection is worth trying */
        uint64_t blocks = gc_room_blocks(sim.gc) + 16, collections = sim.gc->cycles;
        root[1] = morph_new_array(me, refs_type, blocks * MM_BLOCK_BYTES / sizeof(void *));
        assert_non_null(root[1]);
        assert_int_equal(sim.gc->cycles, collections + 2);
        kept_check(count, 3);
        story_close();
    }
}

/* An object for which an eighth of the limit is not enough, where more than that is to be gained. */
static void a_compaction_goes_on_until_a_request_fits(void **state)
{
    const uint32_t count = 530000;
    story_open(4 * LIMIT, 1);
    holes_everywhere(count, 8);
    root[1] = morph_new_bytes(me, LIMIT);
    assert_non_null(root[1]);
    kept_check(count, 8);
    story_close();
}

/* A list in root[0] grows until a nursery is full. */
static void build_a_nursery(void)
{
    for (uint64_t cycles = sim.gc->cycles; sim.gc->cycles == cycles;) {
        struct node *node = node_new(7);
        morph_store(me, node, &node->a, root[0]);
        root[0] = node;
    }
}

/* While something is built, nurseries become old as they stand; that a collection had nothing to collect does not change it. */
static void what_is_built_is_promoted_as_it_stands(void **state)
{
    story_open(8 * LIMIT, 3);
    for (unsigned i = 0; i < 4; i++)
        build_a_nursery();
    assert_true(sim.gc->last.kept_bytes > YOUNG / 2);
    assert_int_equal(sim.gc->last.copied_bytes, 0);
    root[0] = NULL;
    collect(MORPH_COLLECT_MINOR);
    uint64_t cycles = sim.gc->cycles;
    gc_request(sim.gc, MM_COLLECT_MINOR, RECEIPT_NURSERY);
    while (sim.gc->cycles == cycles) {
        (void)sim_serve();
        morph_poll(me);
    }
    assert_int_equal(sim.gc->last.kept_bytes + sim.gc->last.copied_bytes + sim.gc->last.promoted_bytes, 0);
    build_a_nursery();
    assert_true(sim.gc->last.kept_bytes > YOUNG / 2);
    assert_int_equal(sim.gc->last.copied_bytes, 0);
    story_close();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(a_request_waits_for_what_it_asked_for),
        world_case(a_compaction_goes_on_until_a_request_fits),
        world_case(what_is_built_is_promoted_as_it_stands),
    };
    return test_run(cases);
}
