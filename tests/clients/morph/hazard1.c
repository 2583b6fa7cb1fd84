/* hazard1.c — roots are pushed and never popped.
 *
 * The pops stand behind the return. So the stack of roots grows with every call and holds addresses in frames that are long gone, whose
 * words are by now anything; in objects that are dead, whose memory is something else or nothing; and in stacks of threads that have ended.
 *
 * What would break: a collector that believes what such a slot holds follows junk and crashes, or marks in the middle of something; one that
 * reads the slot where no memory is any more crashes; one that keeps whatever it finds there runs out of 8 MiB. One that drops too many slots
 * loses what the frames of the living hold. */
#include <string.h>

#include "tests/clients/morph/program.h"

#define KEPT 300

/* ---- Frames that are gone ---- */

/* Leaves four slots at every level, to be found in whatever comes there next. */
APART static uint64_t leave_slots(MorphContext *ctx, unsigned depth, uint64_t seed)
{
    Leaf *a = leaf_new(ctx, seed);
    ROOT(a);
    Node *b = node_new(ctx, seed);
    ROOT(b);
    Pair *c = pair_new(ctx, a, b, seed);
    ROOT(c);
    MorphString *d = string_number(ctx, (int64_t)seed);
    ROOT(d);
    b->leaf = leaf_new(ctx, seed);
    uint64_t below = depth > 0 ? leave_slots(ctx, depth - 1, seed + 1) : 0;
    leaf_check(a, seed, "left slots");
    leaf_check(b->leaf, seed, "left slots");
    pair_check(c, seed, "left slots");
    RETURN(below + d->length, 4);
}

static uintptr_t hidden_dead;      /* complement of the address of an object that nobody holds: no reference */

APART static void hide_dead(MorphContext *ctx)
{
    hidden_dead = ~(uintptr_t)leaf_new(ctx, 77);
}

/* Words that are no references, but look like it, where those slots are; collections happen while they lie there. */
APART static void litter_frames(MorphContext *ctx, const Node *kept, uint64_t seed)
{
    volatile uintptr_t word[512];
    uintptr_t near = (uintptr_t)kept, dead = ~hidden_dead;
    const uintptr_t junk[] = {
        near + 1, near + 7, near - 1, near - 16, near + sizeof(Node) * 1000,
        near ^ (uintptr_t)1 << 47, near ^ (uintptr_t)1 << 63, near + ((uintptr_t)1 << 32),
        dead, dead + 3, dead - 8, dead & ~(uintptr_t)4095, (dead | 0xfffff) + 1, ~(uintptr_t)0, 1, 8, 4096, (uintptr_t)1 << 46,
        (uintptr_t)litter_frames, (uintptr_t)"a literal", (uintptr_t)&mph_ti_raw, (uintptr_t)ctx, (uintptr_t)word, (uintptr_t)&hidden_dead,
    };
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        word[i] = junk[(i + seed) % (sizeof junk / sizeof *junk)] + (i % 5 == 4 ? mix(seed + i) % 4096 : 0);
    churn_and_collect(ctx, 200000);
    EXPECT(word[seed % 512] != 0, "a word of the stack was changed");
}

/* ---- Slots in objects that die ---- */

/* The slots are members, the objects garbage at the return; the large one's memory may be nobody's after that. */
APART static void leave_slots_in_objects(MorphContext *ctx, uint64_t seed)
{
    Pair *pair = pair_new(ctx, NULL, NULL, seed);
    ROOT(pair->left);
    ROOT(pair->right);
    size_t many = 20000 + seed % 7 * 5000;
    void **large = mph_alloc(ctx, many * sizeof *large, NULL);
    for (size_t i = 0; i < many; i += many / 50)
        ROOT(large[i]);
    ROOT(large[many - 1]);
    pair->left = leaf_new(ctx, seed);
    large[many - 1] = leaf_new(ctx, seed + 1);
    churn(ctx, 20000);
    leaf_check(pair->left, seed, "slots in objects");
    leaf_check(large[many - 1], seed + 1, "slots in objects");
}

/* ---- Slots of threads that have ended ---- */

static uint64_t thread_leaves_slots(MorphContext *ctx, void *env)
{
    const Pair *pair = env;
    uint64_t characters = leave_slots(ctx, 200, 1000), end;
    EXPECT(channel_receive(pair->right, &end), "a sign to end");
    leaf_check(pair->left, end, "a thread's environment");
    return characters;
}

/* So many at a time that the C library gives some of their stacks back to the system when they end. */
APART static void threads_leave_slots(MorphContext *ctx)
{
    MorphThread *thread[8];
    MorphChannel *end = channel_new(ctx, 8);
    ROOT(end);
    for (size_t i = 0; i < 8; i++)
        thread[i] = thread_spawn(ctx, closure_new(ctx, (void *)thread_leaves_slots, pair_new(ctx, leaf_new(ctx, 5), end, 0)));
    for (size_t i = 0; i < 8; i++)
        channel_send(end, 5);
    for (size_t i = 0; i < 8; i++)
        EXPECT(thread_join(thread[i]) == 201 * 4, "a thread's numbers");
}

void program_hazard1(MorphContext *ctx)
{
    Node *kept = list_new(ctx, KEPT, 9);
    ROOT(kept);
    for (size_t round = 0; round < scaled(64); round++) {
        uint64_t characters = leave_slots(ctx, 60, 1000);
        EXPECT(characters == 61 * 4, "numbers have %llu characters", (unsigned long long)characters);
        hide_dead(ctx);
        scrub();
        churn_and_collect(ctx, 50000);
        litter_frames(ctx, kept, round);
        leave_slots_in_objects(ctx, round);
        churn_and_collect(ctx, 400000);
        list_check(kept, KEPT, 9, "what stays");
    }
    for (size_t round = 0; round < scaled(16); round++) {
        threads_leave_slots(ctx);
        churn_and_collect(ctx, 200000);
        list_check(kept, KEPT, 9, "what stays while threads end");
    }
    mph_gc_pop_roots(ctx, 1);
}
