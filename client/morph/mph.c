/* mph.c — the memory of compiled Morph programs: their heap, its threads, allocation and collection. See morph-abi.h and docs/morph.md.
 *
 * The heap belongs to the process and is opened by the first call; objects in it never move (no_moving in morphmem.h). Contexts are only counted: a
 * thread is known by itself and attaches at its first call, since programs hand contexts and objects from thread to thread as they like.
 * Lock: `lock` guards the heap's opening and closing and the list of threads. It may be held while a thread is stopped: who waits for it can be
 * stopped too. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/morph/environment.h"
#include "client/morph/mph.h"
#include "client/morph/stats.h"

_Thread_local struct mph_thread *mph__mine __attribute__((tls_model("initial-exec")));

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    morph_heap   *heap;                 /* NULL: none now */
    enum morph_mode mode;
    uint64_t      contexts;
    struct mph_thread *threads;
    uint64_t      objects, bytes;       /* allocated by threads that are gone */
} process;

static pthread_key_t end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;
static int end_error;

/* ---- Failing ---- */

/* Under no lock of ours: what is written at exit takes it. The first thread that fails ends the program; exit(3) is not for two at once. */
void mph__fail(const char *what, int error)
{
    static int ending;
    static _Thread_local bool mine;
    fprintf(stderr, "morphmem: %s: %s\n", what, morph_strerror(error));
    if (mine)
        _exit(1);                       /* something that runs at exit has failed in turn */
    while (__atomic_exchange_n(&ending, 1, __ATOMIC_RELAXED))
        (void)pause();
    mine = true;
    exit(1);
}

/* An allocation could not be met: what the user can do about it depends on why. */
static void __attribute__((noreturn)) fail_alloc(const struct mph_thread *me, size_t size)
{
    morph_heap_stats stats;
    char what[256];
    int error = morph_thread_error(me->thread);
    if (error != MORPH_ENOMEM || morph_heap_stats_get(me->heap, &stats) < 0)
        snprintf(what, sizeof what, "cannot allocate %zu bytes", size);
    else
        snprintf(what, sizeof what, "cannot allocate %zu bytes within the bound of %llu KiB (%llu KiB were alive after the last collection; MORPHMEM_LIMIT raises it)", size,
                 (unsigned long long)stats.limit_bytes >> 10, (unsigned long long)stats.live_bytes >> 10);
    mph__fail(what, error);
}

/* ---- Statistics at exit ---- */

static void figures_keep(void)
{
    struct morph__counts counts = { .objects = process.objects, .bytes = process.bytes };
    struct morph__figures *figures = malloc(sizeof *figures);
    for (const struct mph_thread *thread = process.threads; thread; thread = thread->next) {
        counts.objects += __atomic_load_n(&thread->objects, __ATOMIC_RELAXED);
        counts.bytes += __atomic_load_n(&thread->bytes, __ATOMIC_RELAXED);
    }
    if (figures && morph__stats_gather(process.heap, process.mode, &counts, figures) == 0)
        morph__stats_keep(figures);
    free(figures);
}

static void on_exit_now(void)
{
    pthread_mutex_lock(&lock);
    if (process.heap)
        figures_keep();
    pthread_mutex_unlock(&lock);
}

/* ---- Heap and threads ---- */

/* Under the lock. 0, or a negative code. */
static int heap_open(const morph_options *options)
{
    int r = morph_heap_open(&process.heap, options);
    if (r < 0)
        return r;
    process.mode = options->mode;
    if (morph__debug_wanted())
        fprintf(stderr, "morphmem: heap %llu, mode %s\n", (unsigned long long)morph_heap_id(process.heap), morph__mode_name(options->mode));
    if (morph__stats_wanted())
        morph__stats_at_exit(on_exit_now);
    return 0;
}

/* Under the lock. */
static void thread_leave(struct mph_thread *mine)
{
    for (struct mph_thread **link = &process.threads; *link; link = &(*link)->next)
        if (*link == mine) {
            *link = mine->next;
            break;
        }
    process.objects += mine->objects;
    process.bytes += mine->bytes;
    (void)morph_thread_on_roots(mine->thread, NULL, NULL);
    (void)morph_thread_detach(mine->thread);            /* in a forked child it is none */
    mph__mine = NULL;
    mph__roots_free(mine);
    free(mine);
}

static void on_thread_end(void *mine)
{
    pthread_mutex_lock(&lock);
    thread_leave(mine);
    pthread_mutex_unlock(&lock);
}

static void end_key_make(void) { end_error = pthread_key_create(&end_key, on_thread_end); }

struct mph_thread *mph__attach(void)
{
    struct mph_thread *mine = calloc(1, sizeof *mine);
    pthread_once(&end_once, end_key_make);
    morph_options options = { .mode = MORPH_RUNTIME, .no_moving = true };
    if (!mine || end_error)
        mph__fail("cannot attach a thread", MORPH_EMEMORY);
    if (morph__environment(&options) < 0)
        exit(1);                        /* it has said why */
    pthread_mutex_lock(&lock);
    int r = process.heap ? 0 : heap_open(&options);
    bool open = r == 0;
    if (open && (r = morph_thread_attach(process.heap, &mine->thread)) == 0) {
        mine->heap = process.heap;
        mine->next = process.threads;
        process.threads = mine;
    }
    pthread_mutex_unlock(&lock);
    if (r < 0)
        mph__fail(open ? "cannot attach a thread" : "cannot open a heap", r);
    (void)morph_thread_on_roots(mine->thread, mph__roots_visit, mine);
    if (pthread_setspecific(end_key, mine))
        mph__fail("cannot attach a thread", MORPH_EMEMORY);
    mph__mine = mine;
    return mine;
}

void mph_init_memory(MorphContext *context)
{
    (void)context;
    (void)mph__me();
    pthread_mutex_lock(&lock);
    process.contexts++;
    pthread_mutex_unlock(&lock);
}

/* With the last context goes the heap, unless other threads are still at it. */
void mph_destroy_memory(MorphContext *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    bool last = process.contexts && --process.contexts == 0 && process.heap && process.threads == mph__mine && mph__mine && !mph__mine->next;
    if (last) {
        if (morph__stats_wanted())
            figures_keep();
        (void)pthread_setspecific(end_key, NULL);
        thread_leave(mph__mine);
        if (morph_heap_close(process.heap) == 0) {
            process.heap = NULL;
            process.objects = process.bytes = 0;
            mph__types_forget();
        }
    }
    pthread_mutex_unlock(&lock);
}

/* ---- Allocation ---- */

static const struct mph_type *type_near(struct mph_thread *me, const MorphTypeInfo *info)
{
    struct mph_type *near = &me->near[((uintptr_t)info / sizeof *info) % MPH_TYPES_NEAR];
    if (__builtin_expect(near->info != info || !near->type, 0))
        *near = mph__type_of(me->heap, process.mode != MORPH_COMPILER, info);
    return near;
}

void *mph_alloc(MorphContext *context, size_t size, MorphTypeInfo *info)
{
    struct mph_thread *me = mph__me();
    const struct mph_type *type = type_near(me, info);
    (void)context;
    if (__builtin_expect(type->bytes != size && type->bytes != MPH_ANY_SIZE, 0))
        type = type_near(me, NULL);     /* not what its type says: any word of it may be a reference */
    void *object = type->bytes == MPH_ANY_SIZE ? morph_new_array(me->thread, type->type, size) : morph_new(me->thread, type->type);
    if (__builtin_expect(!object, 0))
        fail_alloc(me, size);
    __atomic_store_n(&me->objects, me->objects + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&me->bytes, me->bytes + size, __ATOMIC_RELAXED);
    return object;
}

void mph_gc_collect(MorphContext *context)
{
    (void)context;
    int r = morph_collect(mph__me()->thread, MORPH_COLLECT_MAJOR);
    if (r < 0 && r != MORPH_EMODE && r != MORPH_EPUTOFF)        /* put off: the next one will do */
        mph__fail("cannot collect", r);
}

/* ---- Of older memory systems ---- */

void mph_swap_in(MorphContext *context, void *object)
{
    (void)context;
    (void)object;
}

void mph_start_daemon(MorphContext *context) { (void)context; }
void mph_stop_daemon(MorphContext *context) { (void)context; }

uint64_t mph_time_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
