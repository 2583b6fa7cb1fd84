/* churn.c — w1: allocate 32 bytes, write them, look at the object of 1,024 allocations ago and let it go.
 *
 * A subject that drops whole places starts its place anew after every 2 MiB. The ring then still refers to objects from before
 * the reset: their memory is mapped, and it is read within 1,024 allocations, long before the place has filled again so far. */
#include "tests/bench/common/clock.h"
#include "tests/bench/subject/subject.h"
#include "tests/bench/workload/work.h"

#define RING        1024u
#define PLACE_BYTES (2u << 20)

#if defined(SUBJECT_ARENA)
enum { STEP_BYTES = sizeof(struct quad) + MORPH_HEADER_BYTES };
#elif defined(SUBJECT_BUMP)
enum { STEP_BYTES = sizeof(struct quad) + BUMP_GAP_BYTES };
#endif

static void *ring_memory[RING];

static inline uint64_t churn_range(struct place *place, void **ring, uint64_t from, uint64_t to)
{
    uint64_t sum = 0;
    for (uint64_t i = from; i < to; i++) {
        struct quad *quad = place_object(place, KIND_QUAD);
        *quad = (struct quad){ i, i + 1, i + 2, i + 3 };
        struct quad *old = ring[i % RING];
        if (old) {
            sum += old->a ^ old->d;
            if (SUBJECT_DROP == DROP_FREE)
                place_free(place, old);
        }
        ring[i % RING] = quad;
    }
    return sum;
}

void churn_run(uint64_t objects)
{
    struct place place;
    uint64_t sum = 0, batch = objects;
    subject_begin(ROLE_PROGRAM, (uint64_t)64 << 20);
    place_begin(&place, PLACE_BYTES);
    void **ring = subject_globals(ring_memory, RING);
#if defined(SUBJECT_ARENA) || defined(SUBJECT_BUMP)
    batch = PLACE_BYTES / STEP_BYTES;
#endif
    uint64_t start_ns = clock_ns();
    for (uint64_t from = 0, to; from < objects; from = to) {
        to = objects - from < batch ? objects : from + batch;
        sum += churn_range(&place, ring, from, to);
        if (SUBJECT_DROP == DROP_RESET)
            place_reset(&place);
    }
    figure_report("ns_per_op", (double)(clock_ns() - start_ns) / (double)objects);
    check_report(sum);
}
