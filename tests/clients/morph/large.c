/* large.c — buffers that grow by doubling up to 1,000,001 bytes, in 8 MiB.
 *
 * Old and new storage live at the same time while one is copied to the other, and then the old one is garbage. What would break: large
 * objects that are not freed in time (the heap is full), that are freed while only a place in them is held, or that are not zeroed. */
#include <string.h>

#include "tests/clients/morph/program.h"

#define BYTES 1000001

APART static MorphArray *buffer_new(MorphContext *ctx, size_t bytes, uint64_t seed)
{
    MorphArray *r = array_new(ctx, 1, 0, 0);
    ROOT(r);
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)(mix(seed + i / 8) >> i % 8 * 8);
        array_push(ctx, r, &byte);
    }
    RETURN(r, 1);
}

/* As a program does that reads a file: what is behind the length must be zero, because the block was new. */
static void slack_check(const MorphArray *buffer)
{
    const char *data = buffer->data;
    for (size_t i = buffer->length; i < buffer->capacity; i++)
        EXPECT(data[i] == 0, "byte %zu behind a buffer of %zu", i, buffer->length);
}

/* Only the middle is held while large blocks come and go. */
APART static unsigned char *middle_new(MorphContext *ctx, uint64_t seed)
{
    unsigned char *r = mph_alloc(ctx, BYTES, &mph_ti_raw);
    bytes_fill(r, BYTES, seed);
    return r + BYTES / 2;
}

APART static void middle_check(MorphContext *ctx, uint64_t seed)
{
    unsigned char *volatile middle = middle_new(ctx, seed);
    scrub();
    for (unsigned i = 0; i < 12; i++) {
        memset(zeroed_alloc(ctx, BYTES / 2 + i * 1000, &mph_ti_raw), 0xa5, BYTES / 2);
        scrub();
    }
    churn_and_collect(ctx, 100000);
    EXPECT(bytes_are(middle - BYTES / 2, BYTES, seed), "a large block, held in the middle");
}

void program_large(MorphContext *ctx)
{
    Node *kept = list_new(ctx, 500, 1);
    ROOT(kept);
    for (uint64_t round = 0; round < scaled(24); round++) {
        MorphArray *buffer = buffer_new(ctx, BYTES, round);
        ROOT(buffer);
        scrub();
        churn_and_collect(ctx, 200000);
        EXPECT(buffer->length == BYTES && bytes_are(buffer->data, BYTES, round), "a buffer that has grown");
        slack_check(buffer);
        buffer = NULL;
        middle_check(ctx, round);
        list_check(kept, 500, 1, "small objects between large ones");
    }
    mph_gc_pop_roots(ctx, 1);
}
