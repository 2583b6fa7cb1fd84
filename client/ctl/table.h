/* table.h — lays out JSON objects as a table: one column for each key that the command names. */
#ifndef CTL_TABLE_H
#define CTL_TABLE_H

#include <jansson.h>
#include <stdio.h>

enum table_kind { TABLE_TEXT, TABLE_COUNT, TABLE_SIZE, TABLE_DURATION };

struct table_column {
    const char     *heading;
    const char     *key;                /* of the object; absent or of another kind: "-" */
    enum table_kind kind;               /* TABLE_TEXT is aligned left, everything else right */
};

#define TABLE_TEXT_COLUMNS  24          /* longer names are cut */
#define TABLE_COLUMNS_MAX   24

/* Prints headings and one line for each object in the array `rows`. `columns` ends with a NULL heading. */
void table_print(FILE *to, const struct table_column *columns, const json_t *rows);

/* One value as a cell shows it; returns its width in columns of the terminal. */
#define TABLE_CELL_BYTES 160
size_t table_cell(const json_t *object, const struct table_column *column, char ret_text[TABLE_CELL_BYTES]);

#endif
