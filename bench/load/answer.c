/* SPDX-License-Identifier: Apache-2.0 */
#include "load/answer.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

bool answer_init(struct answer *a, const char *model, const char *text, size_t count)
{
    *a = (struct answer){.model = model, .text = text, .count = count};
    a->parts = calloc(count, sizeof(*a->parts));
    return a->parts != NULL;
}

void answer_fini(struct answer *a)
{
    for (size_t i = 0; a->parts != NULL && i < a->count; i++) {
        buf_fini(&a->parts[i].bytes);
        buf_fini(&a->parts[i].text);
    }
    free(a->parts);
    a->parts = NULL;
}

static enum answer_verdict wrong(struct answer *a, const char *what, size_t index,
                                 struct slice part)
{
    (void)snprintf(a->why, sizeof(a->why), "%s in part %zu: %.*s", what, index,
                   part.len < 80 ? (int)part.len : 80, part.ptr);
    return ANSWER_WRONG;
}

static struct slice string_of(yyjson_val *object, const char *name)
{
    yyjson_val *v = yyjson_obj_get(object, name);

    return slice_of(yyjson_get_str(v), yyjson_get_len(v));
}

/* Whether `text` goes on where the parts before `index` ended, and ends with the last part. */
static bool text_fits(const struct answer *a, size_t index, struct slice text)
{
    const struct answer_part *p = &a->parts[index];
    size_t begin = 0, len;

    if (buf_len(&p->bytes) > 0) {
        return slice_eq(text, buf_slice(&p->text));
    }
    if (a->text == NULL) {
        return true;
    }
    for (size_t i = 0; i < index; i++) {
        begin += buf_len(&a->parts[i].text);
    }
    len = strlen(a->text);
    return begin + text.len <= len && memcmp(a->text + begin, text.ptr, text.len) == 0 &&
           (index + 1 < a->count || begin + text.len == len);
}

static const char *judge(const struct answer *a, size_t index, yyjson_val *root, struct slice *text)
{
    yyjson_val *done = yyjson_obj_get(root, "done");

    if (!yyjson_is_obj(root)) {
        return "no JSON object";
    }
    if (yyjson_obj_get(root, "error") != NULL) {
        return "an error";
    }
    if (!slice_eq(string_of(root, "model"), slice_str(a->model))) {
        return "another model";
    }
    if (!yyjson_is_bool(done) || yyjson_get_bool(done) != (index + 1 == a->count)) {
        return index + 1 == a->count ? "no end" : "an early end";
    }
    *text = string_of(root, "response");
    if (text->ptr == NULL || !text_fits(a, index, *text)) {
        return "another text";
    }
    return NULL;
}

static bool keep(struct answer_part *p, struct slice part, struct slice text)
{
    buf_clear(&p->bytes);
    buf_clear(&p->text);
    return buf_append(&p->text, text) && buf_append(&p->bytes, part);
}

enum answer_verdict answer_check(struct answer *a, size_t index, struct slice part)
{
    struct slice text = {0};
    const char *what;
    yyjson_doc *doc;

    if (index >= a->count) {
        return wrong(a, "more than was asked for", index, part);
    }
    if (part.len == 0 || !slice_eq(part, buf_slice(&a->parts[index].bytes))) {
        doc = yyjson_read(part.ptr, part.len, 0);
        what = judge(a, index, yyjson_doc_get_root(doc), &text);
        if (what == NULL && !keep(&a->parts[index], part, text)) {
            what = "out of memory";
        }
        yyjson_doc_free(doc);
        if (what != NULL) {
            return wrong(a, what, index, part);
        }
    }
    return index + 1 == a->count ? ANSWER_LAST : ANSWER_MORE;
}

static const char *judge_vector(const struct answer *a, yyjson_val *root, yyjson_val **vector)
{
    yyjson_val *vectors = yyjson_obj_get(root, "embeddings");

    *vector = yyjson_arr_get_first(vectors);
    if (!yyjson_is_obj(root) || yyjson_arr_size(vectors) != 1 || yyjson_arr_size(*vector) == 0) {
        return "not one vector";
    }
    if (!slice_eq(string_of(root, "model"), slice_str(a->model))) {
        return "another model";
    }
    return yyjson_get_uint(yyjson_obj_get(root, "prompt_eval_count")) > 0 ? NULL : "no tokens";
}

enum answer_verdict answer_check_vector(struct answer *a, struct slice part)
{
    yyjson_doc *doc = yyjson_read(part.ptr, part.len, 0);
    yyjson_val *vector;
    const char *what = judge_vector(a, yyjson_doc_get_root(doc), &vector);
    char *text = what == NULL ? yyjson_val_write(vector, 0, NULL) : NULL;

    if (what == NULL && text == NULL) {
        what = "out of memory";
    } else if (what == NULL && slice_eq(slice_str(text), buf_slice(&a->parts[0].text))) {
        what = "the vector of another text";
    } else if (what == NULL && !keep(&a->parts[0], part, slice_str(text))) {
        what = "out of memory";
    }
    free(text);
    yyjson_doc_free(doc);
    return what == NULL ? ANSWER_LAST : wrong(a, what, 0, part);
}
