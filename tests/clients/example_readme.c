/* example_readme.c — the program of README.md: a list of a million nodes in an arena. */
#include <morphmem/morphmem.h>
#include <stdio.h>
struct node { struct node *next; long value; };
int main(void)
{
    morph_heap *heap; morph_thread *me; morph_type type; morph_arena *arena;
    morph_type_spec spec = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, next) };
    int err = morph_heap_open(&heap, &(morph_options){ .name = "readme", .limit_bytes = 64 << 20 });
    if (err < 0 || (err = morph_thread_attach(heap, &me)) < 0 || (err = morph_type_register(heap, &spec, &type)) < 0 ||
        (err = morph_arena_new(me, &arena)) < 0)
        return fprintf(stderr, "readme: %s\n", morph_strerror(err)), 1;
    struct node *list = NULL, *node;
    for (long i = 0; i < 1000000 && (node = morph_arena_new_object(arena, type)); i++, list = node)
        *node = (struct node){ .next = list, .value = i };
    printf("last value %ld, heap %lu\n", list ? list->value : -1, (unsigned long)morph_heap_id(heap));
    morph_arena_free(arena);                    /* everything gone at once */
    morph_thread_detach(me);
    return morph_heap_close(heap) < 0;
}
