/* morphmem/morphmem.h — memory that a daemon keeps warm, bounded and visible, allocated without a system call.
 *
 * Nouns: a heap (bounded memory that morphmemd owns), a thread (this process's thread in a heap), a type (the layout of an
 * object), an arena (objects that go all at once), a pool (memory that is freed singly).
 *
 * Errors: functions that return int return 0 or a negative code of morphmem/error.h; morph_strerror() has its sentence.
 * Functions that return memory return NULL and leave the code in morph_thread_error(). Nothing aborts.
 * Results come through `ret_` arguments, last, and are written on success only.
 * Threads: a morph_thread, and the arenas and pools made from it, belong to the thread that attached; anything about the heap
 * itself may be called by any thread. Sizes are bytes.
 *
 * Manual: libmorphmem(3).
 */
#ifndef MORPHMEM_H
#define MORPHMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <morphmem/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MORPH_API __attribute__((visibility("default")))
#else
#define MORPH_API
#endif

typedef struct morph_heap morph_heap;
typedef struct morph_thread morph_thread;
typedef struct morph_arena morph_arena;
typedef struct morph_pool morph_pool;
typedef struct morph_type_info morph_type_info;
typedef const morph_type_info *morph_type;      /* owned by the heap, valid until it is closed */

/* ---- Errors ---------------------------------------------------------------------------------------------------------- */

/* The sentence for a code, static, never NULL. Any thread. */
MORPH_API const char *morph_strerror(int error);

/* The name of a code ("MORPH_ENOMEM"), static, never NULL. Any thread. */
MORPH_API const char *morph_error_name(int error);

/* ---- Heaps ----------------------------------------------------------------------------------------------------------- */

enum morph_mode {
    MORPH_COMPILER = 0,     /* short-lived, high churn: arenas and pools, no collection */
    MORPH_RUNTIME = 1,      /* ordinary programs */
    MORPH_VM = 2,           /* long-lived virtual machines */
    MORPH_SERVER = 3        /* services with a hard bound */
};

/* Zero in a field means its default. Presets by mode (COMPILER, RUNTIME, VM, SERVER): limit 256 MiB, 512 MiB, 2 GiB, 1 GiB. */
typedef struct morph_options {
    enum morph_mode mode;
    const char *name;               /* shown by morphmemctl; default: the program's name */
    uint64_t    limit_bytes;        /* hard bound of what is granted, in whole 64 KiB blocks, at least 256 KiB */
    uint64_t    reserve_bytes;      /* address space; default: twice the limit, so that large runs fit a fragmented heap */
    uint64_t    gc_start_bytes;     /* collected modes: old generation size that starts a major collection */
    uint32_t    pause_target_us;    /* collected modes */
    uint32_t    threads;            /* attached at a time, at most 1024; default 64 */
    const char *socket;             /* the daemon's; default: MORPHMEM_SOCKET, else the system's, else the user's own */
    bool        no_autospawn;       /* fail instead of starting a private daemon for this user */
    uint32_t    timeout_ms;         /* for an answer of the daemon; default 5000 */
} morph_options;

/* Opens a heap and stores it. Starts a private daemon if none runs and `options` does not forbid it. `options` may be NULL (COMPILER
 * mode, all defaults) and is not kept. Errors: NODAEMON, PERMISSION, VERSION, QUOTA, BUDGET, INVALID, FILES, MEMORY, TIMEOUT.
 * Any thread. The heap ends with morph_heap_close(). */
MORPH_API int morph_heap_open(morph_heap **ret_heap, const morph_options *options);

/* Closes a heap: all its memory, arenas, pools and types are gone. BUSY if threads are attached (the heap stays open). NULL is
 * allowed. In a forked child it frees only the child's copy of the handle. */
MORPH_API int morph_heap_close(morph_heap *heap);

/* Options that fit this machine: mode and limit from the memory that is available here and now, cgroup limits included (less than
 * 512 MiB: COMPILER with a quarter; less than 4 GiB: RUNTIME with half and a collection start at an eighth; else SERVER with
 * 2 GiB and 256 MiB). Any thread. */
MORPH_API morph_options morph_options_auto(void);

/* 0 while the heap can be used, else why it cannot any more: LOST, CONDEMNED, FORKED, or what kept this process from hearing the daemon
 * (FILES, MEMORY, PROTOCOL). Any thread; no system call. */
MORPH_API int morph_heap_status(const morph_heap *heap);

/* Number of the heap in the daemon, as morphmemctl shows it. */
MORPH_API uint64_t morph_heap_id(const morph_heap *heap);

/* For event loops: a descriptor that becomes readable when the daemon has something to say, and the function that then hears it (never
 * blocks; 0, or the heap's status). The descriptor stays the library's. Any thread. */
MORPH_API int morph_heap_fd(const morph_heap *heap);
MORPH_API int morph_heap_dispatch(morph_heap *heap);

typedef struct morph_heap_stats {
    uint64_t limit_bytes;
    uint64_t granted_bytes;         /* of the limit, as the daemon counts */
    uint64_t spare_bytes;           /* granted, and kept by the library for the next arena or pool */
    uint64_t mapped_bytes;          /* segments in this process */
    uint64_t waits;                 /* times a thread slept for memory */
    uint64_t wait_ns;
} morph_heap_stats;

/* What this process knows of its heap without asking. Any thread. */
MORPH_API int morph_heap_stats_get(morph_heap *heap, morph_heap_stats *ret_stats);

/* ---- Threads --------------------------------------------------------------------------------------------------------- */

/* Attaches the calling thread. Errors: THREADS, LOST, CONDEMNED, FORKED. One thread may attach to several heaps. */
MORPH_API int morph_thread_attach(morph_heap *heap, morph_thread **ret_thread);

/* Detaches; arenas and pools of the thread must be freed or adopted by another thread first, else BUSY. NULL is allowed. */
MORPH_API int morph_thread_detach(morph_thread *thread);

/* Why the last allocation of this thread returned NULL; 0 if none has. */
MORPH_API int morph_thread_error(const morph_thread *thread);

MORPH_API morph_heap *morph_thread_heap(const morph_thread *thread);

/* ---- Types ----------------------------------------------------------------------------------------------------------- */

/* Where the references are in a struct: byte offsets of pointer fields. */
typedef struct morph_refs {
    const uint32_t *offset;
    uint32_t        count;
} morph_refs;

typedef struct morph_type_spec {
    const char *name;               /* 1 to 127 bytes; unique in the heap */
    uint64_t    bytes;              /* fixed part of the payload, at most 1 MiB */
    morph_refs  refs;               /* in the fixed part */
    uint32_t    element_bytes;      /* repeated part after the fixed one; 0: none */
    morph_refs  element_refs;       /* in each element */
} morph_type_spec;

#define MORPH_REF_OFFSETS(n, ...) { (const uint32_t[]){ __VA_ARGS__ }, (n) }
#define MORPH_ELEMENT_IS_REF          MORPH_REF_OFFSETS(1, 0)

/* MORPH_REFS(struct node, left, right): the fields of a struct that are references; one to sixteen of them. */
#define MORPH_REFS(type, ...) \
    MORPH_REF_OFFSETS(MORPH__COUNT(__VA_ARGS__), MORPH__MAP(type, __VA_ARGS__))

/* Registers a type and stores its handle. The same name with the same layout gives the same handle again; with another layout: TYPE. The
 * spec is not kept. Any thread. Errors: INVALID (name, sizes, references outside or unaligned), NOTYPES, LOST. */
MORPH_API int morph_type_register(morph_heap *heap, const morph_type_spec *spec, morph_type *ret_type);

MORPH_API const char *morph_type_name(morph_type type);

/* ---- Objects --------------------------------------------------------------------------------------------------------- */

/* How long an object is expected to live: the only thing that the dispatcher wants to be told. */
enum morph_hint {
    MORPH_HINT_NONE = 0,
    MORPH_HINT_SHORT,       /* gone soon */
    MORPH_HINT_LONG         /* stays */
};

/* Objects with headers, zeroed, of the calling thread's heap. In COMPILER mode they live until the heap is closed; in the other modes
 * until nothing refers to them. NULL at the limit. `morph_new` is the fast path (morphmem/fast.h). */
static inline void *morph_new(morph_thread *thread, morph_type type);
MORPH_API void *morph_new_hint(morph_thread *thread, morph_type type, enum morph_hint hint);
MORPH_API void *morph_new_array(morph_thread *thread, morph_type type, uint64_t elements);
MORPH_API void *morph_new_bytes(morph_thread *thread, uint64_t bytes);         /* no references inside */

/* Size of the payload of an object, and its type (NULL: raw bytes). The object must be alive. */
static inline uint64_t morph_object_bytes(const void *object);
MORPH_API morph_type morph_object_type(morph_heap *heap, const void *object);

/* ---- Arenas ---------------------------------------------------------------------------------------------------------- */

/* An arena of the calling thread. What is allocated in it is 16-byte aligned and NOT zeroed (memory comes back after a reset); the
 * _zeroed variants do that. Errors: SPACES, LOST, CONDEMNED, FORKED. Ends with morph_arena_free() or with the heap. */
MORPH_API int morph_arena_new(morph_thread *thread, morph_arena **ret_arena);
MORPH_API void morph_arena_free(morph_arena *arena);                            /* NULL is allowed */

/* Hands the arena to another thread of the same heap; the caller makes sure that only one thread uses it at a time. */
MORPH_API int morph_arena_adopt(morph_arena *arena, morph_thread *thread);

static inline void *morph_arena_new_object(morph_arena *arena, morph_type type);        /* typed: counted from outside */
MORPH_API void *morph_arena_new_array(morph_arena *arena, morph_type type, uint64_t elements);
MORPH_API void *morph_arena_new_object_zeroed(morph_arena *arena, morph_type type);
static inline void *morph_arena_bytes(morph_arena *arena, uint64_t bytes);              /* raw */
MORPH_API void *morph_arena_bytes_zeroed(morph_arena *arena, uint64_t bytes);

/* Raw bytes at any power-of-two alignment up to 64 KiB; 1 packs strings tightly. */
MORPH_API void *morph_arena_aligned(morph_arena *arena, uint64_t bytes, uint32_t alignment);

/* A copy of `bytes` bytes of text and a terminating zero, packed. */
MORPH_API char *morph_arena_text(morph_arena *arena, const char *text, uint64_t bytes);

typedef struct morph_mark { uint64_t word[6]; } morph_mark;

/* A place to come back to. Marks nest; releasing one makes later ones invalid, and a reset makes all invalid. */
MORPH_API morph_mark morph_arena_mark(morph_arena *arena);
MORPH_API int morph_arena_release(morph_arena *arena, morph_mark mark);         /* INVALID for a mark that no longer holds */

/* Everything gone at once; the memory is kept for the next file. Constant time. */
MORPH_API void morph_arena_reset(morph_arena *arena);

/* Bytes in use (headers and padding included) and bytes held. Walks the arena's runs. */
MORPH_API void morph_arena_usage(morph_arena *arena, uint64_t *ret_used_bytes, uint64_t *ret_held_bytes);

/* ---- Pools ----------------------------------------------------------------------------------------------------------- */

/* Memory that is freed singly: 36 size classes from 16 bytes to 16 KiB, whole pages beyond. Not zeroed, 16-byte aligned. */
enum { MORPH_POOL_SHARED = 1 };     /* any thread may use the pool; one lock around every call */

MORPH_API int morph_pool_new(morph_thread *thread, unsigned flags, morph_pool **ret_pool);
MORPH_API void morph_pool_free(morph_pool *pool);                               /* with all that is in it; NULL is allowed */
MORPH_API int morph_pool_adopt(morph_pool *pool, morph_thread *thread);         /* as morph_arena_adopt */

MORPH_API void *morph_malloc(morph_pool *pool, size_t bytes);                   /* 0 bytes: a unique pointer of 16 bytes */
MORPH_API void *morph_calloc(morph_pool *pool, size_t count, size_t bytes);
MORPH_API void *morph_realloc(morph_pool *pool, void *memory, size_t bytes);    /* NULL: malloc; bytes 0: free, returns NULL */
MORPH_API int morph_free(morph_pool *pool, void *memory);                       /* NULL is allowed; INVALID: not of this pool, or freed */
MORPH_API size_t morph_usable(morph_pool *pool, const void *memory);            /* 0: not of this pool */

/* Why the pool's last allocation returned NULL; 0 if none has. */
MORPH_API int morph_pool_error(const morph_pool *pool);

/* Version of the library: MORPHMEM_VERSION as it was built. */
MORPH_API const char *morph_version(void);

#ifdef __cplusplus
}
#endif

#include <morphmem/fast.h>

#endif
