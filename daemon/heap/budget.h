/* budget.h — one budget for all memory that the daemon may make resident: lent segments and the warm pool.
 *
 * Any thread; a take is one compare-and-swap loop. What counts: memory that is resident, or may become so by a grant (heap.h). */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* Sets the budget; 0: three quarters of RAM or of the daemon's own cgroup limit. May shrink below what is used: takes fail until then. */
void budget_set(uint64_t bytes);
uint64_t budget_limit(void);
uint64_t budget_used(void);

bool budget_take(uint64_t bytes);
void budget_give(uint64_t bytes);

#endif
