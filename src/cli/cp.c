/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate cp: another name for a model. */
#include <stdio.h>

#include "base/buf.h"
#include "cli/manage.h"
#include "cli/text.h"

enum { WORDS = 2 };

struct cp {
    struct cli_manage manage;
    const char *words[WORDS]; /* from, to */
};

static error_t parse_cp(int key, char *arg, struct argp_state *state)
{
    struct cp *c = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->manage;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= WORDS) {
            cli_usage(state, "expected MODEL and NAME, not '%s' too", arg);
        }
        c->words[state->arg_num] = arg;
        return 0;
    case ARGP_KEY_END:
        if (c->words[1] == NULL) {
            cli_usage(state, "expected MODEL and NAME");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_cp_argp = {
    .parser = parse_cp,
    .args_doc = "MODEL NAME",
    .doc = "Gives MODEL the name NAME too, on all nodes that have it.",
    .children = cli_manage_placing_children,
};

int cli_cp(int argc, char **argv)
{
    struct cp c = {.words = {NULL}};
    struct buf done = {0};
    int rc;

    cli_manage_init(&c.manage, "copy");
    cli_parse(&cli_cp_argp, argc, argv, &c);
    cli_manage_set(&c.manage, "source", c.words[0]);
    cli_manage_set(&c.manage, "destination", c.words[1]);
    if (!buf_printf(&done, "copied '%s' to '%s'", c.words[0], c.words[1]) ||
        !buf_append_byte(&done, '\0')) {
        cli_no_memory();
    }
    rc = cli_manage_run(&c.manage, buf_slice(&done).ptr);
    buf_fini(&done);
    cli_manage_fini(&c.manage);
    return rc;
}
