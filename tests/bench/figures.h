/* figures.h — named numbers: what one run of one subject gave. */
#ifndef BENCH_FIGURES_H
#define BENCH_FIGURES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define FIGURES_MAX 16u

struct figures {
    struct { char name[24]; double value; } item[FIGURES_MAX];
    unsigned count;
    uint64_t check;             /* of the work done; 0: the workload has none */
};

/* NULL: there is no such figure. */
static inline const double *figures_get(const struct figures *figures, const char *name)
{
    for (unsigned i = 0; i < figures->count; i++)
        if (strcmp(figures->item[i].name, name) == 0)
            return &figures->item[i].value;
    return NULL;
}

static inline void figures_set(struct figures *figures, const char *name, double value)
{
    if (figures->count == FIGURES_MAX || strlen(name) >= sizeof figures->item[0].name)
        return;
    strcpy(figures->item[figures->count].name, name);
    figures->item[figures->count++].value = value;
}

#endif
