/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate generate: one prompt, the answer as it comes. */
#include <stdio.h>

#include "cli/ask.h"
#include "cli/input.h"
#include "cli/text.h"

struct generate {
    struct cli_ask ask;
    bool raw;
    struct buf prompt;
};

static const struct argp_option options[] = {
    {"raw", 'r', NULL, 0, "No chat template: continue the text as it stands", 0},
    {0},
};

static error_t parse_generate(int key, char *arg, struct argp_state *state)
{
    struct generate *g = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &g->ask;
        return 0;
    case 'r':
        g->raw = true;
        return 0;
    case ARGP_KEY_ARG:
        if ((buf_len(&g->prompt) > 0 && !buf_append_byte(&g->prompt, ' ')) ||
            !buf_append_str(&g->prompt, arg)) {
            cli_no_memory();
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void fill_request(struct generate *g)
{
    yyjson_mut_doc *doc = g->ask.doc;
    yyjson_mut_val *root = g->ask.root;
    bool ok = yyjson_mut_obj_add_strn(doc, root, "prompt", buf_slice(&g->prompt).ptr,
                                      buf_len(&g->prompt));

    if (g->ask.system != NULL) {
        ok = ok && yyjson_mut_obj_add_str(doc, root, "system", g->ask.system);
    }
    if (g->raw) {
        ok = ok && yyjson_mut_obj_add_bool(doc, root, "raw", true);
    }
    if (!ok) {
        cli_no_memory();
    }
}

static int run(struct generate *g)
{
    struct cli_answer answer = {.json = g->ask.common.json, .verbose = g->ask.verbose};
    struct cli_conn conn;
    int rc = cli_conn_open(&conn, &g->ask.common);

    if (rc == CLI_EXIT_OK) {
        rc = cli_ask_choose(&g->ask, &conn, "completion");
    }
    if (rc == CLI_EXIT_OK) {
        fill_request(g);
        conn.answer = &answer;
        rc = cli_conn_exchange(&conn, g->ask.doc, cli_answer_part, &answer);
        cli_answer_end(&answer);
    }
    cli_conn_close(&conn); /* cancels what still runs */
    cli_answer_fini(&answer);
    return rc;
}

static const struct argp_child children[] = {{.argp = &cli_ask_argp}, {0}};
const struct argp cli_generate_argp = {
    .options = options,
    .parser = parse_generate,
    .args_doc = "[PROMPT...]",
    .doc = "Has a model continue or answer PROMPT, or what standard input holds, and prints "
           "the answer as it comes.",
    .children = children,
};

int cli_generate(int argc, char **argv)
{
    struct generate g = {0};
    int rc = CLI_EXIT_OK;

    cli_ask_init(&g.ask);
    cli_parse(&cli_generate_argp, argc, argv, &g);
    if (buf_len(&g.prompt) == 0) {
        rc = cli_input_read(&g.prompt);
    }
    if (rc == CLI_EXIT_OK) {
        rc = run(&g);
    }
    buf_fini(&g.prompt);
    cli_ask_fini(&g.ask);
    return rc;
}
