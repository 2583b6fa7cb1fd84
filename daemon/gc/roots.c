/* roots.c — what keeps objects alive from outside of the heap: root stacks, handles, sets reported by letter, pins.
 *
 * All of it is in client memory but the sets, and is read while the threads are stopped: one load a word, judged like any slot.
 * In a plain minor collection only groups of handles that changed, or that held a young reference the last time, are visited.
 * Touches the control area: inside a guard. The heap's worker. */
#include <stdlib.h>

#include "client/include/morphmem/error.h"
#include "daemon/gc/trace.h"

#define ROOT_SET_MAX   (1u << 20)       /* references in one set */
#define ROOT_SETS_MAX  (4u << 20)       /* in all sets of a heap */

static uint32_t slots_high(const struct gc *gc)
{
    uint32_t high = mm_load_relaxed(&gc->heap->control->slots_high);
    return high < gc->heap->slot_count ? high : gc->heap->slot_count;
}

static uint32_t groups_high(const struct gc *gc)
{
    uint32_t high = mm_load_relaxed(&gc->heap->control->handles_high);
    return (high < MM_HANDLES ? high + MM_HANDLE_GROUP - 1 : MM_HANDLES) / MM_HANDLE_GROUP;
}

bool roots_fit(struct gc *gc)
{
    for (uint32_t i = 0; i < slots_high(gc); i++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, i);
        if (mm_load_relaxed(&slot->state) != MM_SLOT_FREE && mm_load_relaxed(&slot->roots_overflow))
            return false;
    }
    return true;
}

/* Words in use in a slot's root area; what it claims beyond the area is not looked at. */
uint64_t roots_words(const struct mm_slot *slot)
{
    uint64_t frames = mm_load_relaxed(&slot->roots_bytes), extra = mm_load_relaxed(&slot->roots_extra_bytes);
    uint64_t bytes = frames > MM_ROOT_AREA_BYTES || extra > MM_ROOT_AREA_BYTES ? MM_ROOT_AREA_BYTES : frames + extra;
    return (bytes > MM_ROOT_AREA_BYTES ? MM_ROOT_AREA_BYTES : bytes) / 8;
}

static void stacks_trace(struct gc *gc)
{
    for (uint32_t i = 0; i < slots_high(gc); i++) {
        struct mm_slot *slot = mm_control_slot(gc->heap->control, i);
        if (mm_load_relaxed(&slot->state) == MM_SLOT_FREE)
            continue;
        uint64_t *root = mm_slot_roots(slot), words = roots_words(slot);
        if (gc->fixed)
            fixed_roots_trace(gc, slot, words);
        for (uint64_t w = 0; w < words && !gc->fixed; w++)
            (void)trace_slot(&gc->tracer[0], &root[w]);
        gc->receipt.threads++;
        gc->receipt.roots += words;
    }
}

static struct mm_handle *handles(const struct gc *gc) { return mm_control_handles(gc->heap->control, gc->heap->slot_count, gc->heap->space_count); }
static uint8_t *groups(const struct gc *gc) { return mm_control_handle_groups(gc->heap->control, gc->heap->slot_count, gc->heap->space_count); }

static bool handle_strong(uint32_t kind) { return kind == MM_HANDLE_STRONG || kind == MM_HANDLE_PIN || kind == MM_HANDLE_READY; }

/* Sets a group's byte: 1 if it must be visited again. Those that weak.c decides about count as young until then. */
static void group_trace(struct gc *gc, uint32_t group)
{
    bool young = false;
    for (uint32_t i = 0; i < MM_HANDLE_GROUP; i++) {
        struct mm_handle *handle = &handles(gc)[group * MM_HANDLE_GROUP + i];
        if (handle_strong(mm_load_relaxed(&handle->kind)))
            young |= trace_slot(&gc->tracer[0], &handle->word);
    }
    mm_store_relaxed(&groups(gc)[group], young);
    gc->receipt.roots += MM_HANDLE_GROUP;
}

static void handles_trace(struct gc *gc)
{
    for (uint32_t group = 0; group < groups_high(gc); group++)
        if (gc->pause != PAUSE_MINOR || mm_load_relaxed(&groups(gc)[group])) {
            if (!stack_push_grow(&gc->visited_groups, group))
                mm_store_relaxed(&gc->lie, "no memory for its handles");
            group_trace(gc, group);
        }
}

/* Young objects that are pinned: nothing of their blocks moves. Before the first copy. */
void roots_pin(struct gc *gc)
{
    for (uint32_t group = 0; group < groups_high(gc); group++) {
        if (!mm_load_relaxed(&groups(gc)[group]))
            continue;
        for (uint32_t i = 0; i < MM_HANDLE_GROUP; i++) {
            const struct mm_handle *handle = &handles(gc)[group * MM_HANDLE_GROUP + i];
            uint64_t off = mm_load_relaxed(&handle->kind) == MM_HANDLE_PIN ? trace_off(gc, mm_load_relaxed(&handle->word)) : TRACE_NONE;
            if (off != TRACE_NONE && gc->space[off >> MM_BLOCK_SHIFT] == GC_YOUNG)
                gc_block(gc, (uint32_t)(off >> MM_BLOCK_SHIFT))->flags |= GC_PINNED;
        }
    }
}

void roots_trace(struct gc *gc)
{
    gc->visited_groups.count = 0;
    stacks_trace(gc);
    handles_trace(gc);
    for (struct gc_root_set *set = gc->root_sets; set; set = set->next) {
        for (uint32_t i = 0; i < set->filled; i++)
            (void)trace_slot(&gc->tracer[0], &set->word[i]);
        gc->receipt.roots += set->filled;
    }
}

/* ---- Sets by letter ---- */

static struct gc_root_set **set_link(struct gc *gc, uint32_t slot, uint32_t set)
{
    struct gc_root_set **link = &gc->root_sets;
    while (*link && ((*link)->slot != slot || (*link)->set != set))
        link = &(*link)->next;
    return link;
}

static void set_drop(struct gc *gc, struct gc_root_set **link)
{
    struct gc_root_set *set = *link;
    *link = set->next;
    gc->root_set_words -= set->count;
    free(set);
}

const struct gc_root_set *gc_root_set_find(const struct gc *gc, uint32_t slot, uint32_t set) { return *set_link((struct gc *)gc, slot, set); }

void gc_root_sets_drop(struct gc *gc, uint32_t slot)
{
    for (struct gc_root_set **link = &gc->root_sets; *link;)
        if ((*link)->slot == slot)
            set_drop(gc, link);
        else
            link = &(*link)->next;
}

static int set_make(struct gc *gc, struct gc_root_set **link, uint32_t slot, uint32_t set, uint32_t total)
{
    if (total > ROOT_SET_MAX || gc->root_set_words + total > ROOT_SETS_MAX)
        return -MORPH_EROOTS;
    struct gc_root_set *made = calloc(1, sizeof *made + total * sizeof made->word[0]);
    if (!made)
        return -MORPH_EMEMORY;
    made->next = *link;
    made->slot = slot;
    made->set = set;
    made->count = total;
    gc->root_set_words += total;
    *link = made;
    return 0;
}

int gc_root_set_report(struct gc *gc, uint32_t slot, uint32_t set, uint32_t total, uint32_t at, const uint32_t *halves, uint32_t count)
{
    struct gc_root_set **link = set_link(gc, slot, set);
    if (slot >= gc->heap->slot_count || count % 2 != 0 || at > total || count / 2 > total - at)
        return -MORPH_EINVALID;
    if (at == 0) {                      /* a set begins anew with its first part */
        if (*link)
            set_drop(gc, link);
        int r = total ? set_make(gc, link, slot, set, total) : 0;
        if (r || !total)
            return r;
    }
    if (!*link || (*link)->count != total || (*link)->filled != at)
        return -MORPH_EINVALID;
    for (uint32_t i = 0; i < count / 2; i++)
        (*link)->word[at + i] = halves[2 * i] | (uint64_t)halves[2 * i + 1] << 32;
    (*link)->filled = at + count / 2;
    return 0;
}
