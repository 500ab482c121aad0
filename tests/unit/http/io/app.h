/* SPDX-License-Identifier: Apache-2.0 */
/* A handler for the server's tests. It writes down what it is told and does what the target says:
 *   /now     replies at once with "hi"
 *   /refuse  replies at once with 403
 *   /hold    keeps the request in `q` and leaves the rest to the test
 *   /pause   the same, and pauses the body
 *   /want    the same, and asks for the body
 *   /echo    replies with the body when it is complete */
#ifndef MCP_TESTS_HTTP_IO_APP_H
#define MCP_TESTS_HTTP_IO_APP_H

#include "fixture.h"
#include "http/io/server.h"

struct app {
    struct http_server *server;
    struct http_server_limits limits;
    struct http_request *q;
    const struct http_head *head; /* of q */
    char told[1024]; /* "GET /now\n", "body 5\n", "end\n", "gone\n", "drained\n", "sent\n" */
    size_t told_len;
    char body[1 << 16];
    size_t body_len;
    size_t body_total;
    bool echo;
    unsigned closed;
    const char *act_in; /* in this callback do `act` ("request", "body", "end", "gone", "drained",
                           "sent") */
    void (*act)(struct app *a);
};

extern const struct http_server_ops app_ops;

/* Server and one connection to it. */
void app_open(struct app *a, struct peer *p);
/* Another connection. */
void app_connect(struct app *a, struct peer *p);
/* Ends all of it and waits until what was queued is written. */
void app_close(struct app *a, struct peer *p);
/* Until this was told. */
void app_wait(struct app *a, const char *told);
bool app_was_told(const struct app *a, const char *told);
/* Until no connection is open. */
void app_wait_closed(struct app *a);

#endif
