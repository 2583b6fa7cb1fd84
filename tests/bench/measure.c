/* measure.c — reading /proc. See measure.h. */
#define _GNU_SOURCE
#include "tests/bench/measure.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t measure_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec spent;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &spent) != 0)
        return 0;
    return (uint64_t)spent.tv_sec * 1000000000u + (uint64_t)spent.tv_nsec;
}

void measure_memory(pid_t pid, struct measure_memory *ret_memory)
{
    const struct { const char *key; uint64_t *bytes; } fields[] = {
        { "RssAnon:", &ret_memory->anonymous_bytes }, { "RssFile:", &ret_memory->file_bytes },
        { "VmPTE:", &ret_memory->page_table_bytes },
    };
    char path[64], line[256];
    unsigned long kib;
    memset(ret_memory, 0, sizeof *ret_memory);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        for (unsigned i = 0; i < 3; i++) {
            size_t length = strlen(fields[i].key);
            if (strncmp(line, fields[i].key, length) == 0 && sscanf(line + length, "%lu", &kib) == 1)
                *fields[i].bytes = (uint64_t)kib << 10;
        }
    if (file)
        fclose(file);
}

/* ---- Shared memory files ---- */

struct memfd { ino_t inode; uint64_t bytes; };

static int memfd_compare(const void *a, const void *b)
{
    ino_t x = ((const struct memfd *)a)->inode, y = ((const struct memfd *)b)->inode;
    return (x > y) - (x < y);
}

static bool memfd_read(int directory, const char *name, struct memfd *ret_memfd)
{
    char target[64];
    struct stat st;
    ssize_t length = readlinkat(directory, name, target, sizeof target - 1);
    if (length < 7 || strncmp(target, "/memfd:", 7) != 0 || fstatat(directory, name, &st, 0) < 0)
        return false;
    *ret_memfd = (struct memfd){ st.st_ino, (uint64_t)st.st_blocks * 512 };
    return true;
}

/* All memfds among a process's descriptors; the caller frees. */
static struct memfd *memfds_list(pid_t pid, size_t *ret_count)
{
    char path[64];
    struct memfd *list = NULL;
    struct dirent *entry;
    size_t count = 0, room = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    while (directory && (entry = readdir(directory))) {
        if (count == room) {
            struct memfd *more = realloc(list, (room = room ? room * 2 : 64) * sizeof *list);
            if (!more)
                break;
            list = more;
        }
        count += memfd_read(dirfd(directory), entry->d_name, &list[count]);
    }
    if (directory)
        closedir(directory);
    *ret_count = count;
    return list;
}

uint64_t measure_segments(pid_t daemon)
{
    size_t count;
    uint64_t total = 0;
    struct memfd *list = memfds_list(daemon, &count);
    if (list)
        qsort(list, count, sizeof *list, memfd_compare);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || list[i].inode != list[i - 1].inode)       /* one file can have several descriptors */
            total += list[i].bytes;
    free(list);
    return total;
}

uint64_t measure_controls(pid_t daemon)
{
    char path[64], line[512];
    unsigned long kib;
    bool inside = false;
    uint64_t total = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)daemon);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strstr(line, "/memfd:morphmem-control"))
            inside = true;
        if (!inside || sscanf(line, "Rss: %lu", &kib) != 1)
            continue;
        total += (uint64_t)kib << 10;
        inside = false;
    }
    if (file)
        fclose(file);
    return total;
}

/* ---- The machine ---- */

void measure_machine(struct measure_machine *ret_machine)
{
    unsigned long long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0, stolen = 0;
    uint64_t tick_ms = 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    FILE *file = fopen("/proc/stat", "re");
    if (!file || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &softirq,
                        &stolen) != 8)
        stolen = 0;
    if (file)
        fclose(file);
    *ret_machine = (struct measure_machine){ (user + nice + system + irq + softirq) * tick_ms, stolen * tick_ms };
}

bool measure_kernel_objects(uint64_t *ret_bytes)
{
    char line[512], name[64];
    unsigned long active, objects, bytes;
    uint64_t total = 0;
    FILE *file = fopen("/proc/slabinfo", "re");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file))
        if (line[0] != '#' && sscanf(line, "%63s %lu %lu %lu", name, &active, &objects, &bytes) == 4)
            total += (uint64_t)active * bytes;
    fclose(file);
    *ret_bytes = total;
    return total > 0;
}
