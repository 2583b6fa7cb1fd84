/* type.c — how the references of a type are found: made from the type table (daemon/heap/types.c), once for each type. The heap's worker. */
#include <stdlib.h>

#include "daemon/gc/trace.h"
#include "daemon/heap/types.h"

/* References within the first 64 words of the fixed part fit a mask. */
static bool type_mask(const struct type *type, uint64_t *ret_mask)
{
    *ret_mask = 0;
    for (uint32_t i = 0; i < type->ref_count; i++) {
        if (type->ref[i] >= 64 * 8)
            return false;
        *ret_mask |= (uint64_t)1 << (type->ref[i] / 8);
    }
    return true;
}

static void type_describe(struct gc_type *to, const struct type *type)
{
    bool fits = type_mask(type, &to->mask), vector = type->element_ref_count == 1 && type->element_bytes == 8;
    to->ref = type->ref;
    to->bytes = type->bytes;
    to->element_bytes = type->element_bytes;
    to->refs = (uint16_t)type->ref_count;
    to->element_refs = (uint16_t)type->element_ref_count;
    to->flags = (uint8_t)(type->flags & (TYPE_WEAK | TYPE_EPHEMERON));
    to->storage = type->storage_bytes ? type : NULL;
    to->scan = type->ref_count + type->element_ref_count == 0 ? GC_SCAN_NONE : !fits ? GC_SCAN_LISTS : vector ? GC_SCAN_VECTOR :
               type->element_ref_count ? GC_SCAN_LISTS : GC_SCAN_MASK;
    to->is_storage = type->flags & TYPE_STORAGE;
    if (type->flags & (TYPE_CONSERVATIVE | TYPE_STORAGE))
        to->scan = GC_SCAN_WORDS;
    else if (to->storage && to->scan == GC_SCAN_NONE)
        to->scan = GC_SCAN_MASK;
}

/* Takes over types that were registered since the last pause. */
void trace_types_refresh(struct gc *gc)
{
    uint32_t count = types_count(gc->types_source) + 1;
    if (count > gc->type_room) {
        uint32_t room = gc->type_room * 2 > count ? gc->type_room * 2 : count + 31;
        struct gc_type *grown = realloc(gc->type, room * sizeof *grown);
        if (!grown)
            return;                     /* objects of the new types condemn the heap: there is no memory to know them */
        gc->type = grown;
        gc->type_room = room;
    }
    for (; gc->type_count < count; gc->type_count++) {
        struct gc_type *to = &gc->type[gc->type_count];
        *to = (struct gc_type){ .scan = GC_SCAN_NONE };
        if (gc->type_count > 0)
            type_describe(to, types_get(gc->types_source, gc->type_count));
        gc->weak_types |= to->flags != 0;
    }
}
