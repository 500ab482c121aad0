/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate version: of this program, and of the gateway that it reaches. */
#include <stdio.h>
#include <stdlib.h>

#include "base/version.h"
#include "cli/conn.h"
#include "cli/text.h"

static void take_version(void *owner, yyjson_val *part, struct slice text)
{
    struct buf *version = owner;

    (void)text;
    if (!buf_append(version, cli_member_text(part, "version"))) {
        cli_no_memory();
    }
}

static void print_json(struct slice gateway)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    char *text;

    yyjson_mut_doc_set_root(doc, root);
    if (!yyjson_mut_obj_add_str(doc, root, "client", MCPGATE_VERSION) ||
        (gateway.len > 0 &&
         !yyjson_mut_obj_add_strn(doc, root, "gateway", gateway.ptr, gateway.len))) {
        cli_no_memory();
    }
    text = yyjson_mut_write(doc, YYJSON_WRITE_NOFLAG, NULL);
    if (text == NULL) {
        cli_no_memory();
    }
    (void)puts(text); /* failures are seen at the end */
    free(text);
    yyjson_mut_doc_free(doc);
}

const struct argp cli_version_argp = {
    .parser = cli_common_parse,
    .doc = "Shows the versions of this program and of the gateway.",
    .children = cli_common_children,
};

int cli_version(int argc, char **argv)
{
    struct cli_common common = {0};
    struct buf gateway = {0};
    struct cli_conn conn;
    int rc;

    cli_parse(&cli_version_argp, argc, argv, &common);
    if (!common.json) {
        (void)puts("client  " MCPGATE_VERSION); /* also where no gateway answers */
    }
    rc = cli_conn_open(&conn, &common);
    if (rc == CLI_EXIT_OK) {
        rc = cli_conn_ask(&conn, "health", take_version, &gateway);
    }
    if (common.json) {
        print_json(buf_slice(&gateway));
    } else if (rc == CLI_EXIT_OK) {
        (void)fputs("gateway ", stdout);
        cli_put(stdout, buf_slice(&gateway));
        (void)fputc('\n', stdout);
    }
    cli_conn_close(&conn);
    buf_fini(&gateway);
    return rc;
}
