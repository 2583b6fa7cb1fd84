/* strings.c — primitives on strings, characters and symbols. A string is bytes; its length is the object's size. */
#include "tests/clients/scheme/scheme.h"

#include <ctype.h>
#include <string.h>

static bool string_check(struct scheme *s, const char *name, value v)
{
    return is_kind(v, KIND_STRING) || scheme_fail(s, "%s: not a string", name);
}

/* argument[i] as an index from `least` to `most`. */
static bool index_check(struct scheme *s, const char *name, value v, uint64_t least, uint64_t most)
{
    bool fine = is_fixnum(v) && fixnum_of(v) >= (int64_t)least && fixnum_of(v) <= (int64_t)most;
    return fine || scheme_fail(s, "%s: an index is out of range", name);
}

/* ---- Making strings ---- */

static value make_string(struct scheme *s, value *argument, unsigned count)
{
    if (!index_check(s, "make-string", argument[0], 0, UINT32_MAX))
        return NULL;
    if (count == 2 && !is_tagged(argument[1], TAG_CHARACTER))
        return scheme_fail(s, "make-string: not a character");
    value string = string_new(s, NULL, (uint64_t)fixnum_of(argument[0]));
    if (string)
        memset(string_bytes(string), count == 2 ? (int)immediate_of(argument[1]) : ' ', string_length(string));
    return string;
}

static value string_append(struct scheme *s, value *argument, unsigned count)
{
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!string_check(s, "string-append", argument[i]))
            return NULL;
        length += string_length(argument[i]);
    }
    value string = string_new(s, NULL, length);
    char *at = string ? string_bytes(string) : NULL;
    for (unsigned i = 0; string && i < count; i++) {
        memcpy(at, string_bytes(argument[i]), string_length(argument[i]));
        at += string_length(argument[i]);
    }
    return string;
}

/* (substring string start [end]) */
static value substring(struct scheme *s, value *argument, unsigned count)
{
    if (!string_check(s, "substring", argument[0]) || !index_check(s, "substring", argument[1], 0, string_length(argument[0])))
        return NULL;
    uint64_t start = (uint64_t)fixnum_of(argument[1]), end = string_length(argument[0]);
    if (count == 3) {
        if (!index_check(s, "substring", argument[2], start, end))
            return NULL;
        end = (uint64_t)fixnum_of(argument[2]);
    }
    value string = string_new(s, NULL, end - start);
    if (string)
        memcpy(string_bytes(string), string_bytes(argument[0]) + start, end - start);
    return string;
}

static value string_upcase(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!string_check(s, "string-upcase", argument[0]))
        return NULL;
    value string = string_new(s, NULL, string_length(argument[0]));
    for (uint64_t i = 0; string && i < string_length(string); i++)
        string_bytes(string)[i] = (char)toupper((unsigned char)string_bytes(argument[0])[i]);
    return string;
}

/* ---- Looking into strings ---- */

static value string_length_of(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return string_check(s, "string-length", argument[0]) ? fixnum((int64_t)string_length(argument[0])) : NULL;
}

static bool place_check(struct scheme *s, const char *name, value *argument)
{
    if (!string_check(s, name, argument[0]))
        return false;
    uint64_t length = string_length(argument[0]);
    if (length == 0)
        return scheme_fail(s, "%s: the string is empty", name);
    return index_check(s, name, argument[1], 0, length - 1);
}

static value string_ref(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!place_check(s, "string-ref", argument))
        return NULL;
    return character((unsigned char)string_bytes(argument[0])[fixnum_of(argument[1])]);
}

static value string_set(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!place_check(s, "string-set!", argument))
        return NULL;
    if (!is_tagged(argument[2], TAG_CHARACTER))
        return scheme_fail(s, "string-set!: not a character");
    string_bytes(argument[0])[fixnum_of(argument[1])] = (char)immediate_of(argument[2]);
    return UNSPECIFIED;
}

static int string_order(value a, value b)
{
    uint64_t length = string_length(a) < string_length(b) ? string_length(a) : string_length(b);
    int order = memcmp(string_bytes(a), string_bytes(b), length);
    return order ? order : string_length(a) < string_length(b) ? -1 : string_length(a) > string_length(b);
}

static value string_is_equal(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!string_check(s, "string=?", argument[0]) || !string_check(s, "string=?", argument[1]))
        return NULL;
    return boolean(string_order(argument[0], argument[1]) == 0);
}

static value string_is_less(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!string_check(s, "string<?", argument[0]) || !string_check(s, "string<?", argument[1]))
        return NULL;
    return boolean(string_order(argument[0], argument[1]) < 0);
}

/* (string-index string char [start]): #f if it is not there. */
static value string_index(struct scheme *s, value *argument, unsigned count)
{
    if (!string_check(s, "string-index", argument[0]))
        return NULL;
    if (!is_tagged(argument[1], TAG_CHARACTER))
        return scheme_fail(s, "string-index: not a character");
    uint64_t length = string_length(argument[0]), start = 0;
    if (count == 3) {
        if (!index_check(s, "string-index", argument[2], 0, length))
            return NULL;
        start = (uint64_t)fixnum_of(argument[2]);
    }
    const char *bytes = string_bytes(argument[0]), *found = memchr(bytes + start, (int)immediate_of(argument[1]), length - start);
    return found ? fixnum(found - bytes) : FALSE;
}

/* ---- Strings and lists ---- */

static value string_to_list(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!string_check(s, "string->list", argument[0]))
        return NULL;
    value list = NIL;
    for (uint64_t i = string_length(argument[0]); i > 0 && list; i--)
        list = cons(s, character((unsigned char)string_bytes(argument[0])[i - 1]), list);
    return list;
}

static value list_to_string(struct scheme *s, value *argument, UNUSED unsigned count)
{
    s->scratch.used = 0;
    for (; is_pair(argument[0]); argument[0] = cdr(argument[0])) {
        char c = (char)immediate_of(car(argument[0]));
        if (!is_tagged(car(argument[0]), TAG_CHARACTER))
            return scheme_fail(s, "list->string: not a character");
        if (!text_add(s, &s->scratch, &c, 1))
            return NULL;
        morph_poll(s->me);
    }
    return string_new(s, s->scratch.bytes, s->scratch.used);
}

/* ---- Characters ---- */

static bool character_check(struct scheme *s, const char *name, value v)
{
    return is_tagged(v, TAG_CHARACTER) || scheme_fail(s, "%s: not a character", name);
}

static value char_to_integer(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return character_check(s, "char->integer", argument[0]) ? fixnum((int64_t)immediate_of(argument[0])) : NULL;
}

static value integer_to_char(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return index_check(s, "integer->char", argument[0], 0, 255) ? character((unsigned char)fixnum_of(argument[0])) : NULL;
}

static value char_is_alphabetic(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return character_check(s, "char-alphabetic?", argument[0]) ? boolean(isalpha((int)immediate_of(argument[0]))) : NULL;
}

/* ---- Symbols ---- */

static value string_to_symbol(struct scheme *s, value *argument, UNUSED unsigned count)
{
    s->scratch.used = 0;
    if (!string_check(s, "string->symbol", argument[0]) ||
        !text_add(s, &s->scratch, string_bytes(argument[0]), string_length(argument[0])))
        return NULL;
    return symbol_intern(s, s->scratch.bytes, s->scratch.used);
}

/* A copy: a symbol's name does not change. */
static value symbol_to_string(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!is_kind(argument[0], KIND_SYMBOL))
        return scheme_fail(s, "symbol->string: not a symbol");
    argument[0] = ((struct symbol *)argument[0])->name;
    value string = string_new(s, NULL, string_length(argument[0]));
    if (string)
        memcpy(string_bytes(string), string_bytes(argument[0]), string_length(string));
    return string;
}

const struct primitive_row string_primitives[] = {
    { "make-string", make_string, 1, 2, 0 },
    { "string-append", string_append, 0, ANY, 0 },
    { "substring", substring, 2, 3, 0 },
    { "string-upcase", string_upcase, 1, 1, 0 },
    { "string-length", string_length_of, 1, 1, 0 },
    { "string-ref", string_ref, 2, 2, 0 },
    { "string-set!", string_set, 3, 3, 0 },
    { "string=?", string_is_equal, 2, 2, 0 },
    { "string<?", string_is_less, 2, 2, 0 },
    { "string-index", string_index, 2, 3, 0 },
    { "string->list", string_to_list, 1, 1, 0 },
    { "list->string", list_to_string, 1, 1, 0 },
    { "char->integer", char_to_integer, 1, 1, 0 },
    { "integer->char", integer_to_char, 1, 1, 0 },
    { "char-alphabetic?", char_is_alphabetic, 1, 1, 0 },
    { "string->symbol", string_to_symbol, 1, 1, 0 },
    { "symbol->string", symbol_to_string, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
