/* morphmem/error.h — every error that morphmem reports: one list, from which the codes, the names and the sentences come.
 *
 * Functions return 0 or a negative code from this list. The numbers are part of the ABI and of the protocol.
 */
#ifndef MORPHMEM_ERROR_H
#define MORPHMEM_ERROR_H

/* X(name, number, sentence): the sentence says what is wrong, and what to do where something can be done. */
#define MORPH_ERROR_MAP(X)                                                                                              \
    X(NOMEM,      1, "the heap is at its limit; free something or open it with a larger limit")                         \
    X(BUDGET,     2, "the machine's memory budget for morphmem is spent; see 'morphmemctl stats'")                      \
    X(QUOTA,      3, "this user's share of the daemon is spent; close heaps or raise the per-user limits in morphmemd.conf") \
    X(INVALID,    4, "an argument is not valid")                                                                        \
    X(TOOLARGE,   5, "one object cannot be that large")                                                                 \
    X(NODAEMON,   6, "no morphmemd answers; start one, or name its socket in MORPHMEM_SOCKET")                          \
    X(PERMISSION, 7, "morphmemd may not be reached or asked this by this user")                                         \
    X(VERSION,    8, "client and daemon speak different versions of the protocol; install the same morphmem on both sides") \
    X(PROTOCOL,   9, "the peer sent something that cannot be accepted")                                                 \
    X(LOST,      10, "the daemon went away; what was allocated stays readable, nothing more can be allocated")          \
    X(CONDEMNED, 11, "the daemon gave this heap up because its shared memory was damaged")                              \
    X(FORKED,    12, "this heap belongs to the parent process; open one after fork")                                    \
    X(BUSY,      13, "threads are still attached; detach them first")                                                   \
    X(THREADS,   14, "all thread slots of the heap are taken; open it with more threads")                               \
    X(SPACES,    15, "all arenas and pools of the heap are taken")                                                      \
    X(TYPE,      16, "this type name is registered with another layout")                                                \
    X(NOTYPES,   17, "the heap has all the types that it can have")                                                     \
    X(NOHEAP,    18, "there is no such heap")                                                                           \
    X(TIMEOUT,   19, "the daemon did not answer in time")                                                               \
    X(FILES,     20, "out of file descriptors; raise the limit (ulimit -n)")                                            \
    X(MEMORY,    21, "out of memory or address space outside the heap")                                                 \
    X(MODE,      22, "heaps of this mode cannot do that")                                                               \
    X(UNKNOWN,   23, "the daemon does not know this request; it is older than this program")                            \
    X(SYSTEM,    24, "the system refused a call that should not fail")                                                  \
    X(ROOTS,     25, "the thread's roots do not fit its root area; recursion is too deep or a root set too large")      \
    X(HANDLES,   26, "all handles of the heap are taken; free some")                                                    \
    X(PUTOFF,    27, "the collection was put off: a thread did not stop in time; see 'morphmemctl log'")                \
    X(INUSE,     28, "more of the heap is in use than that limit allows; free something first")

enum morph_error {
    MORPH_OK = 0,
#define X(name, number, sentence) MORPH_E##name = -(number),
    MORPH_ERROR_MAP(X)
#undef X
    MORPH_ERROR_END
};

#endif
