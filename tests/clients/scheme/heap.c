/* heap.c — the heap of the interpreter: opening it, the layouts of its objects, constructors, and how things fail.
 *
 * Constructors put what they are given into registers, allocate, and read it back from there: the allocation may have moved it.
 * Errors: the function that fails says so with scheme_fail() and returns NULL (or false), and so does each caller up to the evaluator,
 * popping its frame on the way. */
#include "tests/clients/scheme/scheme.h"

#include <stdio.h>
#include <string.h>

/* ---- Failing ---- */

value scheme_fail(struct scheme *s, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(s->error, sizeof s->error, format, list);
    va_end(list);
    return NULL;
}

value scheme_fail_memory(struct scheme *s) { return scheme_fail(s, "%s", morph_strerror(morph_thread_error(s->me))); }

value scheme_fail_about(struct scheme *s, const char *sentence, value v)
{
    s->scratch.used = 0;
    if (print_value(s, &s->scratch, v, true))
        scheme_fail(s, "%s: %.*s", sentence, (int)(s->scratch.used < 200 ? s->scratch.used : 200), s->scratch.bytes);
    return NULL;
}

void *frame_push(struct scheme *s, size_t bytes)
{
    void *frame = morph_frame_push(s->me, bytes);
    return frame ? frame : scheme_fail(s, "%s", morph_strerror(MORPH_EROOTS));
}

bool depth_enter(struct scheme *s)
{
    if (s->depth == DEPTH_MAX)
        return scheme_fail(s, "data is nested too deeply");
    s->depth++;
    return true;
}

/* ---- Layouts ---- */

struct layout {
    enum kind       kind;
    morph_type_spec spec;
};

static const struct layout layouts[] = {
    { KIND_PAIR, { .bytes = sizeof(struct pair), .refs = MORPH_REFS(struct pair, car, cdr) } },
    { KIND_FLONUM, { .bytes = sizeof(struct flonum) } },
    { KIND_STRING, { .element_bytes = 1 } },
    { KIND_SYMBOL, { .bytes = sizeof(struct symbol), .refs = MORPH_REFS(struct symbol, name) } },
    { KIND_VECTOR, { .element_bytes = sizeof(value), .element_refs = MORPH_ELEMENT_IS_REF } },
    { KIND_CLOSURE, { .bytes = sizeof(struct closure), .refs = MORPH_REFS(struct closure, lambda, environment) } },
    { KIND_PRIMITIVE, { .bytes = sizeof(struct primitive), .refs = MORPH_REFS(struct primitive, name) } },
    { KIND_PROMISE, { .bytes = sizeof(struct promise), .refs = MORPH_REFS(struct promise, thunk, result) } },
    { KIND_CONTINUATION, { .bytes = sizeof(struct continuation), .refs = MORPH_REFS(struct continuation, segment) } },
    { KIND_TABLE, { .bytes = sizeof(struct table), .refs = MORPH_REFS(struct table, entry) } },
    { KIND_PORT, { .bytes = sizeof(struct port), .refs = MORPH_REFS(struct port, bytes) } },
    { KIND_WEAK_BOX, { .bytes = sizeof(struct weak_box), .refs = MORPH_REFS(struct weak_box, content), .flags = MORPH_TYPE_WEAK } },
    { KIND_EPHEMERON, { .bytes = sizeof(struct ephemeron), .refs = MORPH_REFS(struct ephemeron, key, content),
                        .flags = MORPH_TYPE_EPHEMERON } },
    { KIND_ENVIRONMENT, { .bytes = sizeof(struct environment), .refs = MORPH_REFS(struct environment, parent),
                          .element_bytes = sizeof(value), .element_refs = MORPH_ELEMENT_IS_REF } },
    { KIND_CELL, { .bytes = sizeof(struct cell), .refs = MORPH_REFS(struct cell, content, name) } },
    { KIND_SCOPE, { .bytes = sizeof(struct scope), .refs = MORPH_REFS(struct scope, parent, names) } },
    { KIND_SEGMENT, { .bytes = sizeof(struct segment), .refs = MORPH_REFS(struct segment, next),
                      .element_bytes = sizeof(value), .element_refs = MORPH_ELEMENT_IS_REF } },
    { KIND_SYMBOLS, { .element_bytes = sizeof(value), .element_refs = MORPH_ELEMENT_IS_REF, .flags = MORPH_TYPE_WEAK } },
};

/* All nodes look alike to the collector; their names tell them apart from outside. */
static const morph_type_spec node_layout = {
    .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, x),
    .element_bytes = sizeof(value), .element_refs = MORPH_ELEMENT_IS_REF
};

static const char *const kind_name[KIND_COUNT] = {
#define X(name, text) [KIND_##name] = text,
    KIND_MAP(X)
    NODE_MAP(X)
#undef X
};

static int type_register(struct scheme *s, enum kind kind, morph_type_spec spec)
{
    spec.name = kind_name[kind];
    return morph_type_register(s->heap, &spec, &s->type[kind]);
}

static int types_register(struct scheme *s)
{
    int r = 0;
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts && r == 0; i++)
        r = type_register(s, layouts[i].kind, layouts[i].spec);
    for (enum kind kind = KIND_NODE_FIRST; kind < KIND_COUNT && r == 0; kind++)
        r = type_register(s, kind, node_layout);
    return r;
}

/* ---- The heap ---- */

int heap_begin(struct scheme *s, const morph_options *options)
{
    int r = morph_heap_open(&s->heap, options);
    if (r < 0)
        return r;
    if ((r = morph_thread_attach(s->heap, &s->me)) < 0)
        goto fail_attach;
    if ((r = types_register(s)) < 0)
        goto fail_thread;
    r = MORPH_EROOTS;
    if (!(s->r = morph_frame_push(s->me, sizeof *s->r)))
        goto fail_thread;
    s->r->segment = NIL;
    return 0;
fail_thread:
    morph_thread_detach(s->me);
fail_attach:
    morph_heap_close(s->heap);
    return r;
}

void heap_end(struct scheme *s)
{
    morph_frame_pop(s->me, s->r);
    morph_thread_detach(s->me);
    morph_heap_close(s->heap);
}

/* ---- Constructors ---- */

static void *born(struct scheme *s, enum kind kind, void *object)
{
    if (!object)
        return scheme_fail_memory(s);
    morph_object_set_word(object, kind);
    return object;
}

void *object_new(struct scheme *s, enum kind kind) { return born(s, kind, morph_new(s->me, s->type[kind])); }

void *object_new_lasting(struct scheme *s, enum kind kind)
{
    return born(s, kind, morph_new_hint(s->me, s->type[kind], MORPH_HINT_LONG));
}

void *array_new(struct scheme *s, enum kind kind, uint64_t elements)
{
    return born(s, kind, morph_new_array(s->me, s->type[kind], elements));
}

value cons(struct scheme *s, value car_value, value cdr_value)
{
    struct registers *r = s->r;
    r->first = car_value;
    r->second = cdr_value;
    struct pair *pair = object_new(s, KIND_PAIR);
    if (pair)
        *pair = (struct pair){ .car = r->first, .cdr = r->second };
    return pair;
}

value flonum(struct scheme *s, double number)
{
    struct flonum *flonum = object_new(s, KIND_FLONUM);
    if (flonum)
        flonum->number = number;
    return flonum;
}

value integer(struct scheme *s, int64_t number)
{
    return number >= FIXNUM_MIN && number <= FIXNUM_MAX ? fixnum(number) : flonum(s, (double)number);
}

value string_new(struct scheme *s, const char *bytes, uint64_t length)
{
    value string = array_new(s, KIND_STRING, length);
    if (string && bytes)
        memcpy(string_bytes(string), bytes, length);
    return string;
}

value vector_new(struct scheme *s, uint64_t length, value fill)
{
    s->r->first = fill;
    value vector = array_new(s, KIND_VECTOR, length);
    if (vector)
        morph_fill_refs(s->me, vector, vector_items(vector), s->r->first, length);
    return vector;
}

value closure_new(struct scheme *s, value lambda, value environment)
{
    struct registers *r = s->r;
    r->first = lambda;
    r->second = environment;
    struct closure *closure = object_new(s, KIND_CLOSURE);
    if (closure)
        *closure = (struct closure){ .lambda = r->first, .environment = r->second };
    return closure;
}

value environment_new(struct scheme *s, uint64_t slots) { return array_new(s, KIND_ENVIRONMENT, slots); }
