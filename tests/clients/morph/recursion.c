/* recursion.c — 50,000 frames deep, with a rooted local and an unrooted temporary in each.
 *
 * All of the stack is live, and nearly all objects are held from there. What would break: a collector that looks at part of the stack (a
 * fixed amount, from the wrong end, up to what it was when the thread came); one that follows references by recursion itself; a stack of roots
 * of a fixed size. */
#include "tests/clients/morph/program.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DEPTH 8000          /* frames are many times larger */
#else
#define DEPTH 50000
#endif

/* The local holds a node, the temporary is an argument on its way; both are verified on the way back. */
APART static Node *descend(MorphContext *ctx, uint64_t depth, Node *above)
{
    Node *node = node_new(ctx, depth);
    ROOT(node);
    node->next = above;
    if (depth == 0) {
        churn_and_collect(ctx, 200000);
        RETURN(node, 1);
    }
    Leaf *volatile temporary = leaf_new(ctx, depth);        /* in no root */
    Node *deepest = descend(ctx, depth - 1, node);
    if (depth % (DEPTH / 8) == 0)
        churn_and_collect(ctx, 50000);
    leaf_check(temporary, depth, "a temporary of a deep frame");
    EXPECT(node->check == mix(depth), "a local of frame %llu", (unsigned long long)depth);
    RETURN(deepest, 1);
}

/* The list from the deepest node up is all of them. It is taken apart: a stale word on the stack keeps one node, not all. */
static void chain_check(Node *node)
{
    for (uint64_t depth = 0; depth < DEPTH; depth++) {
        EXPECT(node && node->check == mix(depth), "node %llu of a list as long as the stack was deep", (unsigned long long)depth);
        Node *next = node->next;
        node->next = NULL;
        node = next;
    }
    EXPECT(!node, "a list as long as the stack was deep goes on");
}

/* What the deep frames left behind would be in the holes of the next ones. */
APART static void scrub_deep(void)
{
    volatile uint64_t area[512 * 1024];
    for (size_t i = 0; i < sizeof area / sizeof *area; i++)
        area[i] = 0;
}

/* Every frame holds its node in a local, and nothing else does. */
APART static uint64_t separate(MorphContext *ctx, uint64_t depth)
{
    Leaf *leaf = leaf_new(ctx, depth);
    ROOT(leaf);
    if (depth == 0)
        churn_and_collect(ctx, 400000);
    uint64_t sum = depth ? separate(ctx, depth - 1) : 0;
    leaf_check(leaf, depth, "the only leaf of a deep frame");
    RETURN(sum + leaf->word[0], 1);
}

void program_recursion(MorphContext *ctx)
{
    uint64_t expected = 0;
    for (uint64_t depth = 0; depth < DEPTH; depth++)
        expected += mix(depth);
    for (size_t round = 0; round < scaled(8); round++) {
        chain_check(descend(ctx, DEPTH - 1, NULL));
        scrub_deep();
        churn_and_collect(ctx, 400000);
        EXPECT(separate(ctx, DEPTH - 1) == expected, "the sum of all frames");
        scrub_deep();
    }
}
