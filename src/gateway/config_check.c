/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of the configuration that concern several of its values. */
#include <stdio.h>
#include <string.h>

#include "gateway/config_load.h"
#include "gateway/dns_url.h"
#include "http/parse/url.h"
#include "reactor/addr.h"

/* The key or option that set a listener. */
static const char *listen_origin(const struct config_load *l, size_t i)
{
    return config_listen_arg(l->args, i) != NULL ? config_listens[i].option : config_listens[i].key;
}

static bool is_any(const struct addr *a)
{
    char host[ADDR_TEXT_MAX];

    addr_format_host(a, host);
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

/* Whether two listeners cannot have both; a port 0 is a free one each time. */
static bool addr_collides(const struct addr *a, const struct addr *b)
{
    if (a->ss.ss_family == AF_UNIX || b->ss.ss_family == AF_UNIX) {
        return addr_same(a, b);
    }
    return addr_port(a) != 0 && addr_port(a) == addr_port(b) &&
           (addr_same(a, b) || is_any(a) || is_any(b));
}

static int check_listeners(const struct config_load *l)
{
    struct addr at[CONFIG_LISTEN_COUNT];
    bool on[CONFIG_LISTEN_COUNT] = {false};

    for (size_t i = 0; i < CONFIG_LISTEN_COUNT; i++) {
        const char *text = *config_listen_member(l->c, i);

        if (text == NULL) {
            continue;
        }
        on[i] = true;
        if (addr_parse(&at[i], slice_str(text), l->e) != MCP_OK) {
            return MCP_EARGUMENT; /* cannot be: config_item_set has parsed it */
        }
        if (!addr_is_local(&at[i]) && l->c->key_count == 0 && !l->c->insecure) {
            return config_fail(l, listen_origin(l, i),
                               "other machines could reach %s without a key; expected keys in the "
                               "configuration, or --insecure",
                               text);
        }
        for (size_t j = 0; j < i; j++) {
            if (on[j] && addr_collides(&at[i], &at[j])) {
                return config_fail(
                    l, listen_origin(l, config_listen_arg(l->args, j) != NULL ? j : i),
                    "%s is the address of %s too", text,
                    config_listens[config_listen_arg(l->args, j) != NULL ? i : j].key);
            }
        }
    }
    if (!on[0] && !on[1]) {
        return config_fail(l, listen_origin(l, 1), "mcp.listen and http.listen are both off");
    }
    return MCP_OK;
}

/* The address of a node where it is a numeric one. */
static bool node_addr(const struct url *u, struct addr *a)
{
    char text[ADDR_TEXT_MAX];

    if (u->is_unix) {
        (void)snprintf(text, sizeof(text), "unix:%.*s", SLICE_ARG(u->host));
    } else {
        (void)snprintf(text, sizeof(text), u->is_ipv6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(u->host),
                       u->port);
    }
    return addr_parse(a, slice_str(text), NULL) == MCP_OK;
}

static int write_name(char **name, const char *node_url, struct err *e)
{
    struct url u;

    if (dns_url_is(slice_str(node_url))) {
        *name = strdup(node_url);
        return *name == NULL ? -1 : 0;
    }
    if (url_parse(&u, slice_str(node_url), e) != MCP_OK) {
        return MCP_EARGUMENT; /* cannot be: config_item_set has parsed it */
    }
    if (u.is_unix) {
        return asprintf(name, "unix:%.*s", SLICE_ARG(u.host));
    }
    return asprintf(name, u.is_ipv6 ? "[%.*s]:%u" : "%.*s:%u", SLICE_ARG(u.host), u.port);
}

int config_node_set_name(struct config_node *n, struct err *e)
{
    char *name = NULL;
    int rc = n->name != NULL ? 0 : write_name(&name, n->url, e);

    if (rc == MCP_EARGUMENT) {
        return rc;
    }
    if (rc < 0) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    n->name = name != NULL ? name : n->name;
    return MCP_OK;
}

/* Whether it is one of our own listeners. Of those found by name that is seen when they are asked.
 */
static bool is_listener(const struct config_load *l, const struct config_node *node, size_t i)
{
    struct addr at, listen;
    struct url u;
    const char *text = *config_listen_member(l->c, i);

    return text != NULL && !dns_url_is(slice_str(node->url)) &&
           url_parse(&u, slice_str(node->url), NULL) == MCP_OK && node_addr(&u, &at) &&
           addr_parse(&listen, slice_str(text), NULL) == MCP_OK && addr_collides(&at, &listen) &&
           (addr_same(&at, &listen) || addr_is_local(&at));
}

static int check_node(const struct config_load *l, struct config_node *node, const char *key)
{
    int rc = config_node_set_name(node, l->e);

    if (rc != MCP_OK) {
        return rc;
    }
    for (struct config_node *other = l->c->nodes; other < node; other++) {
        if (strcmp(other->name, node->name) == 0) {
            return config_fail(l, key, "a second node named '%s'", node->name);
        }
    }
    for (size_t i = 0; i < CONFIG_LISTEN_COUNT; i++) {
        if (is_listener(l, node, i)) {
            return config_fail(l, key, "%s is this gateway itself (%s)", node->url,
                               config_listens[i].key);
        }
    }
    return MCP_OK;
}

int config_check(const struct config_load *l)
{
    struct config *c = l->c;

    if (check_listeners(l) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    for (size_t i = 0; i < c->node_count; i++) {
        char key[CONFIG_KEY_MAX] = "node";

        if (l->args->node_count > 0) {
            (void)snprintf(key, sizeof(key), "--node");
        } else if (l->yaml != NULL && config_yaml_has(l->yaml, "nodes")) {
            (void)snprintf(key, sizeof(key), "nodes[%zu]", i);
        }
        if (check_node(l, &c->nodes[i], key) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    if ((c->mcp_proxied || c->http_proxied) && trust_is_empty(&c->trusted)) {
        return config_fail(l, c->mcp_proxied ? "mcp.proxy_protocol" : "http.proxy_protocol",
                           "without trusted_proxies nobody could connect");
    }
    if (c->max_body_bytes > c->body_memory_bytes) {
        return config_fail(l, "limits.body_memory", "smaller than limits.max_body");
    }
    return MCP_OK;
}
