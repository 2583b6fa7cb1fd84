/* fast_paths.c — instructions for each call on the allocation paths: does one of them N times, for callgrind to count.
 *
 *   fast_paths PATH N [SOCKET]     PATH: none, new, object, bytes, malloc, malloc_free, free
 *
 * What starts, refills and ends is the same for two counts N and M, so that (counted at N - counted at M) / (N - M) is the cost of one
 * call in its loop; `none` is the loop alone. Each path keeps to its fast half as an ordinary program would: arenas are reset after every
 * 1,024 objects, pools are emptied in batches. The loops are never inlined: they are also what docs/design/fast-paths.md shows as code.
 * The command and the results are there. Single-threaded. */
#include <morphmem/morphmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))
#define BATCH    1024u

struct node { struct node *left, *right; };

struct fixture { morph_heap *heap; morph_thread *me; morph_type type; morph_arena *arena; morph_pool *pool; };

void *one_new(morph_thread *me, morph_type type);
void *one_object(morph_arena *arena, morph_type type);
void *one_bytes(morph_arena *arena, uint64_t bytes);
void *one_bytes_24(morph_arena *arena);

/* The paths as a program compiles them, for objdump. */
NOINLINE void *one_new(morph_thread *me, morph_type type) { return morph_new(me, type); }
NOINLINE void *one_object(morph_arena *arena, morph_type type) { return morph_arena_new_object(arena, type); }
NOINLINE void *one_bytes(morph_arena *arena, uint64_t bytes) { return morph_arena_bytes(arena, bytes); }
NOINLINE void *one_bytes_24(morph_arena *arena) { return morph_arena_bytes(arena, 24); }

static void *kept[BATCH];

/* One batch of a path: false if memory ran out. The empty asm keeps the loop, and each result, where the others have theirs. */
static NOINLINE bool batch_none(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = f;
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    return true;
}

static NOINLINE bool batch_new(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_new(f->me, f->type);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    return true;
}

static NOINLINE bool batch_object(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_arena_new_object(f->arena, f->type);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    morph_arena_reset(f->arena);
    return true;
}

static NOINLINE bool batch_bytes(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_arena_bytes(f->arena, 24);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    morph_arena_reset(f->arena);
    return true;
}

static NOINLINE bool batch_malloc(struct fixture *f)        /* never freed: cells that nobody had before */
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_malloc(f->pool, 24);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    return true;
}

static NOINLINE bool batch_malloc_free(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_malloc(f->pool, 24);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p || morph_free(f->pool, p) < 0)
            return false;
    }
    return true;
}

static NOINLINE bool batch_free(struct fixture *f)          /* a batch is allocated, then freed in the same order */
{
    for (unsigned i = 0; i < BATCH; i++)
        if (!(kept[i] = morph_malloc(f->pool, 24)))
            return false;
    for (unsigned i = 0; i < BATCH; i++)
        if (morph_free(f->pool, kept[i]) < 0)
            return false;
    return true;
}

static const struct path { const char *name; bool (*batch)(struct fixture *f); } paths[] = {
    { "none", batch_none }, { "new", batch_new }, { "object", batch_object }, { "bytes", batch_bytes },
    { "malloc", batch_malloc }, { "malloc_free", batch_malloc_free }, { "free", batch_free },
};

static int fixture_open(struct fixture *f, const char *socket)
{
    morph_options options = { .mode = MORPH_COMPILER, .name = "fast-paths", .limit_bytes = 256 << 20, .socket = socket };
    morph_type_spec spec = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) };
    int r = morph_heap_open(&f->heap, &options);
    if (r == 0)
        r = morph_thread_attach(f->heap, &f->me);
    if (r == 0)
        r = morph_type_register(f->heap, &spec, &f->type);
    if (r == 0)
        r = morph_arena_new(f->me, &f->arena);
    return r ? r : morph_pool_new(f->me, 0, &f->pool);
}

int main(int count, char **arguments)
{
    struct fixture fixture;
    const struct path *path = NULL;
    for (size_t i = 0; count >= 3 && i < sizeof paths / sizeof paths[0]; i++)
        if (strcmp(paths[i].name, arguments[1]) == 0)
            path = &paths[i];
    unsigned long n = path ? strtoul(arguments[2], NULL, 10) : 0;
    if (n == 0) {
        fprintf(stderr, "usage: fast_paths none|new|object|bytes|malloc|malloc_free|free N [SOCKET]\n");
        return 2;
    }
    int r = fixture_open(&fixture, count > 3 ? arguments[3] : NULL);
    if (r < 0) {
        fprintf(stderr, "fast_paths: %s\n", morph_strerror(r));
        return 1;
    }
    for (unsigned long done = 0; done < n; done += BATCH)
        if (!path->batch(&fixture)) {
            fprintf(stderr, "fast_paths: memory ran out after %lu\n", done);
            return 1;
        }
    morph_pool_free(fixture.pool);
    morph_arena_free(fixture.arena);
    morph_thread_detach(fixture.me);
    return morph_heap_close(fixture.heap) < 0;
}
