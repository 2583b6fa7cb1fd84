/* cmd_set_limit.c — morphmemctl set-limit: another bound for a heap that is open. */
#include "client/ctl/ctl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/link.h"
#include "client/ctl/text.h"

#define LIMIT_WAIT_MS 120000            /* the heap may be collected first, as for gc */

/* "64M" in bytes; false if it is no size, or one that no number holds. */
static bool size_bytes(const char *text, uint64_t *ret)
{
    static const char units[] = "KMGT";
    char digits[24];
    size_t count = strspn(text, "0123456789");
    if (!ctl_size(text))
        return false;
    memcpy(digits, text, count);
    digits[count] = 0;
    if (!ctl_number(digits, ret))
        return false;
    if (!text[count])
        return true;
    unsigned shift = 10 * (unsigned)(strchr(units, text[count] & ~0x20) - units + 1);
    if (*ret > UINT64_MAX >> shift)
        return false;
    *ret <<= shift;
    return true;
}

static uint64_t figure(const json_t *body, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(body, key));
    return value > 0 ? (uint64_t)value : 0;
}

static int limit_show(const struct ctl *ctl, json_t *body)
{
    char limit[TEXT_BYTES], was[TEXT_BYTES], granted[TEXT_BYTES];
    if (ctl->json)
        return ctl_json_print(ctl, body);
    printf("heap %" PRIu64 ": bound %s, was %s, %s granted\n", figure(body, "heap"), text_size(figure(body, "limit_bytes"), limit),
           text_size(figure(body, "was_bytes"), was), text_size(figure(body, "granted_bytes"), granted));
    json_decref(body);
    return CTL_FINE;
}

static int set_limit_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    struct mm_message request = { .id = MM_MSG_LIMIT };
    json_t *bodies;
    (void)count;
    if (!ctl_number(arguments[0], &request.as.limit.heap) || request.as.limit.heap == 0)
        return ctl_fail(CTL_USAGE, "'%s' is not the number of a heap; 'morphmemctl heaps' lists them", arguments[0]);
    if (!size_bytes(arguments[1], &request.as.limit.limit_bytes))
        return ctl_fail(CTL_USAGE, "'%s' is not a size such as 64M", arguments[1]);
    int code = link_open(&link, ctl->socket);
    link.timeout_ms = LIMIT_WAIT_MS;
    if (code == CTL_FINE)
        code = link_ask(&link, &request, &bodies);
    link_close(&link);
    if (code != CTL_FINE)
        return ctl_fail(code, "%s", link.error);
    json_t *body = json_array_get(bodies, 0);
    body = body ? json_incref(body) : json_object();
    json_decref(bodies);
    return limit_show(ctl, body);
}

const struct ctl_command cmd_set_limit = {
    .name = "set-limit", .arguments = "HEAP BYTES", .help = "sets another bound for a heap (64M, 2G)", .least = 2, .most = 2, .run = set_limit_run
};
