/* SPDX-License-Identifier: Apache-2.0 */
/* The converters: each takes what it understands of a tree and sets it in the plan. */
#ifndef MCP_IMPORT_CONVERT_H
#define MCP_IMPORT_CONVERT_H

#include "import/plan.h"
#include "import/tree.h"

/* Why a setting is not carried over, by the key at the end of its path, or by its section's. */
struct import_why {
    const char *key;
    const char *text;
};

void olla_convert(const struct tree *root, struct plan *p);
void llama_swap_convert(const struct tree *root, struct plan *p);
void litellm_convert(const struct tree *root, struct plan *p);
void nginx_convert(const struct tree *root, struct plan *p);

/* Each ends with a key of NULL. */
extern const struct import_why olla_whys[];
extern const struct import_why llama_swap_whys[];
extern const struct import_why litellm_whys[];
extern const struct import_why nginx_whys[];

#endif
