/* mem.c — contexts, allocation, collection. See mem.h for the files beside it, morphmem/morph-mem.h for what is promised.
 *
 * Collected modes: an object is one of the heap's, of the type that its id stands for; the heap moves nothing and scans conservatively.
 * COMPILER: an object is a cell of the context's shared pool, with a header of ours in front, so that freeing it knows what it was. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/morph/environment.h"
#include "client/morph/mem.h"
#include "shm/layout.h"
#include "shm/object.h"

#define LOOK_BYTES ((uint64_t)1 << 20)

_Static_assert(sizeof(MorphObjectHeader) == MM_HEADER_BYTES && offsetof(MorphObjectHeader, type) == offsetof(struct mm_object, type) &&
               offsetof(MorphObjectHeader, age) == offsetof(struct mm_object, age), "the header that morph-mem.h shows is the heap's");

static MorphContextV2 *contexts;        /* under the lock: those that can be used */
static _Thread_local int last_error;

int morph__mem_fail(int error)
{
    last_error = error;
    return error;
}

int morph_mem_error(void) { return last_error; }

/* ---- Contexts ---- */

static void say_what_was_chosen(const MorphContextV2 *context, const morph_options *options)
{
    morph_heap_stats stats = { 0 };
    (void)morph_heap_stats_get(context->heap, &stats);
    fprintf(stderr, "morphmem: heap %llu, mode %s, limit %llu bytes, gc start %llu bytes, pause target %u us (0: the mode's default)\n",
            (unsigned long long)morph_heap_id(context->heap), morph__mode_name(context->mode), (unsigned long long)stats.limit_bytes,
            (unsigned long long)options->gc_start_bytes, options->pause_target_us);
}

/* The heap, and what else the mode needs. The context is closed by the caller if it fails. */
static int context_open(MorphContextV2 *context, const morph_options *options)
{
    context->mode = options->mode;
    int r = morph_heap_open(&context->heap, options);
    if (r < 0 || context->mode != MORPH_COMPILER)
        return r;
    struct mem_attachment *mine = mem_attachment(context);
    return mine ? morph_pool_new(mine->thread, MORPH_POOL_SHARED, &context->pool) : last_error;
}

static int context_close(MorphContextV2 *context)
{
    pthread_mutex_lock(&morph__mem_lock);
    morph__mem_detach_all(context);
    pthread_mutex_unlock(&morph__mem_lock);
    morph_pool_free(context->pool);
    int r = morph_heap_close(context->heap);
    morph__mem_types_free(context);
    free(context);
    return r;
}

static int context_new(const MorphMemConfig *config, MorphContextV2 **ret_context)
{
    morph_options options;
    int r = morph__mem_options(config, &options);
    if (r == 0)
        r = morph__environment(&options);
    if (r < 0)
        return r;
    MorphContextV2 *context = calloc(1, sizeof *context);
    if (!context)
        return MORPH_EMEMORY;
    options.no_moving = options.mode != MORPH_COMPILER;
    context->counting = config->enable_metrics;
    r = context_open(context, &options);
    if (r < 0) {
        (void)context_close(context);
        return r;
    }
    if (config->enable_debug || morph__debug_wanted())
        say_what_was_chosen(context, &options);
    *ret_context = context;
    return 0;
}

MorphContextV2 *morph_mem_init(MorphMemConfig config)
{
    MorphContextV2 *context;
    int r = context_new(&config, &context);
    if (r < 0) {
        fprintf(stderr, "morphmem: no memory context: %s\n", morph_strerror(r));
        (void)morph__mem_fail(r);
        return NULL;
    }
    pthread_mutex_lock(&morph__mem_lock);
    context->next = contexts;
    contexts = context;
    pthread_mutex_unlock(&morph__mem_lock);
    if (morph__stats_wanted())
        morph__stats_at_exit(morph__mem_keep_living);
    return context;
}

MorphContextV2 *morph_mem_init_auto(void) { return morph_mem_init(morph_mem_detect_config()); }

MorphContextV2 *morph__mem_claim(MorphContextV2 *context)
{
    MorphContextV2 **link = &contexts, *claimed;
    pthread_mutex_lock(&morph__mem_lock);
    while (context && *link && *link != context)
        link = &(*link)->next;
    claimed = *link;
    if (claimed)
        *link = claimed->next;
    pthread_mutex_unlock(&morph__mem_lock);
    return claimed;
}

int morph_mem_destroy(MorphContextV2 *context)
{
    if (!context)
        return 0;
    if (!morph__mem_claim(context))
        return morph__mem_fail(MORPH_EBUSY);            /* the process exits, and its statistics are being written */
    if (morph__stats_wanted() && morph_heap_status(context->heap) != MORPH_EFORKED) {
        struct morph__figures figures;
        (void)morph__mem_gather(context, &figures);
        morph__stats_keep(&figures);
    }
    int r = context_close(context);
    return r < 0 ? morph__mem_fail(r) : 0;
}

/* ---- Counting ---- */

void morph__mem_saw_live(MorphContextV2 *context, uint64_t bytes)
{
    uint64_t peak = __atomic_load_n(&context->peak_bytes, __ATOMIC_RELAXED);
    while (peak < bytes && !__atomic_compare_exchange_n(&context->peak_bytes, &peak, bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

static void count_born(struct mem_attachment *mine, uint64_t bytes)
{
    mem_add(&mine->counts.objects, 1);
    mem_add(&mine->counts.bytes, bytes);
}

/* Collections come unseen: what the last one found is looked at now and then. */
static void look_at_live(struct mem_attachment *mine)
{
    morph_heap_stats stats;
    mine->look_bytes = mine->counts.bytes;
    if (morph_heap_stats_get(mine->context->heap, &stats) == 0)
        morph__mem_saw_live(mine->context, stats.live_bytes);
}

/* ---- Allocation ---- */

static void *fail_null(int error)
{
    (void)morph__mem_fail(error);
    return NULL;
}

static void *collected_alloc(struct mem_attachment *mine, uint64_t bytes, uint8_t type_id)
{
    MorphContextV2 *context = mine->context;
    struct mem_type *type = mem_type(context, type_id);
    if (!type)
        return NULL;
    void *object = morph_new_array(mine->thread, __atomic_load_n(&type->type, __ATOMIC_RELAXED), bytes);
    if (!object)
        return fail_null(morph_thread_error(mine->thread));
    if (!context->counting)
        return object;
    count_born(mine, bytes);
    if (mine->counts.bytes - mine->look_bytes >= LOOK_BYTES)
        look_at_live(mine);
    return object;
}

static void count_pooled(struct mem_attachment *mine, const MorphObjectHeader *header)
{
    MorphContextV2 *context = mine->context;
    count_born(mine, header->size);
    mem_add(&mine->counts.live_objects[header->type], 1);
    mem_add(&mine->counts.live_bytes[header->type], header->size);
    __atomic_add_fetch(&context->pool_bytes, morph_usable(context->pool, header), __ATOMIC_RELAXED);
    morph__mem_saw_live(context, __atomic_add_fetch(&context->live_bytes, header->size, __ATOMIC_RELAXED));
}

static void *pooled_alloc(struct mem_attachment *mine, uint64_t bytes, uint8_t type_id)
{
    MorphContextV2 *context = mine->context;
    if (type_id == 0 || type_id >= MORPH_MEM_TYPES)
        return fail_null(MORPH_EINVALID);
    if (bytes > MM_OBJECT_MAX_BYTES)
        return fail_null(MORPH_ETOOLARGE);
    MorphObjectHeader *header = morph_malloc(context->pool, sizeof *header + bytes);
    if (!header)
        return fail_null(morph_pool_error(context->pool));
    *header = (MorphObjectHeader){ .size = (uint32_t)bytes, .type = type_id };
    if (context->counting)
        count_pooled(mine, header);
    return header + 1;
}

void *morph_mem_alloc(MorphContextV2 *context, size_t size, uint8_t type_id)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine)
        return NULL;
    return context->mode == MORPH_COMPILER ? pooled_alloc(mine, size ? size : 1, type_id) : collected_alloc(mine, size ? size : 1, type_id);
}

void *morph_mem_alloc_zeroed(MorphContextV2 *context, size_t size, uint8_t type_id)
{
    void *object = morph_mem_alloc(context, size, type_id);
    return object && context->mode == MORPH_COMPILER ? memset(object, 0, size ? size : 1) : object;
}

int morph_mem_free(MorphContextV2 *context, void *object)
{
    if (!context)
        return morph__mem_fail(MORPH_EINVALID);
    if (context->mode != MORPH_COMPILER || !object)
        return 0;
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine)
        return last_error;
    MorphObjectHeader *at = (MorphObjectHeader *)object - 1;
    size_t usable = morph_usable(context->pool, at);
    if (!usable)
        return morph__mem_fail(MORPH_EINVALID);
    MorphObjectHeader header = *at;     /* of a cell that is free already: nonsense, which is not used */
    int r = morph_free(context->pool, at);
    if (r < 0)
        return morph__mem_fail(r);
    if (context->counting) {
        mem_add(&mine->counts.live_objects[header.type % MORPH_MEM_TYPES], UINT64_MAX);         /* one less */
        mem_add(&mine->counts.live_bytes[header.type % MORPH_MEM_TYPES], -(uint64_t)header.size);
        __atomic_sub_fetch(&context->pool_bytes, usable, __ATOMIC_RELAXED);
        __atomic_sub_fetch(&context->live_bytes, header.size, __ATOMIC_RELAXED);
    }
    return 0;
}

int morph_mem_generation(MorphContextV2 *context, const void *object)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine || !object)
        return mine ? morph__mem_fail(MORPH_EINVALID) : last_error;
    int r = morph_heap_status(context->heap);
    if (r < 0)
        return morph__mem_fail(r);      /* in a forked child neither object nor card is there */
    if (context->mode == MORPH_COMPILER)
        return MORPH_GENERATION_PERMANENT;
    if (morph_mem_header(object)->flags & MM_LARGE)
        return MORPH_GENERATION_LARGE;
    const uint8_t *card = (const uint8_t *)(mine->thread->card_base + ((uintptr_t)morph_mem_header(object) >> MM_CARD_SHIFT));
    return __atomic_load_n(card, __ATOMIC_RELAXED) == MM_CARD_YOUNG ? MORPH_GENERATION_YOUNG : MORPH_GENERATION_OLD;
}

/* ---- Collection ---- */

int morph_mem_gc_collect(MorphContextV2 *context)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine)
        return last_error;
    int r = morph_collect(mine->thread, MORPH_COLLECT_MAJOR);
    if (r < 0)
        return morph__mem_fail(r);
    look_at_live(mine);
    return 0;
}

int morph_mem_gc_push_root(MorphContextV2 *context, void **variable)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine)
        return last_error;
    if (context->mode == MORPH_COMPILER)
        return variable ? 0 : morph__mem_fail(MORPH_EINVALID);          /* nobody would read it */
    int r = morph_root_push(mine->thread, variable);
    return r < 0 ? morph__mem_fail(r) : 0;
}

void morph_mem_gc_pop_roots(MorphContextV2 *context, int count)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (mine && count > 0)
        morph_root_pop(mine->thread, (unsigned)count);
}

int morph_mem_blocking_begin(MorphContextV2 *context)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (!mine)
        return last_error;
    morph_native_enter(mine->thread);
    return 0;
}

void morph_mem_blocking_end(MorphContextV2 *context)
{
    struct mem_attachment *mine = mem_attachment(context);
    if (mine)
        morph_native_leave(mine->thread);
}
