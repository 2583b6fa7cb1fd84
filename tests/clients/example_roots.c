/* example_roots.c — the example of libmorphmem(3) for references that are not in frames: handles, weak ones, finalizers, pins, C variables,
 * and calls that block. */
#include <morphmem/morphmem.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct session { struct session *next; long number; };

static int fail(int err)
{
    fprintf(stderr, "sessions: %s\n", morph_strerror(err));
    return 1;
}

int main(void)
{
    static const char text[] = "written while a collection may run\n";
    morph_options options = { .mode = MORPH_RUNTIME, .name = "sessions", .limit_bytes = 64 << 20 };
    morph_type_spec spec = { .name = "session", .bytes = sizeof(struct session), .refs = MORPH_REFS(struct session, next) };
    morph_heap *heap;
    morph_thread *me;
    morph_type type;
    void *word;

    int err = morph_heap_open(&heap, &options);
    if (err < 0 || (err = morph_thread_attach(heap, &me)) < 0 || (err = morph_type_register(heap, &spec, &type)) < 0)
        return fail(err);

    /* A handle keeps its object alive until it is freed or set to something else; a weak one only knows whether it is. */
    struct session *session = morph_new(me, type);
    if (!session)
        return fail(morph_thread_error(me));
    session->number = 1;
    morph_handle strong = morph_handle_new(me, session), weak = morph_handle_new_weak(me, session);
    if (!strong.index || !weak.index)
        return fail(morph_thread_error(me));

    /* When nothing else refers to it the object comes back, once, with the word that was given for it. */
    if ((err = morph_finalizer_set(me, session, (void *)"closed")) < 0 || (err = morph_collect(me, MORPH_COLLECT_MAJOR)) < 0)
        return fail(err);
    session = morph_handle_get(me, strong);     /* it may have moved */
    printf("session %ld is open\n", session->number);
    morph_handle_free(me, strong);
    if ((err = morph_collect(me, MORPH_COLLECT_MAJOR)) < 0)
        return fail(err);
    printf("the weak handle says %s\n", morph_handle_get(me, weak) ? "open" : "gone");
    while ((session = morph_finalizer_next(me, &word)))
        printf("session %ld: %s\n", session->number, (const char *)word);
    morph_handle_free(me, weak);

    /* The addresses of C variables, for code that was written that way. */
    struct session *list = NULL, *at = NULL;
    if ((err = morph_root_push(me, (void **)&list)) < 0 || (err = morph_root_push(me, (void **)&at)) < 0)
        return fail(err);
    for (long i = 0; i < 100000; i++) {
        if (!(session = morph_new(me, type)))
            return fail(morph_thread_error(me));
        session->next = list;
        session->number = i;
        list = session;
    }

    /* Foreign code gets a pinned object, which stays where it is; what may block lets collections go on. */
    char *bytes = morph_new_bytes(me, sizeof text);
    if (!bytes || (err = morph_pin(me, bytes)) < 0)
        return fail(bytes ? err : morph_thread_error(me));
    memcpy(bytes, text, sizeof text);
    fflush(stdout);
    morph_native_enter(me);
    ssize_t written = write(STDOUT_FILENO, bytes, sizeof text - 1);
    morph_native_leave(me);
    morph_unpin(me, bytes);

    long count = 0;
    for (at = list; at; at = at->next, count++)
        morph_poll(me);                         /* a loop that does not allocate: `at` is a root, for it may move here */
    printf("%ld sessions, %ld bytes written\n", count, (long)written);
    morph_root_pop(me, 2);
    morph_thread_detach(me);
    return morph_heap_close(heap) < 0;
}
