/* scheme.h — a small Scheme whose every value lives in a collected morphmem heap: what its files share.
 *
 *   text ─ read.c ─▶ data ─ compile.c, syntax.c, quasi.c ─▶ nodes ─ eval.c ─▶ value ─ print.c ─▶ text
 *                                    (heap.c: the heap, its types, constructors; primitives.c and its family: what programs call)
 *
 * Values: an address in the heap, or an immediate: a word with its lowest bit set, which can be no address there. NULL is no value: a
 * function that returns it has failed, and scheme.error says why; a variable that holds it has no value yet.
 *
 * Rooting, in all files:
 *   - A value that a function is given as an argument, or gets as a result, is good until the next allocation or poll. What is needed
 *     longer is in a frame (frame_push), on the operand stack (reported by a visitor), in a register, or in a reachable object.
 *   - So no call that allocates stands among the arguments of a call that takes other values, nor on either side of an assignment whose
 *     other side reads a value.
 *   - The arguments of a primitive lie on the operand stack, which never moves: argument[i] is right at any time.
 *   - Constructors root what they are given.
 *   - A new object is initialised with plain stores at once, all later stores are morph_store().
 *
 * One heap, one thread, one struct scheme.
 */
#ifndef SCHEME_H
#define SCHEME_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <morphmem/morphmem.h>

#define UNUSED __attribute__((unused))

/* ---- Immediates -------------------------------------------------------------------------------------------------------- */

typedef void *value;

/* ...01 a fixnum of 62 bits; ..0011 a constant; ..0111 a character; ..1011 a syntax; ..1111 a primitive in a rewritten form. */
#define IMMEDIATE(tag, n)  ((value)((uintptr_t)(n) << 4 | (uintptr_t)(tag)))
#define TAG_CONSTANT       0x3
#define TAG_CHARACTER      0x7
#define TAG_SYNTAX         0xb
#define TAG_PRIMITIVE      0xf

#define NIL                IMMEDIATE(TAG_CONSTANT, 0)
#define FALSE              IMMEDIATE(TAG_CONSTANT, 1)
#define TRUE               IMMEDIATE(TAG_CONSTANT, 2)
#define UNSPECIFIED        IMMEDIATE(TAG_CONSTANT, 3)
#define END_OF_FILE        IMMEDIATE(TAG_CONSTANT, 4)
#define EMPTY              IMMEDIATE(TAG_CONSTANT, 5)     /* in tables: never used */
#define DELETED            IMMEDIATE(TAG_CONSTANT, 6)     /* in tables: used, and free again */
#define BOTTOM             IMMEDIATE(TAG_CONSTANT, 7)     /* in frames of the evaluator: what lies below is in a segment */
#define HANDLER            IMMEDIATE(TAG_CONSTANT, 8)     /* in frames of the evaluator: here an error stops */

#define FIXNUM_MAX         (INT64_MAX >> 2)
#define FIXNUM_MIN         (INT64_MIN >> 2)

static inline bool is_fixnum(value v)           { return ((uintptr_t)v & 3) == 1; }
static inline value fixnum(int64_t n)           { return (value)(uintptr_t)((uint64_t)n << 2 | 1); }
static inline int64_t fixnum_of(value v)        { return (int64_t)(uintptr_t)v >> 2; }
static inline bool is_tagged(value v, unsigned tag) { return ((uintptr_t)v & 15) == tag; }
static inline uint64_t immediate_of(value v)    { return (uintptr_t)v >> 4; }
static inline value boolean(bool b)             { return b ? TRUE : FALSE; }
static inline value character(unsigned char c)  { return IMMEDIATE(TAG_CHARACTER, c); }
static inline bool is_object(value v)           { return v && !((uintptr_t)v & 1); }

/* ---- Kinds of objects -------------------------------------------------------------------------------------------------- */

/* X(KIND, "name"): a type of the heap each, laid out in heap.c. The kind is the embedder's word of an object. */
#define KIND_MAP(X)                                                                                                             \
    X(PAIR,         "pair")         X(FLONUM,       "flonum")       X(STRING,       "string")      X(SYMBOL,      "symbol")     \
    X(VECTOR,       "vector")       X(CLOSURE,      "closure")      X(PRIMITIVE,    "primitive")   X(PROMISE,     "promise")    \
    X(CONTINUATION, "continuation") X(TABLE,        "table")        X(PORT,         "port")        X(WEAK_BOX,    "weak-box")   \
    X(EPHEMERON,    "ephemeron")    X(ENVIRONMENT,  "environment")  X(CELL,         "cell")        X(SCOPE,       "scope")      \
    X(SEGMENT,      "segment")      X(SYMBOLS,      "symbols")

/* X(KIND, "name"): what compiled code consists of. struct node says what is in each. */
#define NODE_MAP(X)                                                                                                             \
    X(NODE_CONSTANT,  "node-constant")  X(NODE_LOCAL,       "node-local")       X(NODE_GLOBAL, "node-global")                   \
    X(NODE_SET_LOCAL, "node-set-local") X(NODE_SET_GLOBAL,  "node-set-global")  X(NODE_DEFINE, "node-define")                   \
    X(NODE_IF,        "node-if")        X(NODE_AND,         "node-and")         X(NODE_OR,     "node-or")                       \
    X(NODE_LAMBDA,    "node-lambda")    X(NODE_LAMBDA_REST, "node-lambda-rest") X(NODE_LET,    "node-let")                      \
    X(NODE_SEQUENCE,  "node-sequence")  X(NODE_CALL,        "node-call")        X(NODE_PRIMITIVE, "node-primitive")

enum kind {
    KIND_IMMEDIATE = 0,
#define X(name, text) KIND_##name,
    KIND_MAP(X)
    NODE_MAP(X)
#undef X
    KIND_COUNT
};
#define KIND_NODE_FIRST KIND_NODE_CONSTANT

static inline enum kind kind_of(value v)        { return is_object(v) ? (enum kind)morph_object_word(v) : KIND_IMMEDIATE; }
static inline bool is_kind(value v, enum kind k) { return kind_of(v) == k; }

struct pair         { value car, cdr; };
struct flonum       { double number; };
struct symbol       { value name; uint32_t hash, syntax; };         /* syntax: what a form is that begins with it; 0: a call */
struct closure      { value lambda, environment; };
struct primitive    { value name; uint64_t index; };                /* in scheme.primitive */
struct promise      { value thunk, result; };                       /* result NULL: not forced yet */
struct continuation { value segment; };
struct table        { value entry; uint64_t used, live; bool by_text; };    /* entry: a vector of keys and values in turn */
struct port         { value bytes; uint64_t used; };                /* raw bytes, of which `used` are written */
struct weak_box     { value content; };
struct ephemeron    { value key, content; };
struct environment  { value parent; value slot[]; };                /* slot NULL: not defined yet */
struct cell         { value content, name; };                       /* a global variable; content NULL: not defined */
struct scope        { value parent, names; uint64_t count; };       /* of an environment to be: names, the last slot's first */
struct segment      { value next; value word[]; };                  /* a piece of the operand stack, and what lay below it */

/* A vector is its items, a string its bytes (no zero at the end), a table of symbols its slots: the size is the object's. */
static inline value *vector_items(value v)      { return (value *)v; }
static inline uint64_t vector_length(value v)   { return morph_object_bytes(v) / sizeof(value); }
static inline char *string_bytes(value v)       { return (char *)v; }
static inline uint64_t string_length(value v)   { return morph_object_bytes(v); }

/* One node of compiled code.
 *   CONSTANT      x the value                       LAMBDA[_REST] x the name, a parameters (without the rest), b slots, part: the body
 *   LOCAL         x the name, a how far up, b slot  LET           x the body, b slots, part: the first slots' values
 *   GLOBAL        x the cell                        IF            part: test, then, else
 *   SET_LOCAL     as LOCAL, part: the value         CALL          part: operator and operands
 *   SET_GLOBAL, DEFINE  as GLOBAL, part: the value  PRIMITIVE     a index of the primitive, part: operands
 *                                                   AND, OR, SEQUENCE  part: what is evaluated in turn
 * simple: it is evaluated without a frame of the evaluator, by so many nested C calls; 0: it is not. */
struct node {
    value    x;
    uint32_t parts, simple, a, b;
    value    part[];
};

/* ---- The interpreter --------------------------------------------------------------------------------------------------- */

#define STACK_WORDS     16384u      /* the operand stack; when it is full it moves into segments */
#define SEGMENT_WORDS   1024u       /* of a segment, at least */
#define STACK_MARGIN    2304u       /* of it, what is taken without asking: by simple nodes, apply, lists under construction */
#define FRAME_WORDS     3u          /* of a frame of the evaluator, without operands */
#define OPERANDS_MAX    1000u       /* parts of a node, slots of an environment, arguments of a call */
#define SIMPLE_PARTS    8u
#define SIMPLE_DEPTH    8u
#define DEPTH_MAX       1500u       /* nesting of data in read, compile, print and equal? */

/* In a frame for as long as the interpreter lives. */
struct registers {
    value node, environment, result;    /* of the evaluator */
    value segment;                      /* what continues when the operand stack is empty: NIL or a segment */
    value first, second;                /* what a constructor is about to put into an object */
};

struct text { char *bytes; size_t used, size; };    /* in malloc's memory */

struct scheme;

/* A primitive of the program: argument[0..count) on the operand stack, whose number lies between least and most (ANY: no bound). Those
 * that steer the evaluator have no function: it knows them by their control. */
enum control { CONTROL_NONE, CONTROL_APPLY, CONTROL_CALL_CC, CONTROL_HANDLER, CONTROL_EVAL };
#define ANY OPERANDS_MAX

struct primitive_row {
    const char *name;
    value     (*function)(struct scheme *s, value *argument, unsigned count);
    unsigned    least, most;
    enum control control;
};

#define PRIMITIVES_MAX 256

struct scheme {
    morph_heap       *heap;
    morph_thread     *me;
    morph_type        type[KIND_COUNT];
    struct registers *r;
    morph_handle      globals;          /* a table: symbol to cell */

    value            *stack;            /* operand stack: frames of the evaluator, operands, lists under construction */
    size_t            top;
    unsigned          count;            /* operator and operands of the call that is about to be applied, on top of it */
    unsigned          depth;            /* of nested C calls on nested data */

    const struct primitive_row *primitive[PRIMITIVES_MAX];
    unsigned          primitives;

    struct text       out;              /* on its way to standard output */
    struct text       scratch;          /* what a port, an error or a string is going to be made of */
    char              error[512];       /* why a function returned NULL */
};

/* heap.c */
int heap_begin(struct scheme *s, const morph_options *options);
void heap_end(struct scheme *s);
void *object_new(struct scheme *s, enum kind kind);
void *object_new_lasting(struct scheme *s, enum kind kind);         /* of a kind that is never freed in practice */
void *array_new(struct scheme *s, enum kind kind, uint64_t elements);
value cons(struct scheme *s, value car, value cdr);
value flonum(struct scheme *s, double number);
value integer(struct scheme *s, int64_t number);                    /* a fixnum, or a flonum if it is too large for one */
value string_new(struct scheme *s, const char *bytes, uint64_t length);     /* bytes NULL: zeros; not of the heap */
value vector_new(struct scheme *s, uint64_t length, value fill);
value closure_new(struct scheme *s, value lambda, value environment);
value environment_new(struct scheme *s, uint64_t slots);            /* empty: for the caller to initialise */
value scheme_fail(struct scheme *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
value scheme_fail_memory(struct scheme *s);
value scheme_fail_about(struct scheme *s, const char *sentence, value v);   /* "sentence: v" */
void *frame_push(struct scheme *s, size_t bytes);                   /* NULL: failed */
static inline void frame_pop(struct scheme *s, void *frame) { morph_frame_pop(s->me, frame); }
static inline void store(struct scheme *s, value object, value *slot, value v) { morph_store(s->me, object, slot, v); }
bool depth_enter(struct scheme *s);                                 /* false: failed; else depth_leave() follows */
static inline void depth_leave(struct scheme *s) { s->depth--; }

static inline value car(value pair)             { return ((struct pair *)pair)->car; }
static inline value cdr(value pair)             { return ((struct pair *)pair)->cdr; }
static inline bool is_pair(value v)             { return is_kind(v, KIND_PAIR); }
static inline double flonum_of(value v)         { return ((struct flonum *)v)->number; }

/* symbol.c */
bool symbols_begin(struct scheme *s);
void symbols_end(struct scheme *s);
value symbol_intern(struct scheme *s, const char *name, size_t length);     /* name: not of the heap */
bool symbol_reserve(struct scheme *s, const char *name, uint32_t syntax);   /* stays for good */
value symbol_new(struct scheme *s, const char *name, size_t length);        /* of no table */
uint64_t symbols_live(struct scheme *s);
uint32_t text_hash(const char *bytes, size_t length);

/* table.c */
extern const struct primitive_row table_primitives[];
value table_new(struct scheme *s, bool by_text);
value *table_find(struct scheme *s, value table, value key);        /* the entry, key and value; NULL: none. Does not allocate */
bool table_put(struct scheme *s, value table, value key, value content);

/* read.c */
struct reader { const char *at, *end, *file; unsigned line, form_line; };     /* form_line: where the latest form began */
value read_form(struct scheme *s, struct reader *reader);           /* END_OF_FILE at the end */
bool read_number(struct scheme *s, const char *text, size_t length, value *ret_number);     /* false: it is none, or failed: NULL stored */

/* print.c */
bool text_add(struct scheme *s, struct text *text, const char *bytes, size_t count);
bool print_value(struct scheme *s, struct text *text, value v, bool written);
bool out_flush(struct scheme *s);                                   /* may let a collection happen */
extern const struct primitive_row print_primitives[];

/* compile.c: a form, in a scope (NIL: outermost), becomes a node */
value compile_form(struct scheme *s, value form, value scope);
value compile_sequence(struct scheme *s, value forms, value scope);
value compile_body(struct scheme *s, value forms, value scope);     /* with inner definitions: the scope's, which must be new */
value compile_lambda(struct scheme *s, value name, value parameters, value body, value scope);
value node_new(struct scheme *s, enum kind kind, unsigned parts);
value node_of(struct scheme *s, enum kind kind, value x);           /* without parts */
bool node_compile(struct scheme *s, value *node, unsigned part, value form, value scope);   /* `node`: a slot of a frame */
value variable_node(struct scheme *s, enum kind local, enum kind global, value symbol, value scope, unsigned parts);
value scope_new(struct scheme *s, value parent);
bool scope_add(struct scheme *s, value *scope, value symbol);       /* `scope`: a slot of a frame */
bool is_syntax(value head, value scope, unsigned syntax);           /* does a form with this head mean that syntax? */
long list_length(value list);                                       /* -1: not a proper list */
value global_cell(struct scheme *s, value symbol);
value primitive_named(struct scheme *s, const char *name);          /* as an immediate that compiles to it */

/* syntax.c */
#define SYNTAX_MAP(X)                                                                                                           \
    X(QUOTE, "quote") X(QUASIQUOTE, "quasiquote") X(UNQUOTE, "unquote") X(UNQUOTE_SPLICING, "unquote-splicing")                 \
    X(IF, "if") X(DEFINE, "define") X(SET, "set!") X(LAMBDA, "lambda") X(BEGIN, "begin") X(LET, "let") X(LET_STAR, "let*")      \
    X(LETREC, "letrec") X(LETREC_STAR, "letrec*") X(DO, "do") X(COND, "cond") X(CASE, "case") X(AND, "and") X(OR, "or")         \
    X(WHEN, "when") X(UNLESS, "unless") X(ELSE, "else") X(ARROW, "=>") X(DELAY, "delay") X(CONS_STREAM, "cons-stream")

enum syntax {
    SYNTAX_NONE = 0,
#define X(name, text) SYNTAX_##name,
    SYNTAX_MAP(X)
#undef X
    SYNTAX_COUNT
};
#define SYNTAX(name) IMMEDIATE(TAG_SYNTAX, SYNTAX_##name)

bool syntax_begin(struct scheme *s);
const char *syntax_name(enum syntax syntax);
value compile_syntax(struct scheme *s, enum syntax syntax, value form, value scope);

/* derived.c: the forms that are rewritten into others */
value rewrite_named_let(struct scheme *s, value form);
value rewrite_let_star(struct scheme *s, value form);
value rewrite_letrec(struct scheme *s, value form);
value rewrite_do(struct scheme *s, value form);
value rewrite_case(struct scheme *s, value form);
value rewrite_arrow(struct scheme *s, value clauses);               /* (cond (test => receiver) . rest) */
value rewrite_delay(struct scheme *s, value form);
value rewrite_cons_stream(struct scheme *s, value form);
value rewrite_quasiquote(struct scheme *s, value form, unsigned level, value scope);

/* stack.c. Those about frames and segments only where all words belong to frames. */
bool stack_begin(struct scheme *s);
void stack_end(struct scheme *s);
static inline void stack_push(struct scheme *s, value v) { s->stack[s->top++] = v; }
value list_of(struct scheme *s, unsigned count, ...);
value list_from_stack(struct scheme *s, size_t from, value tail);   /* of the stack's words from `from` on, which are popped */
size_t stack_frame_words(const struct scheme *s, size_t top);       /* of the frame that ends at `top` */
void stack_bottom(struct scheme *s);                                /* nothing but BOTTOM */
bool stack_spill(struct scheme *s);                                 /* all frames move into segments */
void stack_refill(struct scheme *s);                                /* at BOTTOM: those of the topmost segment come back */
bool stack_reserve(struct scheme *s, size_t words);                 /* room for so many, and the margin */

/* eval.c */
value eval_node(struct scheme *s, value node);

/* primitives.c and its family */
bool primitives_begin(struct scheme *s);
int primitive_find(const struct scheme *s, const char *name);       /* -1: none */
int equal(struct scheme *s, value a, value b);                      /* -1: failed */
bool eqv(value a, value b);
extern const struct primitive_row list_primitives[], number_primitives[], string_primitives[], vector_primitives[], system_primitives[];

/* prelude.c: what is written in Scheme */
bool scheme_load(struct scheme *s, const char *text, size_t length, const char *file);
extern const char prelude[];

#endif
