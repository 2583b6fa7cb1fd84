/* heap.c — opening and closing: one round trip, HELLO with OPEN and WELCOME with everything that the first allocation needs. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/internal.h"
#include "client/options.h"
#include "proto/packet.h"
#include "shm/machine.h"
#include "shm/memfd.h"


const char *morph_version(void) { return PACKAGE_VERSION; }

static void copy_text(char *to, size_t capacity, const char *from) { snprintf(to, capacity, "%s", from); }

static int say_hello(struct morph_heap *heap, const morph_options *options)
{
    struct mm_message message = { .id = MM_MSG_HELLO, .seq = ++heap->seq };
    struct mm_hello *hello = &message.as.hello;
    char packet[MORPH__PACKET_BYTES];
    size_t bytes;
    hello->version = MM_PROTOCOL_VERSION;
    hello->features = MM_FEATURES;
    hello->layout = MM_LAYOUT_VERSION;
    copy_text(hello->program, sizeof hello->program, program_invocation_short_name);
    copy_text(hello->name, sizeof hello->name, options->name);
    hello->open = true;
    hello->mode = options->mode;
    hello->limit_bytes = options->limit_bytes;
    hello->reserve_bytes = options->reserve_bytes;
    hello->client_base = (uintptr_t)heap->base;
    hello->gc_start_bytes = options->gc_start_bytes;
    hello->pause_target_us = options->pause_target_us;
    hello->threads = options->threads + heap->no_moving;         /* one slot is the static data's */
    hello->young_min_bytes = options->young_min_bytes;
    hello->young_max_bytes = options->young_max_bytes;
    hello->promotion_age = options->promotion_age;
    hello->no_moving = heap->no_moving;
    int r = mm_message_encode(&message, packet, sizeof packet, &bytes);
    if (r == 0)
        r = mm_packet_send(heap->socket, packet, bytes, NULL, 0);
    return morph__error_of_errno(r);
}

static int map_control(struct morph_heap *heap, int fd, uint64_t bytes)
{
    if (!mm_memfd_sealed(fd, bytes))
        return MORPH_EPROTOCOL;
    heap->control = mm_map(fd, bytes, NULL, true, false);
    heap->control_bytes = bytes;
    if (!heap->control)
        return MORPH_EMEMORY;
    int r = mm_control_check(heap->control, bytes);
    if (r == 0 && heap->control->reserve_bytes != heap->reserve_bytes)
        r = -EPROTO;
    heap->huge_pages = heap->control->huge_pages;
    heap->control->client_base = (uintptr_t)heap->base;
    return morph__error_of_errno(r);
}

/* Takes the descriptors, whatever comes of it. */
static int be_welcome(struct morph_heap *heap, const struct mm_welcome *welcome, int *fds, unsigned fd_count)
{
    unsigned used = 0;
    int r = MORPH_EPROTOCOL;
    if (welcome->version != MM_PROTOCOL_VERSION)
        r = MORPH_EVERSION;
    else if (heap->no_moving && !(welcome->features & MM_FEATURE_NO_MOVING))
        r = MORPH_EVERSION;
    else if (fd_count >= 2 && fd_count == 2 + welcome->segment_chunk_count && welcome->segment_chunk_count == welcome->segment_chunks_count &&
             welcome->limit_bytes <= heap->reserve_bytes) {
        heap->id = welcome->heap;
        heap->doorbell = fds[1];
        r = map_control(heap, fds[0], welcome->control_bytes);
        close(fds[0]);
        used = 2;
        for (unsigned i = 0; i < welcome->segment_chunk_count && r == 0; i++)
            r = morph__segment_map(heap, welcome->segment_chunk[i], welcome->segment_chunks[i], fds[used++]);
    }
    for (; used < fd_count; used++)
        close(fds[used]);
    return r;
}

static int hear_answer(struct morph_heap *heap)
{
    char packet[MORPH__PACKET_BYTES];
    struct mm_message message;
    int fds[MM_PACKET_FDS];
    unsigned fd_count = 0;
    int r = morph__receive(heap->socket, heap->timeout_ms, packet, &message, fds, &fd_count);
    if (r < 0)
        return morph__error_of_errno(r);
    if (message.id == MM_MSG_WELCOME)
        return be_welcome(heap, &message.as.welcome, fds, fd_count);
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    return message.id == MM_MSG_ERROR && message.as.error.error ? -(int)message.as.error.error : MORPH_EPROTOCOL;
}

static void heap_free(struct morph_heap *heap)
{
    for (struct morph__space *space = heap->space, *next; space; space = next) {
        next = space->next;
        if (space->kind == MM_SPACE_ARENA)
            morph__arena_forget(space);
        else
            morph__pool_forget(space);
    }
    for (struct morph__thread *thread = heap->thread, *next; thread; thread = next) {
        next = thread->next;
        morph__roots_free(thread);
        free(thread->seen);
        free(thread);
    }
    for (unsigned i = 0; i < MORPH__TYPE_BUCKETS; i++)
        for (struct morph__type *type = heap->type_bucket[i], *next; type; type = next) {
            next = type->next;
            free(type);
        }
    if (heap->base)
        munmap(heap->base, heap->reserve_bytes);
    if (heap->span_back)
        munmap(heap->span_back, (heap->reserve_bytes >> MM_BLOCK_SHIFT) * sizeof *heap->span_back);
    if (heap->control)
        munmap(heap->control, heap->control_bytes);
    if (heap->watch >= 0)
        close(heap->watch);
    if (heap->due >= 0)
        close(heap->due);
    if (heap->socket >= 0)
        close(heap->socket);            /* this is what closes the heap */
    if (heap->doorbell >= 0)
        close(heap->doorbell);
    pthread_mutex_destroy(&heap->lock);
    morph__pressure_free(heap);
    free(heap->pin);
    free(heap);
}

static int heap_address_space(struct morph_heap *heap)
{
    uint64_t table_bytes = (heap->reserve_bytes >> MM_BLOCK_SHIFT) * sizeof *heap->span_back;
    heap->base = mm_reserve(heap->reserve_bytes);
    void *table = mmap(NULL, table_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    heap->span_back = table == MAP_FAILED ? NULL : table;
    if (!heap->base)
        return MORPH_EMEMORY;
    (void)madvise(heap->base, heap->reserve_bytes, MADV_DONTFORK);
    return heap->span_back ? 0 : MORPH_EMEMORY;
}

int morph_heap_open(morph_heap **ret_heap, const morph_options *given)
{
    morph_options options;
    if (!ret_heap)
        return MORPH_EINVALID;
    int r = morph__options_resolve(given, &options);
    if (r < 0)
        return r;
    struct morph_heap *heap = calloc(1, sizeof *heap);
    if (!heap)
        return MORPH_EMEMORY;
    pthread_mutex_init(&heap->lock, NULL);
    heap->socket = heap->doorbell = heap->due = heap->watch = -1;
    heap->mode = options.mode;
    heap->collected = options.mode != MORPH_COMPILER;
    heap->no_moving = options.no_moving;
    const char *stress = getenv("MORPHMEM_STRESS");
    heap->stress = heap->collected && stress ? strtoull(stress, NULL, 10) : 0;
    heap->timeout_ms = options.timeout_ms;
    heap->reserve_bytes = options.reserve_bytes;
    heap->spin = mm_machine_cores() > 1;
    r = heap_address_space(heap);
    if (r == 0)
        r = morph__connect(&options, options.timeout_ms, &heap->socket);
    if (r == 0)
        r = say_hello(heap, &options);
    if (r == 0 || (r == MORPH_ELOST && heap->socket >= 0))      /* a refusal may have come before we spoke */
        r = hear_answer(heap);
    if (r < 0) {
        heap_free(heap);
        return r;
    }
    morph__heap_enlist(heap);
    if (heap->no_moving)
        r = morph__fixed_open(heap);
    if (r == 0 && options.service_thread)
        r = morph__service_start(heap);
    if (r < 0) {
        morph__fixed_close(heap);
        morph__heap_delist(heap);
        heap_free(heap);
        return r;
    }
    *ret_heap = heap;
    return 0;
}

int morph_heap_close(morph_heap *heap)
{
    if (!heap)
        return 0;
    bool forked = morph__status(heap) == MORPH_EFORKED;
    if (!forked && (mm_load_relaxed(&heap->threads) || morph__pressure_calling_here(heap)))
        return MORPH_EBUSY;
    morph__service_stop(heap);
    morph__fixed_close(heap);
    morph__heap_delist(heap);
    heap_free(heap);
    return 0;
}

int morph_heap_status(const morph_heap *heap)
{
    if (!heap)
        return MORPH_EINVALID;
    int status = morph__status(heap);
    return status || !mm_load_relaxed(&heap->control->condemned) ? status : MORPH_ECONDEMNED;
}

bool morph_heap_holds(const morph_heap *heap, const void *address) { return (uint64_t)((const char *)address - heap->base) < heap->reserve_bytes; }

uint64_t morph_heap_id(const morph_heap *heap) { return heap->id; }

int morph_heap_dispatch(morph_heap *heap)
{
    if (!heap)
        return MORPH_EINVALID;
    int r = morph_heap_status(heap);
    if (r < 0)
        return r;
    uint64_t count;
    morph__lock(heap);
    r = morph__letters(heap);
    if (heap->due >= 0)
        (void)!read(heap->due, &count, sizeof count);           /* before we look at what is due */
    if (r == 0)
        morph__pressure_run(heap);
    morph__unlock(heap);
    return r < 0 ? r : morph__status(heap);
}

int morph_heap_stats_get(morph_heap *heap, morph_heap_stats *ret_stats)
{
    if (!heap || !ret_stats)
        return MORPH_EINVALID;
    if (morph__status(heap) == MORPH_EFORKED)
        return MORPH_EFORKED;
    morph__lock(heap);
    morph_heap_stats stats = { .limit_bytes = morph__limit_bytes(heap),
                               .limit_most_bytes = heap->reserve_bytes,
                               .limit_needed_bytes = heap->limit_needed_bytes,
                               .granted_bytes = mm_load_relaxed(&heap->control->granted_bytes),
                               .spare_bytes = (uint64_t)heap->spare_blocks << MM_BLOCK_SHIFT,
                               .mapped_bytes = (uint64_t)heap->mapped_chunks << MM_CHUNK_SHIFT,
                               .collections = mm_load_relaxed(&heap->control->collections),
                               .live_bytes = mm_load_relaxed(&heap->control->live_bytes),
                               .pause_ns = mm_load_relaxed(&heap->control->pause_ns),
                               .pause_max_ns = mm_load_relaxed(&heap->control->pause_max_ns),
                               .minor_collections = mm_load_relaxed(&heap->control->minor_collections),
                               .major_collections = mm_load_relaxed(&heap->control->major_collections),
                               .promoted_objects = mm_load_relaxed(&heap->control->promoted_objects),
                               .promoted_bytes = mm_load_relaxed(&heap->control->promoted_bytes),
                               .freed_bytes = mm_load_relaxed(&heap->control->freed_bytes) };
    for (uint32_t i = 0; i < heap->control->slots_high; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        stats.waits += mm_load_relaxed(&slot->waits);
        stats.wait_ns += mm_load_relaxed(&slot->wait_ns);
    }
    morph__unlock(heap);
    *ret_stats = stats;
    return 0;
}
