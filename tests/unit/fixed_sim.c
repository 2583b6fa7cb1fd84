/* fixed_sim.c — a heap whose objects never move: collector and client library interleaved in one thread from a seed, with threads that are stopped anywhere.
 *
 * Up to four threads of the client are fibers, as in gc_sim.c. They do little but make objects, and are stopped where a signal could stop them: also between
 * the load of a cursor, its store, and that of the header. Whatever they are given must be zero and stay theirs. What they keep, in their frames alone,
 * is filled with a byte of its own and compared when a collection has ended and nobody runs yet. Between any two steps each cursor with room left must lie in a
 * block that is granted to its slot, and nothing may have been walked beyond it.
 * Chance alone seldom leads to where this is hard: to holes that are full to the last byte, whose threads then make longer objects only, collection after
 * collection. So most sizes divide the holes, and a thread whose first cursor is at its limit often rests for a few collections and then does just that.
 * A seed that fails is printed, and MORPH_TEST_SEED runs it alone. MORPH_SIM_SEEDS: how many; 100 if it is not set, 10 under sanitizers. */
#include "shm/hole.h"
#include "tests/unit/gc_sim.h"

#define KEPT          64
#define FRESH         0                 /* of those, the one that its thread has in a register */
#define NODE_BYTES    32u

enum kind { NODE, BYTES, RAW };

/* What sizes a thread draws: so many short ones among longer ones, but first so many objects none of which its first cursor would be moved for. */
struct mood { unsigned short_percent, longer_left; };

struct kept { uint64_t id; uint32_t bytes; };

struct runner {
    morph_thread *thread;
    struct mm_slot *slot;
    void        **frame;                /* NULL: not attached */
    struct kept   kept[KEPT];
    struct mood   mood;
    unsigned      objects;              /* to be made yet */
};

#include "tests/unit/gc_fibers.h"

static struct {
    morph_type any, node;
    uint64_t   ids, collections, put_offs, rests, refusals;
    unsigned   quantum;                 /* what extents are a multiple of */
    unsigned   stops_factor;            /* stops are so many times as frequent */
    unsigned   long_one_in;             /* of the longer ones */
    bool       rests_when_full;
} w;

static bool percent(unsigned n) { return below(100) < n; }

/* The thread is in the program, where others may come in between, and where the signal stops it: on_stop() in client/fixed.c. */
static void stop_point(const struct runner *r)
{
    yield();
    if (mm_load_relaxed(&r->slot->state) == MM_SLOT_RUNNING && mm_load_seq_cst(&sim.client->control->stop) & 1)
        morph__park(morph__thread_of(r->thread));
}

static void may_stop(const struct runner *r, unsigned steps)
{
    if (one_in(1 + steps / w.stops_factor))
        stop_point(r);
}

/* Does nothing while so many collections come and go; not for ever, since nobody need ask for one. */
static void rest(const struct runner *r, uint64_t collections)
{
    uint64_t until = w.collections + collections;
    for (unsigned patience = 100; w.collections < until && patience; patience--) {
        if (one_in(4) && sim.gc->phase == GC_IDLE)
            gc_request(sim.gc, MM_COLLECT_MAJOR, RECEIPT_ASKED);
        stop_point(r);
    }
}

/* ---- What is kept ---- */

static unsigned char fill_of(const struct kept *kept) { return (unsigned char)(kept->id | 0x80); }

static void contents_write(const struct kept *kept, void *at)
{
    memset(at, fill_of(kept), kept->bytes);
    *(uint64_t *)at = kept->id << 1 | 1;                /* odd: never an address */
}

static bool contents_are(const struct kept *kept, const void *at)
{
    return *(const uint64_t *)at == (kept->id << 1 | 1) && memory_is((const char *)at + 8, fill_of(kept), kept->bytes - 8);
}

static void kept_check(const struct runner *r, unsigned i)
{
    if (r->frame[i])
        must_of(&r->kept[i], morph_object_bytes(r->frame[i]) == r->kept[i].bytes && contents_are(&r->kept[i], r->frame[i]));
}

static void keep_fresh(struct runner *r, unsigned i)
{
    kept_check(r, i);
    r->frame[i] = r->frame[FRESH];
    r->kept[i] = r->kept[FRESH];
}

static void drop_some(struct runner *r)
{
    for (unsigned i = 0; i < KEPT; i++)
        if (i != FRESH && one_in(2))
            r->frame[i] = NULL;
}

/* ---- Making objects ---- */

struct wish { enum kind kind; uint32_t bytes; };

/* Together such objects fill a hole between others of them to the last byte. */
static uint32_t fitted(uint32_t bytes) { return (uint32_t)mm_round_up(bytes + MM_HEADER_BYTES, w.quantum) - MM_HEADER_BYTES; }

static struct wish wish_draw(const struct mood *mood)
{
    if (one_in(3000))
        return (struct wish){ one_in(2) ? RAW : BYTES, 20000 + (uint32_t)below(60000) };
    if (!mood->longer_left && percent(mood->short_percent))
        return one_in(4) ? (struct wish){ NODE, NODE_BYTES } : (struct wish){ one_in(8) ? RAW : BYTES, fitted(24 + (uint32_t)below(25)) };
    uint32_t bytes = one_in(mood->longer_left ? 3 : w.long_one_in) ? 1024 + (uint32_t)below(8192) : MM_HOLE_SMALL_BYTES + (uint32_t)below(180);
    return (struct wish){ one_in(8) ? RAW : BYTES, fitted(bytes) };
}

static struct morph_bump *wish_bump(const struct runner *r, enum kind kind)
{
    uint32_t off = kind == RAW ? r->thread->bytes_off : (kind == NODE ? w.node : w.any)->bump_off;
    return (struct morph_bump *)((char *)r->thread + off);
}

static uint64_t wish_header(const struct wish *wish)
{
    switch (wish->kind) {
    case NODE:  return w.node->header;
    case BYTES: return (w.any->header & ~(uint64_t)UINT32_MAX) | wish->bytes;
    default:    return mm_header_make(wish->bytes, MM_TYPE_RAW, MM_BORN);
    }
}

static void *new_slow(const struct runner *r, const struct wish *wish)
{
    switch (wish->kind) {
    case NODE:  return morph_new_slow(r->thread, w.node);
    case BYTES: return morph_new_array_slow(r->thread, w.any, wish->bytes);
    default:    return morph_new_bytes_slow(r->thread, wish->bytes);
    }
}

/* The paths of morphmem/fast.h, stopped between any two of their accesses. */
static void *new_stoppable(const struct runner *r, const struct wish *wish)
{
    struct morph_bump *bump = wish_bump(r, wish->kind);
    uint64_t extent = mm_object_extent(wish->bytes);
    may_stop(r, 50);
    char *at = bump->cursor;
    may_stop(r, 400);
    if (extent > MORPH_SMALL_BYTES || extent > (uint64_t)(bump->limit - at))
        return new_slow(r, wish);
    may_stop(r, 400);
    bump->cursor = at + extent;
    may_stop(r, 100);
    *(volatile uint64_t *)at = wish_header(wish);
    return at + MM_HEADER_BYTES;
}

static void object_make(struct runner *r)
{
    struct wish wish = wish_draw(&r->mood);
    void *object = new_stoppable(r, &wish);
    if (!object) {
        must(morph_thread_error(r->thread) == MORPH_ENOMEM);
        w.refusals++;
        drop_some(r);
        return;
    }
    r->kept[FRESH] = (struct kept){ ++w.ids, wish.bytes };
    must_of(&r->kept[FRESH], memory_is(object, 0, wish.bytes));
    contents_write(&r->kept[FRESH], object);
    r->frame[FRESH] = object;           /* not stopped before: nothing else says that it is alive */
    may_stop(r, 60);
    if (one_in(wish.bytes < MM_HOLE_SMALL_BYTES ? 12 : 40))
        keep_fresh(r, 1 + (unsigned)below(KEPT - 1));
    r->frame[FRESH] = NULL;
}

/* ---- What a thread does ---- */

static bool first_cursor_is_full(const struct runner *r) { return r->slot->old_limit && r->slot->old_cursor == r->slot->old_limit; }

static void mood_change(struct runner *r)
{
    if (r->mood.longer_left) {
        r->mood.longer_left--;
        return;
    }
    if (one_in(12))
        r->mood.short_percent = one_in(2) ? (unsigned)below(4) : 20 + (unsigned)below(80);
    if (!w.rests_when_full || !first_cursor_is_full(r) || one_in(4))
        return;
    w.rests++;
    rest(r, below(4));
    r->mood.longer_left = 10 + (unsigned)below(40);
}

static void attach(struct runner *r)
{
    r->thread = sim_attach_quiet();
    r->slot = (struct mm_slot *)r->thread;
    r->frame = morph_frame_push(r->thread, KEPT * sizeof *r->frame);
    r->mood = (struct mood){ .short_percent = 20 + (unsigned)below(60) };
}

static void detach(struct runner *r)
{
    void **frame = r->frame;
    r->frame = NULL;                    /* from here on it keeps nothing */
    morph_frame_pop(r->thread, frame);
    must(morph_thread_detach(r->thread) == 0);
}

static void now_and_then(struct runner *r)
{
    if (one_in(400)) {
        int error = morph_collect(r->thread, MORPH_COLLECT_MAJOR);
        must(error == 0 || error == MORPH_EPUTOFF);
    }
    if (one_in(800))
        rest(r, 1 + below(3));
    if (one_in(600))
        drop_some(r);
    if (one_in(2000)) {
        detach(r);
        yield();
        attach(r);
    }
}

static void fiber_main(void)
{
    struct runner *r = &current->runner;
    attach(r);
    while (r->objects--) {
        object_make(r);
        mood_change(r);
        now_and_then(r);
    }
    detach(r);
    current->alive = false;
    for (;;)
        yield();
}

/* ---- What must hold ---- */

/* A collection has ended, or was put off, and nobody runs yet. */
static void look(void)
{
    w.collections++;
    w.put_offs += sim.gc->receipt.put_off;
    for (unsigned f = 0; f < FIBERS; f++)
        for (unsigned i = 0; fiber[f].runner.frame && i < KEPT; i++)
            kept_check(&fiber[f].runner, i);
}

static const struct gc_grant *grant_of(uint32_t block)
{
    for (uint32_t i = 0; i < sim.gc->grants; i++)
        if (sim.gc->grant[i].block == block)
            return &sim.gc->grant[i];
    return NULL;
}

/* The block of a cursor that is at its limit may be anybody's. */
static void cursor_check(uint32_t slot, uint64_t cursor, uint64_t limit)
{
    if (cursor == limit)
        return;
    uint64_t base = (uintptr_t)sim.heap->view.base, begin = (limit - base - 1) & ~(uint64_t)(MM_BLOCK_BYTES - 1);
    const struct gc_grant *grant = grant_of((uint32_t)(begin >> MM_BLOCK_SHIFT));
    must(grant && grant->slot == slot);
    must(!grant || cursor - base >= begin + grant->walked);
}

static void cursors_check(void)
{
    for (uint32_t i = 0; i < sim.heap->control->slots_high; i++) {
        const struct mm_slot *slot = mm_control_slot(sim.heap->control, i);
        if (slot->state == MM_SLOT_FREE)
            continue;
        cursor_check(i, slot->old_cursor, slot->old_limit);
        cursor_check(i, slot->young_cursor, slot->young_limit);
    }
}

/* When nobody knows anything any more, nothing is left but blocks in the rings of slots, which wait for their next threads. */
static void all_gone(void)
{
    morph_thread *thread = sim_attach_quiet();
    for (unsigned round = 0; round < 2; round++)
        must(morph_collect(thread, MORPH_COLLECT_MAJOR) == 0);
    while (sim_background())
        ;
    must(sim.gc->large_blocks == 0 && sim.gc->old_free_bytes == 0);
    must(sim.gc->old_blocks == sim.gc->grants);
    assert_int_equal(morph_thread_detach(thread), 0);
}

/* ---- One seed ---- */

/* Time goes on while nothing does. */
static void thread_step(struct fiber *f)
{
    if (fiber_step(f, 50))
        return;
    world_ns += below(20000);
    (void)sim_serve();
}

static void daemon_step(void)
{
    if (one_in(2))
        (void)sim_background();
    else
        (void)sim_serve();
    if (one_in(8))
        world_ns += MS;
}

/* Mostly one of them goes on for a while, be it a thread or the daemon: the others are stopped for long. */
static void fibers_run(void)
{
    unsigned favourite = 0, others_one_in = 4;
    for (uint64_t step = 0; fibers_alive() && !failure[0] && !sim.lie; step++) {
        if (step > 4000000)
            failed("nothing happens any more", __LINE__, 0);
        if (one_in(300)) {
            favourite = (unsigned)below(FIBERS + 3);
            others_one_in = 1 + (unsigned)below(20);
        }
        unsigned next = one_in(others_one_in) ? (unsigned)below(FIBERS + 2) : favourite;
        if (next < FIBERS)
            thread_step(&fiber[next]);
        else
            daemon_step();
        if (!gc_in_pause(sim.gc))
            cursors_check();
    }
}

static void world_draw(uint64_t seed)
{
    static const uint64_t limits[] = { MIB, 2 * MIB, 8 * MIB };
    memset(&w, 0, sizeof w);
    seed_begin(seed);
    w.quantum = 16u << below(3);
    w.long_one_in = 2u << below(6);
    w.stops_factor = 1u << below(5);
    w.rests_when_full = !one_in(4);
    config.verify = one_in(2) ? VERIFY_OFF : VERIFY_FULL;
    config.stress = 0;
    config.stop_deadline = one_in(4) ? 5 : 100;         /* ms: some collections are put off */
    sim_open(&(struct sim_options){ .limit_bytes = limits[below(3)], .start_bytes = (1 + below(8)) * 256 * KIB, .threads = FIBERS, .no_moving = true });
    sim.tick_ns = 1000 * below(400);
    const morph_type_spec any = { .name = "any", .element_bytes = 1, .flags = MORPH_TYPE_CONSERVATIVE }, node = { .name = "node", .bytes = NODE_BYTES };
    assert_int_equal(morph_type_register(sim.client, &any, &w.any), 0);
    assert_int_equal(morph_type_register(sim.client, &node, &w.node), 0);
}

static void seed_run(uint64_t seed)
{
    world_draw(seed);
    sim.resume = look;
    fibers_start(1 + (unsigned)below(FIBERS), fiber_main);
    for (unsigned i = 0; i < FIBERS; i++)
        fiber[i].runner.objects = 2000 + (unsigned)below(4000);
    fibers_run();
    fibers_stop();
    if (!failure[0] && !sim.lie)
        all_gone();
    seed_check(seed);
    sim_close();
    world_settle();
}

static void what_a_thread_is_given_stays_its_own(void **state)
{
    uint64_t first, seeds = seeds_wanted(100 / test_slowness(), &first);
    uint64_t objects = 0, collections = 0, put_offs = 0, rests = 0, refusals = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        seed_run(seed);
        objects += w.ids;
        collections += w.collections;
        put_offs += w.put_offs;
        rests += w.rests;
        refusals += w.refusals;
    }
    print_message("%llu seeds: %llu objects, %llu of them refused; %llu collections, %llu of them put off; %llu times a thread rested with a full hole\n",
                  (unsigned long long)seeds, (unsigned long long)objects, (unsigned long long)refusals, (unsigned long long)collections,
                  (unsigned long long)put_offs, (unsigned long long)rests);
    fibers_free();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(what_a_thread_is_given_stays_its_own),
    };
    return test_run(cases);
}
