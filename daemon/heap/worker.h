/* worker.h — collector threads: each owns some heaps, waits on their doorbells and serves them in slices (DESIGN D9).
 *
 * A worker does, most urgent first: jobs from the loop thread; rings of hot heaps; counting; zeroing and trimming free blocks; the
 * segment pool. Nothing takes more than a few hundred microseconds at a time. A heap is hot for a tenth of one after it last wanted
 * something; then its doorbell is armed and the worker may sleep. */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "daemon/heap/census.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/job.h"

/* Starts `count` workers. 0 or a negative errno. `on_condemned` runs on the loop thread, once for a heap that is given up. */
int workers_start(unsigned count, void (*on_condemned)(uint64_t heap));

/* Stops and joins them. They own no heap any more. */
void workers_stop(void);
unsigned workers_count(void);

/* Have all workers come round since the last call, or do they sleep? For the watchdog. Loop thread. */
bool workers_alive(void);

/* Hands a heap to the least busy worker. Loop thread; from now on the heap is the worker's. */
void worker_adopt(struct heap *heap);

/* Takes it from its worker, frees it, then runs `done` on the loop thread. Censuses under way come back cut short before that. */
void worker_release(struct heap *heap, struct job *done);

/* Starts a census; its job runs on the loop thread when it is done. */
void worker_count(struct census *census, void (*done)(struct job *job));

/* Something that the loop thread wants of a heap. `step` is called by the heap's worker after each time that it has served the heap, until it
 * says that it is done; `done` runs on the loop thread then, and may free the task. A heap that is condemned or released ends its tasks
 * first, with `error` saying so. */
struct heap_task {
    struct job        job;              /* carries it to the worker, and back to the loop when done */
    struct heap_task *next;             /* the heap's list */
    struct heap      *heap;
    bool            (*step)(struct heap_task *task);    /* true: done. Does not touch client memory, and never waits */
    void            (*done)(struct job *job);
    int               error;            /* a code of morphmem/error.h; 0: it was carried out */
};

/* Posts a task to the heap's worker. Loop thread. */
void worker_do(struct heap_task *task);

/* Gives a heap up: it gets no more service, and its client is told. `error` is a positive morphmem error number. Its worker. */
void worker_condemn(struct heap *heap, int error, const char *why);

#endif
