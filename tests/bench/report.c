/* report.c — tables and JSON. See report.h. */
#include "tests/bench/report.h"

#include <stdio.h>
#include <stdlib.h>

static int double_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over the runs that have the figure. Returns how many do; with 0 there is none. */
static unsigned median_get(const struct results *results, unsigned subject, const char *metric, double *ret_median)
{
    double value[RUNS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < results->runs[subject]; i++) {
        const double *found = figures_get(&results->run[subject][i], metric);
        if (found)
            value[count++] = *found;
    }
    if (count == 0)
        return 0;
    qsort(value, count, sizeof *value, double_compare);
    *ret_median = count % 2 ? value[count / 2] : (value[count / 2 - 1] + value[count / 2]) / 2;
    return count;
}

static void value_print(double value, unsigned width)
{
    int decimals = value >= 1000 || value <= -1000 ? 0 : value >= 100 ? 1 : value >= 1 ? 2 : 3;
    printf("  %*.*f", (int)width, decimals, value);
}

static unsigned width_of(const char *name)
{
    return strlen(name) < 8 ? 8 : (unsigned)strlen(name);
}

static void medians_print(const struct bench *bench, const struct results *results)
{
    printf("  %-16s", "median");
    for (unsigned m = 0; bench->metric[m]; m++)
        printf("  %*s", (int)width_of(bench->metric[m]), bench->metric[m]);
    printf("\n");
    for (unsigned s = 0; bench->subject[s].name; s++) {
        if (results->runs[s] == 0)
            continue;
        printf("  %-16s", bench->subject[s].name);
        for (unsigned m = 0; bench->metric[m]; m++) {
            double median;
            if (median_get(results, s, bench->metric[m], &median))
                value_print(median, width_of(bench->metric[m]));
            else
                printf("  %*s", (int)width_of(bench->metric[m]), "-");
        }
        printf("\n");
    }
}

static void ratio_row_print(const struct bench *bench, const struct results *results, unsigned ours, const char *metric)
{
    double mine, other;
    char label[64];
    if (results->runs[ours] == 0 || !median_get(results, ours, metric, &mine))
        return;
    snprintf(label, sizeof label, "%s %s", bench->subject[ours].name, metric);
    printf("  %-30s", label);
    for (unsigned s = 0; bench->subject[s].name; s++)
        if (!subject_is_morphmem(&bench->subject[s]) && results->runs[s]) {
            if (median_get(results, s, metric, &other) && other > 0)
                value_print(mine / other, width_of(bench->subject[s].name));
            else
                printf("  %*s", (int)width_of(bench->subject[s].name), "-");
        }
    printf("\n");
}

static void ratios_print(const struct bench *bench, const struct results *results)
{
    unsigned peers = 0, ours = 0;
    for (unsigned s = 0; bench->subject[s].name; s++)
        if (results->runs[s])
            *(subject_is_morphmem(&bench->subject[s]) ? &ours : &peers) += 1;
    if (!bench->ratios || !peers || !ours)
        return;
    printf("\n  %-30s", "ratio to");
    for (unsigned s = 0; bench->subject[s].name; s++)
        if (!subject_is_morphmem(&bench->subject[s]) && results->runs[s])
            printf("  %*s", (int)width_of(bench->subject[s].name), bench->subject[s].name);
    printf("\n");
    for (unsigned s = 0; bench->subject[s].name; s++)
        for (unsigned m = 0; m < bench->ratios && subject_is_morphmem(&bench->subject[s]); m++)
            ratio_row_print(bench, results, s, bench->metric[m]);
}

void report_table(const struct bench *bench, const struct results *results, uint64_t size, unsigned lanes)
{
    unsigned runs = 0;
    for (unsigned s = 0; bench->subject[s].name; s++)
        if (results->runs[s] > runs)
            runs = results->runs[s];
    if (runs == 0)
        return;
    printf("%s: %s\n", bench->name, bench->sentence);
    printf("  size %llu, %u run%s", (unsigned long long)size, runs, runs == 1 ? "" : "s");
    if (bench->how == HOW_LANES)
        printf(", %u at a time", lanes);
    printf("\n\n");
    medians_print(bench, results);
    ratios_print(bench, results);
    printf("\n");
    fflush(stdout);
}

void report_json(const struct bench *bench, const struct results *results)
{
    for (unsigned s = 0; bench->subject[s].name; s++)
        for (unsigned m = 0; bench->metric[m]; m++) {
            double median;
            unsigned runs = median_get(results, s, bench->metric[m], &median);
            if (runs)
                printf("{\"bench\":\"%s\",\"subject\":\"%s\",\"metric\":\"%s\",\"value\":%.6g,\"runs\":%u}\n", bench->name,
                       bench->subject[s].name, bench->metric[m], median, runs);
        }
    fflush(stdout);
}
