/* system.c — primitives that speak with the heap: collections, weak references, finalizers, promises; and errors. */
#include "tests/clients/scheme/scheme.h"

#include <stdio.h>

/* ---- Errors ---- */

/* (error message irritant ...): the message as it is displayed, the irritants as they are written. */
static value raise_error(struct scheme *s, value *argument, unsigned count)
{
    s->scratch.used = 0;
    for (unsigned i = 0; i < count; i++)
        if ((i > 0 && !text_add(s, &s->scratch, " ", 1)) || !print_value(s, &s->scratch, argument[i], i > 0))
            return NULL;
    return scheme_fail(s, "%.*s", (int)(s->scratch.used < 500 ? s->scratch.used : 500), s->scratch.bytes);
}

/* ---- Collections ---- */

/* (gc [how]): 0 the young, 1 everything (as without an argument), 2 moved together. What only registers still held is let go. */
static value collect(struct scheme *s, value *argument, unsigned count)
{
    if (count == 1 && (!is_fixnum(argument[0]) || fixnum_of(argument[0]) < 0 || fixnum_of(argument[0]) > 2))
        return scheme_fail(s, "gc: the argument is not 0, 1 or 2");
    enum morph_collection kind = count == 1 ? (enum morph_collection)fixnum_of(argument[0]) : MORPH_COLLECT_MAJOR;
    s->r->first = s->r->second = s->r->result = NULL;
    int r = morph_collect(s->me, kind);
    return r < 0 ? scheme_fail(s, "gc: %s", morph_strerror(r)) : UNSPECIFIED;
}

static value collections(struct scheme *s, UNUSED value *argument, UNUSED unsigned count)
{
    morph_heap_stats stats;
    int r = morph_heap_stats_get(s->heap, &stats);
    return r < 0 ? scheme_fail(s, "%s", morph_strerror(r)) : integer(s, (int64_t)stats.collections);
}

static value symbol_count(struct scheme *s, UNUSED value *argument, UNUSED unsigned count) { return fixnum((int64_t)symbols_live(s)); }

static value identity_hash(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_object(argument[0]))
        return scheme_fail_about(s, "identity-hash: not an object of the heap", argument[0]);
    return fixnum(morph_identity_hash(s->me, argument[0]));
}

/* ---- Weak references: a box of one, and a pair of key and content ---- */

static bool object_check(struct scheme *s, const char *name, value v)
{
    return is_object(v) || scheme_fail(s, "%s: not an object of the heap", name);
}

static value make_weak_box(struct scheme *s, value *argument, UNUSED unsigned count)
{
    struct weak_box *box = object_check(s, "make-weak-box", argument[0]) ? object_new(s, KIND_WEAK_BOX) : NULL;
    if (box)
        box->content = argument[0];
    return box;
}

static value make_ephemeron(struct scheme *s, value *argument, UNUSED unsigned count)
{
    struct ephemeron *ephemeron = object_check(s, "make-ephemeron", argument[0]) ? object_new(s, KIND_EPHEMERON) : NULL;
    if (ephemeron)
        *ephemeron = (struct ephemeron){ .key = argument[0], .content = argument[1] };
    return ephemeron;
}

/* What is in a weak slot; #f if it is gone. An immediate is no reference. */
static value weak_content(struct scheme *s, value *slot)
{
    value v = *slot;
    if (v && !is_object(v))
        return v;
    v = morph_weak_read(s->me, slot);
    return v ? v : FALSE;
}

static value weak_box_content(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_kind(argument[0], KIND_WEAK_BOX))
        return scheme_fail(s, "weak-box-content: not a weak box");
    return weak_content(s, &((struct weak_box *)argument[0])->content);
}

static value ephemeron_key(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_kind(argument[0], KIND_EPHEMERON))
        return scheme_fail(s, "ephemeron-key: not an ephemeron");
    return weak_content(s, &((struct ephemeron *)argument[0])->key);
}

static value ephemeron_content(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_kind(argument[0], KIND_EPHEMERON))
        return scheme_fail(s, "ephemeron-content: not an ephemeron");
    return weak_content(s, &((struct ephemeron *)argument[0])->content);
}

/* ---- Finalizers: an object, and the number that is told when only its finalizer still knows it ---- */

static value finalizer_set(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!object_check(s, "finalize!", argument[0]) || !is_fixnum(argument[1]))
        return scheme_fail(s, "finalize!: needs an object of the heap and an integer");
    int r = morph_finalizer_set(s->me, argument[0], (void *)(uintptr_t)argument[1]);
    return r < 0 ? scheme_fail(s, "finalize!: %s", morph_strerror(r)) : UNSPECIFIED;
}

/* (finalized): (number . object) of the next one; #f: none now. */
static value finalizer_next(struct scheme *s, UNUSED value *argument, UNUSED unsigned count)
{
    void *word;
    value object = morph_finalizer_next(s->me, &word);
    return object ? cons(s, word, object) : FALSE;
}

/* ---- Promises ---- */

static value make_promise(struct scheme *s, value *argument, UNUSED unsigned count)
{
    struct promise *promise = object_new(s, KIND_PROMISE);
    if (promise)
        promise->thunk = argument[0];
    return promise;
}

static bool promise_check(struct scheme *s, value v) { return is_kind(v, KIND_PROMISE) || scheme_fail(s, "force: not a promise"); }

static value promise_is_kept(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return promise_check(s, argument[0]) ? boolean(((struct promise *)argument[0])->result != NULL) : NULL;
}

static value promise_thunk(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return promise_check(s, argument[0]) ? ((struct promise *)argument[0])->thunk : NULL;
}

static value promise_result(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return promise_check(s, argument[0]) ? ((struct promise *)argument[0])->result : NULL;
}

/* (promise-keep! promise x): the first result stays, also if computing it has forced the promise. The thunk is let go. */
static value promise_keep(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!promise_check(s, argument[0]))
        return NULL;
    struct promise *promise = argument[0];
    if (morph_compare_exchange(s->me, promise, &promise->result, NULL, argument[1]))
        store(s, promise, &promise->thunk, FALSE);
    return promise->result;
}

const struct primitive_row system_primitives[] = {
    { "error", raise_error, 1, ANY, 0 },
    { "gc", collect, 0, 1, 0 },
    { "collections", collections, 0, 0, 0 },
    { "symbol-count", symbol_count, 0, 0, 0 },
    { "identity-hash", identity_hash, 1, 1, 0 },
    { "make-weak-box", make_weak_box, 1, 1, 0 },
    { "weak-box-content", weak_box_content, 1, 1, 0 },
    { "make-ephemeron", make_ephemeron, 2, 2, 0 },
    { "ephemeron-key", ephemeron_key, 1, 1, 0 },
    { "ephemeron-content", ephemeron_content, 1, 1, 0 },
    { "finalize!", finalizer_set, 2, 2, 0 },
    { "finalized", finalizer_next, 0, 0, 0 },
    { "make-promise", make_promise, 1, 1, 0 },
    { "promise-kept?", promise_is_kept, 1, 1, 0 },
    { "promise-thunk", promise_thunk, 1, 1, 0 },
    { "promise-result", promise_result, 1, 1, 0 },
    { "promise-keep!", promise_keep, 2, 2, 0 },
    { NULL, NULL, 0, 0, 0 }
};
