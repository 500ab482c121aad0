/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/warm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/counter.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "codec/model_name.h"
#include "node/call.h"
#include "obs/logfmt.h"

enum {
    TICK_MS = 500,
    WARMING_TICK_MS = 100,
    FIRST_DELAY_MS = 1000,
    LONGEST_DELAY_MS = 5 * 60 * 1000,
    STEADY_MS = 60 * 1000, /* resident for so long: the next load is not made to wait */
    TRIES_MAX = 3,         /* of a node that waits for it */
    ANSWER_BYTES_MAX = 64 * 1024,
    STATUS_NOT_FOUND = 404
};

static void on_tick(void *owner);

static struct node *node_of(const struct warm *w)
{
    return w->node_id == 0 ? NULL : nodes_by_id(w->nodes, w->node_id);
}

static struct loop *loop_of(const struct warm *w)
{
    return nodes_loop(w->nodes);
}

void warm_init(struct warm *w, struct nodes *nodes, struct brain *brain,
               void (*warmed)(void *owner), void *owner)
{
    *w = (struct warm){.nodes = nodes, .brain = brain, .warmed = warmed, .owner = owner};
    buf_init(&w->answer, ANSWER_BYTES_MAX);
    timer_init(&w->tick, on_tick, w);
}

void warm_patience(struct warm *w, uint64_t patience_ms)
{
    w->patience_ms = patience_ms;
}

static void tell_over(const struct warm *w, bool ok)
{
    const struct node *n = node_of(w);

    if (w->brain != NULL && n != NULL) {
        brain_loaded(w->brain, n, slice_str(w->models[w->loading].name), ok);
    }
}

static void cancel_load(struct warm *w)
{
    if (w->call != NULL) {
        node_call_cancel(&w->call);
        tell_over(w, false);
    }
}

static void free_model(struct warm_model *m)
{
    free(m->name);
}

void warm_fini(struct warm *w)
{
    warm_use(w, 0);
    for (size_t i = 0; i < w->count; i++) {
        free_model(&w->models[i]);
    }
    free(w->models);
    buf_fini(&w->body);
    buf_fini(&w->answer);
}

void warm_use(struct warm *w, uint64_t node_id)
{
    if (node_id == w->node_id) {
        return;
    }
    cancel_load(w);
    w->node_id = node_id;
    timer_cancel(loop_of(w), &w->tick);
    warm_begin(w);
}

void warm_begin(struct warm *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->models[i].settled = false;
        w->models[i].tries = 0;
        w->models[i].again_ms = 0;
        w->models[i].delay_ms = FIRST_DELAY_MS;
    }
}

/* --- which models ----------------------------------------------------------------------------- */

static struct warm_model *find(const struct warm *w, struct slice name)
{
    for (size_t i = 0; i < w->count; i++) {
        if (model_name_same(slice_str(w->models[i].name), name)) {
            return &w->models[i];
        }
    }
    return NULL;
}

/* NULL: out of memory. */
static struct warm_model *find_or_add(struct warm *w, struct slice name)
{
    struct warm_model *m = find(w, name);
    struct warm_model *more;
    char *copy;

    if (m != NULL) {
        return m;
    }
    copy = slice_dup(name);
    more = copy == NULL ? NULL : realloc(w->models, (w->count + 1) * sizeof(*more));
    if (more == NULL) {
        free(copy);
        return NULL;
    }
    w->models = more;
    m = &w->models[w->count++];
    *m = (struct warm_model){.name = copy, .delay_ms = FIRST_DELAY_MS};
    return m;
}

/* Those that nobody wants any more go. While one is being loaded they stay: its place must not
 * change. */
static void drop_unwanted(struct warm *w)
{
    size_t kept = 0;

    for (size_t i = 0; w->call == NULL && i < w->count; i++) {
        if (w->models[i].declared || w->models[i].remembered) {
            w->models[kept++] = w->models[i];
        } else {
            free_model(&w->models[i]);
        }
    }
    w->count = w->call == NULL ? kept : w->count;
}

bool warm_declare(struct warm *w, char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (find_or_add(w, slice_str(names[i])) == NULL) {
            return false; /* what was added is not wanted, and goes with the next that is dropped */
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        w->models[i].declared = false;
    }
    for (size_t i = 0; i < count; i++) {
        find(w, slice_str(names[i]))->declared = true;
    }
    drop_unwanted(w);
    return true;
}

bool warm_remember(struct warm *w, struct slice name, uint64_t context)
{
    struct warm_model *m = find_or_add(w, name);

    if (m == NULL) {
        return false;
    }
    m->remembered = true;
    m->context = context;
    m->settled = false;
    m->tries = 0;
    return true;
}

void warm_forget(struct warm *w)
{
    for (size_t i = 0; i < w->count; i++) {
        w->models[i].remembered = false;
        w->models[i].context = 0;
        w->models[i].settled = false;
    }
    drop_unwanted(w);
}

size_t warm_remembered(const struct warm *w)
{
    size_t count = 0;

    for (size_t i = 0; i < w->count; i++) {
        count += w->models[i].remembered;
    }
    return count;
}

bool warm_is_needed(const struct warm *w)
{
    return w->count > 0;
}

/* --- one load --------------------------------------------------------------------------------- */

static void log_failed(const struct warm *w, const struct warm_model *m, struct slice why)
{
    const struct node *n = node_of(w);
    struct buf pairs = {0};

    /* Names and texts may hold anything. A failure leaves them out. */
    (void)(logfmt_pair(&pairs, "model", slice_str(m->name)) &&
           logfmt_pair(&pairs, "why", slice_trim(slice_first(why, 120))) &&
           buf_append_byte(&pairs, '\0'));
    LOG_WARN("node_load_failed", "node=%s%s", n == NULL ? "" : n->spec->name,
             buf_failed(&pairs) ? "" : buf_slice(&pairs).ptr);
    buf_fini(&pairs);
}

static void end_load(struct warm *w, bool ok, bool is_final, struct slice why)
{
    struct warm_model *m = &w->models[w->loading];
    uint64_t now_ms = loop_now_ms(loop_of(w));

    w->call = NULL;
    tell_over(w, ok);
    counter_add(ok ? COUNTER_NODE_LOADS : COUNTER_NODE_LOADS_FAILED, 1);
    m->tries++;
    m->again_ms = now_ms + m->delay_ms;
    m->delay_ms = m->delay_ms * 2 > LONGEST_DELAY_MS ? LONGEST_DELAY_MS : m->delay_ms * 2;
    if (ok) {
        m->loaded_ms = now_ms;
        m->tries = 0;
        m->settled = true;
    } else {
        log_failed(w, m, why);
        m->settled = m->settled || is_final || m->tries >= TRIES_MAX;
    }
    buf_release(&w->answer);
    drop_unwanted(w);
    warm_look(w);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct warm *w = owner;

    w->status = head->status;
}

static void on_body(void *owner, struct slice bytes)
{
    struct warm *w = owner;

    (void)buf_append(&w->answer, bytes); /* only for the text of an error: the beginning will do */
}

static void on_end(void *owner)
{
    struct warm *w = owner;

    end_load(w, w->status == 200, w->status == STATUS_NOT_FOUND, buf_slice(&w->answer));
}

static void on_failed(void *owner, int code, const char *text, bool sent_nothing)
{
    (void)code;
    (void)sent_nothing;
    end_load(owner, false, false, slice_str(text));
}

/* True where the node serves it by something else than text. */
static bool only_embeds(const struct node *n, const struct warm_model *m)
{
    const struct catalogue_model *listed = catalogue_find(&n->catalogue, slice_str(m->name));

    return listed != NULL && !listed->completes;
}

static void write_body(struct buf *out, const struct node *n, const struct warm_model *m)
{
    buf_append_str(out, "{\"model\":");
    json_append_string(out, slice_str(m->name));
    buf_append_str(out, only_embeds(n, m) ? ",\"input\":\"\"" : ",\"stream\":false");
    if (m->declared) {
        buf_append_str(out, ",\"keep_alive\":-1");
    }
    if (m->context > 0) {
        buf_printf(out, ",\"options\":{\"num_ctx\":%" PRIu64 "}", m->context);
    }
    buf_append_byte(out, '}'); /* a failure is sticky */
}

static void start_load(struct warm *w, struct node *n, size_t i)
{
    static const struct node_call_ops ops = {
        .head = on_head, .body = on_body, .end = on_end, .failed = on_failed};
    static const struct http_header type = {SLICE("Content-Type"), SLICE("application/json")};
    struct slice piece;
    struct node_call_request request = {
        .method = SLICE("POST"),
        .path = only_embeds(n, &w->models[i]) ? SLICE("/api/embed") : SLICE("/api/generate"),
        .headers = &type,
        .header_count = 1,
        .pieces = &piece,
        .piece_count = 1,
        .has_body = true,
    };
    struct err e = {0};

    buf_clear(&w->body);
    buf_clear(&w->answer);
    w->loading = i;
    w->status = 0;
    write_body(&w->body, n, &w->models[i]);
    piece = buf_slice(&w->body);
    w->call = buf_failed(&w->body) ? NULL : node_call_start(n, &request, &ops, w, &e);
    if (w->call == NULL) {
        tell_over(w, false);
        w->models[i].again_ms = loop_now_ms(loop_of(w)) + FIRST_DELAY_MS;
    }
}

/* --- what is to be done ----------------------------------------------------------------------- */

/* What stays in the node's memory may be loaded again at once. */
static void calm(struct warm *w, const struct node *n, uint64_t now_ms)
{
    for (size_t i = 0; i < w->count; i++) {
        struct warm_model *m = &w->models[i];

        if (residency_find(&n->residency, slice_str(m->name)) == NULL) {
            continue;
        }
        if (now_ms - m->loaded_ms > STEADY_MS) {
            m->delay_ms = FIRST_DELAY_MS;
        }
    }
}

static bool is_wanted(const struct warm *w, const struct node *n, size_t i, uint64_t now_ms)
{
    const struct warm_model *m = &w->models[i];

    if (now_ms < m->again_ms || (n->service == NODE_SERVING && !m->declared)) {
        return false;
    }
    /* What it said last may be from before it was started anew: one load more costs nothing. */
    return n->service == NODE_WARMING
               ? !m->settled
               : n->residency.users != NULL &&
                     residency_find(&n->residency, slice_str(m->name)) == NULL;
}

/* One that serves has others to think of, but not for ever. */
static bool may_load(struct warm *w, const struct node *n, struct warm_model *m, uint64_t now_ms)
{
    bool was_put_off = m->since_ms != 0;

    m->since_ms = was_put_off ? m->since_ms : now_ms;
    if (w->brain == NULL || brain_load(w->brain, n, slice_str(m->name), m->context,
                                       now_ms - m->since_ms >= w->patience_ms)) {
        m->since_ms = 0;
        return true;
    }
    counter_add(COUNTER_NODE_LOADS_PUT_OFF, was_put_off ? 0 : 1);
    return false;
}

/* Every model of a node that waits for them is there, or given up. */
static bool is_warm(const struct warm *w, const struct node *n)
{
    for (size_t i = 0; n->kind != NODE_KIND_OPENAI && i < w->count; i++) {
        if (!w->models[i].settled) {
            return false;
        }
    }
    return true;
}

static void look_at(struct warm *w, struct node *n)
{
    uint64_t now_ms = loop_now_ms(loop_of(w));

    calm(w, n, now_ms);
    if (n->service == NODE_WARMING && is_warm(w, n)) {
        nodes_serve(w->nodes, n, NODE_SERVING);
        w->warmed(w->owner);
        return;
    }
    for (size_t i = 0; n->kind == NODE_KIND_OLLAMA && w->call == NULL && i < w->count; i++) {
        if (!is_wanted(w, n, i, now_ms)) {
            w->models[i].since_ms = 0;
        } else if (may_load(w, n, &w->models[i], now_ms)) {
            start_load(w, n, i);
        }
    }
}

void warm_look(struct warm *w)
{
    struct node *n = node_of(w);

    if (n == NULL || (w->count == 0 && n->service != NODE_WARMING)) {
        timer_cancel(loop_of(w), &w->tick);
        return;
    }
    if (n->service == NODE_CORDONED) {
        cancel_load(w);
    }
    if (n->state == NODE_UP && n->service != NODE_CORDONED && w->call == NULL) {
        look_at(w, n);
    } else if (n->state == NODE_DOWN && n->service == NODE_WARMING) {
        warm_begin(w); /* it may come back as another process */
    }
    timer_arm(loop_of(w), &w->tick, n->service == NODE_WARMING ? WARMING_TICK_MS : TICK_MS);
}

static void on_tick(void *owner)
{
    warm_look(owner);
}
