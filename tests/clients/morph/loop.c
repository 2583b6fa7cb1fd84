/* loop.c — a long loop with a small live set: some hundred MB in all, in 8 MiB.
 *
 * Hazard 1 at length: the loop's body declares a local, so one and the same slot is pushed a million times and never popped, not even where
 * functions are watched, because this one does not return. What would break: garbage that stays because something stale refers to it (the
 * heap is full); a stack of roots that grows without end, or that is looked at whole for every collection. */
#include "tests/clients/morph/program.h"

#define WINDOW 256

APART static Node *step(MorphContext *ctx, uint64_t i)
{
    Node *r = node_new(ctx, i);
    ROOT(r);
    r->leaf = leaf_new(ctx, i);
    RETURN(r, 1);
}

/* The last 256 nodes are alive; each takes the place of one. */
static uint64_t nodes(MorphContext *ctx, uint64_t many)
{
    uint64_t sum = 0;
    MorphArray *window = array_new(ctx, sizeof(void *), 1, WINDOW);
    ROOT(window);
    for (uint64_t i = 0; i < many; i++) {
        Node *node = step(ctx, i);
        ROOT(node);
        if (i < WINDOW) {
            array_push_pointer(ctx, window, node);
            continue;
        }
        Node *oldest = array_pointer(window, i % WINDOW);
        ROOT(oldest);
        EXPECT(oldest->check == mix(i - WINDOW), "the oldest of the window at %llu", (unsigned long long)i);
        leaf_check(oldest->leaf, i - WINDOW, "the window");
        sum += oldest->check;
        ((void **)window->data)[i % WINDOW] = node;
    }
    RETURN(sum, 1);
}

/* A string that is always made anew from the one before; its digits are the number of the step. */
static void strings(MorphContext *ctx, uint64_t many)
{
    MorphString *current = string_literal(ctx, "");
    ROOT(current);
    for (uint64_t i = 0; i < many; i++) {
        MorphString *next = string_concat(ctx, string_literal(ctx, "step "), string_number(ctx, (int64_t)i));
        ROOT(next);
        current = string_concat(ctx, next, string_slice(ctx, next, 4, 1));
        EXPECT(current->length == next->length + 1 && current->data[current->length - 1] == ' ', "the string of step %llu", (unsigned long long)i);
    }
}

/* A list that is a queue: one comes, one goes, and no two collections see the same nodes. Who goes lets go of the next: one stale word that
 * refers to an old node would otherwise keep all that came after it. */
static void queue(MorphContext *ctx, uint64_t many)
{
    Node *first = list_new(ctx, WINDOW, 0), *last = first;
    ROOT(first);
    ROOT(last);
    while (last->next)
        last = last->next;
    for (uint64_t i = 0; i < many; i++) {
        leaf_check(first->leaf, i, "the first of a queue");
        Node *gone = first;
        ROOT(gone);
        first = gone->next;
        gone->next = NULL;
        last->next = step(ctx, WINDOW + i);
        last = last->next;
    }
    list_check(first, WINDOW, many, "the queue at its end");
}

void program_loop(MorphContext *ctx)
{
    uint64_t many = scaled(1000000) + WINDOW, expected = 0;
    for (uint64_t i = 0; i + WINDOW < many; i++)
        expected += mix(i);
    EXPECT(nodes(ctx, many) == expected, "the sum of all nodes");
    strings(ctx, scaled(400000));
    queue(ctx, scaled(1000000));
    churn(ctx, scaled(200u << 20));
}
