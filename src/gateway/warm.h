/* SPDX-License-Identifier: Apache-2.0 */
/* Loads models on one node, one at a time: those it had when it was cordoned, before it serves
 * again, and those that the configuration wants resident, whenever they are not. A load is a
 * request with an empty prompt, as Ollama has it. What fails is tried again with growing delays;
 * before the node serves again a few times only. Nodes that do not load on demand (kind openai)
 * have nothing to do. Owned by fleet.c; the main reactor's thread. */
#ifndef MCP_GATEWAY_WARM_H
#define MCP_GATEWAY_WARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "gateway/brain.h"
#include "node/registry.h"
#include "reactor/loop.h"

struct warm_model {
    char *name;
    uint64_t context; /* to load it with; 0: as the node does by itself */
    bool declared;    /* by the configuration: kept resident */
    bool remembered;  /* the node had it when it was cordoned */
    bool settled;     /* loaded, or given up: the node need not wait for it */
    unsigned tries;
    uint64_t delay_ms; /* until the next try, once this one was made */
    uint64_t again_ms; /* loop time before which it is left alone */
    uint64_t loaded_ms;
    uint64_t since_ms; /* it could be loaded if the node had nothing better to do; 0: no */
};

struct warm {
    struct nodes *nodes;
    struct brain *brain; /* NULL: none is asked */
    uint64_t patience_ms;
    uint64_t node_id; /* 0: the node is not there */
    struct warm_model *models;
    size_t count;
    size_t loading; /* index, while `call` runs */
    struct node_call *call;
    unsigned status;
    struct buf body;
    struct buf answer;
    struct timer tick;
    void (*warmed)(void *owner); /* the node, which was warming, serves again */
    void *owner;
};

/* Where the scheduler says that a load would cost others too much, it is put off. */
void warm_init(struct warm *w, struct nodes *nodes, struct brain *brain,
               void (*warmed)(void *owner), void *owner);
void warm_fini(struct warm *w);
/* The node it is about is that one now; 0: none. A load that runs ends. */
void warm_use(struct warm *w, uint64_t node_id);
/* No load is put off for longer. */
void warm_patience(struct warm *w, uint64_t patience_ms);
/* These are wanted resident from now on. False: out of memory, and nothing has changed. */
bool warm_declare(struct warm *w, char *const *names, size_t count);
/* One more that the node had. False: out of memory. */
bool warm_remember(struct warm *w, struct slice name, uint64_t context);
void warm_forget(struct warm *w); /* all of those */
size_t warm_remembered(const struct warm *w);
/* The node is to have all of them before it serves: none counts as loaded yet. */
void warm_begin(struct warm *w);
/* Whether the node would have to load anything before it serves. */
bool warm_is_needed(const struct warm *w);
/* Looks at what is to be done: the node was cordoned, is to serve, or its models changed. */
void warm_look(struct warm *w);

#endif
