/* channels.c — channels between several senders and receivers, closed ones, full ones, and numbers and references in one ring.
 *
 * Hazards 6 and 7: lock, conditions and ring are memory of the heap. What would break: a lock that moves or is freed while somebody waits
 * on it; a ring whose contents nobody looks at; a thread that cannot be stopped while it waits. */
#include "tests/clients/morph/program.h"

#define SENDERS 2
#define RECEIVERS 2

typedef struct { MorphChannel *tasks, *results; uint64_t first, many; } Shared;

static Shared *shared_new(MorphContext *ctx, MorphChannel *tasks, MorphChannel *results, uint64_t first, uint64_t many)
{
    Shared *r = mph_alloc(ctx, sizeof *r, NULL);
    *r = (Shared){ tasks, results, first, many };
    return r;
}

/* A task is its number, and then a list of that seed. A pair may be torn apart by another sender, so the list carries the number too. */
APART static void task_send(MorphContext *ctx, MorphChannel *tasks, uint64_t seed)
{
    channel_send(tasks, (uintptr_t)pair_new(ctx, list_new(ctx, 1 + seed % 5, seed), string_number(ctx, (int64_t)seed), seed));
}

static uint64_t sender(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    ROOT(shared);
    for (uint64_t i = 0; i < shared->many; i++) {
        task_send(ctx, shared->tasks, shared->first + i);
        churn(ctx, 1000);
    }
    RETURN(shared->many, 1);
}

static uint64_t number_parse(const MorphString *string)
{
    uint64_t r = 0;
    for (size_t i = 0; i < string->length; i++)
        r = r * 10 + (uint64_t)(string->data[i] - '0');
    return r;
}

/* Verifies what comes, and answers with a number that no reference looks like, or a leaf. */
static uint64_t receiver(MorphContext *ctx, void *env)
{
    Shared *shared = env;
    uint64_t value, count = 0;
    while (channel_receive(shared->tasks, &value)) {
        Pair *task = (Pair *)(uintptr_t)value;
        ROOT(task);
        value = 0;
        churn(ctx, 2000);
        uint64_t seed = number_parse(task->right);
        pair_check(task, seed, "a task");
        list_check(task->left, 1 + seed % 5, seed, "a task's list");
        channel_send(shared->results, seed % 2 ? seed << 1 | 1 : (uintptr_t)leaf_new(ctx, seed));
        count++;
    }
    return count;
}

/* The sum of the seeds; a leaf tells its own by being the one that it must be. */
static uint64_t result_take(MorphChannel *results, uint64_t many)
{
    uint64_t value = 0;
    EXPECT(channel_receive(results, &value), "a result");
    if (value & 1)
        return value >> 1;
    const Leaf *leaf = (const Leaf *)(uintptr_t)value;
    for (uint64_t seed = 0; seed < many; seed += 2)
        if (leaf->word[0] == mix(seed)) {
            leaf_check(leaf, seed, "a result");
            return seed;
        }
    EXPECT(false, "a result begins with %#llx", (unsigned long long)leaf->word[0]);
    return 0;
}

static void exchange(MorphContext *ctx, size_t capacity, uint64_t each)
{
    MorphChannel *tasks = channel_new(ctx, capacity), *results = channel_new(ctx, capacity);
    ROOT(tasks);
    ROOT(results);
    MorphThread *threads[SENDERS + RECEIVERS];
    uint64_t received = 0, sum = 0, all = SENDERS * each;
    for (uint64_t i = 0; i < SENDERS + RECEIVERS; i++) {
        void *work = i < SENDERS ? (void *)sender : (void *)receiver;
        threads[i] = thread_spawn(ctx, closure_new(ctx, work, shared_new(ctx, tasks, results, i * each, each)));
    }
    for (uint64_t i = 0; i < all; i++) {
        sum += result_take(results, all);
        churn(ctx, 500);
        if (i % 128 == 0)
            mph_gc_collect(ctx);
    }
    channel_close(tasks);
    for (uint64_t i = 0; i < SENDERS + RECEIVERS; i++)
        received += i < SENDERS ? thread_join(threads[i]) * 0 : thread_join(threads[i]);
    EXPECT(received == all && sum == all * (all - 1) / 2, "%llu tasks, of sum %llu", (unsigned long long)received, (unsigned long long)sum);
    mph_gc_pop_roots(ctx, 2);
}

/* One thread, round and round a ring that is never empty. */
static void rounds(MorphContext *ctx, size_t capacity, uint64_t many)
{
    MorphChannel *channel = channel_new(ctx, capacity);
    ROOT(channel);
    for (uint64_t i = 0; i < many + capacity - 1; i++) {
        uint64_t value = 0;
        channel_send(channel, (uintptr_t)list_new(ctx, 3, i));
        churn(ctx, 300);
        if (i + 1 < capacity)
            continue;
        EXPECT(channel_receive(channel, &value), "a ring that is not empty");
        list_check((Node *)(uintptr_t)value, 3, i + 1 - capacity, "once round the ring");
    }
    channel_close(channel);
    for (uint64_t i = many; i < many + capacity - 1; i++) {
        uint64_t value = 0;
        churn_and_collect(ctx, 20000);
        EXPECT(channel_receive(channel, &value), "a closed channel gives what is left");
        list_check((Node *)(uintptr_t)value, 3, i, "what is left in a closed channel");
    }
    uint64_t none;
    EXPECT(!channel_receive(channel, &none), "a closed channel that is empty");
}

void program_channels(MorphContext *ctx)
{
    static const size_t capacities[] = { 1, 3, 16, 100 };
    for (size_t round = 0; round < scaled(8); round++)
        for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
            exchange(ctx, capacities[i], 150);
            rounds(ctx, capacities[i], 400);
        }
}
