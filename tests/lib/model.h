/* model.h — models: small machines that share memory, and a walk through every interleaving of their steps.
 *
 * A model's state is plain bytes without padding. Its step function tries one of the numbered ways on from a state: which machine
 * moves, which of its choices it takes, or which store buffer delivers. A step is one access to a shared word, or one system call.
 *
 * Memory is x86-TSO. A plain (relaxed, release) store goes into the side's store buffer and reaches memory at any later time, in
 * order; a load sees the own buffer first; a seq_cst store, xchg or compare-and-swap waits until the buffer is empty. System calls
 * do not drain the buffer: the kernel often does, but no protocol leans on it. Sleep has no time-out: the 20 ms of the real code
 * are for a peer that died, not for a wake that was lost.
 *
 * The walk visits each reachable state once, and complains
 *   - where a step says that something broke;
 *   - where nobody can move and the model does not call it a good end (a lost wake-up ends there);
 *   - where no good end can be reached any more, whatever happens (machines that turn in circles end there).
 * A complaint comes with the shortest way to it.
 */
#ifndef TEST_MODEL_H
#define TEST_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Memory ---- */

#define MODEL_WORDS   24u
#define MODEL_SIDES   3u
#define MODEL_BUFFER  4u        /* stores that may be under way on one side */

struct model_memory {
    uint8_t word[MODEL_WORDS];
    uint8_t at[MODEL_SIDES][MODEL_BUFFER], value[MODEL_SIDES][MODEL_BUFFER], buffered[MODEL_SIDES];     /* oldest first */
};

uint8_t model_load(const struct model_memory *memory, unsigned side, unsigned word);

/* False: the step cannot be made now, the buffer is full (weak) or stores are still under way (seq_cst). */
bool model_store_weak(struct model_memory *memory, unsigned side, unsigned word, uint8_t value);
bool model_store_seq_cst(struct model_memory *memory, unsigned side, unsigned word, uint8_t value);
bool model_store(struct model_memory *memory, unsigned side, unsigned word, uint8_t value, bool weak);

/* The same; whether it was swapped goes to *ret_swapped. */
bool model_cas(struct model_memory *memory, unsigned side, unsigned word, uint8_t expected, uint8_t desired, bool *ret_swapped);

/* Delivers the oldest store of a side. False: there is none. */
bool model_flush(struct model_memory *memory, unsigned side);

/* No store of this side is under way. */
static inline bool model_drained(const struct model_memory *memory, unsigned side) { return memory->buffered[side] == 0; }

/* The word whose store a flush would deliver; only if the side is not drained. */
static inline unsigned model_oldest(const struct model_memory *memory, unsigned side) { return memory->at[side][0]; }

/* ---- The walk ---- */

#define MODEL_STATE_MAX 256u

/* One of the situations in which a model is walked. The plan is the model's own. */
struct model_setup { const char *name; const void *plan; };

struct model {
    size_t   state_bytes;       /* at most MODEL_STATE_MAX; the walk starts in a state of zeroes, as `start` changes it */
    unsigned ways;
    const struct model_setup *setup;
    unsigned setups;

    void (*start)(void *state, const void *plan);           /* NULL: all zero */

    /* One step. False: there is none in this way, the state is as it was. *ret_complaint is set if the step shows that something broke.
     * `flaw` is 0, or the rule that is broken on purpose. */
    bool (*step)(void *state, const void *plan, unsigned flaw, unsigned way, const char **ret_complaint);

    /* Nobody can move: NULL if it is a good end, else what is wrong with it. */
    const char *(*end)(const void *state, const void *plan);

    void (*print)(const void *state);                       /* one line, by print_error */
};

/* Walks every setup of the model as it is; fails the case with the complaint, and prints the way to it. */
void model_holds(const struct model *model);

/* Fails the case if the broken rule goes unnoticed in all setups. MORPH_TEST_VERBOSE prints the way to what was found. */
void model_finds(const struct model *model, unsigned flaw);

#endif
