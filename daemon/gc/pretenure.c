/* pretenure.c — types whose young objects nearly all survive are born old (DESIGN D13; Blackburn et al., "Pretenuring for Java", OOPSLA
 * 2001; the sampling is ours).
 *
 * The owner's fast path counts nothing, so we look afterwards: of every eighth nursery block, before it is cleaned, the objects are walked, and
 * their claim bits say which of them were carried out. (Of blocks that are promoted in place, two a collection, in the pause.) A type of which 80 % survived, over a mebibyte allocated, in five collections in a
 * row, is pretenured. After 4 MiB of pretenured memory every type goes through the nursery again until it has been measured anew; while that
 * confirms them the 4 MiB double, up to 1024. (A program that is just building something looks like one where nothing dies.)
 * Where nothing at all is young a nursery is dear: the pause that collects it must look at every card that changed since there was one. So there probation
 * begins in a pause, which forgets those cards. Types that have been confirmed for long wait for the end of a marking, unless one goes on; the nursery that follows is short, all of it
 * is measured in the pause that collects it, and what survives is old at once.
 * Touches client memory: inside a guard. The heap's worker. */
#include "daemon/gc/trace.h"
#include "daemon/log.h"

#define ENOUGH_BYTES   ((1u << 20) / 8)     /* sampled, of a mebibyte allocated */
#define SURVIVE_TENTHS 8u
#define IN_A_ROW       5u
#define ENOUGH_PROBED  (4u << 10)           /* of a type on probation */
#define LONG_CONFIRMED (64u << 20)

static void type_set(struct gc *gc, uint32_t type, bool on)
{
    struct mm_control *control = gc->heap->control;
    uint64_t *word = &mm_control_pretenure(control, gc->heap->slot_count, gc->heap->space_count)[type / 64], bit = (uint64_t)1 << (type % 64);
    gc->pretenured_types += on ? 1u : -1u;
    gc->type[type].pretenured = on;
    log_debug("gc", "pretenure heap=%llu type=%u on=%u", (unsigned long long)gc->heap->id, type, on);
    mm_store_relaxed(word, on ? mm_load_relaxed(word) | bit : mm_load_relaxed(word) & ~bit);
    mm_store_release(&control->pretenure_version, ++gc->pretenure_version);     /* pairs with the acquire in client/types.c */
}

static void type_judge(struct gc *gc, uint32_t id)
{
    struct gc_type *type = &gc->type[id];
    if (type->born_bytes < (!type->on_probation ? ENOUGH_BYTES : gc->probing ? ENOUGH_PROBED : ENOUGH_BYTES / 4) || type->judged == gc->cycles)
        return;
    type->judged = gc->cycles;
    bool survive = type->survived_bytes * 10 >= type->born_bytes * SURVIVE_TENTHS;
    type->born_bytes = type->survived_bytes = 0;
    type->in_a_row = survive ? (uint8_t)(type->in_a_row + (type->in_a_row < IN_A_ROW)) : 0;
    if (type->on_probation) {
        type->on_probation = false;
        gc->probation_bytes = !survive ? GC_PROBATION_LEAST : gc->probation_bytes < GC_PROBATION_MOST ? gc->probation_bytes * 2 : GC_PROBATION_MOST;
    }
    if ((type->in_a_row == IN_A_ROW) != type->pretenured)
        type_set(gc, id, !type->pretenured);
}

void pretenure_look(struct gc *gc, uint32_t block)
{
    const struct gc_block *side = gc_block(gc, block);
    for (uint32_t at = 0; at < MM_BLOCK_BYTES;) {
        uint64_t word0 = trace_header(gc, gc_off(block) + at), extent = mm_object_extent(mm_header_bytes(word0));
        if (!(mm_header_flags(word0) & MM_BORN) || extent > MM_BLOCK_BYTES - at || mm_header_type(word0) >= gc->type_count)
            return;
        struct gc_type *type = &gc->type[mm_header_type(word0)];
        type->born_bytes += extent;
        type->survived_bytes += GC_BIT(side, mark, at / MM_GRANULE_BYTES) ? extent : 0;
        type_judge(gc, mm_header_type(word0));
        at += (uint32_t)extent;
    }
}

bool pretenure_step(struct gc *gc)
{
    if (!gc->samples)
        return false;
    uint32_t block = gc->sample[gc->samples - 1];
    if (gc->kind == MM_COLLECT_MINOR && gc->receipt.reason == RECEIPT_NURSERY)     /* others come at moments that say nothing */
        pretenure_look(gc, block);
    gc->samples--;
    reclaim_free_block(gc, block);
    return true;
}

static void probation(struct gc *gc)
{
    gc->pretenured_bytes = 0;
    for (uint32_t id = MM_TYPE_RAW; id < gc->type_count; id++)
        if (gc->type[id].pretenured) {
            type_set(gc, id, false);
            gc->type[id].on_probation = true;
        }
}

/* Not when there is no room for a nursery: whoever came to it would wait. */
static bool probation_due(const struct gc *gc)
{
    return gc->pretenured_types && gc->pretenured_bytes >= gc->probation_bytes && gc_room_blocks(gc) >= gc_nursery_blocks(gc);
}

static bool long_confirmed(const struct gc *gc) { return gc->probation_bytes > LONG_CONFIRMED; }

/* While a marking goes on: what has begun to die is born old, and alive, until it ends; but not where cards say what refers into blocks that will be emptied, since
 * they would be forgotten. */
static bool moment_while_marking(const struct gc *gc) { return gc->mark_state != MARK_NONE && !gc->recording; }

/* Not while some thread does not stop: old memory need not wait for it. */
bool pretenure_due(const struct gc *gc)
{
    bool moment = moment_while_marking(gc) || (gc->mark_state == MARK_NONE && !long_confirmed(gc));
    return moment && !gc->put_offs && probation_due(gc);
}

bool pretenure_begin(struct gc *gc)
{
    if (gc->young_count == 0) {
        gc_request(gc, MM_COLLECT_MINOR, RECEIPT_NURSERY);
        return false;
    }
    probation(gc);
    return true;
}

void pretenure_pause_ends(struct gc *gc)
{
    bool marked = gc->receipt.kind != MM_COLLECT_MINOR, moment = gc->mark_state == MARK_NONE ? marked || !long_confirmed(gc) : moment_while_marking(gc);
    if (!moment || !probation_due(gc))
        return;
    probation(gc);
    if (gc->young_count)
        return;
    remset_drain(gc);                   /* no card leads to anything */
    remset_forget(gc);
    gc->probe = long_confirmed(gc);
}
