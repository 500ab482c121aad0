/* SPDX-License-Identifier: Apache-2.0 */
/* gateway/sub_thread.h without a thread: in virtual time a sub reactor is one more loop of the
 * network, and the linker takes these functions instead. All loops share one set of counters. */
#include <stdlib.h>

#include "base/check.h"
#include "gateway/sub_thread.h"
#include "world.h"

struct sub_thread {
    struct sub *sub;
    struct loop *loop;
    struct nodes *nodes; /* follow the main reactor's */
    struct nodes *leader;
    loop_cb on_drained;
    void *on_drained_owner;
};

static void on_drained(void *owner)
{
    struct sub_thread *t = owner;

    assert_int_equal(loop_post(nodes_loop(t->leader), t->on_drained, t->on_drained_owner), MCP_OK);
}

struct sub_thread *sub_thread_new(struct sub *s, struct nodes *leader, const struct sub_options *o,
                                  struct err *e)
{
    struct sub_thread *t = xcalloc(1, sizeof(*t));
    struct sub_options options = *o;

    (void)e;
    t->sub = s;
    t->leader = leader;
    t->on_drained = o->on_drained;
    t->on_drained_owner = o->on_drained_owner;
    options.on_drained = on_drained;
    options.on_drained_owner = t;
    t->loop = virtual_loop_new(world.net);
    t->nodes = nodes_follow(leader, t->loop);
    sub_init(s, t->loop, t->nodes, &options);
    return t;
}

void sub_thread_start(struct sub_thread *t)
{
    (void)t; /* the network runs all loops */
}

static void drain(void *owner)
{
    sub_drain(owner);
}

void sub_thread_drain(struct sub_thread *t)
{
    assert_int_equal(loop_post(t->loop, drain, t->sub), MCP_OK);
}

void sub_thread_free(struct sub_thread **tp)
{
    struct sub_thread *t = *tp;

    if (t != NULL) {
        *tp = NULL;
        sub_fini(t->sub);
        nodes_free(&t->nodes);
        loop_free(&t->loop);
        free(t);
    }
}
