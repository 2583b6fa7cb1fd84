/* hazard7.c — channels pass raw 64-bit values between the contexts of threads.
 *
 * A value is a number or a reference; the channel does not know. While it is on its way the ring of the channel, an object without a type,
 * holds the only reference to what was sent, which may have been made by a thread that has ended since.
 *
 * What would break: objects that belong to the context that made them vanish with it, or are freed by its next collection though another
 * context holds them; a ring that is not looked at loses everything on its way. */
#include "tests/clients/morph/program.h"

typedef struct { MorphChannel *in, *out; uint64_t seed, many; } Ends;

static Ends *ends_new(MorphContext *ctx, MorphChannel *in, MorphChannel *out, uint64_t seed, uint64_t many)
{
    Ends *r = mph_alloc(ctx, sizeof *r, NULL);
    *r = (Ends){ in, out, seed, many };
    return r;
}

/* The sender forgets in a frame of its own. */
APART static void send_list(MorphContext *ctx, MorphChannel *channel, uint64_t seed)
{
    channel_send(channel, (uintptr_t)list_new(ctx, 1 + seed % 9, seed));
}

APART static void receive_list(MorphContext *ctx, MorphChannel *channel, uint64_t seed, const char *where)
{
    uint64_t value = 0;
    EXPECT(channel_receive(channel, &value), "%s: the channel is closed", where);
    churn(ctx, 5000);
    list_check((Node *)(uintptr_t)value, 1 + seed % 9, seed, where);
}

/* Sends all it has, and is gone: with its context, and long before anybody receives. */
static uint64_t producer(MorphContext *ctx, void *env)
{
    Ends *ends = env;
    ROOT(ends);
    for (uint64_t i = 0; i < ends->many; i++)
        send_list(ctx, ends->out, ends->seed + i);
    churn_and_collect(ctx, 100000);
    RETURN(ends->many, 1);
}

/* Every list comes in, is verified, and another one goes out. */
static uint64_t echo(MorphContext *ctx, void *env)
{
    Ends *ends = env;
    ROOT(ends);
    for (uint64_t i = 0; i < ends->many; i++) {
        receive_list(ctx, ends->in, ends->seed + i, "in the other thread");
        send_list(ctx, ends->out, ends->seed + i + 1);
    }
    RETURN(ends->many, 1);
}

static void orphans(MorphContext *ctx, uint64_t seed)
{
    const uint64_t many = 64;
    MorphChannel *channel = channel_new(ctx, many);
    ROOT(channel);
    MorphThread *thread = thread_spawn(ctx, closure_new(ctx, (void *)producer, ends_new(ctx, NULL, channel, seed, many)));
    ROOT(thread);
    EXPECT(thread_join(thread) == many, "what a producer says");
    thread = NULL;
    scrub();
    churn_and_collect(ctx, 400000);
    for (uint64_t i = 0; i < many; i++)
        receive_list(ctx, channel, seed + i, "from a thread that has ended");
    mph_gc_pop_roots(ctx, 2);
}

static void ping_pong(MorphContext *ctx, uint64_t seed, uint64_t many)
{
    MorphChannel *there = channel_new(ctx, 1), *back = channel_new(ctx, 1);
    ROOT(there);
    ROOT(back);
    MorphThread *thread = thread_spawn(ctx, closure_new(ctx, (void *)echo, ends_new(ctx, there, back, seed, many)));
    ROOT(thread);
    for (uint64_t i = 0; i < many; i++) {
        send_list(ctx, there, seed + i);
        churn(ctx, 5000);
        if (i % 64 == 0)
            mph_gc_collect(ctx);
        receive_list(ctx, back, seed + i + 1, "back from the other thread");
    }
    EXPECT(thread_join(thread) == many, "what an echo says");
}

/* A channel that is only in a channel, with something in it that is only there. */
APART static void post_channel(MorphContext *ctx, MorphChannel *outer, uint64_t seed)
{
    MorphChannel *inner = channel_new(ctx, 3);
    send_list(ctx, inner, seed);
    channel_send(inner, seed);
    channel_send(outer, (uintptr_t)inner);
}

static void nested(MorphContext *ctx, uint64_t seed)
{
    MorphChannel *outer = channel_new(ctx, 8);
    ROOT(outer);
    for (uint64_t i = 0; i < 8; i++)
        post_channel(ctx, outer, seed + i);
    scrub();
    churn_and_collect(ctx, 200000);
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t inner = 0, number = 0;
        EXPECT(channel_receive(outer, &inner), "a channel from a channel");
        receive_list(ctx, (MorphChannel *)(uintptr_t)inner, seed + i, "from a channel from a channel");
        EXPECT(channel_receive((MorphChannel *)(uintptr_t)inner, &number) && number == seed + i, "a number between references");
    }
}

void program_hazard7(MorphContext *ctx)
{
    for (uint64_t round = 0; round < scaled(16); round++) {
        orphans(ctx, round * 1000);
        ping_pong(ctx, round * 1000, 200);
        nested(ctx, round * 1000);
    }
}
