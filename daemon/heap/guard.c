/* guard.c — sigsetjmp around client memory. See guard.h. The mask is not saved, which would be a system call each time; after a fault
 * SIGBUS is let through again, in case whoever wraps the handler blocked it. */
#include "daemon/heap/guard.h"

#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *guard_top;

static void on_sigbus(int number)
{
    sigjmp_buf *top = guard_top;
    if (top)
        siglongjmp(*top, 1);
    signal(number, SIG_DFL);
    raise(number);
}

void guard_init(void)
{
    struct sigaction action = { .sa_handler = on_sigbus, .sa_flags = SA_NODEFER };
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

bool guard_run(void (*body)(void *argument), void *argument)
{
    sigjmp_buf here, *outer = guard_top;
    volatile bool whole = false;
    if (sigsetjmp(here, 0) == 0) {
        guard_top = &here;
        body(argument);
        whole = true;
    } else {
        sigset_t bus;
        sigemptyset(&bus);
        sigaddset(&bus, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
    }
    guard_top = outer;
    return whole;
}
