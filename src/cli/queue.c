/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate queue: what waits for a slot of a node, and what runs. */
#include <inttypes.h>
#include <stdio.h>

#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/page.h"

enum { COLUMNS = 8 };

static void print_requests(yyjson_val *requests)
{
    static const char *const titles[COLUMNS] = {"STATE", "MODEL", "TENANT",   "CLASS",
                                                "NODE",  "SINCE", "POSITION", "ETA"};
    struct cli_table table = {.columns = COLUMNS};
    yyjson_val *r;
    size_t i, count;

    cli_page_titles(&table, titles);
    yyjson_arr_foreach(requests, i, count, r)
    {
        cli_page_text(&table, r, "state");
        cli_page_text(&table, r, "model");
        cli_page_text(&table, r, "tenant");
        cli_page_text(&table, r, "class");
        cli_page_text(&table, r, "node");
        cli_page_time(&table, r, "ms");
        cli_page_number(&table, r, "position");
        cli_page_time(&table, r, "eta_ms");
    }
    cli_table_print(&table);
}

static void print_page(yyjson_val *root)
{
    uint64_t left_out = cli_member_uint(root, "requests_left_out");

    print_requests(yyjson_obj_get(root, "requests"));
    if (left_out > 0) {
        (void)printf("(%" PRIu64 " more)\n", left_out);
    }
    (void)printf("\n%" PRIu64 " waiting, %" PRIu64 " running", cli_member_uint(root, "waiting"),
                 cli_member_uint(root, "running"));
    if (yyjson_is_false(yyjson_obj_get(root, "schedules"))) {
        (void)fputs("; requests are not scheduled (queue.mode)", stdout);
    }
    (void)fputc('\n', stdout);
}

const struct argp cli_queue_argp = {
    .children = cli_page_children,
    .doc = "Shows what waits for a slot of a node, in which order, and what runs.",
};

int cli_queue(int argc, char **argv)
{
    struct cli_page page = {0};

    cli_parse(&cli_queue_argp, argc, argv, &page);
    return cli_page_show(&page, "/admin/queue", "requests", print_page);
}
