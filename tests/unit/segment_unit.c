/* segment_unit.c — the pool of warm segments, with a clock, leases and failures of our own. Tests daemon/heap/segment.c. */
#define _GNU_SOURCE
#include "tests/unit/heap_helper.h"
#include "tests/lib/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define UNIT   (2 * MIB)
#define PLACES 64u

static const struct segment_owner ana = { 1000, 1 }, ben = { 1001, 1 }, ana_elsewhere = { 1000, 2 };

static char *reserve;                                   /* PLACES small segments fit */
static struct segment_figures before;

static int pool_begin(void **state)
{
    int r = world_begin(state);
    segment_figures(&before);
    reserve = mm_reserve(PLACES * UNIT);
    return reserve ? r : -1;
}

static int pool_end(void **state)
{
    munmap(reserve, PLACES * UNIT);
    return world_end(state);
}

#define pool_case(function) cmocka_unit_test_setup_teardown(function, pool_begin, pool_end)

/* Counters since the case began, sums as they are. */
static struct segment_figures figures(void)
{
    struct segment_figures f;
    segment_figures(&f);
    f.lent -= before.lent, f.lent_warm -= before.lent_warm, f.lent_cold -= before.lent_cold;
    f.recycled -= before.recycled, f.destroyed -= before.destroyed, f.zeroed_bytes -= before.zeroed_bytes;
    return f;
}

static struct segment *lend(unsigned place, struct segment_owner owner)
{
    int error = 0;
    struct segment *segment = segment_lend(0, owner, reserve + place * UNIT, &error);
    assert_non_null(segment);
    assert_ptr_equal(segment->base, reserve + place * UNIT);
    assert_int_equal(segment->state, SEGMENT_LENT);
    assert_int_equal(segment->bytes, UNIT);
    assert_true(mm_memfd_sealed(segment->fd, UNIT));
    return segment;
}

static bool is_warm(const struct segment *segment) { return segment->charged_bytes == segment->bytes; }

static void fill_and_return(struct segment *segment)
{
    memset(segment->base, 0xab, segment->bytes);
    segment_return(segment);
}

/* A used segment of this owner in the pool: demand has been seen, the lease is granted, all is zeroed. */
static void recycle_one(struct segment_owner owner)
{
    uint64_t recycled = figures().recycled;
    fill_and_return(lend(0, owner));
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(figures().recycled, recycled + 1);
}

/* A loan that is seen at a tick: one that comes back later is wanted. */
static void see_demand(void)
{
    segment_return(lend(0, ben));
    world_ns += 100 * MS;
    world_settle();
    segment_figures(&before);
}

/* ---- Leases of our own ---- */

static unsigned prove_calls, prove_refusals;
static int prove_error;

static int prove_fake(int fd)
{
    prove_calls++;
    if (prove_error)
        return prove_error;
    if (prove_refusals == 0)
        return 0;
    prove_refusals--;
    return -EAGAIN;
}

static void refuse_leases(unsigned times)
{
    os.memfd_prove_alone = prove_fake;
    prove_calls = 0;
    prove_refusals = times;
    prove_error = 0;
}

/* ---- Warm and cold ---- */

static void the_least_is_warmed_before_anybody_asks(void **state)
{
    config.pool_min = 2 * UNIT;
    segment_pool_init(false);
    world_settle();
    assert_int_equal(figures().warm_bytes, 2 * UNIT);
    assert_int_equal(figures().target_bytes, 2 * UNIT);
    assert_int_equal(figures().zeroed_bytes, 2 * UNIT);
    assert_int_equal(budget_used(), 2 * UNIT);
    assert_false(segment_work());
}

static void warm_ones_go_first_then_cold_ones(void **state)
{
    config.pool_min = 2 * UNIT;
    segment_pool_init(false);
    world_settle();
    struct segment *segment[3];
    for (unsigned i = 0; i < 3; i++) {
        segment[i] = lend(i, ana);
        assert_int_equal(is_warm(segment[i]), i < 2);
        assert_int_equal(mm_memfd_resident(segment[i]->fd), i < 2 ? UNIT : 0);
        assert_true(memory_is(segment[i]->base, 0, UNIT));
    }
    assert_int_equal(segment[2]->charged_bytes, 0);         /* what of it is used, its heap will charge */
    assert_int_equal(figures().lent_warm, 2);
    assert_int_equal(figures().lent_cold, 1);
    assert_int_equal(figures().lent, 3);
    assert_int_equal(figures().warm_bytes, 0);
    assert_int_equal(budget_used(), 2 * UNIT);
    for (unsigned i = 0; i < 3; i++)
        segment_return(segment[i]);
}

static void virgin_ones_are_for_anybody(void **state)
{
    config.pool_min = 2 * UNIT;
    segment_pool_init(false);
    world_settle();
    struct segment *anas = lend(0, ana), *bens = lend(1, ben);
    assert_true(is_warm(anas) && is_warm(bens));
    segment_return(anas);
    segment_return(bens);
}

static void used_ones_are_for_the_same_user_and_namespace_only(void **state)
{
    recycle_one(ana);
    struct segment *bens = lend(0, ben), *elsewhere = lend(1, ana_elsewhere), *anas = lend(2, ana);
    assert_false(is_warm(bens));
    assert_false(is_warm(elsewhere));
    assert_true(is_warm(anas));
    segment_return(bens);
    segment_return(elsewhere);
    segment_return(anas);
}

/* Virgin ones are left for those who have none of their own, also when they have been in the pool for longer. */
static void his_own_come_before_virgin_ones(void **state)
{
    struct segment *first = lend(0, ana);
    int fd = mm_memfd_reopen(first->fd);
    struct stat used, seen;
    assert_int_equal(fstat(fd, &used), 0);
    close(fd);
    config.pool_min = config.pool_max = UNIT;
    segment_pool_init(false);
    world_settle();
    assert_int_equal(figures().warm_bytes, UNIT);
    config.pool_min = config.pool_max = 2 * UNIT;
    fill_and_return(first);
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(figures().recycled, 1);
    assert_int_equal(figures().warm_bytes, 2 * UNIT);
    struct segment *anas = lend(0, ana), *bens = lend(1, ben);
    assert_int_equal(fstat(anas->fd, &seen), 0);
    assert_true(seen.st_ino == used.st_ino);
    assert_true(is_warm(anas) && is_warm(bens));
    segment_return(anas);
    segment_return(bens);
}

/* A segment that somebody has had is zero to the last byte before it is lent again, and whole work is counted. */
static void recycled_memory_is_zero(void **state)
{
    recycle_one(ana);
    assert_int_equal(figures().zeroed_bytes, UNIT);
    assert_int_equal(figures().warm_bytes, UNIT);
    assert_int_equal(budget_used(), UNIT);
    struct segment *again = lend(3, ana);
    assert_true(is_warm(again));
    assert_true(memory_is(again->base, 0, UNIT));
    segment_return(again);
}

static void all_three_sizes_can_be_had(void **state)
{
    static const uint64_t bytes[] = { 2 * MIB, 32 * MIB, 256 * MIB };
    char *at = mm_reserve(512 * MIB);
    assert_non_null(at);
    for (unsigned size = 0; size < 3; size++) {
        int error;
        struct segment *segment = segment_lend(size, ana, at + 32 * MIB, &error);
        assert_non_null(segment);
        assert_int_equal(segment->bytes, bytes[size]);
        assert_true(mm_memfd_sealed(segment->fd, bytes[size]));
        segment->base[0] = segment->base[bytes[size] - 1] = 1;
        segment_return(segment);
        world_settle();
        assert_int_equal(figures().leaving_bytes, 0);
    }
    assert_int_equal(figures().destroyed, 3);               /* nobody has asked often enough, and they are almost empty */
    munmap(at, 512 * MIB);
}

/* ---- Leaving ---- */

static void a_lease_refused_is_tried_again_later_and_later(void **state)
{
    see_demand();
    struct segment *segment = lend(0, ana);
    refuse_leases(10);
    fill_and_return(segment);
    uint64_t waits_us[] = { 250, 500, 1000, 2000, 4000, 8000, 16000, 16000, 16000, 16000 };
    for (unsigned i = 0; i < 10; i++) {
        assert_true(segment_work());
        assert_int_equal(prove_calls, i + 1);
        assert_false(segment_work());                       /* nothing more now */
        assert_int_equal(figures().leaving_bytes, UNIT);
        assert_int_equal(budget_used(), 0);
        assert_int_equal(segment_due_ns() - world_ns, waits_us[i] * 1000);
        world_ns = segment_due_ns() - 1;
        assert_false(segment_work());
        world_ns++;
    }
    world_settle();
    assert_int_equal(prove_calls, 11);
    assert_int_equal(figures().recycled, 1);
    assert_int_equal(figures().leaving_bytes, 0);
    segment = lend(0, ana);
    assert_true(is_warm(segment) && memory_is(segment->base, 0, UNIT));
    segment_return(segment);
}

/* The real lease, and a holder who does not let go: at the deadline he is left with an empty file, and nobody gets it after him. */
static void one_that_is_held_elsewhere_is_emptied_and_never_used_again(void **state)
{
    see_demand();
    struct segment *segment = lend(0, ana);
    int held = mm_memfd_reopen(segment->fd);
    fill_and_return(segment);
    uint64_t deadline = world_ns + 1000 * MS;
    for ((void)segment_work(); mm_memfd_resident(held) != 0; (void)segment_work()) {
        assert_true(world_ns < deadline);
        assert_int_equal(mm_memfd_resident(held), UNIT);
        assert_true(segment_due_ns() > world_ns);
        world_ns = segment_due_ns();
    }
    assert_true(world_ns >= deadline && world_ns < deadline + 20 * MS);
    assert_int_equal(mm_memfd_resident(held), 0);           /* at once */
    world_settle();
    assert_int_equal(figures().destroyed, 1);
    assert_int_equal(figures().recycled, 0);
    assert_int_equal(figures().warm_bytes, 0);
    assert_int_equal(budget_used(), 0);
    segment = lend(0, ana);
    assert_false(is_warm(segment));
    struct stat theirs, ours;
    assert_int_equal(fstat(held, &theirs), 0);
    assert_int_equal(fstat(segment->fd, &ours), 0);
    assert_true(theirs.st_ino != ours.st_ino);
    close(held);
    segment_return(segment);
}

static void the_same_one_is_used_again_once_it_is_let_go(void **state)
{
    see_demand();
    struct segment *segment = lend(0, ana);
    int held = mm_memfd_reopen(segment->fd);
    fill_and_return(segment);
    world_settle();
    assert_int_equal(figures().leaving_bytes, UNIT);
    close(held);
    world_ns = segment_due_ns();
    world_settle();
    assert_int_equal(figures().recycled, 1);
}

static void a_lease_that_fails_for_another_reason_is_not_waited_for(void **state)
{
    see_demand();
    struct segment *segment = lend(0, ana);
    refuse_leases(0);
    prove_error = -EBADF;
    fill_and_return(segment);
    world_settle();
    assert_int_equal(prove_calls, 1);
    assert_int_equal(figures().destroyed, 1);
    assert_int_equal(figures().recycled, 0);
}

static void mostly_empty_ones_are_not_worth_zeroing(void **state)
{
    for (unsigned half = 0; half <= 1; half++) {
        struct segment *segment = lend(0, ana);
        memset(segment->base, 0xab, UNIT / 2 - 65536 + half * 65536);
        segment_return(segment);
        world_ns += 100 * MS;
        world_settle();
        assert_int_equal(figures().recycled, half);
        assert_int_equal(figures().destroyed, 1);
    }
}

static void unwanted_ones_are_closed(void **state)
{
    config.pool_max = 1;                                    /* nothing is wanted */
    fill_and_return(lend(0, ana));
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(figures().recycled, 0);
    assert_int_equal(figures().destroyed, 1);
    assert_int_equal(budget_used(), 0);
}

static void without_budget_none_is_kept(void **state)
{
    struct segment *segment = lend(0, ana);
    config.pool_max = 64 * MIB;
    budget_set(UNIT - 1);
    fill_and_return(segment);
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(figures().recycled, 0);
    assert_int_equal(figures().destroyed, 1);
    assert_int_equal(budget_used(), 0);
}

/* ---- Demand ---- */

/* One tenth of a second in which `count` segments are lent, and given back if `back`; untouched ones, which cost nothing. */
static void demand_tenth(unsigned count, bool back, struct segment **ret_lent)
{
    struct segment *segment[PLACES];
    for (unsigned i = 0; i < count; i++)
        segment[i] = lend(i, ana);
    for (unsigned i = 0; i < count; i++)
        if (back)
            segment_return(segment[i]);
        else
            ret_lent[i] = segment[i];
    world_ns += 100 * MS;
    world_settle();
}

static void half_a_second_of_demand_is_kept(void **state)
{
    config.pool_max = GIB;
    for (unsigned i = 0; i < 40; i++)
        demand_tenth(10, true, NULL);
    uint64_t per_second = 10 * UNIT * 10;
    assert_in_range(figures().target_bytes, per_second / 2 - UNIT, per_second / 2 + UNIT);
    assert_int_equal(figures().warm_bytes, 0);              /* all came back: nothing fresh is made */
    for (unsigned i = 0; i < 5; i++)
        demand_tenth(1, true, NULL);
    assert_true(figures().target_bytes >= per_second / 2 - UNIT);   /* less demand is no idleness */
    config.pool_max = 16 * MIB;
    demand_tenth(10, true, NULL);
    assert_int_equal(figures().target_bytes, 16 * MIB);
}

static void a_single_loan_makes_one_segment_wanted(void **state)
{
    demand_tenth(1, true, NULL);
    assert_in_range(figures().target_bytes, UNIT, 2 * UNIT);
}

static void without_a_bound_a_sixteenth_of_the_budget_is_the_most(void **state)
{
    budget_set(160 * MIB);
    for (unsigned i = 0; i < 40; i++)
        demand_tenth(10, true, NULL);
    assert_int_equal(figures().target_bytes, 10 * MIB);
}

static void what_does_not_come_back_is_made_ahead(void **state)
{
    struct segment *lent[40];
    config.pool_max = GIB;
    for (unsigned i = 0; i < 40; i++) {
        int error;
        lent[i] = segment_lend(0, ana, reserve + i * UNIT, &error);
        assert_non_null(lent[i]);
        world_ns += 100 * MS;
        world_settle();
    }
    assert_in_range(figures().warm_bytes, 4 * UNIT, 6 * UNIT);      /* half a second's worth */
    assert_true(figures().lent_warm >= 35);
    for (unsigned i = 0; i < 40; i++)
        segment_return(lent[i]);
}

/* The pool's own dates lead there: ten seconds each, half of what it was, then nothing is due any more. */
static void idleness_halves_the_target_down_to_nothing(void **state)
{
    config.pool_max = GIB;
    for (unsigned i = 0; i < 40; i++)
        demand_tenth(10, true, NULL);
    while (segment_due_ns() < world_ns + 9 * SEC) {         /* the averages run out first */
        world_ns = segment_due_ns();
        world_settle();
    }
    uint64_t target = figures().target_bytes, last = world_ns;
    unsigned halvings = 0;
    for (uint64_t due; (due = segment_due_ns()) != UINT64_MAX; halvings++) {
        if (halvings)
            assert_int_equal(due - last, 10 * SEC);
        last = world_ns = due;
        world_settle();
        assert_true(figures().target_bytes <= target / 2 + UNIT);
        assert_true(halvings > 3 || figures().target_bytes >= target / 2);
        target = figures().target_bytes;
    }
    assert_in_range(halvings, 8, 13);
    assert_int_equal(figures().target_bytes, 0);
    assert_int_equal(budget_used(), 0);
}

static void idleness_closes_what_is_warm_but_the_least(void **state)
{
    config.pool_min = 2 * UNIT;
    struct segment *lent[8];
    demand_tenth(8, false, lent);
    for (unsigned i = 0; i < 8; i++)
        fill_and_return(lent[i]);
    world_ns += 100 * MS;
    world_settle();
    uint64_t warm = figures().warm_bytes;
    assert_true(warm > 4 * UNIT);
    for (uint64_t due; (due = segment_due_ns()) != UINT64_MAX;) {
        world_ns = due;
        world_settle();
        assert_true(figures().warm_bytes <= warm);
        warm = figures().warm_bytes;
    }
    assert_int_equal(figures().warm_bytes, 2 * UNIT);
    assert_int_equal(budget_used(), 2 * UNIT);
}

/* More is to be kept ready than the pool may hold: the pool's bound wins, and the workers come to rest. */
static void a_least_above_the_most_comes_to_rest(void **state)
{
    config.pool_min = 8 * MIB;
    config.pool_max = 4 * MIB;
    world_ns += 100 * MS;
    unsigned slices = 0;
    while (slices < 2000 && segment_work())
        slices++;
    config.pool_min = 0;                                    /* whatever is wrong, the case can end */
    assert_in_range(slices, 1, 200);
    assert_int_equal(figures().warm_bytes, 4 * MIB);
    assert_int_equal(figures().destroyed, 0);
}

static void warming_stops_at_the_budget(void **state)
{
    budget_set(3 * UNIT + UNIT / 2);
    config.pool_min = 8 * UNIT;
    config.pool_max = 8 * UNIT;
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(figures().warm_bytes, 3 * UNIT);
    assert_int_equal(budget_used(), 3 * UNIT);
}

static void shedding_frees_what_is_asked_for_and_no_more(void **state)
{
    config.pool_min = 8 * UNIT;
    segment_pool_init(false);
    world_settle();
    assert_int_equal(budget_used(), 8 * UNIT);
    budget_set(9 * UNIT);
    segment_shed(UNIT);
    assert_int_equal(budget_used(), 8 * UNIT);              /* there is room: nothing is closed */
    segment_shed(3 * UNIT);
    assert_int_equal(budget_used(), 6 * UNIT);
    assert_true(budget_take(3 * UNIT));
    budget_give(3 * UNIT);
    segment_shed(GIB);
    assert_int_equal(budget_used(), 0);                     /* all that there was */
    assert_int_equal(figures().warm_bytes, 0);
    assert_int_equal(figures().destroyed, 8);
}

/* Fails until so many segments were closed. */
static uint64_t closed_wanted;

static int memfd_scarce(const char *name, uint64_t bytes)
{
    return figures().destroyed < closed_wanted ? -EMFILE : mm_memfd_new(name, bytes);
}

static void a_pooled_segment_yields_its_descriptor(void **state)
{
    config.pool_min = 3 * UNIT;
    segment_pool_init(false);
    world_settle();
    struct segment *segment[3];
    for (unsigned i = 0; i < 3; i++)
        segment[i] = lend(i, i < 2 ? ana : ben);
    for (unsigned i = 0; i < 2; i++)
        fill_and_return(segment[i]);
    world_settle();                                         /* two of ana's are warm: ben cannot have them */
    assert_int_equal(figures().warm_bytes, 3 * UNIT);       /* and a fresh one */
    fill_and_return(lend(3, ben));
    os.memfd_new = memfd_scarce;
    closed_wanted = figures().destroyed + 2;
    int error = 0;
    struct segment *more[2] = { lend(4, ben), NULL };
    more[1] = segment_lend(0, ben, reserve + 5 * UNIT, &error);
    assert_non_null(more[1]);
    assert_int_equal(figures().destroyed, closed_wanted);
    uint64_t warm = figures().warm_bytes;
    world_ns += 900 * MS;
    while (segment_work())
        ;
    assert_true(figures().warm_bytes <= warm + UNIT);       /* what comes back; no fresh one */
    world_ns += 200 * MS;
    world_settle();
    assert_int_equal(figures().warm_bytes, 3 * UNIT);
    segment_return(more[0]), segment_return(more[1]), segment_return(segment[2]);
    while (segment_shed_descriptor())
        ;
    assert_int_equal(figures().warm_bytes, 0);
}

/* ---- Errors ---- */

static int memfd_error;
static int memfd_fail(const char *name, uint64_t bytes) { return memfd_error; }

static void a_file_that_cannot_be_made_is_an_error_with_its_number(void **state)
{
    static const struct { int from, to; } errors[] = {
        { -EMFILE, -MORPH_EFILES }, { -ENFILE, -MORPH_EFILES }, { -ENOMEM, -MORPH_EMEMORY }, { -ENOSPC, -MORPH_EMEMORY },
        { -EPERM, -MORPH_ESYSTEM }, { -EINVAL, -MORPH_ESYSTEM },
    };
    os.memfd_new = memfd_fail;
    int descriptors = test_descriptors();
    for (unsigned i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        int error = 0;
        memfd_error = errors[i].from;
        assert_null(segment_lend(0, ana, reserve, &error));
        assert_int_equal(error, errors[i].to);
    }
    assert_int_equal(figures().lent, 0);
    assert_int_equal(budget_used(), 0);
    assert_int_equal(test_descriptors(), descriptors);
}

static void without_files_what_is_warm_is_still_lent(void **state)
{
    config.pool_min = UNIT;
    segment_pool_init(false);
    world_settle();
    os.memfd_new = memfd_fail;
    memfd_error = -EMFILE;
    struct segment *segment = lend(0, ana);
    int error = 0;
    assert_null(segment_lend(0, ana, reserve + UNIT, &error));
    assert_int_equal(error, -MORPH_EFILES);
    segment_return(segment);
}

static void warming_without_files_stops_and_charges_nothing(void **state)
{
    os.memfd_new = memfd_fail;
    memfd_error = -EMFILE;
    config.pool_min = 4 * UNIT;
    world_ns += 100 * MS;
    unsigned slices = 0;
    while (slices < 100 && segment_work())
        slices++;
    assert_int_equal(slices, 0);
    assert_int_equal(budget_used(), 0);
    assert_int_equal(figures().warm_bytes, 0);
}

static void a_place_that_cannot_be_mapped_is_an_error(void **state)
{
    config.pool_min = UNIT;
    segment_pool_init(false);
    world_settle();
    for (unsigned warm = 1; warm < 2; warm--) {             /* a warm one first, then a cold one */
        int error = 0;
        assert_null(segment_lend(0, ana, (void *)~(uintptr_t)(UNIT - 1), &error));
        assert_int_equal(error, -MORPH_EMEMORY);
    }
    assert_int_equal(figures().lent, 0);
    assert_int_equal(figures().destroyed, 2);
    assert_int_equal(budget_used(), 0);
}

/* ---- At random ---- */

struct known { ino_t inode; struct segment_owner owner; bool used; };

/* Lends, uses, gives back, lets time pass; a segment is only ever seen by one owner, zero each time, and the accounts balance. */
static void any_sequence_keeps_owners_apart_and_accounts_balanced(void **state)
{
    struct test_random random = test_random_begin("segment_unit");
    static struct known known[4096];
    struct segment *lent[PLACES] = { NULL };
    unsigned knowns = 0;
    memset(known, 0, sizeof known);
    config.pool_min = 4 * UNIT;
    config.pool_max = 24 * UNIT;
    refuse_leases(0);
    for (unsigned step = 0; step < 1500; step++) {
        unsigned place = (unsigned)test_random_below(&random, 24);
        struct segment_owner owner = { 1000 + (uid_t)test_random_below(&random, 2), test_random_below(&random, 2) };
        if (lent[place]) {
            if (test_random_below(&random, 2))
                memset(lent[place]->base, 0xcd, test_random_below(&random, 2) ? UNIT : UNIT / 4);
            segment_return(lent[place]);
            lent[place] = NULL;
        } else {
            struct segment *segment = lent[place] = lend(place, owner);
            struct stat st;
            assert_int_equal(fstat(segment->fd, &st), 0);
            unsigned k = 0;
            while (k < knowns && known[k].inode != st.st_ino)
                k++;
            assert_true(k < 4096);
            if (k == knowns)
                known[knowns++] = (struct known){ st.st_ino, owner, true };
            else
                assert_true(known[k].owner.uid == owner.uid && known[k].owner.user_namespace == owner.user_namespace);
            if (is_warm(segment))
                assert_true(memory_is(segment->base, 0, UNIT));
        }
        prove_refusals = (unsigned)test_random_below(&random, 3);
        for (uint64_t slices = test_random_below(&random, 40); slices > 0; slices--)
            (void)segment_work();
        world_ns += test_random_below(&random, 30) * MS;
    }
    for (unsigned i = 0; i < PLACES; i++)
        if (lent[i])
            segment_return(lent[i]);
    assert_true(figures().recycled > 0 && figures().lent_warm > 0 && figures().lent_cold > 0);
    refuse_leases(0);
    world_ns += SEC;
    world_settle();
    assert_int_equal(figures().leaving_bytes + figures().zeroing_bytes, 0);
    assert_int_equal(budget_used(), figures().warm_bytes);
    assert_true(figures().warm_bytes <= 24 * UNIT);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        pool_case(the_least_is_warmed_before_anybody_asks),
        pool_case(warm_ones_go_first_then_cold_ones),
        pool_case(virgin_ones_are_for_anybody),
        pool_case(used_ones_are_for_the_same_user_and_namespace_only),
        pool_case(his_own_come_before_virgin_ones),
        pool_case(recycled_memory_is_zero),
        pool_case(all_three_sizes_can_be_had),
        pool_case(a_lease_refused_is_tried_again_later_and_later),
        pool_case(one_that_is_held_elsewhere_is_emptied_and_never_used_again),
        pool_case(the_same_one_is_used_again_once_it_is_let_go),
        pool_case(a_lease_that_fails_for_another_reason_is_not_waited_for),
        pool_case(mostly_empty_ones_are_not_worth_zeroing),
        pool_case(unwanted_ones_are_closed),
        pool_case(without_budget_none_is_kept),
        pool_case(half_a_second_of_demand_is_kept),
        pool_case(a_single_loan_makes_one_segment_wanted),
        pool_case(without_a_bound_a_sixteenth_of_the_budget_is_the_most),
        pool_case(what_does_not_come_back_is_made_ahead),
        pool_case(idleness_halves_the_target_down_to_nothing),
        pool_case(idleness_closes_what_is_warm_but_the_least),
        pool_case(a_least_above_the_most_comes_to_rest),
        pool_case(warming_stops_at_the_budget),
        pool_case(shedding_frees_what_is_asked_for_and_no_more),
        pool_case(a_pooled_segment_yields_its_descriptor),
        pool_case(a_file_that_cannot_be_made_is_an_error_with_its_number),
        pool_case(without_files_what_is_warm_is_still_lent),
        pool_case(warming_without_files_stops_and_charges_nothing),
        pool_case(a_place_that_cannot_be_mapped_is_an_error),
        pool_case(any_sequence_keeps_owners_apart_and_accounts_balanced),
    };
    return test_run(cases);
}
