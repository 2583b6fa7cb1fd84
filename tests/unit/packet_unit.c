/* packet_unit.c — packet.c over real sockets: descriptors arrive once, close-on-exec, or not at all; none is left behind.
 *
 * Each case begins with one connected pair and is counted for open descriptors (tests/lib/check.h) after it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/check.h"
#include "proto/packet.h"

static int pair[2];                     /* the case sends into [0] and receives from [1] */

static int pair_open(void **state)
{
    return test_begin(state) < 0 ? -1 : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
}

static void end_close(int which)
{
    if (pair[which] >= 0)
        close(pair[which]);
    pair[which] = -1;
}

static int pair_close(void **state)
{
    end_close(0);
    end_close(1);
    return test_end(state);
}

static void files_make(int *ret_fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        ret_fds[i] = memfd_create("packet_unit", 0);    /* not close-on-exec: what is received must be so all the same */
        assert_true(ret_fds[i] >= 0);
    }
}

static void files_close(const int *fds, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
}

static void send_raw(const char *text, unsigned fd_count)
{
    int fds[MM_PACKET_FDS] = {0};
    files_make(fds, fd_count);
    assert_int_equal(mm_packet_send(pair[0], text, strlen(text), fds, fd_count), 0);
    files_close(fds, fd_count);
}

struct received {
    char packet[MM_PACKET_MAX];
    size_t bytes;
    int fds[MM_PACKET_FDS];
    unsigned fd_count;
};

static struct received got;

static int receive(size_t capacity, unsigned fd_capacity)
{
    memset(&got, 0xa5, sizeof got);
    return mm_packet_recv(pair[1], got.packet, capacity, &got.bytes, got.fds, fd_capacity, &got.fd_count);
}

/* A refused packet leaves no descriptor, sets nothing, and the next packet comes through. */
static void refused(size_t capacity, unsigned fd_capacity, int expected)
{
    int before = test_descriptors();
    assert_int_equal(receive(capacity, fd_capacity), expected);
    assert_int_equal(test_descriptors(), before);
    assert_int_equal(got.fd_count, 0xa5a5a5a5u);
    for (unsigned i = 0; i < MM_PACKET_FDS; i++)
        assert_int_equal((unsigned)got.fds[i], 0xa5a5a5a5u);
    send_raw("next", 1);
    assert_int_equal(receive(sizeof got.packet, 1), 0);
    assert_int_equal(got.bytes, 4);
    assert_int_equal(got.fd_count, 1);
    files_close(got.fds, 1);
}

static void descriptors_arrive(void **state)
{
    (void)state;
    for (unsigned count = 0; count <= MM_PACKET_FDS; count++) {
        int fds[MM_PACKET_FDS] = {0};
        files_make(fds, count);
        assert_int_equal(mm_packet_send(pair[0], "abc", 3, fds, count), 0);
        assert_int_equal(receive(sizeof got.packet, MM_PACKET_FDS), 0);
        assert_int_equal(got.bytes, 3);
        assert_memory_equal(got.packet, "abc", 3);
        assert_int_equal(got.fd_count, count);
        for (unsigned i = 0; i < count; i++) {
            struct stat sent, arrived;
            assert_int_equal(fstat(fds[i], &sent), 0);
            assert_int_equal(fstat(got.fds[i], &arrived), 0);
            assert_true(sent.st_ino == arrived.st_ino);                         /* the same file, in the same order */
            assert_int_equal(fcntl(got.fds[i], F_GETFD), FD_CLOEXEC);
        }
        files_close(fds, count);
        files_close(got.fds, count);
    }
}

static void surplus_descriptors(void **state)
{
    (void)state;
    for (unsigned count = 1; count <= MM_PACKET_FDS; count++)
        for (unsigned capacity = 0; capacity < count; capacity++) {
            send_raw("many", count);
            refused(sizeof got.packet, capacity, -EMSGSIZE);
        }
}

/* More than any packet may carry: only a peer that does not use packet.c can send them. */
static void descriptors_beyond_any_packet(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    union { struct cmsghdr head; char bytes[CMSG_SPACE(COUNT * sizeof(int))]; } control = {.bytes = {0}};
    struct iovec data = {"x", 1};
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int fds[COUNT];
    files_make(fds, COUNT);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(&control.head), fds, sizeof fds);
    for (unsigned capacity = 0; capacity <= MM_PACKET_FDS; capacity++) {
        assert_int_equal(sendmsg(pair[0], &header, MSG_NOSIGNAL), 1);
        refused(sizeof got.packet, capacity, -EMSGSIZE);
    }
    files_close(fds, COUNT);
}

static void packet_truncated(void **state)
{
    (void)state;
    send_raw("12345", 2);
    refused(4, 2, -EMSGSIZE);
    send_raw("12345", 0);
    refused(4, 0, -EMSGSIZE);
    send_raw("12345", 2);
    assert_int_equal(receive(5, 2), 0);
    assert_int_equal(got.bytes, 5);
    files_close(got.fds, 2);
}

/* No free descriptor in this process: not to be taken for a peer that sends too many. */
static void descriptors_run_out(void **state)
{
    (void)state;
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    send_raw("two", 2);
    int next = dup(pair[0]);                            /* the lowest free number */
    assert_true(next >= 0);
    close(next);
    for (int room = 0; room <= 1; room++) {
        low = (struct rlimit){(rlim_t)(next + room), old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        int r = receive(sizeof got.packet, MM_PACKET_FDS);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(r, -EMFILE);
        int again = dup(pair[0]);
        assert_int_equal(again, next);                  /* nothing was left in the one free place */
        close(again);
        send_raw("two", 2);
    }
    assert_int_equal(receive(sizeof got.packet, MM_PACKET_FDS), 0);
    assert_int_equal(got.fd_count, 2);
    files_close(got.fds, 2);
}

static void peer_gone(void **state)
{
    (void)state;
    send_raw("last words", 1);
    end_close(0);
    assert_int_equal(receive(sizeof got.packet, 1), 0);
    assert_int_equal(got.bytes, 10);
    files_close(got.fds, got.fd_count);
    assert_int_equal(receive(sizeof got.packet, 1), -ECONNRESET);
    assert_int_equal(receive(sizeof got.packet, 1), -ECONNRESET);
    int file;
    files_make(&file, 1);
    assert_int_equal(mm_packet_send(pair[1], "x", 1, &file, 1), -EPIPE);        /* and no SIGPIPE */
    files_close(&file, 1);
}

/* The peer went without reading what we said. */
static void peer_gone_deaf(void **state)
{
    (void)state;
    assert_int_equal(mm_packet_send(pair[1], "hello?", 6, NULL, 0), 0);
    end_close(0);
    assert_int_equal(receive(sizeof got.packet, 0), -ECONNRESET);
}

static void packet_empty(void **state)
{
    (void)state;
    union { struct cmsghdr head; char bytes[CMSG_SPACE(sizeof(int))]; } control = {.bytes = {0}};
    struct msghdr header = {.msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int file;
    files_make(&file, 1);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof file);
    memcpy(CMSG_DATA(&control.head), &file, sizeof file);
    assert_int_equal(sendmsg(pair[0], &header, MSG_NOSIGNAL), 0);
    files_close(&file, 1);
    refused(sizeof got.packet, 1, -ECONNRESET);
}

static void nothing_there(void **state)
{
    (void)state;
    assert_int_equal(receive(sizeof got.packet, MM_PACKET_FDS), -EAGAIN);
}

/* Filled to the brim, nothing is lost or cut, and it can be used again. */
static void socket_full(void **state)
{
    (void)state;
    static char packet[4096];
    unsigned sent = 0, received = 0;
    int r, file;
    files_make(&file, 1);
    do {
        memcpy(packet, &sent, sizeof sent);
        r = mm_packet_send(pair[0], packet, sizeof packet, &file, 1);
    } while (r == 0 && ++sent < 100000);
    files_close(&file, 1);
    assert_int_equal(r, -EAGAIN);
    assert_true(sent > 0);
    while ((r = receive(sizeof got.packet, 1)) == 0) {
        unsigned number;
        memcpy(&number, got.packet, sizeof number);
        assert_int_equal(number, received++);
        assert_int_equal(got.bytes, sizeof packet);
        assert_int_equal(got.fd_count, 1);
        files_close(got.fds, 1);
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(received, sent);
    send_raw("again", 0);
}

static void largest_packet(void **state)
{
    (void)state;
    static char packet[MM_PACKET_MAX + 1];
    memset(packet, 'p', sizeof packet);
    assert_int_equal(mm_packet_send(pair[0], packet, MM_PACKET_MAX, NULL, 0), 0);
    assert_int_equal(receive(sizeof got.packet, 0), 0);
    assert_int_equal(got.bytes, MM_PACKET_MAX);
    assert_memory_equal(got.packet, packet, MM_PACKET_MAX);
    assert_int_equal(mm_packet_send(pair[0], packet, MM_PACKET_MAX + 1, NULL, 0), -EINVAL);
    assert_int_equal(mm_packet_send(pair[0], packet, 0, NULL, 0), -EINVAL);
}

static void too_many_asked(void **state)
{
    (void)state;
    int fds[MM_PACKET_FDS + 1];
    files_make(fds, MM_PACKET_FDS + 1);
    assert_int_equal(mm_packet_send(pair[0], "x", 1, fds, MM_PACKET_FDS + 1), -EINVAL);
    assert_int_equal(receive(sizeof got.packet, MM_PACKET_FDS + 1), -EINVAL);
    assert_int_equal(mm_packet_send(pair[0], "x", 1, (int[]){-1}, 1), -EBADF);
    assert_int_equal(receive(sizeof got.packet, 0), -EAGAIN);
    files_close(fds, MM_PACKET_FDS + 1);
}

/* ---- Messages ---- */

static int receive_message(enum mm_direction from, struct mm_message *ret_message, unsigned fd_capacity)
{
    memset(&got, 0xa5, sizeof got);
    return mm_packet_recv_message(pair[1], from, got.packet, sizeof got.packet, ret_message, got.fds, fd_capacity, &got.fd_count);
}

static void message_round_trip(void **state)
{
    (void)state;
    struct mm_message segment = {.id = MM_MSG_SEGMENT, .as.segment = {.chunk = 1, .chunks = 16}}, message;
    struct mm_message report = {.id = MM_MSG_REPORT, .seq = 3, .as.report = {.last = true, .body = "\x80", .body_bytes = 1}};
    int fds[2];
    files_make(fds, 2);
    assert_int_equal(mm_packet_send_message(pair[0], &segment, fds, 2), -EINVAL);
    assert_int_equal(mm_packet_send_message(pair[0], &segment, fds, 1), 0);
    assert_int_equal(mm_packet_send_message(pair[0], &report, NULL, 0), 0);
    files_close(fds, 2);

    assert_int_equal(receive_message(MM_FROM_DAEMON, &message, MM_PACKET_FDS), 0);
    assert_int_equal(message.id, MM_MSG_SEGMENT);
    assert_int_equal(message.as.segment.chunks, 16);
    assert_int_equal(got.fd_count, 1);
    files_close(got.fds, 1);

    assert_int_equal(receive_message(MM_FROM_DAEMON, &message, MM_PACKET_FDS), 0);
    assert_int_equal(message.id, MM_MSG_REPORT);
    assert_int_equal(message.seq, 3);
    assert_memory_equal(message.as.report.body, "\x80", 1);
    assert_int_equal(got.fd_count, 0);
    assert_int_equal(receive_message(MM_FROM_DAEMON, &message, MM_PACKET_FDS), -EAGAIN);
}

static void message_not_encoded(void **state)
{
    (void)state;
    struct mm_message message = {.id = 127};
    assert_int_equal(mm_packet_send_message(pair[0], &message, NULL, 0), -EINVAL);
    assert_int_equal(receive(sizeof got.packet, 0), -EAGAIN);
}

/* Packets that are no good as messages take their descriptors with them. */
static void message_refused(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        unsigned fd_count;
        int expected;
    } bad[] = {
        {"\x93\x03\x01\x80", 1, -EPROTO},               /* OK carries none */
        {"\x93\x05\x01\x82\xa5" "chunk\x01\xa6" "chunks\x01", 2, -EPROTO},      /* SEGMENT carries one */
        {"\x93\x03\x01\x90", 2, -EPROTO},
        {"\x93\x7f\x01\x80", 2, -ENOMSG},
        {"\x93\x10\x01\x80", 2, -EBADMSG},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct mm_message message;
        send_raw(bad[i].packet, bad[i].fd_count);
        int before = test_descriptors();
        assert_int_equal(receive_message(MM_FROM_DAEMON, &message, MM_PACKET_FDS), bad[i].expected);
        assert_int_equal(test_descriptors(), before);
        assert_int_equal(message.id, bad[i].packet[1]);
        assert_int_equal(message.seq, 1);
    }
}

#define pair_case(function) cmocka_unit_test_setup_teardown(function, pair_open, pair_close)

int main(void)
{
    const struct CMUnitTest cases[] = {
        pair_case(descriptors_arrive),
        pair_case(surplus_descriptors),
        pair_case(descriptors_beyond_any_packet),
        pair_case(packet_truncated),
        pair_case(descriptors_run_out),
        pair_case(peer_gone),
        pair_case(peer_gone_deaf),
        pair_case(packet_empty),
        pair_case(nothing_there),
        pair_case(socket_full),
        pair_case(largest_packet),
        pair_case(too_many_asked),
        pair_case(message_round_trip),
        pair_case(message_not_encoded),
        pair_case(message_refused),
    };
    return test_run(cases);
}
