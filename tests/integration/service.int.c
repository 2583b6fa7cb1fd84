/* service.int.c — morphmemd as systemd runs it: the socket is handed over, readiness, reloads, life signs and the end are told. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/client.h"
#include "tests/lib/daemon.h"
#include "tests/lib/wire.h"

static char dir[64];
static int notify_fd;
static pid_t service;

static int socket_at(const char *name, int type)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%.60s/%s", dir, name);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int socket_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void config_write(const char *text)
{
    char path[96];
    snprintf(path, sizeof path, "%s/conf", dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void child_set(const char *name, const char *format, const char *value)
{
    char text[128];
    snprintf(text, sizeof text, format, value);
    setenv(name, text, 1);
}

/* What systemd does between fork and exec. */
static void service_exec(int listen_fd)
{
    char pid[16], config[96];
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    dup2(listen_fd, 3);
    fcntl(3, F_SETFD, 0);
    child_set("LISTEN_PID", "%s", pid);
    child_set("LISTEN_FDS", "%s", "1");
    child_set("NOTIFY_SOCKET", "%s/notify", dir);
    child_set("WATCHDOG_PID", "%s", pid);
    child_set("WATCHDOG_USEC", "%s", "200000");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(config, sizeof config, "--config=%s/conf", dir);
    execl(test_daemon_program(), "morphmemd", config, "--log-level=error", (char *)NULL);
    _exit(127);
}

/* Waits for a notification that has `state` as one of its lines. */
static bool notified(const char *state)
{
    char text[512];
    struct pollfd readable = { .fd = notify_fd, .events = POLLIN };
    uint64_t deadline = test_now_ns() + 10000000000ull * test_slowness();
    while (test_now_ns() < deadline) {
        if (poll(&readable, 1, 100) != 1)
            continue;
        ssize_t bytes = recv(notify_fd, text, sizeof text - 1, 0);
        assert_true(bytes > 0);
        text[bytes] = 0;
        for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
            if (strcmp(line, state) == 0)
                return true;
    }
    return false;
}

static uint64_t config_value_of(const char *name)
{
    struct wire_packet packet;
    struct wire_answer answer;
    int fd = wire_hello(NULL);
    wire_packet_init(&packet, WIRE_CONFIG, 2, 0);
    assert_int_equal(wire_packet_send(fd, &packet), 0);
    assert_int_equal(wire_receive(fd, &answer, 5000), 1);
    assert_int_equal(answer.id, WIRE_REPORT);
    uint64_t value = wire_u64(wire_field(&answer.body, "body"), name);
    wire_answer_fini(&answer);
    close(fd);
    return value;
}

/* A cleaner of temporary files, say, has removed the socket of a daemon that runs: another one must not wait for it for ever. */
static void a_daemon_whose_socket_is_gone(void **state)
{
    char option[112];
    int status;
    struct test_daemon *daemon = test_daemon_start(NULL);
    snprintf(option, sizeof option, "--socket=%s", daemon->socket);
    assert_int_equal(unlink(daemon->socket), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int log = open(daemon->log, O_WRONLY | O_APPEND);
        dup2(log, 2);
        execl(test_daemon_program(), "morphmemd", option, (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_true(test_daemon_logged(daemon, "was the socket removed?"));
    int again = socket_of(daemon->socket);              /* for its end, which sees to it */
    test_daemon_stop(daemon);
    close(again);
}

static void under_systemd(void **state)
{
#ifndef HAVE_SYSTEMD
    test_skip("this build has no libsystemd");
#endif
    char path[96];
    int status;
    test_dir_make(dir, 0);
    config_write("pool_min = 3M\n");
    notify_fd = socket_at("notify", SOCK_DGRAM);
    int listen_fd = socket_at("socket", SOCK_SEQPACKET);
    assert_int_equal(listen(listen_fd, 16), 0);
    fflush(NULL);
    service = fork();
    assert_true(service >= 0);
    if (service == 0)
        service_exec(listen_fd);
    close(listen_fd);
    assert_true(notified("READY=1"));
    snprintf(path, sizeof path, "%s/socket", dir);
    setenv("MORPHMEM_SOCKET", path, 1);

    struct client client = client_open("served", 8 * MiB);
    assert_int_equal(config_value_of("pool_min"), 3 * MiB);
    assert_true(notified("WATCHDOG=1"));
    assert_true(notified("WATCHDOG=1"));

    config_write("pool_min = 5M\nworkers = 7\n");                           /* the second one needs a restart */
    assert_int_equal(kill(service, SIGHUP), 0);
    assert_true(notified("RELOADING=1") && notified("READY=1"));
    assert_int_equal(config_value_of("pool_min"), 5 * MiB);
    assert_int_equal(config_value_of("workers"), 0);
    config_write("pool_min = 6M\nno_such_option = 1\n");                    /* a fault anywhere: nothing changes */
    assert_int_equal(kill(service, SIGHUP), 0);
    assert_true(notified("RELOADING=1") && notified("READY=1"));
    assert_int_equal(config_value_of("pool_min"), 5 * MiB);
    assert_ok(morph_heap_status(client.heap));
    client_close(&client);

    assert_int_equal(kill(service, SIGTERM), 0);
    assert_true(notified("STOPPING=1"));
    assert_int_equal(waitpid(service, &status, 0), service);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(access(path, F_OK), 0);                                /* the socket is systemd's, and stays */
    close(notify_fd);
    unsetenv("MORPHMEM_SOCKET");
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        test_case(under_systemd), test_case(a_daemon_whose_socket_is_gone),
    };
    return test_run(cases);
}
