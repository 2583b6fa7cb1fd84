/* kinds.h — the objects that the workloads allocate, the same for every subject. */
#ifndef BENCH_KINDS_H
#define BENCH_KINDS_H

#include <stddef.h>
#include <stdint.h>

struct quad  { uint64_t a, b, c, d; };                              /* w1 */
struct node  { struct node *left, *right; };                        /* w2 */
struct wide  { struct wide *left, *right; uint32_t i, j; };         /* w3 */
struct entry { uint64_t key; uint32_t bytes; unsigned char *payload; };     /* w4 */

enum kind { KIND_QUAD, KIND_NODE, KIND_WIDE, KIND_ENTRY, KIND_COUNT };

static const size_t kind_bytes[KIND_COUNT] = {
    [KIND_QUAD] = sizeof(struct quad), [KIND_NODE] = sizeof(struct node),
    [KIND_WIDE] = sizeof(struct wide), [KIND_ENTRY] = sizeof(struct entry),
};

#endif
