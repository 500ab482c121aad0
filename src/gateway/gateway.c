/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/gateway.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/log.h"
#include "gateway/acceptor.h"
#include "gateway/banner.h"
#include "gateway/face/admin.h"
#include "gateway/sub_thread.h"
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

static int64_t running(const struct gateway *g)
{
    int64_t sum = counter_get(&g->counters, COUNTER_EXCHANGES_RUNNING);

    for (size_t i = 0; i < g->sub_count; i++) {
        sum += counter_get(&g->subs[i].counters, COUNTER_EXCHANGES_RUNNING);
    }
    return sum;
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
    LOG_INFO("node_state", "node=%s state=%s kind=%s models=%zu%s", n->spec->name,
             node_state_name(n->state), node_kind_name(n->kind), n->catalogue.count,
             buf_failed(&why) ? "" : buf_slice(&why).ptr);
    buf_fini(&why);
}

static void on_node_changed(void *owner, struct node *n)
{
    struct gateway *g = owner;

    if (!g->banner_due) {
        log_node_state(n);
    } else if (nodes_all_polled(g->nodes)) {
        g->banner_due = false;
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

static int add_node(struct nodes *set, const struct config_node *c, struct err *e)
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
    rv = nodes_add(set, &options, e);
    free(headers);
    return rv;
}

static int make_nodes(struct gateway *g, struct err *e)
{
    const struct config *c = g->config;
    const struct node_limits limits = {
        .connect_timeout_ms = c->connect_timeout_ms,
        .first_byte_timeout_ms = c->first_byte_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .pool_idle = (size_t)c->pool_idle,
        .pool_idle_ms = c->pool_idle_ms,
    };
    int rv = MCP_OK;

    g->nodes = nodes_new(g->loop, &limits, g->instance, on_node_changed, g);
    for (size_t i = 0; i < c->node_count && rv == MCP_OK; i++) {
        rv = add_node(g->nodes, &c->nodes[i], e);
    }
    return rv;
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
        .instance = g->instance,
        .http_addr = g->http == NULL ? NULL : acceptor_addr(g->http),
        .count = sub_count(g->config),
        .on_drained = on_drained,
        .on_drained_owner = g,
    };

    g->subs = xcalloc(options.count, sizeof(*g->subs));
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

int gateway_open(struct gateway *g, const struct config *config, struct loop *loop, struct err *e)
{
    *g = (struct gateway){.config = config, .loop = loop};
    counters_attach(&g->counters);
    g->bodies.limit_bytes = config->body_memory_bytes;
    make_instance(g);
    if (access_log_open(config->access_log, e) != MCP_OK || make_nodes(g, e) != MCP_OK) {
        return 2;
    }
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
    nodes_free(&g->nodes);
    access_log_close();
    counters_attach(NULL);
}

/* --- the process ------------------------------------------------------------------------------ */

static void on_stopped(void *owner)
{
    struct gateway *g = owner;

    loop_stop(g->loop);
}

static void on_terminate(void *owner)
{
    struct gateway *g = owner;

    if (!g->draining) {
        LOG_INFO("drain", "exchanges=%" PRId64, running(g));
    }
    gateway_stop(g, on_stopped, g);
}

static void on_reopen(void *owner)
{
    (void)owner;
    access_log_reopen();
}

static bool watch_signals(struct gateway *g, struct loop *loop)
{
    (void)signal(SIGPIPE, SIG_IGN); /* writes say EPIPE themselves */
    return loop_signal(loop, SIGTERM, on_terminate, g) == 0 &&
           loop_signal(loop, SIGINT, on_terminate, g) == 0 &&
           loop_signal(loop, SIGHUP, on_terminate, g) == 0 && /* the terminal went */
           loop_signal(loop, SIGUSR1, on_reopen, g) == 0;
}

static int serve(struct gateway *g, const struct config *config, struct loop *loop,
                 const char *backend, const char *why)
{
    struct err e = {0};
    int rv;

    /* Before there are threads, which inherit what is blocked. */
    if (!watch_signals(g, loop)) {
        (void)fprintf(stderr, "mcpgate: signals cannot be watched\n");
        return 1;
    }
    rv = gateway_open(g, config, loop, &e);
    if (rv != 0) {
        (void)fprintf(stderr, "mcpgate: %s\n", e.text);
    } else {
        g->banner_due = true;
        banner_listening(g);
        LOG_INFO("backend", "name=%s why=\"%s\"", backend, why);
        gateway_start(g);
        loop_run(loop);
        LOG_INFO("stopped", "reason=signal");
    }
    gateway_close(g);
    return rv;
}

int gateway_run(const struct config *config)
{
    struct gateway g;
    char why[LOOP_WHY_MAX];
    const char *backend = loop_choose(config->backend, why);
    struct loop *loop;
    int rv;

    if (backend == NULL) {
        (void)fprintf(stderr, "mcpgate: %s; use --backend auto or reactor.backend\n", why);
        return 1;
    }
    log_sink_open(config->log_level);
    raise_open_files();
    loop = loop_new();
    if (loop == NULL) {
        (void)fprintf(stderr, "mcpgate: the kernel gives no event loop\n");
        return 1;
    }
    rv = serve(&g, config, loop, backend, why);
    loop_free(&loop);
    return rv;
}
