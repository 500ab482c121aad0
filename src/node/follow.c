/* SPDX-License-Identifier: Apache-2.0 */
/* Registries of several loops. What they say to each other lies in node_share and in the atomic
 * members of struct nodes; a post to the other's loop only says that there is something, and one
 * under way is enough. */
#include <stdlib.h>

#include "base/check.h"
#include "base/err.h"
#include "node/registry_internal.h"
#include "node/share.h"

static void leader_look(void *owner);
static void follower_look(void *owner);

/* --- either side ------------------------------------------------------------------------------ */

static bool ring(_Atomic bool *rung, struct loop *loop, loop_cb look, struct nodes *set)
{
    if (!atomic_exchange(rung, true) && loop_post(loop, look, set) != MCP_OK) {
        atomic_store(rung, false); /* no memory: with the next news */
        return false;
    }
    return true;
}

void nodes_report(struct nodes *set)
{
    set->changed_since = true;
    (void)ring(&set->leader->asked, set->leader->loop, leader_look, set->leader);
}

static void tell(struct nodes *set)
{
    (void)ring(&set->told, set->loop, follower_look, set);
}

/* --- the leader ------------------------------------------------------------------------------- */

void follower_add(struct nodes *leader, struct nodes *set)
{
    struct follower **list =
        realloc(leader->followers, (leader->follower_count + 1) * sizeof(struct follower *));
    struct follower *f = xcalloc(1, sizeof(*f));

    ASSERT(list != NULL); /* start-up */
    *f = (struct follower){.leader = leader, .set = set};
    leader->followers = list;
    leader->followers[leader->follower_count++] = f;
    set->leader = leader;
}

void followers_fini(struct nodes *leader)
{
    for (size_t i = 0; i < leader->follower_count; i++) {
        nodes_refresh_cancel(leader, &leader->followers[i]->refresh);
        free(leader->followers[i]);
    }
    free(leader->followers);
}

void nodes_watch(struct nodes *set, nodes_cb news, void *owner)
{
    set->news = news;
    set->watcher = owner;
}

static void tell_all(struct nodes *leader, struct node *n)
{
    for (size_t i = 0; i < leader->follower_count; i++) {
        tell(leader->followers[i]->set);
    }
    if (leader->news != NULL) {
        leader->news(leader->watcher, n);
    }
}

void followers_tell(struct nodes *leader)
{
    tell_all(leader, NULL);
}

void followers_publish(struct nodes *leader, struct node *n)
{
    if (node_share_publish(n->share, n)) {
        tell_all(leader, n);
    }
}

static void begin_refresh(struct follower *f);

static void on_refreshed(void *owner)
{
    struct follower *f = owner;

    atomic_store(&f->set->granted, f->refreshing);
    f->refreshing = 0;
    tell(f->set);
    begin_refresh(f);
}

static void begin_refresh(struct follower *f)
{
    uint64_t wanted = atomic_load(&f->set->wanted);

    if (f->refreshing == 0 && wanted != atomic_load(&f->set->granted)) {
        f->refreshing = wanted;
        nodes_refresh(f->leader, &f->refresh, on_refreshed, f);
    }
}

static void leader_look(void *owner)
{
    struct nodes *leader = owner;

    atomic_store(&leader->asked, false); /* first: what comes from now on rings again */
    for (size_t i = 0; i < leader->count; i++) {
        node_share_take_reports(leader->list[i]->share, leader->list[i]);
    }
    for (size_t i = 0; i < leader->follower_count; i++) {
        begin_refresh(leader->followers[i]);
    }
}

/* --- a follower ------------------------------------------------------------------------------- */

static void wake_granted(struct nodes *set, uint64_t granted)
{
    struct nodes_refresh *r;

    while ((r = refresh_list_first(&set->waiting)) != NULL && r->number <= granted) {
        refresh_list_remove(&set->waiting, r);
        task_defer(set->loop, &r->task);
    }
}

static void follower_look(void *owner)
{
    struct nodes *set = owner;
    uint64_t granted;

    atomic_store(&set->told, false);      /* first: what comes from now on rings again */
    granted = atomic_load(&set->granted); /* before the news: it was set behind them */
    (void)members_take(set);              /* without memory: with the next news */
    for (size_t i = 0; i < set->count; i++) {
        node_share_take(set->list[i]->share, set->list[i]);
    }
    wake_granted(set, granted);
}

void follower_refresh(struct nodes *set, struct nodes_refresh *r)
{
    uint64_t wanted = atomic_load(&set->wanted);

    /* A reading that is under way will do, unless it may have begun too early. */
    if (wanted == atomic_load(&set->granted) || set->changed_since) {
        set->changed_since = false;
        atomic_store(&set->wanted, ++wanted);
    }
    r->number = wanted;
    if (!ring(&set->leader->asked, set->leader->loop, leader_look, set->leader)) {
        refresh_list_remove(&set->waiting, r);
        task_defer(set->loop, &r->task); /* with what is known */
    }
}
