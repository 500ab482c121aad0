/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/cluster.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "codec/rfc3339.h"
#include "mcp/error.h"
#include "node/openai_json.h"

/* Whether a node before the `count`-th that is up lists that model too. */
typedef bool (*is_known_fn)(struct nodes *nodes, size_t count, struct slice name);

struct merge {
    struct nodes *nodes;
    struct buf *out;
    is_known_fn is_known;
    bool any; /* an entry was written */
};

static bool is_listed(struct nodes *nodes, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        const struct node *n = nodes_at(nodes, i);

        if (n->state == NODE_UP && catalogue_find(&n->catalogue, name) != NULL) {
            return true;
        }
    }
    return false;
}

/* Nodes of kind openai have in memory what they list. */
static bool is_resident(struct nodes *nodes, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        const struct node *n = nodes_at(nodes, i);

        if (n->state == NODE_UP &&
            (n->kind == NODE_KIND_OPENAI ? catalogue_find(&n->catalogue, name) != NULL
                                         : residency_find(&n->residency, name) != NULL)) {
            return true;
        }
    }
    return false;
}

/* The text of a member; empty where it is none. */
static struct slice member(struct slice object, const char *key, struct buf *text)
{
    struct json_member m;

    buf_clear(text);
    if (json_find(object, slice_str(key), &m) != JSON_OK || m.kind != JSON_STRING ||
        !json_unescape(m.value, text)) {
        return SLICE("");
    }
    return buf_slice(text);
}

/* One entry in the client's format; what came is its own unless `write` makes another. */
typedef void (*write_entry_fn)(struct buf *out, struct slice entry, struct slice name);

static void write_as_it_is(struct buf *out, struct slice entry, struct slice name)
{
    (void)name;
    buf_append(out, entry); /* a failure is sticky */
}

/* The entries of the list `key` of the node `at` that no node before it has. */
static void merge_list(struct merge *m, size_t at, struct slice body, const char *key,
                       const char *name_key, write_entry_fn write)
{
    struct json_member list;
    struct json_member entry;
    struct json_walk w;
    struct buf name = {0};

    if (json_find(body, slice_str(key), &list) != JSON_OK ||
        json_walk_begin(&w, list.value, JSON_ARRAY) != JSON_OK) {
        return; /* null, say */
    }
    while (json_walk_next(&w, &entry) == JSON_OK) {
        struct slice text =
            entry.kind == JSON_OBJECT ? member(entry.value, name_key, &name) : SLICE("");

        if (text.len > 0 && !m->is_known(m->nodes, at, text)) {
            buf_append_str(m->out, m->any ? "," : "");
            write(m->out, entry.value, text);
            m->any = true;
        }
    }
    m->out->failed = m->out->failed || buf_failed(&name);
    buf_fini(&name);
}

/* The only node that is up; NULL where there are others, or none. */
static const struct node *only_one(struct nodes *nodes)
{
    const struct node *found = NULL;

    for (size_t i = 0; i < nodes_count(nodes); i++) {
        if (nodes_at(nodes, i)->state == NODE_UP && found != NULL) {
            return NULL;
        }
        found = nodes_at(nodes, i)->state == NODE_UP ? nodes_at(nodes, i) : found;
    }
    return found;
}

typedef int (*translate_fn)(struct slice models, struct openai_clock at, struct buf *out);

/* `own`: the answer of a node of kind ollama; of the others it is made from their list. */
static int merge_native(struct merge *m, const struct buf *(*own)(const struct node *n),
                        translate_fn translate, struct openai_clock at)
{
    const struct node *only = only_one(m->nodes);

    if (only != NULL && only->kind == NODE_KIND_OLLAMA && buf_len(own(only)) > 0) {
        buf_append(m->out, buf_slice(own(only)));
        return openai_written(m->out);
    }
    buf_append_str(m->out, "{\"models\":[");
    for (size_t i = 0; i < nodes_count(m->nodes); i++) {
        const struct node *n = nodes_at(m->nodes, i);
        struct buf made = {0};

        if (n->state != NODE_UP) {
            continue;
        }
        if (n->kind == NODE_KIND_OLLAMA) {
            merge_list(m, i, buf_slice(own(n)), "models", "name", write_as_it_is);
        } else if (translate(buf_slice(&n->catalogue.body), at, &made) == MCP_ENOMEM) {
            m->out->failed = true;
        } else {
            merge_list(m, i, buf_slice(&made), "models", "name", write_as_it_is);
        }
        buf_fini(&made);
    }
    buf_append_str(m->out, "]}");
    return openai_written(m->out);
}

static const struct buf *tags_of(const struct node *n)
{
    return &n->catalogue.body;
}

static const struct buf *ps_of(const struct node *n)
{
    return &n->residency.body;
}

int cluster_tags(struct nodes *nodes, struct openai_clock at, struct buf *out)
{
    struct merge m = {.nodes = nodes, .out = out, .is_known = is_listed};

    return merge_native(&m, tags_of, openai_tags, at);
}

int cluster_ps(struct nodes *nodes, struct openai_clock at, struct buf *out)
{
    struct merge m = {.nodes = nodes, .out = out, .is_known = is_resident};

    return merge_native(&m, ps_of, openai_ps, at);
}

/* --- /v1/models ------------------------------------------------------------------------------- */

/* "a/b:c" belongs to a, "b:c" to the library, as Ollama says in its /v1/models. */
static struct slice owner_of(struct slice name)
{
    const char *slash = memrchr(name.ptr, '/', name.len);
    struct slice above =
        slash == NULL ? SLICE("library") : slice_first(name, (size_t)(slash - name.ptr));

    slash = memrchr(above.ptr, '/', above.len);
    return slash == NULL ? above : slice_skip(above, (size_t)(slash - above.ptr) + 1);
}

static void write_model(struct buf *out, struct slice entry, struct slice name)
{
    struct buf modified = {0};
    int64_t us = 0;

    if (!rfc3339_read(member(entry, "modified_at", &modified), &us)) {
        us = 0;
    }
    buf_append_str(out, "{\"id\":");
    json_append_string(out, name);
    buf_printf(out, ",\"object\":\"model\",\"created\":%" PRId64 ",\"owned_by\":", us / 1000000);
    json_append_string(out, owner_of(name));
    buf_append_byte(out, '}');
    out->failed = out->failed || buf_failed(&modified);
    buf_fini(&modified);
}

int cluster_models(struct nodes *nodes, struct buf *out)
{
    struct merge m = {.nodes = nodes, .out = out, .is_known = is_listed};

    buf_append_str(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        const struct node *n = nodes_at(nodes, i);
        struct slice body = buf_slice(&n->catalogue.body);

        if (n->state == NODE_UP && n->kind == NODE_KIND_OLLAMA) {
            merge_list(&m, i, body, "models", "name", write_model);
        } else if (n->state == NODE_UP) {
            merge_list(&m, i, body, "data", "id", write_as_it_is);
        }
    }
    buf_append_str(out, "]}");
    return openai_written(out);
}

/* --- digests ---------------------------------------------------------------------------------- */

static const char *digest_at(struct nodes *nodes, size_t i, struct slice name)
{
    const struct node *n = nodes_at(nodes, i);
    const struct catalogue_model *m =
        n->state == NODE_UP ? catalogue_find(&n->catalogue, name) : NULL;

    return m == NULL || m->digest[0] == '\0' ? NULL : m->digest;
}

/* Whether a later node has the model of the node `at` with another digest, and no earlier one lists
 * it, which would have said so. */
static bool begins_drift(struct nodes *nodes, size_t at, struct slice name, const char *digest)
{
    for (size_t i = 0; i < at; i++) {
        if (digest_at(nodes, i, name) != NULL) {
            return false;
        }
    }
    for (size_t i = at + 1; i < nodes_count(nodes); i++) {
        const char *other = digest_at(nodes, i, name);

        if (other != NULL && strcmp(other, digest) != 0) {
            return true;
        }
    }
    return false;
}

static void append_drift(struct nodes *nodes, struct slice name, struct buf *out)
{
    const char *comma = "";

    buf_append_str(out, "{\"model\":");
    json_append_string(out, name);
    buf_append_str(out, ",\"digests\":[");
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        const char *digest = digest_at(nodes, i, name);

        if (digest != NULL) {
            buf_printf(out, "%s{\"node\":", comma);
            json_append_string(out, slice_str(nodes_at(nodes, i)->spec->name));
            buf_append_str(out, ",\"digest\":");
            json_append_string(out, slice_str(digest));
            buf_append_byte(out, '}');
            comma = ",";
        }
    }
    buf_append_str(out, "]}");
}

void cluster_drift(struct nodes *nodes, struct buf *out)
{
    const char *comma = "";

    buf_append_byte(out, '[');
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        const struct node *n = nodes_at(nodes, i);

        for (size_t k = 0; n->state == NODE_UP && k < n->catalogue.count; k++) {
            const struct catalogue_model *m = &n->catalogue.models[k];
            struct slice name = slice_of(m->name, m->name_len);

            if (m->digest[0] != '\0' && begins_drift(nodes, i, name, m->digest)) {
                buf_append_str(out, comma);
                append_drift(nodes, name, out);
                comma = ",";
            }
        }
    }
    buf_append_byte(out, ']');
}

static int compare_copies(const void *left, const void *right)
{
    const struct catalogue_model *a = *(const struct catalogue_model *const *)left;
    const struct catalogue_model *b = *(const struct catalogue_model *const *)right;
    size_t len = a->canonical_len < b->canonical_len ? a->canonical_len : b->canonical_len;
    int order = memcmp(a->canonical, b->canonical, len);

    return order != 0
               ? order
               : (a->canonical_len > b->canonical_len) - (a->canonical_len < b->canonical_len);
}

/* All models that have a digest, of nodes that are up: each one's copies side by side. NULL: out of
 * memory. */
static const struct catalogue_model **sorted_copies(struct nodes *nodes, size_t *count)
{
    const struct catalogue_model **copies;
    size_t room = 1;

    *count = 0;
    for (size_t i = 0; i < nodes_count(nodes); i++) {
        room += nodes_at(nodes, i)->catalogue.count;
    }
    copies = calloc(room, sizeof(*copies));
    for (size_t i = 0; copies != NULL && i < nodes_count(nodes); i++) {
        const struct node *n = nodes_at(nodes, i);

        for (size_t k = 0; n->state == NODE_UP && k < n->catalogue.count; k++) {
            if (n->catalogue.models[k].digest[0] != '\0') {
                copies[(*count)++] = &n->catalogue.models[k];
            }
        }
    }
    if (copies != NULL) {
        qsort(copies, *count, sizeof(*copies), compare_copies);
    }
    return copies;
}

bool cluster_drift_count(struct nodes *nodes, size_t *count)
{
    size_t copy_count;
    const struct catalogue_model **copies = sorted_copies(nodes, &copy_count);
    bool is_counted = false;

    *count = 0;
    for (size_t i = 1; copies != NULL && i < copy_count; i++) {
        bool same = compare_copies(&copies[i - 1], &copies[i]) == 0;

        is_counted = is_counted && same;
        if (same && !is_counted && strcmp(copies[i - 1]->digest, copies[i]->digest) != 0) {
            is_counted = true;
            ++*count;
        }
    }
    free(copies);
    return copies != NULL;
}
