/* hostile_messages.int.c — malformed, oversized, truncated, out-of-order and random packets: the daemon answers ERROR or hangs up,
 * and goes on serving others, who notice nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/layout.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

static struct test_daemon *served_by;
static struct client bystander;
static morph_arena *arena;

static void begin(void)
{
    served_by = test_daemon_start(NULL);
    bystander = client_open("bystander", 32 * MiB);
    assert_ok(morph_arena_new(bystander.me, &arena));
}

static void others_are_served(void)
{
    assert_non_null(morph_arena_bytes(arena, 70000));
    morph_arena_reset(arena);
    assert_int_equal(test_heap_stat(bystander.id, "pid"), getpid());
    struct client client = client_open("passer-by", 4 * MiB);
    client_close(&client);
}

static void end(void)
{
    others_are_served();
    morph_arena_free(arena);
    client_close(&bystander);
    assert_true(test_wait_until(test_heaps() == 0, 3000));
    test_daemon_stop(served_by);
}

/* Reads until the daemon hangs up or says nothing for a while; everything it says must be a proper packet. True if it hung up. The
 * last error number that it named is stored. */
static bool drain(int fd, unsigned patience_ms, uint64_t *ret_error)
{
    struct wire_answer answer;
    int r;
    *ret_error = 0;
    while ((r = wire_receive(fd, &answer, patience_ms)) == 1) {
        if (answer.id == WIRE_ERROR)
            *ret_error = wire_u64(&answer.body, "error");
        wire_answer_fini(&answer);
    }
    assert_true(r == 0 || r == -ETIMEDOUT || r == -EPIPE);
    return r != -ETIMEDOUT;
}

/* Sends bytes as the first packet, or after a proper hello. Expects ERROR PROTOCOL and the end of the connection. */
static void expect_refused(const char *bytes, size_t count, bool after_hello)
{
    uint64_t error;
    int fd = after_hello ? wire_hello(NULL) : wire_connect(NULL);
    assert_true(fd >= 0);
    (void)wire_send(fd, bytes, count, NULL, 0);
    assert_true(drain(fd, 3000, &error));
    assert_true(error == 0 || error == -MORPH_EPROTOCOL);
    close(fd);
}

#define BYTES(text) { text, sizeof(text) - 1 }

static void malformed_packets(void **state)
{
    static const struct { const char *bytes; size_t count; } malformed[] = {
        BYTES("\x00"), BYTES("\xc1"), BYTES("\x80"), BYTES("\x90"), BYTES("\x91\x01"), BYTES("\x92\x01\x01"), BYTES("\x94\x01\x01\x80\x80"),
        BYTES("\x93\x01\x01\x90"), BYTES("\x93\x01\x01\xc0"), BYTES("\x93\xa1\x31\x01\x80"), BYTES("\x93\xff\x01\x80"), BYTES("\x93\x01\xff\x80"),
        BYTES("\x93\x01\x01\x80\x00"), BYTES("\x93\x01\x01"), BYTES("\x93\x01"), BYTES("\x93"), BYTES("\xdc\xff\xff"), BYTES("\xdd\xff\xff\xff\xff"),
        BYTES("\x93\x01\x01\xdf\xff\xff\xff\xff"), BYTES("\x93\x01\x01\x81"), BYTES("\x93\x01\x01\x81\x01\x01"), BYTES("\x93\x01\x01\x81\xa1v"),
        BYTES("\x93\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00\x01\x80"), BYTES("\x93\x01\x01\x81\xdb\xff\xff\xff\xffx"),
        BYTES("\x93\x01\x01\x81\xa7version\xa1x"), BYTES("\x93\x01\x01\x81\xa7version\x01"), BYTES("\x93\x01\x01\x80"),
        BYTES("\x93\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x01\x80"),
    };
    begin();
    for (unsigned i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        expect_refused(malformed[i].bytes, malformed[i].count, false);
        if (malformed[i].bytes[0] != '\x93' || malformed[i].count < 4 || (unsigned char)malformed[i].bytes[1] != 0xcf)
            expect_refused(malformed[i].bytes, malformed[i].count, true);
    }
    assert_true(test_stat("letters_bad") >= sizeof malformed / sizeof malformed[0]);
    end();
}

static void deep_and_large_packets(void **state)
{
    static char bytes[300000];
    begin();
    memset(bytes, '\x91', sizeof bytes);                                        /* arrays in arrays in arrays */
    memcpy(bytes, "\x93\x01\x01", 3);
    expect_refused(bytes, 1000, false);
    expect_refused(bytes, 60000, true);
    int fd = wire_connect(NULL);                                                /* larger than a packet may be */
    uint64_t error;
    (void)wire_send(fd, bytes, 65537, NULL, 0);
    (void)wire_send(fd, bytes, 150000, NULL, 0);
    assert_true(drain(fd, 3000, &error));
    close(fd);
    struct wire_packet packet;                                                  /* text beyond its bound */
    char *name = malloc(60000);
    assert_non_null(name);
    memset(name, 'n', 60000);
    static const size_t lengths[] = { 64, 128, 1000, 60000 };
    for (unsigned i = 0; i < 4; i++) {
        wire_packet_init(&packet, WIRE_HELLO, 1, 4);
        wire_field_u64(&packet, "version", WIRE_VERSION);
        wire_field_u64(&packet, "features", 0);
        wire_field_u64(&packet, "layout", MM_LAYOUT_VERSION);
        wire_field_text(&packet, "program", name, lengths[i]);
        expect_refused(packet.bytes.data, packet.bytes.size, false);
        wire_packet_fini(&packet);
    }
    free(name);
    end();
}

/* Every prefix of a proper HELLO that opens a heap. */
static void truncated_packets(void **state)
{
    struct wire_packet packet;
    begin();
    wire_packet_init(&packet, WIRE_HELLO, 1, 7);
    wire_field_u64(&packet, "version", WIRE_VERSION);
    wire_field_u64(&packet, "features", 0);
    wire_field_u64(&packet, "layout", MM_LAYOUT_VERSION);
    wire_field_bool(&packet, "open", true);
    wire_field_text(&packet, "name", "truncated", 9);
    wire_field_u64(&packet, "limit_bytes", 4 * MiB);
    wire_field_u64(&packet, "client_base", 2 * MiB);
    for (size_t count = 1; count < packet.bytes.size; count++)
        expect_refused(packet.bytes.data, count, false);
    wire_packet_fini(&packet);
    int fd = wire_connect(NULL);                                                /* an empty packet is the end of a stream, or nothing */
    uint64_t error;
    (void)wire_send(fd, "", 0, NULL, 0);
    (void)drain(fd, 200, &error);
    close(fd);
    end();
}

/* Fields that HELLO must not accept when it opens a heap. */
static void impossible_heaps(void **state)
{
    static const struct { uint64_t mode, limit, reserve, base, threads; } impossible[] = {
        { 4, 4 * MiB, 8 * MiB, 64 * MiB, 4 }, { UINT32_MAX, 4 * MiB, 8 * MiB, 64 * MiB, 4 }, { 0, 1, 8 * MiB, 64 * MiB, 4 },
        { 0, 16 * MiB, 8 * MiB, 64 * MiB, 4 }, { 0, UINT64_MAX, UINT64_MAX, 64 * MiB, 4 }, { 0, 4 * MiB, 8 * MiB, 64 * MiB + 1, 4 },
        { 0, 4 * MiB, 8 * MiB, UINT64_MAX - 4 * MiB + 1, 4 }, { 0, 4 * MiB, (uint64_t)1 << 60, 64 * MiB, 4 }, { 0, 4 * MiB, 8 * MiB + 1, 64 * MiB, 4 },
        { 0, 4 * MiB, 8 * MiB, 0, 4 }, { 0, 4 * MiB, 8 * MiB, 64 * MiB, 1025 }, { 0, 4 * MiB, 8 * MiB, 64 * MiB, UINT32_MAX },
    };
    begin();
    for (unsigned i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        struct wire_packet packet;
        struct wire_answer answer;
        int fd = wire_connect(NULL);
        wire_packet_init(&packet, WIRE_HELLO, 1, 9);
        wire_field_u64(&packet, "version", WIRE_VERSION);
        wire_field_u64(&packet, "features", 0);
        wire_field_u64(&packet, "layout", MM_LAYOUT_VERSION);
        wire_field_bool(&packet, "open", true);
        wire_field_u64(&packet, "mode", impossible[i].mode);
        wire_field_u64(&packet, "limit_bytes", impossible[i].limit);
        wire_field_u64(&packet, "reserve_bytes", impossible[i].reserve);
        wire_field_u64(&packet, "client_base", impossible[i].base);
        wire_field_u64(&packet, "threads", impossible[i].threads);
        assert_int_equal(wire_packet_send(fd, &packet), 0);
        assert_int_equal(wire_receive(fd, &answer, 3000), 1);
        if (answer.id != WIRE_ERROR)
            fail_msg("impossible heap %u was opened", i);
        wire_answer_fini(&answer);
        close(fd);
    }
    assert_true(test_wait_until(test_heaps() == 1, 2000));
    end();
}

/* ---- Every message in every state ---- */

/* A well-formed packet of each kind, with plausible fields. */
static void packet_of(unsigned id, struct wire_packet *packet)
{
    static const uint32_t list[] = { 0, 8 };
    switch (id) {
    case WIRE_HELLO:
        wire_packet_init(packet, id, 4, 3);
        wire_field_u64(packet, "version", WIRE_VERSION);
        wire_field_u64(packet, "features", 0);
        wire_field_u64(packet, "layout", MM_LAYOUT_VERSION);
        break;
    case WIRE_WELCOME:
        wire_packet_init(packet, id, 4, 3);
        wire_field_u64(packet, "version", WIRE_VERSION);
        wire_field_u64(packet, "features", 0);
        wire_field_u64(packet, "daemon_pid", 1);
        break;
    case WIRE_ERROR:
        wire_packet_init(packet, id, 4, 1);
        wire_field_u64(packet, "error", 1);
        break;
    case WIRE_SEGMENT:
        wire_packet_init(packet, id, 4, 2);
        wire_field_u64(packet, "chunk", 0);
        wire_field_u64(packet, "chunks", 1);
        break;
    case WIRE_TYPE:
        wire_packet_init(packet, id, 4, 3);
        wire_field_text(packet, "name", "node", 4);
        wire_field_u64(packet, "bytes", 24);
        wire_field_list(packet, "refs", list, 2);
        break;
    case WIRE_TYPE_ID:
        wire_packet_init(packet, id, 4, 1);
        wire_field_u64(packet, "type", 1);
        break;
    case WIRE_TYPES:
        wire_packet_init(packet, id, 4, 1);
        wire_field_u64(packet, "heap", 1);
        break;
    case WIRE_ROOTS:
        wire_packet_init(packet, id, 4, 5);
        wire_field_u64(packet, "slot", 0);
        wire_field_u64(packet, "set", 1);
        wire_field_u64(packet, "total", 1);
        wire_field_u64(packet, "at", 0);
        wire_field_list(packet, "words", list, 2);
        break;
    case WIRE_ROOTS_GET:
        wire_packet_init(packet, id, 4, 3);
        wire_field_u64(packet, "slot", 0);
        wire_field_u64(packet, "set", 1);
        wire_field_u64(packet, "at", 0);
        break;
    case WIRE_ROOTS_MOVED:
        wire_packet_init(packet, id, 4, 3);
        wire_field_u64(packet, "total", 0);
        wire_field_u64(packet, "at", 0);
        wire_field_u64(packet, "epoch", 0);
        break;
    case WIRE_COLLECT:
        wire_packet_init(packet, id, 4, 2);
        wire_field_u64(packet, "heap", 1);
        wire_field_u64(packet, "kind", 1);
        break;
    case WIRE_LOG:
        wire_packet_init(packet, id, 4, 1);
        wire_field_u64(packet, "after", 0);
        break;
    case WIRE_PRESSURE:
        wire_packet_init(packet, id, 4, 4);
        wire_field_u64(packet, "level", 90);
        wire_field_u64(packet, "percent", 91);
        wire_field_u64(packet, "granted_bytes", 1);
        wire_field_u64(packet, "limit_bytes", 1);
        break;
    case WIRE_LIMIT:
        wire_packet_init(packet, id, 4, 2);
        wire_field_u64(packet, "heap", 1);
        wire_field_u64(packet, "limit_bytes", 32 * MiB);
        break;
    case WIRE_REPORT:
        wire_packet_init(packet, id, 4, 1);
        wire_field_bool(packet, "last", true);
        break;
    default:
        wire_packet_init(packet, id, 4, 0);                                     /* no required fields, or an unknown id */
        break;
    }
}

enum talk_state { BEFORE_HELLO, AFTER_HELLO, WITH_HEAP, TALK_STATES };

/* Says message `id` in a state; the daemon answers something proper, hangs up, or both. */
static uint64_t say(unsigned id, enum talk_state in, bool *ret_hung_up)
{
    struct wire_heap heap = { .fd = -1 };
    struct wire_packet packet;
    struct wire_answer answer;
    uint64_t error = 0;
    if (in == WITH_HEAP)
        assert_int_equal(wire_heap_open(&heap, "talker", 4 * MiB), 0);
    int fd = in == WITH_HEAP ? heap.fd : in == AFTER_HELLO ? wire_hello(NULL) : wire_connect(NULL);
    packet_of(id, &packet);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    int r = wire_receive(fd, &answer, 3000);
    if (r == 1) {
        error = answer.id == WIRE_ERROR ? wire_u64(&answer.body, "error") : 0;
        wire_answer_fini(&answer);
        struct pollfd poll_fd = { .fd = fd, .events = POLLRDHUP };
        if (error == -MORPH_EPROTOCOL || error == -MORPH_EVERSION)
            *ret_hung_up = poll(&poll_fd, 1, 3000) == 1;
        else
            *ret_hung_up = false;
    } else {
        assert_int_equal(r, 0);
        *ret_hung_up = true;
    }
    if (in == WITH_HEAP)
        wire_heap_close(&heap);
    else
        close(fd);
    return error;
}

static void every_message_in_every_state(void **state)
{
    static const unsigned from_daemon[] = { WIRE_WELCOME, WIRE_OK, WIRE_ERROR, WIRE_SEGMENT, WIRE_TYPE_ID, WIRE_REPORT, WIRE_ROOTS_MOVED,
                                            WIRE_PRESSURE };
    static const unsigned questions[] = { WIRE_STATS, WIRE_HEAPS, WIRE_TYPES, WIRE_CONFIG, WIRE_TYPE, WIRE_ROOTS, WIRE_ROOTS_GET, WIRE_COLLECT,
                                          WIRE_LOG, WIRE_LIMIT };
    bool hung_up;
    begin();
    for (unsigned in = 0; in < TALK_STATES; in++)
        for (unsigned id = 0; id < 30; id++) {
            (void)say(id, (enum talk_state)in, &hung_up);                       /* proper in any case: wire_receive checks */
            if (id % 10 == 0)
                others_are_served();
        }
    for (unsigned i = 0; i < sizeof from_daemon / sizeof from_daemon[0]; i++)    /* only the daemon says these */
        for (unsigned in = 0; in < TALK_STATES; in++) {
            uint64_t error = say(from_daemon[i], (enum talk_state)in, &hung_up);
            assert_true(hung_up);
            assert_true(error == -MORPH_EPROTOCOL || error == 0);
        }
    for (unsigned i = 0; i < sizeof questions / sizeof questions[0]; i++) {      /* hello comes first */
        uint64_t error = say(questions[i], BEFORE_HELLO, &hung_up);
        assert_true(hung_up);
        assert_true(error == -MORPH_EPROTOCOL || error == 0);
    }
    assert_int_equal(say(WIRE_HELLO, BEFORE_HELLO, &hung_up), 0);
    (void)say(WIRE_HELLO, AFTER_HELLO, &hung_up);                               /* and only once */
    assert_true(hung_up);
    (void)say(WIRE_HELLO, WITH_HEAP, &hung_up);
    assert_true(hung_up);
    assert_int_equal(say(99, AFTER_HELLO, &hung_up), -MORPH_EUNKNOWN);          /* unknown is not malformed */
    assert_false(hung_up);
    assert_int_equal(say(WIRE_STATS, AFTER_HELLO, &hung_up), 0);
    assert_int_equal(say(WIRE_TYPE, WITH_HEAP, &hung_up), 0);
    assert_true(say(WIRE_TYPE, AFTER_HELLO, &hung_up) != 0 || hung_up);         /* a type needs a heap */
    assert_true(say(WIRE_ROOTS, AFTER_HELLO, &hung_up) != 0 || hung_up);
    assert_int_equal(say(WIRE_LOG, AFTER_HELLO, &hung_up), 0);
    assert_int_equal(say(WIRE_ROOTS, WITH_HEAP, &hung_up), -MORPH_EMODE);       /* nothing is collected in it */
    assert_int_equal(say(WIRE_ROOTS_GET, WITH_HEAP, &hung_up), -MORPH_EMODE);
    assert_int_equal(say(WIRE_LIMIT, AFTER_HELLO, &hung_up), 0);
    assert_int_equal(say(WIRE_COLLECT, AFTER_HELLO, &hung_up), -MORPH_EMODE);   /* the bystander's heap is number 1 */
    assert_false(hung_up);
    end();
}

static void unknown_fields_are_skipped(void **state)
{
    struct wire_packet packet;
    struct wire_answer answer;
    begin();
    int fd = wire_connect(NULL);
    wire_packet_init(&packet, WIRE_HELLO, 1, 5);
    wire_field_text(&packet, "colour", "green", 5);
    wire_field_u64(&packet, "version", WIRE_VERSION);
    wire_field_list(&packet, "from the future", (const uint32_t[]){ 1, 2, 3 }, 3);
    wire_field_u64(&packet, "features", 0);
    wire_field_u64(&packet, "layout", MM_LAYOUT_VERSION);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, 3000), 1);
    assert_int_equal(answer.id, WIRE_WELCOME);
    wire_answer_fini(&answer);
    close(fd);
    end();
}

/* ---- Random bytes ---- */

static void random_bytes(void **state)
{
    static char bytes[70000];
    struct test_random random = test_random_begin("hostile_messages");
    begin();
    for (unsigned i = 0; i < 1500; i++) {
        int fd = i % 3 == 0 ? wire_connect(NULL) : wire_hello(NULL);
        uint64_t error;
        assert_true(fd >= 0);
        for (unsigned n = 0; n < 1 + i % 4; n++) {
            size_t count = test_random_size(&random, i % 50 ? 200 : sizeof bytes);
            test_random_fill(&random, bytes, count);
            if (i % 2)
                memcpy(bytes, "\x93\x06\x02\x83", count < 4 ? count : 4);       /* looks like the head of a packet */
            (void)wire_send(fd, bytes, count, NULL, 0);
        }
        if (i % 10 == 0)
            (void)drain(fd, 20, &error);
        close(fd);
        if (i % 300 == 0)
            others_are_served();
    }
    end();
}

/* Proper packets with a few bytes changed. */
static void spoiled_packets(void **state)
{
    struct test_random random = test_random_begin("hostile_messages");
    begin();
    for (unsigned i = 0; i < 1500; i++) {
        static const unsigned ids[] = { WIRE_HELLO, WIRE_TYPE, WIRE_TYPES, WIRE_HEAPS, WIRE_STATS, WIRE_CONFIG, WIRE_ROOTS, WIRE_ROOTS_GET,
                                        WIRE_COLLECT, WIRE_LOG, WIRE_LIMIT };
        struct wire_packet packet;
        packet_of(ids[test_random_below(&random, sizeof ids / sizeof ids[0])], &packet);
        for (unsigned n = 0; n < 1 + i % 3; n++)
            packet.bytes.data[test_random_below(&random, packet.bytes.size)] ^= (char)(1u << test_random_below(&random, 8));
        int fd = i % 2 ? wire_connect(NULL) : wire_hello(NULL);
        (void)wire_packet_send(fd, &packet);
        uint64_t error;
        if (i % 10 == 0)
            (void)drain(fd, 20, &error);
        close(fd);
        if (i % 300 == 0)
            others_are_served();
    }
    end();
}

/* ---- Descriptors that nobody asked for ---- */

static void unwanted_descriptors_are_closed(void **state)
{
    int files[8], ends[2];
    uint64_t error;
    begin();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    for (unsigned round = 0; round < 200; round++) {
        struct wire_packet packet;
        int fd = round % 2 ? wire_hello(NULL) : wire_connect(NULL);
        for (unsigned i = 0; i < 8; i++)
            files[i] = ends[1];
        packet_of(round % 2 ? WIRE_STATS : WIRE_HELLO, &packet);
        (void)wire_send(fd, packet.bytes.data, packet.bytes.size, files, 1 + round % 8);
        wire_packet_fini(&packet);
        if (round % 20 < 2)
            (void)drain(fd, 50, &error);
        close(fd);
    }
    close(ends[1]);
    struct pollfd poll_fd = { .fd = ends[0], .events = POLLIN };
    assert_int_equal(poll(&poll_fd, 1, 5000 * (int)test_slowness()), 1);
    assert_true(poll_fd.revents & POLLHUP);                                     /* the daemon holds none of them */
    close(ends[0]);
    end();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(malformed_packets),
        test_case(deep_and_large_packets),
        test_case(truncated_packets),
        test_case(impossible_heaps),
        test_case(every_message_in_every_state),
        test_case(unknown_fields_are_skipped),
        test_case(random_bytes),
        test_case(spoiled_packets),
        test_case(unwanted_descriptors_are_closed),
    };
    return test_run(cases);
}
