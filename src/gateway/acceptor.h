/* SPDX-License-Identifier: Apache-2.0 */
/* One listening address of the main reactor: hands each connection to the sub reactor that has the
 * fewest. */
#ifndef MCP_GATEWAY_ACCEPTOR_H
#define MCP_GATEWAY_ACCEPTOR_H

#include "base/err.h"
#include "gateway/exchange.h"
#include "reactor/addr.h"

struct acceptor;
struct gateway;

/* NULL with the error: the address cannot be listened on. */
struct acceptor *acceptor_new(struct gateway *g, enum exchange_face face, const struct addr *at,
                              struct err *e);
/* No more connections; the address is remembered. */
void acceptor_close(struct acceptor *a);
void acceptor_free(struct acceptor **a);
/* Where it listens, port 0 resolved; valid as long as the acceptor. */
const struct addr *acceptor_addr(const struct acceptor *a);

#endif
