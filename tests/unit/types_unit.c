/* types_unit.c — registering types: ids, layouts that are refused, bounds. Tests daemon/heap/types.c. */
#include "tests/lib/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/include/morphmem/error.h"
#include "daemon/heap/types.h"
#include "shm/object.h"

static struct type_table table;

static struct mm_type spec_named(const char *name, uint32_t bytes)
{
    struct mm_type spec = { .bytes = bytes };
    snprintf(spec.name, sizeof spec.name, "%s", name);
    return spec;
}

static struct mm_type spec_with_refs(const char *name, uint32_t bytes, unsigned count, const uint32_t *refs)
{
    struct mm_type spec = spec_named(name, bytes);
    memcpy(spec.refs, refs, count * sizeof *refs);
    spec.refs_count = count;
    return spec;
}
#define SPEC(name, bytes, ...) \
    spec_with_refs(name, bytes, sizeof (uint32_t[]){ __VA_ARGS__ } / sizeof(uint32_t), (uint32_t[]){ __VA_ARGS__ })

static struct mm_type spec_with_elements(const char *name, uint32_t bytes, uint32_t element_bytes, uint32_t element_ref)
{
    struct mm_type spec = spec_named(name, bytes);
    spec.element_bytes = element_bytes;
    spec.element_refs[0] = element_ref;
    spec.element_refs_count = 1;
    return spec;
}

static uint32_t registered(struct mm_type spec)
{
    uint32_t id = 0;
    assert_int_equal(types_register(&table, &spec, &id), 0);
    return id;
}

/* The error's positive number; nothing is changed, the result neither. */
static int refused(struct mm_type spec)
{
    uint32_t id = 77, count = table.count;
    uint64_t bytes = table.bytes;
    int error = types_register(&table, &spec, &id);
    assert_true(error > 0);
    assert_int_equal(id, 77);
    assert_int_equal(table.count, count);
    assert_true(table.bytes == bytes);
    return error;
}

static int table_begin(void **state)
{
    types_init(&table);
    return test_begin(state);
}

static int table_end(void **state)
{
    types_done(&table);
    return test_end(state);
}

#define table_case(function) cmocka_unit_test_setup_teardown(function, table_begin, table_end)

static void an_empty_table_knows_nothing(void **state)
{
    assert_null(types_get(&table, 0));
    assert_null(types_get(&table, 1));
    assert_null(types_get(&table, UINT32_MAX));
}

static void ids_count_from_one_and_lead_to_the_layout(void **state)
{
    assert_int_equal(registered(SPEC("node", 24, 0, 8)), 1);
    assert_int_equal(registered(spec_with_elements("vector", 16, 8, 0)), 2);
    assert_int_equal(registered(spec_named("text", 0)), 3);
    const struct type *node = types_get(&table, 1), *vector = types_get(&table, 2);
    assert_string_equal(node->name, "node");
    assert_int_equal(node->bytes, 24);
    assert_int_equal(node->element_bytes, 0);
    assert_int_equal(node->ref_count, 2);
    assert_int_equal(node->ref[0], 0);
    assert_int_equal(node->ref[1], 8);
    assert_int_equal(vector->bytes, 16);
    assert_int_equal(vector->element_bytes, 8);
    assert_int_equal(vector->ref_count, 0);
    assert_int_equal(vector->element_ref_count, 1);
    assert_int_equal(vector->ref[0], 0);
    assert_null(types_get(&table, 0));
    assert_null(types_get(&table, 4));
}

static void the_same_name_and_layout_is_the_same_type(void **state)
{
    uint32_t node = registered(SPEC("node", 24, 0, 8)), vector = registered(spec_with_elements("vector", 16, 8, 0));
    uint64_t bytes = table.bytes;
    assert_int_equal(registered(SPEC("node", 24, 0, 8)), node);
    assert_int_equal(registered(spec_with_elements("vector", 16, 8, 0)), vector);
    assert_int_equal(table.count, 2);
    assert_true(table.bytes == bytes);
}

static void the_same_name_with_another_layout_is_refused(void **state)
{
    registered(SPEC("node", 24, 0, 8));
    assert_int_equal(refused(SPEC("node", 32, 0, 8)), -MORPH_ETYPE);
    assert_int_equal(refused(SPEC("node", 24, 0)), -MORPH_ETYPE);
    assert_int_equal(refused(SPEC("node", 24, 0, 16)), -MORPH_ETYPE);
    assert_int_equal(refused(SPEC("node", 24, 0, 8, 16)), -MORPH_ETYPE);
    assert_int_equal(refused(spec_named("node", 24)), -MORPH_ETYPE);
    assert_int_equal(refused(spec_with_elements("node", 24, 8, 0)), -MORPH_ETYPE);
    registered(spec_with_elements("vector", 0, 16, 0));
    assert_int_equal(refused(spec_with_elements("vector", 0, 16, 8)), -MORPH_ETYPE);
    assert_int_equal(refused(spec_with_elements("vector", 0, 24, 0)), -MORPH_ETYPE);
    struct mm_type pairs = spec_with_elements("pairs", 0, 16, 0);
    pairs.element_refs[1] = 8;
    pairs.element_refs_count = 2;
    registered(pairs);
    pairs.element_refs_count = 1;
    assert_int_equal(refused(pairs), -MORPH_ETYPE);         /* the first ones are the same, but there are fewer */
    pairs.element_refs_count = 0;
    assert_int_equal(refused(pairs), -MORPH_ETYPE);
    assert_int_equal(types_get(&table, 1)->bytes, 24);
}

/* The same offsets, once in the fixed part and once in the elements. */
static void references_of_fixed_part_and_elements_are_told_apart(void **state)
{
    struct mm_type fixed = SPEC("both", 8, 0), element = spec_with_elements("both", 8, 8, 0);
    fixed.element_bytes = 8;
    registered(fixed);
    assert_int_equal(refused(element), -MORPH_ETYPE);
}

static void names_must_not_be_empty_and_differ_in_every_byte(void **state)
{
    assert_int_equal(refused(spec_named("", 8)), -MORPH_EINVALID);
    char longest[128];
    memset(longest, 'x', 127);
    longest[127] = 0;
    uint32_t first = registered(spec_named(longest, 8));
    longest[126] = 'y';
    assert_int_not_equal(registered(spec_named(longest, 8)), first);
    assert_int_not_equal(registered(spec_named("Node", 8)), registered(spec_named("node", 8)));
}

static void references_must_be_pointers_inside_in_ascending_order(void **state)
{
    assert_int_equal(refused(SPEC("bad", 24, 4)), -MORPH_EINVALID);                 /* unaligned */
    assert_int_equal(refused(SPEC("bad", 24, 0, 9)), -MORPH_EINVALID);
    assert_int_equal(refused(SPEC("bad", 24, 24)), -MORPH_EINVALID);                /* outside */
    assert_int_equal(refused(SPEC("bad", 23, 16)), -MORPH_EINVALID);                /* half outside */
    assert_int_equal(refused(SPEC("bad", 0, 0)), -MORPH_EINVALID);
    assert_int_equal(refused(SPEC("bad", 24, UINT32_MAX - 7)), -MORPH_EINVALID);    /* would wrap */
    assert_int_equal(refused(SPEC("bad", 24, 8, 0)), -MORPH_EINVALID);              /* descending */
    assert_int_equal(refused(SPEC("bad", 24, 8, 8)), -MORPH_EINVALID);              /* twice */
    assert_int_equal(registered(SPEC("good", 24, 0, 8, 16)), 1);
}

static void references_of_elements_must_be_inside_an_element(void **state)
{
    assert_int_equal(refused(spec_with_elements("bad", 16, 8, 8)), -MORPH_EINVALID);
    assert_int_equal(refused(spec_with_elements("bad", 16, 16, 4)), -MORPH_EINVALID);
    assert_int_equal(refused(spec_with_elements("bad", 16, 0, 0)), -MORPH_EINVALID);
    assert_int_equal(registered(spec_with_elements("good", 16, 16, 8)), 1);
}

/* Or the pointers of the second element would be unaligned. */
static void elements_with_references_need_whole_words(void **state)
{
    assert_int_equal(refused(spec_with_elements("bad", 12, 8, 0)), -MORPH_EINVALID);
    assert_int_equal(refused(spec_with_elements("bad", 16, 12, 0)), -MORPH_EINVALID);
    struct mm_type bytes = spec_named("bytes", 3);
    bytes.element_bytes = 5;
    assert_int_equal(registered(bytes), 1);                                         /* without any, any size will do */
}

static void sizes_have_bounds(void **state)
{
    struct mm_type elements = spec_named("elements", 0);
    assert_int_equal(refused(spec_named("bad", (1u << 20) + 1)), -MORPH_EINVALID);
    assert_int_equal(refused(spec_named("bad", UINT32_MAX)), -MORPH_EINVALID);
    registered(spec_named("largest", 1u << 20));
    elements.element_bytes = (64u << 10) + 1;
    assert_int_equal(refused(elements), -MORPH_EINVALID);
    elements.element_bytes = 64u << 10;
    registered(elements);
}

static void five_thousand_names_keep_their_ids(void **state)
{
    char name[32];
    for (uint32_t i = 1; i <= 5000; i++) {
        snprintf(name, sizeof name, "type %u", i * 7919);
        assert_int_equal(registered(SPEC(name, i * 8, i * 8 - 8)), i);
    }
    for (uint32_t i = 5000; i >= 1; i--) {
        snprintf(name, sizeof name, "type %u", i * 7919);
        assert_int_equal(registered(SPEC(name, i * 8, i * 8 - 8)), i);
        const struct type *type = types_get(&table, i);
        assert_string_equal(type->name, name);
        assert_int_equal(type->bytes, i * 8);
        assert_int_equal(type->ref[0], i * 8 - 8);
    }
    assert_int_equal(table.count, 5000);
}

static void the_number_of_types_is_bounded(void **state)
{
    char name[32];
    for (uint32_t i = 1; i <= MM_TYPES_MAX; i++) {
        snprintf(name, sizeof name, "%x", i);
        if (registered(spec_named(name, 8)) != i)
            fail_msg("type %u has another id", i);
    }
    assert_int_equal(refused(spec_named("one more", 8)), -MORPH_ENOTYPES);
    assert_int_equal(registered(spec_named("ffff", 8)), MM_TYPES_MAX);              /* known ones are still found */
    assert_int_equal(refused(spec_named("ffff", 16)), -MORPH_ETYPE);
}

static void the_bytes_of_descriptions_are_bounded(void **state)
{
    struct mm_type *spec = calloc(1, sizeof *spec);
    assert_non_null(spec);
    spec->bytes = 1024 * 8;
    spec->refs_count = 1024;
    for (uint32_t i = 0; i < 1024; i++)
        spec->refs[i] = i * 8;
    uint32_t id, count = 0;
    int r;
    do {
        snprintf(spec->name, sizeof spec->name, "large %u", ++count);
        r = types_register(&table, spec, &id);
    } while (r == 0);
    assert_int_equal(r, -MORPH_ENOTYPES);
    assert_true(table.bytes <= TYPE_TABLE_BYTES);
    assert_true(table.bytes + 1024 * sizeof(uint32_t) + 200 > TYPE_TABLE_BYTES);    /* and not long before */
    assert_int_equal(table.count, count - 1);
    free(spec);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        table_case(an_empty_table_knows_nothing),
        table_case(ids_count_from_one_and_lead_to_the_layout),
        table_case(the_same_name_and_layout_is_the_same_type),
        table_case(the_same_name_with_another_layout_is_refused),
        table_case(references_of_fixed_part_and_elements_are_told_apart),
        table_case(names_must_not_be_empty_and_differ_in_every_byte),
        table_case(references_must_be_pointers_inside_in_ascending_order),
        table_case(references_of_elements_must_be_inside_an_element),
        table_case(elements_with_references_need_whole_words),
        table_case(sizes_have_bounds),
        table_case(five_thousand_names_keep_their_ids),
        table_case(the_number_of_types_is_bounded),
        table_case(the_bytes_of_descriptions_are_bounded),
    };
    return test_run(cases);
}
