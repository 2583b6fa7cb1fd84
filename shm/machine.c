/* machine.c — reads the machine from /proc, /sys and the control group tree, and tries kernel features. See machine.h. */
#define _GNU_SOURCE
#include "shm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shm/layout.h"
#include "shm/memfd.h"

/* Newer than the oldest headers that we build with. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_FEATURE_MINOR_SHMEM
#define UFFD_FEATURE_MINOR_SHMEM (1 << 10)
#endif

#define MACHINE_FILE_BYTES  ((size_t)1 << 20)   /* most that is read of one file: mountinfo can be long */
#define MACHINE_NO_LIMIT    ((uint64_t)1 << 62) /* v1 says "no limit" with a number near 2^63 */
#define MACHINE_SHMEM_TOP   "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MACHINE_SHMEM_PMD   "/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/shmem_enabled"

/* ---- Readers ------------------------------------------------------------------------------------------------------------ */

/* The text of a file, or NULL. The caller frees it. */
static char *machine_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    size_t used = 0, room = 4096;
    char *text = malloc(room);
    while (text) {
        ssize_t n = read(fd, text + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(text);
            text = NULL;
            break;
        }
        used += (size_t)n;
        if (n == 0 || used == MACHINE_FILE_BYTES - 1)
            break;
        if (room - used > 1)
            continue;
        char *larger = realloc(text, room *= 2);
        if (!larger)
            free(text);
        text = larger;
    }
    close(fd);
    if (text)
        text[used] = 0;
    return text;
}

static char *machine_read_in(const char *directory, const char *name)
{
    char path[2 * PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", directory, name);
    return n > 0 && (size_t)n < sizeof path ? machine_read(path) : NULL;
}

static uint64_t machine_meminfo(const char *key)
{
    uint64_t bytes = 0;
    char *text = machine_read("/proc/meminfo");
    if (text && !mm_machine_parse_value(text, key, &bytes))
        bytes = 0;
    free(text);
    return bytes;
}

uint64_t mm_machine_ram_bytes(void)
{
    return machine_meminfo("MemTotal");
}

/* Where a tree of groups is mounted, and which group below that the process of `groups` is in; PATH_MAX each. */
static bool machine_group(const char *groups, const char *mounts, bool v2, char *ret_point, char *ret_group)
{
    char group[PATH_MAX], top[PATH_MAX];
    if (!mm_machine_parse_cgroup(groups, v2, group, sizeof group) || !mm_machine_parse_mount(mounts, v2, top, ret_point, sizeof top))
        return false;
    size_t n = strcmp(top, "/") == 0 ? 0 : strlen(top);
    bool below = strncmp(group, top, n) == 0 && (group[n] == 0 || group[n] == '/');
    /* A group outside of what the mount shows (a process of another container): only the top's limits are known to hold. */
    bool outside = !below || strstr(group, "/..") != NULL;
    snprintf(ret_group, PATH_MAX, "%s", outside ? "" : group + n);
    return true;
}

/* One tree of groups, v2 or the v1 memory controller: what it says about the process whose /proc/PID/cgroup is `groups`. */
static void machine_tree(const char *groups, const char *mounts, bool v2, uint64_t *ret_limit, uint64_t *ret_left)
{
    char group[PATH_MAX], point[PATH_MAX];
    *ret_limit = *ret_left = UINT64_MAX;
    if (machine_group(groups, mounts, v2, point, group))
        mm_machine_walk_cgroup(point, group, v2, ret_limit, ret_left);
}

static void machine_cgroup(pid_t pid, uint64_t *ret_limit, uint64_t *ret_left)
{
    char path[48] = "/proc/self/cgroup";
    if (pid != 0)
        snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    *ret_limit = *ret_left = UINT64_MAX;
    char *groups = machine_read(path), *mounts = machine_read("/proc/self/mountinfo");
    for (int v2 = 0; groups && mounts && v2 < 2; v2++) {
        uint64_t limit, left;
        machine_tree(groups, mounts, v2 != 0, &limit, &left);
        if (limit < *ret_limit)
            *ret_limit = limit;
        if (left < *ret_left)
            *ret_left = left;
    }
    free(groups);
    free(mounts);
}

bool mm_machine_cgroup_file(const char *file, char *ret_path, size_t room)
{
    char group[PATH_MAX], point[PATH_MAX];
    char *groups = machine_read("/proc/self/cgroup"), *mounts = machine_read("/proc/self/mountinfo");
    bool found = groups && mounts && machine_group(groups, mounts, true, point, group);
    free(groups);
    free(mounts);
    int n = found ? snprintf(ret_path, room, "%s%s/%s", point, strcmp(group, "/") == 0 ? "" : group, file) : -1;
    return n > 0 && (size_t)n < room && access(ret_path, R_OK) == 0;
}

uint64_t mm_machine_cgroup_limit_bytes(pid_t pid)
{
    uint64_t limit, left;
    machine_cgroup(pid, &limit, &left);
    return limit;
}

uint64_t mm_machine_available_bytes(void)
{
    uint64_t limit, left, available = machine_meminfo("MemAvailable");
    machine_cgroup(0, &limit, &left);
    return available < left ? available : left;
}

unsigned mm_machine_cores(void)
{
    for (int most = 1024; most <= 1 << 20; most *= 4) {     /* EINVAL: the kernel knows more cores than the set has bits */
        size_t bytes = CPU_ALLOC_SIZE(most);
        cpu_set_t *set = CPU_ALLOC(most);
        if (!set)
            return 1;
        int r = sched_getaffinity(0, bytes, set);
        int cores = r == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (cores > 0)
            return (unsigned)cores;
        if (r == 0 || errno != EINVAL)
            return 1;
    }
    return 1;
}

bool mm_machine_shmem_huge(void)
{
    char *top = machine_read(MACHINE_SHMEM_TOP), *pmd = machine_read(MACHINE_SHMEM_PMD);
    bool huge = top != NULL && mm_machine_parse_shmem_huge(top, pmd);
    free(top);
    free(pmd);
    return huge;
}

/* ---- Parsers ------------------------------------------------------------------------------------------------------------ */

/* The next line of a text: its start, its length without the end, and `*text` moved behind it. NULL after the last one. */
static const char *machine_line(const char **text, size_t *ret_length)
{
    const char *line = *text;
    if (*line == 0)
        return NULL;
    *ret_length = strcspn(line, "\n");
    *text = line + *ret_length + (line[*ret_length] == '\n');
    return line;
}

static bool machine_copy(const char *from, size_t length, char *ret, size_t room)
{
    if (length >= room)
        return false;
    memcpy(ret, from, length);
    ret[length] = 0;
    return true;
}

static bool machine_number(const char *text, uint64_t *ret, const char **ret_end)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    *ret = n;
    *ret_end = end;
    return true;
}

bool mm_machine_parse_value(const char *text, const char *key, uint64_t *ret_value)
{
    size_t length, n = strlen(key);
    for (const char *line; (line = machine_line(&text, &length)) != NULL; ) {
        if (length <= n || strncmp(line, key, n) != 0 || !strchr(": ", line[n]))
            continue;
        uint64_t value;
        const char *at = line + n + (line[n] == ':'), *end;
        if (!machine_number(at + strspn(at, " "), &value, &end))
            return false;
        bool kib = strncmp(end, " kB", 3) == 0;
        if (kib && value > UINT64_MAX / 1024)
            return false;
        *ret_value = kib ? value * 1024 : value;
        return true;
    }
    return false;
}

bool mm_machine_parse_choice(const char *text, char *ret_word, size_t room)
{
    const char *open = strchr(text, '[');
    const char *close = open ? strchr(open, ']') : NULL;
    return close != NULL && machine_copy(open + 1, (size_t)(close - open - 1), ret_word, room);
}

static bool machine_word_in(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

bool mm_machine_parse_shmem_huge(const char *top, const char *pmd)
{
    static const char *const on_advice[] = { "always", "within_size", "advise", NULL };
    char word[32], own[32] = "inherit";
    if (!mm_machine_parse_choice(top, word, sizeof word) || strcmp(word, "deny") == 0)
        return false;
    if (pmd && !mm_machine_parse_choice(pmd, own, sizeof own))
        return false;
    if (strcmp(own, "inherit") == 0)
        return strcmp(word, "force") == 0 || machine_word_in(word, on_advice);
    return strcmp(word, "force") != 0 && machine_word_in(own, on_advice);    /* force reaches only the sizes that inherit */
}

uint64_t mm_machine_parse_limit(const char *text)
{
    uint64_t bytes;
    const char *end;
    if (!machine_number(text, &bytes, &end) || bytes >= MACHINE_NO_LIMIT)
        return UINT64_MAX;
    return bytes;
}

/* Is "memory" one of the comma-separated words in [list, list + length)? */
static bool machine_has_memory(const char *list, size_t length)
{
    for (size_t at = 0; at < length; ) {
        size_t n = strcspn(list + at, ",");
        if (n > length - at)
            n = length - at;
        if (n == 6 && memcmp(list + at, "memory", 6) == 0)
            return true;
        at += n + 1;
    }
    return false;
}

/* Lines are "number:controllers:group"; v2 is number 0 with no controllers. */
bool mm_machine_parse_cgroup(const char *text, bool v2, char *ret_group, size_t room)
{
    size_t length;
    for (const char *line; (line = machine_line(&text, &length)) != NULL; ) {
        const char *first = memchr(line, ':', length);
        const char *second = first ? memchr(first + 1, ':', length - (size_t)(first + 1 - line)) : NULL;
        if (!second)
            continue;
        size_t words = (size_t)(second - first - 1);
        bool ours = v2 ? words == 0 && line[0] == '0' && first == line + 1 : machine_has_memory(first + 1, words);
        if (ours)
            return machine_copy(second + 1, length - (size_t)(second + 1 - line), ret_group, room);
    }
    return false;
}

/* Spaces and the like are written as \ooo in mountinfo. */
static void machine_unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        bool escaped = from[0] == '\\' && strspn(from + 1, "01234567") >= 3 && from[1] <= '3';
        *to = escaped ? (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0')) : *from;
        from += escaped ? 4 : 1;
    }
    *to = 0;
}

/* The n-th field (from 0) of fields separated by single spaces, within [line, end). */
static const char *machine_field(const char *line, const char *end, unsigned n, size_t *ret_length)
{
    for (; n > 0 && line < end; n--) {
        const char *space = memchr(line, ' ', (size_t)(end - line));
        line = space ? space + 1 : end;
    }
    const char *space = line < end ? memchr(line, ' ', (size_t)(end - line)) : NULL;
    *ret_length = (size_t)((space ? space : end) - line);
    return line;
}

/* "id parent major:minor TOP POINT options [optional...] - TYPE source SUPEROPTIONS" */
bool mm_machine_parse_mount(const char *text, bool v2, char *ret_top, char *ret_point, size_t room)
{
    size_t length, n;
    for (const char *line; (line = machine_line(&text, &length)) != NULL; ) {
        const char *end = line + length, *dash = memmem(line, length, " - ", 3);
        if (!dash)
            continue;
        const char *type = machine_field(dash + 3, end, 0, &n);
        if (v2 ? !(n == 7 && memcmp(type, "cgroup2", 7) == 0) : !(n == 6 && memcmp(type, "cgroup", 6) == 0))
            continue;
        const char *options = machine_field(dash + 3, end, 2, &n);
        if (!v2 && !machine_has_memory(options, n))
            continue;
        const char *top = machine_field(line, dash, 3, &n);
        if (!machine_copy(top, n, ret_top, room))
            return false;
        const char *point = machine_field(line, dash, 4, &n);
        if (!machine_copy(point, n, ret_point, room))
            return false;
        machine_unescape(ret_top);
        machine_unescape(ret_point);
        return true;
    }
    return false;
}

/* What a group with a limit leaves: the limit, less its use, plus the cached files that it can drop at once. */
static uint64_t machine_left(const char *directory, bool v2, uint64_t limit)
{
    uint64_t used = 0, cached = 0;
    const char *end;
    char *text = machine_read_in(directory, v2 ? "memory.current" : "memory.usage_in_bytes");
    if (text && !machine_number(text, &used, &end))
        used = 0;
    free(text);
    text = machine_read_in(directory, "memory.stat");
    if (text && !mm_machine_parse_value(text, v2 ? "inactive_file" : "total_inactive_file", &cached))
        cached = 0;
    free(text);
    used -= cached < used ? cached : used;
    return limit > used ? limit - used : 0;
}

void mm_machine_walk_cgroup(const char *point, const char *group, bool v2, uint64_t *ret_limit_bytes, uint64_t *ret_left_bytes)
{
    char directory[2 * PATH_MAX];
    *ret_limit_bytes = *ret_left_bytes = UINT64_MAX;
    int n = snprintf(directory, sizeof directory, "%s%s", point, strcmp(group, "/") == 0 ? "" : group);
    if (n < 0 || (size_t)n >= sizeof directory)
        return;
    for (size_t top = strlen(point); ; ) {
        char *text = machine_read_in(directory, v2 ? "memory.max" : "memory.limit_in_bytes");
        uint64_t limit = text ? mm_machine_parse_limit(text) : UINT64_MAX;      /* the root group has no such file */
        free(text);
        if (limit < *ret_limit_bytes)
            *ret_limit_bytes = limit;
        uint64_t left = limit == UINT64_MAX ? UINT64_MAX : machine_left(directory, v2, limit);
        if (left < *ret_left_bytes)
            *ret_left_bytes = left;
        char *slash = strrchr(directory, '/');
        if (!slash || (size_t)(slash - directory) < top)
            return;
        *slash = 0;
    }
}

/* ---- Features ----------------------------------------------------------------------------------------------------------- */

#define FOUND(feature, ...) ((void)snprintf((feature)->found, sizeof (feature)->found, __VA_ARGS__))

static void feature_shmem_huge(struct mm_feature *f)
{
    char *top = machine_read(MACHINE_SHMEM_TOP), *pmd = machine_read(MACHINE_SHMEM_PMD);
    char word[32] = "?", own[32] = "?";
    f->present = top != NULL && mm_machine_parse_shmem_huge(top, pmd);
    if (top)
        (void)mm_machine_parse_choice(top, word, sizeof word);
    if (pmd)
        (void)mm_machine_parse_choice(pmd, own, sizeof own);
    if (!top)
        FOUND(f, "this kernel has no transparent huge pages for shared memory");
    else if (!pmd)
        FOUND(f, "shmem_enabled is '%s'", word);
    else
        FOUND(f, "shmem_enabled is '%s', for 2 MiB pages '%s'", word, own);
    free(top);
    free(pmd);
}

static void feature_sealed_memfd(struct mm_feature *f)
{
    int fd = mm_memfd_new("morphmem-doctor", MM_BLOCK_BYTES);
    f->present = fd >= 0 && mm_memfd_sealed(fd, MM_BLOCK_BYTES);
    FOUND(f, "%s", f->present ? "made and sealed one" : fd < 0 ? strerror(-fd) : "the seals do not hold");
    if (fd >= 0)
        close(fd);
}

static void feature_leases(struct mm_feature *f)
{
    int fd = mm_memfd_new("morphmem-doctor", MM_BLOCK_BYTES);
    int alone = fd < 0 ? fd : mm_memfd_prove_alone(fd);
    int other = fd < 0 ? fd : mm_memfd_reopen(fd);
    int shared = other < 0 ? other : mm_memfd_prove_alone(fd);
    f->present = alone == 0 && shared == -EAGAIN;
    if (f->present)
        FOUND(f, "granted when alone, refused when shared");
    else
        FOUND(f, "alone: %s, shared: %s", alone == 0 ? "granted" : strerror(-alone), shared == 0 ? "granted" : strerror(-shared));
    if (other >= 0)
        close(other);
    if (fd >= 0)
        close(fd);
}

static void feature_pidfd(struct mm_feature *f)
{
    int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    f->present = fd >= 0;
    FOUND(f, "%s", fd >= 0 ? "pidfd_open works" : strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void feature_populate_read(struct mm_feature *f)
{
    size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    f->present = page != MAP_FAILED && madvise(page, bytes, MADV_POPULATE_READ) == 0;
    FOUND(f, "%s", f->present ? "madvise(MADV_POPULATE_READ) works" : strerror(errno));
    if (page != MAP_FAILED)
        munmap(page, bytes);
}

/* A userfaultfd, by system call or through the device, or a negative errno. `flags`: UFFD_USER_MODE_ONLY, or 0 with kernel faults. */
static int feature_userfaultfd_open(int flags)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | flags);
    if (fd >= 0)
        return fd;
    int error = -errno, device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    if (device < 0)
        return error;
    fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | flags);
    error = -errno;
    close(device);
    return fd < 0 ? error : fd;
}

/* True if such a userfaultfd can be had and serves minor faults of shared memory. */
static bool feature_userfaultfd_try(int flags, struct mm_feature *f)
{
    int fd = feature_userfaultfd_open(flags);
    if (fd < 0) {
        FOUND(f, "%s", strerror(-fd));
        return false;
    }
    struct uffdio_api api = { .api = UFFD_API };
    bool known = ioctl(fd, UFFDIO_API, &api) == 0;
    bool minor = known && (api.features & UFFD_FEATURE_MINOR_SHMEM) != 0;
    close(fd);
    FOUND(f, "%s", minor ? "minor faults of shared memory can be served" : known ? "no minor faults of shared memory" : "another version");
    return minor;
}

static void feature_userfaultfd(struct mm_feature *f)
{
    f->present = feature_userfaultfd_try(UFFD_USER_MODE_ONLY, f);
}

static void feature_userfaultfd_kernel(struct mm_feature *f)
{
    f->present = feature_userfaultfd_try(0, f);
}

int mm_machine_psi_open(const char *path)
{
    /* 150 ms in 2 s: without privilege the window must be a multiple of 2 s (Linux 6.5). */
    static const char trigger[] = "some 150000 2000000";
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (write(fd, trigger, sizeof trigger) == (ssize_t)sizeof trigger)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static void feature_psi(struct mm_feature *f)
{
    char *text = machine_read("/proc/pressure/memory"), events[PATH_MAX];   /* fails to read, not to open, when switched off at boot */
    bool readable = text != NULL && strncmp(text, "some ", 5) == 0;
    int fd = readable ? mm_machine_psi_open("/proc/pressure/memory") : -1;
    f->present = fd >= 0;
    FOUND(f, "/proc/pressure/memory %s; memory.events of the control group %s",
          fd >= 0 ? "can be read and waited for" : readable ? "can be read, but not waited for" : "cannot be read",
          mm_machine_cgroup_file("memory.events", events, sizeof events) ? "can be read" : "is not there");
    if (fd >= 0)
        close(fd);
    free(text);
}

/* "4.0 GiB", or "unlimited". */
static const char *feature_size(uint64_t bytes, char *room, size_t room_bytes)
{
    if (bytes == UINT64_MAX || bytes == (uint64_t)RLIM_INFINITY)
        snprintf(room, room_bytes, "unlimited");
    else if (bytes < (uint64_t)1 << 30)
        snprintf(room, room_bytes, "%.1f MiB", (double)bytes / (1 << 20));
    else
        snprintf(room, room_bytes, "%.1f GiB", (double)bytes / (1 << 30));
    return room;
}

static void feature_memlock(struct mm_feature *f)
{
    struct rlimit limit = { 0, 0 };
    char size[32];
    (void)getrlimit(RLIMIT_MEMLOCK, &limit);
    f->present = limit.rlim_cur >= (rlim_t)8 << 20;         /* the kernel's default since Linux 5.16 */
    FOUND(f, "%s may be locked", feature_size(limit.rlim_cur, size, sizeof size));
}

static void feature_cgroup_limit(struct mm_feature *f)
{
    uint64_t limit, left;
    char size[32], rest[32];
    machine_cgroup(0, &limit, &left);
    f->present = left >= (uint64_t)512 << 20;               /* two heaps of the smallest preset */
    if (limit == UINT64_MAX)
        FOUND(f, "no limit");
    else
        FOUND(f, "limit %s, %s left", feature_size(limit, size, sizeof size), feature_size(left, rest, sizeof rest));
}

/* The daemon raises its soft limit to the hard one, so the hard one counts. */
static void feature_nofile(struct mm_feature *f)
{
    struct rlimit limit = { 0, 0 };
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t most = limit.rlim_max, heaps = most / MM_MACHINE_DESCRIPTORS_PER_HEAP;
    f->present = heaps >= 1000;
    if (limit.rlim_max == RLIM_INFINITY)
        FOUND(f, "unlimited");
    else
        FOUND(f, "at most %" PRIu64 ", enough for %" PRIu64 " heaps", most, heaps);
}

static void feature_cores(struct mm_feature *f)
{
    unsigned cores = mm_machine_cores();
    f->present = cores >= 2;
    FOUND(f, "%u", cores);
}

static void feature_max_map_count(struct mm_feature *f)
{
    uint64_t count = 0;
    const char *end;
    char *text = machine_read("/proc/sys/vm/max_map_count");
    bool known = text != NULL && machine_number(text, &count, &end);
    free(text);
    f->present = known && count >= 65530;                   /* the kernel's default */
    if (known)
        FOUND(f, "%" PRIu64 " mappings a process", count);
    else
        FOUND(f, "/proc/sys/vm/max_map_count cannot be read");
}

#define SMALL_KERNEL "use Linux 5.14 or later; in a container, allow the call in its seccomp profile"

/* In the order of enum mm_feature_id. */
static const struct {
    const char *key, *name, *cost, *remedy;
    void (*look)(struct mm_feature *);
} FEATURE[MM_FEATURE_COUNT] = {
    [MM_FEATURE_SHMEM_HUGE] = { "shmem_huge", "2 MiB pages for shared memory",
        "a new process faults 16 pages at a time instead of 512: filling warm memory takes about 1.6 times as long",
        "as root: echo advise > " MACHINE_SHMEM_TOP " (the installed tmpfiles.d snippet does it at boot)", feature_shmem_huge },
    [MM_FEATURE_SEALED_MEMFD] = { "sealed_memfd", "sealed memory files",
        "no heap can be opened: without seals one side could pull the memory away from the other",
        "use Linux 3.17 or later with memfd_create(2) allowed", feature_sealed_memfd },
    [MM_FEATURE_LEASES] = { "leases", "leases on memory files",
        "used memory is never recycled: every segment is closed after one heap, and the next heap gets cold memory",
        "allow fcntl(F_SETLEASE); some containers filter it", feature_leases },
    [MM_FEATURE_PIDFD] = { "pidfd", "process descriptors",
        "a client's death is seen only when its socket closes, which a forked child can put off",
        "use Linux 5.3 or later; in a container, allow pidfd_open(2) in its seccomp profile", feature_pidfd },
    [MM_FEATURE_POPULATE_READ] = { "populate_read", "mapping pages ahead (MADV_POPULATE_READ)",
        "blocks are touched 64 KiB at a time instead of being mapped in one call", SMALL_KERNEL, feature_populate_read },
    [MM_FEATURE_USERFAULTFD] = { "userfaultfd", "page faults served by the daemon (userfaultfd)",
        "compaction stops the client instead of running beside it", SMALL_KERNEL, feature_userfaultfd },
    [MM_FEATURE_USERFAULTFD_KERNEL] = { "userfaultfd_kernel", "userfaultfd for faults inside the kernel",
        "memory with pinned byte buffers is left out of compaction beside the client",
        "give morphmemd access to /dev/userfaultfd, or as root: sysctl vm.unprivileged_userfaultfd=1", feature_userfaultfd_kernel },
    [MM_FEATURE_PSI] = { "psi", "memory pressure (PSI)",
        "the budget does not shrink by itself when the machine runs short of memory",
        "boot with psi=1 and a kernel with CONFIG_PSI", feature_psi },
    [MM_FEATURE_MEMLOCK] = { "memlock", "locked memory",
        "the words by which threads stop and wake cannot be kept out of swap; without swap nothing is lost",
        "raise the limit: ulimit -l, or LimitMEMLOCK= in the unit", feature_memlock },
    [MM_FEATURE_CGROUP_LIMIT] = { "cgroup_limit", "room in the control group",
        "less than 512 MiB are left to this process's control group: heaps are small, and the group may be killed when it is full",
        "raise memory.max of the group (MemoryMax= of the unit, --memory of the container)", feature_cgroup_limit },
    [MM_FEATURE_NOFILE] = { "nofile", "file descriptors",
        "fewer than 1000 heaps can be open at a time in a daemon that is started like this",
        "raise the hard limit: ulimit -Hn, or LimitNOFILE= in the unit", feature_nofile },
    [MM_FEATURE_CORES] = { "cores", "cores",
        "with one core waiting never spins: each refill that has to wait costs two switches between processes",
        "give the process more cores (taskset, cpuset, the machine's size)", feature_cores },
    [MM_FEATURE_MAX_MAP_COUNT] = { "max_map_count", "mappings a process",
        "a process with many or large heaps runs out of mappings before it runs out of memory",
        "as root: sysctl vm.max_map_count=65530 or more", feature_max_map_count },
};

void mm_machine_features(struct mm_feature ret_features[MM_FEATURE_COUNT])
{
    for (unsigned i = 0; i < MM_FEATURE_COUNT; i++) {
        struct mm_feature *f = &ret_features[i];
        *f = (struct mm_feature){ .key = FEATURE[i].key, .name = FEATURE[i].name, .cost = FEATURE[i].cost, .remedy = FEATURE[i].remedy };
        FEATURE[i].look(f);
    }
}
