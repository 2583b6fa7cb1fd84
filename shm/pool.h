/* pool.h — size classes, and the page table at the head of a pool's span.
 *
 * A span is a run of at most 32 blocks (one chunk's worth) cut into 4 KiB pages. Its first pages hold the run header and one
 * struct mm_pool_page for each page; the others are slabs of equal cells, or large allocations of whole pages. A span of more
 * than 32 blocks holds one allocation only and describes only its first 512 pages.
 * The client owns all of it; the daemon reads it to count.
 */
#ifndef MM_POOL_H
#define MM_POOL_H

#include "shm/space.h"

#define MM_POOL_CELL_MAX      16384u
#define MM_POOL_CLASSES       36u
#define MM_POOL_SPAN_BLOCKS   32u
#define MM_POOL_SPAN_PAGES    (MM_POOL_SPAN_BLOCKS * (MM_BLOCK_BYTES / MM_PAGE_BYTES))   /* 512 */

enum mm_pool_page_kind { MM_PAGE_FREE = 0, MM_PAGE_SLAB, MM_PAGE_LARGE, MM_PAGE_TAIL, MM_PAGE_META };

struct mm_pool_page {
    /*  0 */ uint32_t free_off;     /* SLAB: first free cell, bytes from the span's start; 0: none */
    /*  4 */ uint16_t used;         /* SLAB: cells in use */
    /*  6 */ uint16_t capacity;     /* SLAB: cells in all */
    /*  8 */ uint16_t fresh;        /* SLAB: cells handed out at least once; those beyond are untouched */
    /* 10 */ uint8_t  size_class;   /* SLAB */
    /* 11 */ uint8_t  kind;         /* enum mm_pool_page_kind */
    /* 12 */ uint32_t pages;        /* SLAB, LARGE: length; TAIL: pages back to the first; FREE: unused */
    /* 16 */ uint64_t next;         /* SLAB: client's list of slabs with a free cell */
    /* 24 */ uint64_t prev;
};
_Static_assert(sizeof(struct mm_pool_page) == 32, "layout v1");
_Static_assert(offsetof(struct mm_pool_page, used) == 4, "layout v1");
_Static_assert(offsetof(struct mm_pool_page, size_class) == 10, "layout v1");
_Static_assert(offsetof(struct mm_pool_page, pages) == 12, "layout v1");

#define MM_POOL_TABLE_OFF     MM_RUN_HEADER_BYTES

/* Described pages of a span of `blocks` blocks, and the pages that header and table take. */
static inline uint32_t mm_pool_pages(uint32_t blocks)
{
    uint32_t pages = blocks > MM_POOL_SPAN_BLOCKS ? MM_POOL_SPAN_PAGES : blocks * (MM_BLOCK_BYTES / MM_PAGE_BYTES);
    return pages;
}
static inline uint32_t mm_pool_meta_pages(uint32_t blocks)
{
    return (MM_POOL_TABLE_OFF + mm_pool_pages(blocks) * (uint32_t)sizeof(struct mm_pool_page) + MM_PAGE_BYTES - 1) / MM_PAGE_BYTES;
}

/* Classes: 16, 32 .. 128 in steps of 16, then four to each doubling: 160, 192, 224, 256, 320 .. 16384.
 * Waste is at most 25 % just above a power of two and 12.5 % on average beyond 128 bytes. */
static inline uint32_t mm_pool_class_of(uint32_t bytes)
{
    if (bytes <= 128)
        return bytes == 0 ? 0 : (bytes - 1) >> 4;
    uint32_t log = 31u - (uint32_t)__builtin_clz(bytes - 1);            /* 7 for 129..256 */
    return 8 + (log - 7) * 4 + (((bytes - 1) >> (log - 2)) & 3);
}
static inline uint32_t mm_pool_class_bytes(uint32_t size_class)
{
    if (size_class < 8)
        return (size_class + 1) << 4;
    uint32_t step = size_class - 8;
    return (5 + (step & 3)) << (5 + step / 4);
}

#endif
