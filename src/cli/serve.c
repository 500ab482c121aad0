/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate serve: the gateway itself. */
#include "cli/serve.h"

#include <stdlib.h>

#include "cli/text.h"
#include "gateway/config.h"
#include "gateway/process.h"

enum {
    OPTION_NODE = 0x100,
    OPTION_MCP,
    OPTION_HTTP,
    OPTION_ADMIN,
    OPTION_ACCESS_LOG,
    OPTION_MODE,
    OPTION_REACTORS,
    OPTION_BACKEND,
    OPTION_INSECURE
};

const struct argp_option cli_serve_options[] = {
    /* The groups are only there to keep this order in the help. */
    {"config", 'c', "FILE", 0, "The configuration, YAML; see mcpgate.yaml(5)", 1},
    {"node", OPTION_NODE, "URL", 0,
     "A node: http://host:port or unix:PATH, or all that DNS knows: dns://NAME:PORT, "
     "srv://_SERVICE._tcp.NAME; may be repeated (http://127.0.0.1:11434)",
     2},
    {"mcp", OPTION_MCP, "ADDR", 0, "Listen for MCP: host:port, unix:PATH or off (127.0.0.1:8080)",
     3},
    {"http", OPTION_HTTP, "ADDR", 0, "Listen for HTTP (127.0.0.1:11435)", 4},
    {"admin", OPTION_ADMIN, "ADDR", 0, "Listen for health and metrics (127.0.0.1:6060)", 5},
    {"access-log", OPTION_ACCESS_LOG, "FILE", 0,
     "One line per exchange: a file, stderr or off (stderr)", 6},
    {"mode", OPTION_MODE, "main-sub|single", 0, "Threads (main-sub)", 7},
    {"reactors", OPTION_REACTORS, "N", 0, "Sub reactors of main-sub (one for each core)", 7},
    {"backend", OPTION_BACKEND, "auto|epoll|io_uring", 0, "Event loops (auto)", 7},
    {"insecure", OPTION_INSECURE, NULL, 0, "Let other machines in without a key", 8},
    {0},
};

static void add_node(struct config_args *args, const char *url)
{
    static const char **nodes; /* kept for reloads */

    nodes = realloc(nodes, (args->node_count + 1) * sizeof(*nodes));
    if (nodes == NULL) {
        cli_no_memory();
    }
    nodes[args->node_count++] = url;
    args->node_urls = nodes;
}

error_t cli_serve_parse(int key, char *arg, struct argp_state *state)
{
    struct config_args *args = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        cli_usage(state, "expected no argument, not '%s'", arg);
    case 'c':
        args->path = arg;
        return 0;
    case OPTION_NODE:
        add_node(args, arg);
        return 0;
    case OPTION_MCP:
        args->mcp_listen = arg;
        return 0;
    case OPTION_HTTP:
        args->http_listen = arg;
        return 0;
    case OPTION_ADMIN:
        args->admin_listen = arg;
        return 0;
    case OPTION_ACCESS_LOG:
        args->access_log = arg;
        return 0;
    case OPTION_MODE:
        args->mode = arg;
        return 0;
    case OPTION_REACTORS:
        args->reactors = arg;
        return 0;
    case OPTION_BACKEND:
        args->backend = arg;
        return 0;
    case OPTION_INSECURE:
        args->insecure = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

struct config *cli_serve_config(const struct argp *argp, int argc, char **argv,
                                struct config_args *args)
{
    struct err e = {0};
    struct config *config;

    *args = (struct config_args){0};
    cli_parse(argp, argc, argv, args);
    config = config_load(args, &e);
    if (e.code == MCP_ENOMEM) {
        cli_no_memory();
    }
    if (config == NULL) {
        cli_error("%s", e.text);
        return NULL;
    }
    for (size_t i = 0; i < config->warning_count; i++) {
        cli_warning(config->warnings[i]);
    }
    return config;
}

const struct argp cli_serve_argp = {
    .options = cli_serve_options,
    .parser = cli_serve_parse,
    .doc = "Runs the gateway until SIGTERM or Ctrl-C. Without options it uses the Ollama of this "
           "machine.\vOptions win over the configuration file; --node replaces all of its nodes.",
    .children = cli_help_children,
};

int cli_serve(int argc, char **argv)
{
    struct config_args args;
    struct config *config = cli_serve_config(&cli_serve_argp, argc, argv, &args);
    int rc;

    if (config == NULL) {
        return CLI_EXIT_USAGE;
    }
    rc = process_run(config, &args);
    config_unref(&config);
    return rc;
}
