/* control.h — the control area: one sealed memfd per heap, mapped by client and daemon, fixed at open.
 *
 *   page 0            struct mm_control
 *   slots_off         slot_count areas of MM_SLOT_STRIDE bytes (slot.h): slot and rings, card log, overwritten-value log, roots
 *   spaces_off        space_count entries of struct mm_space (space.h): the bump cursors of arenas and pools
 *   handles_off       MM_HANDLES entries of struct mm_handle (handle.h), then one byte for each group of 64 of them
 *   pretenure_off     one bit a type: set = its objects are born old
 *   cards_off         one byte for each card of the reserve (layout.h)
 *
 * The file is sparse: what no thread uses costs no memory. The daemon writes the descriptive words before the client sees the
 * area and keeps its own copy of each; it never reads them back. "client" and "daemon" below name the only writer of a word.
 */
#ifndef MM_CONTROL_H
#define MM_CONTROL_H

#include "shm/handle.h"
#include "shm/layout.h"
#include "shm/object.h"
#include "shm/slot.h"
#include "shm/space.h"

#define MM_CONTROL_MAGIC    0x4d4f5250u         /* "PROM" in memory order reads M-O-R-P backwards: any wrong-endian map shows */
#define MM_SLOTS_DEFAULT    64u
#define MM_SLOTS_MAX        1024u
#define MM_SPACES           16384u

struct mm_control {
    /*   0 */ uint32_t magic;               /* daemon */
    /*   4 */ uint32_t layout_version;      /* daemon */
    /*   8 */ uint64_t heap_id;             /* daemon */
    /*  16 */ uint64_t reserve_bytes;       /* daemon */
    /*  24 */ uint64_t limit_bytes;         /* daemon; moves (relaxed), the daemon's own copy decides */
    /*  32 */ uint64_t slots_off;           /* daemon */
    /*  40 */ uint64_t spaces_off;          /* daemon */
    /*  48 */ uint32_t slot_count;          /* daemon */
    /*  52 */ uint32_t space_count;         /* daemon */
    /*  56 */ uint64_t client_base;         /* client: for readers outside; the daemon uses what HELLO said */

    /*  64 */ uint32_t armed;               /* both, seq_cst: 1 = the worker sleeps, write the eventfd (PROTOCOLS 3) */
    /*  68 */ uint32_t reserved_armed[15];

    /* 128 */ uint32_t condemned;           /* daemon, once: a positive morphmem error number; the heap takes no more requests */
    /* 132 */ uint32_t huge_pages;          /* daemon: 1 = segments use 2 MiB pages, refill need not touch */
    /* 136 */ uint64_t granted_bytes;       /* daemon, relaxed: for the client's information */
    /* 144 */ uint64_t reserved_daemon[6];

    /* 192 */ uint32_t slots_high;          /* client, grows: slots below this may be in use */
    /* 196 */ uint32_t spaces_high;         /* client, grows */
    /* 200 */ uint32_t handles_high;        /* client, grows */
    /* 204 */ uint32_t reserved_client0;
    /* 208 */ uint64_t reserved_client[6];

    /* 256 */ uint32_t stop;                /* both: bit 0 stopping, bit 1 somebody sleeps on it, bits 2.. epoch (PROTOCOLS 1) */
    /* 260 */ uint32_t reserved_stop[15];

    /* 320 */ uint32_t mapped_chunks;       /* daemon, in pauses: references may point so far; hear SEGMENT before going on */
    /* 324 */ uint32_t pretenure_version;   /* daemon: changes with the pretenure bits */
    /* 328 */ uint32_t ready_head;          /* finalizer queue (handle.h): daemon in pauses, client while it runs */
    /* 332 */ uint32_t mode;                /* daemon: enum morph_mode */
    /* 336 */ uint64_t handles_off;         /* daemon */
    /* 344 */ uint64_t pretenure_off;       /* daemon */
    /* 352 */ uint64_t cards_off;           /* daemon */
    /* 360 */ uint64_t collections;         /* daemon, in pauses: how many have ended */
    /* 368 */ uint64_t live_bytes;          /* daemon, in pauses: after the last whole marking; 0: none yet */
    /* 376 */ uint32_t marking;             /* daemon, in pauses: 1 = threads log the references that they overwrite (PROTOCOLS 5) */
    /* 380 */ uint32_t reserved_pause0;
    /* 384 */ uint64_t pause_ns;            /* daemon, in pauses, as the next six: of all pauses since the heap was opened, */
    /* 392 */ uint64_t pause_max_ns;        /* and of the longest one */
    /* 400 */ uint64_t minor_collections;
    /* 408 */ uint64_t major_collections;   /* compactions among them */
    /* 416 */ uint64_t promoted_objects;    /* became old, moved or where they were */
    /* 424 */ uint64_t promoted_bytes;
    /* 432 */ uint64_t freed_bytes;         /* in blocks */
    /* 440 */ uint64_t reserved_pause[9];
};
_Static_assert(sizeof(struct mm_control) == 512, "layout v2");
_Static_assert(offsetof(struct mm_control, handles_high) == 200, "layout v2");
_Static_assert(offsetof(struct mm_control, stop) == 256, "a cache line of its own");
_Static_assert(offsetof(struct mm_control, mapped_chunks) == 320, "layout v2");
_Static_assert(offsetof(struct mm_control, ready_head) == 328, "layout v2");
_Static_assert(offsetof(struct mm_control, handles_off) == 336, "layout v2");
_Static_assert(offsetof(struct mm_control, cards_off) == 352, "layout v2");
_Static_assert(offsetof(struct mm_control, live_bytes) == 368, "layout v2");
_Static_assert(offsetof(struct mm_control, pause_ns) == 384, "layout v2");
_Static_assert(offsetof(struct mm_control, freed_bytes) == 432, "layout v2");
_Static_assert(offsetof(struct mm_control, heap_id) == 8, "layout v1");
_Static_assert(offsetof(struct mm_control, reserve_bytes) == 16, "layout v1");
_Static_assert(offsetof(struct mm_control, limit_bytes) == 24, "layout v1");
_Static_assert(offsetof(struct mm_control, slots_off) == 32, "layout v1");
_Static_assert(offsetof(struct mm_control, spaces_off) == 40, "layout v1");
_Static_assert(offsetof(struct mm_control, slot_count) == 48, "layout v1");
_Static_assert(offsetof(struct mm_control, space_count) == 52, "layout v1");
_Static_assert(offsetof(struct mm_control, client_base) == 56, "layout v1");
_Static_assert(offsetof(struct mm_control, armed) == 64, "a cache line of its own");
_Static_assert(offsetof(struct mm_control, condemned) == 128, "layout v1");
_Static_assert(offsetof(struct mm_control, huge_pages) == 132, "layout v1");
_Static_assert(offsetof(struct mm_control, granted_bytes) == 136, "layout v1");
_Static_assert(offsetof(struct mm_control, slots_high) == 192, "layout v1");
_Static_assert(offsetof(struct mm_control, spaces_high) == 196, "layout v1");

static inline uint64_t mm_control_slots_off(void) { return MM_PAGE_BYTES; }
static inline uint64_t mm_control_spaces_off(uint32_t slots) { return mm_control_slots_off() + (uint64_t)slots * MM_SLOT_STRIDE; }
static inline uint64_t mm_control_handles_off(uint32_t slots, uint32_t spaces)
{
    return mm_round_up(mm_control_spaces_off(slots) + (uint64_t)spaces * sizeof(struct mm_space), MM_PAGE_BYTES);
}
static inline uint64_t mm_control_pretenure_off(uint32_t slots, uint32_t spaces)
{
    return mm_control_handles_off(slots, spaces) + mm_round_up(MM_HANDLE_AREA_BYTES, MM_PAGE_BYTES);
}
static inline uint64_t mm_control_cards_off(uint32_t slots, uint32_t spaces)
{
    return mm_control_pretenure_off(slots, spaces) + mm_round_up((MM_TYPES_MAX + 1) / 8, MM_PAGE_BYTES);
}
static inline uint64_t mm_control_bytes(uint32_t slots, uint32_t spaces, uint64_t reserve_bytes)
{
    return mm_round_up(mm_control_cards_off(slots, spaces) + MM_CARDS_OF(reserve_bytes), MM_PAGE_BYTES);
}

/* What the descriptive words of an area say. */
struct mm_control_spec {
    uint64_t heap_id, reserve_bytes, limit_bytes;
    uint32_t slots, spaces, mode;
};

/* Fills in the descriptive words of a fresh (zero) area. Daemon, before anybody else sees it. */
void mm_control_init(struct mm_control *control, const struct mm_control_spec *spec);

/* What a client must find before it trusts an area of `bytes` mapped bytes with itself: magic, version, and offsets that lie
 * inside. Returns 0, -EPROTO (not an area) or -EPROTONOSUPPORT (another layout version). */
int mm_control_check(const struct mm_control *control, uint64_t bytes);

static inline struct mm_slot *mm_control_slot(struct mm_control *control, uint32_t index)
{
    return (struct mm_slot *)((char *)control + mm_control_slots_off() + (uint64_t)index * MM_SLOT_STRIDE);
}
static inline struct mm_space *mm_control_space(struct mm_control *control, uint32_t slots, uint32_t index)
{
    return (struct mm_space *)((char *)control + mm_control_spaces_off(slots)) + index;
}
static inline struct mm_handle *mm_control_handles(struct mm_control *control, uint32_t slots, uint32_t spaces)
{
    return (struct mm_handle *)((char *)control + mm_control_handles_off(slots, spaces));
}
static inline uint8_t *mm_control_handle_groups(struct mm_control *control, uint32_t slots, uint32_t spaces)
{
    return (uint8_t *)(mm_control_handles(control, slots, spaces) + MM_HANDLES);
}
static inline uint64_t *mm_control_pretenure(struct mm_control *control, uint32_t slots, uint32_t spaces)
{
    return (uint64_t *)((char *)control + mm_control_pretenure_off(slots, spaces));
}
static inline uint8_t *mm_control_cards(struct mm_control *control, uint32_t slots, uint32_t spaces)
{
    return (uint8_t *)control + mm_control_cards_off(slots, spaces);
}

#endif
