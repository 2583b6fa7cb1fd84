/* types.c — types by name. The daemon judges and numbers them; what it has answered once is remembered here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "shm/object.h"

static struct morph__type **bucket_of(struct morph_heap *heap, uint32_t id) { return &heap->type_bucket[id % MORPH__TYPE_BUCKETS]; }

static struct morph__type *type_find(struct morph_heap *heap, uint32_t id)
{
    struct morph__type *type = *bucket_of(heap, id);
    while (type && type->id != id)
        type = type->next;
    return type;
}

static int copy_refs(const morph_refs *refs, uint32_t *to, uint32_t bound, uint32_t *ret_count)
{
    if (refs->count > bound || (refs->count && !refs->offset))
        return MORPH_EINVALID;
    for (uint32_t i = 0; i < refs->count; i++)
        to[i] = refs->offset[i];
    *ret_count = refs->count;
    return 0;
}

static int message_fill(const morph_type_spec *spec, struct mm_message *message)
{
    struct mm_type *type = &message->as.type;
    size_t length = spec->name ? strlen(spec->name) : 0;
    *message = (struct mm_message){ .id = MM_MSG_TYPE };
    if (length == 0 || length >= sizeof type->name || spec->bytes > UINT32_MAX)
        return MORPH_EINVALID;
    memcpy(type->name, spec->name, length + 1);
    type->bytes = (uint32_t)spec->bytes;
    type->element_bytes = spec->element_bytes;
    type->flags = spec->flags;
    if (spec->storage_ref_count > sizeof type->storage_refs / sizeof type->storage_refs[0] / 2 || (spec->storage_ref_count && !spec->storage_ref))
        return MORPH_EINVALID;
    type->storage_at = spec->storage_at;
    type->storage_bytes = spec->storage_bytes;
    type->storage_refs_count = spec->storage_ref_count * 2;
    for (uint32_t i = 0; i < spec->storage_ref_count; i++) {
        type->storage_refs[2 * i] = spec->storage_ref[i].offset;
        type->storage_refs[2 * i + 1] = spec->storage_ref[i].says;
    }
    if (copy_refs(&spec->refs, type->refs, sizeof type->refs / sizeof type->refs[0], &type->refs_count) < 0)
        return MORPH_EINVALID;
    return copy_refs(&spec->element_refs, type->element_refs, sizeof type->element_refs / sizeof type->element_refs[0], &type->element_refs_count);
}

bool morph__born_old(struct morph_heap *heap, uint32_t id)
{
    const uint64_t *pretenured = mm_control_pretenure(heap->control, heap->control->slot_count, heap->control->space_count);
    return heap->no_moving || (heap->collected && mm_load_relaxed(&pretenured[id / 64]) >> id % 64 & 1);
}

/* The cursor that objects of a type are born at. */
static uint32_t bump_off(struct morph_heap *heap, uint32_t id)
{
    return morph__born_old(heap, id) ? offsetof(struct morph_thread, old) : offsetof(struct morph_thread, young);
}

/* Other threads may be reading bump_off: either cursor is right for them. */
static void heap_refresh(struct morph_heap *heap)
{
    uint32_t version = mm_load_acquire(&heap->control->pretenure_version);      /* pairs with the release in daemon/gc/pretenure.c */
    if (version == mm_load_relaxed(&heap->pretenure_version))
        return;
    morph__lock(heap);
    mm_store_relaxed(&heap->pretenure_version, version);
    for (unsigned i = 0; i < MORPH__TYPE_BUCKETS; i++)
        for (struct morph__type *type = heap->type_bucket[i]; type; type = type->next)
            mm_store_relaxed(&type->info.bump_off, bump_off(heap, type->id));
    morph__unlock(heap);
}

/* Those without a type belong to no heap's list: each thread has a word of its own for them. Where nothing moves they start at the cursor of longer objects. */
void morph__types_refresh(struct morph__thread *thread)
{
    heap_refresh(thread->heap);
    thread->slot->bytes_off = thread->heap->no_moving ? offsetof(struct morph_thread, young) : bump_off(thread->heap, MM_TYPE_RAW);
}

static int type_remember(struct morph_heap *heap, const struct mm_type *spec, uint32_t id, struct morph__type **ret_type)
{
    struct morph__type *type = type_find(heap, id);
    if (!type) {
        if (id == 0 || id > MM_TYPES_MAX)
            return MORPH_EPROTOCOL;
        if (!(type = calloc(1, sizeof *type)))
            return MORPH_EMEMORY;
        type->heap = heap;
        type->id = id;
        type->bytes = spec->bytes;
        type->element_bytes = spec->element_bytes;
        type->info.header = mm_header_make(spec->bytes, (uint16_t)id, 0);
        type->info.extent_bytes = mm_object_extent(spec->bytes);
        if (type->info.extent_bytes > MM_LARGE_BYTES)
            type->info.extent_bytes = UINT64_MAX / 2;           /* never fits: the slow path */
        type->info.element_bytes = spec->element_bytes;
        type->info.bump_off = bump_off(heap, id);
        memcpy(type->name, spec->name, sizeof type->name);
        type->next = *bucket_of(heap, id);
        *bucket_of(heap, id) = type;
    }
    *ret_type = type;
    return 0;
}

int morph_type_register(morph_heap *heap, const morph_type_spec *spec, morph_type *ret_type)
{
    struct mm_message message, answer;
    struct morph__type *type = NULL;
    if (!heap || !spec || !ret_type)
        return MORPH_EINVALID;
    int r = morph__status(heap);
    if (r == 0)
        r = message_fill(spec, &message);
    if (r < 0)
        return r;
    morph__lock(heap);
    r = morph__request(heap, &message, &answer);
    if (r == 0)
        r = answer.id == MM_MSG_TYPE_ID ? type_remember(heap, &message.as.type, answer.as.type_id.type, &type) : MORPH_EPROTOCOL;
    morph__unlock(heap);
    if (r == 0)
        *ret_type = &type->info;
    return r;
}

const char *morph_type_name(morph_type type) { return type ? ((const struct morph__type *)type)->name : ""; }

morph_type morph_object_type(morph_heap *heap, const void *object)
{
    uint16_t id = mm_header_type(*(const uint64_t *)((const char *)object - MM_HEADER_BYTES));
    morph__lock(heap);
    struct morph__type *type = id ? type_find(heap, id) : NULL;
    morph__unlock(heap);
    return type ? &type->info : NULL;
}
