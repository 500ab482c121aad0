/* SPDX-License-Identifier: Apache-2.0 */
/* Which prompts a node has computed: hashes of their beginnings in a table of a fixed size, a cache
 * line for each hash to be in, in which the least recently used makes room. */
#include <stdlib.h>

#include "base/hash.h"
#include "farm/farm_internal.h"

enum { WAYS = 4, LINE_BYTES = 64 };

struct known {
    uint64_t hash;
    uint64_t used; /* 0: the place is free */
};

struct prompt_line {
    struct known ways[WAYS];
};

void prompts_init(struct node *n)
{
    uint32_t lines = 1;

    if (n->spec.prompts == 0) {
        return;
    }
    while (lines < (n->spec.prompts + WAYS - 1) / WAYS) {
        lines *= 2;
    }
    n->known = xcalloc(lines, sizeof(*n->known));
    n->known_mask = lines - 1;
}

void prompts_fini(struct node *n)
{
    free(n->known);
}

/* False: it was not known. */
static bool use(struct node *n, uint64_t hash, bool add)
{
    struct known *ways = n->known[hash & n->known_mask].ways, *oldest = &ways[0];

    for (int i = 0; i < WAYS; i++) {
        if (ways[i].hash == hash && ways[i].used > 0) {
            ways[i].used = ++n->noted;
            return true;
        }
        oldest = ways[i].used < oldest->used ? &ways[i] : oldest;
    }
    if (add) {
        *oldest = (struct known){hash, ++n->noted};
    }
    return false;
}

static uint32_t tokens_of(const struct farm_request *q, size_t depth)
{
    uint32_t tokens = depth == 0 ? 0 : q->prefix_tokens[depth - 1];

    if (depth > 0 && tokens == 0) { /* nobody knows: pieces of the same length */
        tokens = (uint32_t)((uint64_t)q->prompt_tokens * depth / q->prefix_count);
    }
    return tokens < q->prompt_tokens ? tokens : q->prompt_tokens;
}

uint32_t prompts_note(struct node *n, const struct farm_request *q, uint32_t loaded)
{
    uint64_t salt = hash_number(0, ((uint64_t)q->model << 32) + loaded + 1);
    size_t depth = q->prefix_count;

    if (n->known == NULL) {
        return 0;
    }
    while (depth > 0 && !use(n, hash_number(0, q->prefix[depth - 1] ^ salt), false)) {
        depth--;
    }
    for (size_t i = depth; i < q->prefix_count; i++) {
        (void)use(n, hash_number(0, q->prefix[i] ^ salt), true);
    }
    return tokens_of(q, depth);
}
