/* SPDX-License-Identifier: Apache-2.0 */
/* Whole answers out of streams: each recorded pair comes out equal, however the stream was cut; and
 * what is not in the recordings. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_fault.h"
#include "http/parse/split.h"
#include "http/parse/sse.h"
#include "node/openai_assemble.h"
#include "openai_help.h"

#define LIMIT_BYTES ((size_t)1 << 20)

/* One assembly and what it gave. */
struct made {
    struct openai_assembly *a;
    struct splitter splitter;
    struct buf scratch;
    struct buf out;
    int rv; /* of the first event that gave more than OPENAI_NOTHING */
    unsigned status;
};

static void made_init(struct made *m, enum openai_assembled kind, size_t max_bytes)
{
    *m = (struct made){.a = openai_assembly_new(kind, max_bytes)};
    splitter_init(&m->splitter, SPLIT_SSE, LIMIT_BYTES);
}

static void made_fini(struct made *m)
{
    openai_assembly_free(&m->a);
    assert_null(m->a);
    openai_assembly_free(&m->a); /* none is fine */
    splitter_fini(&m->splitter);
    buf_fini(&m->scratch);
    buf_fini(&m->out);
}

static void feed_event(struct made *m, struct slice data)
{
    int rv = openai_assembly_event(m->a, data, &m->out, &m->status);

    assert_true(m->rv == OPENAI_NOTHING || rv == OPENAI_NOTHING); /* nothing follows the end */
    m->rv = rv == OPENAI_NOTHING ? m->rv : rv;
}

static void feed(struct made *m, struct slice bytes)
{
    struct slice part;
    struct sse_event ev;

    while (bytes.len > 0 && m->rv >= 0) {
        ptrdiff_t used = splitter_feed(&m->splitter, bytes, &part);

        assert_true(used >= 0);
        bytes = slice_skip(bytes, (size_t)used);
        if (part.ptr != NULL) {
            assert_true(sse_event_read(part, &m->scratch, &ev));
            if (ev.has_data) {
                feed_event(m, ev.data);
            }
        }
    }
}

static enum openai_assembled kind_of(const char *name)
{
    static const char *const kinds[] = {[OPENAI_ASSEMBLED_CHAT] = "chat",
                                        [OPENAI_ASSEMBLED_COMPLETIONS] = "completions",
                                        [OPENAI_ASSEMBLED_MESSAGES] = "messages",
                                        [OPENAI_ASSEMBLED_RESPONSES] = "responses"};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strncmp(name, kinds[i], strlen(kinds[i])) == 0) {
            return (enum openai_assembled)i;
        }
    }
    fail_msg("%s: which kind?", name);
    return OPENAI_ASSEMBLED_CHAT;
}

/* Recorded pairs. Two answers to one request differ in ids and clocks. */

static bool is_one_of(const char *key, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        if (strcmp(key, *keys) == 0) {
            return true;
        }
    }
    return false;
}

static void even_out(yyjson_mut_val *val, bool timings)
{
    static const char *const ids[] = {"id", "call_id", NULL};
    static const char *const times[] = {"created", "created_at", "completed_at", NULL};
    yyjson_mut_val *key;
    yyjson_mut_val *item;
    size_t i;
    size_t max;

    yyjson_mut_arr_foreach(val, i, max, item)
    {
        even_out(item, timings);
    }
    yyjson_mut_obj_foreach(val, i, max, key, item)
    {
        const char *name = yyjson_mut_get_str(key);

        if (yyjson_mut_is_str(item) && is_one_of(name, ids)) {
            assert_true(yyjson_mut_get_len(item) > 8);
            (void)yyjson_mut_set_strn(item, "", 0);
        } else if (yyjson_mut_is_num(item) && (timings || is_one_of(name, times))) {
            (void)yyjson_mut_set_int(item, 0);
        }
        even_out(item, strcmp(name, "timings") == 0);
    }
}

static yyjson_mut_doc *evened(struct slice json)
{
    yyjson_doc *doc = parse(json);
    yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);

    yyjson_doc_free(doc);
    even_out(yyjson_mut_doc_get_root(copy), false);
    return copy;
}

static void assert_same(const char *name, const struct made *m, struct slice whole_answer)
{
    yyjson_mut_doc *expected = evened(whole_answer);
    yyjson_mut_doc *given;

    if (m->rv != OPENAI_LAST) {
        fail_msg("%s: %d", name, m->rv);
    }
    given = evened(buf_slice(&m->out));
    if (!yyjson_mut_equals(yyjson_mut_doc_get_root(given), yyjson_mut_doc_get_root(expected))) {
        fail_msg("%s: %s is not %s", name, yyjson_mut_write(given, 0, NULL),
                 yyjson_mut_write(expected, 0, NULL));
    }
    yyjson_mut_doc_free(expected);
    yyjson_mut_doc_free(given);
}

/* A run over `stream` cut at up to two places. */
static void assert_pair(const char *name, struct slice stream, size_t first, size_t second,
                        struct slice whole_answer)
{
    struct made m;

    made_init(&m, kind_of(name), LIMIT_BYTES);
    feed(&m, slice_first(stream, first));
    feed(&m, slice_skip(slice_first(stream, second), first));
    feed(&m, slice_skip(stream, second));
    assert_same(name, &m, whole_answer);
    made_fini(&m);
}

static void byte_by_byte(const char *name, struct slice stream, struct slice whole_answer)
{
    struct made m;

    made_init(&m, kind_of(name), LIMIT_BYTES);
    for (size_t i = 0; i < stream.len; i++) {
        feed(&m, slice_first(slice_skip(stream, i), 1));
    }
    assert_same(name, &m, whole_answer);
    made_fini(&m);
}

static size_t check_pair(const char *file)
{
    char name[64];
    char path[128];
    struct buf stream = {0};
    struct buf whole_answer = {0};
    unsigned seed = 7;
    bool quick;

    (void)snprintf(name, sizeof(name), "%.*s", (int)(strlen(file) - strlen("-stream.json")), file);
    quick = strchr(name, '-') != NULL; /* every split of the first of each kind will do */
    (void)snprintf(path, sizeof(path), "pairs/%s", name);
    fixture(path, &whole_answer);
    (void)snprintf(path, sizeof(path), "pairs/%s-stream", name);
    fixture(path, &stream);
    for (size_t i = 0; !quick && i <= buf_len(&stream); i++) {
        assert_pair(name, buf_slice(&stream), i, i, buf_slice(&whole_answer));
    }
    for (int i = 0; i < 100; i++) {
        size_t second = (size_t)rand_r(&seed) % (buf_len(&stream) + 1);

        assert_pair(name, buf_slice(&stream), (size_t)rand_r(&seed) % (second + 1), second,
                    buf_slice(&whole_answer));
    }
    byte_by_byte(name, buf_slice(&stream), buf_slice(&whole_answer));
    buf_fini(&stream);
    buf_fini(&whole_answer);
    return 1;
}

static void recorded_pairs_come_out_equal(void **state)
{
    DIR *dir = opendir("tests/fixtures/llamacpp/pairs");
    const struct dirent *entry;
    size_t pairs = 0;

    (void)state;
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strstr(entry->d_name, "-stream.json") != NULL) {
            pairs += check_pair(entry->d_name);
        }
    }
    (void)closedir(dir);
    assert_true(pairs >= 23);
}

/* Events by hand, and the JSON that each row's path must have in the end. */

#define CHUNK(choice) "{\"choices\":[" choice "],\"object\":\"chat.completion.chunk\"}"
#define DELTA(delta) CHUNK("{\"index\":0,\"delta\":" delta "}")

struct want {
    const char *path;
    const char *json;
};

static void assert_made(enum openai_assembled kind, const char *const *events,
                        const struct want *want)
{
    struct made m;
    yyjson_doc *doc;

    made_init(&m, kind, LIMIT_BYTES);
    for (; *events != NULL; events++) {
        feed_event(&m, slice_str(*events));
    }
    assert_int_equal(m.rv, OPENAI_LAST);
    doc = parse(buf_slice(&m.out));
    for (; want->path != NULL; want++) {
        assert_at(doc, want->path, want->json);
    }
    yyjson_doc_free(doc);
    made_fini(&m);
}

static void what_is_not_known_is_carried(void **state)
{
    static const char *const events[] = {
        "null",
        "",
        "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null,"
        "\"annotations\":[]},\"seen\":1}],\"object\":\"x\",\"service_tier\":null,\"new\":{\"a\":1},"
        "\"usage\":null}",
        DELTA("{\"role\":\"assistant\",\"content\":\"a\",\"refusal\":null,\"mood\":\"ca\"}"),
        DELTA("{\"content\":\"b\",\"mood\":\"lm\",\"deep\":{\"text\":\"x\",\"type\":\"t\"},"
              "\"annotations\":[{\"u\":1}]}"),
        DELTA("{\"deep\":{\"text\":\"y\",\"type\":\"t\",\"n\":2},\"annotations\":[{\"u\":2}]}"),
        "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"seen\":2}],\"new\":"
        "{\"b\":2},\"prompt_progress\":{\"total\":1},\"usage\":{\"total_tokens\":3}}",
        "{\"choices\":[],\"usage\":null}",
        "[DONE]",
        "[DONE]",
        DELTA("{\"content\":\"more\"}"),
        NULL};
    static const struct want want[] = {
        {"choices[0].message.role", "\"assistant\""},
        {"choices[0].message.content", "\"ab\""},
        {"choices[0].message.refusal", "null"},
        {"choices[0].message.mood", "\"calm\""},
        {"choices[0].message.deep", "{\"text\":\"xy\",\"type\":\"t\",\"n\":2}"},
        {"choices[0].message.annotations", "[{\"u\":1},{\"u\":2}]"},
        {"choices[0].finish_reason", "\"stop\""},
        {"choices[0].seen", "2"},
        {"choices[0].delta", NULL},
        {"object", "\"chat.completion\""},
        {"service_tier", "null"},
        {"new", "{\"a\":1,\"b\":2}"},
        {"usage", "{\"total_tokens\":3}"},
        {"prompt_progress", NULL},
        {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_CHAT, events, want);
}

static void choices_are_told_apart(void **state)
{
    static const char *const events[] = {
        CHUNK("{\"index\":2,\"delta\":{\"content\":\"c\"}}"),
        CHUNK("{\"index\":0,\"delta\":{\"content\":\"a\"}},{\"index\":1,\"delta\":{\"content\":"
              "\"b\"},\"finish_reason\":\"stop\"}"),
        "{\"choices\":[],\"usage\":{\"n\":1}}",
        CHUNK("{\"index\":2,\"delta\":{},\"finish_reason\":\"length\"}"),
        "{\"choices\":[],\"usage\":{\"n\":2}}",
        CHUNK("{\"index\":0,\"delta\":{\"content\":\"A\"},\"finish_reason\":\"x\"}"),
        "{\"choices\":[],\"usage\":{\"n\":0}}",
        CHUNK("{\"index\":1,\"delta\":{}}"),
        "{\"choices\":[],\"usage\":{\"n\":3}}",
        "[DONE]",
        NULL};
    static const struct want want[] = {
        {"choices", "[{\"index\":0,\"message\":{\"content\":\"aA\"},\"finish_reason\":\"x\"},"
                    "{\"index\":1,\"message\":{\"content\":\"b\"},\"finish_reason\":\"stop\"},"
                    "{\"index\":2,\"message\":{\"content\":\"c\"},\"finish_reason\":\"length\"}]"},
        {"usage.n", "0"}, /* as llama.cpp's server: the first choice's */
        {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_CHAT, events, want);
}

static void pieces_are_joined_as_they_came(void **state)
{
    static const char *const events[] = {
        DELTA("{\"content\":\"\\ud83d\"}"),
        DELTA("{\"content\":\"\\ude00 \\u00e9\\n\xC3\xA9\"}"),
        CHUNK("{\"index\":0,\"logprobs\":null}"),
        CHUNK("{\"index\":0,\"logprobs\":{\"content\":[{\"index\":0,\"token\":\"a\"}],\"n\":1}}"),
        CHUNK("{\"index\":0,\"logprobs\":{\"content\":[{\"index\":0,\"token\":\"b\"}],\"n\":2}}"),
        "[DONE]",
        NULL};
    static const struct want want[] = {
        {"choices[0].message.content", "\"\\ud83d\\ude00 \\u00e9\\n\xC3\xA9\""},
        {"choices[0].logprobs",
         "{\"content\":[{\"index\":0,\"token\":\"a\"},{\"index\":0,\"token\":\"b\"}],\"n\":2}"},
        {0}};
    static const char *const legacy[] = {
        "{\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":{\"tokens\":[\"a\"],"
        "\"text_offset\":[0],\"top_logprobs\":[{\"index\":0}]}}],\"object\":\"text_completion\"}",
        "{\"choices\":[{\"index\":0,\"text\":\"b\",\"logprobs\":{\"tokens\":[\"b\"],"
        "\"text_offset\":[1],\"top_logprobs\":[{\"index\":0}]}}]}",
        "[DONE]", NULL};
    static const struct want two[] = {
        {"object", "\"text_completion\""},
        {"choices[0].text", "\"ab\""},
        {"choices[0].logprobs", "{\"tokens\":[\"a\",\"b\"],\"text_offset\":[0,1],\"top_logprobs\":["
                                "{\"index\":0},{\"index\":0}]}"},
        {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_CHAT, events, want);
    assert_made(OPENAI_ASSEMBLED_COMPLETIONS, legacy, two);
}

#define TOOL(json) DELTA("{\"tool_calls\":[" json "]}")

static void tool_calls_are_put_together(void **state)
{
    static const char *const events[] = {
        TOOL("{\"index\":1,\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"g\"}}"),
        TOOL("{\"index\":0,\"id\":\"c0\",\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"\"}}"),
        TOOL("{\"index\":0,\"id\":\"c0\",\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"{\\\"a\\\"\"}}"),
        TOOL("{\"index\":0,\"id\":\"\",\"function\":{\"arguments\":\":1}\"}},"
             "{\"index\":1,\"id\":null,\"function\":{\"name\":null,\"arguments\":\"{}\"}}"),
        "[DONE]",
        NULL};
    static const struct want want[] = {
        {"choices[0].message.tool_calls",
         "[{\"id\":\"c0\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":"
         "\"{\\\"a\\\":1}\"}},{\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"g\","
         "\"arguments\":\"{}\"}}]"},
        {0}};
    static const char *const without_index[] = {
        TOOL("{\"id\":\"c0\",\"function\":{\"name\":\"f\"}}"),
        TOOL("{\"id\":\"c1\",\"function\":{\"name\":\"g\"}}"), "[DONE]", NULL};
    static const struct want two[] = {{"choices[0].message.tool_calls",
                                       "[{\"id\":\"c0\",\"function\":{\"name\":\"f\"}},{\"id\":"
                                       "\"c1\",\"function\":{\"name\":\"g\"}}]"},
                                      {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_CHAT, events, want);
    assert_made(OPENAI_ASSEMBLED_CHAT, without_index, two);
}

#define MESSAGE_START                                                                              \
    "{\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[],\"stop_reason\":null,"   \
    "\"usage\":{\"input_tokens\":5,\"output_tokens\":0}}}"
#define BLOCK(index, block)                                                                        \
    "{\"type\":\"content_block_start\",\"index\":" index ",\"content_block\":" block "}"
#define BLOCK_DELTA(index, delta)                                                                  \
    "{\"type\":\"content_block_delta\",\"index\":" index ",\"delta\":" delta "}"
#define TOOL_USE(more) "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\"" more "}"
#define MESSAGE_STOP "{\"type\":\"message_stop\"}"

static void messages_are_put_together(void **state)
{
    static const char *const events[] = {
        MESSAGE_START,
        "{\"type\":\"ping\"}",
        BLOCK("0", "{\"type\":\"text\",\"text\":\"a\"}"),
        BLOCK_DELTA("0", "{\"type\":\"text_delta\",\"text\":\"b\"}"),
        BLOCK("1", TOOL_USE(",\"input\":{}")),
        BLOCK_DELTA("1", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"k\\\"\"}"),
        BLOCK_DELTA("1", "{\"type\":\"input_json_delta\",\"partial_json\":\": [1]}\"}"),
        BLOCK("2", TOOL_USE("")),
        BLOCK_DELTA("2", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"cut\"}"),
        BLOCK("3", TOOL_USE("")),
        BLOCK("4", TOOL_USE(",\"input\":{\"all\":1}")),
        BLOCK("5", "{\"type\":\"thinking\",\"thinking\":\"\"}"),
        BLOCK_DELTA("5", "{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}"),
        BLOCK_DELTA("5", "{\"type\":\"signature_delta\",\"signature\":\"s\"}"),
        "{\"type\":\"content_block_stop\",\"index\":0}",
        "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"new\":7},\"usage\":"
        "{\"output_tokens\":4}}",
        MESSAGE_STOP,
        NULL};
    static const struct want want[] = {
        {"", "{\"id\":\"m\",\"content\":[{\"type\":\"text\",\"text\":\"ab\"},"
             "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"k\":[1]}},"
             "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}},"
             "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}},"
             "{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{\"all\":1}},"
             "{\"type\":\"thinking\",\"thinking\":\"hm\",\"signature\":\"s\"}],"
             "\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":5,\"output_tokens\":4},"
             "\"new\":7}"},
        {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_MESSAGES, events, want);
}

static void responses_are_their_last_event(void **state)
{
    static const char *const events[] = {
        "{\"type\":\"response.created\",\"response\":{\"error\":null}}",
        "{\"type\":\"response.of_a_new_kind\",\"x\":1}",
        "{\"type\":\"response.completed\",\"response\":{\"created_at\":7,\"status\":\"completed\","
        "\"output\":[{\"type\":\"reasoning\"},{\"type\":\"x\",\"status\":\"y\"},{},3],\"z\":1}}",
        NULL};
    static const struct want want[] = {
        {"", "{\"created_at\":7,\"status\":\"completed\",\"output\":[{\"type\":\"reasoning\","
             "\"status\":\"completed\"},{\"type\":\"x\",\"status\":\"y\"},{},3],\"z\":1,"
             "\"completed_at\":7}"},
        {0}};
    static const char *const incomplete[] = {
        "{\"type\":\"response.incomplete\",\"response\":{\"created_at\":7,\"status\":"
        "\"incomplete\",\"output\":[{\"type\":\"reasoning\"}]}}",
        NULL};
    static const struct want as_it_came[] = {
        {"", "{\"created_at\":7,\"status\":\"incomplete\",\"output\":[{\"type\":\"reasoning\"}]}"},
        {0}};
    static const char *const bare[] = {"{\"type\":\"response.failed\",\"response\":{}}", NULL};
    static const struct want nothing[] = {{"", "{}"}, {0}};

    (void)state;
    assert_made(OPENAI_ASSEMBLED_RESPONSES, events, want);
    assert_made(OPENAI_ASSEMBLED_RESPONSES, incomplete, as_it_came);
    assert_made(OPENAI_ASSEMBLED_RESPONSES, bare, nothing);
}

static void errors_keep_their_words_and_status(void **state)
{
    static const struct {
        const char *event;
        unsigned status;
    } rows[] = {
        {"{\"error\":{\"code\":503,\"message\":\"m\",\"type\":\"server_error\"}}", 503},
        {"{\"error\":{\"code\":200,\"type\":\"not_supported_error\"}}", 501},
        {"{\"error\":{\"code\":\"rate\",\"type\":\"rate_limit_error\"}}", 429},
        {"{\"error\":{\"message\":\"m\",\"type\":\"exceed_context_size_error\"}}", 400},
        {"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"m\"}}", 503},
        {"{\"type\":\"error\",\"code\":404,\"message\":\"m\"}", 404},
        {"{\"object\":\"error\",\"error\":\"text\"}", 500},
        {"{\"choices\":[],\"error\":{\"message\":\"m\",\"code\":600}}", 500},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int kind = OPENAI_ASSEMBLED_CHAT; kind <= OPENAI_ASSEMBLED_RESPONSES; kind++) {
            struct made m;

            made_init(&m, (enum openai_assembled)kind, LIMIT_BYTES);
            feed_event(&m, slice_str(rows[i].event));
            assert_int_equal(m.rv, OPENAI_ERROR);
            assert_int_equal(m.status, rows[i].status);
            assert_true(slice_eq(buf_slice(&m.out), slice_str(rows[i].event)));
            made_fini(&m);
        }
    }
}

static void assert_refused(enum openai_assembled kind, const char *const *events)
{
    struct made m;

    made_init(&m, kind, LIMIT_BYTES);
    for (; *events != NULL; events++) {
        assert_int_equal(m.rv, OPENAI_NOTHING);
        feed_event(&m, slice_str(*events));
    }
    assert_int_equal(m.rv, MCP_EUPSTREAM_ERROR);
    made_fini(&m);
}

/* The last event of each is not what such a node sends. */
static void what_cannot_be_read_is_not_dropped(void **state)
{
    static const char *const chunks[][4] = {
        {"[1]"},
        {"nonsense"},
        {"{\"a\":1"},
        {"[DONE]"},
        {"{\"usage\":{}}", "[DONE]"},
        {"{\"choices\":{}}"},
        {"{\"choices\":[1]}"},
        {"{\"choices\":[{\"delta\":{}}]}"},
        {"{\"choices\":[{\"index\":-1}]}"},
        {DELTA("{\"content\":\"a\"}"), DELTA("{\"content\":[1]}")},
        {DELTA("{\"content\":\"a\"}"), DELTA("{\"content\":{\"a\":1}}")},
        {DELTA("{\"x\":{\"a\":1}}"), DELTA("{\"x\":\"a\"}")},
        {DELTA("\"text\""), DELTA("{\"content\":\"a\"}")},
        {TOOL("{\"id\":\"a\"}"), TOOL("{\"index\":0,\"id\":\"a\"}")},
        {TOOL("{\"index\":0,\"id\":\"a\"}"), TOOL("{\"id\":\"a\"}")},
    };
    static const char *const messages[][4] = {
        {MESSAGE_STOP},
        {"{\"type\":\"of_a_new_kind\"}"},
        {"{}"},
        {BLOCK("0", "{\"type\":\"text\"}")},
        {"{\"type\":\"message_start\",\"message\":1}"},
        {MESSAGE_START, BLOCK("-1", "{}")},
        {MESSAGE_START, BLOCK("0", "3")},
        {MESSAGE_START, BLOCK_DELTA("0", "{\"type\":\"text_delta\",\"text\":\"a\"}")},
        {MESSAGE_START, BLOCK("0", "{\"type\":\"text\"}"), BLOCK("0", "{\"type\":\"text\"}")},
        {"{\"type\":\"message_start\",\"message\":{}}", MESSAGE_STOP},
        {"{\"type\":\"message_start\",\"message\":{\"content\":[3]}}", BLOCK("0", "{}")},
        {MESSAGE_START, BLOCK("0", TOOL_USE(",\"input\":{\"a\":1}")),
         BLOCK_DELTA("0", "{\"partial_json\":\"{}\"}")},
    };
    static const char *const responses[][4] = {
        {"{\"type\":\"response.completed\"}"},
        {"{\"type\":\"response.completed\",\"response\":[]}"},
        {"{\"type\":\"something\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(chunks) / sizeof(chunks[0]); i++) {
        assert_refused(OPENAI_ASSEMBLED_CHAT, chunks[i]);
    }
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        assert_refused(OPENAI_ASSEMBLED_MESSAGES, messages[i]);
    }
    for (size_t i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {
        assert_refused(OPENAI_ASSEMBLED_RESPONSES, responses[i]);
    }
}

static void memory_is_bounded(void **state)
{
    struct made m;
    size_t events;

    (void)state;
    made_init(&m, OPENAI_ASSEMBLED_CHAT, 16384);
    for (events = 0; m.rv == OPENAI_NOTHING; events++) {
        feed_event(&m, SLICE(DELTA("{\"content\":\"0123456789012345678901234567890123456789\"}")));
    }
    assert_int_equal(m.rv, MCP_ETOO_LARGE);
    assert_in_range(events, 100, 16384 / 40);
    made_fini(&m);

    /* what is replaced is not held */
    made_init(&m, OPENAI_ASSEMBLED_CHAT, 16384);
    for (size_t i = 0; i < 10000; i++) {
        feed_event(&m,
                   SLICE("{\"choices\":[],\"created\":1700000000,\"id\":\"chatcmpl-0123456789\","
                         "\"timings\":{\"a\":1.25,\"list\":[1,2,3]}}"));
    }
    feed_event(&m, SLICE("[DONE]"));
    assert_int_equal(m.rv, OPENAI_LAST);
    made_fini(&m);

    /* nor are choices without end */
    made_init(&m, OPENAI_ASSEMBLED_CHAT, (size_t)64 << 20);
    for (size_t i = 0; m.rv == OPENAI_NOTHING; i++) {
        char event_text[64];

        (void)snprintf(event_text, sizeof(event_text), "{\"choices\":[{\"index\":%zu}]}", i);
        feed_event(&m, slice_str(event_text));
        assert_true(i <= 16384);
    }
    assert_int_equal(m.rv, MCP_ETOO_LARGE);
    made_fini(&m);
}

/* A recorded stream, read before memory fails. */
struct recorded {
    const char *name;
    struct buf body;
    struct slice data[256];
    size_t count;
    size_t failed;
};

static void recorded_read(struct recorded *r)
{
    char path[128];
    struct slice rest;

    (void)snprintf(path, sizeof(path), "pairs/%s-stream", r->name);
    fixture(path, &r->body);
    rest = buf_slice(&r->body);
    while (rest.len > 0) {
        const char *end = memmem(rest.ptr, rest.len, "\n\n", 2);
        const char *data = memmem(rest.ptr, rest.len, "data: ", 6);

        assert_true(end != NULL && data != NULL && data < end && r->count < 256);
        r->data[r->count++] = slice_of(data + 6, (size_t)(end - data) - 6);
        rest = slice_skip(rest, (size_t)(end + 2 - rest.ptr));
    }
}

static void run_without_memory(void *arg)
{
    struct recorded *r = arg;
    struct openai_assembly *a = openai_assembly_new(kind_of(r->name), LIMIT_BYTES);
    struct buf out = {0};
    unsigned status;
    int rv = a == NULL ? MCP_ENOMEM : OPENAI_NOTHING;

    for (size_t i = 0; i < r->count && rv == OPENAI_NOTHING; i++) {
        rv = openai_assembly_event(a, r->data[i], &out, &status);
    }
    assert_true(rv == OPENAI_LAST || rv == MCP_ENOMEM);
    r->failed += rv == MCP_ENOMEM;
    openai_assembly_free(&a);
    buf_fini(&out);
}

static void out_of_memory_is_told(void **state)
{
    static const char *const names[] = {"chat-tools", "completions-logprobs", "messages-tools",
                                        "responses-tools"};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct recorded r = {.name = names[i]};

        recorded_read(&r);
        alloc_fault_each(run_without_memory, &r);
        assert_true(r.failed >= 2);
        buf_fini(&r.body);
    }
}

static void only_what_streams_whole_is_asked_so(void **state)
{
    static const struct {
        const char *request;
        bool chat;
        bool completions;
    } rows[] = {
        {"{}", true, true},
        {"{\"stream\":false,\"tools\":[{}],\"stop\":null,\"n\":2}", true, true},
        {"{\"stop\":[\"a\"]}", false, false},
        {"{\"stop_sequences\":[\"a\"]}", false, false},
        {"{\"response_format\":{\"type\":\"json_object\"}}", false, false},
        {"{\"grammar\":\"a\"}", false, false},
        {"{\"json_schema\":{}}", false, false},
        {"{\"verbose\":true}", false, false},
        {"{\"verbose\":false}", true, true},
        {"{\"logprobs\":true}", false, true},
        {"{\"logprobs\":5}", false, true},
        {"{\"n_probs\":1}", false, true},
        {"{\"logprobs\":false,\"n_probs\":0,\"top_logprobs\":null}", true, true},
        {"{\"logprobs\":null,\"stream_options\":null}", true, true},
        {"{\"logprobs\":1,\"stop\":\"a\"}", false, false},
        {"{\"stop\":\"a\",\"log\\u0070robs\":1}", false, false},
        {"{\"logprobs\":1,\"stop\":null}", false, true},
        {"{\"stream_options\":{}}", false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct slice request = slice_str(rows[i].request);

        assert_int_equal(openai_assembles(OPENAI_ASSEMBLED_CHAT, request), rows[i].chat);
        assert_int_equal(openai_assembles(OPENAI_ASSEMBLED_MESSAGES, request), rows[i].chat);
        assert_int_equal(openai_assembles(OPENAI_ASSEMBLED_RESPONSES, request), rows[i].chat);
        assert_int_equal(openai_assembles(OPENAI_ASSEMBLED_COMPLETIONS, request),
                         rows[i].completions);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_pairs_come_out_equal),
        cmocka_unit_test(what_is_not_known_is_carried),
        cmocka_unit_test(choices_are_told_apart),
        cmocka_unit_test(pieces_are_joined_as_they_came),
        cmocka_unit_test(tool_calls_are_put_together),
        cmocka_unit_test(messages_are_put_together),
        cmocka_unit_test(responses_are_their_last_event),
        cmocka_unit_test(errors_keep_their_words_and_status),
        cmocka_unit_test(what_cannot_be_read_is_not_dropped),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(out_of_memory_is_told),
        cmocka_unit_test(only_what_streams_whole_is_asked_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
