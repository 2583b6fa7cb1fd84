/* trees.c — w2: one long-lived binary tree, and many short-lived ones of growing depth that are built, counted and dropped. */
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

#define DEPTH_LEAST 4
#define SLOT_BYTES  32u             /* of a node, with a header */

/* Objects that move are built from the leaves up, which needs no barrier; the others in the order of a walk. */
static struct node *tree_build_rooted(struct place *place, int depth)
{
    struct node *node;
    if (depth == 0) {
        if (!(node = place_object(place, KIND_NODE)))
            subject_die("out of memory");
        *node = (struct node){ NULL, NULL };
        return node;
    }
    SUBJECT_ROOTS(child, 2);
    child[0] = tree_build_rooted(place, depth - 1);
    child[1] = tree_build_rooted(place, depth - 1);
    if (!(node = place_object(place, KIND_NODE)))
        subject_die("out of memory");
    *node = (struct node){ child[0], child[1] };
    SUBJECT_ROOTS_END(child);
    return node;
}

static struct node *tree_build(struct place *place, int depth)
{
    if (SUBJECT_ROOTED)
        return tree_build_rooted(place, depth);
    struct node *node = place_object(place, KIND_NODE);
    if (!node)
        subject_die("out of memory");
    if (depth > 0) {
        node->left = tree_build(place, depth - 1);
        node->right = tree_build(place, depth - 1);
    } else {
        node->left = node->right = NULL;
    }
    return node;
}

static uint64_t tree_count(const struct node *node)
{
    return node->left ? 1 + tree_count(node->left) + tree_count(node->right) : 1;
}

static void tree_free(struct place *place, struct node *node)
{
    if (node->left) {
        tree_free(place, node->left);
        tree_free(place, node->right);
    }
    place_free(place, node);
}

static void tree_drop(struct place *place, struct node *tree)
{
    if (SUBJECT_DROP == DROP_RESET)
        place_reset(place);
    else if (SUBJECT_DROP == DROP_FREE)
        tree_free(place, tree);
}

static uint64_t tree_visit(struct place *place, int depth)
{
    struct node *tree = tree_build(place, depth);
    uint64_t nodes = tree_count(tree);
    tree_drop(place, tree);
    return nodes;
}

void trees_run(uint64_t depth_most)
{
    struct place keep, passing;
    int most = (int)depth_most;
    subject_begin(ROLE_PROGRAM, (uint64_t)512 << 20);
    place_begin(&keep, (size_t)2 * SLOT_BYTES << most);
    place_begin(&passing, (size_t)4 * SLOT_BYTES << most);

    uint64_t nodes = tree_visit(&passing, most + 1);
    SUBJECT_ROOTS(kept, 1);
    kept[0] = tree_build(&keep, most);
    for (int depth = DEPTH_LEAST; depth <= most; depth += 2)
        for (int i = 0; i < 1 << (most - depth + DEPTH_LEAST); i++)
            nodes += tree_visit(&passing, depth);
    nodes += tree_count(kept[0]);
    SUBJECT_ROOTS_END(kept);
    check_report(nodes);
}
