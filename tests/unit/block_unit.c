/* block_unit.c — the states of a block and every move between them, against a matrix drawn by hand. Tests shm/block.c. */
#include "tests/lib/check.h"

#include <ctype.h>
#include <string.h>

#include "shm/block.h"

static const char *const expected_name[] = {
    "ABSENT", "FREE", "ZEROED", "GRANTED", "NURSERY", "SURVIVOR", "OLD", "RECYCLABLE", "LARGE", "ARENA", "EVACUATING", "RETIRED",
};
#define STATES (sizeof expected_name / sizeof expected_name[0])

/* Row: from; column: to; x: allowed. Columns in the order of the names above. */
static const char *const expected_move[] = {
    /*             A F Z G N S O R L A E R */
    /* ABSENT     */ ". x x . . . . . . . . .",
    /* FREE       */ "x . x x . x x . . . . x",
    /* ZEROED     */ "x . . x . x x . x x . .",
    /* GRANTED    */ ". . x . x . x . . . . .",
    /* NURSERY    */ ". x . . . . x . . . . .",
    /* SURVIVOR   */ ". x . . . . x . . . . .",
    /* OLD        */ ". x . . . . . x . . x .",
    /* RECYCLABLE */ ". x . x . . x . . . x .",
    /* LARGE      */ ". x . . . . . . . . . .",
    /* ARENA      */ ". x . . . . . . . . . .",
    /* EVACUATING */ ". x . . . . x . . . . .",
    /* RETIRED    */ ". . . . . . . . . . . .",
};

static void names_are_the_list(void **state)
{
    assert_int_equal(MM_BLOCK_STATE_COUNT, STATES);
    for (unsigned i = 0; i < STATES; i++)
        assert_string_equal(mm_block_state_name((enum mm_block_state)i), expected_name[i]);
}

static void moves_are_the_matrix(void **state)
{
    for (unsigned from = 0; from < STATES; from++)
        for (unsigned to = 0; to < STATES; to++) {
            bool expected = expected_move[from][2 * to] == 'x';
            if (mm_block_move_allowed((enum mm_block_state)from, (enum mm_block_state)to) != expected)
                fail_msg("%s to %s: expected %d", expected_name[from], expected_name[to], expected);
        }
}

/* A block lives: everything but ABSENT can be reached from ABSENT, and everything but RETIRED can come back to FREE. */
static void every_state_is_reached_and_left(void **state)
{
    bool from_absent[STATES] = { [MM_BLOCK_ABSENT] = true }, to_free[STATES] = { [MM_BLOCK_FREE] = true };
    for (unsigned round = 0; round < STATES; round++)
        for (unsigned from = 0; from < STATES; from++)
            for (unsigned to = 0; to < STATES; to++) {
                if (!mm_block_move_allowed((enum mm_block_state)from, (enum mm_block_state)to))
                    continue;
                from_absent[to] |= from_absent[from];
                to_free[from] |= to_free[to];
            }
    for (unsigned i = 0; i < STATES; i++) {
        assert_true(from_absent[i]);
        assert_int_equal(to_free[i], i != MM_BLOCK_RETIRED);
    }
}

/* Numbers that are no states at all, as a damaged table could hold them. */
static void nonsense_is_refused(void **state)
{
    static const int nonsense[] = { -1, STATES, STATES + 1, 255, 65535, -2147483647 };
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        assert_string_equal(mm_block_state_name((enum mm_block_state)nonsense[i]), "?");
        for (unsigned other = 0; other < STATES; other++) {
            assert_false(mm_block_move_allowed((enum mm_block_state)nonsense[i], (enum mm_block_state)other));
            assert_false(mm_block_move_allowed((enum mm_block_state)other, (enum mm_block_state)nonsense[i]));
        }
    }
}

/* Each row of the list says who and when, in lower case, and no move stands in it twice. */
static void rows_are_documented_once(void **state)
{
    static const struct { enum mm_block_state from, to; const char *by, *when; } row[] = {
#define X(from, to, by, when) { MM_BLOCK_##from, MM_BLOCK_##to, #by, when },
        MM_BLOCK_MOVES(X)
#undef X
    };
    unsigned rows = sizeof row / sizeof row[0], crosses = 0;
    for (unsigned i = 0; i < rows; i++) {
        assert_true(islower((unsigned char)row[i].by[0]) && strlen(row[i].when) > 5);
        for (unsigned j = 0; j < i; j++)
            assert_false(row[i].from == row[j].from && row[i].to == row[j].to);
    }
    for (unsigned from = 0; from < STATES; from++)
        for (unsigned to = 0; to < STATES; to++)
            crosses += expected_move[from][2 * to] == 'x';
    assert_int_equal(rows, crosses);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(names_are_the_list),
        test_case(moves_are_the_matrix),
        test_case(every_state_is_reached_and_left),
        test_case(nonsense_is_refused),
        test_case(rows_are_documented_once),
    };
    return test_run(cases);
}
