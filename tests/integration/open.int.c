/* open.int.c — a heap is opened, used a little and closed; the daemon sees it come and go, and nothing is left in the client. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

static void comes_and_goes(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    assert_int_equal(test_heaps(), 0);
    int descriptors = test_descriptors(), mappings = test_mappings(), children = test_children();

    struct client client = client_open("visitor", 8 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    client_fill(morph_arena_bytes(arena, 1000), 1000, 1);
    assert_int_equal(test_heaps(), 1);
    assert_int_equal(test_stat("heaps"), 1);
    assert_int_equal(test_heap_stat(client.id, "limit_bytes"), 8 * MiB);
    assert_int_equal(test_heap_stat(client.id, "pid"), getpid());
    assert_int_equal(test_heap_stat(client.id, "uid"), getuid());
    assert_int_equal(test_heap_stat(client.id, "threads"), 1);
    assert_int_equal(test_heap_stat(client.id, "arenas"), 1);
    assert_true(test_heap_stat(client.id, "arena_bytes") >= 1000);
    assert_true(test_heap_stat(client.id, "granted_bytes") >= 64 * KiB);
    morph_arena_free(arena);
    client_close(&client);

    assert_int_equal(test_descriptors(), descriptors);
    assert_int_equal(test_mappings(), mappings);
    assert_int_equal(test_children(), children);
    assert_true(test_wait_until(test_heaps() == 0, 2000));
    assert_int_equal(test_heap_stat(client.id, "pid"), UINT64_MAX);
    assert_int_equal(test_stat("granted_bytes"), 0);
    test_daemon_stop(daemon);
}

static void again_and_again(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    int descriptors = test_descriptors(), mappings = test_mappings();
    for (unsigned i = 0; i < 300; i++) {
        struct client client = client_open("again", 4 * MiB);
        morph_arena *arena;
        assert_ok(morph_arena_new(client.me, &arena));
        assert_non_null(morph_arena_bytes(arena, 100000));
        morph_arena_free(arena);
        client_close(&client);
    }
    assert_int_equal(test_descriptors(), descriptors);
    assert_int_equal(test_mappings(), mappings);
    assert_true(test_wait_until(test_stat("heaps") == 0, 2000));
    assert_int_equal(test_stat("heaps_opened"), 300);
    test_daemon_stop(daemon);
}

static void several_in_one_process(void **state)
{
    enum { HEAPS = 20 };
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client[HEAPS];
    morph_arena *arena[HEAPS];
    char *text[HEAPS];
    for (unsigned i = 0; i < HEAPS; i++) {
        client[i] = client_open("one of many", 4 * MiB);
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(client[i].id, client[j].id);
        assert_ok(morph_arena_new(client[i].me, &arena[i]));
        text[i] = morph_arena_bytes(arena[i], 5000);
        client_fill(text[i], 5000, i);
    }
    assert_int_equal(test_heaps(), HEAPS);
    for (unsigned i = 0; i < HEAPS; i++)
        assert_true(client_intact(text[i], 5000, i));
    for (unsigned i = 0; i < HEAPS; i++) {                              /* every third first, so that they go out of order */
        unsigned which = i * 3 % HEAPS;
        assert_error(morph_heap_close(client[which].heap), MORPH_EBUSY);
        assert_error(morph_thread_detach(client[which].me), MORPH_EBUSY);       /* its arena is still there */
        assert_int_equal(morph_heap_status(client[which].heap), 0);
        assert_true(client_intact(text[which], 5000, which));
        morph_arena_free(arena[which]);
        client_close(&client[which]);
    }
    test_daemon_stop(daemon);
}

static void defaults_are_the_presets(void **state)
{
    static const struct { enum morph_mode mode; uint64_t limit_bytes; } preset[] = {
        { MORPH_COMPILER, 256 * MiB }, { MORPH_RUNTIME, 512 * MiB }, { MORPH_VM, 2048 * MiB }, { MORPH_SERVER, 1024 * MiB },
    };
    struct test_daemon *daemon = test_daemon_start("--budget=16G", NULL);
    morph_heap_stats stats;
    morph_heap *heap;
    for (unsigned i = 0; i < 4; i++) {
        assert_ok(morph_heap_open(&heap, &(morph_options){ .mode = preset[i].mode }));
        assert_ok(morph_heap_stats_get(heap, &stats));
        assert_int_equal(stats.limit_bytes, preset[i].limit_bytes);
        assert_int_equal(test_heap_stat(morph_heap_id(heap), "limit_bytes"), preset[i].limit_bytes);
        assert_ok(morph_heap_close(heap));
    }
    assert_ok(morph_heap_open(&heap, NULL));
    assert_ok(morph_heap_stats_get(heap, &stats));
    assert_int_equal(stats.limit_bytes, 256 * MiB);
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

static void nonsense_is_refused(void **state)
{
    static const morph_options nonsense[] = {
        { .limit_bytes = 1 }, { .limit_bytes = 255 * KiB }, { .limit_bytes = (uint64_t)1 << 50 }, { .limit_bytes = UINT64_MAX },
        { .threads = 1025 }, { .threads = UINT32_MAX }, { .mode = (enum morph_mode)4 }, { .mode = (enum morph_mode)-1 },
        { .limit_bytes = 64 * MiB, .reserve_bytes = 32 * MiB }, { .reserve_bytes = UINT64_MAX },
    };
    struct test_daemon *daemon = test_daemon_start(NULL);
    morph_heap *heap = (morph_heap *)&heap;
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        int r = morph_heap_open(&heap, &nonsense[i]);
        if (r != MORPH_EINVALID)
            fail_msg("options %u: %s", i, morph_error_name(r));
        assert_ptr_equal(heap, &heap);                                  /* results are written on success only */
    }
    assert_error(morph_heap_open(NULL, NULL), MORPH_EINVALID);
    assert_int_equal(test_heaps(), 0);
    test_daemon_stop(daemon);
}

static void nothing_is_allowed(void **state)
{
    assert_ok(morph_heap_close(NULL));
    assert_ok(morph_thread_detach(NULL));
    morph_arena_free(NULL);
    morph_pool_free(NULL);
    for (int code = -100; code <= 100; code++) {
        assert_non_null(morph_strerror(code));
        assert_non_null(morph_error_name(code));
    }
    assert_string_equal(morph_error_name(MORPH_ENOMEM), "MORPH_ENOMEM");
    assert_string_equal(morph_strerror(MORPH_ETIMEOUT), "the daemon did not answer in time");
    assert_true(strlen(morph_version()) >= 5);
}

static void limits_are_whole_blocks(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    static const uint64_t wanted[] = { 256 * KiB, 256 * KiB + 1, 3 * MiB + 4097, 100 * MiB - 1 };
    for (unsigned i = 0; i < 4; i++) {
        morph_heap *heap;
        morph_heap_stats stats;
        assert_ok(morph_heap_open(&heap, &(morph_options){ .limit_bytes = wanted[i] }));
        assert_ok(morph_heap_stats_get(heap, &stats));
        assert_int_equal(stats.limit_bytes % (64 * KiB), 0);
        assert_true(stats.limit_bytes + 64 * KiB > wanted[i] && stats.limit_bytes < wanted[i] + 64 * KiB);
        assert_int_equal(test_heap_stat(morph_heap_id(heap), "limit_bytes"), stats.limit_bytes);
        assert_ok(morph_heap_close(heap));
    }
    test_daemon_stop(daemon);
}

static void event_loops_have_a_descriptor(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("loop", 4 * MiB);
    int fd = morph_heap_fd(client.heap);
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    assert_true(fd >= 0);
    assert_ok(morph_heap_dispatch(client.heap));                        /* nothing to hear: it does not wait */
    test_daemon_kill(daemon);
    assert_int_equal(poll(&poll_fd, 1, 5000), 1);                       /* the daemon's death can be heard */
    assert_error(morph_heap_dispatch(client.heap), MORPH_ELOST);
    assert_error(morph_heap_status(client.heap), MORPH_ELOST);
    client_close(&client);
    test_daemon_free(daemon);
}

static void auto_options_fit_the_machine(void **state)
{
    morph_options options = morph_options_auto();
    uint64_t ram = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    assert_true(options.mode <= MORPH_SERVER);
    assert_true(options.limit_bytes >= 256 * KiB && options.limit_bytes <= ram);
    if (options.mode == MORPH_SERVER) {
        assert_int_equal(options.limit_bytes, 2048 * MiB);
        assert_int_equal(options.gc_start_bytes, 256 * MiB);
    }
    struct test_daemon *daemon = test_daemon_start(NULL);
    morph_heap *heap;
    assert_ok(morph_heap_open(&heap, &options));
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(comes_and_goes),
        test_case(again_and_again),
        test_case(defaults_are_the_presets),
        test_case(nonsense_is_refused),
        test_case(nothing_is_allowed),
        test_case(limits_are_whole_blocks),
        test_case(event_loops_have_a_descriptor),
        test_case(auto_options_fit_the_machine),
        test_case(several_in_one_process),
    };
    return test_run(cases);
}
