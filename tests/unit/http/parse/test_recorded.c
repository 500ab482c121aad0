/* SPDX-License-Identifier: Apache-2.0 */
/* Answers recorded from a real llama.cpp server and a real Ollama (tests/fixtures), whole, byte by
 * byte and cut at every point. */
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

#define FIXTURES "tests/fixtures/"

struct recording {
    char path[512];
    yyjson_doc *doc;
    struct slice response;
    bool is_head; /* answers a HEAD */
    bool is_sse;
    bool is_ndjson;
};

static void recording_open(struct recording *r, const char *folder, const char *name)
{
    yyjson_val *response;
    yyjson_val *request;

    assert_true(snprintf(r->path, sizeof(r->path), FIXTURES "%s/%s", folder, name) <
                (int)sizeof(r->path));
    r->doc = yyjson_read_file(r->path, 0, NULL, NULL);
    response = yyjson_obj_get(yyjson_doc_get_root(r->doc), "response");
    assert_non_null(response);
    r->response = slice_of(yyjson_get_str(response), yyjson_get_len(response));
    request = yyjson_obj_get(yyjson_doc_get_root(r->doc), "request");
    r->is_head = yyjson_equals_str(yyjson_obj_get(request, "method"), "HEAD");
    r->is_ndjson = strstr(yyjson_get_str(response), "Content-Type: application/x-ndjson") != NULL;
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

    http_trace(&whole, HTTP_PARSE_RESPONSES, r->is_head, r->response,
               (struct cuts){r->response.len, 0});
    assert_true(slice_starts(buf_slice(&whole), SLICE("HEAD ")));
    assert_true(buf_append_byte(&whole, '\0'));
    assert_non_null(strstr(whole.data, "\nEND\nEOF idle\n"));
    for (size_t at = 0; at < r->response.len; at++) {
        buf_clear(&cut);
        http_trace(&cut, HTTP_PARSE_RESPONSES, r->is_head, r->response,
                   at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0});
        assert_true(buf_append_byte(&cut, '\0'));
        assert_string_equal(cut.data, whole.data);
    }
    buf_fini(&whole);
    buf_fini(&cut);
}

static void check_part(enum split_kind kind, struct slice part)
{
    struct buf scratch = {0};
    struct sse_event ev;

    if (kind == SPLIT_NDJSON) {
        assert_true(slice_starts(part, SLICE("{")));
        assert_true(slice_eq(slice_skip(part, part.len - 2), SLICE("}\n")));
        return;
    }
    assert_true(sse_event_read(part, &scratch, &ev));
    assert_true(ev.has_data);
    assert_true(ev.data.ptr[0] == '{' || slice_eq(ev.data, SLICE("[DONE]")) ||
                slice_eq(ev.data, SLICE("null")));
    buf_fini(&scratch);
}

static void check_parts(enum split_kind kind, struct slice body)
{
    struct buf whole = {0};
    struct buf cut = {0};
    struct splitter s;
    struct slice part;
    struct slice rest = body;

    split_trace(&whole, kind, 1u << 20, body, (struct cuts){body.len, 0});
    for (size_t at = 0; at < body.len; at++) {
        buf_clear(&cut);
        split_trace(&cut, kind, 1u << 20, body,
                    at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0});
        assert_true(slice_eq(buf_slice(&cut), buf_slice(&whole)));
    }
    splitter_init(&s, kind, 1u << 20);
    do {
        ptrdiff_t used = splitter_feed(&s, rest, &part);

        assert_true(used >= 0);
        rest = slice_skip(rest, (size_t)used);
        if (part.ptr != NULL) {
            check_part(kind, part);
        }
    } while (part.ptr != NULL);
    assert_int_equal(splitter_rest(&s).len, 0);
    splitter_fini(&s);
    buf_fini(&whole);
    buf_fini(&cut);
}

static void check_folder(const char *folder, size_t least_messages, size_t least_streams)
{
    char path[256];
    DIR *dir;
    struct dirent *entry;
    size_t messages = 0;
    size_t streams = 0;

    assert_true(snprintf(path, sizeof(path), FIXTURES "%s", folder) < (int)sizeof(path));
    dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        struct recording r;

        if (strstr(entry->d_name, ".json") == NULL) {
            continue;
        }
        recording_open(&r, folder, entry->d_name);
        check_message(&r);
        if (r.is_sse || r.is_ndjson) {
            struct buf body = body_of(&r);

            check_parts(r.is_sse ? SPLIT_SSE : SPLIT_NDJSON, buf_slice(&body));
            buf_fini(&body);
            streams++;
        }
        messages++;
        yyjson_doc_free(r.doc);
    }
    (void)closedir(dir);
    assert_true(messages >= least_messages);
    assert_true(streams >= least_streams);
}

static void llamacpp_is_understood(void **state)
{
    (void)state;
    check_folder("llamacpp", 20, 8);
}

static void ollama_is_understood(void **state)
{
    (void)state;
    check_folder("ollama", 80, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llamacpp_is_understood),
        cmocka_unit_test(ollama_is_understood),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
