/* client.h — a heap with one attached thread, as most integration cases need it; and assertions that print morphmem's sentence. */
#ifndef TEST_CLIENT_H
#define TEST_CLIENT_H

#include <string.h>

#include <morphmem/morphmem.h>

#include "tests/lib/check.h"

#define MiB ((uint64_t)1 << 20)
#define KiB ((uint64_t)1 << 10)

/* Expects a code; shows both with their names otherwise. */
#define assert_error(call, expected)                                                                            \
    do {                                                                                                        \
        int error_seen = (call), error_expected = (expected);                                                   \
        if (error_seen != error_expected)                                                                       \
            fail_msg("%s: %s (%d), expected %s", #call, morph_error_name(error_seen), error_seen,               \
                     morph_error_name(error_expected));                                                         \
    } while (0)
#define assert_ok(call) assert_error(call, 0)

struct client {
    morph_heap   *heap;
    morph_thread *me;
    uint64_t      id;
};

/* Opens and attaches; returns morphmem's error. Usable in forked children. */
static inline int client_try(struct client *ret_client, const char *name, uint64_t limit_bytes)
{
    struct client client;
    int r = morph_heap_open(&client.heap, &(morph_options){ .name = name, .limit_bytes = limit_bytes, .no_autospawn = true });
    if (r < 0)
        return r;
    r = morph_thread_attach(client.heap, &client.me);
    if (r < 0) {
        (void)morph_heap_close(client.heap);
        return r;
    }
    client.id = morph_heap_id(client.heap);
    *ret_client = client;
    return 0;
}

static inline struct client client_open(const char *name, uint64_t limit_bytes)
{
    struct client client = { 0 };
    assert_ok(client_try(&client, name, limit_bytes));
    return client;
}

static inline void client_close(struct client *client)
{
    assert_ok(morph_thread_detach(client->me));
    assert_ok(morph_heap_close(client->heap));
    memset(client, 0, sizeof *client);
}

/* What a byte of an allocation with this number must be. */
static inline unsigned char client_pattern(uint64_t number, size_t at)
{
    return (unsigned char)(number * 167 + at * 13 + (at >> 8) * 7 + 1);
}

static inline void client_fill(void *memory, size_t bytes, uint64_t number)
{
    for (size_t i = 0; i < bytes; i++)
        ((unsigned char *)memory)[i] = client_pattern(number, i);
}

/* Is it still as client_fill() left it? */
static inline bool client_intact(const void *memory, size_t bytes, uint64_t number)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)memory)[i] != client_pattern(number, i))
            return false;
    return true;
}

static inline bool client_zero(const void *memory, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (((const unsigned char *)memory)[i] != 0)
            return false;
    return true;
}

#endif
