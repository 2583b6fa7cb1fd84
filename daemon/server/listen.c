/* listen.c — the listening socket: found (systemd hands it over) or made, and guarded by a lock file against a second daemon.
 *
 * Whoever makes a socket holds <path>.lock exclusively while it starts and shared for as long as it lives, so that a second daemon waits
 * until the first can be reached, and then knows that it is not needed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/segment.h"
#include "daemon/log.h"
#include "daemon/server/server.h"
#include "proto/address.h"
#include "proto/packet.h"

#define ACCEPTS_A_TURN 64
#define LOCK_TRIES     100u         /* while another daemon may be ending, */
#define LOCK_TRY_MS    20           /* so long each */

static int from_systemd(void)
{
#ifdef HAVE_SYSTEMD
    int n = sd_listen_fds(0);
    if (n <= 0)
        return -1;
    if (n > 1 || sd_is_socket_unix(SD_LISTEN_FDS_START, SOCK_SEQPACKET, 1, NULL, 0) <= 0) {
        log_error("listen", "systemd handed over something else than one listening Unix socket of type SequentialPacket");
        exit(1);
    }
    fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK);
    fcntl(SD_LISTEN_FDS_START, F_SETFD, FD_CLOEXEC);
    return SD_LISTEN_FDS_START;
#else
    return -1;
#endif
}

static int choose_path(bool is_private)
{
    bool system_wide = !is_private && (geteuid() == 0 || getenv("RUNTIME_DIRECTORY"));
    if (*config.socket) {
        if (strlen(config.socket) >= sizeof server.path) {
            log_error("listen", "the socket's path is longer than %zu bytes", sizeof server.path - 1);
            return -1;
        }
        strcpy(server.path, config.socket);
        return 0;
    }
    if (system_wide)
        strcpy(server.path, MM_ADDRESS_SYSTEM);
    else if (mm_address_user(server.path) < 0) {
        log_error("listen", "the runtime directory's path is too long; give --socket=PATH");
        return -1;
    }
    int r = mm_address_prepare(server.path);
    if (r < 0)
        log_error("listen", "the directory of %s cannot be used: %s", server.path, strerror(-r));
    return r;
}

static int lock_path(void)
{
    char lock[sizeof server.path + 8];
    snprintf(lock, sizeof lock, "%s.lock", server.path);
    server.lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (server.lock_fd < 0) {
        log_error("listen", "%s cannot be made: %s", lock, strerror(errno));
        return -1;
    }
    for (unsigned try = 0; flock(server.lock_fd, LOCK_EX | LOCK_NB) < 0; try++) {
        if (errno != EWOULDBLOCK || flock(server.lock_fd, LOCK_SH) < 0) {       /* waits while another daemon starts */
            log_error("listen", "%s cannot be locked: %s", lock, strerror(errno));
            return -1;
        }
        int there = mm_address_connect(server.path);
        if (there >= 0) {
            close(there);
            return 1;
        }
        flock(server.lock_fd, LOCK_UN);         /* the other one ended: try to be the one */
        if (try == LOCK_TRIES) {
            log_error("listen", "a morphmemd that runs has locked %s, but %s does not lead to it: was the socket removed? End that daemon first", lock, server.path);
            return -1;
        }
        (void)poll(NULL, 0, LOCK_TRY_MS);
    }
    return 0;
}

static int bind_path(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char *end;
    unsigned long mode = strtoul(config.socket_mode, &end, 8);
    if (*end || mode > 0777) {
        log_error("listen", "socket_mode '%s' is not an octal file mode", config.socket_mode);
        return -1;
    }
    strcpy(address.sun_path, server.path);
    unlink(server.path);                        /* the lock is ours: nobody serves there */
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || chmod(server.path, (mode_t)mode) < 0 || listen(fd, SOMAXCONN) < 0) {
        log_error("listen", "%s cannot be listened on: %s", server.path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    server.path_ours = true;
    flock(server.lock_fd, LOCK_SH);
    return fd;
}

int listen_open(bool is_private)
{
    server.lock_fd = server.listen_fd = -1;
    server.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    server.listen_fd = from_systemd();
    if (server.listen_fd >= 0)
        return 0;
    if (choose_path(is_private) < 0)
        return -1;
    int r = lock_path();
    if (r)
        return r;
    server.listen_fd = bind_path();
    return server.listen_fd < 0 ? -1 : 0;
}

/* Out of descriptors, and no pooled segment to close: give up the spare one for a moment, so that whoever knocks is told instead of left waiting. */
static void refuse_one(void)
{
    close(server.spare_fd);
    int fd = accept4(server.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        struct mm_message message = { .id = MM_MSG_ERROR, .as.error.error = -MORPH_EFILES };
        strcpy(message.as.error.text, "the daemon is out of file descriptors; raise its limit (LimitNOFILE, ulimit -n)");
        (void)mm_packet_send_message(fd, &message, NULL, 0);
        server.refused++;
        close(fd);
    }
    server.spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_knock(UNUSED uv_poll_t *poll, UNUSED int status, UNUSED int events)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(server.listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            conn_new(fd);
        else if ((errno == EMFILE || errno == ENFILE) && segment_shed_descriptor())
            continue;
        else if (errno == EMFILE || errno == ENFILE)
            refuse_one();
        else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

int listen_start(void)
{
    uv_poll_init(&server.loop, &server.listener, server.listen_fd);
    return uv_poll_start(&server.listener, UV_READABLE, on_knock);
}

void listen_stop(void)
{
    if (server.listen_fd >= 0) {
        close(server.listen_fd);
        server.listen_fd = -1;
    }
    if (server.path_ours)
        unlink(server.path);                    /* the lock file stays: who waits for its lock must find the same file */
    if (server.lock_fd >= 0)
        close(server.lock_fd);
    if (server.spare_fd >= 0)
        close(server.spare_fd);
    server.lock_fd = server.spare_fd = -1;
    server.path_ours = false;
}
