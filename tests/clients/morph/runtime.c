/* runtime.c — strings, arrays, maps, closures, channels and threads of a compiled Morph program.
 *
 * Ordinary C with the habits of the compiler's runtime (see runtime.h). Nothing here keeps a reference longer than the call, so what goes
 * wrong in a program goes wrong because of the memory below. */
#include "tests/clients/morph/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/clients/morph/program.h"

/* ---- Strings ---- */

MorphString *string_literal(MorphContext *ctx, const char *literal)
{
    MorphString *r = mph_alloc(ctx, sizeof *r, &mph_ti_string);
    ROOT(r);
    r->data = (char *)(uintptr_t)literal;
    r->length = strlen(literal);
    RETURN(r, 1);
}

/* The block is in no root while the string is made. */
static MorphString *string_real(MorphContext *ctx, char *block, size_t length)
{
    MorphString *r = mph_alloc(ctx, sizeof *r, &mph_ti_string_real);
    r->data = block;
    r->length = length;
    return r;
}

MorphString *string_concat(MorphContext *ctx, MorphString *a, MorphString *b)
{
    ROOT(a);
    ROOT(b);
    size_t length = a->length + b->length;
    char *block = mph_alloc(ctx, length + 1, &mph_ti_raw);
    memcpy(block, a->data, a->length);
    memcpy(block + a->length, b->data, b->length);
    MorphString *r = string_real(ctx, block, length);
    ROOT(r);
    RETURN(r, 3);
}

MorphString *string_number(MorphContext *ctx, int64_t number)
{
    char text[24];
    int length = snprintf(text, sizeof text, "%lld", (long long)number);
    char *block = mph_alloc(ctx, (size_t)length + 1, &mph_ti_raw);
    memcpy(block, text, (size_t)length);
    return string_real(ctx, block, (size_t)length);
}

MorphString *string_slice(MorphContext *ctx, MorphString *real, size_t from, size_t length)
{
    return string_real(ctx, real->data + from, length);
}

bool string_is(const MorphString *string, const char *text)
{
    return string->length == strlen(text) && memcmp(string->data, text, string->length) == 0;
}

bool string_equal(const MorphString *a, const MorphString *b)
{
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
}

uint64_t string_hash(const MorphString *string)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < string->length; i++)
        hash = (hash ^ (unsigned char)string->data[i]) * 0x100000001b3u;
    return hash;
}

/* ---- Arrays ---- */

MorphArray *array_new(MorphContext *ctx, size_t element_size, int elements_are_pointers, size_t capacity)
{
    MorphArray *r = mph_alloc(ctx, sizeof *r, &mph_ti_array);
    ROOT(r);
    r->element_size = element_size;
    r->elements_are_pointers = elements_are_pointers;
    if (capacity > 0)
        r->data = mph_alloc(ctx, capacity * element_size, &mph_ti_raw);
    r->capacity = capacity;
    RETURN(r, 1);
}

static void array_grow(MorphContext *ctx, MorphArray *array)
{
    size_t capacity = array->capacity ? 2 * array->capacity : 4;
    void *data = mph_alloc(ctx, capacity * array->element_size, &mph_ti_raw);
    if (array->length > 0)
        memcpy(data, array->data, array->length * array->element_size);
    array->data = data;
    array->capacity = capacity;
}

void array_push(MorphContext *ctx, MorphArray *array, const void *element)
{
    ROOT(array);
    if (array->length == array->capacity)
        array_grow(ctx, array);
    memcpy((char *)array->data + array->length++ * array->element_size, element, array->element_size);
}

/* The pointer is a parameter, and in no root, while the array grows. */
void array_push_pointer(MorphContext *ctx, MorphArray *array, void *pointer)
{
    if (array->length == array->capacity)
        array_grow(ctx, array);
    ((void **)array->data)[array->length++] = pointer;
}

void *array_pointer(const MorphArray *array, size_t index)
{
    EXPECT(index < array->length, "index %zu of an array of %zu", index, array->length);
    return ((void **)array->data)[index];
}

/* What lies behind the length stays as it was. */
void *array_pop_pointer(MorphArray *array)
{
    EXPECT(array->length > 0, "pop of an empty array");
    return ((void **)array->data)[--array->length];
}

/* ---- Maps ---- */

MorphMap *map_new(MorphContext *ctx, int key_kind, int values_are_pointers)
{
    MorphMap *r = mph_alloc(ctx, sizeof *r, &mph_ti_map);
    r->key_kind = key_kind;
    r->values_are_pointers = values_are_pointers;
    r->capacity = 8;
    r->entries = mph_alloc(ctx, r->capacity * sizeof *r->entries, &mph_ti_raw);
    return r;
}

/* A pointer's hash is its address: an object that moves is not found again. */
static uint64_t map_hash(const MorphMap *map, const void *key)
{
    return map->key_kind == KEY_STRING ? string_hash(key) : mix((uint64_t)(uintptr_t)key);
}

static bool map_same(const MorphMap *map, const void *a, const void *b)
{
    return a == b || (map->key_kind == KEY_STRING && string_equal(a, b));
}

/* The entry of the key; or, if `vacant`, the one where it belongs; or NULL. */
static MorphMapEntry *map_find(const MorphMap *map, const void *key, bool vacant)
{
    MorphMapEntry *reuse = NULL;
    for (uint64_t at = map_hash(map, key);; at++) {
        MorphMapEntry *entry = &map->entries[at & (map->capacity - 1)];
        if (!entry->occupied)
            return !vacant ? NULL : reuse ? reuse : entry;
        if (entry->deleted)
            reuse = reuse ? reuse : entry;
        else if (map_same(map, entry->key, key))
            return entry;
    }
}

static void map_rehash(MorphContext *ctx, MorphMap *map)
{
    MorphMapEntry *old = map->entries;
    size_t old_capacity = map->capacity, capacity = old_capacity;
    while ((map->count + 1) * 2 > capacity)
        capacity *= 2;
    MorphMapEntry *entries = mph_alloc(ctx, capacity * sizeof *entries, &mph_ti_raw);
    map->entries = entries;
    map->capacity = capacity;
    map->deleted_count = 0;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].occupied && !old[i].deleted)
            *map_find(map, old[i].key, true) = old[i];
}

void map_set(MorphContext *ctx, MorphMap *map, void *key, void *value)
{
    ROOT(map);
    ROOT(value);
    if ((map->count + map->deleted_count + 1) * 4 > map->capacity * 3)
        map_rehash(ctx, map);
    MorphMapEntry *entry = map_find(map, key, true);
    if (entry->deleted)
        map->deleted_count--;
    if (!entry->occupied || entry->deleted) {
        map->count++;
        entry->key = key;
    }
    entry->occupied = 1;
    entry->deleted = 0;
    entry->value = value;
}

bool map_get(const MorphMap *map, const void *key, void **ret_value)
{
    const MorphMapEntry *entry = map_find(map, key, false);
    if (entry)
        *ret_value = entry->value;
    return entry;
}

bool map_delete(MorphMap *map, const void *key)
{
    MorphMapEntry *entry = map_find(map, key, false);
    if (!entry)
        return false;
    entry->deleted = 1;
    map->count--;
    map->deleted_count++;
    return true;
}

/* ---- Closures, interface values, errors ---- */

TYPE(MorphInterface, 1, offsetof(MorphInterface, instance));
TYPE(MorphError, 1, offsetof(MorphError, message));

MorphClosure *closure_new(MorphContext *ctx, void *function, void *env)
{
    MorphClosure *r = mph_alloc(ctx, sizeof *r, &mph_ti_closure);
    r->function = function;
    r->env = env;
    return r;
}

MorphInterface *interface_new(MorphContext *ctx, void *instance, void **vtable, int64_t type_id)
{
    MorphInterface *r = mph_alloc(ctx, sizeof *r, &mph_ti_MorphInterface);
    *r = (MorphInterface){ instance, vtable, type_id };
    return r;
}

MorphError *error_new(MorphContext *ctx, MorphString *message)
{
    MorphError *r = mph_alloc(ctx, sizeof *r, &mph_ti_MorphError);
    r->message = message;
    return r;
}

/* ---- Channels ---- */

MorphChannel *channel_new(MorphContext *ctx, size_t capacity)
{
    MorphChannel *r = mph_alloc(ctx, sizeof *r, NULL);
    ROOT(r);
    r->ring = mph_alloc(ctx, capacity * sizeof *r->ring, NULL);
    r->capacity = capacity;
    EXPECT(pthread_mutex_init(&r->lock, NULL) == 0, "a lock");
    EXPECT(pthread_cond_init(&r->readable, NULL) == 0 && pthread_cond_init(&r->writable, NULL) == 0, "a condition");
    RETURN(r, 1);
}

void channel_send(MorphChannel *channel, uint64_t value)
{
    pthread_mutex_lock(&channel->lock);
    while (channel->count == channel->capacity)
        pthread_cond_wait(&channel->writable, &channel->lock);
    channel->ring[(channel->first + channel->count++) % channel->capacity] = value;
    pthread_cond_signal(&channel->readable);
    pthread_mutex_unlock(&channel->lock);
}

/* The ring forgets what was received: from here on it is in a register of this thread, or nowhere. */
bool channel_receive(MorphChannel *channel, uint64_t *ret_value)
{
    pthread_mutex_lock(&channel->lock);
    while (channel->count == 0 && !channel->closed)
        pthread_cond_wait(&channel->readable, &channel->lock);
    bool some = channel->count > 0;
    if (some) {
        *ret_value = channel->ring[channel->first];
        channel->ring[channel->first] = 0;
        channel->first = (channel->first + 1) % channel->capacity;
        channel->count--;
        pthread_cond_signal(&channel->writable);
    }
    pthread_mutex_unlock(&channel->lock);
    return some;
}

void channel_close(MorphChannel *channel)
{
    pthread_mutex_lock(&channel->lock);
    channel->closed = 1;
    pthread_cond_broadcast(&channel->readable);
    pthread_mutex_unlock(&channel->lock);
}

/* ---- Threads ---- */

static void *thread_main(void *argument)
{
    MorphThread *thread = argument;
    MorphContext own, *ctx = &own;
    context_open(ctx);
    ROOT(thread);
    mph_start_daemon(ctx);
    thread->result = ((thread_work)thread->work->function)(ctx, thread->work->env);
    mph_stop_daemon(ctx);
    context_close(ctx);
    return NULL;
}

MorphThread *thread_spawn(MorphContext *ctx, MorphClosure *work)
{
    ROOT(work);
    MorphThread *r = mph_alloc(ctx, sizeof *r, NULL);
    ROOT(r);
    r->work = work;
    EXPECT(pthread_create(&r->id, NULL, thread_main, r) == 0, "a thread");
    RETURN(r, 2);
}

uint64_t thread_join(MorphThread *thread)
{
    EXPECT(pthread_join(thread->id, NULL) == 0, "a thread to join");
    return thread->result;
}

/* ---- Contexts ---- */

#define CONTEXT_FILLING 0x5a        /* what the program's own members are to everybody else */

void context_open(MorphContext *ctx)
{
    memset(ctx->own, CONTEXT_FILLING, sizeof ctx->own);
    mph_init_memory(ctx);
}

void context_close(MorphContext *ctx)
{
    mph_destroy_memory(ctx);
    for (size_t i = 0; i < sizeof ctx->own; i++)
        EXPECT(ctx->own[i] == CONTEXT_FILLING, "byte %zu of the context was written to", i);
}
