/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/embed.h"

#include "base/check.h"
#include "base/json_scan.h"

enum { MEMBERS_MAX = 6 };

/* What is known of each API's requests, in the order that heads have. */
static const struct slice known[][MEMBERS_MAX] = {
    [EMBED_OLLAMA] = {SLICE("model"), SLICE("truncate"), SLICE("dimensions"), SLICE("keep_alive"),
                      SLICE("options"), SLICE("input")},
    [EMBED_OPENAI] = {SLICE("model"), SLICE("dimensions"), SLICE("encoding_format"),
                      SLICE("input")},
};

struct members {
    struct slice values[MEMBERS_MAX];
    enum json_kind input_kind;
    struct slice input;
};

/* `mcp` is for the gateway alone. */
static bool take_member(enum embed_shape shape, const struct json_member *m, struct members *out)
{
    if (m->key_escaped) {
        return false;
    }
    for (size_t i = 0; i < MEMBERS_MAX && known[shape][i].len > 0; i++) {
        if (!slice_eq(m->key, known[shape][i])) {
            continue;
        }
        if (slice_eq(m->key, SLICE("input"))) {
            out->input = m->value;
            out->input_kind = m->kind;
        } else if (m->kind != JSON_NULL) {
            out->values[i] = m->value;
        }
        return true;
    }
    return slice_eq(m->key, SLICE("mcp"));
}

static bool read_members(const struct embed_ask *ask, struct members *out)
{
    struct json_walk w;
    struct json_member m;
    enum json_status status = json_walk_begin(&w, ask->body, JSON_OBJECT);

    while (status == JSON_OK && (status = json_walk_next(&w, &m)) == JSON_OK) {
        if (!take_member(ask->shape, &m, out)) {
            return false;
        }
    }
    if (ask->model.ptr != NULL) {
        out->values[0] = ask->model;
    }
    if (ask->shape == EMBED_OLLAMA && ask->options.ptr != NULL && out->values[4].ptr == NULL) {
        out->values[4] = ask->options;
    }
    return status == JSON_END && out->values[0].ptr != NULL;
}

static bool append_input(struct buf *inputs, struct slice text)
{
    return buf_append(inputs, slice_of(&text, sizeof(text)));
}

/* Ollama answers an empty text with no vector at all. */
static enum embed_verdict read_inputs(const struct members *m, struct buf *inputs)
{
    struct json_walk w;
    struct json_member one;

    if (m->input_kind == JSON_STRING && m->input.len > 2) {
        return append_input(inputs, m->input) ? EMBED_TAKEN : EMBED_NO_MEMORY;
    }
    if (m->input.ptr == NULL || m->input_kind != JSON_ARRAY ||
        json_walk_begin(&w, m->input, JSON_ARRAY) != JSON_OK) {
        return EMBED_LEFT;
    }
    while (json_walk_next(&w, &one) == JSON_OK) {
        if (one.kind != JSON_STRING || one.value.len <= 2) {
            return EMBED_LEFT;
        }
        if (!append_input(inputs, one.value)) {
            return EMBED_NO_MEMORY;
        }
    }
    return buf_len(inputs) > 0 ? EMBED_TAKEN : EMBED_LEFT;
}

enum embed_verdict embed_read(const struct embed_ask *ask, struct buf *head, struct buf *inputs)
{
    struct members m = {.input_kind = JSON_NULL};
    enum embed_verdict verdict;

    if (!read_members(ask, &m)) {
        return EMBED_LEFT;
    }
    verdict = read_inputs(&m, inputs);
    if (verdict != EMBED_TAKEN) {
        return verdict;
    }
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        if (m.values[i].ptr != NULL) {
            (void)buf_append_str(head, buf_len(head) == 0 ? "{\"" : ",\"");
            (void)buf_append(head, known[ask->shape][i]);
            (void)buf_append_str(head, "\":");
            (void)buf_append(head, m.values[i]);
        }
    }
    return buf_append_str(head, ",\"input\":[") ? EMBED_TAKEN : EMBED_NO_MEMORY; /* sticky */
}

bool embed_write(struct slice head, const struct slice *inputs, size_t count, struct buf *body)
{
    (void)buf_append(body, head);
    for (size_t i = 0; i < count; i++) {
        (void)(i > 0 && buf_append_byte(body, ','));
        (void)buf_append(body, inputs[i]);
    }
    return buf_append_str(body, "]}"); /* a failure is sticky */
}

/* --- answers ---------------------------------------------------------------------------------- */

static size_t start_of(const struct json_member *m)
{
    return m->end - m->value.len;
}

static void add_cut(struct embed_answer *a, size_t start, size_t end, bool is_vectors)
{
    size_t i = a->cut_count++;

    ASSERT(i < EMBED_CUTS_MAX);
    while (i > 0 && a->cuts[i - 1].start > start) {
        a->cuts[i] = a->cuts[i - 1];
        i--;
    }
    a->cuts[i] = (struct embed_cut){start, end, is_vectors};
}

static bool read_vector(const struct embed_answer *a, const struct json_member *m, size_t offset,
                        struct embed_vector *v)
{
    struct json_member index;

    *v = (struct embed_vector){.start = offset + start_of(m), .end = offset + m->end};
    if (a->shape == EMBED_OLLAMA) {
        return m->kind == JSON_ARRAY;
    }
    if (m->kind != JSON_OBJECT) {
        return false;
    }
    if (json_find(m->value, SLICE("index"), &index) == JSON_OK) {
        v->index_start = v->start + start_of(&index);
        v->index_end = v->start + index.end;
    }
    return true;
}

/* Vectors that do not come in the order of the inputs are not put in order: nobody sends them so.
 */
static bool vector_is_at_place(const struct embed_vector *v, struct slice body, size_t place)
{
    uint64_t index;

    return v->index_end == 0 ||
           (json_uint(slice_of(body.ptr + v->index_start, v->index_end - v->index_start), &index) &&
            index == place);
}

static bool read_vectors(struct embed_answer *a, struct slice body, const struct json_member *list,
                         size_t inputs)
{
    struct json_walk w;
    struct json_member m;
    size_t count = 0;
    enum json_status status;

    if (list->kind != JSON_ARRAY || json_walk_begin(&w, list->value, JSON_ARRAY) != JSON_OK) {
        return false;
    }
    while ((status = json_walk_next(&w, &m)) == JSON_OK) {
        struct embed_vector v;

        if (!read_vector(a, &m, start_of(list), &v) || !vector_is_at_place(&v, body, count) ||
            !buf_append(&a->vectors, slice_of(&v, sizeof(v)))) {
            return false;
        }
        count++;
    }
    add_cut(a, start_of(list), list->end, true);
    return status == JSON_END && count == inputs;
}

static bool read_count(struct embed_answer *a, const struct json_member *m, size_t offset)
{
    if (!json_uint(m->value, &a->tokens)) {
        return false;
    }
    add_cut(a, offset + start_of(m), offset + m->end, false);
    return true;
}

static bool read_usage(struct embed_answer *a, const struct json_member *usage)
{
    static const struct slice names[] = {SLICE("prompt_tokens"), SLICE("total_tokens")};
    struct json_member m;

    for (size_t i = 0; i < 2; i++) {
        if (usage->kind == JSON_OBJECT && json_find(usage->value, names[i], &m) == JSON_OK &&
            !read_count(a, &m, start_of(usage))) {
            return false;
        }
    }
    return true;
}

bool embed_answer_read(struct embed_answer *a, enum embed_shape shape, struct slice body,
                       size_t inputs)
{
    bool openai = shape == EMBED_OPENAI;
    struct json_member vectors, count;

    *a = (struct embed_answer){.shape = shape};
    if (json_validate(body, NULL) != JSON_OK) {
        return false;
    }
    if (json_find(body, openai ? SLICE("data") : SLICE("embeddings"), &vectors) != JSON_OK ||
        !read_vectors(a, body, &vectors, inputs)) {
        return false;
    }
    if (json_find(body, openai ? SLICE("usage") : SLICE("prompt_eval_count"), &count) != JSON_OK) {
        return true;
    }
    return openai ? read_usage(a, &count) : read_count(a, &count, 0);
}

void embed_answer_fini(struct embed_answer *a)
{
    buf_fini(&a->vectors);
}

bool embed_write_vector(struct embed_writer *w, struct slice body, const struct embed_vector *at)
{
    size_t from = at->start;

    (void)(w->written > 0 && buf_append_byte(w->out, ','));
    if (at->index_end != 0) {
        (void)buf_append(w->out, slice_of(body.ptr + from, at->index_start - from));
        (void)buf_append_uint(w->out, w->written);
        from = at->index_end;
    }
    w->written++;
    return buf_append(w->out, slice_of(body.ptr + from, at->end - from)); /* sticky */
}

bool embed_write_answer(const struct embed_answer *a, struct slice body, struct slice vectors,
                        uint64_t tokens, struct buf *out)
{
    size_t from = 0;

    for (size_t i = 0; i < a->cut_count; i++) {
        const struct embed_cut *cut = &a->cuts[i];

        (void)buf_append(out, slice_of(body.ptr + from, cut->start - from));
        if (cut->is_vectors) {
            (void)buf_append_byte(out, '[');
            (void)buf_append(out, vectors);
            (void)buf_append_byte(out, ']');
        } else {
            (void)buf_append_uint(out, tokens);
        }
        from = cut->end;
    }
    return buf_append(out, slice_skip(body, from)); /* sticky */
}
