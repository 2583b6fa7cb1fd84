/* handle.h — the table of global roots: handles, weak handles, pins and finalizers of a heap.
 *
 * Entries belong to the client: it takes one under its lock, fills it and gives it back. The daemon reads and updates them in
 * pauses only, when no thread of the client runs; so no access needs an order of its own.
 * A minor collection must not visit every handle: a group of 64 entries has a byte that the client sets whenever it changes one of
 * them, and that a collection clears when no entry of the group refers to a young object any more.
 *
 * Finalizers: an entry FINALIZER does not keep its object alive. When nothing else does, the collection makes it READY (which
 * does) and appends it to the queue: control->ready_head and then `next` are entry numbers, 0 ends it. Within one collection in the
 * order of `seq`. The client takes from the head.
 */
#ifndef MM_HANDLE_H
#define MM_HANDLE_H

#include "shm/layout.h"

#define MM_HANDLES             262144u      /* entry 0 is never used */
#define MM_HANDLE_GROUP        64u
#define MM_HANDLE_GROUPS       (MM_HANDLES / MM_HANDLE_GROUP)

#define MM_HANDLE_KINDS(X)                                                  \
    X(FREE,      "nobody's; `next` is the client's")                        \
    X(STRONG,    "keeps its object alive")                                  \
    X(WEAK,      "does not; becomes 0 when the object is gone")             \
    X(PIN,       "keeps its object alive and where it is")                  \
    X(FINALIZER, "does not keep it; becomes READY instead of losing it")    \
    X(READY,     "in the finalizer queue; keeps its object alive")
enum mm_handle_kind {
#define X(name, text) MM_HANDLE_##name,
    MM_HANDLE_KINDS(X)
#undef X
    MM_HANDLE_KIND_COUNT
};

struct mm_handle {
    /*  0 */ uint64_t word;         /* client address of the object's payload; both */
    /*  8 */ uint64_t tag;          /* client: its own */
    /* 16 */ uint64_t seq;          /* client: FINALIZER: order of registration */
    /* 24 */ uint32_t kind;         /* enum mm_handle_kind; both */
    /* 28 */ uint32_t next;         /* FREE: client; READY: daemon */
};
_Static_assert(sizeof(struct mm_handle) == 32, "layout v2");
_Static_assert(offsetof(struct mm_handle, seq) == 16, "layout v2");
_Static_assert(offsetof(struct mm_handle, kind) == 24, "layout v2");

#define MM_HANDLE_AREA_BYTES   ((uint64_t)MM_HANDLES * sizeof(struct mm_handle) + MM_HANDLE_GROUPS)

#endif
