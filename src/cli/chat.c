/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate chat: a conversation, kept here and sent whole with each line. Ctrl-C cancels an answer,
 * in the base profile by closing the connection, and keeps what was said so far. */
#include "cli/chat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/text.h"

static const struct slice QUOTES = {"\"\"\"", 3};

enum { OPTION_NO_HISTORY = 0x200 };

static const struct argp_option options[] = {
    {"no-history", OPTION_NO_HISTORY, NULL, 0,
     "Keep nothing of what is typed for the next chat (MCPGATE_NOHISTORY)", 0},
    {0},
};

static error_t parse_chat(int key, char *arg, struct argp_state *state)
{
    struct chat *chat = state->input;
    const char *no_history = getenv("MCPGATE_NOHISTORY");

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &chat->ask;
        chat->no_history = no_history != NULL && *no_history != '\0';
        return 0;
    case OPTION_NO_HISTORY:
        chat->no_history = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- the conversation ------------------------------------------------------------------------- */

static yyjson_mut_val *new_message(struct chat *chat, const char *role, struct slice content)
{
    yyjson_mut_doc *doc = chat->ask.doc;
    yyjson_mut_val *message = yyjson_mut_obj(doc);

    if (!yyjson_mut_obj_add_str(doc, message, "role", role) ||
        !yyjson_mut_obj_add_strncpy(doc, message, "content", content.ptr, content.len)) {
        cli_no_memory();
    }
    return message;
}

void cli_chat_add(struct chat *chat, const char *role, struct slice content)
{
    if (!yyjson_mut_arr_append(chat->messages, new_message(chat, role, content))) {
        cli_no_memory();
    }
}

void cli_chat_set_system(struct chat *chat, struct slice text)
{
    yyjson_mut_val *first = yyjson_mut_arr_get_first(chat->messages);

    if (yyjson_mut_equals_str(yyjson_mut_obj_get(first, "role"), "system")) {
        (void)yyjson_mut_arr_remove_first(chat->messages); /* its memory goes with the document */
    }
    if (text.len > 0 &&
        !yyjson_mut_arr_prepend(chat->messages, new_message(chat, "system", text))) {
        cli_no_memory();
    }
}

const char *cli_chat_model(const struct chat *chat)
{
    return yyjson_mut_get_str(yyjson_mut_obj_get(chat->ask.root, "model"));
}

/* One line and its answer. A line that got no answer is forgotten. */
static int take_turn(struct chat *chat, struct slice line)
{
    struct cli_answer answer = {.json = chat->ask.common.json, .verbose = chat->ask.verbose};
    int rc;

    cli_chat_add(chat, "user", line);
    cli_interrupted_clear();
    rc = cli_conn_refresh(&chat->conn);
    if (rc == CLI_EXIT_OK) {
        chat->conn.answer = &answer;
        rc = cli_conn_exchange(&chat->conn, chat->ask.doc, cli_answer_part, &answer);
        chat->conn.answer = NULL;
    }
    if (rc == CLI_EXIT_INTERRUPTED && chat->is_terminal) {
        answer.is_open = true; /* the terminal has shown ^C */
    }
    cli_answer_end(&answer);
    if (rc == CLI_EXIT_OK || (rc == CLI_EXIT_INTERRUPTED && buf_len(&answer.text) > 0)) {
        cli_chat_add(chat, "assistant", buf_slice(&answer.text));
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

/* --- what is typed ---------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* Without blanks and line ends at either end. */
static struct slice trim(struct slice text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text = slice_skip(text, 1);
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

static bool ends_with_quotes(struct slice text)
{
    return text.len >= QUOTES.len && slice_eq(slice_skip(text, text.len - QUOTES.len), QUOTES);
}

struct slice cli_chat_unquote(struct slice text)
{
    text = trim(text);
    if (slice_starts(text, QUOTES)) {
        text = slice_skip(text, QUOTES.len);
        if (ends_with_quotes(text)) {
            text.len -= QUOTES.len;
        }
    }
    return trim(text);
}

/* It has begun with quotes, of a message or of a system prompt, that are not closed. */
static bool is_open(struct slice text)
{
    static const struct slice before = {"/set system", 11};

    text = trim(text);
    if (slice_starts(text, before)) {
        text = trim(slice_skip(text, before.len));
    }
    return slice_starts(text, QUOTES) && !ends_with_quotes(slice_skip(text, QUOTES.len));
}

static enum cli_typed read_line(struct chat *chat, const char *prompt, struct slice *line)
{
    if (chat->editor != NULL) {
        return cli_editor_line(chat->editor, prompt, line);
    }
    if (chat->is_terminal && isatty(STDOUT_FILENO)) {
        (void)printf("%s%s%s ", cli_style(stdout, CLI_BOLD), prompt, cli_style(stdout, CLI_PLAIN));
        (void)fflush(stdout); /* failures are seen at the end */
    }
    if (cli_input_line(&chat->lines, line)) {
        return CLI_TYPED_LINE;
    }
    return cli_interrupted() ? CLI_TYPED_BREAK : CLI_TYPED_END;
}

/* What a person says: a line, or on a terminal all from one """ to the other. */
static enum cli_typed read_text(struct chat *chat, struct buf *text)
{
    struct slice line;
    enum cli_typed typed = read_line(chat, ">>>", &line);

    buf_consume(text, buf_len(text));
    while (typed == CLI_TYPED_LINE) {
        if (!buf_append(text, line)) {
            cli_no_memory();
        }
        if (!chat->is_terminal || !is_open(buf_slice(text))) {
            return CLI_TYPED_LINE;
        }
        (void)buf_append_byte(text, '\n'); /* seen with the next line */
        typed = read_line(chat, "...", &line);
    }
    return typed;
}

/* Into the arrow keys' list, and into the file. */
static void remember(struct chat *chat, struct slice text)
{
    char *copy;

    if (chat->editor == NULL) {
        return;
    }
    copy = slice_dup(text);
    if (copy == NULL) {
        cli_no_memory();
    }
    cli_editor_remember(chat->editor, copy);
    cli_history_add(&chat->history, text);
    free(copy);
}

/* A text of a person. False: it was the last one. */
static bool take_text(struct chat *chat, struct slice text, int *rc)
{
    text = trim(text);
    if (slice_eq(text, SLICE("/bye"))) {
        return false;
    }
    if (text.len == 0) {
        return true;
    }
    remember(chat, text);
    if (!chat->is_terminal) {
        *rc = take_turn(chat, text);
        return *rc == CLI_EXIT_OK;
    }
    if (text.ptr[0] == '/') {
        return cli_chat_command(chat, text);
    }
    text = cli_chat_unquote(text);
    if (text.len > 0) {
        (void)take_turn(chat, text); /* what failed was said, and the next line connects anew */
    }
    return true;
}

/* Standard input gave no text. False: it is the end. */
static bool take_none(struct chat *chat, enum cli_typed typed, int *rc)
{
    if (typed == CLI_TYPED_END) {
        if (chat->is_terminal) {
            (void)fputc('\n', stdout); /* behind the prompt that got Ctrl-D */
        }
        return false;
    }
    if (!chat->is_terminal) {
        *rc = CLI_EXIT_INTERRUPTED;
        return false;
    }
    cli_interrupted_clear();
    (void)puts(typed == CLI_TYPED_DISCARDED ? "^C" : "\nUse Ctrl-D or /bye to leave.");
    return true;
}

static int talk(struct chat *chat)
{
    struct buf text = {0};
    int rc = CLI_EXIT_OK;
    bool goes_on = true;

    while (goes_on) {
        enum cli_typed typed = read_text(chat, &text);

        goes_on = typed == CLI_TYPED_LINE ? take_text(chat, buf_slice(&text), &rc)
                                          : take_none(chat, typed, &rc);
    }
    buf_fini(&text);
    buf_fini(&chat->lines.rest);
    return rc;
}

/* --- begin and end ---------------------------------------------------------------------------- */

static void greet(const struct chat *chat)
{
    if (chat->is_terminal && isatty(STDOUT_FILENO)) {
        (void)fputs(cli_style(stdout, CLI_DIM), stdout);
        cli_put(stdout, slice_str(cli_chat_model(chat)));
        (void)printf("; /help lists the commands%s\n", cli_style(stdout, CLI_PLAIN));
    }
}

static void begin_editing(struct chat *chat)
{
    struct cli_words entries = {0};

    chat->history.fd = -1;
    if (!chat->is_terminal) {
        return;
    }
    chat->editor = cli_editor_new(cli_chat_complete, chat);
    if (chat->editor != NULL && !chat->no_history) {
        cli_history_open(&chat->history, &entries);
        for (size_t i = 0; i < entries.count; i++) {
            cli_editor_remember(chat->editor, entries.texts[i]);
        }
        cli_words_fini(&entries);
    }
}

static const struct argp_child children[] = {{.argp = &cli_ask_argp}, {0}};
const struct argp cli_chat_argp = {
    .options = options,
    .parser = parse_chat,
    .doc = "Talks with a model: each line of standard input is answered, and the model is told "
           "the conversation so far.\v"
           "On a terminal, lines can be edited, Ctrl-C breaks an answer off, /help lists the "
           "commands, Ctrl-D or /bye leaves.",
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
            cli_chat_set_system(&chat, slice_str(chat.ask.system));
        }
        begin_editing(&chat);
        greet(&chat);
        rc = talk(&chat);
        cli_history_close(&chat.history);
        cli_editor_free(&chat.editor);
    }
    cli_conn_close(&chat.conn);
    cli_ask_fini(&chat.ask);
    return rc;
}
