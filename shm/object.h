/* object.h — the 16-byte object header.
 *
 *   at  bytes  field                                                     written by
 *    0    4    payload size in bytes                                     client, at birth
 *    4    2    type id (0: raw bytes without references)                 client, at birth
 *    6    1    age: collections survived; 0xff outside collected spaces  daemon
 *    7    1    flags                                                     both, flag by flag
 *    8    8    forwarding address while moving, else embedder's word     both
 *
 * Word 0 is written by one 8-byte store, so a walker sees all of it or nothing. BORN is set in every header: a zero word
 * ends a walk. An object starts on a granule and takes header + payload, rounded up to granules.
 */
#ifndef MM_OBJECT_H
#define MM_OBJECT_H

#include "shm/layout.h"

struct mm_object {
    uint32_t bytes;
    uint16_t type;
    uint8_t  age;
    uint8_t  flags;
    uint64_t word;
};
_Static_assert(sizeof(struct mm_object) == 16, "layout v1");
_Static_assert(offsetof(struct mm_object, bytes) == 0, "layout v1");
_Static_assert(offsetof(struct mm_object, type) == 4, "layout v1");
_Static_assert(offsetof(struct mm_object, age) == 6, "layout v1");
_Static_assert(offsetof(struct mm_object, flags) == 7, "layout v1");
_Static_assert(offsetof(struct mm_object, word) == 8, "layout v1");

#define MM_HEADER_BYTES     16u
#define MM_OBJECT_MAX_BYTES (UINT32_MAX - 64u)          /* payload of one typed object */
#define MM_TYPE_RAW         0u
#define MM_TYPES_MAX        65535u

enum mm_object_flag {
    MM_BORN      = 0x01,        /* always */
    MM_PINNED    = 0x02,
    MM_FINALIZER = 0x04,
    MM_HASHED    = 0x08,
    MM_LARGE     = 0x10,
    MM_FILLER    = 0x20,        /* a gap, not an object */
};

static inline uint64_t mm_header_make(uint32_t bytes, uint16_t type, uint8_t flags)
{
    return (uint64_t)bytes | (uint64_t)type << 32 | (uint64_t)(flags | MM_BORN) << 56;
}
static inline uint32_t mm_header_bytes(uint64_t word0) { return (uint32_t)word0; }
static inline uint16_t mm_header_type(uint64_t word0) { return (uint16_t)(word0 >> 32); }
static inline uint8_t  mm_header_flags(uint64_t word0) { return (uint8_t)(word0 >> 56); }

/* Header and payload, in whole granules. */
static inline uint64_t mm_object_extent(uint32_t payload_bytes)
{
    return mm_round_up((uint64_t)payload_bytes + MM_HEADER_BYTES, MM_GRANULE_BYTES);
}

#endif
