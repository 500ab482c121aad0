/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/log.h"
#include "gateway/brain.h"
#include "sched_calls.h"
#include "seeds.h"

struct world world;
struct world_seen world_seen;

uint64_t pick(uint64_t n)
{
    return n == 0 ? 0 : virtual_net_random(world.net) % n;
}

bool one_in(uint64_t n)
{
    return pick(n) == 0;
}

/* Instead of the C library's: the gateway draws its name from it. */
ssize_t getrandom(void *bytes, size_t n, unsigned flags)
{
    (void)flags;
    memset(bytes, 7, n);
    return (ssize_t)n;
}

/* --- making */

static struct plan plan_draw(uint64_t seed)
{
    struct plan p = {.profile = virtual_profile_draw(seed)};
    struct virtual_profile *v = &p.profile;

    /* Half of the worlds have a network that is slow at worst, so that what goes wrong there is
     * somebody's fault. */
    if (seed % 2 == 0) {
        v->no_socket = v->refuse = v->no_answer = v->accept_fails = v->reset = v->silent = 0;
    }
    p.net_breaks = v->no_socket + v->refuse + v->accept_fails + v->reset > 0;
    p.net_hangs = v->no_answer + v->silent > 0;
    return p;
}

static void draw_faults(struct plan *p)
{
    p->is_big = one_in(40);
    p->nodes_fail = one_in(2);
    p->clients_leave = one_in(2);
    p->clients_dawdle = one_in(2);
    p->nodes_vanish = one_in(4);
    p->clients_stall = one_in(4);
    p->clients_err = one_in(2);
    p->deadlines = one_in(2);
}

static void draw_gateway(struct plan *p)
{
    p->is_openai = one_in(3);
    p->stops_early = one_in(3);
    p->hurries = one_in(3);
    p->slots = one_in(2) ? 1 + pick(3) : 0;
    p->takes_turns = one_in(2);
    p->subs = one_in(2) ? (unsigned)pick(3) + 1 : 0;
    p->routes = one_in(4);
    p->embeds = !p->is_openai && one_in(2);
    p->one_is_bad = p->embeds && one_in(2);
    p->twins = one_in(2);
}

static void stopped(void *owner)
{
    (void)owner;
    assert_false(world.stopped);
    world.stopped = true;
}

static void stop_gateway(void *owner)
{
    (void)owner;
    if (!world.stopped) {
        world.stopping = true;
        gateway_stop(&world.gateway, stopped, NULL);
    }
}

static void write_log(void *owner, enum log_level level, const char *event, const char *text)
{
    (void)owner;
    (void)fprintf(stderr, "%9" PRIu64 " us  log %d  %s %s\n", virtual_net_now_us(world.net), level,
                  event, text);
}

/* A route with an arm that no node has. */
static const char *routes_file(void)
{
    static const char text[] = "routes:\n  r:\n    min_requests: 0\n    arms:\n"
                               "      - model: m\n        weight: 3\n"
                               "      - model: gone\n        weight: 1\n"
                               "    fallback: [m]\n";
    static char path[64];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/mcpgate-virtual-XXXXXX", P_tmpdir);
    fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, sizeof(text) - 1) == sizeof(text) - 1);
    assert_int_equal(close(fd), 0);
    return path;
}

static void open_gateway(void)
{
    static const char *const urls[] = {"http://10.0.0.1:11434", "http://10.0.0.2:11434"};
    static const char *const counts[] = {"0", "1", "2", "3"};
    struct config_args args = {.path = world.plan.routes ? routes_file() : NULL,
                               .node_urls = urls,
                               .node_count = world.node_count,
                               .mcp_listen = MCP_ADDRESS,
                               .http_listen = HTTP_ADDRESS,
                               .admin_listen = "off",
                               .access_log = "off",
                               .mode = world.plan.subs == 0 ? "single" : "main-sub",
                               .reactors = world.plan.subs == 0 ? NULL : counts[world.plan.subs]};
    struct err e = {0};

    world.config = config_load(&args, &e);
    if (args.path != NULL) {
        (void)unlink(args.path);
    }
    assert_string_equal(e.text, "");
    for (size_t i = 0; i < world.node_count && world.plan.is_openai; i++) {
        world.config->nodes[i].kind = CONFIG_KIND_OPENAI;
    }
    for (size_t i = 0; i < world.node_count; i++) {
        world.config->nodes[i].slots = (int64_t)world.plan.slots;
    }
    world.config->queue = world.plan.takes_turns ? CONFIG_QUEUE_ALWAYS : CONFIG_QUEUE_AUTO;
    world.config->queue_comments_ms = 24 * 3600 * 1000; /* bodies are compared byte by byte */
    world.config->first_byte_timeout_ms = 30 * 1000;
    world.config->idle_timeout_ms = 20 * 1000;
    world.config->client_stall_ms = 30 * 1000;
    assert_int_equal(gateway_open(&world.gateway, world.config, NULL, world.gateway_loop, &e), 0);
    gateway_start(&world.gateway);
}

static bool is_polled(void *unused)
{
    (void)unused;
    return gateway_ready(&world.gateway);
}

void world_begin(uint64_t seed)
{
    memset(&world, 0, sizeof(world));
    sched_calls = (struct sched_calls){0};
    world.plan = plan_draw(seed);
    world.net = virtual_net_new(seed, &world.plan.profile);
    if (seeds_replay()) {
        virtual_net_log(world.net, stderr);
        log_set_sink(write_log, NULL);
    }
    virtual_net_set_client_hosts(world.net, 1 + (uint32_t)pick(3));
    draw_gateway(&world.plan);
    draw_faults(&world.plan);
    world.loop = virtual_loop_new(world.net);
    world.gateway_loop = virtual_loop_new(world.net);
    timer_init(&world.stop_timer, stop_gateway, NULL);
    timer_init(&world.hurry_timer, stop_gateway, NULL);
    world.node_count = (size_t)pick(NODES_MAX) + 1;
    world.nodes[0] = script_node_new("10.0.0.1:11434");
    world.nodes[1] = world.node_count > 1 ? script_node_new("10.0.0.2:11434") : NULL;
    open_gateway();
    (void)virtual_net_run(world.net, is_polled, NULL, 60 * SECOND_US);
}

void world_redraw(void)
{
    draw_faults(&world.plan);
}

static void start_users(void)
{
    world.user_count = (size_t)pick(USERS_MAX) + 1;
    for (size_t i = 0; i < world.user_count; i++) {
        world.users[i] = user_new(one_in(2));
    }
    world.core_user = one_in(2) ? core_user_new() : NULL;
    if (world.plan.stops_early) {
        timer_arm(world.gateway_loop, &world.stop_timer, pick(5000));
        if (world.plan.hurries) {
            timer_arm(world.gateway_loop, &world.hurry_timer, pick(20000));
        }
    }
}

/* --- running */

static bool all_done(void *unused)
{
    (void)unused;
    return world.users_done == world.user_count + (world.core_user != NULL);
}

static bool has_stopped(void *unused)
{
    (void)unused;
    return world.stopped;
}

static void let_nodes_vanish(void)
{
    for (int i = 0; i < 3 && !all_done(NULL); i++) {
        struct script_node *n = world.nodes[pick(world.node_count)];

        (void)virtual_net_run(world.net, all_done, NULL, pick(2 * SECOND_US));
        script_node_vanish(n);
        (void)virtual_net_run(world.net, all_done, NULL, pick(10 * SECOND_US));
        script_node_return(n);
    }
}

void world_run_users(void)
{
    start_users();
    if (world.plan.nodes_vanish) {
        let_nodes_vanish();
    }
    assert_true(virtual_net_run(world.net, all_done, NULL, 3600 * SECOND_US));
}

static bool nothing_runs(void *unused)
{
    (void)unused;
    return counter_get(counters_current(), COUNTER_EXCHANGES_RUNNING) == 0 &&
           counter_get(counters_current(), COUNTER_BODY_BYTES) == 0; /* of a request in pieces */
}

static bool all_are_up(void *unused)
{
    (void)unused;
    return nodes_up(world.gateway.nodes) == world.node_count;
}

/* Clients that went without a word are waited for until a time limit. Then nodes that were away are
 * found again, if the network lets them. */
void world_settle(void)
{
    assert_true(virtual_net_run(world.net, nothing_runs, NULL, 3600 * SECOND_US));
    (void)virtual_net_run(world.net, all_are_up, NULL, 60 * SECOND_US);
}

void world_stop(void)
{
    uint64_t limit_us = (world.config->drain_timeout_ms + 5000) * 1000;

    if (!world.stopping) {
        stop_gateway(NULL);
    }
    assert_true(virtual_net_run(world.net, has_stopped, NULL, limit_us));
}

static int64_t outcomes(const struct counters *c)
{
    return counter_get(c, COUNTER_EXCHANGE_OK) + counter_get(c, COUNTER_EXCHANGE_CLIENT_ERROR) +
           counter_get(c, COUNTER_EXCHANGE_NODE_ERROR) +
           counter_get(c, COUNTER_EXCHANGE_CANCELLED) +
           counter_get(c, COUNTER_EXCHANGE_INTERRUPTED) +
           counter_get(c, COUNTER_EXCHANGE_DEADLINE) +
           counter_get(c, COUNTER_EXCHANGE_GATEWAY_ERROR);
}

size_t world_deals_that(enum deal_end how)
{
    size_t count = world.past_ends[how];

    for (size_t i = 0; i < world.deal_count; i++) {
        count += world.deals[i].end == how;
    }
    return count;
}

static void check_counters(void)
{
    const struct counters *c = counters_current();
    int64_t ended = outcomes(c);

    assert_int_equal(counter_get(c, COUNTER_EXCHANGES_RUNNING), 0);
    assert_int_equal(counter_get(c, COUNTER_BODY_BYTES), 0);
    assert_int_equal(counter_get(c, COUNTER_BATCH_WAITING), 0);
    world_seen.joined += counter_get(c, COUNTER_SHARE_JOINED);
    world_seen.repeated += counter_get(c, COUNTER_SHARE_REPEATED);
    world_seen.calls += counter_get(c, COUNTER_BATCH_CALLS);
    world_seen.halved += counter_get(c, COUNTER_BATCH_HALVED);
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    assert_int_equal(c->histograms[HISTOGRAM_EXCHANGE_US].count, ended);
    assert_true(ended <= (int64_t)(world.past_deals + world.deal_count + world.more_asked));
    assert_true(ended >= (int64_t)(world_deals_that(DEAL_WHOLE) + world_deals_that(DEAL_FAILED)) ||
                world.stopping);
    assert_true(counter_get(c, COUNTER_EXCHANGE_OK) >= (int64_t)world_deals_that(DEAL_WHOLE));
}

static bool never(void *unused)
{
    (void)unused;
    return false;
}

/* Every slot has come back, those of cancelled calls after their grace. */
static void check_slots(void)
{
    const struct counters *c = counters_current();
    struct buf page = {0};
    const char *text;

    assert_int_equal(counter_get(c, COUNTER_QUEUE_WAITING), 0);
    assert_int_equal(counter_get(c, COUNTER_SLOTS_USED), 0);
    (void)virtual_net_run(world.net, never, NULL, 2 * world.config->cancel_grace_ms * 1000);
    /* Each ticket once; one that is refused may cross with its client's leaving. */
    assert_true(sched_calls.leave <= sched_calls.tickets);
    assert_true(sched_calls.leave + sched_calls.refused >= sched_calls.tickets);
    assert_true(brain_page(world.gateway.brain, world.gateway.nodes, &page));
    assert_true(buf_append_byte(&page, '\0'));
    text = buf_slice(&page).ptr;
    if (strstr(text, "\"waiting\":0,\"running\":0,\"waiting_bytes\":0") == NULL) {
        fail_msg("%s", text);
    }
    buf_fini(&page);
}

void world_check(void)
{
    for (size_t i = 0; i < world.deal_count; i++) {
        deal_check(&world.deals[i]);
    }
    check_counters();
    check_slots();
}

/* --- the end */

void world_forget_users(void)
{
    for (size_t i = 0; i < world.user_count; i++) {
        user_free(&world.users[i]);
    }
    core_user_free(&world.core_user);
    for (size_t i = 0; i < world.node_count; i++) {
        script_node_forget(world.nodes[i]);
    }
    for (size_t i = 0; i < world.deal_count; i++) {
        world.past_ends[world.deals[i].end]++;
        deal_fini(&world.deals[i]);
    }
    world.past_deals += world.deal_count;
    world.first_deal += (unsigned)world.deal_count;
    world.deal_count = world.user_count = world.users_done = 0;
}

void world_end(void)
{
    world_forget_users();
    timer_cancel(world.gateway_loop, &world.stop_timer);
    timer_cancel(world.gateway_loop, &world.hurry_timer);
    gateway_close(&world.gateway);
    loop_free(&world.gateway_loop);
    for (size_t i = 0; i < NODES_MAX; i++) {
        script_node_free(&world.nodes[i]);
    }
    loop_free(&world.loop);
    config_unref(&world.config);
    assert_int_equal(virtual_net_open(world.net), 0);
    virtual_net_free(&world.net);
}
