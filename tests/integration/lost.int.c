/* lost.int.c — the daemon is killed at any moment, or stopped: each thread gets an error at its next slow path, soon, without a crash
 * or a hang, and what was allocated stays readable. A stopped daemon that goes on is served from where it stood.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define THREADS 4u
#define KEPT    400u

struct worker {
    pthread_t   thread;
    morph_heap *heap;
    uint64_t    seed;
    int         error;              /* the one that ended it */
    uint64_t    noticed_ns;
    const char *complaint;
};

static atomic_uint working;

struct kept { char *at; size_t bytes; };

static bool all_intact(const struct kept *kept, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!client_intact(kept[i].at, kept[i].bytes, i))
            return false;
    return true;
}

/* Allocates in every way until there is an error; keeps some of it and looks at it afterwards. */
static void *work(void *context)
{
    struct worker *worker = context;
    struct test_random random = { worker->seed };
    struct kept kept[KEPT];
    unsigned count = 0;
    morph_thread *me;
    morph_arena *arena, *brief;
    morph_pool *pool;
    if (morph_thread_attach(worker->heap, &me) < 0 || morph_arena_new(me, &arena) < 0 || morph_pool_new(me, 0, &pool) < 0 ||
        morph_arena_new(me, &brief) < 0) {
        worker->complaint = "could not attach";
        atomic_fetch_add(&working, 1);
        return NULL;
    }
    atomic_fetch_add(&working, 1);
    for (uint64_t i = 0; worker->error == 0; i++) {
        size_t bytes = test_random_size(&random, i % 100 ? 4000 : 100000);
        char *keep = count < KEPT && i % 16 == 0 ? i % 32 ? morph_arena_bytes(arena, bytes) : morph_malloc(pool, bytes) : NULL;
        if (keep) {
            client_fill(keep, bytes, count);
            kept[count++] = (struct kept){ keep, bytes };
        }
        if (!morph_arena_bytes(brief, 200000))
            worker->error = morph_thread_error(me);
        if (i % 32 == 31) {                                                 /* gives back, so that it has to ask again */
            morph_arena_free(brief);
            int r = morph_arena_new(me, &brief);
            if (r < 0) {
                worker->error = r;
                brief = NULL;
            }
        }
    }
    worker->noticed_ns = test_now_ns();
    if (!all_intact(kept, count))
        worker->complaint = "what was allocated is not readable";
    for (unsigned i = 0; i < 100; i++)                                      /* and the error stays, whatever is tried */
        if (morph_arena_bytes(arena, 3 * MiB) || morph_malloc(pool, 3 * MiB))
            worker->complaint = "memory from a lost heap";
    morph_arena_free(brief);
    morph_arena_free(arena);
    morph_pool_free(pool);
    if (morph_thread_detach(me) < 0)
        worker->complaint = "could not detach";
    return NULL;
}

static void killed_at_any_moment(void **state)
{
    struct test_random random = test_random_begin("lost");
    unsigned rounds = 25 / (test_sanitized() ? 5 : 1);
    for (unsigned round = 0; round < rounds; round++) {
        struct test_daemon *daemon = test_daemon_start(NULL);
        struct worker worker[THREADS] = { { 0 } };
        morph_heap *heap;
        working = 0;
        assert_ok(morph_heap_open(&heap, &(morph_options){ .name = "survivor", .limit_bytes = 256 * MiB }));
        for (unsigned i = 0; i < THREADS; i++) {
            worker[i].heap = heap;
            worker[i].seed = test_random_next(&random);
            assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
        }
        assert_true(test_wait_until(working == THREADS, 10000));
        nanosleep(&(struct timespec){ .tv_nsec = (long)test_random_below(&random, 30000000) }, NULL);      /* the random moment */
        test_daemon_kill(daemon);
        uint64_t killed_ns = test_now_ns();
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
            if (worker[i].complaint)
                fail_msg("thread %u: %s", i, worker[i].complaint);
            assert_error(worker[i].error, MORPH_ELOST);
            assert_true(worker[i].noticed_ns < killed_ns + 3000000000u * test_slowness());
        }
        assert_error(morph_heap_status(heap), MORPH_ELOST);
        assert_ok(morph_heap_close(heap));
        test_daemon_free(daemon);
    }
}

static void everything_says_lost(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("lost", 32 * MiB);
    morph_arena *arena, *more;
    morph_pool *pool, *more_pool;
    morph_type type, more_type;
    morph_thread *more_thread;
    assert_ok(morph_arena_new(client.me, &arena));
    assert_ok(morph_pool_new(client.me, 0, &pool));
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "node", .bytes = 24 }, &type));
    char *text = morph_arena_text(arena, "still here", 10), *cell = morph_malloc(pool, 100), *object = morph_new(client.me, type);
    test_daemon_kill(daemon);
    assert_null(morph_arena_bytes(arena, 20 * MiB));
    assert_error(morph_thread_error(client.me), MORPH_ELOST);
    assert_null(morph_malloc(pool, 20 * MiB));
    assert_error(morph_pool_error(pool), MORPH_ELOST);
    assert_error(morph_heap_status(client.heap), MORPH_ELOST);
    assert_error(morph_heap_dispatch(client.heap), MORPH_ELOST);
    assert_error(morph_type_register(client.heap, &(morph_type_spec){ .name = "new", .bytes = 24 }, &more_type), MORPH_ELOST);
    assert_error(morph_thread_attach(client.heap, &more_thread), MORPH_ELOST);
    assert_error(morph_arena_new(client.me, &more), MORPH_ELOST);
    assert_error(morph_pool_new(client.me, 0, &more_pool), MORPH_ELOST);
    assert_string_equal(text, "still here");
    assert_int_equal(morph_object_bytes(object), 24);
    assert_int_equal(morph_usable(pool, cell), 112);
    (void)morph_free(pool, cell);
    morph_arena_reset(arena);
    morph_arena_free(arena);
    morph_pool_free(pool);
    client_close(&client);
    test_daemon_free(daemon);
}

/* A type that is known needs no daemon. */
static void known_types_stay_known(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("lost", 8 * MiB);
    morph_type type, again;
    const morph_type_spec spec = { .name = "node", .bytes = 24 };
    assert_ok(morph_type_register(client.heap, &spec, &type));
    test_daemon_kill(daemon);
    int r = morph_type_register(client.heap, &spec, &again);
    assert_true(r == MORPH_ELOST || (r == 0 && again == type));
    assert_string_equal(morph_type_name(type), "node");
    client_close(&client);
    test_daemon_free(daemon);
}

/* An orderly end of the daemon is a loss too, but said at once. */
static void daemon_ends_orderly(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("left", 8 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    char *text = morph_arena_text(arena, "still here", 10);
    test_daemon_terminate(daemon);
    assert_null(morph_arena_bytes(arena, 5 * MiB));
    assert_error(morph_thread_error(client.me), MORPH_ELOST);
    assert_string_equal(text, "still here");
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_free(daemon);
}

/* ---- Stopped ---- */

static void stopped_daemon_is_not_waited_for(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    morph_heap *heap, *other;
    morph_thread *me;
    morph_arena *arena;
    morph_type type;
    assert_ok(morph_heap_open(&heap, &(morph_options){ .limit_bytes = 256 * MiB, .timeout_ms = 200 }));
    assert_ok(morph_thread_attach(heap, &me));
    assert_ok(morph_arena_new(me, &arena));
    test_daemon_pause(daemon);
    uint64_t start = test_now_ns();
    while (morph_arena_bytes(arena, MiB))                                   /* what was granted ahead, then nothing */
        ;
    uint64_t waited_ms = (test_now_ns() - start) / 1000000;
    assert_error(morph_thread_error(me), MORPH_ETIMEOUT);
    assert_true(waited_ms >= 150 && waited_ms < 2000 * test_slowness());
    start = test_now_ns();
    assert_error(morph_type_register(heap, &(morph_type_spec){ .name = "node", .bytes = 24 }, &type), MORPH_ETIMEOUT);
    assert_error(morph_heap_open(&other, &(morph_options){ .timeout_ms = 200, .no_autospawn = true }), MORPH_ETIMEOUT);
    assert_true(test_now_ns() - start < 2000000000u * test_slowness());
    assert_ok(morph_heap_status(heap));                                     /* late is not lost */
    test_daemon_continue(daemon);
    assert_true(test_wait_until(morph_arena_bytes(arena, MiB) != NULL, 3000));
    for (unsigned i = 0; i < 20; i++) {
        char *at;                                                           /* a busy machine may need more than one time-out */
        if (!test_wait_until((at = morph_arena_bytes(arena, MiB)) != NULL, 5000 * test_slowness()))
            fail_msg("after the stop, %u: %s", i, morph_error_name(morph_thread_error(me)));
        client_fill(at, MiB, i);
    }
    assert_true(test_wait_until(morph_type_register(heap, &(morph_type_spec){ .name = "node", .bytes = 24 }, &type) == 0, 3000));
    assert_non_null(morph_arena_new_object(arena, type));
    assert_int_equal(test_type_named(morph_heap_id(heap), "node").objects, 1);
    morph_arena_free(arena);
    assert_ok(morph_thread_detach(me));
    assert_ok(morph_heap_close(heap));
    assert_true(test_wait_until(test_heaps() == 0, 3000));                  /* the heap that was given up on is gone as well */
    test_daemon_stop(daemon);
}

struct patient { morph_heap *heap; int error; };

static void *ask_much(void *context)
{
    struct patient *patient = context;
    morph_thread *me;
    morph_arena *arena;
    if ((patient->error = morph_thread_attach(patient->heap, &me)) < 0 || (patient->error = morph_arena_new(me, &arena)) < 0)
        return NULL;
    for (unsigned i = 0; i < 60; i++)
        if (!morph_arena_bytes(arena, MiB))
            patient->error = morph_thread_error(me);
    morph_arena_free(arena);
    (void)morph_thread_detach(me);
    return NULL;
}

/* Stopped and continued within the time-out: nobody notices. */
static void short_stops_are_not_noticed(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct patient patient[3] = { { 0 } };
    pthread_t thread[3];
    morph_heap *heap;
    assert_ok(morph_heap_open(&heap, &(morph_options){ .limit_bytes = 512 * MiB, .timeout_ms = 20000 }));
    test_daemon_pause(daemon);
    for (unsigned i = 0; i < 3; i++) {
        patient[i].heap = heap;
        assert_int_equal(pthread_create(&thread[i], NULL, ask_much, &patient[i]), 0);
    }
    for (unsigned i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);         /* the length of the stop is what is tested */
        test_daemon_continue(daemon);
        test_daemon_pause(daemon);
    }
    test_daemon_continue(daemon);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        assert_ok(patient[i].error);
    }
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(killed_at_any_moment),
        test_case(everything_says_lost),
        test_case(known_types_stay_known),
        test_case(daemon_ends_orderly),
        test_case(stopped_daemon_is_not_waited_for),
        test_case(short_stops_are_not_noticed),
    };
    return test_run(cases);
}
