/* SPDX-License-Identifier: Apache-2.0 */
/* Answers recorded from a real llama.cpp server (tests/fixtures), whole, byte by byte, cut at every
 * point, and cut as the reads came. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <yyjson.h>

#include "http/parse/sse.h"
#include "trace.h"

#define FIXTURES "tests/fixtures/llamacpp"

struct recording {
    char path[512];
    yyjson_doc *doc;
    struct slice response;
    bool is_sse;
};

static void recording_open(struct recording *r, const char *name)
{
    yyjson_val *response;

    assert_true(snprintf(r->path, sizeof(r->path), FIXTURES "/%s", name) < (int)sizeof(r->path));
    r->doc = yyjson_read_file(r->path, 0, NULL, NULL);
    response = yyjson_obj_get(yyjson_doc_get_root(r->doc), "response");
    assert_non_null(response);
    r->response = slice_of(yyjson_get_str(response), yyjson_get_len(response));
    r->is_sse = strstr(yyjson_get_str(response), "Content-Type: text/event-stream") != NULL;
}

/* The body without its chunk framing. */
static struct buf body_of(const struct recording *r)
{
    struct http_parser *p = http_parser_new(HTTP_PARSE_RESPONSES);
    struct slice in = r->response;
    struct buf body = {0};
    struct http_event ev;
    struct err e;

    do {
        ptrdiff_t used = http_parser_feed(p, in, &ev, &e);

        assert_true(used >= 0);
        in = slice_skip(in, (size_t)used);
        if (ev.kind == HTTP_EV_BODY) {
            assert_true(buf_append(&body, ev.body));
        }
    } while (ev.kind != HTTP_EV_END);
    assert_int_equal(in.len, 0);
    http_parser_free(&p);
    return body;
}

static void check_message(const struct recording *r)
{
    struct buf whole = {0};
    struct buf cut = {0};

    http_trace(&whole, HTTP_PARSE_RESPONSES, false, r->response, (struct cuts){r->response.len, 0});
    assert_true(slice_starts(buf_slice(&whole), SLICE("HEAD ")));
    assert_true(buf_append_byte(&whole, '\0'));
    assert_non_null(strstr(whole.data, "\nEND\nEOF idle\n"));
    for (size_t at = 0; at < r->response.len; at++) {
        buf_clear(&cut);
        http_trace(&cut, HTTP_PARSE_RESPONSES, false, r->response,
                   at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0});
        assert_true(buf_append_byte(&cut, '\0'));
        assert_string_equal(cut.data, whole.data);
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

static void check_parts(struct slice body)
{
    struct buf whole = {0};
    struct buf cut = {0};
    struct buf scratch = {0};
    struct splitter s;
    struct slice part;
    struct slice rest = body;

    split_trace(&whole, SPLIT_SSE, 1u << 20, body, (struct cuts){body.len, 0});
    for (size_t at = 0; at < body.len; at++) {
        buf_clear(&cut);
        split_trace(&cut, SPLIT_SSE, 1u << 20, body,
                    at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0});
        assert_true(slice_eq(buf_slice(&cut), buf_slice(&whole)));
    }
    splitter_init(&s, SPLIT_SSE, 1u << 20);
    do {
        struct sse_event ev;
        ptrdiff_t used = splitter_feed(&s, rest, &part);

        assert_true(used >= 0);
        rest = slice_skip(rest, (size_t)used);
        if (part.ptr != NULL) {
            assert_true(sse_event_read(part, &scratch, &ev));
            assert_true(ev.has_data);
            assert_true(ev.data.ptr[0] == '{' || slice_eq(ev.data, SLICE("[DONE]")) ||
                        slice_eq(ev.data, SLICE("null")));
        }
    } while (part.ptr != NULL);
    assert_int_equal(splitter_rest(&s).len, 0);
    splitter_fini(&s);
    buf_fini(&scratch);
    buf_fini(&whole);
    buf_fini(&cut);
}

static void test_recordings(void **state)
{
    DIR *dir = opendir(FIXTURES);
    struct dirent *entry;
    size_t messages = 0;
    size_t streams = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct recording r;

        if (strstr(entry->d_name, ".json") == NULL) {
            continue;
        }
        recording_open(&r, entry->d_name);
        check_message(&r);
        if (r.is_sse) {
            struct buf body = body_of(&r);

            check_parts(buf_slice(&body));
            buf_fini(&body);
            streams++;
        }
        messages++;
        yyjson_doc_free(r.doc);
    }
    (void)closedir(dir);
    assert_true(messages >= 20);
    assert_true(streams >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recordings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
