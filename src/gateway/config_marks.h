/* SPDX-License-Identifier: Apache-2.0 */
/* What stands where in a YAML text: the events of libyaml, each with its line and the path of what
 * it is about ("nodes[1].url"). Owned by who read them. */
#ifndef MCP_GATEWAY_CONFIG_MARKS_H
#define MCP_GATEWAY_CONFIG_MARKS_H

#include <stddef.h>
#include <yaml.h>

#include "base/err.h"
#include "base/slice.h"

struct config_mark {
    size_t line; /* of its first character; for an end, of the beginning */
    yaml_event_type_t type;
    size_t parent_len; /* so much of the path names what it lies in */
    char *path;
};

struct config_marks {
    struct config_mark *marks; /* one for each event, in order */
    size_t count;
};

/* Reads `text`, which `name` shows in errors, into `m` (zeroed before). Refused, with the line:
 * what is no YAML, more than one document, aliases, zero bytes, keys that are no plain text, deep
 * nesting. `m` needs config_marks_fini in any case. */
int config_marks_read(struct config_marks *m, const char *name, struct slice text, struct err *e);
void config_marks_fini(struct config_marks *m);

/* Where `path` (of `len` bytes, not 0) first stands: its key, or else its value. NULL: nowhere. */
const struct config_mark *config_marks_find(const struct config_marks *m, const char *path,
                                            size_t len);

#endif
