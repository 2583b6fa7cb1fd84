/* moves.c — a trace into what a compiled program does. See moves.h.
 *
 * Two readings: the first (steps.h) finds out the layout of each type, the second makes the tables. Within an epoch the objects whose
 * references changed are remembered, with the owners of raw blocks that changed; at its end each one's words are imagined anew, and what
 * differs from before is a store. */
#include "tests/clients/moves.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 8u

/* A word of an object that is not as it was allocated: a reference (target is an id) or a value. */
struct word { uint64_t at, target, value; bool ref; };

struct image { struct word *word; uint64_t count, room; };

struct known {
    struct image now, next;
    struct mtr_edge *edge;
    uint64_t edges;
    struct known *owner;        /* of a raw block: an array or a map, or NULL */
    uint64_t id;
    uint32_t name;
    bool changed;
};

struct decoder {
    struct moves *moves;
    struct known **by_id;       /* NULL: dead */
    struct known **changed;
    uint64_t changes, changes_room;
    uint32_t *name_free;        /* names to be given again */
    uint32_t names_free, name_next;
    uint32_t push, pop, fresh_begin;
    uint64_t room[5], live_bytes;
};

enum table { TABLE_STORE, TABLE_EPOCH, TABLE_ROOT, TABLE_DEAD };

/* Room for one more. False: no memory. */
static bool table_room(void *table, uint64_t *room, uint64_t count, uint64_t item_bytes)
{
    void *memory;
    if (count < *room)
        return true;
    uint64_t more = *room ? *room * 2 : 64;
    memcpy(&memory, table, sizeof memory);
    memory = realloc(memory, more * item_bytes);
    if (!memory)
        return false;
    memcpy(table, &memory, sizeof memory);
    *room = more;
    return true;
}

static const struct moves_alloc *alloc_of(const struct decoder *decoder, const struct known *known)
{
    return &decoder->moves->alloc[known->id];
}

static enum moves_kind kind_of(const struct decoder *decoder, const struct known *known)
{
    return decoder->moves->type[alloc_of(decoder, known)->type].kind;
}

static struct known *known_of(struct decoder *decoder, uint64_t id)
{
    return id < decoder->moves->allocs ? decoder->by_id[id] : NULL;
}

static int changed_add(struct decoder *decoder, struct known *known)
{
    if (!known || known->changed)
        return 0;
    if (!table_room(&decoder->changed, &decoder->changes_room, decoder->changes, sizeof known))
        return -ENOMEM;
    known->changed = true;
    decoder->changed[decoder->changes++] = known;
    return 0;
}

/* ---- What an object's words are ---- */

static int image_put(struct image *image, struct word word)
{
    if (!table_room(&image->word, &image->room, image->count, sizeof word))
        return -ENOMEM;
    image->word[image->count++] = word;
    return 0;
}

static int image_value(struct image *image, uint64_t at, uint64_t value)
{
    return value ? image_put(image, (struct word){ .at = at, .value = value }) : 0;
}

static struct known *data_of(struct decoder *decoder, const struct known *known)
{
    for (uint64_t i = 0; i < known->edges; i++)
        if (known->edge[i].slot == 0)
            return known_of(decoder, known->edge[i].target);
    return NULL;
}

static int array_image(struct decoder *decoder, struct known *known)
{
    const struct known *data = data_of(decoder, known);
    uint64_t capacity = data ? alloc_of(decoder, data)->bytes / WORD_BYTES : 0;
    int r = image_value(&known->next, MOVES_ARRAY_LENGTH, data && data->edges ? data->edge[data->edges - 1].slot + 1 : capacity);
    r |= image_value(&known->next, MOVES_ARRAY_CAPACITY, capacity);
    r |= image_value(&known->next, MOVES_ARRAY_ELEMENT_BYTES, WORD_BYTES);
    return r | image_value(&known->next, MOVES_ARRAY_REFS, data && data->edges);
}

static int map_image(struct decoder *decoder, struct known *known)
{
    const struct known *data = data_of(decoder, known);
    uint64_t count = 0, flags = 0, entry = UINT64_MAX;
    for (uint64_t i = 0; data && i < data->edges; i++) {
        uint64_t slot = data->edge[i].slot;
        flags |= slot % MOVES_ENTRY_WORDS == MOVES_ENTRY_KEY ? MOVES_STRING_KEYS : MOVES_VALUE_REFS;
        count += slot / MOVES_ENTRY_WORDS != entry;
        entry = slot / MOVES_ENTRY_WORDS;
    }
    int r = image_value(&known->next, MOVES_MAP_CAPACITY, data ? alloc_of(decoder, data)->bytes / (MOVES_ENTRY_WORDS * WORD_BYTES) : 0);
    r |= image_value(&known->next, MOVES_MAP_COUNT, count);
    return r | image_value(&known->next, MOVES_MAP_FLAGS, flags);
}

/* The entries of a map that have a key or a value are occupied. */
static int entries_image(struct known *known)
{
    uint64_t entry = UINT64_MAX;
    int r = 0;
    for (uint64_t i = 0; i < known->edges; i++) {
        if (known->edge[i].slot / MOVES_ENTRY_WORDS == entry)
            continue;
        entry = known->edge[i].slot / MOVES_ENTRY_WORDS;
        r |= image_value(&known->next, entry * MOVES_ENTRY_WORDS + MOVES_ENTRY_OCCUPIED, 1);
    }
    return r;
}

static int word_compare(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static int image_make(struct decoder *decoder, struct known *known)
{
    int r = 0;
    known->next.count = 0;
    for (uint64_t i = 0; i < known->edges; i++)
        r |= image_put(&known->next, (struct word){ .at = known->edge[i].slot, .target = known->edge[i].target, .ref = true });
    switch (kind_of(decoder, known)) {
    case MOVES_ARRAY: r |= array_image(decoder, known); break;
    case MOVES_MAP:   r |= map_image(decoder, known); break;
    case MOVES_RAW:   r |= known->owner && kind_of(decoder, known->owner) == MOVES_MAP ? entries_image(known) : 0; break;
    default:          break;
    }
    if (r)
        return -ENOMEM;
    if (known->next.count > 1)
        qsort(known->next.word, known->next.count, sizeof *known->next.word, word_compare);
    for (uint64_t i = 0; i < known->next.count; i++)
        if (known->next.word[i].at * WORD_BYTES + WORD_BYTES > alloc_of(decoder, known)->bytes ||
            (i && known->next.word[i].at == known->next.word[i - 1].at))
            return -EINVAL;
    return 0;
}

static int store_add(struct decoder *decoder, const struct known *known, uint64_t at, const struct word *word)
{
    struct moves *moves = decoder->moves;
    const struct known *target = word && word->ref ? known_of(decoder, word->target) : NULL;
    if (word && word->ref && !target)
        return -EINVAL;
    if (!table_room(&moves->store, &decoder->room[TABLE_STORE], moves->stores, sizeof *moves->store))
        return -ENOMEM;
    moves->store[moves->stores++] = (struct moves_store){
        .object = known->name, .word = (uint32_t)at, .target = target ? target->name : MOVES_NONE, .value = word ? word->value : 0,
    };
    return 0;
}

/* What is different in the next image, as stores. */
static int image_store(struct decoder *decoder, struct known *known)
{
    const struct word *before = known->now.word, *before_end = before + known->now.count;
    const struct word *after = known->next.word, *after_end = after + known->next.count;
    int r = 0;
    while (r == 0 && (before < before_end || after < after_end)) {
        if (after == after_end || (before < before_end && before->at < after->at)) {
            r = store_add(decoder, known, before->at, NULL);
            before++;
            continue;
        }
        bool both = before < before_end && before->at == after->at;
        if (!both || before->ref != after->ref || before->target != after->target || before->value != after->value)
            r = store_add(decoder, known, after->at, after);
        before += both;
        after++;
    }
    struct image swap = known->now;
    known->now = known->next;
    known->next = swap;
    return r;
}

/* ---- Records ---- */

static uint32_t name_give(struct decoder *decoder)
{
    if (decoder->names_free)
        return decoder->name_free[--decoder->names_free];
    return decoder->name_next++;
}

static int on_alloc(struct decoder *decoder, const struct mtr_record *record)
{
    struct moves *moves = decoder->moves;
    struct known *known = calloc(1, sizeof *known);
    if (!known)
        return -ENOMEM;
    *known = (struct known){ .id = record->id, .name = name_give(decoder) };
    decoder->by_id[record->id] = known;
    enum moves_kind kind = moves->type[record->type].kind;
    if (decoder->push > UINT16_MAX || decoder->pop > UINT16_MAX)
        return -E2BIG;
    moves->alloc[moves->allocs++] = (struct moves_alloc){
        .bytes = (uint32_t)record->bytes, .name = known->name, .type = (uint8_t)record->type,
        .fill = kind != MOVES_ARRAY && kind != MOVES_MAP, .push = (uint16_t)decoder->push, .pop = (uint16_t)decoder->pop,
    };
    decoder->push = decoder->pop = 0;
    decoder->live_bytes += record->bytes;
    moves->payload_bytes += record->bytes;
    if (moves->allocs - decoder->fresh_begin > moves->fresh_most)
        moves->fresh_most = moves->allocs - decoder->fresh_begin;
    return 0;
}

static int edge_compare(const void *a, const void *b)
{
    const struct mtr_edge *x = a, *y = b;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* An array or a map lets go of its raw block. */
static int owner_leave(struct decoder *decoder, const struct known *known)
{
    struct known *data = data_of(decoder, known);
    if (!data || data->owner != known)
        return 0;
    data->owner = NULL;
    return changed_add(decoder, data);
}

static int on_edges(struct decoder *decoder, const struct mtr_record *record)
{
    struct known *known = known_of(decoder, record->id);
    uint64_t bytes = record->count * sizeof *known->edge;
    struct mtr_edge *edge = malloc(bytes ? bytes : 1);
    if (!known || !edge) {
        free(edge);
        return edge ? -EINVAL : -ENOMEM;
    }
    memcpy(edge, record->edges, bytes);
    if (bytes)
        qsort(edge, record->count, sizeof *edge, edge_compare);
    int r = owner_leave(decoder, known);
    free(known->edge);
    known->edge = edge;
    known->edges = record->count;
    if (bytes && kind_of(decoder, known) == MOVES_RAW)
        decoder->moves->alloc[known->id].fill = false;          /* of references, from the beginning */
    return r ? r : changed_add(decoder, known);
}

/* Raw blocks learn who owns them; both sides are imagined anew. `changed` grows meanwhile. */
static int owners_find(struct decoder *decoder)
{
    int r = 0;
    for (uint64_t i = 0; i < decoder->changes && r == 0; i++) {
        struct known *known = decoder->changed[i], *data;
        enum moves_kind kind = kind_of(decoder, known);
        if (kind == MOVES_RAW && known->owner)
            r = changed_add(decoder, known->owner);
        if (kind != MOVES_ARRAY && kind != MOVES_MAP)
            continue;
        for (uint64_t e = 0; e < known->edges && r == 0; e++)
            if (known->edge[e].slot == 0 && (data = known_of(decoder, known->edge[e].target)) && data->owner != known) {
                data->owner = known;
                r = changed_add(decoder, data);
            }
    }
    return r;
}

static int on_roots(struct decoder *decoder, const struct mtr_record *record)
{
    struct moves *moves = decoder->moves;
    int r = owners_find(decoder);
    for (uint64_t i = 0; i < decoder->changes && r == 0; i++) {
        r = image_make(decoder, decoder->changed[i]);
        r = r ? r : image_store(decoder, decoder->changed[i]);
        decoder->changed[i]->changed = false;
    }
    decoder->changes = 0;
    for (uint64_t i = 0; i < record->count && r == 0; i++) {
        const struct known *known = known_of(decoder, record->ids[i]);
        if (!known)
            return -EINVAL;
        if (!table_room(&moves->root, &decoder->room[TABLE_ROOT], moves->roots, sizeof *moves->root))
            return -ENOMEM;
        moves->root[moves->roots++] = known->name;
    }
    if (record->count > moves->roots_most)
        moves->roots_most = (uint32_t)record->count;
    return r;
}

static void known_free(struct known *known)
{
    if (!known)
        return;
    free(known->now.word);
    free(known->next.word);
    free(known->edge);
    free(known);
}

/* An owner that dies leaves its raw block to nobody. */
static int on_dead(struct decoder *decoder, const struct mtr_record *record)
{
    struct moves *moves = decoder->moves;
    if (decoder->changes)               /* no root set: not an epoch */
        return -EINVAL;
    for (uint64_t i = 0; i < record->count; i++) {
        struct known *known = known_of(decoder, record->ids[i]);
        if (!known)
            return -EINVAL;
        if (!table_room(&moves->dead, &decoder->room[TABLE_DEAD], moves->deads, sizeof *moves->dead))
            return -ENOMEM;
        moves->dead[moves->deads++] = known->name;
        decoder->name_free[decoder->names_free++] = known->name;
        decoder->live_bytes -= alloc_of(decoder, known)->bytes;
        for (uint64_t e = 0; e < known->edges; e++) {
            struct known *target = known_of(decoder, known->edge[e].target);
            if (target && target->owner == known)
                target->owner = NULL;
        }
        decoder->by_id[known->id] = NULL;
        known_free(known);
    }
    if (!table_room(&moves->epoch, &decoder->room[TABLE_EPOCH], moves->epochs, sizeof *moves->epoch))
        return -ENOMEM;
    moves->epoch[moves->epochs++] = (struct moves_epoch){ moves->allocs, moves->stores, moves->roots, moves->deads, decoder->live_bytes };
    if (decoder->live_bytes > moves->live_bytes_most)
        moves->live_bytes_most = decoder->live_bytes;
    decoder->fresh_begin = moves->allocs;
    return 0;
}

/* ---- Loading ---- */

static void types_make(struct moves *moves, const struct steps *steps)
{
    static const struct { const char *name; enum moves_kind kind; } known[] = {
        { "raw", MOVES_RAW }, { "array", MOVES_ARRAY }, { "map", MOVES_MAP }, { "string", MOVES_STRING },
    };
    moves->types = steps->types;
    for (uint32_t i = 0; i < steps->types; i++) {
        struct moves_type *type = &moves->type[i];
        *type = (struct moves_type){ .bytes = steps->type[i].bytes, .refs = steps->type[i].refs };
        memcpy(type->name, steps->type[i].name, sizeof type->name);
        type->kind = strncmp(type->name, "unnamed-", 8) == 0 ? MOVES_UNTYPED : MOVES_PLAIN;
        for (unsigned k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(type->name, known[k].name) == 0)
                type->kind = known[k].kind;
        if (type->kind == MOVES_STRING)
            type->refs |= 1;
        if (type->kind == MOVES_RAW)
            type->refs = 0;
    }
}

static int records_read(struct decoder *decoder, struct mtr *trace)
{
    struct mtr_record record;
    int r = 0, more;
    while (r == 0 && (more = mtr_next(trace, &record)) != 0) {
        if (more < 0)
            return more;
        switch (record.op) {
        case MTR_ALLOC:   r = on_alloc(decoder, &record); break;
        case MTR_EDGES:   r = on_edges(decoder, &record); break;
        case MTR_ROOTSET: r = on_roots(decoder, &record); break;
        case MTR_DEAD:    r = on_dead(decoder, &record); break;
        case MTR_ROOTS:
            decoder->push += (uint32_t)record.push_count;
            decoder->pop += (uint32_t)record.pop_count;
            break;
        default: break;
        }
    }
    return r == 0 && (!decoder->moves->epochs || decoder->moves->deads != decoder->moves->allocs) ? -EINVAL : r;
}

static int trace_read(struct moves *moves, const struct steps *steps, const char *path)
{
    struct decoder decoder = { .moves = moves };
    struct mtr *trace = NULL;
    decoder.by_id = calloc(steps->allocs, sizeof *decoder.by_id);
    decoder.name_free = calloc(steps->allocs, sizeof *decoder.name_free);
    moves->alloc = calloc(steps->allocs, sizeof *moves->alloc);
    int r = decoder.by_id && decoder.name_free && moves->alloc ? mtr_open(path, &trace) : -ENOMEM;
    if (r == 0)
        r = records_read(&decoder, trace);
    moves->names = decoder.name_next;
    if (r < 0)
        fprintf(stderr, "%s: %s (%s)\n", path, strerror(-r), trace ? mtr_error(trace) : "not read");
    mtr_close(trace);
    for (uint64_t id = 0; decoder.by_id && id < moves->allocs; id++)
        known_free(decoder.by_id[id]);
    free(decoder.by_id);
    free(decoder.name_free);
    free(decoder.changed);
    return r;
}

int moves_load(struct moves *moves, const char *path, const char *stats_path)
{
    struct steps steps;
    memset(moves, 0, sizeof *moves);
    if (steps_load(&steps, path, stats_path) < 0)
        return -1;
    types_make(moves, &steps);
    int r = trace_read(moves, &steps, path);
    steps_unload(&steps);
    if (r < 0)
        moves_unload(moves);
    return r < 0 ? -1 : 0;
}

void moves_unload(struct moves *moves)
{
    free(moves->alloc);
    free(moves->store);
    free(moves->epoch);
    free(moves->root);
    free(moves->dead);
    memset(moves, 0, sizeof *moves);
}
