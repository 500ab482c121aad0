/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that a person edits on a terminal, with libedit: history, completion, texts pasted as a
 * whole, Ctrl-C without the end of the program. ~/.editrc is read. One thread, one editor at a
 * time (its signal handlers). */
#ifndef MCP_CLI_EDITOR_H
#define MCP_CLI_EDITOR_H

#include "base/slice.h"
#include "cli/words.h"

struct cli_editor;

/* Adds what the last word of `before`, the line up to the cursor, may become; returns where in
 * `before` that word begins. */
typedef size_t (*cli_complete_fn)(void *owner, struct slice before, struct cli_words *words);

/* NULL: this terminal cannot do it, or input or output is none. */
struct cli_editor *cli_editor_new(cli_complete_fn complete, void *owner);
void cli_editor_free(struct cli_editor **editor);

enum cli_typed {
    CLI_TYPED_LINE,
    CLI_TYPED_END,       /* Ctrl-D on an empty line, or the terminal is gone */
    CLI_TYPED_BREAK,     /* Ctrl-C on an empty line */
    CLI_TYPED_DISCARDED, /* Ctrl-C on another */
};

/* The next line without its end, valid until the next call; after pasting there can be line ends
 * in it. */
enum cli_typed cli_editor_line(struct cli_editor *editor, const char *prompt, struct slice *line);
/* What the arrow keys bring back. */
void cli_editor_remember(struct cli_editor *editor, const char *text);

#endif
