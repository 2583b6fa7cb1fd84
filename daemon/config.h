/* config.h — effective options of morphmemd: one struct, made from options.def.
 *
 * Order of precedence: command line, file, default. Numbers may be read by any thread through CONFIG(), texts by the loop thread
 * only: a reload (SIGHUP) replaces reloadable values one by one. */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "shm/atomic.h"

enum config_huge { HUGE_AUTO, HUGE_NEVER };
enum config_verify { VERIFY_OFF, VERIFY_ROOTS, VERIFY_FULL };
enum config_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

typedef char *config_TEXT;
typedef uint64_t config_SIZE, config_COUNT, config_MS, config_BOOL, config_CHOICE_HUGE, config_CHOICE_VERIFY, config_CHOICE_LEVEL;

struct config {
#define OPTION(name, kind, initial, least, most, reload, help) config_##kind name;
#include "daemon/options.def"
#undef OPTION
};

extern struct config config;
#define CONFIG(name) mm_load_relaxed(&config.name)

/* What the command line asks for beside options. */
struct config_command {
    const char *file;           /* configuration file, borrowed from argv; NULL: the default one, which may be absent */
    int  ready_fd;              /* write one byte here when listening; -1: none */
    bool print_config, is_private, help, version;
};

/* Parses the command line and then the file into `config`. 0, or -1 with a sentence on stderr. Loop thread, before workers run. */
int config_load(int argc, char **argv, struct config_command *ret_command);

/* Reads the file again; applies what may be reloaded, logs what may not. 0, or -1 (logged, nothing changed). */
int config_reload(void);

void config_print(FILE *to);
void config_help(FILE *to);

/* Finds option number `index` for those who list them all; false past the end. The text is valid until the next call. */
bool config_value(unsigned index, const char **ret_name, bool *ret_is_number, uint64_t *ret_number, const char **ret_text);

/* Parses "64M" and the like. 0 or -EINVAL. */
int config_parse_size(const char *text, uint64_t *ret_bytes);

void config_free(void);

#endif
