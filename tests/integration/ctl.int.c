/* ctl.int.c — morphmemctl against a real daemon: text, JSON, exit codes, and `run`, which must leave nothing behind however it ends.
 *
 * The tool is the program that MORPHMEMCTL names. As `run`'s command this program starts itself again: see command_main().
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

#define WORDS_MAX 16
#define END_MS    30000

/* ---- The tool as a child process ---- */

struct tool {
    pid_t pid;
    int   out, err;             /* memfds: whatever it prints, nobody has to read along */
    int   from;                 /* what a command under `run` tells through descriptor 3 */
    int   code;                 /* exit status, or 128 + signal */
    char *text, *complaint;     /* once it has ended */
};

static const char *tool_program(void)
{
    const char *program = getenv("MORPHMEMCTL");
    return program ? program : "morphmemctl";
}

static void tool_exec(const struct tool *tool, int to, uid_t uid, char **argv)
{
    signal(SIGHUP, SIG_DFL);            /* whoever runs the tests may ignore it, and what is ignored stays so */
    child_check(setpgid(0, 0) == 0);
    child_check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    child_check(dup2(tool->out, 1) == 1 && dup2(tool->err, 2) == 2);
    if (to == 3)
        child_check(fcntl(to, F_SETFD, 0) == 0);
    else
        child_check(dup2(to, 3) == 3);
    if (uid != (uid_t)-1)
        child_check(setresuid(uid, uid, uid) == 0);
    execvp(argv[0], argv);
    child_check_failed(__FILE__, __LINE__, argv[0], errno);
}

static struct tool tool_start_as(uid_t uid, const char *words)
{
    struct tool tool = { .code = -1 };
    char line[1024], *argv[WORDS_MAX + 2] = { (char *)tool_program() }, *rest = line;
    snprintf(line, sizeof line, "%s", words);
    for (int i = 1; i <= WORDS_MAX && (argv[i] = strsep(&rest, " ")) != NULL; i++)
        continue;
    int ends[2];
    tool.out = memfd_create("out", MFD_CLOEXEC);
    tool.err = memfd_create("err", MFD_CLOEXEC);
    assert_true(tool.out >= 0 && tool.err >= 0);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    tool.from = ends[0];
    fflush(NULL);
    tool.pid = fork();
    assert_true(tool.pid >= 0);
    if (tool.pid == 0)
        tool_exec(&tool, ends[1], uid, argv);
    close(ends[1]);
    return tool;
}

static char *fd_text(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(pread(fd, text, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    return text;
}

static void tool_wait(struct tool *tool)
{
    int status;
    if (!test_wait_until(waitpid(tool->pid, &status, WNOHANG) == tool->pid, END_MS * test_slowness()))
        fail_msg("morphmemctl did not end");
    tool->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    tool->text = fd_text(tool->out);
    tool->complaint = fd_text(tool->err);
    close(tool->from);
}

static struct tool tool_run(const char *words)
{
    struct tool tool = tool_start_as((uid_t)-1, words);
    tool_wait(&tool);
    return tool;
}

static void tool_free(struct tool *tool)
{
    free(tool->text);
    free(tool->complaint);
}

/* Runs it, expects an exit code, shows what it said otherwise. */
static struct tool tool_expect(int code, const char *words)
{
    struct tool tool = tool_run(words);
    if (tool.code != code)
        fail_msg("morphmemctl %s: exit code %d, expected %d\n%s%s", words, tool.code, code, tool.text, tool.complaint);
    return tool;
}

static void expect_complaint(int code, const char *words, const char *sentence)
{
    struct tool tool = tool_expect(code, words);
    assert_string_equal(tool.text, "");
    if (!strstr(tool.complaint, sentence))
        fail_msg("morphmemctl %s: said '%s', expected '%s'", words, tool.complaint, sentence);
    tool_free(&tool);
}

static json_t *expect_json(int code, const char *words)
{
    json_error_t error;
    struct tool tool = tool_expect(code, words);
    json_t *json = json_loads(tool.text, 0, &error);
    if (!json)
        fail_msg("morphmemctl %s: %s in\n%s", words, error.text, tool.text);
    tool_free(&tool);
    return json;
}

/* Expects text on standard output that contains each of the strings, ended by NULL. */
static __attribute__((sentinel)) void expect_text(int code, const char *words, ...)
{
    struct tool tool = tool_expect(code, words);
    va_list wanted;
    va_start(wanted, words);
    for (const char *part; (part = va_arg(wanted, const char *)) != NULL; )
        if (!strstr(tool.text, part))
            fail_msg("morphmemctl %s: no '%s' in\n%s", words, part, tool.text);
    va_end(wanted);
    tool_free(&tool);
}

static unsigned lines_of(const char *text)
{
    unsigned lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static const char *format(const char *pattern, unsigned long long number)
{
    static char text[256];
    snprintf(text, sizeof text, pattern, number);
    return text;
}

static json_int_t number_of(const json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    if (!json_is_integer(value))
        fail_msg("there is no number '%s'", key);
    return json_integer_value(value);
}

/* ---- Every key of the lists is there, and is of its kind ---- */

enum kind { KIND_BYTES, KIND_COUNT, KIND_NS, KIND_US, KIND_TEXT, KIND_BOOL, KIND_RATIO };

static const struct { const char *group, *key; enum kind kind; } stat_rows[] = {
#define STAT(group, key, kind, meaning) { #group, #key, KIND_##kind },
#include "daemon/stats.def"
#undef STAT
};

static const char *const option_names[] = {
#define OPTION(name, kind, initial, least, most, reload, help) #name,
#include "daemon/options.def"
#undef OPTION
};

static bool is_of_kind(const json_t *value, enum kind kind)
{
    switch (kind) {
    case KIND_TEXT: return json_is_string(value);
    case KIND_BOOL: return json_is_boolean(value);
    case KIND_RATIO: return json_is_number(value);
    default: return json_is_integer(value) && json_integer_value(value) >= 0;
    }
}

static void assert_group(const json_t *object, const char *group)
{
    size_t keys = 0;
    for (size_t i = 0; i < sizeof stat_rows / sizeof *stat_rows; i++) {
        if (strcmp(stat_rows[i].group, group) != 0)
            continue;
        keys++;
        if (!is_of_kind(json_object_get(object, stat_rows[i].key), stat_rows[i].kind))
            fail_msg("%s: '%s' is missing or of another kind", group, stat_rows[i].key);
    }
    assert_int_equal(json_object_size(object), keys);
}

/* ---- Asking ---- */

static void without_a_daemon_one_sentence_says_so(void **state)
{
    static const char *const command[] = { "stats", "heaps", "heaps --closed 3", "types 1", "gc 1", "set-limit 1 4M", "log",
                                          "config", "--json stats", "heaps --json" };
    char dir[64], sentence[256];
    test_dir_make(dir, 0);
    snprintf(sentence, sizeof sentence, "%s/socket", dir);
    setenv("MORPHMEM_SOCKET", sentence, 1);
    snprintf(sentence, sizeof sentence, "morphmemctl: no morphmemd answers at %s/socket; start one, or name its socket with --socket\n", dir);
    for (size_t i = 0; i < sizeof command / sizeof *command; i++) {
        struct tool tool = tool_expect(3, command[i]);
        assert_string_equal(tool.text, "");
        assert_string_equal(tool.complaint, sentence);
        tool_free(&tool);
    }
    expect_complaint(3, "stats --socket /nowhere/at/all", "no morphmemd answers at /nowhere/at/all;");
    unsetenv("MORPHMEM_SOCKET");
    test_dir_remove(dir);
}

static void wrong_usage_is_told(void **state)
{
    expect_complaint(2, "--json", "which command?");
    expect_complaint(2, "dance", "there is no command 'dance'");
    expect_complaint(2, "heaps --dance", "unrecognized option '--dance'");
    expect_complaint(2, "heaps --top 3", "unrecognized option '--top'");
    expect_complaint(2, "stats now", "usage: morphmemctl stats");
    expect_complaint(2, "heaps 1 2", "usage: morphmemctl heaps");
    expect_complaint(2, "heaps trees", "'trees' is not the number of a heap");
    expect_complaint(2, "types", "usage: morphmemctl types");
    expect_complaint(2, "types 0", "'0' is not the number of a heap");
    expect_complaint(2, "types --top none 1", "--top wants a number");
    expect_complaint(2, "run", "usage: morphmemctl run");
    expect_complaint(2, "run --limit much -- true", "--limit wants a size");
    expect_complaint(2, "stats --socket", "requires an argument");
}

static void help_names_everything(void **state)
{
    expect_text(0, "--help", "stats", "heaps", "types", "gc", "set-limit", "log", "config", "doctor", "run", "--json", "--socket",
                "exit codes:", NULL);
    expect_text(0, "run --help", "--limit SIZE", "--keep-log", NULL);
    expect_text(0, "types -h", "--top N", NULL);
    expect_text(0, "--version", "morphmemctl ", NULL);
    expect_text(0, "stats --version", "morphmemctl ", NULL);
}

static void stats_tell_every_figure(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    expect_text(0, "stats", "morphmemd ", format(", process %llu,", (unsigned long long)daemon->pid), "budget ", "warm pool ",
                "0 open, 0 opened", NULL);
    json_t *json = expect_json(0, "stats --json");
    assert_int_equal(json_object_size(json), 2);
    assert_group(json_object_get(json, "daemon"), "daemon");
    assert_int_equal(number_of(json_object_get(json, "daemon"), "pid"), daemon->pid);
    assert_int_equal(json_array_size(json_object_get(json, "heaps")), 0);
    json_decref(json);

    struct client client = client_open("trees", 8 * MiB);
    expect_text(0, "stats", "1 open, 1 opened", "ID  NAME   MODE", "trees  COMPILER", NULL);
    json = expect_json(0, "--json stats");
    assert_int_equal(number_of(json_object_get(json, "daemon"), "heaps"), 1);
    assert_group(json_array_get(json_object_get(json, "heaps"), 0), "heap");
    json_decref(json);
    client_close(&client);
    test_daemon_stop(daemon);
}

static void heaps_come_and_go_in_the_table(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client first = client_open("first", 8 * MiB), second = client_open("second", 16 * MiB);
    expect_text(0, "heaps", "first", "second", "8.0 MiB", "16.0 MiB", NULL);

    json_t *json = expect_json(0, format("heaps --json %llu", second.id));
    json_t *heap = json_array_get(json_object_get(json, "heaps"), 0);
    assert_int_equal(json_array_size(json_object_get(json, "heaps")), 1);
    assert_group(heap, "heap");
    assert_string_equal(json_string_value(json_object_get(heap, "name")), "second");
    assert_string_equal(json_string_value(json_object_get(heap, "state")), "open");
    assert_int_equal(number_of(heap, "id"), second.id);
    assert_int_equal(number_of(heap, "pid"), getpid());
    assert_int_equal(number_of(heap, "uid"), getuid());
    assert_int_equal(number_of(heap, "limit_bytes"), 16 * MiB);
    json_decref(json);
    expect_complaint(1, "heaps 999", "there is no such heap");

    uint64_t id = second.id;
    client_close(&second);
    assert_true(test_wait_until(test_heaps() == 1, 5000 * test_slowness()));
    json = expect_json(0, "heaps --json");
    assert_int_equal(json_array_size(json_object_get(json, "heaps")), 1);
    json_decref(json);
    expect_text(0, "heaps --closed", "STATE\n", "open\n", "closed\n", NULL);
    json = expect_json(0, format("heaps --closed %llu --json", id));
    heap = json_array_get(json_object_get(json, "heaps"), 0);
    assert_string_equal(json_string_value(json_object_get(heap, "state")), "closed");
    assert_group(heap, "heap");
    json_decref(json);
    client_close(&first);
    test_daemon_stop(daemon);
}

static void hostile_names_do_not_break_the_table(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("two\nlines\x1b[2J and a name that goes on for longer than anybody reads", 8 * MiB);
    struct tool tool = tool_expect(0, "heaps");
    assert_int_equal(lines_of(tool.text), 2);
    assert_null(strchr(tool.text, '\x1b'));
    assert_non_null(strstr(tool.text, "..."));
    tool_free(&tool);
    client_close(&client);
    test_daemon_stop(daemon);
}

struct node { struct node *left, *right; long value; };

static void types_are_counted_and_sorted(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("trees", 8 * MiB);
    morph_type node, leaf;
    morph_arena *arena;
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "leaf", .bytes = 16 }, &leaf));
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "node", .bytes = sizeof(struct node),
                                                                   .refs = MORPH_REFS(struct node, left, right) }, &node));
    assert_ok(morph_arena_new(client.me, &arena));
    for (int i = 0; i < 100; i++)
        assert_non_null(morph_arena_new_object(arena, i < 30 ? leaf : node));

    json_t *json = expect_json(0, format("types --json %llu", client.id));
    json_t *types = json_object_get(json, "types"), *first = json_array_get(types, 0), *second = json_array_get(types, 1);
    assert_int_equal(number_of(json, "heap"), client.id);
    assert_group(first, "type");
    assert_string_equal(json_string_value(json_object_get(first, "name")), "node");
    assert_int_equal(number_of(first, "objects"), 70);
    assert_int_equal(number_of(first, "bytes"), 70 * sizeof(struct node));
    assert_int_equal(number_of(first, "refs"), 2);
    assert_int_equal(number_of(second, "objects"), 30);
    json_decref(json);

    json = expect_json(0, format("types --top 1 %llu --json", client.id));
    assert_int_equal(json_array_size(json_object_get(json, "types")), 1);
    json_decref(json);
    expect_text(0, format("types %llu", client.id), "ID  NAME", "OBJECTS", "node", "leaf", "70", NULL);
    expect_complaint(1, "types 999", "there is no such heap");
    morph_arena_free(arena);
    client_close(&client);
    test_daemon_stop(daemon);
}

/* ---- Collections ---- */

static struct client collected_open(const char *name)
{
    struct client client = { 0 };
    assert_ok(morph_heap_open(&client.heap, &(morph_options){ .mode = MORPH_RUNTIME, .name = name, .limit_bytes = 32 * MiB, .no_autospawn = true }));
    assert_ok(morph_thread_attach(client.heap, &client.me));
    client.id = morph_heap_id(client.heap);
    return client;
}

static void gc_collects_and_says_so(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--stop-deadline=30", "--gc-log", NULL);
    struct client client = collected_open("gathered"), compiler = client_open("compiler", 8 * MiB);
    expect_text(0, "heaps", "PAUSE p99  CYCLES", NULL);
    morph_native_enter(client.me);
    char sentence[96];
    snprintf(sentence, sizeof sentence, "heap %llu, cycle 1: minor collection, paused ", (unsigned long long)client.id);
    expect_text(0, format("gc --minor %llu", client.id), sentence, " alive, ", " freed, ", NULL);
    expect_text(0, format("gc %llu", client.id), "cycle 2: major collection", NULL);
    json_t *json = expect_json(0, format("gc --compact --json %llu", client.id));
    assert_group(json, "receipt");
    assert_string_equal(json_string_value(json_object_get(json, "kind")), "compact");
    assert_int_equal(number_of(json, "heap"), client.id);
    assert_int_equal(number_of(json, "number"), 3);
    json_decref(json);
    morph_native_leave(client.me);
    expect_text(0, "heaps", " 1 minor, 2 major ", NULL);
    expect_text(0, "stats", "1 minor, 2 major, 0 put off; ", NULL);
    assert_true(test_daemon_logged(daemon, "collected heap="));
    snprintf(sentence, sizeof sentence, "thread %d did not stop in time", (int)getpid());
    expect_complaint(1, format("gc %llu", client.id), sentence);
    expect_complaint(1, format("gc %llu", compiler.id), "heaps of this mode cannot do that");
    expect_complaint(1, "gc 999", "there is no such heap");
    expect_complaint(2, "gc", "usage: morphmemctl gc");
    expect_complaint(2, "gc all", "'all' is not the number of a heap");
    client_close(&client);
    client_close(&compiler);
    test_daemon_stop(daemon);
}

static void set_limit_says_what_it_is_now(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = client_open("bounded", 8 * MiB), collected = collected_open("collected");
    char sentence[128];
    snprintf(sentence, sizeof sentence, "heap %llu: bound 12.0 MiB, was 8.0 MiB, ", (unsigned long long)client.id);
    expect_text(0, format("set-limit %llu 12M", client.id), sentence, " granted", NULL);
    expect_text(0, format("heaps %llu", client.id), " 12.0 MiB ", NULL);
    json_t *json = expect_json(0, format("set-limit --json %llu 4194304", client.id));
    assert_group(json, "limit");
    assert_int_equal(number_of(json, "heap"), client.id);
    assert_int_equal(number_of(json, "limit_bytes"), 4 * MiB);
    assert_int_equal(number_of(json, "was_bytes"), 12 * MiB);
    assert_true(number_of(json, "granted_bytes") <= (json_int_t)(4 * MiB));
    json_decref(json);
    morph_native_enter(collected.me);
    expect_text(0, format("set-limit %llu 16m", collected.id), "bound 16.0 MiB, was 32.0 MiB", NULL);
    morph_native_leave(collected.me);
    snprintf(sentence, sizeof sentence, "(the heap needs at least %llu bytes)", (unsigned long long)test_heap_stat(client.id, "granted_bytes"));
    expect_complaint(1, format("set-limit %llu 256K", client.id), sentence);
    expect_complaint(1, format("set-limit %llu 17M", client.id), "(the heap was opened with address space for 16777216 bytes)");
    expect_complaint(1, format("set-limit %llu 1", client.id), "an argument is not valid (a heap cannot be smaller than");
    expect_complaint(1, "set-limit 999 4M", "there is no such heap");
    expect_complaint(2, "set-limit", "usage: morphmemctl set-limit HEAP BYTES");
    expect_complaint(2, format("set-limit %llu", client.id), "usage: morphmemctl set-limit HEAP BYTES");
    expect_complaint(2, "set-limit all 4M", "'all' is not the number of a heap");
    expect_complaint(2, format("set-limit %llu much", client.id), "'much' is not a size such as 64M");
    expect_complaint(2, format("set-limit %llu 99999999999T", client.id), "is not a size");
    client_close(&client);
    client_close(&collected);
    test_daemon_stop(daemon);
}

static void log_tells_a_line_a_collection(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client first = collected_open("first"), second = collected_open("second");
    for (unsigned i = 0; i < 5; i++)
        assert_ok(morph_collect(i % 2 ? first.me : second.me, i == 3 ? MORPH_COLLECT_MAJOR : MORPH_COLLECT_MINOR));
    struct tool tool = tool_expect(0, "log");
    assert_int_equal(lines_of(tool.text), 5);
    char *at = tool.text;
    for (unsigned i = 0; i < 5; i++) {
        char pattern[96];
        snprintf(pattern, sizeof pattern, " heap=%llu cycle=%u kind=%s reason=ASKED pause=", (unsigned long long)(i % 2 ? first.id : second.id), i / 2 + 1,
                 i == 3 ? "major" : "minor");
        assert_int_equal(strncmp(at, "time=20", 7), 0);
        char *end = strchr(at, '\n');
        *end = 0;
        if (!strstr(at, pattern))
            fail_msg("no '%s' in '%s'", pattern, at);
        for (char *pair = strtok(at, " "); pair; pair = strtok(NULL, " "))
            assert_non_null(strchr(pair, '='));
        at = end + 1;
    }
    tool_free(&tool);
    tool = tool_expect(0, format("log --json %llu", first.id));
    assert_int_equal(lines_of(tool.text), 2);
    json_t *json = json_loads(strtok(tool.text, "\n"), 0, NULL);
    assert_group(json, "receipt");
    json_decref(json);
    tool_free(&tool);
    expect_complaint(1, "log 999", "there is no such heap");
    expect_complaint(2, "log trees", "'trees' is not the number of a heap");
    expect_complaint(2, "heaps -f", "invalid option -- 'f'");
    client_close(&first);
    client_close(&second);
    test_daemon_stop(daemon);
}

static off_t bytes_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return st.st_size;
}

static void log_follows_until_it_is_stopped(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    struct client client = collected_open("followed");
    struct tool all = tool_start_as((uid_t)-1, "log -f"), one = tool_start_as((uid_t)-1, format("log -f %llu", client.id));
    struct tool last = tool_start_as((uid_t)-1, "log --follow --json");
    for (off_t before = 0; before < 1000; ) {           /* each comes while it is followed */
        assert_ok(morph_collect(client.me, MORPH_COLLECT_MINOR));
        if (!test_wait_until(bytes_of(all.out) > before && bytes_of(one.out) > before && bytes_of(last.out) > before, END_MS))
            fail_msg("nothing was told");
        before = bytes_of(all.out);
    }
    assert_int_equal(kill(all.pid, SIGINT), 0);
    tool_wait(&all);
    assert_int_equal(all.code, 0);
    assert_true(lines_of(all.text) >= 2);
    client_close(&client);
    tool_wait(&one);                                    /* its heap has ended */
    assert_int_equal(one.code, 0);
    assert_string_equal(one.complaint, "");
    test_daemon_stop(daemon);
    tool_wait(&last);
    assert_int_equal(last.code, 3);
    assert_non_null(strstr(last.text, "\"kind\":\"minor\""));
    tool_free(&all);
    tool_free(&one);
    tool_free(&last);
}

static void config_tells_every_option(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--pool-min=4M", "--log-level=error", NULL);
    json_t *json = expect_json(0, "config --json");
    for (size_t i = 0; i < sizeof option_names / sizeof *option_names; i++)
        if (!json_object_get(json, option_names[i]))
            fail_msg("config: there is no '%s'", option_names[i]);
    assert_int_equal(json_object_size(json), sizeof option_names / sizeof *option_names);
    assert_int_equal(number_of(json, "pool_min"), 4 * MiB);
    assert_string_equal(json_string_value(json_object_get(json, "log_level")), "error");
    assert_string_equal(json_string_value(json_object_get(json, "socket")), daemon->socket);
    json_decref(json);
    expect_text(0, "config", "pool_min             = 4.0 MiB\n", "log_level            = error\n", daemon->socket, NULL);
    test_daemon_stop(daemon);
}

static void assert_doctor(const json_t *json, int code)
{
    const json_t *features = json_object_get(json, "features"), *feature;
    size_t index, missing = 0;
    json_array_foreach(features, index, feature) {
        static const char *const key[] = { "key", "name", "found", "cost", "remedy" };
        for (size_t i = 0; i < sizeof key / sizeof *key; i++)
            assert_true(json_string_length(json_object_get(feature, key[i])) > 0);
        assert_true(json_is_boolean(json_object_get(feature, "present")));
        missing += json_is_false(json_object_get(feature, "present"));
    }
    assert_true(json_array_size(features) >= 12);
    assert_int_equal(code, missing > 0 ? 4 : 0);
}

static void doctor_works_with_and_without_a_daemon(void **state)
{
    char line[128];
    setenv("MORPHMEM_SOCKET", "/nowhere/at/all", 1);
    struct tool tool = tool_run("doctor --json");
    json_t *json = json_loads(tool.text, 0, NULL);
    int code = tool.code;
    assert_non_null(json);
    assert_doctor(json, code);
    assert_true(json_is_null(json_object_get(json, "daemon")));
    json_decref(json);
    tool_free(&tool);
    expect_text(code, "doctor", "sealed memory files: ", "no morphmemd answers at /nowhere/at/all", NULL);
    unsetenv("MORPHMEM_SOCKET");

    struct test_daemon *daemon = test_daemon_start(NULL);
    json = expect_json(code, "doctor --json");
    assert_doctor(json, code);
    assert_group(json_object_get(json, "daemon"), "daemon");
    json_decref(json);
    snprintf(line, sizeof line, " at %s, process %d: huge pages ", daemon->socket, (int)daemon->pid);
    expect_text(code, "doctor", line, ", collector threads ", NULL);
    test_daemon_stop(daemon);
}

static void output_that_cannot_be_written_is_an_error(void **state)
{
    char words[128];
    struct test_daemon *daemon = test_daemon_start(NULL);
    expect_complaint(1, "stats --json=/dev/full", "cannot write /dev/full");
    expect_complaint(1, "stats --json=/nowhere/at/all", "cannot write /nowhere/at/all");
    snprintf(words, sizeof words, "config --json=%s/config.json", daemon->dir);
    struct tool tool = tool_expect(0, words);
    assert_string_equal(tool.text, "");
    json_t *json = json_load_file(words + strlen("config --json="), 0, NULL);
    assert_true(json_is_object(json));
    json_decref(json);
    tool_free(&tool);
    test_daemon_stop(daemon);
}

static void a_daemon_that_hangs_or_dies_is_not_waited_for(void **state)
{
    struct test_daemon *daemon = test_daemon_start(NULL);
    test_daemon_pause(daemon);
    expect_complaint(3, "stats", "did not answer within 5 s");
    test_daemon_continue(daemon);
    test_daemon_kill(daemon);
    expect_complaint(3, "stats", "no morphmemd answers at ");
    test_daemon_free(daemon);
}

static void a_socket_of_somebody_else_is_told_apart(void **state)
{
    if (geteuid() != 0)
        test_skip("only root can be somebody else");
    struct test_daemon *daemon = test_daemon_start("--socket-mode=0600", NULL);
    struct tool tool = tool_start_as(test_user_nobody(), "stats");
    tool_wait(&tool);
    if (tool.code == 3)
        assert_non_null(strstr(tool.complaint, "this user may not connect to "));
    int code = tool.code;
    tool_free(&tool);
    test_daemon_stop(daemon);
    if (code != 3 && access(tool_program(), X_OK) == 0 && code > 4)
        test_skip("nobody may not start %s", tool_program());
    assert_int_equal(code, 3);
}

/* ---- run ---- */

/* This program as the command: "open" has a heap and exits with 7; "wait" tells its socket and pid through descriptor 3 and waits for
 * a signal; "die" is killed. */
struct told { pid_t pid; char socket[128]; };

static int command_main(const char *what)
{
    struct client client;
    struct told told = { .pid = getpid() };
    const char *socket = getenv("MORPHMEM_SOCKET");
    snprintf(told.socket, sizeof told.socket, "%s", socket ? socket : "");
    morph_arena *arena;
    prctl(PR_SET_PDEATHSIG, SIGKILL);           /* a case that fails leaves no process behind */
    if (client_try(&client, "ridden", 8 * MiB) < 0 || morph_arena_new(client.me, &arena) < 0 || !morph_arena_bytes(arena, 100000))
        return 1;
    if (write(3, &told, sizeof told) != sizeof told)
        return 2;
    if (strcmp(what, "wait") == 0)
        for (;;)
            pause();
    if (strcmp(what, "die") == 0)
        raise(SIGKILL);
    return 7;
}

/* Where `run` may put things: nothing else is in there before, and nothing must be afterwards. */
static char run_dir[64];

static int run_begin(void **state)
{
    int r = test_begin(state);
    test_dir_make(run_dir, 0);
    setenv("TMPDIR", run_dir, 1);
    return r;
}

static unsigned run_dir_entries(void)
{
    DIR *list = opendir(run_dir);
    assert_non_null(list);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(list)) != NULL; )
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(list);
    return count;
}

static int run_end(void **state)
{
    unsetenv("TMPDIR");
    test_dir_remove(run_dir);
    return test_end(state);
}
#define run_case(function) cmocka_unit_test_setup_teardown(function, run_begin, run_end)

static bool gone(pid_t pid) { return kill(pid, 0) < 0 && errno == ESRCH; }

static const char *run_words(const char *options, const char *what)
{
    static char words[1024];
    snprintf(words, sizeof words, "run %s-- /proc/%d/exe %s", options, (int)getpid(), what);
    return words;
}

static void run_tells_the_story_and_keeps_the_code(void **state)
{
    struct tool tool = tool_expect(7, run_words("", "open"));
    assert_string_equal(tool.text, "");
    assert_non_null(strstr(tool.complaint, "ridden"));
    assert_non_null(strstr(tool.complaint, "8.0 MiB"));
    assert_non_null(strstr(tool.complaint, "1 opened since the start"));
    tool_free(&tool);
    assert_int_equal(run_dir_entries(), 0);

    json_t *json = expect_json(7, run_words("--json ", "open"));
    json_t *heap = json_array_get(json_object_get(json, "heaps"), 0), *daemon = json_object_get(json, "daemon");
    assert_group(heap, "heap");
    assert_group(daemon, "daemon");
    assert_int_equal(number_of(json, "exit"), 7);
    assert_string_equal(json_string_value(json_array_get(json_object_get(json, "command"), 1)), "open");
    assert_string_equal(json_string_value(json_object_get(heap, "name")), "ridden");
    assert_true(number_of(heap, "peak_bytes") >= 100000);
    assert_true(gone((pid_t)number_of(daemon, "pid")));
    json_decref(json);
    assert_int_equal(run_dir_entries(), 0);
}

static void run_bounds_the_heaps(void **state)
{
    json_t *json = expect_json(7, run_words("--json --limit 1M ", "open"));
    assert_int_equal(number_of(json_array_get(json_object_get(json, "heaps"), 0), "limit_bytes"), MiB);
    json_decref(json);
}

static void run_ends_as_shells_tell_it(void **state)
{
    struct tool tool = tool_expect(128 + SIGKILL, run_words("", "die"));
    tool_free(&tool);
    tool = tool_expect(0, "run -- true");
    tool_free(&tool);
    tool = tool_expect(1, "run false");
    tool_free(&tool);
    expect_complaint(127, "run -- /nowhere/at/all", "cannot run /nowhere/at/all");
    expect_complaint(126, "run -- /dev/null", "cannot run /dev/null");
    assert_int_equal(run_dir_entries(), 0);
}

static void run_passes_signals_on_and_leaves_nothing(void **state)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct told told;
        struct tool tool = tool_start_as((uid_t)-1, run_words("", "wait"));
        assert_int_equal(read(tool.from, &told, sizeof told), sizeof told);
        assert_int_equal(strncmp(told.socket, run_dir, strlen(run_dir)), 0);
        assert_int_equal(run_dir_entries(), 1);
        assert_int_equal(kill(tool.pid, signals[i]), 0);
        tool_wait(&tool);
        assert_int_equal(tool.code, 128 + signals[i]);
        assert_non_null(strstr(tool.complaint, "ridden"));
        assert_true(gone(told.pid));
        assert_int_equal(run_dir_entries(), 0);
        tool_free(&tool);
    }
}

/* The process that listens on a daemon's socket. */
static pid_t daemon_behind(const char *socket)
{
    char words[256];
    snprintf(words, sizeof words, "stats --json --socket %s", socket);
    json_t *json = expect_json(0, words);
    pid_t pid = (pid_t)number_of(json_object_get(json, "daemon"), "pid");
    json_decref(json);
    return pid;
}

static void run_takes_its_daemon_along_when_it_is_killed(void **state)
{
    struct told told;
    struct tool tool = tool_start_as((uid_t)-1, run_words("", "wait"));
    assert_int_equal(read(tool.from, &told, sizeof told), sizeof told);
    pid_t daemon = daemon_behind(told.socket);
    assert_int_equal(kill(tool.pid, SIGKILL), 0);
    tool_wait(&tool);
    assert_int_equal(tool.code, 128 + SIGKILL);
    assert_true(test_wait_until(gone(daemon), 10000 * test_slowness()));
    assert_true(test_wait_until(gone(told.pid), 10000 * test_slowness()));
    tool_free(&tool);
}

static void run_keeps_the_log_when_asked(void **state)
{
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(run_dir), 0);
    struct tool tool = tool_expect(0, "run --keep-log -- true");
    assert_int_equal(fchdir(before), 0);
    close(before);
    char *name = strstr(tool.complaint, "log is in "), path[160], line[256];
    assert_non_null(name);
    snprintf(path, sizeof path, "%s/%.60s", run_dir, name + strlen("log is in "));
    path[strcspn(path, "\n")] = 0;
    FILE *log = fopen(path, "re");
    assert_non_null(log);
    assert_non_null(fgets(line, sizeof line, log));
    fclose(log);
    assert_int_equal(run_dir_entries(), 1);             /* the log, and nothing else */
    tool_free(&tool);
}

static void run_says_when_its_daemon_cannot_start(void **state)
{
    char *before = getenv("MORPHMEMD") ? strdup(getenv("MORPHMEMD")) : NULL;
    setenv("MORPHMEMD", "/bin/false", 1);
    expect_complaint(3, "run -- true", "morphmemd did not start");
    setenv("MORPHMEMD", "/nowhere/at/all", 1);
    expect_complaint(3, "run -- true", "cannot start morphmemd: No such file or directory");
    if (before)
        setenv("MORPHMEMD", before, 1);
    else
        unsetenv("MORPHMEMD");
    free(before);
    assert_int_equal(run_dir_entries(), 0);
    setenv("TMPDIR", "/nowhere/at/all", 1);
    expect_complaint(3, "run -- true", "cannot make the directory");
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return command_main(argv[1]);
    const struct CMUnitTest cases[] = {
        test_case(without_a_daemon_one_sentence_says_so),
        test_case(wrong_usage_is_told),
        test_case(help_names_everything),
        test_case(stats_tell_every_figure),
        test_case(heaps_come_and_go_in_the_table),
        test_case(hostile_names_do_not_break_the_table),
        test_case(types_are_counted_and_sorted),
        test_case(gc_collects_and_says_so),
        test_case(set_limit_says_what_it_is_now),
        test_case(log_tells_a_line_a_collection),
        test_case(log_follows_until_it_is_stopped),
        test_case(config_tells_every_option),
        test_case(doctor_works_with_and_without_a_daemon),
        test_case(output_that_cannot_be_written_is_an_error),
        test_case(a_daemon_that_hangs_or_dies_is_not_waited_for),
        test_case(a_socket_of_somebody_else_is_told_apart),
        run_case(run_tells_the_story_and_keeps_the_code),
        run_case(run_bounds_the_heaps),
        run_case(run_ends_as_shells_tell_it),
        run_case(run_passes_signals_on_and_leaves_nothing),
        run_case(run_takes_its_daemon_along_when_it_is_killed),
        run_case(run_keeps_the_log_when_asked),
        run_case(run_says_when_its_daemon_cannot_start),
    };
    return test_run(cases);
}
