/* fixed.int.c — heaps whose objects never move: what keeps an object alive and what does not, where threads are stopped, and what happens on
 * stacks that nobody knows ([fixed.roots], [fixed.stop], [fixed.storage]).
 *
 * That something is dead can be shown of many objects only, since any stale word may keep one: of MANY most must be gone. Addresses are kept
 * hidden (complemented) where a test must not keep its objects alive by itself. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"

#define MANY 64u
#define MOST 48u

struct pair { struct pair *next; uint64_t number; };
struct owner { void *storage; uint64_t length; uint32_t are_references, spare; };

struct world {
    struct test_daemon *daemon;
    morph_heap   *heap;
    morph_thread *me;
    morph_type    pair, raw, any, owner;
    morph_handle  witness[MANY];        /* weak */
    uintptr_t     hidden[MANY];
};

static void *only_here;                 /* static data */

static uintptr_t hide(const void *at) { return ~(uintptr_t)at; }
static void *shown(uintptr_t hidden) { return (void *)~hidden; }

static struct world *world_open(uint64_t limit_bytes)
{
    struct world *w = calloc(1, sizeof *w);
    static const morph_storage_ref says[] = { { 0, offsetof(struct owner, are_references) } };
    assert_non_null(w);
    w->daemon = test_daemon_start("--verify=full", "--stop-deadline=20000", NULL);
    assert_ok(morph_heap_open(&w->heap, &(morph_options){ .name = "fixed", .mode = MORPH_RUNTIME, .limit_bytes = limit_bytes, .no_autospawn = true,
                                                          .no_moving = true, .timeout_ms = 60000 }));
    assert_ok(morph_thread_attach(w->heap, &w->me));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "pair", .bytes = sizeof(struct pair), .refs = MORPH_REFS(struct pair, next) }, &w->pair));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "raw", .element_bytes = 1, .flags = MORPH_TYPE_STORAGE }, &w->raw));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "any", .element_bytes = 1, .flags = MORPH_TYPE_CONSERVATIVE }, &w->any));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "owner", .bytes = sizeof(struct owner), .storage_at = offsetof(struct owner, storage),
                                                               .storage_bytes = 16, .storage_ref = says, .storage_ref_count = 1 }, &w->owner));
    return w;
}

static void world_close(struct world *w)
{
    assert_ok(morph_thread_detach(w->me));
    assert_ok(morph_heap_close(w->heap));
    test_daemon_stop(w->daemon);
    free(w);
}

/* Deeper than what ran before, so that what that left on the stack is gone. */
static __attribute__((noinline)) void stack_clean(void)
{
    volatile char clean[65536];
    for (size_t i = 0; i < sizeof clean; i++)
        clean[i] = 0;
}

static __attribute__((noinline)) void make_many(struct world *w)
{
    for (unsigned i = 0; i < MANY; i++) {
        struct pair *pair = morph_new(w->me, w->pair);
        assert_non_null(pair);
        pair->number = i;
        w->hidden[i] = hide(pair);
        w->witness[i] = morph_handle_new_weak(w->me, pair);
        assert_true(w->witness[i].index);
    }
}

static __attribute__((noinline)) unsigned alive(struct world *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MANY; i++) {
        const struct pair *pair = morph_handle_get(w->me, w->witness[i]);
        count += pair != NULL;
        assert_true(!pair || (pair->number == i && hide(pair) == w->hidden[i]));
    }
    return count;
}

static void witnesses_free(struct world *w)
{
    for (unsigned i = 0; i < MANY; i++)
        morph_handle_free(w->me, w->witness[i]);
}

static unsigned alive_after_collection(struct world *w)
{
    stack_clean();
    assert_ok(morph_collect(w->me, MORPH_COLLECT_MAJOR));
    return alive(w);
}

/* ---- What keeps alive ---- */

enum way { TO_IT, INTO_IT, BEHIND_IT, WAYS };

/* References of one kind in an object, whose words may be some; then none. */
static void any_word_that_points_to_an_object_keeps_it(void **state)
{
    static const size_t offset[WAYS] = { 0, offsetof(struct pair, number) + 3, sizeof(struct pair) };
    struct world *w = world_open(8 * MiB);
    for (unsigned way = 0; way < WAYS; way++) {
        make_many(w);
        uintptr_t *box = only_here = morph_new_array(w->me, w->raw, MANY * sizeof *box);
        for (unsigned i = 0; i < MANY; i++)
            box[i] = (uintptr_t)shown(w->hidden[i]) + offset[way];
        assert_int_equal(alive_after_collection(w), MANY);
        memset(box, 0, MANY * sizeof *box);
        assert_true(MANY - alive_after_collection(w) >= MOST);
        witnesses_free(w);
    }
    only_here = NULL;
    world_close(w);
}

static void exact_types_follow_only_their_references(void **state)
{
    struct world *w = world_open(8 * MiB);
    make_many(w);
    struct pair *list = NULL;
    for (unsigned i = 0; i < MANY; i++) {
        struct pair *holder = morph_new(w->me, w->pair);
        *holder = (struct pair){ .next = list, .number = (uintptr_t)shown(w->hidden[i]) };      /* a number, whatever it looks like */
        only_here = list = holder;
    }
    list = NULL;
    assert_true(MANY - alive_after_collection(w) >= MOST);
    unsigned length = 0;
    for (const struct pair *at = only_here; at; at = at->next)
        length++;
    assert_int_equal(length, MANY);
    only_here = NULL;
    world_close(w);
}

/* In a frame of its own: nothing of it is left on the stack. The storage, hidden. */
static __attribute__((noinline)) uintptr_t make_owner(struct world *w, morph_type type, uint32_t are_references)
{
    struct owner *owner = only_here = morph_new(w->me, w->owner);
    uintptr_t *storage = type ? morph_new_array(w->me, type, MANY * 16) : morph_new_bytes(w->me, MANY * 16);
    owner->storage = storage;
    owner->are_references = are_references;
    for (unsigned i = 0; i < MANY; i++)
        storage[2 * i] = (uintptr_t)shown(w->hidden[i]);
    return hide(storage);
}

/* The storage's elements are 16 bytes, a reference and a number; `length` says nothing. */
static void an_owner_describes_its_storage(void **state)
{
    struct world *w = world_open(8 * MiB);
    for (unsigned round = 0; round < 4; round++) {
        unsigned are = round % 2;
        make_many(w);
        uintptr_t kept = make_owner(w, round < 2 ? w->raw : NULL, are);
        unsigned left = alive_after_collection(w);
        assert_true(are ? left == MANY : MANY - left >= MOST);
        assert_ptr_equal(((struct owner *)only_here)->storage, shown(kept));
        for (unsigned i = 0; i < MANY; i++)
            assert_true(((uintptr_t *)shown(kept))[2 * i] == (uintptr_t)shown(w->hidden[i]));   /* it lives, though nobody else refers to it */
        only_here = NULL;
        witnesses_free(w);
    }
    world_close(w);
}

/* As make_owner(), of a type whose storage holds no references, as the characters of a string. */
static __attribute__((noinline)) uintptr_t make_text(struct world *w, morph_type text)
{
    struct owner *owner = only_here = morph_new(w->me, text);
    uintptr_t *storage = morph_new_array(w->me, w->raw, MANY * 16);
    owner->storage = storage;
    owner->are_references = 1;
    for (unsigned i = 0; i < MANY; i++)
        storage[2 * i] = (uintptr_t)shown(w->hidden[i]);
    return hide(storage);
}

static void an_owner_may_have_storage_without_references(void **state)
{
    struct world *w = world_open(8 * MiB);
    morph_type text;
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "text", .bytes = sizeof(struct owner), .storage_at = offsetof(struct owner, storage),
                                                               .storage_bytes = 8 }, &text));
    make_many(w);
    uintptr_t kept = make_text(w, text);
    assert_true(MANY - alive_after_collection(w) >= MOST);
    for (unsigned i = 0; i < MANY; i++)
        assert_true(((uintptr_t *)shown(kept))[2 * i] == (uintptr_t)shown(w->hidden[i]));
    only_here = NULL;
    world_close(w);
}

/* What is not storage is followed as its own type says, whatever one of those who refer to it knows of it. */
static void an_owner_does_not_describe_other_objects(void **state)
{
    struct world *w = world_open(8 * MiB);
    make_many(w);
    (void)make_owner(w, w->any, 0);
    assert_int_equal(alive_after_collection(w), MANY);
    only_here = NULL;
    world_close(w);
}

#define LONG_ELEMENTS ((3u << 20) / 16)

/* Where in a long storage the i-th reference is: from its first element to its last, so in every piece of it. */
static size_t place(unsigned i) { return (size_t)i * (LONG_ELEMENTS - 1) / (MANY - 1) * 2; }

/* The storage first: what is hidden does not outlive the collection that so much memory may bring. */
static __attribute__((noinline)) void make_long_owner(struct world *w, unsigned word)
{
    struct owner *owner = only_here = morph_new(w->me, w->owner);
    uintptr_t *storage = morph_new_array(w->me, w->raw, LONG_ELEMENTS * 16);
    assert_non_null(storage);
    owner->storage = storage;
    owner->are_references = 1;
    make_many(w);
    for (unsigned i = 0; i < MANY; i++)
        storage[place(i) + word] = (uintptr_t)shown(w->hidden[i]);
}

/* In a frame of its own: the next storage may lie where this one did, and is not to be known by what is left of it on the stack. */
static __attribute__((noinline)) void long_owner_check(const struct world *w, unsigned word)
{
    const uintptr_t *storage = ((struct owner *)only_here)->storage;
    for (unsigned i = 0; i < MANY; i++)
        assert_true(storage[place(i) + word] == (uintptr_t)shown(w->hidden[i]));
}

/* However long it is: what is a number in its elements keeps nothing. */
static void a_long_storage_is_followed_by_its_owners_rule(void **state)
{
    struct world *w = world_open(16 * MiB);
    for (unsigned word = 0; word < 2; word++) {
        make_long_owner(w, word);
        unsigned left = alive_after_collection(w);
        for (unsigned more = 0; word == 1 && MANY - left < MOST && more < 3; more++)
            left = alive_after_collection(w);           /* instrumented code left the storage's address on the stack, where other calls lie by now */
        assert_true(word == 0 ? left == MANY : MANY - left >= MOST);
        long_owner_check(w, word);
        only_here = NULL;
        witnesses_free(w);
    }
    world_close(w);
}

/* ---- Threads ---- */

struct helper {
    struct world *w;
    pthread_t thread;
    atomic_bool ready, go;
    int pipe[2];
    bool other_stack;
    uint64_t number;
};

static __attribute__((noinline)) struct pair *pair_numbered(morph_thread *me, struct world *w, uint64_t number)
{
    struct pair *pair = morph_new(me, w->pair);
    if (pair)
        pair->number = number;
    return pair;
}

/* Waits in the kernel, holding an object by its stack alone. */
static void *wait_in_read(void *argument)
{
    struct helper *h = argument;
    morph_thread *me;
    char byte;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);           /* as threads often do that are to hear of no signal */
    if (morph_thread_attach(h->w->heap, &me) < 0)
        return NULL;
    struct pair *volatile kept = pair_numbered(me, h->w, 4711);
    atomic_store(&h->ready, true);
    while (read(h->pipe[0], &byte, 1) != 1)
        ;
    h->number = kept->number;
    morph_thread_detach(me);
    return NULL;
}

/* Computes, and calls nothing. */
static void *compute(void *argument)
{
    struct helper *h = argument;
    morph_thread *me;
    stack_t other = { .ss_size = 64 * KiB, .ss_flags = h->other_stack ? 0 : SS_DISABLE };
    other.ss_sp = h->other_stack ? mmap(NULL, other.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) : NULL;
    if (morph_thread_attach(h->w->heap, &me) < 0)
        return NULL;
    (void)sigaltstack(&other, NULL);
    struct pair *kept = pair_numbered(me, h->w, 4712);
    atomic_store(&h->ready, true);
    uint64_t sum = 0;
    while (!atomic_load_explicit(&h->go, memory_order_relaxed))
        sum += kept->number;
    h->number = sum % 4712 == 0 ? kept->number : 0;
    (void)sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
    if (h->other_stack)
        munmap(other.ss_sp, other.ss_size);
    morph_thread_detach(me);
    return NULL;
}

/* Leaves an object behind that only static data refers to. */
static void *leave_behind(void *argument)
{
    struct helper *h = argument;
    morph_thread *me;
    if (morph_thread_attach(h->w->heap, &me) < 0)
        return NULL;
    only_here = pair_numbered(me, h->w, 4713);
    morph_thread_detach(me);
    return NULL;
}

static void garbage_make(struct world *w)
{
    for (unsigned i = 0; i < 400000; i++) {
        struct pair *pair = morph_new(w->me, w->pair);
        assert_non_null(pair);
        pair->number = UINT64_MAX;
    }
}

static struct helper *helper_start(struct world *w, void *(*body)(void *), bool other_stack)
{
    struct helper *h = calloc(1, sizeof *h);
    assert_non_null(h);
    h->w = w;
    h->other_stack = other_stack;
    assert_int_equal(pipe(h->pipe), 0);
    assert_int_equal(pthread_create(&h->thread, NULL, body, h), 0);
    return h;
}

static uint64_t helper_end(struct helper *h)
{
    atomic_store(&h->go, true);
    assert_int_equal(write(h->pipe[1], "x", 1), 1);
    assert_int_equal(pthread_join(h->thread, NULL), 0);
    uint64_t number = h->number;
    close(h->pipe[0]);
    close(h->pipe[1]);
    free(h);
    return number;
}

static void threads_are_stopped_wherever_they_are(void **state)
{
    if (test_thread_sanitized())
        test_skip("ThreadSanitizer holds back the signals that stop threads");
    struct world *w = world_open(8 * MiB);
    morph_heap_stats before, after;
    struct helper *in_read = helper_start(w, wait_in_read, false), *at_work = helper_start(w, compute, false), *on_two = helper_start(w, compute, true);
    assert_true(test_wait_until(atomic_load(&in_read->ready) && atomic_load(&at_work->ready) && atomic_load(&on_two->ready), 10000 * test_slowness()));
    assert_ok(morph_heap_stats_get(w->heap, &before));
    garbage_make(w);
    assert_ok(morph_collect(w->me, MORPH_COLLECT_MAJOR));
    assert_ok(morph_heap_stats_get(w->heap, &after));
    assert_true(after.collections > before.collections + 3);
    assert_false(test_daemon_logged(w->daemon, "put-off"));
    assert_int_equal(helper_end(in_read), 4711);
    assert_int_equal(helper_end(at_work), 4712);
    assert_int_equal(helper_end(on_two), 4712);
    world_close(w);
}

/* All that were there when it was stored have been stopped since before: in a blocking call. */
static void what_a_thread_leaves_in_static_data_is_known(void **state)
{
    if (test_thread_sanitized())
        test_skip("ThreadSanitizer holds back the signals that stop threads");
    struct world *w = world_open(8 * MiB);
    morph_native_enter(w->me);
    struct helper *h = helper_start(w, leave_behind, false);
    assert_int_equal(pthread_join(h->thread, NULL), 0);
    close(h->pipe[0]);
    close(h->pipe[1]);
    free(h);
    struct helper *other = helper_start(w, wait_in_read, false);        /* has memory of its own and asks for none of this */
    assert_true(test_wait_until(atomic_load(&other->ready), 10000 * test_slowness()));
    morph_native_leave(w->me);
    garbage_make(w);
    assert_int_equal(((struct pair *)only_here)->number, 4713);
    assert_int_equal(helper_end(other), 4711);
    only_here = NULL;
    world_close(w);
}

/* ---- Stacks that nobody knows ---- */

static ucontext_t main_context, strange;
static int strange_result;
static struct world *strange_world;

static void on_strange_stack(void)
{
    struct pair *volatile kept = pair_numbered(strange_world->me, strange_world, 1);
    strange_result = morph_collect(strange_world->me, MORPH_COLLECT_MAJOR);
    strange_result = kept->number == 1 ? strange_result : 1;
}

static void on_an_unknown_stack_nothing_is_collected(void **state)
{
    if (test_sanitized())
        test_skip("sanitizers do not follow a change of stacks");
    struct world *w = strange_world = world_open(8 * MiB);
    char *stack = malloc(256 * KiB);
    assert_non_null(stack);
    assert_int_equal(getcontext(&strange), 0);
    strange.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = 256 * KiB };
    strange.uc_link = &main_context;
    makecontext(&strange, on_strange_stack, 0);
    assert_int_equal(swapcontext(&main_context, &strange), 0);
    assert_error(strange_result, MORPH_EROOTS);
    assert_ok(morph_collect(w->me, MORPH_COLLECT_MAJOR));       /* back on its own one */
    free(stack);
    world_close(w);
}

/* ---- What is refused, and what is said ---- */

static void what_such_a_heap_has_others_have_not(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("moving", 8 * MiB);
    static const morph_storage_ref says[] = { { 0, 8 } };
    morph_heap *heap;
    morph_type type;
    morph_type_spec conservative = { .name = "c", .element_bytes = 1, .flags = MORPH_TYPE_CONSERVATIVE }, storage = { .name = "s", .element_bytes = 1, .flags = MORPH_TYPE_STORAGE };
    morph_type_spec owner = { .name = "o", .bytes = 16, .storage_bytes = 8, .storage_ref = says, .storage_ref_count = 1 };
    assert_error(morph_type_register(client.heap, &conservative, &type), MORPH_EINVALID);
    assert_error(morph_type_register(client.heap, &storage, &type), MORPH_EINVALID);
    assert_error(morph_type_register(client.heap, &owner, &type), MORPH_EINVALID);
    client_close(&client);
    morph_options options = { .mode = MORPH_VM, .no_autospawn = true, .no_moving = true, .limit_bytes = 64 * 1024 * MiB };
    assert_error(morph_heap_open(&heap, &options), MORPH_EINVALID);
    options.limit_bytes = 8 * MiB;
    assert_ok(morph_heap_open(&heap, &options));
    assert_ok(morph_type_register(heap, &conservative, &type));
    assert_ok(morph_type_register(heap, &storage, &type));
    assert_ok(morph_type_register(heap, &owner, &type));
    owner.name = "outside";
    owner.storage_at = 16;
    assert_error(morph_type_register(heap, &owner, &type), MORPH_EINVALID);
    owner.storage_at = 0;
    owner.storage_ref = (const morph_storage_ref[]){ { 8, 8 } };
    assert_error(morph_type_register(heap, &owner, &type), MORPH_EINVALID);     /* no room for it in an element */
    owner.storage_ref = (const morph_storage_ref[]){ { 0, 13 } };
    assert_error(morph_type_register(heap, &owner, &type), MORPH_EINVALID);
    storage.flags |= MORPH_TYPE_CONSERVATIVE;
    storage.name = "two flags";
    assert_error(morph_type_register(heap, &storage, &type), MORPH_EINVALID);
    conservative.name = "both";
    conservative.bytes = 8;
    conservative.refs = (morph_refs){ (const uint32_t[]){ 0 }, 1 };
    assert_error(morph_type_register(heap, &conservative, &type), MORPH_EINVALID);
    assert_ok(morph_heap_close(heap));
    test_daemon_stop(daemon);
}

static void a_thread_sees_its_stack_and_static_data(void **state)
{
    struct world *w = world_open(8 * MiB);
    struct pair *pair = pair_numbered(w->me, w, 1);
    void *elsewhere = malloc(16);
    assert_true(morph_thread_sees(w->me, &pair) && morph_thread_sees(w->me, &only_here));
    assert_false(morph_thread_sees(w->me, elsewhere) || morph_thread_sees(w->me, pair) || morph_thread_sees(w->me, NULL));
    assert_true(morph_heap_holds(w->heap, pair));
    assert_false(morph_heap_holds(w->heap, elsewhere) || morph_heap_holds(w->heap, &pair) || morph_heap_holds(w->heap, NULL));
    free(elsewhere);
    world_close(w);
}

/* A list that static data refers to, of as many as there is room for. */
static __attribute__((noinline)) void fill_to_the_bound(struct world *w)
{
    struct pair *pair;
    while ((pair = morph_new(w->me, w->pair)))
        *pair = (struct pair){ .next = only_here }, only_here = pair;
    assert_error(morph_thread_error(w->me), MORPH_ENOMEM);
}

/* Every kind of collection is the whole one here; a bound is kept, and what is dead is found before anybody is refused. */
static void the_bound_holds_and_what_lives_stays(void **state)
{
    struct world *w = world_open(2 * MiB);
    struct pair *list = NULL;
    morph_heap_stats stats;
    for (unsigned round = 0; round < 20; round++) {
        garbage_make(w);
        assert_ok(morph_collect(w->me, (enum morph_collection)(round % 3)));
        struct pair *pair = pair_numbered(w->me, w, round);
        pair->next = list;
        list = pair;
    }
    for (unsigned round = 20; round-- > 0; list = list->next)
        assert_int_equal(list->number, round);
    assert_ok(morph_heap_stats_get(w->heap, &stats));
    assert_true(stats.granted_bytes <= 2 * MiB && stats.major_collections == stats.collections);
    fill_to_the_bound(w);
    only_here = NULL;
    stack_clean();                      /* one stale address of the latest would keep them all */
    garbage_make(w);
    world_close(w);
}

/* What computes hears of it at its next allocation. */
static void a_daemon_that_dies_stops_nobody(void **state)
{
    if (test_thread_sanitized())
        test_skip("ThreadSanitizer holds back the signals that stop threads");
    struct world *w = world_open(8 * MiB);
    struct helper *h = helper_start(w, compute, false);
    assert_true(test_wait_until(atomic_load(&h->ready), 10000 * test_slowness()));
    test_daemon_kill(w->daemon);
    while (morph_new(w->me, w->pair))
        ;
    assert_error(morph_thread_error(w->me), MORPH_ELOST);
    assert_int_equal(helper_end(h), 4712);
    assert_ok(morph_thread_detach(w->me));
    assert_ok(morph_heap_close(w->heap));
    test_daemon_free(w->daemon);
    free(w);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(any_word_that_points_to_an_object_keeps_it), test_case(exact_types_follow_only_their_references),
        test_case(an_owner_describes_its_storage), test_case(an_owner_does_not_describe_other_objects), test_case(an_owner_may_have_storage_without_references),
        test_case(a_long_storage_is_followed_by_its_owners_rule),
        test_case(threads_are_stopped_wherever_they_are),
        test_case(what_a_thread_leaves_in_static_data_is_known), test_case(on_an_unknown_stack_nothing_is_collected),
        test_case(what_such_a_heap_has_others_have_not), test_case(a_thread_sees_its_stack_and_static_data),
        test_case(the_bound_holds_and_what_lives_stays), test_case(a_daemon_that_dies_stops_nobody),
    };
    return test_run(cases);
}
