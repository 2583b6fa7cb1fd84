/* transport.c — letters to and from the daemon. See internal.h for the lock; connecting needs none. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/internal.h"
#include "proto/address.h"
#include "proto/packet.h"
#include "shm/park.h"

void morph__lose(struct morph_heap *heap, int error)
{
    uint32_t fine = 0;
    __atomic_compare_exchange_n(&heap->status, &fine, (uint32_t)-error, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* ---- Connecting ---- */

static int connect_existing(const char *given, int *ret_socket)
{
    char path[MM_ADDRESS_CANDIDATES][MM_ADDRESS_BYTES];
    int count = mm_address_candidates(given, path), error = MORPH_ENODAEMON;
    if (count < 0)
        return MORPH_EINVALID;
    for (int i = 0; i < count; i++) {
        int fd = mm_address_connect(path[i]);
        if (fd >= 0) {
            *ret_socket = fd;
            return 0;
        }
        if (fd == -EACCES || fd == -EPERM || fd == -EMFILE || fd == -ENFILE)
            error = morph__error_of_errno(fd);          /* says more than that nobody is there */
    }
    return error;
}

int morph__connect(const morph_options *options, uint32_t timeout_ms, int *ret_socket)
{
    const char *named = options->socket ? options->socket : getenv(MM_ADDRESS_VARIABLE);
    int r = connect_existing(options->socket, ret_socket);
    if (r == 0 || options->no_autospawn || (named && *named) || r == MORPH_EFILES)
        return r;
    int spawned = morph__autospawn(timeout_ms);
    if (spawned < 0)
        return r == MORPH_EPERMISSION ? r : spawned;
    char path[MM_ADDRESS_BYTES];
    int fd = mm_address_user(path) < 0 ? -ENAMETOOLONG : mm_address_connect(path);
    if (fd < 0)
        return morph__error_of_errno(fd);
    *ret_socket = fd;
    return 0;
}

/* ---- Receiving ---- */

/* Waits for one packet, at most timeout_ms in all. */
int morph__receive(int socket, uint32_t timeout_ms, void *packet, struct mm_message *ret_message, int *ret_fds, unsigned *ret_fd_count)
{
    uint64_t deadline = mm_now_ns() + (uint64_t)timeout_ms * 1000000;
    for (;;) {
        int r = mm_packet_recv_message(socket, MM_FROM_DAEMON, packet, MORPH__PACKET_BYTES, ret_message, ret_fds, MM_PACKET_FDS, ret_fd_count);
        if (r != -EAGAIN)
            return r;
        uint64_t now = mm_now_ns();
        if (now >= deadline)
            return -ETIMEDOUT;
        struct pollfd readable = { .fd = socket, .events = POLLIN };
        (void)poll(&readable, 1, (int)((deadline - now) / 1000000 + 1));
    }
}

static void answer_hear(struct morph__awaited *at, const struct mm_message *message)
{
    if (message->id == MM_MSG_ERROR) {
        at->error = -(int)message->as.error.error;
        at->needed_bytes = message->as.error.needed_bytes;
    } else if (message->id == MM_MSG_REPORT && at->part && message->as.report.body_bytes && !at->error)
        at->error = at->part(at, message->as.report.body, message->as.report.body_bytes);
    at->come = message->id != MM_MSG_REPORT || message->as.report.last;
}

/* An answer that somebody awaits without the lock. */
static bool awaited(struct morph_heap *heap, const struct mm_message *message)
{
    for (struct morph__awaited *at = heap->awaited; at && message->seq; at = at->next) {
        if (at->seq != message->seq)
            continue;
        answer_hear(at, message);
        return true;
    }
    return false;
}

/* What the daemon says unasked: a segment, or the end. Of pressure there is nothing to note: the counters have it. */
static void hear(struct morph_heap *heap, const struct mm_message *message, int *fds, unsigned fd_count)
{
    if (message->id == MM_MSG_SEGMENT && fd_count == 1) {
        int r = morph__segment_map(heap, message->as.segment.chunk, message->as.segment.chunks, fds[0]);
        if (r < 0)
            morph__lose(heap, r);
        return;
    }
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
    if (!awaited(heap, message) && message->id == MM_MSG_ERROR && message->seq == 0)
        morph__lose(heap, -(int)message->as.error.error);
}

int morph__letters(struct morph_heap *heap)
{
    char packet[MORPH__PACKET_BYTES];
    struct mm_message message;
    int fds[MM_PACKET_FDS];
    unsigned count;
    bool any = false;
    while (!morph__status(heap)) {
        int r = mm_packet_recv_message(heap->socket, MM_FROM_DAEMON, packet, sizeof packet, &message, fds, MM_PACKET_FDS, &count);
        if (r == -EAGAIN)
            break;
        any = true;
        if (r == 0)
            hear(heap, &message, fds, count);
        else if (r == -EMFILE)
            morph__lose(heap, MORPH_EFILES);    /* a segment was in it: this heap cannot go on */
        else
            morph__lose(heap, r == -ECONNRESET || r == -EPIPE ? MORPH_ELOST : MORPH_EPROTOCOL);
    }
    if (any && !heap->calling)
        morph__pressure_hint(heap);             /* whatever it was: the letter that would say so is not sent while another is unread */
    return morph__status(heap);
}

int morph__say(struct morph_heap *heap, struct mm_message *message)
{
    char packet[MORPH__PACKET_BYTES];
    size_t bytes;
    if (morph__letters(heap) < 0)
        return morph__status(heap);
    message->seq = ++heap->seq ? heap->seq : ++heap->seq;
    int r = mm_message_encode(message, packet, sizeof packet, &bytes);
    if (r == 0)
        r = mm_packet_send(heap->socket, packet, bytes, NULL, 0);
    if (r == -EPIPE || r == -ECONNRESET)
        morph__lose(heap, MORPH_ELOST);
    return morph__error_of_errno(r);
}

/* Sends a request and waits for its answer; what comes between is heard. */
int morph__request(struct morph_heap *heap, struct mm_message *message, struct mm_message *ret_answer)
{
    char packet[MORPH__PACKET_BYTES];
    int fds[MM_PACKET_FDS];
    unsigned count;
    int r = morph__say(heap, message);
    if (r < 0)
        return r;
    uint64_t deadline = mm_now_ns() + (uint64_t)heap->timeout_ms * 1000000;
    while (r == 0) {
        uint64_t now = mm_now_ns();
        r = morph__receive(heap->socket, now < deadline ? (uint32_t)((deadline - now) / 1000000) : 0, packet, ret_answer, fds, &count);
        if (r < 0)
            break;
        if (ret_answer->seq == message->seq) {
            for (unsigned i = 0; i < count; i++)
                close(fds[i]);
            morph__pressure_hint(heap);
            return ret_answer->id == MM_MSG_ERROR ? -(int)ret_answer->as.error.error : 0;
        }
        hear(heap, ret_answer, fds, count);
        if (morph__status(heap))
            return morph__status(heap);
    }
    if (r == -EPIPE || r == -ECONNRESET)
        morph__lose(heap, MORPH_ELOST);
    return morph__error_of_errno(r);
}
