/* SPDX-License-Identifier: Apache-2.0 */
/* One model node: where it is, what it speaks, whether it is up and which models it has. Owned by
 * its `struct nodes`; the loop's thread only. On a registry that follows another (registry.h) what
 * polls find out comes from there.
 *
 * state     entered                                   left by
 * STARTING  made                                      the first poll: UP or DOWN, or REFUSED
 * UP        a poll got version and catalogue          a failed poll or connection: DOWN
 * DOWN      see UP; polled again after 0.1 s, doubling to 5 s     a good poll: UP
 * REFUSED   the node turned out to be this gateway    never */
#ifndef MCP_NODE_NODE_H
#define MCP_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "http/parse/message.h"
#include "node/catalogue.h"
#include "node/pool.h"
#include "reactor/addr.h"
#include "reactor/loop.h"

enum node_kind { NODE_KIND_UNKNOWN, NODE_KIND_OLLAMA, NODE_KIND_OPENAI };
enum node_state { NODE_STARTING, NODE_UP, NODE_DOWN, NODE_REFUSED };

struct node_options {
    const char *url;
    enum node_kind kind; /* UNKNOWN: found by polling */
    const char *name;
    const char *api_key;               /* NULL: none */
    const struct http_header *headers; /* sent with every request */
    size_t header_count;
};

struct node_limits {
    uint64_t connect_timeout_ms;
    uint64_t first_byte_timeout_ms;
    uint64_t idle_timeout_ms; /* between bytes of an answer */
    size_t pool_idle;
    uint64_t pool_idle_ms;
};

struct node_call;
struct node_poll;
struct nodes;

struct node_share;

enum { NODE_MAGIC = 0x6e6f6465, NODE_WHY_MAX = 256 };

struct node {
    uint32_t magic;
    uint64_t id; /* never reused; 0 is no node */
    struct nodes *set;
    char *name;
    char *url;
    char *host; /* to look up; the path for unix sockets */
    unsigned port;
    bool is_unix;
    char *host_header;   /* value of Host */
    char *prefix;        /* path of the URL, "" or "/x" */
    char *extra_headers; /* "Name: value\r\n"...: credentials and configured headers */
    enum node_kind configured_kind;
    enum node_kind kind;
    enum node_state state;
    bool has_addr;
    struct addr addr;
    struct catalogue catalogue;
    uint64_t catalogue_ms;       /* loop time it was read */
    bool catalogue_changed;      /* at the node, since the latest reading began */
    char version[64];            /* what the node says of itself; "" unknown */
    char why_down[NODE_WHY_MAX]; /* for people; "" while up */
    struct node_pool pool;
    struct node_poll *poll; /* NULL on a registry that follows */
    struct node_share *share;
    uint64_t seen_version; /* of what is shared, on a registry that follows */
    size_t calls;          /* running on this loop, detached ones too */
    struct node_call *detached;
};

const char *node_kind_name(enum node_kind kind);
const char *node_state_name(enum node_state state);

/* The state's only writers, but for what a follower takes over; they count, log and tell the set. A
 * repeated state is not a change. */
void node_mark_up(struct node *n);
void node_mark_down(struct node *n, const char *why);
void node_mark_refused(struct node *n);

/* Its models may be others now: a refresh reads them again, however fresh the catalogue is. */
void node_mark_changed(struct node *n);

/* A call on it begins and ends; a byte of an answer came. On all loops together: how many run, and
 * loop time of the last byte. */
void node_call_began(struct node *n);
void node_call_ended(struct node *n);
void node_heard(struct node *n, uint64_t now_ms);
size_t node_calls_everywhere(const struct node *n);
uint64_t node_heard_ms(const struct node *n);

#endif
