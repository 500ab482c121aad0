/* SPDX-License-Identifier: Apache-2.0 */
#include "node/node.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/log.h"
#include "node/poll.h"
#include "node/registry.h"
#include "node/share.h"

const char *node_kind_name(enum node_kind kind)
{
    static const char *const names[] = {"unknown", "ollama", "openai"};

    return names[kind];
}

const char *node_state_name(enum node_state state)
{
    static const char *const names[] = {"starting", "up", "down", "refused"};

    return names[state];
}

const char *node_service_name(enum node_service service)
{
    static const char *const names[] = {"serving", "cordoned", "warming"};

    return names[service];
}

static void set_state(struct node *n, enum node_state state, const char *why)
{
    static const bool allowed[4][4] = {
        [NODE_STARTING] = {[NODE_UP] = true, [NODE_DOWN] = true, [NODE_REFUSED] = true},
        [NODE_UP] = {[NODE_DOWN] = true, [NODE_REFUSED] = true},
        [NODE_DOWN] = {[NODE_UP] = true, [NODE_REFUSED] = true},
    };
    bool changes = n->state != state;

    OBJ_CHECK(n, NODE_MAGIC);
    (void)snprintf(n->why_down, sizeof(n->why_down), "%s", why);
    if (!changes) {
        return;
    }
    ASSERT(allowed[n->state][state]);
    n->state = state;
    if (n->poll != NULL) {
        counter_add(state == NODE_UP ? COUNTER_NODE_UP : COUNTER_NODE_DOWN, 1);
    }
    nodes_changed(n->set, n);
}

void node_mark_up(struct node *n)
{
    if (n->state != NODE_REFUSED && !n->retired) {
        set_state(n, NODE_UP, "");
    }
}

void node_mark_down(struct node *n, const char *why)
{
    bool was_up = n->state == NODE_UP;

    if (n->state == NODE_REFUSED || n->retired) {
        return;
    }
    if (n->poll != NULL) {
        residency_fini(&n->residency); /* it may come back as another process */
    }
    set_state(n, NODE_DOWN, why);
    if (n->poll == NULL) {
        node_share_report_down(n->share, why);
        nodes_report(n->set);
    } else if (was_up) {
        node_poll_soon(n->poll);
    }
}

void node_mark_refused(struct node *n)
{
    if (!n->retired) {
        set_state(n, NODE_REFUSED, "this node is the gateway itself");
    }
}

static void mark_changed(struct node *n, bool for_good)
{
    n->catalogue_changed = true;
    if (n->poll != NULL) {
        atomic_store(&n->share->changed, true);
    } else if (!n->retired) {
        node_share_report_changed(n->share, for_good);
        nodes_report(n->set);
    }
}

void node_mark_changed(struct node *n)
{
    mark_changed(n, false);
}

void node_read_soon(struct node *n)
{
    mark_changed(n, true);
    if (n->poll != NULL && n->state == NODE_UP) {
        n->reads_soon = true;
        node_poll_now(n->poll); /* one that runs may have begun too early: another follows it */
    }
}

/* Relaxed, all of them: nothing but the numbers is shared. */

void node_call_began(struct node *n, bool is_poll)
{
    n->calls++;
    if (!is_poll) {
        (void)atomic_fetch_add_explicit(&n->share->calls, 1, memory_order_relaxed);
    }
}

void node_call_ended(struct node *n, bool is_poll)
{
    n->calls--;
    if (!is_poll) {
        (void)atomic_fetch_sub_explicit(&n->share->calls, 1, memory_order_relaxed);
    }
    if (n->retired && n->calls == 0) {
        nodes_bury(n->set, n);
    }
}

void node_heard(struct node *n, uint64_t now_ms)
{
    /* Written once a millisecond, so that the threads do not fight for the cache line. */
    if (atomic_load_explicit(&n->share->heard_ms, memory_order_relaxed) != now_ms) {
        atomic_store_explicit(&n->share->heard_ms, now_ms, memory_order_relaxed);
    }
}

size_t node_calls_everywhere(const struct node *n)
{
    return atomic_load_explicit(&n->share->calls, memory_order_relaxed);
}

uint64_t node_heard_ms(const struct node *n)
{
    return atomic_load_explicit(&n->share->heard_ms, memory_order_relaxed);
}
