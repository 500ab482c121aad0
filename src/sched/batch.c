/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/batch.h"

#include "base/check.h"
#include "base/hash.h"

enum { CHAINS = 256, HAD_SCALE = 1024 };

_Static_assert(BATCH_FLOWS == 64, "bits of `busy`");

void batch_init(struct batch *b, const struct batch_rules *rules)
{
    *b = (struct batch){0};
    batch_set_rules(b, rules);
}

void batch_set_rules(struct batch *b, const struct batch_rules *rules)
{
    ASSERT(rules->max_items >= 1 && rules->max_items <= BATCH_ITEMS_MAX && rules->max_calls >= 1);
    b->rules = *rules;
}

void batch_item_ready(struct batch_item *item)
{
    item->hash = hash_bytes(0, item->text);
}

bool batch_item_equal(const struct batch_item *a, const struct batch_item *b)
{
    return a->hash == b->hash && a->scope == b->scope && slice_eq(a->text, b->text);
}

static struct batch_flow *flow_of(struct batch *b, const struct batch_item *item)
{
    return &b->flows[item->flow % BATCH_FLOWS];
}

static uint64_t bit_of(const struct batch_item *item)
{
    return UINT64_C(1) << item->flow % BATCH_FLOWS;
}

void batch_add(struct batch *b, struct batch_item *item, uint64_t now_us)
{
    struct batch_flow *f = flow_of(b, item);
    size_t length = batch_length(item->tokens);

    ASSERT(item->tokens >= 1);
    if (f->items.count == 0 && f->had < b->had) {
        f->had = b->had; /* being idle saves nothing up */
    }
    item->seq = b->seq++;
    batch_items_push(&f->items, item);
    b->busy |= bit_of(item);
    b->waiting++;
    b->waiting_tokens += item->tokens;
    b->lengths.inputs[length]++;
    b->lengths.tokens[length] += item->tokens;
    b->quiet_since_us = now_us;
    b->returned++;
}

void batch_remove(struct batch *b, struct batch_item *item)
{
    struct batch_flow *f = flow_of(b, item);
    size_t length = batch_length(item->tokens);

    batch_items_remove(&f->items, item);
    if (f->items.count == 0) {
        b->busy &= ~bit_of(item);
    }
    b->waiting--;
    b->waiting_tokens -= item->tokens;
    b->lengths.inputs[length]--;
    b->lengths.tokens[length] -= item->tokens;
}

static bool is_full(const struct batch *b)
{
    return b->waiting >= b->rules.max_items || b->waiting_tokens >= b->rules.max_tokens;
}

/* Up to when it is held; 0: not any more. */
static uint64_t held_until(const struct batch *b, uint64_t now_us)
{
    uint64_t quiet_us = b->quiet_since_us + b->rules.pause_us;
    uint64_t until = quiet_us < b->hold_until_us ? quiet_us : b->hold_until_us;

    return is_full(b) || b->returned >= b->expected || until <= now_us ? 0 : until;
}

enum batch_verdict batch_look(struct batch *b, uint64_t now_us, uint64_t *again_us)
{
    if (b->hold_until_us != 0) {
        *again_us = held_until(b, now_us);
        if (*again_us != 0) {
            return b->calls < b->rules.max_calls ? BATCH_HOLD : BATCH_REST;
        }
        b->hold_until_us = 0;
    }
    return b->waiting > 0 && b->calls < b->rules.max_calls ? BATCH_SEND : BATCH_REST;
}

/* The one of the call with the same text; NULL. */
static struct batch_item *find_equal(struct batch_item *chain, const struct batch_item *item)
{
    while (chain != NULL && !batch_item_equal(chain, item)) {
        chain = chain->chain;
    }
    return chain;
}

/* --- a call ----------------------------------------------------------------------------------- */

/* What a call is made of. */
struct taking {
    size_t from, to; /* lengths */
    uint64_t share;  /* of the tokens that wait: others go to other nodes at once */
    uint64_t tokens;
    size_t inputs;
};

/* The first of the flow that may go into the call. */
static struct batch_item *next_of(struct batch_flow *f, const struct taking *t)
{
    while (f->next != NULL &&
           (batch_length(f->next->tokens) < t->from || batch_length(f->next->tokens) > t->to)) {
        f->next = batch_items_next(&f->items, f->next);
    }
    return f->next;
}

/* Whose turn it is; NULL: nobody's who may go into the call. */
static struct batch_item *next_item(struct batch *b, const struct taking *t)
{
    struct batch_flow *best = NULL;

    for (uint64_t left = b->busy; left != 0; left &= left - 1) {
        struct batch_flow *f = &b->flows[__builtin_ctzll(left)];

        if (next_of(f, t) != NULL && (best == NULL || f->had < best->had ||
                                      (f->had == best->had && f->next->seq < best->next->seq))) {
            best = f;
        }
    }
    return best == NULL ? NULL : best->next;
}

static void begin_taking(struct batch *b, struct batch_cost *cost, struct taking *t)
{
    size_t free_calls = b->rules.max_calls - b->calls;
    uint64_t tokens = 0;

    ASSERT(free_calls > 0 && b->waiting > 0);
    *t = (struct taking){.to = BATCH_LENGTHS - 1};
    for (uint64_t left = b->busy; left != 0; left &= left - 1) {
        struct batch_flow *f = &b->flows[__builtin_ctzll(left)];

        f->next = batch_items_first(&f->items);
    }
    if (cost != NULL) {
        size_t of = batch_length(next_item(b, t)->tokens);

        batch_cost_range(cost, &b->lengths, b->rules.max_items, of, &t->from, &t->to);
    }
    for (size_t i = t->from; i <= t->to; i++) {
        tokens += b->lengths.tokens[i];
    }
    t->share = tokens / free_calls + (tokens % free_calls != 0);
}

/* More of it would be too much, or another node's share. */
static bool is_whole(const struct batch *b, const struct taking *t, const struct batch_item *next)
{
    return t->inputs == b->rules.max_items ||
           (t->inputs > 0 && (t->tokens + next->tokens > b->rules.max_tokens ||
                              2 * t->tokens + next->tokens > 2 * t->share));
}

static void take(struct batch *b, struct batch_item *it, struct batch_items *out)
{
    struct batch_flow *f = flow_of(b, it);

    f->next = batch_items_next(&f->items, it);
    batch_remove(b, it);
    batch_items_push(out, it);
}

size_t batch_take(struct batch *b, struct batch_cost *cost, struct batch_items *out)
{
    struct batch_item *chains[CHAINS] = {NULL};
    struct taking t;
    struct batch_item *it;

    begin_taking(b, cost, &t);
    while ((it = next_item(b, &t)) != NULL) {
        struct batch_item **chain = &chains[it->hash % CHAINS];
        struct batch_item *equal = find_equal(*chain, it);
        struct batch_flow *f = flow_of(b, it);

        if (equal != NULL) {
            it->index = equal->index;
        } else if (is_whole(b, &t, it)) {
            break;
        } else {
            it->chain = *chain;
            *chain = it;
            it->index = t.inputs++;
            t.tokens += it->tokens;
            b->had = f->had;
            f->had += (uint64_t)it->tokens * HAD_SCALE / (it->weight == 0 ? 1 : it->weight);
        }
        take(b, it, out);
    }
    b->calls++;
    return t.inputs;
}

void batch_began(struct batch *b)
{
    b->calls++;
}

void batch_ended(struct batch *b, size_t items, uint64_t now_us)
{
    ASSERT(b->calls > 0);
    b->calls--;
    b->hold_until_us = now_us + b->rules.max_wait_us;
    b->quiet_since_us = now_us;
    b->expected = items;
    b->returned = 0;
}

void batch_share(uint64_t total, const uint32_t *weights, size_t count, uint64_t *shares)
{
    unsigned __int128 sum = 0, so_far = 0;
    uint64_t given = 0;

    for (size_t i = 0; i < count; i++) {
        sum += weights[i];
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t up_to;

        so_far += weights[i];
        up_to = (uint64_t)(so_far * total / sum);
        shares[i] = up_to - given;
        given = up_to;
    }
}
