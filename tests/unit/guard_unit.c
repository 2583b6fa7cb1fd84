/* guard_unit.c — faults in memory that cannot be had, real ones: a mapping beyond the end of its file. Tests daemon/heap/guard.c. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/heap/guard.h"

#define PAGE 65536u         /* at least one page of any machine */

/* Two pages mapped, one there: the second raises SIGBUS. */
static volatile char *half_there(void)
{
    guard_init();           /* in each case: cmocka puts its own handler in front of every one */
    int fd = memfd_create("short", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, PAGE), 0);
    char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    close(fd);
    return map;
}

static void half_gone(volatile char *map) { munmap((void *)map, 2 * PAGE); }

struct touch { volatile char *at; unsigned before, after; };

static void touch_once(void *argument)
{
    struct touch *touch = argument;
    touch->before++;
    *touch->at = 1;
    touch->after++;
}

static void a_body_without_a_fault_ends_true(void **state)
{
    volatile char *map = half_there();
    struct touch touch = { .at = map };
    assert_true(guard_run(touch_once, &touch));
    assert_int_equal(touch.before, 1);
    assert_int_equal(touch.after, 1);
    assert_int_equal(map[0], 1);
    half_gone(map);
}

static void a_fault_ends_the_body_and_returns_false(void **state)
{
    volatile char *map = half_there();
    struct touch touch = { .at = map + PAGE };
    assert_false(guard_run(touch_once, &touch));
    assert_int_equal(touch.before, 1);
    assert_int_equal(touch.after, 0);
    half_gone(map);
}

/* Neither the signal stays blocked nor the guard armed. */
static void it_works_again_and_again(void **state)
{
    volatile char *map = half_there();
    struct touch bad = { .at = map + PAGE }, good = { .at = map };
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(guard_run(touch_once, &bad));
        assert_true(guard_run(touch_once, &good));
    }
    assert_int_equal(bad.after, 0);
    assert_int_equal(good.after, 1000);
    half_gone(map);
}

struct nest { struct touch inner, outer; bool inner_whole; unsigned between; };

static void run_nested(void *argument)
{
    struct nest *nest = argument;
    nest->inner_whole = guard_run(touch_once, &nest->inner);
    nest->between++;
    touch_once(&nest->outer);
}

static void a_fault_inside_ends_the_inner_body_only(void **state)
{
    volatile char *map = half_there();
    struct nest nest = { .inner.at = map + PAGE, .outer.at = map, .inner_whole = true };
    assert_true(guard_run(run_nested, &nest));
    assert_false(nest.inner_whole);
    assert_int_equal(nest.between, 1);
    assert_int_equal(nest.outer.after, 1);
    half_gone(map);
}

static void after_an_inner_body_the_outer_one_is_guarded_again(void **state)
{
    volatile char *map = half_there();
    for (unsigned fault_inside = 0; fault_inside <= 1; fault_inside++) {
        struct nest nest = { .inner.at = map + fault_inside * PAGE, .outer.at = map + PAGE };
        assert_false(guard_run(run_nested, &nest));
        assert_int_equal(nest.inner_whole, !fault_inside);
        assert_int_equal(nest.between, 1);
        assert_int_equal(nest.outer.before, 1);
        assert_int_equal(nest.outer.after, 0);
    }
    half_gone(map);
}

/* ---- Threads ---- */

#define THREADS 3u
static pthread_barrier_t all_inside;

static void touch_when_all_are_inside(void *argument)
{
    pthread_barrier_wait(&all_inside);
    touch_once(argument);
}

/* Each thread is in its guard when the others fault in theirs; what it returns is NULL if it was its own that ended. */
static void *fault_together(void *argument)
{
    struct touch *touch = argument;
    for (unsigned i = 0; i < 200; i++)
        if (guard_run(touch_when_all_are_inside, touch))
            return touch;
    return touch->before == 200 && touch->after == 0 ? NULL : touch;
}

static void each_thread_has_its_own(void **state)
{
    volatile char *map = half_there();
    struct touch touch[THREADS] = { { .at = map + PAGE }, { .at = map + PAGE + 64 }, { .at = map + PAGE + 128 } };
    pthread_t thread[THREADS];
    assert_int_equal(pthread_barrier_init(&all_inside, NULL, THREADS), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, fault_together, &touch[i]), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_null(wrong);
    }
    pthread_barrier_destroy(&all_inside);
    half_gone(map);
}

/* ---- Faults that are nobody's guard: a bug of the daemon, which must end it ---- */

static int fault_outside(void *context, struct test_parent parent)
{
    volatile char *map = context;
    map[PAGE] = 1;
    return 0;
}

static int fault_after_a_guard(void *context, struct test_parent parent)
{
    volatile char *map = context;
    struct touch touch = { .at = map + PAGE };
    child_check(!guard_run(touch_once, &touch));
    map[PAGE] = 1;
    return 0;
}

static void a_fault_outside_ends_the_process(void **state)
{
    volatile char *map = half_there();
    assert_int_equal(test_child_run((uid_t)-1, fault_outside, (void *)map), 128 + SIGBUS);
    assert_int_equal(test_child_run((uid_t)-1, fault_after_a_guard, (void *)map), 128 + SIGBUS);
    half_gone(map);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(a_body_without_a_fault_ends_true),
        test_case(a_fault_ends_the_body_and_returns_false),
        test_case(it_works_again_and_again),
        test_case(a_fault_inside_ends_the_inner_body_only),
        test_case(after_an_inner_body_the_outer_one_is_guarded_again),
        test_case(each_thread_has_its_own),
        test_case(a_fault_outside_ends_the_process),
    };
    return test_run(cases);
}
