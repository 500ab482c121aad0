/* SPDX-License-Identifier: Apache-2.0 */
/* The whole gateway between scripted nodes and scripted clients, on a network of virtual time, made
 * anew for each seed. A deal is one request with what its node answers and what its client gets;
 * the seed decides all of it, so that in the end every deal can be held against its script. Nodes
 * and clients share one loop, the gateway has the other. */
#ifndef MCP_TEST_VIRTUAL_WORLD_H
#define MCP_TEST_VIRTUAL_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "gateway/gateway.h"
#include "reactor/listener.h"
#include "reactor/sock.h"
#include "reactor/virtual.h"

enum { NODES_MAX = 2, USERS_MAX = 6, DEALS_MAX = 64, LINES_MAX = 40, SESSIONS_MAX = 3 };

#define SECOND_US UINT64_C(1000000)
#define MCP_ADDRESS "127.0.0.1:8080"
#define HTTP_ADDRESS "127.0.0.1:11435"

/* What a node's answer is, apart from the network. */
enum answer_shape {
    ANSWER_WHOLE,      /* as Ollama answers */
    ANSWER_UNFINISHED, /* a stream that ends well, but without "done" */
    ANSWER_FAILING,    /* a stream with an error in it */
    ANSWER_REFUSED,    /* a status and an error */
};

/* What the node does `cut_at` bytes into that. */
enum answer_cut { CUT_NOT, CUT_FIN, CUT_RESET, CUT_SILENT, CUT_GARBAGE, CUT_KINDS };

enum deal_end {
    DEAL_OPEN,
    DEAL_WHOLE,  /* the answer came to its end */
    DEAL_FAILED, /* an error came instead of its rest */
    DEAL_CUT,    /* the connection ended first */
    DEAL_LEFT,   /* the client went away */
};

struct deal {
    unsigned number; /* never used again */
    bool is_mcp;
    bool is_chat;
    bool is_embed;              /* deals of several may reach the node together */
    unsigned inputs;            /* then */
    bool is_fixed;              /* temperature 0 */
    bool has_key;               /* MCP: an idempotency key */
    bool one_is_bad;            /* nothing else is wrong with nodes, but that this is refused */
    const struct deal *twin_of; /* it asks the same; NULL: of none */
    bool is_v1;                 /* HTTP: OpenAI's chat, its stream in events */
    bool is_translated;         /* Ollama's, by a node that speaks OpenAI's: always in events */
    bool streams;
    struct buf text;      /* translated: what the answer says */
    struct buf request;   /* the body, as the node is to get it, */
    struct buf asked_for; /* and where the client says more than that: as it does */
    uint64_t deadline_ms; /* 0: none */
    uint64_t asked_us;    /* the client began to write it */
    uint64_t ended_us;
    struct buf lines; /* of the answer */
    size_t line_ends[LINES_MAX];
    size_t line_count;
    enum answer_shape shape;
    unsigned status;
    enum answer_cut cut;
    size_t cut_at;
    uint32_t first_ms; /* until the node begins, */
    uint32_t gap_ms;   /* and at most between its writes */

    unsigned asked; /* how often the node was */
    bool sent;      /* was it told, by the client's end */
    enum deal_end end;
    size_t got_lines;
    struct buf got; /* HTTP: the body; MCP, translated: what it says */
};

/* What goes wrong in this world. */
struct plan {
    struct virtual_profile profile;
    bool is_openai;      /* the nodes */
    bool is_big;         /* some answers are megabytes */
    bool net_breaks;     /* connections may break or not come about, */
    bool net_hangs;      /* or say nothing any more */
    bool nodes_fail;     /* answers are cut, or errors */
    bool clients_leave;  /* in the midst of it */
    bool clients_dawdle; /* in reading and writing */
    bool nodes_vanish;   /* nobody listens there for a while */
    bool clients_stall;  /* reading for good */
    bool clients_err;    /* in what they say, too */
    bool deadlines;      /* for some deals */
    bool stops_early;    /* the gateway is stopped while there is work */
    bool hurries;        /* and once more */
    uint64_t slots;      /* of each node; 0: any number */
    bool embeds;         /* some deals are about embeddings, */
    bool one_is_bad;     /* of which some are refused where nothing else goes wrong */
    bool twins;          /* some ask the same as another */
    bool takes_turns;    /* the scheduler is asked also where one node has any number */
    unsigned subs;       /* sub reactors on loops of their own; 0: mode single */
    bool routes;         /* some ask for a route instead of the model */
};

struct script_node;
struct user;
struct core_user;

struct world {
    struct virtual_net *net;
    struct loop *loop; /* of nodes and clients */
    struct loop *gateway_loop;
    struct config *config;
    struct gateway gateway;
    struct plan plan;
    struct script_node *nodes[NODES_MAX];
    size_t node_count;
    struct user *users[USERS_MAX];
    size_t user_count;
    struct core_user *core_user; /* NULL: none */
    size_t users_done;
    struct deal deals[DEALS_MAX];
    size_t deal_count;
    unsigned first_deal; /* its number */
    size_t past_deals;   /* of rounds before this one; and how they ended */
    size_t past_ends[DEAL_LEFT + 1];
    size_t more_asked; /* at most: what is no deal, or is asked again */
    bool stopping;
    bool stopped;
    struct timer stop_timer;
    struct timer hurry_timer;
};

extern struct world world;

/* What all worlds have seen together, so that they cannot have missed it. */
struct world_seen {
    int64_t joined, repeated; /* shared answers */
    int64_t calls, halved;    /* of embeddings */
};

extern struct world_seen world_seen;

/* 0 up to below n. */
uint64_t pick(uint64_t n);
/* True once in n times. */
bool one_in(uint64_t n);

/* --- world.c */

/* A gateway, its nodes and a network, with what follows from the seed. */
void world_begin(uint64_t seed);
/* Other things go wrong from now on; the network, the nodes and the slots stay. */
void world_redraw(void);
/* Users come, make their deals and go. */
void world_run_users(void);
/* All exchanges have ended, for whom the gateway may wait. */
void world_settle(void);
/* Every deal, counter and slot is as it must be now that nothing runs. */
void world_check(void);
/* How many deals ended so, past ones too. */
size_t world_deals_that(enum deal_end how);
/* Those users and deals are past. */
void world_forget_users(void);
/* Stops the gateway, if nobody has, and waits until it has. */
void world_stop(void);
void world_end(void);

/* --- deal.c */

/* NULL: this world has had enough. */
struct deal *deal_new(bool is_mcp);
const char *deal_path(const struct deal *d); /* that the client asks, */
const char *deal_node_path(const struct deal *d);
bool deal_in_events(const struct deal *d);
/* What the client sends. */
struct slice deal_asked_for(const struct deal *d);
/* Whether that is, or begins to be, an error of Ollama's, or of OpenAI's. */
bool deal_is_error(struct slice line);
/* The one that it is a twin of, else itself. */
const struct deal *deal_root(const struct deal *d);
/* The deal a request is about; NULL: none, or `past`: one of a former round. */
struct deal *deal_of(struct slice request, bool *past);
/* The client got one over MCP; whether it has to be the last. */
bool deal_part(struct deal *d, struct slice part);
void deal_ended(struct deal *d, enum deal_end how);
/* Holds what the client got against the script. */
void deal_check(const struct deal *d);
void deal_fini(struct deal *d);

/* --- embeds.c */

void embed_make_request(struct deal *d);
void embed_put_vectors(const struct deal *d, struct buf *out);
void embed_make_answer(struct deal *d);
/* The deal of a request's first input that has one still; NULL: all are past. */
struct deal *embed_deal_of(struct slice body);
/* What a node answers to such a body; the status. */
unsigned embed_answer(struct slice body, struct buf *out);
void embed_check(const struct deal *d);

/* --- node.c */

struct script_node *script_node_new(const char *address);
void script_node_free(struct script_node **n);
/* Cuts its connections and listens no more; and again. */
void script_node_vanish(struct script_node *n);
void script_node_return(struct script_node *n);
/* Its connections in the midst of a deal end. */
void script_node_forget(struct script_node *n);

/* --- user.c: a client that makes a few deals, then is done. */

struct user *user_new(bool is_mcp);
void user_free(struct user **u);

/* --- core_user.c: the same with libmcp. */

struct core_user *core_user_new(void);
void core_user_free(struct core_user **u);

#endif
