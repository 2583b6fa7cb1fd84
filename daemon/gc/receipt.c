/* receipt.c — see receipt.h. */
#define _GNU_SOURCE
#include "daemon/gc/receipt.h"

#include <stdlib.h>
#include <time.h>

#include "daemon/log.h"
#include "shm/slot.h"

/* Receipts of all heaps are numbered and filed one after the other: up to the last number none is still under way. */
static pthread_mutex_t filing = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_number;            /* under `filing`, as the next */
static uint64_t made[RECEIPT_REASON_COUNT];

void receipt_log_init(struct receipt_log *log)
{
    *log = (struct receipt_log){ .entry = NULL };
    pthread_mutex_init(&log->lock, NULL);
}

void receipt_log_fini(struct receipt_log *log)
{
    free(log->entry);
    pthread_mutex_destroy(&log->lock);
}

const char *receipt_kind_name(uint32_t kind)
{
    static const char *const names[] = { "minor", "major", "compact" };
    return kind < MM_COLLECTIONS ? names[kind] : "?";
}

const char *receipt_reason_name(uint32_t reason)
{
    static const char *const names[] = {
#define X(name, text) [RECEIPT_##name] = #name,
        RECEIPT_REASONS(X)
#undef X
    };
    return reason < RECEIPT_REASON_COUNT ? names[reason] : "?";
}

static void receipt_line(const struct receipt *r)
{
    if (r->put_off) {
        log_warning("gc", "put-off heap=%llu cycle=%llu kind=%s reason=%s late_tid=%u stop_us=%llu", (unsigned long long)r->heap,
                    (unsigned long long)r->cycle, receipt_kind_name(r->kind), receipt_reason_name(r->reason), r->late_tid,
                    (unsigned long long)(r->stop_ns / 1000));
        return;
    }
    log_line(CONFIG(gc_log) ? LEVEL_INFO : LEVEL_DEBUG, "gc",
              "collected heap=%llu cycle=%llu kind=%s reason=%s stop_us=%llu pause_us=%llu roots_us=%llu remset_us=%llu trace_us=%llu "
              "weak_us=%llu finish_us=%llu copied_bytes=%llu promoted_bytes=%llu kept_bytes=%llu marked_bytes=%llu evac_bytes=%llu freed_bytes=%llu old_bytes=%llu "
              "granted_bytes=%llu age=%llu nursery_bytes=%llu mark_began=%d mark_us=%llu mark_elapsed_us=%llu assist_us=%llu mark_early=%d",
              (unsigned long long)r->heap, (unsigned long long)r->cycle, receipt_kind_name(r->kind), receipt_reason_name(r->reason),
              (unsigned long long)(r->stop_ns / 1000), (unsigned long long)(r->pause_ns / 1000), (unsigned long long)(r->roots_ns / 1000),
              (unsigned long long)(r->remset_ns / 1000), (unsigned long long)(r->trace_ns / 1000), (unsigned long long)(r->weak_ns / 1000),
              (unsigned long long)(r->finish_ns / 1000), (unsigned long long)r->copied_bytes, (unsigned long long)r->promoted_bytes,
              (unsigned long long)r->kept_bytes, (unsigned long long)r->marked_bytes, (unsigned long long)r->evac_bytes, (unsigned long long)r->freed_bytes,
              (unsigned long long)r->old_bytes, (unsigned long long)r->granted_bytes, (unsigned long long)r->promotion_age,
              (unsigned long long)r->nursery_bytes, r->mark_began, (unsigned long long)(r->mark_ns / 1000),
              (unsigned long long)(r->mark_elapsed_ns / 1000), (unsigned long long)(r->assist_ns / 1000), r->mark_early);
}

static void figures_add(struct receipt_log *log, const struct receipt *r)
{
    log->put_offs += r->put_off;
    histogram_add(&log->stop, r->stop_ns);
    if (r->put_off)
        return;
    if (r->pause_ns > log->pause.max) {
        log->longest_kind = r->kind;
        log->longest_reason = r->reason;
    }
    log->target_ns = r->target_ns;
    log->over_target += r->target_ns && r->pause_ns > r->target_ns;
    histogram_add(&log->pause, r->pause_ns);
    log->minors += r->kind == MM_COLLECT_MINOR;
    log->majors += r->kind != MM_COLLECT_MINOR;
    log->markings += r->mark_elapsed_ns != 0;
    log->mark_helped += r->mark_helped;
    log->collect_ns += r->pause_ns;
    log->promoted_bytes += r->promoted_bytes;
    log->copied_bytes += r->copied_bytes;
    log->freed_bytes += r->freed_bytes;
    log->aged_objects += r->promoted_objects + r->kept_objects;
    log->aged_bytes += r->promoted_bytes + r->kept_bytes;
}

void receipt_file(struct receipt_log *log, struct receipt *receipt)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    receipt->ended_at_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    pthread_mutex_lock(&filing);
    receipt->number = ++last_number;
    made[receipt->reason] += !receipt->put_off;
    pthread_mutex_lock(&log->lock);
    if (!log->entry)
        log->entry = calloc(RECEIPT_LOG_ENTRIES, sizeof *log->entry);
    if (log->entry)
        log->entry[log->count++ % RECEIPT_LOG_ENTRIES] = *receipt;      /* no memory: only the figures are kept */
    figures_add(log, receipt);
    pthread_mutex_unlock(&log->lock);
    pthread_mutex_unlock(&filing);
    receipt_line(receipt);
}

uint64_t receipt_count(enum receipt_reason reason)
{
    pthread_mutex_lock(&filing);
    uint64_t count = made[reason];
    pthread_mutex_unlock(&filing);
    return count;
}

uint64_t receipt_last(void)
{
    pthread_mutex_lock(&filing);
    uint64_t last = last_number;
    pthread_mutex_unlock(&filing);
    return last;
}

bool receipt_next(struct receipt_log *log, uint64_t after, struct receipt *ret)
{
    pthread_mutex_lock(&log->lock);
    uint64_t low = log->count > RECEIPT_LOG_ENTRIES ? log->count - RECEIPT_LOG_ENTRIES : 0, high = log->count;
    while (low < high) {                /* numbers grow along the ring */
        uint64_t middle = low + (high - low) / 2;
        if (log->entry[middle % RECEIPT_LOG_ENTRIES].number > after)
            high = middle;
        else
            low = middle + 1;
    }
    bool found = low < log->count;
    if (found)
        *ret = log->entry[low % RECEIPT_LOG_ENTRIES];
    pthread_mutex_unlock(&log->lock);
    return found;
}
