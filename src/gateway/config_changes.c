/* SPDX-License-Identifier: Apache-2.0 */
/* In which keys two configurations differ. */
#include <string.h>

#include "gateway/config.h"
#include "gateway/config_item.h"
#include "gateway/config_load.h"

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_headers(const struct config_node *a, const struct config_node *b)
{
    for (size_t i = 0; i < a->header_count; i++) {
        if (i >= b->header_count || !same_text(a->headers[i].name, b->headers[i].name) ||
            !same_text(a->headers[i].value, b->headers[i].value)) {
            return false;
        }
    }
    return a->header_count == b->header_count;
}

static bool same_texts(char *const *a, size_t a_count, char *const *b, size_t b_count)
{
    for (size_t i = 0; i < a_count && i < b_count; i++) {
        if (strcmp(a[i], b[i]) != 0) {
            return false;
        }
    }
    return a_count == b_count;
}

static bool same_nodes(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->node_count && i < b->node_count; i++) {
        const struct config_node *x = &a->nodes[i];
        const struct config_node *y = &b->nodes[i];

        if (!same_text(x->url, y->url) || x->kind != y->kind || !same_text(x->name, y->name) ||
            !same_text(x->api_key, y->api_key) || x->slots != y->slots ||
            x->memory_bytes != y->memory_bytes ||
            !same_texts(x->resident, x->resident_count, y->resident, y->resident_count) ||
            !same_headers(x, y)) {
            return false;
        }
    }
    return a->node_count == b->node_count;
}

static bool same_keys(const struct config *a, const struct config *b)
{
    for (size_t i = 0; i < a->key_count && i < b->key_count; i++) {
        const struct config_key *x = &a->keys[i];
        const struct config_key *y = &b->keys[i];

        if (!same_text(x->name, y->name) || !same_text(x->key, y->key) ||
            !same_text(x->tenant, y->tenant) || x->weight != y->weight || x->class != y->class ||
            x->max_priority != y->max_priority || x->rate_per_min != y->rate_per_min) {
            return false;
        }
    }
    return a->key_count == b->key_count;
}

static bool same_value(const struct config_item *item, const struct config *a,
                       const struct config *b)
{
    const void *x = (const char *)a + item->offset;
    const void *y = (const char *)b + item->offset;

    switch (item->type) {
    case CONFIG_TYPE_FLAG:
        return *(const bool *)x == *(const bool *)y;
    case CONFIG_TYPE_COUNT:
    case CONFIG_TYPE_SLOTS:
    case CONFIG_TYPE_SIZE:
    case CONFIG_TYPE_TIME:
        return *(const uint64_t *)x == *(const uint64_t *)y;
    case CONFIG_TYPE_BACKEND:
    case CONFIG_TYPE_BATCH:
    case CONFIG_TYPE_SHARE:
    case CONFIG_TYPE_CLASS:
    case CONFIG_TYPE_KIND:
    case CONFIG_TYPE_LEVEL:
    case CONFIG_TYPE_MODE:
    case CONFIG_TYPE_QUEUE:
    case CONFIG_TYPE_STICKY:
    case CONFIG_TYPE_TIMING:
        return *(const unsigned *)x == *(const unsigned *)y; /* all are enums, as config_item.c */
    case CONFIG_TYPE_NETWORKS:
        return trust_same(x, y);
    default:
        return same_text(*(char *const *)x, *(char *const *)y);
    }
}

/* What listeners, threads and their memory were made from. */
static bool is_at_start(const struct config_item *item)
{
    return item->type == CONFIG_TYPE_ADDRESS || strcmp(item->section, "reactor") == 0 ||
           item == &config_items[CONFIG_ITEM_TRACE_REQUESTS] ||
           item == &config_items[CONFIG_ITEM_STATE_DIR];
}

static void append_name(struct buf *names, const char *section, const char *key)
{
    buf_printf(names, "%s%s%s%s", buf_len(names) == 0 ? "" : ",", section, key[0] == 0 ? "" : ".",
               key);
}

bool config_changes(const struct config *a, const struct config *b, bool at_start,
                    struct buf *names)
{
    if (!at_start && !same_nodes(a, b)) {
        append_name(names, "nodes", "");
    }
    if (!at_start && !same_keys(a, b)) {
        append_name(names, "keys", "");
    }
    if (!at_start && !config_same_routes(a, b)) {
        append_name(names, "routes", "");
    }
    if (!at_start && !config_same_models(a, b)) {
        append_name(names, "models", "");
    }
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        const struct config_item *item = &config_items[i];

        if (config_item_is_single(item) && is_at_start(item) == at_start &&
            !same_value(item, a, b)) {
            append_name(names, item->section, item->key);
        }
    }
    return !buf_failed(names);
}
