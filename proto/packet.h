/* packet.h — one packet with its descriptors through a SOCK_SEQPACKET socket.
 *
 * Nothing here waits: a full or an empty socket is -EAGAIN. Descriptors are received close-on-exec, and each of them is either handed
 * to the caller, who then owns it, or closed here.
 * The socket must not ask for other control messages (SO_PASSCRED, SO_TIMESTAMP ...): credentials come from SO_PEERCRED.
 * Threads: any; no state.
 */
#ifndef MM_PACKET_H
#define MM_PACKET_H

#include <stddef.h>

#include "proto/message.h"

/* Sends 1 to MM_PACKET_MAX bytes with at most MM_PACKET_FDS descriptors, which stay the caller's. The packet goes whole or not at all.
 * 0 or a negative errno: -EAGAIN full, -EPIPE or -ECONNRESET peer gone, -ETOOMANYREFS too many descriptors in flight, -EINVAL. */
int mm_packet_send(int socket, const void *packet, size_t bytes, const int *fds, unsigned fd_count);

/* Receives one packet and at most `fd_capacity` (up to MM_PACKET_FDS) descriptors. 0 or a negative errno, then without descriptors:
 * -EAGAIN: none there. -ECONNRESET: the peer is gone (or sent an empty packet, which nobody can tell from it, and which no peer of
 * good will sends). -EMSGSIZE: more bytes or descriptors than asked for; the packet is lost. -EMFILE: this process can have no more
 * descriptors; the packet is lost. */
int mm_packet_recv(int socket, void *packet, size_t capacity, size_t *ret_bytes,
                   int *ret_fds, unsigned fd_capacity, unsigned *ret_fd_count);

/* Encodes and sends. Needs MM_PACKET_MAX bytes of stack. Errors of mm_message_encode() and mm_packet_send(); -EINVAL also for more
 * descriptors than the message may carry. */
int mm_packet_send_message(int socket, const struct mm_message *message, const int *fds, unsigned fd_count);

/* Receives into `packet`, from which a BLOB of the message borrows, and decodes. Errors of mm_packet_recv() and mm_message_decode();
 * -EPROTO also for more descriptors than the message may carry. No error leaves descriptors behind. */
int mm_packet_recv_message(int socket, enum mm_direction from, void *packet, size_t capacity, struct mm_message *ret_message,
                           int *ret_fds, unsigned fd_capacity, unsigned *ret_fd_count);

#endif
