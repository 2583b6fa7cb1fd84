/* patience.int.c — clients that do not read, do not speak, or ask without end: the daemon's memory stays bounded, others are served,
 * and who tries its patience too long is disconnected.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* True once the peer has closed, as far as can be seen without reading. */
static bool hung_up(int fd, int patience_ms)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLRDHUP };
    return poll(&poll_fd, 1, patience_ms * (int)test_slowness()) == 1;
}

static void silent_connections_are_closed(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--hello-timeout=200", NULL);
    int silent = wire_connect(NULL), spoken = wire_hello(NULL);
    uint64_t start = test_now_ns();
    assert_true(hung_up(silent, 3000));
    assert_true(test_now_ns() - start >= 150000000u);
    assert_false(hung_up(spoken, 50));                                      /* who has said hello may be silent */
    close(silent);
    close(spoken);
    struct client client = client_open("after", 4 * MiB);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void many_silent_connections(void **state)
{
    enum { MANY = 300 };
    struct test_daemon *daemon = test_daemon_start("--hello-timeout=300", NULL);
    int fd[MANY];
    for (unsigned i = 0; i < MANY; i++)
        assert_true((fd[i] = wire_connect(NULL)) >= 0);
    struct client client = client_open("served meanwhile", 4 * MiB);
    client_close(&client);
    for (unsigned i = 0; i < MANY; i++) {
        assert_true(hung_up(fd[i], 5000));
        close(fd[i]);
    }
    assert_true(test_wait_until(test_stat("connections") == 1, 3000));
    test_daemon_stop(daemon);
}

/* Asks and asks and reads nothing. Returns the requests that got through before the socket was full, or the peer gone. */
static unsigned flood(int fd, unsigned most)
{
    unsigned sent = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    while (sent < most) {
        struct wire_packet packet;
        wire_packet_init(&packet, WIRE_HEAPS, 7, 1);
        wire_field_bool(&packet, "closed", true);
        int r = wire_packet_send(fd, &packet);
        if (r == 0)
            sent++;
        else if (r != -EAGAIN && r != -ENOBUFS)
            break;
        else if (!test_wait_until(({ struct pollfd p = { .fd = fd, .events = POLLOUT }; poll(&p, 1, 0) == 1; }), 300))
            break;
    }
    return sent;
}

static void who_never_reads_is_disconnected(void **state)
{
    enum { HEAPS = 40 };
    struct test_daemon *daemon = test_daemon_start("--write-timeout=500", NULL);
    struct client client[HEAPS];
    for (unsigned i = 0; i < HEAPS; i++)
        client[i] = client_open("listed", 4 * MiB);
    uint64_t before = test_process_private_bytes(daemon->pid), most = 0;
    int fd = wire_hello(NULL);
    uint64_t start = test_now_ns();
    unsigned sent = flood(fd, 100000);
    print_message("%u requests went in before the daemon stopped reading\n", sent);
    while (!hung_up(fd, 0) && test_now_ns() - start < 10000000000u) {
        uint64_t now = test_process_private_bytes(daemon->pid);
        most = now > most ? now : most;
        assert_int_equal(test_heap_stat(client[0].id, "pid"), getpid());    /* others are served meanwhile */
        struct client passer_by = client_open("passer-by", 4 * MiB);
        client_close(&passer_by);
    }
    assert_true(hung_up(fd, 0));
    if (!test_sanitized())
        assert_true(most < before + 8 * MiB);
    close(fd);
    for (unsigned i = 0; i < HEAPS; i++)
        client_close(&client[i]);
    test_daemon_stop(daemon);
}

/* The same by somebody with a heap: it goes with the connection. */
static void a_heap_goes_with_its_connection(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--write-timeout=300", NULL);
    struct wire_heap heap;
    assert_int_equal(wire_heap_open(&heap, "deaf", 8 * MiB), 0);
    (void)flood(heap.fd, 100000);
    assert_true(hung_up(heap.fd, 10000));
    assert_true(test_wait_until(test_heaps() == 0, 3000));
    wire_heap_close(&heap);
    test_daemon_stop(daemon);
}

/* Who reads slowly, but reads, gets all its answers. */
static void slow_readers_are_not_disconnected(void **state)
{
    enum { HEAPS = 30, ASKED = 200 };
    struct test_daemon *daemon = test_daemon_start("--write-timeout=1000", NULL);
    struct client client[HEAPS];
    for (unsigned i = 0; i < HEAPS; i++)
        client[i] = client_open("listed", 4 * MiB);
    int fd = wire_hello(NULL);
    unsigned sent = flood(fd, ASKED), lists = 0, parts = 0;
    assert_true(sent > 0);
    assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
    while (lists < sent) {
        struct wire_answer answer;
        assert_int_equal(wire_receive(fd, &answer, 5000), 1);
        assert_int_equal(answer.id, WIRE_REPORT);
        assert_int_equal(answer.seq, 7);
        bool last = wire_u64(&answer.body, "last");
        lists += last;
        parts += !last;
        wire_answer_fini(&answer);
        if (parts % 200 == 0)
            test_nap();
    }
    assert_int_equal(parts, sent * HEAPS);
    close(fd);
    for (unsigned i = 0; i < HEAPS; i++)
        client_close(&client[i]);
    test_daemon_stop(daemon);
}

/* Half a conversation: the client shuts its sending side. */
static void half_closed_connections_end(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    int fd = wire_hello(NULL);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    assert_true(hung_up(fd, 3000));
    close(fd);
    assert_true(test_wait_until(test_stat("connections") == 1, 3000));
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(silent_connections_are_closed),
        test_case(many_silent_connections),
        test_case(who_never_reads_is_disconnected),
        test_case(a_heap_goes_with_its_connection),
        test_case(slow_readers_are_not_disconnected),
        test_case(half_closed_connections_end),
    };
    return test_run(cases);
}
