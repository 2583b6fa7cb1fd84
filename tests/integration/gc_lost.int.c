/* gc_lost.int.c — either side is killed at any moment of a collection. The daemon: every thread gets an error soon, from whatever it calls, and
 * what is in its roots stays readable as it was, since a collection destroys nothing before it is complete. The client: the daemon and other
 * heaps go on, and the memory comes back.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define THREADS 4u
#define KEPT    700u

struct node { struct node *next, *other; uint64_t number, check; };

struct worker {
    pthread_t    thread;
    morph_heap  *heap;
    morph_type   node;
    unsigned     number;
    uint64_t     seed;
    int          error;             /* the one that ended it */
    uint64_t     noticed_ns;
    char         complaint[120];
};

static atomic_uint working;

#define COMPLAIN(w, ...) (void)snprintf((w)->complaint, sizeof (w)->complaint, __VA_ARGS__)

static struct node *node_new(morph_thread *me, morph_type type, struct node **next, uint64_t number)
{
    struct node *node = morph_new(me, type);
    if (node) {
        node->next = *next;
        node->number = number;
        node->check = ~number;
        *next = node;
    }
    return node;
}

/* Does the list count down from `count`? */
static bool list_intact(const struct node *at, uint64_t count)
{
    for (; count; count--, at = at->next)
        if (!at || at->number != count || at->check != ~count)
            return false;
    return !at;
}

static int nodes_add(morph_thread *me, morph_type type, struct node **list, uint64_t from, uint64_t to)
{
    for (uint64_t i = from + 1; i <= to; i++)
        if (!node_new(me, type, list, i))
            return morph_thread_error(me);
    return 0;
}

/* Everything says it, again and again, and nothing crashes. */
static void all_say_lost(struct worker *w, morph_thread *me)
{
    void *set[1] = { NULL };
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 3; k++)
            if (morph_collect(me, (enum morph_collection)k) != MORPH_ELOST)
                COMPLAIN(w, "morph_collect() does not say LOST");
        if (morph_new_bytes(me, MiB) || morph_thread_error(me) != MORPH_ELOST)
            COMPLAIN(w, "a large object from a lost heap");
        if (morph_roots_report(me, 1, set, 1) != MORPH_ELOST)
            COMPLAIN(w, "morph_roots_report() does not say LOST");
        morph_poll(me);
        morph_native_enter(me);
        morph_native_leave(me);
    }
    if (morph_heap_status(w->heap) != MORPH_ELOST)
        COMPLAIN(w, "status %s", morph_error_name(morph_heap_status(w->heap)));
}

/* Allocates, collects, polls, blocks, until there is an error; then looks at what it had in its roots. */
static void *work(void *context)
{
    struct worker *w = context;
    struct test_random random = { w->seed };
    morph_thread *me;
    void *variable = NULL;
    uint64_t count = 0, seen = 0;
    if (morph_thread_attach(w->heap, &me) < 0) {
        COMPLAIN(w, "could not attach");
        atomic_fetch_add(&working, 1);
        return NULL;
    }
    struct node **frame = morph_frame_push(me, 16);
    (void)morph_root_push(me, &variable);
    atomic_fetch_add(&working, 1);
    while (w->error == 0) {
        uint64_t kind = test_random_below(&random, 12), count_now = count;
        if (kind < 6 && count < KEPT) {
            count = count + test_random_below(&random, 60);
            w->error = nodes_add(me, w->node, frame, count_now, count);
            count = w->error && frame[0] ? frame[0]->number : w->error ? 0 : count;
        } else if (kind == 6) {
            frame[0] = NULL;
            count = 0;
        } else if (kind == 7) {
            w->error = morph_collect(me, (enum morph_collection)test_random_below(&random, 3));
        } else if (kind == 8) {
            for (unsigned i = 0; i < 1000; i++)
                morph_poll(me);
            w->error = morph_heap_status(w->heap);
        } else if (kind == 9) {
            morph_native_enter(me);
            sched_yield();
            morph_native_leave(me);
        } else {
            for (unsigned i = 0; i < 500 && w->error == 0; i++)
                w->error = morph_new(me, w->node) ? 0 : morph_thread_error(me);
        }
        variable = frame[0];
        seen = count;
        if (w->error == MORPH_ENOMEM || w->error == MORPH_EPUTOFF)          /* a busy machine */
            w->error = 0;
    }
    w->noticed_ns = test_now_ns();
    if (!list_intact(frame[0], count))
        COMPLAIN(w, "what was in its frame is not as it was (%llu nodes)", (unsigned long long)count);
    if (!list_intact(variable, seen))                                       /* one may lead to the copies already, the other not yet */
        COMPLAIN(w, "what was in its variable is not as it was (%llu nodes)", (unsigned long long)seen);
    all_say_lost(w, me);
    morph_root_pop(me, 1);
    morph_frame_pop(me, frame);
    if (morph_thread_detach(me) < 0)
        COMPLAIN(w, "could not detach");
    return NULL;
}

static morph_heap *heap_open(morph_type *ret_node, const char *name, uint64_t limit_bytes)
{
    static const uint32_t refs[] = { 0, 8 };
    morph_heap *heap;
    if (morph_heap_open(&heap, &(morph_options){ .name = name, .mode = MORPH_RUNTIME, .limit_bytes = limit_bytes, .young_min_bytes = 256 * KiB,
                                                 .no_autospawn = true, .timeout_ms = 20000 }) < 0)
        return NULL;
    if (morph_type_register(heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 2 } }, ret_node) < 0)
        return NULL;
    return heap;
}

static void kill_the_daemon(struct test_random *random, const char *stress, const char *workers, unsigned threads)
{
    struct test_daemon *daemon = test_daemon_start("--log-level=warning", stress, workers, NULL);
    struct worker worker[THREADS] = { { 0 } };
    morph_type node;
    morph_heap *heap = heap_open(&node, "survivor", 16 * MiB);
    assert_non_null(heap);
    working = 0;
    for (unsigned i = 0; i < threads; i++) {
        worker[i] = (struct worker){ .heap = heap, .node = node, .number = i, .seed = test_random_next(random) };
        assert_int_equal(pthread_create(&worker[i].thread, NULL, work, &worker[i]), 0);
    }
    assert_true(test_wait_until(working == threads, 10000));
    nanosleep(&(struct timespec){ .tv_nsec = (long)test_random_below(random, 40000000) }, NULL);        /* the random moment */
    test_daemon_kill(daemon);
    uint64_t killed_ns = test_now_ns();
    for (unsigned i = 0; i < threads; i++) {
        assert_int_equal(pthread_join(worker[i].thread, NULL), 0);
        if (worker[i].complaint[0])
            fail_msg("thread %u: %s", i, worker[i].complaint);
        assert_error(worker[i].error, MORPH_ELOST);
        assert_true(worker[i].noticed_ns < killed_ns + 3000000000u * test_slowness());
    }
    assert_ok(morph_heap_close(heap));
    test_daemon_free(daemon);
}

static void the_daemon_is_killed(void **state)
{
    struct test_random random = test_random_begin("gc_lost: daemon");
    unsigned rounds = test_sanitized() ? 8 : 40;
    for (unsigned i = 0; i < rounds; i++)
        kill_the_daemon(&random, i % 4 == 3 ? "--stress=3" : "--stress=1", i % 2 ? "--workers=3" : "--workers=1", i % 3 == 2 ? 1 : THREADS);
}

/* Nobody asks anything of the daemon: a thread in a blocking call, one that only polls. */
static void quiet_threads_hear_of_it(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    morph_type node;
    morph_thread *me;
    morph_heap *heap = heap_open(&node, "quiet", 16 * MiB);
    assert_non_null(heap);
    assert_ok(morph_thread_attach(heap, &me));
    struct node **frame = morph_frame_push(me, 8);
    assert_ok(nodes_add(me, node, frame, 0, 300));
    assert_ok(morph_collect(me, MORPH_COLLECT_MINOR));
    morph_handle strong = morph_handle_new(me, frame[0]), weak = morph_handle_new_weak(me, frame[0]);
    assert_ok(morph_pin(me, frame[0]));
    morph_native_enter(me);
    test_daemon_kill(daemon);
    morph_native_leave(me);
    assert_true(list_intact(frame[0], 300));
    assert_error(morph_collect(me, MORPH_COLLECT_MAJOR), MORPH_ELOST);
    while (morph_new(me, node))                                             /* what it has, it may use up */
        ;
    assert_error(morph_thread_error(me), MORPH_ELOST);
    assert_null(morph_new_hint(me, node, MORPH_HINT_LONG));
    assert_true(list_intact(morph_handle_get(me, strong), 300) && list_intact(morph_handle_get(me, weak), 300));
    morph_store(me, frame[0], &frame[0]->other, frame[0]);
    assert_ptr_equal(morph_exchange(me, frame[0], &frame[0]->other, NULL), frame[0]);
    assert_int_not_equal(morph_identity_hash(me, frame[0]), 0);
    assert_int_equal(morph_object_bytes(frame[0]), sizeof(struct node));
    assert_ok(morph_unpin(me, frame[0]));
    (void)morph_finalizer_set(me, frame[0], NULL);
    assert_null(morph_finalizer_next(me, NULL));
    morph_handle_free(me, strong);
    morph_handle_free(me, weak);
    assert_ok(morph_thread_detach(me));
    assert_error(morph_thread_attach(heap, &me), MORPH_ELOST);
    assert_ok(morph_heap_close(heap));
    test_daemon_free(daemon);
}

/* ---- The client is killed ---- */

static void *work_for_ever(void *context)
{
    struct worker *w = context;
    struct test_random random = { w->seed };
    morph_thread *me;
    child_check_int(morph_thread_attach(w->heap, &me), 0);
    struct node **frame = morph_frame_push(me, 16);
    for (uint64_t count = 0;;) {
        uint64_t to = count + test_random_below(&random, 200);
        int r = nodes_add(me, w->node, frame, count, to);
        child_check(r == 0 || r == MORPH_ENOMEM);
        count = to;
        if (r || count > 3000) {
            frame[0] = NULL;
            count = 0;
        }
        if (test_random_below(&random, 10) == 0)
            (void)morph_collect(me, (enum morph_collection)test_random_below(&random, 3));
        if (test_random_below(&random, 20) == 0)
            (void)morph_new_bytes(me, test_random_below(&random, 400 * KiB));
    }
    return NULL;
}

static int live_dangerously(void *context, struct test_parent parent)
{
    struct worker worker[3] = { { 0 } };
    morph_type node;
    morph_heap *heap = heap_open(&node, "mortal", 8 * MiB);
    child_check(heap != NULL);
    for (unsigned i = 0; i < 3; i++) {
        worker[i] = (struct worker){ .heap = heap, .node = node, .seed = *(uint64_t *)context + i };
        child_check(pthread_create(&worker[i].thread, NULL, work_for_ever, &worker[i]) == 0);
    }
    test_parent_write(parent, "x", 1);
    (void)test_parent_wait(parent);
    return 0;
}

static void the_client_is_killed(void **state)
{
    struct test_random random = test_random_begin("gc_lost: client");
    struct test_daemon *daemon = test_daemon_start("--stress=1", "--workers=2", "--log-level=error", NULL);
    morph_type node;
    morph_thread *me;
    morph_heap *heap = heap_open(&node, "bystander", 16 * MiB);
    assert_non_null(heap);
    assert_ok(morph_thread_attach(heap, &me));
    struct node **frame = morph_frame_push(me, 8);
    uint64_t count = 0;
    for (unsigned round = 0; round < 25 / test_slowness() + 3; round++) {
        struct test_child child[2];
        uint64_t seed[2] = { test_random_next(&random), test_random_next(&random) };
        char ready;
        for (unsigned i = 0; i < 2; i++)
            child[i] = test_child_start((uid_t)-1, live_dangerously, &seed[i]);
        morph_native_enter(me);
        for (unsigned i = 0; i < 2; i++)
            assert_true(test_child_read(&child[i], &ready, 1));
        nanosleep(&(struct timespec){ .tv_nsec = (long)test_random_below(&random, 30000000) }, NULL);      /* the random moment */
        morph_native_leave(me);
        assert_ok(nodes_add(me, node, frame, count, count + 300));
        count += 300;
        test_child_kill(&child[0]);
        assert_ok(morph_collect(me, MORPH_COLLECT_MINOR));                  /* others go on */
        assert_true(list_intact(frame[0], count));
        test_child_kill(&child[1]);
        assert_ok(morph_collect(me, MORPH_COLLECT_MAJOR));
        assert_true(list_intact(frame[0], count));
        assert_true(test_wait_until(test_heaps() == 1, 5000 * test_slowness()));
    }
    assert_true(test_wait_until(test_stat("granted_bytes") == test_heap_stat(morph_heap_id(heap), "granted_bytes"), 5000));
    assert_ok(morph_thread_detach(me));
    assert_ok(morph_heap_close(heap));
    assert_true(test_wait_until(test_stat("granted_bytes") == 0, 5000));    /* all of it came back */
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(the_daemon_is_killed),
        test_case(quiet_threads_hear_of_it),
        test_case(the_client_is_killed),
    };
    return test_run(cases);
}
