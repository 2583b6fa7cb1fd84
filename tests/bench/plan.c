/* plan.c — the benchmarks, one row each. See plan.h; what each does is said in docs/benchmarks.md. */
#include "tests/bench/plan.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#define PEER_GLIBC(work)    { "glibc", "bench-glibc", work, HOST_NONE, NULL, NULL }
#define PEER_MIMALLOC(work) { "mimalloc", "bench-mimalloc", work, HOST_NONE, NULL, "libmimalloc-dev" }
#define PEER_JEMALLOC(work) { "jemalloc", "bench-jemalloc", work, HOST_NONE, NULL, "libjemalloc-dev" }
#define PEER_BOEHM(work)    { "boehm", "bench-boehm", work, HOST_NONE, NULL, "libgc-dev" }
#define PEER_BUMP(work)     { "bump", "bench-bump", work, HOST_NONE, NULL, NULL }
#define OUR_ARENA(work)     { "morphmem-arena", "bench-arena", work, HOST_WARM, NULL, NULL }
#define OUR_POOL(work)      { "morphmem-pool", "bench-pool", work, HOST_WARM, NULL, NULL }
#define OUR_GC(work)        { "morphmem-gc", "bench-gc", work, HOST_WARM, NULL, NULL }
#define OURS_ALONE(work)    { "morphmem-gc", "bench-collections", work, HOST_WARM, NULL, NULL }

const struct bench plan[] = {
    {
        .name = "w1", .sentence = "churn: objects of 32 bytes, gone after 1,024 more; arenas start anew every 2 MiB",
        .size = 100000000, .size_least = 100000, .check = 7412841216,
        .subject = {
            { "bump32", "bench-bump", "w1", HOST_NONE, NULL, NULL }, { "bump48", "bench-bump48", "w1", HOST_NONE, NULL, NULL },
            PEER_GLIBC("w1"), PEER_MIMALLOC("w1"), PEER_JEMALLOC("w1"), PEER_BOEHM("w1"),
            { "morphmem", "bench-arena", "w1", HOST_WARM, NULL, NULL }, OUR_GC("w1"),
        },
        .metric = { "ns_per_op" }, .ratios = 1,
    },
    {
        .name = "w2", .sentence = "binary trees up to depth 18, one long-lived",
        .scale = SCALE_DEPTH, .size = 18, .size_least = 6, .check = 68332206,
        .subject = {
            PEER_BUMP("w2"), { "bump-exact", "bench-bump-exact", "w2", HOST_NONE, NULL, NULL }, PEER_GLIBC("w2"), PEER_MIMALLOC("w2"), PEER_JEMALLOC("w2"), PEER_BOEHM("w2"),
            OUR_ARENA("w2"), OUR_POOL("w2"), OUR_GC("w2"),
        },
        .metric = { "wall_s", "cpu_s", "peak_mb" }, .ratios = 3,
    },
    {
        .name = "w3", .sentence = "the shape of GCBench, stretch depth 20",
        .scale = SCALE_DEPTH, .size = 20, .size_least = 8, .check = 2026749,
        .subject = {
            PEER_BUMP("w3"), { "bump-exact", "bench-bump-exact", "w3", HOST_NONE, NULL, NULL }, PEER_GLIBC("w3"), PEER_MIMALLOC("w3"), PEER_JEMALLOC("w3"), PEER_BOEHM("w3"),
            OUR_ARENA("w3"), OUR_POOL("w3"), OUR_GC("w3"),
        },
        .metric = { "wall_s", "cpu_s", "peak_mb" }, .ratios = 3,
    },
    {
        .name = "w4", .sentence = "a server's table of 1,000,000 entries; latency of batches of 10 operations; bound 640 MiB",
        .size = 20000000, .size_least = 10000, .check = 1139696527,
        .subject = {
            PEER_GLIBC("w4"), PEER_MIMALLOC("w4"),
            { "mimalloc-beside", "bench-mimalloc", "w4-beside", HOST_NONE, NULL, "libmimalloc-dev" },
            PEER_JEMALLOC("w4"), PEER_BOEHM("w4"), OUR_POOL("w4"), OUR_GC("w4"),
        },
        .metric = { "mops", "p50_us", "p99_us", "p999_us", "p9999_us", "max_ms", "over_1ms", "peak_mb" }, .ratios = 5,
    },
    {
        .name = "w6", .sentence = "short-lived processes, each of which fills 64 MiB with small objects and ends",
        .how = HOW_LANES, .size = 50, .size_least = 2,
        .subject = {
            { "arena-4k", "bench-bump", "w6", HOST_NONE, NULL, NULL },
            PEER_GLIBC("w6"), { "glibc-thp", "bench-glibc", "w6", HOST_NONE, "GLIBC_TUNABLES=glibc.malloc.hugetlb=1", NULL },
            PEER_MIMALLOC("w6"),
            { "mimalloc-thp", "bench-mimalloc", "w6", HOST_NONE, "MIMALLOC_ALLOW_LARGE_OS_PAGES=1 MIMALLOC_LARGE_OS_PAGES=1",
              "libmimalloc-dev" },
            PEER_JEMALLOC("w6"),
            { "morphmem", "bench-arena", "w6", HOST_WARM, NULL, NULL },
            { "morphmem-typed", "bench-arena", "w6-typed", HOST_WARM, NULL, NULL },
            { "morphmem-cold", "bench-arena", "w6", HOST_COLD, NULL, NULL },
        },
        .metric = { "ms_per_process", "cpu_ms", "daemon_cpu_ms", "machine_cpu_ms", "huge_mb" }, .ratios = 1,
    },
    {
        .name = "open", .sentence = "open a heap, attach, allocate once, close: in one process, again and again",
        .size = 2000, .size_least = 20,
        .subject = { { "morphmem", "bench-clients", "open", HOST_WARM, NULL, NULL } },
        .metric = { "p50_us", "p99_us" },
    },
    {
        .name = "idle1000", .sentence = "1,000 clients with idle heaps: memory of the daemon for each",
        .how = HOW_IDLE, .size = 1000, .size_least = 8,
        .subject = { { "morphmem", "bench-clients", "idle", HOST_WARM, NULL, NULL } },
        .metric = { "kib_per_heap", "anonymous_kib", "page_tables_kib", "control_kib", "kernel_kib", "segments_kib" },
    },
    {
        .name = "handshake", .sentence = "minor collections of which nothing survives: what stopping and going on costs",
        .size = 4000, .size_least = 50,
        .subject = { OURS_ALONE("handshake") },
        .metric = { "asked_p50_us", "asked_p99_us", "asked_less_pause_us", "64k_p50_us", "64k_p99_us", "2m_p50_us", "2m_p99_us", "2m_less_pause_us" },
    },
    {
        .name = "old-size", .sentence = "the same young work beside 16 MiB and beside much more that is old",
        .size = 1024, .size_least = 32,
        .subject = { OURS_ALONE("old-size") },
        .metric = { "pause_16m_us", "pause_much_us", "pause_ratio", "time_16m_ms", "time_much_ms", "time_ratio" },
    },
    {
        .name = "card", .sentence = "a minor collection after one store into a vector of 1,000,000 references, and after none",
        .size = 2000, .size_least = 50,
        .subject = { OURS_ALONE("card") },
        .metric = { "none_p50_us", "one_p50_us", "ratio", "none_pause_us", "one_pause_us" },
    },
    {
        .name = "pause", .sentence = "pauses of minor collections, young generation 4 MiB, a tenth survives",
        .size = 1000, .size_least = 20,
        .subject = { OURS_ALONE("pause") },
        .metric = { "p50_us", "p99_us", "max_us", "stop_p99_us", "survived", "wait_p99_us" },
    },
    {
        .name = "marking", .sentence = "major collections of 64 MiB and of more in objects of 48 bytes",
        .size = 512, .size_least = 64,
        .subject = { OURS_ALONE("marking") },
        .metric = { "64m_mb_s", "64m_mobjects_s", "64m_pause_ms", "much_mb_s", "much_mobjects_s", "much_pause_ms" },
    },
    {
        .name = "live-size", .sentence = "pauses of the same work in SERVER heaps of which 64 MiB and much more live",
        .size = 2048, .size_least = 128,
        .subject = { OURS_ALONE("live-size") },
        .metric = { "64m_p99_us", "64m_max_us", "64m_majors", "much_p99_us", "much_max_us", "much_majors", "ratio" },
    },
    {
        .name = "fragmentation", .sentence = "mixed sizes, nine of ten dropped at random, compacted; then half as much of other sizes",
        .size = 512, .size_least = 32,
        .subject = { OURS_ALONE("fragmentation") },
        .metric = { "live_mb", "ratio", "compact_ms", "more_mb", "more_ratio" },
    },
    {
        .name = "morph-lexer-keep", .sentence = "a compiled Morph program with 1.9 million small objects; bound 8 MiB, and malloc that never frees",
        .size = 3664, .size_least = 100, .check = 14891870636,
        .subject = {
            { "malloc", "bench-morph-malloc", "lexer-keep", HOST_NONE, NULL, NULL },
            { "morphmem-morph", "bench-morph", "lexer-keep", HOST_WARM, "MORPHMEM_LIMIT=8M", NULL },
        },
        .metric = { "time_ms", "heap_mb", "times_live", "collections", "cpu_s" }, .ratios = 2,
    },
    {
        .name = "conservative", .sentence = "collections of 64 MiB of small objects that never move, without types and with them",
        .size = 64, .size_least = 4,
        .subject = { { "morphmem-morph", "bench-morph", "conservative", HOST_WARM, "MORPHMEM_LIMIT=512M", NULL } },
        .metric = { "untyped_ms", "untyped_mb_s", "untyped_mobjects_s", "untyped_trace_mb_s", "typed_ms", "typed_mb_s", "typed_mobjects_s",
                    "typed_trace_mb_s" },
    },
};

const unsigned plan_count = sizeof plan / sizeof *plan;

const struct bench *plan_find(const char *name)
{
    for (unsigned i = 0; i < plan_count; i++)
        if (strcmp(name, plan[i].name) == 0)
            return &plan[i];
    return NULL;
}

uint64_t plan_size(const struct bench *bench, double scale)
{
    double size = bench->scale == SCALE_DEPTH ? (double)bench->size + 2 * round(log2(scale) / 2) : (double)bench->size * scale;
    return size < (double)bench->size_least ? bench->size_least : (uint64_t)size;
}
