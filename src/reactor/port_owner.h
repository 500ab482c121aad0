/* SPDX-License-Identifier: Apache-2.0 */
/* Which process listens on an address, as far as /proc lets this user see. Blocking; start-up only.
 */
#ifndef MCP_REACTOR_PORT_OWNER_H
#define MCP_REACTOR_PORT_OWNER_H

#include <stdbool.h>

#include "reactor/addr.h"

enum { PORT_OWNER_TEXT_MAX = 64 };

/* "llama-server (pid 123)"; false: not found. */
bool port_owner_find(const struct addr *at, char out[PORT_OWNER_TEXT_MAX]);

#endif
