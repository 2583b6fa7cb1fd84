/* cmd_types.c — morphmemctl types: what a heap holds, by type, counted by the daemon at this moment. */
#include "client/ctl/ctl.h"

#include <stdio.h>
#include <stdlib.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"

static const struct table_column type_columns[] = {
    { "ID",      "id",         TABLE_COUNT },
    { "NAME",    "name",       TABLE_TEXT },
    { "OBJECTS", "objects",    TABLE_COUNT },
    { "BYTES",   "bytes",      TABLE_SIZE },
    { "HELD",    "held_bytes", TABLE_SIZE },
    { "SIZE",    "size_bytes", TABLE_SIZE },
    { "REFS",    "refs",       TABLE_COUNT },
    { NULL, NULL, TABLE_TEXT }
};

/* Those that hold most come first; among equals the lower id. */
static int type_compare(const void *left, const void *right)
{
    json_t *const *a = left, *const *b = right;
    json_int_t more = json_integer_value(json_object_get(*a, "held_bytes")), less = json_integer_value(json_object_get(*b, "held_bytes"));
    if (more != less)
        return more > less ? -1 : 1;
    json_int_t first = json_integer_value(json_object_get(*a, "id")), second = json_integer_value(json_object_get(*b, "id"));
    return first < second ? -1 : first > second;
}

/* A new array of the `top` types (0: all) that hold most; takes the reference to `types`. NULL: out of memory. */
static json_t *types_sort(json_t *types, uint64_t top)
{
    size_t count = json_array_size(types), index;
    json_t **order = malloc((count + 1) * sizeof *order), *sorted = json_array(), *type;
    if (order && sorted) {
        json_array_foreach(types, index, type)
            order[index] = type;
        qsort(order, count, sizeof *order, type_compare);
        for (size_t i = 0; i < count && (top == 0 || i < top); i++)
            (void)json_array_append(sorted, order[i]);
    }
    free(order);
    json_decref(types);
    return sorted;
}

static int types_show(const struct ctl *ctl, uint64_t heap, json_t *types)
{
    types = types_sort(types, ctl->top);
    if (ctl->json)
        return ctl_json_print(ctl, json_pack("{s:I, s:o}", "heap", (json_int_t)heap, "types", types));
    table_print(stdout, type_columns, types);
    json_decref(types);
    return CTL_FINE;
}

static int types_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    struct mm_message request = { .id = MM_MSG_TYPES };
    json_t *types;
    (void)count;
    if (!ctl_number(arguments[0], &request.as.types.heap) || request.as.types.heap == 0)
        return ctl_fail(CTL_USAGE, "'%s' is not the number of a heap; 'morphmemctl heaps' lists them", arguments[0]);
    int code = link_open(&link, ctl->socket);
    if (code == CTL_FINE)
        code = link_ask(&link, &request, &types);
    link_close(&link);
    if (code != CTL_FINE)
        return ctl_fail(code, "%s", link.error);
    return types_show(ctl, request.as.types.heap, types);
}

const struct ctl_command cmd_types = {
    .name = "types", .arguments = "[--top N] HEAP", .help = "objects and bytes of a heap by type, counted now",
    .options = CTL_OPTION_TOP, .least = 1, .most = 1, .run = types_run
};
