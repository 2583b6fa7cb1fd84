/* stats.h — statistics of a layer's heap: gathered from what the layer has counted and what the daemon knows, then shown as text or JSON. For both layers
 * of libmorphmem-morph.
 *
 * Figures of several heaps add up to one, which is written to the file of MORPH_MEM_STATS when the process exits.
 * Threads: any. Where a heap is asked the calling thread is at a safepoint, if it is attached, and holds no lock that a running thread may wait for. */
#ifndef MORPH_STATS_H
#define MORPH_STATS_H

#include <stdio.h>

#include <morphmem/morph-mem.h>
#include <morphmem/morphmem.h>

/* What a layer has counted by itself. */
struct morph__counts {
    uint64_t objects, bytes;            /* allocated since the start */
    uint64_t peak_bytes;                /* the most that it has seen alive; 0: it did not look */

    /* COMPILER only: what lives. In the other modes the daemon counts. */
    uint64_t live_objects[MORPH_MEM_TYPES], live_bytes[MORPH_MEM_TYPES];
    uint64_t pool_bytes, pool_count;

    /* Others: at which index of the arrays a type of the heap counts, 0 to 127. NULL: its number in the heap, or 0 for what is beyond. */
    unsigned (*index)(void *argument, const morph_type_count *type);
    void *argument;
};

struct morph__figures {
    enum morph_mode mode;
    MorphMemStats stats;
    char name[MORPH_MEM_TYPES][128];    /* of what the arrays count; "": none was registered */
};

/* 0, or a negative code: then what could not be known is 0. */
int morph__stats_gather(morph_heap *heap, enum morph_mode mode, const struct morph__counts *counts, struct morph__figures *ret_figures);

void morph__stats_print(const struct morph__figures *figures, FILE *to);

/* JSON. 0; INVALID; MEMORY; SYSTEM, and errno says why. */
int morph__stats_save(const struct morph__figures *figures, const char *path);

/* Gathers and saves. */
int morph__stats_write(morph_heap *heap, enum morph_mode mode, const struct morph__counts *counts, const char *path);

/* ---- At exit ---- */

/* Is MORPH_MEM_STATS set? */
bool morph__stats_wanted(void);

/* From now on the file is written at exit. `living` is called then, and keeps the figures of the heaps that are still open. At most four layers; the
 * same one again is no other. */
void morph__stats_at_exit(void (*living)(void));

/* Adds a heap, which is about to be closed, to what is written. */
void morph__stats_keep(const struct morph__figures *figures);

#endif
