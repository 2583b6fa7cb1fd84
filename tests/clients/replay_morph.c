/* replay_morph.c — a real program's allocations, roots and stores (a trace, see tests/data/README.md) through the interface that compiled Morph
 * programs call.
 *
 *   replay_morph --trace FILE [--check] [--every N] [--collect N] [--roots KIND] [--untyped] [--instrumented] [--json] [--stats FILE]
 *
 * The root set of the latest epoch and what was allocated since is in variables; where those are is the KIND: the machine `stack`, as in compiled
 * programs; `static` memory; memory of malloc that only `pushed` roots make known; an object of the `heap` without a type; or `interior`:
 * static memory, but the variables refer to the middle of the objects. Besides, roots are pushed and popped as the program did, those
 * that it left on the stack for ever included; with --instrumented each epoch is a function that takes them along at its end.
 * References are stored plainly. The replay's own tables are in malloc memory and hold the complements of addresses, so that they
 * keep nothing alive, whoever looks at them.
 *
 * With --check objects have bytes of their own, and at every N-th epoch (1) all that the trace says is alive is compared with a shadow, byte
 * by byte, references included. --collect N: everything is collected at every N-th epoch, before, and with --check as much garbage is made
 * as fills the heap. --untyped: all types are NULL.
 * Without --check only the time is of interest. Bounds and modes are set by the environment (MORPHMEM_LIMIT, MORPHMEM_MODE).
 *
 * Exit status: 0 all is as the trace says, 1 it is not, 2 wrong usage. One thread. */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/clients/moves_types.h"
#include "tests/lib/own_heap.h"

#define VARIABLES_MAX  8192u
#define GARBAGE_BYTES  32u
#define GARBAGE_TOTAL  (8u << 20)       /* as much as the bounds that this is run with: every hole is filled */
#define TEMPORARIES    32u              /* variables that are pushed again and again, as those of a few functions are */

struct MorphContext { void *anything[8]; };

enum kind { KIND_STACK, KIND_STATIC, KIND_PUSHED, KIND_HEAP, KIND_INTERIOR, KIND_COUNT };
static const char *const kind_name[KIND_COUNT] = { "stack", "static", "pushed", "heap", "interior" };

struct options {
    const char *trace, *stats;
    enum kind roots;
    uint64_t every, collect;
    bool check, untyped, instrumented, json;
};

/* By name. `shadow`: the complement of what the object holds. */
struct entry { uint64_t hidden; unsigned char *shadow; uint32_t bytes, id; bool alive; };

struct player {
    const struct options *options;
    struct moves moves;
    struct MorphContext context;
    MorphTypeInfo *type[STEPS_TYPES_MAX];
    struct entry *entry;
    void **variable;                    /* first the root set, then what was allocated in this epoch, then temporaries */
    uint32_t variables, fresh_at, temporary_at;
    uint32_t roots, fresh, temporary, depth;
    uint64_t objects_checked, checks, wall_ns;
};

static void *static_variable[VARIABLES_MAX];
static void **volatile static_place;     /* of the variables in the heap: all that refers to them, so it must not be left out for want of a reader */

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "replay_morph: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static void *memory_check(void *memory)
{
    return memory ? memory : (die("out of memory"), NULL);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The collector looks at this: its stores are not to be left out or put off, though nothing here reads them. */
static void memory_show(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* ---- Objects ---- */

static unsigned char *object_of(const struct player *player, uint32_t name)
{
    return (unsigned char *)~player->entry[name].hidden;
}

/* The most significant bit of each byte is set: no eight of them are an address. */
static unsigned char pattern_of(uint32_t id, uint32_t at)
{
    return (unsigned char)((id * 167u + at * 31u + 13u) | 0x80u);
}

/* What is no reference gets bytes of its own, in the object and in the shadow. */
static void object_fill(struct player *player, const struct moves_alloc *alloc, unsigned char *object)
{
    struct entry *entry = &player->entry[alloc->name];
    uint64_t refs = player->moves.type[alloc->type].refs;
    entry->shadow = memory_check(malloc(alloc->bytes ? alloc->bytes : 1));
    memset(entry->shadow, 0xff, alloc->bytes);
    for (uint32_t i = 0; alloc->fill && i < alloc->bytes; i++) {
        if (i / 8 < 64 && refs >> i / 8 & 1)
            continue;
        object[i] = pattern_of(entry->id, i);
        entry->shadow[i] = (unsigned char)~object[i];
    }
}

static void *variable_value(const struct player *player, uint32_t name)
{
    unsigned char *object = object_of(player, name);
    return player->options->roots == KIND_INTERIOR ? object + player->entry[name].bytes / 2 : object;
}

static void roots_move(struct player *player, const struct moves_alloc *alloc)
{
    for (uint32_t i = 0; i < alloc->push; i++)
        mph_gc_push_root(&player->context, &player->variable[player->temporary_at + player->depth++ % TEMPORARIES]);
    uint32_t pop = alloc->pop < player->depth ? alloc->pop : player->depth;
    if (pop)
        mph_gc_pop_roots(&player->context, (int)pop);
    player->depth -= pop;
}

static void object_allocate(struct player *player, uint32_t id)
{
    const struct moves_alloc *alloc = &player->moves.alloc[id];
    struct entry *entry = &player->entry[alloc->name];
    roots_move(player, alloc);
    unsigned char *object = mph_alloc(&player->context, alloc->bytes, player->type[alloc->type]);
    *entry = (struct entry){ .hidden = ~(uint64_t)object, .bytes = alloc->bytes, .id = id, .alive = true };
    if (player->options->check) {
        for (uint32_t i = 0; i < alloc->bytes; i++)
            if (object[i])
                die("object %u: byte %u of it is not zero at birth", id, i);
        object_fill(player, alloc, object);
    }
    player->variable[player->fresh_at + player->fresh++] = variable_value(player, alloc->name);
    player->variable[player->temporary_at + player->temporary++ % TEMPORARIES] = variable_value(player, alloc->name);
}

static void word_store(struct player *player, const struct moves_store *store)
{
    void **object = (void **)object_of(player, store->object);
    uint64_t word = store->target == MOVES_NONE ? store->value : ~player->entry[store->target].hidden;
    object[store->word] = (void *)word;
    if (!player->options->check)
        return;
    word = ~word;
    memcpy(player->entry[store->object].shadow + store->word * 8, &word, 8);
}

/* ---- The comparison ---- */

static void object_check(const struct entry *entry)
{
    const unsigned char *object = (const unsigned char *)~entry->hidden;
    uint32_t i = 0;
    for (uint64_t is, should; i + 8 <= entry->bytes; i += 8) {
        memcpy(&is, object + i, 8);
        memcpy(&should, entry->shadow + i, 8);
        if (is != ~should)
            die("object %u: word %u is not what was stored", entry->id, i / 8);
    }
    for (; i < entry->bytes; i++)
        if (object[i] != (unsigned char)~entry->shadow[i])
            die("object %u: byte %u was overwritten", entry->id, i);
}

static void heap_check(struct player *player)
{
    for (uint32_t name = 0; name < player->moves.names; name++)
        if (player->entry[name].alive) {
            object_check(&player->entry[name]);
            player->objects_checked++;
        }
    player->checks++;
}

/* ---- Epochs ---- */

/* Roots of before end where there are fewer of them now; what was fresh is held by a root, by an object, or not at all. */
static void roots_set(struct player *player, const uint32_t *root, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        player->variable[i] = variable_value(player, root[i]);
    for (uint32_t i = count; i < player->roots; i++)
        player->variable[i] = NULL;
    player->roots = count;
    memset(player->variable + player->fresh_at, 0, player->fresh * sizeof(void *));
    memset(player->variable + player->temporary_at, 0, TEMPORARIES * sizeof(void *));
    player->fresh = 0;
}

static void dead_forget(struct player *player, uint32_t name)
{
    free(player->entry[name].shadow);
    player->entry[name] = (struct entry){ 0 };
}

/* Everything is collected; and what was taken for dead has something else in its place, so that a comparison sees it. */
static void heap_collect(struct player *player)
{
    mph_gc_collect(&player->context);
    for (uint32_t i = 0; player->options->check && i < GARBAGE_TOTAL / GARBAGE_BYTES; i++)
        memset(mph_alloc(&player->context, GARBAGE_BYTES, &mph_ti_raw), 0xa5, GARBAGE_BYTES);
}

static void epoch_play(struct player *player, uint32_t number)
{
    static const struct moves_epoch first;
    const struct moves *moves = &player->moves;
    const struct moves_epoch *epoch = &moves->epoch[number], *before = number ? epoch - 1 : &first;
    const struct options *options = player->options;
    for (uint32_t i = before->alloc_end; i < epoch->alloc_end; i++)
        object_allocate(player, i);
    for (uint32_t i = before->store_end; i < epoch->store_end; i++)
        word_store(player, &moves->store[i]);
    roots_set(player, moves->root + before->root_end, epoch->root_end - before->root_end);
    for (uint32_t i = before->dead_end; i < epoch->dead_end; i++)
        dead_forget(player, moves->dead[i]);
    if (options->collect && number % options->collect == 0)
        heap_collect(player);
    if (options->check && number % options->every == 0)
        heap_check(player);
}

/* ---- The replay ---- */

static void variables_begin(struct player *player, void **on_stack)
{
    switch (player->options->roots) {
    case KIND_STACK:  player->variable = on_stack; break;
    case KIND_PUSHED: player->variable = memory_check(calloc(player->variables, sizeof(void *))); break;
    case KIND_HEAP:
        static_place = mph_alloc(&player->context, player->variables * sizeof(void *), NULL);
        player->variable = static_place;
        break;
    default: player->variable = static_variable;
    }
    if (player->options->roots == KIND_PUSHED)
        for (uint32_t i = 0; i < player->variables; i++)
            mph_gc_push_root(&player->context, &player->variable[i]);
}

static __attribute__((noinline)) void trace_play(struct player *player)
{
    void *on_stack[VARIABLES_MAX] = { NULL };
    variables_begin(player, on_stack);
    memory_show(player->variable);
    uint64_t start_ns = now_ns();
    for (uint32_t i = 0; i < player->moves.epochs; i++) {
        if (player->options->instrumented)
            __cyg_profile_func_enter((void *)(uintptr_t)trace_play, NULL);
        epoch_play(player, i);
        if (!player->options->instrumented)
            continue;
        __cyg_profile_func_exit((void *)(uintptr_t)trace_play, NULL);
        player->depth = 0;
    }
    player->wall_ns = now_ns() - start_ns;
    memory_show(on_stack);              /* until here */
}

static void player_begin(struct player *player)
{
    const struct moves *moves = &player->moves;
    player->fresh_at = moves->roots_most;
    player->temporary_at = player->fresh_at + moves->fresh_most;
    player->variables = player->temporary_at + TEMPORARIES;
    if (player->variables > VARIABLES_MAX)
        die("%s: too many roots, or too long an epoch", player->options->trace);
    player->entry = memory_check(calloc(moves->names + 1, sizeof *player->entry));
    for (uint32_t i = 0; i < moves->types; i++)
        player->type[i] = player->options->untyped ? NULL : moves_type_info(moves, i);
}

static void report(const struct player *player, bool has_peak, uint64_t peak_bytes)
{
    const struct moves *moves = &player->moves;
    bool json = player->options->json;
    printf(json ? "{\"trace\":\"%s\",\"allocations\":%u,\"payload_bytes\":%llu,\"live_bytes\":%llu,\"epochs\":%u,\"wall_ms\":%.3f"
                : "%s: %u objects, %llu bytes of payload, at most %llu alive, %u epochs, %.1f ms",
           player->options->trace, moves->allocs, (unsigned long long)moves->payload_bytes, (unsigned long long)moves->live_bytes_most,
           moves->epochs, (double)player->wall_ns / 1e6);
    if (has_peak)
        printf(json ? ",\"peak_bytes\":%llu" : ", at most %llu granted", (unsigned long long)peak_bytes);
    if (player->options->check)
        printf(json ? ",\"checks\":%llu,\"objects_checked\":%llu" : "; compared %llu times, %llu living objects",
               (unsigned long long)player->checks, (unsigned long long)player->objects_checked);
    printf(json ? "}\n" : "\n");
}

static int replay_run(const struct options *options)
{
    struct player *player = memory_check(calloc(1, sizeof *player));
    uint64_t peak_bytes = 0;
    player->options = options;
    if (moves_load(&player->moves, options->trace, options->stats) < 0)
        return 1;
    player_begin(player);
    mph_init_memory(&player->context);
    trace_play(player);
    bool has_peak = own_heap_figure("morphmemctl", "peak_bytes", &peak_bytes);
    mph_destroy_memory(&player->context);
    report(player, has_peak, peak_bytes);
    if (options->roots == KIND_PUSHED)
        free(player->variable);
    moves_unload(&player->moves);
    free(player->entry);
    free(player);
    return fflush(stdout) != 0;
}

/* ---- Command line ---- */

static bool number_parse(const char *text, uint64_t *ret_number)
{
    char *end;
    *ret_number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && !*end && *ret_number > 0;
}

static bool kind_parse(const char *text, enum kind *ret_kind)
{
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        if (strcmp(text, kind_name[kind]) == 0) {
            *ret_kind = (enum kind)kind;
            return true;
        }
    return false;
}

static bool options_parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        { "trace", 1, NULL, 't' }, { "check", 0, NULL, 'c' },   { "every", 1, NULL, 'e' },        { "collect", 1, NULL, 'g' },
        { "roots", 1, NULL, 'r' }, { "untyped", 0, NULL, 'u' }, { "instrumented", 0, NULL, 'i' }, { "json", 0, NULL, 'j' },
        { "stats", 1, NULL, 's' }, { 0 },
    };
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        switch (c) {
        case 't': options->trace = optarg; break;
        case 'c': options->check = true; break;
        case 'e': good = number_parse(optarg, &options->every); break;
        case 'g': good = number_parse(optarg, &options->collect); break;
        case 'r': good = kind_parse(optarg, &options->roots); break;
        case 'u': options->untyped = true; break;
        case 'i': options->instrumented = true; break;
        case 'j': options->json = true; break;
        case 's': options->stats = optarg; break;
        default:  good = false;
        }
    return good && options->trace && optind == argc;
}

int main(int argc, char **argv)
{
    struct options options = { .every = 1 };
    if (!options_parse(&options, argc, argv)) {
        fprintf(stderr, "usage: replay_morph --trace FILE [--check] [--every N] [--collect N] [--roots stack|static|pushed|heap|interior] "
                        "[--untyped] [--instrumented] [--json] [--stats FILE]\n");
        return 2;
    }
    return replay_run(&options);
}
