/* ring_unit.c — the two rings of a slot: order, room, wrap-around, and what is made of a client's false testimony. Tests
 * shm/ring.h in one thread, then with a thread at each end; ring_model.c walks the interleavings.
 */
#include "tests/lib/check.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "shm/ring.h"

static struct mm_slot slot;

/* A fresh slot whose indices all stand at `at`. */
static void slot_reset(uint32_t at)
{
    memset(&slot, 0, sizeof slot);
    slot.ring_head = slot.ring_tail = slot.give_head = slot.give_tail = at;
}

/* Indices start here and there, so that they wrap from 2^32 - 1 to 0 in the middle of a case. */
static const uint32_t starts[] = { 0, 1, 7, UINT32_MAX, UINT32_MAX - 3, UINT32_MAX - 70, 0x80000000u };
#define STARTS (sizeof starts / sizeof starts[0])

static void grants_come_in_order(void **state)
{
    for (unsigned s = 0; s < STARTS; s++) {
        uint32_t tail = starts[s], last_head = starts[s], next = 1, expected = 1, left;
        struct mm_cell cell = { .kind = MM_GRANT_RUN }, got;
        slot_reset(starts[s]);
        for (unsigned round = 0; round < 100; round++) {
            for (unsigned n = 0; n <= round % MM_RING_CELLS; n++) {
                assert_int_equal(mm_ring_room(&slot, tail, &last_head), MM_RING_CELLS - n);
                cell.block = next++;
                assert_false(mm_ring_put(&slot, &tail, &cell));
            }
            while (mm_ring_take(&slot, &got, &left)) {
                assert_int_equal(got.block, expected++);
                assert_int_equal(got.kind, MM_GRANT_RUN);
                assert_int_equal(left, next - expected);
            }
            assert_int_equal(expected, next);
        }
    }
}

static void taking_from_an_empty_ring_changes_nothing(void **state)
{
    struct mm_cell got = { .block = 99 };
    uint32_t left = 99;
    slot_reset(5);
    struct mm_slot before = slot;
    assert_false(mm_ring_take(&slot, &got, &left));
    assert_int_equal(got.block, 99);
    assert_int_equal(left, 99);
    assert_memory_equal(&before, &slot, sizeof slot);
}

static void a_full_ring_has_no_room(void **state)
{
    for (unsigned s = 0; s < STARTS; s++) {
        uint32_t tail = starts[s], last_head = starts[s], left;
        struct mm_cell cell = { .kind = MM_GRANT_RUN }, got;
        slot_reset(starts[s]);
        for (unsigned n = 0; n < MM_RING_CELLS; n++)
            (void)mm_ring_put(&slot, &tail, &cell);
        assert_int_equal(mm_ring_room(&slot, tail, &last_head), 0);
        assert_true(mm_ring_take(&slot, &got, &left));
        assert_int_equal(left, MM_RING_CELLS - 1);
        assert_int_equal(mm_ring_room(&slot, tail, &last_head), 1);
    }
}

static void putting_says_that_the_client_sleeps(void **state)
{
    uint32_t tail = 0;
    struct mm_cell cell = { .kind = MM_GRANT_RUN };
    slot_reset(0);
    slot.asleep = 1;
    assert_true(mm_ring_put(&slot, &tail, &cell));
    assert_int_equal(tail, 1);
    assert_int_equal(slot.ring_tail, 1);
    slot.asleep = 2;                                                    /* nonsense is not sleep */
    assert_false(mm_ring_put(&slot, &tail, &cell));
}

/* A head that the client cannot have reached counts as a full ring, and spoils nothing for later. */
static void false_heads_count_as_full(void **state)
{
    for (unsigned s = 0; s < STARTS; s++) {
        uint32_t tail = starts[s], last_head = starts[s], left;
        struct mm_cell cell = { .kind = MM_GRANT_RUN }, got;
        slot_reset(starts[s]);
        for (unsigned n = 0; n < 5; n++)
            (void)mm_ring_put(&slot, &tail, &cell);
        for (unsigned n = 0; n < 2; n++)
            assert_true(mm_ring_take(&slot, &got, &left));
        assert_int_equal(mm_ring_room(&slot, tail, &last_head), MM_RING_CELLS - 3);
        uint32_t honest = slot.ring_head;
        const uint32_t lies[] = { honest - 1, honest - 2, tail + 1, tail + MM_RING_CELLS, honest ^ 0x80000000u, honest - 100000, tail + 100000 };
        for (unsigned n = 0; n < sizeof lies / sizeof lies[0]; n++) {
            slot.ring_head = lies[n];
            assert_int_equal(mm_ring_room(&slot, tail, &last_head), 0);
            assert_int_equal(last_head, honest);
        }
        slot.ring_head = honest;
        assert_int_equal(mm_ring_room(&slot, tail, &last_head), MM_RING_CELLS - 3);
        slot.ring_head = tail;                                          /* took the rest */
        assert_int_equal(mm_ring_room(&slot, tail, &last_head), MM_RING_CELLS);
    }
}

static void give_backs_come_in_order(void **state)
{
    for (unsigned s = 0; s < STARTS; s++) {
        uint32_t head = starts[s], next = 1, expected = 1;
        uint64_t got;
        slot_reset(starts[s]);
        for (unsigned round = 0; round < 200; round++) {
            for (unsigned n = 0; n <= round % MM_GIVE_CELLS; n++, next++)
                assert_true(mm_give_put(&slot, next, next ^ 0xffff));
            for (; mm_give_take(&slot, &head, &got); expected++)
                assert_int_equal(got, (uint64_t)expected << 32 | (expected ^ 0xffff));
            assert_int_equal(expected, next);
        }
    }
}

static void a_full_give_ring_refuses(void **state)
{
    uint32_t head = UINT32_MAX - 10;
    uint64_t got;
    slot_reset(head);
    for (unsigned n = 0; n < MM_GIVE_CELLS; n++)
        assert_true(mm_give_put(&slot, n, 1));
    struct mm_slot before = slot;
    assert_false(mm_give_put(&slot, 999, 1));
    assert_memory_equal(&before, &slot, sizeof slot);
    assert_true(mm_give_take(&slot, &head, &got));
    assert_int_equal(got, 1);
    assert_true(mm_give_put(&slot, 64, 1));
}

/* A tail that is further away than the ring is long counts as nothing. */
static void false_give_tails_count_as_none(void **state)
{
    uint32_t head = 10;
    uint64_t got = 99;
    slot_reset(10);
    static const uint32_t lies[] = { 9, 0, 10 + MM_GIVE_CELLS + 1, 0x80000000u, UINT32_MAX };
    for (unsigned n = 0; n < sizeof lies / sizeof lies[0]; n++) {
        slot.give_tail = lies[n];
        assert_false(mm_give_take(&slot, &head, &got));
    }
    assert_int_equal(head, 10);
    assert_int_equal(got, 99);
    assert_int_equal(slot.give_head, 10);
}

static void doorbell_is_wanted_when_armed(void **state)
{
    static struct mm_control control;
    assert_false(mm_doorbell_wanted(&control));
    control.armed = 1;
    assert_true(mm_doorbell_wanted(&control));
    control.armed = 2;
    assert_false(mm_doorbell_wanted(&control));
}

/* ---- A thread at each end ---- */

#define MANY (200000u / test_slowness())

static void *client_run(void *context)
{
    struct mm_cell got;
    uint32_t left, expected = 0, many = MANY;
    while (expected < many) {
        if (!mm_ring_take(&slot, &got, &left)) {
            sched_yield();
            continue;
        }
        if (got.block != expected || got.count != ~expected || got.hole != expected)
            return "a grant was lost, doubled or torn";
        while (!mm_give_put(&slot, got.block, got.count))
            sched_yield();
        expected++;
    }
    return NULL;
}

static void nothing_is_lost_between_two_threads(void **state)
{
    pthread_t client;
    uint32_t tail = UINT32_MAX - 1000, last_head = tail, give_head = tail, put = 0, back = 0, many = MANY;
    slot_reset(tail);
    assert_int_equal(pthread_create(&client, NULL, client_run, NULL), 0);
    while (back < many) {
        uint64_t got;
        if (put < many && mm_ring_room(&slot, tail, &last_head) > 0) {
            struct mm_cell cell = { .block = put, .count = ~put, .hole = put };
            put++;
            (void)mm_ring_put(&slot, &tail, &cell);
        } else if (!mm_give_take(&slot, &give_head, &got)) {
            sched_yield();
        } else {
            assert_int_equal(got, (uint64_t)back << 32 | (uint32_t)~back);
            back++;
        }
    }
    void *complaint = NULL;
    assert_int_equal(pthread_join(client, &complaint), 0);
    if (complaint)
        fail_msg("%s", (char *)complaint);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(grants_come_in_order),
        test_case(taking_from_an_empty_ring_changes_nothing),
        test_case(a_full_ring_has_no_room),
        test_case(putting_says_that_the_client_sleeps),
        test_case(false_heads_count_as_full),
        test_case(give_backs_come_in_order),
        test_case(a_full_give_ring_refuses),
        test_case(false_give_tails_count_as_none),
        test_case(doorbell_is_wanted_when_armed),
        test_case(nothing_is_lost_between_two_threads),
    };
    return test_run(cases);
}
