/* ask.c — a request whose answer may take its time: the daemon collects or counts first.
 *
 * The answer is awaited without heap->lock, by a caller that is NATIVE: a thread that waited for the lock while it runs would hold up the very
 * collection that the answer may wait for. Whoever reads the socket puts the answer where it is awaited (transport.c). */
#include <poll.h>

#include "client/internal.h"
#include "shm/park.h"

#define LOOK_MS 5                       /* another thread may have read the answer, which wakes nobody here */

static int answer_await(struct morph_heap *heap, struct morph__awaited *awaited)
{
    uint64_t deadline = mm_now_ns() + (uint64_t)heap->timeout_ms * 1000000;
    for (;;) {
        struct pollfd readable = { .fd = heap->socket, .events = POLLIN };
        morph__lock(heap);
        int r = morph__letters(heap);
        bool come = awaited->come;
        morph__unlock(heap);
        if (come)
            return awaited->error;
        if (r < 0)
            return r;
        if (mm_now_ns() >= deadline)
            return MORPH_ETIMEOUT;
        (void)poll(&readable, 1, LOOK_MS);
    }
}

int morph__ask(struct morph_heap *heap, struct mm_message *message, struct morph__awaited *awaited)
{
    morph__lock(heap);
    int r = morph__say(heap, message);
    awaited->seq = message->seq;
    awaited->next = heap->awaited;
    heap->awaited = awaited;
    morph__unlock(heap);
    if (r == 0)
        r = answer_await(heap, awaited);
    morph__lock(heap);
    for (struct morph__awaited **link = &heap->awaited; *link; link = &(*link)->next)
        if (*link == awaited) {
            *link = awaited->next;
            break;
        }
    morph__unlock(heap);
    return r;
}
