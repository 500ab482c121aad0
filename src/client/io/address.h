/* SPDX-License-Identifier: Apache-2.0 */
/* Where a client connects to. A plain value. */
#ifndef MCP_CLIENT_IO_ADDRESS_H
#define MCP_CLIENT_IO_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"

enum {
    CLIENT_HOST_MAX = 256,
    CLIENT_PORT_DEFAULT = 8080,
    CLIENT_TARGETS_MAX = 8,
};

struct client_address {
    char text[CLIENT_HOST_MAX + 16]; /* as it was given; with the port where that was left out */
    char host[CLIENT_HOST_MAX];      /* or the path of a unix socket */
    char port[6];                    /* "" for a unix socket */
};

/* One socket address a name stands for. */
struct client_target {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* "host:port", "[v6]:port", "host", ":port" (this machine), "unix:PATH". 0, or MCP_EARGUMENT with
 * what was expected. */
int client_address_parse(struct client_address *a, const char *text, struct err *e);
/* Blocking look-up. How many targets (> 0) in the order to try, or MCP_ECONNECT. IPv4 comes first
 * for localhost. */
int client_address_resolve(const struct client_address *a,
                           struct client_target targets[CLIENT_TARGETS_MAX], struct err *e);

#endif
