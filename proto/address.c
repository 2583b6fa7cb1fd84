/* address.c — search order and checks of socket paths. See address.h. */
#define _GNU_SOURCE
#include "proto/address.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof ((struct sockaddr_un *)0)->sun_path == MM_ADDRESS_BYTES, "a path fits a socket address");

static int address_copy(const char *path, char ret_path[MM_ADDRESS_BYTES])
{
    size_t length = strlen(path);
    if (length >= MM_ADDRESS_BYTES)
        return -ENAMETOOLONG;
    memcpy(ret_path, path, length + 1);
    return 0;
}

int mm_address_user(char ret_path[MM_ADDRESS_BYTES])
{
    char path[MM_ADDRESS_BYTES];
    const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
    int n = runtime && runtime[0] == '/' ? snprintf(path, sizeof path, "%s/morphmem/socket", runtime)
                                         : snprintf(path, sizeof path, "/tmp/morphmem-%u/socket", (unsigned)geteuid());
    return n < 0 || (size_t)n >= sizeof path ? -ENAMETOOLONG : address_copy(path, ret_path);
}

int mm_address_candidates(const char *given, char ret_paths[MM_ADDRESS_CANDIDATES][MM_ADDRESS_BYTES])
{
    if (!given || !*given)
        given = secure_getenv(MM_ADDRESS_VARIABLE);
    if (given && *given)
        return address_copy(given, ret_paths[0]) < 0 ? -ENAMETOOLONG : 1;
    (void)address_copy(MM_ADDRESS_SYSTEM, ret_paths[0]);
    return mm_address_user(ret_paths[1]) < 0 ? 1 : 2;
}

/* The directory part of a path, without the slash; "/" and "." where there is none. */
static void address_directory(const char *path, char ret_directory[MM_ADDRESS_BYTES])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    memcpy(ret_directory, path, length);
    ret_directory[length] = 0;
    if (length == 0)
        strcpy(ret_directory, slash ? "/" : ".");
}

/* 0 if the directory is a real one, of this user or root, and nobody else may put things there. */
static int address_check(const char *directory)
{
    struct stat st;
    if (lstat(directory, &st) < 0)
        return -errno;
    if (!S_ISDIR(st.st_mode) || (st.st_uid != geteuid() && st.st_uid != 0) || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return -EPERM;
    return 0;
}

int mm_address_prepare(const char *path)
{
    char directory[MM_ADDRESS_BYTES];
    if (strlen(path) >= sizeof directory)
        return -ENAMETOOLONG;
    address_directory(path, directory);
    bool for_all = strcmp(path, MM_ADDRESS_SYSTEM) == 0;
    if (mkdir(directory, 0700) == 0) {
        if (for_all && chmod(directory, 0755) < 0)      /* every user may come in; the umask has no say */
            return -errno;
    } else if (errno != EEXIST) {
        return -errno;
    }
    return address_check(directory);
}

int mm_address_connect(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    char directory[MM_ADDRESS_BYTES];
    if (address_copy(path, address.sun_path) < 0)
        return -ENAMETOOLONG;
    if (strncmp(path, "/tmp/", 5) == 0) {
        address_directory(path, directory);
        int r = address_check(directory);
        if (r < 0)
            return r;
    }
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    struct timeval patience = { .tv_sec = MM_ADDRESS_TIMEOUT_S };
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    int r;
    do
        r = connect(fd, (struct sockaddr *)&address, sizeof address);
    while (r < 0 && errno == EINTR);
    if (r == 0)
        return fd;
    r = -errno;
    close(fd);
    return r;
}
