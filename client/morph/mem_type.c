/* mem_type.c — type ids and their names. In a collected heap each pair of them is a type of the heap, whose objects are bytes of any number, any word of
 * which may be a reference.
 *
 * Invariant: context->type[id] names a type that objects can be born with: in collected modes one that the daemon knows.
 * Another name is another type of the heap; the older objects keep theirs, and all count under their id. Any thread. */
#include <stdlib.h>
#include <string.h>

#include "client/morph/mem.h"

#define NAME_BYTES 100u

/* Under the lock. */
static struct mem_type *type_named(MorphContextV2 *context, uint8_t id, const char *name)
{
    struct mem_type *type = context->types;
    while (type && !(type->id == id && strcmp(type->name, name) == 0))
        type = type->next;
    return type;
}

/* Under the lock. */
static bool heap_name_taken(const MorphContextV2 *context, const char *name)
{
    const struct mem_type *type = context->types;
    while (type && strcmp(type->heap_name, name) != 0)
        type = type->next;
    return type != NULL;
}

/* Under the lock. NULL: out of memory. */
static struct mem_type *type_make(MorphContextV2 *context, uint8_t id, const char *name)
{
    struct mem_type *type = calloc(1, sizeof *type);
    if (!type)
        return NULL;
    type->id = id;
    snprintf(type->name, sizeof type->name, "%s", name);
    snprintf(type->heap_name, sizeof type->heap_name, "%s", name);
    for (unsigned n = id; heap_name_taken(context, type->heap_name); n += MORPH_MEM_TYPES)
        snprintf(type->heap_name, sizeof type->heap_name, "%s#%u", name, n);
    type->next = context->types;
    context->types = type;
    return type;
}

/* Registers it with the daemon: twice does no harm. Without the lock. */
static int heap_register(MorphContextV2 *context, struct mem_type *type)
{
    morph_type made;
    morph_type_spec spec = { .name = type->heap_name, .element_bytes = 1, .flags = MORPH_TYPE_CONSERVATIVE };
    int r = morph_type_register(context->heap, &spec, &made);
    if (r == MORPH_EINVALID) {          /* a daemon that does not know the flag */
        spec.flags = 0;
        r = morph_type_register(context->heap, &spec, &made);
    }
    if (r < 0)
        return r;
    pthread_mutex_lock(&morph__mem_lock);
    type->number = (uint32_t)(made->header >> 32 & UINT16_MAX);
    pthread_mutex_unlock(&morph__mem_lock);
    __atomic_store_n(&type->type, made, __ATOMIC_RELAXED);      /* published with context->type[id] */
    return 0;
}

int morph_mem_register_type(MorphContextV2 *context, uint8_t id, const char *name)
{
    if (!context || id == 0 || id >= MORPH_MEM_TYPES || !name || !*name || strlen(name) > NAME_BYTES)
        return morph__mem_fail(MORPH_EINVALID);
    pthread_mutex_lock(&morph__mem_lock);
    struct mem_type *type = type_named(context, id, name);
    if (!type)
        type = type_make(context, id, name);
    pthread_mutex_unlock(&morph__mem_lock);
    if (!type)
        return morph__mem_fail(MORPH_EMEMORY);
    int r = context->mode == MORPH_COMPILER || __atomic_load_n(&type->type, __ATOMIC_RELAXED) ? 0 : heap_register(context, type);
    if (r < 0)
        return morph__mem_fail(r);
    __atomic_store_n(&context->type[id], type, __ATOMIC_RELEASE);       /* pairs with the acquire in mem_type() */
    return 0;
}

struct mem_type *morph__mem_type_find(MorphContextV2 *context, uint8_t id)
{
    char name[16];
    snprintf(name, sizeof name, "type-%u", id);
    return morph_mem_register_type(context, id, name) == 0 ? __atomic_load_n(&context->type[id], __ATOMIC_ACQUIRE) : NULL;
}

void morph__mem_types_free(MorphContextV2 *context)
{
    for (struct mem_type *type = context->types, *next; type; type = next) {
        next = type->next;
        free(type);
    }
}
