/* block.c — names and moves of block states, from the one list in block.h. Called from any thread. */
#include "shm/block.h"

const char *mm_block_state_name(enum mm_block_state state)
{
    static const char *const names[] = {
#define X(name, text) [MM_BLOCK_##name] = #name,
        MM_BLOCK_STATES(X)
#undef X
    };
    return (unsigned)state < MM_BLOCK_STATE_COUNT ? names[state] : "?";
}

bool mm_block_move_allowed(enum mm_block_state from, enum mm_block_state to)
{
    static const uint16_t moves[MM_BLOCK_STATE_COUNT][MM_BLOCK_STATE_COUNT] = {
#define X(from, to, by, when) [MM_BLOCK_##from][MM_BLOCK_##to] = 1,
        MM_BLOCK_MOVES(X)
#undef X
    };
    return (unsigned)from < MM_BLOCK_STATE_COUNT && (unsigned)to < MM_BLOCK_STATE_COUNT && moves[from][to];
}
