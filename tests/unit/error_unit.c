/* error_unit.c — codes, names and sentences, and what an errno becomes. Tests client/error.c and morphmem/error.h. */
#include "tests/lib/check.h"

#include <errno.h>
#include <string.h>

#include "client/internal.h"

/* The ABI, written out by hand: a number that moves breaks programs and the protocol. */
static const struct { const char *name; int code, number; } fixed[] = {
    { "MORPH_ENOMEM", MORPH_ENOMEM, 1 },          { "MORPH_EBUDGET", MORPH_EBUDGET, 2 },
    { "MORPH_EQUOTA", MORPH_EQUOTA, 3 },          { "MORPH_EINVALID", MORPH_EINVALID, 4 },
    { "MORPH_ETOOLARGE", MORPH_ETOOLARGE, 5 },    { "MORPH_ENODAEMON", MORPH_ENODAEMON, 6 },
    { "MORPH_EPERMISSION", MORPH_EPERMISSION, 7 }, { "MORPH_EVERSION", MORPH_EVERSION, 8 },
    { "MORPH_EPROTOCOL", MORPH_EPROTOCOL, 9 },    { "MORPH_ELOST", MORPH_ELOST, 10 },
    { "MORPH_ECONDEMNED", MORPH_ECONDEMNED, 11 }, { "MORPH_EFORKED", MORPH_EFORKED, 12 },
    { "MORPH_EBUSY", MORPH_EBUSY, 13 },           { "MORPH_ETHREADS", MORPH_ETHREADS, 14 },
    { "MORPH_ESPACES", MORPH_ESPACES, 15 },       { "MORPH_ETYPE", MORPH_ETYPE, 16 },
    { "MORPH_ENOTYPES", MORPH_ENOTYPES, 17 },     { "MORPH_ENOHEAP", MORPH_ENOHEAP, 18 },
    { "MORPH_ETIMEOUT", MORPH_ETIMEOUT, 19 },     { "MORPH_EFILES", MORPH_EFILES, 20 },
    { "MORPH_EMEMORY", MORPH_EMEMORY, 21 },       { "MORPH_EMODE", MORPH_EMODE, 22 },
    { "MORPH_EUNKNOWN", MORPH_EUNKNOWN, 23 },     { "MORPH_ESYSTEM", MORPH_ESYSTEM, 24 },
    { "MORPH_EROOTS", MORPH_EROOTS, 25 },         { "MORPH_EHANDLES", MORPH_EHANDLES, 26 },
    { "MORPH_EPUTOFF", MORPH_EPUTOFF, 27 },       { "MORPH_EINUSE", MORPH_EINUSE, 28 },
};
#define FIXED (sizeof fixed / sizeof fixed[0])

static const struct { int number; const char *sentence; } listed[] = {
#define X(name, number, sentence) { number, sentence },
    MORPH_ERROR_MAP(X)
#undef X
};
#define LISTED (sizeof listed / sizeof listed[0])

static void numbers_are_those_of_the_abi(void **state)
{
    assert_int_equal(MORPH_OK, 0);
    assert_int_equal(LISTED, FIXED);                /* a new code needs a line above */
    for (unsigned i = 0; i < FIXED; i++) {
        assert_int_equal(fixed[i].code, -fixed[i].number);
        assert_int_equal(listed[i].number, fixed[i].number);
    }
}

static void numbers_are_positive_and_unique(void **state)
{
    for (unsigned i = 0; i < LISTED; i++) {
        assert_true(listed[i].number > 0);
        for (unsigned k = 0; k < i; k++)
            assert_int_not_equal(listed[i].number, listed[k].number);
    }
}

static void every_code_has_its_name(void **state)
{
    for (unsigned i = 0; i < FIXED; i++)
        assert_string_equal(morph_error_name(fixed[i].code), fixed[i].name);
    assert_string_equal(morph_error_name(0), "MORPH_OK");
}

/* The library says what the list says, and the list says something to people: no two the same, no shouting, no full stop. */
static void every_code_has_its_sentence(void **state)
{
    for (unsigned i = 0; i < LISTED; i++) {
        const char *sentence = morph_strerror(-listed[i].number);
        assert_string_equal(sentence, listed[i].sentence);
        assert_true(strlen(sentence) >= 10 && strlen(sentence) < 160);
        assert_true(strchr(sentence, ' ') != NULL);
        assert_true(sentence[0] >= 'a' && sentence[0] <= 'z');
        assert_int_not_equal(sentence[strlen(sentence) - 1], '.');
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(sentence, listed[k].sentence);
    }
    assert_string_equal(morph_strerror(0), "no error");
}

static void other_numbers_are_no_errors_of_ours(void **state)
{
    static const int other[] = { 1, 28, -29, -30, -4095, -ENOMEM * 1000, INT32_MAX, INT32_MIN };
    for (unsigned i = 0; i < sizeof other / sizeof other[0]; i++) {
        assert_string_equal(morph_error_name(other[i]), "?");
        assert_string_equal(morph_strerror(other[i]), "no error of morphmem");
    }
}

static void an_errno_becomes_the_code_that_helps(void **state)
{
    static const struct { int number, code; } maps[] = {
        { 0, 0 }, { ENOMEM, MORPH_EMEMORY }, { EMFILE, MORPH_EFILES }, { ENFILE, MORPH_EFILES }, { EACCES, MORPH_EPERMISSION },
        { EPERM, MORPH_EPERMISSION }, { ENOENT, MORPH_ENODAEMON }, { ECONNREFUSED, MORPH_ENODAEMON }, { ENOTDIR, MORPH_ENODAEMON },
        { EINVAL, MORPH_EINVALID }, { ENAMETOOLONG, MORPH_EINVALID }, { EPIPE, MORPH_ELOST }, { ECONNRESET, MORPH_ELOST },
        { ETIMEDOUT, MORPH_ETIMEOUT }, { EAGAIN, MORPH_ETIMEOUT }, { EPROTO, MORPH_EPROTOCOL }, { ENOMSG, MORPH_EPROTOCOL },
        { EBADMSG, MORPH_EPROTOCOL }, { EMSGSIZE, MORPH_EPROTOCOL }, { EPROTONOSUPPORT, MORPH_EVERSION }, { EIO, MORPH_ESYSTEM },
        { ELOOP, MORPH_ESYSTEM },
    };
    for (unsigned i = 0; i < sizeof maps / sizeof maps[0]; i++)
        assert_int_equal(morph__error_of_errno(-maps[i].number), maps[i].code);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(numbers_are_those_of_the_abi),
        test_case(numbers_are_positive_and_unique),
        test_case(every_code_has_its_name),
        test_case(every_code_has_its_sentence),
        test_case(other_numbers_are_no_errors_of_ours),
        test_case(an_errno_becomes_the_code_that_helps),
    };
    return test_run(cases);
}
