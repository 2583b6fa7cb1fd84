/* heap_unit.c — a heap's blocks, segments and accounts, with the client's end in our hands. Tests daemon/heap/heap.c. */
#define _GNU_SOURCE
#include "tests/unit/heap_helper.h"
#include "tests/lib/random.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct place place;

static int grant(uint32_t want, uint32_t min, uint32_t *ret_block, uint32_t *ret_count)
{
    return place_try_grant(&place, want, min, ret_block, ret_count);
}

/* Expects a refusal with this error, which changes no account and no result. */
static void refused(uint32_t want, uint32_t min, int error)
{
    uint32_t block = 77, count = 78;
    uint64_t granted = place.heap->granted_blocks, used = budget_used();
    assert_int_equal(grant(want, min, &block, &count), error);
    assert_int_equal(block, 77);
    assert_int_equal(count, 78);
    assert_true(place.heap->granted_blocks == granted && budget_used() == used);
    place_check(&place);
}

/* A heap all of whose blocks are free: the first grant is given back. */
static void place_open_empty(uint64_t limit_bytes, uint64_t reserve_bytes)
{
    place_open(&place, limit_bytes, reserve_bytes);
    assert_true(heap_take_back(place.heap, 0, (uint32_t)place.heap->granted_blocks));
    assert_int_equal(place.heap->granted_blocks, 0);
}

/* ---- Opening ---- */

static void a_new_heap_has_what_welcome_carries(void **state)
{
    struct stat st;
    place_open(&place, 4 * MIB, 8 * MIB);
    struct mm_control *control = place.heap->control;
    uint64_t bytes = mm_control_bytes(2, MM_SPACES, 8 * MIB);
    assert_true(mm_memfd_sealed(place.fds[0], bytes));
    assert_int_equal(mm_control_check(control, bytes), 0);
    assert_int_equal(control->heap_id, 7);
    assert_int_equal(control->reserve_bytes, 8 * MIB);
    assert_int_equal(control->limit_bytes, 4 * MIB);
    assert_int_equal(control->slot_count, 2);
    assert_int_equal(control->armed, 1);
    assert_int_equal(place.fds[1], place.heap->doorbell);
    assert_true(mm_memfd_sealed(place.fds[2], 2 * MIB));
    assert_int_equal(fstat(place.fds[2], &st), 0);
    place.heap->view.base[5] = 55;
    char seen;
    assert_int_equal(pread(place.fds[2], &seen, 1, 5), 1);
    assert_int_equal(seen, 55);
    place_check(&place);
    place_close(&place);
}

/* The client's descriptor is an open file description of its own, or the lease would prove nothing. */
static void the_clients_descriptor_is_another_description(void **state)
{
    place_open(&place, 4 * MIB, 8 * MIB);
    assert_int_equal(mm_memfd_prove_alone(place.heap->segments->fd), -EAGAIN);
    int fd = place.fds[2];
    place.fds[2] = -1;
    close(fd);
    assert_int_equal(mm_memfd_prove_alone(place.heap->segments->fd), 0);
    place_close(&place);
}

static void the_first_grant_lies_in_the_first_ring(void **state)
{
    static const struct { uint64_t limit; uint32_t blocks; } sizes[] = {
        { 256 * KIB, 1 }, { 1 * MIB, 4 }, { 4 * MIB, 16 }, { 8 * MIB, 32 }, { 64 * MIB, 32 },
    };
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct mm_cell cell;
        uint32_t left;
        place_open(&place, sizes[i].limit, 64 * MIB);
        assert_true(mm_ring_take(mm_control_slot(place.heap->control, 0), &cell, &left));
        assert_int_equal(cell.kind, MM_GRANT_RUN);
        assert_int_equal(cell.block, 0);
        assert_int_equal(cell.count, sizes[i].blocks);
        assert_int_equal(cell.seq, 0);
        assert_int_equal(left, 0);
        assert_int_equal(place.heap->granted_blocks, sizes[i].blocks);
        assert_int_equal(place.heap->grants, 1);
        assert_int_equal(place.user.granted_blocks, sizes[i].blocks);
        place_check(&place);
        place_close(&place);
        assert_int_equal(place.user.granted_blocks, 0);
    }
}

/* ---- Failing at each step of opening ---- */

static unsigned calls_left;
static int call_error;

static int memfd_new_failing(const char *name, uint64_t bytes)
{
    if (calls_left == 0)
        return call_error;
    calls_left--;
    return world_os.memfd_new(name, bytes);
}

static int memfd_reopen_failing(int fd)
{
    if (calls_left == 0)
        return call_error;
    calls_left--;
    return world_os.memfd_reopen(fd);
}

/* Address space of this process, reserves included. */
static uint64_t address_bytes(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void a_heap_that_cannot_be_made_leaves_nothing(void **state)
{
    static const struct { int from, control, segment, reopen; } errors[] = {
        { -EMFILE, -MORPH_EFILES, -MORPH_EFILES, -MORPH_EFILES },
        { -ENFILE, -MORPH_EFILES, -MORPH_EFILES, -MORPH_EFILES },
        { -ENOMEM, -MORPH_EMEMORY, -MORPH_EMEMORY, -MORPH_EFILES },
    };
    int descriptors = test_descriptors();
    uint64_t address = address_bytes();
    for (unsigned i = 0; i < 3; i++) {
        call_error = errors[i].from;
        os.memfd_new = memfd_new_failing;
        calls_left = 0;
        assert_int_equal(place_try(&place, NULL, 4 * MIB, 64 * GIB, 2), errors[i].control);
        calls_left = 1;
        assert_int_equal(place_try(&place, NULL, 4 * MIB, 64 * GIB, 2), errors[i].segment);
        os.memfd_new = world_os.memfd_new;
        os.memfd_reopen = memfd_reopen_failing;
        calls_left = 0;
        assert_int_equal(place_try(&place, NULL, 4 * MIB, 64 * GIB, 2), errors[i].reopen);
        os.memfd_reopen = world_os.memfd_reopen;
    }
    world_settle();
    assert_int_equal(test_descriptors(), descriptors);
    assert_int_equal(test_mappings(), 0);
    assert_true(address_bytes() < address + GIB);
    assert_int_equal(place.user.granted_blocks, 0);
    assert_int_equal(budget_used(), 0);
}

static void no_address_space_is_out_of_memory(void **state)
{
    assert_int_equal(place_try(&place, NULL, 4 * MIB, (uint64_t)1 << 60, 2), -MORPH_EMEMORY);
}

static void no_budget_and_no_share_refuse_a_new_heap(void **state)
{
    struct user user = { 0 };
    budget_set(15 * MM_BLOCK_BYTES);
    assert_int_equal(place_try(&place, &user, 4 * MIB, 8 * MIB, 2), 0);       /* a quarter does not fit, the least does */
    assert_int_equal(place.heap->granted_blocks, 1);
    place_close(&place);
    world_settle();
    budget_set(MM_BLOCK_BYTES - 1);
    assert_int_equal(place_try(&place, &user, 4 * MIB, 8 * MIB, 2), -MORPH_EBUDGET);
    budget_set(GIB);
    config.bytes_per_user = MM_BLOCK_BYTES;
    user.granted_blocks = 1;
    assert_int_equal(place_try(&place, &user, 4 * MIB, 8 * MIB, 2), -MORPH_EQUOTA);
    assert_int_equal(user.granted_blocks, 1);
    world_settle();
    assert_int_equal(budget_used(), 0);
}

/* ---- Granting ---- */

static void grants_never_pass_the_limit(void **state)
{
    uint32_t block, count;
    place_open(&place, 4 * MIB, 8 * MIB);                   /* 64 blocks, 16 granted */
    assert_int_equal(grant(40, 40, &block, &count), 0);
    assert_int_equal(count, 40);
    refused(9, 9, -MORPH_ENOMEM);
    assert_int_equal(grant(32, 1, &block, &count), 0);
    assert_int_equal(count, 8);                             /* what is left */
    refused(1, 1, -MORPH_ENOMEM);
    assert_int_equal(place.heap->granted_blocks, 64);
    place_check(&place);
    assert_true(heap_take_back(place.heap, block, 1));
    assert_int_equal(grant(1, 1, &block, &count), 0);
    refused(1, 1, -MORPH_ENOMEM);
    place_close(&place);
}

static void a_lowered_limit_refuses_until_enough_is_given_back(void **state)
{
    uint32_t block, count;
    place_open(&place, 4 * MIB, 8 * MIB);
    place.heap->limit_blocks = 8;
    assert_int_equal(grant(1, 1, &block, &count), -MORPH_ENOMEM);
    assert_true(heap_take_back(place.heap, 0, 9));
    assert_int_equal(grant(2, 1, &block, &count), 0);
    assert_int_equal(count, 1);
    place.heap->limit_blocks = 64;
    place_close(&place);
}

static void the_first_place_that_fits_is_taken(void **state)
{
    uint32_t block, count;
    place_open_empty(4 * MIB, 8 * MIB);
    place_grant(&place, 32);
    assert_true(heap_take_back(place.heap, 3, 2));
    assert_true(heap_take_back(place.heap, 10, 4));
    assert_true(heap_take_back(place.heap, 20, 6));
    assert_int_equal(grant(4, 1, &block, &count), 0);
    assert_int_equal(block, 10);
    assert_int_equal(count, 4);
    assert_int_equal(grant(1, 1, &block, &count), 0);
    assert_int_equal(block, 3);
    place_check(&place);
    place_close(&place);
}

static void runs_may_cross_chunks_and_segments(void **state)
{
    uint32_t block, count;
    place_open_empty(8 * MIB, 16 * MIB);
    assert_int_equal(place_grant(&place, 20), 0);
    assert_int_equal(place_grant(&place, 50), 20);
    memset(place_at(&place, 20), 0x11, 50 * MM_BLOCK_BYTES);
    place_check(&place);
    assert_true(heap_take_back(place.heap, 20, 50));
    assert_int_equal(grant(50, 50, &block, &count), 0);
    assert_int_equal(block, 20);
    assert_true(memory_is(place_at(&place, 20), 0, 50 * MM_BLOCK_BYTES));
    place_close(&place);
}

static void a_run_is_zero_whoever_had_it_before(void **state)
{
    uint32_t block, count;
    place_open_empty(2 * MIB, 4 * MIB);
    for (unsigned round = 0; round < 4; round++) {
        assert_int_equal(grant(8, 8, &block, &count), 0);
        assert_int_equal(block, 0);
        assert_true(memory_is(place_at(&place, block), 0, 8 * MM_BLOCK_BYTES));
        memset(place_at(&place, block), 0x80 + (int)round, 8 * MM_BLOCK_BYTES);
        assert_true(heap_take_back(place.heap, block, 8));
        assert_int_equal(place.heap->dirty_blocks, 8);
        for (unsigned cleaned = 0; round % 2 && cleaned < 5; cleaned++) {    /* some of it by the worker, in its spare time */
            assert_true(heap_clean_step(place.heap));
            assert_int_equal(place.heap->dirty_blocks, 7 - cleaned);
        }
        place_check(&place);
    }
    while (heap_clean_step(place.heap))
        ;
    assert_int_equal(place.heap->dirty_blocks, 0);
    assert_true(memory_is(place_at(&place, 0), 0, 32 * MM_BLOCK_BYTES));
    place_close(&place);
}

/* No other heap waits for more than a slice of it. */
static void a_long_run_is_cleaned_slice_by_slice(void **state)
{
    uint32_t block = 77, count = 78;
    place_open_empty(8 * MIB, 16 * MIB);
    assert_int_equal(place_grant(&place, 100), 0);
    memset(place_at(&place, 0), 0x99, 100 * MM_BLOCK_BYTES);
    assert_true(heap_take_back(place.heap, 0, 100));
    for (uint32_t dirty = 68; dirty != 4; dirty -= 32) {
        assert_int_equal(heap_grant_run(place.heap, 100, 100, &block, &count), HEAP_LATER_WORK);
        assert_int_equal(place.heap->dirty_blocks, dirty);
        assert_int_equal(place.heap->granted_blocks, 0);
        assert_int_equal(block, 77);
        place_check(&place);
    }
    assert_int_equal(heap_grant_run(place.heap, 100, 100, &block, &count), HEAP_LATER_WORK);
    assert_int_equal(heap_grant_run(place.heap, 100, 100, &block, &count), 0);
    assert_int_equal(block, 0);
    assert_int_equal(count, 100);
    assert_true(memory_is(place_at(&place, 0), 0, 100 * MM_BLOCK_BYTES));
    place_close(&place);
}

static void false_give_backs_are_refused_and_change_nothing(void **state)
{
    place_open(&place, 4 * MIB, 8 * MIB);                   /* blocks 0 to 15 granted, 32 mapped */
    assert_true(heap_take_back(place.heap, 5, 2));
    static const struct { uint32_t block, count; } lies[] = {
        { 0, 0 }, { 16, 1 }, { 31, 1 }, { 32, 1 }, { 15, 2 }, { 5, 1 }, { 4, 2 }, { 0, 16 }, { 0, 33 }, { 63, 1 }, { 127, 1 }, { 128, 1 },
        { UINT32_MAX, 1 }, { 1, UINT32_MAX }, { UINT32_MAX, UINT32_MAX }, { 0, UINT32_MAX }, { 1u << 31, 1u << 31 },
    };
    for (unsigned i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        if (heap_take_back(place.heap, lies[i].block, lies[i].count))
            fail_msg("%u blocks from %u were taken back", lies[i].count, lies[i].block);
        assert_int_equal(place.heap->granted_blocks, 14);
        assert_int_equal(place.heap->given_back_blocks, 2);
        place_check(&place);
    }
    assert_true(heap_take_back(place.heap, 0, 5));
    assert_true(heap_take_back(place.heap, 7, 9));
    assert_int_equal(place.heap->granted_blocks, 0);
    assert_int_equal(place.heap->peak_blocks, 16);
    place_check(&place);
    place_close(&place);
}

/* ---- Growing ---- */

static void growth_is_told_with_the_memory_itself(void **state)
{
    struct mm_segment segment;
    place_open(&place, 8 * MIB, 16 * MIB);
    assert_int_equal(place_receive(&place, &segment), -1);
    uint32_t block = place_grant(&place, 32), chunk = 1;
    assert_int_equal(block, 32);
    int fd = place_receive(&place, &segment);
    assert_true(fd >= 0);
    assert_int_equal(segment.chunk, chunk);
    assert_int_equal(segment.chunks, 1);
    assert_true(mm_memfd_sealed(fd, 2 * MIB));
    char *map = mm_map(fd, 2 * MIB, NULL, true, false);
    assert_non_null(map);
    map[4097] = 42;                                         /* the same byte on both sides */
    assert_int_equal(place_at(&place, 32)[4097], 42);
    assert_int_equal(place_receive(&place, &segment), -1);
    munmap(map, 2 * MIB);
    close(fd);
    place_close(&place);
}

/* Grants chunk after chunk and expects segments of these sizes, in this order. */
static void expect_growth(uint64_t limit_bytes, const unsigned *chunks, unsigned count)
{
    struct mm_segment segment;
    place_open_empty(limit_bytes, 2 * limit_bytes);
    uint32_t at = 1;
    place_grant(&place, 32);
    for (unsigned i = 0; i < count; i++) {
        place_grant(&place, 32);                            /* the first block that does not fit any more */
        int fd = place_receive(&place, &segment);
        assert_true(fd >= 0);
        assert_int_equal(segment.chunk, at);
        assert_int_equal(segment.chunks, chunks[i]);
        assert_true(mm_memfd_sealed(fd, (uint64_t)chunks[i] * MM_CHUNK_BYTES));
        close(fd);
        assert_int_equal(place.heap->mapped_chunks, at + chunks[i]);
        at += chunks[i];
        for (unsigned k = 1; k < chunks[i]; k++)
            place_grant(&place, 32);
        assert_int_equal(place_read_mail(&place), 0);
    }
    place_check(&place);
    place_close(&place);
    world_settle();
}

static void segments_grow_with_the_heap(void **state)
{
    budget_set(8 * GIB);
    expect_growth(64 * MIB, (unsigned[]){ 1, 1, 1, 1, 1, 1, 1 }, 7);
    expect_growth(65 * MIB, (unsigned[]){ 1, 1, 1, 16 }, 4);
    expect_growth(1 * GIB, (unsigned[]){ 1, 1, 1, 16, 16, 16, 16, 16, 16, 16, 16, 16 }, 12);
    expect_growth(2 * GIB, (unsigned[]){ 1, 1, 1, 16, 16, 16, 16, 16, 16, 16, 16, 128 }, 12);
}

static void the_end_of_the_reserve_is_filled_with_smaller_ones(void **state)
{
    place_open_empty(80 * MIB, 80 * MIB);
    for (unsigned i = 0; i < 40; i++)
        place_grant(&place, 32);
    assert_int_equal(place.heap->mapped_chunks, 40);
    refused(1, 1, -MORPH_ENOMEM);
    (void)place_read_mail(&place);
    place_close(&place);
}

static void a_client_that_does_not_read_is_not_sent_more(void **state)
{
    uint32_t block, count, sent = 0;
    struct mm_segment segment;
    place_open_empty(64 * MIB, 128 * MIB);
    place_grant(&place, 32);
    while (grant(32, 32, &block, &count) == 0)
        sent++;
    assert_int_equal(sent, 16);
    refused(32, 32, HEAP_LATER_MAIL);
    int fd = place_receive(&place, &segment);               /* one read is not all */
    close(fd);
    refused(32, 32, HEAP_LATER_MAIL);
    assert_int_equal(place_read_mail(&place), 15);
    assert_int_equal(grant(32, 32, &block, &count), 0);
    assert_int_equal(place_read_mail(&place), 1);
    place_close(&place);
}

static unsigned segments_made;
static int memfd_new_counting(const char *name, uint64_t bytes)
{
    segments_made++;
    return world_os.memfd_new(name, bytes);
}

/* Who asks again and again, as a collection does, makes no segment each time. */
static void a_client_that_is_gone_is_lost(void **state)
{
    place_open_empty(8 * MIB, 16 * MIB);
    place_grant(&place, 32);
    close(place.client);
    os.memfd_new = memfd_new_counting;
    segments_made = 0;
    for (unsigned i = 0; i < 100; i++)
        refused(32, 32, -MORPH_ELOST);
    assert_int_equal(segments_made, 1);
    os.memfd_new = world_os.memfd_new;
    place.client = dup(place.heap->socket);                 /* for place_close() */
    assert_int_equal(place.heap->mapped_chunks, 1);
    place_close(&place);
}

static void growing_without_files_falls_back_to_what_is_there(void **state)
{
    uint32_t block, count;
    place_open_empty(8 * MIB, 16 * MIB);
    place_grant(&place, 20);
    os.memfd_new = memfd_new_failing;
    call_error = -EMFILE;
    calls_left = 0;
    refused(20, 20, -MORPH_EFILES);
    assert_int_equal(grant(20, 4, &block, &count), 0);
    assert_int_equal(block, 20);
    assert_int_equal(count, 12);
    os.memfd_new = world_os.memfd_new;
    os.memfd_reopen = memfd_reopen_failing;
    refused(20, 20, -MORPH_EFILES);
    os.memfd_reopen = world_os.memfd_reopen;
    assert_int_equal(place.heap->mapped_chunks, 1);
    place_close(&place);
}

/* ---- Fragmentation ---- */

/* All 64 blocks of the limit granted, every second given back. */
static void place_open_comb(uint64_t reserve_bytes)
{
    place_open_empty(4 * MIB, reserve_bytes);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(place_grant(&place, 1), i);
    for (uint32_t i = 0; i < 64; i += 2)
        assert_true(heap_take_back(place.heap, i, 1));
    (void)place_read_mail(&place);
}

static void a_fragmented_heap_gives_smaller_runs(void **state)
{
    uint32_t block, count;
    place_open_comb(8 * MIB);
    assert_int_equal(grant(8, 1, &block, &count), 0);
    assert_int_equal(block, 0);
    assert_int_equal(count, 1);
    assert_true(heap_take_back(place.heap, 41, 1));
    assert_true(heap_take_back(place.heap, 21, 1));
    assert_true(heap_take_back(place.heap, 23, 1));
    assert_int_equal(grant(8, 1, &block, &count), 0);
    assert_int_equal(block, 20);                            /* the longest there is */
    assert_int_equal(count, 5);
    assert_int_equal(place.heap->mapped_chunks, 2);
    place_check(&place);
    place_close(&place);
}

static void what_must_be_whole_goes_into_the_rest_of_the_reserve(void **state)
{
    place_open_comb(8 * MIB);
    assert_int_equal(place_grant(&place, 8), 64);
    assert_int_equal(place.heap->mapped_chunks, 3);
    assert_int_equal(place_read_mail(&place), 1);
    assert_int_equal(place_grant(&place, 24), 72);
    refused(1, 1, -MORPH_ENOMEM);                           /* the limit still holds */
    place_close(&place);
}

static void without_a_rest_it_is_refused(void **state)
{
    place_open_comb(4 * MIB);
    refused(8, 2, -MORPH_ENOMEM);
    assert_int_equal(place.heap->mapped_chunks, 2);
    place_close(&place);
}

/* ---- Budget and share ---- */

static void the_budget_is_charged_for_what_may_be_resident(void **state)
{
    uint32_t block, count;
    place_open(&place, 4 * MIB, 8 * MIB);
    assert_int_equal(budget_used(), 16 * MM_BLOCK_BYTES);
    budget_set(20 * MM_BLOCK_BYTES);
    refused(8, 5, -MORPH_EBUDGET);
    assert_int_equal(grant(8, 4, &block, &count), 0);       /* the least still fits */
    assert_int_equal(count, 4);
    assert_int_equal(budget_used(), 20 * MM_BLOCK_BYTES);
    refused(1, 1, -MORPH_EBUDGET);
    assert_true(heap_take_back(place.heap, 0, 3));
    assert_int_equal(budget_used(), 20 * MM_BLOCK_BYTES);   /* its memory is still there ... */
    assert_int_equal(grant(3, 3, &block, &count), 0);       /* ... so that it costs nothing to have it again */
    assert_int_equal(block, 0);
    place_check(&place);
    place_close(&place);
}

static void the_warm_pool_makes_room_before_a_heap_is_refused(void **state)
{
    place_open(&place, 4 * MIB, 8 * MIB);
    config.pool_min = 8 * MIB;
    world_ns += 100 * MS;
    world_settle();
    assert_int_equal(budget_used(), 8 * MIB + 16 * MM_BLOCK_BYTES);
    budget_set(budget_used());
    config.pool_min = 0;
    assert_int_equal(place_grant(&place, 16), 16);
    assert_int_equal(budget_used(), 6 * MIB + 32 * MM_BLOCK_BYTES);
    place_close(&place);
}

static void a_warm_segment_is_charged_once(void **state)
{
    config.pool_min = 4 * MIB;
    segment_pool_init(false);
    world_settle();
    place_open(&place, 8 * MIB, 16 * MIB);
    assert_int_equal(budget_used(), 4 * MIB);
    assert_int_equal(place.heap->resident_blocks, 32);
    place_grant(&place, 32);
    assert_int_equal(budget_used(), 4 * MIB);
    assert_int_equal(place.heap->resident_blocks, 64);
    place_check(&place);
    place_close(&place);
}

static void a_users_share_holds_for_all_his_heaps(void **state)
{
    struct place other;
    struct user user = { .uid = 1000 };
    uint32_t block, count;
    config.bytes_per_user = 40 * MM_BLOCK_BYTES;
    assert_int_equal(place_try(&place, &user, 4 * MIB, 8 * MIB, 2), 0);
    assert_int_equal(place_try(&other, &user, 4 * MIB, 8 * MIB, 2), 0);
    assert_int_equal(user.granted_blocks, 32);
    refused(9, 9, -MORPH_EQUOTA);
    assert_int_equal(grant(16, 2, &block, &count), 0);
    assert_int_equal(count, 8);
    refused(1, 1, -MORPH_EQUOTA);
    place_close(&other);
    assert_int_equal(user.granted_blocks, 24);
    assert_int_equal(grant(16, 16, &block, &count), 0);
    config.bytes_per_user = 4 * MM_BLOCK_BYTES;             /* lowered below what he has */
    refused(1, 1, -MORPH_EQUOTA);
    place_close(&place);
    assert_int_equal(user.granted_blocks, 0);
}

/* ---- Trimming ---- */

static uint64_t resident(void)
{
    uint64_t bytes = 0;
    for (const struct segment *segment = place.heap->segments; segment; segment = segment->next)
        bytes += mm_memfd_resident(segment->fd);
    return bytes;
}

static void trimming_gives_memory_back(void **state)
{
    uint32_t block, count;
    place_open_empty(8 * MIB, 16 * MIB);
    block = place_grant(&place, 100);
    assert_int_equal(block, 0);
    memset(place_at(&place, 0), 0x77, 100 * MM_BLOCK_BYTES);
    assert_int_equal(resident(), 100 * MM_BLOCK_BYTES);
    assert_true(heap_take_back(place.heap, 10, 5));
    assert_true(heap_take_back(place.heap, 30, 69));
    while (heap_trim_step(place.heap))
        place_check(&place);
    assert_int_equal(resident(), 26 * MM_BLOCK_BYTES);
    assert_int_equal(budget_used(), 26 * MM_BLOCK_BYTES);
    assert_int_equal(place.heap->dirty_blocks, 0);          /* what is punched is zero */
    assert_true(memory_is(place_at(&place, 0), 0x77, 10 * MM_BLOCK_BYTES));
    assert_true(memory_is(place_at(&place, 15), 0x77, 15 * MM_BLOCK_BYTES));
    assert_true(memory_is(place_at(&place, 99), 0x77, MM_BLOCK_BYTES));
    assert_false(heap_trim_step(place.heap));
    assert_int_equal(grant(50, 50, &block, &count), 0);
    assert_int_equal(block, 30);
    assert_true(memory_is(place_at(&place, 30), 0, 50 * MM_BLOCK_BYTES));
    assert_int_equal(budget_used(), 76 * MM_BLOCK_BYTES);
    place_check(&place);
    place_close(&place);
}

/* A client may write where nothing was granted to it; then the machine pays for more than it has been charged. */
static void what_a_client_takes_beyond_its_grants_is_seen(void **state)
{
    place_open(&place, 4 * MIB, 8 * MIB);
    assert_int_equal(heap_overdrawn_bytes(place.heap), 0);
    memset(place_at(&place, 0), 1, 16 * MM_BLOCK_BYTES);
    assert_int_equal(heap_overdrawn_bytes(place.heap), 0);
    memset(place_at(&place, 20), 1, 3 * MM_BLOCK_BYTES);
    assert_int_equal(heap_overdrawn_bytes(place.heap), 3 * MM_BLOCK_BYTES);
    place_grant(&place, 7);
    assert_int_equal(heap_overdrawn_bytes(place.heap), 0);
    place_close(&place);
}

/* What is taken next is made resident ahead, as far as the budget and the bound go. */
static void free_blocks_are_warmed_ahead(void **state)
{
    uint32_t block, count;
    place_open_empty(2 * MIB, 16 * MIB);
    place_grant(&place, 8);                                /* those of the first ring */
    uint64_t before = place.heap->resident_blocks;
    for (unsigned i = 0; i < 6; i++)
        assert_true(heap_warm_step(place.heap, 6));
    assert_false(heap_warm_step(place.heap, 6));
    assert_int_equal(place.heap->resident_blocks, before + 6);
    assert_int_equal(budget_used(), (before + 6) * MM_BLOCK_BYTES);
    assert_int_equal(resident(), (before + 6) * MM_BLOCK_BYTES);
    assert_int_equal(grant(6, 6, &block, &count), 0);
    assert_int_equal(block, 8);
    assert_int_equal(place.heap->resident_blocks, before + 6);
    place_check(&place);
    budget_set((before + 8) * MM_BLOCK_BYTES);
    while (heap_warm_step(place.heap, 20))
        ;
    assert_int_equal(place.heap->resident_blocks, before + 8);
    budget_set(64 * MIB);
    while (heap_warm_step(place.heap, 1000))
        ;
    assert_true(place.heap->resident_blocks <= place.heap->limit_blocks);
    place_check(&place);
    place_close(&place);
}

static int punch_refused(int fd, uint64_t off, uint64_t bytes) { return -EPERM; }

/* ---- The bound, as the kernel counts ---- */

/* The second segment was warmed whole, and half of it is beyond the bound. */
static void a_warm_segment_is_cut_to_the_bound(void **state)
{
    config.pool_min = 4 * MIB;
    segment_pool_init(false);
    world_settle();
    place_open(&place, 3 * MIB, 8 * MIB);
    place_grant(&place, 48 - (uint32_t)place.heap->granted_blocks);
    assert_int_equal(place.heap->granted_blocks, 48);
    assert_int_equal(place.heap->resident_blocks, 48);
    assert_int_equal(resident(), 3 * MIB);
    assert_int_equal(budget_used(), 3 * MIB);
    assert_true(memory_is(place_at(&place, 32), 0, 16 * MM_BLOCK_BYTES));
    place_check(&place);
    place_close(&place);
}

/* A run that must be whole goes elsewhere, and the free blocks that it passes over give their memory up; who needs no run takes those. */
static void free_blocks_give_way_at_the_bound(void **state)
{
    uint32_t block, count;
    place_open_comb(16 * MIB);                              /* every other block of 64 is free */
    memset(place_at(&place, 0), 0x77, 64 * MM_BLOCK_BYTES);
    assert_int_equal(grant(8, 1, &block, &count), 0);
    assert_int_equal(count, 1);
    assert_true(block < 64);
    assert_int_equal(place.heap->resident_blocks, 64);
    assert_int_equal(grant(20, 20, &block, &count), 0);
    assert_true(block >= 64);
    memset(place_at(&place, block), 0x77, 20 * MM_BLOCK_BYTES);
    assert_true(place.heap->resident_blocks <= 64);
    assert_true(resident() <= 4 * MIB);
    assert_int_equal(budget_used(), place.heap->resident_blocks << MM_BLOCK_SHIFT);
    place_check(&place);
    place_close(&place);
}

static void a_lowered_limit_gives_memory_back_at_once(void **state)
{
    place_open_comb(16 * MIB);
    memset(place_at(&place, 0), 0x77, 64 * MM_BLOCK_BYTES);
    assert_true(heap_limit_set(place.heap, place.heap->granted_blocks + 4));
    assert_true(place.heap->resident_blocks <= place.heap->limit_blocks);
    assert_int_equal(resident(), place.heap->resident_blocks << MM_BLOCK_SHIFT);
    place_check(&place);
    place_close(&place);
}

static void what_cannot_be_punched_stays_charged(void **state)
{
    place_open(&place, 4 * MIB, 16 * MIB);
    memset(place_at(&place, 0), 0x77, 16 * MM_BLOCK_BYTES);
    assert_true(heap_take_back(place.heap, 0, 16));
    os.memfd_punch = punch_refused;
    while (heap_trim_step(place.heap))
        ;
    os.memfd_punch = world_os.memfd_punch;
    assert_int_equal(budget_used(), 16 * MM_BLOCK_BYTES);
    assert_int_equal(place.heap->dirty_blocks, 16);
    place_check(&place);
    place_close(&place);
}

static void nothing_to_trim_until_something_comes_back(void **state)
{
    place_open(&place, 4 * MIB, 16 * MIB);
    while (heap_trim_step(place.heap))
        ;
    assert_int_equal(budget_used(), 16 * MM_BLOCK_BYTES);
    assert_false(heap_trim_step(place.heap));
    assert_true(heap_take_back(place.heap, 15, 1));
    assert_true(heap_trim_step(place.heap));
    assert_int_equal(budget_used(), 15 * MM_BLOCK_BYTES);
    place_close(&place);
}

/* ---- At random, against one byte a block ---- */

#define LIMIT_BLOCKS   192u
#define RESERVE_BLOCKS 256u

static unsigned char model[RESERVE_BLOCKS];                 /* 0: free, else granted and filled with this */
static uint32_t model_granted;

static void model_fill(uint32_t block, unsigned char byte)
{
    model[block] = byte;
    memset(place_at(&place, block), byte, MM_BLOCK_BYTES);
}

static void model_intact(uint32_t block)
{
    if (!memory_is(place_at(&place, block), model[block], MM_BLOCK_BYTES))
        fail_msg("block %u has been written to while it was granted", block);
}

static void random_grant(struct test_random *random)
{
    uint32_t want = (uint32_t)test_random_between(random, 1, 40), min = (uint32_t)test_random_between(random, 1, want), block, count;
    int r = grant(want, min, &block, &count);
    if (r == HEAP_LATER_MAIL) {
        assert_true(place_read_mail(&place) > 0);
        return;
    }
    if (r) {
        if (LIMIT_BLOCKS - model_granted < min)
            assert_int_equal(r, -MORPH_ENOMEM);
        else
            assert_true(r == -MORPH_EBUDGET || r == -MORPH_ENOMEM);     /* too fragmented for the rest of the reserve */
        return;
    }
    assert_in_range(count, min, want);
    assert_true(block + count <= RESERVE_BLOCKS);
    for (uint32_t b = block; b < block + count; b++) {
        assert_int_equal(model[b], 0);
        if (!memory_is(place_at(&place, b), 0, MM_BLOCK_BYTES))
            fail_msg("block %u was granted and is not zero", b);
        model_fill(b, (unsigned char)test_random_between(random, 1, 255));
    }
    model_granted += count;
}

static void random_give_back(struct test_random *random)
{
    uint32_t block = (uint32_t)test_random_below(random, RESERVE_BLOCKS), count = (uint32_t)test_random_between(random, 1, 30);
    bool his = block + count <= RESERVE_BLOCKS;
    for (uint32_t b = block; his && b < block + count; b++)
        his = model[b] != 0;
    if (!his && model[block] != 0 && test_random_below(random, 4)) {        /* mostly something true */
        count = 0;
        while (block + count < RESERVE_BLOCKS && model[block + count])
            count++;
        his = true;
    }
    for (uint32_t b = block; his && b < block + count; b++)
        model_intact(b);
    assert_int_equal(heap_take_back(place.heap, block, count), his);
    if (!his)
        return;
    memset(&model[block], 0, count);
    model_granted -= count;
}

static void any_sequence_agrees_with_the_model(void **state)
{
    struct test_random random = test_random_begin("heap_unit");
    memset(model, 0, sizeof model);
    model_granted = 0;
    budget_set(180 * MM_BLOCK_BYTES);
    place_open_empty(LIMIT_BLOCKS * MM_BLOCK_BYTES, RESERVE_BLOCKS * MM_BLOCK_BYTES);
    for (unsigned step = 0; step < 2000; step++) {
        switch (test_random_below(&random, 8)) {
        case 0: case 1: case 2: random_grant(&random); break;
        case 3: case 4: case 5: random_give_back(&random); break;
        case 6: (void)heap_clean_step(place.heap); break;
        default: (void)heap_trim_step(place.heap); break;
        }
        assert_int_equal(place.heap->granted_blocks, model_granted);
        place_check(&place);
    }
    for (uint32_t b = 0; b < RESERVE_BLOCKS; b++)
        if (model[b])
            model_intact(b);
    place_close(&place);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        world_case(a_new_heap_has_what_welcome_carries),
        world_case(the_clients_descriptor_is_another_description),
        world_case(the_first_grant_lies_in_the_first_ring),
        world_case(a_heap_that_cannot_be_made_leaves_nothing),
        world_case(no_address_space_is_out_of_memory),
        world_case(no_budget_and_no_share_refuse_a_new_heap),
        world_case(grants_never_pass_the_limit),
        world_case(a_lowered_limit_refuses_until_enough_is_given_back),
        world_case(the_first_place_that_fits_is_taken),
        world_case(runs_may_cross_chunks_and_segments),
        world_case(a_run_is_zero_whoever_had_it_before),
        world_case(a_long_run_is_cleaned_slice_by_slice),
        world_case(false_give_backs_are_refused_and_change_nothing),
        world_case(growth_is_told_with_the_memory_itself),
        world_case(segments_grow_with_the_heap),
        world_case(the_end_of_the_reserve_is_filled_with_smaller_ones),
        world_case(a_client_that_does_not_read_is_not_sent_more),
        world_case(a_client_that_is_gone_is_lost),
        world_case(growing_without_files_falls_back_to_what_is_there),
        world_case(a_fragmented_heap_gives_smaller_runs),
        world_case(what_must_be_whole_goes_into_the_rest_of_the_reserve),
        world_case(without_a_rest_it_is_refused),
        world_case(the_budget_is_charged_for_what_may_be_resident),
        world_case(the_warm_pool_makes_room_before_a_heap_is_refused),
        world_case(a_warm_segment_is_charged_once),
        world_case(a_warm_segment_is_cut_to_the_bound),
        world_case(free_blocks_give_way_at_the_bound),
        world_case(a_lowered_limit_gives_memory_back_at_once),
        world_case(a_users_share_holds_for_all_his_heaps),
        world_case(trimming_gives_memory_back),
        world_case(free_blocks_are_warmed_ahead),
        world_case(what_a_client_takes_beyond_its_grants_is_seen),
        world_case(what_cannot_be_punched_stays_charged),
        world_case(nothing_to_trim_until_something_comes_back),
        world_case(any_sequence_agrees_with_the_model),
    };
    return test_run(cases);
}
