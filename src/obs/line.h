/* SPDX-License-Identifier: Apache-2.0 */
/* Finished lines to where they are read: a file, a terminal, or a pipe whose reader may have
 * stopped. Logging never waits for a reader. Any thread. */
#ifndef MCP_OBS_LINE_H
#define MCP_OBS_LINE_H

#include "base/buf.h"

/* Writes the line (its newline included) in one piece; where there is no room it is dropped and
 * counted (LOG_DROPPED), as it is where `line` has failed. */
void line_write(int fd, const struct buf *line);
/* The same for some lines, PIPE_BUF bytes at most: all are written, or all are dropped. */
void lines_write(int fd, struct slice lines);

#endif
