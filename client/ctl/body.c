/* body.c — msgpack to JSON. See body.h. The bytes were judged by the decoder (one value, no count that its bytes could not hold). */
#include "client/ctl/body.h"

#include <msgpack.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static json_t *value_to_json(const msgpack_object *value, unsigned depth);

/* Length of the UTF-8 character at `at`, or 0: not a character that JSON may hold. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80)
        return 1;
    size_t length = at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xf0 && at[1] < 0x90);
    bool outside = (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf4 && at[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

/* The same text as valid UTF-8; the caller frees it. */
static char *text_repair(const char *text, size_t count, size_t *ret_count)
{
    char *fixed = malloc(3 * count + 1), *to = fixed;
    for (size_t i = 0; fixed && i < count; ) {
        size_t n = utf8_length((const unsigned char *)text + i, count - i);
        memcpy(to, n > 0 ? text + i : "\xef\xbf\xbd", n > 0 ? n : 3);
        to += n > 0 ? n : 3;
        i += n > 0 ? n : 1;
    }
    if (fixed)
        *to = 0;
    *ret_count = (size_t)(to - fixed);
    return fixed;
}

static json_t *text_to_json(const char *text, size_t count)
{
    size_t fixed_count;
    char *fixed = text_repair(text, count, &fixed_count);
    json_t *json = fixed ? json_stringn_nocheck(fixed, fixed_count) : NULL;
    free(fixed);
    return json;
}

static json_t *array_to_json(const msgpack_object_array *array, unsigned depth)
{
    json_t *json = json_array();
    for (uint32_t i = 0; json && i < array->size; i++)
        if (json_array_append_new(json, value_to_json(&array->ptr[i], depth)) < 0) {
            json_decref(json);
            json = NULL;
        }
    return json;
}

/* Adds one pair; false if the key is no text. */
static bool pair_to_json(json_t *json, const msgpack_object_kv *pair, unsigned depth)
{
    if (pair->key.type != MSGPACK_OBJECT_STR || memchr(pair->key.via.str.ptr, 0, pair->key.via.str.size))
        return false;
    size_t count;
    char *key = text_repair(pair->key.via.str.ptr, pair->key.via.str.size, &count);
    bool added = key && json_object_set_new_nocheck(json, key, value_to_json(&pair->val, depth)) == 0;
    free(key);
    return added;
}

static json_t *map_to_json(const msgpack_object_map *map, unsigned depth)
{
    json_t *json = json_object();
    for (uint32_t i = 0; json && i < map->size; i++)
        if (!pair_to_json(json, &map->ptr[i], depth)) {
            json_decref(json);
            json = NULL;
        }
    return json;
}

/* `depth`: how many containers may still follow. NULL fails whatever the value was to be put into. */
static json_t *value_to_json(const msgpack_object *value, unsigned depth)
{
    switch (value->type) {
    case MSGPACK_OBJECT_NIL:
        return json_null();
    case MSGPACK_OBJECT_BOOLEAN:
        return json_boolean(value->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return value->via.u64 > INT64_MAX ? json_real((double)value->via.u64) : json_integer((json_int_t)value->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return json_integer(value->via.i64);
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return value->via.f64 - value->via.f64 == 0 ? json_real(value->via.f64) : json_null();     /* JSON has no infinity */
    case MSGPACK_OBJECT_STR:
        return text_to_json(value->via.str.ptr, value->via.str.size);
    case MSGPACK_OBJECT_ARRAY:
        return depth == 0 ? NULL : array_to_json(&value->via.array, depth - 1);
    case MSGPACK_OBJECT_MAP:
        return depth == 0 ? NULL : map_to_json(&value->via.map, depth - 1);
    default:
        return NULL;                            /* binary and extensions: nothing that a report holds */
    }
}

json_t *body_to_json(const void *bytes, size_t count)
{
    msgpack_unpacked unpacked;
    size_t end = 0;
    json_t *json = NULL;
    msgpack_unpacked_init(&unpacked);
    if (msgpack_unpack_next(&unpacked, bytes, count, &end) == MSGPACK_UNPACK_SUCCESS && end == count &&
        unpacked.data.type == MSGPACK_OBJECT_MAP)
        json = value_to_json(&unpacked.data, BODY_DEPTH_MAX);
    msgpack_unpacked_destroy(&unpacked);
    return json;
}
