/* morph.c — what compiled Morph programs see of their memory system: the same source for malloc (subject/morph_malloc.c) and for the layer.
 *
 *   bench-morph lexer-keep EPOCHS | conservative MIB        bench-morph-malloc lexer-keep EPOCHS
 *
 * What is measured is said in docs/benchmarks.md. One thread. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/common/clock.h"
#include "tests/bench/common/random.h"
#include "tests/bench/workload/receipts.h"
#include "tests/bench/workload/work.h"
#include "tests/clients/moves_types.h"
#include "tests/lib/own_heap.h"

#define MIB ((uint64_t)1 << 20)

struct MorphContext { void *anything[8]; };

static struct MorphContext context;

static _Noreturn void die(const char *sentence)
{
    fprintf(stderr, "bench-morph: %s\n", sentence);
    exit(3);
}

static void *memory_check(void *memory)
{
    return memory ? memory : (die("out of memory"), NULL);
}

/* The collector looks at this: its stores are not to be left out or put off, though nothing here reads them. */
static void memory_show(void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *value, unsigned count)
{
    qsort(value, count, sizeof *value, double_compare);
    return count ? value[count / 2] : 0;
}

/* ---- lexer-keep ---- */

#define VARIABLES_MAX 1024u
#define TEMPORARIES   32u

/* The program's variables, on the machine stack, as those are that compiled programs push. */
struct variables { void *root[VARIABLES_MAX], *fresh[VARIABLES_MAX], *temporary[TEMPORARIES]; };

/* By name the complements of addresses, in malloc memory, where nobody looks for references. */
static MorphTypeInfo *type_info[STEPS_TYPES_MAX];
static uint64_t *hidden;

static uint16_t stamp_of(const struct moves_alloc *alloc, const struct moves *moves)
{
    return (uint16_t)((alloc - moves->alloc) * 40503u >> 4 | 1u);
}

static bool is_stamped(const struct moves_alloc *alloc, const struct moves *moves)
{
    return alloc->fill && alloc->bytes >= 2 && !(moves->type[alloc->type].refs & 1);
}

/* Objects that keep their beginning to the end of their lives have something written there. */
static void object_write(void *object, uint32_t bytes, uint16_t stamp)
{
    if (bytes >= 8)
        *(uint64_t *)object = stamp;
    else
        *(uint16_t *)object = stamp;
}

static void allocs_play(const struct moves *moves, struct variables *variables, uint32_t from, uint32_t to, uint32_t *depth)
{
    for (uint32_t i = from; i < to; i++) {
        const struct moves_alloc *alloc = &moves->alloc[i];
        for (uint32_t k = 0; k < alloc->push; k++)
            mph_gc_push_root(&context, &variables->temporary[(*depth)++ % TEMPORARIES]);
        uint32_t pop = alloc->pop < *depth ? alloc->pop : *depth;
        if (pop)
            mph_gc_pop_roots(&context, (int)pop);
        *depth -= pop;
        void *object = mph_alloc(&context, alloc->bytes, type_info[alloc->type]);
        if (is_stamped(alloc, moves))
            object_write(object, alloc->bytes, stamp_of(alloc, moves));
        hidden[alloc->name] = ~(uint64_t)object;
        variables->fresh[i - from] = object;
        variables->temporary[i % TEMPORARIES] = object;
    }
}

static __attribute__((noinline)) void epochs_play(const struct moves *moves, uint32_t epochs)
{
    const struct moves_epoch zero = { 0 }, *before = &zero;
    uint32_t depth = 0;
    struct variables variables = { .root = { NULL } };
    memory_show(&variables);
    for (uint32_t e = 0; e < epochs; e++) {
        const struct moves_epoch *epoch = &moves->epoch[e];
        allocs_play(moves, &variables, before->alloc_end, epoch->alloc_end, &depth);
        for (uint32_t i = before->store_end; i < epoch->store_end; i++) {
            const struct moves_store *store = &moves->store[i];
            ((uint64_t *)~hidden[store->object])[store->word] = store->target == MOVES_NONE ? store->value : ~hidden[store->target];
        }
        for (uint32_t i = before->root_end; i < epoch->root_end; i++)
            variables.root[i - before->root_end] = (void *)~hidden[moves->root[i]];
        for (uint32_t i = epoch->root_end - before->root_end; i < moves->roots_most; i++)
            variables.root[i] = NULL;
        memset(variables.fresh, 0, (epoch->alloc_end - before->alloc_end) * sizeof(void *));
        before = epoch;
    }
    memory_show(&variables);
}

/* What is alive is what was written there: a sum of it, and the number of objects. */
static uint64_t living_sum(const struct moves *moves, uint32_t epochs)
{
    uint32_t *owner = memory_check(calloc(moves->names, sizeof *owner)), alloc = 0, dead = 0;
    uint64_t sum = 0;
    for (uint32_t e = 0; e < epochs; e++) {
        for (; alloc < moves->epoch[e].alloc_end; alloc++)
            owner[moves->alloc[alloc].name] = alloc + 1;
        for (; dead < moves->epoch[e].dead_end; dead++)
            owner[moves->dead[dead]] = 0;
    }
    for (uint32_t name = 0; name < moves->names; name++) {
        const struct moves_alloc *living = owner[name] ? &moves->alloc[owner[name] - 1] : NULL;
        if (!living)
            continue;
        sum += 1000003;
        if (!is_stamped(living, moves))
            continue;
        if (*(const uint16_t *)~hidden[name] != stamp_of(living, moves))
            die("an object that is alive was overwritten");
        sum += stamp_of(living, moves);
    }
    free(owner);
    return sum;
}

#ifdef SUBJECT_MORPH_MALLOC
static uint64_t heap_begin_bytes;

static uint64_t malloc_bytes(void)
{
    struct mallinfo2 all = mallinfo2();
    return all.uordblks + all.hblkhd;
}

static void heap_look(void) { heap_begin_bytes = malloc_bytes(); }

static bool heap_peak(uint64_t *ret_bytes)
{
    *ret_bytes = malloc_bytes() - heap_begin_bytes;         /* nothing was freed */
    return true;
}

static void heap_report(void) { }
#else
static void heap_look(void) { }

static bool heap_peak(uint64_t *ret_bytes) { return own_heap_figure(receipts_tool(), "peak_bytes", ret_bytes); }

static void heap_report(void)
{
    uint64_t majors;
    if (own_heap_figure(receipts_tool(), "majors", &majors))
        figure_report("collections", (double)majors);
}
#endif

static void lexer_keep_run(uint64_t size)
{
    static struct moves moves;
    uint64_t peak_bytes;
    if (moves_load(&moves, BENCH_DATA "/morph-lexer-keep.mtr.xz", NULL) < 0 || moves.roots_most > VARIABLES_MAX || moves.fresh_most > VARIABLES_MAX)
        die("no trace of the lexer");
    uint32_t epochs = size < moves.epochs - 1 ? (uint32_t)size : moves.epochs - 1;      /* the last one ends everything: not that one */
    hidden = memory_check(calloc(moves.names, sizeof *hidden));
    for (uint32_t i = 0; i < moves.types; i++)
        type_info[i] = moves_type_info(&moves, i);
    heap_look();
    uint64_t start_ns = clock_ns();
    mph_init_memory(&context);
    epochs_play(&moves, epochs);
    figure_report("time_ms", (double)(clock_ns() - start_ns) / 1e6);
    if (heap_peak(&peak_bytes)) {
        figure_report("heap_mb", (double)peak_bytes / (double)MIB);
        figure_report("times_live", (double)peak_bytes / (double)moves.live_bytes_most);
    }
    heap_report();
    check_report(living_sum(&moves, epochs));
    mph_destroy_memory(&context);
    free(hidden);
    moves_unload(&moves);
}

/* ---- conservative ---- */

#define ROUNDS     11u
#define TREES_MAX  65536u
#define TREE_DEPTH 10

struct node { struct node *left, *right; uint64_t number[]; };

static const uint32_t node_bytes[] = { 16, 24, 24, 32, 32, 48, 64, 128 };
#define SIZES (sizeof node_bytes / sizeof *node_bytes)

static size_t node_offset[] = { 0, 8 };
static MorphTypeInfo node_type[SIZES];
static struct node *tree[TREES_MAX];            /* static data of the program: looked at */

struct lot { bool typed; uint32_t seed; uint64_t objects, bytes; };

/* A tree of 2^(depth + 1) - 1 nodes. What does not refer is numbers, of which some are large. */
static struct node *tree_new(struct lot *lot, int depth)
{
    uint32_t size = random_below(&lot->seed, SIZES), bytes = node_bytes[size];
    struct node *node = mph_alloc(&context, bytes, lot->typed ? &node_type[size] : NULL);
    for (uint32_t i = 0; i < bytes / 8 - 2; i++)
        node->number[i] = random_next(&lot->seed) >> random_below(&lot->seed, 32);
    lot->objects++;
    lot->bytes += bytes;
    if (depth > 0) {
        node->left = tree_new(lot, depth - 1);
        node->right = tree_new(lot, depth - 1);
    }
    return node;
}

/* The same numbers in the same places as when it was made. */
static void tree_check(struct lot *lot, const struct node *node, int depth)
{
    uint32_t bytes = node_bytes[random_below(&lot->seed, SIZES)];
    for (uint32_t i = 0; i < bytes / 8 - 2; i++) {
        uint64_t number = random_next(&lot->seed);
        if (node->number[i] != number >> random_below(&lot->seed, 32))
            die("a node that is alive was overwritten");
    }
    if (depth > 0) {
        tree_check(lot, node->left, depth - 1);
        tree_check(lot, node->right, depth - 1);
    }
}

/* By the receipts: the trace alone, without stopping and sweeping. */
static void trace_report(const char *name, const struct receipts *receipts, uint64_t bytes)
{
    double ms[ROUNDS];
    unsigned count = 0;
    for (uint64_t i = receipts->count > ROUNDS ? receipts->count - ROUNDS : 0; i < receipts->count; i++)
        if (!receipts->item[i].minor)
            ms[count++] = (double)receipts->item[i].trace_ns / 1e6;
    double middle = median(ms, count);
    if (middle > 0)
        figure_report(name, (double)bytes / (double)MIB / (middle / 1e3));
}

struct names { const char *pause_ms, *mb_s, *mobjects_s, *trace_mb_s; };

static uint64_t collect_time(uint64_t live_bytes, bool typed, const struct names *names)
{
    struct lot lot = { .typed = typed, .seed = 3 }, again = { .seed = 3 };
    struct receipts receipts = { 0 };
    double ms[ROUNDS];
    uint64_t heap;
    uint32_t trees = 0;
    memory_show(tree);
    mph_init_memory(&context);
    for (; lot.bytes < live_bytes && trees < TREES_MAX; trees++)
        tree[trees] = tree_new(&lot, TREE_DEPTH);
    mph_gc_collect(&context);           /* what was never looked at before is a case of its own */
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t start_ns = clock_ns();
        mph_gc_collect(&context);
        ms[i] = (double)(clock_ns() - start_ns) / 1e6;
    }
    double seconds = median(ms, ROUNDS) / 1e3;
    figure_report(names->pause_ms, seconds * 1e3);
    figure_report(names->mb_s, (double)lot.bytes / (double)MIB / seconds);
    figure_report(names->mobjects_s, (double)lot.objects / 1e6 / seconds);
    if (own_heap_figure(receipts_tool(), "id", &heap)) {
        receipts_take(&receipts, heap);
        trace_report(names->trace_mb_s, &receipts, lot.bytes);
    }
    for (uint32_t i = 0; i < trees; i++)
        tree_check(&again, tree[i], TREE_DEPTH);
    memset(tree, 0, sizeof tree);
    free(receipts.item);
    mph_destroy_memory(&context);
    return lot.objects;
}

static void conservative_run(uint64_t mib)
{
    for (unsigned i = 0; i < SIZES; i++)
        node_type[i] = (MorphTypeInfo){ .name = "node", .size = node_bytes[i], .num_pointers = 2, .pointer_offsets = node_offset };
    uint64_t objects = collect_time(mib * MIB, false, &(struct names){ "untyped_ms", "untyped_mb_s", "untyped_mobjects_s", "untyped_trace_mb_s" });
    if (objects != collect_time(mib * MIB, true, &(struct names){ "typed_ms", "typed_mb_s", "typed_mobjects_s", "typed_trace_mb_s" }))
        die("other objects than before");
    check_report(objects);
}

int main(int argc, char **argv)
{
    uint64_t size = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (size && strcmp(argv[1], "lexer-keep") == 0)
        lexer_keep_run(size);
    else if (size && strcmp(argv[1], "conservative") == 0)
        conservative_run(size);
    else {
        fprintf(stderr, "usage: %s lexer-keep EPOCHS | conservative MIB   (normally started by tests/bench/bench)\n", argv[0]);
        return 2;
    }
    return fflush(stdout) != 0;
}
