/* SPDX-License-Identifier: Apache-2.0 */
/* A request's line in the recording that runs (recorder.h): what it was like, with keyed hashes in
 * place of whatever could tell who asked or what. Costs nothing but a look while none runs. The
 * loop's thread. */
#ifndef MCP_GATEWAY_RECORD_H
#define MCP_GATEWAY_RECORD_H

#include <stdint.h>

struct exchange;

/* It is complete: notes what will be gone at its end. */
void record_begin(struct exchange *x);
/* It has ended: writes the line, where it is recorded. */
void record_end(struct exchange *x, uint64_t now_us);

#endif
