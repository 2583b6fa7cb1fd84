/* options_unit.c — presets, defaults, bounds, and what fits a machine. Tests client/options.c; the machine's memory is ours to say. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <errno.h>
#include <string.h>

#include "client/options.h"
#include "shm/machine.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static uint64_t available_bytes;
uint64_t mm_machine_available_bytes(void) { return available_bytes; }      /* in the place of shm/machine.c */

static morph_options resolved(morph_options given)
{
    morph_options o;
    assert_int_equal(morph__options_resolve(&given, &o), 0);
    return o;
}

static void assert_refused(morph_options given)
{
    morph_options o, before;
    memset(&o, 0x5a, sizeof o);
    before = o;
    assert_int_equal(morph__options_resolve(&given, &o), MORPH_EINVALID);
    assert_memory_equal(&o, &before, sizeof o);                             /* results are written on success only */
}

static void presets_are_those_of_the_manual(void **state)
{
    static const struct { enum morph_mode mode; uint64_t limit, gc_start; uint32_t pause_us; } presets[] = {
        { MORPH_COMPILER, 256 * MIB, 0, 0 },
        { MORPH_RUNTIME, 512 * MIB, 64 * MIB, 10000 },
        { MORPH_VM, 2 * GIB, 128 * MIB, 5000 },
        { MORPH_SERVER, 1 * GIB, 128 * MIB, 5000 },
    };
    for (unsigned i = 0; i < 4; i++) {
        morph_options o = resolved((morph_options){ .mode = presets[i].mode });
        assert_int_equal(o.mode, presets[i].mode);
        assert_int_equal(o.limit_bytes, presets[i].limit);
        assert_int_equal(o.gc_start_bytes, presets[i].gc_start);
        assert_int_equal(o.pause_target_us, presets[i].pause_us);
        assert_int_equal(o.reserve_bytes, 2 * presets[i].limit);
        assert_int_equal(o.threads, 64);
        assert_int_equal(o.timeout_ms, 5000);
    }
}

static void no_options_are_a_compiler(void **state)
{
    morph_options o;
    assert_int_equal(morph__options_resolve(NULL, &o), 0);
    assert_int_equal(o.mode, MORPH_COMPILER);
    assert_int_equal(o.limit_bytes, 256 * MIB);
    assert_false(o.no_autospawn);
    assert_null(o.socket);
}

static void what_is_given_stays(void **state)
{
    static const char name[] = "n", socket[] = "/s";
    morph_options o = resolved((morph_options){ .mode = MORPH_VM, .name = name, .limit_bytes = 3 * MIB, .reserve_bytes = 64 * MIB,
        .gc_start_bytes = 7, .pause_target_us = 8, .threads = 9, .socket = socket, .no_autospawn = true, .timeout_ms = 10 });
    assert_int_equal(o.mode, MORPH_VM);
    assert_ptr_equal(o.name, name);
    assert_int_equal(o.limit_bytes, 3 * MIB);
    assert_int_equal(o.reserve_bytes, 64 * MIB);
    assert_int_equal(o.gc_start_bytes, 7);
    assert_int_equal(o.pause_target_us, 8);
    assert_int_equal(o.threads, 9);
    assert_ptr_equal(o.socket, socket);
    assert_true(o.no_autospawn);
    assert_int_equal(o.timeout_ms, 10);
}

static void a_heap_without_a_name_has_the_programs(void **state)
{
    assert_string_equal(resolved((morph_options){ 0 }).name, program_invocation_short_name);
    assert_string_equal(resolved((morph_options){ .name = "" }).name, program_invocation_short_name);
}

static void limits_are_whole_blocks_within_bounds(void **state)
{
    assert_int_equal(resolved((morph_options){ .limit_bytes = 256 * KIB }).limit_bytes, 256 * KIB);
    assert_int_equal(resolved((morph_options){ .limit_bytes = 320 * KIB - 1 }).limit_bytes, 256 * KIB);
    assert_int_equal(resolved((morph_options){ .limit_bytes = (uint64_t)1 << 44 }).limit_bytes, (uint64_t)1 << 44);
    assert_refused((morph_options){ .limit_bytes = 1 });
    assert_refused((morph_options){ .limit_bytes = 256 * KIB - 1 });
    assert_refused((morph_options){ .limit_bytes = ((uint64_t)1 << 44) + 64 * KIB });
    assert_refused((morph_options){ .limit_bytes = UINT64_MAX });
}

static void the_reserve_holds_the_limit_in_whole_chunks(void **state)
{
    assert_int_equal(resolved((morph_options){ .limit_bytes = 256 * KIB }).reserve_bytes, 2 * MIB);
    assert_int_equal(resolved((morph_options){ .limit_bytes = 3 * MIB, .reserve_bytes = 3 * MIB }).reserve_bytes, 4 * MIB);
    assert_int_equal(resolved((morph_options){ .limit_bytes = (uint64_t)1 << 43 }).reserve_bytes, (uint64_t)1 << 44);
    assert_int_equal(resolved((morph_options){ .limit_bytes = ((uint64_t)1 << 43) + 64 * KIB }).reserve_bytes, (uint64_t)1 << 44);
    assert_refused((morph_options){ .limit_bytes = 8 * MIB, .reserve_bytes = 4 * MIB });
    assert_refused((morph_options){ .reserve_bytes = ((uint64_t)1 << 44) + 1 });
}

/* Rounding up a huge reserve must not wrap around to a small one. */
static void a_reserve_beyond_all_address_space_is_refused(void **state)
{
    assert_refused((morph_options){ .reserve_bytes = UINT64_MAX });
    assert_refused((morph_options){ .reserve_bytes = UINT64_MAX - 2 * MIB });
    assert_refused((morph_options){ .reserve_bytes = (uint64_t)1 << 63 });
}

static void modes_and_threads_have_bounds(void **state)
{
    assert_int_equal(resolved((morph_options){ .threads = 1 }).threads, 1);
    assert_int_equal(resolved((morph_options){ .threads = 1024 }).threads, 1024);
    assert_refused((morph_options){ .threads = 1025 });
    assert_refused((morph_options){ .threads = UINT32_MAX });
    assert_refused((morph_options){ .mode = (enum morph_mode)4 });
    assert_refused((morph_options){ .mode = (enum morph_mode)-1 });
}

static morph_options auto_with(uint64_t bytes)
{
    available_bytes = bytes;
    return morph_options_auto();
}

static void auto_fits_the_memory_that_is_there(void **state)
{
    morph_options o = auto_with(512 * MIB - 1);
    assert_int_equal(o.mode, MORPH_COMPILER);
    assert_int_equal(o.limit_bytes, (512 * MIB - 1) / 4);
    o = auto_with(512 * MIB);
    assert_int_equal(o.mode, MORPH_RUNTIME);
    assert_int_equal(o.limit_bytes, 256 * MIB);
    assert_int_equal(o.gc_start_bytes, 64 * MIB);
    o = auto_with(4 * GIB - 1);
    assert_int_equal(o.mode, MORPH_RUNTIME);
    assert_int_equal(o.limit_bytes, 2 * GIB - 1);
    o = auto_with(4 * GIB);
    assert_int_equal(o.mode, MORPH_SERVER);
    assert_int_equal(o.limit_bytes, 2 * GIB);
    assert_int_equal(o.gc_start_bytes, 256 * MIB);
    o = auto_with((uint64_t)1 << 40);
    assert_int_equal(o.mode, MORPH_SERVER);
    assert_int_equal(o.limit_bytes, 2 * GIB);
}

static void auto_is_usable_on_any_machine(void **state)
{
    for (unsigned shift = 0; shift < 64; shift++)
        (void)resolved(auto_with((uint64_t)1 << shift));
    assert_int_equal(resolved(auto_with(0)).limit_bytes, 1 * MIB);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(presets_are_those_of_the_manual),
        test_case(no_options_are_a_compiler),
        test_case(what_is_given_stays),
        test_case(a_heap_without_a_name_has_the_programs),
        test_case(limits_are_whole_blocks_within_bounds),
        test_case(the_reserve_holds_the_limit_in_whole_chunks),
        test_case(a_reserve_beyond_all_address_space_is_refused),
        test_case(modes_and_threads_have_bounds),
        test_case(auto_fits_the_memory_that_is_there),
        test_case(auto_is_usable_on_any_machine),
    };
    return test_run(cases);
}
