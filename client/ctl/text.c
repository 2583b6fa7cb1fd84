/* text.c — sizes, durations, safe names. See text.h. */
#define _GNU_SOURCE
#include "client/ctl/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

char *text_size(uint64_t bytes, char room[TEXT_BYTES])
{
    static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    if (bytes < 1024) {
        snprintf(room, TEXT_BYTES, "%" PRIu64 " B", bytes);
        return room;
    }
    unsigned u = 0;
    double value = (double)bytes / 1024;
    for (; value >= 1023.95 && u < 5; u++)      /* what would be printed as 1024.0 goes to the next unit */
        value /= 1024;
    snprintf(room, TEXT_BYTES, "%.1f %s", value, unit[u]);
    return room;
}

char *text_duration(uint64_t ns, char room[TEXT_BYTES])
{
    uint64_t s = ns / 1000000000u;
    if (ns < 1000)
        snprintf(room, TEXT_BYTES, "%" PRIu64 " ns", ns);
    else if (ns < 999950)
        snprintf(room, TEXT_BYTES, "%.1f us", (double)ns / 1e3);
    else if (ns < 999950000)
        snprintf(room, TEXT_BYTES, "%.1f ms", (double)ns / 1e6);
    else if (ns < 59950000000)
        snprintf(room, TEXT_BYTES, "%.1f s", (double)ns / 1e9);
    else if (s < 60)
        snprintf(room, TEXT_BYTES, "1 min 0 s");
    else if (s < 3600)
        snprintf(room, TEXT_BYTES, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(room, TEXT_BYTES, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
    else
        snprintf(room, TEXT_BYTES, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
    return room;
}

/* The character at `at`: its bytes and its columns; 0 columns if it must not be shown as it is. */
static size_t character(const char *at, size_t *ret_columns)
{
    mbstate_t state = { 0 };
    wchar_t wide;
    size_t n = mbrtowc(&wide, at, strlen(at), &state);
    if (n == 0 || n > MB_LEN_MAX) {             /* also what mbrtowc returns for bytes that are no character */
        *ret_columns = 0;
        return 1;
    }
    /* Without a column of their own: combining marks, and marks that turn the direction of the line. */
    int columns = iswprint((wint_t)wide) ? wcwidth(wide) : 0;
    *ret_columns = columns > 0 ? (size_t)columns : 0;
    return n;
}

size_t text_clean(const char *text, char *ret_text, size_t room)
{
    size_t total = 0, used = 0;
    while (*text) {
        size_t columns, n = character(text, &columns), bytes = columns > 0 ? n : 1;
        if (used + bytes >= room)
            break;
        memcpy(ret_text + used, columns > 0 ? text : "?", bytes);
        used += bytes;
        total += columns > 0 ? columns : 1;
        text += n;
    }
    ret_text[used] = 0;
    return total;
}

size_t text_shorten(char *text, size_t columns)
{
    size_t total = 0, kept = 0, cut = 0;        /* cut: where at most columns - 3 are used up */
    for (size_t at = 0; text[at]; ) {
        size_t width, n = character(text + at, &width);
        total += width;
        at += n;
        if (total <= columns - 3) {
            cut = at;
            kept = total;
        }
    }
    if (total <= columns)
        return total;
    strcpy(text + cut, "...");                  /* at least three characters are behind the cut: as many columns were too much */
    return kept + 3;
}
