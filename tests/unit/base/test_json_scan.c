/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json_scan.h"
#include "json_gen.h"
#include "json_oracle.h"
#include "json_texts.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void show(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        print_error("%02x", (unsigned)(unsigned char)text.ptr[i]);
    }
    print_error(" \"%.*s\"\n", SLICE_ARG(text));
}

/* On a copy without a byte to spare, so that reading too far is seen. */
static void assert_reads_as_yyjson(struct slice text)
{
    char *copy = malloc(text.len == 0 ? 1 : text.len);
    const char *difference;

    assert_non_null(copy);
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    difference = json_oracle_difference(slice_of(copy, text.len));
    free(copy);
    if (difference != NULL) {
        show(text);
        fail_msg("reads differently from yyjson: %s", difference);
    }
}

static void check_text(struct slice text, enum json_status wanted)
{
    enum json_status status = json_validate(text, NULL);

    if (status != wanted) {
        show(text);
        fail_msg("status is %d, not %d", status, wanted);
    }
    assert_reads_as_yyjson(text);
}

static void check_in_contexts(struct slice value, enum json_status wanted)
{
    static const char *const contexts[][2] = {
        {"", ""},
        {" \t\r\n", "\n\r\t "},
        {"[", "]"},
        {"[ ", " ]"},
        {"[1,", ",2]"},
        {"{\"k\":", "}"},
        {"{ \"k\" : ", " , \"l\":[]}"},
        {"{\"a\":[{\"b\":", "}],\"c\":\"d\"}"},
    };
    struct buf text;

    buf_init(&text, 0);
    for (size_t i = 0; i < COUNT(contexts); i++) {
        buf_clear(&text);
        assert_true(buf_append_str(&text, contexts[i][0]));
        assert_true(buf_append(&text, value));
        assert_true(buf_append_str(&text, contexts[i][1]));
        check_text(buf_slice(&text), wanted);
    }
    buf_fini(&text);
}

static void valid_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid_values); i++) {
        check_in_contexts(valid_values[i], JSON_OK);
    }
}

/* These stay invalid inside anything, except the few that only miss their brackets or commas. */
static void invalid_texts(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    for (size_t i = 0; i < COUNT(invalid_values); i++) {
        check_text(invalid_values[i], JSON_INVALID);
        buf_clear(&text);
        assert_true(buf_printf(&text, "{\"k\":"));
        assert_true(buf_append(&text, invalid_values[i]));
        assert_true(buf_printf(&text, "}"));
        assert_reads_as_yyjson(buf_slice(&text));
    }
    buf_fini(&text);
    check_text(SLICE(""), JSON_INVALID);
    check_text(SLICE(" \n"), JSON_INVALID);
    assert_int_equal(json_validate((struct slice){NULL, 0}, NULL), JSON_INVALID);
}

static void every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(valid_values); i++) {
        for (size_t len = 0; len < valid_values[i].len; len++) {
            assert_reads_as_yyjson(slice_first(valid_values[i], len));
            assert_reads_as_yyjson(slice_skip(valid_values[i], len));
        }
    }
}

/* Every byte at every place, so that looking at many bytes at once misses none. */
static void every_byte_in_a_string(void **state)
{
    char text[44];

    (void)state;
    for (size_t at = 1; at < sizeof(text) - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            memset(text, 'x', sizeof(text));
            text[0] = text[sizeof(text) - 1] = '"';
            text[at] = (char)byte;
            assert_reads_as_yyjson(slice_of(text, sizeof(text)));
        }
    }
}

/* One or a few small accidents. */
static void mutate(struct json_gen *g, struct buf *text)
{
    static const char *const pieces[] = {
        ",",    ":",    "\"", "\\", "{",    "}",        "[",    "]",
        "0",    "-",    ".",  "e",  "\\u",  "\\ud83d",  "\xC3", "\xED\xA0\x80",
        "null", "true", " ",  "\n", "\x01", "\xF0\x9F", "1e5",  "\\u00"};

    for (size_t n = json_gen_pick(g, 3) + 1; n > 0 && buf_len(text) > 0; n--) {
        size_t at = json_gen_pick(g, buf_len(text));
        size_t len = buf_len(text);
        const char *piece = pieces[json_gen_pick(g, COUNT(pieces))];
        size_t piece_len = strlen(piece);
        char *bytes;

        assert_non_null(buf_reserve(text, piece_len));
        bytes = text->data + text->head;
        switch (json_gen_pick(g, 4)) {
        case 0: /* another byte */
            bytes[at] = (char)json_gen_pick(g, 256);
            break;
        case 1: /* one byte less */
            memmove(bytes + at, bytes + at + 1, len - at - 1);
            text->tail--;
            break;
        case 2: /* something more */
            memmove(bytes + at + piece_len, bytes + at, len - at);
            memcpy(bytes + at, piece, piece_len);
            buf_commit(text, piece_len);
            break;
        default: /* cut short */
            text->tail = text->head + at;
            break;
        }
    }
}

static void random_texts(void **state)
{
    struct json_gen g = {.state = 20240607};
    struct buf text;
    unsigned valid = 0;
    unsigned total = 30000;

    (void)state;
    buf_init(&text, 0);
    for (unsigned i = 0; i < total; i++) {
        buf_clear(&text);
        json_gen_blanks(&g, &text);
        json_gen_value(&g, &text, 5);
        json_gen_blanks(&g, &text);
        if (i % 3 != 0) {
            mutate(&g, &text);
        } else {
            assert_int_equal(json_validate(buf_slice(&text), NULL), JSON_OK);
        }
        assert_reads_as_yyjson(buf_slice(&text));
        valid += json_validate(buf_slice(&text), NULL) == JSON_OK;
    }
    buf_fini(&text);
    /* Neither kind is rare. */
    assert_in_range(valid, total / 3, total * 3 / 4);
}

static void nested(struct buf *text, const char *open, const char *inside, const char *close,
                   int depth)
{
    buf_clear(text);
    for (int i = 0; i < depth; i++) {
        assert_true(buf_append_str(text, open));
    }
    assert_true(buf_append_str(text, inside));
    for (int i = 0; i < depth; i++) {
        assert_true(buf_append_str(text, close));
    }
}

static void depth_is_limited(void **state)
{
    static const char *const brackets[][2] = {
        {"[", "]"}, {"{\"a\":", "}"}, {"[1,", ",2]"}, {" [ ", " ] "}};
    struct json_walk w;
    struct json_member m;
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    for (size_t i = 0; i < COUNT(brackets); i++) {
        nested(&text, brackets[i][0], "0", brackets[i][1], JSON_DEPTH_MAX);
        check_text(buf_slice(&text), JSON_OK);
        nested(&text, brackets[i][0], "0", brackets[i][1], JSON_DEPTH_MAX + 1);
        check_text(buf_slice(&text), JSON_TOO_DEEP);
        nested(&text, brackets[i][0], "0", brackets[i][1], 100000);
        assert_int_equal(json_validate(buf_slice(&text), NULL), JSON_TOO_DEEP);
    }
    nested(&text, "[", "", "", JSON_DEPTH_MAX);
    check_text(buf_slice(&text), JSON_INVALID);
    nested(&text, "[", "", "]", JSON_DEPTH_MAX);
    check_text(buf_slice(&text), JSON_OK);
    nested(&text, "[", "{}", "]", JSON_DEPTH_MAX);
    assert_int_equal(json_walk_begin(&w, buf_slice(&text), JSON_ARRAY), JSON_OK);
    assert_int_equal(json_walk_next(&w, &m), JSON_TOO_DEEP);
    assert_int_equal(w.error_pos, JSON_DEPTH_MAX);
    /* Arrays and objects in turn, so that each level is closed by its own bracket. */
    buf_clear(&text);
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) {
        assert_true(buf_append_str(&text, "[{\"a\":"));
    }
    assert_true(buf_append_str(&text, "1"));
    for (int i = 0; i < JSON_DEPTH_MAX / 2; i++) {
        assert_true(buf_append_str(&text, "}]"));
    }
    check_text(buf_slice(&text), JSON_OK);
    buf_fini(&text);
}

/* One line, as programs write it, whose values are of every kind. */
static void usual_members(void **state)
{
    static const char *const values[] = {
        "0",
        "7",
        "10",
        "01",
        "1234567890123456789012",
        "-1",
        "1.5",
        "1e3",
        "1x",
        "true",
        "truE",
        "true1",
        "false",
        "fals",
        "null",
        "\"\"",
        "\"a\"",
        "\"a\\n\"",
        "\"\\\"",
        "\"\xC3\xA9\"",
        "\"\x01\"",
        "[1,2]",
        "[0,12,3456]",
        "[01]",
        "[1,02]",
        "[1,]",
        "[1",
        "[",
        "[]",
        "[1, 2]",
        "[1,,2]",
        "{}",
        "",
        "/",
        ":",
        "\"a plain string, longer than any block of bytes that is looked at at once\""};
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    for (size_t i = 0; i < COUNT(values); i++) {
        for (size_t k = 0; k < COUNT(values); k++) {
            buf_clear(&text);
            assert_true(
                buf_printf(&text, "{\"k\":%s,\"a much longer key\":%s}", values[i], values[k]));
            assert_reads_as_yyjson(buf_slice(&text));
            for (size_t len = 0; i == k && len < buf_len(&text); len++) {
                assert_reads_as_yyjson(slice_first(buf_slice(&text), len));
            }
        }
    }
    buf_fini(&text);
}

static void flat_arrays(void **state)
{
    static const char *const texts[] = {"[1,22,333,0]",
                                        "[0,01]",
                                        "[1,-2,3.5,1e9,-0.25]",
                                        "[1, 2 ,3\n]",
                                        "[1,\"a\",true,null]",
                                        "[1,[2,{}],3]",
                                        "[1,,2]",
                                        "[1,]",
                                        "[1,2",
                                        "[1,",
                                        "[1,}",
                                        "{\"a\":1,2}",
                                        "{\"a\":[1,2]}",
                                        "[[1,2],[3,4],5]",
                                        "[{\"a\":1,\"b\":2},3]",
                                        "[1,\x01,2]",
                                        "[1,\xC3,2]"};

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        assert_reads_as_yyjson(slice_str(texts[i]));
    }
}

static void walk_tells_offsets(void **state)
{
    struct slice text = SLICE(" { \"a\" : 1 ,\n\"b\\n\":[2, {}] } ");
    struct json_walk w;
    struct json_member m;

    (void)state;
    assert_int_equal(json_walk_begin(&w, text, JSON_OBJECT), JSON_OK);
    assert_int_equal(w.pos, 2);
    assert_int_equal(json_walk_next(&w, &m), JSON_OK);
    assert_true(slice_eq(m.key, SLICE("a")));
    assert_false(m.key_escaped);
    assert_true(slice_eq(m.value, SLICE("1")));
    assert_int_equal(m.kind, JSON_NUMBER);
    assert_int_equal(m.start, 3);
    assert_int_equal(m.end, 10);
    assert_int_equal(json_walk_next(&w, &m), JSON_OK);
    assert_true(slice_eq(m.key, SLICE("b\\n")));
    assert_true(m.key_escaped);
    assert_true(json_key_is(&m, SLICE("b\n")));
    assert_true(slice_eq(m.value, SLICE("[2, {}]")));
    assert_int_equal(m.kind, JSON_ARRAY);
    assert_int_equal(m.start, 13);
    assert_int_equal(m.end, 26);
    assert_int_equal(json_walk_next(&w, &m), JSON_END);
    assert_int_equal(json_walk_next(&w, &m), JSON_END);
}

static void walk_tells_where_it_failed(void **state)
{
    struct json_walk w;
    struct json_member m;

    (void)state;
    assert_int_equal(json_walk_begin(&w, SLICE("{\"a\":1,\"b\":tru}"), JSON_OBJECT), JSON_OK);
    assert_int_equal(json_walk_next(&w, &m), JSON_OK);
    assert_int_equal(json_walk_next(&w, &m), JSON_INVALID);
    assert_int_equal(w.error_pos, 11);
    assert_int_equal(json_walk_next(&w, &m), JSON_INVALID);
    assert_int_equal(json_walk_begin(&w, SLICE("{} x"), JSON_OBJECT), JSON_OK);
    assert_int_equal(json_walk_next(&w, &m), JSON_INVALID);
    assert_int_equal(w.error_pos, 3);
    assert_int_equal(json_walk_begin(&w, SLICE("[1,2]"), JSON_OBJECT), JSON_WRONG_KIND);
    assert_int_equal(json_walk_next(&w, &m), JSON_WRONG_KIND);
    assert_int_equal(json_walk_begin(&w, SLICE("[1,2"), JSON_OBJECT), JSON_INVALID);
    assert_int_equal(w.error_pos, 4);
    assert_int_equal(json_walk_begin(&w, (struct slice){NULL, 0}, JSON_OBJECT), JSON_INVALID);
}

static void find_compares_unescaped(void **state)
{
    struct slice text =
        SLICE("{\"x\":0,\"\\u006dodel\":1,\"model\":2,\"\\ud83d\\ude00\":3,\"a\\u0000\":4}");
    struct json_member m;

    (void)state;
    assert_int_equal(json_find(text, SLICE("model"), &m), JSON_OK);
    assert_true(slice_eq(m.value, SLICE("1")));
    assert_int_equal(json_find(text, SLICE("\xF0\x9F\x98\x80"), &m), JSON_OK);
    assert_true(slice_eq(m.value, SLICE("3")));
    assert_int_equal(json_find(text, SLICE("a\0"), &m), JSON_OK);
    assert_int_equal(json_find(text, SLICE("a"), &m), JSON_END);
    assert_int_equal(json_find(text, SLICE("Model"), &m), JSON_END);
    assert_int_equal(json_find(text, SLICE("mode"), &m), JSON_END);
    assert_int_equal(json_find(text, SLICE("models"), &m), JSON_END);
    assert_int_equal(json_find(text, SLICE(""), &m), JSON_END);
    assert_int_equal(json_find(SLICE("{\"a\":1,}"), SLICE("a"), &m), JSON_OK);
    assert_int_equal(json_find(SLICE("{\"a\":1,}"), SLICE("b"), &m), JSON_INVALID);
    assert_int_equal(json_find(SLICE("[]"), SLICE("b"), &m), JSON_WRONG_KIND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts),
        cmocka_unit_test(invalid_texts),
        cmocka_unit_test(every_cut),
        cmocka_unit_test(every_byte_in_a_string),
        cmocka_unit_test(random_texts),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(usual_members),
        cmocka_unit_test(flat_arrays),
        cmocka_unit_test(walk_tells_offsets),
        cmocka_unit_test(walk_tells_where_it_failed),
        cmocka_unit_test(find_compares_unescaped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
