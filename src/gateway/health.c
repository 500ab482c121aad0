/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/health.h"

#include <string.h>

#include "base/json_scan.h"
#include "base/version.h"
#include "gateway/cluster.h"
#include "node/registry.h"

enum { ID_SHOWN = 12 }; /* of a digest, as Ollama shows it */

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

/* As people are shown it: what a node lists in full takes much room. */
static struct slice id_of(const struct catalogue_model *m)
{
    const struct slice algorithm = SLICE("sha256:");
    struct slice digest = slice_str(m->digest);

    if (slice_starts(digest, algorithm)) {
        digest = slice_skip(digest, algorithm.len);
    }
    return slice_first(digest, ID_SHOWN);
}

void health_node(const struct nodes *nodes, const struct node *n, struct buf *out)
{
    buf_append_str(out, "{\"name\":");
    json_append_string(out, slice_str(n->spec->name));
    buf_printf(out, ",\"up\":%s", n->state == NODE_UP ? "true" : "false");
    append_member(out, "state", node_state_name(n->state));
    append_member(out, "service", node_service_name(n->service));
    append_member(out, "kind", node_kind_name(n->kind));
    append_member(out, "url", n->spec->url);
    append_member(out, "version", n->version);
    if (strcmp(n->spec->source, n->spec->name) != 0) {
        append_member(out, "found_by", n->spec->source);
    }
    buf_append_str(out, ",\"models\":[");
    for (size_t i = 0; i < n->catalogue.count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        json_append_string(out,
                           slice_of(n->catalogue.models[i].name, n->catalogue.models[i].name_len));
    }
    buf_append_str(out, "],\"ids\":[");
    for (size_t i = 0; i < n->catalogue.count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        json_append_string(out, id_of(&n->catalogue.models[i]));
    }
    buf_append_str(out, "],\"resident\":[");
    for (size_t i = 0; i < n->residency.count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        json_append_string(out,
                           slice_of(n->residency.models[i].name, n->residency.models[i].name_len));
    }
    buf_printf(out, "],\"running\":%zu,\"drained\":%s", node_calls_everywhere(n),
               nodes_drained(nodes, n) ? "true" : "false");
    append_member(out, "error", n->why_down);
    buf_append_byte(out, '}');
}

void health_begin(struct nodes *nodes, struct buf *out)
{
    buf_printf(out, "{\"status\":\"%s\",\"version\":\"" MCPGATE_VERSION "\",\"nodes\":[",
               health_status(nodes));
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        health_node(nodes, nodes_at(nodes, i), out);
    }
    buf_append_str(out, "],\"drift\":");
    cluster_drift(nodes, out);
}

bool health_body(struct nodes *nodes, struct buf *out)
{
    health_begin(nodes, out);
    return buf_append_byte(out, '}');
}
