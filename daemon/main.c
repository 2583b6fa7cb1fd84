/* main.c — morphmemd: start, signals, the loop, and an orderly end.
 *
 * Threads: this one runs the loop (letters, timers, signals, deaths); workers do everything that takes time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "client/include/morphmem/error.h"
#include "daemon/config.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/guard.h"
#include "daemon/heap/worker.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "daemon/server/server.h"
#include "shm/machine.h"

#define DEADLINE_TICK_MS 250

struct server server = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void notify(UNUSED const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#endif
}

/* ---- The loop's mailbox ---- */

void loop_post(struct job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&server.lock);
    bool was_empty = server.first == NULL;
    *server.last = job;
    server.last = &job->next;
    pthread_mutex_unlock(&server.lock);
    if (was_empty)
        uv_async_send(&server.mailbox);
}

static void on_mail(UNUSED uv_async_t *async)
{
    pthread_mutex_lock(&server.lock);
    struct job *job = server.first;
    server.first = NULL;
    server.last = &server.first;
    pthread_mutex_unlock(&server.lock);
    while (job) {
        struct job *next = job->next;
        job->run(job);
        job = next;
    }
}

/* ---- Timers ---- */

static void on_deadlines(uv_timer_t *timer)
{
    uint64_t now = os.now_ns();
    bool more = false;
    for (struct conn *conn = server.conns, *next; conn; conn = next) {
        next = conn->next;
        if (!conn->deadline_ns)
            continue;
        if (now < conn->deadline_ns) {
            more = true;
            continue;
        }
        log_info("conn", "pid=%d %s, disconnecting", (int)conn->pid, conn->greeted ? "does not read its answers" : "says nothing");
        conn_close(conn);
    }
    if (!more) {
        uv_timer_stop(timer);
        server.deadlines_on = false;
    }
}

void server_watch_deadlines(void)
{
    if (server.deadlines_on || server.stopping)
        return;
    server.deadlines_on = true;
    uv_timer_start(&server.deadlines, on_deadlines, DEADLINE_TICK_MS, DEADLINE_TICK_MS);
}

static void on_idle(UNUSED uv_timer_t *timer)
{
    log_info("main", "no heap for %llu ms, ending", (unsigned long long)CONFIG(idle_exit));
    server_stop();
}

void server_idle_changed(void)
{
    uint64_t idle_ms = CONFIG(idle_exit);
    if (idle_ms && server.heap_count == 0 && !server.stopping)
        uv_timer_start(&server.idle, on_idle, idle_ms, 0);
    else
        uv_timer_stop(&server.idle);
}

static void on_watchdog(UNUSED uv_timer_t *timer)
{
    if (workers_alive())
        notify("WATCHDOG=1");
    else
        log_warning("main", "a worker has not come round, not feeding the watchdog");
}

static void watchdog_start(void)
{
#ifdef HAVE_SYSTEMD
    uint64_t us = 0;
    if (sd_watchdog_enabled(0, &us) > 0 && us >= 2000)
        uv_timer_start(&server.watchdog, on_watchdog, us / 2000, us / 2000);
#else
    (void)on_watchdog;
#endif
}

/* ---- Signals ---- */

void server_stop(void)
{
    if (server.stopping)
        return;
    server.stopping = true;
    notify("STOPPING=1");
    uv_close((uv_handle_t *)&server.listener, NULL);
    listen_stop();
    uv_timer_stop(&server.deadlines);
    uv_timer_stop(&server.idle);
    if (!server.conns)
        uv_stop(&server.loop);
    for (struct conn *conn = server.conns, *next; conn; conn = next) {
        next = conn->next;
        conn_close(conn);
    }
}

static void on_end_signal(UNUSED uv_signal_t *signal, int number)
{
    log_info("main", "%s, ending in order", number == SIGTERM ? "SIGTERM" : "SIGINT");
    server_stop();
}

static void on_reload_signal(UNUSED uv_signal_t *signal, UNUSED int number)
{
    notify("RELOADING=1");
    if (config_reload() == 0) {
        budget_set(CONFIG(budget));
        server_idle_changed();
    }
    notify("READY=1");
}

/* ---- Start and end ---- */

static void loop_init(void)
{
    uv_loop_init(&server.loop);
    server.last = &server.first;
    uv_async_init(&server.loop, &server.mailbox, on_mail);
    uv_timer_init(&server.loop, &server.deadlines);
    uv_timer_init(&server.loop, &server.idle);
    uv_timer_init(&server.loop, &server.watchdog);
    uv_signal_init(&server.loop, &server.on_term);
    uv_signal_init(&server.loop, &server.on_int);
    uv_signal_init(&server.loop, &server.on_hup);
    uv_signal_start(&server.on_term, on_end_signal, SIGTERM);
    uv_signal_start(&server.on_int, on_end_signal, SIGINT);
    uv_signal_start(&server.on_hup, on_reload_signal, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
}

static void loop_fini(void)
{
    uv_handle_t *handles[] = { (uv_handle_t *)&server.mailbox, (uv_handle_t *)&server.deadlines, (uv_handle_t *)&server.idle,
                               (uv_handle_t *)&server.watchdog, (uv_handle_t *)&server.on_term, (uv_handle_t *)&server.on_int,
                               (uv_handle_t *)&server.on_hup };
    pressure_stop();
    for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++)
        uv_close(handles[i], NULL);
    uv_run(&server.loop, UV_RUN_DEFAULT);
    uv_loop_close(&server.loop);
    free(server.heaps);
    free(server.closed);
}

/* Every heap costs a handful of descriptors: take all that may be had. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static unsigned worker_count_wanted(void)
{
    uint64_t wanted = CONFIG(workers);
    if (wanted == 0)
        wanted = mm_machine_cores() / 2;
    return wanted < 1 ? 1 : wanted > 8 && CONFIG(workers) == 0 ? 8 : (unsigned)wanted;
}

/* Standard descriptors must be open, or a socket could become number 2 and be logged into. */
static void hold_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

static void tell_ready(int ready_fd)
{
    notify("READY=1");
    if (ready_fd < 0)
        return;
    (void)!write(ready_fd, "\n", 1);
    close(ready_fd);
}

/* A private daemon was started by some program that must not be its parent for ever. Before threads, locks and the loop. */
static void go_into_background(void)
{
    pid_t pid = fork();
    if (pid > 0)
        _exit(0);
    if (pid < 0 || setsid() < 0 || chdir("/") < 0)
        log_warning("main", "cannot go into the background: %s, ignoring", strerror(errno));
}

static int serve(const struct config_command *command)
{
    if (command->is_private)
        go_into_background();
    int r = listen_open(command->is_private);
    if (r == 1) {
        log_info("main", "another morphmemd serves %s already", server.path);
        if (command->is_private)
            tell_ready(command->ready_fd);
        return command->is_private ? 0 : 1;
    }
    if (r < 0)
        return 1;
    server.started_ns = os.now_ns();
    guard_init();
    raise_descriptor_limit();
    budget_set(CONFIG(budget));
    segment_pool_init(config.huge_pages == HUGE_AUTO && mm_machine_shmem_huge());
    loop_init();
    r = workers_start(worker_count_wanted(), conn_on_condemned);
    if (r < 0 || listen_start() < 0) {
        log_error("main", "workers or the listener cannot be started: %s", strerror(-r));
        return 1;
    }
    log_info("main", "morphmemd %s serves socket=%s budget_bytes=%llu workers=%u huge_pages=%s", PACKAGE_VERSION,
             *server.path ? server.path : "(from systemd)", (unsigned long long)budget_limit(), workers_count(),
             segment_huge_pages() ? "yes" : "no");
    pressure_start();
    tell_ready(command->ready_fd);
    watchdog_start();
    server_idle_changed();
    uv_run(&server.loop, UV_RUN_DEFAULT);
    workers_stop();
    segment_pool_fini();
    loop_fini();
    log_info("main", "ended");
    return 0;
}

int main(int argc, char **argv)
{
    struct config_command command;
    hold_standard_descriptors();
    if (config_load(argc, argv, &command) < 0)
        return 2;
    int status = 0;
    if (command.help)
        config_help(stdout);
    else if (command.version)
        printf("morphmemd %s\n", PACKAGE_VERSION);
    else if (command.print_config)
        config_print(stdout);
    else
        status = serve(&command);
    config_free();
    return status;
}
