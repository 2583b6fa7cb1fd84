/* mem_config.c — presets, what fits the machine, and the options of a heap that come of it. Any thread. */
#include "client/morph/mem.h"

#include "shm/machine.h"

#define MIB ((size_t)1 << 20)

const MorphMemConfig MORPH_CONFIG_COMPILER = { .mode = MORPH_MODE_COMPILER, .heap_size_hint = 256 * MIB, .enable_metrics = 1 };
const MorphMemConfig MORPH_CONFIG_RUNTIME = { .mode = MORPH_MODE_RUNTIME, .heap_size_hint = 512 * MIB, .gc_threshold = 64 * MIB,
                                              .gc_pause_target_ms = 10, .enable_generational = 1, .enable_metrics = 1 };
const MorphMemConfig MORPH_CONFIG_VM = { .mode = MORPH_MODE_VM, .heap_size_hint = 2048 * MIB, .gc_threshold = 128 * MIB,
                                         .gc_pause_target_ms = 5, .enable_generational = 1, .enable_compaction = 1, .enable_metrics = 1 };
const MorphMemConfig MORPH_CONFIG_SERVER = { .mode = MORPH_MODE_SERVER, .heap_size_hint = 1024 * MIB, .gc_threshold = 128 * MIB,
                                             .gc_pause_target_ms = 5, .enable_generational = 1, .enable_metrics = 1 };

static const MorphMemConfig *const presets[] = {
    [MORPH_MODE_COMPILER] = &MORPH_CONFIG_COMPILER, [MORPH_MODE_RUNTIME] = &MORPH_CONFIG_RUNTIME,
    [MORPH_MODE_VM] = &MORPH_CONFIG_VM, [MORPH_MODE_SERVER] = &MORPH_CONFIG_SERVER
};
_Static_assert((int)MORPH_MODE_SERVER == (int)MORPH_SERVER && (int)MORPH_MODE_VM == (int)MORPH_VM && (int)MORPH_MODE_RUNTIME == (int)MORPH_RUNTIME,
               "modes have the numbers that morphmem.h gives them");

/* As morph_options_auto(). */
MorphMemConfig morph__mem_config_for(uint64_t available)
{
    MorphMemConfig config = available < 512 * MIB    ? MORPH_CONFIG_COMPILER
                            : available < 4096 * MIB ? MORPH_CONFIG_RUNTIME
                                                     : MORPH_CONFIG_SERVER;
    config.heap_size_hint = 2048 * MIB;
    config.gc_threshold = 256 * MIB;
    if (config.mode == MORPH_MODE_COMPILER) {
        config.heap_size_hint = available / 4 < MIB ? MIB : (size_t)available / 4;
        config.gc_threshold = 0;
    } else if (config.mode == MORPH_MODE_RUNTIME) {
        config.heap_size_hint = (size_t)available / 2;
        config.gc_threshold = (size_t)available / 8;
    }
    return config;
}

size_t morph_mem_get_available_ram(void) { return (size_t)mm_machine_available_bytes(); }

MorphMemConfig morph_mem_detect_config(void) { return morph__mem_config_for(mm_machine_available_bytes()); }

/* What is as in the preset is left to the mode, which the environment may change; libmorphmem has the same presets. */
int morph__mem_options(const MorphMemConfig *config, morph_options *ret_options)
{
    if ((unsigned)config->mode > MORPH_MODE_SERVER)
        return MORPH_EINVALID;
    const MorphMemConfig *preset = presets[config->mode];
    *ret_options = (morph_options){
        .mode = (enum morph_mode)config->mode,
        .limit_bytes = config->heap_size_hint == preset->heap_size_hint ? 0 : config->heap_size_hint,
        .gc_start_bytes = config->gc_threshold == preset->gc_threshold ? 0 : config->gc_threshold,
        .pause_target_us = config->gc_pause_target_ms == preset->gc_pause_target_ms ? 0 : config->gc_pause_target_ms * 1000u,
        .promotion_age = config->enable_generational ? 0 : 1,
    };
    return 0;
}
