/* wire.h — msgpack bytes inside bounds: a writer for msgpack-c's packer, and a reader for bytes from a stranger.
 *
 * msgpack-c's unpacker allocates in proportion to the counts that a packet claims; this reader allocates nothing and believes no
 * count that the bytes left could not hold. Used by message.c and report.c only.
 * Invariant: start <= at <= end, whatever the bytes say. Threads: any; no state but the struct.
 */
#ifndef MM_WIRE_H
#define MM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once something did not fit, the writer stays `full` and takes nothing more: one look at the end suffices. */
struct mm_writer {
    char *at;
    char *end;
    bool full;
};

/* Appends `count` bytes; a msgpack_packer_write. 0, or -1 if the writer is full. */
int mm_writer_put(void *writer, const char *bytes, size_t count);

struct mm_reader {
    const unsigned char *at;
    const unsigned char *end;
};

enum mm_wire_kind {
    MM_WIRE_NEVER, MM_WIRE_NIL, MM_WIRE_BOOL, MM_WIRE_UNSIGNED, MM_WIRE_NEGATIVE, MM_WIRE_FLOAT,
    MM_WIRE_TEXT, MM_WIRE_BINARY, MM_WIRE_EXTENSION, MM_WIRE_ARRAY, MM_WIRE_MAP
};

struct mm_wire {
    enum mm_wire_kind kind;
    uint64_t number;                    /* BOOL, UNSIGNED: value; TEXT, BINARY: bytes; ARRAY: elements; MAP: pairs */
    const char *bytes;                  /* TEXT, BINARY: borrowed from the packet */
};

/* Reads one value, of a container only its head. False: no well-formed value here, or one that claims more than is left. */
bool mm_reader_next(struct mm_reader *reader, struct mm_wire *ret_wire);

/* Steps over one value with all that is in it, at most `depth` containers deep. False: as above, or deeper. */
bool mm_reader_skip(struct mm_reader *reader, unsigned depth);

#endif
