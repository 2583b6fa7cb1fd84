/* roots.c — roots beside the frames: addresses of C variables, a VM's own stack, sets reported by letter (other side: daemon/gc/roots.c).
 *
 * What is not in the shared root stack is copied above its top before the thread stops, updated there by the daemon, and copied back when
 * the thread goes on. The frames themselves need nothing.
 * A thread's own. */
#include <stdlib.h>
#include <string.h>

#include "client/internal.h"

#define ROOT_SET_WORDS 512u             /* in one packet */

void *morph_frame_push_slow(morph_thread *public_thread, size_t bytes)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    (void)bytes;
    return thread ? morph__thread_fail(thread, MORPH_EROOTS) : NULL;
}

/* ---- Variables and visitors ---- */

int morph_root_push(morph_thread *public_thread, void **variable)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || !variable)
        return public_thread && !thread ? MORPH_EFORKED : MORPH_EINVALID;
    if (thread->variables == thread->variable_room) {
        uint32_t room = thread->variable_room ? thread->variable_room * 2 : 64;
        void ***grown = realloc(thread->variable, room * sizeof *grown);
        if (!grown)
            return MORPH_EMEMORY;
        thread->variable = grown;
        thread->variable_room = room;
    }
    thread->variable[thread->variables++] = variable;
    return 0;
}

void morph_root_pop(morph_thread *public_thread, unsigned count)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (thread)
        thread->variables -= count < thread->variables ? count : thread->variables;
}

int morph_thread_on_roots(morph_thread *public_thread, morph_root_visitor visit, void *argument)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread)
        return public_thread ? MORPH_EFORKED : MORPH_EINVALID;
    thread->visit = visit;
    thread->visit_argument = argument;
    return 0;
}

/* One pass over everything that is not a frame: copies it out, or back. */
struct pass { struct morph__thread *thread; uint64_t *at, *end; bool back, overflow; };

static void on_report(void *to, void **slot)
{
    struct pass *pass = to;
    if (pass->at == pass->end)
        pass->overflow = true;
    else if (pass->back)
        *slot = (void *)(uintptr_t)*pass->at++;
    else
        *pass->at++ = (uintptr_t)*slot;
}

static struct pass pass_run(struct morph__thread *thread, bool back)
{
    struct mm_slot *slot = thread->slot;
    uint64_t *area = mm_slot_roots(slot);
    uint64_t room = back ? slot->roots_extra_bytes : MM_ROOT_AREA_BYTES - slot->roots_bytes;
    struct pass pass = { thread, area + slot->roots_bytes / 8, area + (slot->roots_bytes + room) / 8, back, false };
    for (uint32_t i = 0; i < thread->variables; i++)
        on_report(&pass, thread->variable[i]);
    if (thread->visit)
        thread->visit(thread->visit_argument, on_report, &pass);
    return pass;
}

void morph__roots_publish(struct morph__thread *thread)
{
    struct mm_slot *slot = thread->slot;
    if (thread->variables || thread->visit) {
        struct pass pass = pass_run(thread, false);
        slot->roots_extra_bytes = (uint64_t)((char *)pass.at - (char *)mm_slot_roots(slot)) - slot->roots_bytes;
        slot->roots_overflow = pass.overflow;
    }
    if (thread->heap->no_moving)
        morph__fixed_publish(thread);
}

void morph__roots_take_back(struct morph__thread *thread)
{
    struct mm_slot *slot = thread->slot;
    if (!slot->roots_extra_bytes || thread->heap->no_moving)
        return;
    if (!slot->roots_overflow)          /* else nothing was collected */
        (void)pass_run(thread, true);
}

/* ---- Sets by letter ---- */

static struct morph__root_set **set_link(struct morph__thread *thread, uint32_t number)
{
    struct morph__root_set **link = &thread->root_sets;
    while (*link && (*link)->number != number)
        link = &(*link)->next;
    return link;
}

static int set_send(struct morph__thread *thread, uint32_t number, void **object, uint32_t count)
{
    struct morph_heap *heap = thread->heap;
    struct mm_message message, answer;
    int r = 0;
    uint32_t at = 0;
    do {
        uint32_t part = count - at < ROOT_SET_WORDS ? count - at : ROOT_SET_WORDS;
        message = (struct mm_message){ .id = MM_MSG_ROOTS };
        message.as.roots.slot = thread->index;
        message.as.roots.set = number;
        message.as.roots.total = count;
        message.as.roots.at = at;
        for (uint32_t i = 0; i < part; i++) {
            message.as.roots.words[2 * i] = (uint32_t)(uintptr_t)object[at + i];
            message.as.roots.words[2 * i + 1] = (uint32_t)((uintptr_t)object[at + i] >> 32);
        }
        message.as.roots.words_count = part * 2;
        morph__lock(heap);
        r = morph__request(heap, &message, &answer);
        morph__unlock(heap);
        if (r == 0 && answer.id != MM_MSG_OK)
            r = MORPH_EPROTOCOL;
        at += part;
    } while (r == 0 && at < count);
    return r;
}

int morph_roots_report(morph_thread *public_thread, uint32_t number, void **object, uint32_t count)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || thread->native || (count && !object) || count > 1u << 20)       /* NATIVE: a pause may be on */
        return public_thread && !thread ? MORPH_EFORKED : MORPH_EINVALID;
    struct morph__root_set **link = set_link(thread, number);
    if (!*link && count) {
        struct morph__root_set *made = calloc(1, sizeof *made);
        if (!made)
            return MORPH_EMEMORY;
        made->number = number;
        *link = made;
    }
    int r = *link ? set_send(thread, number, object, count) : 0;       /* RUNNING meanwhile: nothing moves on the way */
    if (r == 0 && *link && count) {
        (*link)->object = object;
        (*link)->count = count;
    } else if (*link) {
        struct morph__root_set *gone = *link;
        *link = gone->next;
        free(gone);
    }
    return r;
}

/* Fills the caller's array from what the daemon has now. A collection in between shows in the epoch: morph__leave() comes again. */
static int set_fetch(struct morph__thread *thread, struct morph__root_set *set)
{
    struct morph_heap *heap = thread->heap;
    struct mm_message message, answer;
    for (uint32_t at = 0; at < set->count;) {
        message = (struct mm_message){ .id = MM_MSG_ROOTS_GET };
        message.as.roots_get.slot = thread->index;
        message.as.roots_get.set = set->number;
        message.as.roots_get.at = at;
        morph__lock(heap);
        int r = morph__request(heap, &message, &answer);
        morph__unlock(heap);
        if (r < 0)
            return r;
        const struct mm_roots_moved *moved = &answer.as.roots_moved;
        if (answer.id != MM_MSG_ROOTS_MOVED || moved->total != set->count || moved->words_count % 2 || moved->words_count == 0 ||
            moved->words_count / 2 > set->count - at)
            return MORPH_EPROTOCOL;
        for (uint32_t i = 0; i < moved->words_count / 2; i++)
            set->object[at + i] = (void *)(uintptr_t)(moved->words[2 * i] | (uint64_t)moved->words[2 * i + 1] << 32);
        at += moved->words_count / 2;
    }
    return 0;
}

void morph__root_sets_fetch(struct morph__thread *thread)
{
    for (struct morph__root_set *set = thread->root_sets; set; set = set->next) {
        int r = set_fetch(thread, set);
        if (r < 0) {
            morph__lose(thread->heap, r == MORPH_ETIMEOUT ? MORPH_ELOST : r);      /* its references can no longer be known */
            return;
        }
    }
}

void morph__roots_free(struct morph__thread *thread)
{
    free(thread->variable);
    while (thread->root_sets) {
        struct morph__root_set *set = thread->root_sets;
        thread->root_sets = set->next;
        free(set);
    }
}
