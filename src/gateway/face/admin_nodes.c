/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/json_scan.h"
#include "gateway/face/admin_internal.h"
#include "gateway/gateway.h"
#include "gateway/health.h"
#include "http/parse/url.h"

static unsigned status_of(enum fleet_result result)
{
    static const unsigned statuses[] = {[FLEET_OK] = 200,
                                        [FLEET_INVALID] = 400,
                                        [FLEET_UNKNOWN] = 404,
                                        [FLEET_CONFLICT] = 409,
                                        [FLEET_NO_MEMORY] = 500};

    return statuses[result];
}

/* {"node":{...},"kept":true}: the node as it is now, left out where it is gone; whether a restart
 * would know. */
static void on_kept(void *owner, const char *why_not)
{
    struct admin_wait *w = owner;
    struct nodes *nodes = w->gateway->nodes;
    const struct node *n = nodes_by_name(nodes, buf_slice(&w->name));
    struct buf body = {0};

    buf_append_byte(&body, '{');
    if (n != NULL) {
        buf_append_str(&body, "\"node\":");
        health_node(nodes, n, &body);
        buf_append_byte(&body, ',');
    }
    buf_printf(&body, "\"kept\":%s", why_not == NULL ? "true" : "false");
    if (why_not != NULL) {
        buf_append_str(&body, ",\"why_not\":");
        json_append_string(&body, slice_str(why_not));
    }
    buf_append_str(&body, "}\n");
    admin_wait_reply(w, 200, &body);
}

static void drop(struct admin_wait *w)
{
    fleet_forget(w->gateway->fleet, &w->fleet);
}

/* What was done, or `e` says why not. */
static void answer(struct admin_wait *w, enum fleet_result result, struct slice name,
                   const struct err *e)
{
    if (result == FLEET_OK && !buf_append(&w->name, name)) {
        result = FLEET_NO_MEMORY;
    }
    if (result != FLEET_OK) {
        admin_wait_refuse(w, status_of(result), slice_str(e->text));
        return;
    }
    w->drop = drop;
    w->fleet = (struct fleet_asker){.done = on_kept, .owner = w};
    fleet_keep(w->gateway->fleet, &w->fleet);
}

void admin_nodes_add(struct admin_wait *w)
{
    struct err e = {0};
    struct slice name = {0};
    enum fleet_result result;

    if (buf_failed(&w->body)) {
        admin_wait_refuse(w, 413, SLICE("the body is larger than 64 KiB"));
        return;
    }
    result = fleet_add(w->gateway->fleet, buf_slice(&w->body), &name, &e);
    answer(w, result, name, &e);
}

/* The name of a node, which may hold slashes, written for a path. False: answered. */
static bool read_name(struct admin_wait *w, struct slice written, struct buf *name)
{
    if (url_unescape(written, name)) {
        return true;
    }
    admin_wait_refuse(w, 500, SLICE("out of memory"));
    return false;
}

void admin_nodes_act(struct admin_wait *w)
{
    struct slice rest = buf_slice(&w->rest);
    struct slice action = rest;
    struct buf name = {0};
    struct err e = {0};
    enum fleet_result result;
    bool serves;

    while (action.len > 0 && memchr(action.ptr, '/', action.len) != NULL) {
        action = slice_skip(action, 1);
    }
    serves = slice_eq(action, SLICE("uncordon"));
    if (action.len == rest.len ||
        (!serves && !slice_eq(action, SLICE("cordon")) && !slice_eq(action, SLICE("drain")))) {
        admin_wait_refuse(w, 404, SLICE("expected /admin/nodes/NAME/cordon, /drain or /uncordon"));
        return;
    }
    if (!read_name(w, slice_first(rest, rest.len - action.len - 1), &name)) {
        return;
    }
    result = serves ? fleet_uncordon(w->gateway->fleet, buf_slice(&name), &e)
                    : fleet_cordon(w->gateway->fleet, buf_slice(&name), &e);
    answer(w, result, buf_slice(&name), &e);
    buf_fini(&name);
}

void admin_nodes_remove(struct admin_wait *w)
{
    struct buf name = {0};
    struct err e = {0};
    enum fleet_result result;

    if (!read_name(w, buf_slice(&w->rest), &name)) {
        return;
    }
    result = fleet_remove(w->gateway->fleet, buf_slice(&name), &e);
    answer(w, result, buf_slice(&name), &e);
    buf_fini(&name);
}
