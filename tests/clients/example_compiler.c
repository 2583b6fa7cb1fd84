/* example_compiler.c — the example of libmorphmem(3), COMPILER mode: typed objects and raw bytes in an arena that is reset for each file. */
#include <morphmem/morphmem.h>
#include <stdio.h>
#include <string.h>

struct token { struct token *next; const char *text; };

/* Splits a line into words; the tokens and their texts live in the arena. NULL at the heap's limit. */
static struct token *split(morph_arena *arena, morph_type type, const char *line)
{
    struct token *first = NULL, **end = &first;
    while (*(line += strspn(line, " "))) {
        size_t length = strcspn(line, " ");
        struct token *token = morph_arena_new_object(arena, type);
        const char *text = morph_arena_text(arena, line, length);
        if (!token || !text)
            return NULL;
        *token = (struct token){ NULL, text };
        *end = token;
        end = &token->next;
        line += length;
    }
    return first;
}

int main(void)
{
    static const char *const source[] = { "let there be light", "a b c d e f" };
    morph_options options = { .mode = MORPH_COMPILER, .name = "example", .limit_bytes = 64 << 20 };
    morph_type_spec spec = { .name = "token", .bytes = sizeof(struct token), .refs = MORPH_REFS(struct token, next) };
    morph_heap *heap;
    morph_thread *me;
    morph_type type;
    morph_arena *arena;

    int err = morph_heap_open(&heap, &options);
    if (err < 0) {
        fprintf(stderr, "example: %s\n", morph_strerror(err));
        return 1;
    }
    if ((err = morph_thread_attach(heap, &me)) < 0 || (err = morph_type_register(heap, &spec, &type)) < 0 ||
        (err = morph_arena_new(me, &arena)) < 0) {
        fprintf(stderr, "example: %s\n", morph_strerror(err));
        return 1;
    }
    for (unsigned file = 0; file < 2; file++) {
        unsigned words = 0;
        struct token *token = split(arena, type, source[file]);
        if (!token) {
            fprintf(stderr, "example: %s\n", morph_strerror(morph_thread_error(me)));
            return 1;
        }
        for (; token; token = token->next)
            words++;
        printf("%u words\n", words);
        morph_arena_reset(arena);               /* all tokens and texts are gone; the memory stays for the next file */
    }
    morph_arena_free(arena);
    morph_thread_detach(me);
    return morph_heap_close(heap) < 0;
}
