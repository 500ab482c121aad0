/* SPDX-License-Identifier: Apache-2.0 */
/* What is in the memory of nodes that load and unload models, and when one more is loaded; evict.c
 * says what goes for it.
 *
 * A load may begin at once where nothing that served in the last min_resident is known to go. Else
 * the line waits; when its first has waited for nearly max_load_wait it claims a node: those that
 * would be evicted get nothing new, and it loads when they are idle, or when max_load_wait is over.
 * A line whose model is resident, but without a free slot, also gets a further node if nobody is
 * hurt by it. */
#include "sched/sched_internal.h"

enum {
    LOAD_US = 5 * 1000 * 1000,
    SETTLE_US = 1000 * 1000,
    NODES_LOOKED_AT = 512,
    CANDIDATES_LOOKED_AT = 64,
    LOOK_ON_US = 20 * 1000, /* where the model is nowhere */
    LOOK_FOR_MORE_US = 200 * 1000,
    LATE_PART = 100 /* of max_load_wait: timers fire late, and nobody is to wait longer */
};

/* --- claims --- */

void load_unclaim(struct sched *s, struct node *n)
{
    if (n->claimed_by == NULL) {
        return;
    }
    n->claimed_by->claim = NULL;
    n->claimed_by = NULL;
    if (!reopen_list_has(n)) {
        reopen_list_push(&s->reopen, n);
    }
}

static void reopen(struct sched *s, struct node *n, uint64_t now_us)
{
    struct runner *r;

    for (r = node_runners_first(&n->runners); r != NULL; r = node_runners_next(&n->runners, r)) {
        if (r->closed) {
            r->closed = false;
            runner_settle(s, r);
            place_fill(s, r, now_us);
        }
    }
    load_look_again(s, n, now_us);
}

static void claim(struct sched *s, struct line *line, struct runner *r)
{
    struct node *n = r->node;
    struct runner *v;

    line->claim = n;
    n->claimed_by = line;
    evict_mark(r);
    for (v = node_runners_first(&n->runners); v != NULL; v = node_runners_next(&n->runners, v)) {
        if (v->victim) {
            v->closed = true;
            runner_unsort(s, v);
        }
    }
}

/* --- loads --- */

static void evict(struct sched *s, struct runner *r, uint64_t now_us)
{
    struct line *l = line_list_first(&r->model->lines);

    r->resident = r->closed = false;
    r->options_known = false;
    r->evicted_us = now_us;
    prefix_forget(s, r);
    runner_unsort(s, r);
    for (; l != NULL; l = line_list_next(&r->model->lines, l)) {
        line_try(s, l, 0);
    }
}

/* `r` is being loaded; the caller says how, and then settles it. */
static void occupy(struct sched *s, struct runner *r, uint64_t now_us)
{
    struct node *n = r->node;
    struct runner *v;

    evict_mark(r);
    for (v = node_runners_first(&n->runners); v != NULL; v = node_runners_next(&n->runners, v)) {
        if (v->victim) {
            evict(s, v, now_us);
        }
    }
    n->loading = r;
    n->unsure = true;
    r->loading = true;
    r->evicted_us = 0;
    r->load_began_us = now_us;
    r->reported_context = 0;
    s->loads++;
}

static void begin(struct sched *s, struct line *line, struct runner *r, uint64_t now_us)
{
    occupy(s, r, now_us);
    if (line->claim != NULL) {
        load_unclaim(s, line->claim);
    }
    r->options_known = true;
    r->options = line->options;
    r->context = line->context;
    line_try(s, line, now_us + 1); /* for those that this node has no slot for */
    runner_settle(s, r);
    place_fill(s, r, now_us);
}

/* All that would like to load something on this node may look again. */
void load_look_again(struct sched *s, struct node *n, uint64_t from_us)
{
    struct runner *r = node_runners_first(&n->runners);

    for (; r != NULL; r = node_runners_next(&n->runners, r)) {
        struct line *l = line_list_first(&r->model->lines);

        for (; l != NULL; l = line_list_next(&r->model->lines, l)) {
            if (from_us < l->try_us) {
                line_try(s, l, from_us);
            }
        }
    }
}

void load_over(struct sched *s, struct runner *r, bool resident, uint64_t now_us)
{
    struct node *n = r->node;

    n->loading = NULL;
    r->loading = false;
    r->resident = resident;
    r->options_known = r->options_known && resident;
    r->used_us = now_us;
    runner_settle(s, r);
    place_fill(s, r, now_us);
    load_look_again(s, n, now_us);
}

static void load_idle(struct sched *s, struct runner *r, uint64_t now_us)
{
    struct node *n = r->node;

    if (n->claimed_by != NULL && r->closed) {
        line_try(s, n->claimed_by, now_us);
    } else if (n->wanted) {
        n->wanted = false;
        load_look_again(s, n, now_us + (evict_may_not(n) ? 0 : s->limits.min_resident_us));
    }
}

void load_took(struct model *m, uint64_t us)
{
    m->load_us = m->load_us == 0 ? us : (3 * m->load_us + us) / 4;
}

/* It is being evicted, for a load that may not even have begun when the node was asked. */
static bool leaving(const struct runner *r, uint64_t now_us)
{
    const struct runner *loading = r->node->loading;

    return r->evicted_us != 0 && (now_us - r->evicted_us < SETTLE_US ||
                                  (loading != NULL && r->evicted_us >= loading->load_began_us));
}

void load_reported(struct sched *s, struct runner *r, bool seen, uint64_t context, uint64_t now_us)
{
    bool recent = r->running > 0 || now_us - r->used_us < SETTLE_US;

    if (r->loading) {
        /* Nodes also report what they are loading; but somebody may not tell us of the end. */
        uint64_t usual_us = r->model->load_us == 0 ? LOAD_US : r->model->load_us;

        if (seen && now_us - r->load_began_us > 2 * usual_us) {
            load_over(s, r, true, now_us);
        }
        return;
    }
    if (!seen) {
        r->node->tight = r->node->tight || (r->evicted_us != 0 && !r->resident);
        if (r->resident && !recent) { /* else the node may have been asked just before */
            r->resident = false;
            prefix_forget(s, r);
        }
        return;
    }
    if (!r->resident && !leaving(r, now_us)) {
        r->resident = true;
        r->evicted_us = 0;
        r->options_known = false;
        r->context = context;
    } else if (r->reported_context != 0 && r->reported_context != context) {
        r->options_known = false; /* somebody else had it loaded anew */
        r->context = context;
    }
    r->reported_context = context;
}

/* --- whether to --- */

static bool has_home_but(const struct line *line, uint64_t avoid_node)
{
    const struct runner *r = model_runners_first(&line->model->runners);

    while (r != NULL &&
           (r->group == NULL || r->node->id == avoid_node || !line_takes(line, r->group))) {
        r = model_runners_next(&line->model->runners, r);
    }
    return r != NULL;
}

static bool has_home(const struct line *line)
{
    const struct group *g = group_list_first(&line->model->groups);

    if (line->avoid_node != 0) {
        return has_home_but(line, line->avoid_node);
    }
    while (g != NULL && !line_takes(line, g)) {
        g = group_list_next(&line->model->groups, g);
    }
    return g != NULL;
}

static bool candidate(const struct line *line, const struct runner *r)
{
    const struct node *n = r->node;

    return n->loads && node_takes(n) && r->listed && n->loading == NULL &&
           (line->speaks == 0 || (line->speaks & n->speaks) != 0) && n->id != line->avoid_node &&
           (n->claimed_by == NULL || n->claimed_by == line) &&
           (r->group == NULL || !line_takes(line, r->group));
}

struct search {
    struct runner *now, *claim; /* may load; would hurt least; NULL: none */
    struct eviction best, least;
    uint64_t from_us; /* when the first may load; SCHED_NEVER */
};

static bool nicer(const struct runner *a, const struct eviction *va, const struct runner *b,
                  const struct eviction *vb)
{
    if (b == NULL || va->used_us != vb->used_us) {
        return b == NULL || va->used_us < vb->used_us;
    }
    if (a->node->running != b->node->running) {
        return a->node->running < b->node->running;
    }
    return a->node_id < b->node_id;
}

static void consider(const struct sched *s, struct search *f, struct runner *r, uint64_t now_us)
{
    struct eviction v = evict_judge(s, r);

    f->from_us = v.from_us < f->from_us ? v.from_us : f->from_us;
    r->node->wanted = r->node->wanted || v.from_us == SCHED_NEVER;
    if (v.from_us <= now_us && nicer(r, &v, f->now, &f->best)) {
        f->now = r;
        f->best = v;
    }
    if (f->claim == NULL || v.demand < f->least.demand) {
        f->claim = r;
        f->least = v;
    }
}

/* No other could be better: nothing goes, and nothing runs there. */
static bool is_free(const struct search *f)
{
    return f->now != NULL && f->best.used_us == 0 && f->now->node->running == 0;
}

/* Where there are very many nodes, some of them; the others are looked at next time. */
static struct search look(struct sched *s, struct line *line, uint64_t now_us, uint64_t look_on_us)
{
    struct search f = {.from_us = SCHED_NEVER};
    struct model_runners *all = &line->model->runners;
    size_t left = all->count, candidates = 0;
    struct runner *r = line->claim == NULL ? NULL : runner_find(s, line->claim, line->model);

    if (r != NULL && candidate(line, r)) {
        consider(s, &f, r, now_us);
        return f;
    }
    if (left > NODES_LOOKED_AT) {
        left = NODES_LOOKED_AT;
        f.from_us = now_us + look_on_us;
    }
    for (; left > 0 && candidates < CANDIDATES_LOOKED_AT && !is_free(&f); left--) {
        r = model_runners_pop(all);
        model_runners_push(all, r);
        if (candidate(line, r)) {
            consider(s, &f, r, now_us);
            candidates++;
        }
    }
    f.from_us = left > 0 && now_us + look_on_us < f.from_us ? now_us + look_on_us : f.from_us;
    return f;
}

/* A line that is looked at now is looked at later, or not at all: never again now. */
static uint64_t later(uint64_t us, uint64_t now_us)
{
    return us > now_us ? us : now_us + 1;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The model is nowhere: it must be loaded before somebody has waited for too long. */
static void must_load(struct sched *s, struct line *line, uint64_t now_us)
{
    struct search f = look(s, line, now_us, LOOK_ON_US);
    uint64_t wait_us = s->limits.max_load_wait_us - s->limits.max_load_wait_us / LATE_PART;
    uint64_t latest_us = age_list_first(&line->jobs)->since_us + wait_us;
    uint64_t lead_us = lesser(f.least.drain_us, wait_us / 2);

    if (f.now != NULL) {
        begin(s, line, f.now, now_us);
        return;
    }
    if (f.claim == NULL) { /* until something changes */
        line_try(s, line, later(f.from_us, now_us));
        return;
    }
    if (now_us >= latest_us || (line->claim != NULL && f.least.drain_us == 0)) {
        begin(s, line, f.claim, now_us);
        return;
    }
    if (now_us + lead_us < latest_us) {
        line_try(s, line, later(lesser(f.from_us, latest_us - lead_us), now_us));
        return;
    }
    if (f.least.drain_us == 0) { /* it is idle, only not for long enough */
        line_try(s, line, later(lesser(f.from_us, latest_us), now_us));
        return;
    }
    if (line->claim == NULL) {
        claim(s, line, f.claim);
    }
    line_try(s, line, latest_us);
}

/* It waits for a slot: one more node, if that costs nobody anything. */
static void may_load(struct sched *s, struct line *line, uint64_t now_us)
{
    uint64_t patience_us = line->model->load_us == 0 ? LOAD_US : line->model->load_us;
    uint64_t from_us = age_list_first(&line->jobs)->since_us + patience_us;
    struct search f;

    if (!model_usable(line->model, line->speaks, 0) || line->model->serving.loaders == 0) {
        line_try(s, line, SCHED_NEVER);
        return;
    }
    if (now_us < from_us) {
        line_try(s, line, from_us);
        return;
    }
    f = look(s, line, now_us, LOOK_FOR_MORE_US);
    if (f.now != NULL) {
        begin(s, line, f.now, now_us);
        return;
    }
    line_try(s, line, later(f.from_us, now_us));
}

/* Nothing is loaded for those alone whose deadline is over. False: nobody else waits, and the line
 * is gone. */
static bool refuse_late(struct sched *s, struct line *line, uint64_t now_us)
{
    for (size_t left = line->jobs.count; left > 0; left--) {
        struct job *j = age_list_first(&line->jobs);

        if (j->deadline_us == 0 || j->deadline_us > now_us) {
            return true;
        }
        queue_refuse(s, j, SCHED_TOO_LATE);
    }
    return false;
}

void load_consider(struct sched *s, struct line *line, uint64_t now_us)
{
    bool home;

    if (!refuse_late(s, line, now_us)) {
        return;
    }
    if (line->orphan_us != SCHED_NEVER) {
        line_try(s, line, SCHED_NEVER);
        return;
    }
    home = has_home(line);
    if (home && line->claim != NULL) {
        load_unclaim(s, line->claim);
    }
    if (home) {
        may_load(s, line, now_us);
    } else {
        must_load(s, line, now_us);
    }
}

static void do_line(struct sched *s, struct line *l, uint64_t now_us)
{
    if (l->orphan_us <= now_us) {
        queue_refuse_all(s, l, SCHED_NONE_UP);
    } else {
        load_consider(s, l, now_us);
    }
}

void load_due(struct sched *s, uint64_t now_us)
{
    struct line *l;

    for (;;) {
        if (s->reopen.count > 0) {
            reopen(s, reopen_list_pop(&s->reopen), now_us);
        } else if ((l = line_heap_first(&s->timers)) != NULL && l->due_us <= now_us) {
            do_line(s, l, now_us);
        } else {
            return;
        }
    }
}

/* --- what happens to them --- */

void load_left(struct sched *s, struct runner *r, enum sched_end end, uint64_t now_us)
{
    r->used_us = now_us;
    if (r->loading && (end == SCHED_DONE || r->running == 0)) {
        load_over(s, r, end == SCHED_DONE, now_us);
    } else {
        place_fill(s, r, now_us);
    }
    if (r->running == 0 && r->node->loads) {
        load_idle(s, r, now_us);
    }
}

void load_node_lost(struct sched *s, struct node *n)
{
    load_unclaim(s, n);
    if (n->loading != NULL) {
        n->loading->loading = false;
        n->loading = NULL;
    }
}

/* --- that nobody waits for --- */

bool sched_load(struct sched *s, uint64_t now_us, uint64_t id, const struct sched_model *model,
                bool now)
{
    struct node *n = node_find(s, id);
    struct model *m = model_find(s, model->name);
    struct runner *r = n == NULL || m == NULL ? NULL : runner_find(s, n, m);

    if (r == NULL || !n->loads || !node_takes(n)) {
        return true; /* nothing is decided for it */
    }
    if (n->loading != NULL || (n->claimed_by != NULL && !now)) {
        return false;
    }
    if (!now && evict_judge(s, r).from_us > now_us) {
        return false;
    }
    load_unclaim(s, n);
    occupy(s, r, now_us);
    r->options_known = false;
    r->options = 0;
    r->context = model->context;
    runner_settle(s, r);
    place_fill(s, r, now_us);
    load_due(s, now_us);
    return true;
}

void sched_loaded(struct sched *s, uint64_t now_us, uint64_t id, struct slice model, bool ok)
{
    struct node *n = node_find(s, id);
    struct model *m = model_find(s, model);
    struct runner *r = n == NULL || m == NULL ? NULL : runner_find(s, n, m);

    if (r != NULL && r->loading) {
        load_over(s, r, ok, now_us);
        if (r->running == 0) { /* nobody has used it yet: it may go for others at once */
            r->used_us -= s->limits.min_resident_us < r->used_us ? s->limits.min_resident_us : 0;
        }
        load_due(s, now_us);
    }
}
