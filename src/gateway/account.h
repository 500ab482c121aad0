/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted and written of an exchange when it ends. The loop's thread only. */
#ifndef MCP_GATEWAY_ACCOUNT_H
#define MCP_GATEWAY_ACCOUNT_H

#include "gateway/exchange.h"

/* Once for each exchange that was made: counters, histogram, access log, trace. */
void account_end(struct exchange *x);

#endif
