/* waiting_model.c — several tracers note that objects wait in a block, and one comes for them (daemon/gc/trace.c: waiting_note(), waiting_take(); elevator.h).
 *
 * A noter sets the object's bit, then the block's word of what waits, then looks whether the block is called, and calls it if not; the taker takes the call back, then what waits,
 * then the bits. The walk ends well if every object has been taken: else one waits in a block that nobody will come to. Each rule is broken in turn, and that must be noticed. */
#include "tests/lib/check.h"
#include "tests/lib/model.h"

#define NOTERS   2u
#define OBJECTS  2u                         /* of each */

enum word { BITS, WAITS = BITS + OBJECTS, CALLED };        /* a word of bits for the first object of each noter, another one for the second; WAITS: a bit for each of them */

enum flaw {
    NO_FLAW,
    WEAK_NOTE,                              /* that something waits is a plain store */
    LOOK_FIRST,                             /* the noter looks at the call before it notes */
    TAKE_FIRST,                             /* the taker takes what waits, and then the call back */
    WAITS_IN_TWO,                           /* it reads what waits, and then writes that nothing does */
    BITS_IN_TWO,                            /* the same of the bits */
    FLAWS
};

struct state {
    struct model_memory memory;
    uint8_t pc[NOTERS], noted[NOTERS], called[NOTERS];
    uint8_t stage, half, read, words, taken;        /* the taker's: words: whose bits it has yet to take */
};

static bool write_seq_cst(struct state *s, unsigned side, unsigned word, uint8_t value) { return model_store_seq_cst(&s->memory, side, word, value); }

/* An atomic read and write is a step if the side's stores have left it. */
static bool set_bits(struct state *s, unsigned side, unsigned word, uint8_t bits)
{
    return write_seq_cst(s, side, word, s->memory.word[word] | bits);
}

static bool note(struct state *s, unsigned side, enum flaw flaw)
{
    uint8_t *pc = &s->pc[side], word = s->noted[side];
    bool moved = true;
    if (s->noted[side] == OBJECTS)
        return false;
    switch (*pc) {
    case 0:
        moved = set_bits(s, side, BITS + word, (uint8_t)(1u << side));
        break;
    case 1:
        if (flaw == LOOK_FIRST)
            s->called[side] = model_load(&s->memory, side, CALLED);
        else
            moved = flaw == WEAK_NOTE ? model_store_weak(&s->memory, side, WAITS, model_load(&s->memory, side, WAITS) | (uint8_t)(1u << word)) : set_bits(s, side, WAITS, (uint8_t)(1u << word));
        break;
    case 2:
        if (flaw == LOOK_FIRST)
            moved = set_bits(s, side, WAITS, (uint8_t)(1u << word));
        else
            s->called[side] = model_load(&s->memory, side, CALLED);
        break;
    default:
        if (!s->called[side] && !set_bits(s, side, CALLED, 1))
            return false;
        s->noted[side]++;
        s->called[side] = 0;
        *pc = 0;
        return true;
    }
    *pc = (uint8_t)(*pc + moved);
    return moved;
}

/* Takes what is in the word: at once, or by reading it and then writing 0. True: it is in *ret. */
static bool take_word(struct state *s, unsigned word, bool in_two, uint8_t *ret)
{
    if (!s->half)
        s->read = s->memory.word[word];
    s->half = in_two && !s->half;
    if (s->half)
        return false;
    s->memory.word[word] = 0;
    *ret = s->read;
    s->read = 0;
    return true;
}

/* All of the taker's accesses are seq_cst, so it has no stores under way. */
static bool take(struct state *s, enum flaw flaw)
{
    enum { CALL, WHAT, OBJECT } stage = s->stage == 2 ? OBJECT : (s->stage == 1) == (flaw == TAKE_FIRST) ? CALL : WHAT;
    uint8_t bits;
    if (s->stage == 0 && !s->half && !s->memory.word[CALLED])
        return false;
    switch (stage) {
    case CALL:
        s->memory.word[CALLED] = 0;
        s->stage++;
        break;
    case WHAT:
        s->stage = (uint8_t)(s->stage + take_word(s, WAITS, flaw == WAITS_IN_TWO, &s->words));
        break;
    case OBJECT:
        if (s->words) {
            unsigned word = (unsigned)__builtin_ctz(s->words);
            if (take_word(s, BITS + word, flaw == BITS_IN_TWO, &bits)) {
                s->taken |= (uint8_t)(bits << word * NOTERS);
                s->words &= (uint8_t)(s->words - 1);
            }
        } else {
            s->stage = 0;
        }
        break;
    }
    return true;
}

static bool step(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint)
{
    struct state *s = state;
    (void)plan, (void)ret_complaint;
    if (way < NOTERS)
        return note(s, way, (enum flaw)flaw);
    return way == NOTERS ? take(s, (enum flaw)flaw) : model_flush(&s->memory, way - NOTERS - 1);
}

static const char *end(const void *state, const void *plan)
{
    const struct state *s = state;
    (void)plan;
    return s->taken == (1u << NOTERS * OBJECTS) - 1 ? NULL : "an object waits in a block that nobody will come to";
}

static void print(const void *state)
{
    const struct state *s = state;
    print_error("noters at %u.%u and %u.%u, taker at %u; bits %x, waits %u, called %u; taken %x\n", s->noted[0], s->pc[0], s->noted[1], s->pc[1], s->stage,
                s->memory.word[BITS] | s->memory.word[BITS + 1] << NOTERS, s->memory.word[WAITS], s->memory.word[CALLED], s->taken);
}

static const struct model_setup setup[] = { { "two noters", NULL } };
static const struct model model = { .state_bytes = sizeof(struct state), .ways = NOTERS + 1 + NOTERS, .setup = setup, .setups = 1, .step = step, .end = end, .print = print };

static void whatever_waits_is_come_for(void **state) { model_holds(&model); }

static void each_flaw_is_noticed(void **state)
{
    for (unsigned flaw = NO_FLAW + 1; flaw < FLAWS; flaw++)
        model_finds(&model, flaw);
}

int main(void)
{
    const struct CMUnitTest cases[] = { test_case(whatever_waits_is_come_for), test_case(each_flaw_is_noticed) };
    return test_run(cases);
}
