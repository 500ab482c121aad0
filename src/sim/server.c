/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/server.h"

#include <stdlib.h>

#include "base/check.h"
#include "sim/server_internal.h"

/* --- the engine
 * ---------------------------------------------------------------------------------------- */

static struct sim_conn *conn_of_call(struct sim_call *call)
{
    struct sim_conn *c =
        (struct sim_conn *)(void *)((char *)call - offsetof(struct sim_conn, call));

    OBJ_CHECK(c, SIM_CONN_MAGIC);
    return c;
}

static void run_engine(void *owner)
{
    struct sim_server *s = owner;
    uint64_t now = loop_now_us(s->loop), due;
    struct sim_event ev;

    while (sim_engine_next(s->engine, now, &ev)) {
        sim_work_event(conn_of_call(ev.call), &ev);
    }
    task_cancel(s->loop, &s->engine_task); /* what asked for it meanwhile was served just now */
    due = sim_engine_due_us(s->engine);
    if (due == UINT64_MAX) {
        timer_cancel(s->loop, &s->engine_timer);
    } else {
        timer_arm_us(s->loop, &s->engine_timer, due > now ? due - now : 0);
    }
}

void sim_server_poke(struct sim_server *s)
{
    task_defer(s->loop, &s->engine_task);
}

/* --- start and end
 * ------------------------------------------------------------------------------------- */

static void add_models(struct sim_server *s, const struct sim_options *o)
{
    for (size_t i = 0; i < o->model_count; i++) {
        struct slice name = slice_str(o->models[i]);
        char digest[SIM_DIGEST_BYTES];
        bool added;

        sim_digest_of(name, digest);
        added = sim_library_add(s, name, digest);
        ASSERT(added); /* start-up */
    }
}

struct sim_server *sim_server_new(struct loop *loop, const struct addr *at,
                                  const struct sim_options *o, struct err *e)
{
    struct sim_server *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->profile = o->profile;
    s->seed = o->seed;
    s->has_gap = o->has_gap;
    s->gap_us = o->gap_us;
    s->started_wall_us = loop_wall_us(loop);
    s->fault_count = o->fault_count;
    s->faults = xcalloc(o->fault_count + 1, sizeof(*s->faults));
    for (size_t i = 0; i < o->fault_count; i++) {
        s->faults[i] = o->faults[i];
    }
    timer_init(&s->engine_timer, run_engine, s);
    task_init(&s->engine_task, run_engine, s);
    if (!sim_profile_is_free(&o->profile)) {
        s->engine = sim_engine_new(&o->profile, 0, o->seed);
        ASSERT(s->engine != NULL); /* start-up */
    }
    add_models(s, o);
    s->listener = listener_new(loop, at, sim_conn_accept, s, e);
    if (s->listener == NULL) {
        sim_server_free(&s);
    }
    return s;
}

static void server_destroy(void *ptr)
{
    struct sim_server *s = ptr;

    sim_engine_free(&s->engine);
    sim_echo_cache_fini(&s->echo);
    for (size_t i = 0; i < s->model_count; i++) {
        free(s->models[i].name);
    }
    free(s->models);
    free(s->faults);
    buf_fini(&s->head);
    buf_fini(&s->text);
    free(s);
}

void sim_server_free(struct sim_server **sp)
{
    struct sim_server *s = *sp;
    struct sim_conn *c;

    if (s == NULL) {
        return;
    }
    *sp = NULL;
    listener_free(&s->listener);
    while ((c = sim_conn_list_first(&s->conns)) != NULL) {
        sim_conn_close(c, SIM_END_NOW);
    }
    timer_cancel(s->loop, &s->engine_timer);
    task_cancel(s->loop, &s->engine_task);
    loop_bury(s->loop, s, server_destroy); /* its connections are, too, and refer to it */
}

const struct addr *sim_server_addr(const struct sim_server *s)
{
    return listener_addr(s->listener);
}
