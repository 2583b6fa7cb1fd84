/* gc_units_unit.c — parts of daemon/gc/ alone: histograms, receipts, bits, regions, root sets, and what waits in rings. */
#include "tests/unit/gc_sim.h"

/* ---- Histograms ---- */

static void buckets_cover_all_values_in_order(void **state)
{
    for (uint64_t value = 0; value < 100000; value++) {
        unsigned bucket = histogram_bucket(value);
        assert_true(bucket < HISTOGRAM_BUCKETS);
        assert_true(value <= histogram_upper(bucket));
        assert_true(bucket == 0 || value > histogram_upper(bucket - 1));
        assert_true(histogram_upper(bucket) <= value + value / 8);
    }
    for (unsigned shift = 3; shift < 64; shift++)
        for (uint64_t step = 0; step < 8; step++) {
            uint64_t value = (8 + step) << (shift - 3);
            unsigned bucket = histogram_bucket(value);
            assert_true(bucket < HISTOGRAM_BUCKETS);
            assert_true(histogram_bucket(value - 1) == bucket - 1);
            assert_true(histogram_upper(bucket) >= value && histogram_bucket(histogram_upper(bucket)) == bucket);
        }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static void quantiles_are_at_most_an_eighth_above(void **state)
{
    struct histogram histogram = { .count = 0 };
    assert_int_equal(histogram_quantile(&histogram, 500), 0);
    for (uint64_t value = 1; value <= 1000; value++)
        histogram_add(&histogram, value * 1000);
    assert_int_equal(histogram.count, 1000);
    assert_int_equal(histogram.max, 1000000);
    assert_int_equal(histogram.sum, 500500000);
    for (unsigned per_mille = 1; per_mille <= 1000; per_mille++) {
        uint64_t quantile = histogram_quantile(&histogram, per_mille);
        assert_true(quantile >= per_mille * 1000ull && quantile <= per_mille * 1125ull);
    }
    assert_int_equal(histogram_quantile(&histogram, 1000), 1000000);
}

/* ---- Receipts ---- */

static void receipts_are_numbered_and_the_latest_are_kept(void **state)
{
    struct receipt_log log;
    struct receipt got;
    receipt_log_init(&log);
    assert_false(receipt_next(&log, 0, &got));
    uint64_t first = 0;
    for (uint64_t i = 0; i < RECEIPT_LOG_ENTRIES + 50; i++) {
        struct receipt receipt = { .heap = 3, .cycle = i + 1, .kind = i % 2 ? MM_COLLECT_MAJOR : MM_COLLECT_MINOR, .put_off = i % 5 == 0,
                                   .pause_ns = 1000 * (i + 1), .stop_ns = 10, .promoted_bytes = 1, .copied_bytes = 2, .freed_bytes = 3 };
        receipt_file(&log, &receipt);
        first = first ? first : receipt.number;
        assert_int_equal(receipt.number, first + i);
        assert_true(receipt.ended_at_ns != 0);
    }
    uint64_t after = 0, seen = 0;
    for (; receipt_next(&log, after, &got); after = got.number, seen++)
        assert_int_equal(got.number, first + 50 + seen);
    assert_int_equal(seen, RECEIPT_LOG_ENTRIES);
    assert_false(receipt_next(&log, got.number, &got));
    uint64_t all = RECEIPT_LOG_ENTRIES + 50, put_off = (all + 4) / 5;
    assert_int_equal(log.put_offs, put_off);
    assert_int_equal(log.minors + log.majors, all - put_off);
    assert_int_equal(log.pause.count, all - put_off);
    assert_int_equal(log.stop.count, all);
    assert_int_equal(log.copied_bytes, 2 * (all - put_off));
    receipt_log_fini(&log);
}

static void names_of_kinds_and_reasons(void **state)
{
    assert_string_equal(receipt_kind_name(MM_COLLECT_MINOR), "minor");
    assert_string_equal(receipt_kind_name(MM_COLLECT_COMPACT), "compact");
    assert_string_equal(receipt_kind_name(77), "?");
    assert_string_equal(receipt_reason_name(RECEIPT_NURSERY), "NURSERY");
    assert_string_equal(receipt_reason_name(RECEIPT_REASON_COUNT), "?");
}

/* ---- Tables ---- */

static void bits_of_a_range(void **state)
{
    for (uint32_t from = 0; from <= 256; from += 13)
        for (uint32_t to = from; to <= 256; to += 7) {
            uint64_t bits[4] = { 0, 0, 0, 0 };
            gc_bits_set(bits, from, to);
            for (uint32_t i = 0; i < 256; i++)
                assert_int_equal(gc_bit(bits, i), i >= from && i < to);
            memset(bits, 0xff, sizeof bits);
            gc_bits_clear(bits, from, to);
            for (uint32_t i = 0; i < 256; i++)
                assert_int_equal(gc_bit(bits, i), i < from || i >= to);
        }
}

static void runs_of_bits(void **state)
{
    uint64_t bits[GC_BLOCK_GRANULES / 64];
    for (unsigned round = 0; round < 40; round++) {
        uint32_t from, to = 0, at = 0;
        memset(bits, round % 2 ? 0xff : 0, sizeof bits);
        for (uint32_t i = 0; i < round * 9; i++) {              /* some of them whole words, some at both ends of the map */
            uint32_t begin = (i * 2654435761u + round) % GC_BLOCK_GRANULES, end = begin + i % 5 * 33 + 1;
            end = end < GC_BLOCK_GRANULES ? end : GC_BLOCK_GRANULES;
            if (round % 2)
                gc_bits_clear(bits, begin, end);
            else
                gc_bits_set(bits, begin, end);
        }
        while (gc_bits_run(bits, to, &from, &to)) {
            for (; at < from; at++)
                assert_false(gc_bit(bits, at));
            assert_true(from < to && to <= GC_BLOCK_GRANULES);
            for (; at < to; at++)
                assert_true(gc_bit(bits, at));
        }
        for (; at < GC_BLOCK_GRANULES; at++)
            assert_false(gc_bit(bits, at));
        assert_false(gc_bits_run(bits, GC_BLOCK_GRANULES, &from, &to));
    }
}

static void stacks_keep_what_is_in_them(void **state)
{
    struct gc_stack stack = { NULL, 0, 0 };
    for (uint64_t i = 0; i < 100000; i++)
        assert_true(stack_push_grow(&stack, i * 3));
    assert_int_equal(stack.count, 100000);
    assert_true(stack_reserve(&stack, 500000));
    for (uint64_t i = 0; i < 100000; i++)
        assert_true(stack.word[i] == i * 3);
    stack_free(&stack);
    assert_null(stack.word);
    stack_free(&stack);
}

static const struct sim_options small = { .limit_bytes = 8 * MIB, .young_bytes = 256 * KIB, .promotion_age = 3, .threads = 8 };

static void addresses_are_judged(void **state)
{
    sim_open(&small);
    uint64_t base = sim.heap->view.client_base;
    assert_true(trace_off(sim.gc, 0) == TRACE_NONE);
    assert_true(trace_off(sim.gc, base) == TRACE_NONE);                 /* no room for a header */
    assert_true(trace_off(sim.gc, base + 16) == 0);
    assert_true(trace_off(sim.gc, base + 24) == TRACE_NONE);
    assert_true(trace_off(sim.gc, base + sim.heap->view.bytes) == sim.heap->view.bytes - 16);
    assert_true(trace_off(sim.gc, base + sim.heap->view.bytes + 16) == TRACE_NONE);
    assert_true(trace_off(sim.gc, UINT64_MAX - 15) == TRACE_NONE);
    assert_true(trace_word(sim.gc, 4096) == base + 4112);
    sim_close();
}

/* An object that was put there. */
static void object_note(uint64_t off, uint32_t extent)
{
    struct gc_block *side = gc_block(sim.gc, (uint32_t)(off >> MM_BLOCK_SHIFT));
    GC_BIT_SET(side, start, trace_granule(off));
    GC_BIT_SET(side, end, trace_granule(off + extent - MM_GRANULE_BYTES));
}

/* What a region did not use is free again; a block's holes are filled one after the other. */
static void regions_give_back_what_they_did_not_use(void **state)
{
    enum { FIRST = 320, FROM = 1024, TO = 51200 };
    sim_open(&small);
    struct gc *gc = sim.gc;
    gc->from_count = 100;               /* copies are bounded by what there is to be copied */
    enum gc_to_kind old = TO_OLD;
    uint64_t off = region_alloc(&gc->tracer[0], &old, 64);
    assert_true(off != TRACE_NONE);
    uint32_t block = (uint32_t)(off >> MM_BLOCK_SHIFT);
    struct gc_block *side = gc_block(gc, block);
    assert_int_equal(gc->space[block], GC_OLD);
    assert_int_equal(gc->old_blocks, 1);
    assert_true(region_alloc(&gc->tracer[0], &old, 256) == off + 64);
    object_note(off, 64);
    object_note(off + 64, 256);
    regions_close(gc, true);
    assert_int_equal(side->flags, GC_LISTED);
    assert_int_equal(gc->listed_count, 1);
    assert_int_equal(gc->old_free_bytes, MM_BLOCK_BYTES - FIRST);
    assert_true(gc_old_used_bytes(gc) == FIRST);
    assert_int_equal(side->longest, (MM_BLOCK_BYTES - FIRST) / MM_GRANULE_BYTES);
    reclaim_unlist(gc, block);
    object_note(gc_off(block) + FROM, TO - FROM);       /* two holes now */
    side->used_bytes += TO - FROM;
    reclaim_list(gc, block);
    assert_true(region_alloc(&gc->tracer[0], &old, 256) == gc_off(block) + FIRST);
    assert_true(region_alloc(&gc->tracer[0], &old, 256) == gc_off(block) + FIRST + 256);
    assert_true(region_alloc(&gc->tracer[0], &old, 256) == gc_off(block) + TO);
    object_note(gc_off(block) + FIRST, 256);
    object_note(gc_off(block) + FIRST + 256, 256);
    object_note(gc_off(block) + TO, 256);
    uint64_t longer = region_alloc(&gc->tracer[0], &old, 1024);         /* the block is another region's: a free one at once */
    assert_true(longer >> MM_BLOCK_SHIFT != block);
    regions_close(gc, true);
    assert_int_equal(side->flags, GC_LISTED);
    assert_int_equal(side->used_bytes, FIRST + TO - FROM + 3 * 256);
    assert_int_equal(side->longest, (MM_BLOCK_BYTES - TO - 256) / MM_GRANULE_BYTES);
    /* The block of the long one has no start bit, but counts as used until a marking. */
    assert_int_equal(gc_block(gc, (uint32_t)(longer >> MM_BLOCK_SHIFT))->used_bytes, 1024);
    sim_close();
}

static void a_full_survivor_space_promotes(void **state)
{
    sim_open(&small);
    struct gc *gc = sim.gc;
    gc->from_count = 100;
    gc->survivor_max = 1;
    unsigned survivors = 0, old = 0;
    for (unsigned i = 0; i < 2 * MM_BLOCK_BYTES / 256; i++) {
        enum gc_to_kind promote = TO_SURVIVOR;
        uint64_t off = region_alloc(&gc->tracer[0], &promote, 256);
        assert_int_equal(promote == TO_OLD, gc->space[off >> MM_BLOCK_SHIFT] == GC_OLD);
        assert_true(off != TRACE_NONE);
        survivors += gc->space[off >> MM_BLOCK_SHIFT] == GC_TO;
        assert_int_equal(mm_control_cards(sim.heap->control, sim.heap->slot_count, sim.heap->space_count)[off >> MM_CARD_SHIFT],
                         gc->space[off >> MM_BLOCK_SHIFT] == GC_TO ? MM_CARD_YOUNG : MM_CARD_CLEAN);
        old += gc->space[off >> MM_BLOCK_SHIFT] == GC_OLD;
    }
    assert_int_equal(survivors, MM_BLOCK_BYTES / 256);
    assert_int_equal(old, MM_BLOCK_BYTES / 256);
    assert_int_equal(gc->survivor_blocks, 1);
    sim_close();
}

/* ---- Marking ---- */

/* What helpers have marked and not scanned, when a marking ends, is not forgotten with them. */
static void the_end_of_a_marking_gathers_what_is_left(void **state)
{
    sim_open(&small);
    struct gc *gc = sim.gc;
    gc->tracers = 3;
    assert_true(mark_begin(gc));
    for (unsigned i = 0; i < 3; i++) {
        assert_true(stack_reserve(&gc->tracer[i].marked, 4096));
        stack_push(&gc->tracer[i].marked, 16 * i);
    }
    stack_push(&gc->marker.marked, 48);
    mark_end(gc);
    assert_int_equal(gc->tracer[0].marked.count, 4);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(gc->tracer[i].marked.count, i ? 0 : 4);
        assert_true(gc->tracer[i].mark_settled);
    }
    gc->tracer[0].marked.count = 0;
    sim_close();
}

/* ---- Root sets by letter ---- */

static void root_sets_come_in_parts_and_in_order(void **state)
{
    uint32_t halves[2000] = { 0 };
    sim_open(&small);
    struct gc *gc = sim.gc;
    for (uint32_t i = 0; i < 2000; i++)
        halves[i] = i;
    assert_int_equal(gc_root_set_report(gc, 0, 5, 1000, 10, halves, 20), -MORPH_EINVALID);      /* no beginning */
    assert_int_equal(gc_root_set_report(gc, 99, 5, 10, 0, halves, 20), -MORPH_EINVALID);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 10, 0, halves, 19), -MORPH_EINVALID);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 10, 0, halves, 22), -MORPH_EINVALID);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 1000, 0, halves, 1000), 0);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 1000, 499, halves + 998, 2), -MORPH_EINVALID);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 1000, 500, halves + 1000, 1000), 0);
    assert_int_equal(gc_root_set_report(gc, 1, 5, 1, 0, halves, 2), 0);
    const struct gc_root_set *set = gc_root_set_find(gc, 0, 5);
    assert_non_null(set);
    assert_int_equal(set->filled, 1000);
    for (uint32_t i = 0; i < 1000; i++)
        assert_true(set->word[i] == (2 * i | (uint64_t)(2 * i + 1) << 32));
    assert_int_equal(gc->root_set_words, 1001);
    assert_int_equal(gc_root_set_report(gc, 0, 5, 3, 0, halves, 6), 0);         /* anew */
    assert_int_equal(gc->root_set_words, 4);
    gc_root_sets_drop(gc, 0);
    assert_null(gc_root_set_find(gc, 0, 5));
    assert_non_null(gc_root_set_find(gc, 1, 5));
    assert_int_equal(gc_root_set_report(gc, 1, 5, 0, 0, NULL, 0), 0);
    assert_int_equal(gc->root_set_words, 0);
    assert_int_equal(gc_root_set_report(gc, 1, 5, (1u << 20) + 1, 0, halves, 2), -MORPH_EROOTS);
    sim_close();
}

/* ---- What waits in rings ---- */

static void collect_from_outside(enum mm_collection kind)
{
    gc_request(sim.gc, kind, RECEIPT_TOOL);
    for (uint64_t cycles = sim.gc->cycles; sim.gc->cycles == cycles;)
        assert_true(sim_serve());
}

/* A collection before anybody has attached: the first grant waits in a ring all the same, or is taken out of it. */
static void a_grant_that_waits_for_the_first_thread_is_not_freed(void **state)
{
    morph_thread *thread;
    sim_open(&small);
    collect_from_outside(MM_COLLECT_MINOR);
    while (sim_background())
        ;
    assert_int_equal(morph_thread_attach(sim.client, &thread), 0);
    void *object = morph_new_bytes(thread, 100);
    assert_non_null(object);
    assert_int_equal(sim_space(object), GC_YOUNG);
    assert_int_equal(heap_block_state(sim.heap, sim_block(object)), MM_BLOCK_GRANTED);
    assert_int_equal(morph_thread_detach(thread), 0);
    sim_close();
}

/* Young blocks granted ahead to threads that have gone, or that do nothing, do not starve those that work. */
static void idle_rings_do_not_eat_the_nursery(void **state)
{
    morph_thread *thread[7], *worker;
    sim_open(&small);
    for (unsigned i = 0; i < 7; i++) {
        assert_int_equal(morph_thread_attach(sim.client, &thread[i]), 0);
        assert_non_null(morph_new_bytes(thread[i], 100));
        morph_native_enter(thread[i]);
        while (sim_serve())
            ;
    }
    for (unsigned i = 0; i < 3; i++) {
        morph_native_leave(thread[i]);
        assert_int_equal(morph_thread_detach(thread[i]), 0);
    }
    assert_int_equal(morph_thread_attach(sim.client, &worker), 0);
    for (unsigned i = 0; i < 10000; i++)
        assert_non_null(morph_new_bytes(worker, 1000));
    assert_null(sim.lie);
    uint64_t nurseries = 10000 * 1024 / (256 * KIB);
    assert_true(sim.gc->cycles > nurseries / 2 && sim.gc->cycles < nurseries * 4);
    assert_int_equal(morph_thread_detach(worker), 0);
    for (unsigned i = 3; i < 7; i++) {
        morph_native_leave(thread[i]);
        assert_non_null(morph_new_bytes(thread[i], 100));
        assert_int_equal(morph_thread_detach(thread[i]), 0);
    }
    sim_close();
}

/* More threads than the nursery has cells, all of which ask again at once: each has its turn. */
static void young_memory_goes_round(void **state)
{
    enum { THREADS = 4 };
    morph_thread *thread[THREADS];
    unsigned cells[THREADS] = { 0 };
    sim_open(&small);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(morph_thread_attach(sim.client, &thread[i]), 0);
        assert_non_null(morph_new_bytes(thread[i], 100));
        morph_native_enter(thread[i]);
    }
    for (unsigned round = 0; round < 4000; round++) {
        for (unsigned i = 0; i < THREADS; i++) {
            struct mm_slot *slot = mm_control_slot(sim.heap->control, i);
            struct mm_cell cell;
            uint32_t left;
            while (mm_ring_take(slot, &cell, &left))
                cells[i]++;
            if (sim.heap->slot[i].request_seen == slot->request_seq)
                morph__request_put(slot, MM_GRANT_YOUNG, 1, 1);
        }
        (void)sim_serve();
    }
    assert_null(sim.lie);
    assert_true(sim.gc->cycles > 100);
    for (unsigned i = 0; i < THREADS; i++)
        assert_in_range(cells[i], cells[0] / 2, cells[0] * 2);
    for (unsigned i = 0; i < THREADS; i++) {
        morph_native_leave(thread[i]);
        assert_int_equal(morph_thread_detach(thread[i]), 0);
    }
    sim_close();
}

/* stress=1 collects once for a request, whatever it is for, and then answers it. */
static void stress_answers_every_kind_of_request(void **state)
{
    morph_thread *thread;
    morph_type type;
    sim_open(&small);
    config.stress = 1;
    assert_int_equal(morph_type_register(sim.client, &(morph_type_spec){ .name = "t", .bytes = 32 }, &type), 0);
    assert_int_equal(morph_thread_attach(sim.client, &thread), 0);
    assert_non_null(morph_new_hint(thread, type, MORPH_HINT_LONG));
    assert_non_null(morph_new_bytes(thread, 100000));
    assert_non_null(morph_new_bytes(thread, 100));
    assert_true(sim.gc->cycles >= 2 && sim.gc->cycles <= 3);
    assert_null(sim.lie);
    assert_int_equal(morph_thread_detach(thread), 0);
    sim_close();
}

/* Types are to be put on probation, which takes a pause where nothing is young. A thread that does not stop puts that off, and old memory is granted all the
 * same; when it stops the probation begins. */
static void old_memory_does_not_wait_for_a_probation(void **state)
{
    morph_thread *me, *other;
    morph_type type;
    sim_open(&small);
    config.stop_deadline = 5;
    sim.tick_ns = MS / 10;
    assert_int_equal(morph_type_register(sim.client, &(morph_type_spec){ .name = "t", .bytes = 48 }, &type), 0);
    assert_int_equal(morph_thread_attach(sim.client, &me), 0);
    assert_non_null(morph_new_hint(me, type, MORPH_HINT_LONG));        /* types are read when something is granted */
    assert_int_equal(morph_collect(me, MORPH_COLLECT_MINOR), 0);
    uint32_t id = mm_header_type(type->header);
    assert_in_range(id, 1, sim.gc->type_count - 1);
    sim.gc->type[id].pretenured = true;
    sim.gc->pretenured_types = 1;
    sim.gc->pretenured_bytes = GC_PROBATION_LEAST;
    assert_int_equal(morph_thread_attach(sim.client, &other), 0);      /* runs, and looks at nothing */
    for (unsigned i = 0; i < 4 * MM_BLOCK_BYTES / 64; i++)
        assert_non_null(morph_new_hint(me, type, MORPH_HINT_LONG));
    assert_true(sim.gc->put_offs > 0);
    assert_true(sim.gc->type[id].pretenured);
    morph_native_enter(other);
    for (unsigned i = 0; i < 100 && sim.gc->type[id].pretenured; i++) {
        world_ns += 10 * MS;
        (void)sim_serve();
        morph_poll(me);
    }
    assert_false(sim.gc->type[id].pretenured);
    assert_true(sim.gc->type[id].on_probation);
    assert_int_equal(sim.gc->pretenured_types, 0);
    assert_null(sim.lie);
    morph_native_leave(other);
    morph_native_enter(me);
    assert_int_equal(morph_thread_detach(other), 0);
    morph_native_leave(me);
    assert_int_equal(morph_thread_detach(me), 0);
    sim_close();
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(buckets_cover_all_values_in_order),
        test_case(quantiles_are_at_most_an_eighth_above),
        world_case(receipts_are_numbered_and_the_latest_are_kept),
        test_case(names_of_kinds_and_reasons),
        test_case(bits_of_a_range),
        test_case(runs_of_bits),
        test_case(stacks_keep_what_is_in_them),
        world_case(addresses_are_judged),
        world_case(regions_give_back_what_they_did_not_use),
        world_case(a_full_survivor_space_promotes),
        world_case(the_end_of_a_marking_gathers_what_is_left),
        world_case(root_sets_come_in_parts_and_in_order),
        world_case(a_grant_that_waits_for_the_first_thread_is_not_freed),
        world_case(idle_rings_do_not_eat_the_nursery),
        world_case(young_memory_goes_round),
        world_case(stress_answers_every_kind_of_request),
        world_case(old_memory_does_not_wait_for_a_probation),
    };
    return test_run(cases);
}
