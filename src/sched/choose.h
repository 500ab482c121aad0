/* SPDX-License-Identifier: Apache-2.0 */
/* Node choice for requests that take no turn: what runs no model (pull, show, files), a cloud's
 * models, and all of them where the scheduler has nothing to decide. The session's last node, else
 * the first one that is up, suits the request and lists the model; from what the loop itself knows
 * of the nodes, so without a lock. Requests that take turns: place.c. Pure. */
#ifndef MCP_SCHED_CHOOSE_H
#define MCP_SCHED_CHOOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct choose_node {
    uint64_t id;
    bool up;
    bool suits;     /* speaks what the request needs */
    bool has_model; /* lists the model; true where the request names none */
};

enum choose_verdict {
    CHOOSE_OK,
    CHOOSE_NONE_UP,
    CHOOSE_NONE_SUITS,   /* some are up, none suits */
    CHOOSE_UNKNOWN_MODEL /* some suit, none lists the model */
};

/* `needs_model`: only nodes that list the model will do; else those are merely preferred. `chosen`
 * is an index into `nodes`. */
enum choose_verdict choose_node(const struct choose_node *nodes, size_t count, bool needs_model,
                                uint64_t prefer_id, size_t *chosen);

#endif
