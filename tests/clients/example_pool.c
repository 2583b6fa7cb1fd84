/* example_pool.c — the example of libmorphmem(3) for pools: memory that is freed singly, under a hard bound. */
#include <morphmem/morphmem.h>
#include <stdio.h>

int main(void)
{
    morph_options options = { .mode = MORPH_COMPILER, .name = "bounded", .limit_bytes = 1 << 20 };
    morph_heap *heap;
    morph_thread *me;
    morph_pool *pool;
    int err = morph_heap_open(&heap, &options);
    if (err < 0) {
        fprintf(stderr, "bounded: %s\n", morph_strerror(err));
        return 1;
    }
    if ((err = morph_thread_attach(heap, &me)) < 0 || (err = morph_pool_new(me, 0, &pool)) < 0) {
        fprintf(stderr, "bounded: %s\n", morph_strerror(err));
        return 1;
    }
    struct cell { struct cell *next; char filler[1000]; } *cells = NULL, *cell;
    unsigned count = 0;
    while ((cell = morph_malloc(pool, sizeof *cell)) != NULL) {     /* until the bound is reached */
        cell->next = cells;
        cells = cell;
        count++;
    }
    int at_limit = morph_pool_error(pool) == MORPH_ENOMEM;          /* what was allocated is intact, and can be freed */
    for (; cells; cells = cell) {
        cell = cells->next;
        count -= morph_free(pool, cells) == 0;
    }
    printf("%s, %u cells left\n", at_limit ? "stopped at the bound" : "stopped early", count);
    morph_pool_free(pool);
    morph_thread_detach(me);
    return morph_heap_close(heap) < 0 || !at_limit;
}
