/* heap.h — one heap as the daemon knows it: its address space, its blocks, its accounts.
 *
 * The truth is private: states, free maps and counters live in memory that no client maps. What the client can write (control area,
 * objects) is read once, judged, used.
 * Accounts: `granted` counts blocks that the client may use, against the heap's limit and its user's share. `resident` counts blocks
 * that have memory or may get it (all of a warm segment, the granted part of a cold one), is what the machine budget is charged, and passes
 * the limit no more than `granted` does, but where pages are huge: then a whole chunk has memory as soon as one of its blocks is granted.
 *
 * Life: heap_new() on the loop thread; then one worker owns it (worker.h) until heap_free(), which runs there too. Figures that other
 * threads read are single words, stored relaxed. */
#ifndef DAEMON_HEAP_H
#define DAEMON_HEAP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/heap/balance.h"
#include "daemon/heap/pressure.h"
#include "daemon/heap/segment.h"
#include "shm/atomic.h"
#include "shm/block.h"
#include "shm/control.h"
#include "shm/view.h"

struct worker;
struct gc;
struct heap_task;
struct type_table;

/* A user's share of the daemon; the registry owns it, loop thread, but for granted_blocks (any thread, atomic). */
struct user {
    struct user *next;
    uid_t        uid;
    uint64_t     connections, heaps;
    uint64_t     granted_blocks;
};

struct chunk {
    uint32_t free;              /* bit a block: FREE or ZEROED */
    uint32_t clean;             /* of the free ones: ZEROED */
    uint32_t resident;          /* counted against the budget */
    struct segment *segment;    /* that it lies in */
    uint8_t  state[MM_CHUNK_BLOCKS];    /* enum mm_block_state */
};

/* What was put into a cell of a ring; the cell itself lies in client memory. */
struct slot_cell { uint32_t block, count; uint16_t kind; };

/* The daemon's end of a slot's rings. */
struct slot_end {
    struct slot_cell cell[MM_RING_CELLS];
    uint32_t ladder;            /* collected heaps: what has been tried for the present request (gc/grant.c) */
    uint32_t stressed;          /* the request that the stress option has collected for */
    uint32_t request_now;       /* the request that is being answered */
    uint64_t request_ns;        /* when it was first seen */
    uint64_t begun_seq;         /* of the latest old block that its thread was seen to have come to (gc/holes.c) */
    uint32_t ahead_kind;        /* collected heaps: what is worth granting ahead after its last request, enum mm_grant; 0: nothing */
    uint32_t ahead_bytes;       /* and in a row */
    uint32_t collect_request;   /* the request that `collecting` is for */
    uint64_t collecting;        /* a request to collect: the number of collections that answers it; 0: none */
    uint64_t overwritten_tail;  /* collected heaps: of the log of overwritten references, ours */
    uint32_t tail, last_head, give_head;
    uint32_t request_seen;
    uint32_t depth;             /* cells to keep in the ring */
    uint64_t filled_ns;         /* when it was last filled */
    uint32_t given_blocks;      /* collected heaps: put into the ring so far; */
    uint32_t rate_blocks;       /* taken from it, */
    uint64_t rate_ns;           /* when the rate was last measured; */
    uint64_t block_ns;          /* and from one block to the next; 0: not known */
};

struct heap {
    /* Fixed at open. */
    uint64_t             id;
    struct mm_view       view;
    struct mm_control   *control;
    uint64_t             control_bytes;
    uint32_t             slot_count, space_count;
    int                  socket;        /* the connection's, for SEGMENT packets; borrowed */
    int                  doorbell;      /* eventfd; ours */
    struct segment_owner owner;
    struct user         *user;
    struct worker       *worker;
    pid_t                pid;           /* of the client */
    uint32_t             mode;          /* enum morph_mode */
    bool                 no_moving;     /* collected: objects never move, and roots are ambiguous */
    uint64_t             young_min_bytes, young_max_bytes;      /* as asked; 0: the configuration's */
    const struct type_table *types;     /* the connection's */
    struct gc           *gc;            /* NULL: nothing is collected (COMPILER) */

    /* The worker's. */
    struct chunk        *chunk;         /* [mapped_chunks] */
    uint32_t             mapped_chunks, segments_in_flight;
    struct segment      *segments;
    struct slot_end     *slot;          /* [slot_count] */
    uint32_t             first_free;    /* no free block in chunks below this one */
    uint32_t             dirty_blocks;  /* free, but not zeroed */
    uint32_t             trim_chunk;    /* where trimming goes on; mapped_chunks: nothing to trim */
    bool                 hot, closing, retry;
    bool                 gone;          /* nobody is at the other end of the socket: no segment can be sent */
    bool                 asking;        /* a thread waits for the grant that is being made: it may wait for the budget */
    uint32_t             turn;          /* the slot whose request is looked at first */
    uint64_t             active_ns;     /* last time it wanted something */
    uint64_t             nap_ns;        /* when the worker comes again by itself; 0: not */
    uint64_t             rings, rings_since_ns, deaf_until_ns;
    struct heap         *hot_next, *all_next;
    struct heap_task    *tasks;         /* that wait for their moment (worker.h) */
    struct balance_member member;       /* balance.h */
    struct pressure      pressure;

    uint32_t             welcomed;      /* loop thread, once, release: the client may be sent letters */

    /* Figures: written by the worker, read by anybody. */
    uint64_t             limit_blocks;  /* never less than granted_blocks */
    uint64_t             granted_blocks, peak_blocks, resident_blocks;
    uint64_t             grants, grants_ahead, refusals, given_back_blocks;
    uint64_t             doorbells, naps;       /* times that a thread woke the worker; that the worker slept until it would be wanted */
    uint32_t             condemned;     /* positive morphmem error number; 0: fine */
};

struct heap_request {
    uint64_t             id, limit_bytes, reserve_bytes, client_base;
    uint32_t             threads;
    int                  socket;
    struct segment_owner owner;
    struct user         *user;
    pid_t                pid;
    uint32_t             mode, promotion_age, pause_target_us;
    bool                 no_moving;
    uint64_t             gc_start_bytes, young_min_bytes, young_max_bytes;
    const struct type_table *types;
};

/* Makes a heap with its control area, its first segment and a first grant in slot 0. On success *ret_fds holds the descriptors to send
 * in this order: control area, doorbell (borrowed), segment; the caller closes all but the doorbell.
 * Returns NULL and a positive morphmem error number in *ret_error. Loop thread. */
struct heap *heap_new(const struct heap_request *request, int ret_fds[3], int *ret_error);

/* Gives everything back. The caller is the last to know the heap. */
void heap_free(struct heap *heap);

static inline uint64_t heap_limit_left(const struct heap *heap)
{
    uint64_t granted = heap->granted_blocks, limit = mm_load_relaxed(&heap->limit_blocks);
    return granted < limit ? limit - granted : 0;
}

enum heap_later {
    HEAP_LATER_MAIL = -1,       /* segments are still on their way: when the client has read its mail */
    HEAP_LATER_WORK = -2,       /* some of the work is done: come again at once */
    HEAP_LATER_BUDGET = -3,     /* other heaps have been asked to give: come again soon */
};

/* Grants a run of `min` to `want` zeroed blocks for the client's own use. 0 and the run, a positive morphmem error number, or enum
 * heap_later. One slice: at most CLEAN_BLOCKS blocks are zeroed. Touches client memory: inside a guard. Worker. */
int heap_grant_run(struct heap *heap, uint32_t want, uint32_t min, uint32_t *ret_block, uint32_t *ret_count);

/* Free blocks in a row, made resident and put into `state`. Results and errors as heap_grant_run(); client memory is only touched (and a
 * guard only needed) if they must be `zeroed`. Worker, or a tracer under gc->lock. */
struct heap_want {
    uint32_t want, min;
    enum mm_block_state state;
    bool zeroed;
    bool were_zero;             /* result: all of them were zero already */
};
int heap_obtain(struct heap *heap, struct heap_want *ask, uint32_t *ret_block, uint32_t *ret_count);

/* Moves a block to another state (MM_BLOCK_MOVES), sums included. Worker. */
void heap_block_set_state(struct heap *heap, uint32_t block, enum mm_block_state to);

/* Tells the client what is granted, and whether that presses. Guarded. Worker. */
void heap_publish(struct heap *heap);

/* Sets another bound, and tells the client. False if more is granted than that: then nothing has changed. At most the reserve, and while no
 * collection is under way. Not guarded. Worker. */
bool heap_limit_set(struct heap *heap, uint64_t blocks);

/* Is thread `tid` of the client certainly gone? False where that cannot be known. Worker. */
bool heap_thread_gone(const struct heap *heap, uint32_t tid);

/* Takes back a run that the client gave; false if it is not his to give (then nothing changed). Worker. */
bool heap_take_back(struct heap *heap, uint32_t block, uint32_t count);

/* Makes one more free block resident, of those that are taken next, until `blocks` are. False: they are, or more would be beyond the heap's bound or what
 * the budget has to spare. Guarded. */
bool heap_warm_step(struct heap *heap, uint32_t blocks);

/* One slice of housekeeping: zeroes a free dirty block, or (idle heaps) frees memory of free blocks. False: nothing to do. Guarded. */
bool heap_clean_step(struct heap *heap);
bool heap_trim_step(struct heap *heap);

/* Frees the memory of a chunk's free blocks, not in a pause; of whole free chunks only where pages are huge. Worker. */
void heap_trim_chunk(struct heap *heap, uint32_t chunk);

/* Bytes of memory that the client has made resident beyond what was granted to it; 0 for an honest one. Worker. */
uint64_t heap_overdrawn_bytes(const struct heap *heap);

/* State of a block; ABSENT beyond what is mapped. */
static inline enum mm_block_state heap_block_state(const struct heap *heap, uint64_t block)
{
    uint64_t chunk = block / MM_CHUNK_BLOCKS;
    return chunk < heap->mapped_chunks ? (enum mm_block_state)heap->chunk[chunk].state[block % MM_CHUNK_BLOCKS] : MM_BLOCK_ABSENT;
}

/* Sums and states agree? Aborts with a message if not. Cheap part always, whole walk with --enable-verify. Worker. */
void heap_check(const struct heap *heap);

#endif
