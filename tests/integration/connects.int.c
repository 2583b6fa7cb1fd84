/* connects.int.c — ten thousand connects, one after another and many at once: then an ordinary open works, and nothing is left. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/layout.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* Descriptors that a process has open. */
static unsigned descriptors_of(pid_t pid)
{
    char command[64];
    unsigned count = 0;
    snprintf(command, sizeof command, "ls /proc/%d/fd | wc -l", (int)pid);
    FILE *pipe = popen(command, "re");
    if (pipe && fscanf(pipe, "%u", &count) != 1)
        count = 0;
    if (pipe)
        pclose(pipe);
    return count;
}

static void open_works_and_nothing_is_left(struct test_daemon *daemon, unsigned descriptors)
{
    struct client client = client_open("after", 8 * MiB);
    morph_arena *arena;
    assert_ok(morph_arena_new(client.me, &arena));
    assert_non_null(morph_arena_bytes(arena, MiB));
    morph_arena_free(arena);
    client_close(&client);
    assert_true(test_wait_until(test_heaps() == 0 && test_stat("connections") == 1, 10000));
    /* Warm segments have a descriptor each and come and go; a connection's descriptors would be thousands. */
    assert_true(test_wait_until(descriptors_of(daemon->pid) <= descriptors + 16, 10000));
}

static void one_after_another(void **state)
{
    unsigned many = 10000 / (test_sanitized() ? 10 : 1);
    struct test_daemon *daemon = test_daemon_start(NULL);
    close(wire_hello(NULL));
    unsigned descriptors = descriptors_of(daemon->pid);
    uint64_t before = test_process_private_bytes(daemon->pid);
    for (unsigned i = 0; i < many; i++) {
        int fd = i % 2 ? wire_connect(NULL) : wire_hello(NULL);
        assert_true(fd >= 0);
        close(fd);
    }
    open_works_and_nothing_is_left(daemon, descriptors);
    if (!test_sanitized())
        assert_true(test_process_private_bytes(daemon->pid) < before + 4 * MiB);
    test_daemon_stop(daemon);
}

static void heaps_one_after_another(void **state)
{
    unsigned many = 2000 / (test_sanitized() ? 10 : 1);
    struct test_daemon *daemon = test_daemon_start("--pool-max=16M", NULL);    /* two thousand heaps a second would keep many warm */
    for (unsigned i = 0; i < 50; i++) {
        struct client client = client_open("first", 4 * MiB);
        client_close(&client);
    }
    unsigned descriptors = descriptors_of(daemon->pid);
    uint64_t before = test_process_private_bytes(daemon->pid);
    for (unsigned i = 0; i < many; i++) {
        struct client client = client_open("one of many", 4 * MiB);
        client_close(&client);
    }
    open_works_and_nothing_is_left(daemon, descriptors);
    if (!test_sanitized())
        assert_true(test_process_private_bytes(daemon->pid) < before + 4 * MiB);
    test_daemon_stop(daemon);
}

/* Who asks for a heap and does not wait for it. */
static void opens_and_hangs_up(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-max=16M", NULL);
    close(wire_hello(NULL));
    unsigned descriptors = descriptors_of(daemon->pid);
    unsigned many = 500 / (test_sanitized() ? 10 : 1);
    for (unsigned i = 0; i < many; i++) {
        struct wire_packet packet;
        int fd = wire_connect(NULL);
        assert_true(fd >= 0);
        wire_packet_init(&packet, WIRE_HELLO, 1, 8);
        wire_field_u64(&packet, "version", WIRE_VERSION);
        wire_field_u64(&packet, "features", 0);
        wire_field_u64(&packet, "layout", MM_LAYOUT_VERSION);
        wire_field_bool(&packet, "open", true);
        wire_field_u64(&packet, "limit_bytes", 4 * MiB);
        wire_field_u64(&packet, "reserve_bytes", 8 * MiB);
        wire_field_u64(&packet, "client_base", 64 * MiB);
        wire_field_u64(&packet, "threads", 1);
        assert_int_equal(wire_packet_send(fd, &packet), 0);
        close(fd);
    }
    open_works_and_nothing_is_left(daemon, descriptors);
    test_daemon_stop(daemon);
}

static void ask_heaps(int fd)
{
    struct wire_packet packet;
    wire_packet_init(&packet, WIRE_HEAPS, 3, 0);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
}

static void hear_heaps(int fd)
{
    for (bool last = false; !last;) {
        struct wire_answer answer;
        assert_int_equal(wire_receive(fd, &answer, 5000), 1);
        assert_int_equal(answer.id, WIRE_REPORT);
        last = wire_u64(&answer.body, "last");
        wire_answer_fini(&answer);
    }
}

/* Many ask for figures while the heap that they are about comes to its end: some of the counting is under way, some has not begun. */
static void asks_while_heaps_end(void **state)
{
    enum { ASKERS = 24 };
    unsigned many = 300 / (test_sanitized() ? 5 : 1);
    struct test_daemon *daemon = test_daemon_start("--pool-max=16M", NULL);
    int fd[ASKERS];
    for (unsigned i = 0; i < ASKERS; i++)
        fd[i] = wire_hello(NULL);
    for (unsigned n = 0; n < many; n++) {
        struct wire_heap heap;
        assert_int_equal(wire_heap_open(&heap, "brief", 4 * MiB), 0);
        for (unsigned i = 0; i < ASKERS; i++) {
            if (i == n % ASKERS)
                assert_int_equal(shutdown(heap.fd, SHUT_RDWR), 0);
            ask_heaps(fd[i]);
        }
        for (unsigned i = 0; i < ASKERS; i++)
            hear_heaps(fd[i]);
        wire_heap_close(&heap);
    }
    for (unsigned i = 0; i < ASKERS; i++)
        close(fd[i]);
    assert_true(test_wait_until(test_heaps() == 0, 5000));
    test_daemon_stop(daemon);
}

static void many_at_once(void **state)
{
    enum { MANY = 2000 };
    static int fd[MANY];
    struct rlimit files;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &files), 0);
    rlim_t soft = files.rlim_cur;
    files.rlim_cur = files.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    if (files.rlim_cur < MANY + 100)
        test_skip("needs %d descriptors; the limit is %llu", MANY + 100, (unsigned long long)files.rlim_cur);
    struct test_daemon *daemon = test_daemon_start(NULL);
    close(wire_hello(NULL));
    unsigned descriptors = descriptors_of(daemon->pid);
    for (unsigned i = 0; i < MANY; i++)
        assert_true((fd[i] = i % 4 ? wire_connect(NULL) : wire_hello(NULL)) >= 0);
    assert_true(test_stat("connections") > MANY / 4);
    struct client client = client_open("in the crowd", 4 * MiB);
    client_close(&client);
    for (unsigned i = 0; i < MANY; i++)
        close(fd[i]);
    open_works_and_nothing_is_left(daemon, descriptors);
    files.rlim_cur = soft;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(one_after_another),
        test_case(heaps_one_after_another),
        test_case(opens_and_hangs_up),
        test_case(asks_while_heaps_end),
        test_case(many_at_once),
    };
    return test_run(cases);
}
