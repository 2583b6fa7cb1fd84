/* view_unit.c — translation of a client's addresses, fed with what a hostile client would write. Tests shm/view.h. */
#include "tests/lib/check.h"
#include "tests/lib/random.h"

#include "shm/view.h"

#define RESERVE_BYTES (64u << 20)

static char *const base = (char *)(uintptr_t)0x700000000000;        /* only reckoned with, never read */
static const struct mm_view view = { .base = (char *)(uintptr_t)0x700000000000, .bytes = RESERVE_BYTES, .client_base = 0x500000000000 };

static void covers_what_is_inside(void **state)
{
    assert_true(mm_view_covers(&view, 0, 0));
    assert_true(mm_view_covers(&view, 0, RESERVE_BYTES));
    assert_true(mm_view_covers(&view, RESERVE_BYTES, 0));
    assert_true(mm_view_covers(&view, RESERVE_BYTES - 1, 1));
    assert_ptr_equal(mm_view_at(&view, 0, 1), base);
    assert_ptr_equal(mm_view_at(&view, RESERVE_BYTES - 16, 16), base + RESERVE_BYTES - 16);
}

static void refuses_what_is_outside_or_wraps(void **state)
{
    static const struct { uint64_t off, bytes; } outside[] = {
        { 0, RESERVE_BYTES + 1ull }, { 1, RESERVE_BYTES }, { RESERVE_BYTES, 1 }, { RESERVE_BYTES + 1ull, 0 }, { UINT64_MAX, 0 }, { UINT64_MAX, 1 },
        { UINT64_MAX - 15, 16 }, { UINT64_MAX, UINT64_MAX }, { 16, UINT64_MAX }, { 16, UINT64_MAX - 15 }, { 1ull << 63, 1ull << 63 },
        { RESERVE_BYTES - 8, UINT64_MAX - RESERVE_BYTES + 9 },
    };
    for (unsigned i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        assert_false(mm_view_covers(&view, outside[i].off, outside[i].bytes));
        assert_null(mm_view_at(&view, outside[i].off, outside[i].bytes));
    }
}

static void translates_addresses(void **state)
{
    uint64_t off = 1;
    assert_true(mm_view_off(&view, view.client_base, &off));
    assert_int_equal(off, 0);
    assert_true(mm_view_off(&view, view.client_base + RESERVE_BYTES, &off));        /* one past the end: a limit may be there */
    assert_int_equal(off, RESERVE_BYTES);
    off = 77;
    assert_false(mm_view_off(&view, view.client_base - 1, &off));
    assert_false(mm_view_off(&view, view.client_base + RESERVE_BYTES + 1, &off));
    assert_false(mm_view_off(&view, 0, &off));
    assert_false(mm_view_off(&view, UINT64_MAX, &off));
    assert_int_equal(off, 77);                                                      /* results are written on success only */
}

static void references_need_a_header_in_front(void **state)
{
    uint64_t off = 77;
    static const uint64_t bad[] = { 0, 8, 15, 17, 24, RESERVE_BYTES, RESERVE_BYTES + 16ull, UINT64_MAX, (uint64_t)-16 };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(mm_view_ref(&view, (struct mm_ref){ view.client_base + bad[i] }, &off));
    assert_int_equal(off, 77);
    assert_true(mm_view_ref(&view, (struct mm_ref){ view.client_base + 16 }, &off));
    assert_int_equal(off, 0);
    assert_true(mm_view_ref(&view, (struct mm_ref){ view.client_base + RESERVE_BYTES - 16 }, &off));
    assert_int_equal(off, RESERVE_BYTES - 32);
}

/* A client may claim any base at all, also one near the end of the address space. */
static void bases_at_the_edges_do_not_wrap(void **state)
{
    static const uint64_t bases[] = { 0, 16, UINT64_MAX - RESERVE_BYTES + 1, UINT64_MAX & ~(uint64_t)15 };
    for (unsigned i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        struct mm_view edge = { base, RESERVE_BYTES, bases[i] };
        uint64_t off;
        assert_true(mm_view_off(&edge, bases[i] + 4096, &off));
        assert_int_equal(off, 4096);
        assert_false(mm_view_off(&edge, bases[i] - 4096, &off));
    }
}

/* Whatever is claimed: what comes out is inside, or nothing. Reckoned independently in 128 bits. */
static void random_claims_stay_inside(void **state)
{
    struct test_random random = test_random_begin("view_unit");
    for (unsigned i = 0; i < 1000000; i++) {
        uint64_t off = test_random_next(&random) >> test_random_below(&random, 64);
        uint64_t bytes = test_random_next(&random) >> test_random_below(&random, 64);
        bool inside = (unsigned __int128)off + bytes <= RESERVE_BYTES;
        assert_int_equal(mm_view_covers(&view, off, bytes), inside);
        uint64_t word = test_random_below(&random, 2) ? view.client_base + off : off, header;
        if (mm_view_ref(&view, (struct mm_ref){ word }, &header))
            assert_true(header % 16 == 0 && header + 32 <= RESERVE_BYTES && view.client_base + header + 16 == word);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(covers_what_is_inside),
        test_case(refuses_what_is_outside_or_wraps),
        test_case(translates_addresses),
        test_case(references_need_a_header_in_front),
        test_case(bases_at_the_edges_do_not_wrap),
        test_case(random_claims_stay_inside),
    };
    return test_run(cases);
}
