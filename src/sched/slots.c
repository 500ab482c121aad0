/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests a runner gets at once, where nobody has said: found out from how long answers
 * take to begin. A request that the node has no slot for waits within the node; so with `limit` of
 * them there, of which each takes `total` and waits `wait` of it, limit * (1 - wait / total) are
 * served (Little's law). Without waiting the limit grows: twofold at first, later by one now and
 * then, to see whether there is more. Only answers count that began when the runner was full, and
 * under the present limit. */
#include "sched/sched_internal.h"

enum { FIRST_LIMIT = 4, MOST = 1024, LEAST_SAMPLES = 8, WINDOWS_TO_PROBE = 4, ALONE_OF = 4 };

static const double NO_WAIT = 0.08;    /* of the total: less is noise */
static const double BASE_DRIFT = 0.05; /* per window */

uint32_t slots_of(const struct runner *r)
{
    if (r->node->slots != SCHED_SLOTS_AUTO) {
        return r->node->slots;
    }
    return r->limit == 0 ? FIRST_LIMIT : r->limit;
}

void slots_granted(const struct runner *r, struct job *j)
{
    j->limit_epoch = r->limit_epoch;
    j->full = r->node->slots == SCHED_SLOTS_AUTO && r->running >= slots_of(r);
    j->alone = r->running == 1;
}

/* Long prompts take longer to begin: as if all were of the usual length. */
static double first_us_of(const struct job *j, const struct sched_outcome *o)
{
    double usual = j->account->model->prompt_tokens;
    double scale = usual < 1 ? 1 : 2 * usual / (usual + (double)j->prompt_tokens);

    return (double)o->first_us * scale;
}

static void set_limit(struct runner *r, double limit)
{
    uint32_t next = limit < 1 ? 1 : limit > MOST ? MOST : (uint32_t)(limit + 0.5);

    if (next != r->limit) {
        r->limit = next;
        r->limit_epoch++;
    }
}

static void end_window(struct runner *r)
{
    double first_us = r->first_us / r->samples, total_us = r->total_us / r->samples;
    double waits;

    if (r->base_us == 0 || first_us < r->base_us) {
        r->base_us = first_us;
    }
    waits = (first_us - r->base_us) / total_us;
    if (waits >= NO_WAIT) {
        r->found = true;
        r->good_windows = 0;
        set_limit(r, slots_of(r) * (1 - waits));
    } else {
        r->base_us += BASE_DRIFT * (first_us - r->base_us);
        r->good_windows++;
        if (!r->found) {
            set_limit(r, 2.0 * slots_of(r));
        } else if (r->good_windows % WINDOWS_TO_PROBE == 0) {
            set_limit(r, slots_of(r) + 1.0);
        }
    }
    r->samples = 0;
    r->first_us = r->total_us = 0;
}

void slots_done(struct runner *r, const struct job *j, const struct sched_outcome *o,
                uint64_t now_us)
{
    double first_us = first_us_of(j, o);

    if (r->node->slots != SCHED_SLOTS_AUTO || j->loads || o->first_us == 0) {
        return;
    }
    if (j->alone) { /* it waited for nobody */
        r->base_us += (first_us - r->base_us) / (r->base_us == 0 ? 1 : ALONE_OF);
    }
    if (!j->full || j->limit_epoch != r->limit_epoch) {
        return;
    }
    r->limit = slots_of(r);
    r->first_us += first_us;
    r->total_us += (double)(now_us - j->since_us);
    r->samples++;
    if (r->samples >= LEAST_SAMPLES && r->samples >= r->limit) {
        end_window(r);
    }
}
