/* spare.c — runs of blocks that are granted and not in use, kept for the next arena, pool or thread.
 *
 * One list a heap, in address order, through the run headers themselves (use SPARE), so that neighbours join and nothing is allocated to
 * keep it. What goes beyond a bound is given back to the daemon by refill.c. Under heap->lock.
 * client_word[0] of a spare run: the next one. client_word[1]: 1 if all behind the header is still zero. */
#include <string.h>

#include "client/internal.h"

static struct mm_run *run_next(const struct mm_run *run) { return (struct mm_run *)(uintptr_t)run->client_word[0]; }
static char *run_end(const struct mm_run *run) { return (char *)run + ((uint64_t)run->blocks << MM_BLOCK_SHIFT); }

static struct mm_run *spare_write(char *at, uint32_t blocks, struct mm_run *next, bool zeroed)
{
    struct mm_run *run = (struct mm_run *)at;
    *run = (struct mm_run){ .magic = MM_RUN_MAGIC, .use = MM_RUN_SPARE, .blocks = blocks, .client_word = { (uintptr_t)next, zeroed } };
    return run;
}

/* Joins `run` with its successor if they touch. */
static void spare_join(struct mm_run *run)
{
    struct mm_run *next = run_next(run);
    if (!next || run_end(run) != (char *)next)
        return;
    run->blocks += next->blocks;
    run->client_word[0] = next->client_word[0];
    run->client_word[1] &= next->client_word[1];
    memset(next, 0, sizeof *next);
}

void morph__spare_put(struct morph_heap *heap, char *at, uint32_t blocks, bool zeroed)
{
    struct mm_run *before = NULL, *after = heap->spare;
    for (; after && (char *)after < at; after = run_next(after))
        before = after;
    struct mm_run *run = spare_write(at, blocks, after, zeroed);
    heap->spare_blocks += blocks;
    spare_join(run);
    if (!before) {
        heap->spare = run;
        return;
    }
    before->client_word[0] = (uintptr_t)run;
    spare_join(before);
}

/* The first run of `want` blocks, else the longest of at least `min`; the rest of a longer one stays spare. NULL: none. */
struct mm_run *morph__spare_take(struct morph_heap *heap, uint32_t want, uint32_t min, bool *ret_zeroed)
{
    struct mm_run *best = NULL, *best_before = NULL, *before = NULL;
    for (struct mm_run *run = heap->spare; run; before = run, run = run_next(run)) {
        if (run->blocks < min || (best && run->blocks <= best->blocks))
            continue;
        best = run;
        best_before = before;
        if (run->blocks >= want)
            break;
    }
    if (!best)
        return NULL;
    struct mm_run *next = run_next(best);
    *ret_zeroed = best->client_word[1];
    if (best->blocks > want) {
        next = spare_write((char *)best + ((uint64_t)want << MM_BLOCK_SHIFT), best->blocks - want, next, *ret_zeroed);
        best->blocks = want;
    }
    if (best_before)
        best_before->client_word[0] = (uintptr_t)next;
    else
        heap->spare = next;
    heap->spare_blocks -= best->blocks;
    return best;
}

/* Unlinks and returns the last run if more is spare than a heap should keep: 1 MiB, or a sixteenth of its bound up to 8 MiB. */
struct mm_run *morph__spare_surplus(struct morph_heap *heap)
{
    uint64_t keep = morph__limit_bytes(heap) >> (MM_BLOCK_SHIFT + 4);
    keep = keep < 16 ? 16 : keep > 128 ? 128 : keep;
    if (heap->spare_blocks <= keep)
        return NULL;
    struct mm_run *before = NULL, *run = heap->spare;
    for (; run_next(run); run = run_next(run))
        before = run;
    if (before)
        before->client_word[0] = 0;
    else
        heap->spare = NULL;
    heap->spare_blocks -= run->blocks;
    return run;
}
