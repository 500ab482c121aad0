/* SPDX-License-Identifier: Apache-2.0 */
/* The home's side: who may share a call, and what becomes of the verdict. */
#include "gateway/batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/block.h"
#include "base/check.h"
#include "base/hash.h"
#include "gateway/batch_costs.h"
#include "gateway/batch_internal.h"
#include "gateway/route_step.h"
#include "gateway/sub.h"

enum { PART_BYTES_PER_TOKEN = 4, MEMBER_BYTES_MAX = 8 * 1024 * 1024 };

void batch_sub_init(struct sub *s)
{
    post_box_init(&s->batch.box, s->loop);
}

void batch_sub_fini(struct sub *s)
{
    batch_groups_free(s);
    batch_costs_free(&s->batch.costs);
    post_box_fini(&s->batch.box);
}

void batch_sub_drain(struct sub *s)
{
    (void)atomic_fetch_add(&s->batch_shared->draining, 1);
}

/* Others may share calls that this loop owns: until none of them lets anybody join any more, and
 * all that have joined are over. */
bool batch_sub_is_over(const struct sub *s)
{
    return atomic_load(&s->batch_shared->draining) == s->sibling_count &&
           atomic_load(&s->batch_shared->members) == 0;
}

void batch_answer_unref(struct batch_answer **ap)
{
    struct batch_answer *a = *ap;

    *ap = NULL;
    if (a != NULL && atomic_fetch_sub(&a->users, 1) == 1) {
        buf_fini(&a->body);
        embed_answer_fini(&a->parsed);
        free(a);
    }
}

void batch_member_unref(struct batch_member *m)
{
    if (atomic_fetch_sub(&m->users, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < m->part_count; i++) {
        batch_answer_unref(&m->parts[i].answer);
    }
    buf_fini(&m->head);
    buf_fini(&m->model);
    buf_fini(&m->texts);
    buf_fini(&m->tenant);
    buf_fini(&m->node_body);
    m->magic = 0;
    free(m);
}

/* --- who joins -------------------------------------------------------------------------------- */

/* Nodes that serve the model all batch only what they are given: Ollama. Those of kind openai put
 * together by themselves what comes at once. */
static bool nodes_want_it(const struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    bool any = false;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct node *n = nodes_at(set, i);

        if (n->state != NODE_UP || catalogue_find(&n->catalogue, buf_slice(&x->model)) == NULL) {
            continue;
        }
        if (n->kind != NODE_KIND_OLLAMA && x->sub->config->batch != CONFIG_BATCH_ON) {
            return false;
        }
        any = true;
    }
    return any;
}

static bool may_join(const struct exchange *x)
{
    return x->op == OP_EMBED && (!x->inner || x->may_share) && x->batch == NULL &&
           x->sub->config->batch != CONFIG_BATCH_OFF && x->body_is_json && !x->sub->draining &&
           !x->is_head && buf_len(&x->model) > 0 && buf_len(&x->body) <= MEMBER_BYTES_MAX &&
           config_model_find(x->sub->config, buf_slice(&x->model)) == NULL && nodes_want_it(x);
}

/* As forward.c has it. */
static struct slice model_of(const struct exchange *x)
{
    if (exchange_routed_model(x).len > 0) {
        return exchange_routed_model(x);
    }
    return buf_len(&x->inherited_model) > 0 ? buf_slice(&x->inherited_model) : (struct slice){0};
}

static enum embed_verdict read_ask(const struct exchange *x, struct buf *head, struct buf *inputs)
{
    const struct embed_ask ask = {
        .shape = x->native || x->native_only ? EMBED_OLLAMA : EMBED_OPENAI,
        .body = buf_slice(&x->body),
        .model = model_of(x),
        .options = buf_len(&x->inherited_options) > 0 ? buf_slice(&x->inherited_options)
                                                      : (struct slice){0},
    };

    return embed_read(&ask, head, inputs);
}

/* Whose turn it is, where more waits than a call takes. */
static bool keep_payer(struct batch_member *m, const struct exchange *x)
{
    struct turn_payer payer;

    turn_payer(x, &payer);
    m->weight = payer.weight;
    m->class = payer.class;
    slice_copy(slice_str(x->client), m->client, sizeof(m->client));
    slice_copy(slice_str(x->key_name), m->key_name, sizeof(m->key_name));
    return buf_append(&m->tenant, payer.tenant);
}

/* The inputs are copied: the body may go before the owner has heard of it. Equal ones of other
 * tenants are not told apart from different ones, as the tokens counted would tell of them. */
static bool keep_inputs(struct batch_member *m, const struct slice *inputs)
{
    static const unsigned weight_of[] = {
        [SCHED_CLASS_INTERACTIVE] = 16, [SCHED_CLASS_NORMAL] = 4, [SCHED_CLASS_BATCH] = 1};
    uint64_t scope = hash_bytes(0, buf_slice(&m->tenant));
    size_t bytes = 0;
    char *at;

    for (size_t i = 0; i < m->part_count; i++) {
        bytes += inputs[i].len;
    }
    at = buf_reserve(&m->texts, bytes);
    if (at == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->part_count; i++) {
        memcpy(at, inputs[i].ptr, inputs[i].len);
        m->parts[i].member = m;
        m->parts[i].item.text = slice_of(at, inputs[i].len);
        m->parts[i].item.scope = scope;
        m->parts[i].item.flow = scope * SCHED_CLASS_COUNT + m->class;
        m->parts[i].item.weight = m->weight * weight_of[m->class];
        m->parts[i].item.tokens = (uint32_t)(inputs[i].len / PART_BYTES_PER_TOKEN) + 1;
        batch_item_ready(&m->parts[i].item);
        at += inputs[i].len;
    }
    buf_commit(&m->texts, bytes);
    return true;
}

/* What asks for the same meets on one loop, whichever that is. */
static struct sub *owner_of(struct sub *s, struct slice head)
{
    return &s->siblings[hash_bytes(0, head) % s->sibling_count];
}

static struct batch_member *member_new(struct exchange *x, struct buf *head, struct slice inputs)
{
    size_t count = inputs.len / sizeof(struct slice);
    size_t size = sizeof(struct batch_member) + count * sizeof(struct batch_part);
    struct batch_member *m = calloc(1, size);

    if (m == NULL) {
        return NULL;
    }
    m->magic = BATCH_MEMBER_MAGIC;
    m->users = 1;
    m->home = x->sub;
    m->exchange = x;
    m->shape = x->native || x->native_only ? EMBED_OLLAMA : EMBED_OPENAI;
    m->part_count = count;
    m->left = count;
    m->joined_us = loop_now_us(x->sub->loop);
    if (!buf_append(&m->model, buf_slice(&x->model)) || !keep_payer(m, x) ||
        !keep_inputs(m, (const struct slice *)(const void *)inputs.ptr)) {
        batch_member_unref(m);
        return NULL;
    }
    buf_move(&m->head, head);
    m->owner = owner_of(x->sub, buf_slice(&m->head));
    m->held_bytes = size + m->texts.cap + m->head.cap;
    if (!body_memory_take(x->sub->bodies, m->held_bytes)) {
        batch_member_unref(m);
        return NULL;
    }
    return m;
}

static void join(struct exchange *x, struct batch_member *m)
{
    x->batch = m;
    m->join.run = batch_group_join;
    m->over.run = batch_group_over;
    m->verdict.run = batch_on_verdict;
    (void)atomic_fetch_add(&x->sub->batch_shared->members, 1);
    trace_note(x, TRACE_BATCH_JOINED);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->join);
}

enum step_result step_batch(struct exchange *x)
{
    struct buf head = {0}, inputs = {0};
    struct batch_member *m = NULL;

    if (x->batch != NULL) { /* told to go its own way */
        return STEP_NEXT;
    }
    if (!may_join(x)) {
        return STEP_NEXT;
    }
    if (read_ask(x, &head, &inputs) == EMBED_TAKEN) {
        m = member_new(x, &head, buf_slice(&inputs)); /* NULL: it goes alone, which needs less */
    }
    buf_fini(&head);
    buf_fini(&inputs);
    if (m == NULL) {
        return STEP_NEXT;
    }
    if (turn_rate(x)) {
        join(x, m);
    } else {
        body_memory_give(x->sub->bodies, m->held_bytes);
        batch_member_unref(m);
    }
    return STEP_WAIT;
}

void batch_leave(struct exchange *x)
{
    struct batch_member *m = x->batch;

    if (m == NULL) {
        return;
    }
    x->batch = NULL;
    OBJ_CHECK(m, BATCH_MEMBER_MAGIC);
    m->exchange = NULL;
    body_memory_give(x->sub->bodies, m->held_bytes);
    post_box_put(&m->owner->batch.box, &x->sub->batch.box, &m->over);
}

/* --- the verdict ------------------------------------------------------------------------------ */

static void write_answer(const struct batch_member *m, struct buf *out)
{
    const struct batch_answer *last = m->parts[m->part_count - 1].answer;
    struct buf vectors = {0};
    struct embed_writer w = {.out = &vectors};
    uint64_t tokens = 0;

    for (size_t i = 0; i < m->part_count; i++) {
        const struct batch_part *p = &m->parts[i];

        tokens += p->tokens;
        (void)embed_write_vector(&w, buf_slice(&p->answer->body),
                                 embed_answer_vector(&p->answer->parsed, p->item.index));
    }
    (void)embed_write_answer(&last->parsed, buf_slice(&last->body), buf_slice(&vectors), tokens,
                             out);
    out->failed = out->failed || buf_failed(&vectors);
    buf_fini(&vectors);
}

static void note_node(struct exchange *x, const struct batch_member *m)
{
    x->node_id = m->node_id;
    x->node_status = m->node_status;
    slice_copy(slice_str(m->node_name), x->node_name, sizeof(x->node_name));
}

/* What it waited for others' call to begin is its wait in the queue. */
static void note_wait(struct exchange *x, const struct batch_member *m)
{
    const struct batch_answer *last = m->parts[m->part_count - 1].answer;

    if (last->sent_us > m->joined_us) {
        x->turn.waited_us = last->sent_us - m->joined_us;
    }
}

static void give(struct exchange *x, const struct batch_member *m)
{
    struct buf out = {0};

    note_node(x, m);
    note_wait(x, m);
    write_answer(m, &out);
    if (buf_failed(&out)) {
        exchange_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    } else if (buf_len(&out) > x->max_part_bytes) {
        exchange_fail(x, MCP_ETOO_LARGE, "the answer is larger than the client takes");
    } else {
        if (x->sink->admitted != NULL) {
            x->sink->admitted(x->owner, x);
        }
        x->attempts++;
        trace_note(x, TRACE_BATCH_ANSWERED);
        exchange_note_part(x, buf_len(&out));
        x->sink->part(x->owner, buf_slice(&out), true);
        if (!x->over) {
            exchange_succeed(x);
        }
    }
    buf_fini(&out);
}

static void fail(struct exchange *x, struct batch_member *m)
{
    note_node(x, m);
    if (route_falls_back_from(x, m->node_status, buf_slice(&m->node_body)) ||
        route_falls_back(x, m->code)) {
        return;
    }
    x->turn.retry_after_us = m->retry_after_us;
    if (buf_len(&m->node_body) > 0) {
        buf_move(&x->collect, &m->node_body);
        x->result_from_node = true;
    }
    exchange_fail(x, m->code, m->text);
}

void batch_on_verdict(struct post_message *verdict)
{
    struct batch_member *m =
        (struct batch_member *)(void *)((char *)verdict - offsetof(struct batch_member, verdict));
    struct exchange *x = m->exchange;

    OBJ_CHECK(m, BATCH_MEMBER_MAGIC);
    if (x != NULL && !x->over && !x->refused) {
        switch (m->outcome) {
        case BATCH_ALONE:
            steps_run(x);
            break;
        case BATCH_ANSWERED:
            give(x, m);
            break;
        case BATCH_FAILED:
            fail(x, m);
            break;
        }
    }
    batch_member_unref(m);
}
