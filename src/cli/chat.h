/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation: what its commands (chat_command.c), its files (chat_store.c) and its loop
 * (chat.c) share. The request of ask.h is the conversation: it is sent whole with each line. */
#ifndef MCP_CLI_CHAT_H
#define MCP_CLI_CHAT_H

#include <stdbool.h>

#include "base/err.h"
#include "cli/ask.h"
#include "cli/editor.h"
#include "cli/history.h"
#include "cli/input.h"

struct chat {
    struct cli_ask ask;
    struct cli_conn conn;
    yyjson_mut_val *messages;
    bool is_terminal;
    struct cli_editor *editor; /* NULL: lines come as they are */
    struct cli_lines lines;
    bool no_history;
    struct cli_history history;
};

void cli_chat_add(struct chat *chat, const char *role, struct slice content);
/* The system prompt is the first message; an empty one is none. */
void cli_chat_set_system(struct chat *chat, struct slice text);
/* The text between """ and """ without them; any other as it is. Without blanks around it. */
struct slice cli_chat_unquote(struct slice text);
/* The name of the model. */
const char *cli_chat_model(const struct chat *chat);

/* Runs a line that begins with a slash. False: /bye. What is wrong with it is said. */
bool cli_chat_command(struct chat *chat, struct slice line);
/* A cli_complete_fn for such lines; the owner is a struct chat. */
size_t cli_chat_complete(void *owner, struct slice before, struct cli_words *words);

/* Writes the conversation as a request to /api/chat, reads it back. A name has no slash and lies in
 * the state folder, anything with one is a path. 0 or a negative code. */
int cli_chat_save(const struct chat *chat, struct slice name, struct err *e);
int cli_chat_load(struct chat *chat, struct slice name, struct err *e);
/* The names of those in the state folder. */
void cli_chat_saved(struct cli_words *names);

#endif
