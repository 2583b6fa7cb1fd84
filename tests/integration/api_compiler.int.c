/* api_compiler.int.c — the example "A compiler" of the API notes, as a user would write it: a tokenizer whose tokens and texts
 * live in an arena, with speculation that is rolled back, and everything gone at once between files.
 */
#include <ctype.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

struct token { struct token *next; char *text; int length; };

static morph_type token_type;

static struct token *scan(morph_arena *arena, const char *source)
{
    struct token *first = NULL, **link = &first;
    while (*source) {
        int length = 1;
        if (isalnum((unsigned char)*source))
            while (isalnum((unsigned char)source[length]))
                length++;
        struct token *t = morph_arena_new_object(arena, token_type);    /* typed: counted and walkable from outside */
        char *text = morph_arena_bytes(arena, (uint64_t)length);        /* raw */
        if (!t || !text)
            return NULL;
        memcpy(text, source, (size_t)length);
        *t = (struct token){ NULL, text, length };
        *link = t;
        link = &t->next;
        source += length;
    }
    return first;
}

static int length_of(const struct token *t)
{
    int length = 0;
    for (; t; t = t->next)
        length++;
    return length;
}

static void the_example_works(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("compiler", 64 * MiB);
    morph_thread *me = client.me;
    morph_arena *arena;
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "token", .bytes = sizeof(struct token),
                                                                   .refs = MORPH_REFS(struct token, next, text) }, &token_type));
    assert_ok(morph_arena_new(me, &arena));
    for (unsigned file = 0; file < 200; file++) {
        struct token *t = scan(arena, "let x1=fold(map(y,f),0);");
        assert_int_equal(length_of(t), 16);
        morph_mark here = morph_arena_mark(arena);
        for (unsigned i = 0; i < 50; i++)
            assert_int_equal(length_of(scan(arena, "a:b?c(d)")), 8);    /* speculation */
        assert_int_equal(test_type_named(client.id, "token").objects, 16 + 400);
        assert_ok(morph_arena_release(arena, here));
        assert_int_equal(test_type_named(client.id, "token").objects, 16);
        assert_memory_equal(t->next->next->text, "x1", 2);
        morph_arena_reset(arena);                                       /* everything gone at once, memory kept for the next file */
    }
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(the_example_works) };
    return test_run(cases);
}
