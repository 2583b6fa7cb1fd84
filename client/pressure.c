/* pressure.c — callbacks that hear of memory running short: by levels of use, and as the last resort before an allocation fails
 * (door: shm/pressure.h; other side: daemon/heap/pressure.c).
 *
 * The daemon counts how often use has risen through each level. A callback keeps the counts that it was last called for; where they differ it is
 * due. Who looks: morph_heap_dispatch(), and so the service thread. Letters that another thread reads while it waits for memory only make the
 * heap's descriptor readable; no callback runs there.
 * The last resort runs on the thread that was refused, service thread or not, outside of every lock and of whatever it was about to change.
 * One callback of a heap at a time, in whatever thread: `calling` says that there is one, and who dispatches meanwhile leaves what is due to the one
 * who calls. The list, the counts and `calling` are under heap->lock, which is not held during a call. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/park.h"
#include "shm/pressure.h"

struct morph__pressure {
    struct morph__pressure *next;       /* by level, ascending; within one as they came */
    uint32_t level;                     /* percent */
    uint16_t seen[MM_PRESSURE_SOURCES]; /* counts that it was called for */
    uint64_t episode;                   /* the last resort that it was called in */
    morph_pressure_callback call;
    void    *argument;                  /* the caller's */
};

static struct mm_pressure_words *words(struct morph_heap *heap) { return mm_control_pressure(heap->control); }

/* ---- The list: under the lock ---- */

static struct morph__pressure **link_find(struct morph_heap *heap, uint32_t level, const void *argument)
{
    struct morph__pressure **link = &heap->pressure;
    while (*link && ((*link)->level != level || (*link)->argument != argument))
        link = &(*link)->next;
    return link;
}

/* Does anybody want to hear of `level`? The daemon sends a letter then. */
static void level_want(struct morph_heap *heap, uint32_t level)
{
    uint64_t bit = (uint64_t)1 << level % 64, wanted = mm_load_relaxed(&words(heap)->wanted[level / 64]);
    struct morph__pressure *at = heap->pressure;
    while (at && at->level != level)
        at = at->next;
    mm_store_seq_cst(&words(heap)->wanted[level / 64], at ? wanted | bit : wanted & ~bit);      /* pairs with the load in daemon/heap/pressure.c */
}

static void list_remove(struct morph_heap *heap, uint32_t level, const void *argument)
{
    for (struct morph__pressure **link = &heap->pressure; *link;) {
        struct morph__pressure *at = *link;
        if (at->level != level || (argument && at->argument != argument)) {
            link = &at->next;
            continue;
        }
        *link = at->next;
        free(at);
    }
}

/* A level that use is above already counts as one that it rises through now. */
static void seen_init(struct morph_heap *heap, struct morph__pressure *at)
{
    for (int source = 0; source < MM_PRESSURE_SOURCES; source++) {
        at->seen[source] = mm_load_seq_cst(&words(heap)->risen[source][at->level]);
        if (mm_load_relaxed(&words(heap)->percent[source]) >= at->level)
            at->seen[source]--;
    }
}

static int list_put(struct morph_heap *heap, uint32_t level, morph_pressure_callback call, void *argument)
{
    struct morph__pressure *at = *link_find(heap, level, argument);
    if (at) {
        at->call = call;
        return 0;
    }
    if (!(at = calloc(1, sizeof *at)))
        return MORPH_EMEMORY;
    struct morph__pressure **link = &heap->pressure;
    while (*link && (*link)->level <= level)
        link = &(*link)->next;
    *at = (struct morph__pressure){ .next = *link, .level = level, .episode = heap->episode, .call = call, .argument = argument };
    *link = at;
    level_want(heap, level);
    seen_init(heap, at);                /* after the daemon can see that it is wanted */
    return 0;
}

int morph_heap_on_pressure(morph_heap *heap, unsigned percent, morph_pressure_callback callback, void *argument)
{
    if (!heap || percent < 1 || percent > MM_PRESSURE_MOST)
        return MORPH_EINVALID;
    int r = morph__status(heap);
    if (r == MORPH_EFORKED)
        return r;
    morph__lock(heap);
    if (callback) {
        r = list_put(heap, percent, callback, argument);
    } else {
        list_remove(heap, percent, argument);
        level_want(heap, percent);
        r = 0;
    }
    morph__pressure_hint(heap);
    morph__unlock(heap);
    return r;
}

void morph__pressure_free(struct morph_heap *heap)
{
    while (heap->pressure) {
        struct morph__pressure *at = heap->pressure;
        heap->pressure = at->next;
        free(at);
    }
}

/* ---- Calling ---- */

/* A call that is about to be made: copied, since the list may change meanwhile. */
struct call { morph_pressure_callback call; void *argument; morph_pressure what; };

static struct call call_make(struct morph_heap *heap, const struct morph__pressure *at, enum morph_pressure_reason reason)
{
    return (struct call){ at->call, at->argument,
                          { .heap = heap, .reason = reason, .level = at->level,
                            .use_percent = mm_load_relaxed(&words(heap)->percent[MM_PRESSURE_HEAP]),
                            .machine_percent = mm_load_relaxed(&words(heap)->percent[MM_PRESSURE_MACHINE]),
                            .granted_bytes = mm_load_relaxed(&heap->control->granted_bytes), .limit_bytes = morph__limit_bytes(heap) } };
}

static bool is_due(struct morph_heap *heap, const struct morph__pressure *at, int source)
{
    return at->seen[source] != mm_load_seq_cst(&words(heap)->risen[source][at->level]);         /* pairs with the daemon's store */
}

/* The first callback that is due, as called. Under the lock. */
static bool due_take(struct morph_heap *heap, struct call *ret_call)
{
    for (struct morph__pressure *at = heap->pressure; at; at = at->next)
        for (int source = 0; source < MM_PRESSURE_SOURCES; source++) {
            if (!is_due(heap, at, source))
                continue;
            at->seen[source] = mm_load_relaxed(&words(heap)->risen[source][at->level]);
            *ret_call = call_make(heap, at, source == MM_PRESSURE_HEAP ? MORPH_PRESSURE_USE : MORPH_PRESSURE_MACHINE);
            return true;
        }
    return false;
}

/* The first one that this last resort has not called yet. What was due for the heap's use is done with that. Under the lock. */
static bool resort_take(struct morph_heap *heap, struct call *ret_call)
{
    for (struct morph__pressure *at = heap->pressure; at; at = at->next) {
        if (at->episode == heap->episode)
            continue;
        at->episode = heap->episode;
        at->seen[MM_PRESSURE_HEAP] = mm_load_relaxed(&words(heap)->risen[MM_PRESSURE_HEAP][at->level]);
        *ret_call = call_make(heap, at, MORPH_PRESSURE_REFUSED);
        return true;
    }
    return false;
}

static bool calling_myself(const struct morph_heap *heap) { return heap->calling && pthread_equal(heap->caller, pthread_self()); }

bool morph__pressure_calling_here(struct morph_heap *heap)
{
    morph__lock(heap);
    bool here = calling_myself(heap);
    morph__unlock(heap);
    return here;
}

static void calling_begin(struct morph_heap *heap)
{
    mm_store_relaxed(&heap->calling, 1);
    heap->caller = pthread_self();
}

static void calling_end(struct morph_heap *heap)
{
    mm_store_seq_cst(&heap->calling, 0);
    mm_unpark(&heap->calling, INT32_MAX);
}

/* Under the lock, but for the call. */
static void call_run(struct morph_heap *heap, const struct call *call)
{
    morph__unlock(heap);
    call->call(call->argument, &call->what);
    morph__lock(heap);
}

void morph__pressure_run(struct morph_heap *heap)
{
    struct call call;
    if (heap->calling || !heap->pressure)
        return;                                 /* who calls looks again, under this lock, before he ends */
    calling_begin(heap);
    while (!morph__status(heap) && due_take(heap, &call))
        call_run(heap, &call);
    calling_end(heap);
}

/* ---- The last resort ---- */

/* Until nobody calls; false: that took too long. A collection need not wait for who waits here. */
static bool calling_wait(struct morph_heap *heap)
{
    uint64_t deadline = mm_now_ns() + (uint64_t)heap->timeout_ms * 1000000;
    bool over = false;
    struct morph__thread *mine = morph__native_begin(heap);
    while (!(over = !mm_load_seq_cst(&heap->calling)) && !morph__status(heap) && mm_now_ns() < deadline)
        (void)mm_park(&heap->calling, 1, MM_PARK_SLICE_NS);
    morph__native_end(mine);
    return over;
}

static bool refused_for_want_of_room(int error) { return error == MORPH_ENOMEM || error == MORPH_EBUDGET || error == MORPH_EQUOTA; }

bool morph__last_resort(struct morph_heap *heap, struct morph__thread *thread, int error)
{
    struct call call;
    bool waited = false;
    if (!refused_for_want_of_room(error) || morph__status(heap))
        return false;
    morph__lock(heap);
    while (heap->pressure && heap->calling && !calling_myself(heap)) {
        morph__unlock(heap);
        waited = calling_wait(heap);
        if (!waited)
            return false;
        morph__lock(heap);
    }
    bool again = heap->pressure && !heap->calling && (!heap->refused || waited);
    if (again && !heap->refused) {
        mm_store_relaxed(&heap->refused, 1);
        heap->episode++;
        calling_begin(heap);
        while (!morph__status(heap) && resort_take(heap, &call)) {
            call.what.thread = thread ? (morph_thread *)thread->slot : NULL;
            call.what.error = error;
            call_run(heap, &call);
        }
        calling_end(heap);
        morph__pressure_hint(heap);             /* what has become due meanwhile is for who dispatches */
    }
    morph__unlock(heap);
    return again;
}

/* ---- Something to dispatch ---- */

void morph__pressure_hint(struct morph_heap *heap)
{
    uint64_t one = 1;
    if (heap->due < 0 || morph__status(heap))
        return;
    for (struct morph__pressure *at = heap->pressure; at; at = at->next)
        if (is_due(heap, at, MM_PRESSURE_HEAP) || is_due(heap, at, MM_PRESSURE_MACHINE)) {
            (void)!write(heap->due, &one, sizeof one);
            return;
        }
}

int morph__due_open(struct morph_heap *heap)
{
    if (heap->due < 0)
        heap->due = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return heap->due < 0 ? MORPH_EFILES : 0;
}

/* One descriptor for both: the socket, and what a letter that somebody else has read left to do. */
static int watch_open(struct morph_heap *heap)
{
    struct epoll_event letters = { .events = EPOLLIN | EPOLLRDHUP }, due = { .events = EPOLLIN };
    if (heap->socket < 0 || morph__due_open(heap) < 0)
        return -1;
    int watch = epoll_create1(EPOLL_CLOEXEC);
    if (watch < 0)
        return -1;
    if (epoll_ctl(watch, EPOLL_CTL_ADD, heap->socket, &letters) == 0 && epoll_ctl(watch, EPOLL_CTL_ADD, heap->due, &due) == 0)
        return watch;
    close(watch);
    return -1;
}

int morph_heap_fd(const morph_heap *const_heap)
{
    struct morph_heap *heap = (struct morph_heap *)(uintptr_t)const_heap;
    morph__lock(heap);
    if (heap->watch < 0 && (heap->watch = watch_open(heap)) >= 0)
        morph__pressure_hint(heap);
    int fd = heap->watch < 0 ? heap->socket : heap->watch;      /* short of descriptors: letters alone */
    morph__unlock(heap);
    return fd;
}
