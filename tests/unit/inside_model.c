/* inside_model.c — a thread of a heap without moving, the library it goes in and out of, and the signal that stops it ([fixed.stop]), walked.
 *
 * Three machines. The thread works in its program, goes into the library and comes out, two levels deep, for ever. The daemon asks for a stop,
 * waits until the thread has stopped, collects, and lets it go, a few times. One signal is sent for each stop, and comes at any moment
 * after that, between any two steps of the thread; the handler is steps of the thread too. All of it is one thread and what interrupts it, so no
 * store buffers; the two words that the daemon looks at, state and stop, are exchanged (safepoint_model.c has their order).
 * The walk asserts
 *   - while the daemon collects, the thread takes no step in its program or the library, and has reported its roots since it was there last;
 *   - the handler does not stop a thread that is in the library;
 *   - from every state in which the daemon waits, it can still come to collect without a further signal, and without the thread's going into the
 *     library again: it may compute for ever.
 * Then each rule is broken in turn, and the walk must notice. */
#include <stdlib.h>
#include <string.h>

#include "tests/lib/check.h"

enum flaw {
    NO_FLAW,
    STOPS_INSIDE,                           /* the handler does not look where it is */
    NOT_NOTED,                              /* inside it does nothing */
    LOOKS_BEFORE,                           /* on the way out `noted` is read before `inside` is 0 */
    NEVER_LOOKS,                            /* on the way out nobody looks whether it was noted */
    LOOKS_AT_EACH_LEVEL,                    /* and stops at the inner one */
    CLEARS_LATE,                            /* `noted` becomes 0 after the stop, so one that came meanwhile is lost */
    LOOKS_ONCE,                             /* not for what was noted while it stopped on the way out */
    NO_REPORT,                              /* parks without its roots */
    NO_SECOND_LOOK,                         /* goes on from the park without looking whether another stop is asked for */
    FLAWS
};

/* Where the thread is. PARK steps belong to whoever called them, the handler or the way out. */
enum at { PROGRAM, IN, WORK, DEEPER, WORK_DEEPER, UP, UP_LOOK, OUT, DOWN, OUT_LOOK, THREAD_STEPS };
enum park { NOT, NOTE_OFF, LOOK, REPORT, PARKED_NOW, WAIT, LEAVE, AGAIN, DONE };
enum who { RUNNING, PARKED };

struct state {
    uint8_t at, handler, park;              /* handler: 1 = the signal is being handled */
    uint8_t inside, noted, seen, reported;  /* seen: what the way out read early */
    uint8_t state, stop, signals;           /* shared; signals on their way */
    uint8_t collecting, stops;              /* the daemon's */
};

#define STOPS 3u

/* ---- Steps; false: not possible now ---- */

static void park_begin(struct state *s, enum flaw flaw)
{
    s->inside++;
    s->park = flaw == CLEARS_LATE ? LOOK : NOTE_OFF;
}

static void park_end(struct state *s, enum flaw flaw)
{
    if (flaw == CLEARS_LATE)
        s->noted = 0;
    s->inside--;
    s->park = NOT;
    if (s->handler)
        s->handler = 0;
    else
        s->at = s->at == UP_LOOK ? OUT : flaw == LOOKS_ONCE ? PROGRAM : OUT_LOOK;
}

static bool park_step(struct state *s, enum flaw flaw)
{
    switch ((enum park)s->park) {
    case NOTE_OFF:   s->noted = 0; s->park = LOOK; return true;
    case LOOK:       s->park = s->state == RUNNING && s->stop ? REPORT : DONE; return true;
    case REPORT:     s->reported = flaw != NO_REPORT; s->park = PARKED_NOW; return true;
    case PARKED_NOW: s->state = PARKED; s->park = WAIT; return true;
    case WAIT:       if (s->stop) return false; s->park = LEAVE; return true;
    case LEAVE:      s->state = RUNNING; s->park = flaw == NO_SECOND_LOOK ? DONE : AGAIN; return true;
    case AGAIN:      s->park = s->stop ? PARKED_NOW : DONE; return true;
    case DONE:       park_end(s, flaw); return true;
    default:         return false;
    }
}

static bool thread_step(struct state *s, enum flaw flaw)
{
    if (s->park != NOT)
        return park_step(s, flaw);
    switch ((enum at)s->at) {
    case PROGRAM:     s->reported = 0; s->at = IN; return true;
    case IN:          s->inside++; s->at = WORK; return true;
    case WORK:        s->at = DEEPER; return true;
    case DEEPER:      s->inside++; s->at = WORK_DEEPER; return true;
    case WORK_DEEPER: s->at = UP; return true;
    case UP:          s->inside--; s->at = UP_LOOK; return true;
    case UP_LOOK:
        if (flaw == LOOKS_AT_EACH_LEVEL && s->noted)
            park_begin(s, flaw);
        else
            s->at = OUT;
        return true;
    case OUT:
        s->seen = s->noted;
        s->at = DOWN;
        return true;
    case DOWN:
        s->inside--;
        s->at = OUT_LOOK;
        return true;
    default:
        if (flaw != NEVER_LOOKS && (flaw == LOOKS_BEFORE ? s->seen : s->noted))
            park_begin(s, flaw);
        else
            s->at = PROGRAM;
        return true;
    }
}

static bool signal_step(struct state *s, enum flaw flaw)
{
    if (!s->signals || s->handler)          /* blocked while it is handled */
        return false;
    s->signals--;
    if (s->inside && flaw != STOPS_INSIDE) {
        s->noted |= flaw != NOT_NOTED;
        return true;
    }
    if (s->park != NOT)
        return true;                        /* STOPS_INSIDE: while it stops anyway */
    s->handler = 1;
    park_begin(s, flaw);
    return true;
}

static bool daemon_step(struct state *s)
{
    if (s->collecting) {
        s->collecting = 0;
        s->stop = 0;
        return true;
    }
    if (!s->stop) {
        if (s->stops == STOPS)
            return false;
        s->stops++;
        s->stop = 1;
        s->signals += s->state == RUNNING && s->signals < 2;
        return true;
    }
    if (s->state == RUNNING)
        return false;
    s->collecting = 1;
    return true;
}

/* ---- The walk ---- */

#define MOST 200000u
struct walk { struct state *state; uint32_t (*next)[3]; uint32_t count; const char *wrong; enum flaw flaw; };

static uint32_t state_add(struct walk *w, const struct state *s)
{
    for (uint32_t i = 0; i < w->count; i++)
        if (memcmp(&w->state[i], s, sizeof *s) == 0)
            return i;
    assert_true(w->count < MOST);
    w->state[w->count] = *s;
    return w->count++;
}

static void judge(struct walk *w, const struct state *before, const struct state *s)
{
    bool stopped_in_library = s->state == PARKED && s->at >= WORK && s->at <= DOWN;
    if (s->collecting && !s->reported)
        w->wrong = "it collects without roots";
    if (stopped_in_library)
        w->wrong = "it is stopped in the library";
    if (before->collecting && s->collecting && (before->at != s->at || before->inside != s->inside))
        w->wrong = "the thread works while the daemon collects";
}

/* From each state in which the daemon waits, can it come to collect? Signals that are on their way come; nobody has to go into the library. */
static void liveness(struct walk *w)
{
    bool *good = calloc(w->count, sizeof *good), more = true;
    assert_non_null(good);
    for (uint32_t i = 0; i < w->count; i++)
        good[i] = w->state[i].collecting || !w->state[i].stop;
    while (more) {
        more = false;
        for (uint32_t i = 0; i < w->count; i++)
            for (unsigned k = 0; !good[i] && k < 3; k++)
                if (w->next[i][k] != UINT32_MAX && !(k == 0 && w->state[i].at == PROGRAM && w->state[i].park == NOT) && good[w->next[i][k]])
                    good[i] = more = true;
    }
    for (uint32_t i = 0; i < w->count; i++)
        if (!good[i])
            w->wrong = "the daemon waits for ever";
    free(good);
}

static const char *walk(enum flaw flaw, uint32_t *ret_states)
{
    struct walk w = { .flaw = flaw, .state = calloc(MOST, sizeof *w.state), .next = calloc(MOST, sizeof *w.next) };
    struct state first = { .at = PROGRAM };
    assert_true(w.state && w.next);
    state_add(&w, &first);
    for (uint32_t i = 0; i < w.count && !w.wrong; i++)
        for (unsigned k = 0; k < 3; k++) {
            struct state s = w.state[i];
            bool moved = k == 0 ? thread_step(&s, flaw) : k == 1 ? signal_step(&s, flaw) : daemon_step(&s);
            w.next[i][k] = UINT32_MAX;
            if (!moved)
                continue;
            judge(&w, &w.state[i], &s);
            w.next[i][k] = state_add(&w, &s);
        }
    if (!w.wrong)
        liveness(&w);
    *ret_states = w.count;
    free(w.state);
    free(w.next);
    return w.wrong;
}

static void the_moves_are_right(void **state)
{
    uint32_t states;
    const char *wrong = walk(NO_FLAW, &states);
    if (wrong)
        fail_msg("%s", wrong);
    print_message("%u states\n", states);
}

static void each_flaw_is_noticed(void **state)
{
    uint32_t states;
    for (unsigned flaw = NO_FLAW + 1; flaw < FLAWS; flaw++)
        if (!walk((enum flaw)flaw, &states))
            fail_msg("flaw %u is not noticed", flaw);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(the_moves_are_right), test_case(each_flaw_is_noticed) };
    return test_run(cases);
}
