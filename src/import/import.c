/* SPDX-License-Identifier: Apache-2.0 */
#include "import/import.h"

#include <string.h>

#include "import/convert.h"

static const struct {
    const char *name;
    struct tree *(*read)(struct slice text, struct err *e);
    void (*convert)(const struct tree *root, struct plan *p);
    const struct import_why *whys;
    const char *marks[3]; /* paths of which a file of this kind has one */
} kinds[IMPORT_KINDS] = {
    [IMPORT_OLLA] = {"olla",
                     tree_read_yaml,
                     olla_convert,
                     olla_whys,
                     {"discovery", "server.request_limits", "proxy.engine"}},
    [IMPORT_LLAMA_SWAP] = {"llama-swap",
                           tree_read_yaml,
                           llama_swap_convert,
                           llama_swap_whys,
                           {"models", "peers", NULL}},
    [IMPORT_LITELLM] = {"litellm",
                        tree_read_yaml,
                        litellm_convert,
                        litellm_whys,
                        {"model_list", "litellm_settings", NULL}},
    [IMPORT_NGINX] = {"nginx", tree_read_nginx, nginx_convert, nginx_whys, {NULL, NULL, NULL}},
};

const char *import_kind_name(enum import_kind kind)
{
    return kinds[kind].name;
}

enum import_kind import_kind_find(const char *name)
{
    enum import_kind kind = IMPORT_KINDS - 1;

    while (kind != IMPORT_UNKNOWN && strcmp(kinds[kind].name, name) != 0) {
        kind--;
    }
    return kind;
}

static bool is_kind(enum import_kind kind, const struct tree *root)
{
    for (size_t i = 0; i < sizeof(kinds[kind].marks) / sizeof(kinds[kind].marks[0]); i++) {
        if (kinds[kind].marks[i] != NULL && tree_get(root, kinds[kind].marks[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static bool is_nginx(const struct tree *root)
{
    return tree_get(root, "server") != NULL || tree_get(root, "http") != NULL ||
           tree_get(root, "upstream") != NULL;
}

/* Of YAML by the keys; what is no YAML but nginx's syntax is nginx's. */
static struct tree *recognise(struct slice text, enum import_kind *kind, struct err *e)
{
    struct err nginx = {0};
    struct tree *root = tree_read_nginx(text, &nginx);

    if (root != NULL && is_nginx(root)) {
        *kind = IMPORT_NGINX;
        return root;
    }
    tree_free(&root);
    root = tree_read_yaml(text, e);
    if (root == NULL && e->code == MCP_EARGUMENT) {
        struct err yaml = *e;

        (void)err_set(e, MCP_EARGUMENT, "%.150s; as nginx's: %.100s", yaml.text,
                      nginx.code == MCP_OK ? "no http, server or upstream in it" : nginx.text);
    }
    for (enum import_kind k = IMPORT_OLLA; root != NULL && k < IMPORT_NGINX; k++) {
        if (is_kind(k, root)) {
            *kind = k;
            return root;
        }
    }
    if (root != NULL) {
        (void)err_set(e, MCP_EARGUMENT,
                      "line 1: not known as a configuration of olla, llama-swap, litellm or nginx; "
                      "say which with --from");
        tree_free(&root);
    }
    return root;
}

/* --- what is left ----------------------------------------------------------------------------- */

struct leaving {
    struct plan *plan;
    const struct import_why *whys;
};

static bool is_of_path(const char *path, const char *key)
{
    size_t len = strlen(key);
    const char *at = path;

    while ((at = strstr(at, key)) != NULL) {
        if ((at == path || at[-1] == '.') &&
            (at[len] == '\0' || at[len] == '.' || at[len] == '[')) {
            return true;
        }
        at++;
    }
    return false;
}

static void lose(void *owner, const char *path, const struct tree *t)
{
    const struct leaving *l = owner;
    const struct import_why *w = l->whys;
    const char *last = strrchr(path, '.');

    last = last == NULL ? path : last + 1;
    while (w->key != NULL && strcmp(w->key, last) != 0) {
        w++;
    }
    for (w = w->key != NULL ? w : l->whys; w->key != NULL && !is_of_path(path, w->key); w++) {
    }
    plan_lose(l->plan, path, t, w->text);
}

int import_convert(struct slice text, const char *from, enum import_kind *kind, struct buf *out,
                   size_t *lost, struct err *e)
{
    struct plan p = {0};
    struct tree *root =
        *kind == IMPORT_UNKNOWN ? recognise(text, kind, e) : kinds[*kind].read(text, e);
    int rv;

    if (root == NULL) {
        return e->code;
    }
    kinds[*kind].convert(root, &p);
    tree_unused(root, lose, &(struct leaving){&p, kinds[*kind].whys});
    rv = plan_write(&p, from, kinds[*kind].name, out, e);
    *lost = p.lost_count;
    plan_fini(&p);
    tree_free(&root);
    return rv;
}
