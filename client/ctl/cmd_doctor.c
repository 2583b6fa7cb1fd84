/* cmd_doctor.c — morphmemctl doctor: which features of this machine are there, and what each missing one costs. Works without a
 * daemon; with one it adds what that daemon makes of the machine (its limits may be others than ours). */
#include "client/ctl/ctl.h"

#include <stdio.h>

#include "client/ctl/link.h"
#include "client/ctl/table.h"
#include "shm/machine.h"

static json_t *features_json(const struct mm_feature *features)
{
    json_t *list = json_array();
    for (unsigned i = 0; list && i < MM_FEATURE_COUNT; i++) {
        const struct mm_feature *f = &features[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:b, s:s, s:s, s:s}", "key", f->key, "name", f->name,
                                                    "present", (int)f->present, "found", f->found, "cost", f->cost, "remedy", f->remedy));
    }
    return list;
}

static void features_print(const struct mm_feature *features)
{
    for (unsigned i = 0; i < MM_FEATURE_COUNT; i++) {
        const struct mm_feature *f = &features[i];
        printf("%-4s%s: %s\n", f->present ? "yes" : "NO", f->name, f->found);
        if (!f->present)
            printf("    costs: %s\n    to do: %s\n", f->cost, f->remedy);
    }
}

static void daemon_print(const struct link *link, const json_t *daemon)
{
    static const struct table_column version = { "", "version", TABLE_TEXT }, pid = { "", "pid", TABLE_COUNT };
    static const struct table_column budget = { "", "budget_bytes", TABLE_SIZE }, workers = { "", "workers", TABLE_COUNT };
    char text[4][TABLE_CELL_BYTES];
    if (!daemon) {
        printf("\nmorphmemd: not asked: %s\n", link->error);
        return;
    }
    table_cell(daemon, &version, text[0]);
    table_cell(daemon, &pid, text[1]);
    table_cell(daemon, &budget, text[2]);
    table_cell(daemon, &workers, text[3]);
    printf("\nmorphmemd %s at %s, process %s: huge pages %s, budget %s, collector threads %s\n", text[0], link->path, text[1],
           json_is_true(json_object_get(daemon, "huge_pages")) ? "yes" : "no", text[2], text[3]);
}

static int doctor_run(const struct ctl *ctl, int count, char **arguments)
{
    static struct link link;
    struct mm_feature features[MM_FEATURE_COUNT];
    json_t *daemon = NULL;
    int code = CTL_FINE;
    (void)count;
    (void)arguments;
    mm_machine_features(features);
    for (unsigned i = 0; i < MM_FEATURE_COUNT; i++)
        code = features[i].present ? code : CTL_LACKING;
    if (link_open(&link, ctl->socket) == CTL_FINE)
        (void)stats_ask(&link, &daemon);
    link_close(&link);
    if (ctl->json) {
        int printed = ctl_json_print(ctl, json_pack("{s:o, s:o}", "features", features_json(features), "daemon", daemon ? daemon : json_null()));
        return printed != CTL_FINE ? printed : code;
    }
    features_print(features);
    daemon_print(&link, daemon);
    json_decref(daemon);
    return code;
}

const struct ctl_command cmd_doctor = {
    .name = "doctor", .arguments = "", .help = "what this machine lacks, what that costs, and what to do", .most = 0, .run = doctor_run
};
