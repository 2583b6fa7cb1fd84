/* moves_types.h — the types of a trace as a compiled Morph program has them: static objects, and the memory system's own for what is its own.
 * For programs of one file: each that includes this has its own. */
#ifndef CLIENTS_MOVES_TYPES_H
#define CLIENTS_MOVES_TYPES_H

#include <morphmem/morph-abi.h>

#include "tests/clients/moves.h"

static MorphTypeInfo moves_own_type[STEPS_TYPES_MAX];
static size_t moves_own_offset[STEPS_TYPES_MAX][64];
static char moves_own_name[STEPS_TYPES_MAX][sizeof ((struct moves_type *)0)->name];

static inline MorphTypeInfo *moves_own_make(const struct moves_type *type, uint32_t id)
{
    MorphTypeInfo *own = &moves_own_type[id];
    memcpy(moves_own_name[id], type->name, sizeof moves_own_name[id]);
    *own = (MorphTypeInfo){ .name = moves_own_name[id], .size = type->bytes, .pointer_offsets = moves_own_offset[id] };
    for (unsigned word = 0; word < 64; word++)
        if (type->refs >> word & 1)
            moves_own_offset[id][own->num_pointers++] = word * sizeof(void *);
    return own;
}

/* What mph_alloc() is told for objects of type `id`. */
static inline MorphTypeInfo *moves_type_info(const struct moves *moves, uint32_t id)
{
    switch (moves->type[id].kind) {
    case MOVES_RAW:     return &mph_ti_raw;
    case MOVES_STRING:  return &mph_ti_string_real;
    case MOVES_ARRAY:   return &mph_ti_array;
    case MOVES_MAP:     return &mph_ti_map;
    case MOVES_UNTYPED: return NULL;
    default:            return moves_own_make(&moves->type[id], id);
    }
}

#endif
