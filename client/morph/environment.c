/* environment.c — see environment.h. Reads the environment at each call; any thread, as long as none changes it. */
#define _GNU_SOURCE
#include "client/morph/environment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIMIT_LEAST_BYTES ((uint64_t)256 << 10)         /* as morph_heap_open() has it */

static const char *const mode_names[] = {
    [MORPH_COMPILER] = "compiler", [MORPH_RUNTIME] = "runtime", [MORPH_VM] = "vm", [MORPH_SERVER] = "server"
};

const char *morph__mode_name(enum morph_mode mode) { return (unsigned)mode <= MORPH_SERVER ? mode_names[mode] : "?"; }

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool mode_parse(const char *text, enum morph_mode *ret_mode)
{
    for (unsigned i = 0; i <= MORPH_SERVER; i++)
        if (strcasecmp(text, mode_names[i]) == 0) {
            *ret_mode = (enum morph_mode)i;
            return true;
        }
    return false;
}

bool morph__size_parse(const char *text, uint64_t *ret_bytes)
{
    uint64_t bytes = 0, unit = 1;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (bytes > (UINT64_MAX - digit) / 10)
            return false;
        bytes = bytes * 10 + digit;
    }
    if (at == text)
        return false;
    switch (*at) {
    case 'k': case 'K': unit = (uint64_t)1 << 10; at++; break;
    case 'm': case 'M': unit = (uint64_t)1 << 20; at++; break;
    case 'g': case 'G': unit = (uint64_t)1 << 30; at++; break;
    default: break;
    }
    if (*at || bytes > UINT64_MAX / unit)
        return false;
    *ret_bytes = bytes * unit;
    return true;
}

static int refuse(const char *name, const char *value, const char *wanted)
{
    fprintf(stderr, "morphmem: %s is '%s', but it must be %s\n", name, value, wanted);
    return MORPH_EINVALID;
}

int morph__environment(morph_options *options)
{
    const char *mode = variable("MORPHMEM_MODE"), *limit = variable("MORPHMEM_LIMIT");
    morph_options changed = *options;
    if (mode && !mode_parse(mode, &changed.mode))
        return refuse("MORPHMEM_MODE", mode, "compiler, runtime, vm or server");
    if (limit && !morph__size_parse(limit, &changed.limit_bytes))
        return refuse("MORPHMEM_LIMIT", limit, "a number of bytes, which may end with K, M or G");
    if (limit && changed.limit_bytes < LIMIT_LEAST_BYTES)
        return refuse("MORPHMEM_LIMIT", limit, "at least 256K");
    *options = changed;
    return 0;
}

bool morph__debug_wanted(void)
{
    const char *value = variable("MORPH_MEM_DEBUG");
    return value && strcmp(value, "0") != 0;
}
