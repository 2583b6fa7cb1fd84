/* property.int.c — arenas and pools against a plain model: any seeded sequence of allocations, marks, resets, reallocs and
 * frees, by several threads in several heaps. Every allocation has a pattern of its own, checked when it goes and at the end of
 * each round; no two live ones overlap; all are aligned; and what the daemon counts is what the model has.
 */
#include <pthread.h>
#include <stdlib.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define LIVE_MAX   3000u
#define MARKS_MAX  8u
#define THREADS    3u
#define HEAPS      2u

struct live {
    unsigned char *at;
    size_t   bytes;
    uint64_t number;            /* of its pattern */
    bool     typed;
};

/* One thread with an arena and a pool, and the model of both. */
struct player {
    struct test_random random;
    morph_heap   *heap;
    morph_thread *me;
    morph_arena  *arena;
    morph_pool   *pool;
    morph_type    type;
    struct live   in_arena[LIVE_MAX], in_pool[LIVE_MAX];
    unsigned      arena_count, pool_count;
    struct { morph_mark mark; unsigned count; } marks[MARKS_MAX];
    unsigned      mark_count;
    uint64_t      next_number;
    const char   *complaint;
};

#define COMPLAIN(player, condition)                                                     \
    do {                                                                                \
        if (!(condition)) {                                                             \
            (player)->complaint = #condition;                                           \
            return;                                                                     \
        }                                                                               \
    } while (0)

static bool intact(const struct live *live)
{
    return client_intact(live->at, live->bytes, live->number);
}

static void live_new(struct player *p, struct live *live, void *at, size_t bytes, bool typed)
{
    *live = (struct live){ at, bytes, p->next_number++, typed };
    client_fill(at, bytes, live->number);
}

/* ---- Moves in the arena ---- */

static void arena_forget(struct player *p, unsigned down_to)
{
    for (unsigned i = down_to; i < p->arena_count; i++)
        COMPLAIN(p, intact(&p->in_arena[i]));
    p->arena_count = down_to;
}

static void arena_alloc(struct player *p)
{
    if (p->arena_count == LIVE_MAX)
        return;
    size_t bytes = test_random_size(&p->random, test_random_below(&p->random, 200) ? 2000 : 3 * MiB);
    unsigned kind = (unsigned)test_random_below(&p->random, 5);
    uint32_t alignment = kind == 2 ? 1u << test_random_below(&p->random, 17) : 16;
    void *at = NULL;
    if (kind == 0)
        at = morph_arena_bytes(p->arena, bytes);
    else if (kind == 1)
        at = morph_arena_bytes_zeroed(p->arena, bytes);
    else if (kind == 2)
        at = morph_arena_aligned(p->arena, bytes, alignment);
    else if (kind == 3)
        at = morph_arena_new_array(p->arena, p->type, bytes / 8), bytes = bytes / 8 * 8 + 24;
    else
        at = morph_arena_new_object(p->arena, p->type), bytes = 24;
    COMPLAIN(p, at != NULL);
    COMPLAIN(p, (uintptr_t)at % alignment == 0);
    COMPLAIN(p, kind != 1 || client_zero(at, bytes));
    COMPLAIN(p, kind < 3 || morph_object_bytes(at) == bytes);
    live_new(p, &p->in_arena[p->arena_count++], at, bytes, kind >= 3);
}

static void arena_mark(struct player *p)
{
    if (p->mark_count == MARKS_MAX)
        return;
    p->marks[p->mark_count].mark = morph_arena_mark(p->arena);
    p->marks[p->mark_count++].count = p->arena_count;
}

static void arena_release(struct player *p)
{
    if (p->mark_count == 0)
        return;
    unsigned to = (unsigned)test_random_below(&p->random, p->mark_count);
    arena_forget(p, p->marks[to].count);
    COMPLAIN(p, morph_arena_release(p->arena, p->marks[to].mark) == 0);
    COMPLAIN(p, to + 1 >= p->mark_count || morph_arena_release(p->arena, p->marks[to + 1].mark) == MORPH_EINVALID ||
                    p->marks[to + 1].count == p->marks[to].count);
    p->mark_count = to;
}

static void arena_reset(struct player *p)
{
    arena_forget(p, 0);
    morph_arena_reset(p->arena);
    p->mark_count = 0;
}

/* ---- Moves in the pool ---- */

static void pool_alloc(struct player *p)
{
    if (p->pool_count == LIVE_MAX)
        return;
    size_t bytes = test_random_size(&p->random, test_random_below(&p->random, 200) ? 3000 : 4 * MiB);
    bool zeroed = test_random_below(&p->random, 4) == 0;
    void *at = zeroed ? morph_calloc(p->pool, 1, bytes) : morph_malloc(p->pool, bytes);
    COMPLAIN(p, at != NULL);
    COMPLAIN(p, (uintptr_t)at % 16 == 0 && morph_usable(p->pool, at) >= bytes);
    COMPLAIN(p, !zeroed || client_zero(at, bytes));
    live_new(p, &p->in_pool[p->pool_count++], at, bytes, false);
}

static void pool_free(struct player *p)
{
    if (p->pool_count == 0)
        return;
    unsigned which = (unsigned)test_random_below(&p->random, p->pool_count);
    struct live *live = &p->in_pool[which];
    COMPLAIN(p, intact(live));
    COMPLAIN(p, morph_free(p->pool, live->at) == 0);
    COMPLAIN(p, morph_free(p->pool, live->at) == MORPH_EINVALID);           /* once is enough */
    *live = p->in_pool[--p->pool_count];
}

static void pool_realloc(struct player *p)
{
    if (p->pool_count == 0)
        return;
    struct live *live = &p->in_pool[test_random_below(&p->random, p->pool_count)];
    size_t bytes = test_random_size(&p->random, test_random_below(&p->random, 50) ? 6000 : 2 * MiB);
    size_t kept = bytes < live->bytes ? bytes : live->bytes;
    COMPLAIN(p, intact(live));
    void *at = morph_realloc(p->pool, live->at, bytes);
    COMPLAIN(p, at != NULL);
    COMPLAIN(p, client_intact(at, kept, live->number));
    live_new(p, live, at, bytes, false);
}

/* Pointers that are nothing of the pool's: refused, and no damage. */
static void pool_misuse(struct player *p)
{
    if (p->pool_count == 0 || p->arena_count == 0)
        return;
    struct live *mine = &p->in_pool[test_random_below(&p->random, p->pool_count)];
    struct live *other = &p->in_arena[test_random_below(&p->random, p->arena_count)];
    COMPLAIN(p, morph_free(p->pool, mine->at + 1 + test_random_below(&p->random, 15)) == MORPH_EINVALID);
    COMPLAIN(p, morph_free(p->pool, other->at) == MORPH_EINVALID);
    COMPLAIN(p, morph_free(p->pool, p) == MORPH_EINVALID);
    COMPLAIN(p, intact(mine) && intact(other));
}

static const struct { void (*make)(struct player *p); unsigned weight; } moves[] = {
    { arena_alloc, 40 }, { arena_mark, 2 }, { arena_release, 1 }, { pool_alloc, 25 }, { pool_free, 23 }, { pool_realloc, 8 }, { pool_misuse, 2 },
};

static void move(struct player *p)
{
    unsigned lot = (unsigned)test_random_below(&p->random, 101), at = 0;
    for (; at < sizeof moves / sizeof moves[0] && lot >= moves[at].weight; at++)
        lot -= moves[at].weight;
    if (at < sizeof moves / sizeof moves[0])
        moves[at].make(p);
    else if (test_random_below(&p->random, 20) == 0)
        arena_reset(p);
}

/* ---- Judging ---- */

static int by_address(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct live *)a)->at, right = (uintptr_t)((const struct live *)b)->at;
    return left < right ? -1 : left > right;
}

/* All live allocations of the heap's players: intact, and apart (typed ones with the 16 bytes before them). */
static void judge(struct player *player, unsigned count)
{
    struct live *all = malloc(sizeof *all * 2 * LIVE_MAX * count);
    unsigned live = 0;
    assert_non_null(all);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < player[i].arena_count; j++)
            all[live++] = player[i].in_arena[j];
        for (unsigned j = 0; j < player[i].pool_count; j++)
            all[live++] = player[i].in_pool[j];
    }
    qsort(all, live, sizeof *all, by_address);
    for (unsigned i = 0; i < live; i++) {
        assert_true(intact(&all[i]));
        if (i > 0 && all[i - 1].at + all[i - 1].bytes > all[i].at - (all[i].typed ? 16 : 0))
            fail_msg("%p + %zu and %p overlap", (void *)all[i - 1].at, all[i - 1].bytes, (void *)all[i].at);
    }
    free(all);
}

/* What the daemon counts from outside, against the model. */
static void judge_counts(struct player *player, unsigned count)
{
    uint64_t heap = morph_heap_id(player[0].heap), pooled = 0, typed = 0;
    for (unsigned i = 0; i < count; i++) {
        pooled += player[i].pool_count;
        for (unsigned j = 0; j < player[i].arena_count; j++)
            typed += player[i].in_arena[j].typed;
    }
    assert_int_equal(test_heap_stat(heap, "pool_objects"), pooled);
    if (typed > 0)
        assert_int_equal(test_type_named(heap, "item").objects, typed);
}

/* ---- Play ---- */

static void *play(void *context)
{
    struct player *p = context;
    unsigned steps = 4000 / test_slowness();
    for (unsigned i = 0; i < steps && !p->complaint; i++)
        move(p);
    return NULL;
}

static void *enter(void *context)
{
    struct player *p = context;
    if (morph_thread_attach(p->heap, &p->me) < 0 || morph_arena_new(p->me, &p->arena) < 0 || morph_pool_new(p->me, 0, &p->pool) < 0)
        p->complaint = "could not attach";
    return NULL;
}

static void *leave(void *context)
{
    struct player *p = context;
    morph_arena_free(p->arena);
    morph_pool_free(p->pool);
    if (morph_thread_detach(p->me) < 0)
        p->complaint = "could not detach";
    return NULL;
}

/* Every player does this at once, each in a thread: what belongs to an attached thread is handed on by joining. */
static void all_do(struct player *player, unsigned count, void *(*what)(void *))
{
    pthread_t thread[THREADS * HEAPS];
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, what, &player[i]), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < count; i++)
        if (player[i].complaint)
            fail_msg("player %u: %s (thread: %s, pool: %s)", i, player[i].complaint, morph_error_name(morph_thread_error(player[i].me)),
                     morph_error_name(morph_pool_error(player[i].pool)));
}

static void heap_is_as_the_model(void **state)
{
    static struct player player[HEAPS * THREADS];
    struct test_random random = test_random_begin("property");
    struct test_daemon *daemon = test_daemon_start(NULL);
    const uint32_t refs[] = { 0 };
    memset(player, 0, sizeof player);
    for (unsigned h = 0; h < HEAPS; h++) {
        morph_heap *heap;
        morph_type type;
        assert_ok(morph_heap_open(&heap, &(morph_options){ .name = "model", .limit_bytes = 1024 * MiB }));
        assert_ok(morph_type_register(heap, &(morph_type_spec){ .name = "item", .bytes = 24, .element_bytes = 8, .element_refs = { refs, 1 } }, &type));
        for (unsigned t = 0; t < THREADS; t++) {
            struct player *p = &player[h * THREADS + t];
            p->random.state = test_random_next(&random);
            p->heap = heap;
            p->type = type;
            p->next_number = (uint64_t)(h * THREADS + t) << 32;
        }
    }
    all_do(player, HEAPS * THREADS, enter);
    for (unsigned round = 0; round < 6; round++) {
        all_do(player, HEAPS * THREADS, play);
        judge(player, HEAPS * THREADS);
        for (unsigned h = 0; h < HEAPS; h++)
            judge_counts(player + h * THREADS, THREADS);
    }
    all_do(player, HEAPS * THREADS, leave);
    for (unsigned h = 0; h < HEAPS; h++)
        assert_ok(morph_heap_close(player[h * THREADS].heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(heap_is_as_the_model) };
    return test_run(cases);
}
