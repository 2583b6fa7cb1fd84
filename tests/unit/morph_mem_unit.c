/* morph_mem_unit.c — what the Memory V2 layer decides before it has a heap: presets, what fits a machine, sizes, the environment. Tests
 * client/morph/mem_config.c and environment.c; the machine's memory is ours to say. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/morph/environment.h"
#include "client/morph/mem.h"
#include "shm/machine.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static uint64_t available_bytes;
uint64_t mm_machine_available_bytes(void) { return available_bytes; }      /* in the place of shm/machine.c */

static void presets_are_those_of_the_manual(void **state)
{
    static const struct { const MorphMemConfig *config; int mode; uint64_t heap, threshold; unsigned pause_ms, generational; } preset[] = {
        { &MORPH_CONFIG_COMPILER, 0, 256 * MIB, 0, 0, 0 },
        { &MORPH_CONFIG_RUNTIME, 1, 512 * MIB, 64 * MIB, 10, 1 },
        { &MORPH_CONFIG_VM, 2, 2 * GIB, 128 * MIB, 5, 1 },
        { &MORPH_CONFIG_SERVER, 3, 1 * GIB, 128 * MIB, 5, 1 },
    };
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(preset[i].config->mode, preset[i].mode);
        assert_int_equal(preset[i].config->heap_size_hint, preset[i].heap);
        assert_int_equal(preset[i].config->gc_threshold, preset[i].threshold);
        assert_int_equal(preset[i].config->gc_pause_target_ms, preset[i].pause_ms);
        assert_int_equal(preset[i].config->enable_generational, preset[i].generational);
        assert_int_equal(preset[i].config->enable_debug, 0);
    }
}

static void assert_fits(uint64_t available, MorphWorkloadMode mode, uint64_t heap, uint64_t threshold)
{
    available_bytes = available;
    MorphMemConfig config = morph_mem_detect_config();
    assert_int_equal(morph_mem_get_available_ram(), available);
    assert_int_equal(config.mode, mode);
    assert_int_equal(config.heap_size_hint, heap);
    assert_int_equal(config.gc_threshold, threshold);
}

static void the_machine_decides_at_three_limits(void **state)
{
    assert_fits(64 * MIB, MORPH_MODE_COMPILER, 16 * MIB, 0);
    assert_fits(512 * MIB - 4, MORPH_MODE_COMPILER, 128 * MIB - 1, 0);
    assert_fits(512 * MIB, MORPH_MODE_RUNTIME, 256 * MIB, 64 * MIB);
    assert_fits(4 * GIB - 8, MORPH_MODE_RUNTIME, 2 * GIB - 4, 512 * MIB - 1);
    assert_fits(4 * GIB, MORPH_MODE_SERVER, 2 * GIB, 256 * MIB);
    assert_fits(1024 * GIB, MORPH_MODE_SERVER, 2 * GIB, 256 * MIB);
    assert_fits(0, MORPH_MODE_COMPILER, MIB, 0);                            /* it could not be read */
}

static morph_options options_of(MorphMemConfig config)
{
    morph_options options;
    assert_int_equal(morph__mem_options(&config, &options), 0);
    return options;
}

static void a_configuration_becomes_options(void **state)
{
    morph_options o = options_of((MorphMemConfig){ .mode = MORPH_MODE_VM, .heap_size_hint = 7 * MIB, .gc_threshold = 3 * MIB,
                                                   .gc_pause_target_ms = 2, .enable_generational = 1 });
    assert_int_equal(o.mode, MORPH_VM);
    assert_int_equal(o.limit_bytes, 7 * MIB);
    assert_int_equal(o.gc_start_bytes, 3 * MIB);
    assert_int_equal(o.pause_target_us, 2000);
    assert_int_equal(o.promotion_age, 0);
    assert_int_equal(options_of((MorphMemConfig){ .mode = MORPH_MODE_VM }).promotion_age, 1);
    assert_int_equal(options_of((MorphMemConfig){ .mode = MORPH_MODE_VM, .gc_pause_target_ms = 255 }).pause_target_us, 255000);
}

/* So that another mode, which the environment may choose, has presets of its own. */
static void what_is_preset_is_left_to_the_mode(void **state)
{
    morph_options o = options_of(MORPH_CONFIG_SERVER);
    assert_int_equal(o.mode, MORPH_SERVER);
    assert_int_equal(o.limit_bytes, 0);
    assert_int_equal(o.gc_start_bytes, 0);
    assert_int_equal(o.pause_target_us, 0);
    MorphMemConfig mixed = MORPH_CONFIG_SERVER;
    mixed.heap_size_hint = 512 * MIB;                                       /* another mode's preset is a choice here */
    assert_int_equal(options_of(mixed).limit_bytes, 512 * MIB);
}

static void a_mode_that_is_none_is_refused(void **state)
{
    morph_options options = { .limit_bytes = 77 };
    MorphMemConfig config = { .mode = (MorphWorkloadMode)4 };
    assert_int_equal(morph__mem_options(&config, &options), MORPH_EINVALID);
    assert_int_equal(options.limit_bytes, 77);
}

static void sizes_have_suffixes(void **state)
{
    static const struct { const char *text; uint64_t bytes; } good[] = {
        { "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "512k", 512 * KIB }, { "64K", 64 * KIB }, { "512M", 512 * MIB }, { "3m", 3 * MIB },
        { "2G", 2 * GIB }, { "16g", 16 * GIB }, { "18446744073709551615", UINT64_MAX }, { "17179869183G", UINT64_MAX - GIB + 1 },
    };
    static const char *const bad[] = {
        "", "M", "-1", "+1", " 1", "1 ", "1.5G", "512MB", "512 M", "0x10", "ten", "1T", "1KK", "18446744073709551616", "17179869184G", "99999999999999999999",
    };
    uint64_t bytes;
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!morph__size_parse(good[i].text, &bytes))
            fail_msg("'%s' is refused", good[i].text);
        assert_int_equal(bytes, good[i].bytes);
    }
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bytes = 77;
        if (morph__size_parse(bad[i], &bytes))
            fail_msg("'%s' is taken for a size", bad[i]);
        assert_int_equal(bytes, 77);
    }
}

/* ---- The environment ---- */

static int environment(const char *mode, const char *limit, morph_options *options)
{
    if (mode)
        assert_int_equal(setenv("MORPHMEM_MODE", mode, 1), 0);
    else
        unsetenv("MORPHMEM_MODE");
    if (limit)
        assert_int_equal(setenv("MORPHMEM_LIMIT", limit, 1), 0);
    else
        unsetenv("MORPHMEM_LIMIT");
    int r = morph__environment(options);
    unsetenv("MORPHMEM_MODE");
    unsetenv("MORPHMEM_LIMIT");
    return r;
}

static void the_environment_has_the_last_word(void **state)
{
    morph_options o = { .mode = MORPH_RUNTIME, .limit_bytes = 5 * MIB, .gc_start_bytes = MIB };
    assert_int_equal(environment(NULL, NULL, &o), 0);
    assert_int_equal(environment("", "", &o), 0);                           /* empty is as not set */
    assert_int_equal(o.mode, MORPH_RUNTIME);
    assert_int_equal(o.limit_bytes, 5 * MIB);
    assert_int_equal(environment("server", NULL, &o), 0);
    assert_int_equal(o.mode, MORPH_SERVER);
    assert_int_equal(o.limit_bytes, 5 * MIB);
    assert_int_equal(environment(NULL, "256K", &o), 0);
    assert_int_equal(o.mode, MORPH_SERVER);
    assert_int_equal(o.limit_bytes, 256 * KIB);
    assert_int_equal(o.gc_start_bytes, MIB);
    static const struct { const char *text; enum morph_mode mode; } names[] = {
        { "compiler", MORPH_COMPILER }, { "runtime", MORPH_RUNTIME }, { "vm", MORPH_VM }, { "VM", MORPH_VM }, { "server", MORPH_SERVER },
    };
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(environment(names[i].text, "2G", &o), 0);
        assert_int_equal(o.mode, names[i].mode);
        assert_int_equal(o.limit_bytes, 2 * GIB);
    }
}

/* What is written to stderr while a bad environment is read: a sentence with the variable and its value. */
static void assert_refused(const char *mode, const char *limit, const char *variable, const char *value)
{
    morph_options o = { .mode = MORPH_VM, .limit_bytes = 5 * MIB }, before = o;
    char said[512] = "";
    FILE *file = tmpfile();
    assert_non_null(file);
    fflush(stderr);
    int saved = dup(2);
    assert_true(saved >= 0 && dup2(fileno(file), 2) == 2);
    int r = environment(mode, limit, &o);
    fflush(stderr);
    assert_true(dup2(saved, 2) == 2);
    close(saved);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = 0;
    fclose(file);
    assert_int_equal(r, MORPH_EINVALID);
    assert_memory_equal(&o, &before, sizeof o);
    if (!strstr(said, variable) || !strstr(said, value) || said[strlen(said) - 1] != '\n')
        fail_msg("no sentence about %s and '%s': '%s'", variable, value, said);
}

static void a_bad_environment_is_an_error(void **state)
{
    assert_refused("fast", NULL, "MORPHMEM_MODE", "fast");
    assert_refused("vms", "1G", "MORPHMEM_MODE", "vms");
    assert_refused(NULL, "lots", "MORPHMEM_LIMIT", "lots");
    assert_refused("vm", "512MB", "MORPHMEM_LIMIT", "512MB");               /* the good half is not taken over either */
    assert_refused(NULL, "255K", "MORPHMEM_LIMIT", "255K");
    assert_refused(NULL, "0", "MORPHMEM_LIMIT", "0");
}

static void debugging_can_be_switched_off(void **state)
{
    static const struct { const char *value; bool wanted; } values[] = { { "1", true }, { "yes", true }, { "0", false }, { "", false } };
    unsetenv("MORPH_MEM_DEBUG");
    assert_false(morph__debug_wanted());
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++) {
        setenv("MORPH_MEM_DEBUG", values[i].value, 1);
        assert_int_equal(morph__debug_wanted(), values[i].wanted);
    }
    unsetenv("MORPH_MEM_DEBUG");
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(presets_are_those_of_the_manual),
        test_case(the_machine_decides_at_three_limits),
        test_case(a_configuration_becomes_options),
        test_case(what_is_preset_is_left_to_the_mode),
        test_case(a_mode_that_is_none_is_refused),
        test_case(sizes_have_suffixes),
        test_case(the_environment_has_the_last_word),
        test_case(a_bad_environment_is_an_error),
        test_case(debugging_can_be_switched_off),
    };
    return test_run(cases);
}
