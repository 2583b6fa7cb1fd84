/* huge.int.c — segments in 2 MiB pages where the kernel has them for shared memory, and the plain path where it has not. */
#include <stdio.h>
#include <string.h>

#include "shm/machine.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* MiB of this process that huge pages of shared memory map. */
static uint64_t huge_mapped_bytes(void)
{
    char line[256];
    uint64_t kib, total = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "ShmemPmdMapped: %lu kB", &kib) == 1)
            total += kib << 10;
    fclose(file);
    return total;
}

/* Fills, empties and fills again; everything stays as written. Returns huge mapped bytes while it was full. */
static uint64_t use_heap(uint64_t bytes)
{
    struct client client = client_open("pages", 128 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    for (unsigned round = 0; round < 2; round++) {
        char *at[64];
        unsigned count = (unsigned)(bytes / MiB);
        for (unsigned i = 0; i < count; i++) {
            assert_non_null(at[i] = morph_arena_bytes(arena, MiB));
            client_fill(at[i], MiB, i + round);
        }
        for (unsigned i = 0; i < count; i++)
            assert_true(client_intact(at[i], MiB, i + round));
        if (round == 0)
            morph_arena_reset(arena);
    }
    uint64_t huge = huge_mapped_bytes();
    morph_arena_free(arena);
    client_close(&client);
    return huge;
}

static void without_them(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--huge-pages=never", NULL);
    assert_int_equal(test_stat("huge_pages"), 0);
    assert_int_equal(use_heap(32 * MiB), 0);
    test_daemon_stop(daemon);
}

static void with_them(void **state)
{
    if (!mm_machine_shmem_huge())
        test_skip("this kernel gives no 2 MiB pages to shared memory (transparent_hugepage/shmem_enabled)");
    struct test_daemon *daemon = test_daemon_start("--pool-min=64M", NULL);
    assert_int_equal(test_stat("huge_pages"), 1);
    assert_true(test_wait_until(test_stat("pool_warm_bytes") >= 64 * MiB, 20000 * test_slowness()));
    for (unsigned round = 0; round < 3; round++)                            /* later rounds use recycled segments */
        assert_true(use_heap(32 * MiB) >= 8 * MiB);
    assert_true(test_wait_until(test_stat("granted_bytes") == 0, 5000));
    test_daemon_stop(daemon);
}

static void it_is_told_which(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    assert_int_equal(test_stat("huge_pages"), mm_machine_shmem_huge());
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(without_them),
        test_case(with_them),
        test_case(it_is_told_which),
    };
    return test_run(cases);
}
