/* limits.int.c — a heap at its limit, the machine's budget, a user's share: an error, everything allocated so far intact, and it
 * goes on once something is freed.
 */
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

#define PIECES 4096u

static char *piece[PIECES];

/* Fills a pool with pieces until there is no more; returns how many. */
static unsigned fill(morph_pool *pool, size_t bytes)
{
    unsigned count = 0;
    while (count < PIECES && (piece[count] = morph_malloc(pool, bytes)) != NULL)
        client_fill(piece[count], bytes, count), count++;
    return count;
}

static bool all_intact(unsigned count, size_t bytes)
{
    for (unsigned i = 0; i < count; i++)
        if (!client_intact(piece[i], bytes, i))
            return false;
    return true;
}

static void heap_at_its_limit(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("bounded", 8 * MiB);
    morph_pool *pool;
    assert_ok(morph_pool_new(client.me, 0, &pool));
    for (unsigned round = 0; round < 5; round++) {
        unsigned count = fill(pool, 50000);
        assert_error(morph_pool_error(pool), MORPH_ENOMEM);
        assert_true(count >= 100 && count <= 8 * MiB / 50000);              /* most of it could be used, and no more than all */
        assert_true(all_intact(count, 50000));
        assert_true(test_heap_stat(client.id, "granted_bytes") <= 8 * MiB);
        assert_true(test_heap_stat(client.id, "peak_bytes") <= 8 * MiB);
        assert_null(morph_malloc(pool, 50000));                             /* and again: an error, not a hang */
        for (unsigned i = 0; i < count; i += 2)
            assert_ok(morph_free(pool, piece[i]));
        char *again = morph_malloc(pool, 40000);                            /* after freeing it goes on */
        assert_non_null(again);
        assert_ok(morph_free(pool, again));
        for (unsigned i = 1; i < count; i += 2) {
            assert_true(client_intact(piece[i], 50000, i));
            assert_ok(morph_free(pool, piece[i]));
        }
    }
    assert_ok(morph_heap_status(client.heap));
    assert_true(test_stat("grants_refused") > 0);
    morph_pool_free(pool);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void arenas_at_the_limit(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("bounded", 4 * MiB);
    morph_arena *arena, *other;
    morph_type type;
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "node", .bytes = 48 }, &type));
    assert_ok(morph_arena_new(client.me, &arena));
    assert_ok(morph_arena_new(client.me, &other));
    for (unsigned round = 0; round < 10; round++) {
        unsigned count = 0;
        void **last = NULL, **at;
        while ((at = morph_arena_new_object(arena, type)) != NULL) {
            *at = last;
            last = at;
            count++;
        }
        assert_error(morph_thread_error(client.me), MORPH_ENOMEM);
        assert_true(count > 3 * MiB / 64 && count <= 4 * MiB / 64);
        assert_null(morph_arena_bytes(arena, 70000));
        assert_null(morph_new_bytes(client.me, 100000));
        for (; last; last = *last)
            count--;
        assert_int_equal(count, 0);                                         /* the whole chain can be walked */
        morph_arena_reset(arena);
        assert_non_null(morph_arena_new_object(arena, type));
    }
    morph_arena_free(arena);
    assert_non_null(morph_arena_bytes(other, 3 * MiB));                     /* another arena has what the first gave back */
    morph_arena_free(other);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void smallest_heap(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("smallest", 256 * KiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    uint64_t bytes = 0;
    while (morph_arena_bytes(arena, 1000))
        bytes += 1008;
    assert_true(bytes >= 128 * KiB && bytes <= 256 * KiB);
    assert_error(morph_thread_error(client.me), MORPH_ENOMEM);
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_stop(daemon);
}

/* --budget: two heaps that could each take all of it. The one that comes second is refused, and both stay well. */
static void machine_budget_spent(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--budget=64M", "--pool-min=0", NULL);
    struct client first = client_open("first", 48 * MiB), second = client_open("second", 48 * MiB);
    morph_arena *a, *b;
    uint64_t taken = 0;
    assert_ok(morph_arena_new(first.me, &a));
    assert_ok(morph_arena_new(second.me, &b));
    for (; taken < 40 * MiB; taken += MiB) {
        char *at = morph_arena_bytes(a, MiB);
        assert_non_null(at);
        memset(at, 1, MiB);
    }
    for (char *at; taken < 100 * MiB && (at = morph_arena_bytes(b, MiB)) != NULL; taken += MiB)
        memset(at, 2, MiB);
    assert_error(morph_thread_error(second.me), MORPH_EBUDGET);
    assert_true(taken >= 44 * MiB && taken <= 64 * MiB);
    assert_true(test_stat("resident_bytes") <= 64 * MiB);
    assert_ok(morph_heap_status(first.heap));
    assert_ok(morph_heap_status(second.heap));
    morph_arena_free(a);
    client_close(&first);                                                   /* the other can have it now */
    assert_true(test_wait_until(morph_arena_bytes(b, MiB) != NULL, 3000));
    morph_arena_free(b);
    client_close(&second);
    test_daemon_stop(daemon);
}

static void users_share_spent(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--bytes-per-user=16M", NULL);
    struct client first = client_open("first", 64 * MiB), second = client_open("second", 64 * MiB);
    morph_arena *a, *b;
    uint64_t taken = 0;
    assert_ok(morph_arena_new(first.me, &a));
    assert_ok(morph_arena_new(second.me, &b));
    for (; taken < 100 * MiB && morph_arena_bytes(taken / MiB % 2 ? a : b, MiB); taken += MiB)
        assert_true(test_stat("granted_bytes") <= 16 * MiB);
    assert_true(taken >= 8 * MiB && taken <= 16 * MiB);
    int error = morph_thread_error(taken / MiB % 2 ? first.me : second.me);
    assert_error(error, MORPH_EQUOTA);
    morph_arena_free(a);
    morph_arena_free(b);
    client_close(&first);
    client_close(&second);
    test_daemon_stop(daemon);
}

static void heaps_per_user(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--heaps-per-user=3", NULL);
    struct client client[3], more;
    for (unsigned i = 0; i < 3; i++)
        client[i] = client_open("one of three", 4 * MiB);
    assert_error(client_try(&more, "one too many", 4 * MiB), MORPH_EQUOTA);
    assert_int_equal(test_heaps(), 3);
    client_close(&client[1]);
    assert_true(test_wait_until(client_try(&client[1], "again", 4 * MiB) == 0, 3000));
    for (unsigned i = 0; i < 3; i++)
        client_close(&client[i]);
    test_daemon_stop(daemon);
}

static void connections_per_user(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--connections-per-user=4", NULL);
    int fd[4];
    struct client client = { 0 };
    for (unsigned i = 0; i < 4; i++)
        fd[i] = wire_hello(NULL);
    assert_error(client_try(&client, "refused", 4 * MiB), MORPH_EQUOTA);
    close(fd[2]);
    assert_true(test_wait_until(client_try(&client, "admitted", 4 * MiB) == 0, 3000));
    client_close(&client);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            close(fd[i]);
    test_daemon_stop(daemon);
}

static int open_as_another(void *context, struct test_parent parent)
{
    struct client client;
    int r = client_try(&client, "another user's", 4 * MiB);
    return -r;
}

/* One user's limits are not another's. */
static void users_do_not_share_limits(void **state)
{
    if (geteuid() != 0)
        test_skip("needs root, to act as two users");
    struct test_daemon *daemon = test_daemon_start("--heaps-per-user=1", NULL);
    struct client client = client_open("root's", 4 * MiB), more;
    assert_error(client_try(&more, "one too many", 4 * MiB), MORPH_EQUOTA);
    assert_int_equal(test_child_run(test_user_nobody(), open_as_another, NULL), 0);
    client_close(&client);
    test_daemon_stop(daemon);
}

/* The configuration's highest limit lowers what a client asks for; it is told. */
static void limit_max_lowers(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--limit-max=8M", NULL);
    struct client client = client_open("large", 512 * MiB);
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(client.heap, &stats));
    assert_int_equal(stats.limit_bytes, 8 * MiB);
    assert_int_equal(test_heap_stat(client.id, "limit_bytes"), 8 * MiB);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void thread_slots(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    morph_heap *heap;
    morph_thread *thread[4];
    assert_ok(morph_heap_open(&heap, &(morph_options){ .limit_bytes = 8 * MiB, .threads = 3 }));
    for (unsigned i = 0; i < 3; i++)
        assert_ok(morph_thread_attach(heap, &thread[i]));
    assert_error(morph_thread_attach(heap, &thread[3]), MORPH_ETHREADS);
    assert_int_equal(test_heap_stat(morph_heap_id(heap), "threads"), 3);
    assert_ok(morph_thread_detach(thread[1]));
    assert_ok(morph_thread_attach(heap, &thread[1]));
    for (unsigned i = 0; i < 3; i++)
        assert_ok(morph_thread_detach(thread[i]));
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(heap_at_its_limit),
        test_case(arenas_at_the_limit),
        test_case(smallest_heap),
        test_case(machine_budget_spent),
        test_case(users_share_spent),
        test_case(heaps_per_user),
        test_case(connections_per_user),
        test_case(users_do_not_share_limits),
        test_case(limit_max_lowers),
        test_case(thread_slots),
    };
    return test_run(cases);
}
