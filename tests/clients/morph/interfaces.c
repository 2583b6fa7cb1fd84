/* interfaces.c — interface values and errors: boxed in objects, by value in locals and parameters, in arrays and in each other.
 *
 * Hazards 3 and 4: a local interface value is rooted by the address of its member, or not at all, and the table of methods beside the instance
 * is static data of the program. What would break: instances that are zero; a table's address taken for an object. */
#include <stdio.h>

#include "tests/clients/morph/program.h"

typedef struct { int64_t side; Leaf *leaf; } Square;
typedef struct { int64_t width, height; MorphString *name; } Oblong;
typedef struct { MorphInterface *inner; int64_t times; } Repeated;
typedef struct { int64_t value; MorphError *error; } Outcome;       /* returned by value */

TYPE(Square, 1, offsetof(Square, leaf));
TYPE(Oblong, 1, offsetof(Oblong, name));
TYPE(Repeated, 1, offsetof(Repeated, inner));

enum { TYPE_SQUARE = 1, TYPE_OBLONG, TYPE_REPEATED };

typedef int64_t (*area_method)(MorphContext *ctx, void *instance);

static int64_t area(MorphContext *ctx, MorphInterface shape)
{
    return ((area_method)shape.vtable[0])(ctx, shape.instance);
}

static int64_t square_area(MorphContext *ctx, void *instance)
{
    Square *square = instance;
    leaf_new(ctx, 1);
    leaf_check(square->leaf, (uint64_t)square->side, "a square's leaf");
    return square->side * square->side;
}

static int64_t oblong_area(MorphContext *ctx, void *instance)
{
    char text[48];
    Oblong *oblong = instance;
    leaf_new(ctx, 2);
    snprintf(text, sizeof text, "oblong %lld", (long long)oblong->width);
    EXPECT(string_is(oblong->name, text), "the name of %s", text);
    return oblong->width * oblong->height;
}

static int64_t repeated_area(MorphContext *ctx, void *instance)
{
    Repeated *repeated = instance;
    return repeated->times * area(ctx, *repeated->inner);
}

static void *square_vtable[] = { (void *)square_area };
static void *oblong_vtable[] = { (void *)oblong_area };
static void *repeated_vtable[] = { (void *)repeated_area };

/* By value: three words, of which nobody has told the memory system. Its area is 3 * number^2 or number * (number + 1). */
APART static MorphInterface shape_new(MorphContext *ctx, int64_t number)
{
    if (number % 2) {
        Oblong *oblong = mph_alloc(ctx, sizeof *oblong, &mph_ti_Oblong);
        ROOT(oblong);
        oblong->width = number;
        oblong->height = number + 1;
        oblong->name = string_concat(ctx, string_literal(ctx, "oblong "), string_number(ctx, number));
        RETURN(((MorphInterface){ oblong, oblong_vtable, TYPE_OBLONG }), 1);
    }
    Square *square = mph_alloc(ctx, sizeof *square, &mph_ti_Square);
    ROOT(square);
    square->side = number;
    square->leaf = leaf_new(ctx, (uint64_t)number);
    Repeated *repeated = mph_alloc(ctx, sizeof *repeated, &mph_ti_Repeated);
    repeated->times = 3;
    repeated->inner = interface_new(ctx, square, square_vtable, TYPE_SQUARE);
    RETURN(((MorphInterface){ repeated, repeated_vtable, TYPE_REPEATED }), 1);
}

static int64_t shape_area(int64_t number)
{
    return number % 2 ? number * (number + 1) : 3 * number * number;
}

/* An error is made deep down, wrapped on the way, and passed by value. */
APART static Outcome area_small(MorphContext *ctx, MorphInterface shape, int64_t most)
{
    int64_t value = area(ctx, shape);
    if (value <= most)
        return (Outcome){ value, NULL };
    return (Outcome){ 0, error_new(ctx, string_concat(ctx, string_number(ctx, value), string_literal(ctx, " is too large"))) };
}

APART static Outcome area_wrapped(MorphContext *ctx, MorphInterface shape, int64_t most)
{
    Outcome r = area_small(ctx, shape, most);
    if (r.error)
        r.error = error_new(ctx, string_concat(ctx, string_literal(ctx, "shape: "), r.error->message));
    return r;
}

static void outcome_check(MorphContext *ctx, int64_t number)
{
    char text[64];
    int64_t expected = shape_area(number);
    Outcome fine = area_wrapped(ctx, shape_new(ctx, number), expected), wrong = area_wrapped(ctx, shape_new(ctx, number), expected - 1);
    churn_and_collect(ctx, 20000);
    snprintf(text, sizeof text, "shape: %lld is too large", (long long)expected);
    EXPECT(!fine.error && fine.value == expected, "an area without an error");
    EXPECT(wrong.error && string_is(wrong.error->message, text), "an error's message");
}

void program_interfaces(MorphContext *ctx)
{
    MorphArray *shapes = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(shapes);
    for (int64_t i = 0; i < 300; i++) {
        MorphInterface shape = shape_new(ctx, i);
        ROOT(shape.instance);
        array_push_pointer(ctx, shapes, interface_new(ctx, shape.instance, shape.vtable, shape.type_id));
    }
    for (int64_t round = 0; round < (int64_t)scaled(120); round++) {
        MorphInterface local = shape_new(ctx, 1000 + round);
        ROOT(local.instance);
        MorphInterface unrooted = shape_new(ctx, 2000 + round);
        scrub();
        churn_and_collect(ctx, 200000);
        EXPECT(area(ctx, local) == shape_area(1000 + round), "a local interface value");
        EXPECT(area(ctx, unrooted) == shape_area(2000 + round), "a local interface value that is not in a root");
        for (int64_t i = 0; i < 300; i++)
            EXPECT(area(ctx, *(MorphInterface *)array_pointer(shapes, (size_t)i)) == shape_area(i), "shape %lld", (long long)i);
        outcome_check(ctx, 10 + round);
    }
    mph_gc_pop_roots(ctx, 2);
}
