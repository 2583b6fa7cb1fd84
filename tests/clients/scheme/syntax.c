/* syntax.c — the special forms: a table of who compiles which. Those that come down to others are rewritten (derived.c), then compiled.
 *
 * A symbol is reserved by the number in it; where a program binds the name as a variable it is an ordinary one. */
#include "tests/clients/scheme/scheme.h"

typedef value (*compiler)(struct scheme *s, value form, value scope);
typedef value (*rewriter)(struct scheme *s, value form);

static const char *const syntax_text[SYNTAX_COUNT] = {
#define X(name, text) [SYNTAX_##name] = text,
    SYNTAX_MAP(X)
#undef X
};

const char *syntax_name(enum syntax syntax) { return syntax_text[syntax]; }

static value malformed(struct scheme *s, value form) { return scheme_fail_about(s, "this form is not complete, or has too much", form); }

static value unspecified_node(struct scheme *s) { return node_of(s, KIND_NODE_CONSTANT, UNSPECIFIED); }

static value compile_rewritten(struct scheme *s, rewriter rewrite, value form, value scope)
{
    struct { value scope; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->scope = scope;
    value rewritten = rewrite(s, form);
    value node = rewritten ? compile_form(s, rewritten, f->scope) : NULL;
    frame_pop(s, f);
    return node;
}

/* ---- Plain forms ---- */

static value compile_quote(struct scheme *s, value form, UNUSED value scope)
{
    return list_length(form) == 2 ? node_of(s, KIND_NODE_CONSTANT, car(cdr(form))) : malformed(s, form);
}

static value compile_if(struct scheme *s, value form, value scope)
{
    long length = list_length(form);
    if (length != 3 && length != 4)
        return malformed(s, form);
    struct { value form, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = cdr(form);
    f->scope = scope;
    f->node = node_new(s, KIND_NODE_IF, 3);
    bool fine = f->node != NULL;
    for (unsigned i = 0; fine && i < 3; i++) {
        fine = node_compile(s, &f->node, i, is_pair(f->form) ? car(f->form) : UNSPECIFIED, f->scope);
        f->form = is_pair(f->form) ? cdr(f->form) : NIL;
    }
    value node = fine ? f->node : NULL;
    frame_pop(s, f);
    return node;
}

/* A node that gives the variable `name` the value of `form`, or of a lambda if `parameters` is not NULL: the form is then its body. */
static value compile_setter(struct scheme *s, enum kind global, value name, value parameters, value form, value scope)
{
    struct { value name, parameters, form, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->name = name;
    f->parameters = parameters;
    f->form = form;
    f->scope = scope;
    value node = NULL;
    if ((f->node = variable_node(s, KIND_NODE_SET_LOCAL, global, name, scope, 1))) {
        value part = f->parameters ? compile_lambda(s, f->name, f->parameters, f->form, f->scope) : compile_form(s, f->form, f->scope);
        node = part ? f->node : NULL;
        if (node)
            store(s, node, ((struct node *)node)->part, part);
    }
    frame_pop(s, f);
    return node;
}

/* (define name (lambda parameters . body)) gives the procedure its name, too. */
static value compile_definition(struct scheme *s, value form, value scope)
{
    long length = list_length(form);
    if (length < 3)
        return malformed(s, form);
    value target = car(cdr(form)), rest = cdr(cdr(form));
    if (!is_kind(is_pair(target) ? car(target) : target, KIND_SYMBOL) || (!is_pair(target) && length != 3))
        return malformed(s, form);
    if (is_pair(target))
        return compile_setter(s, KIND_NODE_DEFINE, car(target), cdr(target), rest, scope);
    value given = car(rest);
    if (is_pair(given) && is_syntax(car(given), scope, SYNTAX_LAMBDA) && list_length(given) >= 3)
        return compile_setter(s, KIND_NODE_DEFINE, target, car(cdr(given)), cdr(cdr(given)), scope);
    return compile_setter(s, KIND_NODE_DEFINE, target, NULL, given, scope);
}

static value compile_define(struct scheme *s, value form, value scope)
{
    value node = compile_definition(s, form, scope);
    if (!node || scope == NIL || is_kind(node, KIND_NODE_SET_LOCAL))
        return node;
    return scheme_fail(s, "a definition stands where there is none allowed");
}

static value compile_set(struct scheme *s, value form, value scope)
{
    if (list_length(form) != 3 || !is_kind(car(cdr(form)), KIND_SYMBOL))
        return malformed(s, form);
    return compile_setter(s, KIND_NODE_SET_GLOBAL, car(cdr(form)), NULL, car(cdr(cdr(form))), scope);
}

static value compile_lambda_form(struct scheme *s, value form, value scope)
{
    return list_length(form) >= 3 ? compile_lambda(s, NIL, car(cdr(form)), cdr(cdr(form)), scope) : malformed(s, form);
}

static value compile_begin(struct scheme *s, value form, value scope) { return compile_sequence(s, cdr(form), scope); }

/* (and form ...), (or form ...) */
static value compile_junction(struct scheme *s, enum kind kind, value empty, value form, value scope)
{
    if (list_length(form) < 0)
        return malformed(s, form);
    if (cdr(form) == NIL)
        return node_of(s, KIND_NODE_CONSTANT, empty);
    struct { value forms, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->forms = cdr(form);
    f->scope = scope;
    f->node = node_new(s, kind, (unsigned)list_length(f->forms));
    bool fine = f->node != NULL;
    for (unsigned i = 0; fine && f->forms != NIL; i++, f->forms = cdr(f->forms))
        fine = node_compile(s, &f->node, i, car(f->forms), f->scope);
    value node = fine ? f->node : NULL;
    frame_pop(s, f);
    return node;
}

static value compile_and(struct scheme *s, value form, value scope) { return compile_junction(s, KIND_NODE_AND, TRUE, form, scope); }

static value compile_or(struct scheme *s, value form, value scope) { return compile_junction(s, KIND_NODE_OR, FALSE, form, scope); }

/* ---- let ---- */

struct let_frame { value bindings, body, scope, inner, node; };

static bool is_binding(value binding) { return list_length(binding) == 2 && is_kind(car(binding), KIND_SYMBOL); }

/* Values in the outer scope, names into the inner one. */
static bool let_bind(struct scheme *s, struct let_frame *f)
{
    for (unsigned i = 0; is_pair(f->bindings); i++, f->bindings = cdr(f->bindings)) {
        if (!is_binding(car(f->bindings)))
            return malformed(s, car(f->bindings));
        if (!scope_add(s, &f->inner, car(car(f->bindings))))
            return false;
        if (((struct scope *)f->inner)->count != i + 1)
            return scheme_fail(s, "a variable is bound twice");
        if (!node_compile(s, &f->node, i, car(cdr(car(f->bindings))), f->scope))
            return false;
    }
    return true;
}

static value let_node(struct scheme *s, struct let_frame *f)
{
    long length = list_length(f->bindings);
    if (length < 0)
        return malformed(s, f->bindings);
    if (!(f->inner = scope_new(s, f->scope)) || !(f->node = node_new(s, KIND_NODE_LET, (unsigned)length)) || !let_bind(s, f))
        return NULL;
    value body = compile_body(s, f->body, f->inner);
    struct node *node = f->node;
    if (!body)
        return NULL;
    store(s, node, &node->x, body);
    node->b = (uint32_t)((struct scope *)f->inner)->count;
    return node;
}

static value compile_let(struct scheme *s, value form, value scope)
{
    if (list_length(form) < 3)
        return malformed(s, form);
    if (is_kind(car(cdr(form)), KIND_SYMBOL))
        return list_length(form) >= 4 ? compile_rewritten(s, rewrite_named_let, form, scope) : malformed(s, form);
    struct let_frame *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->bindings = car(cdr(form));
    f->body = cdr(cdr(form));
    f->scope = scope;
    value node = let_node(s, f);
    frame_pop(s, f);
    return node;
}

/* ---- cond, when, unless ---- */

static value compile_clauses(struct scheme *s, value clauses, value scope);

/* The first clause, (test . body), and what is tried after it: an IF, or without a body an OR. */
static value compile_clause(struct scheme *s, value clauses, value scope)
{
    struct { value clauses, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->clauses = clauses;
    f->scope = scope;
    bool has_body = cdr(car(clauses)) != NIL;
    f->node = node_new(s, has_body ? KIND_NODE_IF : KIND_NODE_OR, has_body ? 3 : 2);
    bool fine = f->node && node_compile(s, &f->node, 0, car(car(f->clauses)), f->scope);
    if (fine && has_body) {
        value body = compile_sequence(s, cdr(car(f->clauses)), f->scope);
        if ((fine = body != NULL))
            store(s, f->node, &((struct node *)f->node)->part[1], body);
    }
    if (fine) {
        value rest = compile_clauses(s, cdr(f->clauses), f->scope);
        if ((fine = rest != NULL))
            store(s, f->node, &((struct node *)f->node)->part[has_body ? 2 : 1], rest);
    }
    value node = fine ? f->node : NULL;
    frame_pop(s, f);
    return node;
}

static value compile_clauses(struct scheme *s, value clauses, value scope)
{
    if (clauses == NIL)
        return unspecified_node(s);
    if (!is_pair(clauses) || list_length(car(clauses)) < 1)
        return malformed(s, clauses);
    value clause = car(clauses);
    if (is_syntax(car(clause), scope, SYNTAX_ELSE))
        return compile_sequence(s, cdr(clause), scope);
    if (list_length(clause) == 3 && is_syntax(car(cdr(clause)), scope, SYNTAX_ARROW))
        return compile_rewritten(s, rewrite_arrow, clauses, scope);
    return compile_clause(s, clauses, scope);
}

static value compile_cond(struct scheme *s, value form, value scope) { return compile_clauses(s, cdr(form), scope); }

/* (when test . body) is (if test (begin . body)), (unless test . body) has it on the other side. */
static value compile_condition(struct scheme *s, value form, value scope, bool wanted)
{
    if (list_length(form) < 3)
        return malformed(s, form);
    struct { value form, scope; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->form = form;
    f->scope = scope;
    value body = cons(s, SYNTAX(BEGIN), cdr(cdr(f->form)));
    value test = car(cdr(f->form));
    value rewritten = !body ? NULL : wanted ? list_of(s, 3, SYNTAX(IF), test, body) : list_of(s, 4, SYNTAX(IF), test, UNSPECIFIED, body);
    value node = rewritten ? compile_form(s, rewritten, f->scope) : NULL;
    frame_pop(s, f);
    return node;
}

static value compile_when(struct scheme *s, value form, value scope) { return compile_condition(s, form, scope, true); }

static value compile_unless(struct scheme *s, value form, value scope) { return compile_condition(s, form, scope, false); }

static value compile_quasiquote(struct scheme *s, value form, value scope)
{
    if (list_length(form) != 2)
        return malformed(s, form);
    struct { value scope; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->scope = scope;
    value rewritten = rewrite_quasiquote(s, car(cdr(form)), 1, scope);
    value node = rewritten ? compile_form(s, rewritten, f->scope) : NULL;
    frame_pop(s, f);
    return node;
}

static value compile_nothing(struct scheme *s, value form, UNUSED value scope)
{
    return scheme_fail_about(s, "this does not stand alone", form);
}

/* ---- All of them ---- */

/* Either a compiler, or a rewriter and how many parts the form has at least. */
static const struct syntax_row {
    compiler compile;
    rewriter rewrite;
    long     least;
} rows[SYNTAX_COUNT] = {
    [SYNTAX_QUOTE] = { .compile = compile_quote },
    [SYNTAX_QUASIQUOTE] = { .compile = compile_quasiquote },
    [SYNTAX_UNQUOTE] = { .compile = compile_nothing },
    [SYNTAX_UNQUOTE_SPLICING] = { .compile = compile_nothing },
    [SYNTAX_IF] = { .compile = compile_if },
    [SYNTAX_DEFINE] = { .compile = compile_define },
    [SYNTAX_SET] = { .compile = compile_set },
    [SYNTAX_LAMBDA] = { .compile = compile_lambda_form },
    [SYNTAX_BEGIN] = { .compile = compile_begin },
    [SYNTAX_LET] = { .compile = compile_let },
    [SYNTAX_LET_STAR] = { .rewrite = rewrite_let_star, .least = 3 },
    [SYNTAX_LETREC] = { .rewrite = rewrite_letrec, .least = 3 },
    [SYNTAX_LETREC_STAR] = { .rewrite = rewrite_letrec, .least = 3 },
    [SYNTAX_DO] = { .rewrite = rewrite_do, .least = 3 },
    [SYNTAX_COND] = { .compile = compile_cond },
    [SYNTAX_CASE] = { .rewrite = rewrite_case, .least = 2 },
    [SYNTAX_AND] = { .compile = compile_and },
    [SYNTAX_OR] = { .compile = compile_or },
    [SYNTAX_WHEN] = { .compile = compile_when },
    [SYNTAX_UNLESS] = { .compile = compile_unless },
    [SYNTAX_ELSE] = { .compile = compile_nothing },
    [SYNTAX_ARROW] = { .compile = compile_nothing },
    [SYNTAX_DELAY] = { .rewrite = rewrite_delay, .least = 2 },
    [SYNTAX_CONS_STREAM] = { .rewrite = rewrite_cons_stream, .least = 3 },
};

value compile_syntax(struct scheme *s, enum syntax syntax, value form, value scope)
{
    const struct syntax_row *row = &rows[syntax];
    if (row->compile)
        return row->compile(s, form, scope);
    return list_length(form) >= row->least ? compile_rewritten(s, row->rewrite, form, scope) : malformed(s, form);
}

bool syntax_begin(struct scheme *s)
{
    bool fine = true;
    for (unsigned i = 1; i < SYNTAX_COUNT && fine; i++)
        fine = symbol_reserve(s, syntax_text[i], i);
    return fine;
}
