/* worker.c — see worker.h.
 *
 * The doorbell (PROTOCOLS section 3): a hot heap is polled and its `armed` is 0, so its client makes no system call. To cool one the
 * worker stores armed = 1 (seq_cst), looks at its rings once more, and only then leaves it to epoll. */
#define _GNU_SOURCE
#include "daemon/heap/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/guard.h"
#include "daemon/heap/refill.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "shm/machine.h"
#include "shm/park.h"
#include "shm/ring.h"

#define HOT_NS            100000ull
#define HOT_COLLECTED_NS  300000ull     /* of collected heaps, whose threads take a block at a time */
#define TIMER_SLACK_NS    1000ul        /* the kernel's own is 50 us */
#define NAP_LATE_NS       200000ull     /* behind the moment that a nap was to end at: this core is given back late, */
#define NAP_DISTRUST_NS   300000000ull  /* and none is taken for so long */
#define RETRY_NS          2000000ull
#define DEAF_NS           1000000ull
#define RINGS_PER_SECOND  10000u
#define CENSUS_STEPS      4096u
#define LISTEN_ROUNDS     64u           /* rounds without a slice of work between two looks at the doorbells */
#define OVERDRAFT_BYTES   (1u << 20)    /* memory beyond what was granted that is put down to rounding */

struct worker {
    pthread_t       thread;
    unsigned        index;
    int             epoll, wake;
    uint32_t        asleep;             /* in epoll: the mailbox wants its eventfd */
    uint32_t        nudged;             /* a heap of its was asked to give (balance.h): look at them */
    uint32_t        heaps;              /* owned; loop thread adds, for balance */
    uint64_t        beat;               /* rounds; the watchdog compares */
    pthread_mutex_t lock;
    struct job     *first, **last;      /* mailbox */
    struct job      pressed;            /* in the mailbox while pressed_posted is 1 */
    uint32_t        pressed_posted;     /* any thread */
    /* The thread's own. */
    struct heap    *all, *hot;
    struct census  *censuses;
    uint64_t        sweep_ns;           /* when to look at all heaps; UINT64_MAX: there are none */
    uint64_t        nap_ns;             /* when to come to the first heap that was left for a while; UINT64_MAX: there is none */
    uint64_t        awake_until_ns;     /* no naps before: one was too long */
    uint64_t        idle_ns;            /* when to look for collected heaps that have gone idle; UINT64_MAX: not at all */
    unsigned        trims, dirty, retries, deaf;        /* heaps in each condition, at most: hints that end a search early */
    uint64_t        cleaned;            /* number of the heap that had the last slice of background work */
    bool            giving;             /* one that was asked is not done, as far as is known */
    bool            stopping, spin;
};

static struct workers {
    struct worker *worker;
    unsigned       count;
    void         (*on_condemned)(uint64_t heap);
} workers;

/* ---- Mailbox ---- */

static void worker_post(struct worker *worker, struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&worker->lock);
    *worker->last = job;
    worker->last = &job->next;
    pthread_mutex_unlock(&worker->lock);
    uint64_t one = 1;
    if (mm_load_seq_cst(&worker->asleep))       /* pairs with the store before the worker's last look at the mailbox */
        (void)!write(worker->wake, &one, sizeof one);
}

static bool mailbox_empty(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    bool empty = worker->first == NULL;
    pthread_mutex_unlock(&worker->lock);
    return empty;
}

static bool mailbox_run(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    struct job *job = worker->first;
    worker->first = NULL;
    worker->last = &worker->first;
    pthread_mutex_unlock(&worker->lock);
    bool any = job != NULL;
    while (job) {
        struct job *next = job->next;
        job->run(job);
        job = next;
    }
    return any;
}

/* A heap of this worker was asked to give. The balance's lock is held, so the heap is there, and a worker outlives its heaps. */
static void on_nudge(struct heap *heap)
{
    struct worker *worker = mm_load_relaxed(&heap->worker);
    uint64_t one = 1;
    if (!worker)                        /* not adopted yet: looked at then */
        return;
    mm_store_seq_cst(&worker->nudged, 1);
    if (mm_load_seq_cst(&worker->asleep))       /* pairs with the store before the worker's last look */
        (void)!write(worker->wake, &one, sizeof one);
}

/* ---- Heaps: hot, cool, condemned ---- */

struct word_store { uint32_t *word, value; };

static void word_store_body(void *argument)
{
    struct word_store *store = argument;
    mm_store_seq_cst(store->word, store->value);
}

/* Stores into the control area. A client can have punched the page away, so this too can fault; then there is nothing to say there. */
static void control_store(uint32_t *word, uint32_t value)
{
    struct word_store store = { word, value };
    (void)guard_run(word_store_body, &store);
}

/* ---- Tasks ---- */

static void task_end(struct heap_task *task, int error)
{
    task->error = error ? error : task->error;
    task->job.run = task->done;         /* its next way is back */
    loop_post(&task->job);
}

static void drop_tasks(struct heap *heap, int error)
{
    while (heap->tasks) {
        struct heap_task *task = heap->tasks;
        heap->tasks = task->next;
        task_end(task, error);
    }
}

/* True if one was carried out. */
static bool tasks_step(struct heap *heap)
{
    bool any = false;
    for (struct heap_task **link = &heap->tasks; *link;) {
        struct heap_task *task = *link;
        if (!task->step(task)) {
            link = &task->next;
            continue;
        }
        *link = task->next;
        task_end(task, 0);
        any = true;
    }
    return any;
}

/* ---- Service ---- */

struct serving { struct heap *heap; bool any, lies; };

static void serve_body(void *argument)
{
    struct serving *service = argument;
    struct gc *gc = service->heap->gc;
    if (!gc || !gc_in_pause(gc))
        service->any = refill_serve(service->heap, &service->lies);
    if (gc && gc_step(gc)) {
        service->any = true;
        if (gc->phase == GC_IDLE)               /* whoever waits for memory gets it at once */
            (void)refill_serve(service->heap, &service->lies);
    }
}

/* What others decide by. */
static void figures_publish(struct heap *heap)
{
    if (!heap->gc || heap->gc->phase != GC_IDLE)
        return;
    mm_store_relaxed(&heap->member.live_bytes, heap->gc->live_bytes);
    mm_store_relaxed(&heap->member.young_bytes, (uint64_t)heap->gc->young_blocks << MM_BLOCK_SHIFT);
}

/* Serves a heap once. True if it wanted something. */
static bool heap_serve(struct heap *heap)
{
    struct serving service = { .heap = heap };
    if (heap->condemned)
        return false;
    if (!guard_run(serve_body, &service))
        worker_condemn(heap, -MORPH_EMEMORY, "its memory cannot be had");
    else if (service.lies)
        worker_condemn(heap, -MORPH_ECONDEMNED, "it gave back blocks that it does not have");
    else if (heap->gc && heap->gc->lie)
        worker_condemn(heap, -MORPH_ECONDEMNED, heap->gc->lie);
    else
        heap_check(heap);
    figures_publish(heap);
    return tasks_step(heap) || service.any;
}

static bool heap_gc_due(const struct heap *heap, uint64_t now) { return heap->gc && !heap->condemned && gc_due_ns(heap->gc) <= now; }

/* Must it be visited again though nobody rings? */
static bool heap_waits(const struct heap *heap)
{
    return heap->retry || heap->tasks || (heap->gc && !heap->condemned && gc_due_ns(heap->gc) != UINT64_MAX);
}

/* Blocks to zero; of a collected heap, whose blocks are zeroed by who is given them, what a collection has left to do. */
static bool heap_left_over(const struct heap *heap)
{
    return heap->gc ? !gc_in_pause(heap->gc) && gc_left_over(heap->gc) : heap->dirty_blocks != 0;
}

/* When the heap, if nobody asks for anything, is to be collected because it is idle; UINT64_MAX: not. */
static uint64_t heap_idle_due(const struct heap *heap)
{
    uint64_t idle_ns = CONFIG(heap_idle) * 1000000;
    return idle_ns && heap->gc && !heap->condemned && gc_worth_marking(heap->gc) ? heap->member.granted_ns + idle_ns : UINT64_MAX;
}

static void heap_heat(struct worker *worker, struct heap *heap, uint64_t now)
{
    heap->active_ns = now;
    if (heap->nap_ns && now > heap->nap_ns + NAP_LATE_NS)
        worker->awake_until_ns = now + NAP_DISTRUST_NS;
    heap->nap_ns = 0;
    heap->trim_chunk = 0;
    if (worker->sweep_ns == UINT64_MAX)
        worker->sweep_ns = now + CONFIG(pool_idle) * 1000000;
    if (heap->hot)
        return;
    heap->hot = true;
    heap->hot_next = worker->hot;
    worker->hot = heap;
    control_store(&heap->control->armed, 0);
}

/* Arms the doorbell and looks once more; true if the heap may be left to epoll. */
static bool heap_cool(struct heap *heap)
{
    control_store(&heap->control->armed, 1);            /* pairs with mm_doorbell_wanted(): whoever asks after this rings */
    if (!heap_serve(heap))
        return true;
    control_store(&heap->control->armed, 0);
    return false;
}

struct nap { struct heap *heap; uint64_t ns; };

static void nap_body(void *argument)
{
    struct nap *nap = argument;
    nap->ns = refill_nap_ns(nap->heap);
}

/* How long a heap that wants nothing can be left alone; 0: not known. */
static uint64_t heap_nap_ns(struct heap *heap)
{
    struct nap nap = { .heap = heap };
    return heap->gc && !heap->condemned && guard_run(nap_body, &nap) ? nap.ns : 0;
}

static void nap_note(struct worker *worker, const struct heap *heap)
{
    if (heap->nap_ns && heap->nap_ns < worker->nap_ns)
        worker->nap_ns = heap->nap_ns;
}

/* Leaves a heap that wants nothing to epoll: after a while, or at once if it is known for how long. False: it stays hot. */
static bool heap_rest(struct worker *worker, struct heap *heap, uint64_t now)
{
    if (!heap->condemned && heap_left_over(heap))       /* we do not sleep, so nobody need call */
        return false;
    uint64_t nap_ns = worker->spin && now < worker->awake_until_ns ? 0 : heap_nap_ns(heap);
    if ((!nap_ns && worker->spin && now - heap->active_ns <= (heap->gc ? HOT_COLLECTED_NS : HOT_NS)) || !heap_cool(heap))
        return false;
    heap->hot = false;
    if (nap_ns) {
        heap->nap_ns = now + nap_ns;
        mm_store_relaxed(&heap->naps, heap->naps + 1);
        nap_note(worker, heap);
    }
    worker->retries += heap_waits(heap);
    worker->dirty += heap_left_over(heap);
    if (heap_idle_due(heap) < worker->idle_ns)
        worker->idle_ns = heap_idle_due(heap);
    return true;
}

static bool poll_hot(struct worker *worker)
{
    bool any = false;
    uint64_t now = worker->hot ? os.now_ns() : 0;
    for (struct heap **link = &worker->hot; *link;) {
        struct heap *heap = *link;
        if (heap_serve(heap)) {
            heap->active_ns = now;
            any = true;
        } else if (heap_rest(worker, heap, now)) {
            *link = heap->hot_next;
            continue;
        }
        link = &heap->hot_next;
    }
    return any;
}

static void abandon_body(void *argument) { gc_abandon(argument); }

struct condemned_note { struct job job; uint64_t heap; };        /* its number: it may be gone when the note is read */

static void on_condemned_note(struct job *job)
{
    struct condemned_note *note = (struct condemned_note *)job;
    workers.on_condemned(note->heap);
    free(note);
}

void worker_condemn(struct heap *heap, int error, const char *why)
{
    if (heap->condemned)
        return;
    mm_store_relaxed(&heap->condemned, (uint32_t)error);
    control_store(&heap->control->condemned, (uint32_t)error);
    if (heap->gc)
        (void)guard_run(abandon_body, heap->gc);        /* threads that wait for the collection see the word */
    log_warning("heap", "condemned heap=%llu: %s", (unsigned long long)heap->id, why);
    drop_tasks(heap, MORPH_ECONDEMNED);
    balance_leave(heap);
    struct condemned_note *note = malloc(sizeof *note);
    if (!note)
        return;                         /* the client sees the word in its control area */
    *note = (struct condemned_note){ .job.run = on_condemned_note, .heap = heap->id };
    loop_post(&note->job);
}

static void on_doorbell(struct worker *worker, struct heap *heap)
{
    uint64_t count, now = os.now_ns();
    (void)!read(heap->doorbell, &count, sizeof count);
    if (heap->hot)
        return;
    mm_store_relaxed(&heap->doorbells, heap->doorbells + 1);
    if (heap_serve(heap)) {
        heap_heat(worker, heap, now);
        return;
    }
    worker->retries += heap_waits(heap);
    if (now - heap->rings_since_ns > 1000000000ull) {
        heap->rings = 0;
        heap->rings_since_ns = now;
    }
    if (++heap->rings > RINGS_PER_SECOND) {     /* noise: be deaf to it for a while */
        struct epoll_event none = { .events = 0, .data.ptr = heap };
        epoll_ctl(worker->epoll, EPOLL_CTL_MOD, heap->doorbell, &none);
        heap->deaf_until_ns = now + DEAF_NS;
        worker->deaf++;
    }
}

/* ---- Jobs ---- */

struct heap_job { struct job job; struct heap *heap; struct job *done; };

static void on_adopt(struct job *job)
{
    struct heap_job *adopt = (struct heap_job *)job;
    struct heap *heap = adopt->heap;
    struct worker *worker = heap->worker;
    free(adopt);
    struct epoll_event in = { .events = EPOLLIN, .data.ptr = heap };
    heap->all_next = worker->all;
    worker->all = heap;
    worker->giving = true;              /* it may have been asked already */
    if (epoll_ctl(worker->epoll, EPOLL_CTL_ADD, heap->doorbell, &in) < 0)
        worker_condemn(heap, -MORPH_EMEMORY, "its doorbell cannot be watched");
    else
        heap_heat(worker, heap, os.now_ns());
}

static void unlink_hot(struct worker *worker, struct heap *heap)
{
    for (struct heap **link = &worker->hot; *link; link = &(*link)->hot_next)
        if (*link == heap) {
            *link = heap->hot_next;
            return;
        }
}

static void unlink_all(struct worker *worker, struct heap *heap)
{
    for (struct heap **link = &worker->all; *link; link = &(*link)->all_next)
        if (*link == heap) {
            *link = heap->all_next;
            return;
        }
}

static void drop_censuses(struct worker *worker, struct heap *heap)
{
    for (struct census **link = &worker->censuses; *link;) {
        struct census *census = *link;
        if (census->heap != heap) {
            link = &census->next;
            continue;
        }
        *link = census->next;
        census->cut_short = true;
        loop_post(&census->job);
    }
}

static void on_release(struct job *job)
{
    struct heap_job *release = (struct heap_job *)job;
    struct heap *heap = release->heap;
    struct worker *worker = heap->worker;
    if (heap->gc && heap->gc->phase != GC_IDLE)
        (void)guard_run(abandon_body, heap->gc);
    if (heap->gc && gc_help_pending(heap->gc)) {
        worker_post(worker, job);       /* a helper has yet to come round and go */
        return;
    }
    epoll_ctl(worker->epoll, EPOLL_CTL_DEL, heap->doorbell, NULL);
    if (heap->hot)
        unlink_hot(worker, heap);
    unlink_all(worker, heap);
    balance_leave(heap);
    drop_censuses(worker, heap);
    drop_tasks(heap, MORPH_ENOHEAP);
    mm_sub_relaxed(&worker->heaps, 1);
    heap_free(heap);
    loop_post(release->done);
    free(release);
}

/* Jobs that must not fail for lack of memory: a release waits for it. */
static struct heap_job *heap_job_new(struct heap *heap, void (*run)(struct job *job), struct job *done)
{
    struct heap_job *job;
    while (!(job = malloc(sizeof *job)))
        segment_shed(UINT64_MAX / 2);
    *job = (struct heap_job){ .job.run = run, .heap = heap, .done = done };
    return job;
}

void worker_adopt(struct heap *heap)
{
    struct worker *best = &workers.worker[0];
    for (unsigned i = 1; i < workers.count; i++)
        if (mm_load_relaxed(&workers.worker[i].heaps) < mm_load_relaxed(&best->heaps))
            best = &workers.worker[i];
    mm_add_relaxed(&best->heaps, 1);
    mm_store_relaxed(&heap->worker, best);
    worker_post(best, &heap_job_new(heap, on_adopt, NULL)->job);
}

void worker_release(struct heap *heap, struct job *done)
{
    worker_post(heap->worker, &heap_job_new(heap, on_release, done)->job);
}

/* A gc_lend. */
static bool worker_lend(struct heap *heap, unsigned nth, bool idle, struct job *job)
{
    struct worker *worker = heap->worker ? &workers.worker[(heap->worker->index + nth) % workers.count] : NULL;
    if (!worker || worker == heap->worker || (idle && !mm_load_relaxed(&worker->asleep)))
        return false;
    worker_post(worker, job);
    return true;
}

static void on_task(struct job *job)
{
    struct heap_task *task = (struct heap_task *)job;
    struct heap *heap = task->heap;
    if (heap->condemned) {
        task_end(task, MORPH_ECONDEMNED);
        return;
    }
    struct heap_task **last = &heap->tasks;
    while (*last)
        last = &(*last)->next;
    task->next = NULL;
    *last = task;
    heap_heat(heap->worker, heap, os.now_ns());         /* served in this round */
}

void worker_do(struct heap_task *task)
{
    task->job.run = on_task;
    worker_post(task->heap->worker, &task->job);
}

static void publish_body(void *argument) { heap_publish(argument); }

static void on_pressed(struct job *job)
{
    struct worker *worker = (struct worker *)((char *)job - offsetof(struct worker, pressed));
    /* First: pairs with the exchange in workers_tell_pressure(), whose figure is read below or posted anew. */
    mm_store_seq_cst(&worker->pressed_posted, 0);
    for (struct heap *heap = worker->all; heap; heap = heap->all_next)
        if (!heap->condemned && !guard_run(publish_body, heap))
            worker_condemn(heap, -MORPH_EMEMORY, "its memory cannot be had");
}

/* A pressure_init() teller. Any thread. */
static void workers_tell_pressure(void)
{
    for (unsigned i = 0; i < workers.count; i++) {
        struct worker *worker = &workers.worker[i];
        if (mm_xchg_seq_cst(&worker->pressed_posted, 1))
            continue;
        worker->pressed.run = on_pressed;
        worker_post(worker, &worker->pressed);
    }
}

static void on_count(struct job *job)
{
    struct census *census = (struct census *)job;
    struct worker *worker = census->heap->worker;
    census->job.run = census->done;     /* its next way is back */
    census->next = worker->censuses;
    worker->censuses = census;
}

void worker_count(struct census *census, void (*done)(struct job *job))
{
    census->done = done;
    census->job.run = on_count;
    worker_post(census->heap->worker, &census->job);
}

/* ---- Background ---- */

struct census_service { struct census *census; bool done; };

static void census_body(void *argument)
{
    struct census_service *service = argument;
    service->done = census_slice(service->census, CENSUS_STEPS);
}

static bool census_step(struct worker *worker)
{
    struct census *census = worker->censuses;
    if (!census)
        return false;
    struct census_service service = { .census = census };
    bool whole = !census->heap->condemned && guard_run(census_body, &service);
    if (!whole)
        census->cut_short = true;
    if (whole && !service.done)
        return true;
    worker->censuses = census->next;
    loop_post(&census->job);
    return true;
}

struct clean_service { struct heap *heap; bool any; };

static void clean_body(void *argument)
{
    struct clean_service *service = argument;
    struct gc *gc = service->heap->gc;
    if (!gc)
        service->any = heap_clean_step(service->heap);
    else if ((service->any = !gc_in_pause(gc) && gc_background_step(gc)))
        heap_publish(service->heap);            /* what was swept counts no longer */
}

/* The heap whose turn it is to have a slice: by number, after the one that had the last. */
static struct heap *clean_next(const struct worker *worker)
{
    struct heap *next = NULL;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next)
        if (!heap->condemned && heap_left_over(heap) && (!next || heap->id - worker->cleaned - 1 < next->id - worker->cleaned - 1))
            next = heap;
    return next;
}

/* Zeroes one dirty free block of some heap, reclaims what a collection left behind, or marks for a while. */
static bool clean_step(struct worker *worker)
{
    if (!worker->dirty && !worker->hot)
        return false;
    struct clean_service service = { .heap = clean_next(worker) };
    if (!service.heap) {
        worker->dirty = 0;
        return false;
    }
    worker->cleaned = service.heap->id;
    if (!guard_run(clean_body, &service))
        worker_condemn(service.heap, -MORPH_EMEMORY, "its memory cannot be had");
    worker->retries += heap_waits(service.heap);        /* a marking that is done wants its last pause, though nobody may ring */
    return true;
}

/* Once an idle period: which heaps have been idle so long that they are trimmed, and does any use memory that it was not granted? */
static void sweep(struct worker *worker, uint64_t now)
{
    uint64_t idle_ns = CONFIG(pool_idle) * 1000000;
    worker->sweep_ns = worker->all ? now + idle_ns : UINT64_MAX;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next) {
        if (heap_overdrawn_bytes(heap) > OVERDRAFT_BYTES)
            worker_condemn(heap, -MORPH_ECONDEMNED, "it uses memory that it was not granted");
        worker->trims += heap->trim_chunk < heap->mapped_chunks && heap->active_ns + idle_ns <= now;
    }
}

static bool trim_step(struct worker *worker)
{
    if (!worker->trims)
        return false;
    uint64_t now = os.now_ns(), idle_ns = CONFIG(pool_idle) * 1000000;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next)
        if (heap->active_ns + idle_ns <= now && !heap->condemned && heap_trim_step(heap))
            return true;
    worker->trims = 0;
    return false;
}

/* One slice of what a heap was asked to give (balance.h). */
static bool give_step(struct worker *worker)
{
    if (mm_load_relaxed(&worker->nudged) && mm_xchg_seq_cst(&worker->nudged, 0))
        worker->giving = true;
    if (!worker->giving)
        return false;
    worker->giving = false;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next) {
        if (heap->condemned || mm_load_relaxed(&heap->member.ask) == BALANCE_NOTHING)
            continue;
        worker->giving = true;
        if (heap->gc && heap_left_over(heap)) {
            worker->dirty++;                    /* clean_step() comes first */
            continue;
        }
        if (!balance_step(heap))
            continue;
        if (heap->gc && heap->gc->wanted)
            heap_heat(worker, heap, os.now_ns());
        return true;
    }
    return false;
}

/* Collected heaps that have gone idle, and have been granted something worth a marking since the last one, get it now, once. */
static void idle_look(struct worker *worker, uint64_t now)
{
    worker->idle_ns = UINT64_MAX;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next) {
        uint64_t due = heap_idle_due(heap);
        if (due > now) {
            worker->idle_ns = due < worker->idle_ns ? due : worker->idle_ns;
            continue;
        }
        if (heap->gc->phase != GC_IDLE || heap->gc->wanted)
            continue;
        gc_request_idle(heap->gc);
        heap_heat(worker, heap, now);
    }
}

static bool background_step(struct worker *worker)
{
    if (worker->idle_ns != UINT64_MAX && os.now_ns() >= worker->idle_ns)
        idle_look(worker, os.now_ns());
    if (worker->sweep_ns != UINT64_MAX && os.now_ns() >= worker->sweep_ns)
        sweep(worker, os.now_ns());
    return census_step(worker) || clean_step(worker) || give_step(worker) || segment_work() || trim_step(worker);
}

/* ---- The thread ---- */

/* Heaps that wait for their client to read its mail, heaps that were left for a while, and heaps that we were deaf to. */
static void look_again(struct worker *worker)
{
    uint64_t now = os.now_ns();
    worker->retries = worker->deaf = 0;
    worker->nap_ns = UINT64_MAX;
    for (struct heap *heap = worker->all; heap; heap = heap->all_next) {
        if (heap->deaf_until_ns && now >= heap->deaf_until_ns) {
            struct epoll_event in = { .events = EPOLLIN, .data.ptr = heap };
            epoll_ctl(worker->epoll, EPOLL_CTL_MOD, heap->doorbell, &in);
            heap->deaf_until_ns = 0;
        }
        if ((heap->nap_ns && now >= heap->nap_ns) || ((heap->retry || heap->tasks || heap_gc_due(heap, now)) && heap_serve(heap)))
            heap_heat(worker, heap, now);
        nap_note(worker, heap);
        worker->retries += heap_waits(heap);
        worker->deaf += heap->deaf_until_ns != 0;
    }
}

/* When something is to be done though nobody calls; UINT64_MAX: never. */
static uint64_t due_ns(const struct worker *worker)
{
    uint64_t due = segment_due_ns(), retry = worker->retries || worker->deaf || worker->giving ? os.now_ns() + RETRY_NS : UINT64_MAX;
    if (worker->sweep_ns < due)
        due = worker->sweep_ns;
    if (worker->idle_ns < due)
        due = worker->idle_ns;
    if (worker->nap_ns < due)
        due = worker->nap_ns;
    return retry < due ? retry : due;
}

/* Waits for doorbells until `until`; 0: only looks. */
static int events_wait(struct worker *worker, struct epoll_event *events, int room, uint64_t until)
{
    uint64_t now = until ? os.now_ns() : 0, rest = until > now ? until - now : 0;
    struct timespec most = { .tv_sec = (time_t)(rest / 1000000000), .tv_nsec = (long)(rest % 1000000000) };
    int n = epoll_pwait2(worker->epoll, events, room, until == UINT64_MAX ? NULL : &most, NULL);
    if (n < 0 && errno == ENOSYS)       /* Linux before 5.11: to the millisecond */
        n = epoll_wait(worker->epoll, events, room, until == UINT64_MAX ? -1 : rest > 3600000000000ull ? 3600000 : (int)((rest + 999999) / 1000000));
    return n;
}

/* Hears the doorbells. */
static void worker_listen(struct worker *worker, uint64_t until)
{
    struct epoll_event events[64];
    int n = events_wait(worker, events, 64, until);
    mm_store_seq_cst(&worker->asleep, 0);
    for (int i = 0; i < n; i++) {
        uint64_t count;
        if (events[i].data.ptr)
            on_doorbell(worker, events[i].data.ptr);
        else
            (void)!read(worker->wake, &count, sizeof count);
    }
    if (worker->retries || worker->deaf || (worker->nap_ns != UINT64_MAX && os.now_ns() >= worker->nap_ns))
        look_again(worker);
}

static void worker_sleep(struct worker *worker)
{
    uint64_t until = due_ns(worker);
    mm_store_seq_cst(&worker->asleep, 1);       /* pairs with the load in worker_post() */
    worker_listen(worker, mailbox_empty(worker) && !mm_load_seq_cst(&worker->nudged) ? until : 0);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    unsigned rounds = 0;
    (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
    while (!worker->stopping) {
        mm_store_relaxed(&worker->beat, worker->beat + 1);
        bool any = mailbox_run(worker);
        any |= poll_hot(worker);
        bool slice = background_step(worker);
        if (!any && !slice && !worker->hot)
            worker_sleep(worker);
        else if (slice || ++rounds % LISTEN_ROUNDS == 0)        /* however busy: the others are heard too */
            worker_listen(worker, 0);
        else if (!any)
            mm_cpu_relax();
    }
    return NULL;
}

static int worker_start(struct worker *worker, unsigned index)
{
    worker->index = index;
    worker->last = &worker->first;
    worker->sweep_ns = worker->nap_ns = worker->idle_ns = UINT64_MAX;
    worker->spin = mm_machine_cores() > 1;
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event in = { .events = EPOLLIN, .data.ptr = NULL };
    if (worker->epoll < 0 || worker->wake < 0 || epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->wake, &in) < 0)
        return -errno;
    pthread_mutex_init(&worker->lock, NULL);
    int r = -pthread_create(&worker->thread, NULL, worker_main, worker);
    if (r == 0)
        pthread_setname_np(worker->thread, "morph-worker");
    return r;
}

int workers_start(unsigned count, void (*on_condemned)(uint64_t heap))
{
    workers.on_condemned = on_condemned;
    balance_init(on_nudge);
    gc_help_init(count, worker_lend);
    pressure_init(workers_tell_pressure);
    workers.worker = calloc(count, sizeof *workers.worker);
    if (!workers.worker)
        return -ENOMEM;
    for (workers.count = 0; workers.count < count; workers.count++) {
        int r = worker_start(&workers.worker[workers.count], workers.count);
        if (r < 0)
            return r;
    }
    return 0;
}

struct stop_job { struct job job; struct worker *worker; };

static void on_stop(struct job *job) { ((struct stop_job *)job)->worker->stopping = true; }

void workers_stop(void)
{
    for (unsigned i = 0; i < workers.count; i++) {
        struct worker *worker = &workers.worker[i];
        struct stop_job stop = { .job.run = on_stop, .worker = worker };
        worker_post(worker, &stop.job);
        pthread_join(worker->thread, NULL);
        close(worker->epoll);
        close(worker->wake);
        pthread_mutex_destroy(&worker->lock);
    }
    free(workers.worker);
    workers.worker = NULL;
    workers.count = 0;
}

unsigned workers_count(void) { return workers.count; }

bool workers_alive(void)
{
    static uint64_t seen[64];
    bool alive = true;
    for (unsigned i = 0; i < workers.count; i++) {
        uint64_t beat = mm_load_relaxed(&workers.worker[i].beat);
        alive &= beat != seen[i] || mm_load_relaxed(&workers.worker[i].asleep);
        seen[i] = beat;
    }
    return alive;
}
