/* pressure.h — how full a heap is and how pressed the machine, for a client that wants to hear of it before it is refused.
 *
 * The words lie in the first page of the control area, behind struct mm_control. A level is a percentage from 1 to 100: of the heap's bound
 * that is granted, and of what the machine can bear. When use rises through a level its counter goes up by one; it does so again only after
 * use has fallen MM_PRESSURE_FALL points below the level, or to nothing. So whoever compares a counter with the one that he saw last loses
 * nothing, however late he comes; the PRESSURE letter (proto/messages.def) only says that it is worth looking.
 * Threads: the daemon's side is the heap's worker's; the client writes `wanted` under its heap's lock.   Design: docs/design/heap.md.
 */
#ifndef MM_PRESSURE_H
#define MM_PRESSURE_H

#include "shm/control.h"

#define MM_PRESSURE_OFF     1024u       /* in the control area */
#define MM_PRESSURE_FALL    5u          /* points below its level at which a level counts as left */
#define MM_PRESSURE_MOST    100u
#define MM_PRESSURE_LEVELS  104u        /* counters; 0 and those above MM_PRESSURE_MOST are not used */

enum mm_pressure_source { MM_PRESSURE_HEAP, MM_PRESSURE_MACHINE, MM_PRESSURE_SOURCES };

struct mm_pressure_words {
    /*   0 */ uint32_t percent[MM_PRESSURE_SOURCES];    /* daemon, relaxed: now */
    /*   8 */ uint32_t reserved_daemon[14];

    /*  64 */ uint64_t wanted[2];       /* client, seq_cst: bit p = a letter when use rises through p percent; 80, 90 and 95 come in any case */
    /*  80 */ uint64_t reserved_client[6];

    /* 128 */ uint16_t risen[MM_PRESSURE_SOURCES][MM_PRESSURE_LEVELS];  /* daemon, seq_cst: times, modulo 65,536 */
};
_Static_assert(sizeof(struct mm_pressure_words) == 544, "layout v2");
_Static_assert(offsetof(struct mm_pressure_words, wanted) == 64, "layout v2");
_Static_assert(offsetof(struct mm_pressure_words, risen) == 128, "layout v2");
_Static_assert(sizeof(struct mm_control) <= MM_PRESSURE_OFF, "behind the control words");
_Static_assert(MM_PRESSURE_OFF + sizeof(struct mm_pressure_words) <= MM_PAGE_BYTES, "in their page");

static inline struct mm_pressure_words *mm_control_pressure(struct mm_control *control)
{
    return (struct mm_pressure_words *)((char *)control + MM_PRESSURE_OFF);
}

#endif
