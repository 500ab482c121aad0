/* SPDX-License-Identifier: Apache-2.0 */
#include "node/catalogue.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/model_name.h"
#include "mcp/error.h"
#include "node/openai_json.h"
#include "node/users.h"

static void free_models(struct catalogue_model *models, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(models[i].name);
        free(models[i].canonical);
    }
    free(models);
}

void catalogue_fini(struct catalogue *c)
{
    if (users_leave(c->users)) {
        free_models(c->models, c->count);
        free(c->spellings);
        buf_fini(&c->body);
    }
    *c = (struct catalogue){0};
}

void catalogue_share(struct catalogue *to, const struct catalogue *from)
{
    *to = *from;
    users_join(to->users);
}

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    if (order != 0) {
        return order;
    }
    return a_len < b_len ? -1 : a_len > b_len;
}

static int compare_models(const void *left, const void *right)
{
    const struct catalogue_model *a = left;
    const struct catalogue_model *b = right;

    return compare_bytes(a->canonical, a->canonical_len, b->canonical, b->canonical_len);
}

static char *copy_bytes(struct slice s)
{
    char *copy = malloc(s.len + 1);

    if (copy != NULL) {
        memcpy(copy, s.ptr, s.len);
        copy[s.len] = '\0';
    }
    return copy;
}

static bool model_init(struct catalogue_model *m, struct slice name)
{
    struct buf canonical = {0};

    if (model_name_canonical(name, &canonical)) {
        m->name = copy_bytes(name);
        m->name_len = name.len;
        m->canonical = copy_bytes(buf_slice(&canonical));
        m->canonical_len = buf_len(&canonical);
    }
    buf_fini(&canonical);
    return m->name != NULL && m->canonical != NULL;
}

/* --- the usual spellings --- */

static uint64_t word_at(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* Spreads well enough for names that a node chose; of those, no client can add any. */
static size_t hash_of(struct slice text)
{
    static const uint64_t odd = 0x9E3779B97F4A7C15U; /* the golden ratio */
    uint64_t hash = text.len;
    size_t at = 0;

    for (; text.len - at >= 8; at += 8) {
        hash = (hash ^ word_at(text.ptr + at)) * odd;
        hash ^= hash >> 32;
    }
    if (at < text.len && text.len >= 8) {
        hash = (hash ^ word_at(text.ptr + text.len - 8)) * odd;
    } else {
        for (; at < text.len; at++) {
            hash = (hash ^ (unsigned char)text.ptr[at]) * odd;
        }
    }
    return (size_t)(hash ^ hash >> 32);
}

/* The slot that holds `text`, else the one where it would go. There is always an empty one. */
static struct catalogue_spelling *slot_of(const struct catalogue *c, struct slice text)
{
    size_t i = hash_of(text) & c->spellings_mask;

    while (c->spellings[i].text.ptr != NULL && !slice_eq(c->spellings[i].text, text)) {
        i = (i + 1) & c->spellings_mask;
    }
    return &c->spellings[i];
}

static void add_spelling(struct catalogue *c, struct slice text, const struct catalogue_model *m)
{
    struct catalogue_spelling *slot = slot_of(c, text);

    if (slot->text.ptr == NULL) {
        *slot = (struct catalogue_spelling){text, m};
    }
}

/* Names as they are go first: where a node lists "m" and "m:latest", each is found as it is. */
static bool add_spellings(struct catalogue *c)
{
    size_t slots = 4; /* more than half of them stay empty */

    while (slots < c->count * 4) {
        slots *= 2;
    }
    c->spellings = calloc(slots, sizeof(*c->spellings));
    if (c->spellings == NULL) {
        return false;
    }
    c->spellings_mask = slots - 1;
    for (size_t i = 0; i < c->count; i++) {
        add_spelling(c, slice_of(c->models[i].name, c->models[i].name_len), &c->models[i]);
    }
    for (size_t i = 0; i < c->count; i++) {
        struct slice name = slice_of(c->models[i].name, c->models[i].name_len);
        struct slice tag = SLICE(":latest");

        if (name.len > tag.len && slice_eq(slice_skip(name, name.len - tag.len), tag)) {
            struct slice text = slice_first(name, name.len - tag.len);

            if (model_name_same(text, name)) {
                add_spelling(c, text, &c->models[i]);
            }
        }
    }
    return true;
}

/* --- reading --- */

static bool is_remote(yyjson_val *item)
{
    return yyjson_get_len(yyjson_obj_get(item, "remote_host")) > 0 ||
           yyjson_get_len(yyjson_obj_get(item, "remote_model")) > 0;
}

/* Ollama lists capabilities only lately; before, the family tells most models that embed. A node
 * that says neither says nothing against it. */
static bool completes(yyjson_val *item)
{
    yyjson_val *list = yyjson_obj_get(item, "capabilities");
    const char *family = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(item, "details"), "family"));
    yyjson_val *one;
    size_t i;
    size_t max;

    if (is_remote(item)) {
        return false;
    }
    yyjson_arr_foreach(list, i, max, one)
    {
        if (yyjson_equals_str(one, "completion")) {
            return true;
        }
    }
    return yyjson_arr_size(list) == 0 && (family == NULL || strstr(family, "bert") == NULL);
}

/* The array of models and the member that names one, in either shape; NULL where it is neither. */
static yyjson_val *find_list(yyjson_doc *doc, const char **member)
{
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *list = yyjson_obj_get(root, "models");

    /* llama.cpp's server sends both; its "models" entries are named like Ollama's. */
    *member = "name";
    if (yyjson_is_arr(list)) {
        return list;
    }
    /* Ollama's /api/tags says null for none. */
    list = yyjson_obj_get(root, "data");
    *member = "id";
    return yyjson_is_arr(list) ? list : NULL;
}

static int read_list(yyjson_val *list, const char *member, struct catalogue *out)
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
        yyjson_val *name = yyjson_obj_get(item, member);

        if (!yyjson_is_str(name)) {
            continue;
        }
        out->count++;
        if (!model_init(&out->models[out->count - 1],
                        slice_of(yyjson_get_str(name), yyjson_get_len(name)))) {
            return MCP_ENOMEM;
        }
        out->models[out->count - 1].completes = completes(item);
        out->models[out->count - 1].size_bytes = yyjson_get_uint(yyjson_obj_get(item, "size"));
        slice_copy(openai_text(yyjson_obj_get(item, "digest")), out->models[out->count - 1].digest,
                   CATALOGUE_DIGEST_MAX);
    }
    qsort(out->models, out->count, sizeof(*out->models), compare_models);
    return add_spellings(out) ? MCP_OK : MCP_ENOMEM;
}

static bool lists_llamacpp(yyjson_doc *doc)
{
    yyjson_val *entry = yyjson_arr_get_first(yyjson_obj_get(yyjson_doc_get_root(doc), "data"));

    return yyjson_equals_str(yyjson_obj_get(entry, "owned_by"), "llamacpp");
}

int catalogue_read(struct catalogue *c, struct slice body)
{
    struct catalogue fresh = {0};
    yyjson_doc *doc;
    const char *member;
    yyjson_val *list;
    int rv;

    if (c->users != NULL && slice_eq(body, buf_slice(&c->body))) {
        return MCP_OK;
    }
    rv = openai_json_read(&doc, body, OPENAI_NUMBERS_READ);
    if (rv != MCP_OK) {
        return rv == MCP_ENOMEM ? rv : MCP_EUPSTREAM_ERROR;
    }
    list = find_list(doc, &member);
    if (list != NULL) {
        rv = read_list(list, member, &fresh);
    } else {
        rv = yyjson_is_null(yyjson_obj_get(yyjson_doc_get_root(doc), "models"))
                 ? MCP_OK
                 : MCP_EUPSTREAM_ERROR;
    }
    fresh.is_llamacpp = lists_llamacpp(doc);
    if (rv == MCP_OK) {
        fresh.users = users_new();
        rv = fresh.users != NULL && buf_append(&fresh.body, body) ? MCP_OK : MCP_ENOMEM;
    }
    yyjson_doc_free(doc);
    if (rv != MCP_OK) {
        catalogue_fini(&fresh);
        return rv;
    }
    catalogue_fini(c);
    *c = fresh;
    return MCP_OK;
}

/* --- looking up --- */

/* One by one: a model that is listed is found in any case. */
static const struct catalogue_model *find_without_memory(const struct catalogue *c,
                                                         struct slice name)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct catalogue_model *m = &c->models[i];

        if (model_name_same(name, slice_of(m->name, m->name_len))) {
            return m;
        }
    }
    return NULL;
}

static const struct catalogue_model *find_canonical(const struct catalogue *c, struct slice name)
{
    struct buf canonical = {0};
    const struct catalogue_model *found;

    if (model_name_canonical(name, &canonical)) {
        const struct catalogue_model wanted = {.canonical = canonical.data + canonical.head,
                                               .canonical_len = buf_len(&canonical)};

        found = bsearch(&wanted, c->models, c->count, sizeof(*c->models), compare_models);
    } else {
        found = find_without_memory(c, name);
    }
    buf_fini(&canonical);
    return found;
}

const struct catalogue_model *catalogue_find(const struct catalogue *c, struct slice name)
{
    const struct catalogue_spelling *usual;

    if (c->count == 0) {
        return NULL;
    }
    usual = slot_of(c, name);
    return usual->text.ptr != NULL ? usual->model : find_canonical(c, name);
}
