/* lua_host.c — unmodified Lua 5.4, all of whose memory is in a morphmem heap with a hard bound.
 *
 *   lua_host [--limit SIZE] [--hold] [--name NAME] SCRIPT [ARGUMENT...]
 *
 * Lua asks for memory through one function (lua_Alloc); here it is morph_realloc() on a pool. At the bound that function
 * returns NULL, Lua collects its garbage, tries again, and raises its own error: "not enough memory". The host then shows that
 * the state goes on working, and that the heap never held more than its bound. With --hold it keeps the heap until a line
 * arrives on standard input, for whoever wants to look at it from outside.
 * Exit status: 0 the script ended well, 1 it ended in an error, 2 wrong usage, 3 no heap, or the bound was passed. One thread.
 */
#define _GNU_SOURCE
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <morphmem/morphmem.h>

#include "tests/clients/size.h"

#define LOOK_EVERY 256u             /* calls of the allocator between two looks at what is granted */

enum { EXIT_SCRIPT = 1, EXIT_USAGE = 2, EXIT_HEAP = 3 };

struct host {
    const char *name, *script;
    char **argument;
    int arguments;
    bool hold;
    uint64_t limit_bytes;

    morph_heap *heap;
    morph_thread *thread;
    morph_pool *pool;
    uint64_t calls, refusals, peak_bytes;
};

/* ---- Memory ---- */

static void granted_look(struct host *host)
{
    morph_heap_stats stats;
    if (morph_heap_stats_get(host->heap, &stats) == 0 && stats.granted_bytes > host->peak_bytes)
        host->peak_bytes = stats.granted_bytes;
}

/* lua_Alloc. Lua relies on it never to fail when a block shrinks: the block it has is then good enough. */
static void *lua_memory(void *context, void *memory, size_t old_bytes, size_t new_bytes)
{
    struct host *host = context;
    if (++host->calls % LOOK_EVERY == 0)
        granted_look(host);
    if (new_bytes == 0) {
        morph_free(host->pool, memory);
        return NULL;
    }
    void *moved = morph_realloc(host->pool, memory, new_bytes);
    if (moved)
        return moved;
    granted_look(host);
    if (memory && new_bytes <= old_bytes)
        return memory;
    host->refusals++;
    return NULL;
}

static int heap_begin(struct host *host)
{
    morph_options options = { .mode = MORPH_COMPILER, .name = host->name, .limit_bytes = host->limit_bytes };
    int r = morph_heap_open(&host->heap, &options);
    if (r == 0)
        r = morph_thread_attach(host->heap, &host->thread);
    if (r == 0)
        r = morph_pool_new(host->thread, 0, &host->pool);
    if (r < 0)
        fprintf(stderr, "lua_host: %s\n", morph_strerror(r));
    return r;
}

static void heap_end(struct host *host)
{
    morph_pool_free(host->pool);
    morph_thread_detach(host->thread);
    morph_heap_close(host->heap);
}

/* ---- Lua ---- */

/* Runs inside lua_pcall, because opening libraries and compiling allocate too. */
static int script_load(lua_State *lua)
{
    struct host *host = lua_touserdata(lua, 1);
    luaL_openlibs(lua);
    lua_createtable(lua, host->arguments, 1);
    for (int i = 0; i <= host->arguments; i++) {
        lua_pushstring(lua, i == 0 ? host->script : host->argument[i - 1]);
        lua_rawseti(lua, -2, i);
    }
    lua_setglobal(lua, "arg");
    if (luaL_loadfile(lua, host->script) != LUA_OK)
        return lua_error(lua);
    for (int i = 0; i < host->arguments; i++)
        lua_pushstring(lua, host->argument[i]);
    lua_call(lua, host->arguments, 0);
    return 0;
}

static int script_run(struct host *host, lua_State *lua)
{
    lua_pushcfunction(lua, script_load);
    lua_pushlightuserdata(lua, host);
    int r = lua_pcall(lua, 1, 0, 0);
    if (r == LUA_OK)
        return 0;
    const char *text = lua_tostring(lua, -1);
    fprintf(stderr, "lua_host: %s: %s\n", host->script, text ? text : "an error that is no text");
    lua_settop(lua, 0);
    return r == LUA_ERRMEM ? LUA_ERRMEM : LUA_ERRRUN;
}

/* After an out-of-memory error: the same state collects its garbage, then builds and adds up a table. */
static bool state_check(lua_State *lua)
{
    static const char chunk[] = "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(i % 50) .. i end "
                                "local sum = 0 for i = 1, #t do sum = sum + #t[i] end return sum";
    lua_gc(lua, LUA_GCCOLLECT);
    bool good = luaL_dostring(lua, chunk) == LUA_OK && lua_tointeger(lua, -1) == 27393;
    lua_settop(lua, 0);
    return good;
}

/* ---- The story ---- */

static void line_wait(const struct host *host)
{
    printf("holding %llu\n", (unsigned long long)morph_heap_id(host->heap));
    fflush(stdout);
    for (int c = getchar(); c != '\n' && c != EOF; c = getchar())
        ;
}

/* True: all is as promised. */
static bool bound_report(const struct host *host, lua_State *lua, int r)
{
    bool inside = host->peak_bytes <= host->limit_bytes;
    bool alive = r != LUA_ERRMEM || state_check(lua);
    fflush(stdout);
    fprintf(stderr, "lua_host: %llu calls for memory, at most %.2f MiB held of %.2f MiB allowed%s\n",
            (unsigned long long)host->calls, (double)host->peak_bytes / (1 << 20), (double)host->limit_bytes / (1 << 20),
            inside ? "" : ": THE BOUND WAS PASSED");
    if (r == LUA_ERRMEM)
        fprintf(stderr, "lua_host: %llu were refused; %s\n", (unsigned long long)host->refusals,
                alive ? "afterwards the same state collected its garbage and ran another chunk" : "THE STATE NO LONGER WORKS");
    return inside && alive;
}

static int host_run(struct host *host)
{
    if (heap_begin(host) < 0)
        return EXIT_HEAP;
    lua_State *lua = lua_newstate(lua_memory, host);
    if (!lua) {
        fprintf(stderr, "lua_host: the bound is too small for Lua itself\n");
        heap_end(host);
        return EXIT_SCRIPT;
    }
    int r = script_run(host, lua);
    granted_look(host);
    bool good = bound_report(host, lua, r);
    if (host->hold)
        line_wait(host);
    lua_close(lua);
    heap_end(host);
    return !good ? EXIT_HEAP : r == 0 ? 0 : EXIT_SCRIPT;
}

static void usage_print(FILE *file)
{
    fprintf(file, "usage: lua_host [options] SCRIPT [ARGUMENT...]\n"
                  "  --limit SIZE   hard bound of the heap (default 8M; at least 256K)\n"
                  "  --name NAME    of the heap, as morphmemctl shows it (default lua)\n"
                  "  --hold         afterwards print 'holding' and the heap's number; keep the heap until a line comes in\n"
                  "  --help         this text\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "limit", 1, NULL, 'l' }, { "name", 1, NULL, 'n' }, { "hold", 0, NULL, 'o' }, { "help", 0, NULL, 'h' }, { 0 },
    };
    struct host host = { .name = "lua", .limit_bytes = 8 << 20 };
    bool good = true;
    for (int c; good && (c = getopt_long(argc, argv, "+h", options, NULL)) != -1;)
        switch (c) {
        case 'l': good = size_parse(optarg, &host.limit_bytes); break;
        case 'n': host.name = optarg; break;
        case 'o': host.hold = true; break;
        case 'h': usage_print(stdout); return 0;
        default:  good = false;
        }
    if (!good || optind == argc) {
        usage_print(stderr);
        return EXIT_USAGE;
    }
    host.script = argv[optind];
    host.argument = argv + optind + 1;
    host.arguments = argc - optind - 1;
    return host_run(&host);
}
