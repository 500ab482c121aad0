/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the admin listener as a table, once or again each second: the options of those commands
 * (--watch and those of cli/admin.h), and their cells. */
#ifndef MCP_CLI_PAGE_H
#define MCP_CLI_PAGE_H

#include <argp.h>
#include <stdbool.h>

#include <yyjson.h>

#include "cli/admin.h"
#include "cli/text.h"

/* The input of a command's parser that has cli_page_children. */
struct cli_page {
    struct cli_admin admin;
    bool watch;
};

extern const struct argp_child cli_page_children[];

/* Asks for `path`, whose member `rows` is an array, and prints it. The exit status. */
int cli_page_show(const struct cli_page *page, const char *path, const char *rows,
                  void (*print)(yyjson_val *root));

/* Cells of a row: a dash where the object has no such member. */
void cli_page_titles(struct cli_table *table, const char *const *titles);
void cli_page_text(struct cli_table *table, yyjson_val *object, const char *key);
void cli_page_number(struct cli_table *table, yyjson_val *object, const char *key);
/* Milliseconds, in seconds. */
void cli_page_time(struct cli_table *table, yyjson_val *object, const char *key);
void cli_page_bytes(struct cli_table *table, yyjson_val *object, const char *key);

#endif
