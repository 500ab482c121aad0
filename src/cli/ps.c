/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate ps: the models that are loaded, as ollama ps shows them. */
#include "cli/conn.h"
#include "cli/text.h"

enum { DIGEST_SHOWN = 12 };

/* Where the model lies: how much of it in the memory of a GPU. */
static void format_processor(uint64_t size, uint64_t vram, char out[CLI_FORMAT_MAX])
{
    if (size == 0 || vram > size) {
        (void)snprintf(out, CLI_FORMAT_MAX, "Unknown");
    } else if (vram == 0) {
        (void)snprintf(out, CLI_FORMAT_MAX, "100%% CPU");
    } else if (vram == size) {
        (void)snprintf(out, CLI_FORMAT_MAX, "100%% GPU");
    } else {
        unsigned cpu = (unsigned)((double)(size - vram) * 100 / (double)size + 0.5);

        (void)snprintf(out, CLI_FORMAT_MAX, "%u%%/%u%% CPU/GPU", cpu, 100 - cpu);
    }
}

static void format_until(struct slice expires_at, char out[CLI_FORMAT_MAX])
{
    time_t now = time(NULL), at;

    if (cli_parse_time(expires_at, &at) && at > 0 && at < now) {
        (void)snprintf(out, CLI_FORMAT_MAX, "Stopping...");
    } else {
        cli_format_when(expires_at, now, out);
    }
}

static void print_models(void *owner, yyjson_val *part, struct slice text)
{
    static const char *const heads[] = {"NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"};
    struct cli_table table = {.columns = sizeof(heads) / sizeof(heads[0])};
    yyjson_val *models = yyjson_obj_get(part, "models");
    yyjson_val *model;
    size_t i, count;

    (void)owner;
    (void)text;
    for (i = 0; i < table.columns; i++) {
        cli_table_add(&table, slice_str(heads[i]));
    }
    yyjson_arr_foreach(models, i, count, model)
    {
        uint64_t size = cli_member_uint(model, "size");
        uint64_t context = cli_member_uint(model, "context_length");
        char cell[CLI_FORMAT_MAX] = "-";

        cli_table_add(&table, cli_member_text(model, "name"));
        cli_table_add(&table, slice_first(cli_member_text(model, "digest"), DIGEST_SHOWN));
        if (size > 0) {
            cli_format_bytes(size, cell);
        }
        cli_table_add(&table, slice_str(cell));
        format_processor(size, cli_member_uint(model, "size_vram"), cell);
        cli_table_add(&table, slice_str(cell));
        (void)snprintf(cell, sizeof(cell), context == 0 ? "-" : "%llu",
                       (unsigned long long)context);
        cli_table_add(&table, slice_str(cell));
        format_until(cli_member_text(model, "expires_at"), cell);
        cli_table_add(&table, slice_str(cell));
    }
    cli_table_print(&table);
}

const struct argp cli_ps_argp = {
    .parser = cli_common_parse,
    .doc = "Lists the models that are loaded on all nodes that are up.",
    .children = cli_common_children,
};

int cli_ps(int argc, char **argv)
{
    return cli_conn_command(&cli_ps_argp, argc, argv, "ps", print_models);
}
