/* measure.h — what the kernel knows of processes and of the machine. All is read from outside, without stopping anybody. */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Time on a processor of all threads of a process, also of ended ones. 0 if it is gone. */
uint64_t measure_cpu_ns(pid_t pid);

/* Memory of a process without shared memory files, which several processes map: those are counted once, below. */
struct measure_memory { uint64_t anonymous_bytes, file_bytes, page_table_bytes; };
void measure_memory(pid_t pid, struct measure_memory *ret_memory);

/* Memory of the memfds that a process holds, mapped or not, each file once. Segments are those of 2, 32 or 256 MiB. */
struct measure_memfds { uint64_t segment_bytes, other_bytes; };
void measure_memfds(pid_t pid, struct measure_memfds *ret_memfds);

/* Machine-wide, since it was started. */
struct measure_machine { uint64_t busy_ms, stolen_ms; };
void measure_machine(struct measure_machine *ret_machine);

/* Memory of the kernel's objects on the whole machine. False: may not be read (that takes root). */
bool measure_kernel_objects(uint64_t *ret_bytes);

#endif
