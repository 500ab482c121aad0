/* SPDX-License-Identifier: Apache-2.0 */
/* What waits and runs, as JSON: GET /admin/queue. */
#include <inttypes.h>

#include "base/json_scan.h"
#include "gateway/brain_internal.h"

enum { REQUESTS_MAX = 1000 };

struct page {
    struct buf *out;
    struct nodes *nodes;
    size_t count;
    size_t left_out;
};

static const char *const class_names[SCHED_CLASS_COUNT] = {
    [SCHED_CLASS_INTERACTIVE] = "interactive",
    [SCHED_CLASS_NORMAL] = "normal",
    [SCHED_CLASS_BATCH] = "batch",
};

/* As people write it. */
static struct slice usual_name(struct slice canonical)
{
    static const struct slice usual = SLICE("registry.ollama.ai/library/");

    return slice_starts(canonical, usual) ? slice_skip(canonical, usual.len) : canonical;
}

static void append_text(struct buf *out, const char *key, struct slice text)
{
    buf_printf(out, "\"%s\":", key);
    json_append_string(out, text);
}

static void append_comma(struct page *p)
{
    buf_append_str(p->out, p->count++ == 0 ? "" : ",");
}

static void append_node_name(struct page *p, uint64_t id)
{
    struct node *n = nodes_by_id(p->nodes, id);

    buf_append_byte(p->out, ',');
    append_text(p->out, "node", n == NULL ? SLICE("") : slice_str(n->spec->name));
}

static bool on_request(void *owner, const struct sched_view *v)
{
    struct page *p = owner;
    struct buf *out = p->out;
    bool waits = v->node == 0;

    if (p->count == REQUESTS_MAX) {
        p->left_out++;
        return true;
    }
    append_comma(p);
    buf_printf(out, "{\"state\":\"%s\",", waits ? "queued" : v->loads ? "loading" : "running");
    append_text(out, "model", usual_name(v->model));
    buf_append_byte(out, ',');
    append_text(out, "tenant", v->tenant);
    buf_printf(out, ",\"class\":\"%s\",\"ms\":%" PRIu64, class_names[v->class], v->age_us / 1000);
    if (!waits) {
        append_node_name(p, v->node);
    } else {
        buf_printf(out, ",\"position\":%zu", v->position);
        if (v->eta_us != SCHED_UNKNOWN) {
            buf_printf(out, ",\"eta_ms\":%" PRIu64, v->eta_us / 1000);
        }
    }
    buf_append_byte(out, '}');
    return true;
}

static bool on_model(void *owner, const struct sched_node_view *v)
{
    struct page *p = owner;

    append_comma(p);
    buf_append_byte(p->out, '{');
    append_text(p->out, "model", usual_name(v->model));
    buf_printf(p->out, ",\"resident\":%s,\"loading\":%s,\"running\":%" PRIu32,
               v->resident ? "true" : "false", v->loading ? "true" : "false", v->running);
    if (v->slots != SCHED_SLOTS_UNLIMITED) {
        buf_printf(p->out, ",\"slots\":%" PRIu32, v->slots);
    }
    if (v->tokens_per_s > 0) {
        buf_printf(p->out, ",\"tokens_per_s\":%.1f", v->tokens_per_s);
    }
    buf_append_byte(p->out, '}');
    return true;
}

/* Under the lock. */
static void append_nodes(struct brain *b, struct page *p)
{
    for (size_t i = 0; i < nodes_count(p->nodes); i++) {
        const struct node *n = nodes_at(p->nodes, i);

        buf_append_str(p->out, i == 0 ? "{" : ",{");
        append_text(p->out, "name", slice_str(n->spec->name));
        buf_append_str(p->out, ",\"models\":[");
        p->count = 0;
        sched_node_walk(b->sched, n->id, on_model, p);
        buf_append_str(p->out, "]}");
    }
}

bool brain_page(struct brain *b, struct nodes *nodes, struct buf *out)
{
    struct page p = {.out = out, .nodes = nodes};
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));
    struct sched_stats stats;

    sched_stats(b->sched, &stats);
    buf_printf(out,
               "{\"schedules\":%s,\"waiting\":%" PRIu64 ",\"running\":%" PRIu64
               ",\"waiting_bytes\":%" PRIu64 ",\"loads\":%" PRIu64 ",\"tenants\":%" PRIu64
               ",\"nodes\":[",
               brain_schedules(b) ? "true" : "false", stats.waiting, stats.running,
               stats.waiting_bytes, stats.loads, stats.tenants);
    append_nodes(b, &p);
    buf_append_str(out, "],\"requests\":[");
    p.count = 0;
    sched_walk(b->sched, now_us, on_request, &p);
    buf_printf(out, "],\"requests_left_out\":%zu}\n", p.left_out);
    brain_go(b, &after);
    return !buf_failed(out);
}
