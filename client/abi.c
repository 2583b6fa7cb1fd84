/* abi.c — the words that fast.h shows to programs are the words of shm/: asserted here, once. No code. */
#include "client/internal.h"
#include "shm/object.h"

_Static_assert(MORPH_HEADER_BYTES == MM_HEADER_BYTES, "fast.h");
_Static_assert(MORPH_GRANULE_BYTES == MM_GRANULE_BYTES, "fast.h");
_Static_assert(offsetof(struct morph_thread, young) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_slot, young_cursor), "fast.h");
_Static_assert(offsetof(struct morph_thread, young) + offsetof(struct morph_bump, limit) == offsetof(struct mm_slot, young_limit), "fast.h");
_Static_assert(offsetof(struct morph_thread, old) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_slot, old_cursor), "fast.h");
_Static_assert(offsetof(struct morph_thread, old) + offsetof(struct morph_bump, limit) == offsetof(struct mm_slot, old_limit), "fast.h");
_Static_assert(offsetof(struct morph_thread, card_count) == offsetof(struct mm_slot, card_count), "fast.h");
_Static_assert(offsetof(struct morph_thread, overwritten_head) == offsetof(struct mm_slot, overwritten_head), "fast.h");
_Static_assert(offsetof(struct morph_thread, roots_bytes) == offsetof(struct mm_slot, roots_bytes), "fast.h");
_Static_assert(offsetof(struct morph_thread, stop) == offsetof(struct mm_slot, stop), "fast.h");
_Static_assert(offsetof(struct morph_thread, marking) == offsetof(struct mm_slot, marking), "fast.h");
_Static_assert(offsetof(struct morph_thread, card_base) == offsetof(struct mm_slot, card_base), "fast.h");
_Static_assert(offsetof(struct morph_thread, first_card) == offsetof(struct mm_slot, first_card), "fast.h");
_Static_assert(offsetof(struct morph_thread, bytes_off) == offsetof(struct mm_slot, bytes_off), "fast.h");
_Static_assert(MORPH_ROOTS_OFF == MM_SLOT_ROOTS_OFF && MORPH_ROOTS_BYTES == MM_ROOT_AREA_BYTES, "fast.h");
_Static_assert(MORPH_CARD_SHIFT == MM_CARD_SHIFT && MORPH_CARD_DIRTY == MM_CARD_DIRTY, "fast.h");
_Static_assert(MORPH_SMALL_BYTES == MM_LARGE_BYTES, "fast.h");
_Static_assert(offsetof(struct morph_arena, typed) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_space, typed_cursor), "fast.h");
_Static_assert(offsetof(struct morph_arena, typed) + offsetof(struct morph_bump, limit) == offsetof(struct mm_space, typed_limit), "fast.h");
_Static_assert(offsetof(struct morph_arena, raw) + offsetof(struct morph_bump, cursor) == offsetof(struct mm_space, raw_cursor), "fast.h");
_Static_assert(offsetof(struct morph_arena, raw) + offsetof(struct morph_bump, limit) == offsetof(struct mm_space, raw_limit), "fast.h");
_Static_assert(offsetof(struct mm_object, bytes) == 0, "morph_object_bytes() reads it there");
_Static_assert(offsetof(struct morph__type, info) == 0, "a morph_type is a struct morph__type");
