/* balance_unit.c — who may aim at what, who is asked to give, in which order, and who gets it. Tests daemon/heap/balance.c with heaps that are
 * not collected; collections for others are shown by tests/integration/budget.int.c. */
#include "tests/unit/heap_helper.h"

#include <inttypes.h>

#include "daemon/heap/balance.h"
#include "tests/lib/random.h"

/* ---- Division ---- */

static void divided(uint64_t bytes, uint32_t count, const uint64_t *want, const uint64_t *expected)
{
    struct balance_part part[8] = { { 0 } };
    for (uint32_t i = 0; i < count; i++)
        part[i].want_bytes = want[i];
    balance_divide(part, count, bytes);
    for (uint32_t i = 0; i < count; i++)
        if (part[i].target_bytes != expected[i])
            fail_msg("part %u of %" PRIu64 ": %" PRIu64 ", expected %" PRIu64, i, bytes, part[i].target_bytes, expected[i]);
}

static void who_wants_less_leaves_the_rest_to_others(void **state)
{
    divided(100, 1, (uint64_t[]){ 500 }, (uint64_t[]){ 100 });
    divided(100, 1, (uint64_t[]){ 50 }, (uint64_t[]){ 50 });
    divided(100, 2, (uint64_t[]){ 500, 500 }, (uint64_t[]){ 50, 50 });
    divided(100, 2, (uint64_t[]){ 10, 500 }, (uint64_t[]){ 10, 90 });
    divided(100, 4, (uint64_t[]){ 10, 500, 30, 500 }, (uint64_t[]){ 10, 30, 30, 30 });
    divided(100, 3, (uint64_t[]){ 35, 10, 500 }, (uint64_t[]){ 35, 10, 55 });
    divided(100, 3, (uint64_t[]){ 0, 0, 0 }, (uint64_t[]){ 0, 0, 0 });
    divided(0, 2, (uint64_t[]){ 5, 0 }, (uint64_t[]){ 0, 0 });
    balance_divide(NULL, 0, 100);
}

/* Any division: no more than there is, nobody more than he wants, nobody less than an equal part unless he wants less, nothing left over
 * that somebody wants. */
static void divisions_are_fair(void **state)
{
    struct test_random random = test_random_begin("balance_unit");
    for (unsigned round = 0; round < 2000; round++) {
        struct balance_part part[40] = { { 0 } };
        uint32_t count = (uint32_t)test_random_between(&random, 1, 40);
        uint64_t bytes = test_random_below(&random, GIB), sum = 0, wanted = 0;
        for (uint32_t i = 0; i < count; i++)
            wanted += part[i].want_bytes = test_random_size(&random, GIB);
        balance_divide(part, count, bytes);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(part[i].target_bytes <= part[i].want_bytes);
            assert_true(part[i].target_bytes == part[i].want_bytes || part[i].target_bytes >= bytes / count);
            sum += part[i].target_bytes;
        }
        assert_true(sum <= bytes);
        assert_true(sum + count > (wanted < bytes ? wanted : bytes));           /* short of what an integer division leaves */
    }
}

/* ---- Asking ---- */

static struct { uint64_t asked[16]; enum balance_ask what[16]; unsigned count; } hook;

static void on_short(uint64_t heap, enum balance_ask ask, uint64_t wanted_bytes)
{
    assert_true(wanted_bytes > 0);
    hook.asked[hook.count] = heap;
    hook.what[hook.count++] = ask;
}

#define HEAPS 3
static struct place place[HEAPS];

static void heaps_open(unsigned count)
{
    memset(&hook, 0, sizeof hook);
    balance_on_short(on_short);
    for (unsigned i = 0; i < count; i++) {
        place_open(&place[i], 8 * MIB, 16 * MIB);
        place[i].heap->id = i + 1;
    }
}

static void heaps_close(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        place_close(&place[i]);
    balance_on_short(NULL);
    world_settle();
}

/* Everything that heap `i` was asked for, as its worker does it; how many slices. */
static unsigned give(unsigned i)
{
    unsigned slices = 0;
    while (balance_step(place[i].heap))
        slices++;
    place_check(&place[i]);
    return slices;
}

/* A request of heap `i` as refill.c makes it. */
static int request(unsigned i, uint32_t blocks, uint32_t *ret_block)
{
    uint32_t count;
    place[i].heap->asking = true;
    int r = place_try_grant(&place[i], blocks, blocks, ret_block, &count);
    place[i].heap->asking = false;
    if (r >= 0 || r == -MORPH_EBUDGET)
        balance_answered(place[i].heap);
    return r;
}

/* Takes until nothing is left, then gives all back: free, and charged. */
static void leave_free(unsigned i, uint32_t blocks)
{
    uint32_t block = place_grant(&place[i], blocks);
    assert_true(heap_take_back(place[i].heap, block, blocks));
}

static void idle_heaps_give_first_then_busy_ones_then_nobody(void **state)
{
    uint32_t block;
    config.heap_idle = 1000;
    heaps_open(3);
    leave_free(0, 20);
    leave_free(1, 30);
    world_ns += 2 * SEC;
    mm_store_relaxed(&place[1].heap->member.granted_ns, world_ns);      /* 0 is idle, 1 has most */
    mm_store_relaxed(&place[2].heap->member.granted_ns, world_ns);
    budget_set(budget_used());
    assert_int_equal(request(2, 10, &block), HEAP_LATER_BUDGET);
    assert_true(balance_wanting());
    assert_int_equal(hook.count, 1);
    assert_true(hook.asked[0] == 1 && hook.what[0] == BALANCE_TRIM);
    assert_int_equal(request(2, 10, &block), HEAP_LATER_BUDGET);        /* one at a time */
    assert_int_equal(hook.count, 1);
    assert_int_equal(give(2), 0);
    assert_true(give(0) > 0);
    assert_int_equal(request(2, 10, &block), 0);
    assert_false(balance_wanting());
    assert_true(budget_used() <= budget_limit());
    assert_int_equal(request(2, 30, &block), HEAP_LATER_BUDGET);        /* what is left of 0, and then 1 */
    while (hook.count < 8 && (give(0) || give(1)) && request(2, 30, &block) == HEAP_LATER_BUDGET)
        ;
    assert_true(hook.asked[hook.count - 1] == 2);
    assert_int_equal(place[2].heap->granted_blocks, 32 + 10 + 30);
    unsigned asked = hook.count;
    int r;
    while ((r = request(2, 40, &block)) == HEAP_LATER_BUDGET)
        (void)(give(0) + give(1) + give(2));
    assert_int_equal(r, -MORPH_EBUDGET);                                /* all were asked, once */
    assert_true(hook.count <= asked + 3);
    assert_false(balance_wanting());
    heaps_close(3);
}

static void who_does_not_wait_is_refused_at_once(void **state)
{
    uint32_t block, count;
    heaps_open(2);
    leave_free(0, 20);
    budget_set(budget_used());
    assert_int_equal(place_try_grant(&place[1], 20, 20, &block, &count), -MORPH_EBUDGET);       /* granted ahead */
    assert_int_equal(hook.count, 0);
    assert_false(balance_wanting());
    heaps_close(2);
}

/* While a heap below its target waits, one above cannot take what it waits for. */
static void what_a_low_heap_waits_for_is_kept_for_it(void **state)
{
    uint32_t block;
    heaps_open(2);
    place_grant(&place[0], 40);
    leave_free(0, 10);                                                  /* 82 blocks, the other has 32: aims are 58 each */
    budget_set(116 * MM_BLOCK_BYTES);
    assert_int_equal(request(1, 10, &block), HEAP_LATER_BUDGET);
    assert_int_equal(balance_keep_bytes(place[0].heap, MM_BLOCK_BYTES), 10 * MM_BLOCK_BYTES);
    assert_int_equal(balance_keep_bytes(place[1].heap, MM_BLOCK_BYTES), 0);
    assert_true(give(0) > 0);
    uint32_t other;
    assert_true(budget_used() + 12 * MM_BLOCK_BYTES == budget_limit());
    assert_int_equal(request(0, 4, &other), -MORPH_EBUDGET);            /* there is room, and it is not for him */
    assert_int_equal(request(1, 10, &block), 0);
    assert_false(balance_wanting());
    assert_int_equal(balance_keep_bytes(place[0].heap, MM_BLOCK_BYTES), 0);
    heaps_close(2);
}

static void who_leaves_claims_and_owes_nothing(void **state)
{
    uint32_t block;
    heaps_open(3);
    leave_free(0, 20);
    budget_set(budget_used());
    assert_int_equal(request(1, 20, &block), HEAP_LATER_BUDGET);
    assert_int_equal(hook.asked[0], 1);
    balance_leave(place[0].heap);                                       /* before it gave */
    balance_leave(place[0].heap);
    assert_int_equal(give(0), 0);
    balance_leave(place[1].heap);
    assert_false(balance_wanting());
    assert_int_equal(request(2, 20, &block), -MORPH_EBUDGET);           /* nobody owes anything that could be waited for */
    heaps_close(3);
}

static void a_heap_opens_where_others_can_give(void **state)
{
    heaps_open(1);
    leave_free(0, 20);
    budget_set(budget_used());
    assert_int_equal(place_try(&place[1], NULL, 8 * MIB, 16 * MIB, 2), 0);
    assert_int_equal(place[1].heap->granted_blocks, 0);
    assert_int_equal(hook.count, 1);
    uint32_t block;
    assert_true(give(0) > 0);
    int r;
    while ((r = request(1, 4, &block)) == HEAP_LATER_BUDGET)
        (void)give(0);
    assert_int_equal(r, 0);
    heaps_close(2);
}

static void pressure_asks_until_what_is_used_fits(void **state)
{
    config.heap_idle = 1000;
    heaps_open(2);
    leave_free(0, 20);
    leave_free(1, 30);
    world_ns += 2 * SEC;
    mm_store_relaxed(&place[1].heap->member.granted_ns, world_ns);
    uint64_t used = budget_used();
    assert_int_equal(balance_could_give_bytes(), 50 * MM_BLOCK_BYTES);
    assert_true(balance_relieve());
    assert_int_equal(hook.count, 0);                                    /* nothing to relieve */
    budget_work_with(used - 25 * MM_BLOCK_BYTES);
    balance_press();
    assert_true(balance_wanting() && balance_relieve());
    assert_int_equal(hook.asked[0], 1);
    assert_true(give(0) > 0);
    assert_true(balance_relieve());
    assert_int_equal(hook.asked[1], 2);
    assert_true(give(1) > 0);
    assert_true(budget_used() <= budget_limit());
    budget_work_with(MM_BLOCK_BYTES);
    balance_press();
    while (balance_relieve())
        (void)(give(0) + give(1));
    assert_int_equal(balance_could_give_bytes(), 0);
    uint32_t block;
    budget_set(budget_used() + 3 * MM_BLOCK_BYTES);
    budget_work_with(MM_BLOCK_BYTES);
    assert_int_equal(request(1, 2, &block), HEAP_LATER_BUDGET);         /* pressure by itself refuses nobody ... */
    assert_int_equal(request(1, 2, &block), 0);
    assert_int_equal(request(1, 2, &block), -MORPH_EBUDGET);            /* ... as long as the budget itself has room */
    assert_true(budget_limit() <= budget_configured());
    budget_work_with(UINT64_MAX);
    assert_int_equal(budget_limit(), budget_configured());
    heaps_close(2);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(who_wants_less_leaves_the_rest_to_others),
        test_case(divisions_are_fair),
        world_case(idle_heaps_give_first_then_busy_ones_then_nobody),
        world_case(who_does_not_wait_is_refused_at_once),
        world_case(what_a_low_heap_waits_for_is_kept_for_it),
        world_case(who_leaves_claims_and_owes_nothing),
        world_case(a_heap_opens_where_others_can_give),
        world_case(pressure_asks_until_what_is_used_fits),
    };
    return test_run(cases);
}
