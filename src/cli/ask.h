/* SPDX-License-Identifier: Apache-2.0 */
/* What generate and chat share: their options, the request they make of them, and how an answer is
 * shown while it comes. */
#ifndef MCP_CLI_ASK_H
#define MCP_CLI_ASK_H

#include <stdbool.h>

#include <yyjson.h>

#include "base/buf.h"
#include "base/slice.h"
#include "cli/cli.h"
#include "cli/conn.h"

struct cli_ask {
    struct cli_common common;
    const char *model;
    const char *system;
    bool verbose;
    yyjson_mut_doc *doc; /* the request; "options" are in it already */
    yyjson_mut_val *root;
};

void cli_ask_init(struct cli_ask *ask);
void cli_ask_fini(struct cli_ask *ask);
/* As a child of a parser, whose input is then a struct cli_ask; has cli_common_argp in it. */
extern const struct argp cli_ask_argp;
/* A value that is JSON as such, anything else as text. */
yyjson_mut_val *cli_ask_value(yyjson_mut_doc *doc, struct slice text);
/* Sets an option of the model; what was set before is replaced. */
void cli_ask_set_option(struct cli_ask *ask, struct slice name, yyjson_mut_val *value);
/* Puts the model into the request: the one given, else the first that can do it. */
int cli_ask_choose(struct cli_ask *ask, struct cli_conn *conn, const char *capability);

/* An answer on its way. */
struct cli_answer {
    bool json;
    bool verbose;
    struct buf text; /* what was said, without the thinking */
    bool is_thinking;
    bool is_open; /* the line that is being written has no end yet */
};

/* A cli_part_fn; the owner is a struct cli_answer. */
void cli_answer_part(void *owner, yyjson_val *part, struct slice text);
/* Ends the line that an answer, whole or broken off, has left open. */
void cli_answer_end(struct cli_answer *answer);
void cli_answer_fini(struct cli_answer *answer);

#endif
