/* SPDX-License-Identifier: Apache-2.0 */
/* What was typed into chat, over its runs: one JSON string to a line, appended, so that several
 * chats at once do not lose each other's. The file is its owner's alone. One thread. */
#ifndef MCP_CLI_HISTORY_H
#define MCP_CLI_HISTORY_H

#include <stdbool.h>

#include "base/slice.h"
#include "cli/words.h"

struct cli_history {
    int fd; /* -1: nothing is kept */
};

/* Opens the file and gives the newest of its entries, the oldest of them first. What cannot be
 * opened is said once, and nothing is kept then. */
void cli_history_open(struct cli_history *history, struct cli_words *entries);
void cli_history_add(struct cli_history *history, struct slice text);
/* Nothing is kept from now on. */
void cli_history_close(struct cli_history *history);

#endif
