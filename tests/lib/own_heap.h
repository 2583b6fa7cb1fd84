/* own_heap.h — what the daemon counts of the calling process's heap, asked for by `morphmemctl heaps --json`: for programs that have no handle of
 * their heap. The tool is the one that MORPHMEMCTL names, or `tool`. One thread. */
#ifndef TEST_OWN_HEAP_H
#define TEST_OWN_HEAP_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The number behind "key": in a line. */
static inline bool own_heap_number(const char *line, const char *key, uint64_t *ret_number)
{
    size_t length = strlen(key);
    const char *found = strchr(line, '"');
    if (!found || strncmp(found + 1, key, length) != 0 || found[length + 1] != '"' || !strchr(found, ':'))
        return false;
    *ret_number = strtoull(strchr(found, ':') + 1, NULL, 10);
    return true;
}

/* The figure `key` of the heap that this process has open. False: nobody could be asked, or there is no such heap or figure. */
static inline bool own_heap_figure(const char *tool, const char *key, uint64_t *ret_figure)
{
    char command[PATH_MAX + 32], line[512];
    const char *named = getenv("MORPHMEMCTL");
    bool ours = false, found = false;
    uint64_t number;
    snprintf(command, sizeof command, "'%s' heaps --json 2>/dev/null", named && *named ? named : tool);
    FILE *pipe = popen(command, "r");
    while (pipe && fgets(line, sizeof line, pipe)) {
        if (own_heap_number(line, "id", &number) && !(ours && found))       /* the first of a heap's figures */
            ours = found = false;
        if (own_heap_number(line, "pid", &number) && !(ours && found))
            ours = number == (uint64_t)getpid();
        if (!found)
            found = own_heap_number(line, key, ret_figure);
    }
    if (pipe)
        (void)pclose(pipe);
    return ours && found;
}

#endif
