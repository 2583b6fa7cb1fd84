/* marking.int.c — collections that mark while their threads run, and that empty blocks when the marking ends: a real daemon, one or several
 * threads that move references about as fast as they can, and every object looked at afterwards.
 *
 * Seeded: MORPH_TEST_SEED replays. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define CELLS     40000u
#define THREADS   3u
#define MAJORS    (test_slowness() > 1 ? 2u : 6u)       /* to be seen in each case */
#define PATIENCE  200000u       /* rounds in which the markings that are waited for must have ended */

struct node { struct node *behind; uint64_t number, check; };
struct vector { uint64_t length; struct node *cell[]; };

struct world { morph_heap *heap; morph_type node, vector; uint64_t id, seed; unsigned behind; };       /* behind: nodes that hang behind each, to begin with */

static struct world world_open(const char *name, enum morph_mode mode, uint64_t limit_bytes)
{
    struct world w = { .seed = test_random_begin("marking").state };
    assert_ok(morph_heap_open(&w.heap, &(morph_options){ .mode = mode, .name = name, .limit_bytes = limit_bytes, .young_max_bytes = 1 * MiB,
                                                         .young_min_bytes = 256 * KiB, .no_autospawn = true }));
    assert_ok(morph_type_register(w.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node),
        .refs = MORPH_REFS(struct node, behind) }, &w.node));
    assert_ok(morph_type_register(w.heap, &(morph_type_spec){ .name = "vector", .bytes = 8, .element_bytes = 8,
        .element_refs = MORPH_ELEMENT_IS_REF }, &w.vector));
    w.id = morph_heap_id(w.heap);
    return w;
}

struct player {
    const struct world *w;
    morph_thread       *me;
    struct test_random  random;
    unsigned            index;
    char                complaint[160];
};

struct frame { struct vector *vector; struct node *held; };

static struct node *node_new(struct player *p, uint64_t number)
{
    struct node *node = morph_new(p->me, p->w->node);
    if (!node) {
        snprintf(p->complaint, sizeof p->complaint, "no node: %s", morph_strerror(morph_thread_error(p->me)));
        return NULL;
    }
    node->number = number;
    node->check = ~number;
    return node;
}

static bool fill(struct player *p, struct frame *f)
{
    f->vector = morph_new_array(p->me, p->w->vector, CELLS);
    for (uint32_t i = 0; f->vector && i < CELLS; i++) {
        struct node *node = node_new(p, i);
        for (unsigned n = 0; node && n < p->w->behind; n++) {
            f->held = node;
            if ((node = node_new(p, i)))
                node->behind = f->held;
        }
        if (!node)
            return false;
        morph_store(p->me, f->vector, &f->vector->cell[i], node);
    }
    return f->vector != NULL;
}

static bool intact(struct player *p, const struct node *node)
{
    if (node && node->number < CELLS && node->check == ~node->number && (!node->behind || node->behind->check == ~node->behind->number))
        return true;
    snprintf(p->complaint, sizeof p->complaint, "a node is spoiled");
    return false;
}

/* Two cells change places, one of them by way of a frame only; and some nodes are replaced, with the old one hung behind the new one. */
static bool shuffle(struct player *p, struct frame *f)
{
    for (unsigned n = 0; n < 64; n++) {
        struct node **a = &f->vector->cell[test_random_below(&p->random, CELLS)], **b = &f->vector->cell[test_random_below(&p->random, CELLS)];
        f->held = *a;
        if (!intact(p, *a) || !intact(p, *b))
            return false;
        morph_store(p->me, f->vector, a, *b);
        morph_store(p->me, f->vector, b, f->held);
    }
    for (unsigned n = 0; n < 16; n++) {
        uint32_t i = (uint32_t)test_random_below(&p->random, CELLS);
        f->held = f->vector->cell[i];
        struct node *made = node_new(p, f->held->number);
        if (!made)
            return false;
        if (n % 4 == 0) {                       /* what was behind the old one dies with it; else it dies itself */
            made->behind = f->held;
            morph_store(p->me, f->held, &f->held->behind, NULL);
        }
        morph_store(p->me, f->vector, &f->vector->cell[i], made);
    }
    return true;
}

/* Every number is there once. */
static void look(struct player *p, const struct frame *f)
{
    uint8_t *seen = calloc(CELLS, 1);
    for (uint32_t i = 0; i < CELLS && !p->complaint[0]; i++)
        if (intact(p, f->vector->cell[i]) && seen[f->vector->cell[i]->number]++)
            snprintf(p->complaint, sizeof p->complaint, "number %llu is there twice", (unsigned long long)f->vector->cell[i]->number);
    free(seen);
}

static void *play(void *argument)
{
    struct player *p = argument;
    int r = morph_thread_attach(p->w->heap, &p->me);
    if (r < 0) {
        snprintf(p->complaint, sizeof p->complaint, "not attached: %s", morph_strerror(r));
        return NULL;
    }
    struct frame *f = morph_frame_push(p->me, sizeof *f);
    if (fill(p, f)) {
        for (unsigned round = 0; round < PATIENCE && shuffle(p, f); round++) {
            morph_heap_stats stats;
            if (round % 512 == 0 && morph_heap_stats_get(p->w->heap, &stats) == 0 && test_heap_stat(p->w->id, "majors") >= MAJORS)
                break;
        }
        look(p, f);
    }
    morph_frame_pop(p->me, f);
    (void)morph_thread_detach(p->me);
    return NULL;
}

static void players_run(struct world *w, unsigned count)
{
    struct player player[THREADS];
    pthread_t thread[THREADS];
    for (unsigned i = 0; i < count; i++) {
        player[i] = (struct player){ .w = w, .random = { w->seed + i }, .index = i };
        assert_int_equal(pthread_create(&thread[i], NULL, play, &player[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < count; i++)
        if (player[i].complaint[0])
            fail_msg("MORPH_TEST_SEED=%llu: thread %u: %s", (unsigned long long)w->seed, i, player[i].complaint);
}

/* ---- Cases ---- */

static void references_move_about_while_marking_goes_on(void **state)
{
    for (enum morph_mode mode = MORPH_RUNTIME; mode <= MORPH_SERVER; mode++) {
        struct test_daemon *daemon = test_daemon_start("--old-min=1M", "--verify=full", "--log-level=warning", NULL);
        struct world w = world_open("shuffle", mode, 64 * MiB);
        players_run(&w, mode == MORPH_RUNTIME ? 1 : THREADS);
        assert_true(test_heap_stat(w.id, "majors") >= MAJORS);
        assert_true(test_heap_stat(w.id, "markings") >= 1);
        assert_ok(morph_heap_close(w.heap));
        test_daemon_stop(daemon);
    }
}

/* Of a large heap workers that have nothing to do mark a part, in the same slices; what lies behind each node is as it was. */
static void others_help_to_mark(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--workers=3", "--old-min=1M", "--log-level=warning", NULL);
    struct world w = world_open("helped", MORPH_SERVER, 384 * MiB);
    struct player p = { .w = &w, .random = { w.seed } };
    w.behind = 80;
    assert_ok(morph_thread_attach(w.heap, &p.me));
    struct frame *f = morph_frame_push(p.me, sizeof *f);
    assert_true(fill(&p, f));
    for (unsigned round = 0; round < CELLS && (round % 16 || test_heap_stat(w.id, "mark_helped") < 100); round++) {
        uint32_t i = round;
        struct node *made = node_new(&p, i);
        assert_non_null(made);
        made->behind = f->vector->cell[i]->behind;          /* the same chain, behind a new one: what was overwritten leads to it */
        morph_store(p.me, f->vector, &f->vector->cell[i], made);
        for (unsigned n = 0; n < 2000; n++)
            assert_non_null(node_new(&p, n));
    }
    assert_true(test_heap_stat(w.id, "mark_helped") >= 100);
    look(&p, f);
    for (uint32_t i = 0; i < CELLS; i++) {
        unsigned chain = 0;
        for (const struct node *node = f->vector->cell[i]->behind; node; node = node->behind, chain++)
            assert_true(node->number == i && node->check == ~node->number);
        assert_int_equal(chain, w.behind);
    }
    assert_string_equal(p.complaint, "");
    morph_frame_pop(p.me, f);
    assert_ok(morph_thread_detach(p.me));
    assert_ok(morph_heap_close(w.heap));
    test_daemon_stop(daemon);
}

/* A fill overwrites far more references than the log has room for: the thread waits for the daemon again and again, and gets on. */
static void a_full_log_is_waited_for(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--old-min=1M", "--log-level=warning", NULL);
    struct world w = world_open("flood", MORPH_RUNTIME, 128 * MiB);
    struct player p = { .w = &w, .random = { w.seed } };
    assert_ok(morph_thread_attach(w.heap, &p.me));
    struct frame *f = morph_frame_push(p.me, sizeof *f);
    assert_true(fill(&p, f));
    for (unsigned round = 0; round < PATIENCE && test_heap_stat(w.id, "markings") < 4; round++) {
        f->held = f->vector->cell[round % CELLS];
        assert_true(intact(&p, f->held));
        struct vector *other = morph_new_array(p.me, w.vector, CELLS);
        assert_non_null(other);
        morph_copy_refs(p.me, other, other->cell, f->vector->cell, CELLS);
        morph_fill_refs(p.me, f->vector, f->vector->cell, f->held, CELLS);
        f->vector = other;
    }
    assert_true(test_heap_stat(w.id, "markings") >= 4);
    look(&p, f);
    assert_string_equal(p.complaint, "");
    morph_frame_pop(p.me, f);
    assert_ok(morph_thread_detach(p.me));
    assert_ok(morph_heap_close(w.heap));
    test_daemon_stop(daemon);
}

/* The option takes it back: everything in one pause. */
static void without_it_there_is_one_pause(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--old-min=1M", "--concurrent=no", "--log-level=warning", NULL);
    struct world w = world_open("paused", MORPH_RUNTIME, 64 * MiB);
    players_run(&w, 1);
    assert_true(test_heap_stat(w.id, "majors") >= MAJORS);
    assert_int_equal(test_heap_stat(w.id, "markings"), 0);
    assert_ok(morph_heap_close(w.heap));
    test_daemon_stop(daemon);
}

/* Nine of ten objects die, in every block: compaction leaves what lives in a tenth of the blocks, and large ones have room again. */
static void compaction_makes_whole_blocks_free(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--verify=full", "--log-level=warning", NULL);
    struct world w = world_open("sieve", MORPH_SERVER, 64 * MiB);
    struct player p = { .w = &w, .random = { w.seed } };
    assert_ok(morph_thread_attach(w.heap, &p.me));
    struct frame *f = morph_frame_push(p.me, sizeof *f);
    f->vector = morph_new_array(p.me, w.vector, 400000);
    assert_non_null(f->vector);
    for (uint32_t i = 0; i < 400000; i++) {
        struct node *node = node_new(&p, i % CELLS);
        assert_non_null(node);
        morph_store(p.me, f->vector, &f->vector->cell[i], node);
    }
    for (uint32_t i = 0; i < 400000; i++)
        if (test_random_below(&p.random, 10))
            morph_store(p.me, f->vector, &f->vector->cell[i], NULL);
    assert_ok(morph_collect(p.me, MORPH_COLLECT_MAJOR));
    uint64_t before = test_heap_stat(w.id, "granted_bytes");
    assert_ok(morph_collect(p.me, MORPH_COLLECT_COMPACT));
    uint64_t vector = 400000 * 8 + MiB, live = 40000 * 48, most = vector + live * 3 / 2 + MiB;
    uint64_t after = test_heap_stat(w.id, "granted_bytes");
    if (after > most || before < after * 2)
        fail_msg("%llu bytes granted before, %llu after", (unsigned long long)before, (unsigned long long)after);
    for (uint32_t i = 0; i < 400000; i++)
        assert_true(!f->vector->cell[i] || (intact(&p, f->vector->cell[i]) && f->vector->cell[i]->number == i % CELLS));
    morph_frame_pop(p.me, f);
    assert_ok(morph_thread_detach(p.me));
    assert_ok(morph_heap_close(w.heap));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(references_move_about_while_marking_goes_on),
        test_case(others_help_to_mark),
        test_case(a_full_log_is_waited_for),
        test_case(without_it_there_is_one_pause),
        test_case(compaction_makes_whole_blocks_free),
    };
    return test_run(cases);
}
