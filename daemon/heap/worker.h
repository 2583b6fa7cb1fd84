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

/* Gives a heap up: it gets no more service, and its client is told. `error` is a positive morphmem error number. Its worker. */
void worker_condemn(struct heap *heap, int error, const char *why);

#endif
