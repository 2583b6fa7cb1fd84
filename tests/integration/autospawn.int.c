/* autospawn.int.c — without a daemon the library starts a private one for this user, once, and it ends when nobody needs it. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

static char dir[64], socket_path[96];

/* An environment with no daemon in it, and the built morphmemd where the library looks. */
static void begin(void)
{
    test_dir_make(dir, 0);
    chmod(dir, 0700);
    snprintf(socket_path, sizeof socket_path, "%s/morphmem/socket", dir);
    unsetenv("MORPHMEM_SOCKET");
    setenv("XDG_RUNTIME_DIR", dir, 1);
}

static bool daemon_gone(pid_t pid)
{
    return kill(pid, 0) < 0;
}

/* Whoever was started is not our child: it is asked for its number, stopped, and waited for by looking. */
static void end(pid_t daemon)
{
    if (daemon > 0 && kill(daemon, SIGTERM) == 0)
        assert_true(test_wait_until(daemon_gone(daemon), 10000));
    unsetenv("XDG_RUNTIME_DIR");
    unsetenv("MORPHMEM_SOCKET");
    test_dir_remove(dir);
}

static pid_t daemon_pid(void)
{
    setenv("MORPHMEM_SOCKET", socket_path, 1);
    pid_t pid = (pid_t)test_stat("pid");
    unsetenv("MORPHMEM_SOCKET");
    return pid;
}

static int open_and_use(morph_heap **ret_heap)
{
    morph_thread *me;
    morph_arena *arena;
    int r = morph_heap_open(ret_heap, &(morph_options){ .name = "spawner", .limit_bytes = 8 * MiB, .timeout_ms = 10000 });
    if (r < 0 || (r = morph_thread_attach(*ret_heap, &me)) < 0 || (r = morph_arena_new(me, &arena)) < 0)
        return r;
    char *at = morph_arena_bytes(arena, 100000);
    if (at)
        client_fill(at, 100000, 1);
    morph_arena_free(arena);
    r = morph_thread_detach(me);
    return at ? r : MORPH_ENOMEM;
}

static void a_private_daemon_is_started(void **state)
{
    morph_heap *heap;
    begin();
    int descriptors = test_descriptors(), children = test_children();
    assert_ok(open_and_use(&heap));
    pid_t pid = daemon_pid();
    assert_true(pid > 0 && pid != getpid());
    assert_int_equal(test_children(), children);                            /* it is nobody's child that we would have to reap */
    struct stat st;
    assert_int_equal(stat(socket_path, &st), 0);
    assert_ok(morph_heap_close(heap));
    assert_int_equal(test_descriptors(), descriptors);
    assert_ok(open_and_use(&heap));                                         /* the same one serves again */
    assert_int_equal(daemon_pid(), pid);
    assert_ok(morph_heap_close(heap));
    end(pid);
}

static int race(void *context, struct test_parent parent)
{
    morph_heap *heap;
    pid_t pid;
    test_parent_write(parent, "", 1);
    (void)test_parent_wait(parent);
    child_check_int(open_and_use(&heap), 0);
    pid = daemon_pid();
    test_parent_write(parent, &pid, sizeof pid);
    (void)test_parent_wait(parent);
    child_check_int(morph_heap_close(heap), 0);
    return 0;
}

static void racing_clients_get_one_daemon(void **state)
{
    enum { RACERS = 6 };
    for (unsigned round = 0; round < 3; round++) {
        struct test_child child[RACERS];
        pid_t pid[RACERS];
        char byte;
        begin();
        for (unsigned i = 0; i < RACERS; i++) {
            child[i] = test_child_start((uid_t)-1, race, NULL);
            assert_true(test_child_read(&child[i], &byte, 1));
        }
        for (unsigned i = 0; i < RACERS; i++)
            test_child_tell(&child[i]);
        for (unsigned i = 0; i < RACERS; i++) {
            assert_true(test_child_read(&child[i], &pid[i], sizeof pid[i]));
            assert_int_equal(pid[i], pid[0]);
        }
        for (unsigned i = 0; i < RACERS; i++)
            test_child_tell(&child[i]);
        for (unsigned i = 0; i < RACERS; i++)
            assert_int_equal(test_child_wait(&child[i]), 0);
        end(pid[0]);
    }
}

/* It ends after idle_exit without a heap. The private one uses a minute; an explicit one shows the same code in 300 ms. */
static void idle_daemons_end(void **state)
{
    struct test_daemon *daemon = test_daemon_start("--idle-exit=300", NULL);
    struct client client = client_open("stays", 4 * MiB);
    uint64_t opened_ns = test_now_ns();
    assert_false(test_wait_until(waitpid(daemon->pid, NULL, WNOHANG) != 0, 900));       /* not while a heap is open */
    client_close(&client);
    int status = -1;
    assert_true(test_wait_until(waitpid(daemon->pid, &status, WNOHANG) == daemon->pid, 5000 * test_slowness()));
    assert_true(test_now_ns() - opened_ns >= 1200000000u);
    assert_int_equal(status, 0);
    daemon->pid = 0;
    test_daemon_free(daemon);
}

static void forbidden_autospawn_is_an_error(void **state)
{
    morph_heap *heap;
    begin();
    assert_error(morph_heap_open(&heap, &(morph_options){ .no_autospawn = true }), MORPH_ENODAEMON);
    assert_true(access(socket_path, F_OK) < 0);
    end(0);
}

/* Who names a socket means that one: no other is started. */
static void named_sockets_are_not_replaced(void **state)
{
    char dead[128];
    morph_heap *heap;
    begin();
    snprintf(dead, sizeof dead, "%s/nobody", dir);
    setenv("MORPHMEM_SOCKET", dead, 1);
    assert_error(morph_heap_open(&heap, NULL), MORPH_ENODAEMON);
    unsetenv("MORPHMEM_SOCKET");
    assert_error(morph_heap_open(&heap, &(morph_options){ .socket = dead }), MORPH_ENODAEMON);
    char too_long[300];
    memset(too_long, 'x', sizeof too_long);
    too_long[0] = '/', too_long[299] = 0;
    assert_true(morph_heap_open(&heap, &(morph_options){ .socket = too_long }) < 0);
    assert_true(access(socket_path, F_OK) < 0);
    end(0);
}

/* A daemon that was killed leaves its socket behind: the next client starts another in its place. */
static void stale_sockets_are_replaced(void **state)
{
    morph_heap *heap;
    begin();
    assert_ok(open_and_use(&heap));
    pid_t first = daemon_pid();
    assert_int_equal(kill(first, SIGKILL), 0);
    assert_true(test_wait_until(daemon_gone(first), 5000));
    assert_ok(morph_heap_close(heap));
    assert_ok(open_and_use(&heap));
    pid_t second = daemon_pid();
    assert_int_not_equal(first, second);
    assert_ok(morph_heap_close(heap));
    end(second);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(a_private_daemon_is_started),
        test_case(racing_clients_get_one_daemon),
        test_case(idle_daemons_end),
        test_case(forbidden_autospawn_is_an_error),
        test_case(named_sockets_are_not_replaced),
        test_case(stale_sockets_are_replaced),
    };
    return test_run(cases);
}
