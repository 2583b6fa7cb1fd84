/* pressure.c — see pressure.h. */
#include "daemon/heap/pressure.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "daemon/heap/heap.h"
#include "proto/message.h"
#include "proto/packet.h"

#define BIT(set, p) ((set)[(p) / 64] >> (p) % 64 & 1)

static uint32_t machine_percent;        /* any thread, relaxed */
static void   (*tell_workers)(void);    /* NULL: there are none */

/* Levels that every client is told of. */
static bool level_reported(uint32_t level) { return level == 80 || level == 90 || level == 95; }

void pressure_levels_move(uint64_t high[2], uint32_t percent, uint64_t ret_risen[2])
{
    ret_risen[0] = ret_risen[1] = 0;
    for (uint32_t p = 1; p <= MM_PRESSURE_MOST; p++) {
        uint64_t bit = (uint64_t)1 << p % 64;
        if (!(high[p / 64] & bit) && percent >= p) {
            high[p / 64] |= bit;
            ret_risen[p / 64] |= bit;
        } else if (percent + MM_PRESSURE_FALL <= p || percent == 0) {
            high[p / 64] &= ~bit;
        }
    }
}

/* Publishes one source's figure and the levels that it has risen through; notes whether they are worth a letter. */
static void source_move(struct heap *heap, enum mm_pressure_source source, uint32_t percent)
{
    struct mm_pressure_words *shared = mm_control_pressure(heap->control);
    struct pressure *own = &heap->pressure;
    uint64_t risen[2], wanted[2];
    own->percent[source] = percent;
    mm_store_relaxed(&shared->percent[source], percent);
    pressure_levels_move(own->high[source], percent, risen);
    for (uint32_t p = 1; p <= MM_PRESSURE_MOST; p++)
        if (BIT(risen, p))
            mm_store_seq_cst(&shared->risen[source][p], (uint16_t)(shared->risen[source][p] + 1));
    if (!risen[0] && !risen[1])
        return;
    /* Pair with the client's store in morph_heap_on_pressure(): either it is seen here, or the counter there. */
    wanted[0] = mm_load_seq_cst(&shared->wanted[0]);
    wanted[1] = mm_load_seq_cst(&shared->wanted[1]);
    for (uint32_t p = MM_PRESSURE_MOST; p >= 1; p--) {
        if (!BIT(risen, p) || !(BIT(wanted, p) || level_reported(p)))
            continue;
        own->level = own->due && own->level > p ? own->level : p;
        own->machine = source == MM_PRESSURE_MACHINE;
        own->due = true;
        return;
    }
}

/* The kernel knows whether the client has read its mail. The counters were stored before this look (seq_cst), and a client looks at them after it
 * has read whatever lies there: so a letter that is not sent is not missed. */
static bool letter_unread(struct heap *heap)
{
    int unread = 0;
    if (heap->pressure.sent && ioctl(heap->socket, SIOCOUTQ, &unread) == 0 && unread == 0)
        heap->pressure.sent = false;
    return heap->pressure.sent;
}

static void letter_send(struct heap *heap)
{
    struct pressure *own = &heap->pressure;
    struct mm_message message = { .id = MM_MSG_PRESSURE };
    if (!mm_load_acquire(&heap->welcomed) || letter_unread(heap))        /* pairs with the release in dispatch.c */
        return;                                 /* stays due */
    message.as.pressure.level = own->level;
    message.as.pressure.percent = own->percent[MM_PRESSURE_HEAP];
    message.as.pressure.machine = own->machine ? own->percent[MM_PRESSURE_MACHINE] : 0;
    message.as.pressure.granted_bytes = heap->granted_blocks << MM_BLOCK_SHIFT;
    message.as.pressure.limit_bytes = heap->limit_blocks << MM_BLOCK_SHIFT;
    int r = mm_packet_send_message(heap->socket, &message, NULL, 0);
    if (r == -EAGAIN)
        return;
    own->due = false;                           /* any other failure is the end of the connection, which is heard elsewhere */
    own->sent = r == 0;
    mm_store_relaxed(&own->letters, own->letters + (r == 0));
}

static uint32_t use_percent(const struct heap *heap)
{
    uint64_t limit = heap->limit_blocks;
    return limit == 0 ? 0 : (uint32_t)(heap->granted_blocks * 100 / limit);
}

void pressure_update(struct heap *heap)
{
    uint32_t use = use_percent(heap), machine = mm_load_relaxed(&machine_percent);
    if (use != heap->pressure.percent[MM_PRESSURE_HEAP])
        source_move(heap, MM_PRESSURE_HEAP, use);
    if (machine != heap->pressure.percent[MM_PRESSURE_MACHINE])
        source_move(heap, MM_PRESSURE_MACHINE, machine);
    if (heap->pressure.due)
        letter_send(heap);
}

void pressure_init(void (*tell)(void)) { tell_workers = tell; }

void heap_pressure_machine(uint32_t percent)
{
    percent = percent < MM_PRESSURE_MOST ? percent : MM_PRESSURE_MOST;
    if (mm_load_relaxed(&machine_percent) == percent)
        return;
    mm_store_relaxed(&machine_percent, percent);
    if (tell_workers)
        tell_workers();
}

uint32_t heap_pressure_machine_now(void) { return mm_load_relaxed(&machine_percent); }
