/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a plan share: plan.c (what it holds), plan_values.c and plan_yaml.c. */
#ifndef MCP_IMPORT_PLAN_INTERNAL_H
#define MCP_IMPORT_PLAN_INTERNAL_H

#include "import/plan.h"

/* Its key, for what is said of it. */
static inline const char *plan_name_of(const struct tree *t)
{
    return t->key == NULL ? "" : t->key;
}

/* Within one line of YAML; what cannot stand there is a question mark. */
void plan_yaml_plain(struct buf *out, const char *text, size_t len);
/* A line: `before`, the key, and the value in quotes. */
void plan_yaml_pair(struct buf *out, const char *before, const char *key, const char *value);

#endif
