/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "trace.h"

enum { MAX = 64 };

struct split_case {
    enum split_kind kind;
    struct slice in;
    const char *expected;
};

static const struct split_case cases[] = {
    {SPLIT_NDJSON, SLICE(""), "REST 0 "},
    {SPLIT_NDJSON, SLICE("{\"a\":1}\n{\"b\":2}\r\n"),
     "PART 8 {\"a\":1}\n\nPART 9 {\"b\":2}\r\n\nREST 0 "},
    {SPLIT_NDJSON, SLICE("{\"a\":\"\\n\"}\n\n{\"b\""),
     "PART 11 {\"a\":\"\\n\"}\n\nPART 1 \n\nREST 4 {\"b\""},
    {SPLIT_NDJSON, SLICE("a\rb\n"), "PART 4 a\rb\n\nREST 0 "},
    {SPLIT_SSE, SLICE("data: 1\n\ndata: 2\n\n"), "PART 9 data: 1\n\n\nPART 9 data: 2\n\n\nREST 0 "},
    {SPLIT_SSE, SLICE("event: x\ndata: 1\n\ndata: [DONE]\n"),
     "PART 18 event: x\ndata: 1\n\n\nREST 13 data: [DONE]\n"},
    {SPLIT_SSE, SLICE("data: 1\r\n\r\n: c\r\ndata: 2\r\n\r\n"),
     "PART 11 data: 1\r\n\r\n\nPART 16 : c\r\ndata: 2\r\n\r\n\nREST 0 "},
    {SPLIT_SSE, SLICE("data: 1\r\rdata: 2\rid: 3\r\r"),
     "PART 9 data: 1\r\r\nPART 15 data: 2\rid: 3\r\r\nREST 0 "},
    /* line ends mixed */
    {SPLIT_SSE, SLICE("a\n\r\nb\r\n\nc\r\n\rd\n\re"),
     "PART 4 a\n\r\n\nPART 4 b\r\n\n\nPART 4 c\r\n\r\nPART 3 d\n\r\nREST 1 e"},
    /* \r\r ends the part at once; an \n behind it is a blank line of its own */
    {SPLIT_SSE, SLICE("a\r\r\nb\n\n"), "PART 3 a\r\r\nPART 1 \n\nPART 3 b\n\n\nREST 0 "},
    {SPLIT_SSE, SLICE("\n\r\n\n\ndata: 1\n\n"),
     "PART 1 \n\nPART 2 \r\n\nPART 1 \n\nPART 1 \n\nPART 9 data: 1\n\n\nREST 0 "},
    {SPLIT_SSE, SLICE("a\r"), "REST 2 a\r"},
    {SPLIT_SSE, SLICE("a\r\n\r"), "REST 4 a\r\n\r"},
    /* the limit: 64 bytes with the delimiter */
    {SPLIT_NDJSON, SLICE("012345678901234567890123456789012345678901234567890123456789012\nx"),
     "PART 64 012345678901234567890123456789012345678901234567890123456789012\n\nREST 1 x"},
    {SPLIT_NDJSON, SLICE("a\n0123456789012345678901234567890123456789012345678901234567890123\nx"),
     "PART 2 a\n\nERROR too_large\n"},
    {SPLIT_SSE, SLICE("0123456789012345678901234567890123456789012345678901234567890123456789"),
     "ERROR too_large\n"},
    {SPLIT_SSE, SLICE("01234567890123456789012345678901234567890123456789012345678901\n\nx"),
     "PART 64 01234567890123456789012345678901234567890123456789012345678901\n\n\nREST 1 x"},
};

static void test_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct split_case *c = &cases[i];

        for (size_t at = 0; at <= c->in.len; at++) {
            struct buf out = {0};
            /* at 0: byte by byte; at the end: whole */
            struct cuts cuts = at == 0 ? (struct cuts){1, 1} : (struct cuts){at, 0};

            split_trace(&out, c->kind, MAX, c->in, cuts);
            if (!slice_eq(buf_slice(&out), slice_str(c->expected))) {
                print_error("case %zu, cut at %zu: %.*s\nexpected: %s\n", i, at,
                            SLICE_ARG(buf_slice(&out)), c->expected);
            }
            assert_true(slice_eq(buf_slice(&out), slice_str(c->expected)));
            buf_fini(&out);
        }
    }
}

/* A slow and obvious second opinion: ends of SSE parts found by looking at every byte with its
 * past. */
static size_t naive_part(struct slice in, bool ended_input)
{
    bool line_empty = true;

    for (size_t i = 0; i < in.len;) {
        size_t width = 1;

        if (in.ptr[i] != '\n' && in.ptr[i] != '\r') {
            line_empty = false;
            i++;
            continue;
        }
        if (in.ptr[i] == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n') {
            width = 2;
        }
        if (line_empty) {
            bool after_cr = i > 0 && in.ptr[i - 1] == '\r';

            if (after_cr && in.ptr[i] == '\r') {
                width = 1;
            } else if (in.ptr[i] == '\r' && i + 1 == in.len && ended_input) {
                return 0;
            }
            return i + width;
        }
        line_empty = true;
        i += width;
    }
    return 0;
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_against_naive(void **state)
{
    uint32_t seed = 20;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        static const char alphabet[] = "\n\n\r\rab:";
        char text[24];
        size_t len = next_random(&seed) % sizeof(text);
        struct buf expected = {0};
        struct buf out = {0};
        struct slice rest;
        size_t part;

        for (size_t i = 0; i < len; i++) {
            text[i] = alphabet[next_random(&seed) % (sizeof(alphabet) - 1)];
        }
        rest = slice_of(text, len);
        while ((part = naive_part(rest, true)) > 0) {
            assert_true(buf_printf(&expected, "PART %zu %.*s\n", part, (int)part, rest.ptr));
            rest = slice_skip(rest, part);
        }
        assert_true(buf_printf(&expected, "REST %zu %.*s", rest.len, SLICE_ARG(rest)));
        split_trace(&out, SPLIT_SSE, MAX, slice_of(text, len),
                    (struct cuts){1 + next_random(&seed) % 5, next_random(&seed) % 5});
        if (!slice_eq(buf_slice(&expected), buf_slice(&out))) {
            print_error("round %d: expected %.*s\ngot %.*s\n", round,
                        SLICE_ARG(buf_slice(&expected)), SLICE_ARG(buf_slice(&out)));
        }
        assert_true(slice_eq(buf_slice(&expected), buf_slice(&out)));
        buf_fini(&expected);
        buf_fini(&out);
    }
}

/* A part is borrowed when it is whole in the input, and megabytes fed byte by byte are looked at
 * once. */
static void test_borrowed_and_long(void **state)
{
    struct splitter s;
    struct slice part;
    struct slice in = SLICE("{}\n{}");
    const size_t size = 4u << 20;
    char byte = 'x';

    (void)state;
    splitter_init(&s, SPLIT_NDJSON, size + 1);
    assert_int_equal(splitter_feed(&s, in, &part), 3);
    assert_ptr_equal(part.ptr, in.ptr);
    assert_int_equal(splitter_feed(&s, slice_skip(in, 3), &part), 2);
    assert_null(part.ptr);
    assert_true(slice_eq(splitter_rest(&s), SLICE("{}")));
    for (size_t i = 2; i < size; i++) {
        assert_true(splitter_feed(&s, slice_of(&byte, 1), &part) == 1 && part.ptr == NULL);
    }
    assert_int_equal(splitter_feed(&s, SLICE("\n{"), &part), 1);
    assert_int_equal(part.len, size + 1);
    assert_int_equal(splitter_feed(&s, SLICE("{"), &part), 1);
    assert_true(slice_eq(splitter_rest(&s), SLICE("{")));
    splitter_fini(&s);
}

static void split_once(void *arg)
{
    struct splitter s;
    struct slice part;
    ptrdiff_t used;

    (void)arg;
    splitter_init(&s, SPLIT_SSE, 1000);
    used = splitter_feed(&s, SLICE("data"), &part);
    assert_true(used == 4 || used == MCP_ENOMEM);
    splitter_fini(&s);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    alloc_fault_each(split_once, NULL);
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(slice_eq(part_trim(SLICE("a b\r\n\r\n")), SLICE("a b")));
    assert_true(slice_eq(part_trim(SLICE("\n")), SLICE("")));
    assert_true(slice_eq(part_trim(SLICE("a")), SLICE("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_against_naive),
        cmocka_unit_test(test_borrowed_and_long),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_trim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
