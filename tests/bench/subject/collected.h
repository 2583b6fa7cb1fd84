/* collected.h — a heap that morphmem collects: nothing is freed, objects move, and what refers to them is in frames. Programs get a young
 * generation of up to 16 MiB in RUNTIME mode, servers what their bound alone says in SERVER mode. */
#include <morphmem/morphmem.h>

#define SUBJECT_DROP   DROP_NOTHING
#define SUBJECT_ROOTED 1

static morph_heap *heap;
static morph_thread *thread;

struct place { morph_type type[KIND_COUNT], table; };

static inline void heap_check(int r)
{
    if (r < 0)
        subject_die(morph_strerror(r));
}

static inline void subject_begin(enum role role, uint64_t limit_bytes)
{
    morph_options options = { .mode = role == ROLE_SERVER ? MORPH_SERVER : MORPH_RUNTIME, .name = "bench", .limit_bytes = limit_bytes };
    if (role == ROLE_PROGRAM)
        options.young_max_bytes = 16 << 20;
    heap_check(morph_heap_open(&heap, &options));
    heap_check(morph_thread_attach(heap, &thread));
}

static inline void place_begin(struct place *place, size_t most_bytes)
{
    const morph_type_spec kinds[KIND_COUNT] = {
        [KIND_QUAD] = { .name = "quad", .bytes = sizeof(struct quad) },
        [KIND_NODE] = { .name = "node", .bytes = sizeof(struct node), .refs = MORPH_REFS(struct node, left, right) },
        [KIND_WIDE] = { .name = "wide", .bytes = sizeof(struct wide), .refs = MORPH_REFS(struct wide, left, right) },
        [KIND_ENTRY] = { .name = "entry", .bytes = sizeof(struct entry), .refs = MORPH_REFS(struct entry, payload) },
    };
    (void)most_bytes;
    for (unsigned kind = 0; kind < KIND_COUNT; kind++)
        heap_check(morph_type_register(heap, &kinds[kind], &place->type[kind]));
    heap_check(morph_type_register(heap, &(morph_type_spec){ .name = "table", .element_bytes = sizeof(void *),
        .element_refs = MORPH_ELEMENT_IS_REF }, &place->table));
}

static inline void *roots_begin(unsigned count)
{
    void *roots = morph_frame_push(thread, count * sizeof(void *));
    if (__builtin_expect(!roots, 0))
        subject_die("the root area is full");
    return roots;
}

static inline void roots_end(const volatile void *roots)
{
    morph_frame_pop(thread, (void *)(uintptr_t)roots);
}

/* Volatile: otherwise the compiler joins the reads of two neighbouring words into one of 16 bytes, which waits until the stores before
 * it have left the core ([fast.frames]). */
typedef void *volatile subject_root;
#define SUBJECT_ROOTS(name, count) subject_root *const name = roots_begin(count)
#define SUBJECT_ROOTS_END(name)    roots_end(name)

static inline void **subject_globals(void *memory, unsigned count)
{
    (void)memory;
    return roots_begin(count);
}

static inline void place_store(struct place *place, void *object, void *slot, void *value)
{
    (void)place;
    morph_store(thread, object, slot, value);
}

static inline void *place_object(struct place *place, enum kind kind)
{
    return morph_new(thread, place->type[kind]);
}

static inline void *place_bytes(struct place *place, size_t bytes)
{
    (void)place;
    return morph_new_bytes(thread, bytes);
}

static inline void *place_array(struct place *place, size_t bytes)
{
    return place_bytes(place, bytes);
}

static inline void *place_table(struct place *place, size_t count)
{
    return morph_new_array(thread, place->table, count);
}

static inline void place_free(struct place *place, void *memory)
{
    (void)place, (void)memory;
}

static inline void place_reset(struct place *place)
{
    (void)place;
}
