/* SPDX-License-Identifier: Apache-2.0 */
/* Walks docs/openai-nodes.md: every row of its tables is run, and the rows are all of Ollama's
 * fields. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "openai_help.h"
#include "openai_page.h"

static bool is_in(const char *const *names, const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_row(const struct page *page, const char *section, const char *field)
{
    for (size_t i = 0; i < page->count; i++) {
        if (strcmp(page->rows[i].section, section) == 0 &&
            strcmp(FIELD(&page->rows[i]), field) == 0) {
            return true;
        }
    }
    return false;
}

static void every_field_has_a_row(void **state)
{
    (void)state;
    for (const char *const *s = page_sections(); *s != NULL; s++) {
        for (const char *const *f = page_fields(*s); *f != NULL; f++) {
            if (!has_row(page_read(), *s, *f)) {
                fail_msg("%s: no row for %s", *s, *f);
            }
        }
    }
}

static void every_row_is_a_field(void **state)
{
    const struct page *page = page_read();

    (void)state;
    assert_true(page->count > 200);
    for (size_t i = 0; i < page->count; i++) {
        if (!is_in(page_fields(page->rows[i].section), FIELD(&page->rows[i]))) {
            fail_msg("%s: Ollama has no %s", page->rows[i].section, FIELD(&page->rows[i]));
        }
    }
}

static bool is_how(const struct page_row *r, const char *how)
{
    return strcmp(HOW(r), how) == 0;
}

static bool is_section(const struct page_row *r, const char *prefix)
{
    return strncmp(r->section, prefix, strlen(prefix)) == 0;
}

static void row_failed(const struct page_row *r, const char *why)
{
    fail_msg("docs/openai-nodes.md, %s: `%s` %s: %s", r->section, FIELD(r), HOW(r), why);
}

/* What a mapped row says of the node, another one does not. */
static void rows_are_well_formed(void **state)
{
    const struct page *page = page_read();

    (void)state;
    for (size_t i = 0; i < page->count; i++) {
        const struct page_row *r = &page->rows[i];
        bool is_mapped = is_how(r, "mapped");
        bool is_value = is_mapped || is_how(r, "measured") || is_how(r, "fixed");

        if (is_mapped != (NODE(r)[0] != '\0')) {
            row_failed(r, "only what is mapped, and all of it, has a field of the node");
        }
        if ((!is_value || strcmp(NODE(r), "none") == 0) && WANT(r)[0] != '\0') {
            row_failed(r, "it has no value");
        }
        if (is_mapped && strcmp(WANT(r), "absent") == 0) {
            bool is_sent_else = false;

            for (size_t j = 0; j < page->count; j++) {
                const struct page_row *other = &page->rows[j];

                is_sent_else = is_sent_else || (strcmp(other->section, r->section) == 0 &&
                                                strcmp(FIELD(other), FIELD(r)) == 0 &&
                                                strcmp(NODE(other), NODE(r)) == 0 &&
                                                strcmp(WANT(other), "absent") != 0);
            }
            if (!is_sent_else) {
                row_failed(r, "no other value is sent in that field");
            }
        }
    }
}

/* --- requests
 * ------------------------------------------------------------------------------------- */

struct member {
    const char *key;
    const char *value;
};

static const struct base {
    const char *section;
    enum op op;
    struct member members[4];
} bases[] = {
    {"generate: ", OP_GENERATE, {{"model", "\"m\""}, {"prompt", "\"hi\""}}},
    {"generate with raw", OP_GENERATE, {{"model", "\"m\""}, {"prompt", "\"hi\""}, {"raw", "true"}}},
    {"chat",
     OP_CHAT,
     {{"model", "\"m\""}, {"messages", "[{\"role\":\"user\",\"content\":\"hi\"}]"}}},
    {"options",
     OP_CHAT,
     {{"model", "\"m\""}, {"messages", "[{\"role\":\"user\",\"content\":\"hi\"}]"}}},
    {"embed: ", OP_EMBED, {{"model", "\"m\""}, {"input", "\"hi\""}}},
    {"embeddings", OP_EMBEDDINGS, {{"model", "\"m\""}, {"prompt", "\"hi\""}}},
};

static const struct base *base_of(const struct page_row *r)
{
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        if (is_section(r, bases[i].section)) {
            return &bases[i];
        }
    }
    row_failed(r, "no such section");
    return NULL;
}

/* The value of `path` ("[].tool_calls[].id", "" at its end) with the leaf; "" for no leaf. A
 * message has role and content besides: the last one of two members counts. */
static void append_nested(struct buf *out, const char *path, const char *leaf)
{
    if (*path == '\0') {
        (void)buf_append_str(out, leaf);
    } else if (strncmp(path, "[]", 2) == 0) {
        (void)buf_append_byte(out, '[');
        append_nested(out, path + 2, leaf);
        (void)buf_append_byte(out, ']');
    } else {
        size_t len = strcspn(path + 1, ".[");

        (void)buf_append_str(out, "{\"role\":\"user\",\"content\":\"hi\",\"function\":{}");
        if (leaf[0] != '\0' || path[1 + len] != '\0') {
            (void)buf_printf(out, ",\"%.*s\":", (int)len, path + 1);
            append_nested(out, path + 1 + len, leaf);
        }
        (void)buf_append_byte(out, '}');
    }
}

/* The section's base request with the field set to `leaf`, without it where that is "". */
static void build_request(const struct page_row *r, const char *leaf, struct buf *out)
{
    const struct base *b = base_of(r);
    char field[PAGE_TEXT];
    size_t len;

    (void)snprintf(field, sizeof(field), "%s%.512s", is_section(r, "options") ? "options." : "",
                   FIELD(r));
    len = strcspn(field, ".[");
    (void)buf_append_byte(out, '{');
    for (const struct member *m = b->members; m->key != NULL; m++) {
        if (strlen(m->key) != len || strncmp(m->key, field, len) != 0) {
            (void)buf_printf(out, "\"%s\":%s,", m->key, m->value);
        }
    }
    if (strcmp(field, "top_logprobs") == 0) { /* means nothing alone */
        (void)buf_append_str(out, "\"logprobs\":true,");
    }
    if (leaf[0] != '\0' || field[len] != '\0') {
        (void)buf_printf(out, "\"%.*s\":", (int)len, field);
        append_nested(out, field + len, leaf);
    } else {
        out->tail--; /* the comma */
    }
    (void)buf_append(out, slice_of("}", 2));
    assert_false(buf_failed(out));
}

static void ask_row(const struct page_row *r, const char *leaf, struct asked *a)
{
    struct buf json = {0};

    build_request(r, leaf, &json);
    ask(a, base_of(r)->op, buf_slice(&json).ptr, "");
    buf_fini(&json);
}

static void run_mapped_request(const struct page_row *r)
{
    struct asked a;

    ask_row(r, SAMPLE(r), &a);
    if (a.rv != OPENAI_SEND) {
        row_failed(r, a.e.text);
    }
    if (strcmp(NODE(r), "path") == 0) {
        char path[PAGE_TEXT];

        (void)snprintf(path, sizeof(path), "\"%.*s\"", SLICE_ARG(buf_slice(&a.path)));
        assert_string_equal(path, WANT(r));
    } else {
        assert_at(a.doc, NODE(r), strcmp(WANT(r), "absent") == 0 ? NULL : WANT(r));
    }
    asked_fini(&a);
}

static void run_ignored_request(const struct page_row *r)
{
    struct asked with;
    struct asked without;

    ask_row(r, SAMPLE(r), &with);
    ask_row(r, "", &without);
    if (with.rv != OPENAI_SEND || without.rv != OPENAI_SEND) {
        row_failed(r, with.e.text);
    }
    if (!slice_eq(buf_slice(&with.body), buf_slice(&without.body)) ||
        !slice_eq(buf_slice(&with.path), buf_slice(&without.path))) {
        row_failed(r, "it changes the request");
    }
    asked_fini(&with);
    asked_fini(&without);
}

static void run_refused_request(const struct page_row *r)
{
    struct asked a;

    ask_row(r, SAMPLE(r), &a);
    if (a.rv != MCP_EUNSUPPORTED_OP && a.rv != MCP_EBAD_REQUEST) {
        row_failed(r, "it is not refused");
    }
    if (strstr(a.e.text, FIELD(r)) == NULL) {
        row_failed(r, a.e.text);
    }
    asked_fini(&a);
}

static void requests_are_as_listed(void **state)
{
    const struct page *page = page_read();

    (void)state;
    for (size_t i = 0; i < page->count; i++) {
        const struct page_row *r = &page->rows[i];

        if (strstr(r->section, "response") != NULL || is_section(r, "show")) {
            continue; /* show's request is not translated: it only chooses the model */
        }
        if (is_how(r, "mapped") && strcmp(NODE(r), "none") != 0) {
            run_mapped_request(r);
        } else if (is_how(r, "mapped") || is_how(r, "ignored")) {
            run_ignored_request(r);
        } else if (is_how(r, "refused")) {
            run_refused_request(r);
        } else {
            row_failed(r, "not one of mapped, ignored, refused");
        }
    }
}

/* --- answers
 * ---------------------------------------------------------------------------------------- */

/* What the node sends: three events of a stream or one whole body, each at its time. */
struct answer {
    yyjson_mut_doc *node[4];
    yyjson_doc *native[5];
    size_t native_count;
};

static yyjson_mut_doc *mutable(const char *json)
{
    yyjson_doc *doc = parse(slice_str(json));
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);

    assert_non_null(copy);
    yyjson_doc_free(doc);
    return copy;
}

/* Sets the value at "a[0].b", making what leads there. */
static void set_at(yyjson_mut_doc *doc, const char *path, const char *json)
{
    yyjson_mut_doc *value = mutable(json);
    yyjson_mut_val *at = yyjson_mut_doc_get_root(doc);

    while (true) {
        size_t len = strcspn(path, ".[");
        bool in_list = path[len] == '[';
        const char *rest = path + len + (in_list ? 3 : 0); /* always [0] */
        yyjson_mut_val *key = yyjson_mut_strncpy(doc, path, len);
        yyjson_mut_val *next = yyjson_mut_obj_getn(at, path, len);

        if (*rest == '\0' && !in_list) {
            next = yyjson_mut_val_mut_copy(doc, yyjson_mut_doc_get_root(value));
            assert_true(yyjson_mut_obj_put(at, key, next));
            break;
        }
        if (next == NULL) {
            next = in_list ? yyjson_mut_arr(doc) : yyjson_mut_obj(doc);
            assert_true(yyjson_mut_obj_put(at, key, next));
        }
        if (in_list && *rest == '\0') {
            next = yyjson_mut_val_mut_copy(doc, yyjson_mut_doc_get_root(value));
            assert_true(yyjson_mut_arr_replace(yyjson_mut_obj_getn(at, path, len), 0, next) !=
                        NULL);
            break;
        }
        if (in_list) {
            if (yyjson_mut_arr_size(next) == 0) {
                assert_true(yyjson_mut_arr_append(next, yyjson_mut_obj(doc)));
            }
            next = yyjson_mut_arr_get_first(next);
        }
        at = next;
        path = rest + (*rest == '.');
    }
    yyjson_mut_doc_free(value);
}

static char *text_of(yyjson_mut_doc *doc)
{
    char *text = yyjson_mut_write(doc, 0, NULL);

    assert_non_null(text);
    return text;
}

static void answer_fini(struct answer *a)
{
    for (size_t i = 0; i < 4; i++) {
        yyjson_mut_doc_free(a->node[i]);
    }
    for (size_t i = 0; i < a->native_count; i++) {
        yyjson_doc_free(a->native[i]);
    }
}

/* `factor` 1: pieces after 100 and 400 ms, the end after 500. */
static void run_stream(const struct page_row *r, struct answer *a, uint64_t factor, bool with)
{
    static const char *const chat[] = {"{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}",
                                       "{\"choices\":[{\"delta\":{\"content\":\"y\"}}]}"};
    static const char *const raw[] = {"{\"choices\":[{\"text\":\"x\"}]}",
                                      "{\"choices\":[{\"text\":\"y\"}]}"};
    static const uint64_t at_us[] = {100000, 400000, 450000, 500000};
    static const char chat_request[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                                       "\"logprobs\":true,\"top_logprobs\":2}";
    static const char *const request[] = {
        "{\"prompt\":\"hi\",\"logprobs\":true,\"top_logprobs\":2}",
        "{\"prompt\":\"hi\",\"logprobs\":true,\"top_logprobs\":2,\"raw\":true}", chat_request};
    bool is_raw = is_section(r, "generate with raw");
    bool is_chat = is_section(r, "chat");
    struct asked q;
    int rv = 0;

    a->node[0] = mutable((is_raw ? raw : chat)[0]);
    a->node[1] = mutable((is_raw ? raw : chat)[1]);
    a->node[2] = mutable("{\"choices\":[{\"finish_reason\":\"stop\"}]}");
    a->node[3] =
        mutable("{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}");
    if (is_how(r, "mapped")) {
        size_t which = strstr(NODE(r), "finish_reason") != NULL ? 2
                       : strncmp(NODE(r), "choices", 7) == 0    ? 0
                                                                : 3;

        if (with || which == 2) {
            set_at(a->node[which], NODE(r), with ? SAMPLE(r) : "null");
        }
    }
    ask(&q, is_chat ? OP_CHAT : OP_GENERATE, request[is_chat ? 2 : is_raw ? 1 : 0], "");
    assert_int_equal(q.rv, OPENAI_SEND);
    for (size_t i = 0; i < 4; i++) {
        char *data = text_of(a->node[i]);

        rv = event(q.call, data, at_us[i] * factor, &a->native[a->native_count]);
        free(data);
        a->native_count += rv == OPENAI_PART || rv == OPENAI_LAST;
    }
    if (rv != OPENAI_LAST && (with || !is_how(r, "mapped"))) {
        row_failed(r, "the answer has no last part");
    }
    asked_fini(&q);
}

static void run_embed(const struct page_row *r, struct answer *a, uint64_t factor, bool with)
{
    bool legacy = is_section(r, "embeddings");
    struct asked q;
    char *body;

    a->node[0] =
        mutable("{\"data\":[{\"index\":0,\"embedding\":[1,0]}],\"usage\":{\"prompt_tokens\":1}}");
    if (with) {
        set_at(a->node[0], NODE(r), SAMPLE(r));
    }
    ask(&q, legacy ? OP_EMBEDDINGS : OP_EMBED, legacy ? "{\"prompt\":\"a\"}" : "{\"input\":\"a\"}",
        "");
    body = text_of(a->node[0]);
    assert_int_equal(whole(q.call, slice_str(body), 500000 * factor, &a->native[0]), OPENAI_LAST);
    a->native_count = 1;
    free(body);
    asked_fini(&q);
}

static void run_models(const struct page_row *r, struct answer *a, uint64_t factor, bool with)
{
    struct buf out = {0};
    struct openai_clock at = clock_after(500000 * factor);
    char *models;
    char *props;
    int rv;

    a->node[0] = mutable("{\"data\":[{\"id\":\"gemma3:270m\",\"created\":1767000000,"
                         "\"owned_by\":\"x\",\"meta\":{}}],"
                         "\"models\":[{\"name\":\"gemma3:270m\"}]}");
    a->node[1] = mutable("{}");
    if (with) {
        const char *path = NODE(r);
        bool of_props = strncmp(path, "props `", 7) == 0;
        char name[PAGE_TEXT];

        (void)snprintf(name, sizeof(name), "%s", of_props ? path + 7 : path);
        name[strcspn(name, "`")] = '\0';
        set_at(a->node[of_props ? 1 : 0], name, SAMPLE(r));
    }
    models = text_of(a->node[0]);
    props = text_of(a->node[1]);
    if (is_section(r, "tags")) {
        rv = openai_tags(slice_str(models), at, &out);
    } else if (is_section(r, "ps")) {
        rv = openai_ps(slice_str(models), at, &out);
    } else if (is_section(r, "show")) {
        rv = openai_show(slice_str(models), slice_str(props), SLICE("gemma3:270m"), at, &out);
    } else {
        rv = openai_version(&out);
    }
    assert_int_equal(rv, 0);
    a->native[0] = parse(buf_slice(&out));
    a->native_count = 1;
    assert_non_null(a->native[0]);
    free(models);
    free(props);
    buf_fini(&out);
}

/* `with`: with the row's sample, which only mapped rows have. */
static void run_answer(const struct page_row *r, struct answer *a, uint64_t factor, bool with)
{
    *a = (struct answer){0};
    if (is_section(r, "generate") || is_section(r, "chat")) {
        run_stream(r, a, factor, with);
    } else if (is_section(r, "embed")) {
        run_embed(r, a, factor, with);
    } else {
        run_models(r, a, factor, with);
    }
}

/* "models[].name" as "models[0].name". */
static void path_of(const struct page_row *r, char *path, size_t size)
{
    struct buf text = {0};

    for (const char *p = FIELD(r); *p != '\0'; p++) {
        (void)buf_append_str(&text, *p == ']' ? "0" : "");
        (void)buf_append_byte(&text, *p);
    }
    (void)snprintf(path, size, "%.*s", SLICE_ARG(buf_slice(&text)));
    buf_fini(&text);
}

/* Whether some part has the value at the row's field; any value where `json` is NULL. */
static bool has_value(const struct page_row *r, const struct answer *a, const char *json)
{
    yyjson_doc *want = json == NULL ? NULL : parse(slice_str(json));
    char path[PAGE_TEXT];
    bool found = false;

    path_of(r, path, sizeof(path));
    for (size_t i = 0; i < a->native_count; i++) {
        yyjson_val *val = at_path(yyjson_doc_get_root(a->native[i]), path);

        found =
            found || (json == NULL ? val != NULL : yyjson_equals(val, yyjson_doc_get_root(want)));
    }
    yyjson_doc_free(want);
    return found;
}

static void run_row(const struct page_row *r)
{
    bool is_mapped = is_how(r, "mapped");
    bool is_absent = is_how(r, "absent");
    struct answer a;
    struct answer other;

    run_answer(r, &a, 1, is_mapped);
    if (has_value(r, &a, is_absent ? NULL : WANT(r)) == is_absent) {
        row_failed(r, yyjson_write(a.native[a.native_count - 1], 0, NULL));
    }
    run_answer(r, &other, is_mapped ? 1 : 2, false);
    if (is_mapped && has_value(r, &other, WANT(r))) {
        row_failed(r, "it has that value also when the node does not say so");
    }
    if (!is_mapped && !is_absent && has_value(r, &other, WANT(r)) == is_how(r, "measured")) {
        row_failed(r, "another clock changes what is measured, and only that");
    }
    answer_fini(&a);
    answer_fini(&other);
}

static void answers_are_as_listed(void **state)
{
    const struct page *page = page_read();

    (void)state;
    for (size_t i = 0; i < page->count; i++) {
        const struct page_row *r = &page->rows[i];

        if (strstr(r->section, "response") == NULL) {
            continue;
        }
        if (!is_how(r, "mapped") && !is_how(r, "measured") && !is_how(r, "fixed") &&
            !is_how(r, "absent")) {
            row_failed(r, "not one of mapped, measured, fixed, absent");
        }
        run_row(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_a_row), cmocka_unit_test(every_row_is_a_field),
        cmocka_unit_test(rows_are_well_formed), cmocka_unit_test(requests_are_as_listed),
        cmocka_unit_test(answers_are_as_listed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
