/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate queue: what waits for a slot of a node, and what runs. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <yyjson.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"

enum { STATUS_OK = 200, COLUMNS = 8, WATCH_S = 1 };

#define PATH "/admin/queue"
#define CLEAR_SCREEN "\033[H\033[J"

struct queue {
    struct cli_admin admin;
    bool watch;
};

static const struct argp_option options[] = {
    {"watch", 'w', NULL, 0, "Show it again each second, until Ctrl-C", 0},
    {0},
};

static error_t parse_queue(int key, char *arg, struct argp_state *state)
{
    struct queue *q = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &q->admin;
        return 0;
    case 'w':
        q->watch = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void add_text(struct cli_table *table, yyjson_val *object, const char *key)
{
    struct slice text = cli_member_text(object, key);

    cli_table_add(table, text.len > 0 ? text : SLICE("-"));
}

static void add_number(struct cli_table *table, yyjson_val *object, const char *key)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, cli_member_uint(object, key));
    cli_table_add(table, yyjson_obj_get(object, key) == NULL ? SLICE("-") : slice_str(text));
}

static void add_time(struct cli_table *table, yyjson_val *object, const char *key)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%.1f s", (double)cli_member_uint(object, key) / 1000);
    cli_table_add(table, yyjson_obj_get(object, key) == NULL ? SLICE("-") : slice_str(text));
}

static void print_requests(yyjson_val *requests)
{
    static const char *const titles[COLUMNS] = {"STATE", "MODEL", "TENANT",   "CLASS",
                                                "NODE",  "SINCE", "POSITION", "ETA"};
    struct cli_table table = {.columns = COLUMNS};
    yyjson_val *r;
    size_t i, count;

    for (size_t k = 0; k < COLUMNS; k++) {
        cli_table_add(&table, slice_str(titles[k]));
    }
    yyjson_arr_foreach(requests, i, count, r)
    {
        add_text(&table, r, "state");
        add_text(&table, r, "model");
        add_text(&table, r, "tenant");
        add_text(&table, r, "class");
        add_text(&table, r, "node");
        add_time(&table, r, "ms");
        add_number(&table, r, "position");
        add_time(&table, r, "eta_ms");
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

static int show(const struct queue *q, unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = CLI_EXIT_OK;

    if (status != STATUS_OK || !yyjson_is_arr(yyjson_obj_get(root, "requests"))) {
        rc = cli_admin_refused(&q->admin, status, cli_member_text(root, "error"));
    } else {
        if (q->watch && isatty(STDOUT_FILENO)) {
            (void)fputs(CLEAR_SCREEN, stdout);
        }
        if (q->admin.json) {
            cli_put(stdout, body);
        } else {
            print_page(root);
        }
        (void)fflush(stdout);
    }
    yyjson_doc_free(doc);
    return rc;
}

static int look(const struct queue *q)
{
    struct buf body = {0};
    unsigned status;
    int rc = cli_admin_get(&q->admin, PATH, &status, &body);

    if (rc == CLI_EXIT_OK) {
        rc = show(q, status, buf_slice(&body));
    }
    buf_fini(&body);
    return rc;
}

const struct argp cli_queue_argp = {
    .options = options,
    .parser = parse_queue,
    .children = cli_admin_children,
    .doc = "Shows what waits for a slot of a node, in which order, and what runs.",
};

int cli_queue(int argc, char **argv)
{
    static const struct timespec pause = {.tv_sec = WATCH_S};
    struct queue q = {0};
    int rc;

    cli_parse(&cli_queue_argp, argc, argv, &q);
    rc = look(&q);
    while (rc == CLI_EXIT_OK && q.watch) {
        (void)nanosleep(&pause, NULL); /* shorter is as good */
        rc = look(&q);
    }
    return rc;
}
