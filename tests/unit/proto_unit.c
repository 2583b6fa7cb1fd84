/* proto_unit.c — message.c, wire.c and report.c: golden bytes of every message, bounds, and packets from somebody who means harm.
 *
 * Most tests walk the tables, so a new message or field is covered when it is in messages.def; its golden bytes are written here by
 * hand. Every packet is decoded from a copy of exactly its length, so that a sanitizer sees the first byte read beyond it.
 */
#include <errno.h>
#include <msgpack.h>
#include <stdlib.h>

#include "tests/lib/check.h"
#include "proto/message.h"
#include "proto/report.h"
#include "proto/wire.h"
#include "tests/unit/message_helper.h"

/* ---- Counting allocations: the decoder must make none, whatever a packet claims. A sanitizer has its own allocator. ---- */

#if defined __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif

static unsigned long allocations;

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__ \
    && !HAS_FEATURE(address_sanitizer) && !HAS_FEATURE(thread_sanitizer) && !HAS_FEATURE(memory_sanitizer)
#define ALLOCATIONS_COUNTED 1
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
void *malloc(size_t bytes) { allocations++; return __libc_malloc(bytes); }
void *calloc(size_t count, size_t bytes) { allocations++; return __libc_calloc(count, bytes); }
void *realloc(void *old, size_t bytes) { allocations++; return __libc_realloc(old, bytes); }
#else
#define ALLOCATIONS_COUNTED 0
#endif

static int decode(const void *packet, size_t bytes, enum mm_direction from, struct mm_message *ret_message)
{
    static unsigned char *older, *newer;                /* a BLOB borrows: good for this call and the next one */
    free(older);
    older = newer;
    unsigned char *exact = newer = malloc(bytes ? bytes : 1);
    assert_non_null(exact);
    if (bytes)
        memcpy(exact, packet, bytes);
    memset(ret_message, 0xa5, sizeof *ret_message);
    unsigned long before = allocations;
    int r = mm_message_decode(exact, bytes, from, ret_message);
    assert_int_equal(allocations, before);
    return r;
}

static void counting_works(void **state)
{
    (void)state;
    if (!ALLOCATIONS_COUNTED)
        test_skip("allocations cannot be counted under a sanitizer");
    unsigned long before = allocations;
    void *volatile some = malloc(1);
    free(some);
    assert_int_equal(allocations, before + 1);
}

static const struct mm_message_info *info_at(unsigned row)
{
    unsigned count;
    const struct mm_message_info *list = mm_message_list(&count);
    return row < count ? &list[row] : NULL;
}

#define each_message(info) (unsigned row = 0; (info = info_at(row)); row++)

static enum mm_direction other(enum mm_direction from)
{
    return from == MM_FROM_CLIENT ? MM_FROM_DAEMON : MM_FROM_CLIENT;
}

/* ---- Golden bytes ---- */

struct bytes {
    const char *at;
    size_t count;
};
#define BYTES(literal) {literal, sizeof(literal) - 1}

struct golden {
    struct mm_message message;
    struct bytes packet;
};

static const struct golden goldens[] = {
    {{.id = 1, .seq = 1, .as.hello = {.version = 1, .features = 0, .layout = 1}},
     BYTES("\x93\x01\x01\x83" "\xa7" "version" "\x01" "\xa8" "features" "\x00" "\xa6" "layout" "\x01")},
    {{.id = 1, .seq = 0x12345678,
      .as.hello = {.version = 0x80, .features = 0x8000000000000001, .layout = 0x100, .program = "lua5.4", .open = true, .mode = 1,
                   .name = "h", .limit_bytes = 0x10000000, .reserve_bytes = 0x1000000000, .client_base = 0x7f0000200000,
                   .gc_start_bytes = 0x4000000, .pause_target_us = 10000, .threads = 64}},
     BYTES("\x93\x01\xce\x12\x34\x56\x78\x8d"
           "\xa7" "version" "\xcc\x80" "\xa8" "features" "\xcf\x80\x00\x00\x00\x00\x00\x00\x01" "\xa6" "layout" "\xcd\x01\x00"
           "\xa7" "program" "\xa6" "lua5.4" "\xa4" "open" "\xc3" "\xa4" "mode" "\x01" "\xa4" "name" "\xa1" "h"
           "\xab" "limit_bytes" "\xce\x10\x00\x00\x00" "\xad" "reserve_bytes" "\xcf\x00\x00\x00\x10\x00\x00\x00\x00"
           "\xab" "client_base" "\xcf\x00\x00\x7f\x00\x00\x20\x00\x00" "\xae" "gc_start_bytes" "\xce\x04\x00\x00\x00"
           "\xaf" "pause_target_us" "\xcd\x27\x10" "\xa7" "threads" "\x40")},
    {{.id = 1, .seq = 2,                        /* every field: more than fit the short head of a map */
      .as.hello = {.version = 1, .features = 0, .layout = 2, .program = "p", .open = true, .mode = 3, .name = "n", .limit_bytes = 1,
                   .reserve_bytes = 2, .client_base = 3, .gc_start_bytes = 4, .pause_target_us = 5, .threads = 6,
                   .young_min_bytes = 0x200000, .young_max_bytes = 0x100000000, .promotion_age = 15, .no_moving = true}},
     BYTES("\x93\x01\x02\xde\x00\x11"
           "\xa7" "version" "\x01" "\xa8" "features" "\x00" "\xa6" "layout" "\x02" "\xa7" "program" "\xa1" "p" "\xa4" "open" "\xc3"
           "\xa4" "mode" "\x03" "\xa4" "name" "\xa1" "n" "\xab" "limit_bytes" "\x01" "\xad" "reserve_bytes" "\x02"
           "\xab" "client_base" "\x03" "\xae" "gc_start_bytes" "\x04" "\xaf" "pause_target_us" "\x05" "\xa7" "threads" "\x06"
           "\xaf" "young_min_bytes" "\xce\x00\x20\x00\x00" "\xaf" "young_max_bytes" "\xcf\x00\x00\x00\x01\x00\x00\x00\x00"
           "\xad" "promotion_age" "\x0f" "\xa9" "no_moving" "\xc3")},
    {{.id = 2, .seq = 1, .as.welcome = {.version = 1, .features = 0, .daemon_pid = 4711}},
     BYTES("\x93\x02\x01\x83" "\xa7" "version" "\x01" "\xa8" "features" "\x00" "\xaa" "daemon_pid" "\xcd\x12\x67")},
    {{.id = 2, .seq = 1,
      .as.welcome = {.version = 1, .features = 3, .daemon_pid = 1, .heap = 70000, .limit_bytes = 0x200000, .control_bytes = 0x10000,
                     .segment_chunk = {0, 1, 17}, .segment_chunk_count = 3, .segment_chunks = {1, 16, 128},
                     .segment_chunks_count = 3}},
     BYTES("\x93\x02\x01\x88" "\xa7" "version" "\x01" "\xa8" "features" "\x03" "\xaa" "daemon_pid" "\x01"
           "\xa4" "heap" "\xce\x00\x01\x11\x70" "\xab" "limit_bytes" "\xce\x00\x20\x00\x00"
           "\xad" "control_bytes" "\xce\x00\x01\x00\x00" "\xad" "segment_chunk" "\x93\x00\x01\x11"
           "\xae" "segment_chunks" "\x93\x01\x10\xcc\x80")},
    {{.id = 3, .seq = 255}, BYTES("\x93\x03\xcc\xff\x80")},
    {{.id = 4, .seq = 0, .as.error = {.error = 11}}, BYTES("\x93\x04\x00\x81" "\xa5" "error" "\x0b")},
    {{.id = 4, .seq = 2, .as.error = {.error = 9, .text = "this text has just thirty-two b."}},
     BYTES("\x93\x04\x02\x82" "\xa5" "error" "\x09" "\xa4" "text" "\xd9\x20" "this text has just thirty-two b.")},
    {{.id = 5, .seq = 0, .as.segment = {.chunk = 17, .chunks = 128}},
     BYTES("\x93\x05\x00\x82" "\xa5" "chunk" "\x11" "\xa6" "chunks" "\xcc\x80")},
    {{.id = 6, .seq = 3, .as.type = {.name = "pair", .bytes = 16}},
     BYTES("\x93\x06\x03\x82" "\xa4" "name" "\xa4" "pair" "\xa5" "bytes" "\x10")},
    {{.id = 6, .seq = 4,
      .as.type = {.name = "table", .bytes = 24, .refs = {0, 8, 256}, .refs_count = 3, .element_bytes = 16, .element_refs = {0, 8},
                  .element_refs_count = 2}},
     BYTES("\x93\x06\x04\x85" "\xa4" "name" "\xa5" "table" "\xa5" "bytes" "\x18" "\xa4" "refs" "\x93\x00\x08\xcd\x01\x00"
           "\xad" "element_bytes" "\x10" "\xac" "element_refs" "\x92\x00\x08")},
    {{.id = 6, .seq = 5, .as.type = {.name = "eph", .bytes = 16, .refs = {0, 8}, .refs_count = 2, .flags = 2}},
     BYTES("\x93\x06\x05\x84" "\xa4" "name" "\xa3" "eph" "\xa5" "bytes" "\x10" "\xa4" "refs" "\x92\x00\x08" "\xa5" "flags" "\x02")},
    {{.id = 6, .seq = 6,
      .as.type = {.name = "map", .bytes = 40, .storage_at = 8, .storage_bytes = 24, .storage_refs = {0, 32, 8, 36}, .storage_refs_count = 4}},
     BYTES("\x93\x06\x06\x85" "\xa4" "name" "\xa3" "map" "\xa5" "bytes" "\x28" "\xaa" "storage_at" "\x08"
           "\xad" "storage_bytes" "\x18" "\xac" "storage_refs" "\x94\x00\x20\x08\x24")},
    {{.id = 7, .seq = 4, .as.type_id = {.type = 65535}}, BYTES("\x93\x07\x04\x81" "\xa4" "type" "\xcd\xff\xff")},
    {{.id = 8, .seq = 9, .as.roots = {.slot = 3, .set = 0, .total = 0, .at = 0}},
     BYTES("\x93\x08\x09\x84" "\xa4" "slot" "\x03" "\xa3" "set" "\x00" "\xa5" "total" "\x00" "\xa2" "at" "\x00")},
    {{.id = 8, .seq = 9,
      .as.roots = {.slot = 3, .set = 200, .total = 1048576, .at = 512, .words = {0x00200010, 0x7f00, 0, 0}, .words_count = 4}},
     BYTES("\x93\x08\x09\x85" "\xa4" "slot" "\x03" "\xa3" "set" "\xcc\xc8" "\xa5" "total" "\xce\x00\x10\x00\x00"
           "\xa2" "at" "\xcd\x02\x00" "\xa5" "words" "\x94\xce\x00\x20\x00\x10\xcd\x7f\x00\x00\x00")},
    {{.id = 9, .seq = 10, .as.roots_get = {.slot = 3, .set = 200, .at = 512}},
     BYTES("\x93\x09\x0a\x83" "\xa4" "slot" "\x03" "\xa3" "set" "\xcc\xc8" "\xa2" "at" "\xcd\x02\x00")},
    {{.id = 10, .seq = 10, .as.roots_moved = {.total = 513, .at = 512, .epoch = 0x3fffffff, .words = {0x00200010, 0x7f00}, .words_count = 2}},
     BYTES("\x93\x0a\x0a\x84" "\xa5" "total" "\xcd\x02\x01" "\xa2" "at" "\xcd\x02\x00" "\xa5" "epoch" "\xce\x3f\xff\xff\xff"
           "\xa5" "words" "\x92\xce\x00\x20\x00\x10\xcd\x7f\x00")},
    {{.id = 10, .seq = 10, .as.roots_moved = {.total = 0, .at = 0, .epoch = 1}},
     BYTES("\x93\x0a\x0a\x83" "\xa5" "total" "\x00" "\xa2" "at" "\x00" "\xa5" "epoch" "\x01")},
    {{.id = 12, .seq = 0, .as.pressure = {.level = 90, .percent = 93, .granted_bytes = 0x5d0000, .limit_bytes = 0x640000}},
     BYTES("\x93\x0c\x00\x84" "\xa5" "level" "\x5a" "\xa7" "percent" "\x5d" "\xad" "granted_bytes" "\xce\x00\x5d\x00\x00"
           "\xab" "limit_bytes" "\xce\x00\x64\x00\x00")},
    {{.id = 12, .seq = 0, .as.pressure = {.level = 80, .percent = 0, .machine = 85, .granted_bytes = 0, .limit_bytes = 0x40000}},
     BYTES("\x93\x0c\x00\x85" "\xa5" "level" "\x50" "\xa7" "percent" "\x00" "\xa7" "machine" "\x55" "\xad" "granted_bytes" "\x00"
           "\xab" "limit_bytes" "\xce\x00\x04\x00\x00")},
    {{.id = 16, .seq = 5}, BYTES("\x93\x10\x05\x80")},
    {{.id = 17, .seq = 6}, BYTES("\x93\x11\x06\x80")},
    {{.id = 17, .seq = 6, .as.heaps = {.heap = 12, .closed = true}},
     BYTES("\x93\x11\x06\x82" "\xa4" "heap" "\x0c" "\xa6" "closed" "\xc3")},
    {{.id = 18, .seq = 7, .as.types = {.heap = 12}}, BYTES("\x93\x12\x07\x81" "\xa4" "heap" "\x0c")},
    {{.id = 19, .seq = 8}, BYTES("\x93\x13\x08\x80")},
    {{.id = 20, .seq = 6, .as.report = {.last = true}}, BYTES("\x93\x14\x06\x81" "\xa4" "last" "\xc3")},
    {{.id = 20, .seq = 6, .as.report = {.last = false, .body = "\x81\xa2" "id" "\x0c", .body_bytes = 5}},
     BYTES("\x93\x14\x06\x82" "\xa4" "last" "\xc2" "\xa4" "body" "\x81\xa2" "id" "\x0c")},
    {{.id = 21, .seq = 11, .as.collect = {.heap = 12, .kind = 0}},
     BYTES("\x93\x15\x0b\x82" "\xa4" "heap" "\x0c" "\xa4" "kind" "\x00")},
    {{.id = 21, .seq = 11, .as.collect = {.heap = 12, .kind = 2}},
     BYTES("\x93\x15\x0b\x82" "\xa4" "heap" "\x0c" "\xa4" "kind" "\x02")},
    {{.id = 22, .seq = 12}, BYTES("\x93\x16\x0c\x80")},
    {{.id = 22, .seq = 12, .as.log = {.heap = 12, .after = 0x10000}},
     BYTES("\x93\x16\x0c\x82" "\xa4" "heap" "\x0c" "\xa5" "after" "\xce\x00\x01\x00\x00")},
    {{.id = 23, .seq = 13, .as.limit = {.heap = 12, .limit_bytes = 0x100000}},
     BYTES("\x93\x17\x0d\x82" "\xa4" "heap" "\x0c" "\xab" "limit_bytes" "\xce\x00\x10\x00\x00")},
    {{.id = 23, .seq = 13, .as.limit = {.limit_bytes = 0x40000}},
     BYTES("\x93\x17\x0d\x81" "\xab" "limit_bytes" "\xce\x00\x04\x00\x00")},
    {{.id = 4, .seq = 13, .as.error = {.error = 28, .needed_bytes = 0x40000}},
     BYTES("\x93\x04\x0d\x82" "\xa5" "error" "\x1c" "\xac" "needed_bytes" "\xce\x00\x04\x00\x00")},
};
#define GOLDENS (sizeof goldens / sizeof goldens[0])

static enum mm_direction golden_from(const struct golden *golden)
{
    return mm_message_info(golden->message.id)->from;
}

static bool text_inside(const struct bytes *packet, const char *text)
{
    size_t count = strlen(text);
    for (size_t i = 0; i + count <= packet->count; i++)
        if (memcmp(packet->at + i, text, count) == 0)
            return true;
    return false;
}

static bool golden_says(uint32_t id, const char *field)
{
    for (size_t i = 0; i < GOLDENS; i++)
        if (goldens[i].message.id == id && (!field || text_inside(&goldens[i].packet, field)))
            return true;
    return false;
}

static void golden_of_everything(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    for each_message(info) {
        if (!golden_says(info->id, NULL))
            fail_msg("%s has no golden bytes; add them to proto_unit.c", info->name);
        for (unsigned i = 0; i < info->field_count; i++)
            if (!golden_says(info->id, info->fields[i].name))
                fail_msg("%s.%s is in no golden bytes; add it to proto_unit.c", info->name, info->fields[i].name);
    }
}

static void golden_encode(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        unsigned char packet[MM_PACKET_MAX];
        size_t bytes = 0;
        assert_int_equal(mm_message_encode(&goldens[i].message, packet, sizeof packet, &bytes), 0);
        assert_int_equal(bytes, goldens[i].packet.count);
        assert_memory_equal(packet, goldens[i].packet.at, bytes);
    }
}

static void golden_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct mm_message message;
        assert_int_equal(decode(goldens[i].packet.at, goldens[i].packet.count, golden_from(&goldens[i]), &message), 0);
        assert_true(helper_message_equal(&message, &goldens[i].message));
    }
}

static void golden_truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++)
        for (size_t bytes = 0; bytes < goldens[i].packet.count; bytes++) {
            struct mm_message message;
            assert_int_equal(decode(goldens[i].packet.at, bytes, golden_from(&goldens[i]), &message), -EPROTO);
        }
}

static void golden_with_more_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        char packet[1024];
        struct mm_message message;
        assert_true(goldens[i].packet.count < sizeof packet);
        memcpy(packet, goldens[i].packet.at, goldens[i].packet.count);
        packet[goldens[i].packet.count] = '\xc0';
        assert_int_equal(decode(packet, goldens[i].packet.count + 1, golden_from(&goldens[i]), &message), -EPROTO);
    }
}

static void wrong_direction(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++) {
        struct mm_message message;
        assert_int_equal(decode(goldens[i].packet.at, goldens[i].packet.count, other(golden_from(&goldens[i])), &message), -EBADMSG);
        assert_int_equal(message.id, goldens[i].message.id);
        assert_int_equal(message.seq, goldens[i].message.seq);
    }
}

/* ---- Tables ---- */

static void tables(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    unsigned count;
    assert_non_null(mm_message_list(&count));
    assert_true(count > 0);
    assert_null(info_at(count));
    for each_message(info) {
        assert_ptr_equal(mm_message_info(info->id), info);
        assert_true(info->since >= 1 && info->since <= MM_PROTOCOL_VERSION);
        assert_true(info->fds <= MM_PACKET_FDS);
        assert_true(info->struct_bytes <= sizeof((struct mm_message *)0)->as);
        for (unsigned i = 0; i < info->field_count; i++)
            assert_true(info->fields[i].offset < info->struct_bytes && info->fields[i].count_offset < info->struct_bytes);
        assert_null(info->fields[info->field_count].name);
    }
    assert_null(mm_message_info(0));
    assert_null(mm_message_info(11));
    assert_null(mm_message_info(127));
    assert_null(mm_message_info(UINT32_MAX));
    assert_string_equal(mm_message_info(MM_MSG_WELCOME)->name, "WELCOME");
    assert_int_equal(mm_message_info(MM_MSG_WELCOME)->fds, 8);
    assert_int_equal(mm_message_info(MM_MSG_HELLO)->from, MM_FROM_CLIENT);
    assert_int_equal(mm_message_info(MM_MSG_WELCOME)->from, MM_FROM_DAEMON);
    assert_string_equal(mm_message_info(MM_MSG_TYPE)->fields[2].name, "refs");
    assert_int_equal(mm_message_info(MM_MSG_TYPE)->fields[2].bound, 1024);
}

/* ---- Bounds of the encoder ---- */

static void round_trip(const struct mm_message *message)
{
    static unsigned char packet[MM_PACKET_MAX];
    struct mm_message again;
    size_t bytes = 0;
    enum mm_direction from = mm_message_info(message->id)->from;
    assert_int_equal(mm_message_encode(message, packet, sizeof packet, &bytes), 0);
    assert_int_equal(decode(packet, bytes, from, &again), 0);
    assert_true(helper_message_equal(message, &again));
}

static void round_trip_at_bounds(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    for each_message(info) {
        struct mm_message message;
        helper_message_fill(info, &message, NULL);
        round_trip(&message);
    }
}

static void round_trip_random(void **state)
{
    (void)state;
    struct test_random random = test_random_begin("round_trip_random");
    const struct mm_message_info *info;
    for (unsigned i = 0; i < 500; i++)
        for each_message(info) {
            struct mm_message message;
            helper_message_fill(info, &message, &random);
            round_trip(&message);
        }
}

static void encode_into_too_little(void **state)
{
    (void)state;
    for (size_t i = 0; i < GOLDENS; i++)
        for (size_t capacity = 0; capacity <= goldens[i].packet.count; capacity++) {
            bool enough = capacity == goldens[i].packet.count;
            unsigned char *packet = malloc(capacity + 1);
            size_t bytes = 77;
            assert_non_null(packet);
            packet[capacity] = 0x5a;
            assert_int_equal(mm_message_encode(&goldens[i].message, packet, capacity, &bytes), enough ? 0 : -EMSGSIZE);
            assert_int_equal(bytes, enough ? capacity : 77);
            assert_int_equal(packet[capacity], 0x5a);
            free(packet);
        }
}

/* A REPORT with a body of `body_bytes`: one array 32 of small numbers. */
static int encode_body(unsigned char *body, uint32_t body_bytes, unsigned char *packet, size_t capacity, size_t *ret_bytes)
{
    uint32_t elements = body_bytes - 5;
    struct mm_message message = {.id = MM_MSG_REPORT, .seq = 1, .as.report = {.last = true, .body = body, .body_bytes = body_bytes}};
    memset(body, 1, body_bytes);
    body[0] = 0xdd;
    for (unsigned i = 0; i < 4; i++)
        body[1 + i] = (unsigned char)(elements >> (24 - 8 * i));
    return mm_message_encode(&message, packet, capacity, ret_bytes);
}

static void encode_up_to_the_packet(void **state)
{
    (void)state;
    static unsigned char body[MM_PACKET_MAX + 1], packet[2 * MM_PACKET_MAX];
    const uint32_t around = 15;                         /* [20, 1, {last: true, body: ... }] without the body */
    struct mm_message message;
    size_t bytes = 0;
    assert_int_equal(encode_body(body, MM_PACKET_MAX - around, packet, sizeof packet, &bytes), 0);
    assert_int_equal(bytes, MM_PACKET_MAX);
    assert_int_equal(decode(packet, bytes, MM_FROM_DAEMON, &message), 0);
    assert_int_equal(message.as.report.body_bytes, MM_PACKET_MAX - around);
    assert_memory_equal(message.as.report.body, body, MM_PACKET_MAX - around);
    assert_int_equal(encode_body(body, MM_PACKET_MAX - around + 1, packet, sizeof packet, &bytes), -EMSGSIZE);
}

static void encode_invalid(void **state)
{
    (void)state;
    static struct mm_message message;
    const struct mm_message_info *info;
    unsigned char packet[MM_PACKET_MAX];
    size_t bytes;
    message = (struct mm_message){.id = 127};
    assert_int_equal(mm_message_encode(&message, packet, sizeof packet, &bytes), -EINVAL);
    for each_message(info)
        for (unsigned i = 0; i < info->field_count; i++) {
            const struct mm_field_info *field = &info->fields[i];
            char *as = (char *)&message.as;
            helper_message_fill(info, &message, NULL);
            if (field->type == MM_VALUE_TEXT)
                as[field->offset + field->bound] = 'x';
            else if (field->type == MM_VALUE_LIST)
                *(uint32_t *)(as + field->count_offset) = field->bound + 1;
            else if (field->type == MM_VALUE_BLOB)
                *(uint32_t *)(as + field->count_offset) -= 1;
            else
                continue;
            assert_int_equal(mm_message_encode(&message, packet, sizeof packet, &bytes), -EINVAL);
        }
}

/* ---- Packets by hand, field by field ---- */

static int append(void *packet, const char *bytes, size_t count)
{
    struct bytes *to = packet;
    assert_true(to->count + count <= MM_PACKET_MAX);
    memcpy((char *)to->at + to->count, bytes, count);
    to->count += count;
    return 0;
}

static void append_text(struct bytes *packet, const char *text)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, packet, append);
    msgpack_pack_str_with_body(&packer, text, strlen(text));
}

static void append_good(struct bytes *packet, enum mm_value_type type)
{
    static const struct bytes good[] = {
        [MM_VALUE_U32] = BYTES("\x07"), [MM_VALUE_U64] = BYTES("\x07"), [MM_VALUE_BOOL] = BYTES("\xc3"),
        [MM_VALUE_TEXT] = BYTES("\xa1t"), [MM_VALUE_LIST] = BYTES("\x91\x07"), [MM_VALUE_BLOB] = BYTES("\x80"),
    };
    append(packet, good[type].at, good[type].count);
}

/* [id, 9, {`pairs` fields}], where the fields are still to be appended. */
static struct bytes packet_begin(const struct mm_message_info *info, unsigned pairs)
{
    static char room[MM_PACKET_MAX];
    struct bytes packet = {room, 0};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &packet, append);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_uint32(&packer, info->id);
    msgpack_pack_uint32(&packer, 9);
    msgpack_pack_map(&packer, pairs);
    return packet;
}

/* All fields but `without`, with good values. */
static void append_fields(struct bytes *packet, const struct mm_message_info *info, const struct mm_field_info *without)
{
    for (unsigned i = 0; i < info->field_count; i++) {
        if (&info->fields[i] == without)
            continue;
        append_text(packet, info->fields[i].name);
        append_good(packet, info->fields[i].type);
    }
}

static int decode_with(const struct mm_message_info *info, const struct mm_field_info *field, struct bytes value)
{
    struct mm_message message;
    struct bytes packet = packet_begin(info, info->field_count);
    append_fields(&packet, info, field);
    append_text(&packet, field->name);
    append(&packet, value.at, value.count);
    return decode(packet.at, packet.count, info->from, &message);
}

#define U32 (1u << MM_VALUE_U32)
#define U64 (1u << MM_VALUE_U64)
#define BOOL (1u << MM_VALUE_BOOL)
#define TEXT (1u << MM_VALUE_TEXT)
#define LIST (1u << MM_VALUE_LIST)
#define BLOB (1u << MM_VALUE_BLOB)

/* Which kinds of field take which value. */
static const struct {
    unsigned taken_by;
    struct bytes value;
} values[] = {
    {BLOB, BYTES("\xc0")},                                                          /* nil */
    {BLOB | BOOL, BYTES("\xc2")},
    {BLOB | BOOL, BYTES("\xc3")},
    {BLOB | U32 | U64, BYTES("\x00")},
    {BLOB | U32 | U64, BYTES("\x7f")},
    {BLOB | U32 | U64, BYTES("\xcc\xff")},
    {BLOB | U32 | U64, BYTES("\xcd\x00\x01")},                                      /* wider than needed */
    {BLOB | U32 | U64, BYTES("\xce\xff\xff\xff\xff")},
    {BLOB | U32 | U64, BYTES("\xcf\x00\x00\x00\x00\xff\xff\xff\xff")},
    {BLOB | U64, BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x00")},
    {BLOB | U64, BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff")},
    {BLOB | U32 | U64, BYTES("\xd0\x7f")},                                          /* signed, but not negative */
    {BLOB | U32 | U64, BYTES("\xd1\x7f\xff")},
    {BLOB | U32 | U64, BYTES("\xd2\x7f\xff\xff\xff")},
    {BLOB | U64, BYTES("\xd3\x7f\xff\xff\xff\xff\xff\xff\xff")},
    {BLOB, BYTES("\xff")},                                                          /* negative */
    {BLOB, BYTES("\xe0")},
    {BLOB, BYTES("\xd0\x80")},
    {BLOB, BYTES("\xd1\x80\x00")},
    {BLOB, BYTES("\xd2\x80\x00\x00\x00")},
    {BLOB, BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00")},
    {BLOB, BYTES("\xca\x3f\x80\x00\x00")},                                          /* floats */
    {BLOB, BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00")},
    {BLOB | TEXT, BYTES("\xa0")},
    {BLOB | TEXT, BYTES("\xa1t")},
    {BLOB | TEXT, BYTES("\xa1\xff")},                                               /* not UTF-8 */
    {BLOB | TEXT, BYTES("\xd9\x01t")},
    {BLOB | TEXT, BYTES("\xda\x00\x01t")},
    {BLOB | TEXT, BYTES("\xdb\x00\x00\x00\x01t")},
    {BLOB, BYTES("\xa1\x00")},                                                      /* NUL in a text */
    {BLOB, BYTES("\xa3t\x00t")},
    {BLOB, BYTES("\xc4\x01t")},                                                     /* binary */
    {BLOB, BYTES("\xc5\x00\x01t")},
    {BLOB, BYTES("\xc6\x00\x00\x00\x01t")},
    {BLOB, BYTES("\xc7\x01\x05t")},                                                 /* extensions */
    {BLOB, BYTES("\xc8\x00\x01\x05t")},
    {BLOB, BYTES("\xc9\x00\x00\x00\x01\x05t")},
    {BLOB, BYTES("\xd4\x05t")},
    {BLOB, BYTES("\xd5\x05tt")},
    {BLOB, BYTES("\xd6\x05tttt")},
    {BLOB, BYTES("\xd7\x05tttttttt")},
    {BLOB, BYTES("\xd8\x05tttttttttttttttt")},
    {BLOB | LIST, BYTES("\x90")},
    {BLOB | LIST, BYTES("\x92\x01\xce\xff\xff\xff\xff")},
    {BLOB | LIST, BYTES("\xdc\x00\x01\x01")},
    {BLOB | LIST, BYTES("\xdd\x00\x00\x00\x01\x01")},
    {BLOB, BYTES("\x91\xcf\x00\x00\x00\x01\x00\x00\x00\x00")},                      /* element out of bounds, negative, text */
    {BLOB, BYTES("\x92\x01\xff")},
    {BLOB, BYTES("\x91\xa1t")},
    {BLOB, BYTES("\x91\x90")},
    {BLOB, BYTES("\x80")},                                                          /* maps */
    {BLOB, BYTES("\x81\x01\x02")},
    {BLOB, BYTES("\xde\x00\x01\x01\x02")},
    {BLOB, BYTES("\xdf\x00\x00\x00\x01\x01\x02")},
    {0, BYTES("")},                                                                 /* no value */
    {0, BYTES("\xc1")},                                                             /* never used by the format */
    {0, BYTES("\x81\x01\xc1")},
    {0, BYTES("\xcd\x00")},                                                         /* cut short */
    {0, BYTES("\xa2t")},
    {0, BYTES("\x01\x01")},                                                         /* one too many */
};

static void value_of_every_kind(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    for each_message(info)
        for (unsigned i = 0; i < info->field_count; i++)
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                int expected = values[v].taken_by >> info->fields[i].type & 1 ? 0 : -EPROTO;
                int r = decode_with(info, &info->fields[i], values[v].value);
                if (r != expected)
                    fail_msg("%s.%s, value %zu: %d instead of %d", info->name, info->fields[i].name, v, r, expected);
            }
}

static void unknown_field_skipped(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    for each_message(info)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            struct mm_message message, plain;
            struct bytes packet = packet_begin(info, info->field_count);
            append_fields(&packet, info, NULL);
            assert_int_equal(decode(packet.at, packet.count, info->from, &plain), 0);
            packet = packet_begin(info, info->field_count + 1);
            append_text(&packet, "later");
            append(&packet, values[v].value.at, values[v].value.count);
            append_fields(&packet, info, NULL);
            bool good = values[v].taken_by != 0;
            assert_int_equal(decode(packet.at, packet.count, info->from, &message), good ? 0 : -EPROTO);
            if (good)
                assert_true(helper_message_equal(&message, &plain));
        }
}

/* TEXT and LIST at their bound, and one beyond it. */
static void value_over_its_bound(void **state)
{
    (void)state;
    static char room[8192];
    const struct mm_message_info *info;
    for each_message(info)
        for (unsigned i = 0; i < info->field_count; i++)
            for (uint32_t over = 0; info->fields[i].bound > 0 && over <= 1; over++) {
                uint32_t count = info->fields[i].bound + over;
                bool text = info->fields[i].type == MM_VALUE_TEXT;
                memset(room, text ? 't' : 1, sizeof room);
                room[0] = text ? '\xda' : '\xdc';
                room[1] = (char)(count >> 8);
                room[2] = (char)count;
                struct bytes value = {room, 3 + count};
                assert_int_equal(decode_with(info, &info->fields[i], value), over ? -EPROTO : 0);
            }
}

static void field_missing_or_twice(void **state)
{
    (void)state;
    const struct mm_message_info *info;
    for each_message(info)
        for (unsigned i = 0; i < info->field_count; i++) {
            const struct mm_field_info *field = &info->fields[i];
            struct mm_message message;
            struct bytes packet = packet_begin(info, info->field_count - 1);
            append_fields(&packet, info, field);
            assert_int_equal(decode(packet.at, packet.count, info->from, &message), field->required ? -EPROTO : 0);

            packet = packet_begin(info, info->field_count + 1);
            append_text(&packet, field->name);
            append_good(&packet, field->type);
            append_fields(&packet, info, NULL);
            assert_int_equal(decode(packet.at, packet.count, info->from, &message), -EPROTO);
            assert_int_equal(message.id, info->id);
            assert_int_equal(message.seq, 9);           /* the answer can say to what */
        }
}

/* ---- Envelopes, claims and depths ---- */

static const struct {
    int result;
    uint32_t id, seq;
    struct bytes packet;
} envelopes[] = {
    {0, 16, 9, BYTES("\x93\x10\x09\x80")},
    {0, 16, 9, BYTES("\xdc\x00\x03\x10\x09\x80")},
    {0, 16, 9, BYTES("\xdd\x00\x00\x00\x03\xce\x00\x00\x00\x10\xd0\x09\xdf\x00\x00\x00\x00")},
    {-EPROTO, 0, 0, BYTES("")},
    {-EPROTO, 0, 0, BYTES("\xc1")},
    {-EPROTO, 0, 0, BYTES("\x10")},
    {-EPROTO, 0, 0, BYTES("\x80")},
    {-EPROTO, 0, 0, BYTES("\x90")},
    {-EPROTO, 0, 0, BYTES("\x92\x10\x09")},
    {-EPROTO, 0, 0, BYTES("\x94\x10\x09\x80\xc0")},
    {-EPROTO, 0, 0, BYTES("\x93\xff\x09\x80")},
    {-EPROTO, 0, 0, BYTES("\x93\xa1\x10\x09\x80")},
    {-EPROTO, 0, 0, BYTES("\x93\xcf\x00\x00\x00\x01\x00\x00\x00\x10\x09\x80")},
    {-EPROTO, 16, 0, BYTES("\x93\x10\xc0\x80")},
    {-EPROTO, 16, 0, BYTES("\x93\x10\xcf\x00\x00\x00\x01\x00\x00\x00\x09\x80")},
    {-EPROTO, 16, 9, BYTES("\x93\x10\x09\x90")},
    {-EPROTO, 16, 9, BYTES("\x93\x10\x09\xc0")},
    {-EPROTO, 16, 9, BYTES("\x93\x10\x09\x81\x01\x01")},                            /* a name that is no text */
    {-EPROTO, 16, 9, BYTES("\x93\x10\x09\x81\x80\x01")},
    {-EPROTO, 16, 9, BYTES("\x93\x10\x09\x80\x00")},
    {-ENOMSG, 0, 9, BYTES("\x93\x00\x09\x80")},
    {-ENOMSG, 127, 9, BYTES("\x93\x7f\x09\x80")},
    {-ENOMSG, 0xffffffff, 0xffffffff, BYTES("\x93\xce\xff\xff\xff\xff\xce\xff\xff\xff\xff\x81\xa1x\x91\xc0")},
    {-EPROTO, 127, 9, BYTES("\x93\x7f\x09\x90")},                                     /* unknown and malformed: malformed */
    {-EPROTO, 127, 9, BYTES("\x93\x7f\x09\x81\xa1x")},
};

static void envelope(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof envelopes / sizeof envelopes[0]; i++) {
        struct mm_message message;
        int r = decode(envelopes[i].packet.at, envelopes[i].packet.count, MM_FROM_CLIENT, &message);
        if (r != envelopes[i].result)
            fail_msg("envelope %zu: %d instead of %d", i, r, envelopes[i].result);
        assert_int_equal(message.id, envelopes[i].id);
        assert_int_equal(message.seq, envelopes[i].seq);
    }
}

/* Heads that claim more than a packet could hold, at every place where a value can stand. */
static void huge_claims(void **state)
{
    (void)state;
    static const struct bytes claims[] = {
        BYTES("\xdd\xff\xff\xff\xff"), BYTES("\xdf\xff\xff\xff\xff"), BYTES("\xdb\xff\xff\xff\xff"), BYTES("\xc6\xff\xff\xff\xff"),
        BYTES("\xc9\xff\xff\xff\xff\x01"), BYTES("\xdf\x80\x00\x00\x00"), BYTES("\xdd\x7f\xff\xff\xff"), BYTES("\xdc\xff\xff"),
        BYTES("\xde\xff\xff"), BYTES("\xda\xff\xff"), BYTES("\xdd\x00\x00\x20\x00"),
    };
    static const struct bytes before[] = {
        BYTES(""), BYTES("\x93"), BYTES("\x93\x06"), BYTES("\x93\x06\x01"), BYTES("\x93\x06\x01\x81"),
        BYTES("\x93\x06\x01\x81\xa4refs"), BYTES("\x93\x06\x01\x81\xa5later"), BYTES("\x93\x06\x01\x81\xa5later\x91"), BYTES("\x93\x06\x01\x81\xa5later\x81"),
    };
    static const size_t behind[] = {0, 1, 4096};
    static char packet[8192];
    for (size_t c = 0; c < sizeof claims / sizeof claims[0]; c++)
        for (size_t b = 0; b < sizeof before / sizeof before[0]; b++)
            for (size_t n = 0; n < sizeof behind / sizeof behind[0]; n++) {
                struct mm_message message;
                size_t head = before[b].count + claims[c].count;
                memset(packet, 0, sizeof packet);
                memcpy(packet, before[b].at, before[b].count);
                memcpy(packet + before[b].count, claims[c].at, claims[c].count);
                assert_int_equal(decode(packet, head + behind[n], MM_FROM_CLIENT, &message), -EPROTO);
            }
}

/* A claim is judged at the head, before anything is done about its elements. */
static void claims_judged_at_the_head(void **state)
{
    (void)state;
    static const struct {
        bool possible;
        struct bytes bytes;
    } heads[] = {
        {true, BYTES("\x92\x01\x01")}, {false, BYTES("\x92\x01")},
        {true, BYTES("\xdc\x00\x02\x01\x01")}, {false, BYTES("\xdc\x00\x02\x01")},
        {true, BYTES("\x82\x01\x01\x01\x01")}, {false, BYTES("\x82\x01\x01\x01")},
        {true, BYTES("\xdf\x00\x00\x00\x01\x01\x01")}, {false, BYTES("\xdf\x00\x00\x00\x01\x01")},
        {false, BYTES("\xdd\xff\xff\xff\xff\x01")}, {false, BYTES("\xdf\xff\xff\xff\xff\x01\x01")},
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        const unsigned char *at = (const unsigned char *)heads[i].bytes.at;
        struct mm_reader reader = {at, at + heads[i].bytes.count};
        struct mm_wire wire;
        assert_int_equal(mm_reader_next(&reader, &wire), heads[i].possible);
    }
}

static void packet_too_large(void **state)
{
    (void)state;
    static char packet[MM_PACKET_MAX + 1];
    struct mm_message message;
    for (size_t bytes = MM_PACKET_MAX; bytes <= MM_PACKET_MAX + 1; bytes++) {
        size_t skipped = bytes - 12;                    /* [16, 9, {x: binary}] */
        memset(packet, 0, sizeof packet);
        memcpy(packet, "\x93\x10\x09\x81\xa1x\xc6", 7);
        for (unsigned i = 0; i < 4; i++)
            packet[7 + i] = (char)((skipped + 1) >> (24 - 8 * i));
        assert_int_equal(decode(packet, bytes, MM_FROM_CLIENT, &message), bytes > MM_PACKET_MAX ? -EPROTO : 0);
    }
}

/* [16, 9, {x: value}] with a value of `depth` containers, each of which begins with `head`. */
static int decode_deep(struct bytes head, unsigned depth)
{
    struct mm_message message;
    struct bytes packet = packet_begin(mm_message_info(MM_MSG_STATS), 1);
    append_text(&packet, "x");
    for (unsigned i = 0; i < depth; i++)
        append(&packet, head.at, head.count);
    append(&packet, "\x07", 1);
    return decode(packet.at, packet.count, MM_FROM_CLIENT, &message);
}

static void depth(void **state)
{
    (void)state;
    static const struct bytes heads[] = {
        BYTES("\x91"), BYTES("\xdc\x00\x01"), BYTES("\xdd\x00\x00\x00\x01"), BYTES("\x81\x01"), BYTES("\xde\x00\x01\x01"),
    };
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        assert_int_equal(decode_deep(heads[i], 0), 0);
        assert_int_equal(decode_deep(heads[i], MM_PACKET_DEPTH - 2), 0);
        assert_int_equal(decode_deep(heads[i], MM_PACKET_DEPTH - 1), -EPROTO);
        assert_int_equal(decode_deep(heads[i], 10000), -EPROTO);
    }
}

/* What the encoder lets through as a BLOB, the decoder takes. */
static void depth_of_a_blob(void **state)
{
    (void)state;
    static const char body[] = "\x91\x91\x91\x91\x91\x91\x91\x90";
    for (uint32_t levels = 1; levels <= 8; levels++) {
        struct mm_message message = {.id = MM_MSG_REPORT, .as.report = {.body = body + 8 - levels, .body_bytes = levels}};
        unsigned char packet[64];
        size_t bytes;
        if (levels <= MM_PACKET_DEPTH - 2)
            round_trip(&message);
        else
            assert_int_equal(mm_message_encode(&message, packet, sizeof packet, &bytes), -EINVAL);
    }
}

static void bombs(void **state)
{
    (void)state;
    static unsigned char packet[MM_PACKET_MAX];
    struct mm_message message;
    for (unsigned byte = 0; byte < 256; byte++) {
        memset(packet, (int)byte, sizeof packet);
        assert_int_equal(decode(packet, sizeof packet, MM_FROM_CLIENT, &message), -EPROTO);
    }
}

/* ---- Random damage ---- */

static void judge(const unsigned char *packet, size_t bytes, enum mm_direction from)
{
    struct mm_message message;
    int r = decode(packet, bytes, from, &message);
    assert_true(r == 0 || r == -EPROTO || r == -ENOMSG || r == -EBADMSG);
    if (r == 0)
        round_trip(&message);
}

static void mutations(void **state)
{
    (void)state;
    struct test_random random = test_random_begin("mutations");
    for (unsigned i = 0; i < 100000; i++) {
        unsigned char packet[1024];
        const struct golden *golden = &goldens[test_random_below(&random, GOLDENS)];
        size_t bytes = golden->packet.count;
        memcpy(packet, golden->packet.at, bytes);
        for (uint64_t changes = test_random_between(&random, 1, 8); changes > 0; changes--)
            helper_mutate(&random, packet, &bytes, sizeof packet);
        judge(packet, bytes, MM_FROM_CLIENT);
        judge(packet, bytes, MM_FROM_DAEMON);
    }
}

/* ---- Reports ---- */

static void report_read(const void *body, uint32_t body_bytes, msgpack_unpacked *ret_unpacked)
{
    size_t off = 0;
    msgpack_unpacked_init(ret_unpacked);
    assert_int_equal(msgpack_unpack_next(ret_unpacked, body, body_bytes, &off), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(off, body_bytes);
    assert_int_equal(ret_unpacked->data.type, MSGPACK_OBJECT_MAP);
}

static const msgpack_object *report_value(const msgpack_unpacked *unpacked, unsigned at, const char *key)
{
    assert_true(at < unpacked->data.via.map.size);
    const msgpack_object_kv *pair = &unpacked->data.via.map.ptr[at];
    assert_int_equal(pair->key.type, MSGPACK_OBJECT_STR);
    assert_int_equal(pair->key.via.str.size, strlen(key));
    assert_memory_equal(pair->key.via.str.ptr, key, strlen(key));
    return &pair->val;
}

static void report_round_trip(void **state)
{
    (void)state;
    struct mm_report_writer report;
    struct mm_message message = {.id = MM_MSG_REPORT, .seq = 1, .as.report.last = true}, again;
    unsigned char packet[MM_PACKET_MAX];
    size_t bytes;
    mm_report_begin(&report);
    mm_report_u64(&report, "live_bytes", UINT64_MAX);
    mm_report_text(&report, "name", "lua");
    mm_report_bool(&report, "huge_pages", true);
    mm_report_bool(&report, "closed", false);
    mm_report_ratio(&report, "share", 0.25);
    mm_report_text(&report, "empty", "");
    assert_int_equal(mm_report_end(&report, &message.as.report.body, &message.as.report.body_bytes), 0);
    assert_int_equal(mm_message_encode(&message, packet, sizeof packet, &bytes), 0);
    assert_int_equal(decode(packet, bytes, MM_FROM_DAEMON, &again), 0);

    msgpack_unpacked unpacked;
    report_read(again.as.report.body, again.as.report.body_bytes, &unpacked);
    assert_int_equal(unpacked.data.via.map.size, 6);
    assert_true(report_value(&unpacked, 0, "live_bytes")->via.u64 == UINT64_MAX);
    assert_memory_equal(report_value(&unpacked, 1, "name")->via.str.ptr, "lua", 3);
    assert_true(report_value(&unpacked, 2, "huge_pages")->via.boolean);
    assert_false(report_value(&unpacked, 3, "closed")->via.boolean);
    assert_true(report_value(&unpacked, 4, "share")->via.f64 == 0.25);
    assert_int_equal(report_value(&unpacked, 5, "empty")->via.str.size, 0);
    msgpack_unpacked_destroy(&unpacked);
}

static void report_of_many_keys(void **state)
{
    (void)state;
    struct mm_report_writer report;
    const void *body;
    uint32_t body_bytes;
    msgpack_unpacked unpacked;
    mm_report_begin(&report);
    assert_int_equal(mm_report_end(&report, &body, &body_bytes), 0);
    report_read(body, body_bytes, &unpacked);
    assert_int_equal(unpacked.data.via.map.size, 0);
    msgpack_unpacked_destroy(&unpacked);

    mm_report_begin(&report);
    for (unsigned i = 0; i < 1000; i++)
        mm_report_u64(&report, "key", i);
    assert_int_equal(mm_report_end(&report, &body, &body_bytes), 0);
    report_read(body, body_bytes, &unpacked);
    assert_int_equal(unpacked.data.via.map.size, 1000);
    assert_int_equal(report_value(&unpacked, 999, "key")->via.u64, 999);
    msgpack_unpacked_destroy(&unpacked);
}

static void report_too_large(void **state)
{
    (void)state;
    struct mm_report_writer report;
    static char text[MM_REPORT_BYTES + 1];
    const void *body = text;
    uint32_t body_bytes = 77;
    memset(text, 't', sizeof text - 1);
    text[MM_REPORT_BYTES - 8] = '\0';                   /* head 3, key 2, text 3 */
    mm_report_begin(&report);
    mm_report_text(&report, "k", text);
    assert_int_equal(mm_report_end(&report, &body, &body_bytes), 0);
    assert_int_equal(body_bytes, MM_REPORT_BYTES);

    body = text;
    text[MM_REPORT_BYTES - 8] = 't';
    mm_report_begin(&report);
    mm_report_text(&report, "k", text);
    mm_report_u64(&report, "k", 1);                     /* would fit, but the report is lost already */
    assert_int_equal(mm_report_end(&report, &body, &body_bytes), -EMSGSIZE);
    assert_ptr_equal(body, text);

    mm_report_begin(&report);
    for (unsigned i = 0; i < 100000; i++)
        mm_report_bool(&report, "", true);
    assert_int_equal(mm_report_end(&report, &body, &body_bytes), -EMSGSIZE);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(counting_works),
        test_case(golden_of_everything),
        test_case(golden_encode),
        test_case(golden_decode),
        test_case(golden_truncated),
        test_case(golden_with_more_behind),
        test_case(wrong_direction),
        test_case(tables),
        test_case(round_trip_at_bounds),
        test_case(round_trip_random),
        test_case(encode_into_too_little),
        test_case(encode_up_to_the_packet),
        test_case(encode_invalid),
        test_case(value_of_every_kind),
        test_case(unknown_field_skipped),
        test_case(value_over_its_bound),
        test_case(field_missing_or_twice),
        test_case(envelope),
        test_case(huge_claims),
        test_case(claims_judged_at_the_head),
        test_case(packet_too_large),
        test_case(depth),
        test_case(depth_of_a_blob),
        test_case(bombs),
        test_case(mutations),
        test_case(report_round_trip),
        test_case(report_of_many_keys),
        test_case(report_too_large),
    };
    return test_run(cases);
}
