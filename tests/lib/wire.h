/* wire.h — the protocol spoken by hand, over msgpack alone: an independent second implementation, for tests that say things
 * which the library would never say, and for asking the daemon for its figures.
 *
 * A packet is [id, seq, {field: value}]. One thread uses a wire at a time.
 */
#ifndef TEST_WIRE_H
#define TEST_WIRE_H

#include <msgpack.h>

#include "check.h"

#define WIRE_PACKET_MAX   65536
#define WIRE_FILES_MAX    16
#define WIRE_THREADS      4               /* slots of a heap that is opened by hand */
#define WIRE_VERSION      1               /* MM_PROTOCOL_VERSION, written out: the tests notice when it moves */

/* The ids, from the one list. */
enum wire_id {
#define MM_MESSAGE(id, NAME, name, direction, since, descriptors, text) WIRE_##NAME = id,
#define MM_FIELD_U32(...)
#define MM_FIELD_U64(...)
#define MM_FIELD_BOOL(...)
#define MM_FIELD_TEXT(...)
#define MM_FIELD_LIST(...)
#define MM_FIELD_BLOB(...)
#define MM_END(name)
#include "proto/messages.def"
#undef MM_MESSAGE
#undef MM_FIELD_U32
#undef MM_FIELD_U64
#undef MM_FIELD_BOOL
#undef MM_FIELD_TEXT
#undef MM_FIELD_LIST
#undef MM_FIELD_BLOB
#undef MM_END
};

/* ---- Sending ---- */

/* A packet in the making: wire_packet(), then exactly `fields` calls of wire_field_..., then send. */
struct wire_packet {
    msgpack_sbuffer bytes;
    msgpack_packer  packer;
};

void wire_packet_init(struct wire_packet *packet, unsigned id, unsigned seq, unsigned fields);
void wire_field_u64(struct wire_packet *packet, const char *name, uint64_t value);
void wire_field_bool(struct wire_packet *packet, const char *name, bool value);
void wire_field_text(struct wire_packet *packet, const char *name, const char *text, size_t bytes);
void wire_field_list(struct wire_packet *packet, const char *name, const uint32_t *value, unsigned count);
void wire_packet_fini(struct wire_packet *packet);

/* Connects to `socket` (NULL: MORPHMEM_SOCKET). A descriptor, or a negative errno. */
int wire_connect(const char *socket);

/* Sends bytes as one packet; `files` ride along. 0 or negative errno. */
int wire_send(int fd, const void *bytes, size_t count, const int *files, unsigned file_count);

/* Sends the packet and ends it. */
int wire_packet_send(int fd, struct wire_packet *packet);

/* ---- Receiving ---- */

struct wire_answer {
    unsigned id, seq;
    msgpack_unpacked unpacked;
    msgpack_object   body;              /* a map, borrowed from `unpacked` */
    int      file[WIRE_FILES_MAX];
    unsigned files;
};

/* Waits for a packet. 1: got one (end it with wire_answer_fini); 0: the peer has closed; -ETIMEDOUT, or another negative errno. Fails the
 * case if what came is not a packet: the daemon never sends nonsense. */
int wire_receive(int fd, struct wire_answer *ret_answer, unsigned deadline_ms);
void wire_answer_fini(struct wire_answer *answer);              /* closes the files that are still in it */

/* A field of the body. NULL: not there. */
const msgpack_object *wire_field(const msgpack_object *map, const char *name);
uint64_t wire_u64(const msgpack_object *map, const char *name);                 /* fails the case if it is not there */
void wire_text(const msgpack_object *map, const char *name, char *ret_text, size_t bytes);

/* ---- Conversations ---- */

/* HELLO without a heap, and its WELCOME: a descriptor that may ask for figures. Fails the case on any other answer. */
int wire_hello(const char *socket);

struct wire_heap {
    int      fd;                        /* the socket */
    uint64_t id;
    uint64_t limit_bytes;
    uint64_t reserve_bytes;
    char    *base;                      /* the reserve, client side */
    char    *control;                   /* the mapped control area */
    uint64_t control_bytes;
    int      doorbell;
};

/* Opens a heap by hand, maps control area and segments. Returns 0 or a positive morphmem error number as the daemon said it. */
int wire_heap_open(struct wire_heap *ret_heap, const char *name, uint64_t limit_bytes);
int wire_heap_open_mode(struct wire_heap *ret_heap, const char *name, uint64_t limit_bytes, unsigned mode);      /* enum morph_mode */
void wire_heap_close(struct wire_heap *heap);

/* ---- Figures ---- */

/* One figure of the daemon, over a connection of its own. */
uint64_t test_stat(const char *key);

/* One figure of a heap; UINT64_MAX if the daemon has no such heap. */
uint64_t test_heap_stat(uint64_t heap, const char *key);

/* Number of heaps that the daemon lists. */
unsigned test_heaps(void);

struct test_type_count { uint64_t id, objects, bytes; char name[128]; };

/* The types of a heap as the daemon counts them now; returns how many, at most `most`. */
unsigned test_types(uint64_t heap, struct test_type_count *ret_type, unsigned most);

/* The entry of one type; fails the case if it is not there. */
struct test_type_count test_type_named(uint64_t heap, const char *name);

#endif
