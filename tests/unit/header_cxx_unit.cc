/* header_cxx_unit.cc — the public headers as a C++ program sees them: each compiles alone and pedantically, names have C
 * linkage, and the inlined fast paths work on void pointers that C++ must cast. The slow halves are fakes.
 */
#include <morphmem/error.h>

static const int error_alone = MORPH_ENOMEM;

#include <morphmem/morph-mem.h>

static_assert(MORPH_GENERATION_LARGE == 255 && MORPH_MEM_TYPES == 128, "numbers of the interface");

#include <morphmem/morphmem.h>

#include <cstdarg>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" {
#include <cmocka.h>
}

static unsigned slow_calls;
static char slow_result[16];

extern "C" void *morph_new_slow(morph_thread *, morph_type) { slow_calls++; return slow_result; }
extern "C" void *morph_new_array_slow(morph_thread *, morph_type, uint64_t) { slow_calls++; return slow_result; }
extern "C" void *morph_new_bytes_slow(morph_thread *, uint64_t) { slow_calls++; return slow_result; }
extern "C" void *morph_frame_push_slow(morph_thread *, size_t) { slow_calls++; return slow_result; }
extern "C" void morph_poll_slow(morph_thread *) { slow_calls++; }
extern "C" void morph_store_slow(morph_thread *, void *) { slow_calls++; }
extern "C" void morph_overwrite_slow(morph_thread *, void *) { slow_calls++; }
extern "C" uint32_t morph_identity_hash_slow(morph_thread *, void *) { slow_calls++; return 77; }
extern "C" void *morph_arena_object_slow(morph_arena *, morph_type) { slow_calls++; return slow_result; }
extern "C" void *morph_arena_bytes_slow(morph_arena *, uint64_t) { slow_calls++; return slow_result; }

alignas(16) static char memory[4096];

struct node { node *left, *right; long value; };

static void objects_are_bumped(void **)
{
    morph_type_info info;
    info.header = sizeof(node) | (uint64_t)1 << 56;
    info.extent_bytes = 48;
    info.bump_off = offsetof(morph_thread, young);
    info.element_bytes = 0;
    morph_thread thread = morph_thread();
    thread.young.cursor = memory;
    thread.young.limit = memory + 48;
    node *first = static_cast<node *>(morph_new(&thread, &info));
    assert_ptr_equal(first, memory + 16);
    assert_int_equal(morph_object_bytes(first), sizeof(node));
    assert_ptr_equal(morph_new(&thread, &info), slow_result);
    assert_int_equal(slow_calls, 1);
}

static void raw_bytes_are_bumped(void **)
{
    morph_arena arena = morph_arena();
    arena.raw.cursor = memory;
    arena.raw.limit = memory + 64;
    char *text = static_cast<char *>(morph_arena_bytes(&arena, 33));
    assert_ptr_equal(text, memory);
    assert_ptr_equal(morph_arena_bytes(&arena, 16), memory + 48);
}

static void arrays_and_bytes_are_bumped(void **)
{
    morph_type_info info;
    info.header = (uint64_t)1 << 56;
    info.extent_bytes = 16;
    info.bump_off = offsetof(morph_thread, young);
    info.element_bytes = sizeof(void *);
    morph_thread thread = morph_thread();
    thread.young.cursor = memory;
    thread.young.limit = memory + sizeof memory;
    assert_ptr_equal(morph_new_array(&thread, &info, 2), memory + 16);
    assert_ptr_equal(morph_new_bytes(&thread, 5), memory + 48);
    assert_int_equal(morph_object_bytes(memory + 48), 5);
}

static void stores_and_polls_take_the_slow_path(void **)
{
    static unsigned char card;
    static void *slot;
    morph_thread thread = morph_thread();
    thread.card_base = reinterpret_cast<uintptr_t>(&card) - (reinterpret_cast<uintptr_t>(&slot) >> MORPH_CARD_SHIFT);
    slow_calls = 0;
    card = MORPH_CARD_DIRTY;
    morph_store(&thread, &slot, &slot, memory);
    morph_poll(&thread);
    assert_int_equal(slow_calls, 0);
    assert_ptr_equal(slot, memory);
    card = 0;
    thread.marking = thread.stop = 1;
    morph_store(&thread, &slot, &slot, nullptr);
    morph_poll(&thread);
    assert_int_equal(slow_calls, 3);
    assert_null(slot);
}

static void specs_take_offsets_from_an_array(void **)
{
    static const uint32_t offsets[] = { offsetof(node, left), offsetof(node, right) };
    morph_type_spec spec = morph_type_spec();
    spec.name = "node";
    spec.bytes = sizeof(node);
    spec.refs.offset = offsets;
    spec.refs.count = 2;
    assert_int_equal(spec.refs.offset[1], sizeof(void *));
    assert_int_equal(spec.element_bytes, 0);
}

static void errors_are_the_same_numbers(void **)
{
    assert_int_equal(error_alone, -1);
    assert_int_equal(MORPH_ESYSTEM, -24);
    assert_int_equal(MORPH_EPUTOFF, -27);
}

int main()
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(objects_are_bumped),
        cmocka_unit_test(raw_bytes_are_bumped),
        cmocka_unit_test(arrays_and_bytes_are_bumped),
        cmocka_unit_test(stores_and_polls_take_the_slow_path),
        cmocka_unit_test(specs_take_offsets_from_an_array),
        cmocka_unit_test(errors_are_the_same_numbers),
    };
    return cmocka_run_group_tests_name(__FILE__, cases, NULL, NULL);
}
