/* closures.c — closures with environments: typed, untyped, shared, nested, and ones that capture themselves.
 *
 * Hazards 3 and 6: of a closure only the environment is a reference, its function is an address of code; environments mostly have no type.
 * What would break: captured variables that are zero, or a crash at a function's address taken for an object. */
#include "tests/clients/morph/program.h"

typedef struct { int64_t by, count; Leaf *leaf; } CounterEnv;
typedef struct { MorphClosure *first, *second; } ComposedEnv;
typedef struct { MorphClosure *self; Leaf *leaf; uint64_t seed; } SelfEnv;

TYPE(ComposedEnv, 2, offsetof(ComposedEnv, first), offsetof(ComposedEnv, second));

typedef int64_t (*number_function)(MorphContext *ctx, void *env, int64_t number);

static int64_t call(MorphContext *ctx, MorphClosure *closure, int64_t number)
{
    return ((number_function)closure->function)(ctx, closure->env, number);
}

static int64_t counter_call(MorphContext *ctx, void *env, int64_t number)
{
    CounterEnv *counter = env;
    ROOT(counter);
    leaf_check(counter->leaf, (uint64_t)counter->by, "a captured leaf");
    counter->leaf = leaf_new(ctx, (uint64_t)counter->by);
    counter->count++;
    RETURN(number + counter->by, 1);
}

APART static MorphClosure *counter_new(MorphContext *ctx, int64_t by)
{
    CounterEnv *env = mph_alloc(ctx, sizeof *env, NULL);
    env->by = by;
    env->leaf = leaf_new(ctx, (uint64_t)by);
    return closure_new(ctx, (void *)counter_call, env);
}

static int64_t composed_call(MorphContext *ctx, void *env, int64_t number)
{
    ComposedEnv *composed = env;
    return call(ctx, composed->second, call(ctx, composed->first, number));
}

static MorphClosure *compose(MorphContext *ctx, MorphClosure *first, MorphClosure *second)
{
    ComposedEnv *env = mph_alloc(ctx, sizeof *env, &mph_ti_ComposedEnv);
    *env = (ComposedEnv){ first, second };
    return closure_new(ctx, (void *)composed_call, env);
}

/* by + (by + 1) + ... in a tree of closures that nobody has a name for. */
APART static MorphClosure *composed_new(MorphContext *ctx, int64_t by, int64_t many)
{
    if (many == 1)
        return counter_new(ctx, by);
    return compose(ctx, composed_new(ctx, by, many / 2), composed_new(ctx, by + many / 2, many - many / 2));
}

static int64_t self_call(MorphContext *ctx, void *env, int64_t number)
{
    SelfEnv *self = env;
    ROOT(self);
    leaf_check(self->leaf, self->seed, "the leaf of a closure that captures itself");
    if (number == 0)
        RETURN(0, 1);
    Leaf *held = leaf_new(ctx, (uint64_t)number);
    int64_t sum = number + call(ctx, self->self, number - 1);
    leaf_check(held, (uint64_t)number, "a local of a recursive closure");
    RETURN(sum, 1);
}

APART static MorphClosure *self_new(MorphContext *ctx, uint64_t seed)
{
    SelfEnv *env = mph_alloc(ctx, sizeof *env, NULL);
    ROOT(env);
    env->seed = seed;
    env->leaf = leaf_new(ctx, seed);
    env->self = closure_new(ctx, (void *)self_call, env);
    RETURN(env->self, 1);
}

static int64_t plain_call(MorphContext *ctx, void *env, int64_t number)
{
    (void)ctx;
    return env ? -1 : 2 * number;
}

void program_closures(MorphContext *ctx)
{
    MorphClosure *shared = counter_new(ctx, 7);
    ROOT(shared);
    MorphClosure *twice = compose(ctx, compose(ctx, shared, shared), closure_new(ctx, (void *)plain_call, NULL));
    ROOT(twice);
    MorphArray *all = array_new(ctx, sizeof(void *), 1, 0);
    ROOT(all);
    int64_t rounds = (int64_t)scaled(100);
    for (int64_t round = 0; round < rounds; round++) {
        MorphClosure *composed = composed_new(ctx, round, 100);
        ROOT(composed);
        MorphClosure *self = self_new(ctx, (uint64_t)round);
        ROOT(self);
        if (all->length < 40)
            array_push_pointer(ctx, all, composed_new(ctx, (int64_t)all->length, 20));
        scrub();
        churn_and_collect(ctx, 200000);
        EXPECT(call(ctx, composed, 1) == 1 + 100 * round + 99 * 100 / 2, "a hundred composed closures");
        EXPECT(call(ctx, self, 300) == 300 * 301 / 2, "a closure that captures itself");
        EXPECT(call(ctx, twice, round) == 2 * (round + 14), "a closure composed with itself");
        for (size_t i = 0; i < all->length; i++)
            EXPECT(call(ctx, array_pointer(all, i), 0) == (int64_t)i * 20 + 19 * 20 / 2, "closure %zu of an array", i);
    }
    EXPECT(((CounterEnv *)shared->env)->count == 2 * rounds, "a shared counter is at %lld", (long long)((CounterEnv *)shared->env)->count);
    mph_gc_pop_roots(ctx, 3);
}
