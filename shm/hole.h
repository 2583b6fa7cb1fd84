/* hole.h — free memory between the objects of an old block, as a thread is given it.
 *
 * A hole is one word: the granule of the block at which it begins, and its length in granules; 0: none. A grant names the first hole of its block, and
 * each hole begins with two words: the next one, further up, and the next one that is longer than it. So a thread whose object does not fit passes over all that
 * would not fit either without a look at them: they lie in memory that nobody has touched for long. The rest of a hole is what was there before; its thread
 * zeroes all of it as it comes to it, unless the cell says that it is zero. The first word has no MM_BORN, so a walk from header to header ends at it as it does
 * at a zero. A free block is a chain of one.
 * Two writers never: the daemon writes a chain before it publishes the cell, and nobody reads a word of it but the thread. The daemon keeps a map of what it
 * granted and believes no chain.
 */
#ifndef MM_HOLE_H
#define MM_HOLE_H

#include <stdbool.h>

#include "shm/layout.h"

static inline uint32_t mm_hole_make(uint32_t granule, uint32_t granules) { return granule | granules << 16; }
static inline uint32_t mm_hole_off(uint32_t hole) { return (hole & 0xffff) * MM_GRANULE_BYTES; }
static inline uint32_t mm_hole_bytes(uint32_t hole) { return (hole >> 16) * MM_GRANULE_BYTES; }

#define MM_HOLE_BLOCK mm_hole_make(0, MM_BLOCK_BYTES / MM_GRANULE_BYTES)        /* all of a block */

/* Where objects never move: longer ones than this, header included, that do not fit the hole at hand have a cursor of their own (client/nursery.c). */
#define MM_HOLE_SMALL_BYTES 64u

struct mm_hole_links { uint64_t next, longer; };
_Static_assert(sizeof(struct mm_hole_links) == MM_GRANULE_BYTES, "layout v5: the shortest hole has two granules");

/* Does `next`, as hole `hole` names it, lie behind it and in the block? */
static inline bool mm_hole_follows(uint32_t hole, uint64_t next)
{
    uint64_t end = (uint64_t)mm_hole_off((uint32_t)next) + mm_hole_bytes((uint32_t)next);
    return next <= UINT32_MAX && mm_hole_bytes((uint32_t)next) && mm_hole_off((uint32_t)next) >= mm_hole_off(hole) + mm_hole_bytes(hole) && end <= MM_BLOCK_BYTES;
}

#endif
