/* SPDX-License-Identifier: Apache-2.0 */
/* The book of routes: what people say of arms, and what of it outlives the gateway. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "gateway/route_book.h"

static struct config_arm arms[] = {
    {(char *)"a:v1", 50, 0}, {(char *)"a:v2", 50, 0}, {(char *)"a:v3", 1, 100}};
static struct config_route routes[] = {
    {.name = (char *)"one", .window_ms = 60000, .min_requests = 2, .arms = arms, .arm_count = 1},
    {.name = (char *)"three", .window_ms = 60000, .min_requests = 2, .arms = arms, .arm_count = 3}};
static const struct config config = {.routes = routes, .route_count = 2};

static struct loop *loop;
static size_t changes;

static void on_changed(void *owner)
{
    (void)owner;
    changes++;
}

static int open_loop(void **state)
{
    (void)state;
    loop = loop_new();
    return loop == NULL;
}

static int close_loop(void **state)
{
    (void)state;
    loop_free(&loop);
    return 0;
}

static struct route_book *open_book(void)
{
    struct route_book *b = route_book_new(loop, on_changed, NULL);
    struct route_set *set = route_set_new(&config);

    assert_non_null(set);
    route_book_use(b, &set);
    return b;
}

static int say(struct route_book *b, const char *route, const char *action, const char *model)
{
    struct err e;

    return route_book_command(b, slice_str(route), slice_str(action), slice_str(model), &e);
}

static size_t arm_of(struct route_book *b, const char *route, uint64_t key, struct route_pick *pick)
{
    struct buf model = {0};

    assert_true(route_book_pick(b, route, key, key, pick, &model));
    assert_true(slice_eq(buf_slice(&model), slice_str(arms[pick->arm].model)));
    buf_fini(&model);
    return pick->arm;
}

/* Which arms there are among many keys, as bits. */
static unsigned arms_used(struct route_book *b, const char *route)
{
    struct route_pick pick;
    unsigned used = 0;

    for (uint64_t key = 1; key < 200; key++) {
        used |= 1U << arm_of(b, route, key * UINT64_C(0x9e3779b97f4a7c15), &pick);
    }
    return used;
}

static void commands(void **state)
{
    struct route_book *b = open_book();
    struct route_pick pick;
    struct buf model = {0};

    (void)state;
    assert_int_equal(arms_used(b, "one"), 1);
    assert_int_equal(arms_used(b, "three"), 3);
    (void)arm_of(b, "three", 1, &pick);
    assert_int_equal(pick.shadow, 2);
    assert_false(route_book_pick(b, "none", 1, 1, &pick, &model));
    assert_int_equal(say(b, "none", "pause", ""), MCP_EUNKNOWN_MODEL);
    assert_int_equal(say(b, "three", "pause", "b"), MCP_EUNKNOWN_MODEL);
    assert_int_equal(say(b, "three", "halt", ""), MCP_EARGUMENT);
    assert_int_equal(say(b, "three", "pause", "a:v1"), MCP_EARGUMENT);
    assert_int_equal(say(b, "three", "promote", ""), MCP_EARGUMENT); /* which? */
    assert_int_equal(say(b, "three", "promote", "a:v3"), MCP_EARGUMENT);
    assert_int_equal(say(b, "three", "pause", ""), MCP_OK);
    assert_int_equal(arms_used(b, "three"), 1);
    (void)arm_of(b, "three", 1, &pick);
    assert_int_equal(pick.shadow, MODEL_ROUTE_NO_ARM);
    assert_int_equal(say(b, "three", "resume", "a:v2"), MCP_OK);
    assert_int_equal(arms_used(b, "three"), 3);
    assert_int_equal(say(b, "three", "promote", "a:v2"), MCP_OK);
    assert_int_equal(arms_used(b, "three"), 2);
    assert_int_equal(say(b, "three", "resume", ""), MCP_OK);
    assert_int_equal(arms_used(b, "three"), 3);
    route_book_free(&b);
}

static void what_is_kept(void **state)
{
    struct route_book *b = open_book();
    struct buf text = {0}, again = {0};

    (void)state;
    assert_int_equal(say(b, "three", "rollback", "a:v3"), MCP_OK);
    assert_int_equal(say(b, "three", "promote", "a:v2"), MCP_OK);
    assert_true(route_book_save(b, &text));
    route_book_free(&b);
    /* cut anywhere, it is read as far as it goes or not at all, and never worse */
    for (size_t len = 0; len <= buf_len(&text); len++) {
        b = open_book();
        route_book_restore(b, slice_first(buf_slice(&text), len));
        assert_int_equal(arms_used(b, "three"), len + 1 < buf_len(&text) ? 3 : 2);
        route_book_free(&b);
    }
    b = open_book();
    route_book_restore(b, buf_slice(&text));
    assert_true(route_book_save(b, &again));
    assert_true(slice_eq(buf_slice(&text), buf_slice(&again)));
    route_book_free(&b);
    buf_fini(&text);
    buf_fini(&again);
}

/* A promoted arm is rolled back for what the first one did before a restart. */
static void a_watch_outlives_the_gateway(void **state)
{
    const struct model_route_outcome good = {.first_part_us = 1000, .parts = 1};
    const struct model_route_outcome bad = {.failed = true};
    struct route_book *b = open_book();
    struct buf text = {0}, list = {0};
    struct route_pick pick;

    (void)state;
    (void)arm_of(b, "three", 1, &pick);
    for (uint64_t i = 0; i < 30; i++) {
        route_book_ended(b, loop_now_us(loop), pick.id, 0, &good);
    }
    assert_int_equal(say(b, "three", "promote", "a:v2"), MCP_OK);
    assert_true(route_book_save(b, &text));
    route_book_free(&b);

    b = open_book();
    route_book_restore(b, buf_slice(&text));
    assert_true(route_book_list(b, loop_now_us(loop), &list));
    assert_true(buf_append_byte(&list, '\0'));
    assert_non_null(strstr(buf_slice(&list).ptr,
                           "\"against\":{\"requests\":30,\"errors\":0,"
                           "\"first_part_ms\":{\"count\":30,\"mean\":1.000,"));
    (void)arm_of(b, "three", 1, &pick);
    assert_int_equal(pick.arm, 1);
    for (uint64_t i = 0; i < 20; i++) {
        route_book_ended(b, loop_now_us(loop), pick.id, 1, &bad);
    }
    assert_int_equal(arms_used(b, "three") & 2U, 0);
    route_book_free(&b);
    buf_fini(&text);
    buf_fini(&list);
}

static void what_is_kept_may_be_anything(void **state)
{
    static const char *const texts[] = {
        "",
        "7",
        "[]",
        "{\"routes\":7}",
        "{\"routes\":[7,null,\"three\",{\"name\":7},{\"name\":\"three\"}]}",
        "{\"routes\":[{\"name\":\"three\",\"promoted\":\"b\",\"arms\":{}}]}",
        "{\"routes\":[{\"name\":\"three\",\"arms\":[7,{\"model\":\"a:v1\",\"state\":\"paused\","
        "\"why\":\"\"}]}]}",
        "{\"routes\":[{\"name\":\"three\",\"arms\":[{\"model\":\"a:v2\",\"state\":\"gone\",\"why\":"
        "\"\"}]}]}",
        "{\"routes\":[{\"name\":\"three\",\"promoted\":\"a:v3\",\"arms\":[]}]}",
        "{\"routes\":[{\"name\":\"three\",\"promoted\":\"a:v3\",\"watch\":{\"until\":99999999999}}]"
        "}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct route_book *b = open_book();

        route_book_restore(b, slice_str(texts[i]));
        print_message("%s\n", texts[i]);
        assert_int_equal(arms_used(b, "three"), 3);
        route_book_free(&b);
    }
}

static void ends_are_told_to_the_arm(void **state)
{
    struct route_book *b = open_book();
    struct model_route_outcome bad = {.failed = true}, good = {.failed = false};
    struct route_pick pick;
    struct buf text = {0};

    (void)state;
    (void)arm_of(b, "three", 1, &pick);
    for (uint64_t i = 0; i < 20; i++) {
        route_book_ended(b, i, pick.id, 0, &good);
        route_book_ended(b, i, pick.id, 1, &bad);
        route_book_ended(b, i, pick.id + 100, 1, &bad); /* of a route that is gone */
    }
    assert_int_equal(arms_used(b, "three"), 1);
    assert_true(route_book_list(b, 20, &text));
    assert_non_null(memmem(buf_slice(&text).ptr, buf_len(&text), "\"why\":\"errors\"", 14));
    buf_fini(&text);
    route_book_free(&b);
}

static void another_configuration(void **state)
{
    struct route_book *b = open_book();
    struct config_arm moved[] = {{(char *)"a:v1", 50, 0}, {(char *)"new", 50, 0}, arms[1]};
    struct config_route route = routes[1];
    struct config other = {.routes = &route, .route_count = 1};
    struct route_set *set;
    struct route_pick before, after;

    (void)state;
    (void)arm_of(b, "three", 1, &before);
    assert_int_equal(say(b, "three", "pause", "a:v2"), MCP_OK);
    route.arms = moved;
    set = route_set_new(&other);
    route_book_use(b, &set);
    assert_null(set);
    {
        struct buf model = {0};

        assert_true(route_book_pick(b, "three", 1, 1, &after, &model));
        buf_fini(&model);
        assert_false(route_book_model(b, before.id, 1, &model));
        assert_true(route_book_model(b, after.id, 1, &model));
        assert_true(slice_eq(buf_slice(&model), SLICE("new")));
        buf_fini(&model);
    }
    {
        struct buf text = {0};

        assert_true(route_book_save(b, &text));
        assert_non_null(
            memmem(buf_slice(&text).ptr, buf_len(&text), "\"a:v2\",\"state\":\"paused\"", 23));
        assert_non_null(
            memmem(buf_slice(&text).ptr, buf_len(&text), "\"new\",\"state\":\"on\"", 18));
        buf_fini(&text);
    }
    route_book_free(&b);
}

static void make_set(void *arg)
{
    struct route_set *set = route_set_new(&config);

    *(size_t *)arg += set == NULL;
    route_set_free(&set);
}

static void memory_that_is_out(void **state)
{
    size_t refused = 0;

    (void)state;
    alloc_fault_each(make_set, &refused);
    assert_true(refused > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(what_is_kept),
        cmocka_unit_test(a_watch_outlives_the_gateway),
        cmocka_unit_test(what_is_kept_may_be_anything),
        cmocka_unit_test(ends_are_told_to_the_arm),
        cmocka_unit_test(another_configuration),
        cmocka_unit_test(memory_that_is_out),
    };

    return cmocka_run_group_tests(tests, open_loop, close_loop);
}
