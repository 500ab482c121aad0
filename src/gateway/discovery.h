/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes that DNS knows under a name (dns_url.h), asked for again and again by a helper thread, one
 * name after the other. What was found stays until another answer comes: a look-up that fails, or
 * finds none, changes nothing. The main reactor's thread only; owned by the fleet. */
#ifndef MCP_GATEWAY_DISCOVERY_H
#define MCP_GATEWAY_DISCOVERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "reactor/dns.h"
#include "reactor/loop.h"

struct discovery;

struct found_node {
    char *name; /* its address, "10.0.0.1:11434" */
    char *url;
};

/* What is known of one name. */
struct found {
    char *url;                /* dns:// or srv:// */
    struct found_node *nodes; /* by name, each once */
    size_t count;
    bool was_asked; /* an answer came, or none */
    char why[256];  /* the last look-up failed; "" */
};

/* A look-up has ended. `is_other`: it found other nodes than before; false, they cannot be used now
 * and it is to come again. */
typedef bool (*discovery_cb)(void *owner, bool is_other);
/* As dns_ask; on a helper thread. */
typedef int (*discovery_ask_fn)(const struct dns_question *q, struct dns_found *out, struct err *e);

/* Start-up. */
struct discovery *discovery_new(struct loop *loop, discovery_ask_fn ask, discovery_cb looked,
                                void *owner);
void discovery_free(struct discovery **d);

/* A name that is wanted from now on, known already or not. NULL: out of memory. */
const struct found *discovery_want(struct discovery *d, const char *url);
/* After those: the others go; or all is as it was before the first of them. */
void discovery_settle(struct discovery *d, bool go);
/* Each name is asked for about every `interval_ms`, and now. `server`: HOST:PORT; NULL: those of
 * the system. */
void discovery_configure(struct discovery *d, uint64_t interval_ms, const char *server);

const struct found *discovery_find(const struct discovery *d, const char *url);
/* Some name was never asked for yet. */
bool discovery_pending(const struct discovery *d);

#endif
