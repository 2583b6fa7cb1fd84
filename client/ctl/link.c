/* link.c — talks to the daemon. See link.h. */
#define _GNU_SOURCE
#include "client/ctl/link.h"

#include <errno.h>
#include <inttypes.h>
#include <morphmem/error.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/body.h"
#include "client/ctl/ctl.h"
#include "client/ctl/text.h"
#include "proto/packet.h"
#include "shm/layout.h"

#define LINK_FAIL(link, code, ...) (snprintf((link)->error, sizeof (link)->error, __VA_ARGS__), (code))

static const char *error_sentence(uint32_t number)
{
    switch (number) {
#define X(name, value, sentence) case (value): return sentence;
    MORPH_ERROR_MAP(X)
#undef X
    default: return "an error that this morphmemctl does not know";
    }
}

/* ---- Packets ------------------------------------------------------------------------------------------------------------ */

static int link_wait(struct link *link, short events)
{
    struct pollfd wait = { .fd = link->fd, .events = events };
    int ready;
    do
        ready = poll(&wait, 1, link->timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return LINK_FAIL(link, CTL_NO_DAEMON, "morphmemd at %s did not answer within %d s; is it stopped or overloaded?",
                         link->path, link->timeout_ms / 1000);
    return CTL_FINE;
}

static int link_send(struct link *link, struct mm_message *message)
{
    message->seq = ++link->seq;
    int r;
    while ((r = mm_packet_send_message(link->fd, message, NULL, 0)) == -EAGAIN) {
        int code = link_wait(link, POLLOUT);
        if (code != CTL_FINE)
            return code;
    }
    /* A peer that has closed may still have said why; the answer, or its absence, tells. */
    if (r < 0 && r != -EPIPE && r != -ECONNRESET)
        return LINK_FAIL(link, CTL_NO_DAEMON, "cannot talk to morphmemd at %s: %s", link->path, strerror(-r));
    return CTL_FINE;
}

static int link_refused(struct link *link, const struct mm_error *error)
{
    char details[256];
    link->refused = error->error;
    text_clean(error->text, details, sizeof details);
    const char *sentence = error_sentence(error->error);
    enum ctl_exit code = error->error == (uint32_t)-MORPH_EPERMISSION ? CTL_NO_DAEMON : CTL_FAILED;
    bool more = *details && strcmp(details, sentence) != 0;
    return LINK_FAIL(link, code, "%s%s%s%s", sentence, more ? " (" : "", more ? details : "", more ? ")" : "");
}

/* The answer to the latest request, which must be `expected` or an error. */
static int link_receive(struct link *link, uint32_t expected, struct mm_message *ret_message)
{
    unsigned files;
    int r;
    for (;;) {
        r = mm_packet_recv_message(link->fd, MM_FROM_DAEMON, link->packet, sizeof link->packet, ret_message, NULL, 0, &files);
        if (r == -EAGAIN) {
            int code = link_wait(link, POLLIN);
            if (code != CTL_FINE)
                return code;
            continue;
        }
        if (r == -ENOMSG && ret_message->seq == 0)
            continue;                           /* something new that nobody asked for */
        break;
    }
    if (r == -ECONNRESET)
        return LINK_FAIL(link, CTL_NO_DAEMON, "morphmemd at %s closed the connection; its log says why", link->path);
    if (r < 0)
        return LINK_FAIL(link, CTL_FAILED, "morphmemd at %s sent what cannot be understood (%s); install the same morphmem on both sides",
                         link->path, strerror(-r));
    if (ret_message->id == MM_MSG_ERROR)
        return link_refused(link, &ret_message->as.error);
    if (ret_message->id != expected || ret_message->seq != link->seq)
        return LINK_FAIL(link, CTL_FAILED, "morphmemd at %s answered something else than what was asked", link->path);
    return CTL_FINE;
}

/* ---- Connection --------------------------------------------------------------------------------------------------------- */

int link_greet(struct link *link, int fd)
{
    struct mm_message hello = { .id = MM_MSG_HELLO }, welcome;
    link->fd = fd;
    link->seq = 0;
    link->timeout_ms = LINK_TIMEOUT_MS;
    link->refused = 0;
    hello.as.hello.version = MM_PROTOCOL_VERSION;
    hello.as.hello.features = MM_FEATURES;
    hello.as.hello.layout = MM_LAYOUT_VERSION;
    snprintf(hello.as.hello.program, sizeof hello.as.hello.program, "morphmemctl");
    int code = link_send(link, &hello);
    return code != CTL_FINE ? code : link_receive(link, MM_MSG_WELCOME, &welcome);
}

/* The sentence when no candidate could be reached; `denied` is one that is there but not for us. */
static int link_nowhere(struct link *link, char paths[][MM_ADDRESS_BYTES], int count, const char *denied, int error)
{
    if (denied)
        return LINK_FAIL(link, CTL_NO_DAEMON, "this user may not connect to %s (%s); ask its owner, or start a daemon of your own",
                         denied, strerror(error));
    if (count == 1)
        return LINK_FAIL(link, CTL_NO_DAEMON, "no morphmemd answers at %s; start one, or name its socket with --socket", paths[0]);
    return LINK_FAIL(link, CTL_NO_DAEMON, "no morphmemd answers at %s or %s; start one, or name its socket with --socket",
                     paths[0], paths[1]);
}

int link_open(struct link *link, const char *socket)
{
    char paths[MM_ADDRESS_CANDIDATES][MM_ADDRESS_BYTES];
    const char *denied = NULL;
    int error = 0;
    link->fd = -1;
    link->error[0] = 0;
    int count = mm_address_candidates(socket, paths);
    if (count < 0)
        return LINK_FAIL(link, CTL_USAGE, "the path of the socket is longer than %d bytes; use a shorter one", MM_ADDRESS_BYTES - 1);
    for (int i = 0; i < count; i++) {
        int fd = mm_address_connect(paths[i]);
        if (fd >= 0) {
            memcpy(link->path, paths[i], sizeof link->path);
            return link_greet(link, fd);
        }
        if (fd == -EACCES || fd == -EPERM) {
            denied = paths[i];
            error = -fd;
        }
    }
    return link_nowhere(link, paths, count, denied, error);
}

void link_close(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
}

/* ---- Questions ---------------------------------------------------------------------------------------------------------- */

/* Appends the body of one part, if it has one. */
static int link_part(struct link *link, const struct mm_report *part, json_t *bodies)
{
    if (part->body_bytes == 0)
        return CTL_FINE;
    json_t *body = body_to_json(part->body, part->body_bytes);
    if (!body)
        return LINK_FAIL(link, CTL_FAILED, "morphmemd at %s sent a report that is not a map; install the same morphmem on both sides",
                         link->path);
    int r = json_object_size(body) > 0 ? json_array_append_new(bodies, body) : (json_decref(body), 0);
    return r == 0 ? CTL_FINE : LINK_FAIL(link, CTL_FAILED, "out of memory");
}

int link_ask(struct link *link, struct mm_message *request, json_t **ret_bodies)
{
    struct mm_message answer;
    json_t *bodies = json_array();
    int code = bodies ? link_send(link, request) : LINK_FAIL(link, CTL_FAILED, "out of memory");
    bool last = false;
    for (unsigned parts = 0; code == CTL_FINE && !last; parts++) {
        if (parts == LINK_REPORTS_MAX)
            code = LINK_FAIL(link, CTL_FAILED, "morphmemd at %s does not come to an end", link->path);
        else
            code = link_receive(link, MM_MSG_REPORT, &answer);
        if (code == CTL_FINE)
            code = link_part(link, &answer.as.report, bodies);
        last = code == CTL_FINE && answer.as.report.last;
    }
    if (code == CTL_FINE)
        *ret_bodies = bodies;
    else
        json_decref(bodies);
    return code;
}
