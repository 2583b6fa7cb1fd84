/* report.h — writes the body of a REPORT: one msgpack map from text to plain values, whose size need not be known before.
 *
 * begin, any number of values, end. A value that does not fit is noticed at the end, once. A key should come once only.
 * The struct points into itself: it is not to be copied between begin and end. Threads: whoever owns the struct.
 */
#ifndef MM_REPORT_H
#define MM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/wire.h"

#define MM_REPORT_BYTES 8192u           /* more than every figure of stats.def and the longest texts take together */

struct mm_report_writer {
    struct mm_writer writer;
    uint32_t keys;
    char bytes[MM_REPORT_BYTES];
};

void mm_report_begin(struct mm_report_writer *report);
void mm_report_u64(struct mm_report_writer *report, const char *key, uint64_t value);
void mm_report_bool(struct mm_report_writer *report, const char *key, bool value);
void mm_report_ratio(struct mm_report_writer *report, const char *key, double value);
void mm_report_text(struct mm_report_writer *report, const char *key, const char *value);      /* copies */

/* What struct mm_report wants as its body: `*ret_body` borrows from `report`. 0, or -EMSGSIZE if not everything fitted. */
int mm_report_end(struct mm_report_writer *report, const void **ret_body, uint32_t *ret_bytes);

#endif
