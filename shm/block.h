/* block.h — the states of a block, and who may make which move.
 *
 * The table of states is the daemon's own (no client maps it); it stands here because the moves are the contract: a block's
 * state changes before its index is published, and a client sees only the outcome, in its ring. This one list gives the
 * enum's names, the debug check, the words in the log and the picture in docs/design/layout.md.
 */
#ifndef MM_BLOCK_H
#define MM_BLOCK_H

#include <stdbool.h>

#include "shm/layout.h"

#define MM_BLOCK_STATES(X)                                                              \
    X(ABSENT,     "no segment is mapped here")                                          \
    X(FREE,       "nobody's, contents unknown")                                         \
    X(ZEROED,     "nobody's, all zero")                                                 \
    X(GRANTED,    "in a ring, or taken and not yet seen in use")                        \
    X(NURSERY,    "young objects are born here")                                        \
    X(SURVIVOR,   "young objects that lived through a collection")                      \
    X(OLD,        "old objects")                                                        \
    X(RECYCLABLE, "old objects, and free lines to grant")                               \
    X(LARGE,      "part of one large object")                                           \
    X(ARENA,      "run by the client itself: arenas, pools, thread runs")               \
    X(EVACUATING, "its objects are being moved out")                                    \
    X(RETIRED,    "punched and never used again")

enum mm_block_state {
#define X(name, text) MM_BLOCK_##name,
    MM_BLOCK_STATES(X)
#undef X
    MM_BLOCK_STATE_COUNT
};

#define MM_BLOCK_MOVES(X)                                                               \
    /* from        to          made by     when                                    */   \
    X(ABSENT,      FREE,       segment,    "a segment of unknown contents is mapped")   \
    X(ABSENT,      ZEROED,     segment,    "a zeroed segment is mapped")                \
    X(FREE,        ABSENT,     segment,    "its segment leaves the heap")               \
    X(ZEROED,      ABSENT,     segment,    "its segment leaves the heap")               \
    X(FREE,        ZEROED,     clean,      "a worker has zeroed or punched it")         \
    X(ZEROED,      GRANTED,    refill,     "before its cell is published")              \
    X(FREE,        GRANTED,    refill,     "young: its thread zeroes it")          \
    X(ZEROED,      ARENA,      refill,     "before its cell is published")              \
    X(ZEROED,      LARGE,      refill,     "before its cell is published")              \
    X(RECYCLABLE,  GRANTED,    refill,     "its holes are granted")                     \
    X(GRANTED,     NURSERY,    refill,     "taken by a thread")                         \
    X(GRANTED,     OLD,        refill,     "taken by a thread, for old objects")        \
    X(GRANTED,     ZEROED,     refill,     "revoked unused")                            \
    X(ARENA,       FREE,       give,       "the client gave it back")                   \
    X(LARGE,       FREE,       reclaim,    "the object is dead")                        \
    X(NURSERY,     FREE,       reclaim,    "nothing is left in it")                     \
    X(NURSERY,     OLD,        reclaim,    "kept in place: pinned")                     \
    X(SURVIVOR,    FREE,       reclaim,    "nothing is left in it")                     \
    X(SURVIVOR,    OLD,        reclaim,    "kept in place: pinned")                     \
    X(ZEROED,      SURVIVOR,   evac,       "to-space of a minor collection")            \
    X(FREE,        SURVIVOR,   evac,       "the same: copying overwrites what it uses") \
    X(ZEROED,      OLD,        evac,       "promotion or evacuation target")            \
    X(FREE,        OLD,        evac,       "the same: copying overwrites what it uses") \
    X(RECYCLABLE,  OLD,        evac,       "promotion into its holes")                  \
    X(OLD,         RECYCLABLE, reclaim,    "lines are free after marking")              \
    X(OLD,         EVACUATING, evac,       "chosen as sparse")                          \
    X(RECYCLABLE,  EVACUATING, evac,       "chosen as sparse")                          \
    X(EVACUATING,  OLD,        evac,       "dropped from the set")                      \
    X(EVACUATING,  FREE,       reclaim,    "emptied")                                   \
    X(OLD,         FREE,       reclaim,    "nothing is left in it")                     \
    X(RECYCLABLE,  FREE,       reclaim,    "nothing is left in it")                     \
    X(FREE,        RETIRED,    segment,    "its segment cannot be proven free")

const char *mm_block_state_name(enum mm_block_state state);

/* May a block go from `from` to `to`? One lookup; the daemon asserts it at every move. */
bool mm_block_move_allowed(enum mm_block_state from, enum mm_block_state to);

#endif
