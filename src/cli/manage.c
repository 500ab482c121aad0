/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/manage.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/conn.h"
#include "cli/text.h"

enum { OPTION_NODES = 0x300, OPTION_REPLICAS, REPLICAS_MAX = 65536, PERCENT = 100 };

/* --- options ---------------------------------------------------------------------------------- */

static const struct argp_option node_options[] = {
    {"nodes", OPTION_NODES, "all|A,B", 0, "On all nodes, or on those of these names", 80},
    {0},
};

static const struct argp_option replica_options[] = {
    {"replicas", OPTION_REPLICAS, "N", 0, "On so many nodes; those that have it count", 80},
    {0},
};

static void set_nodes(struct cli_manage *m, struct argp_state *state, char *nodes)
{
    if (m->nodes != NULL) {
        cli_usage(state, "expected --nodes or --replicas, and that once");
    }
    m->nodes = nodes;
}

static error_t parse_manage(int key, char *arg, struct argp_state *state)
{
    struct cli_manage *m = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &m->common;
        return 0;
    case OPTION_NODES:
        if (*arg == '\0') {
            cli_usage(state, "--nodes: expected all, or names of nodes, such as a,b");
        }
        set_nodes(m, state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_placing(int key, char *arg, struct argp_state *state)
{
    struct cli_manage *m = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = m;
        return 0;
    case OPTION_REPLICAS:
        if (cli_parse_number(state, "replicas", arg, REPLICAS_MAX) == 0) {
            cli_usage(state, "--replicas: expected a number from 1, not '%s'", arg);
        }
        set_nodes(m, state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp manage_argp = {
    .options = node_options, .parser = parse_manage, .children = cli_common_children};
const struct argp_child cli_manage_children[] = {{.argp = &manage_argp}, {0}};
static const struct argp placing_argp = {
    .options = replica_options, .parser = parse_placing, .children = cli_manage_children};
const struct argp_child cli_manage_placing_children[] = {{.argp = &placing_argp}, {0}};

/* --- the request ------------------------------------------------------------------------------ */

void cli_manage_init(struct cli_manage *m, const char *op)
{
    m->doc = yyjson_mut_doc_new(NULL);
    m->root = yyjson_mut_obj(m->doc);
    yyjson_mut_doc_set_root(m->doc, m->root);
    if (!yyjson_mut_obj_add_str(m->doc, yyjson_mut_obj_add_obj(m->doc, m->root, "mcp"), "op", op)) {
        cli_no_memory();
    }
}

void cli_manage_fini(struct cli_manage *m)
{
    yyjson_mut_doc_free(m->doc);
}

void cli_manage_set(struct cli_manage *m, const char *key, const char *text)
{
    if (!yyjson_mut_obj_put(m->root, yyjson_mut_str(m->doc, key), yyjson_mut_str(m->doc, text))) {
        cli_no_memory();
    }
}

static void name_nodes(struct cli_manage *m)
{
    yyjson_mut_val *mcp = yyjson_mut_obj_get(m->root, "mcp");

    if (m->nodes != NULL && yyjson_mut_obj_get(mcp, "nodes") == NULL &&
        !yyjson_mut_obj_add_str(m->doc, mcp, "nodes", m->nodes)) {
        cli_no_memory();
    }
}

/* --- progress --------------------------------------------------------------------------------- */

/* One file at a time is shown: nodes load them one after the other. */
struct progress {
    bool json;
    bool is_terminal;
    struct cli_answer line; /* is_open: one that will be written again */
    struct buf status;      /* of that line */
};

static bool is_new(struct progress *p, struct slice status)
{
    if (slice_eq(buf_slice(&p->status), status)) {
        return false;
    }
    buf_clear(&p->status);
    if (!buf_append(&p->status, status)) {
        cli_no_memory();
    }
    return true;
}

static void show_amount(yyjson_val *part)
{
    uint64_t total = cli_member_uint(part, "total"), done = cli_member_uint(part, "completed");
    char total_text[CLI_FORMAT_MAX], done_text[CLI_FORMAT_MAX];

    if (total > 0) {
        cli_format_bytes(total, total_text);
        cli_format_bytes(done, done_text);
        (void)printf("  %3u%%  %s of %s", (unsigned)((double)done * PERCENT / (double)total),
                     done_text, total_text);
    }
}

static void show_part(void *owner, yyjson_val *part, struct slice text)
{
    struct progress *p = owner;
    struct slice status = cli_member_text(part, "status");

    if (p->json) {
        cli_print_part(NULL, part, text);
        return;
    }
    if (status.len == 0) {
        return; /* the end, which is told by the exit status too */
    }
    if (is_new(p, status)) {
        cli_answer_end(&p->line);
    } else if (p->is_terminal) {
        (void)fputs("\r\x1b[K", stdout);
    } else {
        return; /* a file has each line once */
    }
    cli_put(stdout, status);
    if (p->is_terminal) {
        show_amount(part);
    }
    p->line.is_open = true;
    (void)fflush(stdout); /* failures are seen at the end */
}

/* A line there can be written again. */
static bool is_terminal(void)
{
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
}

int cli_manage_run(struct cli_manage *m, const char *done)
{
    struct progress p = {.json = m->common.json, .is_terminal = is_terminal()};
    struct cli_conn conn;
    int rc;

    name_nodes(m);
    rc = cli_conn_open(&conn, &m->common);
    if (rc == CLI_EXIT_OK) {
        conn.answer = &p.line;
        rc = cli_conn_exchange(&conn, m->doc, show_part, &p);
        cli_answer_end(&p.line);
    }
    cli_conn_close(&conn); /* cancels what still runs */
    buf_fini(&p.status);
    if (rc == CLI_EXIT_OK && done != NULL && !m->common.json) {
        cli_put(stdout, slice_str(done));
        (void)fputc('\n', stdout);
    }
    return rc;
}
