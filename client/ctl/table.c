/* table.c — two passes over the rows: measure, then print. See table.h. */
#include "client/ctl/table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "client/ctl/text.h"

#define TABLE_GAP 2                     /* spaces between columns */

static void cell_number(uint64_t value, enum table_kind kind, char *room)
{
    if (kind == TABLE_SIZE)
        text_size(value, room);
    else if (kind == TABLE_DURATION)
        text_duration(value, room);
    else
        snprintf(room, TEXT_BYTES, "%" PRIu64, value);
}

size_t table_cell(const json_t *object, const struct table_column *column, char ret_text[TABLE_CELL_BYTES])
{
    const json_t *value = json_object_get(object, column->key);
    char figure[TEXT_BYTES] = "-";
    if (column->kind == TABLE_TEXT && json_is_string(value)) {
        text_clean(json_string_value(value), ret_text, TABLE_CELL_BYTES);
        return text_shorten(ret_text, TABLE_TEXT_COLUMNS);
    }
    if (column->kind != TABLE_TEXT && json_is_integer(value) && json_integer_value(value) >= 0)
        cell_number((uint64_t)json_integer_value(value), column->kind, figure);
    else if (column->kind != TABLE_TEXT && json_is_real(value) && json_real_value(value) >= 0)
        cell_number(json_real_value(value) < 18446744073709549568.0 ? (uint64_t)json_real_value(value) : UINT64_MAX, column->kind, figure);
    return text_clean(figure, ret_text, TABLE_CELL_BYTES);
}

static void cell_print(FILE *to, const struct table_column *column, const char *text, size_t width, size_t room, bool last)
{
    int pad = (int)(room - width);
    if (column->kind != TABLE_TEXT)
        fprintf(to, "%*s%s", pad, "", text);
    else
        fprintf(to, "%s%*s", text, last ? 0 : pad, "");
    fprintf(to, "%*s", last ? 0 : TABLE_GAP, "");
}

void table_print(FILE *to, const struct table_column *columns, const json_t *rows)
{
    size_t width[TABLE_COLUMNS_MAX], index, count = 0;
    char text[TABLE_CELL_BYTES];
    const json_t *row;
    for (; columns[count].heading; count++)
        width[count] = strlen(columns[count].heading);
    json_array_foreach(rows, index, row)
        for (size_t c = 0; c < count; c++) {
            size_t n = table_cell(row, &columns[c], text);
            width[c] = n > width[c] ? n : width[c];
        }
    for (size_t c = 0; c < count; c++)
        cell_print(to, &columns[c], columns[c].heading, strlen(columns[c].heading), width[c], c + 1 == count);
    fputc('\n', to);
    json_array_foreach(rows, index, row) {
        for (size_t c = 0; c < count; c++) {
            size_t n = table_cell(row, &columns[c], text);
            cell_print(to, &columns[c], text, n, width[c], c + 1 == count);
        }
        fputc('\n', to);
    }
}
