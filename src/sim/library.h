/* SPDX-License-Identifier: Apache-2.0 */
/* Which models a simulated node has, and the requests that change it: library.c. For the server's
 * own files. */
#ifndef MCP_SIM_LIBRARY_H
#define MCP_SIM_LIBRARY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"
#include "reactor/loop.h"

struct sim_conn;
struct sim_server;

enum { SIM_DIGEST_BYTES = 65 };

/* Of a connection: a model that is on its way. */
struct sim_change {
    struct timer timer;
    struct buf name;
    char digest[SIM_DIGEST_BYTES];
    unsigned step;
    bool is_known; /* it is here already */
};

/* The number of a model, or -1. */
ptrdiff_t sim_server_find(const struct sim_server *s, struct slice escaped);
/* Adds it, or gives one that is there that digest. False: out of memory. */
bool sim_library_add(struct sim_server *s, struct slice name, const char *digest);
/* The digest that stands for those bytes. */
void sim_digest_of(struct slice bytes, char digest[SIM_DIGEST_BYTES]);

void sim_library_init(struct sim_conn *c);
void sim_library_fini(struct sim_conn *c);
/* A request to change it. */
void sim_library_begin(struct sim_conn *c, struct slice body);
/* The connection closes. */
void sim_library_end(struct sim_conn *c);

#endif
