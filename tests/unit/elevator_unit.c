/* elevator_unit.c — blocks in which something waits are visited in the order of their addresses, each once a call. Tests daemon/gc/elevator.c against
 * an array of flags. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/gc/elevator.h"
#include "tests/lib/random.h"

static struct gc_elevator elevator;

static void open_for(uint64_t blocks) { assert_true(elevator_init(&elevator, blocks)); }

static void called(uint32_t count, const uint32_t *block)
{
    for (uint32_t i = 0; i < count; i++)
        elevator_call(&elevator, block[i]);
}

static void comes_to(uint32_t count, const uint32_t *block)
{
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(elevator_next(&elevator), block[i]);
}

static void it_goes_up_and_begins_again_below(void **state)
{
    open_for(10000);
    assert_int_equal(elevator_next(&elevator), ELEVATOR_NONE);
    called(4, (uint32_t[]){ 9999, 64, 0, 63 });
    comes_to(2, (uint32_t[]){ 0, 63 });
    called(2, (uint32_t[]){ 62, 65 });                      /* one behind it, one before it */
    comes_to(4, (uint32_t[]){ 64, 65, 9999, 62 });
    assert_int_equal(elevator_next(&elevator), ELEVATOR_NONE);
    assert_int_equal(elevator.count, 0);
    elevator_free(&elevator);
}

static void who_calls_twice_is_visited_once(void **state)
{
    open_for(1);
    called(2, (uint32_t[]){ 0, 0 });
    assert_int_equal(elevator.count, 1);
    assert_true(elevator_called(&elevator, 0));
    comes_to(2, (uint32_t[]){ 0, ELEVATOR_NONE });
    assert_false(elevator_called(&elevator, 0));
    called(1, (uint32_t[]){ 0 });
    comes_to(2, (uint32_t[]){ 0, ELEVATOR_NONE });
    elevator_free(&elevator);
}

/* Of tables whose last block is the last, or the first, of a word at either level. */
static void it_reaches_the_ends_of_its_tables(void **state)
{
    for (uint32_t blocks = 1; blocks < 20000; blocks = blocks < 64 ? blocks + 1 : blocks + 61) {
        open_for(blocks);
        called(2, (uint32_t[]){ blocks - 1, 0 });
        comes_to(1, (uint32_t[]){ 0 });
        comes_to(1, (uint32_t[]){ blocks > 1 ? blocks - 1 : ELEVATOR_NONE });
        assert_int_equal(elevator_next(&elevator), ELEVATOR_NONE);
        called(1, (uint32_t[]){ blocks - 1 });              /* it is where it stands */
        comes_to(1, (uint32_t[]){ blocks - 1 });
        elevator_free(&elevator);
    }
}

#define BLOCKS 9000u

static uint32_t next_by_flags(const bool *waits, uint32_t at)
{
    for (uint32_t i = 0; i < BLOCKS; i++)
        if (waits[(at + i) % BLOCKS])
            return (at + i) % BLOCKS;
    return ELEVATOR_NONE;
}

/* Thousands of calls and visits, in heaps that are nearly empty and nearly full. */
static void it_does_what_flags_do(void **state)
{
    static bool waits[BLOCKS];
    struct test_random random = test_random_begin("elevator_unit");
    open_for(BLOCKS);
    memset(waits, 0, sizeof waits);
    for (uint32_t turn = 0, at = 0; turn < 200000; turn++) {
        uint32_t calls = test_random_below(&random, turn / 20000 % 2 ? 3 : 40), span = turn / 40000 % 2 ? BLOCKS : 200;
        for (uint32_t i = 0; i < calls; i++) {
            uint32_t block = (at + test_random_below(&random, span)) % BLOCKS;
            elevator_call(&elevator, block);
            waits[block] = true;
        }
        for (uint32_t visits = 1 + test_random_below(&random, 3); visits; visits--) {
            uint32_t block = elevator_next(&elevator);
            assert_int_equal(block, next_by_flags(waits, at));
            if (block == ELEVATOR_NONE)
                break;
            waits[block] = false;
            at = block + 1;
        }
    }
    elevator_free(&elevator);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(it_goes_up_and_begins_again_below),
        cmocka_unit_test(who_calls_twice_is_visited_once),
        cmocka_unit_test(it_reaches_the_ends_of_its_tables),
        cmocka_unit_test(it_does_what_flags_do),
    };
    return cmocka_run_group_tests(cases, NULL, NULL);
}
