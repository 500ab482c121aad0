/* SPDX-License-Identifier: Apache-2.0 */
/* Which names in a Host header are this machine's: a page in a browser whose own name was made to
 * resolve to this machine (DNS rebinding) is turned away, as Ollama does it. */
#ifndef MCP_GATEWAY_FACE_HOST_H
#define MCP_GATEWAY_FACE_HOST_H

#include <stdbool.h>

#include "base/slice.h"
#include "gateway/config.h"
#include "http/parse/message.h"
#include "reactor/addr.h"

#define HOST_FOREIGN_TEXT "the Host of this request is not this machine"

/* `host` with or without a port. As Ollama has it: none, localhost, this machine's own name,
 * anything below .localhost, .local and .internal; and every numeric address, which no name server
 * can make another one. */
bool host_is_local(struct slice host);
/* The last Host that was this machine's: most clients name it alike. Zero-initialised: none. */
struct host_known {
    char text[64];
    size_t len;
};

/* Whether a request that came to `listener` is to be refused for its Host: not where a key is asked
 * for, which such a page has not got, nor where other machines may come. */
bool host_is_foreign(const struct config *c, const struct addr *listener,
                     const struct http_head *head);
/* The same, quickly. */
bool host_is_foreign_now(const struct config *c, const struct addr *listener,
                         const struct http_head *head, struct host_known *known);

#endif
