/* census.c — objects and bytes of a heap by type (door: TYPES in proto/messages.def; other side: daemon/heap/census.c).
 *
 * The daemon counts and answers in parts. They are kept until the last one has come; then they are shown, without any lock. What a part says that we do
 * not know is passed over. */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

struct census {
    struct morph__awaited awaited;      /* first: the parts lead here */
    morph_type_count *count;            /* names are copies of their own */
    uint32_t counts, room;
};

static bool key_is(const msgpack_object *key, const char *name)
{
    return key->type == MSGPACK_OBJECT_STR && key->via.str.size == strlen(name) && memcmp(key->via.str.ptr, name, key->via.str.size) == 0;
}

/* One pair of a report. 0, or MEMORY. */
static int pair_read(const msgpack_object_kv *pair, morph_type_count *count)
{
    if (key_is(&pair->key, "name") && pair->val.type == MSGPACK_OBJECT_STR && !count->name) {
        count->name = strndup(pair->val.via.str.ptr, pair->val.via.str.size);
        return count->name ? 0 : MORPH_EMEMORY;
    }
    if (pair->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return 0;
    if (key_is(&pair->key, "id"))
        count->id = (uint32_t)pair->val.via.u64;
    else if (key_is(&pair->key, "objects"))
        count->objects = pair->val.via.u64;
    else if (key_is(&pair->key, "bytes"))
        count->bytes = pair->val.via.u64;
    else if (key_is(&pair->key, "held_bytes"))
        count->held_bytes = pair->val.via.u64;
    return 0;
}

static bool census_grow(struct census *census)
{
    if (census->counts < census->room)
        return true;
    uint32_t room = census->room ? census->room * 2 : 32;
    morph_type_count *grown = realloc(census->count, room * sizeof *grown);
    if (!grown)
        return false;
    census->count = grown;
    census->room = room;
    return true;
}

static int on_part(struct morph__awaited *awaited, const void *body, uint32_t bytes)
{
    struct census *census = (struct census *)awaited;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return unpack = msgpack_unpack_next(&unpacked, body, bytes, NULL);
    int r = unpack == MSGPACK_UNPACK_NOMEM_ERROR || !census_grow(census) ? MORPH_EMEMORY
            : unpack != MSGPACK_UNPACK_SUCCESS || unpacked.data.type != MSGPACK_OBJECT_MAP ? MORPH_EPROTOCOL : 0;
    if (r == 0) {
        morph_type_count *count = &census->count[census->counts++];
        *count = (morph_type_count){ 0 };
        for (uint32_t i = 0; i < unpacked.data.via.map.size && r == 0; i++)
            r = pair_read(&unpacked.data.via.map.ptr[i], count);
    }
    msgpack_unpacked_destroy(&unpacked);
    return r;
}

int morph_heap_types(morph_heap *heap, morph_type_visitor visit, void *argument)
{
    struct census census = { .awaited = { .part = on_part } };
    struct mm_message message = { .id = MM_MSG_TYPES };
    if (!heap || !visit)
        return MORPH_EINVALID;
    int r = morph_heap_status(heap);
    if (r < 0)
        return r;
    message.as.types.heap = heap->id;
    struct morph__thread *mine = morph__native_begin(heap);
    r = morph__ask(heap, &message, &census.awaited);
    morph__native_end(mine);
    for (uint32_t i = 0; i < census.counts; i++) {
        morph_type_count shown = census.count[i];
        if (!shown.name)
            shown.name = "";
        if (r == 0)
            visit(argument, &shown);
        free((char *)(uintptr_t)census.count[i].name);
    }
    free(census.count);
    return r;
}
