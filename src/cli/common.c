/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/text.h"

enum { OPTION_HOST = 0x100, OPTION_KEY, OPTION_JSON };

static const struct argp_option options[] = {
    {"host", OPTION_HOST, "ADDR", 0,
     "The gateway's MCP listener: host:port or unix:PATH (MCPGATE_HOST, else 127.0.0.1:8080)", 90},
    {"key", OPTION_KEY, "KEY", 0, "The key to show (MCPGATE_KEY)", 90},
    {"json", OPTION_JSON, NULL, 0, "Print the answer as JSON, one object to a line", 90},
    {0},
};

static const char *from_environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value == NULL || *value == '\0' ? otherwise : value;
}

void cli_parse(const struct argp *argp, int argc, char **argv, void *input)
{
    if (argp_parse(argp, argc, argv, 0, NULL, input) != 0) {
        exit(CLI_EXIT_USAGE);
    }
}

void cli_usage(const struct argp_state *state, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* a long argument is cut */
    va_end(args);
    cli_error("%s; see %s --help", text, state->name);
    exit(CLI_EXIT_USAGE);
}

static error_t parse_help(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->err_stream = NULL; /* or argp adds where to look, in two lines */
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option help_options[] = {{NULL, 'h', NULL, OPTION_HIDDEN, NULL, -1}, {0}};
static const struct argp help_argp = {.options = help_options, .parser = parse_help};

const struct argp_child cli_help_children[] = {{.argp = &help_argp}, {0}};

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    struct cli_common *common = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        common->host = from_environment("MCPGATE_HOST", "127.0.0.1:8080");
        common->host_from = "MCPGATE_HOST";
        common->key = from_environment("MCPGATE_KEY", NULL);
        return 0;
    case OPTION_HOST:
        common->host = arg;
        common->host_from = "--host";
        return 0;
    case OPTION_KEY:
        common->key = arg;
        return 0;
    case OPTION_JSON:
        common->json = true;
        return 0;
    case ARGP_KEY_ARG: /* of a command that takes none */
        cli_usage(state, "expected no argument, not '%s'", arg);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_common_argp = {
    .options = options, .parser = parse_common, .children = cli_help_children};

const struct argp_child cli_common_children[] = {{.argp = &cli_common_argp}, {0}};

error_t cli_common_parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key == ARGP_KEY_INIT) {
        state->child_inputs[0] = state->input;
        return 0;
    }
    return ARGP_ERR_UNKNOWN;
}

unsigned long cli_parse_number(struct argp_state *state, const char *option, const char *text,
                               unsigned long most)
{
    char *end;
    unsigned long value;

    errno = 0;
    value = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9' || value > most) {
        cli_usage(state, "--%s: expected a whole number up to %lu, not '%s'", option, most, text);
    }
    return value;
}
