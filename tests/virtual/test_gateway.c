/* SPDX-License-Identifier: Apache-2.0 */
/* Random worlds. In each: every deal ends, once, with its own bytes in order; what is no fault of
 * anybody's comes whole; the gateway's counters add up, it holds nothing in the end, and it stops
 * when it is told to. MCPGATE_SEED=n runs one of them and tells what happens on the network. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/counter.h"
#include "base/log.h"
#include "gateway/brain.h"
#include "seeds.h"
#include "world.h"

enum { WORLDS = 400 };

struct world world;

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
    p->is_openai = one_in(3);
    p->is_big = one_in(40);
    p->nodes_fail = one_in(2);
    p->clients_leave = one_in(2);
    p->clients_dawdle = one_in(2);
    p->nodes_vanish = one_in(4);
    p->clients_stall = one_in(4);
    p->clients_err = one_in(2);
    p->deadlines = one_in(2);
    p->stops_early = one_in(3);
    p->hurries = one_in(3);
    p->slots = one_in(2) ? 1 + pick(3) : 0;
    p->takes_turns = one_in(2);
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

static void open_gateway(void)
{
    static const char *const urls[] = {"http://10.0.0.1:11434", "http://10.0.0.2:11434"};
    struct config_args args = {.node_urls = urls,
                               .node_count = world.node_count,
                               .mcp_listen = MCP_ADDRESS,
                               .http_listen = HTTP_ADDRESS,
                               .admin_listen = "off",
                               .access_log = "off",
                               .mode = "single"};
    struct err e = {0};

    world.config = config_load(&args, &e);
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

static void make_world(uint64_t seed)
{
    memset(&world, 0, sizeof(world));
    world.plan = plan_draw(seed);
    world.net = virtual_net_new(seed, &world.plan.profile);
    if (seeds_replay()) {
        virtual_net_log(world.net, stderr);
        log_set_sink(write_log, NULL);
    }
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

static int64_t outcomes(const struct counters *c)
{
    return counter_get(c, COUNTER_EXCHANGE_OK) + counter_get(c, COUNTER_EXCHANGE_CLIENT_ERROR) +
           counter_get(c, COUNTER_EXCHANGE_NODE_ERROR) +
           counter_get(c, COUNTER_EXCHANGE_CANCELLED) +
           counter_get(c, COUNTER_EXCHANGE_INTERRUPTED) +
           counter_get(c, COUNTER_EXCHANGE_DEADLINE) +
           counter_get(c, COUNTER_EXCHANGE_GATEWAY_ERROR);
}

static size_t deals_that(enum deal_end how)
{
    size_t count = 0;

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
    assert_int_equal(atomic_load(&world.gateway.bodies.held_bytes), 0);
    assert_int_equal(c->histograms[HISTOGRAM_EXCHANGE_US].count, ended);
    assert_true(ended <= (int64_t)(world.deal_count + world.more_asked));
    assert_true(ended >= (int64_t)(deals_that(DEAL_WHOLE) + deals_that(DEAL_FAILED)) ||
                world.stopping);
    assert_true(counter_get(c, COUNTER_EXCHANGE_OK) >= (int64_t)deals_that(DEAL_WHOLE));
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
    assert_true(brain_page(world.gateway.brain, world.gateway.nodes, &page));
    assert_true(buf_append_byte(&page, '\0'));
    text = buf_slice(&page).ptr;
    if (strstr(text, "\"waiting\":0,\"running\":0,\"waiting_bytes\":0") == NULL) {
        fail_msg("%s", text);
    }
    buf_fini(&page);
}

static void end_world(void)
{
    for (size_t i = 0; i < world.user_count; i++) {
        user_free(&world.users[i]);
    }
    core_user_free(&world.core_user);
    timer_cancel(world.gateway_loop, &world.stop_timer);
    timer_cancel(world.gateway_loop, &world.hurry_timer);
    gateway_close(&world.gateway);
    loop_free(&world.gateway_loop);
    for (size_t i = 0; i < NODES_MAX; i++) {
        script_node_free(&world.nodes[i]);
    }
    loop_free(&world.loop);
    for (size_t i = 0; i < world.deal_count; i++) {
        deal_fini(&world.deals[i]);
    }
    config_unref(&world.config);
    assert_int_equal(virtual_net_open(world.net), 0);
    virtual_net_free(&world.net);
}

static uint64_t run_world(uint64_t seed)
{
    uint64_t limit_us;
    uint64_t trace;

    make_world(seed);
    start_users();
    if (world.plan.nodes_vanish) {
        let_nodes_vanish();
    }
    assert_true(virtual_net_run(world.net, all_done, NULL, 3600 * SECOND_US));
    if (!world.stopping) {
        stop_gateway(NULL);
    }
    limit_us = (world.config->drain_timeout_ms + 5000) * 1000;
    assert_true(virtual_net_run(world.net, has_stopped, NULL, limit_us));
    for (size_t i = 0; i < world.deal_count; i++) {
        deal_check(&world.deals[i]);
    }
    check_counters();
    check_slots();
    trace = virtual_net_trace(world.net);
    end_world();
    return trace;
}

static void run_one(uint64_t seed)
{
    (void)run_world(seed);
}

static void run_twice(uint64_t seed)
{
    assert_int_equal(run_world(seed), run_world(seed));
}

static void deals_are_kept(void **state)
{
    (void)state;
    seeds_run(WORLDS, run_one);
}

static void the_same_seed_is_the_same_world(void **state)
{
    (void)state;
    seeds_run(WORLDS / 20, run_twice);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEEDS_TEST(deals_are_kept),
        SEEDS_TEST(the_same_seed_is_the_same_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
