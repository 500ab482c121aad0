/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/banner.h"
#include "gateway/face/admin.h"
#include "gateway/face/http.h"
#include "gateway/face/mcp.h"
#include "obs/access_log.h"
#include "obs/log_sink.h"
#include "obs/logfmt.h"

enum { DRAIN_POLL_MS = 20, DRAIN_OUTPUT_MS = 2500, DRAIN_HURRIED_MS = 200 };

bool gateway_body_take(struct gateway *g, size_t n)
{
    if (g->body_bytes + n > g->config->body_memory_bytes) {
        counter_add(COUNTER_BODY_MEMORY_REFUSED, 1);
        return false;
    }
    g->body_bytes += n;
    counter_add(COUNTER_BODY_BYTES, (int64_t)n);
    return true;
}

void gateway_body_give(struct gateway *g, size_t n)
{
    ASSERT(g->body_bytes >= n);
    g->body_bytes -= n;
    counter_add(COUNTER_BODY_BYTES, -(int64_t)n);
}

bool gateway_ready(const struct gateway *g)
{
    return !g->draining && nodes_all_polled(g->nodes) && nodes_up(g->nodes) > 0;
}

static void log_node_state(const struct node *n)
{
    struct buf why = {0};

    /* It may hold what the node itself said. A failure leaves it out. */
    (void)(logfmt_pair(&why, "why", slice_str(n->why_down)) && buf_append_byte(&why, '\0'));
    LOG_INFO("node_state", "node=%s state=%s kind=%s models=%zu%s", n->name,
             node_state_name(n->state), node_kind_name(n->kind), n->catalogue.count,
             buf_failed(&why) ? "" : buf_slice(&why).ptr);
    buf_fini(&why);
}

static void on_node_changed(void *owner, struct node *n)
{
    struct gateway *g = owner;

    if (g->banner_shown) {
        log_node_state(n);
    } else if (nodes_all_polled(g->nodes)) {
        g->banner_shown = true;
        banner_nodes(g);
    }
}

/* Each connection needs a descriptor, and a default soft limit of 1,024 is soon reached. */
static void raise_open_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
            LOG_WARN("open_files", "limit=unchanged");
        }
    }
}

static void make_instance(struct gateway *g)
{
    unsigned char bytes[GATEWAY_INSTANCE_BYTES];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        memset(bytes, 0, sizeof(bytes)); /* ids are then merely not unique over restarts */
    }
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(g->instance + 2 * i, 3, "%02x", (unsigned)bytes[i]);
    }
}

static int add_node(struct gateway *g, const struct config_node *c, struct err *e)
{
    static const enum node_kind kinds[] = {[CONFIG_KIND_AUTO] = NODE_KIND_UNKNOWN,
                                           [CONFIG_KIND_OLLAMA] = NODE_KIND_OLLAMA,
                                           [CONFIG_KIND_OPENAI] = NODE_KIND_OPENAI};
    struct http_header *headers = xcalloc(c->header_count + 1, sizeof(*headers));
    const struct node_options options = {
        .url = c->url,
        .kind = kinds[c->kind],
        .name = c->name,
        .api_key = c->api_key,
        .headers = headers,
        .header_count = c->header_count,
    };
    int rv;

    for (size_t i = 0; i < c->header_count; i++) {
        headers[i] =
            (struct http_header){slice_str(c->headers[i].name), slice_str(c->headers[i].value)};
    }
    rv = nodes_add(g->nodes, &options, e);
    free(headers);
    return rv;
}

static int add_nodes(struct gateway *g, struct err *e)
{
    const struct config *c = g->config;
    const struct node_limits limits = {
        .connect_timeout_ms = c->connect_timeout_ms,
        .first_byte_timeout_ms = c->first_byte_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .pool_idle = (size_t)c->pool_idle,
        .pool_idle_ms = c->pool_idle_ms,
    };

    g->nodes = nodes_new(g->loop, &limits, g->instance, on_node_changed, g);
    for (size_t i = 0; i < c->node_count; i++) {
        int rv = add_node(g, &c->nodes[i], e);

        if (rv != MCP_OK) {
            return rv;
        }
    }
    return MCP_OK;
}

static bool open_mcp(struct gateway *g, const struct addr *at, struct err *e)
{
    g->mcp = mcp_face_new(g, at, e);
    return g->mcp != NULL;
}

static bool open_http(struct gateway *g, const struct addr *at, struct err *e)
{
    g->http = http_face_new(g, at, e);
    return g->http != NULL;
}

static bool open_admin(struct gateway *g, const struct addr *at, struct err *e)
{
    g->admin = admin_face_new(g, at, e);
    return g->admin != NULL;
}

/* `text` NULL: off. `option` and `key` say how another address is chosen. */
static bool listen_on(struct gateway *g, const char *text, const char *option, const char *key,
                      bool (*open_face)(struct gateway *g, const struct addr *at, struct err *e))
{
    struct addr at;
    struct err e = {0};

    if (text == NULL || (addr_parse(&at, slice_str(text), &e) == MCP_OK && open_face(g, &at, &e))) {
        return true;
    }
    (void)fprintf(stderr, "mcpgate: %s; use %s ADDR or %s\n", e.text, option, key);
    return false;
}

static bool listen_all(struct gateway *g)
{
    const struct config *c = g->config;

    return listen_on(g, c->mcp_listen, "--mcp", "mcp.listen", open_mcp) &&
           listen_on(g, c->http_listen, "--http", "http.listen", open_http) &&
           listen_on(g, c->admin_listen, "--admin", "admin.listen", open_admin);
}

/* Shutdown: listeners close and /readyz says 503; exchanges run on up to drain_timeout, then end as
 * shutting_down; what is queued is still written; a second signal skips the waiting, but for a
 * moment in which clients that read are told. */

/* Whether output is still on its way to clients. */
static bool is_writing(const struct gateway *g)
{
    return loop_gentle_count(g->loop) > 0 || (g->http != NULL && http_face_open(g->http) > 0);
}

static void on_drain_poll(void *owner)
{
    struct gateway *g = owner;

    if (g->running.count == 0) {
        g->drain_idle_ms += DRAIN_POLL_MS;
        if (!is_writing(g) ||
            g->drain_idle_ms > (g->hurried ? DRAIN_HURRIED_MS : DRAIN_OUTPUT_MS)) {
            loop_stop(g->loop);
            return;
        }
    }
    timer_arm(g->loop, &g->drain_poll, DRAIN_POLL_MS);
}

static void end_running(struct gateway *g)
{
    struct exchange *x;

    for (x = exchange_list_first(&g->running); x != NULL; x = exchange_list_next(&g->running, x)) {
        exchange_abort(x, MCP_ESHUTTING_DOWN, "the gateway is shutting down");
    }
}

static void on_drain_limit(void *owner)
{
    struct gateway *g = owner;

    LOG_WARN("drain_timeout", "exchanges=%zu", g->running.count);
    end_running(g);
}

static void on_terminate(void *owner)
{
    struct gateway *g = owner;

    if (g->draining) {
        g->hurried = true;
        end_running(g);
        return;
    }
    g->draining = true;
    LOG_INFO("drain", "exchanges=%zu", g->running.count);
    if (g->mcp != NULL) {
        mcp_face_drain(g->mcp);
    }
    if (g->http != NULL) {
        http_face_drain(g->http);
    }
    timer_arm(g->loop, &g->drain_limit, g->config->drain_timeout_ms);
    on_drain_poll(g);
}

static void on_reopen(void *owner)
{
    (void)owner;
    access_log_reopen();
}

static bool watch_signals(struct gateway *g)
{
    (void)signal(SIGPIPE, SIG_IGN); /* writes say EPIPE themselves */
    return loop_signal(g->loop, SIGTERM, on_terminate, g) == 0 &&
           loop_signal(g->loop, SIGINT, on_terminate, g) == 0 &&
           loop_signal(g->loop, SIGHUP, on_terminate, g) == 0 && /* the terminal went */
           loop_signal(g->loop, SIGUSR1, on_reopen, g) == 0;
}

static void gateway_fini(struct gateway *g)
{
    admin_face_free(&g->admin);
    http_face_free(&g->http);
    mcp_face_free(&g->mcp);
    nodes_free(&g->nodes);
    loop_free(&g->loop);
    counters_attach(NULL);
    access_log_close();
}

static int start(struct gateway *g)
{
    struct err e = {0};

    if (access_log_open(g->config->access_log, &e) != MCP_OK || add_nodes(g, &e) != MCP_OK) {
        (void)fprintf(stderr, "mcpgate: %s\n", e.text);
        return 2;
    }
    if (!listen_all(g)) {
        return GATEWAY_EXIT_LISTEN;
    }
    if (!watch_signals(g)) {
        (void)fprintf(stderr, "mcpgate: signals cannot be watched\n");
        return 1;
    }
    return 0;
}

int gateway_run(const struct config *config)
{
    struct gateway g = {.config = config};
    int rv;

    log_sink_open(config->log_level);
    raise_open_files();
    counters_attach(&g.counters);
    make_instance(&g);
    g.loop = loop_new();
    if (g.loop == NULL) {
        (void)fprintf(stderr, "mcpgate: the kernel gives no event loop\n");
        return 1;
    }
    g.started_us = loop_wall_us(g.loop);
    timer_init(&g.drain_limit, on_drain_limit, &g);
    timer_init(&g.drain_poll, on_drain_poll, &g);
    rv = start(&g);
    if (rv == 0) {
        banner_listening(&g);
        nodes_start(g.nodes);
        loop_run(g.loop);
        LOG_INFO("stopped", "reason=signal");
    }
    gateway_fini(&g);
    return rv;
}
