/* types.int.c — types are registered by name, and the daemon counts objects by type from outside. */
#include <pthread.h>
#include <stdio.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

static struct test_daemon *daemon;
static struct client client;

static void begin(uint64_t limit_bytes)
{
    daemon = test_daemon_start(NULL);
    client = client_open("types", limit_bytes);
}

static void end(void)
{
    client_close(&client);
    test_daemon_stop(daemon);
}

static const uint32_t refs_0_8[] = { 0, 8 }, refs_0_16[] = { 0, 16 }, refs_0[] = { 0 };

static void same_name_same_handle(void **state)
{
    morph_type first, second;
    begin(8 * MiB);
    const morph_type_spec spec = { .name = "pair", .bytes = 24, .refs = { refs_0_8, 2 }, .element_bytes = 16, .element_refs = { refs_0, 1 } };
    assert_ok(morph_type_register(client.heap, &spec, &first));
    assert_ok(morph_type_register(client.heap, &spec, &second));
    assert_ptr_equal(first, second);
    assert_string_equal(morph_type_name(first), "pair");
    end();
}

static void another_layout_is_refused(void **state)
{
    morph_type type, kept = NULL;
    begin(8 * MiB);
    const morph_type_spec spec = { .name = "pair", .bytes = 24, .refs = { refs_0_8, 2 }, .element_bytes = 16, .element_refs = { refs_0, 1 } };
    assert_ok(morph_type_register(client.heap, &spec, &type));
    morph_type_spec other[6] = { spec, spec, spec, spec, spec, spec };
    other[0].bytes = 32;
    other[1].refs.count = 1;
    other[2].refs.offset = refs_0_16;
    other[3].element_bytes = 24;
    other[4].element_refs.count = 0;
    other[5].refs.count = 0;
    for (unsigned i = 0; i < 6; i++) {
        assert_error(morph_type_register(client.heap, &other[i], &kept), MORPH_ETYPE);
        assert_null(kept);
    }
    assert_ok(morph_type_register(client.heap, &spec, &kept));
    assert_ptr_equal(kept, type);
    end();
}

static void invalid_specs_are_refused(void **state)
{
    static const uint32_t unaligned[] = { 4 }, outside[] = { 24 }, half_outside[] = { 20 }, twice[] = { 8, 8 }, huge[] = { UINT32_MAX - 7 };
    char long_name[200];
    memset(long_name, 'n', sizeof long_name);
    long_name[128] = 0;
    const morph_type_spec invalid[] = {
        { .name = NULL, .bytes = 24 }, { .name = "", .bytes = 24 }, { .name = long_name, .bytes = 24 },
        { .name = "a", .bytes = MiB + 1 }, { .name = "b", .bytes = UINT64_MAX }, { .name = "c", .bytes = (uint64_t)1 << 32 },
        { .name = "d", .bytes = 24, .refs = { unaligned, 1 } }, { .name = "e", .bytes = 24, .refs = { outside, 1 } },
        { .name = "f", .bytes = 24, .refs = { half_outside, 1 } }, { .name = "g", .bytes = 24, .refs = { twice, 2 } },
        { .name = "h", .bytes = 24, .refs = { huge, 1 } }, { .name = "i", .bytes = 24, .refs = { NULL, 1 } },
        { .name = "j", .bytes = 8, .element_refs = { refs_0, 1 } },                         /* references in elements of no size */
        { .name = "k", .bytes = 8, .element_bytes = 8, .element_refs = { outside, 1 } },
    };
    morph_type type = NULL;
    begin(8 * MiB);
    for (unsigned i = 0; i < sizeof invalid / sizeof invalid[0]; i++) {
        int r = morph_type_register(client.heap, &invalid[i], &type);
        if (r != MORPH_EINVALID)
            fail_msg("spec %u: %s", i, morph_error_name(r));
        assert_null(type);
    }
    long_name[127] = 0;
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = long_name, .bytes = 24 }, &type));
    assert_string_equal(morph_type_name(type), long_name);
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "largest", .bytes = MiB }, &type));
    assert_ok(morph_heap_status(client.heap));                                              /* the daemon took no offence */
    end();
}

static void counts_equal_what_was_allocated(void **state)
{
    enum { TYPES = 20 };
    struct test_random random = test_random_begin("types");
    morph_type type[TYPES];
    uint64_t objects[TYPES] = { 0 }, bytes[TYPES] = { 0 };
    morph_arena *arena[3];
    char name[32];
    begin(256 * MiB);
    for (unsigned i = 0; i < TYPES; i++) {
        snprintf(name, sizeof name, "type %u", i);
        assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = name, .bytes = i * 13, .element_bytes = 1 + i }, &type[i]));
    }
    for (unsigned i = 0; i < 3; i++)
        assert_ok(morph_arena_new(client.me, &arena[i]));
    for (unsigned n = 0; n < 60000; n++) {
        unsigned which = (unsigned)test_random_below(&random, TYPES);
        uint64_t elements = test_random_below(&random, 3) ? 0 : test_random_size(&random, n % 1000 ? 500 : 300000);
        morph_arena *into = arena[test_random_below(&random, 3)];
        void *at = elements ? morph_arena_new_array(into, type[which], elements)
                   : n % 5  ? morph_arena_new_object(into, type[which])
                            : morph_new(client.me, type[which]);
        assert_non_null(at);
        objects[which]++;
        bytes[which] += which * 13 + elements * (1 + which);
    }
    for (unsigned i = 0; i < TYPES; i++) {
        snprintf(name, sizeof name, "type %u", i);
        struct test_type_count seen = test_type_named(client.id, name);
        assert_int_equal(seen.objects, objects[i]);
        assert_int_equal(seen.bytes, bytes[i]);
    }
    for (unsigned i = 0; i < 3; i++)
        morph_arena_free(arena[i]);
    end();
}

/* morph_new and its relatives: zeroed, headers, hints, raw bytes. */
static void objects_outside_arenas(void **state)
{
    morph_type type;
    begin(128 * MiB);
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "thing", .bytes = 40, .element_bytes = 8 }, &type));
    for (unsigned i = 0; i < 20000; i++) {
        char *at = i % 2 ? morph_new(client.me, type) : morph_new_hint(client.me, type, (enum morph_hint)(i / 2 % 3));
        assert_non_null(at);
        assert_true(client_zero(at, 40));
        assert_int_equal(morph_object_bytes(at), 40);
        assert_ptr_equal(morph_object_type(client.heap, at), type);
        memset(at, 0xcc, 40);
    }
    static const uint64_t lengths[] = { 0, 1, 100, 5000, 1000000 };
    for (unsigned i = 0; i < 5; i++) {
        char *array = morph_new_array(client.me, type, lengths[i]), *raw = morph_new_bytes(client.me, lengths[i]);
        assert_non_null(array);
        assert_non_null(raw);
        assert_true(client_zero(array, 40 + 8 * lengths[i]) && client_zero(raw, lengths[i]));
        assert_int_equal(morph_object_bytes(array), 40 + 8 * lengths[i]);
        assert_int_equal(morph_object_bytes(raw), lengths[i]);
        assert_null(morph_object_type(client.heap, raw));
        client_fill(array, 40 + 8 * lengths[i], i), client_fill(raw, lengths[i], i + 50);
    }
    assert_int_equal(test_type_named(client.id, "thing").objects, 20005);
    assert_true(test_heap_stat(client.id, "object_bytes") + test_heap_stat(client.id, "large_bytes") >= 20000 * 40);
    end();
}

static void *register_many(void *context)
{
    morph_type *type = context;
    char name[32];
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "shared %u", i);
        if (morph_type_register(client.heap, &(morph_type_spec){ .name = name, .bytes = 8 + i }, &type[i]) < 0)
            return "a thread could not register";
    }
    return NULL;
}

static void threads_agree_on_handles(void **state)
{
    static morph_type type[4][200];
    pthread_t thread[4];
    begin(8 * MiB);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, register_many, type[i]), 0);
    for (unsigned i = 0; i < 4; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(thread[i], &complaint), 0);
        assert_null(complaint);
    }
    for (unsigned i = 1; i < 4; i++)
        assert_memory_equal(type[0], type[i], sizeof type[0]);
    assert_int_equal(test_heap_stat(client.id, "types"), 200);
    end();
}

/* The same name in two heaps is two types. */
static void heaps_do_not_share_types(void **state)
{
    morph_type type, other_type;
    begin(8 * MiB);
    struct client other = client_open("other", 8 * MiB);
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "thing", .bytes = 8 }, &type));
    assert_ok(morph_type_register(other.heap, &(morph_type_spec){ .name = "thing", .bytes = 16 }, &other_type));
    assert_ptr_not_equal(type, other_type);
    client_close(&other);
    end();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(same_name_same_handle),
        test_case(another_layout_is_refused),
        test_case(invalid_specs_are_refused),
        test_case(counts_equal_what_was_allocated),
        test_case(objects_outside_arenas),
        test_case(threads_agree_on_handles),
        test_case(heaps_do_not_share_types),
    };
    return test_run(cases);
}
