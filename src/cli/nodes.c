/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate nodes: the health of the gateway and of its nodes. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/conn.h"
#include "cli/nodes_models.h"
#include "cli/text.h"

enum { DIGEST_SHOWN = 12 };

struct nodes {
    struct cli_common common;
    bool deep;
    bool models;
    bool is_down;
};

static const struct argp_option options[] = {
    {"deep", 'd', NULL, 0, "Also have one node generate a token", 0},
    {"models", 'm', NULL, 0, "Also list all models, and which nodes have them", 0},
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
    case 'm':
        n->models = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static bool any_has(yyjson_val *nodes, const char *member)
{
    yyjson_val *node;
    size_t i, count;

    yyjson_arr_foreach(nodes, i, count, node)
    {
        if (cli_member_text(node, member).len > 0) {
            return true;
        }
    }
    return false;
}

static void add_number(struct cli_table *table, bool known, uint64_t number)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, number);
    cli_table_add(table, known ? slice_str(text) : SLICE("-"));
}

/* "up", or what people made of one that is: "cordoned", "drained", "warming". */
static struct slice state_of(yyjson_val *node, bool up)
{
    struct slice state = cli_member_text(node, "state");
    struct slice service = cli_member_text(node, "service");

    if (state.len == 0) {
        state = up ? SLICE("up") : SLICE("down");
    }
    if (!up || service.len == 0 || slice_eq(service, SLICE("serving"))) {
        return state;
    }
    if (slice_eq(service, SLICE("cordoned")) && yyjson_is_true(yyjson_obj_get(node, "drained"))) {
        return SLICE("drained");
    }
    return service;
}

static void add_node(struct cli_table *table, yyjson_val *node, bool with_names, bool with_error)
{
    bool up = yyjson_is_true(yyjson_obj_get(node, "up"));

    cli_table_add(table, cli_member_text(node, "name"));
    cli_table_add(table, state_of(node, up));
    cli_table_add(table, up ? cli_member_text(node, "kind") : SLICE("-"));
    add_number(table, up, yyjson_arr_size(yyjson_obj_get(node, "models")));
    add_number(table, up, yyjson_arr_size(yyjson_obj_get(node, "resident")));
    add_number(table, true, cli_member_uint(node, "running"));
    if (with_names) {
        cli_table_add(table, cli_member_text(node, "found_by"));
    }
    if (with_error) {
        cli_table_add(table, cli_member_text(node, "error"));
    }
}

static void print_table(yyjson_val *nodes)
{
    bool with_names = any_has(nodes, "found_by");
    bool with_error = any_has(nodes, "error");
    struct cli_table table = {.columns = 6U + with_names + with_error};
    yyjson_val *node;
    size_t i, count;

    cli_table_add(&table, SLICE("NAME"));
    cli_table_add(&table, SLICE("STATE"));
    cli_table_add(&table, SLICE("KIND"));
    cli_table_add(&table, SLICE("MODELS"));
    cli_table_add(&table, SLICE("LOADED"));
    cli_table_add(&table, SLICE("RUNNING"));
    if (with_names) {
        cli_table_add(&table, SLICE("FOUND BY"));
    }
    if (with_error) {
        cli_table_add(&table, SLICE("ERROR"));
    }
    yyjson_arr_foreach(nodes, i, count, node)
    {
        add_node(&table, node, with_names, with_error);
    }
    cli_table_print(&table);
}

/* Models that are not the same everywhere. */
static void print_drift(yyjson_val *drift)
{
    yyjson_val *model, *at;
    size_t i, k, count;

    yyjson_arr_foreach(drift, i, count, model)
    {
        yyjson_val *digests = yyjson_obj_get(model, "digests");
        size_t digest_count;

        (void)printf("\n%sdrift%s    ", cli_style(stdout, CLI_RED), cli_style(stdout, CLI_PLAIN));
        cli_put(stdout, cli_member_text(model, "model"));
        yyjson_arr_foreach(digests, k, digest_count, at)
        {
            (void)fputs(k == 0 ? ": " : ", ", stdout);
            cli_put(stdout, slice_first(cli_member_text(at, "digest"), DIGEST_SHOWN));
            (void)fputs(" on ", stdout);
            cli_put(stdout, cli_member_text(at, "node"));
        }
    }
    (void)fputs(yyjson_arr_size(drift) > 0 ? "\n" : "", stdout);
}

/* What --deep has found. */
static void print_generate(yyjson_val *generate)
{
    bool ok = yyjson_is_true(yyjson_obj_get(generate, "ok"));
    struct slice node = cli_member_text(generate, "node");

    if (generate == NULL) {
        return;
    }
    (void)printf("generate %s%s%s", cli_style(stdout, ok ? CLI_GREEN : CLI_RED),
                 ok ? "ok" : "failed", cli_style(stdout, CLI_PLAIN));
    if (node.len > 0) {
        (void)fputs(" on ", stdout);
        cli_put(stdout, node);
    }
    if (ok) {
        (void)printf(" in %" PRIu64 " ms", cli_member_uint(generate, "ms"));
    } else {
        (void)fputs(": ", stdout);
        cli_put(stdout, cli_member_text(generate, "error"));
    }
    (void)fputc('\n', stdout);
}

static void print_health(yyjson_val *part, bool with_models)
{
    struct slice status = cli_member_text(part, "status");

    print_table(yyjson_obj_get(part, "nodes"));
    if (with_models) {
        (void)fputc('\n', stdout);
        cli_nodes_print_models(yyjson_obj_get(part, "nodes"));
    }
    print_drift(yyjson_obj_get(part, "drift"));
    (void)printf("\ngateway  %s%.*s%s\n",
                 cli_style(stdout, slice_eq(status, SLICE("ok")) ? CLI_GREEN : CLI_RED),
                 SLICE_ARG(status), cli_style(stdout, CLI_PLAIN));
    print_generate(yyjson_obj_get(part, "generate"));
}

static void take_health(void *owner, yyjson_val *part, struct slice text)
{
    struct nodes *n = owner;

    n->is_down = slice_eq(cli_member_text(part, "status"), SLICE("down")) ||
                 yyjson_is_false(yyjson_obj_get(yyjson_obj_get(part, "generate"), "ok"));
    if (n->common.json) {
        cli_print_part(NULL, part, text);
    } else {
        print_health(part, n->models);
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

const struct argp cli_nodes_argp = {
    .options = options,
    .parser = parse_nodes,
    .doc = "Lists the nodes of the gateway and whether they are up. The exit status is 1 when "
           "none is, or with --deep where none answers.",
    .children = cli_common_children,
};

int cli_nodes(int argc, char **argv)
{
    struct nodes n = {0};

    cli_parse(&cli_nodes_argp, argc, argv, &n);
    return run(&n);
}
