/* strings.c — strings: concatenation, tables of words, slices that share a block.
 *
 * Hazards 3 and 5: the block of a new string is in no root while the string is made, and what a slice refers to lies inside a block. What
 * would break: characters that are zero, or another string's. */
#include <stdio.h>
#include <string.h>

#include "tests/clients/morph/program.h"

/* "seed:seed+1:...:" of `many` numbers, by repeated concatenation: much garbage for one string. */
APART static MorphString *numbers_joined(MorphContext *ctx, int64_t seed, unsigned many)
{
    MorphString *r = string_literal(ctx, "");
    ROOT(r);
    for (unsigned i = 0; i < many; i++)
        r = string_concat(ctx, r, string_concat(ctx, string_number(ctx, seed + i), string_literal(ctx, ":")));
    RETURN(r, 1);
}

static void numbers_check(const MorphString *joined, int64_t seed, unsigned many)
{
    size_t at = 0;
    for (unsigned i = 0; i < many; i++) {
        char text[24];
        size_t length = (size_t)snprintf(text, sizeof text, "%lld:", (long long)seed + i);
        EXPECT(at + length <= joined->length && memcmp(joined->data + at, text, length) == 0,
               "number %u of a joined string of %zu", i, joined->length);
        at += length;
    }
    EXPECT(at == joined->length && joined->data[at] == 0, "the end of a joined string of %zu", joined->length);
}

/* The parts between colons, sharing the block; the string itself is gone. */
APART static MorphArray *split(MorphContext *ctx, int64_t seed, unsigned many)
{
    MorphString *joined = numbers_joined(ctx, seed, many);
    MorphArray *r = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(r);
    for (size_t from = 0, i = 0; i < joined->length; i++)
        if (joined->data[i] == ':') {
            array_push_pointer(ctx, r, string_slice(ctx, joined, from, i - from));
            from = i + 1;
        }
    RETURN(r, 1);
}

static void split_check(const MorphArray *parts, int64_t seed, unsigned many)
{
    EXPECT(parts->length == many, "%zu parts of %u", parts->length, many);
    for (unsigned i = 0; i < many; i++) {
        char text[24];
        snprintf(text, sizeof text, "%lld", (long long)seed + i);
        EXPECT(string_is(array_pointer(parts, i), text), "part %u of a split string", i);
    }
}

static MorphString *doubled(MorphContext *ctx, const char *literal, unsigned times)
{
    MorphString *r = string_literal(ctx, literal);
    ROOT(r);
    for (unsigned i = 0; i < times; i++)
        r = string_concat(ctx, r, r);
    RETURN(r, 1);
}

void program_strings(MorphContext *ctx)
{
    MorphString *long_one = doubled(ctx, "ab", 16);
    ROOT(long_one);
    MorphArray *last = split(ctx, 5000, 50);
    ROOT(last);
    for (unsigned round = 0; round < scaled(80); round++) {
        MorphString *joined = numbers_joined(ctx, 1000 * round, 150);
        ROOT(joined);
        MorphArray *parts = split(ctx, 1000 * round, 100);
        ROOT(parts);
        scrub();
        churn_and_collect(ctx, 200000);
        numbers_check(joined, 1000 * round, 150);
        split_check(parts, 1000 * round, 100);
        split_check(last, round ? 1000 * round - 1000 : 5000, round ? 100 : 50);
        last = parts;
    }
    EXPECT(long_one->length == 2 << 16, "a long string of %zu", long_one->length);
    for (size_t i = 0; i < long_one->length; i++)
        EXPECT(long_one->data[i] == "ab"[i % 2], "character %zu of a long string", i);
    mph_gc_pop_roots(ctx, 2);
}
