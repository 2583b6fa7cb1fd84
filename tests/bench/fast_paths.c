/* fast_paths.c — instructions for each call on the paths that are compiled into the program, and on those of pools: does one of them N times,
 * for callgrind to count.
 *
 *   fast_paths PATH N [SOCKET]
 *
 *   none                                             the loop alone
 *   new, object, bytes, malloc, malloc_free, free    in a COMPILER heap
 *   gc_new, gc_array, gc_bytes                       in a collected one (RUNTIME)
 *   store_young, store_dirty, store_clean            into a young object, a card that is dirty, one that is clean; the last at most 4,096 times
 *   frame, poll                                      a frame of two words pushed and popped; a poll
 *
 * What starts, refills and ends is the same for two counts N and M, so that (counted at N - counted at M) / (N - M) is the cost of one
 * call in its loop; `none` is the loop alone. Each path keeps to its fast half as an ordinary program would: arenas are reset after every
 * 1,024 objects, pools are emptied in batches, and the young generation is so large that nothing is collected. The loops are never inlined:
 * they are also what docs/design/fast-paths.md shows as code. The command and the results are there. Single-threaded. */
#include <morphmem/morphmem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline))
#define BATCH    1024u
#define CARDS    4096u                  /* as many as a card log holds */
#define CARD     (512u / sizeof(void *))

struct node { struct node *left, *right; };

/* `young` and `dirty`: objects that stores go to; `vector` has a card for each store. */
struct fixture {
    morph_heap *heap;
    morph_thread *me;
    morph_type type, array;
    morph_arena *arena;
    morph_pool *pool;
    struct node *young, *dirty;
    void **vector;
    unsigned long card;
};

struct pair { void *a, *b; };           /* a frame of two words */

void *one_new(morph_thread *me, morph_type type);
void *one_object(morph_arena *arena, morph_type type);
void *one_bytes(morph_arena *arena, uint64_t bytes);
void *one_bytes_24(morph_arena *arena);
void *one_array(morph_thread *me, morph_type type, uint64_t elements);
void *one_raw(morph_thread *me, uint64_t bytes);
void *one_raw_24(morph_thread *me);
void one_store(morph_thread *me, struct node *node, struct node *value);
void *one_push(morph_thread *me);
void one_pop(morph_thread *me, struct pair *frame);
void one_poll(morph_thread *me);

/* The paths as a program compiles them, for objdump. */
NOINLINE void *one_new(morph_thread *me, morph_type type) { return morph_new(me, type); }
NOINLINE void *one_object(morph_arena *arena, morph_type type) { return morph_arena_new_object(arena, type); }
NOINLINE void *one_bytes(morph_arena *arena, uint64_t bytes) { return morph_arena_bytes(arena, bytes); }
NOINLINE void *one_bytes_24(morph_arena *arena) { return morph_arena_bytes(arena, 24); }
NOINLINE void *one_array(morph_thread *me, morph_type type, uint64_t elements) { return morph_new_array(me, type, elements); }
NOINLINE void *one_raw(morph_thread *me, uint64_t bytes) { return morph_new_bytes(me, bytes); }
NOINLINE void *one_raw_24(morph_thread *me) { return morph_new_bytes(me, 24); }
NOINLINE void one_store(morph_thread *me, struct node *node, struct node *value) { morph_store(me, node, &node->left, value); }
NOINLINE void *one_push(morph_thread *me) { return morph_frame_push(me, sizeof(struct pair)); }
NOINLINE void one_pop(morph_thread *me, struct pair *frame) { morph_frame_pop(me, frame); }
NOINLINE void one_poll(morph_thread *me) { morph_poll(me); }

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

static NOINLINE bool batch_array(struct fixture *f)         /* how many elements is not known when this is compiled */
{
    for (unsigned i = 0; i < BATCH; i++) {
        uint64_t elements = 2;
        __asm__ volatile("" : "+r"(elements));
        void *p = morph_new_array(f->me, f->array, elements);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    return true;
}

static NOINLINE bool batch_raw(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = morph_new_bytes(f->me, 24);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
    }
    return true;
}

static NOINLINE bool batch_store_young(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        struct node *p = f->young;
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
        morph_store(f->me, p, &p->left, p);
    }
    return true;
}

static NOINLINE bool batch_store_dirty(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        struct node *p = f->dirty;
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
        morph_store(f->me, p, &p->left, p);
    }
    return true;
}

static NOINLINE bool batch_store_clean(struct fixture *f)
{
    void **p = f->card + BATCH <= CARDS ? f->vector + f->card * CARD : NULL;
    f->card += BATCH;
    for (unsigned i = 0; i < BATCH; i++) {
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
        morph_store(f->me, f->vector, p, NULL);
        p += CARD;
    }
    return true;
}

static NOINLINE bool batch_frame(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        struct pair *p = morph_frame_push(f->me, sizeof *p);
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
        morph_frame_pop(f->me, p);
    }
    return true;
}

static NOINLINE bool batch_poll(struct fixture *f)
{
    for (unsigned i = 0; i < BATCH; i++) {
        void *p = f;
        __asm__ volatile("" : "+r"(p) : : "memory");
        if (!p)
            return false;
        morph_poll(f->me);
    }
    return true;
}

static const struct path { const char *name; bool (*batch)(struct fixture *f); bool collected; } paths[] = {
    { "none", batch_none, false }, { "new", batch_new, false }, { "object", batch_object, false }, { "bytes", batch_bytes, false },
    { "malloc", batch_malloc, false }, { "malloc_free", batch_malloc_free, false }, { "free", batch_free, false },
    { "gc_new", batch_new, true }, { "gc_array", batch_array, true }, { "gc_bytes", batch_raw, true },
    { "store_young", batch_store_young, true }, { "store_dirty", batch_store_dirty, true }, { "store_clean", batch_store_clean, true },
    { "frame", batch_frame, true }, { "poll", batch_poll, true },
};

/* What stores go to: all old but `young`. The cards of fresh old memory are clean, that of `dirty` from its first store on is not. */
static int targets_make(struct fixture *f)
{
    f->young = morph_new(f->me, f->type);
    f->dirty = morph_new_hint(f->me, f->type, MORPH_HINT_LONG);
    f->vector = morph_new_array(f->me, f->array, CARDS * CARD);
    if (!f->young || !f->dirty || !f->vector)
        return MORPH_ENOMEM;
    morph_store(f->me, f->dirty, &f->dirty->left, f->young);
    return 0;
}

static int fixture_open(struct fixture *f, bool collected, const char *socket)
{
    morph_options options = { .mode = MORPH_COMPILER, .name = "fast-paths", .limit_bytes = 256 << 20, .socket = socket };
    morph_type_spec spec = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) };
    morph_type_spec array = { .name = "array", .element_bytes = sizeof(void *), .element_refs = MORPH_ELEMENT_IS_REF };
    if (collected) {
        options.mode = MORPH_RUNTIME;
        options.limit_bytes = 512 << 20;
        options.young_min_bytes = options.young_max_bytes = 128 << 20;
    }
    int r = morph_heap_open(&f->heap, &options);
    if (r == 0)
        r = morph_thread_attach(f->heap, &f->me);
    if (r == 0)
        r = morph_type_register(f->heap, &spec, &f->type);
    if (r == 0)
        r = morph_type_register(f->heap, &array, &f->array);
    if (r == 0 && collected)
        r = targets_make(f);
    if (r == 0)
        r = morph_arena_new(f->me, &f->arena);
    return r ? r : morph_pool_new(f->me, 0, &f->pool);
}

int main(int count, char **arguments)
{
    struct fixture fixture = { .card = 0 };
    const struct path *path = NULL;
    for (size_t i = 0; count >= 3 && i < sizeof paths / sizeof paths[0]; i++)
        if (strcmp(paths[i].name, arguments[1]) == 0)
            path = &paths[i];
    unsigned long n = path ? strtoul(arguments[2], NULL, 10) : 0;
    if (n == 0) {
        fprintf(stderr, "usage: fast_paths PATH N [SOCKET]\npaths:");
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
            fprintf(stderr, " %s", paths[i].name);
        fprintf(stderr, "\n");
        return 2;
    }
    int r = fixture_open(&fixture, path->collected, count > 3 ? arguments[3] : NULL);
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
