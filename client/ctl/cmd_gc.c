/* cmd_gc.c — morphmemctl gc: collects a heap now, and says what came of it. */
#include "client/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/ctl/link.h"
#include "client/ctl/text.h"

#define GC_WAIT_MS 120000               /* a daemon may be told to wait a minute for a thread */

static uint64_t figure(const json_t *receipt, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(receipt, key));
    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t alive_bytes(const json_t *receipt)
{
    return figure(receipt, "copied_bytes") + figure(receipt, "promoted_bytes") + figure(receipt, "kept_bytes") + figure(receipt, "marked_bytes");
}

static int put_off(const json_t *receipt)
{
    uint64_t tid = figure(receipt, "late_tid");
    if (tid)
        return ctl_fail(CTL_FAILED, "the collection was put off: thread %" PRIu64 " did not stop in time", tid);
    return ctl_fail(CTL_FAILED, "the collection was put off: the roots of a thread do not fit its root area");
}

static void receipt_print(const json_t *receipt)
{
    char pause[TEXT_BYTES], stop[TEXT_BYTES], alive[TEXT_BYTES], freed[TEXT_BYTES], old[TEXT_BYTES], kind[TEXT_BYTES];
    const char *name = json_string_value(json_object_get(receipt, "kind"));
    text_clean(name ? name : "?", kind, sizeof kind);
    printf("heap %" PRIu64 ", cycle %" PRIu64 ": %s collection, paused %s after %s to stop, %s alive, %s freed, %s old\n",
           figure(receipt, "heap"), figure(receipt, "cycle"), kind, text_duration(figure(receipt, "pause_ns"), pause),
           text_duration(figure(receipt, "stop_ns"), stop), text_size(alive_bytes(receipt), alive),
           text_size(figure(receipt, "freed_bytes"), freed), text_size(figure(receipt, "old_bytes"), old));
}

static int gc_show(const struct ctl *ctl, json_t *receipt)
{
    bool late = json_is_true(json_object_get(receipt, "put_off"));
    int code = ctl->json ? ctl_json_print(ctl, json_incref(receipt)) : CTL_FINE;
    if (code == CTL_FINE && late)
        code = put_off(receipt);
    else if (!ctl->json)
        receipt_print(receipt);
    json_decref(receipt);
    return code;
}

static int gc_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    struct mm_message request = { .id = MM_MSG_COLLECT };
    json_t *bodies;
    (void)count;
    if (!ctl_number(arguments[0], &request.as.collect.heap) || request.as.collect.heap == 0)
        return ctl_fail(CTL_USAGE, "'%s' is not the number of a heap; 'morphmemctl heaps' lists them", arguments[0]);
    request.as.collect.kind = ctl->kind;
    int code = link_open(&link, ctl->socket);
    link.timeout_ms = GC_WAIT_MS;
    if (code == CTL_FINE)
        code = link_ask(&link, &request, &bodies);
    link_close(&link);
    if (code != CTL_FINE)
        return ctl_fail(code, "%s", link.error);
    json_t *receipt = json_array_get(bodies, 0);
    receipt = receipt ? json_incref(receipt) : json_object();
    json_decref(bodies);
    return gc_show(ctl, receipt);
}

const struct ctl_command cmd_gc = {
    .name = "gc", .arguments = "[--minor | --major | --compact] HEAP", .help = "collects a heap now",
    .options = CTL_OPTION_KIND, .least = 1, .most = 1, .run = gc_run
};
