/* budget.h — one budget for all memory that the daemon may make resident: lent segments and the warm pool.
 *
 * Two sizes: what is configured, and the working size, which pressure lowers and quiet raises again (server/pressure.c). Takes are held to the
 * working size. Who is asked to give when a take fails: balance.h.
 * Any thread; a take is one compare-and-swap loop. What counts: memory that is resident, or may become so by a grant (heap.h). */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

/* Sets the budget, and the working size to all of it; 0: three quarters of RAM or of the daemon's own cgroup limit. May shrink below what
 * is used: takes fail until then. */
void budget_set(uint64_t bytes);
uint64_t budget_configured(void);

/* The working size. It is never above what is configured; below what is used: takes fail until enough is given. */
void budget_work_with(uint64_t bytes);
uint64_t budget_limit(void);
uint64_t budget_used(void);

bool budget_take(uint64_t bytes);
bool budget_take_keeping(uint64_t bytes, uint64_t keep_bytes);  /* only if `keep_bytes` are left afterwards */
void budget_give(uint64_t bytes);

#endif
