/* view.h — the daemon's view of a heap: checked translation between the client's addresses and its own.
 *
 * A reference read out of client memory is testimony, not an address: it has its own one-field type, and the only way from
 * there to a pointer is mm_view_ref(), which judges it.
 */
#ifndef MM_VIEW_H
#define MM_VIEW_H

#include <stdbool.h>

#include "shm/layout.h"

/* A word that a client claims to be the address of a payload in its own address space. */
struct mm_ref { uint64_t word; };

struct mm_view {
    char    *base;              /* where this process has the reserve */
    uint64_t bytes;             /* of the reserve */
    uint64_t client_base;       /* where the client has it */
};

/* Is [off, off + bytes) inside the reserve? */
static inline bool mm_view_covers(const struct mm_view *view, uint64_t off, uint64_t bytes)
{
    return off <= view->bytes && bytes <= view->bytes - off;
}

/* Our pointer to [off, off + bytes), or NULL if that is not inside. Whether memory is mapped there is the caller's knowledge. */
static inline void *mm_view_at(const struct mm_view *view, uint64_t off, uint64_t bytes)
{
    return mm_view_covers(view, off, bytes) ? view->base + off : NULL;
}

/* The offset of a client address; false if it is outside the reserve. One past the end counts as inside. */
static inline bool mm_view_off(const struct mm_view *view, uint64_t client_address, uint64_t *ret_off)
{
    uint64_t off = client_address - view->client_base;          /* wraps when below: then far too large */
    if (off > view->bytes)
        return false;
    *ret_off = off;
    return true;
}

/* The offset of the header of the object that `ref` names; false unless it is granule-aligned with room for a header before it. */
static inline bool mm_view_ref(const struct mm_view *view, struct mm_ref ref, uint64_t *ret_off)
{
    uint64_t off;
    if (!mm_view_off(view, ref.word, &off) || off % MM_GRANULE_BYTES != 0 || off < 16 || off >= view->bytes)
        return false;
    *ret_off = off - 16;
    return true;
}

#endif
