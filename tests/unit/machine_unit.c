/* machine_unit.c — shm/machine: parsers on the texts of other machines, the walk over a made-up tree of groups, and this machine. */
#define _GNU_SOURCE
#include "tests/lib/check.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/machine.h"
#include "tests/lib/daemon.h"

#define MIB ((uint64_t)1 << 20)

/* ---- Parsers ---- */

static void values_are_found_by_their_whole_key(void **state)
{
    static const char meminfo[] =
        "MemTotal:       24683900 kB\nMemFree:          100 kB\nMemAvailable:   24300000 kB\nHugePages_Total:       7\n";
    static const char stat[] = "file 999\nfile_mapped 5\ninactive_file 4096\ntotal_inactive_file 8192\n";
    uint64_t value = 0;
    assert_true(mm_machine_parse_value(meminfo, "MemTotal", &value));
    assert_int_equal(value, 24683900ull * 1024);
    assert_true(mm_machine_parse_value(meminfo, "MemAvailable", &value));
    assert_int_equal(value, 24300000ull * 1024);
    assert_true(mm_machine_parse_value(meminfo, "HugePages_Total", &value));
    assert_int_equal(value, 7);
    assert_true(mm_machine_parse_value(stat, "inactive_file", &value));
    assert_int_equal(value, 4096);
    assert_true(mm_machine_parse_value(stat, "file", &value));
    assert_int_equal(value, 999);
    value = 42;
    assert_false(mm_machine_parse_value(meminfo, "Mem", &value));
    assert_false(mm_machine_parse_value(meminfo, "Total", &value));
    assert_false(mm_machine_parse_value("MemTotal: lots kB\n", "MemTotal", &value));
    assert_false(mm_machine_parse_value("MemTotal: 18446744073709551615 kB\n", "MemTotal", &value));
    assert_false(mm_machine_parse_value("", "MemTotal", &value));
    assert_int_equal(value, 42);
}

static void limits_know_what_no_limit_looks_like(void **state)
{
    assert_int_equal(mm_machine_parse_limit("536870912\n"), 512 * MIB);
    assert_int_equal(mm_machine_parse_limit("0\n"), 0);
    assert_int_equal(mm_machine_parse_limit("max\n"), UINT64_MAX);
    assert_int_equal(mm_machine_parse_limit("9223372036854771712\n"), UINT64_MAX);      /* v1 on 4 KiB pages */
    assert_int_equal(mm_machine_parse_limit("9223372036854710272\n"), UINT64_MAX);      /* and on 64 KiB pages */
    assert_int_equal(mm_machine_parse_limit("-1\n"), UINT64_MAX);
    assert_int_equal(mm_machine_parse_limit("99999999999999999999999\n"), UINT64_MAX);
    assert_int_equal(mm_machine_parse_limit(""), UINT64_MAX);
}

static void groups_are_found_in_both_trees(void **state)
{
    static const char hybrid[] =
        "11:name=systemd:/\n9:cpu,cpuacct:/a\n4:hugetlb,memory:/docker/7f:x\n3:memory_recursive:/no\n0::/user.slice/u 1\n";
    char group[64] = "untouched";
    assert_true(mm_machine_parse_cgroup(hybrid, false, group, sizeof group));
    assert_string_equal(group, "/docker/7f:x");
    assert_true(mm_machine_parse_cgroup(hybrid, true, group, sizeof group));
    assert_string_equal(group, "/user.slice/u 1");
    assert_true(mm_machine_parse_cgroup("0::/", true, group, sizeof group));            /* no newline at the end */
    assert_string_equal(group, "/");
    assert_false(mm_machine_parse_cgroup("0::/\n", false, group, sizeof group));
    assert_false(mm_machine_parse_cgroup("4:memory:/x\n", true, group, sizeof group));
    assert_false(mm_machine_parse_cgroup("10::/ten\n", true, group, sizeof group));
    assert_false(mm_machine_parse_cgroup("rubbish\n:\n0:\n", true, group, sizeof group));
    assert_false(mm_machine_parse_cgroup(hybrid, true, group, 8));                      /* does not fit */
    assert_true(mm_machine_parse_cgroup("0::/1234567\n", true, group, 9));              /* just fits */
}

static void mounts_are_found_with_their_top(void **state)
{
    static const char v2[] =
        "22 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    static const char v1[] =
        "30 31 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "31 31 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,memory_pressure\n"
        "35 31 0:32 /docker/7f /sys/fs/cg\\040roup/memory rw - cgroup cgroup rw,memory\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    char top[64], point[64];
    assert_true(mm_machine_parse_mount(v2, true, top, point, sizeof top));
    assert_string_equal(top, "/");
    assert_string_equal(point, "/sys/fs/cgroup");
    assert_false(mm_machine_parse_mount(v2, false, top, point, sizeof top));
    assert_true(mm_machine_parse_mount(v1, false, top, point, sizeof top));
    assert_string_equal(top, "/docker/7f");
    assert_string_equal(point, "/sys/fs/cg roup/memory");
    assert_true(mm_machine_parse_mount(v1, true, top, point, sizeof top));
    assert_string_equal(point, "/sys/fs/cgroup/unified");
    assert_false(mm_machine_parse_mount(v2, true, top, point, 8));
    assert_false(mm_machine_parse_mount("30 23 0:26 / - cgroup2\n - cgroup2\nx - \n", false, top, point, sizeof top));
}

static void huge_pages_follow_the_kernels_rules(void **state)
{
    static const char never[] = "always within_size advise [never] deny force\n";
    static const char advise[] = "always within_size [advise] never deny force\n";
    static const char deny[] = "always within_size advise never [deny] force\n", force[] = "always within_size advise never deny [force]\n";
    static const char own_inherit[] = "always [inherit] within_size advise never\n";
    static const char own_never[] = "always inherit within_size advise [never]\n";
    static const char own_advise[] = "always inherit within_size [advise] never\n";
    assert_true(mm_machine_parse_shmem_huge(advise, NULL));
    assert_true(mm_machine_parse_shmem_huge("[always] within_size\n", NULL));
    assert_true(mm_machine_parse_shmem_huge("always [within_size]\n", NULL));
    assert_true(mm_machine_parse_shmem_huge(force, NULL));
    assert_false(mm_machine_parse_shmem_huge(never, NULL));
    assert_false(mm_machine_parse_shmem_huge(deny, NULL));
    assert_true(mm_machine_parse_shmem_huge(advise, own_inherit));
    assert_true(mm_machine_parse_shmem_huge(force, own_inherit));
    assert_false(mm_machine_parse_shmem_huge(never, own_inherit));
    assert_true(mm_machine_parse_shmem_huge(never, own_advise));
    assert_false(mm_machine_parse_shmem_huge(deny, own_advise));
    assert_false(mm_machine_parse_shmem_huge(force, own_advise));
    assert_false(mm_machine_parse_shmem_huge(advise, own_never));
    assert_false(mm_machine_parse_shmem_huge("advise\n", NULL));
    assert_false(mm_machine_parse_shmem_huge("", NULL));
    assert_false(mm_machine_parse_shmem_huge(advise, ""));
}

static void choices_need_both_brackets_and_room(void **state)
{
    char word[8];
    assert_true(mm_machine_parse_choice("a [bcd] e", word, sizeof word));
    assert_string_equal(word, "bcd");
    assert_true(mm_machine_parse_choice("[1234567]", word, sizeof word));
    assert_false(mm_machine_parse_choice("[12345678]", word, sizeof word));
    assert_false(mm_machine_parse_choice("a bcd] e", word, sizeof word));
    assert_false(mm_machine_parse_choice("a [bcd e", word, sizeof word));
}

/* ---- The walk ---- */

static void put(const char *dir, const char *group, const char *file, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s/%s", dir, group, file);
    FILE *to = fopen(path, "we");
    assert_non_null(to);
    assert_true(fputs(text, to) >= 0);
    assert_int_equal(fclose(to), 0);
}

static void group_make(const char *dir, const char *group)
{
    char path[256];
    snprintf(path, sizeof path, "%s%s", dir, group);
    assert_true(mkdir(path, 0755) == 0);
}

static void the_tightest_group_counts(void **state)
{
    char dir[64];
    uint64_t limit, left;
    test_dir_make(dir, 0);
    group_make(dir, "/a");
    group_make(dir, "/a/b");
    mm_machine_walk_cgroup(dir, "/a/b", true, &limit, &left);
    assert_int_equal(limit, UINT64_MAX);
    assert_int_equal(left, UINT64_MAX);

    put(dir, "/a", "memory.max", "104857600\n");
    put(dir, "/a", "memory.current", "94371840\n");
    put(dir, "/a", "memory.stat", "anon 1\ninactive_file 41943040\n");
    put(dir, "/a/b", "memory.max", "max\n");
    mm_machine_walk_cgroup(dir, "/a/b", true, &limit, &left);
    assert_int_equal(limit, 100 * MIB);                 /* of the group above */
    assert_int_equal(left, 50 * MIB);                   /* 100 - (90 - 40) */

    put(dir, "/a/b", "memory.max", "20971520\n");
    put(dir, "/a/b", "memory.current", "31457280\n");   /* over its limit: nothing is left */
    mm_machine_walk_cgroup(dir, "/a/b", true, &limit, &left);
    assert_int_equal(limit, 20 * MIB);
    assert_int_equal(left, 0);
    mm_machine_walk_cgroup(dir, "/a", true, &limit, &left);
    assert_int_equal(limit, 100 * MIB);
    mm_machine_walk_cgroup(dir, "/", true, &limit, &left);
    assert_int_equal(limit, UINT64_MAX);
    mm_machine_walk_cgroup(dir, "/a/b", false, &limit, &left);
    assert_int_equal(limit, UINT64_MAX);                /* the names of v2 mean nothing in v1 */

    put(dir, "", "memory.limit_in_bytes", "73400320\n");
    put(dir, "/a", "memory.limit_in_bytes", "83886080\n");
    put(dir, "/a", "memory.usage_in_bytes", "52428800\n");
    put(dir, "/a", "memory.stat", "inactive_file 1\ntotal_inactive_file 10485760\n");
    mm_machine_walk_cgroup(dir, "/a", false, &limit, &left);
    assert_int_equal(limit, 70 * MIB);                  /* of the top */
    assert_int_equal(left, 40 * MIB);                   /* of /a: 80 - (50 - 10) */
    test_dir_remove(dir);
    assert_true(access(dir, F_OK) < 0);
}

/* ---- This machine ---- */

static void memory_of_this_machine_is_plausible(void **state)
{
    uint64_t ram = mm_machine_ram_bytes(), available = mm_machine_available_bytes();
    assert_true(ram > 16 * MIB);
    assert_in_range(available, 1, ram);
    assert_true(available <= mm_machine_cgroup_limit_bytes(0));
    assert_int_equal(mm_machine_cgroup_limit_bytes(getpid()), mm_machine_cgroup_limit_bytes(0));
    assert_int_equal(mm_machine_cgroup_limit_bytes(0x7ffffffe), UINT64_MAX);            /* nobody has this number */
}

/* A child of this process that gives itself one core counts one. */
static int count_in_one_core(void *context, struct test_parent parent)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 100;
    int first = 0;
    while (!CPU_ISSET(first, &set))
        first++;
    CPU_ZERO(&set);
    CPU_SET(first, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        return 101;
    return (int)mm_machine_cores();
}

static void cores_follow_the_affinity(void **state)
{
    assert_in_range(mm_machine_cores(), 1, (unsigned)sysconf(_SC_NPROCESSORS_CONF));
    assert_int_equal(test_child_run((uid_t)-1, count_in_one_core, NULL), 1);
}

static void features_are_complete_and_leave_nothing(void **state)
{
    struct mm_feature feature[MM_FEATURE_COUNT];
    int descriptors = test_descriptors();
    mm_machine_features(feature);
    assert_int_equal(test_descriptors(), descriptors);
    for (unsigned i = 0; i < MM_FEATURE_COUNT; i++) {
        assert_true(feature[i].key && *feature[i].key && feature[i].name && *feature[i].name);
        assert_true(*feature[i].found && feature[i].cost && *feature[i].cost && feature[i].remedy && *feature[i].remedy);
        assert_true(memchr(feature[i].found, 0, sizeof feature[i].found) != NULL);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(feature[i].key, feature[k].key);
    }
    assert_int_equal(feature[MM_FEATURE_SHMEM_HUGE].present, mm_machine_shmem_huge());
    assert_int_equal(feature[MM_FEATURE_CORES].present, mm_machine_cores() >= 2);
    assert_true(feature[MM_FEATURE_SEALED_MEMFD].present);                              /* morphmem runs nowhere else */
}

static int look_with_few_descriptors(void *context, struct test_parent parent)
{
    static struct mm_feature feature[MM_FEATURE_COUNT];
    child_check(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 500, 500 }) == 0);
    mm_machine_features(feature);
    child_check(!feature[MM_FEATURE_NOFILE].present);
    child_check(strcmp(feature[MM_FEATURE_NOFILE].found, "at most 500, enough for 100 heaps") == 0);
    return 0;
}

static void a_limit_on_descriptors_is_seen(void **state)
{
    assert_int_equal(test_child_run((uid_t)-1, look_with_few_descriptors, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(values_are_found_by_their_whole_key),
        test_case(limits_know_what_no_limit_looks_like),
        test_case(groups_are_found_in_both_trees),
        test_case(mounts_are_found_with_their_top),
        test_case(huge_pages_follow_the_kernels_rules),
        test_case(choices_need_both_brackets_and_room),
        test_case(the_tightest_group_counts),
        test_case(memory_of_this_machine_is_plausible),
        test_case(cores_follow_the_affinity),
        test_case(features_are_complete_and_leave_nothing),
        test_case(a_limit_on_descriptors_is_seen),
    };
    return test_run(cases);
}
