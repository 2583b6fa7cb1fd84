/* pool.c — memory that is freed singly: slabs of equal cells for small sizes, runs of pages beyond (layout: shm/pool.h).
 *
 * A pool takes spans (runs of 1 to 32 blocks) from the heap and cuts them into 4 KiB pages. A slab is a run of pages with cells of one
 * class; each class has a list of slabs with a free cell. A cell that was freed holds the offset of the next free one and a canary that tells
 * it from one in use. An allocation of more than 16 KiB is a run of pages, or a span of its own. From an address, heap->span_back leads to
 * the span and the page table to the slab: no search.
 * What falls empty goes back, slab to span, span to heap; the last of each is kept, so that one allocation on the edge costs nothing.
 * Threads: the pool's; with MORPH_POOL_SHARED any, under the pool's lock, and the pool has a slot of its own.
 * The heap's client_word[0] of a span's run header names its private part here. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

#define PAGE_SHIFT 12
_Static_assert(1u << PAGE_SHIFT == MM_PAGE_BYTES, "pool pages");
#define CANARY 0x6d6f7270686d656dull

struct span {
    struct span *next, **link;
    struct mm_run *run;
    uint32_t pages, free_pages;         /* described; free */
    uint32_t longest;                   /* no free run is longer than this */
    uint64_t free[MM_POOL_SPAN_PAGES / 64];
};

struct morph__pool {
    struct morph__space space;          /* first */
    bool shared;
    pthread_mutex_t lock;               /* of a shared pool */
    int error;
    struct span *spans;
    uint32_t span_count, last_blocks;
    struct mm_pool_page *bin[MM_POOL_CLASSES];  /* slabs with a free cell; the first is used */
};

/* 2^32 / cell size, rounded up: (off * this) >> 32 is off / cell size for any offset in a slab of at most 64 KiB. */
static uint32_t cell_reciprocal[MM_POOL_CLASSES];
static pthread_once_t cell_reciprocal_once = PTHREAD_ONCE_INIT;

static void cell_reciprocal_fill(void)
{
    for (uint32_t c = 0; c < MM_POOL_CLASSES; c++)
        cell_reciprocal[c] = (uint32_t)((((uint64_t)1 << 32) + mm_pool_class_bytes(c) - 1) / mm_pool_class_bytes(c));
}

struct cell { uint64_t next_off, canary; };
_Static_assert(sizeof(struct cell) <= 16, "the smallest cell");

static struct morph__pool *pool_of(const morph_pool *pool)
{
    return pool ? (struct morph__pool *)(uintptr_t)((const struct mm_space *)pool)->client_word : NULL;
}
static void pool_lock(struct morph__pool *pool)
{
    if (pool->shared)
        pthread_mutex_lock(&pool->lock);
}
static void pool_unlock(struct morph__pool *pool)
{
    if (pool->shared)
        pthread_mutex_unlock(&pool->lock);
}

/* ---- Pages of a span ---- */

static struct mm_pool_page *table_of(const struct mm_run *run) { return (struct mm_pool_page *)((char *)run + MM_POOL_TABLE_OFF); }
static struct mm_run *run_of(const struct mm_pool_page *page) { return (struct mm_run *)((uintptr_t)page & ~(uintptr_t)(MM_BLOCK_BYTES - 1)); }
static struct span *span_of(const struct mm_run *run) { return (struct span *)(uintptr_t)run->client_word[0]; }
static uint32_t page_index(const struct mm_pool_page *page) { return (uint32_t)(page - table_of(run_of(page))); }
static char *page_address(const struct mm_pool_page *page) { return (char *)run_of(page) + ((uint64_t)page_index(page) << PAGE_SHIFT); }
_Static_assert(MM_POOL_TABLE_OFF + MM_POOL_SPAN_PAGES * sizeof(struct mm_pool_page) <= MM_BLOCK_BYTES, "a page table lies in its span's first block");

static bool page_is_free(const struct span *span, uint32_t i) { return span->free[i / 64] >> i % 64 & 1; }

static void pages_mark(struct span *span, uint32_t first, uint32_t count, bool is_free)
{
    for (uint32_t i = first; i < first + count; i++) {
        uint64_t bit = (uint64_t)1 << i % 64;
        span->free[i / 64] = is_free ? span->free[i / 64] | bit : span->free[i / 64] & ~bit;
    }
    span->free_pages += is_free ? count : -count;
}

/* Takes the first `count` free pages in a row; UINT32_MAX if there are none, and then `longest` is exact. */
static uint32_t pages_take(struct span *span, uint32_t count)
{
    uint32_t here = 0, longest = 0;
    if (span->longest < count)
        return UINT32_MAX;
    for (uint32_t i = 0; i < span->pages; i++) {
        here = page_is_free(span, i) ? here + 1 : 0;
        longest = here > longest ? here : longest;
        if (here < count)
            continue;
        pages_mark(span, i + 1 - count, count, false);
        return i + 1 - count;
    }
    span->longest = longest;
    return UINT32_MAX;
}

/* How many of `count` pages from `first` on the span's table describes: all, but in a span that is one large allocation. */
static uint32_t pages_described(const struct span *span, uint32_t first, uint32_t count)
{
    return count < span->pages - first ? count : span->pages - first;
}

/* Describes pages that were taken: the first as `kind`, the others as its tail. */
static struct mm_pool_page *pages_describe(struct span *span, uint32_t first, uint32_t count, enum mm_pool_page_kind kind)
{
    struct mm_pool_page *table = table_of(span->run);
    for (uint32_t i = 1; i < pages_described(span, first, count); i++)
        table[first + i] = (struct mm_pool_page){ .kind = MM_PAGE_TAIL, .pages = i };
    table[first] = (struct mm_pool_page){ .pages = count };
    mm_store_relaxed(&table[first].kind, (uint8_t)kind);
    return &table[first];
}

/* ---- Spans ---- */

static void span_table_fill(struct morph_heap *heap, const struct span *span, bool set)
{
    uint32_t block = morph__block_of(heap, span->run), blocks = span->run->blocks <= MM_POOL_SPAN_BLOCKS ? span->run->blocks : 1;
    for (uint32_t i = 0; i < blocks; i++)
        mm_store_relaxed(&heap->span_back[block + i], (uint16_t)(set ? i + 1 : 0));
}

/* A new span of at least `min` blocks. NULL: pool->error is set. */
static struct span *span_new(struct morph__pool *pool, uint32_t want, uint32_t min)
{
    struct mm_run *run;
    bool zeroed;
    struct span *span = calloc(1, sizeof *span);
    pool->error = span ? morph__run_obtain(pool->space.thread, want, min, &run, &zeroed) : MORPH_EMEMORY;
    if (pool->error < 0) {
        free(span);
        return NULL;
    }
    uint32_t meta = mm_pool_meta_pages(run->blocks);
    span->run = run;
    span->pages = span->longest = mm_pool_pages(run->blocks);
    memset(table_of(run), 0, span->pages * sizeof(struct mm_pool_page));
    pages_mark(span, 0, span->pages, true);
    pages_mark(span, 0, meta, false);
    pages_describe(span, 0, meta, MM_PAGE_META);
    *run = (struct mm_run){ .magic = MM_RUN_MAGIC, .use = MM_RUN_POOL, .blocks = run->blocks, .owner = pool->space.index,
                            .generation = pool->space.shared->generation, .used_bytes = (uint64_t)run->blocks << MM_BLOCK_SHIFT,
                            .client_word = { (uintptr_t)span } };
    span_table_fill(pool->space.heap, span, true);
    span->next = pool->spans;
    span->link = &pool->spans;
    if (span->next)
        span->next->link = &span->next;
    pool->spans = span;
    pool->span_count++;
    return span;
}

static void span_free(struct morph__pool *pool, struct span *span)
{
    *span->link = span->next;
    if (span->next)
        span->next->link = span->link;
    pool->span_count--;
    span_table_fill(pool->space.heap, span, false);
    struct mm_run *run = span->run;
    free(span);
    morph__run_return(pool->space.thread, run);
}

static uint32_t span_empty_pages(const struct span *span) { return span->pages - mm_pool_meta_pages(span->run->blocks); }

/* Pages from a span that has them. */
static struct mm_pool_page *pool_find_pages(struct morph__pool *pool, uint32_t count, enum mm_pool_page_kind kind)
{
    for (struct span *span = pool->spans; span; span = span->next) {
        uint32_t first = pages_take(span, count);
        if (first != UINT32_MAX)
            return pages_describe(span, first, count, kind);
    }
    return NULL;
}

/* Blocks of a span in which `count` pages fit beside its own table. */
static uint32_t blocks_for_pages(uint64_t count)
{
    const uint32_t pages_a_block = MM_BLOCK_BYTES / MM_PAGE_BYTES;
    uint64_t blocks = (count + 1 + pages_a_block - 1) / pages_a_block;
    while (blocks * pages_a_block < count + mm_pool_meta_pages(blocks > MM_POOL_SPAN_BLOCKS ? MM_POOL_SPAN_BLOCKS + 1 : (uint32_t)blocks))
        blocks++;
    return (uint32_t)blocks;
}

/* A run of more pages than this has a span of its own, so that no half of a span is left over beside it. */
#define SHARED_SPAN_PAGES 64u

static struct mm_pool_page *pool_take_pages(struct morph__pool *pool, uint32_t count, enum mm_pool_page_kind kind)
{
    bool alone = count > SHARED_SPAN_PAGES;
    struct mm_pool_page *page = alone ? NULL : pool_find_pages(pool, count, kind);
    if (page)
        return page;
    uint32_t min = blocks_for_pages(count);
    struct span *span = span_new(pool, alone ? min : morph__run_next_blocks(pool->space.heap, pool->last_blocks, min), min);
    if (!span)
        return NULL;
    uint32_t first = mm_pool_meta_pages(span->run->blocks);
    pages_mark(span, first, pages_described(span, first, count), false);
    if (alone)
        span->longest = 0;              /* what is left of it is for growing in place */
    else
        pool->last_blocks = span->run->blocks;
    return pages_describe(span, first, count, kind);
}

static void pool_give_pages(struct morph__pool *pool, struct mm_pool_page *page, uint32_t count)
{
    struct span *span = span_of(run_of(page));
    uint32_t first = page_index(page), described = pages_described(span, first, count);
    memset(page, 0, described * sizeof *page);
    pages_mark(span, first, described, true);
    span->longest = span->pages;
    if (span->free_pages == span_empty_pages(span) && pool->span_count > 1)
        span_free(pool, span);
}

/* ---- Slabs ---- */

static uint32_t slab_pages(uint32_t cell_bytes) { return cell_bytes <= 1024 ? 4 : cell_bytes <= 4096 ? 8 : 16; }
static uint32_t slab_least_pages(uint32_t cell_bytes) { return (cell_bytes + MM_PAGE_BYTES - 1) / MM_PAGE_BYTES; }

static void bin_push(struct morph__pool *pool, struct mm_pool_page *slab)
{
    struct mm_pool_page *first = pool->bin[slab->size_class];
    slab->prev = 0;
    slab->next = (uintptr_t)first;
    if (first)
        first->prev = (uintptr_t)slab;
    pool->bin[slab->size_class] = slab;
}

static void bin_unlink(struct morph__pool *pool, struct mm_pool_page *slab)
{
    struct mm_pool_page *next = (struct mm_pool_page *)(uintptr_t)slab->next, *prev = (struct mm_pool_page *)(uintptr_t)slab->prev;
    if (prev)
        prev->next = slab->next;
    else
        pool->bin[slab->size_class] = next;
    if (next)
        next->prev = slab->prev;
}

static struct mm_pool_page *slab_new(struct morph__pool *pool, uint32_t size_class)
{
    uint32_t cell_bytes = mm_pool_class_bytes(size_class), pages = slab_pages(cell_bytes);
    struct mm_pool_page *slab = pool_take_pages(pool, pages, MM_PAGE_SLAB);
    if (!slab && slab_least_pages(cell_bytes) < pages) {        /* at the limit: a smaller one may still fit */
        pages = slab_least_pages(cell_bytes);
        slab = pool_find_pages(pool, pages, MM_PAGE_SLAB);
    }
    if (!slab)
        return NULL;
    pool->error = 0;
    slab->size_class = (uint8_t)size_class;
    slab->capacity = (uint16_t)(pages * MM_PAGE_BYTES / cell_bytes);
    bin_push(pool, slab);
    return slab;
}

static void *slab_take(struct morph__pool *pool, struct mm_pool_page *slab)
{
    char *memory;
    if (slab->free_off) {
        memory = (char *)run_of(slab) + slab->free_off;
        slab->free_off = (uint32_t)((struct cell *)memory)->next_off;
        ((struct cell *)memory)->canary = 0;
    } else {
        memory = page_address(slab) + (uint64_t)slab->fresh * mm_pool_class_bytes(slab->size_class);
        slab->fresh++;
        if (((struct cell *)memory)->canary == (CANARY ^ (uintptr_t)memory))
            ((struct cell *)memory)->canary = 0;        /* left by an earlier slab: this cell is not a freed one */
    }
    mm_store_relaxed(&slab->used, (uint16_t)(slab->used + 1));
    if (slab->used == slab->capacity)
        bin_unlink(pool, slab);
    return memory;
}

/* Is the cell among the slab's free ones? Only asked when its canary says so. */
static bool slab_has_free(const struct mm_pool_page *slab, const char *memory)
{
    const char *base = (const char *)run_of(slab);
    uint32_t off = slab->free_off;
    for (uint32_t i = 0; off && i < slab->capacity; i++) {
        if (base + off == memory)
            return true;
        off = (uint32_t)((const struct cell *)(base + off))->next_off;
    }
    return false;
}

/* Is `memory` the start of a cell that is in use? */
static bool cell_in_use(const struct mm_pool_page *slab, const char *memory)
{
    uint64_t off = (uint64_t)(memory - page_address(slab));
    uint64_t index = off * cell_reciprocal[slab->size_class] >> 32;
    if (index * mm_pool_class_bytes(slab->size_class) != off || index >= slab->fresh)
        return false;
    return ((const struct cell *)memory)->canary != (CANARY ^ (uintptr_t)memory) || !slab_has_free(slab, memory);
}

static void slab_give(struct morph__pool *pool, struct mm_pool_page *slab, char *memory)
{
    *(struct cell *)memory = (struct cell){ .next_off = slab->free_off, .canary = CANARY ^ (uintptr_t)memory };
    slab->free_off = (uint32_t)(memory - (char *)run_of(slab));
    if (slab->used == slab->capacity)
        bin_push(pool, slab);
    mm_store_relaxed(&slab->used, (uint16_t)(slab->used - 1));
    bool only_one = pool->bin[slab->size_class] == slab && !slab->next;
    if (slab->used == 0 && !only_one) {
        bin_unlink(pool, slab);
        pool_give_pages(pool, slab, slab->pages);
    }
}

/* At the limit: slabs that are empty and only kept in case give their pages back. */
static void pool_purge(struct morph__pool *pool)
{
    for (uint32_t c = 0; c < MM_POOL_CLASSES; c++)
        for (struct mm_pool_page *slab = pool->bin[c], *next; slab; slab = next) {
            next = (struct mm_pool_page *)(uintptr_t)slab->next;
            if (slab->used)
                continue;
            bin_unlink(pool, slab);
            pool_give_pages(pool, slab, slab->pages);
        }
}

/* ---- From an address to what it is ---- */

/* The first page of the slab or large allocation that `memory` lies in; NULL: not of this pool. */
static struct mm_pool_page *page_of(const struct morph__pool *pool, const void *memory)
{
    const struct morph_heap *heap = pool->space.heap;
    uint64_t off = (uint64_t)((const char *)memory - heap->base);
    uint16_t back = off < heap->reserve_bytes ? mm_load_relaxed(&heap->span_back[off >> MM_BLOCK_SHIFT]) : 0;
    if (!back)
        return NULL;
    uint64_t span_off = ((off >> MM_BLOCK_SHIFT) - (back - 1u)) << MM_BLOCK_SHIFT;
    struct mm_run *run = (struct mm_run *)(heap->base + span_off);
    if (run->owner != pool->space.index)
        return NULL;
    struct mm_pool_page *page = table_of(run) + ((off - span_off) >> PAGE_SHIFT);
    if (page->kind == MM_PAGE_TAIL)
        page -= page->pages;
    return page->kind == MM_PAGE_SLAB || page->kind == MM_PAGE_LARGE ? page : NULL;
}

/* The page of an allocation that starts at `memory`; NULL: there is none. */
static struct mm_pool_page *page_in_use(const struct morph__pool *pool, const void *memory)
{
    struct mm_pool_page *page = page_of(pool, memory);
    if (!page)
        return NULL;
    bool in_use = page->kind == MM_PAGE_SLAB ? cell_in_use(page, memory) : page_address(page) == memory;
    return in_use ? page : NULL;
}

static uint64_t page_usable(const struct mm_pool_page *page)
{
    return page->kind == MM_PAGE_SLAB ? mm_pool_class_bytes(page->size_class) : (uint64_t)page->pages * MM_PAGE_BYTES;
}

/* ---- Allocating and freeing, unlocked ---- */

static void *large_new(struct morph__pool *pool, uint64_t bytes)
{
    uint32_t pages = (uint32_t)((bytes + MM_PAGE_BYTES - 1) >> PAGE_SHIFT);
    struct mm_pool_page *page = pool_take_pages(pool, pages, MM_PAGE_LARGE);
    if (!page) {
        pool_purge(pool);
        page = pool_take_pages(pool, pages, MM_PAGE_LARGE);
    }
    return page ? page_address(page) : NULL;
}

static struct mm_pool_page *slab_obtain(struct morph__pool *pool, uint32_t size_class)
{
    struct mm_pool_page *slab = slab_new(pool, size_class);
    if (slab)
        return slab;
    pool_purge(pool);
    return slab_new(pool, size_class);
}

static void *pool_malloc(struct morph__pool *pool, uint64_t bytes)
{
    if (bytes > MM_POOL_CELL_MAX) {
        if (bytes <= morph__limit_bytes(pool->space.heap))
            return large_new(pool, bytes);
        pool->error = MORPH_ENOMEM;
        return NULL;
    }
    uint32_t size_class = mm_pool_class_of((uint32_t)bytes);
    struct mm_pool_page *slab = pool->bin[size_class];
    if (!slab && !(slab = slab_obtain(pool, size_class)))
        return NULL;
    return slab_take(pool, slab);
}

static int pool_free(struct morph__pool *pool, void *memory)
{
    struct mm_pool_page *page = page_in_use(pool, memory);
    if (!page)
        return MORPH_EINVALID;
    if (page->kind == MM_PAGE_SLAB)
        slab_give(pool, page, memory);
    else
        pool_give_pages(pool, page, page->pages);
    return 0;
}

/* A large allocation to `pages` pages where it stands. */
static bool large_resize(struct mm_pool_page *page, uint32_t pages)
{
    struct span *span = span_of(run_of(page));
    uint32_t first = page_index(page), had = page->pages;
    if (span->run->blocks > MM_POOL_SPAN_BLOCKS)                /* a span of its own */
        return pages <= had && pages > had / 2;
    if (pages < had) {
        pages_mark(span, first + pages, had - pages, true);
        for (uint32_t i = pages; i < had; i++)
            page[i] = (struct mm_pool_page){ 0 };
        span->longest = span->pages;
        mm_store_relaxed(&page->pages, pages);
        return true;
    }
    if (first + pages > span->pages)
        return false;
    for (uint32_t i = first + had; i < first + pages; i++)
        if (!page_is_free(span, i))
            return false;
    pages_mark(span, first + had, pages - had, false);
    pages_describe(span, first, pages, MM_PAGE_LARGE);
    return true;
}

static bool resize_in_place(struct morph__pool *pool, struct mm_pool_page *page, uint64_t bytes)
{
    if (page->kind == MM_PAGE_SLAB)
        return bytes <= MM_POOL_CELL_MAX && mm_pool_class_of((uint32_t)bytes) == page->size_class;
    return bytes > MM_POOL_CELL_MAX && bytes <= morph__limit_bytes(pool->space.heap) &&
           large_resize(page, (uint32_t)((bytes + MM_PAGE_BYTES - 1) >> PAGE_SHIFT));
}

static void *pool_realloc(struct morph__pool *pool, void *memory, uint64_t bytes)
{
    struct mm_pool_page *page = page_in_use(pool, memory);
    if (!page) {
        pool->error = MORPH_EINVALID;
        return NULL;
    }
    if (resize_in_place(pool, page, bytes))
        return memory;
    uint64_t had = page_usable(page);
    void *moved = pool_malloc(pool, bytes);
    if (!moved && bytes <= had)
        return memory;                          /* at the limit shrinking never fails */
    if (moved) {
        memcpy(moved, memory, had < bytes ? had : bytes);
        pool_free(pool, memory);
    }
    return moved;
}

/* ---- The interface ---- */

int morph_pool_new(morph_thread *thread, unsigned flags, morph_pool **ret_pool)
{
    struct morph__thread *owner = morph__thread_of(thread), *own = NULL;
    if (!thread || !ret_pool || flags & ~(unsigned)MORPH_POOL_SHARED)
        return MORPH_EINVALID;
    if (!owner)
        return MORPH_EFORKED;
    pthread_once(&cell_reciprocal_once, cell_reciprocal_fill);
    struct morph__pool *pool = calloc(1, sizeof *pool);
    int r = pool ? 0 : MORPH_EMEMORY;
    if (r == 0 && flags & MORPH_POOL_SHARED)
        r = morph__thread_attach_quiet(owner->heap, &own);
    if (r == 0)
        r = morph__space_new(&pool->space, own ? (morph_thread *)own->slot : thread, MM_SPACE_POOL);
    if (r < 0) {
        if (own)
            morph__thread_detach_quiet(own);
        free(pool);
        return r;
    }
    pool->shared = own != NULL;
    pthread_mutex_init(&pool->lock, NULL);
    *ret_pool = (morph_pool *)pool->space.shared;
    return 0;
}

void morph__pool_forget(struct morph__space *space)
{
    struct morph__pool *pool = (struct morph__pool *)space;
    for (struct span *span = pool->spans, *next; span; span = next) {
        next = span->next;
        free(span);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void morph_pool_free(morph_pool *public_pool)
{
    struct morph__pool *pool = pool_of(public_pool);
    if (!pool)
        return;
    struct morph__thread *own = pool->shared ? pool->space.thread : NULL;
    while (pool->spans)
        span_free(pool, pool->spans);
    morph__space_free(&pool->space);
    if (own)
        morph__thread_detach_quiet(own);
    morph__pool_forget(&pool->space);
}

int morph_pool_adopt(morph_pool *public_pool, morph_thread *thread)
{
    struct morph__pool *pool = pool_of(public_pool);
    return pool && pool->shared ? 0 : morph__space_adopt(pool ? &pool->space : NULL, thread);
}

/* After NULL, with the lock given up: callbacks, which may use this very pool, have dropped something. */
static bool ask_again(struct morph__pool *pool, int error)
{
    struct morph__thread *thread = pool->space.thread;
    return morph__last_resort(pool->space.heap, thread && thread->slot->state == MM_SLOT_RUNNING ? thread : NULL, error);
}

static void *malloc_once(struct morph__pool *pool, size_t bytes, int *ret_error)
{
    pool_lock(pool);
    void *memory = pool_malloc(pool, bytes);
    *ret_error = pool->error;
    pool_unlock(pool);
    return memory;
}

void *morph_malloc(morph_pool *public_pool, size_t bytes)
{
    struct morph__pool *pool = pool_of(public_pool);
    int error;
    if (!pool)
        return NULL;
    void *memory = malloc_once(pool, bytes, &error);
    return memory || !ask_again(pool, error) ? memory : malloc_once(pool, bytes, &error);
}

void *morph_calloc(morph_pool *pool, size_t count, size_t bytes)
{
    size_t all;
    void *memory = __builtin_mul_overflow(count, bytes, &all) ? morph_malloc(pool, SIZE_MAX) : morph_malloc(pool, all);
    return memory ? memset(memory, 0, all) : NULL;
}

static void *realloc_once(struct morph__pool *pool, void *memory, size_t bytes, int *ret_error)
{
    pool_lock(pool);
    void *moved = pool_realloc(pool, memory, bytes);
    *ret_error = pool->error;
    pool_unlock(pool);
    return moved;
}

void *morph_realloc(morph_pool *public_pool, void *memory, size_t bytes)
{
    struct morph__pool *pool = pool_of(public_pool);
    int error;
    if (!pool)
        return NULL;
    if (!memory)
        return morph_malloc(public_pool, bytes);
    if (bytes) {
        void *moved = realloc_once(pool, memory, bytes, &error);
        return moved || !ask_again(pool, error) ? moved : realloc_once(pool, memory, bytes, &error);
    }
    pool_lock(pool);
    pool->error = pool_free(pool, memory);
    pool_unlock(pool);
    return NULL;
}

int morph_free(morph_pool *public_pool, void *memory)
{
    struct morph__pool *pool = pool_of(public_pool);
    if (!memory)
        return 0;
    if (!pool)
        return public_pool ? MORPH_EFORKED : MORPH_EINVALID;
    pool_lock(pool);
    int r = pool_free(pool, memory);
    pool_unlock(pool);
    return r;
}

size_t morph_usable(morph_pool *public_pool, const void *memory)
{
    struct morph__pool *pool = pool_of(public_pool);
    if (!pool || !memory)
        return 0;
    pool_lock(pool);
    struct mm_pool_page *page = page_in_use(pool, memory);
    size_t bytes = page ? page_usable(page) : 0;
    pool_unlock(pool);
    return bytes;
}

int morph_pool_error(const morph_pool *public_pool)
{
    struct morph__pool *pool = pool_of(public_pool);
    return pool ? pool->error : MORPH_EFORKED;
}
