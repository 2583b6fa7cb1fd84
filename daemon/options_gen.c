/* options_gen.c — prints the shipped configuration file and the table of morphmemd.conf(5) from options.def, at build time. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { HUGE_AUTO, HUGE_NEVER, VERIFY_OFF = 0, LEVEL_ERROR = 0, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

#define NUMBER_SIZE(v)         (v), NULL
#define NUMBER_COUNT(v)        (v), NULL
#define NUMBER_MS(v)           (v), NULL
#define NUMBER_BOOL(v)         (v), NULL
#define NUMBER_CHOICE_HUGE(v)  (v), NULL
#define NUMBER_CHOICE_VERIFY(v) (v), NULL
#define NUMBER_CHOICE_LEVEL(v) (v), NULL
#define NUMBER_TEXT(v)         0, (v)

static const struct row {
    const char *name, *kind;
    uint64_t    initial;
    const char *text;
    uint64_t    least, most;
    int         reload;
    const char *help;
} rows[] = {
#define OPTION(name, kind, initial, least, most, reload, help) { #name, #kind, NUMBER_##kind(initial), least, most, reload, help },
#include "daemon/options.def"
#undef OPTION
};

static const char *value_text(const struct row *row, char *buffer, size_t capacity)
{
    static const char *const huge[] = { "auto", "never" }, *const level[] = { "error", "warning", "info", "debug" };
    static const char *const verify[] = { "off", "roots", "full" };
    static const char units[] = "KMGT";
    if (row->text)
        return row->text;
    if (strcmp(row->kind, "CHOICE_HUGE") == 0)
        return huge[row->initial];
    if (strcmp(row->kind, "CHOICE_VERIFY") == 0)
        return verify[row->initial];
    if (strcmp(row->kind, "CHOICE_LEVEL") == 0)
        return level[row->initial];
    uint64_t n = row->initial;
    unsigned u = 0;
    while (strcmp(row->kind, "SIZE") == 0 && n && n % 1024 == 0 && u < 4) {
        n /= 1024;
        u++;
    }
    snprintf(buffer, capacity, "%" PRIu64 "%.1s", n, u ? &units[u - 1] : "");
    return buffer;
}

static const char *kind_text(const struct row *row)
{
    if (strcmp(row->kind, "SIZE") == 0)
        return "size: bytes, or with suffix K, M, G, T";
    if (strcmp(row->kind, "COUNT") == 0)
        return "number";
    if (strcmp(row->kind, "MS") == 0)
        return "milliseconds";
    if (strcmp(row->kind, "CHOICE_HUGE") == 0)
        return "auto or never";
    if (strcmp(row->kind, "CHOICE_VERIFY") == 0)
        return "off, roots or full";
    if (strcmp(row->kind, "CHOICE_LEVEL") == 0)
        return "error, warning, info or debug";
    return "text";
}

static void print_file(void)
{
    char buffer[32];
    printf("# morphmemd.conf - see morphmemd.conf(5). These are the defaults; take away the # to change one.\n"
           "# SIGHUP (systemctl reload morphmemd) applies what can change while the daemon runs.\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("\n# %s\n#%s = %s\n", rows[i].help, rows[i].name, value_text(&rows[i], buffer, sizeof buffer));
}

static void print_manual(void)
{
    char buffer[32];
    printf(".\\\" Made from daemon/options.def; do not edit.\n"
           ".Dd November 22, 2026\n.Dt MORPHMEMD.CONF 5\n.Os\n"
           ".Sh NAME\n.Nm morphmemd.conf\n.Nd options of morphmemd\n"
           ".Sh DESCRIPTION\n"
           "A line of the file is\n.Ql name = value ;\nwhat follows\n.Ql #\nor\n.Ql \\&;\nat the start of a line is a comment.\n"
           "Every option is also one of the command line, with dashes for underscores:\n.Fl Fl pool-min Ns = Ns Ar 16M .\n"
           "The command line wins over the file.\nAn unknown name or a value out of range is an error, and the daemon does not start;\n"
           "at a reload it is logged, and nothing changes.\n"
           ".Ql morphmemd --print-config\nprints the effective values.\n"
           ".Pp\nThe options:\n.Bl -tag -width Ds\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        const char *value = value_text(row, buffer, sizeof buffer);
        printf(".It Cm %s\n%c%s.\n.Pp\nKind: %s.\nDefault: %s.\n", row->name, row->help[0] >= 'a' && row->help[0] <= 'z' ? row->help[0] - 32 : row->help[0],
               row->help + 1, kind_text(row), *value ? value : "empty");
        if (row->most && row->most != UINT64_MAX)
            printf("Range: %" PRIu64 " to %" PRIu64 ".\n", row->least, row->most);
        printf("%s\n", row->reload ? "Can be changed by a reload." : "A change needs a restart.");
    }
    printf(".El\n"
           ".Sh FILES\n.Bl -tag -width Ds\n.It Pa /etc/morphmem/morphmemd.conf\nread if it exists (with the default\n.Ql --sysconfdir ) .\n.El\n"
           ".Sh EXAMPLES\nA build machine, where memory should be warm at any time:\n.Bd -literal -offset indent\n"
           "budget = 24G\npool_min = 256M\nheaps_per_user = 64\n.Ed\n"
           ".Sh SEE ALSO\n.Xr morphmemctl 8 ,\n.Xr morphmemd 8\n");
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "file") == 0)
        print_file();
    else if (argc == 2 && strcmp(argv[1], "manual") == 0)
        print_manual();
    else {
        fprintf(stderr, "usage: options_gen file|manual\n");
        return 2;
    }
    return 0;
}
