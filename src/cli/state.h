/* SPDX-License-Identifier: Apache-2.0 */
/* Where the program keeps what outlives it: XDG_STATE_HOME/mcpgate, else ~/.local/state/mcpgate.
 * Folders are made for their owner alone, so are files. */
#ifndef MCP_CLI_STATE_H
#define MCP_CLI_STATE_H

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* The path of `name` ("chats/a.json"), its folders made; to be freed. NULL with an error. */
char *cli_state_path(const char *name, struct err *e);
/* All of a regular file of at most `most` bytes. 0 or a negative code. */
int cli_state_read(const char *path, size_t most, struct buf *out, struct err *e);
/* Replaces the file as a whole, or leaves it as it is. 0 or a negative code. */
int cli_state_write(const char *path, struct slice text, struct err *e);

#endif
