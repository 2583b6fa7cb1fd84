/* budget_unit.c — the one budget: what is taken, given, refused, also by many threads at once. Tests daemon/heap/budget.c. */
#include "tests/lib/check.h"

#include <pthread.h>

#include "daemon/heap/budget.h"
#include "shm/atomic.h"
#include "shm/machine.h"

static void takes_up_to_the_limit_and_not_a_byte_more(void **state)
{
    budget_set(1000);
    assert_int_equal(budget_limit(), 1000);
    assert_int_equal(budget_used(), 0);
    assert_true(budget_take(999));
    assert_false(budget_take(2));
    assert_int_equal(budget_used(), 999);           /* a refusal takes nothing */
    assert_true(budget_take(1));
    assert_false(budget_take(1));
    assert_true(budget_take(0));
    budget_give(1000);
    assert_int_equal(budget_used(), 0);
}

static void sums_that_would_wrap_are_refused(void **state)
{
    budget_set(1000);
    assert_true(budget_take(10));
    assert_false(budget_take(UINT64_MAX));
    assert_false(budget_take(UINT64_MAX - 9));
    budget_set(UINT64_MAX);
    assert_false(budget_take(UINT64_MAX));
    assert_true(budget_take(UINT64_MAX - 10));
    assert_false(budget_take(1));
    budget_give(UINT64_MAX);
    assert_int_equal(budget_used(), 0);
}

static void a_limit_below_what_is_used_refuses_until_enough_is_given(void **state)
{
    budget_set(1000);
    assert_true(budget_take(800));
    budget_set(500);
    assert_int_equal(budget_used(), 800);
    assert_false(budget_take(1));
    budget_give(300);
    assert_false(budget_take(1));
    budget_give(1);
    assert_true(budget_take(1));
    budget_give(500);
    assert_int_equal(budget_used(), 0);
}

/* Pressure lowers the working size; it never passes what is configured. */
static void takes_are_held_to_the_working_size(void **state)
{
    budget_set(1000);
    budget_work_with(600);
    assert_int_equal(budget_limit(), 600);
    assert_int_equal(budget_configured(), 1000);
    assert_true(budget_take(600));
    assert_false(budget_take(1));
    budget_work_with(5000);
    assert_int_equal(budget_limit(), 1000);
    assert_true(budget_take(100));
    budget_work_with(10);
    budget_set(900);                                /* a new budget is worked with as a whole */
    assert_int_equal(budget_limit(), 900);
    budget_give(700);
}

static void a_take_leaves_what_is_to_be_kept(void **state)
{
    budget_set(1000);
    assert_false(budget_take_keeping(901, 100));
    assert_true(budget_take_keeping(900, 100));
    assert_false(budget_take_keeping(1, 100));
    assert_false(budget_take_keeping(0, 1001));
    assert_false(budget_take_keeping(1, UINT64_MAX));
    assert_true(budget_take_keeping(100, 0));
    budget_give(1000);
}

static void without_a_number_it_is_three_quarters_of_what_there_is(void **state)
{
    uint64_t ram = mm_machine_ram_bytes(), cgroup = mm_machine_cgroup_limit_bytes(0), least = ram < cgroup ? ram : cgroup;
    budget_set(0);
    assert_int_equal(budget_limit(), least / 4 * 3);
    assert_true(budget_limit() > 0);
}

/* ---- Many threads ---- */

#define THREADS 4u
#define ROUNDS  100000u
#define LIMIT   10000u

static pthread_barrier_t all_here;

struct hammer { uint64_t held, passed_limit, seed; };

static void *hammer_run(void *argument)
{
    struct hammer *hammer = argument;
    pthread_barrier_wait(&all_here);
    for (unsigned i = 0; i < ROUNDS; i++) {
        hammer->seed = hammer->seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bytes = (hammer->seed >> 40) % 3000 + 1;
        if (budget_take(bytes))
            hammer->held += bytes;
        hammer->passed_limit += budget_used() > LIMIT;
        if (i % 2 && hammer->held) {
            budget_give(hammer->held);
            hammer->held = 0;
        }
    }
    return NULL;
}

static void threads_never_pass_the_limit_and_lose_nothing(void **state)
{
    pthread_t thread[THREADS];
    struct hammer hammer[THREADS] = { 0 };
    uint64_t held = 0;
    budget_set(LIMIT);
    assert_int_equal(pthread_barrier_init(&all_here, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        hammer[i].seed = i + 1;
        assert_int_equal(pthread_create(&thread[i], NULL, hammer_run, &hammer[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_int_equal(hammer[i].passed_limit, 0);
        held += hammer[i].held;
    }
    pthread_barrier_destroy(&all_here);
    assert_int_equal(budget_used(), held);
    budget_give(held);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(takes_up_to_the_limit_and_not_a_byte_more),
        test_case(sums_that_would_wrap_are_refused),
        test_case(a_limit_below_what_is_used_refuses_until_enough_is_given),
        test_case(takes_are_held_to_the_working_size),
        test_case(a_take_leaves_what_is_to_be_kept),
        test_case(without_a_number_it_is_three_quarters_of_what_there_is),
        test_case(threads_never_pass_the_limit_and_lose_nothing),
    };
    return test_run(cases);
}
