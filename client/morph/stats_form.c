/* stats_form.c — statistics for people and for programs: text and JSON. See stats.h. */
#define _GNU_SOURCE
#include "client/morph/stats.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/morph/environment.h"

#define TOP_TYPES 10u

/* ---- Text ---- */

struct text { char text[32]; };

static struct text size_text(uint64_t bytes)
{
    static const char *const unit[] = { "KB", "MB", "GB", "TB" };
    struct text text;
    double size = (double)bytes / 1024;
    unsigned i = 0;
    for (; size >= 1024 && i < 3; i++)
        size /= 1024;
    if (bytes < 1024)
        snprintf(text.text, sizeof text.text, "%" PRIu64 " B", bytes);
    else
        snprintf(text.text, sizeof text.text, "%.1f %s", size, unit[i]);
    return text;
}

static const char *type_name(const struct morph__figures *figures, unsigned index, struct text *room)
{
    if (figures->name[index][0])
        return figures->name[index];
    snprintf(room->text, sizeof room->text, index ? "type-%u" : "(others)", index);
    return room->text;
}

/* Those that hold most come first; among equals the lower id. */
static int compare_types(const void *left, const void *right, void *argument)
{
    const uint64_t *bytes = argument;
    unsigned a = *(const unsigned *)left, b = *(const unsigned *)right;
    if (bytes[a] != bytes[b])
        return bytes[a] > bytes[b] ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void print_types(const struct morph__figures *figures, FILE *to)
{
    const MorphMemStats *stats = &figures->stats;
    unsigned order[MORPH_MEM_TYPES], count = 0;
    for (unsigned i = 0; i < MORPH_MEM_TYPES; i++)
        if (stats->object_count_by_type[i])
            order[count++] = i;
    qsort_r(order, count, sizeof order[0], compare_types, (void *)(uintptr_t)stats->bytes_by_type);
    fprintf(to, "\nTop Types:\n%s", count ? "" : "  (none)\n");
    for (unsigned i = 0; i < count && i < TOP_TYPES; i++) {
        struct text room;
        fprintf(to, "  %-24s %10" PRIu64 " objects  %s\n", type_name(figures, order[i], &room), stats->object_count_by_type[order[i]],
                size_text(stats->bytes_by_type[order[i]]).text);
    }
}

static void print_mode(enum morph_mode mode, FILE *to)
{
    fprintf(to, "Mode: ");
    for (const char *at = morph__mode_name(mode); *at; at++)
        fputc(toupper((unsigned char)*at), to);
    fputc('\n', to);
}

void morph__stats_print(const struct morph__figures *figures, FILE *to)
{
    const MorphMemStats *stats = &figures->stats;
    fprintf(to, "=== Morph Memory V2 Statistics ===\n");
    print_mode(figures->mode, to);
    fprintf(to, "\nAllocations:\n");
    fprintf(to, "  Total:    %" PRIu64 " objects (%s)\n", stats->object_count, size_text(stats->total_allocated).text);
    fprintf(to, "  Live:     %s\n", size_text(stats->current_live).text);
    fprintf(to, "  Peak:     %s\n", size_text(stats->peak_live).text);
    fprintf(to, "  Freed:    %s\n", size_text(stats->total_freed).text);
    fprintf(to, "\nGC:\n");
    fprintf(to, "  Collections: %" PRIu64 " (%" PRIu64 " young, %" PRIu64 " old)\n", stats->gc_count, stats->young_gc_count, stats->old_gc_count);
    fprintf(to, "  Time:        %.3f ms\n", (double)stats->gc_time_us / 1000);
    fprintf(to, "  Avg Pause:   %.3f ms\n", (double)stats->gc_pause_avg_us / 1000);
    fprintf(to, "  Max Pause:   %.3f ms\n", (double)stats->gc_pause_max_us / 1000);
    print_types(figures, to);
}

/* ---- JSON ---- */

/* A text that is not UTF-8 loses the bytes that are not ASCII. */
static json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char plain[128];
    size_t i = 0;
    for (; text[i] && i < sizeof plain - 1; i++)
        plain[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    plain[i] = 0;
    return json_string(plain);
}

static json_t *number_json(uint64_t number) { return json_integer((json_int_t)number); }

static json_t *array_json(const uint64_t *number)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < MORPH_MEM_TYPES; i++)
        if (json_array_append_new(array, number_json(number[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    return array;
}

static json_t *types_json(const struct morph__figures *figures)
{
    json_t *array = json_array();
    for (unsigned i = 0; array && i < MORPH_MEM_TYPES; i++) {
        struct text room;
        if (!figures->stats.object_count_by_type[i])
            continue;
        json_t *type = json_pack("{s:i, s:o, s:o, s:o}", "id", (int)i, "name", text_json(type_name(figures, i, &room)), "objects",
                                 number_json(figures->stats.object_count_by_type[i]), "bytes", number_json(figures->stats.bytes_by_type[i]));
        if (json_array_append_new(array, type) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* NULL: out of memory. */
static json_t *figures_json(const struct morph__figures *figures)
{
    const MorphMemStats *stats = &figures->stats;
    const struct { const char *key; uint64_t value; } figure[] = {
        { "total_allocated", stats->total_allocated }, { "total_freed", stats->total_freed }, { "current_live", stats->current_live },
        { "peak_live", stats->peak_live }, { "gc_count", stats->gc_count }, { "gc_time_us", stats->gc_time_us },
        { "gc_pause_max_us", stats->gc_pause_max_us }, { "gc_pause_avg_us", stats->gc_pause_avg_us }, { "object_count", stats->object_count },
        { "arena_bytes", stats->arena_bytes }, { "pool_bytes", stats->pool_bytes }, { "heap_bytes", stats->heap_bytes },
        { "arena_count", stats->arena_count }, { "pool_count", stats->pool_count }, { "young_gc_count", stats->young_gc_count },
        { "old_gc_count", stats->old_gc_count }, { "promoted_objects", stats->promoted_objects }, { "promoted_bytes", stats->promoted_bytes },
    };
    json_t *json = json_object();
    int bad = !json || json_object_set_new(json, "mode", json_string(morph__mode_name(figures->mode)));
    for (unsigned i = 0; i < sizeof figure / sizeof figure[0] && !bad; i++)
        bad = json_object_set_new(json, figure[i].key, number_json(figure[i].value));
    bad = bad || json_object_set_new(json, "object_count_by_type", array_json(stats->object_count_by_type)) ||
          json_object_set_new(json, "bytes_by_type", array_json(stats->bytes_by_type)) || json_object_set_new(json, "types", types_json(figures));
    if (bad) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* 0, or SYSTEM and errno says why. */
static int json_write(const json_t *json, const char *path)
{
    FILE *file = fopen(path, "we");
    if (!file)
        return MORPH_ESYSTEM;
    bool bad = json_dumpf(json, file, JSON_INDENT(2)) < 0 || fputc('\n', file) == EOF;
    int error = errno;
    if (fclose(file) != 0 && !bad)      /* a full disk may show only here */
        return MORPH_ESYSTEM;
    errno = error;
    return bad ? MORPH_ESYSTEM : 0;
}

int morph__stats_save(const struct morph__figures *figures, const char *path)
{
    if (!path || !*path)
        return MORPH_EINVALID;
    json_t *json = figures_json(figures);
    errno = ENOMEM;
    int r = json ? json_write(json, path) : MORPH_EMEMORY, error = errno;
    json_decref(json);
    errno = error;
    return r;
}
