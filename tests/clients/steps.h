/* steps.h — a trace, decoded for replay: what to allocate and what to free, in flat tables.
 *
 * The tables are made by mmap, not by malloc, so that a replay can look at what malloc holds and see the replayed program only.
 * Read-only once loaded; any number of threads and forked children may use them.
 */
#ifndef CLIENTS_STEPS_H
#define CLIENTS_STEPS_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/mtr.h"

#define STEPS_TYPES_MAX 256u

struct steps_alloc { uint32_t bytes; uint32_t type; };

/* After allocation number alloc_end - 1 the dead up to dead_end - 1 go. */
struct steps_epoch { uint32_t alloc_end, dead_end; };

struct steps_type {
    char     name[64];
    uint64_t bytes;         /* of each object, if it does not vary */
    bool     varies;        /* raw memory: no layout of its own */
    bool     seen;
    uint64_t refs;          /* bit n: the word at byte 8 n held a reference */
};

struct steps_table { void *memory; uint64_t bytes; };

struct steps {
    const struct steps_alloc *alloc;
    const struct steps_epoch *epoch;
    const uint32_t *dead;
    uint32_t allocs, epochs, deads, types;
    uint64_t payload_bytes;
    struct steps_type type[STEPS_TYPES_MAX];
    struct steps_table table[3];
};

/* Loads a trace and the names of its types (NULL: from the .stats file beside the trace, if there is one). On failure prints why
 * and returns -1. Ends with steps_unload(). */
int steps_load(struct steps *steps, const char *path, const char *stats_path);
void steps_unload(struct steps *steps);

/* Zeroed memory from mmap. NULL on failure. */
void *steps_memory_new(uint64_t bytes);

#endif
