/* header_c_unit.c — the public headers as a C program sees them: each compiles alone and pedantically (this file is built with
 * -pedantic -Werror), and the inlined fast paths do what they say. No library and no daemon: the slow halves are fakes that
 * count their calls.
 */
#include <morphmem/error.h>

static const int error_alone = MORPH_ENOMEM;

#include <morphmem/fast.h>         /* alone, too; header_cxx_unit.cc begins with morphmem.h */
#include <morphmem/morph-mem.h>

#include <stdio.h>
#include <string.h>

#include "tests/lib/check.h"

struct node { struct node *left, *right; long value; };
struct wide { void *a[16]; int plain; };

static unsigned slow_calls;
static char slow_result[16];

void *morph_new_slow(morph_thread *thread, morph_type type) { slow_calls++; return slow_result; }
void *morph_new_array_slow(morph_thread *thread, morph_type type, uint64_t elements) { slow_calls++; return slow_result; }
void *morph_new_bytes_slow(morph_thread *thread, uint64_t bytes) { slow_calls++; return slow_result; }
void *morph_frame_push_slow(morph_thread *thread, size_t bytes) { slow_calls++; return slow_result; }
void morph_poll_slow(morph_thread *thread) { slow_calls++; }
uint32_t morph_identity_hash_slow(morph_thread *thread, void *object) { slow_calls++; return 77; }
void *morph_arena_object_slow(morph_arena *arena, morph_type type) { slow_calls++; return slow_result; }
void *morph_arena_bytes_slow(morph_arena *arena, uint64_t bytes) { slow_calls++; return slow_result; }

/* What the two barriers find in the slot when they are called. */
static unsigned card_calls, overwrite_calls;
static void *card_saw, *overwrite_saw;
void morph_store_slow(morph_thread *thread, void *slot) { card_calls++; card_saw = *(void **)slot; }
void morph_overwrite_slow(morph_thread *thread, void *slot) { overwrite_calls++; overwrite_saw = *(void **)slot; }

static char memory[32768] __attribute__((aligned(16)));

static void error_numbers_are_stable(void **state)
{
    static const struct { int code, number; } golden[] = {
        { MORPH_ENOMEM, 1 }, { MORPH_EBUDGET, 2 }, { MORPH_EQUOTA, 3 }, { MORPH_EINVALID, 4 }, { MORPH_ETOOLARGE, 5 }, { MORPH_ENODAEMON, 6 },
        { MORPH_EPERMISSION, 7 }, { MORPH_EVERSION, 8 }, { MORPH_EPROTOCOL, 9 }, { MORPH_ELOST, 10 }, { MORPH_ECONDEMNED, 11 },
        { MORPH_EFORKED, 12 }, { MORPH_EBUSY, 13 }, { MORPH_ETHREADS, 14 }, { MORPH_ESPACES, 15 }, { MORPH_ETYPE, 16 }, { MORPH_ENOTYPES, 17 },
        { MORPH_ENOHEAP, 18 }, { MORPH_ETIMEOUT, 19 }, { MORPH_EFILES, 20 }, { MORPH_EMEMORY, 21 }, { MORPH_EMODE, 22 },
        { MORPH_EUNKNOWN, 23 }, { MORPH_ESYSTEM, 24 }, { MORPH_EROOTS, 25 }, { MORPH_EHANDLES, 26 }, { MORPH_EPUTOFF, 27 },
        { MORPH_EINUSE, 28 },
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

static void types_choose_their_pair(void **state)
{
    struct morph_thread thread = { .young = { memory, memory + 100 }, .old = { memory + 1024, memory + 1024 + 48 } };
    const struct morph_type_info old = { .header = node_info.header, .extent_bytes = 48, .bump_off = offsetof(struct morph_thread, old) };
    const struct morph_type_info huge = { .header = node_info.header, .extent_bytes = UINT64_MAX };
    slow_calls = 0;
    assert_ptr_equal(morph_new(&thread, &old), memory + 1024 + 16);
    assert_ptr_equal(thread.young.cursor, memory);
    assert_ptr_equal(morph_new(&thread, &old), slow_result);
    assert_ptr_equal(morph_new(&thread, &huge), slow_result);                   /* no type of this size fits any block */
    assert_int_equal(slow_calls, 2);
}

/* A fixed part of 16 bytes, elements of 8. */
static const struct morph_type_info array_info = { .header = 16 | (uint64_t)9 << 32 | (uint64_t)1 << 56, .extent_bytes = 32, .element_bytes = 8 };

static void arrays_are_bumped(void **state)
{
    struct morph_thread thread = { .young = { memory, memory + sizeof memory } };
    slow_calls = 0;
    char *empty = morph_new_array(&thread, &array_info, 0), *three = morph_new_array(&thread, &array_info, 3);
    assert_ptr_equal(empty, memory + 16);
    assert_ptr_equal(three, memory + 32 + 16);
    assert_int_equal(morph_object_bytes(empty), 16);
    assert_int_equal(morph_object_bytes(three), 16 + 3 * 8);
    assert_int_equal(*(uint64_t *)(three - 16), 40 | (uint64_t)9 << 32 | (uint64_t)1 << 56);
    assert_ptr_equal(thread.young.cursor, memory + 32 + 64);
    thread.young.cursor = memory;
    assert_ptr_equal(morph_new_array(&thread, &array_info, (16384 - 32) / 8), memory + 16);     /* 16 KiB in all is small still */
    assert_ptr_equal(thread.young.cursor, memory + 16384);
    assert_int_equal(slow_calls, 0);
    static const uint64_t absurd[] = { (16384 - 32) / 8 + 1, 16384, (uint64_t)1 << 32, (uint64_t)1 << 61, UINT64_MAX / 8, UINT64_MAX };
    for (unsigned i = 0; i < sizeof absurd / sizeof absurd[0]; i++)
        assert_ptr_equal(morph_new_array(&thread, &array_info, absurd[i]), slow_result);
    assert_int_equal(slow_calls, sizeof absurd / sizeof absurd[0]);
    assert_ptr_equal(thread.young.cursor, memory + 16384);
}

static void bytes_are_bumped(void **state)
{
    struct morph_thread thread = { .young = { memory, memory + sizeof memory } };
    slow_calls = 0;
    char *text = morph_new_bytes(&thread, 33);
    assert_ptr_equal(text, memory + 16);
    assert_int_equal(*(uint64_t *)memory, 33 | (uint64_t)1 << 56);             /* type 0: no references */
    assert_ptr_equal(thread.young.cursor, memory + 64);
    assert_ptr_equal(morph_new_bytes(&thread, 0), memory + 64 + 16);
    assert_ptr_equal(morph_new_bytes(&thread, 16384 - 16), memory + 80 + 16);
    assert_int_equal(slow_calls, 0);
    assert_ptr_equal(morph_new_bytes(&thread, 16384 - 15), slow_result);
    assert_ptr_equal(morph_new_bytes(&thread, UINT64_MAX), slow_result);
    assert_int_equal(slow_calls, 2);
}

/* Marking: the barrier comes before the store. A card that is not DIRTY nor YOUNG: the other one comes behind it. */
static void stores_meet_their_barriers(void **state)
{
    static void *slots[256] __attribute__((aligned(512)));                     /* four cards */
    static unsigned char cards[4];
    struct morph_thread thread = { .card_base = (uintptr_t)cards - ((uintptr_t)slots >> MORPH_CARD_SHIFT) };
    char old, new;
    for (unsigned card = 0; card < 4; card++)
        for (unsigned byte = 0; byte < 256; byte += byte == 1 ? 62 : 1)
            for (unsigned marking = 0; marking < 2; marking++) {
                void **slot = &slots[64 * card + 63];                           /* the last one of the card */
                memset(cards, MORPH_CARD_DIRTY, sizeof cards);
                cards[card] = (unsigned char)byte;
                card_calls = overwrite_calls = 0;
                thread.marking = marking;
                *slot = &old;
                morph_store(&thread, slots, slot, &new);
                assert_ptr_equal(*slot, &new);
                assert_int_equal(overwrite_calls, marking);
                assert_int_equal(card_calls, byte < MORPH_CARD_DIRTY);
                if (marking)
                    assert_ptr_equal(overwrite_saw, &old);
                if (byte < MORPH_CARD_DIRTY)
                    assert_ptr_equal(card_saw, &new);
                assert_int_equal(cards[card], byte);                            /* the slow half's affair */
            }
}

static struct { struct morph_thread thread; char rest[MORPH_ROOTS_OFF - sizeof(struct morph_thread) + MORPH_ROOTS_BYTES]; } shared;

static void frames_are_pushed_and_popped(void **state)
{
    char *roots = (char *)&shared + MORPH_ROOTS_OFF;
    volatile size_t absurd = SIZE_MAX - 7;
    memset(roots, 0xee, 64);
    slow_calls = 0;
    void **outer = morph_frame_push(&shared.thread, 16), **inner = morph_frame_push(&shared.thread, 24);
    assert_ptr_equal(outer, roots);
    assert_ptr_equal(inner, roots + 16);
    for (unsigned i = 0; i < 5; i++)
        assert_null(outer[i]);                                                  /* zeroed, and not a word more */
    assert_int_equal((unsigned char)roots[40], 0xee);
    assert_int_equal(shared.thread.roots_bytes, 40);
    morph_frame_pop(&shared.thread, inner);
    assert_int_equal(shared.thread.roots_bytes, 16);
    assert_ptr_equal(morph_frame_push(&shared.thread, MORPH_ROOTS_BYTES - 16), inner);          /* to the last byte */
    assert_int_equal(slow_calls, 0);
    assert_ptr_equal(morph_frame_push(&shared.thread, 8), slow_result);
    assert_int_equal(shared.thread.roots_bytes, MORPH_ROOTS_BYTES);
    morph_frame_pop(&shared.thread, outer);
    assert_ptr_equal(morph_frame_push(&shared.thread, absurd), slow_result);
    assert_int_equal(slow_calls, 2);
    assert_int_equal(shared.thread.roots_bytes, 0);
}

static void polls_look_at_one_word(void **state)
{
    struct morph_thread thread = { .stop = 0, .marking = 1 };
    slow_calls = 0;
    morph_poll(&thread);
    assert_int_equal(slow_calls, 0);
    thread.stop = 1;
    morph_poll(&thread);
    assert_int_equal(slow_calls, 1);
    assert_int_equal(thread.stop, 1);                                           /* the daemon's to clear */
}

static void words_and_hashes_are_in_the_header(void **state)
{
    struct morph_thread thread = { .stop = 0 };
    char *object = memory + 16;
    memset(memory, 0, 16);
    morph_object_set_word(object, 0x11223344);
    assert_int_equal(morph_object_word(object), 0x11223344);
    assert_int_equal(*(uint64_t *)(memory + 8), 0x11223344);
    slow_calls = 0;
    assert_int_equal(morph_identity_hash(&thread, object), 77);
    assert_int_equal(slow_calls, 1);
    *(uint32_t *)(memory + 12) = 0x55667788;
    assert_int_equal(morph_identity_hash(&thread, object), 0x55667788);
    assert_int_equal(morph_object_word(object), 0x11223344);
    assert_int_equal(slow_calls, 1);
}

/* Where programs that were compiled before find the words. */
static void the_thread_is_abi(void **state)
{
    static const struct { size_t at, golden; } word[] = {
        { offsetof(struct morph_thread, young), 0 }, { offsetof(struct morph_thread, old), 16 },
        { offsetof(struct morph_thread, card_count), 32 }, { offsetof(struct morph_thread, card_overflow), 36 },
        { offsetof(struct morph_thread, overwritten_head), 40 }, { offsetof(struct morph_thread, roots_bytes), 48 },
        { offsetof(struct morph_thread, roots_extra_bytes), 56 }, { offsetof(struct morph_thread, stop), 64 },
        { offsetof(struct morph_thread, marking), 68 }, { offsetof(struct morph_thread, card_base), 72 },
        { offsetof(struct morph_thread, first_card), 80 }, { offsetof(struct morph_thread, bytes_off), 88 }, { offsetof(struct morph_type_info, header), 0 },
        { offsetof(struct morph_type_info, extent_bytes), 8 }, { offsetof(struct morph_type_info, bump_off), 16 },
        { offsetof(struct morph_type_info, element_bytes), 20 },
    };
    for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
        assert_int_equal(word[i].at, word[i].golden);
    assert_int_equal(MORPH_ROOTS_OFF, 84 * 1024);
    assert_int_equal(MORPH_ROOTS_BYTES, 2048 * 1024);
    assert_int_equal(MORPH_COLLECT_MINOR, 0);
    assert_int_equal(MORPH_COLLECT_MAJOR, 1);
    assert_int_equal(MORPH_COLLECT_COMPACT, 2);
    assert_int_equal(MORPH_TYPE_WEAK, 1);
    assert_int_equal(MORPH_TYPE_EPHEMERON, 2);
}

static void options_are_designated_initialisers(void **state)
{
    morph_options options = { .mode = MORPH_SERVER, .name = "trees", .limit_bytes = 64 << 20, .promotion_age = 3 };
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
        test_case(types_choose_their_pair),
        test_case(arrays_are_bumped),
        test_case(bytes_are_bumped),
        test_case(stores_meet_their_barriers),
        test_case(frames_are_pushed_and_popped),
        test_case(polls_look_at_one_word),
        test_case(words_and_hashes_are_in_the_header),
        test_case(the_thread_is_abi),
        test_case(options_are_designated_initialisers),
    };
    return test_run(cases);
}
