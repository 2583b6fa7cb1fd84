/* cmd_heaps.c — morphmemctl heaps: every heap that this user may see, as a table. */
#include "client/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"

/* The last column is for --closed only. */
static const struct table_column heap_columns[] = {
    { "ID",      "id",            TABLE_COUNT },
    { "NAME",    "name",          TABLE_TEXT },
    { "MODE",    "mode",          TABLE_TEXT },
    { "PID",     "pid",           TABLE_COUNT },
    { "USER",    "user",          TABLE_TEXT },
    { "BOUND",   "limit_bytes",   TABLE_SIZE },
    { "LIVE",    "live_bytes",    TABLE_SIZE },
    { "USED",    "used_bytes",    TABLE_SIZE },
    { "GRANTED", "granted_bytes", TABLE_SIZE },
    { "PEAK",    "peak_bytes",    TABLE_SIZE },
    { "TARGET",  "target_bytes",  TABLE_SIZE },
    { "SHARE",   "share_bytes",   TABLE_SIZE },
    { "ASKED",   "asks",          TABLE_COUNT },
    { "PAUSE p99", "pause_p99_ns", TABLE_DURATION },
    { "CYCLES",  "cycles",        TABLE_TEXT },
    { "THREADS", "threads",       TABLE_COUNT },
    { "AGE",     "age_ns",        TABLE_DURATION },
    { "STATE",   "state",         TABLE_TEXT },
    { NULL, NULL, TABLE_TEXT }
};
#define HEAP_COLUMNS (sizeof heap_columns / sizeof *heap_columns)
_Static_assert(HEAP_COLUMNS <= TABLE_COLUMNS_MAX, "a table has room for them");

int heaps_ask(struct link *link, uint64_t heap, bool closed, json_t **ret_heaps)
{
    struct mm_message request = { .id = MM_MSG_HEAPS };
    request.as.heaps.heap = heap;
    request.as.heaps.closed = closed;
    return link_ask(link, &request, ret_heaps);
}

/* A heap as the table shows it: with its cycles in words, and without figures of pauses that there were not. */
static json_t *heap_row(const json_t *heap)
{
    json_int_t minors = json_integer_value(json_object_get(heap, "minors")), majors = json_integer_value(json_object_get(heap, "majors"));
    char cycles[64];
    json_t *row = json_copy((json_t *)heap);
    if (minors + majors == 0) {
        (void)json_object_del(row, "pause_p99_ns");
        return row;
    }
    snprintf(cycles, sizeof cycles, "%" JSON_INTEGER_FORMAT " minor, %" JSON_INTEGER_FORMAT " major", minors, majors);
    (void)json_object_set_new(row, "cycles", json_string(cycles));
    return row;
}

void heaps_print(FILE *to, const json_t *heaps, bool closed)
{
    json_t *rows = json_array();
    const json_t *heap;
    size_t index;
    json_array_foreach(heaps, index, heap)
        (void)json_array_append_new(rows, heap_row(heap));
    struct table_column columns[HEAP_COLUMNS];
    for (size_t i = 0; i < HEAP_COLUMNS; i++)
        columns[i] = heap_columns[i];
    if (!closed)
        columns[HEAP_COLUMNS - 2] = (struct table_column){ .heading = NULL };
    table_print(to, columns, rows);
    json_decref(rows);
}

static int heaps_show(const struct ctl *ctl, json_t *heaps)
{
    if (ctl->json)
        return ctl_json_print(ctl, json_pack("{s:o}", "heaps", heaps));
    heaps_print(stdout, heaps, ctl->closed);
    json_decref(heaps);
    return CTL_FINE;
}

static int heaps_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    uint64_t heap = 0;
    json_t *heaps;
    if (count == 1 && (!ctl_number(arguments[0], &heap) || heap == 0))
        return ctl_fail(CTL_USAGE, "'%s' is not the number of a heap; 'morphmemctl heaps' lists them", arguments[0]);
    int code = link_open(&link, ctl->socket);
    if (code == CTL_FINE)
        code = heaps_ask(&link, heap, ctl->closed, &heaps);
    link_close(&link);
    if (code != CTL_FINE)
        return ctl_fail(code, "%s", link.error);
    if (heap != 0 && json_array_size(heaps) == 0) {
        json_decref(heaps);
        return ctl_fail(CTL_FAILED, "there is no heap %" PRIu64 "; 'morphmemctl heaps --closed' lists those that are and those that were", heap);
    }
    return heaps_show(ctl, heaps);
}

const struct ctl_command cmd_heaps = {
    .name = "heaps", .arguments = "[--closed] [HEAP]", .help = "the heaps, or one of them",
    .options = CTL_OPTION_CLOSED, .least = 0, .most = 1, .run = heaps_run
};
