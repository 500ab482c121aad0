/* SPDX-License-Identifier: Apache-2.0 */
/* Timers in a hierarchical timing wheel of 1 us ticks. A timer stands on the level of the highest
 * 6-bit group in which its due time differs from the wheel's, in the slot which that group names.
 * So all on a level are due within the slot of the level above in which the wheel stands, and later
 * than the wheel's own slot of their level: what comes next is the first used slot of the lowest
 * used level. When the wheel gets to a slot above the lowest level, its timers move down.
 * Where a timer is follows from its due time, and timers due at the same time are always in the
 * same list, in the order armed. */
#include "base/check.h"
#include "reactor/loop_internal.h"

enum { SLOT_BITS = 6 };
_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "a group of bits names a slot");
_Static_assert(TIMER_LEVELS *SLOT_BITS >= 64, "every due time has a level");

static void link_before(struct list_link *end, struct list_link *l)
{
    l->prev = end->prev;
    l->next = end;
    end->prev->next = l;
    end->prev = l;
}

static void insert(struct timer_wheel *w, struct timer *t)
{
    unsigned level;
    unsigned slot;

    if (t->due_us <= w->time_us) {
        link_before(&w->due, &t->link);
        return;
    }
    level = (63U - (unsigned)__builtin_clzll(t->due_us ^ w->time_us)) / SLOT_BITS;
    slot = t->due_us >> (level * SLOT_BITS) & (TIMER_SLOTS - 1);
    link_before(&w->slots[level][slot], &t->link);
    w->used_slots[level] |= UINT64_C(1) << slot;
    w->used_levels |= 1U << level;
}

static void mark_unused(struct timer_wheel *w, unsigned level, unsigned slot)
{
    w->used_slots[level] &= ~(UINT64_C(1) << slot);
    if (w->used_slots[level] == 0) {
        w->used_levels &= ~(1U << level);
    }
}

static void take_out(struct timer_wheel *w, struct timer *t)
{
    struct list_link *prev = t->link.prev;
    struct list_link *next = t->link.next;

    prev->next = next;
    next->prev = prev;
    t->link.next = NULL;
    if (prev == next && prev != &w->due) { /* the slot itself is what is left */
        size_t index = (size_t)(prev - w->slots[0]);

        mark_unused(w, (unsigned)(index / TIMER_SLOTS), index % TIMER_SLOTS);
    }
}

static struct timer *timer_of(struct list_link *l)
{
    return (struct timer *)(void *)((char *)l - offsetof(struct timer, link));
}

struct place {
    unsigned level;
    unsigned slot;
    uint64_t begin_us;
    struct timer *only; /* NULL: there are more */
};

/* The slot that the wheel gets to next; some level must be in use. */
static struct place next_place(const struct timer_wheel *w)
{
    unsigned level = (unsigned)__builtin_ctz(w->used_levels);
    unsigned slot = (unsigned)__builtin_ctzll(w->used_slots[level]);
    unsigned shift = level * SLOT_BITS;
    uint64_t above = w->time_us >> shift & ~(uint64_t)(TIMER_SLOTS - 1);
    struct list_link *first = w->slots[level][slot].next;

    return (struct place){level, slot, (above | slot) << shift,
                          first->next == first->prev ? timer_of(first) : NULL};
}

/* Puts what was in that slot where it belongs now. */
static void empty_slot(struct timer_wheel *w, struct place at)
{
    struct list_link *end = &w->slots[at.level][at.slot];
    struct list_link *l = end->next;

    end->prev = end->next = end;
    mark_unused(w, at.level, at.slot);
    while (l != end) {
        struct list_link *next = l->next;

        insert(w, timer_of(l));
        l = next;
    }
}

static void turn_to(struct timer_wheel *w, uint64_t now_us)
{
    while (w->used_levels != 0) {
        struct place at = next_place(w);

        if (at.begin_us > now_us) {
            break;
        }
        if (at.only == NULL) {
            w->time_us = at.begin_us;
        } else { /* one needs no ordering: not level by level */
            w->time_us = at.only->due_us < now_us ? at.only->due_us : now_us;
        }
        empty_slot(w, at);
    }
    w->time_us = now_us;
}

void timers_init(struct loop *loop)
{
    struct timer_wheel *w = &loop->timers;

    w->time_us = loop->now_us;
    w->due.prev = w->due.next = &w->due;
    for (size_t i = 0; i < TIMER_LEVELS; i++) {
        for (size_t j = 0; j < TIMER_SLOTS; j++) {
            w->slots[i][j] = (struct list_link){&w->slots[i][j], &w->slots[i][j]};
        }
    }
}

void timer_init(struct timer *t, loop_cb cb, void *owner)
{
    *t = (struct timer){.cb = cb, .owner = owner};
}

void timer_arm(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
    timer_arm_us(loop, t, delay_ms > UINT64_MAX / 1000 ? UINT64_MAX : delay_ms * 1000);
}

void timer_arm_us(struct loop *loop, struct timer *t, uint64_t delay_us)
{
    timer_cancel(loop, t);
    if (__builtin_add_overflow(loop->now_us, delay_us, &t->due_us)) {
        t->due_us = UINT64_MAX;
    }
    insert(&loop->timers, t);
}

void timer_cancel(struct loop *loop, struct timer *t)
{
    if (timer_armed(t)) {
        take_out(&loop->timers, t);
    }
}

uint64_t timers_next_us(const struct loop *loop)
{
    const struct timer_wheel *w = &loop->timers;
    struct place at;

    if (w->due.next != &w->due) {
        return w->time_us;
    }
    if (w->used_levels == 0) {
        return UINT64_MAX;
    }
    at = next_place(w);
    /* For more than one the loop may wake up only to move them down. */
    return at.only != NULL ? at.only->due_us : at.begin_us;
}

void timers_run(struct loop *loop)
{
    struct timer_wheel *w = &loop->timers;
    struct list_link end; /* what callbacks arm for now stands behind it */

    turn_to(w, loop->now_us);
    if (w->due.next == &w->due) {
        return;
    }
    link_before(&w->due, &end);
    while (w->due.next != &end) {
        struct timer *t = timer_of(w->due.next);

        take_out(w, t);
        t->cb(t->owner);
    }
    w->due.next = end.next;
    end.next->prev = &w->due;
}
