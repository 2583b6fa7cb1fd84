/* gc_fibers.h — threads of the client as fibers, for simulations that interleave them with the collector from a seed (gc_sim.c, fixed_sim.c).
 *
 * Whoever includes it has defined struct runner, what it knows of one thread, before. A fiber yields where its thread would sleep, and wherever else it likes;
 * the simulation decides who goes on. A seed that fails is printed, and MORPH_TEST_SEED runs it alone; MORPH_SIM_SEEDS says how many to run. */
#ifndef UNIT_GC_FIBERS_H
#define UNIT_GC_FIBERS_H

#include <stdio.h>
#include <ucontext.h>

#include "tests/lib/random.h"
#include "tests/unit/gc_sim.h"

#define FIBERS        4
#define STACK_BYTES   (256 * KIB)

static struct test_random draw;
static char failure[512];               /* the first thing that is wrong */

static struct fiber {
    ucontext_t    context;
    char         *stack;
    struct runner runner;
    bool          alive;
    uint32_t     *word, seen;           /* it waits while the word is this; NULL: it does not */
} fiber[FIBERS], *current;
static ucontext_t scheduler;

static uint64_t below(uint64_t bound) { return test_random_below(&draw, bound); }
static bool one_in(uint64_t n) { return below(n) == 0; }

/* ---- In a fiber ---- */

static void yield(void)
{
    if (current)
        swapcontext(&current->context, &scheduler);
}

static void yield_sometimes(void)
{
    if (one_in(3))
        yield();
}

static void wait_for(uint32_t *word, uint32_t seen)
{
    current->word = word;
    current->seen = seen;
    yield();
    current->word = NULL;
}

/* Notes the first thing that is wrong, and never goes on in a fiber. */
static void failed(const char *what, int line, uint64_t id)
{
    if (!failure[0])
        snprintf(failure, sizeof failure, "line %d: %s (object %llu, cycle %llu, kind %d)", line, what, (unsigned long long)id,
                 (unsigned long long)sim.gc->cycles, (int)sim.gc->kind);
    while (current)
        yield();
}
#define must(condition) do { if (!(condition)) failed(#condition, __LINE__, 0); } while (0)
#define must_of(object, condition) do { if (!(condition)) failed(#condition, __LINE__, (object)->id); } while (0)

/* ---- The scheduler ---- */

static __attribute__((noinline)) void context_make(struct fiber *f, void (*body)(void))
{
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = NULL;
    makecontext(&f->context, body, 0);
}

/* The first `count` are alive; each runner is zero. Such a body never returns. */
static void fibers_start(unsigned count, void (*body)(void))
{
    for (unsigned i = 0; i < FIBERS; i++) {
        struct fiber *f = &fiber[i];
        if (!f->stack)
            f->stack = malloc(STACK_BYTES);
        assert_non_null(f->stack);
        f->alive = i < count;
        f->word = NULL;
        memset(&f->runner, 0, sizeof f->runner);
        context_make(f, body);
    }
    sim.wait = wait_for;
    sim.yield = yield_sometimes;
}

static bool fibers_alive(void)
{
    bool alive = false;
    for (unsigned i = 0; i < FIBERS; i++)
        alive = alive || fiber[i].alive;
    return alive;
}

/* Goes on, unless it is gone, or sleeps and nothing wakes it; one in `early` sleepers looks too early. */
static bool fiber_step(struct fiber *f, unsigned early)
{
    if (!f->alive || (f->word && mm_load_relaxed(f->word) == f->seen && !one_in(early)))
        return false;
    current = f;
    swapcontext(&scheduler, &f->context);
    current = NULL;
    return true;
}

static void fibers_stop(void)
{
    sim.wait = NULL;
    sim.yield = NULL;
}

static void fibers_free(void)
{
    for (unsigned i = 0; i < FIBERS; i++) {
        free(fiber[i].stack);
        fiber[i].stack = NULL;
    }
}

/* ---- Seeds ---- */

static void seed_begin(uint64_t seed)
{
    draw = (struct test_random){ seed };
    failure[0] = 0;
}

static void seed_check(uint64_t seed)
{
    if (failure[0] || sim.lie)
        fail_msg("MORPH_TEST_SEED=%llu: %s", (unsigned long long)seed, failure[0] ? failure : sim.lie);
}

/* How many to run, beginning with *ret_first. */
static uint64_t seeds_wanted(uint64_t usual, uint64_t *ret_first)
{
    const char *given = getenv("MORPH_TEST_SEED"), *count = getenv("MORPH_SIM_SEEDS");
    if (test_thread_sanitized())
        test_skip("one thread, and fibers that the sanitizer does not know");
    *ret_first = given ? strtoull(given, NULL, 0) : 1;
    return given ? 1 : count ? strtoull(count, NULL, 0) : usual;
}

#endif
