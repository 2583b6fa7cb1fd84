/* fuzz_shared.c — a hostile client with a real heap: it writes random and nasty values over its whole control area, over run
 * headers, object headers and page tables, punches holes into its own memory, rings without end, gives back what it does not have,
 * and asks for figures and blocks meanwhile. Its heap may be condemned; the daemon must survive, and other heaps go on.
 *
 * Seeded (MORPH_TEST_SEED); runs for MORPH_FUZZ_SECONDS (default 5). Meant to be run with a daemon under AddressSanitizer too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shm/atomic.h"
#include "shm/control.h"
#include "shm/object.h"
#include "shm/pool.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define LIMIT_BYTES (16 * MiB)

struct attacker {
    struct test_random random;
    struct wire_heap   heap;
    struct mm_control *control;
    uint64_t           mapped_bytes;        /* of the reserve */
};

static uint64_t pick(struct attacker *a, uint64_t bound)
{
    return test_random_below(&a->random, bound);
}

/* Values that break careless code: edges of types, of the heap, of rings, addresses in and out of the heap, valid magic. */
static uint64_t nasty(struct attacker *a)
{
    uint64_t base = (uintptr_t)a->heap.base;
    const uint64_t values[] = {
        0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 511, 512, 4095, 4096, 65535, 65536, INT32_MAX, (uint64_t)INT32_MAX + 1,
        UINT32_MAX, (uint64_t)UINT32_MAX + 1, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX, UINT64_MAX - 15, UINT64_MAX - 65535,
        base, base + 16, base + 64, base - 1, base - 16, base + a->mapped_bytes, base + a->mapped_bytes - 16, base + a->heap.reserve_bytes,
        base + a->heap.reserve_bytes - 1, base + MM_BLOCK_BYTES, (uintptr_t)a->heap.control, MM_RUN_MAGIC, MM_CONTROL_MAGIC,
        mm_header_make(24, 1, 0), mm_header_make(UINT32_MAX, 65535, 0xff), a->mapped_bytes / MM_BLOCK_BYTES, a->heap.reserve_bytes / MM_BLOCK_BYTES,
    };
    unsigned kind = (unsigned)pick(a, 4);
    uint64_t value = values[pick(a, sizeof values / sizeof values[0])];
    if (kind == 0)
        return test_random_next(&a->random) >> pick(a, 64);
    if (kind == 1)
        return value + pick(a, 5) - 2;
    return value;
}

static struct mm_slot *slot_of(struct attacker *a, unsigned index)
{
    return (struct mm_slot *)(a->heap.control + MM_PAGE_BYTES + (uint64_t)index * MM_SLOT_STRIDE);
}

static void ring_doorbell(struct attacker *a)
{
    uint64_t one = 1;
    (void)!write(a->heap.doorbell, &one, sizeof one);
}

/* ---- Moves ---- */

static void scribble_control(struct attacker *a)
{
    uint64_t words = a->heap.control_bytes / 8;
    for (unsigned i = 0; i < 1 + pick(a, 40); i++)
        mm_store_relaxed((uint64_t *)a->heap.control + pick(a, words), nasty(a));
}

/* The first words of page 0, of the slots and of the spaces: there it matters. */
static void scribble_hot_words(struct attacker *a)
{
    for (unsigned i = 0; i < 1 + pick(a, 20); i++) {
        char *at = a->heap.control;
        unsigned where = (unsigned)pick(a, 3);
        if (where == 0)
            at += pick(a, 64) * 4;
        else if (where == 1)
            at = (char *)slot_of(a, (unsigned)pick(a, WIRE_THREADS)) + pick(a, sizeof(struct mm_slot) / 4) * 4;
        else
            at += mm_control_spaces_off(WIRE_THREADS) + pick(a, 64 * sizeof(struct mm_space) / 4) * 4;
        mm_store_relaxed((uint32_t *)at, (uint32_t)nasty(a));
    }
}

/* What an honest client would do, now and then with one false word. */
static void request_blocks(struct attacker *a)
{
    struct mm_slot *slot = slot_of(a, (unsigned)pick(a, WIRE_THREADS));
    mm_store_relaxed(&a->control->slots_high, (uint32_t)pick(a, 8));
    mm_store_relaxed(&slot->request_kind, pick(a, 5) ? MM_GRANT_RUN : (uint32_t)nasty(a));
    mm_store_relaxed(&slot->request_blocks, pick(a, 3) ? 1 + (uint32_t)pick(a, 40) : (uint32_t)nasty(a));
    mm_store_relaxed(&slot->request_min, pick(a, 3) ? 1 : (uint32_t)nasty(a));
    mm_store_relaxed(&slot->wish_blocks, pick(a, 3) ? (uint32_t)pick(a, 32) : (uint32_t)nasty(a));
    mm_store_seq_cst(&slot->request_seq, slot->request_seq + 1);
    ring_doorbell(a);
}

static void take_cells(struct attacker *a)
{
    for (unsigned i = 0; i < WIRE_THREADS; i++)
        mm_store_seq_cst(&slot_of(a, i)->ring_head, mm_load_acquire(&slot_of(a, i)->ring_tail));
    ring_doorbell(a);
}

static void give_back_anything(struct attacker *a)
{
    struct mm_slot *slot = slot_of(a, (unsigned)pick(a, WIRE_THREADS));
    uint32_t tail = mm_load_relaxed(&slot->give_tail);
    uint64_t block = pick(a, 2) ? pick(a, a->mapped_bytes / MM_BLOCK_BYTES) : nasty(a);
    uint64_t blocks = pick(a, 2) ? 1 + pick(a, 32) : nasty(a);
    mm_store_relaxed(&slot->give[tail % MM_GIVE_CELLS], block << 32 | (uint32_t)blocks);
    mm_store_seq_cst(&slot->give_tail, tail + 1 + (uint32_t)(pick(a, 10) == 0 ? nasty(a) : 0));
    ring_doorbell(a);
}

/* A run that looks right, with objects or page tables that look nearly right. */
static void forge_run(struct attacker *a)
{
    char *at = a->heap.base + pick(a, a->mapped_bytes / MM_BLOCK_BYTES) * MM_BLOCK_BYTES;
    struct mm_run run = { .magic = MM_RUN_MAGIC, .use = (uint16_t)pick(a, 7), .blocks = (uint32_t)(pick(a, 4) ? 1 + pick(a, 40) : nasty(a)),
                          .owner = (uint32_t)(pick(a, 4) ? pick(a, 4) : nasty(a)), .generation = (uint32_t)pick(a, 3),
                          .used_bytes = pick(a, 3) ? pick(a, 40) * 4096 : nasty(a) };
    memcpy(at, &run, sizeof run);
    for (uint64_t off = sizeof run; off < MM_BLOCK_BYTES - 64;) {
        if (run.use == MM_RUN_POOL) {
            struct mm_pool_page page = { .free_off = (uint32_t)nasty(a), .used = (uint16_t)nasty(a), .capacity = (uint16_t)nasty(a),
                                         .fresh = (uint16_t)nasty(a), .size_class = (uint8_t)nasty(a), .kind = (uint8_t)pick(a, 6),
                                         .pages = (uint32_t)(pick(a, 2) ? pick(a, 40) : nasty(a)) };
            memcpy(at + off, &page, sizeof page);
            off += sizeof page;
        } else {
            uint32_t bytes = (uint32_t)(pick(a, 20) ? pick(a, 2000) : nasty(a));
            *(uint64_t *)(at + off) = pick(a, 30) ? mm_header_make(bytes, (uint16_t)nasty(a), (uint8_t)nasty(a)) : nasty(a);
            off += bytes < 4000 ? mm_object_extent(bytes) : 16;
        }
    }
}

/* An open arena or pool whose cursors point at forged runs, or nowhere. */
static void forge_space(struct attacker *a)
{
    struct mm_space *space = (struct mm_space *)(a->heap.control + mm_control_spaces_off(WIRE_THREADS)) + pick(a, 4);
    mm_store_relaxed(&a->control->spaces_high, (uint32_t)(pick(a, 4) ? pick(a, 8) : nasty(a)));
    *space = (struct mm_space){ .kind = (uint32_t)pick(a, 4), .generation = (uint32_t)pick(a, 3) };
    space->typed_cursor = pick(a, 2) ? (uintptr_t)a->heap.base + pick(a, a->mapped_bytes) : nasty(a);
    space->typed_limit = pick(a, 2) ? (uintptr_t)a->heap.base + pick(a, a->mapped_bytes) : nasty(a);
    space->raw_cursor = pick(a, 2) ? (uintptr_t)a->heap.base + pick(a, a->mapped_bytes) : nasty(a);
    space->raw_limit = nasty(a);
}

/* Takes pages away from under the daemon. They come back as zeroes when it looks. */
static void punch(struct attacker *a)
{
    uint64_t off = pick(a, a->mapped_bytes / 4096) * 4096, bytes = (1 + pick(a, 16)) * 4096;
    (void)madvise(a->heap.base + off, off + bytes <= a->mapped_bytes ? bytes : 4096, MADV_REMOVE);
    if (pick(a, 4) == 0)
        (void)madvise(a->heap.control + pick(a, a->heap.control_bytes / 4096) * 4096, 4096, MADV_REMOVE);
}

static void ring_without_end(struct attacker *a)
{
    for (unsigned i = 0; i < 200; i++)
        ring_doorbell(a);
}

/* Figures of the hostile heap: whatever they are, there is an answer. */
static void ask_figures(struct attacker *a)
{
    struct test_type_count type[8];
    (void)test_types(a->heap.id, type, 8);
    (void)test_heap_stat(a->heap.id, "used_bytes");
}

static void (*const moves[])(struct attacker *) = {
    scribble_control, scribble_hot_words, scribble_hot_words, request_blocks, request_blocks, request_blocks, take_cells, give_back_anything,
    forge_run, forge_run, forge_space, punch, ring_without_end, ask_figures,
};

/* ---- The case ---- */

static void attack_begin(struct attacker *a)
{
    assert_int_equal(wire_heap_open(&a->heap, "hostile", LIMIT_BYTES), 0);
    a->control = (struct mm_control *)a->heap.control;
    a->mapped_bytes = test_heap_stat(a->heap.id, "mapped_bytes");
    assert_true(a->mapped_bytes >= 2 * MiB && a->mapped_bytes <= a->heap.reserve_bytes);
}

/* True while the daemon keeps the heap. Segments that it sends are mapped, as an honest client would. */
static bool still_there(struct attacker *a)
{
    struct wire_answer answer;
    int r;
    while ((r = wire_receive(a->heap.fd, &answer, 0)) == 1) {
        if (answer.id == WIRE_SEGMENT && answer.files == 1) {
            uint64_t off = wire_u64(&answer.body, "chunk") * MM_CHUNK_BYTES, bytes = wire_u64(&answer.body, "chunks") * MM_CHUNK_BYTES;
            assert_true(off + bytes <= a->heap.reserve_bytes);
            assert_true(mmap(a->heap.base + off, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, answer.file[0], 0) != MAP_FAILED);
            if (off == a->mapped_bytes)
                a->mapped_bytes += bytes;
        }
        wire_answer_fini(&answer);
    }
    return r == -ETIMEDOUT;
}

static uint64_t seconds(void)
{
    const char *given = getenv("MORPH_FUZZ_SECONDS");
    return given ? strtoull(given, NULL, 10) : 5;
}

static void daemon_survives_a_hostile_heap(void **state)
{
    struct attacker attacker = { .random = test_random_begin("fuzz_shared") };
    struct test_daemon *daemon = test_daemon_start("--log-level=error", NULL);
    struct client bystander = client_open("bystander", 16 * MiB);
    uint64_t end_ns = test_now_ns() + seconds() * 1000000000u, heaps = 0, steps = 0;
    morph_arena *arena;
    assert_ok(morph_arena_new(bystander.me, &arena));
    char *kept = morph_arena_bytes(arena, MiB);
    client_fill(kept, MiB, 1);
    while (test_now_ns() < end_ns) {
        attack_begin(&attacker);
        heaps++;
        uint64_t until = 1 + test_random_below(&attacker.random, 400);
        for (uint64_t step = 0; step < until && still_there(&attacker); step++, steps++)
            moves[test_random_below(&attacker.random, sizeof moves / sizeof moves[0])](&attacker);
        wire_heap_close(&attacker.heap);
        morph_mark mark = morph_arena_mark(arena);
        char *more = morph_arena_bytes(arena, 2 * MiB);                     /* others go on */
        assert_non_null(more);
        client_fill(more, 2 * MiB, 2);
        assert_true(client_intact(more, 2 * MiB, 2) && client_intact(kept, MiB, 1));
        assert_ok(morph_arena_release(arena, mark));
        assert_int_equal(test_heap_stat(bystander.id, "arenas"), 1);
    }
    print_message("%llu hostile heaps, %llu moves\n", (unsigned long long)heaps, (unsigned long long)steps);
    assert_true(test_wait_until(test_heaps() == 1, 5000));
    morph_arena_free(arena);
    client_close(&bystander);
    assert_true(test_wait_until(test_stat("granted_bytes") == 0, 5000));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(daemon_survives_a_hostile_heap) };
    return test_run(cases);
}
