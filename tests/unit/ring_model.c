/* ring_model.c — every interleaving of put, take, falling asleep and waking (PROTOCOLS section 3), walked.
 *
 * Two machines, the client's thread and the heap's worker, each a list of steps; a step is one access to a shared word, or one
 * system call, as in shm/ring.h. Memory is x86-TSO: a plain (relaxed, release) store goes into the side's store buffer
 * and reaches memory at any later time, in order; a load sees the own buffer first; a seq_cst store or xchg waits until the
 * buffer is empty. System calls do not drain the buffer: the kernel often does, but the protocol does not lean on it.
 * Sleep has no time-out here: the 20 ms of the real code are for a peer that died, not for a wake that was lost.
 *
 * The walk visits each reachable state once, and asserts
 *   - each grant arrives once, whole and in order (when it is taken);
 *   - where nobody can make a step any more, the client has all it wanted, and the worker has left nothing undone: no
 *     request unanswered, no room that it would have filled, no give-back in the ring. (A lost wake-up ends in such a state.)
 *
 * Then each rule of the protocol is broken in turn (enum flaw), and the walk must find that: so it would notice.
 */
#include "tests/lib/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct setup {
    enum flaw flaw;
    uint8_t   wanted;           /* grants that the client takes before it is done */
    uint8_t   depth;            /* grants kept ready ahead of any request; 0: only what is asked for */
    uint8_t   supply;           /* grants ahead in all */
    bool      gives;            /* the client gives back each grant */
};

/* ---- State ---- */

#define CELLS  2u               /* of the ring: enough for it to wrap and to be full */
#define BUFFER 3u               /* stores that may be under way on one side */

enum word { TAIL, HEAD, ASLEEP, ARMED, REQUEST, GIVE_TAIL, CELL, WORDS = CELL + CELLS };
enum side { CLIENT, WORKER, SIDES };

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
    uint8_t memory[WORDS];
    uint8_t word[SIDES][BUFFER], value[SIDES][BUFFER], buffered[SIDES];     /* store buffers, oldest first */
    uint8_t eventfd;
    uint8_t client, head, seen, cell, request, given;                       /* the client's step and its own variables */
    uint8_t worker, tail, last_head, answered, taken, ahead;                /* the worker's */
};

/* ---- Memory ---- */

static uint8_t load(const struct state *s, enum side side, enum word word)
{
    for (unsigned i = s->buffered[side]; i-- > 0;)
        if (s->word[side][i] == word)
            return s->value[side][i];
    return s->memory[word];
}

/* False: the buffer is full, the step has to wait. */
static bool store_weak(struct state *s, enum side side, enum word word, uint8_t value)
{
    if (s->buffered[side] == BUFFER)
        return false;
    s->word[side][s->buffered[side]] = (uint8_t)word;
    s->value[side][s->buffered[side]++] = value;
    return true;
}

/* False: earlier stores are still under way. */
static bool store_seq_cst(struct state *s, enum side side, enum word word, uint8_t value)
{
    if (s->buffered[side] > 0)
        return false;
    s->memory[word] = value;
    return true;
}

static bool store(struct state *s, enum side side, enum word word, uint8_t value, bool weak)
{
    return weak ? store_weak(s, side, word, value) : store_seq_cst(s, side, word, value);
}

static bool flush(struct state *s, enum side side)
{
    if (s->buffered[side] == 0)
        return false;
    s->memory[s->word[side][0]] = s->value[side][0];
    s->buffered[side]--;
    for (unsigned i = 0; i < BUFFER; i++) {                                 /* unused entries stay zero: equal states look equal */
        bool used = i < s->buffered[side];
        s->word[side][i] = used ? s->word[side][i + 1] : 0;
        s->value[side][i] = used ? s->value[side][i + 1] : 0;
    }
    return true;
}

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
static bool client_step(struct state *s, const struct setup *setup, const char **complaint)
{
    enum flaw flaw = setup->flaw;
    switch ((enum client_step)s->client) {
    case TAKE_LOAD_TAIL:
        s->seen = load(s, CLIENT, TAIL);
        s->client = s->seen == s->head ? EMPTY_STORE_REQUEST : flaw == HEAD_BEFORE_CELL ? TAKE_XCHG_HEAD : TAKE_READ_CELL;
        return true;
    case TAKE_READ_CELL:
        s->cell = load(s, CLIENT, (enum word)(CELL + s->head % CELLS));
        s->client = TAKE_XCHG_HEAD;
        return true;
    case TAKE_XCHG_HEAD:
        if (!store(s, CLIENT, HEAD, s->head + 1, flaw == HEAD_STORE_WEAK))
            return false;
        s->client = flaw == HEAD_BEFORE_CELL ? TAKE_LATE_READ_CELL : TAKE_LOAD_ARMED;
        if (flaw != HEAD_BEFORE_CELL)
            *complaint = client_took(s);
        return true;
    case TAKE_LATE_READ_CELL:
        s->cell = load(s, CLIENT, (enum word)(CELL + s->head % CELLS));
        *complaint = client_took(s);
        s->client = TAKE_LOAD_ARMED;
        return true;
    case TAKE_LOAD_ARMED: {
        bool low = (uint8_t)(s->seen - s->head) < setup->depth;
        s->client = low && load(s, CLIENT, ARMED) ? TAKE_RING : setup->gives ? GIVE_XCHG_TAIL : NEXT;
        return true;
    }
    case TAKE_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = setup->gives ? GIVE_XCHG_TAIL : NEXT;
        return true;
    case GIVE_XCHG_TAIL:
        if (!store(s, CLIENT, GIVE_TAIL, s->given + 1, flaw == GIVE_STORE_WEAK))
            return false;
        s->given++;
        s->client = GIVE_LOAD_ARMED;
        return true;
    case GIVE_LOAD_ARMED:
        s->client = load(s, CLIENT, ARMED) ? GIVE_RING : NEXT;
        return true;
    case GIVE_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = NEXT;
        return true;
    case NEXT:
        s->seen = s->cell = 0;
        s->client = s->head == setup->wanted ? CLIENT_DONE : TAKE_LOAD_TAIL;
        return true;
    case EMPTY_STORE_REQUEST:
        if (!store_weak(s, CLIENT, REQUEST, s->request + 1))
            return false;
        s->request++;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_LOAD_ARMED : EMPTY_ENTER_NATIVE;
        return true;
    case EMPTY_ENTER_NATIVE:                                                /* the word is not part of the model, its fence is */
        if (s->buffered[CLIENT] > 0)
            return false;
        s->client = EMPTY_XCHG_ASLEEP;
        return true;
    case EMPTY_XCHG_ASLEEP:
        if (!store(s, CLIENT, ASLEEP, 1, flaw == ASLEEP_STORE_WEAK))
            return false;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_LOAD_TAIL : EMPTY_LOAD_ARMED;
        return true;
    case EMPTY_LOAD_ARMED:
        s->client = load(s, CLIENT, ARMED) ? EMPTY_RING : flaw == REQUEST_STORE_WEAK ? EMPTY_XCHG_ASLEEP : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_RING:
        s->eventfd |= flaw != CLIENT_NEVER_RINGS;
        s->client = flaw == REQUEST_STORE_WEAK ? EMPTY_XCHG_ASLEEP : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_LOAD_TAIL:
        s->seen = load(s, CLIENT, TAIL);
        s->client = flaw == ASLEEP_WITHOUT_LOOKING_AGAIN || s->seen == s->head ? EMPTY_FUTEX_WAIT : EMPTY_LEAVE_NATIVE;
        return true;
    case EMPTY_FUTEX_WAIT:                                                  /* compares and sleeps in one: the kernel's promise */
        s->client = load(s, CLIENT, TAIL) == s->seen ? EMPTY_SLEEPING : EMPTY_LOAD_TAIL;
        return true;
    case EMPTY_LEAVE_NATIVE:
        if (s->buffered[CLIENT] > 0)
            return false;
        s->client = flaw == DAEMON_CLEARS_ASLEEP ? TAKE_LOAD_TAIL : EMPTY_CLEAR_ASLEEP;
        return true;
    case EMPTY_CLEAR_ASLEEP:
        if (!store_weak(s, CLIENT, ASLEEP, 0))
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

static bool put_wanted(const struct state *s, const struct setup *setup, uint8_t request, uint8_t head)
{
    uint8_t waiting = s->tail - head;
    if (request != s->answered)
        return waiting < CELLS;
    return waiting < setup->depth && waiting < CELLS && s->ahead < setup->supply;
}

/* The loads of one look end here: put something, or go on to `idle`. */
static void worker_judge(struct state *s, const struct setup *setup, enum worker_step idle)
{
    uint8_t request = s->last_head >> 4, head = s->last_head & 15;          /* what the look has seen */
    if (put_wanted(s, setup, request, head)) {
        s->ahead += request == s->answered;
        s->worker = setup->flaw == TAIL_BEFORE_CELL ? PUT_STORE_TAIL : PUT_STORE_CELL;
    } else {
        s->worker = (uint8_t)idle;
    }
    s->answered = request;
}

static bool worker_step(struct state *s, const struct setup *setup)
{
    enum flaw flaw = setup->flaw;
    switch ((enum worker_step)s->worker) {
    case LOOK_REQUEST:
    case COOL_LOOK_REQUEST:                                                 /* before head: who sees a request sees the head it came after */
        s->last_head = (uint8_t)(load(s, WORKER, REQUEST) << 4);
        s->worker++;
        return true;
    case LOOK_GIVE:
    case COOL_LOOK_GIVE:
        s->taken = load(s, WORKER, GIVE_TAIL);
        s->worker++;
        return true;
    case LOOK_HEAD:
    case COOL_LOOK_HEAD: {
        s->last_head |= load(s, WORKER, HEAD);
        bool cool = s->worker == COOL_LOOK_HEAD;
        worker_judge(s, setup, cool ? COOL_EPOLL : COOL_STORE_ARMED);
        s->last_head = 0;
        return true;
    }
    case PUT_STORE_CELL:
        if (!store_weak(s, WORKER, (enum word)(CELL + s->tail % CELLS), s->tail + 1))
            return false;
        s->worker = PUT_STORE_TAIL;
        return true;
    case PUT_STORE_TAIL:
        if (!store(s, WORKER, TAIL, s->tail + 1, flaw == TAIL_STORE_WEAK))
            return false;
        s->tail++;
        s->worker = flaw == TAIL_BEFORE_CELL ? PUT_LATE_STORE_CELL : PUT_LOAD_ASLEEP;
        return true;
    case PUT_LATE_STORE_CELL:
        if (!store_weak(s, WORKER, (enum word)(CELL + (s->tail - 1) % CELLS), s->tail))
            return false;
        s->worker = PUT_LOAD_ASLEEP;
        return true;
    case PUT_LOAD_ASLEEP:
        s->worker = !load(s, WORKER, ASLEEP) ? LOOK_REQUEST : flaw == DAEMON_CLEARS_ASLEEP ? PUT_CLEAR_ASLEEP : PUT_FUTEX_WAKE;
        return true;
    case PUT_CLEAR_ASLEEP:
        if (!store_seq_cst(s, WORKER, ASLEEP, 0))
            return false;
        s->worker = PUT_FUTEX_WAKE;
        return true;
    case PUT_FUTEX_WAKE:
        if (flaw != WORKER_NEVER_WAKES)
            client_wake(s, flaw);
        s->worker = LOOK_REQUEST;
        return true;
    case COOL_STORE_ARMED:
        if (!store(s, WORKER, ARMED, 1, flaw == ARMED_STORE_WEAK))
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
        if (!store_weak(s, WORKER, ARMED, 0))
            return false;
        s->worker = LOOK_REQUEST;
        return true;
    }
    return false;
}

/* ---- The walk ---- */

struct node { struct state state; uint32_t from; };

struct walk {
    const struct setup *setup;
    struct node *node;
    uint32_t    *table;             /* open hashing: number of a node + 1 */
    uint32_t     count, room, mask;
    const char  *complaint;
    uint32_t     complaint_at;
};

static uint32_t state_hash(const struct state *s)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < sizeof *s; i++)
        hash = (hash ^ ((const uint8_t *)s)[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static void walk_grow(struct walk *walk)
{
    walk->room = walk->room ? 2 * walk->room : 1u << 16;
    walk->mask = 4 * walk->room - 1;
    walk->node = realloc(walk->node, walk->room * sizeof *walk->node);
    free(walk->table);
    walk->table = calloc(walk->mask + 1u, sizeof *walk->table);
    assert_non_null(walk->node);
    assert_non_null(walk->table);
    for (uint32_t i = 0; i < walk->count; i++) {
        uint32_t at = state_hash(&walk->node[i].state) & walk->mask;
        while (walk->table[at])
            at = (at + 1) & walk->mask;
        walk->table[at] = i + 1;
    }
}

/* Adds a state that was not seen before. */
static void walk_add(struct walk *walk, const struct state *state, uint32_t from)
{
    if (walk->count == walk->room)
        walk_grow(walk);
    uint32_t at = state_hash(state) & walk->mask;
    for (; walk->table[at]; at = (at + 1) & walk->mask)
        if (memcmp(&walk->node[walk->table[at] - 1].state, state, sizeof *state) == 0)
            return;
    walk->node[walk->count] = (struct node){ *state, from };
    walk->table[at] = ++walk->count;
}

/* Nobody can make a step: is everything done? */
static const char *end_judge(const struct state *s, const struct setup *setup)
{
    if (s->client != CLIENT_DONE)
        return "both sleep, and the client still wants something";
    if (put_wanted(s, setup, s->memory[REQUEST], s->memory[HEAD]))
        return "both sleep, and the worker has left work undone";
    if (s->taken != s->memory[GIVE_TAIL])
        return "both sleep, and a give-back was not seen";
    return NULL;
}

static void walk_complain(struct walk *walk, const char *complaint, uint32_t at)
{
    if (complaint && !walk->complaint) {
        walk->complaint = complaint;
        walk->complaint_at = at;
    }
}

/* Every step that can be made from node `at`. */
static void walk_from(struct walk *walk, uint32_t at)
{
    bool moved = false;
    for (unsigned way = 0; way < 4; way++) {
        struct state next = walk->node[at].state;
        const char *complaint = NULL;
        bool can = way == 0   ? client_step(&next, walk->setup, &complaint)
                   : way == 1 ? worker_step(&next, walk->setup)
                              : flush(&next, way == 2 ? CLIENT : WORKER);
        if (can)
            walk_add(walk, &next, at);
        walk_complain(walk, complaint, at);
        moved |= can;
    }
    if (!moved)
        walk_complain(walk, end_judge(&walk->node[at].state, walk->setup), at);
}

static void walk_print(const struct walk *walk, uint32_t at)
{
    if (at != 0)
        walk_print(walk, walk->node[at].from);
    const struct state *s = &walk->node[at].state;
    print_error("  tail %u head %u asleep %u armed %u request %u eventfd %u | client at '%s' (%u stores under way) | worker at '%s' (%u)\n",
                s->memory[TAIL], s->memory[HEAD], s->memory[ASLEEP], s->memory[ARMED], s->memory[REQUEST], s->eventfd,
                client_step_name[s->client], s->buffered[CLIENT], worker_step_name[s->worker], s->buffered[WORKER]);
}

/* Walks everything, or up to the first complaint. Returns the complaint. */
static const char *walk_run(const struct setup *setup, bool print, uint32_t *ret_states)
{
    struct walk walk = { .setup = setup };
    struct state start;
    memset(&start, 0, sizeof start);
    walk_add(&walk, &start, 0);
    for (uint32_t at = 0; at < walk.count && !walk.complaint; at++)
        walk_from(&walk, at);
    if (walk.complaint && print) {
        print_error("%s, on this way:\n", walk.complaint);
        walk_print(&walk, walk.complaint_at);
    }
    *ret_states = walk.count;
    free(walk.node);
    free(walk.table);
    return walk.complaint;
}

/* ---- Cases ---- */

static const struct setup setups[] = {
    { .wanted = 4, .depth = 0, .supply = 0 },
    { .wanted = 4, .depth = 1, .supply = 2 },
    { .wanted = 4, .depth = 1, .supply = 7 },
    { .wanted = 4, .depth = 2, .supply = 7 },
    { .wanted = 3, .depth = 0, .supply = 0, .gives = true },
    { .wanted = 3, .depth = 1, .supply = 4, .gives = true },
    { .wanted = 3, .depth = 2, .supply = 4, .gives = true },
};
#define SETUPS (sizeof setups / sizeof setups[0])

static void the_protocol_holds(void **state)
{
    for (unsigned i = 0; i < SETUPS; i++) {
        uint32_t states;
        const char *complaint = walk_run(&setups[i], true, &states);
        print_message("wanted %u, depth %u, supply %u, gives %d: %u states\n", setups[i].wanted, setups[i].depth, setups[i].supply,
                      setups[i].gives, states);
        if (complaint)
            fail_msg("%s", complaint);
        assert_true(states > 1000);                                         /* it has walked indeed */
    }
}

/* Is the flaw found in one of the setups? */
static void expect_found(enum flaw flaw)
{
    for (unsigned i = 0; i < SETUPS; i++) {
        struct setup setup = setups[i];
        uint32_t states;
        setup.flaw = flaw;
        const char *complaint = walk_run(&setup, getenv("MORPH_TEST_VERBOSE") != NULL, &states);
        if (!complaint)
            continue;
        print_message("found after %u states: %s\n", states, complaint);
        return;
    }
    fail_msg("the model did not notice");
}

#define FLAW(name, flaw) static void name(void **state) { expect_found(flaw); }
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
