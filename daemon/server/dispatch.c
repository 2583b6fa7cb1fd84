/* dispatch.c — what each letter of a client or tool means. See proto/messages.def for the letters, server.h for the thread.
 *
 * One row a message says when it is allowed; a letter at the wrong time is answered with an error, and the connection ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/segment.h"
#include "daemon/heap/worker.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "daemon/server/server.h"
#include "shm/machine.h"

/* ---- HELLO ---- */

/* Names are shown to people: only printable characters, and only whole UTF-8 ones. */
static void make_printable(char *text)
{
    static const unsigned char lead_least[] = { 0x80, 0xc2, 0xe0, 0xf0 }, lead_most[] = { 0x7f, 0xdf, 0xef, 0xf4 };
    for (unsigned char *p = (unsigned char *)text; *p;) {
        unsigned n = 0;
        while (n < 4 && !(*p >= lead_least[n] && *p <= lead_most[n]))
            n++;
        bool whole = n > 0 && n < 4;
        for (unsigned i = 1; whole && i <= n; i++)
            whole = (p[i] & 0xc0) == 0x80;
        if (whole) {
            p += n + 1;
            continue;
        }
        if (*p < 0x20 || *p >= 0x7f)
            *p = '?';
        p++;
    }
}

/* Which user namespace a process lives in; 0 where this daemon may not know. */
static uint64_t user_namespace_of(pid_t pid)
{
    char path[48];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

uint64_t limit_allowed(const struct conn *conn, uint64_t asked)
{
    uint64_t most = CONFIG(limit_max) ? CONFIG(limit_max) : budget_configured();
    uint64_t cgroup = mm_machine_cgroup_limit_bytes(conn->pid);
    uint64_t limit = asked < most ? asked : most;
    return (limit < cgroup ? limit : cgroup) & ~(uint64_t)(MM_BLOCK_BYTES - 1);
}

static bool hello_valid(const struct mm_hello *hello)
{
    uint64_t end;
    return hello->mode <= 3 && hello->threads <= MM_SLOTS_MAX && hello->limit_bytes >= LIMIT_LEAST_BYTES &&
           hello->reserve_bytes >= hello->limit_bytes && hello->reserve_bytes <= MM_RESERVE_MAX &&
           hello->reserve_bytes % MM_CHUNK_BYTES == 0 && !(hello->no_moving && hello->reserve_bytes > MM_AMBIGUOUS_RESERVE_MAX) && hello->client_base != 0 && hello->client_base % MM_CHUNK_BYTES == 0 &&
           !__builtin_add_overflow(hello->client_base, hello->reserve_bytes, &end) && end < (uint64_t)1 << 56;
}

static int open_heap(struct conn *conn, const struct mm_hello *hello, struct mm_welcome *welcome, int ret_fds[3])
{
    int error;
    uint32_t threads = hello->threads ? hello->threads : MM_SLOTS_DEFAULT;
    if (!hello_valid(hello))
        return MORPH_EINVALID;
    if (conn->user->heaps >= CONFIG(heaps_per_user))
        return MORPH_EQUOTA;
    struct heap_request request = {
        .id = ++server.next_heap,
        .limit_bytes = limit_allowed(conn, hello->limit_bytes),
        .reserve_bytes = hello->reserve_bytes,
        .client_base = hello->client_base,
        .threads = threads,
        .socket = conn->fd,
        .owner = { conn->uid, user_namespace_of(conn->pid) },
        .user = conn->user,
        .pid = conn->pid,
        .mode = hello->mode,
        .types = &conn->types,
        .gc_start_bytes = hello->gc_start_bytes,
        .pause_target_us = hello->pause_target_us,
        .young_min_bytes = hello->young_min_bytes,
        .young_max_bytes = hello->young_max_bytes,
        .promotion_age = hello->promotion_age,
        .no_moving = hello->no_moving && hello->mode != 0,
    };
    if (request.limit_bytes < LIMIT_LEAST_BYTES)
        return MORPH_EBUDGET;
    while (!(conn->heap = heap_new(&request, ret_fds, &error)))
        if (error != -MORPH_EFILES || !segment_shed_descriptor())
            return -error;
    conn->card = (struct heap_card){ .id = request.id, .opened_ns = os.now_ns(), .mode = hello->mode, .pid = conn->pid, .uid = conn->uid };
    memcpy(conn->card.name, hello->name, sizeof conn->card.name);
    memcpy(conn->card.program, hello->program, sizeof conn->card.program);
    make_printable(conn->card.name);
    make_printable(conn->card.program);
    if (registry_add(conn) < 0) {
        close(ret_fds[0]);
        close(ret_fds[2]);
        heap_free(conn->heap);
        conn->heap = NULL;
        return MORPH_EMEMORY;
    }
    welcome->heap = request.id;
    welcome->limit_bytes = request.limit_bytes;
    welcome->control_bytes = conn->heap->control_bytes;
    welcome->segment_chunk[0] = 0;
    welcome->segment_chunks[0] = conn->heap->mapped_chunks;
    welcome->segment_chunk_count = welcome->segment_chunks_count = 1;
    return 0;
}

static void on_hello(struct conn *conn, const struct mm_message *message)
{
    const struct mm_hello *hello = &message->as.hello;
    if (hello->version != MM_PROTOCOL_VERSION || hello->layout != MM_LAYOUT_VERSION) {
        char text[128];
        snprintf(text, sizeof text, "this daemon speaks protocol %u with layout %u, the client %u with layout %u", MM_PROTOCOL_VERSION,
                 MM_LAYOUT_VERSION, hello->version, hello->layout);
        conn_send_error(conn, message->seq, MORPH_EVERSION, text);
        conn_close(conn);
        return;
    }
    struct mm_message answer = { .id = MM_MSG_WELCOME, .seq = message->seq };
    answer.as.welcome.version = MM_PROTOCOL_VERSION;
    answer.as.welcome.features = hello->features & MM_FEATURES;
    answer.as.welcome.daemon_pid = (uint32_t)getpid();
    int fds[3];
    int r = hello->open ? open_heap(conn, hello, &answer.as.welcome, fds) : 0;
    if (r < 0) {
        server.refused++;
        log_info("heap", "refused pid=%d name=%s error=%d", (int)conn->pid, conn->card.name, -r);
        conn_send_error(conn, message->seq, r, NULL);
        conn_close(conn);
        return;
    }
    conn->greeted = true;
    conn->deadline_ns = 0;
    if (!hello->open) {
        conn_send(conn, &answer, NULL, 0);
        return;
    }
    worker_adopt(conn->heap);           /* first: if nobody is there to be sent anything, the heap is released by its worker */
    conn_send(conn, &answer, fds, 3);
    mm_store_release(&conn->heap->welcomed, 1);         /* pairs with the load in pressure.c: nothing unasked goes before WELCOME */
    close(fds[0]);
    close(fds[2]);
    log_info("heap", "opened heap=%llu name=%s pid=%d uid=%u limit_bytes=%llu", (unsigned long long)conn->card.id, conn->card.name,
             (int)conn->pid, (unsigned)conn->uid, (unsigned long long)answer.as.welcome.limit_bytes);
}

/* ---- TYPE ---- */

static void on_type(struct conn *conn, const struct mm_message *message)
{
    struct mm_message answer = { .id = MM_MSG_TYPE_ID, .seq = message->seq };
    struct mm_type spec = message->as.type;
    make_printable(spec.name);
    int error = types_need_fixed(&spec) && !(conn->heap && conn->heap->no_moving) ? -MORPH_EINVALID : types_register(&conn->types, &spec, &answer.as.type_id.type);
    if (error)
        conn_send_error(conn, message->seq, -error, NULL);
    else
        conn_send(conn, &answer, NULL, 0);
}

/* ---- Answers in parts ---- */

void answer_part(struct conn *conn, struct mm_report_writer *report, bool last)
{
    struct mm_message message = { .id = MM_MSG_REPORT, .seq = conn->answer.seq };
    message.as.report.last = last;
    if (report && mm_report_end(report, &message.as.report.body, &message.as.report.body_bytes) < 0) {
        conn_send_error(conn, conn->answer.seq, MORPH_ESYSTEM, "the report does not fit a packet");
        conn_close(conn);
        return;
    }
    conn_send(conn, &message, NULL, 0);
}

void answer_drop(struct answer *answer)
{
    if (answer->census)
        free(answer->census->type);
    free(answer->census);
    free(answer->receipts);
    *answer = (struct answer){ 0 };
}

static void answer_finish(struct conn *conn)
{
    answer_part(conn, NULL, true);
    answer_drop(&conn->answer);
    conn_resume(conn);
}

static void on_counted(struct job *job)
{
    struct census *census = (struct census *)job;
    struct conn *conn = (struct conn *)census->asker;
    if (!conn->closing)
        answer_continue(conn);
    conn_release_hold(conn);
}

/* Sends a census to the heap's worker; it comes back to answer_continue(). */
static bool ask_count(struct conn *conn, struct conn *owner, uint32_t types)
{
    struct census *census = calloc(1, sizeof *census);
    if (census && types)
        census->type = calloc(types, sizeof *census->type);
    if (!census || (types && !census->type)) {
        free(census);
        conn_send_error(conn, conn->answer.seq, MORPH_EMEMORY, NULL);
        conn->answer = (struct answer){ 0 };
        return false;
    }
    census->heap = owner->heap;
    census->type_count = types;
    census->asker = conn;
    conn->answer.census = census;
    conn->answer.heap = owner->card.id;
    conn->holds++;
    worker_count(census, on_counted);
    return true;
}

static void census_drop(struct answer *answer)
{
    free(answer->census->type);
    free(answer->census);
    answer->census = NULL;
}

/* HEAPS: the figures of the heap that was just counted, then the next heap, then closed ones. True: goes on later. */
static bool heaps_step(struct conn *conn)
{
    struct answer *answer = &conn->answer;
    struct mm_report_writer report;
    if (answer->census) {
        struct conn *owner = registry_find(answer->heap);
        if (owner) {
            card_update(&owner->card, owner, answer->census);
            mm_report_begin(&report);
            report_heap(&report, &owner->card);
            answer_part(conn, &report, false);
        }
        census_drop(answer);
        return conn->unsent || conn->closing;
    }
    struct conn *next = answer->only ? (answer->heap ? NULL : registry_find(answer->only)) : registry_after(answer->heap);
    while (next && !registry_may_see(conn, next->uid))
        next = answer->only ? NULL : registry_after(next->card.id);
    if (next)
        return ask_count(conn, next, 0), true;
    while (answer->closed && answer->index < server.closed_count) {
        uint32_t room = (uint32_t)config.closed_heaps, first = server.closed_next + room - server.closed_count;
        const struct heap_card *card = &server.closed[(first + answer->index++) % room];
        if (!registry_may_see(conn, card->uid) || (answer->only && card->id != answer->only))
            continue;
        mm_report_begin(&report);
        report_heap(&report, card);
        answer_part(conn, &report, false);
        return conn->unsent || conn->closing;
    }
    answer->finished = true;
    return false;
}

/* TYPES: one part for each registered type, and one for raw bytes if there are any. */
static bool types_step(struct conn *conn)
{
    struct answer *answer = &conn->answer;
    struct census *census = answer->census;
    struct conn *owner = registry_find(answer->heap);
    if (!owner || census->cut_short) {
        answer->finished = true;
        return false;
    }
    while (answer->index < census->type_count) {
        uint32_t id = answer->index++;
        if (id == 0 && census->type[0].objects == 0)
            continue;
        struct mm_report_writer report;
        mm_report_begin(&report);
        report_type(&report, id, types_get(&owner->types, id), &census->type[id]);
        answer_part(conn, &report, false);
        if (conn->unsent || conn->closing)
            return true;
    }
    answer->finished = true;
    return false;
}

static bool answer_step(struct conn *conn)
{
    switch (conn->answer.id) {
    case MM_MSG_HEAPS: return heaps_step(conn);
    case MM_MSG_TYPES: return types_step(conn);
    case MM_MSG_LOG:   return log_step(conn);
    default:           return true;             /* in one part, when its task is back */
    }
}

void answer_continue(struct conn *conn)
{
    bool later = false;
    while (!later && conn->answer.id && !conn->answer.finished)
        later = answer_step(conn);
    if (conn->answer.finished && !conn->closing && !conn->unsent)
        answer_finish(conn);
}

static void on_heaps(struct conn *conn, const struct mm_message *message)
{
    conn->answer = (struct answer){ .id = MM_MSG_HEAPS, .seq = message->seq, .only = message->as.heaps.heap, .closed = message->as.heaps.closed };
    if (conn->answer.only) {
        struct conn *owner = registry_find(conn->answer.only);
        if (owner ? !registry_may_see(conn, owner->uid) : !conn->answer.closed) {
            conn_send_error(conn, message->seq, owner ? MORPH_EPERMISSION : MORPH_ENOHEAP, NULL);
            conn->answer = (struct answer){ 0 };
            return;
        }
    }
    answer_continue(conn);
}

static void on_types(struct conn *conn, const struct mm_message *message)
{
    struct conn *owner = registry_find(message->as.types.heap);
    if (!owner || !registry_may_see(conn, owner->uid)) {
        conn_send_error(conn, message->seq, owner ? MORPH_EPERMISSION : MORPH_ENOHEAP, NULL);
        return;
    }
    conn->answer = (struct answer){ .id = MM_MSG_TYPES, .seq = message->seq };
    ask_count(conn, owner, owner->types.count + 1);
}

static void send_single(struct conn *conn, uint32_t seq, void (*fill)(struct mm_report_writer *report))
{
    struct mm_report_writer report;
    conn->answer.seq = seq;
    mm_report_begin(&report);
    fill(&report);
    answer_part(conn, &report, true);
    conn->answer = (struct answer){ 0 };
}

static void on_stats(struct conn *conn, const struct mm_message *message) { send_single(conn, message->seq, report_daemon); }
static void on_config(struct conn *conn, const struct mm_message *message) { send_single(conn, message->seq, report_config); }

/* ---- The table ---- */

enum when { BEFORE_HELLO, AFTER_HELLO, WITH_HEAP };

static const struct letter {
    uint32_t  id;
    enum when when;
    void    (*handle)(struct conn *conn, const struct mm_message *message);
} letters[] = {
    { MM_MSG_HELLO,     BEFORE_HELLO, on_hello },
    { MM_MSG_TYPE,      WITH_HEAP,    on_type },
    { MM_MSG_ROOTS,     WITH_HEAP,    on_roots },
    { MM_MSG_ROOTS_GET, WITH_HEAP,    on_roots_get },
    { MM_MSG_STATS,     AFTER_HELLO,  on_stats },
    { MM_MSG_HEAPS,     AFTER_HELLO,  on_heaps },
    { MM_MSG_TYPES,     AFTER_HELLO,  on_types },
    { MM_MSG_CONFIG,    AFTER_HELLO,  on_config },
    { MM_MSG_COLLECT,   AFTER_HELLO,  on_collect },
    { MM_MSG_LOG,       AFTER_HELLO,  on_log },
    { MM_MSG_LIMIT,     AFTER_HELLO,  on_limit },
};

void dispatch(struct conn *conn, const struct mm_message *message)
{
    for (size_t i = 0; i < sizeof letters / sizeof letters[0]; i++) {
        if (letters[i].id != message->id)
            continue;
        bool in_order = letters[i].when == BEFORE_HELLO ? !conn->greeted : conn->greeted && (letters[i].when == AFTER_HELLO || conn->heap);
        if (in_order) {
            letters[i].handle(conn, message);
            return;
        }
        server.letters_bad++;
        conn_send_error(conn, message->seq, MORPH_EPROTOCOL, conn->greeted ? "this message has no place here" : "the first message must be HELLO");
        conn_close(conn);
        return;
    }
    conn_send_error(conn, message->seq, MORPH_EUNKNOWN, NULL);
}
