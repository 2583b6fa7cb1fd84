/* shortlived.c — w6: a process that fills some memory with small objects, as a compiler does, and ends without giving it back.
 * The driver starts many of them and takes the time from outside. */
#include <string.h>
#include <unistd.h>

#include "tests/bench/common/random.h"
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

static void *volatile kept;         /* so that no compiler leaves an object out */

static inline void memory_fill(uint64_t mib, void *(*allocate)(struct place *place, size_t bytes))
{
    struct place place;
    uint32_t seed = 4242;
    subject_begin(ROLE_PROGRAM, (uint64_t)256 << 20);
    place_begin(&place, (mib << 20) + (mib << 18) + 4096);
    for (uint64_t total = 0; total < mib << 20;) {
        uint32_t bytes = 16 + random_below(&seed, 241);
        void *memory = allocate(&place, bytes);
        if (!memory)
            subject_die("out of memory");
        memset(memory, (int)(bytes & 127), bytes);
        kept = memory;
        total += bytes;
    }
}

/* MiB of this process that 2 MiB pages map. */
static void huge_report(void)
{
    static const char *const fields[] = { "AnonHugePages:", "ShmemPmdMapped:", "FilePmdMapped:" };
    char line[256];
    unsigned long kib, total = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file))
        for (unsigned i = 0; i < 3; i++)
            if (strncmp(line, fields[i], strlen(fields[i])) == 0 && sscanf(line + strlen(fields[i]), "%lu", &kib) == 1)
                total += kib;
    if (file)
        fclose(file);
    figure_report("huge_mb", (double)total / 1024);
}

static void end(void)
{
    fflush(stdout);
    _exit(0);
}

void shortlived_run(uint64_t mib)
{
    memory_fill(mib, place_bytes);
    end();
}

void shortlived_typed_run(uint64_t mib)
{
    memory_fill(mib, place_array);
    end();
}

void shortlived_report_run(uint64_t mib)
{
    memory_fill(mib, place_bytes);
    huge_report();
    end();
}

void shortlived_typed_report_run(uint64_t mib)
{
    memory_fill(mib, place_array);
    huge_report();
    end();
}
