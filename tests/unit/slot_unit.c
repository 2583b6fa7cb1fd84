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

/* The four parts of a slot area lie behind one another, and areas do not overlap. Written out: 4 KiB, 16 KiB, 64 KiB, 2 MiB. */
static void parts_of_an_area_are_apart(void **state)
{
    static char area[(4 + 16 + 64 + 2048) * 1024];
    struct mm_slot *slot = (struct mm_slot *)area;
    assert_int_equal((char *)mm_slot_card_log(slot) - area, 4096);
    assert_int_equal((char *)mm_slot_overwritten(slot) - area, 20 * 1024);
    assert_int_equal((char *)mm_slot_roots(slot) - area, 84 * 1024);
    assert_int_equal(MM_ROOT_AREA_BYTES, 2048 * 1024);
    assert_int_equal(MM_SLOT_STRIDE, sizeof area);
}

#define STRIDE 2183168u                     /* of slot areas */
#define HANDLES 8392704u                    /* 262,144 entries of 32 bytes, and a byte for each 64 of them */

static void areas_follow_one_another(void **state)
{
    const uint32_t counts[] = { 1, 2, 64, MM_SLOTS_MAX };
    for (unsigned i = 0; i < 4; i++) {
        uint32_t slots = counts[i];
        uint64_t behind = 4096 + (uint64_t)slots * STRIDE;
        struct mm_control *control = (struct mm_control *)(uintptr_t)0x10000000;        /* only reckoned with, never read */
        char *base = (char *)control;
        for (uint32_t s = 0; s < slots; s++)
            assert_int_equal((char *)mm_control_slot(control, s) - base, 4096 + (uint64_t)s * STRIDE);
        for (uint32_t s = 0; s < MM_SPACES; s += 4095)
            assert_int_equal((char *)mm_control_space(control, slots, s) - base, behind + (uint64_t)s * 128);
        behind += 16384 * 128;
        assert_int_equal((char *)mm_control_handles(control, slots, MM_SPACES) - base, behind);
        assert_int_equal((char *)mm_control_handle_groups(control, slots, MM_SPACES) - base, behind + 262144 * 32);
        assert_int_equal((char *)mm_control_pretenure(control, slots, MM_SPACES) - base, behind + HANDLES);
        assert_int_equal((char *)mm_control_cards(control, slots, MM_SPACES) - base, behind + HANDLES + 8192);
        assert_int_equal(mm_control_bytes(slots, MM_SPACES, 0), behind + HANDLES + 8192);
        assert_int_equal(mm_control_bytes(slots, MM_SPACES, 2 << 20), behind + HANDLES + 8192 + 4096);
        assert_int_equal(mm_control_bytes(slots, MM_SPACES, (uint64_t)1 << 44), behind + HANDLES + 8192 + ((uint64_t)1 << 35));
    }
}

/* Every region begins on a page, whatever the counts. */
static void regions_begin_on_pages(void **state)
{
    for (uint32_t spaces = 1; spaces <= 40; spaces++) {
        uint64_t handles = 4096 + 3 * STRIDE + (spaces <= 32 ? 4096 : 8192);
        assert_int_equal(mm_control_handles_off(3, spaces), handles);
        assert_int_equal(mm_control_pretenure_off(3, spaces), handles + HANDLES);
        assert_int_equal(mm_control_cards_off(3, spaces), handles + HANDLES + 8192);
        assert_int_equal(mm_control_bytes(3, spaces, 512), handles + HANDLES + 8192 + 4096);
    }
}

static const struct mm_control_spec some = { .heap_id = 7, .reserve_bytes = 64 << 20, .limit_bytes = 32 << 20, .slots = 3, .spaces = 40, .mode = 2 };
#define SOME_BYTES (4096 + 3 * (uint64_t)STRIDE + 8192 + HANDLES + 8192 + (64 << 20) / 512)

static void control_is_made_and_checked(void **state)
{
    assert_int_equal(mm_control_bytes(3, 40, 64 << 20), SOME_BYTES);
    struct mm_control *control = calloc(1, SOME_BYTES);
    assert_non_null(control);
    assert_int_equal(mm_control_check(control, SOME_BYTES), -EPROTO);                   /* zeroes are no area */
    mm_control_init(control, &some);
    assert_int_equal(mm_control_check(control, SOME_BYTES), 0);
    assert_int_equal(mm_control_check(control, SOME_BYTES + 4096), 0);
    assert_int_equal(mm_control_check(control, SOME_BYTES - 1), -EPROTO);               /* shorter than it says */
    assert_int_equal(mm_control_check(control, 511), -EPROTO);
    control->layout_version++;
    assert_int_equal(mm_control_check(control, SOME_BYTES), -EPROTONOSUPPORT);
    control->layout_version = 1;                                                        /* before there were collections */
    assert_int_equal(mm_control_check(control, SOME_BYTES), -EPROTONOSUPPORT);
    free(control);
}

/* Each descriptive word, spoiled alone, is noticed. */
static void spoiled_control_is_noticed(void **state)
{
    static const struct { unsigned at, size; uint64_t value; } spoil[] = {
        { 0, 4, 0 }, { 0, 4, 0x5052504d }, { 16, 8, 128 << 20 }, { 16, 8, ((uint64_t)1 << 44) + 1 }, { 16, 8, UINT64_MAX }, { 32, 8, 0 },
        { 32, 8, 8192 }, { 40, 8, 0 }, { 40, 8, UINT64_MAX }, { 48, 4, 0 }, { 48, 4, 4 }, { 48, 4, 1025 }, { 48, 4, UINT32_MAX }, { 52, 4, 0 },
        { 52, 4, 80 }, { 52, 4, 16385 }, { 52, 4, UINT32_MAX }, { 336, 8, 0 }, { 336, 8, UINT64_MAX }, { 344, 8, 0 }, { 344, 8, UINT64_MAX },
        { 352, 8, 0 }, { 352, 8, 4096 }, { 352, 8, UINT64_MAX },
    };
    for (unsigned i = 0; i < sizeof spoil / sizeof spoil[0]; i++) {
        struct mm_control *control = calloc(1, sizeof *control);                        /* the check looks no further */
        assert_non_null(control);
        mm_control_init(control, &some);
        assert_int_equal(mm_control_check(control, SOME_BYTES), 0);
        if (spoil[i].size == 4)
            *(uint32_t *)((char *)control + spoil[i].at) = (uint32_t)spoil[i].value;
        else
            *(uint64_t *)((char *)control + spoil[i].at) = spoil[i].value;
        assert_int_equal(mm_control_check(control, SOME_BYTES), -EPROTO);
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
        test_case(regions_begin_on_pages),
        test_case(control_is_made_and_checked),
        test_case(spoiled_control_is_noticed),
    };
    return test_run(cases);
}
