/* census.h — counting a heap from outside: bytes by use, objects by type. The owner's fast paths count nothing.
 *
 * A census walks the granted blocks from run to run, in slices, while the client goes on: the figures are a walk's, not an instant's.
 * Everything read is the client's testimony; each header is copied once and judged against the blocks known to be granted, and a run
 * that makes no sense is passed over.
 * Blocks of a collected heap are walked by the collector's tables, where they say what starts where, and header by header where objects
 * are born. What is not yet known to be dead is counted. In a pause a census waits. */
#ifndef DAEMON_CENSUS_H
#define DAEMON_CENSUS_H

#include "daemon/heap/heap.h"
#include "daemon/heap/job.h"

struct census_type { uint64_t objects, bytes, held_bytes; };

struct census {
    struct job          job;            /* carries it to the worker, and back to the loop when done */
    void              (*done)(struct job *job);
    struct census      *next;           /* the worker's list */
    void               *asker;          /* the loop's own */
    struct heap        *heap;
    struct census_type *type;           /* [type_count], by id; NULL: only bytes by use */
    uint32_t            type_count;

    /* Results. */
    uint64_t            used_bytes, arena_bytes, pool_bytes, pool_objects, object_bytes, large_bytes, spare_bytes;
    uint64_t            arenas, pools, threads, waits, wait_ns;
    uint64_t            live_bytes, nursery_bytes, young_bytes, old_bytes;      /* collected heaps: as the collector has it */
    bool                cut_short;      /* the heap was closed or condemned under way */

    /* Where it stands. */
    uint32_t            block;          /* next block to look at */
    uint64_t            at, end;        /* objects left in the present run: offsets; at == end: none */
    bool                young;          /* they are young: a collection ends this walk */
    uint32_t            epoch;          /* of the collector, when it began */
    uint32_t            by_bits;        /* block whose objects are found by start bits, plus 1; 0: none */
    uint32_t            granule;        /* in it: where to go on */
};

/* Walks for about `steps` steps (headers read). True when done. Touches client memory: inside a guard. The heap's worker. */
bool census_slice(struct census *census, unsigned steps);

#endif
