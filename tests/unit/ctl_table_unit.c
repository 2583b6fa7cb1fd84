/* ctl_table_unit.c — what morphmemctl is made of: figures and names for people, tables, reports as JSON, the conversation with a daemon
 * (whose answers wait in a socket pair before they are asked for), and proto/address, where that daemon is looked for. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/ctl/body.h"
#include "client/ctl/ctl.h"
#include "client/ctl/link.h"
#include "client/ctl/table.h"
#include "client/ctl/text.h"
#include "proto/packet.h"
#include "proto/report.h"
#include "tests/lib/daemon.h"

#define KIB ((uint64_t)1 << 10)
#define SECOND 1000000000ull

/* ---- Figures ---- */

static void sizes_have_one_decimal_and_the_right_unit(void **state)
{
    static const struct { uint64_t bytes; const char *text; } row[] = {
        { 0, "0 B" }, { 1, "1 B" }, { 1023, "1023 B" }, { 1024, "1.0 KiB" }, { 1536, "1.5 KiB" }, { KIB * KIB - 1, "1.0 MiB" },
        { 64 * KIB * KIB, "64.0 MiB" }, { KIB * KIB * KIB, "1.0 GiB" }, { 24683900 * KIB, "23.5 GiB" },
        { KIB * KIB * KIB * KIB, "1.0 TiB" }, { UINT64_MAX, "16.0 EiB" },
    };
    char text[TEXT_BYTES];
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_string_equal(text_size(row[i].bytes, text), row[i].text);
}

static void durations_are_readable(void **state)
{
    static const struct { uint64_t ns; const char *text; } row[] = {
        { 0, "0 ns" }, { 999, "999 ns" }, { 1000, "1.0 us" }, { 12345, "12.3 us" }, { 999949, "999.9 us" }, { 999999, "1.0 ms" },
        { 4500000, "4.5 ms" }, { 999999999, "1.0 s" }, { SECOND * 59, "59.0 s" }, { SECOND * 60 - 1, "1 min 0 s" },
        { SECOND * 245, "4 min 5 s" }, { SECOND * 3599, "59 min 59 s" }, { SECOND * 11520, "3 h 12 min" },
        { SECOND * 86400, "1 d 0 h" }, { UINT64_MAX, "213503 d 23 h" },
    };
    char text[TEXT_BYTES];
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_string_equal(text_duration(row[i].ns, text), row[i].text);
}

/* ---- Names ---- */

static void names_can_do_no_harm_on_a_terminal(void **state)
{
    char text[64];
    assert_int_equal(text_clean("plain name", text, sizeof text), 10);
    assert_string_equal(text, "plain name");
    assert_int_equal(text_clean("a\x1b[2Jb\n\t\x7f", text, sizeof text), 9);
    assert_string_equal(text, "a?[2Jb???");
    assert_int_equal(text_clean("\xff\xc3z", text, sizeof text), 3);            /* no characters at all */
    assert_string_equal(text, "??z");
    assert_int_equal(text_clean("12345678", text, 5), 4);
    assert_string_equal(text, "1234");
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        test_skip("no UTF-8 locale");
    assert_int_equal(text_clean("gr\xc3\xbc\xc3\x9f", text, sizeof text), 4);
    assert_string_equal(text, "gr\xc3\xbc\xc3\x9f");
    assert_int_equal(text_clean("\xe6\xbc\xa2", text, sizeof text), 2);           /* takes two columns */
    assert_int_equal(text_clean("a\xe2\x80\xae" "b\xc2\x9b" "c", text, sizeof text), 5);   /* right-to-left override, CSI */
    assert_string_equal(text, "a?b?c");
    assert_int_equal(text_clean("ab\xc3\xbc", text, 4), 2);                      /* never half a character */
    assert_string_equal(text, "ab");
    setlocale(LC_CTYPE, "C");
}

static void long_names_are_cut_to_columns(void **state)
{
    char text[64] = "exactly-ten", wide[64] = "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2";
    assert_int_equal(text_shorten(text, 11), 11);
    assert_string_equal(text, "exactly-ten");
    assert_int_equal(text_shorten(text, 10), 10);
    assert_string_equal(text, "exactly...");
    assert_int_equal(text_shorten(text, 3), 3);
    assert_string_equal(text, "...");
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        test_skip("no UTF-8 locale");
    assert_int_equal(text_shorten(wide, 6), 5);                                  /* 2 + 3: half a wide character is none */
    assert_string_equal(wide, "\xe6\xbc\xa2...");
    setlocale(LC_CTYPE, "C");
}

/* ---- Tables ---- */

static const struct table_column columns[] = {
    { "ID", "id", TABLE_COUNT }, { "NAME", "name", TABLE_TEXT }, { "SIZE", "bytes", TABLE_SIZE },
    { "AGE", "age_ns", TABLE_DURATION }, { "STATE", "state", TABLE_TEXT }, { NULL, NULL, TABLE_TEXT }
};

static void assert_table(json_t *rows, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    assert_non_null(rows);
    table_print(to, columns, rows);
    fclose(to);
    assert_string_equal(text, expected);
    free(text);
    json_decref(rows);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
    assert_table(json_pack("[{s:i, s:s, s:i, s:i, s:s}, {s:i, s:s, s:I, s:I, s:s}]",
                           "id", 3, "name", "trees", "bytes", 512, "age_ns", 5, "state", "open",
                           "id", 1234567, "name", "x", "bytes", (json_int_t)(64 * KIB * KIB), "age_ns",
                           (json_int_t)(SECOND * 245), "state", "closed"),
                 "     ID  NAME       SIZE        AGE  STATE\n"
                 "      3  trees     512 B       5 ns  open\n"
                 "1234567  x      64.0 MiB  4 min 5 s  closed\n");
}

static void an_empty_table_is_its_headings(void **state)
{
    assert_table(json_array(), "ID  NAME  SIZE  AGE  STATE\n");
}

static void what_is_missing_or_of_another_kind_is_a_dash(void **state)
{
    assert_table(json_pack("[{s:s, s:i, s:i, s:f}]", "id", "seven", "name", 7, "bytes", -1, "age_ns", 1000.0),
                 "ID  NAME  SIZE     AGE  STATE\n"
                 " -  -        -  1.0 us  -\n");
}

static void hostile_names_do_not_break_the_lines(void **state)
{
    assert_table(json_pack("[{s:i, s:s, s:i, s:i, s:s}]", "id", 1, "name", "a\n\x1b[31m and a name that goes on and on and on",
                           "bytes", 0, "age_ns", 0, "state", "\r"),
                 "ID  NAME                      SIZE   AGE  STATE\n"
                 " 1  a??[31m and a name th...   0 B  0 ns  ?\n");
}

/* ---- Reports as JSON ---- */

static json_t *body(const void *bytes, size_t count)
{
    return body_to_json(bytes, count);
}
#define BODY(text) body(text, sizeof text - 1)

static void every_plain_value_becomes_json(void **state)
{
    struct mm_report_writer report;
    const void *bytes;
    uint32_t count;
    mm_report_begin(&report);
    mm_report_u64(&report, "zero", 0);
    mm_report_u64(&report, "large", INT64_MAX);
    mm_report_u64(&report, "huge", UINT64_MAX);
    mm_report_bool(&report, "yes", true);
    mm_report_ratio(&report, "ratio", 0.25);
    mm_report_text(&report, "text", "gr\xc3\xbc\xc3\x9f\n");
    mm_report_text(&report, "bad", "a\xff" "b");
    assert_int_equal(mm_report_end(&report, &bytes, &count), 0);
    json_t *json = body(bytes, count);
    assert_non_null(json);
    assert_int_equal(json_object_size(json), 7);
    assert_int_equal(json_integer_value(json_object_get(json, "large")), INT64_MAX);
    assert_true(json_is_integer(json_object_get(json, "zero")));
    assert_true(json_real_value(json_object_get(json, "huge")) > 1.8e19);
    assert_true(json_is_true(json_object_get(json, "yes")));
    assert_true(json_real_value(json_object_get(json, "ratio")) == 0.25);
    assert_string_equal(json_string_value(json_object_get(json, "text")), "gr\xc3\xbc\xc3\x9f\n");
    assert_string_equal(json_string_value(json_object_get(json, "bad")), "a\xef\xbf\xbd" "b");
    json_decref(json);
}

static void only_whole_maps_of_plain_values_pass(void **state)
{
    json_t *json = BODY("\x80");
    assert_true(json_is_object(json) && json_object_size(json) == 0);
    json_decref(json);
    json = BODY("\x81\xa1" "a\x93\x01\xff\xc0");                              /* {"a": [1, -1, nil]} */
    assert_int_equal(json_array_size(json_object_get(json, "a")), 3);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json, "a"), 1)), -1);
    json_decref(json);
    json = BODY("\x81\xa1" "a\xcb\x7f\xf0\0\0\0\0\0\0");                       /* infinity */
    assert_true(json_is_null(json_object_get(json, "a")));
    json_decref(json);
    assert_null(BODY(""));
    assert_null(BODY("\x01"));
    assert_null(BODY("\x90"));
    assert_null(BODY("\x81\xa1" "a"));                                         /* cut short */
    assert_null(BODY("\x80\x80"));                                            /* two values */
    assert_null(BODY("\x81\x01\x01"));                                        /* a key that is no text */
    assert_null(BODY("\x81\xa2" "a\0\x01"));                                   /* a key with a NUL */
    assert_null(BODY("\x81\xa1" "a\xc4\x01x"));                                /* binary */
    assert_null(BODY("\x81\xa1" "a\xd4\x01x"));                                /* an extension */
    assert_null(BODY("\x81\xa1" "a\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01")); /* too deep */
}

static void text_that_is_not_utf8_is_repaired(void **state)
{
    static const struct { const char *body, *text; } row[] = {
        { "\x81\xa1" "a\xa2\xc0\x80", "\xef\xbf\xbd\xef\xbf\xbd" },                        /* overlong */
        { "\x81\xa1" "a\xa3\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\x81\xa1" "a\xa3\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },         /* a surrogate */
        { "\x81\xa1" "a\xa3\xe2\x82\xac", "\xe2\x82\xac" },
        { "\x81\xa1" "a\xa4\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
        { "\x81\xa1" "a\xa2" "b\xe2", "b\xef\xbf\xbd" },                                   /* cut off */
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        json_t *json = body(row[i].body, strlen(row[i].body));
        assert_string_equal(json_string_value(json_object_get(json, "a")), row[i].text);
        json_decref(json);
    }
}

/* ---- The conversation ---- */

static struct link link_;
static int daemon_end;

static void say(uint32_t id, uint32_t seq, void (*fill)(struct mm_message *))
{
    struct mm_message message = { .id = id, .seq = seq };
    if (fill)
        fill(&message);
    assert_int_equal(mm_packet_send_message(daemon_end, &message, NULL, 0), 0);
}

static void welcome(struct mm_message *message)
{
    message->as.welcome.version = MM_PROTOCOL_VERSION;
    message->as.welcome.daemon_pid = 1;
}

static void part_one(struct mm_message *message)
{
    message->as.report.body = "\x81\xa2id\x01";
    message->as.report.body_bytes = 5;
}

static void part_two(struct mm_message *message)
{
    message->as.report.body = "\x81\xa2id\x02";
    message->as.report.body_bytes = 5;
}

static void part_last(struct mm_message *message)
{
    message->as.report.last = true;
}

static void part_last_with_body(struct mm_message *message)
{
    part_one(message);
    message->as.report.last = true;
}

static void no_heap(struct mm_message *message)
{
    message->as.error.error = 18;
    strcpy(message->as.error.text, "heap 9\x1b[2J");
}

static void not_permitted(struct mm_message *message)
{
    message->as.error.error = 7;
    strcpy(message->as.error.text, "morphmemd may not be reached or asked this by this user");
}

static void another_version(struct mm_message *message)
{
    message->as.error.error = 8;
}

/* Connects link_ to a daemon whose answers the case has `said` by say() before it asks. */
static void fake_begin(void)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    daemon_end = ends[1];
    link_.fd = ends[0];
    strcpy(link_.path, "/here/socket");
}

static void fake_end(void)
{
    link_close(&link_);
    if (daemon_end >= 0)
        close(daemon_end);
    daemon_end = -1;
}

static void fake_welcome(void)
{
    fake_begin();
    say(MM_MSG_WELCOME, 1, welcome);
    assert_int_equal(link_greet(&link_, link_.fd), CTL_FINE);
}

/* What the tool has sent: the next packet, as the daemon sees it. */
static struct mm_message heard(void)
{
    static char packet[MM_PACKET_MAX];
    static struct mm_message message;
    unsigned files;
    assert_int_equal(mm_packet_recv_message(daemon_end, MM_FROM_CLIENT, packet, sizeof packet, &message, NULL, 0, &files), 0);
    return message;
}

static int ask(json_t **ret_bodies)
{
    struct mm_message request = { .id = MM_MSG_HEAPS };
    request.as.heaps.heap = 9;
    return link_ask(&link_, &request, ret_bodies);
}

static void parts_are_gathered_until_the_last(void **state)
{
    json_t *bodies;
    fake_welcome();
    say(MM_MSG_REPORT, 2, part_one);
    say(MM_MSG_REPORT, 2, part_two);
    say(MM_MSG_REPORT, 2, part_last);
    assert_int_equal(ask(&bodies), CTL_FINE);
    assert_int_equal(json_array_size(bodies), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(bodies, 1), "id")), 2);
    json_decref(bodies);
    struct mm_message hello = heard(), request = heard();
    assert_int_equal(hello.id, MM_MSG_HELLO);
    assert_int_equal(hello.seq, 1);
    assert_false(hello.as.hello.open);
    assert_string_equal(hello.as.hello.program, "morphmemctl");
    assert_int_equal(request.id, MM_MSG_HEAPS);
    assert_int_equal(request.seq, 2);
    assert_int_equal(request.as.heaps.heap, 9);

    say(MM_MSG_REPORT, 3, part_last_with_body);                                 /* a second question on the same connection */
    assert_int_equal(ask(&bodies), CTL_FINE);
    assert_int_equal(json_array_size(bodies), 1);
    json_decref(bodies);
    fake_end();
}

static void errors_become_sentences_and_codes(void **state)
{
    json_t *bodies;
    fake_welcome();
    say(MM_MSG_ERROR, 2, no_heap);
    assert_int_equal(ask(&bodies), CTL_FAILED);
    assert_string_equal(link_.error, "there is no such heap (heap 9?[2J)");
    say(MM_MSG_ERROR, 3, not_permitted);                                       /* the sentence is not said twice */
    assert_int_equal(ask(&bodies), CTL_NO_DAEMON);
    assert_string_equal(link_.error, "morphmemd may not be reached or asked this by this user");
    fake_end();

    fake_begin();
    say(MM_MSG_ERROR, 1, another_version);
    assert_int_equal(link_greet(&link_, link_.fd), CTL_FAILED);
    assert_non_null(strstr(link_.error, "different versions"));
    fake_end();
}

static void an_error_between_parts_ends_the_answer(void **state)
{
    json_t *bodies;
    fake_welcome();
    say(MM_MSG_REPORT, 2, part_one);
    say(MM_MSG_ERROR, 2, no_heap);
    assert_int_equal(ask(&bodies), CTL_FAILED);
    fake_end();
}

static void a_daemon_that_goes_away_is_no_daemon(void **state)
{
    json_t *bodies;
    fake_welcome();
    say(MM_MSG_REPORT, 2, part_one);
    close(daemon_end);
    daemon_end = -1;
    assert_int_equal(ask(&bodies), CTL_NO_DAEMON);
    assert_string_equal(link_.error, "morphmemd at /here/socket closed the connection; its log says why");
    fake_end();

    fake_begin();
    close(daemon_end);
    daemon_end = -1;
    assert_int_equal(link_greet(&link_, link_.fd), CTL_NO_DAEMON);
    fake_end();
}

static void answers_to_other_questions_are_refused(void **state)
{
    json_t *bodies;
    fake_welcome();
    say(MM_MSG_REPORT, 7, part_last);
    assert_int_equal(ask(&bodies), CTL_FAILED);
    fake_end();
    fake_welcome();
    say(MM_MSG_OK, 2, NULL);
    assert_int_equal(ask(&bodies), CTL_FAILED);
    assert_string_equal(link_.error, "morphmemd at /here/socket answered something else than what was asked");
    fake_end();
}

static void nonsense_is_refused_and_news_is_skipped(void **state)
{
    json_t *bodies;
    fake_welcome();
    assert_int_equal(send(daemon_end, "nonsense", 8, 0), 8);
    assert_int_equal(ask(&bodies), CTL_FAILED);
    assert_non_null(strstr(link_.error, "cannot be understood"));
    fake_end();
    fake_welcome();
    assert_int_equal(send(daemon_end, "\x93\xcd\x03\xe8\x00\x80", 6, 0), 6);     /* [1000, 0, {}]: unasked, of a later version */
    say(MM_MSG_REPORT, 2, part_last);
    assert_int_equal(ask(&bodies), CTL_FINE);
    assert_int_equal(json_array_size(bodies), 0);
    json_decref(bodies);
    fake_end();
}

/* ---- Where the daemon is ---- */

static void the_search_has_one_order(void **state)
{
    char path[MM_ADDRESS_CANDIDATES][MM_ADDRESS_BYTES], own[MM_ADDRESS_BYTES], expected[64], overlong[MM_ADDRESS_BYTES + 1];
    unsetenv("MORPHMEM_SOCKET");
    unsetenv("XDG_RUNTIME_DIR");
    snprintf(expected, sizeof expected, "/tmp/morphmem-%u/socket", (unsigned)geteuid());
    assert_int_equal(mm_address_candidates(NULL, path), 2);
    assert_string_equal(path[0], "/run/morphmem/socket");
    assert_string_equal(path[1], expected);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(mm_address_candidates("", path), 2);
    assert_string_equal(path[1], "/run/user/7/morphmem/socket");
    assert_int_equal(mm_address_user(own), 0);
    assert_string_equal(own, path[1]);
    setenv("XDG_RUNTIME_DIR", "relative", 1);                                   /* means nothing, says its specification */
    assert_int_equal(mm_address_user(own), 0);
    assert_string_equal(own, expected);
    setenv("MORPHMEM_SOCKET", "/env/socket", 1);
    assert_int_equal(mm_address_candidates(NULL, path), 1);
    assert_string_equal(path[0], "/env/socket");
    assert_int_equal(mm_address_candidates("/given", path), 1);
    assert_string_equal(path[0], "/given");

    memset(overlong, 'x', sizeof overlong);
    overlong[0] = '/';
    overlong[MM_ADDRESS_BYTES] = 0;
    assert_int_equal(mm_address_candidates(overlong, path), -ENAMETOOLONG);
    overlong[MM_ADDRESS_BYTES - 1] = 0;
    assert_int_equal(mm_address_candidates(overlong, path), 1);
    unsetenv("MORPHMEM_SOCKET");
    setenv("XDG_RUNTIME_DIR", overlong, 1);                                     /* no place for a daemon of one's own */
    assert_int_equal(mm_address_candidates(NULL, path), 1);
    assert_int_equal(mm_address_user(own), -ENAMETOOLONG);
    unsetenv("XDG_RUNTIME_DIR");
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void connecting_trusts_only_directories_of_ones_own(void **state)
{
    char dir[64], path[80], link_path[96];
    setenv("TMPDIR", "/tmp", 1);
    test_dir_make(dir, 0);
    snprintf(path, sizeof path, "%s/socket", dir);
    assert_int_equal(mm_address_connect(path), -ENOENT);
    int listener = listen_at(path), fd = mm_address_connect(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(chmod(dir, 0775), 0);
    assert_int_equal(mm_address_connect(path), -EPERM);
    assert_int_equal(chmod(dir, 0757), 0);
    assert_int_equal(mm_address_connect(path), -EPERM);
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, test_user_nobody(), (gid_t)-1), 0);
        assert_int_equal(mm_address_connect(path), -EPERM);
        assert_int_equal(chown(dir, 0, (gid_t)-1), 0);
    }
    snprintf(link_path, sizeof link_path, "%s.link", dir);
    assert_int_equal(symlink(dir, link_path), 0);                               /* whoever owns the link chooses the directory */
    strcat(link_path, "/socket");
    assert_int_equal(mm_address_connect(link_path), -EPERM);
    link_path[strlen(link_path) - 7] = 0;
    assert_int_equal(unlink(link_path), 0);
    close(listener);
    assert_int_equal(mm_address_connect(path), -ECONNREFUSED);
    test_dir_remove(dir);
}

static void preparing_makes_a_directory_and_checks_it(void **state)
{
    char dir[64], path[96];
    struct stat st;
    test_dir_make(dir, 0);
    snprintf(path, sizeof path, "%s/own/socket", dir);
    assert_int_equal(mm_address_prepare(path), 0);
    assert_int_equal(mm_address_prepare(path), 0);
    path[strlen(path) - 7] = 0;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(chmod(path, 0777), 0);
    strcat(path, "/socket");
    assert_int_equal(mm_address_prepare(path), -EPERM);
    snprintf(path, sizeof path, "%s/no/own/socket", dir);
    assert_int_equal(mm_address_prepare(path), -ENOENT);
    test_dir_remove(dir);
}

static void nobody_there_is_one_sentence(void **state)
{
    char dir[64], path[80], expected[256];
    test_dir_make(dir, 0);
    snprintf(path, sizeof path, "%s/socket", dir);
    assert_int_equal(link_open(&link_, path), CTL_NO_DAEMON);
    snprintf(expected, sizeof expected, "no morphmemd answers at %s; start one, or name its socket with --socket", path);
    assert_string_equal(link_.error, expected);
    assert_int_equal(chmod(dir, 0777), 0);
    assert_int_equal(link_open(&link_, path), CTL_NO_DAEMON);
    assert_non_null(strstr(link_.error, "may not connect"));
    link_close(&link_);
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(sizes_have_one_decimal_and_the_right_unit),
        test_case(durations_are_readable),
        test_case(names_can_do_no_harm_on_a_terminal),
        test_case(long_names_are_cut_to_columns),
        test_case(columns_are_as_wide_as_their_widest_cell),
        test_case(an_empty_table_is_its_headings),
        test_case(what_is_missing_or_of_another_kind_is_a_dash),
        test_case(hostile_names_do_not_break_the_lines),
        test_case(every_plain_value_becomes_json),
        test_case(only_whole_maps_of_plain_values_pass),
        test_case(text_that_is_not_utf8_is_repaired),
        test_case(parts_are_gathered_until_the_last),
        test_case(errors_become_sentences_and_codes),
        test_case(an_error_between_parts_ends_the_answer),
        test_case(a_daemon_that_goes_away_is_no_daemon),
        test_case(answers_to_other_questions_are_refused),
        test_case(nonsense_is_refused_and_news_is_skipped),
        test_case(the_search_has_one_order),
        test_case(connecting_trusts_only_directories_of_ones_own),
        test_case(preparing_makes_a_directory_and_checks_it),
        test_case(nobody_there_is_one_sentence),
    };
    return test_run(cases);
}
