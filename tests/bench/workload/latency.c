/* latency.c — w4: a server's table of a million entries, of which a fifth of the operations replace one. How long do batches of
 * ten operations take? Consecutive time stamps, so that nothing falls between two of them. */
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/common/clock.h"
#include "tests/bench/common/histogram.h"
#include "tests/bench/common/random.h"
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

#define ENTRIES     1000000u
#define BATCH       10u
#define LIMIT_BYTES ((uint64_t)640 << 20)
#define BESIDE_BYTES ((size_t)256 << 20)

static void *table_memory, **table_root;
static uint32_t seed = 12345, sum;
static struct histogram histogram;

static struct entry *entry_new(struct place *place, uint32_t key, uint32_t fill)
{
    uint32_t bytes = 64 + random_below(&seed, 449);
    SUBJECT_ROOTS(root, 1);
    unsigned char *payload = root[0] = place_bytes(place, bytes);
    if (!payload)
        subject_die("out of memory");
    memset(payload, (int)(fill & 127), bytes);
    struct entry *entry = place_object(place, KIND_ENTRY);
    if (!entry)
        subject_die("out of memory");
    *entry = (struct entry){ key, bytes, root[0] };
    SUBJECT_ROOTS_END(root);
    return entry;
}

static void entry_replace(struct place *place, uint32_t i, uint32_t fill)
{
    struct entry *entry = entry_new(place, i, fill), **table = *table_root, *old = table[i];
    place_store(place, table, &table[i], entry);
    if (SUBJECT_DROP == DROP_FREE) {
        place_free(place, old->payload);
        place_free(place, old);
    }
}

static inline void operation_run(struct place *place, uint32_t number)
{
    uint32_t i = random_below(&seed, ENTRIES), kind = random_below(&seed, 100);
    struct entry *const *table = *table_root;
    const struct entry *entry = table[i];
    if (kind < 80)
        sum += (uint32_t)entry->key + entry->payload[0] + entry->payload[entry->bytes - 1] + entry->bytes;
    else
        entry_replace(place, i, number);
}

static void table_fill(struct place *place)
{
    table_root = subject_globals(&table_memory, 1);
    struct entry **table = *table_root = place_table(place, ENTRIES);
    if (!table)
        subject_die("out of memory");
    if (!SUBJECT_ROOTED)                                    /* there it is born so */
        memset(table, 0, ENTRIES * sizeof *table);
    for (uint32_t i = 0; i < ENTRIES; i++) {
        struct entry *entry = entry_new(place, i, i);
        table = *table_root;
        place_store(place, table, &table[i], entry);
    }
}

static void operations_time(struct place *place, uint32_t operations)
{
    uint64_t last_ns = clock_ns();
    for (uint32_t n = 0; n < operations; n += BATCH) {
        for (uint32_t k = 0; k < BATCH; k++)
            operation_run(place, n + k);
        uint64_t now_ns = clock_ns();
        histogram_add(&histogram, now_ns - last_ns);
        last_ns = now_ns;
    }
}

void latency_run(uint64_t operations)
{
    struct place place;
    subject_begin(ROLE_SERVER, LIMIT_BYTES);
    place_begin(&place, LIMIT_BYTES);
    table_fill(&place);
    for (uint32_t n = 0; n < operations / 10; n++)          /* unrecorded */
        operation_run(&place, n);
    uint64_t start_ns = clock_ns();
    operations_time(&place, (uint32_t)operations);
    double seconds = (double)(clock_ns() - start_ns) / 1e9;

    figure_report("mops", (double)operations / seconds / 1e6);
    figure_report("p50_us", histogram_us(&histogram, 0.5));
    figure_report("p99_us", histogram_us(&histogram, 0.99));
    figure_report("p999_us", histogram_us(&histogram, 0.999));
    figure_report("p9999_us", histogram_us(&histogram, 0.9999));
    figure_report("max_ms", (double)histogram.max_ns / 1e6);
    figure_report("over_1ms", (double)histogram.over_1ms);
    check_report(sum);
}

/* ---- The same beside another process ---- */

/* Reads memory at random, as a marker does, until it is killed. */
static _Noreturn void reader_run(pid_t parent)
{
    unsigned char *memory = malloc(BESIDE_BYTES);
    volatile uint32_t total = 0;
    uint32_t state = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!memory || getppid() != parent)
        _exit(1);
    memset(memory, 1, BESIDE_BYTES);
    for (;;)
        total = total + memory[random_below(&state, BESIDE_BYTES)];
}

void latency_beside_run(uint64_t operations)
{
    pid_t parent = getpid(), reader = fork();
    if (reader < 0)
        subject_die("no other process");
    if (reader == 0)
        reader_run(parent);
    latency_run(operations);
    kill(reader, SIGKILL);
    if (waitpid(reader, NULL, 0) < 0)
        subject_die("the other process is gone");
}
