/* heap.c — a heap's address space, blocks and accounts. See heap.h for threads and life. */
#define _GNU_SOURCE
#include "daemon/heap/heap.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/gc/gc.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/guard.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "proto/message.h"
#include "proto/packet.h"
#include "shm/memfd.h"
#include "shm/ring.h"

#define SMALL_HEAP_BYTES     ((uint64_t)64 << 20)   /* limits up to here: 2 MiB segments only */
#define SMALL_START_BYTES    ((uint64_t)8 << 20)    /* the start of every heap: 2 MiB segments */
#define LARGE_HEAP_BYTES     ((uint64_t)2 << 30)    /* from here on 256 MiB segments, once it has grown to one */
#define CLEAN_BLOCKS         32u                    /* zeroed in one slice: about 200 us */
#define POPULATE_BLOCKS     16u         /* longest run that is brought in at once */
#define SEGMENTS_IN_FLIGHT   16u                    /* SEGMENT packets that a client has not read yet */

/* ---- States and sums ---- */

static void granted_add(struct heap *heap, int64_t blocks)
{
    uint64_t granted = heap->granted_blocks + (uint64_t)blocks;
    mm_store_relaxed(&heap->granted_blocks, granted);
    if (granted > heap->peak_blocks)
        mm_store_relaxed(&heap->peak_blocks, granted);
    mm_add_relaxed(&heap->user->granted_blocks, (uint64_t)blocks);
}

void heap_block_set_state(struct heap *heap, uint32_t block, enum mm_block_state to)
{
    struct chunk *chunk = &heap->chunk[block / MM_CHUNK_BLOCKS];
    uint32_t i = block % MM_CHUNK_BLOCKS, bit = 1u << i;
    assert(mm_block_move_allowed(chunk->state[i], to));
    bool was_free = chunk->free & bit, was_clean = chunk->clean & bit, was_absent = chunk->state[i] == MM_BLOCK_ABSENT;
    bool is_clean = to == MM_BLOCK_ZEROED, is_free = is_clean || to == MM_BLOCK_FREE;
    chunk->state[i] = (uint8_t)to;
    chunk->free = is_free ? chunk->free | bit : chunk->free & ~bit;
    chunk->clean = is_clean ? chunk->clean | bit : chunk->clean & ~bit;
    heap->dirty_blocks += (uint32_t)(is_free && !is_clean) - (uint32_t)(was_free && !was_clean);
    if (is_free && block / MM_CHUNK_BLOCKS < heap->first_free)
        heap->first_free = block / MM_CHUNK_BLOCKS;
    if (is_free != was_free && !was_absent)
        granted_add(heap, is_free ? -1 : 1);
}

void heap_publish(struct heap *heap)
{
    mm_store_relaxed(&heap->control->granted_bytes, heap->granted_blocks << MM_BLOCK_SHIFT);
    pressure_update(heap);
}

static void publish_limit(void *argument)
{
    struct heap *heap = argument;
    mm_store_relaxed(&heap->control->limit_bytes, heap->limit_blocks << MM_BLOCK_SHIFT);
    heap_publish(heap);
}

bool heap_limit_set(struct heap *heap, uint64_t blocks)
{
    if (heap->granted_blocks > blocks)
        return false;
    mm_store_relaxed(&heap->limit_blocks, blocks);
    for (uint32_t c = heap->mapped_chunks; c-- > 0 && heap->resident_blocks > blocks;)
        heap_trim_chunk(heap, c);
    if (heap->gc)
        gc_limit_changed(heap->gc);
    (void)guard_run(publish_limit, heap);       /* where that page cannot be had, the next service condemns the heap */
    return true;
}

static uint32_t bits_below(uint32_t n) { return n == 32 ? UINT32_MAX : (1u << n) - 1; }

/* Blocks that a grant of `block` makes resident: itself, or its whole chunk where pages are huge. */
static uint32_t resident_mask_for(uint32_t bits)
{
    return segment_huge_pages() && bits ? UINT32_MAX : bits;
}

static void chunk_set_resident(struct heap *heap, struct chunk *chunk, uint32_t resident)
{
    int64_t more = __builtin_popcount(resident) - __builtin_popcount(chunk->resident);
    chunk->resident = resident;
    chunk->segment->charged_bytes += (uint64_t)(more * MM_BLOCK_BYTES);
    mm_store_relaxed(&heap->resident_blocks, heap->resident_blocks + (uint64_t)more);
}

/* ---- Segments ---- */

static unsigned next_segment_size(const struct heap *heap)
{
    uint64_t limit = heap->limit_blocks << MM_BLOCK_SHIFT, mapped = (uint64_t)heap->mapped_chunks << MM_CHUNK_SHIFT;
    uint64_t room = heap->view.bytes - mapped;
    unsigned size = limit <= SMALL_HEAP_BYTES || mapped < SMALL_START_BYTES ? 0 : limit >= LARGE_HEAP_BYTES && mapped >= MM_SEGMENT_LARGE ? 2 : 1;
    while (size > 0 && segment_size_bytes(size) > room)
        size--;
    return size;
}

/* Room in the table of chunks for a segment of `bytes` more. */
static bool chunks_reserve(struct heap *heap, uint64_t bytes)
{
    struct chunk *grown = realloc(heap->chunk, (heap->mapped_chunks + (bytes >> MM_CHUNK_SHIFT)) * sizeof *grown);
    if (grown)
        heap->chunk = grown;
    return grown != NULL;
}

/* Puts a lent segment at the end of what is mapped; the table has room. */
static void segment_attach(struct heap *heap, struct segment *segment)
{
    uint32_t chunks = (uint32_t)(segment->bytes >> MM_CHUNK_SHIFT), first = heap->mapped_chunks;
    mm_store_relaxed(&heap->mapped_chunks, first + chunks);
    segment->chunk = first;
    segment->next = heap->segments;
    heap->segments = segment;
    uint64_t warm = segment->charged_bytes >> MM_BLOCK_SHIFT;           /* its first blocks */
    mm_store_relaxed(&heap->resident_blocks, heap->resident_blocks + warm);
    for (uint32_t c = first; c < heap->mapped_chunks; c++) {
        uint32_t here = warm < MM_CHUNK_BLOCKS ? (uint32_t)warm : MM_CHUNK_BLOCKS;
        heap->chunk[c] = (struct chunk){ .segment = segment, .resident = bits_below(here) };
        for (uint32_t b = 0; b < MM_CHUNK_BLOCKS; b++)
            heap_block_set_state(heap, c * MM_CHUNK_BLOCKS + b, MM_BLOCK_ZEROED);
        warm -= here;
    }
}

/* What a warm segment has beyond the bound goes back to the system before the client sees it; not where pages are huge. */
static void segment_cut(const struct heap *heap, struct segment *segment)
{
    uint64_t room = heap->limit_blocks > heap->resident_blocks ? heap->limit_blocks - heap->resident_blocks : 0, keep = room << MM_BLOCK_SHIFT;
    if (segment->charged_bytes <= keep || segment_huge_pages() || os.memfd_punch(segment->fd, keep, segment->bytes - keep) < 0)
        return;
    budget_give(segment->charged_bytes - keep);
    segment->charged_bytes = keep;
}

/* Tells the client; its descriptor is an open file description of its own, so that ours can prove that it is gone. */
static int segment_send(struct heap *heap, const struct segment *segment)
{
    struct mm_message message = { .id = MM_MSG_SEGMENT };
    message.as.segment.chunk = heap->mapped_chunks;
    message.as.segment.chunks = (uint32_t)(segment->bytes >> MM_CHUNK_SHIFT);
    int fd = os.memfd_reopen(segment->fd);
    while ((fd == -EMFILE || fd == -ENFILE) && segment_shed_descriptor())
        fd = os.memfd_reopen(segment->fd);
    if (fd < 0)
        return fd;
    int r = mm_packet_send_message(heap->socket, &message, &fd, 1);
    close(fd);
    return r;
}

/* May another descriptor be put on the way? The kernel knows whether the client has read the earlier ones. */
static bool in_flight_room(struct heap *heap)
{
    int unread = 0;
    if (heap->segments_in_flight && ioctl(heap->socket, SIOCOUTQ, &unread) == 0 && unread == 0)
        heap->segments_in_flight = 0;
    return heap->segments_in_flight < SEGMENTS_IN_FLIGHT;
}

/* Maps one more segment on both sides. 0, a positive morphmem error number, or HEAP_LATER_MAIL. */
static int heap_grow(struct heap *heap)
{
    int error;
    unsigned size = next_segment_size(heap);
    uint64_t mapped = (uint64_t)heap->mapped_chunks << MM_CHUNK_SHIFT;
    if (heap->gone)
        return -MORPH_ELOST;
    if (mapped >= heap->view.bytes)
        return -MORPH_ENOMEM;
    if (!in_flight_room(heap))
        return HEAP_LATER_MAIL;
    if (!chunks_reserve(heap, segment_size_bytes(size)))
        return -MORPH_EMEMORY;
    struct segment *segment = segment_lend(size, heap->owner, heap->view.base + mapped, &error);
    if (!segment)
        return error;
    segment_cut(heap, segment);
    int r = segment_send(heap, segment);
    if (r < 0) {
        segment_return(segment);
        if (r == -EMFILE || r == -ENFILE)
            return -MORPH_EFILES;
        if (r != -EAGAIN && r != -ETOOMANYREFS && r != -ENOBUFS) {
            heap->gone = true;          /* a collection would ask for every object that it moves, and each time make a segment in vain */
            return -MORPH_ELOST;
        }
        heap->segments_in_flight = SEGMENTS_IN_FLIGHT;
        return HEAP_LATER_MAIL;
    }
    heap->segments_in_flight++;
    segment_attach(heap, segment);
    return 0;
}

/* ---- Runs of free blocks ---- */

/* Memory of those of `bits` that are free goes back to the system; a whole chunk at a time where pages are huge. */
static void chunk_trim(struct heap *heap, uint32_t c, uint32_t bits)
{
    struct chunk *chunk = &heap->chunk[c];
    uint32_t spare = chunk->free & chunk->resident & bits;
    if (!spare || (segment_huge_pages() && spare != UINT32_MAX))
        return;
    uint64_t off = (uint64_t)(c - chunk->segment->chunk) << MM_CHUNK_SHIFT;
    for (uint32_t b = 0, n; b < MM_CHUNK_BLOCKS; b += n) {
        bool punch = spare >> b & 1;
        for (n = 1; b + n < MM_CHUNK_BLOCKS && (spare >> (b + n) & 1) == punch; n++)
            ;
        if (!punch || os.memfd_punch(chunk->segment->fd, off + (uint64_t)b * MM_BLOCK_BYTES, (uint64_t)n * MM_BLOCK_BYTES) < 0)
            continue;
        for (uint32_t i = b; i < b + n; i++)
            if (heap_block_state(heap, c * MM_CHUNK_BLOCKS + i) == MM_BLOCK_FREE)
                heap_block_set_state(heap, c * MM_CHUNK_BLOCKS + i, MM_BLOCK_ZEROED);
        chunk_set_resident(heap, chunk, chunk->resident & ~(bits_below(n) << b));
        budget_give((uint64_t)n << MM_BLOCK_SHIFT);
    }
}

struct run { uint32_t block, count; };

/* The first free run of `want` blocks, else the longest of at least `min`; count 0: none. `resident`: of blocks that cost the budget nothing. */
static struct run find_run_among(const struct heap *heap, uint32_t want, uint32_t min, bool resident)
{
    struct run best = { 0, 0 }, here = { 0, 0 };
    for (uint32_t c = heap->first_free; c < heap->mapped_chunks; c++) {
        uint32_t free = heap->chunk[c].free & (resident ? heap->chunk[c].resident : UINT32_MAX);
        for (uint32_t b = 0; b < MM_CHUNK_BLOCKS; b++) {
            if (!(free >> b)) {
                here.count = 0;
                break;
            }
            if (!(free >> b & 1)) {
                here.count = 0;
                continue;
            }
            if (here.count++ == 0)
                here.block = c * MM_CHUNK_BLOCKS + b;
            if (here.count == want)
                return here;
            if (here.count > best.count)
                best = here;
        }
    }
    return best.count >= min ? best : (struct run){ 0, 0 };
}

static struct run find_run(const struct heap *heap, uint32_t want, uint32_t min) { return find_run_among(heap, want, min, false); }

/* Collections will read and write these blocks here: better all pages at once than a fault for each, in a pause. Not for long runs, whose pages
 * the client may never come to. */
static void blocks_populate(struct heap *heap, uint32_t chunk, uint32_t fresh)
{
    for (uint32_t b = 0, n; fresh >> b; b += n) {
        b += (uint32_t)__builtin_ctz(fresh >> b);
        n = fresh >> b == UINT32_MAX ? 32 : (uint32_t)__builtin_ctz(~(fresh >> b));
        (void)mm_populate(heap->view.base + ((uint64_t)chunk << MM_CHUNK_SHIFT) + b * MM_BLOCK_BYTES, (uint64_t)n * MM_BLOCK_BYTES);
        if (b + n == MM_CHUNK_BLOCKS)
            break;
    }
}

/* Takes from the budget; the pool gives way. */
static bool budget_obtain(const struct heap *heap, uint64_t bytes)
{
    uint64_t keep = balance_keep_bytes(heap, bytes);
    if (budget_take_keeping(bytes, keep))
        return true;
    segment_shed(bytes + keep);
    return budget_take_keeping(bytes, keep);
}

/* The blocks of a run that lie in chunk `c`. */
static uint32_t run_bits(struct run run, uint32_t c)
{
    uint32_t first = c * MM_CHUNK_BLOCKS, end = run.block + run.count;
    uint32_t from = run.block > first ? run.block - first : 0, to = end > first ? end - first : 0;
    return from >= MM_CHUNK_BLOCKS ? 0 : bits_below(to < MM_CHUNK_BLOCKS ? to : MM_CHUNK_BLOCKS) & ~bits_below(from);
}

static uint32_t run_last_chunk(struct run run) { return (run.block + run.count - 1) / MM_CHUNK_BLOCKS; }

/* Bytes that the run makes resident. */
static uint64_t run_missing_bytes(const struct heap *heap, struct run run)
{
    uint64_t blocks = 0;
    for (uint32_t c = run.block / MM_CHUNK_BLOCKS; c <= run_last_chunk(run); c++)
        blocks += (uint64_t)__builtin_popcount(resident_mask_for(run_bits(run, c)) & ~heap->chunk[c].resident);
    return blocks << MM_BLOCK_SHIFT;
}

/* Free blocks outside of the run give way, where what it makes resident would be beyond the heap's bound. */
static void run_make_room(struct heap *heap, struct run run)
{
    uint64_t missing = run_missing_bytes(heap, run) >> MM_BLOCK_SHIFT;
    for (uint32_t c = heap->mapped_chunks; c-- > 0 && heap->resident_blocks + missing > heap->limit_blocks;)
        chunk_trim(heap, c, ~run_bits(run, c));
}

/* Charges the budget for what the run makes resident; false: there is no room, in the budget or within the heap's bound, for *ret_bytes. */
static bool run_make_resident(struct heap *heap, struct run run, uint64_t *ret_bytes)
{
    uint64_t missing = *ret_bytes = run_missing_bytes(heap, run);
    if (missing == 0)
        return true;
    if (heap->resident_blocks + (missing >> MM_BLOCK_SHIFT) > heap->limit_blocks && !segment_huge_pages())
        return false;
    if (!budget_obtain(heap, missing))
        return false;
    for (uint32_t c = run.block / MM_CHUNK_BLOCKS; c <= run_last_chunk(run); c++) {
        uint32_t resident = heap->chunk[c].resident | resident_mask_for(run_bits(run, c));
        if (resident == heap->chunk[c].resident)
            continue;
        if (heap->gc && run.count <= POPULATE_BLOCKS)
            blocks_populate(heap, c, resident & ~heap->chunk[c].resident);
        chunk_set_resident(heap, &heap->chunk[c], resident);
    }
    return true;
}

/* The run, made resident: as it is, or where that costs nothing, or cut to the least, for which other free blocks give way. 0, MORPH_EBUDGET
 * (positive), or HEAP_LATER_BUDGET if a thread waits for it and others can give. */
static int run_afford(struct heap *heap, const struct heap_want *ask, struct run *run)
{
    uint64_t bytes;
    if (run_make_resident(heap, *run, &bytes))
        return 0;
    struct run here = find_run_among(heap, run->count, ask->min, true);
    if (here.count) {
        *run = here;
        return 0;
    }
    run->count = ask->min;
    run_make_room(heap, *run);
    if (run_make_resident(heap, *run, &bytes))
        return 0;
    return heap->asking && balance_short(heap, bytes) ? HEAP_LATER_BUDGET : -MORPH_EBUDGET;
}

/* A run of at least `min`, growing the heap where that is better or needed. */
static int obtain_run(struct heap *heap, const struct heap_want *ask, uint32_t want, struct run *ret)
{
    *ret = find_run(heap, want, want);
    while (!ret->count && (uint64_t)heap->mapped_chunks * MM_CHUNK_BLOCKS < heap->limit_blocks) {
        int r = heap_grow(heap);
        if (r < 0)
            return r;
        if (r)
            break;                      /* a smaller run may still do */
        *ret = find_run(heap, want, want);
    }
    if (!ret->count)
        *ret = find_run(heap, want, ask->min);
    while (!ret->count) {               /* fragmented: on into the rest of the reserve */
        int r = heap_grow(heap);
        if (r)
            return r;
        *ret = find_run(heap, want, ask->min);
    }
    return 0;
}

/* Zeroes the dirty blocks of a run, as many as fit a slice; true if none is left. */
static bool run_clean(struct heap *heap, struct run run)
{
    unsigned cleaned = 0;
    for (uint32_t b = run.block; b < run.block + run.count; b++) {
        if (heap_block_state(heap, b) != MM_BLOCK_FREE)
            continue;
        if (cleaned++ == CLEAN_BLOCKS)
            return false;
        memset(heap->view.base + ((uint64_t)b << MM_BLOCK_SHIFT), 0, MM_BLOCK_BYTES);
        heap_block_set_state(heap, b, MM_BLOCK_ZEROED);
    }
    return true;
}

int heap_obtain(struct heap *heap, struct heap_want *ask, uint32_t *ret_block, uint32_t *ret_count)
{
    uint64_t left = heap_limit_left(heap);
    if (left < ask->min)
        return -MORPH_ENOMEM;
    uint64_t share = CONFIG(bytes_per_user) >> MM_BLOCK_SHIFT, his = mm_load_relaxed(&heap->user->granted_blocks);
    if (share && (his >= share || share - his < ask->min))
        return -MORPH_EQUOTA;
    if (share && share - his < left)
        left = share - his;
    struct run run;
    int r = obtain_run(heap, ask, ask->want < left ? ask->want : (uint32_t)left, &run);
    if (r)
        return r;
    if ((r = run_afford(heap, ask, &run)))
        return r;
    if (ask->zeroed && !run_clean(heap, run))
        return HEAP_LATER_WORK;
    ask->were_zero = true;
    for (uint32_t b = run.block; b < run.block + run.count; b++) {
        ask->were_zero &= heap_block_state(heap, b) == MM_BLOCK_ZEROED;
        heap_block_set_state(heap, b, ask->state);
    }
    while (heap->first_free < heap->mapped_chunks && !heap->chunk[heap->first_free].free)
        heap->first_free++;
    *ret_block = run.block;
    *ret_count = run.count;
    return 0;
}

int heap_grant_run(struct heap *heap, uint32_t want, uint32_t min, uint32_t *ret_block, uint32_t *ret_count)
{
    int r = heap_obtain(heap, &(struct heap_want){ .want = want, .min = min, .state = MM_BLOCK_ARENA, .zeroed = true }, ret_block, ret_count);
    if (r == 0)
        heap_publish(heap);
    return r;
}

bool heap_take_back(struct heap *heap, uint32_t block, uint32_t count)
{
    uint64_t end = (uint64_t)block + count;
    if (count == 0 || end > (uint64_t)heap->mapped_chunks * MM_CHUNK_BLOCKS)
        return false;
    for (uint32_t b = block; b < end; b++)
        if (heap_block_state(heap, b) != MM_BLOCK_ARENA)
            return false;
    for (uint32_t b = block; b < end; b++)
        heap_block_set_state(heap, b, MM_BLOCK_FREE);
    heap_publish(heap);
    mm_store_relaxed(&heap->given_back_blocks, heap->given_back_blocks + count);
    heap->trim_chunk = 0;
    return true;
}

/* ---- Housekeeping ---- */

bool heap_warm_step(struct heap *heap, uint32_t blocks)
{
    uint32_t warm = 0;
    if (segment_huge_pages() || heap->resident_blocks >= heap->limit_blocks)
        return false;
    for (uint32_t c = heap->first_free; c < heap->mapped_chunks && warm < blocks; c++) {
        struct chunk *chunk = &heap->chunk[c];
        uint32_t cold = chunk->free & ~chunk->resident, before = cold ? bits_below((uint32_t)__builtin_ctz(cold)) : UINT32_MAX;
        warm += (uint32_t)__builtin_popcount(chunk->free & before);
        if (!cold || warm >= blocks)
            continue;
        if (!budget_take_keeping(MM_BLOCK_BYTES, balance_keep_bytes(heap, MM_BLOCK_BYTES)))
            return false;
        uint32_t next = cold & -cold;
        blocks_populate(heap, c, next);
        chunk_set_resident(heap, chunk, chunk->resident | next);
        return true;
    }
    return false;
}

bool heap_clean_step(struct heap *heap)
{
    if (!heap->dirty_blocks)
        return false;
    for (uint32_t c = heap->first_free; c < heap->mapped_chunks; c++) {
        uint32_t dirty = heap->chunk[c].free & ~heap->chunk[c].clean;
        if (!dirty)
            continue;
        uint32_t block = c * MM_CHUNK_BLOCKS + (uint32_t)__builtin_ctz(dirty);
        memset(heap->view.base + ((uint64_t)block << MM_BLOCK_SHIFT), 0, MM_BLOCK_BYTES);
        heap_block_set_state(heap, block, MM_BLOCK_ZEROED);
        return true;
    }
    return false;
}

void heap_trim_chunk(struct heap *heap, uint32_t chunk) { chunk_trim(heap, chunk, UINT32_MAX); }

bool heap_trim_step(struct heap *heap)
{
    if (heap->trim_chunk >= heap->mapped_chunks)
        return false;
    chunk_trim(heap, heap->trim_chunk++, UINT32_MAX);
    return true;
}

uint64_t heap_overdrawn_bytes(const struct heap *heap)
{
    uint64_t resident = 0, charged = 0;
    for (const struct segment *segment = heap->segments; segment; segment = segment->next) {
        resident += os.memfd_resident(segment->fd);
        charged += segment->charged_bytes;
    }
    return resident > charged ? resident - charged : 0;
}

/* The tid is the client's word, in its own pid namespace: it counts only where that is ours. */
bool heap_thread_gone(const struct heap *heap, uint32_t tid)
{
    char path[64];
    struct stat ours, his;
    snprintf(path, sizeof path, "/proc/%d/ns/pid", (int)heap->pid);
    if (heap->pid <= 0 || tid == 0 || stat("/proc/self/ns/pid", &ours) < 0 || stat(path, &his) < 0 || ours.st_ino != his.st_ino)
        return false;
    snprintf(path, sizeof path, "/proc/%d/task/%u", (int)heap->pid, tid);
    return access(path, F_OK) < 0 && errno == ENOENT;
}

void heap_check(const struct heap *heap)
{
    assert(heap->granted_blocks <= heap->peak_blocks && heap->granted_blocks <= heap->limit_blocks);
    assert(heap->first_free <= heap->mapped_chunks);
#ifdef MORPH_VERIFY
    uint64_t granted = 0, resident = 0, dirty = 0;
    for (uint32_t c = 0; c < heap->mapped_chunks; c++) {
        const struct chunk *chunk = &heap->chunk[c];
        assert((chunk->clean & ~chunk->free) == 0);
        assert(c >= heap->first_free || chunk->free == 0);
        resident += (uint64_t)__builtin_popcount(chunk->resident);
        dirty += (uint64_t)__builtin_popcount(chunk->free & ~chunk->clean);
        for (uint32_t b = 0; b < MM_CHUNK_BLOCKS; b++) {
            bool is_free = chunk->state[b] == MM_BLOCK_FREE || chunk->state[b] == MM_BLOCK_ZEROED;
            assert(is_free == (chunk->free >> b & 1));
            granted += !is_free;
        }
        assert((~chunk->free & ~chunk->resident) == 0);
    }
    assert(granted == heap->granted_blocks && resident == heap->resident_blocks && dirty == heap->dirty_blocks);
#endif
}

/* ---- Life ---- */

static int control_make(struct heap *heap, const struct heap_request *request, int *ret_fd)
{
    heap->control_bytes = mm_control_bytes(request->threads, MM_SPACES, heap->view.bytes);
    int fd = os.memfd_new("morphmem-control", heap->control_bytes);
    if (fd < 0)
        return fd == -EMFILE || fd == -ENFILE ? -MORPH_EFILES : -MORPH_EMEMORY;
    heap->control = mm_map(fd, heap->control_bytes, NULL, false, false);
    if (!heap->control) {
        close(fd);
        return -MORPH_EMEMORY;
    }
    *ret_fd = fd;
    return 0;
}

struct fill { struct heap *heap; int error; };

/* The same for a collected heap: a first piece of the nursery, or of what there is instead of one. */
static int first_cell(struct heap *heap)
{
    struct mm_cell cell;
    if (gc_grant_ahead(heap->gc, 0, heap->gc->fixed ? MM_GRANT_OLD : MM_GRANT_YOUNG, MM_HOLE_SMALL_BYTES, &cell)) {
        heap->slot[0].cell[0] = (struct slot_cell){ cell.block, cell.count, cell.kind };
        (void)mm_ring_put(mm_control_slot(heap->control, 0), &heap->slot[0].tail, &cell);
        heap->grants = 1;
        heap_publish(heap);
    }
    return 0;
}

/* The descriptive words, and a first grant in slot 0, so that the first thread need not ask. */
static void control_fill(void *argument)
{
    struct fill *fill = argument;
    struct heap *heap = fill->heap;
    mm_control_init(heap->control, &(struct mm_control_spec){ .heap_id = heap->id, .reserve_bytes = heap->view.bytes,
                                                              .limit_bytes = heap->limit_blocks << MM_BLOCK_SHIFT, .slots = heap->slot_count,
                                                              .spaces = heap->space_count, .mode = heap->mode });
    heap->control->huge_pages = segment_huge_pages();
    heap->control->mapped_chunks = heap->mapped_chunks;
    heap->control->armed = 1;           /* until its worker knows it */
    if (heap->gc) {
        fill->error = first_cell(heap);
        return;
    }
    uint32_t quarter = (uint32_t)(heap->limit_blocks / 4 < MM_CHUNK_BLOCKS ? heap->limit_blocks / 4 : MM_CHUNK_BLOCKS), block, count;
    fill->error = heap_grant_run(heap, quarter, 1, &block, &count);
    if (fill->error == -MORPH_EBUDGET && balance_short(heap, MM_BLOCK_BYTES)) {
        balance_answered(heap);         /* it opens without: its first request can wait for what others give, the loop thread cannot */
        fill->error = 0;
        return;
    }
    if (fill->error)
        return;
    struct mm_cell cell = { .block = block, .kind = MM_GRANT_RUN, .count = count };
    (void)mm_ring_put(mm_control_slot(heap->control, 0), &heap->slot[0].tail, &cell);
    heap->grants = 1;
}

struct heap *heap_new(const struct heap_request *request, int ret_fds[3], int *ret_error)
{
    struct heap *heap = calloc(1, sizeof *heap);
    int control_fd = -1, segment_fd = -1;
    *ret_error = -MORPH_EMEMORY;
    if (!heap)
        return NULL;
    heap->id = request->id;
    heap->owner = request->owner;
    heap->user = request->user;
    heap->socket = request->socket;
    heap->limit_blocks = request->limit_bytes >> MM_BLOCK_SHIFT;
    heap->slot_count = request->threads;
    heap->space_count = MM_SPACES;
    heap->pid = request->pid;
    heap->mode = request->mode;
    heap->no_moving = request->no_moving;
    heap->young_min_bytes = request->young_min_bytes;
    heap->young_max_bytes = request->young_max_bytes;
    heap->types = request->types;
    heap->view = (struct mm_view){ .bytes = request->reserve_bytes, .client_base = request->client_base };
    heap->slot = calloc(heap->slot_count, sizeof *heap->slot);
    if (!heap->slot)
        goto fail_slots;
    heap->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (heap->doorbell < 0) {
        *ret_error = -MORPH_EFILES;
        goto fail_doorbell;
    }
    if ((*ret_error = control_make(heap, request, &control_fd)))
        goto fail_control;
    *ret_error = -MORPH_EMEMORY;
    if (!(heap->view.base = mm_reserve(heap->view.bytes)))
        goto fail_reserve;
    struct segment *segment = segment_lend(0, heap->owner, heap->view.base, ret_error);
    if (!segment)
        goto fail_segment;
    segment_fd = os.memfd_reopen(segment->fd);
    if (segment_fd < 0 || !chunks_reserve(heap, segment->bytes)) {
        *ret_error = segment_fd < 0 ? -MORPH_EFILES : -MORPH_EMEMORY;
        goto fail_attach;
    }
    segment_attach(heap, segment);
    struct gc_options gc = { .start_bytes = request->gc_start_bytes, .young_min_bytes = request->young_min_bytes,
                             .young_max_bytes = request->young_max_bytes, .promotion_age = request->promotion_age,
                             .pause_target_us = request->pause_target_us, .fixed = request->no_moving };
    if (heap->mode != 0 && (*ret_error = gc_new(heap, &gc)))
        goto fail_fill;
    balance_join(heap);
    struct fill fill = { .heap = heap };
    bool whole = guard_run(control_fill, &fill);
    if (!whole || fill.error) {
        *ret_error = whole ? fill.error : -MORPH_EMEMORY;
        goto fail_fill;
    }
    ret_fds[0] = control_fd;
    ret_fds[1] = heap->doorbell;
    ret_fds[2] = segment_fd;
    *ret_error = 0;
    return heap;

fail_fill:
    close(segment_fd);
    close(control_fd);
    heap_free(heap);
    return NULL;
fail_attach:
    if (segment_fd >= 0)
        close(segment_fd);
    segment_return(segment);
fail_segment:
    munmap(heap->view.base, heap->view.bytes);
fail_reserve:
    munmap(heap->control, heap->control_bytes);
    close(control_fd);
fail_control:
    close(heap->doorbell);
fail_doorbell:
    free(heap->slot);
fail_slots:
    free(heap);
    return NULL;
}

void heap_free(struct heap *heap)
{
    if (!heap)
        return;
    balance_leave(heap);
    mm_sub_relaxed(&heap->user->granted_blocks, heap->granted_blocks);
    gc_free(heap->gc);
    while (heap->segments) {
        struct segment *segment = heap->segments;
        heap->segments = segment->next;
        segment_return(segment);
    }
    munmap(heap->view.base, heap->view.bytes);
    munmap(heap->control, heap->control_bytes);
    close(heap->doorbell);
    free(heap->slot);
    free(heap->chunk);
    free(heap);
}
