/* config.c — options from options.def: defaults, the file, the command line, --help and --print-config. See config.h.
 *
 * One row of the table knows everything about an option; no option is named anywhere else in this file.
 */
#include "daemon/config.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <ini.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

struct config config;

enum kind { KIND_SIZE, KIND_COUNT, KIND_MS, KIND_BOOL, KIND_TEXT, KIND_CHOICE_HUGE, KIND_CHOICE_VERIFY, KIND_CHOICE_LEVEL };

static const char *const choice_huge[] = { "auto", "never", NULL };
static const char *const choice_verify[] = { "off", "roots", "full", NULL };
static const char *const choice_level[] = { "error", "warning", "info", "debug", NULL };
static const char *const choice_bool[] = { "no", "yes", NULL };

static const struct option_row {
    const char *name;
    enum kind   kind;
    size_t      offset;
    union { uint64_t number; const char *text; } initial;
    uint64_t    least, most;
    bool        reload;
    const char *help;
} option_rows[] = {
#define INITIAL_SIZE(v)         { .number = (v) }
#define INITIAL_COUNT(v)        { .number = (v) }
#define INITIAL_MS(v)           { .number = (v) }
#define INITIAL_BOOL(v)         { .number = (v) }
#define INITIAL_TEXT(v)         { .text = (v) }
#define INITIAL_CHOICE_HUGE(v)  { .number = (v) }
#define INITIAL_CHOICE_VERIFY(v) { .number = (v) }
#define INITIAL_CHOICE_LEVEL(v) { .number = (v) }
#define OPTION(name, kind, initial, least, most, reload, help) \
    { #name, KIND_##kind, offsetof(struct config, name), INITIAL_##kind(initial), least, most, reload, help },
#include "daemon/options.def"
#undef OPTION
};
#define OPTION_ROWS (sizeof option_rows / sizeof option_rows[0])

/* What the command line said, kept for reloads: it wins over the file. */
static char *command_values[OPTION_ROWS];
static char *config_file;
static bool config_file_required;

static const char *const *row_choices(const struct option_row *row)
{
    switch (row->kind) {
    case KIND_CHOICE_HUGE:  return choice_huge;
    case KIND_CHOICE_VERIFY: return choice_verify;
    case KIND_CHOICE_LEVEL: return choice_level;
    case KIND_BOOL:         return choice_bool;
    default:                return NULL;
    }
}

static uint64_t *row_number(const struct option_row *row, struct config *c) { return (uint64_t *)((char *)c + row->offset); }
static char **row_text(const struct option_row *row, struct config *c) { return (char **)((char *)c + row->offset); }

int config_parse_size(const char *text, uint64_t *ret_bytes)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    uint64_t n = strtoull(text, &end, 10);
    unsigned shift = 0;
    switch (toupper((unsigned char)*end)) {
    case 'K': shift = 10; break;
    case 'M': shift = 20; break;
    case 'G': shift = 30; break;
    case 'T': shift = 40; break;
    case 0:   break;
    default:  return -EINVAL;
    }
    if (shift)
        end++;
    if (shift && toupper((unsigned char)*end) == 'I')
        end++;
    if (shift && toupper((unsigned char)*end) == 'B')
        end++;
    if (errno || *end || (n << shift) >> shift != n)
        return -EINVAL;
    *ret_bytes = n << shift;
    return 0;
}

static int parse_number(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    if (!isdigit((unsigned char)*text))
        return -EINVAL;
    *ret = strtoull(text, &end, 10);
    return errno || *end ? -EINVAL : 0;
}

static int parse_choice(const struct option_row *row, const char *text, uint64_t *ret)
{
    const char *const *choices = row_choices(row);
    for (uint64_t i = 0; choices[i]; i++)
        if (strcmp(choices[i], text) == 0) {
            *ret = i;
            return 0;
        }
    if (row->kind == KIND_BOOL && (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)) {
        *ret = *text == 't';
        return 0;
    }
    return -EINVAL;
}

/* Sets one option in `c`; on a bad value says what is allowed, on stderr (start) or in the log (reload). */
static int row_set(const struct option_row *row, struct config *c, const char *value, const char *where)
{
    uint64_t n = 0;
    int r = 0;
    switch (row->kind) {
    case KIND_TEXT: {
        char *copy = strdup(value);
        if (!copy)
            return -ENOMEM;
        free(*row_text(row, c));
        *row_text(row, c) = copy;
        return 0;
    }
    case KIND_SIZE:  r = config_parse_size(value, &n); break;
    case KIND_COUNT:
    case KIND_MS:    r = parse_number(value, &n); break;
    default:         r = parse_choice(row, value, &n); break;
    }
    if (r == 0 && !row_choices(row) && (n < row->least || n > row->most))
        r = -ERANGE;
    if (r == 0) {
        mm_store_relaxed(row_number(row, c), n);
        return 0;
    }
    char allowed[160] = "";
    if (row_choices(row))
        for (const char *const *p = row_choices(row); *p; p++)
            snprintf(allowed + strlen(allowed), sizeof allowed - strlen(allowed), "%s%s", *allowed ? ", " : "", *p);
    else if (r == -ERANGE)
        snprintf(allowed, sizeof allowed, "%" PRIu64 " to %" PRIu64, row->least, row->most);
    else
        snprintf(allowed, sizeof allowed, "%s", row->kind == KIND_SIZE ? "a size such as 64M" : "a whole number");
    log_error("config", "%s: '%s' is not a value of %s; allowed: %s", where, value, row->name, allowed);
    return -EINVAL;
}

static const struct option_row *row_find(const char *name, size_t length)
{
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        const char *want = option_rows[i].name;
        size_t k = 0;
        while (k < length && want[k] && (name[k] == want[k] || (name[k] == '-' && want[k] == '_')))
            k++;
        if (k == length && !want[k])
            return &option_rows[i];
    }
    return NULL;
}

static int config_defaults(struct config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        const struct option_row *row = &option_rows[i];
        if (row->kind != KIND_TEXT)
            *row_number(row, c) = row->initial.number;
        else if (!(*row_text(row, c) = strdup(row->initial.text)))
            return -ENOMEM;
    }
    return 0;
}

static void config_clear(struct config *c)
{
    for (size_t i = 0; i < OPTION_ROWS; i++)
        if (option_rows[i].kind == KIND_TEXT) {
            free(*row_text(&option_rows[i], c));
            *row_text(&option_rows[i], c) = NULL;
        }
}

struct file_reading { struct config *into; int result; };

static int on_file_line(void *user, const char *section, const char *name, const char *value)
{
    struct file_reading *reading = user;
    const struct option_row *row = row_find(name, strlen(name));
    if (*section || !row) {
        log_error("config", "%s: there is no option '%s'; 'morphmemd --help' lists them", config_file, *section ? section : name);
        reading->result = -EINVAL;
        return 1;
    }
    int r = row_set(row, reading->into, value, config_file);
    if (r < 0)
        reading->result = r;
    return 1;
}

/* Defaults, then the file, then the command line, into *c. Says every fault before it fails. */
static int config_build(struct config *c)
{
    if (config_defaults(c) < 0)
        return -ENOMEM;
    struct file_reading reading = { .into = c };
    if (access(config_file, F_OK) == 0 || config_file_required) {
        int r = ini_parse(config_file, on_file_line, &reading);
        if (r != 0) {
            if (r < 0)
                log_error("config", "%s cannot be read: %s", config_file, strerror(errno));
            else
                log_error("config", "%s: line %d is not 'name = value'", config_file, r);
            reading.result = -EINVAL;
        }
    }
    for (size_t i = 0; i < OPTION_ROWS; i++)
        if (command_values[i]) {
            int r = row_set(&option_rows[i], c, command_values[i], "command line");
            if (r < 0)
                reading.result = r;
        }
    return reading.result;
}

static int take_option(const char *program, const char *word)
{
    const char *equals = strchr(word, '=');
    const struct option_row *row = strncmp(word, "--", 2) == 0 ? row_find(word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2)) : NULL;
    if (!row || (!equals && row->kind != KIND_BOOL)) {
        fprintf(stderr, row ? "%s: %s needs a value: %s=VALUE\n" : "%s: there is no option '%s'; try --help\n", program, word, word);
        return -EINVAL;
    }
    char **kept = &command_values[row - option_rows];
    free(*kept);
    *kept = strdup(equals ? equals + 1 : "yes");
    return *kept ? 0 : -ENOMEM;
}

static int parse_command_line(int argc, char **argv, struct config_command *command)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *value = NULL;
        if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
            command->help = true;
        else if (strcmp(word, "--version") == 0)
            command->version = true;
        else if (strcmp(word, "--print-config") == 0)
            command->print_config = true;
        else if (strcmp(word, "--private") == 0)
            command->is_private = true;
        else if (strncmp(word, "--config", 8) == 0 && (word[8] == '=' || !word[8])) {
            value = word[8] ? word + 9 : i + 1 < argc ? argv[++i] : NULL;
            if (!value) {
                fprintf(stderr, "%s: --config needs a file\n", argv[0]);
                return -EINVAL;
            }
            command->file = value;
        } else if (strncmp(word, "--ready-fd", 10) == 0 && (word[10] == '=' || !word[10])) {
            uint64_t fd;
            value = word[10] ? word + 11 : i + 1 < argc ? argv[++i] : "";
            if (parse_number(value, &fd) < 0 || fd > 1 << 20) {
                fprintf(stderr, "%s: --ready-fd needs the number of an open descriptor\n", argv[0]);
                return -EINVAL;
            }
            command->ready_fd = (int)fd;
        } else if (take_option(argv[0], word) < 0)
            return -EINVAL;
    }
    return 0;
}

int config_load(int argc, char **argv, struct config_command *ret_command)
{
    struct config_command command = { .ready_fd = -1 };
    if (parse_command_line(argc, argv, &command) < 0)
        return -1;
    config_file = command.file ? realpath(command.file, NULL) : NULL;      /* a private daemon leaves this directory */
    if (!config_file)
        config_file = strdup(command.file ? command.file : MORPH_SYSCONFDIR "/morphmem/morphmemd.conf");
    config_file_required = command.file != NULL;
    if (command.is_private && !command_values[row_find("idle_exit", 9) - option_rows])
        command_values[row_find("idle_exit", 9) - option_rows] = strdup("60000");
    *ret_command = command;
    if (command.help || command.version)
        return config_defaults(&config) < 0 ? -1 : 0;
    return config_build(&config) < 0 ? -1 : 0;
}

static bool row_same(const struct option_row *row, struct config *a, struct config *b)
{
    return row->kind == KIND_TEXT ? strcmp(*row_text(row, a), *row_text(row, b)) == 0 : *row_number(row, a) == *row_number(row, b);
}

int config_reload(void)
{
    struct config fresh;
    if (config_build(&fresh) < 0) {
        log_error("config", "not reloaded: nothing was changed");
        config_clear(&fresh);
        return -1;
    }
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        const struct option_row *row = &option_rows[i];
        if (row_same(row, &config, &fresh))
            continue;
        if (!row->reload) {
            log_warning("config", "%s changes only with a restart, ignoring", row->name);
            continue;
        }
        if (row->kind == KIND_TEXT) {
            char *old = *row_text(row, &config);
            *row_text(row, &config) = *row_text(row, &fresh);
            *row_text(row, &fresh) = old;
        } else {
            mm_store_relaxed(row_number(row, &config), *row_number(row, &fresh));
        }
        log_info("config", "%s changed", row->name);
    }
    config_clear(&fresh);
    log_info("config", "reloaded file=%s", config_file);
    return 0;
}

static void size_text(uint64_t n, char *to, size_t capacity)
{
    static const char units[] = "\0KMGT";
    unsigned u = 0;
    while (n && n % 1024 == 0 && u < 4) {
        n /= 1024;
        u++;
    }
    snprintf(to, capacity, "%" PRIu64 "%.1s", n, u ? &units[u] : "");
}

static const char *row_value_text(const struct option_row *row, struct config *c, char *buffer, size_t capacity)
{
    if (row->kind == KIND_TEXT)
        return *row_text(row, c);
    uint64_t n = *row_number(row, c);
    if (row_choices(row))
        return row_choices(row)[n];
    if (row->kind == KIND_SIZE)
        size_text(n, buffer, capacity);
    else
        snprintf(buffer, capacity, "%" PRIu64, n);
    return buffer;
}

bool config_value(unsigned index, const char **ret_name, bool *ret_is_number, uint64_t *ret_number, const char **ret_text)
{
    if (index >= OPTION_ROWS)
        return false;
    const struct option_row *row = &option_rows[index];
    *ret_name = row->name;
    *ret_is_number = row->kind == KIND_SIZE || row->kind == KIND_COUNT || row->kind == KIND_MS;
    *ret_number = *ret_is_number ? *row_number(row, &config) : 0;
    *ret_text = *ret_is_number ? "" : row_value_text(row, &config, NULL, 0);
    return true;
}

void config_print(FILE *to)
{
    char buffer[32];
    for (size_t i = 0; i < OPTION_ROWS; i++)
        fprintf(to, "# %s\n%s = %s\n\n", option_rows[i].help, option_rows[i].name, row_value_text(&option_rows[i], &config, buffer, sizeof buffer));
}

void config_help(FILE *to)
{
    fprintf(to,
            "usage: morphmemd [--config FILE] [--private] [--ready-fd N] [--print-config] [--OPTION=VALUE ...]\n\n"
            "morphmemd owns the heaps of processes that link libmorphmem: it keeps memory zeroed and warm ahead of need,\n"
            "holds each heap to its bound and all of them to one budget, and takes everything back when a process ends.\n\n"
            "  --config FILE     read options from FILE (default: %s/morphmem/morphmemd.conf if it exists)\n"
            "  --private         a daemon for this user alone: in the background, socket in the user's runtime directory, ends when idle\n"
            "  --ready-fd N      write one byte to descriptor N and close it once clients can connect\n"
            "  --print-config    print the effective options and exit\n"
            "  --help, --version\n\n"
            "options, in the file as 'name = value':\n", MORPH_SYSCONFDIR);
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        char dashed[64], buffer[32];
        snprintf(dashed, sizeof dashed, "%s", option_rows[i].name);
        for (char *p = dashed; *p; p++)
            *p = *p == '_' ? '-' : *p;
        const char *value = row_value_text(&option_rows[i], &config, buffer, sizeof buffer);
        fprintf(to, "  --%s=%s\n        %s\n", dashed, *value ? value : "''", option_rows[i].help);
    }
    fprintf(to, "\nSignals: TERM and INT end it in order, HUP reads the file again. Manual: morphmemd(8), morphmemd.conf(5).\n");
}

void config_free(void)
{
    config_clear(&config);
    for (size_t i = 0; i < OPTION_ROWS; i++) {
        free(command_values[i]);
        command_values[i] = NULL;
    }
    free(config_file);
    config_file = NULL;
}
