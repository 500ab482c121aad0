/* SPDX-License-Identifier: Apache-2.0 */
/* The least number that will do, where more will do too: doubled or halved until one does and one
 * does not, then bisected. In the end one more is tried: where that will not do after all, it was
 * luck, and the search goes on above it. Pure. */
#ifndef MCP_FARM_SEARCH_H
#define MCP_FARM_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

struct farm_search {
    size_t most;
    size_t low;  /* will not do; 0 */
    size_t high; /* will do; 0: not known */
    size_t next; /* to try */
    bool confirmed, uneven;
};

/* `first` is a guess from 1 to `most`. */
void farm_search_begin(struct farm_search *s, size_t first, size_t most);
/* False: it is over, and `high` is the answer (0: `most` will not do); else try `next`. */
bool farm_search_next(struct farm_search *s, size_t *next);
/* Of `next`. */
void farm_search_tell(struct farm_search *s, bool will_do);

#endif
