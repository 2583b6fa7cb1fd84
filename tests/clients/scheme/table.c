/* table.c — hash tables: by identity (numbers, characters: by value) or by the text of strings.
 *
 * Open addressing with linear steps in one vector of keys and contents in turn. A key is EMPTY (never used: a search ends), DELETED, or
 * a key. An object is hashed by morph_identity_hash(), which stays the same when it moves; so a table is never rebuilt by a collection.
 */
#include "tests/clients/scheme/scheme.h"

#include <string.h>

#define TABLE_FIRST 8u              /* keys that there is room for; a power of two */

static struct table *table_of(value v) { return v; }

static uint64_t table_room(value table) { return vector_length(table_of(table)->entry) / 2; }

static uint32_t key_hash(struct scheme *s, bool by_text, value key)
{
    if (by_text)
        return text_hash(string_bytes(key), string_length(key));
    if (is_object(key))
        return morph_identity_hash(s->me, key);
    return (uint32_t)((uintptr_t)key * 0x9e3779b97f4a7c15u >> 32);      /* Fibonacci hashing, by Knuth */
}

static bool key_same(bool by_text, value a, value b)
{
    if (a == b || !by_text || !is_object(a))
        return a == b;
    return string_length(a) == string_length(b) && memcmp(string_bytes(a), string_bytes(b), string_length(a)) == 0;
}

value table_new(struct scheme *s, bool by_text)
{
    s->r->second = vector_new(s, 2 * TABLE_FIRST, EMPTY);
    struct table *table = s->r->second ? object_new(s, KIND_TABLE) : NULL;
    if (table) {
        table->entry = s->r->second;
        table->by_text = by_text;
    }
    return table;
}

value *table_find(struct scheme *s, value table, value key)
{
    bool by_text = table_of(table)->by_text;
    uint64_t mask = table_room(table) - 1;
    value *entry = vector_items(table_of(table)->entry);
    for (uint64_t i = key_hash(s, by_text, key) & mask; entry[2 * i] != EMPTY; i = (i + 1) & mask)
        if (key_same(by_text, entry[2 * i], key))
            return entry + 2 * i;
    return NULL;
}

/* Into a table that has room and does not have the key. Prefers a slot that was deleted. */
static void table_place(struct scheme *s, value table, value key, value content)
{
    struct table *t = table;
    uint64_t mask = table_room(table) - 1;
    value *entry = vector_items(t->entry);
    uint64_t i = key_hash(s, t->by_text, key) & mask;
    while (entry[2 * i] != EMPTY && entry[2 * i] != DELETED)
        i = (i + 1) & mask;
    t->used += entry[2 * i] == EMPTY;
    t->live++;
    store(s, t->entry, entry + 2 * i, key);
    store(s, t->entry, entry + 2 * i + 1, content);
}

/* A vector that is at most half full. Collections may happen on the way: each step reads its frame again. */
static bool table_grow(struct scheme *s, value table)
{
    struct { value table, old; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    f->table = table;
    uint64_t room = TABLE_FIRST;
    while (room < 2 * (table_of(table)->live + 1))
        room *= 2;
    value entry = vector_new(s, 2 * room, EMPTY);
    if (entry) {
        f->old = table_of(f->table)->entry;
        store(s, f->table, &table_of(f->table)->entry, entry);
        table_of(f->table)->used = table_of(f->table)->live = 0;
        for (uint64_t i = 0; i < vector_length(f->old); i += 2) {
            value *from = vector_items(f->old) + i;
            if (from[0] != EMPTY && from[0] != DELETED)
                table_place(s, f->table, from[0], from[1]);
            morph_poll(s->me);
        }
    }
    frame_pop(s, f);
    return entry != NULL;
}

bool table_put(struct scheme *s, value table, value key, value content)
{
    value *entry = table_find(s, table, key);
    if (entry) {
        store(s, table_of(table)->entry, entry + 1, content);
        return true;
    }
    if (table_of(table)->used < table_room(table) / 4 * 3) {
        table_place(s, table, key, content);
        return true;
    }
    struct { value table, key, content; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    f->table = table;
    f->key = key;
    f->content = content;
    bool grown = table_grow(s, table);
    if (grown)
        table_place(s, f->table, f->key, f->content);
    frame_pop(s, f);
    return grown;
}

/* ---- Primitives ---- */

static bool table_check(struct scheme *s, const char *name, value table)
{
    return is_kind(table, KIND_TABLE) || scheme_fail(s, "%s: the first argument is not a hash table", name);
}

static bool key_check(struct scheme *s, const char *name, value *argument)
{
    if (!table_check(s, name, argument[0]))
        return false;
    return !table_of(argument[0])->by_text || is_kind(argument[1], KIND_STRING) || scheme_fail(s, "%s: the key is not a string", name);
}

static value make_hash_table(struct scheme *s, UNUSED value *argument, UNUSED unsigned count)
{
    return table_new(s, false);
}

static value make_string_hash_table(struct scheme *s, UNUSED value *argument, UNUSED unsigned count)
{
    return table_new(s, true);
}

static value is_hash_table(UNUSED struct scheme *s, value *argument, UNUSED unsigned count)
{
    return boolean(is_kind(argument[0], KIND_TABLE));
}

static value hash_table_ref(struct scheme *s, value *argument, unsigned count)
{
    if (!key_check(s, "hash-table-ref", argument))
        return NULL;
    value *entry = table_find(s, argument[0], argument[1]);
    return entry ? entry[1] : count == 3 ? argument[2] : scheme_fail_about(s, "hash-table-ref: no such key", argument[1]);
}

static value hash_table_set(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!key_check(s, "hash-table-set!", argument))
        return NULL;
    return table_put(s, argument[0], argument[1], argument[2]) ? UNSPECIFIED : NULL;
}

static value hash_table_delete(struct scheme *s, value *argument, UNUSED unsigned count)
{
    if (!key_check(s, "hash-table-delete!", argument))
        return NULL;
    value *entry = table_find(s, argument[0], argument[1]);
    if (!entry)
        return FALSE;
    struct table *table = argument[0];
    store(s, table->entry, entry, DELETED);
    store(s, table->entry, entry + 1, DELETED);
    table->live--;
    return TRUE;
}

static value hash_table_count(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return table_check(s, "hash-table-count", argument[0]) ? fixnum((int64_t)table_of(argument[0])->live) : NULL;
}

/* A list of the keys (which 0) or contents (1). argument[0] becomes the vector; the list grows behind the arguments, in the margin. */
static value table_list(struct scheme *s, value *argument, unsigned which)
{
    argument[0] = table_of(argument[0])->entry;
    stack_push(s, NIL);
    for (uint64_t i = 0; i < vector_length(argument[0]); i += 2) {
        morph_poll(s->me);
        value *entry = vector_items(argument[0]) + i;
        if (entry[0] == EMPTY || entry[0] == DELETED)
            continue;
        value list = cons(s, entry[which], s->stack[s->top - 1]);
        if (!list)
            return NULL;
        s->stack[s->top - 1] = list;
    }
    return s->stack[--s->top];
}

static value hash_table_keys(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return table_check(s, "hash-table-keys", argument[0]) ? table_list(s, argument, 0) : NULL;
}

static value hash_table_values(struct scheme *s, value *argument, UNUSED unsigned count)
{
    return table_check(s, "hash-table-values", argument[0]) ? table_list(s, argument, 1) : NULL;
}

const struct primitive_row table_primitives[] = {
    { "make-hash-table", make_hash_table, 0, 0, 0 },
    { "make-string-hash-table", make_string_hash_table, 0, 0, 0 },
    { "hash-table?", is_hash_table, 1, 1, 0 },
    { "hash-table-ref", hash_table_ref, 2, 3, 0 },
    { "hash-table-set!", hash_table_set, 3, 3, 0 },
    { "hash-table-delete!", hash_table_delete, 2, 2, 0 },
    { "hash-table-count", hash_table_count, 1, 1, 0 },
    { "hash-table-keys", hash_table_keys, 1, 1, 0 },
    { "hash-table-values", hash_table_values, 1, 1, 0 },
    { NULL, NULL, 0, 0, 0 }
};
