/* safepoint_model.c — every interleaving of stop, park, resume, NATIVE, attach, detach and giving up ([protocols.safepoint],
 * [protocols.attach]), walked (tests/lib/model.h).
 *
 * Three machines: two threads of the client and the daemon's worker. A thread attaches to the first free slot, works, and between
 * two pieces of work polls, makes a blocking call (NATIVE) or detaches. A piece of work looks whether the thread's object is still
 * where the thread's variable says, and goes on to a new object. The daemon stops the threads, moves each object, writes the roots
 * and resumes; or it gives up after a vain look. The walk asserts
 *   - no thread touches the heap or its roots while the daemon is in a pause, nor does a store of it arrive then;
 *   - the daemon finds in each slot the root that was published last, and each thread works with what the daemon wrote;
 *   - where nobody can move any more, all stops are over and all threads have done their work; and that can be reached always.
 * A thread that dies is not in the model: the daemon takes its slot away.
 *
 * Then each rule is broken in turn. These make no difference (each was tried), and so are not in the list:
 *   - a second look at a slot's state right behind its hint: the look behind `armed` comes anyway;
 *   - slots_high read once for each stop instead of before each look: it is read behind the store of `stop`, so whoever attaches
 *     too late to be in it sees that store in Leave;
 *   - slots_high stored weakly: the unlock of the heap's lock and the exchange of Leave order it;
 *   - hints cleared behind the exchange of `stop`, or never: polls take the slow path in vain, nothing else;
 *   - what the compare-and-swap of bit 1 says, and waiting on e instead of e | 2: the kernel compares once more, and sends back;
 *   - the epoch, when a stop is given up; `armed` cleared late, or never: a copy, and a ring, in vain;
 *   - the look at `stop` of a slow poll, and of NATIVE: Park looks too, `armed` says enough. They save two exchanges and a ring.
 */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

#include "shm/slot.h"

/* ---- What is broken ---- */

enum flaw {
    NO_FLAW,
    /* the client */
    PARK_WEAK,                              /* release instead of an exchange */
    NATIVE_WEAK,
    LEAVE_WEAK,
    LEAVES_WITHOUT_LOOKING,                 /* at stop */
    COPIES_BACK_BEFORE_LOOKING,
    NEVER_COPIES_BACK,
    NOTES_EPOCH_LATE,                       /* behind the exchange to NATIVE, where a whole pause may lie before it */
    PUBLISHES_LATE,                         /* roots behind the exchange to PARKED */
    PUBLISHES_AGAIN,                        /* when it parks out of Leave: over what the daemon wrote */
    PARKS_AGAIN_RUNNING,                    /* waits in Leave without an exchange back to PARKED */
    PARKS_AGAIN_WITHOUT_RINGING,            /* though the daemon may have seen it RUNNING in between */
    PARKS_WITHOUT_RINGING,
    NATIVE_WITHOUT_RINGING,
    SLEEPS_WITHOUT_BIT,                     /* does not tell the daemon that it sleeps */
    BIT_BY_STORE,                           /* e | 2 stored, not swapped for e */
    SLEEPS_ON_WHATEVER,                     /* on what stop is now, not on what it has looked at */
    ATTACHES_RUNNING,                       /* does not go through Leave */
    ATTACHES_UNLOCKED,                      /* slots_high: load, compare and store of two threads mixed */
    ATTACH_TELLS_LATE,                      /* slots_high behind the Leave */
    ATTACH_WRITES_ROOTS,                    /* before the Leave, in a slot that the daemon may be reading */
    DETACH_WRITES_ROOTS_LATE,               /* no roots any more, but behind the exchange to NATIVE */
    /* the daemon */
    STOP_WEAK,
    ARMED_WEAK,
    ARMED_WITHOUT_LOOKING_AGAIN,
    READS_EVENTFD_LATE,                     /* behind the look instead of before it */
    HIGH_BEFORE_STOP,                       /* slots_high read before stop is stored */
    HIGH_OF_THE_LAST_STOP,
    SEEN_IN_THE_LAST_STOP,                  /* who had stopped then is not looked at */
    NO_HINT,
    RESUMES_WITHOUT_WAKING,
    WAKES_ONE,                              /* of those who sleep */
    RESUMES_IN_TWO,                         /* load and store of stop instead of an exchange */
    RESUMES_BEFORE_ROOTS,                   /* roots written behind it */
    EPOCH_STAYS,                            /* after a pause */
    GIVES_UP_SILENTLY,                      /* without waking */
};

struct plan {
    uint8_t stops, give_ups;                /* of the stops, at most so many are given up */
    bool    attached[2];
    uint8_t attaches[2], moves[2];          /* how often each thread attaches, and how many choices it makes in all */
    uint8_t last[2];                        /* enum last */
};

/* What a thread does that has no choices left, until the daemon has made its stops: then it detaches. */
enum last { LAST_POLLS, LAST_NATIVE, LAST_DETACHES };

/* ---- State ---- */

#define THREADS 2u
#define SLOTS   2u

enum word { STOP, ARMED, HIGH, STATE, HINT = STATE + SLOTS, ROOTS = HINT + SLOTS };
enum side { DAEMON = THREADS };             /* threads: 0 and 1 */
enum { STOPPING = 1, SOMEBODY_SLEEPS = 2, EPOCH_SHIFT = 2 };

#define THREAD_STEPS(X)                                                                                             \
    X(OUT, "not attached")                                                                                          \
    X(ATTACH_CAS, "attach: cas state FREE to NATIVE")       X(ATTACH_WRITE, "attach: store roots")                  \
    X(ATTACH_LOAD_HIGH, "attach: load slots_high")          X(ATTACH_STORE_HIGH, "attach: store slots_high")        \
    X(LEAVE_XCHG, "leave: xchg state RUNNING")              X(LEAVE_EARLY_COPY, "leave: copy roots back (early)")   \
    X(LEAVE_LOAD_STOP, "leave: load stop")                  X(LEAVE_COPY, "leave: copy roots back")                 \
    X(WORK, "work, then choose")                                                                                    \
    X(POLL_LOAD_HINT, "poll: load hint")                    X(POLL_LOAD_STOP, "poll: load stop")                    \
    X(PARK_PUBLISH, "park: store roots")                    X(PARK_XCHG, "park: xchg state PARKED")                 \
    X(PARK_LATE_PUBLISH, "park: store roots (late)")                                                                \
    X(PARK_LOAD_ARMED, "park: load armed")                  X(PARK_RING, "park: write eventfd")                     \
    X(PARK_LOAD_STOP, "park: load stop")                    X(PARK_CAS, "park: cas bit 1 into stop")                \
    X(PARK_WAIT, "park: FUTEX_WAIT")                        X(PARK_ASLEEP, "park: asleep")                          \
    X(NATIVE_PUBLISH, "native: store roots")                X(NATIVE_XCHG, "native: xchg state NATIVE")             \
    X(NATIVE_LOAD_STOP, "native: load stop")                X(NATIVE_LOAD_ARMED, "native: load armed")              \
    X(NATIVE_RING, "native: write eventfd")                 X(NATIVE_OUT, "native: in the call")                    \
    X(DETACH_WRITE, "detach: store roots (late)")           X(DETACH_CAS, "detach: cas state NATIVE to FREE")
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

#define DAEMON_STEPS(X)                                                                                             \
    X(BEGIN, "stop: load slots_high (early)")               X(STOP_STORE, "stop: store stop")                       \
    X(LOAD_HIGH, "look: load slots_high")                   X(LOOK, "look: load state")                             \
    X(HINT_STORE, "look: store hint")                       X(LOOK_AGAIN, "look: load state again")                 \
    X(ARM, "store armed 1")                                 X(LATE_READ, "read eventfd (late)")                     \
    X(EPOLL, "epoll returns, read eventfd; or give up")     X(DISARM, "store armed 0")                              \
    X(MOVE, "pause: move objects")                          X(WRITE_ROOTS, "pause: read and write roots")           \
    X(HINT_CLEAR, "resume: store hint 0")                   X(RESUME_LOAD, "resume: load stop")                     \
    X(RESUME, "resume: xchg stop")                          X(LATE_WRITE_ROOTS, "write roots (late)")               \
    X(WAKE, "resume: FUTEX_WAKE")                           X(DONE, "done")
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
    uint8_t step, slot, fresh, leaving;     /* fresh: attached, and not yet through Leave; leaving: it detaches */
    uint8_t attaches, moves;                /* left */
    uint8_t again;                          /* it parks out of Leave */
    uint8_t stop, epoch;                    /* the stop word while it is needed; the epoch of the roots in `root` */
    uint8_t root;                           /* its C variable: where its object is, as it believes; 0: it has none */
    uint8_t where;                          /* where the object is indeed */
};

struct state {
    struct model_memory memory;
    uint8_t eventfd, lock;                  /* lock: the heap's in the client; holder + 1 */
    struct thread thread[THREADS];
    uint8_t daemon, epoch, high, at;        /* the daemon's step and its own variables; at: the slot that it looks at */
    uint8_t seen, hinted;                   /* bit sets of slots: stopped in this stop; with a hint */
    uint8_t last_look, giving_up, old;      /* armed before this look; this stop has failed; the stop word at the resume */
    uint8_t stops, give_ups;                /* left */
};

/* Objects are numbered by place: a new one, or the same after a move. */
static uint8_t place_after(uint8_t place) { return (uint8_t)(place % 3 + 1); }

static bool in_pause(const struct state *s)
{
    return s->daemon >= MOVE && s->daemon <= RESUME && !s->giving_up;
}

/* A thread reads or writes the heap or its roots. */
static void touch(const struct state *s, const char **ret_complaint)
{
    if (in_pause(s))
        *ret_complaint = "a thread touches heap or roots in a pause";
}

/* ---- The client: attach and leave ---- */

static uint8_t after_attach(struct state *s, const struct thread *thread, enum flaw flaw)
{
    if (s->lock == thread - s->thread + 1)
        s->lock = 0;
    return flaw == ATTACHES_RUNNING || flaw == ATTACH_TELLS_LATE ? WORK : LEAVE_XCHG;
}

static bool attach_step(struct state *s, unsigned side, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    bool swapped;
    switch (thread->step) {
    case OUT:
        if (thread->attaches == 0 || (s->lock && flaw != ATTACHES_UNLOCKED))
            return false;
        s->lock = flaw == ATTACHES_UNLOCKED ? 0 : (uint8_t)(side + 1);
        thread->attaches--;
        thread->fresh = 1;
        thread->step = ATTACH_CAS;
        return true;
    case ATTACH_CAS:
        if (!model_cas(&s->memory, side, STATE + thread->slot, MM_SLOT_FREE, flaw == ATTACHES_RUNNING ? MM_SLOT_RUNNING : MM_SLOT_NATIVE, &swapped))
            return false;
        if (!swapped)
            thread->slot++;                                                 /* there are as many slots as threads */
        else
            thread->step = flaw == ATTACH_WRITES_ROOTS ? ATTACH_WRITE : flaw == ATTACH_TELLS_LATE ? LEAVE_XCHG : ATTACH_LOAD_HIGH;
        return true;
    case ATTACH_WRITE:
        touch(s, ret_complaint);
        if (!model_store_weak(&s->memory, side, ROOTS + thread->slot, 0))
            return false;
        thread->step = ATTACH_LOAD_HIGH;
        return true;
    case ATTACH_LOAD_HIGH:
        thread->step = model_load(&s->memory, side, HIGH) <= thread->slot ? ATTACH_STORE_HIGH : after_attach(s, thread, flaw);
        return true;
    case ATTACH_STORE_HIGH:
        if (!model_store_seq_cst(&s->memory, side, HIGH, thread->slot + 1))
            return false;
        thread->step = after_attach(s, thread, flaw);
        return true;
    default:
        return false;
    }
}

static uint8_t after_leave(struct thread *thread, enum flaw flaw)
{
    bool fresh = thread->fresh;
    thread->fresh = 0;
    thread->epoch = thread->stop >> EPOCH_SHIFT;
    thread->stop = 0;
    return fresh && flaw == ATTACH_TELLS_LATE ? ATTACH_LOAD_HIGH : WORK;
}

static void park_again(struct thread *thread, enum flaw flaw)
{
    thread->stop = 0;
    thread->again = 1;
    thread->step = flaw == PUBLISHES_AGAIN ? PARK_PUBLISH : flaw == PARKS_AGAIN_RUNNING ? PARK_LOAD_STOP : PARK_XCHG;
}

static bool leave_step(struct state *s, unsigned side, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    switch (thread->step) {
    case LEAVE_XCHG:
        thread->stop = 0;
        if (!model_store(&s->memory, side, STATE + thread->slot, MM_SLOT_RUNNING, flaw == LEAVE_WEAK))
            return false;
        thread->step = flaw == LEAVES_WITHOUT_LOOKING ? LEAVE_COPY : flaw == COPIES_BACK_BEFORE_LOOKING ? LEAVE_EARLY_COPY : LEAVE_LOAD_STOP;
        return true;
    case LEAVE_EARLY_COPY:
        touch(s, ret_complaint);
        thread->root = model_load(&s->memory, side, ROOTS + thread->slot);
        thread->step = LEAVE_LOAD_STOP;
        return true;
    case LEAVE_LOAD_STOP:
        thread->stop = model_load(&s->memory, side, STOP);
        if (thread->stop & STOPPING)
            park_again(thread, flaw);
        else if (thread->stop >> EPOCH_SHIFT != thread->epoch && !thread->fresh && flaw != NEVER_COPIES_BACK)
            thread->step = LEAVE_COPY;
        else
            thread->step = after_leave(thread, flaw);
        return true;
    case LEAVE_COPY:
        touch(s, ret_complaint);
        thread->root = model_load(&s->memory, side, ROOTS + thread->slot);
        thread->step = after_leave(thread, flaw);
        return true;
    default:
        return false;
    }
}

/* ---- The client: work and polls ---- */

/* Work on the object, then a new one; then `choice`: poll, blocking call, detach. */
static bool work_step(struct state *s, unsigned side, const struct plan *plan, unsigned choice, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    bool over = s->daemon == DONE;
    touch(s, ret_complaint);
    if (thread->root != thread->where)
        *ret_complaint = "a thread works with an object that has moved";
    if (thread->moves > 0) {
        thread->moves--;
        thread->root = thread->where = place_after(thread->where);
    } else if (choice > 0) {
        return false;
    } else {
        enum last last = over ? LAST_DETACHES : (enum last)plan->last[side];
        choice = last == LAST_POLLS ? 0 : last == LAST_NATIVE ? 1 : 2;
    }
    thread->leaving = choice == 2;
    thread->step = choice == 0 ? POLL_LOAD_HINT : NATIVE_PUBLISH;
    return true;
}

static bool poll_step(struct state *s, unsigned side)
{
    struct thread *thread = &s->thread[side];
    if (thread->step == POLL_LOAD_HINT) {
        thread->step = model_load(&s->memory, side, HINT + thread->slot) ? POLL_LOAD_STOP : WORK;
        return true;
    }
    thread->step = model_load(&s->memory, side, STOP) & STOPPING ? PARK_PUBLISH : WORK;
    return true;
}

/* ---- The client: park ---- */

static bool publish(struct state *s, unsigned side, uint8_t root, const char **ret_complaint)
{
    touch(s, ret_complaint);
    return model_store_weak(&s->memory, side, ROOTS + s->thread[side].slot, root);
}

static bool park_step(struct state *s, unsigned side, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    bool swapped, rings;
    switch (thread->step) {
    case PARK_PUBLISH:
        if (flaw != PUBLISHES_LATE && !publish(s, side, thread->root, ret_complaint))
            return false;
        thread->step = PARK_XCHG;
        return true;
    case PARK_XCHG:
        if (!model_store(&s->memory, side, STATE + thread->slot, MM_SLOT_PARKED, flaw == PARK_WEAK))
            return false;
        rings = flaw != PARKS_WITHOUT_RINGING && !(flaw == PARKS_AGAIN_WITHOUT_RINGING && thread->again);
        thread->step = flaw == PUBLISHES_LATE && !thread->again ? PARK_LATE_PUBLISH : rings ? PARK_LOAD_ARMED : PARK_LOAD_STOP;
        thread->again = 0;
        return true;
    case PARK_LATE_PUBLISH:
        if (!publish(s, side, thread->root, ret_complaint))
            return false;
        thread->step = PARK_LOAD_ARMED;
        return true;
    case PARK_LOAD_ARMED:
        thread->step = model_load(&s->memory, side, ARMED) ? PARK_RING : PARK_LOAD_STOP;
        return true;
    case PARK_RING:
        s->eventfd = 1;
        thread->step = PARK_LOAD_STOP;
        return true;
    case PARK_LOAD_STOP:
        thread->stop = model_load(&s->memory, side, STOP);
        thread->step = !(thread->stop & STOPPING) ? LEAVE_XCHG
                       : thread->stop & SOMEBODY_SLEEPS || flaw == SLEEPS_WITHOUT_BIT ? PARK_WAIT : PARK_CAS;
        return true;
    case PARK_CAS:
        if (flaw == BIT_BY_STORE ? !model_store_seq_cst(&s->memory, side, STOP, thread->stop | SOMEBODY_SLEEPS)
                                 : !model_cas(&s->memory, side, STOP, thread->stop, thread->stop | SOMEBODY_SLEEPS, &swapped))
            return false;
        thread->stop |= SOMEBODY_SLEEPS;
        thread->step = PARK_WAIT;
        return true;
    case PARK_WAIT:                                                         /* compares and sleeps in one: the kernel's promise */
        thread->step = s->memory.word[STOP] == thread->stop || flaw == SLEEPS_ON_WHATEVER ? PARK_ASLEEP : PARK_LOAD_STOP;
        return true;
    default:
        return false;
    }
}

/* ---- The client: blocking calls and detach ---- */

static bool native_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, const char **ret_complaint)
{
    struct thread *thread = &s->thread[side];
    uint8_t stop;
    bool swapped, none = thread->leaving && flaw != DETACH_WRITES_ROOTS_LATE;
    switch (thread->step) {
    case NATIVE_PUBLISH:
        if (!publish(s, side, none ? 0 : thread->root, ret_complaint))
            return false;
        if (none)
            thread->root = thread->where = 0;
        thread->step = NATIVE_XCHG;
        return true;
    case NATIVE_XCHG:
        if (!model_store(&s->memory, side, STATE + thread->slot, MM_SLOT_NATIVE, flaw == NATIVE_WEAK))
            return false;
        thread->step = NATIVE_LOAD_STOP;
        return true;
    case NATIVE_LOAD_STOP:
        stop = model_load(&s->memory, side, STOP);
        if (flaw == NOTES_EPOCH_LATE)
            thread->epoch = stop >> EPOCH_SHIFT;
        thread->step = stop & STOPPING && flaw != NATIVE_WITHOUT_RINGING ? NATIVE_LOAD_ARMED : NATIVE_OUT;
        return true;
    case NATIVE_LOAD_ARMED:
        thread->step = model_load(&s->memory, side, ARMED) ? NATIVE_RING : NATIVE_OUT;
        return true;
    case NATIVE_RING:
        s->eventfd = 1;
        thread->step = NATIVE_OUT;
        return true;
    case NATIVE_OUT:
        if (!thread->leaving && thread->moves == 0 && plan->last[side] == LAST_NATIVE && s->daemon != DONE)
            return false;                                                   /* the call lasts */
        thread->step = !thread->leaving ? LEAVE_XCHG : flaw == DETACH_WRITES_ROOTS_LATE ? DETACH_WRITE : DETACH_CAS;
        return true;
    case DETACH_WRITE:
        if (!publish(s, side, 0, ret_complaint))
            return false;
        thread->step = DETACH_CAS;
        return true;
    case DETACH_CAS:
        if (!model_cas(&s->memory, side, STATE + thread->slot, MM_SLOT_NATIVE, MM_SLOT_FREE, &swapped))
            return false;
        if (!swapped)
            *ret_complaint = "somebody else has changed the state of a slot";
        *thread = (struct thread){ .attaches = thread->attaches, .moves = thread->moves };
        return true;
    default:
        return false;
    }
}

static bool thread_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    uint8_t step = s->thread[side].step;
    if (step == WORK)
        return work_step(s, side, plan, choice, ret_complaint);
    if (choice > 0)
        return false;
    if (step <= ATTACH_STORE_HIGH)
        return attach_step(s, side, flaw, ret_complaint);
    if (step <= LEAVE_COPY)
        return leave_step(s, side, flaw, ret_complaint);
    if (step <= POLL_LOAD_STOP)
        return poll_step(s, side);
    if (step <= PARK_ASLEEP)
        return park_step(s, side, flaw, ret_complaint);
    return native_step(s, side, plan, flaw, ret_complaint);
}

/* ---- The daemon: stop ---- */

static void look_begin(struct state *s, bool last)
{
    s->last_look = last;
    s->daemon = LOAD_HIGH;
    s->at = 0;
}

/* On to the next slot that is not known to be stopped; behind the last one, what follows from the look. */
static void look_next(struct state *s, enum flaw flaw)
{
    while (s->at < s->high && s->seen & 1u << s->at)
        s->at++;
    if (s->at < s->high) {
        s->daemon = LOOK;
        return;
    }
    s->at = 0;
    if (s->seen == (1u << s->high) - 1) {
        s->daemon = MOVE;
        s->last_look = 0;
        if (flaw != SEEN_IN_THE_LAST_STOP)
            s->seen = 0;
    }
    else if (!s->last_look)
        s->daemon = ARM;
    else
        s->daemon = flaw == READS_EVENTFD_LATE ? LATE_READ : EPOLL;
}

static void look_judge(struct state *s, enum flaw flaw, bool again)
{
    if (model_load(&s->memory, DAEMON, STATE + s->at) != MM_SLOT_RUNNING)
        s->seen |= 1u << s->at;
    else if (!again && !(s->hinted & 1u << s->at) && flaw != NO_HINT) {
        s->daemon = HINT_STORE;
        return;
    } else
        s->at++;
    look_next(s, flaw);
}

static bool stop_step(struct state *s, enum flaw flaw, unsigned choice)
{
    switch ((enum daemon_step)s->daemon) {
    case BEGIN:
        if (flaw == HIGH_BEFORE_STOP || (flaw == HIGH_OF_THE_LAST_STOP && s->epoch == 0))
            s->high = model_load(&s->memory, DAEMON, HIGH);
        s->daemon = STOP_STORE;
        return true;
    case STOP_STORE:
        if (!model_store(&s->memory, DAEMON, STOP, (uint8_t)(s->epoch << EPOCH_SHIFT | STOPPING), flaw == STOP_WEAK))
            return false;
        look_begin(s, false);
        return true;
    case LOAD_HIGH:
        if (flaw != HIGH_BEFORE_STOP && (flaw != HIGH_OF_THE_LAST_STOP || s->epoch == 0))
            s->high = model_load(&s->memory, DAEMON, HIGH);
        look_next(s, flaw);
        return true;
    case LOOK:
    case LOOK_AGAIN:
        look_judge(s, flaw, s->daemon == LOOK_AGAIN);
        return true;
    case HINT_STORE:
        if (!model_store_weak(&s->memory, DAEMON, HINT + s->at, 1))
            return false;
        s->hinted |= 1u << s->at;
        s->daemon = LOOK_AGAIN;
        return true;
    case ARM:
        if (!model_store(&s->memory, DAEMON, ARMED, 1, flaw == ARMED_WEAK))
            return false;
        if (flaw == ARMED_WITHOUT_LOOKING_AGAIN)
            s->daemon = EPOLL;
        else
            look_begin(s, true);
        return true;
    case LATE_READ:
        s->eventfd = 0;
        s->daemon = EPOLL;
        return true;
    case EPOLL:
        if (choice == 1) {
            s->give_ups--;
            s->giving_up = 1;
            s->daemon = HINT_CLEAR;
        } else {
            s->eventfd = 0;
            s->daemon = DISARM;
        }
        return true;
    case DISARM:
        if (!model_store_weak(&s->memory, DAEMON, ARMED, 0))
            return false;
        look_begin(s, false);
        return true;
    default:
        return false;
    }
}

/* ---- The daemon: pause and resume ---- */

/* The object of whoever runs in a slot has moved: reads the root as it was, writes it as it is. */
static bool roots_update(struct state *s, uint8_t slot, const char **ret_complaint)
{
    uint8_t expected = 0, now = 0;
    for (unsigned i = 0; i < THREADS; i++)
        if (s->thread[i].where && s->thread[i].slot == slot)
            now = s->thread[i].where;
    if (now)
        expected = (uint8_t)((now + 1) % 3 + 1);                            /* the place before this one */
    if (model_load(&s->memory, DAEMON, ROOTS + slot) != expected)
        *ret_complaint = "the daemon does not see the roots that were published";
    return !now || model_store_weak(&s->memory, DAEMON, ROOTS + slot, now);
}

static void stop_end(struct state *s, enum flaw flaw)
{
    s->stops--;
    s->daemon = s->stops ? BEGIN : DONE;
    s->at = s->hinted = s->last_look = s->giving_up = s->old = 0;
    if (flaw != SEEN_IN_THE_LAST_STOP)
        s->seen = 0;
    if (flaw != HIGH_OF_THE_LAST_STOP)
        s->high = 0;
}

static void stop_resumed(struct state *s, enum flaw flaw)
{
    if (s->old & SOMEBODY_SLEEPS && flaw != RESUMES_WITHOUT_WAKING && !(flaw == GIVES_UP_SILENTLY && s->giving_up))
        s->daemon = WAKE;
    else
        stop_end(s, flaw);
}

static bool pause_step(struct state *s, enum flaw flaw, const char **ret_complaint)
{
    switch ((enum daemon_step)s->daemon) {
    case MOVE:
        for (unsigned i = 0; i < THREADS; i++)
            if (s->thread[i].where)
                s->thread[i].where = place_after(s->thread[i].where);
        s->daemon = flaw == RESUMES_BEFORE_ROOTS ? HINT_CLEAR : WRITE_ROOTS;
        return true;
    case WRITE_ROOTS:
    case LATE_WRITE_ROOTS:
        if (s->at < s->high && !roots_update(s, s->at, ret_complaint))
            return false;
        if (++s->at < s->high)
            return true;
        if (s->daemon == LATE_WRITE_ROOTS)
            stop_resumed(s, flaw);
        else
            s->daemon = HINT_CLEAR;
        return true;
    default:
        return false;
    }
}

static bool resume_step(struct state *s, enum flaw flaw)
{
    uint8_t next = (uint8_t)((s->epoch + (flaw == EPOCH_STAYS ? 0 : 1)) << EPOCH_SHIFT);
    switch ((enum daemon_step)s->daemon) {
    case HINT_CLEAR:
        s->at = 0;
        while (s->at < SLOTS && !(s->hinted & 1u << s->at))
            s->at++;
        if (s->at < SLOTS) {
            if (!model_store_weak(&s->memory, DAEMON, HINT + s->at, 0))
                return false;
            s->hinted &= (uint8_t)~(1u << s->at);
            return true;
        }
        s->at = 0;
        s->daemon = flaw == RESUMES_IN_TWO ? RESUME_LOAD : RESUME;
        return true;
    case RESUME_LOAD:
        s->old = model_load(&s->memory, DAEMON, STOP);
        s->daemon = RESUME;
        return true;
    case RESUME:
        if (flaw != RESUMES_IN_TWO)
            s->old = s->memory.word[STOP];
        if (!model_store_seq_cst(&s->memory, DAEMON, STOP, next))
            return false;
        s->epoch = next >> EPOCH_SHIFT;
        if (flaw == RESUMES_BEFORE_ROOTS && !s->giving_up)
            s->daemon = LATE_WRITE_ROOTS;
        else
            stop_resumed(s, flaw);
        return true;
    case WAKE:
        for (unsigned i = 0, woken = 0; i < THREADS && !(woken && flaw == WAKES_ONE); i++)
            if (s->thread[i].step == PARK_ASLEEP) {
                s->thread[i].step = PARK_LOAD_STOP;
                woken++;
            }
        stop_end(s, flaw);
        return true;
    default:
        return false;
    }
}

static bool daemon_step(struct state *s, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    if (s->daemon == EPOLL ? choice == 1 ? !s->give_ups : !s->eventfd : choice > 0)
        return false;
    if (s->daemon <= DISARM)
        return stop_step(s, flaw, choice);
    if (s->daemon == MOVE || s->daemon == WRITE_ROOTS || s->daemon == LATE_WRITE_ROOTS)
        return pause_step(s, flaw, ret_complaint);
    return resume_step(s, flaw);
}

/* ---- The model ---- */

enum { CHOICES = 3, WAY_DAEMON = THREADS * CHOICES, WAY_FLUSH = WAY_DAEMON + 2, WAYS = WAY_FLUSH + THREADS + 1 };

static void start(void *state, const void *plan_)
{
    struct state *s = state;
    const struct plan *plan = plan_;
    for (unsigned i = 0; i < THREADS; i++) {
        s->thread[i].attaches = plan->attaches[i];
        s->thread[i].moves = plan->moves[i];
        if (plan->attached[i]) {
            s->thread[i].step = WORK;
            s->thread[i].slot = (uint8_t)i;
            s->thread[i].root = s->thread[i].where = 1;
            s->memory.word[STATE + i] = MM_SLOT_RUNNING;
            s->memory.word[HIGH] = (uint8_t)(i + 1);
        }
    }
    s->stops = plan->stops;
    s->give_ups = plan->give_ups;
}

static bool flush(struct state *s, unsigned side, const char **ret_complaint)
{
    if (side != DAEMON && in_pause(s) && !model_drained(&s->memory, side) && model_oldest(&s->memory, side) >= ROOTS)
        *ret_complaint = "a store of a thread arrives in a pause";
    return model_flush(&s->memory, side);
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    if (way < WAY_DAEMON)
        return thread_step(s, way / CHOICES, plan, (enum flaw)flaw, way % CHOICES, ret_complaint);
    if (way < WAY_FLUSH)
        return daemon_step(s, (enum flaw)flaw, way - WAY_DAEMON, ret_complaint);
    return flush(s, way - WAY_FLUSH, ret_complaint);
}

static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    if (s->daemon != DONE)
        return "everybody waits, and the stop is not over";
    for (unsigned i = 0; i < THREADS; i++)
        if (s->thread[i].step != OUT || s->thread[i].attaches > 0)
            return "a thread sleeps for ever";
    return NULL;
}

static void print(const void *state)
{
    const struct state *s = state;
    const uint8_t *word = s->memory.word;
    print_error("  stop %u|%u armed %u eventfd %u high %u state %u %u hint %u %u roots %u %u | daemon at '%s' (%u stores under way)",
                word[STOP] >> EPOCH_SHIFT, word[STOP] & 3, word[ARMED], s->eventfd, word[HIGH], word[STATE], word[STATE + 1], word[HINT],
                word[HINT + 1], word[ROOTS], word[ROOTS + 1], daemon_step_name[s->daemon], s->memory.buffered[DAEMON]);
    for (unsigned i = 0; i < THREADS; i++)
        print_error(" | thread %u, slot %u, root %u, at '%s' (%u)", i, s->thread[i].slot, s->thread[i].root,
                    thread_step_name[s->thread[i].step], s->memory.buffered[i]);
    print_error("\n");
}

static const struct model_setup setups[] = {
    { "one thread comes and goes", &(struct plan){ .stops = 2, .attaches = { 2 }, .moves = { 3 } } },
    { "two threads", &(struct plan){ .stops = 2, .attached = { true, true }, .moves = { 1, 1 } } },
    { "one is in a long call", &(struct plan){ .stops = 2, .attached = { true, true }, .moves = { 1, 0 }, .last = { LAST_NATIVE } } },
    { "one attaches meanwhile", &(struct plan){ .stops = 2, .attached = { true }, .attaches = { 0, 1 } } },
    { "two attach", &(struct plan){ .stops = 1, .attaches = { 1, 1 } } },
    { "a slot changes hands", &(struct plan){ .stops = 2, .attached = { true }, .attaches = { 0, 1 }, .last = { LAST_DETACHES } } },
    { "a stop is given up", &(struct plan){ .stops = 2, .give_ups = 1, .attached = { true, true }, .moves = { 1, 0 } } },
    { "one is given up between two others", &(struct plan){ .stops = 3, .give_ups = 1, .attached = { true }, .moves = { 2 } } },
};
static const struct model model = {
    .state_bytes = sizeof(struct state), .ways = WAYS, .setup = setups, .setups = sizeof setups / sizeof setups[0],
    .start = start, .step = step, .end = end, .print = print,
};

/* ---- Cases ---- */

static void the_protocol_holds(void **state) { model_holds(&model); }

#define FLAW(name, flaw) static void name(void **state) { model_finds(&model, flaw); }
FLAW(finds_weak_park, PARK_WEAK)
FLAW(finds_weak_native, NATIVE_WEAK)
FLAW(finds_weak_leave, LEAVE_WEAK)
FLAW(finds_leaving_without_looking, LEAVES_WITHOUT_LOOKING)
FLAW(finds_roots_copied_back_before_looking, COPIES_BACK_BEFORE_LOOKING)
FLAW(finds_roots_never_copied_back, NEVER_COPIES_BACK)
FLAW(finds_epoch_noted_late, NOTES_EPOCH_LATE)
FLAW(finds_roots_published_late, PUBLISHES_LATE)
FLAW(finds_roots_published_again, PUBLISHES_AGAIN)
FLAW(finds_parking_again_running, PARKS_AGAIN_RUNNING)
FLAW(finds_parking_again_without_ringing, PARKS_AGAIN_WITHOUT_RINGING)
FLAW(finds_parking_without_ringing, PARKS_WITHOUT_RINGING)
FLAW(finds_native_without_ringing, NATIVE_WITHOUT_RINGING)
FLAW(finds_sleep_without_bit, SLEEPS_WITHOUT_BIT)
FLAW(finds_bit_by_store, BIT_BY_STORE)
FLAW(finds_sleep_on_whatever, SLEEPS_ON_WHATEVER)
FLAW(finds_attach_without_leave, ATTACHES_RUNNING)
FLAW(finds_attach_without_lock, ATTACHES_UNLOCKED)
FLAW(finds_slots_high_late, ATTACH_TELLS_LATE)
FLAW(finds_roots_written_by_attach, ATTACH_WRITES_ROOTS)
FLAW(finds_roots_written_late_by_detach, DETACH_WRITES_ROOTS_LATE)
FLAW(finds_weak_stop, STOP_WEAK)
FLAW(finds_weak_armed, ARMED_WEAK)
FLAW(finds_armed_without_looking_again, ARMED_WITHOUT_LOOKING_AGAIN)
FLAW(finds_eventfd_read_late, READS_EVENTFD_LATE)
FLAW(finds_slots_high_read_before_stop, HIGH_BEFORE_STOP)
FLAW(finds_slots_high_of_the_last_stop, HIGH_OF_THE_LAST_STOP)
FLAW(finds_slots_seen_in_the_last_stop, SEEN_IN_THE_LAST_STOP)
FLAW(finds_no_hint, NO_HINT)
FLAW(finds_resume_without_wake, RESUMES_WITHOUT_WAKING)
FLAW(finds_one_woken_of_two, WAKES_ONE)
FLAW(finds_resume_in_two, RESUMES_IN_TWO)
FLAW(finds_resume_before_roots, RESUMES_BEFORE_ROOTS)
FLAW(finds_epoch_that_stays, EPOCH_STAYS)
FLAW(finds_silent_giving_up, GIVES_UP_SILENTLY)

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(the_protocol_holds),
        test_case(finds_weak_park),
        test_case(finds_weak_native),
        test_case(finds_weak_leave),
        test_case(finds_leaving_without_looking),
        test_case(finds_roots_copied_back_before_looking),
        test_case(finds_roots_never_copied_back),
        test_case(finds_epoch_noted_late),
        test_case(finds_roots_published_late),
        test_case(finds_roots_published_again),
        test_case(finds_parking_again_running),
        test_case(finds_parking_again_without_ringing),
        test_case(finds_parking_without_ringing),
        test_case(finds_native_without_ringing),
        test_case(finds_sleep_without_bit),
        test_case(finds_bit_by_store),
        test_case(finds_sleep_on_whatever),
        test_case(finds_attach_without_leave),
        test_case(finds_attach_without_lock),
        test_case(finds_slots_high_late),
        test_case(finds_roots_written_by_attach),
        test_case(finds_roots_written_late_by_detach),
        test_case(finds_weak_stop),
        test_case(finds_weak_armed),
        test_case(finds_armed_without_looking_again),
        test_case(finds_eventfd_read_late),
        test_case(finds_slots_high_read_before_stop),
        test_case(finds_slots_high_of_the_last_stop),
        test_case(finds_slots_seen_in_the_last_stop),
        test_case(finds_no_hint),
        test_case(finds_resume_without_wake),
        test_case(finds_one_woken_of_two),
        test_case(finds_resume_in_two),
        test_case(finds_resume_before_roots),
        test_case(finds_epoch_that_stays),
        test_case(finds_silent_giving_up),
    };
    return test_run(cases);
}
