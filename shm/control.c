/* control.c — making and checking a control area. See control.h. */
#include "shm/control.h"

#include <errno.h>

void mm_control_init(struct mm_control *control, uint64_t heap_id, uint64_t reserve_bytes, uint64_t limit_bytes, uint32_t slots, uint32_t spaces)
{
    control->magic = MM_CONTROL_MAGIC;
    control->layout_version = MM_LAYOUT_VERSION;
    control->heap_id = heap_id;
    control->reserve_bytes = reserve_bytes;
    control->limit_bytes = limit_bytes;
    control->slots_off = mm_control_slots_off();
    control->spaces_off = mm_control_spaces_off(slots);
    control->slot_count = slots;
    control->space_count = spaces;
}

int mm_control_check(const struct mm_control *control, uint64_t bytes)
{
    if (bytes < sizeof *control || control->magic != MM_CONTROL_MAGIC)
        return -EPROTO;
    if (control->layout_version != MM_LAYOUT_VERSION)
        return -EPROTONOSUPPORT;
    uint32_t slots = control->slot_count, spaces = control->space_count;
    if (slots == 0 || slots > MM_SLOTS_MAX || spaces == 0 || spaces > MM_SPACES)
        return -EPROTO;
    if (control->slots_off != mm_control_slots_off() || control->spaces_off != mm_control_spaces_off(slots))
        return -EPROTO;
    return mm_control_bytes(slots, spaces) <= bytes ? 0 : -EPROTO;
}
