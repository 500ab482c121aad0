/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sched/batch.h"
#include "seeds.h"

enum { WAIT_US = 5000, PAUSE_US = 1000, WORLD_ITEMS = 400 };

static const struct batch_rules usual = {.max_items = 8,
                                         .max_tokens = 100,
                                         .max_wait_us = WAIT_US,
                                         .pause_us = PAUSE_US,
                                         .max_calls = 1};

static struct batch_item make(const char *text, uint32_t tokens)
{
    struct batch_item item = {.text = slice_str(text), .tokens = tokens};

    batch_item_ready(&item);
    return item;
}

static void is_sent(struct batch *b, uint64_t now_us)
{
    uint64_t again_us;

    assert_int_equal(batch_look(b, now_us, &again_us), BATCH_SEND);
}

static void is_held(struct batch *b, uint64_t now_us, uint64_t until_us)
{
    uint64_t again_us = 0;

    assert_int_equal(batch_look(b, now_us, &again_us), BATCH_HOLD);
    assert_int_equal(again_us, until_us);
}

static void rests(struct batch *b, uint64_t now_us)
{
    uint64_t again_us;

    assert_int_equal(batch_look(b, now_us, &again_us), BATCH_REST);
}

/* Takes a call of `inputs` different inputs and `items` items. */
static void takes(struct batch *b, size_t inputs, size_t items)
{
    struct batch_items out = {0};

    assert_int_equal(batch_take(b, NULL, &out), inputs);
    assert_int_equal(out.count, items);
    while (batch_items_pop(&out) != NULL) {
    }
}

static void nobody_waits_when_idle(void **state)
{
    struct batch_item one = make("a", 1);
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    rests(&b, 0);
    batch_add(&b, &one, 10);
    is_sent(&b, 10);
    takes(&b, 1, 1);
    rests(&b, 20);
}

static void what_comes_during_a_call_is_collected(void **state)
{
    struct batch_item items[] = {make("a", 1), make("b", 1), make("c", 1), make("d", 1)};
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    batch_add(&b, &items[0], 0);
    takes(&b, 1, 1);
    batch_add(&b, &items[1], 10);
    batch_add(&b, &items[2], 20);
    rests(&b, 100000);
    batch_ended(&b, 1, 100000);
    is_held(&b, 100000, 100000 + PAUSE_US);
    batch_add(&b, &items[3], 100300); /* the one that was served is back */
    is_sent(&b, 100300);
    takes(&b, 3, 3);
}

static void held_until_nobody_comes(void **state)
{
    struct batch_item items[8];
    struct batch b;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        items[i] = make(&"abcdefgh"[i], 1);
    }
    batch_init(&b, &usual);
    batch_began(&b);
    batch_add(&b, &items[0], 0);
    batch_ended(&b, 8, 1000);
    is_held(&b, 1000, 2000);
    batch_add(&b, &items[1], 1900);
    is_held(&b, 1900, 2900);
    is_sent(&b, 2900);
    /* It never takes longer than max_wait. */
    takes(&b, 2, 2);
    batch_ended(&b, 8, 10000);
    for (size_t i = 2; i < 8; i++) {
        batch_add(&b, &items[i], 10000 + 900 * (i - 1));
    }
    is_sent(&b, 15000);
}

static void a_hold_over_nobody_ends(void **state)
{
    struct batch_item one = make("a", 1);
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    batch_began(&b);
    batch_ended(&b, 1, 0);
    is_held(&b, 0, PAUSE_US);
    rests(&b, PAUSE_US);
    batch_add(&b, &one, PAUSE_US + 1);
    is_sent(&b, PAUSE_US + 1);
}

static void full_goes_at_once(void **state)
{
    struct batch_item items[9];
    struct batch_item large = make("large", 101);
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    batch_began(&b);
    for (size_t i = 0; i < 9; i++) {
        items[i] = make(&"abcdefghi"[i], 1);
        batch_add(&b, &items[i], 0);
    }
    batch_ended(&b, 100, 10);
    is_sent(&b, 10);
    takes(&b, 8, 8);
    batch_ended(&b, 8, 20);
    is_held(&b, 20, 20 + PAUSE_US);
    batch_add(&b, &large, 20); /* by its tokens; but it goes alone */
    is_sent(&b, 20);
    takes(&b, 1, 1);
    batch_ended(&b, 1, 30);
    is_sent(&b, 30);
    takes(&b, 1, 1);
}

static void equal_inputs_are_one(void **state)
{
    struct batch_item items[] = {make("a", 60), make("b", 1), make("a", 60), make("a", 60),
                                 make("c", 60)};
    const size_t index[] = {0, 1, 0, 0};
    struct batch_items out = {0};
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    for (size_t i = 0; i < 5; i++) {
        batch_add(&b, &items[i], 0);
    }
    assert_int_equal(batch_take(&b, NULL, &out), 2); /* c is beyond the tokens */
    assert_int_equal(out.count, 4);
    for (size_t i = 0; i < 4; i++) {
        struct batch_item *it = batch_items_pop(&out);

        assert_ptr_equal(it, &items[i]);
        assert_int_equal(it->index, index[i]);
    }
    assert_int_equal(b.waiting, 1);
    assert_int_equal(b.waiting_tokens, 60);
    items[0].scope = 1;
    assert_false(batch_item_equal(&items[0], &items[2]));
}

static void free_nodes_share(void **state)
{
    struct batch_rules rules = usual;
    struct batch_item items[6];
    struct batch b;

    (void)state;
    rules.max_calls = 3;
    batch_init(&b, &rules);
    for (size_t i = 0; i < 6; i++) {
        items[i] = make(&"abcdef"[i], 1);
        batch_add(&b, &items[i], 0);
    }
    takes(&b, 2, 2);
    is_sent(&b, 0);
    takes(&b, 2, 2);
    takes(&b, 2, 2);
    rests(&b, 0);
}

/* One long input and six short ones: about as many tokens to each. */
static void free_nodes_share_by_tokens(void **state)
{
    struct batch_rules rules = usual;
    struct batch_item items[7];
    struct batch b;

    (void)state;
    rules.max_calls = 2;
    batch_init(&b, &rules);
    for (size_t i = 0; i < 7; i++) {
        items[i] = make(&"abcdefg"[i], i == 0 ? 6 : 1);
        batch_add(&b, &items[i], 0);
    }
    takes(&b, 1, 1);
    takes(&b, 6, 6);
}

/* Names of the items of the next call. */
static const char *names_of(struct batch *b, struct batch_cost *cost)
{
    static char names[64];
    struct batch_items out = {0};
    size_t n = 0;

    (void)batch_take(b, cost, &out);
    for (struct batch_item *it; (it = batch_items_pop(&out)) != NULL;) {
        names[n++] = it->text.ptr[0];
    }
    names[n] = '\0';
    batch_ended(b, n, 0);
    return names;
}

static void flows_share_calls(void **state)
{
    struct batch_item items[26];
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    for (size_t i = 0; i < 20; i++) { /* somebody's array, then single ones of others */
        items[i] = make(&"aaaaaaaaaaaaaaaaaaaa"[i], 2);
        items[i].scope = i;
        items[i].flow = 1;
        batch_add(&b, &items[i], 0);
    }
    assert_string_equal(names_of(&b, NULL), "aaaaaaaa");
    for (size_t i = 20; i < 26; i++) {
        items[i] = make(&"bbbccc"[i - 20], 2);
        items[i].scope = i;
        items[i].flow = i < 23 ? 2 : 3;
        items[i].weight = i < 23 ? 1 : 2;
        batch_add(&b, &items[i], 0);
    }
    assert_string_equal(names_of(&b, NULL), "bccabcab"); /* c has two for each of theirs */
    assert_string_equal(names_of(&b, NULL), "aaaaaaaa");
}

static void like_lengths_go_together_where_that_saves_time(void **state)
{
    /* 1 ms, and 100 us for each token of the rectangle. */
    struct batch_cost cost = {.us = {1000, 0, 100, 100}, .pads = true};
    struct batch_item items[6];
    struct batch b;

    (void)state;
    cost.calls = 100;
    batch_init(&b, &usual);
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 6; i++) {
            items[i] = make(&"aBcDeF"[i], i % 2 == 0 ? 2 : 15);
            batch_add(&b, &items[i], 0);
        }
        if (round == 0) {
            assert_string_equal(names_of(&b, &cost), "ace"); /* the first one's length */
            assert_string_equal(names_of(&b, &cost), "BDF");
        } else { /* a call costs more than the padding would */
            cost.us[0] = 100000;
            assert_string_equal(names_of(&b, &cost), "aBcDeF");
        }
    }
}

static void who_leaves_is_not_sent(void **state)
{
    struct batch_item items[] = {make("a", 1), make("b", 2)};
    struct batch b;

    (void)state;
    batch_init(&b, &usual);
    batch_add(&b, &items[0], 0);
    batch_add(&b, &items[1], 0);
    batch_remove(&b, &items[0]);
    assert_int_equal(b.waiting_tokens, 2);
    batch_remove(&b, &items[1]);
    rests(&b, 0);
}

static void shares_add_up(void **state)
{
    const uint32_t weights[] = {1, 1, 1};
    uint64_t shares[3];

    (void)state;
    batch_share(10, weights, 3, shares);
    assert_int_equal(shares[0], 3);
    assert_int_equal(shares[1], 3);
    assert_int_equal(shares[2], 4);
    batch_share(0, weights, 3, shares);
    assert_int_equal(shares[0] + shares[1] + shares[2], 0);
    batch_share(UINT64_MAX, weights, 3, shares);
    assert_true(shares[0] + shares[1] + shares[2] == UINT64_MAX);
}

/* --- worlds ----------------------------------------------------------------------------------- */

struct world {
    uint64_t random;
    struct batch b;
    struct batch_rules rules;
    struct batch_item items[WORLD_ITEMS];
    char texts[WORLD_ITEMS][8];
    int seen[WORLD_ITEMS];
    struct {
        uint64_t ends_us;
        size_t items;
    } calls[4];
    size_t call_count;
    size_t last_sent; /* one more than its number */
    uint64_t free_since_us;
};

static uint64_t roll(struct world *w, uint64_t sides)
{
    w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (w->random >> 33) % sides;
}

static void check_call(struct world *w, uint64_t now_us)
{
    struct batch_items out = {0};
    uint64_t tokens = 0;
    size_t inputs = batch_take(&w->b, NULL, &out);
    size_t next = 0;
    size_t items = out.count;

    assert_in_range(inputs, 1, w->rules.max_items);
    for (struct batch_item *it; (it = batch_items_pop(&out)) != NULL;) {
        size_t number = (size_t)(it - w->items);

        assert_true(number + 1 > w->last_sent); /* in their order */
        w->last_sent = number + 1;
        assert_int_equal(w->seen[number], 1);
        w->seen[number] = 2;
        assert_true(it->index <= next);
        if (it->index == next) {
            next++;
            tokens += it->tokens;
        }
    }
    assert_int_equal(next, inputs);
    assert_true(inputs == 1 || tokens <= w->rules.max_tokens);
    w->calls[w->call_count].items = items;
    w->calls[w->call_count++].ends_us = now_us + 1 + roll(w, 20000);
    assert_true(w->call_count <= w->rules.max_calls);
}

static void send_all(struct world *w, uint64_t now_us)
{
    uint64_t again_us = 0;
    enum batch_verdict v;

    while ((v = batch_look(&w->b, now_us, &again_us)) == BATCH_SEND) {
        check_call(w, now_us);
    }
    if (v == BATCH_HOLD) {
        assert_true(again_us > now_us && again_us <= now_us + w->rules.max_wait_us);
    }
    /* A call could be sent, something waits, and it is not held: cannot be. */
    assert_false(v == BATCH_REST && w->b.waiting > 0 && w->call_count < w->rules.max_calls);
}

static void end_calls(struct world *w, uint64_t now_us)
{
    for (size_t i = 0; i < w->call_count;) {
        if (w->calls[i].ends_us > now_us) {
            i++;
            continue;
        }
        batch_ended(&w->b, w->calls[i].items, now_us);
        w->calls[i] = w->calls[--w->call_count];
    }
}

static void run_world(uint64_t seed)
{
    struct world w = {.random = seed};
    size_t arrived = 0;
    uint64_t now_us = 0;

    w.rules = (struct batch_rules){.max_items = 1 + roll(&w, 16),
                                   .max_tokens = 1 + roll(&w, 60),
                                   .max_wait_us = roll(&w, 6000),
                                   .pause_us = roll(&w, 1500),
                                   .max_calls = 1 + roll(&w, 4)};
    batch_init(&w.b, &w.rules);
    for (unsigned turn = 0; turn < 100000; turn++) {
        now_us += roll(&w, 700);
        end_calls(&w, now_us);
        if (arrived < WORLD_ITEMS && roll(&w, 3) > 0) {
            struct batch_item *it = &w.items[arrived];

            (void)snprintf(w.texts[arrived], sizeof(w.texts[0]), "%u", (unsigned)roll(&w, 50));
            *it = make(w.texts[arrived], (uint32_t)(1 + roll(&w, 20)));
            w.seen[arrived++] = 1;
            batch_add(&w.b, it, now_us);
            if (roll(&w, 20) == 0) {
                batch_remove(&w.b, it);
                w.seen[arrived - 1] = 3;
            }
        }
        send_all(&w, now_us);
        if (arrived == WORLD_ITEMS && w.call_count == 0 && w.b.waiting == 0) {
            break;
        }
    }
    for (size_t i = 0; i < WORLD_ITEMS; i++) {
        assert_in_range(w.seen[i], 2, 3);
    }
    assert_int_equal(w.b.waiting_tokens, 0);
    assert_int_equal(w.b.calls, 0);
}

static void worlds(void **state)
{
    (void)state;
    seeds_run(500, run_world);
}

/* Twenty askers, each back 0.2 to 0.9 ms after its answer; the seed's node. All are in one call
 * from the second one on: no cohorts. */
static void closed_loop_fills_one_call(void **state)
{
    struct batch_rules rules = usual;
    struct batch_item items[20];
    struct batch b;
    uint64_t now_us = 0, again_us;

    (void)state;
    rules.max_items = 32;
    rules.max_tokens = 1 << 20;
    batch_init(&b, &rules);
    for (size_t i = 0; i < 20; i++) {
        items[i] = make(&"abcdefghijklmnopqrstuvwxyz"[i], 1);
        batch_add(&b, &items[i], 0);
    }
    batch_remove(&b, &items[0]);
    takes(&b, 19, 19);
    batch_add(&b, &items[0], 50); /* the twentieth comes later: it must not stay alone for ever */
    for (size_t round = 0; round < 3; round++) {
        size_t served = round == 0 ? 19 : 20;

        now_us += 27200 + 1360 * served;
        batch_ended(&b, served, now_us);
        for (size_t i = 20 - served; i < 20; i++) {
            now_us += 35;
            is_held(&b, now_us, now_us - 35 + PAUSE_US);
            batch_add(&b, &items[i], now_us);
        }
        assert_int_equal(batch_look(&b, now_us, &again_us), BATCH_SEND);
        takes(&b, 20, 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_waits_when_idle),
        cmocka_unit_test(what_comes_during_a_call_is_collected),
        cmocka_unit_test(held_until_nobody_comes),
        cmocka_unit_test(a_hold_over_nobody_ends),
        cmocka_unit_test(full_goes_at_once),
        cmocka_unit_test(equal_inputs_are_one),
        cmocka_unit_test(free_nodes_share),
        cmocka_unit_test(free_nodes_share_by_tokens),
        cmocka_unit_test(flows_share_calls),
        cmocka_unit_test(like_lengths_go_together_where_that_saves_time),
        cmocka_unit_test(who_leaves_is_not_sent),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(closed_loop_fills_one_call),
        SEEDS_TEST(worlds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
