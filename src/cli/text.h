/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: styles, numbers and times in words, tables. What comes from the network cannot
 * steer a terminal: control characters are replaced there, and only there. */
#ifndef MCP_CLI_TEXT_H
#define MCP_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "base/slice.h"

enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN };

/* A terminal, TERM is not "dumb", and NO_COLOR is not set. */
bool cli_has_colour(FILE *f);
/* What switches to the style; "" where there is no colour. */
const char *cli_style(FILE *f, enum cli_style style);

/* As it is, or on a terminal without control characters but newline and tab. */
void cli_put(FILE *f, struct slice text);
/* One line on standard error: "mcpgate: ...". */
void cli_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same for what is no error: "mcpgate: warning: ...". */
void cli_warning(const char *text);
/* Ends the program: memory is out. */
void cli_no_memory(void) __attribute__((noreturn));

enum { CLI_FORMAT_MAX = 40 };
/* "512 B", "4.7 GB", "12 GB", as Ollama does. */
void cli_format_bytes(uint64_t bytes, char out[CLI_FORMAT_MAX]);
/* "1.5s", "2m3.25s", "130ms", "800ns", as Go does. */
void cli_format_duration(uint64_t ns, char out[CLI_FORMAT_MAX]);
/* "2 weeks ago", "4 minutes from now", "Forever", as Ollama does; "Never" for its zero time and
 * what is no RFC 3339 time. */
void cli_format_when(struct slice rfc3339, time_t now, char out[CLI_FORMAT_MAX]);
/* Seconds since 1970; false where `text` is no RFC 3339 time. */
bool cli_parse_time(struct slice text, time_t *out);

/* Rows of cells under a heading; columns are as wide as they need. */
struct cli_table {
    size_t columns;
    size_t cell_count;
    char **cells;
};

/* Adds a cell; they fill row by row, the heading first. */
void cli_table_add(struct cli_table *t, struct slice text);
/* Writes it to standard output and frees it. */
void cli_table_print(struct cli_table *t);

#endif
