/* threads.c — four threads with contexts of their own: one allocates and sends, one receives and allocates, one waits, one computes.
 *
 * Hazards 1 and 7, all at once: collections find a thread in the middle of an allocation, one in a wait on a channel for nearly the whole run,
 * and one in a loop that calls nothing. All of them hold objects in their stacks and registers only. What would break: a collection that does
 * not wait for a thread, or waits for ever; a thread whose stack or registers are not looked at because it is not in a call. */
#include <stdatomic.h>

#include "tests/clients/morph/program.h"

typedef struct { MorphChannel *lists, *end, *answer; atomic_int *finished; uint64_t many; } Shared;

static uint64_t work_send(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    ROOT(shared);
    for (uint64_t i = 0; i < shared->many; i++) {
        channel_send(shared->lists, (uintptr_t)list_new(ctx, 1 + i % 20, i));
        churn(ctx, 2000);
        if (i % 256 == 0)
            mph_gc_collect(ctx);
    }
    RETURN(shared->many, 1);
}

/* Keeps the last one besides. */
static uint64_t work_receive(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    ROOT(shared);
    Node *before = NULL;
    for (uint64_t i = 0; i < shared->many; i++) {
        uint64_t value = 0;
        EXPECT(channel_receive(shared->lists, &value), "list %llu", (unsigned long long)i);
        Node *list = (Node *)(uintptr_t)value;
        ROOT(list);
        churn(ctx, 3000);
        list_check(list, 1 + i % 20, i, "a list from another thread");
        if (before)
            list_check(before, 1 + (i - 1) % 20, i - 1, "the list before");
        before = list;
    }
    RETURN(shared->many, 1);
}

/* Waits from the first moment to the last, holding what nobody else does, and takes a list with it. */
static uint64_t work_wait(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    Leaf *held = leaf_new(ctx, 31);
    Node *list = list_new(ctx, 100, 32);
    uint64_t value = 0;
    EXPECT(channel_receive(shared->end, &value), "the end");
    leaf_check(held, 31, "held while waiting");
    list_check(list, 100, 32, "held while waiting");
    leaf_check((Leaf *)(uintptr_t)value, 33, "what came at the end");
    channel_send(shared->answer, (uintptr_t)list_new(ctx, 10, 34));
    return 1;
}

/* Calls nothing for the whole run: numbers, and reads of what it holds. */
static uint64_t work_compute(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    const Leaf *held = leaf_new(ctx, 41);
    const Node *list = list_new(ctx, 100, 42);
    atomic_int *finished = shared->finished;
    uint64_t number = 1, first = held->word[0], turns = 0;
    do {
        for (unsigned i = 0; i < 100000; i++)
            number = number * 6364136223846793005u + (((const volatile Leaf *)held)->word[0] == first);
        turns++;
    } while (atomic_load_explicit(finished, memory_order_acquire) == 0);
    leaf_check(held, 41, "held while computing");
    list_check(list, 100, 42, "held while computing");
    EXPECT(number != 0 && turns > 0, "a computation");
    return 1;
}

static MorphThread *spawn(MorphContext *ctx, thread_work work, Shared *shared)
{
    return thread_spawn(ctx, closure_new(ctx, (void *)work, shared));
}

static void together(MorphContext *ctx, uint64_t many)
{
    static atomic_int finished;
    atomic_store_explicit(&finished, 0, memory_order_relaxed);
    Shared *shared = mph_alloc(ctx, sizeof *shared, NULL);
    ROOT(shared);
    *shared = (Shared){ channel_new(ctx, 4), channel_new(ctx, 1), channel_new(ctx, 1), &finished, many };
    MorphThread *wait = spawn(ctx, work_wait, shared), *compute = spawn(ctx, work_compute, shared);
    MorphThread *send = spawn(ctx, work_send, shared), *receive = spawn(ctx, work_receive, shared);
    ROOT(wait);
    ROOT(compute);
    ROOT(send);
    ROOT(receive);
    for (unsigned i = 0; i < 50; i++)
        churn_and_collect(ctx, 50000);
    EXPECT(thread_join(send) == many && thread_join(receive) == many, "what sender and receiver say");
    atomic_store_explicit(&finished, 1, memory_order_release);
    uint64_t answer = 0;
    channel_send(shared->end, (uintptr_t)leaf_new(ctx, 33));
    EXPECT(channel_receive(shared->answer, &answer), "an answer");
    EXPECT(thread_join(wait) == 1 && thread_join(compute) == 1, "what the others say");
    churn_and_collect(ctx, 200000);
    list_check((Node *)(uintptr_t)answer, 10, 34, "an answer from a thread that has ended");
}

/* Many that come and go, each with a context, some at the same time. */
static uint64_t work_brief(MorphContext *ctx, void *env)
{
    Leaf *leaf = env;
    Node *list = list_new(ctx, 50, leaf->word[1]);
    churn(ctx, 50000);
    list_check(list, 50, leaf->word[1], "a brief thread");
    return leaf->word[1];
}

static void brief(MorphContext *ctx, uint64_t seed)
{
    MorphThread *thread[4];
    for (uint64_t i = 0; i < 4; i++)
        thread[i] = spawn(ctx, work_brief, (Shared *)(void *)leaf_new(ctx, seed + i));
    for (uint64_t i = 0; i < 4; i++)
        EXPECT(thread_join(thread[i]) == mix(seed + i + 1), "what a brief thread says");
    mph_gc_collect(ctx);
}

void program_threads(MorphContext *ctx)
{
    for (uint64_t round = 0; round < scaled(3); round++)
        together(ctx, scaled(1500));
    for (uint64_t round = 0; round < scaled(30); round++)
        brief(ctx, round * 4);
}
