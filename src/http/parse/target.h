/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is for: its target's forms (RFC 9112 3.2) and its host. Sans-IO. */
#ifndef MCP_HTTP_PARSE_TARGET_H
#define MCP_HTTP_PARSE_TARGET_H

#include <stdbool.h>

#include "http/parse/message.h"

/* A character of a token (RFC 9110 5.6.2): methods, names of headers. */
bool http_is_token_char(char c);

/* Only characters that a host and a port may have, whatever their order; as Go's net/http judges.
 */
bool http_host_is_plain(struct slice host);

/* "http://host/path" becomes "/path", and its host the request's, whatever `Host` says. NULL, or
 * what is wrong with the target. */
const char *http_target_read(struct http_head *head);

#endif
