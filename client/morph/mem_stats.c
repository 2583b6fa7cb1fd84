/* mem_stats.c — the figures of a context: what its threads have counted, and what the daemon knows. Forms and adding: stats.h. Any thread. */
#include <string.h>

#include "client/morph/mem.h"

/* The id of a type of the heap. 0: it is none of ours. */
static unsigned id_of(void *argument, const morph_type_count *count)
{
    const MorphContextV2 *context = argument;
    unsigned id = 0;
    pthread_mutex_lock(&morph__mem_lock);
    for (const struct mem_type *type = context->types; type && !id; type = type->next)
        if (type->number && type->number == count->id)
            id = type->id;
    pthread_mutex_unlock(&morph__mem_lock);
    return id;
}

/* People see the latest name that was given to an id, not the heap's. */
static void names_put(MorphContextV2 *context, struct morph__figures *figures)
{
    for (unsigned id = 1; id < MORPH_MEM_TYPES; id++) {
        const struct mem_type *type = __atomic_load_n(&context->type[id], __ATOMIC_ACQUIRE);    /* pairs with the release in mem_type.c */
        if (type)
            snprintf(figures->name[id], sizeof figures->name[id], "%s", type->name);
    }
}

int morph__mem_gather(MorphContextV2 *context, struct morph__figures *ret_figures)
{
    struct mem_counts sum;
    morph__mem_counts_sum(context, &sum);
    struct morph__counts counts = { .objects = sum.objects, .bytes = sum.bytes, .index = id_of, .argument = context,
                                    .peak_bytes = __atomic_load_n(&context->peak_bytes, __ATOMIC_RELAXED),
                                    .pool_bytes = __atomic_load_n(&context->pool_bytes, __ATOMIC_RELAXED), .pool_count = context->pool != NULL };
    memcpy(counts.live_objects, sum.live_objects, sizeof counts.live_objects);
    memcpy(counts.live_bytes, sum.live_bytes, sizeof counts.live_bytes);
    int r = morph__stats_gather(context->heap, context->mode, &counts, ret_figures);
    names_put(context, ret_figures);
    morph__mem_saw_live(context, ret_figures->stats.current_live);
    return r;
}

MorphMemStats morph_mem_get_stats(MorphContextV2 *context)
{
    struct morph__figures figures = { .mode = MORPH_COMPILER };
    int r = context ? morph__mem_gather(context, &figures) : MORPH_EINVALID;
    (void)morph__mem_fail(r);
    return figures.stats;
}

int morph_mem_print_stats(MorphContextV2 *context)
{
    struct morph__figures figures;
    int r = context ? morph__mem_gather(context, &figures) : MORPH_EINVALID;
    if (r < 0)
        return morph__mem_fail(r);
    morph__stats_print(&figures, stdout);
    return ferror(stdout) ? morph__mem_fail(MORPH_ESYSTEM) : 0;
}

int morph_mem_dump_stats(MorphContextV2 *context, const char *path)
{
    struct morph__figures figures;
    int r = context && path ? morph__mem_gather(context, &figures) : MORPH_EINVALID;
    if (r == 0)
        r = morph__stats_save(&figures, path);
    return r < 0 ? morph__mem_fail(r) : 0;
}

/* The process exits: nobody else ends these contexts any more, so they stay as they are. */
void morph__mem_keep_living(void)
{
    struct morph__figures figures;
    for (MorphContextV2 *context; (context = morph__mem_claim(NULL));) {
        (void)morph__mem_gather(context, &figures);
        morph__stats_keep(&figures);
    }
}
