/* census.c — see census.h. */
#include "daemon/heap/census.h"

#include "daemon/gc/gc.h"
#include "shm/atomic.h"
#include "shm/object.h"
#include "shm/pool.h"

static const char *run_at(const struct heap *heap, uint32_t block) { return heap->view.base + ((uint64_t)block << MM_BLOCK_SHIFT); }

/* The only read of a run header: word by word, then judged. */
static struct mm_run run_copy(const char *at)
{
    const struct mm_run *run = (const struct mm_run *)at;
    struct mm_run copy = { .magic = mm_load_relaxed(&run->magic), .use = mm_load_relaxed(&run->use), .blocks = mm_load_relaxed(&run->blocks),
                           .owner = mm_load_relaxed(&run->owner), .generation = mm_load_relaxed(&run->generation),
                           .used_bytes = mm_load_relaxed(&run->used_bytes) };
    return copy;
}

/* How many of `blocks` blocks from `block` on are granted, without a gap. */
static uint32_t run_granted(const struct heap *heap, uint32_t block, uint32_t blocks)
{
    uint32_t granted = 0;
    while (granted < blocks && heap_block_state(heap, (uint64_t)block + granted) == MM_BLOCK_ARENA)
        granted++;
    return granted;
}

/* Where the bump cursor of the run's owner stands, as an offset; 0 if it is not in this run, or belongs to another generation. */
static uint64_t run_cursor(const struct heap *heap, const struct mm_run *run, uint64_t start, uint64_t end)
{
    uint64_t cursor, off;
    if (run->use == MM_RUN_THREAD) {
        if (run->owner >= heap->slot_count)
            return 0;
        struct mm_slot *slot = mm_control_slot(heap->control, run->owner);
        cursor = run->generation ? mm_load_relaxed(&slot->old_cursor) : mm_load_relaxed(&slot->young_cursor);
    } else {
        struct mm_space *space = mm_control_space(heap->control, heap->slot_count, run->owner);
        cursor = run->use == MM_RUN_TYPED ? mm_load_relaxed(&space->typed_cursor) : mm_load_relaxed(&space->raw_cursor);
    }
    return mm_view_off(&heap->view, cursor, &off) && off >= start && off <= end ? off : 0;
}

static bool run_current_generation(const struct heap *heap, const struct mm_run *run)
{
    if (run->use == MM_RUN_THREAD)
        return true;
    if (run->owner >= heap->space_count)
        return false;
    struct mm_space *space = mm_control_space(heap->control, heap->slot_count, run->owner);
    return mm_load_relaxed(&space->kind) == MM_SPACE_ARENA && mm_load_relaxed(&space->generation) == run->generation;
}

/* An arena's or a thread's run: bytes up to the cursor; with types, its objects are walked next. */
static void count_bump_run(struct census *census, const struct mm_run *run, uint32_t block)
{
    const struct heap *heap = census->heap;
    uint64_t start = (uint64_t)block << MM_BLOCK_SHIFT, whole = (uint64_t)run->blocks << MM_BLOCK_SHIFT;
    uint64_t first = start + MM_RUN_HEADER_BYTES, end = first;
    if (!run_current_generation(heap, run))
        return;                                 /* reset, and not yet in use again */
    if (run->used_bytes >= MM_RUN_HEADER_BYTES && run->used_bytes <= whole)
        end = start + run->used_bytes;
    else if (run->used_bytes == 0)
        end = run_cursor(heap, run, first, start + whole);
    if (end <= first)
        return;
    if (run->use == MM_RUN_THREAD)
        census->object_bytes += end - first;
    else
        census->arena_bytes += end - first;
    if (run->use == MM_RUN_RAW)
        return;
    uint64_t word = mm_load_relaxed((const uint64_t *)(heap->view.base + first));
    if (mm_object_extent(mm_header_bytes(word)) > MM_LARGE_BYTES && mm_object_extent(mm_header_bytes(word)) >= end - first)
        census->large_bytes += end - first;     /* a run of its own */
    if (census->type) {
        census->at = first;
        census->end = end;
        census->young = false;
    }
}

static void count_pool_run(struct census *census, const struct mm_run *run, uint32_t block)
{
    const struct mm_pool_page *page = (const struct mm_pool_page *)(run_at(census->heap, block) + MM_POOL_TABLE_OFF);
    uint64_t bytes = 0, objects = 0, whole = (uint64_t)run->blocks << MM_BLOCK_SHIFT;
    for (uint32_t i = 0; i < mm_pool_pages(run->blocks); i++) {
        uint8_t kind = mm_load_relaxed(&page[i].kind), size_class = mm_load_relaxed(&page[i].size_class);
        if (kind == MM_PAGE_SLAB && size_class < MM_POOL_CLASSES) {
            uint16_t used = mm_load_relaxed(&page[i].used);
            bytes += (uint64_t)used * mm_pool_class_bytes(size_class);
            objects += used;
        } else if (kind == MM_PAGE_LARGE) {
            bytes += (uint64_t)mm_load_relaxed(&page[i].pages) * MM_PAGE_BYTES;
            objects++;
        }
    }
    census->pool_bytes += bytes < whole ? bytes : whole;
    census->pool_objects += objects;
}

/* ---- Blocks of a collected heap ---- */

static uint64_t header_at(const struct heap *heap, uint64_t off) { return mm_load_relaxed((const uint64_t *)(heap->view.base + off)); }

/* Extent of the object at `off`, if a header that makes sense stands there: at most `room`. Else 0. */
static uint64_t extent_at(const struct heap *heap, uint64_t off, uint64_t room)
{
    uint64_t word = header_at(heap, off), extent = mm_object_extent(mm_header_bytes(word));
    return mm_header_flags(word) & MM_BORN && extent <= room ? extent : 0;
}

/* A block in which young objects are born is used up to the cursor of the thread that fills it, or as a whole when that has gone on. */
static uint64_t nursery_used(const struct heap *heap, uint32_t block)
{
    uint64_t start = gc_off(block), cursor;
    uint32_t slots = mm_load_relaxed(&heap->control->slots_high);
    if (!extent_at(heap, start, MM_BLOCK_BYTES))
        return 0;                               /* nothing has been put into it */
    for (uint32_t i = 0; i < slots && i < heap->slot_count; i++)
        if (mm_view_off(&heap->view, mm_load_relaxed(&mm_control_slot(heap->control, i)->young_cursor), &cursor) && cursor > start &&
            cursor <= start + MM_BLOCK_BYTES)
            return cursor - start;
    return MM_BLOCK_BYTES;
}

/* A block of survivors is filled from its start: up to the end of the last one. */
static uint64_t survivor_used(const struct heap *heap, uint32_t block)
{
    const struct gc_block *side = gc_block(heap->gc, block);
    uint32_t granule = GC_BLOCK_GRANULES - 1;
    if (!GC_BIT(side, start, granule) && !gc_start_before(side, false, granule, &granule))
        return 0;
    uint64_t last = granule * MM_GRANULE_BYTES;
    return last + extent_at(heap, gc_off(block) + last, MM_BLOCK_BYTES - last);
}

/* Of objects, as the last marking found and what came since. */
static uint64_t old_used(const struct gc_block *side) { return side->flags & GC_UNSWEPT ? side->live_bytes : side->used_bytes; }

static void count_large(struct census *census, uint32_t block)
{
    const struct gc_block *side = gc_block(census->heap->gc, block);
    uint64_t extent = extent_at(census->heap, gc_off(block), (uint64_t)side->large_blocks << MM_BLOCK_SHIFT);
    census->object_bytes += extent;
    census->large_bytes += extent;
}

/* Types: what starts where is known. */
static void walk_by_bits(struct census *census, uint32_t block)
{
    census->by_bits = census->type ? block + 1 : 0;
    census->granule = 0;
}

/* Types: from header to header. */
static void walk_young(struct census *census, uint32_t block)
{
    if (!census->type)
        return;
    census->at = gc_off(block);
    census->end = census->at + MM_BLOCK_BYTES;
    census->young = true;
    census->epoch = census->heap->gc->epoch;
}

static void count_collected_block(struct census *census, uint32_t block)
{
    const struct heap *heap = census->heap;
    switch (heap->gc->space[block]) {
    case GC_YOUNG:
        if (heap_block_state(heap, block) == MM_BLOCK_SURVIVOR) {
            census->object_bytes += survivor_used(heap, block);
            walk_by_bits(census, block);
        } else {
            census->object_bytes += nursery_used(heap, block);
            walk_young(census, block);
        }
        break;
    case GC_OLD:
    case GC_EVAC:
        census->object_bytes += old_used(gc_block(heap->gc, block));
        walk_by_bits(census, block);
        break;
    case GC_LARGE:
        if (gc_block(heap->gc, block)->large_blocks) {
            count_large(census, block);
            walk_by_bits(census, block);
        }
        break;
    default:
        break;
    }
}

/* One run, or blocks that make no sense; moves on behind what it looked at, so that no header makes it look twice. Returns its cost in
 * steps. */
static unsigned next_run(struct census *census)
{
    struct heap *heap = census->heap;
    uint32_t block = census->block++;
    if (heap_block_state(heap, block) != MM_BLOCK_ARENA) {
        if (heap->gc)
            count_collected_block(census, block);
        return 1;
    }
    struct mm_run run = run_copy(run_at(heap, block));
    bool sane = run.magic == MM_RUN_MAGIC && run.use < MM_RUN_USES && run.blocks > 0;
    uint32_t granted = run_granted(heap, block, sane ? run.blocks : 1);
    census->block = block + granted;
    if (!sane || granted < run.blocks || run.use == MM_RUN_SPARE)
        census->spare_bytes += (uint64_t)granted << MM_BLOCK_SHIFT;     /* nothing that we know of is in it */
    else if (run.use == MM_RUN_POOL)
        count_pool_run(census, &run, block);
    else
        count_bump_run(census, &run, block);
    return granted + (run.use == MM_RUN_POOL ? MM_POOL_SPAN_PAGES : 1);
}

static void count_object(struct census *census, uint64_t word)
{
    uint16_t type = mm_header_type(word);
    if (mm_header_flags(word) & MM_FILLER || type >= census->type_count)
        return;
    census->type[type].objects++;
    census->type[type].bytes += mm_header_bytes(word);
    census->type[type].held_bytes += mm_object_extent(mm_header_bytes(word));
}

/* What a thread has put into the holes of an old block since they were last walked (gc/remset.c): no start bits name it yet. Each hole was zero when
 * it was granted, so a header that is none ends what was put there. */
static void count_tails(struct census *census, uint32_t block)
{
    const struct gc *gc = census->heap->gc;
    const struct gc_grant *grant = gc->grant, *end = gc->grant + gc->grants;
    while (grant < end && grant->block != block)
        grant++;
    if (grant == end)
        return;
    for (uint32_t from, to = grant->walked / MM_GRANULE_BYTES; gc_bits_run(grant->holes, to, &from, &to);) {
        uint64_t at = gc_off(block) + from * MM_GRANULE_BYTES, behind = gc_off(block) + to * MM_GRANULE_BYTES;
        for (uint64_t extent; at < behind && (extent = extent_at(census->heap, at, behind - at)); at += extent)
            count_object(census, header_at(census->heap, at));
    }
}

/* The next object that the start bits of a block name. The bits are right at any time but in a pause, and zero when the block is free. */
static void next_by_bits(struct census *census)
{
    const struct heap *heap = census->heap;
    uint32_t block = census->by_bits - 1, word = census->granule / 64;
    const struct gc_block *side = gc_block(heap->gc, block);
    bool by_marks = gc_by_marks(side);
    uint64_t bits = word < GC_BLOCK_GRANULES / 64 ? gc_starts(side, by_marks, word) & UINT64_MAX << (census->granule % 64) : 0;
    while (!bits && ++word < GC_BLOCK_GRANULES / 64)
        bits = gc_starts(side, by_marks, word);
    if (!bits) {
        census->by_bits = 0;
        if (side->flags & GC_GRANTED)
            count_tails(census, block);
        return;
    }
    uint32_t granule = word * 64 + (uint32_t)__builtin_ctzll(bits);
    uint64_t off = gc_off(block) + granule * MM_GRANULE_BYTES, header = header_at(heap, off);
    uint64_t room = side->large_blocks ? (uint64_t)side->large_blocks << MM_BLOCK_SHIFT : MM_BLOCK_BYTES - granule * MM_GRANULE_BYTES;
    if (mm_header_flags(header) & MM_BORN && mm_object_extent(mm_header_bytes(header)) <= room)
        count_object(census, header);
    census->granule = granule + 1;
}

static void next_object(struct census *census)
{
    uint64_t word = mm_load_relaxed((const uint64_t *)(census->heap->view.base + census->at));
    uint64_t extent = mm_object_extent(mm_header_bytes(word));
    if (!(mm_header_flags(word) & MM_BORN) || extent > census->end - census->at) {
        census->at = census->end;               /* the client resets or writes here just now, or lies */
        return;
    }
    count_object(census, word);
    census->at += extent;
}

static void count_slots_and_spaces(struct census *census)
{
    struct heap *heap = census->heap;
    uint32_t slots = mm_load_relaxed(&heap->control->slots_high), spaces = mm_load_relaxed(&heap->control->spaces_high);
    for (uint32_t i = 0; i < slots && i < heap->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        census->threads += mm_load_relaxed(&slot->state) != MM_SLOT_FREE && mm_load_relaxed(&slot->tid);     /* the slot of static data has none */
        census->waits += mm_load_relaxed(&slot->waits);
        census->wait_ns += mm_load_relaxed(&slot->wait_ns);
    }
    for (uint32_t i = 0; i < spaces && i < heap->space_count; i++) {
        uint32_t kind = mm_load_relaxed(&mm_control_space(heap->control, heap->slot_count, i)->kind);
        census->arenas += kind == MM_SPACE_ARENA;
        census->pools += kind == MM_SPACE_POOL;
    }
}

/* What the collector knows without a walk. */
static void count_collector(struct census *census)
{
    const struct gc *gc = census->heap->gc;
    census->live_bytes = gc->live_bytes;
    census->nursery_bytes = (uint64_t)gc->young_blocks << MM_BLOCK_SHIFT;
    census->young_bytes = (uint64_t)gc->young_count << MM_BLOCK_SHIFT;
    census->old_bytes = gc_old_used_bytes(gc);
}

static bool whole(const struct census *census, uint32_t blocks)
{
    return census->at == census->end && !census->by_bits && census->block >= blocks;
}

bool census_slice(struct census *census, unsigned steps)
{
    const struct gc *gc = census->heap->gc;
    uint32_t blocks = census->heap->mapped_chunks * MM_CHUNK_BLOCKS;
    if (gc && gc_in_pause(gc))
        return false;
    if (gc && census->young && census->epoch != gc->epoch)
        census->at = census->end;               /* what was there has moved */
    if (census->block == 0 && census->at == census->end)
        count_slots_and_spaces(census);
    for (unsigned done = 0; done < steps && !whole(census, blocks);) {
        if (census->by_bits) {
            next_by_bits(census);
            done++;
        } else if (census->at < census->end) {
            next_object(census);
            done++;
        } else {
            done += next_run(census);
        }
    }
    if (!whole(census, blocks))
        return false;
    census->used_bytes = census->arena_bytes + census->object_bytes + census->pool_bytes;
    if (gc)
        count_collector(census);
    return true;
}
