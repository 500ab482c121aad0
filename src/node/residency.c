/* SPDX-License-Identifier: Apache-2.0 */
#include "node/residency.h"

#include <stdlib.h>

#include "codec/model_name.h"
#include "codec/rfc3339.h"
#include "mcp/error.h"
#include "node/openai_json.h"
#include "node/users.h"

void residency_fini(struct residency *r)
{
    if (users_leave(r->users)) {
        for (size_t i = 0; i < r->count; i++) {
            free(r->models[i].name);
        }
        free(r->models);
        buf_fini(&r->body);
    }
    *r = (struct residency){0};
}

void residency_share(struct residency *to, const struct residency *from)
{
    *to = *from;
    users_join(to->users);
}

static int read_list(yyjson_val *list, struct residency *out)
{
    yyjson_val *item;
    size_t i;
    size_t max;

    out->models = calloc(yyjson_arr_size(list) + 1, sizeof(*out->models));
    if (out->models == NULL) {
        return MCP_ENOMEM;
    }
    yyjson_arr_foreach(list, i, max, item)
    {
        struct slice name = openai_text(yyjson_obj_get(item, "name"));
        struct resident_model *m = &out->models[out->count];

        if (name.len == 0) {
            continue;
        }
        *m = (struct resident_model){
            .name = slice_dup(name),
            .name_len = name.len,
            .context_length = yyjson_get_uint(yyjson_obj_get(item, "context_length")),
            .size_bytes = yyjson_get_uint(yyjson_obj_get(item, "size")),
            .vram_bytes = yyjson_get_uint(yyjson_obj_get(item, "size_vram")),
        };
        if (m->name == NULL) {
            return MCP_ENOMEM;
        }
        if (!rfc3339_read(openai_text(yyjson_obj_get(item, "expires_at")), &m->expires_us)) {
            m->expires_us = 0;
        }
        out->count++;
    }
    return MCP_OK;
}

static int read_body(struct slice body, struct residency *out)
{
    yyjson_doc *doc;
    yyjson_val *list;
    int rv = openai_json_read(&doc, body, OPENAI_NUMBERS_READ);

    if (rv != MCP_OK) {
        return rv == MCP_ENOMEM ? rv : MCP_EUPSTREAM_ERROR;
    }
    list = yyjson_obj_get(yyjson_doc_get_root(doc), "models");
    rv = yyjson_is_arr(list)    ? read_list(list, out)
         : yyjson_is_null(list) ? MCP_OK
                                : MCP_EUPSTREAM_ERROR;
    yyjson_doc_free(doc);
    return rv;
}

int residency_read(struct residency *r, struct slice body)
{
    struct residency fresh = {0};
    int rv;

    if (r->users != NULL && slice_eq(body, buf_slice(&r->body))) {
        return MCP_OK;
    }
    rv = read_body(body, &fresh);
    if (rv == MCP_OK) {
        fresh.users = users_new();
        rv = fresh.users != NULL && buf_append(&fresh.body, body) ? MCP_OK : MCP_ENOMEM;
    }
    if (rv != MCP_OK) {
        residency_fini(&fresh);
        return rv;
    }
    residency_fini(r);
    *r = fresh;
    return MCP_OK;
}

const struct resident_model *residency_find(const struct residency *r, struct slice name)
{
    for (size_t i = 0; i < r->count; i++) {
        if (model_name_same(name, slice_of(r->models[i].name, r->models[i].name_len))) {
            return &r->models[i];
        }
    }
    return NULL;
}
