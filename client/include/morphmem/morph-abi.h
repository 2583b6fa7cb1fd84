/* morphmem/morph-abi.h — what C code compiled from Morph programs calls, as libmorphmem-morph provides it.
 *
 * For code that is written by hand against this interface, and for the tests. A compiled program brings declarations of its own and does not
 * include this file; names, layouts and meaning are the same. Guide: docs/morph.md; manual: libmorphmem-morph(3).
 *
 * Objects live in one heap of the process that morphmemd owns, opened by the first mph_init_memory(): bounded, collected, visible in
 * morphmemctl. They never move. A thread is known by itself, not by its context, so any thread may call with any context. What keeps an object
 * alive: machine stacks and registers of the threads that have called here, the program's static data, objects that are alive, and pushed roots. An
 * interior pointer is as good as one to the beginning. Memory of malloc is not looked at.
 *
 * Environment: MORPHMEM_SOCKET, MORPHMEM_MODE (runtime, vm, server, or compiler: nothing is collected), MORPHMEM_LIMIT (512M, 2G ...),
 * MORPH_MEM_STATS (a file for statistics at exit). */
#ifndef MORPHMEM_MORPH_ABI_H
#define MORPHMEM_MORPH_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MORPH_ABI __attribute__((visibility("default")))
#else
#define MORPH_ABI
#endif

typedef struct MorphContext MorphContext;       /* the program's; never looked into */

/* A static object of the program; its address is its identity. `mark_fn` says only that the type is a container: it is never called. */
typedef struct MorphTypeInfo {
    const char *name;
    size_t      size;
    int         num_pointers;
    size_t     *pointer_offsets;
    void      (*mark_fn)(MorphContext *context, void *object);
} MorphTypeInfo;

/* Types of the memory system. An array's and a map's storage is an object of type mph_ti_raw. */
extern MORPH_ABI MorphTypeInfo mph_ti_string, mph_ti_string_real, mph_ti_raw, mph_ti_array, mph_ti_map, mph_ti_closure;

/* Once a context. Contexts are counted: with the last one goes the heap. A failure ends the program with a message. */
MORPH_ABI void mph_init_memory(MorphContext *context);
MORPH_ABI void mph_destroy_memory(MorphContext *context);

/* Zeroed memory for `size` bytes, 16-byte aligned, never NULL: a failure ends the program with a message. A NULL type: any word of it may be a
 * reference. May collect. */
MORPH_ABI void *mph_alloc(MorphContext *context, size_t size, MorphTypeInfo *type);

/* A stack of addresses of variables that hold references, one a thread. */
MORPH_ABI void mph_gc_push_root(MorphContext *context, void **slot);
MORPH_ABI void mph_gc_pop_roots(MorphContext *context, int count);

/* How many are on it now: for tests and for looking at a program. No part of the older interface. */
MORPH_ABI int mph_gc_root_depth(MorphContext *context);

/* Collects everything, now. */
MORPH_ABI void mph_gc_collect(MorphContext *context);

MORPH_ABI void mph_swap_in(MorphContext *context, void *object);        /* of an older memory system: does nothing, as the next two */
MORPH_ABI void mph_start_daemon(MorphContext *context);
MORPH_ABI void mph_stop_daemon(MorphContext *context);

/* Milliseconds since 1970. */
MORPH_ABI uint64_t mph_time_ms(void);

/* Called by programs that were compiled with -finstrument-functions: the depth of the root stack at a function's entry is restored at its exit. */
MORPH_ABI void __cyg_profile_func_enter(void *function, void *call_site);
MORPH_ABI void __cyg_profile_func_exit(void *function, void *call_site);

#ifdef __cplusplus
}
#endif

#endif
