/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/discovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/log.h"
#include "gateway/dns_url.h"
#include "obs/logfmt.h"

enum { AGAIN_FIRST_MS = 1000, LEAST_MS = 5000 };

struct sought {
    struct list_link link;
    struct found found;
    uint64_t due_ms;
    uint64_t delay_ms; /* to the next try, while it fails */
    bool wanted;
    bool is_new; /* not settled yet */
};

LIST_DECLARE(sought_list, struct sought, link);

/* What a helper thread works with. It outlives the discovery when that is freed meanwhile. */
struct look {
    struct discovery *discovery; /* NULL: nobody waits any more */
    discovery_ask_fn ask;
    bool again; /* it was asked with what is out of date now */
    char *url;
    char name[DNS_NAME_MAX];
    struct dns_question question;
    struct addr server;
    struct dns_found found;
    int rv;
    struct err err;
};

struct discovery {
    struct loop *loop;
    discovery_ask_fn ask;
    discovery_cb looked;
    void *owner;
    struct sought_list all;
    struct timer tick;
    struct look *running;
    uint64_t interval_ms;
    bool has_server;
    struct addr server;
};

/* --- names ------------------------------------------------------------------------------------ */

static void nodes_drop(struct found_node *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(nodes[i].name);
        free(nodes[i].url);
    }
    free(nodes);
}

static void sought_free(struct sought *s)
{
    nodes_drop(s->found.nodes, s->found.count);
    free(s->found.url);
    free(s);
}

static struct sought *find(const struct discovery *d, const char *url)
{
    struct sought *s = sought_list_first(&d->all);

    while (s != NULL && strcmp(s->found.url, url) != 0) {
        s = sought_list_next(&d->all, s);
    }
    return s;
}

const struct found *discovery_find(const struct discovery *d, const char *url)
{
    const struct sought *s = find(d, url);

    return s == NULL ? NULL : &s->found;
}

bool discovery_pending(const struct discovery *d)
{
    const struct sought *s = sought_list_first(&d->all);

    while (s != NULL && s->found.was_asked) {
        s = sought_list_next(&d->all, s);
    }
    return s != NULL;
}

/* When the next one is to be asked for. */
static void arm(struct discovery *d)
{
    const struct sought *s = sought_list_first(&d->all);
    uint64_t now_ms = loop_now_ms(d->loop);
    uint64_t due_ms = UINT64_MAX;

    for (; s != NULL; s = sought_list_next(&d->all, s)) {
        due_ms = s->due_ms < due_ms ? s->due_ms : due_ms;
    }
    if (due_ms == UINT64_MAX || d->running != NULL) {
        timer_cancel(d->loop, &d->tick);
    } else {
        timer_arm(d->loop, &d->tick, due_ms > now_ms ? due_ms - now_ms : 0);
    }
}

const struct found *discovery_want(struct discovery *d, const char *url)
{
    struct sought *s = find(d, url);

    if (s == NULL) {
        s = calloc(1, sizeof(*s));
        if (s == NULL) {
            return NULL;
        }
        s->found.url = strdup(url);
        if (s->found.url == NULL) {
            free(s);
            return NULL;
        }
        s->is_new = true;
        s->delay_ms = AGAIN_FIRST_MS;
        sought_list_push(&d->all, s);
    }
    s->wanted = true;
    return &s->found;
}

void discovery_settle(struct discovery *d, bool go)
{
    for (size_t i = d->all.count; i > 0; i--) {
        struct sought *s = sought_list_pop(&d->all);

        if (go ? s->wanted : !s->is_new) {
            s->wanted = false;
            s->is_new = false;
            sought_list_push(&d->all, s);
        } else {
            sought_free(s);
        }
    }
    arm(d);
}

void discovery_configure(struct discovery *d, uint64_t interval_ms, const char *server)
{
    struct sought *s = sought_list_first(&d->all);

    d->interval_ms = interval_ms;
    d->has_server = server != NULL && addr_parse(&d->server, slice_str(server), NULL) == MCP_OK;
    for (; s != NULL; s = sought_list_next(&d->all, s)) {
        s->due_ms = 0;
    }
    if (d->running != NULL) {
        d->running->again = true;
    }
    arm(d);
}

/* --- what was found --------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    const struct found_node *a = left;
    const struct found_node *b = right;

    return strcmp(a->name, b->name);
}

static bool fill(struct found_node *n, const struct addr *at, const struct dns_url *u)
{
    char text[ADDR_TEXT_MAX];

    addr_format(at, text);
    n->name = strdup(text);
    if (asprintf(&n->url, "http://%s%.*s", text, SLICE_ARG(u->path)) < 0) {
        n->url = NULL;
    }
    return n->name != NULL && n->url != NULL;
}

/* NULL: out of memory. */
static struct found_node *nodes_of(const struct dns_found *f, const struct dns_url *u,
                                   size_t *count)
{
    struct found_node *nodes = calloc(f->count + 1, sizeof(*nodes));
    size_t kept = 0;

    for (size_t i = 0; nodes != NULL && i < f->count; i++) {
        if (!fill(&nodes[i], &f->at[i], u)) {
            nodes_drop(nodes, i + 1);
            return NULL;
        }
    }
    if (nodes == NULL) {
        return NULL;
    }
    qsort(nodes, f->count, sizeof(*nodes), compare);
    for (size_t i = 0; i < f->count; i++) {
        if (kept > 0 && strcmp(nodes[kept - 1].name, nodes[i].name) == 0) {
            free(nodes[i].name);
            free(nodes[i].url);
        } else {
            nodes[kept++] = nodes[i];
        }
    }
    *count = kept;
    return nodes;
}

/* How many of `a` are not in `b`; both are sorted. */
static size_t count_new(const struct found_node *a, size_t a_count, const struct found_node *b,
                        size_t b_count)
{
    size_t count = 0;
    size_t k = 0;

    for (size_t i = 0; i < a_count; i++) {
        while (k < b_count && strcmp(b[k].name, a[i].name) < 0) {
            k++;
        }
        count += k == b_count || strcmp(b[k].name, a[i].name) != 0;
    }
    return count;
}

/* False: they could not be used. */
static bool use_nodes(struct discovery *d, struct sought *s, struct found_node *nodes, size_t count)
{
    struct found old = s->found;
    size_t added = count_new(nodes, count, old.nodes, old.count);
    size_t gone = count_new(old.nodes, old.count, nodes, count);
    bool is_other = added + gone > 0;

    s->found.nodes = nodes;
    s->found.count = count;
    s->found.was_asked = true;
    s->found.why[0] = '\0';
    if (!d->looked(d->owner, is_other)) {
        s->found = old;
        nodes_drop(nodes, count);
        return false;
    }
    nodes_drop(old.nodes, old.count);
    counter_add(COUNTER_DISCOVERY_FOUND, (int64_t)added);
    counter_add(COUNTER_DISCOVERY_GONE, (int64_t)gone);
    if (is_other || old.why[0] != '\0') {
        LOG_INFO("nodes_found", "name=%s nodes=%zu new=%zu gone=%zu", s->found.url, count, added,
                 gone);
    }
    return true;
}

static void look_failed(struct discovery *d, struct sought *s, const char *why)
{
    bool is_news = strcmp(s->found.why, why) != 0;
    struct buf pair = {0};

    counter_add(COUNTER_DISCOVERY_FAILED, 1);
    (void)snprintf(s->found.why, sizeof(s->found.why), "%s", why);
    s->found.was_asked = true;
    s->delay_ms = s->delay_ms > d->interval_ms ? d->interval_ms : s->delay_ms;
    s->due_ms = loop_now_ms(d->loop) + s->delay_ms;
    s->delay_ms *= 2;
    if (is_news) {
        (void)(logfmt_pair(&pair, "why", slice_str(why)) && buf_append_byte(&pair, '\0'));
        LOG_WARN("nodes_lookup_failed", "name=%s nodes=%zu%s", s->found.url, s->found.count,
                 buf_failed(&pair) ? "" : buf_slice(&pair).ptr);
        buf_fini(&pair);
    }
    (void)d->looked(d->owner, false);
}

/* Answers that are soon out of date are asked for again sooner. */
static uint64_t rest_ms(const struct discovery *d, uint32_t ttl_s)
{
    uint64_t ttl_ms = (uint64_t)ttl_s * 1000;

    ttl_ms = ttl_ms < LEAST_MS ? LEAST_MS : ttl_ms;
    return ttl_ms < d->interval_ms ? ttl_ms : d->interval_ms;
}

static void look_worked(struct discovery *d, struct sought *s, const struct dns_found *f)
{
    struct dns_url u;
    struct found_node *nodes = NULL;
    size_t count = 0;

    if (dns_url_parse(&u, slice_str(s->found.url), &(struct err){0}) == MCP_OK) {
        nodes = nodes_of(f, &u, &count);
    }
    if (nodes == NULL || !use_nodes(d, s, nodes, count)) {
        look_failed(d, s, "out of memory");
        return;
    }
    counter_add(COUNTER_DISCOVERY_LOOKUPS, 1);
    s->delay_ms = AGAIN_FIRST_MS;
    s->due_ms = loop_now_ms(d->loop) + rest_ms(d, f->ttl_s);
}

/* --- one look-up ------------------------------------------------------------------------------ */

static void look_work(void *owner)
{
    struct look *l = owner;

    l->rv = l->ask(&l->question, &l->found, &l->err);
}

static void look_free(void *owner)
{
    struct look *l = owner;

    dns_found_fini(&l->found);
    free(l->url);
    free(l);
}

static void look_done(void *owner)
{
    struct look *l = owner;
    struct discovery *d = l->discovery;
    struct sought *s = d == NULL ? NULL : find(d, l->url);

    if (d != NULL) {
        d->running = NULL;
    }
    if (s != NULL && l->rv == MCP_OK) {
        look_worked(d, s, &l->found);
    } else if (s != NULL) {
        look_failed(d, s, l->err.text);
    }
    if (s != NULL && l->again) {
        s->due_ms = 0;
    }
    if (d != NULL) {
        arm(d);
    }
    look_free(l);
}

/* NULL: out of memory. */
static struct look *look_new(struct discovery *d, const struct sought *s)
{
    struct look *l = calloc(1, sizeof(*l));
    struct dns_url u;

    if (l == NULL) {
        return NULL;
    }
    l->url = strdup(s->found.url);
    if (l->url == NULL || dns_url_parse(&u, slice_str(l->url), &l->err) != MCP_OK) {
        look_free(l);
        return NULL;
    }
    slice_copy(u.name, l->name, sizeof(l->name));
    l->discovery = d;
    l->ask = d->ask;
    l->server = d->server;
    l->question = (struct dns_question){.name = l->name,
                                        .is_service = u.is_service,
                                        .port = u.port,
                                        .server = d->has_server ? &l->server : NULL};
    return l;
}

static void begin(struct discovery *d, struct sought *s)
{
    struct look *l = look_new(d, s);

    if (l == NULL || loop_offload(d->loop, look_work, look_done, look_free, l) != MCP_OK) {
        if (l != NULL) {
            look_free(l);
        }
        look_failed(d, s, "no memory or no thread to look it up");
        return;
    }
    d->running = l;
}

static void on_tick(void *owner)
{
    struct discovery *d = owner;
    struct sought *s = sought_list_first(&d->all);

    while (s != NULL && s->due_ms > loop_now_ms(d->loop)) {
        s = sought_list_next(&d->all, s);
    }
    if (s != NULL) {
        sought_list_remove(&d->all, s);
        sought_list_push(&d->all, s); /* others that are due come first next time */
        begin(d, s);
    }
    arm(d);
}

/* --- the whole -------------------------------------------------------------------------------- */

struct discovery *discovery_new(struct loop *loop, discovery_ask_fn ask, discovery_cb looked,
                                void *owner)
{
    struct discovery *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->ask = ask;
    d->looked = looked;
    d->owner = owner;
    d->interval_ms = LEAST_MS;
    timer_init(&d->tick, on_tick, d);
    return d;
}

void discovery_free(struct discovery **pd)
{
    struct discovery *d = *pd;
    struct sought *s;

    if (d == NULL) {
        return;
    }
    *pd = NULL;
    timer_cancel(d->loop, &d->tick);
    if (d->running != NULL) {
        d->running->discovery = NULL;
    }
    while ((s = sought_list_pop(&d->all)) != NULL) {
        sought_free(s);
    }
    free(d);
}
