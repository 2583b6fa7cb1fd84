/* morphmem/morphmem.h — memory that a daemon keeps warm, bounded and visible, allocated without a system call, and collects.
 *
 * Nouns: a heap (bounded memory that morphmemd owns), a thread (this process's thread in a heap), a type (the layout of an
 * object), a root (where the program holds a reference to an object), an arena (objects that go all at once), a pool (memory
 * that is freed singly).
 *
 * In the collected modes (RUNTIME, VM, SERVER) objects MOVE. Four rules keep a program right:
 *   1. A reference that is needed after the next allocation, poll or blocking call is in a root: a frame, a pushed variable, a
 *      handle, or a field of an object that is itself reachable.
 *   2. A reference is stored into an object with morph_store() and its family. Only into the object that this thread's latest
 *      allocation returned, and before anything else of this library is called, may it be stored plainly; into an object of more
 *      than 16 KiB never.
 *   3. A loop that does not allocate polls (morph_poll), and a call that may block is put between morph_native_enter() and
 *      morph_native_leave(): a thread that does neither holds up every collection of its heap.
 *   4. What refers to an object is aligned to 8 bytes and holds 0 or the address that an allocation returned, nothing else.
 *
 * A heap that was opened with no_moving asks none of this. Its objects stay where they are; what keeps one alive is any word that points to it, into it
 * or right behind it: on the stacks and in the registers of attached threads, in the program's static data, in frames, variables and handles, and
 * in fields that types call references. Threads are stopped by a real-time signal (the last one that nobody has a handler for), wherever they are;
 * system calls that a handler cuts short whatever SA_RESTART says (nanosleep, poll) may return EINTR. There are no generations: each collection
 * marks all that lives, so such a heap is for programs where that is little, or that cannot be changed. At most 32 GiB.
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
    uint64_t    limit_max_bytes;    /* up to here morph_heap_set_limit() shall be able to raise the limit; default: the limit */
    uint64_t    reserve_bytes;      /* address space, fixed at open; default: twice limit_max_bytes, so that large runs fit a fragmented heap */
    uint64_t    gc_start_bytes;     /* collected modes: old generation size that starts a major collection */
    uint32_t    pause_target_us;    /* collected modes */
    uint64_t    young_min_bytes;    /* collected modes: the young generation never shrinks below; default 2 MiB */
    uint64_t    young_max_bytes;    /* and grows to; default 8 MiB, at most a quarter of the limit */
    uint32_t    promotion_age;      /* collected modes: collections that an object survives before it is old, 1 to 15; default 3 */
    uint32_t    threads;            /* attached at a time, at most 1024; default 64 */
    const char *socket;             /* the daemon's; default: MORPHMEM_SOCKET, else the system's, else the user's own */
    bool        no_autospawn;       /* fail instead of starting a private daemon for this user */
    uint32_t    timeout_ms;         /* for an answer of the daemon; default 5000 */
    bool        no_moving;          /* collected modes: objects never move, for code that cannot keep the four rules: see below */
    bool        service_thread;     /* the library starts a hidden thread that calls morph_heap_dispatch(), until morph_heap_close() */
} morph_options;

/* Opens a heap and stores it. Starts a private daemon if none runs and `options` does not forbid it. `options` may be NULL (COMPILER
 * mode, all defaults) and is not kept. Errors: NODAEMON, PERMISSION, VERSION, QUOTA, BUDGET, INVALID, FILES, MEMORY, TIMEOUT.
 * Any thread. The heap ends with morph_heap_close(). */
MORPH_API int morph_heap_open(morph_heap **ret_heap, const morph_options *options);

/* Closes a heap: all its memory, arenas, pools and types are gone. BUSY if threads are attached, or inside of a pressure callback (the heap
 * stays open). Waits for the service thread, if there is one, and so for a callback that runs there. NULL is allowed.
 * In a forked child it frees only the child's copy of the handle. */
MORPH_API int morph_heap_close(morph_heap *heap);

/* Options that fit this machine: mode and limit from the memory that is available here and now, cgroup limits included (less than
 * 512 MiB: COMPILER with a quarter; less than 4 GiB: RUNTIME with half and a collection start at an eighth; else SERVER with
 * 2 GiB and 256 MiB). Any thread. */
MORPH_API morph_options morph_options_auto(void);

/* 0 while the heap can be used, else why it cannot any more: LOST, CONDEMNED, FORKED, or what kept this process from hearing the daemon
 * (FILES, MEMORY, PROTOCOL). Any thread; no system call. */
MORPH_API int morph_heap_status(const morph_heap *heap);

/* Is the address in the heap's address space, whatever is there? Any thread; no system call. */
MORPH_API bool morph_heap_holds(const morph_heap *heap, const void *address);

/* Number of the heap in the daemon, as morphmemctl shows it. */
MORPH_API uint64_t morph_heap_id(const morph_heap *heap);

/* For event loops: a descriptor that becomes readable when the daemon has something to say, and the function that then hears it and calls the
 * pressure callbacks that are due (never blocks by itself; 0, or the heap's status). The descriptor stays the library's. Any thread. */
MORPH_API int morph_heap_fd(const morph_heap *heap);
MORPH_API int morph_heap_dispatch(morph_heap *heap);

/* ---- Bounds and pressure ---- */

/* Sets another limit, in whole blocks: a higher one up to the reserve (reserve_bytes), a lower one if what is granted fits it. Spare memory goes back
 * first, and a collected heap is collected, everything moved together, if that is needed. When it fails the old limit holds, and
 * limit_needed_bytes of morph_heap_stats says what would have done. At no moment is more granted than the limit.
 * Any thread; for one that is attached it is a safepoint like an allocation, so its references are in roots. Errors: INVALID (less than 256 KiB, or
 * more than the reserve), INUSE (more is in use), PUTOFF (it could not be collected), BUDGET (more than the daemon allows), BUSY (another
 * thread is at it), LOST, CONDEMNED; TIMEOUT (it may still come into force). */
MORPH_API int morph_heap_set_limit(morph_heap *heap, uint64_t limit_bytes);

/* Why a pressure callback is called. */
enum morph_pressure_reason {
    MORPH_PRESSURE_USE = 0,         /* what is granted has risen through the level, in percent of the limit */
    MORPH_PRESSURE_MACHINE = 1,     /* the machine is pressed so much, in percent of what it can bear */
    MORPH_PRESSURE_REFUSED = 2      /* an allocation is about to fail: the last resort, whatever the level */
};

typedef struct morph_pressure {
    morph_heap   *heap;
    morph_thread *thread;           /* REFUSED: the thread that asked, on which this runs; NULL otherwise, and for a shared pool */
    enum morph_pressure_reason reason;
    uint32_t      level;            /* that the callback is registered for */
    uint32_t      use_percent, machine_percent;         /* now, as the daemon last told */
    uint64_t      granted_bytes, limit_bytes;
    int           error;            /* REFUSED: NOMEM, BUDGET or QUOTA; else 0 */
} morph_pressure;

typedef void (*morph_pressure_callback)(void *argument, const morph_pressure *pressure);

/* Calls `callback` when use rises through `percent` (1 to 100) of the limit, or the machine's pressure does: once, and again only after it has
 * fallen 5 points below the level, or to nothing. What happened between two looks is one call. A level that use is above already counts as one
 * that it rises through now. Several callbacks may be registered; the same level and argument replaces the earlier one. NULL as callback removes:
 * the one with this level and argument, or with a NULL argument all of the level. One that runs in another thread at that moment runs on.
 *
 * Where it runs: in morph_heap_dispatch(), and so in the service thread if there is one. Never in an allocation, but for the last resort: when the
 * daemon refuses memory for good, after it has collected all that there is, every callback is called on the thread that was refused, and it asks
 * once more before the allocation fails. That happens once, until something is granted again.
 *
 * What it may do: everything but close the heap (BUSY), detach the thread that it runs on, end the arena or pool that is being allocated
 * from, or free the memory that is being reallocated. It may drop references, reset or free other arenas, free from any pool, set another
 * limit, register and remove callbacks, allocate (what is refused then fails without further calls). On an attached thread it is a safepoint like an
 * allocation: what it calls may collect. On the service thread it has no morph_thread, so it touches no object; it may attach and detach
 * one. Callbacks of a heap are called one at a time; one must not wait for a thread that may be refused memory of the same heap meanwhile.
 *
 * Any thread. Errors: INVALID (percent), MEMORY, FORKED. */
MORPH_API int morph_heap_on_pressure(morph_heap *heap, unsigned percent, morph_pressure_callback callback, void *argument);

/* How much to collect: the young generation, everything, or everything with the objects moved together. */
enum morph_collection { MORPH_COLLECT_MINOR = 0, MORPH_COLLECT_MAJOR = 1, MORPH_COLLECT_COMPACT = 2 };

/* Collects now and returns when it is done; unless only the young were asked for, what was found dead is free then. Programs need this for tests and
 * before they go idle, not in between. The calling thread is stopped meanwhile: its references are in roots. Errors: MODE (COMPILER), PUTOFF, ROOTS, LOST, CONDEMNED, TIMEOUT. */
MORPH_API int morph_collect(morph_thread *thread, enum morph_collection kind);

typedef struct morph_heap_stats {
    uint64_t limit_bytes;
    uint64_t granted_bytes;         /* of the limit, as the daemon counts */
    uint64_t spare_bytes;           /* granted, and kept by the library for the next arena or pool */
    uint64_t mapped_bytes;          /* segments in this process */
    uint64_t waits;                 /* times a thread slept for memory */
    uint64_t wait_ns;
    uint64_t collections;           /* since the heap was opened */
    uint64_t live_bytes;            /* after the last major collection; 0: none yet */
    uint64_t limit_most_bytes;      /* up to which the limit may be raised: the reserve */
    uint64_t limit_needed_bytes;    /* what the last morph_heap_set_limit() would have needed; 0: it did not fail for that */
    uint64_t pause_ns;              /* of all pauses, and of the longest one */
    uint64_t pause_max_ns;
    uint64_t minor_collections, major_collections;      /* compactions are major */
    uint64_t promoted_objects, promoted_bytes;          /* became old, moved or where they were */
    uint64_t freed_bytes;           /* by collections, in blocks */
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

/* In a heap with no_moving: is what lies at `address` looked through anyway, being on this thread's machine stack or in the program's static data?
 * False elsewhere. The calling thread's own. */
MORPH_API bool morph_thread_sees(const morph_thread *thread, const void *address);

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
    uint32_t    flags;              /* enum morph_type_flag */

    /* Heaps with no_moving: what another object holds, which only this one knows (an array's elements, a map's entries). That object is raw or
     * of a type with MORPH_TYPE_STORAGE, else it is followed as its own type says; it is kept alive by this one in any case. */
    uint32_t    storage_at;         /* where in the fixed part the reference to it is */
    uint32_t    storage_bytes;      /* of an element of it; 0: there is none */
    const struct morph_storage_ref *storage_ref;
    uint32_t    storage_ref_count;  /* at most 16 */
} morph_type_spec;

/* A reference in each element of the storage, if the 32-bit word at `says` in the fixed part is not 0. */
typedef struct morph_storage_ref { uint32_t offset, says; } morph_storage_ref;

enum morph_type_flag {
    MORPH_TYPE_WEAK = 1,            /* its references keep nothing alive; they become NULL when their object is gone */
    MORPH_TYPE_EPHEMERON = 2,       /* its references come in pairs, key and value (fixed part and element: an even number each): a value
                                     * is kept alive by its key's being alive; both become NULL when the key is gone */
    MORPH_TYPE_CONSERVATIVE = 4,    /* any word of the payload may be a reference; heaps with no_moving only */
    MORPH_TYPE_STORAGE = 8          /* the same, as long as no owner says what it holds (storage_at); what that does not call a reference is none */
};

#define MORPH_REF_OFFSETS(n, ...) { (const uint32_t[]){ __VA_ARGS__ }, (n) }
#define MORPH_ELEMENT_IS_REF          MORPH_REF_OFFSETS(1, 0)

/* MORPH_REFS(struct node, left, right): the fields of a struct that are references; one to sixteen of them. */
#define MORPH_REFS(type, ...) \
    MORPH_REF_OFFSETS(MORPH__COUNT(__VA_ARGS__), MORPH__MAP(type, __VA_ARGS__))

/* Registers a type and stores its handle. The same name with the same layout gives the same handle again; with another layout: TYPE. The
 * spec is not kept. Any thread. Errors: INVALID (name, sizes, references outside or unaligned), NOTYPES, LOST. */
MORPH_API int morph_type_register(morph_heap *heap, const morph_type_spec *spec, morph_type *ret_type);

MORPH_API const char *morph_type_name(morph_type type);

/* What a heap holds of one type. The name is the visitor's until it returns. */
typedef struct morph_type_count {
    const char *name;
    uint32_t    id;                 /* the type's number in the heap, as morphmemctl shows it; 0: raw bytes (morph_new_bytes) */
    uint64_t    objects;
    uint64_t    bytes;              /* payloads */
    uint64_t    held_bytes;         /* with headers and padding */
} morph_type_count;

typedef void (*morph_type_visitor)(void *argument, const morph_type_count *count);

/* Has the daemon count the objects of the heap, now, and calls `visit` for each registered type (and for raw bytes, if there are any), by number. What is
 * not yet known to be dead counts; what is in arenas counts by its type, what is in pools does not count. The walk costs the caller its
 * time and the heap's other threads nothing. `visit` runs on the calling thread once all has come, and may call anything. A safepoint, as
 * morph_heap_set_limit() is. Any thread. Errors: INVALID, MEMORY, LOST, CONDEMNED, FORKED, TIMEOUT. */
MORPH_API int morph_heap_types(morph_heap *heap, morph_type_visitor visit, void *argument);

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
static inline void *morph_new_array(morph_thread *thread, morph_type type, uint64_t elements);
static inline void *morph_new_bytes(morph_thread *thread, uint64_t bytes);     /* no references inside */

/* Size of the payload of an object, and its type (NULL: raw bytes). The object must be alive. */
static inline uint64_t morph_object_bytes(const void *object);
MORPH_API morph_type morph_object_type(morph_heap *heap, const void *object);

/* The embedder's 32 bits of an object, kept across moves; 0 at birth. Any thread that may use the object. */
static inline uint32_t morph_object_word(const void *object);
static inline void morph_object_set_word(void *object, uint32_t word);

/* A number that stays the object's as long as it lives, wherever it moves; never 0, the same in all threads, not unique. */
static inline uint32_t morph_identity_hash(morph_thread *thread, void *object);

/* ---- Stores of references into objects --------------------------------------------------------------------------------- */

/* *slot = value, where `slot` is the address of a reference field inside `object`. One thread at a time stores into a slot, or they do
 * not mind which store wins. */
static inline void morph_store(morph_thread *thread, void *object, void *slot, void *value);

/* The same, atomically: sequentially consistent. Exchange returns the old value; compare_exchange stores if *slot is `expected` and says
 * whether it did. */
MORPH_API void *morph_exchange(morph_thread *thread, void *object, void *slot, void *value);
MORPH_API bool morph_compare_exchange(morph_thread *thread, void *object, void *slot, void *expected, void *value);

/* Copies `count` references from `from` to `to`, which may overlap; `to` lies inside `object`. */
MORPH_API void morph_copy_refs(morph_thread *thread, void *object, void *to, const void *from, uint64_t count);

/* Stores `value` into `count` references from `to` on. */
MORPH_API void morph_fill_refs(morph_thread *thread, void *object, void *to, void *value, uint64_t count);

/* Reads a reference field of a WEAK or EPHEMERON object. A plain read is not enough: the collector must hear that it is in use again. */
MORPH_API void *morph_weak_read(morph_thread *thread, const void *slot);

/* ---- Roots ------------------------------------------------------------------------------------------------------------- */

/* A frame: room for `bytes` (a multiple of 8) of references in the thread's root stack, zeroed. The daemon sees it and updates it when
 * objects move; the program reads and writes it plainly (faster if its fields are volatile, docs/design/fast-paths.md). Frames are popped
 * in the opposite order. NULL: the root area (2 MiB) is full (ROOTS). */
static inline void *morph_frame_push(morph_thread *thread, size_t bytes);
static inline void morph_frame_pop(morph_thread *thread, void *frame);

/* The address of a C variable that holds a reference: it is read when the thread stops, and written when its object has moved. Pops the
 * last `count` pushes. Errors: MEMORY. */
MORPH_API int morph_root_push(morph_thread *thread, void **variable);
MORPH_API void morph_root_pop(morph_thread *thread, unsigned count);

/* For a VM with a stack of its own: `visit` is called whenever the thread stops, and calls `report` with the address of each word that
 * holds a reference. It runs on the thread itself and calls nothing else of this library. NULL: none. */
typedef void (*morph_root_report)(void *to, void **slot);
typedef void (*morph_root_visitor)(void *argument, morph_root_report report, void *to);
MORPH_API int morph_thread_on_roots(morph_thread *thread, morph_root_visitor visit, void *argument);

/* Reports a root set over the socket: the `count` references at `object` are roots until the set is reported again or dropped (count 0).
 * The array stays the caller's and must stay where it is: when objects have moved, the thread that reported it finds it updated after
 * its next poll, allocation or blocking call. It must report again what it changes. Sets are numbered by the caller, per thread. Slower
 * than a frame by a round trip a report and one a collection. Errors: MEMORY, INVALID (more than 1,048,576, or between
 * morph_native_enter() and leave), LOST, TIMEOUT. */
MORPH_API int morph_roots_report(morph_thread *thread, uint32_t set, void **object, uint32_t count);

/* A global root that outlives frames. index 0 is no handle: there was none left (HANDLES). Any attached thread may use any handle. */
typedef struct morph_handle { uint32_t index; } morph_handle;
MORPH_API morph_handle morph_handle_new(morph_thread *thread, void *object);
MORPH_API morph_handle morph_handle_new_weak(morph_thread *thread, void *object);      /* keeps nothing alive; get returns NULL afterwards */
MORPH_API void *morph_handle_get(morph_thread *thread, morph_handle handle);
MORPH_API void morph_handle_set(morph_thread *thread, morph_handle handle, void *object);
MORPH_API void morph_handle_free(morph_thread *thread, morph_handle handle);

/* Keeps an object where it is, and alive, until it is unpinned as often. Errors: HANDLES, MEMORY; INVALID (not pinned). */
MORPH_API int morph_pin(morph_thread *thread, void *object);
MORPH_API int morph_unpin(morph_thread *thread, void *object);

/* Asks to be given `object` back, with `word`, once nothing else refers to it. Weak references to it are NULL by then. One object may have
 * several. Errors: HANDLES. */
MORPH_API int morph_finalizer_set(morph_thread *thread, void *object, void *word);

/* The next object that only its finalizer knew; NULL: none now. Collections in their order, and within one the order of morph_finalizer_set().
 * The object is an ordinary one again from here on. */
MORPH_API void *morph_finalizer_next(morph_thread *thread, void **ret_word);

/* ---- Safepoints -------------------------------------------------------------------------------------------------------- */

/* In loops that do not allocate: lets a waiting collection happen. One load. */
static inline void morph_poll(morph_thread *thread);

/* Around calls that may block: collections go on meanwhile, so nothing of the heap may be touched in between but pinned objects and
 * copies. They nest. */
MORPH_API void morph_native_enter(morph_thread *thread);
MORPH_API void morph_native_leave(morph_thread *thread);

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
