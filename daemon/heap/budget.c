/* budget.c — see budget.h. */
#include "daemon/heap/budget.h"

#include "shm/atomic.h"
#include "shm/machine.h"

static uint64_t configured_bytes, limit_bytes, used_bytes;

void budget_set(uint64_t bytes)
{
    if (bytes == 0) {
        uint64_t ram = mm_machine_ram_bytes(), cgroup = mm_machine_cgroup_limit_bytes(0);
        bytes = (ram < cgroup ? ram : cgroup) / 4 * 3;
    }
    mm_store_relaxed(&configured_bytes, bytes);
    mm_store_relaxed(&limit_bytes, bytes);
}

void budget_work_with(uint64_t bytes)
{
    uint64_t most = mm_load_relaxed(&configured_bytes);
    mm_store_relaxed(&limit_bytes, bytes < most ? bytes : most);
}

uint64_t budget_configured(void) { return mm_load_relaxed(&configured_bytes); }
uint64_t budget_limit(void) { return mm_load_relaxed(&limit_bytes); }
uint64_t budget_used(void) { return mm_load_relaxed(&used_bytes); }

bool budget_take_keeping(uint64_t bytes, uint64_t keep_bytes)
{
    uint64_t used = mm_load_relaxed(&used_bytes), limit = mm_load_relaxed(&limit_bytes);
    if (keep_bytes > limit)
        return false;
    limit -= keep_bytes;
    do {
        if (used > limit || bytes > limit - used)
            return false;
    } while (!__atomic_compare_exchange_n(&used_bytes, &used, used + bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

bool budget_take(uint64_t bytes) { return budget_take_keeping(bytes, 0); }
void budget_give(uint64_t bytes) { mm_sub_relaxed(&used_bytes, bytes); }
