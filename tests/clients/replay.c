/* replay.c — replays the allocations of a real program (a trace, see tests/data/README.md) on morphmem or on malloc.
 *
 *   replay TRACE [--subject S] [--repeat N] [--verify] [--hold] [--json] [--limit SIZE] [--stats FILE]
 *
 * Each pass allocates what the program allocated, in its order, fills every object, and frees what is dead where the subject
 * frees singly. Passes run in forked children, so that each begins like the first: one that looks at the memory held (and with
 * --verify at the contents of all that is alive) at every epoch, then N that only take the time. With --hold the look happens in
 * this very process, which then keeps its memory and waits for a line on standard input: for whoever wants to look at it from
 * outside. One thread.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <morphmem/morphmem.h>

#include "tests/clients/size.h"
#include "tests/clients/steps.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define REPEAT_MAX    1000u

/* ---- What allocates ---- */

/* All that a pass needs. `error` is set once, by the first thing that fails. */
struct player {
    const struct steps *steps;
    uint64_t limit_bytes;
    morph_heap *heap;
    morph_thread *thread;
    morph_arena *arena;
    morph_pool *pool;
    morph_type type[STEPS_TYPES_MAX];
    const char *error;
};

typedef void *player_allocate(struct player *player, uint32_t bytes, uint32_t type);
typedef bool player_release(struct player *player, void *object);

/* Why an allocation gave NULL. */
static const char *player_reason(const struct player *player)
{
    if (player->pool)
        return morph_strerror(morph_pool_error(player->pool));
    return player->thread ? morph_strerror(morph_thread_error(player->thread)) : strerror(ENOMEM);
}

static void player_fail(struct player *player, int error)
{
    if (!player->error)
        player->error = morph_strerror(error);
}

static void heap_begin(struct player *player)
{
    morph_options options = { .mode = MORPH_COMPILER, .name = "replay", .limit_bytes = player->limit_bytes };
    int r = morph_heap_open(&player->heap, &options);
    if (r == 0)
        r = morph_thread_attach(player->heap, &player->thread);
    if (r < 0)
        player_fail(player, r);
}

static int type_begin(struct player *player, uint32_t id)
{
    const struct steps_type *type = &player->steps->type[id];
    uint32_t offset[64], count = 0;
    if (type->varies)
        return morph_type_register(player->heap, &(morph_type_spec){ .name = type->name, .element_bytes = 1 },
                                   &player->type[id]);
    for (uint32_t slot = 0; slot < 64; slot++)
        if (type->refs >> slot & 1)
            offset[count++] = slot * 8;
    morph_type_spec spec = { .name = type->name, .bytes = type->bytes, .refs = { offset, count } };
    return morph_type_register(player->heap, &spec, &player->type[id]);
}

static void arena_begin(struct player *player)
{
    heap_begin(player);
    int r = player->error ? 0 : morph_arena_new(player->thread, &player->arena);
    for (uint32_t id = 0; id < player->steps->types && r == 0 && !player->error; id++)
        if (player->steps->type[id].seen)
            r = type_begin(player, id);
    if (r < 0)
        player_fail(player, r);
}

static void pool_begin(struct player *player)
{
    heap_begin(player);
    int r = player->error ? 0 : morph_pool_new(player->thread, 0, &player->pool);
    if (r < 0)
        player_fail(player, r);
}

static void heap_end(struct player *player)
{
    morph_arena_free(player->arena);
    morph_pool_free(player->pool);
    morph_thread_detach(player->thread);
    int r = morph_heap_close(player->heap);
    if (r < 0)
        player_fail(player, r);
}

static void malloc_begin(struct player *player)
{
    (void)player;
}

static ALWAYS_INLINE void *arena_typed_allocate(struct player *player, uint32_t bytes, uint32_t type)
{
    if (player->steps->type[type].varies)
        return morph_arena_new_array(player->arena, player->type[type], bytes);
    return morph_arena_new_object(player->arena, player->type[type]);
}

/* Raw memory without headers; short pieces are text, and text is packed. */
static ALWAYS_INLINE void *arena_allocate(struct player *player, uint32_t bytes, uint32_t type)
{
    if (!player->steps->type[type].varies)
        return morph_arena_new_object(player->arena, player->type[type]);
    return bytes < 8 ? morph_arena_aligned(player->arena, bytes ? bytes : 1, 1) : morph_arena_bytes(player->arena, bytes);
}

static ALWAYS_INLINE void *pool_allocate(struct player *player, uint32_t bytes, uint32_t type)
{
    (void)type;
    return morph_malloc(player->pool, bytes);
}

static ALWAYS_INLINE void *malloc_allocate(struct player *player, uint32_t bytes, uint32_t type)
{
    (void)player, (void)type;
    return malloc(bytes ? bytes : 1);
}

static ALWAYS_INLINE bool nothing_release(struct player *player, void *object)
{
    (void)player, (void)object;
    return true;
}

static ALWAYS_INLINE bool pool_release(struct player *player, void *object)
{
    return morph_free(player->pool, object) == 0;
}

static ALWAYS_INLINE bool malloc_release(struct player *player, void *object)
{
    (void)player;
    free(object);
    return true;
}

static uint64_t heap_held_bytes(struct player *player)
{
    morph_heap_stats stats;
    return morph_heap_stats_get(player->heap, &stats) == 0 ? stats.granted_bytes : 0;
}

/* What malloc took from the system. */
static uint64_t malloc_held_bytes(struct player *player)
{
    struct mallinfo2 info = mallinfo2();
    (void)player;
    return info.arena + info.hblkhd;
}

/* ---- Contents ---- */

static ALWAYS_INLINE void object_fill(void *object, uint32_t id, uint32_t bytes)
{
    memset(object, (int)(id * 167u + 13u) & 0xff, bytes);
}

static bool object_check(const void *object, uint32_t id, uint32_t bytes)
{
    const unsigned char *at = object;
    for (uint32_t i = 0; i < bytes; i++)
        if (at[i] != (unsigned char)(id * 167u + 13u))
            return false;
    return true;
}

/* Who is alive: a dense list, and where in it each object is. */
struct living { uint32_t *id, *place, count; };

static void living_add(struct living *living, uint32_t id)
{
    living->place[id] = living->count;
    living->id[living->count++] = id;
}

static void living_drop(struct living *living, uint32_t id)
{
    uint32_t place = living->place[id], last = living->id[--living->count];
    living->id[place] = last;
    living->place[last] = place;
}

/* ---- Passes ---- */

/* What a pass reports; shared with the parent. */
struct report { uint64_t ns, peak_bytes; char error[160]; };

struct look {                       /* NULL in a pass that only takes the time */
    uint64_t (*held_bytes)(struct player *player);
    uint64_t base_bytes, peak_bytes;
    bool verify, keeps_dead;        /* keeps_dead: nothing is freed, so everything must stay intact to the end */
    struct living living;
};

static bool epoch_check(struct player *player, struct look *look, void **object, uint32_t allocated)
{
    const struct steps_alloc *alloc = player->steps->alloc;
    for (uint32_t i = 0; i < look->living.count; i++) {
        uint32_t id = look->living.id[i];
        if (!object_check(object[id], id, alloc[id].bytes))
            return false;
    }
    for (uint32_t id = 0; look->keeps_dead && allocated == player->steps->allocs && id < allocated; id++)
        if (!object_check(object[id], id, alloc[id].bytes))
            return false;
    return true;
}

static void epoch_look(struct player *player, struct look *look, void **object, const struct steps_epoch *from,
                       const struct steps_epoch *to)
{
    uint64_t held = look->held_bytes(player) - look->base_bytes;
    if (held > look->peak_bytes)
        look->peak_bytes = held;
    if (!look->verify || player->error)
        return;
    for (uint32_t id = from->alloc_end; id < to->alloc_end; id++)
        living_add(&look->living, id);
    if (!epoch_check(player, look, object, to->alloc_end))
        player->error = "an object was overwritten";
    for (uint32_t i = from->dead_end; i < to->dead_end; i++)
        living_drop(&look->living, player->steps->dead[i]);
}

/* The replay itself: once per subject, with both functions inlined. */
static ALWAYS_INLINE void pass_play(struct player *player, struct look *look, void **object, player_allocate *allocate,
                                    player_release *release)
{
    const struct steps *steps = player->steps;
    struct steps_epoch from = { 0, 0 };
    for (uint32_t e = 0; e < steps->epochs && !player->error; e++) {
        struct steps_epoch to = steps->epoch[e];
        for (uint32_t id = from.alloc_end; id < to.alloc_end; id++) {
            const struct steps_alloc *alloc = &steps->alloc[id];
            object[id] = allocate(player, alloc->bytes, alloc->type);
            if (!object[id]) {
                player->error = player_reason(player);
                return;
            }
            object_fill(object[id], id, alloc->bytes);
        }
        if (look)
            epoch_look(player, look, object, &from, &to);
        for (uint32_t i = from.dead_end; i < to.dead_end; i++)
            if (!release(player, object[steps->dead[i]]))
                player->error = "an object could not be freed";
        from = to;
    }
}

#define PASS(name, allocate, release)                                                   \
    static void name##_play(struct player *player, struct look *look, void **object)    \
    {                                                                                   \
        pass_play(player, look, object, allocate, release);                             \
    }
PASS(arena, arena_allocate, nothing_release)
PASS(arena_typed, arena_typed_allocate, nothing_release)
PASS(pool, pool_allocate, pool_release)
PASS(malloc_nofree, malloc_allocate, nothing_release)
PASS(malloc_free, malloc_allocate, malloc_release)

static const struct subject {
    const char *name, *sentence;
    void (*begin)(struct player *player);
    void (*play)(struct player *player, struct look *look, void **object);
    uint64_t (*held_bytes)(struct player *player);
    bool keeps_dead;
} subjects[] = {
    { "arena",         "an arena, raw memory without headers", arena_begin,  arena_play,         heap_held_bytes,   true },
    { "arena-typed",   "an arena, everything typed",           arena_begin,  arena_typed_play,   heap_held_bytes,   true },
    { "pool",          "a pool, freed singly",                 pool_begin,   pool_play,          heap_held_bytes,   false },
    { "malloc-nofree", "malloc without free",                  malloc_begin, malloc_nofree_play, malloc_held_bytes, true },
    { "malloc-free",   "malloc and free",                      malloc_begin, malloc_free_play,   malloc_held_bytes, false },
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The story of one pass; leaves the heap open, for who wants to hold it. Opening the heap is part of the time. */
static void pass_run(const struct subject *subject, struct player *player, struct look *look, struct report *report)
{
    void **object = steps_memory_new((player->steps->allocs + 1) * sizeof *object);
    if (!object) {
        player->error = strerror(ENOMEM);
        return;
    }
    memset(object, 0, player->steps->allocs * sizeof *object);      /* its page faults are not the subject's */
    uint64_t start_ns = now_ns();
    subject->begin(player);
    if (!player->error)
        subject->play(player, look, object);
    report->ns = now_ns() - start_ns;
    report->peak_bytes = look ? look->peak_bytes : 0;
}

static void look_begin(struct look *look, const struct subject *subject, struct player *player, bool verify)
{
    uint64_t bytes = (uint64_t)(player->steps->allocs + 1) * sizeof(uint32_t);
    *look = (struct look){ .held_bytes = subject->held_bytes, .verify = verify, .keeps_dead = subject->keeps_dead };
    look->base_bytes = subject->held_bytes == malloc_held_bytes ? malloc_held_bytes(player) : 0;
    look->living.id = verify ? steps_memory_new(bytes) : NULL;
    look->living.place = verify ? steps_memory_new(bytes) : NULL;
    if (verify && (!look->living.id || !look->living.place))
        player->error = strerror(ENOMEM);
}

struct job {
    const struct subject *subject;
    struct steps steps;
    uint64_t limit_bytes;
    uint32_t repeat;
    bool verify, hold, json;
    const char *trace, *stats;
};

/* Runs a pass in a child and takes its report out of shared memory. 0, or -1 with the reason in the report. */
static int pass_fork(const struct job *job, bool looks, struct report *report)
{
    report->error[0] = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct player player = { .steps = &job->steps, .limit_bytes = job->limit_bytes };
        struct look look;
        if (looks)
            look_begin(&look, job->subject, &player, job->verify);
        if (!player.error)
            pass_run(job->subject, &player, looks ? &look : NULL, report);
        if (player.heap)
            heap_end(&player);
        if (player.error)
            snprintf(report->error, sizeof report->error, "%s", player.error);
        _exit(player.error != NULL);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        snprintf(report->error, sizeof report->error, "%s", strerror(errno));
    else if (WIFSIGNALED(status))
        snprintf(report->error, sizeof report->error, "a pass ended by signal %d", WTERMSIG(status));
    return report->error[0] ? -1 : 0;
}

/* The look, in this process; then waits for a line before anything is given back. */
static int pass_hold(const struct job *job, struct report *report)
{
    struct player player = { .steps = &job->steps, .limit_bytes = job->limit_bytes };
    struct look look;
    look_begin(&look, job->subject, &player, job->verify);
    if (!player.error)
        pass_run(job->subject, &player, &look, report);
    if (!player.error) {
        printf("holding %llu\n", player.heap ? (unsigned long long)morph_heap_id(player.heap) : 0);
        fflush(stdout);
        for (int c = getchar(); c != '\n' && c != EOF; c = getchar())
            ;
    }
    if (player.heap)
        heap_end(&player);
    if (player.error)
        snprintf(report->error, sizeof report->error, "%s", player.error);
    return player.error ? -1 : 0;
}

/* ---- Reporting ---- */

static int ns_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void figure_print(const struct job *job, const char *metric, double value)
{
    const char *slash = strrchr(job->trace, '/'), *name = slash ? slash + 1 : job->trace;
    printf("{\"bench\":\"replay-%.*s\",\"subject\":\"%s\",\"metric\":\"%s\",\"value\":%.6g,\"runs\":%u}\n",
           (int)strcspn(name, "."), name, job->subject->name, metric, value, job->repeat ? job->repeat : 1);
}

static void result_print(const struct job *job, uint64_t ns, uint64_t peak_bytes)
{
    double objects = job->steps.allocs, payload = (double)job->steps.payload_bytes;
    if (job->json) {
        figure_print(job, "objects", objects);
        figure_print(job, "payload_mb", payload / (1 << 20));
        figure_print(job, "peak_mb", (double)peak_bytes / (1 << 20));
        figure_print(job, "wall_ms", (double)ns / 1e6);
        figure_print(job, "ns_per_object", (double)ns / objects);
        return;
    }
    printf("%s: %u objects, %.1f MiB of payload, in %s\n", job->trace, job->steps.allocs, payload / (1 << 20),
           job->subject->sentence);
    printf("  %.1f ms (%.1f ns an object), at most %.1f MiB held%s\n", (double)ns / 1e6, (double)ns / objects,
           (double)peak_bytes / (1 << 20), job->verify ? ", contents verified at every epoch" : "");
}

static struct report *report_new(void)
{
    void *memory = mmap(NULL, sizeof(struct report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static int job_run(const struct job *job)
{
    struct report *report = report_new();
    uint64_t *ns = calloc(job->repeat + 1, sizeof *ns);
    int r = !report || !ns ? -1 : job->hold ? pass_hold(job, report) : pass_fork(job, true, report);
    uint64_t peak_bytes = r == 0 ? report->peak_bytes : 0;
    if (r == 0)
        ns[0] = report->ns;
    for (uint32_t i = 0; i < job->repeat && r == 0; i++) {
        r = pass_fork(job, false, report);
        ns[i] = report->ns;
    }
    if (r == 0) {
        qsort(ns, job->repeat, sizeof *ns, ns_compare);
        result_print(job, ns[job->repeat / 2], peak_bytes);
    } else {
        fprintf(stderr, "replay: %s: %s\n", job->subject->name, report && ns ? report->error : strerror(ENOMEM));
    }
    free(ns);
    return r;
}

/* ---- Command line ---- */

static void usage_print(FILE *file)
{
    fprintf(file,
            "usage: replay TRACE [options]\n"
            "  --subject NAME   what allocates (default arena):\n");
    for (unsigned i = 0; i < sizeof subjects / sizeof *subjects; i++)
        fprintf(file, "                     %-14s %s\n", subjects[i].name, subjects[i].sentence);
    fprintf(file,
            "  --repeat N       take the time of N passes and print the median (default 1)\n"
            "  --verify         check the contents of everything that is alive at every epoch\n"
            "  --hold           print 'holding' and the heap's number, keep the memory until a line arrives on standard input\n"
            "  --json           one object a line\n"
            "  --limit SIZE     bound of the heap (default 256M)\n"
            "  --stats FILE     names of the types (default: the .stats file beside the trace)\n"
            "  --help           this text\n");
}

static const struct subject *subject_find(const char *name)
{
    for (unsigned i = 0; i < sizeof subjects / sizeof *subjects; i++)
        if (strcmp(name, subjects[i].name) == 0)
            return &subjects[i];
    return NULL;
}

static bool repeat_parse(const char *text, uint32_t *ret_repeat)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    *ret_repeat = (uint32_t)n;
    return text[0] >= '0' && text[0] <= '9' && !*end && n <= REPEAT_MAX;
}

/* True: run. False: *ret_status is the exit code. */
static bool job_parse(struct job *job, int argc, char **argv, int *ret_status)
{
    static const struct option options[] = {
        { "subject", 1, NULL, 's' }, { "repeat", 1, NULL, 'r' }, { "verify", 0, NULL, 'v' }, { "hold", 0, NULL, 'o' },
        { "json", 0, NULL, 'j' },    { "limit", 1, NULL, 'l' },  { "stats", 1, NULL, 't' },  { "help", 0, NULL, 'h' },
        { 0 },
    };
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "h", options, NULL)) != -1;)
        switch (c) {
        case 's': good = (job->subject = subject_find(optarg)) != NULL; break;
        case 'r': good = repeat_parse(optarg, &job->repeat); break;
        case 'v': job->verify = true; break;
        case 'o': job->hold = true; break;
        case 'j': job->json = true; break;
        case 'l': good = size_parse(optarg, &job->limit_bytes); break;
        case 't': job->stats = optarg; break;
        case 'h': usage_print(stdout); *ret_status = 0; return false;
        default:  good = false;
        }
    if (good && argc - optind == 1) {
        job->trace = argv[optind];
        return true;
    }
    usage_print(stderr);
    *ret_status = 2;
    return false;
}

int main(int argc, char **argv)
{
    static struct job job = { .limit_bytes = 256 << 20, .repeat = 1 };
    int status;
    job.subject = &subjects[0];
    if (!job_parse(&job, argc, argv, &status))
        return status;
    if (steps_load(&job.steps, job.trace, job.stats) < 0)
        return 1;
    int r = job_run(&job);
    steps_unload(&job.steps);
    return r < 0 || fflush(stdout) != 0;
}
