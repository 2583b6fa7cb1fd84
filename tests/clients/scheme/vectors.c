/* vectors.c — primitives on vectors, most of them made of the library's operations on many references at once. */
#include "tests/clients/scheme/scheme.h"

static bool vector_check(struct scheme *s, const char *name, value v)
{
    return is_kind(v, KIND_VECTOR) || scheme_fail(s, "%s: not a vector", name);
}

/* The vector argument[first] and the index argument[first + 1] into it. */
static value *item_find(struct scheme *s, const char *name, value *argument)
{
    if (!vector_check(s, name, argument[0]))
        return NULL;
    uint64_t length = vector_length(argument[0]);
    if (!is_fixnum(argument[1]) || fixnum_of(argument[1]) < 0 || (uint64_t)fixnum_of(argument[1]) >= length)
        return scheme_fail(s, "%s: an index is out of range", name);
    return vector_items(argument[0]) + fixnum_of(argument[1]);
}

/* The range that argument[at] and argument[at + 1] say, as far as they are given, of the vector `v`. */
static bool range_find(struct scheme *s, const char *name, value v, const value *argument, unsigned at, unsigned count,
                       uint64_t *ret_start, uint64_t *ret_count)
{
    int64_t length = (int64_t)vector_length(v);
    value start = count > at ? argument[at] : fixnum(0), end = count > at + 1 ? argument[at + 1] : fixnum(length);
    if (!is_fixnum(start) || !is_fixnum(end) || fixnum_of(start) < 0 || fixnum_of(start) > fixnum_of(end) || fixnum_of(end) > length)
        return scheme_fail(s, "%s: an index is out of range", name);
    *ret_start = (uint64_t)fixnum_of(start);
    *ret_count = (uint64_t)(fixnum_of(end) - fixnum_of(start));
    return true;
}

/* ---- Items ---- */

static value make_vector(struct scheme *s, value *argument, unsigned count)
{
    if (!is_fixnum(argument[0]) || fixnum_of(argument[0]) < 0)
        return scheme_fail(s, "make-vector: the argument is not a length");
    return vector_new(s, (uint64_t)fixnum_of(argument[0]), count == 2 ? argument[1] : fixnum(0));
}

static value vector_of(struct scheme *s, value *argument, unsigned count)
{
    value vector = array_new(s, KIND_VECTOR, count);
    for (unsigned i = 0; vector && i < count; i++)
        vector_items(vector)[i] = argument[i];          /* new, and small */
    return vector;
}

static value vector_length_of(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return vector_check(s, "vector-length", argument[0]) ? fixnum((int64_t)vector_length(argument[0])) : NULL;
}

static value vector_ref(struct scheme *s, value *argument, UNUSED unsigned count)
{
    value *item = item_find(s, "vector-ref", argument);
    return item ? *item : NULL;
}

static value vector_set(struct scheme *s, value *argument, UNUSED unsigned count)
{
    value *item = item_find(s, "vector-set!", argument);
    if (!item)
        return NULL;
    store(s, argument[0], item, argument[2]);
    return UNSPECIFIED;
}

/* ---- Many items at once ---- */

/* (vector-fill! vector x [start [end]]) */
static value vector_fill(struct scheme *s, value *argument, unsigned count)
{
    uint64_t start, many;
    if (!vector_check(s, "vector-fill!", argument[0]) || !range_find(s, "vector-fill!", argument[0], argument, 2, count, &start, &many))
        return NULL;
    morph_fill_refs(s->me, argument[0], vector_items(argument[0]) + start, argument[1], many);
    return UNSPECIFIED;
}

/* (vector-copy vector [start [end]]) */
static value vector_copy(struct scheme *s, value *argument, unsigned count)
{
    uint64_t start, many;
    if (!vector_check(s, "vector-copy", argument[0]) || !range_find(s, "vector-copy", argument[0], argument, 1, count, &start, &many))
        return NULL;
    value copy = array_new(s, KIND_VECTOR, many);
    if (copy)
        morph_copy_refs(s->me, copy, vector_items(copy), vector_items(argument[0]) + start, many);
    return copy;
}

/* (vector-copy! to at from [start [end]]): also within one vector. */
static value vector_copy_into(struct scheme *s, value *argument, unsigned count)
{
    uint64_t start, many;
    if (!vector_check(s, "vector-copy!", argument[0]) || !vector_check(s, "vector-copy!", argument[2]) ||
        !range_find(s, "vector-copy!", argument[2], argument, 3, count, &start, &many))
        return NULL;
    uint64_t room = vector_length(argument[0]);
    if (!is_fixnum(argument[1]) || fixnum_of(argument[1]) < 0 || (uint64_t)fixnum_of(argument[1]) > room ||
        many > room - (uint64_t)fixnum_of(argument[1]))
        return scheme_fail(s, "vector-copy!: an index is out of range");
    morph_copy_refs(s->me, argument[0], vector_items(argument[0]) + fixnum_of(argument[1]), vector_items(argument[2]) + start, many);
    return UNSPECIFIED;
}

/* ---- Vectors and lists ---- */

static value vector_to_list(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!vector_check(s, "vector->list", argument[0]))
        return NULL;
    value list = NIL;
    for (uint64_t i = vector_length(argument[0]); i > 0 && list; i--)
        list = cons(s, vector_items(argument[0])[i - 1], list);
    return list;
}

/* argument[0] is walked twice: its second copy is pushed, within the margin. */
static value list_to_vector(struct scheme *s, value *argument, UNUSED unsigned count)
{
    uint64_t length = 0;
    stack_push(s, argument[0]);
    for (; is_pair(argument[0]); argument[0] = cdr(argument[0]), length++)
        morph_poll(s->me);
    if (argument[0] != NIL)
        return scheme_fail(s, "list->vector: the argument is not a list");
    if (!(argument[0] = vector_new(s, length, NIL)))
        return NULL;
    value *rest = s->stack + s->top - 1;
    for (uint64_t i = 0; i < length; i++, *rest = cdr(*rest)) {
        store(s, argument[0], vector_items(argument[0]) + i, car(*rest));
        morph_poll(s->me);
    }
    s->top--;
    return argument[0];
}

const struct primitive_row vector_primitives[] = {
    { "make-vector", make_vector, 1, 2, 0 },
    { "vector", vector_of, 0, ANY, 0 },
    { "vector-length", vector_length_of, 1, 1, 0 },
    { "vector-ref", vector_ref, 2, 2, 0 },
    { "vector-set!", vector_set, 3, 3, 0 },
    { "vector-fill!", vector_fill, 2, 4, 0 },
    { "vector-copy", vector_copy, 1, 3, 0 },
    { "vector-copy!", vector_copy_into, 3, 5, 0 },
    { "vector->list", vector_to_list, 1, 1, 0 },
    { "list->vector", list_to_vector, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
