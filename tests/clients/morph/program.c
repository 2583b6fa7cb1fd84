/* program.c — one binary with all the programs of this folder: what they share, and main().
 *
 *   programs NAME [small]        runs a program, which prints a line; "small" does less of it
 *   programs                     lists them
 *
 * Memory is what MORPHMEM_SOCKET, MORPHMEM_MODE and MORPHMEM_LIMIT say. Exit status: 0 all is well, 1 something is not (a line on standard
 * error says what), 2 wrong usage. `programs_hooks` is the same, compiled with -finstrument-functions. */
#include "tests/clients/morph/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool        small_run;
static const char *running = "programs";

size_t scaled(size_t many)
{
    size_t fewer = small_run ? many / 16 : many;
    return fewer > 0 ? fewer : 1;
}

void program_fail(const char *file, int line, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fflush(stdout);
    fprintf(stderr, "%s: %s:%d: ", running, file, line);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
    _exit(1);
}

APART void scrub(void)
{
    volatile uint64_t area[2048];
    for (size_t i = 0; i < sizeof area / sizeof *area; i++)
        area[i] = 0;
}

/* ---- Contents ---- */

uint64_t mix(uint64_t seed)
{
    uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void bytes_fill(void *memory, size_t bytes, uint64_t seed)
{
    unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(mix(seed + i / 8) >> i % 8 * 8);
}

bool bytes_are(const void *memory, size_t bytes, uint64_t seed)
{
    const unsigned char *at = memory;
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != (unsigned char)(mix(seed + i / 8) >> i % 8 * 8))
            return false;
    return true;
}

void *zeroed_alloc(MorphContext *ctx, size_t size, MorphTypeInfo *type)
{
    unsigned char *r = mph_alloc(ctx, size, type);
    EXPECT((uintptr_t)r % 8 == 0, "an object of %zu bytes at %p", size, (void *)r);
    for (size_t i = 0; i < size; i++)
        EXPECT(r[i] == 0, "byte %zu of a fresh object of %zu bytes is %u", i, size, r[i]);
    return r;
}

/* ---- Garbage ---- */

#define LITTER 0xa5
#define CHAIN_MOST 16       /* one word that looks like a reference keeps no more than so many objects */

static size_t litter(MorphContext *ctx, uint64_t random)
{
    size_t size = 16 + random % 14 * 16;
    if (random >> 16 & 1)
        size = 24 + (random >> 17) % 64;
    if ((random >> 24) % 64 == 0)
        size = 1024 + (random >> 32) % 8192;
    memset(mph_alloc(ctx, size, random >> 60 < 8 ? &mph_ti_raw : NULL), LITTER, size);
    return size;
}

/* Objects of the sizes and types that programs lose. */
static size_t litter_chain(MorphContext *ctx)
{
    Node *chain = NULL;
    for (unsigned i = 0; i < CHAIN_MOST; i++) {
        Node *node = node_new(ctx, ~(uint64_t)0);
        node->next = chain;
        node->leaf = leaf_new(ctx, ~(uint64_t)0);
        chain = node;
    }
    return CHAIN_MOST * (sizeof(Node) + sizeof(Leaf));
}

void churn(MorphContext *ctx, size_t bytes)
{
    static _Thread_local uint64_t turn;
    for (size_t done = 0; done < bytes; turn++)
        done += turn % 32 == 0 ? litter_chain(ctx) : litter(ctx, mix(turn));
}

void churn_and_collect(MorphContext *ctx, size_t bytes)
{
    churn(ctx, bytes / 2);
    mph_gc_collect(ctx);
    churn(ctx, bytes / 2);
}

/* ---- Objects that know what they contain ---- */

TYPE_PLAIN(Leaf);
TYPE(Node, 2, offsetof(Node, next), offsetof(Node, leaf));
TYPE(Pair, 2, offsetof(Pair, left), offsetof(Pair, right));

Leaf *leaf_new(MorphContext *ctx, uint64_t seed)
{
    Leaf *r = zeroed_alloc(ctx, sizeof *r, &mph_ti_Leaf);
    ROOT(r);
    bytes_fill(r, sizeof *r, seed);
    RETURN(r, 1);
}

void leaf_check(const Leaf *leaf, uint64_t seed, const char *where)
{
    EXPECT(leaf, "%s: the leaf of %llu is gone", where, (unsigned long long)seed);
    EXPECT(bytes_are(leaf, sizeof *leaf, seed), "%s: the leaf of %llu at %p begins with %#llx", where, (unsigned long long)seed,
           (const void *)leaf, (unsigned long long)leaf->word[0]);
}

Node *node_new(MorphContext *ctx, uint64_t seed)
{
    Node *r = zeroed_alloc(ctx, sizeof *r, &mph_ti_Node);
    ROOT(r);
    r->check = mix(seed);
    RETURN(r, 1);
}

Node *list_new(MorphContext *ctx, size_t length, uint64_t seed)
{
    Node *r = NULL;
    ROOT(r);
    for (size_t i = length; i-- > 0;) {
        Node *node = node_new(ctx, seed + i);
        ROOT(node);
        node->next = r;
        node->leaf = leaf_new(ctx, seed + i);
        r = node;
    }
    RETURN(r, 1);
}

void list_check(const Node *list, size_t length, uint64_t seed, const char *where)
{
    const Node *node = list;
    for (size_t i = 0; i < length; i++, node = node->next) {
        EXPECT(node, "%s: a list of %zu ends after %zu", where, length, i);
        EXPECT(node->check == mix(seed + i), "%s: node %zu of %zu holds %#llx", where, i, length, (unsigned long long)node->check);
        leaf_check(node->leaf, seed + i, where);
    }
    EXPECT(!node, "%s: a list of %zu goes on", where, length);
}

Pair *pair_new(MorphContext *ctx, void *left, void *right, uint64_t seed)
{
    Pair *r = zeroed_alloc(ctx, sizeof *r, &mph_ti_Pair);
    r->left = left;
    r->right = right;
    r->check = mix(seed);
    return r;
}

void pair_check(const Pair *pair, uint64_t seed, const char *where)
{
    EXPECT(pair->check == mix(seed), "%s: the pair of %llu holds %#llx", where, (unsigned long long)seed, (unsigned long long)pair->check);
}

/* ---- main ---- */

static const struct { const char *name; void (*run)(MorphContext *ctx); } programs[] = {
#define PROGRAM_ENTRY(name) { #name, program_##name },
    PROGRAMS(PROGRAM_ENTRY)
};

static int usage(void)
{
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        puts(programs[i].name);
    return 2;
}

int main(int argc, char **argv)
{
    MorphContext context, *ctx = &context;
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "small") != 0))
        return usage();
    small_run = argc == 3;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (strcmp(programs[i].name, argv[1]) == 0) {
            running = programs[i].name;
            uint64_t began_ms = mph_time_ms();
            context_open(ctx);
            mph_start_daemon(ctx);
            programs[i].run(ctx);
            mph_stop_daemon(ctx);
            context_close(ctx);
            printf("%s: fine, %llu ms\n", running, (unsigned long long)(mph_time_ms() - began_ms));
            return 0;
        }
    return usage();
}
