/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/sub.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/err.h"
#include "base/log.h"
#include "gateway/face/http.h"
#include "gateway/face/mcp.h"
#include "gateway/route_shadow.h"
#include "obs/access_log.h"
#include "reactor/sock.h"

enum { DRAIN_POLL_MS = 20, DRAIN_OUTPUT_MS = 2500, DRAIN_HURRIED_MS = 200 };

static void on_drain_poll(void *owner);
static void on_drain_limit(void *owner);

/* A turn's lines in one write, before its answers go out. */
static void flush_log(void *owner)
{
    (void)owner;
    access_log_flush();
}

void sub_init(struct sub *s, struct loop *loop, struct nodes *nodes, const struct sub_options *o)
{
    memset(s, 0, sizeof(*s));
    s->loop = loop;
    s->nodes = nodes;
    s->config = config_ref(o->config);
    s->bodies = o->bodies;
    turns_init(&s->turns, o->brain, loop);
    s->routes = o->routes;
    s->recorder = o->recorder;
    s->instance = o->instance;
    s->http_addr = o->http_addr;
    s->last_exchange = o->index;
    s->exchange_step = o->count;
    s->siblings = o->siblings;
    s->sibling_count = o->count;
    s->batch_shared = o->batch_shared;
    s->on_drained = o->on_drained;
    s->on_drained_owner = o->on_drained_owner;
    trace_ring_init(&s->trace, ((size_t)o->config->trace_requests + o->count - 1) / o->count);
    timer_init(&s->drain_limit, on_drain_limit, s);
    timer_init(&s->drain_poll, on_drain_poll, s);
    (void)pthread_mutex_init(&s->lock, NULL); /* cannot fail for a default mutex */
    loop_set_turn_hook(loop, flush_log, NULL);
    batch_sub_init(s);
    s->mcp = mcp_face_new(s);
    s->http = http_face_new(s);
}

static void take_config(void *owner)
{
    struct sub *s = owner;
    struct config *next = atomic_exchange(&s->next_config, NULL);

    if (next != NULL) {
        config_unref(&s->config);
        s->config = next;
        if (s->mcp != NULL) { /* else this is the end */
            mcp_face_reconfigured(s->mcp);
        }
    }
}

void sub_use(struct sub *s, struct config *config)
{
    struct config *unused = atomic_exchange(&s->next_config, config_ref(config));

    config_unref(&unused);
    (void)loop_post(s->loop, take_config, s); /* without memory: with the next connection */
}

void sub_fini(struct sub *s)
{
    struct handoff *h;

    timer_cancel(s->loop, &s->drain_limit);
    timer_cancel(s->loop, &s->drain_poll);
    proxied_drop_all(s);
    http_face_free(&s->http);
    mcp_face_free(&s->mcp);
    flight_sub_fini(s);
    batch_sub_fini(s);
    while ((h = handoff_list_pop(&s->handed)) != NULL) {
        sock_drop(s->loop, h->fd);
        free(h);
    }
    turns_fini(&s->turns);
    loop_set_turn_hook(s->loop, NULL, NULL);
    access_log_release();
    trace_ring_fini(&s->trace);
    (void)pthread_mutex_destroy(&s->lock); /* nobody holds it any more */
    take_config(s);
    config_unref(&s->config);
}

/* --- connections ------------------------------------------------------------------------------ */

static void take(struct sub *s, enum exchange_face face, int fd, const struct addr *peer)
{
    if (proxied_is_wanted(s->config, face)) {
        proxied_accept(s, face, fd, peer);
    } else if (face == FACE_MCP) {
        mcp_face_accept(s->mcp, fd, peer);
    } else {
        http_face_accept(s->http, fd, peer);
    }
}

bool sub_take_sock(struct sub *s, enum exchange_face face, struct sock *sock,
                   const struct addr *client)
{
    return face == FACE_MCP ? mcp_face_take(s->mcp, sock, client)
                            : http_face_take(s->http, sock, client);
}

static struct handoff *next_handed(struct sub *s)
{
    struct handoff *h;

    (void)pthread_mutex_lock(&s->lock);
    h = handoff_list_pop(&s->handed);
    s->handed_posted = h != NULL;
    (void)pthread_mutex_unlock(&s->lock);
    return h;
}

static void take_handed(void *owner)
{
    struct sub *s = owner;
    struct handoff *h;

    take_config(s);
    while ((h = next_handed(s)) != NULL) {
        take(s, h->face, h->fd, &h->peer);
        free(h);
    }
}

/* False: no memory. */
static bool put_handed(struct sub *s, struct handoff *h)
{
    bool posted;

    (void)atomic_fetch_add_explicit(&s->open, 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&s->lock);
    posted = s->handed_posted || loop_post(s->loop, take_handed, s) == MCP_OK;
    if (posted) {
        handoff_list_push(&s->handed, h);
    }
    s->handed_posted = posted;
    (void)pthread_mutex_unlock(&s->lock);
    if (!posted) {
        sub_closed(s);
    }
    return posted;
}

void sub_hand(struct sub *s, enum exchange_face face, int fd, const struct addr *peer)
{
    struct handoff *h = malloc(sizeof(*h));

    if (h != NULL) {
        *h = (struct handoff){.fd = fd, .face = face, .peer = *peer};
    }
    if (h == NULL || !put_handed(s, h)) {
        free(h);
        sock_drop(s->loop, fd);
        counter_add(COUNTER_ACCEPT_FAILED, 1);
    }
}

void sub_closed(struct sub *s)
{
    (void)atomic_fetch_sub_explicit(&s->open, 1, memory_order_relaxed);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Whether output is still on its way to clients. */
static bool is_writing(const struct sub *s)
{
    return loop_gentle_count(s->loop) > 0 || http_face_open(s->http) > 0 ||
           mcp_face_open(s->mcp) > 0;
}

static void on_drain_poll(void *owner)
{
    struct sub *s = owner;

    if (s->running.count == 0 && mcp_face_held(s->mcp) == 0 && batch_sub_is_over(s)) {
        s->drain_idle_ms += DRAIN_POLL_MS;
        if (!is_writing(s) ||
            s->drain_idle_ms > (s->hurried ? DRAIN_HURRIED_MS : DRAIN_OUTPUT_MS)) {
            timer_cancel(s->loop, &s->drain_limit);
            s->on_drained(s->on_drained_owner);
            return;
        }
    }
    timer_arm(s->loop, &s->drain_poll, DRAIN_POLL_MS);
}

static void end_running(struct sub *s)
{
    struct exchange *x;

    for (x = exchange_list_first(&s->running); x != NULL; x = exchange_list_next(&s->running, x)) {
        exchange_abort(x, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
    }
    mcp_face_drain_over(s->mcp);
}

static void on_drain_limit(void *owner)
{
    struct sub *s = owner;

    LOG_WARN("drain_timeout", "exchanges=%zu", s->running.count);
    end_running(s);
}

void sub_drain(struct sub *s)
{
    if (s->draining) {
        s->hurried = true;
        end_running(s);
        return;
    }
    s->draining = true;
    route_shadows_drop(s);
    batch_sub_drain(s);
    proxied_drop_all(s);
    mcp_face_drain(s->mcp);
    http_face_drain(s->http);
    timer_arm(s->loop, &s->drain_limit, s->config->drain_timeout_ms);
    on_drain_poll(s);
}
