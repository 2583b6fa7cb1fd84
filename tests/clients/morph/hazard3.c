/* hazard3.c — temporaries that are in no root.
 *
 * In f(new(), new()) the first object is nowhere but in a register or a nameless word of the stack while the second is made; a struct that is
 * passed or returned by value holds references that no slot names; a global may never have been pushed.
 *
 * What would break: a collector that knows only the roots that were pushed frees every one of these. It has to look at stacks, registers
 * and static data, word by word. */
#include "tests/clients/morph/program.h"

typedef struct { Leaf *a; Node *b; MorphString *c; Pair *d; Leaf *e; Leaf *f; } Six;

static Leaf *global_leaf;
static struct { int64_t number; Node *list; } global_record;
static void *global_table[64];

/* Nobody has a name for anything while this builds a tree of 2^depth leaves. */
APART static Pair *tree_new(MorphContext *ctx, unsigned depth, uint64_t seed)
{
    if (depth == 0)
        return pair_new(ctx, leaf_new(ctx, seed), leaf_new(ctx, ~seed), seed);
    return pair_new(ctx, tree_new(ctx, depth - 1, 2 * seed), tree_new(ctx, depth - 1, 2 * seed + 1), seed);
}

static void tree_check(const Pair *tree, unsigned depth, uint64_t seed)
{
    pair_check(tree, seed, "a tree");
    if (depth == 0) {
        leaf_check(tree->left, seed, "a tree");
        leaf_check(tree->right, ~seed, "a tree");
        return;
    }
    tree_check(tree->left, depth - 1, 2 * seed);
    tree_check(tree->right, depth - 1, 2 * seed + 1);
}

/* Ends in garbage and a collection, so what its caller has ready must survive both. */
APART static Leaf *leaf_late(MorphContext *ctx, uint64_t seed)
{
    Leaf *r = leaf_new(ctx, seed);
    churn_and_collect(ctx, 20000);
    return r;
}

APART static void eight_check(Leaf *a, Leaf *b, Leaf *c, Leaf *d, Leaf *e, Leaf *f, Leaf *g, Leaf *h)
{
    Leaf *const leaf[] = { a, b, c, d, e, f, g, h };
    for (uint64_t i = 0; i < 8; i++)
        leaf_check(leaf[i], i, "one of eight arguments");
}

APART static Six six_new(MorphContext *ctx, uint64_t seed)
{
    return (Six){ leaf_new(ctx, seed), list_new(ctx, 3, seed), string_number(ctx, (int64_t)seed),
                  pair_new(ctx, leaf_new(ctx, seed + 1), NULL, seed), leaf_late(ctx, seed + 2), leaf_new(ctx, seed + 3) };
}

APART static void six_check(MorphContext *ctx, Six six, uint64_t seed)
{
    churn_and_collect(ctx, 30000);
    leaf_check(six.a, seed, "a struct by value");
    list_check(six.b, 3, seed, "a struct by value");
    EXPECT(six.c->length == 6, "a number in a struct by value");
    pair_check(six.d, seed, "a struct by value");
    leaf_check(six.d->left, seed + 1, "a struct by value");
    leaf_check(six.e, seed + 2, "a struct by value");
    leaf_check(six.f, seed + 3, "a struct by value");
}

APART static void globals_set(MorphContext *ctx, uint64_t seed)
{
    global_leaf = leaf_new(ctx, seed);
    global_record.list = list_new(ctx, 20, seed);
    global_table[seed % 64] = leaf_new(ctx, seed);
}

static void globals_check(uint64_t seed)
{
    leaf_check(global_leaf, seed, "a global");
    list_check(global_record.list, 20, seed, "a global struct");
    for (uint64_t i = seed < 64 ? 0 : seed - 63; i <= seed; i++)
        leaf_check(global_table[i % 64], i, "a global array");
}

void program_hazard3(MorphContext *ctx)
{
    for (uint64_t round = 0; round < scaled(120); round++) {
        globals_set(ctx, round);
        scrub();
        tree_check(tree_new(ctx, 9, round), 9, round);
        eight_check(leaf_late(ctx, 0), leaf_new(ctx, 1), leaf_late(ctx, 2), leaf_new(ctx, 3),
                    leaf_late(ctx, 4), leaf_new(ctx, 5), leaf_new(ctx, 6), leaf_late(ctx, 7));
        six_check(ctx, six_new(ctx, 100000 + round), 100000 + round);
        MorphString *text = string_concat(ctx, string_concat(ctx, string_literal(ctx, "<"), string_number(ctx, 12)),
                                          string_concat(ctx, string_number(ctx, -7), string_literal(ctx, ">")));
        ROOT(text);
        churn_and_collect(ctx, 200000);
        EXPECT(string_is(text, "<12-7>"), "a nested concatenation");
        globals_check(round);
    }
    mph_gc_pop_roots(ctx, 1);
}
