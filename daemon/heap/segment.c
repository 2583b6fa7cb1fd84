/* segment.c — the pool of warm segments. See segment.h for states, ownership and threads. */
#define _GNU_SOURCE
#include "daemon/heap/segment.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/balance.h"
#include "daemon/heap/budget.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "shm/atomic.h"
#include "shm/memfd.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define WARM_SLICE_BYTES   (128u << 10)     /* fresh pages: about 50 us */
#define ZERO_SLICE_BYTES   (256u << 10)     /* resident pages: about 30 us */
#define EMPTY_SLICE_BYTES  (4u << 20)
#define TICK_NS            100000000ull     /* demand is measured ten times a second */
#define SHORT_NS           1000000000ull

struct segment_list { struct segment *first, **last; };

static struct segment_pool {
    pthread_mutex_t     lock;
    bool                huge_pages;
    struct segment_list list[SEGMENT_STATE_COUNT];      /* WARMING, WARM, LEAVING, ZEROING, EMPTYING */
    uint64_t            bytes[SEGMENT_STATE_COUNT][MM_SEGMENT_SIZES];   /* in each state, on a list or in a worker's hands */
    struct demand {
        uint64_t lent_bytes, returned_bytes;    /* since the last tick */
        uint64_t rate, net_rate;        /* bytes a second, moving averages: lent; lent and not returned */
        uint64_t target_bytes;          /* keep so much of what comes back */
        uint64_t make_bytes;            /* warm fresh memory up to here: what comes back is cheaper, so only for what does not */
        uint64_t idle_since_ns;
    } demand[MM_SEGMENT_SIZES];
    uint64_t            tick_ns;        /* of the last one */
    uint64_t            short_ns;       /* descriptors were short until then at least: none is spent on fresh segments */
    uint64_t            count;          /* segments ever made: for names */
    struct segment_figures figures;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void list_append(struct segment_list *list, struct segment *segment)
{
    segment->next = NULL;
    *list->last = segment;
    list->last = &segment->next;
}

static void list_unlink(struct segment_list *list, struct segment **link)
{
    struct segment *segment = *link;
    *link = segment->next;
    if (list->last == &segment->next)
        list->last = link;
    segment->next = NULL;
}

/* Changes the state and the sums; lists are the caller's business. Under the lock. */
static void segment_enter(struct segment *segment, enum segment_state state)
{
    pool.bytes[segment->state][segment->size] -= segment->bytes;
    segment->state = state;
    segment->done_bytes = 0;
    pool.bytes[state][segment->size] += segment->bytes;
}

static void segment_enlist(struct segment *segment, enum segment_state state)
{
    segment_enter(segment, state);
    list_append(&pool.list[state], segment);
}

static int error_of(int negative_errno)
{
    switch (-negative_errno) {
    case EMFILE:
    case ENFILE: return -MORPH_EFILES;
    case ENOMEM:
    case ENOSPC: return -MORPH_EMEMORY;
    default:     return -MORPH_ESYSTEM;
    }
}

/* A new segment, mapped anywhere chunk-aligned, COLD; nothing is charged yet. */
static struct segment *segment_make(unsigned size, int *ret_error)
{
    struct segment *segment = calloc(1, sizeof *segment);
    *ret_error = -MORPH_EMEMORY;
    if (!segment)
        return NULL;
    segment->size = size;
    segment->bytes = segment_size_bytes(size);
    segment->virgin = true;
    segment->state = SEGMENT_COLD;
    segment->fd = os.memfd_new("morphmem-segment", segment->bytes);
    if (segment->fd < 0) {
        *ret_error = error_of(segment->fd);
        goto fail_fd;
    }
    char *at = mm_reserve(segment->bytes);
    if (!at)
        goto fail_reserve;
    if (!mm_map(segment->fd, segment->bytes, at, false, pool.huge_pages))
        goto fail_map;
    segment->base = at;
    pthread_mutex_lock(&pool.lock);
    pool.bytes[SEGMENT_COLD][size] += segment->bytes;
    pthread_mutex_unlock(&pool.lock);
    return segment;

fail_map:
    munmap(at, segment->bytes);
fail_reserve:
    close(segment->fd);
fail_fd:
    free(segment);
    return NULL;
}

/* Ends a segment that is on no list. */
static void segment_destroy(struct segment *segment)
{
    if (segment->base)
        munmap(segment->base, segment->bytes);
    close(segment->fd);
    budget_give(segment->charged_bytes);
    pthread_mutex_lock(&pool.lock);
    pool.bytes[segment->state][segment->size] -= segment->bytes;
    pool.figures.destroyed++;
    pthread_mutex_unlock(&pool.lock);
    free(segment);
}

/* Moves the mapping, page tables and all, over the reserve at `to`. The old range stays mapped until the caller replaces or unmaps it:
 * a hole, however short, could be taken by another thread's mmap(2). Where the kernel cannot do that (before 5.13) it is mapped afresh. */
static bool segment_move(struct segment *segment, void *to)
{
    if (mremap(segment->base, segment->bytes, segment->bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == MAP_FAILED &&
        !mm_map(segment->fd, segment->bytes, to, false, pool.huge_pages))
        return false;
    segment->base = to;
    return true;
}

static void demand_tick(uint64_t now);

void segment_pool_init(bool huge_pages)
{
    pool.huge_pages = huge_pages;
    for (int i = 0; i < SEGMENT_STATE_COUNT; i++)
        pool.list[i].last = &pool.list[i].first;
    pool.tick_ns = os.now_ns();
    pool.short_ns = 0;
    for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++)
        pool.demand[i].idle_since_ns = pool.tick_ns;
    pool.tick_ns -= TICK_NS;
    demand_tick(pool.tick_ns + TICK_NS);        /* the least is wanted from the start */
}

void segment_pool_fini(void)
{
    for (int state = 0; state < SEGMENT_STATE_COUNT; state++)
        while (pool.list[state].first) {
            struct segment *segment = pool.list[state].first;
            list_unlink(&pool.list[state], &pool.list[state].first);
            segment_destroy(segment);
        }
}

bool segment_huge_pages(void) { return pool.huge_pages; }

/* ---- Lending ---- */

static bool segment_fits(const struct segment *segment, unsigned size, struct segment_owner owner)
{
    return segment->size == size &&
           (segment->virgin || (segment->owner.uid == owner.uid && segment->owner.user_namespace == owner.user_namespace));
}

static struct segment *take_warm(unsigned size, struct segment_owner owner)
{
    struct segment **virgin = NULL, **link = &pool.list[SEGMENT_WARM].first;
    for (; *link; link = &(*link)->next) {
        if (!segment_fits(*link, size, owner))
            continue;
        if (!(*link)->virgin)
            break;                      /* his own: leave virgin ones for those who have none */
        if (!virgin)
            virgin = link;
    }
    if (!*link)
        link = virgin;
    if (!link)
        return NULL;
    struct segment *segment = *link;
    list_unlink(&pool.list[SEGMENT_WARM], link);
    return segment;
}

struct segment *segment_lend(unsigned size, struct segment_owner owner, void *at, int *ret_error)
{
    pthread_mutex_lock(&pool.lock);
    pool.demand[size].lent_bytes += segment_size_bytes(size);
    struct segment *segment = take_warm(size, owner);
    bool warm = segment != NULL;
    pthread_mutex_unlock(&pool.lock);

    while (!segment && !(segment = segment_make(size, ret_error)))
        if (*ret_error != -MORPH_EFILES || !segment_shed_descriptor())
            return NULL;
    char *from = segment->base;
    bool moved = segment_move(segment, at);
    if (moved)
        munmap(from, segment->bytes);
    pthread_mutex_lock(&pool.lock);
    if (moved) {
        segment_enter(segment, SEGMENT_LENT);
        pool.figures.lent++;
        pool.figures.lent_warm += warm;
        pool.figures.lent_cold += !warm;
    }
    pthread_mutex_unlock(&pool.lock);
    if (!moved) {
        segment_destroy(segment);
        *ret_error = -MORPH_EMEMORY;
        return NULL;
    }
    segment->virgin = false;
    segment->owner = owner;
    return segment;
}

void segment_return(struct segment *segment)
{
    char *to = mm_reserve(segment->bytes);
    char *from = segment->base;
    bool moved = to && segment_move(segment, to);
    (void)mm_unmap_to_reserve(from, segment->bytes);
    if (!moved) {                       /* no address space: it cannot be pooled */
        segment->base = NULL;
        if (to)
            munmap(to, segment->bytes);
        segment_destroy(segment);
        return;
    }
    uint64_t now = os.now_ns();
    segment->wait_ns = 250000;
    segment->retry_ns = now;
    segment->deadline_ns = now + CONFIG(recycle_deadline) * 1000000;
    pthread_mutex_lock(&pool.lock);
    pool.demand[segment->size].returned_bytes += segment->bytes;
    segment_enlist(segment, SEGMENT_LEAVING);
    pthread_mutex_unlock(&pool.lock);
}

/* ---- Demand ---- */

static uint64_t pool_cap(void)
{
    uint64_t cap = CONFIG(pool_max);
    return cap ? cap : budget_limit() / 16;
}

static uint64_t average(uint64_t old, uint64_t bytes, uint64_t since_ns)
{
    uint64_t seen = bytes * 1000 / (since_ns / 1000000);
    return since_ns > 20 * TICK_NS ? seen : (old * 3 + seen) / 4;
}

/* `most` wins where the two bounds contradict each other. */
static uint64_t within(uint64_t n, uint64_t least, uint64_t most) { return n > most || least > most ? most : n < least ? least : n; }

/* Half a second's worth of what is lent, halved for each idle period; the smallest size never below pool_min. Under the lock. */
static void demand_tick(uint64_t now)
{
    uint64_t since = now - pool.tick_ns, cap = pool_cap();
    if (since < TICK_NS)
        return;
    pool.tick_ns = now;
    for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++) {
        struct demand *d = &pool.demand[i];
        uint64_t least = i == 0 ? CONFIG(pool_min) : 0;
        d->rate = average(d->rate, d->lent_bytes, since);
        d->net_rate = average(d->net_rate, d->lent_bytes > d->returned_bytes ? d->lent_bytes - d->returned_bytes : 0, since);
        if (d->lent_bytes)
            d->idle_since_ns = now;
        d->lent_bytes = d->returned_bytes = 0;
        if (d->rate / 2 > d->target_bytes)
            d->target_bytes = d->rate / 2;
        if (now - d->idle_since_ns >= CONFIG(pool_idle) * 1000000) {
            d->target_bytes = d->target_bytes / 2 < segment_size_bytes(i) / 32 ? 0 : d->target_bytes / 2;
            d->idle_since_ns = now;
        }
        d->target_bytes = within(d->target_bytes, least, cap);
        d->make_bytes = within(d->net_rate / 2, least, d->target_bytes);
        cap -= d->target_bytes;
    }
}

/* In whole segments: one counts as long as there is any demand at all. */
static uint64_t whole_segments(uint64_t bytes, unsigned size)
{
    uint64_t unit = segment_size_bytes(size), whole = mm_round_up(bytes, unit);
    return whole > pool_cap() ? bytes / unit * unit : whole;
}

static uint64_t wanted_bytes(unsigned size) { return whole_segments(pool.demand[size].target_bytes, size); }

static uint64_t coming_bytes(unsigned size)
{
    return pool.bytes[SEGMENT_WARM][size] + pool.bytes[SEGMENT_WARMING][size] + pool.bytes[SEGMENT_ZEROING][size];
}

/* ---- Work: each function does one slice on a segment that it holds alone, then files it again ---- */

/* LEAVING: prove that nobody else holds it, then decide whether it is worth zeroing. */
static void leave_step(struct segment *segment, uint64_t now)
{
    int r = os.memfd_prove_alone(segment->fd);
    bool hopeless = r < 0 && (r != -EAGAIN || now >= segment->deadline_ns);
    if (hopeless) {
        log_warning("segment", "a segment of user %u is still held elsewhere, emptying and closing it", (unsigned)segment->owner.uid);
        (void)os.memfd_punch(segment->fd, 0, segment->bytes);
    }
    uint64_t resident = os.memfd_resident(segment->fd);
    bool mostly_there = resident >= segment->bytes / 2;
    bool charged = r == 0 && mostly_there && (segment->charged_bytes >= segment->bytes || budget_take(segment->bytes - segment->charged_bytes));
    if (charged && segment->charged_bytes < segment->bytes)
        segment->charged_bytes = segment->bytes;
    pthread_mutex_lock(&pool.lock);
    if (r == -EAGAIN && !hopeless) {
        segment->retry_ns = now + segment->wait_ns;
        segment->wait_ns = segment->wait_ns < 16000000 ? segment->wait_ns * 2 : segment->wait_ns;
        list_append(&pool.list[SEGMENT_LEAVING], segment);
    } else if (charged && coming_bytes(segment->size) < wanted_bytes(segment->size)) {
        segment_enlist(segment, SEGMENT_ZEROING);
    } else {
        segment_enlist(segment, SEGMENT_EMPTYING);
    }
    pthread_mutex_unlock(&pool.lock);
}

static void zero_step(struct segment *segment)
{
    memset(segment->base + segment->done_bytes, 0, ZERO_SLICE_BYTES);
    segment->done_bytes += ZERO_SLICE_BYTES;
    bool done = segment->done_bytes >= segment->bytes;
    pthread_mutex_lock(&pool.lock);
    pool.figures.zeroed_bytes += ZERO_SLICE_BYTES;
    if (done) {
        pool.figures.recycled++;
        segment_enlist(segment, SEGMENT_WARM);
    } else {
        segment->next = pool.list[SEGMENT_ZEROING].first;       /* finish what is begun */
        if (!segment->next)
            pool.list[SEGMENT_ZEROING].last = &segment->next;
        pool.list[SEGMENT_ZEROING].first = segment;
    }
    pthread_mutex_unlock(&pool.lock);
}

static void warm_step(struct segment *segment)
{
    uint64_t slice = pool.huge_pages ? MM_CHUNK_BYTES : WARM_SLICE_BYTES;
    char *at = segment->base + segment->done_bytes;
    if (mm_populate(at, slice) == -EINVAL)
        memset(at, 0, slice);                   /* a kernel before 5.14 */
    segment->done_bytes += slice;
    bool done = segment->done_bytes >= segment->bytes;
    pthread_mutex_lock(&pool.lock);
    pool.figures.zeroed_bytes += slice;
    if (done)
        segment_enlist(segment, SEGMENT_WARM);
    else
        list_append(&pool.list[SEGMENT_WARMING], segment);
    pthread_mutex_unlock(&pool.lock);
}

static void empty_step(struct segment *segment)
{
    uint64_t left = segment->bytes - segment->done_bytes, slice = left < EMPTY_SLICE_BYTES ? left : EMPTY_SLICE_BYTES;
    (void)os.memfd_punch(segment->fd, segment->done_bytes, slice);
    segment->done_bytes += slice;
    if (segment->done_bytes >= segment->bytes) {
        segment_destroy(segment);
        return;
    }
    pthread_mutex_lock(&pool.lock);
    list_append(&pool.list[SEGMENT_EMPTYING], segment);
    pthread_mutex_unlock(&pool.lock);
}

static struct segment *take_first(enum segment_state state)
{
    struct segment *segment = pool.list[state].first;
    if (segment)
        list_unlink(&pool.list[state], &pool.list[state].first);
    return segment;
}

static struct segment *take_due_leaving(uint64_t now)
{
    for (struct segment **link = &pool.list[SEGMENT_LEAVING].first; *link; link = &(*link)->next)
        if ((*link)->retry_ns <= now) {
            struct segment *segment = *link;
            list_unlink(&pool.list[SEGMENT_LEAVING], link);
            return segment;
        }
    return NULL;
}

/* A size that fresh memory should be warmed for, even when all that leaves comes back; -1: none. */
static int size_wanted(void)
{
    for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++)
        if (coming_bytes(i) + pool.bytes[SEGMENT_LEAVING][i] + segment_size_bytes(i) <= whole_segments(pool.demand[i].make_bytes, i))
            return (int)i;
    return -1;
}

/* A warm segment beyond the target, the oldest of its size; NULL: none. */
static struct segment *take_surplus(void)
{
    for (struct segment **link = &pool.list[SEGMENT_WARM].first; *link; link = &(*link)->next) {
        struct segment *segment = *link;
        if (pool.bytes[SEGMENT_WARM][segment->size] < wanted_bytes(segment->size) + segment->bytes)
            continue;
        list_unlink(&pool.list[SEGMENT_WARM], link);
        return segment;
    }
    return NULL;
}

static bool start_warming(int size)
{
    uint64_t bytes = segment_size_bytes((unsigned)size);
    int error;
    if (!budget_take(bytes))
        return false;
    struct segment *segment = segment_make((unsigned)size, &error);
    if (!segment) {
        budget_give(bytes);
        return false;
    }
    segment->charged_bytes = bytes;
    pthread_mutex_lock(&pool.lock);
    segment_enlist(segment, SEGMENT_WARMING);
    pthread_mutex_unlock(&pool.lock);
    return true;
}

bool segment_work(void)
{
    uint64_t now = os.now_ns();
    bool short_of_budget = balance_wanting();
    struct segment *segment;
    pthread_mutex_lock(&pool.lock);
    demand_tick(now);
    if ((segment = take_due_leaving(now))) {
        pthread_mutex_unlock(&pool.lock);
        leave_step(segment, now);
        return true;
    }
    if ((segment = take_first(SEGMENT_ZEROING))) {
        pthread_mutex_unlock(&pool.lock);
        zero_step(segment);
        return true;
    }
    if ((segment = take_first(SEGMENT_WARMING))) {
        pthread_mutex_unlock(&pool.lock);
        warm_step(segment);
        return true;
    }
    int size = short_of_budget || now < pool.short_ns ? -1 : size_wanted();     /* what heaps wait for is not warmed for others */
    if (size < 0 && (segment = take_surplus()))
        segment_enlist(segment, SEGMENT_EMPTYING);
    segment = size < 0 ? take_first(SEGMENT_EMPTYING) : NULL;
    pthread_mutex_unlock(&pool.lock);
    if (size >= 0)
        return start_warming(size);
    if (!segment)
        return false;
    empty_step(segment);
    return true;
}

uint64_t segment_due_ns(void)
{
    uint64_t due = UINT64_MAX;
    pthread_mutex_lock(&pool.lock);
    for (struct segment *s = pool.list[SEGMENT_LEAVING].first; s; s = s->next)
        due = s->retry_ns < due ? s->retry_ns : due;
    if (pool.short_ns > os.now_ns())
        due = pool.short_ns < due ? pool.short_ns : due;
    for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++) {
        const struct demand *d = &pool.demand[i];
        if ((d->lent_bytes || d->returned_bytes) && pool.tick_ns + TICK_NS < due)
            due = pool.tick_ns + TICK_NS;
        if (d->target_bytes > (i == 0 ? CONFIG(pool_min) : 0) && d->idle_since_ns + CONFIG(pool_idle) * 1000000 < due)
            due = d->idle_since_ns + CONFIG(pool_idle) * 1000000;
    }
    pthread_mutex_unlock(&pool.lock);
    return due;
}

void segment_shed(uint64_t bytes)
{
    while (budget_limit() < budget_used() + bytes) {
        pthread_mutex_lock(&pool.lock);
        struct segment *segment = take_first(SEGMENT_WARM);
        if (!segment)
            segment = take_first(SEGMENT_EMPTYING);
        pthread_mutex_unlock(&pool.lock);
        if (!segment)
            return;
        segment_destroy(segment);
    }
}

bool segment_shed_descriptor(void)
{
    static const enum segment_state spare[] = { SEGMENT_EMPTYING, SEGMENT_WARMING, SEGMENT_WARM };
    struct segment *segment = NULL;
    uint64_t now = os.now_ns();
    pthread_mutex_lock(&pool.lock);
    pool.short_ns = now + SHORT_NS;
    for (unsigned i = 0; i < sizeof spare / sizeof spare[0] && !segment; i++)
        segment = take_first(spare[i]);
    pthread_mutex_unlock(&pool.lock);
    if (!segment)
        return false;
    segment_destroy(segment);
    return true;
}

uint64_t segment_pending_bytes(void)
{
    static const enum segment_state pending[] = { SEGMENT_LEAVING, SEGMENT_ZEROING, SEGMENT_WARMING, SEGMENT_EMPTYING };
    uint64_t bytes = 0;
    pthread_mutex_lock(&pool.lock);
    for (unsigned s = 0; s < sizeof pending / sizeof pending[0]; s++)
        for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++)
            bytes += pool.bytes[pending[s]][i];
    pthread_mutex_unlock(&pool.lock);
    return bytes;
}

void segment_figures(struct segment_figures *ret)
{
    pthread_mutex_lock(&pool.lock);
    *ret = pool.figures;
    for (unsigned i = 0; i < MM_SEGMENT_SIZES; i++) {
        ret->warm_bytes += pool.bytes[SEGMENT_WARM][i];
        ret->target_bytes += wanted_bytes(i);
        ret->zeroing_bytes += pool.bytes[SEGMENT_ZEROING][i];
        ret->leaving_bytes += pool.bytes[SEGMENT_LEAVING][i] + pool.bytes[SEGMENT_EMPTYING][i];
    }
    pthread_mutex_unlock(&pool.lock);
}
