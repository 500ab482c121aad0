/* SPDX-License-Identifier: Apache-2.0 */
/* What the body of an HTTP request says: its model and whether parts are wanted, in JSON, in JSON
 * under zstd, or in a form. The loop's thread. */
#ifndef MCP_GATEWAY_FACE_HTTP_BODY_H
#define MCP_GATEWAY_FACE_HTTP_BODY_H

#include "base/err.h"

struct http_exchange;

/* The body is complete. 0, or the error that refuses the request. */
int http_body_read(struct http_exchange *h, struct err *e);

#endif
