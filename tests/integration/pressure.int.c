/* pressure.int.c — callbacks at levels of a heap's bound, the last resort before an allocation fails, the service thread, and bounds that are
 * changed while the heap is open. */
#define _GNU_SOURCE
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/pressure.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define ANSWER_MS   (20000u * test_slowness())
#define PIECE_BYTES (15 * 64 * KiB)             /* with its run's header: 16 blocks */
#define PIECES      90u

/* ---- A heap that is filled piece by piece, each in an arena of its own ---- */

struct fill { struct client client; morph_arena *arena[PIECES]; unsigned pieces; };

static struct fill fill_open(const char *name, uint64_t limit_bytes, bool service)
{
    struct fill fill = { .pieces = 0 };
    assert_ok(morph_heap_open(&fill.client.heap, &(morph_options){ .name = name, .limit_bytes = limit_bytes, .no_autospawn = true,
                                                                   .service_thread = service }));
    assert_ok(morph_thread_attach(fill.client.heap, &fill.client.me));
    fill.client.id = morph_heap_id(fill.client.heap);
    return fill;
}

static morph_heap_stats stats_of(morph_heap *heap)
{
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(heap, &stats));
    return stats;
}

static unsigned use_of(const struct fill *fill)
{
    morph_heap_stats stats = stats_of(fill->client.heap);
    return (unsigned)(stats.granted_bytes * 100 / stats.limit_bytes);
}

static bool piece_try(struct fill *fill)
{
    assert_true(fill->pieces < PIECES);
    assert_ok(morph_arena_new(fill->client.me, &fill->arena[fill->pieces]));
    if (morph_arena_bytes(fill->arena[fill->pieces], PIECE_BYTES)) {
        fill->pieces++;
        return true;
    }
    morph_arena_free(fill->arena[fill->pieces]);
    return false;
}

static void fill_drop(struct fill *fill, unsigned leave)
{
    while (fill->pieces > leave)
        morph_arena_free(fill->arena[--fill->pieces]);
}

static void fill_to(struct fill *fill, unsigned percent)
{
    while (use_of(fill) < percent)
        assert_true(piece_try(fill));
}

/* Everything is given back but spare memory, and what was granted ahead. */
static void fill_empty(struct fill *fill)
{
    fill_drop(fill, 0);
    assert_true(test_wait_until(use_of(fill) <= 40, ANSWER_MS));
}

static void fill_close(struct fill *fill)
{
    fill_drop(fill, 0);
    client_close(&fill->client);
}

/* ---- Callbacks ---- */

struct heard { unsigned calls; morph_pressure last; pid_t tid; };

static void on_pressure(void *argument, const morph_pressure *pressure)
{
    struct heard *heard = argument;
    heard->last = *pressure;
    heard->tid = (pid_t)syscall(SYS_gettid);
    __atomic_fetch_add(&heard->calls, 1, __ATOMIC_RELEASE);
}

static unsigned calls(const struct heard *heard) { return __atomic_load_n(&heard->calls, __ATOMIC_ACQUIRE); }

static bool readable(morph_heap *heap, unsigned ms)
{
    struct pollfd fd = { .fd = morph_heap_fd(heap), .events = POLLIN };
    return poll(&fd, 1, (int)ms) == 1;
}

/* Dispatches what there is, as an event loop does. */
static void loop_once(morph_heap *heap)
{
    while (readable(heap, 0))
        assert_ok(morph_heap_dispatch(heap));
}

static void levels_are_called_once_and_armed_again(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("levels", 80 * MiB, false);
    struct heard at[4] = { { 0 } };
    static const unsigned level[] = { 61, 80, 90, 95 };
    for (unsigned i = 0; i < 4; i++)
        assert_ok(morph_heap_on_pressure(fill.client.heap, level[i], on_pressure, &at[i]));
    loop_once(fill.client.heap);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 4; i++) {
            while (use_of(&fill) < level[i]) {
                loop_once(fill.client.heap);
                assert_true(calls(&at[i]) == round - 1 || use_of(&fill) >= level[i]);
                assert_true(piece_try(&fill));
            }
            if (calls(&at[i]) < round)
                assert_true(readable(fill.client.heap, ANSWER_MS));     /* also where an allocation has read the letter */
            loop_once(fill.client.heap);
            assert_int_equal(calls(&at[i]), round);
            assert_int_equal(at[i].last.level, level[i]);
            assert_int_equal(at[i].last.reason, MORPH_PRESSURE_USE);
            assert_ptr_equal(at[i].last.heap, fill.client.heap);
            assert_null(at[i].last.thread);
            assert_int_equal(at[i].last.error, 0);
            assert_true(at[i].last.use_percent >= level[i]);
            assert_int_equal(at[i].last.limit_bytes, 80 * MiB);
            assert_int_equal(at[i].tid, syscall(SYS_gettid));
        }
        fill_empty(&fill);
        loop_once(fill.client.heap);
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(calls(&at[i]), round);                     /* falling is no news */
    }
    fill_close(&fill);
    test_daemon_stop(daemon);
}

static void crossings_between_two_looks_are_one_call(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("late", 80 * MiB, false);
    struct heard heard = { 0 };
    assert_ok(morph_heap_on_pressure(fill.client.heap, 70, on_pressure, &heard));
    for (unsigned round = 0; round < 5; round++) {
        fill_to(&fill, 80);
        fill_empty(&fill);
    }
    assert_ok(morph_heap_dispatch(fill.client.heap));
    assert_int_equal(calls(&heard), 1);
    loop_once(fill.client.heap);                                        /* a letter that was held back brings nothing new */
    assert_int_equal(calls(&heard), 1);
    fill_close(&fill);
    test_daemon_stop(daemon);
}

static void a_level_below_use_is_due_at_once(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("already", 80 * MiB, false);
    struct heard low = { 0 }, high = { 0 };
    fill_to(&fill, 60);
    loop_once(fill.client.heap);
    assert_ok(morph_heap_on_pressure(fill.client.heap, 50, on_pressure, &low));
    assert_ok(morph_heap_on_pressure(fill.client.heap, 99, on_pressure, &high));
    assert_true(readable(fill.client.heap, 0));
    loop_once(fill.client.heap);
    assert_int_equal(calls(&low), 1);
    assert_int_equal(calls(&high), 0);
    fill_close(&fill);
    test_daemon_stop(daemon);
}

static void callbacks_are_replaced_and_removed(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("several", 80 * MiB, false);
    morph_heap *heap = fill.client.heap;
    struct heard heard[3] = { { 0 } };
    for (unsigned i = 0; i < 3; i++)
        assert_ok(morph_heap_on_pressure(heap, 60, on_pressure, &heard[i]));
    assert_ok(morph_heap_on_pressure(heap, 60, on_pressure, &heard[0]));        /* the same again is one */
    assert_ok(morph_heap_on_pressure(heap, 60, NULL, &heard[1]));
    fill_to(&fill, 70);
    loop_once(heap);
    assert_int_equal(calls(&heard[0]), 1);
    assert_int_equal(calls(&heard[1]), 0);
    assert_int_equal(calls(&heard[2]), 1);
    fill_empty(&fill);
    assert_ok(morph_heap_on_pressure(heap, 60, NULL, NULL));                    /* all of the level */
    fill_to(&fill, 70);
    loop_once(heap);
    assert_int_equal(calls(&heard[0]) + calls(&heard[1]) + calls(&heard[2]), 2);
    assert_ok(morph_heap_on_pressure(heap, 33, NULL, NULL));                    /* nobody there: fine */
    assert_error(morph_heap_on_pressure(heap, 0, on_pressure, NULL), MORPH_EINVALID);
    assert_error(morph_heap_on_pressure(heap, 101, on_pressure, NULL), MORPH_EINVALID);
    assert_error(morph_heap_on_pressure(NULL, 50, on_pressure, NULL), MORPH_EINVALID);
    fill_close(&fill);
    test_daemon_stop(daemon);
}

/* The control area of the only heap of this process: what a daemon under pressure would write there is written by hand. */
static struct mm_pressure_words *words_of_the_heap(void)
{
    char line[512];
    unsigned long from = 0;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (!from && fgets(line, sizeof line, maps))
        if (strstr(line, "memfd:morphmem-control"))
            from = strtoul(line, NULL, 16);
    (void)fclose(maps);
    assert_true(from != 0);
    return mm_control_pressure((struct mm_control *)from);
}

static void the_machine_is_heard_of_too(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("machine", 20 * MiB, false);
    struct heard heard = { 0 };
    struct mm_pressure_words *words = words_of_the_heap();
    assert_ok(morph_heap_on_pressure(fill.client.heap, 90, on_pressure, &heard));
    words->percent[MM_PRESSURE_MACHINE] = 93;
    words->risen[MM_PRESSURE_MACHINE][90]++;
    assert_ok(morph_heap_dispatch(fill.client.heap));
    assert_ok(morph_heap_dispatch(fill.client.heap));
    assert_int_equal(calls(&heard), 1);
    assert_int_equal(heard.last.reason, MORPH_PRESSURE_MACHINE);
    assert_int_equal(heard.last.machine_percent, 93);
    assert_true(heard.last.use_percent < 90);
    assert_int_equal(test_stat("machine_pressure"), 0);
    fill_close(&fill);
    test_daemon_stop(daemon);
}

/* ---- The service thread ---- */

/* Looks at the threads of this process: how many are the library's, and whether one takes a signal. */
static unsigned service_threads(bool *ret_signals)
{
    char path[300], line[256];
    unsigned found = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "re");
        bool ours = false;
        while (status && fgets(line, sizeof line, status)) {
            if (strcmp(line, "Name:\tmorphmem\n") == 0)
                ours = true;
            if (ours && strncmp(line, "SigBlk:", 7) == 0)
                *ret_signals |= (strtoull(line + 7, NULL, 16) & 0x7ffbfeffu) != 0x7ffbfeffu;    /* all of the first 31 but KILL and STOP */
        }
        if (status)
            (void)fclose(status);
        found += ours;
    }
    (void)closedir(tasks);
    return found;
}

static void the_service_thread_calls(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("served", 80 * MiB, true);
    struct heard at80 = { 0 }, at10 = { 0 };
    bool signals = false;
    assert_true(test_wait_until(service_threads(&signals) == 1, ANSWER_MS));
    assert_false(signals);
    assert_ok(morph_heap_on_pressure(fill.client.heap, 80, on_pressure, &at80));
    for (unsigned round = 1; round <= 3; round++) {
        fill_to(&fill, 85);
        assert_true(test_wait_until(calls(&at80) == round, ANSWER_MS));
        assert_true(at80.tid != syscall(SYS_gettid));
        assert_null(at80.last.thread);
        fill_empty(&fill);
    }
    assert_ok(morph_heap_on_pressure(fill.client.heap, 1, on_pressure, &at10));         /* the thread is woken for what is due already */
    assert_true(test_wait_until(calls(&at10) == 1, ANSWER_MS));
    assert_int_equal(calls(&at80), 3);
    fill_close(&fill);
    assert_int_equal(service_threads(&signals), 0);
    test_daemon_stop(daemon);
}

static void the_service_thread_ends_with_the_daemon(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("served", 80 * MiB, true);
    bool signals = false;
    test_daemon_kill(daemon);
    assert_true(test_wait_until(morph_heap_status(fill.client.heap) == MORPH_ELOST, ANSWER_MS));        /* it hears that for us */
    assert_true(test_wait_until(service_threads(&signals) == 0, ANSWER_MS));
    fill_close(&fill);
    test_daemon_free(daemon);
}

static void a_forked_child_has_no_service_thread(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("served", 80 * MiB, true);
    struct heard heard = { 0 };
    int status;
    assert_ok(morph_heap_on_pressure(fill.client.heap, 80, on_pressure, &heard));
    (void)morph_heap_fd(fill.client.heap);
    pid_t child = fork();
    if (child == 0) {
        child_check_int(morph_heap_dispatch(fill.client.heap), MORPH_EFORKED);
        child_check_int(morph_heap_on_pressure(fill.client.heap, 80, on_pressure, &heard), MORPH_EFORKED);
        child_check_int(morph_heap_set_limit(fill.client.heap, 10 * MiB), MORPH_EFORKED);
        child_check_int(morph_heap_close(fill.client.heap), 0);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    fill_to(&fill, 85);
    assert_true(test_wait_until(calls(&heard) == 1, ANSWER_MS));
    fill_close(&fill);
    test_daemon_stop(daemon);
}

/* ---- The last resort ---- */

struct node { struct node *next; uint64_t words[15]; };

struct cache {
    struct client client;
    morph_type    node;
    struct roots { struct node *cache, *kept; } *roots;        /* a frame */
    unsigned      calls, wrong;
    bool          keep;                 /* the callback does not help */
    morph_pressure last;
};

static struct cache cache_open(uint64_t limit_bytes)
{
    static const uint32_t refs[] = { 0 };
    struct cache cache = { .calls = 0 };
    assert_ok(morph_heap_open(&cache.client.heap, &(morph_options){ .mode = MORPH_RUNTIME, .name = "cache", .limit_bytes = limit_bytes,
                                                                    .no_autospawn = true }));
    assert_ok(morph_thread_attach(cache.client.heap, &cache.client.me));
    assert_ok(morph_type_register(cache.client.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 1 } },
                                  &cache.node));
    cache.client.id = morph_heap_id(cache.client.heap);
    cache.roots = morph_frame_push(cache.client.me, sizeof *cache.roots);
    assert_non_null(cache.roots);
    return cache;
}

static void cache_close(struct cache *cache)
{
    morph_frame_pop(cache->client.me, cache->roots);
    client_close(&cache->client);
}

static bool node_try(struct cache *cache, struct node **list)
{
    struct node *node = morph_new(cache->client.me, cache->node);
    if (!node)
        return false;
    node->next = *list;
    memset(node->words, 0x5a, sizeof node->words);
    *list = node;
    return true;
}

static unsigned list_length(const struct node *node)
{
    unsigned length = 0;
    for (; node; node = node->next, length++)
        if (node->words[14] != 0x5a5a5a5a5a5a5a5a)
            fail_msg("node %u is spoiled", length);
    return length;
}

static void drop_cache(void *argument, const morph_pressure *pressure)
{
    struct cache *cache = argument;
    cache->calls++;
    cache->last = *pressure;
    cache->wrong += pressure->reason != MORPH_PRESSURE_REFUSED || pressure->thread != cache->client.me;
    if (!cache->keep)
        cache->roots->cache = NULL;
}

static void a_dropped_cache_saves_an_allocation(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--verify=full", NULL);
    struct cache cache = cache_open(8 * MiB);
    assert_ok(morph_heap_on_pressure(cache.client.heap, 100, drop_cache, &cache));
    unsigned kept = 0, cached = 0;
    for (; kept < 5000; kept++)
        assert_true(node_try(&cache, &cache.roots->kept));
    for (unsigned round = 1; round <= 3; round++) {
        for (cached = 0; cache.calls < round; cached++)
            assert_true(node_try(&cache, &cache.roots->cache));         /* none is refused */
        assert_true(cached * sizeof(struct node) > 2 * MiB);
        assert_int_equal(cache.calls, round);
    }
    assert_int_equal(cache.wrong, 0);
    assert_int_equal(cache.last.error, MORPH_ENOMEM);
    assert_int_equal(cache.last.level, 100);
    assert_int_equal(list_length(cache.roots->kept), kept);
    assert_int_equal(list_length(cache.roots->cache), 1);               /* the one that was saved */
    assert_true(test_heap_stat(cache.client.id, "refusals") >= 3);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

static void without_help_it_is_refused_and_nobody_is_asked_twice(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct cache cache = cache_open(8 * MiB);
    while (node_try(&cache, &cache.roots->cache))                       /* nobody to call */
        ;
    assert_error(morph_thread_error(cache.client.me), MORPH_ENOMEM);
    cache.keep = true;
    assert_ok(morph_heap_on_pressure(cache.client.heap, 100, drop_cache, &cache));
    assert_ok(morph_heap_on_pressure(cache.client.heap, 80, drop_cache, &cache));       /* any level: it is the last resort */
    for (unsigned i = 0; i < 5; i++) {
        assert_false(node_try(&cache, &cache.roots->cache));
        assert_error(morph_thread_error(cache.client.me), MORPH_ENOMEM);
        assert_int_equal(cache.calls, 2);
    }
    cache.roots->cache = NULL;                                          /* the program helps itself: that was that episode */
    while (cache.calls == 2)
        if (!node_try(&cache, &cache.roots->cache))
            break;
    assert_int_equal(cache.calls, 4);
    assert_error(morph_thread_error(cache.client.me), MORPH_ENOMEM);
    assert_int_equal(cache.wrong, 0);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

/* Everything that a callback may do that could go round in circles. */
struct circle { struct cache *cache; unsigned calls, refused; int closed, fd_calls; };

static void in_circles(void *argument, const morph_pressure *pressure)
{
    struct circle *circle = argument;
    struct cache *cache = circle->cache;
    circle->calls++;
    while (node_try(cache, &cache->roots->cache))
        ;
    circle->refused += morph_thread_error(cache->client.me) == MORPH_ENOMEM;
    circle->closed = morph_heap_close(pressure->heap);
    circle->fd_calls += morph_heap_dispatch(pressure->heap);
    circle->fd_calls += morph_heap_on_pressure(pressure->heap, 100, in_circles, circle);
    circle->fd_calls += morph_heap_on_pressure(pressure->heap, 99, NULL, NULL);
    circle->fd_calls += morph_collect(cache->client.me, MORPH_COLLECT_MINOR);
}

static void a_callback_does_not_call_itself(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct cache cache = cache_open(8 * MiB);
    struct circle circle = { .cache = &cache };
    assert_ok(morph_heap_on_pressure(cache.client.heap, 99, in_circles, &circle));
    assert_ok(morph_heap_on_pressure(cache.client.heap, 100, in_circles, &circle));
    while (node_try(&cache, &cache.roots->cache))
        ;
    assert_int_equal(circle.calls, 2);
    assert_int_equal(circle.refused, 2);
    assert_error(circle.closed, MORPH_EBUSY);
    assert_int_equal(circle.fd_calls, 0);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

/* A bound that gives way instead of a cache. */
static void raise_limit(void *argument, const morph_pressure *pressure)
{
    int *error = argument;
    *error = morph_heap_set_limit(pressure->heap, pressure->limit_bytes + 2 * MiB);
}

static void a_callback_may_set_another_limit(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct cache cache = cache_open(8 * MiB);
    int error = 1;
    assert_ok(morph_heap_on_pressure(cache.client.heap, 100, raise_limit, &error));
    while (node_try(&cache, &cache.roots->kept) && stats_of(cache.client.heap).limit_bytes < 12 * MiB)
        assert_true(error >= 0);
    assert_int_equal(error, 0);
    assert_int_equal(stats_of(cache.client.heap).limit_bytes, 12 * MiB);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

static void drop_pieces(void *argument, const morph_pressure *pressure)
{
    (void)pressure;
    fill_drop(argument, 2);
}

static void arenas_have_a_last_resort_too(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("arenas", 20 * MiB, true);             /* with a service thread it runs here all the same */
    morph_arena *arena;
    assert_ok(morph_heap_on_pressure(fill.client.heap, 100, drop_pieces, &fill));
    assert_ok(morph_arena_new(fill.client.me, &arena));
    while (fill.pieces < 14)
        assert_true(piece_try(&fill));
    assert_non_null(morph_arena_aligned(arena, 8 * MiB, 64));           /* more than is left: the pieces go */
    assert_int_equal(fill.pieces, 2);
    assert_non_null(morph_arena_bytes(arena, 8 * MiB));
    assert_null(morph_arena_bytes(arena, 8 * MiB));                     /* nothing helps here */
    assert_error(morph_thread_error(fill.client.me), MORPH_ENOMEM);
    morph_arena_free(arena);
    fill_close(&fill);
    test_daemon_stop(daemon);
}

struct cells { morph_pool *pool; void *cell[400]; unsigned count, calls; };

static void free_cells(void *argument, const morph_pressure *pressure)
{
    struct cells *cells = argument;
    (void)pressure;
    cells->calls++;
    for (; cells->count > 0; cells->count--)
        assert_ok(morph_free(cells->pool, cells->cell[cells->count - 1]));      /* of the very pool that is short */
}

static void pools_have_a_last_resort_too(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned flags = 0; flags <= MORPH_POOL_SHARED; flags++) {
        struct client client = client_open("pool", 8 * MiB);
        struct cells cells = { .count = 0 };
        assert_ok(morph_pool_new(client.me, flags, &cells.pool));
        assert_ok(morph_heap_on_pressure(client.heap, 100, free_cells, &cells));
        void *grown = morph_malloc(cells.pool, 1000);
        client_fill(grown, 1000, 7);
        while (cells.calls < 3) {
            void *cell = morph_malloc(cells.pool, 100000);
            assert_non_null(cell);
            assert_true(cells.count < 400);
            cells.cell[cells.count++] = cell;
        }
        while (stats_of(client.heap).granted_bytes + MiB < 8 * MiB) {
            void *cell = morph_calloc(cells.pool, 1, 100000);
            assert_non_null(cell);
            assert_true(cells.count < 400);
            cells.cell[cells.count++] = cell;           /* behind the call, which may empty the list */
        }
        assert_non_null(grown = morph_realloc(cells.pool, grown, 4 * MiB));
        assert_true(client_intact(grown, 1000, 7));
        assert_null(morph_malloc(cells.pool, 6 * MiB));
        assert_error(morph_pool_error(cells.pool), MORPH_ENOMEM);
        morph_pool_free(cells.pool);
        client_close(&client);
    }
    test_daemon_stop(daemon);
}

/* Threads that are all refused at once. */
struct crowd { morph_heap *heap; morph_type node; pthread_barrier_t full; uint32_t inside, calls, overlaps, dropped; };

static void on_crowd(void *argument, const morph_pressure *pressure)
{
    struct crowd *crowd = argument;
    (void)pressure;
    if (__atomic_fetch_add(&crowd->inside, 1, __ATOMIC_SEQ_CST) != 0)
        __atomic_fetch_add(&crowd->overlaps, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&crowd->calls, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_sub(&crowd->inside, 1, __ATOMIC_SEQ_CST);
}

static void *crowd_member(void *argument)
{
    struct crowd *crowd = argument;
    morph_thread *me;
    assert_ok(morph_thread_attach(crowd->heap, &me));
    struct roots *roots = morph_frame_push(me, sizeof *roots);
    for (struct node *node; (node = morph_new(me, crowd->node)) != NULL; roots->kept = node)
        node->next = roots->kept;
    assert_error(morph_thread_error(me), MORPH_ENOMEM);
    morph_native_enter(me);
    pthread_barrier_wait(&crowd->full);                                 /* all hold what they have until all were refused */
    morph_native_leave(me);
    morph_frame_pop(me, roots);
    assert_ok(morph_thread_detach(me));
    return NULL;
}

static void one_callback_at_a_time_for_many_threads(void **state)
{
    enum { THREADS = 4 };
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct cache cache = cache_open(16 * MiB);
    struct crowd crowd = { .heap = cache.client.heap, .node = cache.node };
    pthread_t thread[THREADS];
    assert_ok(morph_heap_on_pressure(cache.client.heap, 100, on_crowd, &crowd));
    assert_int_equal(pthread_barrier_init(&crowd.full, NULL, THREADS), 0);
    morph_native_enter(cache.client.me);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, crowd_member, &crowd), 0);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    morph_native_leave(cache.client.me);
    pthread_barrier_destroy(&crowd.full);
    assert_true(crowd.calls >= 1);
    assert_int_equal(crowd.overlaps, 0);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

/* ---- Another limit ---- */

static void a_limit_goes_up_to_the_reserve(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--limit-max=64M", NULL);
    struct fill fill = { .pieces = 0 };
    assert_ok(morph_heap_open(&fill.client.heap, &(morph_options){ .name = "up", .limit_bytes = 4 * MiB, .limit_max_bytes = 40 * MiB,
                                                                   .no_autospawn = true }));
    assert_ok(morph_thread_attach(fill.client.heap, &fill.client.me));
    fill.client.id = morph_heap_id(fill.client.heap);
    morph_heap *heap = fill.client.heap;
    assert_int_equal(stats_of(heap).limit_most_bytes, 80 * MiB);
    while (piece_try(&fill))
        ;
    assert_true(fill.pieces >= 3 && fill.pieces <= 4);
    assert_ok(morph_heap_set_limit(heap, 20 * MiB + 1000));             /* whole blocks */
    assert_int_equal(stats_of(heap).limit_bytes, 20 * MiB);
    assert_int_equal(test_heap_stat(fill.client.id, "limit_bytes"), 20 * MiB);
    while (piece_try(&fill))
        ;
    assert_true(fill.pieces >= 18 && fill.pieces <= 20);
    assert_error(morph_heap_set_limit(heap, 65 * MiB), MORPH_EBUDGET);
    assert_error(morph_heap_set_limit(heap, 80 * MiB + 64 * KiB), MORPH_EINVALID);
    assert_error(morph_heap_set_limit(heap, UINT64_MAX), MORPH_EINVALID);
    assert_error(morph_heap_set_limit(heap, 255 * KiB), MORPH_EINVALID);
    assert_error(morph_heap_set_limit(heap, 0), MORPH_EINVALID);
    assert_error(morph_heap_set_limit(NULL, 4 * MiB), MORPH_EINVALID);
    assert_int_equal(stats_of(heap).limit_bytes, 20 * MiB);
    assert_int_equal(stats_of(heap).limit_needed_bytes, 0);
    fill_close(&fill);
    morph_heap *none = NULL;
    assert_error(morph_heap_open(&none, &(morph_options){ .limit_bytes = 8 * MiB, .limit_max_bytes = 4 * MiB }), MORPH_EINVALID);
    assert_error(morph_heap_open(&none, &(morph_options){ .limit_bytes = 8 * MiB, .limit_max_bytes = 32 * MiB, .reserve_bytes = 16 * MiB }),
                 MORPH_EINVALID);
    test_daemon_stop(daemon);
}

static void a_limit_goes_down_to_what_is_granted(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct fill fill = fill_open("down", 20 * MiB, false);
    morph_heap *heap = fill.client.heap;
    fill_to(&fill, 50);
    assert_error(morph_heap_set_limit(heap, 4 * MiB), MORPH_EINUSE);
    uint64_t needed = stats_of(heap).limit_needed_bytes;
    assert_int_equal(needed, (uint64_t)fill.pieces * 16 * 64 * KiB);    /* spare memory went back first */
    assert_int_equal(stats_of(heap).limit_bytes, 20 * MiB);
    assert_error(morph_heap_set_limit(heap, needed - 64 * KiB), MORPH_EINUSE);
    assert_ok(morph_heap_set_limit(heap, needed));
    assert_int_equal(stats_of(heap).limit_needed_bytes, 0);
    assert_int_equal(stats_of(heap).limit_bytes, needed);
    assert_false(piece_try(&fill));
    fill_drop(&fill, 0);
    assert_ok(morph_heap_set_limit(heap, 256 * KiB));
    assert_non_null((morph_arena_new(fill.client.me, &fill.arena[0]), morph_arena_bytes(fill.arena[0], 100 * KiB)));
    fill.pieces = 1;
    assert_ok(morph_heap_set_limit(heap, 20 * MiB));
    fill_close(&fill);
    test_daemon_stop(daemon);
}

static void a_collected_heap_is_collected_for_a_lower_limit(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--verify=full", NULL);
    struct cache cache = cache_open(32 * MiB);
    morph_heap *heap = cache.client.heap;
    unsigned kept = 0;
    for (; kept < 20000; kept++)                                        /* 2.7 MiB that stay */
        assert_true(node_try(&cache, &cache.roots->kept));
    for (unsigned i = 0; i < 80000; i++)                                /* and what does not */
        assert_true(node_try(&cache, &cache.roots->cache));
    assert_ok(morph_collect(cache.client.me, MORPH_COLLECT_MINOR));
    assert_true(stats_of(heap).granted_bytes > 13 * MiB);
    assert_error(morph_heap_set_limit(heap, 4 * MiB), MORPH_EINUSE);    /* 13 MiB are alive */
    uint64_t needed = stats_of(heap).limit_needed_bytes;
    assert_true(needed > 13 * MiB && needed <= 32 * MiB);
    assert_int_equal(stats_of(heap).limit_bytes, 32 * MiB);
    cache.roots->cache = NULL;
    uint64_t majors = test_heap_stat(cache.client.id, "majors");
    int r = 0;
    for (uint64_t limit = 24 * MiB; r == 0 && limit > 4 * MiB; limit -= 2 * MiB) {
        r = morph_heap_set_limit(heap, limit);
        assert_true(r == 0 || r == MORPH_EINUSE);
        morph_heap_stats stats = stats_of(heap);
        assert_true(stats.granted_bytes <= stats.limit_bytes);
        assert_int_equal(stats.limit_bytes, r == 0 ? limit : limit + 2 * MiB);
    }
    assert_true(stats_of(heap).limit_bytes < needed - 4 * MiB);
    assert_true(test_heap_stat(cache.client.id, "majors") > majors);
    assert_int_equal(list_length(cache.roots->kept), kept);
    for (unsigned i = 0; i < 200000; i++) {                             /* it goes on within that, collected as it must be */
        cache.roots->cache = NULL;
        assert_true(node_try(&cache, &cache.roots->cache));
    }
    assert_int_equal(list_length(cache.roots->kept), kept);
    assert_ok(morph_heap_set_limit(heap, 64 * MiB));                    /* the reserve */
    for (unsigned i = 0; i < 250000; i++)                               /* 34 MiB: more than at open */
        assert_true(node_try(&cache, &cache.roots->cache));
    assert_int_equal(list_length(cache.roots->cache), 250001);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

/* Threads allocate while the limit goes up and down; what is granted never passes it. */
struct runner { morph_heap *heap; morph_type node; uint32_t stop, refused; };

static void *runner_main(void *argument)
{
    struct runner *runner = argument;
    morph_thread *me;
    assert_ok(morph_thread_attach(runner->heap, &me));
    struct roots *roots = morph_frame_push(me, sizeof *roots);
    for (unsigned i = 0; !__atomic_load_n(&runner->stop, __ATOMIC_RELAXED); i++) {
        struct node *node = morph_new(me, runner->node);
        if (!node)
            __atomic_fetch_add(&runner->refused, 1, __ATOMIC_RELAXED);
        if (!node || i % 4000 == 0)
            roots->cache = NULL;
        else {
            node->next = roots->cache;
            roots->cache = node;
        }
    }
    morph_frame_pop(me, roots);
    assert_ok(morph_thread_detach(me));
    return NULL;
}

static void a_limit_moves_under_running_threads(void **state)
{
    struct test_random random = test_random_begin("pressure");
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct cache cache = cache_open(16 * MiB);
    struct runner runner = { .heap = cache.client.heap, .node = cache.node };
    pthread_t thread[2];
    unsigned set = 0, refused = 0;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, runner_main, &runner), 0);
    for (unsigned i = 0; i < 60; i++) {
        uint64_t limit = (2 + test_random_below(&random, 30)) * MiB;
        int r = morph_heap_set_limit(cache.client.heap, limit);         /* this thread is attached, and does not hold up what it waits for */
        if (r != 0 && r != MORPH_EINUSE && r != MORPH_EPUTOFF)
            fail_msg("%s", morph_error_name(r));
        set += r == 0;
        refused += r != 0;
        assert_int_equal(test_heap_stat(cache.client.id, "granted_bytes") <= test_heap_stat(cache.client.id, "limit_bytes"), 1);
    }
    __atomic_store_n(&runner.stop, 1, __ATOMIC_RELAXED);
    morph_native_enter(cache.client.me);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    morph_native_leave(cache.client.me);
    assert_true(set > 0);
    print_message("limits set %u, refused %u; allocations refused %u\n", set, refused, runner.refused);
    cache_close(&cache);
    test_daemon_stop(daemon);
}

/* ---- Letters by hand ---- */

/* Asks for another limit: 0 or the error, and what it says. */
static int limit_ask(int fd, uint64_t heap, uint64_t bytes, uint64_t *ret_needed)
{
    struct wire_packet packet;
    struct wire_answer answer;
    wire_packet_init(&packet, WIRE_LIMIT, 21, 2);
    wire_field_u64(&packet, "heap", heap);
    wire_field_u64(&packet, "limit_bytes", bytes);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.seq, 21);
    int error = answer.id == WIRE_ERROR ? -(int)wire_u64(&answer.body, "error") : 0;
    if (error == MORPH_EINUSE)
        *ret_needed = wire_u64(&answer.body, "needed_bytes");
    if (error == 0) {
        const msgpack_object *body = wire_field(&answer.body, "body");
        assert_int_equal(answer.id, WIRE_REPORT);
        assert_int_equal(wire_u64(body, "heap"), heap);
        assert_int_equal(wire_u64(body, "limit_bytes"), bytes);
        assert_true(wire_u64(body, "granted_bytes") <= bytes);
    }
    wire_answer_fini(&answer);
    return error;
}

static int limit_as_nobody(void *context, struct test_parent parent)
{
    uint64_t needed;
    (void)parent;
    int fd = wire_hello(NULL);
    return limit_ask(fd, *(uint64_t *)context, 8 * MiB, &needed) == MORPH_EPERMISSION ? 0 : 1;
}

static void who_may_set_a_limit(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("mine", 4 * MiB);
    uint64_t needed = 0;
    int fd = wire_hello(NULL);
    assert_ok(limit_ask(fd, client.id, 8 * MiB, &needed));
    assert_int_equal(stats_of(client.heap).limit_bytes, 8 * MiB);
    assert_error(limit_ask(fd, client.id, 512 * KiB, &needed), MORPH_EINUSE);
    assert_int_equal(needed, stats_of(client.heap).granted_bytes);
    assert_error(limit_ask(fd, client.id, 9 * MiB, &needed), MORPH_EINVALID);
    assert_error(limit_ask(fd, 999, 4 * MiB, &needed), MORPH_ENOHEAP);
    assert_error(limit_ask(fd, 0, 4 * MiB, &needed), MORPH_ENOHEAP);    /* this connection has none of its own */
    if (geteuid() == 0)
        assert_int_equal(test_child_run(test_user_nobody(), limit_as_nobody, &client.id), 0);
    close(fd);
    client_close(&client);
    test_daemon_stop(daemon);
}

/* A heap whose client never reads: its limit goes down to what is granted, and up, a thousand times. */
static void letters_that_nobody_reads_do_not_pile_up(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct wire_heap heap;
    struct wire_answer answer;
    uint64_t needed;
    assert_int_equal(wire_heap_open(&heap, "deaf", 4 * MiB), 0);
    const struct mm_pressure_words *words = mm_control_pressure((struct mm_control *)heap.control);
    int fd = wire_hello(NULL);
    for (unsigned i = 0; i < 1000; i++) {
        assert_ok(limit_ask(fd, heap.id, 1 * MiB, &needed));            /* the first grant is a quarter of the limit */
        assert_ok(limit_ask(fd, heap.id, 4 * MiB, &needed));
    }
    assert_int_equal(words->risen[MM_PRESSURE_HEAP][90], 1000);         /* none is lost */
    assert_int_equal(words->risen[MM_PRESSURE_HEAP][100], 1000);
    assert_int_equal(test_heap_stat(heap.id, "pressure_letters"), 1);
    assert_int_equal(wire_receive(heap.fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.id, WIRE_PRESSURE);
    assert_int_equal(answer.seq, 0);
    assert_int_equal(wire_u64(&answer.body, "level"), 95);
    assert_int_equal(wire_u64(&answer.body, "percent"), 100);
    assert_int_equal(wire_u64(&answer.body, "granted_bytes"), 1 * MiB);
    assert_int_equal(wire_u64(&answer.body, "limit_bytes"), 1 * MiB);
    assert_null(wire_field(&answer.body, "machine"));
    wire_answer_fini(&answer);
    assert_ok(limit_ask(fd, heap.id, 1 * MiB, &needed));                /* it has read: it is told again */
    assert_int_equal(wire_receive(heap.fd, &answer, ANSWER_MS), 1);
    assert_int_equal(answer.id, WIRE_PRESSURE);
    wire_answer_fini(&answer);
    struct pollfd poll_fd = { .fd = heap.fd, .events = POLLIN };
    assert_int_equal(poll(&poll_fd, 1, 0), 0);
    close(fd);
    wire_heap_close(&heap);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(levels_are_called_once_and_armed_again),
        test_case(crossings_between_two_looks_are_one_call),
        test_case(a_level_below_use_is_due_at_once),
        test_case(callbacks_are_replaced_and_removed),
        test_case(the_machine_is_heard_of_too),
        test_case(the_service_thread_calls),
        test_case(the_service_thread_ends_with_the_daemon),
        test_case(a_forked_child_has_no_service_thread),
        test_case(a_dropped_cache_saves_an_allocation),
        test_case(without_help_it_is_refused_and_nobody_is_asked_twice),
        test_case(a_callback_does_not_call_itself),
        test_case(a_callback_may_set_another_limit),
        test_case(arenas_have_a_last_resort_too),
        test_case(pools_have_a_last_resort_too),
        test_case(one_callback_at_a_time_for_many_threads),
        test_case(a_limit_goes_up_to_the_reserve),
        test_case(a_limit_goes_down_to_what_is_granted),
        test_case(a_collected_heap_is_collected_for_a_lower_limit),
        test_case(a_limit_moves_under_running_threads),
        test_case(who_may_set_a_limit),
        test_case(letters_that_nobody_reads_do_not_pile_up),
    };
    return test_run(cases);
}
