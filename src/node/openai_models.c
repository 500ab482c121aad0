/* SPDX-License-Identifier: Apache-2.0 */
/* tags, ps, show and version of a node that has no such calls: made from GET /v1/models of
 * llama.cpp's server (data[].meta) or vLLM (data[].max_model_len), and from llama.cpp's GET /props.
 */
#include "node/openai.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_scan.h"
#include "codec/model_name.h"
#include "node/openai_json.h"

/* Clients ask for this before they use tools, thinking and so on. */
#define NATIVE_VERSION "0.33.0"
/* Ollama's clients cut pieces off it; such a node has none. */
#define NO_DIGEST "0000000000000000000000000000000000000000000000000000000000000000"
/* A model_info needs some architecture: its other keys begin with it. */
#define ARCHITECTURE "unknown"

static const uint64_t century_us = (uint64_t)36525 * 24 * 3600 * 1000000;

/* What a node says of one model; 0 and empty where it does not. */
struct model {
    struct slice name;
    uint64_t created_us;
    uint64_t size_bytes;
    uint64_t parameters;
    uint64_t context;       /* of one request, as the server was started */
    uint64_t context_train; /* of the model */
    uint64_t embedding;
    bool gguf;
    bool loaded;
    struct slice quantization; /* llama.cpp's words: "Q4_K - Medium" */
    yyjson_val *capabilities;  /* llama.cpp's list */
};

static void append(struct buf *out, const char *text)
{
    (void)buf_append_str(out, text); /* sticky: every function of the header looks at the end */
}

static void append_member(struct buf *out, const char *key, struct slice text)
{
    openai_append_key(out, key);
    (void)json_append_string(out, text); /* sticky */
}

static void append_number(struct buf *out, const char *key, uint64_t number)
{
    openai_append_key(out, key);
    (void)buf_printf(out, "%llu", (unsigned long long)number); /* sticky */
}

static uint64_t uint_of(yyjson_val *obj, const char *name)
{
    return yyjson_get_uint(openai_member_exact(obj, name)); /* 0 where it is none */
}

/* llama.cpp's second list, which is near to Ollama's, has what the first one lacks. */
static yyjson_val *capabilities_of(yyjson_val *root, struct slice name)
{
    yyjson_val *models = openai_member_exact(root, "models");
    yyjson_val *one;
    size_t i;
    size_t count;

    yyjson_arr_foreach(models, i, count, one)
    {
        if (slice_eq(openai_text(openai_member_exact(one, "name")), name)) {
            return openai_member_exact(one, "capabilities");
        }
    }
    return NULL;
}

/* False: an entry without an id, which is left out. */
static bool read_model(yyjson_val *root, yyjson_val *entry, struct model *m)
{
    yyjson_val *meta = openai_member_exact(entry, "meta");
    yyjson_val *status = openai_member_exact(openai_member_exact(entry, "status"), "value");
    uint64_t max_len = uint_of(entry, "max_model_len");
    uint64_t created_s = uint_of(entry, "created");

    *m = (struct model){.name = openai_text(openai_member_exact(entry, "id"))};
    if (m->name.len == 0) {
        return false;
    }
    m->created_us = created_s < UINT32_MAX ? created_s * 1000000 : 0;
    m->size_bytes = uint_of(meta, "size");
    m->parameters = uint_of(meta, "n_params");
    m->context = meta == NULL ? max_len : uint_of(meta, "n_ctx");
    m->context_train = meta == NULL ? max_len : uint_of(meta, "n_ctx_train");
    m->embedding = uint_of(meta, "n_embd");
    m->gguf = slice_eq(openai_text(openai_member_exact(entry, "owned_by")), SLICE("llamacpp"));
    m->loaded = !yyjson_is_str(status) || slice_eq(openai_text(status), SLICE("loaded"));
    m->quantization = openai_text(openai_member_exact(meta, "ftype"));
    m->capabilities = capabilities_of(root, m->name);
    return true;
}

/* 268098176 is "268.10M", as Ollama writes it. */
static void append_parameter_size(struct buf *out, uint64_t count)
{
    char text[32] = "";

    if (count >= 1000000000) {
        double b = (double)count / 1e9;

        (void)snprintf(text, sizeof(text), b == floor(b) ? "%.0fB" : "%.1fB", b);
    } else if (count >= 1000000) {
        double m = (double)count / 1e6;

        (void)snprintf(text, sizeof(text), m == floor(m) ? "%.0fM" : "%.2fM", m);
    } else if (count >= 1000) {
        (void)snprintf(text, sizeof(text), "%.0fK", (double)count / 1e3);
    } else if (count > 0) {
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    }
    append_member(out, "parameter_size", slice_str(text));
}

/* "Q4_K - Medium" is "Q4_K_M", as Ollama writes it. */
static void append_quantization(struct buf *out, struct slice words)
{
    static const char *const sizes[][2] = {
        {" - Small", "_S"}, {" - Medium", "_M"}, {" - Large", "_L"}};
    const char *blank = words.len == 0 ? NULL : memchr(words.ptr, ' ', words.len);
    size_t len = blank == NULL ? words.len : (size_t)(blank - words.ptr);
    struct slice rest = slice_skip(words, len);
    char text[32];
    const char *size = "";

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size = slice_starts(rest, slice_str(sizes[i][0])) ? sizes[i][1] : size;
    }
    (void)snprintf(text, sizeof(text), "%.*s%s", (int)(len < 24 ? len : 24), words.ptr, size);
    append_member(out, "quantization_level", slice_str(text));
}

static void append_details(struct buf *out, const struct model *m)
{
    openai_append_key(out, "details");
    append(out, "{\"parent_model\":\"\"");
    append_member(out, "format", m->gguf ? SLICE("gguf") : SLICE(""));
    append(out, ",\"family\":\"\",\"families\":[]");
    append_parameter_size(out, m->parameters);
    append_quantization(out, m->quantization);
    if (m->context_train > 0) {
        append_number(out, "context_length", m->context_train);
    }
    if (m->embedding > 0) {
        append_number(out, "embedding_length", m->embedding);
    }
    append(out, "}");
}

static bool has_string(yyjson_val *list, const char *text)
{
    yyjson_val *one;
    size_t i;
    size_t count;

    yyjson_arr_foreach(list, i, count, one)
    {
        if (yyjson_equals_str(one, text)) {
            return true;
        }
    }
    return false;
}

/* In Ollama's words. `props` (NULL: none) knows more of the model it is about. */
static void append_capabilities(struct buf *out, const struct model *m, yyjson_val *props)
{
    yyjson_val *modalities = openai_member_exact(props, "modalities");
    yyjson_val *caps = openai_member_exact(props, "chat_template_caps");

    openai_append_key(out, "capabilities");
    append(out, "[\"completion\"");
    if (has_string(m->capabilities, "embedding")) {
        append(out, ",\"embedding\"");
    }
    if (has_string(m->capabilities, "multimodal") ||
        yyjson_is_true(openai_member_exact(modalities, "vision"))) {
        append(out, ",\"vision\"");
    }
    if (yyjson_is_true(openai_member_exact(modalities, "audio"))) {
        append(out, ",\"audio\"");
    }
    if (yyjson_is_true(openai_member_exact(caps, "supports_tools"))) {
        append(out, ",\"tools\"");
    }
    append(out, "]");
}

static void append_time(struct buf *out, const char *key, uint64_t wall_us)
{
    openai_append_key(out, key);
    openai_append_time(out, wall_us);
}

static void append_tag(struct buf *out, const struct model *m, struct openai_clock at)
{
    append_member(out, "name", m->name);
    append_member(out, "model", m->name);
    append_time(out, "modified_at", m->created_us > 0 ? m->created_us : at.wall_us);
    append_number(out, "size", m->size_bytes);
    append_member(out, "digest", SLICE(NO_DIGEST));
    append_details(out, m);
    append_capabilities(out, m, NULL);
}

static void append_running(struct buf *out, const struct model *m, struct openai_clock at)
{
    append_member(out, "name", m->name);
    append_member(out, "model", m->name);
    append_number(out, "size", m->size_bytes);
    append_member(out, "digest", SLICE(NO_DIGEST));
    append_details(out, m);
    append_time(out, "expires_at", at.wall_us + century_us);
    append_number(out, "size_vram", 0);
    append_number(out, "context_length", m->context);
}

/* {"models":[...]} of tags, or with `running` of ps. */
static int list_models(struct slice models, bool running, struct openai_clock at, struct buf *out)
{
    yyjson_val *data;
    yyjson_val *entry;
    yyjson_doc *doc;
    bool first = true;
    size_t i;
    size_t count;
    int rv = openai_json_read(&doc, models, OPENAI_NUMBERS_READ);

    if (rv < 0) {
        return rv == MCP_ENOMEM ? rv : MCP_EUPSTREAM_ERROR;
    }
    data = openai_member_exact(yyjson_doc_get_root(doc), "data");
    rv = yyjson_is_arr(data) ? 0 : MCP_EUPSTREAM_ERROR;
    append(out, "{\"models\":[");
    yyjson_arr_foreach(data, i, count, entry)
    {
        struct model m;

        if (!read_model(yyjson_doc_get_root(doc), entry, &m) || (running && !m.loaded)) {
            continue;
        }
        append(out, first ? "{" : ",{");
        first = false;
        if (running) {
            append_running(out, &m, at);
        } else {
            append_tag(out, &m, at);
        }
        append(out, "}");
    }
    append(out, "]}");
    yyjson_doc_free(doc);
    return rv < 0 ? rv : openai_written(out);
}

int openai_tags(struct slice models, struct openai_clock at, struct buf *out)
{
    return list_models(models, false, at, out);
}

int openai_ps(struct slice models, struct openai_clock at, struct buf *out)
{
    return list_models(models, true, at, out);
}

static void append_modelfile(struct buf *out, struct slice name)
{
    struct buf text = {0};

    append(&text, "# This model is served by a node of kind openai\nFROM ");
    (void)buf_append(&text, name);
    append(&text, "\n");
    append_member(out, "modelfile", buf_slice(&text));
    out->failed = out->failed || buf_failed(&text);
    buf_fini(&text);
}

static void append_info(struct buf *out, const struct model *m)
{
    openai_append_key(out, "model_info");
    append(out, "{");
    append_member(out, "general.architecture", SLICE(ARCHITECTURE));
    append_member(out, "general.basename", m->name);
    if (m->parameters > 0) {
        append_number(out, "general.parameter_count", m->parameters);
    }
    if (m->context_train > 0) {
        append_number(out, ARCHITECTURE ".context_length", m->context_train);
    }
    if (m->embedding > 0) {
        append_number(out, ARCHITECTURE ".embedding_length", m->embedding);
    }
    append(out, "}");
}

static void append_show(struct buf *out, const struct model *m, yyjson_val *props,
                        struct openai_clock at)
{
    yyjson_val *template = openai_member_exact(props, "chat_template");

    append(out, "{");
    append_modelfile(out, m->name);
    if (openai_is_set(template)) {
        append_member(out, "template", openai_text(template));
    }
    append_details(out, m);
    append_info(out, m);
    append_capabilities(out, m, props);
    append_time(out, "modified_at", m->created_us > 0 ? m->created_us : at.wall_us);
    append(out, "}");
}

/* The listed model that `name` means. 0, MCP_EUNKNOWN_MODEL or MCP_ENOMEM. */
static int find_model(yyjson_val *root, struct slice name, struct model *m)
{
    yyjson_val *entry;
    struct buf wanted = {0};
    struct buf listed = {0};
    size_t i;
    size_t count;
    int rv = model_name_canonical(name, &wanted) ? MCP_EUNKNOWN_MODEL : MCP_ENOMEM;

    yyjson_arr_foreach(openai_member_exact(root, "data"), i, count, entry)
    {
        if (rv != MCP_EUNKNOWN_MODEL || !read_model(root, entry, m)) {
            continue;
        }
        buf_clear(&listed);
        if (!model_name_canonical(m->name, &listed)) {
            rv = MCP_ENOMEM;
        } else if (slice_eq(buf_slice(&wanted), buf_slice(&listed))) {
            rv = 0;
        }
    }
    buf_fini(&wanted);
    buf_fini(&listed);
    return rv;
}

/* /props is about the one model of the server it was started with. */
static yyjson_val *props_of(yyjson_doc *doc, const struct model *m, yyjson_val *data)
{
    yyjson_val *root = doc == NULL ? NULL : yyjson_doc_get_root(doc);
    struct slice alias = openai_text(openai_member_exact(root, "model_alias"));

    return yyjson_arr_size(data) == 1 || slice_eq(alias, m->name) ? root : NULL;
}

int openai_show(struct slice models, struct slice props, struct slice model, struct openai_clock at,
                struct buf *out)
{
    yyjson_doc *doc = NULL;
    yyjson_doc *props_doc = NULL;
    struct model m;
    int rv = openai_json_read(&doc, models, OPENAI_NUMBERS_READ);

    if (rv == 0 && props.len > 0) {
        rv = openai_json_read(&props_doc, props, OPENAI_NUMBERS_READ);
    }
    if (rv == 0) {
        rv = yyjson_is_arr(openai_member_exact(yyjson_doc_get_root(doc), "data"))
                 ? find_model(yyjson_doc_get_root(doc), model, &m)
                 : MCP_EUPSTREAM_ERROR;
    }
    if (rv == 0) {
        yyjson_val *data = openai_member_exact(yyjson_doc_get_root(doc), "data");

        append_show(out, &m, props_of(props_doc, &m, data), at);
        rv = openai_written(out);
    }
    yyjson_doc_free(doc);
    yyjson_doc_free(props_doc);
    return rv == MCP_EBAD_REQUEST ? MCP_EUPSTREAM_ERROR : rv;
}

static bool entry_is(struct slice entry, struct slice model)
{
    struct json_member id;
    struct buf name = {0};
    bool same = json_find(entry, SLICE("id"), &id) == JSON_OK && id.kind == JSON_STRING &&
                json_unescape(id.value, &name) && model_name_same(buf_slice(&name), model);

    buf_fini(&name);
    return same;
}

int openai_retrieve(struct slice models, struct slice model, struct buf *out)
{
    struct json_member data;
    struct json_member entry;
    struct json_walk w;

    if (json_find(models, SLICE("data"), &data) != JSON_OK ||
        json_walk_begin(&w, data.value, JSON_ARRAY) != JSON_OK) {
        return MCP_EUPSTREAM_ERROR;
    }
    while (json_walk_next(&w, &entry) == JSON_OK) {
        if (entry.kind == JSON_OBJECT && entry_is(entry.value, model)) {
            (void)buf_append(out, entry.value); /* sticky */
            return openai_written(out);
        }
    }
    return MCP_EUNKNOWN_MODEL;
}

int openai_version(struct buf *out)
{
    append(out, "{\"version\":\"" NATIVE_VERSION "\"}");
    return openai_written(out);
}
