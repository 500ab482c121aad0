/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/face/routes.h"

static enum route_match find(const char *method, const char *path, const struct route **r)
{
    return route_find(slice_str(method), slice_str(path), r);
}

static void every_documented_route_is_there(void **state)
{
    static const char *const all[][2] = {
        {"GET", "/"},
        {"HEAD", "/"},
        {"POST", "/api/generate"},
        {"POST", "/api/chat"},
        {"POST", "/api/embed"},
        {"POST", "/api/embeddings"},
        {"GET", "/api/ps"},
        {"GET", "/api/tags"},
        {"HEAD", "/api/tags"},
        {"POST", "/api/show"},
        {"GET", "/api/version"},
        {"HEAD", "/api/version"},
        {"GET", "/api/status"},
        {"POST", "/api/create"},
        {"POST", "/api/blobs/sha256:00"},
        {"HEAD", "/api/blobs/sha256:00"},
        {"POST", "/api/copy"},
        {"DELETE", "/api/delete"},
        {"POST", "/api/pull"},
        {"POST", "/api/push"},
        {"POST", "/api/me"},
        {"POST", "/api/signout"},
        {"DELETE", "/api/user/keys/abc"},
        {"POST", "/api/experimental/web_search"},
        {"POST", "/api/experimental/web_fetch"},
        {"GET", "/api/experimental/model-recommendations"},
        {"POST", "/v1/chat/completions"},
        {"POST", "/v1/completions"},
        {"POST", "/v1/embeddings"},
        {"GET", "/v1/models"},
        {"GET", "/v1/models/llama3"},
        {"POST", "/v1/responses"},
        {"POST", "/v1/audio/transcriptions"},
        {"POST", "/v1/messages"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        const struct route *r = NULL;

        assert_int_equal(find(all[i][0], all[i][1], &r), ROUTE_FOUND);
        assert_string_equal(r->method, all[i][0]);
    }
}

static void a_parameter_is_one_segment_a_model_may_have_more(void **state)
{
    const struct route *r;

    (void)state;
    assert_int_equal(find("GET", "/v1/models/hf.co/a/b:q4", &r), ROUTE_FOUND);
    assert_int_equal(find("GET", "/v1/models/", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/api/blobs/", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/api/blobs/a/b", &r), ROUTE_NO_PATH);
}

static void what_is_not_there_is_told_apart(void **state)
{
    const struct route *r;

    (void)state;
    assert_int_equal(find("GET", "/api/generate", &r), ROUTE_NO_METHOD);
    assert_int_equal(find("OPTIONS", "/api/generate", &r), ROUTE_FOUND);
    assert_int_equal(find("POST", "/api/generate/", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/api/generat", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/api/generatex", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "/api", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "api/generate", &r), ROUTE_NO_PATH);
    assert_int_equal(find("POST", "", &r), ROUTE_NO_PATH);
    assert_int_equal(find("post", "/api/generate", &r), ROUTE_NO_METHOD);
}

static void allowed_methods(void **state)
{
    static const char *const all[][2] = {
        {"/", "GET, HEAD"},
        {"/api/tags", "GET, HEAD"},
        {"/api/generate", "POST"},
        {"/api/blobs/sha256:00", "HEAD, POST"},
        {"/api/delete", "DELETE"},
        {"/nothing", ""},
        {"", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct buf out = {0};

        assert_true(route_allow(slice_str(all[i][0]), &out));
        assert_true(slice_eq(buf_slice(&out), slice_str(all[i][1])));
        buf_fini(&out);
    }
}

static void slashes_too_many_lead_to_the_route(void **state)
{
    static const char *const all[][2] = {
        {"/api/tags/", "/api/tags"},
        {"//api/tags", "/api/tags"},
        {"///api//tags//", "/api/tags"},
        {"/v1/models/", "/v1/models"},
        {"//api/blobs/sha256:00/", "/api/blobs/sha256:00"},
        {"/api/tags", NULL},
        {"/", NULL},
        {"//", NULL},
        {"", NULL},
        {"*", NULL},
        {"//example.com", NULL},
        {"/nothing/", NULL},
        {"api/tags/", NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct buf out = {0};

        assert_int_equal(route_tidy(slice_str(all[i][0]), &out), all[i][1] != NULL);
        if (all[i][1] != NULL) {
            assert_true(slice_eq(buf_slice(&out), slice_str(all[i][1])));
        }
        buf_fini(&out);
    }
}

static void streams_end_as_their_api_says(void **state)
{
    const struct route *r;

    (void)state;
    assert_int_equal(find("POST", "/api/chat", &r), ROUTE_FOUND);
    assert_int_equal(r->end, STREAM_END_DONE);
    assert_true(r->needs_model && r->translated && !r->once);
    assert_int_equal(find("POST", "/v1/chat/completions", &r), ROUTE_FOUND);
    assert_int_equal(r->end, STREAM_END_SSE_DONE);
    assert_true(r->any_kind && r->shape == SHAPE_OPENAI);
    assert_int_equal(find("POST", "/v1/messages", &r), ROUTE_FOUND);
    assert_int_equal(r->end, STREAM_END_SSE_MESSAGE);
    assert_int_equal(r->shape, SHAPE_ANTHROPIC);
    assert_int_equal(find("POST", "/v1/responses", &r), ROUTE_FOUND);
    assert_int_equal(r->end, STREAM_END_SSE_RESPONSE);
    assert_int_equal(find("POST", "/api/pull", &r), ROUTE_FOUND);
    assert_int_equal(r->end, STREAM_END_FRAMING);
}

static void what_changes_things_is_never_sent_twice(void **state)
{
    static const char *const once[][2] = {{"POST", "/api/create"},
                                          {"POST", "/api/copy"},
                                          {"DELETE", "/api/delete"},
                                          {"POST", "/api/push"},
                                          {"POST", "/api/blobs/x"}};
    const struct route *r;

    (void)state;
    for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++) {
        assert_int_equal(find(once[i][0], once[i][1], &r), ROUTE_FOUND);
        assert_true(r->once);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_documented_route_is_there),
        cmocka_unit_test(a_parameter_is_one_segment_a_model_may_have_more),
        cmocka_unit_test(what_is_not_there_is_told_apart),
        cmocka_unit_test(allowed_methods),
        cmocka_unit_test(slashes_too_many_lead_to_the_route),
        cmocka_unit_test(streams_end_as_their_api_says),
        cmocka_unit_test(what_changes_things_is_never_sent_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
