/* census_unit.c — counting hand-made heaps: honest ones exactly, hostile ones without a step outside. Tests daemon/heap/census.c.
 *
 * Behind what is mapped the reserve is closed address space: a read beyond the last block ends the test program at once. */
#define _GNU_SOURCE
#include "tests/unit/heap_helper.h"
#include "tests/lib/random.h"

#include "daemon/heap/census.h"
#include "shm/object.h"
#include "shm/pool.h"

#define BLOCK ((uint64_t)MM_BLOCK_BYTES)
#define TYPES 4u

static struct place place;
static struct census census;
static struct census_type type[TYPES];

/* A heap of 64 blocks with its first chunk granted whole: blocks 0 to 31, and nothing mapped behind them. */
static void blocks_open(void)
{
    place_open(&place, 4 * MIB, 8 * MIB);
    assert_int_equal(place_grant(&place, 16), 16);
    assert_int_equal(place.heap->mapped_chunks, 1);
    place.heap->control->spaces_high = 8;
}

static struct mm_space *space(uint32_t index) { return mm_control_space(place.heap->control, place.heap->slot_count, index); }
static uint64_t client_address(uint64_t off) { return CLIENT_BASE + off; }

static struct mm_space *arena(uint32_t index, uint32_t generation)
{
    *space(index) = (struct mm_space){ .kind = MM_SPACE_ARENA, .generation = generation };
    return space(index);
}

static void run(uint32_t block, enum mm_run_use use, uint32_t blocks, uint32_t owner, uint32_t generation, uint64_t used_bytes)
{
    *(struct mm_run *)place_at(&place, block) = (struct mm_run){ .magic = MM_RUN_MAGIC, .use = (uint16_t)use, .blocks = blocks, .owner = owner,
                                                                 .generation = generation, .used_bytes = used_bytes };
}

/* Everything that is granted and not described is spare; this describes it, so that a case sees its own blocks only. */
static void spare_rest(uint32_t from) { run(from, MM_RUN_SPARE, 32 - from, 0, 0, 0); }

/* Writes an object's header at `off`; returns where the next one goes. */
static uint64_t object(uint64_t off, uint32_t bytes, uint16_t type_id, uint8_t flags)
{
    *(uint64_t *)(place.heap->view.base + off) = mm_header_make(bytes, type_id, flags);
    return off + mm_object_extent(bytes);
}

/* Counts, `steps` at a time; the number of slices is bounded, so a walk that does not end is a failure and no hang. */
static void count(unsigned steps)
{
    memset(type, 0, sizeof type);
    census = (struct census){ .heap = place.heap, .type = type, .type_count = TYPES };
    for (unsigned slices = 0; !census_slice(&census, steps); slices++)
        assert_true(slices < 1000000);
}

/* ---- Honest heaps ---- */

static void an_empty_arena_holds_nothing(void **state)
{
    blocks_open();
    arena(0, 1)->typed_cursor = client_address(MM_RUN_HEADER_BYTES);
    run(0, MM_RUN_TYPED, 1, 0, 1, 0);
    spare_rest(1);
    count(1000);
    assert_int_equal(census.used_bytes, 0);
    assert_int_equal(census.spare_bytes, 31 * BLOCK);
    assert_int_equal(census.arenas, 1);
    place_close(&place);
}

static void typed_objects_are_counted_by_type(void **state)
{
    blocks_open();
    uint64_t off = MM_RUN_HEADER_BYTES;
    off = object(off, 24, 1, 0);                            /* 48 with its header, in granules */
    off = object(off, 24, 1, 0);
    off = object(off, 1, 2, MM_PINNED);                     /* 32 */
    off = object(off, 80, 1, MM_FILLER);                    /* a gap: no object */
    off = object(off, 100, 0, 0);                           /* raw bytes */
    off = object(off, 0, 3, 0);                             /* nothing but a header */
    off = object(off, 8, 4, 0);                             /* a type that was registered after the census began */
    arena(3, 9)->typed_cursor = client_address(off);
    object(off, 8, 1, 0);                                   /* beyond the cursor: old contents */
    run(0, MM_RUN_TYPED, 1, 3, 9, 0);
    spare_rest(1);
    count(1000);
    static const struct census_type expected[TYPES] = { { 1, 100, 128 }, { 2, 48, 96 }, { 1, 1, 32 }, { 1, 0, 16 } };
    for (unsigned i = 0; i < TYPES; i++) {
        assert_int_equal(type[i].objects, expected[i].objects);
        assert_int_equal(type[i].bytes, expected[i].bytes);
        assert_int_equal(type[i].held_bytes, expected[i].held_bytes);
    }
    assert_int_equal(census.arena_bytes, off - MM_RUN_HEADER_BYTES);
    assert_int_equal(census.used_bytes, census.arena_bytes);
    assert_int_equal(census.large_bytes, 0);
    place_close(&place);
}

static void runs_that_are_full_say_so_themselves(void **state)
{
    blocks_open();
    arena(0, 1)->typed_cursor = client_address(5 * BLOCK + 160);
    object(MM_RUN_HEADER_BYTES, 1000, 1, 0);
    run(0, MM_RUN_TYPED, 2, 0, 1, MM_RUN_HEADER_BYTES + mm_object_extent(1000));
    run(2, MM_RUN_RAW, 3, 0, 1, 3 * BLOCK);
    object(5 * BLOCK + MM_RUN_HEADER_BYTES, 80, 1, 0);
    run(5, MM_RUN_TYPED, 1, 0, 1, 0);                       /* the present one */
    spare_rest(6);
    count(1000);
    assert_int_equal(census.arena_bytes, mm_object_extent(1000) + 3 * BLOCK - MM_RUN_HEADER_BYTES + 96);
    assert_int_equal(type[1].objects, 2);
    assert_int_equal(type[1].bytes, 1080);
    place_close(&place);
}

static void raw_bytes_are_counted_and_never_walked(void **state)
{
    blocks_open();
    arena(1, 2)->raw_cursor = client_address(1000);
    object(MM_RUN_HEADER_BYTES, 24, 1, 0);                  /* looks like an object, and is somebody's text */
    run(0, MM_RUN_RAW, 1, 1, 2, 0);
    spare_rest(1);
    count(1000);
    assert_int_equal(census.arena_bytes, 1000 - MM_RUN_HEADER_BYTES);
    assert_int_equal(type[1].objects, 0);
    place_close(&place);
}

static void runs_of_another_generation_hold_nothing(void **state)
{
    blocks_open();
    arena(0, 5)->typed_cursor = client_address(200);
    object(MM_RUN_HEADER_BYTES, 100, 1, 0);
    run(0, MM_RUN_TYPED, 1, 0, 4, BLOCK);
    run(1, MM_RUN_RAW, 1, 0, 6, BLOCK);
    run(2, MM_RUN_TYPED, 1, 7, 5, BLOCK);                   /* of no arena at all */
    *space(6) = (struct mm_space){ .kind = MM_SPACE_POOL, .generation = 5 };
    run(3, MM_RUN_TYPED, 1, 6, 5, BLOCK);                   /* of a pool */
    spare_rest(4);
    count(1000);
    assert_int_equal(census.used_bytes, 0);
    assert_int_equal(type[1].objects, 0);
    place_close(&place);
}

static void threads_own_objects_have_two_cursors(void **state)
{
    blocks_open();
    struct mm_slot *slot = mm_control_slot(place.heap->control, 1);
    uint64_t young = object(object(MM_RUN_HEADER_BYTES, 16, 1, 0), 16, 1, 0);
    uint64_t old = object(BLOCK + MM_RUN_HEADER_BYTES, 48, 2, 0);
    slot->young_cursor = client_address(young);
    slot->old_cursor = client_address(old);
    run(0, MM_RUN_THREAD, 1, 1, 0, 0);
    run(1, MM_RUN_THREAD, 1, 1, 1, 0);
    spare_rest(2);
    count(1000);
    assert_int_equal(census.object_bytes, 64 + 64);
    assert_int_equal(census.arena_bytes, 0);
    assert_int_equal(census.used_bytes, 128);
    assert_int_equal(type[1].objects, 2);
    assert_int_equal(type[2].objects, 1);
    place_close(&place);
}

static void a_large_object_in_a_run_of_its_own_is_large(void **state)
{
    blocks_open();
    arena(0, 1);
    uint64_t end = object(MM_RUN_HEADER_BYTES, 100000, 1, 0);
    run(0, MM_RUN_TYPED, 2, 0, 1, end);
    end = object(2 * BLOCK + MM_RUN_HEADER_BYTES, MM_LARGE_BYTES - MM_HEADER_BYTES, 1, 0);
    run(2, MM_RUN_TYPED, 1, 0, 1, end - 2 * BLOCK);         /* just not large */
    end = object(object(3 * BLOCK + MM_RUN_HEADER_BYTES, 20000, 1, 0), 20000, 1, 0);
    run(3, MM_RUN_TYPED, 1, 0, 1, end - 3 * BLOCK);         /* large enough, but not alone */
    spare_rest(4);
    count(1000);
    assert_int_equal(census.large_bytes, mm_object_extent(100000));
    assert_int_equal(type[1].objects, 4);
    place_close(&place);
}

static void pools_are_counted_page_by_page(void **state)
{
    blocks_open();
    run(0, MM_RUN_POOL, 2, 0, 0, 0);
    struct mm_pool_page *page = (struct mm_pool_page *)(place_at(&place, 0) + MM_POOL_TABLE_OFF);
    page[0] = (struct mm_pool_page){ .kind = MM_PAGE_META };
    page[1] = (struct mm_pool_page){ .kind = MM_PAGE_SLAB, .size_class = 0, .used = 10, .pages = 1 };       /* 16 bytes each */
    page[2] = (struct mm_pool_page){ .kind = MM_PAGE_SLAB, .size_class = 35, .used = 1, .pages = 4 };       /* 16 KiB */
    page[3] = (struct mm_pool_page){ .kind = MM_PAGE_TAIL, .used = 99, .pages = 1 };
    page[6] = (struct mm_pool_page){ .kind = MM_PAGE_LARGE, .pages = 5, .used = 99 };
    page[31] = (struct mm_pool_page){ .kind = MM_PAGE_FREE, .used = 99, .size_class = 3 };
    page[32] = (struct mm_pool_page){ .kind = MM_PAGE_SLAB, .used = 7, .pages = 1 };        /* no page of this run */
    *space(0) = (struct mm_space){ .kind = MM_SPACE_POOL };
    spare_rest(2);
    count(1000);
    assert_int_equal(census.pool_objects, 12);
    assert_int_equal(census.pool_bytes, 160 + 16384 + 5 * 4096);
    assert_int_equal(census.used_bytes, census.pool_bytes);
    assert_int_equal(census.pools, 1);
    assert_int_equal(census.arenas, 0);
    place_close(&place);
}

static void granted_blocks_without_a_run_are_spare(void **state)
{
    blocks_open();
    assert_true(heap_take_back(place.heap, 20, 4));         /* not granted: not his, not spare */
    run(0, MM_RUN_SPARE, 10, 0, 0, 0);
    count(1000);
    assert_int_equal(census.spare_bytes, 28 * BLOCK);
    assert_int_equal(census.used_bytes, 0);
    place_close(&place);
}

static void threads_waits_and_spaces_are_summed(void **state)
{
    blocks_open();
    struct mm_control *control = place.heap->control;
    control->slots_high = 2;
    for (unsigned i = 0; i < 2; i++) {
        mm_control_slot(control, i)->waits = 3;
        mm_control_slot(control, i)->wait_ns = 500;
    }
    mm_control_slot(control, 0)->state = MM_SLOT_NATIVE;   /* no thread's: static data */
    mm_control_slot(control, 1)->state = MM_SLOT_NATIVE;
    mm_control_slot(control, 1)->tid = 4711;
    arena(0, 0), arena(1, 0);
    space(2)->kind = MM_SPACE_POOL;
    space(3)->kind = 99;
    arena(8, 0);                                            /* beyond spaces_high */
    for (unsigned steps = 1; steps <= 1000; steps += 999) {
        count(steps);
        assert_int_equal(census.threads, 1);
        assert_int_equal(census.waits, 6);
        assert_int_equal(census.wait_ns, 1000);
        assert_int_equal(census.arenas, 2);
        assert_int_equal(census.pools, 1);
    }
    place_close(&place);
}

static void small_slices_see_the_same(void **state)
{
    blocks_open();
    uint64_t off = MM_RUN_HEADER_BYTES;
    for (unsigned i = 0; i < 500; i++)
        off = object(off, i % 100, (uint16_t)(i % 4), 0);
    arena(0, 1)->typed_cursor = client_address(off);
    run(0, MM_RUN_TYPED, 1, 0, 1, 0);
    run(1, MM_RUN_RAW, 2, 0, 1, 2 * BLOCK);
    spare_rest(3);
    count(100000);
    struct census whole = census;
    struct census_type whole_type[TYPES];
    memcpy(whole_type, type, sizeof type);
    for (unsigned steps = 1; steps < 40; steps += 3) {
        count(steps);
        assert_int_equal(census.used_bytes, whole.used_bytes);
        assert_int_equal(census.spare_bytes, whole.spare_bytes);
        assert_memory_equal(type, whole_type, sizeof type);
    }
    assert_int_equal(whole_type[0].objects + whole_type[1].objects + whole_type[2].objects + whole_type[3].objects, 500);
    place_close(&place);
}

static void without_types_no_object_is_read(void **state)
{
    uint64_t off = MM_RUN_HEADER_BYTES;
    unsigned slices = 1;
    blocks_open();
    for (unsigned i = 0; i < 500; i++)
        off = object(off, 16, 1, 0);
    arena(0, 1)->typed_cursor = client_address(off);
    run(0, MM_RUN_TYPED, 1, 0, 1, 0);
    spare_rest(1);
    census = (struct census){ .heap = place.heap };
    while (!census_slice(&census, 1))
        slices++;
    assert_int_equal(slices, 2);                            /* two runs, and none of 500 objects */
    assert_int_equal(census.arena_bytes, 500 * 32);
    place_close(&place);
}

/* A slice looks at about as much as it was told to: headers, granted blocks behind them, pages. */
static void long_runs_cost_more_than_one_step(void **state)
{
    blocks_open();
    run(0, MM_RUN_SPARE, 16, 0, 0, 0);
    run(16, MM_RUN_POOL, 1, 0, 0, 0);
    spare_rest(17);
    for (unsigned steps = 1; steps <= 16; steps += 15) {    /* up to a run's own length a slice sees one run */
        census = (struct census){ .heap = place.heap };
        assert_false(census_slice(&census, steps));
        assert_int_equal(census.block, 16);
        assert_false(census_slice(&census, steps));
        assert_int_equal(census.block, 17);
        assert_true(census_slice(&census, steps));
    }
    place_close(&place);
}

/* ---- Hostile heaps ---- */

static void a_run_longer_than_what_is_granted_is_not_believed(void **state)
{
    static const uint32_t blocks[] = { 5, 28, 29, 64, 1u << 16, UINT32_MAX - 3, UINT32_MAX };
    blocks_open();
    assert_true(heap_take_back(place.heap, 8, 1));
    arena(0, 1);
    for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        for (enum mm_run_use use = MM_RUN_SPARE; use < MM_RUN_USES; use++) {
            run(4, use, blocks[i], 0, 1, BLOCK);
            count(1000);
            assert_int_equal(census.used_bytes, 0);
            assert_int_equal(census.spare_bytes, 31 * BLOCK);
        }
    place_close(&place);
}

static void headers_that_make_no_sense_are_passed_over(void **state)
{
    blocks_open();
    arena(0, 1);
    run(0, MM_RUN_TYPED, 1, 0, 1, 1000);
    ((struct mm_run *)place_at(&place, 0))->magic++;
    run(1, MM_RUN_USES, 1, 0, 1, 1000);
    run(2, (enum mm_run_use)UINT16_MAX, 1, 0, 1, 1000);
    run(3, MM_RUN_TYPED, 0, 0, 1, 1000);
    run(4, MM_RUN_TYPED, 1, MM_SPACES, 1, 1000);            /* owners that cannot be */
    run(5, MM_RUN_TYPED, 1, UINT32_MAX, 1, 1000);
    run(6, MM_RUN_THREAD, 1, 2, 0, 0);
    run(7, MM_RUN_THREAD, 1, UINT32_MAX, 0, 0);
    spare_rest(8);
    count(1000);
    assert_int_equal(census.used_bytes, 0);
    assert_int_equal(census.spare_bytes, 28 * BLOCK);
    place_close(&place);
}

static void cursors_outside_their_run_count_for_nothing(void **state)
{
    static const uint64_t cursors[] = {
        0, 1, CLIENT_BASE - 1, CLIENT_BASE, CLIENT_BASE + 63, CLIENT_BASE + 65536 + 1, CLIENT_BASE + (4 << 20), CLIENT_BASE + (8 << 20),
        CLIENT_BASE + (8 << 20) + 1, UINT64_MAX, UINT64_MAX - 65536,
    };
    blocks_open();
    object(MM_RUN_HEADER_BYTES, 100, 1, 0);
    run(0, MM_RUN_TYPED, 1, 0, 1, 0);
    spare_rest(1);
    for (unsigned i = 0; i < sizeof cursors / sizeof cursors[0]; i++) {
        arena(0, 1)->typed_cursor = cursors[i];
        count(1000);
        assert_int_equal(census.used_bytes, 0);
        assert_int_equal(type[1].objects, 0);
    }
    place_close(&place);
}

static void used_bytes_beyond_the_run_count_for_nothing(void **state)
{
    static const uint64_t used[] = { 1, 63, MM_RUN_HEADER_BYTES, BLOCK + 1, 2 * BLOCK, UINT64_MAX, UINT64_MAX - 63 };
    blocks_open();
    arena(0, 1)->typed_cursor = client_address(1000);
    for (unsigned i = 0; i < sizeof used / sizeof used[0]; i++) {
        run(0, MM_RUN_TYPED, 1, 0, 1, used[i]);
        spare_rest(1);
        count(1000);
        assert_int_equal(census.used_bytes, 0);
    }
    place_close(&place);
}

/* In the last block that is mapped: one step too far would be a fault. */
static void objects_that_reach_beyond_their_run_end_the_walk(void **state)
{
    static const uint32_t bytes[] = { MM_BLOCK_BYTES, UINT32_MAX, UINT32_MAX - 15, UINT32_MAX - 16, 65536 - 64 - 48 };
    blocks_open();
    arena(0, 1);
    run(0, MM_RUN_SPARE, 31, 0, 0, 0);
    for (unsigned i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        uint64_t off = object(31 * BLOCK + MM_RUN_HEADER_BYTES, 8, 1, 0);
        object(off, bytes[i], 2, 0);
        run(31, MM_RUN_TYPED, 1, 0, 1, BLOCK);
        count(1000);
        assert_int_equal(type[1].objects, 1);
        assert_int_equal(type[2].objects, bytes[i] == 65536 - 64 - 48);     /* the last one fits to the byte */
    }
    place_close(&place);
}

static void a_word_that_was_never_born_ends_the_walk(void **state)
{
    blocks_open();
    arena(0, 1);
    uint64_t off = object(31 * BLOCK + MM_RUN_HEADER_BYTES, 8, 1, 0);
    *(uint64_t *)(place.heap->view.base + off) = mm_header_make(8, 2, 0) & ~((uint64_t)MM_BORN << 56);
    run(31, MM_RUN_TYPED, 1, 0, 1, BLOCK);
    count(1000);
    assert_int_equal(type[1].objects, 1);
    assert_int_equal(type[2].objects, 0);
    place_close(&place);
}

static void a_page_table_of_lies_is_bounded_by_its_run(void **state)
{
    blocks_open();
    run(0, MM_RUN_SPARE, 31, 0, 0, 0);
    run(31, MM_RUN_POOL, 1, 0, 0, 0);
    struct mm_pool_page *page = (struct mm_pool_page *)(place_at(&place, 31) + MM_POOL_TABLE_OFF);
    for (unsigned i = 0; i < 16; i++)
        page[i] = (struct mm_pool_page){ .kind = i % 2 ? MM_PAGE_SLAB : MM_PAGE_LARGE, .used = UINT16_MAX, .size_class = 35,
                                         .pages = UINT32_MAX };
    count(1000);
    assert_int_equal(census.pool_bytes, BLOCK);
    for (unsigned i = 0; i < 16; i++)
        page[i] = (struct mm_pool_page){ .kind = (uint8_t)(i % 2 ? MM_PAGE_SLAB : 200), .used = 1,
                                         .size_class = (uint8_t)(36 + 13 * i), .pages = 1 };
    count(1000);
    assert_int_equal(census.pool_bytes, 0);
    place_close(&place);
}

static void counts_of_slots_and_spaces_are_bounded(void **state)
{
    blocks_open();
    place.heap->control->slots_high = UINT32_MAX;
    place.heap->control->spaces_high = UINT32_MAX;
    arena(MM_SPACES - 1, 0);
    mm_control_slot(place.heap->control, 1)->state = UINT32_MAX;
    mm_control_slot(place.heap->control, 1)->tid = UINT32_MAX;
    count(1000);
    assert_int_equal(census.threads, 1);
    assert_int_equal(census.arenas, 1);
    place_close(&place);
}

/* Plausible headers of random contents in random places: the walk ends, stays inside, and finds no more than is granted. */
static void random_heaps_are_survived(void **state)
{
    struct test_random random = test_random_begin("census_unit");
    blocks_open();
    place.heap->control->slots_high = 2;
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 20; i++) {
            uint64_t *word = (uint64_t *)(place.heap->view.base + test_random_below(&random, 4 * MIB / 2 / 8) * 8);
            *word = test_random_next(&random);
        }
        for (uint32_t i = 0; i < 8; i++) {
            test_random_fill(&random, space(i), sizeof *space(i));
            space(i)->kind = (uint32_t)test_random_below(&random, 3);
            space(i)->generation = (uint32_t)test_random_below(&random, 3);
            space(i)->typed_cursor = client_address(test_random_below(&random, 9 * MIB));
            space(i)->raw_cursor = client_address(test_random_below(&random, 9 * MIB));
        }
        for (uint32_t i = 0; i < 2; i++)
            mm_control_slot(place.heap->control, i)->young_cursor = client_address(test_random_below(&random, 3 * MIB));
        for (uint32_t block = 0; block < 32; block++) {
            if (test_random_below(&random, 2))
                continue;
            run(block, (enum mm_run_use)test_random_below(&random, 6), (uint32_t)test_random_below(&random, 8),
                (uint32_t)test_random_below(&random, 10), (uint32_t)test_random_below(&random, 3),
                test_random_below(&random, 2) ? test_random_below(&random, 3 * BLOCK) : 0);
            uint64_t off = block * BLOCK + MM_RUN_HEADER_BYTES;
            while (off < (block + 1) * BLOCK - 64 && test_random_below(&random, 50))
                off = object(off, (uint32_t)test_random_below(&random, test_random_below(&random, 30) ? 300 : UINT32_MAX),
                             (uint16_t)test_random_below(&random, 6), (uint8_t)test_random_below(&random, 64));
        }
        count((unsigned)test_random_between(&random, 1, 1000));
        assert_int_equal(census.used_bytes, census.arena_bytes + census.object_bytes + census.pool_bytes);
        assert_true(census.used_bytes + census.spare_bytes <= 32 * BLOCK);
        assert_true(census.large_bytes <= census.used_bytes);
        uint64_t held = 0;
        for (unsigned i = 0; i < TYPES; i++)
            held += type[i].held_bytes;
        assert_true(held <= census.used_bytes);
    }
    place_check(&place);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(an_empty_arena_holds_nothing),
        world_case(typed_objects_are_counted_by_type),
        world_case(runs_that_are_full_say_so_themselves),
        world_case(raw_bytes_are_counted_and_never_walked),
        world_case(runs_of_another_generation_hold_nothing),
        world_case(threads_own_objects_have_two_cursors),
        world_case(a_large_object_in_a_run_of_its_own_is_large),
        world_case(pools_are_counted_page_by_page),
        world_case(granted_blocks_without_a_run_are_spare),
        world_case(threads_waits_and_spaces_are_summed),
        world_case(small_slices_see_the_same),
        world_case(without_types_no_object_is_read),
        world_case(long_runs_cost_more_than_one_step),
        world_case(a_run_longer_than_what_is_granted_is_not_believed),
        world_case(headers_that_make_no_sense_are_passed_over),
        world_case(cursors_outside_their_run_count_for_nothing),
        world_case(used_bytes_beyond_the_run_count_for_nothing),
        world_case(objects_that_reach_beyond_their_run_end_the_walk),
        world_case(a_word_that_was_never_born_ends_the_walk),
        world_case(a_page_table_of_lies_is_bounded_by_its_run),
        world_case(counts_of_slots_and_spaces_are_bounded),
        world_case(random_heaps_are_survived),
    };
    return test_run(cases);
}
