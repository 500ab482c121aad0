/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate chat: a conversation, kept here and sent whole with each line. Ctrl-C breaks an answer
 * off by closing the connection (the base profile has no cancel) and keeps what was said so far. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/input.h"
#include "cli/text.h"

struct chat {
    struct cli_ask ask;
    struct cli_conn conn;
    yyjson_mut_val *messages;
    bool is_terminal;
};

static error_t parse_chat(int key, char *arg, struct argp_state *state)
{
    struct chat *chat = state->input;

    (void)arg;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = &chat->ask;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

static void add_message(struct chat *chat, const char *role, struct slice content)
{
    yyjson_mut_doc *doc = chat->ask.doc;
    yyjson_mut_val *message = yyjson_mut_arr_add_obj(doc, chat->messages);

    if (!yyjson_mut_obj_add_str(doc, message, "role", role) ||
        !yyjson_mut_obj_add_strncpy(doc, message, "content", content.ptr, content.len)) {
        cli_no_memory();
    }
}

/* One line and its answer. A line that got no answer is forgotten. */
static int take_turn(struct chat *chat, struct slice line)
{
    struct cli_answer answer = {.json = chat->ask.common.json, .verbose = chat->ask.verbose};
    int rc;

    add_message(chat, "user", line);
    cli_interrupted_clear();
    rc = cli_conn_refresh(&chat->conn);
    if (rc == CLI_EXIT_OK) {
        rc = cli_conn_exchange(&chat->conn, chat->ask.doc, cli_answer_part, &answer);
    }
    if (rc == CLI_EXIT_INTERRUPTED && chat->is_terminal) {
        answer.is_open = true; /* the terminal has shown ^C */
    }
    cli_answer_end(&answer);
    if (rc == CLI_EXIT_OK || (rc == CLI_EXIT_INTERRUPTED && buf_len(&answer.text) > 0)) {
        add_message(chat, "assistant", buf_slice(&answer.text));
    } else {
        (void)yyjson_mut_arr_remove_last(chat->messages); /* the copy lives with the document */
    }
    cli_answer_fini(&answer);
    if (rc == CLI_EXIT_INTERRUPTED && chat->is_terminal) {
        cli_interrupted_clear();
        rc = cli_conn_reopen(&chat->conn);
    }
    return rc;
}

/* A line that begins with a slash. */
static void take_command(struct slice line)
{
    if (slice_eq(line, SLICE("/help")) || slice_eq(line, SLICE("/?"))) {
        (void)puts("/bye     leave (so does Ctrl-D)\n"
                   "/help    this list\n"
                   "Ctrl-C   break the answer off");
    } else {
        cli_error("no command '%.*s'; see /help", SLICE_ARG(line));
    }
}

static void greet(const struct chat *chat)
{
    const char *model = yyjson_mut_get_str(yyjson_mut_obj_get(chat->ask.root, "model"));

    if (chat->is_terminal && isatty(STDOUT_FILENO)) {
        (void)fputs(cli_style(stdout, CLI_DIM), stdout);
        cli_put(stdout, slice_str(model));
        (void)printf("; /help lists the commands%s\n", cli_style(stdout, CLI_PLAIN));
    }
}

static void show_prompt(const struct chat *chat)
{
    if (chat->is_terminal && isatty(STDOUT_FILENO)) {
        (void)printf("%s>>>%s ", cli_style(stdout, CLI_BOLD), cli_style(stdout, CLI_PLAIN));
        (void)fflush(stdout); /* failures are seen at the end */
    }
}

/* Standard input gave no line: its end, or Ctrl-C at the prompt, which a terminal survives. */
static bool is_over(const struct chat *chat, int *rc)
{
    if (!cli_interrupted()) {
        if (chat->is_terminal) {
            (void)fputc('\n', stdout); /* behind the prompt that got Ctrl-D */
        }
        return true;
    }
    if (!chat->is_terminal) {
        *rc = CLI_EXIT_INTERRUPTED;
        return true;
    }
    cli_interrupted_clear();
    (void)puts("\nUse Ctrl-D or /bye to leave.");
    return false;
}

/* Line by line. On a terminal a failed line is not the end, unless the gateway is gone. */
static int talk(struct chat *chat)
{
    struct cli_lines lines = {0};
    int rc = CLI_EXIT_OK;

    while (rc == CLI_EXIT_OK) {
        struct slice text;

        show_prompt(chat);
        if (!cli_input_line(&lines, &text)) {
            if (is_over(chat, &rc)) {
                break;
            }
            continue;
        }
        text = slice_trim(text);
        if (slice_eq(text, SLICE("/bye"))) {
            break;
        }
        if (text.len == 0) {
            continue;
        }
        if (text.ptr[0] == '/' && chat->is_terminal) {
            take_command(text);
            continue;
        }
        rc = take_turn(chat, text);
        if (chat->is_terminal && rc != CLI_EXIT_NO_SERVER) {
            rc = CLI_EXIT_OK;
        }
    }
    buf_fini(&lines.rest);
    return rc;
}

static const struct argp_child children[] = {{.argp = &cli_ask_argp}, {0}};
const struct argp cli_chat_argp = {
    .parser = parse_chat,
    .doc = "Talks with a model: each line of standard input is answered, and the model is told "
           "the conversation so far.\v"
           "On a terminal, Ctrl-C breaks an answer off, Ctrl-D or /bye leaves.",
    .children = children,
};

int cli_chat(int argc, char **argv)
{
    struct chat chat = {.is_terminal = isatty(STDIN_FILENO)};
    int rc;

    cli_ask_init(&chat.ask);
    cli_parse(&cli_chat_argp, argc, argv, &chat);
    rc = cli_conn_open(&chat.conn, &chat.ask.common);
    if (rc == CLI_EXIT_OK) {
        rc = cli_ask_choose(&chat.ask, &chat.conn, "completion");
    }
    if (rc == CLI_EXIT_OK) {
        chat.messages = yyjson_mut_obj_add_arr(chat.ask.doc, chat.ask.root, "messages");
        if (chat.ask.system != NULL) {
            add_message(&chat, "system", slice_str(chat.ask.system));
        }
        greet(&chat);
        rc = talk(&chat);
    }
    cli_conn_close(&chat.conn);
    cli_ask_fini(&chat.ask);
    return rc;
}
