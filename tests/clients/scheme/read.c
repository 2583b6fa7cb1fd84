/* read.c — text becomes data. The text is the program's, in memory that does not move; the data are in the heap. */
#include "tests/clients/scheme/scheme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static value read_fail(struct scheme *s, const struct reader *in, const char *what)
{
    return scheme_fail(s, "%s:%u: %s", in->file, in->line, what);
}

static bool is_delimiter(char c) { return strchr(" \t\r\n()\";'`,", c) != NULL; }      /* and the end, where c is 0 */

static char peek(const struct reader *in, size_t ahead) { return (size_t)(in->end - in->at) > ahead ? in->at[ahead] : 0; }

static void skip_blank(struct reader *in)
{
    for (; in->at < in->end; in->at++) {
        char c = *in->at;
        if (c == ';')
            while (in->at + 1 < in->end && in->at[1] != '\n')
                in->at++;
        else if (c == '\n')
            in->line++;
        else if (c != ' ' && c != '\t' && c != '\r')
            return;
    }
}

/* ---- Atoms ---- */

bool read_number(struct scheme *s, const char *text, size_t length, value *ret_number)
{
    char copy[64], *end;
    if (length == 0 || length >= sizeof copy)
        return false;
    memcpy(copy, text, length);
    copy[length] = 0;
    if (strspn(copy, "+-.0123456789eE") != length || !strpbrk(copy, "0123456789") || copy[0] == 'e' || copy[0] == 'E')
        return false;
    errno = 0;
    long long number = strtoll(copy, &end, 10);
    if (*end == 0 && errno == 0) {
        *ret_number = integer(s, number);
        return true;
    }
    double real = strtod(copy, &end);
    if (*end != 0)
        return false;
    *ret_number = flonum(s, real);
    return true;
}

static value read_atom(struct scheme *s, struct reader *in)
{
    const char *from = in->at;
    while (!is_delimiter(peek(in, 0)))
        in->at++;
    size_t length = (size_t)(in->at - from);
    value number;
    if (read_number(s, from, length, &number))
        return number;
    return symbol_intern(s, from, length);
}

static value read_string(struct scheme *s, struct reader *in)
{
    struct text *text = &s->scratch;
    text->used = 0;
    for (in->at++; in->at < in->end && *in->at != '"'; in->at++) {
        char c = *in->at;
        if (c == '\\' && in->at + 1 < in->end) {
            c = *++in->at;
            c = c == 'n' ? '\n' : c == 't' ? '\t' : c;
        }
        in->line += *in->at == '\n';
        if (!text_add(s, text, &c, 1))
            return NULL;
    }
    if (in->at == in->end)
        return read_fail(s, in, "a string does not end");
    in->at++;
    return string_new(s, text->bytes, text->used);
}

static value read_character(struct scheme *s, struct reader *in)
{
    static const struct { const char *name; char c; } named[] = {
        { "space", ' ' }, { "newline", '\n' }, { "tab", '\t' }, { "return", '\r' }, { "null", 0 }
    };
    const char *from = in->at += 2;
    if (in->at == in->end)
        return read_fail(s, in, "a character is missing");
    do
        in->at++;
    while (!is_delimiter(peek(in, 0)));
    size_t length = (size_t)(in->at - from);
    if (length == 1)
        return character((unsigned char)*from);
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strlen(named[i].name) == length && memcmp(named[i].name, from, length) == 0)
            return character((unsigned char)named[i].c);
    return read_fail(s, in, "no such character");
}

/* ---- Compounds ---- */

static value read_datum(struct scheme *s, struct reader *in);

static bool at_end_of_list(struct scheme *s, struct reader *in, bool *ret_failed)
{
    skip_blank(in);
    *ret_failed = in->at == in->end;
    if (*ret_failed)
        read_fail(s, in, "a closing parenthesis is missing");
    return *ret_failed || *in->at == ')';
}

struct list_frame { value head, last; };

static bool list_append(struct scheme *s, struct list_frame *f, value item)
{
    value pair = item ? cons(s, item, NIL) : NULL;
    if (!pair)
        return false;
    if (f->last)
        store(s, f->last, &((struct pair *)f->last)->cdr, pair);
    else
        f->head = pair;
    f->last = pair;
    return true;
}

static bool read_tail(struct scheme *s, struct reader *in, struct list_frame *f)
{
    bool failed;
    in->at++;
    value tail = f->last ? read_datum(s, in) : read_fail(s, in, "a dot has nothing before it");
    if (!tail)
        return false;
    store(s, f->last, &((struct pair *)f->last)->cdr, tail);
    return (at_end_of_list(s, in, &failed) && !failed) || read_fail(s, in, "more than one datum after a dot");
}

static bool read_items(struct scheme *s, struct reader *in, struct list_frame *f)
{
    bool failed;
    while (!at_end_of_list(s, in, &failed)) {
        if (*in->at == '.' && is_delimiter(peek(in, 1))) {
            if (!read_tail(s, in, f))
                return false;
        } else if (!list_append(s, f, read_datum(s, in))) {
            return false;
        }
    }
    in->at++;
    return !failed;
}

static value read_list(struct scheme *s, struct reader *in)
{
    struct list_frame *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    f->head = NIL;
    in->at++;
    value list = read_items(s, in, f) ? f->head : NULL;
    frame_pop(s, f);
    return list;
}

static value read_vector(struct scheme *s, struct reader *in)
{
    struct { value list; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    in->at++;
    value vector = NULL;
    if ((f->list = read_list(s, in))) {
        long length = list_length(f->list);
        vector = length < 0 ? read_fail(s, in, "a vector with a dot in it") : vector_new(s, (uint64_t)length, NIL);
        for (long i = 0; vector && i < length; i++, f->list = cdr(f->list))
            store(s, vector, vector_items(vector) + i, car(f->list));
    }
    frame_pop(s, f);
    return vector;
}

/* 'x is (quote x). */
static value read_quoted(struct scheme *s, struct reader *in, const char *name)
{
    struct { value datum; } *f = frame_push(s, sizeof *f);
    if (!f)
        return NULL;
    value form = NULL;
    if ((f->datum = read_datum(s, in))) {
        value symbol = symbol_intern(s, name, strlen(name));
        form = symbol ? list_of(s, 2, symbol, f->datum) : NULL;
    }
    frame_pop(s, f);
    return form;
}

static value read_hash(struct scheme *s, struct reader *in)
{
    char c = peek(in, 1);
    if (c == '(')
        return read_vector(s, in);
    if (c == '\\')
        return read_character(s, in);
    if ((c == 't' || c == 'f') && is_delimiter(peek(in, 2))) {
        in->at += 2;
        return boolean(c == 't');
    }
    return read_fail(s, in, "# is followed by something unknown");
}

static value read_some(struct scheme *s, struct reader *in)
{
    switch (*in->at) {
    case '(':
        return read_list(s, in);
    case ')':
        return read_fail(s, in, "a closing parenthesis too many");
    case '"':
        return read_string(s, in);
    case '#':
        return read_hash(s, in);
    case '\'':
        in->at++;
        return read_quoted(s, in, "quote");
    case '`':
        in->at++;
        return read_quoted(s, in, "quasiquote");
    case ',':
        in->at++;
        if (peek(in, 0) != '@')
            return read_quoted(s, in, "unquote");
        in->at++;
        return read_quoted(s, in, "unquote-splicing");
    default:
        return read_atom(s, in);
    }
}

static value read_datum(struct scheme *s, struct reader *in)
{
    skip_blank(in);
    if (in->at == in->end)
        return read_fail(s, in, "the text ends in the middle");
    if (!depth_enter(s))
        return NULL;
    value datum = read_some(s, in);
    depth_leave(s);
    return datum;
}

value read_form(struct scheme *s, struct reader *in)
{
    skip_blank(in);
    in->form_line = in->line;
    return in->at == in->end ? END_OF_FILE : read_datum(s, in);
}
