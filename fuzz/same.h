/* SPDX-License-Identifier: Apache-2.0 */
/* For targets that do a thing in two ways. */
#ifndef MCP_FUZZ_SAME_H
#define MCP_FUZZ_SAME_H

#include "base/buf.h"

/* Ends the process, showing both, unless they are the same; empties them. */
void must_be_same(struct buf *whole, struct buf *cut);

#endif
