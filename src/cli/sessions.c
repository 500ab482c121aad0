/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate sessions: who is connected to the gateway, and what goes on there. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/page.h"

enum { COLUMNS = 12 };

static bool is_idle(yyjson_val *session)
{
    return slice_eq(cli_member_text(session, "state"), SLICE("idle"));
}

/* "queued #3" */
static void add_state(struct cli_table *table, yyjson_val *s)
{
    char text[2 * CLI_FORMAT_MAX];
    uint64_t position = cli_member_uint(s, "position");

    if (position == 0) {
        cli_page_text(table, s, "state");
        return;
    }
    (void)snprintf(text, sizeof(text), "queued #%" PRIu64, position);
    cli_table_add(table, slice_str(text));
}

static void add_row(struct cli_table *table, yyjson_val *s)
{
    yyjson_val *credit = yyjson_obj_get(s, "credit");
    char text[CLI_FORMAT_MAX];

    add_state(table, s);
    cli_page_text(table, s, "face");
    cli_page_text(table, s, "client");
    cli_page_text(table, s, "tenant");
    cli_page_text(table, s, "model");
    cli_page_text(table, s, "node");
    cli_page_time(table, s, "ms");
    cli_page_number(table, s, "parts");
    cli_page_bytes(table, s, "bytes_out");
    cli_page_bytes(table, s, "unsent");
    (void)snprintf(text, sizeof(text), "%" PRId64, yyjson_get_sint(credit));
    cli_table_add(table, credit == NULL ? SLICE("-") : slice_str(text));
    cli_page_text(table, s, "id");
}

/* What goes on first, then who is idle. How many are idle. */
static size_t add_rows(struct cli_table *table, yyjson_val *sessions)
{
    size_t i, count, idle = 0;
    yyjson_val *s;

    yyjson_arr_foreach(sessions, i, count, s)
    {
        if (!is_idle(s)) {
            add_row(table, s);
        }
    }
    yyjson_arr_foreach(sessions, i, count, s)
    {
        if (is_idle(s)) {
            add_row(table, s);
            idle++;
        }
    }
    return idle;
}

static void print_page(yyjson_val *root)
{
    static const char *const titles[COLUMNS] = {"STATE", "FACE",   "CLIENT", "TENANT",
                                                "MODEL", "NODE",   "SINCE",  "PARTS",
                                                "BYTES", "UNSENT", "CREDIT", "ID"};
    struct cli_table table = {.columns = COLUMNS};
    yyjson_val *sessions = yyjson_obj_get(root, "sessions");
    size_t shown = yyjson_arr_size(sessions);
    uint64_t total = cli_member_uint(root, "total");
    size_t idle;

    cli_page_titles(&table, titles);
    idle = add_rows(&table, sessions);
    cli_table_print(&table);
    if (total > shown) {
        (void)printf("(%" PRIu64 " more)\n", total - shown);
    }
    (void)printf("\n%zu at work, %zu idle\n", shown - idle, idle);
}

const struct argp cli_sessions_argp = {
    .children = cli_page_children,
    .doc = "Shows who is connected to the gateway, over MCP and HTTP, and what goes on there: "
           "whether a request is read, queued, running, streaming or stalled.",
};

int cli_sessions(int argc, char **argv)
{
    struct cli_page page = {0};

    cli_parse(&cli_sessions_argp, argc, argv, &page);
    return cli_page_show(&page, "/admin/sessions", "sessions", print_page);
}
