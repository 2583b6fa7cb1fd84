/* hazard6.c — objects without a type that hold references.
 *
 * Environments, channels and whatever the compiler has no description for are allocated with NULL for a type. Any aligned word may be a
 * reference, or a number, or one today and the other tomorrow.
 *
 * What would break: a collector that takes no type for no references frees everything such an object holds; one that looks only at part of it
 * (the first words, whole cards, up to a rounded-down size) frees what the last word holds. */
#include <string.h>

#include "tests/clients/morph/program.h"

/* ---- One reference, at each place of objects of many sizes ---- */

APART static void *hold_at(MorphContext *ctx, size_t bytes, size_t word, uint64_t seed)
{
    void **r = zeroed_alloc(ctx, bytes, NULL);
    ROOT(r);
    r[word] = leaf_new(ctx, seed);
    RETURN(r, 1);
}

static void places_check(MorphContext *ctx, uint64_t seed)
{
    MorphArray *holders = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(holders);
    for (size_t words = 1; words <= 40; words++)
        for (size_t word = 0; word < words; word += 1 + words / 8) {
            array_push_pointer(ctx, holders, hold_at(ctx, words * sizeof(void *), word, seed + word));
            /* not a whole number of words */
            array_push_pointer(ctx, holders, hold_at(ctx, words * sizeof(void *) + words % 8, words - 1, seed + words));
        }
    scrub();
    churn_and_collect(ctx, 200000);
    size_t next = 0;
    for (size_t words = 1; words <= 40; words++)
        for (size_t word = 0; word < words; word += 1 + words / 8) {
            leaf_check(((void **)array_pointer(holders, next++))[word], seed + word, "a word of an object without a type");
            leaf_check(((void **)array_pointer(holders, next++))[words - 1], seed + words, "the last word of an object without a type");
        }
}

/* ---- Numbers and references in turn ---- */

typedef union { int64_t number; double real; Leaf *leaf; } Either;

APART static void either_check(MorphContext *ctx, uint64_t seed)
{
    enum { MANY = 200 };
    Either *either = mph_alloc(ctx, MANY * sizeof *either, NULL);
    ROOT(either);
    for (unsigned turn = 0; turn < 6; turn++) {
        for (uint64_t i = 0; i < MANY; i++)
            switch ((i + turn) % 3) {
            case 0:
                either[i].leaf = leaf_new(ctx, seed + i);
                break;
            case 1:
                either[i].number = (int64_t)mix(seed + i);
                break;
            default:
                either[i].real = 1.5 * (double)i;
            }
        scrub();
        churn_and_collect(ctx, 30000);
        for (uint64_t i = 0; i < MANY; i++)
            if ((i + turn) % 3 == 0)
                leaf_check(either[i].leaf, seed + i, "a word that was a number before");
            else if ((i + turn) % 3 == 1)
                EXPECT(either[i].number == (int64_t)mix(seed + i), "a number where a reference was");
            else
                EXPECT(either[i].real == 1.5 * (double)i, "a real where a reference was");
    }
}

/* ---- A large table; a ring; a long chain: nothing here has a type ---- */

APART static void **table_new(MorphContext *ctx, size_t words, uint64_t seed)
{
    void **r = mph_alloc(ctx, words * sizeof *r, NULL);
    ROOT(r);
    for (size_t i = 0; i < words; i += 997)
        r[i] = leaf_new(ctx, seed + i);
    r[words - 1] = leaf_new(ctx, seed);
    RETURN(r, 1);
}

static void table_check(void *const *table, size_t words, uint64_t seed)
{
    leaf_check(table[words - 1], seed, "the last word of a large table");
    for (size_t i = 0; i < words - 1; i += 997)
        leaf_check(table[i], seed + i, "a word of a large table");
}

typedef struct Link { struct Link *next; uint64_t check; } Link;

/* A chain of untyped objects; with `ring` the last leads to the first, and the caller gets one in the middle. */
APART static Link *chain_new(MorphContext *ctx, size_t length, uint64_t seed, bool ring)
{
    Link *r = NULL, *last = NULL;
    ROOT(r);
    for (size_t i = length; i-- > 0;) {
        Link *link = mph_alloc(ctx, sizeof *link, NULL);
        link->next = r;
        link->check = mix(seed + i);
        last = last ? last : link;
        r = link;
    }
    if (ring)
        last->next = r;
    RETURN(r, 1);
}

static void chain_check(const Link *link, size_t steps, size_t length, uint64_t seed)
{
    for (size_t i = 0; i < steps; i++, link = link->next)
        EXPECT(link && link->check == mix(seed + i % length), "step %zu along %zu links without a type", i, length);
}

void program_hazard6(MorphContext *ctx)
{
    const size_t words = 40000, links = 20000;
    void **table = table_new(ctx, words, 3);
    ROOT(table);
    Link *chain = chain_new(ctx, links, 4, false);
    ROOT(chain);
    Link *ring = chain_new(ctx, 100, 5, true);
    ROOT(ring);
    for (uint64_t round = 0; round < scaled(40); round++) {
        chain_new(ctx, 500, 6, true);                      /* garbage that refers to itself */
        places_check(ctx, round);
        either_check(ctx, round);
        scrub();
        churn_and_collect(ctx, 400000);
        table_check(table, words, 3);
        chain_check(chain, links, links, 4);
        chain_check(ring, 250, 100, 5);
    }
    mph_gc_pop_roots(ctx, 3);
}
