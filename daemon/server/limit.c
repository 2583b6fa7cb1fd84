/* limit.c — LIMIT: another bound for a heap that is open.
 *
 * A task of the heap's worker, since the bound is his. A higher one is in force at once. A lower one is if what is granted fits; else a collected
 * heap is collected first, everything moved together, and swept. What does not fit then is refused, with what would have: the bound
 * stays, and at no moment is more granted than it says.
 * Letters behind it are read meanwhile: threads of the client that ask for something could not stop for the collection otherwise. So a
 * connection may have one at a time, and is held until it is back.
 * Loop thread, but for limit_step(): the heap's worker. See server.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/include/morphmem/error.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/worker.h"
#include "daemon/log.h"
#include "daemon/server/server.h"

#define COLLECTED_MAX_BYTES ((uint64_t)1 << 40)         /* as at open: card numbers of twice as much fit the log's 32 bits */

struct limit_task {
    struct heap_task task;
    struct conn     *conn;              /* held */
    uint32_t         seq;
    uint64_t         heap;              /* its number */
    uint64_t         blocks;            /* wanted */
    uint64_t         allowed_blocks;    /* more than this only if it is not more than now */
    bool             requested;
    uint64_t         awaited;           /* ends of collections after which it is judged */
    /* Result. */
    uint64_t         was_blocks, granted_blocks;
};

/* ---- The worker's part ---- */

static bool step_done(struct limit_task *limit, int error)
{
    limit->task.error = error;
    limit->granted_blocks = limit->task.heap->granted_blocks;
    return true;
}

static bool limit_step(struct heap_task *task)
{
    struct limit_task *limit = (struct limit_task *)task;
    struct heap *heap = task->heap;
    struct gc *gc = heap->gc;
    if (gc && gc->phase != GC_IDLE)
        return false;
    if (!limit->requested)
        limit->was_blocks = heap->limit_blocks;
    if (limit->blocks > heap->limit_blocks && limit->blocks > limit->allowed_blocks)
        return step_done(limit, MORPH_EBUDGET);
    if (heap_limit_set(heap, limit->blocks))
        return step_done(limit, 0);
    if (!gc)
        return step_done(limit, MORPH_EINUSE);
    if (!limit->requested) {
        gc_request(gc, MM_COLLECT_COMPACT, RECEIPT_LIMIT);
        limit->awaited = gc->ended + 1;
        limit->requested = true;
        return false;
    }
    if (gc->ended < limit->awaited || gc->samples || gc->unswept_count || gc_compacting(gc))
        return false;                   /* what is not swept yet still counts */
    return step_done(limit, gc->last.put_off ? MORPH_EPUTOFF : MORPH_EINUSE);
}

/* ---- The loop thread's ---- */

static void send_needed(struct conn *conn, const struct limit_task *limit)
{
    struct mm_message message = { .id = MM_MSG_ERROR, .seq = limit->seq };
    uint64_t least = LIMIT_LEAST_BYTES, needed = limit->granted_blocks << MM_BLOCK_SHIFT;
    message.as.error.error = (uint32_t)-limit->task.error;
    message.as.error.needed_bytes = needed > least ? needed : least;
    snprintf(message.as.error.text, sizeof message.as.error.text, "the heap needs at least %" PRIu64 " bytes%s", message.as.error.needed_bytes,
             limit->task.error == MORPH_EPUTOFF ? " as long as it is not collected: a thread did not stop in time" : "");
    conn_send(conn, &message, NULL, 0);
}

static void send_done(struct conn *conn, const struct limit_task *limit)
{
    struct mm_report_writer report;
    struct mm_message message = { .id = MM_MSG_REPORT, .seq = limit->seq };
    mm_report_begin(&report);
    report_limit(&report, limit->heap, limit->blocks, limit->was_blocks, limit->granted_blocks);
    message.as.report.last = true;
    if (mm_report_end(&report, &message.as.report.body, &message.as.report.body_bytes) < 0)
        conn_send_error(conn, limit->seq, MORPH_ESYSTEM, "the report does not fit a packet");
    else
        conn_send(conn, &message, NULL, 0);
}

static void on_limit_done(struct job *job)
{
    struct limit_task *limit = (struct limit_task *)job;
    struct conn *conn = limit->conn;
    int error = limit->task.error;
    conn->limiting = false;
    if (error == 0)
        log_info("heap", "limit heap=%" PRIu64 " limit_bytes=%" PRIu64 " was=%" PRIu64 " by pid=%d", limit->heap, limit->blocks << MM_BLOCK_SHIFT,
                 limit->was_blocks << MM_BLOCK_SHIFT, (int)conn->pid);
    if (conn->closing)
        ;
    else if (error == MORPH_EINUSE || error == MORPH_EPUTOFF)
        send_needed(conn, limit);
    else if (error == MORPH_EBUDGET) {
        char text[128];
        snprintf(text, sizeof text, "at most %" PRIu64 " bytes are allowed here", limit->allowed_blocks << MM_BLOCK_SHIFT);
        conn_send_error(conn, limit->seq, error, text);
    } else if (error)
        conn_send_error(conn, limit->seq, error, NULL);
    else
        send_done(conn, limit);
    free(limit);
    conn_release_hold(conn);
}

/* Why a bound of `bytes` is out of the question; NULL: it is not. */
static const char *out_of_question(const struct heap *heap, uint64_t bytes, char *room, size_t room_bytes)
{
    uint64_t most = heap->gc && heap->view.bytes > COLLECTED_MAX_BYTES ? COLLECTED_MAX_BYTES : heap->view.bytes;
    if (bytes < LIMIT_LEAST_BYTES)
        return "a heap cannot be smaller than four blocks of 64 KiB";
    if (bytes <= most)
        return NULL;
    snprintf(room, room_bytes, "the heap was opened with address space for %" PRIu64 " bytes", most);
    return room;
}

void on_limit(struct conn *conn, const struct mm_message *message)
{
    const struct mm_limit *asked = &message->as.limit;
    struct conn *owner = asked->heap ? registry_find(asked->heap) : conn->heap ? conn : NULL;
    char room[128];
    int error = !owner                                ? MORPH_ENOHEAP
                : !registry_may_see(conn, owner->uid) ? MORPH_EPERMISSION
                : conn->limiting                      ? MORPH_EBUSY
                                                      : 0;
    const char *why = error == MORPH_EBUSY ? "another bound is being set by this connection" : NULL;
    if (!error && (why = out_of_question(owner->heap, asked->limit_bytes, room, sizeof room)))
        error = MORPH_EINVALID;
    struct limit_task *limit = error ? NULL : calloc(1, sizeof *limit);
    if (!limit) {
        conn_send_error(conn, message->seq, error ? error : MORPH_EMEMORY, why);
        return;
    }
    limit->task = (struct heap_task){ .heap = owner->heap, .step = limit_step, .done = on_limit_done };
    limit->conn = conn;
    limit->seq = message->seq;
    limit->heap = owner->card.id;
    limit->blocks = asked->limit_bytes >> MM_BLOCK_SHIFT;
    limit->allowed_blocks = limit_allowed(owner, UINT64_MAX) >> MM_BLOCK_SHIFT;
    conn->limiting = true;
    conn->holds++;
    worker_do(&limit->task);
}
