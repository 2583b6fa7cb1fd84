/* handle.c — handles, pins and finalizers: entries of the heap's table of global roots (shm/handle.h; other side: daemon/gc/roots.c and
 * weak.c).
 *
 * Entries are taken and given back under the heap's lock; free ones form a list. The daemon looks at the table in pauses only, when no
 * thread runs, and every function here runs on a RUNNING thread: so plain accesses suffice. */
#include <stdlib.h>

#include "client/internal.h"

static struct mm_handle *table(struct morph_heap *heap) { return mm_control_handles(heap->control, heap->control->slot_count, heap->control->space_count); }

/* The next collection must look at this entry. */
static void touch(struct morph_heap *heap, uint32_t index)
{
    mm_store_relaxed(&mm_control_handle_groups(heap->control, heap->control->slot_count, heap->control->space_count)[index / MM_HANDLE_GROUP], (uint8_t)1);
}

/* 0: there is none. Under the lock. */
static uint32_t entry_take(struct morph_heap *heap)
{
    uint32_t index = heap->handle_free;
    if (index) {
        heap->handle_free = table(heap)[index].next;
        return index;
    }
    index = heap->control->handles_high ? heap->control->handles_high : 1;
    if (index >= MM_HANDLES)
        return 0;
    mm_store_relaxed(&heap->control->handles_high, index + 1);
    return index;
}

static void entry_give(struct morph_heap *heap, uint32_t index)
{
    struct mm_handle *entry = &table(heap)[index];
    mm_store_relaxed(&entry->kind, MM_HANDLE_FREE);
    entry->word = 0;
    entry->next = heap->handle_free;
    heap->handle_free = index;
}

/* Under the lock. */
static uint32_t entry_new(struct morph_heap *heap, enum mm_handle_kind kind, void *object, void *tag)
{
    uint32_t index = entry_take(heap);
    if (!index)
        return 0;
    struct mm_handle *entry = &table(heap)[index];
    entry->word = (uintptr_t)object;
    entry->tag = (uintptr_t)tag;
    entry->seq = ++heap->handle_seq;
    entry->next = 0;
    mm_store_relaxed(&entry->kind, kind);
    touch(heap, index);
    return index;
}

static uint32_t entry_make(morph_thread *public_thread, enum mm_handle_kind kind, void *object, void *tag)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread)
        return 0;
    morph__lock(thread->heap);
    uint32_t index = entry_new(thread->heap, kind, object, tag);
    morph__unlock(thread->heap);
    if (!index)
        thread->error = MORPH_EHANDLES;
    return index;
}

/* ---- Handles ---- */

morph_handle morph_handle_new(morph_thread *thread, void *object) { return (morph_handle){ entry_make(thread, MM_HANDLE_STRONG, object, NULL) }; }
morph_handle morph_handle_new_weak(morph_thread *thread, void *object) { return (morph_handle){ entry_make(thread, MM_HANDLE_WEAK, object, NULL) }; }

static struct mm_handle *entry_of(morph_thread *public_thread, morph_handle handle, struct morph_heap **ret_heap)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || handle.index == 0 || handle.index >= mm_load_relaxed(&thread->heap->control->handles_high))
        return NULL;
    *ret_heap = thread->heap;
    struct mm_handle *entry = &table(thread->heap)[handle.index];
    return entry->kind == MM_HANDLE_STRONG || entry->kind == MM_HANDLE_WEAK ? entry : NULL;
}

void *morph_handle_get(morph_thread *thread, morph_handle handle)
{
    struct morph_heap *heap;
    struct mm_handle *entry = entry_of(thread, handle, &heap);
    void *object = entry ? (void *)(uintptr_t)mm_load_relaxed(&entry->word) : NULL;
    if (entry && entry->kind == MM_HANDLE_WEAK)
        morph__strong_again(thread, object);
    return object;
}

void morph_handle_set(morph_thread *thread, morph_handle handle, void *object)
{
    struct morph_heap *heap;
    struct mm_handle *entry = entry_of(thread, handle, &heap);
    if (!entry)
        return;
    mm_store_relaxed(&entry->word, (uintptr_t)object);
    touch(heap, handle.index);
}

void morph_handle_free(morph_thread *thread, morph_handle handle)
{
    struct morph_heap *heap;
    if (!entry_of(thread, handle, &heap))
        return;
    morph__lock(heap);
    entry_give(heap, handle.index);
    morph__unlock(heap);
}

/* ---- Pins: a pinned object does not move, so its address finds it ---- */

struct morph__pin { uint64_t address; uint32_t entry, count; };

static struct morph__pin *pin_at(struct morph_heap *heap, uint64_t address)
{
    uint64_t at = (address / 16 * 0x9e3779b97f4a7c15u) >> 32 & (heap->pin_room - 1);
    while (heap->pin[at].address && heap->pin[at].address != address)
        at = (at + 1) & (heap->pin_room - 1);
    return &heap->pin[at];
}

static bool pins_grow(struct morph_heap *heap)
{
    struct morph__pin *old = heap->pin;
    uint32_t room = heap->pin_room;
    struct morph__pin *made = calloc(room ? room * 2 : 64, sizeof *made);
    if (!made)
        return false;
    heap->pin = made;
    heap->pin_room = room ? room * 2 : 64;
    heap->pins = 0;
    for (uint32_t i = 0; i < room; i++)
        if (old[i].address && old[i].count) {
            *pin_at(heap, old[i].address) = old[i];
            heap->pins++;
        }
    free(old);
    return true;
}

static int pin_locked(struct morph_heap *heap, void *object)
{
    if (heap->pins * 2 >= heap->pin_room && !pins_grow(heap))
        return MORPH_EMEMORY;
    struct morph__pin *pin = pin_at(heap, (uintptr_t)object);
    if (pin->count == 0) {
        uint32_t entry = entry_new(heap, MM_HANDLE_PIN, object, NULL);
        if (!entry)
            return MORPH_EHANDLES;
        heap->pins += pin->address == 0;
        *pin = (struct morph__pin){ (uintptr_t)object, entry, 0 };
    }
    pin->count++;
    return 0;
}

static int unpin_locked(struct morph_heap *heap, void *object)
{
    struct morph__pin *pin = heap->pin_room ? pin_at(heap, (uintptr_t)object) : NULL;
    if (!pin || pin->count == 0)
        return MORPH_EINVALID;
    if (--pin->count == 0)              /* the entry of the table stays, as a place that others may lie behind */
        entry_give(heap, pin->entry);
    return 0;
}

static int pin_call(morph_thread *public_thread, void *object, int (*call)(struct morph_heap *heap, void *object))
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || !object)
        return public_thread && !thread ? MORPH_EFORKED : MORPH_EINVALID;
    morph__lock(thread->heap);
    int r = call(thread->heap, object);
    morph__unlock(thread->heap);
    return r;
}

int morph_pin(morph_thread *thread, void *object) { return pin_call(thread, object, pin_locked); }
int morph_unpin(morph_thread *thread, void *object) { return pin_call(thread, object, unpin_locked); }

/* ---- Finalizers ---- */

int morph_finalizer_set(morph_thread *thread, void *object, void *word)
{
    if (!object)
        return MORPH_EINVALID;
    return entry_make(thread, MM_HANDLE_FINALIZER, object, word) ? 0 : morph__thread_of(thread) ? MORPH_EHANDLES : MORPH_EFORKED;
}

void *morph_finalizer_next(morph_thread *public_thread, void **ret_word)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    if (!thread || mm_load_relaxed(&thread->heap->control->ready_head) == 0)
        return NULL;
    struct morph_heap *heap = thread->heap;
    void *object = NULL;
    morph__lock(heap);
    uint32_t index = heap->control->ready_head;
    if (index && index < heap->control->handles_high) {
        struct mm_handle *entry = &table(heap)[index];
        object = (void *)(uintptr_t)entry->word;
        if (ret_word)
            *ret_word = (void *)(uintptr_t)entry->tag;
        heap->control->ready_head = entry->next;
        entry_give(heap, index);
    }
    morph__unlock(heap);
    morph__strong_again(public_thread, object);
    return object;
}

/* ---- Identity ---- */

/* xorshift of a per-thread state: what it must be is not 0. */
uint32_t morph_identity_hash_slow(morph_thread *public_thread, void *object)
{
    struct morph__thread *thread = morph__thread_of(public_thread);
    uint32_t *hash = (uint32_t *)((char *)object - 4), made = 0;
    while (thread && !made) {
        uint64_t x = thread->random ? thread->random : ((uintptr_t)thread ^ thread->slot->tid) | 1;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        thread->random = x;
        made = (uint32_t)(x >> 32);
    }
    (void)mm_cas_seq_cst(hash, 0u, made);       /* another thread was first: its number it is */
    return mm_load_relaxed(hash);
}
