/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate why: what was decided about a request, and when. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yyjson.h>

#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/conn.h"
#include "cli/text.h"
#include "gateway/request_id.h"

enum { STATUS_OK = 200 };

#define PATH "/admin/requests/"

struct why {
    struct cli_admin admin;
    const char *id;
};

static error_t parse_why(int key, char *arg, struct argp_state *state)
{
    struct why *w = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &w->admin;
        return 0;
    case ARGP_KEY_ARG:
        if (state->arg_num > 0 || !request_id_is_fine(slice_str(arg))) {
            cli_usage(state, "expected the id of one request (X-Request-Id), not '%s'", arg);
        }
        w->id = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "expected the id of a request (X-Request-Id)");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void put_ms(yyjson_val *object, const char *key)
{
    (void)printf("%12.3f ms", yyjson_get_num(yyjson_obj_get(object, key)));
}

static void print_head(yyjson_val *r)
{
    struct slice op = cli_member_text(r, "op");
    struct slice model = cli_member_text(r, "model");
    struct slice client = cli_member_text(r, "client");

    (void)fputs(cli_style(stdout, CLI_BOLD), stdout);
    cli_put(stdout, cli_member_text(r, "id"));
    (void)fputs(cli_style(stdout, CLI_PLAIN), stdout);
    if (op.len > 0) {
        (void)printf("  %.*s", SLICE_ARG(op));
    }
    if (model.len > 0) {
        (void)fputs("  ", stdout);
        cli_put(stdout, model);
    }
    (void)printf("  over %.*s", SLICE_ARG(cli_member_text(r, "face")));
    if (client.len > 0) {
        (void)fputs(" from ", stdout);
        cli_put(stdout, client);
    }
    (void)printf(", received %.*s\n", SLICE_ARG(cli_member_text(r, "received")));
}

static void print_events(yyjson_val *r)
{
    yyjson_val *event;
    size_t i, count;
    uint64_t left_out = cli_member_uint(r, "events_left_out");

    yyjson_arr_foreach(yyjson_obj_get(r, "events"), i, count, event)
    {
        if (left_out > 0 && slice_eq(cli_member_text(event, "event"), SLICE("end"))) {
            (void)printf("%12s     (%" PRIu64 " more)\n", "", left_out);
        }
        put_ms(event, "ms");
        (void)fputs("  ", stdout);
        cli_put(stdout, cli_member_text(event, "text"));
        (void)fputc('\n', stdout);
    }
}

static void print_sums(yyjson_val *r)
{
    char in[CLI_FORMAT_MAX], out[CLI_FORMAT_MAX];
    uint64_t parts = cli_member_uint(r, "parts");

    cli_format_bytes(cli_member_uint(r, "bytes_in"), in);
    cli_format_bytes(cli_member_uint(r, "bytes_out"), out);
    put_ms(r, "total_ms");
    (void)printf("  %s: status %" PRIu64 ", %s in, %s out in %" PRIu64 " part%s",
                 slice_eq(cli_member_text(r, "state"), SLICE("running")) ? "it still runs"
                                                                         : "in all",
                 cli_member_uint(r, "status"), in, out, parts, parts == 1 ? "" : "s");
    if (yyjson_obj_get(r, "load_ms") != NULL) {
        (void)printf(", %.3f ms of it to load the model",
                     yyjson_get_num(yyjson_obj_get(r, "load_ms")));
    }
    (void)fputc('\n', stdout);
}

static void print_requests(yyjson_val *requests)
{
    yyjson_val *r;
    size_t i, count;

    yyjson_arr_foreach(requests, i, count, r)
    {
        if (i > 0) {
            (void)fputc('\n', stdout);
        }
        print_head(r);
        print_events(r);
        print_sums(r);
    }
}

static int show(const struct why *w, unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *requests = yyjson_obj_get(root, "requests");
    int rc = CLI_EXIT_OK;

    if (status != STATUS_OK || !yyjson_is_arr(requests)) {
        rc = cli_admin_refused(&w->admin, status, cli_member_text(root, "error"));
    } else if (w->admin.json) {
        cli_put(stdout, body);
    } else {
        print_requests(requests);
    }
    yyjson_doc_free(doc);
    return rc;
}

const struct argp cli_why_argp = {
    .parser = parse_why,
    .children = cli_admin_children,
    .args_doc = "ID",
    .doc = "Tells what was decided about the request of that id (X-Request-Id, or `id` in the "
           "access log), and when, in milliseconds since it arrived.",
};

int cli_why(int argc, char **argv)
{
    struct why w = {0};
    struct buf body = {0};
    char path[sizeof(PATH) + REQUEST_ID_MAX];
    unsigned status;
    int rc;

    cli_parse(&cli_why_argp, argc, argv, &w);
    (void)snprintf(path, sizeof(path), PATH "%s", w.id); /* fits: its length was checked */
    rc = cli_admin_get(&w.admin, path, &status, &body);
    if (rc == CLI_EXIT_OK) {
        rc = show(&w, status, buf_slice(&body));
    }
    buf_fini(&body);
    return rc;
}
