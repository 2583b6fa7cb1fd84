/* arena.int.c — arenas: typed, raw, aligned, text, marks, reset, huge objects, many of them, adoption by another thread. */
#include <pthread.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

struct node { struct node *left, *right; long value; };

static struct test_daemon *daemon;
static struct client client;
static morph_arena *arena;
static morph_type node_type;

static void begin(uint64_t limit_bytes)
{
    daemon = test_daemon_start(NULL);
    client = client_open("arena", limit_bytes);
    assert_ok(morph_arena_new(client.me, &arena));
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node),
                                                                    .refs = MORPH_REFS(struct node, left, right) }, &node_type));
}

static void end(void)
{
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_stop(daemon);
}

static uint64_t used_bytes(void)
{
    uint64_t used, held;
    morph_arena_usage(arena, &used, &held);
    assert_true(used <= held);
    return used;
}

static void typed_objects_have_headers(void **state)
{
    enum { COUNT = 10000 };
    static struct node *node[COUNT];
    begin(32 * MiB);
    for (unsigned i = 0; i < COUNT; i++) {
        node[i] = morph_arena_new_object(arena, node_type);
        assert_non_null(node[i]);
        assert_int_equal((uintptr_t)node[i] % 16, 0);
        *node[i] = (struct node){ i > 0 ? node[i - 1] : NULL, node[i / 2], i };
    }
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(node[i]->value, i);
        assert_ptr_equal(node[i]->left, i > 0 ? node[i - 1] : NULL);
        assert_ptr_equal(node[i]->right, node[i / 2]);
        assert_int_equal(morph_object_bytes(node[i]), sizeof(struct node));
        assert_ptr_equal(morph_object_type(client.heap, node[i]), node_type);
    }
    assert_int_equal(test_type_named(client.id, "node").objects, COUNT);
    end();
}

static void arrays_have_their_elements(void **state)
{
    struct vector { uint64_t length; struct node *item[]; } *vector;
    morph_type vector_type;
    begin(64 * MiB);
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "vector", .bytes = sizeof(struct vector),
                                      .element_bytes = sizeof(void *), .element_refs = MORPH_ELEMENT_IS_REF }, &vector_type));
    static const uint64_t lengths[] = { 0, 1, 2, 7, 1000, 3000, 100000, 500000 };
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        vector = morph_arena_new_array(arena, vector_type, lengths[i]);
        assert_non_null(vector);
        assert_int_equal(morph_object_bytes(vector), sizeof *vector + 8 * lengths[i]);
        client_fill(vector, sizeof *vector + 8 * lengths[i], i);
        assert_true(client_intact(vector, sizeof *vector + 8 * lengths[i], i));
    }
    assert_int_equal(test_type_named(client.id, "vector").objects, sizeof lengths / sizeof lengths[0]);
    assert_null(morph_arena_new_array(arena, vector_type, UINT64_MAX / 8));
    assert_error(morph_thread_error(client.me), MORPH_ETOOLARGE);
    assert_null(morph_arena_new_array(arena, vector_type, ((uint64_t)1 << 61) + 1));      /* wraps when multiplied */
    assert_error(morph_thread_error(client.me), MORPH_ETOOLARGE);
    end();
}

static void zeroed_is_zero_after_a_reset(void **state)
{
    begin(32 * MiB);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            uint64_t *object = round % 2 ? morph_arena_new_object_zeroed(arena, node_type) : morph_arena_bytes_zeroed(arena, 100);
            assert_non_null(object);
            assert_true(client_zero(object, round % 2 ? sizeof(struct node) : 100));
            memset(object, 0xee, sizeof(struct node));
        }
        morph_arena_reset(arena);
    }
    char *big = morph_arena_bytes_zeroed(arena, 3 * MiB);
    assert_true(client_zero(big, 3 * MiB));
    memset(big, 0xee, 3 * MiB);
    morph_arena_reset(arena);
    big = morph_arena_bytes_zeroed(arena, 3 * MiB);
    assert_true(client_zero(big, 3 * MiB));
    end();
}

static void alignment_is_kept(void **state)
{
    begin(64 * MiB);
    for (uint32_t alignment = 1; alignment <= 65536; alignment *= 2)
        for (unsigned i = 0; i < 6; i++) {
            uint64_t bytes = i * 977 + 1;
            char *at = morph_arena_aligned(arena, bytes, alignment);
            assert_non_null(at);
            assert_int_equal((uintptr_t)at % alignment, 0);
            client_fill(at, bytes, i);
        }
    char *huge = morph_arena_aligned(arena, 5 * MiB, 65536);
    assert_non_null(huge);
    assert_int_equal((uintptr_t)huge % 65536, 0);
    client_fill(huge, 5 * MiB, 3);
    static const uint32_t nonsense[] = { 0, 3, 24, 65537, 131072, 0x80000000u };
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        assert_null(morph_arena_aligned(arena, 16, nonsense[i]));
        assert_error(morph_thread_error(client.me), MORPH_EINVALID);
    }
    end();
}

static void text_is_packed_and_ends(void **state)
{
    begin(16 * MiB);
    char *first = morph_arena_text(arena, "abc", 3), *second = morph_arena_text(arena, "defghi", 4);
    assert_string_equal(first, "abc");
    assert_string_equal(second, "defg");
    assert_ptr_equal(second, first + 4);
    assert_string_equal(morph_arena_text(arena, "", 0), "");
    char *byte = morph_arena_aligned(arena, 3, 1);
    assert_ptr_equal(morph_arena_aligned(arena, 3, 1), byte + 3);
    assert_int_equal((uintptr_t)morph_arena_bytes(arena, 1) % 16, 0);           /* and the next raw bytes are aligned again */
    end();
}

static void marks_nest(void **state)
{
    begin(64 * MiB);
    char *kept = morph_arena_bytes(arena, 100);
    client_fill(kept, 100, 1);
    morph_mark outer = morph_arena_mark(arena);
    uint64_t outer_used = used_bytes();
    for (unsigned i = 0; i < 5000; i++) {
        assert_non_null(morph_arena_bytes(arena, 500));
        assert_non_null(morph_arena_new_object(arena, node_type));
    }
    morph_mark inner = morph_arena_mark(arena);
    uint64_t inner_used = used_bytes();
    char *between = morph_arena_bytes(arena, 3 * MiB);
    assert_non_null(between);
    assert_true(used_bytes() >= inner_used + 3 * MiB);
    assert_ok(morph_arena_release(arena, inner));
    assert_int_equal(used_bytes(), inner_used);
    assert_ok(morph_arena_release(arena, inner));                               /* a mark holds until an outer one is released */
    assert_ok(morph_arena_release(arena, outer));
    assert_int_equal(used_bytes(), outer_used);
    assert_error(morph_arena_release(arena, inner), MORPH_EINVALID);
    assert_true(client_intact(kept, 100, 1));
    assert_ok(morph_arena_release(arena, outer));
    end();
}

static void released_objects_are_not_counted(void **state)
{
    begin(32 * MiB);
    for (unsigned i = 0; i < 100; i++)
        assert_non_null(morph_arena_new_object(arena, node_type));
    morph_mark mark = morph_arena_mark(arena);
    for (unsigned i = 0; i < 50000; i++)
        assert_non_null(morph_arena_new_object(arena, node_type));
    assert_int_equal(test_type_named(client.id, "node").objects, 50100);
    assert_ok(morph_arena_release(arena, mark));
    assert_int_equal(test_type_named(client.id, "node").objects, 100);
    morph_arena_reset(arena);
    struct test_type_count type[8];
    unsigned count = test_types(client.id, type, 8);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(type[i].objects, 0);
    end();
}

static void false_marks_are_refused(void **state)
{
    struct test_random random = test_random_begin("arena");
    morph_arena *other;
    begin(32 * MiB);
    assert_ok(morph_arena_new(client.me, &other));
    char *kept = morph_arena_bytes(arena, 5000);
    client_fill(kept, 5000, 9);
    morph_mark stale = morph_arena_mark(arena);
    morph_arena_reset(arena);
    kept = morph_arena_bytes(arena, 5000);
    client_fill(kept, 5000, 9);
    assert_error(morph_arena_release(arena, stale), MORPH_EINVALID);            /* a reset makes all invalid */
    assert_error(morph_arena_release(arena, (morph_mark){ { 0 } }), MORPH_EINVALID);
    assert_error(morph_arena_release(arena, morph_arena_mark(other)), MORPH_EINVALID);
    morph_mark before = morph_arena_mark(arena);
    assert_non_null(morph_arena_bytes(arena, 1 * MiB));                         /* in a run of its own: cursors stay where they are */
    morph_mark after = morph_arena_mark(arena);
    assert_ok(morph_arena_release(arena, before));
    assert_error(morph_arena_release(arena, after), MORPH_EINVALID);
    for (unsigned i = 0; i < 1000; i++) {
        morph_mark forged = morph_arena_mark(arena);
        forged.word[test_random_below(&random, 6)] ^= (uint64_t)1 << test_random_below(&random, 64);
        (void)morph_arena_release(arena, forged);                               /* refused, or of no consequence */
        assert_true(client_intact(kept, 5000, 9));
    }
    assert_non_null(morph_arena_bytes(arena, 100));
    morph_arena_free(other);
    end();
}

static void reset_keeps_the_memory(void **state)
{
    uint64_t used, held, held_first;
    begin(32 * MiB);
    morph_heap_stats before, after;
    for (unsigned i = 0; i < 40; i++)
        assert_non_null(morph_arena_bytes(arena, 100000));
    morph_arena_usage(arena, &used, &held_first);
    assert_true(used >= 4000000 && held_first >= used);
    morph_arena_reset(arena);
    morph_arena_usage(arena, &used, &held);
    assert_int_equal(used, 0);
    assert_int_equal(held, held_first);
    assert_ok(morph_heap_stats_get(client.heap, &before));
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 40; i++)
            assert_non_null(morph_arena_bytes(arena, 100000));
        morph_arena_reset(arena);
    }
    assert_ok(morph_heap_stats_get(client.heap, &after));
    assert_int_equal(after.waits, before.waits);                                /* nobody had to be asked */
    end();
}

static void huge_objects_come_and_go(void **state)
{
    morph_type bytes_type;
    begin(64 * MiB);
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "bytes", .bytes = 8, .element_bytes = 1 }, &bytes_type));
    static const uint64_t sizes[] = { 2 * MiB - 64, 2 * MiB, 2 * MiB + 1, 5 * MiB, 17 * MiB };
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            char *at = round % 2 ? morph_arena_new_array(arena, bytes_type, sizes[i]) : morph_arena_bytes(arena, sizes[i]);
            assert_non_null(at);
            assert_int_equal((uintptr_t)at % 16, 0);
            client_fill(at, sizes[i], i);
            assert_true(client_intact(at, sizes[i], i));
            assert_non_null(morph_arena_bytes(arena, 40));
        }
        morph_arena_reset(arena);
    }
    assert_null(morph_arena_bytes(arena, 65 * MiB));
    assert_error(morph_thread_error(client.me), MORPH_ENOMEM);
    assert_null(morph_arena_bytes(arena, UINT64_MAX - 8));
    assert_true(morph_thread_error(client.me) == MORPH_ETOOLARGE || morph_thread_error(client.me) == MORPH_ENOMEM);
    assert_null(morph_arena_new_array(arena, bytes_type, (uint64_t)UINT32_MAX + 1));
    assert_error(morph_thread_error(client.me), MORPH_ETOOLARGE);
    assert_non_null(morph_arena_bytes(arena, 5 * MiB));
    end();
}

static void destroyed_arenas_give_back(void **state)
{
    begin(32 * MiB);
    for (unsigned round = 0; round < 60; round++) {                             /* 1.2 GiB in all, never more than 20 MiB at once */
        morph_arena *brief;
        assert_ok(morph_arena_new(client.me, &brief));
        for (unsigned i = 0; i < 20; i++) {
            char *at = morph_arena_bytes(brief, MiB);
            if (!at)
                fail_msg("round %u: %s", round, morph_strerror(morph_thread_error(client.me)));
            at[0] = at[MiB - 1] = 1;
        }
        morph_arena_free(brief);
    }
    assert_true(test_heap_stat(client.id, "peak_bytes") <= 32 * MiB);
    end();
}

static void there_can_be_many(void **state)
{
    enum { COUNT = 1000 };
    static morph_arena *many[COUNT];
    static char *text[COUNT];
    begin(512 * MiB);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_ok(morph_arena_new(client.me, &many[i]));
        text[i] = morph_arena_bytes(many[i], 3000);
        assert_non_null(text[i]);
        client_fill(text[i], 3000, i);
    }
    assert_int_equal(test_heap_stat(client.id, "arenas"), COUNT + 1);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(client_intact(text[i], 3000, i));
    for (unsigned i = 0; i < COUNT; i++)
        morph_arena_free(many[i * 7 % COUNT]);
    assert_int_equal(test_heap_stat(client.id, "arenas"), 1);
    end();
}

static void there_is_an_end_to_many(void **state)
{
    static morph_arena *many[20000];
    unsigned count = 0;
    int r = 0;
    begin(16 * MiB);
    while (count < 20000 && (r = morph_arena_new(client.me, &many[count])) == 0)
        count++;
    assert_error(r, MORPH_ESPACES);
    assert_true(count > 16000 && count <= 16384);
    assert_non_null(morph_arena_bytes(many[0], 100));
    morph_arena_free(many[--count]);
    assert_ok(morph_arena_new(client.me, &many[count]));                        /* one went, one can come */
    for (unsigned i = 0; i <= count; i++)
        morph_arena_free(many[i]);
    end();
}

static void *adopt_and_go_on(void *context)
{
    morph_arena *given = context;
    morph_thread *me;
    if (morph_thread_attach(client.heap, &me) < 0 || morph_arena_adopt(given, me) < 0)
        return NULL;
    char *at = morph_arena_bytes(given, 300000);
    if (at)
        client_fill(at, 300000, 2);
    morph_arena_adopt(given, client.me);                                        /* and back: the first thread waits for this one */
    morph_thread_detach(me);
    return at;
}

static void another_thread_may_adopt(void **state)
{
    pthread_t thread;
    void *second = NULL;
    begin(16 * MiB);
    char *first = morph_arena_bytes(arena, 300000);
    client_fill(first, 300000, 1);
    assert_int_equal(pthread_create(&thread, NULL, adopt_and_go_on, arena), 0);
    assert_int_equal(pthread_join(thread, &second), 0);
    assert_non_null(second);
    assert_true(client_intact(first, 300000, 1));
    assert_true(client_intact(second, 300000, 2));
    assert_non_null(morph_arena_bytes(arena, 300000));
    end();
}

/* A thread may leave once its arenas have another owner, and not before. */
static void *make_and_hand_over(void *context)
{
    morph_thread *me;
    morph_arena *made;
    if (morph_thread_attach(client.heap, &me) < 0 || morph_arena_new(me, &made) < 0)
        return NULL;
    char *at = morph_arena_bytes(made, 1000);
    client_fill(at, 1000, 5);
    if (morph_thread_detach(me) != MORPH_EBUSY || morph_arena_adopt(made, client.me) < 0 || morph_thread_detach(me) < 0)
        return NULL;
    *(char **)context = at;
    return made;
}

static void arenas_outlive_their_thread(void **state)
{
    pthread_t thread;
    void *made = NULL;
    char *at = NULL;
    begin(16 * MiB);
    assert_int_equal(pthread_create(&thread, NULL, make_and_hand_over, &at), 0);
    assert_int_equal(pthread_join(thread, &made), 0);
    assert_non_null(made);
    assert_true(client_intact(at, 1000, 5));
    assert_non_null(morph_arena_bytes(made, 200000));
    morph_arena_free(made);
    end();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(typed_objects_have_headers),
        test_case(arrays_have_their_elements),
        test_case(zeroed_is_zero_after_a_reset),
        test_case(alignment_is_kept),
        test_case(text_is_packed_and_ends),
        test_case(marks_nest),
        test_case(released_objects_are_not_counted),
        test_case(false_marks_are_refused),
        test_case(reset_keeps_the_memory),
        test_case(huge_objects_come_and_go),
        test_case(destroyed_arenas_give_back),
        test_case(there_can_be_many),
        test_case(there_is_an_end_to_many),
        test_case(another_thread_may_adopt),
        test_case(arenas_outlive_their_thread),
    };
    return test_run(cases);
}
