/* SPDX-License-Identifier: Apache-2.0 */
#include "whole_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "node/node.h"
#include "node/poll.h"
#include "node/registry_internal.h"

static void on_tick(void *owner)
{
    loop_stop(owner);
}

void whole_gateway_wait_ready(struct gateway *g, struct loop *loop)
{
    struct timer tick;

    timer_init(&tick, on_tick, loop);
    for (int i = 0; i < 20000 && !gateway_ready(g); i++) {
        for (size_t n = 0; n < g->nodes->count; n++) {
            node_poll_now(g->nodes->list[n]->poll);
        }
        timer_arm(loop, &tick, 1);
        loop_run(loop);
    }
    assert_true(gateway_ready(g));
}

struct listener *whole_gateway_open(struct gateway *g, struct config **config, struct loop *loop,
                                    listener_cb on_node_accept)
{
    char url[8 + ADDR_TEXT_MAX] = "http://";
    const char *const urls[] = {url};
    const struct config_args args = {.node_urls = urls,
                                     .node_count = 1,
                                     .mcp_listen = "127.0.0.1:0",
                                     .http_listen = "127.0.0.1:0",
                                     .admin_listen = "off",
                                     .access_log = "/dev/null",
                                     .mode = "single"};
    struct listener *node;
    struct err e = {0};
    struct addr at;

    assert_int_equal(addr_parse(&at, SLICE("127.0.0.1:0"), &e), 0);
    node = listener_new(loop, &at, on_node_accept, NULL, &e);
    assert_non_null(node);
    addr_format(listener_addr(node), url + strlen("http://"));
    *config = config_load(&args, &e);
    if (*config == NULL) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(gateway_open(g, *config, NULL, loop, &e), 0);
    gateway_start(g);
    whole_gateway_wait_ready(g, loop);
    return node;
}
