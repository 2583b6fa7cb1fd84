/* slot.h — one per client thread: its bump cursors, its hand-shake words, its two rings and its logs.
 *
 *   +0        struct mm_slot: cursors, stop word, state, requests, ring indices, grant cells, give-back cells (one page)
 *   +4 KiB    card log: u32[MM_CARD_LOG]
 *   +20 KiB   overwritten-value log: u64[MM_OVERWRITTEN_LOG]
 *   +84 KiB   root area: 2 MiB, the thread's shared root stack (sparse, as the whole control area is)
 *
 * Moves of `state` (any other is false testimony):
 *   from      to        by       when
 *   FREE      NATIVE    client   attach (a compare-and-swap: threads race for slots)
 *   NATIVE    RUNNING   client   leave; then it looks at `stop`
 *   RUNNING   NATIVE    client   before a blocking call, roots published
 *   RUNNING   PARKED    client   a poll that found `stop` set
 *   PARKED    RUNNING   client   resume
 *   NATIVE    FREE      client   detach
 *   any       FREE      daemon   the thread is gone
 */
#ifndef MM_SLOT_H
#define MM_SLOT_H

#include "shm/layout.h"

#define MM_SLOT_STATES(X) X(FREE) X(RUNNING) X(NATIVE) X(PARKED)
enum mm_slot_state {
#define X(name) MM_SLOT_##name,
    MM_SLOT_STATES(X)
#undef X
    MM_SLOT_STATE_COUNT
};

#define MM_RING_CELLS       32u         /* grants on the way to the thread */
#define MM_GIVE_CELLS       64u         /* runs on the way back */
#define MM_CARD_LOG         4096u
#define MM_OVERWRITTEN_LOG  8192u
#define MM_ROOT_AREA_BYTES  (2u << 20)  /* deeper than a C stack of 8 MiB lets a program with one small frame a call go */

/* What a cell of the grant ring carries. */
enum mm_grant {
    MM_GRANT_NONE = 0,
    MM_GRANT_RUN,           /* `count` zeroed blocks for the client to run itself: arenas, pools, thread runs */
    MM_GRANT_YOUNG,         /* `count` blocks for young objects */
    MM_GRANT_OLD,           /* `count` blocks, or the holes of one, for old objects */
    MM_GRANT_LARGE,         /* `count` zeroed blocks for one large object */
    MM_GRANT_REFUSED,       /* the answer to a request that cannot be met; `block` is a positive morphmem error number */
    MM_GRANT_DONE,          /* the answer to MM_REQUEST_COLLECT */
    MM_REQUEST_COLLECT,     /* a request only: collect now; request_blocks: enum mm_collection */
};

/* How much to collect. The numbers are part of the protocol (COLLECT). */
enum mm_collection { MM_COLLECT_MINOR = 0, MM_COLLECT_MAJOR = 1, MM_COLLECT_COMPACT = 2, MM_COLLECTIONS };

struct mm_cell {
    /*  0 */ uint32_t block;        /* first block, counted from the start of the reserve */
    /*  4 */ uint16_t kind;         /* enum mm_grant */
    /*  6 */ uint16_t zeroed;       /* YOUNG, OLD: 1 = all of it is zero, else its thread zeroes each block or hole as it begins it */
    /*  8 */ uint32_t count;        /* blocks; OLD: more than one only where each is one hole */
    /* 12 */ uint32_t seq;          /* the request that it answers; 0: granted ahead */
    /* 16 */ uint32_t epoch;        /* of the stop word when granted */
    /* 20 */ uint32_t hole;         /* OLD: the first one (hole.h) of each block */
    /* 24 */ uint32_t reserved1[10];
};
_Static_assert(sizeof(struct mm_cell) == 64, "a cell is a cache line");
_Static_assert(offsetof(struct mm_cell, kind) == 4, "layout v1");
_Static_assert(offsetof(struct mm_cell, count) == 8, "layout v1");
_Static_assert(offsetof(struct mm_cell, seq) == 12, "layout v1");
_Static_assert(offsetof(struct mm_cell, epoch) == 16, "layout v1");
_Static_assert(offsetof(struct mm_cell, hole) == 20, "layout v3");

struct mm_slot {
    /* Line 0, client: what the fast paths write. Addresses are the client's. */
    /*   0 */ uint64_t young_cursor;        /* heaps without moving: of longer old objects */
    /*   8 */ uint64_t young_limit;
    /*  16 */ uint64_t old_cursor;
    /*  24 */ uint64_t old_limit;
    /*  32 */ uint32_t card_count;          /* entries in the card log */
    /*  36 */ uint32_t card_overflow;       /* 1: the log was full, look at the card bytes */
    /*  40 */ uint64_t overwritten_head;
    /*  48 */ uint64_t roots_bytes;         /* of the root area, in use by frames */
    /*  56 */ uint64_t roots_extra_bytes;   /* copied in above them while the thread is stopped: variables, a VM's own stack */

    /* Line 1: what the fast paths read. */
    /*  64 */ uint32_t stop;                /* daemon: 1 = look at control->stop, which decides (PROTOCOLS 1) */
    /*  68 */ uint32_t marking;             /* client, whenever it goes on: what control->marking says */
    /*  72 */ uint64_t card_base;           /* client, at attach: its address of card 0, less its base >> 9 */
    /*  80 */ uint64_t first_card;          /* client, at attach: its base >> 9 */
    /*  88 */ uint32_t bytes_off;           /* client: 0 or 16, of the cursor at which objects without a type are born */
    /*  92 */ uint32_t reserved1[9];

    /* Line 2: hand-shake and requests. */
    /* 128 */ uint32_t state;               /* enum mm_slot_state, see the moves above */
    /* 132 */ uint32_t tid;                 /* client, before leaving FREE for good */
    /* 136 */ uint64_t client_word;         /* client: its own; the daemon never looks */
    /* 144 */ uint32_t request_seq;         /* client, after the words below: a new request when it changes */
    /* 148 */ uint32_t request_kind;        /* enum mm_grant */
    /* 152 */ uint32_t request_blocks;      /* wanted */
    /* 156 */ uint32_t request_min;         /* still useful; more than this at once or a refusal. OLD: bytes in a row */
    /* 160 */ uint32_t wish_blocks;         /* client, relaxed: what to grant ahead; 0: nothing */
    /* 164 */ uint32_t waits;               /* client: times it slept in refill */
    /* 168 */ uint64_t wait_ns;             /* client: and for how long */
    /* 176 */ uint32_t roots_overflow;      /* client: 1 = what it has to report does not fit the root area: do not collect */
    /* 180 */ uint32_t ambiguous_count;     /* client: heaps without moving: u32 granules behind the other roots (mm_slot_ambiguous) */
    /* 184 */ uint32_t reserved2[2];

    /* Line 3, client: its ends of the rings. */
    /* 192 */ uint32_t ring_head;
    /* 196 */ uint32_t give_tail;
    /* 200 */ uint32_t reserved3[14];

    /* Line 4, daemon: its ends of the rings. */
    /* 256 */ uint32_t ring_tail;           /* a futex: the client sleeps on it */
    /* 260 */ uint32_t asleep;              /* client: 1 = it sleeps on ring_tail, or is about to */
    /* 264 */ uint32_t give_head;
    /* 268 */ uint32_t overwritten_asleep;  /* client: 1 = it sleeps on the low half of overwritten_tail, or is about to */
    /* 272 */ uint64_t overwritten_tail;
    /* 280 */ uint64_t reserved5[5];

    /* 320 */ uint64_t reserved6[24];
    /* 512 */ struct mm_cell cell[MM_RING_CELLS];       /* daemon */
    /*2560 */ uint64_t give[MM_GIVE_CELLS];             /* client: block << 32 | blocks */
};
_Static_assert(sizeof(struct mm_slot) == 3072, "layout v5");
_Static_assert(offsetof(struct mm_slot, young_cursor) == 0, "layout v1");
_Static_assert(offsetof(struct mm_slot, old_cursor) == 16, "layout v1");
_Static_assert(offsetof(struct mm_slot, card_count) == 32, "layout v1");
_Static_assert(offsetof(struct mm_slot, overwritten_head) == 40, "layout v1");
_Static_assert(offsetof(struct mm_slot, roots_bytes) == 48, "layout v1");
_Static_assert(offsetof(struct mm_slot, roots_extra_bytes) == 56, "layout v2");
_Static_assert(offsetof(struct mm_slot, stop) == 64, "layout v1");
_Static_assert(offsetof(struct mm_slot, marking) == 68, "layout v1");
_Static_assert(offsetof(struct mm_slot, card_base) == 72, "layout v1");
_Static_assert(offsetof(struct mm_slot, first_card) == 80, "layout v2");
_Static_assert(offsetof(struct mm_slot, bytes_off) == 88, "layout v4");
_Static_assert(offsetof(struct mm_slot, state) == 128, "layout v1");
_Static_assert(offsetof(struct mm_slot, client_word) == 136, "layout v1");
_Static_assert(offsetof(struct mm_slot, request_seq) == 144, "layout v1");
_Static_assert(offsetof(struct mm_slot, wish_blocks) == 160, "layout v1");
_Static_assert(offsetof(struct mm_slot, wait_ns) == 168, "layout v1");
_Static_assert(offsetof(struct mm_slot, roots_overflow) == 176, "layout v2");
_Static_assert(offsetof(struct mm_slot, ambiguous_count) == 180, "layout v2");
_Static_assert(offsetof(struct mm_slot, ring_head) == 192, "layout v1");
_Static_assert(offsetof(struct mm_slot, give_tail) == 196, "layout v1");
_Static_assert(offsetof(struct mm_slot, ring_tail) == 256, "layout v1");
_Static_assert(offsetof(struct mm_slot, asleep) == 260, "layout v1");
_Static_assert(offsetof(struct mm_slot, give_head) == 264, "layout v1");
_Static_assert(offsetof(struct mm_slot, overwritten_tail) == 272, "layout v1");
_Static_assert(offsetof(struct mm_slot, cell) == 512, "layout v1");
_Static_assert(offsetof(struct mm_slot, give) == 2560, "layout v5");

#define MM_SLOT_CARD_LOG_OFF     MM_PAGE_BYTES
#define MM_SLOT_OVERWRITTEN_OFF  (MM_SLOT_CARD_LOG_OFF + MM_CARD_LOG * 4u)
#define MM_SLOT_ROOTS_OFF        (MM_SLOT_OVERWRITTEN_OFF + MM_OVERWRITTEN_LOG * 8u)
#define MM_SLOT_STRIDE           (MM_SLOT_ROOTS_OFF + MM_ROOT_AREA_BYTES)
_Static_assert(sizeof(struct mm_slot) <= MM_PAGE_BYTES, "a slot and its rings are one page");
_Static_assert(MM_SLOT_STRIDE % MM_PAGE_BYTES == 0, "slot areas are whole pages");

static inline uint32_t *mm_slot_card_log(struct mm_slot *slot) { return (uint32_t *)((char *)slot + MM_SLOT_CARD_LOG_OFF); }
static inline uint64_t *mm_slot_overwritten(struct mm_slot *slot) { return (uint64_t *)((char *)slot + MM_SLOT_OVERWRITTEN_OFF); }
static inline uint64_t *mm_slot_roots(struct mm_slot *slot) { return (uint64_t *)((char *)slot + MM_SLOT_ROOTS_OFF); }

/* Words that may be references, found on a machine stack: each the granule of the reserve that the byte before its address lies in, so that one
 * behind the last byte of an object still means that object. Behind `roots_bytes` bytes of other roots. */
static inline uint32_t *mm_slot_ambiguous(struct mm_slot *slot, uint64_t roots_bytes) { return (uint32_t *)((char *)mm_slot_roots(slot) + roots_bytes); }
#define MM_AMBIGUOUS_RESERVE_MAX ((uint64_t)1 << 36)        /* granules that 32 bits can name */

const char *mm_slot_state_name(enum mm_slot_state state);
int mm_slot_move_allowed(enum mm_slot_state from, enum mm_slot_state to);

#endif
