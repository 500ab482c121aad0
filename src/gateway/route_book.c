/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/route_book.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "gateway/route_book_internal.h"

/* --- made of the configuration ---------------------------------------------------------------- */

static void entry_fini(struct route_entry *en)
{
    for (size_t i = 0; i < MODEL_ROUTE_ARMS_MAX; i++) {
        free(en->models[i]);
    }
    free(en->name);
}

static void set_fini(struct route_set *s)
{
    for (size_t i = 0; i < s->count; i++) {
        entry_fini(&s->entries[i]);
    }
    free(s->entries);
    *s = (struct route_set){0};
}

static bool entry_init(struct route_entry *en, const struct config_route *from)
{
    struct model_route_terms terms = {
        .arm_count = from->arm_count,
        .window_us = from->window_ms * 1000,
        .min_requests = from->min_requests,
    };

    for (size_t i = 0; i < from->arm_count; i++) {
        terms.arms[i].model = slice_str(from->arms[i].model);
        terms.arms[i].weight = (uint32_t)from->arms[i].weight;
        terms.arms[i].shadow_percent = (uint32_t)from->arms[i].shadow;
        en->models[i] = slice_dup(slice_str(from->arms[i].model));
        if (en->models[i] == NULL) {
            return false;
        }
    }
    en->name = slice_dup(slice_str(from->name));
    en->window_ms = from->window_ms;
    model_route_init(&en->route, &terms);
    return en->name != NULL;
}

struct route_set *route_set_new(const struct config *c)
{
    struct route_set *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    s->entries = calloc(c->route_count + 1, sizeof(*s->entries));
    if (s->entries == NULL) {
        route_set_free(&s);
        return NULL;
    }
    for (size_t i = 0; i < c->route_count; i++) {
        s->count++;
        if (!entry_init(&s->entries[i], &c->routes[i])) {
            route_set_free(&s);
            return NULL;
        }
    }
    return s;
}

void route_set_free(struct route_set **ps)
{
    struct route_set *s = *ps;

    *ps = NULL;
    if (s != NULL) {
        set_fini(s);
        free(s);
    }
}

/* --- found ------------------------------------------------------------------------------------ */

struct route_entry *route_set_find(struct route_set *s, struct slice name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (slice_eq(slice_str(s->entries[i].name), name)) {
            return &s->entries[i];
        }
    }
    return NULL;
}

static struct route_entry *find_numbered(struct route_set *s, uint64_t id)
{
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i].id == id) {
            return &s->entries[i];
        }
    }
    return NULL;
}

size_t route_entry_arm(const struct route_entry *en, struct slice model)
{
    for (size_t i = 0; i < en->route.arm_count; i++) {
        if (slice_eq(slice_str(en->models[i]), model)) {
            return i;
        }
    }
    return MODEL_ROUTE_NO_ARM;
}

static void inherit(struct route_entry *to, const struct route_entry *from)
{
    for (size_t i = 0; i < to->route.arm_count; i++) {
        size_t old = route_entry_arm(from, slice_str(to->models[i]));
        struct model_route_arm *arm = &to->route.arms[i];

        if (old == MODEL_ROUTE_NO_ARM) {
            continue;
        }
        if (i > 0) {
            arm->state = from->route.arms[old].state;
            arm->why = from->route.arms[old].why;
        }
        if (to->window_ms == from->window_ms) {
            memcpy(arm->periods, from->route.arms[old].periods, sizeof(arm->periods));
        }
        if (from->route.promoted == old) {
            to->route.promoted = i;
            to->route.watch = from->route.watch;
            to->route.watch.before =
                from->route.watch.before == MODEL_ROUTE_NO_ARM
                    ? MODEL_ROUTE_NO_ARM
                    : route_entry_arm(to, slice_str(from->models[from->route.watch.before]));
        }
    }
}

/* --- the book --------------------------------------------------------------------------------- */

struct route_book *route_book_new(struct loop *loop, loop_cb changed, void *owner)
{
    struct route_book *b = xcalloc(1, sizeof(*b));

    b->loop = loop;
    b->changed = changed;
    b->owner = owner;
    (void)pthread_mutex_init(&b->lock, NULL); /* cannot fail for a default mutex */
    return b;
}

void route_book_free(struct route_book **pb)
{
    struct route_book *b = *pb;

    *pb = NULL;
    if (b != NULL) {
        set_fini(&b->set);
        (void)pthread_mutex_destroy(&b->lock); /* nobody holds it any more */
        free(b);
    }
}

void route_book_use(struct route_book *b, struct route_set **ps)
{
    struct route_set *s = *ps;
    struct route_set old;

    *ps = NULL;
    (void)pthread_mutex_lock(&b->lock);
    for (size_t i = 0; i < s->count; i++) {
        const struct route_entry *before = route_set_find(&b->set, slice_str(s->entries[i].name));

        s->entries[i].id = ++b->last_id; /* arms may stand elsewhere now */
        if (before != NULL) {
            inherit(&s->entries[i], before);
        }
    }
    old = b->set;
    b->set = *s;
    (void)pthread_mutex_unlock(&b->lock);
    set_fini(&old);
    free(s);
}

bool route_book_pick(struct route_book *b, const char *route, uint64_t key, uint64_t request_key,
                     struct route_pick *pick, struct buf *model)
{
    const struct route_entry *en;
    bool ok = false;

    (void)pthread_mutex_lock(&b->lock);
    en = route_set_find(&b->set, slice_str(route));
    if (en != NULL) {
        pick->id = en->id;
        pick->arm = model_route_choose(&en->route, key);
        pick->shadow = model_route_shadow(&en->route, request_key);
        ok = buf_append_str(model, en->models[pick->arm]);
    }
    (void)pthread_mutex_unlock(&b->lock);
    return ok;
}

bool route_book_model(struct route_book *b, uint64_t id, size_t arm, struct buf *model)
{
    const struct route_entry *en;
    bool ok;

    (void)pthread_mutex_lock(&b->lock);
    en = find_numbered(&b->set, id);
    ok = en != NULL && buf_append_str(model, en->models[arm]);
    (void)pthread_mutex_unlock(&b->lock);
    return ok;
}

/* --- what arms do ----------------------------------------------------------------------------- */

/* With the lock held. */
static void log_rollback(const struct route_entry *en, uint64_t now_us, size_t arm,
                         const struct model_route_watch *watch)
{
    struct model_route_summary mine, first;

    model_route_summarize(&en->route, now_us, arm, &mine);
    if (watch->until_us > now_us) {
        model_route_summarize_period(&watch->against, &first);
    } else {
        model_route_summarize(&en->route, now_us, 0, &first);
    }
    LOG_INFO("route_rolled_back",
             "route=%s model=%s why=%s requests=%" PRIu64 " errors=%" PRIu64
             " first_part_ms=%.1f first_requests=%" PRIu64 " first_errors=%" PRIu64
             " first_first_part_ms=%.1f",
             en->name, en->models[arm], route_why_names[en->route.arms[arm].why], mine.requests,
             mine.errors, mine.first_part_us.mean / 1000, first.requests, first.errors,
             first.first_part_us.mean / 1000);
}

static void tell_changed(struct route_book *b)
{
    (void)loop_post(b->loop, b->changed, b->owner); /* without memory: told with the next */
}

void route_book_ended(struct route_book *b, uint64_t now_us, uint64_t id, size_t arm,
                      const struct model_route_outcome *o)
{
    struct model_route_watch watch = {0};
    struct route_entry *en;
    bool rolled_back = false;

    (void)pthread_mutex_lock(&b->lock);
    en = find_numbered(&b->set, id);
    if (en != NULL) {
        if (en->route.promoted == arm) {
            watch = en->route.watch;
        }
        rolled_back = model_route_ended(&en->route, now_us, arm, o);
    }
    if (rolled_back) {
        log_rollback(en, now_us, arm, &watch);
    }
    (void)pthread_mutex_unlock(&b->lock);
    if (rolled_back) {
        counter_add(COUNTER_ROUTE_ROLLBACKS, 1);
        tell_changed(b);
    }
}

/* --- what people say -------------------------------------------------------------------------- */

static void turn(struct route_entry *en, size_t arm, struct slice action)
{
    if (slice_eq(action, SLICE("rollback"))) {
        model_route_turn(&en->route, arm, MODEL_ROUTE_ROLLED_BACK, MODEL_ROUTE_WHY_ASKED);
    } else if (slice_eq(action, SLICE("pause"))) {
        model_route_turn(&en->route, arm, MODEL_ROUTE_PAUSED, MODEL_ROUTE_WHY_ASKED);
    } else if (en->route.arms[arm].state != MODEL_ROUTE_ON) {
        model_route_turn(&en->route, arm, MODEL_ROUTE_ON, MODEL_ROUTE_WHY_NONE);
    }
}

static int promote(struct route_entry *en, uint64_t now_us, size_t arm, struct err *e)
{
    if (arm == MODEL_ROUTE_NO_ARM) {
        if (en->route.arm_count != 2) {
            return err_set(e, MCP_EARGUMENT, "route '%.64s' has %zu arms: which model?", en->name,
                           en->route.arm_count);
        }
        arm = 1;
    }
    if (en->route.arms[arm].shadow_percent > 0) {
        return err_set(e, MCP_EARGUMENT, "'%.100s' is a shadow: its answers are thrown away",
                       en->models[arm]);
    }
    model_route_promote(&en->route, now_us, arm);
    return MCP_OK;
}

static int change(struct route_entry *en, uint64_t now_us, struct slice action, size_t arm,
                  struct err *e)
{
    if (slice_eq(action, SLICE("promote"))) {
        return promote(en, now_us, arm, e);
    }
    if (!slice_eq(action, SLICE("rollback")) && !slice_eq(action, SLICE("pause")) &&
        !slice_eq(action, SLICE("resume"))) {
        return err_set(e, MCP_EARGUMENT, "'%.*s' is none of promote, rollback, pause and resume",
                       SLICE_ARG(slice_first(action, 40)));
    }
    if (arm == 0) {
        return err_set(e, MCP_EARGUMENT, "'%.100s' is the first arm, which the others fall back on",
                       en->models[0]);
    }
    if (slice_eq(action, SLICE("resume"))) {
        model_route_promote(&en->route, now_us, MODEL_ROUTE_NO_ARM);
    }
    for (size_t i = 1; i < en->route.arm_count; i++) {
        if (arm == MODEL_ROUTE_NO_ARM || arm == i) {
            turn(en, i, action);
        }
    }
    return MCP_OK;
}

static int find_and_change(struct route_book *b, struct slice route, struct slice action,
                           struct slice model, struct err *e)
{
    struct route_entry *en = route_set_find(&b->set, route);
    size_t arm;

    if (en == NULL) {
        return err_set(e, MCP_EUNKNOWN_MODEL, "there is no route '%.*s'",
                       SLICE_ARG(slice_first(route, 100)));
    }
    arm = model.len == 0 ? MODEL_ROUTE_NO_ARM : route_entry_arm(en, model);
    if (model.len > 0 && arm == MODEL_ROUTE_NO_ARM) {
        return err_set(e, MCP_EUNKNOWN_MODEL, "route '%.64s' has no arm '%.*s'", en->name,
                       SLICE_ARG(slice_first(model, 100)));
    }
    return change(en, loop_now_us(b->loop), action, arm, e);
}

int route_book_command(struct route_book *b, struct slice route, struct slice action,
                       struct slice model, struct err *e)
{
    int rv;

    (void)pthread_mutex_lock(&b->lock);
    rv = find_and_change(b, route, action, model, e);
    (void)pthread_mutex_unlock(&b->lock);
    if (rv == MCP_OK) {
        counter_add(COUNTER_ROUTE_CHANGES, 1);
        LOG_INFO("route_changed", "route=%.*s action=%.*s model=%.*s", SLICE_ARG(route),
                 SLICE_ARG(action), SLICE_ARG(model));
        tell_changed(b);
    }
    return rv;
}
