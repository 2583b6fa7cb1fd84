/* wire.c — the protocol spoken by hand. See wire.h. */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "shm/layout.h"

#define ANSWER_MS 10000u
#define RESERVE_ALIGN (2u << 20)

/* ---- Sending ---- */

static void key_pack(struct wire_packet *packet, const char *name)
{
    msgpack_pack_str(&packet->packer, strlen(name));
    msgpack_pack_str_body(&packet->packer, name, strlen(name));
}

void wire_packet_init(struct wire_packet *packet, unsigned id, unsigned seq, unsigned fields)
{
    msgpack_sbuffer_init(&packet->bytes);
    msgpack_packer_init(&packet->packer, &packet->bytes, msgpack_sbuffer_write);
    msgpack_pack_array(&packet->packer, 3);
    msgpack_pack_uint64(&packet->packer, id);
    msgpack_pack_uint64(&packet->packer, seq);
    msgpack_pack_map(&packet->packer, fields);
}

void wire_field_u64(struct wire_packet *packet, const char *name, uint64_t value)
{
    key_pack(packet, name);
    msgpack_pack_uint64(&packet->packer, value);
}

void wire_field_bool(struct wire_packet *packet, const char *name, bool value)
{
    key_pack(packet, name);
    if (value)
        msgpack_pack_true(&packet->packer);
    else
        msgpack_pack_false(&packet->packer);
}

void wire_field_text(struct wire_packet *packet, const char *name, const char *text, size_t bytes)
{
    key_pack(packet, name);
    msgpack_pack_str(&packet->packer, bytes);
    msgpack_pack_str_body(&packet->packer, text, bytes);
}

void wire_field_list(struct wire_packet *packet, const char *name, const uint32_t *value, unsigned count)
{
    key_pack(packet, name);
    msgpack_pack_array(&packet->packer, count);
    for (unsigned i = 0; i < count; i++)
        msgpack_pack_uint64(&packet->packer, value[i]);
}

void wire_packet_fini(struct wire_packet *packet)
{
    msgpack_sbuffer_destroy(&packet->bytes);
}

int wire_connect(const char *socket_path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = socket_path ? socket_path : getenv("MORPHMEM_SOCKET");
    if (!path || strlen(path) >= sizeof address.sun_path)
        return -EINVAL;
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

int wire_send(int fd, const void *bytes, size_t count, const int *files, unsigned file_count)
{
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * WIRE_FILES_MAX)]; } control;
    struct iovec piece = { (void *)bytes, count };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
    if (file_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * file_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * file_count);
        memcpy(CMSG_DATA(header), files, sizeof(int) * file_count);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int wire_packet_send(int fd, struct wire_packet *packet)
{
    int r = wire_send(fd, packet->bytes.data, packet->bytes.size, NULL, 0);
    wire_packet_fini(packet);
    return r;
}

/* ---- Receiving ---- */

static void files_take(struct msghdr *message, struct wire_answer *answer)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = header->cmsg_len - CMSG_LEN(0);
        memcpy(answer->file + answer->files, CMSG_DATA(header), bytes);
        answer->files += (unsigned)(bytes / sizeof(int));
    }
}

static void answer_parse(struct wire_answer *answer, const char *bytes, size_t count)
{
    size_t at = 0;
    msgpack_unpacked_init(&answer->unpacked);
    assert_int_equal(msgpack_unpack_next(&answer->unpacked, bytes, count, &at), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, count);                                            /* nothing behind it */
    msgpack_object whole = answer->unpacked.data;
    assert_int_equal(whole.type, MSGPACK_OBJECT_ARRAY);
    assert_int_equal(whole.via.array.size, 3);
    const msgpack_object *part = whole.via.array.ptr;
    assert_int_equal(part[0].type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_int_equal(part[1].type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_int_equal(part[2].type, MSGPACK_OBJECT_MAP);
    answer->id = (unsigned)part[0].via.u64;
    answer->seq = (unsigned)part[1].via.u64;
    answer->body = part[2];
}

int wire_receive(int fd, struct wire_answer *ret_answer, unsigned deadline_ms)
{
    static __thread char bytes[WIRE_PACKET_MAX];
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int) * WIRE_FILES_MAX)]; } control;
    struct iovec piece = { bytes, sizeof bytes };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    int ready = poll(&poll_fd, 1, (int)(deadline_ms * test_slowness()));
    if (ready <= 0)
        return ready < 0 ? -errno : -ETIMEDOUT;
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == ECONNRESET) {               /* said once, before what the peer wrote last: it closed with our words unread */
        message.msg_controllen = sizeof control;
        got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    }
    if (got < 0)
        return errno == ECONNRESET ? 0 : -errno;
    if (got == 0)
        return 0;
    assert_int_equal(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC), 0);
    *ret_answer = (struct wire_answer){ 0 };
    files_take(&message, ret_answer);
    answer_parse(ret_answer, bytes, (size_t)got);
    return 1;
}

void wire_answer_fini(struct wire_answer *answer)
{
    for (unsigned i = 0; i < answer->files; i++)
        if (answer->file[i] >= 0)
            close(answer->file[i]);
    answer->files = 0;
    msgpack_unpacked_destroy(&answer->unpacked);
}

const msgpack_object *wire_field(const msgpack_object *map, const char *name)
{
    if (map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object *key = &map->via.map.ptr[i].key;
        if (key->type == MSGPACK_OBJECT_STR && key->via.str.size == strlen(name) && memcmp(key->via.str.ptr, name, strlen(name)) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

uint64_t wire_u64(const msgpack_object *map, const char *name)
{
    const msgpack_object *value = wire_field(map, name);
    if (value && value->type == MSGPACK_OBJECT_BOOLEAN)
        return value->via.boolean;
    if (!value || value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        fail_msg("the daemon's answer has no number '%s'", name);
    return value->via.u64;
}

void wire_text(const msgpack_object *map, const char *name, char *ret_text, size_t bytes)
{
    const msgpack_object *value = wire_field(map, name);
    if (!value || value->type != MSGPACK_OBJECT_STR || value->via.str.size >= bytes)
        fail_msg("the daemon's answer has no text '%s' below %zu bytes", name, bytes);
    memcpy(ret_text, value->via.str.ptr, value->via.str.size);
    ret_text[value->via.str.size] = 0;
}

/* ---- Conversations ---- */

static void receive_expected(int fd, unsigned id, struct wire_answer *ret_answer)
{
    int r = wire_receive(fd, ret_answer, ANSWER_MS);
    if (r != 1)
        fail_msg("waited for message %u, but %s (%d)", id, r == 0 ? "the daemon closed" : "nothing came", r);
    if (ret_answer->id != id)
        fail_msg("waited for message %u, got %u (error %d)", id, ret_answer->id,
                 ret_answer->id == WIRE_ERROR ? (int)wire_u64(&ret_answer->body, "error") : 0);
}

static void hello_begin(struct wire_packet *packet, unsigned more_fields)
{
    wire_packet_init(packet, WIRE_HELLO, 1, 4 + more_fields);
    wire_field_u64(packet, "version", WIRE_VERSION);
    wire_field_u64(packet, "features", 0);
    wire_field_u64(packet, "layout", MM_LAYOUT_VERSION);
    wire_field_text(packet, "program", "test", 4);
}

int wire_hello(const char *socket_path)
{
    struct wire_packet packet;
    struct wire_answer answer;
    int fd = wire_connect(socket_path);
    if (fd < 0)
        fail_msg("cannot connect to the daemon: %s", strerror(-fd));
    hello_begin(&packet, 0);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    receive_expected(fd, WIRE_WELCOME, &answer);
    assert_int_equal(answer.files, 0);
    wire_answer_fini(&answer);
    return fd;
}

static char *reserve_map(uint64_t bytes)
{
    char *at = mmap(NULL, bytes + RESERVE_ALIGN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(at != MAP_FAILED);
    char *start = (char *)mm_round_up((uintptr_t)at, RESERVE_ALIGN);
    if (start > at)
        munmap(at, (size_t)(start - at));
    munmap(start + bytes, (size_t)(at + RESERVE_ALIGN - start));
    return start;
}

static void welcome_map(struct wire_heap *heap, struct wire_answer *answer)
{
    const msgpack_object *first = wire_field(&answer->body, "segment_chunk"), *count = wire_field(&answer->body, "segment_chunks");
    unsigned segments = first ? first->via.array.size : 0;
    assert_int_equal(answer->files, 2 + segments);
    heap->id = wire_u64(&answer->body, "heap");
    heap->limit_bytes = wire_u64(&answer->body, "limit_bytes");
    heap->control_bytes = wire_u64(&answer->body, "control_bytes");
    heap->control = mmap(NULL, heap->control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, answer->file[0], 0);
    assert_true(heap->control != MAP_FAILED);
    heap->doorbell = answer->file[1];
    answer->file[1] = -1;
    for (unsigned i = 0; i < segments; i++) {
        uint64_t off = first->via.array.ptr[i].via.u64 * MM_CHUNK_BYTES, bytes = count->via.array.ptr[i].via.u64 * MM_CHUNK_BYTES;
        assert_true(off + bytes <= heap->reserve_bytes);
        void *at = mmap(heap->base + off, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, answer->file[2 + i], 0);
        assert_ptr_equal(at, heap->base + off);
    }
}

int wire_heap_open(struct wire_heap *ret_heap, const char *name, uint64_t limit_bytes)
{
    return wire_heap_open_mode(ret_heap, name, limit_bytes, 0);
}

int wire_heap_open_mode(struct wire_heap *ret_heap, const char *name, uint64_t limit_bytes, unsigned mode)
{
    struct wire_packet packet;
    struct wire_answer answer;
    struct wire_heap heap = { .fd = wire_connect(NULL), .reserve_bytes = mm_round_up(2 * limit_bytes, MM_CHUNK_BYTES) };
    assert_true(heap.fd >= 0);
    heap.base = reserve_map(heap.reserve_bytes);
    hello_begin(&packet, 7);
    wire_field_bool(&packet, "open", true);
    wire_field_u64(&packet, "mode", mode);
    wire_field_text(&packet, "name", name, strlen(name));
    wire_field_u64(&packet, "limit_bytes", limit_bytes);
    wire_field_u64(&packet, "reserve_bytes", heap.reserve_bytes);
    wire_field_u64(&packet, "client_base", (uintptr_t)heap.base);
    wire_field_u64(&packet, "threads", WIRE_THREADS);
    assert_int_equal(wire_packet_send(heap.fd, &packet), 0);
    int error = 0;
    if (wire_receive(heap.fd, &answer, ANSWER_MS) != 1)
        fail_msg("no answer to HELLO");
    if (answer.id == WIRE_WELCOME)
        welcome_map(&heap, &answer);
    else
        error = (int)wire_u64(&answer.body, "error");
    wire_answer_fini(&answer);
    if (error == 0) {
        *ret_heap = heap;
        return 0;
    }
    munmap(heap.base, heap.reserve_bytes);
    close(heap.fd);
    return error;
}

void wire_heap_close(struct wire_heap *heap)
{
    close(heap->fd);
    close(heap->doorbell);
    munmap(heap->control, heap->control_bytes);
    munmap(heap->base, heap->reserve_bytes);
}

/* ---- Figures ---- */

/* Calls `each` for the body of every REPORT that answers `packet`, over a connection of its own. */
static void reports_ask(struct wire_packet *packet, void (*each)(const msgpack_object *body, void *context), void *context)
{
    int fd = wire_hello(NULL);
    assert_int_equal(wire_packet_send(fd, packet), 0);
    for (bool last = false; !last;) {
        struct wire_answer answer;
        assert_int_equal(wire_receive(fd, &answer, ANSWER_MS), 1);
        assert_int_equal(answer.seq, 2);
        if (answer.id == WIRE_REPORT) {
            const msgpack_object *body = wire_field(&answer.body, "body");
            last = wire_u64(&answer.body, "last");
            if (body)
                each(body, context);
        } else {
            uint64_t error = answer.id == WIRE_ERROR ? wire_u64(&answer.body, "error") : 0;
            if (error != -MORPH_ENOHEAP)                            /* it may have ended meanwhile */
                fail_msg("asked for figures, the daemon answered with message %u, error %d", answer.id, (int)error);
            last = true;
        }
        wire_answer_fini(&answer);
    }
    close(fd);
}

struct figure { const char *key; uint64_t value; unsigned seen; };

static void figure_take(const msgpack_object *body, void *context)
{
    struct figure *figure = context;
    figure->seen++;
    if (figure->key)
        figure->value = wire_u64(body, figure->key);
}

uint64_t test_stat(const char *key)
{
    struct wire_packet packet;
    struct figure figure = { .key = key };
    wire_packet_init(&packet, WIRE_STATS, 2, 0);
    reports_ask(&packet, figure_take, &figure);
    assert_int_equal(figure.seen, 1);
    return figure.value;
}

uint64_t test_heap_stat(uint64_t heap, const char *key)
{
    struct wire_packet packet;
    struct figure figure = { .key = key };
    wire_packet_init(&packet, WIRE_HEAPS, 2, 1);
    wire_field_u64(&packet, "heap", heap);
    reports_ask(&packet, figure_take, &figure);
    return figure.seen ? figure.value : UINT64_MAX;
}

unsigned test_heaps(void)
{
    struct wire_packet packet;
    struct figure figure = { 0 };
    wire_packet_init(&packet, WIRE_HEAPS, 2, 0);
    reports_ask(&packet, figure_take, &figure);
    return figure.seen;
}

struct types { struct test_type_count *type; unsigned count, most; };

static void type_take(const msgpack_object *body, void *context)
{
    struct types *types = context;
    if (types->count == types->most)
        return;
    struct test_type_count *type = &types->type[types->count++];
    type->id = wire_u64(body, "id");
    type->objects = wire_u64(body, "objects");
    type->bytes = wire_u64(body, "bytes");
    wire_text(body, "name", type->name, sizeof type->name);
}

unsigned test_types(uint64_t heap, struct test_type_count *ret_type, unsigned most)
{
    struct wire_packet packet;
    struct types types = { ret_type, 0, most };
    wire_packet_init(&packet, WIRE_TYPES, 2, 1);
    wire_field_u64(&packet, "heap", heap);
    reports_ask(&packet, type_take, &types);
    return types.count;
}

struct test_type_count test_type_named(uint64_t heap, const char *name)
{
    struct test_type_count type[64];
    unsigned count = test_types(heap, type, 64);
    for (unsigned i = 0; i < count; i++)
        if (strcmp(type[i].name, name) == 0)
            return type[i];
    fail_msg("the daemon counts no type '%s' in heap %llu", name, (unsigned long long)heap);
    return (struct test_type_count){ 0 };
}
