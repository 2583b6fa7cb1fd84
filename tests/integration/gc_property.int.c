/* gc_property.int.c — a collected heap against a plain graph in malloc: any seeded sequence of allocations, stores of every kind, roots of
 * every kind that come and go, weak things, finalizers, pins, collections, blocking calls, threads that leave and come back. What the
 * model reaches is in the heap with the same shape and the same payload; what it does not is gone after a major collection.
 *
 * A thread has a graph of its own, which no other touches, so that its model needs no lock; beside it the threads pass parcels (small trees
 * that say themselves how they must look) over a shared board and shared handles.
 * Weak things are not exact between major collections: what only dead objects refer to may be gone or not. The model knows three sets:
 * what is reached, what is reached if all pending finalizers count, and what anything at all (weak references too) leads to.
 * A node that was unreached once and came back is `dim`: weak references to it may have become NULL meanwhile.
 *
 * Built twice: the _debug one defines MORPH_DEBUG and collects at every n-th allocation (MORPHMEM_STRESS). Runs each configuration once,
 * and goes on with further seeds for MORPH_PROPERTY_SECONDS. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"

#define NODES      6000u
#define FRAMES     8u
#define FRAME_REFS 6u
#define VARIABLES  12u
#define STACK      32u
#define HANDLES    16u
#define SET        6u
#define PINS       6u
#define FINALIZERS 200u
#define THREADS    4u
#define BOARD      24u
#define SHARED     8u

/* ---- Layouts ---- */

enum { FIXED, WIDE, VECTOR, STRUCTS, ODD, LEAF, BYTES, WEAK, EPHEMERON, LAYOUTS };

static const uint32_t fixed_refs[] = { 8, 24, 32 }, wide_refs[] = { 8, 248, 504, 512, 520, 792 }, vector_refs[] = { 8 }, first[] = { 0 },
                      middle[] = { 8, 16 }, odd[] = { 16 }, weak_refs[] = { 8, 24 }, pair[] = { 8, 16 }, pair_element[] = { 0, 8 };
static const struct morph_type_spec layout[LAYOUTS] = {
    [FIXED]     = { .name = "fixed", .bytes = 56, .refs = { fixed_refs, 3 } },
    [WIDE]      = { .name = "wide", .bytes = 800, .refs = { wide_refs, 6 } },
    [VECTOR]    = { .name = "vector", .bytes = 16, .refs = { vector_refs, 1 }, .element_bytes = 8, .element_refs = { first, 1 } },
    [STRUCTS]   = { .name = "structs", .bytes = 8, .element_bytes = 32, .element_refs = { middle, 2 } },
    [ODD]       = { .name = "odd", .bytes = 24, .refs = { vector_refs, 1 }, .element_bytes = 24, .element_refs = { odd, 1 } },
    [LEAF]      = { .name = "leaf", .bytes = 24, .element_bytes = 4 },
    [BYTES]     = { .name = "bytes", .bytes = 8, .element_bytes = 1 },          /* morph_new_bytes: not registered */
    [WEAK]      = { .name = "weak", .bytes = 32, .refs = { weak_refs, 2 }, .element_bytes = 8, .element_refs = { first, 1 }, .flags = MORPH_TYPE_WEAK },
    [EPHEMERON] = { .name = "ephemeron", .bytes = 24, .refs = { pair, 2 }, .element_bytes = 16, .element_refs = { pair_element, 2 },
                    .flags = MORPH_TYPE_EPHEMERON },
};
#define PARCEL_BYTES 32u
static const uint32_t parcel_refs[] = { 8, 16 };

struct config {
    const char *name, *daemon[4];
    uint64_t    limit_bytes, young_min_bytes, young_max_bytes;
    uint32_t    promotion_age;
    unsigned    threads, steps, nodes, debug_stress;
    bool        no_moving;              /* what is dead may live on: any word on a machine stack may refer to it */
};

/* ---- The model ---- */

struct node {
    bool         used, dim;
    uint8_t      kind, marks;           /* enum mark */
    uint64_t     id;
    uint32_t     elements, word, hash, pins, refs;
    int         *ref;                   /* nodes; -1: NULL */
    morph_handle witness;               /* weak; 0: none */
    void        *at;                    /* as of the walk `seen` */
    uint64_t     seen;
};
enum mark { REACHED = 1, PENDING = 2, LINKED = 4, SCRATCH = 8 };

struct finalizer { int node; uint64_t word; };

struct world {
    const struct config *config;
    morph_heap   *heap;
    morph_type    type[LAYOUTS], parcel, board_type;
    morph_handle  board, shared[SHARED];
    atomic_flag   busy[SHARED];
    atomic_bool   failed;
};

struct player {
    struct world      *world;
    struct test_random random;
    unsigned           number;
    morph_thread      *me;
    struct node       *node;
    int               *todo;
    unsigned           used;
    uint64_t           next_id, walk;
    struct { void **at; int node[FRAME_REFS]; } frame[FRAMES];
    unsigned           frames, variables, depth;
    void              *variable[VARIABLES], *stack[STACK], *set[SET], *parcel;
    int                variable_node[VARIABLES], stack_node[STACK], handle_node[HANDLES], set_node[SET], pin_node[PINS];
    void              *pin_at[PINS];
    morph_handle       handle[HANDLES];
    struct finalizer   finalizer[FINALIZERS];
    unsigned           finalizers;
    uint64_t           step, refused;
    bool               no_sets;
    char               complaint[200];
};

#define COMPLAIN(p, ...)                                                                        \
    do {                                                                                        \
        if (!(p)->complaint[0])                                                                 \
            (void)snprintf((p)->complaint, sizeof (p)->complaint, __VA_ARGS__);                 \
        atomic_store(&(p)->world->failed, true);                                                \
    } while (0)
#define MUST(p, condition)                                                                      \
    do {                                                                                        \
        if (!(condition)) {                                                                     \
            COMPLAIN(p, "line %d: %s (%s, heap: %s)", __LINE__, #condition,                     \
                     morph_error_name(morph_thread_error((p)->me)), morph_error_name(morph_heap_status((p)->world->heap))); \
            return;                                                                             \
        }                                                                                       \
    } while (0)

static uint64_t pick(struct player *p, uint64_t bound) { return test_random_below(&p->random, bound); }

static uint64_t word_at(uint64_t id, uint64_t off)
{
    uint64_t z = (id + off) * 0xbf58476d1ce4e5b9u;
    return z ^ z >> 29;
}

static uint64_t node_bytes(const struct node *n) { return layout[n->kind].bytes + (uint64_t)n->elements * layout[n->kind].element_bytes; }

/* Offset of the i-th reference. */
static uint64_t ref_off(const struct node *n, uint32_t i)
{
    const struct morph_type_spec *l = &layout[n->kind];
    if (i < l->refs.count)
        return l->refs.offset[i];
    i -= l->refs.count;
    return l->bytes + (uint64_t)(i / l->element_refs.count) * l->element_bytes + l->element_refs.offset[i % l->element_refs.count];
}

static void **slot(const struct node *n, void *at, uint32_t i) { return (void **)((char *)at + ref_off(n, i)); }

static bool is_ref(const struct node *n, uint64_t off)
{
    const struct morph_type_spec *l = &layout[n->kind];
    if (off < l->bytes) {
        for (uint32_t i = 0; i < l->refs.count; i++)
            if (l->refs.offset[i] == off)
                return true;
        return false;
    }
    for (uint32_t i = 0; i < l->element_refs.count; i++)
        if (l->element_refs.offset[i] == (off - l->bytes) % l->element_bytes)
            return true;
    return false;
}

static void payload_fill(const struct node *n, char *at)
{
    uint64_t bytes = node_bytes(n), off = 8;
    *(uint64_t *)at = n->id;
    if (n->kind == VECTOR)
        return;
    for (; off + 8 <= bytes; off += 8)
        if (!is_ref(n, off))
            *(uint64_t *)(at + off) = word_at(n->id, off);
    for (; off < bytes; off++)
        at[off] = (char)word_at(n->id, off);
}

static bool payload_intact(const struct node *n, const char *at)
{
    uint64_t bytes = node_bytes(n), off = 8;
    if (*(const uint64_t *)at != n->id)
        return false;
    if (n->kind == VECTOR)
        return true;
    for (; off + 8 <= bytes; off += 8)
        if (!is_ref(n, off) && *(const uint64_t *)(at + off) != word_at(n->id, off))
            return false;
    for (; off < bytes; off++)
        if (at[off] != (char)word_at(n->id, off))
            return false;
    return true;
}

/* ---- Roots: one flat numbering over all kinds ---- */

#define ROOT_VARIABLES (FRAMES * FRAME_REFS)
#define ROOT_STACK     (ROOT_VARIABLES + VARIABLES)
#define ROOT_SET       (ROOT_STACK + STACK)
#define ROOT_HANDLES   (ROOT_SET + SET)         /* those below need no call of the library to be read */
#define ROOT_PINS      (ROOT_HANDLES + HANDLES)
#define ROOTS          (ROOT_PINS + PINS)

/* Its node, or NULL: there is no such root now. */
static int *root_node(struct player *p, unsigned r)
{
    if (r < ROOT_VARIABLES)
        return r / FRAME_REFS < p->frames ? &p->frame[r / FRAME_REFS].node[r % FRAME_REFS] : NULL;
    if (r < ROOT_STACK)
        return r - ROOT_VARIABLES < p->variables ? &p->variable_node[r - ROOT_VARIABLES] : NULL;
    if (r < ROOT_SET)
        return r - ROOT_STACK < p->depth ? &p->stack_node[r - ROOT_STACK] : NULL;
    if (r < ROOT_HANDLES)
        return p->no_sets ? NULL : &p->set_node[r - ROOT_SET];
    if (r < ROOT_PINS)
        return &p->handle_node[r - ROOT_HANDLES];
    return &p->pin_node[r - ROOT_PINS];
}

static void *root_get(struct player *p, unsigned r)
{
    if (r < ROOT_VARIABLES)
        return p->frame[r / FRAME_REFS].at[r % FRAME_REFS];
    if (r < ROOT_STACK)
        return p->variable[r - ROOT_VARIABLES];
    if (r < ROOT_SET)
        return p->stack[r - ROOT_STACK];
    if (r < ROOT_HANDLES)
        return p->set[r - ROOT_SET];
    if (r < ROOT_PINS)
        return morph_handle_get(p->me, p->handle[r - ROOT_HANDLES]);
    return p->pin_at[r - ROOT_PINS];
}

/* No safepoint. Pins are set elsewhere. */
static void root_set(struct player *p, unsigned r, int node, void *at)
{
    *root_node(p, r) = node;
    if (r < ROOT_VARIABLES)
        p->frame[r / FRAME_REFS].at[r % FRAME_REFS] = at;
    else if (r < ROOT_STACK)
        p->variable[r - ROOT_VARIABLES] = at;
    else if (r < ROOT_SET)
        p->stack[r - ROOT_STACK] = at;
    else if (r < ROOT_HANDLES) {
        p->set[r - ROOT_SET] = at;
        MUST(p, morph_roots_report(p->me, 7, p->set, SET) == 0);
    } else if (r < ROOT_PINS)
        morph_handle_set(p->me, p->handle[r - ROOT_HANDLES], at);
}

static unsigned root_any(struct player *p)
{
    for (;;) {
        unsigned r = (unsigned)pick(p, ROOT_PINS);
        if (r >= ROOT_SET && r < ROOT_HANDLES && pick(p, 8))    /* a round trip each */
            continue;
        if (root_node(p, r))
            return r;
    }
}

static void visit(void *argument, morph_root_report report, void *to)
{
    struct player *p = argument;
    report(to, &p->parcel);
    for (unsigned i = 0; i < p->depth; i++)
        report(to, &p->stack[i]);
}

/* Some node that is reached, and where it is now; -1: none found. `plain`: calls nothing of the library. */
static int find(struct player *p, void **ret_at, bool plain)
{
    for (unsigned tries = 0; tries < 12; tries++) {
        unsigned r = (unsigned)pick(p, plain ? ROOT_HANDLES : ROOTS);
        int *root = root_node(p, r), n = root ? *root : -1;
        if (n < 0)
            continue;
        void *at = root_get(p, r);
        for (unsigned hop = (unsigned)pick(p, 6); hop; hop--) {
            const struct node *node = &p->node[n];
            if (!node->refs || layout[node->kind].flags)
                break;
            uint32_t i = (uint32_t)pick(p, node->refs);
            if (node->ref[i] < 0)
                continue;
            at = *slot(node, at, i);
            n = node->ref[i];
        }
        *ret_at = at;
        return n;
    }
    return -1;
}

static int find_kind(struct player *p, void **ret_at, bool (*fits)(const struct node *))
{
    for (unsigned tries = 0; tries < 10; tries++) {
        int n = find(p, ret_at, false);
        if (n >= 0 && fits(&p->node[n]))
            return n;
    }
    return -1;
}

static bool has_refs(const struct node *n) { return n->refs > 0 && n->kind != EPHEMERON; }
static bool is_vector(const struct node *n) { return n->kind == VECTOR && n->elements > 1; }
static bool is_ephemeron(const struct node *n) { return n->kind == EPHEMERON; }
static bool is_weak(const struct node *n) { return layout[n->kind].flags != 0; }
static bool is_any(const struct node *n) { return n->used; }

/* ---- What is reached ---- */

static unsigned push(struct player *p, unsigned count, int n, uint8_t mark)
{
    if (n < 0 || p->node[n].marks & mark)
        return count;
    p->node[n].marks |= mark;
    p->todo[count++] = n;
    return count;
}

static void spread(struct player *p, unsigned count, uint8_t mark, bool all)
{
    for (bool more = true; more;) {
        while (count) {
            const struct node *n = &p->node[p->todo[--count]];
            for (uint32_t i = 0; i < n->refs && (all || !layout[n->kind].flags); i++)
                count = push(p, count, n->ref[i], mark);
        }
        more = false;
        for (unsigned i = 0; i < NODES; i++)        /* `all`: of ephemerons that are not marked too, which a marked key can bring to life */
            if (p->node[i].used && p->node[i].kind == EPHEMERON && (all || p->node[i].marks & mark))
                for (uint32_t k = 0; k < p->node[i].refs; k += 2)
                    if (p->node[i].ref[k] >= 0 && p->node[p->node[i].ref[k]].marks & mark)
                        count = push(p, count, p->node[i].ref[k + 1], mark);
        more = count > 0;
    }
}

static unsigned push_roots(struct player *p, uint8_t mark)
{
    unsigned count = 0;
    for (unsigned i = 0; i < NODES; i++)
        p->node[i].marks &= (uint8_t)~mark;
    for (unsigned r = 0; r < ROOTS; r++)
        if (root_node(p, r))
            count = push(p, count, *root_node(p, r), mark);
    return count;
}

static void reach(struct player *p)
{
    spread(p, push_roots(p, REACHED), REACHED, false);
    unsigned count = push_roots(p, PENDING);
    for (unsigned i = 0; i < p->finalizers; i++)
        count = push(p, count, p->finalizer[i].node, PENDING);
    spread(p, count, PENDING, false);
}

/* A node came back from the dead, or nearly: what it leads to may have lost weak references meanwhile. REACHED is from before. */
static void came_back(struct player *p, int n)
{
    for (unsigned i = 0; i < NODES; i++)
        p->node[i].marks &= (uint8_t)~SCRATCH;
    spread(p, push(p, 0, n, SCRATCH), SCRATCH, true);
    for (unsigned i = 0; i < NODES; i++)
        if (p->node[i].marks & SCRATCH && !(p->node[i].marks & REACHED))
            p->node[i].dim = true;
}

/* ---- The walk: heap against model ---- */

static unsigned walk_node(struct player *p, unsigned count, int index, void *at)
{
    struct node *n = &p->node[index];
    if (p->complaint[0])
        return 0;
    if (!at || (uintptr_t)at % 16) {
        COMPLAIN(p, "node %d (%s): is at %p", index, layout[n->kind].name, at);
        return 0;
    }
    if (n->seen == p->walk) {
        if (n->at != at)
            COMPLAIN(p, "node %d (%s): at two places", index, layout[n->kind].name);
        return count;
    }
    n->seen = p->walk;
    n->at = at;
    if (morph_object_bytes(at) != node_bytes(n) || morph_object_type(p->world->heap, at) != p->world->type[n->kind] || !payload_intact(n, at))
        COMPLAIN(p, "node %d (%s, %u elements) at %p: another object, or damaged (id %llx, expected %llx; %llu bytes)", index, layout[n->kind].name,
                 n->elements, at, *(unsigned long long *)at, (unsigned long long)n->id, (unsigned long long)morph_object_bytes(at));
    else if (morph_object_word(at) != n->word)
        COMPLAIN(p, "node %d (%s): its word is lost", index, layout[n->kind].name);
    else if (n->hash && morph_identity_hash(p->me, at) != n->hash)
        COMPLAIN(p, "node %d (%s): its identity hash has changed", index, layout[n->kind].name);
    if (p->complaint[0])
        return 0;
    p->todo[count++] = index;
    return count;
}

/* A weak reference to node `n`: may it be NULL, may it be there? */
static void walk_weak_judge(struct player *p, int n, const void *there, bool after_major)
{
    const struct node *to = &p->node[n];
    if (!there && to->marks & REACHED && !to->dim)
        COMPLAIN(p, "node %d (%s): reached, and a weak reference to it is NULL", n, layout[to->kind].name);
    if (there && after_major && !(to->marks & PENDING) && !p->world->config->no_moving)
        COMPLAIN(p, "node %d (%s): dead, and a weak reference to it is not NULL after a major collection", n, layout[to->kind].name);
}

static unsigned walk_pairs(struct player *p, unsigned count, struct node *n, bool after_major)
{
    for (uint32_t i = 0; i < n->refs; i += 2) {
        void *key = *slot(n, n->at, i), *value = *slot(n, n->at, i + 1);
        if (n->ref[i] < 0 || !key) {
            if (key || value)
                COMPLAIN(p, "half an ephemeron: %p, %p", key, value);
            if (n->ref[i] >= 0)
                walk_weak_judge(p, n->ref[i], NULL, after_major);
            n->ref[i] = n->ref[i + 1] = -1;
            continue;
        }
        walk_weak_judge(p, n->ref[i], key, after_major);
        count = walk_node(p, count, n->ref[i], key);
        count = walk_node(p, count, n->ref[i + 1], value);
    }
    return count;
}

static unsigned walk_refs(struct player *p, unsigned count, struct node *n, bool after_major)
{
    bool weak = n->kind == WEAK;
    for (uint32_t i = 0; i < n->refs && !p->complaint[0]; i++) {
        void *to = *slot(n, n->at, i);
        if (n->ref[i] < 0) {
            if (to)
                COMPLAIN(p, "node of %s: reference %u is %p, and NULL in the model", layout[n->kind].name, i, to);
            continue;
        }
        if (weak)
            walk_weak_judge(p, n->ref[i], to, after_major);
        if (weak && !to)
            n->ref[i] = -1;
        else
            count = walk_node(p, count, n->ref[i], to);
    }
    return count;
}

static void walk_witnesses(struct player *p, bool after_major)
{
    for (unsigned i = 0; i < NODES && !p->complaint[0]; i++) {
        struct node *n = &p->node[i];
        if (!n->used || !n->witness.index)
            continue;
        void *there = morph_handle_get(p->me, n->witness);
        walk_weak_judge(p, (int)i, there, after_major);
        if (there && n->seen == p->walk && n->at != there)
            COMPLAIN(p, "node %u: a weak handle leads elsewhere", i);
        if (!there) {
            morph_handle_free(p->me, n->witness);
            n->witness.index = 0;
        }
    }
}

static void node_forget(struct player *p, struct node *n)
{
    free(n->ref);
    *n = (struct node){ .used = false };
    p->used--;
}

/* Nodes that nothing leads to any more. */
static void prune(struct player *p)
{
    unsigned count = push_roots(p, LINKED);
    for (unsigned i = 0; i < p->finalizers; i++)
        count = push(p, count, p->finalizer[i].node, LINKED);
    for (unsigned i = 0; i < NODES; i++)
        if (p->node[i].used && p->node[i].witness.index)
            count = push(p, count, (int)i, LINKED);
    spread(p, count, LINKED, true);
    for (unsigned i = 0; i < NODES; i++)
        if (p->node[i].used && !(p->node[i].marks & LINKED))
            node_forget(p, &p->node[i]);
}

/* The marks are from before the collection if there was one. */
static void walk(struct player *p, bool after_major)
{
    unsigned count = 0;
    p->walk++;
    for (unsigned r = 0; r < ROOTS; r++)
        if (root_node(p, r) && *root_node(p, r) >= 0)
            count = walk_node(p, count, *root_node(p, r), root_get(p, r));
    while (count && !p->complaint[0]) {
        struct node *n = &p->node[p->todo[--count]];
        count = n->kind == EPHEMERON ? walk_pairs(p, count, n, after_major) : walk_refs(p, count, n, after_major);
    }
    walk_witnesses(p, after_major);
    if (!p->complaint[0])
        prune(p);
}

/* ---- Moves ---- */

static void drop_many(struct player *p)
{
    for (unsigned r = 0; r < ROOT_PINS; r++)
        if (root_node(p, r) && *root_node(p, r) >= 0 && pick(p, 2))
            root_set(p, r, -1, NULL);
}

/* An allocation was refused: the limit is the only reason there may be. */
static void refused(struct player *p)
{
    MUST(p, morph_thread_error(p->me) == MORPH_ENOMEM);
    p->refused++;
    drop_many(p);
}

static void *object_new(struct player *p, const struct node *n)
{
    morph_type type = p->world->type[n->kind];
    if (n->kind == BYTES)
        return morph_new_bytes(p->me, node_bytes(n));
    if (n->elements)
        return morph_new_array(p->me, type, n->elements);
    return pick(p, 6) ? morph_new(p->me, type) : morph_new_hint(p->me, type, (enum morph_hint)pick(p, 3));
}

static uint32_t elements_any(struct player *p, unsigned kind)
{
    uint64_t most = p->world->config->limit_bytes / 24, element = layout[kind].element_bytes;
    if (!element)
        return 0;
    most = most > 300 * KiB ? 300 * KiB : most;
    if (pick(p, 40) == 0)                       /* large, mostly */
        return (uint32_t)(pick(p, most) / element);
    return (uint32_t)pick(p, kind == BYTES || kind == LEAF ? 200 : 12) * (pick(p, 30) ? 1u : 20u);
}

static void fresh_init(struct player *p, struct node *n, char *at)
{
    bool large = node_bytes(n) + MORPH_HEADER_BYTES > MORPH_SMALL_BYTES;
    for (uint32_t i = 0; i < n->refs; i++)
        n->ref[i] = -1;
    for (uint32_t tries = 0; n->refs && n->kind != EPHEMERON && tries < 4; tries++) {
        void *to_at;
        int to = find(p, &to_at, !large);
        uint32_t i = (uint32_t)pick(p, n->refs);
        if (to < 0)
            continue;
        if (large)
            morph_store(p->me, at, slot(n, at, i), to_at);
        else
            *slot(n, at, i) = to_at;            /* the latest allocation, and nothing of the library in between */
        n->ref[i] = to;
    }
    payload_fill(n, at);
}

static void allocate(struct player *p)
{
    if (p->used >= p->world->config->nodes) {
        drop_many(p);
        prune(p);
        return;
    }
    int index = -1;
    for (unsigned i = (unsigned)pick(p, NODES), tried = 0; tried < NODES; tried++, i = (i + 1) % NODES)
        if (!p->node[i].used) {
            index = (int)i;
            break;
        }
    if (index < 0)
        return;
    struct node *n = &p->node[index];
    *n = (struct node){ .kind = (uint8_t)pick(p, LAYOUTS), .id = (uint64_t)(p->number + 1) << 40 | ++p->next_id };
    n->elements = elements_any(p, n->kind);
    n->refs = layout[n->kind].refs.count + n->elements * layout[n->kind].element_refs.count;
    void *at = object_new(p, n);
    if (!at) {
        refused(p);
        return;
    }
    MUST(p, (uintptr_t)at % 16 == 0 && morph_object_bytes(at) == node_bytes(n));
    MUST(p, client_zero(at, node_bytes(n)) && morph_object_word(at) == 0);
    n->ref = malloc((n->refs + 1) * sizeof *n->ref);
    n->used = true;
    p->used++;
    fresh_init(p, n, at);
    root_set(p, root_any(p), index, at);
    if (pick(p, 4) == 0)
        n->witness = morph_handle_new_weak(p->me, at);
}

/* A reference of an object, in one of the ways there are. */
static void store(struct player *p)
{
    void *at, *to_at = NULL;
    int n = find_kind(p, &at, has_refs), to = pick(p, 6) ? find(p, &to_at, false) : -1;
    if (n < 0)
        return;
    struct node *node = &p->node[n];
    uint32_t i = (uint32_t)pick(p, node->refs);
    void **where = slot(node, at, i), *old = *where;
    if (to < 0)
        to_at = NULL;
    switch (node->kind == WEAK ? 0 : pick(p, 5)) {
    case 0:
    case 1:
        morph_store(p->me, at, where, to_at);
        break;
    case 2:
        MUST(p, morph_exchange(p->me, at, where, to_at) == old);
        break;
    case 3:
        MUST(p, morph_compare_exchange(p->me, at, where, old, to_at));
        break;
    default:
        MUST(p, !morph_compare_exchange(p->me, at, where, at == old ? NULL : at, to_at));
        return;
    }
    MUST(p, *where == to_at);
    node->ref[i] = to;
}

static void copy_refs(struct player *p)
{
    void *at, *from_at;
    int n = find_kind(p, &at, is_vector), from = pick(p, 3) ? n : find_kind(p, &from_at, is_vector);
    if (n < 0 || from < 0)
        return;
    from_at = from == n ? at : from_at;
    struct node *to_node = &p->node[n], *from_node = &p->node[from];
    uint32_t i = 1 + (uint32_t)pick(p, to_node->elements), j = 1 + (uint32_t)pick(p, from_node->elements);
    uint32_t most = to_node->elements + 1 - i < from_node->elements + 1 - j ? to_node->elements + 1 - i : from_node->elements + 1 - j;
    uint32_t count = (uint32_t)pick(p, most + 1);
    morph_copy_refs(p->me, at, slot(to_node, at, i), slot(from_node, from_at, j), count);
    memmove(&to_node->ref[i], &from_node->ref[j], count * sizeof *to_node->ref);
}

static void fill_refs(struct player *p)
{
    void *at, *to_at = NULL;
    int n = find_kind(p, &at, is_vector), to = pick(p, 2) ? find(p, &to_at, false) : -1;
    if (n < 0)
        return;
    struct node *node = &p->node[n];
    uint32_t i = 1 + (uint32_t)pick(p, node->elements), count = (uint32_t)pick(p, node->elements + 2 - i);
    count = count > 60 && pick(p, 10) ? 60 : count;
    morph_fill_refs(p->me, at, slot(node, at, i), to < 0 ? NULL : to_at, count);
    for (uint32_t k = i; k < i + count; k++)
        node->ref[k] = to;
}

static void store_pair(struct player *p)
{
    void *at, *key_at, *value_at;
    int n = find_kind(p, &at, is_ephemeron), key = find(p, &key_at, false), value = find(p, &value_at, false);
    if (n < 0 || key < 0 || value < 0)
        return;
    struct node *node = &p->node[n];
    uint32_t i = (uint32_t)pick(p, node->refs / 2) * 2;
    morph_store(p->me, at, slot(node, at, i), key_at);
    morph_store(p->me, at, slot(node, at, i + 1), value_at);
    node->ref[i] = key;
    node->ref[i + 1] = value;
}

/* What a weak reference or an ephemeron leads to becomes a root: it may have been as good as dead. */
static void weak_read(struct player *p)
{
    void *at;
    int n = find_kind(p, &at, is_weak);
    if (n < 0)
        return;
    struct node *node = &p->node[n];
    uint32_t i = (uint32_t)pick(p, node->refs);
    void *there = morph_weak_read(p->me, slot(node, at, i));
    int to = node->ref[i];
    MUST(p, to >= 0 || !there);
    if (to < 0)
        return;
    reach(p);
    int judged = node->kind == EPHEMERON ? node->ref[i & ~1u] : to;
    walk_weak_judge(p, judged, there, false);
    if (!there) {
        node->ref[i] = -1;
        if (node->kind == EPHEMERON)
            node->ref[i ^ 1] = -1;
        return;
    }
    MUST(p, *(uint64_t *)there == p->node[to].id);
    came_back(p, to);
    root_set(p, root_any(p), to, there);
}

static void root_move(struct player *p)
{
    void *at = NULL;
    int n = pick(p, 3) ? find(p, &at, false) : -1;
    root_set(p, root_any(p), n, n < 0 ? NULL : at);
}

static void frames(struct player *p)
{
    if (p->frames < FRAMES && pick(p, 2)) {
        void **at = morph_frame_push(p->me, FRAME_REFS * sizeof(void *));
        MUST(p, at && client_zero(at, FRAME_REFS * sizeof(void *)));
        p->frame[p->frames].at = at;
        for (unsigned i = 0; i < FRAME_REFS; i++)
            p->frame[p->frames].node[i] = -1;
        p->frames++;
    } else if (p->frames) {
        unsigned to = (unsigned)pick(p, p->frames);
        if (pick(p, 3))
            to = p->frames - 1;
        morph_frame_pop(p->me, p->frame[to].at);
        p->frames = to;
    }
}

static void variables(struct player *p)
{
    if (p->variables < VARIABLES && pick(p, 2)) {
        p->variable[p->variables] = NULL;
        p->variable_node[p->variables] = -1;
        MUST(p, morph_root_push(p->me, &p->variable[p->variables]) == 0);
        p->variables++;
    } else if (p->variables) {
        unsigned count = 1 + (unsigned)pick(p, p->variables);
        morph_root_pop(p->me, count);
        p->variables -= count;
    }
}

static void stack(struct player *p)
{
    if (p->depth < STACK && pick(p, 3)) {
        p->stack[p->depth] = NULL;
        p->stack_node[p->depth++] = -1;
    } else if (p->depth)
        p->depth -= (unsigned)pick(p, p->depth) + 1;
}

static void pins(struct player *p)
{
    unsigned i = (unsigned)pick(p, PINS);
    void *at;
    if (p->pin_node[i] >= 0) {
        MUST(p, *(uint64_t *)p->pin_at[i] == p->node[p->pin_node[i]].id);
        MUST(p, morph_unpin(p->me, p->pin_at[i]) == 0);
        p->pin_node[i] = -1;
        return;
    }
    int n = find(p, &at, false);
    if (n < 0)
        return;
    MUST(p, morph_pin(p->me, at) == 0);
    p->pin_node[i] = n;
    p->pin_at[i] = at;
}

/* Only the first thread does: another could get its finalizers from the heap's queue. */
static void finalizer_set(struct player *p)
{
    void *at;
    int n = p->number ? -1 : find(p, &at, false);
    if (n < 0 || p->finalizers == FINALIZERS)
        return;
    for (uint64_t count = 1 + pick(p, 2); count && p->finalizers < FINALIZERS; count--) {
        uint64_t word = (uint64_t)p->number << 40 | ++p->next_id;
        MUST(p, morph_finalizer_set(p->me, at, (void *)(uintptr_t)word) == 0);
        p->finalizer[p->finalizers++] = (struct finalizer){ n, word };
    }
}

static bool finalizer_take(struct player *p)
{
    void *word;
    void *at = morph_finalizer_next(p->me, &word);
    if (!at)
        return false;
    for (unsigned i = 0; i < p->finalizers; i++)
        if (p->finalizer[i].word == (uintptr_t)word) {
            int n = p->finalizer[i].node;
            p->finalizer[i] = p->finalizer[--p->finalizers];
            reach(p);
            if (*(uint64_t *)at != p->node[n].id || (p->node[n].marks & REACHED && !p->node[n].dim))
                COMPLAIN(p, "node %d (%s): finalized, and it is %s", n, layout[p->node[n].kind].name,
                         *(uint64_t *)at == p->node[n].id ? "reached" : "another object");
            came_back(p, n);
            if (pick(p, 2))
                root_set(p, root_any(p), n, at);
            return true;
        }
    COMPLAIN(p, "a finalizer that nobody set, or twice: word %p", word);
    return true;
}

static void hash_and_word(struct player *p)
{
    void *at;
    int n = find_kind(p, &at, is_any);
    if (n < 0)
        return;
    uint32_t hash = morph_identity_hash(p->me, at);
    MUST(p, hash != 0 && (p->node[n].hash == 0 || p->node[n].hash == hash));
    p->node[n].hash = hash;
    MUST(p, morph_object_word(at) == p->node[n].word);
    p->node[n].word = (uint32_t)pick(p, UINT32_MAX);
    morph_object_set_word(at, p->node[n].word);
}

static void garbage(struct player *p)
{
    for (uint64_t i = pick(p, 150); i; i--) {
        void *at = pick(p, 3) ? morph_new(p->me, p->world->type[FIXED]) : morph_new_bytes(p->me, pick(p, 100) ? pick(p, 300) : pick(p, 20000));
        if (!at) {
            refused(p);
            return;
        }
        MUST(p, client_zero(at, morph_object_bytes(at)));
        memset(at, 0, morph_object_bytes(at));
    }
}

static void collect(struct player *p)
{
    MUST(p, morph_collect(p->me, pick(p, 4) ? MORPH_COLLECT_MINOR : (enum morph_collection)pick(p, 3)) == 0);
}

static void native(struct player *p)
{
    morph_native_enter(p->me);
    for (uint64_t turns = pick(p, 4) ? 1 : pick(p, 200); turns; turns--)
        sched_yield();
    morph_native_leave(p->me);
}

static void poll_often(struct player *p)
{
    for (unsigned i = 0; i < 20; i++)
        morph_poll(p->me);
}

static void threads_come_and_go(struct player *p)
{
    if (pick(p, 10))
        return;
    p->frames = p->variables = p->depth = 0;
    for (unsigned i = 0; i < SET; i++) {
        p->set[i] = NULL;
        p->set_node[i] = -1;
    }
    p->parcel = NULL;
    MUST(p, morph_thread_detach(p->me) == 0);
    MUST(p, morph_thread_attach(p->world->heap, &p->me) == 0);
    MUST(p, morph_thread_on_roots(p->me, visit, p) == 0);
}

static void look(struct player *p)
{
    reach(p);
    walk(p, false);
}

/* What a node leads to, and what an ephemeron gives for it; not the node itself. */
static unsigned push_behind(struct player *p, int n, uint8_t mark)
{
    unsigned count = 0;
    for (uint32_t k = 0; k < p->node[n].refs; k++)
        count = push(p, count, p->node[n].ref[k], mark);
    for (unsigned i = 0; i < NODES; i++)
        for (uint32_t k = 0; p->node[i].used && p->node[i].kind == EPHEMERON && k < p->node[i].refs; k += 2)
            if (p->node[i].ref[k] == n)
                count = push(p, count, p->node[i].ref[k + 1], mark);
    return count;
}

/* Is every finalizer told whose object nothing else leads to, not even another such object? */
static void finalizers_told(struct player *p)
{
    struct finalizer before[FINALIZERS];
    unsigned count = p->finalizers;
    memcpy(before, p->finalizer, sizeof before);
    for (unsigned i = 0; i < NODES; i++)
        p->node[i].marks &= (uint8_t)~SCRATCH;
    for (unsigned i = 0; i < count; i++)
        spread(p, push_behind(p, before[i].node, SCRATCH), SCRATCH, true);
    bool due[FINALIZERS];
    for (unsigned i = 0; i < count; i++)
        due[i] = !(p->node[before[i].node].marks & (REACHED | SCRATCH)) && !p->node[before[i].node].dim;     /* dim: may be in the queue already */
    while (finalizer_take(p) && !p->complaint[0])
        ;
    for (unsigned i = 0; i < count && !p->world->config->no_moving; i++)
        for (unsigned k = 0; due[i] && k < p->finalizers; k++)
            if (p->finalizer[k].word == before[i].word)
                COMPLAIN(p, "node %d: dead, and its finalizer is not told after a major collection", before[i].node);
}

static void live_bytes_judge(struct player *p)
{
    morph_heap_stats stats;
    uint64_t least = 0, most = 256 * KiB;
    MUST(p, morph_heap_stats_get(p->world->heap, &stats) == 0);
    for (unsigned i = 0; i < NODES; i++) {
        uint64_t extent = p->node[i].used ? (node_bytes(&p->node[i]) + 31) / 16 * 16 : 0;
        least += p->node[i].marks & REACHED ? extent : 0;
        most += p->node[i].marks & PENDING ? extent : 0;
    }
    if (stats.live_bytes < least || stats.live_bytes > most)
        COMPLAIN(p, "live bytes %llu, and the model has %llu to %llu", (unsigned long long)stats.live_bytes, (unsigned long long)least,
                 (unsigned long long)most);
}

static void major(struct player *p)
{
    reach(p);
    MUST(p, morph_collect(p->me, pick(p, 4) ? MORPH_COLLECT_MAJOR : MORPH_COLLECT_COMPACT) == 0);
    if (p->world->config->threads == 1)
        live_bytes_judge(p);
    walk(p, true);
    if (p->complaint[0])
        return;
    if (p->number == 0)
        finalizers_told(p);
}

/* ---- Parcels ---- */

static void *parcel_build(struct player *p, uint64_t number, unsigned depth)
{
    void **frame = morph_frame_push(p->me, 2 * sizeof(void *)), *at = NULL;
    bool fine = frame != NULL;
    for (unsigned i = 0; fine && depth && i < 2; i++)
        fine = (frame[i] = parcel_build(p, word_at(number, i), depth - 1)) != NULL;
    if (fine)
        at = morph_new(p->me, p->world->parcel);
    if (at) {
        ((uint64_t *)at)[0] = number;
        ((void **)at)[1] = frame[0];
        ((void **)at)[2] = frame[1];
        ((uint64_t *)at)[3] = ~number << 8 | depth;
    }
    if (frame)
        morph_frame_pop(p->me, frame);
    return at;
}

static bool parcel_intact(const void *at, uint64_t number, unsigned depth)
{
    const uint64_t *words = at;
    void *const *refs = at;
    if (!at || (uintptr_t)at % 16 || morph_object_bytes(at) != PARCEL_BYTES || words[0] != number || words[3] != (~number << 8 | depth))
        return false;
    if (depth == 0)
        return !refs[1] && !refs[2];
    return parcel_intact(refs[1], word_at(number, 0), depth - 1) && parcel_intact(refs[2], word_at(number, 1), depth - 1);
}

static bool parcel_fine(const void *at)
{
    return !at || parcel_intact(at, ((const uint64_t *)at)[0], (unsigned)(((const uint64_t *)at)[3] & 0xff));
}

static void parcel_board(struct player *p)
{
    void *fresh = parcel_build(p, test_random_next(&p->random), (unsigned)pick(p, 5));
    if (!fresh) {
        refused(p);
        return;
    }
    void *board = morph_handle_get(p->me, p->world->board), **where = (void **)board + pick(p, BOARD), *old;
    if (pick(p, 2)) {
        old = morph_exchange(p->me, board, where, fresh);
    } else {
        old = __atomic_load_n(where, __ATOMIC_SEQ_CST);
        if (!morph_compare_exchange(p->me, board, where, old, fresh))
            old = NULL;                         /* another was faster, and has it */
    }
    MUST(p, parcel_fine(old));
    MUST(p, parcel_fine(p->parcel));
    if (old)
        p->parcel = old;
}

static void parcel_handle(struct player *p)
{
    unsigned i = (unsigned)pick(p, SHARED);
    if (atomic_flag_test_and_set(&p->world->busy[i]))
        return;
    void *old = morph_handle_get(p->me, p->world->shared[i]);
    bool fine = parcel_fine(old);
    morph_handle_set(p->me, p->world->shared[i], p->parcel);
    p->parcel = old;
    atomic_flag_clear(&p->world->busy[i]);
    MUST(p, fine);
}

/* ---- Play ---- */

static void (*const moves[])(struct player *) = {
    allocate, allocate, allocate, allocate, allocate, allocate, allocate, allocate, allocate, allocate, allocate, allocate,
    store, store, store, store, store, store, copy_refs, fill_refs, store_pair, store_pair, weak_read,
    root_move, root_move, root_move, frames, frames, variables, stack, stack, pins, finalizer_set, hash_and_word,
    garbage, native, poll_often, threads_come_and_go, parcel_board, parcel_board, parcel_handle,
};

static void move(struct player *p)
{
    if (pick(p, 60) == 0)
        collect(p);
    else if (pick(p, 120) == 0)
        look(p);
    else if (pick(p, 200) == 0)
        major(p);
    else
        moves[pick(p, sizeof moves / sizeof moves[0])](p);
}

static void player_begin(struct player *p)
{
    MUST(p, morph_thread_attach(p->world->heap, &p->me) == 0);
    MUST(p, morph_thread_on_roots(p->me, visit, p) == 0);
    p->no_sets = morph_roots_report(p->me, 7, p->set, SET) != 0;
    for (unsigned i = 0; i < HANDLES; i++) {
        p->handle[i] = morph_handle_new(p->me, NULL);
        MUST(p, p->handle[i].index != 0);
    }
}

static void *play(void *context)
{
    struct player *p = context;
    player_begin(p);
    uint64_t steps = p->world->config->steps / (test_slowness() > 3 ? 4 : 1);
    for (; p->step < steps && !p->complaint[0] && !atomic_load(&p->world->failed); p->step++) {
        move(p);
        if (p->number == 0 && pick(p, 20) == 0)
            (void)finalizer_take(p);
    }
    if (!p->complaint[0] && !atomic_load(&p->world->failed))
        major(p);
    if (p->complaint[0] || atomic_load(&p->world->failed))
        morph_native_enter(p->me);              /* stays attached: nobody waits for it, and the case fails anyway */
    else if (morph_thread_detach(p->me) != 0)
        COMPLAIN(p, "could not detach");
    return NULL;
}

static void player_init(struct player *p, struct world *world, unsigned number, uint64_t seed)
{
    memset(p, 0, sizeof *p);
    p->world = world;
    p->number = number;
    p->random.state = seed;
    p->node = calloc(NODES, sizeof *p->node);
    p->todo = calloc(NODES + 1, sizeof *p->todo);
    for (unsigned r = ROOT_SET; r < ROOTS; r++)
        if (root_node(p, r))
            *root_node(p, r) = -1;
}

static void player_fini(struct player *p)
{
    for (unsigned i = 0; i < NODES; i++)
        free(p->node[i].ref);
    free(p->node);
    free(p->todo);
}

static void world_open(struct world *w, const struct config *config)
{
    morph_thread *me;
    memset(w, 0, sizeof *w);
    w->config = config;
    if (config->debug_stress) {
        char every[16];
        snprintf(every, sizeof every, "%u", config->debug_stress);
        setenv("MORPHMEM_STRESS", every, 1);
    }
    assert_ok(morph_heap_open(&w->heap, &(morph_options){ .name = "model", .mode = MORPH_RUNTIME, .limit_bytes = config->limit_bytes,
        .young_min_bytes = config->young_min_bytes, .young_max_bytes = config->young_max_bytes, .promotion_age = config->promotion_age,
        .no_autospawn = true, .timeout_ms = 60000, .no_moving = config->no_moving }));
    unsetenv("MORPHMEM_STRESS");
    for (unsigned i = 0; i < LAYOUTS; i++)
        if (i != BYTES)
            assert_ok(morph_type_register(w->heap, &layout[i], &w->type[i]));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "parcel", .bytes = PARCEL_BYTES, .refs = { parcel_refs, 2 } }, &w->parcel));
    assert_ok(morph_type_register(w->heap, &(morph_type_spec){ .name = "board", .element_bytes = 8, .element_refs = { first, 1 } }, &w->board_type));
    assert_ok(morph_thread_attach(w->heap, &me));
    w->board = morph_handle_new(me, morph_new_array(me, w->board_type, BOARD));
    for (unsigned i = 0; i < SHARED; i++) {
        w->shared[i] = morph_handle_new(me, NULL);
        atomic_flag_clear(&w->busy[i]);
    }
    assert_ok(morph_thread_detach(me));
}

static void run(const struct config *config, uint64_t seed)
{
    struct player *player = calloc(THREADS, sizeof *player);
    struct world *world = calloc(1, sizeof *world);
    pthread_t thread[THREADS];
    struct test_random random = { seed };
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=50000", "--log-level=warning", config->daemon[0], config->daemon[1],
                                                   config->daemon[2], config->daemon[3], NULL);
    uint64_t refusals = 0, start = test_now_ns();
    world_open(world, config);
    for (unsigned i = 0; i < config->threads; i++)
        player_init(&player[i], world, i, test_random_next(&random));
    for (unsigned i = 0; i < config->threads; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, play, &player[i]), 0);
    for (unsigned i = 0; i < config->threads; i++)
        assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (unsigned i = 0; i < config->threads; i++) {
        if (player[i].complaint[0])
            print_error("%s: thread %u, step %llu: %s\n", config->name, i, (unsigned long long)player[i].step, player[i].complaint);
        refusals += player[i].refused;
    }
    if (atomic_load(&world->failed))
        fail_msg("%s: MORPH_TEST_SEED=%llu MORPH_PROPERTY_ONLY=%s replays it", config->name, (unsigned long long)seed, config->name);
    morph_heap_stats stats;
    assert_ok(morph_heap_stats_get(world->heap, &stats));
    print_message("%s: %llu collections, %llu refusals, %llu ms%s\n", config->name, (unsigned long long)stats.collections, (unsigned long long)refusals,
                  (unsigned long long)(test_now_ns() - start) / 1000000, player[0].no_sets ? ", no root sets by letter" : "");
    for (unsigned i = 0; i < config->threads; i++)
        player_fini(&player[i]);
    assert_ok(morph_heap_close(world->heap));
    free(player);
    free(world);
    test_daemon_stop(daemon);
}

#ifdef MORPH_DEBUG
static const struct config configs[] = {
    { "debug1", { "--verify=full" }, 4 * MiB, 256 * KiB, 0, 3, 1, 1500, 300, 1, false },
    { "debug3", { "--verify=full", "--workers=1" }, 8 * MiB, 256 * KiB, 0, 2, 2, 2500, 400, 3, false },
    { "debug7", { "--verify=roots", "--workers=3" }, 8 * MiB, 128 * KiB, 0, 1, 4, 2500, 400, 7, false },
};
#else
static const struct config configs[] = {
    { "tiny",     { "--verify=full", "--stress=1", "--workers=1" }, 1 * MiB, 64 * KiB, 0, 3, 1, 6000, 300, 0, false },
    { "small",    { "--verify=full", "--stress=1", "--workers=3" }, 4 * MiB, 64 * KiB, 0, 3, 4, 4000, 400, 0, false },
    { "brief",    { "--verify=full", "--stress=1", "--workers=1" }, 4 * MiB, 64 * KiB, 0, 1, 2, 4000, 400, 0, false },
    { "seven",    { "--verify=full", "--stress=7", "--workers=3" }, 8 * MiB, 128 * KiB, 0, 15, 3, 6000, 800, 0, false },
    { "old",      { "--verify=full", "--stress=7", "--workers=1", "--old-min=65536" }, 8 * MiB, 64 * KiB, 64 * KiB, 2, 1, 8000, 800, 0, false },
    { "free",     { "--workers=3" }, 32 * MiB, 0, 0, 3, 4, 20000, 3000, 0, false },
    { "free_old", { "--workers=1", "--verify=full" }, 32 * MiB, 1 * MiB, 0, 15, 1, 12000, 5000, 0, false },
    { "still",    { "--verify=full", "--stress=3", "--workers=3" }, 8 * MiB, 0, 0, 3, 3, 5000, 500, 0, true },
    { "still_free", { "--verify=full", "--workers=1" }, 32 * MiB, 0, 0, 3, 4, 9000, 3000, 0, true },
    { "parallel", { "--workers=3", "--verify=full" }, 64 * MiB, 4 * MiB, 8 * MiB, 3, 4, 9000, 5000, 0, false },
};
#endif

static uint64_t seconds(void)
{
    const char *given = getenv("MORPH_PROPERTY_SECONDS");
    return given ? strtoull(given, NULL, 10) : 0;
}

static void heap_is_as_the_model(void **state)
{
    struct test_random random = test_random_begin("gc_property");
    const char *only = getenv("MORPH_PROPERTY_ONLY");
    uint64_t end_ns = test_now_ns() + seconds() * 1000000000u, seed = random.state;
    do {
        for (unsigned i = 0; i < sizeof configs / sizeof configs[0]; i++)
            if (!only || strcmp(only, configs[i].name) == 0)
                run(&configs[i], seed);
        seed = test_random_next(&random);
    } while (test_now_ns() < end_ns);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(heap_is_as_the_model) };
    return test_run(cases);
}
