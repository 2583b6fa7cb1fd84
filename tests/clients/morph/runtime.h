/* runtime.h — the runtime that a compiled Morph program brings, but for its memory: what the programs of this folder are written against.
 *
 * Stands for the header that the compiler puts in front of every program, so it declares what it calls itself: context, type descriptions and
 * the mph_ functions, with the layouts that the memory system knows (asserted below). It must not include morphmem/morph-abi.h, because
 * such a program does not: what does not fit shows here.
 *
 * The code has the habits of the compiler's output, each of which is a hazard of its own (hazard1.c to hazard7.c):
 *   - ROOT() pushes the address of a local at its declaration, also in a loop; the pops stand behind the return and never run: RETURN().
 *     Where nothing is returned they do run, and pop what the functions that were called have left there;
 *   - references are stored by plain assignment;
 *   - what is not a named local is in no root: an argument that is being made while another one is ready, a value on its way;
 *   - arrays, maps and strings keep their contents in blocks of type `raw`, which say nothing about what they hold.
 */
#ifndef MORPH_RUNTIME_H
#define MORPH_RUNTIME_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- The memory system, as the program declares it ---- */

typedef struct MorphContext { unsigned char own[104]; } MorphContext;      /* the program's own; nobody else may write to it */

typedef struct MorphTypeInfo {
    const char *name;
    size_t size;
    int num_pointers;
    size_t *pointer_offsets;
    void (*mark_fn)(MorphContext *, void *);
} MorphTypeInfo;

extern MorphTypeInfo mph_ti_string, mph_ti_string_real, mph_ti_raw, mph_ti_array, mph_ti_map, mph_ti_closure;

void mph_init_memory(MorphContext *ctx);
void mph_destroy_memory(MorphContext *ctx);
void *mph_alloc(MorphContext *ctx, size_t size, MorphTypeInfo *type);
void mph_gc_push_root(MorphContext *ctx, void **slot);
void mph_gc_pop_roots(MorphContext *ctx, int n);
void mph_gc_collect(MorphContext *ctx);
void mph_swap_in(MorphContext *ctx, void *obj);
void mph_start_daemon(MorphContext *ctx);
void mph_stop_daemon(MorphContext *ctx);
uint64_t mph_time_ms(void);

/* What the compiler emits at a declaration, and at a return. */
#define ROOT(variable) mph_gc_push_root(ctx, (void **)&(variable))
#define RETURN(value, roots)                    \
    do {                                        \
        return value;                           \
        mph_gc_pop_roots(ctx, (roots));         \
        __builtin_unreachable();                \
    } while (0)

/* A struct of the program with references at the given members. */
#define TYPE(Struct, count, ...)                                                                        \
    static size_t mph_offsets_##Struct[] = { __VA_ARGS__ };                                             \
    static MorphTypeInfo mph_ti_##Struct = { #Struct, sizeof(Struct), count, mph_offsets_##Struct, NULL }
#define TYPE_PLAIN(Struct) static MorphTypeInfo mph_ti_##Struct = { #Struct, sizeof(Struct), 0, NULL, NULL }

/* ---- Strings: of a literal, which is not copied, or real, with the characters and a final 0 in a raw block ---- */

typedef struct { char *data; size_t length; } MorphString;

MorphString *string_literal(MorphContext *ctx, const char *literal);
MorphString *string_concat(MorphContext *ctx, MorphString *a, MorphString *b);
MorphString *string_number(MorphContext *ctx, int64_t number);
MorphString *string_slice(MorphContext *ctx, MorphString *real, size_t from, size_t length);      /* shares the block */
bool string_is(const MorphString *string, const char *text);
bool string_equal(const MorphString *a, const MorphString *b);
uint64_t string_hash(const MorphString *string);

/* ---- Arrays ---- */

typedef struct {
    void *data;
    size_t length, capacity, element_size;
    int elements_are_pointers;
} MorphArray;

MorphArray *array_new(MorphContext *ctx, size_t element_size, int elements_are_pointers, size_t capacity);
void array_push(MorphContext *ctx, MorphArray *array, const void *element);
void array_push_pointer(MorphContext *ctx, MorphArray *array, void *pointer);
void *array_pointer(const MorphArray *array, size_t index);
void *array_pop_pointer(MorphArray *array);

/* ---- Maps: open addressing; a deleted entry keeps its key ---- */

enum { KEY_INT = 0, KEY_STRING = 1, KEY_POINTER = 2 };

typedef struct { void *key, *value; int occupied, deleted; } MorphMapEntry;

typedef struct {
    MorphMapEntry *entries;
    size_t capacity, count, deleted_count;
    int key_kind, values_are_pointers;
} MorphMap;

MorphMap *map_new(MorphContext *ctx, int key_kind, int values_are_pointers);
void map_set(MorphContext *ctx, MorphMap *map, void *key, void *value);
bool map_get(const MorphMap *map, const void *key, void **ret_value);
bool map_delete(MorphMap *map, const void *key);

/* ---- Closures, interface values, errors ---- */

typedef struct { void *function, *env; } MorphClosure;
typedef struct { void *instance; void **vtable; int64_t type_id; } MorphInterface;
typedef struct { MorphString *message; } MorphError;

MorphClosure *closure_new(MorphContext *ctx, void *function, void *env);
MorphInterface *interface_new(MorphContext *ctx, void *instance, void **vtable, int64_t type_id);
MorphError *error_new(MorphContext *ctx, MorphString *message);

/* ---- Channels: the struct and its ring are both objects without a type, with lock and conditions inside ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t readable, writable;
    uint64_t *ring;
    size_t capacity, first, count;
    int closed;
} MorphChannel;

MorphChannel *channel_new(MorphContext *ctx, size_t capacity);
void channel_send(MorphChannel *channel, uint64_t value);
bool channel_receive(MorphChannel *channel, uint64_t *ret_value);      /* false: closed, and nothing left */
void channel_close(MorphChannel *channel);

/* ---- Threads: each with a context of its own. Whoever spawned one holds the object until it has joined ---- */

typedef uint64_t (*thread_work)(MorphContext *ctx, void *env);
typedef struct { MorphClosure *work; pthread_t id; uint64_t result; } MorphThread;

MorphThread *thread_spawn(MorphContext *ctx, MorphClosure *work);
uint64_t thread_join(MorphThread *thread);

/* ---- Contexts ---- */

void context_open(MorphContext *ctx);
void context_close(MorphContext *ctx);      /* fails the program if somebody wrote to the context */

_Static_assert(sizeof(MorphString) == 16 && sizeof(MorphArray) == 40 && sizeof(MorphMap) == 40, "layouts of the interface");
_Static_assert(sizeof(MorphMapEntry) == 24 && sizeof(MorphClosure) == 16, "layouts of the interface");
_Static_assert(sizeof(MorphInterface) == 24 && sizeof(MorphError) == 8, "layouts of the interface");

#endif
