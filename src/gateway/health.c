/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/health.h"

#include "base/json_scan.h"
#include "base/version.h"
#include "node/registry.h"

const char *health_status(struct nodes *nodes)
{
    size_t up = nodes_up(nodes);

    if (up == 0) {
        return "down";
    }
    return up == nodes_count(nodes) ? "ok" : "degraded";
}

static void append_member(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, ",\"%s\":", key);
    json_append_string(out, slice_str(value));
}

static void append_node(struct buf *out, const struct node *n)
{
    buf_append_str(out, "{\"name\":");
    json_append_string(out, slice_str(n->spec->name));
    buf_printf(out, ",\"up\":%s", n->state == NODE_UP ? "true" : "false");
    append_member(out, "state", node_state_name(n->state));
    append_member(out, "kind", node_kind_name(n->kind));
    append_member(out, "url", n->spec->url);
    append_member(out, "version", n->version);
    buf_append_str(out, ",\"models\":[");
    for (size_t i = 0; i < n->catalogue.count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        json_append_string(out,
                           slice_of(n->catalogue.models[i].name, n->catalogue.models[i].name_len));
    }
    buf_printf(out, "],\"running\":%zu", node_calls_everywhere(n));
    append_member(out, "error", n->why_down);
    buf_append_byte(out, '}');
}

bool health_body(struct nodes *nodes, struct buf *out)
{
    buf_printf(out, "{\"status\":\"%s\",\"version\":\"" MCPGATE_VERSION "\",\"nodes\":[",
               health_status(nodes));
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        append_node(out, nodes_at(nodes, i));
    }
    return buf_append_str(out, "]}");
}
