/* morph_malloc.c — the interface of compiled Morph programs on malloc, as an older memory system without a collector has it: one zeroed
 * allocation for each object, nothing is ever freed, and roots are of no interest. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <morphmem/morph-abi.h>

static size_t string_offset[] = { 0 };

MorphTypeInfo mph_ti_string = { .name = "string", .size = 16 };
MorphTypeInfo mph_ti_string_real = { .name = "string", .size = 16, .num_pointers = 1, .pointer_offsets = string_offset };
MorphTypeInfo mph_ti_raw = { .name = "raw" };
MorphTypeInfo mph_ti_array = { .name = "array", .size = 40 };
MorphTypeInfo mph_ti_map = { .name = "map", .size = 40 };
MorphTypeInfo mph_ti_closure = { .name = "closure", .size = 16 };

void mph_init_memory(MorphContext *context) { (void)context; }
void mph_destroy_memory(MorphContext *context) { (void)context; }

void *mph_alloc(MorphContext *context, size_t size, MorphTypeInfo *type)
{
    (void)context, (void)type;
    void *object = calloc(1, size ? size : 1);
    if (object)
        return object;
    fprintf(stderr, "out of memory\n");
    exit(1);
}

void mph_gc_push_root(MorphContext *context, void **slot) { (void)context, (void)slot; }
void mph_gc_pop_roots(MorphContext *context, int count) { (void)context, (void)count; }
void mph_gc_collect(MorphContext *context) { (void)context; }
void mph_swap_in(MorphContext *context, void *object) { (void)context, (void)object; }
void mph_start_daemon(MorphContext *context) { (void)context; }
void mph_stop_daemon(MorphContext *context) { (void)context; }

uint64_t mph_time_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void __cyg_profile_func_enter(void *function, void *call_site) { (void)function, (void)call_site; }
void __cyg_profile_func_exit(void *function, void *call_site) { (void)function, (void)call_site; }
