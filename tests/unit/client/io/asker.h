/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the blocking client ask, and how its answers are judged. */
#ifndef MCP_TESTS_CLIENT_ASKER_H
#define MCP_TESTS_CLIENT_ASKER_H

#include <stdbool.h>
#include <stdint.h>

#include "mcp/client.h"

#define GENERATE "{\"model\":\"m\",\"prompt\":\"a\"}"
#define LIST "{\"mcp\":{\"op\":\"list\"}}"
#define PUSH "{\"model\":\"m\",\"mcp\":{\"op\":\"push\"}}"

enum { PATIENCE_MS = 10000, RETRIES_BY_DEFAULT = -1 };

/* `features` 0: the base profile. */
struct mcp_client *client_offering(unsigned features, const char *address, int retries,
                                   const char *key);
int request(struct mcp_client *c, uint32_t session, const char *json);
/* One comes within the patience. */
const struct mcp_part *receive(struct mcp_client *c);
/* It is this one; `data` NULL: whatever it holds. */
void expect_part(struct mcp_client *c, uint32_t session, const char *data, bool last, int error);

#endif
