/* SPDX-License-Identifier: Apache-2.0 */
/* tags, ps, show of recorded llama.cpp answers, of vLLM's shape, and of wrong ones. */
#include <string.h>

#include "alloc_fault.h"
#include "openai_help.h"

static const char vllm[] =
    "{\"object\":\"list\",\"data\":[{\"id\":\"Qwen/"
    "Qwen2.5-7B\",\"object\":\"model\",\"created\":1767323045,"
    "\"owned_by\":\"vllm\",\"root\":\"Qwen/Qwen2.5-7B\",\"parent\":null,\"max_model_len\":4096,"
    "\"permission\":[{\"id\":\"modelperm-1\"}]},{\"id\":\"lora\",\"owned_by\":\"vllm\",\"max_model_"
    "len\":null}]}";

static yyjson_doc *list(int (*make)(struct slice, struct openai_clock, struct buf *),
                        struct slice models)
{
    struct buf out = {0};
    yyjson_doc *doc;

    assert_int_equal(make(models, clock_after(0), &out), 0);
    doc = parse(buf_slice(&out));
    assert_non_null(doc);
    buf_fini(&out);
    return doc;
}

static int show(struct slice models, struct slice props, const char *model, yyjson_doc **doc)
{
    struct buf out = {0};
    int rv = openai_show(models, props, slice_str(model), clock_after(0), &out);

    *doc = rv == 0 ? parse(buf_slice(&out)) : NULL;
    assert_true((rv == 0) == (*doc != NULL));
    buf_fini(&out);
    return rv;
}

static void one_entry_as_it_stands(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(openai_retrieve(slice_str(vllm), SLICE("qwen/Qwen2.5-7B:latest"), &out), 0);
    assert_true(slice_starts(buf_slice(&out), SLICE("{\"id\":\"Qwen/")));
    assert_true(buf_slice(&out).ptr[buf_len(&out) - 1] == '}');
    buf_clear(&out);
    assert_int_equal(openai_retrieve(slice_str(vllm), SLICE("other"), &out), MCP_EUNKNOWN_MODEL);
    assert_int_equal(openai_retrieve(SLICE("{}"), SLICE("lora"), &out), MCP_EUPSTREAM_ERROR);
    assert_int_equal(openai_retrieve(SLICE("{\"data\":[1,{},{\"id\":2}]}"), SLICE("2"), &out),
                     MCP_EUNKNOWN_MODEL);
    assert_int_equal(buf_len(&out), 0);
    buf_fini(&out);
}

static void recorded_llamacpp(void **state)
{
    struct buf models = {0};
    struct buf props = {0};
    yyjson_doc *doc;

    (void)state;
    fixture("models", &models);
    fixture("props", &props);
    doc = list(openai_tags, buf_slice(&models));
    assert_at(doc, "models[0].name", "\"gemma3:270m\"");
    assert_at(doc, "models[0].size", "246587904");
    assert_at(doc, "models[0].details",
              "{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"\",\"families\":[],"
              "\"parameter_size\":\"268.10M\",\"quantization_level\":\"Q4_K_M\","
              "\"context_length\":32768,\"embedding_length\":640}");
    assert_at(doc, "models[0].capabilities", "[\"completion\"]");
    assert_at(doc, "models[1]", NULL);
    yyjson_doc_free(doc);

    doc = list(openai_ps, buf_slice(&models));
    assert_at(doc, "models[0].model", "\"gemma3:270m\"");
    assert_at(doc, "models[0].context_length", "512");
    yyjson_doc_free(doc);

    assert_int_equal(
        show(buf_slice(&models), buf_slice(&props), "registry.ollama.ai/library/gemma3:270m", &doc),
        0);
    assert_at(doc, "template",
              "\"{% for message in messages %}{{ message.content }}{% endfor %}\"");
    assert_at(doc, "model_info",
              "{\"general.architecture\":\"unknown\",\"general.basename\":\"gemma3:270m\","
              "\"general.parameter_count\":268098176,\"unknown.context_length\":32768,"
              "\"unknown.embedding_length\":640}");
    yyjson_doc_free(doc);
    assert_int_equal(show(buf_slice(&models), SLICE(""), "gemma3", &doc), MCP_EUNKNOWN_MODEL);
    assert_int_equal(show(buf_slice(&models), SLICE(""), "", &doc), MCP_EUNKNOWN_MODEL);
    buf_fini(&models);
    buf_fini(&props);
}

static void models_of_vllm(void **state)
{
    yyjson_doc *doc = list(openai_tags, slice_str(vllm));

    (void)state;
    assert_at(doc, "models[0]",
              "{\"name\":\"Qwen/Qwen2.5-7B\",\"model\":\"Qwen/Qwen2.5-7B\","
              "\"modified_at\":\"2026-01-02T03:04:05.000000000Z\",\"size\":0,"
              "\"digest\":\"0000000000000000000000000000000000000000000000000000000000000000\","
              "\"details\":{\"parent_model\":\"\",\"format\":\"\",\"family\":\"\",\"families\":[],"
              "\"parameter_size\":\"\",\"quantization_level\":\"\",\"context_length\":4096},"
              "\"capabilities\":[\"completion\"]}");
    assert_at(doc, "models[1].modified_at", "\"2026-01-02T03:04:05.678901000Z\"");
    yyjson_doc_free(doc);
    doc = list(openai_ps, slice_str(vllm));
    assert_at(doc, "models[0].context_length", "4096");
    assert_at(doc, "models[1].context_length", "0");
    yyjson_doc_free(doc);
    assert_int_equal(show(slice_str(vllm), SLICE(""), "lora:latest", &doc), 0);
    assert_at(doc, "model_info",
              "{\"general.architecture\":\"unknown\",\"general.basename\":\"lora\"}");
    assert_at(doc, "template", NULL);
    yyjson_doc_free(doc);
}

static void what_is_not_loaded_does_not_run(void **state)
{
    yyjson_doc *doc =
        list(openai_ps, SLICE("{\"data\":[{\"id\":\"a\",\"status\":{\"value\":\"unloaded\"}},"
                              "{\"id\":\"b\",\"status\":{\"value\":\"loaded\"}},{\"id\":5},7]}"));

    (void)state;
    assert_at(doc, "models[0].name", "\"b\"");
    assert_at(doc, "models[1]", NULL);
    yyjson_doc_free(doc);
}

/* /props of a server with several models is about the one it names. */
static void props_are_of_their_model(void **state)
{
    struct slice two = SLICE("{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}");
    struct slice props = SLICE("{\"model_alias\":\"b\",\"chat_template\":\"t\"}");
    yyjson_doc *doc;

    (void)state;
    assert_int_equal(show(two, props, "a", &doc), 0);
    assert_at(doc, "template", NULL);
    yyjson_doc_free(doc);
    assert_int_equal(show(two, props, "b", &doc), 0);
    assert_at(doc, "template", "\"t\"");
    yyjson_doc_free(doc);
}

static void sizes_are_written_as_by_ollama(void **state)
{
    static const struct {
        const char *json;
        const char *size;
        const char *level;
    } rows[] = {{"{\"n_params\":7000000000,\"ftype\":\"Q8_0\"}", "\"7B\"", "\"Q8_0\""},
                {"{\"n_params\":7615616512,\"ftype\":\"Q4_K - Small\"}", "\"7.6B\"", "\"Q4_K_S\""},
                {"{\"n_params\":137000000,\"ftype\":\"Q3_K - Large\"}", "\"137M\"", "\"Q3_K_L\""},
                {"{\"n_params\":64500,\"ftype\":\"IQ4_XS - 4.25 bpw\"}", "\"64K\"", "\"IQ4_XS\""},
                {"{\"n_params\":12,\"ftype\":\"all F32 (guessed)\"}", "\"12\"", "\"all\""},
                {"{\"ftype\":5}", "\"\"", "\"\""}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf json = {0};
        yyjson_doc *doc;

        assert_true(buf_printf(&json, "{\"data\":[{\"id\":\"a\",\"meta\":%s}]}", rows[i].json));
        doc = list(openai_tags, buf_slice(&json));
        assert_at(doc, "models[0].details.parameter_size", rows[i].size);
        assert_at(doc, "models[0].details.quantization_level", rows[i].level);
        yyjson_doc_free(doc);
        buf_fini(&json);
    }
}

static void wrong_bodies(void **state)
{
    static const char *const wrong[] = {"", "{", "[]", "{}", "{\"data\":{}}", "{\"models\":[]}",
                                        "5"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct buf out = {0};
        yyjson_doc *doc;

        assert_int_equal(openai_tags(slice_str(wrong[i]), clock_after(0), &out),
                         MCP_EUPSTREAM_ERROR);
        assert_int_equal(openai_ps(slice_str(wrong[i]), clock_after(0), &out), MCP_EUPSTREAM_ERROR);
        assert_int_equal(show(slice_str(wrong[i]), SLICE(""), "a", &doc), MCP_EUPSTREAM_ERROR);
        assert_int_equal(show(slice_str(vllm), slice_str(i == 0 ? "x" : wrong[1]), "lora", &doc),
                         MCP_EUPSTREAM_ERROR);
        buf_fini(&out);
    }
}

static size_t scarce_failures;

static void make_in_scarcity(void *arg)
{
    struct buf out = {0};
    int rv;

    if (*(const char *)arg == 't') {
        rv = openai_tags(slice_str(vllm), clock_after(0), &out);
    } else if (*(const char *)arg == 's') {
        rv = openai_show(slice_str(vllm), SLICE("{\"chat_template\":\"t\"}"), SLICE("lora"),
                         clock_after(0), &out);
    } else {
        rv = openai_version(&out);
    }
    assert_true(rv == 0 || rv == MCP_ENOMEM);
    scarce_failures += rv == MCP_ENOMEM;
    buf_fini(&out);
}

static void every_allocation_may_fail(void **state)
{
    char which[] = "tsv";

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        scarce_failures = 0;
        alloc_fault_each(make_in_scarcity, &which[i]);
        assert_true(scarce_failures >= 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_entry_as_it_stands),
                                       cmocka_unit_test(recorded_llamacpp),
                                       cmocka_unit_test(models_of_vllm),
                                       cmocka_unit_test(what_is_not_loaded_does_not_run),
                                       cmocka_unit_test(props_are_of_their_model),
                                       cmocka_unit_test(sizes_are_written_as_by_ollama),
                                       cmocka_unit_test(wrong_bodies),
                                       cmocka_unit_test(every_allocation_may_fail)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
