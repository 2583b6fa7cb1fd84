/* memfd.c — memfd_create(2), seals, leases and mappings. See memfd.h. Called from any thread. */
#define _GNU_SOURCE
#include "shm/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/layout.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define MM_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int mm_memfd_reopen(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    return again < 0 ? -errno : again;
}

int mm_memfd_new(const char *name, uint64_t bytes)
{
    int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (made < 0)
        return -errno;
    int fd = -1, r = 0;
    if (ftruncate(made, (off_t)bytes) < 0 || fcntl(made, F_ADD_SEALS, MM_SEALS) < 0)
        r = -errno;
    else
        fd = r = mm_memfd_reopen(made);
    close(made);
    return r < 0 ? r : fd;
}

bool mm_memfd_sealed(int fd, uint64_t bytes)
{
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & MM_SEALS) == MM_SEALS && fstat(fd, &st) == 0 && (uint64_t)st.st_size == bytes;
}

int mm_memfd_prove_alone(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return -errno;
    return fcntl(fd, F_SETLEASE, F_UNLCK) < 0 ? -errno : 0;
}

int mm_memfd_punch(int fd, uint64_t off, uint64_t bytes)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)bytes) < 0 ? -errno : 0;
}

uint64_t mm_memfd_resident(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512u : 0;
}

void *mm_reserve(uint64_t bytes)
{
    uint64_t whole = bytes + MM_CHUNK_BYTES;
    char *at = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    char *start = (char *)mm_round_up((uintptr_t)at, MM_CHUNK_BYTES);
    if (start > at)
        munmap(at, (size_t)(start - at));
    if (start + bytes < at + whole)
        munmap(start + bytes, (size_t)(at + whole - (start + bytes)));
    return start;
}

void *mm_map(int fd, uint64_t bytes, void *at, bool client, bool huge)
{
    void *map = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    if (client)
        (void)madvise(map, bytes, MADV_DONTFORK);
    if (huge)
        (void)madvise(map, bytes, MADV_HUGEPAGE);       /* advice: refused where the kernel has no shmem huge pages */
    return map;
}

int mm_populate(void *at, uint64_t bytes) { return madvise(at, bytes, MADV_POPULATE_WRITE) < 0 ? -errno : 0; }

int mm_unmap_to_reserve(void *at, uint64_t bytes)
{
    void *map = mmap(at, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return map == MAP_FAILED ? -errno : 0;
}
