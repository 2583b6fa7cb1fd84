/* ctl.c — morphmemctl: the table of commands, the command line, help. See ctl.h. */
#define _GNU_SOURCE
#include "client/ctl/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "shm/slot.h"

#define OPTION_ALL (~0u)
#define COMMANDS   (sizeof commands / sizeof *commands)
#define OPTIONS    (sizeof options / sizeof *options)

static const struct ctl_command *const commands[] = { &cmd_stats, &cmd_heaps, &cmd_types, &cmd_gc, &cmd_set_limit, &cmd_log, &cmd_config,
                                                   &cmd_doctor, &cmd_run };

static const struct {
    const char *name;
    int         argument;       /* as getopt_long(3) has it */
    int         letter;
    unsigned    commands;       /* the bit of a command's `options`, or OPTION_ALL */
    const char *shape, *help;
} options[] = {
    { "closed",   no_argument,       'c', CTL_OPTION_CLOSED,   "--closed",        "also heaps that ended lately" },
    { "top",      required_argument, 't', CTL_OPTION_TOP,      "--top N",         "only the N types that hold most" },
    { "limit",    required_argument, 'l', CTL_OPTION_LIMIT,    "--limit SIZE",    "no heap of the command may be larger (64M, 2G)" },
    { "keep-log", no_argument,       'k', CTL_OPTION_KEEP_LOG, "--keep-log",      "keep the daemon's log in the current directory" },
    { "minor",    no_argument,       '0', CTL_OPTION_KIND,     "--minor",         "only the young generation" },
    { "major",    no_argument,       '1', CTL_OPTION_KIND,     "--major",         "everything (the default)" },
    { "compact",  no_argument,       '2', CTL_OPTION_KIND,     "--compact",       "everything, moved together" },
    { "follow",   no_argument,       'f', CTL_OPTION_FOLLOW,   "-f, --follow",    "go on with what comes, until interrupted" },
    { "json",     optional_argument, 'j', OPTION_ALL,          "--json[=FILE]",   "JSON instead of text, into FILE or to standard output" },
    { "socket",   required_argument, 's', OPTION_ALL,          "--socket PATH",
      "the daemon's socket; default: MORPHMEM_SOCKET, the system's, your own" },
    { "help",     no_argument,       'h', OPTION_ALL,          "--help",          "this text, or that of a command" },
    { "version",  no_argument,       'v', OPTION_ALL,          "--version",       "the version" },
};

int ctl_fail(enum ctl_exit code, const char *format, ...)
{
    va_list arguments;
    fputs("morphmemctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

static int json_failed(const struct ctl *ctl)
{
    return ctl_fail(CTL_FAILED, "cannot write %s: %s", ctl->json_file ? ctl->json_file : "standard output", strerror(errno));
}

int ctl_json_print(const struct ctl *ctl, json_t *value)
{
    FILE *to = ctl->json_file ? fopen(ctl->json_file, "we") : stdout;
    if (!to) {
        json_decref(value);
        return json_failed(ctl);
    }
    int r = json_dumpf(value, to, JSON_INDENT(2)) | (fputc('\n', to) == EOF) | fflush(to);
    int error = errno;
    json_decref(value);
    if (ctl->json_file)
        r |= fclose(to);
    errno = error;
    return r == 0 ? CTL_FINE : json_failed(ctl);
}

bool ctl_number(const char *text, uint64_t *ret)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *ret = strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

bool ctl_size(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 20 && (text[digits] == 0 || (strchr("KMGTkmgt", text[digits]) && text[digits + 1] == 0));
}

/* The options for all (`mask` is OPTION_ALL), or those of a command alone. */
static void help_options(unsigned mask)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (mask == OPTION_ALL ? options[i].commands == OPTION_ALL : options[i].commands != OPTION_ALL && (options[i].commands & mask) != 0)
            printf("  %-16s %s\n", options[i].shape, options[i].help);
}

static void help(void)
{
    printf("usage: morphmemctl [OPTION...] COMMAND [ARGUMENT...]\n\n"
           "Shows what morphmemd and the heaps that it owns are doing.\n\ncommands:\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        char shape[64];
        snprintf(shape, sizeof shape, "%s %s", commands[i]->name, commands[i]->arguments);
        printf("  %-48s %s\n", shape, commands[i]->help);
    }
    printf("\noptions, before or after the command:\n");
    help_options(OPTION_ALL);
    printf("\nexit codes:\n"
           "  0  fine\n"
           "  1  the daemon answered with an error (no such heap), or the output could not be written\n"
           "  2  wrong usage\n"
           "  3  no daemon answers, or this user may not ask it\n"
           "  4  doctor: a feature is missing\n"
           "  run: the command's own code; 126 it cannot be run, 127 it is not there, 128+N it died of signal N\n\n"
           "Manual: morphmemctl(8).\n");
}

static void help_command(const struct ctl_command *command)
{
    printf("usage: morphmemctl %s %s\n\n  %s\n", command->name, command->arguments, command->help);
    if (command->options)
        printf("\n");
    help_options(command->options);
    printf("\nOptions for all commands and exit codes: morphmemctl --help. Manual: morphmemctl(8).\n");
}

static const struct ctl_command *command_find(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

/* What the options leave to do: run the command, or stop with `*ret_code`. */
enum step { STEP_ON, STEP_HELP, STEP_STOP };

static enum step option_take(struct ctl *ctl, int letter, int *ret_code)
{
    *ret_code = CTL_FINE;
    switch (letter) {
    case 'c': ctl->closed = true; return STEP_ON;
    case 'k': ctl->keep_log = true; return STEP_ON;
    case 'f': ctl->follow = true; return STEP_ON;
    case '0': case '1': case '2':
        ctl->kind = (uint32_t)(letter - '0');   /* the protocol's numbers */
        return STEP_ON;
    case 's': ctl->socket = optarg; return STEP_ON;
    case 'j':
        ctl->json = true;
        ctl->json_file = optarg;
        return STEP_ON;
    case 't':
        if (ctl_number(optarg, &ctl->top) && ctl->top > 0)
            return STEP_ON;
        *ret_code = ctl_fail(CTL_USAGE, "--top wants a number from 1, not '%s'", optarg);
        return STEP_STOP;
    case 'l':
        ctl->limit = optarg;
        if (ctl_size(optarg))
            return STEP_ON;
        *ret_code = ctl_fail(CTL_USAGE, "--limit wants a size such as 64M, not '%s'", optarg);
        return STEP_STOP;
    case 'h': return STEP_HELP;
    case 'v':
        printf("morphmemctl %s\n", PACKAGE_VERSION);
        return STEP_STOP;
    default:                                    /* getopt_long has said what is wrong */
        *ret_code = CTL_USAGE;
        fputs("Try 'morphmemctl --help'.\n", stderr);
        return STEP_STOP;
    }
}

/* Takes the options of [optind, ...) that `mask` allows; stops at the first other word if `ordered`. */
static enum step options_parse(struct ctl *ctl, int argc, char **argv, unsigned mask, bool ordered, int *ret_code)
{
    struct option list[OPTIONS + 1] = { { 0 } };
    unsigned count = 0;
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].commands == OPTION_ALL || (options[i].commands & mask) != 0)
            list[count++] = (struct option){ options[i].name, options[i].argument, NULL, options[i].letter };
    const char *letters = mask & CTL_OPTION_FOLLOW ? "+hf" : "+h";
    for (int letter; (letter = getopt_long(argc, argv, ordered ? letters : letters + 1, list, NULL)) != -1; ) {
        enum step step = option_take(ctl, letter, ret_code);
        if (step != STEP_ON)
            return step;
    }
    return STEP_ON;
}

static int command_run(struct ctl *ctl, const struct ctl_command *command, int argc, char **argv)
{
    int code;
    optind = 0;                                 /* glibc: begin again, with argv[0] as the command's name */
    char *program = argv[0];
    argv[0] = (char *)"morphmemctl";
    enum step step = options_parse(ctl, argc, argv, command->options, command->most < 0, &code);
    argv[0] = program;
    if (step == STEP_HELP)
        help_command(command);
    if (step != STEP_ON)
        return code;
    int count = argc - optind;
    if (count < command->least || (command->most >= 0 && count > command->most))
        return ctl_fail(CTL_USAGE, "usage: morphmemctl %s %s", command->name, command->arguments);
    code = command->run(ctl, count, argv + optind);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    return code != CTL_FINE ? code : ctl_fail(CTL_FAILED, "cannot write standard output: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct ctl ctl = { .kind = MM_COLLECT_MAJOR };
    int code;
    setlocale(LC_CTYPE, "");
    enum step step = options_parse(&ctl, argc, argv, 0, true, &code);
    if (step == STEP_HELP)
        help();
    if (step != STEP_ON)
        return code;
    if (optind >= argc)
        return ctl_fail(CTL_USAGE, "which command? 'morphmemctl --help' lists them");
    const struct ctl_command *command = command_find(argv[optind]);
    if (!command)
        return ctl_fail(CTL_USAGE, "there is no command '%s'; 'morphmemctl --help' lists them", argv[optind]);
    int first = optind;
    return command_run(&ctl, command, argc - first, argv + first);
}
