/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/brain.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/err.h"
#include "gateway/config.h"
#include "node/registry.h"

enum { BELLS = 16, DECISIONS_AT_ONCE = 16, INBOX_ROOM_FIRST = 16, LATE_ROOM_FIRST = 16 };

/* A node as the scheduler was told of it last, to tell it so again with one thing changed. */
struct known_node {
    uint64_t id;
    bool up;
    bool cordoned;
    unsigned speaks;
    uint32_t slots;
    struct catalogue catalogue;
    struct residency residency;
};

/* A ticket that ends later. */
struct late_leave {
    uint64_t due_us;
    uint64_t ticket;
    struct sched_outcome outcome;
};

struct brain {
    struct loop *loop; /* the main reactor's */
    struct timer tick;
    const struct config *config; /* the gateway's */
    _Atomic bool schedules;

    pthread_mutex_t lock; /* guards the rest */
    struct sched *sched;
    uint64_t now_us; /* of the latest call */
    struct brain_home **homes;
    size_t home_count;
    struct known_node *nodes;
    size_t node_count;
    struct late_leave *late; /* a ring, oldest first */
    size_t late_first;
    size_t late_count;
    size_t late_room; /* a power of two, or 0 */
    uint64_t grace_us;
    uint64_t due_us; /* the tick is armed for, or has been asked to be */
    bool poked;      /* that was asked */
};

/* What is done behind the lock. */
struct after {
    const struct loop *here; /* the loop whose thread this is */
    struct brain_home *bells[BELLS];
    size_t bell_count;
    bool poke;
};

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
    size_t room = h->inbox_room == 0 ? INBOX_ROOM_FIRST : 2 * h->inbox_room;
    struct sched_decision *inbox;

    if (h->waiting < h->inbox_room) {
        return true;
    }
    inbox = realloc(h->inbox, room * sizeof(*inbox));
    if (inbox == NULL) {
        return false;
    }
    h->inbox = inbox;
    h->inbox_room = room;
    return true;
}

static void inbox_drop(struct brain_home *h, uint64_t ticket)
{
    for (size_t i = 0; i < h->inbox_count; i++) {
        if (h->inbox[i].ticket == ticket) {
            h->inbox_count--;
            memmove(&h->inbox[i], &h->inbox[i + 1], (h->inbox_count - i) * sizeof(h->inbox[0]));
            return;
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

static void put_decision(struct brain *b, const struct sched_decision *d, struct after *after)
{
    struct brain_home *h = b->homes[d->home];

    ASSERT(h != NULL && h->inbox_count < h->inbox_room);
    h->inbox[h->inbox_count++] = *d;
    if (h->rung) {
        return;
    }
    if (after->bell_count < BELLS) {
        h->rung = true;
        after->bells[after->bell_count++] = h;
    } else {
        h->rung = ring(h, after->here);
    }
}

static void deliver(struct brain *b, struct after *after)
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

static uint64_t enter(struct brain *b, uint64_t now_us)
{
    (void)pthread_mutex_lock(&b->lock);
    if (now_us > b->now_us) { /* turns of several loops begin at different times */
        b->now_us = now_us;
    }
    return b->now_us;
}

static void leave(struct brain *b, struct after *after)
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
    struct after after = {.here = h->loop};
    enum sched_verdict verdict = SCHED_NO_MEMORY;
    uint64_t now_us = enter(b, loop_now_us(h->loop));

    own.home = h->index;
    if (inbox_reserve(h)) {
        verdict = sched_arrive(b->sched, now_us, &own, out);
        h->waiting += verdict == SCHED_QUEUED;
    }
    leave(b, &after);
    return verdict;
}

static bool late_reserve(struct brain *b)
{
    size_t room = b->late_room == 0 ? LATE_ROOM_FIRST : 2 * b->late_room;
    struct late_leave *late;

    if (b->late_count < b->late_room) {
        return true;
    }
    late = malloc(room * sizeof(*late));
    if (late == NULL) {
        return false;
    }
    for (size_t i = 0; i < b->late_count; i++) {
        late[i] = b->late[(b->late_first + i) & (b->late_room - 1)];
    }
    free(b->late);
    b->late = late;
    b->late_first = 0;
    b->late_room = room;
    return true;
}

/* False: no memory for that. */
static bool leave_later(struct brain *b, uint64_t now_us, uint64_t ticket,
                        const struct sched_outcome *outcome)
{
    if (!late_reserve(b)) {
        return false;
    }
    b->late[(b->late_first + b->late_count++) & (b->late_room - 1)] =
        (struct late_leave){.due_us = now_us + b->grace_us, .ticket = ticket, .outcome = *outcome};
    return true;
}

void brain_leave(struct brain_home *h, uint64_t ticket, enum brain_leaving how,
                 const struct sched_outcome *outcome)
{
    struct brain *b = h->brain;
    struct after after = {.here = h->loop};
    uint64_t now_us = enter(b, loop_now_us(h->loop));

    if (how == BRAIN_WAITED) {
        h->waiting--;
        inbox_drop(h, ticket);
    }
    if (how != BRAIN_LATER || b->grace_us == 0 || !leave_later(b, now_us, ticket, outcome)) {
        sched_leave(b->sched, now_us, ticket, outcome);
    }
    leave(b, &after);
}

void brain_started(struct brain_home *h, uint64_t ticket)
{
    struct after after = {.here = h->loop};
    uint64_t now_us = enter(h->brain, loop_now_us(h->loop));

    sched_started(h->brain->sched, now_us, ticket);
    leave(h->brain, &after);
}

bool brain_take(struct brain_home *h, struct sched_decision *out)
{
    struct brain *b = h->brain;
    bool has;

    (void)pthread_mutex_lock(&b->lock);
    has = h->inbox_count > 0;
    h->rung = has;
    if (has) {
        *out = h->inbox[0];
        h->inbox_count--;
        memmove(&h->inbox[0], &h->inbox[1], h->inbox_count * sizeof(h->inbox[0]));
        h->waiting--;
    }
    (void)pthread_mutex_unlock(&b->lock);
    return has;
}

bool brain_look(struct brain_home *h, uint64_t ticket, struct sched_answer *out)
{
    struct brain *b = h->brain;
    uint64_t now_us = enter(b, loop_now_us(h->loop));
    bool waits = sched_look(b->sched, now_us, ticket, out);

    (void)pthread_mutex_unlock(&b->lock);
    return waits;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct known_node *find_node(struct brain *b, uint64_t id)
{
    for (size_t i = 0; i < b->node_count; i++) {
        if (b->nodes[i].id == id) {
            return &b->nodes[i];
        }
    }
    return NULL;
}

static void known_node_fini(struct known_node *n)
{
    catalogue_fini(&n->catalogue);
    residency_fini(&n->residency);
}

static void fill_listed(const struct known_node *n, struct sched_model *out)
{
    for (size_t i = 0; i < n->catalogue.count; i++) {
        const struct catalogue_model *m = &n->catalogue.models[i];

        out[i] = (struct sched_model){.name = slice_of(m->canonical, m->canonical_len),
                                      .bytes = m->size_bytes};
    }
}

/* Those that the node does not list are left out: nobody asks for them. */
static size_t fill_resident(const struct known_node *n, struct sched_model *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n->residency.count; i++) {
        const struct resident_model *r = &n->residency.models[i];
        const struct catalogue_model *m =
            catalogue_find(&n->catalogue, slice_of(r->name, r->name_len));

        if (m != NULL) {
            out[count++] = (struct sched_model){.name = slice_of(m->canonical, m->canonical_len),
                                                .bytes = r->size_bytes,
                                                .context = r->context_length};
        }
    }
    return count;
}

/* Under the lock. Without memory the node gets nothing until the next news of it. */
static void tell_node(struct brain *b, uint64_t now_us, const struct known_node *n)
{
    size_t count = n->catalogue.count;
    struct sched_model *models = calloc(count + n->residency.count + 1, sizeof(*models));
    struct sched_node_state state = {.id = n->id,
                                     .up = n->up,
                                     .cordoned = n->cordoned,
                                     .speaks = n->speaks,
                                     .slots = n->slots,
                                     .loads = n->residency.users != NULL};

    if (models != NULL) {
        state.models = models;
        state.model_count = count;
        state.resident = models + count;
        fill_listed(n, models);
        state.resident_count = fill_resident(n, models + count);
    }
    (void)sched_node(b->sched, now_us, &state);
    free(models);
}

static uint32_t slots_of(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (strcmp(c->nodes[i].name, name) == 0) {
            return (uint32_t)c->nodes[i].slots;
        }
    }
    return SCHED_SLOTS_UNLIMITED;
}

/* NULL: out of memory. */
static struct known_node *know_node(struct brain *b, uint64_t id)
{
    struct known_node *n = find_node(b, id);
    struct known_node *list;

    if (n != NULL) {
        return n;
    }
    list = realloc(b->nodes, (b->node_count + 1) * sizeof(*list));
    if (list == NULL) {
        return NULL;
    }
    b->nodes = list;
    n = &list[b->node_count++];
    *n = (struct known_node){.id = id};
    return n;
}

void brain_node_changed(struct brain *b, const struct node *node)
{
    struct after after = {.here = b->loop};
    uint64_t now_us = enter(b, loop_now_us(b->loop));
    struct known_node *n = know_node(b, node->id);

    if (n != NULL) {
        n->up = node->state == NODE_UP;
        n->cordoned = node->service != NODE_SERVING;
        n->speaks = node->kind == NODE_KIND_OPENAI ? BRAIN_SPEAKS_OPENAI : BRAIN_SPEAKS_OLLAMA;
        n->slots = slots_of(b->config, node->spec->name);
        known_node_fini(n);
        catalogue_share(&n->catalogue, &node->catalogue);
        residency_share(&n->residency, &node->residency);
        tell_node(b, now_us, n);
    }
    leave(b, &after);
}

void brain_node_lost(struct brain_home *h, uint64_t node_id)
{
    struct brain *b = h->brain;
    struct after after = {.here = h->loop};
    uint64_t now_us = enter(b, loop_now_us(h->loop));
    struct known_node *n = find_node(b, node_id);

    if (n != NULL && n->up) {
        n->up = false;
        tell_node(b, now_us, n);
    }
    leave(b, &after);
}

static void forget_nodes(struct brain *b, struct nodes *nodes)
{
    struct after after = {.here = b->loop};
    uint64_t now_us = enter(b, loop_now_us(b->loop));
    size_t kept = 0;

    for (size_t i = 0; i < b->node_count; i++) {
        if (nodes_by_id(nodes, b->nodes[i].id) != NULL) {
            b->nodes[kept++] = b->nodes[i];
        } else {
            sched_node_gone(b->sched, now_us, b->nodes[i].id);
            known_node_fini(&b->nodes[i]);
        }
    }
    b->node_count = kept;
    leave(b, &after);
}

static bool has_work(const struct config *c, struct nodes *nodes)
{
    if (nodes_count(nodes) > 1 || c->queue == CONFIG_QUEUE_ALWAYS) {
        return true;
    }
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (slots_of(c, nodes_at(nodes, i)->spec->name) != SCHED_SLOTS_UNLIMITED) {
            return true;
        }
    }
    for (size_t i = 0; i < c->key_count; i++) {
        if (c->keys[i].rate_per_min != 0) {
            return true;
        }
    }
    return false;
}

void brain_nodes_changed(struct brain *b, struct nodes *nodes)
{
    forget_nodes(b, nodes);
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        brain_node_changed(b, nodes_at(nodes, i));
    }
    atomic_store(&b->schedules, has_work(b->config, nodes));
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
    struct after after = {.here = b->loop};
    uint64_t now_us = enter(b, loop_now_us(b->loop));

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
    leave(b, &after);
}

void brain_configure(struct brain *b, const struct config *config, struct nodes *nodes)
{
    struct sched_limits limits = limits_of(config);
    struct after after = {.here = b->loop};
    uint64_t now_us = enter(b, loop_now_us(b->loop));

    sched_set_limits(b->sched, now_us, &limits);
    b->grace_us = config->cancel_grace_ms * 1000;
    leave(b, &after);
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
    for (size_t i = 0; i < b->node_count; i++) {
        known_node_fini(&b->nodes[i]);
    }
    sched_free(&b->sched);
    (void)pthread_mutex_destroy(&b->lock); /* nobody holds it any more */
    free(b->homes);
    free(b->nodes);
    free(b->late);
    free(b);
}
