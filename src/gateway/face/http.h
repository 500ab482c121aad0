/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP face: Ollama's API, native and /v1, for clients that change one address; the connections
 * of one sub reactor. Owned by it; the loop's thread only. */
#ifndef MCP_GATEWAY_FACE_HTTP_H
#define MCP_GATEWAY_FACE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "http/io/server.h"
#include "reactor/addr.h"

struct http_face;
struct sock;
struct sub;

struct http_face *http_face_new(struct sub *sub);
/* After every exchange has ended. */
void http_face_free(struct http_face **f);
/* Takes the descriptor. */
void http_face_accept(struct http_face *f, int fd, const struct addr *peer);
/* The same for one whose first bytes were read already. False: it is closed. */
bool http_face_take(struct http_face *f, struct sock *sock, const struct addr *client);
/* Connections close as their replies end, new ones at once. */
void http_face_drain(struct http_face *f);
size_t http_face_open(const struct http_face *f); /* connections */
/* Owners of their requests are http_exchanges. */
void http_face_walk(const struct http_face *f, http_conn_view_cb cb, void *owner);

#endif
