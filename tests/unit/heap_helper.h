/* heap_helper.h — what the tests of daemon/heap/ share: a daemon's inner world without a daemon, and heaps in it.
 *
 * The world: options at their defaults but for an empty pool and a quiet log, a clock that stands still until a test moves it, a budget.
 * A heap: made as the loop thread makes it, with the client's end of its socket and of its descriptors in our hands.
 * One world at a time; cases run in the main thread. */
#ifndef UNIT_HEAP_HELPER_H
#define UNIT_HEAP_HELPER_H

#include "tests/lib/check.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/guard.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/segment.h"
#include "daemon/os/os.h"
#include "proto/packet.h"
#include "shm/memfd.h"
#include "shm/ring.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define US  1000ull                 /* in nanoseconds */
#define MS  1000000ull
#define SEC 1000000000ull

/* ---- The world ---- */

static uint64_t world_ns = 1000 * SEC;
static uint64_t world_now(void) { return world_ns; }
static struct os world_os;          /* the real one */

static inline void world_settle(void)
{
    while (segment_work())
        ;
}

static inline int world_begin(void **state)
{
    struct config_command command;
    char *words[] = { (char *)"test", (char *)"--config=/dev/null", (char *)"--pool-min=0", (char *)"--log-level=error" };
    (void)test_begin(state);
    if (config_load(4, words, &command) < 0)
        return -1;
    world_os = os;
    os.now_ns = world_now;
    guard_init();
    budget_set(1 * GIB);
    segment_pool_init(false);
    return 0;
}

/* All that is lent must be back. Demand is forgotten, so that the next case finds a pool at rest; and nothing is charged any more. */
static inline int world_end(void **state)
{
    os = world_os;
    os.now_ns = world_now;
    config.pool_min = 0;
    config.pool_max = 1;
    for (int i = 0; i < 2; i++) {
        world_ns += 100 * SEC;
        world_settle();
    }
    segment_pool_fini();
    os = world_os;
    config_free();
    if (budget_used() != 0) {
        print_error("still charged to the budget: %llu bytes\n", (unsigned long long)budget_used());
        budget_give(budget_used());
        return -1;
    }
    return test_end(state);
}

#define world_case(function) cmocka_unit_test_setup_teardown(function, world_begin, world_end)

static inline bool memory_is(const void *memory, unsigned char byte, uint64_t bytes)
{
    const unsigned char *at = memory;
    return bytes == 0 || (at[0] == byte && memcmp(at, at + 1, bytes - 1) == 0);
}

/* ---- A heap ---- */

#define CLIENT_BASE 0x500000000000ull

struct place {
    struct user  user;
    struct heap *heap;
    int          client;            /* the other end of its socket */
    int          fds[3];            /* as WELCOME would carry them */
};

/* Makes a heap; 0 or the positive error number, then *place holds nothing. `user` NULL: a user of its own. */
static inline int place_try(struct place *place, struct user *user, uint64_t limit_bytes, uint64_t reserve_bytes, uint32_t threads)
{
    int ends[2], error = 0;
    memset(place, 0, sizeof *place);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    struct heap_request request = { .id = 7, .limit_bytes = limit_bytes, .reserve_bytes = reserve_bytes, .client_base = CLIENT_BASE,
                                    .threads = threads, .socket = ends[0], .owner = { 1000, 1 }, .user = user ? user : &place->user };
    place->heap = heap_new(&request, place->fds, &error);
    place->client = ends[1];
    if (place->heap)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return error;
}

static inline void place_open(struct place *place, uint64_t limit_bytes, uint64_t reserve_bytes)
{
    assert_int_equal(place_try(place, NULL, limit_bytes, reserve_bytes, 2), 0);
    assert_non_null(place->heap);
}

static inline void place_close(struct place *place)
{
    int socket = place->heap->socket;
    heap_free(place->heap);
    close(place->fds[0]);
    close(place->fds[2]);
    close(place->client);
    close(socket);
}

/* Receives one SEGMENT packet as the client; its descriptor is the caller's. -1: there is none. */
static inline int place_receive(struct place *place, struct mm_segment *ret_segment)
{
    static char packet[MM_PACKET_MAX];
    static struct mm_message message;
    unsigned count = 0;
    int fds[MM_PACKET_FDS];
    if (mm_packet_recv_message(place->client, MM_FROM_DAEMON, packet, sizeof packet, &message, fds, MM_PACKET_FDS, &count) < 0)
        return -1;
    assert_int_equal(message.id, MM_MSG_SEGMENT);
    assert_int_equal(message.seq, 0);
    assert_int_equal(count, 1);
    *ret_segment = message.as.segment;
    return fds[0];
}

/* Reads all its mail; says how many segments came. */
static inline unsigned place_read_mail(struct place *place)
{
    struct mm_segment segment;
    unsigned count = 0;
    for (int fd; (fd = place_receive(place, &segment)) >= 0; count++)
        close(fd);
    return count;
}

static inline char *place_at(const struct place *place, uint32_t block) { return place->heap->view.base + (uint64_t)block * MM_BLOCK_BYTES; }

/* heap_grant_run(), slice after slice. */
static inline int place_try_grant(struct place *place, uint32_t want, uint32_t min, uint32_t *ret_block, uint32_t *ret_count)
{
    int r;
    while ((r = heap_grant_run(place->heap, want, min, ret_block, ret_count)) == HEAP_LATER_WORK)
        ;
    return r;
}

/* A run that must be had; reads mail as needed. */
static inline uint32_t place_grant(struct place *place, uint32_t blocks)
{
    uint32_t block, count;
    int r;
    while ((r = place_try_grant(place, blocks, blocks, &block, &count)) == HEAP_LATER_MAIL)
        assert_true(place_read_mail(place) > 0);
    assert_int_equal(r, 0);
    assert_int_equal(count, blocks);
    return block;
}

/* Every sum of the heap, walked anew from the states. */
static inline void place_check(const struct place *place)
{
    const struct heap *heap = place->heap;
    uint64_t granted = 0, resident = 0, dirty = 0, charged = 0, mapped = 0;
    heap_check(heap);
    for (uint32_t c = 0; c < heap->mapped_chunks; c++) {
        const struct chunk *chunk = &heap->chunk[c];
        for (uint32_t b = 0; b < MM_CHUNK_BLOCKS; b++) {
            enum mm_block_state state = heap_block_state(heap, (uint64_t)c * MM_CHUNK_BLOCKS + b);
            bool is_free = state == MM_BLOCK_FREE || state == MM_BLOCK_ZEROED, is_resident = chunk->resident >> b & 1;
            assert_true(is_free || state == MM_BLOCK_ARENA);
            assert_int_equal(chunk->free >> b & 1, is_free);
            assert_int_equal(chunk->clean >> b & 1, state == MM_BLOCK_ZEROED);
            assert_true(is_free || is_resident);
            assert_true(!is_free || c >= heap->first_free);
            granted += !is_free;
            dirty += state == MM_BLOCK_FREE;
            resident += is_resident;
        }
    }
    for (const struct segment *segment = heap->segments; segment; segment = segment->next) {
        assert_int_equal(segment->state, SEGMENT_LENT);
        charged += segment->charged_bytes;
        mapped += segment->bytes;
    }
    assert_true(heap->granted_blocks == granted);
    assert_true(heap->resident_blocks == resident);
    assert_int_equal(heap->dirty_blocks, dirty);
    assert_true(charged == resident * MM_BLOCK_BYTES);
    assert_true(mapped == (uint64_t)heap->mapped_chunks * MM_CHUNK_BYTES && mapped <= heap->view.bytes);
    assert_true(granted <= heap->limit_blocks && heap->peak_blocks >= granted);
    assert_true(heap->control->granted_bytes == granted * MM_BLOCK_BYTES);
    assert_int_equal(heap_block_state(heap, (uint64_t)heap->mapped_chunks * MM_CHUNK_BLOCKS), MM_BLOCK_ABSENT);
}

#endif
