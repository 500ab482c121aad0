/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate canary: what the arms of routes do, and how many requests they get. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yyjson.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"

enum { STATUS_OK = 200, WORDS = 3, COLUMNS = 9 };

#define PATH "/admin/routes"

struct canary {
    struct cli_admin admin;
    const char *words[WORDS]; /* action, route, model */
};

static const char *const actions[] = {"promote", "rollback", "pause", "resume"};

static bool is_action(const char *word)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (strcmp(word, actions[i]) == 0) {
            return true;
        }
    }
    return false;
}

static error_t parse_canary(int key, char *arg, struct argp_state *state)
{
    struct canary *c = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &c->admin;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num >= WORDS || (state->arg_num == 0 && !is_action(arg))) {
            cli_usage(state, "expected promote, rollback, pause or resume and a route, not '%s'",
                      arg);
        }
        c->words[state->arg_num] = arg;
        return 0;
    case ARGP_KEY_END:
        if (c->words[0] != NULL && c->words[1] == NULL) {
            cli_usage(state, "expected the name of a route");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* --- the table -------------------------------------------------------------------------------- */

/* "95", or of a shadow "copy 10%". */
static void add_share(struct cli_table *table, yyjson_val *arm)
{
    char text[CLI_FORMAT_MAX];
    uint64_t shadow = cli_member_uint(arm, "shadow");

    if (shadow > 0) {
        (void)snprintf(text, sizeof(text), "copy %" PRIu64 "%%", shadow);
    } else {
        (void)snprintf(text, sizeof(text), "%" PRIu64, cli_member_uint(arm, "weight"));
    }
    cli_table_add(table, slice_str(text));
}

/* The state, and why it is that, or how long the rule looks at it still. */
static void add_state(struct cli_table *table, yyjson_val *arm)
{
    char text[CLI_FORMAT_MAX];
    struct slice why = cli_member_text(arm, "why");
    struct slice state = cli_member_text(arm, "state");
    uint64_t watched_s = cli_member_uint(arm, "watched_s");

    if (watched_s > 0) {
        (void)snprintf(text, sizeof(text), "%.*s, watched %" PRIu64 "h", SLICE_ARG(state),
                       (watched_s + 3599) / 3600);
        cli_table_add(table, slice_str(text));
        return;
    }
    if (why.len == 0 || slice_eq(why, SLICE("asked"))) {
        cli_table_add(table, state);
        return;
    }
    (void)snprintf(text, sizeof(text), "%.*s: %.*s", SLICE_ARG(state), SLICE_ARG(why));
    cli_table_add(table, slice_str(text));
}

static void add_count(struct cli_table *table, yyjson_val *arm, const char *key)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, cli_member_uint(arm, key));
    cli_table_add(table, slice_str(text));
}

/* Mean and deviation. */
static void add_spread(struct cli_table *table, yyjson_val *arm, const char *key)
{
    yyjson_val *spread = yyjson_obj_get(arm, key);
    char text[CLI_FORMAT_MAX];

    if (spread == NULL) {
        cli_table_add(table, SLICE("-"));
        return;
    }
    (void)snprintf(text, sizeof(text), "%.1f (%.1f)",
                   yyjson_get_num(yyjson_obj_get(spread, "mean")),
                   yyjson_get_num(yyjson_obj_get(spread, "deviation")));
    cli_table_add(table, slice_str(text));
}

static void add_route(struct cli_table *table, yyjson_val *route)
{
    yyjson_val *arm;
    size_t i, count;

    yyjson_arr_foreach(yyjson_obj_get(route, "arms"), i, count, arm)
    {
        cli_table_add(table, i == 0 ? cli_member_text(route, "name") : SLICE(""));
        cli_table_add(table, cli_member_text(arm, "model"));
        add_share(table, arm);
        add_state(table, arm);
        add_count(table, arm, "requests");
        add_count(table, arm, "errors");
        add_spread(table, arm, "first_part_ms");
        add_spread(table, arm, "parts_per_s");
        add_spread(table, arm, "parts");
    }
}

/* `only` NULL: all of them. */
static void print_routes(yyjson_val *routes, const char *only)
{
    static const struct slice heads[COLUMNS] = {
        SLICE("ROUTE"),          SLICE("MODEL"),    SLICE("SHARE"),
        SLICE("STATE"),          SLICE("REQUESTS"), SLICE("ERRORS"),
        SLICE("FIRST PART, MS"), SLICE("PARTS/S"),  SLICE("PARTS")};
    struct cli_table table = {.columns = COLUMNS};
    yyjson_val *route;
    size_t i, count;

    for (size_t k = 0; k < COLUMNS; k++) {
        cli_table_add(&table, heads[k]);
    }
    yyjson_arr_foreach(routes, i, count, route)
    {
        if (only == NULL || slice_eq(cli_member_text(route, "name"), slice_str(only))) {
            add_route(&table, route);
        }
    }
    cli_table_print(&table);
}

/* --- what is asked ---------------------------------------------------------------------------- */

static void make_path(const struct canary *c, struct buf *path)
{
    buf_append_str(path, PATH);
    if (c->words[0] != NULL) {
        buf_append_byte(path, '/');
        cli_admin_append_name(path, c->words[1]);
        buf_printf(path, "/%s", c->words[0]);
    }
    if (c->words[2] != NULL) {
        buf_append_byte(path, '/');
        cli_admin_append_name(path, c->words[2]);
    }
    buf_append_byte(path, '\0');
    if (buf_failed(path)) {
        cli_no_memory();
    }
}

static int show(const struct canary *c, unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *routes = yyjson_obj_get(yyjson_doc_get_root(doc), "routes");
    int rc = CLI_EXIT_OK;

    if (status != STATUS_OK || routes == NULL) {
        rc = cli_admin_refused(&c->admin, status,
                               cli_member_text(yyjson_doc_get_root(doc), "error"));
    } else if (c->admin.json) {
        (void)printf("%.*s", SLICE_ARG(body));
    } else if (yyjson_arr_size(routes) == 0) {
        (void)puts("no routes are configured");
    } else {
        print_routes(routes, c->words[1]);
    }
    yyjson_doc_free(doc);
    return rc;
}

const struct argp cli_canary_argp = {
    .parser = parse_canary,
    .args_doc = "[promote|rollback|pause|resume ROUTE [MODEL]]",
    .doc = "Lists the arms of the gateway's routes with what they did lately: means and, in "
           "brackets, deviations. Or changes them: promote gives all requests to an arm, rollback "
           "and pause take them from it, resume goes back to the configured shares. MODEL is "
           "needed where several arms could be meant.",
    .children = cli_admin_children,
};

int cli_canary(int argc, char **argv)
{
    struct canary c = {0};
    struct buf path = {0};
    struct buf answer = {0};
    unsigned status;
    int rc;

    cli_parse(&cli_canary_argp, argc, argv, &c);
    make_path(&c, &path);
    rc = cli_admin_ask(&c.admin, c.words[0] == NULL ? "GET" : "POST", buf_slice(&path).ptr,
                       SLICE(""), &status, &answer);
    if (rc == CLI_EXIT_OK) {
        rc = show(&c, status, buf_slice(&answer));
    }
    buf_fini(&path);
    buf_fini(&answer);
    return rc;
}
