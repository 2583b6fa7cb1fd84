/* mph.h — inside of the layer for compiled Morph programs (morph-abi.h): one heap for the process, one attachment for each thread that calls.
 *
 *   mph.c          the heap, its threads, allocation, collection
 *   mph_type.c     a program's MorphTypeInfo and the heap's types
 *   mph_root.c     the root stack, and its depth at function entries
 */
#ifndef MORPH_MPH_H
#define MORPH_MPH_H

#include <stdbool.h>
#include <stdint.h>

#include <morphmem/morph-abi.h>
#include <morphmem/morphmem.h>

/* How objects of one MorphTypeInfo are made. */
struct mph_type {
    const MorphTypeInfo *info;          /* NULL: of no type */
    morph_type type;
    size_t     bytes;                   /* of a payload; MPH_ANY_SIZE: any */
};
#define MPH_ANY_SIZE SIZE_MAX

/* An address that was pushed as a root and is neither on its thread's machine stack nor in static data, which are looked through anyway. */
struct mph_outside { void **slot; uint64_t depth; uintptr_t frame; };
/* One block, so that a signal finds the old one or the new one. */
struct mph_outsides { uint32_t count, room; struct mph_outside at[]; };
/* What a function found when it was entered. */
struct mph_entry { void *function; uintptr_t frame; uint64_t depth; };

#define MPH_TYPES_NEAR 16u              /* a power of two */
struct mph_thread {
    struct mph_thread *next;            /* of all, under the lock */
    morph_thread *thread;
    morph_heap   *heap;
    struct mph_type near[MPH_TYPES_NEAR];       /* types that it allocated lately, by address */
    uint64_t     objects, bytes;        /* allocated; read by others */

    uint64_t     depth;                 /* of the root stack */
    struct mph_outsides *outsides;
    struct mph_entry *entry;
    uint32_t     entry_count, entry_room;
};

extern _Thread_local struct mph_thread *mph__mine __attribute__((tls_model("initial-exec")));

/* The calling thread, attached if it was not; opens the heap too. Never NULL: a failure ends the program. */
struct mph_thread *mph__attach(void);
static inline struct mph_thread *mph__me(void)
{
    struct mph_thread *mine = mph__mine;
    return __builtin_expect(mine != NULL, 1) ? mine : mph__attach();
}

/* Says on stderr what could not be done and why, and ends the program. `error`: a negative code. */
void mph__fail(const char *what, int error) __attribute__((noreturn));

/* mph_type.c: registered with the heap, if it was not. Any attached thread. `collected`: types may be conservative. A failure ends the program. */
struct mph_type mph__type_of(morph_heap *heap, bool collected, const MorphTypeInfo *info);
void mph__types_forget(void);           /* the heap is gone */

/* mph_root.c */
void mph__roots_visit(void *thread, morph_root_report report, void *to);
void mph__roots_free(struct mph_thread *mine);

#endif
