/* layout_unit.c — every shared structure, byte by byte.
 *
 * Known values are written through the structs, and the bytes are compared with what docs/design/layout.md says, as little-endian
 * bytes at offsets written out here: the test does not use offsetof, so it notices when struct and document part ways.
 */
#include "tests/lib/check.h"

#include <string.h>

#include "shm/control.h"
#include "shm/hole.h"
#include "shm/object.h"
#include "shm/pool.h"
#include "shm/space.h"

/* `size` bytes at `at` hold `value`, least byte first; they are then cleared, so that at the end everything must be zero. */
static void golden(void *memory, size_t at, unsigned size, uint64_t value)
{
    unsigned char *bytes = (unsigned char *)memory + at;
    for (unsigned i = 0; i < size; i++) {
        if (bytes[i] != (unsigned char)(value >> 8 * i))
            fail_msg("byte %zu is 0x%02x, expected 0x%02x", at + i, bytes[i], (unsigned char)(value >> 8 * i));
        bytes[i] = 0;
    }
}

static void golden_zero(const void *memory, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)memory)[i] != 0)
            fail_msg("byte %zu is not described", i);
}

#define V32(n) (0xa1b20000u + (n))
#define V64(n) (0xc1d2e3f405160000u + (n))

static void object_header(void **state)
{
    struct mm_object object = { .bytes = V32(1), .type = 0x1234, .age = 0x56, .flags = 0x78, .word = V64(2) };
    assert_int_equal(sizeof object, 16);
    golden(&object, 0, 4, V32(1));
    golden(&object, 4, 2, 0x1234);
    golden(&object, 6, 1, 0x56);
    golden(&object, 7, 1, 0x78);
    golden(&object, 8, 8, V64(2));
    golden_zero(&object, sizeof object);
}

static void object_word0(void **state)
{
    uint64_t word = mm_header_make(0x11223344, 0x5566, MM_LARGE);
    assert_int_equal(mm_header_bytes(word), 0x11223344);
    assert_int_equal(mm_header_type(word), 0x5566);
    assert_int_equal(mm_header_flags(word), 0x11);                      /* BORN is always there */
    golden(&word, 0, 8, 0x1100556611223344);
    assert_int_equal(mm_header_make(0, 0, 0), 0x0100000000000000);      /* even an empty raw object is not a zero word */
    assert_int_equal(mm_object_extent(0), 16);
    assert_int_equal(mm_object_extent(1), 32);
    assert_int_equal(mm_object_extent(16), 32);
    assert_int_equal(mm_object_extent(17), 48);
    assert_int_equal(mm_object_extent(UINT32_MAX), 0x100000010);        /* no wrap at the top */
}

static void cell(void **state)
{
    struct mm_cell cell = { .block = V32(1), .kind = 0x0304, .count = V32(2), .seq = V32(3), .epoch = V32(4), .hole = V32(5) };
    assert_int_equal(sizeof cell, 64);
    golden(&cell, 0, 4, V32(1));
    golden(&cell, 4, 2, 0x0304);
    golden(&cell, 8, 4, V32(2));
    golden(&cell, 12, 4, V32(3));
    golden(&cell, 16, 4, V32(4));
    golden(&cell, 20, 4, V32(5));
    golden_zero(&cell, sizeof cell);
}

/* A hole is one word that no header can be mistaken for, and a chain goes up and ends in its block; two words lead on. */
static void hole(void **state)
{
    uint32_t first = mm_hole_make(2, 3), whole = MM_HOLE_BLOCK;
    assert_int_equal(first, 0x00030002);
    assert_int_equal(whole, 0x10000000);
    assert_int_equal(mm_hole_off(first), 32);
    assert_int_equal(mm_hole_bytes(first), 48);
    assert_int_equal(mm_hole_off(whole), 0);
    assert_int_equal(mm_hole_bytes(whole), MM_BLOCK_BYTES);
    assert_int_equal(mm_header_flags(mm_hole_make(4095, 1)), 0);
    assert_true(mm_hole_follows(first, mm_hole_make(5, 1)));
    assert_true(mm_hole_follows(first, mm_hole_make(4095, 1)));
    assert_false(mm_hole_follows(first, 0));                            /* the end */
    assert_false(mm_hole_follows(first, mm_hole_make(4, 1)));           /* reaches into it */
    assert_false(mm_hole_follows(first, mm_hole_make(1, 1)));
    assert_false(mm_hole_follows(first, mm_hole_make(5, 0)));
    assert_false(mm_hole_follows(first, mm_hole_make(4095, 2)));        /* reaches out of its block */
    assert_false(mm_hole_follows(first, mm_hole_make(4096, 1)));
    assert_false(mm_hole_follows(first, (uint64_t)1 << 56 | 5 | 1 << 16));      /* a header */
    assert_false(mm_hole_follows(whole, mm_hole_make(4095, 1)));
    struct mm_hole_links links = { .next = V64(1), .longer = V64(2) };
    golden(&links, 0, 8, V64(1));
    golden(&links, 8, 8, V64(2));
    golden_zero(&links, sizeof links);
}

static void slot_client_words(struct mm_slot *slot)
{
    slot->young_cursor = V64(1), slot->young_limit = V64(2), slot->old_cursor = V64(3), slot->old_limit = V64(4);
    slot->card_count = V32(5), slot->card_overflow = V32(6), slot->overwritten_head = V64(7), slot->roots_bytes = V64(8);
    slot->stop = V32(9), slot->marking = V32(10), slot->card_base = V64(11), slot->state = V32(12), slot->tid = V32(13);
    slot->client_word = V64(14), slot->request_seq = V32(15), slot->request_kind = V32(16), slot->request_blocks = V32(17);
    slot->request_min = V32(18), slot->wish_blocks = V32(19), slot->waits = V32(20), slot->wait_ns = V64(21);
    slot->ring_head = V32(22), slot->give_tail = V32(23);
    slot->ring_tail = V32(24), slot->asleep = V32(25), slot->give_head = V32(26), slot->overwritten_tail = V64(27);
    slot->roots_extra_bytes = V64(28), slot->first_card = V64(29), slot->roots_overflow = V32(30), slot->bytes_off = V32(31);
}

static void slot(void **state)
{
    static struct mm_slot slot;
    static const struct { unsigned at, size, number; } word[] = {
        { 0, 8, 1 }, { 8, 8, 2 }, { 16, 8, 3 }, { 24, 8, 4 }, { 32, 4, 5 }, { 36, 4, 6 }, { 40, 8, 7 }, { 48, 8, 8 },
        { 64, 4, 9 }, { 68, 4, 10 }, { 72, 8, 11 }, { 128, 4, 12 }, { 132, 4, 13 }, { 136, 8, 14 }, { 144, 4, 15 }, { 148, 4, 16 },
        { 152, 4, 17 }, { 156, 4, 18 }, { 160, 4, 19 }, { 164, 4, 20 }, { 168, 8, 21 }, { 192, 4, 22 }, { 196, 4, 23 },
        { 256, 4, 24 }, { 260, 4, 25 }, { 264, 4, 26 }, { 272, 8, 27 }, { 56, 8, 28 }, { 80, 8, 29 }, { 176, 4, 30 }, { 88, 4, 31 },
    };
    assert_int_equal(sizeof slot, 3072);
    slot_client_words(&slot);
    for (unsigned i = 0; i < 32; i++)
        slot.cell[i].block = V32(100 + i);
    for (unsigned i = 0; i < 64; i++)
        slot.give[i] = V64(200 + i);
    for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
        golden(&slot, word[i].at, word[i].size, word[i].size == 4 ? V32(word[i].number) : V64(word[i].number));
    for (unsigned i = 0; i < 32; i++)
        golden(&slot, 512 + 64 * i, 4, V32(100 + i));
    for (unsigned i = 0; i < 64; i++)
        golden(&slot, 2560 + 8 * i, 8, V64(200 + i));
    golden_zero(&slot, sizeof slot);
}

static void control_live_words(struct mm_control *control)
{
    control->client_base = V64(4), control->armed = V32(5), control->condemned = V32(6), control->huge_pages = V32(7);
    control->granted_bytes = V64(8), control->slots_high = V32(9), control->spaces_high = V32(10), control->handles_high = V32(11);
    control->stop = V32(12), control->mapped_chunks = V32(13), control->pretenure_version = V32(14), control->ready_head = V32(15);
    control->collections = V64(16), control->live_bytes = V64(17);
    control->pause_ns = V64(19), control->pause_max_ns = V64(20), control->minor_collections = V64(21), control->major_collections = V64(22);
    control->promoted_objects = V64(23), control->promoted_bytes = V64(24), control->freed_bytes = V64(25);
}

static void control(void **state)
{
    static struct mm_control control;
    const struct mm_control_spec spec = { .heap_id = V64(1), .reserve_bytes = V64(2), .limit_bytes = V64(3), .slots = 3, .spaces = 40,
                                          .mode = V32(18) };
    static const struct { unsigned at, size; uint64_t value; } word[] = {
        { 0, 4, 0x4d4f5250 }, { 4, 4, 5 },                              /* layout version 5 */
        { 8, 8, V64(1) }, { 16, 8, V64(2) }, { 24, 8, V64(3) }, { 32, 8, 4096 }, { 40, 8, 4096 + 3 * 2183168 }, { 48, 4, 3 }, { 52, 4, 40 },
        { 56, 8, V64(4) }, { 64, 4, V32(5) }, { 128, 4, V32(6) }, { 132, 4, V32(7) }, { 136, 8, V64(8) }, { 192, 4, V32(9) },
        { 196, 4, V32(10) }, { 200, 4, V32(11) }, { 256, 4, V32(12) }, { 320, 4, V32(13) }, { 324, 4, V32(14) }, { 328, 4, V32(15) },
        { 332, 4, V32(18) }, { 336, 8, 6561792 }, { 344, 8, 6561792 + 8392704 }, { 352, 8, 6561792 + 8392704 + 8192 },
        { 360, 8, V64(16) }, { 368, 8, V64(17) }, { 384, 8, V64(19) }, { 392, 8, V64(20) }, { 400, 8, V64(21) }, { 408, 8, V64(22) },
        { 416, 8, V64(23) }, { 424, 8, V64(24) }, { 432, 8, V64(25) },
    };
    assert_int_equal(sizeof control, 512);
    mm_control_init(&control, &spec);
    control_live_words(&control);
    for (unsigned i = 0; i < sizeof word / sizeof word[0]; i++)
        golden(&control, word[i].at, word[i].size, word[i].value);
    golden_zero(&control, sizeof control);
}

static void handle(void **state)
{
    struct mm_handle handle = { .word = V64(1), .tag = V64(2), .seq = V64(3), .kind = V32(4), .next = V32(5) };
    assert_int_equal(sizeof handle, 32);
    golden(&handle, 0, 8, V64(1));
    golden(&handle, 8, 8, V64(2));
    golden(&handle, 16, 8, V64(3));
    golden(&handle, 24, 4, V32(4));
    golden(&handle, 28, 4, V32(5));
    golden_zero(&handle, sizeof handle);
    assert_int_equal(MM_HANDLES, 262144);
    assert_int_equal(MM_HANDLE_GROUP, 64);
    assert_int_equal(MM_HANDLE_GROUPS, 4096);
    assert_int_equal(MM_HANDLE_AREA_BYTES, 262144 * 32 + 4096);
}

static void space(void **state)
{
    struct mm_space space = { .typed_cursor = V64(1), .typed_limit = V64(2), .raw_cursor = V64(3), .raw_limit = V64(4), .client_word = V64(5),
                              .kind = V32(6), .generation = V32(7) };
    assert_int_equal(sizeof space, 128);
    for (unsigned i = 0; i < 5; i++)
        golden(&space, 8 * i, 8, V64(i + 1));
    golden(&space, 40, 4, V32(6));
    golden(&space, 44, 4, V32(7));
    golden_zero(&space, sizeof space);
}

static void run(void **state)
{
    struct mm_run run = { .magic = MM_RUN_MAGIC, .use = 0x0506, .blocks = V32(1), .owner = V32(2), .generation = V32(3), .used_bytes = V64(4),
                          .client_word = { V64(5), V64(6), V64(7), V64(8) } };
    assert_int_equal(sizeof run, 64);
    assert_memory_equal(&run, "MRUN", 4);
    golden(&run, 0, 4, 0x4e55524d);
    golden(&run, 4, 2, 0x0506);
    golden(&run, 8, 4, V32(1));
    golden(&run, 12, 4, V32(2));
    golden(&run, 16, 4, V32(3));
    golden(&run, 24, 8, V64(4));
    for (unsigned i = 0; i < 4; i++)
        golden(&run, 32 + 8 * i, 8, V64(5 + i));
    golden_zero(&run, sizeof run);
}

static void pool_page(void **state)
{
    struct mm_pool_page page = { .free_off = V32(1), .used = 0x1112, .capacity = 0x2122, .fresh = 0x3132, .size_class = 0x41, .kind = 0x51,
                                 .pages = V32(2), .next = V64(3), .prev = V64(4) };
    assert_int_equal(sizeof page, 32);
    golden(&page, 0, 4, V32(1));
    golden(&page, 4, 2, 0x1112);
    golden(&page, 6, 2, 0x2122);
    golden(&page, 8, 2, 0x3132);
    golden(&page, 10, 1, 0x41);
    golden(&page, 11, 1, 0x51);
    golden(&page, 12, 4, V32(2));
    golden(&page, 16, 8, V64(3));
    golden(&page, 24, 8, V64(4));
    golden_zero(&page, sizeof page);
}

/* Numbers that travel between the processes. */
static void numbers_of_the_lists(void **state)
{
    assert_int_equal(MM_LAYOUT_VERSION, 5);
    assert_int_equal(MM_SLOT_FREE, 0);
    assert_int_equal(MM_SLOT_RUNNING, 1);
    assert_int_equal(MM_SLOT_NATIVE, 2);
    assert_int_equal(MM_SLOT_PARKED, 3);
    assert_int_equal(MM_GRANT_NONE, 0);
    assert_int_equal(MM_GRANT_RUN, 1);
    assert_int_equal(MM_GRANT_YOUNG, 2);
    assert_int_equal(MM_GRANT_OLD, 3);
    assert_int_equal(MM_GRANT_LARGE, 4);
    assert_int_equal(MM_GRANT_REFUSED, 5);
    assert_int_equal(MM_GRANT_DONE, 6);
    assert_int_equal(MM_REQUEST_COLLECT, 7);
    assert_int_equal(MM_COLLECT_MINOR, 0);
    assert_int_equal(MM_COLLECT_MAJOR, 1);
    assert_int_equal(MM_COLLECT_COMPACT, 2);
    assert_int_equal(MM_COLLECTIONS, 3);
    assert_int_equal(MM_CARD_CLEAN, 0);
    assert_int_equal(MM_CARD_SLOT, 1);
    assert_int_equal(MM_CARD_WORDS, 64);
    assert_int_equal(MM_CARD_DIRTY, 128);
    assert_int_equal(MM_CARD_YOUNG, 129);
    assert_int_equal(MM_HANDLE_FREE, 0);
    assert_int_equal(MM_HANDLE_STRONG, 1);
    assert_int_equal(MM_HANDLE_WEAK, 2);
    assert_int_equal(MM_HANDLE_PIN, 3);
    assert_int_equal(MM_HANDLE_FINALIZER, 4);
    assert_int_equal(MM_HANDLE_READY, 5);
    assert_int_equal(MM_HANDLE_KIND_COUNT, 6);
    assert_int_equal(MM_SPACE_ARENA, 1);
    assert_int_equal(MM_SPACE_POOL, 2);
    assert_int_equal(MM_RUN_TYPED, 1);
    assert_int_equal(MM_RUN_RAW, 2);
    assert_int_equal(MM_RUN_POOL, 3);
    assert_int_equal(MM_RUN_THREAD, 4);
    assert_int_equal(MM_PAGE_SLAB, 1);
    assert_int_equal(MM_PAGE_LARGE, 2);
    assert_int_equal(MM_PAGE_TAIL, 3);
    assert_int_equal(MM_PAGE_META, 4);
}

static void geometry(void **state)
{
    assert_int_equal(MM_BLOCK_BYTES, 64 * 1024);
    assert_int_equal(MM_CHUNK_BYTES, 2 * 1024 * 1024);
    assert_int_equal(1u << MM_BLOCK_SHIFT, MM_BLOCK_BYTES);
    assert_int_equal(1u << MM_CHUNK_SHIFT, MM_CHUNK_BYTES);
    assert_int_equal(1u << MM_CARD_SHIFT, MM_CARD_BYTES);
    assert_int_equal(mm_blocks_for(0), 0);
    assert_int_equal(mm_blocks_for(1), 1);
    assert_int_equal(mm_blocks_for(65536), 1);
    assert_int_equal(mm_blocks_for(65537), 2);
    assert_int_equal(mm_round_up(0, 4096), 0);
    assert_int_equal(mm_round_up(4095, 4096), 4096);
    assert_int_equal(mm_round_up(4096, 4096), 4096);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(object_header), test_case(object_word0), test_case(cell), test_case(hole), test_case(slot), test_case(control), test_case(handle), test_case(space),
        test_case(run), test_case(pool_page), test_case(numbers_of_the_lists), test_case(geometry),
    };
    return test_run(cases);
}
