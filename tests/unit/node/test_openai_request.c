/* SPDX-License-Identifier: Apache-2.0 */
/* Requests beyond single fields (those are test_openai_fields): what is answered at once, refused,
 * kept. */
#include <stdio.h>
#include <string.h>

#include "alloc_fault.h"
#include "openai_help.h"

#define CHAT(more) "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define SAY(more) "{\"prompt\":\"hi\"" more "}"

static void assert_body(enum op op, const char *json, const char *inherited, const char *path,
                        const char *body)
{
    struct asked a;

    ask(&a, op, json, inherited);
    if (a.rv != OPENAI_SEND) {
        fail_msg("%s: %s", json, a.e.text);
    }
    assert_true(slice_eq(buf_slice(&a.path), slice_str(path)));
    if (!slice_eq(buf_slice(&a.body), slice_str(body))) {
        fail_msg("%.*s", SLICE_ARG(buf_slice(&a.body)));
    }
    asked_fini(&a);
}

static void bodies_are_exactly_these(void **state)
{
    (void)state;
    assert_body(OP_GENERATE, "{\"model\":\"m\",\"prompt\":\"hi\",\"mcp\":{\"auth\":\"key\"}}", "",
                "/v1/chat/completions",
                "{\"model\":\"node-m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
                "\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_body(OP_GENERATE,
                "{\"prompt\":\"1 2\",\"raw\":true,\"options\":{\"num_predict\":4,\"seed\":1}}", "",
                "/v1/completions",
                "{\"model\":\"node-m\",\"prompt\":\"1 2\",\"stream\":true,"
                "\"stream_options\":{\"include_usage\":true},\"seed\":1,\"max_tokens\":4}");
    assert_body(OP_EMBED, "{\"input\":[\"a\",\"b\"]}", "", "/v1/embeddings",
                "{\"model\":\"node-m\",\"input\":[\"a\",\"b\"],\"encoding_format\":\"base64\"}");
    assert_body(OP_EMBEDDINGS, "{\"prompt\":\"a\"}", "", "/v1/embeddings",
                "{\"model\":\"node-m\",\"input\":\"a\",\"encoding_format\":\"float\"}");
}

static void what_go_clients_always_send_is_nothing(void **state)
{
    (void)state;
    assert_body(
        OP_GENERATE,
        "{\"model\":\"m\",\"prompt\":\"hi\",\"suffix\":\"\",\"system\":\"\",\"template\":\"\","
        "\"context\":null,\"images\":[],\"format\":\"\",\"options\":null,\"think\":null,"
        "\"_debug_render_only\":false,\"raw\":false,\"tools\":[],\"unheard_of\":{\"a\":1}}",
        "", "/v1/chat/completions",
        "{\"model\":\"node-m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
}

static void inherited_options_serve_where_there_are_none(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT, CHAT(""), "{\"top_k\":7}");
    assert_at(a.doc, "top_k", "7");
    asked_fini(&a);
    ask(&a, OP_CHAT, CHAT(",\"options\":{\"seed\":2}"), "{\"top_k\":7}");
    assert_at(a.doc, "top_k", NULL);
    assert_at(a.doc, "seed", "2");
    asked_fini(&a);
}

static void the_last_of_several_names_counts(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT, CHAT(",\"Think\":true,\"think\":false"), "");
    assert_at(a.doc, "chat_template_kwargs.enable_thinking", "false");
    asked_fini(&a);
    ask(&a, OP_CHAT, "{\"messages\":[{\"content\":\"a\",\"Content\":\"b\",\"ROLE\":\"USER\"}]}",
        "");
    assert_at(a.doc, "messages[0]", "{\"role\":\"user\",\"content\":\"b\"}");
    asked_fini(&a);
    /* options are a map to Ollama: another case is another name */
    ask(&a, OP_CHAT, CHAT(",\"options\":{\"top_k\":1,\"top_k\":2,\"Top_K\":3}"), "");
    assert_at(a.doc, "top_k", "2");
    asked_fini(&a);
}

static void numbers_and_texts_stay_as_they_are(void **state)
{
    struct asked a;
    const char *body;

    (void)state;
    ask(&a, OP_CHAT,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9\\ud83d\\ude00\\u0000\\\"\\\\/"
        "\xF0\x9F\x98\x80\"},"
        "{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"
        "{\"n\":123456789012345678901234567890,\"f\":1e400,\"z\":-0.0}}}]}],"
        "\"format\":{\"maximum\":1.10},\"options\":{\"temperature\":0.7000000000000000001}}",
        "");
    assert_int_equal(a.rv, OPENAI_SEND);
    body = buf_slice(&a.body).ptr;
    assert_non_null(memmem(body, buf_len(&a.body), "\"maximum\":1.10", 14));
    assert_non_null(memmem(body, buf_len(&a.body), "0.7000000000000000001", 21));
    assert_at(a.doc, "messages[0].content",
              "\"\\u00e9\\ud83d\\ude00\\u0000\\\"\\\\/\\ud83d\\ude00\"");
    assert_at(a.doc, "messages[1].tool_calls[0].function.arguments",
              "\"{\\\"n\\\":123456789012345678901234567890,\\\"f\\\":1e400,\\\"z\\\":-0.0}\"");
    asked_fini(&a);
}

static void results_of_tools_name_their_call(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT,
        "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
        "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":["
        "{\"function\":{\"name\":\"f\",\"arguments\":{}}},{\"function\":{\"name\":\"g\"}},"
        "{\"id\":\"c9\",\"function\":{\"name\":\"h\",\"arguments\":null}}]},"
        "{\"role\":\"tool\",\"content\":\"3\",\"tool_call_id\":\"c9\"},"
        "{\"role\":\"tool\",\"content\":\"2\",\"tool_name\":\"g\"},"
        "{\"role\":\"tool\",\"content\":\"1\"},{\"role\":\"tool\",\"content\":\"0\"}]}",
        "");
    assert_at(a.doc, "messages[1].tool_calls[0].id", "\"call_0\"");
    assert_at(a.doc, "messages[1].tool_calls[1].id", "\"call_1\"");
    assert_at(a.doc, "messages[1].tool_calls[2].id", "\"c9\"");
    assert_at(a.doc, "messages[1].tool_calls[2].function.arguments", "\"{}\"");
    assert_at(a.doc, "messages[2].tool_call_id", "\"c9\"");
    assert_at(a.doc, "messages[3].tool_call_id", "\"call_1\"");
    assert_at(a.doc, "messages[3].name", "\"g\"");
    assert_at(a.doc, "messages[4].tool_call_id", "\"call_0\"");
    assert_at(a.doc, "messages[5].tool_call_id", NULL);
    asked_fini(&a);
}

static void media_types_are_sniffed(void **state)
{
    static const struct {
        const char *base64;
        const char *part;
    } rows[] = {
        {"iVBORw0KGgoAAA==", "data:image/png;base64,iVBORw0KGgoAAA=="},
        {"R0lGODdhAAAA", "data:image/gif;base64,R0lGODdhAAAA"},
        {"/9j/4AAQ", "data:image/jpeg;base64,/9j/4AAQ"},
        {"UklGRgAAAABXRUJQVlA4", "data:image/webp;base64,UklGRgAAAABXRUJQVlA4"},
        {"Qk0AAAAA", "data:image/bmp;base64,Qk0AAAAA"},
        {"AAAA", "data:image/jpeg;base64,AAAA"},
        {"iVBO\\r\\nRw0KGgoA", "data:image/png;base64,iVBORw0KGgoA"},
    };
    struct asked a;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char json[256];
        char want[256];

        (void)snprintf(json, sizeof(json), "{\"prompt\":\"x\",\"images\":[\"AAAA\",\"%s\"]}",
                       rows[i].base64);
        (void)snprintf(want, sizeof(want), "\"%s\"", rows[i].part);
        ask(&a, OP_GENERATE, json, "");
        assert_at(a.doc, "messages[0].content[0]", "{\"type\":\"text\",\"text\":\"x\"}");
        assert_at(a.doc, "messages[0].content[2].type", "\"image_url\"");
        assert_at(a.doc, "messages[0].content[2].image_url.url", want);
        asked_fini(&a);
    }
    ask(&a, OP_GENERATE, "{\"prompt\":\"x\",\"images\":[\"UklGRgAAAABXQVZF\"]}", "");
    assert_at(a.doc, "messages[0].content[1]",
              "{\"type\":\"input_audio\",\"input_audio\":{\"format\":\"wav\",\"data\":"
              "\"UklGRgAAAABXQVZF\"}}");
    asked_fini(&a);
}

static void schemas_of_raw_requests(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_GENERATE, SAY(",\"raw\":true,\"format\":{\"type\":\"array\"}"), "");
    assert_at(a.doc, "json_schema", "{\"type\":\"array\"}");
    assert_at(a.doc, "response_format",
              "{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"schema\",\"schema\":{\"type\":"
              "\"array\"}}}");
    asked_fini(&a);
}

static void logprobs_are_asked_for_at_least_one(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT, CHAT(",\"logprobs\":true"), "");
    assert_at(a.doc, "top_logprobs", "1");
    asked_fini(&a);
    ask(&a, OP_CHAT, CHAT(",\"top_logprobs\":5"), "");
    assert_at(a.doc, "logprobs", NULL);
    assert_at(a.doc, "top_logprobs", NULL);
    asked_fini(&a);
}

static void only_tools_with_logprobs_are_asked_for_whole(void **state)
{
    static const char tools[] =
        CHAT(",\"stream\":false,\"logprobs\":true,\"tools\":[{\"type\":\"function\"}]");
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT, CHAT(",\"stream\":false"), "");
    assert_true(openai_call_streams(a.call));
    asked_fini(&a);
    ask(&a, OP_CHAT, tools, "");
    assert_false(openai_call_streams(a.call));
    assert_at(a.doc, "stream", "false");
    assert_at(a.doc, "stream_options", NULL);
    asked_fini(&a);
    ask(&a, OP_CHAT, CHAT(",\"logprobs\":true,\"tools\":[{\"type\":\"function\"}]"), "");
    assert_true(openai_call_streams(a.call));
    asked_fini(&a);
    ask(&a, OP_EMBED, "{\"input\":\"a\"}", "");
    assert_false(openai_call_streams(a.call));
    asked_fini(&a);
}

static void an_empty_prompt_is_answered_at_once(void **state)
{
    static const struct {
        enum op op;
        const char *json;
        const char *answer;
    } rows[] = {
        {OP_GENERATE, "{}", "\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}"},
        {OP_GENERATE, "{\"prompt\":\"\",\"keep_alive\":\"5m\",\"stream\":true}",
         "\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}"},
        {OP_GENERATE, "{\"prompt\":null,\"keep_alive\":0}",
         "\"response\":\"\",\"done\":true,\"done_reason\":\"unload\"}"},
        {OP_GENERATE, "{\"keep_alive\":\"0s\"}",
         "\"response\":\"\",\"done\":true,\"done_reason\":\"unload\"}"},
        {OP_GENERATE, "{\"keep_alive\":-1}",
         "\"response\":\"\",\"done\":true,\"done_reason\":\"load\"}"},
        {OP_CHAT, "{}",
         "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":"
         "\"load\"}"},
        {OP_CHAT, "{\"messages\":[],\"keep_alive\":0.0}",
         "\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":"
         "\"unload\"}"},
    };
    static const char begin[] =
        "{\"model\":\"m\",\"created_at\":\"2026-01-02T03:04:05.678901000Z\",";
    struct asked a;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char want[256];

        (void)snprintf(want, sizeof(want), "%s%s", begin, rows[i].answer);
        ask(&a, rows[i].op, rows[i].json, "");
        assert_int_equal(a.rv, OPENAI_ANSWERED);
        assert_true(slice_eq(buf_slice(&a.body), slice_str(want)));
        assert_int_equal(buf_len(&a.path), 0);
        asked_fini(&a);
    }
    ask(&a, OP_EMBED, "{\"input\":\"\"}", "");
    assert_at(a.doc, "", "{\"model\":\"m\",\"embeddings\":[]}");
    asked_fini(&a);
    ask(&a, OP_EMBED, "{\"input\":[]}", "");
    assert_at(a.doc, "", "{\"model\":\"m\",\"embeddings\":[]}");
    asked_fini(&a);
    ask(&a, OP_EMBEDDINGS, "{}", "");
    assert_at(a.doc, "", "{\"embedding\":[]}");
    asked_fini(&a);
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        enum op op;
        const char *json;
        int rv;
        const char *text;
    } rows[] = {
        {OP_GENERATE, "{\"prompt\":5}", MCP_EBAD_REQUEST, "prompt must be a string"},
        {OP_GENERATE, SAY(",\"system\":[]"), MCP_EBAD_REQUEST, "system must be a string"},
        {OP_GENERATE, SAY(",\"raw\":1"), MCP_EBAD_REQUEST, "raw must be a boolean"},
        {OP_GENERATE, SAY(",\"stream\":1"), MCP_EBAD_REQUEST, "stream"},
        {OP_GENERATE, SAY(",\"raw\":true,\"system\":\"x\""), MCP_EBAD_REQUEST,
         "raw mode does not support template, system, or context"},
        {OP_GENERATE, SAY(",\"images\":\"AAAA\""), MCP_EBAD_REQUEST, "images must be an array"},
        {OP_GENERATE, SAY(",\"images\":[\"AAAA\",\"A-\"]"), MCP_EBAD_REQUEST,
         "images[1] is not base64"},
        {OP_GENERATE, SAY(",\"images\":[\"AAA\"]"), MCP_EBAD_REQUEST, "images[0] is not base64"},
        {OP_GENERATE, SAY(",\"images\":[\"A=AA\"]"), MCP_EBAD_REQUEST, "images[0] is not base64"},
        {OP_GENERATE, SAY(",\"images\":[7]"), MCP_EBAD_REQUEST, "images[0] is not base64"},
        {OP_GENERATE, SAY(",\"format\":\"xml\""), MCP_EBAD_REQUEST, "invalid format"},
        {OP_GENERATE, SAY(",\"format\":[1]"), MCP_EBAD_REQUEST, "invalid format"},
        {OP_GENERATE, SAY(",\"think\":\"much\""), MCP_EBAD_REQUEST, "think must be a boolean"},
        {OP_GENERATE, SAY(",\"logprobs\":1"), MCP_EBAD_REQUEST, "logprobs must be a boolean"},
        {OP_GENERATE, SAY(",\"top_logprobs\":21"), MCP_EBAD_REQUEST,
         "top_logprobs must be between 0 and 20"},
        {OP_GENERATE, SAY(",\"top_logprobs\":-1"), MCP_EBAD_REQUEST,
         "top_logprobs must be between 0 and 20"},
        {OP_GENERATE, SAY(",\"options\":[]"), MCP_EBAD_REQUEST, "options must be an object"},
        {OP_GENERATE, SAY(",\"options\":{\"top_k\":\"5\"}"), MCP_EBAD_REQUEST,
         "option \"top_k\" must be of type integer"},
        {OP_GENERATE, SAY(",\"options\":{\"top_k\":1e300}"), MCP_EBAD_REQUEST,
         "option \"top_k\" must be of type integer"},
        {OP_GENERATE, SAY(",\"options\":{\"top_p\":true}"), MCP_EBAD_REQUEST,
         "option \"top_p\" must be of type float32"},
        {OP_GENERATE, SAY(",\"options\":{\"stop\":\"x\"}"), MCP_EBAD_REQUEST,
         "option \"stop\" must be of type array"},
        {OP_GENERATE, SAY(",\"options\":{\"stop\":[1]}"), MCP_EBAD_REQUEST,
         "option \"stop\" must be of an array of strings"},
        {OP_GENERATE, SAY(",\"options\":{\"repeat_last_n\":-1}"), MCP_EUNSUPPORTED_OP,
         "options.repeat_last_n -1"},
        {OP_GENERATE, SAY(",\"suffix\":\"x\""), MCP_EUNSUPPORTED_OP, "suffix cannot be carried"},
        {OP_GENERATE, "{\"prompt\":\"\\ud800\"}", MCP_EBAD_REQUEST, "surrogate"},
        {OP_CHAT, "{\"messages\":{}}", MCP_EBAD_REQUEST, "messages must be an array"},
        {OP_CHAT, "{\"messages\":[1]}", MCP_EBAD_REQUEST, "messages must be an array of objects"},
        {OP_CHAT, "{\"messages\":[{\"content\":1}]}", MCP_EBAD_REQUEST,
         "messages[].content must be a string"},
        {OP_CHAT, "{\"messages\":[{\"tool_calls\":1}]}", MCP_EBAD_REQUEST,
         "messages[].tool_calls must be an array"},
        {OP_CHAT, "{\"messages\":[{\"tool_calls\":[{}]}]}", MCP_EBAD_REQUEST,
         "tool_calls[].function must be an object"},
        {OP_CHAT, "{\"messages\":[{\"tool_calls\":[{\"id\":1,\"function\":{}}]}]}",
         MCP_EBAD_REQUEST, "tool_calls[].id must be a string"},
        {OP_CHAT, "{\"messages\":[{\"tool_calls\":[{\"function\":{\"arguments\":\"{}\"}}]}]}",
         MCP_EBAD_REQUEST, "arguments must be an object"},
        {OP_CHAT, CHAT(",\"tools\":{}"), MCP_EBAD_REQUEST, "tools must be an array"},
        {OP_EMBED, "{\"input\":5}", MCP_EBAD_REQUEST, "invalid input type"},
        {OP_EMBED, "{\"input\":[\"a\",5]}", MCP_EBAD_REQUEST, "invalid input type"},
        {OP_EMBED, "{\"input\":\"a\",\"dimensions\":1.5}", MCP_EBAD_REQUEST,
         "dimensions must be an integer"},
        {OP_EMBEDDINGS, "{\"prompt\":[]}", MCP_EBAD_REQUEST, "prompt must be a string"},
        {OP_PULL, "{\"model\":\"x\"}", MCP_EUNSUPPORTED_OP, "kind openai"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct asked a;

        ask(&a, rows[i].op, rows[i].json, "");
        if (a.rv != rows[i].rv || strstr(a.e.text, rows[i].text) == NULL || a.e.code != a.rv) {
            fail_msg("%s: %d, %s", rows[i].json, a.rv, a.e.text);
        }
        asked_fini(&a);
    }
}

static void integers_are_cut_as_by_ollama(void **state)
{
    struct asked a;

    (void)state;
    ask(&a, OP_CHAT,
        CHAT(",\"options\":{\"top_k\":40.9,\"num_keep\":-1.5,\"seed\":1e3,\"num_predict\":-0.5}"),
        "");
    assert_at(a.doc, "top_k", "40");
    assert_at(a.doc, "n_keep", "-1");
    assert_at(a.doc, "seed", "1000");
    assert_at(a.doc, "max_tokens", "0");
    asked_fini(&a);
}

static const char everything[] =
    "{\"model\":\"m\",\"messages\":[{\"role\":\"User\",\"content\":\"x\",\"images\":[\"AAAA\"]},"
    "{\"role\":\"assistant\",\"thinking\":\"t\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
    "\"arguments\":{\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"1\",\"tool_name\":\"f\"}],"
    "\"tools\":[{\"type\":\"function\"}],\"format\":{\"type\":\"object\"},\"think\":\"low\","
    "\"logprobs\":true,\"options\":{\"stop\":[\"x\"],\"top_k\":3}}";

static const struct {
    enum op op;
    const char *json;
    const char *inherited;
} scarce[] = {{OP_CHAT, everything, ""},
              {OP_CHAT, CHAT(""), "{\"top_k\":7}"},
              {OP_GENERATE, SAY(",\"raw\":true,\"format\":\"json\""), ""},
              {OP_GENERATE, "{}", ""},
              {OP_EMBED, "{\"input\":[\"a\"]}", ""},
              {OP_EMBEDDINGS, "{\"prompt\":\"a\"}", ""}};

static size_t scarce_failures;

static void ask_in_scarcity(void *arg)
{
    size_t i = *(const size_t *)arg;
    struct request r;
    struct err e = {0};
    struct buf path = {0};
    struct buf body = {0};
    struct openai_call *call = NULL;
    const struct openai_ask given = {.op = scarce[i].op,
                                     .request = &r,
                                     .model = SLICE("m"),
                                     .node_model = SLICE("n"),
                                     .options = slice_str(scarce[i].inherited),
                                     .at = clock_after(0)};
    int rv = request_read(&r, slice_str(scarce[i].json), REQUEST_FROM_MCP, &e);

    if (rv == 0) {
        rv = openai_request(&call, &given, &path, &body, &e);
    }
    assert_true(rv >= 0 || rv == MCP_ENOMEM);
    scarce_failures += rv == MCP_ENOMEM;
    assert_true((rv == OPENAI_SEND) == (call != NULL));
    openai_call_free(&call);
    buf_fini(&path);
    buf_fini(&body);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scarce) / sizeof(scarce[0]); i++) {
        scarce_failures = 0;
        alloc_fault_each(ask_in_scarcity, &i);
        assert_true(scarce_failures >= 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_exactly_these),
        cmocka_unit_test(what_go_clients_always_send_is_nothing),
        cmocka_unit_test(inherited_options_serve_where_there_are_none),
        cmocka_unit_test(the_last_of_several_names_counts),
        cmocka_unit_test(numbers_and_texts_stay_as_they_are),
        cmocka_unit_test(results_of_tools_name_their_call),
        cmocka_unit_test(media_types_are_sniffed),
        cmocka_unit_test(schemas_of_raw_requests),
        cmocka_unit_test(logprobs_are_asked_for_at_least_one),
        cmocka_unit_test(only_tools_with_logprobs_are_asked_for_whole),
        cmocka_unit_test(an_empty_prompt_is_answered_at_once),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(integers_are_cut_as_by_ollama),
        cmocka_unit_test(every_allocation_may_fail)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
