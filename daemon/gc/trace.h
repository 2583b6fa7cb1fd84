/* trace.h — following references: copying out of from-space, and marking the old generation.
 *
 * What is still to be done are slots that refer to young objects (`grey`) and old objects that were marked and not yet scanned (`marked`); a
 * trace ends when there are none. An object is scanned as it is copied, while its header, read once and judged, is at hand. All objects are
 * scanned by the same code; what differs is what a reference into each space means (enum gc_space).
 * Claims: whoever sets an object's bit in `mark` of its block carries the object out; the others find the outcome. With several tracers the
 * bit is set atomically and `done` says that the outcome can be read.
 * Sources: Cheney, "A nonrecursive list compacting algorithm", CACM 1970, with an explicit stack instead of the scan pointer (depth
 * first keeps a tree's nodes together); Dijkstra et al. 1978 for the colours.
 * Touches client memory: inside a guard. Threads: one a tracer. */
#ifndef DAEMON_TRACE_H
#define DAEMON_TRACE_H

#include "daemon/gc/gc.h"
#include "shm/object.h"

#define TRACE_NONE UINT64_MAX
#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Header offset of what a word claims to refer to; TRACE_NONE if it is nothing of this heap. */
static inline uint64_t trace_off(const struct gc *gc, uint64_t word)
{
    uint64_t off = word - gc->heap->view.client_base - MM_HEADER_BYTES;         /* NULL and anything below: far too large */
    return off < gc->heap->view.bytes && off % MM_GRANULE_BYTES == 0 ? off : TRACE_NONE;
}
static inline uint64_t trace_word(const struct gc *gc, uint64_t off) { return off + gc->heap->view.client_base + MM_HEADER_BYTES; }
static inline uint32_t trace_granule(uint64_t off) { return (uint32_t)(off % MM_BLOCK_BYTES / MM_GRANULE_BYTES); }
static inline uint64_t trace_header(const struct gc *gc, uint64_t off) { return mm_load_relaxed((const uint64_t *)(gc->heap->view.base + off)); }

/* Room behind a header: to the end of its block, or of its large object. */
static inline uint64_t trace_room(const struct gc *gc, uint64_t off)
{
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    if (gc_space(gc, block) == GC_LARGE)
        return (uint64_t)gc_block(gc, block)->large_blocks << MM_BLOCK_SHIFT;
    return MM_BLOCK_BYTES - off % MM_BLOCK_BYTES;
}

/* Does a header make sense where it stands? */
static inline bool trace_header_sane(const struct gc *gc, uint64_t off, uint64_t word0)
{
    return mm_header_flags(word0) & MM_BORN && mm_object_extent(mm_header_bytes(word0)) <= trace_room(gc, off) &&
           mm_header_type(word0) < gc->type_count;
}

/* Follows one root or slot: copies or marks what it refers to, and updates it. True if it refers to a young object afterwards. */
bool trace_slot(struct gc_tracer *tracer, uint64_t *slot);

/* Scans the slots of the old object at `off` that lie in [from, to), offsets in the reserve; those that refer to young objects get their
 * cards carried, some of them only when the trace comes to them. */
void trace_old_object(struct gc_tracer *tracer, uint64_t off, uint64_t from, uint64_t to);

/* The same for one word of an old object of a type without weak references: the slot at `at`. */
void trace_old_word(struct gc_tracer *tracer, uint64_t at);

/* Marks an old or large object (header offset), if something starts there. */
void trace_mark(struct gc_tracer *tracer, uint64_t off);

/* The same for one whose contents the caller sees to. True if it was not marked before. */
bool trace_mark_alone(struct gc_tracer *tracer, uint64_t off);

/* ---- fixed.c: heaps whose objects never move ---- */

/* Header offset of the object that the byte at `at` (offset in the reserve) belongs to, header and padding included; TRACE_NONE: none. */
uint64_t fixed_object(const struct gc *gc, uint64_t at);
/* The same for a word that may be a reference to it, into it, or to the byte behind it. */
uint64_t fixed_word_object(const struct gc *gc, uint64_t word);
/* Marks what the roots of a stopped thread may mean, all of them ambiguous. `words`: 64-bit ones, in front. */
void fixed_roots_trace(struct gc *gc, struct mm_slot *slot, uint64_t words);
/* Calls `visit` with the offset of the byte that each of them means. */
void fixed_roots_each(const struct gc *gc, struct mm_slot *slot, uint64_t words, void (*visit)(const struct gc *gc, uint64_t at, void *argument), void *argument);
/* Marks what the words in [from, to) of a marked object refer to, those of its storage included. */
void fixed_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t word0, uint64_t from, uint64_t to);
/* The same for the storage of the owner at `off` alone, from its `piece`th piece on: that one is followed, and the next is left to be. */
void fixed_storage_scan(struct gc_tracer *tracer, const struct gc_type *type, uint64_t off, uint64_t piece);
/* Leaves it to be. */
void trace_storage_push(struct gc_tracer *tracer, uint64_t off, uint64_t piece);
/* Calls `visit` with the offset of each word that fixed_scan() follows for the object at `off`; its storage, if it describes that; else TRACE_NONE. */
uint64_t fixed_each_word(struct gc_tracer *tracer, uint64_t off, void (*visit)(struct gc_tracer *tracer, uint64_t at, void *argument), void *argument);

/* Is the object at `off` alive as far as this collection knows? What is not being collected is. */
bool trace_alive(const struct gc *gc, uint64_t off);

/* Where the object is now: itself, or its copy. */
uint64_t trace_forwarded(const struct gc_tracer *tracer, uint64_t off);

/* Scans until nothing is left or os.now_ns() reaches `deadline_ns`. True: nothing is left. */
bool trace_drain(struct gc_tracer *tracer, uint64_t deadline_ns);

/* Is anything left to be scanned? */
static inline bool trace_waits(const struct gc_tracer *tracer)
{
    return (tracer->waiting && mm_load_relaxed(&tracer->waiting->count)) || tracer->queue_count || tracer->seen_count || tracer->grey.count || (tracer->mark_settled && (tracer->marked.count || tracer->starved));
}

/* What waits in the queue goes back onto the stacks, which have room for it. */
void trace_queue_empty(struct gc_tracer *tracer);
/* And what waits in its blocks, where nothing will from here on. */
void trace_waiting_empty(struct gc_tracer *tracer);
/* Nothing waits anywhere any more, and is not scanned. */
void trace_waiting_forget(struct gc *gc);
/* What is marked and not yet scanned (an entry of `marked`) goes onto the stack; when that is full its block is scanned again. */
void trace_marked_push(struct gc_tracer *tracer, uint64_t entry);

/* Calls `visit` for each reference slot of the object at `off` that lies in [from, to), offsets in the reserve. */
void trace_each_slot(struct gc_tracer *tracer, uint64_t off, uint64_t from, uint64_t to, void (*visit)(struct gc_tracer *tracer, uint64_t *slot, void *argument), void *argument);

/* The card of an old slot must be looked at again, all of it, at the next minor collection. Outside of pauses too: threads that log it meanwhile find it DIRTY, or
 * make it so (tests/unit/log_model.c). */
void trace_carry(struct gc_tracer *tracer, uint64_t slot_off);
/* The same for one that a thread has logged, whose byte says what is to be looked at. False: it is carried already. */
bool trace_carry_logged(struct gc_tracer *tracer, uint64_t slot_off);

/* While it is set, objects that are claimed or marked are looked up among the keys of waiting ephemerons (weak.c). */
void weak_on_alive(struct gc_tracer *tracer, uint64_t off);

/* Sets what the inner loops need to know of the heap. */
void tracer_aim(struct gc_tracer *tracer);

/* ---- mark.c: marking between pauses ---- */

/* In the pause that begins one, before the first copy. False: no memory for it. */
bool mark_begin(struct gc *gc);
/* At the end of a pause: what it left to be scanned. */
void mark_go_on(struct gc *gc);
/* In the pause that ends one, when young objects are done: all that is left is for the owner's tracer. */
void mark_end(struct gc *gc);
/* A pause is going to mark everything itself. */
void mark_cancel(struct gc *gc);
void mark_free(struct gc *gc);
/* Takes over what threads have overwritten. At every slice, at the start of every pause, and while threads are being stopped. */
void mark_drain_logs(struct gc *gc);
/* One slice; false: nothing is being marked. */
bool mark_step(struct gc *gc);
/* Before memory is granted: true if the heap runs ahead of its marking. A slice was made, and the request is to come again. */
bool mark_assist(struct gc *gc);
/* Do threads use up memory faster than the marking goes on? Nothing is granted ahead then. */
bool mark_behind(const struct gc *gc);

/* ---- evac.c ---- */

/* Chooses old blocks to be emptied: in this pause, as many as there is room for what is in them, or when the marking that begins ends. */
void evac_choose(struct gc *gc);
/* In the pause that ends a marking: those of them that there is time and room for are emptied. Before anything is traced. */
void evac_settle(struct gc *gc);
/* Follows what the cards that were noted refer to. Behind it all references to what is to be moved have been met. */
void evac_trace_edges(struct gc *gc);
/* A slot of an old object refers to something that is to be moved. */
void evac_note(struct gc_tracer *tracer, uint64_t slot);
/* They are empty, or stay as they are. Before sweeping begins. */
void evac_end(struct gc *gc);
/* None is to be emptied after all: the marking is given up. */
void evac_forget(struct gc *gc);

/* ---- region.c ---- */

/* region_alloc() when the region at hand is full. */
uint64_t region_slow(struct gc_tracer *tracer, enum gc_to_kind *kind, unsigned which, uint64_t extent);

/* Room for a copy; TRACE_NONE: none to be had. A survivor may be promoted instead, when survivors overflow, and what is evacuated may go into
 * holes: then *kind becomes another. */
static inline uint64_t region_alloc(struct gc_tracer *tracer, enum gc_to_kind *kind, uint64_t extent)
{
    unsigned which = extent > GC_SMALL_BYTES;
    struct gc_region *region = &tracer->region[*kind][which];
    uint64_t at = region->at;
    if (UNLIKELY(extent > region->end - at))
        return region_slow(tracer, kind, which, extent);
    region->at = at + extent;
    return at;
}

/* The ends of regions: what is left of them is free again. `all`: of the owner's old regions too. */
void regions_close(struct gc *gc, bool all);

/* ---- stacks ---- */
bool stack_reserve(struct gc_stack *stack, size_t words);       /* at least so many; keeps what is in it. False: no memory */
void stack_free(struct gc_stack *stack);
static inline void stack_push(struct gc_stack *stack, uint64_t word) { stack->word[stack->count++] = word; }
/* Grows as needed; false: no memory. */
bool stack_push_grow(struct gc_stack *stack, uint64_t word);

/* ---- holes.c: old blocks whose holes threads fill ---- */
/* Lends the holes of a block that has one for `bytes`. 0 and the cell, or -1: there is none near. */
int holes_grant(struct gc *gc, uint32_t slot, uint32_t bytes, struct mm_cell *ret_cell);
/* A block of which these granules are lent. False: no memory for it. */
bool holes_note(struct gc *gc, uint32_t slot, uint32_t block, const uint64_t *holes);
/* What lies between the objects of an old block, in holes of 32 bytes and more: a bit a granule. Private tables only. */
void holes_find(const struct gc_block *side, uint64_t *ret_holes);
uint32_t holes_longest(const uint64_t *holes);  /* granules of the longest run of bits; 0: there is none */
void holes_walk(struct gc *gc);                 /* in a pause: start bits for what is new (R3), */
void holes_trace(struct gc *gc);                /* its references, */
void holes_end(struct gc *gc);                  /* and blocks that nobody fills any more */
/* Outside of pauses: all three, for blocks that their threads have left, at least one; false: there is none. */
bool holes_ahead(struct gc *gc, uint64_t slice_ns);
bool holes_behind(const struct gc *gc);         /* do threads fill blocks faster than they are walked? */

/* ---- roots.c, remset.c, weak.c, reclaim.c, handshake.c, pretenure.c, verify.c: what cycle.c calls, in this order ---- */
bool handshake_begin(struct gc *gc);            /* asks all threads to stop */
bool handshake_stopped(struct gc *gc);          /* all have */
void handshake_resume(struct gc *gc);
void roots_pin(struct gc *gc);
void roots_trace(struct gc *gc);
uint64_t roots_words(const struct mm_slot *slot);       /* 64-bit ones in its root area */
bool roots_fit(struct gc *gc);                  /* no thread said that its roots do not fit */
void remset_drain(struct gc *gc);               /* card logs to carried cards */
void remset_trace(struct gc *gc);               /* carried cards */
void remset_trace_card(struct gc *gc, uint32_t block, uint32_t card, bool marked);      /* one card of an old block; `marked`: of marked objects */
/* Fetches the memory of the first of `cards`, a bit each from card `first` on, which comes next; none: does nothing. */
void remset_fetch_card(const struct gc *gc, uint32_t block, uint32_t first, uint64_t cards);
void remset_forget(struct gc *gc);              /* a marking finds them anew */
void weak_process(struct gc *gc);
struct weak_table;
void weak_table_free(struct weak_table *table);
void reclaim_from_space(struct gc *gc);
void reclaim_begin_sweep(struct gc *gc);        /* after marking, in the pause */
bool gc_leftover_step(struct gc *gc);           /* outside of pauses: sampling and sweeping; false: nothing left */
bool reclaim_sweep_step(struct gc *gc);         /* one block; false: none left */
/* Has room: list it, if it is worth it. */
void reclaim_list(struct gc *gc, uint32_t block);
void reclaim_unlist(struct gc *gc, uint32_t block);
void reclaim_lists_clear(struct gc *gc);        /* forgets them, without looking at blocks */
/* Takes a block that has a hole of `extent` bytes off its list; GC_NO_BLOCK: none near. Sweeps if need be. */
uint32_t reclaim_take_listed(struct gc *gc, uint64_t extent);
void reclaim_free_block(struct gc *gc, uint32_t block);
void pretenure_look(struct gc *gc, uint32_t block);      /* counts, by type, what was born in a nursery block and what survived of it */
bool pretenure_step(struct gc *gc);             /* samples one block; false: none left */
bool pretenure_due(const struct gc *gc);        /* are types to be put on probation by the next request for old memory? */
bool pretenure_begin(struct gc *gc);            /* every pretenured type is young again, until it is measured anew; false: a pause that was asked for will do it */
void pretenure_pause_ends(struct gc *gc);       /* when all is settled */
void verify_heap(struct gc *gc);
void trace_types_refresh(struct gc *gc);

/* ---- help.c ---- */
void gc_help_prepare(struct gc *gc);            /* before the first copy: may this collection be helped? */
void gc_help_wanted(struct gc *gc);             /* there is work for others: asks them */
void gc_help_share(struct gc_tracer *tracer);   /* puts surplus where others find it */
bool gc_help_finished(struct gc *gc);           /* the owner has nothing left: true if nobody has; else it may have been given more */
void gc_help_end(struct gc *gc);                /* nobody helps any more when this returns */
/* The same between pauses: a marking's slice until `until` may be helped, by workers that have nothing else to do; and when it ends what they have is the marker's, and nobody is at the heap. */
void gc_help_slice(struct gc *gc, uint64_t until);
void gc_help_slice_end(struct gc *gc);
/* mark.c: a tracer is made ready for such a slice (false: no memory), and the marker takes over what it has. */
bool mark_helper_ready(struct gc *gc, struct gc_tracer *tracer);
void mark_helper_done(struct gc *gc, struct gc_tracer *tracer);


#endif
