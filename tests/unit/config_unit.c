/* config_unit.c — options: values and their bounds, file and command line, reload, printing. Tests daemon/config.c and options.def.
 *
 * What is said to people is caught in a file, so a refusal is checked together with its sentence. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"

/* The list once more, as a test sees it. */
#define IS_SIZE 1
#define IS_COUNT 2
#define IS_MS 3
#define IS_TEXT 4
#define IS_CHOICE_HUGE 5
#define IS_CHOICE_LEVEL 6
#define IS_CHOICE_VERIFY 7
#define IS_BOOL 8
#define NUMBER_SIZE(v) (v)
#define NUMBER_COUNT(v) (v)
#define NUMBER_MS(v) (v)
#define NUMBER_TEXT(v) 0
#define NUMBER_CHOICE_HUGE(v) (v)
#define NUMBER_CHOICE_LEVEL(v) (v)
#define NUMBER_CHOICE_VERIFY(v) (v)
#define NUMBER_BOOL(v) (v)
#define TEXT_SIZE(v) ""
#define TEXT_COUNT(v) ""
#define TEXT_MS(v) ""
#define TEXT_TEXT(v) (v)
#define TEXT_CHOICE_HUGE(v) ((const char *[]){ "auto", "never" }[v])
#define TEXT_CHOICE_VERIFY(v) ((const char *[]){ "off", "roots", "full" }[v])
#define TEXT_BOOL(v) ((const char *[]){ "no", "yes" }[v])
#define TEXT_CHOICE_LEVEL(v) ((const char *[]){ "error", "warning", "info", "debug" }[v])

static const struct { const char *name; int kind; uint64_t number, least, most; bool reload; const char *help; } rows[] = {
#define OPTION(name, kind, initial, least, most, reload, help) { #name, IS_##kind, NUMBER_##kind(initial), least, most, reload, help },
#include "daemon/options.def"
#undef OPTION
};
#define ROWS (sizeof rows / sizeof rows[0])

static bool row_is_number(unsigned i) { return rows[i].kind == IS_SIZE || rows[i].kind == IS_COUNT || rows[i].kind == IS_MS; }

/* ---- Catching stderr ---- */

static char said[16384];
static int said_fd = -1, stderr_fd = -1;

static void listen_begin(void)
{
    fflush(stderr);
    said_fd = memfd_create("said", MFD_CLOEXEC);
    stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    assert_true(said_fd >= 0 && stderr_fd >= 0);
    assert_int_equal(dup2(said_fd, STDERR_FILENO), STDERR_FILENO);
}

static void listen_end(void)
{
    fflush(stderr);
    assert_int_equal(dup2(stderr_fd, STDERR_FILENO), STDERR_FILENO);
    ssize_t n = pread(said_fd, said, sizeof said - 1, 0);
    said[n > 0 ? n : 0] = 0;
    close(said_fd);
    close(stderr_fd);
}

static void assert_said(const char *text)
{
    if (!strstr(said, text))
        fail_msg("expected to be told '%s', but was told '%s'", text, said);
}

/* ---- Files and command lines ---- */

static char file[64];

static int config_begin(void **state)
{
    snprintf(file, sizeof file, "/tmp/morphmem-config-XXXXXX");
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    close(fd);
    return test_begin(state);
}

static int config_end(void **state)
{
    config_free();
    unlink(file);
    return test_end(state);
}

#define config_case(function) cmocka_unit_test_setup_teardown(function, config_begin, config_end)

static void file_write(const char *text)
{
    FILE *to = fopen(file, "we");
    assert_non_null(to);
    assert_true(fputs(text, to) >= 0);
    assert_int_equal(fclose(to), 0);
}

static struct config_command command;

/* Loads with the file of this case and these words, up to NULL. */
static int load(const char *word, ...)
{
    static char config_word[96];                /* command.file stays in it, as it stays in main's argv */
    char *argv[16] = { (char *)"morphmemd", config_word };
    int argc = 2;
    snprintf(config_word, sizeof config_word, "--config=%s", file);
    va_list words;
    va_start(words, word);
    for (; word; word = va_arg(words, const char *))
        argv[argc++] = (char *)word;
    va_end(words);
    listen_begin();
    int r = config_load(argc, argv, &command);
    listen_end();
    return r;
}

static int reload(void)
{
    listen_begin();
    int r = config_reload();
    listen_end();
    return r;
}

/* One word on the command line: loads, and what it set can be read until the next load. */
static bool accepts(const char *word)
{
    config_free();
    return load(word, NULL) == 0;
}

/* ---- Values ---- */

static void sizes_have_units(void **state)
{
    static const struct { const char *text; uint64_t bytes; } good[] = {
        { "0", 0 }, { "1", 1 }, { "4096", 4096 }, { "1K", 1024 }, { "4k", 4096 }, { "64M", 64 << 20 }, { "1KiB", 1024 }, { "2MB", 2 << 20 },
        { "2mib", 2 << 20 }, { "3G", 3ull << 30 }, { "16T", 16ull << 40 }, { "007K", 7 << 10 }, { "0T", 0 },
        { "18446744073709551615", UINT64_MAX }, { "16777215T", 16777215ull << 40 },
    };
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 77;
        if (config_parse_size(good[i].text, &bytes) != 0 || bytes != good[i].bytes)
            fail_msg("%s is %" PRIu64, good[i].text, bytes);
    }
}

static void what_is_no_size_is_refused(void **state)
{
    static const char *const bad[] = {
        "", " ", "-1", "+1", " 1", "1 ", "M", "1MM", "1MiBB", "1B", "1iB", "1P", "1.5M", "0x10", "1,000", "64M 1", "many",
        "18446744073709551616", "99999999999999999999", "16777216T", "18446744073709551615K",
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes = 77;
        if (config_parse_size(bad[i], &bytes) != -EINVAL || bytes != 77)
            fail_msg("'%s' gave %" PRIu64, bad[i], bytes);
    }
}

static void numbers_keep_their_bounds(void **state)
{
    char word[96];
    for (unsigned i = 0; i < ROWS; i++) {
        if (!row_is_number(i))
            continue;
        const char *name;
        bool is_number;
        uint64_t seen;
        const char *text;
        uint64_t bounds[2] = { rows[i].least, rows[i].most };
        for (unsigned b = 0; b < 2; b++) {
            snprintf(word, sizeof word, "--%s=%" PRIu64, rows[i].name, bounds[b]);
            assert_true(accepts(word));
            assert_true(config_value(i, &name, &is_number, &seen, &text));
            assert_true(seen == bounds[b]);
        }
        if (rows[i].most != UINT64_MAX) {
            snprintf(word, sizeof word, "--%s=%" PRIu64, rows[i].name, rows[i].most + 1);
            assert_false(accepts(word));
            assert_said("allowed: ");
            assert_said(rows[i].name);
        }
        if (rows[i].least > 0) {
            snprintf(word, sizeof word, "--%s=%" PRIu64, rows[i].name, rows[i].least - 1);
            assert_false(accepts(word));
        }
    }
}

static void what_is_no_number_is_refused(void **state)
{
    static const char *const bad[] = { "--workers=", "--workers=two", "--workers=-1", "--workers=1K", "--workers= 1", "--workers=1.0",
                                       "--workers=18446744073709551617", "--budget=much", "--budget=-1", "--pool-idle=10s" };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (accepts(bad[i]))
            fail_msg("'%s' was accepted", bad[i]);
    assert_false(accepts("--budget=much"));
    assert_said("'much' is not a value of budget; allowed: a size such as 64M");
    assert_false(accepts("--workers=two"));
    assert_said("'two' is not a value of workers; allowed: a whole number");
    assert_false(accepts("--workers=65"));
    assert_said("allowed: 0 to 64");
}

static void choices_are_words_of_their_list(void **state)
{
    static const char *const words[] = { "error", "warning", "info", "debug" };
    char word[64];
    for (unsigned i = 0; i < 4; i++) {
        snprintf(word, sizeof word, "--log-level=%s", words[i]);
        assert_true(accepts(word));
        assert_int_equal(CONFIG(log_level), i);
    }
    assert_true(accepts("--huge-pages=never"));
    assert_int_equal(CONFIG(huge_pages), HUGE_NEVER);
    assert_false(accepts("--log-level=loud"));
    assert_said("'loud' is not a value of log_level; allowed: error, warning, info, debug");
    assert_false(accepts("--log-level="));
    assert_false(accepts("--log-level=Info"));
    assert_false(accepts("--log-level=2"));
    assert_false(accepts("--huge-pages=true"));
}

static void texts_are_taken_as_they_are(void **state)
{
    assert_true(accepts("--socket=/run/a=b c"));
    assert_string_equal(config.socket, "/run/a=b c");
    assert_true(accepts("--socket="));
    assert_string_equal(config.socket, "");
    file_write("socket =  /run/x  \nadmin_group=wheel\n");
    assert_true(accepts("--workers=1"));
    assert_string_equal(config.socket, "/run/x");
    assert_string_equal(config.admin_group, "wheel");
}

/* ---- Names ---- */

static void dashes_and_underscores_are_the_same(void **state)
{
    assert_true(accepts("--heaps-per-user=5"));
    assert_int_equal(config.heaps_per_user, 5);
    assert_true(accepts("--heaps_per_user=6"));
    assert_int_equal(config.heaps_per_user, 6);
    assert_true(accepts("--heaps_per-user=7"));
    assert_int_equal(config.heaps_per_user, 7);
    file_write("heaps-per-user = 8\n");
    assert_true(accepts("--workers=1"));
    assert_int_equal(config.heaps_per_user, 8);
}

static void unknown_words_are_refused(void **state)
{
    static const char *const bad[] = { "--nonsense=1", "--worker=1", "--workerss=1", "--Workers=1", "--=1", "--", "-", "", "workers=1",
                                       "-workers=1", "extra", "--heaps per user=1", "--configs=/x", "--ready-fds=1" };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (accepts(bad[i]))
            fail_msg("'%s' was accepted", bad[i]);
        assert_said("there is no option");
        assert_said("--help");
    }
}

static void options_need_their_value(void **state)
{
    assert_false(accepts("--workers"));
    assert_said("--workers needs a value: --workers=VALUE");
    assert_false(accepts("--socket"));
    assert_said("needs a value");
}

static void unknown_names_in_the_file_are_refused(void **state)
{
    static const char *const bad[] = { "nonsense = 1\n", "worker = 1\n", "[section]\nworkers = 1\n", "workers 1\n",
                                       "workers = 1\nworkers2 = 2\n", "workers = two\n", "workers = 65\n", "log_level = loud\n" };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        file_write(bad[i]);
        if (accepts("--pool-min=1M"))
            fail_msg("'%s' was accepted", bad[i]);
        assert_said(file);
    }
    file_write("nonsense = 1\nfoolishness = 2\n");
    assert_false(accepts("--pool-min=1M"));
    assert_said("'nonsense'");
    assert_said("'foolishness'");               /* every fault is said before it fails */
}

/* ---- Where a value comes from ---- */

static void defaults_are_those_of_the_list(void **state)
{
    assert_int_equal(load(NULL), 0);
#define OPTION(name, kind, initial, least, most, reload, help)                        \
    if (IS_##kind == IS_TEXT)                                                         \
        assert_string_equal((char *)(uintptr_t)config.name, TEXT_##kind(initial));    \
    else                                                                              \
        assert_true((uintptr_t)config.name == NUMBER_##kind(initial));
#include "daemon/options.def"
#undef OPTION
    assert_int_equal(command.ready_fd, -1);
    assert_false(command.print_config || command.is_private || command.help || command.version);
    assert_string_equal(command.file, file);
}

static void the_list_of_values_is_the_list_of_options(void **state)
{
    const char *name, *text;
    bool is_number;
    uint64_t number;
    assert_int_equal(load(NULL), 0);
    for (unsigned i = 0; i < ROWS; i++) {
        assert_true(config_value(i, &name, &is_number, &number, &text));
        assert_string_equal(name, rows[i].name);
        assert_int_equal(is_number, row_is_number(i));
        assert_true(number == (is_number ? rows[i].number : 0));
    }
    assert_false(config_value(ROWS, &name, &is_number, &number, &text));
    unsigned at = 0;
#define OPTION(name_, kind, initial, least, most, reload, help)         \
    assert_true(config_value(at++, &name, &is_number, &number, &text)); \
    assert_string_equal(text, TEXT_##kind(initial));
#include "daemon/options.def"
#undef OPTION
}

static void the_command_line_wins_over_the_file_and_the_file_over_the_default(void **state)
{
    file_write("# a comment\n; another\n\npool_min = 1M\npool_max=2M\nlog_level = debug\n");
    assert_int_equal(load("--pool-max=3M", "--log-level=error", NULL), 0);
    assert_int_equal(config.pool_min, 1 << 20);
    assert_int_equal(config.pool_max, 3 << 20);
    assert_int_equal(config.log_level, LEVEL_ERROR);
    assert_int_equal(config.pool_idle, 10000);
}

static void of_two_on_the_command_line_the_last_wins(void **state)
{
    assert_int_equal(load("--pool-max=3M", "--pool-max=4M", NULL), 0);
    assert_int_equal(config.pool_max, 4 << 20);
}

static void a_named_file_must_be_there(void **state)
{
    unlink(file);
    assert_int_equal(load(NULL), -1);
    assert_said(file);
    assert_said("cannot be read: No such file or directory");
}

static void a_private_daemon_ends_when_idle_unless_told(void **state)
{
    assert_true(accepts("--private"));
    assert_true(command.is_private);
    assert_int_equal(config.idle_exit, 60000);
    config_free();
    assert_int_equal(load("--private", "--idle-exit=5", NULL), 0);
    assert_int_equal(config.idle_exit, 5);
    config_free();
    assert_int_equal(load("--idle-exit=6", "--private", NULL), 0);
    assert_int_equal(config.idle_exit, 6);
}

static void commands_beside_options_are_told(void **state)
{
    assert_int_equal(load("--print-config", "--ready-fd", "7", NULL), 0);
    assert_true(command.print_config);
    assert_int_equal(command.ready_fd, 7);
    assert_true(accepts("--ready-fd=0"));
    assert_int_equal(command.ready_fd, 0);
    assert_true(accepts("--help"));
    assert_true(command.help);
    assert_true(accepts("-h"));
    assert_true(command.help);
    assert_true(accepts("--version"));
    assert_true(command.version);
    assert_false(accepts("--ready-fd"));
    assert_said("--ready-fd needs");
    assert_false(accepts("--ready-fd=x"));
    assert_false(accepts("--ready-fd=-1"));
    assert_false(accepts("--ready-fd=4294967296"));
    assert_false(accepts("--config"));
    assert_said("--config needs a file");
}

/* ---- Reload ---- */

static void a_reload_applies_what_may_be_reloaded(void **state)
{
    file_write("pool_idle = 1000\nworkers = 2\nadmin_group = a\nsocket_mode = 0600\n");
    assert_int_equal(load(NULL), 0);
    file_write("pool_idle = 2000\nworkers = 3\nadmin_group = b\nsocket_mode = 0660\n");
    assert_int_equal(reload(), 0);
    assert_int_equal(config.pool_idle, 2000);
    assert_string_equal(config.admin_group, "b");
    assert_int_equal(config.workers, 2);
    assert_string_equal(config.socket_mode, "0600");
    assert_said("workers changes only with a restart, ignoring");
    assert_said("socket_mode changes only with a restart, ignoring");
    assert_said("pool_idle changed");
    file_write("");
    assert_int_equal(reload(), 0);
    assert_int_equal(config.pool_idle, 10000);      /* a line that is gone: the default again */
    assert_string_equal(config.admin_group, "");
}

/* Each option by itself: exactly those that the list says. */
static void reloadable_is_what_the_list_says(void **state)
{
    for (unsigned i = 0; i < ROWS; i++) {
        char line[96];
        const char *value = rows[i].kind == IS_CHOICE_HUGE ? "never" : rows[i].kind == IS_CHOICE_LEVEL ? "debug" :
                            rows[i].kind == IS_CHOICE_VERIFY ? "full" : rows[i].kind == IS_BOOL ? (rows[i].number ? "no" : "yes") : "77";
        const char *number = rows[i].least > 7777 ? "777777" : rows[i].least > 77 ? "7777" : rows[i].most == 64 ? "7" : "77";
        snprintf(line, sizeof line, "%s = %s\n", rows[i].name, row_is_number(i) ? number : value);
        config_free();
        file_write("");
        assert_int_equal(load(NULL), 0);
        file_write(line);
        assert_int_equal(reload(), 0);
        char changed[96];
        snprintf(changed, sizeof changed, rows[i].reload ? "%s changed" : "%s changes only with a restart", rows[i].name);
        assert_said(changed);
    }
}

static void the_command_line_wins_after_a_reload_too(void **state)
{
    file_write("pool_idle = 1000\n");
    assert_int_equal(load("--pool-idle=500", NULL), 0);
    file_write("pool_idle = 2000\npool_min = 1M\n");
    assert_int_equal(reload(), 0);
    assert_int_equal(config.pool_idle, 500);
    assert_int_equal(config.pool_min, 1 << 20);
}

static void a_bad_file_changes_nothing(void **state)
{
    static const char *const bad[] = { "pool_idle = 2000\npool_min = many\n", "pool_idle = 2000\nnonsense = 1\n",
                                       "pool_idle = 2000\nlog_level\n", "admin_group = b\npool_idle = 1\n" };
    file_write("pool_idle = 1000\nadmin_group = a\n");
    assert_int_equal(load(NULL), 0);
    for (unsigned i = 0; i < 4; i++) {
        file_write(bad[i]);
        assert_int_equal(reload(), -1);
        assert_said("not reloaded: nothing was changed");
        assert_int_equal(config.pool_idle, 1000);
        assert_int_equal(config.pool_min, 8 << 20);
        assert_string_equal(config.admin_group, "a");
    }
    unlink(file);
    assert_int_equal(reload(), -1);
    assert_int_equal(config.pool_idle, 1000);
}

/* ---- Printing ---- */

static void print_to_file(const char *path)
{
    FILE *to = fopen(path, "we");
    assert_non_null(to);
    config_print(to);
    assert_int_equal(fclose(to), 0);
}

static void what_is_printed_can_be_read_back(void **state)
{
    assert_int_equal(load("--socket=/run/user/1000/some/where/else/socket", "--budget=3000M", "--pool-min=4097", "--pool-max=1T",
                          "--workers=7", "--huge-pages=never", "--log-level=warning", "--pool-idle=123", "--limit-max=18446744073709551615", NULL), 0);
    print_to_file(file);
    config_free();
    assert_int_equal(load(NULL), 0);
    assert_string_equal(said, "");
    assert_string_equal(config.socket, "/run/user/1000/some/where/else/socket");
    assert_true(config.budget == 3000ull << 20);
    assert_int_equal(config.pool_min, 4097);
    assert_true(config.pool_max == 1ull << 40);
    assert_int_equal(config.workers, 7);
    assert_int_equal(config.huge_pages, HUGE_NEVER);
    assert_int_equal(config.log_level, LEVEL_WARNING);
    assert_int_equal(config.pool_idle, 123);
    assert_true(config.limit_max == UINT64_MAX);
    assert_int_equal(config.heaps_per_user, 4096);
    assert_string_equal(config.socket_mode, "0666");
}

static void help_names_every_option_as_it_is_typed(void **state)
{
    char *text = NULL, dashed[96];
    size_t bytes;
    assert_int_equal(load("--help", NULL), 0);
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    config_help(to);
    assert_int_equal(fclose(to), 0);
    for (unsigned i = 0; i < ROWS; i++) {
        snprintf(dashed, sizeof dashed, "\n  --%s=", rows[i].name);
        for (char *at = dashed; *at; at++)
            *at = *at == '_' ? '-' : *at;
        assert_non_null(strstr(text, dashed));
        assert_non_null(strstr(text, rows[i].help));
    }
    assert_non_null(strstr(text, "--pool-min=8M\n"));
    assert_non_null(strstr(text, "--log-level=info\n"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        config_case(sizes_have_units),
        config_case(what_is_no_size_is_refused),
        config_case(numbers_keep_their_bounds),
        config_case(what_is_no_number_is_refused),
        config_case(choices_are_words_of_their_list),
        config_case(texts_are_taken_as_they_are),
        config_case(dashes_and_underscores_are_the_same),
        config_case(unknown_words_are_refused),
        config_case(options_need_their_value),
        config_case(unknown_names_in_the_file_are_refused),
        config_case(defaults_are_those_of_the_list),
        config_case(the_list_of_values_is_the_list_of_options),
        config_case(the_command_line_wins_over_the_file_and_the_file_over_the_default),
        config_case(of_two_on_the_command_line_the_last_wins),
        config_case(a_named_file_must_be_there),
        config_case(a_private_daemon_ends_when_idle_unless_told),
        config_case(commands_beside_options_are_told),
        config_case(a_reload_applies_what_may_be_reloaded),
        config_case(reloadable_is_what_the_list_says),
        config_case(the_command_line_wins_after_a_reload_too),
        config_case(a_bad_file_changes_nothing),
        config_case(what_is_printed_can_be_read_back),
        config_case(help_names_every_option_as_it_is_typed),
    };
    return test_run(cases);
}
