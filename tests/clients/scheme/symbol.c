/* symbol.c — symbols by name: a table of weak references, so that a symbol that nothing uses any more goes, and its slot with it.
 *
 * Open addressing with linear steps. A slot is EMPTY (never used: a search ends), NULL (its symbol is gone: a search goes on, a new symbol
 * may have it), or a symbol. Names that the compiler knows are kept by a list. Both are C variables of this file, pushed as roots.
 */
#include "tests/clients/scheme/scheme.h"

#include <string.h>

#define SYMBOLS_FIRST 512u          /* slots; a power of two */

static void *symbols;               /* KIND_SYMBOLS */
static void *reserved;              /* a list of symbols */
static unsigned roots;              /* of these two, that are pushed */
static uint64_t symbols_used;       /* slots that are not EMPTY */

static uint64_t slot_count(void) { return morph_object_bytes(symbols) / sizeof(value); }

/* FNV-1a, by Fowler, Noll and Vo. */
uint32_t text_hash(const char *bytes, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    return hash;
}

/* The symbol in a slot; NULL if it is gone. EMPTY is no reference and not for morph_weak_read(). */
static value slot_read(struct scheme *s, uint64_t i)
{
    value *slot = (value *)symbols + i;
    return *slot == EMPTY ? EMPTY : morph_weak_read(s->me, slot);
}

static value symbols_new(struct scheme *s, uint64_t slots)
{
    value table = array_new(s, KIND_SYMBOLS, slots);
    if (table)
        morph_fill_refs(s->me, table, table, EMPTY, slots);
    return table;
}

static bool symbol_is(value symbol, const char *name, size_t length, uint32_t hash)
{
    const struct symbol *it = symbol;
    return it->hash == hash && string_length(it->name) == length && memcmp(string_bytes(it->name), name, length) == 0;
}

static void symbol_place(struct scheme *s, value symbol)
{
    uint64_t mask = slot_count() - 1, i = ((struct symbol *)symbol)->hash & mask;
    value seen;
    while ((seen = slot_read(s, i)) && seen != EMPTY)
        i = (i + 1) & mask;
    symbols_used += seen == EMPTY;
    store(s, symbols, (value *)symbols + i, symbol);
}

uint64_t symbols_live(struct scheme *s)
{
    uint64_t live = 0;
    for (uint64_t i = 0; i < slot_count(); i++) {
        value seen = slot_read(s, i);
        live += seen && seen != EMPTY;
        morph_poll(s->me);
    }
    return live;
}

/* A new table of the right size for those that are left. */
static bool symbols_renew(struct scheme *s)
{
    uint64_t slots = SYMBOLS_FIRST;
    while (slots < 3 * symbols_live(s))
        slots *= 2;
    struct { value old; } *f = frame_push(s, sizeof *f);
    if (!f)
        return false;
    value table = symbols_new(s, slots);
    if (table) {
        f->old = symbols;
        symbols = table;
        symbols_used = 0;
        for (uint64_t i = 0; i < vector_length(f->old); i++) {
            value *slot = (value *)f->old + i;
            value symbol = *slot == EMPTY ? NULL : morph_weak_read(s->me, slot);
            if (symbol)
                symbol_place(s, symbol);
            morph_poll(s->me);
        }
    }
    frame_pop(s, f);
    return table != NULL;
}

bool symbols_begin(struct scheme *s)
{
    void **const root[] = { &symbols, &reserved };
    for (; roots < sizeof root / sizeof *root; roots++) {
        *root[roots] = NIL;
        if (morph_root_push(s->me, root[roots]) < 0)
            return scheme_fail(s, "%s", morph_strerror(MORPH_EMEMORY));
    }
    symbols_used = 0;
    symbols = symbols_new(s, SYMBOLS_FIRST);
    return symbols != NULL;
}

void symbols_end(struct scheme *s)
{
    morph_root_pop(s->me, roots);
    roots = 0;
}

value symbol_new(struct scheme *s, const char *name, size_t length)
{
    s->r->first = string_new(s, name, length);
    if (!s->r->first)
        return NULL;
    struct symbol *symbol = object_new_lasting(s, KIND_SYMBOL);
    if (symbol) {
        symbol->name = s->r->first;
        symbol->hash = text_hash(name, length);
    }
    return symbol;
}

value symbol_intern(struct scheme *s, const char *name, size_t length)
{
    uint32_t hash = text_hash(name, length);
    uint64_t mask = slot_count() - 1;
    value seen;
    for (uint64_t i = hash & mask; (seen = slot_read(s, i)) != EMPTY; i = (i + 1) & mask)
        if (seen && symbol_is(seen, name, length, hash))
            return seen;
    if (symbols_used >= (mask + 1) / 4 * 3 && !symbols_renew(s))
        return NULL;
    value symbol = symbol_new(s, name, length);
    if (symbol)
        symbol_place(s, symbol);
    return symbol;
}

bool symbol_reserve(struct scheme *s, const char *name, uint32_t syntax)
{
    struct symbol *symbol = symbol_intern(s, name, strlen(name));
    if (!symbol)
        return false;
    symbol->syntax = syntax;
    value list = cons(s, symbol, reserved);
    if (list)
        reserved = list;
    return list != NULL;
}
