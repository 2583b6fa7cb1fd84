/* cycle.c — one collection, from the request to the resume: the story. See gc.h for who does what.
 *
 *   IDLE ──▶ STOPPING ──▶ PREPARE ──▶ TRACE ──▶ FINISH ──▶ IDLE
 *              │ a thread is late
 *              └──▶ IDLE (put off, tried again later)
 *
 * gc_step() makes one slice and returns, so that other heaps of the worker are served in between, in pauses too. */
#include "daemon/gc/trace.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/os/os.h"

#define SLICE_NS          200000ull
#define WALK_SLICE_NS     25000ull
#define PUT_OFF_WAIT_NS   10000000ull       /* between a put-off collection and the next try */
#define COMPACT_ROUNDS    8u
#define COMPACT_SLACK     (1u << 20)        /* bytes of blocks that are half full because they were the last ones */
#define BUSY_FACTOR       20u               /* the nursery grows while collections take more than 1/20 of the time */
#define FIXED_MORE_LEAST  (3u << 19)        /* what a heap without moving may grow by at least, between two collections: they cost little where little lives */
#define UNUSABLE_FIFTHS   2u                /* where requests differ, so much of what is in holes will be left, at least, when the first one is met by none */
#define MIB_BLOCKS        ((1u << 20) / MM_BLOCK_BYTES)

/* ---- Tables ---- */

void gc_marks_clear(struct gc_block *side)
{
    for (uint32_t word = 0; word < GC_BLOCK_WORDS; word++)
        side->bits[word].mark = 0;
}

bool gc_start_before(const struct gc_block *side, bool by_marks, uint32_t granule, uint32_t *ret_granule)
{
    uint32_t word = granule / 64;
    uint64_t bits = gc_starts(side, by_marks, word) & (((uint64_t)1 << (granule % 64)) - 1);
    while (!bits) {
        if (word == 0)
            return false;
        bits = gc_starts(side, by_marks, --word);
    }
    *ret_granule = word * 64 + 63 - (uint32_t)__builtin_clzll(bits);
    return true;
}

/* Zero pages until touched: what a heap does not use of its reserve costs nothing. */
static void *table_make(uint64_t entries, size_t bytes)
{
    void *at = mmap(NULL, entries * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void table_free(void *table, uint64_t entries, size_t bytes)
{
    if (table)
        munmap(table, entries * bytes);
}

static uint64_t reserve_blocks(const struct gc *gc) { return gc->heap->view.bytes >> MM_BLOCK_SHIFT; }
static uint64_t reserve_chunks(const struct gc *gc) { return gc->heap->view.bytes >> MM_CHUNK_SHIFT; }

static uint64_t within(uint64_t n, uint64_t least, uint64_t most) { return n > most ? most : n < least ? least : n; }

static void sizes_init(struct gc *gc, const struct gc_options *options)
{
    uint64_t limit = gc->heap->limit_blocks, quarter = limit / 4 ? limit / 4 : 1;
    uint64_t most = options->young_max_bytes ? options->young_max_bytes : CONFIG(young_max);
    uint64_t least = options->young_min_bytes ? options->young_min_bytes : CONFIG(young_min);
    if (gc->fixed)
        most = least = 0;               /* there is no nursery */
    gc->young_max = (uint32_t)within(most >> MM_BLOCK_SHIFT, 1, quarter);
    gc->young_min = (uint32_t)within(least >> MM_BLOCK_SHIFT, 1, gc->young_max);
    gc->young_blocks = gc->young_min;
    gc->promotion_age = (uint32_t)within(options->promotion_age ? options->promotion_age : 3, 1, 15);
    gc->age_now = gc->promotion_age;
    gc->probation_bytes = GC_PROBATION_LEAST;
    uint64_t start = options->start_bytes >> MM_BLOCK_SHIFT;
    gc->start_blocks = within(start ? start : 32 * MIB_BLOCKS, 1, limit * 3 / 4);
    gc->pause_target_ns = (uint64_t)options->pause_target_us * 1000;
}

int gc_new(struct heap *heap, const struct gc_options *options)
{
    struct gc *gc = calloc(1, sizeof *gc);
    if (!gc)
        return -MORPH_EMEMORY;
    heap->gc = gc;
    gc->heap = heap;
    gc->types_source = heap->types;
    gc->fixed = options->fixed;
    pthread_mutexattr_t adaptive;                       /* it is never held for long, and tracers that wait for it have better to do than to sleep */
    pthread_mutexattr_init(&adaptive);
    pthread_mutexattr_settype(&adaptive, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&gc->lock, &adaptive);
    pthread_mutexattr_destroy(&adaptive);
    receipt_log_init(&gc->log);
    gc->space = table_make(reserve_blocks(gc), sizeof *gc->space);
    gc->side = table_make(reserve_blocks(gc), sizeof *gc->side);
    gc->young = table_make(reserve_blocks(gc), sizeof *gc->young);
    gc->from = table_make(reserve_blocks(gc), sizeof *gc->from);
    reclaim_lists_clear(gc);
    gc->evac = table_make(reserve_blocks(gc), sizeof *gc->evac);
    gc->edges = table_make(reserve_blocks(gc), sizeof *gc->edges);
    gc->unswept = table_make(reserve_blocks(gc), sizeof *gc->unswept);
    gc->dirty_chunk = table_make(reserve_chunks(gc), sizeof *gc->dirty_chunk);
    gc->dirty_chunk_spare = table_make(reserve_chunks(gc), sizeof *gc->dirty_chunk);
    gc->chunk_dirty = table_make(reserve_chunks(gc), sizeof *gc->chunk_dirty);
    gc->tracers = 1;
    gc->drain_round = GC_DRAIN_ROUND;
    gc->tracer = calloc(GC_MAX_TRACERS, sizeof *gc->tracer);
    gc->type = calloc(32, sizeof *gc->type);
    if (!elevator_init(&gc->waiting, reserve_blocks(gc)) || !gc->space || !gc->side || !gc->young || !gc->from || !gc->evac || !gc->edges || !gc->unswept || !gc->dirty_chunk || !gc->dirty_chunk_spare ||
        !gc->chunk_dirty || !gc->tracer || !gc->type) {
        gc_free(gc);
        heap->gc = NULL;
        return -MORPH_EMEMORY;
    }
    gc->type_room = 32;
    gc->flagged_head = calloc(heap->slot_count, sizeof *gc->flagged_head);
    if (!gc->flagged_head) {
        gc_free(gc);
        heap->gc = NULL;
        return -MORPH_EMEMORY;
    }
    for (unsigned i = 0; i < GC_MAX_TRACERS; i++)
        gc->tracer[i] = (struct gc_tracer){ .gc = gc, .old_block = { GC_NO_BLOCK, GC_NO_BLOCK } };
    sizes_init(gc, options);
    return 0;
}

void gc_free(struct gc *gc)
{
    if (!gc)
        return;
    table_free(gc->space, reserve_blocks(gc), sizeof *gc->space);
    table_free(gc->side, reserve_blocks(gc), sizeof *gc->side);
    table_free(gc->young, reserve_blocks(gc), sizeof *gc->young);
    table_free(gc->from, reserve_blocks(gc), sizeof *gc->from);
    table_free(gc->evac, reserve_blocks(gc), sizeof *gc->evac);
    table_free(gc->edges, reserve_blocks(gc), sizeof *gc->edges);
    table_free(gc->unswept, reserve_blocks(gc), sizeof *gc->unswept);
    table_free(gc->dirty_chunk, reserve_chunks(gc), sizeof *gc->dirty_chunk);
    table_free(gc->dirty_chunk_spare, reserve_chunks(gc), sizeof *gc->dirty_chunk);
    table_free(gc->chunk_dirty, reserve_chunks(gc), sizeof *gc->chunk_dirty);
    for (unsigned i = 0; gc->tracer && i < GC_MAX_TRACERS; i++) {
        stack_free(&gc->tracer[i].grey);
        stack_free(&gc->tracer[i].marked);
        stack_free(&gc->tracer[i].weak);
        stack_free(&gc->tracer[i].ephemerons);
    }
    elevator_free(&gc->waiting);
    free(gc->tracer);
    free(gc->type);
    free(gc->grant);
    free(gc->flagged_head);
    mark_free(gc);
    weak_table_free(gc->weak_table);
    stack_free(&gc->visited_groups);
    stack_free(&gc->dead);
    stack_free(&gc->shared);
    while (gc->root_sets) {
        struct gc_root_set *set = gc->root_sets;
        gc->root_sets = set->next;
        free(set);
    }
    receipt_log_fini(&gc->log);
    pthread_mutex_destroy(&gc->lock);
    free(gc);
}

/* ---- Asking ---- */

void gc_request(struct gc *gc, enum mm_collection kind, enum receipt_reason reason)
{
    kind = gc->fixed ? MM_COLLECT_MAJOR : kind;
    gc->wanted_exact |= kind == MM_COLLECT_COMPACT || (kind == MM_COLLECT_MAJOR && (reason == RECEIPT_ASKED || reason == RECEIPT_TOOL));
    if (gc->wanted && gc->wanted_kind >= kind)
        return;
    if (!gc->wanted)
        gc->wanted_ns = os.now_ns();
    gc->wanted = true;
    gc->wanted_kind = kind;
    gc->wanted_reason = reason;
}

bool gc_leftover_step(struct gc *gc) { return pretenure_step(gc) || reclaim_sweep_step(gc); }

void gc_request_marking(struct gc *gc, enum receipt_reason reason)
{
    if (gc->mark_state == MARK_NONE && !(gc->wanted && gc->wanted_kind != MM_COLLECT_MINOR))
        gc->wanted_begin = CONFIG(concurrent);
    gc_request(gc, MM_COLLECT_MAJOR, reason);
}

/* What the pause is to do. A marking that goes on is ended when it is done, or when memory is short; it makes another one needless, unless
 * somebody wants to have everything collected that is dead now. */
static enum gc_pause pause_choose(const struct gc *gc)
{
    if (gc->wanted_exact || gc->fixed)
        return PAUSE_WHOLE;
    if (gc->mark_state == MARK_DONE)
        return PAUSE_END;
    if (gc->wanted_kind == MM_COLLECT_MINOR)
        return PAUSE_MINOR;
    if (gc->mark_state == MARK_ON)
        return gc->wanted_reason == RECEIPT_LIMIT || gc->wanted_reason == RECEIPT_BUDGET ? PAUSE_END : PAUSE_MINOR;
    return gc->wanted_begin ? PAUSE_BEGIN : PAUSE_WHOLE;
}

/* ---- Stopping ---- */

static bool step_idle(struct gc *gc)
{
    uint64_t now = os.now_ns();
    if (!gc->wanted || now < gc->retry_ns)
        return false;
    gc->pause = pause_choose(gc);
    if (gc->pause == PAUSE_MINOR ? pretenure_step(gc) : gc_leftover_step(gc))       /* what the last collection left to do comes first; old blocks that */
        return true;                                                                /* are not swept yet are none of a minor one's business */
    gc->asked_kind = gc->wanted_kind;
    gc->kind = gc->pause == PAUSE_WHOLE ? gc->wanted_kind : gc->pause == PAUSE_END ? MM_COLLECT_MAJOR : MM_COLLECT_MINOR;
    gc->receipt = (struct receipt){ .heap = gc->heap->id, .cycle = gc->cycles + 1, .kind = gc->kind, .reason = gc->wanted_reason,
                                    .wait_ns = now - gc->wanted_ns };
    if (gc->pause == PAUSE_BEGIN && CONFIG(evacuate))
        evac_choose(gc);                /* nothing moves before END, which looks at pins again */
    gc->stop_ns = now = os.now_ns();
    gc->deadline_ns = now + CONFIG(stop_deadline) * 1000000;
    gc->phase = handshake_begin(gc) ? GC_PREPARE : GC_STOPPING;
    return true;
}

/* The receipt is complete; whoever waits for it is told. */
static void receipt_end(struct gc *gc)
{
    gc->receipt.target_ns = gc->pause_target_ns;
    receipt_file(&gc->log, &gc->receipt);
    gc->last = gc->receipt;
    gc->ended++;
}

/* Nobody is collected this time: the threads go on, and get a little more memory the first time (R11). */
static void put_off(struct gc *gc, uint32_t late_tid)
{
    gc->receipt.put_off = true;
    if (gc->pause == PAUSE_BEGIN)
        evac_forget(gc);
    gc->receipt.late_tid = late_tid;
    gc->receipt.stop_ns = os.now_ns() - gc->stop_ns;
    handshake_resume(gc);
    gc->phase = GC_IDLE;
    gc->retry_ns = os.now_ns() + PUT_OFF_WAIT_NS;
    if (gc->receipt.reason == gc->wanted_reason && (gc->wanted_reason == RECEIPT_BUDGET || gc->wanted_reason == RECEIPT_IDLE))
        gc->wanted = false;             /* for others' sake: not tried again and again */
    else if (gc->put_offs++ == 0)
        gc->emergency_blocks = gc->young_blocks / 4 ? gc->young_blocks / 4 : 1;
    receipt_end(gc);
}

static bool step_stopping(struct gc *gc)
{
    mark_drain_logs(gc);                /* a thread whose log is full waits for that, and does not stop before */
    if (handshake_stopped(gc)) {
        gc->phase = GC_PREPARE;
        return true;
    }
    if (os.now_ns() < gc->deadline_ns)
        return false;
    struct mm_slot *late = mm_control_slot(gc->heap->control, gc->late_slot);
    if (heap_thread_gone(gc->heap, mm_load_relaxed(&late->tid))) {
        /* Its thread ended without detaching: nobody else writes these words now. Who has the slot next must find no memory at its cursors. */
        mm_store_relaxed(&late->young_cursor, 0), mm_store_relaxed(&late->young_limit, 0);
        mm_store_relaxed(&late->old_cursor, 0), mm_store_relaxed(&late->old_limit, 0);
        mm_store_relaxed(&late->roots_bytes, 0);
        mm_store_relaxed(&late->roots_extra_bytes, 0);
        mm_store_seq_cst(&late->state, MM_SLOT_FREE);
        gc_root_sets_drop(gc, gc->late_slot);
        return true;
    }
    put_off(gc, mm_load_relaxed(&late->tid));
    return true;
}

/* ---- The pause ---- */

/* Slots whose rings may hold something: the first one is granted a block before anybody attaches. */
static uint32_t rings_high(const struct gc *gc)
{
    uint32_t high = mm_load_relaxed(&gc->heap->control->slots_high);
    return high == 0 ? 1 : high < gc->heap->slot_count ? high : gc->heap->slot_count;
}

/* Where the untaken cells of each ring begin, read once; returns how many young blocks are in them. */
static uint32_t rings_look(struct gc *gc)
{
    uint32_t blocks = 0;
    for (uint32_t i = 0; i < rings_high(gc); i++) {
        struct slot_end *end = &gc->heap->slot[i];
        uint32_t head = mm_load_relaxed(&mm_control_slot(gc->heap->control, i)->ring_head);
        gc->flagged_head[i] = head = end->tail - head > MM_RING_CELLS ? end->tail : head;
        for (; head != end->tail; head++)
            blocks += end->cell[head % MM_RING_CELLS].kind == MM_GRANT_YOUNG ? end->cell[head % MM_RING_CELLS].count : 0;
    }
    return blocks;
}

/* Blocks that wait for threads that are gone are taken back, and if most of the nursery waits for idle threads young ones that were granted
 * ahead too: else nothing would be left for the threads that work; and old ones when a marking ends. Such a cell then says nothing. */
static void rings_revoke(struct gc *gc, bool ahead)
{
    bool old_ahead = gc->pause == PAUSE_WHOLE || gc->pause == PAUSE_END;
    for (uint32_t i = 0; i < rings_high(gc); i++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, i);
        struct slot_end *end = &gc->heap->slot[i];
        bool gone = mm_load_relaxed(&slot->state) == MM_SLOT_FREE;
        for (uint32_t n = gc->flagged_head[i]; n != end->tail; n++) {
            struct mm_cell *cell = &slot->cell[n % MM_RING_CELLS];
            bool old = end->cell[n % MM_RING_CELLS].kind == MM_GRANT_OLD && !gc->fixed, young = end->cell[n % MM_RING_CELLS].kind == MM_GRANT_YOUNG;
            if (!(young || old) || !(gone || ((young ? ahead : old_ahead) && mm_load_relaxed(&cell->seq) == 0)))
                continue;
            end->cell[n % MM_RING_CELLS].kind = MM_GRANT_REFUSED;
            *cell = (struct mm_cell){ .kind = MM_GRANT_REFUSED };
        }
    }
}

/* Which of the young blocks are still in a ring, untaken: they are clean and stay where they are. */
static void rings_flag(struct gc *gc, uint8_t set)
{
    for (uint32_t i = 0; i < rings_high(gc); i++) {
        struct slot_end *end = &gc->heap->slot[i];
        for (uint32_t head = gc->flagged_head[i]; head != end->tail; head++) {
            struct slot_cell *cell = &end->cell[head % MM_RING_CELLS];
            for (uint32_t b = cell->block; cell->kind == MM_GRANT_YOUNG && b < cell->block + cell->count; b++)
                gc_block(gc, b)->flags = set;
        }
    }
}

static bool survivors_among(const struct gc *gc, uint32_t block) { return heap_block_state(gc->heap, block) == MM_BLOCK_SURVIVOR; }

/* Large objects whose thread has not yet taken them from its ring are not garbage. */
static void rings_mark_large(struct gc *gc)
{
    for (uint32_t i = 0; i < rings_high(gc); i++) {
        struct slot_end *end = &gc->heap->slot[i];
        for (uint32_t n = gc->flagged_head[i]; n != end->tail; n++) {
            const struct slot_cell *cell = &end->cell[n % MM_RING_CELLS];
            if (cell->kind == MM_GRANT_LARGE && gc->space[cell->block] == GC_LARGE)
                GC_BIT_SET(gc_block(gc, cell->block), mark, 0);
        }
    }
}

/* Did a thread put anything into its nursery block? */
static bool begun(const struct gc *gc, uint32_t block) { return mm_header_flags(trace_header(gc, gc_off(block))) & MM_BORN; }

/* Splits the young blocks into from-space and those that nobody has touched yet. */
static void from_space_choose(struct gc *gc)
{
    uint32_t stay = 0, nursery = 0;
    rings_revoke(gc, rings_look(gc) > gc->young_blocks / 2);
    rings_flag(gc, GC_REGION);
    gc->from_count = 0;
    gc->promoted_in_place = gc->promote_in_place;
    for (uint32_t i = 0; i < gc->young_count; i++) {
        uint32_t block = gc->young[i];
        if (gc_block(gc, block)->flags & GC_REGION) {
            gc->young[stay++] = block;
            continue;
        }
        if (survivors_among(gc, block)) {
            for (uint32_t word = 0; word < GC_BLOCK_WORDS; word++)
                gc_block(gc, block)->bits[word].start = 0;
        } else {
            heap_block_set_state(gc->heap, block, MM_BLOCK_NURSERY);
            if (!begun(gc, block)) {
                reclaim_free_block(gc, block);
                continue;
            }
            nursery++;
        }
        gc_block(gc, block)->used_bytes = 0;
        gc_block(gc, block)->flags = gc->promoted_in_place && !survivors_among(gc, block) ? GC_PINNED : 0;
        gc->from[gc->from_count++] = block;
    }
    rings_flag(gc, 0);
    gc->young_count = stay;
    gc->receipt.young_bytes = (uint64_t)(gc->young_granted > stay ? gc->young_granted - stay : 0) << MM_BLOCK_SHIFT;
    /* Blocks that threads have been given and did not come to take do not fill the nursery alone: who waits for one would have one collection
     * after the other made, with nothing to collect and no moment in between for those threads to run. */
    gc->young_granted = stay < gc->young_blocks ? stay : gc->young_blocks - 1;
    gc->probing = gc->probe && nursery;
    gc->probe = gc->probe && !nursery;
    if (gc->probing || (!nursery && gc->receipt.reason == RECEIPT_OLD))     /* what is born is born old: the last ones that were not need not be carried */
        gc->age_now = 1;                                                    /* on from pause to pause */
    gc->survivor_blocks = 0;
    gc->survivor_max = gc->young_blocks / 2 ? gc->young_blocks / 2 : 1;
}

static void tracers_reset(struct gc *gc)
{
    for (unsigned i = 0; i < gc->tracers; i++) {
        struct gc_tracer *t = &gc->tracer[i];
        tracer_aim(t);
        t->mark_copies = gc->pause == PAUSE_BEGIN || gc->pause == PAUSE_WHOLE;
        t->mark_settled = gc->pause == PAUSE_WHOLE;
        t->young_settled = true;
        t->evacuating = gc->evacuating;
        t->recording = gc->recording;
        t->waiting = NULL;
        memset(t->moved, 0, sizeof t->moved);
        t->kept_objects = t->kept_bytes = t->marked_objects = t->marked_bytes = 0;
        t->starved = false;
        t->queue_count = t->seen_count = 0;
        t->grey.count = t->marked.count = t->weak.count = t->ephemerons.count = 0;
    }
}

/* Room for everything that can be grey or marked at once: then no push needs a look. Grey are the slots of copies, whose bytes are bounded by
 * what is emptied (region_slow() looks at each new block), and a few of old objects. */
static bool stacks_ready(struct gc *gc)
{
    size_t grey = ((size_t)gc->from_count + gc->evac_count + 6) * (MM_BLOCK_BYTES / sizeof(uint64_t)) + GC_GREY_SETTLED + GC_QUEUE;
    size_t marked = gc->pause != PAUSE_MINOR ? (size_t)(gc->heap->limit_blocks * MM_BLOCK_BYTES / 64 / sizeof(uint64_t)) + 4096 : GC_QUEUE;
    for (unsigned i = 0; i < gc->tracers; i++)
        if (!stack_reserve(&gc->tracer[i].grey, grey) || !stack_reserve(&gc->tracer[i].marked, marked))
            return false;
    return true;
}

static uint64_t lap(uint64_t *last)
{
    uint64_t now = os.now_ns(), took = now - *last;
    *last = now;
    return took;
}

/* What this pause does is not wanted any more; what was asked for while threads were stopping, and is more than that, still is. A marking that became done then
 * wants its end: at the limit everybody waits for that, and nobody asks for anything else. */
static void wanted_settle(struct gc *gc)
{
    gc->wanted_exact = gc->wanted_exact && gc->pause != PAUSE_WHOLE;
    gc->wanted = gc->wanted_exact || gc->wanted_kind > gc->asked_kind;
    gc->wanted_begin = false;
    if (gc->mark_state == MARK_DONE && gc->pause == PAUSE_MINOR)
        gc_request(gc, MM_COLLECT_MAJOR, gc->mark_reason);
}

static bool step_prepare(struct gc *gc)
{
    gc->receipt.stop_ns = lap(&gc->stop_ns);            /* from here on stop_ns is when the pause began */
    gc->lap_ns = gc->stop_ns;
    if (!roots_fit(gc)) {
        gc->roots_do_not_fit = true;
        put_off(gc, 0);
        return true;
    }
    gc->roots_do_not_fit = false;
    gc->put_offs = 0;
    gc->emergency_blocks = 0;
    wanted_settle(gc);
    gc->phase = GC_TRACE;
    gc_help_prepare(gc);
    trace_types_refresh(gc);
    mark_drain_logs(gc);
    if (gc->pause == PAUSE_WHOLE)
        mark_cancel(gc);
    gc->judging = gc->pause == PAUSE_WHOLE || gc->pause == PAUSE_END;
    gc->marking = gc->marking || gc->pause != PAUSE_MINOR;
    if (gc->pause == PAUSE_BEGIN && !mark_begin(gc)) {
        mm_store_relaxed(&gc->lie, "no memory for the mark stack");
        return true;
    }
    from_space_choose(gc);
    if (gc->judging)
        regions_close(gc, true);
    if (gc->pause != PAUSE_MINOR)
        rings_mark_large(gc);
    if (gc->kind == MM_COLLECT_COMPACT)
        evac_choose(gc);
    else if (gc->pause == PAUSE_END) {
        trace_queue_empty(&gc->marker);         /* marks of blocks that are emptied mean something else from here on */
        trace_waiting_empty(&gc->marker);
        evac_settle(gc);
    }
    if (!stacks_ready(gc)) {
        mm_store_relaxed(&gc->lie, "no memory for the mark stack");
        return true;
    }
    tracers_reset(gc);
    bool cards = gc->from_count || gc->evacuating;      /* else there is nothing that they could lead to, and they stay as they are */
    if (cards || gc->pause == PAUSE_WHOLE)
        remset_drain(gc);
    holes_walk(gc);
    roots_pin(gc);
    if (gc->pause == PAUSE_WHOLE)
        remset_forget(gc);
    roots_trace(gc);
    gc->receipt.roots_ns = lap(&gc->lap_ns);
    if (gc->pause != PAUSE_WHOLE) {
        holes_trace(gc);
        if (cards)
            remset_trace(gc);
        if (gc->pause == PAUSE_END)
            evac_trace_edges(gc);
    }
    gc->receipt.remset_ns = lap(&gc->lap_ns);
    return true;
}

static bool step_trace(struct gc *gc)
{
    gc_help_wanted(gc);
    if (!trace_drain(&gc->tracer[0], os.now_ns() + SLICE_NS) || !gc_help_finished(gc))
        return true;
    if (gc->pause == PAUSE_END && gc->mark_state != MARK_NONE) {        /* what is young is done: the rest of the marking */
        mark_end(gc);
        return true;
    }
    gc_help_end(gc);
    gc->receipt.trace_ns = lap(&gc->lap_ns);
    weak_process(gc);
    gc->receipt.weak_ns = lap(&gc->lap_ns);
    gc->phase = GC_FINISH;
    return true;
}

static void sum_up(struct gc *gc)
{
    struct receipt *r = &gc->receipt;
    for (unsigned i = 0; i < gc->tracers; i++) {
        const struct gc_tracer *t = &gc->tracer[i];
        r->copied_objects += t->moved[TO_SURVIVOR].objects;
        r->copied_bytes += t->moved[TO_SURVIVOR].bytes;
        r->promoted_objects += t->moved[TO_OLD].objects;
        r->promoted_bytes += t->moved[TO_OLD].bytes;
        r->evac_objects += t->moved[TO_FRESH].objects;
        r->evac_bytes += t->moved[TO_FRESH].bytes;
        r->kept_objects += t->kept_objects;
        r->kept_bytes += t->kept_bytes;
        if (gc->judging) {              /* else what was marked is the marker's, too: mark_go_on() */
            r->marked_objects += t->marked_objects;
            r->marked_bytes += t->marked_bytes;
        }
    }
    r->promotion_age = gc->age_now;
    r->nursery_bytes = (uint64_t)gc->young_blocks << MM_BLOCK_SHIFT;
}

/* Old and large blocks that start the next marking: as much again as lives now, between the bounds, and before the limit presses:
 * what the last marking used while it went on is left for the next one, three times. */
static void next_start(struct gc *gc)
{
    uint64_t live = (gc_old_used_bytes(gc) >> MM_BLOCK_SHIFT) + 1, limit = gc->heap->limit_blocks;
    uint64_t more = within(live, (gc->fixed ? FIXED_MORE_LEAST : CONFIG(old_min)) >> MM_BLOCK_SHIFT, CONFIG(old_max) >> MM_BLOCK_SHIFT);
    uint64_t kept = 2 * gc->young_blocks + (gc->unusable_bytes >> MM_BLOCK_SHIFT), room = limit > live + kept ? limit - live - kept : 1;
    uint64_t most = within(room > 3 * gc->mark_used_blocks ? room - 3 * gc->mark_used_blocks : 0, room / 8, room * 3 / 4);
    more = more > most ? most : more;
    gc->unusable_bytes -= gc->unusable_bytes / 64;
    if (gc->various && gc->unusable_bytes < gc->old_free_bytes / 5 * UNUSABLE_FIFTHS)
        gc->unusable_bytes = gc->old_free_bytes / 5 * UNUSABLE_FIFTHS;
    gc->start_blocks = live + (more ? more : 1);
}

/* Survivors overflow: promote sooner. They do not: give objects the time that was asked for. */
static void adapt_age(struct gc *gc)
{
    if (gc->survivor_blocks > gc->survivor_max / 2 && gc->age_now > 1)
        gc->age_now--;
    else if (gc->survivor_blocks <= gc->survivor_max / 4 && gc->age_now < gc->promotion_age)
        gc->age_now++;
}

/* While a program builds something nearly all of the nursery is alive, and copying it would buy nothing: its blocks are promoted as they stand,
 * as pinned ones are, and what died in them is holes. Not where copies would fill the holes of the old generation, nor where room is short. */
static void adapt_promotion(struct gc *gc, uint64_t from_bytes)
{
    const struct receipt *r = &gc->receipt;
    uint64_t survived = r->copied_bytes + r->promoted_bytes + r->kept_bytes;
    if (r->reason == RECEIPT_NURSERY && from_bytes)         /* others come at moments that say nothing, or have nothing to go by */
        gc->promote_in_place = survived >= from_bytes / 4 * 3 && gc->old_free_bytes < from_bytes &&
                               heap_limit_left(gc->heap) > gc->heap->limit_blocks / 4;
    else if (gc->judging)
        gc->promote_in_place = false;
}

/* The nursery doubles while collecting takes more than its share of the time, and halves when a pause passes its target. */
static void adapt_nursery(struct gc *gc, uint64_t now)
{
    uint64_t pause = now - gc->stop_ns, since = now - gc->last_minor_ns;
    gc->last_minor_ns = now;
    if (gc->pause_target_ns && pause > gc->pause_target_ns && gc->kind == MM_COLLECT_MINOR && gc->young_blocks > gc->young_min)
        gc->young_blocks = gc->young_blocks / 2 < gc->young_min ? gc->young_min : gc->young_blocks / 2;
    else if (since < pause * BUSY_FACTOR && gc->receipt.reason == RECEIPT_NURSERY && !gc->probing && gc->young_blocks < gc->young_max &&
             (!gc->pause_target_ns || pause * 2 < gc->pause_target_ns))
        gc->young_blocks = gc->young_blocks * 2 > gc->young_max ? gc->young_max : gc->young_blocks * 2;
}

/* What the threads find when they go on: fresh cursors, and how far references may point. */
static void publish(struct gc *gc)
{
    struct mm_control *control = gc->heap->control;
    uint32_t high = mm_load_relaxed(&control->slots_high);
    for (uint32_t i = 0; i < high && i < gc->heap->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(control, i);
        if (gc->fixed)
            continue;                   /* objects stay, and cursors too */
        mm_store_relaxed(&slot->young_cursor, 0);
        mm_store_relaxed(&slot->young_limit, 0);
    }
    mm_store_relaxed(&control->mapped_chunks, gc->heap->mapped_chunks);
    mm_store_relaxed(&control->collections, gc->cycles);
    mm_store_relaxed(&control->live_bytes, gc->live_bytes);
    mm_store_relaxed(&control->marking, gc->mark_state != MARK_NONE);
}

/* Sums with the pause that ends now: nobody but this worker writes the log, so it needs no lock to be read. */
static void publish_sums(struct gc *gc)
{
    struct mm_control *control = gc->heap->control;
    const struct receipt *r = &gc->receipt;
    const struct receipt_log *log = &gc->log;
    bool minor = r->kind == MM_COLLECT_MINOR;
    mm_store_relaxed(&control->pause_ns, log->collect_ns + r->pause_ns);
    mm_store_relaxed(&control->pause_max_ns, log->pause.max > r->pause_ns ? log->pause.max : r->pause_ns);
    mm_store_relaxed(&control->minor_collections, log->minors + minor);
    mm_store_relaxed(&control->major_collections, log->majors + !minor);
    mm_store_relaxed(&control->promoted_objects, log->aged_objects + r->promoted_objects + r->kept_objects);
    mm_store_relaxed(&control->promoted_bytes, log->aged_bytes + r->promoted_bytes + r->kept_bytes);
    mm_store_relaxed(&control->freed_bytes, log->freed_bytes + r->freed_bytes);
}

/* Is what was short there again? An eighth of the bound, or what was asked for, unless that would not be free if all were packed. */
static bool compacted_enough(const struct gc *gc, uint64_t free_blocks)
{
    uint64_t limit = gc->heap->limit_blocks, live = (gc->old_live_bytes >> MM_BLOCK_SHIFT) + gc->large_blocks;
    return free_blocks > limit / 8 && (free_blocks >= gc->short_blocks || live + gc->short_blocks > limit);
}

/* A compaction knows what died since the last marking only when it is over, and moves no more than fits what is free: it is made again as long as
 * each round makes blocks free, and there is an eighth to be gained. Where memory was short it ends when that is over. */
static void compact_settle(struct gc *gc)
{
    uint64_t held = (uint64_t)gc->old_live_blocks << MM_BLOCK_SHIFT, live = gc->old_live_bytes, freed = gc->old_blocks - gc->old_live_blocks;
    bool gains = held > live + live / 8 + COMPACT_SLACK && (gc->compact_round == 0 || gc->receipt.evac_blocks);
    bool enough = gc->receipt.reason == RECEIPT_LIMIT && compacted_enough(gc, heap_limit_left(gc->heap) + freed);
    if (gc->kind == MM_COLLECT_COMPACT && gains && !enough && ++gc->compact_round < COMPACT_ROUNDS) {
        gc_request(gc, MM_COLLECT_COMPACT, gc->receipt.reason);
        return;
    }
    gc->compact_round = 0;
    if (gc->kind == MM_COLLECT_COMPACT)
        gc->short_blocks = 0;
}

/* Does a marking go on after this pause? */
static void marking_settle(struct gc *gc)
{
    if (gc->pause == PAUSE_BEGIN) {
        gc->mark_state = MARK_ON;
        gc->receipt.mark_began = true;
    }
    if (gc->judging)
        gc->marking = false;
    else if (gc->mark_state != MARK_NONE)
        mark_go_on(gc);
}

static bool step_finish(struct gc *gc)
{
    struct receipt *r = &gc->receipt;
    sum_up(gc);
    adapt_promotion(gc, (uint64_t)gc->from_count << MM_BLOCK_SHIFT);
    evac_end(gc);
    regions_close(gc, gc->judging);
    reclaim_from_space(gc);
    holes_end(gc);
    gc->cycles++;
    gc->mark_promoted_bytes += r->promoted_bytes + r->kept_bytes;
    gc->old_since_bytes = gc->judging ? 0 : gc->old_since_bytes + r->promoted_bytes + r->kept_bytes;
    if (gc->judging) {
        gc->large_since_blocks = 0;
        gc->taken_marked = gc->taken_blocks;
        gc->marked_last_bytes = r->marked_bytes;
        gc->live_bytes = r->marked_bytes + r->copied_bytes + r->evac_bytes + (gc->pause == PAUSE_END ? gc->mark_promoted_bytes : r->promoted_bytes + r->kept_bytes);
        reclaim_begin_sweep(gc);
        next_start(gc);
        compact_settle(gc);
    }
    marking_settle(gc);
    pretenure_pause_ends(gc);
    if (CONFIG(verify) != VERIFY_OFF)
        verify_heap(gc);
    adapt_age(gc);
    gc->warm_ahead = r->reason == RECEIPT_NURSERY || (r->reason == RECEIPT_OLD && !gc->fixed);      /* other collections are made to give something back */
    publish(gc);
    heap_publish(gc->heap);
    r->old_bytes = gc_old_used_bytes(gc);
    r->granted_bytes = gc->heap->granted_blocks << MM_BLOCK_SHIFT;
    r->finish_ns = lap(&gc->lap_ns);
    uint64_t now = os.now_ns();
    adapt_nursery(gc, now);
    r->pause_ns = now - gc->stop_ns;
    publish_sums(gc);
    gc->judging = false;
    gc->phase = GC_IDLE;
    if (gc->lie)
        return true;                    /* nobody goes on with this heap: gc_abandon() lets them see why */
    handshake_resume(gc);
    receipt_end(gc);
    return true;
}

bool gc_step(struct gc *gc)
{
    uint64_t until = os.now_ns() + SLICE_NS;
    bool any = false;
    for (;;) {
        bool more = false;
        switch (gc->phase) {
        case GC_IDLE:     more = step_idle(gc); break;
        case GC_STOPPING: more = step_stopping(gc); break;
        case GC_PREPARE:  more = step_prepare(gc); break;
        case GC_TRACE:    more = step_trace(gc); break;
        case GC_FINISH:   more = step_finish(gc); break;
        }
        any |= more;
        if (!more || gc->lie || os.now_ns() >= until)
            return any;
    }
}

void gc_abandon(struct gc *gc)
{
    gc_help_end(gc);
    gc->phase = GC_IDLE;
    gc->wanted = gc->marking = gc->judging = false;
    evac_forget(gc);
    gc->mark_state = MARK_NONE;
    handshake_resume(gc);
}

/* One free block for copies, of as many as a nursery may need at most. */
static bool warm_step(struct gc *gc)
{
    if (!gc->warm_ahead)
        return false;
    gc->warm_ahead = heap_warm_step(gc->heap, gc->young_blocks / 2 + 1);
    return true;
}

/* Marking has every other turn: threads may fill blocks faster than they are walked. */
bool gc_background_step(struct gc *gc)
{
    gc->mark_turn = !gc->mark_turn;
    return (gc->mark_turn && mark_step(gc)) || holes_ahead(gc, WALK_SLICE_NS) || gc_leftover_step(gc) || warm_step(gc) || mark_step(gc);
}

uint64_t gc_due_ns(const struct gc *gc)
{
    return gc->phase == GC_STOPPING ? gc->deadline_ns : gc->phase == GC_IDLE && gc->wanted ? gc->retry_ns : UINT64_MAX;
}

uint64_t gc_old_used_bytes(const struct gc *gc)
{
    uint64_t bytes = (uint64_t)(gc->old_blocks + gc->large_blocks) << MM_BLOCK_SHIFT;
    return bytes > gc->old_free_bytes ? bytes - gc->old_free_bytes : 0;
}
