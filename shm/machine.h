/* machine.h — what this machine, and the control group we run in, offers: memory, cores, kernel features.
 *
 * Used by the library (morph_options_auto), the daemon (budget, limits of a peer, huge pages) and morphmemctl doctor. Facts are read
 * from the kernel at each call; nothing is cached, nothing is changed. Readers are kept apart from parsers, which take text, so that
 * tests can feed them other machines.
 * Threads: any. Not for signal handlers or for the child of a fork in a threaded process (it allocates).
 */
#ifndef MM_MACHINE_H
#define MM_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* RAM that the kernel manages (MemTotal); 0 if it cannot be read. */
uint64_t mm_machine_ram_bytes(void);

/* Memory that can be had now without pushing anybody out (MemAvailable), at most what our own control group leaves: its limit, less
 * what it uses, plus what it could drop of cached files. 0 if it cannot be read. */
uint64_t mm_machine_available_bytes(void);

/* The tightest memory limit that holds for process `pid` (0: this one): memory.max of its cgroup v2 and of every group above it,
 * memory.limit_in_bytes for v1. UINT64_MAX if there is none or it cannot be read. */
uint64_t mm_machine_cgroup_limit_bytes(pid_t pid);

/* The path of `file` (say memory.events) in this process's own cgroup v2, if the kernel has it there; false: no such group or file. */
bool mm_machine_cgroup_file(const char *file, char *ret_path, size_t room);

/* A descriptor of a pressure file (say /proc/pressure/memory) that polls POLLPRI, at most once in two seconds, when processes have waited for
 * memory for 150 ms of them; the caller closes it. Negative errno where the kernel does not have that. */
int mm_machine_psi_open(const char *path);

/* Cores that this thread may run on (sched_getaffinity(2)); at least 1. */
unsigned mm_machine_cores(void);

/* True if a memfd gets 2 MiB pages when madvise(2) asks for them. */
bool mm_machine_shmem_huge(void);

/* ---- Features: what `morphmemctl doctor` tells ------------------------------------------------------------------------- */

#define MM_MACHINE_DESCRIPTORS_PER_HEAP 5u      /* that the daemon holds: socket, pidfd, control area, eventfd, a segment */

struct mm_feature {
    const char *key;            /* stable, for programs */
    const char *name;           /* for people */
    bool        present;        /* there, or enough of it */
    char        found[120];     /* what was seen, in words */
    const char *cost;           /* what its absence costs morphmem */
    const char *remedy;         /* what to do about it */
};

enum mm_feature_id {
    MM_FEATURE_SHMEM_HUGE,
    MM_FEATURE_SEALED_MEMFD,
    MM_FEATURE_LEASES,
    MM_FEATURE_PIDFD,
    MM_FEATURE_POPULATE_READ,
    MM_FEATURE_USERFAULTFD,
    MM_FEATURE_USERFAULTFD_KERNEL,
    MM_FEATURE_PSI,
    MM_FEATURE_MEMLOCK,
    MM_FEATURE_CGROUP_LIMIT,
    MM_FEATURE_NOFILE,
    MM_FEATURE_CORES,
    MM_FEATURE_MAX_MAP_COUNT,
    MM_FEATURE_COUNT
};

/* Looks for each feature by trying it, and fills the array in the order of the enum. Leaves nothing behind. */
void mm_machine_features(struct mm_feature ret_features[MM_FEATURE_COUNT]);

/* ---- Parsers: text in, fact out ---------------------------------------------------------------------------------------- */

/* Value of a line "key: 123 kB" of /proc/meminfo in bytes, or of "key 123" of a memory.stat; false if there is no such line. */
bool mm_machine_parse_value(const char *text, const char *key, uint64_t *ret_value);

/* Which word of "always [advise] never" is chosen: true and the word, or false. */
bool mm_machine_parse_choice(const char *text, char *ret_word, size_t room);

/* Do memfds get 2 MiB pages on advice? `top`: shmem_enabled; `pmd`: hugepages-2048kB/shmem_enabled, NULL before Linux 6.11. */
bool mm_machine_parse_shmem_huge(const char *top, const char *pmd);

/* Text of memory.max or memory.limit_in_bytes; UINT64_MAX for "max", for v1's "no limit" and for what is no number. */
uint64_t mm_machine_parse_limit(const char *text);

/* The group of a process, from /proc/PID/cgroup: of the v2 tree, or of the v1 memory controller. False if there is none or it does
 * not fit. */
bool mm_machine_parse_cgroup(const char *text, bool v2, char *ret_group, size_t room);

/* Where that tree is mounted, and which group the mount shows as its top, from /proc/self/mountinfo. Each has `room` bytes. False if
 * it is not mounted or does not fit. */
bool mm_machine_parse_mount(const char *text, bool v2, char *ret_top, char *ret_point, size_t room);

/* The tightest limit on the way from `point`/`group` up to `point`, and the least that one of these groups leaves. Both UINT64_MAX
 * without a limit. For tests: `point` may be any directory. */
void mm_machine_walk_cgroup(const char *point, const char *group, bool v2, uint64_t *ret_limit_bytes, uint64_t *ret_left_bytes);

#endif
