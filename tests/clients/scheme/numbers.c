/* numbers.c — arithmetic: fixnums of 62 bits; a result that does not fit becomes a flonum. */
#include "tests/clients/scheme/scheme.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(value v) { return is_fixnum(v) || is_kind(v, KIND_FLONUM); }

static double real_of(value v) { return is_fixnum(v) ? (double)fixnum_of(v) : flonum_of(v); }

static value not_a_number(struct scheme *s, const char *name, value v)
{
    char sentence[64];
    snprintf(sentence, sizeof sentence, "%s: not a number", name);
    return scheme_fail_about(s, sentence, v);
}

static bool numbers_check(struct scheme *s, const char *name, const value *argument, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!is_number(argument[i]))
            return not_a_number(s, name, argument[i]);
    return true;
}

static bool integers_check(struct scheme *s, const char *name, const value *argument, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!is_fixnum(argument[i]))
            return scheme_fail(s, "%s: not an exact integer", name);
    return true;
}

/* ---- Sums and products ---- */

static value add(struct scheme *s, value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b))
        return integer(s, fixnum_of(a) + fixnum_of(b));
    return flonum(s, real_of(a) + real_of(b));
}

static value subtract(struct scheme *s, value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b))
        return integer(s, fixnum_of(a) - fixnum_of(b));
    return flonum(s, real_of(a) - real_of(b));
}

static value multiply(struct scheme *s, value a, value b)
{
    int64_t product;
    if (is_fixnum(a) && is_fixnum(b) && !__builtin_mul_overflow(fixnum_of(a), fixnum_of(b), &product))
        return integer(s, product);
    return flonum(s, real_of(a) * real_of(b));
}

static value divide(struct scheme *s, value a, value b)
{
    if (is_fixnum(b) && fixnum_of(b) == 0)
        return scheme_fail(s, "/: division by zero");
    if (is_fixnum(a) && is_fixnum(b) && fixnum_of(a) % fixnum_of(b) == 0)
        return integer(s, fixnum_of(a) / fixnum_of(b));
    return flonum(s, real_of(a) / real_of(b));
}

typedef value (*operation)(struct scheme *s, value a, value b);

/* From the left; the accumulator is argument[0]. One argument alone: `unit` and it. */
static value fold(struct scheme *s, const char *name, operation combine, value unit, value *argument, unsigned count)
{
    if (!numbers_check(s, name, argument, count))
        return NULL;
    if (count == 0)
        return unit;
    if (count == 1)
        return combine(s, unit, argument[0]);
    for (unsigned i = 1; i < count; i++) {
        value result = combine(s, argument[0], argument[i]);
        if (!result)
            return NULL;
        argument[0] = result;
    }
    return argument[0];
}

#define FOLD(function, name, combine, unit)                                     \
    static value function(struct scheme *s, value *argument, unsigned count)    \
    {                                                                           \
        return fold(s, name, combine, fixnum(unit), argument, count);           \
    }
FOLD(number_add, "+", add, 0)
FOLD(number_subtract, "-", subtract, 0)
FOLD(number_multiply, "*", multiply, 1)
FOLD(number_divide, "/", divide, 1)

/* ---- Comparing ---- */

static int compare(value a, value b)
{
    if (is_fixnum(a) && is_fixnum(b))
        return fixnum_of(a) < fixnum_of(b) ? -1 : fixnum_of(a) > fixnum_of(b);
    double x = real_of(a), y = real_of(b);
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
}

#define COMPARISON(function, text, wanted)                                                              \
    static value function(struct scheme *s, value *argument, unsigned count)                            \
    {                                                                                                   \
        if (!numbers_check(s, text, argument, count))                                                   \
            return NULL;                                                                                \
        for (unsigned i = 1; i < count; i++) {                                                          \
            int order = compare(argument[i - 1], argument[i]);                                          \
            if (!(wanted))                                                                              \
                return FALSE;                                                                           \
        }                                                                                               \
        return TRUE;                                                                                    \
    }
COMPARISON(number_equal, "=", order == 0)
COMPARISON(number_less, "<", order == -1)
COMPARISON(number_greater, ">", order == 1)
COMPARISON(number_not_greater, "<=", order == -1 || order == 0)
COMPARISON(number_not_less, ">=", order == 1 || order == 0)

static value extreme(struct scheme *s, const char *name, int wanted, value *argument, unsigned count)
{
    if (!numbers_check(s, name, argument, count))
        return NULL;
    value best = argument[0];
    for (unsigned i = 1; i < count; i++)
        best = compare(argument[i], best) == wanted ? argument[i] : best;
    return best;
}

static value number_max(struct scheme *s, value *argument, unsigned count) { return extreme(s, "max", 1, argument, count); }
static value number_min(struct scheme *s, value *argument, unsigned count) { return extreme(s, "min", -1, argument, count); }

/* ---- Integers ---- */

static bool division_check(struct scheme *s, const char *name, const value *argument)
{
    if (!integers_check(s, name, argument, 2))
        return false;
    return fixnum_of(argument[1]) != 0 || scheme_fail(s, "%s: division by zero", name);
}

static value number_quotient(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return division_check(s, "quotient", argument) ? integer(s, fixnum_of(argument[0]) / fixnum_of(argument[1])) : NULL;
}

static value number_remainder(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return division_check(s, "remainder", argument) ? fixnum(fixnum_of(argument[0]) % fixnum_of(argument[1])) : NULL;
}

static value number_modulo(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!division_check(s, "modulo", argument))
        return NULL;
    int64_t divisor = fixnum_of(argument[1]), rest = fixnum_of(argument[0]) % divisor;
    return fixnum(rest != 0 && (rest < 0) != (divisor < 0) ? rest + divisor : rest);
}

static value number_gcd(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!integers_check(s, "gcd", argument, 2))
        return NULL;
    int64_t a = llabs(fixnum_of(argument[0])), b = llabs(fixnum_of(argument[1]));
    while (b != 0) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return integer(s, a);
}

static value number_and(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return integers_check(s, "bitwise-and", argument, 2) ? fixnum(fixnum_of(argument[0]) & fixnum_of(argument[1])) : NULL;
}

static value number_or(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return integers_check(s, "bitwise-or", argument, 2) ? fixnum(fixnum_of(argument[0]) | fixnum_of(argument[1])) : NULL;
}

static value number_xor(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return integers_check(s, "bitwise-xor", argument, 2) ? fixnum(fixnum_of(argument[0]) ^ fixnum_of(argument[1])) : NULL;
}

/* ---- Reals ---- */

static value number_exact(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!numbers_check(s, "exact", argument, 1) || is_fixnum(argument[0]))
        return is_number(argument[0]) ? argument[0] : NULL;
    double number = flonum_of(argument[0]);
    bool fits = number >= (double)FIXNUM_MIN && number < -(double)FIXNUM_MIN;
    return fits ? fixnum((int64_t)number) : scheme_fail(s, "exact: too large for an integer");
}

static value number_inexact(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return numbers_check(s, "inexact", argument, 1) ? flonum(s, real_of(argument[0])) : NULL;
}

static value number_sqrt(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return numbers_check(s, "sqrt", argument, 1) ? flonum(s, sqrt(real_of(argument[0]))) : NULL;
}

static value number_floor(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!numbers_check(s, "floor", argument, 1))
        return NULL;
    return is_fixnum(argument[0]) ? argument[0] : flonum(s, floor(flonum_of(argument[0])));
}

/* ---- What numbers are, and text ---- */

static value number_is_number(UNUSED struct scheme *s, value *argument, UNUSED unsigned count) { return boolean(is_number(argument[0])); }
static value number_is_integer(UNUSED struct scheme *s, value *argument, UNUSED unsigned count) { return boolean(is_fixnum(argument[0])); }

static value number_is_zero(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return numbers_check(s, "zero?", argument, 1) ? boolean(real_of(argument[0]) == 0) : NULL;
}

static value number_is_negative(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return numbers_check(s, "negative?", argument, 1) ? boolean(real_of(argument[0]) < 0) : NULL;
}

static value number_is_even(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return integers_check(s, "even?", argument, 1) ? boolean(fixnum_of(argument[0]) % 2 == 0) : NULL;
}

static value number_is_odd(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return integers_check(s, "odd?", argument, 1) ? boolean(fixnum_of(argument[0]) % 2 != 0) : NULL;
}

static value number_to_string(struct scheme *s, value *argument, UNUSED unsigned count)
{
    s->scratch.used = 0;
    if (!numbers_check(s, "number->string", argument, 1) || !print_value(s, &s->scratch, argument[0], false))
        return NULL;
    return string_new(s, s->scratch.bytes, s->scratch.used);
}

static value number_from_string(struct scheme *s, value *argument, UNUSED unsigned count)
{
    value number;
    s->scratch.used = 0;
    if (!is_kind(argument[0], KIND_STRING))
        return scheme_fail(s, "string->number: the argument is not a string");
    if (!text_add(s, &s->scratch, string_bytes(argument[0]), string_length(argument[0])))
        return NULL;
    return read_number(s, s->scratch.bytes, s->scratch.used, &number) ? number : FALSE;
}

const struct primitive_row number_primitives[] = {
    { "+", number_add, 0, ANY, 0 },
    { "-", number_subtract, 1, ANY, 0 },
    { "*", number_multiply, 0, ANY, 0 },
    { "/", number_divide, 1, ANY, 0 },
    { "=", number_equal, 1, ANY, 0 },
    { "<", number_less, 1, ANY, 0 },
    { ">", number_greater, 1, ANY, 0 },
    { "<=", number_not_greater, 1, ANY, 0 },
    { ">=", number_not_less, 1, ANY, 0 },
    { "max", number_max, 1, ANY, 0 },
    { "min", number_min, 1, ANY, 0 },
    { "quotient", number_quotient, 2, 2, 0 },
    { "remainder", number_remainder, 2, 2, 0 },
    { "modulo", number_modulo, 2, 2, 0 },
    { "gcd", number_gcd, 2, 2, 0 },
    { "bitwise-and", number_and, 2, 2, 0 },
    { "bitwise-or", number_or, 2, 2, 0 },
    { "bitwise-xor", number_xor, 2, 2, 0 },
    { "exact", number_exact, 1, 1, 0 },
    { "inexact", number_inexact, 1, 1, 0 },
    { "sqrt", number_sqrt, 1, 1, 0 },
    { "floor", number_floor, 1, 1, 0 },
    { "number?", number_is_number, 1, 1, 0 },
    { "integer?", number_is_integer, 1, 1, 0 },
    { "zero?", number_is_zero, 1, 1, 0 },
    { "negative?", number_is_negative, 1, 1, 0 },
    { "even?", number_is_even, 1, 1, 0 },
    { "odd?", number_is_odd, 1, 1, 0 },
    { "number->string", number_to_string, 1, 1, 0 },
    { "string->number", number_from_string, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
