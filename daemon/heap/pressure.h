/* pressure.h — tells clients that their heap, or the machine, is filling up, before anybody is refused.
 *
 * Where a heap's figures are published its use is compared with the levels (shm/pressure.h): counters in the control area, and one letter, never
 * more than one that its client has not read. Machine pressure comes from whoever watches the machine, and goes to every heap.
 * Threads: pressure_update() is the heap's worker's, guarded; heap_pressure_machine() is anybody's. */
#ifndef DAEMON_PRESSURE_H
#define DAEMON_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/pressure.h"

struct heap;

/* The daemon's side of a heap's levels; a member of struct heap. */
struct pressure {
    uint32_t percent[MM_PRESSURE_SOURCES];      /* as last published */
    uint64_t high[MM_PRESSURE_SOURCES][2];      /* bit p: p percent was risen through, and not left since */
    uint32_t level;                             /* for the letter: highest level risen through since the last one */
    bool     machine;                           /* the machine's, not the heap's own */
    bool     due;                               /* a letter is to be sent */
    bool     sent;                              /* one may be unread */
    uint64_t letters;                           /* sent; read by anybody */
};

/* Moves a set of levels to `percent`; *ret_risen holds those that were risen through. */
void pressure_levels_move(uint64_t high[2], uint32_t percent, uint64_t ret_risen[2]);

/* Looks at the heap's use and at the machine, counts, and sends what is due. Guarded. Worker; before a worker has the heap, the loop thread. */
void pressure_update(struct heap *heap);

/* `tell` has every worker call pressure_update() for its heaps, some time. Before heaps exist. */
void pressure_init(void (*tell)(void));

/* How pressed the machine is, in percent of what it can bear (0: not at all; 80, 90 and 95 are the levels that every client hears of).
 * Every heap is told by its worker; a heap that is opened later finds it too. Any thread. */
void heap_pressure_machine(uint32_t percent);
uint32_t heap_pressure_machine_now(void);

#endif
