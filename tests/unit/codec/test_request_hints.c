/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "codec/request_hints.h"

static struct runner_options of(const char *text)
{
    return runner_options_of(slice_str(text));
}

static void options_that_load_a_model_anew(void **state)
{
    static const char *const same[][2] = {
        {"{\"num_ctx\":8192,\"num_gpu\":1}", "{ \"num_gpu\" : 1, \"seed\":4, \"num_ctx\":8192 }"},
        {"{\"num_ctx\":8192}", "{\"num\\u005fctx\":8192,\"temperature\":0.1}"},
        {"{\"seed\":1}", "{}"},
        {"{\"num_ctx\":null}", ""},
        {"[1]", "\"num_ctx\""},
    };
    static const char *const other[][2] = {
        {"{\"num_ctx\":8192}", "{\"num_ctx\":4096}"},
        {"{\"num_ctx\":8192}", "{\"num_batch\":8192}"},
        {"{\"num_ctx\":8192}", "{}"},
        {"{\"use_mmap\":true}", "{\"use_mmap\":false}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(of(same[i][0]).hash, of(same[i][1]).hash);
    }
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
        assert_int_not_equal(of(other[i][0]).hash, of(other[i][1]).hash);
    }
    assert_int_equal(of("{\"seed\":1}").hash, 0);
    assert_int_equal(of("{\"seed\":1,\"num_ctx\":8192}").context, 8192);
    assert_int_equal(of("{\"num_gpu\":1,\"num_ctx\":8192}").context, 0);
    assert_int_equal(of("{\"num_ctx\":8192.5}").context, 0);
    assert_int_equal(of("{\"num_ctx\":99999999999999999999}").context, 0);
}

static size_t hashes_of(const char *body, uint64_t *hashes)
{
    struct request r;

    assert_int_equal(request_read(&r, slice_str(body), REQUEST_FROM_HTTP, NULL), 0);
    return prompt_hashes(&r, hashes, NULL);
}

static void a_conversation_begins_as_it_did(void **state)
{
    uint64_t first[PROMPT_HASHES_MAX], next[PROMPT_HASHES_MAX], other[PROMPT_HASHES_MAX];

    (void)state;
    assert_int_equal(hashes_of("{\"messages\":[{\"a\":1},{\"b\":2}]}", first), 2);
    assert_int_equal(
        hashes_of("{\"model\":\"m\",\"messages\":[{\"a\":1}, {\"b\":2},{\"c\":3}]}", next), 3);
    assert_int_equal(hashes_of("{\"messages\":[{\"a\":0},{\"b\":2}]}", other), 2);
    assert_memory_equal(first, next, 2 * sizeof(first[0]));
    assert_int_not_equal(next[2], next[1]);
    assert_int_not_equal(other[0], first[0]);
    assert_int_not_equal(other[1], first[1]); /* all that is before counts */
}

static size_t text_hashes(size_t len, char last, uint64_t *hashes)
{
    struct buf body = {0};
    size_t count;

    buf_append_str(&body, "{\"prompt\":\"");
    for (size_t i = 1; i < len; i++) {
        buf_append_byte(&body, (char)('a' + i % 23));
    }
    buf_append_byte(&body, last);
    buf_append_str(&body, "\"}");
    buf_append_byte(&body, '\0');
    assert_false(buf_failed(&body));
    count = hashes_of(buf_slice(&body).ptr, hashes);
    buf_fini(&body);
    return count;
}

static void a_prompt_begins_as_it_did(void **state)
{
    uint64_t first[PROMPT_HASHES_MAX], next[PROMPT_HASHES_MAX];

    (void)state;
    assert_int_equal(text_hashes(256, 'x', first), 1);
    assert_int_equal(text_hashes(256, 'y', next), 1);
    assert_int_not_equal(first[0], next[0]);
    assert_int_equal(text_hashes(3000, 'x', first), 5); /* 256, 512, 1024, 2048, 3000 */
    assert_int_equal(text_hashes(3000, 'y', next), 5);
    assert_memory_equal(first, next, 4 * sizeof(first[0]));
    assert_int_not_equal(first[4], next[4]);
    assert_int_equal(text_hashes(2048, (char)('a' + 2048 % 23), next), 4);
    assert_memory_equal(first, next, 4 * sizeof(first[0]));
}

static void it_is_known_how_long_beginnings_are(void **state)
{
    static const char chat[] = "{\"messages\":[{\"a\":1}, {\"bc\":23}]}";
    uint64_t hashes[PROMPT_HASHES_MAX], bytes[PROMPT_HASHES_MAX];
    struct buf body = {0};
    struct request r;

    (void)state;
    assert_int_equal(request_read(&r, slice_str(chat), REQUEST_FROM_HTTP, NULL), 0);
    assert_int_equal(prompt_hashes(&r, hashes, bytes), 2);
    assert_int_equal(bytes[0], 7);
    assert_int_equal(bytes[1], 7 + 9);
    buf_printf(&body, "{\"prompt\":\"%0*d\"}", 1100, 0);
    assert_int_equal(request_read(&r, buf_slice(&body), REQUEST_FROM_HTTP, NULL), 0);
    assert_int_equal(prompt_hashes(&r, hashes, bytes), 4);
    assert_int_equal(bytes[0], 256);
    assert_int_equal(bytes[1], 512);
    assert_int_equal(bytes[2], 1024);
    assert_int_equal(bytes[3], 1100);
    buf_fini(&body);
}

static void what_has_no_prompt_has_no_hash(void **state)
{
    uint64_t hashes[PROMPT_HASHES_MAX];

    (void)state;
    assert_int_equal(hashes_of("{\"input\":\"a\"}", hashes), 0);
    assert_int_equal(hashes_of("{\"prompt\":\"\"}", hashes), 0);
    assert_int_equal(hashes_of("{\"prompt\":7,\"messages\":null}", hashes), 0);
    assert_int_equal(hashes_of("{\"messages\":{}}", hashes), 0);
    assert_int_equal(hashes_of("{\"messages\":[]}", hashes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_load_a_model_anew),
        cmocka_unit_test(a_conversation_begins_as_it_did),
        cmocka_unit_test(a_prompt_begins_as_it_did),
        cmocka_unit_test(it_is_known_how_long_beginnings_are),
        cmocka_unit_test(what_has_no_prompt_has_no_hash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
