/* fixed.c — heaps whose objects never move: how their threads are stopped, and what they report (DESIGN section 6 f; other side:
 * daemon/gc/fixed.c; [fixed.stop], [fixed.roots]).
 *
 * A thread is stopped wherever it is, by a real-time signal, whose handler reports registers and machine stack and parks. In the library it is only
 * noted, and the thread stops when it comes out: `inside` counts how deep it is, and every lock of ours is held inside, so no thread is stopped
 * with one. Threads that wait in the library, or that said that they are in a blocking call, have reported on entry and need no signal.
 * The daemon cannot send signals. One thread of ours a heap sleeps on the heap's stop word, and sends them when it is woken.
 * Static data is everybody's: each thread that stops writes what it finds there into one slot that belongs to nobody, so what a thread
 * leaves behind there is known when it is gone.
 * Reported are granules (shm/slot.h), each once as far as a small table remembers. */
#define _GNU_SOURCE
#include <errno.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "client/internal.h"
#include "shm/park.h"

#define AGAIN_NS     5000000ull         /* between two signals to a thread that has not stopped */
#define ASLEEP_NS    1000000000ull      /* the daemon wakes us: this is for the case that it is gone */
#define RED_ZONE     256                /* below a stack pointer (x86-64: 128) */
#define RANGES_MAX   8u

#define NOT_CHECKED __attribute__((no_sanitize("address", "thread", "undefined")))

__thread struct morph__here morph__here;

static pthread_once_t once = PTHREAD_ONCE_INIT;         /* sets what follows */
static int stop_signal;
static pthread_key_t end_key;
static bool end_key_made;
static void on_thread_end(void *unused);
static struct { uint32_t count; struct range { const char *from, *to; } range[RANGES_MAX]; } statics;

/* ---- Reporting ---- */

struct report { uint64_t base, bytes; uint32_t *at, *end, *seen; bool overflow; };

static struct report report_begin(struct morph__thread *thread)
{
    const struct morph_heap *heap = thread->heap;
    struct mm_slot *slot = thread->slot;
    uint64_t used = (slot->roots_bytes + slot->roots_extra_bytes) & ~(uint64_t)7;
    memset(thread->seen, 0, MORPH__SEEN * sizeof *thread->seen);
    return (struct report){ .base = (uintptr_t)heap->base + 1, .bytes = (uint64_t)mm_load_acquire(&heap->mapped_chunks) << MM_CHUNK_SHIFT,
                            .at = mm_slot_ambiguous(slot, used), .end = mm_slot_ambiguous(slot, MM_ROOT_AREA_BYTES), .seen = thread->seen };
}

static void report_end(struct morph__thread *thread, const struct report *report)
{
    struct mm_slot *slot = thread->slot;
    uint64_t used = (slot->roots_bytes + slot->roots_extra_bytes) & ~(uint64_t)7;
    slot->ambiguous_count = (uint32_t)(report->at - mm_slot_ambiguous(slot, used));
    slot->roots_overflow |= report->overflow;
}

/* Every word of [from, to) that may be a reference. */
static NOT_CHECKED void report_words(struct report *report, const char *from, const char *to)
{
    const uint64_t *word = (const uint64_t *)(((uintptr_t)from + 7) & ~(uintptr_t)7);
    for (; (const char *)(word + 1) <= to; word++) {
        uint64_t off = *(const volatile uint64_t *)word - report->base;
        if (off >= report->bytes)
            continue;
        uint32_t granule = (uint32_t)(off / MM_GRANULE_BYTES), *seen = &report->seen[granule % MORPH__SEEN];
        if (*seen == granule + 1)
            continue;
        *seen = granule + 1;
        if (report->at == report->end) {
            report->overflow = true;
            return;
        }
        *report->at++ = granule;
    }
}

/* From the frame of this function on, which lies below that of its caller, where the registers are. */
static __attribute__((noinline)) NOT_CHECKED void report_stack(struct report *report, const struct morph__thread *thread)
{
    const char *here = __builtin_frame_address(0);
    if (here >= thread->stack_low && here < thread->stack_end) {
        report_words(report, here, thread->stack_end);
    } else if (morph__here.interrupted) {
        report_words(report, here, (const char *)morph__here.other_end);
        report_words(report, (const char *)morph__here.interrupted - RED_ZONE, thread->stack_end);
    } else {
        report->overflow = true;        /* it runs on a stack that we do not know */
    }
}

static void statics_publish(struct morph_heap *heap)
{
    while (mm_xchg_seq_cst(&heap->statics_busy, 1))     /* held inside: by no thread that is stopped */
        sched_yield();
    struct report report = report_begin(heap->statics);
    heap->statics->slot->roots_overflow = 0;
    for (uint32_t i = 0; i < statics.count; i++)
        report_words(&report, statics.range[i].from, statics.range[i].to);
    report_end(heap->statics, &report);
    mm_store_release(&heap->statics_busy, 0);
}

void morph__fixed_publish(struct morph__thread *thread)
{
    if (!thread->stack_end)
        return;
    __builtin_unwind_init();            /* every register that a caller may count on goes into this frame */
    struct report report = report_begin(thread);
    report_stack(&report, thread);
    report_end(thread, &report);
    statics_publish(thread->heap);
}

/* ---- Static data ---- */

/* What of the first module, the program itself, can be written. The others' is left out: a library may be unloaded at any time, also in the middle
 * of reading it. */
static int on_module(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    (void)argument;
    for (unsigned i = 0; i < info->dlpi_phnum && statics.count < RANGES_MAX; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        const char *from = (const char *)(uintptr_t)(info->dlpi_addr + part->p_vaddr);
        if (part->p_type == PT_LOAD && part->p_flags & PF_W)
            statics.range[statics.count++] = (struct range){ from, from + part->p_memsz };
    }
    return 1;
}

bool morph_thread_sees(const morph_thread *public_thread, const void *address)
{
    const struct morph__thread *thread = morph__thread_of(public_thread);
    const char *at = address;
    if (!thread || !thread->stack_end)
        return false;
    if (at >= thread->stack_low && at < thread->stack_end)
        return true;
    for (uint32_t i = 0; i < statics.count; i++)
        if (at >= statics.range[i].from && at < statics.range[i].to)
            return true;
    return false;
}

/* ---- The signal ---- */

static void stop_here(void)
{
    for (struct morph__thread *thread = morph__here.thread; thread; thread = thread->here_next)
        if (mm_load_relaxed(&mm_load_acquire(&thread->slot)->state) == MM_SLOT_RUNNING && mm_load_seq_cst(&thread->heap->control->stop) & 1 && !morph__status(thread->heap))
            morph__park(thread);
}

void morph__stop_noted(void)
{
    int error = errno;
    do {
        morph__here.inside++;
        morph__here.noted = 0;
        stop_here();
        morph__here.inside--;
    } while (morph__here.noted);        /* another stop, asked for while we came out of this one */
    errno = error;
}

static uintptr_t stack_pointer_of(const ucontext_t *context)
{
#if defined(__x86_64__)
    return (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (uintptr_t)context->uc_mcontext.sp;
#else
    (void)context;
    return 0;
#endif
}

static void on_stop(int number, siginfo_t *info, void *argument)
{
    const ucontext_t *context = argument;
    (void)number;
    (void)info;
    if (morph__here.inside) {
        morph__here.noted = 1;
        return;
    }
    /* The registers lie in the frame that the kernel made, on the stack that we run on. */
    const char *frame = __builtin_frame_address(0), *low = context->uc_stack.ss_sp;
    if (low && frame >= low && frame < low + context->uc_stack.ss_size) {
        morph__here.other_end = (uintptr_t)low + context->uc_stack.ss_size;
        morph__here.interrupted = stack_pointer_of(context);
    }
    morph__stop_noted();
    morph__here.interrupted = 0;
}

static void process_prepare(void)
{
    end_key_made = pthread_key_create(&end_key, on_thread_end) == 0;
    (void)dl_iterate_phdr(on_module, NULL);
    struct sigaction now, ours = { .sa_sigaction = on_stop, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    sigemptyset(&ours.sa_mask);
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--)
        if (sigaction(number, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL && sigaction(number, &ours, NULL) == 0) {
            stop_signal = number;
            return;
        }
}

/* ---- The thread that sends it ---- */

static void signals_send(struct morph_heap *heap)
{
    uint32_t high = mm_load_relaxed(&heap->control->slots_high);
    for (uint32_t i = 0; i < high && i < heap->control->slot_count; i++) {
        struct mm_slot *slot = mm_control_slot(heap->control, i);
        uint32_t tid = mm_load_relaxed(&slot->tid);
        if (mm_load_relaxed(&slot->state) == MM_SLOT_RUNNING && tid)
            (void)tgkill(getpid(), (pid_t)tid, stop_signal);       /* gone, and its number another thread's: it will find nothing to do */
    }
}

static void *stopper_main(void *argument)
{
    struct morph_heap *heap = argument;
    uint32_t *stop = &heap->control->stop;
    while (!mm_load_seq_cst(&heap->stopper_end)) {
        uint32_t seen = mm_load_seq_cst(stop);          /* pairs with the store in handshake_begin() */
        if (seen & 1)
            signals_send(heap);
        if (seen & 1 && !(seen & 2) && !mm_cas_seq_cst(stop, seen, seen | 2))
            continue;
        (void)mm_park(stop, seen & 1 ? seen | 2 : seen, seen & 1 ? AGAIN_NS : ASLEEP_NS);
    }
    return NULL;
}

int morph__fixed_open(struct morph_heap *heap)
{
    sigset_t all, before;
    pthread_once(&once, process_prepare);
    if (!stop_signal)
        return MORPH_EBUSY;             /* the program has handlers for all of them */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&heap->stopper_thread, NULL, stopper_main, heap);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r)
        return MORPH_EMEMORY;
    (void)pthread_setname_np(heap->stopper_thread, "morphmem-stop");
    heap->stopper = true;
    return 0;
}

void morph__fixed_close(struct morph_heap *heap)
{
    if (!heap->stopper)
        return;
    mm_store_seq_cst(&heap->stopper_end, 1);
    while (pthread_tryjoin_np(heap->stopper_thread, NULL) == EBUSY) {
        mm_unpark(&heap->control->stop, INT32_MAX);     /* it may have looked before, and sleep only now */
        sched_yield();
    }
    heap->stopper = false;
}

/* ---- Threads ---- */

static bool stack_find(struct morph__thread *thread)
{
    pthread_attr_t attributes;
    void *low;
    size_t bytes;
    if (pthread_getattr_np(pthread_self(), &attributes))
        return false;
    bool known = pthread_attr_getstack(&attributes, &low, &bytes) == 0;
    pthread_attr_destroy(&attributes);
    thread->stack_low = low;
    thread->stack_end = known ? (char *)low + bytes : NULL;
    return known;
}

/* The slot of static data comes second, since the first one has been granted memory. */
static int statics_attach(struct morph_heap *heap)
{
    struct morph__thread *made;
    if (mm_load_acquire(&heap->statics))
        return 0;
    int r = morph__thread_attach_quiet(heap, &made);
    if (r < 0)
        return r;
    made->seen = calloc(MORPH__SEEN, sizeof *made->seen);
    morph__lock(heap);
    bool first = made->seen && !heap->statics;
    if (first) {
        mm_store_relaxed(&made->slot->tid, 0);          /* no thread's */
        mm_store_release(&heap->statics, made);
    }
    morph__unlock(heap);
    if (!first)
        morph__thread_detach_quiet(made);
    return heap->statics ? 0 : MORPH_EMEMORY;
}

/* Of a thread that another one has detached nothing is left but what its own list still knows. */
static struct mm_slot nobody;           /* FREE for ever */

static void orphans_free(void)
{
    for (struct morph__thread **link = &morph__here.thread; *link;) {
        struct morph__thread *thread = *link;
        if (mm_load_acquire(&thread->slot) != &nobody) {
            link = &thread->here_next;
            continue;
        }
        *link = thread->here_next;
        free(thread);
    }
}

static void on_thread_end(void *unused)
{
    (void)unused;
    morph__inside_begin();
    orphans_free();
    morph__inside_end();
}

int morph__fixed_attach(struct morph__thread *thread)
{
    int r = statics_attach(thread->heap);
    if (r < 0)
        return r;
    thread->seen = calloc(MORPH__SEEN, sizeof *thread->seen);
    if (!thread->seen || !stack_find(thread))
        return MORPH_EMEMORY;
    morph__inside_begin();
    orphans_free();
    thread->here_next = morph__here.thread;
    morph__here.thread = thread;
    morph__inside_end();
    if (end_key_made)
        (void)pthread_setspecific(end_key, thread);
    sigset_t ours;                      /* threads that handle no signals are often started with all of them blocked */
    sigemptyset(&ours);
    sigaddset(&ours, stop_signal);
    (void)pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
    return 0;
}

bool morph__fixed_detach(struct morph__thread *thread)
{
    struct morph__thread **link = &morph__here.thread;
    morph__inside_begin();
    while (*link && *link != thread)
        link = &(*link)->here_next;
    bool mine = *link != NULL;
    if (mine)
        *link = thread->here_next;
    else
        mm_store_release(&thread->slot, &nobody);       /* pairs with what its own thread reads before it looks at anything else */
    morph__inside_end();
    return mine;
}
