/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/sub_ask.h"

#include <stdlib.h>

#include "base/err.h"
#include "gateway/gateway.h"

/* What one loop is asked: its own while `ask` waits for it. */
struct sub_ask_part {
    struct sub_ask *ask;
    const struct sub *sub;
    size_t count;
    struct buf found;
};

struct sub_ask {
    struct sub_ask *next;
    struct sub_ask **link;
    struct gateway *gateway;
    sub_ask_cb cb; /* NULL: forgotten */
    void *owner;
    sub_look_fn look;
    char about[SUB_ASK_ABOUT_MAX + 1];
    size_t count;   /* of the parts */
    size_t waiting; /* for so many of them */
    struct sub_ask_part parts[];
};

static void ask_free(struct sub_ask *a)
{
    *a->link = a->next;
    if (a->next != NULL) {
        a->next->link = a->link;
    }
    for (size_t i = 0; i < a->count; i++) {
        buf_fini(&a->parts[i].found);
    }
    free(a);
}

static void tell(struct sub_ask *a)
{
    struct buf all = {0};
    size_t count = 0;

    for (size_t i = 0; i < a->count; i++) {
        const struct sub_ask_part *p = &a->parts[i];

        if (buf_len(&p->found) > 0) {
            buf_append_str(&all, buf_len(&all) > 0 ? "," : "");
            buf_append(&all, buf_slice(&p->found));
        }
        count += p->count;
    }
    a->cb(a->owner, buf_slice(&all), buf_failed(&all) ? 0 : count);
    buf_fini(&all);
}

static void answered(struct sub_ask *a)
{
    if (--a->waiting == 0) {
        if (a->cb != NULL) {
            tell(a);
        }
        ask_free(a);
    }
}

static void on_looked(void *owner)
{
    struct sub_ask_part *p = owner;

    answered(p->ask);
}

/* On the loop that is asked. */
static void look_here(void *owner)
{
    struct sub_ask_part *p = owner;

    p->count = p->ask->look(p->sub, slice_str(p->ask->about), &p->found);
    if (buf_failed(&p->found)) {
        p->count = 0;
        buf_fini(&p->found);
    }
    /* Without memory for that the ask stays unanswered, and its client asks again. */
    (void)loop_post(p->ask->gateway->loop, on_looked, p);
}

struct sub_ask *sub_ask_begin(struct gateway *g, sub_look_fn look, struct slice about,
                              sub_ask_cb cb, void *owner)
{
    struct sub_ask *a = calloc(1, sizeof(*a) + g->sub_count * sizeof(a->parts[0]));

    if (a == NULL) {
        return NULL;
    }
    a->gateway = g;
    a->cb = cb;
    a->owner = owner;
    a->look = look;
    slice_copy(about, a->about, sizeof(a->about));
    a->next = g->sub_asks;
    a->link = &g->sub_asks;
    if (a->next != NULL) {
        a->next->link = &a->next;
    }
    g->sub_asks = a;
    a->count = a->waiting = g->sub_count;
    for (size_t i = 0; i < a->count; i++) {
        a->parts[i] = (struct sub_ask_part){.ask = a, .sub = &g->subs[i]};
        (void)loop_post(g->subs[i].loop, look_here, &a->parts[i]); /* see there */
    }
    return a;
}

void sub_ask_forget(struct sub_ask **ask)
{
    (*ask)->cb = NULL;
    *ask = NULL;
}

void sub_asks_free(struct gateway *g)
{
    while (g->sub_asks != NULL) {
        ask_free(g->sub_asks);
    }
}
