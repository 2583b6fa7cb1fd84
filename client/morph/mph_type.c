/* mph_type.c — a program's MorphTypeInfo, known by its address, and the heap's type that describes the same objects.
 *
 * Strings, arrays and maps describe what their storage holds (morph_type_spec.storage_at); `raw` and what has no type may hold anything. A container that is
 * not one of ours is one whose contents nobody has told us: any word of it may be a reference, and of its storage too.
 * Found without a lock; entries are only ever added, under one. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/morph/mph.h"

#define REFS_MAX   1024u                /* as libmorphmem has it */
#define SAME_NAMES 1000u                /* types of one name and different layouts */

/* ---- The types of the memory system ---- */

static void mark_nothing(MorphContext *context, void *object)
{
    (void)context;
    (void)object;
}

static size_t first_word[] = { 0 }, second_word[] = { 8 };
MorphTypeInfo mph_ti_string = { .name = "string", .size = 16 };
MorphTypeInfo mph_ti_string_real = { .name = "string_real", .size = 16, .num_pointers = 1, .pointer_offsets = first_word };
MorphTypeInfo mph_ti_raw = { .name = "raw" };
MorphTypeInfo mph_ti_array = { .name = "array", .size = 40, .num_pointers = 1, .pointer_offsets = first_word, .mark_fn = mark_nothing };
MorphTypeInfo mph_ti_map = { .name = "map", .size = 40, .num_pointers = 1, .pointer_offsets = first_word, .mark_fn = mark_nothing };
MorphTypeInfo mph_ti_closure = { .name = "closure", .size = 16, .num_pointers = 1, .pointer_offsets = second_word };

#define ARRAY_ELEMENTS_ARE_POINTERS 32u
#define MAP_ENTRY_BYTES             24u
#define MAP_KEY_KIND                32u         /* 0: keys are numbers */
#define MAP_VALUES_ARE_POINTERS     36u
static const morph_storage_ref array_refs[] = { { 0, ARRAY_ELEMENTS_ARE_POINTERS } };
static const morph_storage_ref map_refs[] = { { 0, MAP_KEY_KIND }, { 8, MAP_VALUES_ARE_POINTERS } };

/* ---- Descriptions ---- */

static int by_offset(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* The offsets in order, each once. False: they are none that a heap's type can have. */
static bool refs_copy(const MorphTypeInfo *info, uint32_t *ref, uint32_t *ret_count)
{
    uint32_t count = 0;
    if (info->num_pointers < 0 || (unsigned)info->num_pointers > REFS_MAX || (info->num_pointers && !info->pointer_offsets))
        return false;
    for (int i = 0; i < info->num_pointers; i++) {
        if (info->pointer_offsets[i] % 8 || info->size < 8 || info->pointer_offsets[i] > info->size - 8)
            return false;
        ref[count++] = (uint32_t)info->pointer_offsets[i];
    }
    qsort(ref, count, sizeof *ref, by_offset);
    uint32_t unique = 0;
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || ref[i] != ref[i - 1])
            ref[unique++] = ref[i];
    *ret_count = unique;
    return true;
}

/* How the heap is to see objects of a type. `ref` has room for REFS_MAX. */
static morph_type_spec describe(const MorphTypeInfo *info, bool collected, uint32_t *ref)
{
    morph_type_spec spec = { .bytes = info ? info->size : 0 };
    uint32_t count = 0;
    bool string = info == &mph_ti_string || info == &mph_ti_string_real, container = string || info == &mph_ti_array || info == &mph_ti_map;
    bool known = info && info != &mph_ti_raw && info->size > 0 && info->size <= 1u << 20 && (container || !info->mark_fn) && refs_copy(info, ref, &count);
    if (!known)
        return (morph_type_spec){ .element_bytes = 1, .flags = !collected ? 0 : info == &mph_ti_raw ? MORPH_TYPE_STORAGE : MORPH_TYPE_CONSERVATIVE };
    if (container && collected) {       /* a string's storage may be a literal, which is no object, and holds no references in any case */
        spec.storage_bytes = info == &mph_ti_map ? MAP_ENTRY_BYTES : sizeof(void *);
        spec.storage_ref = info == &mph_ti_array ? array_refs : map_refs;
        spec.storage_ref_count = string ? 0 : info == &mph_ti_array ? 1 : 2;
        return spec;
    }
    spec.refs = (morph_refs){ ref, count };
    return spec;
}

/* Programs may have several types of one name. */
static morph_type register_as(morph_heap *heap, const char *name, morph_type_spec *spec)
{
    char text[128];
    morph_type type;
    int r = MORPH_ETYPE;
    for (unsigned i = 1; r == MORPH_ETYPE && i <= SAME_NAMES; i++) {
        if (i == 1)
            snprintf(text, sizeof text, "%.110s", name);
        else
            snprintf(text, sizeof text, "%.110s #%u", name, i);
        spec->name = text;
        r = morph_type_register(heap, spec, &type);
    }
    if (r < 0)
        mph__fail("cannot register a type", r);
    return type;
}

/* ---- By address ---- */

struct table { uint32_t room, count; struct table *before; struct mph_type *type[]; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table *table;             /* atomic */

static uint32_t place_of(const struct table *in, const MorphTypeInfo *info)
{
    uint32_t at = (uint32_t)((uintptr_t)info * 0x9e3779b97f4a7c15u >> 40) & (in->room - 1);
    for (struct mph_type *there; (there = __atomic_load_n(&in->type[at], __ATOMIC_ACQUIRE)) && there->info != info;)
        at = (at + 1) & (in->room - 1);
    return at;
}

/* Under the lock. Who looks in the old one meanwhile finds less, and comes here. */
static struct table *table_grow(struct table *old)
{
    uint32_t room = old ? old->room * 2 : 128;
    struct table *grown = calloc(1, sizeof *grown + room * sizeof grown->type[0]);
    if (!grown)
        mph__fail("cannot register a type", MORPH_EMEMORY);
    grown->room = room;
    grown->before = old;
    grown->count = old ? old->count : 0;
    for (uint32_t i = 0; old && i < old->room; i++)
        if (old->type[i])
            grown->type[place_of(grown, old->type[i]->info)] = old->type[i];
    __atomic_store_n(&table, grown, __ATOMIC_RELEASE);
    return grown;
}

static struct mph_type *type_add(morph_heap *heap, bool collected, const MorphTypeInfo *info)
{
    static uint32_t ref[REFS_MAX + 1];  /* under the lock */
    const char *name = info && info->name && *info->name ? info->name : info ? "unnamed" : "untyped";
    struct mph_type *made = malloc(sizeof *made);
    if (!made)
        mph__fail("cannot register a type", MORPH_EMEMORY);
    morph_type_spec spec = describe(info, collected, ref);
    *made = (struct mph_type){ .info = info, .bytes = spec.element_bytes ? MPH_ANY_SIZE : spec.bytes };
    made->type = register_as(heap, name, &spec);
    return made;
}

struct mph_type mph__type_of(morph_heap *heap, bool collected, const MorphTypeInfo *info)
{
    struct table *in = __atomic_load_n(&table, __ATOMIC_ACQUIRE);
    struct mph_type *found = in ? __atomic_load_n(&in->type[place_of(in, info)], __ATOMIC_ACQUIRE) : NULL;
    if (found)
        return *found;
    pthread_mutex_lock(&lock);
    in = table;
    if (!in || in->count >= in->room / 2)
        in = table_grow(in);
    struct mph_type **place = &in->type[place_of(in, info)];
    if (!*place) {
        __atomic_store_n(place, type_add(heap, collected, info), __ATOMIC_RELEASE);
        in->count++;
    }
    struct mph_type type = **place;
    pthread_mutex_unlock(&lock);
    return type;
}

void mph__types_forget(void)
{
    for (uint32_t i = 0; table && i < table->room; i++)
        free(table->type[i]);
    while (table) {
        struct table *before = table->before;
        free(table);
        table = before;
    }
}
