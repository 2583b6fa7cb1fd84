/* balance.c — see balance.h.
 *
 * `turn` numbers asks. A shortage remembers the turn at which it began; a heap that was asked later has been asked for this shortage too,
 * whoever began it. So several heaps that wait share what one gives, and nobody is asked twice in vain. */
#include "daemon/heap/balance.h"

#include <pthread.h>
#include <stdlib.h>

#include "daemon/config.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/segment.h"
#include "daemon/os/os.h"
#include "shm/atomic.h"

#define RESERVE_PART   32u              /* of the working size: left for copies, if any heap is collected */
#define WORTH_BYTES    ((uint64_t)512 << 10)    /* less garbage is not worth a pause */
#define KEPT_NS        1000000000ull    /* who could not give it is not asked for the same so soon */

static struct balance {
    pthread_mutex_t        lock;
    struct balance_member *members;
    uint32_t               count;
    uint32_t               collected;   /* members that are; read by anybody */
    uint32_t               givers;      /* members that were asked and are not done */
    uint64_t               turn;        /* of the last ask */
    uint64_t               press_turn;  /* when the last pressure began */
    uint64_t               claims_bytes;        /* of all that wait; read by anybody, as the next */
    uint64_t               low_bytes;   /* of those of them that are below their target */
    uint64_t               asks;
    void                 (*nudge)(struct heap *heap);
    balance_hook          *hook;
} balance = { .lock = PTHREAD_MUTEX_INITIALIZER, .turn = 1 };

void balance_init(void (*nudge)(struct heap *heap)) { balance.nudge = nudge; }
void balance_on_short(balance_hook *hook) { balance.hook = hook; }
uint64_t balance_asks(void) { return mm_load_relaxed(&balance.asks); }

/* ---- What is known of a member ---- */

static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }
static uint64_t granted_bytes(const struct balance_member *m) { return mm_load_relaxed(&m->heap->granted_blocks) << MM_BLOCK_SHIFT; }
static uint64_t held_bytes(const struct balance_member *m) { return mm_load_relaxed(&m->heap->resident_blocks) << MM_BLOCK_SHIFT; }
static uint64_t limit_bytes(const struct balance_member *m) { return mm_load_relaxed(&m->heap->limit_blocks) << MM_BLOCK_SHIFT; }
static uint64_t free_bytes(const struct balance_member *m) { return less(held_bytes(m), granted_bytes(m)); }

static bool is_idle(const struct balance_member *m, uint64_t now)
{
    uint64_t idle_ns = CONFIG(heap_idle) * 1000000;
    return idle_ns && !m->short_turn && less(now, mm_load_relaxed(&m->granted_ns)) >= idle_ns;
}

/* What a major collection would free, as far as is known: granted above what lived after the last one. Who gave all that it could a moment
 * ago, and still has it (its live objects lie scattered), has nothing. */
static uint64_t garbage_bytes(const struct balance_member *m, uint64_t now)
{
    if (!m->heap->gc)
        return 0;
    uint64_t lives = mm_load_relaxed(&m->live_bytes);
    if (m->kept_ns && now - m->kept_ns < KEPT_NS && m->kept_bytes > lives)
        lives = m->kept_bytes;
    return less(granted_bytes(m), lives);
}

/* ---- Division ---- */

void balance_divide(struct balance_part *part, uint32_t count, uint64_t bytes)
{
    /* The place of the square-root rule: the rest, here shared equally, would go by sqrt(live * allocated per second / collected per second). */
    uint64_t level = 0, left = bytes;
    uint32_t open = count;
    for (uint32_t i = 0; i < count; i++)
        part[i].target_bytes = UINT64_MAX;
    while (open > 0) {
        uint32_t settled = 0;
        level = left / open;
        for (uint32_t i = 0; i < count; i++)
            if (part[i].target_bytes == UINT64_MAX && part[i].want_bytes <= level) {
                part[i].target_bytes = part[i].want_bytes;
                left -= part[i].want_bytes;
                settled++;
            }
        if (!settled)
            break;
        open -= settled;
    }
    for (uint32_t i = 0; i < count; i++)
        if (part[i].target_bytes == UINT64_MAX)
            part[i].target_bytes = level;
}

static uint64_t reserve_bytes(void) { return mm_load_relaxed(&balance.collected) ? budget_limit() / RESERVE_PART : 0; }

/* Renews all targets and shares. Under the lock. No memory for it: the old ones do for now. */
static void divide(void)
{
    static struct balance_part *part;
    static uint32_t room;
    uint64_t now = os.now_ns(), bytes = less(budget_limit(), reserve_bytes());
    if (room < balance.count) {
        struct balance_part *grown = realloc(part, 2 * balance.count * sizeof *part);
        if (!grown)
            return;
        part = grown;
        room = 2 * balance.count;
    }
    uint32_t n = 0;
    for (struct balance_member *m = balance.members; m; m = m->next)
        part[n++] = (struct balance_part){ .want_bytes = is_idle(m, now) ? held_bytes(m) : limit_bytes(m),
                                           .live_bytes = mm_load_relaxed(&m->live_bytes) };
    balance_divide(part, n, bytes);
    n = 0;
    for (struct balance_member *m = balance.members; m; m = m->next) {
        m->target_bytes = part[n++].target_bytes;
        m->share_bytes = bytes / balance.count < limit_bytes(m) ? bytes / balance.count : limit_bytes(m);
    }
}

/* ---- Members ---- */

static bool is_member(const struct balance_member *m) { return m->link != NULL; }

void balance_join(struct heap *heap)
{
    struct balance_member *m = &heap->member;
    pthread_mutex_lock(&balance.lock);
    *m = (struct balance_member){ .heap = heap, .next = balance.members, .link = &balance.members, .granted_ns = os.now_ns() };
    if (m->next)
        m->next->link = &m->next;
    balance.members = m;
    balance.count++;
    mm_store_relaxed(&balance.collected, balance.collected + (heap->gc != NULL));
    pthread_mutex_unlock(&balance.lock);
}

/* Its claim changes. Under the lock; targets are fresh. */
static void claim(struct balance_member *m, uint64_t turn, uint64_t bytes)
{
    m->short_turn = turn;
    m->short_bytes = bytes;
    mm_store_relaxed(&m->waits, turn != 0);
    uint64_t all = 0, low = 0;
    for (struct balance_member *other = balance.members; other; other = other->next) {
        all += other->short_bytes;
        low += held_bytes(other) < other->target_bytes ? other->short_bytes : 0;
    }
    mm_store_relaxed(&balance.claims_bytes, all);
    mm_store_relaxed(&balance.low_bytes, low);
}

static void ask_end(struct balance_member *m)
{
    if (mm_load_relaxed(&m->ask) == BALANCE_NOTHING)
        return;
    mm_store_relaxed(&m->ask, BALANCE_NOTHING);
    balance.givers--;
}

void balance_leave(struct heap *heap)
{
    struct balance_member *m = &heap->member;
    pthread_mutex_lock(&balance.lock);
    if (is_member(m)) {
        ask_end(m);
        claim(m, 0, 0);
        *m->link = m->next;
        if (m->next)
            m->next->link = m->link;
        m->link = NULL;
        balance.count--;
        mm_store_relaxed(&balance.collected, balance.collected - (heap->gc != NULL));
    }
    pthread_mutex_unlock(&balance.lock);
}

/* ---- Asking ---- */

/* Who is short: a heap, or (NULL) the machine. */
struct shortage { const struct balance_member *who; uint64_t since_turn, now; bool above; };

/* May this member be asked on behalf of the shortage? A heap above its target takes from idle heaps and from those that have more than it. */
static bool may_ask(const struct shortage *s, const struct balance_member *m, enum balance_ask ask)
{
    if (m->asked_turn[ask] > s->since_turn)
        return false;
    return !s->above || m == s->who || is_idle(m, s->now) || held_bytes(m) >= held_bytes(s->who);
}

static struct balance_member *most_free(const struct shortage *s, bool idle)
{
    struct balance_member *best = NULL;
    for (struct balance_member *m = balance.members; m; m = m->next)
        if (free_bytes(m) && is_idle(m, s->now) == idle && may_ask(s, m, BALANCE_TRIM) && (!best || free_bytes(m) > free_bytes(best)))
            best = m;
    return best;
}

/* The one with most to give; of pressure, idle ones before all others. */
static struct balance_member *most_garbage(const struct shortage *s)
{
    struct balance_member *best = NULL;
    for (struct balance_member *m = balance.members; m; m = m->next) {
        if (garbage_bytes(m, s->now) < WORTH_BYTES || !may_ask(s, m, BALANCE_COLLECT))
            continue;
        bool idler = !s->who && best && is_idle(m, s->now) != is_idle(best, s->now);
        if (!best || (idler ? is_idle(m, s->now) : garbage_bytes(m, s->now) > garbage_bytes(best, s->now)))
            best = m;
    }
    return best;
}

static void ask(struct balance_member *m, enum balance_ask what)
{
    m->asked_turn[what] = ++balance.turn;
    if (what == BALANCE_COLLECT)
        m->asked_turn[BALANCE_TRIM] = balance.turn;
    mm_store_relaxed(&m->asks, m->asks + 1);
    mm_store_relaxed(&balance.asks, balance.asks + 1);
    mm_store_release(&m->ask, what);            /* pairs with balance_step(): what it was asked for begins with a clean slate */
    balance.givers++;
    if (balance.nudge)
        balance.nudge(m->heap);
    if (balance.hook)
        balance.hook(m->heap->id, what, balance.claims_bytes + less(budget_used(), budget_limit()));
}

/* Asks the next one, unless somebody is giving already. False: all have been asked. Under the lock. */
static bool ask_next(const struct shortage *s)
{
    struct balance_member *m;
    if (balance.givers)
        return true;
    if ((m = most_free(s, true))) {
        ask(m, BALANCE_TRIM);
        return true;
    }
    if ((m = most_garbage(s))) {
        ask(m, BALANCE_COLLECT);
        return true;
    }
    if ((m = most_free(s, false))) {
        ask(m, BALANCE_TRIM);
        return true;
    }
    return false;
}

/* ---- Shortage ---- */

uint64_t balance_keep_bytes(const struct heap *heap, uint64_t more_bytes)
{
    const struct balance_member *m = &heap->member;
    if (heap->gc && gc_in_pause(heap->gc))      /* the reserve is for this, and a collection gives more than it takes */
        return 0;
    uint64_t keep = reserve_bytes();
    if (mm_load_relaxed(&balance.low_bytes) == 0)
        return keep;
    pthread_mutex_lock(&balance.lock);
    divide();
    if (is_member(m) && held_bytes(m) + more_bytes > m->target_bytes)
        keep += less(balance.low_bytes, held_bytes(m) < m->target_bytes ? m->short_bytes : 0);
    pthread_mutex_unlock(&balance.lock);
    return keep;
}

/* All that could be given has been: pressure, by itself, refuses nobody. The working size yields to the request, as far as the configured one
 * allows. True: it did. */
static bool pressure_yields(uint64_t bytes)
{
    uint64_t wanted = budget_used() + bytes + reserve_bytes();
    wanted += wanted / RESERVE_PART;            /* the reserve grows with it */
    if (wanted <= budget_limit() || budget_limit() >= budget_configured())
        return false;
    budget_work_with(wanted);
    return true;
}

bool balance_short(struct heap *heap, uint64_t bytes)
{
    struct balance_member *m = &heap->member;
    bool comes = false;
    pthread_mutex_lock(&balance.lock);
    if (is_member(m)) {
        divide();
        claim(m, m->short_turn ? m->short_turn : balance.turn, bytes);
        struct shortage s = { .who = m, .since_turn = m->short_turn, .now = os.now_ns(), .above = held_bytes(m) + bytes > m->target_bytes };
        comes = segment_pending_bytes() > 0 || ask_next(&s) || pressure_yields(bytes);
        if (!comes)
            claim(m, 0, 0);
    }
    pthread_mutex_unlock(&balance.lock);
    return comes;
}

void balance_answered(struct heap *heap)
{
    struct balance_member *m = &heap->member;
    if (!mm_load_relaxed(&m->waits))
        return;
    pthread_mutex_lock(&balance.lock);
    claim(m, 0, 0);
    pthread_mutex_unlock(&balance.lock);
}

bool balance_wanting(void)
{
    return mm_load_relaxed(&balance.claims_bytes) != 0 || budget_used() > budget_limit();
}

/* ---- Giving ---- */

/* Would those who wait, and the working size, have room now? */
static bool enough(void)
{
    return budget_used() + mm_load_relaxed(&balance.claims_bytes) + reserve_bytes() <= budget_limit();
}

/* The collection that was asked for; true when it is over, or was put off: then what is free is given. */
static bool collected(struct heap *heap, bool *ret_requested)
{
    struct balance_member *m = &heap->member;
    struct gc *gc = heap->gc;
    if (m->awaited)
        return gc->phase == GC_IDLE && gc->ended >= m->awaited;
    if (gc->phase != GC_IDLE)
        return false;
    gc_request(gc, MM_COLLECT_MAJOR, RECEIPT_BUDGET);
    m->awaited = gc->ended + 1;
    *ret_requested = true;
    return false;
}

static void step_end(struct balance_member *m, bool all)
{
    pthread_mutex_lock(&balance.lock);
    if (!all)
        m->asked_turn[BALANCE_TRIM] = 0;        /* it has more, if somebody else takes what it gave */
    else if (m->awaited) {
        m->kept_bytes = granted_bytes(m);
        m->kept_ns = os.now_ns();
    }
    m->awaited = 0;
    m->trimming = false;
    ask_end(m);
    pthread_mutex_unlock(&balance.lock);
}

bool balance_step(struct heap *heap)
{
    struct balance_member *m = &heap->member;
    uint32_t what = mm_load_acquire(&m->ask);   /* pairs with the release in ask() */
    bool requested = false;
    if (what == BALANCE_NOTHING || (heap->gc && gc_in_pause(heap->gc)))
        return false;
    if (what == BALANCE_COLLECT && !m->trimming && !collected(heap, &requested))
        return requested;
    if (!m->trimming) {
        m->trimming = true;
        m->chunk = heap->mapped_chunks;         /* from the end: what stays lies close together */
    }
    if (m->chunk == 0 || enough()) {
        step_end(m, m->chunk == 0);
        return true;
    }
    heap_trim_chunk(heap, --m->chunk);
    return true;
}

/* ---- Pressure ---- */

void balance_press(void)
{
    pthread_mutex_lock(&balance.lock);
    balance.press_turn = balance.turn;
    pthread_mutex_unlock(&balance.lock);
}

bool balance_relieve(void)
{
    if (budget_used() <= budget_limit())
        return true;
    segment_shed(0);
    if (budget_used() <= budget_limit() || segment_pending_bytes() > 0)
        return true;
    pthread_mutex_lock(&balance.lock);
    struct shortage s = { .who = NULL, .since_turn = balance.press_turn, .now = os.now_ns() };
    bool comes = ask_next(&s);
    pthread_mutex_unlock(&balance.lock);
    return comes;
}

uint64_t balance_could_give_bytes(void)
{
    uint64_t bytes = 0;
    pthread_mutex_lock(&balance.lock);
    uint64_t now = os.now_ns();
    for (struct balance_member *m = balance.members; m; m = m->next) {
        uint64_t works_with = is_idle(m, now) ? 0 : mm_load_relaxed(&m->young_bytes);
        bytes += less(free_bytes(m) + garbage_bytes(m, now), works_with);
    }
    pthread_mutex_unlock(&balance.lock);
    return bytes;
}

/* ---- Seeing it ---- */

void balance_figures(struct heap *heap, struct balance_figures *ret)
{
    struct balance_member *m = &heap->member;
    pthread_mutex_lock(&balance.lock);
    if (is_member(m))
        divide();
    *ret = (struct balance_figures){ m->target_bytes, m->share_bytes, m->asks };
    pthread_mutex_unlock(&balance.lock);
}
