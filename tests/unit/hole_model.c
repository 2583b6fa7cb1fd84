/* hole_model.c — a thread that fills the holes of a block, and the daemon that looks which of its objects are there already ([fixed.walk]), walked.
 *
 * The thread puts objects into a hole one behind the other, may leave it at any time for the next one, and comes back to none. Its headers reach
 * memory in any order, but none from behind a fence before all from in front of it: weaker than x86-TSO, since on that the fence is nothing.
 * While the thread runs the daemon looks which is the furthest hole that is begun; those in front of it have been left, so it walks up to that one, header by
 * header, and what it calls walked moves behind the last object that it found; and this as often as it likes. In the pause, when all stores have
 * arrived, it walks the rest.
 * The walk asserts that it then knows of every object. Each rule is broken in turn, and that must be noticed. */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

#define HOLES  3u
#define SPOTS  2u                           /* objects that fit a hole */
#define PLACES (HOLES * SPOTS)
#define WALKS  2u                           /* while the thread runs */

enum flaw {
    NO_FLAW,
    NO_FENCE,                               /* the thread leaves a hole without one */
    ONE_PASS,                               /* the daemon believes that a hole is empty which it looked at before it knew that a later one is begun */
    BEYOND,                                 /* it goes on behind the furthest hole that is begun, and takes those for passed over */
    PASSES_REST,                            /* and the rest of the furthest one for passed over */
    FLAWS
};

struct state {
    uint8_t hole, spot, stopped;            /* the thread's */
    uint8_t put, arrived;                   /* places with a header: stored, in memory */
    uint8_t fences, before[PLACES];         /* fences made; of each store: those before it */
    uint8_t known, walked, walks;           /* the daemon's: places with a start bit; how far it has walked */
    uint8_t seeks, at, behind;              /* 1: it looks for the furthest hole; where it looks now, PLACES: nowhere; the end of the furthest hole that is begun */
};

static bool put(struct state *s)
{
    if (s->stopped || s->hole == HOLES || s->spot == SPOTS)
        return false;
    unsigned place = s->hole * SPOTS + s->spot++;
    s->put |= (uint8_t)(1u << place);
    s->before[place] = s->fences;
    return true;
}

static bool leave(struct state *s, enum flaw flaw)
{
    if (s->stopped || s->hole == HOLES)
        return false;
    s->hole++;
    s->spot = 0;
    s->fences += flaw != NO_FENCE;
    return true;
}

static bool arrive(struct state *s, unsigned place)
{
    if (!((s->put & ~s->arrived) >> place & 1))
        return false;
    for (unsigned other = 0; other < PLACES; other++)
        if ((s->put & ~s->arrived) >> other & 1 && s->before[other] < s->before[place])
            return false;
    s->arrived |= (uint8_t)(1u << place);
    return true;
}

static bool look_begin(struct state *s, enum flaw flaw)
{
    if (s->stopped || s->walks == WALKS)
        return false;
    s->walks++;
    s->at = s->walked;
    s->seeks = flaw != ONE_PASS;
    s->behind = flaw == ONE_PASS || flaw == BEYOND ? PLACES : 0;
    return true;
}

static uint8_t hole_end(uint8_t place) { return (uint8_t)((place / SPOTS + 1) * SPOTS); }

static void seek(struct state *s)
{
    if (s->arrived >> s->at & 1 && s->behind < hole_end(s->at))
        s->behind = hole_end(s->at);
    s->at = hole_end(s->at);
    if (s->at == PLACES) {
        s->seeks = 0;
        s->at = s->walked < s->behind ? s->walked : PLACES;
    }
}

static void walk(struct state *s, enum flaw flaw)
{
    if (s->arrived >> s->at & 1) {
        s->known |= (uint8_t)(1u << s->at);
        s->walked = ++s->at;
    } else {
        s->at = hole_end(s->at);
        if (flaw == BEYOND || (flaw == PASSES_REST && s->at == s->behind))
            s->walked = s->at;
    }
    if (s->at >= s->behind)
        s->at = PLACES;
}

/* One look at one place. */
static bool look(struct state *s, enum flaw flaw)
{
    if (s->at == PLACES)
        return look_begin(s, flaw);
    if (s->seeks)
        seek(s);
    else
        walk(s, flaw);
    return true;
}

/* The pause: the thread has stopped, and what it stored has arrived. */
static bool pause_walk(struct state *s, const char **ret_complaint)
{
    if (s->stopped != 1 || s->arrived != s->put || s->at != PLACES)
        return false;
    s->stopped = 2;
    for (unsigned place = s->walked; place < PLACES; place++)
        if (s->arrived >> place & 1)
            s->known |= (uint8_t)(1u << place);
    if (s->known != s->put)
        *ret_complaint = "an object has no start bit";
    return true;
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    (void)plan;
    switch (way) {
    case 0: return put(s);
    case 1: return leave(s, (enum flaw)flaw);
    case 2: return s->stopped ? false : (s->stopped = 1, true);
    case 3: return look(s, (enum flaw)flaw);
    case 4: return pause_walk(s, ret_complaint);
    default: return arrive(s, way - 5);
    }
}

static void start(void *state, const void *plan)
{
    (void)plan;
    ((struct state *)state)->at = PLACES;
}

static const char *end(const void *state, const void *plan)
{
    (void)plan;
    return ((const struct state *)state)->stopped == 2 ? NULL : "nobody can move before the pause";
}

static void print(const void *state)
{
    const struct state *s = state;
    print_error("thread in hole %u at %u%s, put %02x, arrived %02x; known %02x, walked %u, looks at %u\n", s->hole, s->spot, s->stopped ? " (stopped)" : "", s->put,
                s->arrived, s->known, s->walked, s->at);
}

static const struct model_setup setup[] = { { "one thread", NULL } };
static const struct model model = { .state_bytes = sizeof(struct state), .ways = 5 + PLACES, .setup = setup, .setups = 1, .start = start, .step = step, .end = end, .print = print };

static void every_object_is_found(void **state) { model_holds(&model); }

static void each_flaw_is_noticed(void **state)
{
    for (unsigned flaw = NO_FLAW + 1; flaw < FLAWS; flaw++)
        model_finds(&model, flaw);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(every_object_is_found), test_case(each_flaw_is_noticed) };
    return test_run(cases);
}
