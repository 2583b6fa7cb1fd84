/* gc_sim.c — collector and client library against a plain graph in malloc, interleaved in one thread from a seed.
 *
 * Up to four threads of the client are fibers: whenever one would sleep, at the doors between library and collector, and between any two
 * operations, the seed decides who goes on: a thread, or the collector with one of its slices. Everything that a program may do is done to the
 * heap and to a model of it: objects of all layouts, roots of all kinds, weak things, finalizers, pins, large objects, arenas. When a collection
 * has ended and nobody runs yet, model and heap are walked side by side: same shape, same contents; what is gone was unreachable; and after
 * a major collection exactly what is reachable is left.
 * A seed that fails is printed, and MORPH_TEST_SEED runs it alone. MORPH_SIM_SEEDS: how many; 2,000 if it is not set, 20 under sanitizers. */
#include "tests/unit/gc_sim.h"

#define FRAME         6                 /* references in a frame */
#define DEPTH         5
#define VARIABLES     4
#define OWN           4
#define SET           5
#define HANDLES       12
#define PINS          4
#define FINALIZERS    4096

/* ---- The model ---- */

enum kind { NODE, ARRAY, RAW, PAIRS, WIDE, WEAK, EPHEMERON, KINDS };

struct object {
    struct object  *next;
    struct object **ref;
    uint64_t        id, walked, bytes;
    uint32_t        refs, word, hash;
    enum kind       kind;
    uint64_t        reached;            /* number of the look that reached it */
    bool            late;               /* by way of a finalizer only */
    uint64_t        late_look;          /* the last look that reached it so */
    void           *at;                 /* where this look found it */
};

struct spot { void **slot; struct object **object; };

struct runner {
    morph_thread  *thread;              /* NULL: not attached */
    struct morph__thread *inner;
    void         **frame[DEPTH];
    struct object *frame_object[DEPTH][FRAME], *variable_object[VARIABLES], *own_object[OWN], *set_object[SET];
    void          *variable[VARIABLES], *own[OWN], *set[SET];
    unsigned       depth, variables, set_count, operations;
    bool           visits;
};

#include "tests/unit/gc_fibers.h"

struct finalizer { struct object *object; enum { REGISTERED, READY, DONE } state; };

static struct {
    uint64_t       seed;
    struct object *objects;
    uint64_t       ids, look;
    struct { morph_handle handle; struct object *object; bool used, weak; } handle[HANDLES];
    struct { void *at; struct object *object; } pin[PINS];
    struct finalizer finalizer[FINALIZERS], *ready[FINALIZERS];
    unsigned       finalizers, ready_count, ready_taken;
    morph_type     type[KINDS];
    uint64_t       cycles, put_offs, majors, markings, early, emptied, refusals;
} w;

/* ---- Layouts ---- */

#define WIDE_BYTES 616

static uint64_t ref_offset(const struct object *object, uint32_t i)
{
    switch (object->kind) {
    case PAIRS: return 8 + 24 * (uint64_t)(i / 2) + 8 + 8 * (i % 2);        /* number, reference, reference */
    case WIDE:  return i == 0 ? 8 : i == 1 ? 528 : 600;
    default:    return 8 + 8 * (uint64_t)i;
    }
}

static void **ref_slot(const struct object *object, void *at, uint32_t i) { return (void **)((char *)at + ref_offset(object, i)); }

static uint64_t mix(uint64_t id, uint64_t i)
{
    uint64_t x = (id << 20 ^ i) * 0x9e3779b97f4a7c15u;
    return (x ^ x >> 31) | 1;           /* odd: never an address */
}

/* Calls `each` for the words that are no references, thinly for long ones. */
static bool contents(const struct object *object, void *at, bool write)
{
    uint64_t *word = at;
    bool same = true;
#define CONTENT(index, value) do { if (write) word[index] = (value); else same &= word[index] == (value); } while (0)
    CONTENT(0, object->id << 1 | 1);
    if (object->kind == NODE)
        CONTENT(3, mix(object->id, 3));
    for (uint32_t i = 0; object->kind == PAIRS && i < object->refs / 2; i++)
        CONTENT(1 + 3 * i, mix(object->id, i));
    for (uint64_t i = 1; object->kind == RAW && i < object->bytes / 8; i += i < 32 ? 1 : 61)
        CONTENT(i, mix(object->id, i));
    if (object->kind == RAW && object->bytes >= 16)
        CONTENT(object->bytes / 8 - 1, mix(object->id, object->bytes / 8 - 1));
    if (object->kind == WIDE)
        CONTENT(70, mix(object->id, 70));
#undef CONTENT
    return same;
}

static void types_make(void)
{
    const morph_type_spec specs[KINDS] = {
        [NODE] = { .name = "node", .bytes = 32, .refs = MORPH_REF_OFFSETS(2, 8, 16) },
        [ARRAY] = { .name = "array", .bytes = 8, .element_bytes = 8, .element_refs = MORPH_ELEMENT_IS_REF },
        [PAIRS] = { .name = "pairs", .bytes = 8, .element_bytes = 24, .element_refs = MORPH_REF_OFFSETS(2, 8, 16) },
        [WIDE] = { .name = "wide", .bytes = WIDE_BYTES, .refs = MORPH_REF_OFFSETS(3, 8, 528, 600) },
        [WEAK] = { .name = "weak", .bytes = 8, .element_bytes = 8, .element_refs = MORPH_ELEMENT_IS_REF, .flags = MORPH_TYPE_WEAK },
        [EPHEMERON] = { .name = "ephemeron", .bytes = 8, .element_bytes = 16, .element_refs = MORPH_REF_OFFSETS(2, 0, 8), .flags = MORPH_TYPE_EPHEMERON },
    };
    for (unsigned k = 0; k < KINDS; k++)
        if (k != RAW)
            assert_int_equal(morph_type_register(sim.client, &specs[k], &w.type[k]), 0);
}

static struct object *object_make(enum kind kind, uint32_t refs, uint64_t bytes)
{
    struct object *object = calloc(1, sizeof *object + refs * sizeof *object->ref);
    assert_non_null(object);
    object->ref = (struct object **)(object + 1);
    object->kind = kind;
    object->refs = refs;
    object->bytes = bytes;
    object->id = ++w.ids;
    object->next = w.objects;
    w.objects = object;
    return object;
}

/* ---- The look: heap and model side by side, while nobody runs ---- */

struct pair { struct object *object; uint64_t word; };
static struct { struct pair *pair; size_t count, room; } todo;

static void todo_add(struct object *object, uint64_t word)
{
    if (todo.count == todo.room) {
        todo.room = todo.room ? todo.room * 2 : 4096;
        todo.pair = realloc(todo.pair, todo.room * sizeof *todo.pair);
        assert_non_null(todo.pair);
    }
    todo.pair[todo.count++] = (struct pair){ object, word };
}

/* A root of the model and what the heap has there: both or neither. */
static void root_add(struct object *object, uint64_t word)
{
    if ((object == NULL) != (word == 0))
        failed("a root was lost or found", __LINE__, object ? object->id : 0);
    else if (object)
        todo_add(object, word);
}

static void runner_roots(struct runner *runner)
{
    const struct mm_slot *slot = (const struct mm_slot *)runner->thread;
    const uint64_t *extra = mm_slot_roots((struct mm_slot *)runner->thread) + slot->roots_bytes / 8;
    bool out = slot->roots_extra_bytes != 0;            /* what was published counts until it has been taken back */
    unsigned n = 0;
    for (unsigned d = 0; d < runner->depth; d++)
        for (unsigned i = 0; i < FRAME; i++)
            root_add(runner->frame_object[d][i], (uintptr_t)runner->frame[d][i]);
    for (unsigned i = 0; i < runner->variables; i++, n++)
        root_add(runner->variable_object[i], out ? extra[n] : (uintptr_t)runner->variable[i]);
    for (unsigned i = 0; runner->visits && i < OWN; i++, n++)
        root_add(runner->own_object[i], out ? extra[n] : (uintptr_t)runner->own[i]);
    const struct gc_root_set *set = runner->set_count ? gc_root_set_find(sim.gc, runner->inner->index, 1) : NULL;
    must(!runner->set_count || (set && set->filled == runner->set_count));
    for (unsigned i = 0; set && i < runner->set_count; i++)
        root_add(runner->set_object[i], set->word[i]);
}

static struct mm_handle *handle_entry(uint32_t index)
{
    return &mm_control_handles(sim.heap->control, sim.heap->slot_count, sim.heap->space_count)[index];
}

static void all_roots(void)
{
    todo.count = 0;
    for (unsigned i = 0; i < FIBERS; i++)
        if (fiber[i].runner.thread)
            runner_roots(&fiber[i].runner);
    for (unsigned i = 0; i < HANDLES; i++)
        if (w.handle[i].used && !w.handle[i].weak)
            root_add(w.handle[i].object, handle_entry(w.handle[i].handle.index)->word);
    for (unsigned i = 0; i < PINS; i++)
        if (w.pin[i].object)
            root_add(w.pin[i].object, (uintptr_t)w.pin[i].at);
}

static struct object **reach_stack;
static size_t reach_count, reach_room, reached_count;

static void reach(struct object *object, bool late)
{
    if (!object || object->reached == w.look)
        return;
    object->reached = w.look;
    object->late = late;
    if (late)
        object->late_look = w.look;
    reached_count++;
    if (reach_count == reach_room) {
        reach_room = reach_room ? reach_room * 2 : 4096;
        reach_stack = realloc(reach_stack, reach_room * sizeof(struct object *));
        assert_non_null(reach_stack);
    }
    reach_stack[reach_count++] = object;
}

static bool is_reached(const struct object *object) { return object->reached == w.look; }

static void reach_drain(bool late)
{
    while (reach_count) {
        struct object *object = reach_stack[--reach_count];
        for (uint32_t i = 0; object->kind != WEAK && object->kind != EPHEMERON && i < object->refs; i++)
            reach(object->ref[i], late);
    }
}

/* What is reachable from what was reached: values of ephemerons too, once their keys are. */
static void reach_all(bool late)
{
    for (bool again = true; again; ) {
        reach_drain(late);
        again = false;
        for (struct object *object = w.objects; object; object = object->next)
            for (uint32_t i = 0; object->kind == EPHEMERON && is_reached(object) && i < object->refs; i += 2)
                if ((!object->ref[i] || is_reached(object->ref[i])) && object->ref[i + 1] && !is_reached(object->ref[i + 1])) {
                    reach(object->ref[i + 1], late);
                    again = true;
                }
    }
}

/* The queue as the collection has left it: behind what was in it, in the order of registration, objects that nothing else knew. */
static void look_at_queue(bool whole)
{
    unsigned known = w.ready_taken, last = 0;
    for (uint32_t index = sim.heap->control->ready_head; index; index = handle_entry(index)->next) {
        struct finalizer *finalizer = (struct finalizer *)(uintptr_t)handle_entry(index)->tag;
        if (known < w.ready_count) {
            must(w.ready[known++] == finalizer);
            continue;
        }
        unsigned number = (unsigned)(finalizer - w.finalizer) + 1;
        must_of(finalizer->object, finalizer->state == REGISTERED && !is_reached(finalizer->object) && number > last);
        if (failure[0])
            return;
        last = number;
        finalizer->state = READY;
        w.ready[w.ready_count++] = finalizer;
        known = w.ready_count;
    }
    must(known == w.ready_count);
    for (unsigned i = 0; whole && i < w.finalizers; i++)
        must_of(w.finalizer[i].object, w.finalizer[i].state != REGISTERED || is_reached(w.finalizer[i].object));
    for (unsigned i = 0; i < w.finalizers; i++)
        if (w.finalizer[i].state == READY)
            reach(w.finalizer[i].object, true);
}

/* A weak reference to `target` (in the model) that holds `word` (in the heap). `holder_seen`: when its holder was looked at before; since then it may have been
 * garbage that a marking had not found, and lost references to what only finalizers knew, be that strong again by now. */
static void weak_look(struct object **target, uint64_t word, bool holder_late, uint64_t holder_seen, bool whole)
{
    if (!*target) {
        must(word == 0);
        return;
    }
    bool alive = is_reached(*target) && (holder_late || !(*target)->late);
    if (word == 0) {                    /* a minor collection may have met a late holder early, by way of a dead old object */
        must_of(*target, !is_reached(*target) || ((*target)->late && (!holder_late || !whole)) || (holder_late && (*target)->late_look > holder_seen));
        *target = NULL;
        return;
    }
    must_of(*target, alive || !whole);
    todo_add(*target, word);
}

static void ephemeron_look(struct object *object, void *at, bool whole)
{
    for (uint32_t i = 0; i < object->refs; i += 2) {
        uint64_t key = (uintptr_t)*ref_slot(object, at, i), value = (uintptr_t)*ref_slot(object, at, i + 1);
        if (object->ref[i] && key == 0) {
            must_of(object, !is_reached(object->ref[i]) && value == 0);
            object->ref[i] = object->ref[i + 1] = NULL;
            continue;
        }
        must_of(object, !object->ref[i] || is_reached(object->ref[i]) || !whole);
        root_add(object->ref[i], key);
        root_add(object->ref[i + 1], value);
    }
}

static void object_look(struct object *object, uint64_t word, bool whole)
{
    void *at = (void *)(uintptr_t)word;
    if (object->walked == w.look) {
        must_of(object, object->at == at);
        return;
    }
    uint64_t seen = object->walked;
    object->walked = w.look;
    object->at = at;
    must_of(object, trace_off(sim.gc, word) != TRACE_NONE && sim_space(at) != GC_NOWHERE);
    if (failure[0])
        return;
    must_of(object, morph_object_bytes(at) == object->bytes && contents(object, at, false));
    must_of(object, morph_object_word(at) == object->word);
    must_of(object, *(uint32_t *)((char *)at - 4) == object->hash);
    if (failure[0])
        return;
    if (object->kind == EPHEMERON) {
        ephemeron_look(object, at, whole);
        return;
    }
    bool late = is_reached(object) && object->late;
    for (uint32_t i = 0; i < object->refs; i++)
        if (object->kind == WEAK)
            weak_look(&object->ref[i], (uintptr_t)*ref_slot(object, at, i), late, seen, whole);
        else
            root_add(object->ref[i], (uintptr_t)*ref_slot(object, at, i));
}

static void look(void)
{
    bool whole = sim.gc->pause == PAUSE_WHOLE;              /* what died while a marking went on may be left */
    if (failure[0] || sim.gc->lie || sim.heap->condemned)
        return;
    if (sim.gc->receipt.put_off) {
        w.put_offs++;
        return;
    }
    w.cycles++;
    w.majors += whole;
    w.markings += sim.gc->pause == PAUSE_END;
    w.emptied += sim.gc->pause == PAUSE_END ? sim.gc->receipt.evac_objects : 0;
    w.early += sim.gc->pause == PAUSE_END && sim.gc->receipt.mark_early;
    w.look++;
    reached_count = reach_count = 0;
    all_roots();
    for (size_t i = 0; i < todo.count; i++)
        reach(todo.pair[i].object, false);
    for (unsigned i = w.ready_taken; i < w.ready_count; i++)
        reach(w.ready[i]->object, false);
    reach_all(false);
    look_at_queue(whole);
    if (failure[0])
        return;
    reach_all(true);
    for (uint32_t index = sim.heap->control->ready_head; index; index = handle_entry(index)->next)
        root_add(((struct finalizer *)(uintptr_t)handle_entry(index)->tag)->object, handle_entry(index)->word);
    for (unsigned i = 0; i < HANDLES; i++)
        if (w.handle[i].used && w.handle[i].weak)
            weak_look(&w.handle[i].object, handle_entry(w.handle[i].handle.index)->word, false, 0, whole);
    while (todo.count && !failure[0]) {
        struct pair pair = todo.pair[--todo.count];
        object_look(pair.object, pair.word, whole);
    }
    if (whole && config.verify == VERIFY_FULL && !failure[0] && sim.gc->receipt.verified_objects != reached_count) {
        snprintf(failure, sizeof failure, "%llu objects are left of %llu that are reachable", (unsigned long long)sim.gc->receipt.verified_objects,
                 (unsigned long long)reached_count);
    }
}

/* ---- Operations: each of them holds no reference across a wait ---- */

static struct spot pick(struct runner *r)
{
    unsigned i = (unsigned)below(r->depth * FRAME + r->variables + (r->visits ? OWN : 0));
    if (i < r->depth * FRAME)
        return (struct spot){ &r->frame[i / FRAME][i % FRAME], &r->frame_object[i / FRAME][i % FRAME] };
    i -= r->depth * FRAME;
    if (i < r->variables)
        return (struct spot){ &r->variable[i], &r->variable_object[i] };
    i -= r->variables;
    return (struct spot){ &r->own[i], &r->own_object[i] };
}

static bool holds(const struct spot *place, bool array) { return *place->object && (*place->object)->refs && (!array || (*place->object)->kind == ARRAY); }

/* An object with references, or an array of them, if one is quickly found. */
static struct spot pick_holder(struct runner *r, bool array)
{
    struct spot place = pick(r);
    for (unsigned tries = 0; tries < 12 && !holds(&place, array); tries++)
        place = pick(r);
    return holds(&place, array) ? place : (struct spot){ NULL, NULL };
}

static void put(struct spot place, void *at, struct object *object)
{
    must((at == NULL) == (object == NULL));
    *place.slot = at;
    *place.object = object;
    if (object)
        must_of(object, *(uint64_t *)at == (object->id << 1 | 1));
}

static void drop_some(struct runner *r)
{
    for (unsigned i = 0; i < 8; i++)
        put(pick(r), NULL, NULL);
}

static uint32_t refs_for(enum kind kind)
{
    uint32_t some = one_in(40) ? (uint32_t)below(3000) : one_in(6) ? (uint32_t)below(200) : (uint32_t)below(12);
    switch (kind) {
    case NODE: return 2;
    case WIDE: return 3;
    case RAW:  return 0;
    case PAIRS:
    case EPHEMERON: return some / 8 * 2 + 2;
    default:   return some;
    }
}

static uint64_t bytes_for(enum kind kind, uint32_t refs)
{
    switch (kind) {
    case NODE:  return 32;
    case WIDE:  return WIDE_BYTES;
    case RAW:   return 8 + (one_in(30) ? below(80000) : one_in(5) ? below(9000) : below(300));
    case PAIRS: return 8 + (uint64_t)refs / 2 * 24;
    default:    return 8 + (uint64_t)refs * 8;
    }
}

static void *allocate(struct runner *r, enum kind kind, uint32_t refs, uint64_t bytes)
{
    switch (kind) {
    case RAW:       return morph_new_bytes(r->thread, bytes);
    case NODE:
    case WIDE:      return one_in(6) ? morph_new_hint(r->thread, w.type[kind], MORPH_HINT_LONG) : morph_new(r->thread, w.type[kind]);
    case PAIRS:
    case EPHEMERON: return morph_new_array(r->thread, w.type[kind], refs / 2);
    default:        return morph_new_array(r->thread, w.type[kind], refs);
    }
}

static void *allocated(struct runner *r, void *at, uint64_t bytes)
{
    if (!at) {
        int error = morph_thread_error(r->thread);
        must(error == MORPH_ENOMEM);
        w.refusals++;
        drop_some(r);
        return NULL;
    }
    for (uint64_t i = 0; i < bytes / 8; i += bytes < 512 ? 1 : 17)
        must(((uint64_t *)at)[i] == 0);
    must(morph_object_word(at) == 0 && *(uint32_t *)((char *)at - 4) == 0);
    return at;
}

static void do_new(struct runner *r)
{
    enum kind kind = one_in(3) ? (enum kind)below(KINDS) : one_in(2) ? NODE : ARRAY;
    uint32_t refs = refs_for(kind);
    uint64_t bytes = bytes_for(kind, refs);
    void *at = allocated(r, allocate(r, kind, refs, bytes), bytes);
    if (!at)
        return;
    struct object *object = object_make(kind, refs, bytes);
    contents(object, at, true);
    for (uint32_t i = 0; i < refs; i += i < 12 ? 1 : 37) {
        struct spot from = pick(r);
        if (bytes + MORPH_HEADER_BYTES > MORPH_SMALL_BYTES || one_in(8))
            morph_store(r->thread, at, ref_slot(object, at, i), *from.slot);
        else
            *ref_slot(object, at, i) = *from.slot;
        object->ref[i] = *from.object;
    }
    put(pick(r), at, object);
}

static void do_garbage(struct runner *r)
{
    for (uint64_t n = 1 + below(6); n; n--) {
        uint64_t bytes = 8 + below(one_in(3) ? 16000 : 3000);
        void *at = allocated(r, morph_new_bytes(r->thread, bytes), bytes);
        if (!at)
            return;
        memset(at, 0xa5, bytes);
    }
}

static void do_store(struct runner *r)
{
    struct spot to = pick_holder(r, false), from = pick(r);
    if (!to.slot)
        return;
    struct object *object = *to.object;
    uint32_t i = (uint32_t)below(object->refs);
    void *at = *to.slot, **slot = ref_slot(object, at, i), *value = one_in(4) ? NULL : *from.slot;
    struct object *value_object = value ? *from.object : NULL;
    void *was = *slot;
    must_of(object, (was == NULL) == (object->ref[i] == NULL));
    switch (below(4)) {
    case 0:
        must(morph_exchange(r->thread, at, slot, value) == was);
        break;
    case 1:
        must(morph_compare_exchange(r->thread, at, slot, was, value));
        must(was == value || !morph_compare_exchange(r->thread, at, slot, was, value));
        break;
    default:
        morph_store(r->thread, at, slot, value);
    }
    object->ref[i] = value_object;
}

static void do_load(struct runner *r)
{
    struct spot from = pick_holder(r, false);
    if (!from.slot)
        return;
    struct object *object = *from.object;
    uint32_t i = (uint32_t)below(object->refs);
    void **slot = ref_slot(object, *from.slot, i);
    put(pick(r), object->kind == WEAK || object->kind == EPHEMERON ? morph_weak_read(r->thread, slot) : *slot, object->ref[i]);
}

static void do_bulk(struct runner *r)
{
    struct spot to = pick_holder(r, true), from = pick_holder(r, true);
    if (!to.slot || !from.slot)
        return;
    struct object *target = *to.object, *source = *from.object;
    uint32_t most = target->refs < source->refs ? target->refs : source->refs, count = (uint32_t)below(most) + 1;
    uint32_t t = (uint32_t)below(target->refs - count + 1), s = (uint32_t)below(source->refs - count + 1);
    if (one_in(4)) {
        struct spot value = pick(r);
        morph_fill_refs(r->thread, *to.slot, ref_slot(target, *to.slot, t), *value.slot, count);
        for (uint32_t i = 0; i < count; i++)
            target->ref[t + i] = *value.object;
        return;
    }
    morph_copy_refs(r->thread, *to.slot, ref_slot(target, *to.slot, t), ref_slot(source, *from.slot, s), count);
    memmove(&target->ref[t], &source->ref[s], count * sizeof(struct object *));
}

static void do_marks(struct runner *r)
{
    struct spot place = pick(r);
    if (!*place.object)
        return;
    struct object *object = *place.object;
    if (one_in(2)) {
        object->word = (uint32_t)test_random_next(&draw);
        morph_object_set_word(*place.slot, object->word);
        return;
    }
    uint32_t hash = morph_identity_hash(r->thread, *place.slot);
    must_of(object, hash != 0 && (object->hash == 0 || object->hash == hash));
    object->hash = hash;
}

static void do_frames(struct runner *r)
{
    if (one_in(2) && r->depth < DEPTH) {
        r->frame[r->depth] = morph_frame_push(r->thread, FRAME * sizeof(void *));
        must(r->frame[r->depth]);
        memset(r->frame_object[r->depth], 0, sizeof r->frame_object[0]);
        r->depth++;
    } else if (r->depth > 1) {
        morph_frame_pop(r->thread, r->frame[--r->depth]);
    }
}

static void do_variables(struct runner *r)
{
    if (one_in(2) && r->variables < VARIABLES) {
        struct spot from = pick(r);
        r->variable[r->variables] = *from.slot;
        r->variable_object[r->variables] = *from.object;
        must(morph_root_push(r->thread, &r->variable[r->variables]) == 0);
        r->variables++;
    } else if (r->variables) {
        morph_root_pop(r->thread, 1);
        r->variables--;
    }
}

static void do_set(struct runner *r)
{
    if (r->set_count && one_in(2)) {
        unsigned i = (unsigned)below(r->set_count);
        put(pick(r), r->set[i], r->set_object[i]);
        return;
    }
    r->set_count = (unsigned)below(SET + 1);
    for (unsigned i = 0; i < r->set_count; i++) {
        struct spot from = pick(r);
        r->set[i] = *from.slot;
        r->set_object[i] = *from.object;
    }
    must(morph_roots_report(r->thread, 1, r->set, r->set_count) == 0);
}

static void do_handles(struct runner *r)
{
    unsigned i = (unsigned)below(HANDLES);
    struct spot place = pick(r);
    if (!w.handle[i].used) {
        w.handle[i].weak = one_in(2);
        w.handle[i].handle = w.handle[i].weak ? morph_handle_new_weak(r->thread, *place.slot) : morph_handle_new(r->thread, *place.slot);
        must(w.handle[i].handle.index);
        w.handle[i].object = *place.object;
        w.handle[i].used = true;
    } else if (one_in(4)) {
        morph_handle_free(r->thread, w.handle[i].handle);
        w.handle[i].used = false;
    } else if (one_in(3)) {
        morph_handle_set(r->thread, w.handle[i].handle, *place.slot);
        w.handle[i].object = *place.object;
    } else {
        put(place, morph_handle_get(r->thread, w.handle[i].handle), w.handle[i].object);
    }
}

static void do_pins(struct runner *r)
{
    unsigned i = (unsigned)below(PINS);
    if (w.pin[i].object) {
        must(morph_unpin(r->thread, w.pin[i].at) == 0);
        w.pin[i].object = NULL;
        return;
    }
    struct spot place = pick(r);
    if (!*place.object)
        return;
    must(morph_pin(r->thread, *place.slot) == 0);
    w.pin[i].at = *place.slot;
    w.pin[i].object = *place.object;
}

static void take_finalizers(struct runner *r, unsigned most)
{
    void *at, *word = NULL;
    while (most-- && (at = morph_finalizer_next(r->thread, &word))) {
        struct finalizer *finalizer = word;
        must(w.ready_taken < w.ready_count && w.ready[w.ready_taken] == finalizer);
        w.ready_taken++;
        finalizer->state = DONE;
        must_of(finalizer->object, *(uint64_t *)at == (finalizer->object->id << 1 | 1));
        if (r->depth && one_in(2))
            put(pick(r), at, finalizer->object);
    }
}

static void do_finalizers(struct runner *r)
{
    struct spot place = pick(r);
    if (one_in(3)) {
        take_finalizers(r, 2);
    } else if (*place.object && w.finalizers < FINALIZERS) {
        struct finalizer *finalizer = &w.finalizer[w.finalizers++];
        *finalizer = (struct finalizer){ *place.object, REGISTERED };
        must(morph_finalizer_set(r->thread, *place.slot, finalizer) == 0);
    }
}

static void do_native(struct runner *r)
{
    bool twice = one_in(4);
    morph_native_enter(r->thread);
    if (twice)
        morph_native_enter(r->thread);
    for (uint64_t n = below(6); n; n--)
        yield();
    morph_poll(r->thread);              /* nothing happens there */
    if (twice)
        morph_native_leave(r->thread);
    yield();
    morph_native_leave(r->thread);
}

static void do_collect(struct runner *r)
{
    int error = morph_collect(r->thread, (enum morph_collection)below(3));
    must(error == 0 || error == MORPH_EPUTOFF);
}

/* Memory that is not collected lives in the same heap. */
static void do_arena(struct runner *r)
{
    morph_arena *arena;
    char *part[8];
    uint64_t bytes[8];
    unsigned count = 0;
    must(morph_arena_new(r->thread, &arena) == 0);
    for (uint64_t n = 1 + below(8); count < n; count++) {
        bytes[count] = 1 + below(40000);
        if (!(part[count] = morph_arena_bytes(arena, bytes[count])))
            break;
        memset(part[count], (int)count + 1, bytes[count]);
        yield();
        morph_poll(r->thread);
    }
    for (unsigned i = 0; i < count; i++)
        must(memory_is(part[i], (unsigned char)(i + 1), bytes[i]));
    morph_arena_free(arena);
}

static void on_visit(void *argument, morph_root_report report, void *to)
{
    struct runner *r = argument;
    for (unsigned i = 0; i < OWN; i++)
        report(to, &r->own[i]);
}

static void attach(struct runner *r)
{
    morph_thread *thread;
    must(morph_thread_attach(sim.client, &thread) == 0);
    memset(r->own, 0, sizeof r->own);
    memset(r->own_object, 0, sizeof r->own_object);
    memset(r->frame_object, 0, sizeof r->frame_object);
    r->inner = morph__thread_of(thread);
    r->visits = one_in(2);
    if (r->visits)
        must(morph_thread_on_roots(thread, on_visit, r) == 0);
    r->frame[0] = morph_frame_push(thread, FRAME * sizeof(void *));
    r->depth = 1;
    r->variables = r->set_count = 0;
    r->thread = thread;
}

static void detach(struct runner *r)
{
    morph_thread *thread = r->thread;
    r->thread = NULL;                   /* from here on its roots are none */
    r->depth = 0;
    must(morph_thread_detach(thread) == 0);
}

static void do_again(struct runner *r)
{
    detach(r);
    yield();
    attach(r);
}

static const struct { void (*run)(struct runner *r); unsigned weight; } operations[] = {
    { do_new, 30 }, { do_garbage, 14 }, { do_store, 20 }, { do_load, 14 }, { do_bulk, 8 }, { do_marks, 4 }, { do_frames, 8 },
    { do_variables, 4 }, { do_set, 3 }, { do_handles, 10 }, { do_pins, 3 }, { do_finalizers, 4 }, { do_native, 4 }, { do_collect, 2 },
    { do_arena, 1 }, { do_again, 1 }, { drop_some, 3 },
};

static void operation(struct runner *r)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < sizeof operations / sizeof operations[0]; i++)
        sum += operations[i].weight;
    uint64_t n = below(sum);
    unsigned i = 0;
    for (; n >= operations[i].weight; i++)
        n -= operations[i].weight;
    operations[i].run(r);
}

static void fiber_main(void)
{
    struct runner *r = &current->runner;
    attach(r);
    while (r->operations--) {
        operation(r);
        if (one_in(3))
            morph_poll(r->thread);
        if (one_in(2))
            yield();
    }
    detach(r);
    current->alive = false;
    for (;;)
        yield();
}

/* ---- One seed ---- */

static void fibers_run(void)
{
    unsigned collector = 1 + (unsigned)below(4);
    for (uint64_t step = 0; fibers_alive() && !failure[0] && !sim.lie; step++) {
        world_ns += below(20000);
        if (step > 2000000)
            failed("nothing happens any more", __LINE__, 0);
        if (below(6) < collector) {
            (void)sim_serve();
            if (one_in(8))
                (void)sim_background();
            continue;
        }
        (void)fiber_step(&fiber[below(FIBERS)], 20);
    }
}

/* When nobody knows anything any more, nothing is left. */
static void all_gone(void)
{
    struct runner r = { .depth = 0 };
    assert_int_equal(morph_thread_attach(sim.client, &r.thread), 0);
    must(morph_collect(r.thread, MORPH_COLLECT_MAJOR) == 0);
    for (unsigned i = 0; i < HANDLES; i++)
        if (w.handle[i].used) {
            morph_handle_free(r.thread, w.handle[i].handle);
            w.handle[i].used = false;
        }
    for (unsigned i = 0; i < PINS; i++)
        if (w.pin[i].object) {
            must(morph_unpin(r.thread, w.pin[i].at) == 0);
            w.pin[i].object = NULL;
        }
    for (unsigned round = 0; round < 3 && !failure[0] && !sim.lie; round++) {
        must(morph_collect(r.thread, MORPH_COLLECT_MAJOR) == 0);
        take_finalizers(&r, FINALIZERS);
    }
    while (sim_background())
        ;
    must(sim.gc->receipt.verified_objects == 0);
    must(sim.gc->old_blocks == 0 && sim.gc->large_blocks == 0 && sim.gc->old_free_bytes == 0);
    must(sim.gc->grants == 0 && sim.gc->survivor_blocks == 0 && sim.gc->root_set_words == 0);
    assert_int_equal(morph_thread_detach(r.thread), 0);
}

static void seed_run(uint64_t seed)
{
    static const uint64_t limits[] = { MIB, 2 * MIB, 4 * MIB }, ticks[] = { 1000, 20000, 70000, 250000 };
    memset(&w, 0, sizeof w);
    w.seed = seed;
    seed_begin(seed);
    config.verify = VERIFY_FULL;
    config.evacuate = 1;
    config.stress = seed % 2 ? 1 + below(4) : 0;
    config.stop_deadline = one_in(4) ? 1 : 100;         /* ms: some collections are put off */
    sim_open(&(struct sim_options){ .limit_bytes = limits[below(3)], .young_bytes = (1 + below(4)) * 64 * KIB, .promotion_age = 1 + (uint32_t)below(4),
                                    .start_bytes = (1 + below(16)) * 64 * KIB, .threads = FIBERS });
    sim.tick_ns = ticks[below(4)];
    sim.gc->drain_round = (uint32_t[]){ 1, 5, GC_DRAIN_ROUND }[below(3)];       /* a slow marking meets more changes */
    types_make();
    sim.resume = look;
    unsigned threads = 1 + (unsigned)below(FIBERS);
    fibers_start(threads, fiber_main);
    for (unsigned i = 0; i < FIBERS; i++)
        fiber[i].runner.operations = (unsigned)below(250) / threads + 40;
    fibers_run();
    fibers_stop();
    if (!failure[0] && !sim.lie)
        all_gone();
    seed_check(seed);
    for (struct object *object = w.objects, *next; object; object = next) {
        next = object->next;
        free(object);
    }
    sim_close();
    world_settle();
}

static void heap_and_model_agree_whatever_the_order(void **state)
{
    uint64_t first, seeds = seeds_wanted(2000 / (test_slowness() * test_slowness()), &first);
    uint64_t cycles = 0, majors = 0, markings = 0, early = 0, emptied = 0, put_offs = 0, refusals = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        seed_run(seed);
        cycles += w.cycles;
        majors += w.majors;
        markings += w.markings;
        early += w.early;
        emptied += w.emptied;
        put_offs += w.put_offs;
        refusals += w.refusals;
    }
    print_message("%llu seeds: %llu collections, %llu of them whole, %llu ends of a marking (%llu early, %llu objects evacuated), %llu put off; "
                  "%llu allocations refused\n", (unsigned long long)seeds,
                  (unsigned long long)cycles, (unsigned long long)majors, (unsigned long long)markings, (unsigned long long)early, (unsigned long long)emptied,
                  (unsigned long long)put_offs, (unsigned long long)refusals);
    fibers_free();
    free(todo.pair);
    free(reach_stack);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(heap_and_model_agree_whatever_the_order),
    };
    return test_run(cases);
}
