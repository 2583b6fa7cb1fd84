/* pressure.c — what the kernel says about memory, and what becomes of the budget's working size.
 *
 *   PSI trigger (POLLPRI), FIFO of a test, memory.events of the control group ──▶ on an event: a step down, and heaps are asked to give
 *                                                                                  and clients are told (daemon/heap/pressure.h)
 *   a timer, while more is used than the working size or it is below what is configured ──▶ the next heap; after quiet: a step up
 *
 * A step down takes a sixteenth of the configured budget off what is used, but never more than half of what heaps could give: pressure makes
 * heaps collect, it does not make programs fail. Clients of the kernel's counts in memory.events: a growing 'high', 'max' or 'oom'.
 * Where neither source is there nothing happens, and the budget is what was configured. Loop thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/heap/balance.h"
#include "daemon/heap/budget.h"
#include "daemon/heap/pressure.h"
#include "daemon/log.h"
#include "daemon/os/os.h"
#include "daemon/server/server.h"
#include "shm/machine.h"

#define STEP_PART      16u              /* of the configured budget: one step, down or up */
#define LEAST_PART     8u               /* the working size never goes below this part of it */
#define STEP_NS        200000000ull     /* at least so long between two steps down */
#define TICK_MS        20u

static struct machine_pressure {
    uv_poll_t     file;                 /* PSI or FIFO */
    uv_fs_event_t group;                /* memory.events */
    uv_timer_t    tick;
    int           fd;                   /* of `file` */
    bool          started, has_file, is_fifo, has_group, ticking;
    char          events_path[PATH_MAX];
    uint64_t      counted;              /* sum of the counts in memory.events */
    uint64_t      events;               /* since the start */
    uint64_t      event_ns, step_ns, raised_ns;
} pressure = { .fd = -1 };

/* ---- The working size ---- */

static uint64_t larger(uint64_t a, uint64_t b) { return a > b ? a : b; }
static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static void step_down(void)
{
    uint64_t all = budget_configured(), from = smaller(budget_limit(), budget_used()), could = balance_could_give_bytes();
    uint64_t to = from > all / STEP_PART ? from - all / STEP_PART : 0, must = budget_used() > could / 2 ? budget_used() - could / 2 : 0;
    to = larger(larger(to, must), all / LEAST_PART);
    if (to < budget_limit())
        budget_work_with(to);
}

static void step_up(uint64_t now)
{
    budget_work_with(budget_limit() + budget_configured() / STEP_PART + 1);
    pressure.raised_ns = now;
}

/* What clients hear: 80 at a first event, more the less of the budget is left to work with. */
static uint32_t percent_now(void)
{
    uint64_t left = budget_limit(), all = budget_configured();
    return left < all / 2 ? 95 : left < all / 4 * 3 ? 90 : 80;
}

static void on_tick(uv_timer_t *timer)
{
    uint64_t now = os.now_ns(), since = larger(pressure.event_ns, pressure.raised_ns);
    (void)balance_relieve();
    if (now - since < CONFIG(pressure_quiet) * 1000000)
        return;
    step_up(now);
    if (budget_limit() < budget_configured())
        return;
    uv_timer_stop(timer);
    pressure.ticking = false;
    heap_pressure_machine(0);
    log_info("budget", "no pressure any more, working with all of it again");
}

static void pressure_event(const char *source)
{
    uint64_t now = os.now_ns();
    pressure.events++;
    pressure.event_ns = now;
    if (pressure.step_ns && now - pressure.step_ns < STEP_NS)
        return;
    pressure.step_ns = now;
    step_down();
    heap_pressure_machine(percent_now());
    balance_press();
    log_info("budget", "memory pressure source=%s working_bytes=%llu used_bytes=%llu", source, (unsigned long long)budget_limit(),
             (unsigned long long)budget_used());
    (void)balance_relieve();
    if (!pressure.ticking)
        uv_timer_start(&pressure.tick, on_tick, TICK_MS, TICK_MS);
    pressure.ticking = true;
}

/* ---- PSI, or a FIFO ---- */

static void on_file(uv_poll_t *poll, int status, int events)
{
    char text[256];
    if (status < 0) {
        log_warning("budget", "%s: %s, not listening any more", config.pressure_file, uv_strerror(status));
        uv_poll_stop(poll);
        return;
    }
    if (!pressure.is_fifo) {
        if (events & UV_PRIORITIZED)
            pressure_event("psi");
        return;
    }
    if (read(pressure.fd, text, sizeof text) > 0)
        pressure_event("fifo");
}

static void file_start(void)
{
    const char *path = config.pressure_file;
    struct stat st;
    if (!*path)
        return;
    pressure.is_fifo = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
    /* A FIFO is opened for both, so that it does not end when a writer goes. */
    pressure.fd = pressure.is_fifo ? open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC) : mm_machine_psi_open(path);
    if (pressure.fd < 0 || uv_poll_init(&server.loop, &pressure.file, pressure.fd) != 0) {
        log_info("budget", "%s cannot be waited for, going on without", path);
        return;
    }
    pressure.has_file = uv_poll_start(&pressure.file, pressure.is_fifo ? UV_READABLE : UV_PRIORITIZED, on_file) == 0;
    if (!pressure.has_file)
        uv_close((uv_handle_t *)&pressure.file, NULL);
}

/* ---- memory.events ---- */

static bool events_count(uint64_t *ret_sum)
{
    static const char *const keys[] = { "high", "max", "oom" };
    char text[1024];
    uint64_t value;
    int fd = open(pressure.events_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    text[n] = 0;
    *ret_sum = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        *ret_sum += mm_machine_parse_value(text, keys[i], &value) ? value : 0;
    return true;
}

static void on_group(UNUSED uv_fs_event_t *handle, UNUSED const char *name, UNUSED int events, UNUSED int status)
{
    uint64_t sum;
    if (!events_count(&sum))
        return;
    bool more = sum > pressure.counted;
    pressure.counted = sum;
    if (more)
        pressure_event("cgroup");
}

static void group_start(void)
{
    const char *path = config.pressure_events;
    if (!*path)
        return;
    if (strcmp(path, "auto") != 0)
        snprintf(pressure.events_path, sizeof pressure.events_path, "%s", path);
    else if (!mm_machine_cgroup_file("memory.events", pressure.events_path, sizeof pressure.events_path))
        return;
    if (!events_count(&pressure.counted) || uv_fs_event_init(&server.loop, &pressure.group) != 0) {
        log_info("budget", "%s cannot be read, going on without", pressure.events_path);
        return;
    }
    pressure.has_group = uv_fs_event_start(&pressure.group, on_group, pressure.events_path, 0) == 0;
    if (!pressure.has_group)
        uv_close((uv_handle_t *)&pressure.group, NULL);
}

/* ---- Start and end ---- */

void pressure_start(void)
{
    uv_timer_init(&server.loop, &pressure.tick);
    pressure.started = true;
    file_start();
    group_start();
}

void pressure_stop(void)
{
    if (!pressure.started)
        return;
    pressure.started = false;
    uv_close((uv_handle_t *)&pressure.tick, NULL);
    if (pressure.has_file)
        uv_close((uv_handle_t *)&pressure.file, NULL);
    if (pressure.has_group)
        uv_close((uv_handle_t *)&pressure.group, NULL);
    if (pressure.fd >= 0)
        close(pressure.fd);
    pressure.fd = -1;
}

void pressure_figures(struct pressure_figures *ret)
{
    ret->events = pressure.events;
    snprintf(ret->sources, sizeof ret->sources, "%s%s%s", pressure.has_file ? pressure.is_fifo ? "fifo" : "psi" : "",
             pressure.has_file && pressure.has_group ? " " : "", pressure.has_group ? "cgroup" : pressure.has_file ? "" : "none");
}
