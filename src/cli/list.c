/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate list: the models of all nodes, as ollama list shows them. */
#include "cli/conn.h"
#include "cli/text.h"

enum { DIGEST_SHOWN = 12 };

static void print_models(void *owner, yyjson_val *part, struct slice text)
{
    struct cli_table table = {.columns = 4};
    yyjson_val *models = yyjson_obj_get(part, "models");
    yyjson_val *model;
    size_t i, count;

    (void)owner;
    (void)text;
    cli_table_add(&table, SLICE("NAME"));
    cli_table_add(&table, SLICE("ID"));
    cli_table_add(&table, SLICE("SIZE"));
    cli_table_add(&table, SLICE("MODIFIED"));
    yyjson_arr_foreach(models, i, count, model)
    {
        uint64_t size = cli_member_uint(model, "size");
        char size_text[CLI_FORMAT_MAX] = "-", when[CLI_FORMAT_MAX];

        if (size > 0) { /* a model elsewhere has none */
            cli_format_bytes(size, size_text);
        }
        cli_format_when(cli_member_text(model, "modified_at"), time(NULL), when);
        cli_table_add(&table, cli_member_text(model, "name"));
        cli_table_add(&table, slice_first(cli_member_text(model, "digest"), DIGEST_SHOWN));
        cli_table_add(&table, slice_str(size_text));
        cli_table_add(&table, slice_str(when));
    }
    cli_table_print(&table);
}

const struct argp cli_list_argp = {
    .parser = cli_common_parse,
    .doc = "Lists the models of all nodes that are up.",
    .children = cli_common_children,
};

int cli_list(int argc, char **argv)
{
    return cli_conn_command(&cli_list_argp, argc, argv, "list", print_models);
}
