/* pool_classes_unit.c — size classes of pools: every size, and the promise about waste. Tests shm/pool.h. */
#include "tests/lib/check.h"

#include "shm/pool.h"

/* Written out, so that a change of the classes is a change of this list too: they are part of the shared layout. */
static const uint32_t expected_bytes[] = {
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280, 1536, 1792, 2048,
    2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336, 16384,
};
#define CLASSES (sizeof expected_bytes / sizeof expected_bytes[0])

static void classes_are_the_list(void **state)
{
    assert_int_equal(MM_POOL_CLASSES, CLASSES);
    assert_int_equal(MM_POOL_CELL_MAX, expected_bytes[CLASSES - 1]);
    for (uint32_t i = 0; i < CLASSES; i++)
        assert_int_equal(mm_pool_class_bytes(i), expected_bytes[i]);
}

/* Each size gets the smallest class that holds it. */
static void every_size_gets_the_smallest_class(void **state)
{
    uint32_t expected = 0;
    assert_int_equal(mm_pool_class_of(0), 0);
    for (uint32_t bytes = 1; bytes <= MM_POOL_CELL_MAX; bytes++) {
        while (expected_bytes[expected] < bytes)
            expected++;
        assert_int_equal(mm_pool_class_of(bytes), expected);
    }
}

static void cells_are_granules(void **state)
{
    for (uint32_t i = 0; i < CLASSES; i++)
        assert_int_equal(mm_pool_class_bytes(i) % MM_GRANULE_BYTES, 0);
}

/* At most 25 % of what was asked for just above a power of two, and less than 12.5 % on average, beyond 128 bytes. */
static void waste_is_bounded(void **state)
{
    double sum = 0;
    for (uint32_t bytes = 129; bytes <= MM_POOL_CELL_MAX; bytes++) {
        uint32_t waste = mm_pool_class_bytes(mm_pool_class_of(bytes)) - bytes;
        assert_true(4 * waste <= bytes);
        sum += (double)waste / bytes;
    }
    assert_true(sum / (MM_POOL_CELL_MAX - 128) < 0.125);
    for (uint32_t bytes = 1; bytes <= 128; bytes++)
        assert_true(mm_pool_class_bytes(mm_pool_class_of(bytes)) - bytes < 16);
}

/* Header and page table fit into the pages that are set aside for them, for every length of a span. */
static void table_fits_its_pages(void **state)
{
    for (uint32_t blocks = 1; blocks <= 4096; blocks++) {
        uint32_t pages = mm_pool_pages(blocks), meta = mm_pool_meta_pages(blocks);
        assert_int_equal(pages, blocks > 32 ? 512 : blocks * 16);
        assert_true(64 + pages * 32 <= meta * 4096);
        assert_true(64 + pages * 32 > (meta - 1) * 4096);
        assert_true(meta < pages);
    }
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(classes_are_the_list),
        test_case(every_size_gets_the_smallest_class),
        test_case(cells_are_granules),
        test_case(waste_is_bounded),
        test_case(table_fits_its_pages),
    };
    return test_run(cases);
}
