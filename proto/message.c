/* message.c — the tables of messages.def, and the encoder and decoder that walk them. See message.h.
 *
 * A field's value lies at its offset in the message's struct; field_* functions are the only ones that know the types.
 * The decoder first steps over the whole body, so nothing is stored from a packet that is not well-formed to its last byte.
 */
#include "proto/message.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>

#include "proto/wire.h"

/* One table of fields a message, ended by an empty row. */
#define MM_COUNT_U32(message, field)  0
#define MM_COUNT_U64(message, field)  0
#define MM_COUNT_BOOL(message, field) 0
#define MM_COUNT_TEXT(message, field) 0
#define MM_COUNT_LIST(message, field) offsetof(struct mm_##message, field##_count)
#define MM_COUNT_BLOB(message, field) offsetof(struct mm_##message, field##_bytes)
#define MM_NEED_REQUIRED true
#define MM_NEED_OPTIONAL false

#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) static const struct mm_field_info fields_##name[] = {
#define MM_FIELD(TYPE, message, field, need, bound, meaning)                                        \
    {#field, MM_VALUE_##TYPE, offsetof(struct mm_##message, field), MM_COUNT_##TYPE(message, field), \
     bound, MM_NEED_##need, meaning},
#define MM_END(name) {NULL, MM_VALUE_U32, 0, 0, 0, false, NULL}};
#include "proto/expand.h"

#define MM_FIELDS(name) (sizeof fields_##name / sizeof fields_##name[0] - 1)
#define MM_FROM_C MM_FROM_CLIENT
#define MM_FROM_D MM_FROM_DAEMON

static const struct mm_message_info messages[] = {
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning)                  \
    {id, #NAME, MM_FROM_##direction, since, fds, meaning, sizeof(struct mm_##name), \
     fields_##name, MM_FIELDS(name)},
#include "proto/expand.h"
};

enum {                                  /* where in it each message is */
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) MESSAGE_ROW_##NAME,
#include "proto/expand.h"
    MESSAGE_ROWS
};

#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning)                                   \
    _Static_assert((fds) <= MM_PACKET_FDS, "the descriptors of " #NAME " fit into a packet");         \
    _Static_assert(MM_FIELDS(name) <= 32, "the fields of " #NAME " fit into a set of 32 bits");
#include "proto/expand.h"

const struct mm_message_info *mm_message_info(uint32_t id)
{
    switch (id) {                       /* an id that is in the list twice does not compile */
#define MM_MESSAGE(id, NAME, name, direction, since, fds, meaning) \
    case MM_MSG_##NAME: return &messages[MESSAGE_ROW_##NAME];
#include "proto/expand.h"
    default: return NULL;
    }
}

const struct mm_message_info *mm_message_list(unsigned *ret_count)
{
    *ret_count = MESSAGE_ROWS;
    return messages;
}

/* Encoding. */

static uint32_t field_count(const struct mm_field_info *field, const char *as)
{
    return *(const uint32_t *)(as + field->count_offset);
}

static bool field_valid(const struct mm_field_info *field, const char *as)
{
    const char *at = as + field->offset;
    switch (field->type) {
    case MM_VALUE_TEXT:
        return memchr(at, '\0', (size_t)field->bound + 1) != NULL;
    case MM_VALUE_LIST:
        return field_count(field, as) <= field->bound;
    case MM_VALUE_BLOB: {
        const unsigned char *blob = *(const void *const *)at;
        uint32_t count = field_count(field, as);
        if (count == 0)
            return !field->required;
        struct mm_reader reader = {blob, blob + count};
        return mm_reader_skip(&reader, MM_PACKET_DEPTH - 2) && reader.at == reader.end;     /* inside array and map */
    }
    default:
        return true;
    }
}

static bool field_left_out(const struct mm_field_info *field, const char *as)
{
    const char *at = as + field->offset;
    if (field->required)
        return false;
    switch (field->type) {
    case MM_VALUE_U32:  return *(const uint32_t *)at == 0;
    case MM_VALUE_U64:  return *(const uint64_t *)at == 0;
    case MM_VALUE_BOOL: return !*(const bool *)at;
    case MM_VALUE_TEXT: return *at == '\0';
    default:            return field_count(field, as) == 0;
    }
}

static void list_encode(msgpack_packer *packer, const uint32_t *list, uint32_t count)
{
    msgpack_pack_array(packer, count);
    for (uint32_t i = 0; i < count; i++)
        msgpack_pack_uint32(packer, list[i]);
}

static void field_encode(msgpack_packer *packer, const struct mm_field_info *field, const char *as)
{
    const char *at = as + field->offset;
    msgpack_pack_str_with_body(packer, field->name, strlen(field->name));
    switch (field->type) {
    case MM_VALUE_U32:  msgpack_pack_uint32(packer, *(const uint32_t *)at); break;
    case MM_VALUE_U64:  msgpack_pack_uint64(packer, *(const uint64_t *)at); break;
    case MM_VALUE_BOOL: (void)(*(const bool *)at ? msgpack_pack_true(packer) : msgpack_pack_false(packer)); break;
    case MM_VALUE_TEXT: msgpack_pack_str_with_body(packer, at, strlen(at)); break;
    case MM_VALUE_LIST: list_encode(packer, (const uint32_t *)at, field_count(field, as)); break;
    case MM_VALUE_BLOB: mm_writer_put(packer->data, *(const char *const *)at, field_count(field, as)); break;
    }
}

int mm_message_encode(const struct mm_message *message, void *packet, size_t capacity, size_t *ret_bytes)
{
    const struct mm_message_info *info = mm_message_info(message->id);
    const char *as = (const char *)&message->as;
    unsigned said = 0;
    if (!info)
        return -EINVAL;
    for (const struct mm_field_info *field = info->fields; field->name; field++) {
        if (!field_valid(field, as))
            return -EINVAL;
        said += !field_left_out(field, as);
    }

    struct mm_writer writer = {packet, (char *)packet + (capacity < MM_PACKET_MAX ? capacity : MM_PACKET_MAX), false};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &writer, mm_writer_put);
    msgpack_pack_array(&packer, 3);
    msgpack_pack_uint32(&packer, message->id);
    msgpack_pack_uint32(&packer, message->seq);
    msgpack_pack_map(&packer, said);
    for (const struct mm_field_info *field = info->fields; field->name; field++)
        if (!field_left_out(field, as))
            field_encode(&packer, field, as);
    if (writer.full)
        return -EMSGSIZE;
    *ret_bytes = (size_t)(writer.at - (char *)packet);
    return 0;
}

/* Decoding. True is good; false makes the packet malformed. */

static bool u64_decode(struct mm_reader *reader, uint64_t most, uint64_t *ret_value)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire) || wire.kind != MM_WIRE_UNSIGNED || wire.number > most)
        return false;
    *ret_value = wire.number;
    return true;
}

static bool u32_decode(struct mm_reader *reader, uint32_t *ret_value)
{
    uint64_t value;
    if (!u64_decode(reader, UINT32_MAX, &value))
        return false;
    *ret_value = (uint32_t)value;
    return true;
}

static bool bool_decode(struct mm_reader *reader, bool *ret_value)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire) || wire.kind != MM_WIRE_BOOL)
        return false;
    *ret_value = wire.number != 0;
    return true;
}

static bool text_decode(struct mm_reader *reader, uint32_t bound, char *ret_text)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire) || wire.kind != MM_WIRE_TEXT || wire.number > bound)
        return false;
    if (memchr(wire.bytes, '\0', wire.number))
        return false;
    memcpy(ret_text, wire.bytes, wire.number);
    ret_text[wire.number] = '\0';
    return true;
}

static bool list_decode(struct mm_reader *reader, uint32_t bound, uint32_t *ret_list, uint32_t *ret_count)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire) || wire.kind != MM_WIRE_ARRAY || wire.number > bound)
        return false;
    for (uint64_t i = 0; i < wire.number; i++)
        if (!u32_decode(reader, &ret_list[i]))
            return false;
    *ret_count = (uint32_t)wire.number;
    return true;
}

static bool blob_decode(struct mm_reader *reader, const void **ret_blob, uint32_t *ret_bytes)
{
    const unsigned char *start = reader->at;
    if (!mm_reader_skip(reader, MM_PACKET_DEPTH))
        return false;
    *ret_blob = start;
    *ret_bytes = (uint32_t)(reader->at - start);
    return true;
}

static bool field_decode(struct mm_reader *reader, const struct mm_field_info *field, char *as)
{
    char *at = as + field->offset;
    uint32_t *count = (uint32_t *)(as + field->count_offset);       /* LIST and BLOB only */
    switch (field->type) {
    case MM_VALUE_U32:  return u32_decode(reader, (uint32_t *)at);
    case MM_VALUE_U64:  return u64_decode(reader, UINT64_MAX, (uint64_t *)at);
    case MM_VALUE_BOOL: return bool_decode(reader, (bool *)at);
    case MM_VALUE_TEXT: return text_decode(reader, field->bound, at);
    case MM_VALUE_LIST: return list_decode(reader, field->bound, (uint32_t *)at, count);
    case MM_VALUE_BLOB: return blob_decode(reader, (const void **)at, count);
    }
    return false;
}

static const struct mm_field_info *field_find(const struct mm_message_info *info, const struct mm_wire *key)
{
    for (const struct mm_field_info *field = info->fields; field->name; field++)
        if (strlen(field->name) == key->number && memcmp(field->name, key->bytes, key->number) == 0)
            return field;
    return NULL;
}

/* One pair of the body. `seen` is the set of fields that came already. */
static bool pair_decode(struct mm_reader *reader, const struct mm_message_info *info, char *as, uint32_t *seen)
{
    struct mm_wire key;
    if (!mm_reader_next(reader, &key) || key.kind != MM_WIRE_TEXT)
        return false;
    const struct mm_field_info *field = field_find(info, &key);
    if (!field)
        return mm_reader_skip(reader, MM_PACKET_DEPTH);
    uint32_t bit = (uint32_t)1 << (field - info->fields);
    if (*seen & bit)
        return false;
    *seen |= bit;
    return field_decode(reader, field, as);
}

static bool body_decode(struct mm_reader *reader, const struct mm_message_info *info, char *as)
{
    struct mm_wire map;
    uint32_t seen = 0;
    memset(as, 0, info->struct_bytes);
    if (!mm_reader_next(reader, &map))
        return false;
    for (uint64_t i = 0; i < map.number; i++)
        if (!pair_decode(reader, info, as, &seen))
            return false;
    for (unsigned i = 0; i < info->field_count; i++)
        if (info->fields[i].required && !(seen >> i & 1))
            return false;
    return true;
}

/* Leaves `reader` at the body, which is known to be a well-formed map that ends where the packet ends. */
static bool packet_open(struct mm_reader *reader, uint32_t *ret_id, uint32_t *ret_seq)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire) || wire.kind != MM_WIRE_ARRAY || wire.number != 3)
        return false;
    if (!u32_decode(reader, ret_id) || !u32_decode(reader, ret_seq))
        return false;
    struct mm_reader head = *reader, all = *reader;
    if (!mm_reader_next(&head, &wire) || wire.kind != MM_WIRE_MAP)
        return false;
    return mm_reader_skip(&all, MM_PACKET_DEPTH - 1) && all.at == all.end;
}

int mm_message_decode(const void *packet, size_t bytes, enum mm_direction from, struct mm_message *ret_message)
{
    ret_message->id = ret_message->seq = 0;
    if (bytes == 0 || bytes > MM_PACKET_MAX)
        return -EPROTO;
    struct mm_reader reader = {packet, (const unsigned char *)packet + bytes};
    if (!packet_open(&reader, &ret_message->id, &ret_message->seq))
        return -EPROTO;
    const struct mm_message_info *info = mm_message_info(ret_message->id);
    if (!info)
        return -ENOMSG;
    if (info->from != from)
        return -EBADMSG;
    return body_decode(&reader, info, (char *)&ret_message->as) ? 0 : -EPROTO;
}
