/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of the fleet, as JSON:
 * {"nodes":[{"name","cordoned","models":[{"model","context"}]}],
 * "added":[{"url","name","kind","api_key","resident"}]}. An added node is also what POST
 * /admin/nodes takes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/json_scan.h"
#include "gateway/config_item.h"
#include "gateway/fleet_internal.h"
#include "node/openai_json.h"

/* --- a node from JSON ------------------------------------------------------------------------- */

static const struct {
    const char *member;
    enum config_item_id item;
} members[] = {
    {"url", CONFIG_ITEM_NODE_URL},
    {"name", CONFIG_ITEM_NODE_NAME},
    {"kind", CONFIG_ITEM_NODE_KIND},
    {"api_key", CONFIG_ITEM_NODE_API_KEY},
};

/* A text of the JSON can hold what one of YAML cannot. */
static const char *text_of(yyjson_val *value)
{
    const char *text = yyjson_get_str(value);

    return text != NULL && strlen(text) == yyjson_get_len(value) ? text : NULL;
}

static int set_resident(struct config_node *n, yyjson_val *list, struct err *e)
{
    yyjson_val *item;
    size_t i;
    size_t max;

    if (!yyjson_is_arr(list)) {
        return err_set(e, MCP_EARGUMENT, "resident: expected a list of models");
    }
    n->resident = calloc(yyjson_arr_size(list) + 1, sizeof(char *));
    if (n->resident == NULL) {
        return err_set(e, MCP_ENOMEM, "out of memory");
    }
    yyjson_arr_foreach(list, i, max, item)
    {
        if (text_of(item) == NULL || text_of(item)[0] == '\0') {
            return err_set(e, MCP_EARGUMENT, "resident: expected a list of models");
        }
        n->resident[n->resident_count] = strdup(text_of(item));
        if (n->resident[n->resident_count++] == NULL) {
            return err_set(e, MCP_ENOMEM, "out of memory");
        }
    }
    return MCP_OK;
}

static int set_member(struct config_node *n, const char *name, yyjson_val *value, struct err *e)
{
    struct err why = {0};
    bool exposed;
    int rv;

    if (strcmp(name, "resident") == 0) {
        return set_resident(n, value, e);
    }
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const struct config_item *item = &config_items[members[i].item];

        if (strcmp(name, members[i].member) != 0) {
            continue;
        }
        if (text_of(value) == NULL) {
            return err_set(e, MCP_EARGUMENT, "%s: expected a text", name);
        }
        rv = config_item_set(item, n, text_of(value), NULL, &exposed, &why);
        return rv == MCP_OK ? rv : err_set(e, rv, "%s: %s", name, why.text);
    }
    return err_set(e, MCP_EARGUMENT,
                   "'%.40s': unknown; expected url, name, kind, api_key or resident", name);
}

static int set_name(struct config_node *n, struct err *e)
{
    if (n->url == NULL) {
        return err_set(e, MCP_EARGUMENT, "expected a JSON object with the member url");
    }
    return config_node_set_name(n, e);
}

struct config_node *fleet_node_read(yyjson_val *object, struct err *e)
{
    struct config_node *n = calloc(1, sizeof(*n));
    yyjson_val *key;
    yyjson_val *value;
    size_t i;
    size_t max;
    int rv = n == NULL ? err_set(e, MCP_ENOMEM, "out of memory") : MCP_OK;

    yyjson_obj_foreach(object, i, max, key, value)
    {
        rv = rv == MCP_OK ? set_member(n, yyjson_get_str(key), value, e) : rv;
    }
    if (rv == MCP_OK) {
        rv = set_name(n, e);
    }
    if (rv != MCP_OK) {
        fleet_node_drop(n);
        return NULL;
    }
    return n;
}

void fleet_node_drop(struct config_node *n)
{
    if (n != NULL) {
        config_node_fini(n);
        free(n);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_text(struct buf *out, const char *key, const char *text)
{
    buf_printf(out, "\"%s\":", key);
    json_append_string(out, slice_str(text));
}

static void write_known(struct buf *out, const struct fleet_node *n)
{
    const char *comma = "";

    buf_append_byte(out, '{');
    write_text(out, "name", n->name);
    buf_printf(out, ",\"cordoned\":%s,\"models\":[", n->cordoned ? "true" : "false");
    for (size_t i = 0; i < n->warm.count; i++) {
        const struct warm_model *m = &n->warm.models[i];

        if (m->remembered) {
            buf_printf(out, "%s{", comma);
            write_text(out, "model", m->name);
            buf_printf(out, ",\"context\":%" PRIu64 "}", m->context);
            comma = ",";
        }
    }
    buf_append_str(out, "]}");
}

static void write_added(struct buf *out, const struct config_node *n)
{
    static const char *const kinds[] = {[CONFIG_KIND_AUTO] = "auto",
                                        [CONFIG_KIND_OLLAMA] = "ollama",
                                        [CONFIG_KIND_OPENAI] = "openai"};

    buf_append_byte(out, '{');
    write_text(out, "url", n->url);
    buf_append_byte(out, ',');
    write_text(out, "name", n->name);
    buf_append_byte(out, ',');
    write_text(out, "kind", kinds[n->kind]);
    if (n->api_key != NULL) {
        buf_append_byte(out, ',');
        write_text(out, "api_key", n->api_key);
    }
    buf_append_str(out, ",\"resident\":[");
    for (size_t i = 0; i < n->resident_count; i++) {
        buf_append_str(out, i == 0 ? "" : ",");
        json_append_string(out, slice_str(n->resident[i]));
    }
    buf_append_str(out, "]}");
}

void fleet_save(struct fleet *f)
{
    struct buf out = {0};
    const char *comma = "";

    buf_append_str(&out, "{\"nodes\":[");
    for (size_t i = 0; i < f->count; i++) {
        const struct fleet_node *n = f->list[i];

        if (n->cordoned || warm_remembered(&n->warm) > 0) {
            buf_append_str(&out, comma);
            write_known(&out, n);
            comma = ",";
        }
    }
    buf_append_str(&out, "],\"added\":[");
    for (size_t i = 0; i < f->added_count; i++) {
        buf_append_str(&out, i == 0 ? "" : ",");
        write_added(&out, f->added[i]);
    }
    buf_append_str(&out, "]}\n");
    state_file_put(f->state, buf_failed(&out) ? (struct slice){0} : buf_slice(&out));
    buf_fini(&out);
}

/* --- reading, at the start -------------------------------------------------------------------- */

static int load_known(struct fleet *f, yyjson_val *object, struct err *e)
{
    struct slice name = openai_text(yyjson_obj_get(object, "name"));
    struct fleet_node *known = name.len == 0 ? NULL : fleet_find_or_make(f, name);
    yyjson_val *model;
    size_t i;
    size_t max;

    if (known == NULL) {
        return err_set(e, MCP_EARGUMENT, "expected nodes with names");
    }
    known->cordoned = yyjson_is_true(yyjson_obj_get(object, "cordoned"));
    yyjson_arr_foreach(yyjson_obj_get(object, "models"), i, max, model)
    {
        struct slice text = openai_text(yyjson_obj_get(model, "model"));

        ASSERT(text.len == 0 ||
               warm_remember(&known->warm, text,
                             yyjson_get_uint(yyjson_obj_get(model, "context")))); /* start-up */
    }
    return MCP_OK;
}

static int load_added(struct fleet *f, yyjson_val *object, struct err *e)
{
    struct config_node *n = fleet_node_read(object, e);

    if (n == NULL) {
        return e->code;
    }
    f->added = realloc(f->added, (f->added_count + 1) * sizeof(*f->added));
    ASSERT(f->added != NULL); /* start-up */
    f->added[f->added_count++] = n;
    return MCP_OK;
}

static int load_list(struct fleet *f, yyjson_val *list,
                     int (*load)(struct fleet *f, yyjson_val *object, struct err *e), struct err *e)
{
    yyjson_val *item;
    size_t i;
    size_t max;
    int rv = MCP_OK;

    yyjson_arr_foreach(list, i, max, item)
    {
        rv = rv == MCP_OK ? load(f, item, e) : rv;
    }
    return rv;
}

int fleet_load(struct fleet *f, struct err *e)
{
    struct buf text = {0};
    struct err why = {0};
    yyjson_doc *doc = NULL;
    int rv = state_file_read(f->state, &text, e);

    if (rv == MCP_OK && buf_len(&text) > 0) {
        rv = openai_json_read(&doc, buf_slice(&text), OPENAI_NUMBERS_READ);
        if (rv != MCP_OK) {
            (void)err_set(&why, MCP_EARGUMENT, "expected JSON");
        }
        if (rv == MCP_OK) {
            rv = load_list(f, yyjson_obj_get(yyjson_doc_get_root(doc), "nodes"), load_known, &why);
        }
        if (rv == MCP_OK) {
            rv = load_list(f, yyjson_obj_get(yyjson_doc_get_root(doc), "added"), load_added, &why);
        }
        if (rv != MCP_OK) {
            (void)err_set(e, MCP_EARGUMENT, "nodes.json of the state directory: %s", why.text);
        }
    }
    yyjson_doc_free(doc);
    buf_fini(&text);
    return rv;
}
