/* gc_roots.int.c — one small case for each kind of root and each rule of the API of collected heaps: what keeps an object alive, what does
 * not, what moves and what may not, what is told when something does not fit, and that nothing is lost over it.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "shm/handle.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

struct node { struct node *left, *right; uint64_t number; };
struct pair { void *key, *value; };

/* A heap with types, one thread, and a daemon that looks twice. */
struct gc {
    struct test_daemon *daemon;
    morph_heap   *heap;
    morph_thread *me;
    morph_type    node, vector, weak, pair, pairs;
};

static void types_register(struct gc *gc)
{
    const morph_refs element = MORPH_ELEMENT_IS_REF, two = MORPH_REFS(struct pair, key, value);
    assert_ok(morph_type_register(gc->heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node),
                                                                .refs = MORPH_REFS(struct node, left, right) }, &gc->node));
    assert_ok(morph_type_register(gc->heap, &(morph_type_spec){ .name = "vector", .element_bytes = 8, .element_refs = element }, &gc->vector));
    assert_ok(morph_type_register(gc->heap, &(morph_type_spec){ .name = "weak", .element_bytes = 8, .element_refs = element,
                                                                .flags = MORPH_TYPE_WEAK }, &gc->weak));
    assert_ok(morph_type_register(gc->heap, &(morph_type_spec){ .name = "pair", .bytes = sizeof(struct pair), .refs = two,
                                                                .flags = MORPH_TYPE_EPHEMERON }, &gc->pair));
    assert_ok(morph_type_register(gc->heap, &(morph_type_spec){ .name = "pairs", .element_bytes = sizeof(struct pair), .element_refs = two,
                                                                .flags = MORPH_TYPE_EPHEMERON }, &gc->pairs));
}

static struct gc gc_begin_with(const morph_options *options, const char *option)
{
    struct gc gc = { .daemon = test_daemon_start("--stop-deadline=20000", option ? option : "--verify=full", NULL) };     /* a busy machine is no deaf thread */
    morph_options all = *options;
    all.name = "roots";
    all.mode = MORPH_RUNTIME;
    all.no_autospawn = true;
    all.timeout_ms = 20000;
    assert_ok(morph_heap_open(&gc.heap, &all));
    assert_ok(morph_thread_attach(gc.heap, &gc.me));
    types_register(&gc);
    return gc;
}

static struct gc gc_begin(uint64_t limit_bytes) { return gc_begin_with(&(morph_options){ .limit_bytes = limit_bytes }, NULL); }

static void gc_end(struct gc *gc)
{
    assert_ok(morph_thread_detach(gc->me));
    assert_ok(morph_heap_close(gc->heap));
    test_daemon_stop(gc->daemon);
}

static struct node *node_new(struct gc *gc, uint64_t number)
{
    struct node *node = morph_new(gc->me, gc->node);
    assert_non_null(node);
    node->number = number;
    return node;
}

static void minor(struct gc *gc) { assert_ok(morph_collect(gc->me, MORPH_COLLECT_MINOR)); }
static void major(struct gc *gc) { assert_ok(morph_collect(gc->me, MORPH_COLLECT_MAJOR)); }

/* Old for certain: the default promotion age is 3. */
static void grow_old(struct gc *gc)
{
    for (unsigned i = 0; i < 5; i++)
        minor(gc);
}

static bool gone(struct gc *gc, morph_handle weak) { return morph_handle_get(gc->me, weak) == NULL; }

/* A figure of the heap's latest receipt. */
static uint64_t receipt(struct gc *gc, const char *key)
{
    struct wire_packet packet;
    uint64_t value = UINT64_MAX;
    int fd = wire_hello(NULL);
    wire_packet_init(&packet, WIRE_LOG, 2, 1);
    wire_field_u64(&packet, "heap", morph_heap_id(gc->heap));
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    for (bool last = false; !last;) {
        struct wire_answer answer;
        assert_int_equal(wire_receive(fd, &answer, 10000), 1);
        assert_int_equal(answer.id, WIRE_REPORT);
        const msgpack_object *body = wire_field(&answer.body, "body");
        last = wire_u64(&answer.body, "last");
        if (body && wire_field(body, key))
            value = wire_u64(body, key);
        wire_answer_fini(&answer);
    }
    close(fd);
    assert_true(value != UINT64_MAX);
    return value;
}

/* ---- Roots ---- */

static void frames_hold_and_let_go(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    struct node **outer = morph_frame_push(gc.me, 16), **inner;
    outer[0] = node_new(&gc, 1);
    inner = morph_frame_push(gc.me, 24);
    assert_true(client_zero(inner, 24));
    inner[2] = node_new(&gc, 2);
    inner[2]->left = outer[0];
    morph_handle second = morph_handle_new_weak(gc.me, inner[2]), first = morph_handle_new_weak(gc.me, outer[0]);
    struct node *before = outer[0];
    minor(&gc);
    assert_ptr_not_equal(outer[0], before);                         /* it has moved, or this case shows nothing */
    assert_int_equal(outer[0]->number, 1);
    assert_int_equal(inner[2]->number, 2);
    assert_ptr_equal(inner[2]->left, outer[0]);
    major(&gc);
    assert_ptr_equal(inner[2]->left, outer[0]);
    morph_frame_pop(gc.me, inner);
    major(&gc);
    assert_true(gone(&gc, second) && !gone(&gc, first));
    inner = morph_frame_push(gc.me, 24);
    assert_true(client_zero(inner, 24));                            /* what lay there before is nobody's root */
    morph_frame_pop(gc.me, inner);
    morph_frame_pop(gc.me, outer);
    major(&gc);
    assert_true(gone(&gc, first));
    gc_end(&gc);
}

static void variables_are_written_back(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    void *a = NULL, *b = NULL;
    assert_ok(morph_root_push(gc.me, &a));
    assert_ok(morph_root_push(gc.me, &b));
    a = node_new(&gc, 1);
    b = node_new(&gc, 2);
    ((struct node *)b)->left = a;
    void *before = a;
    minor(&gc);
    assert_ptr_not_equal(a, before);
    assert_ptr_equal(((struct node *)b)->left, a);
    morph_handle weak = morph_handle_new_weak(gc.me, b);
    morph_root_pop(gc.me, 1);
    major(&gc);
    assert_true(gone(&gc, weak));
    assert_int_equal(((struct node *)a)->number, 1);
    morph_root_pop(gc.me, 1);
    for (unsigned i = 0; i < 5000; i++)                             /* the list of addresses grows */
        assert_ok(morph_root_push(gc.me, &a));
    a = node_new(&gc, 3);
    minor(&gc);
    assert_int_equal(((struct node *)a)->number, 3);
    morph_root_pop(gc.me, 5000);
    gc_end(&gc);
}

struct machine { void *stack[100]; unsigned depth; unsigned visits; };

static void machine_visit(void *argument, morph_root_report report, void *to)
{
    struct machine *machine = argument;
    machine->visits++;
    for (unsigned i = 0; i < machine->depth; i++)
        report(to, &machine->stack[i]);
}

static void a_machines_own_stack(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    struct machine machine = { .depth = 0 };
    assert_ok(morph_thread_on_roots(gc.me, machine_visit, &machine));
    for (unsigned i = 0; i < 100; i++) {
        machine.stack[i] = node_new(&gc, i);
        machine.depth++;
        if (i % 10 == 0)
            minor(&gc);
    }
    major(&gc);
    assert_true(machine.visits > 10);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(((struct node *)machine.stack[i])->number, i);
    morph_handle kept = morph_handle_new_weak(gc.me, machine.stack[9]), dropped = morph_handle_new_weak(gc.me, machine.stack[10]);
    machine.depth = 10;
    major(&gc);
    assert_true(!gone(&gc, kept) && gone(&gc, dropped));
    assert_ok(morph_thread_on_roots(gc.me, NULL, NULL));
    major(&gc);
    assert_true(gone(&gc, kept));
    gc_end(&gc);
}

static void handles_strong_and_weak(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    morph_handle strong = morph_handle_new(gc.me, node_new(&gc, 1)), weak = morph_handle_new_weak(gc.me, morph_handle_get(gc.me, strong));
    minor(&gc);
    assert_ptr_equal(morph_handle_get(gc.me, strong), morph_handle_get(gc.me, weak));
    assert_int_equal(((struct node *)morph_handle_get(gc.me, strong))->number, 1);
    grow_old(&gc);
    morph_handle_set(gc.me, strong, node_new(&gc, 2));              /* an old entry, a young object */
    minor(&gc);
    assert_int_equal(((struct node *)morph_handle_get(gc.me, strong))->number, 2);
    major(&gc);
    assert_true(gone(&gc, weak));
    morph_handle_set(gc.me, weak, morph_handle_get(gc.me, strong));
    assert_false(gone(&gc, weak));
    morph_handle_free(gc.me, strong);
    assert_null(morph_handle_get(gc.me, strong));
    major(&gc);
    assert_true(gone(&gc, weak));
    morph_handle again = morph_handle_new(gc.me, NULL);
    assert_int_equal(again.index, strong.index);                    /* entries are used again */
    assert_null(morph_handle_get(gc.me, (morph_handle){ 0 }));
    gc_end(&gc);
}

static void pins_hold_still(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    struct node *pinned = node_new(&gc, 1);
    assert_ok(morph_pin(gc.me, pinned));
    assert_ok(morph_pin(gc.me, pinned));
    struct node *friend = node_new(&gc, 2);
    morph_store(gc.me, pinned, &pinned->left, friend);
    for (unsigned i = 0; i < 6; i++) {
        assert_ok(morph_collect(gc.me, (enum morph_collection)(i % 3)));
        assert_int_equal(pinned->number, 1);
        assert_int_equal(pinned->left->number, 2);
        for (unsigned k = 0; k < 3000; k++)                         /* what lay around it is used again */
            (void)node_new(&gc, 99);
    }
    assert_ok(morph_unpin(gc.me, pinned));
    major(&gc);
    assert_int_equal(pinned->number, 1);
    morph_handle weak = morph_handle_new_weak(gc.me, pinned);
    assert_ok(morph_unpin(gc.me, pinned));
    assert_error(morph_unpin(gc.me, pinned), MORPH_EINVALID);
    major(&gc);
    assert_true(gone(&gc, weak));
    assert_error(morph_pin(gc.me, NULL), MORPH_EINVALID);
    gc_end(&gc);
}

static void sets_by_letter(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    static void *set[2000];
    for (unsigned i = 0; i < 2000; i++) {                           /* more than one packet */
        void **frame = morph_frame_push(gc.me, 8);
        frame[0] = node_new(&gc, i);
        set[i] = frame[0];
    }
    int r = morph_roots_report(gc.me, 3, set, 2000);
    if (r == MORPH_EUNKNOWN)
        test_skip("the daemon does not answer ROOTS yet");
    assert_ok(r);
    for (unsigned i = 0; i < 2000; i++)
        morph_frame_pop(gc.me, (char *)gc.me + MORPH_ROOTS_OFF);
    void *before = set[0];
    minor(&gc);
    assert_ptr_not_equal(set[0], before);
    for (unsigned i = 0; i < 2000; i++)
        assert_int_equal(((struct node *)set[i])->number, i);
    morph_handle kept = morph_handle_new_weak(gc.me, set[0]), dropped = morph_handle_new_weak(gc.me, set[1]);
    assert_ok(morph_roots_report(gc.me, 3, set, 1));                /* the set anew: one of them */
    major(&gc);
    assert_true(!gone(&gc, kept) && gone(&gc, dropped));
    assert_ok(morph_roots_report(gc.me, 3, NULL, 0));
    major(&gc);
    assert_true(gone(&gc, kept));
    assert_error(morph_roots_report(gc.me, 3, set, (1u << 20) + 1), MORPH_EINVALID);
    gc_end(&gc);
}

/* ---- Weak things ---- */

static void weak_objects_forget(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    void ***frame = morph_frame_push(gc.me, 16);
    for (unsigned age = 0; age < 2; age++) {
        frame[0] = morph_new_array(gc.me, gc.weak, age ? 4000 : 10);      /* the second one is a large object */
        assert_non_null(frame[0]);
        if (!age)
            grow_old(&gc);
        frame[1] = (void **)node_new(&gc, 1);
        morph_store(gc.me, frame[0], &frame[0][0], frame[1]);
        void *other = node_new(&gc, 2);
        morph_store(gc.me, frame[0], &frame[0][9], other);
        minor(&gc);
        assert_ptr_equal(morph_weak_read(gc.me, &frame[0][0]), frame[1]);
        assert_null(morph_weak_read(gc.me, &frame[0][9]));
        grow_old(&gc);
        assert_ptr_equal(morph_weak_read(gc.me, &frame[0][0]), frame[1]);
        frame[1] = NULL;
        minor(&gc);
        assert_non_null(morph_weak_read(gc.me, &frame[0][0]));      /* old: a minor collection does not look */
        major(&gc);
        assert_null(morph_weak_read(gc.me, &frame[0][0]));
    }
    gc_end(&gc);
}

/* Keys that are reached only through other ephemerons' values; a value that leads to its own key. */
static void ephemerons_chain(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    enum { COUNT = 500 };
    void **frame = morph_frame_push(gc.me, 32);
    for (unsigned old = 0; old < 2; old++) {
        struct pair *pairs = frame[0] = morph_new_array(gc.me, gc.pairs, COUNT);
        frame[1] = frame[2] = node_new(&gc, 0);
        for (unsigned i = 0; i < COUNT; i++) {                      /* in the order that is the worst for a scan from the start */
            struct node *next = node_new(&gc, i + 1);
            pairs = frame[0];
            unsigned at = COUNT - 1 - i;
            morph_store(gc.me, pairs, &pairs[at].key, frame[2]);
            morph_store(gc.me, pairs, &pairs[at].value, next);
            frame[2] = next;
        }
        struct pair *cycle = frame[3] = morph_new(gc.me, gc.pair);
        struct node *key = node_new(&gc, 7);                        /* the next allocation: everything is in roots but `cycle` */
        cycle = frame[3];
        morph_store(gc.me, cycle, &cycle->key, key);
        struct node *value = node_new(&gc, 8);
        cycle = frame[3];
        value->left = cycle->key;
        morph_store(gc.me, cycle, &cycle->value, value);
        frame[2] = NULL;
        if (old)
            grow_old(&gc);
        major(&gc);
        cycle = frame[3];
        assert_null(morph_weak_read(gc.me, &cycle->key));           /* its value does not keep its key */
        assert_null(morph_weak_read(gc.me, &cycle->value));
        pairs = frame[0];
        struct node *at = frame[1];
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(at->number, i);
            assert_ptr_equal(morph_weak_read(gc.me, &pairs[COUNT - 1 - i].key), at);
            at = morph_weak_read(gc.me, &pairs[COUNT - 1 - i].value);
        }
        assert_int_equal(at->number, COUNT);
        frame[1] = NULL;
        major(&gc);
        pairs = frame[0];
        for (unsigned i = 0; i < COUNT; i++)
            assert_true(!pairs[i].key && !pairs[i].value);
    }
    gc_end(&gc);
}

static void finalizers_in_their_order(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    struct node **frame = morph_frame_push(gc.me, 24);
    for (uintptr_t i = 0; i < 300; i++) {
        frame[0] = node_new(&gc, i);
        frame[0]->left = frame[1];
        frame[1] = frame[0];
        assert_ok(morph_finalizer_set(gc.me, frame[0], (void *)(i * 2 + 1)));
    }
    assert_ok(morph_finalizer_set(gc.me, frame[1], (void *)1001));  /* several of one object */
    assert_ok(morph_finalizer_set(gc.me, frame[1], (void *)1002));
    void *word;
    major(&gc);
    assert_null(morph_finalizer_next(gc.me, &word));
    morph_handle weak = morph_handle_new_weak(gc.me, frame[1]);
    frame[0] = frame[1] = NULL;
    major(&gc);
    assert_true(gone(&gc, weak));
    for (uintptr_t i = 0; i < 300; i++) {
        struct node *told = morph_finalizer_next(gc.me, &word);
        assert_non_null(told);
        assert_int_equal((uintptr_t)word, i * 2 + 1);
        assert_int_equal(told->number, i);
        if (i % 50 == 10)
            minor(&gc);                                             /* those that wait are kept */
        if (i == 299)
            frame[2] = told;
    }
    assert_ptr_equal(morph_finalizer_next(gc.me, &word), frame[2]);
    assert_int_equal((uintptr_t)word, 1001);
    assert_ptr_equal(morph_finalizer_next(gc.me, &word), frame[2]);
    assert_int_equal((uintptr_t)word, 1002);
    assert_null(morph_finalizer_next(gc.me, &word));
    major(&gc);
    assert_int_equal(frame[2]->number, 299);                        /* an ordinary object again, with all that it leads to */
    assert_int_equal(frame[2]->left->left->number, 297);
    assert_null(morph_finalizer_next(gc.me, &word));
    assert_ok(morph_finalizer_set(gc.me, frame[2], (void *)5));     /* once more */
    frame[2] = NULL;
    minor(&gc);
    major(&gc);
    assert_non_null(morph_finalizer_next(gc.me, &word));
    assert_int_equal((uintptr_t)word, 5);
    gc_end(&gc);
}

/* R8: ephemerons, weak, finalizers, ephemerons again. */
static void weak_before_finalizers_before_keys(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    void **frame = morph_frame_push(gc.me, 40);
    for (unsigned old = 0; old < 2; old++) {
        frame[0] = node_new(&gc, 1);                                /* has a finalizer, and dies */
        frame[1] = node_new(&gc, 2);                                /* reached from it */
        frame[2] = morph_new(gc.me, gc.pair);
        frame[3] = morph_new_array(gc.me, gc.weak, 2);
        frame[4] = node_new(&gc, 3);                                /* the value of what the finalizer brings back */
        struct node *doomed = frame[0];
        morph_store(gc.me, doomed, &doomed->left, frame[1]);
        struct pair *pair = frame[2];
        morph_store(gc.me, pair, &pair->key, frame[1]);
        morph_store(gc.me, pair, &pair->value, frame[4]);
        void **weak = frame[3];
        morph_store(gc.me, weak, &weak[0], frame[0]);
        morph_store(gc.me, weak, &weak[1], frame[1]);
        assert_ok(morph_finalizer_set(gc.me, frame[0], (void *)77));
        morph_handle value = morph_handle_new_weak(gc.me, frame[4]);
        frame[0] = frame[1] = frame[4] = NULL;
        if (old)
            major(&gc);
        else
            minor(&gc);
        weak = frame[3];
        assert_true(!weak[0] && !weak[1]);                          /* weak references went first */
        pair = frame[2];
        assert_non_null(morph_weak_read(gc.me, &pair->key));        /* the key is back, so its pair stays */
        assert_int_equal(((struct node *)morph_weak_read(gc.me, &pair->value))->number, 3);
        assert_true(gone(&gc, value));                              /* a weak handle, though: it was not reached in the first place */
        void *word;
        struct node *told = morph_finalizer_next(gc.me, &word);
        assert_non_null(told);
        assert_ptr_equal(told->left, morph_weak_read(gc.me, &pair->key));
        major(&gc);
        pair = frame[2];
        assert_true(!pair->key && !pair->value);
    }
    gc_end(&gc);
}

static void hash_and_word_stay(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    struct node **frame = morph_frame_push(gc.me, 16);
    frame[0] = node_new(&gc, 1);
    frame[1] = node_new(&gc, 2);
    assert_int_equal(morph_object_word(frame[0]), 0);
    uint32_t hash = morph_identity_hash(gc.me, frame[0]);
    assert_int_not_equal(hash, 0);
    morph_object_set_word(frame[0], 0xdeadbeef);
    void *before = frame[0];
    for (unsigned i = 0; i < 7; i++) {
        assert_ok(morph_collect(gc.me, (enum morph_collection)(i / 2 % 3)));
        assert_int_equal(morph_identity_hash(gc.me, frame[0]), hash);
        assert_int_equal(morph_object_word(frame[0]), 0xdeadbeef);
        assert_int_equal(morph_object_word(frame[1]), 0);
    }
    assert_ptr_not_equal(frame[0], before);
    assert_int_not_equal(morph_identity_hash(gc.me, frame[1]), 0);
    gc_end(&gc);
}

/* ---- Threads ---- */

struct blocked { struct gc *gc; int from; atomic_int phase; void *seen; };

static void *block_in_read(void *context)
{
    struct blocked *blocked = context;
    morph_thread *me;
    char byte;
    child_check_int(morph_thread_attach(blocked->gc->heap, &me), 0);
    struct node **frame = morph_frame_push(me, 8);
    frame[0] = morph_new(me, blocked->gc->node);
    frame[0]->number = 4711;
    morph_native_enter(me);
    morph_native_enter(me);                                         /* they nest */
    atomic_store(&blocked->phase, 1);
    child_check_int(read(blocked->from, &byte, 1), 1);
    morph_native_leave(me);
    morph_native_leave(me);
    child_check_int(frame[0]->number, 4711);
    blocked->seen = frame[0];
    child_check_int(morph_thread_detach(me), 0);
    return NULL;
}

static void a_blocked_thread_delays_nothing(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    struct blocked blocked = { .gc = &gc, .from = fd[0] };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, block_in_read, &blocked), 0);
    morph_native_enter(gc.me);
    assert_true(test_wait_until(atomic_load(&blocked.phase) == 1, 5000));
    morph_native_leave(gc.me);
    uint64_t start = test_now_ns();
    for (unsigned i = 0; i < 50; i++)
        assert_ok(morph_collect(gc.me, (enum morph_collection)(i % 2)));
    assert_true(test_now_ns() - start < 3000000000u * test_slowness());
    assert_int_equal(test_heap_stat(morph_heap_id(gc.heap), "put_offs"), 0);
    assert_int_equal(write(fd[1], "x", 1), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(blocked.seen);
    close(fd[0]);
    close(fd[1]);
    gc_end(&gc);
}

struct deaf { struct gc *gc; atomic_int phase, hear, held; };

static void *never_poll(void *context)
{
    struct deaf *deaf = context;
    morph_thread *me;
    child_check_int(morph_thread_attach(deaf->gc->heap, &me), 0);
    struct node **frame = morph_frame_push(me, 8);
    frame[0] = morph_new(me, deaf->gc->node);
    frame[0]->number = 1;
    struct node *plain = frame[0];
    atomic_store(&deaf->phase, 1);
    while (!atomic_load(&deaf->hear))
        child_check_int(plain->number, 1);                          /* nothing moves as long as it does not poll */
    while (atomic_load(&deaf->hear) == 1)
        morph_poll(me);
    child_check_int(frame[0]->number, 1);
    child_check_int(morph_thread_detach(me), 0);
    return NULL;
}

static void a_deaf_thread_puts_collections_off(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 32 * MiB, .young_min_bytes = 4 * MiB }, "--stop-deadline=20");
    struct deaf deaf = { .gc = &gc };
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, never_poll, &deaf), 0);
    morph_native_enter(gc.me);
    assert_true(test_wait_until(atomic_load(&deaf.phase) == 1, 5000));
    morph_native_leave(gc.me);
    struct node **frame = morph_frame_push(gc.me, 8);
    frame[0] = node_new(&gc, 5);
    uint64_t start = test_now_ns();
    assert_error(morph_collect(gc.me, MORPH_COLLECT_MINOR), MORPH_EPUTOFF);
    assert_true(test_now_ns() - start < 2000000000u * test_slowness());
    assert_true(test_daemon_logged(gc.daemon, "put-off"));
    assert_true(test_heap_stat(morph_heap_id(gc.heap), "put_offs") > 0);
    for (unsigned i = 0; i < 2000; i++)                             /* the others go on */
        assert_int_equal(node_new(&gc, i)->number, i);
    assert_int_equal(frame[0]->number, 5);
    atomic_store(&deaf.hear, 1);
    assert_true(test_wait_until(morph_collect(gc.me, MORPH_COLLECT_MAJOR) == 0, 5000));
    minor(&gc);
    assert_int_equal(frame[0]->number, 5);
    atomic_store(&deaf.hear, 2);
    morph_native_enter(gc.me);
    assert_int_equal(pthread_join(thread, NULL), 0);
    morph_native_leave(gc.me);
    gc_end(&gc);
}

static void *end_without_detaching(void *context)
{
    struct gc *gc = context;
    morph_thread *me;
    child_check_int(morph_thread_attach(gc->heap, &me), 0);
    child_check(morph_frame_push(me, 8) != NULL);
    child_check(morph_new(me, gc->node) != NULL);
    return NULL;
}

/* In a child, since such a heap cannot be closed. */
static int live_with_an_ended_thread(void *context, struct test_parent parent)
{
    struct gc gc = { NULL };
    static const uint32_t refs[] = { 0, 8 };
    pthread_t thread;
    int r = MORPH_EPUTOFF;
    (void)context;
    (void)parent;
    child_check_int(morph_heap_open(&gc.heap, &(morph_options){ .mode = MORPH_RUNTIME, .limit_bytes = 8 * MiB, .no_autospawn = true }), 0);
    child_check_int(morph_thread_attach(gc.heap, &gc.me), 0);
    child_check_int(morph_type_register(gc.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 2 } }, &gc.node), 0);
    child_check_int(pthread_create(&thread, NULL, end_without_detaching, &gc), 0);
    child_check_int(pthread_join(thread, NULL), 0);
    struct node **frame = morph_frame_push(gc.me, 8);
    frame[0] = morph_new(gc.me, gc.node);
    frame[0]->number = 5;
    for (unsigned i = 0; r == MORPH_EPUTOFF && i < 50; i++)         /* the kernel may take its time to forget the thread */
        r = morph_collect(gc.me, MORPH_COLLECT_MAJOR);
    child_check_int(r, 0);
    for (unsigned i = 0; i < 20; i++)
        child_check_int(morph_collect(gc.me, MORPH_COLLECT_MINOR), 0);
    child_check_int(frame[0]->number, 5);
    return 0;
}

static void a_thread_that_just_ended(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=20", NULL);
    assert_int_equal(test_child_run((uid_t)-1, live_with_an_ended_thread, NULL), 0);
    assert_true(test_wait_until(test_heaps() == 0, 5000));
    test_daemon_stop(daemon);
}

static void *allocate_much(void *context)
{
    struct gc *gc = context;
    morph_thread *me;
    child_check_int(morph_thread_attach(gc->heap, &me), 0);
    for (unsigned i = 0; i < 2 * MiB / 64; i++)
        child_check(morph_new_bytes(me, 48) != NULL);
    child_check_int(morph_thread_detach(me), 0);
    return NULL;
}

/* One block for eight threads: those that wait for it must leave those that have it the time to take it. */
static void many_threads_share_one_block(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 4 * MiB, .young_min_bytes = 64 * KiB, .young_max_bytes = 64 * KiB }, "--verify=off");
    pthread_t thread[8];
    morph_native_enter(gc.me);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, allocate_much, &gc), 0);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    morph_native_leave(gc.me);
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(gc.heap, &stats));
    print_message("%llu collections\n", (unsigned long long)stats.collections);
    assert_true(stats.collections < 4 * 8 * 2 * MiB / (64 * KiB));
    gc_end(&gc);
}

/* ---- What does not fit ---- */

static void root_area_full(void **state)
{
    struct gc gc = gc_begin(8 * MiB);
    assert_null(morph_frame_push(gc.me, MORPH_ROOTS_BYTES + 8));
    assert_error(morph_thread_error(gc.me), MORPH_EROOTS);
    void **frame = morph_frame_push(gc.me, MORPH_ROOTS_BYTES - 16);
    assert_non_null(frame);
    frame[0] = node_new(&gc, 1);
    frame[MORPH_ROOTS_BYTES / 8 - 3] = node_new(&gc, 2);
    void **last = morph_frame_push(gc.me, 16);
    assert_non_null(last);
    last[1] = node_new(&gc, 3);
    assert_null(morph_frame_push(gc.me, 8));
    assert_error(morph_thread_error(gc.me), MORPH_EROOTS);
    minor(&gc);
    assert_int_equal(((struct node *)frame[0])->number, 1);
    assert_int_equal(((struct node *)frame[MORPH_ROOTS_BYTES / 8 - 3])->number, 2);
    assert_int_equal(((struct node *)last[1])->number, 3);
    void *variable = last[1];
    assert_ok(morph_root_push(gc.me, &variable));                   /* no room above the frames to copy it to */
    assert_error(morph_collect(gc.me, MORPH_COLLECT_MINOR), MORPH_EROOTS);
    assert_ptr_equal(variable, last[1]);
    assert_int_equal(((struct node *)variable)->number, 3);
    morph_frame_pop(gc.me, last);
    morph_frame_pop(gc.me, frame);
    minor(&gc);
    assert_int_equal(((struct node *)variable)->number, 3);
    morph_root_pop(gc.me, 1);
    gc_end(&gc);
}

struct flood { struct gc *gc; void **word; uint64_t count; };

static void flood_visit(void *argument, morph_root_report report, void *to)
{
    struct flood *flood = argument;
    for (uint64_t i = 0; i < flood->count; i++)
        report(to, &flood->word[i]);
}

static void a_visitor_says_too_much(void **state)
{
    struct gc gc = gc_begin(16 * MiB);
    struct flood flood = { &gc, calloc(MORPH_ROOTS_BYTES / 8 + 1, 8), 1000 };
    assert_ok(morph_thread_on_roots(gc.me, flood_visit, &flood));
    for (unsigned i = 0; i < 1000; i++)
        flood.word[i] = node_new(&gc, i);
    flood.count = MORPH_ROOTS_BYTES / 8 + 1;
    assert_error(morph_collect(gc.me, MORPH_COLLECT_MAJOR), MORPH_EROOTS);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(((struct node *)flood.word[i])->number, i);
    flood.count--;                                                  /* exactly full */
    major(&gc);
    flood.count = 1000;
    minor(&gc);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(((struct node *)flood.word[i])->number, i);
    assert_ok(morph_thread_on_roots(gc.me, NULL, NULL));
    free(flood.word);
    gc_end(&gc);
}

static void handles_run_out(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 8 * MiB }, "--verify=off");
    morph_handle *handle = calloc(MM_HANDLES, sizeof *handle), more;
    struct node **frame = morph_frame_push(gc.me, 8);
    frame[0] = node_new(&gc, 9);
    unsigned count = 0;
    while ((more = morph_handle_new(gc.me, frame[0])).index)
        handle[count++] = more;
    assert_int_equal(count, MM_HANDLES - 1);
    assert_error(morph_thread_error(gc.me), MORPH_EHANDLES);
    assert_error(morph_pin(gc.me, frame[0]), MORPH_EHANDLES);
    assert_error(morph_finalizer_set(gc.me, frame[0], NULL), MORPH_EHANDLES);
    minor(&gc);
    for (unsigned i = 0; i < count; i++)
        assert_ptr_equal(morph_handle_get(gc.me, handle[i]), frame[0]);
    morph_handle_free(gc.me, handle[1000]);
    assert_ok(morph_pin(gc.me, frame[0]));
    assert_error(morph_finalizer_set(gc.me, frame[0], NULL), MORPH_EHANDLES);
    assert_ok(morph_unpin(gc.me, frame[0]));
    for (unsigned i = 0; i < count; i++)
        if (i != 1000)
            morph_handle_free(gc.me, handle[i]);
    major(&gc);
    assert_int_equal(frame[0]->number, 9);
    free(handle);
    gc_end(&gc);
}

/* A list of `count` nodes in front of frame[0]; how many there was room for. */
static unsigned list_grow(struct gc *gc, struct node **frame, unsigned count, uint64_t number)
{
    for (unsigned i = 0; i < count; i++) {
        struct node *node = morph_new(gc->me, gc->node);
        if (!node)
            return i;
        node->left = frame[0];
        node->number = number + i;
        frame[0] = node;
    }
    return count;
}

static void list_check(struct node *at, unsigned count, uint64_t number)
{
    for (unsigned i = count; i-- > 0; at = at->left) {
        assert_non_null(at);
        assert_int_equal(at->number, number + i);
    }
}

static void at_the_limit(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 4 * MiB, .young_min_bytes = 256 * KiB }, "--verify=full");
    struct node **frame = morph_frame_push(gc.me, 16);
    unsigned most = 0;
    for (unsigned round = 0; round < 6; round++) {
        frame[0] = NULL;
        unsigned count = list_grow(&gc, frame, 1000000, round * 7);
        assert_true(count < 1000000);
        assert_error(morph_thread_error(gc.me), MORPH_ENOMEM);
        list_check(frame[0], count, round * 7);
        assert_true(count >= 4 * MiB / 48 / 2);                     /* half of the limit at least was of use */
        if (count * 5 < most * 4)                                   /* and nothing leaks from round to round; the nursery's reserve varies */
            fail_msg("round %u: room for %u nodes, and for %u before", round, count, most);
        most = count > most ? count : most;
        uint64_t start = test_now_ns();                             /* full of live data: refusals, not a hang */
        for (unsigned i = 0; i < 20; i++)
            if (morph_new_array(gc.me, gc.vector, 1000 + i * 100))
                (void)i;
        assert_true(test_now_ns() - start < 5000000000u * test_slowness());
        assert_null(morph_new_bytes(gc.me, 3 * MiB));
        assert_error(morph_thread_error(gc.me), MORPH_ENOMEM);
        assert_null(morph_new_bytes(gc.me, 300 * MiB));
        list_check(frame[0], count, round * 7);
        assert_ok(morph_collect(gc.me, (enum morph_collection)(round % 3)));
        list_check(frame[0], count, round * 7);
        assert_ok(morph_heap_status(gc.heap));
    }
    frame[0] = NULL;
    assert_non_null(morph_new_bytes(gc.me, 2 * MiB));               /* freed, and in one piece */
    assert_true(test_heap_stat(morph_heap_id(gc.heap), "granted_bytes") <= 4 * MiB);
    gc_end(&gc);
}

static void large_objects_go(void **state)
{
    struct gc gc = gc_begin(32 * MiB);
    void **frame = morph_frame_push(gc.me, 16);
    for (unsigned i = 0; i < 100; i++) {                            /* a hundred times three MiB fit because the dead ones go */
        frame[0] = morph_new_bytes(gc.me, 3 * MiB);
        assert_non_null(frame[0]);
        assert_true(client_zero(frame[0], 3 * MiB));
        client_fill(frame[0], 3 * MiB, i);
        if (i % 10 == 0) {
            minor(&gc);
            assert_true(client_intact(frame[0], 3 * MiB, i));
        }
    }
    void *before = frame[0];
    major(&gc);
    assert_ptr_equal(frame[0], before);                             /* they do not move */
    assert_true(client_intact(frame[0], 3 * MiB, 99));
    morph_handle weak = morph_handle_new_weak(gc.me, frame[0]);
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(gc.heap, &stats));
    assert_true(stats.live_bytes >= 3 * MiB && stats.live_bytes < 4 * MiB);
    frame[0] = NULL;
    major(&gc);
    assert_true(gone(&gc, weak));
    assert_ok(morph_heap_stats_get(gc.heap, &stats));
    assert_true(stats.live_bytes < MiB);
    gc_end(&gc);
}

/* ---- Barrier and cards ---- */

/* A store of `value` into element `i` of an old vector, in one of the ways there are. */
static void store_by(struct gc *gc, unsigned way, void **vector, unsigned i, void *value)
{
    void *in_frame[1] = { value };
    switch (way) {
    case 0: morph_store(gc->me, vector, &vector[i], value); break;
    case 1: assert_null(morph_exchange(gc->me, vector, &vector[i], value)); break;
    case 2: assert_true(morph_compare_exchange(gc->me, vector, &vector[i], NULL, value)); break;
    case 3: morph_fill_refs(gc->me, vector, &vector[i], value, 1); break;
    default: morph_copy_refs(gc->me, vector, &vector[i], in_frame, 1);
    }
}

static void every_store_is_seen(void **state)
{
    enum { WAYS = 5, COUNT = 900 };
    struct gc gc = gc_begin(16 * MiB);
    void ***frame = morph_frame_push(gc.me, WAYS * sizeof *frame);
    for (unsigned way = 0; way < WAYS; way++)                       /* each has cards of its own */
        frame[way] = morph_new_array(gc.me, gc.vector, COUNT);
    grow_old(&gc);
    for (unsigned i = 0; i < COUNT; i += 7)
        for (unsigned way = 0; way < WAYS; way++) {
            void *node = node_new(&gc, i * WAYS + way);
            store_by(&gc, way, frame[way], i, node);
        }
    minor(&gc);
    for (unsigned i = 0; i < COUNT; i += 7)
        for (unsigned way = 0; way < WAYS; way++)
            assert_int_equal(((struct node *)frame[way][i])->number, i * WAYS + way);
    gc_end(&gc);
}

static void overlapping_copies(void **state)
{
    struct gc gc = gc_begin(16 * MiB);
    void ***frame = morph_frame_push(gc.me, 8);
    frame[0] = morph_new_array(gc.me, gc.vector, 900);
    grow_old(&gc);
    for (unsigned i = 0; i < 900; i++) {
        void *node = node_new(&gc, i);
        morph_store(gc.me, frame[0], &frame[0][i], node);
    }
    struct node *same = node_new(&gc, 4711);
    morph_fill_refs(gc.me, frame[0], &frame[0][100], same, 500);
    morph_copy_refs(gc.me, frame[0], &frame[0][0], &frame[0][50], 850);
    morph_copy_refs(gc.me, frame[0], &frame[0][40], &frame[0][0], 860);
    minor(&gc);
    for (unsigned i = 90; i < 590; i++)
        assert_int_equal(((struct node *)frame[0][i])->number, 4711);
    for (unsigned i = 0; i < 50; i++)
        assert_int_equal(((struct node *)frame[0][40 + i])->number, i + 50);
    for (unsigned i = 590; i < 890; i++)
        assert_int_equal(((struct node *)frame[0][i])->number, i + 10);
    gc_end(&gc);
}

static void an_overflowing_log_loses_nothing(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 64 * MiB, .young_min_bytes = 8 * MiB, .young_max_bytes = 8 * MiB }, "--verify=full");
    enum { CARDS = 6000, EACH = 64 };
    void ***frame = morph_frame_push(gc.me, 16);
    frame[0] = morph_new_array(gc.me, gc.vector, CARDS * EACH);
    grow_old(&gc);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < CARDS; i++) {
            void *node = node_new(&gc, i + round);
            morph_store(gc.me, frame[0], &frame[0][i * EACH + (i + round) % EACH], node);
        }
        minor(&gc);
        for (unsigned i = 0; i < CARDS; i++)
            assert_int_equal(((struct node *)frame[0][i * EACH + (i + round) % EACH])->number, i + round);
    }
    grow_old(&gc);
    frame[1] = (void **)node_new(&gc, 1);
    morph_fill_refs(gc.me, frame[0], frame[0], frame[1], CARDS * EACH);
    minor(&gc);
    for (unsigned i = 0; i < CARDS * EACH; i++)
        assert_ptr_equal(frame[0][i], frame[1]);
    gc_end(&gc);
}

static void one_store_is_one_card(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 64 * MiB }, "--verify=off");
    void ***frame = morph_frame_push(gc.me, 8);
    frame[0] = morph_new_array(gc.me, gc.vector, 1000000);
    assert_non_null(frame[0]);
    grow_old(&gc);
    minor(&gc);
    assert_int_equal(receipt(&gc, "cards"), 0);
    for (unsigned i = 0; i < 10; i++) {
        void *node = node_new(&gc, i);
        morph_store(gc.me, frame[0], &frame[0][i * 99991], node);
        minor(&gc);
        assert_true(receipt(&gc, "cards") <= i + 1u);               /* those of nodes that are still young are looked at again */
        assert_int_equal(((struct node *)frame[0][i * 99991])->number, i);
    }
    grow_old(&gc);
    minor(&gc);
    assert_int_equal(receipt(&gc, "cards"), 0);
    gc_end(&gc);
}

/* R3: objects that are born old, with references stored plainly into them. */
static void born_old(void **state)
{
    struct gc gc = gc_begin(16 * MiB);
    struct node **frame = morph_frame_push(gc.me, 16);
    for (unsigned i = 0; i < 3000; i++) {
        frame[1] = node_new(&gc, i);
        struct node *old = morph_new_hint(gc.me, gc.node, MORPH_HINT_LONG);
        assert_non_null(old);
        old->left = frame[0];
        old->right = frame[1];                                      /* young, and nobody else knows it soon */
        old->number = i;
        frame[0] = old;
        if (i % 100 == 50)
            assert_ok(morph_collect(gc.me, i % 300 == 50 ? MORPH_COLLECT_MAJOR : MORPH_COLLECT_MINOR));
    }
    frame[1] = NULL;
    minor(&gc);
    struct node *at = frame[0];
    for (unsigned i = 3000; i-- > 0; at = at->left) {
        assert_int_equal(at->number, i);
        assert_int_equal(at->right->number, i);
    }
    gc_end(&gc);
}

/* A thread fills a hole to its last byte, stands there in two collections in a row, and goes on with the next one, which must still be its
 * own: what is promoted meanwhile is looking for holes. */
static void from_hole_to_hole(void **state)
{
    enum { COUNT = 6000 };
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 32 * MiB, .promotion_age = 1 }, "--verify=full");
    morph_type cell;                                                /* 64 bytes with its header: four fill a line */
    assert_ok(morph_type_register(gc.heap, &(morph_type_spec){ .name = "cell", .bytes = 48 }, &cell));
    uint64_t ***frame = morph_frame_push(gc.me, 24);
    frame[0] = morph_new_array(gc.me, gc.vector, COUNT);
    frame[1] = morph_new_array(gc.me, gc.vector, COUNT);
    frame[2] = morph_new_array(gc.me, gc.vector, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t *at = morph_new_hint(gc.me, cell, MORPH_HINT_LONG);
        assert_non_null(at);
        *at = i + 1;
        if (i / 8 % 2 == 0)                                         /* two lines stay, two go */
            morph_store(gc.me, frame[0], &frame[0][i], at);
    }
    major(&gc);
    for (unsigned i = 0; i < COUNT / 4; i++) {
        uint64_t *at = morph_new_hint(gc.me, cell, MORPH_HINT_LONG), *young;
        assert_true(at && client_zero(at, 48));
        *at = 100000 + i;
        morph_store(gc.me, frame[1], &frame[1][i], at);
        young = morph_new(gc.me, cell);
        *young = 200000 + i;
        morph_store(gc.me, frame[2], &frame[2][i], young);
        if (((uintptr_t)at + 48) % 512 == 0 && i % 3 == 0) {
            minor(&gc);
            minor(&gc);
        }
    }
    major(&gc);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(i / 8 % 2 ? !frame[0][i] : *frame[0][i] == i + 1);
    for (unsigned i = 0; i < COUNT / 4; i++)
        assert_true(*frame[1][i] == 100000 + i && *frame[2][i] == 200000 + i);
    gc_end(&gc);
}

/* ---- Pretenuring: the public word of a type says where its objects are born ---- */

static void what_always_survives_is_born_old(void **state)
{
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 256 * MiB, .young_max_bytes = 4 * MiB }, "--verify=off");
    struct node **frame = morph_frame_push(gc.me, 16);
    assert_int_equal(gc.node->bump_off, 0);
    bool old = false;
    unsigned count = 0;
    for (; count < 1500000 && !old; count += 1000) {
        assert_int_equal(list_grow(&gc, frame, 1000, count), 1000);
        old = gc.node->bump_off != 0;
    }
    assert_true(old);
    assert_int_equal(list_grow(&gc, frame, 20000, count), 20000);
    minor(&gc);
    list_check(frame[0], count + 20000, 0);
    frame[0] = NULL;
    bool young = false;
    for (unsigned i = 0; i < 20000 && !young; i++) {                /* dies at once: measured again, and young again */
        for (unsigned k = 0; k < 1000; k++)
            (void)node_new(&gc, k);
        young = gc.node->bump_off == 0;
    }
    assert_true(young);
    for (unsigned i = 0; i < 2000; i++)                             /* and stays so */
        for (unsigned k = 0; k < 1000; k++)
            (void)node_new(&gc, k);
    assert_int_equal(gc.node->bump_off, 0);
    gc_end(&gc);
}

/* A ring of strings: each lives for as long as COUNT others are born. True: they were born old by the end. */
static bool strings_turn(struct gc *gc, unsigned char **ring, unsigned count, unsigned most)
{
    bool old = false;
    for (unsigned i = 0; i < most && !old; i++) {
        unsigned bytes = 24 + i * 37 % 300;
        unsigned char *string = morph_new_bytes(gc->me, bytes);
        assert_non_null(string);
        memset(string, (int)(i & 0xff), bytes);
        unsigned char **place = &ring[i % count];
        if (*place)
            assert_int_equal(**place, (unsigned char)(i - count));
        *place = string;
        old = gc->me->bytes_off != 0;
    }
    return old;
}

/* Without a type as with one; and what is left between them when they die is filled again. */
static void strings_that_survive_are_born_old(void **state)
{
    enum { COUNT = 60000, BEYOND = 1200000 };
    struct gc gc = gc_begin_with(&(morph_options){ .limit_bytes = 64 * MiB, .young_max_bytes = 2 * MiB }, "--verify=off");
    unsigned char **ring = morph_frame_push(gc.me, COUNT * sizeof *ring);
    assert_non_null(ring);
    assert_int_equal(gc.me->bytes_off, 0);
    assert_true(strings_turn(&gc, ring, COUNT, BEYOND));
    memset(ring, 0, COUNT * sizeof *ring);
    uint64_t old = 0;
    for (unsigned i = 0; i < BEYOND; i++) {                         /* 200 MiB through 64, of which 12 live */
        unsigned bytes = 24 + i * 37 % 300;
        unsigned char *string = morph_new_bytes(gc.me, bytes);
        assert_non_null(string);
        assert_true(string[0] == 0 && string[bytes - 1] == 0);
        string[0] = string[bytes - 1] = (unsigned char)(i * 7);
        unsigned char **place = &ring[i % COUNT], *was = *place;
        if (was)
            assert_true(was[0] == (unsigned char)((i - COUNT) * 7) && was[24 + (i - COUNT) * 37 % 300 - 1] == was[0]);
        *place = string;
        old += gc.me->bytes_off != 0;
    }
    assert_true(old > BEYOND / 2);
    memset(ring, 0, COUNT * sizeof *ring);
    bool young = false;
    for (unsigned i = 0; i < 20000000 && !young; i++) {             /* die at once: measured again */
        assert_non_null(morph_new_bytes(gc.me, 200));
        young = gc.me->bytes_off == 0;
    }
    assert_true(young);
    gc_end(&gc);
}

/* ---- Not for every heap ---- */

static void other_modes(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("compiler", 8 * MiB);
    assert_error(morph_collect(client.me, MORPH_COLLECT_MINOR), MORPH_EMODE);
    client_close(&client);
    for (unsigned mode = MORPH_RUNTIME; mode <= MORPH_SERVER; mode++) {
        morph_heap *heap;
        morph_thread *me;
        assert_ok(morph_heap_open(&heap, &(morph_options){ .mode = (enum morph_mode)mode, .limit_bytes = 8 * MiB, .no_autospawn = true }));
        assert_ok(morph_thread_attach(heap, &me));
        char **frame = morph_frame_push(me, 8);
        frame[0] = morph_new_bytes(me, 100);
        client_fill(frame[0], 100, mode);
        assert_ok(morph_collect(me, MORPH_COLLECT_MINOR));
        assert_ok(morph_collect(me, MORPH_COLLECT_COMPACT));
        assert_error(morph_collect(me, (enum morph_collection)3), MORPH_EINVALID);
        assert_true(client_intact(frame[0], 100, mode));
        assert_ok(morph_thread_detach(me));
        assert_ok(morph_heap_close(heap));
    }
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(frames_hold_and_let_go),
        test_case(variables_are_written_back),
        test_case(a_machines_own_stack),
        test_case(handles_strong_and_weak),
        test_case(pins_hold_still),
        test_case(sets_by_letter),
        test_case(weak_objects_forget),
        test_case(ephemerons_chain),
        test_case(finalizers_in_their_order),
        test_case(weak_before_finalizers_before_keys),
        test_case(hash_and_word_stay),
        test_case(a_blocked_thread_delays_nothing),
        test_case(a_deaf_thread_puts_collections_off),
        test_case(a_thread_that_just_ended),
        test_case(many_threads_share_one_block),
        test_case(root_area_full),
        test_case(a_visitor_says_too_much),
        test_case(handles_run_out),
        test_case(at_the_limit),
        test_case(large_objects_go),
        test_case(every_store_is_seen),
        test_case(overlapping_copies),
        test_case(an_overflowing_log_loses_nothing),
        test_case(one_store_is_one_card),
        test_case(born_old),
        test_case(from_hole_to_hole),
        test_case(what_always_survives_is_born_old),
        test_case(strings_that_survive_are_born_old),
        test_case(other_modes),
    };
    return test_run(cases);
}
