/* SPDX-License-Identifier: Apache-2.0 */
#include "node/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "node/node.h"

struct node_share *node_share_new(uint64_t id, const struct node_options *o, struct err *e)
{
    struct node_share *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        (void)err_set(e, MCP_ENOMEM, "out of memory");
        return NULL;
    }
    if (node_spec_init(&s->spec, o, e) != MCP_OK) {
        free(s);
        return NULL;
    }
    s->id = id;
    s->users = 1;
    (void)pthread_mutex_init(&s->lock, NULL); /* cannot fail for a default mutex */
    return s;
}

struct node_share *node_share_ref(struct node_share *s)
{
    (void)atomic_fetch_add_explicit(&s->users, 1, memory_order_relaxed);
    return s;
}

void node_share_unref(struct node_share **share)
{
    struct node_share *s = *share;

    *share = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->users, 1, memory_order_acq_rel) > 1) {
        return;
    }
    node_spec_fini(&s->spec);
    catalogue_fini(&s->catalogue);
    residency_fini(&s->residency);
    (void)pthread_mutex_destroy(&s->lock); /* nobody holds it any more */
    free(s);
}

static bool is_published(const struct node_share *s, const struct node *n)
{
    return s->version > 0 && s->kind == n->kind && s->state == n->state &&
           s->service == n->service && s->has_addr == n->has_addr &&
           (!s->has_addr || addr_same(&s->addr, &n->addr)) &&
           strcmp(s->version_text, n->version) == 0 && strcmp(s->why_down, n->why_down) == 0 &&
           s->catalogue.users == n->catalogue.users && s->residency.users == n->residency.users;
}

bool node_share_publish(struct node_share *s, const struct node *n)
{
    struct catalogue old = {0};
    struct residency old_residency = {0};
    bool news;

    (void)pthread_mutex_lock(&s->lock);
    news = !is_published(s, n);
    if (news) {
        s->version++;
        s->kind = n->kind;
        s->state = n->state;
        if (s->service == NODE_SERVING && n->service != NODE_SERVING) {
            s->cordons++;
            s->knowing = 0;
        }
        s->service = n->service;
        s->has_addr = n->has_addr;
        s->addr = n->addr;
        memcpy(s->version_text, n->version, sizeof(s->version_text));
        memcpy(s->why_down, n->why_down, sizeof(s->why_down));
        old = s->catalogue;
        catalogue_share(&s->catalogue, &n->catalogue);
        old_residency = s->residency;
        residency_share(&s->residency, &n->residency);
    }
    (void)pthread_mutex_unlock(&s->lock);
    catalogue_fini(&old);
    residency_fini(&old_residency);
    return news;
}

void node_share_take(struct node_share *s, struct node *n)
{
    struct catalogue old = {0};
    struct residency old_residency = {0};

    (void)pthread_mutex_lock(&s->lock);
    if (s->version != n->seen_version) {
        n->seen_version = s->version;
        n->kind = s->kind;
        n->state = s->state;
        n->service = s->service;
        if (n->seen_cordons != s->cordons) {
            n->seen_cordons = s->cordons;
            s->knowing++;
        }
        n->has_addr = s->has_addr;
        n->addr = s->addr;
        memcpy(n->version, s->version_text, sizeof(n->version));
        memcpy(n->why_down, s->why_down, sizeof(n->why_down));
        old = n->catalogue;
        catalogue_share(&n->catalogue, &s->catalogue);
        old_residency = n->residency;
        residency_share(&n->residency, &s->residency);
    }
    (void)pthread_mutex_unlock(&s->lock);
    catalogue_fini(&old);
    residency_fini(&old_residency);
}

bool node_share_is_drained(struct node_share *s, size_t followers)
{
    bool all_know;

    (void)pthread_mutex_lock(&s->lock);
    all_know = s->service != NODE_SERVING && s->knowing >= followers;
    (void)pthread_mutex_unlock(&s->lock);
    return all_know && atomic_load(&s->calls) == 0;
}

void node_share_report_down(struct node_share *s, const char *why)
{
    (void)pthread_mutex_lock(&s->lock);
    s->reported_down = true;
    (void)snprintf(s->reported_why, sizeof(s->reported_why), "%s", why);
    (void)pthread_mutex_unlock(&s->lock);
}

void node_share_report_changed(struct node_share *s, bool for_good)
{
    (void)pthread_mutex_lock(&s->lock);
    s->reported_changed = true;
    s->reported_for_good = s->reported_for_good || for_good;
    atomic_store(&s->changed, true);
    (void)pthread_mutex_unlock(&s->lock);
}

void node_share_settle(struct node_share *s, const struct node *n)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!s->reported_changed && !n->catalogue_changed) {
        atomic_store(&s->changed, false);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void node_share_take_reports(struct node_share *s, struct node *n)
{
    char why[NODE_WHY_MAX];
    bool down;
    bool changed;
    bool for_good;

    (void)pthread_mutex_lock(&s->lock);
    down = s->reported_down;
    changed = s->reported_changed;
    for_good = s->reported_for_good;
    memcpy(why, s->reported_why, sizeof(why));
    s->reported_down = false;
    s->reported_changed = s->reported_for_good = false;
    (void)pthread_mutex_unlock(&s->lock);
    if (changed && !for_good) {
        node_mark_changed(n);
    } else if (changed) {
        node_read_soon(n);
    }
    if (down) {
        node_mark_down(n, why);
    }
}
