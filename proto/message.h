/* message.h — every message of the socket as a C struct, and the one encoder and the one decoder for all of them.
 *
 * Everything here is an expansion of messages.def; there is no code for any single message. A packet is one msgpack array
 * [id, seq, body], and one packet of a SOCK_SEQPACKET socket (see packet.h) is one message.
 *
 * Invariants: a packet comes from somebody who may be hostile. The decoder allocates nothing, reads each byte a bounded number of
 * times, and hands out no value that is out of the bounds of messages.def. TEXT is bytes without NUL and ends with one; it
 * need not be UTF-8, so who shows it to people makes it printable first.
 * Threads: any; no state.   Design: DESIGN section 11.
 */
#ifndef MM_MESSAGE_H
#define MM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_PROTOCOL_VERSION 1u          /* of messages.def; both sides must agree exactly */
enum mm_protocol_feature {
    MM_FEATURE_NO_MOVING = 1            /* HELLO no_moving, TYPE storage and the conservative flag, ambiguous roots in slots */
};
#define MM_FEATURES         ((uint64_t)MM_FEATURE_NO_MOVING)       /* feature bits that this build knows */
#define MM_PACKET_MAX       65536u      /* bytes of one packet */
#define MM_PACKET_FDS       8u          /* descriptors with one packet */
#define MM_PACKET_DEPTH     8u          /* containers inside one another, the packet's array included */

enum mm_direction { MM_FROM_CLIENT, MM_FROM_DAEMON };

enum mm_value_type { MM_VALUE_U32, MM_VALUE_U64, MM_VALUE_BOOL, MM_VALUE_TEXT, MM_VALUE_LIST, MM_VALUE_BLOB };

enum mm_message_id {
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) MM_MSG_##NAME = (id),
#include "proto/expand.h"
};

/* struct mm_hello and so on. A field is one member named as in the list; a LIST has also <name>_count, a BLOB <name>_bytes. */
#define MM_MEMBER_U32(field, bound)  uint32_t field;
#define MM_MEMBER_U64(field, bound)  uint64_t field;
#define MM_MEMBER_BOOL(field, bound) bool field;
#define MM_MEMBER_TEXT(field, bound) char field[(bound) + 1];
#define MM_MEMBER_LIST(field, bound) uint32_t field[bound]; uint32_t field##_count;
#define MM_MEMBER_BLOB(field, bound) const void *field; uint32_t field##_bytes;    /* borrows from the packet */

#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) struct mm_##name {
#define MM_FIELD(TYPE, message, field, need, bound, meaning)       MM_MEMBER_##TYPE(field, bound)
#define MM_END(name)                                               char end_; };   /* C has no empty structs */
#include "proto/expand.h"

struct mm_message {
    uint32_t id;                        /* enum mm_message_id */
    uint32_t seq;                       /* a reply carries that of its request; 0: said unasked */
    union {
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) struct mm_##name name;
#include "proto/expand.h"
    } as;
};

/* Writes `message` as a packet; `*ret_bytes` is its length. Optional fields that are zero or empty are left out.
 * -EMSGSIZE: `capacity` or MM_PACKET_MAX is too small. -EINVAL: unknown id, a TEXT without its NUL, a LIST over its bound, a
 * BLOB that is not one msgpack value (of a depth that fits into a packet). */
int mm_message_encode(const struct mm_message *message, void *packet, size_t capacity, size_t *ret_bytes);

/* Reads a packet that came `from` the other side. A BLOB borrows from `packet`. Only the member of `as` that `id` names is set, and
 * all of it: absent fields are zero.
 * -EPROTO: malformed; the connection should end. -ENOMSG: well-formed, but no known id. -EBADMSG: a known id that only the
 * other direction uses. In all cases ret_message->id and ->seq are what could be read of them, else 0; after an error
 * nothing else of it means anything. */
int mm_message_decode(const void *packet, size_t bytes, enum mm_direction from, struct mm_message *ret_message);

/* The list as tables: for the encoder and decoder, for logs and for the manual page. */
struct mm_field_info {
    const char *name;                   /* NULL after the last one */
    enum mm_value_type type;
    size_t offset;                      /* in struct mm_<message> */
    size_t count_offset;                /* LIST: of <name>_count, BLOB: of <name>_bytes; else 0 */
    uint32_t bound;                     /* TEXT: bytes without the NUL; LIST: elements; else 0 */
    bool required;
    const char *meaning;
};

struct mm_message_info {
    uint32_t id;
    const char *name;                   /* as in the list, in capitals */
    enum mm_direction from;
    uint32_t since;                     /* first MM_PROTOCOL_VERSION that has it */
    uint32_t fds;                       /* descriptors at most */
    const char *meaning;
    size_t struct_bytes;                /* of struct mm_<message> */
    const struct mm_field_info *fields;
    unsigned field_count;
};

/* What is known about `id`; NULL if it is unknown. */
const struct mm_message_info *mm_message_info(uint32_t id);

/* All messages, in the order of the list. */
const struct mm_message_info *mm_message_list(unsigned *ret_count);

#endif
