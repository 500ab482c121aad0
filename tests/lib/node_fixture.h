/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of nodes: the real loop, whose clock stands still until a test moves it, and one
 * set of nodes. Nothing waits in real time but for the kernel and helper threads. Teardown fails
 * the test when a descriptor was left open. */
#ifndef MCP_TESTS_NODE_FIXTURE_H
#define MCP_TESTS_NODE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/counter.h"
#include "node/registry.h"
#include "reactor/loop.h"

enum {
    CONNECT_LIMIT_MS = 10 * 1000,
    FIRST_BYTE_LIMIT_MS = 600 * 1000,
    IDLE_LIMIT_MS = 120 * 1000,
    POOL_IDLE = 20,
    POOL_IDLE_MS = 30 * 1000,
    HOUR_MS = 3600 * 1000,
};

extern struct loop *loop;
extern struct counters counters; /* zeroed for each test */
extern struct nodes *nodes;
extern unsigned changes; /* how often the set's watcher was called */

int node_setup(void **state);
int node_teardown(void **state);
#define NODE_TEST(f) cmocka_unit_test_setup_teardown(f, node_setup, node_teardown)

/* Another set, after nodes_free. */
void node_set_make(void);

int64_t counted(enum counter_id id);

/* An http node at that address, of a kind still to be found. */
struct node *node_add(const char *url);
struct node *node_add_with(const struct node_options *options);

typedef bool (*condition_fn)(void *arg);
/* Runs the loop until the condition holds, which is looked at in each turn; fails after 10 s. The
 * loop's clock stands still meanwhile. */
void run_until(condition_fn condition, void *arg);
/* A few turns, enough for what is due and what the kernel has to be seen. */
void run_turns(void);
/* Moves the loop's clock, then a few turns. */
void move_clock_ms(uint64_t ms);

/* From now on connections to TCP addresses are never made, nor refused. */
void hang_connects(bool hang);

/* What is called once in each turn: the scripted peers (node_peer.c). */
void node_peers_pump(void);
void node_peers_close(void);

#endif
