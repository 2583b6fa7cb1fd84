/* main.c — a Scheme whose memory is a collected morphmem heap: runs files of programs, one after the other, in one heap.
 *
 *   scheme [--mode runtime|vm|server] [--limit SIZE] [--young SIZE] [-D NAME=VALUE]... [--stats] FILE.scm...
 *
 * Output goes to standard output. Exit status: 0 all programs ended well, 1 one did not (a line on standard error says why), 2 wrong usage.
 * One thread, which does everything.
 */
#include "tests/clients/scheme/scheme.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/clients/size.h"

#define DEFINITIONS_MAX 16

enum { EXIT_FINE = 0, EXIT_PROGRAM = 1, EXIT_USAGE = 2 };

struct command {
    morph_options options;
    const char   *definition[DEFINITIONS_MAX];
    unsigned      definitions;
    bool          stats;
    char        **file;
};

/* ---- The command line ---- */

static void usage(FILE *to)
{
    fputs("usage: scheme [OPTION]... FILE.scm...\n"
          "Runs programs in a heap that morphmemd collects.\n\n"
          "  --mode MODE      of the heap: runtime, vm or server (default: runtime)\n"
          "  --limit SIZE     of the heap, with K, M or G behind the number\n"
          "  --young SIZE     of the young generation, fixed\n"
          "  -D NAME=VALUE    defines a global before the programs run\n"
          "  --stats          says on standard error what the heap did\n"
          "  --help           this\n", to);
}

static bool mode_parse(const char *text, enum morph_mode *ret_mode)
{
    static const struct { const char *name; enum morph_mode mode; } modes[] = {
        { "runtime", MORPH_RUNTIME }, { "vm", MORPH_VM }, { "server", MORPH_SERVER }
    };
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, text) == 0) {
            *ret_mode = modes[i].mode;
            return true;
        }
    return false;
}

static bool definition_add(struct command *command, const char *text)
{
    if (command->definitions == DEFINITIONS_MAX || !strchr(text, '=') || text[0] == '=')
        return false;
    command->definition[command->definitions++] = text;
    return true;
}

static bool option_take(struct command *command, int option)
{
    morph_options *options = &command->options;
    switch (option) {
    case 'm':
        return mode_parse(optarg, &options->mode);
    case 'l':
        return size_parse(optarg, &options->limit_bytes);
    case 'y':
        if (!size_parse(optarg, &options->young_min_bytes))
            return false;
        options->young_max_bytes = options->young_min_bytes;
        return true;
    case 'D':
        return definition_add(command, optarg);
    case 's':
        command->stats = true;
        return true;
    default:
        return false;
    }
}

static int command_parse(struct command *command, int argc, char **argv)
{
    static const struct option options[] = {
        { "mode", required_argument, NULL, 'm' }, { "limit", required_argument, NULL, 'l' }, { "young", required_argument, NULL, 'y' },
        { "stats", no_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 }
    };
    int option;
    while ((option = getopt_long(argc, argv, "D:", options, NULL)) != -1) {
        if (option == 'h') {
            usage(stdout);
            exit(EXIT_FINE);
        }
        if (!option_take(command, option)) {
            if (option != '?')
                fprintf(stderr, "scheme: '%s' is not valid here\n", optarg);
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    command->file = argv + optind;
    if (*command->file)
        return EXIT_FINE;
    fputs("scheme: no program is named\n", stderr);
    usage(stderr);
    return EXIT_USAGE;
}

/* ---- Running ---- */

static bool scheme_begin(struct scheme *s)
{
    if (!text_add(s, &s->scratch, "", 1) || !symbols_begin(s) || !stack_begin(s))     /* scratch.bytes is never NULL */
        return false;
    struct { value globals; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    bool fine = (f->globals = table_new(s, false)) != NULL;
    if (fine) {
        s->globals = morph_handle_new(s->me, f->globals);
        fine = s->globals.index != 0 || scheme_fail(s, "%s", morph_strerror(MORPH_EHANDLES));
    }
    frame_pop(s, f);
    if (!fine)
        return false;
    return syntax_begin(s) && primitives_begin(s) && scheme_load(s, prelude, strlen(prelude), "prelude");
}

static void scheme_end(struct scheme *s)
{
    if (s->globals.index)
        morph_handle_free(s->me, s->globals);
    stack_end(s);
    symbols_end(s);
    free(s->out.bytes);
    free(s->scratch.bytes);
}

/* "NAME=VALUE" is run as (define NAME VALUE). */
static bool definition_run(struct scheme *s, const char *text)
{
    char form[256];
    const char *equals = strchr(text, '=');
    int n = snprintf(form, sizeof form, "(define %.*s %s)", (int)(equals - text), text, equals + 1);
    if (n < 0 || (size_t)n >= sizeof form)
        return scheme_fail(s, "the definition of a variable is too long");
    return scheme_load(s, form, (size_t)n, "-D");
}

/* The file's bytes, to be freed; NULL: failed. */
static char *file_read(struct scheme *s, const char *name, size_t *ret_length)
{
    struct text text = { NULL, 0, 0 };
    char block[4096];
    FILE *file = fopen(name, "r");
    if (!file)
        return scheme_fail(s, "%s: %s", name, strerror(errno));
    size_t n;
    bool fine = true;
    while (fine && (n = fread(block, 1, sizeof block, file)) > 0)
        fine = text_add(s, &text, block, n);
    if (ferror(file))
        fine = scheme_fail(s, "%s: %s", name, strerror(errno));
    fclose(file);
    if (fine && text.bytes) {
        *ret_length = text.used;
        return text.bytes;
    }
    free(text.bytes);
    return fine ? scheme_fail(s, "%s: the file is empty", name) : NULL;
}

static bool file_run(struct scheme *s, const char *name)
{
    size_t length = 0;
    morph_native_enter(s->me);
    char *text = file_read(s, name, &length);
    morph_native_leave(s->me);
    bool fine = text && scheme_load(s, text, length, name);
    free(text);
    return fine;
}

static bool programs_run(struct scheme *s, const struct command *command)
{
    bool fine = scheme_begin(s);
    for (unsigned i = 0; i < command->definitions && fine; i++)
        fine = definition_run(s, command->definition[i]);
    for (char **file = command->file; *file && fine; file++)
        fine = file_run(s, *file);
    return fine;
}

static void stats_print(const struct scheme *s)
{
    morph_heap_stats stats;
    if (morph_heap_stats_get(s->heap, &stats) < 0)
        return;
    fprintf(stderr, "scheme: %ju collections, %ju KiB alive after the last major one, %ju of %ju KiB granted, waited %ju times\n",
            (uintmax_t)stats.collections, (uintmax_t)stats.live_bytes >> 10, (uintmax_t)stats.granted_bytes >> 10,
            (uintmax_t)stats.limit_bytes >> 10, (uintmax_t)stats.waits);
}

int main(int argc, char **argv)
{
    struct command command = { .options = { .mode = MORPH_RUNTIME, .name = "scheme" } };
    static struct scheme scheme;
    int code = command_parse(&command, argc, argv);
    if (code != EXIT_FINE)
        return code;
    int r = heap_begin(&scheme, &command.options);
    if (r < 0) {
        fprintf(stderr, "scheme: %s\n", morph_strerror(r));
        return EXIT_PROGRAM;
    }
    char error[sizeof scheme.error] = "";
    bool fine = programs_run(&scheme, &command);
    if (!fine)
        memcpy(error, scheme.error, sizeof error);
    if (!out_flush(&scheme) && fine) {
        memcpy(error, scheme.error, sizeof error);
        fine = false;
    }
    if (!fine)
        fprintf(stderr, "scheme: %s\n", error);
    if (command.stats)
        stats_print(&scheme);
    scheme_end(&scheme);
    heap_end(&scheme);
    return fine ? EXIT_FINE : EXIT_PROGRAM;
}
