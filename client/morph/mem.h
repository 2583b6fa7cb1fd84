/* mem.h — what the files of the Memory V2 layer know of each other.
 *
 *   mem.c          contexts, allocation, collection
 *   mem_config.c   presets, and what fits the machine
 *   mem_thread.c   which threads are attached to which context
 *   mem_type.c     type ids, their names, and the heap's types behind them
 *   mem_stats.c    counts into figures
 *
 * Lock: morph__mem_lock guards the list of contexts and, of each of them, the lists of attachments and types and what threads that are gone have counted.
 * It is held for a few steps only, and never while the daemon is asked or a heap may stop: a thread that waits for it runs. */
#ifndef MORPH_MEM_LAYER_H
#define MORPH_MEM_LAYER_H

#include <pthread.h>
#include <stdbool.h>

#include "client/morph/stats.h"

/* A name of a type id, and the heap's type that its objects are born with. Lives as long as its context. */
struct mem_type {
    struct mem_type *next;              /* of the context; newest first */
    uint8_t    id;
    uint32_t   number;                  /* in the heap; 0: not registered there. Under the lock */
    morph_type type;                    /* NULL until it is registered there; atomic */
    char       name[104];               /* as given */
    char       heap_name[128];          /* no other id of this context has it */
};

/* What one thread has counted. Written by it alone, read by all: relaxed. */
struct mem_counts {
    uint64_t objects, bytes;            /* allocated */
    uint64_t live_objects[MORPH_MEM_TYPES], live_bytes[MORPH_MEM_TYPES];       /* COMPILER: net of what it has freed, modulo 2^64 */
};

/* A thread in a context. The thread's, which frees it; a context that ends takes itself out and the thread off its heap. */
struct mem_attachment {
    struct mem_attachment *mine_next;   /* of the thread */
    struct mem_attachment *next;        /* of the context */
    MorphContextV2   *context;          /* atomic; NULL: it has ended */
    morph_thread     *thread;
    uint64_t          look_bytes;       /* allocated when it last looked what a collection found alive */
    struct mem_counts counts;
};

struct MorphContextV2 {
    MorphContextV2  *next;
    morph_heap      *heap;
    morph_pool      *pool;              /* COMPILER: all objects; shared by the threads. Else NULL */
    enum morph_mode  mode;
    bool             counting;
    struct mem_type *types;
    struct mem_type *type[MORPH_MEM_TYPES];     /* by id: the latest; atomic */
    struct mem_attachment *attachments;
    struct mem_counts gone;             /* of threads that have ended */
    uint64_t live_bytes, peak_bytes, pool_bytes;        /* atomic; live and pool: COMPILER only */
};

extern pthread_mutex_t morph__mem_lock;

static inline void mem_add(uint64_t *own, uint64_t n) { __atomic_store_n(own, *own + n, __ATOMIC_RELAXED); }

/* Notes the error for morph_mem_error(); returns it. */
int morph__mem_fail(int error);

/* So much is alive, somebody has found. */
void morph__mem_saw_live(MorphContextV2 *context, uint64_t bytes);
/* Takes a context off the list of those that can be used: the caller's from here on. NULL as argument: any. NULL: there is none, or no such one. */
MorphContextV2 *morph__mem_claim(MorphContextV2 *context);

/* mem_config.c */
MorphMemConfig morph__mem_config_for(uint64_t available_bytes);
/* How to open a heap for it, before the environment has its say. 0 or INVALID. */
int morph__mem_options(const MorphMemConfig *config, morph_options *ret_options);

/* mem_thread.c: the calling thread in the context, attached if it was not. NULL: noted as this thread's error. */
extern _Thread_local struct mem_attachment *morph__mem_mine;
struct mem_attachment *morph__mem_attach(MorphContextV2 *context);
static inline struct mem_attachment *mem_attachment(MorphContextV2 *context)
{
    struct mem_attachment *first = morph__mem_mine;
    return first && context && __atomic_load_n(&first->context, __ATOMIC_RELAXED) == context ? first : morph__mem_attach(context);
}
/* Takes every thread off the heap of a context that ends. Under the lock. */
void morph__mem_detach_all(MorphContextV2 *context);
/* What all threads have counted, the gone ones too. Takes the lock. */
void morph__mem_counts_sum(MorphContextV2 *context, struct mem_counts *ret_sum);

/* mem_type.c */
struct mem_type *morph__mem_type_find(MorphContextV2 *context, uint8_t id);   /* NULL: noted as this thread's error */
static inline struct mem_type *mem_type(MorphContextV2 *context, uint8_t id)
{
    struct mem_type *type = id < MORPH_MEM_TYPES ? __atomic_load_n(&context->type[id], __ATOMIC_ACQUIRE) : NULL;
    return type ? type : morph__mem_type_find(context, id);                    /* pairs with the release in morph__mem_type_find() */
}
void morph__mem_types_free(MorphContextV2 *context);

/* mem_stats.c */
int morph__mem_gather(MorphContextV2 *context, struct morph__figures *ret_figures);
void morph__mem_keep_living(void);      /* for morph__stats_at_exit() */

#endif
