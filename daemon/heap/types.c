/* types.c — see types.h. */
#include "daemon/heap/types.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "client/include/morphmem/error.h"
#include "shm/object.h"

void types_init(struct type_table *table) { *table = (struct type_table){ .count = 0 }; }

static struct type *type_at(const struct type_table *table, uint32_t index) { return &table->page[index / TYPE_PAGE][index % TYPE_PAGE]; }

void types_done(struct type_table *table)
{
    for (uint32_t i = 0; i < table->count; i++) {
        free(type_at(table, i)->name);
        free(type_at(table, i)->ref);
    }
    for (uint32_t i = 0; i < sizeof table->page / sizeof table->page[0]; i++)
        free(table->page[i]);
    free(table->bucket);
    types_init(table);
}

/* FNV-1a. */
static uint32_t name_hash(const char *name)
{
    uint32_t hash = 2166136261u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 16777619u;
    return hash;
}

/* The bucket that holds `name`, or the empty one where it would go. */
static uint32_t *bucket_of(const struct type_table *table, const char *name)
{
    uint32_t at = name_hash(name) & (table->buckets - 1);
    while (table->bucket[at] && strcmp(type_at(table, table->bucket[at] - 1)->name, name) != 0)
        at = (at + 1) & (table->buckets - 1);
    return &table->bucket[at];
}

/* More buckets. */
static bool table_grow(struct type_table *table)
{
    uint32_t room = table->room ? table->room * 2 : 32;
    uint32_t *bucket = calloc(room * 2, sizeof *bucket);
    if (!bucket)
        return false;
    free(table->bucket);
    table->bucket = bucket;
    table->buckets = room * 2;
    table->room = room;
    for (uint32_t i = 0; i < table->count; i++)
        *bucket_of(table, type_at(table, i)->name) = i + 1;
    return true;
}

/* Offsets ascending, pointer-aligned, each pointer inside `bytes`. */
static bool refs_valid(const uint32_t *ref, uint32_t count, uint32_t bytes)
{
    for (uint32_t i = 0; i < count; i++)
        if (ref[i] % 8 != 0 || ref[i] > bytes || bytes - ref[i] < 8 || (i > 0 && ref[i] <= ref[i - 1]))
            return false;
    return true;
}

/* What is said of another object's contents: a reference to it in our fixed part, and in each of its elements references, each one only if a word
 * of ours says so. */
static bool storage_valid(const struct mm_type *spec)
{
    if (!spec->storage_bytes)
        return !spec->storage_at && !spec->storage_refs_count;
    if (spec->bytes < 8 || spec->storage_at % 8 || spec->storage_at > spec->bytes - 8 || spec->storage_bytes % 8 || spec->storage_bytes > TYPE_ELEMENT_MAX ||
        spec->storage_refs_count % 2 || spec->flags)
        return false;
    for (uint32_t i = 0; i < spec->storage_refs_count; i += 2) {
        uint32_t at = spec->storage_refs[i], says = spec->storage_refs[i + 1];
        if (at % 8 || at > spec->storage_bytes - 8 || says % 4 || says > spec->bytes - 4)
            return false;
    }
    return true;
}

static bool spec_valid(const struct mm_type *spec)
{
    bool flags = spec->flags <= TYPE_EPHEMERON || ((spec->flags == TYPE_CONSERVATIVE || spec->flags == TYPE_STORAGE) && !spec->refs_count && !spec->element_refs_count);
    bool aligned = spec->element_refs_count == 0 || (spec->bytes % 8 == 0 && spec->element_bytes % 8 == 0);
    bool paired = spec->flags != TYPE_EPHEMERON || (spec->refs_count % 2 == 0 && spec->element_refs_count % 2 == 0);
    return spec->name[0] && paired && flags && storage_valid(spec) && spec->bytes <= TYPE_FIXED_MAX && spec->element_bytes <= TYPE_ELEMENT_MAX && aligned &&
           refs_valid(spec->refs, spec->refs_count, spec->bytes) &&
           refs_valid(spec->element_refs, spec->element_refs_count, spec->element_bytes);
}

static bool same_layout(const struct type *type, const struct mm_type *spec)
{
    return type->bytes == spec->bytes && type->flags == spec->flags && type->element_bytes == spec->element_bytes && type->ref_count == spec->refs_count &&
           type->element_ref_count == spec->element_refs_count &&
           memcmp(type->ref, spec->refs, spec->refs_count * sizeof *type->ref) == 0 &&
           memcmp(type->ref + type->ref_count, spec->element_refs, spec->element_refs_count * sizeof *type->ref) == 0 &&
           type->storage_at == spec->storage_at && type->storage_bytes == spec->storage_bytes && type->storage_pairs == spec->storage_refs_count / 2 &&
           memcmp(types_storage_ref(type), spec->storage_refs, spec->storage_refs_count * sizeof *type->ref) == 0;
}

static int type_add(struct type_table *table, const struct mm_type *spec, uint32_t *ret_id)
{
    uint64_t refs = (uint64_t)spec->refs_count + spec->element_refs_count + spec->storage_refs_count;
    uint64_t bytes = sizeof(struct type) + strlen(spec->name) + 1 + refs * sizeof(uint32_t);
    if (table->count == MM_TYPES_MAX || table->bytes + bytes > TYPE_TABLE_BYTES)
        return -MORPH_ENOTYPES;
    struct type **page = &table->page[table->count / TYPE_PAGE];
    if ((table->count == table->room && !table_grow(table)) || (!*page && !(*page = calloc(TYPE_PAGE, sizeof **page))))
        return -MORPH_EMEMORY;
    struct type type = { .name = strdup(spec->name), .bytes = spec->bytes, .element_bytes = spec->element_bytes,
                         .ref_count = spec->refs_count, .element_ref_count = spec->element_refs_count, .flags = spec->flags,
                         .storage_at = spec->storage_at, .storage_bytes = spec->storage_bytes, .storage_pairs = spec->storage_refs_count / 2,
                         .ref = malloc((refs + 1) * sizeof *type.ref) };
    if (!type.name || !type.ref) {
        free(type.name);
        free(type.ref);
        return -MORPH_EMEMORY;
    }
    memcpy(type.ref, spec->refs, spec->refs_count * sizeof *type.ref);
    memcpy(type.ref + type.ref_count, spec->element_refs, spec->element_refs_count * sizeof *type.ref);
    memcpy(type.ref + type.ref_count + type.element_ref_count, spec->storage_refs, spec->storage_refs_count * sizeof *type.ref);
    *bucket_of(table, type.name) = table->count + 1;
    *type_at(table, table->count) = type;
    mm_store_release(&table->count, table->count + 1);          /* pairs with types_count() */
    table->bytes += bytes;
    *ret_id = table->count;
    return 0;
}

int types_register(struct type_table *table, const struct mm_type *spec, uint32_t *ret_id)
{
    if (!spec_valid(spec))
        return -MORPH_EINVALID;
    uint32_t known = table->buckets ? *bucket_of(table, spec->name) : 0;
    if (!known)
        return type_add(table, spec, ret_id);
    if (!same_layout(type_at(table, known - 1), spec))
        return -MORPH_ETYPE;
    *ret_id = known;
    return 0;
}

const struct type *types_get(const struct type_table *table, uint32_t id)
{
    return id >= 1 && id <= types_count(table) ? type_at(table, id - 1) : NULL;
}
