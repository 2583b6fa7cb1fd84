/* arena.c — arenas: what is allocated goes all at once.
 *
 * An arena has two bump cursors, in its entry in the control area: one for objects with headers, whose runs can be walked from outside, and
 * one for raw bytes. Behind each is a chain of runs in the order in which they were first used; `current` is where the cursor stands, and the
 * runs behind it are either large ones (in use, full) or kept from before a reset (empty).
 * A run is in use exactly if its generation is the arena's. A reset is therefore one increment, and a release marks the runs after the mark.
 * client_word of a run: [0] the next in the chain, [1] its serial number: runs taken into use after a mark have a larger one than the mark.
 * Threads: the arena's. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"
#include "shm/object.h"

enum { TYPED, RAW };

struct chain { struct mm_run *first, *current; uint32_t last_blocks; };

struct morph__arena {
    struct morph__space space;          /* first */
    struct chain chain[2];
    uint64_t serial;
};

static struct morph__arena *arena_of(const morph_arena *arena)
{
    return arena ? (struct morph__arena *)(uintptr_t)((const struct mm_space *)arena)->client_word : NULL;
}
static morph_arena *arena_shared(const struct morph__arena *arena) { return (morph_arena *)arena->space.shared; }

static struct morph_bump *arena_bump(struct morph__arena *arena, int which)
{
    return which == TYPED ? &arena_shared(arena)->typed : &arena_shared(arena)->raw;
}

static struct mm_run *run_next(const struct mm_run *run) { return (struct mm_run *)(uintptr_t)run->client_word[0]; }
static char *run_first_byte(struct mm_run *run) { return (char *)run + MM_RUN_HEADER_BYTES; }
static char *run_end(struct mm_run *run) { return (char *)run + ((uint64_t)run->blocks << MM_BLOCK_SHIFT); }
static bool run_in_use(const struct morph__arena *arena, const struct mm_run *run) { return run->generation == arena->space.shared->generation; }

/* Takes an empty run of the chain into use; used_bytes 0: the cursor says. */
static void run_use(struct morph__arena *arena, struct mm_run *run)
{
    run->client_word[1] = ++arena->serial;
    mm_store_relaxed(&run->used_bytes, 0);
    mm_store_relaxed(&run->generation, arena->space.shared->generation);
}

static void run_leave(struct mm_run *run, const struct morph_bump *bump)
{
    mm_store_relaxed(&run->used_bytes, (uint64_t)(bump->cursor - (char *)run));
}

/* Gives back the runs that a reset or release left empty; false if there was none. */
static bool arena_shed(struct morph__arena *arena)
{
    bool any = false;
    for (int which = TYPED; which <= RAW; which++) {
        uint64_t *link = NULL;
        for (struct mm_run *run = arena->chain[which].first, *next; run; run = next) {
            next = run_next(run);
            if (run_in_use(arena, run)) {
                link = &run->client_word[0];
                continue;
            }
            if (link)
                *link = (uintptr_t)next;
            else
                arena->chain[which].first = next;
            morph__run_return(arena->space.thread, run);
            any = true;
        }
    }
    return any;
}

static int run_obtain(struct morph__arena *arena, int which, uint32_t want, uint32_t min, struct mm_run **ret_run)
{
    bool zeroed;
    int r = morph__run_obtain(arena->space.thread, want, min, ret_run, &zeroed);
    if (r < 0 && arena_shed(arena))             /* empty runs of the wrong size: in other hands they are the right one */
        r = morph__run_obtain(arena->space.thread, want, min, ret_run, &zeroed);
    if (r < 0)
        return r;
    struct mm_run *run = *ret_run;
    *run = (struct mm_run){ .magic = MM_RUN_MAGIC, .use = which == TYPED ? MM_RUN_TYPED : MM_RUN_RAW, .blocks = run->blocks,
                            .owner = arena->space.index, .generation = arena->space.shared->generation - 1 };
    return 0;
}

/* Puts a run behind the current one. */
static void chain_insert(struct chain *chain, struct mm_run *run)
{
    struct mm_run **link = chain->current ? (struct mm_run **)&chain->current->client_word[0] : &chain->first;
    run->client_word[0] = (uintptr_t)*link;
    *link = run;
}

static struct mm_run *chain_rest(const struct chain *chain) { return chain->current ? run_next(chain->current) : chain->first; }

static bool run_fits(const struct morph__arena *arena, struct mm_run *run, uint64_t bytes)
{
    return !run_in_use(arena, run) && (uint64_t)(run_end(run) - run_first_byte(run)) >= bytes;
}

/* The first empty run behind the current one with room for `bytes`. */
static struct mm_run *chain_find_first(const struct morph__arena *arena, const struct chain *chain, uint64_t bytes)
{
    struct mm_run *run = chain_rest(chain);
    while (run && !run_fits(arena, run, bytes))
        run = run_next(run);
    return run;
}

/* The smallest one. */
static struct mm_run *chain_find_best(const struct morph__arena *arena, const struct chain *chain, uint64_t bytes)
{
    struct mm_run *best = NULL;
    for (struct mm_run *run = chain_rest(chain); run; run = run_next(run))
        if (run_fits(arena, run, bytes) && (!best || run->blocks < best->blocks))
            best = run;
    return best;
}

static void chain_enter(struct morph__arena *arena, int which, struct mm_run *run)
{
    struct chain *chain = &arena->chain[which];
    struct morph_bump *bump = arena_bump(arena, which);
    if (chain->current)
        run_leave(chain->current, bump);
    run_use(arena, run);
    chain->current = run;
    bump->cursor = bump->limit = run_first_byte(run);           /* never a cursor beyond the limit in between */
    bump->limit = run_end(run);
}

/* Room for `bytes` at the cursor's next place. 0 or a negative code. */
static int chain_advance(struct morph__arena *arena, int which, uint64_t bytes)
{
    struct chain *chain = &arena->chain[which];
    struct mm_run *run = chain_find_first(arena, chain, bytes);
    if (!run) {
        uint32_t needed = (uint32_t)mm_blocks_for(bytes + MM_RUN_HEADER_BYTES);
        uint32_t want = morph__run_next_blocks(arena->space.heap, chain->last_blocks, needed);
        int r = run_obtain(arena, which, want, needed, &run);
        if (r < 0)
            return r;
        chain->last_blocks = run->blocks;
        chain_insert(chain, run);
    }
    chain_enter(arena, which, run);
    return 0;
}

/* `bytes` in a run of their own, behind the current one, which goes on being filled. NULL: noted as the thread's error. */
static char *chain_alone(struct morph__arena *arena, int which, uint64_t bytes)
{
    struct chain *chain = &arena->chain[which];
    struct mm_run *run = chain_find_best(arena, chain, bytes);
    if (!run) {
        uint64_t blocks = mm_blocks_for(bytes + MM_RUN_HEADER_BYTES);
        uint64_t limit = morph__limit_bytes(arena->space.heap);
        if (bytes > limit || blocks > limit >> MM_BLOCK_SHIFT)
            return morph__thread_fail(arena->space.thread, MORPH_ENOMEM);
        int r = run_obtain(arena, which, (uint32_t)blocks, (uint32_t)blocks, &run);
        if (r < 0)
            return morph__thread_fail(arena->space.thread, r);
        chain_insert(chain, run);
    }
    run_use(arena, run);
    mm_store_relaxed(&run->used_bytes, MM_RUN_HEADER_BYTES + bytes);
    return run_first_byte(run);
}

static bool is_large(uint64_t bytes) { return bytes > MM_CHUNK_BYTES / 8; }

/* ---- Life ---- */

int morph_arena_new(morph_thread *thread, morph_arena **ret_arena)
{
    if (!thread || !ret_arena)
        return MORPH_EINVALID;
    struct morph__arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return MORPH_EMEMORY;
    int r = morph__space_new(&arena->space, thread, MM_SPACE_ARENA);
    if (r < 0) {
        free(arena);
        return r;
    }
    *ret_arena = arena_shared(arena);
    return 0;
}

static void chain_give_back(struct morph__arena *arena, struct chain *chain)
{
    for (struct mm_run *run = chain->first, *next; run; run = next) {
        next = run_next(run);
        morph__run_return(arena->space.thread, run);
    }
}

void morph_arena_free(morph_arena *public_arena)
{
    struct morph__arena *arena = arena_of(public_arena);
    if (!arena)
        return;
    mm_store_relaxed(&arena->space.shared->generation, arena->space.shared->generation + 1);
    chain_give_back(arena, &arena->chain[TYPED]);
    chain_give_back(arena, &arena->chain[RAW]);
    morph__space_free(&arena->space);
    free(arena);
}

void morph__arena_forget(struct morph__space *space) { free(space); }

int morph_arena_adopt(morph_arena *arena, morph_thread *thread)
{
    return morph__space_adopt((struct morph__space *)arena_of(arena), thread);
}

/* ---- Allocating: the slow halves ---- */

static void *object_new(struct morph__arena *arena, uint64_t header, uint64_t extent)
{
    struct morph_bump *bump = arena_bump(arena, TYPED);
    void *object = morph_bump_object(bump, header, extent);
    if (object)
        return object;
    if (is_large(extent)) {
        char *at = chain_alone(arena, TYPED, extent);
        if (!at)
            return NULL;
        *(volatile uint64_t *)at = header;
        return at + MM_HEADER_BYTES;
    }
    int r = chain_advance(arena, TYPED, extent);
    return r < 0 ? morph__thread_fail(arena->space.thread, r) : morph_bump_object(bump, header, extent);
}

/* After NULL: callbacks have dropped something, so it is worth asking once more. They may have reset the arena, too. */
static bool ask_again(struct morph__arena *arena)
{
    struct morph__thread *thread = arena->space.thread;
    return morph__last_resort(thread->heap, thread, thread->error);
}

static void *object_obtain(struct morph__arena *arena, uint64_t header, uint64_t extent)
{
    void *object = object_new(arena, header, extent);
    return object || !ask_again(arena) ? object : object_new(arena, header, extent);
}

void *morph_arena_object_slow(morph_arena *public_arena, morph_type type)
{
    struct morph__arena *arena = arena_of(public_arena);
    return arena && type ? object_obtain(arena, type->header, type->extent_bytes) : NULL;
}

void *morph_arena_new_object_zeroed(morph_arena *arena, morph_type type)
{
    char *object = type ? morph_arena_new_object(arena, type) : NULL;
    if (object)
        memset(object - 8, 0, morph_object_bytes(object) + 8);  /* the embedder's word too */
    return object;
}

void *morph_arena_new_array(morph_arena *public_arena, morph_type public_type, uint64_t elements)
{
    struct morph__arena *arena = arena_of(public_arena);
    const struct morph__type *type = (const struct morph__type *)public_type;
    uint64_t bytes;
    if (!arena || !type)
        return NULL;
    if (__builtin_mul_overflow(elements, (uint64_t)type->element_bytes, &bytes) || bytes > MM_OBJECT_MAX_BYTES - type->bytes)
        return morph__thread_fail(arena->space.thread, MORPH_ETOOLARGE);
    bytes += type->bytes;
    return object_obtain(arena, mm_header_make((uint32_t)bytes, (uint16_t)type->id, 0), mm_object_extent((uint32_t)bytes));
}

static void *bytes_new(struct morph__arena *arena, uint64_t bytes)
{
    if (is_large(bytes))
        return chain_alone(arena, RAW, bytes);
    int r = chain_advance(arena, RAW, bytes + MM_GRANULE_BYTES);
    return r < 0 ? morph__thread_fail(arena->space.thread, r) : morph_arena_bytes(arena_shared(arena), bytes);
}

void *morph_arena_bytes_slow(morph_arena *public_arena, uint64_t bytes)
{
    struct morph__arena *arena = arena_of(public_arena);
    if (!arena)
        return NULL;
    bytes = bytes ? bytes : 1;
    void *memory = bytes_new(arena, bytes);
    return memory || !ask_again(arena) ? memory : bytes_new(arena, bytes);
}

void *morph_arena_bytes_zeroed(morph_arena *arena, uint64_t bytes)
{
    void *memory = arena ? morph_arena_bytes(arena, bytes) : NULL;
    return memory ? memset(memory, 0, bytes) : NULL;
}

static char *align_up(char *at, uint32_t alignment) { return at + (-(uintptr_t)at & (alignment - 1)); }

static void *aligned_new(struct morph__arena *arena, uint64_t bytes, uint32_t alignment)
{
    if (alignment == 0 || alignment & (alignment - 1) || alignment > MM_BLOCK_BYTES)
        return morph__thread_fail(arena->space.thread, MORPH_EINVALID);
    struct morph_bump *bump = arena_bump(arena, RAW);
    for (int turn = 0; turn < 2; turn++) {
        char *at = align_up(bump->cursor, alignment);
        if (at <= bump->limit && bytes <= (uint64_t)(bump->limit - at) && bump->cursor) {
            bump->cursor = at + bytes;
            return at;
        }
        uint64_t most = bytes + alignment;      /* a run's first byte is 64-byte aligned, no more */
        if (most < bytes)
            return morph__thread_fail(arena->space.thread, MORPH_ENOMEM);
        if (is_large(most)) {
            char *alone = chain_alone(arena, RAW, most);
            return alone ? align_up(alone, alignment) : NULL;
        }
        int r = chain_advance(arena, RAW, most);
        if (r < 0)
            return morph__thread_fail(arena->space.thread, r);
    }
    return morph__thread_fail(arena->space.thread, MORPH_ESYSTEM);      /* not reached: the fresh run has the room */
}

void *morph_arena_aligned(morph_arena *public_arena, uint64_t bytes, uint32_t alignment)
{
    struct morph__arena *arena = arena_of(public_arena);
    if (!arena)
        return NULL;
    void *memory = aligned_new(arena, bytes, alignment);
    return memory || !ask_again(arena) ? memory : aligned_new(arena, bytes, alignment);
}

char *morph_arena_text(morph_arena *arena, const char *text, uint64_t bytes)
{
    char *copy = bytes < UINT64_MAX ? morph_arena_aligned(arena, bytes + 1, 1) : NULL;
    if (!copy)
        return NULL;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return copy;
}

/* ---- Marks and resets ---- */

/* word: run and cursor of both chains, the serial number, the generation. */
morph_mark morph_arena_mark(morph_arena *public_arena)
{
    struct morph__arena *arena = arena_of(public_arena);
    morph_mark mark = { { 0 } };
    if (!arena)
        return mark;
    for (int which = TYPED; which <= RAW; which++) {
        mark.word[2 * which] = (uintptr_t)arena->chain[which].current;
        mark.word[2 * which + 1] = (uintptr_t)arena_bump(arena, which)->cursor;
    }
    mark.word[4] = arena->serial;
    mark.word[5] = arena->space.shared->generation;
    return mark;
}

/* Is the mark's run one that is still in use, and its cursor not ahead of where we are? */
static bool mark_holds(struct morph__arena *arena, const morph_mark *mark, int which)
{
    struct chain *chain = &arena->chain[which];
    struct mm_run *marked = (struct mm_run *)(uintptr_t)mark->word[2 * which];
    uint64_t cursor = mark->word[2 * which + 1];
    if (!marked)
        return cursor == 0;
    struct mm_run *run = chain->first;
    while (run && run != marked)
        run = run_next(run);
    if (!run || !run_in_use(arena, run) || run->client_word[1] > mark->word[4])
        return false;
    uint64_t most = run == chain->current ? (uint64_t)(uintptr_t)arena_bump(arena, which)->cursor : (uintptr_t)run + run->used_bytes;
    return cursor >= (uintptr_t)run_first_byte(run) && cursor <= most;
}

static void chain_rewind(struct morph__arena *arena, const morph_mark *mark, int which)
{
    struct chain *chain = &arena->chain[which];
    struct morph_bump *bump = arena_bump(arena, which);
    struct mm_run *marked = (struct mm_run *)(uintptr_t)mark->word[2 * which];
    for (struct mm_run *run = marked ? run_next(marked) : chain->first; run; run = run_next(run))
        if (run_in_use(arena, run) && run->client_word[1] > mark->word[4])
            mm_store_relaxed(&run->generation, arena->space.shared->generation - 1);
    bump->cursor = (char *)(uintptr_t)mark->word[2 * which + 1];
    bump->limit = marked ? run_end(marked) : NULL;
    if (marked)
        mm_store_relaxed(&marked->used_bytes, 0);
    chain->current = marked;
}

int morph_arena_release(morph_arena *public_arena, morph_mark mark)
{
    struct morph__arena *arena = arena_of(public_arena);
    if (!arena)
        return public_arena ? MORPH_EFORKED : MORPH_EINVALID;
    if (mark.word[5] != arena->space.shared->generation || mark.word[4] > arena->serial || !mark_holds(arena, &mark, TYPED) || !mark_holds(arena, &mark, RAW))
        return MORPH_EINVALID;
    chain_rewind(arena, &mark, TYPED);
    chain_rewind(arena, &mark, RAW);
    arena->serial = mark.word[4];               /* a mark made later that differs in a run of its own is past, too */
    return 0;
}

void morph_arena_reset(morph_arena *public_arena)
{
    struct morph__arena *arena = arena_of(public_arena);
    if (!arena)
        return;
    for (int which = TYPED; which <= RAW; which++) {
        struct morph_bump *bump = arena_bump(arena, which);
        bump->cursor = bump->limit = NULL;
        arena->chain[which].current = NULL;
    }
    mm_store_relaxed(&arena->space.shared->generation, arena->space.shared->generation + 1);
}

void morph_arena_usage(morph_arena *public_arena, uint64_t *ret_used_bytes, uint64_t *ret_held_bytes)
{
    struct morph__arena *arena = arena_of(public_arena);
    uint64_t used = 0, held = 0;
    for (int which = TYPED; arena && which <= RAW; which++) {
        struct chain *chain = &arena->chain[which];
        for (struct mm_run *run = chain->first; run; run = run_next(run)) {
            held += (uint64_t)run->blocks << MM_BLOCK_SHIFT;
            if (run == chain->current)
                used += (uint64_t)(arena_bump(arena, which)->cursor - run_first_byte(run));
            else if (run_in_use(arena, run))
                used += run->used_bytes - MM_RUN_HEADER_BYTES;
        }
    }
    *ret_used_bytes = used;
    *ret_held_bytes = held;
}
