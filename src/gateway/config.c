/* SPDX-License-Identifier: Apache-2.0 */
/* Puts the configuration together: defaults, then the file (config_yaml.c), then the command line,
 * each value through the table (config_item.c); then the rules that concern several of them. */
#include "gateway/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "gateway/config_load.h"

enum { WHERE_MAX = 160 };

const struct config_listen config_listens[CONFIG_LISTEN_COUNT] = {
    {CONFIG_ITEM_MCP_LISTEN, "mcp.listen", "--mcp"},
    {CONFIG_ITEM_HTTP_LISTEN, "http.listen", "--http"},
    {CONFIG_ITEM_ADMIN_LISTEN, "admin.listen", "--admin"},
};

const char *config_listen_arg(const struct config_args *args, size_t i)
{
    const char *const given[CONFIG_LISTEN_COUNT] = {args->mcp_listen, args->http_listen,
                                                    args->admin_listen};

    return given[i];
}

char **config_listen_member(struct config *c, size_t i)
{
    return (char **)(void *)((char *)c + config_items[config_listens[i].item].offset);
}

int config_fail(const struct config_load *l, const char *key, const char *fmt, ...)
{
    char where[WHERE_MAX] = "";
    char text[256];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* a longer text is cut */
    va_end(args);
    if (l->yaml != NULL && key[0] != '-') {
        config_yaml_locate(l->yaml, key, where, sizeof(where));
    }
    return err_set(l->e, MCP_EARGUMENT, "%s%s: %s", where, key, text);
}

static int no_memory(const struct config_load *l)
{
    return err_set(l->e, MCP_ENOMEM, "out of memory");
}

void *config_alloc(const struct config_load *l, size_t count, size_t size)
{
    void *ptr = calloc(count, size);

    if (ptr == NULL) {
        (void)no_memory(l);
    }
    return ptr;
}

char *config_copy(const struct config_load *l, const char *text)
{
    char *copy = slice_dup(slice_str(text));

    if (copy == NULL) {
        (void)no_memory(l);
    }
    return copy;
}

static int warn(struct config_load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int warn(struct config_load *l, const char *fmt, ...)
{
    struct config *c = l->c;
    char **warnings = realloc(c->warnings, (c->warning_count + 1) * sizeof(char *));
    va_list args;
    int len;

    if (warnings == NULL) {
        return no_memory(l);
    }
    c->warnings = warnings;
    va_start(args, fmt);
    len = vasprintf(&c->warnings[c->warning_count], fmt, args);
    va_end(args);
    if (len < 0) {
        return no_memory(l);
    }
    c->warning_count++;
    return MCP_OK;
}

static int set_item(struct config_load *l, enum config_item_id id, void *owner, const char *text,
                    const char *key)
{
    bool exposed = false;
    struct err why;
    const char *dir = key[0] == '-' ? NULL : l->dir;

    if (config_item_set(&config_items[id], owner, text, dir, &exposed, &why) != MCP_OK) {
        return why.code == MCP_ENOMEM ? no_memory(l) : config_fail(l, key, "%s", why.text);
    }
    return exposed ? warn(l, "%s: other users can read '%s'; chmod 600 it", key, text) : MCP_OK;
}

/* --- defaults, file, command line ------------------------------------------------------------- */

int config_set_values(struct config_load *l, const char *section, char *const *values, void *owner,
                      const char *prefix)
{
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        const struct config_item *item = &config_items[i];
        bool here =
            !config_item_is_list(item) &&
            (section == NULL ? config_item_is_single(item) : strcmp(item->section, section) == 0);
        char key[2 * CONFIG_KEY_MAX];

        if (!here || values[i] == NULL) {
            continue;
        }
        (void)snprintf(key, sizeof(key), "%s.%s", section == NULL ? item->section : prefix,
                       item->key);
        if (set_item(l, (enum config_item_id)i, owner, values[i], key) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    return MCP_OK;
}

int config_set_defaults(struct config_load *l, const char *section, void *owner)
{
    char *values[CONFIG_ITEM_COUNT] = {0};
    int rc = MCP_OK;

    for (size_t i = 0; i < CONFIG_ITEM_COUNT && rc == MCP_OK; i++) {
        if (config_items[i].initial != NULL) {
            values[i] = config_copy(l, config_items[i].initial);
            rc = values[i] == NULL ? MCP_ENOMEM : MCP_OK;
        }
    }
    if (rc == MCP_OK) {
        rc = config_set_values(l, section, values, owner, "");
    }
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        free(values[i]);
    }
    return rc;
}

static int set_headers(struct config_load *l, struct config_node *node,
                       const struct config_yaml_entry *from, const char *prefix)
{
    node->headers = config_alloc(l, from->header_count, sizeof(*node->headers));
    if (node->headers == NULL) {
        return MCP_ENOMEM;
    }
    for (unsigned i = 0; i < from->header_count; i++) {
        struct config_header *h = &node->headers[node->header_count++];
        char key[CONFIG_KEY_MAX];

        (void)snprintf(key, sizeof(key), "%s.headers[%u]", prefix, i);
        if (config_set_values(l, "headers", from->headers[i].value, h, key) != MCP_OK) {
            return MCP_EARGUMENT;
        }
        if (h->name == NULL || h->value == NULL) {
            return config_fail(l, key, "expected a name and a value");
        }
        if (node->api_key != NULL && strcasecmp(h->name, "Authorization") == 0) {
            return config_fail(l, key, "api_key_file sets this header already");
        }
    }
    return MCP_OK;
}

static int set_resident(struct config_load *l, struct config_node *node,
                        const struct config_yaml_entry *from, const char *prefix)
{
    char *const *names = config_yaml_list(from, CONFIG_ITEM_NODE_RESIDENT);
    size_t count = from->count[CONFIG_ITEM_NODE_RESIDENT];

    if (count == 0) {
        return MCP_OK;
    }
    node->resident = config_alloc(l, count, sizeof(char *));
    for (size_t i = 0; node->resident != NULL && i < count; i++) {
        char key[CONFIG_KEY_MAX];

        if (names[i][0] == '\0') {
            (void)snprintf(key, sizeof(key), "%s.resident[%zu]", prefix, i);
            return config_fail(l, key, "expected the name of a model");
        }
        node->resident[i] = config_copy(l, names[i]);
        if (node->resident[i] == NULL) {
            return MCP_ENOMEM;
        }
        node->resident_count++;
    }
    return node->resident == NULL ? MCP_ENOMEM : MCP_OK;
}

static int set_trusted(struct config_load *l, const struct config_yaml_values *values)
{
    char *const *list = (char *const *)(const void *)values->value[CONFIG_ITEM_TRUSTED_PROXIES];
    unsigned count = values->count[CONFIG_ITEM_TRUSTED_PROXIES];

    for (unsigned i = 0; i < count; i++) {
        char key[CONFIG_KEY_MAX];
        struct err why;
        int rc = trust_add(&l->c->trusted, slice_str(list[i]), &why);

        if (rc != MCP_OK) {
            (void)snprintf(key, sizeof(key), "trusted_proxies[%u]", i);
            return rc == MCP_ENOMEM ? no_memory(l) : config_fail(l, key, "%s", why.text);
        }
    }
    return trust_has_all(&l->c->trusted)
               ? warn(l, "trusted_proxies: anybody can say to be anybody; name the proxies alone")
               : MCP_OK;
}

static int add_node(struct config_load *l, const struct config_yaml_entry *from, const char *prefix)
{
    struct config_node *node = &l->c->nodes[l->c->node_count++];
    int rc;

    if (from->value[CONFIG_ITEM_NODE_API_KEY] != NULL &&
        from->value[CONFIG_ITEM_NODE_API_KEY_FILE] != NULL) {
        return config_fail(l, prefix, "expected api_key or api_key_file, not both");
    }
    if (config_set_values(l, "nodes", from->value, node, prefix) != MCP_OK) {
        return MCP_EARGUMENT;
    }
    if (node->url == NULL) {
        return config_fail(l, prefix, "the key 'url' is missing");
    }
    rc = set_resident(l, node, from, prefix);
    if (rc != MCP_OK || from->header_count == 0) {
        return rc;
    }
    return set_headers(l, node, from, prefix);
}

static int add_file_nodes(struct config_load *l, const struct config_yaml_values *values)
{
    char prefix[CONFIG_KEY_MAX];

    if (config_yaml_has(l->yaml, "node")) {
        if (values->node_count > 0) {
            return config_fail(l, "nodes", "expected node or nodes, not both");
        }
        l->c->nodes = config_alloc(l, 1, sizeof(*l->c->nodes));
        return l->c->nodes == NULL ? MCP_ENOMEM : add_node(l, &values->node, "node");
    }
    if (values->node_count == 0) {
        return MCP_OK;
    }
    l->c->nodes = config_alloc(l, values->node_count, sizeof(*l->c->nodes));
    if (l->c->nodes == NULL) {
        return MCP_ENOMEM;
    }
    for (unsigned i = 0; i < values->node_count; i++) {
        (void)snprintf(prefix, sizeof(prefix), "nodes[%u]", i);
        if (add_node(l, &values->nodes[i], prefix) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    return MCP_OK;
}

static int add_keys(struct config_load *l, const struct config_yaml_values *values)
{
    if (values->key_count == 0) {
        return MCP_OK;
    }
    l->c->keys = config_alloc(l, values->key_count, sizeof(*l->c->keys));
    if (l->c->keys == NULL) {
        return MCP_ENOMEM;
    }
    for (unsigned i = 0; i < values->key_count; i++) {
        char *const *value = values->keys[i].value;
        struct config_key *k = &l->c->keys[l->c->key_count++];
        char prefix[CONFIG_KEY_MAX];

        (void)snprintf(prefix, sizeof(prefix), "keys[%u]", i);
        if (value[CONFIG_ITEM_KEY_KEY] != NULL && value[CONFIG_ITEM_KEY_KEY_FILE] != NULL) {
            return config_fail(l, prefix, "expected key or key_file, not both");
        }
        if (config_set_defaults(l, "keys", k) != MCP_OK ||
            config_set_values(l, "keys", value, k, prefix) != MCP_OK) {
            return MCP_EARGUMENT;
        }
        if (k->name == NULL || k->key == NULL) {
            return config_fail(l, prefix, "expected a name, and key or key_file");
        }
        for (struct config_key *other = l->c->keys; other < k; other++) {
            if (strcmp(other->name, k->name) == 0 || strcmp(other->key, k->key) == 0) {
                return config_fail(l, prefix, "has the %s of keys[%zu]",
                                   strcmp(other->name, k->name) == 0 ? "name" : "key",
                                   (size_t)(other - l->c->keys));
            }
        }
    }
    return MCP_OK;
}

/* A key may stand in the file itself. */
static int warn_of_exposed_file(struct config_load *l, const struct config_yaml_values *values)
{
    bool secret = false;
    struct stat st;

    for (unsigned i = 0; i < values->node_count; i++) {
        secret = secret || values->nodes[i].value[CONFIG_ITEM_NODE_API_KEY] != NULL;
    }
    for (unsigned i = 0; i < values->key_count; i++) {
        secret = secret || values->keys[i].value[CONFIG_ITEM_KEY_KEY] != NULL;
    }
    if (secret && stat(l->args->path, &st) == 0 && S_ISREG(st.st_mode) &&
        (st.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        return warn(l, "keys: other users can read '%s', which holds a key; chmod 600 it",
                    l->args->path);
    }
    return MCP_OK;
}

static int set_from_file(struct config_load *l)
{
    const struct config_yaml_values *values = config_yaml_values(l->yaml);
    int rc = config_set_values(l, NULL, values->value, l->c, "");

    if (rc == MCP_OK) {
        rc = set_trusted(l, values);
    }
    if (rc == MCP_OK && l->args->node_count == 0) {
        rc = add_file_nodes(l, values);
    }
    if (rc == MCP_OK) {
        rc = add_keys(l, values);
    }
    if (rc == MCP_OK) {
        rc = config_add_routes(l, values);
    }
    return rc == MCP_OK ? warn_of_exposed_file(l, values) : rc;
}

/* --- the file of further nodes ---------------------------------------------------------------- */

struct config_stamp config_stamp_of(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0) {
        return (struct config_stamp){0};
    }
    return (struct config_stamp){.is_there = true,
                                 .inode = st.st_ino,
                                 .bytes = (uint64_t)st.st_size,
                                 .changed_s = st.st_mtim.tv_sec,
                                 .changed_ns = st.st_mtim.tv_nsec};
}

bool config_stamp_same(const struct config_stamp *a, const struct config_stamp *b)
{
    return a->is_there == b->is_there && a->inode == b->inode && a->bytes == b->bytes &&
           a->changed_s == b->changed_s && a->changed_ns == b->changed_ns;
}

/* It has nodes and nothing else. */
static int check_only_nodes(const struct config_load *l, const struct config_yaml_values *values)
{
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        if (values->value[i] != NULL) {
            return config_fail(l, config_items[i].section, "expected nodes alone in this file");
        }
    }
    if (config_yaml_has(l->yaml, "node") || values->key_count > 0) {
        return config_fail(l, values->key_count > 0 ? "keys" : "node",
                           "expected nodes alone in this file");
    }
    return MCP_OK;
}

static int append_nodes(struct config_load *l, const struct config_yaml_values *values)
{
    size_t count = l->c->node_count + values->node_count;
    struct config_node *more = config_alloc(l, count + 1, sizeof(*more));
    int rc = more == NULL ? MCP_ENOMEM : MCP_OK;

    if (more != NULL && l->c->node_count > 0) {
        memcpy(more, l->c->nodes, l->c->node_count * sizeof(*more));
    }
    if (more != NULL) {
        free(l->c->nodes);
        l->c->nodes = more;
    }
    for (unsigned i = 0; rc == MCP_OK && i < values->node_count; i++) {
        char prefix[CONFIG_KEY_MAX];

        (void)snprintf(prefix, sizeof(prefix), "nodes[%u]", i);
        rc = add_node(l, &values->nodes[i], prefix);
    }
    return rc;
}

/* A file that is not there yet has none. */
static int add_discovered(struct config_load *l)
{
    struct config_yaml *own = l->yaml;
    int rc;

    if (l->c->nodes_file == NULL || l->args->node_count > 0) {
        return MCP_OK;
    }
    l->c->nodes_stamp = config_stamp_of(l->c->nodes_file);
    if (!l->c->nodes_stamp.is_there) {
        return warn(l, "discovery.file: '%s' is not there", l->c->nodes_file);
    }
    l->yaml = config_yaml_load(l->c->nodes_file, l->e);
    rc = l->yaml == NULL ? l->e->code : check_only_nodes(l, config_yaml_values(l->yaml));
    if (rc == MCP_OK) {
        rc = append_nodes(l, config_yaml_values(l->yaml));
    }
    config_yaml_free(&l->yaml);
    l->yaml = own;
    return rc;
}

static int set_from_args(struct config_load *l)
{
    static const char *const first[] = {"http://127.0.0.1:11434"};
    const struct {
        enum config_item_id item;
        const char *text;
        const char *option;
    } others[] = {
        {CONFIG_ITEM_LOG_ACCESS, l->args->access_log, "--access-log"},
        {CONFIG_ITEM_REACTOR_MODE, l->args->mode, "--mode"},
        {CONFIG_ITEM_REACTOR_COUNT, l->args->reactors, "--reactors"},
        {CONFIG_ITEM_REACTOR_BACKEND, l->args->backend, "--backend"},
    };
    const char *const *urls = l->args->node_urls;
    size_t count = l->args->node_count;

    for (size_t i = 0; i < CONFIG_LISTEN_COUNT; i++) {
        if (config_listen_arg(l->args, i) != NULL &&
            set_item(l, config_listens[i].item, l->c, config_listen_arg(l->args, i),
                     config_listens[i].option) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (others[i].text != NULL &&
            set_item(l, others[i].item, l->c, others[i].text, others[i].option) != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    l->c->insecure = l->args->insecure;
    if (count == 0 && l->c->node_count == 0 && l->c->nodes_file == NULL) {
        urls = first;
        count = 1;
    }
    if (count > 0) {
        l->c->nodes = config_alloc(l, count, sizeof(*l->c->nodes));
        if (l->c->nodes == NULL) {
            return MCP_ENOMEM;
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct config_node *node = &l->c->nodes[l->c->node_count++];

        if (set_item(l, CONFIG_ITEM_NODE_URL, node, urls[i], "--node") != MCP_OK) {
            return MCP_EARGUMENT;
        }
    }
    return MCP_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static int load_file(struct config_load *l)
{
    const char *path = l->args->path;
    const char *slash = strrchr(path, '/');

    if (slash != NULL) {
        l->dir = slice_dup(slice_of(path, (size_t)(slash - path)));
        if (l->dir == NULL) {
            return no_memory(l);
        }
    }
    l->yaml = config_yaml_load(path, l->e);
    return l->yaml == NULL ? MCP_EARGUMENT : set_from_file(l);
}

struct config *config_load(const struct config_args *args, struct err *e)
{
    struct config_load l = {.args = args, .e = e};
    int rc;

    l.c = config_alloc(&l, 1, sizeof(*l.c));
    if (l.c == NULL) {
        return NULL;
    }
    l.c->users = 1;
    rc = config_set_defaults(&l, NULL, l.c);
    if (rc == MCP_OK && args->path != NULL) {
        rc = load_file(&l);
    }
    if (rc == MCP_OK) {
        rc = add_discovered(&l);
    }
    if (rc == MCP_OK) {
        rc = set_from_args(&l);
    }
    if (rc == MCP_OK) {
        rc = config_check(&l);
    }
    config_yaml_free(&l.yaml);
    free(l.dir);
    if (rc != MCP_OK) {
        config_unref(&l.c);
    }
    return l.c;
}

static void free_secret(char *secret)
{
    if (secret != NULL) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

void config_node_fini(struct config_node *node)
{
    for (size_t i = 0; i < node->header_count; i++) {
        free(node->headers[i].name);
        free_secret(node->headers[i].value);
    }
    free(node->headers);
    for (size_t i = 0; i < node->resident_count; i++) {
        free(node->resident[i]);
    }
    free(node->resident);
    free(node->url);
    free(node->name);
    free_secret(node->api_key);
}

static void config_free(struct config *c)
{
    for (size_t i = 0; i < c->node_count; i++) {
        config_node_fini(&c->nodes[i]);
    }
    for (size_t i = 0; i < c->key_count; i++) {
        free(c->keys[i].name);
        free(c->keys[i].tenant);
        free_secret(c->keys[i].key);
    }
    for (size_t i = 0; i < c->warning_count; i++) {
        free(c->warnings[i]);
    }
    for (size_t i = 0; i < CONFIG_LISTEN_COUNT; i++) {
        free(*config_listen_member(c, i));
    }
    config_free_routes(c);
    trust_fini(&c->trusted);
    free(c->nodes);
    free(c->keys);
    free(c->warnings);
    free(c->access_log);
    free(c->origins);
    free(c->state_dir);
    free(c->nodes_file);
    free(c->resolver);
    free(c);
}

struct config *config_ref(struct config *c)
{
    (void)atomic_fetch_add_explicit(&c->users, 1, memory_order_relaxed);
    return c;
}

void config_unref(struct config **pc)
{
    struct config *c = *pc;

    *pc = NULL;
    if (c != NULL && atomic_fetch_sub_explicit(&c->users, 1, memory_order_acq_rel) == 1) {
        config_free(c);
    }
}
