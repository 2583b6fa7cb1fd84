/* print.c — data become text: to standard output, into ports in the heap, into messages.
 *
 * Printing goes to malloc's memory (struct text) and allocates nothing in the heap, but lists and vectors are walked with polls: what is
 * walked is in a frame. Standard output is written between morph_native_enter() and morph_native_leave(): its reader may be slow.
 */
#include "tests/clients/scheme/scheme.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUT_BYTES 8192u             /* of output that are gathered */
#define PORT_FIRST_BYTES 64u

bool text_add(struct scheme *s, struct text *text, const char *bytes, size_t count)
{
    if (count > text->size - text->used) {
        size_t size = text->size + count < 2 * text->size ? 2 * text->size : text->size + count + 256;
        char *more = realloc(text->bytes, size);
        if (!more)
            return scheme_fail(s, "%s", morph_strerror(MORPH_EMEMORY));
        text->bytes = more;
        text->size = size;
    }
    if (count)
        memcpy(text->bytes + text->used, bytes, count);
    text->used += count;
    return true;
}

static bool text_add_word(struct scheme *s, struct text *text, const char *word) { return text_add(s, text, word, strlen(word)); }

bool out_flush(struct scheme *s)
{
    if (s->out.used == 0)
        return true;
    morph_native_enter(s->me);
    bool fine = fwrite(s->out.bytes, 1, s->out.used, stdout) == s->out.used && fflush(stdout) == 0;
    morph_native_leave(s->me);
    s->out.used = 0;
    return fine || scheme_fail(s, "cannot write to standard output");
}

/* ---- Values ---- */

static bool print_flonum(struct scheme *s, struct text *text, double number)
{
    char digits[40];
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number)
            break;
    }
    if (isfinite(number) && !strpbrk(digits, ".e"))
        strcat(digits, ".0");
    return text_add_word(s, text, digits);
}

static bool print_character(struct scheme *s, struct text *text, char c, bool written)
{
    if (!written)
        return text_add(s, text, &c, 1);
    const char *name = c == ' ' ? "space" : c == '\n' ? "newline" : c == '\t' ? "tab" : NULL;
    return text_add_word(s, text, "#\\") && (name ? text_add_word(s, text, name) : text_add(s, text, &c, 1));
}

static bool print_string(struct scheme *s, struct text *text, const char *bytes, uint64_t length, bool written)
{
    if (!written)
        return text_add(s, text, bytes, length);
    bool fine = text_add_word(s, text, "\"");
    for (uint64_t i = 0; i < length && fine; i++) {
        char c = bytes[i];
        if (c == '"' || c == '\\' || c == '\n')
            fine = text_add_word(s, text, "\\");
        c = c == '\n' ? 'n' : c;
        fine = fine && text_add(s, text, &c, 1);
    }
    return fine && text_add_word(s, text, "\"");
}

static bool print_immediate(struct scheme *s, struct text *text, value v, bool written)
{
    static const char *const constant[] = { "()", "#f", "#t", "", "#<eof>", "#<empty>", "#<deleted>", "#<bottom>", "#<handler>" };
    char digits[32];
    if (!v)
        return text_add_word(s, text, "#<nothing>");
    if (is_fixnum(v)) {
        snprintf(digits, sizeof digits, "%lld", (long long)fixnum_of(v));
        return text_add_word(s, text, digits);
    }
    if (is_tagged(v, TAG_CHARACTER))
        return print_character(s, text, (char)immediate_of(v), written);
    if (is_tagged(v, TAG_SYNTAX))
        return text_add_word(s, text, syntax_name((enum syntax)immediate_of(v)));
    if (is_tagged(v, TAG_PRIMITIVE))
        return text_add_word(s, text, s->primitive[immediate_of(v)]->name);
    return text_add_word(s, text, constant[immediate_of(v)]);
}

static bool print_list(struct scheme *s, struct text *text, value list, bool written)
{
    struct { value rest; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    f->rest = list;
    bool fine = text_add_word(s, text, "(");
    for (bool first = true; fine && is_pair(f->rest); first = false) {
        morph_poll(s->me);
        fine = (first || text_add_word(s, text, " ")) && print_value(s, text, car(f->rest), written);
        f->rest = cdr(f->rest);
    }
    if (fine && f->rest != NIL)
        fine = text_add_word(s, text, " . ") && print_value(s, text, f->rest, written);
    frame_pop(s, f);
    return fine && text_add_word(s, text, ")");
}

static bool print_vector(struct scheme *s, struct text *text, value vector, bool written)
{
    struct { value vector; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    f->vector = vector;
    bool fine = text_add_word(s, text, "#(");
    for (uint64_t i = 0; fine && i < vector_length(f->vector); i++) {
        morph_poll(s->me);
        fine = (i == 0 || text_add_word(s, text, " ")) && print_value(s, text, vector_items(f->vector)[i], written);
    }
    frame_pop(s, f);
    return fine && text_add_word(s, text, ")");
}

/* #<kind name>: the kind's name is the one that the heap knows. */
static bool print_opaque(struct scheme *s, struct text *text, value v, value name)
{
    bool fine = text_add_word(s, text, "#<") && text_add_word(s, text, morph_type_name(morph_object_type(s->heap, v)));
    if (fine && is_kind(name, KIND_SYMBOL)) {
        value string = ((struct symbol *)name)->name;
        fine = text_add_word(s, text, " ") && text_add(s, text, string_bytes(string), string_length(string));
    }
    return fine && text_add_word(s, text, ">");
}

static bool print_object(struct scheme *s, struct text *text, value v, bool written)
{
    value name;
    switch (kind_of(v)) {
    case KIND_PAIR:
        return print_list(s, text, v, written);
    case KIND_VECTOR:
        return print_vector(s, text, v, written);
    case KIND_STRING:
        return print_string(s, text, string_bytes(v), string_length(v), written);
    case KIND_FLONUM:
        return print_flonum(s, text, flonum_of(v));
    case KIND_SYMBOL:
        name = ((struct symbol *)v)->name;
        return text_add(s, text, string_bytes(name), string_length(name));
    case KIND_PRIMITIVE:
        return print_opaque(s, text, v, ((struct primitive *)v)->name);
    case KIND_CLOSURE:
        return print_opaque(s, text, v, ((struct node *)((struct closure *)v)->lambda)->x);
    default:
        return print_opaque(s, text, v, NIL);
    }
}

bool print_value(struct scheme *s, struct text *text, value v, bool written)
{
    if (!is_object(v))
        return print_immediate(s, text, v, written);
    if (!depth_enter(s))
        return false;
    bool fine = print_object(s, text, v, written);
    depth_leave(s);
    return fine;
}

/* ---- Ports: text that grows in the heap ---- */

static struct port *port_of(value v) { return v; }

/* Adds what is in scratch to the port at `port`, a slot that is a root. */
static bool port_add(struct scheme *s, value *port)
{
    uint64_t used = port_of(*port)->used, needed = used + s->scratch.used, size = morph_object_bytes(port_of(*port)->bytes);
    if (needed > size) {
        char *more = morph_new_bytes(s->me, needed > 2 * size ? needed : 2 * size);
        if (!more)
            return scheme_fail_memory(s);
        memcpy(more, port_of(*port)->bytes, used);
        store(s, *port, &port_of(*port)->bytes, more);
    }
    memcpy((char *)port_of(*port)->bytes + used, s->scratch.bytes, s->scratch.used);
    port_of(*port)->used = needed;
    return true;
}

static value open_output_string(struct scheme *s, UNUSED value *argument, UNUSED unsigned count)
{
    s->r->first = morph_new_bytes(s->me, PORT_FIRST_BYTES);
    if (!s->r->first)
        return scheme_fail_memory(s);
    struct port *port = object_new(s, KIND_PORT);
    if (port)
        port->bytes = s->r->first;
    return port;
}

static value get_output_string(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_kind(argument[0], KIND_PORT))
        return scheme_fail(s, "get-output-string: the argument is not a port");
    value string = string_new(s, NULL, port_of(argument[0])->used);
    if (string)
        memcpy(string_bytes(string), port_of(argument[0])->bytes, string_length(string));
    return string;
}

/* Prints argument[0] to the port that is argument[1], or to standard output. */
static value put(struct scheme *s, value *argument, unsigned count, bool written)
{
    if (count == 2) {
        if (!is_kind(argument[1], KIND_PORT))
            return scheme_fail(s, "the second argument is not a port");
        s->scratch.used = 0;
        return print_value(s, &s->scratch, argument[0], written) && port_add(s, &argument[1]) ? UNSPECIFIED : NULL;
    }
    if (!print_value(s, &s->out, argument[0], written))
        return NULL;
    return s->out.used < OUT_BYTES || out_flush(s) ? UNSPECIFIED : NULL;
}

static value display(struct scheme *s, value *argument, unsigned count) { return put(s, argument, count, false); }

static value write_datum(struct scheme *s, value *argument, unsigned count) { return put(s, argument, count, true); }

static value newline(struct scheme *s, value *argument, unsigned count)
{
    value shifted[2] = { character('\n'), count ? argument[0] : NIL };
    if (count == 0)
        return put(s, shifted, 1, false);
    stack_push(s, shifted[0]);
    stack_push(s, shifted[1]);
    value result = put(s, s->stack + s->top - 2, 2, false);
    s->top -= 2;
    return result;
}

const struct primitive_row print_primitives[] = {
    { "display", display, 1, 2, 0 },
    { "write", write_datum, 1, 2, 0 },
    { "write-string", display, 1, 2, 0 },
    { "write-char", display, 1, 2, 0 },
    { "newline", newline, 0, 1, 0 },
    { "open-output-string", open_output_string, 0, 0, 0 },
    { "get-output-string", get_output_string, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
