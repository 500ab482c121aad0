/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the configuration (config.def) as a table, and how the text of one becomes a value.
 * Constant data and pure functions, but for the secrets that are read from files. */
#ifndef MCP_GATEWAY_CONFIG_ITEM_H
#define MCP_GATEWAY_CONFIG_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum config_type {
    CONFIG_TYPE_ADDRESS,      /* char *; NULL for "off" */
    CONFIG_TYPE_BACKEND,      /* enum loop_backend */
    CONFIG_TYPE_BATCH,        /* enum config_batch */
    CONFIG_TYPE_CLASS,        /* enum priority */
    CONFIG_TYPE_COUNT,        /* uint64_t */
    CONFIG_TYPE_FLAG,         /* bool */
    CONFIG_TYPE_HEADER_NAME,  /* char * */
    CONFIG_TYPE_HEADER_VALUE, /* char * */
    CONFIG_TYPE_KIND,         /* enum config_kind */
    CONFIG_TYPE_LEVEL,        /* enum log_level */
    CONFIG_TYPE_LOG,          /* char *; NULL for "stderr" */
    CONFIG_TYPE_MODE,         /* enum config_mode */
    CONFIG_TYPE_MODELS,       /* char **, and how many in the member behind it */
    CONFIG_TYPE_MODEL,        /* char * */
    CONFIG_TYPE_NAME,         /* char * */
    CONFIG_TYPE_NETWORKS,     /* struct trust */
    CONFIG_TYPE_OPTION,       /* char *, JSON */
    CONFIG_TYPE_ORIGINS,      /* char * */
    CONFIG_TYPE_PATH,         /* char * */
    CONFIG_TYPE_QUEUE,        /* enum config_queue */
    CONFIG_TYPE_RESOLVER,     /* char * */
    CONFIG_TYPE_SECRET,       /* char * */
    CONFIG_TYPE_SECRET_FILE,  /* char *, what the file holds */
    CONFIG_TYPE_SHARE,        /* enum config_share */
    CONFIG_TYPE_SIZE,         /* uint64_t, bytes */
    CONFIG_TYPE_SLOTS,        /* int64_t, see CONFIG_SLOTS_ */
    CONFIG_TYPE_STICKY,       /* enum config_sticky */
    CONFIG_TYPE_TIME,         /* uint64_t, milliseconds */
    CONFIG_TYPE_TIMING,       /* enum config_timing */
    CONFIG_TYPE_URL,          /* char * */
};

enum config_item_id {
#define CONFIG_ITEM(id, section, key, type, initial, least, most, structure, member, help)         \
    CONFIG_ITEM_##id,
#include "gateway/config.def"
#undef CONFIG_ITEM
    CONFIG_ITEM_COUNT
};

struct config_item {
    const char *section;
    const char *key;
    enum config_type type;
    const char *initial; /* NULL: none */
    uint64_t least;
    uint64_t most;
    size_t offset; /* of the member in its structure */
    const char *help;
};

extern const struct config_item config_items[CONFIG_ITEM_COUNT];

/* Sets the member of `owner` that `item` describes from its text, freeing what it held. Relative
 * names of files start at `dir` (NULL: as they are). 0, or MCP_EARGUMENT with the text that is
 * wrong and what was expected, or MCP_ENOMEM. `*exposed` is set where other users may read a file
 * of secrets. */
int config_item_set(const struct config_item *item, void *owner, const char *text, const char *dir,
                    bool *exposed, struct err *e);

/* Its value is a list of texts, not a text: for config.c to put together. */
bool config_item_is_list(const struct config_item *item);
/* "section.key", or the section alone where it has no keys. */
void config_item_name(const struct config_item *item, char *out, size_t cap);
/* A member of struct config itself: not of an entry of one of its lists. */
bool config_item_is_single(const struct config_item *item);

enum { CONFIG_EXPECTED_MAX = 192 };
/* What a value of the item looks like: "a time such as 500ms, 30s or 10m, from 10ms to 24h". */
void config_item_expected(const struct config_item *item, char out[CONFIG_EXPECTED_MAX]);

#endif
