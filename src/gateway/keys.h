/* SPDX-License-Identifier: Apache-2.0 */
/* Static API keys. Compared in a time that depends on the presented key's length alone. */
#ifndef MCP_GATEWAY_KEYS_H
#define MCP_GATEWAY_KEYS_H

#include <stdbool.h>

#include "base/slice.h"
#include "gateway/config.h"

/* The configured key that equals `presented`; NULL: none. */
const struct config_key *keys_match(const struct config *c, struct slice presented);
/* The one of that name; NULL: none. */
const struct config_key *keys_named(const struct config *c, const char *name);
/* The credential of an Authorization header's value ("Bearer KEY"); empty where it is none. */
struct slice keys_bearer(struct slice authorization);

#endif
