/* internal.h — what the library's files know of each other. Functions are grouped under the file that defines them.
 *
 * Two kinds of struct stand side by side: what is shared with the daemon (shm/: slots, spaces, run headers; the public handles
 * morph_thread, morph_arena and morph_pool point at those), and the private part beside each, which the shared one's client_word names.
 * In a forked child the control area is replaced by zeros, so every handle there leads to no private part: that is how it is known dead.
 *
 * Locks: heap->lock guards the socket, the spare runs, the list of threads and spaces, and the types. A thread's private part is its own.
 */
#ifndef MORPH_INTERNAL_H
#define MORPH_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <morphmem/morphmem.h>

#include "proto/message.h"
#include "shm/control.h"
#include "shm/pool.h"
#include "shm/ring.h"

/* The largest packet that a library sends (a TYPE with every reference that it may have) or is sent; threads may have small stacks. */
#define MORPH__PACKET_BYTES 8192u

#define MORPH_HIDDEN __attribute__((visibility("hidden")))

/* What one thread did before it stopped happened before what another does after the resume: the order goes through the daemon, which
 * ThreadSanitizer cannot see. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define MORPH__ORDER_ACQUIRE(address) __tsan_acquire(address)
#define MORPH__ORDER_RELEASE(address) __tsan_release(address)
#else
#define MORPH__ORDER_ACQUIRE(address) ((void)(address))
#define MORPH__ORDER_RELEASE(address) ((void)(address))
#endif

struct morph__type {
    struct morph_type_info info;        /* first: the public handle points here */
    struct morph_heap *heap;
    struct morph__type *next;           /* same hash bucket */
    uint32_t id, bytes, element_bytes;
    char     name[128];
};
#define MORPH__TYPE_BUCKETS 64u

/* What the calling thread is at, for the signal that stops it in heaps without moving (fixed.c). */
struct morph__here {
    volatile uint32_t inside;           /* depth: in the library, where it cannot be stopped */
    volatile uint32_t noted;            /* 1: it was to be stopped there, and stops when it comes out */
    struct morph__thread *thread;       /* its attachments to heaps without moving */
    uintptr_t interrupted;              /* stack pointer that the signal found, if the handler runs on another stack; else 0 */
    uintptr_t other_end;                /* the end of that other stack */
};
extern MORPH_HIDDEN __thread struct morph__here morph__here __attribute__((tls_model("initial-exec")));
MORPH_HIDDEN void morph__stop_noted(void);
static inline void morph__inside_begin(void)
{
    morph__here.inside++;
    __asm__ volatile("" ::: "memory");
}
static inline void morph__inside_end(void)
{
    __asm__ volatile("" ::: "memory");
    if (--morph__here.inside == 0 && morph__here.noted)
        morph__stop_noted();
}

struct morph__pin;
struct morph__pressure;                 /* pressure.c */

/* An answer that somebody waits for without holding the lock; his, and on the heap's list until he has it (ask.c). */
struct morph__awaited {
    struct morph__awaited *next;
    uint32_t seq;
    bool     come;                      /* whole: an answer in parts has its last one */
    int      error;                     /* a negative code, or 0 */
    uint64_t needed_bytes;              /* of an ERROR */
    int    (*part)(struct morph__awaited *awaited, const void *body, uint32_t bytes);  /* of a REPORT, under heap->lock; NULL: nobody looks */
};

struct morph_heap {
    struct morph_heap *next;            /* all heaps of this process (fork.c) */
    pthread_mutex_t lock;
    uint32_t        status;             /* 0 or a positive error number; only ever set */
    int             socket, doorbell;
    uint32_t        seq;                /* of requests on the socket */
    uint32_t        timeout_ms;
    enum morph_mode mode;
    uint64_t        id;
    char           *base;
    uint64_t        reserve_bytes;
    uint32_t        mapped_chunks;      /* from the start of the reserve; read without the lock by the slow paths */
    struct mm_control *control;
    uint64_t        control_bytes;
    bool            huge_pages, spin;
    uint16_t       *span_back;          /* per block: 1 + blocks back to the start of its pool span; 0: no pool's */
    struct mm_run  *spare;              /* runs kept for later, in address order (spare.c) */
    uint32_t        spare_blocks;
    uint32_t        threads;            /* attached */
    struct morph__thread *thread;       /* list */
    struct morph__space  *space;        /* list of arenas and pools */
    uint64_t        space_taken[MM_SPACES / 64];
    struct morph__type *type_bucket[MORPH__TYPE_BUCKETS];
    uint32_t        pretenure_version;  /* of the bits that the types were last set by */
    bool            collected;          /* RUNTIME, VM, SERVER */
    uint32_t        handle_free;        /* first free entry of the handle table; 0: none */
    uint64_t        handle_seq;
    struct morph__pin *pin;             /* open addressing, by address (handle.c) */
    uint32_t        pins, pin_room;
    uint64_t        stress;             /* MORPHMEM_STRESS: collect at every n-th slow allocation; 0: off */
    struct morph__awaited *awaited;
    bool            no_moving;          /* fixed.c */
    bool            stopper;            /* it has its thread that sends signals */
    pthread_t       stopper_thread;
    uint32_t        stopper_end;
    struct morph__thread *statics;      /* whose slot holds what the program's static data may refer to */
    uint32_t        statics_busy;
    uint64_t        limit_needed_bytes; /* by the last morph_heap_set_limit(); 0: it was in force at once, or failed otherwise */

    /* pressure.c */
    struct morph__pressure *pressure;   /* callbacks */
    uint32_t        calling;            /* a futex: 1 = one is being called */
    pthread_t       caller;             /* by this thread */
    uint64_t        episode;            /* last resorts until now */
    uint32_t        refused;            /* 1 = there was one, and nothing has been granted since */
    int             due, watch;         /* eventfd: callbacks are due; epoll: it and the socket. -1: not made */
    bool            service;            /* there is a service thread */
    pthread_t       service_thread;
    uint32_t        service_stop;
};

struct morph__root_set {
    struct morph__root_set *next;
    uint32_t number, count;
    void   **object;                    /* the caller's array */
};

/* Where a thread may put old objects: a block, hole by hole, and behind it the rest of its cell, whose blocks are a hole each. */
struct morph__old { char *block; uint32_t hole; uint32_t rest; bool zeroed; };

struct morph__thread {
    struct morph__thread *next;
    struct morph__thread *mine_next;    /* morph__native_begin() */
    struct morph_heap *heap;
    struct mm_slot *slot;
    uint32_t        index;
    uint32_t        spaces;             /* arenas and pools that belong to it */
    int             error;              /* of the last failed allocation */
    struct mm_run  *run[2];             /* COMPILER: of the young and the old cursor; NULL: none yet */
    uint32_t        run_blocks[2];      /* size of the last one: the next is larger */

    /* Collected heaps. What lies in the next three lines is the daemon's again after a collection (safepoint.c). */
    struct mm_cell  stash[MM_RING_CELLS];       /* cells that came while another kind was waited for */
    uint32_t        stash_count;
    uint32_t        young_next, young_rest;     /* blocks left of the last cell */
    bool            young_zeroed;       /* of that cell */
    struct morph__old old[2];           /* of the old cursor; heaps without moving: of the young one, for longer objects (nursery.c) */
    uint32_t        epoch;              /* of the stop word, when it last went on */
    uint32_t        native;             /* depth of morph_native_enter() */
    void         ***variable;           /* morph_root_push() */
    uint32_t        variables, variable_room;
    morph_root_visitor visit;
    void           *visit_argument;
    struct morph__root_set *root_sets;
    uint64_t        random, allocations;
    struct morph__thread *here_next;    /* heaps without moving: of morph__here.thread */
    char           *stack_low, *stack_end;      /* the machine stack; NULL: not known, it is nobody's */
    uint32_t       *seen;               /* [MORPH__SEEN]: what was reported lately, so that it is not again */
};
#define MORPH__SEEN 256u

/* heap->lock. Who holds it is not stopped by a signal: others need it to come out of the library. */
static inline void morph__lock(struct morph_heap *heap)
{
    morph__inside_begin();
    pthread_mutex_lock(&heap->lock);
}
static inline void morph__unlock(struct morph_heap *heap)
{
    pthread_mutex_unlock(&heap->lock);
    morph__inside_end();
}

struct morph__space {
    struct morph__space *next, **link;
    struct morph_heap *heap;
    struct morph__thread *thread;
    struct mm_space *shared;
    uint32_t        index;
    enum mm_space_kind kind;
};

/* error.c */
MORPH_HIDDEN int morph__error_of_errno(int negative_errno);

/* transport.c: letters. All under heap->lock, but for connecting. */
MORPH_HIDDEN int morph__connect(const morph_options *options, uint32_t timeout_ms, int *ret_socket);
MORPH_HIDDEN int morph__receive(int socket, uint32_t timeout_ms, void *packet, struct mm_message *ret_message, int *ret_fds, unsigned *ret_fd_count);
MORPH_HIDDEN int morph__request(struct morph_heap *heap, struct mm_message *message, struct mm_message *ret_answer);
MORPH_HIDDEN int morph__say(struct morph_heap *heap, struct mm_message *message);   /* sends a request, whose seq it sets */
MORPH_HIDDEN int morph__letters(struct morph_heap *heap);           /* hears what has come; 0 or the status */
MORPH_HIDDEN void morph__lose(struct morph_heap *heap, int error);  /* error: a negative code */
static inline int morph__status(const struct morph_heap *heap) { return -(int)mm_load_relaxed(&heap->status); }

/* ask.c: a request whose answer may take its time: `awaited` is filled in. The caller holds no lock, and is NATIVE in this heap. 0 or a negative code. */
MORPH_HIDDEN int morph__ask(struct morph_heap *heap, struct mm_message *message, struct morph__awaited *awaited);

/* autospawn.c */
MORPH_HIDDEN int morph__autospawn(uint32_t timeout_ms);

/* fork.c */
MORPH_HIDDEN void morph__heap_enlist(struct morph_heap *heap);
MORPH_HIDDEN void morph__heap_delist(struct morph_heap *heap);

/* segment.c: under heap->lock. */
MORPH_HIDDEN int morph__segment_map(struct morph_heap *heap, uint32_t chunk, uint32_t chunks, int fd);      /* takes the descriptor */

/* refill.c: a run of at least `min` and at most `want` blocks for the client's own use. 0 or a negative code. The thread's own. */
MORPH_HIDDEN int morph__run_obtain(struct morph__thread *thread, uint32_t want, uint32_t min, struct mm_run **ret_run, bool *ret_zeroed);
MORPH_HIDDEN void morph__ring_drain(struct morph__thread *thread);      /* not collected: what was granted ahead becomes spare, and no more comes */
MORPH_HIDDEN bool morph__spare_give(struct morph__thread *thread);      /* gives every spare run back; false: there was none */
MORPH_HIDDEN void morph__run_return(struct morph__thread *thread, struct mm_run *run);

MORPH_HIDDEN void morph__ring_doorbell(struct morph_heap *heap);        /* if the worker sleeps */
MORPH_HIDDEN int morph__look_at_daemon(struct morph_heap *heap);        /* hears its letters; 0, or why the heap cannot go on */
MORPH_HIDDEN bool morph__ring_look(struct morph__thread *thread);       /* for a moment, RUNNING: true if the ring holds a cell */
MORPH_HIDDEN int morph__ring_wait(struct morph__thread *thread);        /* until the ring holds a cell; `state` is not RUNNING */
MORPH_HIDDEN void morph__request_put(struct mm_slot *slot, uint32_t kind, uint32_t want, uint32_t min);
MORPH_HIDDEN int morph__cell_map(struct morph_heap *heap, const struct mm_cell *cell);
MORPH_HIDDEN void morph__map_promised(struct morph_heap *heap);         /* segments that a collection has used */
MORPH_HIDDEN void morph__touch(const struct morph_heap *heap, const char *at, uint32_t blocks);

/* nursery.c: memory of a collected heap for one thread. */
/* While a marking goes on: it will mark `value`, which is overwritten, or was read through a weak reference or from a queue. */
MORPH_HIDDEN void morph__overwritten_log(struct morph__thread *thread, const void *value);
MORPH_HIDDEN void morph__strong_again(morph_thread *thread, const void *value);
MORPH_HIDDEN int morph__young_refill(struct morph__thread *thread, uint64_t extent);
/* Memory for the old cursor, or, `longer`, for that of longer objects. */
MORPH_HIDDEN int morph__old_refill(struct morph__thread *thread, uint64_t extent, bool longer);
/* The daemon has taken back what the thread had not yet begun. */
MORPH_HIDDEN void morph__grants_forget(struct morph__thread *thread);
MORPH_HIDDEN int morph__large_obtain(struct morph__thread *thread, uint64_t extent, char **ret_at);
MORPH_HIDDEN int morph__cell_await(struct morph__thread *thread, uint32_t kind, uint32_t want, uint32_t min, struct mm_cell *ret_cell);
MORPH_HIDDEN void morph__stash(struct morph__thread *thread, const struct mm_cell *cell);

/* pressure.c. The first two under heap->lock, which the second releases while it calls. */
MORPH_HIDDEN void morph__pressure_hint(struct morph_heap *heap);        /* makes morph_heap_fd() readable if a callback is due */
MORPH_HIDDEN void morph__pressure_run(struct morph_heap *heap);         /* calls what is due, unless a thread is at it */
MORPH_HIDDEN int morph__due_open(struct morph_heap *heap);              /* under heap->lock too */
MORPH_HIDDEN bool morph__pressure_calling_here(struct morph_heap *heap);        /* is this inside a callback? */
MORPH_HIDDEN void morph__pressure_free(struct morph_heap *heap);

/* After a refusal with `error`, outside of all locks: calls every callback, once until something is granted again. True: ask once more.
 * `thread` NULL: a shared pool's, which is no thread of its own. */
MORPH_HIDDEN bool morph__last_resort(struct morph_heap *heap, struct morph__thread *thread, int error);
static inline void morph__relieved(struct morph_heap *heap)     /* something was granted */
{
    if (mm_load_relaxed(&heap->refused))
        mm_store_relaxed(&heap->refused, 0);
}

/* fixed.c: heaps whose objects never move. */
MORPH_HIDDEN int morph__fixed_open(struct morph_heap *heap);
MORPH_HIDDEN void morph__fixed_close(struct morph_heap *heap);
MORPH_HIDDEN int morph__fixed_attach(struct morph__thread *thread);     /* the calling thread */
MORPH_HIDDEN bool morph__fixed_detach(struct morph__thread *thread);    /* false: it is another thread's, whose list keeps the struct */
MORPH_HIDDEN void morph__fixed_publish(struct morph__thread *thread);   /* registers, machine stack, static data */

/* service.c */
MORPH_HIDDEN int morph__service_start(struct morph_heap *heap);
MORPH_HIDDEN void morph__service_stop(struct morph_heap *heap);         /* and joins it */

/* safepoint.c */
#define MORPH__PAUSE_SPIN_NS 200000ull  /* a pause is most often shorter than a sleep and a wake */
MORPH_HIDDEN void morph__enter(struct morph__thread *thread, enum mm_slot_state state);        /* publishes roots; NATIVE or PARKED */
/* The calling thread is about to wait: where it runs in this heap, it becomes NATIVE; *_end() takes the result. A safepoint. */
MORPH_HIDDEN struct morph__thread *morph__native_begin(struct morph_heap *heap);
MORPH_HIDDEN void morph__native_end(struct morph__thread *mine);
MORPH_HIDDEN void morph__park(struct morph__thread *thread);            /* from a signal: waits while the heap is stopped; calls nothing that locks or allocates */
MORPH_HIDDEN void morph__leave(struct morph__thread *thread);           /* waits while the heap is stopped; takes roots back */

/* roots.c */
MORPH_HIDDEN void morph__roots_publish(struct morph__thread *thread);
MORPH_HIDDEN void morph__roots_take_back(struct morph__thread *thread);
MORPH_HIDDEN void morph__root_sets_fetch(struct morph__thread *thread);
MORPH_HIDDEN void morph__roots_free(struct morph__thread *thread);

/* types.c */
MORPH_HIDDEN void morph__types_refresh(struct morph__thread *thread);       /* which types are born old */
MORPH_HIDDEN bool morph__born_old(struct morph_heap *heap, uint32_t id);   /* is the type pretenured? 0: those without a type */

/* spare.c: under heap->lock. */
MORPH_HIDDEN struct mm_run *morph__spare_take(struct morph_heap *heap, uint32_t want, uint32_t min, bool *ret_zeroed);
MORPH_HIDDEN void morph__spare_put(struct morph_heap *heap, char *at, uint32_t blocks, bool zeroed);
MORPH_HIDDEN struct mm_run *morph__spare_surplus(struct morph_heap *heap);

/* space.c */
MORPH_HIDDEN int morph__space_new(struct morph__space *space, morph_thread *owner, enum mm_space_kind kind);
MORPH_HIDDEN void morph__space_free(struct morph__space *space);    /* the entry only; then the struct is the caller's again */
MORPH_HIDDEN int morph__space_adopt(struct morph__space *space, morph_thread *thread);

/* thread.c */
static inline struct morph__thread *morph__thread_of(const morph_thread *thread)
{
    return thread ? (struct morph__thread *)(uintptr_t)((const struct mm_slot *)thread)->client_word : NULL;
}
MORPH_HIDDEN void *morph__thread_fail(struct morph__thread *thread, int error);     /* notes the error, returns NULL */
MORPH_HIDDEN int morph__thread_attach_quiet(struct morph_heap *heap, struct morph__thread **ret_thread);   /* NATIVE, not counted: a shared pool's */
MORPH_HIDDEN void morph__thread_detach_quiet(struct morph__thread *thread);

/* arena.c, pool.c: what heap.c frees at close */
MORPH_HIDDEN void morph__arena_forget(struct morph__space *space);
MORPH_HIDDEN void morph__pool_forget(struct morph__space *space);

/* The bound as it is now: morph_heap_set_limit() and morphmemctl move it. */
static inline uint64_t morph__limit_bytes(const struct morph_heap *heap) { return mm_load_relaxed(&heap->control->limit_bytes); }

static inline uint32_t morph__block_of(const struct morph_heap *heap, const void *at)
{
    return (uint32_t)((uint64_t)((const char *)at - heap->base) >> MM_BLOCK_SHIFT);
}

/* The size of the next run of somebody who grows: double the last, at most a chunk, and never more than an eighth of the bound. */
static inline uint32_t morph__run_next_blocks(const struct morph_heap *heap, uint32_t last, uint32_t needed)
{
    uint64_t cap = morph__limit_bytes(heap) >> (MM_BLOCK_SHIFT + 3);
    uint32_t want = last ? last * 2 : 1;
    if (want > MM_CHUNK_BLOCKS)
        want = MM_CHUNK_BLOCKS;
    if (want > cap)
        want = cap ? (uint32_t)cap : 1;
    return want < needed ? needed : want;
}

#endif
