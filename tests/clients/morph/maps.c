/* maps.c — maps of the three kinds of keys, filled, deleted from, and rehashed at random, next to a plain table of what is in them.
 *
 * Hazard 5: keys and values lie in entries of 24 bytes in a raw block. Keys that are pointers are hashed by address. What would break: a
 * map that does not keep its keys (a string's characters, an object that is nothing but a key), or its values; an object that moves. */
#include <stdio.h>

#include "tests/clients/morph/program.h"

#define KEYS 400

typedef struct {
    MorphMap *map;
    bool      has[KEYS];        /* plain: what is in the map, and which value */
    uint64_t  seed[KEYS];
    Leaf     *identity[KEYS];   /* keys of a pointer map: of those that it has, complements, so that the map alone holds them */
} Model;

static Leaf *hidden(Leaf *leaf) { return (Leaf *)~(uintptr_t)leaf; }

/* A key that is equal to the one in the map, but for a pointer map another object, where the key is the identity. */
static void *key_of(MorphContext *ctx, const Model *model, size_t i)
{
    switch (model->map->key_kind) {
    case KEY_INT:
        return (void *)(uintptr_t)(i * 4096 + i);
    case KEY_STRING:
        return string_concat(ctx, string_literal(ctx, i % 2 ? "key " : "another key "), string_number(ctx, (int64_t)i));
    default:
        return hidden(model->identity[i]);
    }
}

APART static void put(MorphContext *ctx, Model *model, size_t i, uint64_t seed)
{
    if (model->map->key_kind == KEY_POINTER && !model->has[i])
        model->identity[i] = hidden(leaf_new(ctx, i));
    void *key = key_of(ctx, model, i);
    map_set(ctx, model->map, key, model->map->values_are_pointers ? leaf_new(ctx, seed) : (void *)(uintptr_t)mix(seed));
    model->has[i] = true;
    model->seed[i] = seed;
}

APART static void take(MorphContext *ctx, Model *model, size_t i)
{
    if (model->map->key_kind == KEY_POINTER && !model->has[i])
        return;
    EXPECT(map_delete(model->map, key_of(ctx, model, i)) == model->has[i], "key %zu was deleted, or was not", i);
    model->has[i] = false;
}

APART static void model_check(MorphContext *ctx, const Model *model)
{
    size_t count = 0;
    for (size_t i = 0; i < KEYS; i++) {
        void *value = NULL;
        if (model->map->key_kind == KEY_POINTER && !model->has[i])
            continue;
        void *key = key_of(ctx, model, i);
        EXPECT(map_get(model->map, key, &value) == model->has[i], "key %zu of kind %d is in the map, or is not", i, model->map->key_kind);
        if (!model->has[i])
            continue;
        count++;
        if (model->map->values_are_pointers)
            leaf_check(value, model->seed[i], "a value of a map");
        else
            EXPECT((uintptr_t)value == mix(model->seed[i]), "a number of a map");
        if (model->map->key_kind == KEY_POINTER)
            leaf_check(key, i, "a key of a map");
    }
    EXPECT(count == model->map->count, "%zu entries, not %zu", model->map->count, count);
}

/* A table of words with everything made on the way. */
static void words_check(MorphContext *ctx, unsigned many)
{
    MorphMap *words = map_new(ctx, KEY_STRING, 1);
    ROOT(words);
    for (unsigned i = 0; i < many; i++)
        map_set(ctx, words, string_concat(ctx, string_number(ctx, i), string_literal(ctx, "th")),
                string_concat(ctx, string_literal(ctx, "number "), string_number(ctx, i)));
    for (unsigned i = 0; i < many; i++) {
        char text[32];
        void *found = NULL;
        snprintf(text, sizeof text, "number %u", i);
        EXPECT(map_get(words, string_concat(ctx, string_number(ctx, i), string_literal(ctx, "th")), &found), "word %u", i);
        EXPECT(string_is(found, text), "the value of word %u", i);
    }
}

void program_maps(MorphContext *ctx)
{
    static Model model[6];
    for (int i = 0; i < 6; i++)
        model[i].map = map_new(ctx, i % 3, i < 3);
    for (uint64_t round = 0; round < scaled(120); round++) {
        for (int i = 0; i < 6; i++)
            for (uint64_t step = 0; step < 120; step++) {
                uint64_t random = mix(round * 1000 + step * 6 + (uint64_t)i);
                if (random % 8 < (round / 8 % 2 ? 3 : 5))
                    put(ctx, &model[i], (random >> 8) % KEYS, random >> 20);
                else
                    take(ctx, &model[i], (random >> 8) % KEYS);
            }
        scrub();
        churn_and_collect(ctx, 200000);
        for (int i = 0; i < 6; i++)
            model_check(ctx, &model[i]);
        if (round % 16 == 3)
            words_check(ctx, 2000);
    }
}
