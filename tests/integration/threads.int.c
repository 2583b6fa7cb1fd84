/* threads.int.c — many threads in one heap: they come and go, allocate at once, wait for memory at once, and the daemon sees how
 * many there are.
 */
#include <pthread.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

static morph_heap *heap;
static morph_type type;

/* Attaches, fills an arena and a few objects, checks them, detaches. */
static void *come_and_go(void *context)
{
    for (unsigned round = 0; round < 60; round++) {
        morph_thread *me;
        morph_arena *arena;
        if (morph_thread_attach(heap, &me) < 0 || morph_arena_new(me, &arena) < 0)
            return "could not attach";
        char *text = morph_arena_bytes(arena, 150000);
        void **object = morph_new(me, type);
        if (!text || !object)
            return "no memory";
        client_fill(text, 150000, (uintptr_t)context + round);
        *object = text;
        if (!client_intact(text, 150000, (uintptr_t)context + round) || *object != text)
            return "threads wrote into one another's memory";
        morph_arena_free(arena);
        if (morph_thread_detach(me) < 0)
            return "could not detach";
    }
    return NULL;
}

static void threads_come_and_go(void **state)
{
    enum { THREADS = 16 };
    pthread_t thread[THREADS];
    struct test_daemon *daemon = test_daemon_start(NULL);
    assert_ok(morph_heap_open(&heap, &(morph_options){ .name = "threads", .limit_bytes = 512 * MiB }));
    assert_ok(morph_type_register(heap, &(morph_type_spec){ .name = "node", .bytes = 24, .refs = { (const uint32_t[]){ 0 }, 1 } }, &type));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, come_and_go, (void *)(uintptr_t)(i * 1000)), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(thread[i], &complaint), 0);
        if (complaint)
            fail_msg("%s", (char *)complaint);
    }
    assert_int_equal(test_heap_stat(morph_heap_id(heap), "threads"), 0);
    assert_int_equal(test_type_named(morph_heap_id(heap), "node").objects, THREADS * 60);   /* objects outlive their thread */
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

static void one_thread_in_several_heaps(void **state)
{
    enum { HEAPS = 5 };
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client[HEAPS];
    morph_arena *arena[HEAPS];
    for (unsigned i = 0; i < HEAPS; i++) {
        client[i] = client_open("one of several", 32 * MiB);
        assert_ptr_equal(morph_thread_heap(client[i].me), client[i].heap);
        assert_ok(morph_arena_new(client[i].me, &arena[i]));
    }
    for (unsigned n = 0; n < 200; n++)
        for (unsigned i = 0; i < HEAPS; i++)
            client_fill(morph_arena_bytes(arena[i], 30000), 30000, n);
    for (unsigned i = 0; i < HEAPS; i++) {
        assert_true(test_heap_stat(client[i].id, "arena_bytes") >= 6000000);
        morph_arena_free(arena[i]);
        client_close(&client[i]);
    }
    test_daemon_stop(daemon);
}

/* Every second thread dies without detaching: its slot stays taken, the heap can still be closed by the process's end. */
static void *attach_and_vanish(void *context)
{
    morph_thread *me;
    return morph_thread_attach(heap, &me) < 0 ? "could not attach" : NULL;
}

static void vanished_threads_do_no_harm(void **state)
{
    pthread_t thread;
    void *complaint = NULL;
    struct test_daemon *daemon = test_daemon_start(NULL);
    assert_ok(morph_heap_open(&heap, &(morph_options){ .name = "vanish", .limit_bytes = 32 * MiB }));
    morph_thread *me;
    morph_arena *arena;
    assert_ok(morph_thread_attach(heap, &me));
    assert_int_equal(pthread_create(&thread, NULL, attach_and_vanish, NULL), 0);
    assert_int_equal(pthread_join(thread, &complaint), 0);
    assert_null(complaint);
    assert_ok(morph_arena_new(me, &arena));
    for (unsigned i = 0; i < 20; i++)
        assert_non_null(morph_arena_bytes(arena, MiB));
    morph_arena_free(arena);
    assert_ok(morph_thread_detach(me));
    int r = morph_heap_close(heap);
    assert_true(r == 0 || r == MORPH_EBUSY);
    test_daemon_kill(daemon);
    test_daemon_free(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(threads_come_and_go),
        test_case(one_thread_in_several_heaps),
        cmocka_unit_test(vanished_threads_do_no_harm),      /* a heap that cannot be closed stays mapped */
    };
    return test_run(cases);
}
