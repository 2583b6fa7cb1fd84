/* mph_root.c — the root stack of a compiled Morph program, most of which need not be kept.
 *
 * Such programs push addresses of their variables, and the pops stand behind the return, so they never run. But the machine stack is looked through
 * from end to end: a slot on it is covered while its frame lives, and means nothing afterwards. So is static data. A push of such a slot counts, and
 * no more. What is kept is a slot anywhere else: in an object, in memory of malloc. It may be stale too: what it holds is judged like any word, and
 * memory that is no longer there is not touched.
 * A program that was compiled with -finstrument-functions tells us of each entry and exit; the depth of an entry is restored at its exit, as the
 * pops would have done. Without that, slots in objects are dropped when there are many and the function that pushed them has returned:
 * whoever can still reach one of these reaches its object.
 * mph__roots_visit() runs in a signal handler as well: what it reads is exchanged by one store. The thread's own. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "client/morph/mph.h"

#define OUTSIDES_FIRST 64u
#define ENTRIES_FIRST  256u
#define READ_AT_ONCE   64u

#define BEFORE_SIGNALS() __asm__ volatile("" ::: "memory")

/* ---- Slots that are looked at ---- */

static int by_slot(const void *a, const void *b)
{
    const struct mph_outside *left = a, *right = b;
    if (left->slot != right->slot)
        return left->slot < right->slot ? -1 : 1;
    return left->depth < right->depth ? -1 : left->depth > right->depth;
}

static int by_depth(const void *a, const void *b)
{
    const struct mph_outside *left = a, *right = b;
    return left->depth < right->depth ? -1 : left->depth > right->depth;
}

/* Room for one more: each slot once, where it was pushed first, and none in an object that a function has pushed which has returned since. */
static void outsides_renew(struct mph_thread *me, uintptr_t frame)
{
    struct mph_outsides *old = me->outsides;
    uint32_t count = 0, room = old ? old->room * 2 : OUTSIDES_FIRST;
    struct mph_outsides *made = malloc(sizeof *made + room * sizeof made->at[0]);
    if (!made)
        mph__fail("cannot push a root", MORPH_EMEMORY);
    for (uint32_t i = 0; old && i < old->count; i++)
        if (old->at[i].frame >= frame || !morph_heap_holds(me->heap, old->at[i].slot))
            made->at[count++] = old->at[i];
    qsort(made->at, count, sizeof made->at[0], by_slot);
    uint32_t unique = 0;
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || made->at[i].slot != made->at[i - 1].slot)
            made->at[unique++] = made->at[i];
    qsort(made->at, unique, sizeof made->at[0], by_depth);
    *made = (struct mph_outsides){ .count = unique, .room = room };
    BEFORE_SIGNALS();
    me->outsides = made;
    BEFORE_SIGNALS();
    free(old);
}

static void depth_set(struct mph_thread *me, uint64_t depth)
{
    struct mph_outsides *outsides = me->outsides;
    me->depth = depth;
    while (outsides && outsides->count && outsides->at[outsides->count - 1].depth >= depth)
        outsides->count--;
}

void mph_gc_push_root(MorphContext *context, void **slot)
{
    struct mph_thread *me = mph__me();
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    (void)context;
    uint64_t depth = me->depth++;
    if (morph_thread_sees(me->thread, slot))
        return;
    if (!me->outsides || me->outsides->count == me->outsides->room)
        outsides_renew(me, frame);
    struct mph_outsides *outsides = me->outsides;
    outsides->at[outsides->count] = (struct mph_outside){ slot, depth, frame };
    BEFORE_SIGNALS();
    outsides->count++;
}

void mph_gc_pop_roots(MorphContext *context, int count)
{
    struct mph_thread *me = mph__me();
    (void)context;
    if (count > 0)
        depth_set(me, me->depth > (uint64_t)count ? me->depth - (uint64_t)count : 0);
}

int mph_gc_root_depth(MorphContext *context)
{
    (void)context;
    return (int)mph__me()->depth;
}

/* What some slots hold; NULL where memory is no longer there. Threads that run may be writing there: what they do so is on their stacks, too. */
static __attribute__((no_sanitize("thread", "address"))) void slots_read(const struct mph_outside *outside, uint32_t count, void **ret_value)
{
    struct iovec to = { ret_value, 0 }, from[READ_AT_ONCE];
    memset(ret_value, 0, count * sizeof *ret_value);
    for (uint32_t i = 0; i < count; i++)
        from[i] = (struct iovec){ outside[i].slot, sizeof(void *) };
    for (uint32_t done = 0; done < count;) {
        to = (struct iovec){ ret_value + done, (count - done) * sizeof *ret_value };
        ssize_t r = process_vm_readv(getpid(), &to, 1, from + done, count - done, 0);
        if (r < 0 && errno != EFAULT)
            ret_value[done] = *(void *volatile *)outside[done].slot;    /* a sandbox forbids to ask */
        done += r > 0 ? (uint32_t)r / sizeof *ret_value : 1;
    }
}

void mph__roots_visit(void *thread, morph_root_report report, void *to)
{
    const struct mph_thread *me = thread;
    const struct mph_outsides *outsides = me->outsides;
    void *value[READ_AT_ONCE];
    for (uint32_t i = 0, count; outsides && i < outsides->count; i += count) {
        count = outsides->count - i < READ_AT_ONCE ? outsides->count - i : READ_AT_ONCE;
        slots_read(outsides->at + i, count, value);
        for (uint32_t k = 0; k < count; k++)
            report(to, &value[k]);
    }
}

void mph__roots_free(struct mph_thread *mine)
{
    free(mine->outsides);
    free(mine->entry);
}

/* ---- Functions ---- */

static void entries_grow(struct mph_thread *me)
{
    uint32_t room = me->entry_room ? me->entry_room * 2 : ENTRIES_FIRST;
    struct mph_entry *grown = realloc(me->entry, room * sizeof *grown);
    if (!grown)
        mph__fail("cannot follow the program's functions", MORPH_EMEMORY);
    me->entry = grown;
    me->entry_room = room;
}

/* Entries whose frames lie below ours are of functions that were left without an exit (longjmp). In the same frame: a function that was inlined. */
void __cyg_profile_func_enter(void *function, void *call_site)
{
    struct mph_thread *me = mph__mine;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    (void)call_site;
    if (!me)
        return;                         /* it has no roots yet */
    while (me->entry_count && me->entry[me->entry_count - 1].frame < frame)
        me->entry_count--;
    if (me->entry_count == me->entry_room)
        entries_grow(me);
    me->entry[me->entry_count++] = (struct mph_entry){ function, frame, me->depth };
}

void __cyg_profile_func_exit(void *function, void *call_site)
{
    struct mph_thread *me = mph__mine;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    (void)call_site;
    if (!me)
        return;
    while (me->entry_count && me->entry[me->entry_count - 1].frame < frame && me->entry[me->entry_count - 1].function != function)
        me->entry_count--;
    if (!me->entry_count || me->entry[me->entry_count - 1].function != function)
        return;                         /* entered before this thread came here first */
    depth_set(me, me->entry[--me->entry_count].depth);
}
