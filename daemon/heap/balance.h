/* balance.h — one budget among many heaps: what each may aim at, who is asked to give when the budget is short, who gets it.
 *
 * A request that the budget has no room for becomes a shortage: its heap claims the missing bytes and comes again every few milliseconds,
 * while one heap after the other is asked to give: first idle ones what lies free in them, then the collected heap with most to give is
 * collected and trimmed, then what lies free in busy ones. Each is asked for each kind once a shortage; when all have been asked, and only
 * then, the request is refused. While a heap below its target has a claim, heaps above theirs may not take what it waits for.
 *
 *   heap.c ── a take fails ──▶ balance_short() ── marks a heap, nudges its worker ──▶ worker.c ── balance_step() ──▶ budget_give()
 *
 * Threads: each function says. One lock; it is the outermost but for none: under it only the pool's lock is taken. Nothing here waits, and
 * nothing touches client memory.   Design: docs/design/budget.md */
#ifndef DAEMON_BALANCE_H
#define DAEMON_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

struct heap;

enum balance_ask {
    BALANCE_NOTHING,
    BALANCE_TRIM,               /* give back the memory of free blocks */
    BALANCE_COLLECT,            /* make a major collection, then the same */
    BALANCE_ASKS
};

/* A heap's part in this; a member of struct heap, zero before balance_join(). */
struct balance_member {
    struct heap           *heap;
    struct balance_member *next, **link;        /* list of members; under the lock, as what follows */
    uint64_t asked_turn[BALANCE_ASKS];  /* when it was last asked for each; 0: never */
    uint64_t short_turn;                /* it waits since then; 0: it does not */
    uint64_t short_bytes;               /* what it claims */
    uint64_t kept_bytes, kept_ns;       /* granted after it last gave all that it could, and when that was */
    uint64_t target_bytes, share_bytes; /* as balance_divide() last had it */

    /* Single words, read by any thread. */
    uint64_t granted_ns;                /* last grant, as os.now_ns(); its worker */
    uint64_t live_bytes;                /* after the last marking; its worker */
    uint64_t young_bytes;               /* size of its nursery; its worker */
    uint64_t asks;                      /* times that it was asked */
    uint32_t ask;                       /* enum balance_ask; set under the lock, cleared by its worker */
    uint32_t waits;                     /* short_turn is not 0; for its own worker */

    /* Its worker's, while it gives. */
    uint64_t awaited;                   /* ends of collections after which it is collected; 0: not yet requested */
    uint32_t chunk;                     /* those below are still to be trimmed */
    bool     trimming;
};

/* ---- Division ---- */

/* What a division looks at, and what it says. */
struct balance_part {
    uint64_t want_bytes;        /* a busy heap: its limit; an idle one: what it has */
    uint64_t live_bytes;        /* after its last marking; for rules that divide by need */
    uint64_t target_bytes;      /* result */
};

/* Divides `bytes` among `count` parts: who wants less than an equal part gets what it wants, the others share the rest equally (max-min
 * fairness). So a target is never below bytes / count unless less is wanted, and the sum is at most `bytes`. Any thread. */
void balance_divide(struct balance_part *part, uint32_t count, uint64_t bytes);

/* ---- Members ---- */

void balance_join(struct heap *heap);           /* loop thread, before the first grant */
void balance_leave(struct heap *heap);          /* its worker, or who made it; again: does nothing */

/* ---- Shortage ---- */

/* Bytes that a grant to this heap must leave in the budget: for copies of collections, and for heaps that wait. `more_bytes`: what it would
 * take. Its worker; a tracer under gc->lock. */
uint64_t balance_keep_bytes(const struct heap *heap, uint64_t more_bytes);

/* The budget has no room for `bytes` that this heap was asked for. True: something is on its way, come again soon; false: all has been
 * tried. Its worker, or the loop thread while it opens. */
bool balance_short(struct heap *heap, uint64_t bytes);

/* Its request has been answered: it claims nothing any more. Its worker. */
void balance_answered(struct heap *heap);

/* Is anybody waiting, or more used than the working size? Any thread. */
bool balance_wanting(void);

/* ---- Giving ---- */

/* One slice of what this heap was asked to give; true if it did something. Its worker, outside of guards, when nothing is left over from its
 * last collection. */
bool balance_step(struct heap *heap);

/* ---- Pressure: the loop thread ---- */

/* Starts a new round: everybody may be asked again. */
void balance_press(void);

/* While more is used than the working size: asks the next heap. False: nobody has anything to give. */
bool balance_relieve(void);

/* Bytes that heaps could give now, as far as is known. Any thread. */
uint64_t balance_could_give_bytes(void);

/* ---- Seeing it ---- */

struct balance_figures { uint64_t target_bytes, share_bytes, asks; };
void balance_figures(struct heap *heap, struct balance_figures *ret);   /* loop thread; the heap has joined */
uint64_t balance_asks(void);            /* times that any heap was asked since the start */

/* How a worker learns that one of its heaps was asked. Called under the lock, on any thread: may only wake it. Before heaps exist. */
void balance_init(void (*nudge)(struct heap *heap));

/* The place for whoever tells clients that memory is short, before anyone is refused: called once for each ask, with the number of the heap
 * and the bytes that are wanted of all. Under the lock, on any thread: may only post a job (loop_post). NULL: nobody. Before heaps exist. */
typedef void balance_hook(uint64_t heap, enum balance_ask ask, uint64_t wanted_bytes);
void balance_on_short(balance_hook *hook);

#endif
