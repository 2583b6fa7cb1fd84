/* park.c — futex(2) and the clock. See park.h. */
#define _GNU_SOURCE
#include "shm/park.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int mm_park(uint32_t *word, uint32_t seen, uint64_t ns)
{
    struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000ull), .tv_nsec = (long)(ns % 1000000000ull) };
    if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, NULL, 0) == 0 || errno == EAGAIN)
        return 0;
    return -errno;
}

void mm_unpark(uint32_t *word, int count)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

uint64_t mm_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}
