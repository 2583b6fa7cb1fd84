/* body.h — turns the body of a REPORT (one msgpack map) into a JSON object with the same keys. */
#ifndef CTL_BODY_H
#define CTL_BODY_H

#include <jansson.h>
#include <stddef.h>

#define BODY_DEPTH_MAX 8                /* containers inside one another */

/* A JSON object (the caller's reference), or NULL: not one whole map from text to values, too deep, or out of memory. Text that is
 * not UTF-8 gets U+FFFD for each bad byte; whole numbers above 2^63-1 become reals. */
json_t *body_to_json(const void *bytes, size_t count);

#endif
