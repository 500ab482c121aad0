/* SPDX-License-Identifier: Apache-2.0 */
/* llama-swap: each model is a server that it starts itself, or that answers at `proxy`; peers are
 * servers elsewhere. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "import/convert.h"

const struct import_why llama_swap_whys[] = {
    {"cmd", "start the server elsewhere (systemd, a container)"},
    {"models", "start the server elsewhere, on a port of its own, and add its url to nodes"},
    {"cmdStop", "servers are started and stopped elsewhere"},
    {"ttl", "servers are started and stopped elsewhere"},
    {"startPort", "servers are started and stopped elsewhere"},
    {"macros", "they belong to commands"},
    {"aliases", "clients ask for a model by the name its server gives it"},
    {"useModelName", "clients ask for a model by the name its server gives it"},
    {"groups", "which models run together is up to their servers"},
    {"matrix", "which models run together is up to their servers"},
    {"healthCheckTimeout", "a node that does not answer is not asked; timeouts.first_byte holds"},
    {"concurrencyLimit", "there are no limits for a model"},
    {"filters", "requests are passed on as they are"},
    {NULL, NULL},
};

/* The number behind --port in a command; false: none, or a variable. */
static bool port_of(const char *cmd, char port[8])
{
    const char *at = cmd == NULL ? NULL : strstr(cmd, "--port");
    size_t len;

    if (at == NULL) {
        return false;
    }
    at += strlen("--port");
    at += strspn(at, " =");
    len = strspn(at, "0123456789");
    if (len == 0 || len > 5) {
        return false;
    }
    (void)snprintf(port, 8, "%.*s", (int)len, at);
    return true;
}

static void add_model(struct plan *p, struct tree *t)
{
    struct tree *proxy = tree_get(t, "proxy");
    struct tree *cmd = tree_get(t, "cmd");
    struct plan_node n = {.kind = "openai", .name = t->key};
    char url[64];
    char port[8];

    if (proxy != NULL && proxy->kind == TREE_TEXT && strchr(proxy->text, '$') == NULL) {
        n.url = tree_take(proxy);
    } else if (cmd != NULL && port_of(cmd->text, port)) {
        (void)snprintf(url, sizeof(url), "http://127.0.0.1:%s", port);
        n.url = url;
    } else {
        return; /* told as unused */
    }
    t->used = plan_add_node(p, t, &n);
}

static void add_peer(struct plan *p, struct tree *t)
{
    struct plan_node n = {.kind = "openai", .name = t->key, .url = tree_take_at(t, "proxy")};
    struct tree *key = tree_get(t, "apiKey");
    struct tree *models = tree_get(t, "models");

    if (n.url == NULL) {
        return;
    }
    if (key != NULL && key->kind == TREE_TEXT && strchr(key->text, '$') == NULL) {
        n.api_key = tree_take(key);
    }
    if (models != NULL) {
        tree_use_all(models); /* the node is asked which it has */
    }
    (void)plan_add_node(p, t, &n);
}

void llama_swap_convert(const struct tree *root, struct plan *p)
{
    const struct tree *keys = tree_get(root, "apiKeys");
    const struct tree *models = tree_get(root, "models");
    const struct tree *peers = tree_get(root, "peers");

    plan_set_level(p, tree_get(root, "logLevel"));
    for (size_t i = 0; keys != NULL && i < keys->count; i++) {
        const char *key = tree_take(keys->items[i]);

        if (key != NULL) {
            (void)plan_add_key(p, keys, "client", key);
        }
    }
    for (size_t i = 0; models != NULL && i < models->count; i++) {
        add_model(p, models->items[i]);
    }
    for (size_t i = 0; peers != NULL && i < peers->count; i++) {
        add_peer(p, peers->items[i]);
    }
}
