/* arrays.c — arrays of numbers, structs, references and arrays, which grow, shrink, are sorted and change owners.
 *
 * Hazards 2, 3 and 5. What would break: elements that are zero or somebody else's after the storage was replaced, moved or exchanged. */
#include <string.h>

#include "tests/clients/morph/program.h"

typedef struct { uint32_t number; uint8_t bytes[9]; } Odd;     /* 16 with padding */

static MorphArray *odds_new(MorphContext *ctx, size_t many, uint64_t seed)
{
    MorphArray *r = array_new(ctx, sizeof(Odd), 0, 0);
    ROOT(r);
    for (size_t i = 0; i < many; i++) {
        Odd odd = { .number = (uint32_t)(seed + i) };
        bytes_fill(odd.bytes, sizeof odd.bytes, seed + i);
        array_push(ctx, r, &odd);
    }
    RETURN(r, 1);
}

static void odds_check(const MorphArray *odds, size_t many, uint64_t seed)
{
    EXPECT(odds->length == many, "%zu structs of %zu", odds->length, many);
    for (size_t i = 0; i < many; i++) {
        const Odd *odd = (const Odd *)odds->data + i;
        EXPECT(odd->number == (uint32_t)(seed + i) && bytes_are(odd->bytes, sizeof odd->bytes, seed + i), "struct %zu of an array", i);
    }
}

/* Row i has i leaves. */
static MorphArray *triangle_new(MorphContext *ctx, size_t rows, uint64_t seed)
{
    MorphArray *r = array_new(ctx, sizeof(void *), 1, rows);
    ROOT(r);
    for (size_t i = 0; i < rows; i++) {
        MorphArray *row = array_new(ctx, sizeof(void *), 1, i % 2 ? i : 0);
        ROOT(row);
        array_push_pointer(ctx, r, row);
        for (size_t j = 0; j < i; j++)
            array_push_pointer(ctx, row, leaf_new(ctx, seed + i * rows + j));
    }
    RETURN(r, 1);
}

static void triangle_check(const MorphArray *triangle, size_t rows, uint64_t seed)
{
    for (size_t i = 0; i < rows; i++) {
        const MorphArray *row = array_pointer(triangle, i);
        EXPECT(row->length == i, "row %zu has %zu", i, row->length);
        for (size_t j = 0; j < i; j++)
            leaf_check(array_pointer(row, j), seed + i * rows + j, "a row of a triangle");
    }
}

/* Selection sort by contents, with an allocation at every exchange. */
static void leaves_sort(MorphContext *ctx, const MorphArray *leaves)
{
    Leaf **leaf = leaves->data;
    for (size_t i = 0; i < leaves->length; i++) {
        size_t least = i;
        for (size_t j = i + 1; j < leaves->length; j++)
            if (leaf[j]->word[0] < leaf[least]->word[0])
                least = j;
        Leaf *moved = leaf[i];
        leaf[i] = leaf[least];
        leaf_new(ctx, i);
        leaf[least] = moved;
    }
}

static void sort_check(MorphContext *ctx, size_t many, uint64_t seed)
{
    uint64_t sum = 0, expected = 0, before = 0;
    MorphArray *leaves = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(leaves);
    for (size_t i = 0; i < many; i++) {
        array_push_pointer(ctx, leaves, leaf_new(ctx, seed + i));
        expected += mix(seed + i);
    }
    leaves_sort(ctx, leaves);
    churn_and_collect(ctx, 50000);
    for (size_t i = 0; i < many; i++) {
        uint64_t first = ((Leaf *)array_pointer(leaves, i))->word[0];
        EXPECT(first >= before, "leaf %zu of a sorted array", i);
        before = first;
        sum += first;
    }
    EXPECT(sum == expected, "a sorted array has other leaves");
}

/* Two arrays exchange their storage; a third one is emptied from the end. */
static void owners_check(MorphContext *ctx, uint64_t seed)
{
    MorphArray *a = odds_new(ctx, 100, seed), *b = odds_new(ctx, 300, seed + 1);
    ROOT(a);
    ROOT(b);
    MorphArray kept = *a;
    *a = *b;
    churn(ctx, 50000);
    *b = kept;
    churn_and_collect(ctx, 50000);
    odds_check(a, 300, seed + 1);
    odds_check(b, 100, seed);
    MorphArray *stack = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(stack);
    for (uint64_t i = 0; i < 500; i++) {
        array_push_pointer(ctx, stack, leaf_new(ctx, seed + i));
        array_push_pointer(ctx, stack, leaf_new(ctx, seed + i + 1));
        leaf_check(array_pop_pointer(stack), seed + i + 1, "the top of a stack");
    }
    for (uint64_t i = 500; i-- > 0;) {
        Leaf *leaf = array_pop_pointer(stack);
        leaf_new(ctx, i);
        leaf_check(leaf, seed + i, "popped from a stack");
    }
}

void program_arrays(MorphContext *ctx)
{
    MorphArray *triangle = triangle_new(ctx, 60, 7);
    ROOT(triangle);
    for (uint64_t round = 0; round < scaled(60); round++) {
        MorphArray *odds = odds_new(ctx, 3000, round);
        ROOT(odds);
        sort_check(ctx, 200, round);
        owners_check(ctx, round);
        scrub();
        churn_and_collect(ctx, 300000);
        odds_check(odds, 3000, round);
        triangle_check(triangle, 60, 7);
        if (round % 8 == 7)
            triangle = triangle_new(ctx, 60, 7);
    }
    mph_gc_pop_roots(ctx, 2);
}
