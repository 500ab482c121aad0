/* SPDX-License-Identifier: Apache-2.0 */
/* What the client of a spread (spread.h) is told: progress while it takes any, then one end. All
 * nodes have done it: as Ollama says so. Some have failed: an error that names each of them and
 * says where it was done; where all have failed with the same words, those alone. */
#ifndef MCP_GATEWAY_SPREAD_ANSWER_H
#define MCP_GATEWAY_SPREAD_ANSWER_H

#include <stdbool.h>

struct spread;

/* Progress that is due. A client that is slow hears of the latest once there is room again. False:
 * it has left meanwhile, and the spread is gone. */
bool spread_tell(struct spread *s);
/* Every call has ended: ends the exchange, and with it the spread. */
void spread_finish(struct spread *s);

#endif
