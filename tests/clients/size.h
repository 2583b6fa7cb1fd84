/* size.h — sizes on the command line: a number of bytes, with K, M or G behind it. */
#ifndef CLIENTS_SIZE_H
#define CLIENTS_SIZE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline bool size_parse(const char *text, uint64_t *ret_bytes)
{
    static const char suffix[] = "KMG";
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    uint64_t number = strtoull(text, &end, 10);
    const char *found = *end ? strchr(suffix, *end) : NULL;
    unsigned shift = found ? 10 * (unsigned)(found - suffix + 1) : 0;
    if ((*end && !found) || (found && end[1]) || number > UINT64_MAX >> shift)
        return false;
    *ret_bytes = number << shift;
    return true;
}

#endif
