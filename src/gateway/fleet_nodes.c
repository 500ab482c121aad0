/* SPDX-License-Identifier: Apache-2.0 */
/* Which nodes the registry has, and what it is told of each. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "gateway/dns_url.h"
#include "gateway/fleet_internal.h"

enum { NODES_FIRST = 8 };

/* --- what is known of a node ------------------------------------------------------------------ */

struct fleet_node *fleet_find(const struct fleet *f, struct slice name)
{
    for (size_t i = 0; i < f->count; i++) {
        if (slice_eq(slice_str(f->list[i]->name), name)) {
            return f->list[i];
        }
    }
    return NULL;
}

static void on_warmed(void *owner)
{
    struct fleet_node *known = owner;

    LOG_INFO("node_warm", "node=%s models=%zu", known->name, warm_remembered(&known->warm));
    warm_forget(&known->warm);
    fleet_save(known->fleet);
}

struct fleet_node *fleet_find_or_make(struct fleet *f, struct slice name)
{
    struct fleet_node *known = fleet_find(f, name);
    struct fleet_node **more;

    if (known != NULL) {
        return known;
    }
    known = calloc(1, sizeof(*known));
    if (known == NULL) {
        return NULL;
    }
    known->fleet = f;
    known->name = slice_dup(name);
    warm_init(&known->warm, f->nodes, f->brain, on_warmed, known);
    more = known->name == NULL ? NULL : realloc(f->list, (f->count + 1) * sizeof(*more));
    if (more == NULL) {
        fleet_node_free(known);
        return NULL;
    }
    f->list = more;
    f->list[f->count++] = known;
    return known;
}

void fleet_node_free(struct fleet_node *n)
{
    warm_fini(&n->warm);
    free(n->name);
    free(n);
}

void fleet_serve(struct fleet *f, struct fleet_node *known)
{
    struct node *n = nodes_by_name(f->nodes, slice_str(known->name));

    if (n == NULL) {
        return;
    }
    if (known->cordoned) {
        nodes_serve(f->nodes, n, NODE_CORDONED);
    } else if (n->service == NODE_CORDONED) {
        nodes_serve(f->nodes, n, warm_is_needed(&known->warm) ? NODE_WARMING : NODE_SERVING);
    } else if (n->service == NODE_SERVING && warm_remembered(&known->warm) > 0) {
        nodes_serve(f->nodes, n, NODE_WARMING); /* it was warming when the gateway ended */
    }
    warm_look(&known->warm);
}

/* --- what the registry is told ---------------------------------------------------------------- */

const struct config_node *fleet_source(const struct fleet *f, const struct config *c,
                                       struct slice name)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (slice_eq(slice_str(c->nodes[i].name), name)) {
            return &c->nodes[i];
        }
    }
    for (size_t i = 0; i < f->added_count; i++) {
        if (slice_eq(slice_str(f->added[i]->name), name)) {
            return f->added[i];
        }
    }
    return NULL;
}

/* Texts are those of the sources, and of what was found. */
struct node_list {
    struct node_options *options;
    struct http_header *headers; /* of all sources */
    size_t count;
    size_t room;
    size_t header_count;
};

/* Not a second one of that name, which DNS can know too. False: out of memory. */
static bool list_add(struct node_list *l, const struct node_options *o)
{
    size_t room = l->room == 0 ? NODES_FIRST : 2 * l->room;
    struct node_options *more;

    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->options[i].name, o->name) == 0) {
            return true;
        }
    }
    if (l->count == l->room) {
        more = realloc(l->options, room * sizeof(*more));
        if (more == NULL) {
            return false;
        }
        l->options = more;
        l->room = room;
    }
    l->options[l->count++] = *o;
    return true;
}

static bool list_found(struct node_list *l, struct discovery *d, const char *url,
                       struct node_options *o)
{
    const struct found *found = discovery_want(d, url);
    bool ok = found != NULL;

    for (size_t i = 0; ok && i < found->count; i++) {
        o->url = found->nodes[i].url;
        o->name = found->nodes[i].name;
        ok = list_add(l, o);
    }
    return ok;
}

static bool list_source(struct node_list *l, const struct fleet *f, const struct config_node *n)
{
    static const enum node_kind kinds[] = {[CONFIG_KIND_AUTO] = NODE_KIND_UNKNOWN,
                                           [CONFIG_KIND_OLLAMA] = NODE_KIND_OLLAMA,
                                           [CONFIG_KIND_OPENAI] = NODE_KIND_OPENAI};
    struct node_options o = {
        .url = n->url,
        .kind = kinds[n->kind],
        .name = n->name,
        .api_key = n->api_key,
        .headers = &l->headers[l->header_count],
        .header_count = n->header_count,
        .source = n->name,
    };

    for (size_t i = 0; i < n->header_count; i++) {
        l->headers[l->header_count++] =
            (struct http_header){slice_str(n->headers[i].name), slice_str(n->headers[i].value)};
    }
    return dns_url_is(slice_str(n->url)) ? list_found(l, f->discovery, n->url, &o)
                                         : list_add(l, &o);
}

/* Nodes that stand there by themselves come first: theirs are the names. */
static bool list_sources(struct node_list *l, const struct fleet *f, const struct config *c,
                         bool several)
{
    for (size_t i = 0; i < c->node_count; i++) {
        if (dns_url_is(slice_str(c->nodes[i].url)) == several && !list_source(l, f, &c->nodes[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < f->added_count; i++) {
        if (dns_url_is(slice_str(f->added[i]->url)) == several && !list_source(l, f, f->added[i])) {
            return false;
        }
    }
    return true;
}

static bool list_make(struct node_list *l, const struct fleet *f, const struct config *c)
{
    size_t headers = 1;

    for (size_t i = 0; i < c->node_count; i++) {
        headers += c->nodes[i].header_count;
    }
    l->headers = calloc(headers, sizeof(*l->headers));
    return l->headers != NULL && list_sources(l, f, c, false) && list_sources(l, f, c, true);
}

static void list_fini(struct node_list *l)
{
    free(l->options);
    free(l->headers);
}

static struct node_limits node_limits(const struct config *c)
{
    return (struct node_limits){
        .connect_timeout_ms = c->connect_timeout_ms,
        .first_byte_timeout_ms = c->first_byte_timeout_ms,
        .idle_timeout_ms = c->idle_timeout_ms,
        .pool_idle = (size_t)c->pool_idle,
        .pool_idle_ms = c->pool_idle_ms,
    };
}

static bool know_all(struct fleet *f, const struct node_list *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (fleet_find_or_make(f, slice_str(l->options[i].name)) == NULL) {
            return false;
        }
    }
    return true;
}

/* Nothing was said of a node that is not there: it is forgotten. */
static void drop_absent(struct fleet *f)
{
    size_t kept = 0;

    for (size_t i = 0; i < f->count; i++) {
        struct fleet_node *known = f->list[i];

        if (known->present || known->cordoned || warm_remembered(&known->warm) > 0) {
            f->list[kept++] = known;
        } else {
            fleet_node_free(known);
        }
    }
    f->count = kept;
}

static void bind_all(struct fleet *f, const struct config *c)
{
    for (size_t i = 0; i < f->count; i++) {
        struct fleet_node *known = f->list[i];
        const struct node *n = nodes_by_name(f->nodes, slice_str(known->name));
        const struct config_node *source =
            fleet_source(f, c, slice_str(n == NULL ? known->name : n->spec->source));

        known->present = n != NULL;
        warm_use(&known->warm, n == NULL ? 0 : n->id);
        warm_patience(&known->warm, c->max_load_wait_ms);
        if (!warm_declare(&known->warm, source == NULL ? NULL : source->resident,
                          source == NULL ? 0 : source->resident_count)) {
            LOG_WARN("node_load_failed", "node=%s why=\"out of memory\"", known->name);
        }
        fleet_serve(f, known);
    }
    drop_absent(f);
}

int fleet_apply(struct fleet *f, const struct config *c, struct err *e)
{
    const struct node_limits limits = node_limits(c);
    struct node_list list = {0};
    int rv = list_make(&list, f, c) && know_all(f, &list)
                 ? nodes_configure(f->nodes, list.options, list.count, &limits, e)
                 : err_set(e, MCP_ENOMEM, "out of memory");

    list_fini(&list);
    discovery_settle(f->discovery, rv == MCP_OK);
    nodes_expect(f->nodes, discovery_pending(f->discovery));
    if (rv == MCP_OK) {
        bind_all(f, c);
    } else {
        drop_absent(f);
    }
    return rv;
}

/* --- shown ------------------------------------------------------------------------------------ */

static void show_name(const struct fleet *f, const struct config_node *n, const char **comma,
                      struct buf *out)
{
    const struct found *found = discovery_find(f->discovery, n->url);

    if (found == NULL) {
        return; /* no name */
    }
    buf_printf(out, "%s{\"name\":", *comma);
    *comma = ",";
    json_append_string(out, slice_str(n->name));
    buf_append_str(out, ",\"url\":");
    json_append_string(out, slice_str(n->url));
    buf_printf(out, ",\"nodes\":%zu,\"error\":", found->count);
    json_append_string(out, slice_str(found->why));
    buf_append_byte(out, '}');
}

void fleet_names(const struct fleet *f, struct buf *out)
{
    const char *comma = "";

    buf_append_byte(out, '[');
    for (size_t i = 0; i < f->config->node_count; i++) {
        show_name(f, &f->config->nodes[i], &comma, out);
    }
    for (size_t i = 0; i < f->added_count; i++) {
        show_name(f, f->added[i], &comma, out);
    }
    buf_append_byte(out, ']');
}
