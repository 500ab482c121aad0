/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/part.h"

/* Both readings, and what they say. */
static const struct {
    struct slice part;
    enum part_kind quick;
    enum part_kind whole;
} cases[] = {
    {SLICE("{\"model\":\"m\",\"response\":\"a\",\"done\":false}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"model\":\"m\",\"response\":\"\",\"done\":true,\"total_duration\":1}"), PART_LAST,
     PART_LAST},
    {SLICE("{\"done\":true}"), PART_LAST, PART_LAST},
    {SLICE(" { \"done\" :\ttrue } "), PART_LAST, PART_LAST},
    {SLICE("{\"done\"\n:\r\ntrue}"), PART_LAST, PART_LAST},
    {SLICE("{\"done\":false,\"done\":true}"), PART_LAST, PART_LAST},
    {SLICE("{\"done\":true,\"done\":false}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"done\":\"true\"}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"Done\":true}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"done\":null}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"status\":\"success\"}"), PART_MIDDLE, PART_MIDDLE},
    /* Only the top level counts: text and tool calls may say the same. */
    {SLICE("{\"response\":\"{\\\"done\\\":true}\",\"done\":false}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{\"done\":true}}}]},"
           "\"done\":false}"),
     PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{\"done\":false}}}]},"
           "\"done\":true}"),
     PART_LAST, PART_LAST},
    {SLICE("{\"a\":{\"error\":\"x\"},\"done\":false}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"response\":\"\\\"done\\\",\\\"done\\\"\",\"done\":true}"), PART_LAST, PART_LAST},
    /* Errors. */
    {SLICE("{\"error\":\"boom\"}"), PART_ERROR, PART_ERROR},
    {SLICE(" {\n\"error\" : \"boom\" }"), PART_ERROR, PART_ERROR},
    {SLICE("{\"error\":\"boom\",\"done\":true}"), PART_ERROR, PART_ERROR},
    {SLICE("{\"done\":true,\"error\":\"boom\"}"), PART_ERROR, PART_ERROR},
    {SLICE("{\"error\":{\"code\":500,\"message\":\"boom\"}}"), PART_ERROR, PART_ERROR},
    {SLICE("{\"error\":{\"code\":500}}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"error\":null,\"done\":true}"), PART_LAST, PART_LAST},
    {SLICE("{\"error\":\"\",\"done\":true}"), PART_LAST, PART_LAST},
    {SLICE("{\"error\":false}"), PART_MIDDLE, PART_MIDDLE},
    {SLICE("{\"errors\":\"x\"}"), PART_MIDDLE, PART_MIDDLE},
    /* What the quick reading does not look for. */
    {SLICE("{\"type\":\"error\",\"error\":{\"message\":\"boom\"}}"), PART_MIDDLE, PART_ERROR},
    {SLICE("{\"d\\u006fne\":true}"), PART_MIDDLE, PART_LAST},
    {SLICE("{\"done\":true,\"error\":\"boom\",\"done\":false}"), PART_MIDDLE, PART_ERROR},
    {SLICE("{\"response\":\"a,\"done\":false}"), PART_MIDDLE, PART_INVALID},
    {SLICE("{\"response\":\"a\""), PART_INVALID, PART_INVALID},
    {SLICE(""), PART_INVALID, PART_INVALID},
    {SLICE("<html>"), PART_INVALID, PART_INVALID},
    {SLICE("[{\"done\":false}]"), PART_INVALID, PART_INVALID},
    /* Looked for and found broken. */
    {SLICE("{\"done\":true"), PART_INVALID, PART_INVALID},
    {SLICE("{\"done\":tru}"), PART_INVALID, PART_INVALID},
    {SLICE("{\"done\":true}x"), PART_INVALID, PART_INVALID},
    {SLICE("{\"done\":true}\n{\"done\":true}"), PART_INVALID, PART_INVALID},
    {SLICE("{\"error\":\"boom"), PART_INVALID, PART_INVALID},
    {SLICE("[{\"done\":true}]"), PART_INVALID, PART_INVALID},
};

static void cases_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (part_classify(cases[i].part) != cases[i].quick ||
            part_classify_whole(cases[i].part) != cases[i].whole) {
            fail_msg("%.*s: %d and %d", SLICE_ARG(cases[i].part), part_classify(cases[i].part),
                     part_classify_whole(cases[i].part));
        }
    }
}

/* Of valid parts without an error both readings say the same, in whatever order members come. */
static void both_readings_agree(void **state)
{
    static const char *const members[] = {
        "\"done\":true",
        "\"done\":false",
        "\"done\": true",
        "\"done\": false",
        "\"error\":\"\"",
        "\"message\":{\"done\":true,\"error\":\"x\",\"done\":false}",
        "\"response\":\"\\\",\\\"done\\\":false}\"",
        "\"a\":[{\"b\":1,\"done\":false}]"};
    enum { COUNT = sizeof(members) / sizeof(members[0]), LENGTH = 4 };
    size_t combinations = 1;

    (void)state;
    for (int i = 0; i < LENGTH; i++) {
        combinations *= COUNT;
    }
    for (size_t c = 0; c < combinations; c++) {
        char part[512];
        size_t rest = c;
        int len = 0;

        for (int i = 0; i < LENGTH; i++, rest /= COUNT) {
            len += snprintf(part + len, sizeof(part) - (size_t)len, "%c%s", i == 0 ? '{' : ',',
                            members[rest % COUNT]);
        }
        part[len++] = '}';
        if (part_classify(slice_of(part, (size_t)len)) !=
            part_classify_whole(slice_of(part, (size_t)len))) {
            fail_msg("%.*s", len, part);
        }
    }
}

/* A part cut short is never taken for a last or an error. */
static void every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice part = slice_trim(cases[i].part);

        for (size_t len = 0; len < part.len; len++) {
            enum part_kind kind = part_classify(slice_first(part, len));

            if (cases[i].whole != PART_INVALID) {
                assert_true(kind == PART_MIDDLE || kind == PART_INVALID);
            }
            (void)part_classify_whole(slice_first(part, len)); /* reads no byte too many */
        }
    }
    assert_int_equal(part_classify((struct slice){NULL, 0}), PART_INVALID);
}

static void long_parts(void **state)
{
    static char part[1 << 20];
    size_t len;

    (void)state;
    memset(part, 'x', sizeof(part));
    memcpy(part, "{\"response\":\"", 13);
    len = sizeof(part) - 14;
    memcpy(part + len, "\",\"done\":true}", 14);
    assert_int_equal(part_classify(slice_of(part, sizeof(part))), PART_LAST);
    part[sizeof(part) - 10] = 'f';
    assert_int_equal(part_classify(slice_of(part, sizeof(part))), PART_MIDDLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cases_are_told),
        cmocka_unit_test(both_readings_agree),
        cmocka_unit_test(every_cut),
        cmocka_unit_test(long_parts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
