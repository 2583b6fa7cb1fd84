/* scarce.int.c — the daemon runs out of descriptors, or out of address space: who comes then gets a clear error, who is there goes
 * on, and later it recovers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

#define MANY 64u

static bool is_clear(int error)
{
    return error == MORPH_EFILES || error == MORPH_EMEMORY || error == MORPH_EBUDGET || error == MORPH_EQUOTA || error == MORPH_ENODAEMON ||
           error == MORPH_ETIMEOUT;
}

static void goes_on(struct client *client)
{
    morph_arena *arena;
    assert_ok(morph_heap_status(client->heap));
    assert_ok(morph_arena_new(client->me, &arena));
    client_fill(morph_arena_bytes(arena, 100000), 100000, 1);
    morph_arena_free(arena);
}

/* Opens heaps until one is refused; returns how many there are, and the error of the first that was not. */
static unsigned open_many(struct client *client, uint64_t limit_bytes, int *ret_error)
{
    unsigned count = 0;
    while (count < MANY && (*ret_error = client_try(&client[count], "one of many", limit_bytes)) == 0)
        count++;
    return count;
}

static void out_of_descriptors(void **state)
{
    struct test_daemon *daemon = test_daemon_start_with(&(struct test_daemon_setup){ .files = 40 }, NULL);
    struct client client[MANY];
    int error = 0;
    for (unsigned round = 0; round < 3; round++) {
        unsigned count = open_many(client, 4 * MiB, &error);
        assert_true(count >= 2 && count < MANY);
        print_message("%u heaps with 40 descriptors, then %s\n", count, morph_error_name(error));
        if (!is_clear(error))
            fail_msg("refused with %s", morph_error_name(error));
        for (unsigned i = 0; i < 5; i++)
            if (client_try(&client[count], "one too many", 4 * MiB) == 0)      /* one of those refused had not quite gone: now there is room */
                client_close(&client[count]);
        for (unsigned i = 0; i < count; i++)
            goes_on(&client[i]);
        for (unsigned i = 0; i < count; i++)
            client_close(&client[i]);
        assert_true(test_wait_until(client_try(&client[0], "later", 4 * MiB) == 0, 5000 * test_slowness()));
        goes_on(&client[0]);
        client_close(&client[0]);
        assert_true(test_wait_until(test_stat("connections") <= 1 && test_stat("pool_leaving_bytes") == 0, 5000 * test_slowness()));
    }
    assert_true(test_stat("connections_refused") > 0);
    test_daemon_stop(daemon);
}

/* A heap that is open needs more segments than there are descriptors for: an error, and it goes on within what it has. */
static void out_of_descriptors_for_segments(void **state)
{
    struct test_daemon *daemon = test_daemon_start_with(&(struct test_daemon_setup){ .files = 24 }, "--pool-min=0", NULL);
    struct client client = client_open("large", 64 * MiB);
    morph_arena *arena;
    unsigned count = 0;
    assert_ok(morph_arena_new(client.me, &arena));
    while (count < 64 && morph_arena_bytes(arena, MiB))
        count++;
    if (count < 60)
        assert_true(is_clear(morph_thread_error(client.me)));
    goes_on(&client);
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void out_of_address_space(void **state)
{
    if (test_sanitized())
        test_skip("sanitizers need the address space themselves");
    struct test_daemon *daemon = test_daemon_start_with(&(struct test_daemon_setup){ .address_bytes = 2048 * MiB }, NULL);
    struct client client[MANY];
    int error = 0;
    for (unsigned round = 0; round < 3; round++) {
        unsigned count = open_many(client, 128 * MiB, &error);
        assert_true(count >= 1 && count < MANY);
        print_message("%u heaps in 2 GiB of address space, then %s\n", count, morph_error_name(error));
        assert_error(error, MORPH_EMEMORY);
        for (unsigned i = 0; i < count; i++)
            goes_on(&client[i]);
        for (unsigned i = 0; i < count; i++)
            client_close(&client[i]);
        assert_true(test_wait_until(client_try(&client[0], "later", 128 * MiB) == 0, 5000));
        client_close(&client[0]);
        assert_true(test_wait_until(test_heaps() == 0, 5000));
    }
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(out_of_descriptors),
        test_case(out_of_descriptors_for_segments),
        test_case(out_of_address_space),
    };
    return test_run(cases);
}
