/* hazard5.c — blocks of type raw whose references only the owner knows.
 *
 * The same type is the storage of an array of references, of one of numbers, of a map, and the characters of a string.
 *
 * What would break: a collector that takes raw blocks for data frees the elements; one that goes by the owner alone frees them when the owner
 * is gone and somebody still walks through the storage; one that takes every word for a reference without judging it crashes on numbers. */
#include <string.h>

#include "tests/clients/morph/program.h"

#define MANY 500

static MorphArray *leaves_new(MorphContext *ctx, size_t many, uint64_t seed)
{
    MorphArray *r = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(r);
    for (size_t i = 0; i < many; i++)
        array_push_pointer(ctx, r, leaf_new(ctx, seed + i));
    RETURN(r, 1);
}

static void leaves_check(Leaf *const *leaves, size_t many, uint64_t seed, const char *where)
{
    for (size_t i = 0; i < many; i++)
        leaf_check(leaves[i], seed + i, where);
}

/* ---- The storage without its owner ---- */

APART static void **storage_new(MorphContext *ctx, size_t many, uint64_t seed)
{
    return leaves_new(ctx, many, seed)->data;
}

/* What a loop over an array becomes when it is the array's last use: the place it has reached, and elements that come from there. */
APART static void storage_check(MorphContext *ctx, size_t many, uint64_t seed)
{
    void **volatile at = storage_new(ctx, many, seed);
    scrub();
    for (size_t i = 0; i < many; i++) {
        if (i % 50 == 0)
            churn_and_collect(ctx, 20000);
        leaf_check(*at, seed + i, "storage without its array");
        at = at + 1;
    }
}

/* ---- Numbers that look like references ---- */

static MorphArray *numbers_new(MorphContext *ctx, const void *near)
{
    MorphArray *r = array_new(ctx, sizeof(uint64_t), 0, 0);
    ROOT(r);
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t number = (uintptr_t)near + i * 13 - MANY;
        number ^= i % 3 ? 0 : (uint64_t)1 << (i % 64);
        array_push(ctx, r, &number);
    }
    RETURN(r, 1);
}

static void numbers_check(const MorphArray *numbers, const void *near)
{
    for (uint64_t i = 0; i < MANY; i++)
        EXPECT(((uint64_t *)numbers->data)[i] == (((uintptr_t)near + i * 13 - MANY) ^ (i % 3 ? 0 : (uint64_t)1 << (i % 64))),
               "number %llu of those that look like references", (unsigned long long)i);
}

/* ---- Containers in containers ---- */

static MorphArray *nest_new(MorphContext *ctx, uint64_t seed)
{
    MorphArray *r = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(r);
    for (uint64_t i = 0; i < 20; i++) {
        MorphMap *map = map_new(ctx, KEY_INT, 1);
        ROOT(map);
        for (uint64_t j = 0; j < 20; j++)
            map_set(ctx, map, (void *)(uintptr_t)(j * 1000), leaves_new(ctx, 1 + j % 5, seed + i * 100 + j * 5));
        array_push_pointer(ctx, r, map);
    }
    RETURN(r, 1);
}

static void nest_check(const MorphArray *nest, uint64_t seed)
{
    for (uint64_t i = 0; i < 20; i++)
        for (uint64_t j = 0; j < 20; j++) {
            void *found;
            EXPECT(map_get(array_pointer(nest, i), (void *)(uintptr_t)(j * 1000), &found), "key %llu of a nested map", (unsigned long long)j);
            const MorphArray *leaves = found;
            EXPECT(leaves->length == 1 + j % 5, "a nested array of %zu", leaves->length);
            leaves_check(leaves->data, leaves->length, seed + i * 100 + j * 5, "an array in a map in an array");
        }
}

/* ---- Storage that shrinks and is filled again ---- */

APART static void refill(MorphContext *ctx, MorphArray *array, size_t most, uint64_t seed)
{
    while (array->length > most)
        array_pop_pointer(array);
    while (array->length < 2 * most)
        array_push_pointer(ctx, array, leaf_new(ctx, seed + array->length));
}

void program_hazard5(MorphContext *ctx)
{
    MorphArray *leaves = leaves_new(ctx, MANY, 1);
    ROOT(leaves);
    MorphArray *refilled = leaves_new(ctx, 200, 0);
    ROOT(refilled);
    for (uint64_t round = 0; round < scaled(60); round++) {
        MorphArray *numbers = numbers_new(ctx, leaves);
        ROOT(numbers);
        MorphArray *nest = nest_new(ctx, round);
        ROOT(nest);
        storage_check(ctx, 300, round);
        refill(ctx, refilled, 100, 0);
        scrub();
        churn_and_collect(ctx, 300000);
        leaves_check(leaves->data, MANY, 1, "an array of references");
        leaves_check(refilled->data, 200, 0, "an array that was emptied and filled again");
        numbers_check(numbers, leaves);
        nest_check(nest, round);
    }
    mph_gc_pop_roots(ctx, 4);
}
