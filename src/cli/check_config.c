/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate check-config: what serve would do with the same options, without doing it. */
#include <stdio.h>

#include "cli/serve.h"
#include "cli/text.h"
#include "gateway/config.h"
#include "obs/access_log.h"

static void print_listener(const char *name, const char *address)
{
    (void)printf("%-8s%s\n", name, address == NULL ? "off" : address);
}

const struct argp cli_check_config_argp = {
    .options = cli_serve_options,
    .parser = cli_serve_parse,
    .doc = "Checks what serve would be told by the same options, and starts nothing. The exit "
           "status is 2 when something is wrong.",
    .children = cli_help_children,
};

int cli_check_config(int argc, char **argv)
{
    static const char *const kinds[] = {"auto", "ollama", "openai"}; /* by enum config_kind */
    struct config_args args;
    struct config *config = cli_serve_config(&cli_check_config_argp, argc, argv, &args);
    struct err e;

    if (config == NULL) {
        return CLI_EXIT_USAGE;
    }
    if (access_log_check(config->access_log, &e) != MCP_OK) {
        cli_error("%s", e.text);
        config_unref(&config);
        return CLI_EXIT_USAGE;
    }
    print_listener("mcp", config->mcp_listen);
    print_listener("http", config->http_listen);
    print_listener("admin", config->admin_listen);
    for (size_t i = 0; i < config->node_count; i++) {
        (void)printf("node    %s  %s  %s\n", config->nodes[i].name, config->nodes[i].url,
                     kinds[config->nodes[i].kind]);
    }
    for (size_t i = 0; i < config->key_count; i++) {
        (void)printf("key     %s\n", config->keys[i].name);
    }
    config_unref(&config);
    return CLI_EXIT_OK;
}
