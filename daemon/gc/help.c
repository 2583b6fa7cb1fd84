/* help.c — several workers in one trace (DESIGN section 4: a worker lends itself to another heap's pause).
 *
 * Whether a collection may be helped is decided before its first copy, from what the last one had to move, because claims are then made with
 * atomic operations (trace.c). The owner puts surplus objects into a shared stack and posts a job to every other worker; a helper takes
 * packets from there, puts its own surplus back, and leaves after a slice, so that its own heaps are served. The trace is over when the
 * owner has nothing left, the shared stack is empty and every helper that has come is idle.
 * Locks: gc->lock guards the shared stack and the counts; no client memory is touched under it.
 * Threads: gc_help_* the owner; on_help() and on_slices() any other worker. */
#include <sched.h>
#include <string.h>

#include "daemon/gc/trace.h"
#include "daemon/config.h"
#include "daemon/heap/guard.h"
#include "daemon/os/os.h"

#define PACKET_OBJECTS   256u
#define SURPLUS_OBJECTS  1024u          /* on one stack: worth sharing */
#define HELP_SLICE_NS    500000ull
#define WORTH_BYTES      (256u << 10)   /* moved or marked the last time */
#define MARK_WORTH_BYTES (64u << 20)    /* to be marked between pauses: where less is, helpers would hardly have come */
#define MARKED_BIT       1u             /* of an offset in the shared stack: from `marked`, not from `grey` */

static struct { unsigned workers; gc_lend *lend; } others;      /* set before heaps exist */

void gc_help_init(unsigned workers, gc_lend *lend)
{
    others.workers = workers < GC_MAX_TRACERS ? workers : GC_MAX_TRACERS;
    others.lend = lend;
}

/* What is left for this pause: marked objects may be left for later. */
static size_t held(const struct gc_tracer *tracer) { return tracer->grey.count + (tracer->mark_settled ? tracer->marked.count : 0); }

/* How much is shared, for those who look without the lock. Under the lock. */
static void tell_shared(struct gc *gc) { mm_store_relaxed(&gc->shared_seen, gc->shared.count); }

/* Moves up to `objects` from the top of a tracer's stacks to the shared one. Under the lock. */
static void give(struct gc_tracer *tracer, size_t objects)
{
    struct gc_stack *shared = &tracer->gc->shared;
    for (; objects && held(tracer); objects--) {
        bool grey = tracer->grey.count > 0;
        struct gc_stack *from = grey ? &tracer->grey : &tracer->marked;
        uint64_t off = from->word[from->count - 1] | (grey ? 0 : MARKED_BIT);
        if (!stack_push_grow(shared, off))
            break;                      /* no memory to share: it stays where it is */
        from->count--;
    }
    tell_shared(tracer->gc);
}

/* Takes a packet. Under the lock; false: there is none. */
static bool take(struct gc_tracer *tracer)
{
    struct gc_stack *shared = &tracer->gc->shared;
    bool any = shared->count > 0;
    for (unsigned i = 0; i < PACKET_OBJECTS && shared->count; i++) {
        uint64_t off = shared->word[shared->count - 1];
        struct gc_stack *to = off & MARKED_BIT ? &tracer->marked : &tracer->grey;
        if (to->count >= GC_GREY_SETTLED || to->count == to->room)
            break;
        shared->count--;
        stack_push(to, off & ~(uint64_t)MARKED_BIT);
    }
    tell_shared(tracer->gc);
    return any && held(tracer);
}

void gc_help_share(struct gc_tracer *tracer)
{
    struct gc *gc = tracer->gc;
    if (!tracer->parallel || tracer->waiting || held(tracer) < SURPLUS_OBJECTS || mm_load_relaxed(&gc->shared_seen) >= 2 * PACKET_OBJECTS)
        return;
    pthread_mutex_lock(&gc->lock);
    give(tracer, held(tracer) / 2 < 4 * PACKET_OBJECTS ? held(tracer) / 2 : 4 * PACKET_OBJECTS);
    pthread_mutex_unlock(&gc->lock);
}

/* ---- Helpers ---- */

static void help_body(void *argument)
{
    struct gc_tracer *tracer = argument;
    struct gc *gc = tracer->gc;
    uint64_t until = os.now_ns() + HELP_SLICE_NS;
    bool idle = false;
    while (!mm_load_relaxed(&gc->lie) && os.now_ns() < until) {
        pthread_mutex_lock(&gc->lock);
        bool any = take(tracer), over = gc->help_over;
        if (any == idle)
            gc->help_idle += any ? -1u : 1u;
        idle = !any;
        pthread_mutex_unlock(&gc->lock);
        if (over)
            break;
        if (any)
            (void)trace_drain(tracer, until);
        else
            mm_cpu_relax();
    }
    trace_queue_empty(tracer);
    pthread_mutex_lock(&gc->lock);
    give(tracer, SIZE_MAX);
    gc->help_idle -= idle;
    pthread_mutex_unlock(&gc->lock);
}

/* Has its part, and goes; it was counted when it came. */
static void help_run(void (*body)(void *tracer), struct gc_helper *helper)
{
    struct gc *gc = helper->gc;
    if (!guard_run(body, helper->tracer))
        mm_store_relaxed(&gc->lie, "its memory cannot be had");
    pthread_mutex_lock(&gc->lock);
    gc->help_running--;
    pthread_mutex_unlock(&gc->lock);
}

static void on_help(struct job *job)
{
    struct gc_helper *helper = (struct gc_helper *)job;
    struct gc *gc = helper->gc;
    pthread_mutex_lock(&gc->lock);
    bool come = !gc->help_over && held(helper->tracer) == 0;
    if (come) {                         /* else the owner does not wait for us: what it reads without the lock is not written */
        gc->help_running++;
        gc->helped++;
    }
    pthread_mutex_unlock(&gc->lock);
    if (come)
        help_run(help_body, helper);
    mm_store_release(&helper->posted, 0);       /* pairs with the acquire in helper_post() */
}

/* ---- The owner ---- */

void gc_help_prepare(struct gc *gc)
{
    const struct receipt *last = &gc->last;
    uint64_t moved = last->copied_bytes + last->promoted_bytes + last->marked_bytes;
    bool parallel = others.workers > 1 && (moved > WORTH_BYTES || gc->pause != PAUSE_MINOR || CONFIG(stress));
    pthread_mutex_lock(&gc->lock);
    gc->tracers = parallel ? others.workers : 1;
    gc->helped = 0;
    gc->shared.count = 0;
    tell_shared(gc);
    for (unsigned i = 0; i < GC_MAX_TRACERS; i++)
        gc->tracer[i].parallel = parallel;
    gc->help_over = true;               /* until helpers are asked: a job of the last collection may only now come round */
    gc->slice_over = true;              /* and whoever waits for another slice of marking goes */
    pthread_mutex_unlock(&gc->lock);
}

/* Asks another worker, unless it was asked before and is not done. */
static void helper_post(struct gc *gc, unsigned i, void (*run)(struct job *job), bool idle)
{
    struct gc_helper *helper = &gc->helper[i];
    if (mm_load_acquire(&helper->posted))       /* pairs with the release of who was asked */
        return;
    mm_store_relaxed(&helper->posted, 1);
    helper->gc = gc;
    helper->tracer = &gc->tracer[i];
    helper->job.run = run;
    if (!others.lend(gc->heap, i, idle, &helper->job))
        mm_store_relaxed(&helper->posted, 0);
}

void gc_help_wanted(struct gc *gc)
{
    if (!gc->tracer[0].parallel || (held(&gc->tracer[0]) < SURPLUS_OBJECTS && !CONFIG(stress)))
        return;
    pthread_mutex_lock(&gc->lock);
    gc->help_over = false;
    pthread_mutex_unlock(&gc->lock);
    for (unsigned i = 1; i < gc->tracers; i++)
        helper_post(gc, i, on_help, false);
}

bool gc_help_finished(struct gc *gc)
{
    if (!gc->tracer[0].parallel)
        return true;
    pthread_mutex_lock(&gc->lock);
    bool more = take(&gc->tracer[0]), over = !more && gc->shared.count == 0 && gc->help_idle == gc->help_running;
    pthread_mutex_unlock(&gc->lock);
    return over;
}

/* Nobody comes any more, and those who are there go. */
static void send_away(struct gc *gc)
{
    pthread_mutex_lock(&gc->lock);
    gc->help_over = true;
    mm_store_relaxed(&gc->slice_open, false);
    pthread_mutex_unlock(&gc->lock);
    for (;;) {
        pthread_mutex_lock(&gc->lock);
        bool gone = gc->help_running == 0;
        pthread_mutex_unlock(&gc->lock);
        if (gone)
            break;
        sched_yield();
    }
}

void gc_help_end(struct gc *gc)
{
    send_away(gc);                      /* also from a slice of marking that is given up in the middle */
    gc->marker.parallel = false;
    gc->receipt.helpers = gc->helped;
    for (unsigned i = 0; i < GC_MAX_TRACERS; i++)
        gc->tracer[i].parallel = false;
}

bool gc_help_pending(const struct gc *gc)
{
    for (unsigned i = 1; i < GC_MAX_TRACERS; i++)
        if (mm_load_acquire(&gc->helper[i].posted))
            return true;
    return false;
}

/* ---- Between pauses ----
 *
 * While threads run the marker has the heap for a slice at a time, and so have its helpers: all take blocks from one elevator, and what they find waits in its block. Nobody is at the heap
 * when the slice is over, so whatever else the owner does in between need not know of them. A helper stays for a few slices, since it takes one to come. */

static void slice_body(void *argument)
{
    struct gc_tracer *tracer = argument;
    struct gc *gc = tracer->gc;
    while (mm_load_relaxed(&gc->slice_open) && !mm_load_relaxed(&gc->lie) && os.now_ns() < gc->slice_until)
        if (trace_drain(tracer, gc->slice_until))
            mm_cpu_relax();                     /* somebody may find more */
}

static void on_slices(struct job *job)
{
    struct gc_helper *helper = (struct gc_helper *)job;
    struct gc *gc = helper->gc;
    uint64_t until = os.now_ns() + HELP_SLICE_NS, joined = 0;
    for (;;) {
        pthread_mutex_lock(&gc->lock);
        bool join = gc->slice_open && gc->slice_number != joined, over = gc->slice_over;
        joined = gc->slice_number;
        if (join) {                     /* as in on_help() */
            gc->help_running++;
            gc->mark_helped++;
        }
        pthread_mutex_unlock(&gc->lock);
        if (join)
            help_run(slice_body, helper);
        else if (over || os.now_ns() >= until)
            break;
        else
            mm_cpu_relax();
    }
    mm_store_release(&helper->posted, 0);       /* pairs with the acquire in helper_post() */
}

void gc_help_slice(struct gc *gc, uint64_t until)
{
    if (others.workers < 2 || !mm_load_relaxed(&gc->waiting.count) || (gc->mark_expected_bytes < MARK_WORTH_BYTES && !CONFIG(stress)))
        return;
    for (unsigned i = 1; i < others.workers; i++)
        if (!mark_helper_ready(gc, &gc->tracer[i])) {
            for (; i; i--)
                mark_helper_done(gc, &gc->tracer[i]);
            return;
        }
    pthread_mutex_lock(&gc->lock);
    gc->marker.parallel = gc->slice_open = true;
    gc->slice_over = false;
    gc->slice_until = until;
    gc->slice_number++;
    pthread_mutex_unlock(&gc->lock);
    for (unsigned i = 1; i < others.workers; i++)
        helper_post(gc, i, on_slices, true);
}

void gc_help_slice_end(struct gc *gc)
{
    if (!gc->marker.parallel)
        return;
    send_away(gc);
    gc->marker.parallel = false;
    for (unsigned i = 1; i < others.workers; i++)
        mark_helper_done(gc, &gc->tracer[i]);
}
