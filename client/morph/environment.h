/* environment.h — what a user may say about the heap of a Morph program without compiling it again. For both layers of libmorphmem-morph. */
#ifndef MORPH_ENVIRONMENT_H
#define MORPH_ENVIRONMENT_H

#include <stdbool.h>
#include <stdint.h>

#include <morphmem/morphmem.h>

/* MORPHMEM_MODE and MORPHMEM_LIMIT, where they are set and not empty, take the place of mode and limit_bytes; every other field stays, and 0 still means
 * the (new) mode's default. 0, or INVALID with a sentence on stderr, and then the options are as they were. */
int morph__environment(morph_options *options);

/* "4096", "64M", "2g": decimal digits and at most one of K, M, G. False: something else, or more than 64 bits hold. */
bool morph__size_parse(const char *text, uint64_t *ret_bytes);

/* Is MORPH_MEM_DEBUG set, to something else than "" or "0"? */
bool morph__debug_wanted(void);

/* "runtime"; static. */
const char *morph__mode_name(enum morph_mode mode);

#endif
