/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted node: accepts, keeps what it reads, sends exactly the bytes a test gives, or answers
 * paths by itself. Raw sockets, pumped once in each turn of the loop; allocates nothing, so that
 * failing allocations hit the code under test. */
#ifndef MCP_TESTS_NODE_PEER_H
#define MCP_TESTS_NODE_PEER_H

#include "node_fixture.h"

enum {
    PEER_CONNS_MAX = 64,
    PEER_IN_BYTES = 16 * 1024,
    PEER_ROUTES_MAX = 4,
    PEER_ASKED_BYTES = 4096
};

struct peer_conn {
    int fd;                     /* -1: closed by us */
    char in[PEER_IN_BYTES + 1]; /* the first bytes read, terminated */
    size_t in_len;
    size_t in_total; /* bytes read */
    bool gone;       /* FIN or an error was read */
    bool deaf;       /* read nothing more */
};

struct peer_route {
    const char *path;
    const char *status; /* NULL: `answer` is all of it */
    const char *answer;
    size_t conn; /* on which it was asked for last */
};

struct peer {
    int listener;
    struct addr at;
    char url[128];
    struct peer_conn conns[PEER_CONNS_MAX]; /* in the order they came */
    size_t count;
    bool routing;
    struct peer_route routes[PEER_ROUTES_MAX];
    size_t route_count;
    size_t last;                  /* connection of the last one of those */
    char asked[PEER_ASKED_BYTES]; /* "/path /path ", of those answered by a route */
};

/* On a port of its own, listening. Closed by the teardown. */
void peer_open(struct peer *p);
/* On a unix socket. */
void peer_open_unix(struct peer *p, const char *path);
/* Nobody listens on its port any more; connections stay. And again. */
void peer_refuse(struct peer *p);
void peer_listen(struct peer *p);
/* A node that has an address without having been polled. */
struct node *peer_node(struct peer *p);

/* Answers requests for `path` with that status ("200 OK") and body, others with 404. The last call
 * for a path counts. */
void peer_route(struct peer *p, const char *path, const char *status, const char *body);
/* Answers with exactly these bytes (NULL: never). */
void peer_route_raw(struct peer *p, const char *path, const char *bytes);
/* The connection on which that path was asked for last. */
size_t peer_asked_on(const struct peer *p, const char *path);
/* What was asked since the last call; valid until the next. */
const char *peer_take_asked(struct peer *p);

/* Waits until it has accepted that many. */
void peer_wait_conns(struct peer *p, size_t count);
/* Waits until exactly this has come on the connection, in all. */
void peer_wait_text(struct peer *p, size_t conn, const char *text);
/* Waits until a request without a body has come, and forgets it. */
void peer_wait_request(struct peer *p, size_t conn);
void peer_wait_gone(struct peer *p, size_t conn);
bool peer_is_gone(struct peer *p, size_t conn);
void peer_send(struct peer *p, size_t conn, struct slice bytes);
void peer_close(struct peer *p, size_t conn, bool reset);

#define OK_HEAD(length) "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n"
#define ANSWER_HI OK_HEAD("2") "hi"

#endif
