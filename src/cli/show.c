/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate show: what is known about a model, in sections as ollama show has them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/conn.h"
#include "cli/text.h"

enum { LINES_SHOWN = 2 };

struct show {
    struct cli_common common;
    const char *model;
};

static error_t parse_show(int key, char *arg, struct argp_state *state)
{
    struct show *show = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &show->common;
        return 0;
    case ARGP_KEY_ARG:
        if (show->model != NULL) {
            cli_usage(state, "expected one MODEL, not '%s' too", arg);
        }
        show->model = arg;
        return 0;
    case ARGP_KEY_NO_ARGS:
        cli_usage(state, "expected a MODEL");
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_head(const char *name)
{
    (void)printf("  %s%s%s\n", cli_style(stdout, CLI_BOLD), name, cli_style(stdout, CLI_PLAIN));
}

static void print_pair(const char *name, struct slice value)
{
    if (value.len > 0) {
        (void)printf("    %-20s", name);
        cli_put(stdout, value);
        (void)fputc('\n', stdout);
    }
}

static void print_number(const char *name, uint64_t value)
{
    char text[CLI_FORMAT_MAX];

    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    print_pair(name, value == 0 ? (struct slice){"", 0} : slice_str(text));
}

/* "llama.context_length" of model_info, "llama" being the architecture. */
static uint64_t info_number(yyjson_val *info, struct slice architecture, const char *name)
{
    char key[128];

    (void)snprintf(key, sizeof(key), "%.*s.%s", SLICE_ARG(architecture), name);
    return cli_member_uint(info, key);
}

static void print_model(yyjson_val *part)
{
    yyjson_val *details = yyjson_obj_get(part, "details");
    yyjson_val *info = yyjson_obj_get(part, "model_info");
    struct slice architecture = cli_member_text(info, "general.architecture");

    print_head("Model");
    print_pair("architecture",
               architecture.len > 0 ? architecture : cli_member_text(details, "family"));
    print_pair("parameters", cli_member_text(details, "parameter_size"));
    print_number("context length", info_number(info, architecture, "context_length"));
    print_number("embedding length", info_number(info, architecture, "embedding_length"));
    print_pair("quantization", cli_member_text(details, "quantization_level"));
    print_pair("remote model", cli_member_text(part, "remote_model"));
    print_pair("remote host", cli_member_text(part, "remote_host"));
}

static void print_capabilities(yyjson_val *capabilities)
{
    yyjson_val *one;
    size_t i, count;

    if (yyjson_arr_size(capabilities) == 0) {
        return;
    }
    (void)fputc('\n', stdout);
    print_head("Capabilities");
    yyjson_arr_foreach(capabilities, i, count, one)
    {
        (void)fputs("    ", stdout);
        cli_put(stdout, slice_of(yyjson_get_str(one), yyjson_get_len(one)));
        (void)fputc('\n', stdout);
    }
}

/* The lines of a text that are not blank: all, or the first few. */
static void print_lines(const char *head, struct slice text, size_t most)
{
    size_t shown = 0;

    if (text.len == 0) {
        return;
    }
    (void)fputc('\n', stdout);
    print_head(head);
    while (text.len > 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
        struct slice line = slice_trim(slice_first(text, len));

        text = slice_skip(text, end == NULL ? len : len + 1);
        if (line.len == 0) {
            continue;
        }
        if (shown++ == most) {
            (void)puts("    ...");
            return;
        }
        (void)fputs("    ", stdout);
        cli_put(stdout, line);
        (void)fputc('\n', stdout);
    }
}

static void print_sections(void *owner, yyjson_val *part, struct slice text)
{
    (void)owner;
    (void)text;
    print_model(part);
    print_capabilities(yyjson_obj_get(part, "capabilities"));
    print_lines("Parameters", cli_member_text(part, "parameters"), SIZE_MAX);
    print_lines("System", cli_member_text(part, "system"), LINES_SHOWN);
    print_lines("License", cli_member_text(part, "license"), LINES_SHOWN);
}

static int run(const struct show *show)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    struct cli_conn conn;
    int rc;

    yyjson_mut_doc_set_root(doc, root);
    if (!yyjson_mut_obj_add_str(doc, root, "model", show->model) ||
        !yyjson_mut_obj_add_str(doc, yyjson_mut_obj_add_obj(doc, root, "mcp"), "op", "show")) {
        cli_no_memory();
    }
    rc = cli_conn_open(&conn, &show->common);
    if (rc == CLI_EXIT_OK) {
        rc = cli_conn_exchange(&conn, doc, show->common.json ? cli_print_part : print_sections,
                               NULL);
    }
    cli_conn_close(&conn);
    yyjson_mut_doc_free(doc);
    return rc;
}

const struct argp cli_show_argp = {
    .parser = parse_show,
    .args_doc = "MODEL",
    .doc = "Describes MODEL. --json has everything that is known.",
    .children = cli_common_children,
};

int cli_show(int argc, char **argv)
{
    struct show show = {0};

    cli_parse(&cli_show_argp, argc, argv, &show);
    return run(&show);
}
