/* ctl.h — what the files of morphmemctl share: the options, the exit codes, and one entry for each command.
 *
 * One command is one file (cmd_*.c) with one struct ctl_command. ctl.c reads the command line and calls it; it asks the daemon
 * through link.h, and prints either a table (table.h) or JSON, whose keys are the protocol's. Single-threaded.
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum ctl_exit {
    CTL_FINE = 0,
    CTL_FAILED = 1,             /* the daemon answered with an error, or the output could not be written */
    CTL_USAGE = 2,
    CTL_NO_DAEMON = 3,          /* none answers, or it may not be asked by this user */
    CTL_LACKING = 4,            /* doctor: a feature is missing */
    CTL_CANNOT_RUN = 126,       /* run: as shells say it */
    CTL_NOT_FOUND = 127
};

/* Bits of the options that a command takes beside those for all. */
enum {
    CTL_OPTION_CLOSED = 1,
    CTL_OPTION_TOP = 2,
    CTL_OPTION_LIMIT = 4,
    CTL_OPTION_KEEP_LOG = 8,
    CTL_OPTION_KIND = 16,       /* --minor, --major, --compact */
    CTL_OPTION_FOLLOW = 32
};

struct ctl {
    const char *socket;         /* --socket; NULL: the usual places */
    bool        json;
    const char *json_file;      /* NULL: standard output */
    bool        closed;
    uint64_t    top;            /* 0: all */
    const char *limit;          /* NULL: none */
    bool        keep_log;
    uint32_t    kind;           /* enum mm_collection */
    bool        follow;
};

struct ctl_command {
    const char *name, *arguments, *help;
    unsigned    options;        /* CTL_OPTION_... */
    int         least, most;    /* arguments; most -1: any number, and options end at the first one */
    int       (*run)(const struct ctl *ctl, int count, char **arguments);       /* an exit code */
};

extern const struct ctl_command cmd_stats, cmd_heaps, cmd_types, cmd_gc, cmd_set_limit, cmd_log, cmd_config, cmd_doctor, cmd_run;

/* "morphmemctl: " and a sentence on stderr; returns `code`. */
int ctl_fail(enum ctl_exit code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints `value` as JSON to where the options say, and drops the reference. Exit code. */
int ctl_json_print(const struct ctl *ctl, json_t *value);

/* Number of a heap from the command line; false if it is not one. */
bool ctl_number(const char *text, uint64_t *ret);

/* Is it a whole number with an optional K, M, G or T? */
bool ctl_size(const char *text);

/* ---- Shared by commands ---- */

struct link;

/* The heaps (cmd_heaps.c): asks for one (`heap`) or all (0). The array is the caller's. Exit code; the sentence is in the link. */
int heaps_ask(struct link *link, uint64_t heap, bool closed, json_t **ret_heaps);
void heaps_print(FILE *to, const json_t *heaps, bool closed);

/* The daemon's figures (cmd_stats.c). */
int stats_ask(struct link *link, json_t **ret_daemon);
void stats_print(FILE *to, const json_t *daemon);

#endif
