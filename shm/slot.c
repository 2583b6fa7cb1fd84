/* slot.c — names and moves of slot states, from the table in slot.h. Called from any thread. */
#include "shm/slot.h"

const char *mm_slot_state_name(enum mm_slot_state state)
{
    static const char *const names[] = {
#define X(name) [MM_SLOT_##name] = #name,
        MM_SLOT_STATES(X)
#undef X
    };
    return (unsigned)state < MM_SLOT_STATE_COUNT ? names[state] : "?";
}

int mm_slot_move_allowed(enum mm_slot_state from, enum mm_slot_state to)
{
    switch (from) {
    case MM_SLOT_FREE:    return to == MM_SLOT_NATIVE;
    case MM_SLOT_NATIVE:  return to == MM_SLOT_RUNNING || to == MM_SLOT_FREE;
    case MM_SLOT_RUNNING: return to == MM_SLOT_NATIVE || to == MM_SLOT_PARKED;
    case MM_SLOT_PARKED:  return to == MM_SLOT_RUNNING;
    default:              return 0;
    }
}
