/* gc_story.h — a heap for small stories about the collector: one thread with a frame of 16 roots, in a simulated heap (gc_sim.h).
 *
 * Objects carry a number; an object that was lost, overwritten or taken for another has not the number that it was given. Verification is off:
 * what is looked at is the damage. */
#ifndef UNIT_GC_STORY_H
#define UNIT_GC_STORY_H

#include "tests/unit/gc_sim.h"

#define LIMIT (8 * MIB)
#define YOUNG (256 * KIB)

struct node { uint64_t id; struct node *a, *b; };
struct refs { uint64_t id; void *ref[]; };

static morph_type node_type, refs_type, weak_type, pair_type;
static morph_thread *me;
static void **root;                     /* a frame of 16 */

static inline void types_make(void)
{
    const morph_type_spec node = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, a, b) };
    const morph_type_spec refs = { .name = "refs", .bytes = 8, .element_bytes = 8, .element_refs = MORPH_ELEMENT_IS_REF };
    const morph_type_spec weak = { .name = "weak", .bytes = 8, .element_bytes = 8, .element_refs = MORPH_ELEMENT_IS_REF, .flags = MORPH_TYPE_WEAK };
    const morph_type_spec pair = { .name = "pair", .bytes = 8, .element_bytes = 16, .element_refs = MORPH_REF_OFFSETS(2, 0, 8), .flags = MORPH_TYPE_EPHEMERON };
    assert_int_equal(morph_type_register(sim.client, &node, &node_type), 0);
    assert_int_equal(morph_type_register(sim.client, &refs, &refs_type), 0);
    assert_int_equal(morph_type_register(sim.client, &weak, &weak_type), 0);
    assert_int_equal(morph_type_register(sim.client, &pair, &pair_type), 0);
}

/* `age`: 1 promotes whatever survives; 3 lets objects stay young for two collections. */
static inline void story_open(uint64_t limit_bytes, uint32_t age)
{
    config.verify = VERIFY_OFF;
    config.evacuate = 1;
    config.stress = 0;
    sim_open(&(struct sim_options){ .limit_bytes = limit_bytes, .young_bytes = YOUNG, .promotion_age = age });
    types_make();
    assert_int_equal(morph_thread_attach(sim.client, &me), 0);
    root = morph_frame_push(me, 16 * sizeof *root);
}

static inline void story_close(void)
{
    sim.wait = NULL;
    assert_null(sim.lie);
    morph_frame_pop(me, root);
    assert_int_equal(morph_thread_detach(me), 0);
    sim_close();
}

static inline struct node *node_new_hint(uint64_t id, enum morph_hint hint)
{
    struct node *node = morph_new_hint(me, node_type, hint);
    assert_non_null(node);
    assert_null(node->a);               /* memory comes zeroed */
    assert_null(node->b);
    node->id = id;
    return node;
}

static inline struct node *node_new(uint64_t id) { return node_new_hint(id, MORPH_HINT_NONE); }
static inline struct node *node_new_old(uint64_t id) { return node_new_hint(id, MORPH_HINT_LONG); }
static inline struct node *node_at(unsigned i) { return root[i]; }

static inline void collect(enum morph_collection kind)
{
    assert_int_equal(morph_collect(me, kind), 0);
    assert_null(sim.lie);
}

static inline void settle(void)
{
    while (sim_background())
        ;
}

/* Old objects in plenty, so that whatever was wrongly taken for free is overwritten; in root[15]. */
static inline void overwrite_what_is_free(uint32_t count)
{
    root[15] = NULL;
    root[15] = morph_new_array(me, refs_type, count);
    assert_non_null(root[15]);
    for (uint32_t i = 0; i < count; i++) {
        struct node *node = node_new(0xdead);
        morph_store(me, root[15], &((struct refs *)root[15])->ref[i], node);
    }
    collect(MORPH_COLLECT_MINOR);
}

#endif
