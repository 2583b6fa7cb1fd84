/* fuzz_gc.c — a hostile client with a collected heap: one thread allocates, links and collects as it should, another writes random and nasty
 * words over everything that both sides see: slots, rings, logs, root areas, handles, cards, object headers and references. The heap may be
 * condemned, the client may crash over its own damage; the daemon must survive, and a second heap, looked at all the time, goes on.
 *
 * Seeded (MORPH_TEST_SEED); runs for MORPH_FUZZ_SECONDS (default 5). Meant to be run with a daemon under AddressSanitizer too.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "shm/control.h"
#include "shm/object.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define ROOTS       64u
#define DEADLINE_MS 1000u               /* a hostile client is killed then, if it has not ended */

struct hostile {
    struct test_random random, scribble_random;
    morph_heap        *heap;
    morph_thread      *me;
    morph_type         node, vector, weak, pair, lists;
    morph_type         raw, owner;          /* heaps without moving; else NULL */
    struct mm_control *control;
    char              *base;
    uint32_t           slots, spaces;
    uint64_t           mapped_bytes;        /* at the beginning: what comes later is not touched */
    bool               no_moving;
    atomic_bool        over;
};

static uint64_t pick(struct test_random *random, uint64_t bound) { return test_random_below(random, bound); }

/* ---- Damage ---- */

static uint64_t nasty(struct hostile *h)
{
    struct test_random *r = &h->scribble_random;
    uint64_t base = (uintptr_t)h->base, mapped = h->mapped_bytes, inside = base + pick(r, mapped / 16) * 16;
    const uint64_t values[] = {
        0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 63, 64, 65, 255, 4095, 4096, 4097, 8191, 8192, 65535, 65536, MM_HANDLES - 1, MM_HANDLES, INT32_MAX, UINT32_MAX,
        (uint64_t)UINT32_MAX + 1, INT64_MAX, UINT64_MAX, UINT64_MAX - 15, base, base + 16, base - 16, base + mapped, base + mapped - 16, base + mapped + 16,
        inside, inside + 16, inside + 8, inside, (uintptr_t)h->control, MM_ROOT_AREA_BYTES, MM_ROOT_AREA_BYTES + 8, MM_CARD_LOG, MM_CARD_LOG + 1,
        mm_header_make(24, (uint16_t)pick(r, 8), MM_BORN), mm_header_make((uint32_t)pick(r, (uint64_t)1 << pick(r, 24)), (uint16_t)pick(r, 8), MM_BORN),
        mm_header_make(UINT32_MAX, 65535, 0xff), mm_header_make(0, 1, MM_BORN), mm_header_make(65520, 0, MM_BORN), mm_header_make(40, 3, 0),
    };
    if (pick(r, 5) == 0)
        return test_random_next(r) >> pick(r, 64);
    return values[pick(r, sizeof values / sizeof values[0])];
}

static void write_word(struct hostile *h, char *at)
{
    if (pick(&h->scribble_random, 3) == 0)
        mm_store_relaxed((uint32_t *)((uintptr_t)at & ~(uintptr_t)3), (uint32_t)nasty(h));
    else
        mm_store_relaxed((uint64_t *)((uintptr_t)at & ~(uintptr_t)7), nasty(h));
}

static char *slot_at(struct hostile *h)
{
    return (char *)h->control + MM_PAGE_BYTES + (pick(&h->scribble_random, 4) ? 0 : pick(&h->scribble_random, h->slots)) * MM_SLOT_STRIDE;
}

static void on_page(struct hostile *h) { write_word(h, (char *)h->control + pick(&h->scribble_random, sizeof *h->control)); }
static void on_slot(struct hostile *h) { write_word(h, slot_at(h) + pick(&h->scribble_random, sizeof(struct mm_slot))); }
static void on_card_log(struct hostile *h) { write_word(h, slot_at(h) + MM_SLOT_CARD_LOG_OFF + pick(&h->scribble_random, 64) * 4); }
static void on_roots(struct hostile *h) { write_word(h, slot_at(h) + MM_SLOT_ROOTS_OFF + pick(&h->scribble_random, 2 * ROOTS) * 8); }

static void on_handles(struct hostile *h)
{
    struct mm_handle *handle = mm_control_handles(h->control, h->slots, h->spaces) + pick(&h->scribble_random, 200);
    if (pick(&h->scribble_random, 2))
        mm_store_relaxed(&handle->kind, (uint32_t)pick(&h->scribble_random, 8));
    else
        write_word(h, (char *)handle + pick(&h->scribble_random, sizeof *handle));
    mm_control_handle_groups(h->control, h->slots, h->spaces)[pick(&h->scribble_random, 4)] = (uint8_t)pick(&h->scribble_random, 256);
}

static void on_cards(struct hostile *h)
{
    uint8_t *cards = mm_control_cards(h->control, h->slots, h->spaces);
    mm_store_relaxed(&cards[pick(&h->scribble_random, h->mapped_bytes >> MM_CARD_SHIFT)], (uint8_t)pick(&h->scribble_random, 4));
}

static void on_heap(struct hostile *h) { write_word(h, h->base + pick(&h->scribble_random, h->mapped_bytes / 8) * 8); }

/* The front of a block: there headers are, and small objects. */
static void on_block(struct hostile *h)
{
    uint64_t blocks = h->mapped_bytes / MM_BLOCK_BYTES;
    write_word(h, h->base + pick(&h->scribble_random, blocks < 40 ? blocks : 40) * MM_BLOCK_BYTES + pick(&h->scribble_random, 256) * 8);
}

/* Takes pages away from under the daemon; they come back as zeroes. */
static void punch(struct hostile *h)
{
    if (pick(&h->scribble_random, 8) == 0)
        (void)madvise(h->base + pick(&h->scribble_random, h->mapped_bytes / 4096) * 4096, 4096, MADV_REMOVE);
}

static void (*const damage[])(struct hostile *) = {
    on_page, on_slot, on_slot, on_card_log, on_roots, on_roots, on_handles, on_handles, on_cards, on_heap, on_heap, on_heap, on_block, on_block, punch,
};
#define DAMAGES (sizeof damage / sizeof damage[0])

static void *scribble(void *context)
{
    struct hostile *h = context;
    bool all = pick(&h->scribble_random, 3) != 0;           /* else one kind only: it gets further before the heap is condemned */
    uint64_t only = pick(&h->scribble_random, DAMAGES);
    long gap_ns = 1000l << pick(&h->scribble_random, 10);
    while (!atomic_load(&h->over)) {
        for (uint64_t i = 1 + pick(&h->scribble_random, 6); i; i--)
            damage[all ? pick(&h->scribble_random, DAMAGES) : only](h);
        nanosleep(&(struct timespec){ .tv_nsec = gap_ns }, NULL);     /* the random moment of the next damage */
    }
    return NULL;
}

/* ---- What an honest client does ---- */

static void types_register(struct hostile *h)
{
    static const uint32_t both[] = { 0, 8 }, element[] = { 0 }, far[] = { 8, 600 };
    const struct { morph_type_spec spec; morph_type *type; } all[] = {
        { { .name = "node", .bytes = 24, .refs = { both, 2 } }, &h->node },
        { { .name = "vector", .element_bytes = 8, .element_refs = { element, 1 } }, &h->vector },
        { { .name = "weak", .element_bytes = 8, .element_refs = { element, 1 }, .flags = MORPH_TYPE_WEAK }, &h->weak },
        { { .name = "pair", .bytes = 16, .refs = { both, 2 }, .flags = MORPH_TYPE_EPHEMERON }, &h->pair },
        { { .name = "lists", .bytes = 616, .refs = { far, 2 } }, &h->lists },
    };
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        child_check_int(morph_type_register(h->heap, &all[i].spec, all[i].type), 0);
    if (!h->no_moving)
        return;
    static const morph_storage_ref says[] = { { 0, 8 }, { 8, 12 } };
    child_check_int(morph_type_register(h->heap, &(morph_type_spec){ .name = "raw", .element_bytes = 1, .flags = MORPH_TYPE_STORAGE }, &h->raw), 0);
    child_check_int(morph_type_register(h->heap, &(morph_type_spec){ .name = "owner", .bytes = 24, .storage_bytes = 24, .storage_ref = says,
                                                                     .storage_ref_count = 2 }, &h->owner), 0);
}

static void hostile_open(struct hostile *h)
{
    morph_heap_stats stats;
    h->no_moving = pick(&h->random, 3) == 0;
    child_check_int(morph_heap_open(&h->heap, &(morph_options){ .name = "hostile", .mode = MORPH_RUNTIME, .no_moving = h->no_moving, .limit_bytes = 8 * MiB,
                                    .young_min_bytes = 128 * KiB, .no_autospawn = true, .timeout_ms = 300 }), 0);
    types_register(h);
    child_check_int(morph_thread_attach(h->heap, &h->me), 0);
    h->control = (struct mm_control *)((char *)h->me - MM_PAGE_BYTES);      /* the first thread has the first slot */
    child_check(h->control->magic == MM_CONTROL_MAGIC);
    h->base = (char *)(uintptr_t)h->control->client_base;
    h->slots = h->control->slot_count;
    h->spaces = h->control->space_count;
    child_check_int(morph_heap_stats_get(h->heap, &stats), 0);
    h->mapped_bytes = stats.mapped_bytes;
}

static void *object_any(struct hostile *h)
{
    if (h->no_moving && pick(&h->random, 3) == 0) {
        uint32_t *owner = pick(&h->random, 2) ? morph_new(h->me, h->owner) : NULL;
        if (!owner)
            return morph_new_array(h->me, h->raw, pick(&h->random, pick(&h->random, 20) ? 400 : 60000));
        owner[2] = (uint32_t)pick(&h->random, 2);
        owner[3] = (uint32_t)pick(&h->random, 2);
        return owner;
    }
    switch (pick(&h->random, 8)) {
    case 0:  return morph_new_array(h->me, h->vector, pick(&h->random, 100));
    case 1:  return morph_new_array(h->me, h->vector, pick(&h->random, 10) ? pick(&h->random, 100) : 2000 + pick(&h->random, 8000));
    case 2:  return morph_new_array(h->me, h->weak, pick(&h->random, 20));
    case 3:  return morph_new(h->me, h->pair);
    case 4:  return morph_new(h->me, h->lists);
    case 5:  return morph_new_bytes(h->me, pick(&h->random, pick(&h->random, 20) ? 400 : 60000));
    default: return pick(&h->random, 4) ? morph_new(h->me, h->node) : morph_new_hint(h->me, h->node, MORPH_HINT_LONG);
    }
}

static void link_some(struct hostile *h, void **root)
{
    void *at = root[pick(&h->random, ROOTS)], *to = root[pick(&h->random, ROOTS)];
    uint64_t bytes = at ? morph_object_bytes(at) : 0;
    morph_type type = at ? morph_object_type(h->heap, at) : NULL;
    if (!type || bytes < 16)
        return;
    uint64_t off = type == h->lists ? 8 : type == h->vector || type == h->weak || type == h->raw ? pick(&h->random, bytes / 8) * 8 : 0;
    morph_store(h->me, at, (char *)at + off, to);
}

static void use_handles(struct hostile *h, void **root, void *object)
{
    if (pick(&h->random, 30) == 0)
        (void)(pick(&h->random, 2) ? morph_handle_new(h->me, object) : morph_handle_new_weak(h->me, object));
    if (pick(&h->random, 60) == 0)
        (void)morph_finalizer_set(h->me, object, NULL);
    if (pick(&h->random, 60) == 0)
        (void)morph_finalizer_next(h->me, NULL);
    if (pick(&h->random, 60) == 0)
        (void)morph_pin(h->me, object);
    if (pick(&h->random, 100) == 0)
        (void)morph_roots_report(h->me, 1, root, ROOTS);
}

/* Ends with the heap, or with its own crash, or when it is killed. 1: condemned, 0: it got through. */
static int live_with_damage(void *context, struct test_parent parent)
{
    struct hostile h = { .random.state = *(uint64_t *)context, .scribble_random.state = ~*(uint64_t *)context };
    static void *set[ROOTS];
    pthread_t thread;
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    signal(SIGSEGV, SIG_DFL);                   /* a sanitizer would write pages about it: this process damages itself */
    signal(SIGBUS, SIG_DFL);
    if (!getenv("MORPH_TEST_VERBOSE"))
        (void)dup2(parent.from, 2);             /* the end of a pipe that cannot be written to */
    hostile_open(&h);
    void **root = morph_frame_push(h.me, ROOTS * sizeof *root);
    for (unsigned i = 0; i < 400; i++)          /* first something to damage */
        root[pick(&h.random, ROOTS)] = object_any(&h);
    child_check_int(pthread_create(&thread, NULL, scribble, &h), 0);
    for (unsigned i = 0; i < 20000 && morph_heap_status(h.heap) == 0; i++) {
        void *object = object_any(&h);
        if (!object && morph_thread_error(h.me) == MORPH_ENOMEM)
            memset(root, 0, ROOTS / 2 * sizeof *root);
        root[pick(&h.random, ROOTS)] = object;
        link_some(&h, root);
        if (object)
            use_handles(&h, set, object);
        if (pick(&h.random, 40) == 0)
            (void)morph_collect(h.me, (enum morph_collection)pick(&h.random, 3));
    }
    int condemned = morph_heap_status(h.heap) == MORPH_ECONDEMNED;
    atomic_store(&h.over, true);
    _exit(condemned);
}

/* ---- The one that must not notice ---- */

struct node { struct node *next, *other; uint64_t number, check; };
struct bystander { morph_heap *heap; morph_thread *me; morph_type node; struct node **frame; uint64_t count, checks; };

static void bystander_open(struct bystander *b)
{
    static const uint32_t refs[] = { 0, 8 };
    assert_ok(morph_heap_open(&b->heap, &(morph_options){ .name = "bystander", .mode = MORPH_RUNTIME, .limit_bytes = 16 * MiB, .no_autospawn = true,
                                                          .timeout_ms = 30000 }));
    assert_ok(morph_thread_attach(b->heap, &b->me));
    assert_ok(morph_type_register(b->heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node), .refs = { refs, 2 } }, &b->node));
    b->frame = morph_frame_push(b->me, 8);
}

static void bystander_check(struct bystander *b)
{
    uint64_t start = test_now_ns();
    for (unsigned i = 0; i < 200; i++) {
        struct node *node = morph_new(b->me, b->node);
        assert_non_null(node);
        b->count++;
        *node = (struct node){ .next = b->frame[0], .number = b->count, .check = ~b->count };
        b->frame[0] = node;
    }
    assert_ok(morph_collect(b->me, b->checks++ % 8 ? MORPH_COLLECT_MINOR : MORPH_COLLECT_MAJOR));
    const struct node *at = b->frame[0];
    for (uint64_t n = b->count; n; n--, at = at->next)
        assert_true(at && at->number == n && at->check == ~n);
    assert_null(at);
    if (b->count > 5000) {
        b->frame[0] = NULL;
        b->count = 0;
    }
    assert_true(test_now_ns() - start < 5000000000u * test_slowness());
}

/* ---- The case ---- */

struct outcome { uint64_t heaps, condemned, through, crashed, killed; };

static bool has_ended(pid_t pid)
{
    siginfo_t info = { .si_pid = 0 };
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

static void one_hostile(struct test_random *random, struct bystander *b, struct outcome *outcome)
{
    uint64_t seed = test_random_next(random), end_ns = test_now_ns() + DEADLINE_MS * 1000000ull * test_slowness(), next_ns = 0;
    struct test_child child = test_child_start((uid_t)-1, live_with_damage, &seed);
    bool ended = false;
    while (!(ended = has_ended(child.pid)) && test_now_ns() < end_ns)
        if (test_now_ns() >= next_ns) {
            bystander_check(b);
            next_ns = test_now_ns() + 3000000;
        } else {
            test_nap();
        }
    bystander_check(b);
    if (!ended)
        kill(child.pid, SIGKILL);
    int code = test_child_wait(&child);
    outcome->heaps++;
    outcome->killed += !ended;
    outcome->through += ended && code == 0;
    outcome->condemned += ended && code == 1;
    outcome->crashed += ended && code > 1;
}

static void attack(struct test_random *random, uint64_t for_ns, const char *verify, const char *stress, const char *workers)
{
    struct test_daemon *daemon = test_daemon_start("--log-level=error", "--stop-deadline=20", verify, stress, workers, NULL);
    struct bystander bystander = { NULL };
    struct outcome outcome = { 0 };
    uint64_t end_ns = test_now_ns() + for_ns;
    bystander_open(&bystander);
    do
        one_hostile(random, &bystander, &outcome);
    while (test_now_ns() < end_ns);
    print_message("%s %s: %llu hostile heaps: %llu condemned, %llu clients crashed, %llu killed, %llu got through; %llu looks at the other heap\n", verify, stress,
                  (unsigned long long)outcome.heaps, (unsigned long long)outcome.condemned, (unsigned long long)outcome.crashed, (unsigned long long)outcome.killed,
                  (unsigned long long)outcome.through, (unsigned long long)bystander.checks);
    assert_true(test_wait_until(test_heaps() == 1, 10000));
    assert_ok(morph_thread_detach(bystander.me));
    assert_ok(morph_heap_close(bystander.heap));
    assert_true(test_wait_until(test_stat("granted_bytes") == 0, 10000));
    test_daemon_stop(daemon);
}

static uint64_t seconds(void)
{
    const char *given = getenv("MORPH_FUZZ_SECONDS");
    return given ? strtoull(given, NULL, 10) : 5;
}

static void the_daemon_survives_hostile_collected_heaps(void **state)
{
    struct test_random random = test_random_begin("fuzz_gc");
    uint64_t part_ns = seconds() * 1000000000u / 3;
    attack(&random, part_ns, "--verify=off", "--stress=0", "--workers=1");
    attack(&random, part_ns, "--verify=off", "--stress=2", "--workers=3");
    attack(&random, part_ns, "--verify=full", "--stress=2", "--workers=2");
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(the_daemon_survives_hostile_collected_heaps) };
    return test_run(cases);
}
