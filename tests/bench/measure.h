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

/* Memory of the shared memory files to which a daemon holds descriptors (its segments), mapped or not, each file once. */
uint64_t measure_segments(pid_t daemon);

/* Memory of the control areas that a daemon maps. Walks its page tables: not for a daemon at work. */
uint64_t measure_controls(pid_t daemon);

/* Machine-wide, since it was started. */
struct measure_machine { uint64_t busy_ms, stolen_ms; };
void measure_machine(struct measure_machine *ret_machine);

/* Memory of the kernel's objects on the whole machine. False: may not be read (that takes root). */
bool measure_kernel_objects(uint64_t *ret_bytes);

#endif
