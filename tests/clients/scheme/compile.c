/* compile.c — forms become nodes: variables, calls, procedures. Special forms are in syntax.c.
 *
 * A scope is what an environment will be: its names, the last slot's first. It is made anew for each lambda and let, and is done before
 * the code in it is compiled, so that a name's slot is its place from the list's end.
 * The compiler recurses; each step has its values in a frame, and stores a part into its node as soon as it has been compiled.
 */
#include "tests/clients/scheme/scheme.h"

/* ---- Nodes ---- */

value node_new(struct scheme *s, enum kind kind, unsigned parts)
{
    if (parts > OPERANDS_MAX)
        return scheme_fail(s, "a form has too many parts");
    struct node *node = array_new(s, kind, parts);
    if (node)
        node->parts = parts;
    return node;
}

value node_of(struct scheme *s, enum kind kind, value x)
{
    s->r->first = x;
    struct node *node = node_new(s, kind, 0);
    if (node) {
        node->x = s->r->first;
        node->simple = 1;
    }
    return node;
}

bool node_compile(struct scheme *s, value *node, unsigned part, value form, value scope)
{
    value compiled = compile_form(s, form, scope);
    if (compiled)
        store(s, *node, &((struct node *)*node)->part[part], compiled);
    return compiled != NULL;
}

long list_length(value list)
{
    long length = 0;
    for (; is_pair(list); list = cdr(list))
        length++;
    return list == NIL ? length : -1;
}

/* ---- Scopes ---- */

value scope_new(struct scheme *s, value parent)
{
    s->r->first = parent;
    struct scope *scope = object_new(s, KIND_SCOPE);
    if (scope) {
        scope->parent = s->r->first;
        scope->names = NIL;
    }
    return scope;
}

static long slot_of(const struct scope *scope, value symbol)
{
    long slot = (long)scope->count - 1;
    for (value names = scope->names; names != NIL; names = cdr(names), slot--)
        if (car(names) == symbol)
            return slot;
    return -1;
}

bool scope_add(struct scheme *s, value *scope, value symbol)
{
    struct scope *it = *scope;
    if (!is_kind(symbol, KIND_SYMBOL))
        return scheme_fail_about(s, "not the name of a variable", symbol);
    if (slot_of(it, symbol) >= 0)
        return true;
    if (it->count == OPERANDS_MAX)
        return scheme_fail(s, "too many variables in one place");
    value names = cons(s, symbol, it->names);
    it = *scope;
    if (names) {
        store(s, it, &it->names, names);
        it->count++;
    }
    return names != NULL;
}

/* Where the symbol is bound around; false: nowhere, so that it is global. */
static bool scope_find(value scope, value symbol, uint32_t *ret_up, uint32_t *ret_slot)
{
    uint32_t up = 0;
    for (; scope != NIL; scope = ((struct scope *)scope)->parent, up++) {
        long slot = slot_of(scope, symbol);
        if (slot >= 0) {
            *ret_up = up;
            *ret_slot = (uint32_t)slot;
            return true;
        }
    }
    return false;
}

static enum syntax syntax_of(value head, value scope)
{
    uint32_t up, slot;
    if (is_tagged(head, TAG_SYNTAX))
        return (enum syntax)immediate_of(head);
    if (!is_kind(head, KIND_SYMBOL) || ((struct symbol *)head)->syntax == SYNTAX_NONE || scope_find(scope, head, &up, &slot))
        return SYNTAX_NONE;
    return (enum syntax)((struct symbol *)head)->syntax;
}

bool is_syntax(value head, value scope, unsigned syntax) { return syntax_of(head, scope) == syntax; }

/* ---- Variables ---- */

value global_cell(struct scheme *s, value symbol)
{
    value globals = morph_handle_get(s->me, s->globals);
    value *entry = table_find(s, globals, symbol);
    if (entry)
        return entry[1];
    struct { value symbol, cell; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->symbol = symbol;
    struct cell *cell = f->cell = object_new_lasting(s, KIND_CELL);
    if (cell)
        cell->name = f->symbol;
    bool kept = cell && table_put(s, morph_handle_get(s->me, s->globals), f->symbol, f->cell);
    value result = kept ? f->cell : NULL;
    frame_pop(s, f);
    return result;
}

value variable_node(struct scheme *s, enum kind local, enum kind global, value symbol, value scope, unsigned parts)
{
    uint32_t up = 0, slot = 0;
    bool is_local = scope_find(scope, symbol, &up, &slot);
    s->r->second = is_local ? symbol : global_cell(s, symbol);
    if (!s->r->second)
        return NULL;
    struct node *node = node_new(s, is_local ? local : global, parts);
    if (node) {
        node->x = s->r->second;
        node->a = up;
        node->b = slot;
        node->simple = parts == 0;
    }
    return node;
}

/* ---- Calls ---- */

value primitive_named(struct scheme *s, const char *name) { return IMMEDIATE(TAG_PRIMITIVE, primitive_find(s, name)); }

/* The primitive that a call means: that of a global name which holds one now. Later definitions of the name do not change the call. */
static int primitive_meant(struct scheme *s, value operator, value scope, long operands)
{
    uint32_t up, slot;
    int64_t index = -1;
    if (is_tagged(operator, TAG_PRIMITIVE)) {
        index = (int64_t)immediate_of(operator);
    } else if (is_kind(operator, KIND_SYMBOL) && !scope_find(scope, operator, &up, &slot)) {
        value *entry = table_find(s, morph_handle_get(s->me, s->globals), operator);
        value content = entry ? ((struct cell *)entry[1])->content : NULL;
        if (is_kind(content, KIND_PRIMITIVE))
            index = (int64_t)((struct primitive *)content)->index;
    }
    if (index < 0)
        return -1;
    const struct primitive_row *row = s->primitive[index];
    return row->function && operands >= (long)row->least && operands <= (long)row->most ? (int)index : -1;
}

/* How many nested C calls the node takes if all its parts are simple; 0: it needs the evaluator. */
static uint32_t simplicity(const struct node *node)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < node->parts; i++) {
        const struct node *part = node->part[i];
        if (part->simple == 0)
            return 0;
        most = part->simple > most ? part->simple : most;
    }
    return node->parts <= SIMPLE_PARTS && most < SIMPLE_DEPTH ? most + 1 : 0;
}

static value compile_call(struct scheme *s, value form, value scope)
{
    long length = list_length(form);
    if (length < 0)
        return scheme_fail_about(s, "a call is not a list", form);
    struct { value form, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->scope = scope;
    int primitive = primitive_meant(s, car(form), scope, length - 1);
    f->form = primitive < 0 ? form : cdr(form);
    unsigned parts = (unsigned)(primitive < 0 ? length : length - 1);
    f->node = node_new(s, primitive < 0 ? KIND_NODE_CALL : KIND_NODE_PRIMITIVE, length > (long)OPERANDS_MAX ? OPERANDS_MAX + 1 : parts);
    bool fine = f->node != NULL;
    for (unsigned i = 0; i < parts && fine; i++, f->form = cdr(f->form))
        fine = node_compile(s, &f->node, i, car(f->form), f->scope);
    struct node *node = f->node;
    if (fine && primitive >= 0) {
        node->a = (uint32_t)primitive;
        node->simple = simplicity(node);
    }
    frame_pop(s, f);
    return fine ? node : NULL;
}

/* ---- Sequences and procedures ---- */

value compile_sequence(struct scheme *s, value forms, value scope)
{
    long length = list_length(forms);
    if (length < 0)
        return scheme_fail_about(s, "a body is not a list", forms);
    if (length == 0)
        return node_of(s, KIND_NODE_CONSTANT, UNSPECIFIED);
    if (length == 1)
        return compile_form(s, car(forms), scope);
    struct { value forms, scope, node; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->forms = forms;
    f->scope = scope;
    f->node = node_new(s, KIND_NODE_SEQUENCE, length > (long)OPERANDS_MAX ? OPERANDS_MAX + 1 : (unsigned)length);
    bool fine = f->node != NULL;
    for (unsigned i = 0; i < length && fine; i++, f->forms = cdr(f->forms))
        fine = node_compile(s, &f->node, i, car(f->forms), f->scope);
    value node = fine ? f->node : NULL;
    frame_pop(s, f);
    return node;
}

/* The name that a definition defines; NULL: the form is none. */
static value defined_name(value form, value scope)
{
    if (!is_pair(form) || !is_syntax(car(form), scope, SYNTAX_DEFINE) || !is_pair(cdr(form)))
        return NULL;
    value target = car(cdr(form));
    return is_pair(target) ? car(target) : target;
}

/* Adds the names of inner definitions, also of those within (begin ...), to the scope in *scope. */
static bool definitions_add(struct scheme *s, value *scope, value forms)
{
    struct { value forms; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    bool fine = depth_enter(s);
    if (fine) {
        for (f->forms = forms; fine && is_pair(f->forms); f->forms = cdr(f->forms)) {
            value form = car(f->forms), name = defined_name(form, *scope);
            if (name)
                fine = scope_add(s, scope, name);
            else if (is_pair(form) && is_syntax(car(form), *scope, SYNTAX_BEGIN))
                fine = definitions_add(s, scope, cdr(form));
        }
        depth_leave(s);
    }
    frame_pop(s, f);
    return fine;
}

value compile_body(struct scheme *s, value forms, value scope)
{
    struct { value forms, scope; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->forms = forms;
    f->scope = scope;
    value body = definitions_add(s, &f->scope, forms) ? compile_sequence(s, f->forms, f->scope) : NULL;
    frame_pop(s, f);
    return body;
}

struct lambda_frame { value name, parameters, body, scope; };

static bool parameters_add(struct scheme *s, struct lambda_frame *f, unsigned *ret_required, bool *ret_rest)
{
    unsigned required = 0;
    for (; is_pair(f->parameters); f->parameters = cdr(f->parameters)) {
        if (!scope_add(s, &f->scope, car(f->parameters)))
            return false;
        if (((struct scope *)f->scope)->count != ++required)
            return scheme_fail(s, "a parameter is named twice");
    }
    *ret_required = required;
    *ret_rest = f->parameters != NIL;
    return !*ret_rest || scope_add(s, &f->scope, f->parameters);
}

static value lambda_node(struct scheme *s, struct lambda_frame *f, unsigned required, bool rest)
{
    if (!(f->body = compile_body(s, f->body, f->scope)))
        return NULL;
    struct node *node = node_new(s, rest ? KIND_NODE_LAMBDA_REST : KIND_NODE_LAMBDA, 1);
    if (node) {
        node->x = f->name;
        node->a = required;
        node->b = (uint32_t)((struct scope *)f->scope)->count;
        node->simple = 1;
        node->part[0] = f->body;
    }
    return node;
}

value compile_lambda(struct scheme *s, value name, value parameters, value body, value scope)
{
    struct lambda_frame *f = frame_push(s, sizeof *f);
    unsigned required = 0;
    bool rest = false;
    if (!f)
        return NULL;
    *f = (struct lambda_frame){ .name = name, .parameters = parameters, .body = body };
    f->scope = scope_new(s, scope);
    value node = f->scope && parameters_add(s, f, &required, &rest) ? lambda_node(s, f, required, rest) : NULL;
    frame_pop(s, f);
    return node;
}

/* ---- Forms ---- */

static value compile_pair(struct scheme *s, value form, value scope)
{
    enum syntax syntax = syntax_of(car(form), scope);
    return syntax ? compile_syntax(s, syntax, form, scope) : compile_call(s, form, scope);
}

static value compile_atom(struct scheme *s, value form, value scope)
{
    if (!is_kind(form, KIND_SYMBOL))
        return form == NIL ? scheme_fail(s, "() is no expression; quote it") : node_of(s, KIND_NODE_CONSTANT, form);
    if (syntax_of(form, scope))
        return scheme_fail_about(s, "this has no value", form);
    return variable_node(s, KIND_NODE_LOCAL, KIND_NODE_GLOBAL, form, scope, 0);
}

value compile_form(struct scheme *s, value form, value scope)
{
    if (!depth_enter(s))
        return NULL;
    value node = is_pair(form) ? compile_pair(s, form, scope) : compile_atom(s, form, scope);
    depth_leave(s);
    return node;
}
