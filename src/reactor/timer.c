/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in a pairing heap: intrusive, so that arming needs no memory and cannot fail. Arming is
 * O(1), cancelling and firing O(log n) amortised. */
#include "base/check.h"
#include "reactor/loop_internal.h"

static bool comes_before(const struct timer *a, const struct timer *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->order < b->order);
}

/* Makes the later of two roots the first child of the other. */
static struct timer *meld(struct timer *a, struct timer *b)
{
    struct timer *top;
    struct timer *sub;

    if (a == NULL || b == NULL) {
        return a == NULL ? b : a;
    }
    top = comes_before(a, b) ? a : b;
    sub = top == a ? b : a;
    sub->next = top->child;
    if (sub->next != NULL) {
        sub->next->prev = sub;
    }
    sub->prev = top;
    top->child = sub;
    return top;
}

/* Melds siblings into one root: pairs from the left, then the pairs from the right. */
static struct timer *meld_siblings(struct timer *first)
{
    struct timer *pairs = NULL; /* linked by `next`, the last one first */
    struct timer *root = NULL;

    while (first != NULL) {
        struct timer *a = first;
        struct timer *b = a->next;

        first = b == NULL ? NULL : b->next;
        a->next = a->prev = NULL;
        if (b != NULL) {
            b->next = b->prev = NULL;
        }
        a = meld(a, b);
        a->next = pairs;
        pairs = a;
    }
    while (pairs != NULL) {
        struct timer *next = pairs->next;

        pairs->next = NULL;
        root = meld(root, pairs);
        pairs = next;
    }
    return root;
}

static void unlink_timer(struct loop *loop, struct timer *t)
{
    struct timer *below = meld_siblings(t->child);

    if (t == loop->timers) {
        loop->timers = below;
    } else {
        if (t->prev->child == t) {
            t->prev->child = t->next;
        } else {
            t->prev->next = t->next;
        }
        if (t->next != NULL) {
            t->next->prev = t->prev;
        }
        loop->timers = meld(loop->timers, below);
    }
    t->child = t->next = t->prev = NULL;
    t->armed = false;
}

void timer_init(struct timer *t, loop_cb cb, void *owner)
{
    *t = (struct timer){.cb = cb, .owner = owner};
}

void timer_arm(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
    timer_arm_us(loop, t, delay_ms > UINT64_MAX / 2000 ? UINT64_MAX / 2 : delay_ms * 1000);
}

void timer_arm_us(struct loop *loop, struct timer *t, uint64_t delay_us)
{
    timer_cancel(loop, t);
    t->due_us = loop->now_us + (delay_us < UINT64_MAX / 2 ? delay_us : UINT64_MAX / 2);
    t->order = loop->timers_armed++;
    t->armed = true;
    loop->timers = meld(loop->timers, t);
}

void timer_cancel(struct loop *loop, struct timer *t)
{
    if (t->armed) {
        unlink_timer(loop, t);
    }
}

uint64_t timers_next_us(const struct loop *loop)
{
    return loop->timers == NULL ? UINT64_MAX : loop->timers->due_us;
}

void timers_run(struct loop *loop)
{
    uint64_t limit = loop->timers_armed;

    /* What a callback arms for now is due behind all that were due before, so the first one stops
     * the phase. */
    while (loop->timers != NULL && loop->timers->due_us <= loop->now_us &&
           loop->timers->order < limit) {
        struct timer *t = loop->timers;

        unlink_timer(loop, t);
        t->cb(t->owner);
    }
}
