/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that a command is given: as arguments or on standard input. */
#ifndef MCP_CLI_INPUT_H
#define MCP_CLI_INPUT_H

#include "base/buf.h"

/* All of standard input without one line end at its end. CLI_EXIT_OK, or the exit status after an
 * error was said (a terminal: nothing was given). */
int cli_input_read(struct buf *text);

/* All of a file, as it is; `path` NULL: standard input, be it a terminal. 0, or errno; EFBIG: more
 * than `max_bytes`. */
int cli_input_file(const char *path, size_t max_bytes, struct buf *bytes);

/* Lines of standard input; zeroed at the beginning, given back with buf_fini(&...rest). */
struct cli_lines {
    struct buf rest; /* read, not yet taken */
    size_t taken;    /* of it, by the last line */
    bool end;
};
/* The next line without its end, valid until the next call; false at the end, or when Ctrl-C came
 * (after cli_conn_open). */
bool cli_input_line(struct cli_lines *lines, struct slice *line);

#endif
