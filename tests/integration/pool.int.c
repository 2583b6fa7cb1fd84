/* pool.int.c — pools with single free: every class, whole pages, huge allocations, realloc, misuse, sharing between threads. */
#include <pthread.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

static struct test_daemon *daemon;
static struct client client;
static morph_pool *pool;

static void begin(uint64_t limit_bytes, unsigned flags)
{
    daemon = test_daemon_start(NULL);
    client = client_open("pool", limit_bytes);
    assert_ok(morph_pool_new(client.me, flags, &pool));
}

static void end(void)
{
    morph_pool_free(pool);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void every_size_works(void **state)
{
    static char *at[20000];
    begin(512 * MiB, 0);
    for (unsigned bytes = 0; bytes < 20000; bytes++) {
        at[bytes] = morph_malloc(pool, bytes);
        assert_non_null(at[bytes]);
        assert_int_equal((uintptr_t)at[bytes] % 16, 0);
        assert_true(morph_usable(pool, at[bytes]) >= bytes);
        client_fill(at[bytes], bytes, bytes);
    }
    assert_int_equal(test_heap_stat(client.id, "pool_objects"), 20000);
    for (unsigned bytes = 0; bytes < 20000; bytes++)
        assert_true(client_intact(at[bytes], bytes, bytes));
    for (unsigned bytes = 0; bytes < 20000; bytes++)
        assert_ok(morph_free(pool, at[bytes]));
    assert_int_equal(test_heap_stat(client.id, "pool_objects"), 0);
    assert_int_equal(test_heap_stat(client.id, "pool_bytes"), 0);
    end();
}

static void zero_bytes_are_unique(void **state)
{
    begin(8 * MiB, 0);
    void *first = morph_malloc(pool, 0), *second = morph_malloc(pool, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    assert_int_equal(morph_usable(pool, first), 16);
    assert_ok(morph_free(pool, first));
    assert_ok(morph_free(pool, second));
    assert_ok(morph_free(pool, NULL));
    end();
}

static void large_ones_are_pages(void **state)
{
    static const uint64_t sizes[] = { 16385, 20480, 65536, 65537, 500000, 2 * MiB - 4096, 2 * MiB, 2 * MiB + 1, 5 * MiB, 33 * MiB };
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    char *at[COUNT];
    begin(256 * MiB, 0);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            at[i] = morph_malloc(pool, sizes[i]);
            assert_non_null(at[i]);
            assert_true(morph_usable(pool, at[i]) >= sizes[i]);
            client_fill(at[i], sizes[i], i + round);
        }
        assert_int_equal(test_heap_stat(client.id, "pool_objects"), COUNT);
        for (unsigned i = 0; i < COUNT; i++) {
            unsigned which = (i * 7 + round) % COUNT;
            assert_true(client_intact(at[which], sizes[which], which + round));
            assert_ok(morph_free(pool, at[which]));
        }
    }
    end();
}

/* What is freed can be had again, in another size: 1 GiB in all through 24 MiB. */
static void freed_memory_is_used_again(void **state)
{
    begin(24 * MiB, 0);
    for (uint64_t bytes = 16; bytes <= 8 * MiB; bytes *= 2) {
        uint64_t count = 16 * MiB / bytes;
        void *list = NULL;
        for (uint64_t i = 0; i < count; i++) {
            void **at = morph_malloc(pool, bytes);
            if (!at)
                fail_msg("%llu of %llu times %llu bytes: %s", (unsigned long long)i, (unsigned long long)count, (unsigned long long)bytes,
                         morph_strerror(morph_pool_error(pool)));
            *at = list;
            list = at;
        }
        while (list) {
            void *next = *(void **)list;
            assert_ok(morph_free(pool, list));
            list = next;
        }
    }
    end();
}

static void calloc_is_zero(void **state)
{
    begin(64 * MiB, 0);
    for (unsigned round = 0; round < 3; round++)
        for (uint64_t bytes = 1; bytes <= 3 * MiB; bytes = bytes * 3 + 1) {
            char *at = morph_calloc(pool, 1, bytes);
            assert_non_null(at);
            assert_true(client_zero(at, bytes));
            memset(at, 0xdd, bytes);
            assert_ok(morph_free(pool, at));
        }
    assert_null(morph_calloc(pool, (size_t)1 << 33, (size_t)1 << 33));          /* the product wraps */
    assert_true(morph_pool_error(pool) == MORPH_ETOOLARGE || morph_pool_error(pool) == MORPH_ENOMEM);
    end();
}

static void realloc_keeps_the_content(void **state)
{
    struct test_random random = test_random_begin("pool");
    begin(128 * MiB, 0);
    for (unsigned round = 0; round < 200; round++) {
        size_t bytes = test_random_size(&random, 100000);
        char *at = morph_realloc(pool, NULL, bytes);
        assert_non_null(at);
        client_fill(at, bytes, round);
        for (unsigned step = 0; step < 20; step++) {
            size_t next = test_random_size(&random, step % 5 ? 50000 : 5 * MiB), kept = next < bytes ? next : bytes;
            at = morph_realloc(pool, at, next);
            assert_non_null(at);
            assert_true(client_intact(at, kept, round));
            client_fill(at, next, round);
            bytes = next;
        }
        assert_null(morph_realloc(pool, at, 0));                                /* frees */
        assert_error(morph_free(pool, at), MORPH_EINVALID);
    }
    assert_int_equal(test_heap_stat(client.id, "pool_objects"), 0);
    end();
}

static void shrinking_stays_in_place(void **state)
{
    begin(64 * MiB, 0);
    char *cell = morph_malloc(pool, 200);
    assert_ptr_equal(morph_realloc(pool, cell, 193), cell);                     /* the same class */
    assert_ptr_equal(morph_realloc(pool, cell, 224), cell);
    char *pages = morph_malloc(pool, 500000);
    client_fill(pages, 500000, 4);
    assert_ptr_equal(morph_realloc(pool, pages, 300000), pages);
    assert_true(client_intact(pages, 300000, 4));
    char *behind = morph_malloc(pool, 100000);                                  /* may take what became free */
    assert_non_null(behind);
    memset(behind, 0, 100000);
    assert_true(client_intact(pages, 300000, 4));
    assert_ok(morph_free(pool, cell));
    assert_ok(morph_free(pool, pages));
    assert_ok(morph_free(pool, behind));
    end();
}

/* Nothing that is not an allocation of this pool can be freed, and trying does no damage. */
static void misuse_is_refused(void **state)
{
    morph_pool *other;
    morph_arena *arena;
    int local = 0;
    begin(64 * MiB, 0);
    assert_ok(morph_pool_new(client.me, 0, &other));
    assert_ok(morph_arena_new(client.me, &arena));
    char *kept = morph_malloc(pool, 1000), *large = morph_malloc(pool, 100000), *huge = morph_malloc(pool, 3 * MiB);
    client_fill(kept, 1000, 1), client_fill(large, 100000, 2), client_fill(huge, 3 * MiB, 3);
    char *freed = morph_malloc(pool, 1000), *foreign = morph_malloc(other, 1000), *foreign_huge = morph_malloc(other, 3 * MiB);
    char *freed_large = morph_malloc(pool, 100000);
    assert_ok(morph_free(pool, freed));
    assert_ok(morph_free(pool, freed_large));
    void *bad[] = {
        freed, freed_large, foreign, foreign_huge, &local, kept + 16, kept + 1, kept + 500, kept - 16, large + 4096, large + 16, large - 4096,
        huge + MiB, huge + 2 * MiB, huge + 16, (void *)16, (void *)UINTPTR_MAX, (void *)(UINTPTR_MAX & ~(uintptr_t)15),
        morph_arena_bytes(arena, 100), (void *)((uintptr_t)kept & ~(uintptr_t)0xffff), (void *)((uintptr_t)kept & ~(uintptr_t)0x1fffff),
        (void *)((uintptr_t)huge & ~(uintptr_t)0xffff),
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (morph_free(pool, bad[i]) != MORPH_EINVALID)
            fail_msg("pointer %u was freed", i);
        assert_null(morph_realloc(pool, bad[i], 2000));
        assert_error(morph_pool_error(pool), MORPH_EINVALID);
    }
    assert_int_equal(morph_usable(pool, foreign), 0);
    assert_int_equal(morph_usable(pool, &local), 0);
    assert_int_equal(morph_usable(pool, NULL), 0);
    assert_true(client_intact(kept, 1000, 1) && client_intact(large, 100000, 2) && client_intact(huge, 3 * MiB, 3));
    assert_ok(morph_free(pool, kept));
    assert_ok(morph_free(pool, large));
    assert_ok(morph_free(pool, huge));
    assert_error(morph_free(pool, huge), MORPH_EINVALID);
    assert_ok(morph_free(other, foreign));
    assert_ok(morph_free(other, foreign_huge));
    morph_arena_free(arena);
    morph_pool_free(other);
    end();
}

static void absurd_sizes_are_refused(void **state)
{
    static const size_t absurd[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4096, (size_t)1 << 63, (size_t)1 << 48, 65 * MiB };
    begin(64 * MiB, 0);
    char *kept = morph_malloc(pool, 50);
    client_fill(kept, 50, 1);
    for (unsigned i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        assert_null(morph_malloc(pool, absurd[i]));
        assert_true(morph_pool_error(pool) == MORPH_ETOOLARGE || morph_pool_error(pool) == MORPH_ENOMEM);
        assert_null(morph_realloc(pool, kept, absurd[i]));
        assert_true(client_intact(kept, 50, 1));                                /* as malloc's: what was there stays */
    }
    assert_ok(morph_free(pool, kept));
    end();
}

/* ---- Threads ---- */

#define THREADS 4
#define EACH    3000u

static void *share(void *context)
{
    uint64_t seed = (uintptr_t)context;
    struct test_random random = { seed };
    struct { char *at; size_t bytes; } live[64] = { { 0 } };
    for (unsigned i = 0; i < EACH; i++) {
        unsigned which = (unsigned)test_random_below(&random, 64);
        if (live[which].at) {
            if (!client_intact(live[which].at, live[which].bytes, seed + which) || morph_free(pool, live[which].at) < 0)
                return "an allocation was damaged";
            live[which].at = NULL;
            continue;
        }
        live[which].bytes = test_random_size(&random, i % 50 ? 5000 : 200000);
        live[which].at = morph_malloc(pool, live[which].bytes);
        if (!live[which].at)
            return "there was no memory";
        client_fill(live[which].at, live[which].bytes, seed + which);
    }
    for (unsigned which = 0; which < 64; which++)
        if (live[which].at && (!client_intact(live[which].at, live[which].bytes, seed + which) || morph_free(pool, live[which].at) < 0))
            return "an allocation was damaged";
    return NULL;
}

static void threads_share_a_pool(void **state)
{
    struct test_random random = test_random_begin("pool");
    pthread_t thread[THREADS];
    begin(256 * MiB, MORPH_POOL_SHARED);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, share, (void *)(uintptr_t)(test_random_next(&random) | 1)), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(thread[i], &complaint), 0);
        if (complaint)
            fail_msg("%s", (char *)complaint);
    }
    assert_int_equal(test_heap_stat(client.id, "pool_objects"), 0);
    end();
}

static void *adopt(void *context)
{
    morph_thread *me;
    if (morph_thread_attach(client.heap, &me) < 0 || morph_pool_adopt(pool, me) < 0)
        return NULL;
    char *at = morph_malloc(pool, 100000);
    morph_pool_adopt(pool, client.me);
    morph_thread_detach(me);
    return at;
}

static void another_thread_may_adopt(void **state)
{
    pthread_t thread;
    void *at = NULL;
    begin(32 * MiB, 0);
    char *mine = morph_malloc(pool, 50);
    assert_int_equal(pthread_create(&thread, NULL, adopt, NULL), 0);
    assert_int_equal(pthread_join(thread, &at), 0);
    assert_non_null(at);
    assert_ok(morph_free(pool, at));
    assert_ok(morph_free(pool, mine));
    end();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(every_size_works),
        test_case(zero_bytes_are_unique),
        test_case(large_ones_are_pages),
        test_case(freed_memory_is_used_again),
        test_case(calloc_is_zero),
        test_case(realloc_keeps_the_content),
        test_case(shrinking_stays_in_place),
        test_case(misuse_is_refused),
        test_case(absurd_sizes_are_refused),
        test_case(threads_share_a_pool),
        test_case(another_thread_may_adopt),
    };
    return test_run(cases);
}
