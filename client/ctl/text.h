/* text.h — figures as people read them, and names that may come from anybody made safe for a terminal. */
#ifndef CTL_TEXT_H
#define CTL_TEXT_H

#include <stddef.h>
#include <stdint.h>

#define TEXT_BYTES 32                   /* room that any figure fits */

/* "0 B", "512 B", "1.5 KiB", "64.0 MiB", ... up to EiB. All return `room`. */
char *text_size(uint64_t bytes, char room[TEXT_BYTES]);

/* "0 ns", "850 ns", "12.3 us", "4.5 ms", "12.3 s", "4 min 5 s", "3 h 12 min", "5 d 3 h". */
char *text_duration(uint64_t ns, char room[TEXT_BYTES]);

/* Copies `text` so that it can do no harm on a terminal in the current locale: what is not a visible character becomes '?'. Cut at a
 * character's end if it does not fit. Returns the columns that it takes. */
size_t text_clean(const char *text, char *ret_text, size_t room);

/* Cuts a clean text to at most `columns` columns (at least 3), ending in "..." if something was cut. Returns the columns left. */
size_t text_shorten(char *text, size_t columns);

#endif
