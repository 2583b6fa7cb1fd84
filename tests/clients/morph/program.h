/* program.h — what the programs of this folder share: their list, what they check with, and how they make garbage.
 *
 * A program verifies what it holds against values computed from seeds, never against the heap: memory that is freed is zeroed and used
 * again, so an object that was lost shows as wrong contents. A program that finds something wrong says what and ends with status 1.
 */
#ifndef MORPH_PROGRAM_H
#define MORPH_PROGRAM_H

#include "tests/clients/morph/runtime.h"

/* Each is program_<name>(), in <name>.c. */
#define PROGRAMS(X)                                                                                                 \
    X(hazard1) X(hazard2) X(hazard3) X(hazard4) X(hazard5) X(hazard6) X(hazard7)                                    \
    X(strings) X(arrays) X(maps) X(closures) X(interfaces) X(channels)                                              \
    X(literals) X(large) X(loop) X(recursion) X(threads)

#define PROGRAM_DECLARE(name) void program_##name(MorphContext *ctx);
PROGRAMS(PROGRAM_DECLARE)

/* `many`, or fewer in a small run; at least 1. */
size_t scaled(size_t many);

void program_fail(const char *file, int line, const char *format, ...) __attribute__((noreturn, format(printf, 3, 4)));
#define EXPECT(condition, ...)                                      \
    do {                                                            \
        if (!(condition))                                           \
            program_fail(__FILE__, __LINE__, __VA_ARGS__);          \
    } while (0)

/* A function whose frame must be its own: what it held in locals and registers is gone when it returns. */
#if defined(__clang__)
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

/* Overwrites the stack below the caller, where references of dead frames lie, and the registers that a call may change. */
void scrub(void);

/* A number of a seed: splitmix64. */
uint64_t mix(uint64_t seed);

void bytes_fill(void *memory, size_t bytes, uint64_t seed);
bool bytes_are(const void *memory, size_t bytes, uint64_t seed);

/* Allocates about so many bytes that nobody keeps, in objects of every type and many sizes, filled with what no program expects. With
 * memory for a few MiB this collects now and then; and what has been freed wrongly is used again. */
void churn(MorphContext *ctx, size_t bytes);

/* Garbage, a collection, garbage in what it has freed. */
void churn_and_collect(MorphContext *ctx, size_t bytes);

/* mph_alloc(), which must have given zeroed and aligned memory. */
void *zeroed_alloc(MorphContext *ctx, size_t size, MorphTypeInfo *type);

/* ---- Objects that know what they contain ---- */

typedef struct { uint64_t word[4]; } Leaf;
typedef struct Node { struct Node *next; Leaf *leaf; uint64_t check; } Node;
typedef struct { void *left, *right; uint64_t check; } Pair;

Leaf *leaf_new(MorphContext *ctx, uint64_t seed);
void leaf_check(const Leaf *leaf, uint64_t seed, const char *where);

/* Without a leaf; the caller links it. */
Node *node_new(MorphContext *ctx, uint64_t seed);

/* A list of nodes with leaves, of the seeds seed, seed + 1, ...; and its check from the first to the last. */
Node *list_new(MorphContext *ctx, size_t length, uint64_t seed);
void list_check(const Node *list, size_t length, uint64_t seed, const char *where);

Pair *pair_new(MorphContext *ctx, void *left, void *right, uint64_t seed);
void pair_check(const Pair *pair, uint64_t seed, const char *where);

#endif
