/* hazard4.c — pointers into objects, and root slots in objects.
 *
 * The compiler of the C keeps what it needs: of a buffer it walks through only the place it has reached, which at the end, or at the
 * beginning of a walk backwards, is one past the last byte. The runtime pushes the address of a member as a root.
 *
 * What would break: a collector that takes only the address of an object's beginning for a reference frees what such a pointer is in; one that
 * does not expect an address one past the end takes it for the object behind. One that moves objects leaves slots and pointers behind. */
#include <string.h>

#include "tests/clients/morph/program.h"

typedef struct { uint64_t check; uint64_t *into; uint64_t padding; } Inside;

TYPE(Inside, 1, offsetof(Inside, into));

/* ---- Only a place inside is held ---- */

APART static unsigned char *place_new(MorphContext *ctx, size_t bytes, size_t place, MorphTypeInfo *type, uint64_t seed)
{
    unsigned char *r = zeroed_alloc(ctx, bytes, type);
    bytes_fill(r, bytes, seed);
    return r + place;
}

APART static void place_check(MorphContext *ctx, size_t bytes, size_t place, MorphTypeInfo *type, uint64_t seed)
{
    unsigned char *volatile at = place_new(ctx, bytes, place, type, seed);
    scrub();
    churn_and_collect(ctx, 100000);
    EXPECT(bytes_are(at - place, bytes, seed), "an object of %zu bytes, held at byte %zu", bytes, place);
}

static void places_check(MorphContext *ctx, uint64_t seed)
{
    static const size_t sizes[] = { 8, 16, 24, 32, 40, 64, 72, 96, 128, 248, 256, 264, 512, 1000, 1024, 4096, 10000, 40000, 65536, 131072, 300000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t bytes = sizes[i];
        MorphTypeInfo *type = (i + seed) % 2 ? &mph_ti_raw : NULL;
        place_check(ctx, bytes, 1, type, seed + i);
        place_check(ctx, bytes, bytes / 2, type, seed + i);
        place_check(ctx, bytes, bytes - 1, type, seed + i);
        place_check(ctx, bytes, bytes, type, seed + i);         /* one past the end */
    }
}

/* ---- Walks that drop the base ---- */

APART static uint64_t *numbers_new(MorphContext *ctx, size_t many, uint64_t seed)
{
    MorphArray *array = array_new(ctx, sizeof(uint64_t), 0, many);
    ROOT(array);
    for (size_t i = 0; i < many; i++) {
        uint64_t number = mix(seed + i);
        array_push(ctx, array, &number);
    }
    RETURN((uint64_t *)array->data, 1);
}

APART static void walk_forwards(MorphContext *ctx, size_t many, uint64_t seed)
{
    uint64_t *volatile at = numbers_new(ctx, many, seed);
    scrub();
    for (size_t i = 0; i < many; i++) {
        if (i % 64 == 0)
            churn_and_collect(ctx, 20000);
        uint64_t number = *at;
        at = at + 1;
        EXPECT(number == mix(seed + i), "number %zu of %zu, walking forwards", i, many);
    }
}

APART static uint64_t *numbers_end(MorphContext *ctx, size_t many, uint64_t seed)
{
    return numbers_new(ctx, many, seed) + many;
}

APART static void walk_backwards(MorphContext *ctx, size_t many, uint64_t seed)
{
    uint64_t *volatile at = numbers_end(ctx, many, seed);
    scrub();
    for (size_t i = many; i-- > 0;) {
        if (i % 64 == 0 || i == many - 1)
            churn_and_collect(ctx, 20000);
        at = at - 1;
        EXPECT(*at == mix(seed + i), "number %zu of %zu, walking backwards", i, many);
    }
}

/* ---- Objects that refer into others ---- */

APART static Inside *inside_new(MorphContext *ctx, uint64_t seed)
{
    Inside *r = zeroed_alloc(ctx, sizeof *r, &mph_ti_Inside);
    r->check = seed;
    r->into = (uint64_t *)(void *)place_new(ctx, 64, 40, &mph_ti_raw, seed);
    return r;
}

APART static void insides_check(MorphContext *ctx, uint64_t seed)
{
    MorphArray *array = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(array);
    for (uint64_t i = 0; i < 50; i++) {
        array_push_pointer(ctx, array, inside_new(ctx, seed + i));
        array_push_pointer(ctx, array, place_new(ctx, 48, 8 + i % 32, NULL, seed + i));     /* an element that points inside */
    }
    scrub();
    churn_and_collect(ctx, 100000);
    for (uint64_t i = 0; i < 50; i++) {
        Inside *inside = array_pointer(array, 2 * i);
        EXPECT(inside->check == seed + i, "an object that refers into another");
        EXPECT(bytes_are((char *)inside->into - 40, 64, seed + i), "an object that a member points into");
        EXPECT(bytes_are((char *)array_pointer(array, 2 * i + 1) - 8 - i % 32, 48, seed + i), "an object that an element points into");
    }
}

/* ---- A place in storage that is replaced ---- */

APART static void growth_check(MorphContext *ctx, uint64_t seed)
{
    MorphArray *array = array_new(ctx, sizeof(uint64_t), 0, 4);
    ROOT(array);
    uint64_t number = mix(seed);
    array_push(ctx, array, &number);
    uint64_t *volatile first = array->data;
    for (uint64_t i = 1; i < 2000; i++) {
        number = mix(seed + i);
        array_push(ctx, array, &number);
        if (i % 256 == 0)
            churn_and_collect(ctx, 20000);
        EXPECT(*first == mix(seed), "the first element, held in the storage of long ago");
    }
    for (uint64_t i = 0; i < 2000; i++)
        EXPECT(((uint64_t *)array->data)[i] == mix(seed + i), "number %llu of a grown array", (unsigned long long)i);
}

/* ---- Slots that lie in objects ---- */

/* Blocks that say nothing about references, so the slots alone keep the leaves; `at` keeps the block. */
APART static void slots_check(MorphContext *ctx, uint64_t seed)
{
    Leaf **at = mph_alloc(ctx, 32 * sizeof *at, &mph_ti_raw);
    ROOT(at);
    for (uint64_t i = 0; i < 32; i++) {
        ROOT(at[i]);
        at[i] = leaf_new(ctx, seed + i);
    }
    scrub();
    churn_and_collect(ctx, 100000);
    for (uint64_t i = 0; i < 32; i++)
        leaf_check(at[i], seed + i, "a slot in an object");
    mph_gc_pop_roots(ctx, 33);
}

void program_hazard4(MorphContext *ctx)
{
    for (uint64_t round = 0; round < scaled(3); round++)
        places_check(ctx, round * 100);
    for (uint64_t round = 0; round < scaled(20); round++) {
        walk_forwards(ctx, 1 + round * 97, round);
        walk_backwards(ctx, 1 + round * 101, round);
        walk_backwards(ctx, 2 * (1 + round * 50), round);
        insides_check(ctx, round);
        growth_check(ctx, round);
        slots_check(ctx, round);
    }
}
