/* stress.c — many clients with many threads, and kill -9 of either side at any moment, for a bounded time.
 *
 * Epochs of about two seconds. In each, a fresh daemon serves six clients of three threads that allocate, check and free in every way;
 * now and then one of them is killed and replaced. An epoch ends in one of two ways: the daemon is killed, and every client must find
 * out, with all it had intact, and end well; or all clients are killed, and the daemon must have everything back and end orderly.
 * MORPH_STRESS_SECONDS (default 30) in all; seeded.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define CLIENTS 6u
#define THREADS 3u
#define CELLS   200u

struct hand { pthread_t thread; morph_heap *heap; uint64_t seed; };

/* What a client process may end with. */
enum { WELL = 0, DAMAGED = 40, ODD_ERROR = 41 };

static bool is_loss(int error)
{
    return error == MORPH_ELOST || error == MORPH_ENODAEMON || error == MORPH_ETIMEOUT;
}

struct cell { char *at; size_t bytes; };

static bool cells_intact(const struct cell *cell, uint64_t seed)
{
    for (unsigned i = 0; i < CELLS; i++)
        if (cell[i].at && !client_intact(cell[i].at, cell[i].bytes, seed + i))
            return false;
    return true;
}

/* One step; returns the error that ended it, or 0. */
static int step(struct test_random *random, morph_thread *me, morph_pool *pool, morph_arena *arena, morph_type type, struct cell *cell, uint64_t seed)
{
    unsigned which = (unsigned)test_random_below(random, CELLS);
    if (cell[which].at) {
        if (!client_intact(cell[which].at, cell[which].bytes, seed + which))
            _exit(DAMAGED);
        if (morph_free(pool, cell[which].at) < 0 && morph_heap_status(morph_thread_heap(me)) == 0)
            _exit(DAMAGED);
        cell[which].at = NULL;
    }
    cell[which].bytes = test_random_size(random, test_random_below(random, 100) ? 8000 : 300000);
    cell[which].at = morph_malloc(pool, cell[which].bytes);
    if (!cell[which].at)
        return morph_pool_error(pool);
    client_fill(cell[which].at, cell[which].bytes, seed + which);
    if (!morph_arena_bytes(arena, test_random_size(random, 60000)) || !morph_arena_new_object(arena, type))
        return morph_thread_error(me);
    if (test_random_below(random, 200) == 0)
        morph_arena_reset(arena);
    return 0;
}

static void *hand_run(void *context)
{
    struct hand *hand = context;
    struct test_random random = { hand->seed };
    struct cell cell[CELLS] = { { 0 } };
    int error = 0;
    while (error == 0) {
        morph_thread *me;
        morph_pool *pool = NULL;
        morph_arena *arena = NULL;
        morph_type type = NULL;
        if ((error = morph_thread_attach(hand->heap, &me)) < 0)
            break;
        if ((error = morph_pool_new(me, 0, &pool)) == 0 && (error = morph_arena_new(me, &arena)) == 0)
            error = morph_type_register(hand->heap, &(morph_type_spec){ .name = "node", .bytes = 32 }, &type);
        uint64_t steps = 100 + test_random_below(&random, 3000);
        for (uint64_t i = 0; i < steps && error == 0; i++)
            error = step(&random, me, pool, arena, type, cell, hand->seed);
        if (!cells_intact(cell, hand->seed))
            _exit(DAMAGED);
        memset(cell, 0, sizeof cell);
        morph_pool_free(pool);
        morph_arena_free(arena);
        if (morph_thread_detach(me) < 0)
            _exit(DAMAGED);
    }
    if (!is_loss(error)) {
        fprintf(stderr, "a client's thread ended with %s\n", morph_error_name(error));
        _exit(ODD_ERROR);
    }
    return NULL;
}

static int client_run(void *context, struct test_parent parent)
{
    struct test_random random = { *(uint64_t *)context };
    for (;;) {
        struct hand hand[THREADS];
        morph_heap *heap;
        int error = morph_heap_open(&heap, &(morph_options){ .name = "stress", .limit_bytes = 96 * MiB, .no_autospawn = true });
        if (error < 0)
            return is_loss(error) ? WELL : ODD_ERROR;
        for (unsigned i = 0; i < THREADS; i++) {
            hand[i] = (struct hand){ .heap = heap, .seed = test_random_next(&random) };
            child_check_int(pthread_create(&hand[i].thread, NULL, hand_run, &hand[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++)
            child_check_int(pthread_join(hand[i].thread, NULL), 0);
        child_check_int(morph_heap_close(heap), 0);
        return WELL;
    }
}

static struct test_child client_start(struct test_random *random)
{
    uint64_t seed = test_random_next(random);
    return test_child_start((uid_t)-1, client_run, &seed);
}

static void pause_up_to_ms(struct test_random *random, uint64_t ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = (long)test_random_below(random, ms * 1000000) }, NULL);     /* the random moment */
}

static void end_by_killing_the_daemon(struct test_daemon *daemon, struct test_child *child)
{
    test_daemon_kill(daemon);
    uint64_t start = test_now_ns();
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(test_child_wait(&child[i]), WELL);
    assert_true(test_now_ns() - start < 8000000000u * test_slowness());
    test_daemon_free(daemon);
}

static void end_by_killing_the_clients(struct test_daemon *daemon, struct test_child *child)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        test_child_kill(&child[i]);
    assert_true(test_wait_until(test_heaps() == 0 && test_stat("granted_bytes") == 0, 5000 * test_slowness()));
    assert_true(test_wait_until(test_stat("pool_leaving_bytes") == 0 && test_stat("pool_zeroing_bytes") == 0, 5000 * test_slowness()));
    test_daemon_stop(daemon);
}

static void epoch(struct test_random *random, unsigned number, unsigned *ret_kills)
{
    struct test_daemon *daemon = test_daemon_start("--log-level=warning", NULL);
    struct test_child child[CLIENTS];
    uint64_t end_ns = test_now_ns() + 2000000000u;
    for (unsigned i = 0; i < CLIENTS; i++)
        child[i] = client_start(random);
    while (test_now_ns() < end_ns) {
        unsigned which = (unsigned)test_random_below(random, CLIENTS);
        pause_up_to_ms(random, 200);
        test_child_kill(&child[which]);
        child[which] = client_start(random);
        ++*ret_kills;
        (void)test_heaps();
    }
    if (number % 2)
        end_by_killing_the_daemon(daemon, child);
    else
        end_by_killing_the_clients(daemon, child);
}

static void both_sides_die_and_others_live(void **state)
{
    struct test_random random = test_random_begin("stress");
    const char *given = getenv("MORPH_STRESS_SECONDS");
    uint64_t end_ns = test_now_ns() + (given ? strtoull(given, NULL, 10) : 30) * 1000000000u;
    unsigned epochs = 0, kills = 0;
    do
        epoch(&random, epochs++, &kills);
    while (test_now_ns() < end_ns);
    print_message("%u epochs, %u clients killed\n", epochs, kills);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(both_sides_die_and_others_live) };
    return test_run(cases);
}
