/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of generate and chat: recorded ones of llama.cpp's server, those of vLLM by its own
 * shapes, and wrong ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"
#include "openai_help.h"

#define CHAT(more) "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" more "}"
#define RAW(more) "{\"prompt\":\"hi\",\"raw\":true" more "}"
#define PIECE(text) "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}"
#define FINISH(reason) "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}"
#define USAGE "{\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}"

/* The text of the answer so far, and the last part. */
struct heard {
    struct buf text;
    size_t parts;
    yyjson_doc *last;
};

static void heard_fini(struct heard *h)
{
    buf_fini(&h->text);
    yyjson_doc_free(h->last);
}

static void hear(struct heard *h, int rv, yyjson_doc *doc, bool is_chat)
{
    yyjson_val *text;

    if (rv != OPENAI_PART && rv != OPENAI_LAST) {
        yyjson_doc_free(doc);
        return;
    }
    text = at_path(yyjson_doc_get_root(doc), is_chat ? "message.content" : "response");
    assert_true(yyjson_is_str(text));
    assert_true(buf_append(&h->text, slice_of(yyjson_get_str(text), yyjson_get_len(text))));
    h->parts++;
    if (rv == OPENAI_LAST) {
        assert_null(h->last);
        h->last = doc;
    } else {
        assert_at(doc, "done", "false");
        yyjson_doc_free(doc);
    }
}

/* Runs a recorded stream. */
static void play(const char *name, bool is_chat, const char *request, struct heard *h)
{
    struct buf body = {0};
    struct slice events;
    struct slice data;
    struct asked a;

    *h = (struct heard){0};
    fixture(name, &body);
    events = buf_slice(&body);
    ask(&a, is_chat ? OP_CHAT : OP_GENERATE, request, "");
    assert_int_equal(a.rv, OPENAI_SEND);
    for (uint64_t us = 10000; fixture_next(&events, &data); us += 10000) {
        struct buf out = {0};
        int rv = openai_event(a.call, data, clock_after(us), &out);

        assert_true(rv >= 0 && rv != OPENAI_ERROR);
        hear(h, rv, buf_len(&out) > 0 ? parse(buf_slice(&out)) : NULL, is_chat);
        buf_fini(&out);
    }
    if (h->last == NULL) {
        fail_msg("%s has no last part", name);
    }
    asked_fini(&a);
    buf_fini(&body);
}

static void recorded_streams(void **state)
{
    static const struct {
        const char *name;
        bool is_chat;
        const char *text;
        const char *reason;
        const char *prompt_count;
        const char *count;
        size_t parts;
    } rows[] = {
        {"chat-stream-usage", true, " the capital of the", "\"length\"", "6", "4", 5},
        {"chat-stream", true, " the capital of the", "\"length\"", "6", "4", 5},
        {"chat-stream-timings", true, " the capital of", "\"length\"", "6", "3", 4},
        {"chat-stream-stop", true, NULL, "\"stop\"", NULL, NULL, 0},
        {"chat-stream-logprobs", true, " the capital", "\"length\"", "6", "2", 3},
        {"completions-stream-usage", false, " the capital of the", "\"length\"", NULL, NULL, 5},
        {"completions-stream", false, " the capital of the", "\"length\"", NULL, NULL, 5},
        {"completions-stream-stop", false, " 6 7 ", "\"stop\"", "10", "6", 6},
        {"completions-stream-utf8", false, NULL, "\"length\"", NULL, "12", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *streamed = rows[i].is_chat ? CHAT("") : RAW("");
        const char *at_once =
            rows[i].is_chat ? CHAT(",\"stream\":false") : RAW(",\"stream\":false");
        struct heard parts;
        struct heard one;

        play(rows[i].name, rows[i].is_chat, streamed, &parts);
        play(rows[i].name, rows[i].is_chat, at_once, &one);
        if (rows[i].text != NULL && !slice_eq(buf_slice(&parts.text), slice_str(rows[i].text))) {
            fail_msg("%s: '%.*s'", rows[i].name, SLICE_ARG(buf_slice(&parts.text)));
        }
        if (rows[i].parts > 0 && rows[i].parts != parts.parts) {
            fail_msg("%s: %zu parts", rows[i].name, parts.parts);
        }
        assert_true(slice_eq(buf_slice(&parts.text), buf_slice(&one.text)));
        assert_int_equal(one.parts, 1);
        assert_at(parts.last, "done_reason", rows[i].reason);
        assert_at(one.last, "done_reason", rows[i].reason);
        if (rows[i].prompt_count != NULL) {
            assert_at(parts.last, "prompt_eval_count", rows[i].prompt_count);
        }
        if (rows[i].count != NULL) {
            assert_at(parts.last, "eval_count", rows[i].count);
            assert_at(one.last, "eval_count", rows[i].count);
        }
        assert_true(yyjson_get_uint(at_path(yyjson_doc_get_root(one.last), "eval_duration")) > 0);
        heard_fini(&parts);
        heard_fini(&one);
    }
}

static void recorded_logprobs(void **state)
{
    struct heard h;

    (void)state;
    play("chat-stream-logprobs", true, CHAT(",\"stream\":false,\"logprobs\":true"), &h);
    assert_at(h.last, "logprobs",
              "[{\"token\":\" the\",\"logprob\":-1.5936477184295654,\"bytes\":[32,116,104,101]},"
              "{\"token\":\" capital\",\"logprob\":-0.6523138880729675,"
              "\"bytes\":[32,99,97,112,105,116,97,108]}]");
    heard_fini(&h);
    play("chat-stream-logprobs", true,
         CHAT(",\"stream\":false,\"logprobs\":true,\"top_logprobs\":2"), &h);
    assert_at(
        h.last, "logprobs[1].top_logprobs[1]",
        "{\"token\":\" most\",\"logprob\":-2.7160441875457764,\"bytes\":[32,109,111,115,116]}");
    heard_fini(&h);
    play("chat-stream-logprobs", true, CHAT(",\"stream\":false"), &h);
    assert_at(h.last, "logprobs", NULL);
    heard_fini(&h);
}

static void recorded_whole_answers(void **state)
{
    static const struct {
        const char *name;
        bool is_chat;
        const char *text;
    } rows[] = {{"chat", true, NULL},
                {"chat-tools", true, "\" the capital of the country of France.\""},
                {"chat-schema", true, NULL},
                {"completions", false, NULL},
                {"completions-logprobs", false, "\" the capital\""}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf body = {0};
        yyjson_doc *doc;
        struct asked a;

        fixture(rows[i].name, &body);
        ask(&a, rows[i].is_chat ? OP_CHAT : OP_GENERATE, rows[i].is_chat ? CHAT("") : RAW(""), "");
        assert_int_equal(whole(a.call, buf_slice(&body), 1000, &doc), OPENAI_LAST);
        assert_at(doc, "done", "true");
        assert_at(doc, "total_duration", "1000000");
        if (rows[i].text != NULL) {
            assert_at(doc, rows[i].is_chat ? "message.content" : "response", rows[i].text);
        }
        yyjson_doc_free(doc);
        asked_fini(&a);
        buf_fini(&body);
    }
}

/* One request, its events in order, and what each must give; "" is a result without a part. */
struct step {
    const char *data;
    int rv;
    const char *path;
    const char *json; /* NULL: absent */
};

static void steps(enum op op, const char *request, const struct step *step)
{
    struct asked a;

    ask(&a, op, request, "");
    assert_int_equal(a.rv, OPENAI_SEND);
    for (uint64_t us = 1000; step->data != NULL; step++, us += 1000) {
        yyjson_doc *doc;
        int rv = event(a.call, step->data, us, &doc);

        if (rv != step->rv) {
            fail_msg("%s: %d", step->data, rv);
        }
        if (step->path != NULL) {
            assert_at(doc, step->path, step->json);
        }
        yyjson_doc_free(doc);
    }
    asked_fini(&a);
}

static void the_end_is_finish_and_usage_or_done(void **state)
{
    const struct step usage_last[] = {{PIECE("a"), OPENAI_PART, "message.content", "\"a\""},
                                      {FINISH("length"), OPENAI_NOTHING, NULL, NULL},
                                      {USAGE, OPENAI_LAST, "done_reason", "\"length\""},
                                      {"[DONE]", OPENAI_NOTHING, NULL, NULL},
                                      {PIECE("more"), OPENAI_NOTHING, NULL, NULL},
                                      {0}};
    const struct step usage_first[] = {{USAGE, OPENAI_NOTHING, NULL, NULL},
                                       {FINISH("stop"), OPENAI_LAST, "prompt_eval_count", "5"},
                                       {0}};
    const struct step no_usage[] = {{PIECE("a"), OPENAI_PART, NULL, NULL},
                                    {PIECE("b"), OPENAI_PART, NULL, NULL},
                                    {FINISH("length"), OPENAI_NOTHING, NULL, NULL},
                                    {"[DONE]", OPENAI_LAST, "eval_count", "2"},
                                    {0}};
    const struct step no_finish[] = {{PIECE("a"), OPENAI_PART, NULL, NULL},
                                     {"[DONE]", OPENAI_LAST, "done_reason", "\"stop\""},
                                     {0}};
    const struct step together[] = {
        {"{\"choices\":[{\"delta\":{\"content\":\"z\"},\"finish_reason\":\"stop\"}],"
         "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
         OPENAI_LAST, "message.content", "\"z\""},
        {0}};

    (void)state;
    steps(OP_CHAT, CHAT(""), usage_last);
    steps(OP_CHAT, CHAT(""), usage_first);
    steps(OP_CHAT, CHAT(""), no_usage);
    steps(OP_CHAT, CHAT(""), no_finish);
    steps(OP_CHAT, CHAT(""), together);
}

static void what_says_nothing_gives_nothing(void **state)
{
    const struct step list[] = {
        {"null", OPENAI_NOTHING, NULL, NULL},
        {"", OPENAI_NOTHING, NULL, NULL},
        {"{}", OPENAI_NOTHING, NULL, NULL},
        {"{\"choices\":null,\"usage\":null,\"error\":null,\"timings\":null}", OPENAI_NOTHING, NULL,
         NULL},
        {"{\"choices\":[]}", OPENAI_NOTHING, NULL, NULL},
        {"{\"choices\":[{\"delta\":null,\"finish_reason\":null,\"logprobs\":null}]}",
         OPENAI_NOTHING, NULL, NULL},
        {"{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}", OPENAI_NOTHING,
         NULL, NULL},
        {PIECE(""), OPENAI_NOTHING, NULL, NULL},
        {"{\"prompt_progress\":{\"total\":9}}", OPENAI_NOTHING, NULL, NULL},
        {PIECE("a"), OPENAI_PART, "message.content", "\"a\""},
        {0}};

    (void)state;
    steps(OP_CHAT, CHAT(""), list);
}

static void assert_has(const struct buf *out, const char *text)
{
    assert_non_null(memmem(buf_slice(out).ptr, buf_len(out), text, strlen(text)));
}

static void pieces_go_on_as_they_came(void **state)
{
    struct asked a;
    struct buf out = {0};
    struct slice odd =
        SLICE("{\"choices\" : [ {\"delta\":{\"content\":\"\\u00e9\\ud83d\\/\\n\xC3\xA9\"}} ] }");

    (void)state;
    ask(&a, OP_CHAT, CHAT(""), "");
    assert_int_equal(openai_event(a.call, odd, clock_after(0), &out), OPENAI_PART);
    assert_has(&out, "\"content\":\"\\u00e9\\ud83d\\/\\n\xC3\xA9\"");
    buf_clear(&out);
    assert_int_equal(openai_event(a.call, SLICE(PIECE("\\ude00")), clock_after(0), &out),
                     OPENAI_PART);
    asked_fini(&a);
    buf_clear(&out);

    /* put together, the halves are a whole again */
    ask(&a, OP_CHAT, CHAT(",\"stream\":false"), "");
    assert_int_equal(openai_event(a.call, SLICE(PIECE("\\ud83d")), clock_after(0), &out),
                     OPENAI_NOTHING);
    assert_int_equal(openai_event(a.call, SLICE(PIECE("\\ude00")), clock_after(0), &out),
                     OPENAI_NOTHING);
    assert_int_equal(openai_event(a.call, SLICE("[DONE]"), clock_after(0), &out), OPENAI_LAST);
    assert_has(&out, "\"\\ud83d\\ude00\"");
    asked_fini(&a);
    buf_fini(&out);
}

static void thinking_and_text_may_share_a_piece(void **state)
{
    const struct step list[] = {
        {"{\"choices\":[{\"delta\":{\"reasoning\":\"h\",\"reasoning_content\":\"hm\"}}]}",
         OPENAI_PART, "message", "{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"}"},
        {"{\"choices\":[{\"delta\":{\"reasoning\":\"so\",\"content\":\"yes\"}}]}", OPENAI_PART,
         "message", "{\"role\":\"assistant\",\"content\":\"yes\",\"thinking\":\"so\"}"},
        {"[DONE]", OPENAI_LAST, "message", "{\"role\":\"assistant\",\"content\":\"\"}"},
        {0}};

    (void)state;
    steps(OP_CHAT, CHAT(""), list);
}

#define TOOL(json) "{\"choices\":[{\"delta\":{\"tool_calls\":[" json "]}}]}"

/* vLLM: id and name first, then pieces of the arguments; two calls at once. */
static const char *const tool_events[] = {
    TOOL("{\"index\":0,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
         "\"arguments\":\"\"}}"),
    TOOL("{\"index\":0,\"function\":{\"arguments\":\"{\\\"city\\\": \\\"K\\u00f6\"}}"),
    TOOL("{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"ln\\\",\\n "
         "\\\"done\\\":true}\"}}"),
    TOOL("{\"index\":1,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":null}}"),
};
static const char tool_calls[] =
    "[{\"id\":\"c1\",\"function\":{\"index\":0,\"name\":\"f\",\"arguments\":{\"city\":"
    "\"K\\u00f6ln\",\"done\":true}}},"
    "{\"id\":\"c2\",\"function\":{\"index\":1,\"name\":\"g\",\"arguments\":{}}}]";

static void tool_calls_are_sent_whole(void **state)
{
    struct step list[8] = {0};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        list[i] = (struct step){tool_events[i], OPENAI_NOTHING, NULL, NULL};
    }
    list[4] = (struct step){FINISH("tool_calls"), OPENAI_PART, "message.tool_calls", tool_calls};
    list[5] = (struct step){USAGE, OPENAI_LAST, "message.tool_calls", NULL};
    steps(OP_CHAT, CHAT(""), list);
    list[4] = (struct step){"[DONE]", OPENAI_LAST, "message.tool_calls", tool_calls};
    list[5] = (struct step){0};
    steps(OP_CHAT, CHAT(""), list);
    list[4] = (struct step){FINISH("tool_calls"), OPENAI_NOTHING, NULL, NULL};
    list[5] = (struct step){USAGE, OPENAI_LAST, "message.tool_calls", tool_calls};
    steps(OP_CHAT, CHAT(",\"stream\":false"), list);
}

static void tool_calls_of_a_whole_answer(void **state)
{
    struct asked a;
    yyjson_doc *doc;

    (void)state;
    ask(&a, OP_CHAT, CHAT(""), "");
    assert_int_equal(whole(a.call,
                           SLICE("{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":["
                                 "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                                 "\"arguments\":\"{}\"}},"
                                 "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                                 "\"arguments\":{\"x\": 1}}}]},"
                                 "\"finish_reason\":\"tool_calls\"}]}"),
                           0, &doc),
                     OPENAI_LAST);
    assert_at(doc, "message.tool_calls[1]",
              "{\"id\":\"b\",\"function\":{\"index\":1,\"name\":\"f\",\"arguments\":{\"x\":1}}}");
    assert_at(doc, "done_reason", "\"stop\"");
    yyjson_doc_free(doc);
    asked_fini(&a);
}

static void arguments_must_be_an_object(void **state)
{
    static const char *const wrong[] = {"{\\\"a\\\":", "[1]", "nonsense", "{} {}", "\\ud800"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char data[256];
        const struct step list[] = {
            {data, OPENAI_NOTHING, NULL, NULL},
            {FINISH("tool_calls"), OPENAI_ERROR, "",
             "\"the node sent a tool call whose arguments are not a JSON object: f\""},
            {0}};

        (void)snprintf(data, sizeof(data),
                       TOOL("{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":\"%s\"}}"),
                       wrong[i]);
        steps(OP_CHAT, CHAT(""), list);
    }
}

static void errors_of_the_node_are_passed_on(void **state)
{
    static const struct {
        const char *data;
        const char *text;
    } rows[] = {
        {"{\"error\":{\"code\":500,\"message\":\"out of \\u00e9\",\"type\":\"server_error\"}}",
         "\"out of \\u00e9\""},
        {"{\"error\":\"plain\"}", "\"plain\""},
        {"{\"object\":\"error\",\"message\":\"old vLLM\",\"code\":400}", "\"old vLLM\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct step list[] = {{PIECE("a"), OPENAI_PART, NULL, NULL},
                                    {rows[i].data, OPENAI_ERROR, "", rows[i].text},
                                    {0}};
        struct asked a;
        yyjson_doc *doc;

        steps(OP_CHAT, CHAT(""), list);
        ask(&a, OP_CHAT, CHAT(""), "");
        assert_int_equal(whole(a.call, slice_str(rows[i].data), 0, &doc), OPENAI_ERROR);
        assert_at(doc, "", rows[i].text);
        yyjson_doc_free(doc);
        asked_fini(&a);
    }
}

#define WRONG_ALTERNATIVE                                                                          \
    "{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\"],\"token_logprobs\":[-1],\"top_logprobs\":["   \
    "{\"b\":\"c\"}]}}]}"

static void what_is_not_the_protocol_is_an_error(void **state)
{
    static const char *const wrong[] = {
        "{",
        "[]",
        "\"text\"",
        "5",
        "[DONE] ",
        "{\"choices\":{}}",
        "{\"choices\":[5]}",
        "{\"choices\":[{\"delta\":\"x\"}]}",
        "{\"choices\":[{\"delta\":{\"content\":5}}]}",
        "{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"text\"}]}}]}",
        "{\"choices\":[{\"finish_reason\":1}]}",
        "{\"usage\":[]}",
        "{\"usage\":{\"prompt_tokens\":\"1\"}}",
        "{\"timings\":5}",
        TOOL("5"),
        TOOL("{\"index\":-1}"),
        TOOL("{\"index\":128}"),
        TOOL("{\"index\":0,\"function\":5}"),
        "{\"choices\":[{\"logprobs\":{\"content\":[5]}}]}",
        "{\"choices\":[{\"logprobs\":{\"content\":[{\"logprob\":-1}]}}]}",
        "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":{}}]}}]}",
        "{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"a\",\"bytes\":[256]}]}}]}",
        "{\"choices\":[{\"logprobs\":{\"tokens\":[\"a\"]}}]}",
        "{\"choices\":[{\"logprobs\":{\"tokens\":[1],\"token_logprobs\":[-1]}}]}",
        WRONG_ALTERNATIVE,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct step list[] = {{wrong[i], MCP_EUPSTREAM_ERROR, NULL, NULL}, {0}};

        steps(OP_CHAT, CHAT(",\"logprobs\":true,\"top_logprobs\":1"), list);
    }
    for (size_t i = 0; i < 2; i++) {
        struct asked a;
        yyjson_doc *doc;

        ask(&a, OP_CHAT, CHAT(""), "");
        assert_int_equal(whole(a.call, i == 0 ? SLICE("{}") : SLICE("{\"choices\":[]}"), 0, &doc),
                         MCP_EUPSTREAM_ERROR);
        asked_fini(&a);
    }
}

static void logprobs_have_no_infinity(void **state)
{
    const struct step list[] = {
        {"{\"choices\":[{\"text\":\"ab\",\"logprobs\":{\"tokens\":[\"a\",\"b\"],\"token_logprobs\":"
         "[null,-2],"
         "\"top_logprobs\":[null,{}],\"text_offset\":[0,1]}}]}",
         OPENAI_PART, "logprobs",
         "[{\"token\":\"a\",\"logprob\":-9999.0},{\"token\":\"b\",\"logprob\":-2,\"top_logprobs\":["
         "]}]"},
        {"{\"choices\":[{\"logprobs\":{\"content\":[{\"token\":\"c\",\"logprob\":null,\"bytes\":"
         "null}]}}]}",
         OPENAI_PART, "logprobs", "[{\"token\":\"c\",\"logprob\":-9999.0}]"},
        {"{\"choices\":[{\"logprobs\":{\"content\":null,\"refusal\":null}}]}", OPENAI_NOTHING, NULL,
         NULL},
        {0}};

    (void)state;
    steps(OP_GENERATE, RAW(",\"logprobs\":true,\"top_logprobs\":2"), list);
}

static void odd_numbers_are_kept_in_bounds(void **state)
{
    const struct step list[] = {{"{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_"
                                 "tokens\":-1,\"completion_tokens\":1.5},"
                                 "\"timings\":{\"prompt_ms\":-5,\"predicted_ms\":1e300,\"prompt_"
                                 "n\":3,\"predicted_n\":4,\"cache_n\":2.5}}",
                                 OPENAI_NOTHING, NULL, NULL},
                                {"[DONE]", OPENAI_LAST, "eval_duration", "9000000000000000000"},
                                {0}};
    const struct step counts[] = {{"{\"timings\":{\"prompt_ms\":5,\"predicted_ms\":6,\"prompt_n\":"
                                   "3,\"predicted_n\":4,\"cache_n\":2}}",
                                   OPENAI_NOTHING, NULL, NULL},
                                  {"[DONE]", OPENAI_LAST, "prompt_eval_count", "5"},
                                  {0}};

    (void)state;
    steps(OP_CHAT, CHAT(""), list);
    steps(OP_CHAT, CHAT(""), counts);
}

static void what_is_held_is_bounded(void **state)
{
    enum { CHUNK = 4 << 20 };
    char *data = malloc(CHUNK + 64);
    struct buf out = {0};
    struct asked a;
    int rv = OPENAI_NOTHING;
    size_t count = 0;

    (void)state;
    assert_non_null(data);
    strcpy(data, "{\"choices\":[{\"delta\":{\"content\":\"");
    memset(data + strlen(data), 'x', CHUNK);
    strcpy(data + 33 + CHUNK, "\"}}]}");
    ask(&a, OP_CHAT, CHAT(",\"stream\":false"), "");
    for (; rv == OPENAI_NOTHING && count < 100; count++) {
        rv = openai_event(a.call, slice_str(data), clock_after(0), &out);
    }
    assert_int_equal(rv, MCP_ETOO_LARGE);
    assert_int_equal(count, 17);
    asked_fini(&a);
    ask(&a, OP_CHAT, CHAT(""), ""); /* what is sent on is not held */
    for (count = 0; count < 20; count++) {
        assert_int_equal(openai_event(a.call, slice_str(data), clock_after(0), &out), OPENAI_PART);
        buf_clear(&out);
    }
    asked_fini(&a);
    buf_fini(&out);
    free(data);
}

static size_t scarce_failures;

#define BOTH                                                                                       \
    "{\"choices\":[{\"delta\":{\"content\":\"b\",\"reasoning\":\"r\"},\"logprobs\":"               \
    "{\"content\":[{\"token\":\"b\",\"logprob\":-1}]}}]}"

static void answer_in_scarcity(void *arg)
{
    static const char *const more[] = {PIECE("a"), BOTH, FINISH("tool_calls"), USAGE};
    struct openai_call *call = arg;
    struct buf out = {0};
    int rv = 0;

    for (size_t i = 0; rv >= 0 && i < 8; i++) {
        rv = openai_event(call, slice_str(i < 4 ? tool_events[i] : more[i - 4]), clock_after(i),
                          &out);
        buf_release(&out);
    }
    assert_true(rv == OPENAI_LAST || rv == MCP_ENOMEM);
    scarce_failures += rv == MCP_ENOMEM;
    buf_fini(&out);
}

/* A call that failed is of no further use: each run has its own. */
static void every_allocation_may_fail(void **state)
{
    static const char *const requests[] = {CHAT(",\"logprobs\":true"),
                                           CHAT(",\"stream\":false,\"logprobs\":true")};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        bool reached = true;

        scarce_failures = 0;
        for (size_t n = 1; reached; n++) {
            struct asked a;

            ask(&a, OP_CHAT, requests[i], "");
            alloc_fault_at(n);
            answer_in_scarcity(a.call);
            reached = alloc_fault_count() >= n;
            alloc_fault_at(0);
            asked_fini(&a);
        }
        assert_true(scarce_failures > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(recorded_streams),
                                       cmocka_unit_test(recorded_logprobs),
                                       cmocka_unit_test(recorded_whole_answers),
                                       cmocka_unit_test(the_end_is_finish_and_usage_or_done),
                                       cmocka_unit_test(what_says_nothing_gives_nothing),
                                       cmocka_unit_test(pieces_go_on_as_they_came),
                                       cmocka_unit_test(thinking_and_text_may_share_a_piece),
                                       cmocka_unit_test(tool_calls_are_sent_whole),
                                       cmocka_unit_test(tool_calls_of_a_whole_answer),
                                       cmocka_unit_test(arguments_must_be_an_object),
                                       cmocka_unit_test(errors_of_the_node_are_passed_on),
                                       cmocka_unit_test(what_is_not_the_protocol_is_an_error),
                                       cmocka_unit_test(logprobs_have_no_infinity),
                                       cmocka_unit_test(odd_numbers_are_kept_in_bounds),
                                       cmocka_unit_test(what_is_held_is_bounded),
                                       cmocka_unit_test(every_allocation_may_fail)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
