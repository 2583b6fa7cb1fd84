/* mtr.c — the reader of traces: a window of decoded bytes, numbers taken from it, records made of numbers. See mtr.h. */
#include "mtr.h"

#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_BYTES   65536u
#define DECODER_BYTES  ((uint64_t)128 << 20)    /* what a compressed file may make the decoder use */

struct list { void *memory; uint64_t room; };

struct mtr {
    FILE *file;
    bool compressed, file_ended, decoder_ended, ended;
    lzma_stream decoder;
    uint8_t packed[WINDOW_BYTES], window[WINDOW_BYTES];
    uint64_t at, filled;                        /* in `window` */
    uint64_t allocated;                         /* objects so far: every id is below */
    struct list ids, edges;
    const char *error;
};

static int damage(struct mtr *trace, const char *what)
{
    trace->error = what;
    return -EINVAL;
}

/* ---- Bytes ---- */

static int window_decode(struct mtr *trace)
{
    lzma_stream *decoder = &trace->decoder;
    decoder->next_out = trace->window;
    decoder->avail_out = WINDOW_BYTES;
    while (decoder->avail_out == WINDOW_BYTES && !trace->decoder_ended) {
        if (decoder->avail_in == 0 && !trace->file_ended) {
            decoder->next_in = trace->packed;
            decoder->avail_in = fread(trace->packed, 1, WINDOW_BYTES, trace->file);
            trace->file_ended = decoder->avail_in < WINDOW_BYTES;
        }
        lzma_ret r = lzma_code(decoder, trace->file_ended ? LZMA_FINISH : LZMA_RUN);
        if (r == LZMA_STREAM_END)
            trace->decoder_ended = true;
        else if (r != LZMA_OK)
            return damage(trace, r == LZMA_MEMLIMIT_ERROR ? "unpacking needs too much memory" : "the packed data are damaged");
    }
    trace->filled = WINDOW_BYTES - decoder->avail_out;
    return 0;
}

/* Refills an empty window. 1: there is something in it. 0: the file has ended. */
static int window_fill(struct mtr *trace)
{
    trace->at = trace->filled = 0;
    if (trace->compressed) {
        int r = window_decode(trace);
        if (r < 0)
            return r;
    } else {
        trace->filled = fread(trace->window, 1, WINDOW_BYTES, trace->file);
    }
    if (trace->filled == 0 && ferror(trace->file)) {
        trace->error = "the file cannot be read";
        return -EIO;
    }
    return trace->filled > 0;
}

static int byte_take(struct mtr *trace, uint8_t *ret_byte)
{
    if (trace->at == trace->filled) {
        int r = window_fill(trace);
        if (r <= 0)
            return r < 0 ? r : damage(trace, "the trace ends too early");
    }
    *ret_byte = trace->window[trace->at++];
    return 0;
}

/* An LEB128 number of at most 64 bits. */
static int number_take(struct mtr *trace, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte;
        int r = byte_take(trace, &byte);
        if (r < 0)
            return r;
        uint64_t bits = byte & 0x7f;
        if (shift == 63 && bits > 1)
            break;
        number |= bits << shift;
        if (!(byte & 0x80)) {
            *ret_number = number;
            return 0;
        }
    }
    return damage(trace, "a number has more than 64 bits");
}

/* ---- Records ---- */

/* Makes room for one item more at `count`. Doubles, so memory stays in proportion to what was read. */
static int list_grow(struct mtr *trace, struct list *list, uint64_t count, size_t item_bytes)
{
    if (count < list->room)
        return 0;
    uint64_t room = list->room ? list->room * 2 : 1024;
    void *memory = realloc(list->memory, room * item_bytes);
    if (!memory) {
        trace->error = "out of memory";
        return -ENOMEM;
    }
    list->memory = memory;
    list->room = room;
    return 0;
}

static int alloc_take(struct mtr *trace, struct mtr_record *record)
{
    int r = number_take(trace, &record->bytes);
    if (r < 0 || (r = number_take(trace, &record->type)) < 0)
        return r;
    if (record->bytes > MTR_SIZE_MAX || record->type >= MTR_TYPE_MAX)
        return damage(trace, "an object has an impossible size or type");
    record->id = trace->allocated++;
    return 0;
}

static int roots_take(struct mtr *trace, struct mtr_record *record)
{
    int r = number_take(trace, &record->push_count);
    return r < 0 ? r : number_take(trace, &record->pop_count);
}

static int ids_take(struct mtr *trace, struct mtr_record *record)
{
    uint64_t id = 0, delta;
    int r = number_take(trace, &record->count);
    if (r < 0)
        return r;
    for (uint64_t i = 0; i < record->count; i++) {
        if ((r = number_take(trace, &delta)) < 0 || (r = list_grow(trace, &trace->ids, i, sizeof id)) < 0)
            return r;
        if (delta >= trace->allocated || id + delta >= trace->allocated || (i > 0 && delta == 0))
            return damage(trace, "a list names an object that does not exist, or one twice");
        id += delta;
        ((uint64_t *)trace->ids.memory)[i] = id;
    }
    record->ids = trace->ids.memory;
    return 0;
}

static int edges_take(struct mtr *trace, struct mtr_record *record)
{
    struct mtr_edge edge;
    int r = number_take(trace, &record->id);
    if (r < 0 || (r = number_take(trace, &record->count)) < 0)
        return r;
    if (record->id >= trace->allocated)
        return damage(trace, "an object that does not exist refers to others");
    for (uint64_t i = 0; i < record->count; i++) {
        if ((r = number_take(trace, &edge.slot)) < 0 || (r = number_take(trace, &edge.target)) < 0 ||
            (r = list_grow(trace, &trace->edges, i, sizeof edge)) < 0)
            return r;
        if (edge.target >= trace->allocated || edge.slot > MTR_SIZE_MAX / 8)
            return damage(trace, "a reference leads to an object that does not exist, or lies outside of its own");
        ((struct mtr_edge *)trace->edges.memory)[i] = edge;
    }
    record->edges = trace->edges.memory;
    return 0;
}

int mtr_next(struct mtr *trace, struct mtr_record *ret_record)
{
    uint8_t op = MTR_END;
    struct mtr_record record = { 0 };
    int r = trace->ended ? 0 : byte_take(trace, &op);
    if (r < 0)
        return r;
    switch (op) {
    case MTR_END:     trace->ended = true; break;
    case MTR_ALLOC:   r = alloc_take(trace, &record); break;
    case MTR_ROOTS:   r = roots_take(trace, &record); break;
    case MTR_ROOTSET:
    case MTR_DEAD:    r = ids_take(trace, &record); break;
    case MTR_EDGES:   r = edges_take(trace, &record); break;
    default:          r = damage(trace, "an unknown kind of record");
    }
    if (r < 0)
        return r;
    record.op = (enum mtr_op)op;
    *ret_record = record;
    return op != MTR_END;
}

/* ---- Opening ---- */

static int decoder_begin(struct mtr *trace)
{
    trace->decoder = (lzma_stream)LZMA_STREAM_INIT;
    trace->compressed = true;
    return lzma_stream_decoder(&trace->decoder, DECODER_BYTES, 0) == LZMA_OK ? 0 : -ENOMEM;
}

/* Takes the four bytes that every trace begins with; an xz header in their place means a packed one. */
static int magic_take(struct mtr *trace)
{
    static const uint8_t plain[] = { 'M', 'T', 'R', '1' }, xz[] = { 0xfd, '7', 'z', 'X', 'Z', 0 };
    uint8_t seen[sizeof xz];
    size_t got = fread(seen, 1, sizeof seen, trace->file);
    rewind(trace->file);
    int r = got == sizeof seen && memcmp(seen, xz, sizeof xz) == 0 ? decoder_begin(trace) : 0;
    for (unsigned i = 0; i < sizeof plain && r == 0; i++) {
        uint8_t byte;
        r = byte_take(trace, &byte);
        if (r == 0 && byte != plain[i])
            r = -EINVAL;
    }
    return r;
}

int mtr_open_stream(FILE *file, struct mtr **ret_trace)
{
    struct mtr *trace = calloc(1, sizeof *trace);
    if (!trace) {
        fclose(file);
        return -ENOMEM;
    }
    trace->file = file;
    trace->error = "nothing is wrong";
    int r = magic_take(trace);
    if (r < 0) {
        mtr_close(trace);
        return r;
    }
    *ret_trace = trace;
    return 0;
}

int mtr_open(const char *path, struct mtr **ret_trace)
{
    FILE *file = fopen(path, "rbe");
    return file ? mtr_open_stream(file, ret_trace) : -errno;
}

const char *mtr_error(const struct mtr *trace)
{
    return trace->error;
}

void mtr_close(struct mtr *trace)
{
    if (!trace)
        return;
    if (trace->compressed)
        lzma_end(&trace->decoder);
    fclose(trace->file);
    free(trace->ids.memory);
    free(trace->edges.memory);
    free(trace);
}

/* ---- Types ---- */

int mtr_types_read(const char *path, struct mtr_type *types, uint32_t room, uint32_t *ret_count)
{
    char line[512];
    uint32_t count = 0;
    bool inside = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    while (fgets(line, sizeof line, file)) {
        unsigned id, refs;
        unsigned long long objects, bytes, size;
        char name[sizeof types->name];
        if (strcmp(line, "types:\n") == 0)
            inside = true;
        else if (!inside || count == room ||
                 sscanf(line, " %u %63s count=%llu bytes=%llu size=%llu ptrs=%u", &id, name, &objects, &bytes, &size,
                        &refs) != 6 || id != count)
            inside = false;
        else {
            struct mtr_type *type = &types[count++];
            *type = (struct mtr_type){ .bytes = size, .refs = refs };
            memcpy(type->name, name, sizeof name);
        }
    }
    fclose(file);
    *ret_count = count;
    return count ? 0 : -EINVAL;
}
