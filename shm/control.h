/* control.h — the control area: one sealed memfd per heap, mapped by client and daemon, fixed at open.
 *
 *   page 0            struct mm_control
 *   slots_off         slot_count areas of MM_SLOT_STRIDE bytes (slot.h): slot and rings, card log, overwritten-value log, roots
 *   spaces_off        space_count entries of struct mm_space (space.h): the bump cursors of arenas and pools
 *
 * The file is sparse: what no thread uses costs no memory. The daemon writes the descriptive words before the client sees the
 * area and keeps its own copy of each; it never reads them back. "client" and "daemon" below name the only writer of a word.
 */
#ifndef MM_CONTROL_H
#define MM_CONTROL_H

#include "shm/layout.h"
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
    /* 200 */ uint64_t reserved_client[7];
};
_Static_assert(sizeof(struct mm_control) == 256, "layout v1");
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
static inline uint64_t mm_control_bytes(uint32_t slots, uint32_t spaces)
{
    return mm_round_up(mm_control_spaces_off(slots) + (uint64_t)spaces * sizeof(struct mm_space), MM_PAGE_BYTES);
}

/* Fills in the descriptive words of a fresh (zero) area. Daemon, before anybody else sees it. */
void mm_control_init(struct mm_control *control, uint64_t heap_id, uint64_t reserve_bytes, uint64_t limit_bytes, uint32_t slots, uint32_t spaces);

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

#endif
