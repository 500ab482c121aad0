/* SPDX-License-Identifier: Apache-2.0 */
#include "farm/search.h"

#include "base/check.h"

enum { STEP_OF = 8 };

void farm_search_begin(struct farm_search *s, size_t first, size_t most)
{
    ASSERT(first >= 1 && first <= most);
    *s = (struct farm_search){.most = most, .next = first};
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool farm_search_next(struct farm_search *s, size_t *next)
{
    *next = s->next;
    return s->next != 0;
}

static void decide(struct farm_search *s)
{
    if (s->high == 0) {
        size_t more = s->uneven ? s->low + s->low / STEP_OF + 1 : 2 * s->low;

        s->next = s->low == s->most ? 0 : lesser(more, s->most);
    } else if (s->high - s->low > 1) {
        s->next = s->low + (s->high - s->low) / 2;
    } else {
        s->next = s->confirmed || s->high == s->most ? 0 : s->high + 1;
    }
}

void farm_search_tell(struct farm_search *s, bool will_do)
{
    if (s->high != 0 && s->next > s->high) { /* the one more */
        s->confirmed = will_do;
        s->uneven = s->uneven || !will_do;
        s->low = will_do ? s->low : s->next;
        s->high = will_do ? s->high : 0;
    } else if (will_do) {
        s->confirmed = s->high == s->next + 1; /* which will do, as was seen */
        s->high = s->next;
    } else {
        s->low = s->next;
    }
    decide(s);
}
