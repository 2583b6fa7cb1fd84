/* arena.h — morphmem arenas: typed objects with headers, raw bytes without. */
#include "tests/bench/subject/heap.h"

#define SUBJECT_DROP DROP_RESET

struct place {
    morph_arena *arena;
    morph_type type[KIND_COUNT], array, table;
};

static inline void place_begin(struct place *place, size_t most_bytes)
{
    const morph_type_spec kinds[KIND_COUNT] = {
        [KIND_QUAD] = { .name = "quad", .bytes = sizeof(struct quad) },
        [KIND_NODE] = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) },
        [KIND_WIDE] = { .name = "wide", .bytes = sizeof(struct wide), .refs = MORPH_REFS(struct wide, left, right) },
        [KIND_ENTRY] = { .name = "entry", .bytes = sizeof(struct entry), .refs = MORPH_REFS(struct entry, payload) },
    };
    (void)most_bytes;
    heap_check(morph_arena_new(thread, &place->arena));
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        heap_check(morph_type_register(heap, &kinds[kind], &place->type[kind]));
    heap_check(morph_type_register(heap, &(morph_type_spec){ .name = "array", .element_bytes = 1 }, &place->array));
    heap_check(morph_type_register(heap, &(morph_type_spec){ .name = "table", .element_bytes = sizeof(void *),
        .element_refs = MORPH_ELEMENT_IS_REF }, &place->table));
}

static inline void *place_object(struct place *place, enum kind kind)
{
    return morph_arena_new_object(place->arena, place->type[kind]);
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    return morph_arena_bytes(place->arena, bytes);
}

static inline void *place_array(struct place *place, size_t bytes)
{
    return morph_arena_new_array(place->arena, place->array, bytes);
}

static inline void *place_table(struct place *place, size_t count)
{
    return morph_arena_new_array(place->arena, place->table, count);
}

static inline void place_free(struct place *place, void *memory)
{
    (void)place, (void)memory;
}

static inline void place_reset(struct place *place)
{
    morph_arena_reset(place->arena);
}
