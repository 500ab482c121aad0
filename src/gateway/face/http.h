/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP face: Ollama's API, native and /v1, for clients that change one address. Owned by the
 * gateway; the loop's thread only. */
#ifndef MCP_GATEWAY_FACE_HTTP_H
#define MCP_GATEWAY_FACE_HTTP_H

#include <stddef.h>

#include "base/err.h"
#include "reactor/addr.h"

struct gateway;
struct http_face;

/* NULL with the error: the address cannot be listened on. */
struct http_face *http_face_new(struct gateway *g, const struct addr *at, struct err *e);
/* After every exchange has ended. */
void http_face_free(struct http_face **f);
/* Stops accepting; connections close as their replies end. */
void http_face_drain(struct http_face *f);
size_t http_face_open(const struct http_face *f); /* connections */
const struct addr *http_face_addr(const struct http_face *f);

#endif
