/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses: `host:port`, `[v6]:port`, `:port` (all interfaces), `unix:PATH`.
 * Plain values. */
#ifndef MCP_REACTOR_ADDR_H
#define MCP_REACTOR_ADDR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/ip.h"
#include "base/slice.h"

enum { ADDR_TEXT_MAX = 128 };

struct addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* A numeric address or `localhost` (127.0.0.1); never looks a name up. `:PORT` is [::], which takes
 * IPv4 too. 0, or MCP_EARGUMENT with what was expected. */
int addr_parse(struct addr *a, struct slice text, struct err *e);
/* The unix socket at that path. 0 or MCP_EARGUMENT. */
int addr_from_unix(struct addr *a, const char *path, struct err *e);
enum { ADDR_LIST_MAX = 8 };

struct addr_list {
    struct addr at[ADDR_LIST_MAX];
    size_t count;
};

/* Blocking look-up of a host name, for loop_offload or start-up: what to try, in this order, cut
 * where it is too long; localhost is 127.0.0.1 and ::1 without one. 0, MCP_EARGUMENT (port) or
 * MCP_ECONNECT (the look-up failed). */
int addr_resolve(struct addr_list *list, const char *host, unsigned port, struct err *e);
/* As it would be written: "127.0.0.1:8080", "[::1]:80", "unix:/run/x". */
void addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);
/* Without the port; for logs and limits by client. "unix" for unix sockets. */
void addr_format_host(const struct addr *a, char out[ADDR_TEXT_MAX]);
unsigned addr_port(const struct addr *a); /* 0 for unix */
/* Its IP without the port. False: it has none. */
bool addr_get_ip(const struct addr *a, struct ip *ip);
struct addr addr_of_ip(const struct ip *ip, unsigned port);
/* Only this machine can reach it: 127.0.0.0/8, ::1, unix. */
bool addr_is_local(const struct addr *a);
bool addr_same(const struct addr *a, const struct addr *b);

#endif
