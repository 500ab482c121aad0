/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/multipart.h"

#define BODY                                                                                       \
    "--b1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n"                \
    "Content-Type: audio/wav\r\n\r\nRIFF--b1 not a line\r\n\r\nname=\"model\"\r\n"                 \
    "--b1\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nwhisper:1\r\n"                  \
    "--b1\r\nContent-Disposition: form-data; name=language\r\n\r\nen\r\n--b1--\r\n"

static void boundaries(void **state)
{
    static const struct {
        const char *header;
        const char *boundary;
    } cases[] = {
        {"multipart/form-data; boundary=abc", "abc"},
        {"Multipart/Form-Data; charset=utf-8; Boundary=\"a b;c\"; x=1", "a b;c"},
        {"multipart/form-data", ""},
        {"multipart/form-data; boundary=", ""},
        {"multipart/form-data; boundary=\"abc", ""},
        {"multipart/form-data; xboundary=abc", ""},
        {"multipart/mixed; boundary=abc", ""},
        {"application/json", ""},
        {"", ""},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct slice found = multipart_boundary(slice_str(cases[i].header));

        assert_true(slice_eq(found, slice_str(cases[i].boundary)));
    }
}

static void the_field_is_found_behind_a_file_that_looks_like_it(void **state)
{
    struct slice value;

    (void)state;
    assert_true(multipart_find(SLICE(BODY), SLICE("b1"), SLICE("model"), &value));
    assert_true(slice_eq(value, SLICE("whisper:1")));
    assert_true(multipart_find(SLICE(BODY), SLICE("b1"), SLICE("language"), &value));
    assert_true(slice_eq(value, SLICE("en")));
    assert_false(multipart_find(SLICE(BODY), SLICE("b1"), SLICE("file"), &value));
    assert_false(multipart_find(SLICE(BODY), SLICE("b2"), SLICE("model"), &value));
    assert_false(multipart_find(SLICE(BODY), SLICE(""), SLICE("model"), &value));
}

static void an_empty_field_is_empty(void **state)
{
    struct slice value;

    (void)state;
    assert_true(
        multipart_find(SLICE("--b\nContent-Disposition: form-data; name=model\n\n\n--b--\n"),
                       SLICE("b"), SLICE("model"), &value));
    assert_int_equal(value.len, 0);
}

/* Whatever is cut off: found whole, or not at all, and nothing is read beyond the end. */
static void every_prefix_is_safe(void **state)
{
    size_t whole = sizeof(BODY) - 1;

    (void)state;
    for (size_t len = 0; len <= whole; len++) {
        char *copy = malloc(len == 0 ? 1 : len);
        struct slice value;

        assert_non_null(copy);
        memcpy(copy, BODY, len);
        if (multipart_find(slice_of(copy, len), SLICE("b1"), SLICE("model"), &value)) {
            assert_true(slice_eq(value, SLICE("whisper:1")));
        }
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boundaries),
        cmocka_unit_test(the_field_is_found_behind_a_file_that_looks_like_it),
        cmocka_unit_test(an_empty_field_is_empty),
        cmocka_unit_test(every_prefix_is_safe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
