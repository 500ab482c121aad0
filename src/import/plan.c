/* SPDX-License-Identifier: Apache-2.0 */
#include "import/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "import/plan_internal.h"

enum { SHOWN_MAX = 60 };

void plan_fini(struct plan *p)
{
    buf_fini(&p->nodes);
    buf_fini(&p->keys);
    for (size_t i = 0; i < p->lost_count; i++) {
        free(p->lost[i].text);
    }
    free(p->lost);
    buf_fini(&p->seen);
}

/* --- what is lost ----------------------------------------------------------------------------- */

/* Keys may stand there, and before the @ of a URL. */
static bool is_secret(const char *path, const char *text)
{
    static const char *const words[] = {"key", "secret", "password", "token", "auth"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcasestr(path, words[i]) != NULL) {
            return true;
        }
    }
    return strchr(text, '@') != NULL;
}

static void append_value(struct buf *out, const char *text)
{
    size_t len = strcspn(text, "\r\n");

    buf_append_str(out, ": ");
    plan_yaml_plain(out, text, utf8_first(slice_of(text, len), SHOWN_MAX).len);
    buf_append_str(out, len > SHOWN_MAX || text[len] != '\0' ? "..." : "");
}

static void push_loss(struct plan *p, unsigned line, struct buf *text)
{
    struct plan_loss *lost = realloc(p->lost, (p->lost_count + 1) * sizeof(*lost));
    char *copy = NULL;

    if (lost != NULL) {
        p->lost = lost;
        buf_append_byte(text, '\0');
        copy = buf_failed(text) ? NULL : strdup(buf_slice(text).ptr);
    }
    if (copy == NULL) {
        p->failed = true;
        return;
    }
    p->lost[p->lost_count++] = (struct plan_loss){line, copy};
}

void plan_lose(struct plan *p, const char *path, const struct tree *t, const char *why)
{
    struct buf text = {0};

    plan_yaml_plain(&text, path, strlen(path));
    if (t->text != NULL && t->text[0] != '\0' && t->kind == TREE_TEXT &&
        !is_secret(path, t->text)) {
        append_value(&text, t->text);
    }
    if (why != NULL) {
        buf_append_str(&text, " - ");
        plan_yaml_plain(&text, why, strlen(why));
    }
    push_loss(p, t->line, &text);
    buf_fini(&text);
}

/* --- nodes and keys --------------------------------------------------------------------------- */

static bool is_variable(const char *text)
{
    return strchr(text, '$') != NULL || strncmp(text, "os.environ/", 11) == 0;
}

/* NULL, or why it cannot be a node's. */
static const char *refusal(const char *url)
{
    if (is_variable(url)) {
        return "the address is a variable; write it here";
    }
    if (strncasecmp(url, "https:", 6) == 0) {
        return "nodes are spoken to without TLS; put a TLS client such as stunnel before it";
    }
    return strncasecmp(url, "http://", 7) == 0 || strncmp(url, "unix:", 5) == 0
               ? NULL
               : "expected http://host:port";
}

/* Ours have no /v1 at their end: it is part of every path. */
static void copy_url(const char *url, char *out, size_t cap)
{
    size_t len;

    (void)snprintf(out, cap, "%s", url);
    len = strlen(out);
    while (len > 0 && out[len - 1] == '/') {
        out[--len] = '\0';
    }
    if (len > 3 && strcmp(out + len - 3, "/v1") == 0) {
        out[len - 3] = '\0';
    }
}

/* True: it was there before. */
static bool note_seen(struct plan *p, const char *what, const char *a, const char *b)
{
    char entry[1024];
    struct slice all = buf_slice(&p->seen);

    (void)snprintf(entry, sizeof(entry), "\n%s\t%s\t%s\n", what, a, b == NULL ? "" : b);
    if (all.len > 0 && memmem(all.ptr, all.len, entry, strlen(entry)) != NULL) {
        return true;
    }
    buf_append_str(&p->seen, entry);
    return false;
}

/* Nodes have names of their own: that of a second one with the same gets a number. */
static void append_node_name(struct plan *p, const char *name, const char *url)
{
    char numbered[256];

    if (note_seen(p, "name", name == NULL ? url : name, NULL)) {
        (void)snprintf(numbered, sizeof(numbered), "%s-%zu", name == NULL ? "node" : name,
                       p->node_count + 1);
        name = numbered;
    }
    if (name != NULL) {
        plan_yaml_pair(&p->nodes, "    ", "name", name);
    }
}

static void append_headers(struct plan *p, struct tree *headers)
{
    for (size_t i = 0; headers != NULL && i < headers->count; i++) {
        struct tree *h = headers->items[i];

        if (h->kind != TREE_TEXT || is_variable(h->text)) {
            continue; /* told as unused */
        }
        if (!headers->used) {
            buf_append_str(&p->nodes, "    headers:\n");
            headers->used = true;
        }
        h->used = true;
        plan_yaml_pair(&p->nodes, "      - ", "name", h->key);
        plan_yaml_pair(&p->nodes, "        ", "value", h->text);
    }
}

bool plan_add_node(struct plan *p, const struct tree *t, const struct plan_node *n)
{
    const char *why = refusal(n->url);
    char url[512];

    if (why != NULL) {
        char text[512];

        (void)snprintf(text, sizeof(text), "%.200s: %s", n->url, why);
        plan_lose(p, t->key == NULL ? "node" : t->key, &(struct tree){.line = t->line}, text);
        return false;
    }
    copy_url(n->url, url, sizeof(url));
    if (note_seen(p, "url", url, n->api_key)) {
        return true;
    }
    plan_yaml_pair(&p->nodes, "  - ", "url", url);
    if (n->kind != NULL) {
        plan_yaml_pair(&p->nodes, "    ", "kind", n->kind);
    }
    append_node_name(p, n->name, url);
    if (n->api_key != NULL) {
        plan_yaml_pair(&p->nodes, "    ", "api_key", n->api_key);
    }
    append_headers(p, n->headers);
    p->node_count++;
    return true;
}

bool plan_add_key(struct plan *p, const struct tree *t, const char *name, const char *key)
{
    char numbered[64];

    if (is_variable(key)) {
        plan_lose(p, plan_name_of(t), t,
                  "taken from a variable; put the key into a file: key_file");
        return false;
    }
    p->key_count++;
    (void)snprintf(numbered, sizeof(numbered), p->key_count == 1 ? "%s" : "%s-%zu", name,
                   p->key_count);
    plan_yaml_pair(&p->keys, "  - ", "name", numbered);
    plan_yaml_pair(&p->keys, "    ", "key", key);
    return true;
}

/* --- single values ---------------------------------------------------------------------------- */

void plan_set(struct plan *p, const struct tree *t, const char *key, const char *value)
{
    struct plan_setting *s = p->settings;

    if (value == NULL) {
        return;
    }
    while (s < p->settings + p->setting_count && strcmp(s->key, key) != 0) {
        s++;
    }
    if (s < p->settings + p->setting_count) {
        if (strcmp(s->value, value) != 0) {
            plan_lose(p, plan_name_of(t), t,
                      "another value was there before; there is one for all");
        }
        return;
    }
    if (p->setting_count < PLAN_SETTINGS_MAX) {
        s->key = key;
        (void)snprintf(s->value, sizeof(s->value), "%s", value);
        p->setting_count++;
    }
}
