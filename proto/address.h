/* address.h — where a daemon's socket is: the one search order, and how to connect safely.
 *
 * Order: what the caller or the environment names, and then nothing else; else the system's daemon (/run/morphmem/socket), then
 * this user's own ($XDG_RUNTIME_DIR/morphmem/socket, or /tmp/morphmem-<uid>/socket without XDG_RUNTIME_DIR). Used by the library,
 * by morphmemctl and by a daemon that runs for one user. Starts nothing. Threads: any.
 */
#ifndef MM_ADDRESS_H
#define MM_ADDRESS_H

#define MM_ADDRESS_BYTES       108                       /* sun_path of struct sockaddr_un */
#define MM_ADDRESS_CANDIDATES  2
#define MM_ADDRESS_TIMEOUT_S   5
#define MM_ADDRESS_SYSTEM      "/run/morphmem/socket"
#define MM_ADDRESS_VARIABLE    "MORPHMEM_SOCKET"

/* The paths to try, in order. `given` (an option; may be NULL or empty) or else MORPHMEM_SOCKET is the only candidate if set.
 * Returns how many were stored, at least 1, or -ENAMETOOLONG if the path that was asked for does not fit a socket address. */
int mm_address_candidates(const char *given, char ret_paths[MM_ADDRESS_CANDIDATES][MM_ADDRESS_BYTES]);

/* Where this user's private daemon listens. 0 or -ENAMETOOLONG. */
int mm_address_user(char ret_path[MM_ADDRESS_BYTES]);

/* Makes sure that the directory of a daemon's socket is there and nobody else may put things there. Made here, it is for its owner
 * alone (0700), except that of the system's daemon (0755). 0; -EPERM if it belongs to somebody else or others may write to it; else a
 * negative errno. */
int mm_address_prepare(const char *path);

/* Connects. A descriptor (SOCK_SEQPACKET, close-on-exec; the caller closes it) or a negative errno. Waits at most MM_ADDRESS_TIMEOUT_S
 * for a daemon with a full backlog (-EAGAIN); the same bound stays on blocking sends. -EPERM for a socket below /tmp whose directory
 * could belong to somebody who only pretends to be a daemon: not ours or root's, or writable by others. */
int mm_address_connect(const char *path);

#endif
