/* atomic.h — memory orders by name, so that they can be grepped and read.
 *
 * Shared words are plain fixed-width fields; each access says its order here. A relaxed load is also the only way in which
 * the daemon reads what a client may be writing: one load, whole, never repeated by the compiler.
 * Each access that is not relaxed names its partner in a comment (PROTOCOLS in docs/design/protocols.md).
 */
#ifndef MM_ATOMIC_H
#define MM_ATOMIC_H

#include <stdint.h>

#define mm_load_relaxed(p)        __atomic_load_n((p), __ATOMIC_RELAXED)
#define mm_load_acquire(p)        __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define mm_load_seq_cst(p)        __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define mm_store_relaxed(p, v)    __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define mm_store_release(p, v)    __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define mm_store_seq_cst(p, v)    __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define mm_xchg_seq_cst(p, v)     __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)
#define mm_add_relaxed(p, v)      __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define mm_sub_relaxed(p, v)      __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define mm_add_seq_cst(p, v)      __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)

/* True if *p was `expected` and is now `desired`. */
#define mm_cas_seq_cst(p, expected, desired)                                                             \
    __extension__({                                                                                      \
        __typeof__(*(p)) mm_cas_seen = (expected);                                                       \
        __atomic_compare_exchange_n((p), &mm_cas_seen, (desired), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    })

/* Who acquires a word that is stored after it sees all that was stored before it. ThreadSanitizer knows no fences, and what it looks at has no use for one:
 * those whom it is meant for are in another process. */
#ifdef __SANITIZE_THREAD__
#define mm_fence_release()        __asm__ volatile("" ::: "memory")
#else
#define mm_fence_release()        __atomic_thread_fence(__ATOMIC_RELEASE)
#endif

/* One step of a spin loop: tells the core (and a hypervisor) that this thread waits. */
static inline void mm_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

#endif
