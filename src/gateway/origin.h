/* SPDX-License-Identifier: Apache-2.0 */
/* Pages in browsers: whose may ask, and what a browser is told (CORS), as Ollama does it. The
 * gateway judges in place of its nodes, which never see an Origin. */
#ifndef MCP_GATEWAY_ORIGIN_H
#define MCP_GATEWAY_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"
#include "http/parse/message.h"

#define ORIGIN_FOREIGN_TEXT "pages of this origin may not ask here (http.origins)"

enum { ORIGIN_HEADERS = 2 };

enum origin_kind {
    ORIGIN_NONE, /* no page, or one that the gateway itself would have sent */
    ORIGIN_ALLOWED,
    ORIGIN_FOREIGN,
};

/* `more` (NULL: none) are origins beside those of this machine and of applications, with commas or
 * blanks between them; a `*` in one stands for anything. */
enum origin_kind origin_judge(const char *more, const struct http_head *head);
bool origins_are_fine(const char *more);

/* Appends what tells a browser that the page of `origin` may read the reply, and returns how many
 * headers: none where it is empty. */
size_t origin_headers(struct slice origin, struct http_header *out);
/* The reply to OPTIONS: they are valid for as long as `origin`. */
const struct http_header *origin_preflight(size_t *count);

#endif
