/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate rm: models go from all nodes that have them, or from those that are named. */
#include "base/buf.h"
#include "cli/manage.h"
#include "cli/text.h"

struct rm {
    struct cli_manage manage;
    char **models; /* of the command line, behind its options */
    int count;
};

static error_t parse_rm(int key, char *arg, struct argp_state *state)
{
    struct rm *r = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &r->manage;
        return 0;
    case ARGP_KEY_ARGS:
        r->models = state->argv + state->next;
        r->count = state->argc - state->next;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "expected a MODEL");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_rm_argp = {
    .parser = parse_rm,
    .args_doc = "MODEL...",
    .doc = "Deletes each MODEL on all nodes that have it. A node that is down keeps it, which is "
           "said. The exit status is 1 when one could not be deleted; the others are.",
    .children = cli_manage_children,
};

static int delete_one(struct rm *r, const char *model)
{
    struct buf done = {0};
    int rc;

    cli_manage_set(&r->manage, "model", model);
    if (!buf_printf(&done, "deleted '%s'", model) || !buf_append_byte(&done, '\0')) {
        cli_no_memory();
    }
    rc = cli_manage_run(&r->manage, buf_slice(&done).ptr);
    buf_fini(&done);
    return rc;
}

int cli_rm(int argc, char **argv)
{
    struct rm r = {.count = 0};
    int worst = CLI_EXIT_OK;

    cli_manage_init(&r.manage, "delete");
    cli_parse(&cli_rm_argp, argc, argv, &r);
    for (int i = 0; i < r.count && (worst == CLI_EXIT_OK || worst == CLI_EXIT_FAILED); i++) {
        int rc = delete_one(&r, r.models[i]);

        worst = rc == CLI_EXIT_OK ? worst : rc;
    }
    cli_manage_fini(&r.manage);
    return worst;
}
