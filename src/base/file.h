/* SPDX-License-Identifier: Apache-2.0 */
/* What everybody needs who keeps files: blocking, so not for a loop's thread. */
#ifndef MCP_BASE_FILE_H
#define MCP_BASE_FILE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

/* "PATH: why", as errno says. Returns MCP_EARGUMENT. */
int file_fail(struct err *e, const char *path);
/* Makes the folders above the last slash of an absolute path, for their owner alone. `path` is
 * written to meanwhile. 0, or MCP_EARGUMENT with the folder that could not be made. */
int file_make_folders(char *path, struct err *e);
/* All of it; false: errno says why not. */
bool file_write_all(int fd, struct slice text);

#endif
