/* spare_unit.c — runs kept for later: joined, split, chosen, given up; then at random against a plain map of blocks. Tests client/spare.c. */
#define _GNU_SOURCE
#include "tests/lib/check.h"
#include "tests/lib/random.h"

#include <string.h>
#include <sys/mman.h>

#include "client/internal.h"

#define BLOCKS 256u

static struct mm_control control;       /* says the bound */
static struct morph_heap heap;

/* A heap of nothing but memory; `base` is where its blocks are. */
static int heap_begin(void **state)
{
    control.limit_bytes = (uint64_t)BLOCKS * MM_BLOCK_BYTES;
    heap = (struct morph_heap){ .control = &control };
    heap.base = mmap(NULL, BLOCKS * MM_BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_ptr_not_equal(heap.base, MAP_FAILED);
    return test_begin(state);
}

static int heap_end(void **state)
{
    munmap(heap.base, BLOCKS * MM_BLOCK_BYTES);
    return test_end(state);
}

#define spare_case(function) cmocka_unit_test_setup_teardown(function, heap_begin, heap_end)

static char *block_at(uint32_t block) { return heap.base + (uint64_t)block * MM_BLOCK_BYTES; }
static void put(uint32_t block, uint32_t blocks, bool zeroed) { morph__spare_put(&heap, block_at(block), blocks, zeroed); }

/* Takes, and expects this run. */
static bool take(uint32_t want, uint32_t min, uint32_t block, uint32_t blocks)
{
    bool zeroed = false;
    struct mm_run *run = morph__spare_take(&heap, want, min, &zeroed);
    assert_non_null(run);
    assert_int_equal(morph__block_of(&heap, run), block);
    assert_int_equal(run->blocks, blocks);
    assert_int_equal(run->magic, MM_RUN_MAGIC);
    return zeroed;
}

static void assert_none(uint32_t want, uint32_t min)
{
    bool zeroed;
    assert_null(morph__spare_take(&heap, want, min, &zeroed));
}

/* The list is in address order, its neighbours do not touch, and its sum is right; says how many runs it has. */
static unsigned runs(void)
{
    unsigned count = 0;
    uint32_t sum = 0;
    const char *end = NULL;
    for (const struct mm_run *run = heap.spare; run; run = (const struct mm_run *)(uintptr_t)run->client_word[0], count++) {
        assert_true((const char *)run > end);
        assert_int_equal(run->magic, MM_RUN_MAGIC);
        assert_int_equal(run->use, MM_RUN_SPARE);
        assert_true(run->blocks > 0);
        end = (const char *)run + (uint64_t)run->blocks * MM_BLOCK_BYTES;
        sum += run->blocks;
    }
    assert_int_equal(sum, heap.spare_blocks);
    return count;
}

static void what_is_put_can_be_taken(void **state)
{
    assert_none(1, 1);
    put(5, 3, false);
    assert_int_equal(heap.spare_blocks, 3);
    assert_int_equal(runs(), 1);
    take(3, 3, 5, 3);
    assert_int_equal(heap.spare_blocks, 0);
    assert_int_equal(runs(), 0);
    assert_none(1, 1);
}

static void neighbours_join_whichever_comes_last(void **state)
{
    static const uint32_t orders[6][3] = { { 0, 2, 4 }, { 0, 4, 2 }, { 2, 0, 4 }, { 2, 4, 0 }, { 4, 0, 2 }, { 4, 2, 0 } };
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned k = 0; k < 3; k++)
            put(orders[i][k], 2, false);
        assert_int_equal(runs(), 1);
        take(6, 6, 0, 6);
    }
}

static void runs_with_a_gap_do_not_join(void **state)
{
    put(0, 2, false);
    put(3, 2, false);
    put(6, 1, false);
    assert_int_equal(runs(), 3);
    assert_none(3, 3);
}

static void the_rest_of_a_longer_run_stays(void **state)
{
    put(8, 10, false);
    take(4, 1, 8, 4);
    assert_int_equal(heap.spare_blocks, 6);
    take(6, 6, 12, 6);
    assert_int_equal(runs(), 0);
}

static void a_rest_between_two_runs_keeps_its_place(void **state)
{
    put(0, 1, false);
    put(2, 8, false);
    put(20, 1, false);
    take(3, 3, 2, 3);
    assert_int_equal(runs(), 3);
    put(2, 3, false);
    assert_int_equal(runs(), 3);
    take(8, 8, 2, 8);
    assert_int_equal(runs(), 2);
}

static void the_first_run_that_is_long_enough_is_taken(void **state)
{
    put(0, 2, false);
    put(10, 6, false);
    put(20, 4, false);
    put(30, 9, false);
    take(4, 1, 10, 4);
    take(4, 1, 20, 4);
}

static void else_the_longest_of_at_least_the_least(void **state)
{
    put(0, 2, false);
    put(10, 6, false);
    put(20, 4, false);
    put(40, 6, false);
    take(9, 3, 10, 6);              /* of two equals the first */
    take(9, 3, 40, 6);
    take(9, 3, 20, 4);
    assert_none(9, 3);
    take(9, 2, 0, 2);
    assert_int_equal(heap.spare_blocks, 0);
}

static void zeroed_holds_for_a_run_only_if_for_all_its_parts(void **state)
{
    put(0, 2, true);
    assert_true(take(2, 2, 0, 2));
    put(0, 2, false);
    assert_false(take(2, 2, 0, 2));
    for (unsigned dirty = 0; dirty < 3; dirty++) {
        for (unsigned i = 0; i < 3; i++)
            put(2 * i, 2, i != dirty);
        assert_false(take(6, 6, 0, 6));
    }
    for (unsigned i = 3; i-- > 0;)
        put(2 * i, 2, true);
    assert_true(take(6, 6, 0, 6));
}

/* Headers that were in the middle are wiped; the rest of a split keeps the word. */
static void zeroed_memory_is_zero_after_splits_and_joins(void **state)
{
    put(0, 4, true);
    put(8, 4, true);
    put(4, 4, true);
    assert_true(take(3, 3, 0, 3));
    memset(block_at(0), 0, MM_RUN_HEADER_BYTES);
    put(0, 3, true);
    assert_true(take(12, 12, 0, 12));
    for (uint64_t i = MM_RUN_HEADER_BYTES; i < 12 * MM_BLOCK_BYTES; i++)
        if (heap.base[i])
            fail_msg("byte %lu is not zero", (unsigned long)i);
}

static uint32_t kept_after_surplus(uint64_t limit_bytes)
{
    control.limit_bytes = limit_bytes;
    for (uint32_t block = 0; block < BLOCKS; block += 2)
        put(block, 1, false);
    uint32_t last = BLOCKS;
    for (struct mm_run *run; (run = morph__spare_surplus(&heap));) {
        assert_true(morph__block_of(&heap, run) < last);       /* from the end */
        last = morph__block_of(&heap, run);
        (void)runs();
    }
    uint32_t kept = heap.spare_blocks;
    assert_null(morph__spare_surplus(&heap));
    while (heap.spare_blocks)
        (void)morph__spare_take(&heap, 1, 1, &(bool){ false });
    return kept;
}

static void what_is_beyond_the_bound_is_given_up(void **state)
{
    assert_int_equal(kept_after_surplus(256 << 10), 16);                       /* at least 1 MiB */
    assert_int_equal(kept_after_surplus((uint64_t)32 << 20), 32);              /* a sixteenth */
    assert_int_equal(kept_after_surplus((uint64_t)1 << 40), 128);              /* at most 8 MiB */
}

static void a_single_run_beyond_the_bound_goes_whole(void **state)
{
    control.limit_bytes = 256 << 10;
    put(0, 17, false);
    struct mm_run *run = morph__spare_surplus(&heap);
    assert_ptr_equal(run, block_at(0));
    assert_int_equal(run->blocks, 17);
    assert_null(heap.spare);
    assert_int_equal(heap.spare_blocks, 0);
    assert_null(morph__spare_surplus(&heap));
}

/* ---- At random, against one flag a block ---- */

static bool model_spare[BLOCKS], model_mine_zero[BLOCKS];      /* spare; mine, and nobody has written to it */

struct found { uint32_t block, blocks; };

/* What the rule says, found the slow way. */
static struct found model_find(uint32_t want, uint32_t min)
{
    struct found best = { 0, 0 };
    for (uint32_t block = 0, end; block < BLOCKS; block = end + 1) {
        for (end = block; end < BLOCKS && model_spare[end]; end++)
            ;
        if (end - block >= want)
            return (struct found){ block, want };
        if (end - block >= min && end - block > best.blocks)
            best = (struct found){ block, end - block };
    }
    return best;
}

static void random_take(struct test_random *random)
{
    uint32_t want = (uint32_t)test_random_between(random, 1, 12), min = (uint32_t)test_random_between(random, 1, want);
    struct found expected = model_find(want, min);
    bool zeroed = false;
    struct mm_run *run = morph__spare_take(&heap, want, min, &zeroed);
    if (!expected.blocks) {
        assert_null(run);
        return;
    }
    assert_non_null(run);
    assert_int_equal(morph__block_of(&heap, run), expected.block);
    assert_int_equal(run->blocks, expected.blocks);
    uint64_t bytes = (uint64_t)expected.blocks * MM_BLOCK_BYTES;
    bool use = test_random_below(random, 2);
    for (uint64_t i = MM_RUN_HEADER_BYTES; zeroed && i < bytes; i += 8)
        if (*(uint64_t *)((char *)run + i))
            fail_msg("a run said to be zero is not, at %lu", (unsigned long)i);
    for (uint32_t i = 0; i < expected.blocks; i++) {
        model_spare[expected.block + i] = false;
        model_mine_zero[expected.block + i] = zeroed && !use;
        if (use)
            memset(block_at(expected.block + i) + test_random_below(random, MM_BLOCK_BYTES - 64), 0xee, 64);
    }
    if (!use)
        memset(run, 0, sizeof *run);
}

static void random_put(struct test_random *random)
{
    uint32_t block = (uint32_t)test_random_below(random, BLOCKS), end = block;
    uint32_t most = (uint32_t)test_random_between(random, 1, 12);
    bool zeroed = true;
    for (; end < BLOCKS && end - block < most && !model_spare[end]; end++)
        zeroed &= model_mine_zero[end];
    for (uint32_t i = block; i < end; i++)
        model_spare[i] = true;
    if (end > block)
        put(block, end - block, zeroed);
}

static void any_sequence_agrees_with_the_model(void **state)
{
    struct test_random random = test_random_begin("spare_unit");
    memset(model_spare, 0, sizeof model_spare);
    memset(model_mine_zero, 1, sizeof model_mine_zero);
    for (unsigned step = 0; step < 4000; step++) {
        if (test_random_below(&random, 2))
            random_put(&random);
        else
            random_take(&random);
        uint32_t spare = 0;
        for (uint32_t i = 0; i < BLOCKS; i++)
            spare += model_spare[i];
        assert_int_equal(heap.spare_blocks, spare);
        (void)runs();
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        spare_case(what_is_put_can_be_taken),
        spare_case(neighbours_join_whichever_comes_last),
        spare_case(runs_with_a_gap_do_not_join),
        spare_case(the_rest_of_a_longer_run_stays),
        spare_case(a_rest_between_two_runs_keeps_its_place),
        spare_case(the_first_run_that_is_long_enough_is_taken),
        spare_case(else_the_longest_of_at_least_the_least),
        spare_case(zeroed_holds_for_a_run_only_if_for_all_its_parts),
        spare_case(zeroed_memory_is_zero_after_splits_and_joins),
        spare_case(what_is_beyond_the_bound_is_given_up),
        spare_case(a_single_run_beyond_the_bound_goes_whole),
        spare_case(any_sequence_agrees_with_the_model),
    };
    return test_run(cases);
}
