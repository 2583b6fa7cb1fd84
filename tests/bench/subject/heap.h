/* heap.h — what the morphmem subjects share: a heap in COMPILER mode and this thread in it. */
#ifndef BENCH_HEAP_H
#define BENCH_HEAP_H

#include <morphmem/morphmem.h>

static morph_heap *heap;
static morph_thread *thread;

static inline void heap_check(int r)
{
    if (r < 0)
        subject_die(morph_strerror(r));
}

static inline void subject_begin(enum role role, uint64_t limit_bytes)
{
    (void)role;
    heap_check(morph_heap_open(&heap, &(morph_options){ .mode = MORPH_COMPILER, .name = "bench", .limit_bytes = limit_bytes }));
    heap_check(morph_thread_attach(heap, &thread));
}

#endif
