/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate pull: a model on one node, on several, or once more on all that have it. */
#include "cli/manage.h"

struct pull {
    struct cli_manage manage;
    const char *model;
};

static error_t parse_pull(int key, char *arg, struct argp_state *state)
{
    struct pull *p = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &p->manage;
        return 0;
    case ARGP_KEY_ARG:
        if (p->model != NULL) {
            cli_usage(state, "expected one MODEL, not '%s' too", arg);
        }
        p->model = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "expected a MODEL");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_pull_argp = {
    .parser = parse_pull,
    .args_doc = "MODEL",
    .doc = "Has nodes download MODEL: those that have it already, so that it is the same on all of "
           "them, and more where these are fewer than wanted (placement.replicas). Ctrl-C ends "
           "it on all of them; what was loaded is used by the next pull.",
    .children = cli_manage_placing_children,
};

int cli_pull(int argc, char **argv)
{
    struct pull p = {.model = NULL};
    int rc;

    cli_manage_init(&p.manage, "pull");
    cli_parse(&cli_pull_argp, argc, argv, &p);
    cli_manage_set(&p.manage, "model", p.model);
    rc = cli_manage_run(&p.manage, NULL);
    cli_manage_fini(&p.manage);
    return rc;
}
