/* SPDX-License-Identifier: Apache-2.0 */
/* Replies that need neither a node nor an exchange, and end their request. */
#ifndef MCP_GATEWAY_FACE_HTTP_LOCAL_H
#define MCP_GATEWAY_FACE_HTTP_LOCAL_H

#include "base/slice.h"
#include "gateway/request_id.h"
#include "http/io/server.h"
#include "http/parse/message.h"

struct http_local {
    struct http_request *request;
    char id[REQUEST_ID_MAX + 1];
    struct slice origin; /* of a page that may read the reply (gateway/origin.h); empty: none */
};

/* With `another` header where its value is not empty. */
void http_local_reply(const struct http_local *r, unsigned status, struct slice type,
                      struct slice text, struct http_header another);
void http_local_plain(const struct http_local *r, unsigned status, struct slice text);
/* To the gateway's own probe: it is a node of itself. */
void http_local_to_itself(struct http_request *q, struct slice probe);
void http_local_no_method(const struct http_local *r, struct slice path);
/* Where slashes are all that is wrong, clients are sent the right way, as gin does. */
void http_local_no_path(const struct http_local *r, const struct http_head *head);
/* What a browser asks before a page's request, without credentials: it says what would be let in,
 * and is answered without any. */
void http_local_preflight(const struct http_local *r, struct slice path);

#endif
