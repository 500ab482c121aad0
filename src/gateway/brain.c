/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/brain.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/err.h"
#include "gateway/brain_internal.h"

enum { DECISIONS_AT_ONCE = 16, ROOM_FIRST = 16 };

/* --- rings: oldest first, the room a power of two --------------------------------------------- */

/* The same in twice the room, from its beginning on. NULL: out of memory, and nothing has changed.
 */
static void *ring_grow(void *ring, size_t size, size_t first, size_t *room)
{
    size_t more = *room == 0 ? ROOM_FIRST : 2 * *room;
    char *bigger = malloc(more * size);

    if (bigger == NULL) {
        return NULL;
    }
    if (*room > 0) {
        memcpy(bigger, (const char *)ring + first * size, (*room - first) * size);
        memcpy(bigger + (*room - first) * size, ring, first * size);
    }
    free(ring);
    *room = more;
    return bigger;
}

/* --- homes ------------------------------------------------------------------------------------ */

static void on_rung(void *owner)
{
    struct brain_home *h = owner;

    h->decided(h->owner);
}

void brain_home_init(struct brain_home *h, struct brain *b, struct loop *loop, loop_cb decided,
                     void *owner)
{
    struct brain_home **homes;

    *h = (struct brain_home){.brain = b, .loop = loop, .decided = decided, .owner = owner};
    task_init(&h->task, on_rung, h);
    if (b == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&b->lock);
    homes = realloc(b->homes, (b->home_count + 1) * sizeof(struct brain_home *));
    ASSERT(homes != NULL); /* start-up */
    h->index = (uint32_t)b->home_count;
    b->homes = homes;
    b->homes[b->home_count++] = h;
    (void)pthread_mutex_unlock(&b->lock);
}

void brain_home_fini(struct brain_home *h)
{
    struct brain *b = h->brain;

    if (b == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&b->lock);
    ASSERT(h->waiting == 0);
    b->homes[h->index] = NULL;
    (void)pthread_mutex_unlock(&b->lock);
    task_cancel(h->loop, &h->task);
    free(h->inbox);
    h->inbox = NULL;
    h->brain = NULL;
}

static bool inbox_reserve(struct brain_home *h)
{
    struct sched_decision *inbox;

    if (h->waiting < h->inbox_room) {
        return true;
    }
    inbox = ring_grow(h->inbox, sizeof(*inbox), h->inbox_first, &h->inbox_room);
    if (inbox == NULL) {
        return false;
    }
    h->inbox = inbox;
    h->inbox_first = 0;
    return true;
}

static struct sched_decision *inbox_at(const struct brain_home *h, size_t i)
{
    return &h->inbox[(h->inbox_first + i) & (h->inbox_room - 1)];
}

static void inbox_drop(struct brain_home *h, uint64_t ticket)
{
    size_t i = 0;

    while (i < h->inbox_count && inbox_at(h, i)->ticket != ticket) {
        i++;
    }
    if (i < h->inbox_count) {
        h->inbox_count--;
        for (; i < h->inbox_count; i++) {
            *inbox_at(h, i) = *inbox_at(h, i + 1);
        }
    }
}

/* --- behind the lock -------------------------------------------------------------------------- */

static void arm(struct brain *b)
{
    uint64_t now_us = loop_now_us(b->loop);
    uint64_t due_us;

    (void)pthread_mutex_lock(&b->lock);
    b->poked = false;
    due_us = b->due_us;
    (void)pthread_mutex_unlock(&b->lock);
    if (due_us == SCHED_NEVER) {
        timer_cancel(b->loop, &b->tick);
    } else {
        timer_arm_us(b->loop, &b->tick, due_us > now_us ? due_us - now_us : 0);
    }
}

static void on_poked(void *owner)
{
    arm(owner);
}

/* Not without memory; a home also looks by itself now and then (brain.h). */
static bool ring(struct brain_home *h, const struct loop *here)
{
    if (h->loop == here) {
        task_defer(h->loop, &h->task);
        return true;
    }
    return loop_post(h->loop, on_rung, h) == MCP_OK;
}

static void ring_failed(struct brain *b, struct brain_home *h)
{
    (void)pthread_mutex_lock(&b->lock);
    h->rung = false;
    (void)pthread_mutex_unlock(&b->lock);
}

/* Whether the tick is to be armed for an earlier time than it is. */
static bool wants_earlier_tick(struct brain *b)
{
    uint64_t next_us = sched_next_us(b->sched);

    if (b->late_count > 0 && b->late[b->late_first].due_us < next_us) {
        next_us = b->late[b->late_first].due_us;
    }
    if (next_us >= b->due_us) {
        return false;
    }
    b->due_us = next_us;
    return !b->poked;
}

static void put_decision(struct brain *b, const struct sched_decision *d, struct brain_after *after)
{
    struct brain_home *h = b->homes[d->home];

    ASSERT(h != NULL && h->inbox_count < h->inbox_room);
    *inbox_at(h, h->inbox_count++) = *d;
    if (h->rung) {
        return;
    }
    if (after->bell_count < BRAIN_BELLS) {
        h->rung = true;
        after->bells[after->bell_count++] = h;
    } else {
        h->rung = ring(h, after->here);
    }
}

static void deliver(struct brain *b, struct brain_after *after)
{
    struct sched_decision decisions[DECISIONS_AT_ONCE];
    size_t count;

    do {
        count = sched_take(b->sched, decisions, DECISIONS_AT_ONCE);
        for (size_t i = 0; i < count; i++) {
            put_decision(b, &decisions[i], after);
        }
    } while (count == DECISIONS_AT_ONCE);
}

uint64_t brain_enter(struct brain *b, uint64_t now_us)
{
    (void)pthread_mutex_lock(&b->lock);
    if (now_us > b->now_us) { /* turns of several loops begin at different times */
        b->now_us = now_us;
    }
    return b->now_us;
}

void brain_go(struct brain *b, struct brain_after *after)
{
    deliver(b, after);
    after->poke = wants_earlier_tick(b);
    b->poked = b->poked || after->poke;
    (void)pthread_mutex_unlock(&b->lock);
    for (size_t i = 0; i < after->bell_count; i++) {
        if (!ring(after->bells[i], after->here)) {
            ring_failed(b, after->bells[i]);
        }
    }
    if (after->poke && after->here == b->loop) {
        arm(b);
    } else if (after->poke && loop_post(b->loop, on_poked, b) != MCP_OK) {
        (void)pthread_mutex_lock(&b->lock);
        b->poked = false;
        b->due_us = SCHED_NEVER; /* the next one asks again */
        (void)pthread_mutex_unlock(&b->lock);
    }
}

/* --- requests --------------------------------------------------------------------------------- */

bool brain_schedules(const struct brain *b)
{
    return atomic_load_explicit(&b->schedules, memory_order_relaxed);
}

enum sched_verdict brain_arrive(struct brain_home *h, const struct sched_job *job,
                                struct sched_answer *out)
{
    struct brain *b = h->brain;
    struct sched_job own = *job;
    struct brain_after after = {.here = h->loop};
    enum sched_verdict verdict = SCHED_NO_MEMORY;
    uint64_t now_us = brain_enter(b, loop_now_us(h->loop));

    own.home = h->index;
    if (inbox_reserve(h)) {
        verdict = sched_arrive(b->sched, now_us, &own, out);
        h->waiting += verdict == SCHED_QUEUED;
    }
    brain_go(b, &after);
    return verdict;
}

bool brain_rate(struct brain_home *h, struct slice tenant, uint32_t rate_per_min,
                uint64_t *retry_after_us)
{
    struct brain *b = h->brain;
    uint64_t now_us = brain_enter(b, loop_now_us(h->loop));
    bool takes = sched_rate(b->sched, now_us, tenant, rate_per_min, retry_after_us);

    (void)pthread_mutex_unlock(&b->lock);
    return takes;
}

/* The two members may be of two sessions for a moment, which then prefer a node for no reason. */
uint64_t brain_session_node(struct brain *b, uint64_t session)
{
    struct seen_session *s = &b->sessions[session % BRAIN_SESSIONS];

    return atomic_load_explicit(&s->session, memory_order_relaxed) == session
               ? atomic_load_explicit(&s->node_id, memory_order_relaxed)
               : 0;
}

void brain_session_served(struct brain *b, uint64_t session, uint64_t node_id)
{
    struct seen_session *s = &b->sessions[session % BRAIN_SESSIONS];

    atomic_store_explicit(&s->session, session, memory_order_relaxed);
    atomic_store_explicit(&s->node_id, node_id, memory_order_relaxed);
}

static bool late_reserve(struct brain *b)
{
    struct late_leave *late;

    if (b->late_count < b->late_room) {
        return true;
    }
    late = ring_grow(b->late, sizeof(*late), b->late_first, &b->late_room);
    if (late == NULL) {
        return false;
    }
    b->late = late;
    b->late_first = 0;
    return true;
}

/* False: no memory for that. */
static bool leave_later(struct brain *b, uint64_t now_us, uint64_t ticket,
                        const struct sched_outcome *outcome)
{
    if (!late_reserve(b)) {
        return false;
    }
    counter_add(COUNTER_SLOTS_LATE, 1);
    b->late[(b->late_first + b->late_count++) & (b->late_room - 1)] =
        (struct late_leave){.due_us = now_us + b->grace_us, .ticket = ticket, .outcome = *outcome};
    return true;
}

void brain_leave(struct brain_home *h, uint64_t ticket, enum brain_leaving how,
                 const struct sched_outcome *outcome)
{
    struct brain *b = h->brain;
    struct brain_after after = {.here = h->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(h->loop));

    if (how == BRAIN_WAITED) {
        h->waiting--;
        inbox_drop(h, ticket);
    }
    if (how != BRAIN_LATER || b->grace_us == 0 || !leave_later(b, now_us, ticket, outcome)) {
        sched_leave(b->sched, now_us, ticket, outcome);
    }
    brain_go(b, &after);
}

void brain_started(struct brain_home *h, uint64_t ticket)
{
    struct brain_after after = {.here = h->loop};
    uint64_t now_us = brain_enter(h->brain, loop_now_us(h->loop));

    sched_started(h->brain->sched, now_us, ticket);
    brain_go(h->brain, &after);
}

bool brain_take(struct brain_home *h, struct sched_decision *out)
{
    struct brain *b = h->brain;
    bool has;

    (void)pthread_mutex_lock(&b->lock);
    has = h->inbox_count > 0;
    h->rung = has;
    if (has) {
        *out = *inbox_at(h, 0);
        h->inbox_first = (h->inbox_first + 1) & (h->inbox_room - 1);
        h->inbox_count--;
        h->waiting--;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return has;
}

bool brain_look(struct brain_home *h, uint64_t ticket, struct sched_answer *out)
{
    struct brain *b = h->brain;
    uint64_t now_us = brain_enter(b, loop_now_us(h->loop));
    bool waits = sched_look(b->sched, now_us, ticket, out);

    (void)pthread_mutex_unlock(&b->lock);
    return waits;
}

/* --- the whole -------------------------------------------------------------------------------- */

static struct sched_limits limits_of(const struct config *c)
{
    struct sched_limits l = sched_limits_default();

    l.queue_jobs = c->queue_per_tenant;
    l.queue_bytes = c->queue_bytes;
    l.ageing_us = c->queue_ageing_ms * 1000;
    l.min_resident_us = c->min_resident_ms * 1000;
    l.max_load_wait_us = c->max_load_wait_ms * 1000;
    return l;
}

static void on_tick(void *owner)
{
    struct brain *b = owner;
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));

    b->due_us = SCHED_NEVER;
    while (b->late_count > 0 && b->late[b->late_first].due_us <= now_us) {
        const struct late_leave *l = &b->late[b->late_first];

        sched_leave(b->sched, now_us, l->ticket, &l->outcome);
        b->late_first = (b->late_first + 1) & (b->late_room - 1);
        b->late_count--;
    }
    if (sched_next_us(b->sched) <= now_us) {
        sched_tick(b->sched, now_us);
    }
    brain_go(b, &after);
}

void brain_configure(struct brain *b, const struct config *config, struct nodes *nodes)
{
    struct sched_limits limits = limits_of(config);
    struct brain_after after = {.here = b->loop};
    uint64_t now_us = brain_enter(b, loop_now_us(b->loop));

    sched_set_limits(b->sched, now_us, &limits);
    b->grace_us = config->cancel_grace_ms * 1000;
    brain_go(b, &after);
    b->config = config;
    brain_nodes_changed(b, nodes);
}

struct brain *brain_new(struct loop *loop, const struct config *config)
{
    struct brain *b = xcalloc(1, sizeof(*b));
    struct sched_limits limits = limits_of(config);
    uint64_t seed = 0;

    (void)!getrandom(&seed, sizeof(seed), 0); /* any will do */
    b->loop = loop;
    b->config = config;
    b->grace_us = config->cancel_grace_ms * 1000;
    b->due_us = SCHED_NEVER;
    b->sched = sched_new(&limits, seed);
    ASSERT(b->sched != NULL);                 /* start-up */
    (void)pthread_mutex_init(&b->lock, NULL); /* cannot fail for a default mutex */
    timer_init(&b->tick, on_tick, b);
    return b;
}

void brain_free(struct brain **pb)
{
    struct brain *b = *pb;

    if (b == NULL) {
        return;
    }
    *pb = NULL;
    timer_cancel(b->loop, &b->tick);
    brain_nodes_fini(b);
    sched_free(&b->sched);
    (void)pthread_mutex_destroy(&b->lock); /* nobody holds it any more */
    free(b->homes);
    free(b->late);
    free(b);
}
