/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate import: another gateway's configuration as one of ours, on standard output. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/input.h"
#include "cli/text.h"
#include "import/import.h"

enum { OPTION_FROM = 0x100, FILE_BYTES_MAX = 4 * 1024 * 1024 };

struct import_args {
    enum import_kind kind;
    const char *path;
};

static const struct argp_option options[] = {
    {"from", OPTION_FROM, "KIND", 0,
     "Whose it is: olla, llama-swap, litellm or nginx (found out by its keys)", 1},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct import_args *a = state->input;

    switch (key) {
    case OPTION_FROM:
        a->kind = import_kind_find(arg);
        if (a->kind == IMPORT_UNKNOWN) {
            cli_usage(state, "--from: expected olla, llama-swap, litellm or nginx, not '%s'", arg);
        }
        return 0;
    case ARGP_KEY_ARG:
        if (a->path != NULL) {
            cli_usage(state, "expected one file, not also '%s'", arg);
        }
        a->path = arg;
        return 0;
    case ARGP_KEY_END:
        if (a->path == NULL) {
            cli_usage(state, "expected a file, or - for standard input");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_import_argp = {
    .options = options,
    .parser = parse,
    .args_doc = "FILE",
    .doc = "Writes a configuration of mcpgate's that does what that of another gateway does, to "
           "standard output.\vWhat could not be carried over stands at its end. Keys are copied: "
           "keep the result from others (umask 077).",
    .children = cli_help_children,
};

static int read_file(const char *path, struct buf *text)
{
    int error;

    if (strcmp(path, "-") == 0) {
        return cli_input_read(text);
    }
    error = cli_input_file(path, FILE_BYTES_MAX, text);
    if (error != 0) {
        cli_error("%s: %s", path, error == EFBIG ? "larger than 4 MiB" : strerror(error));
    }
    return error == 0 ? CLI_EXIT_OK : CLI_EXIT_USAGE;
}

static int convert(struct import_args *a, struct slice text, struct buf *out)
{
    const char *from = strcmp(a->path, "-") == 0 ? "standard input" : a->path;
    struct err e = {0};
    size_t lost = 0;

    if (import_convert(text, from, &a->kind, out, &lost, &e) != MCP_OK) {
        cli_error("%s: %s", from, e.text);
        return CLI_EXIT_USAGE;
    }
    if (fwrite(buf_slice(out).ptr, 1, buf_len(out), stdout) != buf_len(out) ||
        fflush(stdout) != 0) {
        cli_error("standard output: %s", strerror(errno));
        return CLI_EXIT_FAILED;
    }
    if (lost > 0) {
        (void)fprintf(stderr,
                      "%zu of its settings (%s) could not be carried over; they stand at "
                      "the end\n",
                      lost, import_kind_name(a->kind));
    }
    return CLI_EXIT_OK;
}

int cli_import(int argc, char **argv)
{
    struct import_args args = {0};
    struct buf text = {0};
    struct buf out = {0};
    int rc;

    cli_parse(&cli_import_argp, argc, argv, &args);
    rc = read_file(args.path, &text);
    if (rc == CLI_EXIT_OK) {
        rc = convert(&args, buf_slice(&text), &out);
    }
    buf_fini(&text);
    buf_fini(&out);
    return rc;
}
