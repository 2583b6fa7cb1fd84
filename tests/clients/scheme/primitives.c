/* primitives.c — the registry of what programs can call, and equality.
 *
 * Each file of primitives exports its rows; here they get numbers, objects in the heap and global names. A primitive finds its arguments
 * on the operand stack, where they are roots: it reads argument[i] again after whatever may collect, and may use them as variables. */
#include "tests/clients/scheme/scheme.h"

#include <string.h>

int primitive_find(const struct scheme *s, const char *name)
{
    for (unsigned i = 0; i < s->primitives; i++)
        if (strcmp(s->primitive[i]->name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- Equality ---- */

bool eqv(value a, value b)
{
    return a == b || (is_kind(a, KIND_FLONUM) && is_kind(b, KIND_FLONUM) && flonum_of(a) == flonum_of(b));
}

static bool equal_strings(value a, value b)
{
    return string_length(a) == string_length(b) && memcmp(string_bytes(a), string_bytes(b), string_length(a)) == 0;
}

/* Along the lists, into their elements. */
static int equal_lists(struct scheme *s, value a, value b)
{
    struct { value a, b; } *f = frame_push(s, sizeof *f);
    int same = f ? 1 : -1;
    if (!f)
        return same;
    f->a = a;
    f->b = b;
    while (same == 1 && is_pair(f->a) && is_pair(f->b)) {
        same = equal(s, car(f->a), car(f->b));
        f->a = cdr(f->a);
        f->b = cdr(f->b);
        morph_poll(s->me);
    }
    if (same == 1)
        same = equal(s, f->a, f->b);
    frame_pop(s, f);
    return same;
}

static int equal_vectors(struct scheme *s, value a, value b)
{
    if (vector_length(a) != vector_length(b))
        return 0;
    struct { value a, b; } *f = frame_push(s, sizeof *f);
    int same = f ? 1 : -1;
    if (!f)
        return same;
    f->a = a;
    f->b = b;
    for (uint64_t i = 0; same == 1 && i < vector_length(f->a); i++) {
        same = equal(s, vector_items(f->a)[i], vector_items(f->b)[i]);
        morph_poll(s->me);
    }
    frame_pop(s, f);
    return same;
}

int equal(struct scheme *s, value a, value b)
{
    enum kind kind = kind_of(a);
    if (eqv(a, b))
        return 1;
    if (kind != kind_of(b) || (kind != KIND_PAIR && kind != KIND_STRING && kind != KIND_VECTOR))
        return 0;
    if (kind == KIND_STRING)
        return equal_strings(a, b);
    if (!depth_enter(s))
        return -1;
    int same = kind == KIND_PAIR ? equal_lists(s, a, b) : equal_vectors(s, a, b);
    depth_leave(s);
    return same;
}

/* ---- The registry ---- */

/* These have no function: the evaluator does them. */
static const struct primitive_row control_primitives[] = {
    { "apply", NULL, 2, ANY, CONTROL_APPLY },
    { "call/cc", NULL, 1, 1, CONTROL_CALL_CC },
    { "call-with-current-continuation", NULL, 1, 1, CONTROL_CALL_CC },
    { "with-error-handler", NULL, 2, 2, CONTROL_HANDLER },
    { "eval", NULL, 1, 1, CONTROL_EVAL },
    { NULL, NULL, 0, 0, 0 }
};

static const struct primitive_row *const families[] = {
    control_primitives, list_primitives, number_primitives, string_primitives, vector_primitives, table_primitives, print_primitives,
    system_primitives
};

/* The global `name` becomes the primitive. */
static bool primitive_define(struct scheme *s, const char *name, unsigned index)
{
    struct { value symbol, primitive; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    struct cell *cell = NULL;
    if ((f->symbol = symbol_intern(s, name, strlen(name))) && (f->primitive = object_new_lasting(s, KIND_PRIMITIVE))) {
        struct primitive *primitive = f->primitive;
        primitive->name = f->symbol;
        primitive->index = index;
        if ((cell = global_cell(s, f->symbol)))
            store(s, cell, &cell->content, f->primitive);
    }
    frame_pop(s, f);
    return cell != NULL;
}

bool primitives_begin(struct scheme *s)
{
    for (size_t family = 0; family < sizeof families / sizeof *families; family++)
        for (const struct primitive_row *row = families[family]; row->name; row++) {
            if (s->primitives == PRIMITIVES_MAX)
                return scheme_fail(s, "there are too many primitives");
            s->primitive[s->primitives++] = row;
            if (!primitive_define(s, row->name, s->primitives - 1))
                return false;
        }
    return true;
}
