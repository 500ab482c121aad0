/* SPDX-License-Identifier: Apache-2.0 */
/* The owner's side: groups of what may share a call, and who is in them. */
#include <stdlib.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/batch.h"
#include "gateway/batch_costs.h"
#include "gateway/batch_internal.h"
#include "gateway/sub.h"

/* --- groups ----------------------------------------------------------------------------------- */

static size_t nodes_for(const struct batch_group *g)
{
    struct nodes *set = g->sub->nodes;
    size_t count = 0;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct node *n = nodes_at(set, i);

        count += node_takes_work(n) && catalogue_find(&n->catalogue, buf_slice(&g->model)) != NULL;
    }
    return count > 0 ? count : 1;
}

static void set_rules(struct batch_group *g)
{
    const struct config *c = g->sub->config;
    const struct batch_rules rules = {
        .max_items = (size_t)c->batch_max_items,
        .max_tokens = c->batch_max_tokens,
        .max_wait_us = c->batch_max_wait_ms * 1000,
        .pause_us = c->batch_max_wait_ms * 1000 / 2,
        .max_calls = nodes_for(g) * (size_t)c->batch_calls,
    };

    batch_set_rules(&g->batch, &rules);
}

static void on_look(void *owner);

static struct batch_group *group_new(struct sub *s, const struct batch_member *m)
{
    static const struct batch_rules any = {.max_items = 1, .max_tokens = 1, .max_calls = 1};
    struct batch_group *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return NULL;
    }
    g->magic = BATCH_GROUP_MAGIC;
    g->sub = s;
    g->shape = m->shape;
    if (!buf_append(&g->head, buf_slice(&m->head)) ||
        !buf_append(&g->model, buf_slice(&m->model))) {
        buf_fini(&g->head);
        free(g);
        return NULL;
    }
    batch_init(&g->batch, &any);
    task_init(&g->look, on_look, g);
    timer_init(&g->again, on_look, g);
    g->next = s->batch.groups;
    s->batch.groups = g;
    return g;
}

static struct batch_group *group_for(struct sub *s, const struct batch_member *m)
{
    struct batch_group *g = s->batch.groups;

    while (g != NULL &&
           !(g->shape == m->shape && slice_eq(buf_slice(&g->head), buf_slice(&m->head)))) {
        g = g->next;
    }
    return g != NULL ? g : group_new(s, m);
}

static void group_destroy(void *ptr)
{
    struct batch_group *g = ptr;

    buf_fini(&g->head);
    buf_fini(&g->model);
    free(g);
}

static void group_end(struct batch_group *g)
{
    struct batch_group **at = &g->sub->batch.groups;

    while (*at != g) {
        at = &(*at)->next;
    }
    *at = g->next;
    task_cancel(g->sub->loop, &g->look);
    timer_cancel(g->sub->loop, &g->again);
    g->magic = 0;
    loop_bury(g->sub->loop, g, group_destroy);
}

void batch_look_soon(struct batch_group *g)
{
    task_defer(g->sub->loop, &g->look);
}

void batch_groups_free(struct sub *s)
{
    while (s->batch.groups != NULL) {
        ASSERT(s->batch.groups->running.count == 0);
        group_end(s->batch.groups);
    }
}

/* --- members ---------------------------------------------------------------------------------- */

void batch_tell(struct batch_member *m, enum batch_outcome outcome)
{
    ASSERT(!m->decided);
    m->decided = true;
    m->outcome = outcome;
    (void)atomic_fetch_add(&m->users, 1);
    post_box_put(&m->home->batch.box, &m->owner->batch.box, &m->verdict);
}

static void take_out(struct batch_member *m, struct batch_part *p, const struct batch_call *but)
{
    struct batch_call *c = p->call;

    if (c == NULL) {
        if (batch_items_has(&p->item)) {
            batch_remove(&m->group->batch, &p->item);
            counter_add(COUNTER_BATCH_WAITING, -1);
        }
        return;
    }
    p->call = NULL;
    batch_items_remove(&c->items, &p->item);
    if (c->items.count == 0 && c != but) {
        batch_call_drop(c);
    }
}

/* Whatever waits or is under way of it; `but` is looked after by the caller. */
void batch_withdraw(struct batch_member *m, const struct batch_call *but)
{
    for (size_t i = 0; i < m->part_count; i++) {
        take_out(m, &m->parts[i], but);
    }
}

/* It counts as a call until it is over. */
void batch_go_alone(struct batch_group *g, struct batch_member *m)
{
    counter_add(COUNTER_BATCH_ALONE, 1);
    m->alone = true;
    g->alone++;
    batch_tell(m, BATCH_ALONE);
}

/* The same input is being computed: it is answered with that. */
static bool shares_running(struct batch_group *g, struct batch_part *p)
{
    for (struct batch_call *c = batch_calls_first(&g->running); c != NULL;
         c = batch_calls_next(&g->running, c)) {
        struct batch_item *it = batch_items_first(&c->items);

        while (it != NULL && !batch_item_equal(it, &p->item)) {
            it = batch_items_next(&c->items, it);
        }
        if (it != NULL) {
            p->item.index = it->index;
            p->call = c;
            batch_items_push(&c->items, &p->item);
            counter_add(COUNTER_BATCH_EQUAL, 1);
            return true;
        }
    }
    return false;
}

void batch_group_join(struct post_message *join)
{
    struct batch_member *m =
        (struct batch_member *)(void *)((char *)join - offsetof(struct batch_member, join));
    struct sub *s = m->owner;
    struct batch_group *g;

    OBJ_CHECK(m, BATCH_MEMBER_MAGIC);
    g = group_for(s, m);
    m->group = g;
    if (g == NULL) {
        batch_tell(m, BATCH_ALONE);
        return;
    }
    m->waited = g->batch.calls > 0;
    for (size_t i = 0; i < m->part_count; i++) {
        if (!shares_running(g, &m->parts[i])) {
            batch_add(&g->batch, &m->parts[i].item, loop_now_us(s->loop));
            counter_add(COUNTER_BATCH_WAITING, 1);
        }
    }
    batch_look_soon(g);
}

void batch_group_over(struct post_message *over)
{
    struct batch_member *m =
        (struct batch_member *)(void *)((char *)over - offsetof(struct batch_member, over));
    struct batch_group *g = m->group;
    struct sub *s = m->owner;

    OBJ_CHECK(m, BATCH_MEMBER_MAGIC);
    if (!m->decided) {
        m->decided = true;
        batch_withdraw(m, NULL);
        batch_look_soon(g);
    } else if (m->alone) {
        g->alone--;
        batch_ended(&g->batch, m->part_count, loop_now_us(s->loop));
        batch_look_soon(g);
    }
    batch_member_unref(m);
    (void)atomic_fetch_sub(&s->batch_shared->members, 1);
}

/* --- what is sent ------------------------------------------------------------------------------
 */

/* What was taken is all that one request asks for, and nobody else, and the node is idle: it waits
 * for nothing, and nothing is gained by asking in its place. */
static struct batch_member *single_of(const struct batch_items *items)
{
    struct batch_member *m = batch_part_of(batch_items_first(items))->member;

    return !m->waited && batch_items_are_of_one(items) && items->count == m->part_count ? m : NULL;
}

/* What is known of the node that is next; NULL: nothing, or it is not to count. */
static struct batch_cost *cost_at(struct batch_group *g, uint64_t node_id)
{
    if (node_id == 0 || !g->sub->config->batch_by_length) {
        return NULL;
    }
    return batch_costs_of(&g->sub->batch.costs, node_id, buf_slice(&g->model));
}

static void send_next(struct batch_group *g)
{
    struct batch_items items = {0};
    uint64_t node_id = batch_idlest_node(g);
    size_t inputs = batch_take(&g->batch, cost_at(g, node_id), &items);
    struct batch_member *m = single_of(&items);
    struct batch_call *c;
    struct batch_item *it;

    counter_add(COUNTER_BATCH_WAITING, -(int64_t)items.count);
    if (m != NULL) {
        while (batch_items_pop(&items) != NULL) {
        }
        batch_go_alone(g, m);
        return;
    }
    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        struct batch_call lost = {.group = g};

        while ((it = batch_items_pop(&items)) != NULL) {
            batch_items_push(&lost.items, it);
            batch_part_of(it)->call = &lost;
        }
        batch_call_fail(&lost, MCP_EINTERNAL, SLICE("out of memory"), SLICE(""), 0);
        batch_ended(&g->batch, 0, loop_now_us(g->sub->loop));
        return;
    }
    c->magic = BATCH_CALL_MAGIC;
    c->group = g;
    c->inputs = inputs;
    c->node_id = node_id;
    while ((it = batch_items_pop(&items)) != NULL) {
        batch_items_push(&c->items, it);
        batch_part_of(it)->call = c;
    }
    batch_call_start(c);
}

void batch_send(struct batch_group *g)
{
    uint64_t now_us = loop_now_us(g->sub->loop);
    uint64_t again_us = 0;
    enum batch_verdict v;

    set_rules(g);
    while (g->halves.count > 0 && g->batch.calls < g->batch.rules.max_calls) {
        struct batch_call *c = batch_calls_pop(&g->halves);

        batch_began(&g->batch);
        batch_call_renumber(c); /* members may have left while it waited */
        batch_call_start(c);
    }
    while ((v = batch_look(&g->batch, now_us, &again_us)) == BATCH_SEND) {
        send_next(g);
    }
    timer_cancel(g->sub->loop, &g->again);
    if (v == BATCH_HOLD) {
        timer_arm_us(g->sub->loop, &g->again, again_us - now_us);
    }
}

static void on_look(void *owner)
{
    struct batch_group *g = owner;

    OBJ_CHECK(g, BATCH_GROUP_MAGIC);
    batch_send(g);
    if (!timer_armed(&g->again) && g->batch.waiting == 0 && g->batch.calls == 0 &&
        g->halves.count == 0) {
        group_end(g);
    }
}
