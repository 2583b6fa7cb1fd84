/* literals.c — strings that point to literals of the program, next to real ones, in arrays, maps and each other.
 *
 * What would break: a collector that takes the address of a literal for an object, and one that takes the two types for one: a string's data is
 * no reference and may be any address, a real string's is one. */
#include <string.h>

#include "tests/clients/morph/program.h"

static const char *const words[] = { "", "a", "fox", "a longer literal, of more than sixteen characters", "naïve", "\t\n", "0", "the last one" };
enum { WORDS = sizeof words / sizeof *words };

/* Of numbers 0, 1, 2 ...: a literal, or a literal and a number, or a concatenation of literals. */
APART static MorphString *phrase_new(MorphContext *ctx, unsigned number)
{
    MorphString *literal = string_literal(ctx, words[number % WORDS]);
    ROOT(literal);
    if (number / WORDS % 3 == 0)
        RETURN(literal, 1);
    if (number / WORDS % 3 == 1)
        RETURN(string_concat(ctx, literal, string_number(ctx, number)), 1);
    RETURN(string_concat(ctx, literal, string_literal(ctx, words[(number + 1) % WORDS])), 1);
}

static void phrase_check(const MorphString *phrase, unsigned number, const char *where)
{
    const char *word = words[number % WORDS], *rest = words[(number + 1) % WORDS];
    size_t length = strlen(word);
    EXPECT(phrase->length >= length && memcmp(phrase->data, word, length) == 0, "%s: phrase %u does not begin with its word", where, number);
    switch (number / WORDS % 3) {
    case 0:
        EXPECT(phrase->data == word && phrase->length == length, "%s: phrase %u is no literal any more", where, number);
        break;
    case 1:
        for (size_t i = phrase->length; i-- > length; number /= 10)
            EXPECT(phrase->data[i] == (char)('0' + number % 10), "%s: the number of a phrase", where);
        EXPECT(number == 0, "%s: the number of a phrase", where);
        break;
    default:
        EXPECT(phrase->length == length + strlen(rest) && strcmp(phrase->data + length, rest) == 0,
               "%s: phrase %u does not end with its word", where, number);
    }
}

/* A string of the first type whose data is in the stack, or no address at all: nobody may look there. */
APART static void odd_data(MorphContext *ctx, MorphArray *strings, const MorphString *near)
{
    static const uintptr_t odd[] = { 1, 8, ~(uintptr_t)0, (uintptr_t)1 << 47, (uintptr_t)1 << 63, 4096 };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        MorphString *string = mph_alloc(ctx, sizeof *string, &mph_ti_string);
        string->data = (char *)odd[i];
        string->length = i;
        array_push_pointer(ctx, strings, string);
    }
    MorphString *string = mph_alloc(ctx, sizeof *string, &mph_ti_string);
    string->data = (char *)((uintptr_t)near ^ 3);
    array_push_pointer(ctx, strings, string);
}

void program_literals(MorphContext *ctx)
{
    const unsigned many = 600;
    MorphArray *phrases = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(phrases);
    MorphMap *by_word = map_new(ctx, KEY_STRING, 0);
    ROOT(by_word);
    for (unsigned i = 0; i < WORDS; i++)
        map_set(ctx, by_word, string_literal(ctx, words[i]), (void *)(uintptr_t)i);
    for (unsigned i = 0; i < many; i++)
        array_push_pointer(ctx, phrases, phrase_new(ctx, i));
    for (unsigned round = 0; round < scaled(120); round++) {
        MorphArray *odd = array_new(ctx, sizeof(void *), 1, 0);
        ROOT(odd);
        odd_data(ctx, odd, array_pointer(phrases, 0));
        for (unsigned i = round % 7; i < many; i += 7)
            ((void **)phrases->data)[i] = phrase_new(ctx, i);
        scrub();
        churn_and_collect(ctx, 200000);
        for (unsigned i = 0; i < many; i++)
            phrase_check(array_pointer(phrases, i), i, "an array");
        for (unsigned i = 0; i < WORDS; i++) {
            void *found = NULL;
            MorphString *key = string_concat(ctx, string_literal(ctx, ""), string_literal(ctx, words[i]));      /* equal, and real */
            EXPECT(map_get(by_word, key, &found) && (uintptr_t)found == i, "the map of words at %u", i);
        }
    }
    mph_gc_pop_roots(ctx, 2);
}
