/* packet.c — sendmsg(2) and recvmsg(2) with SCM_RIGHTS. See packet.h. */
#define _GNU_SOURCE
#include "proto/packet.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Room for the one control message that is used; the union is for its alignment. */
union packet_control {
    struct cmsghdr head;
    char bytes[CMSG_SPACE(MM_PACKET_FDS * sizeof(int))];
};

int mm_packet_send(int socket, const void *packet, size_t bytes, const int *fds, unsigned fd_count)
{
    if (bytes == 0 || bytes > MM_PACKET_MAX || fd_count > MM_PACKET_FDS)
        return -EINVAL;
    struct iovec data = {(void *)packet, bytes};
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    union packet_control control = {.bytes = {0}};
    if (fd_count > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(&control.head), fds, fd_count * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}

static void fds_close(const int *fds, unsigned fd_count)
{
    for (unsigned i = 0; i < fd_count; i++)
        close(fds[i]);
}

/* The control space is exactly that of `fd_capacity` descriptors, so the kernel itself drops the surplus. */
static unsigned fds_take(struct msghdr *header, int *ret_fds)
{
    unsigned fd_count = 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(header); at; at = CMSG_NXTHDR(header, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        size_t bytes = at->cmsg_len - CMSG_LEN(0);
        memcpy(ret_fds + fd_count, CMSG_DATA(at), bytes);
        fd_count += (unsigned)(bytes / sizeof(int));
    }
    return fd_count;
}

/* Cut control data that did not fill its space means that the kernel found no free descriptor for the next one. */
static int packet_judge(const struct msghdr *header, ssize_t bytes, unsigned fd_count, unsigned fd_capacity)
{
    if (bytes == 0)
        return -ECONNRESET;
    if (header->msg_flags & MSG_TRUNC)
        return -EMSGSIZE;
    if (header->msg_flags & MSG_CTRUNC)
        return fd_count < fd_capacity ? -EMFILE : -EMSGSIZE;
    return 0;
}

int mm_packet_recv(int socket, void *packet, size_t capacity, size_t *ret_bytes,
                   int *ret_fds, unsigned fd_capacity, unsigned *ret_fd_count)
{
    if (fd_capacity > MM_PACKET_FDS)
        return -EINVAL;
    struct iovec data = {packet, capacity};
    union packet_control control;
    struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd_capacity > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_LEN(fd_capacity * sizeof(int));
    }
    ssize_t bytes;
    bool reset = false;
    for (;;) {
        bytes = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (bytes >= 0)
            break;
        if (errno == ECONNRESET && !reset)
            reset = true;               /* it closed with packets of ours unread: told once, before what it had still to say */
        else if (errno != EINTR)
            return -errno;
    }

    int fds[MM_PACKET_FDS];
    unsigned fd_count = fds_take(&header, fds);
    int r = packet_judge(&header, bytes, fd_count, fd_capacity);
    if (r < 0) {
        fds_close(fds, fd_count);
        return r;
    }
    if (fd_count > 0)
        memcpy(ret_fds, fds, fd_count * sizeof(int));
    *ret_bytes = (size_t)bytes;
    *ret_fd_count = fd_count;
    return 0;
}

int mm_packet_send_message(int socket, const struct mm_message *message, const int *fds, unsigned fd_count)
{
    char packet[MM_PACKET_MAX];
    size_t bytes;
    int r = mm_message_encode(message, packet, sizeof packet, &bytes);
    if (r < 0)
        return r;
    if (fd_count > mm_message_info(message->id)->fds)
        return -EINVAL;
    return mm_packet_send(socket, packet, bytes, fds, fd_count);
}

int mm_packet_recv_message(int socket, enum mm_direction from, void *packet, size_t capacity, struct mm_message *ret_message,
                           int *ret_fds, unsigned fd_capacity, unsigned *ret_fd_count)
{
    int fds[MM_PACKET_FDS];
    unsigned fd_count = 0;
    size_t bytes = 0;
    int r = mm_packet_recv(socket, packet, capacity, &bytes, fds, fd_capacity, &fd_count);
    if (r < 0)
        return r;
    r = mm_message_decode(packet, bytes, from, ret_message);
    if (r == 0 && fd_count > mm_message_info(ret_message->id)->fds)
        r = -EPROTO;
    if (r < 0) {
        fds_close(fds, fd_count);
        return r;
    }
    if (fd_count > 0)
        memcpy(ret_fds, fds, fd_count * sizeof(int));
    *ret_fd_count = fd_count;
    return 0;
}
