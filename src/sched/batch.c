/* SPDX-License-Identifier: Apache-2.0 */
#include "sched/batch.h"

#include "base/check.h"
#include "base/hash.h"

enum { CHAINS = 256 };

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

void batch_add(struct batch *b, struct batch_item *item, uint64_t now_us)
{
    ASSERT(item->tokens >= 1);
    batch_items_push(&b->waiting, item);
    b->waiting_tokens += item->tokens;
    b->quiet_since_us = now_us;
    b->returned++;
}

void batch_remove(struct batch *b, struct batch_item *item)
{
    batch_items_remove(&b->waiting, item);
    b->waiting_tokens -= item->tokens;
}

static bool is_full(const struct batch *b)
{
    return b->waiting.count >= b->rules.max_items || b->waiting_tokens >= b->rules.max_tokens;
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
    return b->waiting.count > 0 && b->calls < b->rules.max_calls ? BATCH_SEND : BATCH_REST;
}

/* The one of the call with the same text; NULL. */
static struct batch_item *find_equal(struct batch_item *chain, const struct batch_item *item)
{
    while (chain != NULL && !batch_item_equal(chain, item)) {
        chain = chain->chain;
    }
    return chain;
}

static size_t divided_up(size_t n, size_t by)
{
    return n / by + (n % by != 0);
}

size_t batch_take(struct batch *b, struct batch_items *out)
{
    struct batch_item *chains[CHAINS] = {NULL};
    size_t free_calls = b->rules.max_calls - b->calls;
    size_t most = divided_up(b->waiting.count, free_calls);
    uint64_t tokens = 0;
    size_t count = 0;
    struct batch_item *next;

    ASSERT(b->calls < b->rules.max_calls);
    most = most < b->rules.max_items ? most : b->rules.max_items;
    for (struct batch_item *it = batch_items_first(&b->waiting); it != NULL; it = next) {
        struct batch_item **chain = &chains[it->hash % CHAINS];
        struct batch_item *equal = find_equal(*chain, it);

        next = batch_items_next(&b->waiting, it);
        if (equal == NULL) {
            if (count == most || (count > 0 && tokens + it->tokens > b->rules.max_tokens)) {
                break;
            }
            it->chain = *chain;
            *chain = it;
            it->index = count++;
            tokens += it->tokens;
        } else {
            it->index = equal->index;
        }
        batch_remove(b, it);
        batch_items_push(out, it);
    }
    b->calls++;
    return count;
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
