/* SPDX-License-Identifier: Apache-2.0 */
/* Other gateways' configurations as one of ours. Pure: text in, text out; one thread. */
#ifndef MCP_IMPORT_IMPORT_H
#define MCP_IMPORT_IMPORT_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum import_kind {
    IMPORT_UNKNOWN, /* found out by its keys */
    IMPORT_OLLA,
    IMPORT_LLAMA_SWAP,
    IMPORT_LITELLM,
    IMPORT_NGINX,
    IMPORT_KINDS
};

/* "olla", "llama-swap", "litellm", "nginx". */
const char *import_kind_name(enum import_kind kind);
/* IMPORT_UNKNOWN: there is none of that name. */
enum import_kind import_kind_find(const char *name);

/* Appends to `out` a configuration of ours (YAML) that does what `text` does. What could not be
 * carried over stands at its end as comments, one for each setting with its line and, where there
 * is more to say, what to do instead; `*lost` is how many. `from` names the file. `*kind` is set
 * where it was unknown. MCP_EARGUMENT with line and what is wrong; MCP_ENOMEM. */
int import_convert(struct slice text, const char *from, enum import_kind *kind, struct buf *out,
                   size_t *lost, struct err *e);

#endif
