/* absent.int.c — the daemon is absent, may not be reached, is of another version, or answers nonsense: one clear error each. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm/layout.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

/* ---- Absent and forbidden ---- */

static void nobody_listens(void **state)
{
    char dir[64];
    morph_heap *heap = NULL;
    test_dir_make(dir, 0);
    setenv("XDG_RUNTIME_DIR", dir, 1);
    assert_error(morph_heap_open(&heap, &(morph_options){ .no_autospawn = true }), MORPH_ENODAEMON);
    assert_null(heap);
    unsetenv("XDG_RUNTIME_DIR");
    test_dir_remove(dir);
}

static int open_expecting(void *context, struct test_parent parent)
{
    struct client client;
    child_check_int(client_try(&client, "visitor", 4 * MiB), *(int *)context);
    return 0;
}

static void other_users_are_kept_out_by_the_mode(void **state)
{
    if (geteuid() != 0)
        test_skip("needs root, to act as another user");
    int permission = MORPH_EPERMISSION, fine = 0;
    struct test_daemon *daemon = test_daemon_start("--socket-mode=0600", NULL);
    assert_int_equal(test_child_run(test_user_nobody(), open_expecting, &permission), 0);
    assert_int_equal(test_child_run((uid_t)-1, open_expecting, &fine), 0);
    test_daemon_stop(daemon);
    daemon = test_daemon_start("--socket-mode=0666", NULL);
    assert_int_equal(test_child_run(test_user_nobody(), open_expecting, &fine), 0);
    test_daemon_stop(daemon);
}

static int look_at_everything(void *context, struct test_parent parent)
{
    uint64_t foreign = *(uint64_t *)context;
    struct client own;
    child_check_int(client_try(&own, "own", 4 * MiB), 0);
    int fd = wire_hello(NULL);
    static const unsigned questions[] = { WIRE_HEAPS, WIRE_TYPES };
    for (unsigned i = 0; i < 2; i++) {
        struct wire_packet packet;
        struct wire_answer answer;
        wire_packet_init(&packet, questions[i], 5, 1);
        wire_field_u64(&packet, "heap", foreign);
        child_check_int(wire_packet_send(fd, &packet), 0);
        child_check_int(wire_receive(fd, &answer, 5000), 1);
        if (answer.id == WIRE_ERROR) {
            uint64_t error = wire_u64(&answer.body, "error");
            child_check(error == -MORPH_EPERMISSION || error == -MORPH_ENOHEAP);
        } else {
            child_check(wire_field(&answer.body, "body") == NULL);          /* an empty list is as good a wall */
        }
        wire_answer_fini(&answer);
    }
    return 0;
}

/* Other users' heaps are not for everybody to see. */
static void other_users_heaps_are_hidden(void **state)
{
    if (geteuid() != 0)
        test_skip("needs root, to act as another user");
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("private", 4 * MiB);
    assert_int_equal(test_child_run(test_user_nobody(), look_at_everything, &client.id), 0);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void an_ordinary_user_runs_it(void **state)
{
    if (geteuid() != 0)
        test_skip("needs root, to become an ordinary user; the other tests cover it then");
    struct test_daemon *daemon = test_daemon_start_as(test_user_nobody(), NULL);
    int fine = 0, in_tmp = strncmp(daemon->dir, "/tmp/", 5) == 0 ? MORPH_EPERMISSION : 0;
    assert_int_equal(test_child_run(test_user_nobody(), open_expecting, &fine), 0);
    assert_int_equal(test_child_run((uid_t)-1, open_expecting, &in_tmp), 0);    /* anybody could have made that directory in /tmp */
    assert_true(test_wait_until(test_heaps() == 0, 2000));
    test_daemon_stop(daemon);
}

/* ---- Another version: a daemon that this test plays ---- */

struct fake {
    int         listener;
    const char *answer;
    size_t      answer_bytes;
    bool        silent;
};

static void *fake_run(void *context)
{
    struct fake *fake = context;
    char hello[4096];
    int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return NULL;
    if (recv(fd, hello, sizeof hello, 0) > 0 && !fake->silent)
        (void)!send(fd, fake->answer, fake->answer_bytes, MSG_NOSIGNAL);
    (void)!recv(fd, hello, sizeof hello, 0);                                /* until the client goes */
    close(fd);
    return NULL;
}

/* What morphmem_heap_open() makes of a daemon that answers `packet` (NULL: nothing, and stays silent). */
static int open_against(struct wire_packet *packet, unsigned timeout_ms)
{
    char dir[64], path[96];
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    pthread_t thread;
    test_dir_make(dir, 0);
    snprintf(path, sizeof path, "%s/socket", dir);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    struct fake fake = { .listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), .silent = packet == NULL };
    if (packet)
        fake.answer = packet->bytes.data, fake.answer_bytes = packet->bytes.size;
    assert_int_equal(bind(fake.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fake.listener, 5), 0);
    assert_int_equal(pthread_create(&thread, NULL, fake_run, &fake), 0);
    morph_heap *heap = NULL;
    int r = morph_heap_open(&heap, &(morph_options){ .socket = path, .no_autospawn = true, .timeout_ms = timeout_ms });
    assert_true(r < 0);
    assert_null(heap);
    assert_int_equal(pthread_join(thread, NULL), 0);                        /* it ends because the client has hung up */
    close(fake.listener);
    test_dir_remove(dir);
    if (packet)
        wire_packet_fini(packet);
    return r;
}

static void daemon_of_another_version(void **state)
{
    struct wire_packet packet;
    wire_packet_init(&packet, WIRE_WELCOME, 1, 3);
    wire_field_u64(&packet, "version", 77);
    wire_field_u64(&packet, "features", 0);
    wire_field_u64(&packet, "daemon_pid", 1);
    assert_error(open_against(&packet, 2000), MORPH_EVERSION);
    wire_packet_init(&packet, WIRE_ERROR, 1, 2);
    wire_field_u64(&packet, "error", -MORPH_EVERSION);
    wire_field_text(&packet, "text", "too old", 7);
    assert_error(open_against(&packet, 2000), MORPH_EVERSION);
}

static void daemon_that_refuses(void **state)
{
    static const int errors[] = { MORPH_EQUOTA, MORPH_EBUDGET, MORPH_EFILES, MORPH_EPERMISSION };
    for (unsigned i = 0; i < 4; i++) {
        struct wire_packet packet;
        wire_packet_init(&packet, WIRE_ERROR, 1, 1);
        wire_field_u64(&packet, "error", (uint64_t)-errors[i]);
        assert_error(open_against(&packet, 2000), errors[i]);
    }
}

static void daemon_that_talks_nonsense(void **state)
{
    static const struct { const char *bytes; size_t count; } nonsense[] = {
        { "\xc1", 1 }, { "hello", 5 }, { "\x93\x02\x01\x80", 4 }, { "\x93\x03\x01\x80", 4 }, { "\x90", 1 }, { "\x93\x02\x01", 3 },
        { "\x93\x02\x01\xdf\xff\xff\xff\xff", 8 },
    };
    for (unsigned i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        struct wire_packet packet;
        msgpack_sbuffer_init(&packet.bytes);
        msgpack_sbuffer_write(&packet.bytes, nonsense[i].bytes, nonsense[i].count);
        assert_error(open_against(&packet, 2000), MORPH_EPROTOCOL);
    }
    struct wire_packet packet;
    wire_packet_init(&packet, WIRE_WELCOME, 1, 5);                          /* a heap, but no descriptors with it */
    wire_field_u64(&packet, "version", WIRE_VERSION);
    wire_field_u64(&packet, "features", 0);
    wire_field_u64(&packet, "daemon_pid", 1);
    wire_field_u64(&packet, "heap", 1);
    wire_field_u64(&packet, "control_bytes", 1 << 20);
    assert_error(open_against(&packet, 2000), MORPH_EPROTOCOL);
}

static void daemon_that_says_nothing(void **state)
{
    uint64_t start = test_now_ns();
    assert_error(open_against(NULL, 300), MORPH_ETIMEOUT);
    uint64_t waited_ms = (test_now_ns() - start) / 1000000;
    assert_true(waited_ms >= 250 && waited_ms < 3000);
}

/* ---- Another version: a client that this test plays ---- */

static void hello_expecting(uint64_t version, uint64_t layout, bool open, int expected)
{
    struct wire_packet packet;
    struct wire_answer answer;
    int fd = wire_connect(NULL);
    assert_true(fd >= 0);
    wire_packet_init(&packet, WIRE_HELLO, 9, open ? 8 : 3);
    wire_field_u64(&packet, "version", version);
    wire_field_u64(&packet, "features", UINT64_MAX);
    wire_field_u64(&packet, "layout", layout);
    if (open) {
        wire_field_bool(&packet, "open", true);
        wire_field_u64(&packet, "limit_bytes", 4 * MiB);
        wire_field_u64(&packet, "reserve_bytes", 8 * MiB);
        wire_field_u64(&packet, "client_base", 64 * MiB);
        wire_field_u64(&packet, "threads", 4);
    }
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, 5000), 1);
    assert_int_equal(answer.seq, 9);
    if (expected == 0) {
        assert_int_equal(answer.id, WIRE_WELCOME);
        assert_int_equal(wire_u64(&answer.body, "features"), 1);            /* bits that both know: heaps without moving */
    } else {
        assert_int_equal(answer.id, WIRE_ERROR);
        assert_int_equal(wire_u64(&answer.body, "error"), -expected);
    }
    wire_answer_fini(&answer);
    if (expected != 0)
        assert_int_equal(wire_receive(fd, &answer, 5000), 0);               /* and it hangs up */
    close(fd);
}

static void clients_of_another_version(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    hello_expecting(WIRE_VERSION, MM_LAYOUT_VERSION, false, 0);
    hello_expecting(WIRE_VERSION, MM_LAYOUT_VERSION, true, 0);
    hello_expecting(WIRE_VERSION + 1, MM_LAYOUT_VERSION, false, MORPH_EVERSION);
    hello_expecting(WIRE_VERSION + 1, MM_LAYOUT_VERSION, true, MORPH_EVERSION);
    hello_expecting(0, MM_LAYOUT_VERSION, true, MORPH_EVERSION);
    hello_expecting(WIRE_VERSION, MM_LAYOUT_VERSION + 1, true, MORPH_EVERSION);
    hello_expecting(UINT32_MAX, UINT32_MAX, true, MORPH_EVERSION);
    assert_true(test_wait_until(test_heaps() == 0, 2000));
    struct client client = client_open("after", 4 * MiB);
    client_close(&client);
    test_daemon_stop(daemon);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(nobody_listens),
        test_case(other_users_are_kept_out_by_the_mode),
        test_case(other_users_heaps_are_hidden),
        test_case(an_ordinary_user_runs_it),
        test_case(daemon_of_another_version),
        test_case(daemon_that_refuses),
        test_case(daemon_that_talks_nonsense),
        test_case(daemon_that_says_nothing),
        test_case(clients_of_another_version),
    };
    return test_run(cases);
}
