/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yyjson.h>

#include "codec/request.h"
#include "json_gen.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void join(const struct request_pieces *pieces, struct buf *out)
{
    size_t len = 0;

    buf_clear(out);
    assert_true(pieces->count <= REQUEST_PIECES_MAX);
    for (size_t i = 0; i < pieces->count; i++) {
        assert_true(pieces->pieces[i].len > 0);
        assert_true(buf_append(out, pieces->pieces[i]));
        len += pieces->pieces[i].len;
    }
    assert_int_equal(len, pieces->len_bytes);
}

static void assert_forwards(const char *body, const struct request_edits *edits, const char *wanted)
{
    struct request_pieces pieces;
    struct request r;
    struct buf out;
    struct err e;

    buf_init(&out, 0);
    assert_int_equal(request_read(&r, slice_str(body), REQUEST_FROM_HTTP, &e), MCP_OK);
    request_forward(&r, edits, &pieces);
    join(&pieces, &out);
    if (!slice_eq(buf_slice(&out), slice_str(wanted))) {
        fail_msg("%s became %.*s", body, SLICE_ARG(buf_slice(&out)));
    }
    buf_fini(&out);
}

static void nothing_to_do(void **state)
{
    const struct request_edits none = {0};
    struct slice body = SLICE(" { \"a\" : 1.50 , \"model\":\"m\" }\n");
    struct request_pieces pieces;
    struct request r;
    struct err e;

    (void)state;
    assert_forwards("{}", &none, "{}");
    assert_forwards(body.ptr, &none, body.ptr);
    assert_int_equal(request_read(&r, body, REQUEST_FROM_HTTP, &e), MCP_OK);
    request_forward(&r, &none, &pieces);
    assert_ptr_equal(pieces.pieces[0].ptr, body.ptr);
}

static void mcp_is_cut(void **state)
{
    const struct request_edits none = {0};

    (void)state;
    assert_forwards("{\"mcp\":{\"auth\":\"k\"}}", &none, "{}");
    assert_forwards("{ \"mcp\" : 1 }", &none, "{  }");
    assert_forwards("{\"mcp\":{},\"a\":1}", &none, "{\"a\":1}");
    assert_forwards("{ \"mcp\":{} , \"a\":1}", &none, "{ \"a\":1}");
    assert_forwards("{\"a\":1,\"mcp\":{}}", &none, "{\"a\":1}");
    assert_forwards("{\"a\":1 , \"mcp\":{} }", &none, "{\"a\":1 }");
    assert_forwards("{\"a\":1, \"mcp\":{}, \"b\":2}", &none, "{\"a\":1, \"b\":2}");
}

static void edits_are_made(void **state)
{
    const struct request_edits model = {.model = SLICE("\"x\"")};
    const struct request_edits options = {.options = SLICE("{\"seed\":1}")};
    const struct request_edits pinned = {.options = SLICE("{\"seed\":1}"), .options_replace = true};
    const struct request_edits stream = {.stream = SLICE("false")};
    const struct request_edits all = {.model = SLICE("\"x\""),
                                      .options = SLICE("{}"),
                                      .stream = SLICE("true"),
                                      .stream_options = SLICE("{\"include_usage\":true}")};

    (void)state;
    assert_forwards("{}", &model, "{\"model\":\"x\"}");
    assert_forwards("{\"mcp\":{}}", &model, "{\"model\":\"x\"}");
    assert_forwards("{\"a\":1}", &model, "{\"model\":\"x\",\"a\":1}");
    assert_forwards("{\"a\":1,\"mcp\":{}}", &model, "{\"model\":\"x\",\"a\":1}");
    assert_forwards("{\"mcp\":{},\"a\":1}", &model, "{\"model\":\"x\",\"a\":1}");
    assert_forwards("{\"a\":1,\"model\" : \"old\" }", &model, "{\"a\":1,\"model\" : \"x\" }");
    assert_forwards("{\"model\":null}", &model, "{\"model\":\"x\"}");
    assert_forwards("{\"model\":[1,2]}", &model, "{\"model\":\"x\"}");
    assert_forwards("{\"a\":1}", &options, "{\"options\":{\"seed\":1},\"a\":1}");
    assert_forwards("{\"options\":{}}", &options, "{\"options\":{}}");
    assert_forwards("{\"options\":null}", &options, "{\"options\":{\"seed\":1}}");
    assert_forwards("{\"a\":1,\"options\":{\"seed\":2},\"b\":2}", &pinned,
                    "{\"a\":1,\"options\":{\"seed\":1},\"b\":2}");
    assert_forwards("{}", &pinned, "{\"options\":{\"seed\":1}}");
    assert_forwards("{\"stream\":true}", &stream, "{\"stream\":false}");
    assert_forwards("{\"x\":0}", &all,
                    "{\"model\":\"x\",\"options\":{},\"stream\":true,"
                    "\"stream_options\":{\"include_usage\":true},\"x\":0}");
    /* As many pieces as there can be. */
    assert_forwards("{\"options\":null,\"a\":1,\"stream\":1,\"stream_options\":2,\"b\":3,\"mcp\":4,"
                    "\"c\":5}",
                    &all,
                    "{\"model\":\"x\",\"options\":{},\"a\":1,\"stream\":true,\"stream_options\":"
                    "{\"include_usage\":true},\"b\":3,\"c\":5}");
}

/* --- random bodies --- */

enum { MEMBERS_MAX = 8, BLANKS = 4 };

/* One member with the blanks before the key, before and behind the colon, and behind the value. */
struct member {
    const char *key;
    struct buf value;
    struct buf blanks[BLANKS];
};

struct body {
    struct member members[MEMBERS_MAX];
    size_t count;
    struct buf inside; /* between the brackets when there is no member */
    struct buf head;
    struct buf tail;
};

static const char *const edited[] = {"\"model\"", "\"options\"", "\"stream\"",
                                     "\"stream_options\""};

static void each_buf(struct body *b, void (*call)(struct buf *))
{
    for (size_t i = 0; i < MEMBERS_MAX; i++) {
        call(&b->members[i].value);
        for (size_t n = 0; n < BLANKS; n++) {
            call(&b->members[i].blanks[n]);
        }
    }
    call(&b->inside);
    call(&b->head);
    call(&b->tail);
}

static bool has_key(const struct body *b, const char *key)
{
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->members[i].key, key) == 0) {
            return true;
        }
    }
    return false;
}

static void make_body(struct json_gen *g, struct body *b)
{
    static const char *const guarded[] = {"\"model\"",  "\"options\"", "\"stream\"",
                                          "\"mcp\"",    "\"mcp\"",     "\"stream_options\"",
                                          "\"prompt\"", "\"messages\""};
    static const char *const others[] = {"\"x\"", "\"\\u0078\"", "\"X\"",      "\"\"",
                                         "\"é\"", "\"think\"",   "\"models\"", "\"mcp \""};
    size_t wanted = json_gen_pick(g, MEMBERS_MAX + 1);

    each_buf(b, buf_clear);
    b->count = 0;
    json_gen_blanks(g, &b->inside);
    json_gen_blanks(g, &b->head);
    json_gen_blanks(g, &b->tail);
    for (size_t i = 0; i < wanted; i++) {
        struct member *m = &b->members[b->count];
        bool is_guarded = json_gen_pick(g, 3) > 0;

        m->key = is_guarded ? guarded[json_gen_pick(g, COUNT(guarded))]
                            : others[json_gen_pick(g, COUNT(others))];
        if (is_guarded && has_key(b, m->key)) {
            continue;
        }
        for (size_t n = 0; n < BLANKS; n++) {
            json_gen_blanks(g, &m->blanks[n]);
        }
        json_gen_value(g, &m->value, 3);
        b->count++;
    }
}

static void add(struct buf *out, struct slice s)
{
    assert_true(buf_append(out, s));
}

static void add_member(struct buf *out, const struct member *m, struct slice value)
{
    add(out, slice_str(m->key));
    add(out, buf_slice(&m->blanks[1]));
    add(out, SLICE(":"));
    add(out, buf_slice(&m->blanks[2]));
    add(out, value);
}

static void write_body(const struct body *b, struct buf *out)
{
    buf_clear(out);
    add(out, buf_slice(&b->head));
    add(out, SLICE("{"));
    for (size_t i = 0; i < b->count; i++) {
        add(out, i == 0 ? SLICE("") : SLICE(","));
        add(out, buf_slice(&b->members[i].blanks[0]));
        add_member(out, &b->members[i], buf_slice(&b->members[i].value));
        add(out, buf_slice(&b->members[i].blanks[3]));
    }
    add(out, b->count == 0 ? buf_slice(&b->inside) : SLICE(""));
    add(out, SLICE("}"));
    add(out, buf_slice(&b->tail));
}

/* What an edit sets in place of the member's value; NULL: it stays. */
static struct slice new_value(const struct member *m, const struct slice values[])
{
    for (size_t i = 0; i < COUNT(edited); i++) {
        if (strcmp(m->key, edited[i]) == 0 &&
            (i != 1 || slice_eq(buf_slice(&m->value), SLICE("null")))) {
            return values[i];
        }
    }
    return (struct slice){NULL, 0};
}

/* The members before `mcp` keep their blanks, except that the last of them loses what is behind it
 * when nothing comes after `mcp`. */
static void write_members(const struct body *b, const struct slice values[], struct buf *out)
{
    bool behind_mcp = false;

    for (size_t i = 0; i < b->count; i++) {
        const struct member *m = &b->members[i];
        struct slice value = new_value(m, values);
        bool is_mcp = strcmp(m->key, "\"mcp\"") == 0;
        bool is_last = i + 1 == b->count;
        bool mcp_ends_it = i + 2 == b->count && strcmp(b->members[i + 1].key, "\"mcp\"") == 0;

        if (!(is_mcp && is_last && i > 0) && !behind_mcp) {
            add(out, i == 0 ? SLICE("") : SLICE(","));
            add(out, buf_slice(&m->blanks[0]));
        }
        if (!is_mcp) {
            add_member(out, m, value.ptr == NULL ? buf_slice(&m->value) : value);
        }
        if (is_mcp ? is_last : !mcp_ends_it) {
            add(out, buf_slice(&m->blanks[3]));
        }
        behind_mcp = is_mcp;
    }
    add(out, b->count == 0 ? buf_slice(&b->inside) : SLICE(""));
}

static void write_wanted(const struct body *b, const struct slice values[], struct buf *out)
{
    size_t rest = b->count - (has_key(b, "\"mcp\"") ? 1 : 0);
    bool added = false;

    buf_clear(out);
    add(out, buf_slice(&b->head));
    add(out, SLICE("{"));
    for (size_t i = 0; i < COUNT(edited); i++) {
        if (values[i].ptr != NULL && !has_key(b, edited[i])) {
            add(out, added ? SLICE(",") : SLICE(""));
            add(out, slice_str(edited[i]));
            add(out, SLICE(":"));
            add(out, values[i]);
            added = true;
        }
    }
    add(out, added && rest > 0 ? SLICE(",") : SLICE(""));
    write_members(b, values, out);
    add(out, SLICE("}"));
    add(out, buf_slice(&b->tail));
}

static yyjson_doc *parse(struct slice text)
{
    char *copy = malloc(text.len);
    yyjson_doc *doc;

    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    doc = yyjson_read_opts(copy, text.len, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    free(copy);
    assert_non_null(doc);
    return doc;
}

/* Takes the next member off, and checks its value against the text that it should come from. */
static void take(yyjson_obj_iter *members, struct slice value)
{
    yyjson_val *key = yyjson_obj_iter_next(members);
    yyjson_doc *wanted = parse(value);
    char *left;
    char *right;

    assert_non_null(key);
    left = yyjson_val_write(yyjson_obj_iter_get_val(key), 0, NULL);
    right = yyjson_write(wanted, 0, NULL);
    assert_non_null(left);
    assert_string_equal(left, right);
    free(left);
    free(right);
    yyjson_doc_free(wanted);
}

/* yyjson finds the same members, minus mcp, plus the edits. */
static void assert_same_value(const struct body *b, const struct slice values[], struct slice text)
{
    yyjson_doc *doc = parse(text);
    yyjson_obj_iter members;

    assert_true(yyjson_obj_iter_init(yyjson_doc_get_root(doc), &members));
    for (size_t i = 0; i < COUNT(edited); i++) {
        if (values[i].ptr != NULL && !has_key(b, edited[i])) {
            take(&members, values[i]);
        }
    }
    for (size_t i = 0; i < b->count; i++) {
        struct slice value = new_value(&b->members[i], values);

        if (strcmp(b->members[i].key, "\"mcp\"") != 0) {
            take(&members, value.ptr == NULL ? buf_slice(&b->members[i].value) : value);
        }
    }
    assert_null(yyjson_obj_iter_next(&members));
    yyjson_doc_free(doc);
}

static void random_bodies(void **state)
{
    static struct body b;
    struct json_gen g = {.state = 4711, .paired = true};
    struct buf text = {0};
    struct buf got = {0};
    struct buf wanted = {0};

    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct slice values[COUNT(edited)] = {SLICE("\"other:1b\""), SLICE("{ \"seed\": 1 }"),
                                              SLICE("true"), SLICE("{\"include_usage\":true}")};
        struct request_pieces pieces;
        struct request r;
        struct err e;

        for (size_t n = 0; n < COUNT(edited); n++) {
            if (json_gen_pick(&g, 2) == 0) {
                values[n] = (struct slice){NULL, 0};
            }
        }
        make_body(&g, &b);
        write_body(&b, &text);
        assert_int_equal(request_read(&r, buf_slice(&text), REQUEST_FROM_HTTP, &e), MCP_OK);
        request_forward(&r,
                        &(struct request_edits){.model = values[0],
                                                .options = values[1],
                                                .stream = values[2],
                                                .stream_options = values[3]},
                        &pieces);
        join(&pieces, &got);
        write_wanted(&b, values, &wanted);
        if (!slice_eq(buf_slice(&got), buf_slice(&wanted))) {
            fail_msg("body %d: %.*s\nbecame %.*s\nnot %.*s", i, SLICE_ARG(buf_slice(&text)),
                     SLICE_ARG(buf_slice(&got)), SLICE_ARG(buf_slice(&wanted)));
        }
        assert_same_value(&b, values, buf_slice(&got));
    }
    each_buf(&b, buf_fini);
    buf_fini(&text);
    buf_fini(&got);
    buf_fini(&wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(mcp_is_cut),
        cmocka_unit_test(edits_are_made),
        cmocka_unit_test(random_bodies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
