/* layout.h — the geometry of a heap, and the version of everything in shm/.
 *
 *   granule 16 B · card 512 B · block 64 KiB · chunk 2 MiB · segment 2, 32 or 256 MiB
 *
 * A heap is one reserve of address space in the client and another in the daemon; the same offset means the same byte in
 * both. The reserve is filled with segments (sealed memfds, see memfd.h). Grants are counted in blocks.
 * Design: DESIGN section 3; docs/design/layout.md.
 */
#ifndef MM_LAYOUT_H
#define MM_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#define MM_LAYOUT_VERSION   5u          /* of every structure in shm/; client and daemon must agree exactly */

#define MM_GRANULE_BYTES    16u
#define MM_CARD_BYTES       512u
#define MM_CARD_SHIFT       9
#define MM_BLOCK_BYTES      65536u
#define MM_BLOCK_SHIFT      16
#define MM_CHUNK_BYTES      (2u << 20)
#define MM_CHUNK_SHIFT      21
#define MM_CHUNK_BLOCKS     (MM_CHUNK_BYTES / MM_BLOCK_BYTES)     /* 32: one word of bits */
#define MM_PAGE_BYTES       4096u                                 /* unit of pool pages; the kernel's page may be larger */

#define MM_SEGMENT_SMALL    ((uint64_t)2 << 20)
#define MM_SEGMENT_MEDIUM   ((uint64_t)32 << 20)
#define MM_SEGMENT_LARGE    ((uint64_t)256 << 20)
#define MM_SEGMENT_SIZES    3

#define MM_LARGE_BYTES      16384u                                /* more than this in all (header included): a large object */
#define MM_RESERVE_MAX      ((uint64_t)1 << 44)                   /* 16 TiB of address space for one heap */

/* Card bytes (DESIGN R4). From MM_CARD_DIRTY on a store has nothing to say; below it has. */
enum mm_card {
    MM_CARD_CLEAN = 0,
    MM_CARD_SLOT = 1,           /* to 64: of the card's words this one alone, counted from here, has been stored into */
    MM_CARD_DIRTY = 0x80,
    MM_CARD_YOUNG = 0x81
};
#define MM_CARD_WORDS       (MM_CARD_BYTES / 8u)

#define MM_CARDS_OF(bytes)  ((bytes) >> MM_CARD_SHIFT)

static inline uint64_t mm_round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }
static inline uint64_t mm_blocks_for(uint64_t bytes) { return (bytes + MM_BLOCK_BYTES - 1) >> MM_BLOCK_SHIFT; }

_Static_assert(MM_CHUNK_BLOCKS == 32, "a chunk's blocks fit a 32-bit mask");

#endif
