/* options.h — options with every default filled in. */
#ifndef MORPH_OPTIONS_H
#define MORPH_OPTIONS_H

#include "client/internal.h"

/* Every field of *ret set and within bounds. 0 or MORPH_EINVALID. Texts are borrowed from `given`. */
MORPH_HIDDEN int morph__options_resolve(const morph_options *given, morph_options *ret);

#endif
