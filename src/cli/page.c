/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/page.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/conn.h"

enum { STATUS_OK = 200, WATCH_S = 1 };

#define CLEAR_SCREEN "\033[H\033[J"

/* --- the options ------------------------------------------------------------------------------ */

static const struct argp_option options[] = {
    {"watch", 'w', NULL, 0, "Show it again each second, until Ctrl-C", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct cli_page *page = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &page->admin;
        return 0;
    case 'w':
        page->watch = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp page_argp = {
    .options = options, .parser = parse, .children = cli_admin_children};
const struct argp_child cli_page_children[] = {{&page_argp, 0, NULL, 0}, {0}};

/* --- the cells -------------------------------------------------------------------------------- */

void cli_page_titles(struct cli_table *table, const char *const *titles)
{
    for (size_t i = 0; i < table->columns; i++) {
        cli_table_add(table, slice_str(titles[i]));
    }
}

void cli_page_text(struct cli_table *table, yyjson_val *object, const char *key)
{
    struct slice text = cli_member_text(object, key);

    cli_table_add(table, text.len > 0 ? text : SLICE("-"));
}

/* `text`: what it is where it is there. */
static void add_if_there(struct cli_table *table, yyjson_val *object, const char *key,
                         const char *text)
{
    cli_table_add(table, yyjson_obj_get(object, key) == NULL ? SLICE("-") : slice_str(text));
}

void cli_page_number(struct cli_table *table, yyjson_val *object, const char *key)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, cli_member_uint(object, key));
    add_if_there(table, object, key, text);
}

void cli_page_time(struct cli_table *table, yyjson_val *object, const char *key)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%.1f s", (double)cli_member_uint(object, key) / 1000);
    add_if_there(table, object, key, text);
}

void cli_page_bytes(struct cli_table *table, yyjson_val *object, const char *key)
{
    char text[CLI_FORMAT_MAX];

    cli_format_bytes(cli_member_uint(object, key), text);
    add_if_there(table, object, key, text);
}

/* --- the page --------------------------------------------------------------------------------- */

static int show(const struct cli_page *page, const char *rows, void (*print)(yyjson_val *root),
                unsigned status, struct slice body)
{
    yyjson_doc *doc = yyjson_read(body.ptr, body.len, YYJSON_READ_NOFLAG);
    yyjson_val *root = yyjson_doc_get_root(doc);
    int rc = CLI_EXIT_OK;

    if (status != STATUS_OK || !yyjson_is_arr(yyjson_obj_get(root, rows))) {
        rc = cli_admin_refused(&page->admin, status, cli_member_text(root, "error"));
    } else {
        if (page->watch && isatty(STDOUT_FILENO)) {
            (void)fputs(CLEAR_SCREEN, stdout);
        }
        if (page->admin.json) {
            cli_put(stdout, body);
        } else {
            print(root);
        }
        (void)fflush(stdout);
    }
    yyjson_doc_free(doc);
    return rc;
}

static int look(const struct cli_page *page, const char *path, const char *rows,
                void (*print)(yyjson_val *root))
{
    struct buf body = {0};
    unsigned status;
    int rc = cli_admin_get(&page->admin, path, &status, &body);

    if (rc == CLI_EXIT_OK) {
        rc = show(page, rows, print, status, buf_slice(&body));
    }
    buf_fini(&body);
    return rc;
}

int cli_page_show(const struct cli_page *page, const char *path, const char *rows,
                  void (*print)(yyjson_val *root))
{
    static const struct timespec pause = {.tv_sec = WATCH_S};
    int rc = look(page, path, rows, print);

    while (rc == CLI_EXIT_OK && page->watch) {
        (void)nanosleep(&pause, NULL); /* shorter is as good */
        rc = look(page, path, rows, print);
    }
    return rc;
}
