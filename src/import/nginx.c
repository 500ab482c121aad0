/* SPDX-License-Identifier: Apache-2.0 */
/* nginx as a proxy before model servers: upstream, server, location with proxy_pass. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "import/convert.h"

const struct import_why nginx_whys[] = {
    {"proxy_buffering", "answers are never held back"},
    {"proxy_request_buffering", "uploads are streamed"},
    {"proxy_http_version", "nodes are spoken to in HTTP/1.1"},
    {"proxy_cache", "nothing is cached"},
    {"keepalive", "see limits.idle_connections"},
    {"least_conn", "the first node that is up and has the model is asked"},
    {"ip_hash", "the first node that is up and has the model is asked"},
    {"proxy_send_timeout", "uploads have no limit but timeouts.first_byte behind each piece"},
    {"send_timeout", "see timeouts.client_stall"},
    {"ssl_certificate", "there is no TLS"},
    {"ssl_certificate_key", "there is no TLS"},
    {"auth_basic", "clients show keys; see keys"},
    {"auth_basic_user_file", "clients show keys; see keys"},
    {"limit_req", "there are no rate limits"},
    {"worker_processes", "see reactor.count"},
    {"worker_connections", "the limit of open files holds"},
    {"include", "import that file too"},
    {"server_name", "every name of this machine is answered to"},
    {"access_log", "see log.access"},
    {"error_log", "see log.level"},
    {"proxy_set_header", "headers from variables are not set; X-Request-Id is"},
    {NULL, NULL},
};

/* What the search for proxy_pass carries along. */
struct scope {
    const struct tree *root;
    struct plan *plan;
};

static const struct tree *find_upstream(const struct tree *t, struct slice name)
{
    const struct tree *found = NULL;

    for (size_t i = 0; found == NULL && i < t->count; i++) {
        const struct tree *item = t->items[i];

        if (item->kind != TREE_MAP) {
            continue;
        }
        if (strcmp(item->key, "upstream") == 0 && slice_eq(slice_str(item->text), name)) {
            return item;
        }
        found = find_upstream(item, name);
    }
    return found;
}

/* Headers that are set in this block without variables. NULL: none; the caller frees it. */
static struct tree *headers_of(const struct tree *block, size_t *nodes)
{
    struct tree *headers = NULL;
    struct err e;

    for (size_t i = 0; i < block->count; i++) {
        struct tree *item = block->items[i];
        size_t name;

        if (strcmp(item->key, "proxy_set_header") != 0 || item->kind != TREE_TEXT ||
            strchr(item->text, '$') != NULL) {
            continue;
        }
        name = strcspn(item->text, " ");
        item->used = true;
        if (item->text[name] == '\0' || strncasecmp(item->text, "Host ", 5) == 0 ||
            strncasecmp(item->text, "Connection ", 11) == 0) {
            continue; /* set to nothing, or what ours sets itself */
        }
        if (headers == NULL) {
            headers = tree_add(NULL, TREE_MAP, (struct slice){0}, (struct slice){0}, item->line,
                               nodes, &e);
        }
        if (headers == NULL ||
            tree_add(headers, TREE_TEXT, slice_of(item->text, name),
                     slice_str(item->text + name + 1), item->line, nodes, &e) == NULL) {
            tree_free(&headers);
            return NULL;
        }
    }
    return headers;
}

/* "host:port weight=2" of an upstream's server. */
static void add_server(struct plan *p, struct tree *server, struct tree *headers)
{
    size_t len = strcspn(server->text, " ");
    char url[256];

    if (strstr(server->text + len, " down") != NULL) {
        return; /* told as unused */
    }
    (void)snprintf(url, sizeof(url),
                   strncmp(server->text, "unix:", 5) == 0 ? "%.*s" : "http://%.*s", (int)len,
                   server->text);
    server->used = true;
    if (headers != NULL) {
        headers->used = false; /* written again for each node */
    }
    (void)plan_add_node(p, server, &(struct plan_node){.url = url, .headers = headers});
}

static void add_upstream(struct plan *p, const struct tree *upstream, struct tree *headers)
{
    for (size_t i = 0; i < upstream->count; i++) {
        if (strcmp(upstream->items[i]->key, "server") == 0 &&
            upstream->items[i]->kind == TREE_TEXT) {
            add_server(p, upstream->items[i], headers);
        }
    }
}

static void add_pass(struct scope *s, const struct tree *block, struct tree *pass)
{
    struct slice url = slice_str(pass->text);
    size_t scheme = slice_starts(url, SLICE("http://")) ? strlen("http://") : 0;
    struct slice host = slice_skip(url, scheme);
    const struct tree *upstream;
    size_t nodes = 0;
    struct tree *headers = headers_of(block, &nodes);

    host.len = strcspn(host.ptr, "/");
    upstream = find_upstream(s->root, host);
    pass->used = true;
    if (upstream != NULL) {
        add_upstream(s->plan, upstream, headers);
    } else {
        (void)plan_add_node(s->plan, pass,
                            &(struct plan_node){.url = pass->text, .headers = headers});
    }
    tree_free(&headers);
}

static void set_listen(struct plan *p, struct tree *t)
{
    char at[128];
    char *colon;

    (void)snprintf(at, sizeof(at), "%.*s", (int)strcspn(t->text, " "), t->text);
    if (strstr(t->text, " ssl") != NULL) {
        return; /* told as unused */
    }
    t->used = true;
    colon = strrchr(at, ':');
    if (strncmp(at, "unix:", 5) == 0) {
        plan_set(p, t, "http.listen", at);
    } else if (colon != NULL && strchr(colon, ']') == NULL) {
        *colon = '\0';
        plan_set_listen(p, t, at, colon + 1);
    } else if (strspn(at, "0123456789") == strlen(at)) {
        plan_set_listen(p, t, NULL, at);
    } else {
        plan_set_listen(p, t, at, "80");
    }
}

static const struct {
    const char *key;
    const char *ours;
} times[] = {
    {"proxy_connect_timeout", "timeouts.connect"},
    {"proxy_read_timeout", "timeouts.idle"},
};

static void take_setting(struct scope *s, struct tree *t)
{
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcmp(t->key, times[i].key) == 0) {
            plan_set_time(s->plan, t, times[i].ours, 1000);
        }
    }
    if (strcmp(t->key, "client_max_body_size") == 0) {
        plan_set_size(s->plan, t, "limits.max_body", true);
    }
}

/* A server or location with all that is below it. True: it leads to a node. */
static bool convert_block(struct scope *s, const struct tree *t)
{
    bool leads = false;

    for (size_t i = 0; i < t->count; i++) {
        struct tree *item = t->items[i];

        if (item->kind == TREE_MAP && strcmp(item->key, "upstream") != 0) {
            leads = convert_block(s, item) || leads;
        } else if (item->kind == TREE_TEXT && strcmp(item->key, "proxy_pass") == 0) {
            add_pass(s, t, item);
            leads = true;
        }
    }
    for (size_t i = 0; leads && i < t->count; i++) {
        struct tree *item = t->items[i];

        if (item->kind == TREE_TEXT) {
            take_setting(s, item);
            if (strcmp(item->key, "listen") == 0) {
                set_listen(s->plan, item);
            }
        }
    }
    return leads;
}

void nginx_convert(const struct tree *root, struct plan *p)
{
    struct scope s = {.root = root, .plan = p};

    (void)convert_block(&s, root);
}
