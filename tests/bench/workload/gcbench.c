/* gcbench.c — w3: the shape of GCBench: a stretch tree, a long-lived tree and array, and temporary trees built top-down and
 * bottom-up. */
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

#define DEPTH_LEAST    4
#define ARRAY_NUMBERS  2000000u
#define SLOT_BYTES     48u          /* of a node, with a header */

static subject_root none[2];

/* With children[0] and [1], which may be elsewhere once the node is there. */
static inline struct wide *wide_new(struct place *place, subject_root *children)
{
    struct wide *node = place_object(place, KIND_WIDE);
    if (!node)
        subject_die("out of memory");
    *node = (struct wide){ children[0], children[1], 0, 0 };
    return node;
}

static void tree_fill(struct place *place, int depth, struct wide *node)
{
    if (depth <= 0)
        return;
    SUBJECT_ROOTS(root, 1);
    root[0] = node;
    struct wide *child = wide_new(place, none);
    node = root[0];
    place_store(place, node, &node->left, child);
    child = wide_new(place, none);
    node = root[0];
    place_store(place, node, &node->right, child);
    tree_fill(place, depth - 1, node->left);
    node = root[0];
    tree_fill(place, depth - 1, node->right);
    SUBJECT_ROOTS_END(root);
}

static struct wide *tree_top_down(struct place *place, int depth)
{
    SUBJECT_ROOTS(root, 1);
    root[0] = wide_new(place, none);
    tree_fill(place, depth, root[0]);
    struct wide *node = root[0];
    SUBJECT_ROOTS_END(root);
    return node;
}

static struct wide *tree_bottom_up(struct place *place, int depth)
{
    if (depth <= 0)
        return wide_new(place, none);
    SUBJECT_ROOTS(child, 2);
    child[0] = tree_bottom_up(place, depth - 1);
    child[1] = tree_bottom_up(place, depth - 1);
    struct wide *node = wide_new(place, child);
    SUBJECT_ROOTS_END(child);
    return node;
}

static void tree_free(struct place *place, struct wide *node)
{
    if (node->left) {
        tree_free(place, node->left);
        tree_free(place, node->right);
    }
    place_free(place, node);
}

static uint64_t spine_count(const struct wide *node)
{
    uint64_t count = 0;
    for (; node; node = node->left)
        count++;
    return count;
}

/* What is being worked on is kept in a global, where a conservative collector finds it. */
static struct wide *current;

static uint64_t tree_visit(struct place *place, int depth, struct wide *(*build)(struct place *place, int depth))
{
    current = build(place, depth);
    uint64_t count = spine_count(current);
    if (SUBJECT_DROP == DROP_RESET)
        place_reset(place);
    else if (SUBJECT_DROP == DROP_FREE)
        tree_free(place, current);
    current = NULL;
    return count;
}

static double *array_new(struct place *place)
{
    double *array = place_bytes(place, ARRAY_NUMBERS * sizeof *array);
    if (!array)
        subject_die("out of memory");
    for (unsigned i = 0; i < ARRAY_NUMBERS; i++)
        array[i] = i < ARRAY_NUMBERS / 2 ? 1.0 / (i + 1) : 0.0;
    return array;
}

static uint64_t nodes_count(int depth)
{
    return ((uint64_t)2 << depth) - 1;
}

void gcbench_run(uint64_t stretch_depth)
{
    struct place keep, passing;
    int stretch = (int)stretch_depth, most = stretch - 2;
    subject_begin(ROLE_PROGRAM, (uint64_t)512 << 20);
    place_begin(&keep, ((size_t)2 * SLOT_BYTES << most) + ARRAY_NUMBERS * sizeof(double) + 4096);
    place_begin(&passing, (size_t)2 * SLOT_BYTES << stretch);

    uint64_t sum = tree_visit(&passing, stretch, tree_bottom_up);
    SUBJECT_ROOTS(kept, 2);
    kept[0] = tree_top_down(&keep, most);
    kept[1] = array_new(&keep);
    for (int depth = DEPTH_LEAST; depth <= most; depth += 2) {
        uint64_t rounds = 2 * nodes_count(stretch) / nodes_count(depth);
        for (uint64_t i = 0; i < rounds; i++)
            sum += tree_visit(&passing, depth, tree_top_down);
        for (uint64_t i = 0; i < rounds; i++)
            sum += tree_visit(&passing, depth, tree_bottom_up);
    }
    const double *array = kept[1];
    sum += spine_count(kept[0]) + (array[1000] == 1.0 / 1001);
    SUBJECT_ROOTS_END(kept);
    check_report(sum);
}
