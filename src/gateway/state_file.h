/* SPDX-License-Identifier: Apache-2.0 */
/* A small file of the gateway that outlives it, in its state directory: read once at the start,
 * then replaced as a whole, or not at all, by a helper thread, one writing after the other and
 * always the latest text. Folders are made when something is written first, for their owner alone
 * as files are. The main reactor's thread only. */
#ifndef MCP_GATEWAY_STATE_FILE_H
#define MCP_GATEWAY_STATE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/err.h"
#include "base/slice.h"
#include "reactor/loop.h"

struct state_file;

/* What was put last is in the file; or `why_not`, and what was there before still is. Once for all
 * that was put meanwhile. */
typedef void (*state_file_cb)(void *owner, const char *why_not);

/* The directory where things are kept: `configured` where it is not NULL, else STATE_DIRECTORY (of
 * systemd), else XDG_STATE_HOME/mcpgate, else ~/.local/state/mcpgate where HOME may be written to.
 * To be freed; NULL: there is none. Start-up. */
char *state_file_directory(const char *configured);
/* Start-up. `directory` NULL: nothing can be kept, each writing fails. */
struct state_file *state_file_new(struct loop *loop, const char *directory, const char *name,
                                  state_file_cb kept, void *owner);
/* Tells nobody any more; a writing that runs goes on. */
void state_file_free(struct state_file **f);
/* Start-up, blocking: what it holds, nothing where there is no file yet. 0 or a negative code. */
MUST_CHECK int state_file_read(const struct state_file *f, struct buf *out, struct err *e);
/* A text without zero bytes; NULL: it could not be made for lack of memory, and what the file holds
 * stays. `kept` comes later, from the loop. */
void state_file_put(struct state_file *f, struct slice text);

#endif
