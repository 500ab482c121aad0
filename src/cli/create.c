/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate create: a model that is another one with its own system prompt and parameters. */
#include <string.h>

#include "cli/ask.h"
#include "cli/manage.h"
#include "cli/text.h"

enum { OPTION_FROM = 0x200, OPTION_SYSTEM, OPTION_PARAMETER };

struct create {
    struct cli_manage manage;
    const char *model;
    const char *from;
};

static const struct argp_option options[] = {
    {"from", OPTION_FROM, "MODEL", 0, "The model that it is made from", 1},
    {"system", OPTION_SYSTEM, "TEXT", 0, "Its system prompt", 2},
    {"parameter", OPTION_PARAMETER, "NAME=VALUE", 0,
     "One of its parameters, such as num_ctx=8192; may be repeated", 3},
    {0},
};

static void set_parameter(struct create *c, struct argp_state *state, const char *text)
{
    yyjson_mut_doc *doc = c->manage.doc;
    yyjson_mut_val *all = yyjson_mut_obj_get(c->manage.root, "parameters");
    const char *equals = strchr(text, '=');

    if (equals == NULL || equals == text) {
        cli_usage(state, "--parameter: expected NAME=VALUE, not '%s'", text);
    }
    if (all == NULL) {
        all = yyjson_mut_obj_add_obj(doc, c->manage.root, "parameters");
    }
    /* The last one wins. */
    if (!yyjson_mut_obj_put(all, yyjson_mut_strncpy(doc, text, (size_t)(equals - text)),
                            cli_ask_value(doc, slice_str(equals + 1)))) {
        cli_no_memory();
    }
}

static error_t parse_create(int key, char *arg, struct argp_state *state)
{
    struct create *c = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->manage;
        return 0;
    case OPTION_FROM:
        c->from = arg;
        return 0;
    case OPTION_SYSTEM:
        cli_manage_set(&c->manage, "system", arg);
        return 0;
    case OPTION_PARAMETER:
        set_parameter(c, state, arg);
        return 0;
    case ARGP_KEY_ARG:
        if (c->model != NULL) {
            cli_usage(state, "expected one NAME, not '%s' too", arg);
        }
        c->model = arg;
        return 0;
    case ARGP_KEY_END:
        if (c->model == NULL || c->from == NULL) {
            cli_usage(state, "expected a NAME and --from MODEL");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_create_argp = {
    .options = options,
    .parser = parse_create,
    .args_doc = "NAME",
    .doc = "Makes a model called NAME from another one. Modelfiles, and files of models, are for "
           "ollama create, which can be pointed at the gateway.",
    .children = cli_manage_placing_children,
};

int cli_create(int argc, char **argv)
{
    struct create c = {.model = NULL};
    int rc;

    cli_manage_init(&c.manage, "create");
    cli_parse(&cli_create_argp, argc, argv, &c);
    cli_manage_set(&c.manage, "model", c.model);
    cli_manage_set(&c.manage, "from", c.from);
    rc = cli_manage_run(&c.manage, NULL);
    cli_manage_fini(&c.manage);
    return rc;
}
