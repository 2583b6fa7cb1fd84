/* registry.c — users, open heaps in the order of their ids, and cards of heaps that ended. Loop thread. See server.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <grp.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/server/server.h"

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

/* ---- Users: few, so a list ---- */

struct user *registry_user(uid_t uid)
{
    for (struct user *user = server.users; user; user = user->next)
        if (user->uid == uid) {
            user->connections++;
            return user;
        }
    struct user *user = calloc(1, sizeof *user);
    if (!user)
        return NULL;
    user->uid = uid;
    user->connections = 1;
    user->next = server.users;
    server.users = user;
    return user;
}

void registry_user_unref(struct user *user)
{
    if (!user || --user->connections > 0)
        return;
    for (struct user **link = &server.users; *link; link = &(*link)->next)
        if (*link == user) {
            *link = user->next;
            free(user);
            return;
        }
}

/* ---- Heaps: ids only grow, so appending keeps the order ---- */

static uint32_t position_after(uint64_t heap)
{
    uint32_t low = 0, high = server.heap_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (server.heaps[middle]->card.id <= heap)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int registry_add(struct conn *conn)
{
    if (server.heap_count == server.heap_room) {
        uint32_t room = server.heap_room ? server.heap_room * 2 : 64;
        struct conn **grown = realloc(server.heaps, room * sizeof *grown);
        if (!grown)
            return -ENOMEM;
        server.heaps = grown;
        server.heap_room = room;
    }
    server.heaps[server.heap_count++] = conn;
    conn->user->heaps++;
    server.heaps_opened++;
    server_idle_changed();
    return 0;
}

void registry_remove(struct conn *conn)
{
    uint32_t at = position_after(conn->card.id - 1);
    memmove(&server.heaps[at], &server.heaps[at + 1], (server.heap_count - at - 1) * sizeof *server.heaps);
    server.heap_count--;
    conn->user->heaps--;
    server_idle_changed();
}

struct conn *registry_find(uint64_t heap)
{
    struct conn *conn = heap ? registry_after(heap - 1) : NULL;
    return conn && conn->card.id == heap ? conn : NULL;
}

struct conn *registry_after(uint64_t heap)
{
    uint32_t at = position_after(heap);
    return at < server.heap_count ? server.heaps[at] : NULL;
}

/* ---- Ended heaps ---- */

void registry_record(const struct heap_card *card)
{
    uint32_t room = (uint32_t)config.closed_heaps;
    if (room == 0)
        return;
    if (!server.closed && !(server.closed = calloc(room, sizeof *server.closed)))
        return;
    server.closed[server.closed_next] = *card;
    server.closed_next = (server.closed_next + 1) % room;
    if (server.closed_count < room)
        server.closed_count++;
}

/* ---- Who may see and steer what is not his: root, the daemon's own user, and members of the admin group, as the kernel says ---- */

static bool peer_in_group(const struct conn *conn, gid_t group)
{
    gid_t groups[256];
    socklen_t bytes = sizeof groups;
    if (conn->gid == group)
        return true;
    if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) < 0)
        return false;
    for (size_t i = 0; i < bytes / sizeof groups[0]; i++)
        if (groups[i] == group)
            return true;
    return false;
}

bool registry_is_admin(const struct conn *conn)
{
    if (conn->uid == 0 || conn->uid == geteuid())
        return true;
    struct group *group = *config.admin_group ? getgrnam(config.admin_group) : NULL;
    return group && peer_in_group(conn, group->gr_gid);
}

bool registry_may_see(const struct conn *conn, uid_t uid) { return conn->uid == uid || registry_is_admin(conn); }
