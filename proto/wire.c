/* wire.c — the msgpack format: one table of its tags. See wire.h. */
#include "proto/wire.h"

#include <string.h>

int mm_writer_put(void *data, const char *bytes, size_t count)
{
    struct mm_writer *writer = data;
    if (writer->full || count > (size_t)(writer->end - writer->at)) {
        writer->full = true;
        return -1;
    }
    if (count > 0)
        memcpy(writer->at, bytes, count);
    writer->at += count;
    return 0;
}

/* What a tag of 0xc0 to 0xdf announces: a big-endian number of `width` bytes, or without one the `number` itself. */
struct wire_tag {
    uint8_t kind;
    uint8_t width;
    uint8_t number;
    bool is_signed;
};

static const struct wire_tag wire_tags[32] = {
    [0x00] = {.kind = MM_WIRE_NIL},
    [0x01] = {.kind = MM_WIRE_NEVER},
    [0x02] = {.kind = MM_WIRE_BOOL, .number = 0},
    [0x03] = {.kind = MM_WIRE_BOOL, .number = 1},
    [0x04] = {.kind = MM_WIRE_BINARY, .width = 1},
    [0x05] = {.kind = MM_WIRE_BINARY, .width = 2},
    [0x06] = {.kind = MM_WIRE_BINARY, .width = 4},
    [0x07] = {.kind = MM_WIRE_EXTENSION, .width = 1},
    [0x08] = {.kind = MM_WIRE_EXTENSION, .width = 2},
    [0x09] = {.kind = MM_WIRE_EXTENSION, .width = 4},
    [0x0a] = {.kind = MM_WIRE_FLOAT, .width = 4},
    [0x0b] = {.kind = MM_WIRE_FLOAT, .width = 8},
    [0x0c] = {.kind = MM_WIRE_UNSIGNED, .width = 1},
    [0x0d] = {.kind = MM_WIRE_UNSIGNED, .width = 2},
    [0x0e] = {.kind = MM_WIRE_UNSIGNED, .width = 4},
    [0x0f] = {.kind = MM_WIRE_UNSIGNED, .width = 8},
    [0x10] = {.kind = MM_WIRE_UNSIGNED, .width = 1, .is_signed = true},
    [0x11] = {.kind = MM_WIRE_UNSIGNED, .width = 2, .is_signed = true},
    [0x12] = {.kind = MM_WIRE_UNSIGNED, .width = 4, .is_signed = true},
    [0x13] = {.kind = MM_WIRE_UNSIGNED, .width = 8, .is_signed = true},
    [0x14] = {.kind = MM_WIRE_EXTENSION, .number = 1},
    [0x15] = {.kind = MM_WIRE_EXTENSION, .number = 2},
    [0x16] = {.kind = MM_WIRE_EXTENSION, .number = 4},
    [0x17] = {.kind = MM_WIRE_EXTENSION, .number = 8},
    [0x18] = {.kind = MM_WIRE_EXTENSION, .number = 16},
    [0x19] = {.kind = MM_WIRE_TEXT, .width = 1},
    [0x1a] = {.kind = MM_WIRE_TEXT, .width = 2},
    [0x1b] = {.kind = MM_WIRE_TEXT, .width = 4},
    [0x1c] = {.kind = MM_WIRE_ARRAY, .width = 2},
    [0x1d] = {.kind = MM_WIRE_ARRAY, .width = 4},
    [0x1e] = {.kind = MM_WIRE_MAP, .width = 2},
    [0x1f] = {.kind = MM_WIRE_MAP, .width = 4},
};

static size_t reader_left(const struct mm_reader *reader)
{
    return (size_t)(reader->end - reader->at);
}

static bool number_read(struct mm_reader *reader, unsigned width, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (width > reader_left(reader))
        return false;
    for (unsigned i = 0; i < width; i++)
        number = number << 8 | *reader->at++;
    *ret_number = number;
    return true;
}

static bool payload_take(struct mm_reader *reader, uint64_t count, const char **ret_bytes)
{
    if (count > reader_left(reader))
        return false;
    *ret_bytes = (const char *)reader->at;
    reader->at += count;
    return true;
}

/* The number of a tag is known; what follows it must be there, or at least be possible: an element has a byte or more. */
static bool wire_finish(struct mm_reader *reader, struct mm_wire *wire)
{
    switch (wire->kind) {
    case MM_WIRE_NEVER:     return false;
    case MM_WIRE_TEXT:
    case MM_WIRE_BINARY:    return payload_take(reader, wire->number, &wire->bytes);
    case MM_WIRE_EXTENSION: return payload_take(reader, wire->number + 1, &wire->bytes);     /* its type byte */
    case MM_WIRE_ARRAY:     return wire->number <= reader_left(reader);
    case MM_WIRE_MAP:       return wire->number <= reader_left(reader) / 2;
    default:                return true;
    }
}

static bool tag_read(struct mm_reader *reader, const struct wire_tag *tag, struct mm_wire *wire)
{
    wire->kind = (enum mm_wire_kind)tag->kind;
    wire->number = tag->number;
    if (tag->width > 0 && !number_read(reader, tag->width, &wire->number))
        return false;
    if (tag->is_signed && wire->number >> (tag->width * 8 - 1) != 0)
        wire->kind = MM_WIRE_NEGATIVE;
    return wire_finish(reader, wire);
}

bool mm_reader_next(struct mm_reader *reader, struct mm_wire *ret_wire)
{
    struct mm_wire wire = {MM_WIRE_UNSIGNED, 0, NULL};
    if (reader->at == reader->end)
        return false;
    unsigned char tag = *reader->at++;
    bool good = true;
    if (tag >= 0xe0) {
        wire.kind = MM_WIRE_NEGATIVE;
    } else if (tag >= 0xc0) {
        good = tag_read(reader, &wire_tags[tag - 0xc0], &wire);
    } else if (tag >= 0x80) {
        wire.kind = tag >= 0xa0 ? MM_WIRE_TEXT : tag >= 0x90 ? MM_WIRE_ARRAY : MM_WIRE_MAP;
        wire.number = tag >= 0xa0 ? tag & 31 : tag & 15;
        good = wire_finish(reader, &wire);
    } else {
        wire.number = tag;
    }
    if (good)
        *ret_wire = wire;
    return good;
}

bool mm_reader_skip(struct mm_reader *reader, unsigned depth)
{
    struct mm_wire wire;
    if (!mm_reader_next(reader, &wire))
        return false;
    if (wire.kind != MM_WIRE_ARRAY && wire.kind != MM_WIRE_MAP)
        return true;
    if (depth == 0)
        return false;
    uint64_t values = wire.kind == MM_WIRE_MAP ? wire.number * 2 : wire.number;
    for (uint64_t i = 0; i < values; i++)
        if (!mm_reader_skip(reader, depth - 1))
            return false;
    return true;
}
