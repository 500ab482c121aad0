/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/turns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "codec/model_name.h"
#include "codec/request_hints.h"
#include "gateway/exchange.h"
#include "gateway/keys.h"
#include "gateway/local.h"
#include "gateway/pins.h"
#include "gateway/steps.h"
#include "gateway/sub.h"

enum { LOOK_MS = 1000, SEATS_FIRST = 16, MISSES_MAX = 3, READY_NODES_MAX = 8, BYTES_PER_TOKEN = 4 };

/* --- seats ------------------------------------------------------------------------------------ */

static bool seats_grow(struct turns *q)
{
    size_t count = q->seat_count == 0 ? SEATS_FIRST : 2 * q->seat_count;
    struct turn_seat *seats = realloc(q->seats, count * sizeof(*seats));

    if (seats == NULL) {
        return false;
    }
    for (size_t i = q->seat_count; i < count; i++) {
        seats[i] = (struct turn_seat){.next_free = (uint32_t)i + 1};
    }
    q->seats = seats;
    q->first_free = (uint32_t)q->seat_count;
    q->seat_count = count;
    return true;
}

static void sit_down(struct turns *q, struct exchange_turn *t)
{
    struct turn_seat *seat = &q->seats[q->first_free];

    t->seat = q->first_free;
    q->first_free = seat->next_free;
    seat->turn = t;
    turn_list_push(&q->waiting, t);
    counter_add(COUNTER_QUEUE_WAITING, 1);
    if (!timer_armed(&q->look)) {
        timer_arm(q->home.loop, &q->look, LOOK_MS);
    }
}

static void stand_up(struct turns *q, struct exchange_turn *t, uint64_t now_us)
{
    q->seats[t->seat] = (struct turn_seat){.next_free = q->first_free};
    q->first_free = t->seat;
    turn_list_remove(&q->waiting, t);
    t->waited_us += now_us - t->arrived_us;
    counter_add(COUNTER_QUEUE_WAITING, -1);
    if (q->waiting.count == 0) {
        timer_cancel(q->home.loop, &q->look);
    }
}

/* --- a request arrives ------------------------------------------------------------------------ */

/* A request without a model is any node's to answer, and a cloud's model runs on none. */
static bool is_scheduled(const struct exchange *x)
{
    const struct brain *b = x->sub->turns.home.brain;

    return x->needs_model && b != NULL && brain_schedules(b) && buf_len(&x->model) > 0 &&
           !model_name_is_cloud(buf_slice(&x->model));
}

/* Its canonical name, from a catalogue where one has it, else in `made`. False: out of memory. */
static bool canonical_name(const struct exchange *x, struct buf *made, struct slice *name)
{
    struct nodes *set = x->sub->nodes;

    for (size_t i = 0; i < nodes_count(set); i++) {
        const struct catalogue_model *m =
            catalogue_find(&nodes_at(set, i)->catalogue, buf_slice(&x->model));

        if (m != NULL) {
            *name = slice_of(m->canonical, m->canonical_len);
            return true;
        }
    }
    if (!model_name_canonical(buf_slice(&x->model), made)) {
        return false;
    }
    *name = buf_slice(made);
    return true;
}

static unsigned spoken(const struct exchange *x)
{
    bool by_openai = x->native || x->native_only ? local_translates(x->op) : x->relay_any_kind;

    return BRAIN_SPEAKS_OLLAMA | (by_openai ? BRAIN_SPEAKS_OPENAI : 0U);
}

static enum sched_class class_of(const struct exchange *x, const struct config_key *key)
{
    enum priority priority = x->priority;

    if (priority == PRIORITY_NONE) {
        priority = key == NULL ? PRIORITY_NORMAL : key->class;
    }
    if (key != NULL && priority < key->max_priority) {
        priority = key->max_priority;
    }
    return (enum sched_class)(priority - PRIORITY_INTERACTIVE);
}

enum sched_class turn_class(const struct exchange *x)
{
    return class_of(x, keys_named(x->sub->config, x->key_name));
}

void turn_payer(const struct exchange *x, struct turn_payer *out)
{
    const struct config_key *key =
        x->key_name[0] == '\0' ? NULL : keys_named(x->sub->config, x->key_name);

    *out = (struct turn_payer){
        .tenant = slice_str(key == NULL           ? x->client
                            : key->tenant == NULL ? key->name
                                                  : key->tenant),
        .weight = key == NULL ? 1 : (unsigned)key->weight,
        .rate_per_min = key == NULL ? 0 : (uint32_t)key->rate_per_min,
        .class = class_of(x, key),
    };
}

struct slice turn_tenant(const struct exchange *x)
{
    struct turn_payer payer;

    turn_payer(x, &payer);
    return payer.tenant;
}

/* Sessions over MCP know their node themselves. */
static uint64_t preferred(const struct exchange *x)
{
    if (x->face == FACE_HTTP && x->session_hash != 0) {
        return brain_session_node(x->sub->turns.home.brain, x->session_hash);
    }
    return x->prefer_node_id;
}

static enum sched_verdict arrive(struct exchange *x, struct slice model, struct sched_answer *got)
{
    uint64_t prefix[PROMPT_HASHES_MAX];
    struct runner_options options;
    struct slice text;
    bool pinned;
    struct exchange_turn *t = &x->turn;
    struct turn_payer payer;
    struct sched_job job = {
        .tag = x->sub->turns.first_free,
        .model = model,
        .speaks = spoken(x),
        .prompt_tokens = (uint32_t)(x->bytes_in / BYTES_PER_TOKEN),
        .bytes = x->body_held_bytes,
        .deadline_us = x->has_deadline ? x->received_us + x->deadline_ms * 1000 : 0,
        .prefer_node = preferred(x),
        .avoid_node = t->avoid_node,
        .prefix = prefix,
    };

    if (pins_options(x, &text, &pinned) != MCP_OK) {
        return SCHED_NO_MEMORY;
    }
    turn_payer(x, &payer);
    job.tenant = payer.tenant;
    job.weight = payer.weight;
    job.rate_per_min = t->rated || x->attempts > 0 ? 0 : payer.rate_per_min;
    job.class = payer.class;
    t->class = (uint8_t)job.class;
    if (x->native || x->native_only) { /* of other APIs no such option has an effect */
        options = runner_options_of(text);
        job.options = options.hash;
        job.context = options.context;
    }
    if (x->body_is_json && nodes_count(x->sub->nodes) > 1) {
        job.prefix_count = prompt_hashes(&x->request, prefix, NULL);
    }
    return brain_arrive(&x->sub->turns.home, &job, got);
}

/* --- what was decided ------------------------------------------------------------------------- */

/* The loop may not have heard of the node yet, or not know it any more. */
static enum step_result take_node(struct exchange *x, uint64_t node_id, enum sched_why why)
{
    static const enum trace_kind traced_as[] = {
        [SCHED_WHY_LEAST] = TRACE_NODE_LEAST,  [SCHED_WHY_ONLY] = TRACE_NODE_CHOSEN,
        [SCHED_WHY_SESSION] = TRACE_NODE_KEPT, [SCHED_WHY_PREFIX] = TRACE_NODE_PREFIX,
        [SCHED_WHY_LOAD] = TRACE_NODE_LOADS,   [SCHED_WHY_SLOT] = TRACE_NODE_FREE,
    };
    struct node *n = nodes_by_id(x->sub->nodes, node_id);

    /* A drain counts on it that nothing begins where a node is known to be cordoned. */
    if (n == NULL || !n->has_addr || n->service != NODE_SERVING) {
        counter_add(COUNTER_GRANTS_LOST, 1);
        x->turn.avoid_node = node_id;
        turn_leave(x);
        return x->turn.misses++ < MISSES_MAX ? step_wait_for_nodes(x)
                                             : step_no_node(x, CHOOSE_NONE_UP);
    }
    if (x->face == FACE_HTTP && x->session_hash != 0) {
        brain_session_served(x->sub->turns.home.brain, x->session_hash, node_id);
    }
    step_granted(x, n, traced_as[why]);
    return STEP_NEXT;
}

/* So that whose turn it is need not connect first: any of these may be next to have a slot free. */
static void make_ready(const struct exchange *x)
{
    struct nodes *set = x->sub->nodes;
    size_t count = nodes_count(set), ready = 0;

    for (size_t i = 0; x->sub->config->prepare && i < count && ready < READY_NODES_MAX; i++) {
        struct node *n = nodes_at(set, (i + x->turn.seat) % count); /* others wait for others */

        if (n->has_addr && node_takes_work(n) &&
            catalogue_find(&n->catalogue, buf_slice(&x->model)) != NULL) {
            node_pool_prepare(&n->pool, &n->addr);
            ready++;
        }
    }
}

static void granted(struct exchange_turn *t, uint64_t now_us, enum sched_why why, bool loads)
{
    static const enum counter_id counted_as[] = {
        [SCHED_WHY_LEAST] = COUNTER_GRANTED_LEAST,     [SCHED_WHY_ONLY] = COUNTER_GRANTED_ONLY,
        [SCHED_WHY_SESSION] = COUNTER_GRANTED_SESSION, [SCHED_WHY_PREFIX] = COUNTER_GRANTED_PREFIX,
        [SCHED_WHY_LOAD] = COUNTER_GRANTED_LOAD,       [SCHED_WHY_SLOT] = COUNTER_GRANTED_SLOT,
    };
    static const enum histogram_id waits_of[SCHED_CLASS_COUNT] = {
        [SCHED_CLASS_INTERACTIVE] = HISTOGRAM_QUEUE_WAIT_INTERACTIVE_US,
        [SCHED_CLASS_NORMAL] = HISTOGRAM_QUEUE_WAIT_NORMAL_US,
        [SCHED_CLASS_BATCH] = HISTOGRAM_QUEUE_WAIT_BATCH_US,
    };

    t->state = TURN_GRANTED;
    t->granted_us = now_us;
    t->loads = loads;
    t->prompt_tokens = t->answer_tokens = 0;
    counter_add(COUNTER_SLOTS_USED, 1);
    counter_add(counted_as[why], 1);
    histogram_record(waits_of[t->class], t->waited_us);
}

static enum step_result refuse(struct exchange *x, enum sched_verdict verdict)
{
    switch (verdict) {
    case SCHED_QUEUE_FULL:
        counter_add(COUNTER_QUEUE_FULL, 1);
        return step_fail(x, MCP_EQUEUE_FULL, "too many requests wait for this model");
    case SCHED_RATE_LIMITED:
        counter_add(COUNTER_QUEUE_RATE_LIMITED, 1);
        return step_fail(x, MCP_ERATE_LIMITED, "more requests than the rate of this key");
    case SCHED_TOO_LATE:
        counter_add(COUNTER_QUEUE_TOO_LATE, 1);
        return step_fail(x, MCP_EDEADLINE_EXCEEDED, "its turn would come after its deadline");
    case SCHED_NO_MEMORY:
        counter_add(COUNTER_QUEUE_NO_MEMORY, 1);
        return step_fail(x, MCP_ENOMEM, mcp_error_text(MCP_ENOMEM));
    case SCHED_NONE_SUITS:
        counter_add(COUNTER_QUEUE_NO_NODE, 1);
        return step_no_node(x, CHOOSE_NONE_SUITS);
    case SCHED_UNKNOWN_MODEL:
        counter_add(COUNTER_QUEUE_UNKNOWN_MODEL, 1);
        return step_no_node(x, CHOOSE_UNKNOWN_MODEL);
    default:
        counter_add(COUNTER_QUEUE_NO_NODE, 1);
        return step_no_node(x, CHOOSE_NONE_UP);
    }
}

bool turn_rate(struct exchange *x)
{
    struct turn_payer payer;

    turn_payer(x, &payer);
    if (x->turn.rated || payer.rate_per_min == 0 || !is_scheduled(x)) {
        return true;
    }
    x->turn.rated = true;
    if (brain_rate(&x->sub->turns.home, payer.tenant, payer.rate_per_min,
                   &x->turn.retry_after_us)) {
        return true;
    }
    (void)refuse(x, SCHED_RATE_LIMITED);
    return false;
}

static void tell_position(struct exchange *x, const struct sched_answer *a)
{
    struct exchange_turn *t = &x->turn;

    t->position = a->position;
    t->depth = a->depth;
    t->eta_us = a->eta_us;
    if (x->sink->queued != NULL) {
        x->sink->queued(x->owner, x);
    }
}

static enum step_result answered(struct exchange *x, enum sched_verdict verdict,
                                 const struct sched_answer *a)
{
    struct exchange_turn *t = &x->turn;
    uint64_t now_us = loop_now_us(x->sub->loop);

    t->ticket = a->ticket;
    if (verdict == SCHED_GRANTED) {
        granted(t, now_us, a->why, a->loads);
        return take_node(x, a->node, a->why);
    }
    if (verdict != SCHED_QUEUED) {
        t->ticket = 0;
        t->retry_after_us = a->retry_after_us;
        return refuse(x, verdict);
    }
    t->state = TURN_WAITS;
    t->exchange = x;
    t->arrived_us = now_us;
    sit_down(&x->sub->turns, t);
    make_ready(x);
    trace_note(x, TRACE_QUEUED);
    tell_position(x, a);
    return STEP_WAIT;
}

enum step_result step_queue(struct exchange *x)
{
    struct exchange_turn *t = &x->turn;
    struct turns *q = &x->sub->turns;
    struct sched_answer a = {0};
    struct buf made = {0};
    struct slice model;
    enum sched_verdict verdict = SCHED_NO_MEMORY;

    if (t->state == TURN_GRANTED) {
        return STEP_NEXT;
    }
    if (t->state == TURN_REFUSED) {
        t->state = TURN_NONE;
        return refuse(x, (enum sched_verdict)t->verdict);
    }
    if (!is_scheduled(x)) {
        return STEP_NEXT;
    }
    if ((q->first_free < q->seat_count || seats_grow(q)) && canonical_name(x, &made, &model)) {
        verdict = arrive(x, model, &a);
    }
    buf_fini(&made);
    return answered(x, verdict, &a);
}

static void decide(struct turns *q, const struct sched_decision *d)
{
    struct exchange_turn *t = q->seats[d->tag].turn;
    struct exchange *x;
    uint64_t now_us = loop_now_us(q->home.loop);

    ASSERT(t != NULL && t->ticket == d->ticket); /* what leaves takes its decision with it */
    x = t->exchange;
    stand_up(q, t, now_us);
    if (d->verdict == SCHED_GRANTED) {
        granted(t, now_us, d->why, d->loads);
        if (!x->refused && take_node(x, d->node, d->why) != STEP_NEXT) {
            return;
        }
    } else {
        t->state = TURN_REFUSED;
        t->verdict = (uint8_t)d->verdict;
        t->ticket = 0;
    }
    if (!x->refused) {
        steps_run(x);
    }
    if (q->waiting.count > 0) {
        make_ready(turn_list_first(&q->waiting)->exchange);
    }
}

static void on_decided(void *owner)
{
    struct turns *q = owner;
    struct sched_decision d;

    while (brain_take(&q->home, &d)) {
        decide(q, &d);
    }
}

/* --- where they stand ------------------------------------------------------------------------- */

static void look_at(struct turns *q, struct exchange_turn *t)
{
    struct sched_answer a;

    /* To the end: telling one may end others. */
    turn_list_remove(&q->waiting, t);
    turn_list_push(&q->waiting, t);
    if (brain_look(&q->home, t->ticket, &a) && (a.position != t->position || a.depth != t->depth)) {
        tell_position(t->exchange, &a);
    }
}

static void on_look(void *owner)
{
    struct turns *q = owner;

    on_decided(q);
    for (size_t i = q->waiting.count; i > 0 && q->waiting.count > 0; i--) {
        look_at(q, turn_list_first(&q->waiting));
    }
    if (q->waiting.count > 0) {
        timer_arm(q->home.loop, &q->look, LOOK_MS);
    }
}

/* --- it goes ---------------------------------------------------------------------------------- */

static enum sched_end end_of(const struct exchange *x)
{
    if (x->sent_us < x->turn.granted_us || x->sent_us == 0) {
        return SCHED_UNREACHED;
    }
    if (!x->over) {
        return x->node_status == 0 ? SCHED_UNREACHED : SCHED_DONE; /* it goes elsewhere */
    }
    if (x->result_code == MCP_OK || x->result_from_node) {
        return SCHED_DONE;
    }
    switch (x->result_code) {
    case MCP_ENODE_UNAVAILABLE:
    case MCP_EUPSTREAM_ERROR:
    case MCP_ESTREAM_INTERRUPTED:
        return SCHED_FAILED;
    default:
        return SCHED_CANCELLED;
    }
}

static void give_back(struct exchange *x)
{
    struct exchange_turn *t = &x->turn;
    struct sched_outcome outcome = {
        .end = end_of(x),
        .prompt_tokens = t->prompt_tokens,
        .answer_tokens = t->answer_tokens > 0    ? t->answer_tokens
                         : x->parts > UINT32_MAX ? UINT32_MAX
                                                 : (uint32_t)x->parts,
        .first_us = x->first_part_us > t->granted_us ? x->first_part_us - t->granted_us : 0,
        .shares = t->shares,
        .share_count = t->share_count,
    };
    enum brain_leaving how = BRAIN_NOW;

    counter_add(COUNTER_SLOTS_USED, -1);
    if (outcome.end == SCHED_CANCELLED) {
        how = BRAIN_LATER;
        outcome.shares = NULL; /* they are not there any more by then */
    }
    brain_leave(&x->sub->turns.home, t->ticket, how, &outcome);
}

void turn_leave(struct exchange *x)
{
    struct exchange_turn *t = &x->turn;
    struct turns *q = &x->sub->turns;

    if (t->state == TURN_WAITS) {
        stand_up(q, t, loop_now_us(q->home.loop));
        counter_add(x->result_code == MCP_EDEADLINE_EXCEEDED ? COUNTER_QUEUE_LEFT_LATE
                                                             : COUNTER_QUEUE_LEFT,
                    1);
        brain_leave(&q->home, t->ticket, BRAIN_WAITED, NULL);
    } else if (t->state == TURN_GRANTED) {
        give_back(x);
    }
    t->state = TURN_NONE;
    t->ticket = 0;
}

void turn_again(struct exchange *x)
{
    struct node *n = nodes_by_id(x->sub->nodes, x->node_id);

    if (x->turn.state != TURN_GRANTED) {
        return;
    }
    x->turn.avoid_node = x->node_id;
    if (n != NULL && n->state == NODE_DOWN) {
        brain_node_lost(&x->sub->turns.home, x->node_id); /* sooner than the main reactor */
    }
    turn_leave(x);
}

void turn_started(struct exchange *x)
{
    x->turn.loads = false;
    brain_started(&x->sub->turns.home, x->turn.ticket);
}

/* --- the whole -------------------------------------------------------------------------------- */

void turns_init(struct turns *q, struct brain *b, struct loop *loop)
{
    *q = (struct turns){.first_free = 0};
    timer_init(&q->look, on_look, q);
    brain_home_init(&q->home, b, loop, on_decided, q);
}

void turns_fini(struct turns *q)
{
    ASSERT(q->waiting.count == 0);
    brain_home_fini(&q->home);
    free(q->seats);
    q->seats = NULL;
}
