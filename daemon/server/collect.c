/* collect.c — letters about collections: roots that a thread reports by letter, a collection that somebody asks for, and the log.
 *
 * ROOTS, ROOTS_GET and COLLECT become tasks of the heap's worker; while one is there, no more is read from the connection that sent it, so
 * a connection has one at a time. LOG is answered here, from the heaps' logs.
 * Loop thread, but for the steps of tasks: the heap's worker. See server.h. */
#include <stdlib.h>
#include <string.h>

#include "client/include/morphmem/error.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/worker.h"
#include "daemon/server/server.h"

#define SET_PART_WORDS  512u            /* references in one letter */
_Static_assert(sizeof ((struct mm_roots_moved *)0)->words == SET_PART_WORDS * 8, "as messages.def has it");
#define LOG_RECEIPTS    256u            /* in one answer */

struct letter_task {
    struct heap_task task;
    struct conn     *conn;              /* held */
    struct mm_message answer;
    /* What is asked. */
    struct mm_roots  roots;
    uint32_t         slot, set, at;
    enum mm_collection kind;
    bool             requested;
    uint64_t         awaited;           /* COLLECT: ends of collections after which it is done */
    struct receipt   receipt;
};

static void refuse(struct conn *conn, uint32_t seq, int error, const char *text)
{
    conn_send_error(conn, seq, error, text);
    answer_drop(&conn->answer);
}

/* The task is back: whatever it brings is the answer. */
static void on_task_done(struct job *job)
{
    struct letter_task *letter = (struct letter_task *)job;
    struct conn *conn = letter->conn;
    if (!conn->closing) {
        if (letter->task.error)
            conn_send_error(conn, conn->answer.seq, letter->task.error, NULL);
        else if (conn->answer.id == MM_MSG_COLLECT) {
            struct mm_report_writer report;
            mm_report_begin(&report);
            report_receipt(&report, &letter->receipt);
            answer_part(conn, &report, true);
        } else
            conn_send(conn, &letter->answer, NULL, 0);
        answer_drop(&conn->answer);
        conn_resume(conn);
    }
    free(letter);
    conn_release_hold(conn);
}

/* A task for the letter `message` about the heap of `owner`; NULL: refused for lack of memory. */
static struct letter_task *letter_new(struct conn *conn, struct conn *owner, const struct mm_message *message, uint32_t answer,
                                      bool (*step)(struct heap_task *task))
{
    struct letter_task *letter = calloc(1, sizeof *letter);
    if (!letter) {
        refuse(conn, message->seq, MORPH_EMEMORY, NULL);
        return NULL;
    }
    letter->task.heap = owner->heap;
    letter->task.step = step;
    letter->task.done = on_task_done;
    letter->conn = conn;
    letter->answer.id = answer;
    letter->answer.seq = message->seq;
    return letter;
}

static void letter_post(struct conn *conn, struct letter_task *letter, const struct mm_message *message)
{
    conn->answer = (struct answer){ .id = message->id, .seq = message->seq };
    conn->holds++;
    worker_do(&letter->task);
}

/* ---- Root sets ---- */

/* An honest thread reports while it runs, so no pause is on: what is traced now must not change under the trace. */
static bool roots_step(struct heap_task *task)
{
    struct letter_task *letter = (struct letter_task *)task;
    const struct mm_roots *roots = &letter->roots;
    struct gc *gc = task->heap->gc;
    if (gc_in_pause(gc))
        task->error = MORPH_EPROTOCOL;
    else
        task->error = -gc_root_set_report(gc, roots->slot, roots->set, roots->total, roots->at, roots->words, roots->words_count);
    return true;
}

void on_roots(struct conn *conn, const struct mm_message *message)
{
    if (!conn->heap->gc) {
        conn_send_error(conn, message->seq, MORPH_EMODE, NULL);
        return;
    }
    struct letter_task *letter = letter_new(conn, conn, message, MM_MSG_OK, roots_step);
    if (!letter)
        return;
    letter->roots = message->as.roots;
    letter_post(conn, letter, message);
}

static bool roots_get_step(struct heap_task *task)
{
    struct letter_task *letter = (struct letter_task *)task;
    struct mm_roots_moved *moved = &letter->answer.as.roots_moved;
    struct gc *gc = task->heap->gc;
    if (gc_in_pause(gc))
        return false;                           /* where they are is known when it is over */
    const struct gc_root_set *set = gc_root_set_find(gc, letter->slot, letter->set);
    if (!set || letter->at >= set->filled) {
        task->error = MORPH_EINVALID;
        return true;
    }
    uint32_t left = set->filled - letter->at, count = left < SET_PART_WORDS ? left : SET_PART_WORDS;
    moved->total = set->count;
    moved->at = letter->at;
    moved->epoch = gc->epoch;
    for (uint32_t i = 0; i < count; i++) {
        moved->words[2 * i] = (uint32_t)set->word[letter->at + i];
        moved->words[2 * i + 1] = (uint32_t)(set->word[letter->at + i] >> 32);
    }
    moved->words_count = 2 * count;
    return true;
}

void on_roots_get(struct conn *conn, const struct mm_message *message)
{
    const struct mm_roots_get *get = &message->as.roots_get;
    if (!conn->heap->gc) {
        conn_send_error(conn, message->seq, MORPH_EMODE, NULL);
        return;
    }
    struct letter_task *letter = letter_new(conn, conn, message, MM_MSG_ROOTS_MOVED, roots_get_step);
    if (!letter)
        return;
    letter->slot = get->slot;
    letter->set = get->set;
    letter->at = get->at;
    letter_post(conn, letter, message);
}

/* ---- COLLECT ---- */

/* As morph_collect() does (gc/grant.c): a collection that runs already began too early, so the one after it is asked for. */
static bool collect_step(struct heap_task *task)
{
    struct letter_task *letter = (struct letter_task *)task;
    struct gc *gc = task->heap->gc;
    if (!letter->requested) {
        if (gc->phase != GC_IDLE)
            return false;
        gc_request(gc, letter->kind, RECEIPT_TOOL);
        letter->awaited = gc->ended + 1;
        letter->requested = true;
        return false;
    }
    if (gc->ended < letter->awaited || gc_compacting(gc))
        return false;
    letter->receipt = gc->last;
    return true;
}

void on_collect(struct conn *conn, const struct mm_message *message)
{
    const struct mm_collect *collect = &message->as.collect;
    struct conn *owner = registry_find(collect->heap);
    int error = !owner                                ? MORPH_ENOHEAP
                : !registry_may_see(conn, owner->uid) ? MORPH_EPERMISSION
                : !owner->heap->gc                    ? MORPH_EMODE
                : collect->kind >= MM_COLLECTIONS     ? MORPH_EINVALID
                                                      : 0;
    if (error) {
        conn_send_error(conn, message->seq, error, NULL);
        return;
    }
    struct letter_task *letter = letter_new(conn, owner, message, MM_MSG_REPORT, collect_step);
    if (!letter)
        return;
    letter->kind = (enum mm_collection)collect->kind;
    letter_post(conn, letter, message);
}

/* ---- LOG ---- */

/* Puts a receipt where its number belongs; false: `answer` is full of older ones. */
static bool log_add(struct answer *answer, const struct receipt *receipt)
{
    uint32_t at = answer->receipt_count;
    while (at > 0 && answer->receipts[at - 1].number > receipt->number)
        at--;
    if (at == LOG_RECEIPTS)
        return false;
    uint32_t stay = answer->receipt_count < LOG_RECEIPTS ? answer->receipt_count : LOG_RECEIPTS - 1;
    memmove(&answer->receipts[at + 1], &answer->receipts[at], (stay - at) * sizeof *receipt);
    answer->receipts[at] = *receipt;
    answer->receipt_count = stay + 1;
    return true;
}

/* The receipts of a heap with numbers in (after, last]. */
static void log_gather(struct answer *answer, struct gc *gc, uint64_t after, uint64_t last)
{
    struct receipt receipt;
    while (receipt_next(&gc->log, after, &receipt) && receipt.number <= last && log_add(answer, &receipt))
        after = receipt.number;
}

bool log_step(struct conn *conn)
{
    struct answer *answer = &conn->answer;
    while (answer->index < answer->receipt_count) {
        struct mm_report_writer report;
        mm_report_begin(&report);
        report_receipt(&report, &answer->receipts[answer->index++]);
        answer_part(conn, &report, false);
        if (conn->unsent || conn->closing)
            return true;
    }
    answer->finished = true;
    return false;
}

void on_log(struct conn *conn, const struct mm_message *message)
{
    const struct mm_log *log = &message->as.log;
    struct conn *only = log->heap ? registry_find(log->heap) : NULL;
    uint64_t last = receipt_last();             /* first: up to here none is missing, whatever is filed meanwhile */
    if (log->heap && (!only || !registry_may_see(conn, only->uid))) {
        conn_send_error(conn, message->seq, only ? MORPH_EPERMISSION : MORPH_ENOHEAP, NULL);
        return;
    }
    conn->answer = (struct answer){ .id = MM_MSG_LOG, .seq = message->seq, .receipts = calloc(LOG_RECEIPTS, sizeof(struct receipt)) };
    if (!conn->answer.receipts) {
        refuse(conn, message->seq, MORPH_EMEMORY, NULL);
        return;
    }
    for (struct conn *owner = only ? only : registry_after(0); owner; owner = only ? NULL : registry_after(owner->card.id))
        if (owner->heap->gc && registry_may_see(conn, owner->uid))
            log_gather(&conn->answer, owner->heap->gc, log->after, last);
    answer_continue(conn);
}
