/* hole_model.c — a thread that fills lent blocks, and the daemon that looks which of them it has left for good ([gc.left]), walked.
 *
 * The thread takes blocks in the order in which they were granted. It makes a fence, sets its limit to the block, makes another, and puts headers there; it may
 * pass a block by, since nothing that it wants fits, and leave one at any time. After the last one it makes a fence, and its limit is nowhere. It comes back to none.
 * Its stores reach memory in any order, but none from behind a fence before all from in front of it, and those of the limit in theirs: weaker than x86-TSO, on
 * which the fences are nothing. The daemon reads headers and the limit while the thread runs. It takes a block to be left if it has seen a header in a later one; or
 * if it has seen one there, and then the limit elsewhere.
 * The walk asserts that nothing is put into a block that was taken to be left, and that no header arrives there afterwards. Each rule is broken in turn, and
 * that must be noticed. */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

#define BLOCKS  3u
#define SPOTS   2u                          /* objects that fit a block */
#define LIMITS  (BLOCKS * SPOTS)            /* stores below: of headers; from here on: of the limit, to each block, and to nowhere */
#define STORES  (LIMITS + BLOCKS + 1u)
#define LOOKS   4u
#define NONE    0xff

enum flaw {
    NO_FLAW,
    NO_FENCE_BEFORE,                        /* the thread sets its limit to another block without one in front */
    NO_FENCE_NOWHERE,                       /* nor when there is no other block */
    NO_FENCE_BEHIND,                        /* and without one behind */
    LIMIT_ALONE,                            /* the daemon takes a block to be left whenever the limit is elsewhere */
    LIMIT_FIRST,                            /* it reads the limit before it looks for a header */
    EARLIER_ONE,                            /* it has seen a header in another block, whichever that is */
    FLAWS
};

struct state {
    uint8_t block, spot, entered;           /* the thread's: BLOCKS: there is no other */
    uint8_t fences, before[STORES];         /* fences made; of each store: those before it */
    uint16_t made, arrived;                 /* stores */
    uint8_t begun, left;                    /* the daemon's: blocks with a header that it has seen; blocks that it takes to be left */
    uint8_t looks, at, read;                /* looks to come; the block that it looks at, NONE: none; of that: what it has read */
    uint8_t limit;                          /* as it read it */
};

static void store(struct state *s, unsigned what)
{
    s->made |= (uint16_t)(1u << what);
    s->before[what] = s->fences;
}

/* The limit in memory: of a block, or BLOCKS: nowhere. */
static uint8_t limit(const struct state *s)
{
    uint8_t last = BLOCKS;
    for (unsigned block = 0; block <= BLOCKS; block++)
        if (s->arrived >> (LIMITS + block) & 1)
            last = (uint8_t)block;
    return last;
}

static bool enter(struct state *s, enum flaw flaw)
{
    if (s->block == BLOCKS || s->entered)
        return false;
    s->fences += flaw != NO_FENCE_BEFORE;
    store(s, LIMITS + s->block);
    s->fences += flaw != NO_FENCE_BEHIND;
    s->entered = 1;
    return true;
}

static bool put(struct state *s, const char **ret_complaint)
{
    if (!s->entered || s->spot == SPOTS)
        return false;
    if (s->left >> s->block & 1)
        *ret_complaint = "an object is put into a block that was taken to be left";
    store(s, s->block * SPOTS + s->spot++);
    return true;
}

static bool leave(struct state *s, enum flaw flaw)
{
    if (s->block == BLOCKS)
        return false;
    s->block++;
    s->spot = s->entered = 0;
    if (s->block == BLOCKS) {
        s->fences += flaw != NO_FENCE_NOWHERE;
        store(s, LIMITS + BLOCKS);
    }
    return true;
}

static bool arrive(struct state *s, unsigned what, const char **ret_complaint)
{
    uint16_t waiting = s->made & (uint16_t)~s->arrived;
    if (!(waiting >> what & 1))
        return false;
    for (unsigned other = 0; other < STORES; other++)
        if (waiting >> other & 1 && (s->before[other] < s->before[what] || (what > other && other >= LIMITS)))
            return false;
    s->arrived |= (uint16_t)(1u << what);
    if (what < LIMITS && s->left >> what / SPOTS & 1)
        *ret_complaint = "an object arrives in a block that was taken to be left";
    return true;
}

static bool look_begin(struct state *s, unsigned block)
{
    if (s->at != NONE || s->looks == 0 || s->left >> block & 1)
        return false;
    s->looks--;
    s->at = (uint8_t)block;
    s->read = 0;
    return true;
}

static void look_end(struct state *s, bool is_left)
{
    s->left |= (uint8_t)(is_left << s->at);
    s->at = NONE;
    s->limit = s->read = 0;
}

/* One load. */
static bool look(struct state *s, enum flaw flaw)
{
    if (s->at == NONE)
        return false;
    uint8_t others = flaw == EARLIER_ONE ? (uint8_t)~(1u << s->at) : (uint8_t)~((2u << s->at) - 1);
    if (s->begun & others) {
        look_end(s, true);
        return true;
    }
    bool wants_limit = flaw == LIMIT_ALONE || (flaw == LIMIT_FIRST ? s->read == 0 : s->read == 1);
    if (wants_limit) {
        s->limit = limit(s);
        s->read++;
        if (flaw != LIMIT_FIRST)
            look_end(s, s->limit != s->at);
        return true;
    }
    bool header = s->arrived >> s->at * SPOTS & ((1u << SPOTS) - 1);
    s->begun |= (uint8_t)(header << s->at);
    s->read++;
    if (!header)
        look_end(s, false);
    else if (flaw == LIMIT_FIRST)
        look_end(s, s->limit != s->at);
    return true;
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    (void)plan;
    switch (way) {
    case 0: return put(s, ret_complaint);
    case 1: return enter(s, (enum flaw)flaw);
    case 2: return leave(s, (enum flaw)flaw);
    case 3: return look(s, (enum flaw)flaw);
    default: break;
    }
    way -= 4;
    return way < BLOCKS ? look_begin(s, way) : arrive(s, way - BLOCKS, ret_complaint);
}

static void start(void *state, const void *plan)
{
    (void)plan;
    ((struct state *)state)->at = NONE;
    ((struct state *)state)->looks = LOOKS;
}

static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    (void)plan;
    return s->block == BLOCKS && s->made == s->arrived ? NULL : "the thread cannot go on";
}

static void print(const void *state)
{
    const struct state *s = state;
    print_error("thread in block %u%s at %u, stores %03x, arrived %03x; begun %x, left %x, looks at %u\n", s->block, s->entered ? "" : " (not entered)", s->spot,
                s->made, s->arrived, s->begun, s->left, s->at);
}

static const struct model_setup setup[] = { { "one thread", NULL } };
static const struct model model = { .state_bytes = sizeof(struct state), .ways = 4 + BLOCKS + STORES, .setup = setup, .setups = 1, .start = start, .step = step, .end = end,
                                    .print = print };

static void what_is_left_is_left(void **state) { model_holds(&model); }

static void each_flaw_is_noticed(void **state)
{
    for (unsigned flaw = NO_FLAW + 1; flaw < FLAWS; flaw++)
        model_finds(&model, flaw);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(what_is_left_is_left), test_case(each_flaw_is_noticed) };
    return test_run(cases);
}
