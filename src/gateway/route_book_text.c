/* SPDX-License-Identifier: Apache-2.0 */
/* The book of routes as JSON: what is shown, and what outlives the gateway. */
#include <inttypes.h>

#include "base/json_scan.h"
#include "gateway/route_book_internal.h"

const char *const route_state_names[] = {"on", "paused", "rolled_back"};
const char *const route_why_names[] = {"", "asked", "errors", "first_part"};

#define US_PER_S UINT64_C(1000000)

enum {
    STATE_COUNT = sizeof(route_state_names) / sizeof(route_state_names[0]),
    WHY_COUNT = sizeof(route_why_names) / sizeof(route_why_names[0])
};

/* --- what is shown ---------------------------------------------------------------------------- */

static void append_text(struct buf *out, const char *before, const char *text)
{
    buf_append_str(out, before);
    json_append_string(out, slice_str(text));
}

static void append_spread(struct buf *out, const char *name, const struct model_route_spread *s,
                          double unit)
{
    if (s->count > 0) {
        buf_printf(out, ",\"%s\":{\"count\":%" PRIu64 ",\"mean\":%.3f,\"deviation\":%.3f}", name,
                   s->count, s->mean / unit, s->deviation / unit);
    }
}

/* How long an arm that is promoted is watched still, and what it is held against. */
static void append_watch(struct buf *out, const struct model_route_watch *w, uint64_t now_us)
{
    struct model_route_summary s;

    if (w->until_us <= now_us) {
        return;
    }
    model_route_summarize_period(&w->against, &s);
    buf_printf(
        out, ",\"watched_s\":%" PRIu64 ",\"against\":{\"requests\":%" PRIu64 ",\"errors\":%" PRIu64,
        (w->until_us - now_us) / US_PER_S, s.requests, s.errors);
    append_spread(out, "first_part_ms", &s.first_part_us, 1000);
    buf_append_byte(out, '}');
}

static void append_arm(struct buf *out, const struct route_entry *en, size_t i, uint64_t now_us)
{
    const struct model_route_arm *a = &en->route.arms[i];
    struct model_route_summary s;

    model_route_summarize(&en->route, now_us, i, &s);
    append_text(out, "{\"model\":", en->models[i]);
    append_text(out,
                ",\"state\":", en->route.promoted == i ? "promoted" : route_state_names[a->state]);
    if (a->why != MODEL_ROUTE_WHY_NONE) {
        append_text(out, ",\"why\":", route_why_names[a->why]);
    }
    buf_printf(out, ",\"weight\":%u,\"shadow\":%u,\"requests\":%" PRIu64 ",\"errors\":%" PRIu64,
               (unsigned)a->weight, (unsigned)a->shadow_percent, s.requests, s.errors);
    append_spread(out, "first_part_ms", &s.first_part_us, 1000);
    append_spread(out, "parts_per_s", &s.rate, 1);
    append_spread(out, "parts", &s.length, 1);
    if (en->route.promoted == i) {
        append_watch(out, &en->route.watch, now_us);
    }
    buf_append_byte(out, '}');
}

bool route_book_list(struct route_book *b, uint64_t now_us, struct buf *out)
{
    (void)pthread_mutex_lock(&b->lock);
    buf_append_str(out, "{\"routes\":[");
    for (size_t i = 0; i < b->set.count; i++) {
        const struct route_entry *en = &b->set.entries[i];

        append_text(out, i == 0 ? "{\"name\":" : ",{\"name\":", en->name);
        buf_printf(out, ",\"window_ms\":%" PRIu64 ",\"arms\":[", en->window_ms);
        for (size_t k = 0; k < en->route.arm_count; k++) {
            buf_append_str(out, k == 0 ? "" : ",");
            append_arm(out, en, k, now_us);
        }
        buf_append_str(out, "]}");
    }
    (void)pthread_mutex_unlock(&b->lock);
    buf_append_str(out, "]}\n");
    return !buf_failed(out);
}

/* --- what is kept ----------------------------------------------------------------------------- */

/* Times of the loop mean nothing to the next process. */
static void save_watch(const struct route_book *b, const struct route_entry *en, struct buf *out)
{
    const struct model_route_watch *w = &en->route.watch;
    uint64_t now_us = loop_now_us(b->loop);
    struct model_route_summary s;

    if (w->until_us <= now_us) {
        return;
    }
    model_route_summarize_period(&w->against, &s);
    buf_printf(out, ",\"watch\":{\"until\":%" PRIu64,
               (loop_wall_us(b->loop) + w->until_us - now_us) / US_PER_S);
    if (w->before != MODEL_ROUTE_NO_ARM) {
        append_text(out, ",\"before\":", en->models[w->before]);
    }
    buf_printf(out,
               ",\"requests\":%" PRIu64 ",\"errors\":%" PRIu64 ",\"streams\":%" PRIu64
               ",\"first_part_us\":%.0f,\"deviation_us\":%.0f}",
               s.requests, s.errors, s.first_part_us.count, s.first_part_us.mean,
               s.first_part_us.deviation);
}

/* {"routes":[{"name","promoted","watch","arms":[{"model","state","why"}]}]}, of what is not as it
 * began. */
bool route_book_save(struct route_book *b, struct buf *out)
{
    (void)pthread_mutex_lock(&b->lock);
    buf_append_str(out, "{\"routes\":[");
    for (size_t i = 0; i < b->set.count; i++) {
        const struct route_entry *en = &b->set.entries[i];
        size_t promoted = en->route.promoted;

        append_text(out, i == 0 ? "\n{\"name\":" : ",\n{\"name\":", en->name);
        if (promoted != MODEL_ROUTE_NO_ARM) {
            append_text(out, ",\"promoted\":", en->models[promoted]);
            save_watch(b, en, out);
        }
        buf_append_str(out, ",\"arms\":[");
        for (size_t k = 0; k < en->route.arm_count; k++) {
            const struct model_route_arm *a = &en->route.arms[k];

            append_text(out, k == 0 ? "{\"model\":" : ",{\"model\":", en->models[k]);
            append_text(out, ",\"state\":", route_state_names[a->state]);
            append_text(out, ",\"why\":", route_why_names[a->why]);
            buf_append_byte(out, '}');
        }
        buf_append_str(out, "]}");
    }
    (void)pthread_mutex_unlock(&b->lock);
    buf_append_str(out, "\n]}\n");
    return !buf_failed(out);
}

/* A text without escapes, which is how names are; else empty. */
static struct slice text_of(struct slice object, struct slice key)
{
    struct json_member m;

    if (json_find(object, key, &m) != JSON_OK || m.kind != JSON_STRING || m.value.len < 2) {
        return SLICE("");
    }
    return slice_of(m.value.ptr + 1, m.value.len - 2);
}

static size_t index_of(const char *const *names, size_t count, struct slice text)
{
    size_t i = 0;

    while (i < count && !slice_eq(slice_str(names[i]), text)) {
        i++;
    }
    return i;
}

static void restore_arm(struct route_entry *en, struct slice said)
{
    size_t arm = route_entry_arm(en, text_of(said, SLICE("model")));
    size_t state = index_of(route_state_names, STATE_COUNT, text_of(said, SLICE("state")));
    size_t why = index_of(route_why_names, WHY_COUNT, text_of(said, SLICE("why")));

    if (arm != MODEL_ROUTE_NO_ARM && arm > 0 && state < STATE_COUNT && why < WHY_COUNT) {
        en->route.arms[arm].state = (enum model_route_state)state;
        en->route.arms[arm].why = (enum model_route_why)why;
    }
}

static uint64_t number_of(struct slice object, struct slice key)
{
    struct json_member m;
    uint64_t number = 0;

    return json_find(object, key, &m) == JSON_OK && json_uint(m.value, &number) ? number : 0;
}

static void restore_watch(const struct route_book *b, struct route_entry *en, struct slice said)
{
    struct model_route_watch *w = &en->route.watch;
    struct slice before = text_of(said, SLICE("before"));
    uint64_t until_s = number_of(said, SLICE("until"));
    uint64_t now_s = loop_wall_us(b->loop) / US_PER_S;
    uint64_t left_s = until_s > now_s ? until_s - now_s : 0;
    double count = (double)number_of(said, SLICE("streams"));
    double mean_us = (double)number_of(said, SLICE("first_part_us"));
    double deviation_us = (double)number_of(said, SLICE("deviation_us"));

    if (left_s == 0 || left_s > MODEL_ROUTE_WATCH_US / US_PER_S) {
        return; /* it is over, or a clock was wrong */
    }
    w->until_us = loop_now_us(b->loop) + left_s * US_PER_S;
    w->before = before.len == 0 ? MODEL_ROUTE_NO_ARM : route_entry_arm(en, before);
    w->against.requests = number_of(said, SLICE("requests"));
    w->against.errors = number_of(said, SLICE("errors"));
    w->against.first_part_us.count = (uint64_t)count;
    w->against.first_part_us.sum = mean_us * count;
    w->against.first_part_us.squares =
        mean_us * mean_us * count + deviation_us * deviation_us * (count > 1 ? count - 1 : 0);
}

static void restore_route(struct route_book *b, struct slice said)
{
    struct route_entry *en = route_set_find(&b->set, text_of(said, SLICE("name")));
    struct slice promoted = text_of(said, SLICE("promoted"));
    struct json_member arms, arm, watch;
    struct json_walk w;
    size_t at;

    if (en == NULL) {
        return;
    }
    if (json_find(said, SLICE("arms"), &arms) == JSON_OK &&
        json_walk_begin(&w, arms.value, JSON_ARRAY) == JSON_OK) {
        while (json_walk_next(&w, &arm) == JSON_OK) {
            restore_arm(en, arm.value);
        }
    }
    at = promoted.len == 0 ? MODEL_ROUTE_NO_ARM : route_entry_arm(en, promoted);
    if (at != MODEL_ROUTE_NO_ARM && en->route.arms[at].shadow_percent == 0) {
        en->route.promoted = at;
        if (json_find(said, SLICE("watch"), &watch) == JSON_OK) {
            restore_watch(b, en, watch.value);
        }
    }
}

void route_book_restore(struct route_book *b, struct slice text)
{
    struct json_member routes, route;
    struct json_walk w;

    if (json_validate(text, NULL) != JSON_OK ||
        json_find(text, SLICE("routes"), &routes) != JSON_OK ||
        json_walk_begin(&w, routes.value, JSON_ARRAY) != JSON_OK) {
        return;
    }
    (void)pthread_mutex_lock(&b->lock);
    while (json_walk_next(&w, &route) == JSON_OK) {
        restore_route(b, route.value);
    }
    (void)pthread_mutex_unlock(&b->lock);
}
