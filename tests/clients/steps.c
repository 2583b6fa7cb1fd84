/* steps.c — loading a trace into tables. See steps.h. */
#define _GNU_SOURCE
#include "tests/clients/steps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TABLE_BYTES ((uint64_t)1 << 20)         /* to begin with */

enum table { TABLE_ALLOC, TABLE_EPOCH, TABLE_DEAD };

void *steps_memory_new(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Where item number `count` goes, or NULL: no memory left. */
static void *table_at(struct steps_table *table, uint64_t count, uint64_t item_bytes)
{
    if ((count + 1) * item_bytes > table->bytes) {
        uint64_t bytes = table->bytes ? table->bytes * 2 : TABLE_BYTES;
        void *memory = table->bytes ? mremap(table->memory, table->bytes, bytes, MREMAP_MAYMOVE) : steps_memory_new(bytes);
        if (!memory || memory == MAP_FAILED)
            return NULL;
        *table = (struct steps_table){ memory, bytes };
    }
    return (char *)table->memory + count * item_bytes;
}

static int alloc_add(struct steps *steps, const struct mtr_record *record)
{
    struct steps_alloc *alloc = table_at(&steps->table[TABLE_ALLOC], steps->allocs, sizeof *alloc);
    if (!alloc || steps->allocs == UINT32_MAX)
        return -ENOMEM;
    if (record->type >= STEPS_TYPES_MAX)
        return -E2BIG;
    *alloc = (struct steps_alloc){ (uint32_t)record->bytes, (uint32_t)record->type };
    steps->alloc = steps->table[TABLE_ALLOC].memory;
    steps->allocs++;
    steps->payload_bytes += record->bytes;

    struct steps_type *type = &steps->type[record->type];
    if (!type->seen && type->bytes == 0)
        type->bytes = record->bytes;
    type->varies |= record->bytes != type->bytes;
    type->seen = true;
    if (record->type >= steps->types)
        steps->types = (uint32_t)record->type + 1;
    return 0;
}

/* Only the layout is kept: which words of a type hold references. */
static void edges_add(struct steps *steps, const struct mtr_record *record)
{
    const struct steps_alloc *alloc = &steps->alloc[record->id];
    for (uint64_t i = 0; i < record->count; i++)
        if (record->edges[i].slot < 64 && record->edges[i].slot * 8 + 8 <= alloc->bytes)
            steps->type[alloc->type].refs |= (uint64_t)1 << record->edges[i].slot;
}

static int dead_add(struct steps *steps, const struct mtr_record *record)
{
    struct steps_epoch *epoch = table_at(&steps->table[TABLE_EPOCH], steps->epochs, sizeof *epoch);
    for (uint64_t i = 0; i < record->count; i++) {
        uint32_t *dead = table_at(&steps->table[TABLE_DEAD], steps->deads, sizeof *dead);
        if (!dead || steps->deads == steps->allocs)     /* more deaths than births: an object dies twice */
            return dead ? -EINVAL : -ENOMEM;
        *dead = (uint32_t)record->ids[i];
        steps->deads++;
    }
    if (!epoch)
        return -ENOMEM;
    *epoch = (struct steps_epoch){ steps->allocs, steps->deads };
    steps->epochs++;
    steps->epoch = steps->table[TABLE_EPOCH].memory;
    steps->dead = steps->table[TABLE_DEAD].memory;
    return 0;
}

static int records_add(struct steps *steps, struct mtr *trace)
{
    struct mtr_record record;
    int r = 0, more;
    while (r == 0 && (more = mtr_next(trace, &record)) != 0) {
        if (more < 0)
            return more;
        if (record.op == MTR_ALLOC)
            r = alloc_add(steps, &record);
        else if (record.op == MTR_EDGES)
            edges_add(steps, &record);
        else if (record.op == MTR_DEAD)
            r = dead_add(steps, &record);
    }
    if (r == 0 && steps->epochs && steps->epoch[steps->epochs - 1].alloc_end == steps->allocs)
        return 0;
    return r < 0 ? r : dead_add(steps, &(struct mtr_record){ .op = MTR_DEAD });    /* the last epoch ends with the trace */
}

/* A trace is replayed freely, so one in which an object dies twice must not get through: each id is dead at most once. */
static int dead_check(const struct steps *steps)
{
    uint64_t bytes = steps->allocs / 8 + 1;
    uint8_t *seen = steps_memory_new(bytes);
    int r = seen ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < steps->deads && r == 0; i++) {
        uint8_t bit = (uint8_t)(1u << (steps->dead[i] & 7)), *byte = &seen[steps->dead[i] >> 3];
        r = *byte & bit ? -EINVAL : 0;
        *byte |= bit;
    }
    if (seen)
        munmap(seen, bytes);
    return r;
}

/* Names from the .stats file; a size of 0 there says that the size varies, "(null)" that the program had no name for it. */
static void types_name(struct steps *steps, const char *path, const char *stats_path)
{
    static struct mtr_type row[STEPS_TYPES_MAX];
    char beside[4096];
    uint32_t count = 0;
    size_t stem = strlen(path);
    if (stem > 7 && strcmp(path + stem - 7, ".mtr.xz") == 0)
        stem -= 7;
    snprintf(beside, sizeof beside, "%.*s.stats", (int)stem, path);
    if (mtr_types_read(stats_path ? stats_path : beside, row, STEPS_TYPES_MAX, &count) < 0)
        count = 0;
    for (uint32_t i = 0; i < STEPS_TYPES_MAX; i++) {
        struct steps_type *type = &steps->type[i];
        snprintf(type->name, sizeof type->name, "type-%u", i);
        if (i >= count)
            continue;
        type->bytes = row[i].bytes;
        type->varies = row[i].bytes == 0;
        if (strcmp(row[i].name, "(null)") == 0)
            snprintf(type->name, sizeof type->name, "unnamed-%u", i);
        else
            memcpy(type->name, row[i].name, sizeof type->name);
    }
}

int steps_load(struct steps *steps, const char *path, const char *stats_path)
{
    struct mtr *trace;
    memset(steps, 0, sizeof *steps);
    int r = mtr_open(path, &trace);
    if (r < 0) {
        fprintf(stderr, "replay: %s: %s\n", path, r == -EINVAL ? "not a trace" : strerror(-r));
        return -1;
    }
    types_name(steps, path, stats_path);
    r = records_add(steps, trace);
    if (r == 0)
        r = dead_check(steps);
    if (r == 0 && steps->allocs == 0)
        r = -EINVAL;
    if (r < 0)
        fprintf(stderr, "replay: %s: %s (%s)\n", path, strerror(-r), mtr_error(trace));
    mtr_close(trace);
    if (r < 0)
        steps_unload(steps);
    return r < 0 ? -1 : 0;
}

void steps_unload(struct steps *steps)
{
    for (unsigned i = 0; i < 3; i++)
        if (steps->table[i].memory)
            munmap(steps->table[i].memory, steps->table[i].bytes);
    memset(steps, 0, sizeof *steps);
}
