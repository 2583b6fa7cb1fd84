/* moves.h — a trace as what a compiled Morph program does with its memory: allocations, pushed and popped roots, and plain stores.
 *
 * Everything is worked out while the trace is decoded, so that a player only carries out what the tables say. Objects go by names, small numbers
 * that are given again when an object is dead: a player's table has as many entries as objects live at a time. Which words are
 * stored is the difference from one epoch to the next: references by the EDGES, and the fields of arrays and maps, which are real
 * ones (MOVES_ARRAY_*, MOVES_MAP_*): without them, nobody could know what their raw blocks hold.
 * The tables are in malloc memory. Read-only once loaded.
 */
#ifndef CLIENTS_MOVES_H
#define CLIENTS_MOVES_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/clients/steps.h"

enum moves_kind { MOVES_PLAIN, MOVES_UNTYPED, MOVES_RAW, MOVES_STRING, MOVES_ARRAY, MOVES_MAP };

/* Words of payloads (64-bit). */
enum { MOVES_ARRAY_DATA, MOVES_ARRAY_LENGTH, MOVES_ARRAY_CAPACITY, MOVES_ARRAY_ELEMENT_BYTES, MOVES_ARRAY_REFS, MOVES_ARRAY_WORDS };
enum { MOVES_MAP_ENTRIES, MOVES_MAP_CAPACITY, MOVES_MAP_COUNT, MOVES_MAP_DELETED, MOVES_MAP_FLAGS, MOVES_MAP_WORDS };
enum { MOVES_ENTRY_KEY, MOVES_ENTRY_VALUE, MOVES_ENTRY_OCCUPIED, MOVES_ENTRY_WORDS };

#define MOVES_STRING_KEYS  ((uint64_t)1)            /* MAP_FLAGS: two of four bytes */
#define MOVES_VALUE_REFS   ((uint64_t)1 << 32)
#define MOVES_NONE         UINT32_MAX               /* a store's target: NULL, or a value that is no reference */

/* First the roots are pushed and popped, then the object is made. `fill`: its words but those of moves_type.refs hold bytes of the program's. */
struct moves_alloc { uint32_t bytes, name; uint8_t type, fill; uint16_t push, pop; };

/* object[word] = the address of `target`, or if that is MOVES_NONE, `value`. */
struct moves_store { uint32_t object, word, target; uint32_t reserved; uint64_t value; };

/* Ends of the parts of the tables that belong to an epoch: it allocates, stores, sets its roots, and its dead are forgotten. */
struct moves_epoch { uint32_t alloc_end, store_end, root_end, dead_end; uint64_t live_bytes; };

struct moves_type {
    char name[64];
    enum moves_kind kind;
    uint64_t bytes, refs;       /* refs: bit n: word n is a reference in some object */
};

struct moves {
    struct moves_alloc *alloc;
    struct moves_store *store;
    struct moves_epoch *epoch;
    uint32_t *root, *dead;      /* names */
    uint32_t allocs, stores, epochs, roots, deads;
    uint32_t names, roots_most, fresh_most;         /* the most at a time; fresh: allocations of an epoch */
    uint32_t types;
    uint64_t payload_bytes, live_bytes_most;        /* live: at the ends of epochs */
    struct moves_type type[STEPS_TYPES_MAX];
};

/* Loads a trace; its table of types is in the .stats file beside it, or in stats_path. On failure prints why and returns -1. */
int moves_load(struct moves *moves, const char *path, const char *stats_path);
void moves_unload(struct moves *moves);

#endif
