/* collections.c — what single collections cost, as the program sees them and as their receipts say (receipts.h).
 *
 *   bench-collections handshake ROUNDS | old-size MIB | card ROUNDS | pause COLLECTIONS | marking MIB | live-size MIB | fragmentation MIB
 *
 * What is measured is said in docs/benchmarks.md. Each workload opens the heaps that it needs. One thread. */
#include <stdlib.h>
#include <string.h>

#include <morphmem/morphmem.h>

#include "tests/bench/common/clock.h"
#include "tests/bench/common/random.h"
#include "tests/bench/workload/receipts.h"
#include "tests/bench/workload/work.h"

#define MIB ((uint64_t)1 << 20)

struct node { struct node *left, *right; uint64_t number; };           /* 48 bytes with its header */
struct page { struct page *next; unsigned char bytes[1000]; };         /* 1 KiB with its header */

static morph_heap *heap;
static morph_thread *thread;
static morph_type node_type, page_type, table_type;

static _Noreturn void die(const char *sentence)
{
    fprintf(stderr, "bench-collections: %s\n", sentence);
    exit(3);
}

static void check(int r)
{
    if (r < 0)
        die(morph_strerror(r));
}

static void *object_check(void *object)
{
    return object ? object : (check(morph_thread_error(thread)), die("no object"), NULL);
}

static void heap_open(const morph_options *options)
{
    check(morph_heap_open(&heap, options));
    check(morph_thread_attach(heap, &thread));
    check(morph_type_register(heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node),
        .refs = MORPH_REFS(struct node, left, right) }, &node_type));
    check(morph_type_register(heap, &(morph_type_spec){ .name = "page", .bytes = sizeof(struct page),
        .refs = MORPH_REFS(struct page, next) }, &page_type));
    check(morph_type_register(heap, &(morph_type_spec){ .name = "table", .element_bytes = sizeof(void *),
        .element_refs = MORPH_ELEMENT_IS_REF }, &table_type));
}

/* A heap with a young generation of one size, whose old one grows without a major collection. */
static void heap_begin(uint64_t limit_bytes, uint64_t young_bytes)
{
    heap_open(&(morph_options){ .mode = MORPH_RUNTIME, .name = "bench", .limit_bytes = limit_bytes, .gc_start_bytes = limit_bytes,
                                .young_min_bytes = young_bytes, .young_max_bytes = young_bytes });
}

static void server_begin(uint64_t limit_bytes)
{
    heap_open(&(morph_options){ .mode = MORPH_SERVER, .name = "bench", .limit_bytes = limit_bytes });
}

static void heap_end(void)
{
    check(morph_thread_detach(thread));
    check(morph_heap_close(heap));
}

static uint64_t collections(void)
{
    morph_heap_stats stats;
    check(morph_heap_stats_get(heap, &stats));
    return stats.collections;
}

/* ---- Lists of times ---- */

struct times { uint64_t *ns, count, room; };

static void times_add(struct times *times, uint64_t ns)
{
    if (times->count == times->room) {
        times->room = times->room ? times->room * 2 : 1024;
        times->ns = realloc(times->ns, times->room * sizeof *times->ns);
        if (!times->ns)
            die("out of memory");
    }
    times->ns[times->count++] = ns;
}

static int ns_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts. `part` 0 to 1; 0 if there are none. */
static double times_us(struct times *times, double part)
{
    if (!times->count)
        return 0;
    qsort(times->ns, times->count, sizeof *times->ns, ns_compare);
    uint64_t at = (uint64_t)(part * (double)times->count);
    return (double)times->ns[at < times->count ? at : times->count - 1] / 1e3;
}

/* Reports a quantile; nothing if nothing was measured. */
static double times_report(struct times *times, const char *name, double part)
{
    if (times->count)
        figure_report(name, times_us(times, part));
    return times_us(times, part);
}

static void ratio_report(const char *name, double value, double to)
{
    if (value > 0 && to > 0)
        figure_report(name, value / to);
}

enum part { PART_PAUSE, PART_STOP, PART_WAIT };

/* Of the minor collections from receipt number `from` on; the list is the caller's to free. */
static struct times receipts_times(const struct receipts *receipts, uint64_t from, enum part part)
{
    struct times times = { 0 };
    for (uint64_t i = from; i < receipts->count; i++) {
        const struct receipt *receipt = &receipts->item[i];
        if (receipt->minor)
            times_add(&times, part == PART_PAUSE ? receipt->pause_ns : part == PART_STOP ? receipt->stop_ns : receipt->wait_ns);
    }
    return times;
}

/* ---- handshake ---- */

/* morph_collect() with next to nothing in the heap. */
static void asked_time(uint64_t rounds)
{
    struct times times = { 0 };
    struct receipts receipts = { 0 };
    for (uint64_t i = 0; i < rounds; i++) {
        object_check(morph_new(thread, node_type));
        uint64_t start_ns = clock_ns();
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
        times_add(&times, clock_ns() - start_ns);
        if (i % RECEIPTS_EACH == RECEIPTS_EACH - 1 || i == rounds - 1)
            receipts_take(&receipts, morph_heap_id(heap));
    }
    double seen = times_report(&times, "asked_p50_us", 0.5);
    (void)times_report(&times, "asked_p99_us", 0.99);
    struct times pause = receipts_times(&receipts, 0, PART_PAUSE);
    if (pause.count)
        figure_report("asked_less_pause_us", seen - times_us(&pause, 0.5));
    free(times.ns);
    free(pause.ns);
    free(receipts.item);
}

/* Fills the nursery with garbage; the time of those few allocations in which a collection happened. */
static void filled_time(uint64_t rounds, const char *p50, const char *p99, const char *less_pause)
{
    struct times times = { 0 };
    struct receipts receipts = { 0 };
    uint64_t seen = collections(), looked = 0;
    while (times.count < rounds) {
        uint64_t start_ns = clock_ns();
        for (unsigned k = 0; k < 16; k++)
            object_check(morph_new(thread, node_type));
        uint64_t ns = clock_ns() - start_ns, now = collections();
        if (now == seen)
            continue;
        seen = now;
        times_add(&times, ns);
        if (less_pause && times.count - looked >= RECEIPTS_EACH) {
            looked = times.count;
            receipts_take(&receipts, morph_heap_id(heap));
        }
    }
    double wait = times_report(&times, p50, 0.5);
    (void)times_report(&times, p99, 0.99);
    if (less_pause) {
        receipts_take(&receipts, morph_heap_id(heap));
        struct times pause = receipts_times(&receipts, 0, PART_PAUSE);
        if (pause.count)
            figure_report(less_pause, wait - times_us(&pause, 0.5));
        free(pause.ns);
    }
    free(times.ns);
    free(receipts.item);
}

static void handshake_run(uint64_t rounds)
{
    heap_begin(64 * MIB, 2 * MIB);
    asked_time(rounds);
    filled_time(rounds, "2m_p50_us", "2m_p99_us", "2m_less_pause_us");
    heap_end();
    heap_begin(64 * MIB, MIB / 16);
    filled_time(rounds, "64k_p50_us", "64k_p99_us", NULL);
    heap_end();
}

/* ---- old-size ---- */

#define YOUNG_WORK  (256 * MIB)     /* allocated in the timed part */

/* A tree of 2^(depth + 1) - 1 nodes. */
static struct node *tree_new(int depth)
{
    struct { struct node *left, *right; } *frame = NULL;
    struct node *node;
    if (depth == 0)
        return object_check(morph_new(thread, node_type));
    frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->left = tree_new(depth - 1);
    frame->right = tree_new(depth - 1);
    node = object_check(morph_new(thread, node_type));
    node->left = frame->left;
    node->right = frame->right;
    morph_frame_pop(thread, frame);
    return node;
}

/* `bytes` of pages in a list at *head, a root. */
static void pages_fill(struct page **head, uint64_t bytes)
{
    for (uint64_t total = 0; total < bytes; total += sizeof(struct page) + MORPH_HEADER_BYTES) {
        struct page *page = object_check(morph_new(thread, page_type));
        page->next = *head;
        *head = page;
    }
    for (unsigned i = 0; i < 16; i++)               /* until the youngest are old as well */
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
}

/* Young work beside so much that is old: its time, and the median pause. */
static void beside_old_time(uint64_t old_bytes, uint64_t most_bytes, double *ret_ms, double *ret_pause_us)
{
    struct receipts receipts = { 0 };
    uint64_t first = (uint64_t)2 << 10, trees = YOUNG_WORK / (first * 48);
    heap_begin(most_bytes * 2 + 256 * MIB, 4 * MIB);
    struct { struct page *old; struct node *kept[4]; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    pages_fill(&frame->old, old_bytes);
    uint64_t before = collections(), start_ns = clock_ns();
    for (uint64_t i = 0; i < trees; i++)
        frame->kept[i % 4] = tree_new(10);
    *ret_ms = (double)(clock_ns() - start_ns) / 1e6;
    receipts_take(&receipts, morph_heap_id(heap));
    uint64_t from = 0;
    while (from < receipts.count && receipts.item[from].cycle <= before)
        from++;
    struct times pause = receipts_times(&receipts, from, PART_PAUSE);
    *ret_pause_us = times_us(&pause, 0.5);
    free(pause.ns);
    free(receipts.item);
    morph_frame_pop(thread, frame);
    heap_end();
}

static void old_size_run(uint64_t mib)
{
    double few_ms, few_us, much_ms, much_us;
    beside_old_time(16 * MIB, mib * MIB, &few_ms, &few_us);
    beside_old_time(mib * MIB, mib * MIB, &much_ms, &much_us);
    if (few_us > 0 && much_us > 0) {
        figure_report("pause_16m_us", few_us);
        figure_report("pause_much_us", much_us);
    }
    ratio_report("pause_ratio", much_us, few_us);
    figure_report("time_16m_ms", few_ms);
    figure_report("time_much_ms", much_ms);
    ratio_report("time_ratio", much_ms, few_ms);
}

/* ---- card ---- */

#define VECTOR_REFS 1000000u

/* Takes turns, so that a slow moment of the machine hits both. */
static void card_run(uint64_t rounds)
{
    struct times seen[2] = { { 0 } }, pause[2] = { { 0 } };
    struct receipts receipts = { 0 };
    uint32_t seed = 7;
    heap_begin(256 * MIB, 2 * MIB);
    struct { void **vector; struct node *node; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->vector = object_check(morph_new_array(thread, table_type, VECTOR_REFS));
    for (unsigned i = 0; i < 16; i++)
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
    uint64_t first = collections() + 1;
    for (uint64_t i = 0; i < rounds * 2; i++) {
        frame->node = object_check(morph_new(thread, node_type));
        if (i % 2)
            morph_store(thread, frame->vector, &frame->vector[random_below(&seed, VECTOR_REFS)], frame->node);
        uint64_t start_ns = clock_ns();
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
        times_add(&seen[i % 2], clock_ns() - start_ns);
        if (i % RECEIPTS_EACH == RECEIPTS_EACH - 1 || i == rounds * 2 - 1)
            receipts_take(&receipts, morph_heap_id(heap));
    }
    for (uint64_t i = 0; i < receipts.count; i++)
        if (receipts.item[i].cycle >= first)
            times_add(&pause[(receipts.item[i].cycle - first) % 2], receipts.item[i].pause_ns);
    double none = times_report(&seen[0], "none_p50_us", 0.5), one = times_report(&seen[1], "one_p50_us", 0.5);
    ratio_report("ratio", one, none);
    (void)times_report(&pause[0], "none_pause_us", 0.5);
    (void)times_report(&pause[1], "one_pause_us", 0.5);
    morph_frame_pop(thread, frame);
    heap_end();
}

/* ---- pause ---- */

#define PAUSE_YOUNG     (4 * MIB)
#define PAUSE_KEPT      8192u       /* nodes alive, a tenth of a nursery: each survives one collection, few a second */

/* One node in ten replaces the oldest of those that are kept. */
static void pause_run(uint64_t count)
{
    struct receipts receipts = { 0 };
    uint64_t at = 0;
    heap_begin(256 * MIB, PAUSE_YOUNG);
    struct { struct node **kept; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->kept = object_check(morph_new_array(thread, table_type, PAUSE_KEPT));
    for (uint64_t end = collections() + count, look = collections() + RECEIPTS_EACH; collections() < end;) {
        for (unsigned k = 0; k < 1000; k++) {
            struct node *node = object_check(morph_new(thread, node_type));
            if (k % 10 == 0)
                morph_store(thread, frame->kept, &frame->kept[at++ % PAUSE_KEPT], node);
        }
        if (collections() < look && collections() < end)
            continue;
        look = collections() + RECEIPTS_EACH;
        receipts_take(&receipts, morph_heap_id(heap));
    }
    double young = 0, survived = 0;
    for (uint64_t i = 0; i < receipts.count; i++)
        if (receipts.item[i].minor) {
            young += (double)receipts.item[i].young_bytes;
            survived += (double)receipts.item[i].survived_bytes;
        }
    struct times pause = receipts_times(&receipts, 0, PART_PAUSE), stop = receipts_times(&receipts, 0, PART_STOP),
                 wait = receipts_times(&receipts, 0, PART_WAIT);
    (void)times_report(&pause, "p50_us", 0.5);
    (void)times_report(&pause, "p99_us", 0.99);
    (void)times_report(&pause, "max_us", 1);
    (void)times_report(&stop, "stop_p99_us", 0.99);
    (void)times_report(&wait, "wait_p99_us", 0.99);
    ratio_report("survived", survived, young);
    morph_frame_pop(thread, frame);
    heap_end();
}

/* ---- marking ---- */

#define MARK_ROUNDS 5u
#define TREE_DEPTH  13

/* The rate of whole markings of `bytes` of nodes in trees; medians. */
static void marking_time(uint64_t bytes, const char *mb_s, const char *mobjects_s, const char *pause_ms)
{
    struct receipts receipts = { 0 };
    struct times pause = { 0 }, trace = { 0 };
    uint64_t trees = bytes / (((uint64_t)2 << TREE_DEPTH) * 48), marked_bytes = 0, marked_objects = 0;
    heap_begin(bytes * 2 + 128 * MIB, 4 * MIB);
    struct { struct node **tree; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->tree = object_check(morph_new_array(thread, table_type, trees));
    for (uint64_t i = 0; i < trees; i++) {
        struct node *tree = tree_new(TREE_DEPTH);
        morph_store(thread, frame->tree, &frame->tree[i], tree);
    }
    for (unsigned i = 0; i < 16; i++)
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
    uint64_t before = collections();
    for (unsigned i = 0; i < MARK_ROUNDS; i++) {
        uint64_t start_ns = clock_ns();
        check(morph_collect(thread, MORPH_COLLECT_MAJOR));
        times_add(&pause, clock_ns() - start_ns);
    }
    receipts_take(&receipts, morph_heap_id(heap));
    for (uint64_t i = 0; i < receipts.count; i++)
        if (!receipts.item[i].minor && receipts.item[i].cycle > before) {
            times_add(&trace, receipts.item[i].trace_ns);
            marked_bytes = receipts.item[i].marked_bytes;
            marked_objects = receipts.item[i].marked_objects;
        }
    double seconds = times_us(&trace, 0.5) / 1e6;
    if (seconds > 0) {
        figure_report(mb_s, (double)marked_bytes / (double)MIB / seconds);
        figure_report(mobjects_s, (double)marked_objects / 1e6 / seconds);
    }
    figure_report(pause_ms, times_us(&pause, 0.5) / 1e3);
    free(pause.ns);
    free(trace.ns);
    free(receipts.item);
    morph_frame_pop(thread, frame);
    heap_end();
}

static void marking_run(uint64_t mib)
{
    marking_time(64 * MIB, "64m_mb_s", "64m_mobjects_s", "64m_pause_ms");
    marking_time(mib * MIB, "much_mb_s", "much_mobjects_s", "much_pause_ms");
}

/* ---- live-size ---- */

#define LIVE_OPERATIONS 600000u
#define LIVE_GARBAGE    80u         /* nodes for each page that is replaced */

/* The same work on a table of pages of so much: a page is replaced, and garbage made. Pauses of all kinds. */
static double live_pauses(uint64_t live_bytes, const char *p99, const char *max, const char *markings)
{
    struct receipts receipts = { 0 };
    struct times pause = { 0 };
    uint32_t seed = 11;
    uint64_t pages = live_bytes / (sizeof(struct page) + MORPH_HEADER_BYTES), majors = 0;
    server_begin(live_bytes / 2 * 3 + 32 * MIB);
    struct { struct page **table; struct page *page; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->table = object_check(morph_new_array(thread, table_type, pages));
    for (uint64_t i = 0; i < pages; i++) {
        struct page *page = object_check(morph_new(thread, page_type));
        morph_store(thread, frame->table, &frame->table[i], page);
    }
    for (unsigned i = 0; i < 16; i++)
        check(morph_collect(thread, MORPH_COLLECT_MINOR));
    uint64_t before = collections(), look = before + RECEIPTS_EACH / 2;
    for (uint64_t n = 0; n < LIVE_OPERATIONS; n++) {
        struct page *page = object_check(morph_new(thread, page_type));
        morph_store(thread, frame->table, &frame->table[random_below(&seed, (uint32_t)pages)], page);
        for (unsigned k = 0; k < LIVE_GARBAGE; k++)
            object_check(morph_new(thread, node_type));
        if (n % 256 == 0 && collections() >= look) {
            look = collections() + RECEIPTS_EACH / 2;
            receipts_take(&receipts, morph_heap_id(heap));
        }
    }
    receipts_take(&receipts, morph_heap_id(heap));
    for (uint64_t i = 0; i < receipts.count; i++)
        if (receipts.item[i].cycle > before) {
            times_add(&pause, receipts.item[i].pause_ns);
            majors += !receipts.item[i].minor;
        }
    double seen = times_report(&pause, p99, 0.99);
    (void)times_report(&pause, max, 1);
    figure_report(markings, (double)majors);
    free(pause.ns);
    free(receipts.item);
    morph_frame_pop(thread, frame);
    heap_end();
    return seen;
}

static void live_size_run(uint64_t mib)
{
    double few = live_pauses(64 * MIB, "64m_p99_us", "64m_max_us", "64m_majors");
    double much = live_pauses(mib * MIB, "much_p99_us", "much_max_us", "much_majors");
    ratio_report("ratio", much, few);
}

/* ---- fragmentation ---- */

#define LEAST_BYTES 16u
#define MOST_BYTES  4096u

/* Evenly on a scale of powers of two, from LEAST_BYTES to MOST_BYTES. */
static uint64_t size_draw(uint32_t *seed)
{
    uint32_t least = LEAST_BYTES << random_below(seed, 8);
    return least + random_below(seed, least + 1);
}

static uint64_t extent_of(uint64_t bytes) { return (bytes + MORPH_HEADER_BYTES + MORPH_GRANULE_BYTES - 1) & ~(uint64_t)(MORPH_GRANULE_BYTES - 1); }

struct blob { uint64_t bytes; unsigned char byte[]; };

static struct blob *blob_new(uint64_t bytes)
{
    struct blob *blob = object_check(morph_new_bytes(thread, bytes));
    blob->bytes = bytes;
    return blob;
}

/* What the heap holds, against what lives and the table, when everything is collected and packed. */
static double packed_ratio(uint64_t live_bytes, double *ret_ms)
{
    morph_heap_stats stats;
    uint64_t start_ns = clock_ns();
    check(morph_collect(thread, MORPH_COLLECT_COMPACT));
    *ret_ms = (double)(clock_ns() - start_ns) / 1e6;
    check(morph_heap_stats_get(heap, &stats));
    return (double)stats.granted_bytes / (double)live_bytes;
}

static void fragmentation_run(uint64_t mib)
{
    uint32_t seed = 5, room = (uint32_t)(mib * MIB / 400), count = 0;      /* the mean is some 740 */
    uint64_t table_bytes = extent_of((uint64_t)room * 8), live = table_bytes, filled = 0;
    double ms;
    server_begin(mib * MIB / 4 * 5 + 64 * MIB);
    struct { struct blob **cell; } *frame = object_check(morph_frame_push(thread, sizeof *frame));
    frame->cell = object_check(morph_new_array(thread, table_type, room));
    for (; filled < mib * MIB && count < room; count++) {
        struct blob *blob = blob_new(size_draw(&seed));
        filled += extent_of(blob->bytes);
        morph_store(thread, frame->cell, &frame->cell[count], blob);
    }
    for (uint32_t i = 0; i < count; i++)
        if (random_below(&seed, 10))
            morph_store(thread, frame->cell, &frame->cell[i], NULL);
        else
            live += extent_of(frame->cell[i]->bytes);
    figure_report("live_mb", (double)live / (double)MIB);
    figure_report("ratio", packed_ratio(live, &ms));
    figure_report("compact_ms", ms);
    uint64_t more = 0;                  /* of other sizes: half as much again as before, in the cells that are free */
    for (uint32_t i = 0; more < mib * MIB / 2 && i < room; i++)
        if (!frame->cell[i]) {
            struct blob *blob = blob_new(size_draw(&seed) * 3 / 2);
            more += extent_of(blob->bytes);
            morph_store(thread, frame->cell, &frame->cell[i], blob);
        }
    figure_report("more_mb", (double)more / (double)MIB);
    morph_heap_stats stats;
    check(morph_collect(thread, MORPH_COLLECT_MINOR));
    check(morph_heap_stats_get(heap, &stats));
    figure_report("more_ratio", (double)stats.granted_bytes / (double)(live + more));
    morph_frame_pop(thread, frame);
    heap_end();
}

static const struct { const char *name; void (*run)(uint64_t size); } works[] = {
    { "handshake", handshake_run }, { "old-size", old_size_run }, { "card", card_run }, { "pause", pause_run }, { "marking", marking_run },
    { "live-size", live_size_run }, { "fragmentation", fragmentation_run },
};

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc == 3 && i < sizeof works / sizeof *works; i++) {
        if (strcmp(argv[1], works[i].name) != 0)
            continue;
        works[i].run(strtoull(argv[2], NULL, 10));
        return fflush(stdout) != 0;
    }
    fprintf(stderr, "usage: %s handshake ROUNDS | old-size MIB | card ROUNDS | pause COLLECTIONS | marking MIB | live-size MIB | "
                    "fragmentation MIB   (normally started by tests/bench/bench)\n", argv[0]);
    return 2;
}
