/* SPDX-License-Identifier: Apache-2.0 */
/* A scripted MCP server: one thread that runs a test's function over blocking sockets. Its calls
 * give up after 10 s and then say so; server_stop fails the test in that case. */
#ifndef MCP_TESTS_CLIENT_SERVER_H
#define MCP_TESTS_CLIENT_SERVER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

struct server {
    pthread_t thread;
    void (*script)(struct server *s);
    int listen_fd;
    bool joined;
    sem_t reached;
    char dir[64];
    char address[128];  /* for mcp_options_set_address */
    const char *failed; /* what did not work */
    struct buf payload; /* of the last frame */
};

enum server_where { SERVER_TCP, SERVER_UNIX };

void server_start(struct server *s, enum server_where where, void (*script)(struct server *s));
/* Waits for the script's end. */
void server_join(struct server *s);
/* Waits for the script to call server_reached. */
void server_await(struct server *s);
/* Joins, too. */
void server_stop(struct server *s);

/* For the script. */
void server_reached(struct server *s);
int server_accept(struct server *s);
/* The next frame is of that opcode; its session. The payload goes to s->payload. */
uint32_t server_read(struct server *s, int fd, unsigned opcode);
void server_write(struct server *s, int fd, unsigned opcode, uint32_t session, const char *payload);
void server_write_bytes(struct server *s, int fd, struct slice bytes);
/* Until the client has closed. */
void server_wait_closed(struct server *s, int fd);
void server_check(struct server *s, bool ok, const char *what);

#endif
