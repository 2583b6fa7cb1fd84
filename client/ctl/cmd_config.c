/* cmd_config.c — morphmemctl config: the options as the daemon uses them now. */
#include "client/ctl/ctl.h"

#include <stdio.h>
#include <string.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"
#include "client/ctl/text.h"

/* Options that are not plain numbers: shown with a unit. */
static const struct table_column config_units[] = {
    { "", "budget",            TABLE_SIZE },
    { "", "pool_min",          TABLE_SIZE },
    { "", "pool_max",          TABLE_SIZE },
    { "", "bytes_per_user",    TABLE_SIZE },
    { "", "limit_max",         TABLE_SIZE },
    { NULL, NULL, TABLE_TEXT }
};

/* An option's value as people read it; texts (paths) are never cut short. */
static void config_line(const json_t *options, const char *key, const json_t *value)
{
    struct table_column column = { "", key, TABLE_COUNT };
    char text[1024];
    for (const struct table_column *unit = config_units; unit->heading; unit++)
        if (strcmp(unit->key, key) == 0 && json_integer_value(value) > 0)
            column.kind = unit->kind;
    if (json_is_string(value))
        text_clean(json_string_value(value), text, sizeof text);
    else if (json_is_boolean(value))
        snprintf(text, sizeof text, "%s", json_is_true(value) ? "yes" : "no");
    else
        table_cell(options, &column, text);
    printf("%-20s = %s\n", key, text);
}

static int config_show(const struct ctl *ctl, json_t *options)
{
    const char *key;
    json_t *value;
    if (ctl->json)
        return ctl_json_print(ctl, options);
    json_object_foreach(options, key, value)
        config_line(options, key, value);
    json_decref(options);
    return CTL_FINE;
}

static int config_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    struct mm_message request = { .id = MM_MSG_CONFIG };
    json_t *bodies;
    (void)count;
    (void)arguments;
    int code = link_open(&link, ctl->socket);
    if (code == CTL_FINE)
        code = link_ask(&link, &request, &bodies);
    link_close(&link);
    if (code != CTL_FINE)
        return ctl_fail(code, "%s", link.error);
    json_t *options = json_array_get(bodies, 0);
    options = options ? json_incref(options) : json_object();
    json_decref(bodies);
    return config_show(ctl, options);
}

const struct ctl_command cmd_config = {
    .name = "config", .arguments = "", .help = "the options that the daemon uses now", .most = 0, .run = config_run
};
