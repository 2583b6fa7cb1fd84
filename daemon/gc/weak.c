/* weak.c — weak references, ephemerons and finalizers, when the trace has reached all that is strongly reachable (DESIGN R8).
 *
 *   1. ephemerons to the fixpoint: a value is reached when its key is
 *   2. weak references and weak handles whose object was not reached become 0
 *   3. finalizers whose object was not reached: queued, and the object is reached from here on
 *   4. ephemerons again; what weak objects were only now reached, as in 2
 *   5. ephemerons whose key was not reached become 0, 0
 *
 * The fixpoint is linear in the number of ephemerons: those that wait are found by their key in a hash table at the moment when the key is
 * reached (after Jones, Hosking, Moss, "The Garbage Collection Handbook", section 12.3; Barros and Ierusalimschy, "Eliminating
 * cycles in weak tables", 2008).
 * One tracer. Touches client memory: inside a guard. */
#include <stdlib.h>

#include "daemon/gc/trace.h"

/* ---- Ephemerons that wait for their key ---- */

struct waiting { uint64_t key_off; uint64_t *key, *value; uint32_t next; bool alive; };

struct weak_table {
    struct waiting *entry;              /* [0] is not used */
    uint32_t        count, room, *bucket, buckets;
    struct gc_stack ready;              /* entries whose key was reached, value not yet followed */
};

static uint32_t bucket_of(const struct weak_table *table, uint64_t off) { return (uint32_t)(off / MM_GRANULE_BYTES * 0x9e3779b97f4a7c15u >> 32) & (table->buckets - 1); }

static bool table_grow(struct weak_table *table)
{
    uint32_t room = table->room ? table->room * 2 : 1024;
    struct waiting *entry = realloc(table->entry, room * sizeof *entry);
    if (!entry)
        return false;
    table->entry = entry;
    uint32_t *bucket = calloc(room, sizeof *bucket);
    if (!bucket)
        return false;
    free(table->bucket);
    table->bucket = bucket;
    table->buckets = table->room = room;
    for (uint32_t i = 1; i < table->count; i++) {
        uint32_t *head = &bucket[bucket_of(table, entry[i].key_off)];
        entry[i].next = *head;
        *head = i;
    }
    return true;
}

static void table_add(struct gc *gc, uint64_t key_off, uint64_t *key, uint64_t *value, bool alive)
{
    struct weak_table *table = gc->weak_table;
    if (table->count >= table->room && !table_grow(table)) {
        mm_store_relaxed(&gc->lie, "no memory for its ephemerons");
        return;
    }
    uint32_t index = table->count++, *head = &table->bucket[bucket_of(table, key_off)];
    table->entry[index] = (struct waiting){ .key_off = key_off, .key = key, .value = value, .alive = alive, .next = *head };
    *head = index;
    if (alive && !stack_push_grow(&table->ready, index))
        mm_store_relaxed(&gc->lie, "no memory for its ephemerons");
}

void weak_on_alive(struct gc_tracer *tracer, uint64_t off)
{
    struct weak_table *table = tracer->gc->weak_table;
    for (uint32_t i = table->buckets ? table->bucket[bucket_of(table, off)] : 0; i; i = table->entry[i].next)
        if (table->entry[i].key_off == off && !table->entry[i].alive) {
            table->entry[i].alive = true;
            if (!stack_push_grow(&table->ready, i))
                mm_store_relaxed(&tracer->gc->lie, "no memory for its ephemerons");
        }
}

static uint64_t slot_off(const struct gc *gc, const uint64_t *slot) { return (uint64_t)((const char *)slot - gc->heap->view.base); }

/* A slot of an object in the heap that now refers to a young object: its card matters if the object is old. Kept ones will be. */
static void slot_settled(struct gc_tracer *tracer, uint64_t *slot, bool young)
{
    struct gc *gc = tracer->gc;
    if (young && gc->space[slot_off(gc, slot) >> MM_BLOCK_SHIFT] != GC_TO)
        trace_carry(tracer, slot_off(gc, slot));
}

struct pair_visit { uint64_t *key; };

/* Slots come key, value, key, value. */
static void on_pair_slot(struct gc_tracer *tracer, uint64_t *slot, void *argument)
{
    struct gc *gc = tracer->gc;
    struct pair_visit *pair = argument;
    if (!pair->key) {
        pair->key = slot;
        return;
    }
    uint64_t key_off = trace_off(gc, mm_load_relaxed(pair->key));
    bool alive = key_off == TRACE_NONE || trace_alive(gc, key_off);
    if (alive && (key_off == TRACE_NONE || !gc_moves(gc, gc_space(gc, key_off >> MM_BLOCK_SHIFT)))) {
        slot_settled(tracer, pair->key, key_off != TRACE_NONE && gc_space(gc, key_off >> MM_BLOCK_SHIFT) == GC_TO);
        slot_settled(tracer, slot, trace_slot(tracer, slot));           /* an ordinary reference: nothing to wait for, nothing to update */
        pair->key = NULL;
        return;
    }
    table_add(gc, key_off, pair->key, slot, alive);
    pair->key = NULL;
}

static void note(struct gc *gc, struct gc_stack *stack, uint64_t off)
{
    if (!stack_push_grow(stack, off))
        mm_store_relaxed(&gc->lie, "no memory for its weak objects");
}

/* A weak object or ephemeron, met in a pause, that is old now and marked, so that a marking that goes on will not come to it: its end must. `card`: a
 * card of it was met, so it was old before; then only a large one can be news. The marker may know it, and twice does no harm. */
static void note_for_marker(struct gc *gc, struct gc_stack *stack, uint64_t off, bool card)
{
    enum gc_space space = gc_space(gc, off >> MM_BLOCK_SHIFT);
    if (gc->marking && !gc->judging && (card ? space == GC_LARGE : space != GC_TO))
        note(gc, stack, off);
}

/* Finds new ephemerons, follows values whose keys are reached, until nothing changes. */
static void ephemerons_settle(struct gc *gc)
{
    struct gc_tracer *tracer = &gc->tracer[0];
    struct weak_table *table = gc->weak_table;
    do {
        (void)trace_drain(tracer, UINT64_MAX);
        while (tracer->ephemerons.count) {
            struct pair_visit pair = { NULL };
            uint64_t off = tracer->ephemerons.word[--tracer->ephemerons.count];
            struct gc_block *side = gc_block(gc, (uint32_t)(off >> MM_BLOCK_SHIFT));
            note_for_marker(gc, &gc->marker.ephemerons, off, false);
            if (gc_space(gc, off >> MM_BLOCK_SHIFT) >= GC_OLD)
                gc_bit_clear(side->done, trace_granule(off));
            trace_each_slot(tracer, off, 0, UINT64_MAX, on_pair_slot, &pair);
        }
        while (table->ready.count) {
            uint64_t *value = table->entry[table->ready.word[--table->ready.count]].value;
            slot_settled(tracer, value, trace_slot(tracer, value));
        }
    } while (trace_waits(tracer) || tracer->ephemerons.count || table->ready.count);
}

/* Where a weak reference's object is now; 0: it is gone. */
static bool weak_update(struct gc *gc, uint64_t *slot, bool *ret_young)
{
    uint64_t off = trace_off(gc, mm_load_relaxed(slot));
    *ret_young = false;
    if (off == TRACE_NONE)
        return true;
    if (!trace_alive(gc, off)) {
        mm_store_relaxed(slot, 0);
        gc->receipt.weak_cleared++;
        return false;
    }
    uint64_t now = trace_forwarded(&gc->tracer[0], off);
    if (now != off)
        mm_store_relaxed(slot, trace_word(gc, now));
    *ret_young = gc->space[now >> MM_BLOCK_SHIFT] == GC_TO;
    return true;
}

static void ephemerons_end(struct gc *gc)
{
    struct weak_table *table = gc->weak_table;
    for (uint32_t i = 1; i < table->count; i++) {
        struct waiting *entry = &table->entry[i];
        bool young;
        if (!entry->alive)
            mm_store_relaxed(entry->value, 0);
        (void)weak_update(gc, entry->key, &young);
        slot_settled(&gc->tracer[0], entry->key, young);
    }
    free(table->entry);
    free(table->bucket);
    table->ready.count = 0;
    *table = (struct weak_table){ .count = 1, .ready = table->ready };
}

void weak_table_free(struct weak_table *table)
{
    if (!table)
        return;
    free(table->entry);
    free(table->bucket);
    stack_free(&table->ready);
    free(table);
}

/* ---- Weak references ---- */

static void on_weak_slot(struct gc_tracer *tracer, uint64_t *slot, void *argument)
{
    bool young;
    (void)argument;
    (void)weak_update(tracer->gc, slot, &young);
    slot_settled(tracer, slot, young);
}

static void weak_objects(struct gc *gc)
{
    struct gc_tracer *tracer = &gc->tracer[0];
    while (tracer->weak.count) {
        uint64_t from = 0, to = UINT64_MAX, off = tracer->weak.word[--tracer->weak.count];
        if (off & 1) {                  /* one card of the object behind it (trace.c) */
            from = off & ~(uint64_t)1;
            to = from + MM_CARD_BYTES;
            off = tracer->weak.word[--tracer->weak.count];
        }
        note_for_marker(gc, &gc->marker.weak, off, to != UINT64_MAX);
        trace_each_slot(tracer, off, from, to, on_weak_slot, NULL);
    }
}

/* ---- Handles ---- */

static struct mm_handle *handle_at(const struct gc *gc, uint64_t index) { return &mm_control_handles(gc->heap->control, gc->heap->slot_count, gc->heap->space_count)[index]; }

static void group_is_young(struct gc *gc, uint64_t group)
{
    mm_store_relaxed(&mm_control_handle_groups(gc->heap->control, gc->heap->slot_count, gc->heap->space_count)[group], (uint8_t)1);
}

static void on_group(struct gc *gc, uint64_t group)
{
    for (uint64_t i = group * MM_HANDLE_GROUP; i < (group + 1) * MM_HANDLE_GROUP; i++) {
        struct mm_handle *handle = handle_at(gc, i);
        uint32_t kind = mm_load_relaxed(&handle->kind);
        uint64_t off = trace_off(gc, mm_load_relaxed(&handle->word));
        bool young = false;
        if (kind == MM_HANDLE_WEAK || (kind == MM_HANDLE_FINALIZER && off != TRACE_NONE && trace_alive(gc, off)))
            (void)weak_update(gc, &handle->word, &young);
        else if (kind == MM_HANDLE_FINALIZER && off != TRACE_NONE &&
                 (!stack_push_grow(&gc->dead, mm_load_relaxed(&handle->seq)) || !stack_push_grow(&gc->dead, i)))
            mm_store_relaxed(&gc->lie, "no memory for its finalizers");
        if (young)
            group_is_young(gc, group);
    }
}

/* ---- Finalizers ---- */

static void queue_append(struct gc *gc, uint32_t index)
{
    struct mm_control *control = gc->heap->control;
    mm_store_relaxed(&handle_at(gc, index)->next, 0);
    if (mm_load_relaxed(&control->ready_head) == 0)
        mm_store_relaxed(&control->ready_head, index);
    else
        mm_store_relaxed(&handle_at(gc, gc->ready_tail)->next, index);
    gc->ready_tail = index;
}

struct dead { uint64_t seq, index; };

static int by_seq(const void *a, const void *b)
{
    uint64_t left = ((const struct dead *)a)->seq, right = ((const struct dead *)b)->seq;
    return left < right ? -1 : left > right;
}

static void finalizers_queue(struct gc *gc)
{
    struct dead *dead = (struct dead *)gc->dead.word;
    size_t count = gc->dead.count / 2;
    if (count)
        qsort(dead, count, sizeof *dead, by_seq);
    for (size_t i = 0; i < count; i++) {
        struct mm_handle *handle = handle_at(gc, dead[i].index);
        mm_store_relaxed(&handle->kind, MM_HANDLE_READY);
        if (trace_slot(&gc->tracer[0], &handle->word))
            group_is_young(gc, dead[i].index / MM_HANDLE_GROUP);
        queue_append(gc, (uint32_t)dead[i].index);
        gc->receipt.finalizers++;
    }
    gc->dead.count = 0;
}

/* What helpers met goes to the first tracer. */
static void gather(struct gc *gc)
{
    for (unsigned i = 1; i < gc->tracers; i++) {
        struct gc_tracer *tracer = &gc->tracer[i];
        for (size_t w = 0; w < tracer->weak.count; w++)
            note(gc, &gc->tracer[0].weak, tracer->weak.word[w]);
        for (size_t e = 0; e < tracer->ephemerons.count; e++)
            note(gc, &gc->tracer[0].ephemerons, tracer->ephemerons.word[e]);
        tracer->weak.count = tracer->ephemerons.count = 0;
    }
}

void weak_process(struct gc *gc)
{
    gather(gc);
    if (!gc->weak_table) {
        gc->weak_table = calloc(1, sizeof *gc->weak_table);
        if (!gc->weak_table) {
            mm_store_relaxed(&gc->lie, "no memory for its ephemerons");
            return;
        }
        gc->weak_table->count = 1;
    }
    if (!gc->weak_table->entry && gc->tracer[0].ephemerons.count && !table_grow(gc->weak_table)) {
        mm_store_relaxed(&gc->lie, "no memory for its ephemerons");
        return;
    }
    gc->ephemerons_wait = true;
    ephemerons_settle(gc);
    weak_objects(gc);
    for (size_t i = 0; i < gc->visited_groups.count; i++)
        on_group(gc, gc->visited_groups.word[i]);
    if (gc->dead.count) {
        finalizers_queue(gc);
        ephemerons_settle(gc);
        weak_objects(gc);
    }
    ephemerons_end(gc);
    gc->ephemerons_wait = false;
}
