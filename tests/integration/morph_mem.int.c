/* morph_mem.int.c — the Memory V2 layer against a real daemon: contexts, objects, types, threads, statistics in all forms, the environment. What the layer
 * says of its heap is compared with what the daemon says over a connection of the test's own. */
#define _GNU_SOURCE
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <morphmem/morph-abi.h>
#include <morphmem/morph-mem.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* A conservative collection may keep what a dead stack slot or register happens to name. */
#define SLACK 64u

/* ---- What is written to stdout and stderr ---- */

struct capture { int fd, saved; FILE *file; };

static struct capture capture_begin(int fd)
{
    struct capture capture = { .fd = fd, .file = tmpfile() };
    assert_non_null(capture.file);
    fflush(NULL);
    capture.saved = dup(fd);
    assert_true(capture.saved >= 0 && dup2(fileno(capture.file), fd) == fd);
    return capture;
}

static void capture_end(struct capture *capture, char *ret_text, size_t room)
{
    fflush(NULL);
    assert_true(dup2(capture->saved, capture->fd) == capture->fd);
    close(capture->saved);
    rewind(capture->file);
    ret_text[fread(ret_text, 1, room - 1, capture->file)] = 0;
    fclose(capture->file);
}

/* ---- Contexts ---- */

/* Makes a context and learns the heap's number from what debugging says. */
static MorphContextV2 *context_numbered(MorphMemConfig config, uint64_t *ret_heap)
{
    char said[1024];
    unsigned long long heap = 0;
    config.enable_debug = 1;
    struct capture capture = capture_begin(2);
    MorphContextV2 *context = morph_mem_init(config);
    capture_end(&capture, said, sizeof said);
    if (!context)
        fail_msg("no context: %s", said);
    const char *at = strstr(said, "heap ");
    if (!at || sscanf(at, "heap %llu,", &heap) != 1)
        fail_msg("debugging does not say which heap it is: '%s'", said);
    *ret_heap = heap;
    return context;
}

static MorphContextV2 *context_new(MorphMemConfig config)
{
    MorphContextV2 *context = morph_mem_init(config);
    if (!context)
        fail_msg("no context: %s", morph_strerror(morph_mem_error()));
    return context;
}

static void *new_object(MorphContextV2 *context, size_t size, uint8_t type)
{
    void *object = morph_mem_alloc_zeroed(context, size, type);
    if (!object)
        fail_msg("no object: %s", morph_strerror(morph_mem_error()));
    assert_true(client_zero(object, size));
    assert_int_equal((uintptr_t)object % 16, 0);
    return object;
}

static void mode_take(uint64_t heap, char *ret_mode, size_t room)
{
    struct wire_packet packet;
    struct wire_answer answer;
    int fd = wire_hello(NULL);
    wire_packet_init(&packet, WIRE_HEAPS, 2, 1);
    wire_field_u64(&packet, "heap", heap);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, 20000), 1);
    assert_int_equal(answer.id, WIRE_REPORT);
    wire_text(wire_field(&answer.body, "body"), "mode", ret_mode, room);
    wire_answer_fini(&answer);
    close(fd);
}

static void assert_heap_is(uint64_t heap, const char *mode, uint64_t limit_bytes)
{
    char seen[32];
    mode_take(heap, seen, sizeof seen);
    assert_string_equal(seen, mode);
    assert_int_equal(test_heap_stat(heap, "limit_bytes"), limit_bytes);
}

static void every_preset_is_a_heap_of_its_mode(void **state)
{
    static const struct { const MorphMemConfig *config; const char *mode; uint64_t limit_bytes; } preset[] = {
        { &MORPH_CONFIG_COMPILER, "COMPILER", 256 * MiB }, { &MORPH_CONFIG_RUNTIME, "RUNTIME", 512 * MiB },
        { &MORPH_CONFIG_VM, "VM", 2048 * MiB }, { &MORPH_CONFIG_SERVER, "SERVER", 1024 * MiB },
    };
    struct test_daemon *daemon = test_daemon_start("--budget=8G", NULL);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t heap;
        MorphContextV2 *context = context_numbered(*preset[i].config, &heap);
        assert_heap_is(heap, preset[i].mode, preset[i].limit_bytes);
        assert_ok(morph_mem_destroy(context));
    }
    assert_true(test_wait_until(test_heaps() == 0, 5000));
    test_daemon_stop(daemon);
}

static void what_fits_this_machine_is_a_heap_too(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    assert_true(morph_mem_get_available_ram() > 0);
    MorphContextV2 *context = morph_mem_init_auto();
    assert_non_null(context);
    (void)new_object(context, 100, 1);
    assert_ok(morph_mem_destroy(context));
    assert_ok(morph_mem_destroy(NULL));
    test_daemon_stop(daemon);
}

static void failures_are_explained(void **state)
{
    char said[1024];
    setenv("MORPHMEM_SOCKET", "/nowhere/socket", 1);
    struct capture capture = capture_begin(2);
    MorphContextV2 *context = morph_mem_init(MORPH_CONFIG_RUNTIME);
    capture_end(&capture, said, sizeof said);
    assert_null(context);
    assert_error(morph_mem_error(), MORPH_ENODAEMON);
    assert_non_null(strstr(said, morph_strerror(MORPH_ENODAEMON)));
    capture = capture_begin(2);
    context = morph_mem_init((MorphMemConfig){ .mode = MORPH_MODE_RUNTIME, .heap_size_hint = 1000 });
    capture_end(&capture, said, sizeof said);
    unsetenv("MORPHMEM_SOCKET");
    assert_null(context);
    assert_error(morph_mem_error(), MORPH_EINVALID);

    assert_null(morph_mem_alloc(NULL, 8, 1));
    assert_error(morph_mem_error(), MORPH_EINVALID);
    assert_error(morph_mem_gc_collect(NULL), MORPH_EINVALID);
    assert_error(morph_mem_gc_push_root(NULL, NULL), MORPH_EINVALID);
    assert_error(morph_mem_register_type(NULL, 1, "a"), MORPH_EINVALID);
    assert_error(morph_mem_free(NULL, NULL), MORPH_EINVALID);
    assert_error(morph_mem_dump_stats(NULL, "/dev/null"), MORPH_EINVALID);
    assert_int_equal(morph_mem_get_stats(NULL).object_count, 0);
    assert_error(morph_mem_error(), MORPH_EINVALID);
}

/* ---- COMPILER ---- */

static void compiler_objects_live_until_they_are_freed(void **state)
{
    enum { COUNT = 300 };
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new(MORPH_CONFIG_COMPILER);
    unsigned char *object[COUNT];
    uint64_t bytes = 0, freed = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = (size_t)i * i % 40000 + 1;                                /* cells, and runs of pages */
        object[i] = new_object(context, size, (uint8_t)(1 + i % 3));
        client_fill(object[i], size, i);
        assert_int_equal(morph_mem_header(object[i])->size, size);
        assert_int_equal(morph_mem_header(object[i])->type, 1 + i % 3);
        assert_int_equal(morph_mem_generation(context, object[i]), MORPH_GENERATION_PERMANENT);
        bytes += size;
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        size_t size = morph_mem_header(object[i])->size;
        assert_true(client_intact(object[i], size, i));
        freed += size;
        assert_ok(morph_mem_free(context, object[i]));
    }
    for (unsigned i = 1; i < COUNT; i += 2)
        assert_true(client_intact(object[i], morph_mem_header(object[i])->size, i));
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_ok(morph_mem_error());
    assert_int_equal(stats.object_count, COUNT);
    assert_int_equal(stats.total_allocated, bytes);
    assert_int_equal(stats.total_freed, freed);
    assert_int_equal(stats.current_live, bytes - freed);
    assert_int_equal(stats.peak_live, bytes);
    assert_int_equal(stats.object_count_by_type[1] + stats.object_count_by_type[2] + stats.object_count_by_type[3], COUNT / 2);
    assert_int_equal(stats.bytes_by_type[1] + stats.bytes_by_type[2] + stats.bytes_by_type[3], bytes - freed);
    assert_int_equal(stats.pool_bytes, bytes - freed + COUNT / 2 * sizeof(MorphObjectHeader));
    assert_true(stats.pool_count == 1 && stats.pool_bytes <= stats.heap_bytes);
    assert_int_equal(stats.gc_count, 0);
    assert_error(morph_mem_gc_collect(context), MORPH_EMODE);
    for (unsigned i = 1; i < COUNT; i += 2)
        assert_ok(morph_mem_free(context, object[i]));
    assert_int_equal(morph_mem_get_stats(context).current_live, 0);
    assert_int_equal(morph_mem_get_stats(context).pool_bytes, 0);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

static void what_is_no_object_is_not_freed(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new(MORPH_CONFIG_COMPILER), *other = context_new(MORPH_CONFIG_COMPILER);
    _Alignas(16) char own[64];
    char *object = new_object(context, 100, 1);
    memset(object, 1, 100);
    assert_error(morph_mem_free(context, own + 32), MORPH_EINVALID);
    assert_error(morph_mem_free(other, object), MORPH_EINVALID);
    assert_int_equal(morph_mem_get_stats(context).current_live, 100);
    assert_ok(morph_mem_free(context, NULL));
    assert_ok(morph_mem_free(context, object));
    assert_error(morph_mem_free(context, object), MORPH_EINVALID);
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_true(stats.current_live == 0 && stats.pool_bytes == 0 && stats.total_freed == 100 && stats.object_count_by_type[1] == 0);
    assert_ok(morph_mem_destroy(other));
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

static void a_full_heap_says_so(void **state)
{
    static const MorphWorkloadMode mode[] = { MORPH_MODE_COMPILER, MORPH_MODE_RUNTIME };
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned i = 0; i < 2; i++) {
        MorphContextV2 *context = context_new((MorphMemConfig){ .mode = mode[i], .heap_size_hint = 4 * MiB, .enable_metrics = 1 });
        static void *kept[64];
        unsigned count = 0;
        for (; count < 64; count++) {
            assert_ok(morph_mem_gc_push_root(context, &kept[count]));
            if (!(kept[count] = morph_mem_alloc(context, 256 * KiB, 1)))
                break;
        }
        assert_error(morph_mem_error(), MORPH_ENOMEM);
        assert_true(count >= 4 && count <= 16);
        assert_true(morph_mem_get_stats(context).current_live == count * 256 * KiB);
        assert_null(morph_mem_alloc(context, (size_t)5 << 30, 1));
        assert_error(morph_mem_error(), MORPH_ETOOLARGE);
        assert_ok(morph_mem_destroy(context));
    }
    test_daemon_stop(daemon);
}

/* ---- Collected modes ---- */

enum { KEPT = 200, GARBAGE = 30000 };
static uint64_t **kept;                 /* of malloc, where no collection looks */

static void make_garbage(MorphContextV2 *context, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t *object = morph_mem_alloc(context, 48, 2);
        assert_non_null(object);
        object[0] = i;
    }
}

/* KEPT objects of type 1 in pushed roots, with garbage of type 2 between them. */
static void fill(MorphContextV2 *context)
{
    kept = calloc(KEPT, sizeof *kept);
    assert_non_null(kept);
    for (unsigned i = 0; i < KEPT; i++) {
        assert_ok(morph_mem_gc_push_root(context, (void **)&kept[i]));
        kept[i] = new_object(context, 32 + i % 5 * 8, 1);
        client_fill(kept[i], 32 + i % 5 * 8, i);
        make_garbage(context, GARBAGE / KEPT);
    }
}

static void check_kept(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        if (!client_intact(kept[i], 32 + i % 5 * 8, i))
            fail_msg("object %u is spoiled", i);
}

static uint64_t kept_bytes(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < KEPT; i++)
        bytes += 32 + i % 5 * 8;
    return bytes;
}

static void garbage_goes_and_the_rest_stays(void **state)
{
    static const MorphMemConfig *const config[] = { &MORPH_CONFIG_RUNTIME, &MORPH_CONFIG_VM, &MORPH_CONFIG_SERVER };
    struct test_daemon *daemon = test_daemon_start("--budget=8G", NULL);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t heap;
        MorphContextV2 *context = context_numbered(*config[i], &heap);
        assert_ok(morph_mem_register_type(context, 1, "kept"));
        assert_ok(morph_mem_register_type(context, 2, "garbage"));
        fill(context);
        MorphMemStats before = morph_mem_get_stats(context);
        assert_int_equal(before.object_count, KEPT + GARBAGE);
        assert_int_equal(before.total_allocated, kept_bytes() + GARBAGE * 48);
        assert_ok(morph_mem_gc_collect(context));
        check_kept();
        MorphMemStats after = morph_mem_get_stats(context);
        assert_ok(morph_mem_error());
        assert_true(after.old_gc_count > before.old_gc_count && after.gc_count == after.young_gc_count + after.old_gc_count);
        assert_true(after.gc_time_us >= after.gc_pause_max_us && after.gc_pause_max_us >= after.gc_pause_avg_us && after.gc_pause_max_us > 0);
        assert_int_equal(after.young_gc_count, test_heap_stat(heap, "minors"));
        assert_int_equal(after.old_gc_count, test_heap_stat(heap, "majors"));
        assert_int_equal(after.gc_time_us, test_heap_stat(heap, "collect_ns") / 1000);
        assert_int_equal(after.gc_pause_max_us, test_heap_stat(heap, "pause_max_ns") / 1000);
        assert_int_equal(config[i]->gc_pause_target_ms * 1000000u, test_heap_stat(heap, "pause_target_ns"));
        assert_int_equal(after.object_count_by_type[1], KEPT);
        assert_int_equal(after.bytes_by_type[1], kept_bytes());
        assert_true(after.object_count_by_type[2] <= SLACK);
        assert_int_equal(after.current_live, after.bytes_by_type[1] + after.bytes_by_type[2]);
        assert_int_equal(after.total_freed, after.total_allocated - after.current_live);
        assert_true(after.peak_live >= before.current_live && after.peak_live <= after.total_allocated + (uint64_t)after.object_count * 32);
        struct test_type_count count = test_type_named(heap, "kept");
        assert_int_equal(count.objects, KEPT);
        assert_int_equal(count.bytes, kept_bytes());

        morph_mem_gc_pop_roots(context, -1);                                    /* nothing */
        morph_mem_gc_pop_roots(context, KEPT / 2);                              /* the later half */
        assert_ok(morph_mem_gc_collect(context));
        uint64_t half = morph_mem_get_stats(context).object_count_by_type[1];
        assert_true(half >= KEPT / 2 && half <= KEPT / 2 + SLACK);
        morph_mem_gc_pop_roots(context, KEPT / 2);
        free(kept);
        assert_ok(morph_mem_gc_collect(context));
        assert_true(morph_mem_get_stats(context).object_count_by_type[1] <= SLACK);
        assert_ok(morph_mem_free(context, new_object(context, 8, 3)));          /* does nothing here */
        assert_int_equal(morph_mem_get_stats(context).object_count_by_type[3], 1);
        assert_ok(morph_mem_destroy(context));
    }
    test_daemon_stop(daemon);
}

/* More than the heap holds goes through it, without a call that collects. */
static void collections_come_by_themselves(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new((MorphMemConfig){ .mode = MORPH_MODE_RUNTIME, .heap_size_hint = 16 * MiB, .gc_threshold = 4 * MiB,
                                                            .enable_generational = 1, .enable_metrics = 1 });
    fill(context);
    for (unsigned i = 0; i < 64; i++)
        make_garbage(context, 10000);
    check_kept();
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_true(stats.total_allocated > 16 * MiB && stats.current_live < 16 * MiB && stats.gc_count > 0);
    assert_true(stats.heap_bytes <= 16 * MiB && stats.peak_live >= kept_bytes());
    morph_mem_gc_pop_roots(context, KEPT);
    free(kept);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

static void generations_show(void **state)
{
    static void *small, *large;
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new(MORPH_CONFIG_RUNTIME);
    assert_ok(morph_mem_gc_push_root(context, &small));
    assert_ok(morph_mem_gc_push_root(context, &large));
    small = new_object(context, 64, 1);
    large = new_object(context, 100 * KiB, 1);
    assert_int_equal(morph_mem_generation(context, large), MORPH_GENERATION_LARGE);
    int born = morph_mem_generation(context, small);
    assert_true(born == MORPH_GENERATION_YOUNG || born == MORPH_GENERATION_OLD);
    for (unsigned i = 0; i < 8; i++)
        assert_ok(morph_mem_gc_collect(context));
    assert_int_equal(morph_mem_generation(context, small), MORPH_GENERATION_OLD);
    assert_int_equal(morph_mem_generation(context, large), MORPH_GENERATION_LARGE);
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_true(born == MORPH_GENERATION_OLD || (stats.promoted_objects >= 1 && stats.promoted_bytes >= 64));
    assert_error(morph_mem_generation(context, NULL), MORPH_EINVALID);
    morph_mem_gc_pop_roots(context, 2);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

/* ---- Types ---- */

static void type_ids_are_1_to_127(void **state)
{
    static const MorphWorkloadMode mode[] = { MORPH_MODE_COMPILER, MORPH_MODE_RUNTIME };
    char name[102];
    struct test_daemon *daemon = test_daemon_start(NULL);
    memset(name, 'n', sizeof name);
    name[101] = 0;
    for (unsigned i = 0; i < 2; i++) {
        MorphContextV2 *context = context_new((MorphMemConfig){ .mode = mode[i], .enable_metrics = 1 });
        static const uint8_t bad[] = { 0, 128, 255 };
        for (unsigned b = 0; b < 3; b++) {
            assert_error(morph_mem_register_type(context, bad[b], "bad"), MORPH_EINVALID);
            assert_null(morph_mem_alloc(context, 8, bad[b]));
            assert_error(morph_mem_error(), MORPH_EINVALID);
        }
        assert_error(morph_mem_register_type(context, 1, NULL), MORPH_EINVALID);
        assert_error(morph_mem_register_type(context, 1, ""), MORPH_EINVALID);
        assert_error(morph_mem_register_type(context, 1, name), MORPH_EINVALID);
        assert_ok(morph_mem_register_type(context, 1, name + 1));
        assert_ok(morph_mem_register_type(context, 127, "last"));
        (void)new_object(context, 0, 127);                                      /* no bytes are one byte */
        (void)new_object(context, 24, 1);
        MorphMemStats stats = morph_mem_get_stats(context);
        assert_true(stats.object_count_by_type[127] == 1 && stats.bytes_by_type[127] == 1 && stats.bytes_by_type[1] == 24);
        assert_ok(morph_mem_destroy(context));
    }
    test_daemon_stop(daemon);
}

/* Each pair of id and name is a type of the heap; what counts here is the id. */
static void names_may_change_and_repeat(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    uint64_t heap;
    MorphContextV2 *context = context_numbered(MORPH_CONFIG_VM, &heap);
    assert_ok(morph_mem_register_type(context, 5, "token"));
    assert_ok(morph_mem_register_type(context, 5, "token"));
    for (unsigned i = 0; i < 3; i++)
        (void)new_object(context, 16, 5);
    assert_ok(morph_mem_register_type(context, 5, "lexeme"));
    for (unsigned i = 0; i < 4; i++)
        (void)new_object(context, 16, 5);
    assert_ok(morph_mem_register_type(context, 6, "token"));                    /* another id's name */
    (void)new_object(context, 16, 6);
    (void)new_object(context, 16, 7);                                           /* nobody has named it */
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_int_equal(stats.object_count_by_type[5], 7);
    assert_int_equal(stats.object_count_by_type[6], 1);
    assert_int_equal(stats.object_count_by_type[7], 1);
    assert_int_equal(stats.object_count_by_type[0], 0);
    assert_int_equal(test_type_named(heap, "token").objects, 3);
    assert_int_equal(test_type_named(heap, "lexeme").objects, 4);
    assert_int_equal(test_type_named(heap, "token#6").objects, 1);
    assert_int_equal(test_type_named(heap, "type-7").objects, 1);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

/* ---- Threads ---- */

struct worker { MorphContextV2 *context; pthread_barrier_t *meet; unsigned index; void *object; };

static void *work(void *argument)
{
    struct worker *worker = argument;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t *object = morph_mem_alloc(worker->context, 64, (uint8_t)(worker->index + 1));
        if (!object)
            return (void *)"no object";
        object[0] = i;
        if (morph_mem_header(object)->size != 64)
            return (void *)"a spoiled header";
    }
    return NULL;
}

static void threads_attach_at_their_first_call(void **state)
{
    static const MorphWorkloadMode mode[] = { MORPH_MODE_COMPILER, MORPH_MODE_RUNTIME };
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned m = 0; m < 2; m++) {
        uint64_t heap;
        MorphContextV2 *context = context_numbered((MorphMemConfig){ .mode = mode[m], .heap_size_hint = 64 * MiB, .enable_metrics = 1 }, &heap);
        struct worker worker[4];
        pthread_t thread[4];
        assert_ok(morph_mem_blocking_begin(context));                           /* joining blocks */
        for (unsigned i = 0; i < 4; i++) {
            worker[i] = (struct worker){ .context = context, .index = i };
            assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
        }
        for (unsigned i = 0; i < 4; i++) {
            void *wrong;
            assert_int_equal(pthread_join(thread[i], &wrong), 0);
            if (wrong)
                fail_msg("thread %u: %s", i, (const char *)wrong);
        }
        morph_mem_blocking_end(context);
        MorphMemStats stats = morph_mem_get_stats(context);                     /* what ended threads have counted is there */
        assert_int_equal(stats.object_count, 80000);
        assert_int_equal(stats.total_allocated, 80000 * 64);
        if (mode[m] == MORPH_MODE_COMPILER)
            assert_true(stats.object_count_by_type[1] == 20000 && stats.object_count_by_type[4] == 20000 && stats.peak_live == 80000 * 64);
        else
            assert_int_equal(test_heap_stat(heap, "threads"), 1);               /* they have left the heap */
        assert_ok(morph_mem_destroy(context));
    }
    test_daemon_stop(daemon);
}

/* Attaches, waits until its first context is destroyed, then uses another one, which makes it forget the first. */
static void *outlive(void *argument)
{
    struct worker *worker = argument;
    worker[0].object = morph_mem_alloc(worker[0].context, 64, 1);
    (void)pthread_barrier_wait(worker[0].meet);
    (void)pthread_barrier_wait(worker[0].meet);
    worker[1].object = morph_mem_alloc(worker[1].context, 64, 1);
    return NULL;
}

static void a_context_ends_before_its_threads(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    pthread_barrier_t meet;
    pthread_t thread;
    assert_int_equal(pthread_barrier_init(&meet, NULL, 2), 0);
    struct worker worker[2] = { { .context = context_new(MORPH_CONFIG_RUNTIME), .meet = &meet },
                                { .context = context_new(MORPH_CONFIG_COMPILER), .meet = &meet } };
    assert_int_equal(pthread_create(&thread, NULL, outlive, worker), 0);
    (void)pthread_barrier_wait(&meet);
    assert_ok(morph_mem_destroy(worker[0].context));
    (void)pthread_barrier_wait(&meet);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(worker[0].object && worker[1].object);
    assert_ok(morph_mem_free(worker[1].context, worker[1].object));             /* another thread's, which has ended */
    assert_int_equal(morph_mem_get_stats(worker[1].context).current_live, 0);
    assert_ok(morph_mem_destroy(worker[1].context));
    pthread_barrier_destroy(&meet);
    test_daemon_stop(daemon);
}

/* ---- Statistics ---- */

static uint64_t integer(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value))
        fail_msg("there is no number '%s'", key);
    return (uint64_t)json_integer_value(value);
}

static json_t *json_load(const char *path)
{
    json_error_t error;
    json_t *json = json_load_file(path, 0, &error);
    if (!json)
        fail_msg("%s: %s", path, error.text);
    return json;
}

static void assert_array_equal(const json_t *json, const char *key, const uint64_t *expected)
{
    const json_t *array = json_object_get(json, key);
    assert_int_equal(json_array_size(array), 128);
    for (unsigned i = 0; i < 128; i++)
        assert_int_equal(json_integer_value(json_array_get(array, i)), expected[i]);
}

static void assert_json_equal(const json_t *json, const MorphMemStats *stats)
{
    const struct { const char *key; uint64_t value; } figure[] = {
#define FIGURE(name) { #name, stats->name }
        FIGURE(total_allocated), FIGURE(total_freed), FIGURE(current_live), FIGURE(peak_live), FIGURE(gc_count), FIGURE(gc_time_us),
        FIGURE(gc_pause_max_us), FIGURE(gc_pause_avg_us), FIGURE(object_count), FIGURE(arena_bytes), FIGURE(pool_bytes), FIGURE(heap_bytes),
        FIGURE(arena_count), FIGURE(pool_count), FIGURE(young_gc_count), FIGURE(old_gc_count), FIGURE(promoted_objects), FIGURE(promoted_bytes),
#undef FIGURE
    };
    for (unsigned i = 0; i < sizeof figure / sizeof figure[0]; i++)
        if (integer(json, figure[i].key) != figure[i].value)
            fail_msg("%s is %llu, expected %llu", figure[i].key, (unsigned long long)integer(json, figure[i].key),
                     (unsigned long long)figure[i].value);
    assert_array_equal(json, "object_count_by_type", stats->object_count_by_type);
    assert_array_equal(json, "bytes_by_type", stats->bytes_by_type);
}

/* The entry of the JSON's `types` with this id; NULL: none. */
static const json_t *json_type_of(const json_t *json, unsigned id)
{
    const json_t *type, *types = json_object_get(json, "types");
    size_t index;
    assert_true(json_is_array(types));
    json_array_foreach(types, index, type)
        if (integer(type, "id") == id)
            return type;
    return NULL;
}

static void statistics_are_the_same_as_json(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    char path[128];
    MorphContextV2 *context = context_new(MORPH_CONFIG_RUNTIME);
    snprintf(path, sizeof path, "%s/stats.json", daemon->dir);
    assert_ok(morph_mem_register_type(context, 1, "n\xc3\xb8" "de"));
    assert_ok(morph_mem_register_type(context, 2, "not utf-8: \xff"));
    fill(context);
    assert_ok(morph_mem_gc_collect(context));
    (void)new_object(context, 8, 2);
    MorphMemStats stats = morph_mem_get_stats(context);                         /* nothing happens between this */
    assert_ok(morph_mem_dump_stats(context, path));                             /* and this */
    json_t *json = json_load(path);
    assert_true(stats.heap_bytes > stats.current_live && integer(json, "heap_bytes") > stats.current_live);
    stats.heap_bytes = integer(json, "heap_bytes");                             /* but for this: the daemon grants ahead */
    assert_json_equal(json, &stats);
    assert_string_equal(json_string_value(json_object_get(json, "mode")), "RUNTIME");
    assert_string_equal(json_string_value(json_object_get(json_type_of(json, 1), "name")), "n\xc3\xb8" "de");
    assert_int_equal(integer(json_type_of(json, 1), "objects"), KEPT);
    assert_int_equal(integer(json_type_of(json, 1), "bytes"), stats.bytes_by_type[1]);
    assert_string_equal(json_string_value(json_object_get(json_type_of(json, 2), "name")), "not utf-8: ?");
    assert_null(json_type_of(json, 3));
    json_decref(json);
    assert_error(morph_mem_dump_stats(context, ""), MORPH_EINVALID);
    assert_error(morph_mem_dump_stats(context, NULL), MORPH_EINVALID);
    errno = 0;
    assert_error(morph_mem_dump_stats(context, "/nowhere/at/all"), MORPH_ESYSTEM);
    assert_int_equal(errno, ENOENT);
    if (access("/dev/full", W_OK) == 0) {
        assert_error(morph_mem_dump_stats(context, "/dev/full"), MORPH_ESYSTEM);
        assert_int_equal(errno, ENOSPC);
    }
    morph_mem_gc_pop_roots(context, KEPT);
    free(kept);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

/* The lines that must come, in this order. */
static void assert_lines(const char *text, const char *const *line)
{
    const char *at = text;
    for (; *line; line++) {
        at = strstr(at, *line);
        if (!at)
            fail_msg("'%s' does not come, or not where it should:\n%s", *line, text);
        at += strlen(*line);
    }
}

static void statistics_are_the_same_as_text(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    char text[4096], total[64];
    MorphContextV2 *context = context_new(MORPH_CONFIG_SERVER);
    assert_ok(morph_mem_register_type(context, 1, "kept"));
    fill(context);
    assert_ok(morph_mem_gc_collect(context));
    uint64_t objects = morph_mem_get_stats(context).object_count;
    struct capture capture = capture_begin(1);
    int r = morph_mem_print_stats(context);
    capture_end(&capture, text, sizeof text);
    assert_ok(r);
    snprintf(total, sizeof total, "\n  Total:    %llu objects (", (unsigned long long)objects);
    assert_true(strncmp(text, "=== Morph Memory V2 Statistics ===\nMode: SERVER\n", 48) == 0);
    assert_lines(text, (const char *const[]){ "\nAllocations:\n", total + 1, "\n  Live: ", "\n  Peak: ", "\n  Freed: ", "\nGC:\n", "  Collections: ",
                                              "\n  Time: ", "\n  Avg Pause: ", "\n  Max Pause: ", "\nTop Types:\n", "  kept ", "200 objects", NULL });
    morph_mem_gc_pop_roots(context, KEPT);
    free(kept);
    assert_ok(morph_mem_destroy(context));
    context = context_new(MORPH_CONFIG_COMPILER);
    capture = capture_begin(1);
    r = morph_mem_print_stats(context);
    capture_end(&capture, text, sizeof text);
    assert_ok(r);
    assert_lines(text, (const char *const[]){ "Mode: COMPILER\n", "  Total:    0 objects (0 B)\n", "Top Types:\n  (none)\n", NULL });
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

static void without_metrics_the_daemon_still_knows(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new((MorphMemConfig){ .mode = MORPH_MODE_RUNTIME });
    for (unsigned i = 0; i < 10; i++)
        (void)new_object(context, 40, 9);
    MorphMemStats stats = morph_mem_get_stats(context);
    assert_true(stats.object_count == 0 && stats.total_allocated == 0 && stats.total_freed == 0);
    assert_int_equal(stats.object_count_by_type[9], 10);
    assert_int_equal(stats.current_live, 400);
    assert_ok(morph_mem_destroy(context));
    test_daemon_stop(daemon);
}

/* A program of its own (this one, started with a path) with two contexts, of which it forgets one. Its child's exit writes nothing. */
static int exiting(const char *path)
{
    setenv("MORPH_MEM_STATS", path, 1);
    MorphContextV2 *first = morph_mem_init(MORPH_CONFIG_RUNTIME), *second = morph_mem_init(MORPH_CONFIG_COMPILER);
    child_check(first && second);
    child_check(morph_mem_register_type(first, 3, "three") == 0);
    for (unsigned i = 0; i < 10; i++)
        child_check(morph_mem_alloc(first, 100, 3) && morph_mem_alloc(second, 50, 4));
    child_check_int(morph_mem_destroy(first), 0);
    int status;
    pid_t pid = fork();
    if (pid == 0)
        exit(0);
    child_check(waitpid(pid, &status, 0) == pid && status == 0);
    child_check(access(path, F_OK) != 0);
    return 7;
}

static int exec_exiting(void *path, struct test_parent parent)
{
    execl("/proc/self/exe", "morph_mem.int", path, (char *)NULL);
    return 99;
}

static void statistics_are_written_at_exit(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    char path[128];
    snprintf(path, sizeof path, "%s/exit.json", daemon->dir);
    assert_int_equal(test_child_run((uid_t)-1, exec_exiting, path), 7);
    json_t *json = json_load(path);
    assert_int_equal(integer(json, "object_count"), 20);
    assert_int_equal(integer(json, "total_allocated"), 1500);
    assert_int_equal(integer(json, "current_live"), 1500);
    assert_int_equal(integer(json, "pool_count"), 1);
    assert_int_equal(integer(json_type_of(json, 3), "objects"), 10);
    assert_string_equal(json_string_value(json_object_get(json_type_of(json, 3), "name")), "three");
    assert_int_equal(integer(json_type_of(json, 4), "bytes"), 500);
    json_decref(json);
    test_daemon_stop(daemon);
}

/* ---- The environment ---- */

static void the_environment_has_the_last_word(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--budget=8G", NULL);
    uint64_t heap;
    setenv("MORPHMEM_MODE", "vm", 1);
    MorphContextV2 *context = context_numbered(MORPH_CONFIG_RUNTIME, &heap);
    assert_heap_is(heap, "VM", 2048 * MiB);                                     /* with the presets of its mode */
    assert_ok(morph_mem_destroy(context));
    setenv("MORPHMEM_LIMIT", "3M", 1);
    setenv("MORPHMEM_MODE", "compiler", 1);
    context = context_numbered(MORPH_CONFIG_SERVER, &heap);
    assert_heap_is(heap, "COMPILER", 3 * MiB);
    assert_ok(morph_mem_free(context, new_object(context, 100, 1)));
    assert_int_equal(morph_mem_get_stats(context).total_freed, 100);            /* it is one */
    assert_ok(morph_mem_destroy(context));
    unsetenv("MORPHMEM_MODE");
    unsetenv("MORPHMEM_LIMIT");
    test_daemon_stop(daemon);
}

static void a_bad_environment_is_an_error(void **state)
{
    static const struct { const char *name, *value; } bad[] = { { "MORPHMEM_MODE", "quick" }, { "MORPHMEM_LIMIT", "1.5G" }, { "MORPHMEM_LIMIT", "4" } };
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char said[1024];
        setenv(bad[i].name, bad[i].value, 1);
        struct capture capture = capture_begin(2);
        MorphContextV2 *context = morph_mem_init(MORPH_CONFIG_RUNTIME);
        capture_end(&capture, said, sizeof said);
        unsetenv(bad[i].name);
        assert_null(context);
        assert_error(morph_mem_error(), MORPH_EINVALID);
        if (!strstr(said, bad[i].name) || !strstr(said, bad[i].value))
            fail_msg("no sentence about %s: '%s'", bad[i].name, said);
    }
    assert_int_equal(test_heaps(), 0);
    test_daemon_stop(daemon);
}

/* ---- Bad ends ---- */

static int forked(void *argument, struct test_parent parent)
{
    MorphContextV2 *context = argument;
    child_check(morph_mem_alloc(context, 8, 1) == NULL);
    child_check_int(morph_mem_error(), MORPH_EFORKED);
    child_check_int(morph_mem_get_stats(context).heap_bytes, 0);
    child_check_int(morph_mem_error(), MORPH_EFORKED);
    child_check_int(morph_mem_generation(context, context), MORPH_EFORKED);
    child_check_int(morph_mem_destroy(context), 0);
    return 3;
}

static void a_forked_child_has_no_context(void **state)
{
    static const MorphMemConfig *const config[] = { &MORPH_CONFIG_COMPILER, &MORPH_CONFIG_RUNTIME };
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned i = 0; i < 2; i++) {
        MorphContextV2 *context = context_new(*config[i]);
        (void)new_object(context, 16, 1);
        assert_int_equal(test_child_run((uid_t)-1, forked, context), 3);
        (void)new_object(context, 16, 1);
        assert_int_equal(morph_mem_get_stats(context).object_count_by_type[1], 2);
        assert_ok(morph_mem_destroy(context));
    }
    test_daemon_stop(daemon);
}

static void a_lost_daemon_is_an_error(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    MorphContextV2 *context = context_new(MORPH_CONFIG_RUNTIME);
    (void)new_object(context, 16, 1);
    test_daemon_kill(daemon);
    assert_error(morph_mem_gc_collect(context), MORPH_ELOST);
    assert_int_equal(morph_mem_get_stats(context).object_count_by_type[1], 0);
    assert_error(morph_mem_error(), MORPH_ELOST);
    assert_error(morph_mem_register_type(context, 2, "late"), MORPH_ELOST);
    assert_ok(morph_mem_destroy(context));
    test_daemon_free(daemon);
}

/* ---- What libmorphmem tells for it ---- */

struct seen { unsigned types; uint64_t objects, bytes, held_bytes; bool called_back; morph_heap *heap; };

static void see(void *argument, const morph_type_count *count)
{
    struct seen *seen = argument;
    seen->types++;
    if (strcmp(count->name, "pair") == 0) {
        seen->objects = count->objects;
        seen->bytes = count->bytes;
        seen->held_bytes = count->held_bytes;
    }
    morph_heap_stats stats;
    seen->called_back = morph_heap_stats_get(seen->heap, &stats) == 0;
}

/* More types than fit one reading of the socket. */
static void a_heap_tells_what_lives_in_it(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = { 0 };
    morph_type pair, other;
    assert_ok(morph_heap_open(&client.heap, &(morph_options){ .mode = MORPH_RUNTIME, .no_autospawn = true }));
    assert_ok(morph_thread_attach(client.heap, &client.me));
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "pair", .bytes = 24 }, &pair));
    for (unsigned i = 0; i < 1500; i++) {
        char name[16];
        snprintf(name, sizeof name, "other %u", i);
        assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = name, .bytes = 8 }, &other));
    }
    void **frame = morph_frame_push(client.me, 8 * 100);
    for (unsigned i = 0; i < 100; i++)
        assert_non_null(frame[i] = morph_new(client.me, pair));
    struct seen seen = { .heap = client.heap };
    assert_ok(morph_heap_types(client.heap, see, &seen));
    assert_int_equal(seen.types, 1501);
    assert_true(seen.objects == 100 && seen.bytes == 2400 && seen.held_bytes == 100 * 48 && seen.called_back);

    morph_frame_pop(client.me, frame);
    assert_ok(morph_collect(client.me, MORPH_COLLECT_MINOR));
    assert_ok(morph_collect(client.me, MORPH_COLLECT_MAJOR));
    seen.objects = 1;
    assert_ok(morph_heap_types(client.heap, see, &seen));
    assert_int_equal(seen.objects, 0);
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(client.heap, &stats));
    assert_true(stats.minor_collections == 1 && stats.major_collections == 1 && stats.collections == 2);
    assert_true(stats.pause_max_ns > 0 && stats.pause_ns > stats.pause_max_ns && stats.pause_ns <= 2 * stats.pause_max_ns);
    assert_true(stats.freed_bytes > 0 && stats.freed_bytes == test_heap_stat(morph_heap_id(client.heap), "freed_bytes"));
    assert_error(morph_heap_types(NULL, see, &seen), MORPH_EINVALID);
    assert_error(morph_heap_types(client.heap, NULL, NULL), MORPH_EINVALID);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void *crowd_member(void *unused)
{
    mph_init_memory(NULL);
    pause();
    return unused;
}

/* More threads of a compiled program (this one, started with a path and a word) than its heap has slots for: the sentence, the statistics and the
 * end, and no wait for ever. */
static int crowd(const char *path)
{
    pthread_t thread;
    setenv("MORPH_MEM_STATS", path, 1);
    alarm(60);                          /* 142 instead of 1 */
    mph_init_memory(NULL);
    for (unsigned i = 0; i < 70; i++)
        child_check_int(pthread_create(&thread, NULL, crowd_member, NULL), 0);
    pause();
    return 98;
}

static int exec_crowd(void *path, struct test_parent parent)
{
    (void)parent;
    execl("/proc/self/exe", "morph_mem.int", path, "crowd", (char *)NULL);
    return 99;
}

static void a_failure_ends_a_compiled_program(void **state)
{
    if (test_thread_sanitized())
        test_skip("ThreadSanitizer complains of threads that are left at the end");
    struct test_daemon *daemon = test_daemon_start(NULL);
    char path[128];
    snprintf(path, sizeof path, "%s/crowd.json", daemon->dir);
    assert_int_equal(test_child_run((uid_t)-1, exec_crowd, path), 1);
    assert_int_equal(access(path, R_OK), 0);
    test_daemon_stop(daemon);
}

int main(int count, char **argument)
{
    if (count == 2)
        return exiting(argument[1]);
    if (count == 3)
        return crowd(argument[1]);
    const struct CMUnitTest cases[] = {
        test_case(every_preset_is_a_heap_of_its_mode),
        test_case(what_fits_this_machine_is_a_heap_too),
        test_case(failures_are_explained),
        test_case(compiler_objects_live_until_they_are_freed),
        test_case(what_is_no_object_is_not_freed),
        test_case(a_full_heap_says_so),
        test_case(garbage_goes_and_the_rest_stays),
        test_case(collections_come_by_themselves),
        test_case(generations_show),
        test_case(type_ids_are_1_to_127),
        test_case(names_may_change_and_repeat),
        test_case(threads_attach_at_their_first_call),
        test_case(a_context_ends_before_its_threads),
        test_case(statistics_are_the_same_as_json),
        test_case(statistics_are_the_same_as_text),
        test_case(without_metrics_the_daemon_still_knows),
        test_case(statistics_are_written_at_exit),
        test_case(the_environment_has_the_last_word),
        test_case(a_bad_environment_is_an_error),
        test_case(a_forked_child_has_no_context),
        test_case(a_lost_daemon_is_an_error),
        test_case(a_heap_tells_what_lives_in_it),
        test_case(a_failure_ends_a_compiled_program),
    };
    return test_run(cases);
}
