/* cmd_run.c — morphmemctl run: a private daemon around one command, and the story at the end.
 *
 * Signals that end us are read from a signalfd, so there is no moment in which one of them leaves something behind: they go on to the
 * command (unless the terminal has sent them to it already), and when it has ended the daemon ends and its directory goes.
 */
#define _GNU_SOURCE
#include "client/ctl/ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/link.h"
#include "client/ctl/private.h"

#define STORY_STEP_MS   5
#define STORY_WAIT_MS   1000

static const int run_signals[] = { SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT };

struct run {
    struct private_daemon daemon;
    int      signals;                   /* signalfd */
    sigset_t before;                    /* the mask that we were started with */
    pid_t    command;
    char     log[64];                   /* with --keep-log; else empty */
};

static int run_signals_take(struct run *run)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof run_signals / sizeof *run_signals; i++)
        sigaddset(&set, run_signals[i]);
    sigprocmask(SIG_BLOCK, &set, &run->before);
    signal(SIGCHLD, SIG_DFL);           /* ignored by whoever started us, children would vanish without a status */
    run->signals = signalfd(-1, &set, SFD_CLOEXEC);
    return run->signals < 0 ? ctl_fail(CTL_FAILED, "out of file descriptors; raise the limit (ulimit -n)") : CTL_FINE;
}

static void command_exec(const struct run *run, char **arguments)
{
    setenv(MM_ADDRESS_VARIABLE, run->daemon.socket, 1);
    sigprocmask(SIG_SETMASK, &run->before, NULL);
    execvp(arguments[0], arguments);
    int code = errno == ENOENT ? CTL_NOT_FOUND : CTL_CANNOT_RUN;
    ctl_fail(code, "cannot run %s: %s", arguments[0], strerror(errno));
    _exit(code);
}

/* The command's end, as shells tell it; -1 while it runs. */
static int command_status(pid_t command)
{
    int status;
    if (waitpid(command, &status, WNOHANG) != command)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int command_wait(const struct run *run)
{
    struct signalfd_siginfo signal;
    for (;;) {
        int code = command_status(run->command);
        if (code >= 0)
            return code;
        if (read(run->signals, &signal, sizeof signal) != sizeof signal || signal.ssi_signo == SIGCHLD)
            continue;
        if (signal.ssi_code != SI_KERNEL)       /* from the terminal it went to the whole group, the command among it */
            kill(run->command, (int)signal.ssi_signo);
    }
}

/* The daemon's figures once it has let go of all that the command had: when it has no connection but ours. What the command has left
 * running keeps its own, so there is an end to the patience. */
static int story_settle(struct link *link, json_t **ret_daemon)
{
    for (unsigned waited_ms = 0; ; waited_ms += STORY_STEP_MS) {
        int code = stats_ask(link, ret_daemon);
        if (code != CTL_FINE || waited_ms >= STORY_WAIT_MS || json_integer_value(json_object_get(*ret_daemon, "connections")) <= 1)
            return code;
        json_decref(*ret_daemon);
        *ret_daemon = NULL;
        (void)poll(NULL, 0, STORY_STEP_MS);
    }
}

/* The figures of the private daemon, printed. The command's code stands, whatever comes of this. */
static int story_tell(const struct ctl *ctl, const struct run *run, char **arguments, int code)
{
    static struct link link;
    json_t *heaps = NULL, *daemon = NULL, *words = json_array();
    int asked = link_open(&link, run->daemon.socket);
    if (asked == CTL_FINE)
        asked = story_settle(&link, &daemon);
    if (asked == CTL_FINE)
        asked = heaps_ask(&link, 0, true, &heaps);
    link_close(&link);
    for (; asked == CTL_FINE && *arguments; arguments++)
        (void)json_array_append_new(words, json_string(*arguments) ?: json_string("?"));
    if (asked != CTL_FINE) {
        ctl_fail(CTL_FAILED, "no figures: %s", link.error);
    } else if (ctl->json) {
        (void)ctl_json_print(ctl, json_pack("{s:O, s:i, s:O, s:O}", "command", words, "exit", code, "daemon", daemon, "heaps", heaps));
    } else {
        fputc('\n', stderr);
        heaps_print(stderr, heaps, true);
        fputc('\n', stderr);
        stats_print(stderr, daemon);
    }
    json_decref(words);
    json_decref(heaps);
    json_decref(daemon);
    return code;
}

static int run_command(const struct ctl *ctl, struct run *run, char **arguments)
{
    fflush(NULL);
    run->command = fork();
    if (run->command == 0)
        command_exec(run, arguments);
    if (run->command < 0)
        return ctl_fail(CTL_CANNOT_RUN, "cannot run %s: %s", arguments[0], strerror(errno));
    return story_tell(ctl, run, arguments, command_wait(run));
}

/* Interrupted before the command began: as if the signal had ended us. */
static int run_interrupted(const struct run *run)
{
    struct signalfd_siginfo signal;
    do
        if (read(run->signals, &signal, sizeof signal) != sizeof signal)
            return CTL_FAILED;
    while (signal.ssi_signo == SIGCHLD);
    return 128 + (int)signal.ssi_signo;
}

static int run_run(const struct ctl *ctl, int count, char **arguments)
{
    struct run run = { .log = "" };
    (void)count;
    int code = run_signals_take(&run);
    if (code != CTL_FINE)
        return code;
    if (ctl->keep_log)
        snprintf(run.log, sizeof run.log, "morphmemd-%ld.log", (long)getpid());
    int r = private_start(&run.daemon, ctl->limit, ctl->keep_log ? run.log : NULL, run.signals, &run.before);
    code = r == 0 ? run_command(ctl, &run, arguments) : r == -EINTR ? run_interrupted(&run) : CTL_NO_DAEMON;
    private_stop(&run.daemon);
    if (ctl->keep_log)
        fprintf(stderr, "morphmemctl: the daemon's log is in %s\n", run.log);
    close(run.signals);
    return code;
}

const struct ctl_command cmd_run = {
    .name = "run", .arguments = "[--limit SIZE] [--keep-log] -- COMMAND...",
    .help = "run a command with a daemon of its own",
    .options = CTL_OPTION_LIMIT | CTL_OPTION_KEEP_LOG, .least = 1, .most = -1, .run = run_run
};
