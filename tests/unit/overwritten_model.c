/* overwritten_model.c — the log of overwritten references while a heap is marked ([protocols.overwritten], DESIGN D10 and R5), walked
 * (tests/lib/model.h).
 *
 * Three machines: two threads that load and store two references of old objects, and the daemon. Each thread has one local reference, a
 * root that the daemon reads in pauses. The daemon begins marking in a pause (the snapshot), then reads the two references one
 * by one, drains logs, and ends marking in another pause. A pause can begin only between two stores, with the store buffers empty
 * (safepoint_model.c), so it is one step here; before it the daemon stops the threads, which it can want at any time. How a
 * thread that waits for room sleeps and is woken is as in ring_model.c; here it goes on when there is room.
 * A thread may wait for room in two ways, and both are walked:
 *   - RUNNING: there is no pause meanwhile, and the daemon drains logs also while it waits for threads to stop;
 *   - NATIVE: pauses come and go meanwhile. The overwritten reference is read again afterwards, and what is about to be stored
 *     must be in a root, as it moves like everything else.
 * The walk asserts, as marking ends: each object that was reachable when it began is marked, and each that is reachable now; and
 * always, that what is logged or stored is an object that is there.
 *
 * Then each rule is broken in turn. These make no difference (each was tried), and so are not in the list:
 *   - under x86-TSO, a release or acquire less on head and tail, and ending marking while threads run: stores arrive in order, so
 *     who sees a reference overwritten sees the entry. The compiler and other machines need the orders and the pause, and so
 *     do objects that move or are freed;
 *   - the log entry behind the store, if there is no pause in between; RUNNING, reading again after the wait;
 *   - looking at `marking` once more after the wait: an entry in vain is drained by the next pause before anything moves;
 *   - two threads that log the same object for the same reference.
 */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

/* ---- What is broken ---- */

enum flaw {
    NO_FLAW,
    /* the client */
    LOGS_AFTER_STORING,                     /* with a wait for room in between */
    READS_AFTER_STORING,                    /* logs the new reference */
    NO_READING_AGAIN,                       /* after a wait in NATIVE */
    NOT_IN_A_ROOT,                          /* what it is about to store, during a wait in NATIVE */
    HEAD_BEFORE_ENTRY,
    IGNORES_FULL,                           /* writes over what is not drained */
    DROPS_WHEN_FULL,
    ATTACH_RESETS,                          /* who attaches to a slot begins an empty log */
    /* the daemon */
    TAIL_BEFORE_READING,                    /* entry given back before it was read */
    ENDS_UNDRAINED,                         /* the last pause drains no log */
    ENDS_WITH_ONE_DRAINED,
    STOPS_UNDRAINED,                        /* no draining while it waits for threads to stop */
    MARKING_ON_WHILE_RUNNING,
    SNAPSHOT_WITHOUT_ROOTS,                 /* marking begins, and the roots are not marked */
    NEW_NOT_LIVE,                           /* objects born meanwhile are not taken as marked */
};

struct plan {
    bool    native;                         /* who waits for room is NATIVE */
    uint8_t log;                            /* entries in a log */
    uint8_t actions[2];                     /* loads and stores that each thread makes */
    uint8_t can[2];                         /* which: bit set of choices, see below */
    uint8_t cycles;                         /* markings */
};

/* ---- State ---- */

#define THREADS 2u
#define REFS    2u
#define ENTRIES 2u                          /* entries at most */
#define OBJECTS 3u                          /* at a time; numbered from 1 */

enum word { MARKING, REF, HEAD = REF + REFS, TAIL = HEAD + THREADS, ENTRY = TAIL + THREADS };
enum side { DAEMON = THREADS };

#define THREAD_STEPS(X)                                                                             \
    X(SAFE, "at a safepoint")                                                                       \
    X(LOAD_MARKING, "store: load marking")      X(LOAD_OLD, "store: load overwritten reference")    \
    X(LOAD_TAIL, "store: load tail")            X(WAIT, "store: wait for room")                     \
    X(LOG, "store: store entry and head")       X(STORE, "store: store reference")
enum thread_step {
#define X(name, text) name,
    THREAD_STEPS(X)
#undef X
};
static const char *const thread_step_name[] = {
#define X(name, text) text,
    THREAD_STEPS(X)
#undef X
};

#define DAEMON_STEPS(X)                                                                             \
    X(IDLE, "chooses")                          X(READ_ENTRY, "drain: load entry")                  \
    X(STORE_TAIL, "drain: store tail")
enum daemon_step {
#define X(name, text) name,
    DAEMON_STEPS(X)
#undef X
};
static const char *const daemon_step_name[] = {
#define X(name, text) text,
    DAEMON_STEPS(X)
#undef X
};

struct thread {
    uint8_t step, actions;                  /* actions: left */
    uint8_t local;                          /* the object that its root refers to; 0: none */
    uint8_t ref, value, old;                /* of the store that it is in; value: what it stores */
    uint8_t stored;                         /* the reference is stored already */
    uint8_t stale;                          /* a pause has moved `value`, which was in no root */
    uint8_t head;
};

struct state {
    struct model_memory memory;
    struct thread thread[THREADS];
    uint8_t daemon, drained;                /* its step; the thread whose log it drains */
    uint8_t tail[THREADS];
    uint8_t alive, marked, missing;         /* bit sets of objects; missing: of the snapshot, and not marked yet */
    uint8_t marking, stopping, unread;      /* unread: bit set of references that it has to read yet */
    uint8_t cycles;
};

static uint8_t bit(uint8_t object) { return object ? (uint8_t)(1u << object) : 0; }
static unsigned entry(unsigned thread, uint8_t at, const struct plan *plan) { return ENTRY + thread * ENTRIES + at % plan->log; }

/* ---- The client ---- */

static bool object_new(struct state *s, enum flaw flaw, uint8_t *ret_object)
{
    for (uint8_t object = 1; object <= OBJECTS; object++)
        if (!(s->alive & bit(object))) {
            s->alive |= bit(object);
            if (s->marking && flaw != NEW_NOT_LIVE)
                s->marked |= bit(object);
            *ret_object = object;
            return true;
        }
    return false;
}

/* For each reference: load it; store nothing, the local, a new object into it. One more: another thread takes the slot. */
enum { LOAD, CLEAR, COPY, NEW, ACTIONS, CHOICES = ACTIONS * REFS + 1 };
#define CAN(action, ref) (1u << ((ref) * ACTIONS + (action)))

static bool action_begin(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, unsigned choice)
{
    struct thread *thread = &s->thread[side];
    if (s->stopping)
        return false;
    if (choice == ACTIONS * REFS) {
        if (flaw != ATTACH_RESETS || thread->head == s->tail[side] || !model_store_weak(&s->memory, side, HEAD + side, s->tail[side]))
            return false;
        thread->head = s->tail[side];
        return true;
    }
    if (thread->actions == 0 || !(plan->can[side] & 1u << choice))
        return false;
    thread->actions--;
    thread->ref = (uint8_t)(choice / ACTIONS);
    switch (choice % ACTIONS) {
    case LOAD:
        thread->local = model_load(&s->memory, side, REF + thread->ref);
        thread->ref = 0;
        return true;
    case CLEAR:
        break;
    case COPY:
        thread->value = thread->local;
        if (thread->local == 0)
            return false;
        break;
    default:
        if (!object_new(s, flaw, &thread->value))
            return false;
    }
    thread->step = LOAD_MARKING;
    return true;
}

static void action_end(struct thread *thread)
{
    thread->step = SAFE;
    thread->ref = thread->value = thread->old = thread->stored = thread->stale = 0;
}

/* Room has been found, or not: what comes next. */
static bool room_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw)
{
    struct thread *thread = &s->thread[side];
    bool full = (uint8_t)(thread->head - model_load(&s->memory, side, TAIL + side)) >= plan->log;
    if (thread->step == WAIT) {
        if (full)
            return false;
        thread->step = thread->stored || !plan->native || flaw == NO_READING_AGAIN ? LOG : LOAD_OLD;
    } else if (full && flaw != IGNORES_FULL) {
        thread->step = flaw == DROPS_WHEN_FULL ? STORE : WAIT;
    } else {
        thread->step = LOG;
    }
    return true;
}

static bool reference_store(struct state *s, unsigned side, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    if (thread->stale)
        *ret_complaint = "an object is stored that has moved";
    else if (thread->value && !(s->alive & bit(thread->value)))
        *ret_complaint = "an object is stored that is not there";
    return model_store_weak(&s->memory, side, REF + thread->ref, thread->value);
}

static bool store_step(struct state *s, unsigned side, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    if (!reference_store(s, side, ret_complaint))
        return false;
    thread->stored = 1;
    if (flaw == LOGS_AFTER_STORING && thread->old)
        thread->step = LOAD_TAIL;
    else if (flaw == READS_AFTER_STORING && s->marking)
        thread->step = LOAD_OLD;
    else
        action_end(thread);
    return true;
}

/* Entry, head and reference are stores into the own buffer one after the other, with no load in between: one step. */
static bool log_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    struct model_memory *memory = &s->memory;
    unsigned at = entry(side, thread->head, plan);
    if (memory->buffered[side] + 3u > MODEL_BUFFER)
        return false;
    if (!(s->alive & bit(thread->old)))
        *ret_complaint = "an object is logged that is not there";
    thread->head++;
    if (flaw == HEAD_BEFORE_ENTRY)
        model_store_weak(memory, side, HEAD + side, thread->head);
    model_store_weak(memory, side, at, thread->old);
    if (flaw != HEAD_BEFORE_ENTRY)
        model_store_weak(memory, side, HEAD + side, thread->head);
    if (!thread->stored)
        reference_store(s, side, ret_complaint);
    action_end(thread);
    return true;
}

static bool thread_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    if (thread->step == SAFE)
        return action_begin(s, side, plan, flaw, choice);
    if (choice > 0)
        return false;
    switch ((enum thread_step)thread->step) {
    case LOAD_MARKING:
        thread->step = model_load(&s->memory, side, MARKING) && flaw != READS_AFTER_STORING ? LOAD_OLD : STORE;
        return true;
    case LOAD_OLD:
        thread->old = model_load(&s->memory, side, REF + thread->ref);
        if (thread->old && flaw != LOGS_AFTER_STORING)
            thread->step = LOAD_TAIL;
        else if (!thread->stored)
            thread->step = STORE;
        else
            action_end(thread);
        return true;
    case LOAD_TAIL:
    case WAIT:
        return room_step(s, side, plan, flaw);
    case LOG:
        return log_step(s, side, plan, flaw, ret_complaint);
    default:
        return store_step(s, side, flaw, ret_complaint);
    }
}

/* ---- The daemon: pauses ---- */

static bool stopped(const struct state *s, const struct plan *plan)
{
    for (unsigned i = 0; i < THREADS; i++) {
        uint8_t step = s->thread[i].step;
        if ((step != SAFE && !(step == WAIT && plan->native)) || !model_drained(&s->memory, i))
            return false;
    }
    return true;
}

static uint8_t in_roots(const struct state *s, enum flaw flaw)
{
    uint8_t set = 0;
    for (unsigned i = 0; i < THREADS; i++)
        set |= bit(s->thread[i].local) | (flaw == NOT_IN_A_ROOT ? 0 : bit(s->thread[i].value));
    return set;
}

static uint8_t in_references(const struct state *s)
{
    uint8_t set = 0;
    for (unsigned i = 0; i < REFS; i++)
        set |= bit(s->memory.word[REF + i]);
    return set;
}

static void mark(struct state *s, uint8_t objects)
{
    s->marked |= objects;
    s->missing &= (uint8_t)~objects;
}

static const char *entry_mark(struct state *s, uint8_t object)
{
    mark(s, bit(object));
    return object && !(s->alive & bit(object)) ? "an object is drained that is not there" : NULL;
}

/* What every pause begins with. */
static void drain_all(struct state *s, const struct plan *plan, unsigned threads, const char **ret_complaint)
{
    uint8_t *word = s->memory.word;
    for (unsigned i = 0; i < threads; i++) {
        for (; s->tail[i] != word[HEAD + i]; s->tail[i]++) {
            const char *complaint = entry_mark(s, word[entry(i, s->tail[i], plan)]);
            if (complaint)
                *ret_complaint = complaint;
        }
        word[TAIL + i] = s->tail[i];
    }
    if (!stopped(s, plan))
        return;
    for (unsigned i = 0; i < threads; i++) {                                /* empty logs begin anew: equal states look equal */
        s->tail[i] = s->thread[i].head = word[HEAD + i] = word[TAIL + i] = 0;
        for (unsigned k = 0; k < ENTRIES; k++)
            word[ENTRY + i * ENTRIES + k] = 0;
    }
}

static void marking_begin(struct state *s, enum flaw flaw)
{
    s->missing = in_references(s) | in_roots(s, flaw);
    s->marked = 0;
    mark(s, flaw == SNAPSHOT_WITHOUT_ROOTS ? 0 : in_roots(s, flaw));
    s->unread = (1u << REFS) - 1;
    s->marking = s->memory.word[MARKING] = 1;
}

static void marking_end(struct state *s, enum flaw flaw, const char **ret_complaint)
{
    if (s->missing)
        *ret_complaint = "an object that was reachable when marking began is not marked";
    else if ((in_references(s) | in_roots(s, flaw)) & ~s->marked)
        *ret_complaint = "an object that is reachable is not marked";
    s->alive &= s->marked;
    s->marked = s->missing = s->marking = s->memory.word[MARKING] = 0;
    s->cycles--;
}

static bool pause_step(struct state *s, const struct plan *plan, enum flaw flaw, const char **ret_complaint)
{
    bool off = s->marking;
    if (!stopped(s, plan) && (off || flaw != MARKING_ON_WHILE_RUNNING))
        return false;
    if (!model_drained(&s->memory, DAEMON))
        return false;
    drain_all(s, plan, off && flaw == ENDS_UNDRAINED ? 0 : off && flaw == ENDS_WITH_ONE_DRAINED ? 1 : THREADS, ret_complaint);
    if (off)
        marking_end(s, flaw, ret_complaint);
    else
        marking_begin(s, flaw);
    for (unsigned i = 0; i < THREADS; i++)
        s->thread[i].stale |= s->thread[i].step == WAIT && s->thread[i].value && flaw == NOT_IN_A_ROOT;
    s->stopping = 0;
    return true;
}

/* ---- The daemon: between pauses ---- */

/* choice: drain a log; read the next reference; want a pause, or make it. */
enum { DRAIN, READ_REFERENCE = DRAIN + THREADS, PAUSE, DAEMON_CHOICES };

static bool daemon_choose(struct state *s, const struct plan *plan, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    uint8_t i;
    switch (choice) {
    default:
        if (s->tail[choice] == model_load(&s->memory, DAEMON, HEAD + choice) || (s->stopping && flaw == STOPS_UNDRAINED))
            return false;
        s->drained = (uint8_t)choice;
        s->daemon = flaw == TAIL_BEFORE_READING ? STORE_TAIL : READ_ENTRY;
        return true;
    case READ_REFERENCE:
        if (!s->unread)
            return false;
        i = s->unread & 1 ? 0 : 1;
        mark(s, bit(model_load(&s->memory, DAEMON, REF + i)));
        s->unread &= (uint8_t)~(1u << i);
        return true;
    case PAUSE:
        if (s->stopping)
            return pause_step(s, plan, flaw, ret_complaint);
        if (s->unread || s->cycles == 0)
            return false;
        s->stopping = 1;
        return true;
    }
}

static bool daemon_step(struct state *s, const struct plan *plan, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    unsigned i = s->drained;
    bool early = flaw == TAIL_BEFORE_READING;
    if (s->daemon == IDLE)
        return daemon_choose(s, plan, flaw, choice, ret_complaint);
    if (choice > 0)
        return false;
    if (s->daemon == READ_ENTRY) {
        *ret_complaint = entry_mark(s, model_load(&s->memory, DAEMON, entry(i, (uint8_t)(s->tail[i] - early), plan)));
        s->daemon = early ? IDLE : STORE_TAIL;
    } else {
        if (!model_store_weak(&s->memory, DAEMON, TAIL + i, s->tail[i] + 1))
            return false;
        s->tail[i]++;
        s->daemon = early ? READ_ENTRY : IDLE;
    }
    if (s->daemon == IDLE)
        s->drained = 0;
    return true;
}

/* ---- The model ---- */

enum { WAY_DAEMON = THREADS * CHOICES, WAY_FLUSH = WAY_DAEMON + DAEMON_CHOICES, WAYS = WAY_FLUSH + THREADS + 1 };

static void start(void *state, const void *plan_)
{
    struct state *s = state;
    const struct plan *plan = plan_;
    for (unsigned i = 0; i < THREADS; i++)
        s->thread[i].actions = plan->actions[i];
    for (uint8_t i = 0; i < REFS; i++) {
        s->memory.word[REF + i] = i + 1;
        s->alive |= bit(i + 1);
    }
    s->cycles = plan->cycles;
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    if (way < WAY_DAEMON)
        return thread_step(s, way / CHOICES, plan, (enum flaw)flaw, way % CHOICES, ret_complaint);
    if (way < WAY_FLUSH)
        return daemon_step(s, plan, (enum flaw)flaw, way - WAY_DAEMON, ret_complaint);
    return model_flush(&s->memory, way - WAY_FLUSH);
}

static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    for (unsigned i = 0; i < THREADS; i++)
        if (s->thread[i].step != SAFE)
            return "a thread waits for room, and the daemon for the thread";
    return s->cycles ? "the daemon cannot end its marking" : NULL;
}

static void print(const void *state)
{
    const struct state *s = state;
    const uint8_t *word = s->memory.word;
    print_error("  references %u %u marking %u%s alive %02x marked %02x | daemon at '%s' (%u stores under way)", word[REF], word[REF + 1],
                word[MARKING], s->stopping ? " stopping" : "", s->alive, s->marked, daemon_step_name[s->daemon], s->memory.buffered[DAEMON]);
    for (unsigned i = 0; i < THREADS; i++)
        print_error(" | thread %u: local %u log %u to %u, stores %u into %u, at '%s' (%u)", i, s->thread[i].local, word[TAIL + i], word[HEAD + i],
                    s->thread[i].value, s->thread[i].ref, thread_step_name[s->thread[i].step], s->memory.buffered[i]);
    print_error("\n");
}

#define ALL 0xff
#define OVERWRITE (CAN(CLEAR, 0) | CAN(NEW, 0))
static const struct model_setup setups[] = {
    { "one thread, RUNNING", &(struct plan){ .log = 1, .actions = { 0, 3 }, .can = { 0, ALL }, .cycles = 1 } },
    { "one thread, NATIVE", &(struct plan){ .native = true, .log = 1, .actions = { 0, 3 }, .can = { 0, ALL }, .cycles = 1 } },
    { "two at one reference, RUNNING", &(struct plan){ .log = 1, .actions = { 2, 2 }, .can = { OVERWRITE, OVERWRITE }, .cycles = 1 } },
    { "two at one reference, log of two", &(struct plan){ .log = 2, .actions = { 3, 1 }, .can = { OVERWRITE, OVERWRITE }, .cycles = 1 } },
    { "two at one reference, NATIVE", &(struct plan){ .native = true, .log = 1, .actions = { 2, 1 }, .can = { OVERWRITE, OVERWRITE }, .cycles = 2 } },
    { "one moves what the other overwrites", &(struct plan){ .log = 1, .actions = { 3, 1 },
        .can = { CAN(LOAD, 0) | CAN(COPY, 1) | CAN(CLEAR, 0), OVERWRITE }, .cycles = 1 } },
    { "all of it, RUNNING", &(struct plan){ .log = 1, .actions = { 2, 1 }, .can = { ALL, ALL }, .cycles = 1 } },
    { "all of it, NATIVE", &(struct plan){ .native = true, .log = 1, .actions = { 2, 1 }, .can = { ALL, ALL }, .cycles = 1 } },
};
static const struct model model = {
    .state_bytes = sizeof(struct state), .ways = WAYS, .setup = setups, .setups = sizeof setups / sizeof setups[0],
    .start = start, .step = step, .end = end, .print = print,
};

/* ---- Cases ---- */

static void the_protocol_holds(void **state) { model_holds(&model); }

#define FLAW(name, flaw) static void name(void **state) { model_finds(&model, flaw); }
FLAW(finds_log_after_store, LOGS_AFTER_STORING)
FLAW(finds_reading_after_store, READS_AFTER_STORING)
FLAW(finds_no_reading_again, NO_READING_AGAIN)
FLAW(finds_value_in_no_root, NOT_IN_A_ROOT)
FLAW(finds_head_before_entry, HEAD_BEFORE_ENTRY)
FLAW(finds_full_log_written_over, IGNORES_FULL)
FLAW(finds_entry_dropped, DROPS_WHEN_FULL)
FLAW(finds_log_reset_by_attach, ATTACH_RESETS)
FLAW(finds_tail_before_reading, TAIL_BEFORE_READING)
FLAW(finds_end_undrained, ENDS_UNDRAINED)
FLAW(finds_end_with_one_drained, ENDS_WITH_ONE_DRAINED)
FLAW(finds_stop_undrained, STOPS_UNDRAINED)
FLAW(finds_marking_on_while_running, MARKING_ON_WHILE_RUNNING)
FLAW(finds_snapshot_without_roots, SNAPSHOT_WITHOUT_ROOTS)
FLAW(finds_new_objects_not_live, NEW_NOT_LIVE)

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(the_protocol_holds),
        test_case(finds_log_after_store),
        test_case(finds_reading_after_store),
        test_case(finds_no_reading_again),
        test_case(finds_value_in_no_root),
        test_case(finds_head_before_entry),
        test_case(finds_full_log_written_over),
        test_case(finds_entry_dropped),
        test_case(finds_log_reset_by_attach),
        test_case(finds_tail_before_reading),
        test_case(finds_end_undrained),
        test_case(finds_end_with_one_drained),
        test_case(finds_stop_undrained),
        test_case(finds_marking_on_while_running),
        test_case(finds_snapshot_without_roots),
        test_case(finds_new_objects_not_live),
    };
    return test_run(cases);
}
