/* header_c_unit.c — the public headers as a C program sees them: each compiles alone and pedantically (this file is built with
 * -pedantic -Werror), and the inlined fast paths do what they say. No library and no daemon: the slow halves are fakes that
 * count their calls.
 */
#include <morphmem/error.h>

static const int error_alone = MORPH_ENOMEM;

#include <morphmem/fast.h>         /* alone, too; header_cxx_unit.cc begins with morphmem.h */

#include <stdio.h>
#include <string.h>

#include "tests/lib/check.h"

struct node { struct node *left, *right; long value; };
struct wide { void *a[16]; int plain; };

static unsigned slow_calls;
static char slow_result[16];

void *morph_new_slow(morph_thread *thread, morph_type type) { slow_calls++; return slow_result; }
void *morph_arena_object_slow(morph_arena *arena, morph_type type) { slow_calls++; return slow_result; }
void *morph_arena_bytes_slow(morph_arena *arena, uint64_t bytes) { slow_calls++; return slow_result; }

static char memory[4096] __attribute__((aligned(16)));

static void error_numbers_are_stable(void **state)
{
    static const struct { int code, number; } golden[] = {
        { MORPH_ENOMEM, 1 }, { MORPH_EBUDGET, 2 }, { MORPH_EQUOTA, 3 }, { MORPH_EINVALID, 4 }, { MORPH_ETOOLARGE, 5 }, { MORPH_ENODAEMON, 6 },
        { MORPH_EPERMISSION, 7 }, { MORPH_EVERSION, 8 }, { MORPH_EPROTOCOL, 9 }, { MORPH_ELOST, 10 }, { MORPH_ECONDEMNED, 11 },
        { MORPH_EFORKED, 12 }, { MORPH_EBUSY, 13 }, { MORPH_ETHREADS, 14 }, { MORPH_ESPACES, 15 }, { MORPH_ETYPE, 16 }, { MORPH_ENOTYPES, 17 },
        { MORPH_ENOHEAP, 18 }, { MORPH_ETIMEOUT, 19 }, { MORPH_EFILES, 20 }, { MORPH_EMEMORY, 21 }, { MORPH_EMODE, 22 },
        { MORPH_EUNKNOWN, 23 }, { MORPH_ESYSTEM, 24 },
    };
    unsigned listed = 0;
#define X(name, number, sentence) listed++; assert_true(strlen(sentence) > 10 && strlen(sentence) < 128);
    MORPH_ERROR_MAP(X)
#undef X
    assert_int_equal(listed, sizeof golden / sizeof golden[0]);
    for (unsigned i = 0; i < listed; i++)
        assert_int_equal(golden[i].code, -golden[i].number);
    assert_int_equal(error_alone, -1);
    assert_int_equal(MORPH_OK, 0);
}

static void refs_are_offsets(void **state)
{
    morph_type_spec node = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) };
    assert_int_equal(node.refs.count, 2);
    assert_int_equal(node.refs.offset[0], 0);
    assert_int_equal(node.refs.offset[1], sizeof(void *));
    morph_type_spec one = { .refs = MORPH_REFS(struct node, right) };
    assert_int_equal(one.refs.count, 1);
    assert_int_equal(one.refs.offset[0], sizeof(void *));
    morph_type_spec wide = { .refs = MORPH_REFS(struct wide, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12],
                                                a[13], a[14], a[15]) };
    assert_int_equal(wide.refs.count, 16);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(wide.refs.offset[i], i * sizeof(void *));
    morph_type_spec array = { .element_bytes = sizeof(void *), .element_refs = MORPH_ELEMENT_IS_REF };
    assert_int_equal(array.element_refs.count, 1);
    assert_int_equal(array.element_refs.offset[0], 0);
}

/* word 0 of an object: size, type id, BORN. */
static const struct morph_type_info node_info = { .header = 24 | (uint64_t)7 << 32 | (uint64_t)1 << 56, .extent_bytes = 48 };

static void objects_are_bumped(void **state)
{
    struct morph_thread thread = { .young = { memory, memory + 100 } };         /* room for two, and four bytes */
    slow_calls = 0;
    memset(memory, 0xee, sizeof memory);
    char *first = morph_new(&thread, &node_info), *second = morph_new(&thread, &node_info);
    assert_ptr_equal(first, memory + 16);
    assert_ptr_equal(second, memory + 64);
    assert_int_equal(morph_object_bytes(first), 24);
    assert_int_equal(*(uint64_t *)memory, node_info.header);
    assert_int_equal((unsigned char)memory[8], 0xee);                           /* one store: nothing else is written */
    assert_int_equal(slow_calls, 0);
    assert_ptr_equal(morph_new(&thread, &node_info), slow_result);
    assert_int_equal(slow_calls, 1);
    assert_ptr_equal(thread.young.cursor, memory + 96);                         /* a refusal moves nothing */
    assert_true((unsigned char)memory[96] == 0xee);
}

static void arena_objects_are_bumped(void **state)
{
    struct morph_arena arena = { .typed = { memory, memory + 48 } };
    slow_calls = 0;
    assert_ptr_equal(morph_arena_new_object(&arena, &node_info), memory + 16);  /* fills it to the last byte */
    assert_ptr_equal(arena.typed.cursor, arena.typed.limit);
    assert_ptr_equal(morph_arena_new_object(&arena, &node_info), slow_result);
    assert_int_equal(slow_calls, 1);
}

/* Each starts on a granule, whatever lies before; the last one may end at the limit. No bytes are the slow path's affair. */
static void raw_bytes_start_on_granules(void **state)
{
    struct morph_arena arena = { .raw = { memory, memory + 64 } };
    slow_calls = 0;
    assert_ptr_equal(morph_arena_bytes(&arena, 1), memory);
    assert_ptr_equal(morph_arena_bytes(&arena, 16), memory + 16);
    arena.raw.cursor = memory + 35;                                             /* packed text */
    assert_ptr_equal(morph_arena_bytes(&arena, 16), memory + 48);
    assert_int_equal(slow_calls, 0);
    assert_ptr_equal(arena.raw.cursor, arena.raw.limit);
    assert_ptr_equal(morph_arena_bytes(&arena, 1), slow_result);
    assert_int_equal(slow_calls, 1);
    arena.raw.cursor = memory;
    assert_ptr_equal(morph_arena_bytes(&arena, 0), slow_result);
    assert_int_equal(slow_calls, 2);
}

/* Sizes that a careless caller reckons: nothing wraps. */
static void absurd_sizes_go_the_slow_way(void **state)
{
    struct morph_arena arena = { .raw = { memory, memory + 64 } };
    static const uint64_t absurd[] = { 65, UINT64_MAX, UINT64_MAX - 15, UINT64_MAX - 16, (uint64_t)1 << 63, (uint64_t)1 << 32 };
    for (unsigned i = 0; i < sizeof absurd / sizeof absurd[0]; i++) {
        slow_calls = 0;
        assert_ptr_equal(morph_arena_bytes(&arena, absurd[i]), slow_result);
        assert_int_equal(slow_calls, 1);
        assert_ptr_equal(arena.raw.cursor, memory);
    }
    struct morph_arena empty = { .typed = { NULL, NULL } };
    slow_calls = 0;
    assert_ptr_equal(morph_arena_new_object(&empty, &node_info), slow_result);
    assert_int_equal(slow_calls, 1);
}

static void options_are_designated_initialisers(void **state)
{
    morph_options options = { .mode = MORPH_SERVER, .name = "trees", .limit_bytes = 64 << 20 };
    assert_int_equal(options.mode, 3);
    assert_int_equal((morph_options){ 0 }.mode, MORPH_COMPILER);
    assert_int_equal(options.threads, 0);
    assert_false(options.no_autospawn);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(error_numbers_are_stable),
        test_case(refs_are_offsets),
        test_case(objects_are_bumped),
        test_case(arena_objects_are_bumped),
        test_case(raw_bytes_start_on_granules),
        test_case(absurd_sizes_go_the_slow_way),
        test_case(options_are_designated_initialisers),
    };
    return test_run(cases);
}
