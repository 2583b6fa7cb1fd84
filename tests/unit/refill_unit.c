/* refill_unit.c — requests, give-backs and grants ahead, with the client's side of the rings played by hand. Tests daemon/heap/refill.c. */
#define _GNU_SOURCE
#include "tests/unit/heap_helper.h"

#include "daemon/heap/refill.h"
#include "shm/park.h"

static struct place place;
static struct mm_slot *slot;            /* of the only thread; its first grant is taken */
static bool false_testimony;

static void thread_open(uint64_t limit_bytes)
{
    struct mm_cell cell;
    uint32_t left;
    place_open(&place, limit_bytes, 2 * limit_bytes);
    slot = mm_control_slot(place.heap->control, 0);
    place.heap->control->slots_high = 1;
    false_testimony = false;
    assert_true(mm_ring_take(slot, &cell, &left));
}

static bool serve(void)
{
    bool any = refill_serve(place.heap, &false_testimony);
    place_check(&place);
    return any;
}

static void ask(uint32_t kind, uint32_t want, uint32_t min)
{
    slot->request_kind = kind;
    slot->request_blocks = want;
    slot->request_min = min;
    mm_store_release(&slot->request_seq, slot->request_seq + 1);        /* as the client does: the words before the number */
}

/* The next cell, which must be there. */
static struct mm_cell taken(void)
{
    struct mm_cell cell = { 0 };
    uint32_t left;
    assert_true(mm_ring_take(slot, &cell, &left));
    return cell;
}

static bool ring_empty(void) { return slot->ring_head == slot->ring_tail; }
static uint32_t queued(void) { return slot->ring_tail - slot->ring_head; }

/* ---- Requests ---- */

static void nothing_asked_nothing_done(void **state)
{
    thread_open(4 * MIB);
    assert_false(serve());
    assert_true(ring_empty());
    assert_false(false_testimony);
    place_close(&place);
}

static void a_request_is_answered_once_with_its_number(void **state)
{
    thread_open(4 * MIB);
    for (uint32_t seq = 1; seq <= 20; seq++) {              /* more than a ring holds */
        ask(MM_GRANT_RUN, 2, 1);
        assert_true(serve());
        assert_false(serve());
        struct mm_cell cell = taken();
        assert_int_equal(cell.kind, MM_GRANT_RUN);
        assert_int_equal(cell.seq, seq);
        assert_int_equal(cell.count, 2);
        assert_int_equal(cell.block, 14 + 2 * seq);
        assert_int_equal(heap_block_state(place.heap, cell.block), MM_BLOCK_ARENA);
        assert_true(ring_empty());
    }
    assert_int_equal(place.heap->grants, 21);
    assert_int_equal(place.heap->grants_ahead, 0);
    assert_int_equal(place.heap->refusals, 0);
    place_close(&place);
}

static void what_cannot_be_met_is_refused_with_the_reason(void **state)
{
    static const struct { uint32_t kind, want, min; int error; } requests[] = {
        { MM_GRANT_RUN, 100, 49, -MORPH_ENOMEM },
        { MM_GRANT_RUN, UINT32_MAX, UINT32_MAX, -MORPH_ENOMEM },
        { MM_GRANT_RUN, 0, 0, -MORPH_EINVALID },
        { MM_GRANT_RUN, 4, 0, -MORPH_EINVALID },
        { MM_GRANT_RUN, 1, 2, -MORPH_EINVALID },
        { MM_GRANT_YOUNG, 1, 1, -MORPH_EMODE },
        { MM_GRANT_OLD, 1, 1, -MORPH_EMODE },
        { MM_GRANT_LARGE, 1, 1, -MORPH_EMODE },
        { MM_GRANT_NONE, 1, 1, -MORPH_EMODE },
        { MM_GRANT_REFUSED, 1, 1, -MORPH_EMODE },
        { UINT32_MAX, 1, 1, -MORPH_EMODE },
    };
    thread_open(4 * MIB);
    for (unsigned i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        ask(requests[i].kind, requests[i].want, requests[i].min);
        assert_true(serve());
        struct mm_cell cell = taken();
        assert_int_equal(cell.kind, MM_GRANT_REFUSED);
        assert_int_equal(cell.block, requests[i].error);
        assert_int_equal(cell.seq, i + 1);
        assert_int_equal(cell.count, 0);
        assert_int_equal(place.heap->refusals, i + 1);
    }
    assert_int_equal(place.heap->granted_blocks, 16);
    assert_false(false_testimony);
    place_close(&place);
}

/* In the place of shm/park.c's, by the linker (--wrap): notes what is woken, and then wakes it. */
static struct { unsigned calls; uint32_t *word, seen; } woken;
void __real_mm_unpark(uint32_t *word, int count);
void __wrap_mm_unpark(uint32_t *word, int count);
void __wrap_mm_unpark(uint32_t *word, int count)
{
    woken.calls++;
    woken.word = word;
    woken.seen = mm_load_seq_cst(word);
    __real_mm_unpark(word, count);
}

/* By a grant, by a refusal, by a grant ahead; once its cell is there, and nobody else for nothing. */
static void a_sleeper_is_woken(void **state)
{
    thread_open(4 * MIB);
    for (uint32_t asleep = 0; asleep <= 1; asleep++) {
        mm_store_seq_cst(&slot->asleep, asleep);
        woken.calls = 0;
        ask(MM_GRANT_RUN, 1, 1);
        assert_true(serve());
        assert_int_equal(woken.calls, asleep);
        ask(MM_GRANT_RUN, 1000, 1000);
        assert_true(serve());
        assert_int_equal(woken.calls, 2 * asleep);
        (void)taken(), (void)taken();
        slot->wish_blocks = 1;
        world_ns += MS;                                     /* one is enough for a thread that is not in a hurry */
        assert_true(serve());
        assert_int_equal(woken.calls, 3 * asleep);
        slot->wish_blocks = 0;
        (void)taken();
    }
    assert_ptr_equal(woken.word, &slot->ring_tail);
    assert_int_equal(woken.seen, slot->ring_tail);
    assert_false(serve());
    assert_int_equal(woken.calls, 3);
    place_close(&place);
}

static void a_full_ring_is_a_reason_to_stop(void **state)
{
    thread_open(64 * MIB);
    for (unsigned i = 0; i < MM_RING_CELLS; i++) {
        ask(MM_GRANT_RUN, 1, 1);
        assert_true(serve());
    }
    uint64_t granted = place.heap->granted_blocks;
    ask(MM_GRANT_RUN, 1, 1);
    slot->wish_blocks = 4;
    assert_false(serve());
    assert_int_equal(place.heap->granted_blocks, granted);
    assert_int_equal(taken().seq, 1);
    slot->wish_blocks = 0;
    assert_true(serve());
    for (unsigned i = 0; i < MM_RING_CELLS; i++)
        assert_int_equal(taken().seq, i + 2);
    place_close(&place);
}

static void a_request_waits_while_the_client_does_not_read_its_mail(void **state)
{
    thread_open(64 * MIB);
    for (unsigned i = 0; i < 16; i++) {
        ask(MM_GRANT_RUN, 32, 32);
        assert_true(serve());
        assert_int_equal(taken().kind, MM_GRANT_RUN);
        assert_false(place.heap->retry);
    }
    ask(MM_GRANT_RUN, 32, 32);
    assert_false(serve());
    assert_true(place.heap->retry);
    assert_true(ring_empty());
    assert_int_equal(place.heap->refusals, 0);
    assert_int_equal(place_read_mail(&place), 16);
    assert_true(serve());
    assert_false(place.heap->retry);
    assert_int_equal(taken().kind, MM_GRANT_RUN);
    (void)place_read_mail(&place);
    place_close(&place);
}

/* Zeroing a long run takes several slices; between them other heaps are served. */
static void a_request_whose_work_is_half_done_is_not_answered_yet(void **state)
{
    thread_open(8 * MIB);
    ask(MM_GRANT_RUN, 96, 96);
    assert_true(serve());
    struct mm_cell cell = taken();
    memset(place_at(&place, cell.block), 1, 96 * MM_BLOCK_BYTES);
    assert_true(mm_give_put(slot, cell.block, 96));
    assert_true(serve());
    ask(MM_GRANT_RUN, 96, 96);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(serve());                               /* work was done, so more is to be done */
        assert_true(ring_empty());
        assert_false(place.heap->retry);
    }
    assert_true(serve());
    assert_int_equal(taken().count, 96);
    (void)place_read_mail(&place);
    place_close(&place);
}

static void every_thread_is_served(void **state)
{
    thread_open(4 * MIB);
    place.heap->control->slots_high = 2;
    slot = mm_control_slot(place.heap->control, 1);
    ask(MM_GRANT_RUN, 3, 3);
    assert_true(serve());
    assert_int_equal(taken().count, 3);
    place_close(&place);
}

/* ---- Give-backs ---- */

static void what_is_given_is_taken_back(void **state)
{
    thread_open(4 * MIB);
    for (uint32_t i = 0; i < 16; i += 2)
        assert_true(mm_give_put(slot, i, 2));
    assert_true(serve());
    assert_int_equal(place.heap->granted_blocks, 0);
    assert_int_equal(place.heap->given_back_blocks, 16);
    assert_int_equal(slot->give_head, 8);
    assert_false(serve());
    assert_false(false_testimony);
    place_close(&place);
}

static void what_is_given_answers_the_request_behind_it(void **state)
{
    thread_open(4 * MIB);
    ask(MM_GRANT_RUN, 48, 48);
    assert_true(serve());
    assert_int_equal(taken().count, 48);
    assert_true(mm_give_put(slot, 0, 16));
    ask(MM_GRANT_RUN, 16, 16);
    assert_true(serve());
    struct mm_cell cell = taken();
    assert_int_equal(cell.kind, MM_GRANT_RUN);
    assert_int_equal(cell.count, 16);
    place_close(&place);
}

/* ---- False testimony ---- */

static void giving_what_is_not_his_is_false_testimony(void **state)
{
    static const struct { uint32_t block, count; } lies[] = {
        { 16, 1 }, { 0, 17 }, { 0, 0 }, { 32, 1 }, { UINT32_MAX, 1 }, { 1, UINT32_MAX }, { 0, UINT32_MAX },
    };
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        thread_open(4 * MIB);
        assert_true(mm_give_put(slot, lies[i].block, lies[i].count));
        (void)serve();
        assert_true(false_testimony);
        assert_int_equal(place.heap->granted_blocks, 16);
        place_close(&place);
    }
}

static void giving_twice_is_false_testimony(void **state)
{
    thread_open(4 * MIB);
    assert_true(mm_give_put(slot, 3, 1));
    assert_true(serve());
    assert_false(false_testimony);
    assert_true(mm_give_put(slot, 3, 1));
    (void)serve();
    assert_true(false_testimony);
    assert_int_equal(place.heap->granted_blocks, 15);
    place_close(&place);
}

/* Ends of rings that cannot be: nothing is granted, nothing taken, nothing read beyond the cells. */
static void impossible_ends_of_rings_are_not_believed(void **state)
{
    static const uint32_t heads[] = { 5, 12, 100, 1u << 31, UINT32_MAX, 0, 2 };
    thread_open(4 * MIB);
    for (unsigned i = 0; i < 3; i++) {                      /* 3 has been seen, 4 is where both ends are */
        ask(MM_GRANT_RUN, 1, 1);
        assert_true(serve());
        (void)taken();
    }
    slot->wish_blocks = 1;
    for (unsigned i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        slot->ring_head = heads[i];
        ask(MM_GRANT_RUN, 1, 1);
        assert_false(serve());
        assert_int_equal(slot->ring_tail, 4);
    }
    slot->ring_head = 4;
    slot->wish_blocks = 0;
    assert_true(serve());
    assert_int_equal(taken().seq, 10);
    static const uint32_t tails[] = { 65, 100, 1u << 31, UINT32_MAX };
    for (unsigned i = 0; i < 4; i++) {
        slot->give_tail = tails[i];
        assert_false(serve());
        assert_int_equal(slot->give_head, 0);
    }
    assert_int_equal(place.heap->granted_blocks, 20);
    place_close(&place);
}

static void more_threads_than_slots_are_not_looked_at(void **state)
{
    thread_open(4 * MIB);
    place.heap->control->slots_high = UINT32_MAX;
    struct mm_slot *beyond = mm_control_slot(place.heap->control, place.heap->slot_count);
    beyond->request_kind = MM_GRANT_RUN;
    beyond->request_blocks = beyond->request_min = beyond->request_seq = 1;
    assert_false(serve());
    assert_int_equal(place.heap->granted_blocks, 16);
    place_close(&place);
}

/* ---- Work ahead ---- */

static void a_wish_is_granted_ahead(void **state)
{
    thread_open(4 * MIB);
    slot->wish_blocks = 4;
    assert_true(serve());
    assert_false(serve());
    struct mm_cell cell = taken();
    assert_int_equal(cell.kind, MM_GRANT_RUN);
    assert_int_equal(cell.seq, 0);
    assert_int_equal(cell.count, 4);
    assert_int_equal(place.heap->grants_ahead, 1);
    place_close(&place);
}

static void a_huge_wish_is_a_chunk_at_most(void **state)
{
    thread_open(64 * MIB);
    slot->wish_blocks = UINT32_MAX;
    assert_true(serve());
    assert_int_equal(taken().count, 32);
    (void)place_read_mail(&place);
    place_close(&place);
}

/* Nobody is refused what another one was given who did not ask. */
static void who_asks_comes_before_who_wishes(void **state)
{
    thread_open(4 * MIB);
    place.heap->control->slots_high = 2;
    slot->wish_blocks = 32;
    slot = mm_control_slot(place.heap->control, 1);
    ask(MM_GRANT_RUN, 40, 40);
    assert_true(serve());
    assert_int_equal(taken().count, 40);
    place_close(&place);
}

/* The last quarter of the bound is for those who ask. */
static void ahead_only_under_three_quarters(void **state)
{
    thread_open(4 * MIB);
    slot->wish_blocks = 5;
    while (serve()) {
        assert_int_equal(taken().count, 5);
        world_ns += MS;
    }
    assert_int_equal(place.heap->granted_blocks, 46);       /* 16 + 6 * 5; one more would be beyond 48 */
    slot->wish_blocks = 2;
    assert_true(serve());
    assert_int_equal(place.heap->granted_blocks, 48);
    (void)taken();
    assert_false(serve());
    ask(MM_GRANT_RUN, 16, 16);
    assert_true(serve());
    assert_int_equal(taken().count, 16);
    place_close(&place);
}

static void nobody_is_told_of_a_wish_that_cannot_be_met(void **state)
{
    thread_open(4 * MIB);
    budget_set(budget_used());
    slot->wish_blocks = 4;
    assert_false(serve());
    assert_true(ring_empty());
    assert_int_equal(place.heap->refusals, 0);
    place_close(&place);
}

/* Takes all there is after `after_ns`, lets it be filled again, and says how many cells were put. */
static uint32_t drained_after(uint64_t after_ns)
{
    while (!ring_empty())
        (void)taken();
    world_ns += after_ns;
    (void)serve();
    (void)place_read_mail(&place);
    return queued();
}

static void who_drains_fast_gets_more_and_who_is_slow_gets_less(void **state)
{
    thread_open(64 * MIB);
    slot->wish_blocks = 1;
    assert_int_equal(drained_after(MS), 1);
    assert_int_equal(drained_after(199999), 2);
    assert_int_equal(drained_after(200000), 2);             /* neither fast nor slow: as it was */
    assert_int_equal(drained_after(199999), 4);
    assert_int_equal(drained_after(0), 4);                  /* the most */
    assert_int_equal(drained_after(20 * MS), 4);
    assert_int_equal(drained_after(20 * MS + 1), 1);
    assert_int_equal(drained_after(100000), 2);
    place_close(&place);
}

static void a_ring_that_is_filled_as_wanted_is_left_alone(void **state)
{
    thread_open(64 * MIB);
    slot->wish_blocks = 1;
    (void)drained_after(0);
    while (drained_after(0) < 4)
        ;
    (void)taken();
    assert_true(serve());
    assert_int_equal(queued(), 4);
    assert_false(serve());
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(nothing_asked_nothing_done),
        world_case(a_request_is_answered_once_with_its_number),
        world_case(what_cannot_be_met_is_refused_with_the_reason),
        world_case(a_sleeper_is_woken),
        world_case(a_full_ring_is_a_reason_to_stop),
        world_case(a_request_waits_while_the_client_does_not_read_its_mail),
        world_case(a_request_whose_work_is_half_done_is_not_answered_yet),
        world_case(every_thread_is_served),
        world_case(what_is_given_is_taken_back),
        world_case(what_is_given_answers_the_request_behind_it),
        world_case(giving_what_is_not_his_is_false_testimony),
        world_case(giving_twice_is_false_testimony),
        world_case(impossible_ends_of_rings_are_not_believed),
        world_case(more_threads_than_slots_are_not_looked_at),
        world_case(a_wish_is_granted_ahead),
        world_case(a_huge_wish_is_a_chunk_at_most),
        world_case(who_asks_comes_before_who_wishes),
        world_case(ahead_only_under_three_quarters),
        world_case(nobody_is_told_of_a_wish_that_cannot_be_met),
        world_case(who_drains_fast_gets_more_and_who_is_slow_gets_less),
        world_case(a_ring_that_is_filled_as_wanted_is_left_alone),
    };
    return test_run(cases);
}
