/* cmd_stats.c — morphmemctl stats: the daemon's figures, then the heaps. */
#include "client/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"

/* A line of the summary: a label, then text in which {key} is a figure, {key:size} and {key:time} one with a unit. */
static const struct { const char *label, *text; } stats_lines[] = {
    { "morphmemd",   "{version:text}, process {pid}, up {uptime_ns:time}, {cpu_ns:time} of CPU, {workers} collector threads" },
    { "budget",      "{budget_bytes:size}: {resident_bytes:size} in use, {granted_bytes:size} granted to heaps" },
    { "pressure",    "{pressure_events} events from {pressure_sources:text}, working size {budget_working_bytes:size}; heaps asked to give "
                     "{budget_asks} times, {budget_majors} collections for others, {idle_majors} of idle heaps" },
    { "heaps",       "{heaps} open, {heaps_opened} opened since the start" },
    { "connections", "{connections} open, {connections_refused} refused, {letters} letters, {letters_bad} of them bad" },
    { "warm pool",   "{pool_warm_bytes:size} ready, target {pool_target_bytes:size}, {pool_zeroing_bytes:size} being zeroed, "
                     "{pool_leaving_bytes:size} leaving" },
    { "segments",    "{segments_lent} lent: {segments_warm} warm, {segments_cold} cold; {segments_recycled} recycled, "
                     "{segments_destroyed} destroyed, {zeroed_bytes:size} zeroed" },
    { "grants",      "{grants}: {grants_ahead} ahead of need, {grants_refused} refused" },
    { "collections", "{minors} minor, {majors} major, {put_offs} put off; {collect_ns:time} of pauses, the longest {pause_max_ns:time}" },
    { "huge pages",  "{huge_pages:yes}" },
};

static const struct { const char *word; enum table_kind kind; } stats_kinds[] = {
    { "text", TABLE_TEXT }, { "size", TABLE_SIZE }, { "time", TABLE_DURATION }
};

/* One {key} or {key:kind}, given without its braces. */
static void stats_figure(FILE *to, const json_t *daemon, const char *at, size_t length)
{
    char key[64], text[TABLE_CELL_BYTES];
    snprintf(key, sizeof key, "%.*s", (int)length, at);
    char *word = strchr(key, ':');
    if (word)
        *word++ = 0;
    if (word && strcmp(word, "yes") == 0) {
        const json_t *value = json_object_get(daemon, key);
        fputs(json_is_boolean(value) ? json_is_true(value) ? "yes" : "no" : "-", to);
        return;
    }
    struct table_column column = { .heading = key, .key = key, .kind = TABLE_COUNT };
    for (size_t i = 0; word && i < sizeof stats_kinds / sizeof *stats_kinds; i++)
        if (strcmp(word, stats_kinds[i].word) == 0)
            column.kind = stats_kinds[i].kind;
    table_cell(daemon, &column, text);
    fputs(text, to);
}

void stats_print(FILE *to, const json_t *daemon)
{
    for (size_t i = 0; i < sizeof stats_lines / sizeof *stats_lines; i++) {
        fprintf(to, "%-13s", stats_lines[i].label);
        for (const char *at = stats_lines[i].text; *at; ) {
            const char *end = *at == '{' ? strchr(at, '}') : NULL;
            if (!end) {
                fputc(*at++, to);
                continue;
            }
            stats_figure(to, daemon, at + 1, (size_t)(end - at - 1));
            at = end + 1;
        }
        fputc('\n', to);
    }
}

int stats_ask(struct link *link, json_t **ret_daemon)
{
    struct mm_message request = { .id = MM_MSG_STATS };
    json_t *bodies;
    int code = link_ask(link, &request, &bodies);
    if (code != CTL_FINE)
        return code;
    json_t *daemon = json_array_get(bodies, 0);
    *ret_daemon = daemon ? json_incref(daemon) : json_object();
    json_decref(bodies);
    return CTL_FINE;
}

static int stats_show(const struct ctl *ctl, json_t *daemon, json_t *heaps)
{
    if (ctl->json)
        return ctl_json_print(ctl, json_pack("{s:o, s:o}", "daemon", daemon, "heaps", heaps));
    stats_print(stdout, daemon);
    if (json_array_size(heaps) > 0) {
        putchar('\n');
        heaps_print(stdout, heaps, false);
    }
    json_decref(daemon);
    json_decref(heaps);
    return CTL_FINE;
}

static int stats_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    json_t *daemon = NULL, *heaps;
    (void)count;
    (void)arguments;
    int code = link_open(&link, ctl->socket);
    if (code == CTL_FINE)
        code = stats_ask(&link, &daemon);
    if (code == CTL_FINE)
        code = heaps_ask(&link, 0, false, &heaps);
    link_close(&link);
    if (code == CTL_FINE)
        return stats_show(ctl, daemon, heaps);
    json_decref(daemon);
    return ctl_fail(code, "%s", link.error);
}

const struct ctl_command cmd_stats = {
    .name = "stats", .arguments = "", .help = "the daemon's figures, and the heaps", .most = 0, .run = stats_run
};
