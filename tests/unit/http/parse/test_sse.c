/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "http/parse/sse.h"

static const struct {
    const char *block;
    const char *event;
    const char *data; /* NULL: none */
} cases[] = {
    {"data: {\"a\":1}\n\n", "", "{\"a\":1}"},
    {"data:x\n\n", "", "x"},
    {"data:  x \n\n", "", " x "},
    {"data: x\r\n\r\n", "", "x"},
    {"data: x\r\r", "", "x"},
    {"data: x", "", "x"},
    {"event: message_stop\ndata: {}\n\n", "message_stop", "{}"},
    {"data: {}\nevent: late\nid: 7\nretry: 1\n\n", "late", "{}"},
    {"event: a\nevent: b\n\n", "b", NULL},
    {"event\n\n", "", NULL},
    {"data: 1\ndata: 2\r\ndata:3\rdata\n\n", "", "1\n2\n3\n"},
    {"data\n\n", "", ""},
    {"data\ndata\n\n", "", "\n"},
    {"data:\n\n", "", ""},
    {": keep-alive\n\n", "", NULL},
    {":\n\n", "", NULL},
    {"\n", "", NULL},
    {"", "", NULL},
    {"Data: x\n data: y\nxdata: z\ndatax: z\n\n", "", NULL},
    {"\ndata: x\n\n", "", "x"},
    {"data: a:b: c\n\n", "", "a:b: c"},
};

static void test_events(void **state)
{
    struct buf scratch = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sse_event ev;

        assert_true(sse_event_read(slice_str(cases[i].block), &scratch, &ev));
        assert_true(slice_eq(ev.event, slice_str(cases[i].event)));
        assert_int_equal(ev.has_data, cases[i].data != NULL);
        assert_true(slice_eq(ev.data, slice_str(cases[i].data != NULL ? cases[i].data : "")));
    }
    buf_fini(&scratch);
}

static void test_one_line_is_borrowed(void **state)
{
    struct buf scratch = {0};
    struct slice block = SLICE("data: abc\n\n");
    struct sse_event ev;

    (void)state;
    assert_true(sse_event_read(block, &scratch, &ev));
    assert_ptr_equal(ev.data.ptr, block.ptr + 6);
    assert_null(scratch.data);
}

static void read_once(void *arg)
{
    struct buf scratch = {0};
    struct sse_event ev;

    (void)arg;
    if (sse_event_read(SLICE("data: 1\ndata: 2\n\n"), &scratch, &ev)) {
        assert_true(slice_eq(ev.data, SLICE("1\n2")));
    }
    buf_fini(&scratch);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    alloc_fault_each(read_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_one_line_is_borrowed),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
