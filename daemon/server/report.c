/* report.c — figures into REPORT bodies, by the rows of stats.def: a figure that is not in the list cannot be told, and one that is in
 * the list cannot be forgotten, since it is a member of the struct that the writer goes through. Loop thread. */
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/worker.h"
#include "daemon/os/os.h"
#include "daemon/server/server.h"

#define CTYPE_BYTES uint64_t
#define CTYPE_COUNT uint64_t
#define CTYPE_NS    uint64_t
#define CTYPE_US    uint64_t
#define CTYPE_BOOL  uint64_t
#define CTYPE_TEXT  const char *

enum figure_kind { FIGURE_NUMBER, FIGURE_BOOL, FIGURE_TEXT };
#define KIND_BYTES FIGURE_NUMBER
#define KIND_COUNT FIGURE_NUMBER
#define KIND_NS    FIGURE_NUMBER
#define KIND_US    FIGURE_NUMBER
#define KIND_BOOL  FIGURE_BOOL
#define KIND_TEXT  FIGURE_TEXT

struct figure_row { const char *key; enum figure_kind kind; size_t offset; };

/* Each group of stats.def becomes a struct of its figures and a table of their rows. */
#define STAT(group, key, kind, meaning) STAT_##group(key, kind)
#define SKIP(key, kind)
#define MEMBER(key, kind) CTYPE_##kind key;

#define STAT_daemon  MEMBER
#define STAT_heap    SKIP
#define STAT_type    SKIP
#define STAT_receipt SKIP
#define STAT_limit   SKIP
struct daemon_figures {
#include "daemon/stats.def"
};
#undef STAT_daemon
#undef STAT_heap
#define STAT_daemon SKIP
#define STAT_heap   MEMBER
struct heap_figures {
#include "daemon/stats.def"
};
#undef STAT_heap
#undef STAT_type
#define STAT_heap SKIP
#define STAT_type MEMBER
struct type_figures {
#include "daemon/stats.def"
};
#undef STAT_type
#undef STAT_receipt
#define STAT_type    SKIP
#define STAT_receipt MEMBER
struct receipt_figures {
#include "daemon/stats.def"
};
#undef STAT_receipt
#undef STAT_limit
#define STAT_receipt SKIP
#define STAT_limit   MEMBER
struct limit_figures {
#include "daemon/stats.def"
};
#undef STAT_daemon
#undef STAT_limit

#define STAT_limit SKIP
#define STAT_daemon(key, kind) { #key, KIND_##kind, offsetof(struct daemon_figures, key) },
static const struct figure_row daemon_rows[] = {
#include "daemon/stats.def"
};
#undef STAT_daemon
#undef STAT_heap
#define STAT_daemon SKIP
#define STAT_heap(key, kind) { #key, KIND_##kind, offsetof(struct heap_figures, key) },
static const struct figure_row heap_rows[] = {
#include "daemon/stats.def"
};
#undef STAT_heap
#undef STAT_type
#define STAT_heap SKIP
#define STAT_type(key, kind) { #key, KIND_##kind, offsetof(struct type_figures, key) },
static const struct figure_row type_rows[] = {
#include "daemon/stats.def"
};
#undef STAT_type
#undef STAT_receipt
#define STAT_type SKIP
#define STAT_receipt(key, kind) { #key, KIND_##kind, offsetof(struct receipt_figures, key) },
static const struct figure_row receipt_rows[] = {
#include "daemon/stats.def"
};
#undef STAT_receipt
#undef STAT_limit
#define STAT_receipt SKIP
#define STAT_limit(key, kind) { #key, KIND_##kind, offsetof(struct limit_figures, key) },
static const struct figure_row limit_rows[] = {
#include "daemon/stats.def"
};

static void write_rows(struct mm_report_writer *report, const struct figure_row *rows, size_t count, const void *figures)
{
    for (size_t i = 0; i < count; i++) {
        const char *at = (const char *)figures + rows[i].offset;
        switch (rows[i].kind) {
        case FIGURE_NUMBER: mm_report_u64(report, rows[i].key, *(const uint64_t *)at); break;
        case FIGURE_BOOL:   mm_report_bool(report, rows[i].key, *(const uint64_t *)at != 0); break;
        case FIGURE_TEXT:   mm_report_text(report, rows[i].key, *(const char *const *)at); break;
        }
    }
}
#define WRITE_ROWS(report, rows, figures) write_rows(report, rows, sizeof rows / sizeof rows[0], figures)

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
           ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;
}

static void add_collections(struct daemon_figures *f, struct receipt_log *log)
{
    pthread_mutex_lock(&log->lock);
    f->minors += log->minors;
    f->majors += log->majors;
    f->put_offs += log->put_offs;
    f->collect_ns += log->collect_ns;
    if (log->pause.max > f->pause_max_ns)
        f->pause_max_ns = log->pause.max;
    pthread_mutex_unlock(&log->lock);
}

static void add_heaps(struct daemon_figures *f)
{
    for (uint32_t i = 0; i < server.heap_count; i++) {
        const struct heap *heap = server.heaps[i]->heap;
        if (heap->gc)
            add_collections(f, &heap->gc->log);
        f->granted_bytes += mm_load_relaxed(&heap->granted_blocks) << MM_BLOCK_SHIFT;
        f->grants += mm_load_relaxed(&heap->grants);
        f->grants_ahead += mm_load_relaxed(&heap->grants_ahead);
        f->grants_refused += mm_load_relaxed(&heap->refusals);
    }
}

void report_daemon(struct mm_report_writer *report)
{
    struct segment_figures segments;
    struct pressure_figures pressure;
    segment_figures(&segments);
    pressure_figures(&pressure);
    struct daemon_figures f = {
        .version = PACKAGE_VERSION,
        .pid = (uint64_t)getpid(),
        .uptime_ns = os.now_ns() - server.started_ns,
        .cpu_ns = cpu_ns(),
        .workers = workers_count(),
        .heaps = server.heap_count,
        .heaps_opened = server.heaps_opened,
        .connections = server.connections,
        .connections_refused = server.refused,
        .letters = server.letters,
        .letters_bad = server.letters_bad,
        .budget_bytes = budget_configured(),
        .budget_working_bytes = budget_limit(),
        .budget_asks = balance_asks(),
        .budget_majors = receipt_count(RECEIPT_BUDGET),
        .idle_majors = receipt_count(RECEIPT_IDLE),
        .pressure_events = pressure.events,
        .pressure_sources = pressure.sources,
        .resident_bytes = budget_used(),
        .grants = server.past_grants,
        .grants_ahead = server.past_grants_ahead,
        .grants_refused = server.past_refusals,
        .pool_warm_bytes = segments.warm_bytes,
        .pool_target_bytes = segments.target_bytes,
        .pool_zeroing_bytes = segments.zeroing_bytes,
        .pool_leaving_bytes = segments.leaving_bytes,
        .segments_lent = segments.lent,
        .segments_warm = segments.lent_warm,
        .segments_cold = segments.lent_cold,
        .segments_recycled = segments.recycled,
        .segments_destroyed = segments.destroyed,
        .zeroed_bytes = segments.zeroed_bytes,
        .huge_pages = segment_huge_pages(),
        .minors = server.past_minors,
        .majors = server.past_majors,
        .put_offs = server.past_put_offs,
        .collect_ns = server.past_collect_ns,
        .pause_max_ns = server.past_pause_max_ns,
        .machine_pressure = heap_pressure_machine_now(),
    };
    add_heaps(&f);
    WRITE_ROWS(report, daemon_rows, &f);
}

static const char *mode_name(uint32_t mode)
{
    static const char *const names[] = { "COMPILER", "RUNTIME", "VM", "SERVER" };
    return mode < 4 ? names[mode] : "?";
}

static void card_update_collections(struct heap_card *card, struct receipt_log *log)
{
    pthread_mutex_lock(&log->lock);
    card->minors = log->minors;
    card->majors = log->majors;
    card->markings = log->markings;
    card->mark_helped = log->mark_helped;
    card->pause_target_ns = log->target_ns;
    card->pauses_over_target = log->over_target;
    card->pause_max_kind = log->pause.count ? receipt_kind_name(log->longest_kind) : "";
    card->pause_max_reason = log->pause.count ? receipt_reason_name(log->longest_reason) : "";
    card->put_offs = log->put_offs;
    card->collect_ns = log->collect_ns;
    card->copied_bytes = log->copied_bytes;
    card->promoted_bytes = log->promoted_bytes;
    card->freed_bytes = log->freed_bytes;
    card->pause_p50_ns = histogram_quantile(&log->pause, 500);
    card->pause_p99_ns = histogram_quantile(&log->pause, 990);
    card->pause_p999_ns = histogram_quantile(&log->pause, 999);
    card->pause_max_ns = log->pause.max;
    card->stop_p50_ns = histogram_quantile(&log->stop, 500);
    card->stop_p99_ns = histogram_quantile(&log->stop, 990);
    card->stop_max_ns = log->stop.max;
    pthread_mutex_unlock(&log->lock);
}

void card_update(struct heap_card *card, const struct conn *conn, const struct census *census)
{
    const struct heap *heap = conn->heap;
    card->types = conn->types.count;
    card->condemned = mm_load_relaxed(&heap->condemned);
    card->limit_blocks = mm_load_relaxed(&heap->limit_blocks);
    card->granted_blocks = mm_load_relaxed(&heap->granted_blocks);
    card->peak_blocks = mm_load_relaxed(&heap->peak_blocks);
    card->resident_blocks = mm_load_relaxed(&heap->resident_blocks);
    card->mapped_bytes = (uint64_t)mm_load_relaxed(&heap->mapped_chunks) << MM_CHUNK_SHIFT;
    card->grants = mm_load_relaxed(&heap->grants);
    card->refusals = mm_load_relaxed(&heap->refusals);
    card->doorbells = mm_load_relaxed(&heap->doorbells);
    card->naps = mm_load_relaxed(&heap->naps);
    card->given_back_blocks = mm_load_relaxed(&heap->given_back_blocks);
    card->pressure_letters = mm_load_relaxed(&heap->pressure.letters);
    card->used_bytes = census->used_bytes;
    card->arena_bytes = census->arena_bytes;
    card->arenas = census->arenas;
    card->pool_bytes = census->pool_bytes;
    card->pools = census->pools;
    card->pool_objects = census->pool_objects;
    card->object_bytes = census->object_bytes;
    card->large_bytes = census->large_bytes;
    card->spare_bytes = census->spare_bytes;
    card->threads = census->threads;
    card->waits = census->waits;
    card->wait_ns = census->wait_ns;
    card->live_bytes = census->live_bytes;
    card->nursery_bytes = census->nursery_bytes;
    card->young_bytes = census->young_bytes;
    card->old_bytes = census->old_bytes;
    struct balance_figures balance;
    balance_figures(conn->heap, &balance);
    card->target_bytes = balance.target_bytes;
    card->share_bytes = balance.share_bytes;
    card->asks = balance.asks;
    if (heap->gc)
        card_update_collections(card, &heap->gc->log);
}

/* The last name that was looked up is kept: a list of heaps asks for the same few again and again. */
static const char *user_name(uid_t uid)
{
    static struct { bool known; uid_t uid; char name[64]; } last;
    if (!last.known || last.uid != uid) {
        struct passwd *user = getpwuid(uid);
        snprintf(last.name, sizeof last.name, "%s", user ? user->pw_name : "");
        last.known = true;
        last.uid = uid;
    }
    return last.name;
}

void report_heap(struct mm_report_writer *report, const struct heap_card *card)
{
    struct heap_figures f = {
        .id = card->id,
        .name = card->name,
        .mode = mode_name(card->mode),
        .state = card->condemned ? "condemned" : card->closed_ns ? "closed" : "open",
        .pid = (uint64_t)card->pid,
        .uid = card->uid,
        .user = user_name(card->uid),
        .program = card->program,
        .age_ns = (card->closed_ns ? card->closed_ns : os.now_ns()) - card->opened_ns,
        .limit_bytes = card->limit_blocks << MM_BLOCK_SHIFT,
        .granted_bytes = card->granted_blocks << MM_BLOCK_SHIFT,
        .peak_bytes = card->peak_blocks << MM_BLOCK_SHIFT,
        .used_bytes = card->used_bytes,
        .live_bytes = card->live_bytes ? card->live_bytes : card->used_bytes,
        .mapped_bytes = card->mapped_bytes,
        .resident_bytes = card->resident_blocks << MM_BLOCK_SHIFT,
        .arena_bytes = card->arena_bytes,
        .arenas = card->arenas,
        .pool_bytes = card->pool_bytes,
        .pools = card->pools,
        .pool_objects = card->pool_objects,
        .object_bytes = card->object_bytes,
        .large_bytes = card->large_bytes,
        .spare_bytes = card->spare_bytes,
        .types = card->types,
        .threads = card->threads,
        .grants = card->grants,
        .refusals = card->refusals,
        .doorbells = card->doorbells,
        .naps = card->naps,
        .given_back_bytes = card->given_back_blocks << MM_BLOCK_SHIFT,
        .pressure_letters = card->pressure_letters,
        .waits = card->waits,
        .wait_ns = card->wait_ns,
        .minors = card->minors,
        .majors = card->majors,
        .markings = card->markings,
        .mark_helped = card->mark_helped,
        .pause_target_ns = card->pause_target_ns,
        .pauses_over_target = card->pauses_over_target,
        .pause_max_kind = card->pause_max_kind ? card->pause_max_kind : "",
        .pause_max_reason = card->pause_max_reason ? card->pause_max_reason : "",
        .put_offs = card->put_offs,
        .pause_p50_ns = card->pause_p50_ns,
        .pause_p99_ns = card->pause_p99_ns,
        .pause_p999_ns = card->pause_p999_ns,
        .pause_max_ns = card->pause_max_ns,
        .stop_p50_ns = card->stop_p50_ns,
        .stop_p99_ns = card->stop_p99_ns,
        .stop_max_ns = card->stop_max_ns,
        .collect_ns = card->collect_ns,
        .copied_bytes = card->copied_bytes,
        .promoted_bytes = card->promoted_bytes,
        .freed_bytes = card->freed_bytes,
        .nursery_bytes = card->nursery_bytes,
        .young_bytes = card->young_bytes,
        .old_bytes = card->old_bytes,
        .target_bytes = card->target_bytes,
        .share_bytes = card->share_bytes,
        .asks = card->asks,
    };
    WRITE_ROWS(report, heap_rows, &f);
}

void report_type(struct mm_report_writer *report, uint32_t id, const struct type *type, const struct census_type *count)
{
    struct type_figures f = {
        .id = id,
        .name = type ? type->name : "(raw bytes)",
        .objects = count->objects,
        .bytes = count->bytes,
        .held_bytes = count->held_bytes,
        .size_bytes = type ? type->bytes : 0,
        .refs = type ? type->ref_count : 0,
    };
    WRITE_ROWS(report, type_rows, &f);
}

void report_receipt(struct mm_report_writer *report, const struct receipt *receipt)
{
    struct receipt_figures f = {
        .number = receipt->number,
        .heap = receipt->heap,
        .cycle = receipt->cycle,
        .kind = receipt_kind_name(receipt->kind),
        .reason = receipt_reason_name(receipt->reason),
        .ended_at_ns = receipt->ended_at_ns,
        .wait_ns = receipt->wait_ns,
        .stop_ns = receipt->stop_ns,
        .roots_ns = receipt->roots_ns,
        .remset_ns = receipt->remset_ns,
        .trace_ns = receipt->trace_ns,
        .weak_ns = receipt->weak_ns,
        .finish_ns = receipt->finish_ns,
        .pause_ns = receipt->pause_ns,
        .threads = receipt->threads,
        .roots = receipt->roots,
        .cards = receipt->cards,
        .young_bytes = receipt->young_bytes,
        .copied_objects = receipt->copied_objects,
        .copied_bytes = receipt->copied_bytes,
        .promoted_objects = receipt->promoted_objects,
        .promoted_bytes = receipt->promoted_bytes,
        .kept_objects = receipt->kept_objects,
        .kept_bytes = receipt->kept_bytes,
        .marked_objects = receipt->marked_objects,
        .marked_bytes = receipt->marked_bytes,
        .evac_blocks = receipt->evac_blocks,
        .evac_objects = receipt->evac_objects,
        .evac_bytes = receipt->evac_bytes,
        .mark_began = receipt->mark_began,
        .mark_elapsed_ns = receipt->mark_elapsed_ns,
        .mark_ns = receipt->mark_ns,
        .mark_slices = receipt->mark_slices,
        .mark_helped = receipt->mark_helped,
        .assist_ns = receipt->assist_ns,
        .mark_early = receipt->mark_early,
        .freed_bytes = receipt->freed_bytes,
        .old_bytes = receipt->old_bytes,
        .granted_bytes = receipt->granted_bytes,
        .weak_cleared = receipt->weak_cleared,
        .finalizers = receipt->finalizers,
        .promotion_age = receipt->promotion_age,
        .nursery_bytes = receipt->nursery_bytes,
        .helpers = receipt->helpers,
        .put_off = receipt->put_off,
        .late_tid = receipt->late_tid,
    };
    WRITE_ROWS(report, receipt_rows, &f);
}

void report_limit(struct mm_report_writer *report, uint64_t heap, uint64_t blocks, uint64_t was_blocks, uint64_t granted_blocks)
{
    struct limit_figures f = { .heap = heap, .limit_bytes = blocks << MM_BLOCK_SHIFT, .was_bytes = was_blocks << MM_BLOCK_SHIFT,
                               .granted_bytes = granted_blocks << MM_BLOCK_SHIFT };
    WRITE_ROWS(report, limit_rows, &f);
}

void report_config(struct mm_report_writer *report)
{
    const char *name, *text;
    bool is_number;
    uint64_t number;
    for (unsigned i = 0; config_value(i, &name, &is_number, &number, &text); i++)
        if (is_number)
            mm_report_u64(report, name, number);
        else
            mm_report_text(report, name, text);
}
