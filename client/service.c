/* service.c — the service thread: hears the daemon's letters for a program that has no event loop to do it in.
 *
 * One for a heap, if its options ask for it: started by morph_heap_open(), ended and joined by morph_heap_close(). All its signals are blocked. It is
 * not attached to the heap, holds up no collection, and does nothing but morph_heap_dispatch(). A forked child has none (fork.c). */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "client/internal.h"

static void *service_main(void *argument)
{
    struct morph_heap *heap = argument;
    struct pollfd listen[2] = { { .fd = heap->socket, .events = POLLIN | POLLRDHUP }, { .fd = heap->due, .events = POLLIN } };
    while (!mm_load_relaxed(&heap->service_stop)) {
        (void)poll(listen, 2, -1);
        if (morph_heap_dispatch(heap) < 0)
            break;                      /* it can say nothing any more */
    }
    return NULL;
}

int morph__service_start(struct morph_heap *heap)
{
    sigset_t all, before;
    morph__lock(heap);
    int r = morph__due_open(heap);
    morph__unlock(heap);
    if (r < 0)
        return r;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&heap->service_thread, NULL, service_main, heap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return MORPH_EMEMORY;
    (void)pthread_setname_np(heap->service_thread, "morphmem");
    heap->service = true;
    return 0;
}

void morph__service_stop(struct morph_heap *heap)
{
    uint64_t one = 1;
    if (!heap->service)
        return;
    mm_store_relaxed(&heap->service_stop, 1);
    (void)!write(heap->due, &one, sizeof one);          /* never full: it counts to 2^64 */
    pthread_join(heap->service_thread, NULL);
    heap->service = false;
}
