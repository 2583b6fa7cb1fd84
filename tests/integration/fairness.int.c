/* fairness.int.c — one heap's appetite is not another's wait, and memory that was not granted is not to be had by writing to it. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* Takes and gives back 12 MiB for ever: its worker never runs out of things to do. */
static int churn_for_ever(void *context, struct test_parent parent)
{
    struct client client;
    morph_arena *arena;
    child_check_int(client_try(&client, "busy", 64 * MiB), 0);
    test_parent_write(parent, &client.id, sizeof client.id);
    for (;;) {
        child_check_int(morph_arena_new(client.me, &arena), 0);
        for (unsigned i = 0; i < 12; i++)
            memset(morph_arena_bytes(arena, MiB), 1, 4096);
        morph_arena_free(arena);
    }
}

/* With one worker for both, a calm heap's requests are answered well before its time-out, whatever the busy one does. */
static void calm_beside_busy(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--workers=1", NULL);
    struct test_child child = test_child_start((uid_t)-1, churn_for_ever, NULL);
    uint64_t busy, slowest_ns = 0;
    unsigned late = 0;                                                      /* a shared machine may take the processors away once */
    assert_true(test_child_read(&child, &busy, sizeof busy));
    morph_heap *heap;
    morph_thread *me;
    assert_ok(morph_heap_open(&heap, &(morph_options){ .name = "calm", .limit_bytes = 64 * MiB, .timeout_ms = 500 * test_slowness(), .no_autospawn = true }));
    assert_ok(morph_thread_attach(heap, &me));
    for (unsigned i = 0; i < 30; i++) {
        morph_arena *arena;
        uint64_t start = test_now_ns();
        assert_ok(morph_arena_new(me, &arena));
        if (!morph_arena_bytes(arena, 6 * MiB)) {
            assert_error(morph_thread_error(me), MORPH_ETIMEOUT);
            late++;
        }
        uint64_t took_ns = test_now_ns() - start;
        slowest_ns = took_ns > slowest_ns ? took_ns : slowest_ns;
        morph_arena_free(arena);
    }
    assert_in_range(late, 0, 2);
    print_message("the slowest of 30 took %.1f ms\n", (double)slowest_ns / 1e6);
    test_child_kill(&child);
    assert_ok(morph_thread_detach(me));
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

/* A client that uses memory of its segments which was never granted loses its heap; others notice nothing. */
static void overdraft_is_condemned(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-idle=100", "--pool-min=0", "--pool-max=4K", NULL);
    struct client honest = client_open("honest", 32 * MiB), greedy = client_open("greedy", 512 * MiB);
    morph_arena *arena, *kept;
    morph_heap_stats stats;
    assert_ok(morph_arena_new(honest.me, &kept));
    char *text = morph_arena_bytes(kept, MiB);
    client_fill(text, MiB, 1);
    assert_ok(morph_arena_new(greedy.me, &arena));
    char *at = NULL;
    do {
        assert_non_null(at = morph_arena_bytes(arena, MiB));                /* until a segment of 32 MiB is there, hardly granted */
        client_fill(at, MiB, 2);
        assert_ok(morph_heap_stats_get(greedy.heap, &stats));
    } while (stats.mapped_bytes < stats.granted_bytes + 16 * MiB);
    char *end = (char *)((uintptr_t)at & ~(uintptr_t)(2 * MiB - 1)) + 4 * MiB;
    for (unsigned i = 0; i < 12 * MiB; i += 4096)
        ((volatile char *)end)[i] = 1;
    assert_true(test_wait_until(morph_heap_status(greedy.heap) == MORPH_ECONDEMNED, 5000 * test_slowness()));
    assert_true(test_wait_until(test_heap_stat(greedy.id, "pid") == UINT64_MAX, 5000 * test_slowness()));
    while (morph_arena_bytes(arena, 256 * KiB))
        ;                                                                   /* what it has it may use up */
    assert_error(morph_thread_error(greedy.me), MORPH_ECONDEMNED);
    assert_ok(morph_heap_status(honest.heap));
    assert_true(client_intact(text, MiB, 1));
    assert_non_null(morph_arena_bytes(kept, 8 * MiB));
    morph_arena_free(kept);
    morph_arena_free(arena);
    client_close(&honest);
    client_close(&greedy);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(calm_beside_busy),
        test_case(overdraft_is_condemned),
    };
    return test_run(cases);
}
