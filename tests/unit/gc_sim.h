/* gc_sim.h — collector and client library in one thread: the daemon's half of a collected heap, and the library's half of the same one.
 *
 * Both halves are the real ones and share one mapping: the client's base is the daemon's, so an address is an address on both sides. What
 * would be a letter is a call (__wrap_morph__request), what would be a sleep runs the collector (__wrap_mm_park), and the clock is a number
 * that moves by `tick_ns` whenever the daemon looks at it: 0 lets one gc_step() make a whole collection, more than a slice one phase.
 * Linked with the library's sources but segment.c, and --wrap of the functions named below. One heap at a time. */
#ifndef UNIT_GC_SIM_H
#define UNIT_GC_SIM_H

#include "tests/unit/heap_helper.h"

#include <stdlib.h>

#include "client/internal.h"
#include "daemon/gc/trace.h"
#include "daemon/heap/job.h"
#include "daemon/heap/refill.h"
#include "daemon/heap/types.h"

struct sim_options {
    uint64_t limit_bytes, young_bytes, start_bytes;
    uint32_t promotion_age, threads;
    bool     no_moving;                 /* threads attach with morph__thread_attach_quiet(): their machine stack is the test's */
};

static struct sim {
    struct user        user;
    struct type_table  types;
    struct heap       *heap;
    struct gc         *gc;
    struct morph_heap *client;
    int                fds[3], ends[2];
    uint64_t           tick_ns;
    const char        *lie;             /* why the heap was condemned */
    void             (*wait)(uint32_t *word, uint32_t seen);    /* what a waiting thread does; NULL: serves the heap until it need not wait */
    void             (*yield)(void);    /* where another thread may come in between; NULL: nobody does */
    void             (*resume)(void);   /* a collection has ended or was put off, and nobody runs yet; NULL: nobody looks */
} sim;

static uint64_t sim_now(void) { return world_ns += sim.tick_ns; }

/* ---- The daemon's worker ---- */

struct sim_serving { bool any, lies; };

static void sim_serve_body(void *argument)
{
    struct sim_serving *service = argument;
    struct gc *gc = sim.gc;
    if (!gc_in_pause(gc))
        service->any = refill_serve(sim.heap, &service->lies);
    if (gc_step(gc)) {
        service->any = true;
        if (gc->phase == GC_IDLE)
            (void)refill_serve(sim.heap, &service->lies);
    }
}

static void sim_abandon_body(void *argument) { gc_abandon(argument); }

static void sim_condemn(const char *why)
{
    sim.lie = why;
    sim.heap->condemned = -MORPH_ECONDEMNED;
    mm_store_relaxed(&sim.heap->control->condemned, (uint32_t)-MORPH_ECONDEMNED);
    (void)guard_run(sim_abandon_body, sim.gc);
}

/* One round of a worker's heap_serve(). True if it did something. */
static bool sim_serve(void)
{
    struct sim_serving service = { false, false };
    if (sim.heap->condemned)
        return false;
    if (!guard_run(sim_serve_body, &service))
        sim_condemn("a fault");
    else if (service.lies)
        sim_condemn("it gave back blocks that it does not have");
    else if (sim.gc->lie)
        sim_condemn(sim.gc->lie);
    else
        heap_check(sim.heap);
    return service.any;
}

static void sim_background_body(void *any) { *(bool *)any = (!gc_in_pause(sim.gc) && gc_background_step(sim.gc)) || heap_clean_step(sim.heap); }

/* One slice of what a worker does when nobody wants anything. */
static inline bool sim_background(void)
{
    bool any = false;
    return !sim.heap->condemned && guard_run(sim_background_body, &any) && any;
}

/* Whoever posts to the loop thread: nobody does here. */
void loop_post(struct job *job) { (void)job; }

void __real_handshake_resume(struct gc *gc);
void __wrap_handshake_resume(struct gc *gc);
void __wrap_handshake_resume(struct gc *gc)
{
    if (sim.resume)
        sim.resume();
    __real_handshake_resume(gc);
}

/* ---- The library's doors ---- */

int __wrap_mm_park(uint32_t *word, uint32_t seen, uint64_t ns);
int __wrap_mm_park(uint32_t *word, uint32_t seen, uint64_t ns)
{
    (void)ns;
    if (sim.wait)
        sim.wait(word, seen);
    else
        for (unsigned idle = 0; mm_load_relaxed(word) == seen && !sim.heap->condemned; ) {
            if (!sim_serve())
                world_ns += MS;
            else
                idle = 0;
            if (idle++ > 100000) {
                sim_condemn("nothing happens any more");
                break;
            }
        }
    return 0;
}

uint64_t __wrap_mm_now_ns(void);
uint64_t __wrap_mm_now_ns(void) { return world_ns; }

void __real_morph__ring_doorbell(struct morph_heap *heap);
void __wrap_morph__ring_doorbell(struct morph_heap *heap);
void __wrap_morph__ring_doorbell(struct morph_heap *heap)
{
    __real_morph__ring_doorbell(heap);
    if (sim.yield)
        sim.yield();
}

void __real_morph__roots_take_back(struct morph__thread *thread);
void __wrap_morph__roots_take_back(struct morph__thread *thread);
void __wrap_morph__roots_take_back(struct morph__thread *thread)
{
    if (sim.yield)
        sim.yield();
    __real_morph__roots_take_back(thread);
}

static int sim_answer_roots_get(const struct mm_roots_get *ask, struct mm_message *answer)
{
    const struct gc_root_set *set = gc_root_set_find(sim.gc, ask->slot, ask->set);
    struct mm_roots_moved *moved = &answer->as.roots_moved;
    if (!set || ask->at >= set->count)
        return MORPH_EINVALID;
    uint32_t count = set->count - ask->at < 512 ? set->count - ask->at : 512;
    answer->id = MM_MSG_ROOTS_MOVED;
    moved->total = set->count;
    moved->at = ask->at;
    moved->epoch = sim.gc->epoch;
    moved->words_count = 2 * count;
    for (uint32_t i = 0; i < count; i++) {
        moved->words[2 * i] = (uint32_t)set->word[ask->at + i];
        moved->words[2 * i + 1] = (uint32_t)(set->word[ask->at + i] >> 32);
    }
    return 0;
}

int __wrap_morph__request(struct morph_heap *heap, struct mm_message *message, struct mm_message *ret_answer);
int __wrap_morph__request(struct morph_heap *heap, struct mm_message *message, struct mm_message *ret_answer)
{
    (void)heap;
    switch (message->id) {
    case MM_MSG_TYPE:
        ret_answer->id = MM_MSG_TYPE_ID;
        return -types_register(&sim.types, &message->as.type, &ret_answer->as.type_id.type);
    case MM_MSG_ROOTS: {
        const struct mm_roots *roots = &message->as.roots;
        ret_answer->id = MM_MSG_OK;
        return -gc_root_set_report(sim.gc, roots->slot, roots->set, roots->total, roots->at, roots->words, roots->words_count);
    }
    case MM_MSG_ROOTS_GET:
        return sim_answer_roots_get(&message->as.roots_get, ret_answer);
    default:
        return MORPH_EPROTOCOL;
    }
}

/* In place of client/segment.c: the memory is there already. */
int morph__segment_map(struct morph_heap *heap, uint32_t chunk, uint32_t chunks, int fd)
{
    close(fd);
    if (chunk != heap->mapped_chunks)
        return MORPH_EPROTOCOL;
    mm_store_release(&heap->mapped_chunks, chunk + chunks);
    return 0;
}

/* ---- Life ---- */

static inline void sim_client_new(void)
{
    struct morph_heap *client = calloc(1, sizeof *client);
    assert_non_null(client);
    pthread_mutex_init(&client->lock, NULL);
    client->socket = sim.ends[1];
    client->due = client->watch = -1;
    client->doorbell = sim.heap->doorbell;
    client->timeout_ms = 3600000;
    client->mode = MORPH_RUNTIME;
    client->collected = true;
    client->id = 7;
    client->base = sim.heap->view.base;
    client->reserve_bytes = sim.heap->view.bytes;
    client->mapped_chunks = sim.heap->mapped_chunks;
    client->control = sim.heap->control;
    client->control_bytes = sim.heap->control_bytes;
    client->span_back = calloc(client->reserve_bytes >> MM_BLOCK_SHIFT, sizeof *client->span_back);
    client->control->client_base = (uintptr_t)client->base;
    client->control->armed = 0;
    sim.client = client;
}

static inline void sim_open(const struct sim_options *options)
{
    int error = 0;
    memset(&sim, 0, sizeof sim);
    os.now_ns = sim_now;
    types_init(&sim.types);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sim.ends), 0);
    struct heap_request request = { .id = 7, .limit_bytes = options->limit_bytes, .reserve_bytes = mm_round_up(options->limit_bytes * 2, MM_CHUNK_BYTES),
                                    .threads = options->threads ? options->threads : 4, .socket = sim.ends[0], .owner = { 1000, 1 },
                                    .user = &sim.user, .mode = MORPH_RUNTIME, .types = &sim.types, .young_min_bytes = options->young_bytes,
                                    .young_max_bytes = options->young_bytes, .gc_start_bytes = options->start_bytes,
                                    .promotion_age = options->promotion_age, .no_moving = options->no_moving };
    sim.heap = heap_new(&request, sim.fds, &error);
    assert_non_null(sim.heap);
    sim.gc = sim.heap->gc;
    sim.heap->view.client_base = (uintptr_t)sim.heap->view.base;
    sim_client_new();
    sim.client->no_moving = options->no_moving;
}

/* A thread that runs, of a heap without moving: its roots are its frames alone. */
static inline morph_thread *sim_attach_quiet(void)
{
    struct morph__thread *thread;
    assert_int_equal(morph__thread_attach_quiet(sim.client, &thread), 0);
    mm_add_relaxed(&sim.client->threads, 1);
    morph__inside_begin();
    morph__leave(thread);
    morph__inside_end();
    return (morph_thread *)thread->slot;
}

/* Threads are detached. */
static inline void sim_close(void)
{
    struct morph_heap *client = sim.client;
    for (unsigned i = 0; i < MORPH__TYPE_BUCKETS; i++)
        for (struct morph__type *type = client->type_bucket[i], *next; type; type = next) {
            next = type->next;
            free(type);
        }
    pthread_mutex_destroy(&client->lock);
    free(client->span_back);
    free(client->pin);
    free(client);
    heap_free(sim.heap);
    close(sim.fds[0]);
    close(sim.fds[2]);
    close(sim.ends[0]);
    close(sim.ends[1]);
    types_done(&sim.types);
}

/* ---- Looks from inside ---- */

static inline uint64_t sim_off(const void *object) { return (uint64_t)((const char *)object - sim.heap->view.base) - MM_HEADER_BYTES; }
static inline uint32_t sim_block(const void *object) { return (uint32_t)(sim_off(object) >> MM_BLOCK_SHIFT); }
static inline enum gc_space sim_space(const void *object) { return (enum gc_space)sim.gc->space[sim_block(object)]; }
static inline bool sim_starts(const void *object) { return gc_starts_at(gc_block(sim.gc, sim_block(object)), trace_granule(sim_off(object))); }

#endif
