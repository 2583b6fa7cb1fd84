/* limit.c — another bound for a collected heap: the sizes that follow from it. See cycle.c for the sizes at open, grant.c for the bound itself.
 *
 * Only while no collection is under way: stacks and survivors are measured when one begins. The heap's worker. */
#include "daemon/config.h"
#include "daemon/gc/gc.h"

static uint64_t within(uint64_t n, uint64_t least, uint64_t most) { return n > most ? most : n < least ? least : n; }

void gc_limit_changed(struct gc *gc)
{
    const struct heap *heap = gc->heap;
    uint64_t limit = heap->limit_blocks, quarter = limit / 4 ? limit / 4 : 1;
    uint64_t most = heap->young_max_bytes ? heap->young_max_bytes : CONFIG(young_max);
    uint64_t least = heap->young_min_bytes ? heap->young_min_bytes : CONFIG(young_min);
    if (gc->fixed)
        most = least = 0;
    gc->young_max = (uint32_t)within(most >> MM_BLOCK_SHIFT, 1, quarter);
    gc->young_min = (uint32_t)within(least >> MM_BLOCK_SHIFT, 1, gc->young_max);
    gc->young_blocks = (uint32_t)within(gc->young_blocks, gc->young_min, gc->young_max);
    gc->start_blocks = within(gc->start_blocks, 1, limit * 3 / 4);       /* the next marking measures anew */
}
