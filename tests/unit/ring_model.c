/* ring_model.c — every interleaving of put, take, falling asleep and waking (PROTOCOLS section 3), walked (tests/lib/model.h).
 *
 * Two machines, the client's thread and the heap's worker, each a list of steps as in shm/ring.h. The walk asserts
 *   - each grant arrives once, whole and in order (when it is taken);
 *   - where nobody can make a step any more, the client has all it wanted, and the worker has left nothing undone: no
 *     request unanswered, no room that it would have filled, no give-back in the ring.
 *
 * Then each rule of the protocol is broken in turn (enum flaw), and the walk must find that: so it would notice.
 */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

/* ---- What is broken ---- */

enum flaw {
    NO_FLAW,
    ARMED_WITHOUT_LOOKING_AGAIN,            /* the worker arms and sleeps at once */
    ASLEEP_WITHOUT_LOOKING_AGAIN,           /* the client sleeps on whatever tail is now, not on the one that it found empty */
    TAIL_STORE_WEAK,                        /* release instead of seq_cst */
    HEAD_STORE_WEAK,
    ASLEEP_STORE_WEAK,
    ARMED_STORE_WEAK,
    REQUEST_STORE_WEAK,                     /* no seq_cst access between the request and the look at armed */
    GIVE_STORE_WEAK,
    TAIL_BEFORE_CELL,                       /* index published before its cell */
    HEAD_BEFORE_CELL,                       /* cell read after it was handed back */
    DAEMON_CLEARS_ASLEEP,                   /* the worker stores asleep = 0 before it wakes; the client never does */
    CLIENT_NEVER_RINGS,
    WORKER_NEVER_WAKES,
};

struct plan {
    uint8_t wanted;             /* grants that the client takes before it is done */
    uint8_t depth;              /* grants kept ready ahead of any request; 0: only what is asked for */
    uint8_t supply;             /* grants ahead in all */
    bool    gives;              /* the client gives back each grant */
};

/* ---- State ---- */

#define CELLS 2u                /* of the ring: enough for it to wrap and to be full */

enum word { TAIL, HEAD, ASLEEP, ARMED, REQUEST, GIVE_TAIL, CELL };
enum side { CLIENT, WORKER };

enum client_step {
    TAKE_LOAD_TAIL, TAKE_READ_CELL, TAKE_XCHG_HEAD, TAKE_LATE_READ_CELL, TAKE_LOAD_ARMED, TAKE_RING,
    GIVE_XCHG_TAIL, GIVE_LOAD_ARMED, GIVE_RING, NEXT,
    EMPTY_STORE_REQUEST, EMPTY_ENTER_NATIVE, EMPTY_XCHG_ASLEEP, EMPTY_LOAD_ARMED, EMPTY_RING, EMPTY_LOAD_TAIL, EMPTY_FUTEX_WAIT,
    EMPTY_SLEEPING, EMPTY_LEAVE_NATIVE, EMPTY_CLEAR_ASLEEP, CLIENT_DONE,
};
static const char *const client_step_name[] = {
    "take: load tail", "take: read cell", "take: xchg head", "take: read cell (late)", "take: load armed", "take: write eventfd",
    "give: xchg give_tail", "give: load armed", "give: write eventfd", "next",
    "empty: store request", "empty: enter NATIVE (xchg state)", "empty: xchg asleep 1", "empty: load armed", "empty: write eventfd",
    "empty: load tail", "empty: FUTEX_WAIT", "empty: sleeping", "empty: leave NATIVE (xchg state)", "empty: store asleep 0", "done",
};

enum worker_step {
    LOOK_REQUEST, LOOK_GIVE, LOOK_HEAD, PUT_STORE_CELL, PUT_STORE_TAIL, PUT_LATE_STORE_CELL, PUT_LOAD_ASLEEP, PUT_CLEAR_ASLEEP, PUT_FUTEX_WAKE,
    COOL_STORE_ARMED, COOL_LOOK_REQUEST, COOL_LOOK_GIVE, COOL_LOOK_HEAD, COOL_EPOLL, HOT_STORE_ARMED,
};
static const char *const worker_step_name[] = {
    "look: load request", "look: load give_tail", "look: load head", "put: store cell", "put: store tail", "put: store cell (late)",
    "put: load asleep", "put: store asleep 0", "put: FUTEX_WAKE",
    "cool: store armed 1", "cool: load request", "cool: load give_tail", "cool: load head", "cool: epoll returns, read eventfd", "hot: store armed 0",
};

struct state {
    struct model_memory memory;
    uint8_t eventfd;
    uint8_t client, head, seen, cell, request, given;                       /* the client's step and its own variables */
    uint8_t worker, tail, last_head, answered, taken, ahead;                /* the worker's */
};

/* ---- The client ---- */

/* The word of a grant: its number. `seen` is the tail that was loaded. */
static const char *client_took(struct state *s)
{
    if (s->cell != (uint8_t)(s->head + 1))
        return "a grant was lost, doubled or not yet written";
    s->head++;
    return NULL;
}

/* One step. False: it cannot be made now. A complaint is stored if the step shows that something broke. */
static bool client_step(struct state *s, const struct plan *plan, enum flaw flaw, const char **complaint)
{
    switch ((enum client_step)s->client) {
    case TAKE_LOAD_TAIL:
        s->seen = model_load(&s->memory, CLIENT, TAIL);
        s->client = s->seen == s->head ? EMPTY_STORE_REQUEST : flaw == HEAD_BEFORE_CELL ? TAKE_XCHG_HEAD : TAKE_READ_CELL;
        return true;
    case TAKE_READ_CELL:
        s->cell = model_load(&s->memory, CLIENT, CELL + s->head % CELLS);
        s->client = TAKE_XCHG_HEAD;
        return true;
    case TAKE_XCHG_HEAD:
        if (!model_store(&s->memory, CLIENT, HEAD, s->head + 1, flaw == HEAD_STORE_WEAK))
            return false;
        s->client = flaw == HEAD_BEFORE_CELL ? TAKE_LATE_READ_CELL : TAKE_LOAD_ARMED;
        if (flaw != HEAD_BEFORE_CELL)
            *complaint = client_took(s);
        return true;
    case TAKE_LATE_READ_CELL:
        s->cell = model_load(&s->memory, CLIENT, CELL + s->head % CELLS);
        *complaint = client_took(s);
        s->client = TAKE_LOAD_ARMED;
        return true;
    case TAKE_LOAD_ARMED: {
        bool low = (uint8_t)(s->seen - s->head) < plan->depth;
        s->client = low && model_load(&s->memory, CLIENT, ARMED) ? TAKE_RING : plan->gives ? GIVE_XCHG_TAIL : NEXT;
        return true;
    }
    case TAKE_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = plan->gives ? GIVE_XCHG_TAIL : NEXT;
        return true;
    case GIVE_XCHG_TAIL:
        if (!model_store(&s->memory, CLIENT, GIVE_TAIL, s->given + 1, flaw == GIVE_STORE_WEAK))
            return false;
        s->given++;
        s->client = GIVE_LOAD_ARMED;
        return true;
    case GIVE_LOAD_ARMED:
        s->client = model_load(&s->memory, CLIENT, ARMED) ? GIVE_RING : NEXT;
        return true;
    case GIVE_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = NEXT;
        return true;
    case NEXT:
        s->seen = s->cell = 0;
        s->client = s->head == plan->wanted ? CLIENT_DONE : TAKE_LOAD_TAIL;
        return true;
    case EMPTY_STORE_REQUEST:
        if (!model_store_weak(&s->memory, CLIENT, REQUEST, s->request + 1))
            return false;
        s->request++;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_LOAD_ARMED : EMPTY_ENTER_NATIVE;
        return true;
    case EMPTY_ENTER_NATIVE:                                                /* the word is not part of the model, its fence is */
        if (!model_drained(&s->memory, CLIENT))
            return false;
        s->client = EMPTY_XCHG_ASLEEP;
        return true;
    case EMPTY_XCHG_ASLEEP:
        if (!model_store(&s->memory, CLIENT, ASLEEP, 1, flaw == ASLEEP_STORE_WEAK))
            return false;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_LOAD_TAIL : EMPTY_LOAD_ARMED;
        return true;
    case EMPTY_LOAD_ARMED:
        s->client = model_load(&s->memory, CLIENT, ARMED) ? EMPTY_RING : flaw == REQUEST_STORE_WEAK ? EMPTY_XCHG_ASLEEP : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_XCHG_ASLEEP : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_LOAD_TAIL:
        s->seen = model_load(&s->memory, CLIENT, TAIL);
        s->client = flaw == ASLEEP_WITHOUT_LOOKING_AGAIN || s->seen == s->head ? EMPTY_FUTEX_WAIT : EMPTY_LEAVE_NATIVE;
        return true;
    case EMPTY_FUTEX_WAIT:                                                  /* compares and sleeps in one: the kernel's promise */
        s->client = model_load(&s->memory, CLIENT, TAIL) == s->seen ? EMPTY_SLEEPING : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_LEAVE_NATIVE:
        if (!model_drained(&s->memory, CLIENT))
            return false;
        s->client = flaw == DAEMON_CLEARS_ASLEEP ? TAKE_LOAD_TAIL : EMPTY_CLEAR_ASLEEP;
        return true;
    case EMPTY_CLEAR_ASLEEP:
        if (!model_store_weak(&s->memory, CLIENT, ASLEEP, 0))
            return false;
        s->client = TAKE_LOAD_TAIL;
        return true;
    case EMPTY_SLEEPING:
    case CLIENT_DONE:
        return false;
    }
    return false;
}

/* After a wake: look again. With the broken rule, the look is left out; with the daemon clearing asleep, it is said again. */
static void client_wake(struct state *s, enum flaw flaw)
{
    if (s->client != EMPTY_SLEEPING)
        return;
    s->client = flaw == ASLEEP_WITHOUT_LOOKING_AGAIN ? EMPTY_LEAVE_NATIVE : flaw == DAEMON_CLEARS_ASLEEP ? EMPTY_XCHG_ASLEEP : EMPTY_LOAD_TAIL;
}

/* ---- The worker ---- */

static bool put_wanted(const struct state *s, const struct plan *plan, uint8_t request, uint8_t head)
{
    uint8_t waiting = s->tail - head;
    if (request != s->answered)
        return waiting < CELLS;
    return waiting < plan->depth && waiting < CELLS && s->ahead < plan->supply;
}

/* The loads of one look end here: put something, or go on to `idle`. */
static void worker_judge(struct state *s, const struct plan *plan, enum flaw flaw, enum worker_step idle)
{
    uint8_t request = s->last_head >> 4, head = s->last_head & 15;          /* what the look has seen */
    if (put_wanted(s, plan, request, head)) {
        s->ahead += request == s->answered;
        s->worker = flaw == TAIL_BEFORE_CELL ? PUT_STORE_TAIL : PUT_STORE_CELL;
    } else {
        s->worker = (uint8_t)idle;
    }
    s->answered = request;
}

static bool worker_step(struct state *s, const struct plan *plan, enum flaw flaw)
{
    switch ((enum worker_step)s->worker) {
    case LOOK_REQUEST:
    case COOL_LOOK_REQUEST:                                                 /* before head: who sees a request sees the head it came after */
        s->last_head = (uint8_t)(model_load(&s->memory, WORKER, REQUEST) << 4);
        s->worker++;
        return true;
    case LOOK_GIVE:
    case COOL_LOOK_GIVE:
        s->taken = model_load(&s->memory, WORKER, GIVE_TAIL);
        s->worker++;
        return true;
    case LOOK_HEAD:
    case COOL_LOOK_HEAD: {
        s->last_head |= model_load(&s->memory, WORKER, HEAD);
        bool cool = s->worker == COOL_LOOK_HEAD;
        worker_judge(s, plan, flaw, cool ? COOL_EPOLL : COOL_STORE_ARMED);
        s->last_head = 0;
        return true;
    }
    case PUT_STORE_CELL:
        if (!model_store_weak(&s->memory, WORKER, CELL + s->tail % CELLS, s->tail + 1))
            return false;
        s->worker = PUT_STORE_TAIL;
        return true;
    case PUT_STORE_TAIL:
        if (!model_store(&s->memory, WORKER, TAIL, s->tail + 1, flaw == TAIL_STORE_WEAK))
            return false;
        s->tail++;
        s->worker = flaw == TAIL_BEFORE_CELL ? PUT_LATE_STORE_CELL : PUT_LOAD_ASLEEP;
        return true;
    case PUT_LATE_STORE_CELL:
        if (!model_store_weak(&s->memory, WORKER, CELL + (s->tail - 1) % CELLS, s->tail))
            return false;
        s->worker = PUT_LOAD_ASLEEP;
        return true;
    case PUT_LOAD_ASLEEP:
        s->worker = !model_load(&s->memory, WORKER, ASLEEP) ? LOOK_REQUEST : flaw == DAEMON_CLEARS_ASLEEP ? PUT_CLEAR_ASLEEP : PUT_FUTEX_WAKE;
        return true;
    case PUT_CLEAR_ASLEEP:
        if (!model_store_seq_cst(&s->memory, WORKER, ASLEEP, 0))
            return false;
        s->worker = PUT_FUTEX_WAKE;
        return true;
    case PUT_FUTEX_WAKE:
        if (flaw != WORKER_NEVER_WAKES)
            client_wake(s, flaw);
        s->worker = LOOK_REQUEST;
        return true;
    case COOL_STORE_ARMED:
        if (!model_store(&s->memory, WORKER, ARMED, 1, flaw == ARMED_STORE_WEAK))
            return false;
        s->worker = flaw == ARMED_WITHOUT_LOOKING_AGAIN ? COOL_EPOLL : COOL_LOOK_REQUEST;
        return true;
    case COOL_EPOLL:
        if (!s->eventfd)
            return false;
        s->eventfd = 0;
        s->worker = HOT_STORE_ARMED;
        return true;
    case HOT_STORE_ARMED:
        if (!model_store_weak(&s->memory, WORKER, ARMED, 0))
            return false;
        s->worker = LOOK_REQUEST;
        return true;
    }
    return false;
}

/* ---- The model ---- */

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    switch (way) {
    case 0:  return client_step(s, plan, (enum flaw)flaw, ret_complaint);
    case 1:  return worker_step(s, plan, (enum flaw)flaw);
    default: return model_flush(&s->memory, way == 2 ? CLIENT : WORKER);
    }
}

/* Nobody can make a step: is everything done? */
static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    if (s->client != CLIENT_DONE)
        return "both sleep, and the client still wants something";
    if (put_wanted(s, plan, s->memory.word[REQUEST], s->memory.word[HEAD]))
        return "both sleep, and the worker has left work undone";
    if (s->taken != s->memory.word[GIVE_TAIL])
        return "both sleep, and a give-back was not seen";
    return NULL;
}

static void print(const void *state)
{
    const struct state *s = state;
    const uint8_t *word = s->memory.word;
    print_error("  tail %u head %u asleep %u armed %u request %u eventfd %u | client at '%s' (%u stores under way) | worker at '%s' (%u)\n",
                word[TAIL], word[HEAD], word[ASLEEP], word[ARMED], word[REQUEST], s->eventfd, client_step_name[s->client],
                s->memory.buffered[CLIENT], worker_step_name[s->worker], s->memory.buffered[WORKER]);
}

static const struct model_setup setups[] = {
    { "4 grants, each asked for", &(struct plan){ .wanted = 4 } },
    { "4 grants, 2 ahead, one at a time", &(struct plan){ .wanted = 4, .depth = 1, .supply = 2 } },
    { "4 grants, 7 ahead, one at a time", &(struct plan){ .wanted = 4, .depth = 1, .supply = 7 } },
    { "4 grants, 7 ahead, a full ring", &(struct plan){ .wanted = 4, .depth = 2, .supply = 7 } },
    { "3 grants given back, each asked for", &(struct plan){ .wanted = 3, .gives = true } },
    { "3 grants given back, 4 ahead, one at a time", &(struct plan){ .wanted = 3, .depth = 1, .supply = 4, .gives = true } },
    { "3 grants given back, 4 ahead, a full ring", &(struct plan){ .wanted = 3, .depth = 2, .supply = 4, .gives = true } },
};
static const struct model model = {
    .state_bytes = sizeof(struct state), .ways = 4, .setup = setups, .setups = sizeof setups / sizeof setups[0],
    .step = step, .end = end, .print = print,
};

/* ---- Cases ---- */

static void the_protocol_holds(void **state) { model_holds(&model); }

#define FLAW(name, flaw) static void name(void **state) { model_finds(&model, flaw); }
FLAW(finds_armed_without_looking_again, ARMED_WITHOUT_LOOKING_AGAIN)
FLAW(finds_asleep_without_looking_again, ASLEEP_WITHOUT_LOOKING_AGAIN)
FLAW(finds_weak_tail, TAIL_STORE_WEAK)
FLAW(finds_weak_head, HEAD_STORE_WEAK)
FLAW(finds_weak_asleep, ASLEEP_STORE_WEAK)
FLAW(finds_weak_armed, ARMED_STORE_WEAK)
FLAW(finds_weak_request, REQUEST_STORE_WEAK)
FLAW(finds_weak_give_tail, GIVE_STORE_WEAK)
FLAW(finds_tail_before_cell, TAIL_BEFORE_CELL)
FLAW(finds_head_before_cell, HEAD_BEFORE_CELL)
FLAW(finds_asleep_cleared_by_the_daemon, DAEMON_CLEARS_ASLEEP)
FLAW(finds_a_client_that_never_rings, CLIENT_NEVER_RINGS)
FLAW(finds_a_worker_that_never_wakes, WORKER_NEVER_WAKES)

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(the_protocol_holds),
        test_case(finds_armed_without_looking_again),
        test_case(finds_asleep_without_looking_again),
        test_case(finds_weak_tail),
        test_case(finds_weak_head),
        test_case(finds_weak_asleep),
        test_case(finds_weak_armed),
        test_case(finds_weak_request),
        test_case(finds_weak_give_tail),
        test_case(finds_tail_before_cell),
        test_case(finds_head_before_cell),
        test_case(finds_asleep_cleared_by_the_daemon),
        test_case(finds_a_client_that_never_rings),
        test_case(finds_a_worker_that_never_wakes),
    };
    return test_run(cases);
}
