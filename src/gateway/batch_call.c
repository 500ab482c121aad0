/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of a group, and who gets what of their answers. A call is an exchange of its own
 * without a client, so it is routed, retried and translated as any other.
 *
 * One that fails for what stands in it is halved until one request is left, which then goes its own
 * way and hears from the node itself what is wrong. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "gateway/batch_costs.h"
#include "gateway/batch_internal.h"
#include "gateway/inner.h"
#include "gateway/sub.h"

enum { ANSWER_BYTES_MAX = 256 * 1024 * 1024 };

static void call_free(struct batch_call *c)
{
    batch_answer_unref(&c->answer);
    buf_fini(&c->tenants);
    free(c->shares);
    c->magic = 0;
    free(c);
}

/* Nobody waits for it any more. */
void batch_call_drop(struct batch_call *c)
{
    struct batch_group *g = c->group;

    if (c->run != NULL) {
        exchange_cancel(&c->run);
        batch_calls_remove(&g->running, c);
        batch_ended(&g->batch, c->item_count, loop_now_us(g->sub->loop));
    } else {
        batch_calls_remove(&g->halves, c);
    }
    call_free(c);
    batch_look_soon(g);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct batch_call *c = owner;

    c->status = head->status;
}

static void on_bytes(void *owner, struct slice bytes)
{
    struct batch_call *c = owner;

    if (!buf_append(&c->answer->body, bytes)) {
        c->too_large = true;
    }
}

static void on_part(void *owner, struct slice part, bool last)
{
    (void)last;
    on_bytes(owner, part);
}

void batch_call_renumber(struct batch_call *c)
{
    size_t before = SIZE_MAX;

    c->inputs = 0;
    /* Equal ones of a half are no longer found: that costs a little, and only here. */
    for (struct batch_item *it = batch_items_first(&c->items); it != NULL;
         it = batch_items_next(&c->items, it)) {
        c->inputs += it->index != before || c->inputs == 0;
        before = it->index;
        it->index = c->inputs - 1;
        batch_part_of(it)->call = c;
    }
}

/* Moves up to `count` items to a call that waits for its turn. False: out of memory. */
static bool add_half(struct batch_group *g, struct batch_items *from, size_t count)
{
    struct batch_call *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return false;
    }
    c->magic = BATCH_CALL_MAGIC;
    c->group = g;
    while (count-- > 0) {
        batch_items_push(&c->items, batch_items_pop(from));
    }
    batch_call_renumber(c);
    batch_calls_push(&g->halves, c);
    return true;
}

bool batch_items_are_of_one(const struct batch_items *items)
{
    struct batch_item *first = batch_items_first(items);
    struct batch_item *it;

    for (it = first; it != NULL; it = batch_items_next(items, it)) {
        if (batch_part_of(it)->member != batch_part_of(first)->member) {
            return false;
        }
    }
    return true;
}

void batch_call_fail(struct batch_call *c, int code, struct slice text, struct slice node_body,
                     unsigned status)
{
    struct batch_item *it;

    while ((it = batch_items_first(&c->items)) != NULL) {
        struct batch_member *m = batch_part_of(it)->member;

        m->code = code;
        m->node_status = status;
        slice_copy(text, m->text, sizeof(m->text));
        (void)buf_append(&m->node_body, node_body); /* without memory: without it */
        m->retry_after_us = c->retry_after_us;
        m->node_id = c->answer == NULL ? 0 : c->answer->node_id;
        slice_copy(slice_str(c->answer == NULL ? "" : c->answer->node_name), m->node_name,
                   sizeof(m->node_name));
        batch_withdraw(m, c);
        batch_tell(m, BATCH_FAILED);
    }
}

/* Something in it is at fault, or all of it. */
static void halve(struct batch_call *c)
{
    struct batch_group *g = c->group;
    struct batch_member *m = batch_part_of(batch_items_first(&c->items))->member;

    if (batch_items_are_of_one(&c->items)) {
        batch_withdraw(m, c);
        batch_began(&g->batch);
        batch_go_alone(g, m);
        return;
    }
    counter_add(COUNTER_BATCH_HALVED, 1);
    if (!add_half(g, &c->items, c->items.count / 2) || !add_half(g, &c->items, c->items.count)) {
        batch_call_fail(c, MCP_EINTERNAL, SLICE("out of memory"), SLICE(""), 0);
    }
}

static void share_tokens(struct batch_call *c)
{
    size_t count = c->items.count, i = 0;
    uint32_t *weights = calloc(count, sizeof(*weights));
    uint64_t *shares = calloc(count, sizeof(*shares));
    struct batch_item *it;

    for (it = batch_items_first(&c->items); weights != NULL && it != NULL;
         it = batch_items_next(&c->items, it)) {
        weights[i++] = it->tokens;
    }
    if (weights != NULL && shares != NULL) {
        batch_share(c->answer->parsed.tokens, weights, count, shares);
        i = 0;
        for (it = batch_items_first(&c->items); it != NULL; it = batch_items_next(&c->items, it)) {
            batch_part_of(it)->tokens = shares[i++];
        }
    }
    free(weights);
    free(shares);
}

static void answer_all(struct batch_call *c)
{
    struct batch_item *it;

    share_tokens(c);
    while ((it = batch_items_pop(&c->items)) != NULL) {
        struct batch_part *p = batch_part_of(it);
        struct batch_member *m = p->member;

        p->call = NULL;
        p->answer = c->answer;
        (void)atomic_fetch_add(&c->answer->users, 1);
        if (--m->left == 0) {
            m->node_status = 200;
            m->node_id = c->answer->node_id;
            slice_copy(slice_str(c->answer->node_name), m->node_name, sizeof(m->node_name));
            batch_tell(m, BATCH_ANSWERED);
        }
    }
}

/* Errors that the content of a request can be the cause of. */
static bool may_be_one_inputs_fault(const struct batch_call *c, const struct exchange_result *r,
                                    unsigned status)
{
    return c->too_large || status == 400 || status == 413 || status == 422 || status == 500 ||
           (r->code == MCP_OK && status < 400) || r->code == MCP_ETOO_LARGE ||
           r->code == MCP_EBAD_REQUEST;
}

/* What it took, from when the node got it. */
static void note_cost(struct batch_call *c, uint64_t sent_us)
{
    uint64_t now_us = loop_now_us(c->group->sub->loop);
    struct batch_cost *cost = batch_costs_of(&c->group->sub->batch.costs, c->answer->node_id,
                                             buf_slice(&c->group->model));

    if (cost != NULL && sent_us != 0 && now_us > sent_us) {
        batch_costs_note(cost, &c->size, now_us - sent_us);
    }
}

static void on_ended(void *owner, const struct exchange_result *r)
{
    struct batch_call *c = owner;
    struct batch_group *g = c->group;
    struct slice body = buf_slice(&c->answer->body);
    unsigned status = c->run->node_status;

    OBJ_CHECK(c, BATCH_CALL_MAGIC);
    c->answer->node_id = c->run->node_id;
    slice_copy(slice_str(c->run->node_name), c->answer->node_name, sizeof(c->answer->node_name));
    c->answer->sent_us = c->run->sent_us;
    c->retry_after_us = r->retry_after_ms * 1000;
    c->run = NULL;
    batch_calls_remove(&g->running, c);
    batch_ended(&g->batch, c->item_count, loop_now_us(g->sub->loop));
    batch_send(g); /* first: the node is idle */
    if (r->code == MCP_OK && status < 400 && !c->too_large &&
        embed_answer_read(&c->answer->parsed, g->shape, body, c->inputs)) {
        note_cost(c, c->answer->sent_us);
        answer_all(c);
    } else if (may_be_one_inputs_fault(c, r, status)) {
        halve(c);
    } else {
        bool relayed = r->code == MCP_OK; /* the node's error, as it came */

        batch_call_fail(c, relayed ? MCP_EUPSTREAM_ERROR : r->code,
                        relayed ? SLICE("the node answered with an error") : r->text,
                        relayed ? body : r->node_body, status);
    }
    call_free(c);
    batch_look_soon(g);
}

static const struct exchange_sink call_sink = {
    .head = on_head, .bytes = on_bytes, .part = on_part, .ended = on_ended};

static bool write_body(struct batch_call *c, struct buf *body)
{
    struct slice *texts = calloc(c->inputs, sizeof(*texts));
    bool ok = texts != NULL;

    for (struct batch_item *it = batch_items_first(&c->items); ok && it != NULL;
         it = batch_items_next(&c->items, it)) {
        texts[it->index] = it->text;
    }
    ok = ok && embed_write(buf_slice(&c->group->head), texts, c->inputs, body);
    free(texts);
    return ok;
}

/* --- what is sent ----------------------------------------------------------------------------- */

uint64_t batch_idlest_node(const struct batch_group *g)
{
    struct nodes *set = g->sub->nodes;
    uint64_t best = 0;
    uint64_t least = UINT64_MAX;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct node *n = nodes_at(set, i);
        uint64_t calls = node_calls_everywhere(n); /* of others, too: a hint */

        if (!node_takes_work(n) || catalogue_find(&n->catalogue, buf_slice(&g->model)) == NULL) {
            continue;
        }
        for (struct batch_call *c = batch_calls_first(&g->running); c != NULL;
             c = batch_calls_next(&g->running, c)) {
            calls += c->node_id == n->id ? UINT32_MAX : 0;
        }
        if (calls < least) {
            least = calls;
            best = n->id;
        }
    }
    return best;
}

/* As the node will see it: equal inputs are one. */
static struct batch_size size_of(const struct batch_call *c)
{
    struct batch_size size = {.inputs = c->inputs};
    uint64_t longest = 0;
    size_t next = 0;

    for (struct batch_item *it = batch_items_first(&c->items); it != NULL;
         it = batch_items_next(&c->items, it)) {
        if (it->index == next) {
            next++;
            size.tokens += it->tokens;
            longest = it->tokens > longest ? it->tokens : longest;
        }
    }
    size.padding = longest * size.inputs - size.tokens;
    return size;
}

/* In whose place it waits: of the members the one of the most urgent class, and of these the first.
 */
static const struct batch_member *payer_of(const struct batch_call *c)
{
    struct batch_item *it = batch_items_first(&c->items);
    const struct batch_member *best = batch_part_of(it)->member;

    for (; it != NULL; it = batch_items_next(&c->items, it)) {
        if (batch_part_of(it)->member->class < best->class) {
            best = batch_part_of(it)->member;
        }
    }
    return best;
}

static struct sched_share *share_of(struct batch_call *c, size_t *count, struct slice tenant)
{
    for (size_t i = 0; i < *count; i++) {
        if (slice_eq(c->shares[i].tenant, tenant)) {
            return &c->shares[i];
        }
    }
    c->shares[*count].tenant = tenant;
    return &c->shares[(*count)++];
}

/* Who has what of the call, by tokens. Members may leave before it ends, so names are copied. Out
 * of memory: it is all the payer's. */
static void divide(struct batch_call *c, struct exchange *x)
{
    size_t count = 0;
    const char *at;

    c->shares = calloc(c->items.count, sizeof(*c->shares));
    for (struct batch_item *it = batch_items_first(&c->items); c->shares != NULL && it != NULL;
         it = batch_items_next(&c->items, it)) {
        const struct batch_member *m = batch_part_of(it)->member;
        struct sched_share *share = share_of(c, &count, buf_slice(&m->tenant));

        share->weight = m->weight;
        share->part += it->tokens;
    }
    for (size_t i = 0; i < count; i++) {
        (void)buf_append(&c->tenants, c->shares[i].tenant);
    }
    if (count < 2 || buf_failed(&c->tenants)) {
        return;
    }
    at = buf_slice(&c->tenants).ptr;
    for (size_t i = 0; i < count; i++) {
        c->shares[i].tenant.ptr = at;
        at += c->shares[i].tenant.len;
    }
    x->turn.shares = c->shares;
    x->turn.share_count = count;
}

static bool fill(struct batch_call *c, struct exchange *x)
{
    static const struct http_header headers[] = {
        {SLICE("Content-Type"), SLICE("application/json")}};
    static const struct inner_head head = {.method = SLICE("POST"),
                                           .path = SLICE("/v1/embeddings"),
                                           .headers = headers,
                                           .header_count = 1};
    struct batch_group *g = c->group;
    const struct batch_member *payer = payer_of(c);

    x->op = OP_EMBED;
    x->native = g->shape == EMBED_OLLAMA;
    x->relay_any_kind = g->shape == EMBED_OPENAI;
    x->needs_model = true;
    x->max_part_bytes = ANSWER_BYTES_MAX;
    x->prefer_node_id = c->node_id;
    x->priority = (enum priority)(PRIORITY_INTERACTIVE + payer->class);
    x->turn.rated = true; /* each of them was */
    slice_copy(slice_str(payer->client), x->client, sizeof(x->client));
    slice_copy(slice_str(payer->key_name), x->key_name, sizeof(x->key_name));
    divide(c, x);
    return write_body(c, &x->body) && inner_fill(x, &head, buf_slice(&g->model));
}

/* Counts as under way already. */
void batch_call_start(struct batch_call *c)
{
    struct batch_group *g = c->group;

    c->item_count = c->items.count;
    c->size = size_of(c);
    c->node_id = c->node_id == 0 ? batch_idlest_node(g) : c->node_id;
    c->answer = calloc(1, sizeof(*c->answer));
    if (c->answer != NULL) {
        c->answer->users = 1;
        buf_init(&c->answer->body, ANSWER_BYTES_MAX);
        c->run = inner_new(g->sub, &call_sink, c);
    }
    if (c->run == NULL) {
        batch_call_fail(c, MCP_EINTERNAL, SLICE("out of memory"), SLICE(""), 0);
        batch_ended(&g->batch, c->item_count, loop_now_us(g->sub->loop));
        call_free(c);
        return;
    }
    batch_calls_push(&g->running, c);
    counter_add(COUNTER_BATCH_CALLS, 1);
    counter_add(COUNTER_BATCH_INPUTS, (int64_t)c->inputs);
    counter_add(COUNTER_BATCH_EQUAL, (int64_t)(c->items.count - c->inputs));
    if (fill(c, c->run)) {
        exchange_start(c->run);
    } else {
        exchange_refuse(c->run, MCP_EINTERNAL, "out of memory");
    }
}
