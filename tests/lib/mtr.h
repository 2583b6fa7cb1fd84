/* mtr.h — reads MTR1 traces of allocations, record by record (format: tests/data/README.md).
 *
 * A trace is plain ("MTR1...") or compressed by xz. The file is not trusted: lengths, ids and counts are checked, and memory
 * grows only with what the file really holds, so a broken or hostile file ends in an error and nothing else.
 * What a record points to is valid until the next mtr_next() or mtr_close(). A reader belongs to one thread.
 */
#ifndef TEST_MTR_H
#define TEST_MTR_H

#include <stdint.h>
#include <stdio.h>

enum mtr_op { MTR_END = 0, MTR_ALLOC = 1, MTR_ROOTS = 2, MTR_DEAD = 3, MTR_ROOTSET = 4, MTR_EDGES = 5 };

#define MTR_SIZE_MAX UINT32_MAX    /* of one object; a larger one is taken for damage */
#define MTR_TYPE_MAX 4096u

struct mtr_edge { uint64_t slot, target; };  /* the field at byte slot * 8 refers to object `target` */

struct mtr_record {
    enum mtr_op op;
    uint64_t id;                    /* ALLOC: the new object, EDGES: the object that refers */
    uint64_t bytes, type;           /* ALLOC */
    uint64_t push_count, pop_count; /* ROOTS */
    uint64_t count;                 /* ROOTSET, DEAD: of ids; EDGES: of edges */
    const uint64_t *ids;            /* ROOTSET, DEAD: ascending */
    const struct mtr_edge *edges;   /* EDGES */
};

struct mtr;

/* Opens a trace. 0, or a negative errno (-EINVAL: not a trace). */
int mtr_open(const char *path, struct mtr **ret_trace);

/* The same from an open file, which the reader takes over and closes. */
int mtr_open_stream(FILE *file, struct mtr **ret_trace);

/* The next record: 1. The END record: 0 (and again from then on). Negative errno: damage; mtr_error() says what. */
int mtr_next(struct mtr *trace, struct mtr_record *ret_record);

/* What is wrong with the file, never NULL. */
const char *mtr_error(const struct mtr *trace);

void mtr_close(struct mtr *trace);              /* NULL is allowed */

/* A row of the type table in a .stats file. */
struct mtr_type { char name[64]; uint64_t bytes; uint32_t refs; };   /* bytes 0: the size varies */

/* Reads the type table of a .stats file into `types` (at most `room`); stores how many. 0 or a negative errno. */
int mtr_types_read(const char *path, struct mtr_type *types, uint32_t room, uint32_t *ret_count);

#endif
