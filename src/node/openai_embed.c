/* SPDX-License-Identifier: Apache-2.0 */
/* The node's answer to embed and embeddings. Vectors come as base64 of little-endian float32 or as
 * lists of numbers, whatever was asked for. */
#include "node/openai_call.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/openai_json.h"
#include "node/openai_media.h"

struct vector {
    double *values; /* float32 as double, or as the node's JSON has them */
    size_t count;
};

static void append(struct buf *out, const char *text)
{
    (void)buf_append_str(out, text); /* sticky: openai_embed_whole looks at the end */
}

static int read_list(yyjson_val *list, struct vector *v)
{
    yyjson_val *one;
    size_t i;
    size_t count;

    v->values = calloc(yyjson_arr_size(list) + 1, sizeof(*v->values));
    if (v->values == NULL) {
        return MCP_ENOMEM;
    }
    yyjson_arr_foreach(list, i, count, one)
    {
        /* llama.cpp's JSON writer has null for what is no number */
        v->values[i] = yyjson_is_num(one) ? yyjson_get_num(one) : (double)NAN;
    }
    v->count = count;
    return 0;
}

static int read_base64(struct slice text, struct vector *v)
{
    struct buf bytes = {0};
    int rv = openai_base64_decode(text, &bytes);
    struct slice raw = buf_slice(&bytes);

    if (rv == MCP_EBAD_REQUEST || raw.len % sizeof(uint32_t) != 0) {
        rv = MCP_EUPSTREAM_ERROR;
    }
    v->count = raw.len / sizeof(uint32_t);
    if (rv == 0) {
        v->values = calloc(v->count + 1, sizeof(*v->values));
        rv = v->values == NULL ? MCP_ENOMEM : 0;
    }
    for (size_t i = 0; rv == 0 && i < v->count; i++) {
        const unsigned char *p = (const unsigned char *)raw.ptr + i * sizeof(uint32_t);
        uint32_t bits = p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        float value;

        memcpy(&value, &bits, sizeof(value));
        v->values[i] = (double)value;
    }
    buf_fini(&bytes);
    return rv;
}

static int read_vector(yyjson_val *embedding, struct vector *v)
{
    int rv = MCP_EUPSTREAM_ERROR;

    if (yyjson_is_arr(embedding)) {
        rv = read_list(embedding, v);
    } else if (yyjson_is_str(embedding)) {
        rv = read_base64(openai_text(embedding), v);
    }
    for (size_t i = 0; rv == 0 && i < v->count; i++) {
        if (!(fabs(v->values[i]) <= (double)FLT_MAX)) {
            rv = OPENAI_ERROR;
        }
    }
    return rv;
}

/* In float32 with the sum in float32, as Ollama has it: the same vector gives the same numbers. */
static void normalise(struct vector *v)
{
    float sum = 0;
    float factor;

    for (size_t i = 0; i < v->count; i++) {
        float value = (float)v->values[i];

        sum += value * value;
    }
    factor = (float)(1.0 / fmax(sqrt((double)sum), 1e-12));
    for (size_t i = 0; i < v->count; i++) {
        v->values[i] = (double)((float)v->values[i] * factor);
    }
}

static bool digits_suffice(char *text, size_t size, int digits, double value)
{
    (void)snprintf(text, size, "%.*g", digits, value);
    return strtof(text, NULL) == (float)value;
}

/* As few digits as a float32 needs. Nearly all need 8 or 9: the search begins there. */
static void append_float32(struct buf *out, double value)
{
    char text[32];
    int digits = 8;

    if (!digits_suffice(text, sizeof(text), digits, value)) {
        digits = 9;
    } else {
        while (digits > 1 && digits_suffice(text, sizeof(text), digits - 1, value)) {
            digits--;
        }
    }
    (void)snprintf(text, sizeof(text), "%.*g", digits, value);
    append(out, text);
}

static void append_double(struct buf *out, double value)
{
    char text[32];
    int digits = 15;

    do {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value);
    } while (strtod(text, NULL) != value && digits++ < 17);
    append(out, text);
}

static void append_vector(const struct openai_call *call, struct vector *v, struct buf *out)
{
    if (call->op == OP_EMBED) {
        normalise(v);
        if (call->dimensions > 0 && call->dimensions < v->count) {
            v->count = (size_t)call->dimensions;
            normalise(v);
        }
    }
    append(out, "[");
    for (size_t i = 0; i < v->count; i++) {
        append(out, i == 0 ? "" : ",");
        if (call->op == OP_EMBED) {
            append_float32(out, v->values[i]);
        } else {
            append_double(out, v->values[i]);
        }
    }
    append(out, "]");
}

/* The entry for the i-th input: by its own `index`, where it has one. */
static yyjson_val *entry_of(yyjson_val *data, size_t i)
{
    yyjson_val *one = yyjson_arr_get(data, i);
    yyjson_val *index = openai_member_exact(one, "index");
    size_t at;
    size_t count;

    if (!yyjson_is_uint(index) || yyjson_get_uint(index) == i) {
        return one;
    }
    yyjson_arr_foreach(data, at, count, one)
    {
        index = openai_member_exact(one, "index");
        if (yyjson_is_uint(index) && yyjson_get_uint(index) == i) {
            return one;
        }
    }
    return NULL;
}

static int append_vectors(const struct openai_call *call, yyjson_val *data, struct buf *out)
{
    int rv = 0;

    for (size_t i = 0; rv == 0 && i < call->inputs; i++) {
        struct vector v = {0};

        rv = read_vector(openai_member_exact(entry_of(data, i), "embedding"), &v);
        if (rv == 0) {
            append(out, i == 0 ? "" : ",");
            append_vector(call, &v, out);
        }
        free(v.values);
    }
    return rv;
}

static void append_answer(const struct openai_call *call, yyjson_val *root, struct openai_clock at,
                          struct slice vectors, struct buf *out)
{
    yyjson_val *tokens = openai_member_exact(openai_member_exact(root, "usage"), "prompt_tokens");
    uint64_t us = at.now_us > call->start_us ? at.now_us - call->start_us : 0;

    if (call->op == OP_EMBEDDINGS) {
        append(out, "{\"embedding\":");
        (void)buf_append(out, vectors);
        append(out, "}");
        return;
    }
    append(out, "{\"model\":");
    (void)buf_append(out, buf_slice(&call->model));
    append(out, ",\"embeddings\":[");
    (void)buf_append(out, vectors);
    (void)buf_printf(out,
                     "],\"total_duration\":%llu,\"load_duration\":0,\"prompt_eval_count\":%llu}",
                     (unsigned long long)us * 1000, (unsigned long long)yyjson_get_uint(tokens));
}

int openai_embed_whole(struct openai_call *call, struct slice body, struct openai_clock at,
                       struct buf *out)
{
    struct buf vectors = {0};
    yyjson_val *data;
    yyjson_doc *doc;
    int rv = openai_json_read(&doc, body, OPENAI_NUMBERS_READ);

    if (rv < 0) {
        return rv == MCP_ENOMEM ? rv : MCP_EUPSTREAM_ERROR;
    }
    data = openai_member_exact(yyjson_doc_get_root(doc), "data");
    rv = yyjson_is_arr(data) && yyjson_arr_size(data) == call->inputs
             ? append_vectors(call, data, &vectors)
             : MCP_EUPSTREAM_ERROR;
    rv = rv == 0 ? openai_written(&vectors) : rv;
    if (rv == 0) {
        append_answer(call, yyjson_doc_get_root(doc), at, buf_slice(&vectors), out);
        call->finished = true;
        rv = OPENAI_LAST;
    } else if (rv == OPENAI_ERROR) {
        append(out, "embedding contains NaN or Inf values");
    }
    if (rv > 0 && buf_failed(out)) {
        rv = MCP_ENOMEM;
    }
    buf_fini(&vectors);
    yyjson_doc_free(doc);
    return rv;
}
