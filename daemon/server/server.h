/* server.h — the loop thread: connections, letters, and who owns which heap.
 *
 * listen.c accepts; conn.c is one connection's life; dispatch.c answers its letters, collect.c those about collections, limit.c those about
 * bounds; registry.c knows users and heaps; report.c puts figures into words. Everything here runs on the loop thread; work on heaps goes to
 * their workers and comes back by loop_post(). A uv callback is named on_<event>, and is short.   Design: DESIGN D7, section 11. */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include <pthread.h>
#include <uv.h>

#include "daemon/gc/receipt.h"
#include "daemon/heap/census.h"
#include "daemon/heap/heap.h"
#include "daemon/heap/job.h"
#include "daemon/heap/types.h"
#include "proto/message.h"
#include "proto/report.h"

/* What is kept of a heap that has ended, and what a report of an open one starts from. */
struct heap_card {
    uint64_t id, opened_ns, closed_ns;  /* closed_ns 0: open */
    uint32_t mode;
    pid_t    pid;
    uid_t    uid;
    char     name[64], program[64];
    uint32_t types;
    uint32_t condemned;
    /* Of the last census, and the accounts at the end. */
    uint64_t limit_blocks, granted_blocks, peak_blocks, resident_blocks, mapped_bytes, grants, refusals, doorbells, naps, given_back_blocks, pressure_letters;
    uint64_t used_bytes, arena_bytes, arenas, pool_bytes, pools, pool_objects, object_bytes, large_bytes, spare_bytes, threads, waits, wait_ns;
    uint64_t live_bytes, nursery_bytes, young_bytes, old_bytes;
    uint64_t target_bytes, share_bytes, asks;
    /* Of the collector's log. */
    uint64_t minors, majors, markings, mark_helped, put_offs, collect_ns, copied_bytes, promoted_bytes, freed_bytes;
    uint64_t pause_target_ns, pauses_over_target;
    const char *pause_max_kind, *pause_max_reason;
    uint64_t pause_p50_ns, pause_p99_ns, pause_p999_ns, pause_max_ns, stop_p50_ns, stop_p99_ns, stop_max_ns;
};

/* A reply in several parts that a connection is being given. One at a time: letters behind it wait in the socket. */
struct answer {
    uint32_t       id, seq;             /* the request; 0: none */
    uint64_t       heap;                /* HEAPS: the last one told; TYPES: which one */
    uint64_t       only;                /* HEAPS: just this one */
    uint32_t       index;               /* TYPES: next id; HEAPS: next closed card */
    bool           closed, finished;
    struct census *census;              /* at a worker, or its result */
    struct receipt *receipts;           /* LOG: what is told; `index` is the next */
    uint32_t       receipt_count;
};

/* For what a callback is given and does not need. */
#define UNUSED __attribute__((unused))

struct conn {
    struct conn    *next, **link;       /* server.conns */
    uv_poll_t       poll;               /* the socket */
    uv_poll_t       death;              /* the peer's pidfd */
    int             fd, pidfd;          /* pidfd -1: none to be had */
    pid_t           pid;
    uid_t           uid;
    gid_t           gid;
    struct user    *user;
    bool            greeted, closing;
    unsigned        handles;            /* uv handles not yet closed */
    unsigned        holds;              /* jobs at workers that will come back */
    uint64_t        deadline_ns;        /* hello or write; 0: none */
    struct heap    *heap;               /* NULL: a tool, or not open */
    struct heap_card card;
    struct type_table types;
    struct census   last_census;        /* taken before the heap is released */
    struct job      released;
    struct answer   answer;
    bool            limiting;           /* a LIMIT of it is at a worker */
    char           *unsent;             /* a packet that the socket had no room for */
    size_t          unsent_bytes;
};

struct server {
    uv_loop_t       loop;
    uv_async_t      mailbox;
    uv_timer_t      deadlines, idle, watchdog;
    uv_signal_t     on_term, on_int, on_hup;
    uv_poll_t       listener;
    int             listen_fd, lock_fd, spare_fd;
    char            path[108];
    bool            path_ours, stopping, deadlines_on;
    pthread_mutex_t lock;               /* the mailbox list */
    struct job     *first, **last;
    struct conn    *conns;
    struct user    *users;
    struct conn   **heaps;              /* sorted by heap id */
    uint32_t        heap_count, heap_room;
    struct heap_card *closed;           /* ring of the last ones */
    uint32_t        closed_count, closed_next;
    uint64_t        started_ns, next_heap, connections, heaps_opened, refused, letters, letters_bad;
    uint64_t        past_grants, past_grants_ahead, past_refusals;      /* of heaps that ended */
    uint64_t        past_minors, past_majors, past_put_offs, past_collect_ns, past_pause_max_ns;
};

extern struct server server;

/* listen.c: finds or makes the listening socket. 0; 1: another daemon serves there already; -1 (logged). */
int listen_open(bool is_private);
int listen_start(void);
void listen_stop(void);

/* conn.c */
void conn_new(int fd);                                  /* takes the descriptor */
void conn_close(struct conn *conn);                     /* begins the end; the struct lives until everything has come back */
void conn_release_hold(struct conn *conn);
void conn_send(struct conn *conn, const struct mm_message *message, const int *fds, unsigned fd_count);
void conn_send_error(struct conn *conn, uint32_t seq, int error, const char *text);     /* error: a negative code */
void conn_resume(struct conn *conn);                    /* an answer is finished: read on */
void conn_on_condemned(uint64_t heap);

/* dispatch.c: one letter. What it does with the connection is its business, closing included. */
void dispatch(struct conn *conn, const struct mm_message *message);
void answer_continue(struct conn *conn);                /* there is room in the socket, or a census is back */
void answer_part(struct conn *conn, struct mm_report_writer *report, bool last);        /* NULL: without a body */
void answer_drop(struct answer *answer);                /* frees what it holds, and is none any more */

/* What a heap of this connection's process may have at most here, of `asked` bytes: the configuration, the budget, its cgroup. */
uint64_t limit_allowed(const struct conn *conn, uint64_t asked);
#define LIMIT_LEAST_BYTES ((uint64_t)4 * MM_BLOCK_BYTES)

/* limit.c: another bound */
void on_limit(struct conn *conn, const struct mm_message *message);

/* collect.c: letters about collections */
void on_roots(struct conn *conn, const struct mm_message *message);
void on_roots_get(struct conn *conn, const struct mm_message *message);
void on_collect(struct conn *conn, const struct mm_message *message);
void on_log(struct conn *conn, const struct mm_message *message);
bool log_step(struct conn *conn);                       /* LOG: the next parts. True: goes on later */

/* registry.c */
struct user *registry_user(uid_t uid);                  /* found or made; NULL: no memory */
void registry_user_unref(struct user *user);
int registry_add(struct conn *conn);                    /* conn->heap is set. 0 or -ENOMEM */
void registry_remove(struct conn *conn);
struct conn *registry_find(uint64_t heap);
struct conn *registry_after(uint64_t heap);             /* the first with a larger id; NULL: none */
void registry_record(const struct heap_card *card);     /* keeps a card of an ended heap */
bool registry_is_admin(const struct conn *conn);
bool registry_may_see(const struct conn *conn, uid_t uid);      /* what is that user's */

/* pressure.c: listens to the kernel's words about memory, and lowers and raises the budget's working size */
void pressure_start(void);
void pressure_stop(void);                               /* before the loop ends; again: does nothing */
struct pressure_figures { uint64_t events; char sources[32]; };
void pressure_figures(struct pressure_figures *ret);

/* report.c */
void report_daemon(struct mm_report_writer *report);
void report_heap(struct mm_report_writer *report, const struct heap_card *card);
void report_type(struct mm_report_writer *report, uint32_t id, const struct type *type, const struct census_type *count);
void report_receipt(struct mm_report_writer *report, const struct receipt *receipt);
void report_limit(struct mm_report_writer *report, uint64_t heap, uint64_t blocks, uint64_t was_blocks, uint64_t granted_blocks);
void report_config(struct mm_report_writer *report);
void card_update(struct heap_card *card, const struct conn *conn, const struct census *census);

/* main.c */
void server_stop(void);                                 /* begins an orderly end */
void server_idle_changed(void);                         /* a heap was opened or closed */
void server_watch_deadlines(void);

#endif
