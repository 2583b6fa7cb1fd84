/* cmd_log.c — morphmemctl log: the story of each collection, one line a cycle, to be read, grepped or followed. */
#define _GNU_SOURCE
#include "client/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <morphmem/error.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"

#define FOLLOW_MS 200

/* key=value of a line, in this order; figures without a space between number and unit. */
static const struct table_column log_columns[] = {
    { "heap",       "heap",           TABLE_COUNT },
    { "cycle",      "cycle",          TABLE_COUNT },
    { "kind",       "kind",           TABLE_TEXT },
    { "reason",     "reason",         TABLE_TEXT },
    { "pause",      "pause_ns",       TABLE_DURATION },
    { "stop",       "stop_ns",        TABLE_DURATION },
    { "wait",       "wait_ns",        TABLE_DURATION },
    { "roots",      "roots_ns",       TABLE_DURATION },
    { "remset",     "remset_ns",      TABLE_DURATION },
    { "trace",      "trace_ns",       TABLE_DURATION },
    { "weak",       "weak_ns",        TABLE_DURATION },
    { "finish",     "finish_ns",      TABLE_DURATION },
    { "young",      "young_bytes",    TABLE_SIZE },
    { "copied",     "copied_bytes",   TABLE_SIZE },
    { "promoted",   "promoted_bytes", TABLE_SIZE },
    { "kept",       "kept_bytes",     TABLE_SIZE },
    { "marked",     "marked_bytes",   TABLE_SIZE },
    { "evacuated",  "evac_bytes",     TABLE_SIZE },
    { "marking",    "mark_elapsed_ns", TABLE_DURATION },
    { "freed",      "freed_bytes",    TABLE_SIZE },
    { "old",        "old_bytes",      TABLE_SIZE },
    { "granted",    "granted_bytes",  TABLE_SIZE },
    { "threads",    "threads",        TABLE_COUNT },
    { "cards",      "cards",          TABLE_COUNT },
    { "age",        "promotion_age",  TABLE_COUNT },
    { "nursery",    "nursery_bytes",  TABLE_SIZE },
    { "helpers",    "helpers",        TABLE_COUNT },
};

/* One that was put off collected nothing. */
static const struct table_column put_off_columns[] = {
    { "heap",       "heap",           TABLE_COUNT },
    { "cycle",      "cycle",          TABLE_COUNT },
    { "kind",       "kind",           TABLE_TEXT },
    { "reason",     "reason",         TABLE_TEXT },
    { "stop",       "stop_ns",        TABLE_DURATION },
    { "late_tid",   "late_tid",       TABLE_COUNT },
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* Once: the next signal ends the program in the usual way. */
static void interrupt_begin(void)
{
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void time_print(FILE *to, const json_t *receipt)
{
    json_int_t ns = json_integer_value(json_object_get(receipt, "ended_at_ns"));
    time_t seconds = (time_t)(ns / 1000000000);
    struct tm utc;
    char text[32];
    if (!gmtime_r(&seconds, &utc) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        snprintf(text, sizeof text, "?");
    fprintf(to, "time=%s.%03dZ", text, (int)(ns / 1000000 % 1000));
}

static void pair_print(FILE *to, const json_t *receipt, const struct table_column *column)
{
    char text[TABLE_CELL_BYTES];
    (void)table_cell(receipt, column, text);
    fprintf(to, " %s=", column->heading);
    for (const char *at = text; *at; at++)
        if (*at != ' ')
            fputc(*at, to);
}

static void line_print(FILE *to, const json_t *receipt)
{
    bool put_off = json_is_true(json_object_get(receipt, "put_off"));
    const struct table_column *columns = put_off ? put_off_columns : log_columns;
    size_t count = put_off ? sizeof put_off_columns / sizeof *columns : sizeof log_columns / sizeof *columns;
    time_print(to, receipt);
    for (size_t i = 0; i < count; i++)
        pair_print(to, receipt, &columns[i]);
    fputs(put_off ? " put_off=yes\n" : "\n", to);
}

/* Prints what an answer brought; returns the number after which to ask on. */
static uint64_t receipts_print(const struct ctl *ctl, FILE *to, const json_t *receipts, uint64_t after)
{
    const json_t *receipt;
    size_t index;
    json_array_foreach(receipts, index, receipt) {
        json_int_t number = json_integer_value(json_object_get(receipt, "number"));
        if (number > 0 && (uint64_t)number > after)
            after = (uint64_t)number;
        if (!ctl->json)
            line_print(to, receipt);
        else if (json_dumpf(receipt, to, JSON_COMPACT) == 0)
            fputc('\n', to);
    }
    return after;
}

/* Asks until nothing is left, or with --follow until somebody ends it: the user, the daemon, or the heap. */
static int log_tell(const struct ctl *ctl, struct link *link, uint64_t heap, FILE *to)
{
    uint64_t after = 0;
    for (bool first = true; !interrupted; first = false) {
        struct mm_message request = { .id = MM_MSG_LOG };
        json_t *receipts;
        request.as.log.heap = heap;
        request.as.log.after = after;
        int code = link_ask(link, &request, &receipts);
        if (code != CTL_FINE)
            return !first && link->refused == (uint32_t)-MORPH_ENOHEAP ? CTL_FINE : ctl_fail((enum ctl_exit)code, "%s", link->error);
        size_t count = json_array_size(receipts);
        after = receipts_print(ctl, to, receipts, after);
        json_decref(receipts);
        if (fflush(to) != 0 || ferror(to))
            return ctl_fail(CTL_FAILED, "cannot write %s: %s", ctl->json_file ? ctl->json_file : "standard output", strerror(errno));
        if (count == 0 && !ctl->follow)
            return CTL_FINE;
        if (count == 0)
            (void)poll(NULL, 0, FOLLOW_MS);
    }
    return CTL_FINE;
}

static int log_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    uint64_t heap = 0;
    if (count == 1 && (!ctl_number(arguments[0], &heap) || heap == 0))
        return ctl_fail(CTL_USAGE, "'%s' is not the number of a heap; 'morphmemctl heaps' lists them", arguments[0]);
    FILE *to = ctl->json_file ? fopen(ctl->json_file, "we") : stdout;
    if (!to)
        return ctl_fail(CTL_FAILED, "cannot write %s: %s", ctl->json_file, strerror(errno));
    if (ctl->follow)
        interrupt_begin();
    int code = link_open(&link, ctl->socket);
    code = code == CTL_FINE ? log_tell(ctl, &link, heap, to) : ctl_fail((enum ctl_exit)code, "%s", link.error);
    link_close(&link);
    if (ctl->json_file && fclose(to) != 0 && code == CTL_FINE)
        code = ctl_fail(CTL_FAILED, "cannot write %s: %s", ctl->json_file, strerror(errno));
    return code;
}

const struct ctl_command cmd_log = {
    .name = "log", .arguments = "[-f] [HEAP]", .help = "the latest collections, one line each",
    .options = CTL_OPTION_FOLLOW, .least = 0, .most = 1, .run = log_run
};
