/* morphmem/morph-mem.h — the Memory V2 interface of Morph's runtimes (morph_mem_*), as libmorphmem-morph provides it.
 *
 * A context is a heap of its own that morphmemd owns: bounded, visible in morphmemctl, and in the modes RUNTIME, VM and SERVER collected.
 * Objects never move, and callers have no write barrier: what keeps an object alive is its address, or one into it, in a machine stack or
 * register of a thread that has called here, in static data, in a living object, or in a pushed root. Memory of malloc is not looked at.
 * In mode COMPILER nothing is collected: objects live until they are freed, or until the context is destroyed.
 *
 * Errors: functions that return int return 0 or a negative code of morphmem/error.h (the original interface has void there, so callers may ignore
 * it); those that return memory or a context return NULL. morph_mem_error() then has the code. Nothing aborts.
 * Threads: any thread may call with any context. It is attached at its first call and detached when it ends; 64 threads at a time. A thread
 * that is attached and neither allocates nor ends holds up collections: see morph_mem_blocking_begin(). Of morph_mem_destroy() see there.
 * In a forked child a context can only be destroyed.
 *
 * Environment, read by morph_mem_init(): MORPHMEM_SOCKET; MORPHMEM_MODE (compiler, runtime, vm, server) and MORPHMEM_LIMIT (bytes, or with the suffix
 * K, M or G) take the place of what the configuration says, and a value that makes no sense is an error; MORPH_MEM_STATS, a file for the
 * statistics of all contexts together, as JSON, at exit; MORPH_MEM_DEBUG says on stderr what was chosen.
 *
 * Sizes are bytes. Manual: libmorphmem-morph(3). */
#ifndef MORPHMEM_MORPH_MEM_H
#define MORPHMEM_MORPH_MEM_H

#include <stddef.h>
#include <stdint.h>

#include <morphmem/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MORPH_MEM __attribute__((visibility("default")))
#else
#define MORPH_MEM
#endif

#ifdef __cplusplus
#define MORPH_MEM_ASSERT(condition, text) static_assert(condition, text)
#else
#define MORPH_MEM_ASSERT(condition, text) _Static_assert(condition, text)
#endif

/* ---- Configuration --------------------------------------------------------------------------------------------------- */

typedef enum MorphWorkloadMode {
    MORPH_MODE_COMPILER = 0,        /* high churn, not collected: memory that is freed singly, or all at once */
    MORPH_MODE_RUNTIME = 1,         /* ordinary programs */
    MORPH_MODE_VM = 2,              /* long-lived virtual machines */
    MORPH_MODE_SERVER = 3           /* services with a hard bound */
} MorphWorkloadMode;

typedef struct MorphMemConfig {
    MorphWorkloadMode mode;
    size_t  heap_size_hint;         /* hard bound of the heap, at least 256 KiB; 0: the mode's preset */
    size_t  gc_threshold;           /* old objects' size that starts a major collection; 0: the mode's preset */
    uint8_t gc_pause_target_ms;     /* 0: the mode's preset */
    uint8_t enable_generational;    /* 0: what survives one collection is old */
    uint8_t enable_compaction;      /* has no effect: objects do not move */
    uint8_t enable_metrics;         /* 0: allocations are not counted (in COMPILER mode then nothing is); what the daemon knows is there in any case */
    uint8_t enable_debug;           /* as MORPH_MEM_DEBUG */
} MorphMemConfig;

/* Heap and start of major collections: 256 MiB, none; 512 MiB, 64 MiB; 2 GiB, 128 MiB; 1 GiB, 128 MiB. Pause target: none, 10 ms, 5 ms, 5 ms. */
extern MORPH_MEM const MorphMemConfig MORPH_CONFIG_COMPILER, MORPH_CONFIG_RUNTIME, MORPH_CONFIG_VM, MORPH_CONFIG_SERVER;

/* What fits this machine, by morph_mem_get_available_ram(): less than 512 MiB: COMPILER with a quarter of it; less than 4 GiB: RUNTIME with half of it,
 * and an eighth as threshold; else SERVER with 2 GiB and 256 MiB. */
MORPH_MEM MorphMemConfig morph_mem_detect_config(void);

/* Memory that can be had now without pushing anybody out, control group limits included; 0 if it cannot be read. */
MORPH_MEM size_t morph_mem_get_available_ram(void);

/* ---- Contexts -------------------------------------------------------------------------------------------------------- */

typedef struct MorphContextV2 MorphContextV2;

/* A context; ends with morph_mem_destroy(). NULL: no heap could be had, which a sentence on stderr explains (codes of morph_heap_open(), and INVALID for a
 * bad configuration or environment). */
MORPH_MEM MorphContextV2 *morph_mem_init(MorphMemConfig config);
MORPH_MEM MorphContextV2 *morph_mem_init_auto(void);           /* with morph_mem_detect_config() */

/* All memory of the context is gone. Other threads may be attached to it, but none is in a function with it or calls one afterwards. NULL is allowed. */
MORPH_MEM int morph_mem_destroy(MorphContextV2 *ctx);

/* Why the last call of this thread that failed did; 0: none has. */
MORPH_MEM int morph_mem_error(void);

/* ---- Objects --------------------------------------------------------------------------------------------------------- */

#define MORPH_MEM_TYPES 128u        /* type ids are 1 to 127 */

/* What lies before each object. To be read only. */
typedef struct MorphObjectHeader {
    uint32_t size;                  /* of the object, without the header */
    uint16_t type;                  /* collected modes: the type's number in the heap, as morphmemctl shows it; COMPILER: the type id */
    uint8_t  age;                   /* collections survived */
    uint8_t  flags;                 /* morphmem's own */
    uint64_t word;
} MorphObjectHeader;
MORPH_MEM_ASSERT(sizeof(MorphObjectHeader) == 16, "an object's header is 16 bytes");

enum {
    MORPH_GENERATION_YOUNG = 0,
    MORPH_GENERATION_OLD = 1,
    MORPH_GENERATION_PERMANENT = 2, /* COMPILER: lives until it is freed, or the context ends */
    MORPH_GENERATION_LARGE = 255    /* more than 16 KiB in a collected mode */
};

/* An object of `size` bytes (0 is as 1), 16-byte aligned; the second one zeroed. In collected modes both are, and may collect. NULL: NOMEM, BUDGET or
 * QUOTA at a bound; INVALID (type id), TOOLARGE (4 GiB or more), THREADS, LOST, CONDEMNED, FORKED, MEMORY. */
MORPH_MEM void *morph_mem_alloc(MorphContextV2 *ctx, size_t size, uint8_t type_id);
MORPH_MEM void *morph_mem_alloc_zeroed(MorphContextV2 *ctx, size_t size, uint8_t type_id);

/* COMPILER: frees an object; any thread may. Elsewhere does nothing. NULL is allowed. INVALID: not an object of this context, or freed before. */
MORPH_MEM int morph_mem_free(MorphContextV2 *ctx, void *object);

static inline const MorphObjectHeader *morph_mem_header(const void *object) { return (const MorphObjectHeader *)object - 1; }

/* MORPH_GENERATION_... of an object that is alive; a negative code. */
MORPH_MEM int morph_mem_generation(MorphContextV2 *ctx, const void *object);

/* Names a type for people: statistics, and morphmemctl where the mode is collected. 1 to 100 bytes, copied. A type that was not registered is called
 * "type-N". Another name for the same id holds for objects that are born from then on. INVALID (id, name), NOTYPES, LOST, MEMORY. */
MORPH_MEM int morph_mem_register_type(MorphContextV2 *ctx, uint8_t type_id, const char *name);

/* ---- Collection ------------------------------------------------------------------------------------------------------ */

/* Collects everything, now. MODE in a context that is not collected; PUTOFF: another thread did not stop. */
MORPH_MEM int morph_mem_gc_collect(MorphContextV2 *ctx);

/* The address of a variable that holds a reference, until it is popped: a stack of them, one for each thread. MEMORY. */
MORPH_MEM int morph_mem_gc_push_root(MorphContextV2 *ctx, void **variable);
MORPH_MEM void morph_mem_gc_pop_roots(MorphContextV2 *ctx, int count);

/* Around a call that may block: collections need not wait for this thread meanwhile, and it touches no object. They nest. Not of the original interface. */
MORPH_MEM int morph_mem_blocking_begin(MorphContextV2 *ctx);
MORPH_MEM void morph_mem_blocking_end(MorphContextV2 *ctx);

/* ---- Statistics ------------------------------------------------------------------------------------------------------ */

/* Live figures of collected modes are the daemon's, by a count that is made for this call: what is not yet known to be dead counts. */
typedef struct MorphMemStats {
    uint64_t total_allocated;       /* bytes of objects, since the context was made */
    uint64_t total_freed;           /* of these, what does not live any more */
    uint64_t current_live;
    uint64_t peak_live;             /* the most that was found: in COMPILER mode exact; else by the calls of these functions, and by collections (with
                                     * headers), as each thread looks after every mebibyte that it has allocated */
    uint64_t gc_count;              /* collections */
    uint64_t gc_time_us;            /* in pauses */
    uint64_t gc_pause_max_us;
    uint64_t gc_pause_avg_us;
    uint64_t object_count;          /* allocated, since the context was made */
    uint64_t object_count_by_type[128];     /* alive; at 0 what is of no type of this interface */
    uint64_t bytes_by_type[128];            /* alive */
    uint64_t arena_bytes;           /* always 0: these contexts have no arenas */
    uint64_t pool_bytes;            /* COMPILER: in use, with headers and rounding */
    uint64_t heap_bytes;            /* granted by the daemon */
    uint64_t arena_count;           /* always 0 */
    uint64_t pool_count;
    uint64_t young_gc_count;
    uint64_t old_gc_count;
    uint64_t promoted_objects;      /* became old */
    uint64_t promoted_bytes;
} MorphMemStats;

/* All zero without a context, in a forked child, and the live figures when the daemon does not answer: morph_mem_error() has the code, else 0. */
MORPH_MEM MorphMemStats morph_mem_get_stats(MorphContextV2 *ctx);

/* The same as text, on stdout. */
MORPH_MEM int morph_mem_print_stats(MorphContextV2 *ctx);

/* The same as JSON in the file `path`, which is overwritten: one object, whose keys are the fields above, `mode`, and `types` (id, name, objects, bytes
 * of each type that has objects). INVALID (path); SYSTEM: the file could not be written, errno says why. */
MORPH_MEM int morph_mem_dump_stats(MorphContextV2 *ctx, const char *path);

#ifdef __cplusplus
}
#endif

#endif
