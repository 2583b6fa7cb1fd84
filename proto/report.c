/* report.c — a map of 16-bit count whose count is filled in last. See report.h. */
#include "proto/report.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>

/* A pair takes two bytes at least, so the count of those that fit always fits as well. */
_Static_assert(MM_REPORT_BYTES / 2 <= UINT16_MAX, "the keys of a full report can be counted in 16 bits");

#define REPORT_HEAD "\xde\0\0"          /* map 16, no keys yet */
#define REPORT_HEAD_BYTES 3

static msgpack_packer report_packer(struct mm_report_writer *report)
{
    msgpack_packer packer;
    msgpack_packer_init(&packer, &report->writer, mm_writer_put);
    return packer;
}

static msgpack_packer report_key(struct mm_report_writer *report, const char *key)
{
    msgpack_packer packer = report_packer(report);
    msgpack_pack_str_with_body(&packer, key, strlen(key));
    report->keys++;
    return packer;
}

void mm_report_begin(struct mm_report_writer *report)
{
    report->keys = 0;
    report->writer = (struct mm_writer){report->bytes, report->bytes + sizeof report->bytes, false};
    (void)mm_writer_put(&report->writer, REPORT_HEAD, REPORT_HEAD_BYTES);
}

void mm_report_u64(struct mm_report_writer *report, const char *key, uint64_t value)
{
    msgpack_packer packer = report_key(report, key);
    msgpack_pack_uint64(&packer, value);
}

void mm_report_bool(struct mm_report_writer *report, const char *key, bool value)
{
    msgpack_packer packer = report_key(report, key);
    if (value)
        msgpack_pack_true(&packer);
    else
        msgpack_pack_false(&packer);
}

void mm_report_ratio(struct mm_report_writer *report, const char *key, double value)
{
    msgpack_packer packer = report_key(report, key);
    msgpack_pack_double(&packer, value);
}

void mm_report_text(struct mm_report_writer *report, const char *key, const char *value)
{
    msgpack_packer packer = report_key(report, key);
    msgpack_pack_str_with_body(&packer, value, strlen(value));
}

int mm_report_end(struct mm_report_writer *report, const void **ret_body, uint32_t *ret_bytes)
{
    if (report->writer.full)
        return -EMSGSIZE;
    report->bytes[1] = (char)(report->keys >> 8);
    report->bytes[2] = (char)report->keys;
    *ret_body = report->bytes;
    *ret_bytes = (uint32_t)(report->writer.at - report->bytes);
    return 0;
}
