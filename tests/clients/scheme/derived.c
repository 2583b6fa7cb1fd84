/* derived.c — special forms that are rewritten into others.
 *
 * What a form is rewritten into names syntax and primitives by immediates and its own variables by symbols of no table, so that it means
 * the same whatever the program has bound. Lists are gathered on the operand stack, where they are roots. */
#include "tests/clients/scheme/scheme.h"

static value second(value list) { return car(cdr(list)); }

static value rewrite_fail(struct scheme *s, value form) { return scheme_fail_about(s, "this form is not complete, or has too much", form); }

/* Are these a list of bindings: (name init), or (name init step) where `most` is 3? */
static bool bindings_check(struct scheme *s, value bindings, long most)
{
    if (list_length(bindings) < 0 || list_length(bindings) > (long)OPERANDS_MAX)
        return rewrite_fail(s, bindings);
    for (; bindings != NIL; bindings = cdr(bindings)) {
        long length = list_length(car(bindings));
        if (length < 2 || length > most)
            return rewrite_fail(s, car(bindings));
    }
    return true;
}

static value step_of(value binding) { return cdr(cdr(binding)) == NIL ? car(binding) : second(cdr(binding)); }

/* The list of a part of each binding. */
static value bindings_map(struct scheme *s, value bindings, value (*part)(value binding))
{
    size_t from = s->top;
    for (; bindings != NIL; bindings = cdr(bindings))
        stack_push(s, part(car(bindings)));
    return list_from_stack(s, from, NIL);
}

/* ---- Loops ---- */

struct loop_frame { value form, bindings, name, names, inits, body, spare; };

/* ((letrec ((name (lambda names . body))) name) . inits) */
static value loop_form(struct scheme *s, struct loop_frame *f)
{
    if (!(f->spare = cons(s, f->names, f->body)) || !(f->spare = cons(s, SYNTAX(LAMBDA), f->spare)))
        return NULL;
    if (!(f->spare = list_of(s, 2, f->name, f->spare)) || !(f->spare = list_of(s, 1, f->spare)))
        return NULL;
    value procedure = list_of(s, 3, SYNTAX(LETREC), f->spare, f->name);
    return procedure ? cons(s, procedure, f->inits) : NULL;
}

static bool loop_bindings(struct scheme *s, struct loop_frame *f, long most)
{
    return bindings_check(s, f->bindings, most) && (f->names = bindings_map(s, f->bindings, car)) &&
           (f->inits = bindings_map(s, f->bindings, second));
}

value rewrite_named_let(struct scheme *s, value form)
{
    struct loop_frame *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->name = second(form);
    f->bindings = second(cdr(form));
    f->body = cdr(cdr(cdr(form)));
    value rewritten = loop_bindings(s, f, 2) ? loop_form(s, f) : NULL;
    frame_pop(s, f);
    return rewritten;
}

/* (begin command ... (name step ...)), of a do loop. */
static value do_again(struct scheme *s, struct loop_frame *f)
{
    size_t from = s->top;
    if (!(f->spare = bindings_map(s, f->bindings, step_of)) || !(f->spare = cons(s, f->name, f->spare)))
        return NULL;
    stack_push(s, SYNTAX(BEGIN));
    for (value commands = cdr(cdr(cdr(f->form))); commands != NIL; commands = cdr(commands))
        stack_push(s, car(commands));
    stack_push(s, f->spare);
    return list_from_stack(s, from, NIL);
}

/* ((if test (begin result ...) again)): the body of a do loop's procedure. */
static value do_body(struct scheme *s, struct loop_frame *f)
{
    value ending = second(cdr(f->form));
    if (list_length(ending) < 1 || list_length(f->form) > (long)OPERANDS_MAX)
        return rewrite_fail(s, f->form);
    if (!(f->spare = do_again(s, f)))
        return NULL;
    value results = cons(s, SYNTAX(BEGIN), cdr(second(cdr(f->form))));
    value test = car(second(cdr(f->form)));
    value choice = results ? list_of(s, 4, SYNTAX(IF), test, results, f->spare) : NULL;
    return choice ? list_of(s, 1, choice) : NULL;
}

value rewrite_do(struct scheme *s, value form)
{
    struct loop_frame *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = form;
    f->bindings = second(form);
    value rewritten = NULL;
    if (loop_bindings(s, f, 3) && (f->name = symbol_new(s, "do", 2)) && (f->body = do_body(s, f)))
        rewritten = loop_form(s, f);
    frame_pop(s, f);
    return rewritten;
}

/* ---- let*, letrec ---- */

/* (let* (binding . rest) . body) is (let (binding) (let* rest . body)). */
value rewrite_let_star(struct scheme *s, value form)
{
    value bindings = second(form), body = cdr(cdr(form));
    if (!is_pair(bindings)) {
        value tail = bindings == NIL ? cons(s, NIL, body) : rewrite_fail(s, form);
        return tail ? cons(s, SYNTAX(LET), tail) : NULL;
    }
    struct { value form, inner; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = form;
    value rewritten = NULL;
    if ((f->inner = cons(s, cdr(bindings), body)) && (f->inner = cons(s, SYNTAX(LET_STAR), f->inner))) {
        value one = list_of(s, 1, car(second(f->form)));
        rewritten = one ? list_of(s, 3, SYNTAX(LET), one, f->inner) : NULL;
    }
    frame_pop(s, f);
    return rewritten;
}

/* (let () (define name init) ... (let () . body)) */
value rewrite_letrec(struct scheme *s, value form)
{
    if (!bindings_check(s, second(form), 2))
        return NULL;
    struct { value form, bindings, inner; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    size_t from = s->top;
    f->form = form;
    stack_push(s, SYNTAX(LET));
    stack_push(s, NIL);
    value definition = form;
    for (f->bindings = second(form); definition && f->bindings != NIL; f->bindings = cdr(f->bindings))
        if ((definition = cons(s, SYNTAX(DEFINE), car(f->bindings))))
            stack_push(s, definition);
    value rewritten = NULL;
    if (definition && (f->inner = cons(s, NIL, cdr(cdr(f->form)))) && (f->inner = cons(s, SYNTAX(LET), f->inner))) {
        stack_push(s, f->inner);
        rewritten = list_from_stack(s, from, NIL);
    }
    s->top = from;
    frame_pop(s, f);
    return rewritten;
}

/* ---- case, cond with =>, delay ---- */

struct case_frame { value form, clauses, key, spare; };

/* ((memv key (quote data)) . body); (else . body) as it is. */
static value case_clause(struct scheme *s, struct case_frame *f)
{
    value clause = car(f->clauses);
    if (list_length(clause) < 2)
        return rewrite_fail(s, f->form);
    if (!is_pair(car(clause)) && car(clause) != NIL)
        return clause;
    value quoted = list_of(s, 2, SYNTAX(QUOTE), car(clause));
    value test = quoted ? list_of(s, 3, primitive_named(s, "memv"), f->key, quoted) : NULL;
    return test ? cons(s, test, cdr(car(f->clauses))) : NULL;
}

static value case_cond(struct scheme *s, struct case_frame *f)
{
    size_t from = s->top;
    value clause = NIL;
    stack_push(s, SYNTAX(COND));
    for (; clause && f->clauses != NIL; f->clauses = cdr(f->clauses))
        if ((clause = case_clause(s, f)))
            stack_push(s, clause);
    value cond = clause ? list_from_stack(s, from, NIL) : NULL;
    s->top = from;
    return cond;
}

/* (let ((name init)) body) */
static value let_form(struct scheme *s, value name, value init, value *body)
{
    value binding = list_of(s, 2, name, init);
    value bindings = binding ? list_of(s, 1, binding) : NULL;
    return bindings ? list_of(s, 3, SYNTAX(LET), bindings, *body) : NULL;
}

value rewrite_case(struct scheme *s, value form)
{
    if (list_length(form) > (long)OPERANDS_MAX)
        return rewrite_fail(s, form);
    struct case_frame *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = form;
    f->clauses = cdr(cdr(form));
    value rewritten = NULL;
    if ((f->key = symbol_new(s, "key", 3)) && (f->spare = case_cond(s, f)))
        rewritten = let_form(s, f->key, second(f->form), &f->spare);
    frame_pop(s, f);
    return rewritten;
}

/* ((test => receiver) . rest) is (let ((value test)) (if value (receiver value) (cond . rest))). */
value rewrite_arrow(struct scheme *s, value clauses)
{
    struct { value clauses, name, call, body; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->clauses = clauses;
    value rewritten = NULL;
    if ((f->name = symbol_new(s, "value", 5)) && (f->call = list_of(s, 2, second(cdr(car(f->clauses))), f->name))) {
        value rest = cons(s, SYNTAX(COND), cdr(f->clauses));
        if (rest && (f->body = list_of(s, 4, SYNTAX(IF), f->name, f->call, rest)))
            rewritten = let_form(s, f->name, car(car(f->clauses)), &f->body);
    }
    frame_pop(s, f);
    return rewritten;
}

/* (make-promise (lambda () . forms)) */
static value promise_form(struct scheme *s, value forms)
{
    value tail = cons(s, NIL, forms);
    value lambda = tail ? cons(s, SYNTAX(LAMBDA), tail) : NULL;
    return lambda ? list_of(s, 2, primitive_named(s, "make-promise"), lambda) : NULL;
}

value rewrite_delay(struct scheme *s, value form) { return promise_form(s, cdr(form)); }

value rewrite_cons_stream(struct scheme *s, value form)
{
    struct { value form; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = form;
    value promise = promise_form(s, cdr(cdr(form)));
    value rewritten = promise ? list_of(s, 3, primitive_named(s, "cons"), second(f->form), promise) : NULL;
    frame_pop(s, f);
    return rewritten;
}

/* ---- quasiquote ---- */

struct template_frame { value template, scope, left, right; };

static bool is_form_of(value v, value scope, unsigned syntax) { return list_length(v) == 2 && is_syntax(car(v), scope, syntax); }

static bool is_quoted(value form) { return is_pair(form) && car(form) == SYNTAX(QUOTE); }

static value quoted(struct scheme *s, value datum) { return list_of(s, 2, SYNTAX(QUOTE), datum); }

/* (list (quote head) inner): a quasiquote or unquote that stays one, with what is in it at another level. */
static value template_nested(struct scheme *s, struct template_frame *f, unsigned level)
{
    if (!(f->left = quoted(s, car(f->template))) || !(f->right = rewrite_quasiquote(s, second(f->template), level, f->scope)))
        return NULL;
    return list_of(s, 3, primitive_named(s, "list"), f->left, f->right);
}

static value template_pair(struct scheme *s, struct template_frame *f, unsigned level)
{
    bool spliced = level == 1 && is_form_of(car(f->template), f->scope, SYNTAX_UNQUOTE_SPLICING);
    f->left = spliced ? second(car(f->template)) : rewrite_quasiquote(s, car(f->template), level, f->scope);
    if (!f->left || !(f->right = rewrite_quasiquote(s, cdr(f->template), level, f->scope)))
        return NULL;
    if (!spliced && is_quoted(f->left) && is_quoted(f->right))
        return quoted(s, f->template);
    return list_of(s, 3, primitive_named(s, spliced ? "append" : "cons"), f->left, f->right);
}

static value template_vector(struct scheme *s, struct template_frame *f, unsigned level)
{
    size_t from = s->top;
    if (vector_length(f->template) > OPERANDS_MAX)
        return rewrite_fail(s, f->template);
    for (uint64_t i = 0; i < vector_length(f->template); i++)
        stack_push(s, vector_items(f->template)[i]);
    value list = list_from_stack(s, from, NIL);
    value form = list ? rewrite_quasiquote(s, list, level, f->scope) : NULL;
    return form ? list_of(s, 2, primitive_named(s, "list->vector"), form) : NULL;
}

static value template_rewrite(struct scheme *s, struct template_frame *f, unsigned level)
{
    value it = f->template;
    if (is_kind(it, KIND_VECTOR))
        return template_vector(s, f, level);
    if (!is_pair(it))
        return quoted(s, it);
    if (is_form_of(it, f->scope, SYNTAX_UNQUOTE))
        return level == 1 ? second(it) : template_nested(s, f, level - 1);
    if (is_form_of(it, f->scope, SYNTAX_QUASIQUOTE))
        return template_nested(s, f, level + 1);
    return template_pair(s, f, level);
}

value rewrite_quasiquote(struct scheme *s, value form, unsigned level, value scope)
{
    struct template_frame *f = frame_push(s, sizeof *f);
    value rewritten = NULL;
    if (!f)
        return NULL;
    f->template = form;
    f->scope = scope;
    if (depth_enter(s)) {
        rewritten = template_rewrite(s, f, level);
        depth_leave(s);
    }
    frame_pop(s, f);
    return rewritten;
}
