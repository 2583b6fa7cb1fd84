/* memfd_unit.c — seals, proof of being alone, punching, reserves and mappings. Tests shm/memfd.c against the kernel. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shm/layout.h"
#include "shm/memfd.h"

#define BYTES ((uint64_t)2 << 20)

static int memfd_new(void)
{
    int fd = mm_memfd_new("morphmem-test", BYTES);
    assert_true(fd >= 0);
    return fd;
}

/* Can the kernel read a byte there? No signal is involved, so it works under sanitizers too. */
static bool readable(const void *at)
{
    int ends[2];
    child_check(pipe2(ends, O_CLOEXEC) == 0);
    bool fine = write(ends[1], at, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return fine;
}

static void is_sealed(void **state)
{
    int fd = memfd_new();
    assert_true(mm_memfd_sealed(fd, BYTES));
    assert_false(mm_memfd_sealed(fd, BYTES - 4096));
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, 2 * BYTES), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)BYTES), -1);                     /* growing by writing */
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);                 /* no seals any more */
    assert_int_equal(errno, EPERM);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
}

static void unsealed_files_are_not_accepted(void **state)
{
    int plain = memfd_create("plain", MFD_CLOEXEC), half = memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING), ends[2];
    assert_true(plain >= 0 && half >= 0);
    assert_int_equal(ftruncate(plain, BYTES), 0);
    assert_int_equal(ftruncate(half, BYTES), 0);
    assert_int_equal(fcntl(half, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);   /* may still shrink under a reader's feet */
    assert_false(mm_memfd_sealed(plain, BYTES));
    assert_false(mm_memfd_sealed(half, BYTES));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_false(mm_memfd_sealed(ends[0], 0));
    assert_false(mm_memfd_sealed(-1, BYTES));
    close(plain), close(half), close(ends[0]), close(ends[1]);
}

static void impossible_files_are_errors(void **state)
{
    assert_true(mm_memfd_new("morphmem-test", UINT64_MAX / 2 + 2) < 0);
    assert_int_equal(mm_memfd_reopen(-1), -ENOENT);
    assert_int_equal(mm_memfd_prove_alone(-1), -EBADF);
    assert_int_equal(mm_memfd_punch(-1, 0, 4096), -EBADF);
    assert_int_equal(mm_memfd_resident(-1), 0);
}

static void alone_with_own_mappings(void **state)
{
    int fd = memfd_new();
    assert_int_equal(mm_memfd_prove_alone(fd), 0);
    char *map = mm_map(fd, BYTES, NULL, false, false);
    assert_non_null(map);
    map[0] = 1;
    assert_int_equal(mm_memfd_prove_alone(fd), 0);                              /* a mapping of its own does not count */
    assert_int_equal(mm_memfd_prove_alone(fd), 0);                              /* and the lease was dropped again */
    munmap(map, BYTES);
    close(fd);
}

static void not_alone_with_another_descriptor(void **state)
{
    int fd = memfd_new(), other = mm_memfd_reopen(fd);
    assert_true(other >= 0);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
    int copy = dup(other);
    close(other);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
    close(copy);
    assert_int_equal(mm_memfd_prove_alone(fd), 0);
    close(fd);
}

static void not_alone_with_a_reader(void **state)
{
    char path[64];
    int fd = memfd_new();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(reader >= 0);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
    close(reader);
    assert_int_equal(mm_memfd_prove_alone(fd), 0);
    close(fd);
}

/* A client that closed the descriptor but kept the mapping. */
static void not_alone_with_a_mapping(void **state)
{
    int fd = memfd_new(), other = mm_memfd_reopen(fd);
    char *map = mm_map(other, BYTES, NULL, true, false);
    assert_non_null(map);
    close(other);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
    munmap(map + 4096, BYTES - 4096);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);                        /* one page is enough */
    munmap(map, 4096);
    assert_int_equal(mm_memfd_prove_alone(fd), 0);
    close(fd);
}

struct held { int fd; bool map; };

static int hold(void *context, struct test_parent parent)
{
    struct held *held = context;
    if (held->map) {
        child_check(mm_map(held->fd, BYTES, NULL, false, false) != NULL);
        close(held->fd);
    }
    test_parent_write(parent, "", 1);
    (void)test_parent_wait(parent);
    return 0;
}

/* Forked children inherit descriptors and mappings; a dead owner is no proof. */
static void not_alone_with_a_forked_child(void **state)
{
    for (int map = 0; map <= 1; map++) {
        char byte;
        int fd = memfd_new();
        struct held held = { .fd = mm_memfd_reopen(fd), .map = map };
        struct test_child child = test_child_start((uid_t)-1, hold, &held);
        close(held.fd);
        assert_true(test_child_read(&child, &byte, 1));
        assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
        test_child_kill(&child);
        assert_int_equal(mm_memfd_prove_alone(fd), 0);
        close(fd);
    }
}

/* Sent, and not yet received: nobody's table has it, but it lives. */
static void not_alone_with_a_descriptor_in_flight(void **state)
{
    int fd = memfd_new(), other = mm_memfd_reopen(fd), ends[2];
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof(int))]; } control = { 0 };
    struct iovec piece = { "x", 1 };
    struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    control.header.cmsg_level = SOL_SOCKET, control.header.cmsg_type = SCM_RIGHTS, control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &other, sizeof other);
    assert_int_equal(sendmsg(ends[0], &message, 0), 1);
    close(other);
    assert_int_equal(mm_memfd_prove_alone(fd), -EAGAIN);
    close(ends[0]), close(ends[1]);
    assert_int_equal(mm_memfd_prove_alone(fd), 0);
    close(fd);
}

static void punched_pages_are_gone(void **state)
{
    int fd = memfd_new();
    assert_int_equal(mm_memfd_resident(fd), 0);
    char *map = mm_map(fd, BYTES, NULL, false, false);
    memset(map, 0x55, BYTES);
    assert_int_equal(mm_memfd_resident(fd), BYTES);
    assert_int_equal(mm_memfd_punch(fd, 65536, 131072), 0);
    assert_int_equal(mm_memfd_resident(fd), BYTES - 131072);
    assert_int_equal(map[65535], 0x55);
    assert_int_equal(map[65536], 0);
    assert_int_equal(map[65536 + 131071], 0);
    assert_int_equal(map[65536 + 131072], 0x55);
    assert_int_equal(mm_memfd_punch(fd, 0, BYTES), 0);
    assert_int_equal(mm_memfd_resident(fd), 0);
    assert_true(mm_memfd_sealed(fd, BYTES));                                    /* its size has not moved */
    munmap(map, BYTES);
    close(fd);
}

static void reserves_are_aligned_and_closed(void **state)
{
    for (uint64_t bytes = MM_CHUNK_BYTES; bytes <= (uint64_t)1 << 40; bytes *= 8) {
        char *reserve = mm_reserve(bytes);
        assert_non_null(reserve);
        assert_int_equal((uintptr_t)reserve % MM_CHUNK_BYTES, 0);
        assert_false(readable(reserve));
        assert_false(readable(reserve + bytes - 1));
        assert_int_equal(munmap(reserve, bytes), 0);
    }
    assert_null(mm_reserve((uint64_t)1 << 62));
}

static void segments_come_and_go_in_a_reserve(void **state)
{
    int fd = memfd_new(), other = mm_memfd_reopen(fd);
    char *reserve = mm_reserve(4 * BYTES);
    assert_ptr_equal(mm_map(fd, BYTES, reserve + BYTES, false, false), reserve + BYTES);
    char *second = mm_map(other, BYTES, NULL, false, false);
    reserve[BYTES + 5] = 77;
    assert_int_equal(second[5], 77);                                            /* shared, at offset 0 of the file */
    assert_false(readable(reserve + BYTES - 1));
    assert_true(readable(reserve + BYTES));
    assert_int_equal(mm_unmap_to_reserve(reserve + BYTES, BYTES), 0);
    assert_false(readable(reserve + BYTES));
    munmap(second, BYTES), munmap(reserve, 4 * BYTES);
    close(fd), close(other);
}

static int count_mappings(void *context, struct test_parent parent)
{
    return test_mappings();
}

/* What a client maps is its own: a forked child does not see it. What the daemon maps has no such wish. */
static void client_mappings_are_not_inherited(void **state)
{
    int fd = memfd_new();
    char *map = mm_map(fd, BYTES, NULL, true, false);
    assert_int_equal(test_mappings(), 1);
    assert_int_equal(test_child_run((uid_t)-1, count_mappings, NULL), 0);
    munmap(map, BYTES);
    map = mm_map(fd, BYTES, NULL, false, true);
    assert_int_equal(test_child_run((uid_t)-1, count_mappings, NULL), 1);
    munmap(map, BYTES);
    close(fd);
}

static void mapping_nothing_is_an_error(void **state)
{
    errno = 0;
    assert_null(mm_map(-1, BYTES, NULL, true, true));
    assert_int_equal(errno, EBADF);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(is_sealed),
        test_case(unsealed_files_are_not_accepted),
        test_case(impossible_files_are_errors),
        test_case(alone_with_own_mappings),
        test_case(not_alone_with_another_descriptor),
        test_case(not_alone_with_a_reader),
        test_case(not_alone_with_a_mapping),
        test_case(not_alone_with_a_forked_child),
        test_case(not_alone_with_a_descriptor_in_flight),
        test_case(punched_pages_are_gone),
        test_case(reserves_are_aligned_and_closed),
        test_case(segments_come_and_go_in_a_reserve),
        test_case(client_mappings_are_not_inherited),
        test_case(mapping_nothing_is_an_error),
    };
    return test_run(cases);
}
