/* eval.c — evaluates nodes: a machine with registers, an operand stack, and continuations in the heap.
 *
 * Registers (node, environment, result, segment) are in a frame of the thread's root stack. A frame of the evaluator on the operand stack
 * (stack.c) is
 *
 *     operands that have been evaluated (of CALL, PRIMITIVE, LET: `index` of them; else none) · environment · node · index
 *
 * and the part of `node` at `index` is being evaluated. Two frames have an immediate for a node: BOTTOM, the lowest of the stack, and
 * HANDLER, where an error stops (its "environment" is the procedure that hears of it).
 * A frame is pushed for a part that is neither in tail position nor simple; so tail calls need no stack.
 *
 * At the beginning of each step all words of the stack belong to frames; a step that fails leaves it so.
 */
#include "tests/clients/scheme/scheme.h"

#include <string.h>

enum next { NEXT_EVAL, NEXT_GIVE, NEXT_APPLY, NEXT_FAIL, NEXT_DONE };

static struct node *node_of_register(const struct scheme *s) { return s->r->node; }

static void eval_frame_push(struct scheme *s, uint32_t index)
{
    value *at = s->stack + s->top;
    at[0] = s->r->environment;
    at[1] = s->r->node;
    at[2] = fixnum(index);
    s->top += FRAME_WORDS;
}

/* ---- Simple nodes ---- */

static value simple(struct scheme *s, const struct node *node);

static value undefined(struct scheme *s, value name) { return scheme_fail_about(s, "a variable has no value yet", name); }

static value *local_slot(struct scheme *s, const struct node *node, struct environment **ret_environment)
{
    struct environment *environment = s->r->environment;
    for (uint32_t up = node->a; up > 0; up--)
        environment = environment->parent;
    *ret_environment = environment;
    return &environment->slot[node->b];
}

static value simple_local(struct scheme *s, const struct node *node)
{
    struct environment *environment;
    value v = *local_slot(s, node, &environment);
    return v ? v : undefined(s, node->x);
}

static value simple_global(struct scheme *s, const struct node *node)
{
    const struct cell *cell = node->x;
    return cell->content ? cell->content : undefined(s, cell->name);
}

/* The node is on the stack below its operands: they may allocate. */
static value simple_primitive(struct scheme *s, const struct node *node)
{
    size_t base = s->top;
    uint32_t parts = node->parts, index = node->a;
    stack_push(s, (value)node);
    for (uint32_t i = 0; i < parts; i++) {
        value v = simple(s, ((struct node *)s->stack[base])->part[i]);
        if (!v)
            return NULL;
        stack_push(s, v);
    }
    value result = s->primitive[index]->function(s, s->stack + base + 1, parts);
    s->top = base;
    return result;
}

static value simple(struct scheme *s, const struct node *node)
{
    switch (kind_of((value)node)) {
    case KIND_NODE_CONSTANT:
        return node->x;
    case KIND_NODE_LOCAL:
        return simple_local(s, node);
    case KIND_NODE_GLOBAL:
        return simple_global(s, node);
    case KIND_NODE_PRIMITIVE:
        return simple_primitive(s, node);
    default:
        return closure_new(s, (value)node, s->r->environment);
    }
}

/* The value of a part that may be simple: true and stored (NULL: failed), or false, and the frame is pushed and the part next. */
static bool part_simple(struct scheme *s, uint32_t index, value *ret_value)
{
    const struct node *part = node_of_register(s)->part[index];
    if (part->simple) {
        size_t top = s->top;
        *ret_value = simple(s, part);
        s->top = top;
        return true;
    }
    eval_frame_push(s, index);
    s->r->node = (value)part;
    return false;
}

static enum next eval_simple(struct scheme *s)
{
    size_t top = s->top;
    s->r->result = simple(s, node_of_register(s));
    s->top = top;
    return s->r->result ? NEXT_GIVE : NEXT_FAIL;
}

/* ---- Choices and sequences ---- */

static enum next choose(struct scheme *s, value test)
{
    s->r->node = node_of_register(s)->part[test != FALSE ? 1 : 2];
    return NEXT_EVAL;
}

static enum next eval_if(struct scheme *s)
{
    value test;
    if (!stack_reserve(s, FRAME_WORDS))
        return NEXT_FAIL;
    if (!part_simple(s, 0, &test))
        return NEXT_EVAL;
    return test ? choose(s, test) : NEXT_FAIL;
}

static enum next give_if(struct scheme *s, UNUSED uint32_t index)
{
    return choose(s, s->r->result);
}

/* AND, OR, SEQUENCE: parts from `index` on, until one's value decides. The last is in tail position. */
static enum next parts_from(struct scheme *s, uint32_t index)
{
    enum kind kind = kind_of(s->r->node);
    value v;
    for (; index + 1 < node_of_register(s)->parts; index++) {
        if (!part_simple(s, index, &v))
            return NEXT_EVAL;
        if (!v)
            return NEXT_FAIL;
        if (kind == KIND_NODE_SEQUENCE || (v == FALSE) != (kind == KIND_NODE_AND))
            continue;
        s->r->result = v;
        return NEXT_GIVE;
    }
    s->r->node = node_of_register(s)->part[index];
    return NEXT_EVAL;
}

static enum next eval_parts(struct scheme *s) { return stack_reserve(s, FRAME_WORDS) ? parts_from(s, 0) : NEXT_FAIL; }

static enum next give_parts(struct scheme *s, uint32_t index)
{
    enum kind kind = kind_of(s->r->node);
    if (kind != KIND_NODE_SEQUENCE && (s->r->result == FALSE) == (kind == KIND_NODE_AND))
        return NEXT_GIVE;
    return parts_from(s, index + 1);
}

/* ---- Variables ---- */

static enum next set_variable(struct scheme *s, value v)
{
    struct node *node = node_of_register(s);
    struct environment *environment;
    struct cell *cell = node->x;
    if (kind_of(node) == KIND_NODE_SET_LOCAL) {
        value *slot = local_slot(s, node, &environment);
        store(s, environment, slot, v);
    } else if (kind_of(node) == KIND_NODE_DEFINE || cell->content) {
        store(s, cell, &cell->content, v);
    } else {
        undefined(s, cell->name);
        return NEXT_FAIL;
    }
    s->r->result = UNSPECIFIED;
    return NEXT_GIVE;
}

static enum next eval_set(struct scheme *s)
{
    value v;
    if (!stack_reserve(s, FRAME_WORDS))
        return NEXT_FAIL;
    if (!part_simple(s, 0, &v))
        return NEXT_EVAL;
    return v ? set_variable(s, v) : NEXT_FAIL;
}

static enum next give_set(struct scheme *s, UNUSED uint32_t index)
{
    return set_variable(s, s->r->result);
}

/* ---- Operands ---- */

static enum next let_enter(struct scheme *s, size_t base)
{
    uint32_t count = node_of_register(s)->parts;
    struct environment *inner = environment_new(s, node_of_register(s)->b);
    s->top = base;
    if (!inner)
        return NEXT_FAIL;
    inner->parent = s->r->environment;
    memcpy(inner->slot, s->stack + base, count * sizeof(value));
    s->r->environment = inner;
    s->r->node = node_of_register(s)->x;
    return NEXT_EVAL;
}

static enum next primitive_call(struct scheme *s, size_t base)
{
    s->r->result = s->primitive[node_of_register(s)->a]->function(s, s->stack + base, node_of_register(s)->parts);
    s->top = base;
    return s->r->result ? NEXT_GIVE : NEXT_FAIL;
}

/* Evaluates operands from `index` on; those before lie on the stack from `base` on. */
static enum next operands_from(struct scheme *s, size_t base, uint32_t index)
{
    value v;
    for (; index < node_of_register(s)->parts; index++) {
        if (!part_simple(s, index, &v))
            return NEXT_EVAL;
        if (!v) {
            s->top = base;
            return NEXT_FAIL;
        }
        stack_push(s, v);
    }
    switch (kind_of(s->r->node)) {
    case KIND_NODE_LET:
        return let_enter(s, base);
    case KIND_NODE_PRIMITIVE:
        return primitive_call(s, base);
    default:
        s->count = index;
        return NEXT_APPLY;
    }
}

static enum next eval_operands(struct scheme *s)
{
    if (!stack_reserve(s, node_of_register(s)->parts + 2 * FRAME_WORDS))
        return NEXT_FAIL;
    return operands_from(s, s->top, 0);
}

static enum next give_operands(struct scheme *s, uint32_t index)
{
    size_t base = s->top - index;
    stack_push(s, s->r->result);
    return operands_from(s, base, index + 1);
}

/* ---- Application: operator and operands are the top `count` words ---- */

static enum next apply_fail(struct scheme *s, size_t base, const char *sentence)
{
    value operator = s->stack[base];
    s->top = base;
    scheme_fail_about(s, sentence, operator);
    return NEXT_FAIL;
}

/* The operands beyond the required ones become a list on the stack. */
static bool rest_gather(struct scheme *s, size_t first)
{
    value rest = list_from_stack(s, first, NIL);
    if (rest)
        stack_push(s, rest);
    return rest != NULL;
}

static enum next apply_closure(struct scheme *s, size_t base)
{
    const struct node *lambda = ((struct closure *)s->stack[base])->lambda;
    unsigned required = lambda->a, given = s->count - 1;
    uint64_t slots = lambda->b;
    bool rest = kind_of((value)lambda) == KIND_NODE_LAMBDA_REST;
    if (given < required || (given > required && !rest))
        return apply_fail(s, base, given < required ? "too few arguments for" : "too many arguments for");
    bool fine = !rest || rest_gather(s, base + 1 + required);
    struct environment *environment = fine ? environment_new(s, slots) : NULL;
    s->top = base;
    if (!environment)
        return NEXT_FAIL;
    const struct closure *closure = s->stack[base];
    environment->parent = closure->environment;
    memcpy(environment->slot, s->stack + base + 1, (required + rest) * sizeof(value));
    s->r->environment = environment;
    s->r->node = ((struct node *)closure->lambda)->part[0];
    morph_poll(s->me);
    return NEXT_EVAL;
}

/* (apply f x ... list) */
static enum next apply_list(struct scheme *s, size_t base)
{
    value list = s->stack[--s->top];
    unsigned count = s->count - 2;
    for (; is_pair(list) && count <= OPERANDS_MAX; list = cdr(list), count++)
        stack_push(s, car(list));
    if (list != NIL) {
        s->top = base + 1;
        return apply_fail(s, base, is_pair(list) ? "too many arguments for" : "the last argument is not a list");
    }
    memmove(s->stack + base, s->stack + base + 1, count * sizeof(value));
    s->top = base + count;
    s->count = count;
    return NEXT_APPLY;
}

/* (call/cc f): the frames below become the continuation that f is given. */
static enum next apply_call_cc(struct scheme *s, size_t base)
{
    s->r->result = s->stack[base + 1];
    s->top = base;
    if (!stack_spill(s))
        return NEXT_FAIL;
    struct continuation *continuation = object_new(s, KIND_CONTINUATION);
    if (!continuation)
        return NEXT_FAIL;
    continuation->segment = s->r->segment;
    stack_push(s, s->r->result);
    stack_push(s, continuation);
    s->count = 2;
    return NEXT_APPLY;
}

/* (with-error-handler handler thunk) */
static enum next apply_handler(struct scheme *s, size_t base)
{
    value handler = s->stack[base + 1], thunk = s->stack[base + 2];
    s->stack[base] = handler;
    s->stack[base + 1] = HANDLER;
    s->stack[base + 2] = fixnum(0);
    stack_push(s, thunk);
    s->count = 1;
    return NEXT_APPLY;
}

static enum next apply_eval(struct scheme *s, size_t base)
{
    s->r->result = s->stack[base + 1];
    s->top = base;
    if (!stack_reserve(s, 0) || !(s->r->node = compile_form(s, s->r->result, NIL)))
        return NEXT_FAIL;
    s->r->environment = NIL;
    return NEXT_EVAL;
}

static enum next apply_control(struct scheme *s, size_t base, enum control control)
{
    switch (control) {
    case CONTROL_APPLY:
        return apply_list(s, base);
    case CONTROL_CALL_CC:
        return apply_call_cc(s, base);
    case CONTROL_HANDLER:
        return apply_handler(s, base);
    default:
        return apply_eval(s, base);
    }
}

static enum next apply_primitive(struct scheme *s, size_t base)
{
    const struct primitive_row *row = s->primitive[((struct primitive *)s->stack[base])->index];
    unsigned given = s->count - 1;
    if (given < row->least || given > row->most)
        return apply_fail(s, base, given < row->least ? "too few arguments for" : "too many arguments for");
    if (!row->function)
        return apply_control(s, base, row->control);
    s->r->result = row->function(s, s->stack + base + 1, given);
    s->top = base;
    return s->r->result ? NEXT_GIVE : NEXT_FAIL;
}

static enum next apply_continuation(struct scheme *s, size_t base)
{
    if (s->count != 2)
        return apply_fail(s, base, "a continuation takes one argument");
    s->r->result = s->stack[base + 1];
    s->r->segment = ((struct continuation *)s->stack[base])->segment;
    stack_bottom(s);
    return NEXT_GIVE;
}

static enum next apply(struct scheme *s)
{
    size_t base = s->top - s->count;
    switch (kind_of(s->stack[base])) {
    case KIND_CLOSURE:
        return apply_closure(s, base);
    case KIND_PRIMITIVE:
        return apply_primitive(s, base);
    case KIND_CONTINUATION:
        return apply_continuation(s, base);
    default:
        return apply_fail(s, base, "not a procedure");
    }
}

/* ---- The machine ---- */

static const struct step {
    enum next (*eval)(struct scheme *s);
    enum next (*give)(struct scheme *s, uint32_t index);
} steps[KIND_COUNT] = {
    [KIND_NODE_CONSTANT] = { eval_simple, NULL },
    [KIND_NODE_LOCAL] = { eval_simple, NULL },
    [KIND_NODE_GLOBAL] = { eval_simple, NULL },
    [KIND_NODE_LAMBDA] = { eval_simple, NULL },
    [KIND_NODE_LAMBDA_REST] = { eval_simple, NULL },
    [KIND_NODE_SET_LOCAL] = { eval_set, give_set },
    [KIND_NODE_SET_GLOBAL] = { eval_set, give_set },
    [KIND_NODE_DEFINE] = { eval_set, give_set },
    [KIND_NODE_IF] = { eval_if, give_if },
    [KIND_NODE_AND] = { eval_parts, give_parts },
    [KIND_NODE_OR] = { eval_parts, give_parts },
    [KIND_NODE_SEQUENCE] = { eval_parts, give_parts },
    [KIND_NODE_LET] = { eval_operands, give_operands },
    [KIND_NODE_CALL] = { eval_operands, give_operands },
    [KIND_NODE_PRIMITIVE] = { eval_operands, give_operands },
};

/* The result goes to the topmost frame. */
static enum next give(struct scheme *s)
{
    value node = s->stack[s->top - 2];
    if (node == BOTTOM && s->r->segment == NIL)
        return NEXT_DONE;
    if (node == BOTTOM) {
        stack_refill(s);
        return NEXT_GIVE;
    }
    uint32_t index = (uint32_t)fixnum_of(s->stack[s->top - 1]);
    s->top -= FRAME_WORDS;
    if (node == HANDLER)
        return NEXT_GIVE;
    s->r->environment = s->stack[s->top];
    s->r->node = node;
    return steps[kind_of(node)].give(s, index);
}

/* An error goes to the innermost handler, which is called with its sentence; its result is that of with-error-handler. What failed is let
 * go of first: it may be what fills the heap. */
static enum next unwind(struct scheme *s)
{
    s->r->node = s->r->environment = s->r->result = s->r->first = s->r->second = NULL;
    for (;;) {
        value node = s->stack[s->top - 2];
        if (node == BOTTOM && s->r->segment == NIL)
            return NEXT_DONE;
        if (node == BOTTOM) {
            stack_refill(s);
            continue;
        }
        s->top -= stack_frame_words(s, s->top);
        if (node == HANDLER)
            break;
    }
    stack_push(s, s->stack[s->top]);
    value sentence = string_new(s, s->error, strlen(s->error));
    if (!sentence) {
        s->top--;
        return NEXT_FAIL;
    }
    stack_push(s, sentence);
    s->count = 2;
    return NEXT_APPLY;
}

value eval_node(struct scheme *s, value node)
{
    enum next next = NEXT_EVAL;
    stack_bottom(s);
    s->r->node = node;
    s->r->environment = s->r->segment = NIL;
    for (;;) {
        switch (next) {
        case NEXT_EVAL:
            next = steps[kind_of(s->r->node)].eval(s);
            break;
        case NEXT_GIVE:
            next = give(s);
            break;
        case NEXT_APPLY:
            next = apply(s);
            break;
        case NEXT_FAIL:
            next = unwind(s);
            break;
        case NEXT_DONE:
            return s->r->result;
        }
    }
}
