/* replay_collected.c — builds the object graph of a real program (a trace, see tests/data/README.md) in a collected heap, and compares
 * the collector's view of what is alive with the trace's.
 *
 *   replay_collected TRACE [--every N] [--minor] [--compact] [--roots KIND] [--mode MODE] [--limit SIZE] [--young SIZE] [--stats FILE]
 *
 * Each object of the trace is an object of the heap, with as many bytes of a pattern as the program had, and a vector of references, one
 * for each slot that the trace knows. The root set of the latest epoch is all that keeps objects alive, and until that epoch ends, what was
 * allocated in it. Every N-th epoch everything is collected; then
 *   - what the trace says is alive has its pattern, its word, its identity hash and its references;
 *   - what it says is dead is gone: its weak handle says NULL;
 *   - the bytes that the collector found alive are those of the trace's living objects, exactly.
 * How an epoch goes over into the next: objects that the new edges and roots name are held by a frame, edges are stored in a stretch
 * that has no safepoint, the roots follow. One thread.
 *
 * Exit status: 0 all is as the trace says, 1 it is not, 2 wrong usage. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <morphmem/morphmem.h>

#include "tests/clients/size.h"
#include "tests/lib/mtr.h"

#define TYPES_MAX    256u
#define HANDLES_MAX  262144u
#define FRESH_MAX    4096u              /* allocations of an epoch */
#define ROOTS_MAX    65536u             /* rooted at a time */
#define WAITING_MAX  100000u            /* dead ones that wait to be looked at, before a collection is made for them */

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "replay_collected: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void *memory_check(void *memory)
{
    return memory ? memory : (die("out of memory"), NULL);
}

static void heap_check(int r, const char *what)
{
    if (r < 0)
        die("%s: %s", what, morph_strerror(r));
}

/* ---- What is in the heap, and what should be ---- */

struct object { struct links *links; uint32_t id, bytes; unsigned char pattern[]; };
struct links { struct object *target[1]; };     /* as many as the array has */

/* One for each object of the trace that lives, or died since the latest collection. Found by its weak handle's index. */
struct known {
    struct mtr_edge *edge;
    uint64_t edges, slots;              /* slots: of the vector in the heap; 0: none */
    uint32_t id, bytes, hash;
    bool     used, dead, changed;       /* changed: `edge` is not in the heap yet */
};

enum kind { KIND_FRAME, KIND_VECTOR, KIND_HANDLES, KIND_VARIABLES, KIND_VISITOR, KIND_LETTERS, KIND_COUNT };
static const char *const kind_name[KIND_COUNT] = { "frame", "vector", "handles", "variables", "visitor", "letters" };
static const char *const mode_name[] = { [MORPH_RUNTIME] = "runtime", [MORPH_VM] = "vm", [MORPH_SERVER] = "server" };

struct options {
    const char *trace, *stats;
    enum kind roots;
    enum morph_collection collection;
    morph_options heap;
    uint64_t every;
    bool minor;
};

struct replay {
    const struct options *options;
    morph_heap *heap;
    morph_thread *thread;
    morph_type type[TYPES_MAX], links_type;

    struct known *known;                /* by index of handle */
    uint32_t known_high, living, waiting;
    uint32_t *handle;                   /* by id; 0: dead and seen to be gone */
    uint64_t ids, handle_room;
    uint32_t *changed, changes, changed_room;

    void **fresh;                       /* a frame: what was allocated in this epoch */
    uint32_t fresh_count;
    void **root;                        /* FRAME: a frame; VECTOR: a frame of one; VARIABLES, VISITOR, LETTERS: an array */
    morph_handle *root_handle;          /* HANDLES */
    uint32_t root_count;

    uint64_t epochs, checks, objects_checked, peak_bytes;
};

static uint64_t extent_of(uint64_t payload_bytes)
{
    return (payload_bytes + MORPH_HEADER_BYTES + MORPH_GRANULE_BYTES - 1) & ~(uint64_t)(MORPH_GRANULE_BYTES - 1);
}

static unsigned char pattern_of(uint32_t id, uint32_t at)
{
    return (unsigned char)(id * 167u + at * 31u + 13u);
}

static struct object *object_at(struct replay *replay, uint32_t index)
{
    return morph_handle_get(replay->thread, (morph_handle){ index });
}

static uint32_t index_of(struct replay *replay, uint64_t id)
{
    if (id >= replay->ids || !replay->handle[id] || replay->known[replay->handle[id]].dead)
        die("the trace is damaged: it uses object %llu, which is dead", (unsigned long long)id);
    return replay->handle[id];
}

/* ---- Types ---- */

static void types_register(struct replay *replay)
{
    static struct mtr_type row[TYPES_MAX];
    const struct options *options = replay->options;
    char beside[4096], name[80];
    uint32_t count = 0;
    size_t stem = strlen(options->trace);
    if (stem > 7 && strcmp(options->trace + stem - 7, ".mtr.xz") == 0)
        stem -= 7;
    snprintf(beside, sizeof beside, "%.*s.stats", (int)stem, options->trace);
    if (mtr_types_read(options->stats ? options->stats : beside, row, TYPES_MAX, &count) < 0 || count == 0)
        die("%s: no table of types", options->stats ? options->stats : beside);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%u %s", i, row[i].name);
        morph_type_spec spec = { .name = name, .bytes = sizeof(struct object), .refs = MORPH_REFS(struct object, links), .element_bytes = 1 };
        heap_check(morph_type_register(replay->heap, &spec, &replay->type[i]), name);
    }
    morph_type_spec links = { .name = "links", .element_bytes = sizeof(void *), .element_refs = MORPH_ELEMENT_IS_REF };
    heap_check(morph_type_register(replay->heap, &links, &replay->links_type), "links");
}

/* ---- Roots: six ways to say the same ---- */

static void on_roots(void *argument, morph_root_report report, void *to)
{
    struct replay *replay = argument;
    for (uint32_t i = 0; i < replay->root_count; i++)
        report(to, &replay->root[i]);
}

static void roots_begin(struct replay *replay)
{
    enum kind kind = replay->options->roots;
    if (kind == KIND_FRAME || kind == KIND_VECTOR)
        replay->root = morph_frame_push(replay->thread, (kind == KIND_FRAME ? ROOTS_MAX : 1) * sizeof(void *));
    else
        replay->root = calloc(ROOTS_MAX, sizeof(void *));
    memory_check(replay->root);
    replay->root_handle = memory_check(calloc(ROOTS_MAX, sizeof *replay->root_handle));
    if (kind == KIND_VISITOR)
        heap_check(morph_thread_on_roots(replay->thread, on_roots, replay), "visitor");
}

static void roots_fill(struct replay *replay, void *const *object, uint32_t count)
{
    uint32_t before = replay->root_count;
    for (uint32_t i = 0; i < count; i++)
        replay->root[i] = object[i];
    for (uint32_t i = count; i < before; i++)
        replay->root[i] = NULL;
    replay->root_count = count;
}

static void roots_fill_vector(struct replay *replay, void *const *object, uint32_t count)
{
    struct links *vector = morph_new_array(replay->thread, replay->links_type, count);
    if (!vector)
        heap_check(morph_thread_error(replay->thread), "roots");
    for (uint32_t i = 0; i < count; i++)
        morph_store(replay->thread, vector, &vector->target[i], object[i]);
    replay->root[0] = vector;
    replay->root_count = count;
}

static void roots_fill_handles(struct replay *replay, void *const *object, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (i < replay->root_count)
            morph_handle_set(replay->thread, replay->root_handle[i], object[i]);
        else if ((replay->root_handle[i] = morph_handle_new(replay->thread, object[i])).index == 0)
            die("no handle left for a root");
    for (uint32_t i = count; i < replay->root_count; i++)
        morph_handle_free(replay->thread, replay->root_handle[i]);
    replay->root_count = count;
}

static void roots_fill_variables(struct replay *replay, void *const *object, uint32_t count)
{
    morph_root_pop(replay->thread, replay->root_count);
    roots_fill(replay, object, count);
    for (uint32_t i = 0; i < count; i++)
        heap_check(morph_root_push(replay->thread, &replay->root[i]), "variable");
}

/* `object` is a frame, so what it names stays right and alive throughout. */
static void roots_set(struct replay *replay, void *const *object, uint32_t count)
{
    switch (replay->options->roots) {
    case KIND_VECTOR:    roots_fill_vector(replay, object, count); break;
    case KIND_HANDLES:   roots_fill_handles(replay, object, count); break;
    case KIND_VARIABLES: roots_fill_variables(replay, object, count); break;
    default:             roots_fill(replay, object, count);
    }
    if (replay->options->roots == KIND_LETTERS)
        heap_check(morph_roots_report(replay->thread, 1, replay->root, count), "root set");
}

/* Bytes in the heap that the roots themselves take. */
static uint64_t roots_bytes(const struct replay *replay)
{
    return replay->options->roots == KIND_VECTOR && replay->root[0] ? extent_of(replay->root_count * sizeof(void *)) : 0;
}

/* ---- Objects ---- */

static struct known *known_add(struct replay *replay, struct object *object, uint32_t id, uint32_t bytes)
{
    morph_handle handle = morph_handle_new_weak(replay->thread, object);
    if (handle.index == 0)
        die("no handle left for object %u", id);
    if (replay->ids == replay->handle_room) {
        replay->handle_room = replay->handle_room ? replay->handle_room * 2 : 4096;
        replay->handle = memory_check(realloc(replay->handle, replay->handle_room * sizeof *replay->handle));
    }
    replay->handle[replay->ids++] = handle.index;
    if (handle.index >= replay->known_high)
        replay->known_high = handle.index + 1;
    replay->living++;
    struct known *known = &replay->known[handle.index];
    *known = (struct known){ .id = id, .bytes = bytes, .used = true };
    return known;
}

static void object_allocate(struct replay *replay, const struct mtr_record *record)
{
    uint32_t id = (uint32_t)record->id, bytes = (uint32_t)record->bytes;
    if (record->type >= TYPES_MAX || !replay->type[record->type] || replay->fresh_count == FRESH_MAX)
        die("the trace has an unknown type, or too long an epoch");
    struct object *object = morph_new_array(replay->thread, replay->type[record->type], bytes);
    if (!object)
        heap_check(morph_thread_error(replay->thread), "allocation");
    object->id = id;
    object->bytes = bytes;
    for (uint32_t i = 0; i < bytes; i++)
        object->pattern[i] = pattern_of(id, i);
    morph_object_set_word(object, id);
    replay->fresh[replay->fresh_count++] = object;
    struct known *known = known_add(replay, object, id, bytes);
    if (id % 16 == 0)
        known->hash = morph_identity_hash(replay->thread, object);
}

static void known_forget(struct replay *replay, uint32_t index)
{
    struct known *known = &replay->known[index];
    replay->handle[known->id] = 0;
    morph_handle_free(replay->thread, (morph_handle){ index });
    free(known->edge);
    *known = (struct known){ 0 };
}

/* ---- Edges ---- */

/* Remembers an EDGES record until the epoch ends. */
static void edges_note(struct replay *replay, const struct mtr_record *record)
{
    uint32_t index = index_of(replay, record->id);
    struct known *known = &replay->known[index];
    uint64_t bytes = record->count * sizeof *known->edge;
    free(known->edge);
    known->edge = memory_check(malloc(bytes ? bytes : 1));
    memcpy(known->edge, record->edges, bytes);
    known->edges = record->count;
    if (known->changed)
        return;
    known->changed = true;
    if (replay->changes == replay->changed_room) {
        replay->changed_room = replay->changed_room ? replay->changed_room * 2 : 1024;
        replay->changed = memory_check(realloc(replay->changed, replay->changed_room * sizeof *replay->changed));
    }
    replay->changed[replay->changes++] = index;
}

/* A vector with room for all slots, with the references of the old one: what can be reached stays the same. */
static void links_grow(struct replay *replay, uint32_t index)
{
    struct known *known = &replay->known[index];
    uint64_t slots = 0;
    for (uint64_t i = 0; i < known->edges; i++)
        if (known->edge[i].slot >= slots)
            slots = known->edge[i].slot + 1;
    if (slots <= known->slots)
        return;
    struct links *links = morph_new_array(replay->thread, replay->links_type, slots);
    struct object *object = object_at(replay, index);
    if (!links || !object)
        die("object %u: %s", known->id, links ? "gone, though it is alive" : morph_strerror(morph_thread_error(replay->thread)));
    if (known->slots)
        morph_copy_refs(replay->thread, links, &links->target[0], &object->links->target[0], known->slots);
    morph_store(replay->thread, object, &object->links, links);
    known->slots = slots;
}

static int edge_compare(const void *a, const void *b)
{
    const struct mtr_edge *x = a, *y = b;
    return (x->slot > y->slot) - (x->slot < y->slot);
}

/* Stores what differs. No safepoint. */
static void links_store(struct replay *replay, uint32_t index)
{
    struct known *known = &replay->known[index];
    const struct object *object = object_at(replay, index);
    uint64_t at = 0;
    if (!object)
        die("object %u is gone, though it is alive", known->id);
    qsort(known->edge, known->edges, sizeof *known->edge, edge_compare);
    for (uint64_t slot = 0; slot < known->slots; slot++) {
        struct object *target = NULL;
        if (at < known->edges && known->edge[at].slot == slot)
            target = object_at(replay, index_of(replay, known->edge[at++].target));
        if (object->links->target[slot] != target)
            morph_store(replay->thread, object->links, &object->links->target[slot], target);
    }
    if (at < known->edges)
        die("the trace is damaged: object %u has a slot twice", known->id);
    known->changed = false;
}

static void epoch_turn(struct replay *replay, const struct mtr_record *record)
{
    uint32_t count = (uint32_t)record->count;
    if (record->count > ROOTS_MAX)
        die("the trace has too many roots");
    for (uint32_t i = 0; i < replay->changes; i++)
        links_grow(replay, replay->changed[i]);
    void **hold = memory_check(morph_frame_push(replay->thread, count * sizeof(void *)));
    for (uint32_t i = 0; i < count; i++)
        if (!(hold[i] = object_at(replay, index_of(replay, record->ids[i]))))
            die("object %llu is gone, though it is a root", (unsigned long long)record->ids[i]);
    for (uint32_t i = 0; i < replay->changes; i++)
        links_store(replay, replay->changed[i]);
    replay->changes = 0;
    roots_set(replay, hold, count);
    morph_frame_pop(replay->thread, hold);
    memset(replay->fresh, 0, replay->fresh_count * sizeof(void *));
    replay->fresh_count = 0;
}

/* ---- The comparison ---- */

static void object_check(struct replay *replay, uint32_t index)
{
    const struct known *known = &replay->known[index];
    struct object *object = object_at(replay, index);
    uint64_t at = 0;
    if (!object)
        die("object %u is gone, though it is alive", known->id);
    if (object->id != known->id || object->bytes != known->bytes || morph_object_word(object) != known->id ||
        morph_object_bytes(object) != sizeof *object + known->bytes)
        die("object %u has another's header or fields", known->id);
    for (uint32_t i = 0; i < known->bytes; i++)
        if (object->pattern[i] != pattern_of(known->id, i))
            die("object %u: byte %u was overwritten", known->id, i);
    if (known->hash && morph_identity_hash(replay->thread, object) != known->hash)
        die("object %u has another identity hash than before", known->id);
    for (uint64_t slot = 0; slot < known->slots; slot++) {
        const struct object *target = NULL;
        if (at < known->edges && known->edge[at].slot == slot)
            target = object_at(replay, index_of(replay, known->edge[at++].target));
        if (object->links->target[slot] != target)
            die("object %u: slot %llu refers to something else", known->id, (unsigned long long)slot);
    }
}

/* Everything that is known, after everything was collected. */
static void heap_compare(struct replay *replay)
{
    morph_heap_stats stats;
    uint64_t bytes = roots_bytes(replay);
    for (uint32_t index = 1; index < replay->known_high; index++) {
        struct known *known = &replay->known[index];
        if (!known->used)
            continue;
        if (known->dead) {
            if (object_at(replay, index))
                die("object %u is still there, though it is dead", known->id);
            known_forget(replay, index);
            continue;
        }
        object_check(replay, index);
        replay->objects_checked++;
        bytes += extent_of(sizeof(struct object) + known->bytes) + (known->slots ? extent_of(known->slots * sizeof(void *)) : 0);
    }
    replay->waiting = 0;
    replay->checks++;
    if (bytes > replay->peak_bytes)
        replay->peak_bytes = bytes;
    heap_check(morph_heap_stats_get(replay->heap, &stats), "statistics");
    if (stats.live_bytes != bytes)
        die("epoch %llu: the collector finds %llu bytes alive, and the trace %llu", (unsigned long long)replay->epochs,
            (unsigned long long)stats.live_bytes, (unsigned long long)bytes);
}

static void collect(struct replay *replay, enum morph_collection kind)
{
    heap_check(morph_collect(replay->thread, kind), "collection");
}

static void epoch_end(struct replay *replay, const struct mtr_record *record)
{
    for (uint64_t i = 0; i < record->count; i++)
        replay->known[index_of(replay, record->ids[i])].dead = true;
    replay->waiting += (uint32_t)record->count;
    replay->living -= (uint32_t)record->count;
    replay->epochs++;
    if (replay->epochs % replay->options->every == 0 || replay->living == 0 || replay->waiting > WAITING_MAX) {
        collect(replay, replay->options->collection);
        heap_compare(replay);
    } else if (replay->options->minor) {
        collect(replay, MORPH_COLLECT_MINOR);
    }
}

/* ---- The replay ---- */

static void replay_begin(struct replay *replay)
{
    heap_check(morph_heap_open(&replay->heap, &replay->options->heap), "heap");
    heap_check(morph_thread_attach(replay->heap, &replay->thread), "thread");
    types_register(replay);
    replay->known = memory_check(calloc(HANDLES_MAX, sizeof *replay->known));
    replay->fresh = memory_check(morph_frame_push(replay->thread, FRESH_MAX * sizeof(void *)));
    roots_begin(replay);
}

static void records_play(struct replay *replay, struct mtr *trace)
{
    struct mtr_record record;
    int more;
    while ((more = mtr_next(trace, &record)) > 0)
        switch (record.op) {
        case MTR_ALLOC:   object_allocate(replay, &record); break;
        case MTR_EDGES:   edges_note(replay, &record); break;
        case MTR_ROOTSET: epoch_turn(replay, &record); break;
        case MTR_DEAD:    epoch_end(replay, &record); break;
        default:          break;
        }
    if (more < 0)
        die("%s: %s", replay->options->trace, mtr_error(trace));
    if (replay->living)
        die("the trace ends with %u objects alive", replay->living);
}

static void replay_end(struct replay *replay)
{
    morph_heap_stats stats;
    heap_check(morph_heap_stats_get(replay->heap, &stats), "statistics");
    printf("%llu objects, %llu epochs, %llu collections; compared %llu times, %llu living objects, at most %llu bytes\n",
           (unsigned long long)replay->ids, (unsigned long long)replay->epochs, (unsigned long long)stats.collections,
           (unsigned long long)replay->checks, (unsigned long long)replay->objects_checked, (unsigned long long)replay->peak_bytes);
    heap_check(morph_thread_detach(replay->thread), "thread");
    heap_check(morph_heap_close(replay->heap), "heap");
    if (replay->options->roots != KIND_FRAME && replay->options->roots != KIND_VECTOR)
        free(replay->root);
    free(replay->root_handle);
    free(replay->known);
    free(replay->handle);
    free(replay->changed);
}

/* ---- Command line ---- */

static void usage_print(FILE *file)
{
    fprintf(file, "usage: replay_collected TRACE [options]\n"
                  "  --every N      collect everything and compare at every N-th epoch (default 1)\n"
                  "  --minor        collect the young generation at the others\n"
                  "  --compact      collect with MORPH_COLLECT_COMPACT\n"
                  "  --roots KIND   frame (default), vector, handles, variables, visitor, letters\n"
                  "  --mode MODE    runtime (default), vm, server\n"
                  "  --limit SIZE   of the heap (default 64M)\n"
                  "  --young SIZE   of the young generation, least and most\n"
                  "  --stats FILE   the table of types (default: beside the trace)\n");
}

/* The index of a word in a list; false: it is not there. */
static bool word_find(const char *word, const char *const *list, unsigned count, unsigned *ret_index)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] && strcmp(word, list[i]) == 0) {
            *ret_index = i;
            return true;
        }
    return false;
}

static bool options_parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        { "every", 1, NULL, 'e' }, { "minor", 0, NULL, 'i' }, { "compact", 0, NULL, 'c' }, { "roots", 1, NULL, 'r' },
        { "mode", 1, NULL, 'm' },  { "limit", 1, NULL, 'l' }, { "young", 1, NULL, 'y' },   { "stats", 1, NULL, 's' },
        { "help", 0, NULL, 'h' },  { 0 },
    };
    unsigned index = 0;
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", known, NULL)) != -1;)
        switch (c) {
        case 'e': good = size_parse(optarg, &options->every) && options->every > 0; break;
        case 'i': options->minor = true; break;
        case 'c': options->collection = MORPH_COLLECT_COMPACT; break;
        case 'r': good = word_find(optarg, kind_name, KIND_COUNT, &index); options->roots = index; break;
        case 'm': good = word_find(optarg, mode_name, sizeof mode_name / sizeof *mode_name, &index); options->heap.mode = index; break;
        case 'l': good = size_parse(optarg, &options->heap.limit_bytes); break;
        case 'y': good = size_parse(optarg, &options->heap.young_max_bytes); options->heap.young_min_bytes = options->heap.young_max_bytes; break;
        case 's': options->stats = optarg; break;
        case 'h': usage_print(stdout); exit(0);
        default:  good = false;
        }
    options->trace = argc - optind == 1 ? argv[optind] : NULL;
    return good && options->trace;
}

int main(int argc, char **argv)
{
    static struct replay replay;
    static struct options options = { .every = 1, .collection = MORPH_COLLECT_MAJOR,
                                      .heap = { .mode = MORPH_RUNTIME, .name = "replay", .limit_bytes = 64 << 20 } };
    struct mtr *trace;
    if (!options_parse(&options, argc, argv)) {
        usage_print(stderr);
        return 2;
    }
    if (mtr_open(options.trace, &trace) < 0)
        die("%s: not a trace", options.trace);
    replay.options = &options;
    replay_begin(&replay);
    records_play(&replay, trace);
    replay_end(&replay);
    mtr_close(trace);
    return fflush(stdout) != 0;
}
