/* hazard2.c — references are stored by plain assignment: there is no write barrier.
 *
 * What would break: a collector that takes what is old for unchanged never sees that an old object has come to refer to a new one, and frees
 * the new one. One that marks while the program runs misses an object whose only reference goes from where it has not looked yet to
 * where it has. Here the only reference to a leaf is always in an object that has survived many collections. */
#include <string.h>

#include "tests/clients/morph/program.h"

#define HOLDERS 256

static uint64_t expected_seed[HOLDERS];        /* plain numbers */

/* A holder is a pair, whose left is the leaf; its right, the next holder. The array holds them too. */
static MorphArray *holders_new(MorphContext *ctx)
{
    MorphArray *r = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(r);
    for (size_t i = 0; i < HOLDERS; i++) {
        array_push_pointer(ctx, r, pair_new(ctx, NULL, i ? array_pointer(r, i - 1) : NULL, i));
        ((Pair *)array_pointer(r, i))->left = leaf_new(ctx, i);
        expected_seed[i] = i;
    }
    RETURN(r, 1);
}

static void holders_check(const MorphArray *holders, const char *where)
{
    const Pair *below = NULL;
    for (size_t i = 0; i < HOLDERS; i++) {
        const Pair *holder = array_pointer(holders, i);
        pair_check(holder, i, where);
        leaf_check(holder->left, expected_seed[i], where);
        EXPECT(holder->right == below, "%s: holder %zu has lost the one below", where, i);
        below = holder;
    }
}

/* An old object gets a new one, made in this frame and held by nothing else. */
APART static void holder_store(MorphContext *ctx, const MorphArray *holders, size_t i, uint64_t seed)
{
    Pair *holder = array_pointer(holders, i);
    holder->left = leaf_new(ctx, seed);
    expected_seed[i] = seed;
}

/* The only reference moves from one old object to another, and allocations happen on either side of the move. */
APART static void holders_exchange(MorphContext *ctx, const MorphArray *holders, size_t i, size_t j)
{
    Pair *a = array_pointer(holders, i), *b = array_pointer(holders, j);
    if (a == b)
        return;
    void *from_a = a->left;
    a->left = NULL;
    leaf_new(ctx, ~i);
    void *from_b = b->left;
    b->left = from_a;
    leaf_new(ctx, ~j);
    a->left = from_b;
    uint64_t seed = expected_seed[i];
    expected_seed[i] = expected_seed[j];
    expected_seed[j] = seed;
}

/* memcpy is a store too: the right neighbour's leaf is moved into each holder, and the first one's to the last. */
APART static void holders_rotate(MorphContext *ctx, const MorphArray *holders)
{
    void *leaf;
    uint64_t seed = expected_seed[0];
    memcpy(&leaf, &((Pair *)array_pointer(holders, 0))->left, sizeof leaf);
    for (size_t i = 0; i + 1 < HOLDERS; i++) {
        memcpy(&((Pair *)array_pointer(holders, i))->left, &((Pair *)array_pointer(holders, i + 1))->left, sizeof leaf);
        expected_seed[i] = expected_seed[i + 1];
        leaf_new(ctx, ~i);
    }
    memcpy(&((Pair *)array_pointer(holders, HOLDERS - 1))->left, &leaf, sizeof leaf);
    expected_seed[HOLDERS - 1] = seed;
}

void program_hazard2(MorphContext *ctx)
{
    MorphArray *holders = holders_new(ctx);
    ROOT(holders);
    for (unsigned i = 0; i < 6; i++)
        churn_and_collect(ctx, 100000);
    for (uint64_t round = 0; round < scaled(400); round++) {
        for (unsigned i = 0; i < 20; i++)
            holder_store(ctx, holders, mix(round * 64 + i) % HOLDERS, mix(round) + i);
        scrub();
        churn(ctx, 60000);
        for (unsigned i = 0; i < 20; i++)
            holders_exchange(ctx, holders, mix(round * 64 + i + 20) % HOLDERS, mix(round * 64 + i + 40) % HOLDERS);
        scrub();
        if (round % 16 == 0)
            churn_and_collect(ctx, 100000);
        if (round % 32 == 7)
            holders_rotate(ctx, holders);
        holders_check(holders, "old holders");
    }
    mph_gc_pop_roots(ctx, 1);
}
