/* receipts.h — what the daemon noted about collections, read by `morphmemctl log --json` (one object a line, the latest 256).
 *
 * Only the figures of struct receipt are taken. Where there is no tool, or a key is missing, a workload has nothing to report for it: its
 * figure is left out, with a note. One thread. */
#ifndef BENCH_RECEIPTS_H
#define BENCH_RECEIPTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECEIPTS_EACH 200u          /* collections between two looks: the daemon keeps 256 */

struct receipt { uint64_t cycle, pause_ns, stop_ns, wait_ns, trace_ns, young_bytes, survived_bytes, marked_bytes, marked_objects; bool minor; };

struct receipts { struct receipt *item; uint64_t count, room, last; bool missing; };

/* MORPHMEMCTL, or the build tree's. */
static inline const char *receipts_tool(void)
{
    static char path[PATH_MAX];
    const char *named = getenv("MORPHMEMCTL");
    if (named && *named)
        return named;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 64);
    if (length < 0)
        return "morphmemctl";
    path[length] = 0;
    strcpy(strrchr(path, '/') + 1, "../../morphmemctl");
    return access(path, X_OK) == 0 ? path : "morphmemctl";
}

/* The number behind "key": in a line of JSON. */
static inline bool receipts_number(const char *line, const char *key, uint64_t *ret_number)
{
    char quoted[48];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *found = strstr(line, quoted);
    if (!found)
        return false;
    *ret_number = strtoull(found + strlen(quoted), NULL, 10);
    return true;
}

static inline bool receipts_parse(const char *line, struct receipt *ret_receipt)
{
    struct receipt receipt = { .minor = strstr(line, "\"kind\":\"minor\"") };
    uint64_t copied = 0, promoted = 0, kept = 0;
    bool whole = receipts_number(line, "cycle", &receipt.cycle) && receipts_number(line, "pause_ns", &receipt.pause_ns) &&
                 receipts_number(line, "stop_ns", &receipt.stop_ns) && receipts_number(line, "wait_ns", &receipt.wait_ns) &&
                 receipts_number(line, "trace_ns", &receipt.trace_ns) && receipts_number(line, "young_bytes", &receipt.young_bytes) &&
                 receipts_number(line, "copied_bytes", &copied) && receipts_number(line, "promoted_bytes", &promoted) &&
                 receipts_number(line, "kept_bytes", &kept) && receipts_number(line, "marked_bytes", &receipt.marked_bytes) &&
                 receipts_number(line, "marked_objects", &receipt.marked_objects);
    receipt.survived_bytes = copied + promoted + kept;
    *ret_receipt = receipt;
    return whole && !strstr(line, "\"put_off\":true");
}

/* Adds the receipts that are new since the last look. */
static inline void receipts_take(struct receipts *receipts, uint64_t heap_id)
{
    char command[PATH_MAX + 64], line[4096];
    snprintf(command, sizeof command, "'%s' log --json %llu 2>/dev/null", receipts_tool(), (unsigned long long)heap_id);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) {
        struct receipt receipt;
        if (!receipts_parse(line, &receipt) || receipt.cycle <= receipts->last)
            continue;
        if (receipts->count == receipts->room) {
            receipts->room = receipts->room ? receipts->room * 2 : 512;
            receipts->item = realloc(receipts->item, receipts->room * sizeof *receipts->item);
            if (!receipts->item)
                abort();
        }
        receipts->item[receipts->count++] = receipt;
        receipts->last = receipt.cycle;
    }
    if (!pipe || pclose(pipe) != 0 || !receipts->count) {
        if (!receipts->missing)
            fprintf(stderr, "no receipts of collections (%s log --json): figures of the daemon are left out\n", receipts_tool());
        receipts->missing = true;
    }
}

#endif
