/* SPDX-License-Identifier: Apache-2.0 */
/* /proc/net/{tcp,tcp6,unix} tells the inode of the socket, /proc/PID/fd who has it open. A unix
 * socket also tells whoever connects which process began to listen; that finds it under any
 * spelling of its path, and where /proc/PID/fd is another user's. */
#include "reactor/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reactor/net.h"

enum { STATE_LISTEN = 0x0A };

/* The inode of a listening socket with that port in one table of the kernel; 0: none. Which of its
 * addresses it is on does not matter: a port is refused only to those that overlap, and then there
 * is one to name. */
static unsigned long find_tcp_inode(const char *table, unsigned port)
{
    FILE *f = fopen(table, "re");
    char line[512];
    unsigned long inode = 0;

    if (f == NULL) {
        return 0;
    }
    while (inode == 0 && fgets(line, sizeof(line), f) != NULL) {
        unsigned line_port;
        unsigned state;
        unsigned long line_inode;

        if (sscanf(line, " %*u: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   &line_port, &state, &line_inode) == 3 &&
            line_port == port && state == STATE_LISTEN) {
            inode = line_inode;
        }
    }
    (void)fclose(f); /* it was only read */
    return inode;
}

static unsigned long find_unix_inode(const char *path)
{
    FILE *f = fopen("/proc/net/unix", "re");
    char line[512];
    unsigned long inode = 0;

    if (f == NULL) {
        return 0;
    }
    while (inode == 0 && fgets(line, sizeof(line), f) != NULL) {
        unsigned long line_inode;
        int at = 0;

        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %lu %n", &line_inode, &at) == 1 && at > 0 &&
            strcmp(line + at, path) == 0) {
            inode = line_inode;
        }
    }
    (void)fclose(f);
    return inode;
}

static bool holds(const char *pid, const char *wanted)
{
    char path[300];
    char target[64];
    DIR *dir;
    struct dirent *d;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
    dir = opendir(path);
    if (dir == NULL) {
        return false; /* another user's, or gone */
    }
    while (!found && (d = readdir(dir)) != NULL) {
        ssize_t len = readlinkat(dirfd(dir), d->d_name, target, sizeof(target) - 1);

        if (len > 0) {
            target[len] = '\0';
            found = strcmp(target, wanted) == 0;
        }
    }
    (void)closedir(dir);
    return found;
}

/* False: the process is gone. */
static bool describe(const char *pid, char out[PORT_OWNER_TEXT_MAX])
{
    char path[300];
    char name[32] = "";
    FILE *f;
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
    f = fopen(path, "re");
    if (f != NULL) {
        found = fgets(name, sizeof(name), f) != NULL;
        name[strcspn(name, "\n")] = '\0';
        (void)fclose(f);
    }
    (void)snprintf(out, PORT_OWNER_TEXT_MAX, "%s (pid %.20s)", name, pid);
    return found;
}

/* A daemon that began to listen before it forked is not found here. */
static bool find_by_connecting(const struct addr *at, char out[PORT_OWNER_TEXT_MAX])
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    char pid[24];
    int fd = net_socket(AF_UNIX);
    bool found;

    if (fd < 0) {
        return false;
    }
    found = connect(fd, (const struct sockaddr *)&at->ss, at->len) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0;
    net_close(fd, false);
    (void)snprintf(pid, sizeof(pid), "%d", (int)peer.pid);
    return found && describe(pid, out);
}

static bool find_by_inode(unsigned long inode, char out[PORT_OWNER_TEXT_MAX])
{
    char wanted[64];
    DIR *proc = inode == 0 ? NULL : opendir("/proc");
    struct dirent *d;
    bool found = false;

    if (proc == NULL) {
        return false;
    }
    (void)snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    while (!found && (d = readdir(proc)) != NULL) {
        found = isdigit((unsigned char)d->d_name[0]) && holds(d->d_name, wanted) &&
                describe(d->d_name, out);
    }
    (void)closedir(proc);
    return found;
}

bool port_owner_find(const struct addr *at, char out[PORT_OWNER_TEXT_MAX])
{
    unsigned long inode;

    if (at->ss.ss_family == AF_UNIX) {
        struct sockaddr_un un;

        memcpy(&un, &at->ss, sizeof(un));
        return find_by_connecting(at, out) || find_by_inode(find_unix_inode(un.sun_path), out);
    }
    inode = find_tcp_inode("/proc/net/tcp", addr_port(at));
    if (inode == 0) {
        inode = find_tcp_inode("/proc/net/tcp6", addr_port(at));
    }
    return find_by_inode(inode, out);
}
