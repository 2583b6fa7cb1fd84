/* mem_thread.c — threads attach to a context at their first call, and leave when they end, or when the context does.
 *
 * A thread finds its attachments in a list of its own, the one that it used last in front. Contexts have lists too, for their end and for counting.
 * Invariant: `context` of an attachment becomes NULL once, under the lock, and its thread is off the heap by then. */
#include <stdlib.h>

#include "client/morph/mem.h"

pthread_mutex_t morph__mem_lock = PTHREAD_MUTEX_INITIALIZER;
_Thread_local struct mem_attachment *morph__mem_mine;

static pthread_key_t end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;
static int end_error;

static void counts_add(struct mem_counts *sum, const struct mem_counts *more)
{
    sum->objects += __atomic_load_n(&more->objects, __ATOMIC_RELAXED);
    sum->bytes += __atomic_load_n(&more->bytes, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < MORPH_MEM_TYPES; i++) {
        sum->live_objects[i] += __atomic_load_n(&more->live_objects[i], __ATOMIC_RELAXED);
        sum->live_bytes[i] += __atomic_load_n(&more->live_bytes[i], __ATOMIC_RELAXED);
    }
}

void morph__mem_counts_sum(MorphContextV2 *context, struct mem_counts *ret_sum)
{
    pthread_mutex_lock(&morph__mem_lock);
    *ret_sum = context->gone;
    for (const struct mem_attachment *at = context->attachments; at; at = at->next)
        counts_add(ret_sum, &at->counts);
    pthread_mutex_unlock(&morph__mem_lock);
}

/* Under the lock. The thread of the attachment is the caller, or it is in no call. */
static void leave_context(struct mem_attachment *attachment)
{
    MorphContextV2 *context = attachment->context;
    for (struct mem_attachment **link = &context->attachments; *link; link = &(*link)->next)
        if (*link == attachment) {
            *link = attachment->next;
            break;
        }
    counts_add(&context->gone, &attachment->counts);
    (void)morph_thread_detach(attachment->thread);      /* in a forked child it is none */
    __atomic_store_n(&attachment->context, NULL, __ATOMIC_RELAXED);
}

void morph__mem_detach_all(MorphContextV2 *context)
{
    while (context->attachments)
        leave_context(context->attachments);
}

static void on_thread_end(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&morph__mem_lock);
    while (morph__mem_mine) {
        struct mem_attachment *attachment = morph__mem_mine;
        morph__mem_mine = attachment->mine_next;
        if (attachment->context)
            leave_context(attachment);
        free(attachment);
    }
    pthread_mutex_unlock(&morph__mem_lock);
}

static void end_key_make(void) { end_error = pthread_key_create(&end_key, on_thread_end); }

/* This thread's attachment, moved to the front; on the way those of contexts that have ended are freed. NULL: none. */
static struct mem_attachment *mine_find(const MorphContextV2 *context)
{
    for (struct mem_attachment **link = &morph__mem_mine; *link;) {
        struct mem_attachment *at = *link;
        MorphContextV2 *its = __atomic_load_n(&at->context, __ATOMIC_RELAXED);
        if (its && its != context) {
            link = &at->mine_next;
            continue;
        }
        *link = at->mine_next;
        if (its) {
            at->mine_next = morph__mem_mine;
            morph__mem_mine = at;
            return at;
        }
        free(at);
    }
    return NULL;
}

static struct mem_attachment *attach_new(MorphContextV2 *context)
{
    pthread_once(&end_once, end_key_make);
    struct mem_attachment *made = calloc(1, sizeof *made);
    int r = !made || end_error || pthread_setspecific(end_key, &end_key) ? MORPH_EMEMORY : morph_thread_attach(context->heap, &made->thread);
    if (r < 0) {
        free(made);
        (void)morph__mem_fail(r);
        return NULL;
    }
    pthread_mutex_lock(&morph__mem_lock);
    made->context = context;
    made->next = context->attachments;
    context->attachments = made;
    pthread_mutex_unlock(&morph__mem_lock);
    made->mine_next = morph__mem_mine;
    morph__mem_mine = made;
    return made;
}

struct mem_attachment *morph__mem_attach(MorphContextV2 *context)
{
    if (!context) {
        (void)morph__mem_fail(MORPH_EINVALID);
        return NULL;
    }
    struct mem_attachment *found = mine_find(context);
    return found ? found : attach_new(context);
}
