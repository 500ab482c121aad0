/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the gateway's admin listener, for the commands that want one. What fails is said on
 * standard error here. Blocking. */
#ifndef MCP_CLI_ADMIN_H
#define MCP_CLI_ADMIN_H

#include "base/buf.h"

struct cli_admin {
    const char *address;
    const char *address_from; /* the option or variable that gave it */
    const char *key;          /* NULL: none */
};

/* From MCPGATE_ADMIN and MCPGATE_KEY, else 127.0.0.1:6060 and none. */
void cli_admin_defaults(struct cli_admin *a);
/* CLI_EXIT_OK with status and body of the answer, or the exit status. */
int cli_admin_get(const struct cli_admin *a, const char *path, unsigned *status, struct buf *body);

#endif
