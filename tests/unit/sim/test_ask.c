/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sim/ask.h"

static struct sim_ask ask;
static struct sim_refusal why;

static bool read_ask(enum sim_op op, const char *body)
{
    return sim_ask_read(&ask, op, slice_str(body), &why);
}

static void routes(void **state)
{
    static const struct {
        const char *method;
        const char *target;
        enum sim_route route;
        enum sim_op op;
    } cases[] = {
        {"POST", "/api/generate", SIM_ROUTE_FOUND, SIM_OP_GENERATE},
        {"POST", "/v1/chat/completions?x=/api/chat", SIM_ROUTE_FOUND, SIM_OP_V1_CHAT},
        {"GET", "/", SIM_ROUTE_FOUND, SIM_OP_ROOT},
        {"HEAD", "/", SIM_ROUTE_FOUND, SIM_OP_ROOT},
        {"GET", "/sim/stats", SIM_ROUTE_FOUND, SIM_OP_STATS},
        {"GET", "/api/generate", SIM_ROUTE_NO_METHOD, SIM_OP_GENERATE},
        {"HEAD", "/api/generate", SIM_ROUTE_NO_METHOD, SIM_OP_GENERATE},
        {"POST", "/api/tags", SIM_ROUTE_NO_METHOD, SIM_OP_TAGS},
        {"GET", "/api", SIM_ROUTE_NO_PATH, 0},
        {"GET", "*", SIM_ROUTE_NO_PATH, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum sim_op op = 0;

        assert_int_equal(
            sim_route_find(slice_str(cases[i].method), slice_str(cases[i].target), &op),
            cases[i].route);
        assert_int_equal(op, cases[i].op);
    }
}

static void a_generate_with_everything(void **state)
{
    (void)state;
    assert_true(read_ask(SIM_OP_GENERATE,
                         "{\"model\":\"m:8b\",\"prompt\":\"say \\\"a\\\"\",\"stream\":false,"
                         "\"system\":\"s\",\"keep_alive\":\"1h30m\",\"max_tokens\":9,\"options\":"
                         "{\"num_predict\":7,\"num_ctx\":8192,\"sim_gap_ms\":2,"
                         "\"sim_fault\":\"reset:3\"},\"more\":[{\"model\":1}]}"));
    assert_true(slice_eq(ask.model, SLICE("m:8b")));
    assert_true(slice_eq(ask.text, SLICE("say \\\"a\\\"")));
    assert_true(slice_eq(ask.system, SLICE("s")));
    assert_true(slice_eq(ask.fault, SLICE("reset:3")));
    assert_false(ask.stream);
    assert_int_equal(ask.tokens, 7);
    assert_int_equal(ask.context, 8192);
    assert_int_equal(ask.keep_alive_us, 5400000000);
    assert_true(ask.has_gap);
    assert_int_equal(ask.gap_us, 2000);
    assert_false(sim_ask_loads(&ask));
}

static void defaults(void **state)
{
    (void)state;
    assert_true(read_ask(SIM_OP_GENERATE,
                         " {\"model\":\"m\",\"prompt\":\"a\",\"stream\":null,"
                         "\"keep_alive\":null,\"options\":{\"num_predict\":-1}} "));
    assert_true(ask.stream && ask.truncate);
    assert_false(ask.has_keep_alive || ask.has_gap);
    assert_int_equal(ask.tokens, 0);
    assert_true(read_ask(SIM_OP_V1_CHAT, "{\"model\":\"m\",\"messages\":[{}],\"max_tokens\":3,"
                                         "\"stream_options\":{\"include_usage\":true}}"));
    assert_false(ask.stream);
    assert_true(ask.usage);
    assert_int_equal(ask.tokens, 3);
}

static void what_only_loads(void **state)
{
    (void)state;
    assert_true(read_ask(SIM_OP_GENERATE, "{\"model\":\"m\"}"));
    assert_true(sim_ask_loads(&ask));
    assert_true(read_ask(SIM_OP_GENERATE, "{\"model\":\"m\",\"prompt\":\"\",\"keep_alive\":0}"));
    assert_true(sim_ask_loads(&ask) && ask.has_keep_alive && ask.keep_alive_us == 0);
    assert_true(read_ask(SIM_OP_CHAT, "{\"model\":\"m\",\"messages\":[ ]}"));
    assert_true(sim_ask_loads(&ask));
    assert_true(read_ask(SIM_OP_CHAT, "{\"model\":\"m\",\"messages\":[{}]}"));
    assert_false(sim_ask_loads(&ask));
    assert_true(read_ask(SIM_OP_EMBED, "{\"model\":\"m\",\"input\":[]}"));
    assert_false(sim_ask_loads(&ask));
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"5", 5000000},
        {"0", 0},
        {"-1", -1},
        {"0.5", 500000},
        {"\"5m\"", 300000000},
        {"\"90s\"", 90000000},
        {"\"250ms\"", 250000},
        {"\"1m0.5s\"", 60500000},
        {"\"-1\"", -1},
        {"\"-5m\"", -1},
        {"\"10\"", 10000000},
        {"1e300", 100000000000000000},
    };
    static const char *const bad[] = {"\"\"", "\"x\"", "\"5\\u006d\"", "\"5 m\"",  "\"5m3\"",
                                      "true", "[]",    "\"nan\"",      "\"5days\""};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char body[100];

        (void)snprintf(body, sizeof(body), "{\"model\":\"m\",\"keep_alive\":%s}", cases[i].text);
        assert_true(read_ask(SIM_OP_GENERATE, body));
        assert_int_equal(ask.keep_alive_us, cases[i].us);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char body[100];

        (void)snprintf(body, sizeof(body), "{\"model\":\"m\",\"keep_alive\":%s}", bad[i]);
        assert_false(read_ask(SIM_OP_GENERATE, body));
        assert_int_equal(why.status, 400);
    }
}

static void what_is_refused(void **state)
{
    static const struct {
        enum sim_op op;
        const char *body;
        const char *text;
    } cases[] = {
        {SIM_OP_GENERATE, "", "missing request body"},
        {SIM_OP_GENERATE, "x", "the body is no JSON object"},
        {SIM_OP_GENERATE, "[]", "the body is no JSON object"},
        {SIM_OP_GENERATE, "{\"model\":\"m\",}", "the body is no JSON object"},
        {SIM_OP_GENERATE, "{\"model\":\"m\"} {}", "the body is no JSON object"},
        {SIM_OP_GENERATE, "{}", "model is required"},
        {SIM_OP_GENERATE, "{\"model\":\"\"}", "model is required"},
        {SIM_OP_GENERATE, "{\"model\":1}", "model: expected a string"},
        {SIM_OP_GENERATE, "{\"model\":\"m\",\"stream\":1}", "stream: expected a bool"},
        {SIM_OP_GENERATE, "{\"model\":\"m\",\"prompt\":[]}", "prompt: expected a string"},
        {SIM_OP_CHAT, "{\"model\":\"m\",\"messages\":\"a\"}", "messages: expected an array"},
        {SIM_OP_EMBED, "{\"model\":\"m\"}", "invalid input type"},
        {SIM_OP_EMBED, "{\"model\":\"m\",\"input\":{}}", "invalid input type"},
        {SIM_OP_V1_CHAT, "{\"model\":\"m\",\"messages\":[]}", "[] is too short - 'messages'"},
        {SIM_OP_V1_TEXT, "{\"model\":\"m\"}", "prompt is required"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_false(read_ask(cases[i].op, cases[i].body));
        assert_int_equal(why.status, 400);
        assert_string_equal(why.text, cases[i].text);
    }
}

static void every_truncation_is_refused(void **state)
{
    static const char body[] = "{\"model\":\"m\",\"prompt\":\"a\",\"options\":{\"num_predict\":3},"
                               "\"keep_alive\":\"5m\"}";

    (void)state;
    for (size_t len = 0; len < sizeof(body) - 1; len++) {
        assert_false(sim_ask_read(&ask, SIM_OP_GENERATE, slice_of(body, len), &why));
    }
    assert_true(read_ask(SIM_OP_GENERATE, body));
}

static void names_of_models(void **state)
{
    (void)state;
    assert_true(sim_model_is(SLICE("m:latest"), "m:latest"));
    assert_true(sim_model_is(SLICE("m"), "m:latest"));
    assert_true(sim_model_is(SLICE("m\\u003alatest"), "m:latest"));
    assert_false(sim_model_is(SLICE("m:8b"), "m:latest"));
    assert_false(sim_model_is(SLICE("m\\u003a8b"), "m:latest"));
    assert_false(sim_model_is(SLICE("latest"), "m:latest"));
    assert_false(sim_model_is(SLICE("x"), "m:latest"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),
        cmocka_unit_test(a_generate_with_everything),
        cmocka_unit_test(defaults),
        cmocka_unit_test(what_only_loads),
        cmocka_unit_test(durations),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(names_of_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
