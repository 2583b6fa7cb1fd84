/* bound.c — a SERVER heap close to its bound, for a bounded time: its memory, counted from outside, never passes the bound; where
 * the bound is 1.3 times what lives, or more, nothing is ever refused; whatever is refused, nothing is lost.
 *
 * Mixed work on a table of entries with payloads of 16 bytes to 4 KiB, evenly on a scale of powers of two, now and then one of up to 200 KB, and
 * garbage in between. What lives never passes LIVE_BYTES, large payloads counted in whole blocks. MORPH_BOUND_SECONDS (default 6) in all once it is
 * filled, in which one core or more is always at work; seeded.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shm/object.h"
#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/random.h"
#include "tests/lib/wire.h"

#define LIVE_BYTES   (48 * MiB)
#define CELLS        100000u
#define LARGE_EVERY  3000u
#define LOOK_NS      100000000u         /* most time between two looks from outside */

struct entry { uint64_t bytes; unsigned char *payload; };

struct report { uint64_t operations, refused, live_bytes, collections; };

struct work {
    struct client      client;
    struct test_random random;
    morph_type         entry, table;
    struct { struct entry **cell; unsigned char *held; } *frame;
    struct report      report;
};

struct part { uint64_t limit_bytes, seed, ns; };

/* ---- The client ---- */

/* What it takes in the heap. */
static uint64_t extent_of(uint64_t bytes)
{
    uint64_t extent = mm_round_up(bytes + MM_HEADER_BYTES, MM_GRANULE_BYTES);
    return extent > MM_LARGE_BYTES ? mm_round_up(extent, MM_BLOCK_BYTES) : extent;
}

static uint64_t cost_of(uint64_t payload_bytes) { return extent_of(payload_bytes) + extent_of(sizeof(struct entry)); }

static uint64_t size_draw(struct test_random *random)
{
    if (test_random_below(random, LARGE_EVERY) == 0)
        return test_random_between(random, 17000, 200000);
    uint64_t least = (uint64_t)16 << test_random_below(random, 8);
    return test_random_between(random, least, 2 * least);
}

static void cell_drop(struct work *w, uint32_t i)
{
    struct entry *entry = w->frame->cell[i];
    child_check(client_intact(entry->payload, entry->bytes, i));
    w->report.live_bytes -= cost_of(entry->bytes);
    morph_store(w->client.me, w->frame->cell, &w->frame->cell[i], NULL);
}

/* False: refused, and everything is as before. */
static bool cell_fill(struct work *w, uint32_t i, uint64_t bytes)
{
    w->frame->held = morph_new_bytes(w->client.me, bytes);
    struct entry *entry = w->frame->held ? morph_new(w->client.me, w->entry) : NULL;
    if (!entry) {
        child_check_int(morph_thread_error(w->client.me), MORPH_ENOMEM);
        w->frame->held = NULL;
        w->report.refused++;
        return false;
    }
    client_fill(w->frame->held, bytes, i);
    entry->bytes = bytes;
    entry->payload = w->frame->held;                    /* it is new: no store of a reference into an older object */
    morph_store(w->client.me, w->frame->cell, &w->frame->cell[i], entry);
    w->frame->held = NULL;
    w->report.live_bytes += cost_of(bytes);
    return true;
}

static void operation(struct work *w)
{
    uint32_t i = (uint32_t)test_random_below(&w->random, CELLS);
    uint64_t bytes = size_draw(&w->random);
    w->report.operations++;
    if (w->frame->cell[i])
        cell_drop(w, i);
    if (w->report.live_bytes + cost_of(bytes) <= LIVE_BYTES)
        (void)cell_fill(w, i, bytes);
    if (!morph_new_bytes(w->client.me, test_random_below(&w->random, 500)))        /* dies at once */
        w->report.refused++;
}

static void work_open(struct work *w, const struct part *part)
{
    morph_options options = { .mode = MORPH_SERVER, .name = "bound", .limit_bytes = part->limit_bytes, .no_autospawn = true };
    child_check_int(morph_heap_open(&w->client.heap, &options), 0);
    child_check_int(morph_thread_attach(w->client.heap, &w->client.me), 0);
    child_check_int(morph_type_register(w->client.heap, &(morph_type_spec){ .name = "entry", .bytes = sizeof(struct entry),
        .refs = MORPH_REFS(struct entry, payload) }, &w->entry), 0);
    child_check_int(morph_type_register(w->client.heap, &(morph_type_spec){ .name = "table", .element_bytes = 8,
        .element_refs = MORPH_ELEMENT_IS_REF }, &w->table), 0);
    w->frame = morph_frame_push(w->client.me, sizeof *w->frame);
    child_check((w->frame->cell = morph_new_array(w->client.me, w->table, CELLS)) != NULL);
    w->report.live_bytes = extent_of(CELLS * 8);
}

/* Some operations, and a moment to be looked at from outside. */
static void operations(struct work *w, struct test_parent parent)
{
    morph_heap_stats stats;
    uint64_t until_ns = test_now_ns() + LOOK_NS;
    for (unsigned n = 0; n < 2000 && (n % 100 || test_now_ns() < until_ns); n++)
        operation(w);
    child_check_int(morph_heap_stats_get(w->client.heap, &stats), 0);
    w->report.collections = stats.collections;
    test_parent_write(parent, &w->report, sizeof w->report);
}

static int do_work(void *context, struct test_parent parent)
{
    const struct part *part = context;
    struct work w = { .random = { part->seed } };
    work_open(&w, part);
    while (w.report.live_bytes < LIVE_BYTES - MiB && !w.report.refused)         /* however slow that is here */
        operations(&w, parent);
    for (uint64_t end_ns = test_now_ns() + part->ns; test_now_ns() < end_ns;)
        operations(&w, parent);
    for (uint32_t i = 0; i < CELLS; i++)
        if (w.frame->cell[i])
            cell_drop(&w, i);
    child_check_int(w.report.live_bytes, extent_of(CELLS * 8));
    morph_frame_pop(w.client.me, w.frame);
    child_check_int(morph_thread_detach(w.client.me), 0);
    child_check_int(morph_heap_close(w.client.heap), 0);
    return 0;
}

/* ---- From outside ---- */

static void close_to_the_bound(struct test_random *random, unsigned percent, uint64_t ns)
{
    struct part part = { LIVE_BYTES / 100 * percent / MM_BLOCK_BYTES * MM_BLOCK_BYTES, test_random_next(random), ns };
    struct test_daemon *daemon = test_daemon_start("--log-level=warning", NULL);
    struct test_child child = test_child_start((uid_t)-1, do_work, &part);
    struct report report = { 0 };
    uint64_t most = 0, most_live = 0, looks = 0;
    while (test_child_read(&child, &report, sizeof report)) {
        uint64_t seen = test_segment_bytes(daemon, child.pid);
        most = seen > most ? seen : most;
        most_live = report.live_bytes > most_live ? report.live_bytes : most_live;
        looks++;
        if (seen > part.limit_bytes || (percent >= 130 && report.refused)) {
            test_child_kill(&child);
            fail_msg("bound %u %% of what lives: %llu bytes of %llu, %llu operations refused of %llu", percent, (unsigned long long)seen,
                     (unsigned long long)part.limit_bytes, (unsigned long long)report.refused, (unsigned long long)report.operations);
        }
    }
    assert_int_equal(test_child_wait(&child), 0);
    assert_true(looks > 0 && report.collections > 10 && (percent < 130 || most_live > LIVE_BYTES - MiB));
    print_message("bound %u %%: %llu operations, %llu collections, %llu refused; at most %.2f of the bound in use, %llu looks\n", percent,
                  (unsigned long long)report.operations, (unsigned long long)report.collections, (unsigned long long)report.refused,
                  (double)most / (double)part.limit_bytes, (unsigned long long)looks);
    test_daemon_stop(daemon);
}

static void the_bound_is_kept(void **state)
{
    struct test_random random = test_random_begin("bound");
    const char *given = getenv("MORPH_BOUND_SECONDS");
    uint64_t ns = (given ? strtoull(given, NULL, 10) : 6) * 1000000000u / 3;
    close_to_the_bound(&random, 110, ns);
    close_to_the_bound(&random, 130, ns);
    close_to_the_bound(&random, 200, ns);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(the_bound_is_kept) };
    return test_run(cases);
}
