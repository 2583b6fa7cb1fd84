/* fork.c — the list of this process's heaps, and what fork(2) does to it.
 *
 * Shared mappings are not inherited (MADV_DONTFORK): a child must not write into its parent's heap. In the child each heap is marked dead, its
 * descriptors are closed, the control area is replaced by private zeros, so that handles lead nowhere and say MORPH_EFORKED, and the heap's
 * range is kept as address space, so that nothing else can move in. vfork, posix_spawn and exec need nothing: descriptors close on exec. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/memfd.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct morph_heap *heaps;

static void before_fork(void) { pthread_mutex_lock(&list_lock); }
static void after_fork_parent(void) { pthread_mutex_unlock(&list_lock); }

static void after_fork_child(void)
{
    for (struct morph_heap *heap = heaps; heap; heap = heap->next) {
        heap->status = -MORPH_EFORKED;
        close(heap->socket);
        close(heap->doorbell);
        if (heap->due >= 0)
            close(heap->due);
        if (heap->watch >= 0)
            close(heap->watch);
        heap->socket = heap->doorbell = heap->due = heap->watch = -1;
        heap->service = false;          /* only the forking thread lives on */
        heap->stopper = false;
        heap->calling = 0;
        (void)mmap(heap->control, heap->control_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        (void)mm_unmap_to_reserve(heap->base, heap->reserve_bytes);
        pthread_mutex_init(&heap->lock, NULL);          /* another thread of the parent may have held it */
    }
    pthread_mutex_unlock(&list_lock);
}

static void register_handlers(void) { pthread_atfork(before_fork, after_fork_parent, after_fork_child); }

void morph__heap_enlist(struct morph_heap *heap)
{
    pthread_once(&once, register_handlers);
    pthread_mutex_lock(&list_lock);
    heap->next = heaps;
    heaps = heap;
    pthread_mutex_unlock(&list_lock);
}

void morph__heap_delist(struct morph_heap *heap)
{
    pthread_mutex_lock(&list_lock);
    for (struct morph_heap **link = &heaps; *link; link = &(*link)->next)
        if (*link == heap) {
            *link = heap->next;
            break;
        }
    pthread_mutex_unlock(&list_lock);
}
