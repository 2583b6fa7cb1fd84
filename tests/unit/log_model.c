/* log_model.c — card bytes, card logs and the daemon's carried set across pauses ([protocols.card-log], DESIGN R4 and R5), walked
 * (tests/lib/model.h).
 *
 * Three machines: two threads that store references into old objects, and the daemon. Card 0 is old and has two references, so that the
 * threads meet on it; card 1 has one, in a block that turns old as it stands and dies in turn. A store is the steps of morph_store()
 * and morph_store_slow(): the first one into a card says which reference it was, the second one makes the card DIRTY; a pause can begin only between two stores, where the real path has a safepoint, and with the store
 * buffers empty, which the exchange of the slot's state sees to (safepoint_model.c). So a pause is one step here. It drains
 * the logs; a minor one also scans the cards, or the one reference that the byte names, and each young object that it meets gets older and at the
 * second time is old.
 * Card 0 has a third reference, to a young object, in an object that was born old: that one left no card. The daemon hears of it while the threads run, and
 * makes the card DIRTY and carries it; or the pause does ([gc.left]).
 * The walk asserts, as each pause begins and as it ends, of each card of an old block
 *   - if it holds a reference to a young object, the daemon knows of it: it is carried, or logged, or covered by an overflow;
 *   - if its byte is not CLEAN, the same: nobody would log it again.
 *
 * Then each rule is broken in turn. These make no difference (each was tried), and so are not in the list:
 *   - the order of the stores of card, log entry and count; the look before the store, if no pause can begin in between;
 *   - a carried card that is CLEAN, or one without young references: logged or scanned once more, nothing else;
 *   - an overflow flag or a count that is not reset: the same; log entries that are not read when there was an overflow.
 */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

#include "shm/layout.h"

/* ---- What is broken ---- */

enum flaw {
    NO_FLAW,
    /* the client */
    LOOKS_BEFORE_STORING,                   /* at the card, with a safepoint in between */
    STOPS_BEFORE_LOGGING,                   /* a safepoint between the store and the look at the card */
    NO_DIRTY,                               /* the card is logged and left CLEAN */
    NO_SWAP,                                /* the first store's word is stored plainly, where another thread's may be by now */
    LOSER_SILENT,                           /* whoever was not the first leaves the word as it is */
    SECOND_SILENT,                          /* a later store does */
    NO_LOG,                                 /* the card is DIRTY and not logged */
    NO_OVERFLOW,                            /* the flag is not set */
    ATTACH_RESETS,                          /* who attaches to a slot begins an empty log */
    /* the daemon */
    RESETS_WITHOUT_READING,                 /* the count, in a pause that scans no cards */
    DRAINS_ONE_LOG,
    CLEANS_ONE_OF_MANY,                     /* takes a DIRTY card for one whose first reference alone was stored into */
    IGNORES_OVERFLOW,
    OVERFLOW_OF_ONE,                        /* looks at the flag of one thread only */
    FORGETS_DRAINED,                        /* in a pause that scans no cards: logs read, cards not carried */
    FORGETS_CARRIED,                        /* looks at the logs only */
    YOUNG_NOT_CARRIED,                      /* a card with young references stays DIRTY, and is not carried */
    YOUNG_CLEANED,                          /* it becomes CLEAN, and is not carried */
    DIRTY_NOT_CARRIED,                      /* a card without young references stays DIRTY, and is not carried */
    OLD_STAYS_YOUNG,                        /* the card bytes of a block that turns old stay as they were */
    OLD_NOT_CARRIED,                        /* young references in a block that turns old are not added */
    HEARS_AND_LEAVES_BYTE,                  /* what was born old: its card is carried, and its byte stays as it is */
    HEARS_AND_CARRIES_NOT,                  /* and the other way round */
};

struct plan {
    uint8_t log;                            /* entries in a log */
    uint8_t stores[2];                      /* that each thread makes */
    uint8_t pauses;
};

/* ---- State ---- */

#define THREADS 2u
#define REFS    4u
#define BORN    3u                          /* the reference of the object that was born old */
#define CARDS   2u
#define ENTRIES 2u                          /* entries at most */

enum word { REF, CARD = REF + REFS, COUNT = CARD + CARDS, OVERFLOW = COUNT + THREADS, ENTRY = OVERFLOW + THREADS };
enum ref { NONE, YOUNG, OLDER };            /* what a reference refers to; NONE: nothing, or an old object */

static const uint8_t card_of[REFS] = { 0, 0, 1, 0 };

#define THREAD_STEPS(X)                                                                             \
    X(SAFE, "at a safepoint")                   X(EARLY_LOOK, "load card (early)")                  \
    X(EARLY_SAFE, "at a safepoint (early)")     X(STORE, "store reference")                         \
    X(LATE_SAFE, "at a safepoint (late)")       X(LOOK, "load card")                                \
    X(MARK, "swap the word in, or store DIRTY")     X(LOG, "store entry and count, or overflow")
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

struct thread { uint8_t step, ref, value, card, stores; };

struct state {
    struct model_memory memory;
    struct thread thread[THREADS];
    uint8_t carried, old;                   /* the daemon's: bit sets of cards; old: their blocks are */
    uint8_t pauses;
    uint8_t heard;                          /* of the object that was born old */
};

static uint8_t entry(unsigned thread, unsigned i) { return (uint8_t)(ENTRY + thread * ENTRIES + i); }

/* ---- The client ---- */

/* `choice` says what is stored where (each thread has one reference on card 0, the one on card 1 is for both), or that another thread
 * takes the slot. */
static bool store_begin(struct state *s, unsigned side, enum flaw flaw, unsigned choice)
{
    struct thread *thread = &s->thread[side];
    if (choice == 4)
        return flaw == ATTACH_RESETS && model_store_weak(&s->memory, side, COUNT + side, 0);
    if (thread->stores == 0)
        return false;
    thread->stores--;
    thread->ref = (uint8_t)(choice & 2 ? 2 : side);
    thread->value = choice & 1 ? YOUNG : NONE;
    thread->step = flaw == LOOKS_BEFORE_STORING ? EARLY_LOOK : STORE;
    return true;
}

static void store_end(struct thread *thread)
{
    *thread = (struct thread){ .step = SAFE, .stores = thread->stores };
}

static void card_judge(struct thread *thread)
{
    if (thread->card < MM_CARD_DIRTY)
        thread->step = MARK;
    else
        store_end(thread);
}

static bool mark(struct state *s, unsigned side, enum flaw flaw)
{
    struct thread *thread = &s->thread[side];
    uint8_t card = card_of[thread->ref], word = (uint8_t)(MM_CARD_SLOT + thread->ref);
    bool first = true;
    if (thread->card == MM_CARD_CLEAN && flaw == NO_DIRTY)
        ;
    else if (thread->card == MM_CARD_CLEAN && flaw == NO_SWAP)
        first = model_store_weak(&s->memory, side, CARD + card, word);
    else if (thread->card == MM_CARD_CLEAN) {
        if (!model_cas(&s->memory, side, CARD + card, MM_CARD_CLEAN, word, &first))
            return false;
    } else {
        first = false;
    }
    if (first) {
        thread->step = LOG;
        return true;
    }
    if (flaw == NO_SWAP && thread->card == MM_CARD_CLEAN)
        return false;                                       /* the buffer is full */
    bool silent = thread->card == MM_CARD_CLEAN ? flaw == LOSER_SILENT : flaw == SECOND_SILENT;
    if (!silent && !model_store_weak(&s->memory, side, CARD + card, MM_CARD_DIRTY))
        return false;
    store_end(thread);
    return true;
}

/* Stores into the own buffer, and loads of words that nobody else writes: one step. */
static bool log_card(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw)
{
    struct thread *thread = &s->thread[side];
    struct model_memory *memory = &s->memory;
    uint8_t count = model_load(memory, side, COUNT + side);
    if (memory->buffered[side] + 2u > MODEL_BUFFER)
        return false;
    if (flaw != NO_LOG && count < plan->log) {
        model_store_weak(memory, side, entry(side, count), card_of[thread->ref]);
        model_store_weak(memory, side, COUNT + side, count + 1);
    } else if (flaw != NO_LOG && flaw != NO_OVERFLOW) {
        model_store_weak(memory, side, OVERFLOW + side, 1);
    }
    store_end(thread);
    return true;
}

static bool store_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw)
{
    struct thread *thread = &s->thread[side];
    switch ((enum thread_step)thread->step) {
    case EARLY_LOOK:
        thread->card = model_load(&s->memory, side, CARD + card_of[thread->ref]);
        thread->step = EARLY_SAFE;
        return true;
    case EARLY_SAFE:
        thread->step = STORE;
        return true;
    case STORE:
        if (!model_store_weak(&s->memory, side, REF + thread->ref, thread->value))
            return false;
        if (flaw == LOOKS_BEFORE_STORING)
            card_judge(thread);
        else
            thread->step = flaw == STOPS_BEFORE_LOGGING ? LATE_SAFE : LOOK;
        return true;
    case LATE_SAFE:
        thread->step = LOOK;
        return true;
    case LOOK:
        thread->card = model_load(&s->memory, side, CARD + card_of[thread->ref]);
        card_judge(thread);
        return true;
    case MARK:
        return mark(s, side, flaw);
    case LOG:
        return log_card(s, side, plan, flaw);
    default:
        return false;
    }
}

static bool thread_step(struct state *s, unsigned side, const struct plan *plan, enum flaw flaw, unsigned choice)
{
    if (s->thread[side].step == SAFE)
        return store_begin(s, side, flaw, choice);
    return choice == 0 && store_step(s, side, plan, flaw);
}

/* ---- The daemon ---- */

static bool stopped(const struct state *s)
{
    for (unsigned i = 0; i < THREADS; i++) {
        uint8_t step = s->thread[i].step;
        if ((step != SAFE && step != EARLY_SAFE && step != LATE_SAFE) || !model_drained(&s->memory, i))
            return false;
    }
    return true;
}

static uint8_t dirty_cards(const struct state *s)
{
    uint8_t set = 0;
    for (unsigned card = 0; card < CARDS; card++)
        set |= s->memory.word[CARD + card] != MM_CARD_CLEAN && s->memory.word[CARD + card] != MM_CARD_YOUNG ? 1u << card : 0;
    return set & s->old;
}

static uint8_t cards_with_young(const struct state *s)
{
    uint8_t set = 0;
    for (unsigned ref = 0; ref < REFS; ref++)
        set |= s->memory.word[REF + ref] != NONE && (ref != BORN || s->heard) ? 1u << card_of[ref] : 0;
    return set & s->old;
}

/* Reads and resets all logs: the set of cards that the daemon knows of now. */
static uint8_t drain(struct state *s, enum flaw flaw, bool minor)
{
    uint8_t *word = s->memory.word;
    uint8_t known = flaw == FORGETS_CARRIED ? 0 : s->carried;
    for (unsigned i = 0; i < THREADS; i++) {
        bool reads = !(flaw == RESETS_WITHOUT_READING && !minor) && !(flaw == DRAINS_ONE_LOG && i > 0);
        for (unsigned k = 0; k < word[COUNT + i] && reads; k++)
            known |= (uint8_t)(1u << word[entry(i, k)]);
        if (word[OVERFLOW + i] && flaw != IGNORES_OVERFLOW && !(flaw == OVERFLOW_OF_ONE && i > 0))
            known |= dirty_cards(s);
        for (unsigned k = 0; k < ENTRIES; k++)
            word[entry(i, k)] = 0;                                          /* equal states look equal */
        word[COUNT + i] = word[OVERFLOW + i] = 0;
    }
    return known & s->old;
}

static const char *judge(const struct state *s, uint8_t known)
{
    if (cards_with_young(s) & ~known)
        return "a young object is referred to from a card that the daemon does not know of";
    if (dirty_cards(s) & ~known)
        return "a card that is not CLEAN is one that the daemon does not know of";
    return NULL;
}

/* Does a scan of the card look at the reference? */
static bool looks_at(uint8_t byte, unsigned ref, enum flaw flaw)
{
    if (flaw == CLEANS_ONE_OF_MANY && byte == MM_CARD_DIRTY)
        byte = MM_CARD_SLOT;
    return byte < MM_CARD_SLOT || byte >= MM_CARD_DIRTY || byte == MM_CARD_SLOT + ref;
}

/* The fate of a scanned card: carried while a young reference was seen on it. */
static void card_settle(struct state *s, unsigned card, enum flaw flaw)
{
    bool young = false;
    for (unsigned ref = 0; ref < REFS; ref++)
        young |= card_of[ref] == card && s->memory.word[REF + ref] != NONE && looks_at(s->memory.word[CARD + card], ref, flaw);
    bool dirty = young ? flaw != YOUNG_CLEANED : flaw == DIRTY_NOT_CARRIED;
    s->memory.word[CARD + card] = dirty ? MM_CARD_DIRTY : MM_CARD_CLEAN;
    if (young && flaw != YOUNG_NOT_CARRIED && flaw != YOUNG_CLEANED)
        s->carried |= (uint8_t)(1u << card);
}

/* The young objects that are met get older. */
static void scan(struct state *s, uint8_t known, enum flaw flaw)
{
    for (unsigned ref = 0; ref < REFS; ref++) {
        uint8_t *value = &s->memory.word[REF + ref], card = card_of[ref];
        if (!(s->old & 1u << card) || (known & 1u << card && looks_at(s->memory.word[CARD + card], ref, flaw)))
            *value = *value == YOUNG ? OLDER : NONE;
    }
    s->carried = 0;
    for (unsigned card = 0; card < CARDS; card++)
        if (known & 1u << card)
            card_settle(s, card, flaw);
}

/* The block of card 1 turns old as it stands; or nothing in it is alive, and it is a block for young objects again. */
static void block_turn(struct state *s, enum flaw flaw)
{
    uint8_t bit = 1u << 1;
    s->old ^= bit;
    if (!(s->old & bit)) {
        s->memory.word[REF + 2] = NONE;
        s->memory.word[CARD + 1] = MM_CARD_YOUNG;
        s->carried &= (uint8_t)~bit;
        return;
    }
    if (flaw != OLD_STAYS_YOUNG)
        card_settle(s, 1, flaw);
    if (flaw == OLD_NOT_CARRIED)
        s->carried &= (uint8_t)~bit;
}

/* The daemon has read the object that was born old, and found a young reference. */
static bool hear(struct state *s, enum flaw flaw)
{
    if (s->heard)
        return false;
    s->heard = 1;
    if (flaw != HEARS_AND_CARRIES_NOT)
        s->carried |= 1u << card_of[BORN];
    if (flaw != HEARS_AND_LEAVES_BYTE)
        s->memory.word[CARD + card_of[BORN]] = MM_CARD_DIRTY;
    return true;
}

/* choice: bit 0: a minor collection; bit 1: the block of card 1 turns, too. */
static bool pause_step(struct state *s, enum flaw flaw, unsigned choice, const char **ret_complaint)
{
    bool minor = choice & 1;
    if (s->pauses == 0 || !stopped(s) || (choice & 2 && !minor))
        return false;
    s->pauses--;
    uint8_t known = drain(s, flaw, minor);
    *ret_complaint = judge(s, known);
    if (hear(s, NO_FLAW))
        known |= s->carried;
    if (minor)
        scan(s, known, flaw);
    else if (flaw != FORGETS_DRAINED)
        s->carried = known;
    if (choice & 2)
        block_turn(s, flaw);
    if (!*ret_complaint)
        *ret_complaint = judge(s, s->carried);
    return true;
}

/* ---- The model ---- */

enum { CHOICES = 5, WAY_PAUSE = THREADS * CHOICES, WAY_FLUSH = WAY_PAUSE + 4, WAY_HEAR = WAY_FLUSH + THREADS, WAYS };

static void start(void *state, const void *plan_)
{
    struct state *s = state;
    const struct plan *plan = plan_;
    for (unsigned i = 0; i < THREADS; i++)
        s->thread[i].stores = plan->stores[i];
    s->pauses = plan->pauses;
    s->old = 1u << 0;
    s->memory.word[CARD + 0] = MM_CARD_CLEAN;
    s->memory.word[CARD + 1] = MM_CARD_YOUNG;
    s->memory.word[REF + BORN] = YOUNG;
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    if (way < WAY_PAUSE)
        return thread_step(s, way / CHOICES, plan, (enum flaw)flaw, way % CHOICES);
    if (way < WAY_FLUSH)
        return pause_step(s, (enum flaw)flaw, way - WAY_PAUSE, ret_complaint);
    if (way < WAY_HEAR)
        return model_flush(&s->memory, way - WAY_FLUSH);
    return hear(s, (enum flaw)flaw);
}

static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    return s->thread[0].stores + s->thread[1].stores + s->pauses ? "something is left to do, and nobody can" : NULL;
}

static void print(const void *state)
{
    const struct state *s = state;
    const uint8_t *word = s->memory.word;
    print_error("  refs %u %u %u (%s) | %u, cards %u | %u, carried %u, old %u", word[REF], word[REF + 1], word[REF + BORN], s->heard ? "heard" : "not heard", word[REF + 2], word[CARD], word[CARD + 1],
                s->carried, s->old);
    for (unsigned i = 0; i < THREADS; i++)
        print_error(" | thread %u: count %u overflow %u, reference %u, at '%s' (%u stores under way)", i, word[COUNT + i], word[OVERFLOW + i],
                    s->thread[i].ref, thread_step_name[s->thread[i].step], s->memory.buffered[i]);
    print_error("\n");
}

static const struct model_setup setups[] = {
    { "one thread, three stores, a log of one", &(struct plan){ .log = 1, .stores = { 0, 3 }, .pauses = 3 } },
    { "two stores each, a log of one", &(struct plan){ .log = 1, .stores = { 2, 2 }, .pauses = 2 } },
    { "two stores and one, a log of two", &(struct plan){ .log = 2, .stores = { 2, 1 }, .pauses = 3 } },
    { "one store each, many pauses", &(struct plan){ .log = 1, .stores = { 1, 1 }, .pauses = 5 } },
};
static const struct model model = {
    .state_bytes = sizeof(struct state), .ways = WAYS, .setup = setups, .setups = sizeof setups / sizeof setups[0],
    .start = start, .step = step, .end = end, .print = print,
};

/* ---- Cases ---- */

static void the_protocol_holds(void **state) { model_holds(&model); }

#define FLAW(name, flaw) static void name(void **state) { model_finds(&model, flaw); }
FLAW(finds_look_before_store, LOOKS_BEFORE_STORING)
FLAW(finds_stop_before_log, STOPS_BEFORE_LOGGING)
FLAW(finds_card_left_clean, NO_DIRTY)
FLAW(finds_card_not_logged, NO_LOG)
FLAW(finds_word_stored_plainly, NO_SWAP)
FLAW(finds_lost_race_ignored, LOSER_SILENT)
FLAW(finds_second_store_ignored, SECOND_SILENT)
FLAW(finds_dirty_card_taken_for_one_word, CLEANS_ONE_OF_MANY)
FLAW(finds_overflow_not_said, NO_OVERFLOW)
FLAW(finds_log_reset_by_attach, ATTACH_RESETS)
FLAW(finds_log_reset_unread, RESETS_WITHOUT_READING)
FLAW(finds_one_log_not_drained, DRAINS_ONE_LOG)
FLAW(finds_overflow_ignored, IGNORES_OVERFLOW)
FLAW(finds_overflow_of_one_thread_ignored, OVERFLOW_OF_ONE)
FLAW(finds_drained_cards_forgotten, FORGETS_DRAINED)
FLAW(finds_carried_cards_forgotten, FORGETS_CARRIED)
FLAW(finds_young_card_not_carried, YOUNG_NOT_CARRIED)
FLAW(finds_young_card_cleaned, YOUNG_CLEANED)
FLAW(finds_dirty_card_not_carried, DIRTY_NOT_CARRIED)
FLAW(finds_old_block_with_young_cards, OLD_STAYS_YOUNG)
FLAW(finds_old_block_not_carried, OLD_NOT_CARRIED)
FLAW(finds_card_heard_of_but_not_dirty, HEARS_AND_LEAVES_BYTE)
FLAW(finds_card_heard_of_but_not_carried, HEARS_AND_CARRIES_NOT)

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(the_protocol_holds),
        test_case(finds_look_before_store),
        test_case(finds_stop_before_log),
        test_case(finds_card_left_clean),
        test_case(finds_card_not_logged),
        test_case(finds_word_stored_plainly),
        test_case(finds_lost_race_ignored),
        test_case(finds_second_store_ignored),
        test_case(finds_dirty_card_taken_for_one_word),
        test_case(finds_overflow_not_said),
        test_case(finds_log_reset_by_attach),
        test_case(finds_log_reset_unread),
        test_case(finds_one_log_not_drained),
        test_case(finds_overflow_ignored),
        test_case(finds_overflow_of_one_thread_ignored),
        test_case(finds_drained_cards_forgotten),
        test_case(finds_carried_cards_forgotten),
        test_case(finds_young_card_not_carried),
        test_case(finds_young_card_cleaned),
        test_case(finds_dirty_card_not_carried),
        test_case(finds_old_block_with_young_cards),
        test_case(finds_old_block_not_carried),
        test_case(finds_card_heard_of_but_not_dirty),
        test_case(finds_card_heard_of_but_not_carried),
    };
    return test_run(cases);
}
