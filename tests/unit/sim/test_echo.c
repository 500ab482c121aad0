/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "base/json_scan.h"
#include "http/parse/message.h"
#include "sim/echo.h"

static struct sim_echo_cache cache;

static struct sim_answer answer_of(enum sim_op op, const char *model, uint32_t tokens)
{
    return (struct sim_answer){
        .op = op,
        .model = slice_str(model),
        .tokens = tokens,
        .prompt_tokens = 1,
        .created_at = "2026-11-22T12:00:00.000000Z",
    };
}

/* The body of a reply, which must be one whole HTTP message. */
static struct buf body_of(struct slice reply)
{
    struct http_parser *parser = http_parser_new(HTTP_PARSE_RESPONSES);
    struct http_event ev = {.kind = HTTP_EV_MORE};
    struct buf body = {0};
    struct err e = {0};

    while (ev.kind != HTTP_EV_END) {
        ptrdiff_t n = http_parser_feed(parser, reply, &ev, &e);

        assert_true(n >= 0);
        reply = slice_skip(reply, (size_t)n);
        if (ev.kind == HTTP_EV_BODY) {
            assert_true(buf_append(&body, ev.body));
        }
        assert_false(ev.kind == HTTP_EV_MORE);
    }
    assert_int_equal(reply.len, 0);
    http_parser_free(&parser);
    return body;
}

static unsigned count_lines(struct slice text)
{
    unsigned count = 0;

    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '\n';
    }
    return count;
}

static void a_stream_has_its_parts(void **state)
{
    static const struct {
        enum sim_op op;
        unsigned lines; /* for 5 tokens */
    } cases[] = {
        {SIM_OP_GENERATE, 6}, {SIM_OP_CHAT, 6}, {SIM_OP_V1_CHAT, 14}, {SIM_OP_V1_TEXT, 14}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_answer a = answer_of(cases[i].op, "m", 5);
        struct sim_echo *e = sim_echo_make(&cache, &a, true, 1);
        struct buf body;

        assert_non_null(e);
        body = body_of(buf_slice(&e->bytes));
        assert_int_equal(count_lines(buf_slice(&body)), cases[i].lines);
        buf_fini(&body);
    }
    sim_echo_cache_fini(&cache);
}

static void its_pieces_are_the_whole(void **state)
{
    (void)state;
    for (uint32_t tokens = 1; tokens < 4; tokens++) {
        struct sim_answer a = answer_of(SIM_OP_V1_CHAT, "m", tokens);
        struct sim_echo *e;
        struct buf all = {0};

        a.usage = true;
        e = sim_echo_make(&cache, &a, true, 1);
        assert_non_null(e);
        for (uint32_t n = 0; n <= tokens; n++) {
            assert_true(buf_append(&all, sim_echo_piece(e, n)));
        }
        assert_true(slice_eq(buf_slice(&all), buf_slice(&e->bytes)));
        buf_fini(&all);
    }
    sim_echo_cache_fini(&cache);
    cache = (struct sim_echo_cache){0};
}

static void an_answer_in_one_piece_is_json(void **state)
{
    static const enum sim_op ops[] = {SIM_OP_GENERATE, SIM_OP_CHAT, SIM_OP_V1_CHAT, SIM_OP_V1_TEXT};

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        struct sim_answer a = answer_of(ops[i], "m", 5);
        struct sim_echo *e = sim_echo_make(&cache, &a, false, 1);
        struct buf body;
        enum json_kind kind;

        assert_non_null(e);
        body = body_of(buf_slice(&e->bytes));
        assert_int_equal(json_validate(buf_slice(&body), &kind), JSON_OK);
        assert_int_equal(kind, JSON_OBJECT);
        buf_fini(&body);
    }
    sim_echo_cache_fini(&cache);
    cache = (struct sim_echo_cache){0};
}

static void what_differs_is_another_reply(void **state)
{
    struct sim_answer a = answer_of(SIM_OP_GENERATE, "m", 5);
    struct sim_echo *e;

    (void)state;
    assert_null(sim_echo_find(&cache, &a, true));
    e = sim_echo_make(&cache, &a, true, 1);
    assert_ptr_equal(sim_echo_find(&cache, &a, true), e);
    assert_null(sim_echo_find(&cache, &a, false));
    a.tokens = 6;
    assert_null(sim_echo_find(&cache, &a, true));
    a.tokens = 5;
    a.model = SLICE("m:latest");
    assert_null(sim_echo_find(&cache, &a, true));
    a.model = SLICE("m");
    a.op = SIM_OP_CHAT;
    assert_null(sim_echo_find(&cache, &a, true));
    a.op = SIM_OP_GENERATE;
    a.cut_short = true;
    assert_null(sim_echo_find(&cache, &a, true));
    a.tokens = 0;
    assert_null(sim_echo_make(&cache, &a, true, 1));
    a.tokens = SIM_ECHO_TOKENS_MAX + 1;
    assert_null(sim_echo_make(&cache, &a, true, 1));
    sim_echo_cache_fini(&cache);
    cache = (struct sim_echo_cache){0};
}

static void what_is_in_use_stays(void **state)
{
    struct sim_answer a = answer_of(SIM_OP_GENERATE, "m", 1);
    struct sim_echo *used = sim_echo_make(&cache, &a, true, 1);

    (void)state;
    used->users = 1;
    for (uint32_t i = 2; i < 100; i++) {
        a.tokens = i;
        assert_ptr_not_equal(sim_echo_make(&cache, &a, true, 1), used);
    }
    a.tokens = 1;
    assert_ptr_equal(sim_echo_find(&cache, &a, true), used);
    for (size_t i = 0; i < SIM_ECHO_ENTRIES; i++) {
        cache.entries[i].users = 1;
    }
    a.tokens = 200;
    assert_null(sim_echo_make(&cache, &a, true, 1));
    sim_echo_cache_fini(&cache);
    cache = (struct sim_echo_cache){0};
}

static void without_memory_there_is_no_half_reply(void **state)
{
    struct sim_answer a = answer_of(SIM_OP_CHAT, "m", 32);

    (void)state;
    for (int stream = 0; stream < 2; stream++) {
        size_t made = 0;

        for (size_t i = 1; i == 1 || made >= i - 1; i++) { /* the last one does not fail */
            struct sim_echo *e;

            alloc_fault_at(i);
            e = sim_echo_make(&cache, &a, stream != 0, 1);
            made = alloc_fault_count();
            alloc_fault_at(0);
            assert_ptr_equal(sim_echo_find(&cache, &a, stream != 0), e);
            if (e != NULL) {
                struct buf body = body_of(buf_slice(&e->bytes));

                buf_fini(&body);
            }
            assert_true(e != NULL || made >= i);
            sim_echo_cache_fini(&cache);
            cache = (struct sim_echo_cache){0};
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_has_its_parts),
        cmocka_unit_test(its_pieces_are_the_whole),
        cmocka_unit_test(an_answer_in_one_piece_is_json),
        cmocka_unit_test(what_differs_is_another_reply),
        cmocka_unit_test(what_is_in_use_stays),
        cmocka_unit_test(without_memory_there_is_no_half_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
