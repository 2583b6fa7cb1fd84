/* conn.c — the life of one connection: accepted, greeted, perhaps with a heap, closed.
 *
 * Who it is comes from the kernel (SO_PEERCRED), and so does its death: the pidfd tells when the process is gone, also when a forked child
 * still holds the socket. The struct is freed when its handles are closed, its heap is released, and no worker will come back to it. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/worker.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "daemon/server/server.h"
#include "proto/packet.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#define LETTERS_A_TURN 16

static char packet_buffer[MM_PACKET_MAX];       /* the loop thread's, for one packet at a time */

static void on_socket(uv_poll_t *poll, int status, int events);

static struct conn *conn_of(void *handle) { return ((uv_handle_t *)handle)->data; }

static const char *error_sentence(int error)
{
    switch (error) {
#define X(name, number, sentence) case -(number): return sentence;
        MORPH_ERROR_MAP(X)
#undef X
    default: return "";
    }
}

/* ---- The end ---- */

static void conn_free_if_done(struct conn *conn)
{
    if (!conn->closing || conn->handles || conn->holds || conn->heap)
        return;
    close(conn->fd);
    if (conn->pidfd >= 0)
        close(conn->pidfd);
    if (conn->link) {
        *conn->link = conn->next;
        if (conn->next)
            conn->next->link = conn->link;
        server.connections--;
    }
    registry_user_unref(conn->user);
    types_done(&conn->types);
    answer_drop(&conn->answer);
    free(conn->unsent);
    free(conn);
    if (server.stopping && !server.conns)
        uv_stop(&server.loop);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = conn_of(handle);
    conn->handles--;
    conn_free_if_done(conn);
}

void conn_release_hold(struct conn *conn)
{
    conn->holds--;
    conn_free_if_done(conn);
}

static void on_released(struct job *job)
{
    struct conn *conn = (struct conn *)((char *)job - offsetof(struct conn, released));
    conn->heap = NULL;
    conn_free_if_done(conn);
}

/* The last figures are in: keep a card, and let the heap go. */
static void on_last_census(struct job *job)
{
    struct conn *conn = (struct conn *)((char *)job - offsetof(struct conn, last_census.job));
    struct heap *heap = conn->heap;
    card_update(&conn->card, conn, &conn->last_census);
    conn->card.closed_ns = os.now_ns();
    server.past_grants += mm_load_relaxed(&heap->grants);
    server.past_grants_ahead += mm_load_relaxed(&heap->grants_ahead);
    server.past_refusals += mm_load_relaxed(&heap->refusals);
    server.past_minors += conn->card.minors;
    server.past_majors += conn->card.majors;
    server.past_put_offs += conn->card.put_offs;
    server.past_collect_ns += conn->card.collect_ns;
    if (conn->card.pause_max_ns > server.past_pause_max_ns)
        server.past_pause_max_ns = conn->card.pause_max_ns;
    registry_remove(conn);
    registry_record(&conn->card);
    log_info("heap", "closed heap=%llu name=%s peak_bytes=%llu", (unsigned long long)conn->card.id, conn->card.name,
             (unsigned long long)(conn->card.peak_blocks << MM_BLOCK_SHIFT));
    conn->released.run = on_released;
    worker_release(heap, &conn->released);
}

void conn_close(struct conn *conn)
{
    if (conn->closing)
        return;
    conn->closing = true;
    conn->deadline_ns = 0;
    shutdown(conn->fd, SHUT_RDWR);              /* the peer sees the end now, though the descriptor is needed until the heap is released */
    uv_close((uv_handle_t *)&conn->poll, on_handle_closed);
    if (conn->pidfd >= 0)
        uv_close((uv_handle_t *)&conn->death, on_handle_closed);
    if (conn->heap) {
        conn->last_census.heap = conn->heap;
        worker_count(&conn->last_census, on_last_census);
    }
}

static void on_peer_death(uv_poll_t *poll, UNUSED int status, UNUSED int events) { conn_close(conn_of(poll)); }

void conn_on_condemned(uint64_t heap)
{
    struct conn *conn = registry_find(heap);
    if (!conn)
        return;
    conn_send_error(conn, 0, MORPH_ECONDEMNED, NULL);
    conn_close(conn);
}

/* ---- Sending: one packet may wait for room; while it does, nothing is read ---- */

static void conn_poll(struct conn *conn)
{
    int events = conn->unsent ? UV_WRITABLE : conn->answer.id ? 0 : UV_READABLE;
    uv_poll_start(&conn->poll, events | UV_DISCONNECT, on_socket);
}

void conn_send(struct conn *conn, const struct mm_message *message, const int *fds, unsigned fd_count)
{
    char packet[MM_PACKET_MAX];
    size_t bytes;
    if (conn->closing)
        return;
    int r = mm_message_encode(message, packet, sizeof packet, &bytes);
    if (r == 0)
        r = mm_packet_send(conn->fd, packet, bytes, fds, fd_count);
    if (r == 0)
        return;
    bool wait = r == -EAGAIN && fd_count == 0 && !conn->unsent;
    if (wait && (conn->unsent = malloc(bytes))) {
        memcpy(conn->unsent, packet, bytes);
        conn->unsent_bytes = bytes;
        conn->deadline_ns = os.now_ns() + CONFIG(write_timeout) * 1000000;
        server_watch_deadlines();
        conn_poll(conn);
        return;
    }
    if (r != -EPIPE && r != -ECONNRESET)
        log_warning("conn", "pid=%d: an answer cannot be sent: %s, disconnecting", (int)conn->pid, strerror(-r));
    conn_close(conn);
}

void conn_send_error(struct conn *conn, uint32_t seq, int error, const char *text)
{
    struct mm_message message = { .id = MM_MSG_ERROR, .seq = seq };
    message.as.error.error = (uint32_t)-error;
    snprintf(message.as.error.text, sizeof message.as.error.text, "%s", text ? text : error_sentence(error));
    conn_send(conn, &message, NULL, 0);
}

static void conn_send_rest(struct conn *conn)
{
    int r = mm_packet_send(conn->fd, conn->unsent, conn->unsent_bytes, NULL, 0);
    if (r == -EAGAIN)
        return;
    free(conn->unsent);
    conn->unsent = NULL;
    conn->deadline_ns = 0;
    if (r < 0) {
        conn_close(conn);
        return;
    }
    if (conn->answer.id)
        answer_continue(conn);
    if (!conn->closing)
        conn_poll(conn);
}

void conn_resume(struct conn *conn)
{
    if (!conn->closing)
        conn_poll(conn);
}

/* ---- Reading ---- */

static void malformed(struct conn *conn, uint32_t seq, int error, const char *text)
{
    server.letters_bad++;
    log_debug("conn", "pid=%d: %s", (int)conn->pid, text);
    conn_send_error(conn, seq, error, text);
    if (error == MORPH_EPROTOCOL)
        conn_close(conn);
}

/* One packet; false when there is no more to read now. */
static bool conn_read_one(struct conn *conn)
{
    struct mm_message message;
    size_t bytes;
    unsigned fds;
    int r = mm_packet_recv(conn->fd, packet_buffer, sizeof packet_buffer, &bytes, NULL, 0, &fds);
    if (r == -EAGAIN)
        return false;
    if (r == -ECONNRESET || r == -EPIPE) {
        conn_close(conn);
        return false;
    }
    server.letters++;
    if (r < 0) {
        malformed(conn, 0, MORPH_EPROTOCOL, "a packet was too large, or carried descriptors that no message of a client has");
        return false;
    }
    r = mm_message_decode(packet_buffer, bytes, MM_FROM_CLIENT, &message);
    if (r == -ENOMSG)
        malformed(conn, message.seq, MORPH_EUNKNOWN, "there is no such message");
    else if (r < 0)
        malformed(conn, message.seq, MORPH_EPROTOCOL, "the packet is not a message of a client");
    else
        dispatch(conn, &message);
    return !conn->closing && !conn->unsent && !conn->answer.id;
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct conn *conn = conn_of(poll);
    if (conn->closing)
        return;
    if (status < 0) {
        conn_close(conn);
        return;
    }
    if (events & UV_WRITABLE && conn->unsent)
        conn_send_rest(conn);
    if (conn->closing)
        return;
    if (events & UV_READABLE && !conn->unsent && !conn->answer.id)
        for (int i = 0; i < LETTERS_A_TURN && conn_read_one(conn); i++)
            ;
    else if (events & UV_DISCONNECT)
        conn_close(conn);
    if (!conn->closing)
        conn_poll(conn);
}

/* ---- The beginning ---- */

static int peer_pidfd(int fd, pid_t pid)
{
    int pidfd;
    socklen_t bytes = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &bytes) == 0)
        return pidfd;
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static void conn_refuse(struct conn *conn, int error, const char *text)
{
    server.refused++;
    conn_send_error(conn, 0, error, text);
    conn_close(conn);
}

void conn_new(int fd)
{
    struct ucred peer;
    socklen_t bytes = sizeof peer;
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) < 0 || !(conn->user = registry_user(peer.uid))) {
        close(fd);
        free(conn);
        return;
    }
    conn->fd = fd;
    conn->pid = peer.pid;
    conn->uid = peer.uid;
    conn->gid = peer.gid;
    conn->pidfd = peer_pidfd(fd, peer.pid);
    conn->next = server.conns;
    conn->link = &server.conns;
    if (conn->next)
        conn->next->link = &conn->next;
    server.conns = conn;
    server.connections++;
    uv_poll_init(&server.loop, &conn->poll, fd);
    conn->poll.data = conn;
    conn->handles = 1;
    if (conn->pidfd >= 0) {
        uv_poll_init(&server.loop, &conn->death, conn->pidfd);
        conn->death.data = conn;
        conn->handles = 2;
        uv_poll_start(&conn->death, UV_READABLE, on_peer_death);
    }
    if (conn->user->connections > CONFIG(connections_per_user)) {
        conn_refuse(conn, MORPH_EQUOTA, "this user has too many connections");
        return;
    }
    conn->deadline_ns = os.now_ns() + CONFIG(hello_timeout) * 1000000;
    server_watch_deadlines();
    conn_poll(conn);
}
