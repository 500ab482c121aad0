/* SPDX-License-Identifier: Apache-2.0 */
/* What the halves of config_load share: config.c, which reads, and config_check.c. */
#ifndef MCP_GATEWAY_CONFIG_LOAD_H
#define MCP_GATEWAY_CONFIG_LOAD_H

#include "base/err.h"
#include "gateway/config.h"
#include "gateway/config_item.h"
#include "gateway/config_yaml.h"

struct config_load {
    const struct config_args *args;
    struct config_yaml *yaml; /* NULL: no file */
    char *dir;                /* of the file, for names of files in it */
    struct config *c;
    struct err *e;
};

/* The listeners: which key and which option set them. */
struct config_listen {
    enum config_item_id item;
    const char *key;
    const char *option;
};
enum { CONFIG_LISTEN_COUNT = 3, CONFIG_KEY_MAX = 160 /* a path such as keys[3].name */ };
extern const struct config_listen config_listens[CONFIG_LISTEN_COUNT];

/* What the command line gave for a listener, or NULL. */
const char *config_listen_arg(const struct config_args *args, size_t i);
/* Where its address is kept. */
char **config_listen_member(struct config *c, size_t i);

/* MCP_EARGUMENT with "FILE:LINE: KEY: TEXT", or "KEY: TEXT" where no file gave it. A `key` that
 * begins with a dash is an option. */
int config_fail(const struct config_load *l, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The values of an entry of a list, or of the whole (`section` NULL, `prefix` ""), into their
 * structure; and what they are where nothing is given. */
int config_set_values(struct config_load *l, const char *section, char *const *values, void *owner,
                      const char *prefix);
int config_set_defaults(struct config_load *l, const char *section, void *owner);

/* Routes and models (config_routes.c). */
int config_add_routes(struct config_load *l, const struct config_yaml_values *values);
void config_free_routes(struct config *c);
bool config_same_routes(const struct config *a, const struct config *b);
bool config_same_models(const struct config *a, const struct config *b);

/* calloc, and a copy of a text; NULL is MCP_ENOMEM in `l->e`. */
void *config_alloc(const struct config_load *l, size_t count, size_t size);
char *config_copy(const struct config_load *l, const char *text);

/* The rules that concern several values; also names the nodes that have no name. */
int config_check(const struct config_load *l);

#endif
