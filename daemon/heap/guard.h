/* guard.h — surviving a fault in a client's memory.
 *
 * Sealed memfds cannot shrink under us, but a page of one can still be impossible to have: the machine or a cgroup is out of memory.
 * Then a touch raises SIGBUS. Code that touches client memory runs inside guard_run(): a fault there ends the function, and the
 * caller condemns the heap. A fault anywhere else is a bug and ends the daemon as usual.
 * Per thread; nests. `body` must hold no lock and own nothing when it touches client memory. */
#ifndef DAEMON_GUARD_H
#define DAEMON_GUARD_H

#include <stdbool.h>

/* Installs the handler; once, before threads start. */
void guard_init(void);

/* Runs body(argument). True if it came to its end, false if it touched memory that cannot be had. */
bool guard_run(void (*body)(void *argument), void *argument);

#endif
