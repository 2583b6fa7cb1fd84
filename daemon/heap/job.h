/* job.h — something to be done by another thread: the loop's or a worker's mailbox holds a list of them. */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

struct job {
    struct job *next;
    void (*run)(struct job *job);       /* on the receiving thread; the job is no longer in any mailbox */
};

/* Posts to the loop thread; runs in the order of posting. Any thread. */
void loop_post(struct job *job);

#endif
