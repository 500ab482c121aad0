/* SPDX-License-Identifier: Apache-2.0 */
/* The server as its files see it: server.c (start, engine, end), conn.c (HTTP, reading),
 * reply.c (the same, writing), work.c (a call to a model), prompt.c (what it is asked), pages.c
 * (what can be read), library.c (which models there are). */
#ifndef MCP_SIM_SERVER_INTERNAL_H
#define MCP_SIM_SERVER_INTERNAL_H

#include "base/buf.h"
#include "base/list.h"
#include "http/parse/message.h"
#include "reactor/listener.h"
#include "reactor/sock.h"
#include "sim/answer.h"
#include "sim/ask.h"
#include "sim/echo.h"
#include "sim/engine.h"
#include "sim/library.h"
#include "sim/server.h"
#include "sim/words.h"

enum { SIM_CONN_MAGIC = 0x73696d63, SIM_BODY_BYTES_MAX = 100 * 1024 * 1024 };

/* state      entered                             left to
 * READING    accepted; a reply is over           ANSWERING (a request is whole), CLOSED
 * ANSWERING  a request is whole                  READING, HUNG, CLOSED
 * HUNG       fault hang, or nothing but the end  CLOSED
 *            of the connection is left to do
 * CLOSED     sim_conn_close */
enum sim_conn_state { SIM_READING, SIM_ANSWERING, SIM_HUNG, SIM_CLOSED };

struct sim_conn {
    unsigned magic;
    enum sim_conn_state state;
    struct sim_server *server;
    struct list_link link;
    struct sock *sock;
    struct http_parser *parser;
    struct buf held; /* read behind the request that is being answered */
    struct task again;
    bool feeding;
    bool paused;

    /* The request. */
    struct slice piece; /* its body, while that lies in one piece in what was read */
    struct buf body;
    enum sim_route route;
    enum sim_op op;
    bool asked; /* its head is read, and its reply not over */
    bool keep_alive;
    bool http11;
    bool is_head;
    struct slice ask_fault; /* X-Sim-Fault; in the parser's memory */
    struct sim_fault fault;

    /* The reply. */
    bool began;      /* its head is out */
    uint32_t parts;  /* out */
    struct buf drip; /* fault drip: what is still to go out */
    struct timer drip_timer;
    bool over; /* nothing is left but to drip */

    /* work.c */
    bool working; /* a call that has not ended */
    bool stream;
    uint32_t tokens;
    uint32_t sent; /* tokens */
    uint64_t hash; /* of the prompt */
    bool has_gap;
    uint64_t gap_us;
    uint64_t part_due_us;
    struct timer part_timer;
    struct task part_task;
    struct sim_echo *echo;
    struct sim_call call;
    struct sim_answer answer;
    struct buf model; /* the name that was asked for */
    uint32_t longest; /* of an embedding's inputs, tokens */
    struct buf vectors;
    struct sim_chain chain;

    struct sim_change change;
};

LIST_DECLARE(sim_conn_list, struct sim_conn, link);

struct sim_model {
    char *name; /* NULL: it was deleted, the place is free */
    char digest[SIM_DIGEST_BYTES];
};

struct sim_counts {
    uint64_t requests; /* of any kind */
    uint64_t calls;    /* to models; each ends as one of the next three, or by a fault */
    uint64_t done;
    uint64_t cancelled; /* the client left */
    uint64_t refused;
    uint64_t faults; /* that happened */
    uint64_t tokens; /* of profile echo */
};

struct sim_server {
    struct loop *loop;
    struct listener *listener;
    struct sim_profile profile;
    struct sim_model *models;
    size_t model_count;
    uint64_t seed;
    struct sim_fault *faults;
    size_t fault_count;
    bool has_gap;
    uint64_t gap_us;
    uint64_t started_wall_us;

    struct sim_engine *engine; /* NULL: nothing takes time */
    struct timer engine_timer;
    struct task engine_task;

    struct sim_conn_list conns;
    struct sim_counts counts;
    uint64_t call_number; /* for --fault */
    struct sim_echo_cache echo;
    struct buf head; /* scratch: a head, and what goes out with it */
    struct buf text; /* scratch: the body */
};

/* --- server.c */
/* Runs the engine once more in this turn, and sets its timer. */
void sim_server_poke(struct sim_server *s);

/* --- conn.c */
void sim_conn_accept(void *server, int fd, const struct addr *peer);
enum sim_conn_end { SIM_END_NOW, SIM_END_GENTLY, SIM_END_RESET };
void sim_conn_close(struct sim_conn *c, enum sim_conn_end how);

/* --- reply.c */
void sim_reply_init(struct sim_conn *c);
/* An answer in one piece, and the end of the reply; `body` may be the server's `text`. */
void sim_conn_reply(struct sim_conn *c, unsigned status, struct slice type, struct slice body);
void sim_conn_refuse(struct sim_conn *c, unsigned status, struct slice text);
/* A piece of a reply made beforehand, its head included; `last`: the reply is over. */
void sim_conn_write_made(struct sim_conn *c, struct slice bytes, bool last);
/* A part of a stream. False: a fault has ended it. */
bool sim_conn_part(struct sim_conn *c, struct slice bytes);
/* The last part and the end of the reply. */
void sim_conn_last_part(struct sim_conn *c, struct slice bytes);
/* The reply can be written as plain bytes: HTTP/1.1, kept alive, no fault. */
bool sim_conn_is_plain(const struct sim_conn *c);
/* Does what the fault does before there is any answer; true: the request is done with. */
bool sim_conn_fails_at_once(struct sim_conn *c);
/* Counts the call and gives it the fault that the server's options have for it, unless it has one.
 * False: that has ended it. */
bool sim_conn_takes_fault(struct sim_conn *c);

/* --- work.c */
void sim_work_init(struct sim_conn *c);
void sim_work_fini(struct sim_conn *c);
void sim_work_begin(struct sim_conn *c, struct slice body);
void sim_work_event(struct sim_conn *c, const struct sim_event *ev);
/* There is room for output again. */
void sim_work_drained(struct sim_conn *c);
enum sim_work_end { SIM_WORK_ANSWERED, SIM_WORK_LEFT, SIM_WORK_FAILED };
/* The reply is over, the client has left, or a fault has ended it. */
void sim_work_end(struct sim_conn *c, enum sim_work_end how);

/* --- prompt.c */
/* Reads the prompt: its hash, and how many tokens it has. */
void sim_prompt_read(struct sim_conn *c, const struct sim_ask *ask);
/* The vectors of what is to be embedded; how many, or -1: refused. */
int64_t sim_prompt_embed(struct sim_conn *c, const struct sim_ask *ask);

/* --- pages.c */
void sim_page_reply(struct sim_conn *c, struct slice body);

#endif
