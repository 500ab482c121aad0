/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate nodes: the health of the gateway and of its nodes. */
#include <stdio.h>

#include "cli/conn.h"
#include "cli/text.h"

struct nodes {
    struct cli_common common;
    bool deep;
    bool is_down;
};

static const struct argp_option options[] = {
    {"deep", 'd', NULL, 0, "Also have one node generate a token", 0},
    {0},
};

static error_t parse_nodes(int key, char *arg, struct argp_state *state)
{
    struct nodes *n = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &n->common;
        return 0;
    case 'd':
        n->deep = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_nodes(yyjson_val *part)
{
    yyjson_val *nodes = yyjson_obj_get(part, "nodes");
    struct slice status = cli_member_text(part, "status");
    struct cli_table table = {.columns = 2};
    yyjson_val *node;
    size_t i, count;

    cli_table_add(&table, SLICE("NAME"));
    cli_table_add(&table, SLICE("STATE"));
    yyjson_arr_foreach(nodes, i, count, node)
    {
        cli_table_add(&table, cli_member_text(node, "name"));
        cli_table_add(&table,
                      yyjson_is_true(yyjson_obj_get(node, "up")) ? SLICE("up") : SLICE("down"));
    }
    cli_table_print(&table);
    (void)printf("\ngateway %s%.*s%s\n",
                 cli_style(stdout, slice_eq(status, SLICE("ok")) ? CLI_GREEN : CLI_RED),
                 SLICE_ARG(status), cli_style(stdout, CLI_PLAIN));
}

static void take_health(void *owner, yyjson_val *part, struct slice text)
{
    struct nodes *n = owner;

    n->is_down = slice_eq(cli_member_text(part, "status"), SLICE("down"));
    if (n->common.json) {
        cli_print_part(NULL, part, text);
    } else {
        print_nodes(part);
    }
}

static int run(struct nodes *n)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    struct cli_conn conn;
    int rc;

    yyjson_mut_doc_set_root(doc, root);
    if (!yyjson_mut_obj_add_str(doc, yyjson_mut_obj_add_obj(doc, root, "mcp"), "op", "health") ||
        (n->deep && !yyjson_mut_obj_add_bool(doc, root, "deep", true))) {
        cli_no_memory();
    }
    rc = cli_conn_open(&conn, &n->common);
    if (rc == CLI_EXIT_OK) {
        rc = cli_conn_exchange(&conn, doc, take_health, n);
    }
    cli_conn_close(&conn);
    yyjson_mut_doc_free(doc);
    return rc == CLI_EXIT_OK && n->is_down ? CLI_EXIT_FAILED : rc;
}

int cli_nodes(int argc, char **argv)
{
    static const struct argp_child children[] = {{.argp = &cli_common_argp}, {0}};
    static const struct argp argp = {
        .options = options,
        .parser = parse_nodes,
        .doc = "Lists the nodes of the gateway and whether they are up. The exit status is 1 when "
               "none is.",
        .children = children,
    };
    struct nodes n = {0};

    argp_parse(&argp, argc, argv, 0, NULL, &n); /* ends the program on an error */
    return run(&n);
}
