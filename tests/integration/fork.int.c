/* fork.int.c — a forked child's heap is dead with a clear error and without a crash, and the parent is unharmed; vfork,
 * posix_spawn and exec are fine.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

extern char **environ;

static struct test_daemon *served_by;
static struct client client;
static morph_arena *arena;
static morph_pool *pool;
static morph_type type;
static char *cell, *text;

static void begin(void)
{
    served_by = test_daemon_start(NULL);
    client = client_open("parent", 64 * MiB);
    assert_ok(morph_arena_new(client.me, &arena));
    assert_ok(morph_pool_new(client.me, 0, &pool));
    assert_ok(morph_type_register(client.heap, &(morph_type_spec){ .name = "node", .bytes = 24 }, &type));
    cell = morph_malloc(pool, 100);
    text = morph_arena_bytes(arena, 100);
    client_fill(cell, 100, 1);
    client_fill(text, 100, 2);
}

/* The parent is unharmed: what it had is there, and it goes on. */
static void end(void)
{
    assert_ok(morph_heap_status(client.heap));
    assert_true(client_intact(cell, 100, 1) && client_intact(text, 100, 2));
    for (unsigned i = 0; i < 10; i++) {
        client_fill(morph_arena_bytes(arena, MiB), MiB, i);
        assert_non_null(morph_new(client.me, type));
    }
    assert_ok(morph_free(pool, cell));
    assert_int_equal(test_heaps(), 1);
    morph_arena_free(arena);
    morph_pool_free(pool);
    client_close(&client);
    test_daemon_stop(served_by);
}

static int child_status(void *context, struct test_parent parent)
{
    child_check_int(morph_heap_status(client.heap), MORPH_EFORKED);
    child_check_int(morph_heap_dispatch(client.heap), MORPH_EFORKED);
    return 0;
}

static int child_arena(void *context, struct test_parent parent)
{
    morph_arena *more;
    for (unsigned i = 0; i < 100; i++) {
        child_check(morph_arena_bytes(arena, 16) == NULL);                      /* the fast path */
        child_check(morph_arena_new_object(arena, type) == NULL);
    }
    child_check_int(morph_thread_error(client.me), MORPH_EFORKED);
    child_check(morph_arena_bytes(arena, 5 * MiB) == NULL);
    child_check(morph_arena_bytes_zeroed(arena, 100) == NULL);
    child_check(morph_arena_new_object_zeroed(arena, type) == NULL);
    child_check(morph_arena_new_array(arena, type, 10) == NULL);
    child_check(morph_arena_aligned(arena, 10, 64) == NULL);
    child_check(morph_arena_text(arena, "x", 1) == NULL);
    child_check_int(morph_arena_new(client.me, &more), MORPH_EFORKED);
    child_check_int(morph_arena_adopt(arena, client.me), MORPH_EFORKED);
    child_check(morph_arena_release(arena, morph_arena_mark(arena)) < 0);
    uint64_t used = 1, held = 1;
    morph_arena_usage(arena, &used, &held);
    morph_arena_reset(arena);
    morph_arena_free(arena);
    return 0;
}

static int child_pool(void *context, struct test_parent parent)
{
    morph_pool *more;
    child_check(morph_malloc(pool, 16) == NULL);
    child_check_int(morph_pool_error(pool), MORPH_EFORKED);
    child_check(morph_malloc(pool, 3 * MiB) == NULL);
    child_check(morph_calloc(pool, 4, 16) == NULL);
    child_check(morph_realloc(pool, cell, 5000) == NULL);
    child_check_int(morph_free(pool, cell), MORPH_EFORKED);
    child_check_int(morph_usable(pool, cell), 0);
    child_check_int(morph_pool_new(client.me, 0, &more), MORPH_EFORKED);
    child_check_int(morph_pool_adopt(pool, client.me), MORPH_EFORKED);
    morph_pool_free(pool);
    return 0;
}

static int child_object(void *context, struct test_parent parent)
{
    morph_type more;
    child_check(morph_new(client.me, type) == NULL);
    child_check(morph_new_hint(client.me, type, MORPH_HINT_LONG) == NULL);
    child_check(morph_new_array(client.me, type, 3) == NULL);
    child_check(morph_new_bytes(client.me, 100000) == NULL);
    child_check_int(morph_thread_error(client.me), MORPH_EFORKED);
    child_check_int(morph_type_register(client.heap, &(morph_type_spec){ .name = "new", .bytes = 8 }, &more), MORPH_EFORKED);
    return 0;
}

static int child_close(void *context, struct test_parent parent)
{
    morph_thread *more;
    morph_heap_stats stats;
    child_check_int(morph_thread_attach(client.heap, &more), MORPH_EFORKED);
    (void)morph_heap_stats_get(client.heap, &stats);
    (void)morph_heap_id(client.heap);
    (void)morph_heap_fd(client.heap);
    (void)morph_thread_detach(client.me);
    child_check_int(morph_heap_close(client.heap), 0);
    return 0;
}

/* A child may open a heap of its own. */
static int child_own_heap(void *context, struct test_parent parent)
{
    struct client own;
    morph_arena *own_arena;
    child_check_int(client_try(&own, "child", 8 * MiB), 0);
    child_check(own.id != client.id);
    child_check_int(morph_arena_new(own.me, &own_arena), 0);
    char *at = morph_arena_bytes(own_arena, 100000);
    child_check(at != NULL);
    client_fill(at, 100000, 5);
    child_check(client_intact(at, 100000, 5));
    morph_arena_free(own_arena);
    child_check_int(morph_thread_detach(own.me), 0);
    child_check_int(morph_heap_close(own.heap), 0);
    child_check_int(morph_heap_close(client.heap), 0);
    return 0;
}

static int child_of_child(void *context, struct test_parent parent)
{
    pid_t pid = fork();
    child_check(pid >= 0);
    if (pid == 0)
        _exit(child_status(NULL, parent) || child_object(NULL, parent));
    int status = 0;
    child_check(waitpid(pid, &status, 0) == pid);
    child_check_int(status, 0);
    return child_status(NULL, parent);
}

static void children_get_an_error(void **state)
{
    static int (*const child[])(void *, struct test_parent) = {
        child_status, child_arena, child_pool, child_object, child_close, child_own_heap, child_of_child,
    };
    begin();
    for (unsigned i = 0; i < sizeof child / sizeof child[0]; i++) {
        assert_int_equal(test_child_run((uid_t)-1, child[i], NULL), 0);
        assert_ok(morph_heap_status(client.heap));
        assert_true(client_intact(cell, 100, 1) && client_intact(text, 100, 2));
    }
    end();
}

/* ---- Fork while another thread allocates ---- */

static atomic_bool enough;

static void *allocate_on(void *context)
{
    morph_thread *me;
    morph_arena *mine;
    morph_pool *cells;
    if (morph_thread_attach(client.heap, &me) < 0 || morph_arena_new(me, &mine) < 0 || morph_pool_new(me, MORPH_POOL_SHARED, &cells) < 0)
        return "could not attach";
    for (uint64_t i = 0; !enough; i++) {
        char *at = morph_arena_bytes(mine, 5000), *c = morph_malloc(cells, 700 + i % 50000);
        if (!at || !c || morph_free(cells, c) < 0)
            return "the parent's thread was harmed";
        at[0] = c[0] = 1;
        if (i % 2000 == 0)
            morph_arena_reset(mine);
    }
    morph_arena_free(mine);
    morph_pool_free(cells);
    return morph_thread_detach(me) < 0 ? "could not detach" : NULL;
}

static void forks_while_others_allocate(void **state)
{
    pthread_t thread[2];
    begin();
    enough = false;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, allocate_on, NULL), 0);
    for (unsigned i = 0; i < 60; i++)                                           /* never hangs on a lock that a thread held */
        assert_int_equal(test_child_run((uid_t)-1, i % 3 == 0 ? child_arena : i % 3 == 1 ? child_pool : child_close, NULL), 0);
    enough = true;
    for (unsigned i = 0; i < 2; i++) {
        void *complaint = NULL;
        assert_int_equal(pthread_join(thread[i], &complaint), 0);
        if (complaint)
            fail_msg("%s", (char *)complaint);
    }
    end();
}

/* ---- vfork, posix_spawn, exec ---- */

static void programs_can_be_started(void **state)
{
    char *argv[] = { (char *)"sh", (char *)"-c", (char *)"ls -l /proc/self/fd | grep -c morphmem; exit 7", NULL };
    begin();
    for (unsigned i = 0; i < 20; i++) {
        int status = 0;
        pid_t pid = 0;
        if (i % 2) {
            assert_int_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, argv, environ), 0);
        } else {
            pid = vfork();
            if (pid == 0) {
                execv("/bin/sh", argv);
                _exit(99);
            }
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(WEXITSTATUS(status), 7);
        assert_ok(morph_heap_status(client.heap));
        assert_non_null(morph_arena_bytes(arena, 300000));
    }
    end();
}

static int count_inherited(void *context, struct test_parent parent)
{
    if (dup2(parent.to, 1) < 0)
        return 98;
    execl("/bin/sh", "sh", "-c", "ls -l /proc/self/fd | grep -c -e memfd:morphmem -e eventfd", (char *)NULL);
    return 99;
}

static void programs_inherit_nothing(void **state)
{
    char counted = 0;
    begin();
    struct test_child child = test_child_start((uid_t)-1, count_inherited, NULL);
    assert_true(test_child_read(&child, &counted, 1));
    assert_int_equal(counted, '0');
    assert_int_equal(test_child_wait(&child), 1);                               /* grep found none */
    end();
}

/* The heap is the process's that opened it: after exec it is over, though the process lives. */
static int exec_away(void *context, struct test_parent parent)
{
    struct client own;
    child_check_int(client_try(&own, "execs", 8 * MiB), 0);
    test_parent_write(parent, &own.id, sizeof own.id);
    (void)test_parent_wait(parent);
    execl("/bin/sh", "sh", "-c", "cat >/dev/null; sleep 30", (char *)NULL);
    return 99;
}

static void exec_ends_a_heap(void **state)
{
    uint64_t id;
    served_by = test_daemon_start(NULL);
    struct test_child child = test_child_start((uid_t)-1, exec_away, NULL);
    assert_true(test_child_read(&child, &id, sizeof id));
    assert_int_not_equal(test_heap_stat(id, "pid"), UINT64_MAX);
    test_child_tell(&child);
    assert_true(test_wait_until(test_heap_stat(id, "pid") == UINT64_MAX, 5000));
    assert_int_equal(kill(child.pid, 0), 0);
    test_child_kill(&child);
    test_daemon_stop(served_by);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(children_get_an_error),
        test_case(forks_while_others_allocate),
        test_case(programs_can_be_started),
        test_case(programs_inherit_nothing),
        test_case(exec_ends_a_heap),
    };
    return test_run(cases);
}
