/* subject.h — what a workload asks of the allocator that is measured: one header for each, chosen at compile time.
 *
 * Each workload is one file, compiled once per subject into that subject's program (bench-glibc, bench-arena, ...), with
 * everything inlined. A subject's header provides:
 *
 *   SUBJECT_DROP                    how memory goes: DROP_FREE singly, DROP_RESET with its place, DROP_NOTHING (collected)
 *   subject_begin(role, limit_bytes) once, first. The limit binds those that can be bounded
 *   struct place                    where objects go; a workload that drops a whole place at once has one for what it drops
 *   place_begin(place, most_bytes)  most_bytes: of payload and 16 bytes for each object
 *   place_object(place, kind)       an object of one of kinds.h, not zeroed
 *   place_bytes(place, bytes)       memory without references
 *   place_array(place, bytes)       the same as a typed object, where the subject has types
 *   place_table(place, count)       an array of references
 *   place_free(place, memory)       DROP_FREE only
 *   place_reset(place)              DROP_RESET only
 *
 * A subject whose objects move (SUBJECT_ROOTED) must know what refers to them, and provides these; for the others they are plain memory:
 *
 *   SUBJECT_ROOTS(name, count)      declares `name`, an array of subject_root: references that are right after each allocation, all NULL
 *   SUBJECT_ROOTS_END(name)         the last of them ends first
 *   subject_globals(memory, count)  the same for the whole run: static memory of the workload, or what stands for it
 *   place_store(place, object, slot, value)     stores a reference into an object that is not the latest
 *
 * State is static: it belongs to the workload that runs, and one process runs one workload. One thread.
 */
#ifndef BENCH_SUBJECT_H
#define BENCH_SUBJECT_H

#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/subject/kinds.h"

enum drop { DROP_FREE, DROP_RESET, DROP_NOTHING };
enum role { ROLE_PROGRAM, ROLE_SERVER };        /* short-lived objects; a long-lived table under a bound */

/* Ends the process: a workload that cannot go on has no figure to report. */
static inline void subject_die(const char *sentence)
{
    fprintf(stderr, "%s\n", sentence);
    exit(3);
}

#if defined(SUBJECT_BUMP)
#include "tests/bench/subject/bump.h"
#elif defined(SUBJECT_BOEHM)
#include "tests/bench/subject/boehm.h"
#elif defined(SUBJECT_ARENA)
#include "tests/bench/subject/arena.h"
#elif defined(SUBJECT_POOL)
#include "tests/bench/subject/pool.h"
#elif defined(SUBJECT_COLLECTED)
#include "tests/bench/subject/collected.h"
#else
#include "tests/bench/subject/general.h"
#endif

#ifndef SUBJECT_ROOTED
#define SUBJECT_ROOTED 0
typedef void *subject_root;
#define SUBJECT_ROOTS(name, count) subject_root name[count] = { NULL }
#define SUBJECT_ROOTS_END(name)    (void)name

static inline void **subject_globals(void *memory, unsigned count)
{
    (void)count;
    return memory;
}

static inline void place_store(struct place *place, void *object, void *slot, void *value)
{
    (void)place, (void)object;
    *(void **)slot = value;
}
#endif

#endif
