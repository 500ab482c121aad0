/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "alloc_fault.h"
#include "call_fault.h"
#include "fault_node.h"
#include "fault_user.h"
#include "gateway/acceptor.h"
#include "whole_gateway.h"
#include "wire/hello.h"

enum { LIMIT_MS = 20 * 1000, BIG_PART_BYTES = 6000 };

#define PART_BEGIN "{\"model\":\"m:latest\",\"response\":\" "
#define PART PART_BEGIN "word" PART_END
#define PART_END "\",\"done\":false}"

#define BAD_BODY "{\"model\":\"m\",\"prompt\":"
#define BAD_REQUEST "\"code\":\"bad_request\""
#define CANCELLED "\"code\":\"cancelled\""

static const struct backend_ops *backend;
static struct loop *loop;
static struct gateway gateway;
static struct config *config;
static struct listener *node_listener;
static const struct fault_talk *talk;
static struct timer limit;
static struct timer tick;
static bool timed_out;

/* Goes in pieces. */
static char big_part[BIG_PART_BYTES + 1];

/* --- the gateway */

static void ask(void)
{
    timer_arm(loop, &limit, LIMIT_MS);
    fault_user_ask(acceptor_addr(talk->face == FACE_MCP ? gateway.mcp : gateway.http));
    timer_cancel(loop, &limit);
    assert_false(timed_out);
    assert_true(fault_user_is_over());
}

static void on_limit(void *owner)
{
    (void)owner;
    timed_out = true;
    loop_stop(loop);
}

static void on_tick(void *owner)
{
    (void)owner;
    loop_stop(loop);
}

static void open_gateway(void)
{
    call_fault_at(CALL_FAULT_SHORT, 0);
    loop = loop_new_on(backend, &call_fault_sys);
    assert_non_null(loop);
    timer_init(&limit, on_limit, NULL);
    timer_init(&tick, on_tick, NULL);
    timed_out = false;
    fault_node_begin(loop, talk->part);
    fault_user_begin(loop, talk);
    node_listener = whole_gateway_open(&gateway, &config, loop, fault_node_accept);
}

static void close_gateway(void)
{
    timer_arm(loop, &tick, 1); /* it sees that the client has left */
    loop_run(loop);
    timer_arm(loop, &limit, LIMIT_MS);
    gateway_stop(&gateway, on_tick, NULL);
    loop_run(loop);
    timer_cancel(loop, &limit);
    assert_false(timed_out);
    gateway_close(&gateway);
    fault_node_end();
    listener_free(&node_listener);
    loop_free(&loop);
    config_unref(&config);
    fault_user_end();
}

/* --- the tests */

/* A node that it lost is found again by its next poll. */
static void check_well(void)
{
    whole_gateway_wait_ready(&gateway, loop);
    ask();
    assert_true(fault_user_is_whole());
}

static void check_calls(enum call_fault fault)
{
    size_t fatal = 0;
    size_t at = 0;
    size_t count;

    do {
        at++;
        open_gateway();
        call_fault_at(fault, at);
        ask();
        count = call_fault_count();
        fatal += call_fault_was_fatal() ? 1 : 0;
        assert_true(call_fault_was_fatal() || fault_user_is_whole());
        call_fault_at(fault, 0);
        assert_true(fault_user_is_sound());
        check_well();
        close_gateway();
    } while (count >= at);
    assert_true(at > 15);
    if (fault == CALL_FAULT_ECONNRESET || fault == CALL_FAULT_ENOMEM) {
        assert_true(fatal > 3);
    } else {
        assert_true(fatal < at / 2); /* connects alone, as many as polls there was time for */
    }
}

static void short_calls(void **state)
{
    talk = *state;
    check_calls(CALL_FAULT_SHORT);
}

static void calls_to_be_made_again(void **state)
{
    talk = *state;
    check_calls(CALL_FAULT_EAGAIN);
    check_calls(CALL_FAULT_EINTR);
}

static void calls_that_end_a_connection(void **state)
{
    talk = *state;
    check_calls(CALL_FAULT_ECONNRESET);
    check_calls(CALL_FAULT_ENOMEM);
}

static void no_memory(void **state)
{
    size_t at = 0;
    size_t whole = 0;
    size_t count;

    talk = *state;
    do {
        at++;
        open_gateway();
        alloc_fault_at(at);
        ask();
        count = alloc_fault_count();
        alloc_fault_at(0);
        assert_true(fault_user_is_sound());
        whole += fault_user_is_whole() ? 1 : 0;
        check_well();
        close_gateway();
    } while (count >= at);
    assert_true(at > (talk->body == NULL ? 20 : 5));
    assert_true(whole > 0 && whole < at);
}

enum {
    ALL_FEATURES = WIRE_SINCE_ACK | WIRE_SINCE_CANCEL | WIRE_SINCE_CREDIT | WIRE_SINCE_CRC32C |
                   WIRE_SINCE_GOAWAY | WIRE_SINCE_CHUNK,
};

static const struct fault_talk talks[] = {
    {.name = "http", .face = FACE_HTTP, .part = PART},
    {.name = "mcp", .part = PART},
    {.name = "hello", .greets = true, .part = PART},
    {.name = "ack", .greets = true, .features = WIRE_SINCE_ACK, .part = PART},
    {.name = "crc32c", .greets = true, .features = WIRE_SINCE_CRC32C, .part = PART},
    {.name = "goaway", .greets = true, .features = WIRE_SINCE_GOAWAY, .part = PART},
    {.name = "credit",
     .greets = true,
     .features = WIRE_SINCE_CREDIT,
     .window_bytes = 1,
     .part = PART},
    {.name = "cancel",
     .greets = true,
     .features = WIRE_SINCE_CREDIT | WIRE_SINCE_CANCEL,
     .window_bytes = 1,
     .cancels = true,
     .part = PART,
     .error = CANCELLED},
    {.name = "chunk", .greets = true, .features = WIRE_SINCE_CHUNK, .part = big_part},
    {.name = "all", .greets = true, .features = ALL_FEATURES, .window_bytes = 1, .part = big_part},
    {.name = "all, cancelled",
     .greets = true,
     .features = ALL_FEATURES,
     .window_bytes = 1,
     .cancels = true,
     .part = big_part,
     .error = CANCELLED},
    {.name = "refused", .body = BAD_BODY, .part = PART, .error = BAD_REQUEST},
    {.name = "all, refused",
     .greets = true,
     .features = ALL_FEATURES,
     .body = BAD_BODY,
     .part = PART,
     .error = BAD_REQUEST},
};

enum { TALKS = sizeof(talks) / sizeof(talks[0]), KINDS = 4, NAME_BYTES = 64 };

/* What each feature alone does with the system is part of what all together do; so is what comes
 * before a refusal. */
static bool is_part_of_another(const struct fault_talk *t)
{
    return (t->features != 0 && t->features != ALL_FEATURES) || t->body != NULL;
}

static const struct CMUnitTest kinds[KINDS] = {
    cmocka_unit_test(no_memory),
    cmocka_unit_test(short_calls),
    cmocka_unit_test(calls_to_be_made_again),
    cmocka_unit_test(calls_that_end_a_connection),
};

/* What is asked of the system differs with the face, and most with all features. */
static bool differs_for_the_system(const struct fault_talk *t)
{
    return !is_part_of_another(t) && !t->cancels && (!t->greets || t->features != 0);
}

int fault_run(const char *name, const struct backend_ops *on, bool calls_only)
{
    static char names[TALKS][KINDS][NAME_BYTES];
    struct CMUnitTest tests[TALKS * KINDS] = {0};
    size_t count = 0;

    backend = on;
    memset(big_part, 'w', BIG_PART_BYTES);
    memcpy(big_part, PART_BEGIN, strlen(PART_BEGIN));
    memcpy(big_part + BIG_PART_BYTES - strlen(PART_END), PART_END, strlen(PART_END));
    for (size_t i = 0; i < TALKS; i++) {
        if (calls_only && !differs_for_the_system(&talks[i])) {
            continue;
        }
        for (size_t kind = calls_only ? 1 : 0; kind < (is_part_of_another(&talks[i]) ? 1 : KINDS);
             kind++) {
            struct CMUnitTest *t = &tests[count++];

            (void)snprintf(names[i][kind], NAME_BYTES, "%s: %s", talks[i].name, kinds[kind].name);
            *t = kinds[kind];
            t->name = names[i][kind];
            t->initial_state = (void *)(uintptr_t)&talks[i]; /* is not written to */
        }
    }
    return _cmocka_run_group_tests(name, tests, count, NULL, NULL);
}
