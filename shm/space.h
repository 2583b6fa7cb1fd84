/* space.h — arenas and pools as both sides see them: an entry with the bump cursors, and a header on each run of blocks.
 *
 * A run is what a client carves for itself out of granted blocks: it starts with a struct mm_run, so that the daemon can walk
 * from run to run and count from outside. A space (an arena or a pool) is an entry in the control area; its cursors are where
 * the fast path keeps them. All of it is the client's testimony: a walker copies a header once, judges it against the blocks
 * that it knows to be granted, and gives up on a run that makes no sense.
 */
#ifndef MM_SPACE_H
#define MM_SPACE_H

#include "shm/layout.h"

enum mm_space_kind { MM_SPACE_FREE = 0, MM_SPACE_ARENA = 1, MM_SPACE_POOL = 2 };

struct mm_space {
    /*  0 */ uint64_t typed_cursor;     /* client: addresses in its own space; objects with headers */
    /*  8 */ uint64_t typed_limit;
    /* 16 */ uint64_t raw_cursor;       /* raw bytes, no headers */
    /* 24 */ uint64_t raw_limit;
    /* 32 */ uint64_t client_word;      /* client: its own */
    /* 40 */ uint32_t kind;             /* enum mm_space_kind */
    /* 44 */ uint32_t generation;       /* runs of another generation were reset: they hold nothing */
    /* 48 */ uint64_t reserved[10];
};
_Static_assert(sizeof(struct mm_space) == 128, "layout v1");
_Static_assert(offsetof(struct mm_space, raw_cursor) == 16, "layout v1");
_Static_assert(offsetof(struct mm_space, client_word) == 32, "layout v1");
_Static_assert(offsetof(struct mm_space, kind) == 40, "layout v1");
_Static_assert(offsetof(struct mm_space, generation) == 44, "layout v1");

#define MM_RUN_MAGIC 0x4e55524dul       /* "MRUN" */

enum mm_run_use {
    MM_RUN_SPARE = 0,       /* kept by the client for later */
    MM_RUN_TYPED,           /* an arena's objects, header by header */
    MM_RUN_RAW,             /* an arena's raw bytes */
    MM_RUN_POOL,            /* a pool's pages (pool.h) */
    MM_RUN_THREAD,          /* a thread's own objects; `owner` is the slot, `generation` 0: young cursor, 1: old */
    MM_RUN_USES
};

struct mm_run {
    /*  0 */ uint32_t magic;
    /*  4 */ uint16_t use;              /* enum mm_run_use */
    /*  6 */ uint16_t reserved0;
    /*  8 */ uint32_t blocks;
    /* 12 */ uint32_t owner;            /* space, or slot for MM_RUN_THREAD */
    /* 16 */ uint32_t generation;
    /* 20 */ uint32_t reserved1;
    /* 24 */ uint64_t used_bytes;       /* from the start of the run, this header included; 0: the owner's cursor says */
    /* 32 */ uint64_t client_word[4];   /* client: its own */
};
_Static_assert(sizeof(struct mm_run) == 64, "layout v1");
_Static_assert(offsetof(struct mm_run, use) == 4, "layout v1");
_Static_assert(offsetof(struct mm_run, blocks) == 8, "layout v1");
_Static_assert(offsetof(struct mm_run, owner) == 12, "layout v1");
_Static_assert(offsetof(struct mm_run, generation) == 16, "layout v1");
_Static_assert(offsetof(struct mm_run, used_bytes) == 24, "layout v1");

#define MM_RUN_HEADER_BYTES 64u

#endif
