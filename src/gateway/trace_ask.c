/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/trace_ask.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/err.h"
#include "gateway/gateway.h"
#include "gateway/trace.h"

/* What one loop is asked: its own while `ask` waits for it. */
struct trace_part {
    struct trace_ask *ask;
    const struct sub *sub;
    size_t count;
    struct buf found;
};

struct trace_ask {
    struct trace_ask *next;
    struct trace_ask **link;
    struct gateway *gateway;
    trace_ask_cb cb; /* NULL: forgotten */
    void *owner;
    char id[REQUEST_ID_MAX + 1];
    size_t count;   /* of the parts */
    size_t waiting; /* for so many of them */
    struct trace_part parts[];
};

static void ask_free(struct trace_ask *a)
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

static void tell(struct trace_ask *a)
{
    struct buf all = {0};
    size_t count = 0;

    for (size_t i = 0; i < a->count; i++) {
        const struct trace_part *p = &a->parts[i];

        if (p->count > 0) {
            buf_append_str(&all, count > 0 ? "," : "");
            buf_append(&all, buf_slice(&p->found));
            count += p->count;
        }
    }
    a->cb(a->owner, buf_slice(&all), buf_failed(&all) ? 0 : count);
    buf_fini(&all);
}

static void answered(struct trace_ask *a)
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
    struct trace_part *p = owner;

    answered(p->ask);
}

/* On the loop that is asked. */
static void look(void *owner)
{
    struct trace_part *p = owner;

    p->count = trace_find(p->sub, slice_str(p->ask->id), &p->found);
    if (buf_failed(&p->found)) {
        p->count = 0;
    }
    /* Without memory for that the ask stays unanswered, and its client asks again. */
    (void)loop_post(p->ask->gateway->loop, on_looked, p);
}

struct trace_ask *trace_ask_begin(struct gateway *g, struct slice id, trace_ask_cb cb, void *owner)
{
    struct trace_ask *a = calloc(1, sizeof(*a) + g->sub_count * sizeof(a->parts[0]));

    if (a == NULL) {
        return NULL;
    }
    a->gateway = g;
    a->cb = cb;
    a->owner = owner;
    slice_copy(id, a->id, sizeof(a->id));
    a->next = g->trace_asks;
    a->link = &g->trace_asks;
    if (a->next != NULL) {
        a->next->link = &a->next;
    }
    g->trace_asks = a;
    a->count = a->waiting = g->sub_count;
    for (size_t i = 0; i < a->count; i++) {
        a->parts[i] = (struct trace_part){.ask = a, .sub = &g->subs[i]};
        (void)loop_post(g->subs[i].loop, look, &a->parts[i]); /* see look */
    }
    return a;
}

void trace_ask_forget(struct trace_ask **ask)
{
    (*ask)->cb = NULL;
    *ask = NULL;
}

void trace_asks_free(struct gateway *g)
{
    while (g->trace_asks != NULL) {
        ask_free(g->trace_asks);
    }
}
