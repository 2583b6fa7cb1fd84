/* lists.c — primitives on pairs and lists, and what things are. Loops along lists poll, with their place in an argument. */
#include "tests/clients/scheme/scheme.h"

#include <stdio.h>

static value not_a_pair(struct scheme *s, const char *name, value v)
{
    char sentence[64];
    snprintf(sentence, sizeof sentence, "%s: not a pair", name);
    return scheme_fail_about(s, sentence, v);
}

static value not_a_list(struct scheme *s, const char *name) { return scheme_fail(s, "%s: the argument is not a list", name); }

/* ---- Pairs ---- */

static value list_cons(struct scheme *s, value *argument, UNUSED unsigned count) { return cons(s, argument[0], argument[1]); }

/* Goes into the pair by a path, last step first: 'a' car, 'd' cdr. */
static value walk(struct scheme *s, const char *name, const char *path, value v)
{
    for (; *path; path++) {
        if (!is_pair(v))
            return not_a_pair(s, name, v);
        v = *path == 'a' ? car(v) : cdr(v);
    }
    return v;
}

#define ACCESSOR(name, path) \
    static value list_##name(struct scheme *s, value *argument, UNUSED unsigned count) { return walk(s, #name, path, argument[0]); }
ACCESSOR(caar, "aa")
ACCESSOR(cadr, "da")
ACCESSOR(cdar, "ad")
ACCESSOR(cddr, "dd")
ACCESSOR(caddr, "dda")
ACCESSOR(cdddr, "ddd")
ACCESSOR(cadddr, "ddda")

static value list_car(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return is_pair(argument[0]) ? car(argument[0]) : not_a_pair(s, "car", argument[0]);
}

static value list_cdr(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return is_pair(argument[0]) ? cdr(argument[0]) : not_a_pair(s, "cdr", argument[0]);
}

static value list_set_car(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_pair(argument[0]))
        return not_a_pair(s, "set-car!", argument[0]);
    store(s, argument[0], &((struct pair *)argument[0])->car, argument[1]);
    return UNSPECIFIED;
}

static value list_set_cdr(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_pair(argument[0]))
        return not_a_pair(s, "set-cdr!", argument[0]);
    store(s, argument[0], &((struct pair *)argument[0])->cdr, argument[1]);
    return UNSPECIFIED;
}

/* ---- Lists ---- */

static value list_list(struct scheme *s, UNUSED value *argument, unsigned count) { return list_from_stack(s, s->top - count, NIL); }

static value list_length_of(struct scheme *s, value *argument, UNUSED unsigned count)
{
    int64_t length = 0;
    for (; is_pair(argument[0]); argument[0] = cdr(argument[0]), length++)
        morph_poll(s->me);
    return argument[0] == NIL ? fixnum(length) : not_a_list(s, "length");
}

static value list_is_list(struct scheme *s, value *argument, UNUSED unsigned count)
{
    while (is_pair(argument[0])) {
        argument[0] = cdr(argument[0]);
        morph_poll(s->me);
    }
    return boolean(argument[0] == NIL);
}

static value list_reverse(struct scheme *s, value *argument, UNUSED unsigned count)
{
    value reversed = NIL;
    for (; is_pair(argument[0]) && reversed; argument[0] = cdr(argument[0]))
        reversed = cons(s, car(argument[0]), reversed);
    return !reversed || argument[0] == NIL ? reversed : not_a_list(s, "reverse");
}

struct append_frame { value head, last; };

/* A copy of the list at *list behind what is in the frame. */
static bool append_copy(struct scheme *s, struct append_frame *f, value *list)
{
    for (; is_pair(*list); *list = cdr(*list)) {
        value pair = cons(s, car(*list), NIL);
        if (!pair)
            return false;
        if (f->last)
            store(s, f->last, &((struct pair *)f->last)->cdr, pair);
        else
            f->head = pair;
        f->last = pair;
    }
    return *list == NIL || not_a_list(s, "append");
}

static value list_append(struct scheme *s, value *argument, unsigned count)
{
    struct append_frame *f = frame_push(s, sizeof *f);
    bool fine = f != NULL;
    if (!f)
        return NULL;
    f->head = NIL;
    for (unsigned i = 0; i + 1 < count && fine; i++)
        fine = append_copy(s, f, &argument[i]);
    value list = fine ? f->head : NULL;
    if (fine && count > 0) {
        if (f->last)
            store(s, f->last, &((struct pair *)f->last)->cdr, argument[count - 1]);
        else
            list = argument[count - 1];
    }
    frame_pop(s, f);
    return list;
}

/* argument[0] becomes what is left of the list after argument[1] steps. */
static bool advance(struct scheme *s, const char *name, value *argument)
{
    if (!is_fixnum(argument[1]) || fixnum_of(argument[1]) < 0)
        return scheme_fail(s, "%s: the second argument is not an index", name);
    for (int64_t steps = fixnum_of(argument[1]); steps > 0; steps--) {
        if (!is_pair(argument[0]))
            return scheme_fail(s, "%s: the list is too short", name);
        argument[0] = cdr(argument[0]);
        morph_poll(s->me);
    }
    return true;
}

static value list_tail(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return advance(s, "list-tail", argument) ? argument[0] : NULL;
}

static value list_ref(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!advance(s, "list-ref", argument))
        return NULL;
    return is_pair(argument[0]) ? car(argument[0]) : scheme_fail(s, "list-ref: the list is too short");
}

static value list_last_pair(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_pair(argument[0]))
        return not_a_pair(s, "last-pair", argument[0]);
    for (; is_pair(cdr(argument[0])); argument[0] = cdr(argument[0]))
        morph_poll(s->me);
    return argument[0];
}

/* ---- Searching: argument[1] becomes the place where the key, argument[0], was found, or the list's end ---- */

typedef int (*comparison)(struct scheme *s, value a, value b);

static int compare_eq(UNUSED struct scheme *s, value a, value b) { return a == b; }

static int compare_eqv(UNUSED struct scheme *s, value a, value b) { return eqv(a, b); }

static value find_member(struct scheme *s, value *argument, comparison same)
{
    for (; is_pair(argument[1]); argument[1] = cdr(argument[1])) {
        int found = same(s, argument[0], car(argument[1]));
        if (found)
            return found < 0 ? NULL : argument[1];
        morph_poll(s->me);
    }
    return FALSE;
}

static value find_assoc(struct scheme *s, value *argument, comparison same)
{
    for (; is_pair(argument[1]); argument[1] = cdr(argument[1])) {
        if (!is_pair(car(argument[1])))
            return not_a_pair(s, "assoc", car(argument[1]));
        int found = same(s, argument[0], car(car(argument[1])));
        if (found)
            return found < 0 ? NULL : car(argument[1]);
        morph_poll(s->me);
    }
    return FALSE;
}

static value list_memq(struct scheme *s, value *argument, UNUSED unsigned count) { return find_member(s, argument, compare_eq); }
static value list_memv(struct scheme *s, value *argument, UNUSED unsigned count) { return find_member(s, argument, compare_eqv); }
static value list_member(struct scheme *s, value *argument, UNUSED unsigned count) { return find_member(s, argument, equal); }
static value list_assq(struct scheme *s, value *argument, UNUSED unsigned count) { return find_assoc(s, argument, compare_eq); }
static value list_assv(struct scheme *s, value *argument, UNUSED unsigned count) { return find_assoc(s, argument, compare_eqv); }
static value list_assoc(struct scheme *s, value *argument, UNUSED unsigned count) { return find_assoc(s, argument, equal); }

/* ---- What things are ---- */

static value is_eq(UNUSED struct scheme *s, value *argument, UNUSED unsigned count) { return boolean(argument[0] == argument[1]); }
static value is_eqv(UNUSED struct scheme *s, value *argument, UNUSED unsigned count) { return boolean(eqv(argument[0], argument[1])); }

static value is_equal(struct scheme *s, value *argument, UNUSED unsigned count)
{
    int same = equal(s, argument[0], argument[1]);
    return same < 0 ? NULL : boolean(same);
}

#define PREDICATE(name, test) \
    static value name(UNUSED struct scheme *s, value *argument, UNUSED unsigned count) { value v = argument[0]; return boolean(test); }
PREDICATE(is_a_pair, is_pair(v))
PREDICATE(is_null, v == NIL)
PREDICATE(is_symbol, is_kind(v, KIND_SYMBOL))
PREDICATE(is_string, is_kind(v, KIND_STRING))
PREDICATE(is_char, is_tagged(v, TAG_CHARACTER))
PREDICATE(is_boolean, v == TRUE || v == FALSE)
PREDICATE(is_vector, is_kind(v, KIND_VECTOR))
PREDICATE(is_procedure, is_kind(v, KIND_CLOSURE) || is_kind(v, KIND_PRIMITIVE) || is_kind(v, KIND_CONTINUATION))
PREDICATE(negate, v == FALSE)

const struct primitive_row list_primitives[] = {
    { "cons", list_cons, 2, 2, 0 },
    { "car", list_car, 1, 1, 0 },
    { "cdr", list_cdr, 1, 1, 0 },
    { "caar", list_caar, 1, 1, 0 },
    { "cadr", list_cadr, 1, 1, 0 },
    { "cdar", list_cdar, 1, 1, 0 },
    { "cddr", list_cddr, 1, 1, 0 },
    { "caddr", list_caddr, 1, 1, 0 },
    { "cdddr", list_cdddr, 1, 1, 0 },
    { "cadddr", list_cadddr, 1, 1, 0 },
    { "set-car!", list_set_car, 2, 2, 0 },
    { "set-cdr!", list_set_cdr, 2, 2, 0 },
    { "list", list_list, 0, ANY, 0 },
    { "length", list_length_of, 1, 1, 0 },
    { "list?", list_is_list, 1, 1, 0 },
    { "reverse", list_reverse, 1, 1, 0 },
    { "append", list_append, 0, ANY, 0 },
    { "list-tail", list_tail, 2, 2, 0 },
    { "list-ref", list_ref, 2, 2, 0 },
    { "last-pair", list_last_pair, 1, 1, 0 },
    { "memq", list_memq, 2, 2, 0 },
    { "memv", list_memv, 2, 2, 0 },
    { "member", list_member, 2, 2, 0 },
    { "assq", list_assq, 2, 2, 0 },
    { "assv", list_assv, 2, 2, 0 },
    { "assoc", list_assoc, 2, 2, 0 },
    { "eq?", is_eq, 2, 2, 0 },
    { "eqv?", is_eqv, 2, 2, 0 },
    { "equal?", is_equal, 2, 2, 0 },
    { "pair?", is_a_pair, 1, 1, 0 },
    { "null?", is_null, 1, 1, 0 },
    { "symbol?", is_symbol, 1, 1, 0 },
    { "string?", is_string, 1, 1, 0 },
    { "char?", is_char, 1, 1, 0 },
    { "boolean?", is_boolean, 1, 1, 0 },
    { "vector?", is_vector, 1, 1, 0 },
    { "procedure?", is_procedure, 1, 1, 0 },
    { "not", negate, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
