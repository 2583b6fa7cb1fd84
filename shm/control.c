/* control.c — making and checking a control area. See control.h. */
#include "shm/control.h"

#include <errno.h>

void mm_control_init(struct mm_control *control, const struct mm_control_spec *spec)
{
    control->magic = MM_CONTROL_MAGIC;
    control->layout_version = MM_LAYOUT_VERSION;
    control->heap_id = spec->heap_id;
    control->reserve_bytes = spec->reserve_bytes;
    control->limit_bytes = spec->limit_bytes;
    control->slots_off = mm_control_slots_off();
    control->spaces_off = mm_control_spaces_off(spec->slots);
    control->slot_count = spec->slots;
    control->space_count = spec->spaces;
    control->mode = spec->mode;
    control->handles_off = mm_control_handles_off(spec->slots, spec->spaces);
    control->pretenure_off = mm_control_pretenure_off(spec->slots, spec->spaces);
    control->cards_off = mm_control_cards_off(spec->slots, spec->spaces);
}

int mm_control_check(const struct mm_control *control, uint64_t bytes)
{
    if (bytes < sizeof *control || control->magic != MM_CONTROL_MAGIC)
        return -EPROTO;
    if (control->layout_version != MM_LAYOUT_VERSION)
        return -EPROTONOSUPPORT;
    uint32_t slots = control->slot_count, spaces = control->space_count;
    if (slots == 0 || slots > MM_SLOTS_MAX || spaces == 0 || spaces > MM_SPACES || control->reserve_bytes > MM_RESERVE_MAX)
        return -EPROTO;
    if (control->slots_off != mm_control_slots_off() || control->spaces_off != mm_control_spaces_off(slots) ||
        control->handles_off != mm_control_handles_off(slots, spaces) || control->pretenure_off != mm_control_pretenure_off(slots, spaces) ||
        control->cards_off != mm_control_cards_off(slots, spaces))
        return -EPROTO;
    return mm_control_bytes(slots, spaces, control->reserve_bytes) <= bytes ? 0 : -EPROTO;
}
