/* options.c — presets, defaults, and options that fit the machine (DESIGN section 1). */
#define _GNU_SOURCE
#include "client/options.h"

#include <errno.h>
#include <string.h>

#include "shm/machine.h"

#define MIB ((uint64_t)1 << 20)
#define FIXED_START MIB                         /* no generations: the first collection says what lives */
#define COLLECTED_MAX ((uint64_t)1 << 40)       /* card numbers of twice as much fit the log's 32 bits */

static const struct preset { uint64_t limit_bytes, gc_start_bytes; uint32_t pause_target_us; } presets[] = {
    [MORPH_COMPILER] = { 256 * MIB, 0, 0 },
    [MORPH_RUNTIME]  = { 512 * MIB, 64 * MIB, 10000 },
    [MORPH_VM]       = { 2048 * MIB, 128 * MIB, 5000 },
    [MORPH_SERVER]   = { 1024 * MIB, 128 * MIB, 5000 },
};

int morph__options_resolve(const morph_options *given, morph_options *ret)
{
    morph_options o = given ? *given : (morph_options){ .mode = MORPH_COMPILER };
    if ((unsigned)o.mode > MORPH_SERVER)
        return MORPH_EINVALID;
    const struct preset *preset = &presets[o.mode];
    if (!o.limit_bytes)
        o.limit_bytes = preset->limit_bytes;
    o.no_moving = o.no_moving && o.mode != MORPH_COMPILER;
    if (!o.gc_start_bytes && o.no_moving)
        o.gc_start_bytes = FIXED_START;
    if (!o.gc_start_bytes)
        o.gc_start_bytes = preset->gc_start_bytes;
    if (!o.pause_target_us)
        o.pause_target_us = preset->pause_target_us;
    if (!o.threads)
        o.threads = MM_SLOTS_DEFAULT;
    if (!o.timeout_ms)
        o.timeout_ms = 5000;
    if (!o.name || !*o.name)
        o.name = program_invocation_short_name;
    if (!o.limit_max_bytes)
        o.limit_max_bytes = o.limit_bytes;
    o.limit_bytes &= ~(uint64_t)(MM_BLOCK_BYTES - 1);
    if (o.limit_bytes < 4 * MM_BLOCK_BYTES || o.limit_bytes > MM_RESERVE_MAX || o.threads > MM_SLOTS_MAX ||
        o.limit_max_bytes < o.limit_bytes || o.limit_max_bytes > MM_RESERVE_MAX ||
        o.promotion_age > 15 || (o.mode != MORPH_COMPILER && o.limit_max_bytes > COLLECTED_MAX))
        return MORPH_EINVALID;
    if (!o.reserve_bytes)
        o.reserve_bytes = o.limit_max_bytes <= MM_RESERVE_MAX / 2 ? o.limit_max_bytes * 2 : MM_RESERVE_MAX;
    o.reserve_bytes = mm_round_up(o.reserve_bytes, MM_CHUNK_BYTES);
    if ((o.no_moving && o.reserve_bytes > MM_AMBIGUOUS_RESERVE_MAX) || o.reserve_bytes < o.limit_max_bytes || o.reserve_bytes > MM_RESERVE_MAX)
        return MORPH_EINVALID;
    *ret = o;
    return 0;
}

morph_options morph_options_auto(void)
{
    uint64_t available = mm_machine_available_bytes();
    if (available < 512 * MIB)
        return (morph_options){ .mode = MORPH_COMPILER, .limit_bytes = available / 4 < MIB ? MIB : available / 4 };
    if (available < 4096 * MIB)
        return (morph_options){ .mode = MORPH_RUNTIME, .limit_bytes = available / 2, .gc_start_bytes = available / 8 };
    return (morph_options){ .mode = MORPH_SERVER, .limit_bytes = 2048 * MIB, .gc_start_bytes = 256 * MIB };
}
