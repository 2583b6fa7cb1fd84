/* recycle.int.c — memory goes round: a closed heap's segments are proven free, zeroed and lent again to the same user, and to no
 * other; nothing of what was in them can be read. The pool of warm memory follows demand and shrinks when idle.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

#define SECRET 0x5ec7e75ec7e75ec7u

/* Writes the secret into every byte of the heap that this process has mapped, granted or not. */
static void write_everywhere(struct wire_heap *heap, uint64_t mapped_bytes)
{
    for (uint64_t *at = (uint64_t *)heap->base; (char *)at < heap->base + mapped_bytes; at++)
        *at = SECRET;
}

static uint64_t mapped_bytes(const struct wire_heap *heap)
{
    return test_heap_stat(heap->id, "mapped_bytes");
}

static void old_contents_cannot_be_read(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-min=0", NULL);      /* no fresh memory: what is warm has been used */
    struct wire_heap heap;
    uint64_t lent_again = 0;
    for (unsigned round = 0; round < 200 && lent_again < 20; round++) {
        assert_int_equal(wire_heap_open(&heap, "secret", 8 * MiB), 0);
        uint64_t bytes = mapped_bytes(&heap);
        assert_true(bytes >= 2 * MiB);
        /* All but the headers of runs that the daemon's first grant may need: it writes none, so all is zero. */
        assert_true(client_zero(heap.base, bytes));
        write_everywhere(&heap, bytes);
        wire_heap_close(&heap);
        assert_true(test_wait_until(test_stat("pool_leaving_bytes") == 0 && test_stat("pool_zeroing_bytes") == 0 && test_heaps() == 0, 5000));
        lent_again = test_stat("segments_recycled");
    }
    assert_true(lent_again >= 20);                                          /* memory did go round, so the scan meant something */
    test_daemon_stop(daemon);
}

/* The same through the library: everything that arenas and pools of a second heap hand out. */
static void library_memory_is_clean(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    for (unsigned round = 0; round < 10; round++) {
        struct client client = client_open("secret", 40 * MiB);
        morph_arena *arena;
        assert_ok(morph_arena_new(client.me, &arena));
        for (unsigned i = 0; i < 150; i++) {
            uint64_t *at = morph_arena_bytes(arena, 200000);
            assert_non_null(at);
            for (unsigned word = 0; word < 200000 / 8; word++)
                assert_int_not_equal(at[word], SECRET);
            for (unsigned word = 0; word < 200000 / 8; word++)
                at[word] = SECRET;
        }
        morph_arena_free(arena);
        client_close(&client);
    }
    test_daemon_stop(daemon);
}

/* Inode numbers name the segments: which ones does this client have? */
static unsigned segment_inodes(unsigned long *ret_inode, unsigned most)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned count = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, stop, inode;
        if (count < most && strstr(line, "memfd:morphmem") && sscanf(line, "%lx-%lx %*s %*s %*s %lu", &start, &stop, &inode) == 3 &&
            stop - start >= 2 * MiB && (count == 0 || ret_inode[count - 1] != inode))
            ret_inode[count++] = inode;
    }
    if (maps)
        fclose(maps);
    return count;
}

struct inodes { unsigned count; unsigned long inode[64]; };

static int take_inodes(void *context, struct test_parent parent)
{
    struct inodes inodes = { 0 };
    struct client client;
    morph_arena *arena;
    child_check_int(client_try(&client, "somebody's", 16 * MiB), 0);
    child_check_int(morph_arena_new(client.me, &arena), 0);
    for (unsigned i = 0; i < 12; i++) {
        uint64_t *at = morph_arena_bytes(arena, MiB);
        child_check(at != NULL);
        for (unsigned word = 0; word < MiB / 8; word++)
            child_check(at[word] != SECRET);
        for (unsigned word = 0; word < MiB / 8; word++)
            at[word] = SECRET;
    }
    inodes.count = segment_inodes(inodes.inode, 64);
    child_check(inodes.count > 0);
    morph_arena_free(arena);
    child_check_int(morph_thread_detach(client.me), 0);
    child_check_int(morph_heap_close(client.heap), 0);
    test_parent_write(parent, &inodes, sizeof inodes);
    return 0;
}

static struct inodes inodes_of(uid_t uid)
{
    struct inodes inodes;
    struct test_child child = test_child_start(uid, take_inodes, NULL);
    assert_true(test_child_read(&child, &inodes, sizeof inodes));
    assert_int_equal(test_child_wait(&child), 0);
    assert_true(test_wait_until(test_stat("pool_leaving_bytes") == 0 && test_stat("pool_zeroing_bytes") == 0 && test_heaps() == 0, 5000));
    return inodes;
}

static unsigned common(const struct inodes *a, const struct inodes *b)
{
    unsigned count = 0;
    for (unsigned i = 0; i < a->count; i++)
        for (unsigned j = 0; j < b->count; j++)
            count += a->inode[i] == b->inode[j];
    return count;
}

static void same_user_gets_them_again(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-min=0", NULL);
    unsigned shared = 0;
    struct inodes before = inodes_of((uid_t)-1);
    for (unsigned i = 0; i < 100 && shared < 5; i++) {
        struct inodes now = inodes_of((uid_t)-1);
        shared += common(&before, &now);
        before = now;
    }
    if (shared < 5)
        fail_msg("%u segments came back; %llu recycled, %llu destroyed, %llu lent warm, %llu cold", shared, (unsigned long long)test_stat("segments_recycled"),
                 (unsigned long long)test_stat("segments_destroyed"), (unsigned long long)test_stat("segments_warm"),
                 (unsigned long long)test_stat("segments_cold"));
    test_daemon_stop(daemon);
}

static void another_user_never_gets_them(void **state)
{
    if (geteuid() != 0)
        test_skip("needs root, to act as two users");
    struct test_daemon *daemon = test_daemon_start("--pool-min=0", NULL);
    struct inodes mine[10], other[10];
    for (unsigned i = 0; i < 10; i++) {
        mine[i] = inodes_of((uid_t)-1);
        other[i] = inodes_of(test_user_nobody());
        for (unsigned j = 0; j <= i; j++)
            assert_int_equal(common(&mine[j], &other[i]) + common(&mine[i], &other[j]), 0);
    }
    test_daemon_stop(daemon);
}

/* A client that keeps a mapping or a descriptor of a segment: it is not lent again while that is so. */
static void kept_segments_are_not_lent(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--recycle-deadline=200", NULL);
    struct wire_heap heap;
    assert_int_equal(wire_heap_open(&heap, "keeper", 8 * MiB), 0);
    uint64_t bytes = mapped_bytes(&heap), destroyed = test_stat("segments_destroyed");
    write_everywhere(&heap, bytes);
    close(heap.fd);                                                         /* the heap is over, the mapping stays */
    assert_true(test_wait_until(test_heaps() == 0, 2000));
    assert_true(test_wait_until(test_stat("segments_destroyed") > destroyed && test_stat("pool_leaving_bytes") == 0, 5000));
    for (uint64_t *at = (uint64_t *)heap.base; (char *)at < heap.base + bytes; at += 512)
        assert_true(*at == 0);                                              /* it was emptied: nothing is held for it */
    for (unsigned i = 0; i < 20; i++) {
        struct wire_heap next;
        assert_int_equal(wire_heap_open(&next, "next", 8 * MiB), 0);
        next.base[0] = (char)(i + 1);
        assert_int_equal(heap.base[0], 0);                                  /* another file */
        wire_heap_close(&next);
    }
    heap.fd = dup(2);
    wire_heap_close(&heap);
    test_daemon_stop(daemon);
}

static void pool_follows_demand(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-idle=100", "--pool-min=2M", "--pool-max=256M", NULL);
    assert_true(test_wait_until(test_stat("pool_warm_bytes") >= 2 * MiB || test_stat("pool_target_bytes") >= 2 * MiB, 3000));
    uint64_t quiet = test_stat("pool_target_bytes"), busy = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct client client = client_open("busy", 64 * MiB);
        morph_arena *arena;
        assert_ok(morph_arena_new(client.me, &arena));
        for (unsigned n = 0; n < 32; n++) {
            char *at = morph_arena_bytes(arena, MiB);
            assert_non_null(at);
            memset(at, 1, MiB);
        }
        morph_arena_free(arena);
        client_close(&client);
        uint64_t target = test_stat("pool_target_bytes");
        busy = target > busy ? target : busy;
    }
    assert_true(busy > quiet);
    assert_true(busy <= 256 * MiB);
    assert_true(test_stat("segments_warm") > 0);
    assert_true(test_wait_until(test_stat("pool_target_bytes") <= 2 * MiB && test_stat("pool_warm_bytes") <= 8 * MiB, 20000));
    test_daemon_stop(daemon);
}

/* An idle heap gives back what it does not use. */
static void idle_heaps_are_trimmed(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-idle=100", "--pool-min=0", NULL);
    struct client client = client_open("idle", 128 * MiB);
    morph_pool *pool;
    char *at[32];
    assert_ok(morph_pool_new(client.me, 0, &pool));
    char *kept = morph_malloc(pool, 1000);
    client_fill(kept, 1000, 1);
    for (unsigned i = 0; i < 32; i++) {
        at[i] = morph_malloc(pool, 3 * MiB);
        memset(at[i], 1, 3 * MiB);
    }
    uint64_t busy = test_heap_stat(client.id, "resident_bytes");
    assert_true(busy >= 96 * MiB);
    for (unsigned i = 0; i < 32; i++)
        assert_ok(morph_free(pool, at[i]));
    assert_true(test_wait_until(test_heap_stat(client.id, "resident_bytes") < busy / 2, 20000));
    assert_true(client_intact(kept, 1000, 1));
    char *again = morph_calloc(pool, 1, 20 * MiB);
    assert_true(client_zero(again, 20 * MiB));
    morph_pool_free(pool);
    client_close(&client);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(old_contents_cannot_be_read),
        test_case(library_memory_is_clean),
        test_case(same_user_gets_them_again),
        test_case(another_user_never_gets_them),
        test_case(kept_segments_are_not_lent),
        test_case(pool_follows_demand),
        test_case(idle_heaps_are_trimmed),
    };
    return test_run(cases);
}
