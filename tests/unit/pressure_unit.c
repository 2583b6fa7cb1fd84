/* pressure_unit.c — levels, counters and letters, with the client's end in our hands. Tests daemon/heap/pressure.c. */
#define _GNU_SOURCE
#include "tests/unit/heap_helper.h"
#include "tests/lib/random.h"

#include "daemon/heap/pressure.h"

static struct place place;

static struct mm_pressure_words *words(void) { return mm_control_pressure(place.heap->control); }

static unsigned risen(unsigned level) { return words()->risen[MM_PRESSURE_HEAP][level]; }

/* Reads all mail; how many PRESSURE letters it had, and the last one. */
static unsigned letters(struct mm_pressure *ret_last)
{
    static char packet[MM_PACKET_MAX];
    static struct mm_message message;
    unsigned count = 0, fd_count;
    int fds[MM_PACKET_FDS];
    while (mm_packet_recv_message(place.client, MM_FROM_DAEMON, packet, sizeof packet, &message, fds, MM_PACKET_FDS, &fd_count) == 0) {
        for (unsigned i = 0; i < fd_count; i++)
            close(fds[i]);
        if (message.id != MM_MSG_PRESSURE)
            continue;
        assert_int_equal(message.seq, 0);
        *ret_last = message.as.pressure;
        count++;
    }
    return count;
}

/* Gives or takes until so many percent are granted; blocks from 25 on are ours. */
static void use(uint32_t percent)
{
    uint32_t granted = (uint32_t)place.heap->granted_blocks;
    if (percent > granted)
        (void)place_grant(&place, percent - granted);
    else if (percent < granted)
        assert_true(heap_take_back(place.heap, percent, granted - percent));
    assert_int_equal(place.heap->granted_blocks, percent);
}

/* A heap of 100 blocks, all of them mapped and 25 granted, whose client has been greeted and has read its mail. */
static void pressure_open(void)
{
    place_open(&place, 100 * 64 * KIB, 16 * MIB);
    use(100);
    use(25);
    assert_true(place_read_mail(&place) > 0);
    place.heap->pressure.due = false;
    memset(words()->risen, 0, sizeof words()->risen);
    place.heap->welcomed = 1;
}

/* ---- Levels ---- */

static void a_level_counts_once_until_it_is_clearly_left(void **state)
{
    uint64_t high[2] = { 0, 0 }, up[2];
    pressure_levels_move(high, 79, up);
    assert_int_equal(up[1] >> (80 - 64) & 1, 0);
    pressure_levels_move(high, 80, up);
    assert_int_equal(up[1], (uint64_t)1 << (80 - 64));
    assert_int_equal(up[0], 0);
    static const uint32_t near[] = { 79, 80, 76, 80, 100, 76, 99 };
    for (unsigned i = 0; i < sizeof near / sizeof near[0]; i++) {
        pressure_levels_move(high, near[i], up);
        assert_int_equal(up[1] >> (80 - 64) & 1, 0);
    }
    pressure_levels_move(high, 75, up);
    pressure_levels_move(high, 80, up);
    assert_int_equal(up[1] >> (80 - 64) & 1, 1);
}

/* The lowest levels have nothing 5 points below them: they are left at 0. */
static void low_levels_are_left_at_nothing(void **state)
{
    uint64_t high[2] = { 0, 0 }, up[2];
    pressure_levels_move(high, 3, up);
    assert_int_equal(up[0], 1 << 1 | 1 << 2 | 1 << 3);
    pressure_levels_move(high, 1, up);
    pressure_levels_move(high, 3, up);
    assert_int_equal(up[0], 0);
    pressure_levels_move(high, 0, up);
    pressure_levels_move(high, 2, up);
    assert_int_equal(up[0], 1 << 1 | 1 << 2);
}

static void any_way_up_and_down_agrees_with_the_model(void **state)
{
    struct test_random random = test_random_begin("pressure");
    uint64_t high[2] = { 0, 0 }, up[2];
    bool model[101] = { false };
    for (unsigned i = 0; i < 20000; i++) {
        uint32_t percent = (uint32_t)test_random_below(&random, 101);
        pressure_levels_move(high, percent, up);
        for (uint32_t p = 1; p <= 100; p++) {
            bool rises = !model[p] && percent >= p;
            model[p] = percent >= p || (model[p] && percent > 0 && percent + 5 > p);
            assert_int_equal(up[p / 64] >> p % 64 & 1, rises);
        }
        assert_int_equal(up[0] & 1, 0);
        assert_int_equal(up[1] >> (101 - 64), 0);
    }
}

/* ---- Counters and letters ---- */

static void use_is_counted_and_told(void **state)
{
    struct mm_pressure letter;
    pressure_open();
    use(79);
    assert_int_equal(risen(25), 0);
    assert_int_equal(risen(79), 1);
    assert_int_equal(risen(80), 0);
    assert_int_equal(words()->percent[MM_PRESSURE_HEAP], 79);
    assert_int_equal(letters(&letter), 0);
    use(93);
    assert_int_equal(risen(80), 1);
    assert_int_equal(risen(93), 1);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 90);
    assert_int_equal(letter.percent, 93);
    assert_int_equal(letter.machine, 0);
    assert_int_equal(letter.granted_bytes, 93 * 64 * KIB);
    assert_int_equal(letter.limit_bytes, 100 * 64 * KIB);
    use(60);
    use(84);
    assert_int_equal(risen(80), 2);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 80);
    assert_int_equal(place.heap->pressure.letters, 2);
    place_close(&place);
}

static void any_level_may_be_asked_for(void **state)
{
    struct mm_pressure letter;
    pressure_open();
    words()->wanted[0] = (uint64_t)1 << 33;
    use(32);
    assert_int_equal(letters(&letter), 0);
    use(40);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 33);
    memset(words()->wanted, 0xff, sizeof words()->wanted);     /* levels that do not exist among them */
    for (uint32_t percent = 41; percent <= 99; percent++) {
        use(percent);
        assert_int_equal(letters(&letter), 1);
        assert_int_equal(letter.level, percent);
    }
    place_close(&place);
}

static void unread_letters_do_not_pile_up(void **state)
{
    struct mm_pressure letter;
    pressure_open();
    for (unsigned i = 0; i < 1000; i++) {
        use(96);
        use(30);
    }
    assert_int_equal(place.heap->pressure.letters, 1);
    assert_int_equal(risen(95), 1000);
    assert_int_equal(letters(&letter), 1);
    use(31);                                                    /* the one that was held back */
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.percent, 31);
    use(32);
    assert_int_equal(letters(&letter), 0);
    place_close(&place);
}

static void nothing_is_sent_before_the_welcome(void **state)
{
    struct mm_pressure letter;
    pressure_open();
    place.heap->welcomed = 0;
    use(96);
    assert_int_equal(risen(95), 1);
    assert_int_equal(letters(&letter), 0);
    place.heap->welcomed = 1;
    use(97);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 95);
    place_close(&place);
}

static void a_client_that_is_gone_costs_nothing(void **state)
{
    pressure_open();
    assert_int_equal(shutdown(place.client, SHUT_RDWR), 0);
    use(96);
    assert_int_equal(place.heap->pressure.letters, 0);
    assert_false(place.heap->pressure.due);
    place_close(&place);
}

static void the_machine_is_told_to_every_heap(void **state)
{
    struct mm_pressure letter;
    pressure_open();
    heap_pressure_machine(92);
    assert_int_equal(heap_pressure_machine_now(), 92);
    heap_publish(place.heap);                                   /* as its worker does */
    assert_int_equal(words()->risen[MM_PRESSURE_MACHINE][90], 1);
    assert_int_equal(words()->percent[MM_PRESSURE_MACHINE], 92);
    assert_int_equal(risen(90), 0);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 90);
    assert_int_equal(letter.machine, 92);
    assert_int_equal(letter.percent, 25);
    heap_publish(place.heap);
    assert_int_equal(letters(&letter), 0);
    heap_pressure_machine(10);
    heap_publish(place.heap);
    assert_int_equal(letters(&letter), 0);
    heap_pressure_machine(4000000000u);                         /* as much as there is */
    assert_int_equal(heap_pressure_machine_now(), 100);
    heap_publish(place.heap);
    assert_int_equal(words()->risen[MM_PRESSURE_MACHINE][90], 2);
    assert_int_equal(letters(&letter), 1);
    assert_int_equal(letter.level, 95);
    heap_pressure_machine(0);
    place_close(&place);
}

/* ---- Another bound ---- */

static void a_bound_moves_between_what_is_granted_and_the_reserve(void **state)
{
    uint32_t block, count;
    pressure_open();
    use(80);
    assert_false(heap_limit_set(place.heap, 79));
    assert_int_equal(place.heap->limit_blocks, 100);
    assert_int_equal(place.heap->control->limit_bytes, 100 * 64 * KIB);
    assert_true(heap_limit_set(place.heap, 80));
    assert_int_equal(place.heap->control->limit_bytes, 80 * 64 * KIB);
    assert_int_equal(words()->percent[MM_PRESSURE_HEAP], 100);
    assert_int_equal(risen(100), 1);
    assert_int_equal(place_try_grant(&place, 1, 1, &block, &count), -MORPH_ENOMEM);
    assert_true(heap_limit_set(place.heap, 200));
    assert_int_equal(words()->percent[MM_PRESSURE_HEAP], 40);
    (void)place_grant(&place, 120);
    assert_int_equal(place_try_grant(&place, 1, 1, &block, &count), -MORPH_ENOMEM);
    place_check(&place);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(a_level_counts_once_until_it_is_clearly_left),
        world_case(low_levels_are_left_at_nothing),
        world_case(any_way_up_and_down_agrees_with_the_model),
        world_case(use_is_counted_and_told),
        world_case(any_level_may_be_asked_for),
        world_case(unread_letters_do_not_pile_up),
        world_case(nothing_is_sent_before_the_welcome),
        world_case(a_client_that_is_gone_costs_nothing),
        world_case(the_machine_is_told_to_every_heap),
        world_case(a_bound_moves_between_what_is_granted_and_the_reserve),
    };
    return test_run(cases);
}
