/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/acceptor.h"
#include "gateway/banner.h"
#include "gateway/brain.h"
#include "gateway/face/admin.h"
#include "gateway/fleet.h"
#include "gateway/reload.h"
#include "gateway/route_keeper.h"
#include "gateway/sub_ask.h"
#include "gateway/sub_thread.h"
#include "gateway/watch.h"
#include "obs/access_log.h"
#include "obs/log_sink.h"
#include "obs/logfmt.h"

size_t gateway_counters(const struct gateway *g, const struct counters *sets[])
{
    size_t count = 0;

    sets[count++] = &g->counters;
    for (size_t i = 0; i < g->sub_count; i++) {
        sets[count++] = &g->subs[i].counters;
    }
    return count;
}

bool gateway_ready(const struct gateway *g)
{
    return !g->draining && nodes_all_polled(g->nodes) && nodes_serving(g->nodes) > 0;
}

static void log_node_state(const struct node *n)
{
    struct buf why = {0};

    /* It may hold what the node itself said. A failure leaves it out. */
    (void)(logfmt_pair(&why, "why", slice_str(n->why_down)) && buf_append_byte(&why, '\0'));
    LOG_INFO("node_state", "node=%s state=%s kind=%s models=%zu%s", n->spec->name,
             node_state_name(n->state), node_kind_name(n->kind), n->catalogue.count,
             buf_failed(&why) ? "" : buf_slice(&why).ptr);
    buf_fini(&why);
}

/* Once it is known of all nodes whether they are up. */
static void show_nodes(struct gateway *g)
{
    if (g->banner_due && nodes_all_polled(g->nodes)) {
        g->banner_due = false;
        banner_nodes(g);
    }
}

static void on_nodes_looked_up(void *owner)
{
    show_nodes(owner);
}

static void on_node_changed(void *owner, struct node *n)
{
    struct gateway *g = owner;

    fleet_node_changed(g->fleet, n);
    if (!g->banner_due) {
        log_node_state(n);
    }
    show_nodes(g);
}

static void on_node_news(void *owner, struct node *n)
{
    struct gateway *g = owner;

    if (n == NULL) {
        brain_nodes_changed(g->brain, g->nodes);
    } else {
        brain_node_changed(g->brain, n);
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

static int make_nodes(struct gateway *g, struct err *e)
{
    static const struct node_limits none = {0}; /* until the fleet has given it nodes */
    struct fleet_options options = {.ask = dns_ask, .looked = on_nodes_looked_up, .owner = g};

    g->brain = brain_new(g->loop, g->config);
    g->nodes = nodes_new(g->loop, &none, g->instance, on_node_changed, g);
    nodes_watch(g->nodes, on_node_news, g);
    options.nodes = g->nodes;
    options.brain = g->brain;
    g->fleet = fleet_new(&options, g->config, e);
    return g->fleet == NULL ? e->code : fleet_use(g->fleet, g->config, e);
}

/* --- listening -------------------------------------------------------------------------------- */

static bool open_mcp(struct gateway *g, const struct addr *at, struct err *e)
{
    g->mcp = acceptor_new(g, FACE_MCP, at, e);
    return g->mcp != NULL;
}

static bool open_http(struct gateway *g, const struct addr *at, struct err *e)
{
    g->http = acceptor_new(g, FACE_HTTP, at, e);
    return g->http != NULL;
}

static bool open_admin(struct gateway *g, const struct addr *at, struct err *e)
{
    g->admin = admin_face_new(g, at, e);
    return g->admin != NULL;
}

/* `text` NULL: off. `option` and `key` say how another address is chosen. */
static bool listen_on(struct gateway *g, const char *text, const char *option, const char *key,
                      bool (*open_face)(struct gateway *g, const struct addr *at, struct err *e),
                      struct err *e)
{
    struct addr at;
    struct err why = {0};

    if (text == NULL ||
        (addr_parse(&at, slice_str(text), &why) == MCP_OK && open_face(g, &at, &why))) {
        return true;
    }
    (void)err_set(e, why.code, "%s; use %s ADDR or %s", why.text, option, key);
    return false;
}

static bool listen_all(struct gateway *g, struct err *e)
{
    const struct config *c = g->config;

    return listen_on(g, c->mcp_listen, "--mcp", "mcp.listen", open_mcp, e) &&
           listen_on(g, c->http_listen, "--http", "http.listen", open_http, e) &&
           listen_on(g, c->admin_listen, "--admin", "admin.listen", open_admin, e);
}

/* --- sub reactors ----------------------------------------------------------------------------- */

static void on_drained(void *owner)
{
    struct gateway *g = owner;

    if (++g->drained_count == g->sub_count) {
        g->on_stopped(g->on_stopped_owner);
    }
}

static unsigned cores(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    return count > 0 ? (unsigned)count : 1;
}

static unsigned sub_count(const struct config *c)
{
    if (c->mode == CONFIG_MODE_SINGLE) {
        return 1;
    }
    return c->reactors > 0 ? (unsigned)c->reactors : cores();
}

static bool make_subs(struct gateway *g, struct err *e)
{
    struct sub_options options = {
        .config = g->config,
        .bodies = &g->bodies,
        .brain = g->brain,
        .routes = g->routes,
        .recorder = &g->recorder,
        .instance = g->instance,
        .http_addr = g->http == NULL ? NULL : acceptor_addr(g->http),
        .count = sub_count(g->config),
        .on_drained = on_drained,
        .on_drained_owner = g,
        .batch_shared = &g->batch_shared,
    };

    g->subs = xcalloc(options.count, sizeof(*g->subs));
    options.siblings = g->subs;
    if (g->config->mode == CONFIG_MODE_SINGLE) {
        sub_init(&g->subs[g->sub_count++], g->loop, g->nodes, &options);
        return true;
    }
    g->threads = xcalloc(options.count, sizeof(struct sub_thread *));
    for (; options.index < options.count; options.index++) {
        g->threads[options.index] = sub_thread_new(&g->subs[options.index], g->nodes, &options, e);
        if (g->threads[options.index] == NULL) {
            return false;
        }
        g->sub_count++;
    }
    return true;
}

static void free_subs(struct gateway *g)
{
    for (size_t i = 0; i < g->sub_count; i++) {
        if (g->threads == NULL) {
            sub_fini(&g->subs[i]);
        } else {
            sub_thread_free(&g->threads[i]);
        }
    }
    free(g->threads);
    free(g->subs);
}

/* --- start and end ---------------------------------------------------------------------------- */

int gateway_open(struct gateway *g, struct config *config, const struct config_args *args,
                 struct loop *loop, struct err *e)
{
    *g = (struct gateway){.config = config_ref(config), .loop = loop};
    counters_attach(&g->counters);
    g->bodies.limit_bytes = config->body_memory_bytes;
    recorder_init(&g->recorder, loop);
    g->reload = reload_new(g, args);
    make_instance(g);
    if (access_log_open(config->access_log, e) != MCP_OK || make_nodes(g, e) != MCP_OK) {
        return 2;
    }
    g->route_keeper = route_keeper_new(loop, config, e);
    if (g->route_keeper == NULL) {
        return 2;
    }
    g->routes = route_keeper_book(g->route_keeper);
    if (!listen_all(g, e)) {
        return GATEWAY_EXIT_LISTEN;
    }
    return make_subs(g, e) ? 0 : 1;
}

void gateway_start(struct gateway *g)
{
    for (size_t i = 0; g->threads != NULL && i < g->sub_count; i++) {
        sub_thread_start(g->threads[i]);
    }
    nodes_start(g->nodes);
    g->watch = watch_new(g);
    show_nodes(g); /* there may be none that will be polled */
}

void gateway_stop(struct gateway *g, loop_cb stopped, void *owner)
{
    g->on_stopped = stopped;
    g->on_stopped_owner = owner;
    if (!g->draining) {
        g->draining = true;
        if (g->mcp != NULL) {
            acceptor_close(g->mcp);
        }
        if (g->http != NULL) {
            acceptor_close(g->http);
        }
    }
    for (size_t i = 0; i < g->sub_count; i++) {
        if (g->threads == NULL) {
            sub_drain(&g->subs[i]);
        } else {
            sub_thread_drain(g->threads[i]);
        }
    }
}

void gateway_close(struct gateway *g)
{
    admin_face_free(&g->admin);
    acceptor_free(&g->http);
    acceptor_free(&g->mcp);
    free_subs(g);
    sub_asks_free(g);
    recorder_fini(&g->recorder);
    watch_free(&g->watch);
    fleet_free(&g->fleet);
    nodes_free(&g->nodes);
    brain_free(&g->brain);
    reload_free(&g->reload);
    route_keeper_free(&g->route_keeper);
    access_log_close();
    config_unref(&g->config);
    counters_attach(NULL);
}

/* --- another configuration -------------------------------------------------------------------- */

static int check_unchanging(const struct gateway *g, const struct config *config, struct err *e)
{
    struct buf names = {0};
    int rv = MCP_OK;

    if (!config_changes(g->config, config, true, &names)) {
        rv = err_set(e, MCP_ENOMEM, "out of memory");
    } else if (buf_len(&names) > 0) {
        rv = err_set(e, MCP_EARGUMENT, "%.*s: cannot change while the gateway runs; restart it",
                     SLICE_ARG(buf_slice(&names)));
    }
    buf_fini(&names);
    return rv;
}

static bool same_log(const struct config *a, const struct config *b)
{
    return slice_eq(slice_str(a->access_log), slice_str(b->access_log));
}

int gateway_use(struct gateway *g, struct config *config, struct buf *changed, struct err *e)
{
    struct access_log_next log = {.fd = -1};
    struct config *old = g->config;
    struct route_set *routes;

    if (check_unchanging(g, config, e) != MCP_OK) {
        return e->code;
    }
    if (!config_changes(old, config, false, changed)) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    if (!same_log(old, config) && access_log_prepare(config->access_log, &log, e) != MCP_OK) {
        return e->code;
    }
    routes = route_set_new(config);
    if (routes == NULL) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
    }
    if (routes == NULL || fleet_use(g->fleet, config, e) != MCP_OK) {
        access_log_drop(&log);
        route_set_free(&routes);
        return e->code;
    }
    if (log.fd >= 0) {
        access_log_use(&log);
    }
    route_book_use(g->routes, &routes);
    atomic_store(&g->bodies.limit_bytes, config->body_memory_bytes);
    log_sink_level(config->log_level);
    g->config = config_ref(config);
    brain_configure(g->brain, config, g->nodes);
    for (size_t i = 0; i < g->sub_count; i++) {
        sub_use(&g->subs[i], config);
    }
    config_unref(&old);
    return MCP_OK;
}
