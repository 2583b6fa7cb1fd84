/* message_helper.h — what the tests and the fuzz harness of proto/ share: comparing, filling and spoiling messages by the tables. */
#ifndef TEST_MESSAGE_HELPER_H
#define TEST_MESSAGE_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/message.h"
#include "tests/lib/random.h"

/* A number of random length, so that every width of the format comes up. */
static inline uint64_t helper_number(struct test_random *random, unsigned bits)
{
    unsigned length = test_random_below(random, bits + 1);
    return length == 0 ? 0 : test_random_next(random) >> (64 - length);
}

static inline uint32_t helper_count(const struct mm_field_info *field, const char *as)
{
    return *(const uint32_t *)(as + field->count_offset);
}

static inline bool helper_field_equal(const struct mm_field_info *field, const char *a, const char *b)
{
    const char *x = a + field->offset, *y = b + field->offset;
    switch (field->type) {
    case MM_VALUE_U32:  return memcmp(x, y, sizeof(uint32_t)) == 0;
    case MM_VALUE_U64:  return memcmp(x, y, sizeof(uint64_t)) == 0;
    case MM_VALUE_BOOL: return *(const bool *)x == *(const bool *)y;
    case MM_VALUE_TEXT: return strcmp(x, y) == 0;
    case MM_VALUE_LIST:
        return helper_count(field, a) == helper_count(field, b) && memcmp(x, y, helper_count(field, a) * sizeof(uint32_t)) == 0;
    case MM_VALUE_BLOB:
        return helper_count(field, a) == helper_count(field, b)
            && (helper_count(field, a) == 0
                || memcmp(*(const void *const *)x, *(const void *const *)y, helper_count(field, a)) == 0);
    }
    return false;
}

static inline bool helper_message_equal(const struct mm_message *a, const struct mm_message *b)
{
    const struct mm_message_info *info = mm_message_info(a->id);
    if (!info || a->id != b->id || a->seq != b->seq)
        return false;
    for (const struct mm_field_info *field = info->fields; field->name; field++)
        if (!helper_field_equal(field, (const char *)&a->as, (const char *)&b->as))
            return false;
    return true;
}

/* Bodies that a REPORT may have. */
static const char helper_blob[] = "\x83\xa1" "a\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1" "b\xc3\xa1" "c\xa4text";

/* Gives `field` its largest value, or with `random` a random one. */
static inline void helper_field_fill(const struct mm_field_info *field, char *as, struct test_random *random)
{
    char *at = as + field->offset;
    uint32_t count = random && field->bound > 0 ? test_random_below(random, field->bound + 1) : field->bound;
    switch (field->type) {
    case MM_VALUE_U32:  *(uint32_t *)at = random ? (uint32_t)helper_number(random, 32) : UINT32_MAX; break;
    case MM_VALUE_U64:  *(uint64_t *)at = random ? helper_number(random, 64) : UINT64_MAX; break;
    case MM_VALUE_BOOL: *(bool *)at = random ? test_random_below(random, 2) : true; break;
    case MM_VALUE_TEXT:
        for (uint32_t i = 0; i < count; i++)
            at[i] = random ? (char)(1 + test_random_below(random, 255)) : (char)('a' + i % 26);
        at[count] = '\0';
        break;
    case MM_VALUE_LIST:
        for (uint32_t i = 0; i < count; i++)
            ((uint32_t *)at)[i] = random ? (uint32_t)helper_number(random, 32) : UINT32_MAX;
        *(uint32_t *)(as + field->count_offset) = count;
        break;
    case MM_VALUE_BLOB:
        *(const void **)at = helper_blob;
        *(uint32_t *)(as + field->count_offset) = random && test_random_below(random, 2) ? 0 : (uint32_t)sizeof helper_blob - 1;
        break;
    }
}

static inline void helper_message_fill(const struct mm_message_info *info, struct mm_message *ret_message, struct test_random *random)
{
    memset(ret_message, 0, sizeof *ret_message);
    ret_message->id = info->id;
    ret_message->seq = random ? (uint32_t)helper_number(random, 32) : UINT32_MAX;
    for (const struct mm_field_info *field = info->fields; field->name; field++)
        helper_field_fill(field, (char *)&ret_message->as, random);
}

/* One random change to `*bytes` bytes (at least one) in a buffer of `capacity`. */
static inline void helper_mutate(struct test_random *random, unsigned char *packet, size_t *bytes, size_t capacity)
{
    size_t at = test_random_below(random, (uint32_t)*bytes);
    size_t count = 1 + test_random_below(random, 4);
    switch (test_random_below(random, 5)) {
    case 0:
        packet[at] ^= (unsigned char)(1u << test_random_below(random, 8));
        break;
    case 1:
        packet[at] = (unsigned char)test_random_next(random);
        break;
    case 2:                             /* the tags with numbers, containers and texts */
        packet[at] = (unsigned char)(0xc0 + test_random_below(random, 32));
        break;
    case 3:                             /* lose some */
        if (at + count >= *bytes)
            return;
        memmove(packet + at, packet + at + count, *bytes - at - count);
        *bytes -= count;
        break;
    default:                            /* say some twice */
        if (at + count > *bytes || *bytes + count > capacity)
            return;
        memmove(packet + at + count, packet + at, *bytes - at);
        *bytes += count;
        break;
    }
}

#endif
