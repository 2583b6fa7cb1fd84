/* model.c — store buffers, and the walk through all states of a model. See model.h. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"

/* ---- Memory ---- */

uint8_t model_load(const struct model_memory *memory, unsigned side, unsigned word)
{
    for (unsigned i = memory->buffered[side]; i-- > 0;)
        if (memory->at[side][i] == word)
            return memory->value[side][i];
    return memory->word[word];
}

bool model_store_weak(struct model_memory *memory, unsigned side, unsigned word, uint8_t value)
{
    unsigned end = memory->buffered[side];
    if (end == MODEL_BUFFER)
        return false;
    memory->at[side][end] = (uint8_t)word;
    memory->value[side][end] = value;
    memory->buffered[side]++;
    return true;
}

bool model_store_seq_cst(struct model_memory *memory, unsigned side, unsigned word, uint8_t value)
{
    if (!model_drained(memory, side))
        return false;
    memory->word[word] = value;
    return true;
}

bool model_store(struct model_memory *memory, unsigned side, unsigned word, uint8_t value, bool weak)
{
    return weak ? model_store_weak(memory, side, word, value) : model_store_seq_cst(memory, side, word, value);
}

bool model_cas(struct model_memory *memory, unsigned side, unsigned word, uint8_t expected, uint8_t desired, bool *ret_swapped)
{
    if (!model_drained(memory, side))
        return false;
    *ret_swapped = memory->word[word] == expected;
    if (*ret_swapped)
        memory->word[word] = desired;
    return true;
}

bool model_flush(struct model_memory *memory, unsigned side)
{
    if (model_drained(memory, side))
        return false;
    memory->word[memory->at[side][0]] = memory->value[side][0];
    memory->buffered[side]--;
    for (unsigned i = 0; i < MODEL_BUFFER; i++) {           /* unused entries stay zero: equal states look equal */
        bool used = i < memory->buffered[side];
        memory->at[side][i] = used ? memory->at[side][i + 1] : 0;
        memory->value[side][i] = used ? memory->value[side][i + 1] : 0;
    }
    return true;
}

/* ---- The walk ---- */

struct edge { uint32_t from, to; };

struct walk {
    const struct model *model;
    const void  *plan;
    unsigned     flaw;
    char        *state;             /* count of them, in the order in which they were found */
    uint32_t    *from;              /* the state that each was found from */
    uint32_t    *table;             /* open hashing: number of a state + 1 */
    uint32_t     count, room, mask;
    struct edge *edge;
    uint32_t     edges, edge_room;
    char        *good;              /* for each state: a good end can be reached */
    const char  *complaint;
    uint32_t     complaint_at;
};

static void *state_at(const struct walk *walk, uint32_t at)
{
    return walk->state + at * walk->model->state_bytes;
}

static uint32_t state_hash(const void *state, size_t bytes)
{
    uint64_t hash = 0xcbf29ce484222325u, word;
    for (const char *at = state, *end = at + bytes; at < end; at += sizeof word) {
        word = 0;
        memcpy(&word, at, (size_t)(end - at) < sizeof word ? (size_t)(end - at) : sizeof word);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static void *grown(void *memory, uint64_t bytes)
{
    void *more = realloc(memory, bytes);
    assert_non_null(more);
    return more;
}

static void walk_grow(struct walk *walk)
{
    walk->room = walk->room ? 2 * walk->room : 1u << 12;
    walk->mask = 4 * walk->room - 1;
    walk->state = grown(walk->state, walk->room * walk->model->state_bytes);
    walk->from = grown(walk->from, walk->room * sizeof *walk->from);
    free(walk->table);
    walk->table = calloc(walk->mask + 1u, sizeof *walk->table);
    assert_non_null(walk->table);
    for (uint32_t i = 0; i < walk->count; i++) {
        uint32_t at = state_hash(state_at(walk, i), walk->model->state_bytes) & walk->mask;
        while (walk->table[at])
            at = (at + 1) & walk->mask;
        walk->table[at] = i + 1;
    }
}

/* The number of a state, new or seen before. */
static uint32_t walk_add(struct walk *walk, const void *state, uint32_t from)
{
    size_t bytes = walk->model->state_bytes;
    if (walk->count == walk->room)
        walk_grow(walk);
    uint32_t at = state_hash(state, bytes) & walk->mask;
    for (; walk->table[at]; at = (at + 1) & walk->mask)
        if (memcmp(state_at(walk, walk->table[at] - 1), state, bytes) == 0)
            return walk->table[at] - 1;
    memcpy(state_at(walk, walk->count), state, bytes);
    walk->from[walk->count] = from;
    walk->table[at] = ++walk->count;
    return walk->count - 1;
}

static void walk_edge(struct walk *walk, uint32_t from, uint32_t to)
{
    if (walk->edges == walk->edge_room) {
        walk->edge_room = walk->edge_room ? 2 * walk->edge_room : 1u << 14;
        walk->edge = grown(walk->edge, walk->edge_room * sizeof *walk->edge);
    }
    walk->edge[walk->edges++] = (struct edge){ from, to };
}

static void walk_complain(struct walk *walk, const char *complaint, uint32_t at)
{
    if (complaint && !walk->complaint) {
        walk->complaint = complaint;
        walk->complaint_at = at;
    }
}

/* Every step that can be made from state `at`. A step that changes nothing is none. */
static void walk_from(struct walk *walk, uint32_t at)
{
    const struct model *model = walk->model;
    char next[MODEL_STATE_MAX];
    bool moved = false;
    for (unsigned way = 0; way < model->ways; way++) {
        const char *complaint = NULL;
        memcpy(next, state_at(walk, at), model->state_bytes);
        if (!model->step(next, walk->plan, walk->flaw, way, &complaint))
            continue;
        uint32_t to = walk_add(walk, next, at);
        walk_complain(walk, complaint, to);
        if (to == at)
            continue;
        walk_edge(walk, at, to);
        moved = true;
    }
    if (!moved)
        walk_complain(walk, model->end(state_at(walk, at), walk->plan), at);
}

/* Marks what leads to a good end, backwards. States without an edge are ends, and all of them good by now. */
static void walk_mark_good(struct walk *walk)
{
    uint32_t *first = calloc(walk->count + 2u, sizeof *first);              /* edges by target: [first[to], first[to + 1]) */
    uint32_t *source = calloc(walk->edges + 1u, sizeof *source);
    uint32_t *queue = calloc(walk->count, sizeof *queue), queued = 0;
    walk->good = calloc(walk->count, 1);
    assert_true(first && source && queue && walk->good);
    memset(walk->good, 1, walk->count);
    for (uint32_t i = 0; i < walk->edges; i++) {
        first[walk->edge[i].to + 2]++;
        walk->good[walk->edge[i].from] = 0;
    }
    for (uint32_t i = 1; i < walk->count; i++)
        first[i + 1] += first[i];
    for (uint32_t i = 0; i < walk->edges; i++)
        source[first[walk->edge[i].to + 1]++] = walk->edge[i].from;
    for (uint32_t i = 0; i < walk->count; i++)
        if (walk->good[i])
            queue[queued++] = i;
    for (uint32_t i = 0; i < queued; i++)
        for (uint32_t k = first[queue[i]]; k < first[queue[i] + 1]; k++)
            if (!walk->good[source[k]]) {
                walk->good[source[k]] = 1;
                queue[queued++] = source[k];
            }
    free(first);
    free(source);
    free(queue);
}

static void walk_print(const struct walk *walk, uint32_t at)
{
    if (at != 0)
        walk_print(walk, walk->from[at]);
    walk->model->print(state_at(walk, at));
}

/* Walks everything, or up to the first complaint. Returns the complaint. */
static const char *walk_run(const struct model *model, const struct model_setup *setup, unsigned flaw, bool print, uint32_t *ret_states)
{
    struct walk walk = { .model = model, .plan = setup->plan, .flaw = flaw };
    char start[MODEL_STATE_MAX];
    assert_true(model->state_bytes <= sizeof start);
    memset(start, 0, sizeof start);
    if (model->start)
        model->start(start, setup->plan);
    walk_add(&walk, start, 0);
    for (uint32_t at = 0; at < walk.count && !walk.complaint; at++)
        walk_from(&walk, at);
    if (!walk.complaint) {
        walk_mark_good(&walk);
        for (uint32_t at = 0; at < walk.count && !walk.complaint; at++)
            if (!walk.good[at])
                walk_complain(&walk, "from here on everybody turns in circles", at);
    }
    if (walk.complaint && print) {
        print_error("%s: %s, on this way:\n", setup->name, walk.complaint);
        walk_print(&walk, walk.complaint_at);
    }
    *ret_states = walk.count;
    free(walk.state);
    free(walk.from);
    free(walk.table);
    free(walk.edge);
    free(walk.good);
    return walk.complaint;
}

void model_holds(const struct model *model)
{
    for (unsigned i = 0; i < model->setups; i++) {
        uint32_t states;
        const char *complaint = walk_run(model, &model->setup[i], 0, true, &states);
        print_message("%s: %u states\n", model->setup[i].name, states);
        if (complaint)
            fail_msg("%s", complaint);
        assert_true(states > 1000);                                         /* it has walked indeed */
    }
}

void model_finds(const struct model *model, unsigned flaw)
{
    for (unsigned i = 0; i < model->setups; i++) {
        uint32_t states;
        const char *complaint = walk_run(model, &model->setup[i], flaw, getenv("MORPH_TEST_VERBOSE") != NULL, &states);
        if (!complaint)
            continue;
        print_message("found in '%s' after %u states: %s\n", model->setup[i].name, states, complaint);
        return;
    }
    fail_msg("the model did not notice");
}
