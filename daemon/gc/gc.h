/* gc.h — the collector of one heap: its tables, its phases, and who calls what.
 *
 * A collected heap (RUNTIME, VM, SERVER) has two generations. Threads bump-allocate in nursery blocks; a minor collection copies what
 * is reachable of them into survivor blocks, or, once old enough, into the old generation, whose blocks are reused by the
 * holes between objects (mark-region, after Blackburn and McKinley, "Immix", PLDI 2008, but to the byte). A major collection marks the old generation as well and
 * reclaims holes, blocks and large objects afterwards.
 *
 *   grant.c      blocks for threads, and when to collect           (upstream of everything)
 *   limit.c      what follows from another bound
 *   cycle.c      one collection from request to resume: the story
 *   handshake.c  stop and resume (door: control->stop)
 *   roots.c      root stacks, handles, root sets by letter, pins
 *   remset.c     card logs, carried cards
 *   holes.c      what lies between old objects, lent to threads: start bits, and references of what they put there
 *   trace.c      copying and marking: everything that follows a reference
 *   mark.c       marking while threads run: slices, logs of overwritten references, keeping pace
 *   help.c       other workers in the same trace
 *   evac.c       old blocks that are emptied
 *   region.c     where copies go: survivor blocks, holes of old blocks
 *   elevator.c   blocks that the marker has yet to come to
 *   fixed.c      heaps whose objects never move: ambiguous roots, owners of storage
 *   weak.c       weak references, ephemerons, finalizers
 *   reclaim.c    blocks that became free, and lists of those with holes
 *   pretenure.c  which types are born old
 *   verify.c     a whole second look, when asked for
 *   receipt.c    what is remembered of each collection
 *
 * Everything here is private to the daemon. Client memory is read by relaxed loads, each word once, and judged: a word that claims to be a
 * reference counts only if it is aligned and falls into a block that can hold what it claims.
 * Threads: the heap's worker; in a pause, helpers run trace_help() (trace.h) and nothing else.   Design: docs/design/gc.md. */
#ifndef DAEMON_GC_H
#define DAEMON_GC_H

#include "daemon/gc/bits.h"
#include "daemon/gc/elevator.h"
#include "daemon/gc/receipt.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/job.h"
#include "daemon/heap/types.h"
#include "shm/hole.h"

#define GC_SMALL_BYTES     256u                                     /* longer objects have copy regions of their own, and do not take what they leave */
#define GC_QUEUE        16u           /* a power of two */
#define GC_GREY_SETTLED 16384u        /* slots of old objects that may wait on one stack */
#define GC_NO_SLOT      UINT64_MAX
#define GC_MAX_TRACERS 8
#define GC_DRAIN_ROUND 256u
#define GC_NO_BLOCK    UINT32_MAX
#define GC_ROOM_CLASSES 13u           /* of holes: the binary logarithm of their granules */
#define GC_BLOCK_CARDS     (MM_BLOCK_BYTES / MM_CARD_BYTES)         /* 128 */

/* What a reference into a block means to a trace. One byte a block of the reserve. */
enum gc_space {
    GC_NOWHERE,             /* free, absent, an arena's: references into it are none of ours */
    GC_YOUNG,               /* nursery or survivor: in a collection, from-space */
    GC_TO,                  /* survivor block of the collection that runs now */
    GC_OLD,
    GC_LARGE,
    GC_EVAC                 /* old, and to be emptied (evac.c): in the pause that does so, from-space */
};

enum gc_block_flag {
    GC_KEPT = 1,            /* young, but objects of it stay where they are: becomes old in place */
    GC_PINNED = 2,          /* young, and no object of it may move: set before the first copy */
    GC_UNSWEPT = 4,         /* marked, not yet reclaimed: `mark` says where objects start, and nothing may be put here */
    GC_REGION = 8,          /* a copy region lies in it */
    GC_GRANTED = 16,        /* old, and a thread fills its holes */
    GC_LISTED = 32,         /* in the list of blocks with room */
    GC_RESCAN = 64,         /* marked objects of it were not pushed: the mark stack was full */
    GC_KEEPING = 128        /* one tracer makes its cards CLEAN; GC_KEPT follows */
};

/* A bit for each of 64 granules. What a marker wants to know of an object is in one cache line. */
struct gc_bits {
    uint64_t start;
    uint64_t end;                               /* old: the last granules of what starts there: so where room is needs no header */
    uint64_t leaf;                              /* old: of what starts there, that its type has no references: it need not be looked at to be marked. Of the
                                                 * second granule of another object: it is marked, and waits to be scanned (`waits`) */
    uint64_t mark;                              /* young: the claim of copying */
};

/* The word that has the granule's bit, and that bit. */
#define GC_WORD(side, map, granule)      (&(side)->bits[(granule) / 64].map)
#define GC_BIT(side, map, granule)       (*GC_WORD(side, map, granule) >> (granule) % 64 & 1)
#define GC_BIT_SET(side, map, granule)   ((void)(*GC_WORD(side, map, granule) |= (uint64_t)1 << (granule) % 64))
#define GC_BIT_CLEAR(side, map, granule) ((void)(*GC_WORD(side, map, granule) &= ~((uint64_t)1 << (granule) % 64)))

/* The private side of a block: who starts where and ends where, who is alive, which cards matter. All zero for a free block. */
struct gc_block {
    struct gc_bits bits[GC_BLOCK_WORDS];
    uint64_t done[GC_BLOCK_WORDS];      /* young: the claim has been carried out; parallel copying waits for it */
    uint64_t carry[GC_BLOCK_CARDS / 64];        /* cards to be scanned at the next minor collection */
    uint64_t waits;                             /* in which words of `bits` something of old objects waits to be scanned */
    uint32_t used_bytes;                        /* old: of objects, as the last marking found and what was put there since; about */
    uint32_t live_bytes;                        /* old: of marked objects, as this marking has found so far */
    uint32_t large_head;                        /* LARGE: block of the object's header */
    uint32_t large_blocks;                      /* LARGE, of the head: how many */
    uint32_t next, prev;                        /* listed: of the same class (reclaim.c); GC_NO_BLOCK: none */
    uint16_t longest;                           /* listed: granules of its longest hole */
    uint8_t  flags;                             /* enum gc_block_flag */
} __attribute__((aligned(64)));

_Static_assert(offsetof(struct gc_block, carry) % 64 == 0 && sizeof(struct gc_block) - offsetof(struct gc_block, carry) == 64,
               "what loops over all blocks look at is one cache line");

/* Cards of a block that refer into blocks that are to be emptied (evac.c). */
struct gc_edges { uint64_t card[GC_BLOCK_CARDS / 64]; };

/* How the references of a type are found; made from the type table when a pause begins. */
enum gc_scan { GC_SCAN_NONE, GC_SCAN_MASK, GC_SCAN_VECTOR, GC_SCAN_LISTS, GC_SCAN_WORDS };
struct gc_type {
    uint64_t        mask;               /* MASK, VECTOR: references of the fixed part, bit a word */
    const uint32_t *ref;                /* LISTS: offsets, fixed part then element */
    uint32_t        bytes, element_bytes;
    uint16_t        refs, element_refs;
    uint8_t         scan;               /* enum gc_scan */
    uint8_t         flags;              /* enum morph_type_flag */
    bool            pretenured, on_probation;
    uint8_t         in_a_row;           /* measurements that said it survives */
    uint64_t        born_bytes, survived_bytes;     /* sampled (pretenure.c) */
    uint64_t        judged;             /* collection of the last judgement */
    const struct type *storage;         /* heaps without moving: describes another object's contents; NULL: it does not */
    bool            is_storage;         /* and another object may describe what is in these */
};

/* An old block whose holes a thread has been given. */
struct gc_grant {
    uint32_t block, slot;
    uint64_t seq;                       /* of all grants: a thread comes to its own in this order */
    uint64_t holes[GC_BLOCK_WORDS];     /* as they were granted */
    uint32_t walked;                    /* offset in the block: objects below have their start bits */
    uint32_t scanned;                   /* in a pause: where this walk began */
    bool     ended;                     /* in a pause: its thread is done with it */
    bool     odd;                       /* something in it made no sense while threads ran: a pause will judge */
};

/* References that a client reports by letter. */
struct gc_root_set {
    struct gc_root_set *next;
    uint32_t slot, set, count, filled;
    uint64_t word[];
};

/* A growing array of 64-bit words in address space of its own. */
struct gc_stack {
    uint64_t *word;
    size_t    count, room;
};

/* Survivors; what is promoted, into holes; what is evacuated, into fresh blocks as long as there are any. */
enum gc_to_kind { TO_SURVIVOR, TO_OLD, TO_FRESH, GC_TO_KINDS };

/* Where copies go: from `begin`, now at `at`. `at` == `end`: none open. Offsets in the reserve. */
struct gc_region { uint64_t at, end; uint32_t block; uint64_t begin; };

/* What waits in a tracer's queue: the object at `off`, which the slot at `slot` refers to; GC_NO_SLOT: a marked one, to be scanned. */
struct gc_waiting { uint64_t slot, off; };

struct gc_moved { uint64_t objects, bytes; };

/* One per worker that takes part in a trace. */
struct gc_tracer {
    struct gc       *gc;
    /* What the inner loops need of the heap and its collector, the same for the whole pause. */
    char            *base;              /* of the daemon's view */
    uint64_t         bias, bytes;       /* a reference less `bias` is a header offset; below `bytes` if it is one */
    const uint8_t   *space;
    struct gc_block *side;
    const struct gc_type *type;
    uint32_t         type_count, age_now;
    bool             parallel, starved;
    bool             fixed;             /* as the heap's */
    bool             evacuating;        /* objects in GC_EVAC move */
    bool             recording;         /* or will: cards that refer to them are noted */
    bool             mark_copies;       /* old objects that copies refer to are marked */
    bool             mark_settled;      /* those that old objects refer to are, and what is marked is scanned */
    bool             young_settled;     /* young objects that old ones refer to are followed */

    uint32_t         queue_head, queue_count;
    struct gc_waiting queue[GC_QUEUE];  /* the next ones: their memory is being fetched meanwhile */
    uint32_t         seen_head, seen_count;
    uint64_t         seen[GC_QUEUE];    /* old objects that are to be marked, if they are not: their bits are being fetched */
    struct gc_stack  grey;              /* slots that refer to young objects: offsets */
    struct gc_stack  marked;            /* old, marked, not yet scanned: header offsets */
    struct gc_elevator *waiting;        /* blocks where others of those wait; NULL: there are none, and none will */
    struct gc_region region[GC_TO_KINDS][2];    /* [enum gc_to_kind][small, longer] */
    uint32_t         old_block[2];      /* whose holes the old ones take, one after the other: */
    uint64_t         holes[2][GC_BLOCK_WORDS];
    struct gc_moved  moved[GC_TO_KINDS];        /* copied to survivors, promoted, evacuated */
    uint64_t         kept_objects, kept_bytes, marked_objects, marked_bytes;
    struct gc_stack  weak, ephemerons;  /* objects met, to be looked at when the trace is over */
};

/* What a pause is for. A marking begins in one pause (BEGIN: a minor collection that also marks what roots and young objects refer to), goes on
 * while threads run, minor collections in between, and ends in another (END). WHOLE marks everything in the pause itself. */
enum gc_pause { PAUSE_MINOR, PAUSE_BEGIN, PAUSE_END, PAUSE_WHOLE };

/* The marking that goes on between pauses. DONE: nothing is left to be marked, END may come. */
enum gc_marking { MARK_NONE, MARK_ON, MARK_DONE };

enum gc_phase { GC_IDLE, GC_STOPPING, GC_PREPARE, GC_TRACE, GC_FINISH };

/* A job at another worker, to help with a trace (help.c). */
struct gc_helper { struct job job; struct gc *gc; struct gc_tracer *tracer; uint32_t posted; };

#define GC_PROBATION_LEAST (4u << 20)   /* pretenured bytes after which types are measured again; doubles while they prove right */
#define GC_PROBATION_MOST  (1u << 30)
#define GC_SAMPLES     8u             /* nursery blocks looked at after a collection */

struct gc {
    struct heap     *heap;
    const struct type_table *types_source;
    bool             fixed;             /* objects never move (fixed.c): every collection marks everything in one pause */

    /* Tables. */
    uint8_t          *space;            /* [blocks of the reserve], enum gc_space */
    struct gc_block  *side;             /* [blocks of the reserve], zero pages until a block is granted */
    struct gc_type   *type;             /* [type_count]; 0: raw bytes */
    uint32_t          type_count, type_room;
    bool              weak_types;       /* some of them have weak references */

    /* Sizes and pacing, in blocks. */
    uint32_t young_blocks;              /* the nursery's size now */
    uint32_t young_min, young_max;
    uint32_t young_granted;             /* since the last collection, and not taken back */
    uint32_t survivor_blocks, survivor_max;
    uint32_t old_blocks, large_blocks;
    uint64_t unusable_bytes;            /* of those, what was left when a request could not be met while a marking went on: holes too short for it */
    bool     various;                   /* requests for old memory came that not every hole is long enough for */
    uint64_t old_free_bytes;            /* in listed blocks, and, as marking found them, in unswept ones */
    uint64_t start_blocks;              /* old and large blocks that start the next major collection */
    uint32_t promotion_age, age_now;
    bool     promoted_in_place;         /* this collection does */
    bool     promote_in_place;          /* nearly all that was young survived the last time: the next nursery becomes old as it stands */
    uint64_t live_bytes;                /* after the last marking */
    uint64_t marked_last_bytes;         /* that it came to: less than that, for what was born meanwhile is alive without */
    uint64_t taken_blocks, taken_marked;        /* granted to threads ever; the same when it was last marked, or tried because it was idle */
    uint64_t pause_target_ns;
    uint32_t emergency_blocks;          /* young blocks beyond the nursery's size, after a put-off collection */
    uint64_t last_minor_ns;

    /* Young blocks: granted to threads, or survivors. Room for every block of the reserve. */
    uint32_t *young, young_count;
    uint32_t *from, from_count;         /* in a collection: those that are emptied */
    uint32_t *evac, evac_count;         /* old blocks that are to be emptied: space GC_EVAC */
    struct gc_edges *edges;             /* [blocks of the reserve], while `recording` */
    bool      evacuating;               /* they are, in this pause */
    bool      recording;                /* they will be, when the marking ends */
    uint64_t  old_live_bytes;           /* in old blocks, as the last marking found; */
    uint32_t  old_live_blocks;          /* and in how many */
    uint32_t  compact_round;            /* of a compaction that takes several */
    uint64_t  short_blocks;             /* that would have to be free for the longest of the requests at the limit, since the last compaction */
    uint64_t  evac_rate;                /* bytes a millisecond, as the last ones went; 0: none yet */
    uint64_t  old_since_bytes;          /* became old since the last marking ended */
    uint64_t  large_since_blocks;       /* granted to large objects since then */

    /* Old blocks. */
    uint32_t  listed[GC_ROOM_CLASSES], listed_count;    /* swept blocks with room: a list for each class of longest holes */
    uint32_t *unswept, unswept_count;   /* marked blocks not yet reclaimed; a stack */
    struct gc_grant *grant;
    uint32_t  grants, grant_room;
    uint64_t  grant_seq;
    bool      walk_ahead;               /* some have come since holes_ahead() */
    bool      warm_ahead;               /* the next pause may find free blocks whose pages the kernel has yet to clear */
    uint32_t *dirty_chunk, *dirty_chunk_spare;  /* chunks that have carried cards; `chunk_dirty` says which are in it */
    uint32_t  dirty_chunks;
    uint8_t  *chunk_dirty;

    /* Roots by letter. */
    struct gc_root_set *root_sets;
    uint64_t  root_set_words;

    /* The collection that runs, or is asked for. */
    enum gc_phase phase;
    enum gc_pause pause;
    enum mm_collection kind;
    bool      wanted, wanted_begin;     /* wanted_begin: a major one may mark while threads run */
    bool      wanted_exact;             /* all that is dead by now is to be found dead, so it may not */
    bool      marking;                  /* what becomes old is marked: from the beginning of a marking to its end */
    bool      judging;                  /* this pause ends one: what is old and not marked is dead */
    enum mm_collection wanted_kind;
    enum mm_collection asked_kind;      /* wanted_kind when this collection began to stop threads */
    enum receipt_reason wanted_reason;
    uint64_t  wanted_ns;
    uint32_t  epoch;
    uint64_t  stop_ns, deadline_ns, retry_ns, lap_ns;
    uint64_t  cycles, ended;            /* collections that were made; the same with those that were put off */
    bool      roots_do_not_fit;
    uint32_t *flagged_head;             /* [slots] */
    uint32_t  put_offs;                 /* in a row */
    uint32_t  late_slot;
    struct receipt receipt;
    struct gc_tracer *tracer;           /* [tracers]; [0] is the owner's */

    /* Marking between pauses (mark.c). */
    enum gc_marking mark_state;
    enum receipt_reason mark_reason;
    struct gc_tracer marker;
    struct gc_elevator waiting;         /* for it */
    uint64_t  mark_began_ns, mark_ns, mark_slices, assist_ns;
    bool      mark_turn;                /* the next background step is the marking's */
    uint64_t  mark_expected_bytes;      /* to be marked, by the last marking */
    uint64_t  mark_room_blocks;         /* that could still be granted, or promoted into, when it began */
    uint64_t  mark_used_blocks;         /* of that room, by the last one from its beginning to its end; and what would have been, had no thread waited */
    uint64_t  mark_promoted_bytes;      /* became old, and were marked, since it began */

    unsigned  tracers;                  /* that may take part in this collection */
    struct gc_helper helper[GC_MAX_TRACERS];
    struct gc_stack shared;             /* objects for whoever has nothing to do; this and the next three under `lock` */
    size_t    shared_seen;              /* its count, written under `lock`, read without */
    uint32_t  help_running, help_idle, helped;
    bool      help_over;
    bool      slice_open, slice_over;   /* helpers may be at the marking that goes on, until `slice_until`; no slice follows soon */
    uint64_t  slice_until, slice_number, mark_helped;   /* mark_helped: times that one was. Under `lock` as well */
    struct receipt last;                /* of the collection before */
    pthread_mutex_t lock;               /* of the block tables, while several tracers run */
    uint32_t  sample[GC_SAMPLES];       /* emptied nursery blocks still to be looked at by pretenure.c */
    uint32_t  samples, sample_turn;
    uint64_t  pretenured_bytes, probation_bytes;        /* granted since the last probation, and how many start the next one */
    uint32_t  pretenured_types;
    bool      probe, probing;           /* types are on probation and nothing else is young: the next nursery is short; the collection of that one */
    uint32_t  pretenure_version;

    uint32_t  drain_round;              /* objects that a trace takes between two looks at the clock */
    struct gc_stack visited_groups;     /* of handles */
    struct gc_stack dead;               /* finalizer entries found dead: seq, index */
    struct weak_table *weak_table;      /* ephemerons whose keys are not known to be alive (weak.c) */
    bool      ephemerons_wait;
    uint32_t  ready_tail;
    const char *lie;                    /* why the heap is to be condemned */
    uint64_t  stress_count;

    /* For people: written by the worker, read by the loop thread under `lock`. */
    struct receipt_log log;
};

/* Makes the collector of a heap that has its view and control area. 0 or a positive morphmem error number. */
struct gc_options { uint64_t start_bytes, young_min_bytes, young_max_bytes; uint32_t promotion_age, pause_target_us; bool fixed; };
int gc_new(struct heap *heap, const struct gc_options *options);
void gc_free(struct gc *gc);            /* NULL is allowed */

/* Asks for a collection; a larger kind than one already asked for replaces it. */
void gc_request(struct gc *gc, enum mm_collection kind, enum receipt_reason reason);

/* The same, for a major collection that need not be made in one pause: its marking goes on while threads run. */
void gc_request_marking(struct gc *gc, enum receipt_reason reason);

/* Is a round of a compaction yet to come, or under way? Whoever waits for it waits on. */
static inline bool gc_compacting(const struct gc *gc) { return gc->compact_round && (gc->wanted || gc->phase != GC_IDLE) && !gc->last.put_off; }

/* One slice of whatever is due: stopping, the pause, reclaiming. True if it did something and wants to be called again soon. Guarded. */
bool gc_step(struct gc *gc);

/* Outside of pauses: one slice of sweeping, sampling or marking; false: nothing to do. Guarded. */
bool gc_background_step(struct gc *gc);

/* After a fault or a lie: lets the threads go; the heap is condemned. */
void gc_abandon(struct gc *gc);

/* Has the heap been granted so much since it was last marked, that marking it while it is idle may free something? */
bool gc_worth_marking(const struct gc *gc);

/* The heap is idle: asks for a major collection, once until it has been granted something again. */
void gc_request_idle(struct gc *gc);

/* When gc_step() must be called at the latest; UINT64_MAX: whenever. */
uint64_t gc_due_ns(const struct gc *gc);

/* How other workers are asked to help: posts a job to the `nth` worker after the heap's own; false if that would be its own, or, with `idle`, if that has something else to do.
 * Without this every collection is made by one worker. Before heaps exist. */
typedef bool gc_lend(struct heap *heap, unsigned nth, bool idle, struct job *job);
void gc_help_init(unsigned workers, gc_lend *lend);

/* Is a helper's job still on its way? Then the heap must not be freed yet. */
bool gc_help_pending(const struct gc *gc);

/* Has the heap something for gc_background_step() to do? */
static inline bool gc_left_over(const struct gc *gc) { return gc->samples || gc->unswept_count || gc->walk_ahead || gc->warm_ahead || gc->mark_state == MARK_ON; }

static inline bool gc_in_pause(const struct gc *gc) { return gc->phase > GC_STOPPING; }

/* ---- Tables ---- */

static inline struct gc_block *gc_block(const struct gc *gc, uint32_t block) { return &gc->side[block]; }
/* Of its side what loops over all blocks look at. */
static inline void gc_block_fetch(const struct gc *gc, uint32_t block)
{
    __builtin_prefetch(gc->side[block].carry, 1);
}
/* One byte, read while other tracers open blocks. */
static inline enum gc_space gc_space(const struct gc *gc, uint64_t block) { return (enum gc_space)mm_load_relaxed(&gc->space[block]); }
static inline uint64_t gc_off(uint32_t block) { return (uint64_t)block << MM_BLOCK_SHIFT; }

static inline bool gc_bit(const uint64_t *bits, uint32_t i) { return bits[i / 64] >> (i % 64) & 1; }
/* What a minor collection does not move. */
static inline bool gc_space_settled(enum gc_space space) { return space >= GC_OLD; }

/* What this pause moves. */
static inline bool gc_moves(const struct gc *gc, enum gc_space space) { return space == GC_YOUNG || (space == GC_EVAC && gc->evacuating); }

static inline void gc_bit_set(uint64_t *bits, uint32_t i) { bits[i / 64] |= (uint64_t)1 << (i % 64); }
static inline void gc_bit_clear(uint64_t *bits, uint32_t i) { bits[i / 64] &= ~((uint64_t)1 << (i % 64)); }
static inline void gc_flag_set(struct gc_block *side, uint8_t flag) { __atomic_fetch_or(&side->flags, flag, __ATOMIC_RELAXED); }
static inline void gc_flag_clear(struct gc_block *side, uint8_t flag) { __atomic_fetch_and(&side->flags, (uint8_t)~flag, __ATOMIC_RELAXED); }

/* Where objects of an old block start: by its marks, if it is not swept. */
static inline bool gc_by_marks(const struct gc_block *side) { return side->flags & GC_UNSWEPT; }
static inline uint64_t gc_starts(const struct gc_block *side, bool by_marks, uint32_t word) { return by_marks ? side->bits[word].mark : side->bits[word].start; }
static inline bool gc_starts_at(const struct gc_block *side, uint32_t granule) { return gc_starts(side, gc_by_marks(side), granule / 64) >> granule % 64 & 1; }
void gc_marks_clear(struct gc_block *side);

/* The object of a block that begins before `granule` and may reach beyond it; false: none begins before it. */
bool gc_start_before(const struct gc_block *side, bool by_marks, uint32_t granule, uint32_t *ret_granule);

/* The card bytes of a block become `value`. */
void gc_cards_fill(struct gc *gc, uint32_t block, uint32_t blocks, uint8_t value);

/* Bytes of old blocks and large objects, less what is known to be free in them. */
uint64_t gc_old_used_bytes(const struct gc *gc);

/* ---- grant.c ---- */

/* Answers a request for young, old or large memory, or for a collection: 0 and a cell, a positive error number, or enum heap_later. */
int gc_grant(struct gc *gc, uint32_t slot, uint32_t kind, uint32_t want, uint32_t min, struct mm_cell *ret_cell);

/* A cell for objects, of the kind, ahead of need. `bytes`: in a row, where old. False: not now. */
bool gc_grant_ahead(struct gc *gc, uint32_t slot, uint32_t kind, uint32_t bytes, struct mm_cell *ret_cell);

/* After such a request, is more of the same worth granting ahead? Young and old memory is; where there is no young one, old memory for small objects. */
static inline bool gc_ahead_follows(const struct gc *gc, uint32_t kind, uint32_t min)
{
    return kind == MM_GRANT_OLD ? !gc->fixed || min <= MM_HOLE_SMALL_BYTES : kind == MM_GRANT_YOUNG;
}

/* Blocks that may still be granted to the client without eating what collections need. */
uint64_t gc_room_blocks(const struct gc *gc);

/* Of those, how many are left to the nursery: where old objects fill holes, hardly another block comes free. */
uint64_t gc_nursery_blocks(const struct gc *gc);

/* What to do when the limit is reached, by a request for `blocks` in a row: true if something was reclaimed or a collection asked for (come again), false if all has
 * been tried. */
bool gc_at_limit(struct gc *gc, uint32_t slot, uint32_t blocks);

/* ---- limit.c ---- */

/* The heap's bound is another one: sizes that follow from it. No collection is under way. */
void gc_limit_changed(struct gc *gc);

/* ---- roots.c: letters ---- */

/* A part of a set. 0 or a positive error number. */
int gc_root_set_report(struct gc *gc, uint32_t slot, uint32_t set, uint32_t total, uint32_t at, const uint32_t *halves, uint32_t count);
const struct gc_root_set *gc_root_set_find(const struct gc *gc, uint32_t slot, uint32_t set);
void gc_root_sets_drop(struct gc *gc, uint32_t slot);

#endif
