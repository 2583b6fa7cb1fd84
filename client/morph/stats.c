/* stats.c — gathering, adding, and the file at exit. See stats.h; the forms are in stats_form.c.
 *
 * Invariant: `kept` is written under `kept_lock`, and no heap is asked under it. */
#define _GNU_SOURCE
#include "client/morph/stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Gathering ---- */

struct gathering { const struct morph__counts *counts; struct morph__figures *figures; };

static void on_type(void *argument, const morph_type_count *type)
{
    const struct gathering *gathering = argument;
    const struct morph__counts *counts = gathering->counts;
    struct morph__figures *figures = gathering->figures;
    unsigned index = counts->index ? counts->index(counts->argument, type) : type->id;
    if (index >= MORPH_MEM_TYPES)
        index = 0;
    figures->stats.object_count_by_type[index] += type->objects;
    figures->stats.bytes_by_type[index] += type->bytes;
    if (!figures->name[index][0])
        snprintf(figures->name[index], sizeof figures->name[index], "%s", index ? type->name : "(others)");
}

static void gather_own(const struct morph__counts *counts, MorphMemStats *stats)
{
    memcpy(stats->object_count_by_type, counts->live_objects, sizeof counts->live_objects);
    memcpy(stats->bytes_by_type, counts->live_bytes, sizeof counts->live_bytes);
    stats->pool_bytes = counts->pool_bytes;
    stats->pool_count = counts->pool_count;
}

static void gather_heap(const morph_heap_stats *heap, MorphMemStats *stats)
{
    stats->heap_bytes = heap->granted_bytes;
    stats->young_gc_count = heap->minor_collections;
    stats->old_gc_count = heap->major_collections;
    stats->gc_count = heap->minor_collections + heap->major_collections;
    stats->gc_time_us = heap->pause_ns / 1000;
    stats->gc_pause_max_us = heap->pause_max_ns / 1000;
    stats->promoted_objects = heap->promoted_objects;
    stats->promoted_bytes = heap->promoted_bytes;
}

/* What follows from the others. */
static void derive(MorphMemStats *stats)
{
    stats->gc_pause_avg_us = stats->gc_count ? stats->gc_time_us / stats->gc_count : 0;
    stats->total_freed = stats->total_allocated > stats->current_live ? stats->total_allocated - stats->current_live : 0;
    if (stats->peak_live < stats->current_live)
        stats->peak_live = stats->current_live;
}

int morph__stats_gather(morph_heap *heap, enum morph_mode mode, const struct morph__counts *counts, struct morph__figures *ret_figures)
{
    struct gathering gathering = { counts, ret_figures };
    MorphMemStats *stats = &ret_figures->stats;
    morph_heap_stats known;
    memset(ret_figures, 0, sizeof *ret_figures);
    ret_figures->mode = mode;
    int r = morph_heap_stats_get(heap, &known);
    if (r < 0)
        return r;
    gather_heap(&known, stats);
    stats->total_allocated = counts->bytes;
    stats->object_count = counts->objects;
    stats->peak_live = counts->peak_bytes;
    if (mode == MORPH_COMPILER)
        gather_own(counts, stats);
    else
        r = morph_heap_types(heap, on_type, &gathering);
    for (unsigned i = 0; i < MORPH_MEM_TYPES; i++)
        stats->current_live += stats->bytes_by_type[i];
    if (r == 0)
        derive(stats);
    return r;
}

int morph__stats_write(morph_heap *heap, enum morph_mode mode, const struct morph__counts *counts, const char *path)
{
    struct morph__figures figures;
    int r = morph__stats_gather(heap, mode, counts, &figures);
    return r < 0 ? r : morph__stats_save(&figures, path);
}

/* ---- At exit ---- */

#define LAYERS 4

static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static struct morph__figures kept;
static bool any_kept;
static void (*layer[LAYERS])(void);
static pid_t owner;                     /* 0: nothing is written at exit */

static const char *exit_path(void)
{
    const char *path = getenv("MORPH_MEM_STATS");
    return path && *path ? path : NULL;
}

bool morph__stats_wanted(void) { return exit_path() != NULL; }

/* Of several heaps: sums; of what cannot be added, the largest. */
static void figures_add(struct morph__figures *sum, const struct morph__figures *more)
{
    MorphMemStats *to = &sum->stats;
    const MorphMemStats *from = &more->stats;
    to->total_allocated += from->total_allocated;
    to->current_live += from->current_live;
    to->gc_count += from->gc_count;
    to->gc_time_us += from->gc_time_us;
    to->object_count += from->object_count;
    to->pool_bytes += from->pool_bytes;
    to->heap_bytes += from->heap_bytes;
    to->pool_count += from->pool_count;
    to->young_gc_count += from->young_gc_count;
    to->old_gc_count += from->old_gc_count;
    to->promoted_objects += from->promoted_objects;
    to->promoted_bytes += from->promoted_bytes;
    if (to->gc_pause_max_us < from->gc_pause_max_us)
        to->gc_pause_max_us = from->gc_pause_max_us;
    if (to->peak_live < from->peak_live)
        to->peak_live = from->peak_live;
    for (unsigned i = 0; i < MORPH_MEM_TYPES; i++) {
        to->object_count_by_type[i] += from->object_count_by_type[i];
        to->bytes_by_type[i] += from->bytes_by_type[i];
        if (more->name[i][0])
            memcpy(sum->name[i], more->name[i], sizeof sum->name[i]);
    }
    derive(to);
}

void morph__stats_keep(const struct morph__figures *figures)
{
    pthread_mutex_lock(&kept_lock);
    if (any_kept)
        figures_add(&kept, figures);
    else
        kept = *figures;
    any_kept = true;
    pthread_mutex_unlock(&kept_lock);
}

static void on_exit_write(void)
{
    const char *path = exit_path();
    if (owner != getpid() || !path)     /* a forked child's exit is not ours */
        return;
    for (unsigned i = 0; i < LAYERS; i++)
        if (layer[i])
            layer[i]();
    pthread_mutex_lock(&kept_lock);
    if (any_kept && morph__stats_save(&kept, path) < 0)
        fprintf(stderr, "morphmem: no statistics in MORPH_MEM_STATS: %s: %m\n", path);
    pthread_mutex_unlock(&kept_lock);
}

void morph__stats_at_exit(void (*living)(void))
{
    pthread_mutex_lock(&kept_lock);
    if (!owner && atexit(on_exit_write) == 0)
        owner = getpid();
    for (unsigned i = 0; i < LAYERS; i++) {
        if (layer[i] == living)
            break;
        if (!layer[i]) {
            layer[i] = living;
            break;
        }
    }
    pthread_mutex_unlock(&kept_lock);
}
