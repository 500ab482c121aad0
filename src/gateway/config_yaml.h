/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file as text values with their lines: structure and keys checked, values not.
 * Keys are named by path: "limits.max_body", "nodes[1].headers[0].name". */
#ifndef MCP_GATEWAY_CONFIG_YAML_H
#define MCP_GATEWAY_CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "gateway/config_item.h"

/* Values are indexed by enum config_item_id; NULL: not given. Only those of the
 * own section. Those that are lists are config_yaml_list's. */
struct config_yaml_entry {
    char *value[CONFIG_ITEM_COUNT];
    unsigned count[CONFIG_ITEM_COUNT]; /* of those that are lists; right behind
                                          the values */
    struct config_yaml_entry *headers; /* of a node */
    unsigned header_count;
    struct config_yaml_entry *arms; /* of a route */
    unsigned arm_count;
};

struct config_yaml_values {
    char *value[CONFIG_ITEM_COUNT];
    unsigned count[CONFIG_ITEM_COUNT];
    struct config_yaml_entry node; /* `node:` */
    struct config_yaml_entry *nodes;
    unsigned node_count;
    struct config_yaml_entry *keys;
    unsigned key_count;
    /* Mappings whose keys are names, in the order of the file. */
    struct config_yaml_entry *routes;
    struct config_yaml_entry *models;
};

/* The texts of a value that is a list. */
static inline char *const *config_yaml_list(const struct config_yaml_entry *e,
                                            enum config_item_id item)
{
    return (char *const *)(const void *)e->value[item];
}

struct config_yaml;

/* NULL with an error that begins "FILE:LINE: " or "FILE: ". */
struct config_yaml *config_yaml_load(const char *path, struct err *e);
void config_yaml_free(struct config_yaml **y);

/* The names in "routes" or "models". */
size_t config_yaml_names(const struct config_yaml *y, const char *key, const char *const **names);

const struct config_yaml_values *config_yaml_values(const struct config_yaml *y);
/* Whether the file gives the key itself. */
bool config_yaml_has(const struct config_yaml *y, const char *key);
/* "FILE:LINE: " of the key, or of the nearest thing around it that is given. */
void config_yaml_locate(const struct config_yaml *y, const char *key, char *out, size_t cap);

#endif
