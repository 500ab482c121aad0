/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/text.h"

/* --- options ---------------------------------------------------------------------------------- */

enum { OPTION_MODEL = 'm', OPTION_SET = 'o', OPTION_MAX_TOKENS = 'n', OPTION_SYSTEM = 's' };

static const struct argp_option options[] = {
    {"model", OPTION_MODEL, "MODEL", 0, "The model (else the first of mcpgate list that can)", 0},
    {"max-tokens", OPTION_MAX_TOKENS, "N", 0, "Stop after N tokens", 0},
    {"option", OPTION_SET, "NAME=VALUE", 0,
     "An option of the model, such as temperature=0; may be repeated", 0},
    {"system", OPTION_SYSTEM, "TEXT", 0, "The system prompt", 0},
    {"verbose", 'v', NULL, 0,
     "Show what was negotiated, where the request stands, then counts and times", 0},
    {0},
};

void cli_ask_init(struct cli_ask *ask)
{
    *ask = (struct cli_ask){.doc = yyjson_mut_doc_new(NULL)};
    ask->root = yyjson_mut_obj(ask->doc);
    if (ask->root == NULL) {
        cli_no_memory();
    }
    yyjson_mut_doc_set_root(ask->doc, ask->root);
}

void cli_ask_fini(struct cli_ask *ask)
{
    yyjson_mut_doc_free(ask->doc);
}

void cli_ask_set_option(struct cli_ask *ask, struct slice name, yyjson_mut_val *value)
{
    yyjson_mut_val *all = yyjson_mut_obj_get(ask->root, "options");

    if (all == NULL) {
        all = yyjson_mut_obj_add_obj(ask->doc, ask->root, "options");
    }
    if (!yyjson_mut_obj_put(all, yyjson_mut_strncpy(ask->doc, name.ptr, name.len), value)) {
        cli_no_memory();
    }
}

yyjson_mut_val *cli_ask_value(yyjson_mut_doc *doc, struct slice text)
{
    yyjson_doc *json = yyjson_read(text.ptr, text.len, YYJSON_READ_NUMBER_AS_RAW);
    yyjson_mut_val *value = json == NULL ? yyjson_mut_strncpy(doc, text.ptr, text.len)
                                         : yyjson_val_mut_copy(doc, yyjson_doc_get_root(json));

    yyjson_doc_free(json);
    if (value == NULL) {
        cli_no_memory();
    }
    return value;
}

static void parse_setting(struct cli_ask *ask, const char *text, struct argp_state *state)
{
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        cli_usage(state, "--option: expected NAME=VALUE, not '%s'", text);
    }
    cli_ask_set_option(ask, slice_of(text, (size_t)(equals - text)), /* the last one wins */
                       cli_ask_value(ask->doc, slice_str(equals + 1)));
}

static error_t parse_ask(int key, char *arg, struct argp_state *state)
{
    struct cli_ask *ask = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &ask->common;
        return 0;
    case OPTION_MODEL:
        ask->model = arg;
        return 0;
    case OPTION_MAX_TOKENS:
        cli_ask_set_option(
            ask, SLICE("num_predict"),
            yyjson_mut_uint(ask->doc, cli_parse_number(state, "max-tokens", arg, INT_MAX)));
        return 0;
    case OPTION_SET:
        parse_setting(ask, arg, state);
        return 0;
    case OPTION_SYSTEM:
        ask->system = arg;
        return 0;
    case 'v':
        ask->verbose = ask->common.verbose = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {{.argp = &cli_common_argp}, {0}};
const struct argp cli_ask_argp = {.options = options, .parser = parse_ask, .children = children};

int cli_ask_choose(struct cli_ask *ask, struct cli_conn *conn, const char *capability)
{
    struct buf name = {0};
    int rc = CLI_EXIT_OK;

    if (ask->model != NULL) {
        (void)buf_append_str(&name, ask->model);
    } else {
        rc = cli_conn_first_model(conn, capability, &name);
    }
    if (rc == CLI_EXIT_OK && !yyjson_mut_obj_add_strncpy(ask->doc, ask->root, "model",
                                                         buf_slice(&name).ptr, buf_len(&name))) {
        cli_no_memory();
    }
    buf_fini(&name);
    return rc;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Thinking is for people who look on; a file or pipe gets the answer alone. */
static void show_thinking(struct cli_answer *answer, struct slice text)
{
    if (text.len == 0 || !isatty(STDOUT_FILENO)) {
        return;
    }
    if (!answer->is_thinking) {
        (void)fputs(cli_style(stdout, CLI_DIM), stdout);
        answer->is_thinking = true;
    }
    cli_put(stdout, text);
    answer->is_open = text.ptr[text.len - 1] != '\n';
}

static void end_thinking(struct cli_answer *answer)
{
    if (answer->is_thinking) {
        (void)fprintf(stdout, "%s%s\n", cli_style(stdout, CLI_PLAIN), answer->is_open ? "\n" : "");
        answer->is_thinking = false;
        answer->is_open = false;
    }
}

static void show_rate(const char *name, uint64_t count, uint64_t ns)
{
    if (ns > 0) {
        (void)fprintf(stderr, "%-21s %.2f tokens/s\n", name, (double)count * 1e9 / (double)ns);
    }
}

static void show_duration(const char *name, uint64_t ns)
{
    char text[CLI_FORMAT_MAX];

    if (ns > 0) {
        cli_format_duration(ns, text);
        (void)fprintf(stderr, "%-21s %s\n", name, text);
    }
}

static void show_count(const char *name, uint64_t count)
{
    if (count > 0) {
        (void)fprintf(stderr, "%-21s %" PRIu64 " token(s)\n", name, count);
    }
}

/* As ollama run --verbose does. */
static void show_numbers(yyjson_val *part)
{
    uint64_t prompt_count = cli_member_uint(part, "prompt_eval_count");
    uint64_t prompt_ns = cli_member_uint(part, "prompt_eval_duration");
    uint64_t count = cli_member_uint(part, "eval_count");
    uint64_t ns = cli_member_uint(part, "eval_duration");

    (void)fflush(stdout); /* the answer stands before it */
    show_duration("total duration:", cli_member_uint(part, "total_duration"));
    show_duration("load duration:", cli_member_uint(part, "load_duration"));
    show_count("prompt eval count:", prompt_count);
    show_duration("prompt eval duration:", prompt_ns);
    show_rate("prompt eval rate:", prompt_count, prompt_ns);
    show_count("eval count:", count);
    show_duration("eval duration:", ns);
    show_rate("eval rate:", count, ns);
}

void cli_answer_part(void *owner, yyjson_val *part, struct slice text)
{
    struct cli_answer *answer = owner;
    yyjson_val *message = yyjson_obj_get(part, "message");
    struct slice said =
        message == NULL ? cli_member_text(part, "response") : cli_member_text(message, "content");

    if (!buf_append(&answer->text, said)) {
        cli_no_memory();
    }
    if (answer->json) {
        cli_print_part(NULL, part, text);
        return;
    }
    show_thinking(answer, cli_member_text(message == NULL ? part : message, "thinking"));
    if (said.len > 0) {
        end_thinking(answer);
        cli_put(stdout, said);
        answer->is_open = said.ptr[said.len - 1] != '\n';
    }
    (void)fflush(stdout); /* failures are seen at the end */
    if (yyjson_is_true(yyjson_obj_get(part, "done"))) {
        cli_answer_end(answer);
        if (answer->verbose) {
            show_numbers(part);
        }
    }
}

void cli_answer_end(struct cli_answer *answer)
{
    end_thinking(answer);
    if (answer->is_open) {
        (void)fputc('\n', stdout);
        answer->is_open = false;
    }
    (void)fflush(stdout); /* failures are seen at the end */
}

void cli_answer_fini(struct cli_answer *answer)
{
    buf_fini(&answer->text);
}
