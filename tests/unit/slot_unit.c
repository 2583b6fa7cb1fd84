/* slot_unit.c — the states of a slot, every move between them, and where the parts of a slot area are. Tests shm/slot.c. */
#include "tests/lib/check.h"

#include <errno.h>
#include <stdlib.h>

#include "shm/control.h"
#include "shm/slot.h"

static const char *const expected_name[] = { "FREE", "RUNNING", "NATIVE", "PARKED" };
#define STATES 4u

/* Row: from; column: to, as drawn in slot.h; what the daemon does to a dead thread's slot is not a move that it judges. */
static const bool expected_move[STATES][STATES] = {
    /*              FREE   RUNNING NATIVE PARKED */
    /* FREE    */ { false, false,  true,  false },
    /* RUNNING */ { false, false,  true,  true  },
    /* NATIVE  */ { true,  true,   false, false },
    /* PARKED  */ { false, true,   false, false },
};

static void names_are_the_list(void **state)
{
    assert_int_equal(MM_SLOT_STATE_COUNT, STATES);
    for (unsigned i = 0; i < STATES; i++)
        assert_string_equal(mm_slot_state_name((enum mm_slot_state)i), expected_name[i]);
    assert_string_equal(mm_slot_state_name((enum mm_slot_state)STATES), "?");
    assert_string_equal(mm_slot_state_name((enum mm_slot_state)-1), "?");
}

static void moves_are_the_matrix(void **state)
{
    for (unsigned from = 0; from < STATES; from++)
        for (unsigned to = 0; to < STATES; to++)
            assert_int_equal(mm_slot_move_allowed((enum mm_slot_state)from, (enum mm_slot_state)to), expected_move[from][to]);
}

static void nonsense_is_refused(void **state)
{
    static const int nonsense[] = { -1, STATES, 77, 2147483647 };
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++)
        for (unsigned other = 0; other < STATES; other++) {
            assert_int_equal(mm_slot_move_allowed((enum mm_slot_state)nonsense[i], (enum mm_slot_state)other), 0);
            assert_int_equal(mm_slot_move_allowed((enum mm_slot_state)other, (enum mm_slot_state)nonsense[i]), 0);
        }
}

/* The four parts of a slot area lie behind one another, and areas do not overlap. Written out: 4 KiB, 16 KiB, 64 KiB, 128 KiB. */
static void parts_of_an_area_are_apart(void **state)
{
    static char area[2 * (4 + 16 + 64 + 128) * 1024];
    struct mm_slot *slot = (struct mm_slot *)area;
    assert_int_equal((char *)mm_slot_card_log(slot) - area, 4096);
    assert_int_equal((char *)mm_slot_overwritten(slot) - area, 20 * 1024);
    assert_int_equal((char *)mm_slot_roots(slot) - area, 84 * 1024);
    assert_int_equal(MM_SLOT_STRIDE, 212 * 1024);
}

static void areas_follow_one_another(void **state)
{
    const uint32_t counts[] = { 1, 2, 64, MM_SLOTS_MAX };
    for (unsigned i = 0; i < 4; i++) {
        uint32_t slots = counts[i];
        struct mm_control *control = (struct mm_control *)(uintptr_t)0x10000000;        /* only reckoned with, never read */
        char *base = (char *)control;
        for (uint32_t s = 0; s < slots; s++)
            assert_int_equal((char *)mm_control_slot(control, s) - base, 4096 + (uint64_t)s * 217088);
        for (uint32_t s = 0; s < MM_SPACES; s += 4095)
            assert_int_equal((char *)mm_control_space(control, slots, s) - base, 4096 + (uint64_t)slots * 217088 + (uint64_t)s * 128);
        assert_int_equal(mm_control_bytes(slots, MM_SPACES), 4096 + (uint64_t)slots * 217088 + 16384 * 128);
        assert_int_equal(mm_control_bytes(slots, 1), 4096 + (uint64_t)slots * 217088 + 4096);
    }
}

static void control_is_made_and_checked(void **state)
{
    uint64_t bytes = mm_control_bytes(3, 40);
    struct mm_control *control = calloc(1, bytes);
    assert_non_null(control);
    assert_int_equal(mm_control_check(control, bytes), -EPROTO);                        /* zeroes are no area */
    mm_control_init(control, 7, 64 << 20, 32 << 20, 3, 40);
    assert_int_equal(mm_control_check(control, bytes), 0);
    assert_int_equal(mm_control_check(control, bytes + 4096), 0);
    assert_int_equal(mm_control_check(control, bytes - 1), -EPROTO);                    /* shorter than it says */
    assert_int_equal(mm_control_check(control, 255), -EPROTO);
    control->layout_version++;
    assert_int_equal(mm_control_check(control, bytes), -EPROTONOSUPPORT);
    free(control);
}

/* Each descriptive word, spoiled alone, is noticed. */
static void spoiled_control_is_noticed(void **state)
{
    uint64_t bytes = mm_control_bytes(3, 40);
    static const struct { unsigned at, size; uint64_t value; } spoil[] = {
        { 0, 4, 0 }, { 0, 4, 0x5052504d }, { 32, 8, 0 }, { 32, 8, 8192 }, { 40, 8, 0 }, { 40, 8, UINT64_MAX }, { 48, 4, 0 }, { 48, 4, 4 },
        { 48, 4, 1025 }, { 48, 4, UINT32_MAX }, { 52, 4, 0 }, { 52, 4, 16385 }, { 52, 4, UINT32_MAX },
    };
    for (unsigned i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
        struct mm_control *control = calloc(1, bytes);
        assert_non_null(control);
        mm_control_init(control, 7, 64 << 20, 32 << 20, 3, 40);
        if (spoil[i].size == 4)
            *(uint32_t *)((char *)control + spoil[i].at) = (uint32_t)spoil[i].value;
        else
            *(uint64_t *)((char *)control + spoil[i].at) = spoil[i].value;
        assert_int_equal(mm_control_check(control, bytes), -EPROTO);
        free(control);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(names_are_the_list),
        test_case(moves_are_the_matrix),
        test_case(nonsense_is_refused),
        test_case(parts_of_an_area_are_apart),
        test_case(areas_follow_one_another),
        test_case(control_is_made_and_checked),
        test_case(spoiled_control_is_noticed),
    };
    return test_run(cases);
}
