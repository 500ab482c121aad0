/* SPDX-License-Identifier: Apache-2.0 */
/* Olla (thushan/olla): server, proxy, discovery.static.endpoints, logging. */
#include <string.h>

#include "import/convert.h"

const struct import_why olla_whys[] = {
    {"priority", "the first node that is up and has the model is asked, in the order of the file"},
    {"load_balancer", "the first node that is up and has the model is asked"},
    {"engine", "there is one"},
    {"model_url", "it follows from the node's kind"},
    {"health_check_url", "it follows from the node's kind"},
    {"check_interval", "a node is asked every 5 s while it is up"},
    {"check_timeout", "a node has 10 s to answer"},
    {"response_timeout",
     "an answer has no limit in all; see timeouts.first_byte and timeouts.idle"},
    {"rate_limits", "there are no rate limits"},
    {"max_header_size", "a head has 32 KiB"},
    {"max_retries", "a request is tried on up to 3 nodes before its first byte"},
    {"type", "nodes stand in the file"},
    {NULL, NULL},
};

static const char *kind_of(const char *type)
{
    static const char *const openai[] = {
        "openai",    "openai-compatible", "vllm",     "llamacpp",
        "llama-cpp", "lm-studio",         "lmstudio", "sglang",
        "lemonade",  "litellm",           "vllm-mlx", "docker-model-runner"};

    if (type == NULL || strcmp(type, "auto") == 0) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof(openai) / sizeof(openai[0]); i++) {
        if (strcmp(type, openai[i]) == 0) {
            return "openai";
        }
    }
    return strcmp(type, "ollama") == 0 ? "ollama" : NULL;
}

static void add_endpoint(struct plan *p, const struct tree *t)
{
    struct plan_node n = {
        .url = tree_take_at(t, "url"),
        .kind = kind_of(tree_take_at(t, "type")),
        .name = tree_take_at(t, "name"),
        .headers = tree_get(t, "headers"),
    };

    if (n.url != NULL) {
        (void)plan_add_node(p, t, &n);
    }
}

void olla_convert(const struct tree *root, struct plan *p)
{
    const struct tree *server = tree_get(root, "server");
    const struct tree *endpoints = tree_get(root, "discovery.static.endpoints");

    if (server != NULL) {
        plan_set_listen(p, server, tree_take_at(server, "host"), tree_take_at(server, "port"));
    }
    plan_set_size(p, tree_get(root, "server.request_limits.max_body_size"), "limits.max_body",
                  false);
    plan_set_time(p, tree_get(root, "server.shutdown_timeout"), "timeouts.drain", 1000);
    plan_set_time(p, tree_get(root, "proxy.connection_timeout"), "timeouts.connect", 1000);
    plan_set_time(p, tree_get(root, "proxy.read_timeout"), "timeouts.idle", 1000);
    plan_set_level(p, tree_get(root, "logging.level"));
    for (size_t i = 0; endpoints != NULL && i < endpoints->count; i++) {
        add_endpoint(p, endpoints->items[i]);
    }
}
